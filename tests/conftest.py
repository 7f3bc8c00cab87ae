from __future__ import annotations

import os

# Set before numpy and torch are imported. The tests share the cores among processes, and one
# order of summation gives the same last digit on every machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "agg")

import random
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]
REAL_DATA_VARIABLE = "XINVERSE_REAL_DATA"

settings.register_profile(
    "xinverse",
    deadline=None,
    derandomize=True,
    max_examples=30,
    suppress_health_check=[HealthCheck.too_slow],
)
# More and new examples each time: HYPOTHESIS_PROFILE=search pytest ...
settings.register_profile("search", deadline=None, max_examples=500)
settings.register_profile("thorough", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "xinverse"))


@pytest.fixture(autouse=True)
def _seeds() -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 -- for third-party code that uses it
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder with real ocean data; skip the test without it."""
    default = ROOT.parent / "shared" / "data"
    folder = Path(os.environ.get(REAL_DATA_VARIABLE, default))
    if not folder.is_dir():
        pytest.skip(
            f"real data: there is no folder {folder}; set {REAL_DATA_VARIABLE} to the folder "
            "with the files"
        )
    return folder
