"""What a board says of rows: their numbers in the data set, and no slices made of the errors."""

from dataclasses import replace

import numpy as np
import pytest

import pellucid
from pellucid.plain import readable

CLASSES = ("cat", "dog", "bird")


def pictures(seed: int, count: int = 1200):
    """Pictures that hold the answer a model gives, and labels that differ from it at random."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    wrong = rng.random(count) < 0.1
    said = np.where(wrong, (labels + rng.integers(1, 3, count)) % 3, labels)
    x = rng.uniform(size=(count, 4, 4, 1)).astype(np.float32)
    x[:, 0, :3, 0] = 9 * np.eye(3)[said]  # as bright and as full of contrast for every answer
    return x, labels


def told(a):
    return (0.9 * a[:, 0, :3, 0] / 9 + 1 / 30).astype(np.float32)


def test_random_errors_of_pictures_make_no_slices():
    found = 0
    for seed in range(20):
        x, labels = pictures(seed)
        made = pellucid.board(told, x, labels, class_names=CLASSES, examples=0, alpha=0.01)
        assert not any("predicted" in c for s in made.slices for c in s.conditions)
        found += len(made.slices)
    # Of 20 boards at 1 %: two or more have a probability of 0.017.
    assert found <= 1


def test_a_class_that_errs_more_is_a_slice_of_pictures():
    x, labels = pictures(0)
    dogs = np.flatnonzero(labels == 1)[::2]
    x[dogs, 0, :3, 0] = [0, 0, 9]
    made = pellucid.board(told, x, labels, class_names=CLASSES, examples=0)
    assert made.slices[0].conditions == ("true class = dog",)
    assert "errors differ by class" in made.slices.note


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_rows_of_a_sample_are_numbered_as_in_the_data_set(kind):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(3000, 2)).astype(np.float32)
    x[:, 1] = np.arange(3000)
    site = rng.integers(0, 2, 3000)
    wrong = (rng.random(3000) < np.where(site == 1, 0.5, 0.02)).astype(float)
    if kind == "classes":
        y = ((x[:, 0] > 0) ^ (wrong > 0)).astype(int)
        model = pellucid.wrap(lambda a: 1 / (1 + np.exp(-a[:, 0])), output="probability")
    else:
        y = 7 * x[:, 0] + 5 * wrong * rng.normal(size=3000)
        model = pellucid.wrap(lambda a: 7 * a[:, 0])
    made = pellucid.board(model, x, y, slices={"site": site}, sample=900, examples=2)
    (found,) = made.slices
    assert found.conditions == ("site = 1",)
    assert (site[found.rows] == 1).all()
    assert len(found.rows) == found.size
    for example in (e for g in made.examples for e in g.examples):
        row = made.explanation.parts[0].inputs[example.place]
        assert row[1] == example.row
        assert float(example.label.split()[-1]) == pytest.approx(float(y[example.row]), rel=1e-3)


def test_warnings_of_examples_say_which_rows_those_are():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3)).astype(np.float32)
    model = pellucid.wrap(lambda a: 1 / (1 + np.exp(-(a[:, 0] ** 3))), output="probability")
    made = pellucid.board(
        model, x, (x[:, 0] > 0.3).astype(int), sample=200, examples=1, method="lime",
        parameters={"budget": 64},
    )  # fmt: skip
    assert made.explanation.warnings
    rows = sorted({(e.place, e.row) for g in made.examples for e in g.examples})
    words = ", ".join(str(row) for _, row in rows)
    assert [w for w in made.warnings if w.startswith("Examples")] == [
        f"Examples (samples 0, 1, … are rows {words}): {w}" for w in made.explanation.warnings
    ]


def of_places():
    """A digits network that weighs each place by itself, as most small ones do, trained a second;
    averaged gradients say nothing there."""
    import torch
    from sklearn.datasets import load_digits

    data = load_digits()
    x = (data.images[:, None] / 16).astype(np.float32)
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
        torch.nn.Flatten(), torch.nn.Linear(128, 10),
    )  # fmt: skip
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(40):
        loss = torch.nn.functional.cross_entropy(
            network(torch.tensor(x[:1000])), torch.tensor(data.target[:1000])
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval(), x[1000:1300], data.target[1000:1300]


def test_examples_are_explained_by_a_method_that_says_something():
    network, x, labels = of_places()
    plain = pellucid.explain(network, x, "gradcam")
    assert (~plain.values.reshape(len(x), -1).any(axis=1)).mean() > 0.3
    made = pellucid.board(network, x, labels, examples=2)
    assert made.explanation.method == "integrated_gradients"
    assert made.explanation.values.reshape(len(made.explanation), -1).any(axis=1).all()
    note = next(n for n in made.notes if "explained by integrated_gradients" in n)
    assert "the maps of gradcam are zero everywhere" in note
    stage = next(s for s in made.stages if s.name == "examples")
    assert stage.evaluations > made.explanation.evaluations.forward
    asked = pellucid.board(network, x, labels, examples=2, method="gradcam")
    assert asked.explanation.method == "gradcam"


def test_a_report_leaves_out_what_is_zero_for_every_sample():
    network, x, _ = of_places()
    empty = ~pellucid.explain(network, x, "gradcam").values.reshape(len(x), -1).any(axis=1)
    some = pellucid.report(network, x[empty][:3], evaluate=False)
    methods = {a.explanation.method for i in some.study.items for a in i.answers}
    assert methods == {"integrated_gradients", "occlusion"}
    assert any(n.startswith("gradcam is left out") and "relu=False" in n for n in some.study.notes)
    asked = pellucid.report(network, x[empty][:3], evaluate=False, methods=["gradcam", "saliency"])
    assert {a.explanation.method for a in asked.study.items[0].answers} == {"gradcam", "saliency"}


def a_table(labels):
    x = np.random.default_rng(2).normal(size=(300, 3)).astype(np.float32)
    return (lambda a: np.stack([-a[:, 1], a[:, 1]], axis=1)), x, labels(x)


@pytest.mark.parametrize("labels", [lambda x: (x[:, 1] < 0).astype(int), lambda x: x[:, 0] * 0])
def test_columns_of_no_importance_are_not_named(labels):
    model, x, y = a_table(labels)
    made = pellucid.board(model, x, y.astype(int), examples=1, feature_names=["a", "b", "c"])
    named = [r[0] for r in made.importance.beyond_chance().rows]
    assert not {"a", "c"} & set(named)
    said = next(line for line in str(made).splitlines() if "counts most" in line)
    assert said == f"  counts most: {', '.join(named) or 'no column, beyond chance'}"
    page = made.to_html()
    assert ("No column counts beyond chance." in page) == (not named)


def test_a_column_that_counts_is_named_alone():
    model, x, y = a_table(lambda x: (x[:, 1] > 0).astype(int))
    made = pellucid.board(model, x, y, examples=1, feature_names=["a", "b", "c"])
    assert [r[0] for r in made.importance.beyond_chance().rows] == ["b"]
    assert "  counts most: b\n" in str(made)


def test_a_model_that_is_always_sure_has_no_least_sure_rows():
    _, x, y = a_table(lambda x: (x[:, 1] > 0.1).astype(int))
    made = pellucid.board(lambda a: np.eye(2)[(a[:, 1] > 0).astype(int)], x, y, examples=2)
    assert [g.title for g in made.examples] == ["Surely wrong", "Surely right"]


def test_rounding_is_no_reason():
    from pellucid.reports.words import meaning

    x = np.array([[1.0, 2.0, 3.0]])
    made = pellucid.explain(lambda a: a[:, 1:2], x, "occlusion", target=0)
    values = np.array([[1e-16, 2.0, -1e-16]], np.float32)
    made = replace(made, parts=(replace(made.parts[0], values=values),))
    assert meaning(made)[1].startswith("Strongest for the output: feature 1.")


def test_a_report_says_each_sample_s_label_and_a_number_s_tree_once():
    x = np.random.default_rng(2).normal(size=(80, 2)).astype(np.float32)
    made = pellucid.report(lambda a: a[:, :1], x, x[:, 0].round(2), examples=2, evaluate=False)
    for item in made.study.items:
        label = x[int(item.name.split()[1]), 0].round(2)
        assert item.caption == f"Its label is {readable(label)}."
    assert made.tree.title == "A tree that imitates the output"


@pytest.mark.parametrize(
    ("labels", "said"),
    [([True, False] * 20, "True"), (["ill", "well"] * 20, "ill"), ([1, 0] * 20, "1"),
     (np.array([0.5, 2.0] * 20, object), "0.5")],
)  # fmt: skip
def test_labels_of_any_kind_are_said(labels, said):
    x = np.random.default_rng(0).normal(size=(40, 3))
    names = ["well", "ill"] if said == "ill" else None
    numbers = said == "0.5"
    model = pellucid.wrap(
        (lambda a: a[:, 0] * 9) if numbers else lambda a: np.stack([-a[:, 0], a[:, 0]], axis=1),
        class_names=names,
    )
    made = pellucid.report(model, x, labels, examples=40, evaluate=False, methods=["occlusion"])
    assert made.study.items[0].caption == f"Its label is {said}."
