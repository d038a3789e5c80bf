"""Traps of reading torch models: each with the symptom that a careless reader shows.

What the adapter does in general is in `test_adapter_torch.py`.
"""

import gc
import threading

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from pellucid import explain, wrap
from pellucid.adapters.protocol import Tier
from pellucid.adapters.torch import TorchAdapter
from pellucid.errors import CapabilityError


class Model(torch.nn.Module):
    """A module of parts and a function of them and the input."""

    def __init__(self, forward, **parts) -> None:
        super().__init__()
        torch.manual_seed(0)
        for name, part in parts.items():
            setattr(self, name, part)
        self._forward = forward

    def forward(self, x):
        return self._forward(self, x)


@pytest.fixture
def rows() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32))


def seen_in(model, x, **options):
    """Name, kind and live inputs of each operation that depends on the input."""
    found = []

    def note(op):
        out = op()
        found.append((op.name, op.kind, op.live))
        return out

    adapter = TorchAdapter(model)
    outputs = adapter.run((x,), intercept=note, peel=False, **options)
    with torch.no_grad():
        torch.testing.assert_close(outputs, model.eval()(x.clone()), rtol=1e-6, atol=1e-6)
    return [f for f in found if any(f[2])]


def gradient(model, x, column=0, **options):
    adapter = TorchAdapter(model)
    value, _, pullback = adapter.vjp(lambda v: (adapter.run(v, **options)[:, column], None), (x,))
    return pullback(torch.ones_like(value))[0]


def plain_gradient(model, x, column=0):
    given = x.clone().requires_grad_()
    (found,) = torch.autograd.grad(model.eval()(given)[:, column].sum(), given)
    return found


@pytest.mark.parametrize(
    ("name", "turn"),
    [("mT", lambda x: x.mT), ("T", lambda x: x[0].T[None]), ("real", lambda x: x.real)],
)
def test_properties_that_make_a_tensor_are_operations(name, turn):
    """Skipping all property getters as metadata lost `.mT`: the path broke off there."""
    model, x = Model(lambda self, x: turn(x).sum(dim=1)), torch.randn(1, 4, 4)
    assert name in {n for n, _, _ in seen_in(model, x)}
    doubled = TorchAdapter(model).run(
        (x,), intercept=lambda op: 2 * op() if op.name == name else op()
    )
    torch.testing.assert_close(doubled, 2 * model(x))


IN_PLACE = {
    "keyword": lambda h: F.relu(h, inplace=True),
    "method": lambda h: h.relu_(),
    "operator": lambda h: h.__imul__(3.0),
    "item": lambda h: h.__setitem__((slice(None), 0), h[:, 1]) or h,
}


@pytest.mark.parametrize("way", ["keyword", "method", "operator", "item"])
def test_in_place_operations_are_seen_as_ordinary_ones(way, rows):
    """A view taken before sees what is written after it, and gradients stay right."""

    def forward(self, x):
        h = self.first(x)
        view = h[:, 2:]
        IN_PLACE[way](h)
        return torch.cat([h, view], dim=1)

    model = Model(forward, first=torch.nn.Linear(6, 5))
    kinds = {name: kind for name, kind, _ in seen_in(model, rows)}
    if way in {"keyword", "method"}:
        assert kinds["relu"] == "activation"
        assert "relu_" not in kinds
    for column in (0, 4, 6):
        torch.testing.assert_close(
            gradient(model, rows, column, intercept=lambda op: op()),
            plain_gradient(model, rows, column),
        )


OPERATORS = {
    "1 - x": (lambda x: 1 - x, {"rsub", "__rsub__"}),
    "-x": (lambda x: -x, {"neg", "__neg__"}),
    "x / 3": (lambda x: x / 3, {"div", "__truediv__"}),
    "x ** 2": (lambda x: x**2, {"pow", "__pow__"}),
    "x @ w": (lambda x: x @ torch.ones(6, 6), {"matmul", "__matmul__"}),
    "x[:, :3]": (lambda x: x[:, :3], {"__getitem__"}),
    "x.relu()": (lambda x: x.relu(), {"relu"}),
}


