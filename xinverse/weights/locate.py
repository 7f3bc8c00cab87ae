"""Find and verify the file of a registry entry: package, shared folders, cache, server.

==========================  ====================================================
environment variable        meaning
==========================  ====================================================
``XINVERSE_WEIGHTS_PATH``   shared folders, separated as in ``PATH``; read-only
``XINVERSE_CACHE_DIR``      where downloads are kept. Default: the user's cache
``XINVERSE_WEIGHTS_URL``    where to download from. Default: no download
==========================  ====================================================
"""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path

from xinverse.errors import DownloadError, HashError
from xinverse.weights.download import download
from xinverse.weights.entry import Entry
from xinverse.weights.store import file_sha256

__all__ = ["bundled_folder", "cache_folder", "locate", "shared_folders"]

ENV_PATH = "XINVERSE_WEIGHTS_PATH"
ENV_CACHE = "XINVERSE_CACHE_DIR"
ENV_URL = "XINVERSE_WEIGHTS_URL"
SCHEMES = ("https://", "http://", "doi:")

# SHA-256 of files already hashed by this process: (path, inode, date, size) -> sha256.
_known: dict[tuple[str, int, int, int], str] = {}
# One download at a time per process; between processes the last rename wins.
_download_lock = threading.Lock()


def bundled_folder(package: Path | None = None) -> Path:
    """Return the folder of the bundled weights.

    Parameters
    ----------
    package : pathlib.Path, optional
        The folder that holds ``registry.json``. Default: that of the installed package.
    """
    return (package or Path(__file__).parent) / "bundled"


def shared_folders() -> list[Path]:
    """Return the shared folders of ``XINVERSE_WEIGHTS_PATH``, in search order."""
    folders = os.environ.get(ENV_PATH, "").split(os.pathsep)
    return [Path(folder).expanduser() for folder in folders if folder]


def cache_folder() -> Path:
    """Return the download folder: ``XINVERSE_CACHE_DIR``, or the user's cache."""
    chosen = os.environ.get(ENV_CACHE)
    if chosen:
        return Path(chosen).expanduser()
    import pooch

    return Path(pooch.os_cache("xinverse"))


def locate(entry: Entry, package: Path | None = None, progress: bool = False) -> Path:
    """Find the file of an entry, download it if it is absent, and verify its SHA-256.

    Parameters
    ----------
    entry : Entry
        The entry.
    package : pathlib.Path, optional
        The folder that holds ``registry.json``. Default: that of the installed package.
    progress : bool, default False
        Whether to show a progress bar while downloading.

    Returns
    -------
    pathlib.Path
        A file with the registered SHA-256.

    Raises
    ------
    HashError
        If the file found or downloaded does not have the registered SHA-256. A bad file
        is removed from the cache, but from no other folder.
    DownloadError
        If the file is absent and could not be downloaded. The cache is unchanged.
    """
    folders = [bundled_folder(package)] if entry.bundled else []
    for folder in folders + shared_folders():
        path = folder / entry.file
        if path.is_file():
            _refuse_other(path, entry)
            return path
    path = cache_folder() / entry.file
    with _download_lock:
        if _is_good(path, entry):
            return path
        if not path.is_file():
            _download(entry, path, progress)
        else:
            _replace_damaged(entry, path, progress)
    return path


def _known_sha256(path: Path) -> str:
    stat = path.stat()
    key = (str(path), stat.st_ino, stat.st_mtime_ns, stat.st_size)
    if key not in _known:
        _known[key] = file_sha256(path)
    return _known[key]


def _is_good(path: Path, entry: Entry) -> bool:
    return path.is_file() and _known_sha256(path) == entry.sha256


def _refuse_other(path: Path, entry: Entry) -> None:
    found = _known_sha256(path)
    if found != entry.sha256:
        raise HashError(
            f"The weight file {str(path)!r} of {entry.name!r} has the sha256 {found}; expected "
            f"the registered {entry.sha256}. The file is damaged or of another version: "
            f"replace it, remove its folder from {ENV_PATH}, or, if it came with the package, "
            "install xinverse again."
        )


def _replace_damaged(entry: Entry, path: Path, progress: bool) -> None:
    found = _known_sha256(path)
    try:
        _download(entry, path, progress)
    except (DownloadError, HashError) as reason:
        # Another process may have written a good file in the meantime.
        if _is_good(path, entry):
            return
        try:
            path.unlink(missing_ok=True)
            fate = "It was removed"
        except OSError as refused:
            fate = f"It could not be removed ({refused}); remove it"
        raise HashError(
            f"The cached weight file {str(path)!r} of {entry.name!r} was damaged: its sha256 "
            f"is {found}, expected the registered {entry.sha256}. {fate}; a new copy could not "
            f"be downloaded: {reason}"
        ) from reason


def _download(entry: Entry, path: Path, progress: bool) -> None:
    """Download to a temporary folder in the cache, verify, then move into place."""
    url = _url(entry)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(
            dir=path.parent, prefix=".download-", ignore_cleanup_errors=True
        )
    except OSError as reason:
        raise DownloadError(
            f"The weights {entry.name!r} cannot be downloaded: the cache folder "
            f"{str(path.parent)!r} is not writable ({reason}). Set {ENV_CACHE} to a writable "
            f"folder, or {ENV_PATH} to one that holds {entry.file!r}."
        ) from reason
    with folder as name:
        fresh = Path(name) / entry.file
        try:
            download(url, fresh, progress)
        except DownloadError as reason:
            raise DownloadError(
                f"The weights {entry.name!r} could not be downloaded from {url!r}: {reason}. "
                f"The cache is unchanged. {_otherwise(entry)}"
            ) from reason
        found = file_sha256(fresh)
        if found != entry.sha256:
            raise HashError(
                f"The file downloaded from {url!r} is not the weights {entry.name!r}: it has "
                f"{fresh.stat().st_size} bytes and the sha256 {found}, "
                f"expected {entry.sha256}. "
                "The transfer was incomplete, or the server has another version. The cache is "
                f"unchanged. Try again. {_otherwise(entry)}"
            )
        try:
            os.replace(fresh, path)
        except OSError as reason:
            raise DownloadError(
                f"The downloaded weights {entry.name!r} could not be moved to {str(path)!r}: "
                f"{reason}. Set {ENV_CACHE} to another folder."
            ) from reason


def _url(entry: Entry) -> str:
    base = os.environ.get(ENV_URL)
    if not base:
        raise DownloadError(
            f"The weights {entry.name!r} (file {entry.file!r}) are not on this machine, and "
            f"{ENV_URL} is not set. Set it to the address of the folder that serves the weight "
            f"files. {_otherwise(entry)}"
        )
    if not base.startswith(SCHEMES):
        raise DownloadError(
            f"{ENV_URL} is {base!r}; expected an address that starts with "
            f"{', '.join(SCHEMES)}. For a local folder set {ENV_PATH} instead."
        )
    return f"{base.rstrip('/')}/{entry.file}"


def _otherwise(entry: Entry) -> str:
    return (
        f"Or put {entry.file!r} into a folder of {ENV_PATH}, run "
        f'xinverse.fetch("{entry.name}") on a machine with a network, or pass '
        "the path of a file as weights=."
    )
