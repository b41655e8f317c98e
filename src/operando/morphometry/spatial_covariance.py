"""How the residuals of neighboring tiles go together: a stationary covariance fitted by restricted likelihood."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

FAMILIES = ("exponential", "Matern 3/2", "Gaussian")
_LENGTHS = 12
# Shares of the variance that neighbors do not have in common. A little of it keeps smooth covariances invertible.
# In small steps: where it is most of what fine structure has, an error in it is one in the variance of all the rest.
_NUGGETS = np.geomspace(0.015, 1.0, 20)
# Scales the argument of the Matern 3/2 correlation (1 + a) exp(-a) such that it falls to 1/e at distance 1.
_MATERN = 2.1461932206205825
LONGEST = 1.0
"""Longest correlation length that is tried, as a share of the longer side of the map."""


@dataclass(frozen=True)
class Covariance:
    """One fitted correlation of tiles: matrix ``vectors @ diag(values) @ vectors.T`` with ones on its diagonal."""

    family: str
    length: float
    nugget: float
    values: np.ndarray
    vectors: np.ndarray

    def color(self, numbers: np.ndarray) -> np.ndarray:
        """Give independent numbers (N, ...) the correlation, by its symmetric square root."""
        flat = numbers.reshape(len(numbers), -1)
        return np.asarray(self.vectors @ (np.sqrt(self.values)[:, None] * (self.vectors.T @ flat))).reshape(
            numbers.shape
        )

    def whiten(self, maps: np.ndarray) -> np.ndarray:
        """Take the correlation away: the inverse of :meth:`color`."""
        turned = self.vectors.T @ maps.reshape(len(maps), -1)
        return np.asarray(self.vectors @ (turned / np.sqrt(self.values)[:, None])).reshape(maps.shape)

    def between(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Covariance of the sums ``one.T @ v`` and ``other.T @ v`` over tiles v that correlate like this."""
        return np.asarray((self.vectors.T @ one).T @ (self.values[:, None] * (self.vectors.T @ other)))


@dataclass(frozen=True)
class FittedCovariance:
    """What was fitted to R sets of M maps: which covariance, (R,), and variances within and between maps, (R, M, M)."""

    choice: np.ndarray
    variance: np.ndarray


@dataclass(frozen=True)
class Prepared:
    """Designs of M maps and, per candidate length and map, what regresses whitened maps on them (:func:`_bases`)."""

    designs: Sequence[np.ndarray]
    bases: list[list[tuple[np.ndarray, np.ndarray]]]