@pytest.mark.parametrize("way", list(OPERATORS))
def test_operators_and_methods_are_operations(way, rows):
    """Known by function only, `1 - x` and `x.relu()` were not among the model's operations."""
    change, names = OPERATORS[way]
    model = Model(lambda self, x: change(x).sum(dim=1, keepdim=True))
    found = {name for name, _, live in seen_in(model, rows) if any(live)}
    assert found & names, found
    doubled = TorchAdapter(model).run(
        (rows,), intercept=lambda op: 2 * op() if op.name in names else op()
    )
    torch.testing.assert_close(doubled, 2 * model(rows))
    torch.testing.assert_close(
        gradient(model, rows, intercept=lambda op: op()), plain_gradient(model, rows)
    )


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_recurrent_layers_are_one_operation_that_is_named_so(kind):
    """Whoever looks inside finds nothing; a rule must see that it is recurrent, and its output."""
    model = Model(
        lambda self, x: self.head(self.rnn(x)[0][:, -1]),
        rnn=getattr(torch.nn, kind)(3, 5, batch_first=True),
        head=torch.nn.Linear(5, 2),
    )
    x = torch.randn(2, 4, 3)
    kinds = [k for _, k, _ in seen_in(model, x)]
    assert kinds.count("rnn") == 1
    torch.testing.assert_close(
        gradient(model, x, intercept=lambda op: op()), plain_gradient(model, x)
    )


class Result(dict):
    """As the output objects of transformers: a dict whose entries are attributes too."""

    def __getattr__(self, name):
        return self[name]


def test_a_layer_may_return_an_object_that_is_more_than_a_dict(rows):
    """`'dict' object has no attribute 'last'` where a plain dict was handed on in its place."""
    body = Model(lambda self, x: Result(last=torch.tanh(self.linear(x)), n=3),
                 linear=torch.nn.Linear(6, 5))  # fmt: skip
    model = Model(lambda self, x: self.head(self.body(x).last), body=body,
                  head=torch.nn.Linear(5, 2))  # fmt: skip
    adapter = TorchAdapter(model)
    doubled = adapter.run((rows,), intercept=lambda op: 2 * op(), layers=("body",),
                          kinds=frozenset({"layer"}))  # fmt: skip
    torch.testing.assert_close(doubled, model.head(2 * body(rows).last).detach())
    cut = adapter.cut((rows,), "body")
    torch.testing.assert_close(cut.run(2 * cut.value), doubled)


def test_arguments_are_found_whether_by_name_or_by_position():
    """`IndexError: tuple index out of range` in a rule that looked for them by position."""
    x, mean, variance = torch.randn(2, 3, 4), torch.randn(3), torch.rand(3) + 1

    def forward(self, x):
        x = F.batch_norm(input=x, running_mean=mean, running_var=variance, eps=0.1)
        x = F.layer_norm(x, normalized_shape=(4,), eps=0.2)
        return F.conv1d(x, weight=self.conv.weight, bias=self.conv.bias, padding=1).mean(dim=2)

    arguments = {}

    def note(op):
        arguments.setdefault(op.name, dict(op.arguments))
        return op()

    model = Model(forward, conv=torch.nn.Conv1d(3, 2, 3))
    torch.testing.assert_close(TorchAdapter(model).run((x,), intercept=note), model(x).detach())
    assert arguments["batch_norm"]["eps"] == 0.1
    assert arguments["layer_norm"]["normalized_shape"] == (4,)
    assert arguments["layer_norm"]["eps"] == 0.2
    assert arguments["conv1d"]["padding"] == 1


class Straight(torch.autograd.Function):
    """Rounds forward, passes the gradient straight backward."""

    @staticmethod
    def forward(ctx, x):
        return torch.round(x.sigmoid() * 4)

    @staticmethod
    def backward(ctx, cotangent):
        return cotangent * 4


