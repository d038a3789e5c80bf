"""Attention as models have it: fused or written out, masked, in groups; read where the score is.

Oracles are the frameworks' own weights, where they give them out, and sums written down here.
"""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from pellucid import explain, wrap
from pellucid.adapters.torch.attention import explicit_attention
from pellucid.errors import CapabilityError, LayerError, MethodError
from pellucid.testing import build

METHODS = ("attention", "attention_norm", "attention_rollout", "attention_gradient")


def floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


class Encoder(torch.nn.Module):
    """Words with padding through two torch encoder layers; the mean of the words, or the last."""

    def __init__(self, read: str = "mean", *, batch_first: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = torch.nn.Embedding(20, 8)
        self.layers = torch.nn.ModuleList(
            torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=batch_first) for _ in range(2)
        )
        self.head = torch.nn.Linear(8, 3)
        self.read, self.batch_first = read, batch_first

    def forward(self, ids):
        x, padded = self.embed(ids), ids == 0
        x = x if self.batch_first else x.transpose(0, 1)
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=padded)
        x = x if self.batch_first else x.transpose(0, 1)
        real = (~padded)[..., None]
        mean = (x * real).sum(dim=1) / real.sum(dim=1)
        return self.head(mean if self.read == "mean" else x[:, 0])

    def weights(self, ids) -> list[np.ndarray]:
        """`(n, heads, queries, keys)` of each layer, as torch gives them out."""
        found, x, padded = [], self.embed(ids), ids == 0
        for layer in self.layers:
            turned = x if self.batch_first else x.transpose(0, 1)
            _, share = layer.self_attn(
                turned, turned, turned, key_padding_mask=padded, average_attn_weights=False
            )
            found.append(share.detach().numpy())
            out = layer(turned, src_key_padding_mask=padded)
            x = out if self.batch_first else out.transpose(0, 1)
        return found


WORDS = np.array([[3, 7, 2, 9, 1, 0], [5, 5, 11, 0, 0, 0], [4, 1, 2, 6, 8, 13]])


@pytest.mark.parametrize("batch_first", [True, False])
def test_torch_s_encoder_layers_and_their_padding(batch_first):
    model = Encoder("first", batch_first=batch_first).eval()
    shares = model.weights(torch.as_tensor(WORDS))
    e = explain(model, WORDS, "attention")
    np.testing.assert_allclose(e.values, shares[1].mean(axis=1)[:, 0], atol=1e-6)
    expected = np.stack([s[:, :, 0] for s in shares], axis=1)
    np.testing.assert_allclose(e.extras["heads"], expected, atol=1e-6)
    assert not np.any(e.values[WORDS == 0]), "what is padded is not looked at"
    assert e.values.shape == WORDS.shape


