"""Which column of a table each column that a trees' pipeline makes of it comes from."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn import preprocessing
from sklearn.compose import ColumnTransformer
from sklearn.feature_selection import SelectorMixin
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline

from pellucid.errors import CapabilityError

_ONE_TO_ONE = (
    preprocessing.StandardScaler,
    preprocessing.MinMaxScaler,
    preprocessing.MaxAbsScaler,
    preprocessing.RobustScaler,
    preprocessing.PowerTransformer,
    preprocessing.QuantileTransformer,
    preprocessing.Binarizer,
    preprocessing.OrdinalEncoder,
)
"""Each column is turned into one, by itself alone."""


class MixesColumnsError(CapabilityError):
    """A step makes columns of which no single one of the table's can be told to be the source."""


def inner(estimator: Any) -> Any:
    """The estimator that predicts: a search's best one, a pipeline's last step."""
    found = getattr(estimator, "best_estimator_", estimator)
    return inner(found.steps[-1][1]) if isinstance(found, Pipeline) else found


def before_inner(estimator: Any) -> list[Any]:
    """The transformers that a table goes through before `inner(estimator)` gets it."""
    found = getattr(estimator, "best_estimator_", estimator)
    if not isinstance(found, Pipeline):
        return []
    steps = [step for _, step in found.steps[:-1] if step is not None and step != "passthrough"]
    return [*steps, *before_inner(found.steps[-1][1])]


def sources(transformers: Sequence[Any], width: int) -> np.ndarray:
    """The number of the table's column that each column after all `transformers` comes from.

    Raises `MixesColumnsError` for one that mixes columns, or that is not known to keep them apart.
    """
    found = np.arange(width)
    for transformer in transformers:
        found = found[_of(transformer, len(found))]
    return found


def _of(transformer: Any, width: int) -> np.ndarray:
    everyone = np.arange(width)
    if transformer is None or transformer == "passthrough" or _is_one_to_one(transformer):
        return everyone
    if isinstance(transformer, Pipeline):
        return sources([step for _, step in transformer.steps], width)
    if isinstance(transformer, ColumnTransformer):
        return _of_columns(transformer)
    if isinstance(transformer, FeatureUnion):
        parts = [_of(t, width) for _, t in transformer.transformer_list if t != "drop"]
        return np.concatenate(parts) if parts else everyone[:0]
    if isinstance(transformer, SimpleImputer):
        return _of_imputer(transformer, everyone)
    if isinstance(transformer, MissingIndicator):
        return np.asarray(transformer.features_)
    if isinstance(transformer, SelectorMixin):
        return np.asarray(transformer.get_support(indices=True))
    return np.repeat(everyone, _columns_each(transformer, width))


def _is_one_to_one(transformer: Any) -> bool:
    if isinstance(transformer, preprocessing.FunctionTransformer):
        return transformer.func is None
    if isinstance(transformer, preprocessing.TargetEncoder):
        return bool(transformer.target_type_ != "multiclass")
    return isinstance(transformer, _ONE_TO_ONE)


def _columns_each(transformer: Any, width: int) -> list[int]:
    """How many columns each one becomes, those of one beside each other."""
    if isinstance(transformer, preprocessing.OneHotEncoder):
        rare = getattr(transformer, "infrequent_categories_", [None] * width)
        dropped = transformer.drop_idx_
        return [
            len(categories)
            - (0 if rare[i] is None else len(rare[i]) - 1)
            - (0 if dropped is None or dropped[i] is None else 1)
            for i, categories in enumerate(transformer.categories_)
        ]
    if isinstance(transformer, preprocessing.KBinsDiscretizer):
        whole = transformer.encode == "ordinal"
        return [1] * width if whole else [int(n) for n in transformer.n_bins_]
    if isinstance(transformer, preprocessing.SplineTransformer):
        return [int(transformer.n_features_out_) // width] * width
    raise MixesColumnsError(
        f"a {type(transformer).__name__} stands before them, which mixes columns or is not known"
        " to keep them apart"
    )


def _of_imputer(imputer: SimpleImputer, everyone: np.ndarray) -> np.ndarray:
    statistics = np.asarray(imputer.statistics_)
    empty = np.array([value != value for value in statistics], dtype=bool)  # NaN: never a value
    kept = everyone if imputer.keep_empty_features else everyone[~empty]
    marks = imputer.indicator_
    return kept if marks is None else np.concatenate([kept, np.asarray(marks.features_)])


def _of_columns(transformer: ColumnTransformer) -> np.ndarray:
    names = getattr(transformer, "feature_names_in_", None)
    known = {} if names is None else {name: i for i, name in enumerate(names)}
    numbers = np.arange(int(getattr(transformer, "n_features_in_")))  # noqa: B009 - untyped there
    last = max(part.stop for part in transformer.output_indices_.values())
    found = np.full(last, -1)
    for name, step, columns in transformer.transformers_:
        into = transformer.output_indices_[name]
        if (isinstance(step, str) and step == "drop") or into.start == into.stop:
            continue
        taken = _chosen(columns, numbers, known)
        found[into] = taken[_of(step, len(taken))]
    return found


def _chosen(columns: Any, numbers: np.ndarray, known: dict[Any, int]) -> np.ndarray:
    """The numbers of the columns that a step of a ColumnTransformer names."""
    if isinstance(columns, slice):
        ends = [known[e] if isinstance(e, str) else e for e in (columns.start, columns.stop)]
        if isinstance(columns.stop, str):  # of names the last one is meant too
            ends[1] += 1
        return numbers[slice(ends[0], ends[1], columns.step)]
    listed = np.atleast_1d(np.asarray(columns, dtype=object))
    if all(isinstance(c, bool | np.bool_) for c in listed) and len(listed):
        return numbers[listed.astype(bool)]
    return np.array([known[c] if isinstance(c, str) else numbers[c] for c in listed], dtype=int)
