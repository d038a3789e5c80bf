"""Whether what was found is more than the rounding of the score it was found in."""

import numpy as np

from pellucid.explanation import Explanation

CONTROLS = frozenset({"random", "edges", "constant"})

SENSITIVITY = frozenset({"saliency", "smoothgrad", "squaregrad", "vargrad"})
"""Gradients say where the score is touchy, not what it is made of: they are put into other words.
"""

OTHER_UNITS = frozenset({"squaregrad", "vargrad", "sobol", "hsic"})
"""Squares and shares, which do not compare with a score."""

ROUNDING = 1e-6
"""Attributions below this share of the score drown in the rounding of float32."""

NOTHING = 1e-20
"""Where the score itself is zero, no value this small was found in it."""


def value_for(field: object, sample: int) -> float | None:
    """One sample's entry of a field that may be None, a scalar or an array."""
    if field is None:
        return None
    flat = np.asarray(field, np.float64).reshape(-1)
    if flat.size == 0:
        return None
    return float(flat[min(sample, flat.size - 1)])


def is_noise(explanation: Explanation, sample: int) -> bool:
    """Whether the values are so small beside the score that they drown in float32 rounding.

    Gradients count times the range of their input, class activation maps times their positions,
    so that all are measured in units of the score.
    """
    score = value_for(explanation.score, sample)
    baseline = value_for(explanation.baseline_score, sample)
    known = [abs(s) for s in (score, baseline) if s is not None and np.isfinite(s)]
    size = max(known, default=0.0)
    if explanation.method in CONTROLS:
        return False
    if not size:
        largest = max(float(np.abs(p.values[sample]).max(initial=0)) for p in explanation.parts)
        return 0 < largest < NOTHING
    if score is not None and baseline is not None and abs(score - baseline) > 1e-5 * size:
        return False
    largest = total = 0.0
    for part in explanation.parts:
        strength = np.abs(part.values[sample], dtype=np.float64)
        if explanation.method in SENSITIVITY:
            strength = strength * float(np.ptp(part.inputs[sample]) or 1.0)
        elif "grid" in explanation.extras:
            strength = strength * np.atleast_1d(explanation.extras["grid"])[0].size
        largest = max(largest, float(strength.max(initial=0.0)))
        total += float(strength.sum())
    return 0 < largest < ROUNDING * size and total < 100 * ROUNDING * size


def below_rounding(explanation: Explanation, sample: int) -> bool:
    """Whether a picture would draw nothing but rounding."""
    return explanation.method not in OTHER_UNITS and is_noise(explanation, sample)
