"""Images with holes: the inpainting case of Fablet, Drumetz and Rousseau (2020), section 4.1.

Three holes of 9 x 9 pixels at random places, and white noise whose variance is a tenth of the
images'. Images are normalised by the mean and the variance of all pixels of the training set,
which is what makes the projection error of 50 principal components 0.12, as in the paper.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from xinverse.operators import Mask

SIDE, HOLE, HOLES = 28, 9, 3
NOISE_VARIANCE = 0.1
TRAINING = 8000  # images; the other 2000 are the test
MODES = 150  # of the covariance of the background


@dataclass
class Seen:
    """Images, and what is seen of them, normalised: ``(batch, 4, 14, 14)``.

    The pixels are those of 28 x 28, four neighbours on an axis of their own: the same numbers,
    which convolutions go over in a quarter of the steps.
    """

    truth: Tensor
    y: Tensor
    observed: Tensor

    @property
    def operator(self) -> Mask:
        """H."""
        return Mask(self.observed)

    def __getitem__(self, some: slice) -> Seen:
        return Seen(self.truth[some], self.y[some], self.observed[some])

    def __len__(self) -> int:
        return len(self.truth)


class Images:
    """The 10,000 images of ``mnist_10000.npz``."""

    def __init__(self) -> None:
        folder = Path(
            os.environ.get("XINVERSE_REAL_DATA", Path(__file__).parents[2] / "shared" / "data")
        )
        file = folder / "mnist_10000.npz"
        if not file.exists():
            raise FileNotFoundError(
                f"{file} is not there: set XINVERSE_REAL_DATA to its folder."
            )
        pixels = torch.from_numpy(np.load(file)["images"]).float() / 255
        self.mean, self.scale = pixels[:TRAINING].mean(), pixels[:TRAINING].std()
        images = (pixels - self.mean) / self.scale
        self.training, self.unseen = images[:TRAINING], images[TRAINING:]
        flat = self.states.flatten(1).double()
        self.middle = flat.mean(0)
        variance, modes = torch.linalg.eigh((flat - self.middle).T.cov())
        kept = variance.argsort(descending=True)[:MODES]
        self.variance, self.modes = variance[kept].float(), modes[:, kept].float()
        self.left_out = float((variance.sum() - variance[kept].sum()) / len(variance))
        self.middle = self.middle.float()

    def batch(self, count: int, generator: torch.Generator, warped: float) -> Seen:
        """Training images drawn at random, a share of them warped a little, with new holes."""
        some = torch.randint(TRAINING - HELD, (count,), generator=generator)
        images, first = self.training[some], round(warped * count)
        images[:first] = self._warped(images[:first], generator)
        return look(images, generator)

    def _warped(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Each image turned, sheared, stretched and shifted at random, by little."""

        def draw(most: float) -> Tensor:
            return most * (2 * torch.rand(len(images), generator=generator) - 1)

        turn, shear = draw(0.14), draw(0.1)  # radians; about 8 degrees
        wide, high = 1 + draw(0.08), 1 + draw(0.08)
        right, down = draw(2 / 14), draw(2 / 14)  # of half an image: two pixels
        rows = [
            torch.stack([wide * turn.cos(), shear - turn.sin(), right], 1),
            torch.stack([turn.sin(), high * turn.cos(), down], 1),
        ]
        grid = functional.affine_grid(
            torch.stack(rows, 1), [len(images), 1, SIDE, SIDE], align_corners=False
        )
        empty = float(images.min())  # beyond the edge: paper
        moved = functional.grid_sample(
            images[:, None] - empty, grid, mode="bicubic", align_corners=False
        )
        return (moved[:, 0] + empty).clamp(empty, float(images.max()))

    @property
    def states(self) -> Tensor:
        """The training images as states."""
        return as_state(self.training)

    def background(self, seen: Seen) -> Tensor:
        """Optimal interpolation: mean of the Gaussian posterior given the observed pixels.

        The covariance is that of the training images, in its leading modes; what they leave
        out counts as noise. Where the learned solvers start.
        """
        observed = seen.observed.flatten(1).to(self.modes)
        misfit = observed * (seen.y.flatten(1) - self.middle)
        precision = 1 / (NOISE_VARIANCE + self.left_out)
        normal = (observed[:, None] * self.modes.T) @ self.modes * precision
        normal = normal + torch.diag(1 / self.variance)
        weights = torch.linalg.solve(normal, (misfit @ self.modes)[..., None] * precision)
        return (self.middle + weights[..., 0] @ self.modes.T).reshape(seen.y.shape)

    def held(self) -> Seen:
        """Training images that no batch draws, to watch a training and to tune."""
        return look(self.training[-HELD:], torch.Generator().manual_seed(77))

    def test(self, seed: int) -> Seen:
        """The images that are scored."""
        return look(self.unseen, torch.Generator().manual_seed(10_000 + seed))


HELD = 500


def look(images: Tensor, generator: torch.Generator) -> Seen:
    """Noise everywhere and holes at random places, other ones for each image."""
    centres = torch.zeros(len(images), SIDE - HOLE + 1, SIDE - HOLE + 1)
    corners = torch.randint(SIDE - HOLE + 1, (len(images), HOLES, 2), generator=generator)
    rows = torch.arange(len(images))[:, None].expand(-1, HOLES)
    centres[rows, corners[..., 0], corners[..., 1]] = 1
    holes = functional.conv_transpose2d(centres[:, None], torch.ones(1, 1, HOLE, HOLE))[:, 0]
    observed = holes == 0
    noise = torch.randn(images.shape, generator=generator)
    y = torch.where(observed, images + NOISE_VARIANCE**0.5 * noise, 0.0)
    return Seen(as_state(images), as_state(y), as_state(observed))


def as_state(images: Tensor) -> Tensor:
    """Images ``(batch, 28, 28)`` with the pixels of each 2 x 2 on an axis of their own."""
    blocks = images.unflatten(2, (14, 2)).unflatten(1, (14, 2))
    return blocks.permute(0, 2, 4, 1, 3).flatten(1, 2)


def as_images(states: Tensor) -> Tensor:
    """Undo `as_state`."""
    blocks = states.unflatten(1, (2, 2)).permute(0, 3, 1, 4, 2)
    return blocks.flatten(3, 4).flatten(1, 2)


def scores(estimate: Tensor, seen: Seen) -> dict[str, float]:
    """R-score over all pixels, I-score over the holes."""
    square = (estimate - seen.truth).square()
    return {
        "R": float(square.mean()),
        "I": float(square[~seen.observed].mean()),
    }
