"""Backward rules and attention on models of words: dicts, whole numbers, padding."""

from typing import Any

import numpy as np
import pytest
import torch

from pellucid import explain, wrap
from pellucid.counting import CountedModel
from pellucid.errors import CapabilityError, ModelError
from pellucid.methods.backward import deep_shap
from pellucid.running.intercepted import OtherOperationsError
from pellucid.running.outputs import model_errors

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


def one_by_one(model, method, **options):
    parts = [
        explain(model, {k: v[i : i + 1] for k, v in X.items()}, method, target=1, **options)
        for i in range(2)
    ]
    values = [p.values["input_ids"] if isinstance(p.values, dict) else p.values for p in parts]
    return np.concatenate(values)


@pytest.mark.parametrize(
    "method", ["attention", "attention_norm", "attention_rollout", "attention_gradient"]
)
def test_attention_of_a_batch_that_is_padded_in_part(method):
    """The mask is left out where no row is padded, so one row alone does other operations."""
    model = bert()
    e = explain(wrap(model), X, method, target=1, batch_size=2)
    np.testing.assert_allclose(
        e.values["input_ids"], one_by_one(model, method), rtol=1e-4, atol=1e-6
    )
    assert not e.values["input_ids"][1, 4:].any() or method == "attention_rollout"


@pytest.mark.parametrize("method", ["lrp", "excitation_backprop", "deeplift"])
def test_rules_on_a_batch_that_is_padded_in_part(method):
    model = bert()
    e = explain(wrap(model), X, method, target=1, layer=WORDS, batch_size=2)
    alone = one_by_one(model, method, layer=WORDS)
    np.testing.assert_allclose(e.values, alone, rtol=1e-3, atol=1e-5 * np.abs(alone).max())


def test_deep_shap_where_the_background_is_padded_in_part():
    model, options = bert(), {"target": 1, "layer": WORDS, "batch_size": 2}
    e = explain(wrap(model), X, "deep_shap", background=X, **options)
    alone = [
        explain(model, X, "deep_shap", background={k: v[[i]] for k, v in X.items()}, **options)
        for i in range(2)
    ]
    mean = (alone[0].values + alone[1].values) / 2
    assert np.abs(mean[0]).max() > 0
    np.testing.assert_allclose(e.values, mean, rtol=1e-3, atol=1e-5 * np.abs(mean).max())


def test_deep_shap_side_by_side_is_deep_shap(monkeypatch):
    model, options = wrap(Two()), {"layer": "words", "background": IDS + 5, "target": 1}
    expected = explain(model, IDS, "deep_shap", **options).values
    plain, parted = deep_shap.gradients_under, []

    def part(*given, inputs=None):
        if inputs is None:
            parted.append(given)
            raise OtherOperationsError("as if two runs had parted")
        return plain(*given, inputs=inputs)

    monkeypatch.setattr(deep_shap, "gradients_under", part)
    np.testing.assert_allclose(
        explain(model, IDS, "deep_shap", **options).values, expected, rtol=1e-5, atol=1e-7
    )
    assert parted


def test_an_error_of_our_own_is_not_blamed_on_the_model():
    counted = CountedModel(wrap(Two()).adapter, peel=True)
    ours: dict[str, Any] = {"__name__": "pellucid.methods.made"}
    theirs: dict[str, Any] = {"__name__": "my.model"}
    for scope, raised in ((ours, KeyError), (theirs, ModelError)):
        exec("def fail():\n    return {}[0]", scope)
        with pytest.raises(raised), model_errors(counted, (IDS,), counted.adapter):
            scope["fail"]()


@pytest.mark.parametrize(
    ("method", "options"),
    [("lrp", {}), ("lrp", {"composite": "cp_lrp"}), ("excitation_backprop", {})],
)
def test_words_of_keras_that_attend_have_relevance(method, options):
    """Keras looks words up by numbers that it cast to whole ones, to which no epsilon belongs."""
    import keras

    keras.utils.set_random_seed(0)
    ids = keras.Input((6,))
    h = keras.layers.Embedding(20, 8, name="words")(ids)
    h = keras.layers.Add()([h, keras.layers.MultiHeadAttention(2, 4)(h, h)])
    h = keras.layers.GlobalAveragePooling1D()(keras.layers.LayerNormalization()(h))
    model = keras.Model(ids, keras.layers.Dense(3, activation="softmax")(h))
    e = explain(model, IDS.numpy(), method, target=1, layer="words", **options)
    assert e.values.shape == (2, 6, 8)
    assert np.isfinite(e.values).all()
    assert np.all(np.abs(e.values).sum(axis=(1, 2)) > 0)
    if method == "excitation_backprop":
        return
    # The epsilon of the real numbers is small, so that none makes next to no difference.
    own = explain(model, IDS.numpy(), method, target=1, layer="words", epsilon=0.0, **options)
    np.testing.assert_allclose(own.values, e.values, rtol=1e-2, atol=1e-4)
