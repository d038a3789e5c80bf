"""LIME: a line fitted to what the model says of neighbours of one sample."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.errors import MethodError
from pellucid.inputs.features import Features
from pellucid.inputs.layout import modality
from pellucid.inputs.noise import seed_of
from pellucid.methods.base import Attribution, Method
from pellucid.methods.perturbation.game import (
    against,
    background_rows,
    make_units,
    with_weights,
)
from pellucid.methods.perturbation.lime_masks import draw_masks, proximity
from pellucid.methods.perturbation.lime_tables import Neighbourhood, make_neighbourhood, pieces
from pellucid.methods.perturbation.removal import (
    Estimates,
    Removal,
    copies_allowed,
    most_parts,
    references_of,
)
from pellucid.methods.perturbation.surrogate import Fit, WeightedRidge
from pellucid.methods.perturbation.unit_maps import explain_units
from pellucid.methods.registry import register_method
from pellucid.task import Task

_MASKS, _ROWS = 1000, 5000
_WIDTH, _WIDTH_OF_TABLES = 0.25, 0.75
_SAMPLINGS = ("uniform", "glime")
_ON_OFF = (
    "no background= was given, so columns were switched between their value and the baseline;"
    " with background= (training rows) neighbours are drawn around the data, as LIME users expect"
)


@register_method("lime")
@dataclass(frozen=True)
class Lime(Method):
    """The weights of a line fitted to the scores of changed copies of x, near ones first.

    b = argmin over a, b of Σ_j π_j (f(x_j) − a − z_j · b)² + ridge · |b|²,  π = √exp(−d² / width²)

    *Images, series:* x_j keeps the units z_j = 1 (`features`, superpixels of images by default)
    and hides the others behind the `baseline` (each unit's own mean, "unit_mean", by default;
    "inpaint" fills them from what is around); d is the cosine
    distance of z_j to all ones, `kernel_width` 0.25, `budget` 1000 copies. Masks come in pairs of
    complements, their sizes evenly along their distribution; all 2^M of them where the budget
    allows. `sampling="glime"` draws them by π instead of weighing them with it: same limit.
    With `background=` hidden units come from its rows in turn, and scores are averaged.
    *Tables with `background=` (training rows):* columns are drawn independently as they are there,
    and z is 1 where a column stays in x's bin (`discretizer`: "quartile", "decile") or category
    (`categorical`: names or numbers of columns; words of a data frame are categories anyway).
    With `discretizer=None` z is the standardised column, and b per standard deviation. d is
    Euclidean, `kernel_width` 0.75 √columns, `budget` 5000 rows, which all samples share: the draw
    does not depend on x. With `fresh=True` each sample has its own draw, at its own cost.
    *Tables without it:* columns are switched to the baseline, a zero unless given.

    Returns one map a sample without channels, in units of the explained score, signed: b_i on
    every position of unit i, with its standard error from drawing the copies. `extras`:
    `unit_values`, `unit_stderr`, `intercept`, `r2` (of the fit, weighted by π), `local_prediction`
    (the line at x) and, of tables, `conditions`. No feature is left out. Cost: `budget` forwards
    a sample, or once for all samples of a table.
    Source: Ribeiro, Singh, Guestrin 2016 (arXiv 1602.04938), algorithm 1; Tan, Tian, Li 2023
    (arXiv 2311.15722). Departs from its authors' package: no penalty by default (`ridge=1` there),
    x itself is none of the copies, and rows are real values of the background where the package
    draws from a truncated normal in each bin.

    Raises `MethodError` for a budget below 2 units + 4 without a `ridge` (8 with one), `InputError`
    for bad options.

    >>> explain(linear, x, "lime").values         # one weight a column, exact for a linear model
    array([[6., 4.]], dtype=float32)
    """

    features: Any = None
    baseline: Any = None
    background: Any = None
    budget: int | None = None
    kernel_width: float | None = None
    ridge: float = 0.0
    sampling: str = "uniform"
    discretizer: str | None = "quartile"
    categorical: Any = ()
    fresh: bool = False

    family = "perturbation"
    shares_forward = True
    conflicts = (("baseline", "background"),)
    cost = "1000 F; of tables 5000 F for all samples together"
    source = "Ribeiro et al. 2016"

    def attribute(self, task: Task) -> Attribution:
        return self.attribute_each(task)[0]

    def attribute_each(self, task: Task) -> tuple[Attribution, ...]:
        self._check()
        kinds = [modality(dims) for dims in task.batch.dims]
        tabular = kinds == ["table"]
        spec = self._spec(kinds)
        features = make_units(task, spec)
        if tabular and self.background is not None:
            return self._around_the_data(task, features[0])
        warnings = (_ON_OFF,) if tabular and self.baseline is None else ()
        return self._on_and_off(task, features, spec, tabular=tabular, warnings=warnings)

    def expected(self, task: Task) -> int | None:
        kinds = [modality(dims) for dims in task.batch.dims]
        rows = 1
        if self.background is not None:
            if kinds == ["table"]:
                drawn = copies_allowed(self.budget, _ROWS)
                (units,) = make_units(task, self.features)
                each = self.fresh or bool((units.units < 0).any())
                return task.count * (1 + drawn) if each else task.count + drawn
            rows = len(task.wrapped.accept(with_weights(self.background)[0], more=True))
        units = most_parts(make_units(task, self._spec(kinds)))
        copies = min(copies_allowed(self.budget, _MASKS, rows), 2**units)
        return task.count * (1 + copies * rows)

    def _spec(self, kinds: list[str]) -> Any:
        """The features; superpixels of images where nothing is asked for."""
        if self.features is not None or "image" not in kinds:
            return self.features
        spec = tuple("superpixels" if kind == "image" else None for kind in kinds)
        return spec[0] if len(spec) == 1 else spec

    def _check(self) -> None:
        if self.sampling not in _SAMPLINGS:
            raise MethodError(
                f"Expected lime's sampling to be one of {_SAMPLINGS}, got {self.sampling!r}."
            )
        if self.kernel_width is not None and not 0 < self.kernel_width < np.inf:
            raise MethodError(f"Expected a kernel_width above 0, got {self.kernel_width!r}.")
        if not 0 <= self.ridge < np.inf:
            raise MethodError(f"Expected a ridge of 0 or more, got {self.ridge!r}.")

    def _on_and_off(
        self,
        task: Task,
        features: tuple[Features, ...],
        spec: Any,
        *,
        tabular: bool,
        warnings: tuple[str, ...],
    ) -> tuple[Attribution, ...]:
        recorded: dict[str, Any] = {"features": spec}
        inpainted, note = False, against(None)
        if self.background is not None:
            references = background_rows(task, self.background)
            note = against(references[0].shape[1])
        else:
            kind = "zeros" if tabular else "unit_mean"
            recorded["baseline"] = kind if self.baseline is None else self.baseline
            references, inpainted = references_of(task, recorded["baseline"], features)
        rows = references[0].shape[1]
        recorded["budget"] = self.budget or _MASKS * rows + 1
        return explain_units(
            task, features, references,
            lambda removal: self._fit_masks(removal, recorded, euclidean=tabular),
            inpainted=inpainted, parameters=recorded, notes=(note,), warnings=warnings,
        )  # fmt: skip

    def _fit_masks(
        self, removal: Removal, recorded: dict[str, Any], *, euclidean: bool
    ) -> Estimates:
        units, rows = removal.count, removal.references[0].shape[1]
        copies = copies_allowed(self.budget, _MASKS, rows)
        self._require(copies, units, rows)
        width = self.kernel_width or (_WIDTH_OF_TABLES * np.sqrt(units) if euclidean else _WIDTH)
        recorded["kernel_width"] = float(width)
        masks = draw_masks(
            proximity(units, width, euclidean), copies,
            removal.task.generator(8), glime=self.sampling == "glime",
        )  # fmt: skip
        ridge = WeightedRidge(
            masks.kept, masks.weights, penalty=self.ridge, cluster=masks.cluster,
            ordered=True, exact=masks.exact,
        )  # fmt: skip
        found = _Found(len(removal.task.targets), len(removal.samples), units)
        removal.progress.estimates = found.estimates
        removal.scores(masks.kept, lambda place, y: found.keep(place, ridge.fit(y), np.ones(units)))
        return found.estimates

    def _require(self, copies: int, units: int, rows: int = 1) -> None:
        wanted = 8 if self.ridge else 2 * units + 4  # a penalty makes up for what copies leave open
        least = min(wanted, 2 ** min(units, 30))
        if copies < least:
            many = f" on {rows} background rows" if rows > 1 else ""
            fewer = "; pellucid.inputs.summarise(background, n) makes fewer rows" if many else ""
            raise MethodError(
                f"lime needs a budget of {least * rows + 1} for {units} features{many}, got"
                f" {self.budget}.\n"
                f"  features= makes fewer, such as 'grid:5' or 'superpixels:20'{fewer}."
            )

    def _around_the_data(self, task: Task, features: Features) -> tuple[Attribution, ...]:
        if self.sampling == "glime":
            raise MethodError(
                "sampling='glime' is for units that are switched on and off; of a table with a"
                " background the neighbours come from the background."
            )
        batch, budget = task.batch, copies_allowed(self.budget, _ROWS)
        (rows,) = background_rows(task, self.background)
        names = task.wrapped.feature_names or batch.columns
        around = make_neighbourhood(
            rows[0], features, discretizer=self.discretizer,
            categorical=_categorical(self.categorical, task),
        )  # fmt: skip
        self._require(budget, around.count)
        width = float(self.kernel_width or _WIDTH_OF_TABLES * np.sqrt(around.count))
        found = _Found(len(task.targets), task.count, around.count)
        x = batch.arrays[0]
        bins, finished = around.codes(x), list[int]()

        def fit(sample: int, drawn: np.ndarray, codes: np.ndarray, scores: np.ndarray) -> None:
            own = x[sample], bins[sample]
            seen, squared = around.seen_from(*own, drawn, codes)
            weights = np.exp(-squared / (2 * width**2))
            at_x = around.seen_from(*own, x[sample, None], bins[sample, None])[0][0]
            line = WeightedRidge(seen, weights, penalty=self.ridge).fit(scores)
            found.keep(sample, line, at_x)
            finished.append(sample)

        def solve(removal: Removal) -> Estimates:
            removal.progress.estimates, removal.progress.finished = found.estimates, finished
            each = self.fresh or around.held.size
            (self._each if each else self._shared)(task, around, budget, fit)
            return found.estimates

        conditions = np.array([around.conditions(row, names, batch.categories) for row in x])
        return explain_units(
            task, (features,), (), solve,
            parameters={"budget": budget + 1, "kernel_width": width},
            notes=(
                f"lime: neighbours drawn around {len(rows[0])} background rows"
                + ("" if self.fresh else f"; {budget} of them shared by all samples"),
            ),
            extras={"conditions": conditions},
        )  # fmt: skip

    @staticmethod
    def _shared(task: Task, around: Neighbourhood, budget: int, fit: Any) -> None:
        drawn, codes = around.draw(budget, task.generator(8))
        outputs = task.outputs_of(task.in_own_type((task.asarray(drawn),)))
        for sample in range(task.count):
            fit(sample, drawn, codes, task.scores_of(outputs, np.full(budget, sample)))

    def _each(self, task: Task, around: Neighbourhood, budget: int, fit: Any) -> None:
        """Rows of each sample's own: a draw of its own, or its values in columns of no unit."""
        batch = task.batch

        def draw(sample: int) -> tuple[np.ndarray, np.ndarray]:
            x = batch.arrays[0][sample]
            own = [task.seed, 8, seed_of(x, batch.dims[0])] if self.fresh else [task.seed, 8]
            rows, codes = around.draw(budget, np.random.default_rng(own))
            rows[:, around.held] = x[around.held]
            return rows, codes

        drawn: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        scores = np.empty((len(task.targets), budget))

        def evaluate(start: int, stop: int) -> np.ndarray:
            parts = []
            for sample, _, own in pieces(start, stop, budget):
                if sample not in drawn:
                    drawn[sample] = draw(sample)
                parts.append(drawn[sample][0][own])
            rows = parts[0] if len(parts) == 1 else np.concatenate(parts)
            return task.scores_of_copies((task.asarray(rows),), np.arange(start, stop) // budget)

        for start, stop, found in task.schedule.run(task.count * budget, evaluate, key="forward"):
            for sample, here, own in pieces(start, stop, budget):
                scores[:, own] = found[:, here]
                if own.stop == budget:
                    fit(sample, *drawn.pop(sample), scores)


class _Found:
    """The lines of all samples as they are fitted, `(targets, samples, units)`."""

    def __init__(self, targets: int, samples: int, units: int) -> None:
        values, errors = np.zeros((2, targets, samples, units))
        names = ("intercept", "r2", "local_prediction")
        self.estimates = Estimates(
            values, errors, {name: np.zeros((targets, samples)) for name in names}
        )

    def keep(self, place: int, line: Fit, at_x: np.ndarray) -> None:
        found = self.estimates
        found.values[:, place] = line.coefficients
        if found.stderr is not None:
            found.stderr[:, place] = line.stderr
        found.extras["intercept"][:, place] = line.intercept
        found.extras["r2"][:, place] = line.r2
        found.extras["local_prediction"][:, place] = line.intercept + line.coefficients @ at_x


def _categorical(given: Any, task: Task) -> tuple[int, ...]:
    """The columns that are categories, by number: those of words, and those given."""
    batch = task.batch
    names, width = task.wrapped.feature_names or batch.columns, batch.arrays[0].shape[1]
    found = [c for c, words in enumerate(batch.categories or ()) if words is not None]
    for column in [given] if isinstance(given, str | int) else given:
        if isinstance(column, str) and names is not None and column in names:
            found.append(names.index(column))
        elif isinstance(column, int | np.integer) and 0 <= column < width:
            found.append(int(column))
        else:
            raise MethodError(
                f"Expected categorical to name columns or number them from 0 to {width - 1}, got"
                f" {column!r}."
            )
    return tuple(found)
