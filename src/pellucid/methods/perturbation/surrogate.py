"""The linear model that is fitted to what a model says of changed copies of one sample."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Fit:
    """A fitted line `y ≈ intercept + z · coefficients` for each of several targets.

    `coefficients (targets, k)`, `intercept (targets,)`, `r2 (targets,)` weighted, and the
    `covariance (targets, k, k)` of the coefficients from drawing the rows.
    """

    coefficients: np.ndarray
    intercept: np.ndarray
    r2: np.ndarray
    covariance: np.ndarray

    @property
    def stderr(self) -> np.ndarray:
        return np.sqrt(np.maximum(np.einsum("tkk->tk", self.covariance), 0))


class WeightedRidge:
    """argmin over a, b of Σ_j w_j (y_j − a − z_j · b)² + penalty · |b|², in closed form.

    The rows `z (m, k)` and weights are factorised once for all samples and targets. A column that
    never varies gets 0. Consecutive rows belong together by `cluster` (2 for pairs): errors are
    those of clusters, shrunk residuals set right as in HC3. With `ordered` the clusters were drawn
    systematically along some order, and their variance is that of neighbours' differences
    (Wolter 1985, section 8.2); with `exact` nothing was drawn, so there is no error.
    """

    def __init__(
        self,
        z: np.ndarray,
        weights: np.ndarray,
        *,
        penalty: float = 0.0,
        cluster: int = 1,
        ordered: bool = False,
        exact: bool = False,
    ) -> None:
        penalty = penalty / weights.sum()
        self._weights = weights = weights / weights.sum()
        self._root = np.sqrt(weights)
        self._mean = weights @ z
        # Centred and with the weights' roots multiplied in, so that products are symmetric.
        self._rows = z - self._mean
        self._rows *= self._root[:, None]
        gram = self._rows.T @ self._rows + penalty * np.eye(z.shape[1])
        self._inverse = np.linalg.pinv(gram, hermitian=True)
        self._exact = exact
        self._clusters = None
        if exact:
            return
        if cluster > 1 or ordered:
            solve = self._inverse @ (self._rows * self._root[:, None]).T
            self._clusters = _Clusters(z - self._mean, weights, solve, cluster, ordered)
            return
        leverage = np.einsum("mk,mk->m", self._rows @ self._inverse, self._rows) + weights
        left = np.maximum(1 - leverage, 1e-12)
        self._unshrunk = np.where(left > 1e-9, 1 / left, 0.0)

    def fit(self, y: np.ndarray) -> Fit:
        """The lines for `y (targets, m)`."""
        mean = y @ self._weights
        centred = (y - mean[:, None]) * self._root
        found = centred @ self._rows @ self._inverse
        residual = centred - found @ self._rows.T
        total, left = (centred**2).sum(axis=1), (residual**2).sum(axis=1)
        small = total <= 1e-14 * (mean**2 + 1e-300)  # a constant score is described perfectly
        r2 = np.where(small, 1.0, 1 - left / np.where(small, 1.0, total))
        return Fit(found, mean - found @ self._mean, r2, self._covariance(y, found, residual))

    def _covariance(self, y: np.ndarray, found: np.ndarray, residual: np.ndarray) -> np.ndarray:
        if self._exact:
            return np.zeros((len(found), found.shape[1], found.shape[1]))
        if self._clusters is not None:
            return self._clusters.covariance(y - (y @ self._weights)[:, None], found)
        spread = []
        for own in residual * self._unshrunk:
            influence = self._rows * own[:, None]
            spread.append(self._inverse @ (influence.T @ influence) @ self._inverse)
        return np.stack(spread)


class _Clusters:
    """The covariance of coefficients where rows were drawn together, or along some order."""

    def __init__(
        self, z: np.ndarray, weights: np.ndarray, solve: np.ndarray, cluster: int, ordered: bool
    ) -> None:
        self._z, self._solve, self._ordered = z, solve, ordered
        rows = len(z) // cluster * cluster
        self._members = members = np.arange(rows).reshape(-1, cluster)
        hat = z[members] @ solve[:, members].transpose(1, 0, 2) + weights[members][:, None, :]
        self._unshrunk = np.linalg.pinv(np.eye(cluster) - hat)

    def covariance(self, centred: np.ndarray, found: np.ndarray) -> np.ndarray:
        residual = centred - found @ self._z.T
        own = np.einsum("pij,tpj->tpi", self._unshrunk, residual[:, self._members])
        influence = np.einsum("kpi,tpi->tpk", self._solve[:, self._members], own)
        if self._ordered and influence.shape[1] > 2:
            steps = np.diff(influence, axis=1)
            scale = influence.shape[1] / (influence.shape[1] - 1) / 2
            return scale * (steps.transpose(0, 2, 1) @ steps)
        return influence.transpose(0, 2, 1) @ influence
