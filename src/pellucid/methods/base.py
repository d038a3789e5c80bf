"""What a method is: a frozen dataclass whose fields are its parameters."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import numpy as np

from pellucid.adapters.protocol import Operation, OperationInfo, Tier
from pellucid.inputs.features import Features
from pellucid.task import Task
from pellucid.types import Outputs


@dataclass(frozen=True)
class Attribution:
    """What a method hands back: bare NumPy arrays, one per input, with the batch axis.

    `dims` names the axes of maps that do not have the input's own shape. `baseline` and
    `baseline_score` are set by methods that compare with a reference input. `parameters`
    overrides what the result records for them, such as the layer that was chosen. `notes` join
    those of the result's provenance: what was compared with what. `all_against` `(n,)` marks the
    samples whose map is zero because all there was lay below zero and was cut off. `uncovered`
    names operations that passed on their plain gradient for want of a rule. `units` says what was
    counted as one in each input, and `in_equal_parts` that positions share its value.
    """

    values: tuple[np.ndarray, ...]
    stderr: tuple[np.ndarray, ...] | None = None
    dims: tuple[tuple[str, ...], ...] | None = None
    baseline: tuple[np.ndarray, ...] | None = None
    baseline_score: np.ndarray | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    extras: Mapping[str, np.ndarray] = field(default_factory=dict)
    shared_extras: frozenset[str] = frozenset()
    """Which `extras` are of the batch as a whole; all others of its length go by sample."""
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    all_against: np.ndarray | None = None
    uncovered: tuple[str, ...] = ()
    units: tuple[Features, ...] | None = None
    in_equal_parts: bool = False


class Method(ABC):
    """One way to explain. Subclasses are frozen dataclasses and final.

    A field named `baseline`, `features`, `layer`, `budget` or `tolerance` takes the argument of
    that name of `explain`; a method without the field refuses it.
    """

    name: ClassVar[str]
    family: ClassVar[str] = "custom"
    needs: ClassVar[Tier] = Tier.CALLABLE
    modalities: ClassVar[frozenset[str]] = frozenset()
    """The kinds of input it works on; empty for all."""
    several_inputs: ClassVar[bool] = True
    """Whether it works on models with more than one input."""
    claims_completeness: ClassVar[bool] = False
    shares_with_biases: ClassVar[bool] = False
    """Constants of the model keep a part of the score by the method's own rules: a gap is none."""
    opens_at_layer: ClassVar[bool] = False
    """The prediction comes from the cut the method makes, so that the model runs once."""
    opens_with_gradient: ClassVar[bool] = False
    """The prediction keeps its graph, so that one gradient at x needs no second forward."""
    works_at_layer: ClassVar[bool] = False
    """With its field `layer` set, the task's leaves are what that layer returned."""
    always_at_layer: ClassVar[bool] = False
    """It works at a layer also where none is named: at the one that gradcam would take."""
    shares_forward: ClassVar[bool] = False
    """`attribute_each` explains several targets from the same forward passes."""
    is_global: ClassVar[bool] = False
    """x is a data set whose rows serve to explain each other: no sample stands for itself."""
    is_attribution: ClassVar[bool] = True
    """Its values say what counts for the target, so they can be judged and chosen among."""
    values_are_losses: ClassVar[bool] = False
    """Its values are what is lost: their mean over samples counts, not that of their size."""
    needs_trees: ClassVar[bool] = False
    """Works on ensembles of trees only; see `Adapter.without_trees`."""
    needs_attention: ClassVar[bool] = False
    """Works on models that attend only; which those are is seen in a run."""
    refusals: ClassVar[Mapping[str, str]] = {}
    """Why it does not take a parameter that methods like it take."""
    instead: ClassVar[str] = "integrated_gradients"
    """The nearest method that needs no rules, for methods whose operations need some."""
    conflicts: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Pairs of parameters that may not be given together."""
    cost: ClassVar[str] = ""
    """Model evaluations a sample, in forward-equivalents, for people."""
    source: ClassVar[str] = ""

    @abstractmethod
    def attribute(self, task: Task) -> Attribution: ...

    def begin(self, task: Task) -> tuple[Outputs, Any] | None:
        """The prediction out of the method's own forward pass, and what is left in `task.begun`.

        For methods whose forward pass says what the model says; asked where one micro-batch holds
        all. None where the model is to be run by itself first.
        """
        return None

    def expected(self, task: Task) -> int | None:
        """Rows that the model will run for the task's batch, its prediction included, at most.

        None where only running tells. Nothing is run to find out.
        """
        return None

    def rule_of(self, op: Operation) -> str | None:
        """The rule that an operation on the way gets; None where it has none and needs one."""
        return "gradient" if self.needs >= Tier.DIFFERENTIABLE else "none needed"

    def rules_by_place(
        self, operations: Sequence[OperationInfo], layer: str | None
    ) -> Mapping[int, str]:
        """The rules that depend on where in a run an operation is, by index: above `rule_of`."""
        return {}

    def attribute_each(self, task: Task) -> tuple[Attribution, ...]:
        """One attribution for each of the task's targets."""
        return (self.attribute(task),)

    def parameters(self) -> dict[str, Any]:
        """The parameters in force, defaults filled in."""
        return {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
