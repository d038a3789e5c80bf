"""The conformance suites hold for what ships, and name each law where it is broken."""

import importlib
import os
import subprocess
import sys
import time
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from pellucid import testing, wrap
from pellucid.adapters.callable import CallableAdapter
from pellucid.adapters.derived import record
from pellucid.adapters.protocol import OperationInfo, Tier
from pellucid.adapters.torch import TorchAdapter
from pellucid.errors import CapabilityError, ConformanceError, InputError, MethodError
from pellucid.methods.base import Attribution, Method
from pellucid.methods.registry import register_method, registered, unregister_method
from pellucid.testing import adapter_laws, check_adapter, check_method, inside_laws
from pellucid.testing.spy import SpyAdapter, SpyCut

adapter_suite = importlib.import_module("pellucid.testing.check_adapter")
method_suite = importlib.import_module("pellucid.testing.method_laws")

MODELS = ("dense_softmax", "sigmoid", "cnn_functional", "residual", "shared", "two_inputs", "vit")
FRAMEWORKS = [f for f in testing.FRAMEWORKS if f != "numpy"]


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("name", MODELS)
def test_every_adapter_keeps_every_law(name, framework):
    model, x = testing.build(name, framework)
    report = check_adapter(wrap(model), x, call=lambda given: testing.call(model, framework, given))
    allowed = {"missing_tiers_are_refused", "the_model_is_as_it_was"}
    allowed |= {"a_fingerprint_names_the_weights"}
    if not isinstance(x, tuple):
        allowed |= {"what_is_not_used_has_a_zero_gradient"}
    if not wrap(model).layers(x):
        allowed |= {law for law, why in report.skipped.items() if "layer" in why}
    assert set(report.skipped) <= allowed, report


def test_a_plain_function_keeps_those_it_can():
    model, x = testing.build("two_inputs", "numpy")
    report = check_adapter(CallableAdapter(model), x, call=lambda given: model(*given))
    assert "a_run_is_the_model" in report.passed
    assert "the adapter is callable" in report.skipped["a_cut_is_the_model"]


@pytest.mark.parametrize("fitted_on", ["arrays", "a data frame"])
def test_estimators_keep_those_they_can(fitted_on):
    pandas = pytest.importorskip("pandas", reason="data frames are pandas's")
    rng = np.random.default_rng(0)
    x = pandas.DataFrame(rng.normal(size=(40, 4)), columns=list("abcd"))
    x = x if fitted_on == "a data frame" else x.to_numpy()
    estimator = LogisticRegression().fit(x, np.asarray(x).argmax(axis=1))
    refitted = np.roll(np.asarray(x).argmax(axis=1), 1)
    report = check_adapter(
        wrap(estimator),
        x[:5],
        call=estimator.predict_proba,
        state=lambda: sorted(vars(estimator)),
        change_weights=lambda: estimator.fit(x, refitted),
    )
    assert_only_tiers_are_skipped(report)


def test_onnx_models_keep_those_they_can():
    onnx = pytest.importorskip("onnx", reason="the onnx extra")
    runtime = pytest.importorskip("onnxruntime", reason="the onnx extra")
    weight = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    node, info = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    kind = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [node("MatMul", ["x", "w"], ["z"]), node("Softmax", ["z"], ["y"])],
        "linear",
        [info("x", kind, ["n", 6])],
        [info("y", kind, ["n", 3])],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)
    session = runtime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    report = check_adapter(
        wrap(model),
        np.random.default_rng(1).normal(size=(4, 6)).astype(np.float32),
        call=lambda given: session.run(None, {"x": given})[0],
        state=lambda: list(model.SerializeToString()),
    )
    assert_only_tiers_are_skipped(report, "a_fingerprint_names_the_weights")


