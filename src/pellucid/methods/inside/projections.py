"""From vectors of many numbers to two or three: PCA, t-SNE, UMAP; and who is near whom."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.errors import InputError, MissingExtraError

HOW = ("pca", "tsne", "umap")

_DENSE = 2048
"""Up to this side a matrix of inner products is decomposed whole."""
_FIRST = 50
"""Principal components that t-SNE and UMAP start from, where vectors are longer."""


@dataclass(frozen=True)
class Projection:
    """`coordinates (n, components)` float64; `said` holds what the way there has to say of it."""

    coordinates: np.ndarray
    said: dict[str, Any]


def project(
    vectors: np.ndarray, how: str, components: int, seed: int, **options: Any
) -> Projection:
    """`vectors (n, d)` in two or three dimensions; `options` go to scikit-learn's or umap's class.

    Raises `InputError` for another word than "pca", "tsne" and "umap", and too few vectors;
    `MissingExtraError` where the package is absent.
    """
    if how not in HOW:
        raise InputError(f"Expected how to be one of {HOW}, got {how!r}.")
    if components not in {2, 3}:
        raise InputError(f"Expected components to be 2 or 3, got {components!r}.")
    if len(vectors) < 3:
        raise InputError(f"Expected 3 samples or more to lay out, got {len(vectors)}.")
    if how == "pca":
        if options:
            raise InputError(f"pca takes no option {next(iter(options))!r}.")
        found, shares = principal(vectors, components)
        return Projection(found, {"explained_variance": shares.tolist()})
    first, said = vectors.astype(np.float64), {}
    if vectors.shape[1] > _FIRST:
        kept = min(_FIRST, len(vectors) - 1)
        first, shares = principal(vectors, kept)
        said = {"first": f"{kept} principal components, {shares.sum():.1%} of the variance"}
    laid_out = _tsne if how == "tsne" else _umap
    return laid_out(first, components, seed, said, options)


def principal(vectors: np.ndarray, components: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates along the directions of largest variance, `(n, components)` float64.

    X − mean = U S Vᵀ,   coordinates = U S,   shares = S² / Σ S²

    In float64, from the smaller of the two matrices of inner products. A direction has no sign of
    its own: it is turned so that its entry of largest size is positive. Columns are not scaled.
    Returns the share of the variance that each direction holds too; zero where there are fewer
    directions than asked for. Source: Jolliffe 2002, chapter 3.
    """
    centred = vectors.astype(np.float64)
    centred -= centred.mean(axis=0)
    total = float((centred**2).sum())
    directions = _directions(centred, components)
    turned = np.take_along_axis(directions, np.abs(directions).argmax(axis=0)[None], axis=0)
    directions = directions * np.where(turned < 0, -1.0, 1.0)
    found = np.zeros((len(centred), components))
    found[:, : directions.shape[1]] = centred @ directions
    shares = (found**2).sum(axis=0) / total if total > 0 else np.zeros(components)
    return found, shares


def _directions(centred: np.ndarray, components: int) -> np.ndarray:
    """The first right singular vectors as columns, `(d, ≤ components)`."""
    count, width = centred.shape
    kept = min(components, count, width)
    if width <= min(count, _DENSE) or width == kept:
        return np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :kept]
    if count <= _DENSE:
        values, left = np.linalg.eigh(centred @ centred.T)
        values, left = values[::-1][:kept], left[:, ::-1][:, :kept]
        there = values > 1e-12 * max(values[0], 1e-300)
        return centred.T @ left[:, there] / np.sqrt(values[there])
    from scipy.sparse import linalg

    solver: Any = linalg  # its stubs know neither the operator's arguments nor a small tolerance
    covariance = solver.LinearOperator(
        (width, width), matvec=lambda v: centred.T @ (centred @ v), dtype=np.float64
    )
    values, found = solver.eigsh(covariance, k=kept, v0=np.ones(width), tol=1e-10)
    return found[:, np.argsort(-values)]


def _tsne(
    vectors: np.ndarray, components: int, seed: int, said: dict[str, Any], options: dict[str, Any]
) -> Projection:
    try:
        from sklearn.manifold import TSNE
    except ModuleNotFoundError as error:
        raise MissingExtraError("scikit-learn", "sklearn", "t-SNE") from error
    given: dict[str, Any] = {
        "perplexity": min(30.0, (len(vectors) - 1) / 3), "init": "pca", "learning_rate": "auto",
    } | options  # fmt: skip
    maker = _made(TSNE, given, n_components=components, random_state=seed)
    with _words("t-SNE"):
        found = maker.fit_transform(vectors.astype(np.float32))
    said |= {"perplexity": float(given["perplexity"]), "divergence": float(maker.kl_divergence_)}
    return Projection(found.astype(np.float64), said)


def _umap(
    vectors: np.ndarray, components: int, seed: int, said: dict[str, Any], options: dict[str, Any]
) -> Projection:
    try:
        from umap import UMAP  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        raise MissingExtraError("umap-learn", "umap", "UMAP") from error
    # The spectral start needs more vectors than directions.
    init = "spectral" if len(vectors) > components + 1 else "random"
    given: dict[str, Any] = {
        "n_neighbors": min(15, len(vectors) - 1), "n_jobs": 1, "init": init,
    } | options  # fmt: skip
    maker = _made(UMAP, given, n_components=components, random_state=seed)
    with _words("UMAP"):
        found = np.asarray(maker.fit_transform(vectors.astype(np.float32)))
    return Projection(found.astype(np.float64), said | {"n_neighbors": int(given["n_neighbors"])})


def _made(cls: Any, given: dict[str, Any], **ours: Any) -> Any:
    taken = sorted(given.keys() & ours.keys())
    if taken:
        raise InputError(f"{taken[0]} is not an option: components= and seed= say it.")
    try:
        return cls(**given, **ours)
    except TypeError as error:
        raise InputError(f"{cls.__name__} does not take these options: {error}") from error


@contextmanager
def _words(what: str) -> Iterator[None]:
    """Refusals of the package that computes, as ours."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise InputError(f"{what} refuses these vectors or options: {error}") from error


def nearest(vectors: np.ndarray, which: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k rows nearest to row `which`, itself left out, and their Euclidean distances.

    Of equal distances the lower row number comes first.
    """
    difference = vectors.astype(np.float64) - vectors[which].astype(np.float64)
    distances = np.sqrt((difference**2).sum(axis=1))
    order = np.argsort(distances, kind="stable")
    order = order[order != which][:k]
    return order, distances[order]
