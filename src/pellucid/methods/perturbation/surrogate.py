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
        z = z.astype(np.float64)
        penalty = penalty / weights.sum()
        self._weights = weights = weights / weights.sum()
        self._mean = weights @ z
        self._z = z - self._mean
        weighted = self._z * weights[:, None]
        gram = self._z.T @ weighted + penalty * np.eye(z.shape[1])
        inverse = np.linalg.pinv(gram, hermitian=True)
        self._solve = inverse @ weighted.T
        self._ordered, self._exact = ordered, exact
        rows = len(z) // cluster * cluster
        members = np.arange(rows).reshape(-1, cluster)
        self._members = members
        if cluster == 1:
            leverage = np.einsum("mk,km->m", self._z, self._solve) + weights
            left = np.maximum(1 - leverage, 1e-12)
            self._unshrunk = np.where(left > 1e-9, 1 / left, 0.0)[:, None, None]
            return
        hat = self._z[members] @ self._solve[:, members].transpose(1, 0, 2)
        hat += weights[members][:, None, :]
        self._unshrunk = np.linalg.pinv(np.eye(cluster) - hat)

    def fit(self, y: np.ndarray) -> Fit:
        """The lines for `y (targets, m)`."""
        mean = y @ self._weights
        centred = y - mean[:, None]
        found = centred @ self._solve.T
        residual = centred - found @ self._z.T
        total = (centred**2) @ self._weights
        left = (residual**2) @ self._weights
        small = total <= 1e-14 * (mean**2 + 1e-300)  # a constant score is described perfectly
        r2 = np.where(small, 1.0, 1 - left / np.where(small, 1.0, total))
        return Fit(found, mean - found @ self._mean, r2, self._covariance(residual))

    def _covariance(self, residual: np.ndarray) -> np.ndarray:
        players = len(self._solve)
        if self._exact:
            return np.zeros((len(residual), players, players))
        if self._members.shape[1] == 1:
            influence = (residual * self._unshrunk[:, 0, 0])[:, :, None] * self._solve.T
        else:
            own = np.einsum("pij,tpj->tpi", self._unshrunk, residual[:, self._members])
            influence = np.einsum("kpi,tpi->tpk", self._solve[:, self._members], own)
        if self._ordered and influence.shape[1] > 2:
            steps = np.diff(influence, axis=1)
            scale = influence.shape[1] / (influence.shape[1] - 1) / 2
            return scale * (steps.transpose(0, 2, 1) @ steps)
        return influence.transpose(0, 2, 1) @ influence
