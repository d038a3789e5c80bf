"""What importing costs, and what the public list holds."""

import inspect
import json
import subprocess
import sys

import pytest

import pellucid
from pellucid import errors
from pellucid.errors import MissingExtraError, PellucidError

HEAVY = (
    "torch", "tensorflow", "keras", "jax", "pandas", "xarray", "matplotlib", "jinja2", "typer",
    "rich", "scipy", "PIL", "zarr", "sklearn", "onnx", "captum",
)  # fmt: skip
PUBLIC = {
    "Board", "Comparison", "Explainer", "Explanation", "Goal", "Model", "Report", "Scorecard",
    "SearchResult", "__version__", "board", "effects", "errors", "evaluate", "explain", "inside",
    "inspect", "load", "methods", "register_method", "register_metric", "report", "search", "wrap",
}  # fmt: skip


def loaded_by(code: str) -> set[str]:
    """The top-level packages that are loaded once `code` has run in a fresh Python."""
    report = (
        "import json, sys; print(json.dumps(sorted({m.partition('.')[0] for m in sys.modules})))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{code}\n{report}"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("module", ["pellucid", "pellucid.testing", "pellucid.errors"])
def test_importing_loads_no_framework(module):
    assert not loaded_by(f"import {module}") & set(HEAVY)


def test_explaining_a_plain_function_loads_none_either():
    """Nor do the tables, a registered method, or the text of a result."""
    code = (
        "import numpy as np, pellucid\n"
        "f = pellucid.wrap(lambda x: x.sum(axis=(1, 2, 3)), class_names=['a'])\n"
        "e = pellucid.explain(f, np.ones((2, 8, 8, 3)), 'occlusion', baseline='blur')\n"
        "e = pellucid.Explainer(f, ['occlusion', 'edges']).compare(e.inputs)\n"
        "str(e), e.correlation(), str(pellucid.methods()), str(e['occlusion'].top(3))\n"
        "pellucid.methods(model=f), e['edges'].reproduce()"
    )
    assert not loaded_by(code) & set(HEAVY)


def test_torch_loads_no_tensorflow():
    code = (
        "import torch, pellucid\n"
        "pellucid.explain(torch.nn.Linear(3, 2), torch.ones(2, 3), 'integrated_gradients')"
    )
    loaded = loaded_by(code)
    assert "torch" in loaded
    assert not loaded & {"tensorflow", "keras", "jax", "pandas", "matplotlib", "xarray"}


def test_tensorflow_loads_no_torch():
    code = (
        "import warnings; warnings.simplefilter('ignore')\n"
        "import tensorflow as tf, pellucid\n"
        "f = lambda x: tf.reduce_sum(x * x, axis=1)\n"
        "pellucid.explain(f, tf.ones((2, 3)), 'integrated_gradients')"
    )
    loaded = loaded_by(code)
    assert "tensorflow" in loaded
    assert "torch" not in loaded


def test_the_public_list():
    assert set(pellucid.__all__) == PUBLIC
    assert list(pellucid.__all__) == sorted(pellucid.__all__, key=str)
    assert all(hasattr(pellucid, name) for name in pellucid.__all__)
    assert pellucid.__version__.count(".") >= 2 or pellucid.__version__[0].isdigit()


def test_nothing_else_looks_public():
    """Other names of the package are its rooms, or begin with an underscore."""
    others = set(vars(pellucid)) - PUBLIC
    rooms = {n for n in others if inspect.ismodule(getattr(pellucid, n))}
    assert all(name.startswith("_") for name in others - rooms)


@pytest.mark.parametrize("name", sorted(PUBLIC - {"__version__"}))
def test_everything_public_is_described(name):
    thing = getattr(pellucid, name)
    assert inspect.getdoc(thing)
    if not inspect.isclass(thing):
        return
    for member, value in vars(thing).items():
        if member.startswith("_") or not (
            inspect.isfunction(value) or isinstance(value, property | staticmethod | classmethod)
        ):
            continue
        if (name, member) in {("Model", "framework"), ("Model", "supports"), ("Model", "peel")}:
            continue  # facts that the class's own docstring tells, or the adapter's
        assert inspect.getdoc(value), f"{name}.{member}"


def test_every_error_is_public_described_and_of_one_root():
    ours = [
        e for e in vars(errors).values() if inspect.isclass(e) and e.__module__ == "pellucid.errors"
    ]
    assert len(ours) >= 10
    for error in ours:
        assert issubclass(error, PellucidError)
        assert error.__doc__
        assert error.__doc__ != PellucidError.__doc__ or error is PellucidError
    for error, python in (
        (errors.TargetError, ValueError), (errors.InputError, ValueError),
        (errors.MethodError, errors.InputError), (errors.CoverageError, errors.CapabilityError),
        (errors.MissingExtraError, ImportError), (errors.ModelError, RuntimeError),
    ):  # fmt: skip
        assert issubclass(error, python)
    message = str(MissingExtraError("torch", "torch", "This model"))
    assert "pip install 'pellucid[torch]'" in message


def test_signatures_are_those_of_the_contract():
    """Names and order that checks outside the repository call."""
    explained = list(inspect.signature(pellucid.explain).parameters)
    assert explained == [
        "model", "x", "method", "target", "layer", "baseline", "features", "seed", "budget",
        "tolerance", "batch_size", "progress", "parameters",
    ]  # fmt: skip
    wrapped = list(inspect.signature(pellucid.wrap).parameters)
    assert wrapped[:8] == [
        "model", "framework", "inputs", "output", "class_names", "feature_names", "preprocess",
        "tokenizer",
    ]  # fmt: skip
    assert list(inspect.signature(pellucid.load).parameters)[0] in {"path", "path_or_spec"}  # noqa: RUF015
    assert "trust" in inspect.signature(pellucid.load).parameters
    assert list(inspect.signature(pellucid.methods).parameters) == ["modality", "model"]
    fields = set(pellucid.Explanation.__dataclass_fields__) | set(vars(pellucid.Explanation))
    assert fields >= {
        "values", "data", "target", "prediction", "score", "baseline_score", "gap", "stderr",
        "evaluations", "seconds", "method", "parameters", "seed", "provenance", "plot", "top",
        "to_html", "_repr_html_", "save", "load", "reproduce",
    }  # fmt: skip
