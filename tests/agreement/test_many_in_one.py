"""Calls that do several things at once: what their rules say is what those of the parts say."""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
import torch
from flax import nnx
from test_rule_table import RULES
from torch import nn
from torch.nn import functional as F

from pellucid import explain, wrap
from pellucid.errors import CoverageError

DRAWS = np.random.default_rng(8)
X, BEFORE = (DRAWS.normal(size=(3, 6)).astype(np.float32) for _ in range(2))
TARGET = 1
FRAMEWORKS = ["torch", "tensorflow", "jax"]
FUNCTIONS = {
    "torch": {
        "glu": lambda x: F.glu(x, 1),
        "log_sigmoid": F.logsigmoid,
        "log_softmax": lambda x: F.log_softmax(x, 1),
        "softmin": lambda x: F.softmin(x, 1),
    },
    "tensorflow": {
        "glu": keras.activations.glu,
        "log_sigmoid": keras.activations.log_sigmoid,
        "log_softmax": keras.activations.log_softmax,
        "softmin": lambda x: keras.ops.softmax(-x),
    },
    "jax": {
        "glu": jax.nn.glu,
        "log_sigmoid": jax.nn.log_sigmoid,
        "log_softmax": jax.nn.log_softmax,
        "softmin": lambda x: jax.nn.softmax(-x),
    },
}


