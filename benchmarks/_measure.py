"""Seconds and peak memory of one piece of work, and where a benchmark's figures go."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _report import report, table

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
MIB = 2**20


@dataclass
class Cost:
    """What a piece of work took."""

    seconds: float = 0.0
    peak_mib: float = 0.0

    @property
    def columns(self) -> dict[str, float]:
        """Columns of a table."""
        return {"seconds": round(self.seconds, 1), "peak MiB": round(self.peak_mib)}


@contextmanager
def measured() -> Iterator[Cost]:
    """Measure a block: seconds, and the most memory that the process held during it."""
    cost = Cost()
    _forget_peak()
    start = time.perf_counter()
    yield cost
    cost.seconds = time.perf_counter() - start
    cost.peak_mib = peak_mib()


def seconds(work: Callable[[], Any], repeats: int) -> float:
    """Of the fastest of some runs, after one that is not counted."""
    work()
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


def peak_mib() -> float:
    """Peak resident memory of this process, in MiB."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024 / MIB
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / MIB if sys.platform == "darwin" else peak * 1024 / MIB


def _forget_peak() -> None:
    """Let the peak count from now on; only Linux can, elsewhere it is the program's."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def finish(name: str, rows: list[dict[str, Any]], *, quick: bool, **meta: Any) -> None:
    """Report the rows; a quick run is printed only, so that it replaces no figures."""
    if quick:
        print(table(rows))
        print("a quick run: nothing is written")
    else:
        report(name, rows, **meta)


def save_figure(figure: Any, name: str) -> None:
    """Write a figure for the documentation."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    figure.savefig(IMAGES / f"{name}.png", dpi=110)
    print(f"written: docs/images/{name}.png")
