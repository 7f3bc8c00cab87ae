"""On dask input a call computes nothing, imports no torch and reads no weights."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import dask.array as da
import numpy as np
import xarray as xr
from dask_counting import raise_if_dask_computes
from strategies import Layout, build

from xinverse.weights import ModelCard, cards, save

# What a process of its own does, so that nothing has been imported before.
CALL = """
import sys

opened = []
sys.addaudithook(lambda event, given: opened.append(str(given[0])) if event == "open" else None)

import dask
import dask.array as da
import numpy as np
import xarray as xr

import xinverse


def refuse(*given, **options):
    raise AssertionError("dask computed")


field = xr.DataArray(
    da.zeros({shape}, chunks=(5, 12, 12), dtype="f4"),
    dims=("time", "lat", "lon"),
    coords={{
        "time": np.datetime64("2020-01-01", "ns")
        + (np.arange({shape[0]}) * {days} * 86400e9).astype("m8[ns]"),
        "lat": {degrees} * np.arange({shape[1]}),
        "lon": {degrees} * np.arange({shape[2]}),
    }},
    name={name!r},
    attrs={{"units": {units!r}}},
)
with dask.config.set(scheduler=refuse):
    for obj in (field, field.to_dataset()):
        result = obj.inverse.interpolate(**{keywords})
        filled = result[{name!r}] if isinstance(result, xr.Dataset) else result
        assert filled.chunks == field.chunks
        repr(result), result._repr_html_(), repr(result.inverse)
heavy = {{"torch", "cupy", "safetensors", "distributed", "pooch"}} & set(sys.modules)
assert heavy <= {may_import!r}, heavy
weights = [name for name in opened if name.endswith(".safetensors")]
assert weights == {may_open!r}, weights
"""


def call(
    keywords: dict,
    card: ModelCard | None = None,
    may_open: tuple[str, ...] = (),
    may_import: frozenset[str] | set[str] = frozenset(),
) -> None:
    spacing = 25.0 if card is None else float(np.mean(card.grid_spacing_km))
    days, units, name, window = 1.0, "m", "sla", 10
    if card is not None:
        days, units = card.time_step_days, card.units
        name, window = card.variables[0], card.window
    script = textwrap.dedent(CALL).format(
        shape=(2 * window, 24, 36),
        degrees=spacing / 111.2,
        days=days,
        name=name,
        units=units,
        keywords=keywords,
        may_open=list(may_open),
        may_import=set(may_import),
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_optimal_interpolation_is_only_promised():
    call({"method": "oi", "error": True, "members": 2, "background": 0.0})


def test_registered_weights_are_not_opened():
    for name, card in cards().items():
        call({"method": card.method, "weights": name}, card)


def test_of_a_file_of_weights_only_the_header_is_read(tmp_path: Path):
    from xinverse.learning import FourDVarNet

    network = FourDVarNet(5, 2, 2, 1)
    card = ModelCard(
        name="nothing",
        method="4dvarnet",
        summary="For the tests.",
        variables=("sla",),
        units="m",
        grid_spacing_km=(5, 30),
        time_step_days=1,
        window=5,
        training="none",
        config={
            **network.config,
            "background": {"length_scale": 100.0, "time_scale": 5.0},
        },
    )
    path = tmp_path / "nothing.safetensors"
    save(path, network.state_dict(), card)
    # PyTorch says which tensors the network has.
    call({"method": "4dvarnet", "weights": str(path)}, card, (str(path),) * 2, {"torch"})


def counted(source: xr.DataArray, asked: list[int]) -> xr.DataArray:
    """The field on dask, every block of which tells when it is asked for."""

    def tell(block):
        asked.append(1)
        return block

    chunked = da.from_array(source.values, chunks=(2, 4, 5))
    return source.copy(data=chunked.map_blocks(tell, dtype=source.dtype, meta=chunked._meta))


def test_every_block_is_asked_for_once():
    asked: list[int] = []
    source = build(Layout(shape=(4, 8, 10)))
    lazy = counted(source, asked).to_dataset()
    with raise_if_dask_computes():
        result = lazy.inverse.interpolate(
            tile={"time": 2, "y": 4, "x": 5}, length_scale=30, time_scale=1, error=True
        )
    assert asked == []
    result.compute(scheduler="synchronous")
    assert len(asked) == 2 * 2 * 2


def test_lazy_coordinates_and_other_variables_stay_lazy():
    source = build(Layout(shape=(4, 8, 10), chunks={"time": 2})).to_dataset()
    source["depth_of_bottom"] = source.depth_of_bottom.chunk()
    source["count"] = source.sla.notnull().astype("i4")
    with raise_if_dask_computes():
        result = source.inverse.interpolate(error=True, members=2, length_scale=50)
        alone = source.sla.inverse.interpolate(members=3, length_scale=50)
    assert isinstance(result.depth_of_bottom.data, da.Array)
    assert isinstance(alone.depth_of_bottom.data, da.Array)
    assert result["count"].data is source["count"].data
    assert alone.sla_members.chunks == ((1, 1, 1), *source.sla.chunks)


def test_land_from_a_lazy_mask_is_not_looked_at():
    source = build(Layout(shape=(4, 8, 10), chunks={"time": 2}))
    mask = xr.DataArray(da.ones((8, 10), chunks=3, dtype=bool), dims=("lat", "lon"))
    with raise_if_dask_computes():
        result = source.inverse.interpolate(mask=mask, length_scale=50)
    assert result.chunks == source.chunks
