"""What an operation that slides over space says of itself: enough to compute a part of it."""

from collections.abc import Callable
from dataclasses import dataclass

from pellucid.types import Array


@dataclass(frozen=True)
class Sliding:
    """An operation whose every output looks at a box of its input: convolution, pooling, padding.

    Output o along an axis looks at the places o · stride − before + dilation · (0 ... size − 1);
    places outside of the input hold `fill`, and there are as many outputs as the operation made.
    `apply(part)` is the operation without its padding on a part of the input, any number of rows.
    """

    axes: tuple[int, ...]
    """The axes of the input, and of the output, that it slides along."""
    size: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    before: tuple[int, ...]
    """Places of padding before the first one."""
    fill: float
    apply: Callable[[Array], Array]
    place: int = 0
    """Which of the operation's inputs it slides over."""

    def extent(self, axis: int) -> int:
        """How many places lie between the first and the last one looked at, both included."""
        return (self.size[axis] - 1) * self.dilation[axis] + 1
