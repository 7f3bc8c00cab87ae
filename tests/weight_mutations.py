"""Weight files changed at random in header, card and tensors.

``PYTHONPATH=. python tests/weight_mutations.py 1000`` changes a valid file 1,000 times and uses
each result as a user would, up to the map. It prints where files were refused and how many are
valid, the slowest of each and the peak memory. It fails if anything but `WeightsError` was
raised, or `DataError` for a map that is not finite.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import xinverse
from xinverse.errors import DataError, UnitsError, WeightsError
from xinverse.weights import ModelCard, save

FIELD = xr.DataArray(
    np.where(np.random.default_rng(0).random((6, 12, 12)) < 0.5, 0.1, np.nan),
    dims=("time", "lat", "lon"),
    coords={
        "time": np.arange("2020-01-01", "2020-01-07", dtype="M8[D]").astype("M8[ns]"),
        "lat": 36 + 0.1 * np.arange(12),
        "lon": -4 + 0.1 * np.arange(12),
    },
    name="sla",
    attrs={"units": "m"},
)
METHODS = ("4dvarnet", "unet", "4dvarnet-reference")
# The numbers of the tensors are read after the call; the rest of the file is checked at it.
# Finite numbers may still be so large that the map is infinite, which the result's check finds.
CALL, READING, VALID = "refused at the call", "refused when read", "valid"
INFINITE = "refused for an infinite map"
RIGHT = CALL, READING, INFINITE, VALID


def network(method: str) -> Any:
    """A small untrained network."""
    import torch

    from xinverse.learning import DirectUNet, FourDVarNet, ReferenceFourDVarNet

    torch.manual_seed(0)
    return {
        "4dvarnet": lambda: FourDVarNet(5, 3, 4, 2, sees_coverage=True),
        "unet": lambda: DirectUNet(5, 3, 1),
        "4dvarnet-reference": lambda: ReferenceFourDVarNet(5, 3, 4, n_step=2, patch=(12, 12)),
    }[method]()


def settings(method: str) -> dict[str, Any]:
    """What the method itself keeps on a card."""
    if method == "4dvarnet-reference":
        return {"normalisation": {"mean": 0.0, "std": 0.1}, "border": [1, 1]}
    return {"background": {"length_scale": 50.0, "time_scale": 5.0}, "passes": 1}


def written(path: Path, method: str = "4dvarnet") -> Path:
    """Write a valid file of a small network, which fits `FIELD`."""
    net = network(method)
    card = ModelCard(
        name="small",
        method=method,
        summary="For the tests.",
        variables=("sla",),
        units="m",
        grid_spacing_km=(5, 30),
        time_step_days=1,
        window=5,
        training="none",
        config={**net.config, **settings(method)},
    )
    return save(path, net.state_dict(), card)


def taken_apart(content: bytes) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """Header, card and data of a file."""
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    return header, json.loads(header["__metadata__"]["card"]), content[start:]


def joined(header: Any, card: Any, data: bytes) -> bytes:
    """A file with these parts and the right checksum, as an attacker would write it."""
    if not isinstance(header, dict):
        final = json.dumps(header).encode()
        return len(final).to_bytes(8, "little") + final + data
    header = dict(header)
    text = card if isinstance(card, str) else json.dumps(card)
    header["__metadata__"] = {"card": text}
    layout = json.dumps(header, separators=(",", ":")).encode()
    header["__metadata__"]["sha256"] = hashlib.sha256(layout + data).hexdigest()
    final = json.dumps(header, separators=(",", ":")).encode()
    return len(final).to_bytes(8, "little") + final + data


def used(path: Path, method: str) -> None:
    """Use a file as a user does: with `load_model`, and for a map."""
    xinverse.load_model(path)
    xinverse.interpolate(FIELD.chunk(), method, weights=str(path)).compute()


ODD: list[Callable[[random.Random], Any]] = [
    lambda r: r.choice([10**9, -1, 0, 10**30, 2**63, 1, 2, 999]),
    lambda r: r.choice([1e308, -0.5, 1e-300, float("nan"), float("inf")]),
    lambda r: r.choice(["two", "", "lstm", "F32", "\x00", "\ud800", "x" * 10_000]),
    lambda r: r.choice([None, True, False]),
    lambda r: [r.choice([10**9, -1, "a", None])] * r.choice([0, 1, 2, 50]),
    lambda r: {r.choice(["a", "", "window"]): r.choice([1, "b", None])},
    lambda r: nested(r.choice([3, 40, 5000])),
]


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(min(levels, 400)):
        value = [value]
    return value


def change(value: Any, r: random.Random) -> Any:
    """A copy of JSON values with one of them changed, removed, added or doubled."""
    if isinstance(value, dict) and value and r.random() < 0.85:
        key = r.choice(sorted(value))
        new = dict(value)
        act = r.random()
        if act < 0.1:
            del new[key]
        elif act < 0.2:
            new[r.choice(["colour", "", "window", "__metadata__"])] = r.choice(ODD)(r)
        elif act < 0.3:
            new[r.choice(sorted(value))] = new[key]
        else:
            new[key] = change(value[key], r)
        return new
    if isinstance(value, list) and value and r.random() < 0.7:
        at = r.randrange(len(value))
        return [*value[:at], change(value[at], r), *value[at + 1 :]]
    if isinstance(value, int) and not isinstance(value, bool) and r.random() < 0.5:
        return value + r.choice([-1, 1, 4, -4, 1000])
    return r.choice(ODD)(r)


def mutated(content: bytes, r: random.Random) -> bytes:
    """A file changed once, in one of several ways."""
    header, card, data = taken_apart(content)
    way = r.randrange(9)
    if way < 3:
        changed = {**card, "config": change(card["config"], r)} if way else change(card, r)
        return joined(header, changed, data)
    if way < 5:
        tensors = {key: value for key, value in header.items() if key != "__metadata__"}
        return joined(change(tensors, r), card, data)
    if way == 5:  # the numbers
        at = 4 * r.randrange(len(data) // 4)
        odd = np.float32(r.choice([np.nan, np.inf, 1e38, 0])).tobytes()
        return joined(header, card, data[:at] + odd + data[at + 4 :])
    if way == 6:  # text that is hardly JSON
        text = json.dumps(card)
        at = r.randrange(len(text))
        odd = r.choice(["[" * 100_000, "{", '"', "\\", "NaN", "9" * 5000, "\x00", "}" * 9])
        return joined(header, text[:at] + odd + text[at + r.randrange(3) :], data)
    if way == 7:  # length of the header
        length = int.from_bytes(content[:8], "little")
        new = r.choice([0, length - 1, length + 8, 10**8, 2**63, 2**64 - 1, 2, len(content)])
        return new.to_bytes(8, "little") + content[8:]
    at = r.randrange(len(content))  # bytes, without a new checksum
    return content[:at] + r.randbytes(r.randrange(1, 9)) + content[at + r.randrange(9) :]


def outcome(content: bytes, method: str, path: Path) -> str:
    """What becomes of a file: one of `RIGHT`, or the wrong error."""
    path.write_bytes(content)
    where = CALL
    try:
        xinverse.interpolate(FIELD.chunk(), method, weights=str(path))
        where = READING
        used(path, method)
    except WeightsError:
        return where
    except DataError as error:
        return INFINITE if "not finite" in str(error) else f"DataError: {error}"
    except UnitsError:  # the units of the card were changed, into others
        return VALID
    except Exception as error:  # noqa: BLE001  this is what is looked for
        return f"{type(error).__name__}: {str(error)[:200]}"
    return VALID


def main(count: int) -> int:
    """Change a file many times and print what happened.

    Parameters
    ----------
    count : int
        How many times.
    """
    import resource

    folder = Path(tempfile.mkdtemp())
    originals = {m: written(folder / f"{m}.safetensors", m).read_bytes() for m in METHODS}
    for method in METHODS:  # imports, and the memory of a valid file
        assert outcome(originals[method], method, folder / "same.safetensors") == VALID
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found: Counter[str] = Counter()
    slowest = dict.fromkeys(RIGHT, 0.0)
    for number in range(count):
        r = random.Random(number)
        method = r.choice(METHODS)
        content = mutated(originals[method], r)
        start = time.perf_counter()
        result = outcome(content, method, folder / "changed.safetensors")
        taken = time.perf_counter() - start
        slowest[result] = max(slowest.get(result, 0.0), taken)
        found[result] += 1
        if result not in RIGHT:
            print(f"mutation {number} of {method}: {result}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    known = ", ".join(f"{found.pop(name, 0)} {name}" for name in RIGHT)
    print(f"{count} mutations: {known}, {found.total()} other errors")
    print("slowest:", ", ".join(f"{v:.2f} s {name}" for name, v in slowest.items()))
    print(f"peak memory {peak:.0f} MB, {before:.0f} MB before")
    return len(found)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))
