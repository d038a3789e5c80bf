"""A metric of one's own goes wherever those that ship go."""

import json
import re
from importlib.metadata import EntryPoint

import numpy as np
import pandas
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression

from pellucid import Explainer, Goal, evaluate, register_metric, search
from pellucid.cli import main
from pellucid.errors import InputError, MethodError
from pellucid.standard import metric as registry
from pellucid.standard import metric_named, unregister_metric

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 6)).astype(np.float32)
WEIGHTS = RNG.normal(size=(6, 3)).astype(np.float32)


def model(x):
    return np.tanh(np.asarray(x) @ WEIGHTS)


@pytest.fixture
def largest_share():
    @register_metric("largest_share", axis="interpretability", better="higher", ideal=1.0)
    def largest_share(case):
        size = np.abs(case.positions)
        return size.max(axis=1) / size.sum(axis=1)

    yield
    unregister_metric("largest_share")


def own(values: np.ndarray) -> np.ndarray:
    size = np.abs(values)
    return size.max(axis=1) / size.sum(axis=1)


@pytest.mark.usefixtures("largest_share")
def test_it_is_in_the_scorecard_the_report_and_the_utilities(tmp_path):
    explainer = Explainer(model, ["occlusion"])
    card = explainer.evaluate(X, standard=["largest_share", "C1"])
    values = explainer.explain(X).values
    np.testing.assert_allclose(
        card.scores["occlusion"]["largest_share"][""], own(values), rtol=1e-6
    )
    assert "largest_share" in str(card)
    assert "largest share" in card.to_html()
    assert card.utilities()["occlusion"]["interpretability"] != 0
    assert card.compare("largest_share")[0]["explanation"] == "occlusion"
    page, *_ = explainer.visualize_all(X, tmp_path, evaluate={"standard": ["largest_share"]})
    found = re.search(r'id="pellucid-data">(.*?)</script>', page.read_text("utf-8"), re.DOTALL)
    assert found is not None
    record = json.loads(found.group(1))
    assert len(record["scorecard"]["scores"]["occlusion"]["largest_share"][""]) == len(X)


@pytest.mark.usefixtures("largest_share")
def test_a_goal_judges_by_it_and_limits_it():
    methods = ["occlusion", "constant"]
    goal = Goal({"interpretability": 1}, methods=methods, metrics=["largest_share"], budget=9000)
    assert Goal.from_toml(goal.to_toml()) == goal
    found = search(model, X, goal)
    assert found.chosen == "occlusion"
    assert found.winner
    limited = search(
        model, X, Goal(methods=methods, metrics=["C1"], minimum={"largest_share": 0.99})
    )
    assert limited.chosen is None
    assert "largest_share" in limited.verdict


def test_one_without_an_ideal_ranks_nothing_and_that_is_said():
    @register_metric("no_ideal", axis="interpretability")
    def no_ideal(case):
        return case.positions[:, 0]

    goal = Goal({"interpretability": 1}, methods=["occlusion"], metrics=["no_ideal"])
    try:
        with pytest.raises(InputError, match="register yours with ideal="):
            search(model, X, goal)
    finally:
        unregister_metric("no_ideal")


@pytest.mark.usefixtures("largest_share")
def test_the_command_line_knows_it(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    frame = pandas.DataFrame(X, columns=list("abcdef"))
    fitted = LogisticRegression().fit(frame, (X[:, 0] > 0).astype(int))
    skops.io.dump(fitted, "model.skops")
    frame.to_csv("data.csv", index=False)
    (tmp_path / "goal.toml").write_text(
        'methods = ["occlusion", "constant"]\nmetrics = ["largest_share"]\nbudget = 9000\n'
        "[weights]\ninterpretability = 1\n"
    )
    table = ("model.skops", "data.csv", "--no-progress")
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", *table, "--method", "occlusion", "--metrics", "largest_share",
              "--fail-under", "largest_share=0.99"])  # fmt: skip
    out = capsys.readouterr()
    assert ended.value.code == 3
    assert "largest_share" in out.out
    assert "asked was 0.99" in out.err
    with pytest.raises(SystemExit) as ended:
        main(["search", *table, "--goal", "goal.toml"])
    assert "occlusion is the winner" in capsys.readouterr().out
    assert ended.value.code == 0


class Point(EntryPoint):
    """What an installed package names; it registers its metric when it is loaded."""

    def load(self):
        if self.value == "good:f":
            register_metric(self.name, axis="interpretability")(lambda case: case.positions[:, 0])
        elif self.value == "broken:f":
            raise ImportError("no such module")


def test_installed_metrics_are_found_and_a_broken_one_costs_itself_only(monkeypatch):
    points: list[EntryPoint] = [Point("plugged", "good:f", ""), Point("lost", "broken:f", ""),
              Point("plain", "plain:f", "")]  # fmt: skip

    def installed(*, group: str) -> list[EntryPoint]:
        return points if group == "pellucid.metrics" else []

    monkeypatch.setattr(registry, "entry_points", installed)
    monkeypatch.setattr(registry, "_ENTRY_POINTS_READ", [])
    try:
        with pytest.warns(RuntimeWarning) as told:
            found = metric_named("plugged")
        assert found.axis == "interpretability"
        words = " ".join(str(w.message) for w in told)
        assert "no such module" in words
        assert "registers no metric 'plain'" in words
        assert evaluate(model, X, ["occlusion"], standard=["plugged"]).metrics == (found,)
    finally:
        unregister_metric("plugged")


@pytest.mark.parametrize("name", ["", "sgr", None])
def test_what_there_is_not_is_named(name):
    with pytest.raises(MethodError, match="No metric"):
        metric_named(name)
