"""Every example in a docstring of the package runs and prints what it says."""

import doctest
import importlib
import sys
from pathlib import Path

import keras
import numpy as np
import pandas
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

import pellucid
import pellucid.inside
from pellucid.methods import registry
from pellucid.testing import build

SOURCE = Path(pellucid.__file__).parent
FILES = [p for p in sorted(SOURCE.rglob("*.py")) if ">>> " in p.read_text("utf-8")]

FACTORY = """
import numpy as np


def build():
    return lambda x: x @ np.ones((4, 2), dtype=np.float32)
"""


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(p for p in parts if p != "__init__")


def tiny_cnn() -> keras.Model:
    """Pictures of 12 by 10 in three colours to two classes; its layer "features" is a map."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((12, 10, 3)),
            keras.layers.Conv2D(4, 3, activation="relu", name="features"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )


def linear_model() -> torch.nn.Module:
    """f(x) = 2 x₀ + x₁."""
    model = torch.nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[2.0, 1.0]]))
    return model


def of_a_table() -> dict:
    """A table of two columns and models of it, for which the dose counts most."""
    values = np.random.default_rng(0).normal(size=(40, 2))
    table = pandas.DataFrame(values, columns=["age", "dose"])
    labels = (3 * table["dose"] + table["age"] > 0).to_numpy()
    forest = RandomForestClassifier(5, random_state=0).fit(table, labels)
    model = LogisticRegression().fit(table, labels)
    names = {name: getattr(pellucid.effects, name) for name in pellucid.effects.__all__}
    names |= {name: getattr(pellucid.inside, name) for name in pellucid.inside.__all__}
    return names | {"table": table, "labels": labels, "forest": forest, "model": model,
                    "estimator": model}  # fmt: skip


def names_for(example: doctest.DocTest) -> dict:
    """What the docstrings take as given: the public list, a `model` or `linear`, and its `x`."""
    given = {name: getattr(pellucid, name) for name in pellucid.__all__}
    given |= {"pellucid": pellucid, "np": np, "w": np.array([[2.0], [1.0]], dtype=np.float32)}
    if any("vit" in e.source for e in example.examples):
        vit, pictures = build("vit", "torch")
        return given | {"vit": vit, "pictures": pictures}
    if any("linear" in e.source for e in example.examples):
        return given | {"linear": linear_model(), "x": np.array([[3.0, 4.0]], dtype=np.float32)}
    if any(word in e.source for e in example.examples for word in ("table", "ale(", "ice(")):
        return given | of_a_table()
    x = np.random.default_rng(0).uniform(size=(2, 12, 10, 3)).astype(np.float32)
    return given | {"model": tiny_cnn(), "x": x}


def examples() -> list:
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = []
    for path in FILES:
        name = module_name(path)
        tests = finder.find(importlib.import_module(name), name)
        found += [pytest.param(test, id=test.name) for test in tests if test.examples]
    return found


EXAMPLES = examples()


def test_no_example_is_overlooked():
    written = sum(p.read_text("utf-8").count(">>> ") for p in FILES)
    assert sum(len(case.values[0].examples) for case in EXAMPLES) == written


@pytest.mark.parametrize("example", EXAMPLES)
def test_docstring(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_REGISTERED", dict(registry._REGISTERED))
    if "adapters.loading" in example.name:
        tiny_cnn().save("model.keras")
        (tmp_path / "my_project").mkdir()
        (tmp_path / "my_project" / "models.py").write_text(FACTORY)
        monkeypatch.delitem(sys.modules, "my_project", raising=False)
        monkeypatch.delitem(sys.modules, "my_project.models", raising=False)
    example.globs |= names_for(example)
    out: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    result = runner.run(example, out=out.append)
    assert result.failed == 0, "".join(out)
