"""scikit-learn estimators and pipelines, and what has their interface (XGBoost, LightGBM)."""

import hashlib
import pickle
from collections.abc import Callable, Sequence
from typing import Any

import joblib
import sklearn.exceptions
import sklearn.utils.validation

from pellucid.adapters.facts import Part
from pellucid.adapters.forward_only import ForwardOnlyAdapter
from pellucid.adapters.own_tree import OwnTree
from pellucid.adapters.protocol import InputSpec, TreeValues
from pellucid.adapters.sklearn.boosters import NativeBooster, as_estimator
from pellucid.adapters.sklearn.frames import as_fitted, as_table
from pellucid.adapters.sklearn.parts import parts_of
from pellucid.adapters.sklearn.trees import own_tree, tree_values, without_trees
from pellucid.adapters.sklearn.verbs import Verbs, verbs_of
from pellucid.errors import CapabilityError
from pellucid.inputs.frames import Frame, arrow_to_pandas, is_frame
from pellucid.types import Leaves, Outputs


class SklearnAdapter(ForwardOnlyAdapter):
    """A fitted estimator: a function of tables with names, which can be run and nothing else.

    Of a classifier the *logit* is its `decision_function` (one output where there are two
    classes), or the raw score of a boosted ensemble; it still moves where a probability is
    saturated. Where it has none, and for `output="probability"`, it is `predict_proba`. Of a
    regressor it is `predict`. Tables are handed on as data frames where the estimator was fitted
    on one.
    """

    framework = "sklearn"
    refusal = (
        "A scikit-learn estimator cannot {what}: it can only be run.\n"
        "  occlusion works on it, and so do the other perturbation methods."
    )

    def __init__(self, estimator: Any) -> None:
        estimator = as_estimator(estimator)
        _check_fitted(estimator)
        self._verbs: Verbs = verbs_of(estimator)
        self._estimator = estimator
        names = getattr(estimator, "feature_names_in_", None)
        self._fitted = None if names is None else tuple(map(str, names))
        self._final: str | None = None
        self._found = False

    @property
    def notes(self) -> tuple[str, ...]:
        return (f"scikit-learn's {self._verbs.score_name}",)

    @property
    def class_names(self) -> tuple[str, ...] | None:  # type: ignore[override]
        return self._verbs.class_names

    @property
    def feature_names(self) -> tuple[str, ...] | None:  # type: ignore[override]
        return self._fitted

    @property
    def inputs(self) -> tuple[InputSpec, ...] | None:
        width = getattr(self._estimator, "n_features_in_", None)
        return None if width is None else (InputSpec("x", (int(width),), None),)

    @property
    def takes_missing(self) -> bool:
        return True  # many trees and all imputers do, and those that do not say so

    def accept(self, x: Any) -> Leaves:
        x = arrow_to_pandas(x)  # estimators know no pyarrow tables
        self._frame = Frame(x, self._fitted) if is_frame(x) else None
        return (as_table(x) if self._frame is None else self._frame.encode(x),)

    def restore(self, leaves: Sequence[Any]) -> Any:
        return leaves[0]

    def final_activation(self, x: Leaves) -> tuple[str | None, ...]:
        if not self._found:
            table = self._table(x)
            self._found, self._final = True, self._verbs.activation(table)
        return (self._final,)

    def forward(self, x: Leaves, *, peel: bool) -> Outputs:
        table = self._table(x)
        return self._verbs.score(table) if peel else self._verbs.shown(table)

    def _table(self, x: Leaves) -> Any:
        """The rows as the estimator knows them: a data frame where it was fitted on one."""
        table = x[0].copy()  # estimators with copy=False change what they are given
        if self._frame is None:
            return as_fitted(table, self._fitted)
        # One that knows how many columns it has, but not their names, was fitted on an array.
        on_array = self._fitted is None and self.inputs is not None
        if on_array and not any(self._frame.categories):
            return table
        return self._frame.decode(table)

    def parts(self) -> tuple[Part, ...]:
        return parts_of(self._estimator)

    @property
    def own_tree(self) -> OwnTree | None:
        return own_tree(self._estimator)

    @property
    def without_trees(self) -> str | None:
        return without_trees(self._estimator)

    def tree_values(self, x: Leaves, background: Leaves | None) -> TreeValues:
        rows = None if background is None else self._table(background)
        return tree_values(self._estimator, self._table(x), rows)

    def fingerprint(self) -> str:
        # What a search has tried does not predict (and its masked arrays have no joblib hash).
        estimator = getattr(self._estimator, "best_estimator_", self._estimator)
        try:
            return str(joblib.hash(estimator))[:16]
        except (TypeError, ValueError, AttributeError, pickle.PicklingError):
            return hashlib.blake2b(repr(estimator).encode(), digest_size=8).hexdigest()


def _check_fitted(estimator: Any) -> None:
    if isinstance(estimator, type):
        raise CapabilityError(
            f"{estimator.__name__} is a class, not an estimator.\n  Pass a fitted instance of it."
        )
    if isinstance(estimator, NativeBooster):
        return
    check: Callable[[Any], None] = sklearn.utils.validation.check_is_fitted
    try:
        check(estimator)
    except sklearn.exceptions.NotFittedError as error:
        raise CapabilityError(
            f"This {type(estimator).__name__} is not fitted, so it predicts nothing yet.\n"
            "  Call its fit(x, y) first."
        ) from error
