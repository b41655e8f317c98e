"""Whether a map is explained by other maps of the same places, and how surely, where neighbors are alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from operando.core.errors import InputError
from operando.core.quantities import quantity_table
from operando.morphometry.costes import FEWEST_BLOCKS
from operando.morphometry.spatial_covariance import Prepared, covariance_models, without
from operando.morphometry.spatial_tiles import Tiles, read_tiles

# With fewer independent samples beyond the coefficients, the tests no longer hold their level.
_FEWEST_SAMPLES = 9.0
# A map may be so smooth that its finest structure, which says nothing of its slopes, would decide on the covariance.
_ROUGHNESS = 0.05
_INFLATED = 5.0
_ROUNDING = 1 - 1e-9


def spatial_regression(
    response: xr.DataArray,
    predictors: Mapping[str, xr.DataArray],
    *,
    relative_to: Literal["mean", "sd"] = "mean",
    block: int = 2,
    permutations: int = 999,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Regress a map on others of the same places: effects, intervals and p-values that allow for alike neighbors.

    Parameters
    ----------
    response : DataArray, dims ([t], [component], y, x)
        What is to be explained, on tiles, such as the local current density. Several maps are pooled, with an
        intercept each and common slopes; those without any value (the first scan of a current) are left out.
    predictors : mapping of name to DataArray, dims of ``response`` or fewer
        What may explain it, on the same tiles: tortuosity factor, porosity, Young's modulus of the ceramic beneath.
    relative_to : {"mean", "sd"}
        Unit of the response: percent of the mean of each map (so that stripping and plating maps, weak and strong
        currents, can be pooled), or the standard deviation of each map, for a response with a mean near zero.
    block : int
        Edge of the blocks that are permuted, in tiles.
    permutations : int
        At least 1 / (1 - ``level``) - 1.
    level : float
        Of the intervals.
    seed : int
        The same seed gives the same table.

    Returns
    -------
    DataFrame
        A quantity table; ``n`` tiles known in every map and predictor; what cannot be decided is NaN, and ``method``
        says why. Component ``RESPONSE~PREDICTOR``:

        - ``effect``: change of the response, in percent of its mean (or in its standard deviations), per standard
          deviation of the predictor where the others stay; with sigma. ``effect low``, ``effect high``: its interval
        - ``p-value``: of this predictor beside the others, two-sided
        - ``standardized coefficient``; ``partial r2``: share of what the others leave; ``variance inflation``
        - ``pearson``, ``pearson p-value``: the predictor alone
        - ``effective samples``: independent tiles behind that correlation; ``predictor sd`` in its own unit

        Component ``RESPONSE~all``: ``p-value`` of all predictors together - is the map related to them at all; ``r2``;
        ``effective samples``; ``correlation length`` and ``nugget`` of the response; ``response sd``; ``maps``;
        ``dropped maps``, ``dropped without response``, ``dropped infinite``, ``dropped without predictor``: counts.

    Raises
    ------
    AxesError, InputError
        Where maps do not fit each other, do not vary, follow from each other, or are known at fewer than 25 tiles (5
        per coefficient), and where an argument is out of range.

    Notes
    -----
    .. math:: \\frac{j_m}{\\bar j_m} = a_m + \\sum_k \\beta_k \\frac{x_{mk} - \\bar x_{mk}}{s_k} + e_m, \\qquad
              \\mathrm{cov}(e_m, e_n) = S_{mn} C

    The slopes are those of least squares: what an open eye sees in a scatter plot. Their covariance is
    :math:`A^{-1} X^T (S \\otimes C) X A^{-1}`, :math:`A = X^T X`, with C and the diagonal of S fitted by
    restricted likelihood (:class:`~operando.morphometry.spatial_covariance.CovarianceModels`), and the correlation of
    the maps that of their residuals. For the fit, maps get noise of 5 % of the residual variance: without, the finest
    structure of a smooth map would decide.

    Null: residuals of the model without what is tested (Freedman and Lane) are whitened with the covariance fitted to
    *them*, permuted in whole blocks, the same in all maps, and given their correlation again. Every permuted map goes
    through the whole procedure, the fit of the covariance with it, and its t (of one slope) or Wald statistic (of all)
    stands beside that of the data. An interval holds the slopes that this test does not reject.

    Permuting the tiles, or blocks of them, without whitening is no substitute: neighbors are alike in response *and*
    predictors, blocks cut that likeness, and small maps hold few of them. Measured error rates, also of other tests,
    stand in the documentation. With fewer than 9 independent tiles beyond the predictors, which is where a correlation
    length passes a third of a map, p-values and intervals are NaN: no test decides anything there.

    Dead ends: a tile with an infinite tortuosity factor is left out and counted - the very tile that should carry no
    current. Hand in ``1 / tau``, which is 0 there, and expect the opposite sign.

    Tortuosity, porosity and modulus of the same voxels are collinear: read the joint p-value first, single
    coefficients only where the variance inflation is small. A relation is not a cause.

    Memory: 36 matrices of tiles x tiles, kept for the next map of the same tiles, and ten times permutations x tiles x
    maps, in float64. Time: a second for one map of 150 tiles and three predictors on an idle core.

    References
    ----------
    Freedman and Lane, Journal of Business and Economic Statistics 1 (1983) 292, doi:10.2307/1391660; Winkler et al.,
    NeuroImage 92 (2014) 381, doi:10.1016/j.neuroimage.2014.01.060; Dutilleul, Biometrics 49 (1993) 305,
    doi:10.2307/2532625 (effective samples)

    Examples
    --------
    A current that falls by 10 % of its mean per standard deviation of the tortuosity factor:

    >>> tau = np.random.default_rng(0).normal(1.5, 0.2, size=(8, 8))
    >>> current = 2.0 * (1 - 0.1 * (tau - tau.mean()) / tau.std())
    >>> current, tau = (xr.DataArray(values, dims=("y", "x")) for values in (current, tau))
    >>> table = spatial_regression(current.rename("current"), {"tau": tau}, permutations=99)
    >>> found = table.set_index(["component", "quantity"])["value"]
    >>> [round(float(found["current~tau", quantity]), 6) for quantity in ("effect", "p-value", "partial r2")]
    [-10.0, 0.01, 1.0]
    """
    where = "spatial_regression"
    for argument, number in (("block", block), ("permutations", permutations)):
        if not isinstance(number, int | np.integer) or number < 1:
            raise InputError(f"{where}: {argument} must be a whole number of at least 1, got {number!r}. Correct it.")
    if not 0 < level < 1:
        raise InputError(f"{where}: level must lie between 0 and 1, got {level!r}. Divide a percentage by 100.")
    fewest = int(np.ceil(1 / (1 - level) - 1e-9)) - 1
    if permutations < fewest:
        raise InputError(
            f"{where}: intervals at the level {level:g} need at least {fewest} permutations, got {permutations}. "
            "Ask for more; 999 is usual."
        )
    tiles = read_tiles(response, predictors, relative_to=relative_to, where=where)
    blocks = len(np.unique(tiles.places // block, axis=0))
    if blocks < FEWEST_BLOCKS:
        raise InputError(
            f"{where}: permutations need at least {FEWEST_BLOCKS} blocks, got {blocks} of {block} x {block} tiles. "
            "Make block smaller; 2 is usual."
        )
    regression = _Regression(tiles, block=block, permutations=permutations, level=level, seed=seed)
    table = quantity_table({"component": f"{tiles.name}~{name}", **row} for name, row in regression.rows())
    if tiles.simulated:
        table.attrs["simulated"] = True
    return table


class _Regression:
    """One regression with its permutations, and the rows that say what was found."""

    def __init__(self, tiles: Tiles, *, block: int, permutations: int, level: float, seed: int) -> None:
        self.tiles, self.block, self.level = tiles, block, level
        self.models = covariance_models(tiles.places, tiles.step)
        random = np.random.default_rng(seed)
        self.order = permuted_blocks(tiles.places, block, permutations, random=random)
        self.gram = np.einsum("mnk,mnl->kl", tiles.design, tiles.design)
        self.weights = list(tiles.design @ np.linalg.inv(self.gram))
        ones = np.ones((len(tiles.places), 1))
        self.empty = self.models.prepare([ones] * len(tiles.design))
        self.full = self.models.prepare([np.hstack([ones, columns]) for columns in tiles.design])

        self.noise = np.sqrt(_ROUGHNESS) * random.standard_normal(tiles.response.shape)

        self.slopes = self._slopes(tiles.response[:, None])[0]
        self.slope_covariance = self._slope_covariance(self._rough(tiles.response, self.full)[:, None], self.full)[0]
        self.sigma = np.sqrt(np.diag(self.slope_covariance))
        # Were nothing related: what the joint test and those of single predictors rest on.
        self.unrelated = self.models.fit(self._rough(tiles.response, self.empty)[:, None], self.empty)
        self.correlation = self.models[self.unrelated.choice[0]]
        self.null = self._permuted(tiles.response, self.empty)

    def _slopes(self, maps: np.ndarray) -> np.ndarray:
        """Least squares: (R, K) for maps (N, R, M)."""
        return np.asarray(sum(maps[:, :, m].T @ weight for m, weight in enumerate(self.weights)))

    def _slope_covariance(self, maps: np.ndarray, prepared: Prepared) -> np.ndarray:
        return self.models.slope_covariance(self.models.fit(maps, prepared), self.weights)

    def _rough(self, response: np.ndarray, prepared: Prepared) -> np.ndarray:
        """Maps (N, M) with a little noise, a share of what the designs leave of them."""
        left = [without(own[:, None], design).std() for own, design in zip(response.T, prepared.designs, strict=True)]
        return response + self.noise * np.array(left)

    def _permuted(self, response: np.ndarray, prepared: Prepared) -> np.ndarray:
        """Maps (N, R, M) that are related to nothing beyond the designs, with the correlation of the response."""
        response = self._rough(response, prepared)
        covariance = self.models[self.models.fit(response[:, None], prepared).choice[0]]
        white = [
            without(covariance.whiten(own[:, None]), covariance.whiten(design))
            for own, design in zip(response.T, prepared.designs, strict=True)
        ]
        return covariance.color(np.hstack(white)[self.order].transpose(1, 0, 2))

    def _t_null(self, k: int, slope: float, others: Prepared) -> np.ndarray:
        """|t| of coefficient k, (R,), of permuted maps in which it equals ``slope`` (Freedman and Lane 1983)."""
        maps = self._permuted(self.tiles.response - slope * self.tiles.design[:, :, k].T, others)
        variance = self._slope_covariance(maps, self.full)[:, k, k]
        return np.asarray(np.abs(self._slopes(maps)[:, k]) / np.sqrt(variance))

    def _critical(self, null: np.ndarray) -> float:
        """The value that is exceeded where the p-value is 1 - level or less."""
        rank = int(np.ceil(self.level * (null.size + 1) - 1e-9))
        return float(np.sort(null)[rank - 1])

    def joint(self) -> float:
        """p-value of all predictors together."""
        null = _quadratic(self._slopes(self.null), self._slope_covariance(self.null, self.full))
        return _p_value(null, _quadratic(self.slopes[None], self.slope_covariance[None])[0])

    def partial(self, k: int) -> tuple[float, float, float]:
        """p-value of predictor k beside the others, and the interval of its slope."""
        others = self.empty
        if len(self.gram) > 1:
            others = self.models.prepare([np.delete(design, k + 1, axis=1) for design in self.full.designs])
        null = self._t_null(k, 0.0, others)
        half = self._critical(null) * self.sigma[k]
        # The interval holds the slopes that a test does not reject. Their null differs little from that of zero, so
        # that one step leads to its ends.
        low, high = (
            self.slopes[k]
            + sign * self.sigma[k] * self._critical(self._t_null(k, self.slopes[k] + sign * half, others))
            for sign in (-1, 1)
        )
        return _p_value(null, abs(self.slopes[k]) / self.sigma[k]), low, high

    def single(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Correlation of each predictor alone, its sigma and p-value, (K,)."""
        weights = list(self.tiles.design / np.diag(self.gram))
        total = (self.tiles.response**2).sum()
        scale = np.sqrt(np.diag(self.gram) / total)
        correlations = scale * sum(weight.T @ own for weight, own in zip(weights, self.tiles.response.T, strict=True))
        sigma = scale * np.sqrt(_diagonal(self.models.slope_covariance(self.unrelated, weights))[0])
        variance = _diagonal(self.models.slope_covariance(self.models.fit(self.null, self.empty), weights))
        slopes = sum(self.null[:, :, m].T @ weight for m, weight in enumerate(weights))
        null = np.abs(slopes) / np.sqrt(variance)
        found = np.abs(correlations) / sigma
        p = np.array([_p_value(own, value) for own, value in zip(null.T, found, strict=True)])
        return np.asarray(correlations), sigma, p

    def samples(self) -> tuple[np.ndarray, float]:
        """Independent tiles behind the correlation with each predictor, (K,), and behind all of them."""
        count = len(self.tiles.places)
        ones = np.ones((count, 1))
        free = count - self.correlation.between(ones, ones)[0, 0] / count
        total = free * np.trace(self.unrelated.variance[0])
        scatter = self.models.slope_covariance(self.unrelated, list(self.tiles.design))[0]
        each = 1 + total * np.diag(self.gram) / np.diag(scatter)
        together = 1 + total * len(self.gram) / np.trace(np.linalg.solve(self.gram, scatter))
        return each, float(together)

    def shares(self) -> tuple[float, np.ndarray]:
        """R2 of the regression, and the share of what the others leave that each predictor explains, (K,)."""
        total = (self.tiles.response**2).sum()
        product = self.gram @ self.slopes
        left = total - product @ self.slopes
        own = self.slopes**2 / np.diag(np.linalg.inv(self.gram))
        return float(1 - left / total), own / (own + max(left, 0.0))

    def rows(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Predictor (or ``all``) and row."""
        tiles = self.tiles
        maps, count = len(tiles.design), len(tiles.places)
        samples, together = self.samples()
        r2, partial_r2 = self.shares()
        correlations, correlation_sigma, single_p = self.single()
        partial = [self.partial(k) for k in range(len(self.gram))]
        joint = self.joint() if len(partial) > 1 else partial[0][0]
        inflation = np.diag(np.linalg.inv(self.gram)) * np.diag(self.gram)
        spread = np.sqrt((tiles.response**2).mean())
        fewest = len(self.gram) + _FEWEST_SAMPLES
        refused = ""
        if together < fewest:
            refused = (
                f"not decided: {together:.1f} independent tiles, at least {fewest:.0f} are needed; a larger field of "
                "view or fewer predictors would help"
            )
        test = refused or (
            f"{len(self.order)} permutations of blocks of {self.block} x {self.block} whitened tiles, two-sided"
        )
        unit = tiles.effect_unit

        def row(quantity: str, value: float, method: str, *, unit: str = "1", sigma: float = np.nan) -> dict[str, Any]:
            decided = np.nan if refused and method == test else float(value)
            found = {"quantity": quantity, "value": decided, "sigma": sigma, "unit": unit, "method": method}
            return {**found, "n": count}

        for k, name in enumerate(tiles.predictors):
            p, low, high = partial[k]
            per = f"of the {'mean' if unit == '%' else 'standard deviation'} per standard deviation of {name}"
            collinear = "; the predictors are collinear: read the joint test" if inflation[k] > _INFLATED else ""
            for found in (
                row("effect", self.slopes[k], per, unit=unit, sigma=self.sigma[k]),
                row("effect low", low, test, unit=unit),
                row("effect high", high, test, unit=unit),
                row("p-value", p, test),
                row("standardized coefficient", self.slopes[k] / spread, "least squares", sigma=self.sigma[k] / spread),
                row("partial r2", partial_r2[k], "of what the other predictors leave"),
                row("variance inflation", inflation[k], "1 / (1 - R2 with the other predictors)" + collinear),
                row("pearson", correlations[k], "within maps, alone", sigma=correlation_sigma[k]),
                row("pearson p-value", single_p[k], test),
                row("effective samples", samples[k], "1 + 1 / variance of r between unrelated such maps"),
                row("predictor sd", tiles.spread[k], "between tiles, within maps", unit=tiles.units[k]),
            ):
                yield name, found
        fitted = f"restricted likelihood, {self.correlation.family}, distance of 1/e"
        for found in (
            row("p-value", joint, test),
            row("r2", r2, "least squares"),
            row("effective samples", together, "mean over the directions of the predictors"),
            row("correlation length", self.correlation.length, fitted, unit=tiles.length_unit),
            row(
                "nugget",
                self.correlation.nugget,
                "share of the variance that neighbors do not have in common, 0.05 of noise for the fit with it",
            ),
            row("response sd", spread, "between tiles, within maps", unit=unit),
            row("maps", maps, "pooled, with an intercept each"),
            *(row(reason, number, "count") for reason, number in tiles.dropped.items()),
        ):
            yield "all", found


def permuted_blocks(places: np.ndarray, block: int, permutations: int, *, random: np.random.Generator) -> np.ndarray:
    """Orders of tiles in which whole blocks change places.

    Parameters
    ----------
    places : ndarray of int, (N, 2)
        Row and column of each tile.
    block : int
        Edge of a block, in tiles.
    permutations : int
    random : Generator

    Returns
    -------
    ndarray of int, (permutations, N)
        Tile i receives what tile ``order[i]`` had. The lattice of blocks is shifted anew for every permutation, a block
        may be turned by 180 degrees, and blocks that are not whole (edges, missing tiles) are joined to their next.

    Examples
    --------
    >>> places = np.argwhere(np.ones((4, 4)))
    >>> order = permuted_blocks(places, 2, 50, random=np.random.default_rng(0))
    >>> bool((np.sort(order, axis=1) == np.arange(16)).all())
    True
    """
    count = len(places)
    lattice = (places + random.integers(block, size=(permutations, 1, 2))) // block
    number = lattice[..., 0] * (lattice[..., 1].max() + 1) + lattice[..., 1]
    rank = random.permuted(np.tile(np.arange(number.max() + 1), (permutations, 1)), axis=1)
    turned = random.random(rank.shape) < 0.5
    along = np.where(np.take_along_axis(turned, number, axis=1), count - 1 - np.arange(count), np.arange(count))
    sources = np.argsort(np.take_along_axis(rank, number, axis=1) * count + along, axis=1)
    order = np.empty_like(sources)
    np.put_along_axis(order, np.argsort(number, axis=1, kind="stable"), sources, axis=1)
    return order


def _quadratic(slopes: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Wald's statistic, (R,): slopes (R, K) in units of their covariance (R, K, K)."""
    return np.asarray((slopes * np.linalg.solve(covariance, slopes[..., None])[..., 0]).sum(axis=1))


def _diagonal(matrices: np.ndarray) -> np.ndarray:
    return np.diagonal(matrices, axis1=1, axis2=2)


def _p_value(null: np.ndarray, found: float) -> float:
    return float((1 + np.count_nonzero(null >= found * _ROUNDING)) / (null.size + 1))
