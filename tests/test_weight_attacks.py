"""Weight files made to harm: each is a WeightsError at the call, before anything is built."""

from __future__ import annotations

import json
import random
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from weight_mutations import (
    CALL,
    FIELD,
    METHODS,
    RIGHT,
    joined,
    mutated,
    outcome,
    taken_apart,
    used,
    written,
)

import xinverse
from xinverse.errors import DownloadError, OptionError, WeightsError
from xinverse.register_weights import register
from xinverse.weights import ModelCard, WeightsRegistry, download, read_card
from xinverse.weights.checkpoint import read_checkpoint
from xinverse.weights.entry import Entry
from xinverse.weights.store import read_header


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "weights.safetensors"


def refused(path: Path, method: str, content: bytes, words: str) -> None:
    """The call, `load_model` and the registration refuse a file."""
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=words):
        xinverse.interpolate(FIELD.chunk(), method, weights=str(path))
    with pytest.raises(WeightsError, match=words):
        xinverse.load_model(path)
    with pytest.raises(WeightsError, match=words):
        register(path, "bad", package=path.parent)


@pytest.mark.parametrize("method", METHODS)
def test_a_right_file_is_used(path: Path, method: str) -> None:
    used(written(path, method), method)
    model = xinverse.load_model(path)
    assert model.card == read_card(path)
    assert not any(p.requires_grad for p in model.network.parameters())


SETTINGS = [
    (
        "4dvarnet",
        "prior_hidden",
        10**9,
        "prior_hidden=1000000000: expected a whole number from 1",
    ),
    (
        "4dvarnet",
        "solver_hidden",
        -1,
        "solver_hidden=-1: expected a whole number from 1 to 4096",
    ),
    ("4dvarnet", "steps", 10**9, "steps=1000000000: expected .* to 1000"),
    ("4dvarnet", "steps", 2.5, "steps=2.5: expected a whole number"),
    ("4dvarnet", "steps", True, "steps=True: expected a whole number"),
    ("4dvarnet", "passes", -1, "passes=-1: expected a whole number from 1 to 100"),
    ("4dvarnet", "passes", "two", "passes='two': expected a whole number"),
    ("4dvarnet", "window", 9, "config.window=9: expected that of the card, 5"),
    ("4dvarnet", "window", 10**400, "config.window=1000.*0000: expected a whole number"),
    ("4dvarnet", "solver", "adam", "solver='adam': expected one of 'lstm', 'gradient-descent'"),
    ("4dvarnet", "sees_state", 1, "sees_state=1: expected True or False"),
    ("4dvarnet", "representation", -0.2, "representation=-0.2: expected .*, or None"),
    ("4dvarnet", "background", {}, r"background .* lacks \['length_scale', 'time_scale'\]"),
    ("4dvarnet", "background", 90, "background=90: expected a dictionary with the keys"),
    (
        "4dvarnet",
        "background",
        {"length_scale": 1e9, "time_scale": 5},
        "background.length_scale=1000000000.0: expected a number from 0.001 to 40000",
    ),
    ("4dvarnet", "colour", "blue", r"unknown keys \['colour'\]"),
    ("unet", "levels", 60, "levels=60: expected a whole number from 1 to 10"),
    ("unet", "hidden", [3], r"hidden=\[3\]: expected a whole number"),
    ("4dvarnet-reference", "patch", None, "config.patch=None.*more than the borders"),
    ("4dvarnet-reference", "patch", [2, 12], r"config.patch=\[2, 12\].*more than the borders"),
    ("4dvarnet-reference", "border", [1], r"border=\[1\]: expected 2 values in a list"),
    ("4dvarnet-reference", "time_weights", [1.0], "time_weights has 1 values: .* 5 time steps"),
    (
        "4dvarnet-reference",
        "normalisation",
        {"mean": 0.0, "std": 0},
        "std=0: expected a number",
    ),
]


@pytest.mark.parametrize(("method", "key", "value", "words"), SETTINGS)
def test_settings_have_bounds(
    path: Path, method: str, key: str, value: Any, words: str
) -> None:
    header, card, data = taken_apart(written(path, method).read_bytes())
    card["config"][key] = value
    refused(path, method, joined(header, card, data), words)


@pytest.mark.parametrize("key", ["background", "window", "steps"])
def test_settings_are_complete(path: Path, key: str) -> None:
    header, card, data = taken_apart(written(path).read_bytes())
    del card["config"][key]
    refused(path, "4dvarnet", joined(header, card, data), rf"lacks \['{key}'\]")


def test_settings_added_later_may_be_missing(path: Path) -> None:
    header, card, data = taken_apart(written(path).read_bytes())
    for key in ("passes", "representation", "solver", "sees_state"):
        del card["config"][key]
    path.write_bytes(joined(header, card, data))
    used(path, "4dvarnet")


def test_the_window_of_the_card_is_that_of_the_network(path: Path) -> None:
    header, card, data = taken_apart(written(path).read_bytes())
    words = "config.window=5: expected that of the card, 4"
    refused(path, "4dvarnet", joined(header, {**card, "window": 4}, data), words)


