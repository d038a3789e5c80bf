"""Quiet, small and the same every time: what all tests share."""

import os

# Two test processes share two cores; frameworks must not each take both.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("MPLBACKEND", "Agg")

from pathlib import Path

import hypothesis
import numpy as np
import pytest

hypothesis.settings.register_profile(
    "pellucid", deadline=None, derandomize=True, max_examples=25, print_blob=True
)
hypothesis.settings.load_profile("pellucid")


@pytest.fixture(scope="session")
def sixteen_photos() -> np.ndarray:
    """The demo's eight photographs and eight more, uint8 `(16, 224, 224, 3)`."""
    from pellucid.demo import demo_photos, load_photo

    more = sorted((Path(__file__).parent / "data" / "photos").glob("*.jpg"))
    return np.stack([load_photo(path) for path in (*(p.path for p in demo_photos()), *more)])
