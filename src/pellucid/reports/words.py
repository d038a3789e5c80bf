"""An explanation in two plain sentences: what the method asks, and what was found here."""

from collections.abc import Sequence

import numpy as np

from pellucid.explanation import Explanation
from pellucid.plots.image import image_map, is_image, picked
from pellucid.plots.scale import reduce_channels
from pellucid.plots.style import elide, short_name
from pellucid.plots.table import top_features

ASKS = {
    "saliency": "Asks how much the score would change if each {unit} were changed a very little "
    "(the gradient).",
    "gradient_x_input": "Multiplies each {unit} by its gradient: what it contributes if the model "
    "is taken to be a straight line here.",
    "integrated_gradients": "Lets the {whole} grow out of a baseline and adds up how much each "
    "{unit} raises or lowers the score on the way.",
    "smoothgrad": "Averages the gradient over noisy copies of the {whole}, so that only what "
    "survives small noise remains.",
    "gradcam": "Asks where, in one inner layer, the features that raise the score are active: a "
    "coarse map that keeps only evidence in favour.",
    "occlusion": "Covers the {whole} one part at a time and notes how far the score falls.",
    "random": "A control: it does not look at the model; its values are drawn by chance.",
    "edges": "A control: it does not look at the model, only at the edges in the {whole}.",
    "constant": "A control: it does not look at the model; every {unit} gets the same value.",
}
"""What each method asks of the model; `{unit}` and `{whole}` fit the kind of input."""

CONTROLS = frozenset({"random", "edges", "constant"})

SENSITIVITY = frozenset({"saliency", "smoothgrad"})
"""Gradients say where the score is touchy, not what it is made of: they are put into other words.
"""

WIDE_GAP = 0.05

LARGE_ERROR = 0.5

STANDS_OUT = 0.17
"""The share of a ninth of the picture that is named: half as much again as its even share."""

REGIONS = (
    ("in the upper left", "at the top", "in the upper right"),
    ("on the left", "in the centre", "on the right"),
    ("in the lower left", "at the bottom", "in the lower right"),
)


def meaning(explanation: Explanation, sample: int = 0) -> tuple[str, str]:
    """What the method asks, and what it found for this sample with what limits its weight."""
    part = picked(explanation, sample, 0)
    unit, whole = _nouns(part.dims)
    name = elide(explanation.method, 60)
    asks = f"The method {name} gives each {unit} a number of its own."
    if explanation.method in ASKS:
        asks = ASKS[explanation.method].format(unit=unit, whole=whole)
    return asks, " ".join([_found(explanation, sample), *caveats(explanation, sample)])


def caveats(explanation: Explanation, sample: int = 0) -> list[str]:
    """What the numbers themselves say against trusting this map."""
    sentences = []
    gap = value_for(explanation.gap, sample)
    if gap is not None and (not np.isfinite(gap) or gap > WIDE_GAP):
        size = percent(gap) if np.isfinite(gap) else "an unknown amount"
        sentences.append(f"Its values miss the change in score they should add up to by {size}.")
    error = relative_error(explanation, sample)
    if error is not None and error > LARGE_ERROR:
        sentences.append(
            f"Its sampling error is {percent(error)} of the map, so its detail may be chance."
        )
    if explanation.warnings:
        alone = len(explanation.parts[0].values) == 1
        sentences.append("It came with a warning." if alone else "Its batch came with a warning.")
    return sentences


def relative_error(explanation: Explanation, sample: int = 0) -> float | None:
    """The standard error as a share of the map, root mean square; None for exact methods."""
    part = explanation.parts[0]
    if part.stderr is None:
        return None
    size = float(np.sqrt(np.mean(np.square(part.values[sample], dtype=np.float64))))
    error = float(np.sqrt(np.mean(np.square(part.stderr[sample], dtype=np.float64))))
    return error / size if size > 0 and np.isfinite(error / size) else None


def value_for(field: object, sample: int) -> float | None:
    """One sample's entry of a field that may be None, a scalar or an array."""
    if field is None:
        return None
    flat = np.asarray(field, np.float64).reshape(-1)
    if flat.size == 0:
        return None
    return float(flat[min(sample, flat.size - 1)])


def percent(share: float) -> str:
    """A share as a person says it; never 0 % for something, nor 100 % for not quite all."""
    if 0 < share < 0.01:
        return "less than 1 %"
    if 0.99 < share < 1:
        return "over 99 %"
    return f"{round(100 * share):d} %"


def _nouns(dims: Sequence[str]) -> tuple[str, str]:
    """What the parts and the whole of such an input are called."""
    if {"height", "width"} <= set(dims):
        return "pixel", "picture"
    if "step" in dims:
        return "time step", "series"
    if "feature" in dims:
        return "feature", "row"
    return "value", "input"


