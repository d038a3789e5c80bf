"""The search for a goal: races, budgets, certificates, files to go on from."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from matplotlib.text import Text

import pellucid
from pellucid import Goal, evaluate, register_method, search
from pellucid.errors import BudgetError, CapabilityError, InputError, LoadError, MethodError
from pellucid.methods.registry import unregister_method
from pellucid.search.fingerprints import UnknownFunctionError, fingerprint
from pellucid.search.outcome import _front
from pellucid.search.race import LEVEL, Race, fresh, sizes
from pellucid.search.record import Record
from pellucid.search.samples import split
from pellucid.search.space import Candidate
from pellucid.search.utility import lead_bound
from pellucid.standard import metric_named

RNG = np.random.default_rng(0)
WEIGHTS = RNG.normal(size=(12, 3)).astype(np.float32)
HIDDEN = RNG.normal(size=(12, 12)).astype(np.float32) / 3


def model(x):
    return np.tanh(np.asarray(x) @ HIDDEN) @ WEIGHTS


def data(count: int = 24) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(count, 12)).astype(np.float32)


METHODS = ["occlusion", ("kernel_shap", {"budget": [40, 200]}), "random", "constant"]
GOAL = Goal({"credibility": 1}, methods=METHODS, metrics=["C1", "C2"])


@pytest.fixture(scope="module")
def found():
    return search(model, data(), GOAL, batch_size=64)


def test_a_search_chooses_a_method_that_knows_the_model(found):
    assert found.chosen in {"occlusion", "kernel_shap(budget=40)", "kernel_shap(budget=200)"}
    assert found.met
    assert found.certificate.beats_random
    assert found.certificate.samples == 10  # of 12: so that the budget holds the controls, too
    assert [g.passed for g in found.certificate.gates if g.identifier == "C8"] == [True]
    e = found.explainer.explain(data()[:2])
    assert e.method == found.trial(found.chosen).method


def test_what_knows_nothing_is_beaten_in_the_race_or_on_fresh_samples(found):
    constant = found.trial("constant")
    assert constant.round == 0
    assert "is better by" in constant.reason
    assert not constant.open
    line = next(c for c in found.certificate.lines if c.name == "random")
    assert line.p < 0.05
    assert line.lead_low > 0


def test_the_verdict_names_those_that_are_not_told_apart(found):
    assert not found.winner
    assert found.verdict.startswith("No significant winner")
    assert "kernel_shap(budget=200)" in found.verdict
    assert "constant" not in found.verdict


def test_a_third_of_the_whole_is_spent_at_most(found):
    assert found.budget == int(found.exhaustive / 3)
    assert 0 < found.spent <= found.budget


def test_two_copies_of_one_method_have_no_significant_winner():
    goal = Goal({"credibility": 1}, methods=["occlusion", "occlusion", "constant"], metrics=["C1"])
    found = search(model, data(), goal, batch_size=64)
    assert not found.winner
    assert "No significant winner" in found.verdict
    assert {found.chosen, *found.certificate.tied} == {"occlusion", "occlusion #2"}
    assert found.certificate.lines[1].p == 1.0
    assert found.certificate.lines[1].lead == 0.0


def test_a_clear_winner_is_called_one():
    goal = Goal({"credibility": 1}, methods=["occlusion", "constant", "random"], metrics=["C1"])
    found = search(model, data(), goal, batch_size=64)
    assert found.winner
    assert found.chosen == "occlusion"
    assert "better beyond chance than every rival" in found.verdict


class Counting:
    """The model, and how many rows it was asked about."""

    def __init__(self):
        self.rows = 0

    def __call__(self, x):
        self.rows += len(x)
        return model(x)


@pytest.mark.parametrize("budget", [3500, 4500, 7000])
def test_never_more_than_the_budget_as_the_model_itself_counts(budget):
    counting = Counting()
    goal = Goal({"credibility": 1}, methods=METHODS, metrics=["C1"], budget=budget)
    found = search(pellucid.wrap(counting), data(), goal, batch_size=32)
    assert counting.rows <= budget
    assert found.spent == counting.rows


def test_a_budget_that_holds_no_round_is_said_and_kept():
    counting = Counting()
    goal = Goal(methods=METHODS, metrics=["C1"], budget=300)
    with pytest.raises(BudgetError, match="does not hold the first round"):
        search(pellucid.wrap(counting), data(), goal, batch_size=32)
    assert counting.rows <= 300


def test_samples_of_the_certificate_had_no_part_in_the_race():
    seen = []

    @register_method("seen_samples")
    def seen_samples(model, x, target):
        seen.append(np.array(x))
        return np.asarray(x)

    try:
        goal = Goal({"credibility": 1}, methods=["seen_samples", "constant"], metrics=["C1"],
                    budget=20000)  # fmt: skip
        found = search(model, data(), goal, batch_size=64)
    finally:
        unregister_method("seen_samples")
    race, last = np.concatenate(seen[:-1]), seen[-1]
    assert len(last) == found.certificate.samples == 12
    assert not (race[:, None] == last[None]).all(axis=2).any()
    assert found.certificate.imputers == ("mean",)
    assert found.imputers == ("dataset",)


def test_an_error_of_one_candidate_drops_it_and_the_race_goes_on():
    @register_method("broken_method")
    def broken_method(model, x, target):
        raise ZeroDivisionError("nobody foresaw this")

    try:
        goal = Goal(methods=["broken_method", "occlusion", "saliency"], metrics=["C1"])
        found = search(model, data(), goal, batch_size=64)
    finally:
        unregister_method("broken_method")
    assert found.chosen == "occlusion"
    assert "nobody foresaw this" in found.trial("broken_method").reason
    assert "gradient" in found.trial("saliency").reason


def test_where_no_candidate_works_that_is_the_error():
    with pytest.raises(CapabilityError, match="saliency"):
        search(model, data(), Goal(methods=["saliency"], metrics=["C1"]))


class Killed(BaseException):
    """As an interrupt would be."""


def test_a_killed_search_goes_on_from_its_file(tmp_path, found):
    file = tmp_path / "search.json"
    calls = 0

    def kill(done, total):
        nonlocal calls
        calls += 1
        if calls == 4:
            raise Killed

    with pytest.raises(Killed):
        search(model, data(), GOAL, batch_size=64, file=file, progress=kill)
    held = json.loads(file.read_text("utf-8"))
    assert len(held["records"]) == 4
    assert [p.name for p in tmp_path.iterdir()] == ["search.json"]
    again = search(model, data(), GOAL, batch_size=64, file=file)
    assert again.chosen == found.chosen
    assert again.spent <= again.budget == found.budget
    assert again.rounds == found.rounds
    assert [t.name for t in again.trail] == [t.name for t in found.trail]
    for one, other in zip(again.trail, found.trail, strict=True):
        np.testing.assert_allclose(one.utility, other.utility, rtol=1e-6, atol=1e-9)
    assert "4 of the records" in str(again)


def test_a_finished_search_is_read_and_runs_nothing_again(tmp_path):
    file = tmp_path / "search.json"
    goal = Goal(methods=["occlusion", "constant"], metrics=["C1"])
    first = search(model, data(), goal, batch_size=64, file=file)
    second = search(model, data(), goal, batch_size=64, file=file)
    assert second.spent == first.spent
    assert second.verdict == first.verdict


def test_a_file_of_another_search_or_of_none_is_refused(tmp_path):
    file = tmp_path / "search.json"
    goal = Goal(methods=["occlusion", "constant"], metrics=["C1"])
    search(model, data(), goal, batch_size=64, file=file)
    with pytest.raises(InputError, match="another search: inputs"):
        search(model, data()[:20], goal, file=file)
    with pytest.raises(InputError, match="masks, background or parameters differ"):
        search(model, data(), goal, background=data(8) + 1, file=file)
    file.write_text("{}", encoding="utf-8")
    with pytest.raises(LoadError, match="no file of a search"):
        search(model, data(), goal, file=file)


def test_a_gate_that_is_asked_is_a_limit():
    net = torch.nn.Sequential(torch.nn.Linear(12, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    goal = Goal(methods=["gradient_x_input", "edges"], metrics=["C1", "C7"])
    found = search(net.eval(), data(), goal, batch_size=64)
    assert "parameter_dependence" in found.trial("edges").reason


def gates(found) -> dict[str, bool | None]:
    return {g.identifier: g.passed for g in found.certificate.gates}


def small_net() -> torch.nn.Module:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(12, 16), torch.nn.Tanh(), torch.nn.Linear(16, 3))
    return net.eval()


def test_the_chosen_one_passes_the_gates_on_fresh_samples():
    goal = Goal({"credibility": 1}, methods=["integrated_gradients", "constant"], metrics=["C1"])
    found = search(small_net(), data(), goal, batch_size=64)
    assert found.chosen == "integrated_gradients"
    assert gates(found) == {"C4": True, "C7": True, "C8": True}
    assert "gate C8 controls: passed (all beaten, p 0.0" in str(found)
    document = json.loads(found.to_json())
    assert [g["passed"] for g in document["certificate"]["gates"]] == [True] * 3
    assert found.spent <= found.budget


def test_a_map_that_knows_nothing_fails_the_gates_and_the_verdict_says_so():
    goal = Goal({"credibility": 1}, methods=["edges", "constant"], metrics=["C1"], budget=20000)
    found = search(small_net(), data(), goal, batch_size=64)
    assert gates(found)["C8"] is False
    assert gates(found)["C4"] is None
    assert "fails the gate" in found.verdict
    told = next(g.told for g in found.certificate.gates if g.identifier == "C8")
    assert "not beaten: " in told
    assert "random in srg (mean) (p = " in told


def test_gates_that_cannot_be_asked_say_why():
    goal = Goal({"credibility": 1}, methods=["occlusion", "constant"], metrics=["C1"])
    few = search(model, data(8), goal, batch_size=64)
    assert gates(few) == {"C4": None, "C7": None, "C8": None}
    told = {g.identifier: g.told for g in few.certificate.gates}
    assert "4 samples cannot tell" in told["C8"]
    assert "does not show its weights" in told["C7"]
    assert "does not claim to add up" in told["C4"]
    tight = replace(goal, budget=1700)
    found = search(model, data(), tight, batch_size=64)
    assert found.spent <= 1700
    assert {g.told for g in found.certificate.gates} == {"the budget does not hold it"}


def test_what_the_metrics_have_not_asked_the_gate_asks_itself():
    goal = Goal({"interpretability": 1}, methods=["integrated_gradients"], metrics=["I1"],
                budget=20000)  # fmt: skip
    found = search(small_net(), data(), goal, batch_size=64)
    assert gates(found)["C8"] is True
    same = evaluate(
        small_net(), data()[split(24, 0)[1]], ["integrated_gradients"], standard=["C1", "C2"],
        imputers=["mean"], background=data()[split(24, 0)[1]], batch_size=64,
    )  # fmt: skip
    p = max(c.p for c in same.contests["integrated_gradients"] if c.control != "blurred")
    told = next(g.told for g in found.certificate.gates if g.identifier == "C8")
    assert told == f"all beaten, p {p:.2g} at most"


def test_two_of_different_samples_are_compared_with_the_control_of_those_they_share():
    """The control is worse on later samples: a utility over all of its own would flatter."""
    runners, anchors = fresh(
        [Candidate("long", "model", "lime", {}), Candidate("short", "model", "occlusion", {})],
        ["model"],
    )
    control = [np.array([0.5, 0.5, 0.5]), np.array([-0.9, -0.9, -0.9])]
    own = {"long": [np.full(3, 0.6), np.full(3, 0.6)], "short": [np.full(3, 0.7)]}
    for runner, chunks in ((anchors["model"], control), *((runners[n], own[n]) for n in own)):
        runner.records = [Record({"subset_correlation": {"": c}}) for c in chunks]
        runner.samples, runner.evaluations = 3 * len(chunks), 1.0
    goal = Goal({"credibility": 1})
    race = Race(goal, runners, anchors, 6, 6, (metric_named("C2"),), None, lambda: 0)
    assert [r.candidate.name for r in _front(race)] == ["short"]
    shared = race.axes(runners["long"], 3)["credibility"]
    np.testing.assert_allclose(shared, (0.6 - 0.5) / (1 - 0.5))


def test_labels_are_looked_at_within_the_budget():
    goal = Goal(methods=["occlusion", "constant"], metrics=["C1"], budget=10)
    with pytest.raises(BudgetError, match="10 evaluations"):
        search(model, data(), goal, labels=np.zeros(24, dtype=int))


def test_rows_that_labels_took_are_planned_for():
    x = data()
    labels = model(x).argmax(axis=1)
    counting = Counting()
    goal = Goal({"credibility": 1}, methods=METHODS, metrics=["C1"])
    plain = search(model, x, goal, batch_size=32)
    found = search(pellucid.wrap(counting), x, goal, labels=labels, batch_size=32)
    assert found.exhaustive == plain.exhaustive + len(x)
    assert found.budget == int(found.exhaustive / 3)
    assert counting.rows == found.spent <= found.budget
    assert found.certificate.samples >= 6


def of_first(outputs):
    return outputs[:, 0]


def of_second(outputs):
    return outputs[:, 1]


def test_a_file_knows_functions_again_and_not_other_ones(tmp_path):
    file = tmp_path / "search.json"
    goal = Goal({"credibility": 1}, methods=["occlusion", "constant"], metrics=["C1"])
    first = search(model, data(), goal, target=of_first, batch_size=64, file=file)
    again = search(model, data(), goal, target=of_first, batch_size=64, file=file)
    assert again.spent == first.spent
    assert again.notes
    with pytest.raises(InputError, match="another search: target"):
        search(model, data(), goal, target=of_second, file=file)

    def scaled(factor):
        return lambda outputs: factor * outputs[:, 0]

    other = tmp_path / "closure.json"
    search(model, data(), goal, target=scaled(1.0), batch_size=64, file=other)
    search(model, data(), goal, target=scaled(1.0), batch_size=64, file=other)
    with pytest.raises(InputError, match="another search: target"):
        search(model, data(), goal, target=scaled(2.0), file=other)


def test_a_function_that_cannot_be_told_apart_begins_a_file_and_goes_on_with_none(tmp_path):
    class Weighted:
        def __call__(self, outputs):
            return outputs[:, 0]

    file = tmp_path / "search.json"
    goal = Goal({"credibility": 1}, methods=["occlusion", "constant"], metrics=["C1"])
    search(model, data(), goal, target=Weighted(), batch_size=64, file=file)
    with pytest.raises(InputError, match=r"cannot be gone on with.*Weighted"):
        search(model, data(), goal, target=Weighted(), batch_size=64, file=file)


def test_functions_are_known_by_what_they_do():
    offset = np.arange(3.0)

    def shifted(outputs):
        return outputs + offset

    assert fingerprint(shifted) == fingerprint(shifted)
    one = fingerprint(shifted)
    offset[0] = 9.0
    assert fingerprint(shifted) != one
    assert fingerprint(of_first) != fingerprint(of_second)
    assert fingerprint(partial(of_first, k=1)) != fingerprint(partial(of_first, k=2))
    assert fingerprint(np.mean) != fingerprint(np.median)
    for unknown in (np.random.default_rng(0).normal, Counting()):
        with pytest.raises(UnknownFunctionError):
            fingerprint(unknown)


def test_other_weights_and_a_larger_budget_use_the_file(tmp_path):
    file = tmp_path / "search.json"
    goal = Goal({"credibility": 1}, methods=METHODS, metrics=["C1", "C2"], budget=6000)
    first = search(model, data(), goal, batch_size=64, file=file)
    held = len(json.loads(file.read_text("utf-8"))["records"])
    counting = Counting()
    wrapped = pellucid.wrap(counting)
    with pytest.raises(InputError, match="another search: models"):
        search(wrapped, data(), goal, file=file)
    larger = search(model, data(), replace(goal, budget=20000), batch_size=64, file=file)
    alone = search(model, data(), replace(goal, budget=20000), batch_size=64)
    assert f"{held} of the records" in str(larger)
    assert (larger.chosen, larger.rounds) == (alone.chosen, alone.rounds)
    assert first.spent < larger.spent <= 20000
    weighed = replace(goal, weights={"credibility": 1, "speed": 1}, budget=20000)
    before = len(json.loads(file.read_text("utf-8"))["records"])
    other = search(model, data(), weighed, batch_size=64, file=file)
    assert f"{before} of the records" in str(other)
    assert other.spent <= 20000


def test_limits_drop_candidates_and_say_which():
    goal = Goal({"credibility": 1}, methods=METHODS, metrics=["C1"], evaluations=50)
    found = search(model, data(), goal, batch_size=64)
    assert "50 allowed" in found.trial("kernel_shap(budget=200)").reason
    goal = Goal(methods=["occlusion", "constant"], metrics=["C1"], minimum={"srg": 5})
    found = search(model, data(), goal, batch_size=64)
    assert found.chosen is None
    assert not found.met
    assert "at least 5 asked" in found.verdict
    with pytest.raises(CapabilityError, match="No candidate keeps"):
        found.explainer  # noqa: B018
    goal = Goal(methods=["kernel_shap", "occlusion"], metrics=["C1"], gap=0.05)
    found = search(model, data(), goal, batch_size=64)
    assert found.chosen == "kernel_shap"
    assert "claims no completeness" in found.trial("occlusion").reason


def test_the_result_is_drawn_written_and_made_again(found, tmp_path):
    document = json.loads(found.to_json())
    assert document["chosen"] == found.chosen
    assert {row["name"] for row in document["trail"]} == {t.name for t in found.trail}
    found.save(tmp_path / "found.json")
    assert json.loads((tmp_path / "found.json").read_text("utf-8")) == document
    figure = found.plot()
    assert len(figure.axes) == 2
    names = {"model": model, "x": data()[:3]}
    exec(found.reproduce(), names)
    chosen = found.explainer.explain(data()[:3])
    np.testing.assert_allclose(names["explanation"].values, chosen.values, rtol=1e-5, atol=1e-6)


def test_the_front_is_what_no_other_candidate_beats():
    goal = Goal({"credibility": 1, "speed": 1}, methods=METHODS, metrics=["C1"], budget=20000)
    found = search(model, data(), goal, batch_size=64)
    assert found.chosen in found.front
    assert "random" in found.front
    assert "constant" not in found.front


def test_models_are_part_of_what_is_chosen_and_the_inaccurate_are_out():
    x = data(40)
    labels = model(x).argmax(axis=1)

    def guesses(x):
        return np.asarray(x) @ WEIGHTS[::-1]

    goal = Goal(methods=["occlusion", "constant"], metrics=["C1"])
    found = search({"good": model, "bad": guesses}, x, goal, labels=labels, batch_size=64)
    assert found.accuracy["good"] == 1.0
    assert found.chosen == "good: occlusion"
    assert "bad is right on" in found.trial("bad: occlusion").reason
    both = search({"good": model, "bad": guesses}, x, goal, batch_size=64)
    assert {t.model for t in both.trail if t.samples} == {"good", "bad"}
    assert "models['" in both.reproduce()


def test_rounds_double_and_end_with_all():
    assert sizes(2) == [2]
    assert sizes(8) == [3, 8]
    assert sizes(20) == [3, 6, 12, 20]


def test_a_goal_goes_to_toml_and_back():
    goal = Goal(
        {"credibility": 2, "speed": 0.5}, seconds=1.5, evaluations=100, gap=0.01,
        minimum={"C1": 0.1}, metrics=["C1", "I1"], budget=1000,
        methods=["saliency", ("occlusion", {"window": [2, 4], "baseline": "zeros"})],
    )  # fmt: skip
    assert Goal.from_toml(goal.to_toml()) == goal
    assert Goal.from_toml("") == Goal()
    assert Goal.from_toml('methods = ["saliency"]') == Goal(methods=["saliency"])
    table = "[methods.occlusion]\nwindow = [2, 4]\n[methods.saliency]\n"
    assert Goal.from_toml(table) == Goal(methods={"occlusion": {"window": [2, 4]}, "saliency": {}})


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"weights": {"credible": 1}}, InputError, "credibility"),
        ({"weights": {"speed": -1}}, InputError, "0 or more"),
        ({"weights": {"speed": 0}}, InputError, "above 0"),
        ({"weights": 3}, InputError, "dict"),
        ({"seconds": 0}, InputError, "above 0"),
        ({"budget": "much"}, InputError, "number"),
        ({"minimum": {"srgg": 1}}, MethodError, "srg"),
        ({"minimum": {"srg": "high"}}, InputError, "number"),
        ({"metrics": []}, InputError, "metrics"),
        ({"methods": []}, InputError, "methods"),
        ({"methods": ["oclusion"]}, MethodError, "occlusion"),
        ({"methods": {"occlusion": {"windo": [3]}}}, MethodError, "window"),
        ({"methods": {"occlusion": {"window": []}}}, InputError, "nothing to choose"),
    ],
)
def test_a_goal_that_cannot_be_is_refused(given, error, words):
    with pytest.raises(error, match=words):
        Goal(**given)


@pytest.mark.parametrize("text", ["weights = [", "wheights = {speed = 1}"])
def test_a_goal_in_wrong_toml_is_refused(text):
    with pytest.raises(InputError, match=r"TOML|weights"):
        Goal.from_toml(text)


def test_what_cannot_be_searched_is_refused():
    with pytest.raises(InputError, match="4 samples"):
        search(model, data(3))
    with pytest.raises(InputError, match="Goal"):
        search(model, data(), {"credibility": 1})
    with pytest.raises(InputError, match="data set"):
        search(model, data(), Goal(methods=["feature_permutation"]))
    with pytest.raises(InputError, match="cannot be read"):
        search(model, data(), "no_such_goal.toml")
    with pytest.raises(pellucid.errors.TargetError):
        search(model, data(), GOAL, target=7)


def dropped_share(draw, *, level: float = LEVEL, races: int = 300) -> float:
    """How often one of two equal candidates is dropped in a race of 3, 6 and 12 samples."""
    dropped = 0
    for race in range(races):
        difference = draw(np.random.default_rng([race, 7]))
        bounds = []
        for stop in (3, 6, 12):
            own = difference[:stop]
            leads = own if own.mean() > 0 else -own  # whoever leads is compared with the other
            bounds.append(lead_bound(leads, level / 6, seed=race))
        dropped += max(bounds) > 0
    return dropped / races


@pytest.mark.parametrize(
    ("name", "draw"),
    [
        ("normal", lambda g: g.normal(size=12)),
        ("heavy tails", lambda g: g.standard_t(3, size=12)),
        ("even", lambda g: g.uniform(-1, 1, size=12)),
        ("mostly ties", lambda g: g.normal(size=12) * (g.uniform(size=12) < 0.5)),
    ],
)
def test_of_two_equal_candidates_one_is_rarely_dropped(name, draw):
    """5 % is what the race asks; the even one has ends too short for any bound of three samples."""
    assert dropped_share(draw) <= (0.1 if name == "even" else 0.06)


def test_a_lead_that_is_there_is_found_and_the_bound_is_the_seed_s():
    rng = np.random.default_rng(0)
    lead = 0.3 + 0.1 * rng.normal(size=12)
    assert lead_bound(lead, 0.01, seed=0) > 0.15
    assert lead_bound(lead[:3], 0.01, seed=0) < lead_bound(lead, 0.01, seed=0)
    assert lead_bound(lead, 0.01, seed=3) == lead_bound(lead, 0.01, seed=3)
    assert lead_bound(lead, 0.01, seed=3) != lead_bound(lead, 0.01, seed=4)
    assert lead_bound(np.full(5, 1e-12), 0.01, seed=0) == 0.0
    assert lead_bound(lead[:1], 0.01, seed=0) == -np.inf
    wide = rng.normal(0.5, 1, size=2000)
    plain = np.quantile(wide[rng.integers(2000, size=(4000, 2000))].mean(axis=1), 0.05)
    assert lead_bound(wide, 0.05, seed=0) == pytest.approx(plain, abs=0.01)


def test_names_in_the_picture_do_not_overlap(found):
    many = replace(found, trail=tuple(replace(t, on_front=True) for t in found.trail) * 2)
    figure = many.plot()
    figure.canvas.draw()
    names = [t for t in figure.axes[1].texts if t.get_text()]
    assert len(names) == 2 * len(found.trail)
    boxes = [Text.get_window_extent(t) for t in names]  # without the line to its point
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert all(figure.bbox.x0 <= b.x0 and b.x1 <= figure.bbox.x1 for b in boxes)
