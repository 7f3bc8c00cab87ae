"""What is committed holds for everyone, and what visitors of a repository expect is there."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from xinverse._version import __version__

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
REPOSITORY = "https://github.com/xinverse/xinverse"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
SETTINGS = [
    *WORKFLOWS,
    *sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")),
    ROOT / ".github" / "dependabot.yml",
    ROOT / ".pre-commit-config.yaml",
    ROOT / ".readthedocs.yaml",
    ROOT / "CITATION.cff",
]

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


# What visitors expect


@pytest.mark.parametrize(
    "name",
    [
        ".github/ISSUE_TEMPLATE/bug_report.yml",
        ".github/ISSUE_TEMPLATE/config.yml",
        ".github/ISSUE_TEMPLATE/feature_request.yml",
        ".github/dependabot.yml",
        ".github/pull_request_template.md",
        ".github/workflows/docs.yml",
        ".github/workflows/release.yml",
        ".github/workflows/tests.yml",
        ".readthedocs.yaml",
        "CHANGELOG.md",
        "CITATION.cff",
        "CODE_OF_CONDUCT.md",
        "CONTRIBUTING.md",
        "LICENSE",
        "README.md",
        "constraints-oldest.txt",
        "constraints.txt",
    ],
)
def test_a_file_that_visitors_look_for_is_there(name):
    assert (ROOT / name).stat().st_size > 0


@pytest.mark.parametrize("path", SETTINGS, ids=lambda path: path.name)
def test_a_settings_file_is_yaml(path):
    assert isinstance(yaml.safe_load(path.read_text("utf-8")), dict)


def workflow(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text("utf-8"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_only_read_unless_a_job_asks(path):
    content = yaml.safe_load(path.read_text("utf-8"))
    assert content["permissions"] == {"contents": "read"}
    for job in content["jobs"].values():
        assert job["timeout-minutes"]
        assert all("run" in step or "@" in step["uses"] for step in job["steps"])


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_call_make_targets_that_exist(path):
    # "run: make TARGET", on the same line or folded onto the next one
    called = set(re.findall(r"run: (?:>-\s+)?make ([\w-]+)", path.read_text("utf-8")))
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert called
    assert called <= set(targets)


def test_the_classified_python_versions_are_those_that_are_tested():
    prefix = "Programming Language :: Python :: 3."
    classified = {
        line.removeprefix("Programming Language :: Python :: ")
        for line in PROJECT["project"]["classifiers"]
        if line.startswith(prefix)
    }
    tested = workflow("tests")["jobs"]["tests"]["strategy"]["matrix"]["python"]
    assert classified == set(tested)
    oldest = min(classified, key=Version)
    assert PROJECT["project"]["requires-python"] == f">={oldest}"
    # YAML reads 3.10 without quotes as 3.1.
    assert all(isinstance(version, str) for version in tested)


def test_older_processors_and_the_oldest_dependencies_are_tested():
    jobs = workflow("tests")["jobs"]
    assert {"default", "avx2"} <= set(jobs["processors"]["strategy"]["matrix"]["capability"])
    assert any("make test-oldest" in step.get("run", "") for step in jobs["oldest"]["steps"])


def test_a_release_is_tried_before_it_is_published_without_a_password():
    jobs = workflow("release")["jobs"]
    assert any("make smoke" in step.get("run", "") for step in jobs["build"]["steps"])
    publish = jobs["publish"]
    assert publish["needs"] == "build"
    assert publish["permissions"] == {"id-token": "write"}
    assert "refs/tags/v" in publish["if"]
    assert "secrets." not in str(jobs)


def test_the_urls_lead_to_one_repository():
    urls = PROJECT["project"]["urls"]
    assert urls["Repository"] == REPOSITORY
    assert urls["Issues"] == f"{REPOSITORY}/issues"
    assert urls["Changelog"] == f"{REPOSITORY}/blob/main/CHANGELOG.md"
    assert urls["Documentation"] == "https://xinverse.readthedocs.io"
    for name in ("CODE_OF_CONDUCT.md", "CONTRIBUTING.md"):
        assert f"{REPOSITORY}/issues" in (ROOT / name).read_text("utf-8")


@pytest.mark.parametrize(
    "name",
    ["CHANGELOG.md", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "README.md"],
)
def test_links_of_a_page_at_the_root_lead_somewhere(name):
    text = (ROOT / name).read_text("utf-8")
    targets = re.findall(r"\]\((?!https?:|#)([^)#\s]+)(?:#[\w-]+)?\)", text)
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_the_changelog_is_a_page_of_the_documentation():
    assert "{include} ../CHANGELOG.md" in (ROOT / "docs" / "whats-new.md").read_text("utf-8")
    # What only Sphinx understands would be shown as it is where the repository is.
    assert "{py:" not in (ROOT / "CHANGELOG.md").read_text("utf-8")


# Versions of what xinverse needs


def pins(name: str) -> dict[str, Version]:
    found = {}
    for line in (ROOT / name).read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            package, version = line.split("==")
            found[canonicalize_name(package)] = Version(version)
    return found


def requirements(*extras: str, groups: tuple[str, ...] = ()) -> list[Requirement]:
    """The direct dependencies, those of some extras, and those of some groups."""
    project = PROJECT["project"]
    lines = list(project["dependencies"])
    for extra in extras:
        lines += project["optional-dependencies"][extra]
    for group in groups:
        lines += [line for line in PROJECT["dependency-groups"][group] if isinstance(line, str)]
    return [Requirement(line) for line in lines if not line.startswith("xinverse[")]


TESTED_WITH_THE_OLDEST = requirements("plot", "distributed", "train", groups=("test",))


@pytest.mark.parametrize("requirement", TESTED_WITH_THE_OLDEST, ids=str)
def test_the_oldest_versions_are_the_lower_bounds(requirement):
    (bound,) = requirement.specifier
    assert bound.operator == ">="
    pinned = pins("constraints-oldest.txt")[canonicalize_name(requirement.name)]
    # 2.2.2.240514 is the first of the stubs for 2.2.2.
    lowest = Version(bound.version).release
    given = pinned.release + (0,) * len(lowest)
    assert given[: len(lowest)] == lowest
    assert not any(pinned.release[len(lowest) : 3])


@pytest.mark.parametrize(
    "requirement",
    requirements("plot", "distributed", "train", "gpu", "docs", groups=("test", "benchmarks")),
    ids=str,
)
def test_the_tested_version_is_one_that_is_allowed(requirement):
    assert pins("constraints.txt")[canonicalize_name(requirement.name)] in requirement.specifier


def test_netcdf_files_can_be_read_without_an_extra():
    assert "netCDF4" in {requirement.name for requirement in requirements()}
