"""The boundary: what pellucid asks of a model, whatever framework it was written in.

An adapter is a handful of facts and seven verbs. Everything above it is written once.
Arrays on this side of the boundary are the framework's own; inputs travel as a flat tuple of
arrays (`Leaves`), and the adapter alone knows the structure the user's model wants them in.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from copy import copy
from typing import Any

import numpy as np

from pellucid.adapters.cuts import Cut, Scores
from pellucid.adapters.facts import InputSpec, LayerInfo, OperationInfo, Part, Tier, TreeValues
from pellucid.adapters.operation import Operation
from pellucid.adapters.own_tree import OwnTree
from pellucid.errors import CapabilityError, InputError
from pellucid.types import Array, Leaves, Outputs

Intercept = Callable[[Operation], Array]
"""Decides what an operation returns; `lambda op: op()` changes nothing."""

LAYERS_ONLY: frozenset[str] = frozenset({"layer"})
"""For `run(kinds=...)`: only layer exits are of interest, operations may stay compiled."""


class Adapter(ABC):
    """A model behind facts and verbs. The user's model is the same before and after each.

    Facts: `framework`, `xp` (an array-API namespace for native arrays), `device`,
    `channel_axis` (1 or -1, the layout of this model's images), `supports` (the highest tier),
    `notes` (what a result's provenance should say of how the model was read).
    """

    framework: str
    xp: Any
    channel_axis: int
    supports: Tier
    class_names: tuple[str, ...] | None = None
    """Names the model itself has for its classes, and `feature_names` for its columns."""
    feature_names: tuple[str, ...] | None = None
    outputs_first: bool = False
    """Whether kernels are kept (outputs, inputs, ...) rather than (..., inputs, outputs)."""
    takes_whole_only: bool = False
    """Whether of real numbers the model has refused all but whole ones."""
    compiles_operations: bool = False
    """Whether an operation run by itself is compiled first, anew for every shape: slow at first."""

    compiles_functions: bool = False
    """Whether `compiled` may do a method's whole work, once that was asked for often."""

    def for_one_explanation(self) -> "Adapter":
        """The same model for one explanation, which keeps how its own inputs were held together.

        The model stays as it is meanwhile, so that an adapter may look at its attributes once.
        """
        return copy(self)

    @property
    def shows_layers(self) -> bool:
        """Whether `layers`, `operations` and `run(intercept=)` show what happens in a run.

        Below the tier "transparent" nothing can be changed there.
        """
        return self.supports >= Tier.TRANSPARENT

    @property
    def shows_weights(self) -> bool:
        """Whether `weights` can be read."""
        return self.supports >= Tier.TRAINABLE

    def parts(self) -> tuple[Part, ...]:
        """What the model is made of where that is read and not run, such as a pipeline's steps."""
        return ()

    @property
    def method_of(self) -> Any:
        """The model that a function belongs to, where that could be passed in its place."""
        return None

    @property
    def weight_layers(self) -> Mapping[str, tuple[str, ...]]:
        """The layers that each weight is a parameter of, where its name does not say so."""
        return {}

    def weight_outputs_first(self, name: str) -> bool:
        """`outputs_first` of one weight."""
        return self.outputs_first

    @property
    def columns(self) -> tuple[str, ...] | None:
        """The columns, as the model takes them, of the data frame accepted last."""
        return None

    @property
    def categories(self) -> tuple[tuple[str, ...] | None, ...] | None:
        """For each column of the data frame accepted last: its categories in words, by number.

        None for a column of numbers, and where no data frame is held.
        """
        return None

    @property
    def takes_missing(self) -> bool:
        """Whether a missing number (NaN) in what was accepted last is the model's to refuse."""
        return False

    @property
    @abstractmethod
    def device(self) -> str: ...

    @property
    def backend(self) -> str:
        """The package that computes: the framework itself, except for Keras."""
        return self.framework

    def channel_axis_of(self, rank: int) -> int:
        """Where the channels of an array of this rank are: 1 or -1, `channel_axis` for images."""
        return self.channel_axis

    @property
    def layouts(self) -> tuple[str, ...]:
        """Memory layouts, other than the one as given, that may be faster for this model."""
        return ()

    def arranged(self, leaves: Leaves, layout: str) -> Leaves:
        """The same numbers in one of `layouts`; as they are for ""."""
        return leaves

    @property
    @abstractmethod
    def notes(self) -> tuple[str, ...]: ...

    @property
    @abstractmethod
    def inputs(self) -> tuple[InputSpec, ...] | None:
        """What the model says it expects; None where it does not say."""

    @abstractmethod
    def accept(self, x: Any) -> Leaves:
        """A user's batch as native leaves, in this model's float type and on its device.

        `x` is what the user passed: native tensors, arrays, nested lists of numbers, or a
        tuple, list or dict of those for a model with several inputs. Does not add a batch axis.
        """

    def accept_more(self, x: Any) -> Leaves:
        """Further rows in the form of the batch accepted last, whose structure is kept."""
        return copy(self).accept(x)

    def accept_row(self, row: Mapping[str, Any]) -> np.ndarray:
        """One row of the data frame accepted last, from its values by column."""
        raise InputError("A row by column needs inputs that came as a data frame.")

    @abstractmethod
    def restore(self, leaves: Sequence[Any]) -> Any:
        """`leaves` (of any type) in the structure the user passed to `accept`."""

    def as_given(self, leaves: Sequence[Any]) -> Any:
        """Rows like those accepted last in the form they came in, a data frame as one."""
        return self.restore(leaves)

    @abstractmethod
    def final_activation(self, x: Leaves) -> tuple[str | None, ...]:
        """Per output: "softmax", "log_softmax", "sigmoid" where the model ends in one, else None.

        Decided by walking back from the output and checked on `x`; cached by input shape.
        """

    @abstractmethod
    def layers(self, x: Leaves | None = None) -> tuple[LayerInfo, ...]:
        """The layers in the order their calls return; with `x`, one entry a call, with shapes."""

    @abstractmethod
    def operations(self, x: Leaves) -> tuple[OperationInfo, ...]:
        """The inventory of one run."""

    @abstractmethod
    def run(
        self,
        x: Leaves,
        *,
        peel: bool = True,
        intercept: Intercept | None = None,
        layers: Sequence[str] = (),
        kinds: frozenset[str] | None = None,
        weights: Mapping[str, Array] | None = None,
    ) -> Outputs:
        """An ordinary forward, with the final softmax or sigmoid taken off if `peel`.

        `intercept` is called at every operation that depends on the inputs (an adapter may show
        others too) and at the exit of each path in `layers`; with `kinds`, only for those kinds:
        with "softmax" and without "attention", a fused attention is run as its parts.
        `weights` replaces weights by name for this run.
        """

    def traced(self, fn: Callable[[Leaves], Any], x: Leaves) -> None:
        """`fn(x)` for what it sees on its way; without numbers, where a framework can do that."""
        fn(x)

    @abstractmethod
    def vjp(
        self, fn: Callable[[Leaves], tuple[Array, Any]], x: Leaves
    ) -> tuple[Array, Any, Callable[[Array], Leaves]]:
        """`value, aux = fn(x)` and a pullback from a cotangent of `value` to `x`.

        The pullback may be called many times. Arrays recorded inside `fn` leave only through
        `aux`. A leaf that `value` does not depend on, or of an integer type, gets zeros.
        """

    def compiled_gradients(
        self,
        x: Leaves,
        scores: Scores,
        form: Hashable,
        *,
        peel: bool = True,
    ) -> Callable[[Leaves, tuple[Array, ...]], tuple[Leaves, ...]] | None:
        """For batches like `x`: the gradients of each of `scores(run(x), arguments)`, compiled.

        One function of `(x, arguments)`: a forward pass, and a backward pass a score. None where
        this framework has no such thing, or this model cannot be compiled: `vjp` then does the
        same step by step, and is what the numbers are tested against. `form` tells scores apart:
        of equal form, one compiled function serves all.
        """
        return None

    def compiled(
        self,
        x: Leaves,
        function: Callable[..., tuple[Any, Any]],
        arguments: tuple[Any, ...],
        form: Hashable,
    ) -> tuple[Any, Any] | None:
        """`function(*arguments)` by a compiled function, in which the model is run intercepted.

        `function` uses this adapter's verbs on batches like `x` and on its arguments, which are
        arrays in any nesting, and returns arrays and a fact. It must hold nothing else that
        changes: of equal `form` and shapes, one compiled function serves all, and hands out the
        fact of when it was made. None where this framework has no such thing, where that has
        failed, and the first times that it is asked for: then it is to be done step by step.
        """
        return None

    def is_known(self, a: Array) -> bool:
        """Whether an array has numbers yet, which it has not while a function is compiled."""
        return True

    @abstractmethod
    def cut(self, x: Leaves, layer: str, *, peel: bool = True) -> Cut: ...

    @property
    def own_tree(self) -> OwnTree | None:
        """The questions of a model that is a single decision tree; None for any other."""
        return None

    @property
    def without_trees(self) -> str | None:
        """Why `tree_values` cannot answer, as the end of a sentence; None for an ensemble."""
        return f"a {self.framework} model has none"

    def tree_values(self, x: Leaves, background: Leaves | None) -> TreeValues:
        """What the columns of each row add to a tree ensemble's outputs, found in the trees.

        Expectations are of the background, or of the trees' own training counts. Raises
        `CapabilityError` for a model that is no tree ensemble.
        """
        raise CapabilityError(f"No trees to read: {self.without_trees}.")

    @abstractmethod
    def stop_gradient(self, a: Array) -> Array: ...

    def is_same(self, a: Array, b: Array) -> bool:
        """Whether two native arrays are one, seen by whatever handle."""
        return a is b

    def sloped(self, value: Array, x: Array, slope: Array) -> Array:
        """`value`, whose derivative is `slope` times that of `x`, all of one shape."""
        through = (x - self.stop_gradient(x)) * self.stop_gradient(slope)
        return self.stop_gradient(value) + through

    @abstractmethod
    def custom_vjp(
        self, fn: Callable[..., Array], backward: Callable[..., Any]
    ) -> Callable[..., Array]:
        """`fn(*arrays)` whose derivative is `backward(cotangent, *arrays)`."""

    def derived(
        self,
        fn: Callable[..., Array],
        arrays: tuple[Array, ...],
        value: Array,
        pullback: Callable[[Array], Any],
    ) -> Array:
        """`value`, known to be `fn(*arrays)`, whose derivative is `pullback(cotangent)`."""
        return self.custom_vjp(fn, lambda cotangent, *_: pullback(cotangent))(*arrays)

    @abstractmethod
    def weights(self, select: Callable[[str], bool] | None = None) -> dict[str, Array]: ...

    @abstractmethod
    def asarray(self, a: np.ndarray) -> Array:
        """A NumPy array as a native one on this model's device, its dtype kept."""

    @abstractmethod
    def to_numpy(self, a: Array) -> np.ndarray: ...

    @abstractmethod
    def fingerprint(self) -> str:
        """A short hash of structure and weights: equal for equal models, new after training."""

    @abstractmethod
    def is_out_of_memory(self, error: BaseException) -> bool: ...
