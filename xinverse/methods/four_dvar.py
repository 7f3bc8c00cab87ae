"""4DVar: mask, a model of the dynamics and its errors, quasi-Newton descent."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf, pi, radians, sin, sqrt
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from xinverse.checks import check_choice, check_count, check_number
from xinverse.constants import EARTH_ROTATION, GRAVITY, SECONDS_PER_DAY
from xinverse.errors import DataError, GridError
from xinverse.fields.grid import Grid
from xinverse.methods.base import METHODS, Footprint, Method
from xinverse.methods.footprint import correlation_halo, largest_tile
from xinverse.methods.problem import Estimate, Layout, Problem, Wanted
from xinverse.methods.tile_statistics import anomalies, local_km, spread_of

if TYPE_CHECKING:
    import torch

    from xinverse.dynamics.base import Dynamics
    from xinverse.operators.driven import DrivenTrajectory

__all__ = ["FourDVar"]

DYNAMICS = ("quasi-geostrophic", "advection")
CONSTRAINTS = ("weak", "strong")
# Speed of the first baroclinic mode, m/s: middle latitudes of Chelton et al. (1998).
MODE_SPEED = 2.7
# Cells of the model per length scale; shorter scales have no variance in the prior.
RESOLUTION = 5
# Phase that RK4 may turn in a step; it becomes unstable at 2.8.
STEP = 2.4
NEAR_EQUATOR = 5.0  # degrees, within which the flow is not geostrophic


@METHODS.register("4dvar")
@dataclass(frozen=True, kw_only=True)
class FourDVar(Method):
    """The most probable trajectory of an imperfect model, given the observations.

    Attributes
    ----------
    dynamics : str
        ``"quasi-geostrophic"``: the potential vorticity of one layer is advected by its
        geostrophic flow; the variable is a sea surface height in metres.
        ``"advection"``: the field is advected by a uniform flow.
    constraint : str
        ``"weak"``: the model has errors. ``"strong"``: the model is exact; only the
        initial state and the drift are estimated.
    length_scale : float
        Correlation scale of state and errors in space, km.
    memory : float
        Decay time of the state, days; weak constraint only.
    error_scale : float
        Correlation scale of the model's errors in time, days.
    drift : float
        Standard deviation of the mean flow, which is estimated with the state, m/s
        (eastward; with ``"advection"`` northward too); 0 for no mean flow.
    rossby_radius : float, optional
        Deformation radius, km. Default: 2.7 m/s over the Coriolis parameter.
    resolution : float, optional
        Cell size of the model, km. Default: a fifth of the length scale, or the grid's
        spacing if that is coarser.
    noise, variance, background
        As for ``method="oi"``.
    iterations : int
        Largest number of iterations.
    tolerance : float
        Gradient, relative to the first one, at which the descent stops.
    """

    name: ClassVar[str] = "4dvar"
    summary: ClassVar[str] = "4DVar: mask, a model of the dynamics and its errors, L-BFGS"
    companions: ClassVar[tuple[str, ...]] = ("noise", "background")
    regular: ClassVar[tuple[str, ...]] = ("time", "space")
    # Twenty control vectors of the descent, the trajectory and its gradient.
    bytes_per_cell: ClassVar[float] = 300

    dynamics: str = "quasi-geostrophic"
    constraint: str = "weak"
    length_scale: float = 90.0
    memory: float = 20.0
    error_scale: float = 6.0
    drift: float = 0.1
    rossby_radius: float | None = None
    resolution: float | None = None
    noise: float | None = None
    variance: float | None = None
    background: float | None = None
    iterations: int = 80
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        """Check every option."""
        check_choice("dynamics", self.dynamics, DYNAMICS)
        check_choice("constraint", self.constraint, CONSTRAINTS)
        for name in ("length_scale", "memory", "error_scale", "tolerance"):
            check_number(name, getattr(self, name), above=0)
        for name in ("rossby_radius", "resolution", "noise", "variance"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), above=0)
        check_number("drift", self.drift, least=0)
        check_count("iterations", self.iterations)

    @property
    def units(self) -> str | None:
        """Metres for sea surface height, if it determines the flow."""
        return "m" if self.dynamics == "quasi-geostrophic" else None

    def check(self, layout: Layout) -> None:
        """Require a regular grid, and latitudes off the equator for quasi-geostrophy."""
        super().check(layout)
        grid = layout.grid
        if self.dynamics != "quasi-geostrophic":
            return
        if not grid.geographic:
            raise GridError(
                "dynamics='quasi-geostrophic' needs latitudes, for the rotation of the Earth; "
                "y is not a latitude. Use a grid of latitude and longitude, or "
                "dynamics='advection'."
            )
        south, north = float(grid.y.min()), float(grid.y.max())
        if min(abs(south), abs(north)) < NEAR_EQUATOR or south * north < 0:
            raise GridError(
                f"The latitudes reach from {south:g} to {north:g}. Quasi-geostrophy does not "
                f"hold within {NEAR_EQUATOR:g} degrees of the equator: select other latitudes, "
                "or use method='oi' there."
            )

    def footprint(self, layout: Layout, budget: float) -> Footprint:
        """Halo of two length scales and one memory."""
        halo = correlation_halo(layout.grid, self.length_scale, self.memory / 2)
        return largest_tile(layout.grid, halo, self.bytes_per_cell, budget)

    def solve(self, problem: Problem, wanted: Wanted, device: Any) -> Estimate:  # noqa: ARG002  the mean is all
        """Most probable trajectory of one tile."""
        import torch

        from xinverse.operators import Composition, Mask, NoiseWeighted, Separable
        from xinverse.priors.white import White
        from xinverse.solvers.lbfgs import LBFGS
        from xinverse.variational import Inversion, VariationalCost

        variable, keep = problem.variable, problem.place.keep
        centred = anomalies(problem, self.background)
        found = spread_of(problem, centred, variable, noise=self.noise, variance=self.variance)
        observed = problem.observed
        if not observed.any():  # the background is the answer
            nothing = np.zeros(observed.shape)[keep]
            return Estimate({variable: centred.added(variable, nothing, keep)})
        noise = np.ones(observed.shape)
        noise[observed] = np.sqrt(found.noise_variance[0])
        trajectory, to_grid = _model(problem, self, found.variance)
        on_grid = Composition(Separable(*to_grid), trajectory)
        operator = NoiseWeighted(
            Composition(Mask(torch.from_numpy(observed)), on_grid),
            torch.from_numpy(noise)[None],
        )
        operator = operator.to(device, torch.float32)
        y = torch.as_tensor(centred.anomaly[None].astype("float32"), device=device)
        solver = LBFGS(int(self.iterations), tolerance=self.tolerance)
        control = torch.zeros(1, trajectory.size, dtype=torch.float32, device=device)
        cost = VariationalCost(White()).to(device)
        solution = solver(Inversion(cost, operator.weigh(y), operator), control)
        with torch.no_grad():
            state = on_grid(solution.state)[0].double().cpu().numpy()
        if not np.isfinite(state).all():
            raise DataError(
                f"The model of {problem.place.words} became unstable: its flow is faster than "
                "expected from the variance of the observations. Give variance=, or a coarser "
                "resolution=."
            )
        return Estimate({variable: centred.added(variable, state[keep], keep)})


def _model(
    problem: Problem, options: FourDVar, variance: float
) -> tuple[DrivenTrajectory, tuple[torch.Tensor, torch.Tensor]]:
    """The driven model of a tile, and the matrices from its grid to the tile's.

    The model's box is doubly periodic. It extends beyond the tile by 1.5 length scales of
    unobserved ocean, so that opposite edges of the tile do not interact.
    """
    import torch

    from xinverse.dynamics.spectral import interpolation_matrix
    from xinverse.operators.driven import DrivenTrajectory, SpectralColour

    grid = problem.grid
    axes = [axis - axis[0] for axis in local_km(problem.grid)]
    steps = [float(axis[-1]) / (axis.size - 1) if axis.size > 1 else inf for axis in axes]
    finest = min(steps)
    wanted = options.resolution or max(options.length_scale / RESOLUTION, finest)
    shape, spacing, matrices = [], [], []
    for axis in axes:
        box = float(axis[-1]) + 1.5 * options.length_scale
        cells = max(2 * ceil(box / wanted / 2), 8)
        shape.append(cells)
        spacing.append(box / cells)
        matrices.append(interpolation_matrix(torch.from_numpy(axis), cells, box / cells))
    sides = (shape[0], shape[1]), (spacing[0], spacing[1])
    model, substeps, parameters = _dynamics(grid, options, sides, sqrt(variance))
    trajectory = DrivenTrajectory(
        model,
        SpectralColour(*sides, options.length_scale, sqrt(variance)),
        grid.time_step if grid.time.size > 1 else 1.0,
        grid.time.size,
        substeps=substeps,
        memory=options.memory if options.constraint == "weak" else inf,
        error_scale=options.error_scale,
        parameters=parameters,
    )
    return trajectory, (matrices[0], matrices[1])


def _dynamics(
    grid: Grid,
    options: FourDVar,
    sides: tuple[tuple[int, int], tuple[float, float]],
    deviation: float,
) -> tuple[Dynamics, int, dict[str, tuple[float, float]]]:
    """The model, its time steps between two maps, and its estimated parameters."""
    from xinverse.dynamics import Advection, OneLayerQG

    spread = {"drift": (0.0, options.drift)} if options.drift else {}
    if options.dynamics == "advection":
        both = {"u": (0.0, options.drift), "v": (0.0, options.drift)} if options.drift else {}
        return Advection(*sides), 1, both
    latitude = 0.5 * (float(grid.y.min()) + float(grid.y.max()))
    coriolis = 2 * EARTH_ROTATION * abs(sin(radians(latitude)))
    radius = options.rossby_radius or 1e-3 * MODE_SPEED / coriolis
    model = OneLayerQG(*sides, latitude=latitude, rossby_radius=radius)
    # Four standard deviations of the geostrophic speed in the prior.
    speed = 4 * sqrt(2) * GRAVITY / coriolis * deviation / (1e3 * options.length_scale) + 0.1
    shortest = 2 / 3 * pi / (1e3 * min(sides[1]))
    step = grid.time_step if grid.time.size > 1 else 1.0
    return model, ceil(SECONDS_PER_DAY * step * speed * shortest / STEP), spread