def _found(explanation: Explanation, sample: int) -> str:
    """The second sentence, for the kind of input there is."""
    part = explanation.parts[0]
    target = elide(short_name(explanation.target_names[sample]), 80)
    values = np.asarray(part.values[sample], np.float64)
    whole = _nouns(part.dims)[1]
    if not np.isfinite(values).all():
        return f"Some values for {target} are not finite, so nothing can be read from them."
    if not values.any():
        return f"Every value is zero: it found nothing in the {whole} that bears on {target}."
    if explanation.method in CONTROLS:
        return _found_control(explanation, sample)
    if is_image(part):
        if explanation.method in SENSITIVITY:
            return _found_sensitive(explanation, sample, target)
        return _found_in_picture(image_map(part, sample), target)
    if "step" in part.dims:
        steps, dims = reduce_channels(values, part.dims[1:])
        steps = np.moveaxis(steps, dims.index("step"), 0).reshape(len(steps), -1).sum(axis=1)
        return _found_in_series(steps, target)
    return _found_in_table(explanation, sample, target)


def _found_control(explanation: Explanation, sample: int) -> str:
    part = explanation.parts[0]
    if explanation.method == "edges" and is_image(part):
        place = mostly(np.abs(image_map(part, sample)))
        return f"The edges lie {place}; a map that looks like this one says little of the model."
    return "A method that cannot be told apart from this one has said nothing about the model."


def _found_sensitive(explanation: Explanation, sample: int, target: str) -> str:
    strength = np.abs(image_map(explanation.parts[0], sample, "abs_sum"))
    share = half_share(strength)
    return (
        f"Half of the sensitivity of the score for {target} lies in {percent(share)} of the "
        f"picture, {mostly(strength)}."
    )


def _found_in_picture(values: np.ndarray, target: str) -> str:
    favour, against = np.maximum(values, 0.0), np.maximum(-values, 0.0)
    total = float(favour.sum() + against.sum())
    if not favour.any():
        return f"Everything it marked speaks against {target}; it lies {mostly(against)}."
    first = (
        f"Half of the evidence for {target} lies in {percent(half_share(favour))} of the picture, "
        f"{mostly(favour)}"
    )
    if not against.any():
        return f"{first}."
    share = float(against.sum()) / total
    against_it = f"{percent(share)} of all it marked speaks against"
    if 0.45 < share < 0.55:
        return f"{first}, but {against_it}: the two nearly cancel."
    return f"{first}{', but' if share > 0.5 else ';'} {against_it}."


def _found_in_series(steps: np.ndarray, target: str) -> str:
    strength = np.abs(steps)
    width = max(1, len(steps) // 10)
    sums = np.convolve(strength, np.ones(width), mode="valid")
    start = int(sums.argmax())
    share = float(sums[start] / strength.sum())
    way = "for" if steps[start : start + width].sum() >= 0 else "against"
    stretch = f"steps {start} to {start + width - 1}" if width > 1 else f"step {start}"
    return (
        f"The strongest stretch is {stretch}, which speaks {way} {target} and holds "
        f"{percent(share)} of all it marked."
    )


def _found_in_table(explanation: Explanation, sample: int, target: str) -> str:
    top = [f for f in top_features(explanation, sample, 3) if f.attribution]
    favour = join([elide(f.name, 40) for f in top if f.attribution > 0])
    against = join([elide(f.name, 40) for f in top if f.attribution < 0])
    if favour and against:
        return f"Strongest for {target}: {favour}; against it: {against}."
    return f"Strongest for {target}: {favour}." if favour else f"Against {target}: {against}."


def half_share(strength: np.ndarray) -> float:
    """The smallest share of places that together hold half of the total."""
    ordered = np.sort(strength.ravel())[::-1]
    held = np.cumsum(ordered)
    needed = int(np.searchsorted(held, held[-1] / 2)) + 1
    return needed / ordered.size


def mostly(strength: np.ndarray) -> str:
    """Where the strongest half lies, as the end of "it lies ..."."""
    regions = where(strength)
    return f"mostly {join(regions)}" if regions else "spread all over it"


def where(strength: np.ndarray) -> list[str]:
    """The ninths of the picture that hold most of its strongest half, up to three.

    Empty where no ninth stands out.
    """
    count = max(1, round(half_share(strength) * strength.size))
    threshold = np.sort(strength.ravel())[-count]
    core = np.where(strength >= threshold, strength, 0.0)
    rows = np.array_split(np.arange(core.shape[0]), 3)
    columns = np.array_split(np.arange(core.shape[1]), 3)
    shares = [
        (float(core[np.ix_(r, c)].sum() / core.sum()), REGIONS[i][j])
        for i, r in enumerate(rows)
        for j, c in enumerate(columns)
        if len(r) and len(c)
    ]
    shares.sort(key=lambda pair: -pair[0])
    if shares[0][0] < STANDS_OUT:
        return []
    names, held = [], 0.0
    for share, name in shares[:3]:
        if names and (held > 0.6 or share < STANDS_OUT):
            break
        names.append(name)
        held += share
    return names


def join(names: Sequence[str]) -> str:
    """Names as a list in a sentence."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
