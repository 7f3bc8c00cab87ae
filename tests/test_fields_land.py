from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from dask_counting import raise_if_dask_computes
from hypothesis import given
from hypothesis import strategies as st
from strategies import Layout, build, layouts

from xinverse.errors import MaskError
from xinverse.fields.axes import Axes, find_axes
from xinverse.fields.land import NO_MASK, find_sea

AXES = Axes("time", "lat", "lon")
FIELD = build(Layout())
SEA = np.array([[1, 1, 1, 0, 0, 1], [1] * 6, [0, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1]], bool)


def labelled(values=SEA, like=FIELD, **attrs):
    coords = {name: like[name] for name in ("lat", "lon")}
    return xr.DataArray(values, dims=("lat", "lon"), coords=coords, attrs=attrs)


@pytest.mark.parametrize(
    "mask",
    [
        SEA,
        SEA.tolist(),
        SEA.astype("f4"),
        np.where(SEA, 1.0, np.nan),
        SEA.astype(">i2"),
        labelled(),
        labelled().T,
        labelled()[::-1, ::-1],
        labelled().drop_vars(["lat", "lon"]),
        labelled().assign_coords(lon=FIELD.lon + 360, area=7),
        labelled().assign_coords(lat=FIELD.lat.astype("f4") + 1e-6),
        labelled(~SEA, standard_name="land_binary_mask"),
        labelled(standard_name="sea_binary_mask"),
    ],
)
def test_ways_to_give_a_mask(mask):
    sea, source = find_sea(FIELD, None, AXES, mask)
    assert sea.dims == ("lat", "lon")
    assert sea.dtype == bool
    assert set(sea.coords) == {"lat", "lon"}
    np.testing.assert_array_equal(sea, SEA)
    xr.testing.assert_equal(sea.lon, FIELD.lon.reset_coords(drop=True))
    assert source.startswith("mask argument")


@given(layout=layouts(lazy=True), shift=st.sampled_from([0, 360, -720]), data=st.data())
def test_a_labelled_mask_is_aligned_and_stays_lazy(layout, shift, data):
    da = build(layout)
    axes = find_axes(da)
    expected = np.random.default_rng(1).random(layout.shape[1:]) < 0.6
    expected[0, 0] = True
    coords = {name: da[name] for name in (axes.y, axes.x)}
    mask = xr.DataArray(expected, dims=(axes.y, axes.x), coords=coords)
    mask = mask.isel({axes.x: data.draw(st.permutations(range(layout.shape[2])))})
    mask = mask.isel({axes.y: slice(None, None, data.draw(st.sampled_from([1, -1])))})
    mask = mask.assign_coords({axes.x: mask[axes.x] + shift}).chunk(2)
    with raise_if_dask_computes():
        sea, _ = find_sea(da, None, axes, mask)
    assert sea.chunks is not None
    np.testing.assert_array_equal(sea.values, expected)


@pytest.mark.parametrize("kind", ["sea_binary_mask", "land_binary_mask"])
@pytest.mark.parametrize("as_coordinate", [True, False])
def test_a_mask_of_the_dataset(kind, as_coordinate):
    values = SEA if kind == "sea_binary_mask" else ~SEA
    ds = FIELD.to_dataset().assign(wet=labelled(values.astype("i1"), standard_name=kind))
    if as_coordinate:
        ds = ds.set_coords("wet")
    sea, source = find_sea(ds.sla, ds, AXES)
    np.testing.assert_array_equal(sea, SEA)
    assert source == f"{kind} variable 'wet'"
    sea, source = find_sea(ds.sla, ds, AXES, mask="wet")
    np.testing.assert_array_equal(sea, SEA)
    assert source.startswith("mask argument, variable 'wet'")
    if as_coordinate:
        np.testing.assert_array_equal(find_sea(ds.sla, None, AXES)[0], SEA)


def test_sea_goes_before_land_and_other_grids_are_left_alone():
    elsewhere = xr.DataArray([[1]], dims=("row", "column"))
    ds = FIELD.to_dataset().assign(
        land=labelled(~SEA, standard_name="land_binary_mask"),
        sea=labelled(SEA, standard_name="sea_binary_mask"),
        other=elsewhere.assign_attrs(standard_name="sea_binary_mask"),
    )
    assert find_sea(ds.sla, ds, AXES)[1] == "sea_binary_mask variable 'sea'"


