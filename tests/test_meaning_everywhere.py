"""Every entry reads packed numbers, other units and fill values in one way."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import xinverse
from xinverse import scores
from xinverse.errors import DataError, UnitsError
from xinverse.points.from_maps import interpolate_to_points
from xinverse.verbs.training_fields import TrainingFields
from xinverse.verbs.training_regions import alike

DIMS = ("time", "lat", "lon")
DAY = np.timedelta64(1, "D")
START = np.datetime64("2020-01-01", "ns")
STEP = 0.001  # all values are multiples of it, in metres
# Factors of other units of length, and the offset and factor of other units of temperature.
LENGTHS = {"m": 1.0, "metres": 1.0, "cm": 100.0, "mm": 1000.0, "km": 1e-3}
TEMPERATURES = {"degC": (1.0, 0.0), "kelvin": (1.0, 273.15), "mK": (1e3, 273150.0)}
FILLS = (-9999.0, 1e20, 9.969209968386869e36)

Entry = Callable[[xr.DataArray, xr.DataArray], xr.DataArray]


def sea(seed: int, shape: tuple[int, int, int] = (8, 9, 10)) -> xr.DataArray:
    rng = np.random.default_rng(seed)
    coords = {
        "time": START + np.arange(shape[0]) * DAY,
        "lat": ("lat", 36 + 0.25 * np.arange(shape[1]), {"units": "degrees_north"}),
        "lon": ("lon", 5 + 0.25 * np.arange(shape[2]), {"units": "degrees_east"}),
    }
    values = STEP * rng.integers(-500, 500, shape)
    return xr.DataArray(values, coords, DIMS, "ssh", {"units": "m"})


def in_units(da: xr.DataArray, units: str) -> xr.DataArray:
    return (da * LENGTHS[units]).assign_attrs(units=units)


def packed(da: xr.DataArray, factor: float = STEP, offset: float = 0.25) -> xr.DataArray:
    """As 16-bit integers, with their fill value in the gaps."""
    numbers = ((da - offset) / factor).round().fillna(-32768).astype("i2")
    attrs = {"scale_factor": factor, "add_offset": offset, "_FillValue": np.int16(-32768)}
    return numbers.assign_attrs(**da.attrs, **attrs)


def carrying(da: xr.DataArray) -> xr.DataArray:
    """Values that kept the attributes of their packing."""
    return da.assign_attrs(scale_factor=STEP, add_offset=0.25, _FillValue=np.int16(-32768))


def along(da: xr.DataArray) -> xr.Dataset:
    """Points of a field: one in each cell."""
    flat = da.stack(n=da.dims).reset_index("n")
    lat = flat.lat.assign_attrs(units="degrees_north")
    lon = flat.lon.assign_attrs(units="degrees_east")
    return flat.to_dataset().assign_coords(lat=lat, lon=lon)


def line(da: xr.DataArray) -> xr.Dataset:
    """Points of a field along its rows, in order of time."""
    points = along(da.isel(time=slice(1, 3)))
    hours = np.arange(points.sizes["n"]) * np.timedelta64(10, "s")
    return points.assign_coords(time=("n", START + DAY + hours))


SCORES: dict[str, Entry] = {
    "rmse": scores.rmse,
    "rmse_score": scores.rmse_score,
    "normalised_mse": scores.normalised_mse,
    "explained_variance": scores.explained_variance,
    "mu_sigma": lambda x, truth: scores.mu_sigma(x, truth).to_array(),
    "spectral": lambda x, truth: scores.spectral_scores(x, truth).score,
    "bands": lambda x, truth: (
        scores.explained_variance_by_band(x, truth, [(60, 200)]).error_variance
    ),
    "currents": lambda x, truth: scores.current_scores(x, truth).to_array(),
    "compare": lambda x, truth: (
        xinverse.compare({"a": x, "b": truth}, truth)
        .scores[["rmse", "mu", "current_rmse"]]
        .to_array()
    ),
    "along_track": lambda x, truth: scores.along_track(truth, along(x), minimum=1).rmse,
    "track_spectrum": lambda x, truth: (
        scores.along_track_spectrum(truth, line(x), segment_km=200).psd_error
    ),
}
CHANGES: dict[str, Callable[[xr.DataArray], xr.DataArray]] = {
    "packed": packed,
    "carrying": carrying,
    "lazy and packed": lambda da: packed(da).chunk({"time": 3}),
    "centimetres": lambda da: in_units(da, "cm"),
    "packed millimetres": lambda da: packed(in_units(da, "mm"), 1.0, 3.0),
    "metres": lambda da: in_units(da, "metres"),
}


@pytest.mark.parametrize("entry", SCORES)
@pytest.mark.parametrize("change", CHANGES)
def test_scores_do_not_depend_on_packing_and_units(entry, change):
    analysis, truth = sea(1), sea(2)
    expected = SCORES[entry](analysis, truth)
    found = SCORES[entry](CHANGES[change](analysis), truth)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("entry", SCORES)
@pytest.mark.parametrize("change", ["packed", "carrying", "lazy and packed"])
def test_nor_on_the_packing_of_the_truth(entry, change):
    analysis, truth = sea(1), sea(2)
    expected = SCORES[entry](analysis, truth)
    found = SCORES[entry](analysis, CHANGES[change](truth))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_errors_are_in_the_units_of_the_truth():
    analysis, truth = sea(1), sea(2)
    found = scores.rmse(analysis, in_units(truth, "cm"))
    np.testing.assert_allclose(found, 100 * scores.rmse(analysis, truth))
    assert found.units == "cm"
    made = xinverse.compare({"a": in_units(analysis, "mm")}, packed(truth))
    np.testing.assert_allclose(made.analyses["a"], analysis, atol=1e-6)
    assert made.truth.attrs == {"units": "m"}


@pytest.mark.parametrize("entry", SCORES)
@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("which", [0, 1])
def test_fill_values_are_refused(entry, fill, which):
    pair = [sea(1), sea(2)]
    pair[which][2, 3, 4] = fill
    with pytest.raises(DataError, match="looks like a fill value"):
        SCORES[entry](*pair)


@pytest.mark.parametrize("entry", SCORES)
def test_units_without_a_conversion_are_refused(entry):
    with pytest.raises(UnitsError, match="'ssh' is in 'K', and 'ssh' in 'm'"):
        SCORES[entry](sea(1).assign_attrs(units="K"), sea(2))


@pytest.mark.parametrize("change", ["packed", "carrying", "centimetres"])
def test_currents_and_spectra_of_one_field(change):
    height = sea(1)
    other = CHANGES[change](height)
    currents = scores.geostrophic_currents(height)
    xr.testing.assert_allclose(scores.geostrophic_currents(other), currents, atol=1e-6)
    if change != "centimetres":
        xr.testing.assert_allclose(scores.power_spectrum(other), scores.power_spectrum(height))


@pytest.mark.parametrize("score", [scores.geostrophic_currents, scores.power_spectrum])
def test_fill_values_in_one_field_are_refused(score):
    with pytest.raises(DataError, match="looks like a fill value"):
        score(sea(1).where(sea(1) < 0.4, -9999.0))


@pytest.mark.parametrize("change", ["packed", "carrying", "lazy and packed"])
def test_maps_at_points(change):
    maps, points = sea(1), along(sea(2))
    expected = interpolate_to_points(maps, points)
    found = interpolate_to_points(CHANGES[change](maps), points)
    xr.testing.assert_allclose(found, expected, atol=1e-6)


def test_packed_coordinates_are_positions():
    """Latitudes and longitudes in integers, as open_dataset(mask_and_scale=False) has them."""
    field = sea(1).where(sea(3) > 0)
    options = {"length_scale": 60.0, "time_scale": 2.0, "noise": 0.02}
    expected = field.inverse.interpolate(**options)
    lat, lon = (
        (name, np.round(field[name] / 0.01).astype("i4").data, {**field[name].attrs, **scale})
        for name, scale in (("lat", {"scale_factor": 0.01}), ("lon", {"scale_factor": 0.01}))
    )
    found = field.assign_coords(lat=lat, lon=lon).inverse.interpolate(**options)
    np.testing.assert_allclose(found, expected, atol=1e-6)


# Points ----------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["packed", "carrying", "lazy and packed"])
def test_tracks_are_unpacked(change):
    field = sea(1).where(sea(3) > 0)
    found = xinverse.grid_tracks(along(CHANGES[change](field)), like=field)
    np.testing.assert_allclose(found.ssh, field, atol=1e-6)
    assert found.ssh.attrs == {"units": "m", "ancillary_variables": "ssh_count"}
    np.testing.assert_array_equal(found.ssh_count, field.notnull())


def test_packed_positions_are_unpacked():
    field = sea(1)
    points = along(field)
    for name in ("lat", "lon"):
        numbers = np.round(points[name] / 1e-6).astype("i4")
        attrs = {**points[name].attrs, "scale_factor": 1e-6}
        points[name] = numbers.assign_attrs(attrs)
    xr.testing.assert_allclose(xinverse.grid_tracks(points, like=field).ssh, field)


@pytest.mark.parametrize("units", ["cm", "mm", "metres"])
def test_tracks_in_several_units_become_one(units):
    field = sea(1)
    early, late = (
        field.where(field.time < field.time[4]),
        field.where(field.time >= field.time[4]),
    )
    found = xinverse.grid_tracks([along(early), along(in_units(late, units))], like=field)
    np.testing.assert_allclose(found.ssh, field, atol=1e-6)
    assert found.ssh.units == "m"


def test_noise_of_points_is_in_their_units():
    field = sea(1)
    noise = (0 * field + 3.0).assign_attrs(units="cm").rename("sigma")
    points = along(field).assign(sigma=along(noise).sigma)
    found = xinverse.grid_tracks(points, like=field, variable="ssh", noise="sigma")
    np.testing.assert_allclose(found.ssh_noise, 0.03, rtol=1e-6)
    points["sigma"].attrs["units"] = "kg"
    with pytest.raises(UnitsError, match="noise: 'sigma' is in 'kg', and 'ssh' in 'm'"):
        xinverse.grid_tracks(points, like=field, variable="ssh", noise="sigma")


def test_flags_along_tracks_are_not_the_variable():
    field = sea(1)
    flag = (0 * field).assign_attrs(flag_values=np.arange(3), flag_meanings="good bad ugly")
    points = along(field).assign(flag=along(flag.rename("flag")).flag)
    xr.testing.assert_allclose(xinverse.grid_tracks(points, like=field).ssh, field)


@pytest.mark.parametrize("fill", FILLS)
def test_fill_values_of_points_are_refused(fill):
    field = sea(1)
    field[1, 2, 3] = fill
    with pytest.raises(DataError, match="'ssh' of the points has the value.*fill value"):
        xinverse.grid_tracks(along(field), like=field)


# Observing systems and training ------------------------------------------------------------


@pytest.mark.parametrize("change", ["packed", "carrying", "lazy and packed"])
@pytest.mark.parametrize("how", [{}, {"clouds": {"cover": 0.5}}])
def test_a_packed_truth_is_observed_unpacked(change, how):
    truth = sea(1)
    expected = xinverse.osse.observe(truth, noise=0.0, **how)
    found = xinverse.osse.observe(CHANGES[change](truth), noise=0.0, **how)
    np.testing.assert_allclose(found.ssh, expected.ssh, atol=1e-6)
    assert found.ssh.attrs == expected.ssh.attrs
    points = xinverse.osse.track_points(CHANGES[change](truth), noise=0.0)
    np.testing.assert_allclose(points.ssh, xinverse.osse.track_points(truth, noise=0.0).ssh)
    assert points.ssh.attrs == {"units": "m"}


@pytest.mark.parametrize("fill", FILLS)
def test_a_truth_with_fill_values_is_not_observed(fill):
    truth = sea(1).where(sea(1) < 0.4, fill)
    with pytest.raises(DataError, match="The truth 'ssh' has the value.*fill value"):
        xinverse.osse.observe(truth)


@pytest.mark.parametrize("change", CHANGES)
def test_truth_and_background_of_a_training_are_those_of_the_observations(change):
    seen, truth = sea(1), sea(2)
    given = TrainingFields(CHANGES[change](truth), seen, background=CHANGES[change](seen))
    (one,) = map(alike, given.each())
    np.testing.assert_allclose(one.truth[0], truth, atol=1e-6)
    np.testing.assert_allclose(one.background[0], seen, atol=1e-6)
    assert {"scale_factor", "add_offset"}.isdisjoint(one.truth[0].attrs)


def test_a_training_refuses_other_units_and_fill_values():
    seen, truth = sea(1, (12, 16, 16)), sea(2, (12, 16, 16))
    small = {"steps": 1, "patch": 12, "network": {"window": 5, "steps": 2}}
    with pytest.raises(UnitsError, match="truth: 'ssh' is in 'K', and 'ssh' in 'm'"):
        xinverse.train("4dvarnet", truth.assign_attrs(units="K"), seen, **small)
    with pytest.raises(DataError, match="fill value"):
        xinverse.train("4dvarnet", truth, seen.where(seen > -0.4, 1e20), **small)
    with pytest.raises(DataError, match="first day of the truth has the value.*fill value"):
        xinverse.train("4dvarnet", truth.where(truth > -0.4, 1e20), seen, **small)


# Properties --------------------------------------------------------------------------------

PACKINGS = st.tuples(
    st.sampled_from([STEP, STEP / 2, STEP / 4]), st.sampled_from([0.0, 0.25, -3.0, 1.0])
)


@st.composite
def said_in_another_way(draw: st.DrawFn, da: xr.DataArray) -> xr.DataArray:
    """The same field in other units, packed or with the attributes of it, lazy or not."""
    units = draw(st.sampled_from(list(LENGTHS)))
    factor, offset = draw(PACKINGS)
    # Whole numbers that carry a scale factor are an error: they may be packed.
    how = draw(st.sampled_from(["values", "packed", *(["carrying"] if units != "mm" else [])]))
    other = in_units(da, units)
    if how == "packed":
        scale = LENGTHS[units]
        other = packed(other, factor * scale, offset * scale)
    elif how == "carrying":
        other = other.assign_attrs(scale_factor=factor, add_offset=offset)
    if draw(st.booleans()):
        other = other.astype("f4") if other.dtype == "f8" else other
    if draw(st.booleans()):
        other = other.chunk({"time": draw(st.integers(1, 8)), "lon": draw(st.integers(3, 10))})
    return other


@given(data=st.data(), seed=st.integers(0, 3))
def test_scores_of_a_field_said_in_another_way(data, seed):
    analysis, truth = sea(seed), sea(seed + 10)
    other = data.draw(said_in_another_way(analysis))
    np.testing.assert_allclose(
        scores.rmse(other, truth), scores.rmse(analysis, truth), rtol=1e-5
    )


@given(data=st.data(), seed=st.integers(0, 3))
def test_tracks_said_in_another_way(data, seed):
    field = sea(seed).where(sea(seed + 10) > 0)
    other = data.draw(said_in_another_way(field))
    found = xinverse.grid_tracks(along(other), like=field).ssh
    np.testing.assert_allclose(found, field * LENGTHS[other.units], rtol=1e-4, atol=1e-4)
    analysis = data.draw(said_in_another_way(sea(seed)))
    error = scores.along_track(analysis, along(other), minimum=1).rmse
    assert float(error) < 1e-4 * LENGTHS[analysis.units]


@given(data=st.data(), seed=st.integers(0, 3))
def test_companions_said_in_another_way(data, seed):
    """Background and noise of one field, and the field itself."""
    field = sea(seed, (3, 5, 6)).where(sea(seed + 10, (3, 5, 6)) > 0)
    first, noise = sea(seed + 5, field.shape).rename("first"), abs(field).fillna(0.1) + 0.05
    noise = (noise / STEP).round() * STEP
    noise = noise.rename("noise").assign_attrs(units="m")
    scales = {"length_scale": 50.0, "time_scale": 3.0, "variance": 0.1}
    expected = field.inverse.interpolate(**scales, background=first, noise=noise)
    found = field.inverse.interpolate(
        **scales,
        background=data.draw(said_in_another_way(first)),
        noise=data.draw(said_in_another_way(noise)),
    )
    np.testing.assert_allclose(found, expected, atol=2e-4)


@given(
    fill=st.sampled_from(FILLS),
    share=st.floats(0.01, 0.95),
    dtype=st.sampled_from(["f4", "f8"]),
    lazy=st.booleans(),
    where=st.sampled_from(["field", "background", "noise", "points", "truth", "analysis"]),
    seed=st.integers(0, 99),
)
def test_no_entry_takes_a_fill_value(fill, share, dtype, lazy, where, seed):
    rng = np.random.default_rng(seed)
    field = sea(seed, (3, 5, 6)).astype(dtype)
    at = rng.random(field.shape) < share
    at[0, 0, 0] = True
    spoilt = field.where(~at, np.asarray(fill, dtype))
    spoilt = spoilt.chunk({"time": 1, "lon": 4}) if lazy else spoilt
    scales = {"length_scale": 50.0, "time_scale": 3.0, "variance": 0.1}
    entries: dict[str, Callable[[], object]] = {
        "field": lambda: spoilt.inverse.interpolate(**scales).compute(),
        "background": lambda: field.inverse.interpolate(**scales, background=spoilt).compute(),
        "noise": lambda: field.inverse.interpolate(**scales, noise=abs(spoilt)).compute(),
        "points": lambda: xinverse.grid_tracks(along(spoilt), like=field),
        "truth": lambda: scores.rmse(field, spoilt),
        "analysis": lambda: scores.rmse(spoilt, field),
    }
    with pytest.raises(DataError, match="fill value"):
        entries[where]()


SCALES = st.sampled_from(list(TEMPERATURES))


@given(st.floats(-2.0, 40.0), SCALES, SCALES)
def test_temperatures_of_an_analysis_and_a_truth(degrees, one, other):
    def said(units: str, shift: float) -> xr.DataArray:
        factor, offset = TEMPERATURES[units]
        values = (sea(1) + degrees + shift) * factor + offset
        return values.assign_attrs(units=units)

    found = scores.rmse(said(one, 0.5), said(other, 0.0))
    np.testing.assert_allclose(found, 0.5 * TEMPERATURES[other][0], rtol=1e-6)