def test_a_method_without_weights(path: Path) -> None:
    header, card, data = taken_apart(written(path).read_bytes())
    for method in ("oi", "nothing", "x" * 10_000):
        path.write_bytes(joined(header, {**card, "method": method}, data))
        with pytest.raises(WeightsError, match="is not a learned method"):
            xinverse.load_model(path)


def first_tensor(header: dict[str, Any]) -> str:
    """The tensor whose bytes come first."""
    names = [name for name in header if name != "__metadata__"]
    return min(names, key=lambda name: header[name]["data_offsets"])


def test_tensors_are_those_of_the_network(path: Path) -> None:
    header, card, data = taken_apart(written(path).read_bytes())
    name = first_tensor(header)
    entry = header[name]
    begin, end = entry["data_offsets"]
    for changed, words in [
        ({"shape": [1, end // 4]}, "expected F32 of shape"),
        ({"dtype": "I32"}, "is I32 of shape"),
        ({"dtype": "F64"}, "bytes; expected"),
        ({"dtype": "F1"}, "dtype='F1': expected one of"),
        ({"shape": [10**9, 10**9]}, f"has {end} bytes; expected 4000000000000000000"),
        ({"shape": [-1]}, "shape=.*each a whole number from 0"),
        ({"shape": [1] * 400}, "shape=.*0 to 8 values"),
        ({"data_offsets": [end, begin]}, "bytes; expected"),
        ({"data_offsets": [begin, 2**70]}, "data_offsets="),
        ({"data_offsets": "all"}, "data_offsets='all'"),
        ({"colour": 1}, r"unknown keys \['colour'\]"),
    ]:
        wrong = header | {name: entry | changed}
        refused(path, "4dvarnet", joined(wrong, card, data), words)
    missing = {key: value for key, value in header.items() if key != name}
    refused(path, "4dvarnet", joined(missing, card, data), "follows unused bytes")
    renamed = {**missing, "other": entry}
    words = r"lacks the tensors \['.*'\] and has the unknown tensors \['other'\]"
    refused(path, "4dvarnet", joined(renamed, card, data), words)
    refused(
        path, "4dvarnet", joined({**header, "other": entry}, card, data), "overlaps another"
    )
    refused(path, "4dvarnet", joined({**header, name: 3}, card, data), "=3: expected a dict")
    for odd in ("nan", "inf"):
        bad = torch.tensor([float(odd)]).numpy().tobytes() + data[4:]
        path.write_bytes(joined(header, card, bad))
        with pytest.raises(WeightsError, match="values that are not finite"):
            xinverse.load_model(path)


def test_the_header_is_short_and_flat(path: Path) -> None:
    header, card, data = taken_apart(written(path).read_bytes())
    with open(path, "wb") as file:  # sparse: it takes no room on the disk
        file.write((100_000_000).to_bytes(8, "little"))
        file.truncate(100_000_100)
    with pytest.raises(WeightsError, match="header has 100000000 bytes, at most 2000000"):
        xinverse.interpolate(FIELD.chunk(), "4dvarnet", weights=path)
    deep = "[" * 100_000 + "]" * 100_000
    for text, words in [
        (deep, "nested 100000 levels deep, at most 32"),
        (
            json.dumps({**card, "config": "deep"}).replace('"deep"', deep),
            "nested 100001",
        ),
        ("[" * 900, "nested 900 levels"),
        ("9" * 5000, "is not JSON"),
        ("nul", "is not JSON"),
    ]:
        refused(path, "4dvarnet", joined(header, text, data), words)
    raw = b'{"a":' + deep.encode() + b"}"
    refused(path, "4dvarnet", len(raw).to_bytes(8, "little") + raw, "nested 100001 levels")
    raw = "{}".encode("utf-16")
    refused(path, "4dvarnet", len(raw).to_bytes(8, "little") + raw, "is not JSON")
    strings = {**card, "summary": "[" * 5000 + '"\\'}  # brackets in text are not nesting
    path.write_bytes(joined(header, strings, data))
    used(path, "4dvarnet")
    loop: dict[str, Any] = {}
    loop["again"] = loop
    for config in (loop, {"deep": json.loads("[" * 500 + "]" * 500)}, {"odd": float("nan")}):
        with pytest.raises(WeightsError, match="config cannot be written as JSON"):
            ModelCard(**{**card, "config": config})


def test_values_of_the_card_have_types(path: Path) -> None:
    header, card, data = taken_apart(written(path).read_bytes())
    for key, value in [("window", 10**400), ("time_step_days", 10**400), ("window", 1e308)]:
        refused(path, "4dvarnet", joined(header, {**card, key: value}, data), key)
    path.write_bytes(joined(header, {**card, "scores": {"rmse": 10**400}}, data))
    assert "rmse" not in repr(xinverse.load_model(path))


@pytest.mark.parametrize(
    "weights", ["x" * 5000 + ".safetensors", "a\0b.safetensors", "/dev/null/a"]
)
def test_paths_that_are_no_files(weights: str) -> None:
    with pytest.raises(WeightsError, match="does not exist"):
        xinverse.load_model(weights)
    with pytest.raises(WeightsError, match="does not exist"):
        xinverse.interpolate(FIELD, "4dvarnet", weights=weights)


def test_weights_that_are_no_path() -> None:
    with pytest.raises(
        OptionError, match="of type int; expected a registered name or the path"
    ):
        xinverse.load_model(3)  # type: ignore[arg-type]  # the mistake is meant


def test_a_registry_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot be read"):
        WeightsRegistry.read(tmp_path)
    for text, words in [
        ("[" * 100_000, "nested"),
        ("[]", "not a JSON object"),
        ('{"a": 3}', "'a' has the keys 3"),
        ("{", "is not JSON"),
    ]:
        (tmp_path / "registry.json").write_text(text)
        with pytest.raises(WeightsError, match=words):
            WeightsRegistry.read(tmp_path)
    entry = dict.fromkeys(("file", "sha256", "bundled", "default", "card"), "a")
    with pytest.raises(WeightsError, match="bundled is 'a'; expected a value of type bool"):
        Entry.from_dict("a", entry)


def test_registered_cards_are_accepted() -> None:
    from xinverse.methods.network_file import check_tensors

    for name, card in xinverse.weights.cards().items():
        check_tensors(card, read_header(xinverse.fetch(name)).tensors)


# Checkpoints ----------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
def test_checkpoints_that_unpack_to_more_than_themselves(tmp_path: Path) -> None:
    repeated = tmp_path / "repeated.pt"
    torch.save({"a": torch.zeros(1).expand(10**12)}, repeated)
    with pytest.raises(WeightsError, match="'a' of shape .* is sparse or larger than the file"):
        read_checkpoint(repeated)
    sparse = tmp_path / "sparse.pt"
    torch.save({"a": torch.sparse_coo_tensor(size=(10**6, 10**6))}, sparse)
    with pytest.raises(WeightsError, match="sparse"):
        read_checkpoint(sparse)
    plain, packed = tmp_path / "plain.pt", tmp_path / "packed.pt"
    torch.save({"a": torch.zeros(10**6)}, plain)
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(packed, "w", 8) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    assert packed.stat().st_size < 10**5
    with pytest.raises(WeightsError, match="damaged, or of another kind"):
        read_checkpoint(packed)


def test_damaged_checkpoints(tmp_path: Path) -> None:
    for bare in (False, True):
        path = tmp_path / "whole.pt"
        torch.save({"a": torch.ones(50)}, path, _use_new_zipfile_serialization=not bare)
        content = path.read_bytes()
        for number in range(40):
            r = random.Random(number)
            at = r.randrange(len(content))
            path.write_bytes(content[:at] + r.randbytes(r.randrange(9)) + content[at + 4 :])
            try:
                read_checkpoint(path)
            except WeightsError:
                continue


# Random changes -------------------------------------------------------------------------


def test_changed_files_are_refused_or_valid(path: Path) -> None:
    originals = {method: written(path, method).read_bytes() for method in METHODS}
    found = set()
    for number in range(90):
        r = random.Random(10_000 + number)
        method = METHODS[number % len(METHODS)]
        found.add(outcome(mutated(originals[method], r), method, path))
    assert found <= set(RIGHT)
    assert CALL in found


# Servers --------------------------------------------------------------------------------


class Slow(BaseHTTPRequestHandler):
    """Sends a byte every 20 ms, or an endless file."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        chunk, pause = (b"x" * 50_000, 0.0) if "endless" in self.path else (b"x", 0.02)
        try:
            while not self.server.closing:  # type: ignore[attr-defined]  # set below
                self.wfile.write(chunk)
                time.sleep(pause)
        except OSError:
            pass

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Keep quiet (the base class gives the argument its name)."""


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    server.closing = False  # type: ignore[attr-defined]  # read above
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.closing = True  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_slow_download_ends(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "TOTAL_SECONDS", 0.3)
    with pytest.raises(DownloadError, match="it took more than 0.3 seconds"):
        download.download(f"{address}/slow", tmp_path / "file")
    monkeypatch.setattr(download, "TOTAL_SECONDS", 60.0)
    monkeypatch.setattr(download, "READ_SECONDS", 0.01)
    with pytest.raises(DownloadError, match=r"(?i)timed out"):
        download.download(f"{address}/slow", tmp_path / "file")


def test_a_large_download_ends(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "MOST_BYTES", 200_000)
    with pytest.raises(DownloadError, match="it is larger than 200,000 bytes"):
        download.download(f"{address}/endless", tmp_path / "file")
    assert (tmp_path / "file").stat().st_size <= 200_000


def test_a_failed_download_is_an_error_of_the_weights() -> None:
    assert issubclass(DownloadError, WeightsError)
    assert issubclass(DownloadError, OSError)
