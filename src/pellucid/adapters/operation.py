"""An operation of a run, as an interceptor is handed it, whatever framework it happens in."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from pellucid.adapters.sliding import Sliding
from pellucid.types import Array


class Operation(ABC):
    """An operation about to happen inside a run, handed to an interceptor.

    Calling it performs it; other inputs, other weights, or no bias may be given. An operation
    with several outputs (split, unpack) returns, and wants back, a list of them. At the exit of a
    requested layer `kind` is `"layer"`, and calling it returns what the layer returned (the first
    array, where it returned several).

    Kinds: linear, bias, activation, norm, softmax, attention, pool, mul, add, route, rnn, lookup,
    composite; and those that a rule must refuse: other, opaque (a loop or branch seen from
    outside), custom_gradient, untracked (inside the model's own no-gradient block), detached (it
    hides a live value's derivative, or meets what was hidden so).

    `form` says what it computes in words that all frameworks share, where a rule asks: relu,
    relu6; product (linear in each of two live inputs), quotient, squared_difference; softmax,
    log_softmax, logsumexp (with `arguments["axis"]`, one or several); affine_norm, layer_norm,
    group_norm, instance_norm, rms_norm, batch_statistics (a norm by its batch's own);
    euclidean_norm (the root of a sum of squares); maximum, minimum (each output is one of its
    inputs); order (where the largest are, or all by size); select (one of two inputs by a boolean
    third), boolean (true or false, so without a derivative);
    detached_maximum (a maximum cut off, as what a softmax is shifted by);
    dot_product_attention; sigmoid, tanh, erf, clip; rsqrt, power (roots, powers, exponentials:
    parts of formulas more often than units of a network); of linear kinds: convolution, dense,
    scale (by a constant);
    move (the same numbers); mirror (a constant minus it).
    """

    kind: str
    name: str
    form: str = ""
    path: str
    call: int
    index: int
    live: tuple[bool, ...]
    """Which inputs depend on the model's inputs."""
    inputs: tuple[Any, ...]
    weights: Mapping[str, Array]
    arguments: Mapping[str, Any]
    sources: tuple[int, ...] = ()

    @abstractmethod
    def __call__(
        self,
        *,
        inputs: tuple[Any, ...] | None = None,
        weights: Mapping[str, Array] | None = None,
        bias: bool = True,
    ) -> Array: ...

    def sliding(self) -> Sliding | None:
        """How it slides over space, where it does and the adapter knows; else None."""
        return None
