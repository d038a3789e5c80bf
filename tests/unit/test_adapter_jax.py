"""The JAX adapter: reading functions and modules without touching them."""

import contextlib
import functools
import gc
import itertools
import threading
import weakref

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import psutil
import pytest
from flax import nnx

from pellucid import explain, wrap
from pellucid.adapters.derived import layer_gradient, patch, record
from pellucid.adapters.jax import JaxAdapter
from pellucid.adapters.protocol import LAYERS_ONLY, Tier
from pellucid.errors import CapabilityError, InputError, LayerError, ModelError

X = np.random.default_rng(1).normal(size=(3, 8, 7, 3)).astype(np.float32)
CLOSE = {"rtol": 2e-5, "atol": 2e-6}


def conv_weights(seed: int = 0):
    rng = np.random.default_rng(seed)
    return {
        name: {
            "kernel": jnp.asarray(rng.normal(0, 0.3, (3, 3, i, 4)), jnp.float32),
            "bias": jnp.asarray(rng.normal(0, 0.1, 4), jnp.float32),
        }
        for name, i in (("stem", 3), ("inner", 4))
    } | {"head": {"kernel": jnp.asarray(rng.normal(size=(4, 3)), jnp.float32)}}


def conv(weights, x, name):
    with jax.named_scope(name):
        images = ("NHWC", "HWIO", "NHWC")
        kernel = weights[name]["kernel"]
        out = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=images)
        return out + weights[name]["bias"]


def relu(x):
    with jax.named_scope("relu"):
        return jax.nn.relu(x)


def apply(weights, x):
    """A residual block whose inner convolution is used twice, one call after the other."""
    h = relu(conv(weights, x, "stem"))
    with jax.named_scope("block"):
        h = h + relu(conv(weights, conv(weights, h, "inner"), "inner"))
    with jax.named_scope("head"):
        return h.mean(axis=(1, 2)) @ weights["head"]["kernel"]


