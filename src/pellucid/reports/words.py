"""An explanation in two plain sentences: what the method asks, and what was found here."""

from collections.abc import Sequence

import numpy as np

from pellucid.explanation import Explanation, Part
from pellucid.plots.image import image_map, is_image, picked
from pellucid.plots.noise import CONTROLS, SENSITIVITY, is_noise, value_for
from pellucid.plots.parts import first_image, percent, seen_parts, shares
from pellucid.plots.scale import WITHOUT_TARGET
from pellucid.plots.series import step_values
from pellucid.plots.style import elide, short_name
from pellucid.plots.table import is_of_tokens, top_features
from pellucid.reports.asks import ASKS

ACTIVATION_MAPS = frozenset(
    {"gradcam", "gradcam_plus_plus", "hirescam", "xgradcam", "layercam", "scorecam", "ablationcam"}
)
"""Maps that keep only what speaks for the target, unless `relu=False`."""

SATURATED = {
    "probability": "A saturated probability does this: explaining its logit shows more.",
    "output": "If the output is a saturated probability, explaining its logit (or the decision "
    "function) shows more.",
}

WORTH_TELLING = 0.1
"""The share of an input that gets a sentence of its own."""

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
    picked(explanation, sample, 0)
    nouns = {_nouns(explanation, i) for i in seen_parts(explanation)}
    unit, whole = nouns.pop() if len(nouns) == 1 else ("value", "input")
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
        sentences.append(
            f"Biases and epsilon keep {size} of the score, by the method's own rules."
            if explanation.keeps_shares
            else f"Its values miss the change in score they should add up to by {size}."
        )
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
    parts = [
        (p.values[sample], p.stderr[sample]) for p in explanation.parts if p.stderr is not None
    ]
    if not parts:
        return None
    size, error = (
        float(np.sqrt(sum(np.square(pair[i], dtype=np.float64).sum() for pair in parts)))
        for i in (0, 1)
    )
    return error / size if size > 0 and np.isfinite(error / size) else None


def _nouns(explanation: Explanation, part: int) -> tuple[str, str]:
    """What the parts and the whole of such an input are called."""
    dims = explanation.parts[part].dims
    if is_of_tokens(explanation, part):
        return "token", "sequence"
    if {"height", "width"} <= set(dims):
        return "pixel", "picture"
    if "step" in dims:
        return "time step", "series"
    if "feature" in dims:
        return "feature", "row"
    return "value", "input"


def _found(explanation: Explanation, sample: int) -> str:
    """The second sentence, for the kinds of input there are."""
    target = elide(short_name(explanation.target_names[sample]), 80)
    seen = seen_parts(explanation)
    values = [np.asarray(explanation.parts[i].values[sample]) for i in seen]
    if not all(np.isfinite(v).all() for v in values):
        return f"Some values for {target} are not finite, so nothing can be read from them."
    if not any(v.any() for v in values):
        return _found_nothing(explanation, seen, target)
    if explanation.method in CONTROLS:
        return _found_control(explanation, sample)
    if is_noise(explanation, sample):
        hint = SATURATED.get(explanation.explained, SATURATED["output"])
        hint = "" if explanation.explained == "logit" else f" {hint}"
        return (
            f"The score for {target} hardly changes (by less than float32 rounding): what is "
            f"drawn is noise.{hint}"
        )
    if len(explanation.parts) == 1:
        return _found_in_part(explanation, sample, 0, target)
    return _found_in_parts(explanation, sample, seen, target)


def _found_nothing(explanation: Explanation, seen: Sequence[int], target: str) -> str:
    """What an all-zero map means: a class activation map keeps only what speaks in favour."""
    if len(seen) == 1:
        whole = f"the {_nouns(explanation, seen[0])[1]}"
        others = _not_looked_at(explanation, seen)
    else:
        whole, others = f"any of the {len(seen)} inputs", ""
    if explanation.method in ACTIVATION_MAPS and explanation.parameters.get("relu", True):
        found = f"Every value is zero: no place in its layer speaks for {target}"
        return f"{found}, and evidence against is not kept.{others}"
    return f"Every value is zero: it found nothing in {whole} that bears on {target}.{others}"


