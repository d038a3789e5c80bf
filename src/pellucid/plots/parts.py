"""Explanations with several inputs: which were looked at, and how much lies on each."""

import numpy as np

from pellucid.explanation import Explanation
from pellucid.inputs.layout import space_axes
from pellucid.plots.image import is_image, layer_words
from pellucid.plots.style import elide


def looked_at(explanation: Explanation, part: int) -> bool:
    """Whether the method's values say anything of this input.

    A class activation map is laid over one input; the others come back as zeros that mean nothing.
    """
    parts = explanation.parts
    cam = explanation.method == "gradcam" or "grid" in explanation.extras
    if len(parts) < 2 or not cam:
        return True
    chosen = parts[part]
    if chosen.values.any() or chosen.dims != chosen.input_dims:
        return True
    grid = explanation.extras.get("grid")
    if grid is None:
        return False
    over = [i for i, p in enumerate(parts) if len(space_axes(p.input_dims)) == np.ndim(grid) - 1]
    return over[:1] == [part]


def seen_parts(explanation: Explanation) -> list[int]:
    """The inputs that the method looked at, by number; never empty."""
    count = len(explanation.parts)
    return [i for i in range(count) if looked_at(explanation, i)] or list(range(count))


def shares(explanation: Explanation, sample: int) -> tuple[float, ...]:
    """What part of all |a| of one sample lies on each input; all 0 where every value is zero."""
    sums = [
        float(np.nan_to_num(np.abs(p.values[sample], dtype=np.float64), posinf=0.0).sum())
        for p in explanation.parts
    ]
    total = sum(sums)
    return tuple(s / total if total else 0.0 for s in sums)


def first_image(explanation: Explanation) -> int | None:
    """The number of the first input that is a picture; None where there is none."""
    return next((i for i, p in enumerate(explanation.parts) if is_image(p)), None)


def percent(share: float) -> str:
    """A share as a person says it; never 0 % for something, nor 100 % for not quite all."""
    if 0 < share < 0.01:
        return "less than 1 %"
    if 0.99 < share < 1:
        return "over 99 %"
    return f"{round(100 * share):d} %"


def part_label(explanation: Explanation, sample: int, part: int) -> str:
    """An input's name with its share, or an inner layer's; empty where there is only one input."""
    if len(explanation.parts) < 2:
        return layer_words(explanation, part)
    name = elide(explanation.parts[part].name, 30)
    if not looked_at(explanation, part):
        return f"{name}: not looked at"
    if len(seen_parts(explanation)) == 1:
        return name
    return f"{name}: {percent(shares(explanation, sample)[part])}"
