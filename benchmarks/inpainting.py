"""Images with holes: eight ways to fill them, the paper's table beside ours.

    python benchmarks/inpainting.py [--seed N] [--quick]

Table 1 of Fablet, Drumetz and Rousseau (2020): images of 28 x 28 pixels, three holes of 9 x 9,
noise of a tenth of their variance. R is the mean square error over the variance, I that within
the holes, P that of the prior's projection of the truth. The paper trains on 60,000 images;
here are 8,000 to learn from and 2,000 to score. The learned rows take the weights of
``train_inpainting.py``; their solvers start from optimal interpolation, with the covariance of
the training images, which is a row too. Three draws of holes and noise give mean and spread.

Draws docs/images/inpainting.png, examples, and docs/images/pathways.png: the variational cost
against the error of the reconstruction along the iterations of gradient descents and of learned
solvers, the paper's first figure.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from _image_nets import RECIPES, estimate, prior, score, trained, weights_file
from _images import Images, Seen, as_images, scores
from _measure import finish, save_figure
from _report import parser
from sklearn.decomposition import MiniBatchDictionaryLearning
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from xinverse.learning import VariationalNet
from xinverse.solvers import GradientDescent
from xinverse.solvers.base import Solver
from xinverse.variational import Inversion, VariationalCost

# The paper's rows: R, I, P.
PAPER = {
    "dictionary, OMP": (0.25, 0.90, 0.21),
    "dictionary, Lasso": (0.20, 0.71, 0.21),
    "PCA, gradient descent": (0.39, 1.09, 0.12),
    "PCA, LSTM": (0.15, 0.54, 0.12),
    "autoencoder, FP(1), joint": (0.40, 1.51, 0.12),
    "autoencoder, LSTM": (0.195, 0.71, 0.12),
    "autoencoder, LSTM, joint": (0.210, 0.76, 0.95),
    "two-scale network, FP(1), joint": (0.16, 0.56, 0.03),
    "two-scale network, LSTM, joint": (0.09, 0.33, 0.02),
}
ROWS = {
    "PCA, LSTM": "pca-lstm",
    "autoencoder, FP(1), joint": "ae-fp",
    "autoencoder, LSTM": "ae-lstm",
    "autoencoder, LSTM, joint": "ae-joint",
    "two-scale network, FP(1), joint": "2s-fp",
    "two-scale network, LSTM, joint": "2s-joint",
}
BEST = "two-scale network, LSTM, joint"
REQUIRED = 0.33  # its I-score
DRAWS = 3
ATOMS, ROUNDS = 128, 20
CODED = 500  # images of each draw that the dictionaries fill, which is slow
# Of the descents on cost functions that are not learned for them: lambda_2 / lambda_1, step and
# iterations, the best of a grid on 500 training images (``tune``).
GRID = {"ratio": (0.3, 1.0, 3.0, 10.0), "iterations": (10, 30, 100, 300)}


class Dictionary:
    """Sparse codes of images, and the rounds that fill holes with them (Mairal et al. 2009)."""

    def __init__(self, images: Images, kind: str, seed: int) -> None:
        self.learned = MiniBatchDictionaryLearning(
            ATOMS,
            alpha=1.0,
            batch_size=256,
            max_iter=10,
            transform_algorithm=kind,
            transform_n_nonzero_coefs=10 if kind == "omp" else None,
            transform_alpha=None if kind == "omp" else 1.0,
            random_state=seed,
        ).fit(images.states.flatten(1).numpy())

    def project(self, x: Tensor) -> Tensor:
        """Code and decode."""
        flat = x.flatten(1).numpy()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            codes = self.learned.transform(flat)
        decoded = codes @ self.learned.components_
        return torch.from_numpy(decoded.astype("float32")).reshape(x.shape)

    def fill(self, seen: Seen) -> Tensor:
        """Rounds of coding and decoding, the observed pixels put back between them."""
        found = seen.y
        for _ in range(ROUNDS):
            found = self.project(torch.where(seen.observed, seen.y, found))
        return found


def tune(cost_of: Callable[[float], VariationalCost], held: Seen) -> tuple[float, float, int]:
    """Ratio of the weights, step and iterations of a gradient descent, by the I-score."""
    tried = {}
    for ratio in GRID["ratio"]:
        cost, step = cost_of(ratio), 0.45 / (1 + ratio)

        def watch(
            k: int, x: Tensor, _: Tensor, ratio: float = ratio, step: float = step
        ) -> None:
            if k in GRID["iterations"]:
                tried[ratio, step, k] = scores(x, held)["I"]

        GradientDescent(step, max(GRID["iterations"]))(
            Inversion(cost, held.y, held.operator), held.y, callback=watch
        )
    ratio, step, iterations = min(tried, key=lambda key: tried[key])
    return ratio, step, int(iterations)


def table(
    images: Images, seed: int, quick: bool
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """All rows, and what made them."""
    pca = prior("pca", images)
    made: dict[str, Any] = {}
    methods: dict[str, Callable[[Seen], dict[str, float]]] = {}

    def describe(fill: Callable[[Seen], Tensor], project: Callable[[Tensor], Tensor]):
        return lambda seen: (
            scores(fill(seen), seen)
            | {"P": float((project(seen.truth) - seen.truth).square().mean())}
        )

    methods["optimal interpolation"] = lambda seen: scores(images.background(seen), seen)
    for name, kind in (("dictionary, OMP", "omp"), ("dictionary, Lasso", "lasso_lars")):
        made[name] = Dictionary(images, kind, seed)
        methods[name] = describe(made[name].fill, made[name].project)
    ratio, step, iterations = tune(lambda r: VariationalCost(pca, 1.0, r), images.held())
    print(f"PCA, gradient descent: ratio {ratio:g}, step {step:.3g}, {iterations} iterations")
    cost, solver = VariationalCost(pca, 1.0, ratio), GradientDescent(step, iterations)
    made["PCA, gradient descent"] = (cost, solver)
    methods["PCA, gradient descent"] = describe(
        lambda seen: solver(Inversion(cost, seen.y, seen.operator), seen.y).state, pca.project
    )
    for name, row in ROWS.items():
        if weights_file(row, seed).exists():
            net = made[name] = trained(row, images, seed)
            methods[name] = lambda seen, net=net, row=row: score(row, net, images, seen)
    rows = []
    for name, method in methods.items():
        found, began = [], time.perf_counter()
        for draw in range(1 if quick else DRAWS):
            seen = images.test(100 * seed + draw)
            most = 200 if quick else CODED if name.startswith("dictionary") else len(seen)
            found.append(method(seen[:most]))
        mean = {key: float(np.mean([f.get(key, np.nan) for f in found])) for key in "RIP"}
        spread = float(np.std([f["I"] for f in found], ddof=1)) if len(found) > 1 else np.nan
        published = dict(zip("RIP", PAPER.get(name, ("", "", "")), strict=True))
        row: dict[str, Any] = {"method": name}
        for key in "RIP":
            row |= {key: mean[key], f"paper {key}": published[key]}
        row |= {"spread of I": spread, "seconds": round(time.perf_counter() - began, 1)}
        print(row, flush=True)
        rows.append(row)
        if name == BEST:
            row |= {
                "required I": f"<= {REQUIRED}",
                "met": "yes" if row["I"] <= REQUIRED else "NO",
            }
    return rows, made


def ranks(rows: list[dict[str, Any]]) -> str:
    """The methods from the best I-score to the worst, ours and the paper's."""
    common = [row for row in rows if row["paper I"]]
    ours = sorted(common, key=lambda row: row["I"])
    theirs = sorted(common, key=lambda row: row["paper I"])
    both = [
        f"{place}. {mine['method']:34} {other['method']}"
        for place, (mine, other) in enumerate(zip(ours, theirs, strict=True), start=1)
    ]
    return "\n".join([f"   {'ours':34} paper", *both])


