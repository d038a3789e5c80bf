"""X1: slopes in log-log of what is known to be linear, flat or quadratic."""

import numpy as np
import pytest
import torch

from pellucid import evaluate
from pellucid.errors import InputError
from pellucid.standard import parameter_slopes
from pellucid.standard.memory import RESET, peak_growth
from pellucid.standard.scalability import slope

WAYS = {"time_batch", "time_input", "memory_batch", "memory_input", "memory_forwards"}


def test_slopes_of_powers():
    sizes = np.array([1, 2, 4, 8])
    for power in (0, 1, 2):
        assert slope(sizes, 3.0 * sizes**power) == pytest.approx(power, abs=1e-9)
    assert np.isnan(slope([1], [2]))


@pytest.mark.skipif(not RESET.exists(), reason="the system tells no high-water mark of memory")
def test_peak_memory_is_that_of_the_work_also_where_it_is_done_twice():
    for _ in range(2):
        for size in (8, 32):
            found = peak_growth(lambda size=size: np.ones(size << 20, np.uint8).sum())
            assert found == pytest.approx(size << 20, rel=0.3)


def test_time_of_a_model_that_takes_each_row_by_itself_is_linear_in_the_batch(monkeypatch):
    clock = [0.0]  # seconds that only rows of the model take
    monkeypatch.setattr("pellucid.standard.scalability.perf_counter", lambda: clock[0])

    def model(x):
        clock[0] += len(x)
        return np.asarray(x)[:, :2] * 1.0

    x = np.random.default_rng(0).random((4, 12)).astype(np.float32)
    ways = evaluate(model, x, ["occlusion"], standard=["X1"]).scores["occlusion"]["scalability"]
    assert set(ways) == WAYS
    assert ways["time_batch"][0] == pytest.approx(1, abs=0.05)
    assert np.isnan(ways["time_input"]).all()  # columns have no size to halve
    for values in ways.values():
        assert np.isnan(values[1:]).all()


def test_an_input_of_any_size_is_halved_and_one_of_fixed_size_gets_no_number():
    def anything(x):
        return np.asarray(x).mean(axis=(1, 2))

    def fixed(x):
        return np.asarray(x).reshape(len(x), 16, 16, 3).mean(axis=(1, 2))

    x = np.random.default_rng(0).random((2, 16, 16, 3)).astype(np.float32)
    for model, known in ((anything, True), (fixed, False)):
        card = evaluate(
            model, x, [("occlusion", {"window": 2, "stride": 2})], standard=["scalability"]
        )
        assert np.isfinite(card.scores["occlusion"]["scalability"]["time_input"][0]) == known
    assert "scalability" in str(card)


def test_growth_with_parameters_is_told_over_models_of_several_sizes(monkeypatch):
    """Seconds that are the square of the parameters have slope 2; one size has none."""
    clock = [0.0]
    monkeypatch.setattr("pellucid.standard.scalability.perf_counter", lambda: clock[0])

    class Slow(torch.nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(4, width)

        def forward(self, x):
            clock[0] += (5.0 * self.layer.out_features) ** 2
            return self.layer(x)

    x = np.random.default_rng(0).random((2, 4)).astype(np.float32)
    found = parameter_slopes({str(k): Slow(k).eval() for k in (4, 8, 16)}, x, "saliency")
    assert found["parameters"] == {"4": 20, "8": 40, "16": 80}
    assert found["time_parameters"] == pytest.approx(2, abs=1e-6)
    with pytest.raises(InputError, match="second point"):
        parameter_slopes({"a": Slow(4), "b": Slow(4)}, x, "saliency")
