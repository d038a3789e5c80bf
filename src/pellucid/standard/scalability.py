"""How it grows: X1, log-log slopes of time and memory, and memory in forwards of the model."""

from collections.abc import Callable, Mapping
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np

from pellucid.errors import InputError, PellucidError
from pellucid.explain import explain
from pellucid.inputs.layout import space_axes
from pellucid.model import wrap
from pellucid.standard.asking import Asker
from pellucid.standard.case import Case
from pellucid.standard.memory import peak_growth
from pellucid.standard.metric import register_metric
from pellucid.types import shape_of

BATCHES = (1, 2, 4)
REPEATS = 5
SHORT = 0.1
"""Seconds; work that takes longer is timed twice only."""
WAYS = ("time_batch", "time_input", "memory_batch", "memory_input", "memory_forwards")
COPIES = (1, 4, 16, 64)
"""Of one sample, until the memory of a forward of them can be seen."""
PATIENCE = 2.0
"""Seconds that an explanation of copies may take."""
UNSEEN = "memory grows by less than 1 MiB, which cannot be told from the allocator's own"
UNTOLD = "the system does not tell how much memory a process takes (Linux does)"
SMALLEST = 1 << 20
"""Bytes; growth below cannot be told from the allocator's own."""


@register_metric(
    "scalability", axis="scalability", better="lower", needs=("forward", "explainer"),
    identifier="X1", cost="about 50 explanations of one sample", source="performance.md",
    without="it is not measured: see the first sample, and its description",
)  # fmt: skip
def scalability(case: Case) -> dict[str, np.ndarray]:
    """How time and memory grow with the batch and with the size of the input.

    Slopes of least squares in log-log: "time_batch" of seconds against 1, 2, 4 samples (1 is
    linear, less says that samples share work), "memory_batch" of peak memory against the same (0 is
    flat), "time_input" of seconds against positions, between the inputs at every second step of
    each of their space axes and the inputs as they are, "memory_input" of peak memory between the
    same. "memory_forwards" is the peak memory of an explanation in units of that of one forward of
    the same rows: 1, 4, 16 or 64 copies of the first sample, the fewest whose forward can be seen.
    Measured once, on the first samples, warm, and stored with the first; NaN elsewhere, and with
    its reason in the scorecard where memory stays below 1 MiB or the system does not tell it (it
    does on Linux), for models of one fixed input size, and for fewer than two samples.
    Growth with the number of parameters is not here, for one model has one: `parameter_slopes`.
    """
    found = {way: np.full(case.count, np.nan) for way in WAYS}
    asker = case.asker
    if asker is None:
        return found
    arrays = case.subject.task.batch.arrays

    def explaining(count: int, step: int = 1) -> Callable[[], Any]:
        rows = np.arange(count)
        part = tuple(
            _every(a[rows], dims, step) for a, dims in zip(arrays, case.subject.dims, strict=True)
        )
        target = case.target_of(rows)
        return lambda: asker.explain(part, target=target)

    counts = [k for k in BATCHES if k <= case.count]
    seconds = [_seconds(explaining(k)) for k in counts]
    found["time_batch"][0] = slope(counts, seconds)
    memory = [peak_growth(explaining(k)) for k in counts]
    if len(counts) < 2:
        case.reasons["time_batch"] = case.reasons["memory_batch"] = "it takes two samples or more"
    elif min(memory) >= SMALLEST:
        found["memory_batch"][0] = slope(counts, memory)
    else:
        case.reasons["memory_batch"] = _why_not(min(memory))
    _of_input(found, explaining, (seconds[0], memory[0]), case)
    found["memory_forwards"][0] = _in_forwards(asker, case, seconds[0])
    return found


def _why_not(memory: float) -> str:
    return UNTOLD if np.isnan(memory) else UNSEEN


def _in_forwards(asker: Asker, case: Case, seconds: float) -> float:
    task = case.subject.task
    forward = float("nan")
    for count in COPIES:
        if count > 1 and count * seconds > PATIENCE:
            break
        rows = np.zeros(count, dtype=int)
        part = tuple(a[rows] for a in task.batch.arrays)

        def once(part: Any = part, rows: np.ndarray = rows) -> None:
            task.to_numpy(task.score(task.run(tuple(map(task.asarray, part)), rows), rows))

        once()
        forward = peak_growth(once)
        if forward >= SMALLEST:
            again = partial(asker.explain, part, target=case.target_of(rows))
            again()
            return peak_growth(again) / forward
    case.reasons["memory_forwards"] = f"of one forward, {_why_not(forward)}"
    return float("nan")