def _found_in_parts(explanation: Explanation, sample: int, seen: Sequence[int], target: str) -> str:
    """How much lies on each input, then what was found in those that hold most."""
    held = shares(explanation, sample)
    order = sorted(seen, key=lambda i: -held[i])
    if len(order) == 1:
        found = _found_in_part(explanation, sample, order[0], target)
        return found + _not_looked_at(explanation, seen)
    names = [_quoted(explanation, i) for i in order]
    listed = [f"{percent(held[i])} on {n}" for i, n in zip(order[1:4], names[1:4], strict=True)]
    if len(order) > 4:
        listed.append(f"{percent(sum(held[i] for i in order[4:]))} on {len(order) - 4} others")
    what = "sensitivity" if explanation.method in SENSITIVITY else "attribution"
    first = (
        f"{percent(held[order[0]])} of the {what} lies on the input {names[0]}, {join(listed)}."
        f"{_not_looked_at(explanation, seen)}"
    )
    told = [i for i in order[:3] if i == order[0] or held[i] >= WORTH_TELLING]
    sentences = [
        f"In {_quoted(explanation, i)}: {found[:1].lower()}{found[1:]}"
        for i in told
        for found in [_found_in_part(explanation, sample, i, target)]
    ]
    return " ".join([first, *sentences])


def _not_looked_at(explanation: Explanation, seen: Sequence[int]) -> str:
    """Name the inputs that the method leaves out; with a space before it, or empty."""
    missed = [_quoted(explanation, i) for i in range(len(explanation.parts)) if i not in seen]
    verb = "was" if len(missed) == 1 else "were"
    word = "input" if len(missed) == 1 else "inputs"
    return f" The {word} {join(missed)} {verb} not looked at." if missed else ""


def _quoted(explanation: Explanation, part: int) -> str:
    return f"'{elide(explanation.parts[part].name, 40)}'"


def _found_in_part(explanation: Explanation, sample: int, number: int, target: str) -> str:
    """What was found in one input, as its kind asks for."""
    part = explanation.parts[number]
    values = np.asarray(part.values[sample], np.float64)
    if not values.any():
        return f"Every value is zero: it found nothing that bears on {target}."
    of_target = explanation.method not in WITHOUT_TARGET
    if is_image(part):
        if explanation.method in SENSITIVITY:
            return _found_sensitive(part, sample, target)
        return _found_in_picture(
            image_map(part, sample, densities=True), target, of_target=of_target
        )
    if "step" in part.dims:
        return _found_in_series(step_values(part, sample), target, of_target=of_target)
    return _found_in_table(explanation, sample, number, target)


def _found_control(explanation: Explanation, sample: int) -> str:
    image = first_image(explanation)
    if explanation.method == "edges" and image is not None:
        values = image_map(explanation.parts[image], sample)
        if values.any():
            place = mostly(np.abs(values))
            return (
                f"The edges lie {place}; a map that looks like this one says little of the model."
            )
    return "A method that cannot be told apart from this one has said nothing about the model."


def _found_sensitive(part: Part, sample: int, target: str) -> str:
    strength = np.abs(image_map(part, sample, "abs_sum"))
    share = half_share(strength)
    return (
        f"Half of the sensitivity of the score for {target} lies in {percent(share)} of the "
        f"picture, {mostly(strength)}."
    )


def _found_in_picture(values: np.ndarray, target: str, *, of_target: bool = True) -> str:
    favour, against = np.maximum(values, 0.0), np.maximum(-values, 0.0)
    total = float(favour.sum() + against.sum())
    if not favour.any():
        return f"Everything it marked speaks against {target}; it lies {mostly(against)}."
    what = f"the evidence for {target}" if of_target else "what it marks, which is of no class,"
    first = f"Half of {what} lies in {percent(half_share(favour))} of the picture, {mostly(favour)}"
    if not against.any():
        return f"{first}."
    share = float(against.sum()) / total
    against_it = f"{percent(share)} of all it marked speaks against"
    if 0.45 < share < 0.55:
        return f"{first}, but {against_it}: the two nearly cancel."
    return f"{first}{', but' if share > 0.5 else ';'} {against_it}."


def _found_in_series(steps: np.ndarray, target: str, *, of_target: bool = True) -> str:
    strength = np.abs(steps)
    width = max(1, len(steps) // 10)
    sums = np.convolve(strength, np.ones(width), mode="valid")
    start = int(sums.argmax())
    share = float(sums[start] / strength.sum())
    way = "for" if steps[start : start + width].sum() >= 0 else "against"
    stretch = f"steps {start} to {start + width - 1}" if width > 1 else f"step {start}"
    what = f"speaks {way} {target}" if of_target else "is of no class"
    return (
        f"The strongest stretch is {stretch}, which {what} and holds "
        f"{percent(share)} of all it marked."
    )


_ROUNDING = 1e-6
"""Of the strongest value: what is smaller is no reason."""


def _found_in_table(explanation: Explanation, sample: int, part: int, target: str) -> str:
    top = top_features(explanation, sample, 3, part=part)
    least = _ROUNDING * max((abs(f.attribution) for f in top), default=0.0)
    top = [f for f in top if abs(f.attribution) > least]
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
