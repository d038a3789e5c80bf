"""What a feature would most like to see, as a result."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.plain import plain
from pellucid.types import Evaluations


@dataclass(frozen=True, eq=False)
class FeatureVisualization:
    """One optimised input for each of k features.

    `images (k, ...)` float32 in the model's layout `dims` and units; `names` say of what;
    `course (k, steps)` the objective at each step, of the moved image the model saw, and
    `reached (k,)` that of the final image as it is, in units of the score or of the layer.
    `best (k,)` is the most that a real input of `data` reaches and `best_row (k,)` which it is,
    None without data. `opacity (k, *space)` is the mean size of the gradient at each position, for
    MACO's transparency. `low`, `high` are the range of values, None where there is none.
    """

    images: np.ndarray
    names: tuple[str, ...]
    dims: tuple[str, ...]
    course: np.ndarray
    reached: np.ndarray
    opacity: np.ndarray
    parametrisation: str
    parameters: Mapping[str, Any]
    explained: str
    seed: int
    evaluations: Evaluations
    layer: str | None = None
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    best: np.ndarray | None = None
    best_row: np.ndarray | None = None
    columns: tuple[str, ...] | None = None
    warnings: tuple[str, ...] = ()
    input_name: str = ""
    """Which input was made; empty where the model has one."""

    def __len__(self) -> int:
        return len(self.images)

    @property
    def pictures(self) -> np.ndarray:
        """The images as a person sees them: float `(k, height, width[, 3])`, 0 to 1.

        From the range of values; of each image where there is none.
        """
        images = self.images.astype(np.float64)
        if "channel" in self.dims:
            images = np.moveaxis(images, self.dims.index("channel"), -1)
        axes = tuple(range(1, images.ndim))
        low = images.min(axis=axes, keepdims=True) if self.low is None else self.low
        high = images.max(axis=axes, keepdims=True) if self.high is None else self.high
        shown = np.clip((images - low) / np.where(high > low, high - low, 1.0), 0, 1)
        return shown if shown.shape[-1] == 3 else shown.mean(axis=-1)

    def plot(self, **options: Any) -> Any:
        """Draw the inputs, each with what it reaches; a Figure, never shown.

        See `pellucid.plots.features`.
        """
        from pellucid.plots.feature_visualization import features

        return features(self, **options)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, without the images."""
        return {
            "names": list(self.names), "layer": self.layer, "input_name": self.input_name,
            "reached": self.reached.tolist(),
            "course": self.course.tolist(), "parametrisation": self.parametrisation,
            "parameters": plain(dict(self.parameters)), "explained": self.explained,
            "shape": list(self.images.shape), "dims": list(self.dims), "seed": self.seed,
            "best": None if self.best is None else self.best.tolist(),
            "best_row": None if self.best_row is None else self.best_row.tolist(),
            "evaluations": self.evaluations._asdict(), "warnings": list(self.warnings),
        }  # fmt: skip

    def __str__(self) -> str:
        """A line a feature."""
        lines = []
        for k, name in enumerate(self.names):
            real = ""
            if self.best is not None and self.best_row is not None:
                real = f"; a real input reaches {self.best[k]:.4g} (row {self.best_row[k]})"
            lines.append(f"{name}: {self.explained} {self.reached[k]:.4g}{real}")
        spent = self.evaluations
        where = f"the input {self.input_name}: " if self.input_name else ""
        lines.append(
            f"{where}{self.parametrisation}, {self.course.shape[1]} steps, seed {self.seed},"
            f" {spent.forward} forward and {spent.backward} backward evaluations"
        )
        return "\n".join([*lines, *self.warnings])
