"""Open datasets one after the other from files, patterns and lists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from glob import glob, has_magic
from os import PathLike, fspath

import xarray as xr

from xinverse.errors import DataError, OptionError

__all__ = ["Source", "open_each"]

Source = xr.Dataset | str | PathLike[str]


def open_each(sources: Source | Iterable[Source]) -> Iterator[xr.Dataset]:
    """Open datasets one at a time; each file is closed before the next opens.

    Parameters
    ----------
    sources : Dataset, path, glob pattern, or an iterable of them
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
    if isinstance(sources, (xr.Dataset, str, PathLike)):
        sources = (sources,)
    if isinstance(sources, xr.DataArray) or not isinstance(sources, Iterable):
        raise OptionError(
            f"The points are a {type(sources).__name__}. Expected a Dataset, a path, a "
            "pattern such as 'tracks/*.nc', or a list of them; a DataArray becomes a Dataset "
            "with .to_dataset(name=...)."
        )
    number = 0
    for number, source in enumerate(sources, 1):
        if isinstance(source, xr.Dataset):
            yield source
        elif isinstance(source, (str, PathLike)):
            for path in _paths(fspath(source)):
                with xr.open_dataset(path) as opened:
                    yield opened
        else:
            raise OptionError(
                f"Points number {number} are a {type(source).__name__}. Expected a Dataset or "
                "a path."
            )
    if not number:
        raise DataError("The list of points is empty. Give at least one dataset or file.")


def _paths(path: str) -> list[str]:
    if not has_magic(path):
        return [path]
    found = sorted(glob(path, recursive=True))
    if not found:
        raise DataError(f"No file matches {path!r}. Check the folder and the pattern.")
    return found
