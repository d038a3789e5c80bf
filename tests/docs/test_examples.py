"""The examples run, and say the same of a photograph in Keras and in PyTorch."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

# Both with oneDNN, so that most sums run in the same order.
SAME_KERNELS = {"TF_ENABLE_ONEDNN_OPTS": "1"}
EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name)], cwd=folder, capture_output=True, text=True,
        timeout=900, check=False, env=os.environ | SAME_KERNELS,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_keras_and_torch_explain_a_photograph_alike(tmp_path):
    assert run("keras_photo.py", tmp_path).count("Samoyed") == 6
    assert len(list(tmp_path.glob("*.png"))) == 6
    said = run("torch_photo.py", tmp_path)
    differences = dict(re.findall(r"^(\w+) .* ([\d.e+-]+)$", said, re.M))
    assert len(differences) == 6, said
    # Maps that are continuous in the weights and the input.
    assert float(differences["gradcam"]) < 1e-4, said
    assert float(differences["occlusion"]) < 1e-4, said
    # A ReLU within a rounding error of its kink falls to either side, and float32 then differs from
    # float64 by as much within one framework (docs/frameworks.md).
    assert max(map(float, differences.values())) < 0.05, said
