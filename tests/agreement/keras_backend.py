"""Explanations of the tiny Keras models on another backend, for the tests of this process.

A process has one Keras backend, so the others run in processes of their own: jobs come as JSON
on stdin, what was found goes to the `.npz` file named. See `test_keras_backends.py`.
"""

import functools
import json
import os
import re
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np

Job = dict[str, Any]
"""`model`, `style`, `method`, `options`; method "layers" lists the calls of layers."""

RECURRENT = ("LSTM", "GRU", "SimpleRNN")
"""Layers between six steps of four numbers and a dense head, drawn from one seed, no biases."""

KERAS_S_OWN = "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
"""As in pyproject.toml: Keras 3.15 converts its variables this way, under NumPy 2."""


def key(job: Job, what: Any) -> str:
    return "|".join((job["model"], job["style"], job["method"], str(what)))


def run_on(
    backend: str, jobs: list[Job], folder: Path, **environment: str
) -> dict[str, np.ndarray]:
    """Everything the jobs found on a backend, by `key`; warnings are errors there too."""
    found = folder / f"{backend}.npz"
    environment = {**os.environ, "KERAS_BACKEND": backend, **environment}
    command = [sys.executable, "-W", "error", "-W", KERAS_S_OWN, __file__, str(found)]
    done = subprocess.run(
        command,
        input=json.dumps(jobs),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    with np.load(found) as arrays:
        return dict(arrays)


def main(jobs: list[Job], path: str) -> None:
    import keras

    found: dict[str, np.ndarray] = {"backend": np.array(keras.config.backend())}
    for job in jobs:
        try:
            found |= {key(job, what): value for what, value in answer(job).items()}
        except Exception:
            # The test of this job fails with the text; the others go on.
            found[key(job, "error")] = np.array(traceback.format_exc())
    np.savez(path, **found)  # type: ignore[arg-type]


def answer(job: Job) -> dict[str, np.ndarray]:
    from pellucid import explain, wrap

    model, x = made(job["model"], job["style"])
    if job["method"] == "layers":
        wrapped = wrap(model)
        calls = [(c.path, c.kind, str(c.shape), c.parameters) for c in wrapped.layers(x)]
        # Keras numbers the layers it names itself by what the process has built before.
        paths = [re.sub(r"/(softmax|dropout)_\d+$", r"/\1", c.path) for c in wrapped.layers()]
        tree = [(p, c.kind, "", c.parameters) for p, c in zip(paths, wrapped.layers(), strict=True)]
        final = wrapped.adapter.final_activation(wrapped.accept(x).leaves)
        return {"calls": np.array(calls), "tree": np.array(tree), "final": np.array(str(final))}
    if job["method"].startswith("open units of "):
        return open_units(model, x, job)
    options: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in job["options"].items()
    }
    for name in ("baseline", "background"):
        if options.get(name) == "references":
            options[name] = rows_to_compare_with(job["model"], name)
    e = explain(model, x, job["method"], **options)
    found = {str(i): part.values for i, part in enumerate(e.parts)}
    errors = {f"stderr {i}": p.stderr for i, p in enumerate(e.parts) if p.stderr is not None}
    return {
        **found,
        **errors,
        "evaluations": np.array(e.evaluations),
        "explained": np.array(e.explained),
    }


def rows_to_compare_with(model: str, name: str) -> Any:
    """The references of test_backward.py, one a sample, or as a background."""
    from test_backward import BACKGROUND, as_given, references

    rows = references(model)
    return as_given(rows if name == "baseline" else tuple(r[:BACKGROUND] for r in rows), "keras")


def open_units(model: Any, x: Any, job: Job) -> dict[str, np.ndarray]:
    """For each gradient that a method takes, the units open there, packed in one row of bits."""
    from test_mobilenet import watching

    from pellucid import explain, wrap

    watched, units = watching(wrap(model))
    explain(watched, x, job["method"].removeprefix("open units of "), **job["options"])
    rows = (np.concatenate([layer.ravel() for layer in found]) for found in units)
    return {str(i): np.packbits(row) for i, row in enumerate(rows)}


def recurrent(name: str) -> tuple[Any, np.ndarray]:
    """A model of one recurrent layer, and three sequences."""
    import keras

    layer = getattr(keras.layers, name)(5, use_bias=False)
    model = keras.Sequential([keras.Input((6, 4)), layer, keras.layers.Dense(3, use_bias=False)])
    draws = np.random.default_rng(1)
    model.set_weights([draws.normal(0, 0.5, w.shape) for w in model.get_weights()])
    return model, draws.normal(size=(3, 6, 4)).astype(np.float32)


@functools.cache
def made(name: str, style: str) -> tuple[Any, Any]:
    """A tiny model and its samples, or the demo's MobileNetV2 and a photo off the pixel grid."""
    from pellucid.demo import demo_model, demo_photos, load_photo
    from pellucid.testing import build

    if name in RECURRENT:
        return recurrent(name)
    if name != "mobilenet":
        return build(name, "keras", style=style)
    photo = load_photo(demo_photos()[int(style)].path)[None]
    return demo_model()[0], (photo.astype("float32") + 0.37) / 127.5 - 1


if __name__ == "__main__":
    main(json.load(sys.stdin), sys.argv[1])