def test_custom_gradients_are_kept_and_their_insides_untracked(rows):
    """Rules inside are thrown away in silence, for its own backward is used instead."""
    model = Model(lambda self, x: self.head(Straight.apply(x)), head=torch.nn.Linear(6, 2))
    expected = plain_gradient(model, rows)
    assert expected.abs().max() > 0
    torch.testing.assert_close(gradient(model, rows), expected)
    torch.testing.assert_close(gradient(model, rows, intercept=lambda op: op()), expected)
    kinds = {name: kind for name, kind, _ in seen_in(model, rows)}
    assert kinds["sigmoid"] == "untracked"
    assert "round" not in kinds
    assert kinds["linear"] == "linear"


def test_a_block_without_gradients_is_untracked(rows):
    def forward(self, x):
        with torch.no_grad():
            scale = x.abs().sum(dim=1, keepdim=True)
        return self.head(x / scale)

    model = Model(forward, head=torch.nn.Linear(6, 2))
    torch.testing.assert_close(
        gradient(model, rows, intercept=lambda op: op()), plain_gradient(model, rows)
    )
    assert ("abs", "untracked", (True,)) in seen_in(model, rows)


def test_a_compiled_part_is_read_without_compiling(rows):
    """Under an open mode the first call took 5 s, and paths held `_orig_mod`."""
    compiled = []

    def compiler(graph, inputs):
        compiled.append(graph)
        return graph

    inner = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.ReLU())
    plain = Model(lambda self, x: self.head(self.inner(x)), inner=inner, head=torch.nn.Linear(4, 2))
    model = Model(
        lambda self, x: self.head(self.inner(x)),
        inner=torch.compile(inner, backend=compiler),
        head=plain.head,
    )
    adapter = TorchAdapter(model)
    torch.testing.assert_close(adapter.run((rows,)), plain(rows).detach())
    assert [c.path for c in adapter.layers((rows,))] == ["inner.0", "inner.1", "inner", "head"]
    assert [c.path for c in adapter.layers()] == ["inner", "inner.0", "inner.1", "head"]
    cut = adapter.cut((rows,), "inner.1")
    torch.testing.assert_close(cut.run(cut.value), plain(rows).detach())
    torch.testing.assert_close(gradient(model, rows), plain_gradient(plain, rows))
    assert {op.path for op in adapter.operations((rows,))} == {"inner.0", "inner.1", "head"}
    assert not compiled


def test_a_compiled_function_inside_a_model(rows):
    compiled = []

    def compiler(graph, inputs):
        compiled.append(graph)
        return graph

    squared = torch.compile(lambda x: (x * x).tanh(), backend=compiler)
    model = Model(lambda self, x: self.head(squared(x)), head=torch.nn.Linear(6, 2))
    plain = Model(lambda self, x: self.head((x * x).tanh()), head=model.head)
    torch.testing.assert_close(gradient(model, rows), plain_gradient(plain, rows))
    seen = []
    TorchAdapter(model).run((rows,), intercept=lambda op: seen.append(op.name) or op())
    assert "tanh" in seen
    assert not compiled
    squared(rows)
    assert compiled, "the compiler is itself again"


def residual() -> Model:
    def forward(self, x):
        h = self.first(x).relu_()
        h = h + self.second(h)
        return self.head(torch.cat([h, x], dim=1))

    return Model(
        forward,
        first=torch.nn.Linear(6, 5),
        second=torch.nn.Linear(5, 5),
        head=torch.nn.Linear(11, 2),
    ).eval()


@pytest.mark.parametrize("layer", ["first", "second", "head"])
def test_a_cut_goes_on_bit_by_bit(layer, rows):
    model = residual()
    with torch.no_grad():
        expected = model(rows)
    cut = TorchAdapter(model).cut((rows,), layer)
    assert torch.equal(cut.outputs, expected)
    for _ in range(3):
        assert torch.equal(cut.run(cut.value), expected)


