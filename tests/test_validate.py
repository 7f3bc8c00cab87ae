"""Maps against withheld observations, and the method that is recommended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

import xinverse
from xinverse.errors import DataError, OptionError, UnknownNameError
from xinverse.methods.base import METHODS, Footprint, Method
from xinverse.validation.judge import judge
from xinverse.validation.withhold import groups_of

SHAPE = (16, 24, 24)
SCALES = {"length_scale": 40.0, "time_scale": 5.0}
OI = {
    "good": {"method": "oi", "noise": 0.02, **SCALES},
    "short": {"method": "oi", "noise": 0.02, "length_scale": 12.0, "time_scale": 1.0},
}
EVERY = {"share": 0.2, "repeats": 5, "noise": 0.02}


@pytest.fixture
def sea(rng):
    """Waves of 10 cm."""
    found = ndimage.gaussian_filter(rng.standard_normal(SHAPE), (3, 2.5, 2.5))
    return labelled(0.1 * found / found.std())


@pytest.fixture
def tracks(sea, rng):
    """Two tracks a day, with a noise of 2 cm."""
    seen, rows = np.zeros(SHAPE, dtype=bool), np.arange(SHAPE[1])
    for day in seen:
        for slope in (-0.5, 0.5):
            column = (rng.integers(SHAPE[2]) + slope * rows).astype(int)
            inside = (column >= 0) & (column < SHAPE[2])
            day[rows[inside], column[inside]] = True
    return (sea + 0.02 * rng.standard_normal(SHAPE)).where(seen).assign_attrs(sea.attrs)


@pytest.fixture
def failing(monkeypatch):
    """A method that refuses every tile."""
    monkeypatch.setattr(METHODS, "_entries", dict(METHODS))

    @METHODS.register("refuses")
    @dataclass(frozen=True, kw_only=True)
    class Refuses(Method):
        """Refuses."""

        name: ClassVar[str] = "refuses"
        summary: ClassVar[str] = "refuses"

        def footprint(self, *_):
            return Footprint((30, 64, 64), (0, 0, 0), "as in the example")

        def solve(self, *_):
            raise DataError("This sea is not for me.")

    return Refuses


def labelled(values):
    days, rows, columns = values.shape
    return xr.DataArray(
        values,
        dims=("time", "latitude", "longitude"),
        coords={
            "time": np.arange("2020-01-01", "2020-03-01", dtype="M8[D]")[:days].astype(
                "M8[ns]"
            ),
            "latitude": 36 + 0.125 * np.arange(rows),
            "longitude": -60 + 0.125 * np.arange(columns),
        },
        name="ssh",
        attrs={"units": "m"},
    )


def test_the_scores_are_those_of_the_maps(tracks):
    found = xinverse.validate(tracks, {"good": OI["good"]}, share=0.25, noise=0.02)
    fold, score = found.withheld["ssh"], found.scores.sel(variable="ssh", analysis="good")
    here = (fold == 0).to_numpy()
    seen = tracks.notnull().to_numpy()
    assert set(np.unique(fold)) == {-1, 0}
    assert not (here & ~seen).any()
    assert here.sum() == pytest.approx(0.25 * seen.sum(), rel=0.25)
    map_ = xinverse.interpolate(
        tracks.where(~here).assign_attrs(tracks.attrs), error=True, **OI["good"]
    )
    off = (map_.ssh - tracks).to_numpy()[here]
    square = np.mean(off**2)
    assert score.rmse == pytest.approx(np.sqrt(square))
    assert score.map_rmse == pytest.approx(np.sqrt(square - 0.02**2))
    assert score.explained_variance == pytest.approx(
        1 - off.var() / tracks.to_numpy()[here].var()
    )
    deviation = np.hypot(map_.ssh_error.to_numpy()[here], 0.02)
    assert score.coverage_90 == pytest.approx(np.mean(abs(off) < 1.6448536 * deviation))
    z = off / deviation
    density, below = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi), _normal(z)
    crps = deviation * (z * (2 * below - 1) + 2 * density - 1 / np.sqrt(np.pi))
    assert score.crps == pytest.approx(crps.mean())
    assert int(score.withheld) == here.sum()
    assert int(score.observations) == seen.sum()
    assert score.cpu > 0


def _normal(z):
    from scipy.special import ndtr

    return ndtr(z)


def test_the_map_error_is_that_against_the_truth(tracks, sea):
    found = xinverse.validate(tracks, {"good": OI["good"]}, **EVERY)
    assert (found.withheld["ssh"] >= 0).sum() == tracks.notnull().sum()
    errors = []
    for k in range(5):
        here = found.withheld["ssh"] == k
        kept = tracks.where(~here).assign_attrs(tracks.attrs)
        errors.append((xinverse.interpolate(kept, **OI["good"]) - sea).to_numpy()[here])
    truth = np.sqrt(np.mean(np.concatenate(errors) ** 2))
    assert float(found.scores.map_rmse.squeeze()) == pytest.approx(truth, rel=0.1)


def test_the_better_method_is_recommended(tracks):
    found = xinverse.validate(tracks, OI, **EVERY)
    assert found.recommendation["ssh"].startswith("Take good. Its mean-square difference is ")
    best = found.scores.probability_best.sel(variable="ssh")
    assert best.sel(analysis="good") > 0.95
    assert float(best.sum()) == pytest.approx(1)
    text = repr(found)
    assert "ssh (m): " in text
    assert "groups (passes); noise 0.02" in text
    assert found._repr_html_().startswith("<pre>")


@pytest.mark.parametrize("method", ["oi", "tikhonov", "4dvarnet"])
def test_methods_by_name(tracks, method):
    found = xinverse.validate(tracks, [method], share=0.2, noise=0.02)
    score = found.scores.sel(variable="ssh", analysis=method)
    assert not found.notes
    assert 0 < score.explained_variance < 1
    assert np.isfinite(score.coverage_90) == ("error" in METHODS[method].gives)


def test_the_seed_chooses_what_is_withheld(tracks):
    one, same, other = (
        xinverse.validate(tracks, {"good": OI["good"]}, seed=seed) for seed in (1, 1, 2)
    )
    xr.testing.assert_identical(one.scores.drop_vars("cpu"), same.scores.drop_vars("cpu"))
    assert not one.withheld["ssh"].equals(other.withheld["ssh"])


def test_chunks_and_the_order_of_dimensions_do_not_matter(tracks):
    one = xinverse.validate(tracks, {"good": OI["good"]})
    lazy = tracks.transpose("longitude", "time", "latitude").chunk(latitude=7, time=5)
    other = xinverse.validate(lazy, {"good": OI["good"]})
    xr.testing.assert_identical(one.scores.drop_vars("cpu"), other.scores.drop_vars("cpu"))
    xr.testing.assert_equal(one.withheld["ssh"], other.withheld["ssh"].transpose(*tracks.dims))


def test_several_variables(tracks):
    ds = xr.Dataset({"a": tracks, "b": 2 * tracks, "flag": tracks.notnull()})
    found = xinverse.validate(ds, {"good": {"method": "oi", **SCALES}}, noise={"b": 0.04})
    assert list(found.scores["variable"].values) == ["a", "b"] == list(found.recommendation)
    rmse = found.scores.rmse.sel(analysis="good")
    assert rmse.sel(variable="b") == pytest.approx(2 * float(rmse.sel(variable="a")))
    assert found.scores.noise.sel(variable="b") == 0.04
    only = xinverse.validate(ds, {"good": {"method": "oi", **SCALES}}, variables="b")
    assert list(only.scores["variable"].values) == ["b"]


def test_too_few_groups_say_nothing(tracks):
    found = xinverse.validate(tracks, ["tikhonov"], share=0.1)
    assert found.scores.groups < 6
    assert found.recommendation["ssh"].startswith("Nothing can be said: ")
    assert "and 6 are needed. Give more data, a larger repeats=" in found.recommendation["ssh"]
    dot = tracks.where(tracks.notnull() & (np.arange(tracks.size) == 0).reshape(SHAPE))
    alone = xinverse.validate(
        dot.fillna(0.0).where(dot.time == dot.time[0]),
        ["tikhonov"],
        block={"days": 99, "km": 9999},
    )
    assert "Nothing can be said: 0 groups" in alone.recommendation["ssh"]


def test_a_method_that_fails_is_reported(tracks, failing):
    found = xinverse.validate(tracks, ["refuses", "tikhonov"], **EVERY)
    (note,) = found.notes
    assert note.startswith("ssh: no map by refuses: ")
    assert "This sea is not for me." in repr(found)
    assert found.recommendation["ssh"] == "tikhonov is the only method that could be scored."
    assert np.isnan(found.scores.rmse.sel(analysis="refuses")).all()
    none = xinverse.validate(tracks, ["refuses"])
    assert none.recommendation["ssh"] == "Nothing can be said: no method made a map."


def test_equal_methods_are_judged_by_their_cost(rng):
    squares = rng.chisquare(1, 400)
    groups = np.repeat(np.arange(40), 10)
    other = rng.permutation(squares)
    text, best = judge({"dear": squares, "cheap": other}, groups, {"dear": 9.0, "cheap": 1.0})
    assert "Take cheap, the cheapest of them." in text
    assert sum(best.values()) == pytest.approx(1)
    text, best = judge({"a": squares, "b": 0.5 * squares}, groups, {"a": 1.0, "b": 2.0})
    assert text.startswith(
        "Take b. Its mean-square difference is 50 % below that of a (50 to 50 %)"
    )
    assert best == {"a": 0.0, "b": 1.0}
    zero = np.zeros(400)
    assert "No difference" in judge({"a": zero, "b": zero}, groups, {"a": 1.0, "b": 2.0})[0]


def test_images_are_withheld_in_blocks_like_their_gaps(sea):
    from xinverse.fields.axes import find_axes
    from xinverse.fields.grid import make_grid

    grid = make_grid(sea, find_axes(sea))
    observed = np.ones(SHAPE, dtype=bool)
    observed[4:8, :, :12] = False
    found = groups_of(observed, grid)
    assert found.words.startswith("blocks of ")
    given = groups_of(observed, grid, block={"days": 4, "km": 60})
    assert given.words == "blocks of 4 days and 60 km"
    _, counts = np.unique(given.keys, return_counts=True)
    assert counts.max() == 4 * round(60 / grid.spacing_km[0]) * round(60 / grid.spacing_km[1])


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"share": 0.7}, OptionError, "share"),
        ({"repeats": 11}, OptionError, "repeats=11: with share=0.1, expected at most 10"),
        ({"methods": []}, OptionError, "no method to validate"),
        ({"methods": ["kriging"]}, UnknownNameError, "kriging"),
        ({"block": {"days": 3}}, OptionError, "expected {'days': ..., 'km': ...}"),
        ({"noise": -1}, OptionError, "noise"),
        ({"noise": {"sst": 0.1}}, UnknownNameError, "sst"),
    ],
)
def test_what_cannot_be_meant_is_an_error(tracks, options, error, text):
    with pytest.raises(error, match=".*") as raised:
        xinverse.validate(tracks, **{"methods": ["tikhonov"], **options})
    assert text in str(raised.value)
