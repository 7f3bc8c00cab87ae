"""Datasets from and to files: opened lazily, written whole or not at all."""

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
        Nothing but the coordinates has been read.

    Raises
    ------
    FileNotFoundError
        There is nothing at this path.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no {path}. Give a Zarr store or a NetCDF file.")
    if not path.is_dir():
        return xr.open_dataset(path, chunks={})
    with warnings.catch_warnings():
        # A local store opens as quickly without consolidated metadata.
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

    It is written beside its place under a temporary name and renamed when it is
    complete, so that what stands at `path` is never half of it.

    Parameters
    ----------
    ds : Dataset
        What to write.
    path : path
        Ends in ``.zarr``, or in ``.nc``.
    overwrite : bool
        Replace what is there.
    progress : bool
        Show dask's progress bar.

    Returns
    -------
    Path
        Where it is.

    Raises
    ------
    OptionError
        The name tells no format.
    FileExistsError
        Something is there, and `overwrite` is false.
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
    """Give a temporary name beside a path, and rename what is there when the block ends.

    After an error nothing is left of it, and what stood at the path still stands.

    Parameters
    ----------
    path : Path
        Ends in ``.zarr``, or in ``.nc``.
    overwrite : bool
        Replace what is there.

    Yields
    ------
    Path
        Where to write.

    Raises
    ------
    OptionError
        The name tells no format.
    FileExistsError
        Something is there, and `overwrite` is false.
    """
    check_target(path, overwrite=overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Beside it, not in the system's folder for temporary files: renaming is atomic
    # within one file system only.
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as folder:
        whole = Path(folder) / path.name
        yield whole
        if path.is_dir() and not path.is_symlink():
            path.rename(Path(folder) / f"old-{path.name}")
        whole.replace(path)


@contextmanager
def without_zarr_warnings() -> Iterator[None]:
    """Consolidate without a warning: xarray looks for it, whatever the format's version."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Consolidated metadata is currently not part")
        yield


def check_target(path: Path, *, overwrite: bool) -> None:
    """Refuse a target before anything is computed for it."""
    if path.suffix != ZARR and path.suffix not in NETCDF:
        raise OptionError(f"{path} tells no format: let its name end in .zarr or in .nc.")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists. Remove it, or ask to overwrite it.")


def _bar() -> Any:
    from dask.diagnostics import ProgressBar

    return ProgressBar()
