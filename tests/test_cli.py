"""The command, and files that are whole or absent."""

from __future__ import annotations

import subprocess
import sys

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from strategies import Layout, build

import xinverse
from xinverse import files
from xinverse.cli import main
from xinverse.errors import OptionError

OPTIONS = {"length_scale": 60, "time_scale": 2, "noise": 0.1}
WORDS = [f"--option={name}={value}" for name, value in OPTIONS.items()]


@pytest.fixture
def sample() -> xr.Dataset:
    sla = build(Layout(shape=(4, 6, 8))).drop_vars(["cycle", "source"]).rename("sla")
    sea = xr.ones_like(sla[0], "int8").drop_vars("time")
    sea.attrs = {"standard_name": "sea_binary_mask"}
    sea[0, :3] = 0
    return xr.Dataset({"sla": sla, "sst": 2 * sla, "sea": sea})


@pytest.fixture
def store(sample, tmp_path):
    return files.write(sample.chunk(lat=3), tmp_path / "l3.zarr")


class TestFiles:
    @pytest.mark.parametrize("name", ["a.zarr", "deep/a.zarr", "a.nc"])
    def test_what_was_written_is_opened_lazily(self, sample, tmp_path, name):
        path = files.write(sample.chunk(lat=3), tmp_path / name)
        with files.open_lazily(path) as ds:
            assert ds.sla.chunks is not None
            xr.testing.assert_equal(ds.load(), sample)
        assert [p.name for p in path.parent.iterdir()] == [path.name]

    @pytest.mark.parametrize("name", ["a.zarr", "a.nc"])
    def test_a_write_that_fails_leaves_what_was_there(self, sample, tmp_path, name):
        def fail(block):
            raise RuntimeError("no more power")

        path = files.write(sample, tmp_path / name)
        broken = sample.chunk(lat=3)
        broken["sla"] = broken.sla.copy(data=da.map_blocks(fail, broken.sla.data, dtype=float))
        with pytest.raises(RuntimeError, match="no more power"):
            files.write(broken, path, overwrite=True)
        with pytest.raises(RuntimeError, match="no more power"):
            files.write(broken, tmp_path / f"new-{name}")
        with files.open_lazily(path) as ds:
            xr.testing.assert_equal(ds.load(), sample)
        assert [p.name for p in tmp_path.iterdir()] == [name]

    @pytest.mark.parametrize("name", ["a.zarr", "a.nc"])
    def test_a_file_is_replaced_only_on_demand(self, sample, tmp_path, name):
        path = files.write(sample, tmp_path / name)
        with pytest.raises(FileExistsError, match="exists"):
            files.write(sample + 1, path)
        files.write(sample + 1, path, overwrite=True)
        with files.open_lazily(path) as ds:
            xr.testing.assert_equal(ds.load(), sample + 1)
        assert [p.name for p in tmp_path.iterdir()] == [name]

    def test_a_name_without_a_format_is_refused(self, sample, tmp_path):
        with pytest.raises(OptionError, match=r"\.zarr or \.nc"):
            files.write(sample, tmp_path / "map")

    def test_nothing_there_is_said(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="does not exist"):
            files.open_lazily(tmp_path / "a.zarr")


class TestInterpolate:
    @pytest.mark.parametrize("output", ["l4.zarr", "l4.nc"])
    def test_it_gives_what_the_verb_gives(self, sample, store, tmp_path, capsys, output):
        assert main(["interpolate", str(store), str(tmp_path / output), "--error", *WORDS]) == 0
        expected = sample.inverse.interpolate("oi", error=True, **OPTIONS)
        with files.open_lazily(tmp_path / output) as ds:
            xr.testing.assert_allclose(ds.load(), expected, rtol=1e-4, atol=1e-4)
            assert "history" in ds.sla.attrs
        assert output in capsys.readouterr().out

    def test_one_variable_keeps_its_mask(self, store, tmp_path):
        words = ["--variable=sla", "--option=covariance=matern32", *WORDS]
        assert main(["interpolate", str(store), str(tmp_path / "l4.zarr"), *words]) == 0
        with files.open_lazily(tmp_path / "l4.zarr") as ds:
            assert set(ds.data_vars) == {"sla", "sea"}
            assert np.isnan(ds.sla.values[:, 0, :3]).all()
            assert np.isfinite(ds.sla.values[:, 1:]).all()

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["--method=oy"], "Did you mean 'oi'"),
            (["--variable=slla"], "Did you mean 'sla'"),
            (["--option=length_scale"], "NAME=VALUE"),
            (["--option=length_scale=-3"], "above 0"),
            (["--option=lenth_scale=3"], "length_scale"),
            (["--mask=land"], "There is no variable 'land'"),
        ],
    )
    def test_mistakes_are_told_in_a_line(self, store, tmp_path, capsys, words, said):
        assert main(["interpolate", str(store), str(tmp_path / "l4.zarr"), *words]) == 1
        error = capsys.readouterr().err
        assert error.startswith("xinverse: ")
        assert said in error
        assert [p.name for p in tmp_path.iterdir()] == ["l3.zarr"]

    def test_an_output_that_exists_is_told_before_the_work(self, store, tmp_path, capsys):
        assert main(["interpolate", str(store), str(store)]) == 1
        assert "overwrite" in capsys.readouterr().err
        assert main(["interpolate", str(store), str(tmp_path / "l4.txt")]) == 1
        assert ".zarr" in capsys.readouterr().err


def test_methods_are_listed(capsys):
    assert main(["methods"]) == 0
    assert capsys.readouterr().out.strip() == repr(xinverse.methods())


def test_a_store_is_shown(store, capsys):
    assert main(["show", str(store)]) == 0
    assert "sea_binary_mask" in capsys.readouterr().out


def test_unknown_weights_are_told(capsys):
    assert main(["fetch", "no-such-weights"]) == 1
    assert "no-such-weights" in capsys.readouterr().err


def test_the_module_runs_as_the_command_does():
    command = [sys.executable, "-m", "xinverse", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == f"xinverse {xinverse.__version__}"
