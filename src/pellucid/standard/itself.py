"""A result that is judged with the model and the inputs it came from."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pellucid.errors import InputError
from pellucid.explanation import Explanation
from pellucid.standard.evaluate import evaluate
from pellucid.standard.scorecard import Scorecard


def evaluate_itself(e: Explanation, model: Any, options: Mapping[str, Any]) -> Scorecard:
    """`e` judged by `model`, None for the one that it was made of.

    `options` are those of `pellucid.evaluate`. Raises `InputError` where no model is given to an
    explanation that was loaded from a file, which holds none.

    >>> pellucid.explain(model, x, "occlusion").evaluate(standard=["I1"]).explanations
    ('occlusion',)
    """
    asked, x, target = e.asked_of or (None, None, None)
    if model is None and asked is None:
        raise InputError(
            "This explanation was loaded from a file, which holds no model.\n"
            "  e.evaluate(model) judges it with the model it is of."
        )
    if x is None:  # what the model was fed, after any preprocessing
        x, asked = e.inputs, None if asked is None else replace(asked, preprocess=None)
    given = {"target": target if callable(target) else None, **options}
    return evaluate(asked if model is None else model, x, {e.method: e}, **given)
