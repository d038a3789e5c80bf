"""Several models side by side: by what name, and which is as accurate as the best."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pellucid.errors import InputError
from pellucid.model import Model, wrap
from pellucid.standard.outputs import decisions
from pellucid.standard.statistics import holm

LEVEL = 0.05


def named_models(given: Any, x: Any) -> dict[str, Model]:
    """One model, a list of them or a dict by name, wrapped.

    Raises `InputError` for none.
    """
    if isinstance(given, Mapping):
        found = {str(name): wrap(model, example=x) for name, model in given.items()}
    elif isinstance(given, list):
        found = {f"model {i}": wrap(model, example=x) for i, model in enumerate(given, start=1)}
    else:
        found = {"model": wrap(given, example=x)}
    if not found:
        raise InputError("Expected a model, a list of models or a dict of them by name.")
    return found


def right(model: Model, x: Any, labels: np.ndarray) -> np.ndarray:
    """Whether the model decides as each label says, `(n,)`.

    `labels` are numbers of classes or their names. Raises `InputError` for other names, and for
    outputs that are no matrix.
    """
    outputs = model.predict(x)
    matrix = np.asarray(outputs) if isinstance(outputs, np.ndarray) else np.empty(0)
    if matrix.ndim not in {1, 2} or len(matrix) != len(labels):
        raise InputError("Labels tell how right a model is that returns one row of classes each.")
    matrix = matrix.reshape(len(matrix), -1)
    probability = any(model.adapter.final_activation(model.accept(x).leaves))
    given = "probability" if probability or model.output == "probability" else "logit"
    return decisions(matrix, given) == _numbers(labels, model)


def _numbers(labels: np.ndarray, model: Model) -> np.ndarray:
    if labels.dtype.kind in "biu":
        return labels.astype(np.int64)
    names = {str(name): i for i, name in enumerate(model.class_names or ())}
    unknown = sorted({str(label) for label in labels} - set(names))
    if unknown:
        raise InputError(
            f"Expected labels that are numbers of classes or their names; {unknown[0]!r} is none of"
            f" {', '.join(names) or 'a model without class names'}."
        )
    return np.array([names[str(label)] for label in labels])


def less_accurate(found: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Why models are out: less often right than the best one, beyond chance.

    McNemar's exact test on the samples where the two differ, one-sided, with Holm's correction.
    """
    best = max(found, key=lambda name: found[name].mean())
    others = [name for name in found if name != best]
    if not others:
        return {}
    p = holm([_mcnemar(found[best], found[name]) for name in others])
    return {
        name: f"{name} is right on {found[name].mean():.0%} of the samples, {best} on"
        f" {found[best].mean():.0%} (p = {value:.2g})"
        for name, value in zip(others, p, strict=True)
        if value < LEVEL
    }


def _mcnemar(better: np.ndarray, worse: np.ndarray) -> float:
    from scipy.stats import binomtest

    won, lost = int((better & ~worse).sum()), int((worse & ~better).sum())
    if won + lost == 0:
        return 1.0
    return float(binomtest(won, won + lost, alternative="greater").pvalue)


def labels_of(labels: Any, count: int) -> np.ndarray:
    """Labels as an array, one a sample."""
    found = np.asarray(labels)
    if found.shape != (count,):
        raise InputError(f"Expected {count} labels, one a sample, got shape {found.shape}.")
    return found