class NnxNet(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.stem = nnx.Conv(3, 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.blocks = nnx.List([nnx.Linear(4, 4, rngs=rngs) for _ in range(2)])
        self.head = nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.norm(self.stem(x)))
        for block in self.blocks:
            x = x + nnx.relu(block(block(x)))
        return self.head(self.drop(x.mean(axis=(1, 2))))


class LinenNet(nn.Module):
    @nn.compact
    def __call__(self, x, train: bool = False):
        x = nn.relu(nn.Conv(4, (3, 3), name="stem")(x))
        x = nn.BatchNorm(use_running_average=not train, name="norm")(x)
        inner = nn.Dense(4, name="inner")
        x = inner(nn.relu(inner(x)))
        return nn.softmax(nn.Dense(3, name="head")(x.mean(axis=(1, 2))))


class EqxNet(eqx.Module):
    conv: eqx.nn.Conv2d
    inner: eqx.nn.Linear
    head: eqx.nn.MLP

    def __init__(self, key) -> None:
        keys = jax.random.split(key, 3)
        self.conv = eqx.nn.Conv2d(3, 4, 3, key=keys[0])
        self.inner = eqx.nn.Linear(4, 4, key=keys[1])
        self.head = eqx.nn.MLP(4, 3, 8, 1, key=keys[2])

    def __call__(self, x):
        """One sample, channels first, as Equinox has it."""
        x = jax.nn.relu(self.conv(jnp.moveaxis(x, -1, 0))).mean(axis=(1, 2))
        return self.head(self.inner(self.inner(x)))


def nnx_net():
    net = NnxNet(nnx.Rngs(0))
    net.norm.mean[...] = jnp.array([0.1, -0.2, 0.3, 0.0])
    return net


def linen_net():
    module = LinenNet()
    return module, module.init(jax.random.key(0), X)


def pair():
    return apply, conv_weights()


MODELS = {
    "pair": pair,
    "partial": lambda: functools.partial(*pair()),
    "function": lambda: functools.partial(apply, conv_weights()).__call__,
    "jitted": lambda: jax.jit(functools.partial(apply, conv_weights())),
    "closure": lambda: (lambda w: lambda x: apply(w, x))(conv_weights()),
    "nnx": nnx_net,
    "linen": lambda: (linen_net()[0].apply, linen_net()[1]),
    "linen_bound": lambda: linen_net()[0].bind(linen_net()[1]),
    "equinox": lambda: jax.vmap(EqxNet(jax.random.key(0))),
}
LAYERS = {
    "pair": ("stem", "relu", "block/inner", "block/inner#2", "block/relu", "block"),
    "closure": ("stem", "block/inner#2"),
    "jitted": ("stem", "block/inner#2"),
    "nnx": ("stem", "norm", "blocks/0", "blocks/0#2", "blocks/1#2"),
    "linen": ("stem", "norm", "inner", "inner#2"),
    "linen_bound": ("inner#2",),
    "equinox": ("conv", "inner", "inner#2", "head/layers/0"),
}
CASES = [(model, layer) for model, layers in LAYERS.items() for layer in layers]


@functools.cache
def model_of(name: str):
    return MODELS[name]()


def outputs_of(name: str, x=X) -> np.ndarray:
    """What the model itself returns; for the Flax modules in inference mode."""
    model = model_of(name)
    if name == "nnx":
        copy = nnx.clone(model)
        copy.eval()
        return np.asarray(copy(x))
    if name in {"pair", "linen"}:
        return np.asarray(model[0](model[1], x))
    return np.asarray(model(x))


@pytest.fixture
def leaves():
    return (jnp.asarray(X),)


@pytest.mark.parametrize("name", MODELS)
def test_runs_as_the_model_itself_in_inference_mode(name, leaves):
    adapter = JaxAdapter(model_of(name))
    np.testing.assert_allclose(adapter.run(leaves, peel=False), outputs_of(name), **CLOSE)
    model = wrap(model_of(name), example=jnp.asarray(X))
    assert model.framework == "jax"
    named = name in {"pair", "partial", "jitted", "nnx", "linen", "linen_bound"}
    assert model.supports == (Tier.TRAINABLE if named else Tier.TRANSPARENT)


@pytest.mark.parametrize("name", MODELS)
def test_gradients_equal_jax_grad(name, leaves):
    adapter = JaxAdapter(model_of(name))
    value, _, pullback = adapter.vjp(lambda v: (adapter.run(v, peel=False)[:, 1], None), leaves)
    found = pullback(jnp.ones_like(value))[0]
    if name == "nnx":
        model = nnx.clone(model_of(name))
        model.eval()
    else:
        given = model_of(name)
        model = functools.partial(*given) if isinstance(given, tuple) else given
    truth = jax.grad(lambda x: model(x)[:, 1].sum())(jnp.asarray(X))
    np.testing.assert_allclose(found, truth, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("name", "layer"), CASES)
def test_cut_continues_to_the_model_s_own_outputs(name, layer, leaves):
    adapter = JaxAdapter(model_of(name))
    cut = adapter.cut(leaves, layer, peel=False)
    np.testing.assert_allclose(cut.outputs, outputs_of(name), **CLOSE)
    np.testing.assert_array_equal(cut.run(cut.value), cut.outputs)


@pytest.mark.parametrize(("name", "layer"), CASES)
def test_cut_runs_several_variants_of_each_sample(name, layer, leaves):
    adapter = JaxAdapter(model_of(name))
    cut = adapter.cut(leaves, layer)
    variants = jnp.stack([cut.value, cut.value * 0.5], axis=1)
    out = cut.run(variants.reshape(-1, *cut.value.shape[1:]))
    for i in range(3):
        alone = adapter.cut((leaves[0][i : i + 1],), layer)
        np.testing.assert_allclose(out[2 * i], alone.outputs[0], **CLOSE)
        np.testing.assert_allclose(out[2 * i + 1], alone.run(alone.value * 0.5)[0], **CLOSE)


@pytest.mark.parametrize(("name", "layer"), CASES)
def test_layer_gradient_by_probe_and_by_cut_are_one(name, layer, leaves):
    adapter = JaxAdapter(model_of(name))
    activation, gradient = layer_gradient(adapter, leaves, layer, lambda out: out[:, 1])
    cut = adapter.cut(leaves, layer)
    np.testing.assert_allclose(activation, cut.value, **CLOSE)
    value, _, pullback = adapter.vjp(lambda v: (cut.run(v[0])[:, 1], None), (cut.value,))
    np.testing.assert_allclose(pullback(jnp.ones_like(value))[0], gradient, **CLOSE)
    assert np.abs(gradient).max() > 0


def test_layer_gradient_equals_a_probe_written_by_hand(leaves):
    """The oracle writes the zero probe into the model's own source."""
    weights = conv_weights()

    def probed(p):
        h = relu(conv(weights, leaves[0], "stem"))
        inner = conv(weights, conv(weights, h, "inner"), "inner") + p
        return (h + relu(inner)).mean(axis=(1, 2)) @ weights["head"]["kernel"]

    truth = jax.grad(lambda p: probed(p)[:, 1].sum())(jnp.zeros((3, 8, 7, 4)))
    adapter = JaxAdapter((apply, weights))
    found = layer_gradient(adapter, leaves, "block/inner#2", lambda out: out[:, 1])[1]
    np.testing.assert_allclose(found, truth, rtol=1e-5, atol=1e-8)


def test_a_vmapped_layer_has_its_samples_first(leaves):
    """A matrix product puts the samples last inside vmap; a recorded value has them first."""
    adapter = JaxAdapter(model_of("equinox"))
    net = EqxNet(jax.random.key(0))

    def inner_of(x):
        x = jax.nn.relu(net.conv(jnp.moveaxis(x, -1, 0))).mean(axis=(1, 2))
        return net.inner(x)

    value = record(adapter, leaves, ["inner"])[1]["inner"]
    np.testing.assert_allclose(value, jax.vmap(inner_of)(leaves[0]), **CLOSE)


@pytest.mark.parametrize("name", ["pair", "nnx", "linen", "equinox"])
def test_record_and_patch(name, leaves):
    adapter = JaxAdapter(model_of(name))
    layers = list(LAYERS[name][:2])
    outputs, values = record(adapter, leaves, layers)
    np.testing.assert_allclose(outputs, adapter.run(leaves), **CLOSE)
    assert set(values) == set(layers)
    np.testing.assert_allclose(patch(adapter, leaves, values), outputs, **CLOSE)
    zero = {layers[0]: jnp.zeros_like(values[layers[0]])}
    expected = adapter.cut(leaves, layers[0]).run(zero[layers[0]])
    np.testing.assert_allclose(patch(adapter, leaves, zero), expected, **CLOSE)


def test_two_calls_in_a_row_of_one_scope_are_two_calls(leaves):
    calls = [c.path for c in JaxAdapter(pair()).layers(leaves)]
    assert calls == [
        "stem", "relu", "block/inner", "block/inner#2", "block/relu", "block", "head",
    ]  # fmt: skip


def test_layers_have_paths_shapes_and_parameters(leaves):
    calls = {c.path: c for c in JaxAdapter(model_of("nnx")).layers(leaves)}
    assert calls["blocks/0#2"].shape == (None, 8, 7, 4)
    assert calls["blocks/0"].kind == "Linear"
    assert calls["head"].parameters == 15
    assert calls["head"].order == max(c.order for c in calls.values())
    listed = [c.path for c in JaxAdapter(model_of("nnx")).layers()]
    assert {"stem", "norm", "drop", "blocks/0", "blocks/1", "head"} <= set(listed)
    linen = {c.path: c.parameters for c in JaxAdapter(model_of("linen")).layers(leaves)}
    assert linen["norm"] == 16
    assert linen["inner#2"] == 20


def test_unknown_layers_name_the_nearest(leaves):
    adapter = JaxAdapter(pair())
    with pytest.raises(LayerError, match="'block/inner'"):
        adapter.cut(leaves, "block/iner")
    with pytest.raises(LayerError, match="not called"):
        adapter.cut(leaves, "stem#2")
    with pytest.raises(LayerError, match="call number"):
        adapter.cut(leaves, "stem#two")
    with pytest.raises(CapabilityError, match="named_scope"):
        JaxAdapter(lambda x: x.sum((1, 2))).cut(leaves, "stem")


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (jax.nn.softmax, "softmax"),
        (lambda z: jnp.exp(z) / jnp.exp(z).sum(1, keepdims=True), None),
        (lambda z: (lambda e: e / e.sum(1, keepdims=True))(jnp.exp(z)), "softmax"),
        (lambda z: jnp.exp(jax.nn.log_softmax(z)), "softmax"),
        (lambda z: jax.vmap(jax.nn.softmax)(z), "softmax"),
        (lambda z: jax.nn.softmax(z.T, axis=0).T, "softmax"),
        (jax.nn.log_softmax, "log_softmax"),
        (jax.nn.sigmoid, "sigmoid"),
        (lambda z: jax.nn.sigmoid(z).astype(jnp.float32).reshape(-1, 3), "sigmoid"),
        (lambda z: z * jax.nn.sigmoid(z), None),
        (lambda z: 0.9 * jax.nn.softmax(z) + 0.1 / 3, None),
        (lambda z: jax.nn.softmax(z, axis=0), None),
        (lambda z: jax.nn.softmax(z) * jnp.array([1.0, 0.0, 1.0]), None),
        (lambda z: z + 0.5, None),
    ],
)
@pytest.mark.parametrize("first", ["run", "vjp"])
def test_final_activation_is_found_and_taken_off(head, name, first, leaves):
    weights = conv_weights()

    def model(x):
        with jax.named_scope("body"):
            z = apply(weights, x)
        with jax.named_scope("top"):
            return head(z)

    adapter = JaxAdapter(model)
    logits = apply(weights, leaves[0])
    expected = logits if name else head(logits)
    if first == "vjp":
        adapter.vjp(lambda v: (adapter.run(v)[:, 0], None), leaves)
    np.testing.assert_allclose(adapter.run(leaves), expected, **CLOSE)
    assert adapter.final_activation(leaves) == (name,)
    np.testing.assert_allclose(adapter.run(leaves, peel=False), head(logits), **CLOSE)
    np.testing.assert_allclose(adapter.cut(leaves, "body").outputs, expected, **CLOSE)
    # A layer that ends in the activation returns logits as well.
    np.testing.assert_allclose(adapter.cut(leaves, "top").value, expected, **CLOSE)