def test_nothing_tells_land():
    assert find_sea(FIELD, FIELD.to_dataset(), AXES) == (None, NO_MASK)
    assert find_sea(FIELD, None, AXES) == (None, NO_MASK)


def test_projected_coordinates_do_not_come_round():
    def shifted(by):
        y = ("y", np.arange(4.0), {"units": "km"})
        return xr.DataArray(
            SEA,
            dims=("y", "x"),
            coords={"y": y, "x": ("x", np.arange(6) + by, {"units": "km"})},
        )

    da = shifted(0.0).astype(float).expand_dims(time=[0])
    axes = Axes("time", "y", "x")
    assert find_sea(da, None, axes, shifted(0.0))[0].values.sum() == SEA.sum()
    with pytest.raises(MaskError, match=r"'x' from 360\.0 to 365\.0"):
        find_sea(da, None, axes, shifted(360.0))


def wrong_masks():
    other = labelled().assign_coords(lat=FIELD.lat + 0.3)
    unlike = labelled().assign_coords(lon=FIELD.lon * 1.3)
    words = labelled().assign_coords(lat=list("abcd"))
    dated = labelled().expand_dims(time=2)
    yield "shape", SEA[1:], r"has shape \(3, 6\), and the field has \('lat', 'lon'\) = \(4, 6\)"
    yield "turned", SEA.T, r"shape \(6, 4\)"
    yield "flat", SEA.ravel(), r"shape \(24,\)"
    yield (
        "labelled shape",
        labelled()[:2],
        r"shape \(2, 6\).*\(4, 6\).*Expected a mask on the field's grid",
    )
    yield "time", dated, r"dimensions \('time', 'lat', 'lon'\).*isel\(time=0, drop=True\)"
    yield "one dimension", labelled()[0], r"dimensions \('lon',\).*one value per cell"
    yield "other latitudes", other, r"'lat' from -19.7 to .* the field from -20.0.*interp_like"
    yield "other longitudes", unlike, "'lon' from 13.0 to"
    yield "labels", words, "'lat' from a to d"
    yield "flags", SEA * 3, rf"{SEA.sum()} values that are not 0, 1 or NaN.*mask == 1"
    yield "fraction", SEA * 0.4, "not 0, 1 or NaN"
    yield "text", np.full((4, 6), "sea"), "<U3 values.*1 on the sea"
    yield "dry", np.zeros((4, 6)), r"has no sea in 24 cells.*~mask"
    yield (
        "all land",
        labelled(SEA | True, standard_name="land_binary_mask"),
        "has no sea in 24 cells",
    )
    yield "no variable", "wet", "no variable 'wet'.*'sla'"
    yield "dataset", labelled().to_dataset(name="wet"), "is a Dataset with the variables.*'wet'"


@pytest.mark.parametrize(
    ("mask", "text"), [pytest.param(*rest, id=name) for name, *rest in wrong_masks()]
)
def test_masks_that_do_not_fit(mask, text):
    with pytest.raises(MaskError, match=text):
        find_sea(FIELD, FIELD.to_dataset(), AXES, mask)


def test_masks_of_the_dataset_that_do_not_fit():
    mask = labelled(standard_name="sea_binary_mask")
    ds = FIELD.to_dataset()
    with pytest.raises(MaskError, match="Several variables are a sea_binary_mask: 'a', 'b'"):
        find_sea(ds.sla, ds.assign(a=mask, b=mask), AXES)
    with pytest.raises(MaskError, match=r"sea_binary_mask variable 'a'.*has the dimensions"):
        find_sea(ds.sla, ds.assign(a=mask.expand_dims(time=ds.time)), AXES)


def test_flags_of_a_lazy_mask_are_refused_when_computed():
    with raise_if_dask_computes():
        sea, _ = find_sea(FIELD, None, AXES, labelled(SEA * 2).chunk(2))
    with pytest.raises(MaskError, match="not 0, 1 or NaN"):
        sea.compute()


def test_the_mask_of_a_real_file(real_data):
    with xr.open_dataset(real_data / "sst_l3_alboran_201705.nc") as ds:
        sea, _ = find_sea(ds.sst, ds, find_axes(ds), mask="mask")
        np.testing.assert_array_equal(sea, ds.mask == 1)
        assert find_sea(ds.sst, ds, find_axes(ds)) == (None, NO_MASK)