def test_a_prefix_that_decides_by_numbers_is_replayed(rows):
    """Replaying with stand-ins would ask zeros which way to go."""

    def forward(self, x):
        h = self.first(x) if float(x.sum()) > 1e9 else self.second(x)
        h = h * int(x.shape[0])
        if bool((h > 0).any()):
            h = -h
        return self.head(self.last(h))

    model = Model(
        forward,
        first=torch.nn.Linear(6, 5),
        second=torch.nn.Linear(6, 5),
        last=torch.nn.ReLU(),
        head=torch.nn.Linear(5, 2),
    )
    adapter = TorchAdapter(model)
    cut = adapter.cut((rows,), "last")
    assert torch.equal(cut.run(cut.value), adapter.run((rows,)))
    zero = torch.zeros_like(cut.value)
    torch.testing.assert_close(cut.run(zero), model.head.bias.detach().expand(3, 2))


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointed_parts_have_their_gradients(reentrant, rows):
    def forward(self, x):
        return self.head(checkpoint(self.inner, x, use_reentrant=reentrant))

    inner = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Tanh())
    model = Model(forward, inner=inner, head=torch.nn.Linear(5, 2))
    plain = Model(lambda self, x: self.head(self.inner(x)), inner=inner, head=model.head)
    if reentrant:
        # torch refuses the reentrant kind inside autograd.grad, also outside of pellucid.
        with pytest.raises(RuntimeError, match="use_reentrant"):
            gradient(model, rows)
        return
    expected = plain_gradient(plain, rows)
    torch.testing.assert_close(gradient(model, rows), expected)
    torch.testing.assert_close(gradient(model, rows, intercept=lambda op: op()), expected)
    cut = TorchAdapter(model).cut((rows,), "inner.0")
    torch.testing.assert_close(cut.run(cut.value), plain(rows).detach())


def test_transformations_inside_the_model(rows):
    """Liveness by object identity finds no operation at all inside `vmap`."""

    def forward(self, x):
        slope = torch.func.vmap(torch.func.grad(lambda v: v.tanh().sum()))(x)
        return self.head(slope)

    model = Model(forward, head=torch.nn.Linear(6, 2))
    torch.testing.assert_close(gradient(model, rows), plain_gradient(model, rows))
    adapter = TorchAdapter(model)
    torch.testing.assert_close(
        adapter.run((rows,), intercept=lambda op: op()), model(rows).detach()
    )


def test_attention_leaves_its_fast_path(rows):
    """Its fused evaluation kernel would show no operation and take no gradient."""
    layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = Model(
        lambda self, x: self.head(self.block(x).mean(dim=1)),
        block=layer,
        head=torch.nn.Linear(8, 2),
    ).eval()
    x = torch.randn(2, 5, 8)
    torch.testing.assert_close(gradient(model, x), plain_gradient(model, x), rtol=1e-4, atol=1e-6)
    names = {name for name, _, _ in seen_in(model, x)}
    assert {"scaled_dot_product_attention", "layer_norm", "linear"} <= names
    assert "_transformer_encoder_layer_fwd" not in names


def test_sources_are_not_live(rows):
    """By object identity the mask below was on the path: 45 assignments in a Swin."""

    def forward(self, x):
        mask = x.new_zeros(x.shape)
        mask[:, :2] = 1
        return self.head(x.masked_fill(mask.ne(0), -1.0))

    model = Model(forward, head=torch.nn.Linear(6, 2))
    assert [n for n, _, _ in seen_in(model, rows)] == ["masked_fill", "linear", "bias"]
    torch.testing.assert_close(gradient(model, rows), plain_gradient(model, rows))


def test_normalised_weights_are_those_used(rows):
    """`module.weight` may be made anew in each call; what the operation got counts."""
    linear = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(6, 2))
    model = Model(lambda self, x: self.linear(x), linear=linear)
    with torch.no_grad():
        linear.parametrizations.weight.original0.mul_(3)
    used = []

    def note(op):
        if op.kind == "linear":
            used.append(op.weights["weight"])
        return op()

    TorchAdapter(model).run((rows,), intercept=note)
    torch.testing.assert_close(used[0], linear.weight.detach())
    torch.testing.assert_close(gradient(model, rows), linear.weight[0].detach().expand(3, 6))


