"""Weights: the card, the file, the search for a file, the promise, the registration."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pickle
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from weight_mutations import written

from xinverse.errors import (
    DownloadError,
    HashError,
    OptionError,
    UnitsError,
    UnknownNameError,
    WeightsError,
)
from xinverse.fields.grid import Grid
from xinverse.fields.units import conversion, same_units
from xinverse.register_weights import main, register
from xinverse.weights import (
    ModelCard,
    WeightsRef,
    WeightsRegistry,
    file_sha256,
    load_tensors,
    read_card,
    save,
    store,
)
from xinverse.weights.entry import Entry
from xinverse.weights.locate import bundled_folder, locate

ROOT = Path(__file__).resolve().parents[1]

CARD = ModelCard(
    name="ssh-test",
    method="4dvarnet",
    summary="Sea surface height; for the tests.",
    variables=("sea_surface_height_above_geoid", "sea_surface_height_above_sea_level", "sla"),
    units="m",
    grid_spacing_km=(5, 30),
    time_step_days=1,
    window=9,
    training="random numbers, seed 0",
    scores={"mse": 0.25},
    licence="BSD-3-Clause",
    command="python -m nothing",
    config={"channels": 8, "kernel": (3, 3)},
)


def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "bias": torch.randn(5, generator=generator),
        "kernel": torch.randn(4, 3, 3, 3, generator=generator),
        "steps": torch.arange(7),
    }


def grid(step: float = 1.0, degrees: float = 0.1, latitude: float = 30.0) -> Grid:
    return Grid(
        time=np.arange(20) * step,
        y=latitude + np.arange(12) * degrees,
        x=np.arange(14) * degrees,
        geographic=True,
        periodic=False,
    )


def field(name: str | None = "sla", **attrs: Any) -> xr.DataArray:
    return xr.DataArray(np.zeros((1, 2, 2)), name=name, attrs={"units": "m"} | attrs)


# ---------------------------------------------------------------- the card


def test_card_round_trip() -> None:
    again = ModelCard.from_json(CARD.to_json())
    assert again == CARD
    assert hash(again) == hash(CARD)
    assert pickle.loads(pickle.dumps(CARD)) == CARD
    assert again.grid_spacing_km == (5.0, 30.0)
    assert again.config["kernel"] == [3, 3]


def test_card_keys_are_strict() -> None:
    values = CARD.to_dict()
    del values["window"]
    with pytest.raises(WeightsError, match=r"missing \['window'\], unknown \['colour'\]"):
        ModelCard.from_dict(values | {"colour": "blue"})
    for text in ("{", "[1, 2]", "null"):
        with pytest.raises(WeightsError, match=r"JSON"):
            ModelCard.from_json(text)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", ""),
        ("method", 3),
        ("variables", []),
        ("variables", "sla"),
        ("grid_spacing_km", (30, 5)),
        ("grid_spacing_km", (5, 10, 30)),
        ("grid_spacing_km", 5),
        ("time_step_days", 0),
        ("time_step_days", float("nan")),
        ("window", 2.5),
        ("window", True),
        ("scores", {"mse": float("nan")}),
        ("config", {"activation": torch.relu}),
        ("config", [1]),
    ],
)
def test_card_refuses(key: str, value: Any) -> None:
    with pytest.raises(WeightsError, match=key):
        replace(CARD, **{key: value})


@pytest.mark.parametrize(
    "da",
    [
        field(),
        field("SLA"),
        field("anything", standard_name="sea_surface_height_above_geoid"),
        field(None, standard_name="Sea_Surface_Height_Above_Sea_Level", units="metres"),
    ],
)
def test_card_fits(da: xr.DataArray) -> None:
    CARD.check(grid(), da)
    assert CARD.fits(grid(), da) is None
    # The card's range is closed, and the time step may be off by 10 %.
    assert replace(CARD, grid_spacing_km=(1.0, grid().spacing_km[0])).fits(grid(), da) is None
    assert CARD.fits(grid(step=1.09), da) is None


IRREGULAR = np.array([0.0, 0.1, 0.2, 0.35, 0.4])


@pytest.mark.parametrize(
    ("where", "da", "error", "text"),
    [
        (grid(), field("sst"), WeightsError, "trained for sea_surface.*name 'sst'.*rename"),
        (grid(), field(None), WeightsError, "name None"),
        (
            grid(),
            field("sla", standard_name="sea_surface_temperature"),
            WeightsError,
            "standard_name 'sea_surface_temperature'",
        ),
        (grid(), field(units="cm"), UnitsError, r"in 'cm'.*'m'.*Convert: sla \* 0.01"),
        (grid(), field(units="degC"), UnitsError, "in 'degC'.*Convert the values"),
        (grid(), field(units=None), UnitsError, r"no units.*attrs\[.units.\] = 'm'"),
        (grid(degrees=1.0), field(), WeightsError, "5 to 30 km.*dy = 111.2 km and dx = "),
        (grid(latitude=80.0), field(), WeightsError, "5 to 30 km.*dy = 11.12 km and dx = 1.8"),
        (replace(grid(), y=np.array([3.0])), field(), WeightsError, "dy = nan"),
        (
            replace(grid(), y=IRREGULAR),
            field(),
            WeightsError,
            "evenly spaced y and x",
        ),
        (grid(step=3.0), field(), WeightsError, "time step of 1 days.*has 3 days"),
        (grid(step=1.2), field(), WeightsError, "time step of 1 days.*has 1.2 days"),
        (replace(grid(), time=np.array([0.0, 1, 2, 4])), field(), WeightsError, "regular time"),
    ],
)
def test_card_misfits(where: Grid, da: xr.DataArray, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text) as caught:
        CARD.check(where, da)
    assert CARD.fits(where, da) == str(caught.value)
    assert CARD.name in str(caught.value)


def test_units() -> None:
    assert same_units("metres", "m")
    assert same_units("degrees_Celsius", "degC")
    assert same_units("furlong", "Furlong")
    assert not same_units("cm", "m")
    assert not same_units("furlong", "m")
    assert conversion("kelvin", "celsius") == "- 273.15"
    assert conversion("furlong", "m") is None


# ---------------------------------------------------------------- the file


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return save(tmp_path / "made.safetensors", tensors(), CARD)


def test_file_round_trip(file: Path) -> None:
    assert read_card(file) == CARD
    loaded = load_tensors(file)
    assert loaded.keys() == tensors().keys()
    for key, value in tensors().items():
        torch.testing.assert_close(loaded[key], value, rtol=0, atol=0)
        assert loaded[key].dtype == value.dtype


def test_equal_weights_give_an_equal_file(file: Path, tmp_path: Path) -> None:
    backwards = dict(reversed(tensors().items()))
    assert save(tmp_path / "b", backwards, CARD).read_bytes() == file.read_bytes()


def test_save_takes_what_state_dict_gives(tmp_path: Path) -> None:
    shared = torch.randn(3, 4, requires_grad=True)
    path = save(tmp_path / "w", {"a": shared, "b": shared, "c": shared.T}, CARD)
    loaded = load_tensors(path)
    torch.testing.assert_close(loaded["c"], shared.detach().T)
    assert not loaded["a"].requires_grad


def test_safetensors_reads_the_file(file: Path) -> None:
    safetensors = pytest.importorskip("safetensors")
    with safetensors.safe_open(file, "numpy") as opened:
        assert ModelCard.from_json(opened.metadata()["card"]) == CARD
        np.testing.assert_array_equal(opened.get_tensor("steps"), np.arange(7))


@pytest.mark.parametrize("old", [True, False])
def test_save_is_atomic(file: Path, monkeypatch: pytest.MonkeyPatch, old: bool) -> None:
    before = file.read_bytes()
    target = file if old else file.with_name("new.safetensors")

    def cut_off(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(store.os, "fsync", cut_off)
    with pytest.raises(KeyboardInterrupt):
        save(target, tensors(), replace(CARD, name="other"))
    assert os.listdir(file.parent) == [file.name]
    assert file.read_bytes() == before


def test_foreign_files(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    torch.save(tensors(), tmp_path / "torch.pt")
    save_file(tensors(), tmp_path / "bare.safetensors")
    (tmp_path / "text").write_text("These are not weights, but they are long enough.")
    (tmp_path / "json").write_bytes((2).to_bytes(8, "little") + b"[]")
    (tmp_path / "empty").write_bytes(b"")
    for name, text in {
        "torch.pt": "torch checkpoint.*weights_only=True",
        "bare.safetensors": "no model card",
        "text": "not a safetensors file",
        "json": "not a safetensors file",
        "empty": "truncated",
        "absent": "does not exist",
        ".": "is a folder",
    }.items():
        for read in (read_card, load_tensors):
            with pytest.raises(WeightsError, match=text):
                read(tmp_path / name)


@given(cut=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_shows_in_its_header(
    tmp_path_factory: pytest.TempPathFactory, cut: float
) -> None:
    path = save(tmp_path_factory.mktemp("cut") / "w", tensors(), CARD)
    content = path.read_bytes()
    path.write_bytes(content[: int(cut * len(content))])
    with pytest.raises(WeightsError, match=r"truncated"):
        read_card(path)


@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_a_changed_byte_shows(
    tmp_path_factory: pytest.TempPathFactory, place: float, flip: int
) -> None:
    path = save(tmp_path_factory.mktemp("flip") / "w", tensors(), CARD)
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= flip
    path.write_bytes(content)
    with pytest.raises(WeightsError):
        load_tensors(path)


# ---------------------------------------------------------------- the search

Answer = Callable[[BaseHTTPRequestHandler, bytes], None]


def answer_good(request: BaseHTTPRequestHandler, content: bytes) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    request.wfile.write(content)


def answer_changed(request: BaseHTTPRequestHandler, content: bytes) -> None:
    answer_good(request, content[:-1] + bytes([content[-1] ^ 1]))


def answer_short(request: BaseHTTPRequestHandler, content: bytes) -> None:
    answer_good(request, content[: len(content) // 2])


def answer_cut(request: BaseHTTPRequestHandler, content: bytes) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    request.wfile.write(content[: len(content) // 2])


def answer_missing(request: BaseHTTPRequestHandler, content: bytes) -> None:
    request.send_error(404)


class Server:
    """A real server on loopback that answers as it is told."""

    def __init__(self, content: bytes) -> None:
        self.answer: Answer = answer_good
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                outer.answer(self, content)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Keep quiet (the base class gives the argument its name)."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/weights/"


class Place:
    """A registered file, folders for it, and a server; nothing is anywhere yet."""

    def __init__(self, tmp_path: Path, server: Server, content: bytes) -> None:
        self.server = server
        self.content = content
        self.entry = Entry(
            "ssh-test",
            "ssh-test.safetensors",
            hashlib.sha256(content).hexdigest(),
            bundled=False,
            default=True,
            card=CARD,
        )
        self.package = tmp_path / "package"
        self.shared = tmp_path / "shared"
        self.cache = tmp_path / "cache" / "deep"
        for folder in (self.package / "bundled", self.shared):
            folder.mkdir(parents=True)

    def put(self, folder: Path, content: bytes | None = None) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / self.entry.file
        path.write_bytes(self.content if content is None else content)
        return path

    def damaged(self) -> bytes:
        return self.content[:-1] + bytes([self.content[-1] ^ 1])

    def locate(self) -> Path:
        return locate(self.entry, self.package)

    def in_cache(self) -> list[str]:
        return sorted(os.listdir(self.cache)) if self.cache.exists() else []


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    content = save(tmp_path / "trained.safetensors", tensors(), CARD).read_bytes()
    server = Server(content)
    place = Place(tmp_path, server, content)
    monkeypatch.setenv("XINVERSE_CACHE_DIR", str(place.cache))
    monkeypatch.setenv("XINVERSE_WEIGHTS_URL", server.url)
    monkeypatch.delenv("XINVERSE_WEIGHTS_PATH", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    thread = threading.Thread(target=server.http.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield place
    server.http.shutdown()
    server.http.server_close()
    thread.join()


def test_download(place: Place) -> None:
    path = place.locate()
    assert path == place.cache / place.entry.file
    assert path.read_bytes() == place.content
    assert place.server.asked == [f"/weights/{place.entry.file}"]
    assert place.locate() == path
    assert len(place.server.asked) == 1
    assert place.in_cache() == [place.entry.file]
    if os.name == "posix":  # others of the group may read it where the umask lets them
        umask = os.umask(0)
        os.umask(umask)
        assert path.stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        (answer_changed, HashError, "sha256.*expected"),
        (answer_short, HashError, "transfer was incomplete"),
        (answer_cut, DownloadError, "could not be downloaded"),
        (answer_missing, DownloadError, "404"),
    ],
)
def test_bad_download_leaves_nothing(
    place: Place, answer: Answer, error: type[Exception], text: str
) -> None:
    place.server.answer = answer
    with pytest.raises(error, match=text) as caught:
        place.locate()
    assert "XINVERSE_WEIGHTS_PATH" in str(caught.value)
    assert place.in_cache() == []
    place.server.answer = answer_good
    assert place.locate().read_bytes() == place.content


def test_unreachable_server(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:  # a port that is ours and does not listen
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        monkeypatch.setenv("XINVERSE_WEIGHTS_URL", url)
        with pytest.raises(DownloadError, match=re.escape(url)):
            place.locate()
    assert place.in_cache() == []


def test_no_server(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XINVERSE_WEIGHTS_URL", "")
    with pytest.raises(DownloadError, match=r"XINVERSE_WEIGHTS_URL is not set.*xinverse.fetch"):
        place.locate()
    monkeypatch.setenv("XINVERSE_WEIGHTS_URL", "/data/weights")
    with pytest.raises(DownloadError, match=r"starts with https://.*XINVERSE_WEIGHTS_PATH"):
        place.locate()
    assert not place.cache.exists()


def test_damaged_cache_is_mended(place: Place) -> None:
    path = place.put(place.cache, place.damaged())
    assert place.locate() == path
    assert path.read_bytes() == place.content
    assert place.in_cache() == [place.entry.file]


@pytest.mark.parametrize("answer", [answer_changed, answer_cut, answer_missing, None])
def test_damaged_cache_is_emptied_where_it_cannot_be_mended(
    place: Place, monkeypatch: pytest.MonkeyPatch, answer: Answer | None
) -> None:
    if answer is None:
        monkeypatch.delenv("XINVERSE_WEIGHTS_URL")
    else:
        place.server.answer = answer
    place.put(place.cache, place.damaged())
    with pytest.raises(HashError, match=r"was damaged.*It was removed"):
        place.locate()
    assert place.in_cache() == []


def test_byte_changed_after_first_use(place: Place) -> None:
    path = place.locate()
    place.put(place.cache, place.damaged())
    os.utime(path, ns=(1, 1))
    assert place.locate().read_bytes() == place.content


def test_cache_that_cannot_be_written(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.cache.parent.write_text("a file where a folder should be")
    with pytest.raises(DownloadError, match=r"is not writable.*XINVERSE_CACHE_DIR"):
        place.locate()
    assert place.server.asked == []


def test_read_only_cache(place: Place) -> None:
    place.cache.mkdir(parents=True)
    place.cache.chmod(0o555)
    if os.access(place.cache, os.W_OK):
        pytest.skip("nothing is read-only for this user, who may be root")
    with pytest.raises(DownloadError, match=r"is not writable.*XINVERSE_CACHE_DIR"):
        place.locate()
    place.cache.chmod(0o755)
    path = place.put(place.cache)
    place.cache.chmod(0o555)
    assert place.locate() == path


def test_shared_folder_comes_first(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [str(place.shared / "absent"), str(place.shared)]
    monkeypatch.setenv("XINVERSE_WEIGHTS_PATH", os.pathsep.join(folders))
    path = place.locate()  # it is not there yet, so it is downloaded, but not to there
    assert path.parent == place.cache
    assert os.listdir(place.shared) == []
    path = place.put(place.shared)
    assert place.locate() == path
    assert len(place.server.asked) == 1


def test_damaged_shared_file_is_told_and_left(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XINVERSE_WEIGHTS_PATH", str(place.shared))
    path = place.put(place.shared, place.damaged())
    with pytest.raises(HashError, match=f"{re.escape(str(path))}.*expected the registered"):
        place.locate()
    assert path.read_bytes() == place.damaged()
    assert place.server.asked == []
    assert not place.cache.exists()


def test_bundled_file_comes_before_all(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XINVERSE_WEIGHTS_PATH", str(place.shared))
    place.put(place.shared)
    path = place.put(place.package / "bundled")
    assert place.locate() == place.shared / place.entry.file  # not registered as bundled
    place.entry = replace(place.entry, bundled=True)
    assert place.locate() == path
    place.put(place.package / "bundled", place.damaged())
    os.utime(path, ns=(1, 1))
    with pytest.raises(HashError, match=r"install xinverse again"):
        place.locate()


def test_threads_download_once(place: Place) -> None:
    with ThreadPoolExecutor(8) as pool:
        paths = {future.result() for future in [pool.submit(place.locate) for _ in range(8)]}
    assert paths == {place.cache / place.entry.file}
    assert len(place.server.asked) == 1


def test_processes_download_at_once(place: Place) -> None:
    both = threading.Barrier(2, timeout=60)

    def answer_together(request: BaseHTTPRequestHandler, content: bytes) -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait()
        answer_good(request, content)

    place.server.answer = answer_together
    place.put(place.cache, place.damaged())
    code = (
        "import pickle, sys; from xinverse.weights.locate import locate;"
        "path = locate(pickle.load(sys.stdin.buffer));"
        "sys.stdout.write(path.as_posix())"
    )
    command = [sys.executable, "-c", code]
    pipe = subprocess.PIPE
    processes = [subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=ROOT) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        texts = list(
            pool.map(lambda p: p.communicate(pickle.dumps(place.entry), 60)[0], processes)
        )
    assert [process.returncode for process in processes] == [0, 0]
    assert {Path(text.decode()) for text in texts} == {place.cache / place.entry.file}
    assert len(place.server.asked) == 2
    assert place.in_cache() == [place.entry.file]
    assert (place.cache / place.entry.file).read_bytes() == place.content


# ---------------------------------------------------------------- the promise


@pytest.fixture
def registry(place: Place) -> WeightsRegistry:
    other = replace(place.entry, name="sst-test", default=False)
    other = replace(other, card=replace(CARD, name="sst-test", method="other"))
    return WeightsRegistry([place.entry, other], place.package)


def test_describe_registered(place: Place, registry: WeightsRegistry) -> None:
    for weights in (None, "ssh-test"):
        ref = registry.describe(weights, "4dvarnet")
        assert (ref.name_or_path, ref.card) == ("ssh-test", CARD)
        assert ref.sha256 == ref.token == place.entry.sha256
    assert place.server.asked == []  # nothing is downloaded at the call
    assert not place.cache.exists()

    again: WeightsRef = pickle.loads(pickle.dumps(ref))
    assert again == ref
    assert hash(again) == hash(ref)
    loaded = again.load()
    torch.testing.assert_close(loaded["kernel"], tensors()["kernel"], rtol=0, atol=0)
    os.remove(ref.path())
    assert ref.load()["kernel"] is loaded["kernel"]  # read once per process


def test_describe_file(registry: WeightsRegistry, file: Path, tmp_path: Path) -> None:
    ref = registry.describe(file, "4dvarnet")
    assert ref == registry.describe(str(file), "4dvarnet")
    assert (ref.card, ref.sha256) == (CARD, None)
    assert ref.path() == file
    # The token stands for the content: not for the place, the date, or the card alone.
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(file.read_bytes())
    assert registry.describe(copy, "4dvarnet").token == ref.token
    save(copy, tensors() | {"bias": torch.zeros(5)}, CARD)
    assert registry.describe(copy, "4dvarnet").token != ref.token


def test_describe_relative_path(
    registry: WeightsRegistry, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(file.parent)
    plain = file.rename(file.with_suffix(""))
    for weights in (plain.name, Path(plain.name), f"./{plain.name}"):
        assert Path(registry.describe(weights, "4dvarnet").name_or_path) == plain


def test_file_replaced_between_call_and_compute(registry: WeightsRegistry, file: Path) -> None:
    ref = registry.describe(file, "4dvarnet")
    save(file, tensors() | {"bias": torch.ones(5)}, CARD)
    with pytest.raises(WeightsError, match=r"has changed since the method was called"):
        ref.load()
    os.remove(file)
    with pytest.raises(WeightsError, match=r"does not exist"):
        ref.load()


def test_describe_refuses(registry: WeightsRegistry, file: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"'ssh-tset'.*Did you mean 'ssh-test'"):
        registry.describe("ssh-tset", "4dvarnet")
    with pytest.raises(UnknownNameError):
        registry.fetch("ssh-tset")
    for absent in ("absent.safetensors", "./absent", Path("absent")):
        with pytest.raises(WeightsError, match=r"absent.*does not exist"):
            registry.describe(absent, "4dvarnet")
    with pytest.raises(WeightsError, match=r"for the method 'other'.*'ssh-test'"):
        registry.describe("sst-test", "4dvarnet")
    with pytest.raises(WeightsError, match=r"for the method '4dvarnet'.*none is registered"):
        registry.describe(file, "unknown")
    with pytest.raises(WeightsError, match=r"'other' has no default.*'sst-test'"):
        registry.describe(None, "other")
    with pytest.raises(OptionError, match=r"of type int"):
        registry.describe(3, "4dvarnet")  # type: ignore[arg-type]  # the mistake is meant


def test_describe_imports_nothing_heavy(file: Path) -> None:
    code = (
        "import sys; from xinverse.weights import cards, describe;"
        f"cards(); describe({str(file)!r}, '4dvarnet');"
        "heavy = {'torch', 'safetensors', 'pooch', 'requests'};"
        "sys.exit(' '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.strip()) == (0, "")


def test_fitting(registry: WeightsRegistry) -> None:
    assert registry.fitting(grid(), field()) == {"ssh-test": None, "sst-test": None}
    reasons = registry.fitting(grid(degrees=1.0), field())
    assert all(reason and "5 to 30 km" in reason for reason in reasons.values())


def test_registry_refuses(place: Place) -> None:
    with pytest.raises(WeightsError, match=r"registered twice"):
        WeightsRegistry([place.entry, place.entry])
    with pytest.raises(WeightsError, match=r"'ssh-test' and 'b'.*default"):
        WeightsRegistry([place.entry, replace(place.entry, name="b")])
    for name in ("../out.safetensors", "/etc/passwd", "", ".hidden"):
        with pytest.raises(WeightsError, match=r"plain file name"):
            replace(place.entry, file=name)
    with pytest.raises(WeightsError, match=r"64"):
        replace(place.entry, sha256="abc")
    with pytest.raises(WeightsError, match=r"\['file'\]"):
        Entry.from_dict("ssh-test", {"file": "a"})


# ---------------------------------------------------------------- the registration


def test_register(place: Place, tmp_path: Path) -> None:
    file = written(tmp_path / "network.safetensors")
    (place.package / "registry.json").write_text("{}")
    first = register(file, "ssh-one", default=True, package=place.package)
    assert first.sha256 == file_sha256(file)
    second = register(file, "ssh-two", default=True, package=place.package)
    registry = WeightsRegistry.read(place.package)
    assert list(registry.entries) == ["ssh-one", "ssh-two"]
    assert registry.entries["ssh-two"] == second
    ref = registry.describe(None, "4dvarnet")
    assert ref.name_or_path == ref.card.name == "ssh-two"
    assert registry.fetch("ssh-one") == place.package / "bundled" / "ssh-one.safetensors"
    assert ref.load().keys() == load_tensors(file).keys()
    assert place.server.asked == []


def test_register_refuses(
    place: Place, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = written(tmp_path / "network.safetensors")
    with pytest.raises(WeightsError, match=r"unknown keys \['channels', 'kernel'\]"):
        register(file, "other", package=place.package)
    (place.package / "registry.json").write_text("{}")
    with pytest.raises(WeightsError, match=r"plain file name"):
        register(network, "../out", package=place.package)
    damaged = place.put(place.shared, place.damaged())
    with pytest.raises(HashError):
        register(damaged, "bad", package=place.package)
    assert os.listdir(place.package / "bundled") == []
    assert (place.package / "registry.json").read_text() == "{}"
    with pytest.raises(SystemExit):
        main(["absent.safetensors", "--name", "bad"])
    assert "does not exist" in capsys.readouterr().err


# ---------------------------------------------------------------- what is shipped


def test_what_is_registered_is_true() -> None:
    registry = WeightsRegistry.read()
    folder = bundled_folder()
    bundled = {entry.file for entry in registry.entries.values() if entry.bundled}
    assert {path.name for path in folder.glob("*")} == bundled
    for entry in registry.entries.values():
        assert entry.card.name == entry.name
        if entry.bundled:
            assert file_sha256(folder / entry.file) == entry.sha256
            card = replace(read_card(folder / entry.file), name=entry.name)
            assert card == entry.card
            load_tensors(folder / entry.file)
    text = (folder.parent / "registry.json").read_text(encoding="utf-8")
    assert list(json.loads(text)) == sorted(registry.entries)
