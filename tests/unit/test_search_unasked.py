"""What cannot be asked is said, and speed alone makes no winner."""

import numpy as np
from test_search_copies import data, network

from pellucid import Goal, search


def test_a_metric_that_cannot_be_asked_is_named_and_speed_alone_makes_no_winner():
    methods = ["saliency", ("integrated_gradients", {"steps": 16}), ("occlusion", {"window": 2})]
    found = search(network(), data(), Goal(methods=methods, metrics=["I4"]), batch_size=64)
    assert not found.winner
    assert "No winner: nothing but speed" in found.verdict
    assert "localisation_lift could not be asked: it needs masks=" in found.verdict
    assert any("localisation_lift could not be asked" in r for r in found.remarks())


def test_the_others_decide_where_one_cannot_be_asked():
    methods = [("occlusion", {"window": 2}), "constant"]
    goal = Goal({"credibility": 1}, methods=methods, metrics=["C1", "I4"])
    found = search(network(), data(), goal, batch_size=64)
    assert found.winner
    assert "localisation_lift could not be asked" in found.verdict
    masks = np.zeros((14, 8, 8), dtype=bool)
    masks[:, 2:5, 2:5] = True
    asked = search(network(), data(), goal, masks=masks, batch_size=64)
    assert "could not be asked" not in asked.verdict
    empty = search(network(), data(), goal, masks=np.zeros_like(masks), batch_size=64)
    assert "localisation_lift could not be asked: it has no number where the mask is" in (
        empty.verdict
    )


def test_what_the_chosen_one_alone_lacks_is_a_remark():
    goal = Goal({"credibility": 1}, methods=["occlusion", "constant"], metrics=["C1", "C4"])
    found = search(network(), data(), goal, batch_size=64)
    assert found.chosen == "occlusion"
    told = [r for r in found.remarks() if r.startswith("completeness")]
    assert told


def test_a_goal_may_ask_for_the_recall_of_the_masks():
    masks = np.zeros((14, 8, 8), dtype=bool)
    masks[:, :4] = True
    inside = {"occlusion": {"window": 2}, "edges": {}}
    goal = Goal(methods=inside, metrics=["C1"], minimum={"recall": 0.95})
    found = search(network(), data(), goal, masks=masks, batch_size=64)
    assert found.chosen is None
    assert "recall" in found.verdict
    reached = Goal(methods=inside, metrics=["C1"], minimum={"recall": 0.1})
    assert search(network(), data(), reached, masks=masks, batch_size=64).met