def test_what_the_score_reads_is_found_for_each_sample():
    model = Encoder("mean").eval()
    shares = model.weights(torch.as_tensor(WORDS))
    real = WORDS != 0
    read = real / real.sum(axis=1, keepdims=True)
    e = explain(model, WORDS, "attention")
    expected = np.einsum("nq,nqk->nk", read, shares[1].mean(axis=1))
    np.testing.assert_allclose(e.values, expected, atol=1e-6)
    third = explain(model, WORDS, "attention", token=-4).values
    np.testing.assert_allclose(third, shares[1].mean(axis=1)[:, 2], atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_the_result_says_which_token_was_read(method):
    first = explain(Encoder("first").eval(), WORDS, method, target=1)
    np.testing.assert_array_equal(first.extras["read"], np.eye(6)[[0, 0, 0]])
    assert first.parameters["token"] == 0
    assert "token=0" in first.reproduce()
    again = explain(Encoder("first").eval(), WORDS, method, target=1, token=0)
    np.testing.assert_allclose(again.values, first.values, atol=1e-6)
    mean = explain(Encoder("mean").eval(), WORDS, method, target=1)
    real = WORDS != 0
    np.testing.assert_allclose(mean.extras["read"], real / real.sum(axis=1, keepdims=True))
    assert mean.parameters["token"] is None
    assert "token=" not in mean.reproduce()
    assert explain(Encoder().eval(), WORDS, method, target=1, token=-4).parameters["token"] == -4


@pytest.mark.parametrize("method", METHODS)
def test_a_sample_is_as_it_is_alone_and_without_its_padding(method):
    model = Encoder("mean").eval()
    e = explain(model, WORDS, method, target=1)
    alone = explain(model, WORDS[1:2], method, target=1)
    np.testing.assert_allclose(alone.values[0], e.values[1], atol=1e-6)
    short = explain(model, WORDS[1:2, :3], method, target=1)
    np.testing.assert_allclose(short.values[0], e.values[1, :3], atol=1e-6)
    assert not e.values[1, 3:].any()


def test_rollout_of_words_is_that_of_torch_s_own_weights():
    model = Encoder("first").eval()
    reached = np.eye(6)
    for share in model.weights(torch.as_tensor(WORDS)):
        reached = (share.mean(axis=1) / 2 + np.eye(6) / 2) @ reached
    e = explain(model, WORDS, "attention_rollout")
    np.testing.assert_allclose(e.values, reached[:, 0], atol=1e-6)


def test_norms_are_those_of_the_layer_s_own_projections():
    for batch_first in (True, False):
        model = Encoder("first", batch_first=batch_first).eval()
        ids = torch.as_tensor(WORDS)
        with torch.no_grad():
            x = model.embed(ids)
            first = x if batch_first else x.transpose(0, 1)
            x = model.layers[0](first, src_key_padding_mask=ids == 0)
            x = x if batch_first else x.transpose(0, 1)
            attention = model.layers[1].self_attn
            value = x @ attention.in_proj_weight[16:].T + attention.in_proj_bias[16:]
            value = value.reshape(3, 6, 2, 4).numpy()
            out = attention.out_proj.weight.numpy().reshape(8, 2, 4)
        share = model.weights(ids)[1][:, :, 0]
        expected = np.linalg.norm(np.einsum("nhk,nkhd,chd->nkc", share, value, out), axis=-1)
        e = explain(model, WORDS, "attention_norm")
        np.testing.assert_allclose(e.values, expected, atol=1e-6)


MASKS = {
    "nothing": {},
    "causal": {"is_causal": True},
    "boolean": {
        "attn_mask": torch.tensor([[1, 1, 0, 1, 0], [0] * 5, [1] * 5, [1, 0, 0, 0, 0]]) > 0
    },
    "added": {"attn_mask": torch.randn(4, 5, generator=torch.Generator().manual_seed(0))},
    "scaled": {"scale": 0.3},
    "grouped": {"enable_gqa": True},
}


@pytest.mark.parametrize("options", list(MASKS.values()), ids=list(MASKS))
def test_what_is_written_out_is_what_was_fused(options):
    groups = 2 if options.get("enable_gqa") else 4
    query = torch.as_tensor(floats(2, 4, 4, 3))
    key, value = torch.as_tensor(floats(2, groups, 5, 3)), torch.as_tensor(floats(2, groups, 5, 2))
    expected = scaled_dot_product_attention(query, key, value, **options)
    found = explicit_attention(query, key, value, **options)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


class Grouped(torch.nn.Module):
    """Causal attention of four heads in two groups over steps; the last step is read."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.project = torch.nn.Linear(3, 32)
        self.head = torch.nn.Linear(16, 2)

    def forward(self, x):
        q, k, v = self.project(x).split([16, 8, 8], dim=-1)
        q, k, v = (a.unflatten(-1, (-1, 4)).transpose(1, 2) for a in (q, k, v))
        mixed = scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return self.head(mixed.transpose(1, 2).flatten(2)[:, -1])


def grouped_in_jax(weights, x):
    y = x @ weights["project"].T + weights["shift"]
    q, k, v = (a.reshape(*x.shape[:2], -1, 4) for a in jnp.split(y, [16, 24], axis=-1))
    mixed = jax.nn.dot_product_attention(q, k, v, is_causal=True)
    return mixed.reshape(*x.shape[:2], -1)[:, -1] @ weights["head"].T


@pytest.mark.parametrize("method", METHODS)
def test_causal_attention_in_groups_is_the_same_in_torch_and_jax(method):
    model, x = Grouped().eval(), floats(2, 5, 3)
    weights = {
        "project": jnp.asarray(model.project.weight.detach().numpy()),
        "shift": jnp.asarray(model.project.bias.detach().numpy()),
        "head": jnp.asarray(model.head.weight.detach().numpy()),
    }
    one = explain(model, x, method, target=1)
    other = explain((grouped_in_jax, weights), x, method, target=1)
    np.testing.assert_allclose(other.values, one.values, atol=1e-6)
    np.testing.assert_allclose(other.extras["tokens"], one.extras["tokens"], atol=1e-6)
    if method == "attention":
        with torch.no_grad():
            q, k, _ = model.project(torch.as_tensor(x)).split([16, 8, 8], dim=-1)
        q, k = q.numpy().reshape(2, 5, 2, 2, 4), k.numpy().reshape(2, 5, 2, 4)
        logits = np.einsum("ngjd,nkgd->ngjk", q[:, -1], k) / 2
        share = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
        np.testing.assert_allclose(one.values, share.mean(axis=(1, 2)), atol=1e-6)


def keras_encoder() -> tuple[keras.Model, keras.Model]:
    """Padded words through `MultiHeadAttention`, and a model of its weights."""
    keras.utils.set_random_seed(0)
    ids = keras.Input((6,), dtype="int32")
    x = keras.layers.Embedding(20, 8, mask_zero=True)(ids)
    layer = keras.layers.MultiHeadAttention(2, 4, name="attention")
    mixed, weights = layer(x, x, return_attention_scores=True)
    pooled = keras.layers.GlobalAveragePooling1D()(keras.layers.Add()([x, mixed]))
    plain = keras.layers.GlobalAveragePooling1D()(keras.layers.Add()([x, layer(x, x)]))
    head = keras.layers.Dense(3, activation="softmax")
    del pooled
    return keras.Model(ids, head(plain)), keras.Model(ids, weights)


def test_keras_s_multi_head_attention_and_its_mask():
    model, of_weights = keras_encoder()
    share = keras.ops.convert_to_numpy(of_weights(WORDS))
    real = WORDS != 0
    read = real / real.sum(axis=1, keepdims=True)
    e = explain(model, WORDS, "attention")
    expected = np.einsum("nq,nqk->nk", read, share.mean(axis=1))
    np.testing.assert_allclose(e.values, expected, atol=1e-6)
    for method in METHODS:
        assert explain(model, WORDS, method, target=2).values.shape == WORDS.shape


def test_a_softmax_that_only_gates_is_no_attention():
    class Gated(torch.nn.Module):
        def forward(self, x):
            return (torch.softmax(x, dim=-1) * x) @ torch.ones(4, 2)

    with pytest.raises(CapabilityError, match=r"does not attend.*\n.*integrated_gradients"):
        explain(Gated(), floats(2, 4), "attention_rollout")
    for name, framework in (("cnn", "keras"), ("dense", "jax"), ("cnn", "numpy")):
        model, x = build(name, framework)
        with pytest.raises(CapabilityError):
            explain(model, x, "attention")


class TwoSequences(torch.nn.Module):
    """Five steps look at a memory of seven: a cross-attention after one over themselves."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.own = torch.nn.MultiheadAttention(4, 2, batch_first=True)
        self.cross = torch.nn.MultiheadAttention(4, 2, batch_first=True)
        self.head = torch.nn.Linear(4, 2)

    def forward(self, steps, memory):
        steps = steps + self.own(steps, steps, steps, need_weights=False)[0]
        return self.head(self.cross(steps, memory, memory)[0].mean(dim=1))


def test_attentions_of_other_tokens_are_not_multiplied():
    model, x = TwoSequences().eval(), (floats(2, 5, 4), floats(2, 7, 4))
    with pytest.raises(CapabilityError, match=r"own \(5 tokens\), cross \(5 tokens to 7\)"):
        explain(model, x, "attention_rollout")
    e = explain(model, x, "attention_rollout", attentions=(0,))
    assert e.parts[0].values.any()
    assert not e.parts[1].values.any()
    crossed = explain(model, x, "attention")
    with torch.no_grad():
        given, memory = map(torch.as_tensor, x)
        steps = given + model.own(given, given, given)[0]
        share = model.cross(steps, memory, memory)[1].numpy()
    assert not crossed.parts[0].values.any()
    np.testing.assert_allclose(crossed.parts[1].values, share.mean(axis=1), atol=1e-6)


def test_what_is_asked_for_and_not_there():
    model, x = build("vit", "torch")
    with pytest.raises(MethodError, match=r"one of the 2 attentions.*\n.*block1"):
        explain(model, x, "attention", at=2)
    with pytest.raises(MethodError, match="one of 13 tokens, got 13"):
        explain(model, x, "attention", token=13)
    with pytest.raises(MethodError, match="head to be one of 2"):
        explain(model, x, "attention", head=5)
    with pytest.raises(MethodError, match="heads to be one of"):
        explain(model, x, "attention_rollout", heads="median")
    with pytest.raises(MethodError, match="from 0 to below 1"):
        explain(model, x, "attention_rollout", residual=1.0)
    with pytest.raises(LayerError, match="13 tokens of the attention cannot be laid"):
        explain(model, x, "attention", grid=(5, 5))


def test_the_user_s_model_is_as_it_was():
    model = Encoder("mean").train()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    state = torch.get_rng_state()
    for method in METHODS:
        explain(model, WORDS, method, target=0)
    assert model.training
    assert all(layer.self_attn.training for layer in model.layers)
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(m._forward_hooks for m in model.modules())


def transformers_models() -> dict:
    transformers = pytest.importorskip(
        "transformers", reason="transformers is not installed; the extra `test` has it"
    )
    sizes = {
        "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 24, "num_labels": 3,
    }  # fmt: skip
    words = {"vocab_size": 20, **sizes}
    return {
        "bert": lambda: transformers.BertForSequenceClassification(
            transformers.BertConfig(**words)
        ),
        "distilbert": lambda: transformers.DistilBertForSequenceClassification(
            transformers.DistilBertConfig(
                vocab_size=20, dim=16, n_layers=2, n_heads=4, hidden_dim=24, num_labels=3
            )
        ),
        "gpt2": lambda: transformers.GPT2ForSequenceClassification(
            transformers.GPT2Config(
                vocab_size=20, n_embd=16, n_layer=2, n_head=4, num_labels=3, pad_token_id=0
            )
        ),
        "llama": lambda: transformers.LlamaForSequenceClassification(
            transformers.LlamaConfig(**words, num_key_value_heads=2, pad_token_id=0)
        ),
    }


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("name", ["bert", "distilbert", "gpt2", "llama"])
def test_models_of_transformers_as_they_are_loaded(name, implementation):
    make = transformers_models()[name]
    torch.manual_seed(0)
    model = make().eval()
    model.set_attn_implementation("eager")
    ids = torch.as_tensor(WORDS)
    x = {"input_ids": ids, "attention_mask": (ids != 0).long()}
    with torch.no_grad():
        own = model(**x, output_attentions=True)
    shares = [a.numpy().mean(axis=1) for a in own.attentions]
    model.set_attn_implementation(implementation)
    causal = name in {"gpt2", "llama"}
    last = (WORDS != 0).sum(axis=1) - 1 if causal else np.zeros(3, int)
    rows = np.arange(3)
    e = explain(model, x, "attention")
    np.testing.assert_allclose(e.values["input_ids"], shares[1][rows, last], atol=1e-5)
    assert not e.values["attention_mask"].any()
    reached = np.eye(6)
    for share in shares:
        mixed = share / 2 + np.eye(6) / 2
        reached = mixed / mixed.sum(axis=-1, keepdims=True) @ reached
    real = (WORDS != 0).astype(float)
    rollout = explain(model, x, "attention_rollout").values["input_ids"]
    np.testing.assert_allclose(rollout * real, reached[rows, last] * real, atol=1e-5)
    assert model.config._attn_implementation == implementation
    np.testing.assert_allclose(e.score, own.logits.numpy().max(axis=1), atol=1e-5)


def test_gradients_of_attention_in_transformers_are_those_of_their_own_weights():
    make = transformers_models()["bert"]
    torch.manual_seed(0)
    model = make().eval()
    model.set_attn_implementation("eager")
    ids = torch.as_tensor(WORDS)
    x = {"input_ids": ids, "attention_mask": (ids != 0).long()}
    own = model(**x, output_attentions=True)
    gradients = torch.autograd.grad(own.logits[:, 1].sum(), own.attentions)
    relevance = np.tile(np.eye(6), (3, 1, 1))
    for share, gradient in zip(own.attentions, gradients, strict=True):
        weighed = (share * gradient).clamp(min=0).mean(dim=1).detach().numpy()
        relevance = relevance + weighed @ relevance
    model.set_attn_implementation("sdpa")
    e = explain(model, x, "attention_gradient", target=1)
    np.testing.assert_allclose(e.values["input_ids"], relevance[:, 0], atol=1e-5)


def test_the_vision_transformer_of_transformers_has_its_patches_in_a_grid():
    transformers = pytest.importorskip(
        "transformers", reason="transformers is not installed; the extra `test` has it"
    )
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        image_size=24, patch_size=8, num_labels=5,
    )  # fmt: skip
    torch.manual_seed(0)
    model, x = transformers.ViTForImageClassification(config).eval(), floats(2, 3, 24, 24)
    model.set_attn_implementation("eager")
    with torch.no_grad():
        own = model(torch.as_tensor(x), output_attentions=True).attentions
    model.set_attn_implementation("sdpa")
    e = explain(wrap(model), x, "attention")
    expected = own[-1].numpy().mean(axis=1)[:, 0, 1:].reshape(2, 3, 3)
    np.testing.assert_allclose(e.extras["grid"], expected, atol=1e-6)
    assert (e.parameters["grid"], e.parameters["tokens_before"]) == ((3, 3), 1)


@pytest.mark.parametrize("method", ["attention", "attention_norm", "attention_rollout"])
def test_pictures_of_what_belongs_to_no_class_name_none(method):
    """Every class has the same map, so no bar says that it points towards one."""
    model, x = build("vit", "torch")
    e, of_class = explain(model, x, method), explain(model, x, "attention_gradient")
    for kind in (None, "overlay"):
        said, others = (
            _words(r.plot() if kind is None else r.plot(kind=kind)) for r in (e, of_class)
        )
        assert "towards" not in said
        if kind is None:
            assert "more →" in said
            assert "towards" in others
    assert "evidence for" not in e.to_html()
    assert "of no class" in e.to_html()
    assert "evidence for class" in of_class.to_html()


def _words(drawn) -> str:
    """Everything that is written in a figure."""
    from matplotlib.text import Text

    figure = drawn if hasattr(drawn, "findobj") and hasattr(drawn, "axes") else drawn.figure
    return " ".join(t.get_text() for t in figure.findobj(Text))