def test_only_the_returned_softmax_is_taken_off(leaves):
    def both(x):
        p = jax.nn.softmax(x.mean(axis=(1, 2)) * 5)
        return p, -(p * jnp.log(p)).sum(axis=1)

    outputs = JaxAdapter(both).run(leaves)
    np.testing.assert_allclose(outputs[0], leaves[0].mean(axis=(1, 2)) * 5, **CLOSE)
    np.testing.assert_allclose(outputs[1], both(leaves[0])[1], **CLOSE)


def test_operations_pass_through_unchanged(leaves):
    adapter = JaxAdapter(pair())
    seen = []

    def note(op):
        seen.append((op.kind, op.name, op.path, op.call, op.live))
        return op()

    value, _, pullback = adapter.vjp(lambda v: (adapter.run(v, intercept=note)[:, 0], None), leaves)
    truth = jax.grad(lambda x: apply(conv_weights(), x)[:, 0].sum())(leaves[0])
    np.testing.assert_allclose(pullback(jnp.ones_like(value))[0], truth, rtol=1e-5, atol=1e-7)
    kinds = [s[0] for s in seen]
    assert seen[0][1] == "conv_general_dilated"
    assert kinds.count("bias") == 3
    assert ("add", "add", "block", 1, (True, True)) in seen, "two live inputs: a residual"
    assert ("bias", "add", "block/inner", 2, (True, False)) in seen
    assert ("activation", "relu", "block/relu", 1, (True,)) in seen


