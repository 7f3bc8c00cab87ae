"""Open datasets lazily, and write files completely or not at all."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import xarray as xr

from xinverse.errors import OptionError

__all__ = ["open_lazily", "whole_or_not_at_all", "without_zarr_warnings", "write"]

ZARR = ".zarr"
NETCDF = {".nc", ".nc4", ".netcdf"}


def open_lazily(path: str | os.PathLike[str]) -> xr.Dataset:
    """Open a Zarr store or a NetCDF file with dask arrays, in the chunks of the file.

    Parameters
    ----------
    path : path
        A folder is read as a Zarr store, anything else as NetCDF.

    Returns
    -------
    Dataset
        Only the coordinates are loaded.

    Raises
    ------
    FileNotFoundError
        The path does not exist.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist. Give a Zarr store or a NetCDF file.")
    if not path.is_dir():
        return xr.open_dataset(path, chunks={})
    with warnings.catch_warnings():
        # Local stores open as fast without consolidated metadata.
        warnings.filterwarnings("ignore", "Failed to open Zarr store with consolidated")
        return xr.open_zarr(path)


def write(
    ds: xr.Dataset,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    progress: bool = False,
) -> Path:
    """Compute a dataset, chunk by chunk, into a Zarr store or a NetCDF file.

    The data are written under a temporary name and renamed when complete, so that `path` is
    never incomplete.

    Parameters
    ----------
    ds : Dataset
        The dataset.
    path : path
        Output, ending in ``.zarr`` or ``.nc``.
    overwrite : bool
        Replace an existing file.
    progress : bool
        Show dask's progress bar.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    OptionError
        If the suffix is unknown.
    FileExistsError
        If `path` exists, and `overwrite` is false.
    """
    path = Path(path)
    with (
        whole_or_not_at_all(path, overwrite=overwrite) as whole,
        _bar() if progress else nullcontext(),
        without_zarr_warnings(),
    ):
        if path.suffix == ZARR:
            ds.to_zarr(whole, mode="w")
        else:
            ds.to_netcdf(whole)
    return path


@contextmanager
def whole_or_not_at_all(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary path to write to, and rename it to `path` at the end of the block.

    On errors the temporary files are removed and `path` is unchanged. Raises as :func:`write`.
    """
    check_target(path, overwrite=overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, because renaming is atomic only within a file system.
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as folder:
        whole = Path(folder) / path.name
        yield whole
        if path.is_dir() and not path.is_symlink():
            path.rename(Path(folder) / f"old-{path.name}")
        whole.replace(path)


@contextmanager
def without_zarr_warnings() -> Iterator[None]:
    """Suppress warnings on consolidated metadata, which xarray expects in all formats."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Consolidated metadata is currently not part")
        yield


def check_target(path: Path, *, overwrite: bool) -> None:
    """Check an output path before computing."""
    if path.suffix != ZARR and path.suffix not in NETCDF:
        raise OptionError(f"{path} has an unknown format. Expected a name in .zarr or .nc.")
    if path.exists() and not overwrite:
        raise FileExistsError(
            f"{path} exists. Remove it, or pass overwrite=True (--overwrite)."
        )


def _bar() -> Any:
    from dask.diagnostics import ProgressBar

    return ProgressBar()