class CovarianceModels:
    """Candidate covariances of tiles at given positions, of which the likeliest is chosen.

    Parameters
    ----------
    positions : ndarray, (N, 2)
        Of the tiles, in any unit.
    step : float
        Distance of neighboring tiles, in the same unit: the scale of the shortest correlation length.

    Notes
    -----
    Correlations c(d) of the families :data:`FAMILIES`, each with lengths (distance of 1/e) from half a step to
    the longer side, and a nugget: C = (1 - g) c + g 1. With the whitened residuals r of a map after its
    own regression, their number less that of the coefficients nu and the whitened design X, the restricted
    log-likelihood, with the variance of each map profiled out, is summed over the maps:

    .. math:: \\ell = \\sum_m -\\tfrac12 \\log |C| - \\tfrac12 \\log |X_m^T X_m| - \\tfrac{\\nu}{2} \\log r_m^T r_m

    It searches a grid, not a slope, because thousands of permuted maps are fitted at once. Maps may be correlated, even
    alike: the sum is a composite likelihood, and their correlation that of the residuals.

    Memory: 36 matrices of N x N float64 (200 tiles: 12 MB; 800 tiles: 180 MB). Time grows with N cubed: 0.1 s for 200
    tiles, some seconds for 800.
    """

    def __init__(self, positions: np.ndarray, step: float) -> None:
        distance = np.hypot(*(positions[:, None] - positions[None]).transpose(2, 0, 1))
        longest = LONGEST * float(np.ptp(positions, axis=0).max() + step)
        self.lengths = np.geomspace(0.5 * step, max(longest, step), _LENGTHS)
        self._parts: list[tuple[str, float, np.ndarray, np.ndarray]] = []
        for family in FAMILIES:
            for length in self.lengths:
                values, vectors = np.linalg.eigh(_correlation(family, distance / length))
                self._parts.append((family, float(length), np.maximum(values, 0.0), vectors))

    def __getitem__(self, index: int) -> Covariance:
        part, nugget = divmod(int(index), _NUGGETS.size)
        family, length, values, vectors = self._parts[part]
        share = float(_NUGGETS[nugget])
        return Covariance(family, length, share, (1 - share) * values + share, vectors)

    def prepare(self, designs: Sequence[np.ndarray]) -> Prepared:
        """Do once what every fit with these designs needs.

        Parameters
        ----------
        designs : sequence of M arrays, (N, p)
            What each map is regressed on first, the intercept with it.
        """
        bases = []
        for _, _, values, vectors in self._parts:
            spectra = (1 - _NUGGETS[:, None]) * values + _NUGGETS[:, None]
            # Maps that share a design share its bases.
            own = {id(design): _bases(vectors.T @ design, spectra) for design in designs}
            bases.append([own[id(design)] for design in designs])
        return Prepared(designs, bases)

    def fit(self, maps: np.ndarray, prepared: Prepared) -> FittedCovariance:
        """Choose the likeliest covariance of every set of maps.

        Parameters
        ----------
        maps : ndarray, (N, R, M)
            R sets of M maps on N tiles; the maps of one set share a covariance.
        prepared : Prepared
            Designs of the M maps.
        """
        best = np.full(maps.shape[1], -np.inf)
        choice = np.zeros(maps.shape[1], int)
        for part in range(len(self._parts)):
            likelihood = self._likelihood(part, maps, prepared)
            nugget = likelihood.argmax(axis=0)
            highest = np.take_along_axis(likelihood, nugget[None], axis=0)[0]
            better = highest > best
            best[better] = highest[better]
            choice[better] = part * _NUGGETS.size + nugget[better]
        return FittedCovariance(choice, self._variances(maps, prepared.designs, choice))

    def _likelihood(self, part: int, maps: np.ndarray, prepared: Prepared) -> np.ndarray:
        """Restricted log-likelihood, (nuggets, R), of R sets of maps."""
        _, _, values, vectors = self._parts[part]
        spectra = (1 - _NUGGETS[:, None]) * values + _NUGGETS[:, None]
        likelihood = np.zeros((_NUGGETS.size, maps.shape[1]))
        for m, (bases, log_determinant) in enumerate(prepared.bases[part]):
            turned = vectors.T @ maps[:, :, m]
            explained = (bases.reshape(-1, bases.shape[2]) @ turned).reshape(*bases.shape[:2], -1)
            total = (1 / spectra) @ turned**2
            left = np.maximum(total - (explained**2).sum(axis=1), 1e-24 * total + np.finfo(float).tiny)
            likelihood -= 0.5 * (turned.shape[0] - bases.shape[1]) * np.log(left)
            likelihood -= 0.5 * np.log(spectra).sum(axis=1)[:, None] + log_determinant[:, None]
        return likelihood

    def _variances(self, maps: np.ndarray, designs: Sequence[np.ndarray], choice: np.ndarray) -> np.ndarray:
        spread = np.empty((maps.shape[1], maps.shape[2]))
        for index in np.unique(choice):
            chosen = np.flatnonzero(choice == index)
            covariance = self[index]
            white = 1 / np.sqrt(covariance.values)[:, None]
            for m, design in enumerate(designs):
                turned = white * (covariance.vectors.T @ maps[:, chosen, m])
                left = without(turned, white * (covariance.vectors.T @ design))
                spread[chosen, m] = np.sqrt((left**2).sum(axis=0) / (design.shape[0] - design.shape[1]))
        # Whitened residuals are mostly fine structure. How maps go together is asked of the residuals as they are.
        left = np.stack([without(maps[:, :, m], design) for m, design in enumerate(designs)])
        left /= np.sqrt((left**2).sum(axis=1, keepdims=True))
        return np.asarray(np.einsum("mir,nir->rmn", left, left) * spread[:, :, None] * spread[:, None])

    def slope_covariance(self, fitted: FittedCovariance, weights: Sequence[np.ndarray]) -> np.ndarray:
        """Covariance, (R, K, K), of the K sums over all maps of ``weights[m].T @ map``; weights: M arrays (N, K)."""
        count = weights[0].shape[1]
        result = np.empty((fitted.choice.size, count, count))
        for index in np.unique(fitted.choice):
            chosen = fitted.choice == index
            covariance = self[index]
            parts = np.array([[covariance.between(one, other) for other in weights] for one in weights])
            result[chosen] = np.einsum("rmn,mnkl->rkl", fitted.variance[chosen], parts)
        return result


def covariance_models(places: np.ndarray, step: tuple[float, float]) -> CovarianceModels:
    """Candidates for tiles of a given row and column, (N, 2); those of the last tiles are kept for the next map.

    Examples
    --------
    >>> models = covariance_models(np.argwhere(np.ones((5, 6))), (36.0, 36.0))
    >>> models.lengths[[0, -1]].round(6).tolist()
    [18.0, 216.0]
    >>> covariance = models[0]
    >>> bool(np.allclose(covariance.color(covariance.whiten(np.eye(30))), np.eye(30)))
    True
    """
    return _kept_models(np.ascontiguousarray(places, dtype=np.int64).tobytes(), step)


@lru_cache(maxsize=1)
def _kept_models(places: bytes, step: tuple[float, float]) -> CovarianceModels:
    return CovarianceModels(np.frombuffer(places, dtype=np.int64).reshape(-1, 2) * np.asarray(step), max(step))


def _correlation(family: str, distance: np.ndarray) -> np.ndarray:
    """Correlation at a distance in units of the length at which it is 1/e."""
    if family == "exponential":
        return np.exp(-distance)
    if family == "Matern 3/2":
        return (1 + _MATERN * distance) * np.exp(-_MATERN * distance)
    return np.exp(-(distance**2))


def without(values: np.ndarray, design: np.ndarray) -> np.ndarray:
    """What least squares leave of the columns of ``values``, (N, R)."""
    basis = np.linalg.qr(design)[0]
    return np.asarray(values - basis @ (basis.T @ values))


def _bases(design: np.ndarray, spectra: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per nugget: rows (p, N) that take a map to its components along the whitened design, and half its log det."""
    white = 1 / np.sqrt(spectra)
    orthogonal, triangle = np.linalg.qr(white[:, :, None] * design)
    size = np.log(np.abs(np.diagonal(triangle, axis1=1, axis2=2))).sum(axis=1)
    return np.ascontiguousarray(orthogonal.transpose(0, 2, 1) * white[:, None]), size