def test_an_operation_can_be_called_with_other_inputs_and_weights(leaves):
    weights = conv_weights()
    adapter = JaxAdapter((apply, weights))

    def halve(op):
        if op.kind == "linear" and op.path == "stem":
            return op(inputs=tuple(0.5 * a for a in op.inputs))
        return op()

    def halved(op):
        if op.kind == "linear" and op.path == "stem":
            return op(weights={"weight": 0.5 * op.weights["weight"]})
        return op()

    halves = {**weights, "stem": {**weights["stem"], "kernel": 0.5 * weights["stem"]["kernel"]}}
    expected = apply(halves, leaves[0])
    for intercept in (halve, halved):
        for kinds in (None, frozenset({"linear"})):
            found = adapter.run(leaves, intercept=intercept, kinds=kinds)
            np.testing.assert_allclose(found, expected, **CLOSE)


@pytest.mark.parametrize(
    "activation",
    [
        jax.nn.relu, jax.nn.relu6, jax.nn.gelu, jax.nn.silu, jax.nn.elu, jax.nn.leaky_relu,
        jax.nn.softplus, jax.nn.mish, jax.nn.sigmoid, jnp.tanh, lambda x: jnp.maximum(x, 0),
        lambda x: jnp.where(x > 0, x, 0.1 * jnp.expm1(x)),
    ],
)  # fmt: skip
def test_an_activation_is_one_operation(activation):
    x = (jnp.asarray(X[:, 0, 0]),)
    live = JaxAdapter(lambda x: activation(x @ jnp.eye(3)) @ jnp.ones((3, 2))).operations(x)
    assert [op.kind for op in live] == ["linear", "activation", "linear"]


