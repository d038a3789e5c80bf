"""Maps that know nothing must lose: C8, and whether a score can be trusted at all."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, log2

import numpy as np

from pellucid.arrays import blur
from pellucid.standard.case import Case
from pellucid.standard.metric import JUDGED_BY, Metric
from pellucid.standard.statistics import lead, paired_p
from pellucid.standard.subject import Subject

FIXED = ("random", "edges", "constant")
"""Controls that are methods of their own, the same for every explanation."""
OWN = ("inverted", "blurred")
"""Controls made of the explanation itself."""
LEVEL = 0.05
FEWEST = ceil(log2(1 / LEVEL))
"""Fewer samples cannot reach the level, whatever they say."""


@dataclass(frozen=True)
class Contest:
    """An explanation against one control in one score.

    `p` is not corrected for how many contests there are: the gate wants all of them won, and the
    chance that a map which deserves to fail one passes all is then below the level as it is.
    """

    metric: str
    way: str
    control: str
    p: float
    median_difference: float
    """Of the samples, explanation minus control, turned so that more is better."""

    @property
    def won(self) -> bool:
        """Whether the explanation is better beyond chance."""
        return self.p < LEVEL


def own_controls(case: Case) -> dict[str, np.ndarray]:
    """The map upside down and, over space, blurred by an eighth of its longest side."""
    found = {"inverted": -case.positions}
    blurred = _blurred(case.positions, case.subject)
    return found if blurred is None else found | {"blurred": blurred}


def _blurred(positions: np.ndarray, subject: Subject) -> np.ndarray | None:
    pieces = np.split(positions, subject.borders, axis=1)
    found, any_space = [], False
    spatial = [any(d in {"height", "step", "depth"} for d in dims) for dims in subject.dims]
    for piece, shape, wide in zip(pieces, subject.shapes, spatial, strict=True):
        if not wide:
            found.append(piece)
            continue
        any_space = True
        image = piece.reshape(-1, *shape)
        axes = tuple(range(1, image.ndim))
        found.append(blur(image, max(shape) / 8, axes).reshape(len(piece), -1))
    return np.concatenate(found, axis=1) if any_space else None


def contests(
    own: Mapping[str, Mapping[str, np.ndarray]],
    controls: Mapping[str, Mapping[str, Mapping[str, np.ndarray]]],
    metrics: Mapping[str, Metric],
) -> tuple[Contest, ...]:
    """Each score of `JUDGED_BY` against each control; `{metric: {way: (n,)}}` each.

    In the units of utilities, in which no sample weighs more because its score hardly moves. A
    sample for which only the control has no number counts for neither, one for which only the
    explanation has none counts against it.
    """
    raw: list[Contest] = []
    for name in JUDGED_BY:
        if name not in own:
            continue
        sign = 1.0 if metrics[name].better == "higher" else -1.0
        for way, values in metrics[name].for_utility(own[name]):
            for control, scores in controls.items():
                other = dict(metrics[name].for_utility(scores.get(name, {}))).get(way)
                if other is None:
                    continue
                difference = lead(sign * values, sign * other)
                known = difference[~np.isnan(difference)]
                median = float(np.median(known)) if known.size else np.nan
                p = paired_p(sign * values, sign * other)
                raw.append(Contest(name, way, control, p, median))
    return tuple(raw)
