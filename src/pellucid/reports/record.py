"""A study as plain data, for programs that read the report."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from pellucid.plots.image import is_image
from pellucid.plots.noise import value_for
from pellucid.plots.parts import looked_at, shares
from pellucid.reports.items import Answer, Study
from pellucid.reports.words import meaning

FORMAT = "pellucid-report/1"


def study_record(study: Study) -> dict[str, Any]:
    """Everything in the report but its pictures, in JSON's own types (no NaN)."""
    record = {
        "format": FORMAT,
        "title": study.title,
        "model": study.model,
        "notes": list(study.notes),
        "reproduce": study.reproduce,
        "scorecard": None if study.scorecard is None else study.scorecard.document(),
        "items": [
            {
                "name": item.name,
                "caption": item.caption,
                "predictions": [{"name": n, "probability": p} for n, p in item.predictions],
                "answers": [_answer(answer) for answer in item.answers],
            }
            for item in study.items
        ],
    }
    return plain(record)


def _answer(answer: Answer) -> dict[str, Any]:
    e, sample = answer.explanation, answer.sample
    asks, found = meaning(e, sample)
    return {
        "question": answer.question,
        "method": e.method,
        "parameters": e.parameters,
        "target": e.target_names[sample],
        "prediction": e.prediction_names[sample],
        "explained": e.explained,
        "score": value_for(e.score, sample),
        "baseline_score": value_for(e.baseline_score, sample),
        "gap": value_for(e.gap, sample),
        "batch": len(e.parts[0].values),
        "evaluations": e.evaluations._asdict(),
        "seconds": e.seconds,
        "seed": e.seed,
        "shape": list(e.parts[0].values.shape[1:]),
        "image": is_image(e.parts[0]),
        "inputs": [
            {
                "name": part.name,
                "shape": list(part.values.shape[1:]),
                "image": is_image(part),
                "looked_at": looked_at(e, i),
                "share": share,
            }
            for i, (part, share) in enumerate(zip(e.parts, shares(e, sample), strict=True))
        ],
        "asks": asks,
        "found": found,
        "warnings": list(e.warnings),
        "provenance": e.provenance,
    }


def plain(value: Any) -> Any:
    """`value` in JSON's types: small arrays as lists, large ones by shape, NaN as null."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, np.ndarray):
        if value.size > 64:
            return f"array of shape {value.shape}"
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(v) for v in value]
    return str(value)
