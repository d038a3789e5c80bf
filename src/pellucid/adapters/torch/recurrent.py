"""Recurrent layers as the steps they are made of, for rules that want to see those.

The values are those of torch's own calls; the formulas are those of its documentation.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional as F

from pellucid.adapters.torch.calls import depends, is_wrapped

STEPPED: frozenset[str] = frozenset(
    "lstm gru rnn_tanh rnn_relu lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell".split()
)
"""Calls that `in_steps` can make."""

Cell = Callable[[torch.Tensor, tuple[torch.Tensor, ...], Sequence[Any]], tuple[torch.Tensor, ...]]
"""From what the input adds, the state and the recurrent weights to the next state."""


def with_live_states(args: tuple[Any, ...]) -> tuple[tuple[Any, ...], list[torch.Tensor]]:
    """The arguments with first states that operations follow like later ones, and these states.

    Else a gate beside a state that is a constant would be taken for the signal.
    """
    if not (torch.is_grad_enabled() and depends(args[0])):
        return args, []
    packed = isinstance(args[1], torch.Tensor) and args[1].dtype == torch.int64
    place, made = 2 if packed else 1, []

    def live(state: torch.Tensor) -> torch.Tensor:
        if depends(state) or is_wrapped(state):
            return state
        made.append(state.detach().requires_grad_())
        return made[-1]

    first = args[place]
    first = live(first) if isinstance(first, torch.Tensor) else [live(s) for s in first]
    return (*args[:place], first, *args[place + 1 :]), made


def in_steps(name: str, args: tuple[Any, ...]) -> Any:
    """What the call `name(*args)` of torch's recurrent functions returns, step by step."""
    if name.endswith("_cell"):
        return _cell_call(name.removesuffix("_cell"), *args)
    states = 2 if name == "lstm" else 1
    if isinstance(args[1], torch.Tensor) and args[1].dtype == torch.int64 and args[1].ndim == 1:
        data, batch_sizes, hx, weights, biased, layers, dropout, train, both = args
        sizes, batch_first = batch_sizes.tolist(), False
    else:
        data, hx, weights, biased, layers, dropout, train, both, batch_first = args
        sizes = None
    first = list(hx) if states == 2 else [hx]
    ways = 2 if both else 1
    each = len(weights) // (layers * ways)
    steps = _split(data.transpose(0, 1) if batch_first else data, sizes)
    last: list[tuple[torch.Tensor, ...]] = []
    for layer in range(layers):
        found = []
        for way in range(ways):
            number = layer * ways + way
            own = _weights(weights[number * each : (number + 1) * each], biased, name)
            start = tuple(s[number] for s in first)
            outputs, end = _run(_CELLS[name], steps, start, own, backward=way == 1)
            found.append(outputs)
            last.append(end)
        steps = [torch.cat(parts, dim=-1) for parts in zip(*found, strict=True)]
        if dropout and train and layer < layers - 1:
            steps = [F.dropout(s, dropout) for s in steps]
    whole = torch.cat(steps) if sizes is not None else torch.stack(steps, int(batch_first))
    ends = tuple(torch.stack([end[k] for end in last]) for k in range(states))
    return (whole, *ends)


def _split(data: torch.Tensor, sizes: list[int] | None) -> list[torch.Tensor]:
    """The rows of each time step; fewer and fewer of a packed sequence."""
    return list(data.unbind(0)) if sizes is None else list(data.split(sizes))


def _weights(given: Sequence[torch.Tensor], biased: bool, name: str) -> tuple[Any, ...]:
    """Input weights, recurrent weights, both biases, and a projection; None where there is none."""
    rest = list(given[2:])
    biases = (rest.pop(0), rest.pop(0)) if biased else (None, None)
    return (*given[:2], *biases, rest[0] if rest else None)


def _run(
    cell: Cell,
    steps: Sequence[torch.Tensor],
    state: tuple[torch.Tensor, ...],
    weights: tuple[Any, ...],
    *,
    backward: bool,
) -> tuple[list[torch.Tensor], tuple[torch.Tensor, ...]]:
    """The outputs of one layer in one direction, in the order of time, and its last state."""
    outputs: list[Any] = [None] * len(steps)
    for t in reversed(range(len(steps))) if backward else range(len(steps)):
        rows = len(steps[t])
        now = tuple(s[:rows] for s in state)
        new = cell(F.linear(steps[t], weights[0], weights[2]), now, weights[1:])
        outputs[t] = new[0]
        waiting = rows < len(state[0])
        state = tuple(
            torch.cat([n, s[rows:]]) if waiting else n for n, s in zip(new, state, strict=True)
        )
    return outputs, state


def _cell_call(
    name: str, x: torch.Tensor, hx: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None
) -> Any:
    state = tuple(hx) if name == "lstm" else (hx,)
    new = _CELLS[name](F.linear(x, w_ih, b_ih), state, (w_hh, b_ih, b_hh, None))
    return new if name == "lstm" else new[0]


def _lstm(
    added: torch.Tensor, state: tuple[torch.Tensor, ...], weights: Sequence[Any]
) -> tuple[torch.Tensor, ...]:
    hidden, memory = state
    gates = added + F.linear(hidden, weights[0], weights[2])
    taken, kept, new, shown = gates.chunk(4, dim=-1)
    memory = torch.sigmoid(kept) * memory + torch.sigmoid(taken) * torch.tanh(new)
    hidden = torch.sigmoid(shown) * torch.tanh(memory)
    return (hidden if weights[3] is None else F.linear(hidden, weights[3]), memory)


def _gru(
    added: torch.Tensor, state: tuple[torch.Tensor, ...], weights: Sequence[Any]
) -> tuple[torch.Tensor, ...]:
    (hidden,) = state
    own = F.linear(hidden, weights[0], weights[2]).chunk(3, dim=-1)
    reset, update, new = added.chunk(3, dim=-1)
    reset, update = torch.sigmoid(reset + own[0]), torch.sigmoid(update + own[1])
    new = torch.tanh(new + reset * own[2])
    return ((1 - update) * new + update * hidden,)


def _plain(activation: Callable[[torch.Tensor], torch.Tensor]) -> Cell:
    def cell(
        added: torch.Tensor, state: tuple[torch.Tensor, ...], weights: Sequence[Any]
    ) -> tuple[torch.Tensor, ...]:
        return (activation(added + F.linear(state[0], weights[0], weights[2])),)

    return cell


_CELLS: dict[str, Cell] = {
    "lstm": _lstm,
    "gru": _gru,
    "rnn_tanh": _plain(torch.tanh),
    "rnn_relu": _plain(torch.relu),
}
