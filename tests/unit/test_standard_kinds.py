"""The standard over every kind of input: pictures of any layout, series, words, tables."""

import numpy as np
import pytest
import torch
from torch import nn

from pellucid import evaluate

ASKED = ["I1", "I2", "I3", "C1", "C2", "C3", "C5", "C6", "C7"]


class Words(nn.Module):
    """Mean of word vectors, read by a small network."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(20, 6)
        self.read = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))

    def forward(self, x):
        return self.read(self.words(x.long()).mean(dim=1))


def head(count: int) -> list[nn.Module]:
    return [nn.Flatten(), nn.LazyLinear(8), nn.Tanh(), nn.Linear(8, count)]


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


KINDS = {
    "picture": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), *head(3)), draw(6, 3, 8, 8)),
    "picture of 13 channels": (lambda: nn.Sequential(*head(3)), draw(6, 13, 6, 6)),
    "series": (lambda: nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(), *head(3)), draw(6, 2, 16)),
    "table": (lambda: nn.Sequential(*head(3)), draw(6, 9)),
    "single output": (lambda: nn.Sequential(*head(1), nn.Sigmoid()), draw(6, 9)),
    "words": (Words, np.random.default_rng(0).integers(1, 20, size=(6, 7))),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_input_gets_numbers(kind):
    torch.manual_seed(0)
    make, x = KINDS[kind]
    model = make().eval()
    model(torch.from_numpy(x))
    words = kind == "words"
    method = ("kernel_shap", {"baseline": 0}) if words else ("integrated_gradients", {"steps": 16})
    card = evaluate(model, x, [method], standard=ASKED)
    (name,) = card.explanations
    assert len(card.imputers) >= 2
    found = card.scores[name]
    single = kind == "single output"
    for metric in ("effective_fraction", "srg", "subset_correlation", "seed_stability"):
        for way, values in found[metric].items():
            assert np.isfinite(values).sum() >= 4, (metric, way)
    contrast = found["class_contrast"][""]
    assert not np.isnan(contrast).all()
    if single:  # the other answer's map is this one with its signs turned
        np.testing.assert_allclose(contrast, 1)
    # Words are whole numbers: noise leaves them as they are, and nothing can be said.
    assert np.isnan(found["local_infidelity"][""]).all() == words
    assert str(card)
    assert card.to_html()
