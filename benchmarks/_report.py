"""What every benchmark prints and keeps: a table, and the figures with where they come from."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
LIBRARIES = ("xinverse", "numpy", "scipy", "xarray", "dask", "torch", "zarr")


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return the options that every benchmark has."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--seed", type=int, default=0, help="seed of noise and draws")
    made.add_argument(
        "--quick", action="store_true", help="a small case, to see that the benchmark runs"
    )
    return made


def report(name: str, rows: list[dict[str, Any]], **meta: Any) -> Path:
    """Print rows as a table and write them with their provenance.

    Parameters
    ----------
    name : str
        Of the file ``benchmarks/results/<name>.json``.
    rows : list of dict
        One per line of the table; keys are its columns.
    **meta
        Whatever else the figures depend on, such as ``seed=0``.

    Returns
    -------
    Path
        The file.
    """
    rows = [{column: _bare(value) for column, value in row.items()} for row in rows]
    print(table(rows))
    content = {
        "name": name,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": machine(),
        "meta": meta,
        "rows": rows,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(content, indent=2, default=_plain) + "\n", encoding="utf-8")
    print(f"written: benchmarks/results/{path.name}")
    return path


def table(rows: list[dict[str, Any]]) -> str:
    """Return rows as aligned text: names to the left, numbers to the right."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [[_word(row.get(column, "")) for column in columns] for row in rows]
    right = [any(_is_number(row.get(column)) for row in rows) for column in columns]
    widths = [
        max(map(len, [column, *(line[k] for line in cells)]))
        for k, column in enumerate(columns)
    ]

    def line(words: list[str]) -> str:
        return "  ".join(
            word.rjust(width) if number else word.ljust(width)
            for word, width, number in zip(words, widths, right, strict=True)
        ).rstrip()

    rule = "  ".join("-" * width for width in widths)
    return "\n".join([line(columns), rule, *map(line, cells)])


def machine() -> dict[str, Any]:
    """Return the processor, its cores, and the versions of what did the work."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: found for name in LIBRARIES if (found := _version(name))},
    }


def _commit() -> str:
    here = Path(__file__).resolve().parent
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True
        )
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"],
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip() + (" with changes" if changed.stdout.strip() else "")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _word(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _bare(value: Any) -> Any:
    """A score without its labels, as the plain number that it is."""
    if hasattr(value, "item") and getattr(value, "size", 0) == 1:
        return value.item()
    return value


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)
