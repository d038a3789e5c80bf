"""Problems by name: a model set by hand, samples, and what the right explanation is."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pellucid.errors import InputError, quote_nearest
from pellucid.testing.known.network import HandSet
from pellucid.testing.tiny import to_layout

FRAMEWORKS = ("numpy", "torch")


@dataclass(frozen=True, eq=False)
class KnownAnswer:
    """A model, samples of it and their right explanation.

    `truth`, of the shape of `x`, are the Shapley values of the score of `target` from a baseline
    that is `baseline` everywhere; `masks (n, *positions)` say what the model looks at for it,
    where that is a place. `network` is the model in NumPy, `model` in the framework asked for.
    """

    name: str
    network: HandSet
    x: np.ndarray
    truth: np.ndarray
    baseline: float = 0.0
    target: int | tuple[int, int] | None = None
    masks: np.ndarray | None = None
    model: Any = None

    def error(self, values: np.ndarray) -> np.ndarray:
        """The mean squared error of a map of each sample, `(n,)`, in squared units of the score."""
        if values.shape != self.truth.shape:
            raise InputError(f"Expected maps of shape {self.truth.shape}, got {values.shape}.")
        difference = values.astype(np.float64) - self.truth
        return (difference**2).reshape(len(values), -1).mean(axis=1)

    def score(self, x: np.ndarray) -> np.ndarray:
        """What is explained, `(n,)`, of rows with channels last."""
        out = self.network(x)
        if isinstance(self.target, tuple):
            return out[:, self.target[0]] - out[:, self.target[1]]
        return out[:, self.target or 0]


Maker = Callable[[np.random.Generator, int], KnownAnswer]


def known_answer(
    name: str, framework: str = "numpy", *, seed: int = 0, count: int = 20
) -> KnownAnswer:
    """The problem of this name, `count` samples drawn from `default_rng([seed, 50])`.

    Tables: "weighted_features", "conflicting", "pertinent_negatives" and
    "pertinent_negatives_from_one", "interacting_features", "uncertainty", "shattered_gradients",
    "boolean_and", "boolean_or", "suppressor"; words: "text_trigger"; pictures: "planted_objects",
    "tetromino_linear", "tetromino_multiplicative", "tetromino_xor" and "tetromino_rigid", each with
    "_correlated" behind it too, "stacked_blocks", "balanced_image", "imbalanced_image". The
    functions of `pellucid.testing.known.tables`, `.pictures` and `.scenes` say what each is.
    `framework` "torch" makes the model a torch module and lays x, truth and baseline out for it.

    Raises `InputError` for another name or framework.

    >>> problem = known_answer("weighted_features", count=2)
    >>> e = pellucid.explain(problem.model, problem.x, "exact_shapley")
    >>> bool(problem.error(e.values).max() < 1e-9)
    True
    """
    makers = _makers()
    if name not in makers:
        raise InputError(
            f"No known answer {name!r}: there are {', '.join(makers)}."
            f" {quote_nearest(name, makers)}".rstrip()
        )
    if framework not in FRAMEWORKS:
        raise InputError(f"Expected framework to be one of {FRAMEWORKS}, got {framework!r}.")
    made = makers[name](np.random.default_rng([seed, 50]), count)
    return replace(
        made,
        name=name,
        model=made.network.build(framework),
        x=to_layout(made.x, framework),
        truth=to_layout(made.truth, framework),
    )


def _makers() -> dict[str, Maker]:
    from pellucid.testing.known import pictures, scenes, tables

    return {
        name: function
        for room in (tables, pictures, scenes)
        for name, function in inspect.getmembers(room, inspect.isfunction)
        if function.__module__ == room.__name__ and not name.startswith("_")
    }


KNOWN_ANSWERS = (
    "weighted_features",
    "conflicting",
    "pertinent_negatives",
    "pertinent_negatives_from_one",
    "interacting_features",
    "uncertainty",
    "shattered_gradients",
    "boolean_and",
    "boolean_or",
    "suppressor",
    "text_trigger",
    "planted_objects",
    "tetromino_linear",
    "tetromino_multiplicative",
    "tetromino_xor",
    "tetromino_linear_correlated",
    "tetromino_multiplicative_correlated",
    "tetromino_xor_correlated",
    "tetromino_rigid",
    "tetromino_rigid_correlated",
    "stacked_blocks",
    "balanced_image",
    "imbalanced_image",
)
"""The names of all problems."""
