"""Lorenz-63 and Lorenz-96 from few and noisy observations: the paper's table beside ours.

    python benchmarks/lorenz.py [63] [96] [--seed N] [--quick]

Table 2 of Fablet, Drumetz and Rousseau (2020), in its setting: windows of 200 time steps, every
8th step observed (Lorenz-63), or 20 of 40 components every 4th (Lorenz-96), with a noise of
variance 2. R is the mean square error over the variance of a component about its own mean, P
that of the prior's projection of the truth. The paper normalises by the variance of all
numbers about one mean (so its PCA scores say), 2.7 times larger for Lorenz-63: "R, paper's way"
is to be compared. The learned rows take the weights of ``train_lorenz.py``.

The last row of Lorenz-63 is the most probable trajectory of the true model, looked for from the
true state: about what can be known at all.

Three draws of the test windows and of their noise give mean and spread. The iterative rows
take the first windows of each draw. Their weights and steps were chosen on training windows.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from _lorenz import LENGTH, System, Windows, r_scores
from _lorenz_nets import estimate, project, trained, weights_file
from _measure import finish
from _report import parser
from torch import Tensor

from xinverse.operators import Trajectory
from xinverse.priors import DynamicsPrior, White
from xinverse.solvers import LBFGS, GradientDescent
from xinverse.variational import Inversion, VariationalCost

PAPER = {
    (63, "model, gradient descent"): (2.71e-3, 1.41e-7),
    (63, "model, LSTM"): (1.52e-3, 1.41e-7),
    (63, "two-scale network, LSTM, joint"): (1.00e-3, 2.78e-4),
    (96, "model, gradient descent"): (5.65e-2, 6.70e-7),
    (96, "model, LSTM"): (4.46e-2, 6.70e-7),
    (96, "two-scale network, LSTM, joint"): (1.94e-2, 3.70e-3),
}
DRAWS = 3


@dataclass(frozen=True)
class Descent:
    """How the iterative rows go down: chosen on 32 and 8 training windows."""

    ratio: float  # lambda_2 / lambda_1 of the gradient descent
    step: float
    iterations: int
    ratios: tuple[float, ...]  # of L-BFGS, one after another
    iterations_each: int
    windows: int  # of each draw


DESCENTS = {
    63: Descent(100.0, 0.2, 4000, (30.0, 300.0, 3e3, 3e4, 3e5), 150, 64),
    96: Descent(10.0, 0.1, 3000, (1.0, 4.0, 20.0, 100.0, 1e3, 1e4), 150, 12),
}


def start(system: System, windows: Windows) -> Tensor:
    """Where the descents begin: lines through the observations, or the climate."""
    # Half of the components of Lorenz-96 are not seen at a time, and lines lead astray.
    return windows.interpolated if system.number == 63 else torch.zeros_like(windows.truth)


def descend(system: System, windows: Windows) -> Tensor:
    """Fixed-step gradient descent on the weak-constraint cost of the true model."""
    how = DESCENTS[system.number]
    cost = VariationalCost(DynamicsPrior(system.normalised, system.dt), 1 / how.ratio)
    solver = GradientDescent(how.step, how.iterations)
    return solver(Inversion(cost, windows.y, windows.operator), start(system, windows)).state


def strong(system: System, windows: Windows) -> Tensor:
    """The model's trajectory nearest to the observations, looked for from the true start."""
    flow = Trajectory(system.normalised, system.dt, LENGTH)
    cost = VariationalCost(White(), 1.0, 1e-6)
    found = LBFGS(60)(
        Inversion(cost, windows.y, windows.operator @ flow), windows.truth[:, 0].clone()
    )
    with torch.no_grad():
        return flow(found.state)


def quasi_newton(system: System, windows: Windows) -> Tensor:
    """L-BFGS on that cost, the model trusted more and more."""
    how, x = DESCENTS[system.number], start(system, windows)
    for ratio in how.ratios:
        cost = VariationalCost(DynamicsPrior(system.normalised, system.dt), 1 / ratio)
        x = LBFGS(how.iterations_each, tolerance=1e-5)(
            Inversion(cost, windows.y, windows.operator), x
        ).state
    return x


def rows(system: System, seed: int, quick: bool) -> list[dict[str, object]]:
    """The table of one system."""
    model = DynamicsPrior(system.normalised, system.dt)
    nets = {
        name: trained(system, row, seed)
        for name, row in (
            ("model, LSTM", "model"),
            ("two-scale network, LSTM, joint", "joint"),
        )
        if weights_file(system, row, seed).exists()
    }
    methods: dict[str, tuple[Callable[[Windows], Tensor], bool]] = {
        "linear interpolation": (lambda w: w.interpolated, False),
        "model, gradient descent": (lambda w: descend(system, w), True),
        "model, L-BFGS": (lambda w: quasi_newton(system, w), True),
    }
    if system.number == 96:  # where its learned rows start
        methods["optimal interpolation"] = (
            lambda w: system.background(w.y, w.observed),
            False,
        )
    for name, net in nets.items():
        methods[name] = (lambda w, net=net: estimate(net, w), False)
    if system.number == 63:  # ten days of Lorenz-96 are too long to be shot through
        methods["model, strong constraint from the truth"] = (lambda w: strong(system, w), True)
    table = []
    draws = [system.test(100 * seed + draw) for draw in range(1 if quick else DRAWS)]
    truth = draws[0].truth[:256]
    for name, (method, iterative) in methods.items():
        found, began, count = [], time.perf_counter(), 0
        for drawn in draws:
            few = 8 if quick else DESCENTS[system.number].windows
            windows = drawn[:few] if iterative or quick else drawn
            found.append(r_scores(method(windows), windows.truth).mean())
            count += len(windows)
        seconds = (time.perf_counter() - began) / count
        prior = nets[name].cost.prior if name in nets else model if "model" in name else None
        with torch.no_grad():
            distance = (
                None
                if prior is None
                else float(r_scores(project(prior, truth.to(_dtype(prior))), truth).mean())
            )
        published = PAPER.get((system.number, name), ("", ""))
        r = float(torch.stack(found).mean())
        row: dict[str, object] = {
            "system": f"Lorenz-{system.number}",
            "method": name,
            "R": r,
            "R, paper's way": r / system.papers_way,
            "spread": float(torch.stack(found).std()) if len(found) > 1 else float("nan"),
            "P": "" if distance is None else distance,
            "paper R": published[0],
            "paper P": published[1],
            "windows": count,
            "ms per window": round(1000 * seconds, 1),
        }
        if published[0]:
            row["met"] = "yes" if r / system.papers_way <= published[0] else "NO"
        print(row, flush=True)
        table.append(row)
    return table


def _dtype(prior: torch.nn.Module) -> torch.dtype:
    return next(iter(prior.state_dict().values())).dtype


def main() -> None:
    """Both tables."""
    options = parser(__doc__)
    options.add_argument("systems", nargs="*", type=int, help="63, 96 or both")
    arguments = options.parse_args()
    table: list[dict[str, object]] = []
    for number in arguments.systems or (63, 96):
        table += rows(System(number), arguments.seed, arguments.quick)
    finish(
        "lorenz",
        table,
        quick=arguments.quick,
        seed=arguments.seed,
        draws=DRAWS,
        length=LENGTH,
        descents={number: vars(d) for number, d in DESCENTS.items()},
    )


if __name__ == "__main__":
    main()
