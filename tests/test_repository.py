"""What is committed holds for everyone: no file names the machine it was written on."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from xinverse._version import __version__

ROOT = Path(__file__).resolve().parents[1]

ABSOLUTE = re.compile(
    r"(?<![\w.~)}:/-])/(?:home|mnt|opt|root|scratch|tmp|Users|work)(?:/[\w.-]+)+|[A-Z]:\\\\?Users"
)
# An issue of this project lives where its readers may not see it; one of another project
# is written as project#number.
PRIVATE = re.compile(r"\bissues? (?:no\. ?)?#?\d+\b", re.IGNORECASE)


def committed() -> list[Path]:
    """The files under version control, and those that are about to be."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("this is no git checkout")
    paths = (ROOT / name for name in listed.stdout.split("\0") if name)
    return [path for path in paths if path.is_file()]


def texts() -> list[tuple[Path, str]]:
    found = []
    for path in committed():
        raw = path.read_bytes()
        if b"\0" not in raw:
            found.append((path, raw.decode("utf-8", errors="replace")))
    return found


def test_no_file_names_the_machine_it_was_written_on():
    # Short ones, such as / and /usr, say nothing of the machine.
    here = {
        str(place) for place in (ROOT, Path.home(), Path(sys.prefix)) if len(place.parts) > 2
    }
    found = []
    for path, text in texts():
        for number, line in enumerate(text.splitlines(), start=1):
            if ABSOLUTE.search(line) or any(place in line for place in here):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert not found


def test_no_file_speaks_of_private_issues():
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path, text in texts()
        for match in PRIVATE.finditer(text)
    ]
    assert not found


def test_no_file_is_data_or_a_pickle():
    # Weights are safetensors; third-party data is never committed.
    kinds = {".ckpt", ".h5", ".mat", ".nc", ".npy", ".npz", ".pickle", ".pkl", ".pt", ".pth"}
    found = [str(path.relative_to(ROOT)) for path in committed() if path.suffix in kinds]
    assert not found


def test_the_version_is_the_same_wherever_it_stands():
    cited = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert cited is not None
    assert cited[1] == __version__


@pytest.mark.parametrize(
    ("line", "is_path"),
    [
        # With | for /, so that this file passes its own test.
        ("see |home|someone|data.nc", True),
        ('"|work|project|file"', True),
        ("|tmp|scratch.zarr", True),
        ("https:||example.org|work|x", False),
        ("..|shared|data", False),
        ("xinverse|work|x", False),
        ("#!|usr|bin|env bash", False),
    ],
)
def test_an_absolute_path_is_told_from_others(line, is_path):
    assert bool(ABSOLUTE.search(line.replace("|", "/"))) is is_path
