"""`pellucid doctor`: what is installed, what is missing and how to get it; imports nothing."""

import importlib.util
import os
import platform
import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from pellucid._version import __version__
from pellucid.cli import console

_NEEDED = ("numpy", "array-api-compat", "xarray", "zarr", "matplotlib", "pillow", "jinja2")
# Extra: the distributions it brings, and the name each is imported by.
_EXTRAS: dict[str, dict[str, str]] = {
    "umap": {"umap-learn": "umap"},
    "tensorflow": {"tensorflow": "tensorflow", "keras": "keras"},
    "torch": {"torch": "torch"},
    "jax": {"jax": "jax", "jaxlib": "jaxlib"},
    "tensorlayer": {"tensorlayer": "tensorlayer", "opencv-python-headless": "cv2"},
    "onnx": {"onnx": "onnx", "onnxruntime": "onnxruntime"},
    "sklearn": {"scikit-learn": "sklearn", "skops": "skops", "narwhals": "narwhals"},
    "images": {"scikit-image": "skimage"},
    "tables": {"pandas": "pandas", "narwhals": "narwhals"},
    "parquet": {"polars": "polars"},
    "shap": {"shap": "shap"},
}
_CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "msedge")


def doctor(
    as_json: console.AsJson = False, verbose: console.Verbose = 0, quiet: console.Quiet = False
) -> None:
    """Show versions, devices, and the exact line to install what is missing."""
    console.configure(verbose, quiet)
    report = examine()
    if as_json:
        console.result_json(report)
        return
    _print(report)


def examine() -> dict[str, Any]:
    """Everything doctor knows, as plain data. Imports no framework."""
    return {
        "pellucid": __version__,
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _NEEDED},
        "extras": {extra: _extra(extra) for extra in _EXTRAS},
        "keras_backend": os.environ.get("KERAS_BACKEND") or "tensorflow (default)",
        "devices": _devices(),
        "chromium": next((found for name in _CHROMIUM if (found := shutil.which(name))), None),
        "fonts": _fonts(),
    }


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _extra(extra: str) -> dict[str, Any]:
    versions = {}
    for distribution, module in _EXTRAS[extra].items():
        found = importlib.util.find_spec(module) is not None
        # tensorflow-cpu and its like are other distributions with the same module.
        versions[distribution] = _version(distribution) or ("present" if found else None)
    missing = [name for name, version in versions.items() if version is None]
    return {
        "versions": versions,
        "installed": not missing,
        "missing": missing,
        "install": f"pip install 'pellucid[{extra}]'" if missing else None,
    }


def _devices() -> dict[str, Any]:
    """What the operating system shows; asking a framework would mean importing it."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    nvidia = sorted(str(path) for path in Path("/dev").glob("nvidia[0-9]*"))
    apple = sys.platform == "darwin" and platform.machine() == "arm64"
    return {
        "cpu": platform.processor() or platform.machine(),
        "cores": count,
        "gpus": nvidia or (["apple silicon (mps)"] if apple else []),
        "memory_gb": _memory(),
    }


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (ValueError, OSError, AttributeError):
        return None


def _fonts() -> list[str]:
    """Matplotlib's own font, and whether one with Chinese letters is near."""
    spec = importlib.util.find_spec("matplotlib")
    found = []
    if spec is not None and spec.origin is not None:
        own = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        found += ["DejaVu Sans"] if own.exists() else []
    folders = [Path("/usr/share/fonts"), Path("/Library/Fonts"), Path(r"C:\Windows\Fonts")]
    patterns = ("*NotoSansCJK*", "*wqy*", "*SourceHanSans*", "*PingFang*", "*msyh*")
    cjk = [f.stem for d in folders if d.exists() for p in patterns for f in d.rglob(p)]
    return found + sorted(set(cjk))[:1]


def _print(report: dict[str, Any]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name in ("pellucid", "python", "executable", "platform"):
        table.add_row(name, escape(report[name]))
    for name, version in report["packages"].items():
        table.add_row(name, version or "missing: pip install pellucid")
    for extra, facts in report["extras"].items():
        present = ", ".join(f"{n} {v}" for n, v in facts["versions"].items() if v)
        lacking = f"missing: {', '.join(facts['missing'])}; to install: {facts['install']}"
        parts = [present, lacking if facts["install"] else ""]
        table.add_row(f"[{extra}]".replace("[", r"\["), escape("; ".join(p for p in parts if p)))
    devices = report["devices"]
    table.add_row("keras backend", report["keras_backend"])
    table.add_row("cpu", f"{devices['cores']} cores, {devices['memory_gb']} GB")
    table.add_row("gpu", ", ".join(devices["gpus"]) or "none")
    table.add_row("chromium", report["chromium"] or "not found (only for looking at reports)")
    table.add_row("fonts", ", ".join(report["fonts"]) or "none")
    console.stdout().print(table)
