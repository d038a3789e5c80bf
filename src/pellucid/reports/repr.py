"""An explanation in a notebook's cell: no script, no files, a little style of its own."""

import hashlib

import numpy as np

from pellucid.explanation import Explanation
from pellucid.plots.image import image_map, is_image, picture_of, signed_part
from pellucid.plots.noise import value_for
from pellucid.plots.parts import part_label, seen_parts
from pellucid.plots.scale import Scale
from pellucid.plots.style import elide, number, short_name
from pellucid.reports.cells import Bar, feature_bars, ramp, series_uri
from pellucid.reports.images import composed_uri
from pellucid.reports.page import render_template
from pellucid.reports.words import meaning, percent

MOST_PARTS = 3
"""Inputs that a cell draws; the words name the rest."""


def explanation_html(explanation: Explanation, max_samples: int = 8) -> str:
    """The explanation as an HTML fragment of at most 1 MB, for `_repr_html_` and `to_html`."""
    parts = explanation.parts
    count = len(explanation)
    told = seen_parts(explanation)[:MOST_PARTS]
    pictures = sum(is_image(parts[i]) or "step" in parts[i].dims for i in told)
    shown = range(min(count, max(max_samples, 0) // max(pictures, 1)))
    scale = None
    images = [i for i in told if is_image(parts[i])]
    if images and len(shown):
        maps = [image_map(parts[k], i) for k in images for i in shown]
        scale = Scale.of(maps, signed=any(signed_part(explanation, k) for k in images))
    cards = [card_of(explanation, i, told, scale) for i in shown]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(np.ascontiguousarray(part.values[: len(shown)]).tobytes())
    scope = digest.hexdigest()
    return render_template(
        "explanation.html.j2",
        scope=f"pellucid-{scope[:10]}",
        method=elide(explanation.method, 80),
        facts=_facts(explanation, scale),
        asks=meaning(explanation, 0)[0] if count else "",
        cards=cards,
        more=count - len(shown),
        warnings=[elide(w, 300) for w in explanation.warnings[:8]],
        ramp=ramp(scale.signed) if scale is not None else "",
        signed=scale is not None and scale.signed,
        top=number(scale.limit) if scale is not None else "",
    )


def card_of(
    explanation: Explanation, sample: int, told: list[int], scale: Scale | None
) -> dict[str, object]:
    """One sample: the pictures or bars of its inputs, and its line of words."""
    layers = []
    for i in told:
        part = explanation.parts[i]
        uri, bars = "", list[Bar]()
        if is_image(part) and scale is not None:
            uri = composed_uri(picture_of(part, sample), image_map(part, sample), scale)
        elif "step" in part.dims:
            uri = series_uri(explanation, sample, i)
        else:
            bars = list(feature_bars(explanation, sample, 0.0, count=6, part=i))
        layers.append({"label": part_label(explanation, sample, i), "uri": uri, "bars": bars,
                       "narrow": is_image(part)})  # fmt: skip
    gap = value_for(explanation.gap, sample)
    score = value_for(explanation.score, sample)
    line = "" if score is None else f"{explanation.explained} {number(score)}"
    if gap is not None:
        line += f", gap {percent(gap) if np.isfinite(gap) else 'not finite'}"
    return {
        "target": elide(short_name(explanation.target_names[sample]), 60),
        "layers": layers,
        "wide": not all(layer["narrow"] for layer in layers),
        "line": line,
        "found": elide(meaning(explanation, sample)[1], 400 * len(told)),
    }


def _facts(explanation: Explanation, scale: Scale | None) -> str:
    """One line of numbers below the title."""
    shapes = [" × ".join(str(n) for n in part.values.shape) for part in explanation.parts]
    if len(shapes) > 1:
        names = [elide(part.name, 30) for part in explanation.parts]
        shapes = [f"{name} {shape}" for name, shape in zip(names, shapes, strict=True)][:6]
        shapes.insert(0, f"{len(explanation.parts)} inputs")
    counted = explanation.evaluations
    runs = [f"{n:,} {word}" for n, word in zip(counted, counted._fields, strict=True) if n]
    facts = [
        *shapes,
        f"evaluations: {', '.join(runs) or 'none'}",
        f"{explanation.seconds:.2f} s",
        f"seed {explanation.seed}",
    ]
    if scale is not None:
        facts.append(scale.words())
    return " · ".join(facts)