def test_a_bias_before_an_activation_stays_a_bias():
    x = (jnp.asarray(X[:, 0, 0]),)
    kinds = [op.kind for op in JaxAdapter(lambda x: jax.nn.relu(x * 2.0 + 0.1) / 3).operations(x)]
    assert kinds == ["linear", "bias", "activation", "linear"]


def test_softmax_and_products_of_two_live_values(leaves):
    def attention(x):
        flat = x.reshape(x.shape[0], -1, 3)
        weights = jax.nn.softmax(flat @ jnp.swapaxes(flat, 1, 2))
        return (weights @ flat).mean(axis=1)

    kinds = [op.kind for op in JaxAdapter(attention).operations(leaves)]
    assert kinds.count("softmax") == 1
    assert kinds.count("mul") == 2
    assert "activation" not in kinds


def test_custom_gradients_stay_whole_and_are_named():
    @jax.custom_jvp
    def doubled(x):
        return jnp.sin(x)

    doubled.defjvp(lambda p, t: (jnp.sin(p[0]), 7 * t[0]))

    @jax.custom_vjp
    def tripled(x):
        return jnp.cos(x)

    tripled.defvjp(lambda x: (jnp.cos(x), None), lambda _, g: (3 * g,))
    x = (jnp.asarray(X[:, 0, 0]),)
    for function, slope in ((doubled, 7), (tripled, 3)):
        adapter = JaxAdapter(lambda x, function=function: function(x * 2.0))
        assert [op.kind for op in adapter.operations(x)] == ["linear", "custom_gradient"]
        for options in ({}, {"intercept": lambda op: op()}):
            run = functools.partial(adapter.run, **options)
            value, _, pullback = adapter.vjp(lambda v, run=run: (run(v)[:, 0], None), x)
            np.testing.assert_array_equal(
                pullback(jnp.ones_like(value))[0][:, 0], np.full(3, 2.0 * slope, np.float32)
            )


def test_loops_are_opaque_and_run():
    def model(x):
        def step(carry, t):
            return jnp.tanh(carry + t), carry

        last, _ = jax.lax.scan(step, jnp.zeros((x.shape[0], 3)), jnp.moveaxis(x, 1, 0))
        return jax.lax.while_loop(lambda s: s[1] < 3, lambda s: (s[0] * 2, s[1] + 1), (last, 0))[0]

    adapter = JaxAdapter(model)
    x = (jnp.asarray(X[:, 0]),)
    kinds = [op.kind for op in adapter.operations(x)]
    assert kinds.count("opaque") == 2
    np.testing.assert_allclose(adapter.run(x), model(x[0]), **CLOSE)


def test_nested_functions_are_opened(leaves):
    """`jit`, `remat` and `vmap` inside a model hide nothing."""
    weights = conv_weights()
    block = jax.checkpoint(lambda x: relu(conv(weights, x, "stem")))
    inner = jax.jit(lambda x: conv(weights, x, "inner"))

    def model(x):
        h = jax.vmap(lambda one: block(one[None])[0])(x)
        return inner(inner(h)).mean(axis=(1, 2))

    model(leaves[0])  # the jitted function has been traced before, without us
    adapter = JaxAdapter(model)
    assert [c.path for c in adapter.layers(leaves)] == ["stem", "relu", "inner", "inner#2"]
    cut = adapter.cut(leaves, "inner#2")
    np.testing.assert_allclose(cut.run(cut.value), model(leaves[0]), **CLOSE)


def snapshot_of(model):
    graph, state = nnx.split(model)
    return [graph, *(np.asarray(jax.random.key_data(a)) if a.dtype == jax.random.key(0).dtype
            else np.asarray(a) for a in jax.tree.leaves(state))]  # fmt: skip


