"""Open datasets one after the other from files, patterns and lists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from glob import glob, has_magic
from os import PathLike, fspath

import numpy as np
import pandas as pd
import xarray as xr

from xinverse.errors import DataError, OptionError

__all__ = ["Source", "open_each"]

Source = xr.Dataset | pd.DataFrame | str | PathLike[str]


def open_each(sources: Source | Iterable[Source]) -> Iterator[xr.Dataset]:
    """Open datasets one at a time; each file is closed before the next opens.

    Parameters
    ----------
    sources : Dataset, DataFrame, path, glob pattern, or an iterable of them
        The files of a pattern are sorted by name.

    Yields
    ------
    Dataset

    Raises
    ------
    DataError
        A pattern matches no file, or there is no dataset.
    OptionError
        An item is neither a dataset nor a path.
    FileNotFoundError
        A file does not exist.
    """
    if isinstance(sources, (xr.Dataset, pd.DataFrame, str, PathLike)):
        sources = (sources,)
    if isinstance(sources, xr.DataArray) or not isinstance(sources, Iterable):
        raise OptionError(
            f"The points are a {type(sources).__name__}. Expected a Dataset, a DataFrame, a "
            "path, a pattern such as 'tracks/*.nc', or a list of them; a DataArray becomes a "
            "Dataset with .to_dataset(name=...)."
        )
    number = 0
    for number, source in enumerate(sources, 1):
        if isinstance(source, xr.Dataset):
            yield source
        elif isinstance(source, pd.DataFrame):
            yield _along_rows(source)
        elif isinstance(source, (str, PathLike)):
            for path in _paths(fspath(source)):
                with xr.open_dataset(path) as opened:
                    yield opened
        else:
            raise OptionError(
                f"Points number {number} are a {type(source).__name__}. Expected a Dataset, "
                "a DataFrame or a path."
            )
    if not number:
        raise DataError("The list of points is empty. Give at least one dataset or file.")


def _along_rows(frame: pd.DataFrame) -> xr.Dataset:
    """The columns and the named levels of the index as variables along the rows."""
    named = [name for name in frame.index.names if name is not None]
    columns = frame.index.to_frame(index=False)[named] if named else pd.DataFrame()
    twice = [name for name in named if name in frame.columns]
    flat = pd.concat([columns.drop(columns=twice), frame.reset_index(drop=True)], axis=1)
    if not flat.columns.is_unique:
        again = sorted(set(map(str, flat.columns[flat.columns.duplicated()])))
        raise DataError(f"The DataFrame has several columns {again}. Rename or drop one.")
    return xr.Dataset({name: ("row", _numbers(column)) for name, column in flat.items()})


def _numbers(column: pd.Series) -> np.ndarray:
    """Values of a column, with missing ones as NaN and dates in UTC."""
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        column = column.dt.tz_convert(None)
    numeric = pd.api.types.is_numeric_dtype(column.dtype)
    if numeric and pd.api.types.is_extension_array_dtype(column.dtype):
        return column.to_numpy(np.float64, na_value=np.nan)
    return column.to_numpy()


def _paths(path: str) -> list[str]:
    if not has_magic(path):
        return [path]
    found = sorted(glob(path, recursive=True))
    if not found:
        raise DataError(f"No file matches {path!r}. Check the folder and the pattern.")
    return found
