"""Quiet, small and the same every time: what all tests share."""

import os

# Two test processes share two cores; frameworks must not each take both.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("MPLBACKEND", "Agg")

import hypothesis

hypothesis.settings.register_profile(
    "pellucid", deadline=None, derandomize=True, max_examples=25, print_blob=True
)
hypothesis.settings.load_profile("pellucid")
