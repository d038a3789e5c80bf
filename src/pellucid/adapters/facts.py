"""What an adapter says of a model: how much it can be asked, its inputs, layers, operations."""

import enum
from dataclasses import dataclass

import numpy as np


class Tier(enum.IntEnum):
    """What a model can be asked. Each tier includes the ones before it."""

    CALLABLE = 0
    """Run it."""
    DIFFERENTIABLE = 1
    """Run it and pull gradients back to its inputs."""
    TRANSPARENT = 2
    """Intercept its layers and operations, cut it in two."""
    TRAINABLE = 3
    """Read and replace its weights."""


@dataclass(frozen=True)
class InputSpec:
    """One input the model expects: its name, shape without the batch axis, and dtype.

    `None` in `shape` is a free size; `shape=None` means that nothing is known. A shape that was
    guessed from the model's first weights is not `certain`: it may add a batch axis, not refuse.
    """

    name: str
    shape: tuple[int | None, ...] | None
    dtype: str | None
    certain: bool = True


@dataclass(frozen=True)
class LayerInfo:
    """One call of one layer: `path` as the model prints it, `path#2` for a second call."""

    path: str
    kind: str
    """Class name of the layer, for people."""
    shape: tuple[int | None, ...] | None
    """Shape of its (first) output, batch axis included; None until a run has shown it."""
    parameters: int
    order: int
    """Position in the order in which calls return; the last is nearest the output."""


@dataclass(frozen=True)
class Part:
    """A part of a model that is read and not run: a pipeline's step, an ensemble's member.

    `sources` are the paths of the parts whose results it takes, none where it takes the inputs;
    `parent` is the part it is in. `words` say what it has learned, for people.
    """

    path: str
    kind: str
    parameters: int
    shape: tuple[int | None, ...] | None
    sources: tuple[str, ...] = ()
    multiply_adds: int | None = None
    parent: str | None = None
    words: str = ""
    kind_of_work: str = ""


@dataclass(frozen=True)
class OperationInfo:
    """One operation of one run, as `operations()` lists it."""

    index: int
    kind: str
    name: str
    path: str
    call: int
    shape: tuple[int, ...] | None
    live: tuple[bool, ...]
    form: str = ""
    sources: tuple[int, ...] = ()
    """For each input, the index of the operation that made it; -1 where none of these did."""


@dataclass(frozen=True)
class TreeValues:
    """`values (n, columns, *outputs)` and what they start from, `base (*outputs)`, float64."""

    values: np.ndarray
    base: np.ndarray
    source: str
    """Whose algorithm found them, for people."""


OPERATION_KINDS: frozenset[str] = frozenset(
    "linear bias activation norm softmax attention pool mul add route rnn lookup composite other"
    " opaque custom_gradient untracked detached".split()
)
WHOLE = "whole"
"""In the `kinds` of a run: what is made of inputs that are whole numbers is shown as live too, by
an adapter that reads that off derivatives."""
INSIDE: frozenset[str] = frozenset({"linear", "bias", "activation", "mul", "add"})
"""What loops and recurrent layers are made of: a run that names one of these in `kinds` has them
opened, and shows the operations of every step. Otherwise each is one operation."""
