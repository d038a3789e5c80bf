"""Where an explanation comes from: versions, the model, the time."""

import platform
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from pellucid._version import __version__
from pellucid.model import Model

_PACKAGES = {
    "torch": ("torch",),
    "tensorflow": ("tensorflow",),
    "keras": ("keras",),
    "jax": ("jax", "flax", "equinox"),
}


@cache
def _version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def provenance(model: Model) -> dict[str, Any]:
    """Versions, the model's fingerprint and how it was read, and the time."""
    versions = {
        "pellucid": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
    for name in (model.framework, model.adapter.backend):
        versions |= {package: _version_of(package) for package in _PACKAGES.get(name, ())}
    return {
        "versions": versions,
        "framework": model.framework,
        "device": model.adapter.device,
        "fingerprint": model.fingerprint(),
        "source": model.source,
        "output": model.output,
        "preprocess": getattr(model.preprocess, "__qualname__", None),
        "notes": list(model.adapter.notes),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