def assert_only_tiers_are_skipped(report, *others):
    """Of an adapter that is callable: the laws about tiers beyond it, and no more."""
    assert {"a_run_is_the_model", "a_peeled_end_can_be_put_back"} <= set(report.passed)
    assert {"missing_tiers_are_refused", "the_model_is_as_it_was"} <= set(report.passed)
    unexpected = {
        law for law, why in report.skipped.items() if "the adapter is callable" not in why
    }
    assert unexpected <= set(others), report


@pytest.mark.skipif(
    os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow", reason="this is the inner run"
)
@pytest.mark.parametrize(
    ("backend", "models"), [("torch", MODELS), ("jax", ("sigmoid", "residual", "two_inputs"))]
)
def test_keras_on_its_other_backends_keeps_every_law(backend, models):
    """On JAX a few models, for each takes seconds to compile."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(
        [
            *command,
            "-k",
            f"test_every_adapter_keeps_every_law and keras and ({' or '.join(models)})",
        ],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    assert f"{len(models)} passed" in done.stdout, done.stdout[-2000:]


def a_little_training(weights):
    with torch.no_grad():
        next(iter(weights)).add_(0.1)


def torch_case(name: str = "cnn"):
    model, x = testing.build(name, "torch")
    return model, x, {
        "call": lambda given: testing.call(model, "torch", given),
        "state": lambda: [model.training, len(model._forward_hooks)],
        "change_weights": lambda: a_little_training(model.parameters()),
    }  # fmt: skip


def test_state_and_training_are_looked_at_where_they_can_be():
    model, x, told = torch_case("two_inputs")
    report = check_adapter(lambda: TorchAdapter(model), x, **told)
    assert list(report.skipped) == ["missing_tiers_are_refused"]
    assert not report.broken
    assert "a_fingerprint_names_the_weights" in report.passed
    assert "25 laws" not in str(report)
    assert str(report).startswith("TorchAdapter of torch: 24 laws hold, 0 are broken")


def test_an_exit_of_a_second_call_has_the_path_of_that_call():
    """Found by the suite: on TensorFlow a second call was recorded under the path of the first."""
    for framework, path in (("torch", "relu"), ("keras", "relu")):
        model, x = testing.build("cnn", framework)
        wrapped = wrap(model)
        both = [path, f"{path}#2"]
        assert sorted(record(wrapped.adapter, wrapped.accept(x).leaves, both)[1]) == both


class Wrong(SpyAdapter):
    """Delegates to a right adapter, but for one thing."""

    framework = "wrong"


class NoName(Wrong):
    def __init__(self, inside):
        super().__init__(inside)
        self.framework = ""


class AllFloats(Wrong):
    def asarray(self, a):
        return self.inside.asarray(np.asarray(a, dtype=np.float32))


class Flat(Wrong):
    def restore(self, leaves):
        return list(leaves)


class Louder(Wrong):
    def run(self, x, **options):
        return self.inside.run(x, **options) * 1.01


class Drifting(Wrong):
    def run(self, x, **options):
        self.counts[0] += 1
        return self.inside.run(x, **options) + 0.01 * self.counts[0]


class Centred(Wrong):
    def run(self, x, **options):
        out = self.inside.run(x, **options)
        return out - out.mean(0, keepdim=True)


class SaysSoftmax(Wrong):
    def final_activation(self, x):
        return ("softmax",)


class SaysItCannot(Wrong):
    def __init__(self, inside):
        super().__init__(inside)
        self.supports = Tier.CALLABLE


class Steep(Wrong):
    def vjp(self, fn, x):
        value, aux, pullback = self.inside.vjp(fn, x)
        return value, aux, lambda c: tuple(g * 1.5 for g in pullback(c))


class Once(Wrong):
    def vjp(self, fn, x):
        value, aux, pullback = self.inside.vjp(fn, x)
        calls = []

        def once(cotangent):
            calls.append(1)
            return tuple(g / len(calls) for g in pullback(cotangent))

        return value, aux, once


class Everywhere(Wrong):
    def vjp(self, fn, x):
        value, aux, pullback = self.inside.vjp(fn, x)
        return value, aux, lambda c: tuple(g + 1e-3 for g in pullback(c))


class NeverStops(Wrong):
    def stop_gradient(self, a):
        return a


class Deaf(Wrong):
    def custom_vjp(self, fn, backward):
        return fn


class OnePath(Wrong):
    def layers(self, x=None):
        found = self.inside.layers(x)
        return (*found, found[0])


class Things(Wrong):
    def operations(self, x):
        return tuple(
            OperationInfo(**{**vars(o), "kind": "thing"}) for o in self.inside.operations(x)
        )


class Blind(Wrong):
    def run(self, x, *, intercept=None, layers=(), kinds=None, **options):
        return self.inside.run(x, **options)


class Unmoved(Wrong):
    def run(self, x, *, intercept=None, **options):
        def looks_only(op):
            intercept(op)
            return op()

        return self.inside.run(x, intercept=intercept and looks_only, **options)


class TwiceTheValue(Wrong):
    def cut(self, x, layer, *, peel=True):
        cut = self.inside.cut(x, layer, peel=peel)
        cut.value = cut.value * 2
        return cut


class SortsVariants(Wrong):
    def cut(self, x, layer, *, peel=True):
        class Sorted(SpyCut):
            def run(self, value):
                out = super().run(value)
                return out.flip(0) if len(value) > len(self.value) else out

        return Sorted(self.inside.cut(x, layer, peel=peel), self)


class NoWayBack(Wrong):
    def run(self, x, *, intercept=None, **options):
        def severed(op):
            out = intercept(op)
            return self.inside.stop_gradient(out) if op.kind == "layer" else out

        return self.inside.run(x, intercept=intercept and severed, **options)


class OwnWeights(Wrong):
    def run(self, x, *, weights=None, **options):
        return self.inside.run(x, **options)


class OneDesk(Wrong):
    def run(self, x, **options):
        self.desk = x
        time.sleep(0.01)
        return self.inside.run(self.desk, **options)


class Translates(Wrong):
    def vjp(self, fn, x):
        try:
            return self.inside.vjp(fn, x)
        except Exception as error:
            raise RuntimeError("something went wrong") from error


class OneName(Wrong):
    def fingerprint(self):
        return "model"


BROKEN_ADAPTERS = {
    "facts_are_stated": NoName,
    "arrays_go_and_come_back": AllFloats,
    "accept_and_restore_are_a_round_trip": Flat,
    "a_run_is_the_model": Louder,
    "a_run_can_be_repeated": Drifting,
    "a_sample_does_not_know_its_batch": Centred,
    "a_peeled_end_can_be_put_back": SaysSoftmax,
    "missing_tiers_are_refused": SaysItCannot,
    "a_gradient_is_the_derivative": Steep,
    "a_pullback_can_be_called_again": Once,
    "what_is_not_used_has_a_zero_gradient": Everywhere,
    "stop_gradient_stops": NeverStops,
    "custom_vjp_is_obeyed": Deaf,
    "layers_have_one_path_a_call": OnePath,
    "operations_are_listed": Things,
    "looking_changes_nothing": Blind,
    "a_patched_layer_is_obeyed": Unmoved,
    "a_cut_is_the_model": TwiceTheValue,
    "a_cut_takes_variants": SortsVariants,
    "a_zero_probe_finds_the_gradient_at_a_layer": NoWayBack,
    "weights_are_those_of_the_run": OwnWeights,
    "threads_get_the_serial_numbers": OneDesk,
    "an_exception_leaves_nothing_behind": Translates,
    "a_fingerprint_names_the_weights": OneName,
}


@pytest.mark.parametrize("law", list(BROKEN_ADAPTERS))
def test_a_broken_adapter_is_told_which_law_it_breaks(law):
    name = "two_inputs" if law in {"what_is_not_used_has_a_zero_gradient"} else "cnn"
    model, x, told = torch_case(name)
    wrong = BROKEN_ADAPTERS[law](TorchAdapter(model))
    with pytest.raises(ConformanceError, match=f"(?m)^  {law}: .+") as caught:
        check_adapter(wrong, x, **told)
    assert isinstance(caught.value, AssertionError)


def test_a_model_left_in_another_mode_is_noticed():
    model, x, told = torch_case("dense")

    class TrainsOn(Wrong):
        def run(self, x, **options):
            out = self.inside.run(x, **options)
            model.train()
            return out

    with pytest.raises(ConformanceError, match=r"the_model_is_as_it_was: .* state is another one"):
        check_adapter(TrainsOn(TorchAdapter(model)), x, **told)


def test_every_law_of_adapters_is_broken_once():
    laws = {law.__name__ for law in adapter_suite.LAWS}
    assert laws == {*BROKEN_ADAPTERS, "the_model_is_as_it_was"}
    written = {
        name
        for room in (adapter_laws, inside_laws)
        for name, function in vars(room).items()
        if callable(function) and getattr(function, "__module__", "") == room.__name__
        if not name.startswith("_")
    }
    assert written <= laws


SMALL = {
    "integrated_gradients": {"steps": 4},
    "smoothgrad": {"samples": 3},
    "squaregrad": {"samples": 3},
    "vargrad": {"samples": 4},
    "guided_integrated_gradients": {"steps": 100, "anchors": 20},
    "occlusion": {"window": 4, "stride": 4},
    "exact_shapley": lambda x: few_players(x),
    "kernel_shap": lambda x: {**few_players(x), "budget": 40},
    "permutation_shap": lambda x: {**few_players(x), "budget": 40},
    "lime": lambda x: {**few_players(x), "budget": 40},
    "rise": {"grid": 3, "budget": 40},
    "sobol": lambda x: {**few_players(x), "budget": 60},
    "hsic": lambda x: {**few_players(x), "budget": 40},
    "partition_shap": lambda x: {**few_players(x), "budget": 40},
    "shapley_interactions": lambda x: few_players(x),
    "surrogate_tree": lambda x: {"background": rows_like(x)},
}


def rows_like(x):
    """Rows of a table for a tree to grow on."""
    width = (x[0] if isinstance(x, tuple) else x).shape[1]
    return np.random.default_rng(0).normal(size=(40, width)).astype(np.float32)


def few_players(x):
    """Six cells of the image; of two inputs four cells and the columns."""
    return {"features": ("grid:2", None) if isinstance(x, tuple) else "grid:3"}


# Trees are no network, and rows that explain each other do not stand for themselves.
@pytest.mark.parametrize(
    "name", sorted(n for n, c in registered().items() if not (c.needs_trees or c.is_global))
)
def test_every_method_keeps_every_law(name):
    report = check_method(name, parameters=SMALL.get(name, {}))
    assert "evaluations_are_those_of_the_model" in report.passed
    possible = {"completeness_is_kept", "a_missing_tier_is_refused"}
    possible |= {"several_inputs_have_a_map_each"}
    assert set(report.skipped) <= possible


@pytest.mark.parametrize("framework", ["tensorflow", "jax"])
def test_methods_of_attention_keep_every_law_elsewhere(framework):
    report = check_method("attention_gradient", framework=framework)
    assert "a_sample_does_not_know_its_batch" in report.passed


def gradient(model, x, target):
    return model.gradient(x)


def test_functions_and_classes_need_not_be_registered():
    before = dict(registered())
    report = check_method(gradient, framework="torch")
    assert set(report.skipped) == {
        "completeness_is_kept", "several_inputs_have_a_map_each", "a_missing_tier_is_refused",
    }  # fmt: skip
    assert "models with one input" in report.skipped["several_inputs_have_a_map_each"]
    assert dict(registered()) == before
    with pytest.raises(MethodError, match="a method's name, class or function, got a int"):
        check_method(3)
    with pytest.raises(InputError, match="Expected an Adapter"):
        check_adapter(3, np.ones((2, 2)))


def swing(model, x, target, step=1.0):
    moves = np.eye(x.shape[1], dtype=x.dtype) * step
    return np.stack([model.score(x + m) - model.score(x) for m in moves], axis=1)


def test_a_method_is_tried_on_what_it_says_it_works_on():
    for declared in ({"modalities": {"table"}}, {"modalities": {"series"}}):
        register_method("swing", **declared)(swing)
        try:
            if "table" in declared["modalities"]:
                assert not check_method(swing).broken, "found by the function, as by the name"
                assert len(check_method("swing").passed) == 7
            else:
                with pytest.raises(CapabilityError, match="tiny models take images and tables"):
                    check_method("swing")
        finally:
            unregister_method("swing")
    with pytest.raises(ConformanceError):
        check_method(swing)


def normalised(model, x, target):
    g = np.abs(model.gradient(x))
    axes = tuple(range(1, g.ndim))
    low, high = g.min(axis=axes, keepdims=True), g.max(axis=axes, keepdims=True)
    return (g - low) / (high - low)


def relative_to_the_batch(model, x, target):
    g = model.gradient(x)
    return g - g.mean(axis=0)


def unseeded(model, x, target):
    return model.gradient(x) + np.random.normal(size=x.shape)


REMEMBERED: list = []


def remembers(model, x, target):
    REMEMBERED.extend(np.array(x) for _ in range(4))
    return model.gradient(x)


TROUBLE: list = []


def scarred(model, x, target):
    try:
        return model.gradient(x) * (1 + len(TROUBLE))
    except Exception:
        TROUBLE.append(1)
        raise


def uncounted(model, x, target):
    task = model._task
    task.wrapped.adapter.run(task.x)
    return model.gradient(x)


@dataclass(frozen=True)
class Overwrites(Method):
    """Writes to the arrays of its batch."""

    name = "overwrites"

    def attribute(self, task):
        values = tuple(a.copy() for a in task.batch.arrays)
        for a in task.batch.arrays:
            a[...] = 0
        return Attribution(values)


@dataclass(frozen=True)
class OneMap(Method):
    """Has a map for the first input only."""

    name = "one_map"

    def attribute(self, task):
        return Attribution((task.batch.arrays[0].copy(),))


@dataclass(frozen=True)
class HalfOfIt(Method):
    """Claims completeness and gives half."""

    name = "half_of_it"
    claims_completeness = True

    def attribute(self, task):
        baseline = task.baselines("zeros")
        zero = task.baseline_scores(baseline)
        score = task.to_numpy(task.score(task.outputs, np.arange(task.count)))
        values = []
        for a in task.batch.arrays:
            half = np.zeros_like(a)
            half.reshape(len(a), -1)[:, 0] = (score - zero) / 2
            values.append(half)
        return Attribution(tuple(values), baseline=baseline, baseline_score=zero)


BROKEN_METHODS = {
    "maps_are_raw": normalised,
    "a_sample_does_not_know_its_batch": relative_to_the_batch,
    "the_seed_decides": unseeded,
    "what_the_user_has_is_as_it_was": Overwrites,
    "an_exception_leaves_nothing_behind": scarred,
    "evaluations_are_those_of_the_model": uncounted,
    "completeness_is_kept": HalfOfIt,
    "several_inputs_have_a_map_each": OneMap,
    "nothing_stays_in_memory": remembers,
}


@pytest.mark.parametrize("law", list(BROKEN_METHODS))
def test_a_broken_method_is_told_which_law_it_breaks(law):
    before = dict(registered())
    framework = "numpy" if isinstance(BROKEN_METHODS[law], type) else "torch"
    with pytest.raises(ConformanceError, match=f"(?m)^  {law}: .+"):
        check_method(BROKEN_METHODS[law], framework=framework)
    assert dict(registered()) == before
    REMEMBERED.clear()


def test_every_law_of_methods_is_broken_once():
    """But one: a missing tier is refused by `explain` before the method is asked."""
    laws = {law.__name__ for law in method_suite.LAWS}
    assert laws == {*BROKEN_METHODS, "a_missing_tier_is_refused"}
