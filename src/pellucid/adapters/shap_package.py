"""The package shap, imported where it is needed."""

import warnings
from typing import Any

from pellucid.errors import MissingExtraError


def import_shap(purpose: str) -> Any:
    """The package shap. Raises `MissingExtraError`, saying what for, where it is absent.

    What its plots do to matplotlib warns while it is imported; that is no news to its user here.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import shap
    except ModuleNotFoundError as error:
        raise MissingExtraError("shap", "shap", purpose) from error
    return shap