def pathways(made: dict[str, Any], images: Images, seen: Seen) -> None:
    """Draw cost against error along the iterations, one line a solver."""
    figure, axes = plt.subplots(figsize=(6.4, 4.6), layout="constrained")
    two_scale: VariationalNet = made[BEST]
    pca: VariationalNet = made["PCA, LSTM"]
    descents = {
        "PCA, gradient descent": (*made["PCA, gradient descent"], "tab:purple", "--"),
        "PCA, learned solver": (pca.cost, pca.solver, "tab:purple", "-"),
        "two-scale network, gradient descent": (
            two_scale.cost,
            GradientDescent(0.02, 300),
            "tab:cyan",
            "--",
        ),
        "two-scale network, learned solver": (
            two_scale.cost,
            two_scale.solver,
            "tab:cyan",
            "-",
        ),
    }
    for name, (cost, solver, colour, line) in descents.items():
        errors, costs = _path(cost, solver, images.background(seen), seen)
        axes.plot(errors, costs, line, color=colour, label=name, marker=".", markersize=4)
        axes.plot(errors[-1], costs[-1], "o", color=colour)
    axes.set(
        xlabel="reconstruction error, normalised (R-score)",
        ylabel="variational cost, over its first value",
        xscale="log",
        yscale="log",
        title="Pathways of the solvers, 200 images with holes",
    )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("{x:.2g}")
    axes.legend(frameon=False, loc="lower left")
    save_figure(figure, "pathways")
    plt.close(figure)


