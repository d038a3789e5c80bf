"""Does it lie where the object is: I4 and the older names; masks are needed."""

from collections.abc import Callable

import numpy as np

from pellucid.standard.case import Case
from pellucid.standard.maps import levels_of, ranks_of
from pellucid.standard.metric import register_metric

Ratio = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _masks(case: Case) -> np.ndarray:
    if case.masks is None:
        raise RuntimeError("A metric that needs masks is skipped where there are none.")
    return case.masks


def _with_object(masks: np.ndarray, found: np.ndarray) -> np.ndarray:
    """NaN where the mask is empty or full: nothing can be located there."""
    inside = masks.sum(axis=1)
    return np.where((inside > 0) & (inside < masks.shape[1]), found, np.nan)


def mass_accuracy(positions: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Σ over the mask of a⁺ / Σ a⁺, `(n,)`; 0 for maps without a positive value."""
    positive = np.maximum(positions, 0)
    total = positive.sum(axis=1)
    inside = (positive * masks).sum(axis=1)
    return _with_object(masks, np.where(total > 0, inside / np.where(total > 0, total, 1), 0.0))


@register_metric(
    "localisation_lift", axis="interpretability", better="higher", needs=("masks",),
    identifier="I4", limits=(-np.inf, 1.0), ideal=1.0, told=("rank_accuracy", "pointing_game"),
    upward=("rank_accuracy", "pointing_game"), cost="0 F",
    source="Arras et al. 2022, eq. 2 (mass accuracy), over the mask's own share",
    without="the mask is empty or full",
)  # fmt: skip
def localisation_lift(case: Case) -> dict[str, np.ndarray]:
    """How much of the positive evidence lies on the object, over what a uniform map would have.

    (m − s) / (1 − s) with m = Σ_mask a⁺ / Σ a⁺ and s the mask's share of the positions: 0 for a
    uniform map, 1 where all of it lies inside. NaN for an empty or full mask; −s/(1 − s) for maps
    without a positive value. "rank_accuracy" and "pointing_game" are told beside it, as
    `relevance_rank_accuracy` and `pointing_game` have them; utilities and ranks are of the lift.
    """
    masks = _masks(case)
    share = masks.mean(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        lift = (mass_accuracy(case.positions, masks) - share) / (1 - share)
    return {
        "": lift,
        "rank_accuracy": relevance_rank_accuracy(case),
        "pointing_game": pointing_game(case),
    }


@register_metric(
    "relevance_mass_accuracy", axis="interpretability", better="higher", needs=("masks",),
    limits=(0.0, 1.0), ideal=1.0, cost="0 F", source="Arras et al. 2022, eq. 2",
    without="the mask is empty or full",
)  # fmt: skip
def relevance_mass_accuracy(case: Case) -> np.ndarray:
    """The share of the positive evidence that lies on the object: Σ_mask a⁺ / Σ a⁺."""
    return mass_accuracy(case.positions, _masks(case))


@register_metric(
    "relevance_rank_accuracy", axis="interpretability", better="higher", needs=("masks",),
    limits=(0.0, 1.0), ideal=1.0, cost="0 F", source="Arras et al. 2022, eq. 3",
    without="the mask is empty or full",
)  # fmt: skip
def relevance_rank_accuracy(case: Case) -> np.ndarray:
    """How many of the |S| largest positions lie on an object of |S| positions, as a share."""
    masks = _masks(case)
    ranks = ranks_of(case.positions, case.subject.generator(2))
    size = masks.sum(axis=1)
    inside = ((ranks < size[:, None]) & masks).sum(axis=1)
    return _with_object(masks, inside / np.maximum(size, 1))


@register_metric(
    "pointing_game", axis="interpretability", better="higher", needs=("masks",),
    limits=(0.0, 1.0), ideal=1.0, cost="0 F", source="Zhang et al. 2018, section 4.2",
    without="the mask is empty or full",
)  # fmt: skip
def pointing_game(case: Case) -> np.ndarray:
    """Whether the largest position lies on the object: 1 or 0.

    Of positions that are equally large, the share that lies on it: a constant map gets the mask's
    share of the picture, which is what a point chosen blindly gets, and no hit. NaN for an empty
    mask.
    """
    masks = _masks(case)
    levels = levels_of(case.positions)
    top = levels == levels.max(axis=1, keepdims=True)
    return _with_object(masks, (top & masks).sum(axis=1) / top.sum(axis=1))


@register_metric(
    "recall", axis="interpretability", better="higher", needs=("masks",),
    limits=(0.0, 1.0), ideal=1.0, cost="0 F", source="Arras et al. 2022, eq. 3",
    without="the mask is empty or full",
)  # fmt: skip
def recall(case: Case) -> np.ndarray:
    """The share of an object of |S| positions that the |S| largest positions cover.

    Of as many positions as the object has, the share that lies on it is the same number: recall,
    precision and `relevance_rank_accuracy` are one.
    """
    return relevance_rank_accuracy(case)
