"""Which of an estimator's methods is the score that is explained, and which one is shown."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import sklearn.base

from pellucid.adapters.sklearn.boosters import NativeBooster
from pellucid.adapters.sklearn.pipelines import inner
from pellucid.errors import CapabilityError

Verb = Callable[[Any], Any]


@dataclass(frozen=True)
class Verbs:
    """What is explained (`score`), and what people read (`shown`): the probabilities if any."""

    score: Verb
    score_name: str
    shown: Verb
    class_names: tuple[str, ...] | None

    def activation(self, table: Any) -> str | None:
        """What turns the score into the probability, as the numbers of a batch show; else None."""
        score, shown = self.score(table), self.shown(table)
        if isinstance(score, tuple) or isinstance(shown, tuple) or self.score == self.shown:
            return None
        if score.ndim == 1:
            of_class = shown[:, 1] if shown.ndim == 2 and shown.shape[1] == 2 else shown
            fits = of_class.shape == score.shape and _close(1 / (1 + np.exp(-score)), of_class)
            return "sigmoid" if fits else None
        if score.shape != shown.shape:
            return None
        powers = np.exp(score - score.max(axis=-1, keepdims=True))
        return "softmax" if _close(powers / powers.sum(axis=-1, keepdims=True), shown) else None


def _close(found: np.ndarray, expected: np.ndarray) -> bool:
    return np.allclose(found, expected, rtol=1e-4, atol=1e-5)


def verbs_of(estimator: Any) -> Verbs:
    """The verbs of a fitted estimator.

    Raises `CapabilityError` for one that predicts nothing, such as a transformer.
    """
    if isinstance(estimator, NativeBooster):
        shown = _arrays(estimator.predict)
        return Verbs(*(
            (_arrays(estimator.raw), "raw score", shown, None)
            if estimator.classifies
            else (shown, "predict", shown, None)
        ))  # fmt: skip
    names = _class_names(estimator)
    if names is not None or sklearn.base.is_classifier(estimator):
        return _of_classifier(estimator, names)
    for name in ("decision_function", "predict"):
        if hasattr(estimator, name):
            verb = _arrays(getattr(estimator, name))
            return Verbs(verb, name, verb, None)
    raise CapabilityError(
        f"A {type(estimator).__name__} predicts nothing: it has neither predict nor"
        " decision_function.\n  Pass the pipeline it is a step of."
    )


def _of_classifier(estimator: Any, names: tuple[str, ...] | None) -> Verbs:
    probability = getattr(estimator, "predict_proba", None)
    score, score_name = _decision(estimator, names)
    if score is None and probability is None:
        raise CapabilityError(
            f"This {type(estimator).__name__} gives labels only, and a label is no score.\n"
            "  Fit it so that it has predict_proba (for instance within CalibratedClassifierCV)."
        )
    shown = score if probability is None else _arrays(probability)
    if score is None:
        return Verbs(shown, "predict_proba", shown, names)  # type: ignore[arg-type]
    return Verbs(score, score_name, shown, names)  # type: ignore[arg-type]


def _decision(estimator: Any, names: tuple[str, ...] | None) -> tuple[Verb | None, str]:
    """The score below the probabilities, and what it is called there."""
    if hasattr(estimator, "decision_function"):
        pairs = getattr(estimator, "decision_function_shape", "ovr") == "ovo"
        if not (pairs and len(names or ()) > 2):  # one column for two classes each: no class scores
            return _arrays(estimator.decision_function), "decision_function"
    for flag in ("output_margin", "raw_score"):  # XGBoost's name of it, and LightGBM's
        # A pipeline hands on to its last step what it does not know.
        last = inner(estimator)
        if hasattr(last, "predict") and _takes(last.predict, flag):
            estimator = getattr(estimator, "best_estimator_", estimator)
            raw = functools.partial(estimator.predict, **{flag: True})
            return _arrays(raw), f"predict({flag}=True)"
    return None, ""


def _takes(function: Any, name: str) -> bool:
    try:
        return name in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False


def _arrays(verb: Verb) -> Verb:
    """Several outputs, which come as a list, as a tuple of arrays."""

    def run(x: Any) -> Any:
        out = verb(x)
        return tuple(map(np.asarray, out)) if isinstance(out, list) else np.asarray(out)

    return run


def _class_names(estimator: Any) -> tuple[str, ...] | None:
    classes = getattr(estimator, "classes_", None)
    if classes is None or isinstance(classes, list):
        return None  # several outputs, each with classes of its own
    return tuple(map(str, classes))