def _path(
    cost: VariationalCost, solver: Solver, x0: Tensor, seen: Seen
) -> tuple[list[float], list[float]]:
    errors, costs = [], []

    def watch(_: int, x: Tensor, value: Tensor) -> None:
        errors.append(scores(x, seen)["R"])
        costs.append(float(value.mean()))

    solver(Inversion(cost, seen.y, seen.operator), x0, callback=watch)
    return errors, [value / costs[0] for value in costs]


def examples(made: dict[str, Any], images: Images, seen: Seen) -> None:
    """Draw truth, observations and reconstructions of ten images."""
    some = seen[:10]
    panels = {
        "truth": some.truth,
        "seen": torch.where(some.observed, some.y, torch.nan),
        "interpolation": images.background(some),
        "Lasso": made["dictionary, Lasso"].fill(some),
        "PCA, LSTM": estimate("pca-lstm", made["PCA, LSTM"], images, some),
        "two-scale, FP(1)": estimate(
            "2s-fp", made["two-scale network, FP(1), joint"], images, some
        ),
        "two-scale, LSTM": estimate("2s-joint", made[BEST], images, some),
    }
    figure, axes = plt.subplots(len(panels), 10, figsize=(9, 5.6), layout="constrained")
    for line, (name, states) in zip(axes, panels.items(), strict=True):
        for panel, image in zip(line, as_images(states), strict=True):
            panel.imshow(image, cmap="gray", vmin=-0.5, vmax=2.8)
            panel.set_facecolor("tab:blue")
            panel.set(xticks=[], yticks=[])
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")
    save_figure(figure, "inpainting")
    plt.close(figure)


def main() -> None:
    """Score, rank, draw."""
    arguments = parser(__doc__).parse_args()
    images = Images()
    rows, made = table(images, arguments.seed, arguments.quick)
    print(ranks(rows))
    if set(ROWS) <= set(made) and not arguments.quick:
        seen = images.test(100 * arguments.seed)
        pathways(made, images, seen[:200])
        examples(made, images, seen)
    finish(
        "inpainting",
        rows,
        quick=arguments.quick,
        seed=arguments.seed,
        draws=DRAWS,
        recipes={name: str(recipe) for name, recipe in RECIPES.items()},
    )


if __name__ == "__main__":
    main()
