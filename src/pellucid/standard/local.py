"""Does it predict what small changes do: C3."""

import numpy as np

from pellucid.inputs.noise import draw_normal
from pellucid.standard.case import Case
from pellucid.standard.metric import register_metric

DRAWS = 50
SPREAD = 0.1
"""In standard deviations of the data."""


def noise_like(case: Case, count: int, spread: float, purpose: int) -> tuple[np.ndarray, ...]:
    """`count` draws for each input, `spread` standard deviations of the data wide."""
    batch, found = case.subject.task.batch, []
    for number, (array, dims, scale) in enumerate(
        zip(batch.arrays, batch.dims, case.subject.spreads(), strict=True)
    ):
        generator = case.subject.generator(purpose, number)
        drawn = [draw_normal(generator, array.shape[1:], dims[1:]) for _ in range(count)]
        found.append(np.stack(drawn) * (spread * scale))
    return tuple(found)


def changes_anything(case: Case, noise: tuple[np.ndarray, ...]) -> np.ndarray:
    """Which draws change each sample at all, `(n, draws)`."""
    arrays = case.subject.task.batch.arrays
    found = np.zeros((case.count, len(noise[0])), dtype=bool)
    for draw in range(found.shape[1]):
        near = case.subject.moved(tuple(z[draw] for z in noise))
        for own, other in zip(arrays, near, strict=True):
            found[:, draw] |= (own != other).reshape(len(own), -1).any(axis=1)
    return found


def fall_and_said(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """f(x) − f(x − I) of each small change I, and Iᵀa, what the map says of it: `(n, 50)` each."""
    noise = noise_like(case, DRAWS, SPREAD, 5)
    scores = case.subject.shifted_once("local", tuple(-z for z in noise)).scores
    fall = case.subject.scores[:, None] - scores
    said = np.zeros_like(fall)
    for own, z in zip(case.elements, noise, strict=True):
        said += own.reshape(len(own), -1) @ z.reshape(len(z), -1).astype(np.float64).T
    return fall, said


@register_metric(
    "local_infidelity", better="lower", needs=("forward",), identifier="C3", limits=(0.0, 1.0),
    ideal=0.0, cost="50 F, once for all explanations",
    source="Yeh et al. 2019, definition 2.1, with the best scale β",
    without="the score does not change under small noise",
)  # fmt: skip
def local_infidelity(case: Case) -> np.ndarray:
    """The part of small changes of the score that the map does not predict, whatever its scale.

    min over β of E[(β Iᵀa − (f(x) − f(x − I)))²] / E[(f(x) − f(x − I))²] over 50 draws
    I ~ N(0, (0.1 σ)²), σ the standard deviation of the data for each column or channel; the draws
    are the same for all explanations. 0 for the gradient of a linear model, 1 for a map that
    predicts nothing; a map and its negative get the same. NaN where the score does not change.
    """
    fall, said = fall_and_said(case)
    both, size, change = (said * fall).sum(axis=1), (said**2).sum(axis=1), (fall**2).sum(axis=1)
    level = 1e-12 * np.maximum(np.abs(case.subject.scores), 1e-30) ** 2 * DRAWS
    explained = np.where(size > 0, both**2 / np.where(size > 0, size, 1), 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(change > level, np.clip(1 - explained / change, 0, 1), np.nan)