def assert_same(before, after):
    assert before[0] == after[0], "modes and structure"
    for a, b in zip(before[1:], after[1:], strict=True):
        np.testing.assert_array_equal(a, b)


def everything(adapter, x):
    adapter.run(x)
    adapter.run(x, intercept=lambda op: op())
    value, _, pullback = adapter.vjp(lambda v: (adapter.run(v)[:, 0], None), x)
    pullback(jnp.ones_like(value))
    cut = adapter.cut(x, "stem")
    cut.run(cut.value)
    adapter.layers(x)
    adapter.operations(x)
    adapter.fingerprint()


def patched_things():
    return (
        jax.named_scope, nnx.Conv.__call__, nnx.Linear.__call__, NnxNet.__call__,
        eqx.nn.Linear.__call__, nn.Dense.__call__,
    )  # fmt: skip


def test_nothing_of_the_user_s_changes(leaves):
    net = nnx_net()
    net.train()
    before, held = snapshot_of(net), patched_things()
    x64 = jax.config.jax_enable_x64
    everything(JaxAdapter(net), leaves)
    everything(JaxAdapter(model_of("linen")), leaves)
    JaxAdapter(model_of("equinox")).layers(leaves)
    assert_same(before, snapshot_of(net))
    assert not net.drop.deterministic, "training mode is kept"
    assert held == patched_things()
    assert jax.config.jax_enable_x64 == x64


def test_nothing_changes_when_the_model_raises(leaves):
    class Failing(NnxNet):
        def __call__(self, x):
            self.stem(x)
            raise RuntimeError("boom")

    net = Failing(nnx.Rngs(0))
    before, held = snapshot_of(net), (patched_things(), Failing.__call__)
    adapter = JaxAdapter(net)
    for verb in (
        lambda: adapter.run(leaves),
        lambda: adapter.run(leaves, intercept=lambda op: op()),
        lambda: adapter.vjp(lambda v: (adapter.run(v), None), leaves),
        lambda: adapter.cut(leaves, "stem"),
        lambda: adapter.layers(leaves),
    ):
        with pytest.raises(RuntimeError, match="boom"):
            verb()
    assert_same(before, snapshot_of(net))
    assert held == (patched_things(), Failing.__call__)


def test_an_exception_in_an_interceptor_leaves_the_adapter_usable(leaves):
    adapter = JaxAdapter(pair())

    def fail(op):
        raise ValueError("mine")

    for kinds in (None, LAYERS_ONLY):
        with pytest.raises(ValueError, match="mine"):
            adapter.run(leaves, intercept=fail, layers=("stem",), kinds=kinds)
    np.testing.assert_allclose(adapter.run(leaves), apply(conv_weights(), X), **CLOSE)


def test_a_trained_or_changed_model_is_read_anew(leaves):
    net = nnx_net()
    adapter = JaxAdapter(net)
    seen = {adapter.fingerprint()}
    before = adapter.run(leaves)
    net.head.bias[...] = jnp.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(adapter.run(leaves) - before, np.tile([1, 2, 3], (3, 1)), atol=1e-5)
    seen.add(adapter.fingerprint())
    net.head = nnx.Linear(4, 2, rngs=nnx.Rngs(3))
    assert adapter.run(leaves).shape == (3, 2)
    seen.add(adapter.fingerprint())
    assert len(seen) == 3


def test_a_function_that_closes_over_changed_weights_is_read_anew(leaves):
    """A compiled function would go on with the weights it was traced with."""
    net = nnx_net()
    with pytest.raises(ModelError, match=r"module\.eval\(\)"):
        JaxAdapter(lambda x: net(x)).run(leaves)
    net.eval()
    holder = {"shift": jnp.float32(1.0)}
    model = JaxAdapter(lambda x: net(x) * 0 + holder["shift"])
    assert model.run(leaves)[0, 0] == 1
    holder["shift"] = jnp.float32(2.0)
    assert model.run(leaves)[0, 0] == 2
    closure = JaxAdapter(lambda x: net(x))
    before = closure.run(leaves)
    net.head.bias[...] = net.head.bias[...] + 1
    np.testing.assert_allclose(closure.run(leaves), before + 1, rtol=1e-5)