def parameter_slopes(
    models: Mapping[str, Any], x: Any, method: str, *, seed: int = 0, **options: Any
) -> dict[str, Any]:
    """How one method's time and memory grow with the size of the model, over models of one kind.

    X1 against parameters: one model has one size, so it takes several, such as the widths of an
    architecture. "parameters" are the numbers in each model's weights, "seconds" and "memory"
    (bytes, NaN where the system does not tell) those of explaining `x`, warm; "time_parameters"
    and "memory_parameters" their slopes in log-log: 1 is linear. `options` are those of
    `pellucid.explain`. The slope of memory is NaN where growth stays below 1 MiB.

    Raises `InputError` for fewer than two models of different size.

    >>> import torch
    >>> sizes = {str(k): torch.nn.Linear(4, k) for k in (8, 64)}
    >>> found = parameter_slopes(sizes, np.zeros((2, 4), np.float32), "saliency", target=0)
    >>> found["parameters"]
    {'8': 40, '64': 320}
    """
    found: dict[str, Any] = {"parameters": {}, "seconds": {}, "memory": {}}
    for name, model in models.items():
        wrapped = wrap(model, example=x)
        weights = wrapped.adapter.weights().values()
        found["parameters"][name] = sum(int(np.prod(shape_of(w), dtype=int)) for w in weights)
    sizes = list(found["parameters"].values())
    if len(set(sizes)) < 2:
        raise InputError(
            f"Expected two models or more of different size, got {len(sizes)} of"
            f" {sorted(set(sizes))} parameters: a slope needs a second point."
        )
    for name, model in models.items():

        def work(model: Any = model) -> Any:
            return explain(model, x, method, seed=seed, **options)

        found["seconds"][name] = _seconds(work)
        found["memory"][name] = peak_growth(work)
    memory = list(found["memory"].values())
    found["time_parameters"] = slope(sizes, list(found["seconds"].values()))
    found["memory_parameters"] = slope(sizes, memory) if min(memory) >= SMALLEST else np.nan
    return found


def slope(sizes: Any, amounts: Any) -> float:
    """The slope of log `amounts` against log `sizes` by least squares; NaN of fewer than two.

    >>> slope([1, 2, 4], [3, 12, 48])
    2.0
    """
    if len(sizes) < 2:
        return float("nan")
    across, up = np.log(np.asarray(sizes, float)), np.log(np.asarray(amounts, float))
    across = across - across.mean()
    return float(across @ (up - up.mean()) / (across @ across))


def _of_input(
    found: dict[str, np.ndarray], explaining: Callable[..., Any], whole: tuple[float, float],
    case: Case,
) -> None:  # fmt: skip
    """Slopes of time and memory between the inputs at every second step and as they are."""
    subject, ways = case.subject, ("time_input", "memory_input")
    if not any(space_axes(dims) for dims in subject.dims):
        case.reasons.update(dict.fromkeys(ways, "the inputs have no space axes to be made smaller"))
        return
    try:
        half = _seconds(explaining(1, 2)), peak_growth(explaining(1, 2))
    except PellucidError:
        case.reasons.update(dict.fromkeys(ways, "the model takes inputs of one size"))
        return
    smaller = sum(
        int(np.prod([-(-s // 2) if space_axes(dims) else s for s in shape]))
        for shape, dims in zip(subject.shapes, subject.dims, strict=True)
    )
    sizes = [smaller, subject.positions]
    found["time_input"][0] = slope(sizes, [half[0], whole[0]])
    if min(half[1], whole[1]) >= SMALLEST:
        found["memory_input"][0] = slope(sizes, [half[1], whole[1]])
    else:
        case.reasons["memory_input"] = _why_not(min(half[1], whole[1]))


def _every(array: np.ndarray, dims: tuple[str, ...], step: int) -> np.ndarray:
    space = space_axes(dims)
    return array[tuple(slice(None, None, step if i in space else 1) for i in range(array.ndim))]


def _seconds(work: Callable[[], Any]) -> float:
    """The shortest of five runs, of two where they are long, after one that is not counted."""
    work()
    taken: list[float] = []
    while len(taken) < (2 if taken and min(taken) > SHORT else REPEATS):
        began = perf_counter()
        work()
        taken.append(perf_counter() - began)
    return min(taken)