def test_quantised_models_can_be_run_only():
    """Their operations have no gradient: a map of zeros, without a word."""

    class Quantised(torch.nn.Module):
        def forward(self, x):
            return x

    Quantised.__module__ = "torch.ao.nn.quantized.dynamic.modules.linear"
    model = Model(lambda self, x: self.part(x).round(), part=Quantised())
    assert wrap(model).supports == Tier.CALLABLE
    with pytest.raises(CapabilityError, match="saliency"):
        explain(model, np.ones((1, 2), "float32"), "saliency")
    assert explain(model, np.ones((1, 2), "float32"), "occlusion", target=0).values.shape == (1, 2)


def test_hooks_of_the_user_run_and_stay(rows):
    model, called = residual(), []
    handle = model.second.register_forward_hook(lambda m, args, out: called.append(1) or 2 * out)
    with torch.no_grad():
        expected = model(rows)
    before = dict(model.second._forward_hooks)
    adapter = TorchAdapter(model)
    torch.testing.assert_close(adapter.run((rows,)), expected)
    torch.testing.assert_close(adapter.cut((rows,), "first").outputs, expected)
    assert called
    assert dict(model.second._forward_hooks) == before
    handle.remove()


@pytest.mark.parametrize("method", ["saliency", "integrated_gradients", "gradient_x_input"])
def test_tensors_of_the_user_s_own_graph_get_no_gradient(method, rows):
    model, x = residual(), rows.clone().requires_grad_()
    made = x * 1.0
    expected = explain(model, rows, method).values
    np.testing.assert_allclose(explain(model, x, method).values, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(explain(model, made, method).values, expected, rtol=1e-5, atol=1e-6)
    assert x.grad is None
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("method", ["saliency", "integrated_gradients"])
def test_callers_without_gradients_get_the_same(context, method, rows):
    """`element 0 of tensors does not require grad`, where the score was outside of ours."""
    model = residual()
    expected = explain(model, rows, method).values
    with context():
        inside = rows * 1.0
        found = explain(model, inside, method, target=None).values
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    # Made in inference mode, used outside of it.
    np.testing.assert_allclose(
        explain(model, inside, method).values, expected, rtol=1e-5, atol=1e-6
    )


def test_many_calls_leave_nothing_behind(rows):
    """Also without the cycle collector: a graph held by a cycle is a graph kept."""
    model = residual()

    def work(times: int) -> None:
        for _ in range(times):
            explain(model, rows, "saliency")
            explain(model, rows, "integrated_gradients", steps=2)
            adapter = TorchAdapter(model)
            cut = adapter.cut((rows,), "first")
            adapter.vjp(lambda v, cut=cut: (cut.run(v[0])[:, 0], None), (cut.value,))[2](
                torch.ones(3)
            )
            adapter.run((rows,), intercept=lambda op: op())

    def tensors() -> int:
        return sum(issubclass(type(o), torch.Tensor) for o in gc.get_objects())

    work(3)
    gc.collect()
    gc.disable()
    try:
        before = tensors()
        work(20)
        after = tensors()
    finally:
        gc.enable()
    assert after - before <= 2
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())


def test_other_threads_operations_are_not_seen(rows):
    model, other = residual(), residual()
    seen, started, go = [], threading.Event(), threading.Event()

    def elsewhere() -> None:
        started.set()
        go.wait(5)
        for _ in range(20):
            other(rows)

    def note(op):
        seen.append(op.name)
        go.set()
        return op()

    thread = threading.Thread(target=elsewhere)
    thread.start()
    started.wait(5)
    TorchAdapter(model).run((rows,), intercept=note)
    thread.join()
    alone: list[str] = []
    TorchAdapter(model).run((rows,), intercept=lambda op: alone.append(op.name) or op())
    assert seen == alone
