"""The result: what was attributed to what, with the evidence needed to judge it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pellucid.part import Part, units_of
from pellucid.types import Evaluations

if TYPE_CHECKING:
    import xarray

    from pellucid.feature_table import FeatureTable
    from pellucid.importance import Importance
    from pellucid.standard.scorecard import Scorecard


@dataclass(frozen=True, eq=False)
class Explanation:
    """Attributions of one method for one batch of inputs, raw and signed, with their evidence.

    One entry a sample in `score`, `baseline_score`, `prediction`, `gap`, also where a single input
    without a batch axis was explained (`batched` is False); `values` then has no batch axis.

    `score` is f(x), the number that was explained: the logit (or probability, or difference of
    two) named by `target` and `explained`. `gap` is the completeness gap
    |Σ values − (score − baseline_score)| / |score − baseline_score|, for methods that claim
    completeness, else None. `stderr` has the shape of `values` for methods that sample.
    `evaluations` counts rows at the model.

    >>> e = explain(model, x, "saliency")
    >>> e.values.shape == x.shape
    True
    """

    parts: tuple[Part, ...]
    method: str
    parameters: Mapping[str, Any]
    target: Any
    """Class index per sample; an array `(n, 2)` for "why a rather than b"; None for a callable."""
    target_names: tuple[str, ...]
    """What was explained, in words, one a sample."""
    prediction: np.ndarray
    """Predicted class per sample; the output itself for models with one output."""
    prediction_names: tuple[str, ...]
    score: np.ndarray
    outputs: np.ndarray | None
    """The model's outputs as explained, `(n, classes)`, where they are a matrix."""
    probabilities: np.ndarray | None
    """What the user's own model returns for them, where it ends in a softmax or sigmoid."""
    evaluations: Evaluations
    seconds: float
    seed: int
    explained: str
    """"logit", "probability" or "output"."""
    provenance: Mapping[str, Any]
    baseline_score: np.ndarray | None = None
    gap: np.ndarray | None = None
    class_names: tuple[str, ...] | None = None
    extras: Mapping[str, np.ndarray] = field(default_factory=dict)
    """What else the method found worth keeping, by name: a CAM's own `"grid"` and channel
    `"weights"`, the `"nodes"` a path took for each sample, the `"unit_values"` of features; each
    method's own page says which. Empty for most."""
    shared_extras: tuple[str, ...] = ()
    """Those of `extras` that are of the batch as a whole; the others have an entry a sample."""
    warnings: tuple[str, ...] = ()
    batched: bool = True
    structure: Any = None
    asked_of = None
    """The model, inputs and target as they were given, where `explain` made it: no field, for it
    is no part of the result and in no file. Set by `remember`."""

    def __len__(self) -> int:
        """The number of samples."""
        return len(self.parts[0].inputs)

    def __getitem__(self, rows: int | slice | list[int] | np.ndarray) -> "Explanation":
        """The explanation of some samples only; of one, still with its batch axis.

        `evaluations` and `seconds` stay those of the whole batch.
        """
        if isinstance(rows, int | np.integer) and not isinstance(rows, bool):
            if not -len(self) <= rows < len(self):
                raise IndexError(f"No sample {rows} among {len(self)}.")
            rows = [int(rows) % len(self)]
        index = np.atleast_1d(np.arange(len(self))[rows])
        if index.ndim != 1 or not index.size:
            raise IndexError(f"{rows!r} selects no samples among {len(self)}.")

        def take(a: np.ndarray | None) -> Any:
            return None if a is None else a[index]

        some = replace(
            self,
            parts=tuple(
                replace(
                    p,
                    units=units_of(p.units, index),
                    **{n: take(getattr(p, n)) for n in _SAMPLED_IN_PART},
                )
                for p in self.parts
            ),
            extras={k: v if k in self.shared_extras else v[index] for k, v in self.extras.items()},
            target_names=tuple(self.target_names[i] for i in index),
            prediction_names=tuple(self.prediction_names[i] for i in index),
            **{n: take(getattr(self, n)) for n in _SAMPLED},
        )
        if self.asked_of is not None:
            remember(some, self.asked_of[0], None, self.asked_of[2])
        return some

    @property
    def values(self) -> Any:
        """The attributions, float32, as the inputs were given: with or without a batch axis."""
        return self._as_given([p.values for p in self.parts])

    @property
    def inputs(self) -> Any:
        """What the model was fed, as it was given."""
        return self._as_given([p.inputs for p in self.parts])

    @property
    def stderr(self) -> Any:
        """Standard error of each value, for methods that sample; else None."""
        errors = [p.stderr for p in self.parts]
        return None if any(e is None for e in errors) else self._as_given(errors)

    @property
    def baseline(self) -> Any:
        """The reference inputs, for methods that have one; else None."""
        found = [p.baseline for p in self.parts]
        return None if any(b is None for b in found) else self._as_given(found)

    def _as_given(self, arrays: list[Any]) -> Any:
        return rebuild(self.structure, [a if self.batched else a[0] for a in arrays])

    @cached_property
    def data(self) -> "xarray.Dataset":
        """Everything as an xarray Dataset: named axes, class and feature names as coordinates."""
        from pellucid.store import to_dataset

        return to_dataset(self)

    def top(self, k: int = 10, sample: int = 0) -> "FeatureTable":
        """The k features with the largest |attribution| of one sample, largest first.

        Where several positions were counted as one (`features=`), each such unit is a row.
        """
        from pellucid.feature_table import top_features

        return top_features(self, k, sample)

    def importance(self, *, level: float = 0.95, draws: int = 2000, seed: int = 0) -> "Importance":
        """What each column of a table counts for over all samples, with bootstrap intervals.

        See `pellucid.importance.importance`.
        """
        from pellucid.importance import importance

        return importance(self, level=level, draws=draws, seed=seed)

    def to_shap(self) -> Any:
        """The same as a `shap.Explanation`, for shap's own plots; needs the package shap."""
        from pellucid.shap_interchange import to_shap

        return to_shap(self)

    @staticmethod
    def from_shap(explanation: Any, *, method: str = "shap") -> "Explanation":
        """An explanation of a table that shap made, for the plots and tables here.

        Of several outputs choose one first: `from_shap(values[..., 1])`.
        """
        from pellucid.shap_interchange import from_shap

        return from_shap(explanation, method=method)

    def evaluate(self, model: Any = None, **options: Any) -> "Scorecard":
        """Judge it by the standard: a `Scorecard`; see `pellucid.standard.itself`.

        `model` is the one it is of, which a result that was loaded from a file does not hold.
        """
        from pellucid.standard.itself import evaluate_itself

        return evaluate_itself(self, model, options)

    def plot(self, sample: int = 0, **options: Any) -> Any:
        """Draw one sample as its kind of input asks for; a Figure, never shown.

        Options go to `pellucid.plots.plot`: `kind`, `ax` (whose Axes then come back), ...
        """
        from pellucid.plots import plot

        return plot(self, sample, **options)

    def to_html(self) -> str:
        """A self-contained piece of HTML without JavaScript, for a notebook or a page."""
        from pellucid.reports.repr import explanation_html

        return explanation_html(self)

    def _repr_html_(self) -> str:
        return self.to_html()

    def save(self, path: str | Path) -> Path:
        """Write to a `.zarr` folder (or `.zarr.zip` file).

        An explanation saved there before is replaced whole. Raises `LoadError` for another name,
        where something else stands there, which is left alone, and where it cannot be written.
        """
        from pellucid.store import save

        return save(self, Path(path))

    @staticmethod
    def load(path: str | Path) -> "Explanation":
        """Read what `save` wrote. Never unpickles. Raises `LoadError` for anything else."""
        from pellucid.store import load

        return load(Path(path))

    @property
    def keeps_shares(self) -> bool:
        """Whether the method's layers keep shares of the score for themselves, so in `gap`."""
        from pellucid.methods.registry import registered

        method = registered().get(self.method)
        return method is not None and method.shares_with_biases

    def reproduce(self) -> str:
        """The Python that makes this explanation again, given `model` and `x`."""
        from pellucid.reproduce import reproduce

        return reproduce(self)

    def __repr__(self) -> str:
        """The same as `str`: the arrays are a name away."""
        return str(self)

    def __str__(self) -> str:
        """What was explained, by what, with what evidence."""
        n = len(self)
        shape = "x".join(map(str, self.parts[0].values.shape[1:]))
        names = ", ".join(dict.fromkeys(shorten(name) for name in self.target_names[:3]))
        names += ", ..." if len(set(self.target_names)) > len(set(self.target_names[:3])) else ""
        what = f"the {self.explained}" if names == "the output" else f"{self.explained} of {names}"
        evidence = [f"{self.evaluations.forward} forward", f"{self.evaluations.backward} backward"]
        if self.evaluations.suffix:
            evidence.append(f"{self.evaluations.suffix} suffix")
        line = (
            f"{self.method} of {n} sample{'s' if n > 1 else ''} ({shape}), {what}:"
            f" {', '.join(evidence)} evaluations in {self.seconds:.2f} s"
        )
        if self.gap is not None:
            what = "kept by biases and epsilon" if self.keeps_shares else "completeness gap"
            line += f", {what} {float(np.max(self.gap)):.2%}"
        if self.stderr is not None:
            from pellucid.units import by_unit

            mean = float(np.mean([np.abs(by_unit(p).stderr).mean() for p in self.parts]))  # type: ignore[arg-type]
            line += f", mean standard error {mean:.2g}"
            line += " of a unit's value" if any(p.units is not None for p in self.parts) else ""
        return "\n  ".join([line, *(f"warning: {w}" for w in self.warnings)])


_SAMPLED = ("target", "prediction", "score", "outputs", "probabilities", "baseline_score", "gap")
_SAMPLED_IN_PART = ("values", "inputs", "baseline", "stderr", "display")


def remember(e: Explanation, model: Any, x: Any, target: Any) -> Explanation:
    """Note what `e` was made of, for `e.evaluate()`; `x` None where only `e` holds the inputs."""
    object.__setattr__(e, "asked_of", (model, x, target))
    return e


def shorten(name: str) -> str:
    """The first of several synonyms, as ImageNet's class names have them.

    >>> shorten("dragonfly, darning needle, devil's darning needle")
    'dragonfly'
    """
    return name.partition(",")[0]


def rebuild(structure: Any, leaves: list[Any]) -> Any:
    """`leaves` in the structure the user gave; `structure` holds the number of each leaf."""
    if isinstance(structure, dict):
        return {key: rebuild(item, leaves) for key, item in structure.items()}
    if isinstance(structure, tuple | list):
        return type(structure)(rebuild(item, leaves) for item in structure)
    return leaves[structure or 0]