def test_replaced_weights_are_used_for_one_run_only(leaves):
    adapter = JaxAdapter(pair())
    assert set(adapter.weights()) == {
        "stem/kernel", "stem/bias", "inner/kernel", "inner/bias", "head/kernel",
    }  # fmt: skip
    zero = jnp.zeros_like(adapter.weights()["head/kernel"])
    assert np.all(adapter.run(leaves, weights={"head/kernel": zero}) == 0)
    assert np.any(adapter.run(leaves) != 0)
    with pytest.raises(InputError, match="Nearest: 'head/kernel'"):
        adapter.run(leaves, weights={"head/kernl": zero})
    with pytest.raises(CapabilityError, match="pair"):
        JaxAdapter(lambda x: x).weights()


def test_weights_are_differentiable(leaves):
    adapter = JaxAdapter(pair())
    name, kernel = "head/kernel", adapter.weights()["head/kernel"]
    value, _, pullback = adapter.vjp(
        lambda w: (adapter.run(leaves, weights={name: w[0]})[:, 0], None), (kernel,)
    )
    weights = conv_weights()
    truth = jax.grad(lambda k: apply({**weights, "head": {"kernel": k}}, leaves[0])[:, 0].sum())(
        kernel
    )
    np.testing.assert_allclose(pullback(jnp.ones_like(value))[0], truth, **CLOSE)


def test_custom_vjp_and_stop_gradient(leaves):
    adapter = JaxAdapter(lambda v: v)
    triple = adapter.custom_vjp(lambda a: a * 3, lambda cotangent, a: cotangent * 7)
    value, _, pullback = adapter.vjp(lambda v: (triple(v[0]).sum((1, 2, 3)), None), leaves)
    np.testing.assert_allclose(value, 3 * leaves[0].sum((1, 2, 3)), rtol=1e-5)
    np.testing.assert_array_equal(pullback(jnp.ones(3))[0], np.full_like(X, 7))
    stopped = adapter.vjp(
        lambda v: ((v[0] * adapter.stop_gradient(v[0])).sum((1, 2, 3)), None), leaves
    )
    np.testing.assert_array_equal(stopped[2](jnp.ones(3))[0], X)


def test_the_pullback_may_be_called_many_times(leaves):
    adapter = JaxAdapter(pair())
    _, aux, pullback = adapter.vjp(lambda v: (adapter.run(v), {"x": v[0], "say": "so"}), leaves)
    np.testing.assert_array_equal(aux["x"], X)
    assert aux["say"] == "so"
    for k in range(3):
        row = pullback(jnp.tile(jnp.eye(3)[k], (3, 1)))[0]
        alone = adapter.vjp(lambda v, k=k: (adapter.run(v)[:, k], None), leaves)[2](jnp.ones(3))[0]
        np.testing.assert_allclose(row, alone, **CLOSE)


def test_several_inputs_dicts_and_integers_beside_floats():
    table = jnp.asarray(np.random.default_rng(0).normal(size=(5, 2)), jnp.float32)

    def model(ids, x):
        return table[ids].sum(axis=1) * x

    ids, x = np.array([[1, 2], [0, 4]]), np.array([[1.0, 2.0], [3.0, 4.0]])
    for given in ((ids, x), {"ids": ids, "x": x}, {"x": x, "ids": ids}):
        adapter = JaxAdapter(model)
        found = adapter.accept(given)
        restored = adapter.restore(found)
        named = (
            restored
            if isinstance(restored, dict)
            else dict(zip(("ids", "x"), restored, strict=True))
        )
        assert jnp.issubdtype(named["ids"].dtype, jnp.integer)
        assert named["x"].dtype == jnp.float32
        value, _, pullback = adapter.vjp(lambda v, a=adapter: (a.run(v).sum(axis=1), None), found)
        grads = adapter.restore(pullback(jnp.ones_like(value)))
        named = grads if isinstance(grads, dict) else dict(zip(("ids", "x"), grads, strict=True))
        assert not named["ids"].any()
        np.testing.assert_allclose(named["x"], table[ids].sum(axis=1), rtol=1e-6)
    one_dict = JaxAdapter(lambda batch: batch["a"] + batch["b"])
    leaves = one_dict.accept({"a": x, "b": 2 * x})
    np.testing.assert_allclose(one_dict.run(leaves), 3 * x)


