"""What is taken for sea level."""

from __future__ import annotations

import pytest
import xarray as xr

from xinverse.fields.sea_level import is_sea_level


@pytest.mark.parametrize(
    ("name", "attrs", "expected"),
    [
        ("zos", {}, True),
        ("SLA", {}, True),
        ("height", {"standard_name": "sea_surface_height_above_reference_ellipsoid"}, True),
        ("msl", {"standard_name": "air_pressure_at_mean_sea_level"}, False),
        (None, {}, False),
    ],
)
def test_sea_level_goes_by_its_names(name: str | None, attrs: dict[str, str], expected: bool):
    assert is_sea_level(xr.DataArray(0.0, name=name, attrs=attrs)) is expected
