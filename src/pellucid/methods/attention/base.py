"""What all methods of attention share: which attentions, whose row is read, the way back."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pellucid.adapters.attention import AttentionCall
from pellucid.adapters.protocol import Tier
from pellucid.errors import CapabilityError, MethodError
from pellucid.methods.attention.tokens import laid_out, layout_of
from pellucid.methods.base import Attribution, Method
from pellucid.running.attention import Attended, attended, calls_of
from pellucid.running.intercepted import OtherOperationsError
from pellucid.task import Task


@dataclass(frozen=True)
class AttentionMethod(Method):
    """A number for each token that is attended to; subclasses say which.

    `token` is the one that attends: its number, or None for those that the score depends on
    above the last attention (the class token, the last token, or the mean of all), which a
    gradient tells for each sample. `extras["read"]` `(n, tokens)` is the share of each in what was
    read, and `parameters["token"]` its number where it was one for all samples. `grid` and
    `tokens_before` say how the tokens lie over the input; None finds out.
    """

    token: int | None = None
    grid: tuple[int, ...] | None = None
    tokens_before: int | None = None

    family = "attention"
    needs = Tier.TRANSPARENT
    needs_attention = True

    def __post_init__(self) -> None:
        whole = (int, np.integer)
        if self.grid is not None:
            given = tuple(self.grid) if isinstance(self.grid, list | tuple) else ()
            if not given or not all(isinstance(g, whole) and g > 0 for g in given):
                raise MethodError(
                    "Expected grid to be the numbers of tokens along each axis of the input, such"
                    f" as (14, 14), got {self.grid!r}."
                )
            object.__setattr__(self, "grid", tuple(map(int, given)))
        if self.tokens_before is not None and self.tokens_before < 0:
            raise MethodError(f"Expected tokens_before of 0 or more, got {self.tokens_before}.")

    def attribute(self, task: Task) -> Attribution:
        calls = calls_of(task)
        chosen = self.chosen(calls)
        _require_whole(calls, chosen)
        layout = layout_of(task, size_of(chosen[-1])[1], self.grid, self.tokens_before)

        def evaluate(start: int, stop: int) -> dict[str, np.ndarray]:
            rows = np.arange(start, stop)
            try:
                return self._found(task, rows, calls)
            except OtherOperationsError:
                return self._found(task, rows, calls_of(task, rows))

        parts = [p for _, _, p in task.schedule.run(task.count, evaluate, key="attention")]
        found = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
        result = laid_out(task, found.pop("tokens"), layout)
        extras = {name: values.astype(np.float32) for name, values in found.items()}
        parameters = {**result.parameters, "token": self._token(found["read"])}
        return replace(
            result, extras={**result.extras, **extras}, parameters=parameters,
            notes=(f"attentions read: {_said(chosen)}",),
        )  # fmt: skip

    def _found(
        self, task: Task, rows: np.ndarray, calls: tuple[AttentionCall, ...]
    ) -> dict[str, np.ndarray]:
        chosen = self.chosen(calls)
        reader = _reader(calls, chosen[-1])
        wanted = (*chosen, *(() if reader in chosen else (reader,)))
        asked = tuple(
            (self.token is None and call is reader) or (self.by_gradient and call in chosen)
            for call in wanted
        )
        seen = attended(task, rows, wanted, asked)
        read = self._read(seen.gradients[wanted.index(reader)], size_of(reader)[0], len(rows))
        mine = Attended(seen.weights[: len(chosen)], seen.gradients[: len(chosen)])
        looks = self.looks(task, rows, chosen, mine)
        found = {"tokens": np.einsum("nq,nqk->nk", read, looks), "read": read}
        return found | self.more(calls, chosen, mine, read)

    by_gradient = False
    """Whether the score's gradient at the chosen attentions is needed."""

    @abstractmethod
    def chosen(self, calls: tuple[AttentionCall, ...]) -> tuple[AttentionCall, ...]:
        """The attentions whose weights are needed."""

    @abstractmethod
    def looks(
        self, task: Task, rows: np.ndarray, chosen: tuple[AttentionCall, ...], seen: Attended
    ) -> np.ndarray:
        """How far each token looks at each other, `(n, queries, keys)` float64."""

    def more(
        self,
        calls: tuple[AttentionCall, ...],
        chosen: tuple[AttentionCall, ...],
        seen: Attended,
        read: np.ndarray,
    ) -> dict[str, np.ndarray]:
        """Further arrays `(n, ...)` for the result's extras."""
        return {}

    def _token(self, read: np.ndarray) -> int | None:
        """The token that was read for every sample; None where they differ, or several were."""
        at = np.argmax(read, axis=1)
        alone = self.token is None and len(at) and np.all(read.max(axis=1) == 1)
        return int(at[0]) if alone and np.all(at == at[0]) else self.token

    def _read(self, gradient: np.ndarray | None, queries: int, rows: int) -> np.ndarray:
        """The share of each query in what is read, `(n, queries)`, that adds up to 1."""
        if gradient is not None and self.token is None:
            reached = np.any(gradient != 0, axis=(1, 3))
            reached[~reached.any(axis=1)] = True
            return reached / reached.sum(axis=1, keepdims=True)
        token = self.token or 0
        if not -queries <= token < queries:
            raise MethodError(f"Expected token to be one of {queries} tokens, got {token}.")
        return np.tile(np.eye(queries)[token], (rows, 1))