def test_half_precision_models_get_their_own_type():
    net = eqx.nn.MLP(3, 2, 4, 1, dtype=jnp.bfloat16, key=jax.random.key(0))
    arrays, rest = eqx.partition(net, eqx.is_array)
    model = wrap((lambda params, x: jax.vmap(eqx.combine(params, rest))(x), arrays))
    assert model.accept(X[:, 0, 0]).leaves[0].dtype == jnp.bfloat16
    e = explain(model, X[:, 0, 0], "saliency")
    assert e.values.dtype == np.float32
    assert np.abs(e.values).max() > 0


def test_batch_sizes_are_filled_up_after_the_first_few():
    count = itertools.count()

    def model(x):
        next(count)
        return x.sum(axis=1, keepdims=True) * jnp.ones(2)

    adapter = JaxAdapter(model)
    rows = jnp.asarray(np.random.default_rng(0).normal(size=(40, 3)), jnp.float32)
    for n in (32, 3, 7, 40, 17, 18, 19, 20, 21, 5, 6):
        found = adapter.run((rows[:n],))
        np.testing.assert_allclose(found, np.tile(rows[:n].sum(1)[:, None], (1, 2)), rtol=1e-5)
    assert next(count) == 4


def test_a_model_wrapped_again_is_not_compiled_again(leaves):
    count = itertools.count()

    def model(weights, x):
        next(count)
        return apply(weights, x)

    for seed in range(3):
        explain((model, conv_weights(seed)), X, "saliency", target=0)
    assert next(count) == 2  # looked at once for its layout, compiled once, for all three


def test_traces_do_not_outlive_their_function(leaves):
    def scope():
        model = (lambda w: lambda x: apply(w, x))(conv_weights())
        JaxAdapter(model).run(leaves)
        return weakref.ref(model)

    gone = scope()
    gc.collect()
    assert gone() is None


def test_eight_threads_give_the_serial_numbers(leaves):
    nets = [nnx_net(), nnx_net()]
    adapters = [JaxAdapter(net) for net in nets]
    held = patched_things()
    truth = np.asarray(explain(nets[0], X, "saliency", target=0).values)
    value = np.asarray(JaxAdapter(nnx_net()).cut(leaves, "blocks/0#2").value)
    failures: list[BaseException] = []

    def work(k: int) -> None:
        try:
            for n in (3, 2, 1):
                found = explain(nets[k % 2], X[:n], "saliency", target=0).values
                np.testing.assert_allclose(found, truth[:n], rtol=1e-4, atol=1e-6)
                cut = adapters[k % 2].cut((leaves[0][:n],), "blocks/0#2")
                np.testing.assert_allclose(cut.value, value[:n], **CLOSE)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert held == patched_things()


def test_two_hundred_calls_leave_memory_flat(leaves):
    model = wrap(nnx_net())
    process = psutil.Process()

    def once() -> None:
        explain(model, X, "saliency", target=0)
        explain(model, X, "gradcam", layer="stem", target=0)

    for _ in range(50):
        once()
    gc.collect()
    before = process.memory_info().rss
    for _ in range(200):
        once()
    gc.collect()
    assert process.memory_info().rss - before < 8 * 2**20


def test_a_layer_named_in_explain_need_not_be_known_beforehand():
    e = explain(pair(), X, "gradcam", layer="block/inner#2", target=1)
    assert e.values.shape == (3, 8, 7)
    assert e.parameters["layer"] == "block/inner#2"


def test_equinox_modules_of_one_sample_say_what_to_do():
    with pytest.raises(ModelError, match=r"jax\.vmap"):
        explain(EqxNet(jax.random.key(0)), X, "saliency")


def test_calls_with_bind_parameters_of_either_form():
    """`get_bind_params` hands out functions apart in older versions: too many values to unpack."""
    from pellucid.adapters.jax.program import Step, perform

    class Older:
        name, multiple_results = "old", False

        def get_bind_params(self, params):
            return [len], dict(params)

        def bind(self, function, value, *, times):
            return function(value) * times

    class Context:
        manager = contextlib.nullcontext()

    step = Step(Older(), {"times": 3}, (0,), (1,), (), Context())
    assert perform(step, ["ab"]) == (6,)
