"""The model over one batch, asked about changed copies: what all metrics share."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from pellucid.counting import CountedModel
from pellucid.engine.schedule import Progress, Schedule
from pellucid.errors import InputError
from pellucid.model import Model
from pellucid.running.outputs import check_class_names
from pellucid.standard.imputers import make_imputers, spread_of
from pellucid.standard.maps import position_shape
from pellucid.standard.outputs import decisions, output_matrix
from pellucid.standard.told import Copies, Known, Told
from pellucid.standard.units import unit_numbers
from pellucid.targets import resolve_target
from pellucid.task import Task
from pellucid.types import Evaluations, Leaves, TargetLike, is_array, shape_of

SIZES = (0.05, 0.1, 0.2, 0.4, 0.8)
SUBSETS = 20
"""Random subsets of each size."""

Kept = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Subject:
    """One model, one batch and what is explained of it; f(x) and f(x') are asked once.

    `background (rows, ...)` is what "the data" means: removed features are drawn from it, noise is
    measured in its spread.
    """

    def __init__(
        self,
        model: Model,
        x: Any,
        *,
        target: TargetLike = None,
        background: Any = None,
        imputers: Sequence[str] | None = None,
        seed: int = 0,
        batch_size: int | str = "auto",
        progress: Progress | None = None,
        known: Known | None = None,
    ) -> None:
        # An adapter remembers how the last inputs were held together.
        model = replace(model, adapter=model.adapter.for_one_explanation())
        batch = model.accept(x)
        counted = CountedModel(model.adapter, peel=model.peel)
        schedule = Schedule(
            batch_size, is_out_of_memory=model.adapter.is_out_of_memory, memory=model.batch_sizes,
            progress=progress, kind=" ".join(f"{a.shape[1:]}{a.dtype}" for a in batch.arrays) + " ",
            layouts=model.adapter.layouts,
        )  # fmt: skip
        self.task = Task(model, batch, counted, seed=seed, schedule=schedule, keeps_integers=False)
        if known:
            self.task.outputs = self.task.asarray(known["outputs"])
        else:
            self.task.predict()
        check_class_names(model.class_names, self.task.outputs)
        self.explained = model.explained(batch.leaves)
        self.task.set_target(
            resolve_target(
                target, self.task.outputs, len(batch), model.class_names,
                explained=self.explained, to_numpy=model.adapter.to_numpy,
            )
        )  # fmt: skip
        # Some learn it in their first run, of which a search that goes on has the record only.
        self._whole_only = model.adapter.takes_whole_only or bool(known and "whole only" in known)
        self.background = _background(model, batch.arrays, background)
        self.scores = self.task.scores()[0]
        self.outputs = output_matrix(self.task)
        self.imputers = make_imputers(
            imputers, batch, self.background, whole=self.whole, seed=self.seed
        )
        self._told = Told.of(known or {})

    @property
    def known(self) -> Known:
        """What the model said of this batch so far, for a `Subject` of it that need not ask."""
        outputs = self.task.outputs
        if not is_array(outputs) or len(shape_of(outputs)) > 2:
            return {}  # a file of numbers by row holds neither several outputs nor maps
        found = self._told.plain(self.task.to_numpy(outputs))
        return {**found, "whole only": np.ones(1)} if found and self._whole_only else found

    @property
    def count(self) -> int:
        return self.task.count

    @property
    def seed(self) -> int:
        return self.task.seed

    @property
    def evaluations(self) -> Evaluations:
        return self.task.model.evaluations

    @property
    def dims(self) -> tuple[tuple[str, ...], ...]:
        """The names of each input's axes."""
        return self.task.batch.dims

    @property
    def whole(self) -> tuple[bool, ...]:
        """Of each input, whether it holds whole numbers and nothing between them."""
        return tuple(self._whole_only or a.dtype.kind != "f" for a in self.task.batch.arrays)

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shape of each input's positions."""
        batch = self.task.batch
        pairs = zip(batch.arrays, batch.dims, strict=True)
        return tuple(position_shape(a.shape, dims) for a, dims in pairs)

    @property
    def positions(self) -> int:
        """How many there are, over all inputs."""
        return sum(int(np.prod(shape)) for shape in self.shapes)

    @cached_property
    def unit_of(self) -> np.ndarray:
        """Which unit each position is removed with, `(positions,)`; see `unit_numbers`."""
        return unit_numbers(self.shapes, self.dims)

    @property
    def units(self) -> int:
        """How many units there are."""
        return int(self.unit_of.max()) + 1

    def generator(self, *purpose: int) -> np.random.Generator:
        """A random generator of the seed; the same for every explanation that is judged."""
        return np.random.default_rng([self.seed, 40, *purpose])

    def target_of(self, rows: np.ndarray) -> Any:
        """What is explained of these samples, as `explain` takes it."""
        target, names = self.task.target, self.task.wrapped.class_names
        if target.function is not None:
            return target.function
        if target.chosen is not None and target.against is not None:
            return [(int(target.chosen[i]), int(target.against[i])) for i in rows]
        if target.chosen is not None:
            return [int(target.chosen[i]) for i in rows]
        if names is None or len(names) != 2 or target.first is None:
            return None
        first = target.first[rows]
        if target.paired:
            return [(0, 1) if own else (1, 0) for own in first]
        return [0 if own else 1 for own in first]

    def runner_up(self) -> np.ndarray | None:
        """The class with the largest output but the explained one, `(n,)`; None without classes."""
        chosen = self.task.target.chosen
        if self.outputs is None or self.outputs.shape[1] < 2 or chosen is None:
            return None
        others = self.outputs.copy()
        np.put_along_axis(others, chosen[:, None], -np.inf, axis=1)
        return others.argmax(axis=1)

    def forward_seconds(self, sample: int) -> float:
        """How long the model takes for one sample alone."""
        leaves = tuple(a[sample : sample + 1] for a in self.task.x)
        began = time.perf_counter()
        outputs = self.task.run(leaves, np.array([sample]))
        self.task.to_numpy(self.task.score(outputs, np.array([sample])))
        return time.perf_counter() - began

    def spreads(self) -> tuple[np.ndarray, ...]:
        """The standard deviation of the data, for each input, to broadcast over one sample."""
        pairs = zip(self.background, self.task.batch.dims, strict=True)
        return tuple(spread_of(rows, dims) for rows, dims in pairs)

    def removed(self, imputer: str, count: int, kept: Kept) -> Copies:
        """The model on `count` copies of each sample with positions removed.

        `kept(samples, numbers)` says of copy `numbers[k]` of sample `samples[k]` what stays,
        `(m, units)` booleans over the units of all inputs; see `unit_of`.
        """
        fillers = self.imputers[imputer]
        rows = max(f.rows for f in fillers)

        def leaves(samples: np.ndarray, numbers: np.ndarray, draws: np.ndarray) -> Leaves:
            stays = kept(samples, numbers)
            if self.units < self.positions:
                stays = stays[:, self.unit_of]
            pieces = np.split(stays, self.borders, axis=1)
            return tuple(
                self.task.asarray(f.fill(samples, draws % f.rows, p.reshape(-1, *shape)))
                for f, p, shape in zip(fillers, pieces, self.shapes, strict=True)
            )

        return self._stream(count, rows, leaves)

    def shifted(self, noise: tuple[np.ndarray, ...]) -> Copies:
        """The model on x + noise for each of some draws `(draws, ...)`, the same for all samples.

        Inputs of whole numbers stay as they are.
        """

        def leaves(samples: np.ndarray, numbers: np.ndarray, draws: np.ndarray) -> Leaves:
            near = self.moved(tuple(z[numbers] for z in noise), samples)
            return tuple(map(self.task.asarray, near))

        return self._stream(len(noise[0]), 1, leaves)

    def moved(
        self, noise: tuple[np.ndarray, ...], samples: np.ndarray | slice = slice(None)
    ) -> tuple[np.ndarray, ...]:
        """These samples with `noise` added, of one sample or one for each.

        Inputs of whole numbers stay as they are.
        """
        return tuple(
            a[samples] if whole else (a[samples] + z).astype(a.dtype)
            for a, z, whole in zip(self.task.batch.arrays, noise, self.whole, strict=True)
        )

    def shifted_once(self, what: str, noise: tuple[np.ndarray, ...]) -> Copies:
        """`shifted` by the noise of this name, which is the same for everything judged."""
        if what not in self._told.shifts:
            self._told.shifts[what] = self.shifted(noise)
        return self._told.shifts[what]

    def empty_scores(self, imputer: str) -> np.ndarray:
        """The score f(x') of each sample with everything removed, `(n,)`."""
        if imputer not in self._told.empty:

            def nothing(samples: np.ndarray, numbers: np.ndarray) -> np.ndarray:
                return np.zeros((len(samples), self.units), dtype=bool)

            self._told.empty[imputer] = self.removed(imputer, 1, nothing).scores[:, 0]
        return self._told.empty[imputer]

    @cached_property
    def subsets(self) -> np.ndarray:
        """Random subsets of the units, the same for everything judged: `(sizes, 20, units)`.

        Of 5, 10, 20, 40 and 80 % of them, those sizes that differ.
        """
        size, generator = self.units, self.generator(4)
        wanted = sorted({min(max(1, round(f * size)), max(size - 1, 1)) for f in SIZES})
        found = np.zeros((len(wanted), SUBSETS, size), dtype=bool)
        for own, k in zip(found, wanted, strict=True):
            for row in own:
                row[generator.choice(size, k, replace=False)] = True
        return found

    def subset_scores(self, imputer: str) -> np.ndarray:
        """The score of each sample without each of `subsets`, `(n, sizes, 20)`; asked once."""
        if imputer not in self._told.subsets:
            flat = self.subsets.reshape(-1, self.units)
            copies = self.removed(imputer, len(flat), lambda _, numbers: ~flat[numbers])
            self._told.subsets[imputer] = copies.scores.reshape(-1, *self.subsets.shape[:2])
        return self._told.subsets[imputer]

    @property
    def borders(self) -> np.ndarray:
        return np.cumsum([int(np.prod(shape)) for shape in self.shapes])[:-1]

    def _stream(
        self,
        count: int,
        rows: int,
        leaves: Callable[[np.ndarray, np.ndarray, np.ndarray], Leaves],
    ) -> Copies:
        """`count` copies of each sample, each evaluated `rows` times and averaged."""
        scores = np.zeros((self.count, count))
        same = np.zeros((self.count, count))
        size = count * rows

        def evaluate(start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
            samples, rest = np.divmod(np.arange(start, stop), size)
            numbers, draws = np.divmod(rest, rows)
            return self._evaluated(leaves(samples, numbers, draws), samples)

        for start, stop, (score, kept) in self.task.schedule.run(
            self.count * size, evaluate, key="forward", layouts=True
        ):
            samples, rest = np.divmod(np.arange(start, stop), size)
            np.add.at(scores, (samples, rest // rows), score)
            np.add.at(same, (samples, rest // rows), kept)
        return Copies(scores / rows, same > 0.5 * rows)

    def _evaluated(self, leaves: Leaves, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        task = self.task
        leaves = task.model.adapter.arranged(task.in_own_type(leaves), task.schedule.layout)
        with task.naming_samples(leaves, samples):
            outputs = task.run(leaves, samples)
        scores = task.scores_of(outputs, samples)[0]
        scores = np.where(np.isfinite(scores), scores, np.nan)
        return scores, self._same_class(outputs, samples)

    def _same_class(self, outputs: Any, samples: np.ndarray) -> np.ndarray:
        """Whether the model still decides as it does for the sample itself; True of regression."""
        if self.outputs is None:
            return np.ones(len(samples), dtype=bool)
        found = self.task.to_numpy(outputs).astype(np.float64).reshape(len(samples), -1)
        return decisions(found, self.explained) == decisions(self.outputs, self.explained)[samples]


def _background(model: Model, arrays: Sequence[np.ndarray], given: Any) -> tuple[np.ndarray, ...]:
    if given is None:
        return tuple(arrays)
    rows = model.accept(given, more=True).arrays
    for own, array in zip(rows, arrays, strict=True):
        if own.shape[1:] != array.shape[1:]:
            raise InputError(
                f"Expected a background of rows like the inputs, {array.shape[1:]}, got"
                f" {own.shape[1:]}."
            )
    return rows