def near(found, wanted, allowed=1e-5):
    np.testing.assert_allclose(found, wanted, atol=allowed * np.abs(wanted).max(), rtol=0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def log_sum(x):
    return np.log(np.exp(x).sum(axis=1, keepdims=True))


def wanted_of_log_softmax(x, before):
    """x less the logarithm of a sum of powers: both functions rescaled."""
    sums = [np.exp(a).sum(axis=1, keepdims=True) for a in (x, before)]
    slope = (np.log(sums[0]) - np.log(sums[1])) / (sums[0] - sums[1])
    found = -(np.exp(x) - np.exp(before)) * slope
    found[:, TARGET] += (x - before)[:, TARGET]
    return found


def wanted(name, x, before):
    """DeepLIFT in double precision."""
    found = np.zeros_like(x)
    if name == "glu":
        (a, gate), (a_before, gate_before) = ((v[:, :3], sigmoid(v[:, 3:])) for v in (x, before))
        found[:, :3] = (a - a_before) * (gate + gate_before) / 2
        found[:, 3:] = (gate - gate_before) * (a + a_before) / 2
        found[:, [i for i in range(6) if i % 3 != TARGET]] = 0
    elif name == "log_sigmoid":
        found[:, TARGET] = (np.log(sigmoid(x)) - np.log(sigmoid(before)))[:, TARGET]
    elif name == "log_softmax":
        found = wanted_of_log_softmax(x, before)
    else:
        x, before = -x, -before
        logs = [(a - log_sum(a))[:, TARGET, None] for a in (x, before)]
        slope = (np.exp(logs[0]) - np.exp(logs[1])) / (logs[0] - logs[1])
        found = wanted_of_log_softmax(x, before) * slope
    return found


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("name", FUNCTIONS["torch"])
def test_deeplift_of_gates_and_softmaxes(name, framework):
    function = FUNCTIONS[framework][name]
    # What ends in a softmax is explained at the logits before it.
    model = wrap(lambda x: function(x) * 1.0 + 0.0 * x[:, :1], framework=framework)
    assert model.coverage("deeplift", X).complete
    truth = wanted(name, X.astype(float), BEFORE.astype(float))
    for rule in ("rescale", "reveal_cancel"):
        found = explain(model, X, "deeplift", baseline=BEFORE, target=TARGET, rule=rule)
        near(found.values, truth)
    shared = explain(model, X, "deep_shap", background=BEFORE, target=TARGET)
    each = [wanted(name, X.astype(float), b * np.ones((3, 1))) for b in BEFORE.astype(float)]
    near(shared.values, np.mean(each, axis=0))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_gate_gives_its_relevance_to_the_signal(framework):
    function = FUNCTIONS[framework]["glu"]
    for method, options in {"lrp": {}, "excitation_backprop": {"contrastive": False}}.items():
        found = explain(wrap(function, framework=framework), X, method, target=TARGET, **options)
        truth = np.zeros_like(X)
        made = (X[:, :3] * sigmoid(X[:, 3:]))[:, TARGET]
        truth[:, TARGET] = made if method == "lrp" else 1
        near(found.values, truth)


class Attending(nn.Module):
    """Four heads of queries for two of keys, in one fused call or with the keys repeated."""

    def __init__(self, fused: bool, masked: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.made, self.head, self.fused = nn.Linear(8, 16), nn.Linear(8, 3), fused
        self.masked = masked

    def forward(self, x):
        q, k, v = (
            part.unflatten(-1, (-1, 2)).transpose(1, 2)
            for part in self.made(x).split([8, 4, 4], dim=-1)
        )
        options = {"is_causal": True} if self.masked else {}
        if self.fused:
            h = F.scaled_dot_product_attention(q, k, v, enable_gqa=True, **options)
        else:
            k, v = (torch.stack([a[:, i // 2] for i in range(4)], dim=1) for a in (k, v))
            h = F.scaled_dot_product_attention(q, k, v, **options)
        return self.head(torch.relu(h.transpose(1, 2).flatten(2)).mean(1))


SERIES, OTHERS = (DRAWS.normal(size=(2, 5, 8)).astype(np.float32) for _ in range(2))
RULED = [
    ("deeplift", {"baseline": OTHERS}),
    ("deeplift", {"baseline": OTHERS, "rule": "reveal_cancel"}),
    ("deep_shap", {"background": OTHERS}),
    *(
        ("lrp", {"composite": c})
        for c in ("attnlrp", "cp_lrp", {"linear": "z_plus"}, {"linear": "gamma:0.25"})
    ),
    ("excitation_backprop", {}),
    ("guided_backprop", {}),
    ("attention_rollout", {}),
    ("attention_gradient", {}),
]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("method", "options"), RULED)
def test_heads_shared_by_groups_are_heads_of_their_own(method, options, masked):
    fused = wrap(Attending(True, masked).eval())
    found = explain(fused, SERIES, method, target=TARGET, **options)
    apart = explain(Attending(False, masked).eval(), SERIES, method, target=TARGET, **options)
    near(found.values, apart.values)
    if method in {"deeplift", "deep_shap"}:
        assert found.gap.max() < 1e-5
        assert fused.coverage(method, SERIES).complete


class Normalised(nn.Module):
    def __init__(self, **options) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.norm = nn.Conv1d(2, 4, 2), nn.BatchNorm1d(4, **options)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(torch.relu(self.norm(self.body(x))).flatten(1))


def of_the_batch_unnamed(x):
    return torch.batch_norm(x, None, None, None, None, True, 0.1, 1e-5, False).flatten(1)


@pytest.mark.parametrize("method", ["deeplift", "deep_shap", "lrp", "excitation_backprop"])
def test_a_norm_by_the_batch_s_own_numbers_is_refused(method):
    """It counted as linear: a gap of 1.5, and no relevance in LRP, for sums of it are zero."""
    x, before = X.reshape(3, 2, 3), BEFORE.reshape(3, 2, 3)
    options = {"background": before} if method == "deep_shap" else {}
    explain(Normalised().eval(), x, method, target=TARGET, **options)
    models = {"norm": Normalised(track_running_stats=False).eval()}
    models["the model"] = wrap(of_the_batch_unnamed, framework="torch")
    for place, model in models.items():
        told = rf"batch_norm \(norm\) in {place}\.\n  It normalises by mean and variance of the"
        with pytest.raises(CoverageError, match=told):
            explain(model, x, method, target=TARGET, **options)
    assert not wrap(models["norm"]).coverage(method, x).complete


class Added(nn.Module):
    """Two layers by `addmm`, or as layers."""

    def __init__(self, at_once: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head, self.at_once = nn.Linear(6, 6), nn.Linear(6, 3), at_once

    def forward(self, x):
        for layer in (self.body, self.head):
            x = torch.addmm(layer.bias, x, layer.weight.T) if self.at_once else layer(x)
            x = torch.relu(x) if layer is self.body else x
        return x


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("deeplift", {"baseline": BEFORE}),
        ("deeplift", {"baseline": BEFORE, "rule": "reveal_cancel"}),
        ("deep_shap", {"background": BEFORE}),
        *(
            ("lrp", {"composite": {"first": rule, "linear": "epsilon"}, "low": -4.0, "high": 4.0})
            for rule in RULES
        ),
        *(("lrp", {"composite": {"linear": rule}}) for rule in RULES if rule != "box"),
        ("excitation_backprop", {}),
        ("excitation_backprop", {"contrastive": False}),
    ],
)
def test_a_layer_with_its_bias_in_one_call_is_that_layer(method, options):
    found = explain(Added(True).eval(), X, method, target=TARGET, **options)
    near(found.values, explain(Added(False).eval(), X, method, target=TARGET, **options).values)


class Words(nnx.Module):
    """A layer that comes before the table by its name, and after it when it is called."""

    def __init__(self) -> None:
        rngs = nnx.Rngs(0)
        self.body, self.table = nnx.Linear(4, 6, rngs=rngs), nnx.Embed(9, 4, rngs=rngs)
        self.head = nnx.Linear(6, 3, rngs=rngs)

    def after(self, rows):
        return self.head(jnp.tanh(self.body(rows)).mean(axis=1))

    def __call__(self, ids):
        return self.after(self.table(ids))


def test_words_stay_whole_where_a_layer_s_name_is_before_the_table_s():
    net, (ids, others) = Words(), DRAWS.integers(0, 9, (2, 3, 4))
    rest = wrap(net.after, framework="jax")
    rows, before = (np.asarray(net.table.embedding)[a] for a in (ids, others))
    cases = [
        ("deeplift", {"baseline": others}, {"baseline": before}),
        ("deeplift", *({"baseline": b, "rule": "reveal_cancel"} for b in (others, before))),
        ("deep_shap", {"background": others}, {"background": before}),
        *(
            ("lrp", {"composite": {"linear": r}}, {"composite": {"linear": r}})
            for r in ("epsilon", "z_plus", "gamma:0.25", "alpha_beta:2,1")
        ),
        ("excitation_backprop", {}, {}),
    ]
    for method, of_words, of_rows in cases:
        found = explain(net, ids, method, layer="table", target=TARGET, **of_words)
        near(found.values, explain(rest, rows, method, target=TARGET, **of_rows).values)
