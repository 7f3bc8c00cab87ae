"""Download a file within limits of time and size."""

from __future__ import annotations

import threading
from pathlib import Path

from xinverse.errors import DownloadError

__all__ = ["download"]

CONNECT_SECONDS = 20.0
READ_SECONDS = 30.0  # without a byte
TOTAL_SECONDS = 900.0
MOST_BYTES = 2_000_000_000
CHUNK = 1 << 14  # bytes


class _Target:
    """A file that accepts bytes until it is stopped or full."""

    def __init__(self, path: Path) -> None:
        self.file = open(path, "wb")  # noqa: SIM115  closed by the thread that writes
        self.stopped = False
        self.size = 0

    def write(self, chunk: bytes) -> None:
        """Write a chunk, as files do."""
        self.size += len(chunk)
        if self.stopped:
            raise DownloadError("it was stopped")
        if self.size > MOST_BYTES:
            raise DownloadError(f"it is larger than {MOST_BYTES:,} bytes")
        self.file.write(chunk)

    def flush(self) -> None:
        """Do nothing: the file is flushed when it is closed."""


def download(url: str, path: Path, progress: bool = False) -> None:
    """Download a file.

    Parameters
    ----------
    url : str
        Address that starts with ``http://``, ``https://`` or ``doi:``.
    path : pathlib.Path
        The file to write.
    progress : bool, default False
        Whether to show a progress bar.

    Raises
    ------
    DownloadError
        The server refuses, sends nothing for 30 seconds, needs more than 15 minutes, or
        sends more than 2 GB. The text is the reason only.
    """
    import pooch

    kind = pooch.DOIDownloader if url.startswith("doi:") else pooch.HTTPDownloader
    fetch = kind(
        progressbar=progress, chunk_size=CHUNK, timeout=(CONNECT_SECONDS, READ_SECONDS)
    )
    target = _Target(path)
    failed: list[Exception] = []

    def work() -> None:
        try:
            fetch(url, target, None)
        except Exception as reason:  # noqa: BLE001  raised below, in the caller's thread
            failed.append(reason)
        finally:
            target.file.close()

    # A server that sends a byte now and then never reaches the limit between two bytes, and
    # blocks the thread that reads. So the caller waits for that thread, and not for ever.
    thread = threading.Thread(target=work, name="xinverse-download", daemon=True)
    thread.start()
    thread.join(TOTAL_SECONDS)
    if thread.is_alive():
        target.stopped = True
        raise DownloadError(f"it took more than {TOTAL_SECONDS:g} seconds")
    if failed:
        raise DownloadError(str(failed[0])) from failed[0]
