"""Explanations made anew: for other inputs, another target, another seed, other weights."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pellucid.adapters.reweighted import ReweightedAdapter
from pellucid.explain import explain
from pellucid.explanation import Explanation
from pellucid.model import Model
from pellucid.standard.drawing import drawn_anew
from pellucid.standard.maps import positions_of


@dataclass(frozen=True, eq=False)
class Asker:
    """The method and parameters of one explanation, on the same model.

    Inputs are given as the model takes them, after any preprocessing.
    """

    model: Model
    method: str
    parameters: dict[str, Any]
    seed: int
    batch_size: int | str = "auto"

    def positions(
        self, arrays: tuple[np.ndarray, ...], *, target: Any, seed: int | None = None
    ) -> np.ndarray:
        """The map of each row of `arrays`, `(m, positions)`."""
        return positions_of(self.explain(arrays, target=target, seed=seed))

    def explain(
        self, arrays: tuple[np.ndarray, ...], *, target: Any, seed: int | None = None
    ) -> Explanation:
        """The explanation of each row of `arrays`."""
        held = self.model.adapter.as_given(arrays)
        return explain(
            replace(self.model, preprocess=None), held, self.method, target=target,
            seed=self.seed if seed is None else seed, batch_size=self.batch_size,
            **self.parameters,
        )  # fmt: skip

    def with_other_weights(
        self, key: Sequence[int], names: Collection[str] | None = None
    ) -> "Asker":
        """The same for the model with weights drawn anew from `default_rng(key)`.

        Of all its weights, or those of these names: one that is drawn gets the same numbers
        whichever others are.
        """
        adapter, generator = self.model.adapter, np.random.default_rng(list(key))
        drawn = {
            name: adapter.asarray(drawn_anew(np.asarray(adapter.to_numpy(value)), generator))
            for name, value in sorted(adapter.weights().items())
        }
        drawn = {name: value for name, value in drawn.items() if names is None or name in names}
        other = replace(
            self.model, adapter=ReweightedAdapter(adapter, drawn), batch_sizes={}, layer_calls={}
        )
        return replace(self, model=other)
