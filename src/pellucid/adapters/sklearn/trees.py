"""Shapley values from the inside of tree ensembles, by the libraries that know their trees."""

from typing import Any

import numpy as np

from pellucid.adapters.facts import TreeValues
from pellucid.adapters.own_tree import OwnTree
from pellucid.adapters.shap_package import import_shap
from pellucid.adapters.sklearn.boosters import NativeBooster, lightgbm_values, xgboost_values
from pellucid.adapters.sklearn.pipelines import MixesColumnsError, before_inner, inner, sources
from pellucid.errors import CapabilityError

_FAMILIES = ("xgboost.", "lightgbm.", "sklearn.ensemble.", "sklearn.tree.")


def without_trees(estimator: Any) -> str | None:
    """Why an estimator shows no trees of its table's columns; None where it has some."""
    model, steps = inner(estimator), before_inner(estimator)
    known = type(model).__module__.startswith(_FAMILIES) or isinstance(model, NativeBooster)
    if not known:
        return f"a {type(model).__name__} has none"
    if not steps:
        return None
    try:
        sources(steps, _width(steps))
    except MixesColumnsError as error:
        return (
            f"the trees of this pipeline see other columns than those of the table: {error}"
            " (tree_shap works on pipeline[-1] with pipeline[:-1].transform(x))"
        )
    return None


def _width(steps: list[Any]) -> int:
    width = getattr(steps[0], "n_features_in_", None)
    if width is None:
        raise MixesColumnsError(
            f"a {type(steps[0]).__name__} stands before them, which does not say how many columns"
            " it takes"
        )
    return int(width)


def own_tree(estimator: Any) -> OwnTree | None:
    """The questions of a fitted decision tree of one answer; None for anything else."""
    tree = getattr(getattr(estimator, "best_estimator_", estimator), "tree_", None)
    if tree is None or tree.n_outputs != 1:
        return None
    return OwnTree(
        tree.feature.copy(), tree.threshold.copy(), tree.children_left.copy(),
        tree.children_right.copy(), tree.missing_go_to_left.astype(bool),
    )  # fmt: skip


def tree_values(estimator: Any, table: Any, background: Any) -> TreeValues:
    """Values by XGBoost's or LightGBM's own TreeSHAP; by the package shap for all else.

    Of a pipeline they are those of the columns its transformers make, summed over the columns that
    come from the same one of the table.

    Raises `CapabilityError` for an estimator whose trees neither reads.
    """
    model, steps = inner(estimator), before_inner(estimator)
    if not steps:
        return _of_model(model, table, background)
    owners = sources(steps, _width(steps))
    seen = _transformed(steps, table)
    if seen.shape[1] != len(owners):
        raise CapabilityError(
            f"The pipeline makes {seen.shape[1]} columns, of which {len(owners)} can be told apart."
            "\n  tree_shap works on pipeline[-1] with pipeline[:-1].transform(x)."
        )
    rows = None if background is None else _transformed(steps, background)
    found = _of_model(model, seen, rows)
    values = np.zeros((len(found.values), _width(steps), *found.values.shape[2:]))
    for place, owner in enumerate(owners):
        values[:, owner] += found.values[:, place]
    split = int(np.bincount(owners, minlength=1).max()) > 1
    summed = ", summed over the columns that the pipeline makes of one" if split else ""
    return TreeValues(values, found.base, found.source + summed)


def _transformed(steps: list[Any], table: Any) -> Any:
    for step in steps:
        table = step.transform(table)
    return table


def _dense(table: Any) -> Any:
    return table.toarray() if hasattr(table, "toarray") else table


def _of_model(model: Any, table: Any, background: Any) -> TreeValues:
    package = type(model).__module__.partition(".")[0]
    if isinstance(model, NativeBooster):
        if background is None:
            return model.contributions(_dense(table))
        if not model.read_by_shap:
            raise CapabilityError(
                "The package shap does not read several classes of LightGBM's own booster.\n"
                "  tree_shap without background= reads them; kernel_shap takes a background."
            )
        model = model.booster
    elif background is None and package == "xgboost":
        return _of_xgboost(model, table)
    elif background is None and package == "lightgbm":
        return _of_lightgbm(model, _dense(table))
    return _of_shap(model, _dense(table), None if background is None else _dense(background))


def _of_xgboost(model: Any, table: Any) -> TreeValues:
    import xgboost

    rows = xgboost.DMatrix(table, enable_categorical=True)
    rounds = (0, 0)  # all of them
    if model.early_stopping_rounds is not None:
        rounds = (0, model.best_iteration + 1)
    found = model.get_booster().predict(rows, pred_contribs=True, iteration_range=rounds)
    return xgboost_values(found)


def _of_lightgbm(model: Any, table: Any) -> TreeValues:
    return lightgbm_values(model.predict(table, pred_contrib=True), model.n_features_in_)


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
