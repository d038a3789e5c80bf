"""LIME: a line fitted to what the model says of neighbours of one sample."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from pellucid.errors import MethodError
from pellucid.inputs.features import Features
from pellucid.inputs.layout import modality
from pellucid.methods.base import Attribution
from pellucid.methods.perturbation.game import (
    against,
    background_rows,
    make_units,
    with_weights,
)
from pellucid.methods.perturbation.lime_around import AroundTheData
from pellucid.methods.perturbation.lime_fits import (
    WIDTH_OF_TABLES,
    Lines,
    enough_copies,
    require_copies,
)
from pellucid.methods.perturbation.lime_masks import draw_masks, proximity
from pellucid.methods.perturbation.precision import PreciseMethod
from pellucid.methods.perturbation.removal import (
    Estimates,
    Removal,
    copies_allowed,
    most_parts,
    references_of,
)
from pellucid.methods.perturbation.stages import in_stages, strided
from pellucid.methods.perturbation.surrogate import WeightedRidge
from pellucid.methods.perturbation.unit_maps import explain_units
from pellucid.methods.registry import register_method
from pellucid.task import Task

_MASKS, _ROWS = 1000, 5000
_WIDTH = 0.25
_SAMPLINGS = ("uniform", "glime")
_ON_OFF = (
    "no background= was given, so columns were switched between their value and the baseline;"
    " with background= (training rows) neighbours are drawn around the data, as LIME users expect"
)


@register_method("lime")
@dataclass(frozen=True)
class Lime(PreciseMethod):
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

    With `tolerance` (of the largest standard error, in units of the largest weight) or `top` (how
    many units' order is to be settled) copies double until a sample is there, `budget` at most:
    `extras["copies"]` says how many it took, `extras["stopped"]` why no more ("settled" or
    "budget"), `warnings` which are not there.

    Returns one map a sample without channels, in units of the explained score, signed: b_i on
    every position of unit i, with its standard error from drawing the copies. `extras`:
    `unit_values`, `unit_stderr`, `intercept`, `r2` (of the fit, weighted by π), `local_prediction`
    (the line at x) and, of tables, `conditions`. No feature is left out. Cost: `budget` forwards
    a sample, or once for all samples of a table.
    Source: Ribeiro, Singh, Guestrin 2016 (arXiv 1602.04938), algorithm 1; Tan, Tian, Li 2023
    (arXiv 2311.15722). Departs from its authors' package: no penalty by default (`ridge=1` there),
    x itself is none of the copies, and rows are real values of the background where the package
    draws from a truncated normal in each bin.

    Raises `MethodError` for a budget below 2 units + 4 without a `ridge` (8 with one), a tolerance
    or top out of range, `InputError` for other bad options.

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
    tolerance: float | None = None
    top: int | None = None

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
            if self.sampling == "glime":
                raise MethodError(
                    "sampling='glime' is for units that are switched on and off; of a table with a"
                    " background the neighbours come from the background."
                )
            around = AroundTheData(
                self.background, self.budget, copies_allowed(self.budget, _ROWS),
                self.kernel_width, self.ridge, self.discretizer, self.categorical, self.fresh,
                self.precision,
            )  # fmt: skip
            return around.explain(task, features[0])
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
        require_copies(copies, units, rows, budget=self.budget, penalised=self.ridge > 0)
        width = self.kernel_width or (WIDTH_OF_TABLES * np.sqrt(units) if euclidean else _WIDTH)
        recorded["kernel_width"] = float(width)
        masks = draw_masks(
            proximity(units, width, euclidean), copies,
            removal.task.generator(8), glime=self.sampling == "glime",
        )  # fmt: skip
        rng = removal.task.generator(8, 1)
        numbers = [np.arange(len(masks.kept))] if masks.exact else strided(
            enough_copies(units), len(masks.kept), masks.cluster, rng
        )  # fmt: skip

        @cache
        def ridge(stage: int) -> WeightedRidge:
            own = numbers[stage]
            return WeightedRidge(
                masks.kept[own], masks.weights[own], penalty=self.ridge, cluster=masks.cluster,
                ordered=True, exact=masks.exact,
            )  # fmt: skip

        found = Lines(len(removal.task.targets), len(removal.samples), units)
        removal.progress.estimates = found.estimates

        def estimate(place: int, y: np.ndarray, stage: int) -> tuple[np.ndarray, np.ndarray]:
            line = ridge(stage).fit(y)
            found.keep(place, line, np.ones(units))
            return line.coefficients, line.stderr

        in_stages(removal, removal.masks_of(masks.kept), numbers, self.precision, estimate)
        return found.estimates
