"""Column-pivoted QR on EOF modes: the pivots of scipy, and what it cannot do."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import xarray as xr
from test_sampling import SCALES, sea

from xinverse.errors import DataError, OptionError


def series() -> xr.DataArray:
    field = sea(nt=40)
    rng = np.random.default_rng(5)
    # Ten patterns of falling energy.
    patterns = rng.standard_normal((10, *field.shape[1:])) * 0.7 ** np.arange(10)[:, None, None]
    values = np.einsum("tk,kyx->tyx", rng.standard_normal((40, 10)), patterns)
    return field.copy(data=values).where(sea(nt=40).notnull())


def test_the_places_are_the_pivots_of_scipy():
    field = series()
    design = field.inverse.design_sampling(budget=6, method="qr", **SCALES)
    wet = field[0].notnull().values
    anomaly = (field - field.mean("time")).values[:, wet]
    _, _, vectors = np.linalg.svd(anomaly, full_matrices=False)
    _, _, pivots = scipy.linalg.qr(vectors[:6], pivoting=True, mode="economic")
    order = design.order.values[wet]
    assert list(np.argsort(np.where(order > 0, order, 99))[:6]) == list(pivots[:6])


def test_places_determine_the_modes_better_than_random_ones():
    field = series()
    wet = field[0].notnull().values
    anomaly = (field - field.mean("time")).values[:, wet]
    _, _, vectors = np.linalg.svd(anomaly, full_matrices=False)

    def condition(method: str) -> float:
        design = field.inverse.design_sampling(budget=10, method=method, **SCALES)
        return float(np.linalg.cond(vectors[:10][:, design.sampling.values[wet] == 1]))

    assert condition("qr") < 0.5 * condition("random")


def test_more_places_than_modes_is_an_error():
    with pytest.raises(OptionError, match="has 10 modes, 2 too few"):
        series().inverse.design_sampling(budget=12, method="qr", **SCALES)
    with pytest.raises(OptionError, match="4 places and 3 modes are wanted"):
        series().inverse.design_sampling(budget=4, method="qr", modes=3, **SCALES)


def test_maps_with_gaps_are_an_error():
    gappy = series().where(np.random.default_rng(0).random((40, 9, 11)) < 0.9)
    with pytest.raises(DataError, match="learns from complete maps"):
        gappy.inverse.design_sampling(
            budget=4, method="qr", mask=series()[0].notnull(), **SCALES
        )
