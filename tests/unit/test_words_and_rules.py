"""Backward rules and attention on models of words: dicts, whole numbers, padding."""

import numpy as np
import pytest
import torch

from pellucid import explain, wrap
from pellucid.errors import CapabilityError

IDS = torch.as_tensor([[3, 7, 9, 2, 5, 4], [6, 1, 8, 3, 2, 2]])
PADDED = torch.as_tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])
X = {"input_ids": IDS, "attention_mask": PADDED}
WORDS = "bert.embeddings.word_embeddings"


def bert():
    transformers = pytest.importorskip(
        "transformers", reason="transformers is not installed; the extra `test` has it"
    )
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=20, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=24, num_labels=3, max_position_embeddings=8,
    )  # fmt: skip
    return transformers.BertForSequenceClassification(config).eval()


class Two(torch.nn.Module):
    """Words with weights, given by name."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words, self.head = torch.nn.Embedding(20, 6), torch.nn.Linear(6, 3)

    def forward(self, ids, weights=None):
        h = torch.relu(self.words(ids))
        return self.head(h.mean(1) if weights is None else (h * weights[..., None]).mean(1))


def test_coverage_takes_a_dict_and_keeps_nothing_of_it():
    model = wrap(Two())
    given = {"ids": IDS, "weights": torch.ones(2, 6)}
    with_weights = model.coverage("deeplift", given)
    assert {"mul", "linear"} <= {op.name for op in with_weights}
    above = model.coverage("lrp", IDS, layer="words")
    assert [op.name for op in above][:1] == ["relu"]
    assert len(model.coverage("lrp", given, layer="words")) > len(above)
    with pytest.raises(CapabilityError, match="int64"):
        model.coverage("lrp", IDS)


def test_coverage_of_a_batch_that_is_padded_in_part_is_that_of_what_runs():
    model = wrap(bert())
    found = model.coverage("deeplift", X, layer=WORDS)
    assert found.complete
    assert "attention" in {op.kind for op in found}
    with pytest.raises(CapabilityError, match="layer="):
        model.coverage("deeplift", X)


def test_operations_that_depend_on_no_real_number_are_no_coverage():
    with pytest.raises(CapabilityError, match="no operation that depends on"):
        wrap(Two()).coverage("occlusion", IDS)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("deeplift", {}), ("deep_shap", {"background": IDS}), ("lrp", {}),
        ("excitation_backprop", {}), ("guided_backprop", {}), ("deconvnet", {}),
    ],
)  # fmt: skip
def test_whole_numbers_are_refused_as_by_saliency(method, options):
    said = {}
    for name, given in (("saliency", {}), (method, options)):
        with pytest.raises(CapabilityError, match=r"int64.*\n.*gradients at a layer") as caught:
            explain(Two(), IDS, name, **given)
        said[name] = str(caught.value).replace(name, "")
    assert said[method] == said["saliency"]
    if method not in {"guided_backprop", "deconvnet"}:
        e = explain(Two(), IDS, method, layer="words", **options)
        assert np.abs(e.values).max() > 0
