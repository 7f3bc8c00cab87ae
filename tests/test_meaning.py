"""What the numbers of a variable mean: packing, flags, units of companions, fill values."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import xinverse
from xinverse.errors import DataError, UnitsError
from xinverse.fields.units import conversion, unit_change
from xinverse.fields.values import unpacked

SCALES = {"length_scale": 50.0, "time_scale": 3.0, "noise": 0.1}
DIMS = ("time", "lat", "lon")


def field(values: np.ndarray, name: str = "sst", **attrs) -> xr.DataArray:
    coords = {
        "time": np.datetime64("2020-01-01", "ns")
        + np.arange(values.shape[0]) * np.timedelta64(1, "D"),
        "lat": 36 + 0.25 * np.arange(values.shape[1]),
        "lon": 5 + 0.25 * np.arange(values.shape[2]),
    }
    return xr.DataArray(values, dims=DIMS, coords=coords, name=name, attrs=attrs)


def temperature(seed: int = 0, share: float = 0.4, units: str = "degC") -> xr.DataArray:
    rng = np.random.default_rng(seed)
    values = 18 + rng.random((4, 8, 9))
    return field(np.where(rng.random(values.shape) < share, values, np.nan), units=units)


# Packing -------------------------------------------------------------------------------


@pytest.mark.parametrize("lazy", [False, True])
def test_floats_that_still_carry_a_scale_factor_are_values(lazy):
    sst = temperature()
    carrying = sst.assign_attrs(scale_factor=0.001, add_offset=2.0, _FillValue=np.int16(-32768))
    if lazy:
        carrying = carrying.chunk({"time": 2})
    found = carrying.inverse.interpolate(**SCALES)
    np.testing.assert_allclose(found, sst.inverse.interpolate(**SCALES), atol=1e-6)
    assert not {"scale_factor", "add_offset", "_FillValue"} & set(found.attrs)


def test_whole_numbers_that_may_be_packed_are_an_error():
    packed = field(np.arange(15000.0, 15288.0).reshape(4, 8, 9), scale_factor=0.001)
    with pytest.raises(DataError, match="whole numbers.*packed numbers or values"):
        packed.where(packed > 15010).inverse.interpolate(**SCALES)


@given(
    factor=st.sampled_from([0.001, 0.01, 0.5, 2.0]),
    offset=st.sampled_from([0.0, 20.0, 273.15]),
    seed=st.integers(0, 5),
)
@settings(max_examples=max(25, settings.default.max_examples))
def test_packed_and_decoded_companions_mean_the_same(factor, offset, seed):
    """A background in packed integers, in floats that carry the attributes, and in floats."""
    rng = np.random.default_rng(seed)
    steps = rng.integers(0, 50, (4, 8, 9))
    packing = {"scale_factor": factor, "add_offset": offset, "units": "degC"}
    packed = field(steps.astype("i2"), "first", **packing)
    values = field(steps * factor + offset + 1e-3, "first", **packing)
    decoded = values.assign_attrs(units="degC")
    del decoded.attrs["scale_factor"], decoded.attrs["add_offset"]
    sst = temperature(seed) * 0 + decoded  # observations near the background
    sst = sst.rename("sst").assign_attrs(units="degC")
    by = [
        sst.inverse.interpolate(**SCALES, variance=0.1, background=b)
        for b in (packed, values, decoded)
    ]
    np.testing.assert_allclose(by[0], by[1], atol=2e-3)
    np.testing.assert_allclose(by[1], by[2], atol=1e-6)


def test_integers_are_scaled_and_filled():
    packed = field(np.array([[[1, 2], [-9, 4]]], "i2"), scale_factor=0.5, _FillValue=-9)
    np.testing.assert_array_equal(unpacked(packed), [[[0.5, 1], [np.nan, 2]]])


# Flags ---------------------------------------------------------------------------------


def test_flags_that_became_floats_are_left_alone():
    sst = temperature()
    flags = field(
        np.where(sst.notnull(), 3.0, np.nan),
        "quality_level",
        flag_values=np.arange(6, dtype="i1"),
        flag_meanings="no_data bad worst low acceptable best",
    )
    ds = sst.to_dataset().assign(quality_level=flags)
    found = ds.inverse.interpolate(**SCALES)
    xr.testing.assert_identical(found.quality_level, flags)
    assert bool(found.sst.notnull().all())


# Units of companions -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("units", "factor", "offset"), [("kelvin", 1.0, 273.15), ("mK", 1e3, 273150.0)]
)
def test_a_background_in_other_units_is_converted(units, factor, offset):
    sst = temperature()
    first = field(np.full(sst.shape, 18.5), "first", units="degC")
    other = (first * factor + offset).assign_attrs(units=units)
    expected = sst.inverse.interpolate(**SCALES, background=first)
    found = sst.inverse.interpolate(**SCALES, background=other)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_noise_in_other_units_is_converted_without_an_offset():
    sst = temperature()
    scales = {"length_scale": 50.0, "time_scale": 3.0}
    noise = field(np.full(sst.shape, 0.2), "noise", units="degC")
    expected = sst.inverse.interpolate(**scales, noise=noise)
    for units, factor in (("K", 1.0), ("millikelvin", 1e3)):
        other = (noise * factor).assign_attrs(units=units)
        found = sst.inverse.interpolate(**scales, noise=other)
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_units_without_a_conversion_are_an_error():
    sst = temperature()
    first = field(np.full(sst.shape, 18.5), "first", units="m")
    with pytest.raises(UnitsError, match="background: 'first' is in 'm', and 'sst' in 'degC'"):
        sst.inverse.interpolate(**SCALES, background=first)


@given(
    st.floats(-100, 100), st.sampled_from(["K", "degC", "mK"]), st.sampled_from(["K", "degC"])
)
def test_conversions_there_and_back(value, one, other):
    there, back = unit_change(one, other), unit_change(other, one)
    assert there is not None
    assert back is not None
    moved = there[0] * value + there[1]
    np.testing.assert_allclose(back[0] * moved + back[1], value, atol=1e-6)


def test_conversions_in_words():
    assert conversion("cm", "m") == "* 0.01"
    assert conversion("degC", "K") == "+ 273.15"
    assert conversion("mK", "degC") == "* 0.001 - 273.15"
    assert conversion("m", "metre") is None
    assert conversion("m", "K") is None


# Fill values ---------------------------------------------------------------------------


@pytest.mark.parametrize("fill", [-9999.0, 1e20, 9.969209968386869e36, -999.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fill_values_left_in_the_gaps_are_an_error(fill, dtype):
    raw = temperature().fillna(fill).astype(dtype)
    with pytest.raises(DataError, match="looks like a fill value.*obj.where"):
        raw.inverse.interpolate(**SCALES)
    lazy = raw.chunk({"time": 2}).inverse.interpolate(**SCALES)
    with pytest.raises(DataError, match="looks like a fill value"):
        lazy.compute()


def test_values_that_only_resemble_a_fill_value_are_taken():
    depths = temperature() * 100 - 2900  # from -1100 to -1000 or so
    depths[1, 2, 3] = -999.0
    assert bool(depths.inverse.interpolate(length_scale=50, time_scale=3).notnull().all())
    xinverse.interpolate(temperature() - 117.0, **SCALES)  # around -99
