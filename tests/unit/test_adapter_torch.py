"""The torch adapter: reading a model without touching it."""

import threading
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pellucid.adapters.derived import layer_gradient, patch, record
from pellucid.adapters.protocol import LAYERS_ONLY
from pellucid.adapters.torch import TorchAdapter
from pellucid.errors import CapabilityError, LayerError
from pellucid.testing import build


class Block(torch.nn.Module):
    """Residual, an in-place ReLU that is called twice, and a functional one."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = torch.nn.Conv2d(4, 4, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(4)
        self.conv2 = torch.nn.Conv2d(4, 4, 3, padding=1)
        self.relu = torch.nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.relu(self.norm(self.conv1(x)))
        out = self.conv2(out)
        out += x
        return F.relu(self.relu(out) + 0.1)


class Net(torch.nn.Module):
    def __init__(self, head: Callable[[torch.Tensor], torch.Tensor] | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = torch.nn.Conv2d(3, 4, 3, stride=2)
        self.first = Block()
        self.second = Block()
        self.fc = torch.nn.Linear(4, 3)
        self.head = head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.stem(x)
        skip = h
        h = self.second(self.first(F.relu(h)))
        h = h + skip * torch.sigmoid(h)
        out = self.fc(h.mean(dim=(2, 3)))
        return out if self.head is None else self.head(out)


@pytest.fixture
def net() -> torch.nn.Module:
    model = Net()
    with torch.no_grad():
        for block in (model.first, model.second):
            block.norm.running_mean.normal_()
            block.norm.running_var.uniform_(0.5, 2)
    return model.eval()


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(3, 3, 14, 12, generator=torch.Generator().manual_seed(1))


LAYERS = ["stem", "first", "first.norm", "first.relu", "first.relu#2", "second", "second.conv2"]


@pytest.mark.parametrize("layer", LAYERS)
def test_cut_continues_to_the_model_s_own_outputs(net, x, layer):
    adapter = TorchAdapter(net)
    cut = adapter.cut((x,), layer)
    expected = net(x).detach()
    torch.testing.assert_close(cut.outputs, expected)
    torch.testing.assert_close(cut.run(cut.value), expected, rtol=0, atol=0)
    torch.testing.assert_close(cut.run(cut.value), expected, rtol=0, atol=0)


@pytest.mark.parametrize("layer", LAYERS)
def test_cut_runs_several_variants_of_each_sample(net, x, layer):
    adapter = TorchAdapter(net)
    cut = adapter.cut((x,), layer)
    variants = torch.stack([cut.value, cut.value * 0.5], dim=1).flatten(0, 1)
    out = cut.run(variants)
    for i in range(3):
        alone = adapter.cut((x[i : i + 1],), layer)
        torch.testing.assert_close(out[2 * i], alone.outputs[0])
        torch.testing.assert_close(out[2 * i + 1], alone.run(alone.value * 0.5)[0])


class Downsampled(torch.nn.Module):
    """What stands beside the cut is changed in place above it, and so is the input."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.main = torch.nn.Conv2d(3, 3, 3, padding=1)
        self.side = torch.nn.Conv2d(3, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.main(x)
        out += self.side(x)
        x.mul_(2)
        return (out.relu_() + x).mean(dim=(2, 3))


@pytest.mark.parametrize("layer", ["main", "side"])
def test_a_cut_replays_skips_that_are_changed_in_place(x, layer, monkeypatch):
    model = Downsampled()
    cut = TorchAdapter(model).cut((x,), layer)
    monkeypatch.setattr(cut, "_whole", None)  # no whole run is needed
    expected = model(x.clone()).detach()
    assert torch.equal(cut.run(cut.value), expected)
    thrice = cut.run(cut.value.repeat_interleave(3, dim=0))
    assert torch.equal(thrice, expected.repeat_interleave(3, dim=0))
    assert torch.equal(cut.run(cut.value), expected)


def test_a_cut_above_code_that_remembers_the_number_of_rows(x):
    class Tokens(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches = torch.nn.Conv2d(3, 4, 2, stride=2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            rows = x.shape[0]
            return self.patches(x).reshape(rows, 4, -1).mean(dim=2)

    model = Tokens()
    cut = TorchAdapter(model).cut((x,), "patches")
    thrice = cut.run(cut.value.repeat_interleave(3, dim=0))
    assert torch.equal(thrice, model(x).detach().repeat_interleave(3, dim=0))


def test_attention_gives_the_same_bits_in_the_first_run_and_later_ones():
    """Torch's fused inference kernel rounds otherwise than the operations it stands for."""
    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval()
    x = torch.randn(2, 5, 16)
    adapter = TorchAdapter(layer)
    first, second = adapter.run((x,)), adapter.run((x,))
    differentiated = adapter.vjp(lambda a: (adapter.run(a), None), (x,))[0]
    assert torch.equal(first, second)
    torch.testing.assert_close(first, differentiated)


@pytest.mark.parametrize("layer", LAYERS)
def test_layer_gradient_by_probe_and_by_cut_equal_a_hook(net, x, layer):
    adapter = TorchAdapter(net)
    seen: list[torch.Tensor] = []
    name, _, number = layer.partition("#")

    def hook(module, args, output):
        value = output.clone()
        value.retain_grad()
        seen.append(value)
        return value.clone()

    handle = net.get_submodule(name).register_forward_hook(hook)
    net(x)[:, 1].sum().backward()
    handle.remove()
    truth = seen[int(number or 1) - 1]
    net.zero_grad()
    activation, gradient = layer_gradient(adapter, (x,), layer, lambda out: out[:, 1])
    torch.testing.assert_close(activation, truth.detach(), rtol=0, atol=0)
    torch.testing.assert_close(gradient, truth.grad, rtol=1e-6, atol=1e-8)
    cut = adapter.cut((x,), layer)
    value, _, pullback = adapter.vjp(lambda v: (cut.run(v[0])[:, 1], None), (cut.value,))
    torch.testing.assert_close(
        pullback(torch.ones_like(value))[0], truth.grad, rtol=1e-6, atol=1e-8
    )


def test_record_and_patch(net, x):
    adapter = TorchAdapter(net)
    outputs, values = record(adapter, (x,), ["first", "first.relu#2"])
    torch.testing.assert_close(outputs, net(x).detach())
    assert set(values) == {"first", "first.relu#2"}
    patched = patch(adapter, (x,), {"first": torch.zeros_like(values["first"])})
    expected = adapter.cut((x,), "first").run(torch.zeros_like(values["first"]))
    torch.testing.assert_close(patched, expected)
    torch.testing.assert_close(patch(adapter, (x,), values), net(x).detach())


def test_operations_pass_through_unchanged(net, x):
    adapter = TorchAdapter(net)
    seen = []

    def note(op):
        seen.append((op.kind, op.name, op.path, op.call, op.live))
        return op()

    value, _, pullback = adapter.vjp(
        lambda leaves: (adapter.run(leaves, intercept=note)[:, 0], None), (x,)
    )
    given = x.clone().requires_grad_()
    truth = net(given)[:, 0]
    truth.sum().backward()
    torch.testing.assert_close(value, truth.detach(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(
        pullback(torch.ones_like(value))[0], given.grad, rtol=1e-5, atol=1e-7
    )
    kinds = [s[0] for s in seen]
    assert seen[0][1] == "conv2d", "no operation of our own is among the model's"
    assert kinds.count("linear") == 6, "stem, four convolutions, fc"
    assert kinds.count("bias") == 8, "each convolution's and fc's own, and the + 0.1 of each block"
    assert ("add", "add", "first", 1, (True, True)) in seen, "in-place += is an ordinary add"
    assert ("activation", "relu", "first.relu", 2, (True,)) in seen
    assert ("mul", "mul", "", 1, (True, True)) in seen


def test_an_operation_can_be_called_with_other_inputs_and_without_its_bias(net, x):
    def halve(op):
        return op(inputs=tuple(0.5 * a for a in op.inputs)) if op.path == "stem" else op()

    adapter = TorchAdapter(net)
    stem = F.conv2d(x, net.stem.weight.detach(), net.stem.bias.detach(), stride=2)
    # The convolution sees half its input, the bias half of that: both are operations of the stem.
    bias = net.stem.bias.detach().reshape(1, -1, 1, 1)
    expected = adapter.cut((x,), "stem").run(0.5 * (0.5 * (stem - bias)) + 0.5 * bias)
    torch.testing.assert_close(adapter.run((x,), intercept=halve), expected)

    def without(op):
        return op(weights={"weight": 2 * op.weights["weight"]}) if op.kind == "linear" else op()

    layer = torch.nn.Linear(2, 2)
    linear = TorchAdapter(layer)
    rows = torch.ones(1, 2)
    plain = linear.run((rows,))
    torch.testing.assert_close(
        linear.run((rows,), intercept=without), (2 * plain - layer.bias).detach()
    )


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (torch.nn.Softmax(dim=1), "softmax"),
        (lambda z: F.softmax(z, -1), "softmax"),
        (lambda z: z.softmax(dim=-1), "softmax"),
        (lambda z: torch.log_softmax(z, 1), "log_softmax"),
        (lambda z: F.dropout(z.sigmoid(), training=False).view(-1, 3), "sigmoid"),
        (lambda z: z * torch.sigmoid(z), None),
        (lambda z: 0.9 * torch.softmax(z, 1) + 0.1 / 3, None),
        (lambda z: torch.softmax(z, 0), None),
        (None, None),
    ],
)
def test_final_activation_is_found_and_taken_off(net, x, head, name):
    model = Net(head).eval()
    model.load_state_dict(net.state_dict())
    adapter = TorchAdapter(model)
    logits = net(x).detach()
    expected = logits if name or head is None else head(logits)
    for _ in range(2):  # the first run also searches; both must agree
        torch.testing.assert_close(adapter.run((x,)), expected, rtol=1e-6, atol=1e-6)
    assert adapter.final_activation((x,)) == (name,)
    torch.testing.assert_close(adapter.run((x,), peel=False), model(x).detach())
    torch.testing.assert_close(adapter.cut((x,), "first").outputs, expected, rtol=1e-6, atol=1e-6)


def test_softmax_inside_is_not_the_final_one(x):
    class Attention(torch.nn.Module):
        def forward(self, t: torch.Tensor) -> torch.Tensor:
            flat = t.flatten(2)
            weights = torch.softmax(flat @ flat.transpose(1, 2), dim=-1)
            return torch.softmax((weights @ flat).mean(-1), dim=-1)

    adapter = TorchAdapter(Attention())
    assert adapter.final_activation((x,)) == ("softmax",)
    torch.testing.assert_close(torch.softmax(adapter.run((x,)), -1), adapter.run((x,), peel=False))


def snapshot(model: torch.nn.Module) -> list:
    state = [
        (n, p.detach().clone(), p._version, p.requires_grad, p.grad)
        for n, p in model.named_parameters()
    ]
    buffers = [(n, b.clone(), b._version, False, None) for n, b in model.named_buffers()]
    return [
        *state,
        *buffers,
        [m.training for m in model.modules()],
        [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()],
        torch.get_rng_state(),
        torch.is_grad_enabled(),
    ]


def assert_same(a: list, b: list) -> None:
    for one, other in zip(a, b, strict=True):
        if isinstance(one, torch.Tensor):
            assert torch.equal(one, other)
        elif isinstance(one, tuple) and len(one) == 5:
            assert one[0] == other[0]
            assert torch.equal(one[1], other[1])
            assert one[2:4] == other[2:4]
            assert (one[4] is None) == (other[4] is None)
        else:
            assert one == other


def everything(adapter: TorchAdapter, x: torch.Tensor) -> None:
    adapter.run((x,))
    adapter.run((x,), intercept=lambda op: op())
    adapter.vjp(lambda v: (adapter.run(v)[:, 0], None), (x,))[2](torch.ones(3))
    cut = adapter.cut((x,), "first")
    cut.run(cut.value)
    adapter.layers((x,))
    adapter.operations((x,))


def test_nothing_of_the_user_s_changes(net, x):
    net.train()
    net.first.eval()
    before, given = snapshot(net), x.clone()
    everything(TorchAdapter(net), x)
    assert_same(before, snapshot(net))
    assert torch.equal(x, given)


def test_nothing_changes_when_the_model_raises(net, x):
    before = snapshot(net)
    calls = {"left": 0}
    original = net.second.forward

    def fail(value):
        calls["left"] -= 1
        if calls["left"] < 0:
            raise RuntimeError("boom")
        return original(value)

    adapter = TorchAdapter(net)
    object.__setattr__(net.second, "forward", fail)
    try:
        for verb in (
            lambda: adapter.run((x,)),
            lambda: adapter.run((x,), peel=False, intercept=lambda op: op()),
            lambda: adapter.vjp(lambda v: (adapter.run(v), None), (x,)),
            lambda: adapter.cut((x,), "first", peel=False),
            lambda: adapter.layers((x,)),
        ):
            with pytest.raises(RuntimeError, match="boom"):
                verb()
    finally:
        object.__delattr__(net.second, "forward")
    assert_same(before, snapshot(net))


def test_an_exception_in_an_interceptor_leaves_no_hook(net, x):
    before = snapshot(net)

    def fail(op):
        raise ValueError("mine")

    adapter = TorchAdapter(net)
    for kinds in (None, LAYERS_ONLY):
        with pytest.raises(ValueError, match="mine"):
            adapter.run((x,), intercept=fail, layers=("first",), kinds=kinds)
    assert_same(before, snapshot(net))
    torch.testing.assert_close(adapter.run((x,)), net(x).detach())


def test_a_first_layer_that_works_in_place_does_not_change_the_input(x):
    model = torch.nn.Sequential(
        torch.nn.ReLU(inplace=True), torch.nn.Flatten(), torch.nn.Linear(504, 2)
    )
    given = x.clone()
    everything_like = TorchAdapter(model)
    everything_like.run((x,))
    everything_like.run((x,), intercept=lambda op: op())
    everything_like.vjp(lambda v: (everything_like.run(v)[:, 0], None), (x,))[2](torch.ones(3))
    everything_like.cut((x,), "1")
    assert torch.equal(x, given)


def test_alias_names_of_one_module(x):
    net = Net().eval()
    net.alias = net.first
    adapter = TorchAdapter(net)
    cut = adapter.cut((x,), "alias")
    torch.testing.assert_close(cut.value, adapter.cut((x,), "first").value)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_gradients_inside_the_user_s_no_grad(net, x, context):
    expected = TorchAdapter(net).vjp(lambda v: (net(v[0])[:, 0], None), (x,))[2](torch.ones(3))[0]
    with context():
        adapter = TorchAdapter(net)
        inside = x.clone()
        found = adapter.vjp(lambda v: (adapter.run(v)[:, 0], None), (inside,))[2](torch.ones(3))[0]
    torch.testing.assert_close(found, expected)


def test_scripted_modules_are_refused():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # tracing is what we refuse
        scripted = torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2), check_trace=False)
    with pytest.raises(CapabilityError, match="TorchScript"):
        TorchAdapter(torch.nn.Sequential(scripted))


def test_wrappers_are_looked_through(net, x):
    wrapped = torch.nn.DataParallel(net)
    adapter = TorchAdapter(wrapped)
    torch.testing.assert_close(adapter.run((x,)), net(x).detach())
    assert adapter.layers()[0].path == "stem"
    assert adapter.notes


def test_unknown_layers_name_the_nearest(net, x):
    adapter = TorchAdapter(net)
    with pytest.raises(LayerError, match=r"'first\.norm'"):
        adapter.cut((x,), "first.nrom")
    with pytest.raises(LayerError, match="not called"):
        adapter.cut((x,), "first#2")
    with pytest.raises(LayerError, match="Several layers end in"):
        adapter.cut((x,), "conv1")
    with pytest.raises(LayerError, match="call number"):
        adapter.cut((x,), "first#two")


def test_layers_count_calls_and_shapes(net, x):
    calls = {c.path: c for c in TorchAdapter(net).layers((x,))}
    assert calls["first.relu#2"].shape == (None, 4, 6, 5)
    assert calls["fc"].shape == (None, 3)
    assert calls["first"].order > calls["first.relu#2"].order


def test_replaced_weights_are_used_for_one_run_only(net, x):
    adapter = TorchAdapter(net)
    before = net(x).detach()
    zero = torch.zeros_like(net.fc.weight)
    torch.testing.assert_close(
        adapter.run((x,), weights={"fc.weight": zero}), net.fc.bias.detach().expand(3, 3)
    )
    torch.testing.assert_close(net(x).detach(), before)


def test_custom_vjp_and_stop_gradient(x):
    adapter = TorchAdapter(lambda v: v)
    double = adapter.custom_vjp(lambda a: a * 3, lambda cotangent, a: cotangent * 7)
    value, _, pullback = adapter.vjp(lambda v: (double(v[0]).sum((1, 2, 3)), None), (x,))
    torch.testing.assert_close(value, 3 * x.sum((1, 2, 3)), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(pullback(torch.ones(3))[0], torch.full_like(x, 7.0))
    _, _, pullback = adapter.vjp(
        lambda v: ((v[0] * adapter.stop_gradient(v[0])).sum((1, 2, 3)), None), (x,)
    )
    torch.testing.assert_close(pullback(torch.ones(3))[0], x)


def test_the_pullback_may_be_called_many_times(net, x):
    adapter = TorchAdapter(net)
    _, _, pullback = adapter.vjp(lambda v: (adapter.run(v), None), (x,))
    rows = [pullback(torch.eye(3)[k].repeat(3, 1))[0] for k in range(3)]
    for k, row in enumerate(rows):
        alone = adapter.vjp(lambda v, k=k: (adapter.run(v)[:, k], None), (x,))[2](torch.ones(3))[0]
        torch.testing.assert_close(row, alone)


def test_integer_leaves_get_zeros():
    table = torch.nn.Embedding(5, 2)

    class Mixed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = table

        def forward(self, ids: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
            return self.table(ids).sum(1) * x

    adapter = TorchAdapter(Mixed())
    leaves = adapter.accept((np.array([[1, 2]]), np.array([[1.0, 2.0]])))
    assert leaves[0].dtype == torch.int64
    grads = adapter.vjp(lambda v: (adapter.run(v).sum(1), None), leaves)[2](torch.ones(1))
    assert torch.equal(grads[0], torch.zeros(1, 2, dtype=torch.int64))
    assert grads[1].abs().sum() > 0


def test_threads_do_not_see_each_other(net, x):
    adapter = TorchAdapter(net)
    net.train()
    truth = adapter.cut((x,), "second").value
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(10):
                torch.testing.assert_close(adapter.cut((x,), "second").value, truth)
                adapter.run((x,), intercept=lambda op: op())
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert net.training, "the training flag is put back when the last thread leaves"
    assert all(not m._forward_hooks for m in net.modules())


def test_only_the_returned_softmax_is_taken_off(x):
    """What else reads the probabilities still reads probabilities."""

    class Both(torch.nn.Module):
        def forward(self, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            logits = v.mean(dim=(2, 3)) * 5
            p = logits.softmax(1)
            return p, -(p * p.log()).sum(1)

    model = Both()
    outputs = TorchAdapter(model).run((x,))
    torch.testing.assert_close(outputs[0], x.mean(dim=(2, 3)) * 5)
    torch.testing.assert_close(outputs[1], model(x)[1])


def test_a_masked_softmax_is_not_taken_off(x):
    class Masked(torch.nn.Module):
        def forward(self, v: torch.Tensor) -> torch.Tensor:
            p = v.mean(dim=(2, 3)).softmax(1)
            p *= torch.tensor([1.0, 0.0, 1.0])
            return p

    adapter = TorchAdapter(Masked())
    for _ in range(2):
        torch.testing.assert_close(adapter.run((x,)), Masked()(x))
    assert adapter.final_activation((x,)) == (None,)


def test_a_changed_model_is_read_anew():
    net = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.ReLU())
    adapter = TorchAdapter(net)
    rows = torch.randn(2, 3)
    seen = {adapter.fingerprint()}
    assert adapter.final_activation((rows,)) == (None,)
    net.append(torch.nn.Softmax(dim=1))
    assert adapter.final_activation((rows,)) == ("softmax",)
    seen.add(adapter.fingerprint())
    net[1] = torch.nn.Tanh()
    seen.add(adapter.fingerprint())
    net[0].weight.data.mul_(-2)
    seen.add(adapter.fingerprint())
    assert len(seen) == 4


@pytest.mark.parametrize("variants", [1, 3])
def test_an_input_that_is_used_above_the_cut_is_the_real_one(variants):
    """The other branch of a twin reads its input after the layer's exit, on the first run too."""
    model, x = build("shared", "torch")
    adapter = TorchAdapter(model)
    leaves = adapter.accept(x)
    cut = adapter.cut(leaves, "encoder.encoder2")
    value = torch.repeat_interleave(cut.value, variants, dim=0) * 1.5 + 0.1
    repeated = tuple(torch.repeat_interleave(a, variants, dim=0) for a in leaves)
    expected = patch(adapter, repeated, {"encoder.encoder2": value})
    torch.testing.assert_close(cut.run(value), expected)


@pytest.mark.parametrize("framework", ["module", "function", "reshaped"])
def test_a_cut_at_a_last_layer_that_is_peeled_holds_the_logits(x, framework):
    """Else the layer would return probabilities above a run whose output is the logits."""
    ends = {
        "module": torch.nn.Softmax(dim=1),
        "function": Ending(lambda z: F.softmax(z, dim=1)),
        "reshaped": torch.nn.Sequential(torch.nn.Softmax(dim=1), torch.nn.Flatten()),
    }
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(504, 3), ends[framework])
    adapter, layer = TorchAdapter(model), "2.0" if framework == "reshaped" else "2"
    logits = model[1](x.flatten(1)).detach()
    cut = adapter.cut((x,), layer)
    torch.testing.assert_close(cut.value, logits)
    torch.testing.assert_close(cut.outputs, logits)
    torch.testing.assert_close(cut.run(2 * logits), 2 * logits)
    for _ in range(2):
        assert adapter.final_activation((x,)) == ("softmax",)
        outputs, values = record(adapter, (x,), [layer])
        torch.testing.assert_close(values[layer], logits)
        torch.testing.assert_close(outputs, logits)
    whole = adapter.cut((x,), layer, peel=False)
    torch.testing.assert_close(whole.value, logits.softmax(1))
    torch.testing.assert_close(whole.run(whole.value), logits.softmax(1))


class Ending(torch.nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.function(z)


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_last_also_of_a_single_channel(channels):
    """`contiguous` leaves one channel as it is, and the model then runs in the slow layout."""
    adapter = TorchAdapter(torch.nn.Conv2d(channels, 2, 3))
    x = torch.rand(2, channels, 5, 5)
    (arranged,) = adapter.arranged((x,), "channels last")
    assert arranged.stride() == (25 * channels, 1, 5 * channels, channels)
    assert torch.equal(arranged, x)
