"""X1's memory: what is known of a network whose layers are large, and why small ones have none."""

import numpy as np
import pytest

from pellucid import evaluate
from pellucid.standard.memory import RESET, peak_growth

torch = pytest.importorskip("torch")


class Wide(torch.nn.Module):
    """One layer of 32 channels at full size: 8 MiB for 256 x 256 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Conv2d(1, 32, 1)

    def forward(self, x):
        return torch.tanh(self.layer(x)).mean(dim=(2, 3))


def test_memory_grows_with_batch_and_input_and_is_told_in_forwards():
    if np.isnan(peak_growth(lambda: None)):
        pytest.skip(f"this system does not let {RESET} be written, and tells no peak of memory")
    torch.manual_seed(0)
    x = np.random.default_rng(0).normal(size=(4, 1, 256, 256)).astype(np.float32)
    card = evaluate(Wide().eval(), x, ["saliency"], standard=["X1"], batch_size=8)
    ways = {way: values[0] for way, values in card.scores["saliency"]["scalability"].items()}
    assert ways["memory_batch"] == pytest.approx(1, abs=0.4)
    assert ways["memory_input"] == pytest.approx(1, abs=0.4)
    assert 1 <= ways["memory_forwards"] < 6


def test_what_has_no_number_says_which_and_why():
    model = torch.nn.Linear(6, 2).eval()
    x = np.zeros((3, 6), np.float32)
    text = str(evaluate(model, x, ["saliency"], standard=["X1"]))
    assert "scalability (time_input) skipped: the inputs have no space axes" in text
    assert "scalability (memory_batch) skipped: " in text
    assert "scalability has no number" not in text
    one = str(evaluate(model, x[:1], ["saliency"], standard=["X1"]))
    assert "scalability (time_batch) skipped: it takes two samples or more" in one
