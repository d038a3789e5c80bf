"""Shapley values from the inside of tree ensembles, by the libraries that know their trees."""

from typing import Any

import numpy as np

from pellucid.adapters.protocol import TreeValues
from pellucid.adapters.shap_package import import_shap
from pellucid.errors import CapabilityError

_FAMILIES = ("xgboost.", "lightgbm.", "sklearn.ensemble.", "sklearn.tree.")


def without_trees(estimator: Any) -> str | None:
    """Why an estimator shows no trees; None where it has some."""
    estimator = getattr(estimator, "best_estimator_", estimator)
    if hasattr(estimator, "steps"):
        return (
            "the trees of a pipeline see the columns that it makes, not those of the table"
            " (tree_shap works on pipeline[-1] with pipeline[:-1].transform(x))"
        )
    if type(estimator).__module__.startswith(_FAMILIES):
        return None
    return f"a {type(estimator).__name__} has none"


def tree_values(estimator: Any, table: Any, background: Any) -> TreeValues:
    """Values by XGBoost's or LightGBM's own TreeSHAP; by the package shap for all else.

    Raises `CapabilityError` for an estimator whose trees neither reads.
    """
    estimator = getattr(estimator, "best_estimator_", estimator)
    package = type(estimator).__module__.partition(".")[0]
    if background is None and package == "xgboost":
        return _of_xgboost(estimator, table)
    if background is None and package == "lightgbm":
        return _of_lightgbm(estimator, table)
    return _of_shap(estimator, table, background)


def _of_xgboost(model: Any, table: Any) -> TreeValues:
    import xgboost

    rows = xgboost.DMatrix(table, enable_categorical=True)
    rounds = (0, 0)  # all of them
    if model.early_stopping_rounds is not None:
        rounds = (0, model.best_iteration + 1)
    found = model.get_booster().predict(rows, pred_contribs=True, iteration_range=rounds)
    found = np.asarray(found, dtype=np.float64)
    found = np.moveaxis(found, 1, -1) if found.ndim == 3 else found
    return TreeValues(found[:, :-1], found[0, -1], "XGBoost's pred_contribs")


def _of_lightgbm(model: Any, table: Any) -> TreeValues:
    found = np.asarray(model.predict(table, pred_contrib=True), dtype=np.float64)
    width = model.n_features_in_ + 1
    if found.shape[1] != width:
        found = np.moveaxis(found.reshape(len(found), -1, width), 1, -1)
    return TreeValues(found[:, :-1], found[0, -1], "LightGBM's pred_contrib")


def _of_shap(model: Any, table: Any, background: Any) -> TreeValues:
    shap = import_shap("tree_shap of this ensemble")
    kind = "tree_path_dependent" if background is None else "interventional"
    try:
        explainer = shap.TreeExplainer(model, background, feature_perturbation=kind)
        found = explainer.shap_values(table, check_additivity=False)
    except MemoryError:
        raise
    except shap.utils._exceptions.InvalidModelError as error:
        raise CapabilityError(
            f"Neither this {type(model).__name__} nor the package shap reads its trees.\n"
            "  kernel_shap finds the same kind of values by running the model."
        ) from error
    except Exception as error:
        against = "" if background is None else " against a background"
        raise CapabilityError(
            f"The package shap does not read the trees of this {type(model).__name__}{against}:"
            f" {type(error).__name__}: {str(error).strip()[:200]}\n"
            "  kernel_shap finds the same kind of values by running the model"
            + ("; tree_shap without background= reads the trees themselves." if against else ".")
        ) from error
    values = np.stack(found, axis=-1) if isinstance(found, list) else np.asarray(found)
    base = np.asarray(explainer.expected_value, dtype=np.float64)
    base = base.reshape(values.shape[2:])
    return TreeValues(values.astype(np.float64), base, f"shap {shap.__version__}, {kind}")
