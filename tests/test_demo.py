"""The demonstration, on a small sea."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xinverse import demo
from xinverse.cli import main
from xinverse.demo import OUTPUTS
from xinverse.files import open_lazily

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> tuple[Path, str]:
    """The folder and the words of one quick run."""
    folder = tmp_path_factory.mktemp("demo") / "out"
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert main(["demo", "--quick", "--folder", str(folder)]) == 0
    return folder, said.getvalue()


def test_it_leaves_what_it_says(ran):
    folder, said = ran
    assert {path.name for path in folder.iterdir()} == set(OUTPUTS)
    assert all(f"out/{name}" in said for name in OUTPUTS)
    assert str(folder.parent) not in said
    assert (folder / "maps.png").read_bytes().startswith(b"\x89PNG")


def test_every_gap_of_the_sea_is_filled_and_land_is_not(ran):
    folder, _ = ran
    truth = open_lazily(folder / "truth.zarr").load()
    seen = open_lazily(folder / "l3.zarr").load()
    land = truth.sea.values == 0
    assert 0 < land.sum() < 200
    assert np.isnan(seen.ssh.values[:, land]).all()
    for name in ("oi", "4dvarnet"):
        filled = open_lazily(folder / f"l4-{name}.zarr").load()
        for variable in [v for v in ("ssh", "ssh_error") if v in filled]:
            assert np.isnan(filled[variable].values[:, land]).all()
            assert np.isfinite(filled[variable].values[:, ~land]).all()
        assert filled.ssh.attrs["units"] == "m"


def test_the_scores_are_in_order(ran):
    folder, said = ran
    rows = [line.split(",") for line in (folder / "scores.csv").read_text().splitlines()]
    assert [row[0] for row in rows] == ["analysis", "linear", "oi", "4dvarnet"]
    mse = {row[0]: float(row[rows[0].index("normalised_mse")]) for row in rows[1:]}
    assert mse["oi"] < mse["linear"]
    assert mse["4dvarnet"] < mse["linear"]
    assert all(f"{value:.4f}" in said for value in mse.values())


def test_linear_interpolation_gives_a_linear_field():
    t, y, x = np.arange(4.0), np.arange(6.0), np.arange(7.0)
    field = xr.DataArray(
        2 * t[:, None, None] + y[:, None] - 3 * x,
        dims=("time", "lat", "lon"),
        coords={
            "time": pd.date_range("2020-01-01", periods=4),
            "lat": ("lat", 40 + 0.1 * y, {"units": "degrees_north"}),
            "lon": ("lon", 0.1 * x, {"units": "degrees_east"}),
        },
    )
    corners = np.zeros(field.shape, bool)
    corners[np.ix_([0, 3], [0, 5], [0, 6])] = True
    inside = (slice(1, -1),) * 3
    found = demo.linear(field.where(corners))
    np.testing.assert_allclose(found[inside], field[inside], atol=2e-3)
    assert found.notnull().all()


def test_the_demonstrated_sea_is_none_of_the_training():
    # Weights are trained on drawn oceans; this one is written down.
    from xinverse.osse.nature import draw_ocean

    assert all(draw_ocean(seed) != demo.OCEAN for seed in range(400))


def test_the_table_shows_what_is_missing_as_a_dash():
    known = ("normalised_mse", "mu", "sigma", "explained_variance", "rmse")
    values = {name: ("analysis", [0.1]) for name in known}
    values["predicted_rmse"] = ("analysis", [np.nan])
    scores = xr.Dataset(values, {"analysis": ["oi"]})
    header, row = demo.table(scores).splitlines()
    assert len(header) == len(row)
    assert row.split() == ["oi", "0.1000", "0.100", "0.100", "0.1000", "10.00", "-"]
