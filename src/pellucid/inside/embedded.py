"""A data set laid out by what a layer makes of it: where each sample lies, and who is near it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pellucid.errors import InputError
from pellucid.methods.inside.projections import nearest
from pellucid.types import Evaluations

_WORDS = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}


@dataclass(frozen=True)
class Neighbours:
    """The samples nearest to one in the layer's own space: row numbers of the data, distances.

    `distances` are Euclidean, in units of the layer's values, ascending. `labels` names each, ""
    where there are no labels.
    """

    row: int
    rows: tuple[int, ...]
    distances: tuple[float, ...]
    labels: tuple[str, ...]
    layer: str

    def __str__(self) -> str:
        """A short table."""
        head = f"nearest to sample {self.row} in {self.layer}"
        lines = [
            f"{row:>8}  {distance:<10.4g} {label}".rstrip()
            for row, distance, label in zip(self.rows, self.distances, self.labels, strict=True)
        ]
        return "\n".join([head, "  sample  distance", *lines])

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "row": self.row, "rows": list(self.rows), "distances": list(self.distances),
            "labels": list(self.labels), "layer": self.layer,
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class Embedding:
    """Samples as points in two or three dimensions, m of the n rows of a data set.

    `coordinates (m, 2)` float64, `vectors (m, d)` float32 what was laid out, in the layer's own
    units, `rows (m,)` the numbers of the samples in the data. `labels`, `predicted` are names,
    `correct` booleans, `(m,)` each, None where not known. `columns` holds further numbers or words
    by name, `pictures` small uint8 pictures of the samples, `(m, h, w, 3)`. `how` is "pca", "tsne"
    or "umap", `pooled` says what was made of the layer's shape, `said` what the projection tells
    of itself: `explained_variance` (shares, one a component) or `divergence`.
    """

    coordinates: np.ndarray
    vectors: np.ndarray
    rows: np.ndarray
    count: int
    layer: str
    pooled: str
    how: str
    said: Mapping[str, Any]
    seed: int
    evaluations: Evaluations
    labels: np.ndarray | None = None
    predicted: np.ndarray | None = None
    correct: np.ndarray | None = None
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    names: tuple[str, ...] | None = None
    """A word for each point, as of an embedding of words."""
    pictures: np.ndarray | None = None
    note: str = ""
    """Why right and wrong are not told for all labels, where they are not."""

    @property
    def sampled(self) -> bool:
        """Whether the points are fewer than the rows of the data."""
        return len(self.rows) < self.count

    @property
    def accuracy(self) -> float | None:
        """The share of the points that the model gets right; None without labels."""
        return None if self.correct is None else float(self.correct.mean())

    def place_of(self, row: int) -> int:
        """Where a row of the data stands among the points; `InputError` where it does not."""
        found = np.flatnonzero(self.rows == row)
        if isinstance(row, bool) or not len(found):
            sampled = f" that were drawn (at_most={len(self.rows)})" if self.sampled else ""
            raise InputError(
                f"No sample {row!r} among the {len(self.rows)} of {self.count} rows{sampled}."
            )
        return int(found[0])

    def neighbours(self, row: int, k: int = 5) -> Neighbours:
        """The k samples nearest to row `row` of the data, in the layer's own space.

        d(a, b) = ‖v_a − v_b‖₂ of the `vectors`, not of the picture: a projection moves points.
        Fewer where there are fewer. Raises `InputError` for a row that is not among the points.
        """
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
            raise InputError(f"Expected k to be a whole number of 1 or more, got {k!r}.")
        order, distances = nearest(self.vectors, self.place_of(row), int(k))
        labels = self.labels if self.names is None else np.array(self.names)
        return Neighbours(
            row=int(row),
            rows=tuple(int(r) for r in self.rows[order]),
            distances=tuple(float(d) for d in distances),
            labels=("",) * len(order) if labels is None else tuple(str(labels[i]) for i in order),
            layer=self.layer,
        )

    def plot(self, **options: Any) -> Any:
        """Draw the points; Axes, never shown. See `pellucid.plots.embedding`."""
        from pellucid.plots.embedding import embedding

        return embedding(self, **options)

    def plot_neighbours(self, row: int, k: int = 5, **options: Any) -> Any:
        """Draw a sample's picture and those of its neighbours; a Figure, never shown."""
        from pellucid.plots.embedding import neighbours

        return neighbours(self, row, k, **options)

    def to_html(self, **options: Any) -> str:
        """A fragment of HTML: an SVG, a title on every point; see `pellucid.reports.embedding`."""
        from pellucid.reports.embedding import embedding_html

        return embedding_html(self, **options)

    def _repr_html_(self) -> str:
        return self.to_html()

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: the points and what is known of each, without the vectors."""

        def listed(a: np.ndarray | None) -> list[Any] | None:
            return None if a is None else a.tolist()

        return {
            "how": self.how, "layer": self.layer, "pooled": self.pooled, "said": dict(self.said),
            "seed": self.seed, "count": self.count, "rows": self.rows.tolist(),
            "coordinates": self.coordinates.tolist(), "labels": listed(self.labels),
            "predicted": listed(self.predicted), "correct": listed(self.correct),
            "columns": {name: a.tolist() for name, a in self.columns.items()},
            "names": None if self.names is None else list(self.names),
            "evaluations": self.evaluations._asdict(), "note": self.note,
        }  # fmt: skip

    @property
    def title(self) -> str:
        """What was laid out, and how."""
        what = "the " if self.layer in {"input", "output", "vectors"} else "layer "
        return f"{_WORDS[self.how]} of {what}{self.layer}"

    def __str__(self) -> str:
        """What was laid out, how, over how many samples, at what cost."""
        shares = self.said.get("explained_variance")
        how = f", {sum(shares):.0%} of the variance" if shares else ""
        of = f" of {self.count}, drawn with seed {self.seed}" if self.sampled else ""
        right = "" if self.accuracy is None else f", {self.accuracy:.1%} right"
        return (
            f"{self.title} ({self.pooled}): {len(self.rows)} samples{of}{how}{right},"
            f" {self.evaluations.forward} evaluations{'; ' * bool(self.note)}{self.note}"
        )
