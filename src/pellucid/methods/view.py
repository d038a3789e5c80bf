"""The model as a user's own method sees it: NumPy in, NumPy out, every row counted."""

from typing import Any

import numpy as np

from pellucid.adapters.protocol import LayerInfo
from pellucid.errors import CapabilityError, InputError
from pellucid.running.outputs import run_checked, single_output
from pellucid.task import Task
from pellucid.types import Leaves, is_array


class ModelView:
    """What a registered function is given as `model`.

    `model(x)` the explained outputs; `model.score(x)` the target's number for each row;
    `model.gradient(x)` its gradient; `model.layers()` the layers. Rows beyond the batch's own
    need `rows`, the sample that each belongs to.
    """

    def __init__(self, task: Task) -> None:
        self._task = task

    @property
    def seed(self) -> int:
        """What every random draw should come from."""
        return self._task.seed

    def __call__(self, x: Any) -> np.ndarray:
        """The outputs as explained (logits where a final softmax was taken off), `(m, ...)`."""
        leaves = self._leaves(x)
        adapter = self._task.wrapped.adapter

        def evaluate(a: int, b: int) -> np.ndarray:
            rows = np.arange(a, b)
            outputs = run_checked(self._task.model, tuple(v[a:b] for v in leaves), adapter, rows)
            outputs = single_output(outputs)
            if not is_array(outputs):
                raise CapabilityError(
                    "This model returns several arrays, so its outputs are not one.\n"
                    "  model.score(x) gives the target's number for each row."
                )
            return self._task.to_numpy(outputs)

        run = self._task.schedule.run(int(leaves[0].shape[0]), evaluate, key="forward")
        return np.concatenate([out for _, _, out in run])

    def score(self, x: Any, rows: Any = None) -> np.ndarray:
        """The explained number of each row, `(m,)`."""
        leaves, rows = self._leaves(x), self._rows(x, rows)
        run = self._task.schedule.run(
            len(rows),
            lambda a, b: self._task.score_of(tuple(v[a:b] for v in leaves), rows[a:b]),
            key="forward",
        )
        return np.concatenate([out for _, _, out in run])

    def gradient(self, x: Any, rows: Any = None) -> Any:
        """∂score/∂x, of x's shape (a tuple for several inputs), float32."""
        self._require_gradient()
        leaves, rows = self._leaves(x), self._rows(x, rows)

        def evaluate(a: int, b: int) -> tuple[np.ndarray, ...]:
            grads = self._task.gradient(tuple(v[a:b] for v in leaves), rows[a:b])[1]
            return tuple(self._task.to_numpy(g).astype(np.float32) for g in grads)

        parts = [out for _, _, out in self._task.schedule.run(len(rows), evaluate, key="gradient")]
        joined = tuple(np.concatenate(column) for column in zip(*parts, strict=True))
        return joined if len(joined) > 1 else next(iter(joined))

    def layers(self) -> tuple[LayerInfo, ...]:
        """The calls of layers in one run, with output shapes."""
        return self._task.wrapped.adapter.layers(tuple(a[:1] for a in self._task.x))

    def _require_gradient(self) -> None:
        if self._task.wrapped.supports < 1:
            raise CapabilityError(
                "This model can only be run, so it gives no gradients.\n"
                "  model.score(x) works; wrap(function, framework='torch') if it is differentiable."
            )

    def _leaves(self, x: Any) -> Leaves:
        given = tuple(x) if isinstance(x, tuple | list) and not _is_rows(x) else (x,)
        own = self._task.batch.arrays
        arrays = [np.asarray(self._task.to_numpy(a)) for a in given]
        fits = len(arrays) == len(own) and all(
            a.ndim == b.ndim and a.shape[0] == arrays[0].shape[0] > 0
            for a, b in zip(arrays, own, strict=False)
        )
        if not fits:
            wanted = ", ".join(f"({', '.join(map(str, ('m', *b.shape[1:])))})" for b in own)
            raise InputError(
                f"Expected the method to call the model with rows of shape {wanted}, got"
                f" {', '.join(str(a.shape) for a in arrays)}."
            )
        return tuple(
            self._task.asarray(a.astype(b.dtype)) for a, b in zip(arrays, own, strict=True)
        )

    def _rows(self, x: Any, rows: Any) -> np.ndarray:
        count = len(x[0] if isinstance(x, tuple) else x)
        if rows is None:
            if count != self._task.count:
                raise InputError(
                    f"{count} rows for {self._task.count} samples: say with rows= which sample"
                    " each row belongs to."
                )
            return np.arange(count)
        numbers = np.asarray(rows, dtype=np.int64)
        if numbers.shape != (count,) or not ((numbers >= 0) & (numbers < self._task.count)).all():
            raise InputError(
                f"Expected rows= to hold a sample number from 0 to {self._task.count - 1} for each"
                f" of {count} rows, got {rows!r}."
            )
        return numbers


def _is_rows(x: Any) -> bool:
    """A list of numbers or of rows of numbers, rather than one array an input."""
    return isinstance(x, list) and not all(map(is_array, x))