def _require_whole(calls: Sequence[AttentionCall], chosen: Sequence[AttentionCall]) -> None:
    """Raise `CapabilityError` where tokens attend within windows: those of each are others."""
    if all(call.windows == 1 for call in chosen):
        return
    most = max(call.windows for call in chosen)
    whole = [str(i) for i, call in enumerate(calls) if call.windows == 1]
    numbers = " and ".join(filter(None, (", ".join(whole[:-1]), *whole[-1:])))
    raise CapabilityError(
        f"Tokens attend within windows here ({most} a sample), so that the weights of one are of"
        f" other tokens than those of the next.\n  Without windows are: attentions"
        f" {numbers or '(none)'}, by at= or attentions=. gradcam works on grids that shrink or"
        " have windows."
    )


def size_of(call: AttentionCall) -> tuple[int, int]:
    """How many tokens attend, and to how many."""
    return 1 if call.queries is None else call.shape[call.queries], call.shape[call.keys]


def _reader(calls: Sequence[AttentionCall], chosen: AttentionCall) -> AttentionCall:
    """The last attention of as many tokens, above which the score reads some of them."""
    return [c for c in calls if size_of(c)[0] == size_of(chosen)[0] and _follows(c, chosen)][-1]


def _follows(call: AttentionCall, chosen: AttentionCall) -> bool:
    return call is chosen or (call.index > chosen.index and size_of(call) == size_of(chosen))


def number(calls: tuple[AttentionCall, ...], at: int) -> AttentionCall:
    """The attention number `at` of a model, counted from the first or, below 0, from the last."""
    if not -len(calls) <= at < len(calls):
        raise MethodError(
            f"Expected one of the {len(calls)} attentions of this model (0–{len(calls) - 1}), got"
            f" {at}.\n  They are: {_said(calls)}."
        )
    return calls[at]


def chain(
    calls: tuple[AttentionCall, ...], attentions: Sequence[int] | None
) -> tuple[AttentionCall, ...]:
    """The attentions of one sequence of tokens to itself, whose weights can be multiplied.

    Raises `CapabilityError` where the tokens of different ones are not the same.
    """
    found = calls if attentions is None else tuple(number(calls, at) for at in attentions)
    if not found:
        raise MethodError("Expected attentions to name at least one.")
    sizes = {size_of(call) for call in found}
    if len(sizes) > 1 or any(queries != keys for queries, keys in sizes):
        raise CapabilityError(
            "Weights are followed through attentions of one sequence of tokens to itself; here"
            f" they are: {_said(found)}.\n  attentions= names some that fit by their numbers;"
            " attention reads one alone, and gradcam works on grids that shrink or have windows."
        )
    return found


def _said(calls: Sequence[AttentionCall]) -> str:
    described = []
    for call in calls:
        queries, keys = size_of(call)
        of = f"{queries} tokens" if queries == keys else f"{queries} tokens to {keys}"
        described.append(f"{call.path or 'attention'} ({of})")
    return ", ".join(described)
