"""scikit-learn estimators and pipelines, and what has their interface (XGBoost, LightGBM)."""

from pellucid.adapters.sklearn.adapter import SklearnAdapter

__all__ = ["SklearnAdapter"]
