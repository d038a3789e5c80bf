"""Which places of a layer to measure, so that what all of them see is known of a few."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

Interval = tuple[int, int]
"""First and last line seen, both included; (−1, −1) for none."""

NOTHING: Interval = (-1, -1)


@dataclass(frozen=True)
class Measured:
    """What one place was seen to see, in so many draws."""

    interval: Interval
    draws: int


def places_to_measure(
    known: Mapping[int, Measured], count: int, length: int, draws: int
) -> list[int]:
    """The places to be measured in one more draw; none where `known` tells the others.

    First both ends and their neighbours, in all draws. They say what windows that slide evenly see
    (`expected`). Next those that are cut off at a border, since padding within the network may
    leave gaps there, and two on the way. One draw is enough for what is as expected, or for all of
    the `length` lines. Where a place that is not cut off sees something else, all are measured.
    """
    whole = (0, length - 1)

    def open_(places: set[int]) -> list[int]:
        return sorted(
            u for u in places
            if u not in known or (known[u].draws < draws and known[u].interval != whole)
        )  # fmt: skip

    wanted = open_({u for u in (0, 1, count - 2, count - 1) if 0 <= u < count})
    if wanted or count <= 2:
        return wanted
    guessed = expected(known, count)
    cut_off = _cut_off(guessed, whole)
    # Golden section: no stride or upsampling repeats itself there.
    asked = cut_off | {count // 2, round(0.381966 * (count - 1))}
    strange = {u for u, m in known.items() if m.interval != tuple(guessed[u])}
    wanted = [u for u in sorted(asked) if u not in known] or open_(strange)
    if wanted or strange <= cut_off:
        return wanted
    return [u for u in range(count) if u not in known]


def _cut_off(guessed: np.ndarray, whole: Interval) -> set[int]:
    """The places up to the first and from the last whose field is not, those that see all apart."""
    low, high = guessed.T
    below, above = low > low[0], high < high[-1]
    first = int(below.argmax()) if below.any() else len(low) - 1
    last = len(low) - 1 - int(above[::-1].argmax()) if above.any() else 0
    sees_all = (low == whole[0]) & (high == whole[1])
    place = np.arange(len(low))
    return set(place[((place <= first) | (place >= last)) & ~sees_all].tolist())


def expected(known: Mapping[int, Measured], count: int) -> np.ndarray:
    """`(count, 2)`: the fields of equal windows that slide evenly, cut off at the borders.

    low(u) = max(low(0), low(n−1) − s (n−1−u)),   high(u) = min(high(n−1), high(0) + s′ u)

    with s and s′ the steps that the last two and the first two places show.
    """
    place = np.arange(count)
    (first_low, first_high), (last_low, last_high) = known[0].interval, known[count - 1].interval
    low_step = last_low - known[count - 2].interval[0]
    high_step = known[1].interval[1] - first_high
    low = np.maximum(first_low, last_low - low_step * (count - 1 - place))
    high = np.minimum(last_high, first_high + high_step * place)
    return np.stack([low, high], axis=1)


def filled(known: Mapping[int, Measured], count: int) -> np.ndarray:
    """The intervals of all places, `(count, 2)`, those measured as they were."""
    found = expected(known, count) if count > 2 else np.zeros((count, 2), int)
    for place, measured in known.items():
        found[place] = measured.interval
    return found
