"""XGBoost's and LightGBM's own boosters, with what the adapter asks of an estimator."""

from abc import ABC, abstractmethod
from typing import Any, final

import numpy as np

from pellucid.adapters.protocol import TreeValues

_CLASSES = ("binary", "multi", "softmax", "cross_entropy", "xentropy", "ova")
"""How the names of objectives begin whose trees add up to a logit."""


class NativeBooster(ABC):
    """A trained booster of a library's own, which takes tables as its estimators do."""

    booster: Any
    feature_names_in_: np.ndarray | None
    n_features_in_: int
    objective: str

    @property
    def classifies(self) -> bool:
        """Whether its trees add up to a logit, of which `predict` makes a probability."""
        return self.objective.startswith(_CLASSES)

    @property
    def read_by_shap(self) -> bool:
        """Whether the package shap finds its way in the trees."""
        return True

    @abstractmethod
    def raw(self, table: Any) -> np.ndarray:
        """What the trees add up to, `(n,)` or `(n, classes)`."""

    @abstractmethod
    def predict(self, table: Any) -> np.ndarray:
        """What the booster itself predicts: probabilities, or numbers."""

    @abstractmethod
    def contributions(self, table: Any) -> TreeValues: ...


@final
class XGBoostBooster(NativeBooster):
    """An `xgboost.Booster`."""

    def __init__(self, booster: Any) -> None:
        import json

        self.booster = booster
        names = booster.feature_names
        self.feature_names_in_ = None if names is None else np.array(names, dtype=object)
        self.n_features_in_ = booster.num_features()
        self.objective = json.loads(booster.save_config())["learner"]["objective"]["name"]

    def raw(self, table: Any) -> np.ndarray:
        return np.asarray(self.booster.predict(self._rows(table), output_margin=True))

    def predict(self, table: Any) -> np.ndarray:
        found = np.asarray(self.booster.predict(self._rows(table)))
        margin = self.raw(table)
        if found.shape == margin.shape:
            return found
        powers = np.exp(margin - margin.max(axis=1, keepdims=True))  # multi:softmax says labels
        return powers / powers.sum(axis=1, keepdims=True)

    def contributions(self, table: Any) -> TreeValues:
        return xgboost_values(self.booster.predict(self._rows(table), pred_contribs=True))

    def _rows(self, table: Any) -> Any:
        import xgboost

        names = self.booster.feature_names
        named = {} if names is None or hasattr(table, "columns") else {"feature_names": names}
        return xgboost.DMatrix(table, enable_categorical=True, **named)


@final
class LightGBMBooster(NativeBooster):
    """A `lightgbm.Booster`."""

    def __init__(self, booster: Any) -> None:
        self.booster = booster
        names = booster.feature_name()
        own = names == [f"Column_{i}" for i in range(len(names))]  # given where there were none
        self.feature_names_in_ = None if own else np.array(names, dtype=object)
        self.n_features_in_ = booster.num_feature()
        lines = booster.model_to_string(num_iteration=1).splitlines()
        said = [line for line in lines if line.startswith("objective=")]
        self.objective = said[0].removeprefix("objective=").split(" ")[0] if said else ""

    @property
    def read_by_shap(self) -> bool:
        return int(self.booster.num_model_per_iteration()) == 1

    def raw(self, table: Any) -> np.ndarray:
        return np.asarray(self.booster.predict(table, raw_score=True))

    def predict(self, table: Any) -> np.ndarray:
        return np.asarray(self.booster.predict(table))

    def contributions(self, table: Any) -> TreeValues:
        return lightgbm_values(self.booster.predict(table, pred_contrib=True), self.n_features_in_)


def as_estimator(model: Any) -> Any:
    """A library's own booster as an estimator; anything else as it is."""
    package, name = type(model).__module__.partition(".")[0], type(model).__name__
    if name != "Booster" or package not in {"xgboost", "lightgbm"}:
        return model
    return XGBoostBooster(model) if package == "xgboost" else LightGBMBooster(model)


def xgboost_values(found: Any) -> TreeValues:
    """XGBoost's `pred_contribs`, the classes last."""
    found = np.asarray(found, dtype=np.float64)
    found = np.moveaxis(found, 1, -1) if found.ndim == 3 else found
    return TreeValues(found[:, :-1], found[0, -1], "XGBoost's pred_contribs")


def lightgbm_values(found: Any, columns: int) -> TreeValues:
    """LightGBM's `pred_contrib`, the classes last."""
    found = np.asarray(found, dtype=np.float64)
    if found.shape[1] != columns + 1:
        found = np.moveaxis(found.reshape(len(found), -1, columns + 1), 1, -1)
    return TreeValues(found[:, :-1], found[0, -1], "LightGBM's pred_contrib")
