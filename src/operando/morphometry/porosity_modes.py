"""Whether the porosities of an electrode are of one kind or of several."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr

from operando.core.errors import InputError
from operando.morphometry.porosity_sigma import effective_number

_STARTS = 4
_FLOOR = 1e-3


def porosity_modes(
    values: xr.DataArray | np.ndarray,
    *,
    max_modes: int = 5,
    root: bool = True,
    effective_n: float | None = None,
    bootstrap: int = 0,
    seed: int = 0,
) -> xr.Dataset:
    """Modes of the distribution of porosities over an electrode, and how many the data ask for.

    Parameters
    ----------
    values : DataArray or array, dims (y, x) or any one
        Porosities, from :func:`porosity_map` with ``tile_um``; NaN are left out.
    max_modes : int
        Largest number of normal distributions that is tried.
    root : bool
        Fit the square roots of the values, which scatter alike in tiles of few and of many pores. False for values
        that may be negative.
    effective_n : float, optional
        How many independent values there are. Default: for a map what its correlated neighbors leave of the number of
        tiles; for values along one axis, all.
    bootstrap : int
        Samples of the parametric bootstrap that tests each number against one more; 0 for none, 199 for p to 0.005.
    seed : int
        Of the starts of the fits and of the bootstrap.

    Returns
    -------
    Dataset
        - ``modes`` (): maxima of the density of the chosen mixture: one means a single, maybe lopsided, hump
        - ``components`` (): normal distributions in it, the number of the least ``criterion``
        - ``weight``, ``mean``, ``sigma`` (component): of the chosen mixture, by mean, in the unit of the values
        - ``criterion`` (number): BIC of 1, 2, ... normal distributions; only differences count, 10 is strong evidence
        - ``p_value`` (number): of so many against one more; NaN without ``bootstrap``
        - ``effective_n`` (): independent values; ``n`` (): values

    Raises
    ------
    InputError
        Where there are too few values or the array has other dims.

    Notes
    -----
    A tile holds a few pores, whose number scatters as its root: porosities of one kind are skewed, their square roots
    nearly normal (Anscombe), hence ``root``.

    Dixit 2020 finds one mode in pristine lithium and three in plated and stripped lithium. Here a normal mixture is
    fitted by expectation maximization for every number k, and the least Bayesian information criterion chooses:

    .. math:: \\mathrm{BIC}_k = (3k - 1) \\ln n' - 2 \\frac{n'}{n} \\ln L_k

    where n' is the number of independent values that n tiles with correlated neighbors are worth, from the reach of
    their correlation. A histogram of tiles, taken at its word, has n' = n: then a field that varies slowly but normally
    shows modes that are not there (pass ``effective_n`` to see them).

    Components are not modes: a skewed distribution takes two normal ones but has one maximum. Both numbers are given;
    "one mode or three" is answered by ``modes``.

    The bootstrap draws n' values from the fit of k and asks how often one component more gains as much likelihood.

    Do not trust it where tiles hold two or three pores each, most of all where many hold none (a spike at 0 is a mode
    of its own: use larger tiles or more depth), for fewer than about 50 effective values, where only modes far apart
    are seen, or as a statement about why: slow variation over the field of view makes modes as well. How often a single
    mode is called one is in docs/quantities/porosity.md.

    Reference
    ---------
    Schwarz, Annals of Statistics 6 (1978) 461; McLachlan, Applied Statistics 36 (1987) 318 (bootstrap); Anscombe,
    Biometrika 35 (1948) 246 (root)

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> kinds = [rng.normal(mean, 0.01, 200) for mean in (0.05, 0.10, 0.20)]
    >>> found = porosity_modes(np.concatenate(kinds))
    >>> int(found["modes"]), found["mean"].values.round(2).tolist()
    (3, [0.05, 0.1, 0.2])
    >>> int(porosity_modes(kinds[0])["modes"])
    1
    """
    where = "porosity_modes"
    array = np.asarray(values, dtype=float)
    if isinstance(values, xr.DataArray) and values.ndim == 2 and set(values.dims) != {"y", "x"}:
        raise InputError(f"{where}: a map has the dims y and x, got {values.dims}. Select one scan and one electrode.")
    if array.ndim not in (1, 2):
        raise InputError(f"{where}: values along one axis or a map (y, x), got {array.ndim}-D. Select one scan first.")
    sample = array[np.isfinite(array)]
    if root and (sample < 0).any():
        raise InputError(
            f"{where}: the square root is fitted, but there are values down to {sample.min():g}. "
            "Pass root=False for differences and other values that may be negative."
        )
    if max_modes < 1 or sample.size < 4 * max_modes:
        raise InputError(
            f"{where}: at least {4 * max(max_modes, 1)} values are needed for {max_modes} modes, got {sample.size}. "
            "Use smaller tiles or fewer modes."
        )
    array, sample = (np.sqrt(array), np.sqrt(sample)) if root else (array, sample)
    worth = effective_number(array) if array.ndim == 2 else float(sample.size)
    if effective_n is not None:
        if not 1 < effective_n <= sample.size:
            raise InputError(
                f"{where}: effective_n must be more than 1 and at most the number of values {sample.size}, got "
                f"{effective_n!r}. Leave it out to have it measured."
            )
        worth = float(effective_n)
    scale = float(sample.std())
    if scale == 0:
        alike = _Fit(np.ones(1), sample[:1], np.zeros(1), np.inf)
        return _dataset([alike], [-np.inf], [np.nan], worth, sample.size, root)
    center = float(sample.mean())
    fits = [_fit((sample - center) / scale, number, seed) for number in range(1, max_modes + 1)]
    share = worth / sample.size
    criterion = [(3 * k - 1) * np.log(worth) - 2 * share * fit.likelihood for k, fit in enumerate(fits, start=1)]
    p_values = _bootstrap(fits, share, max(round(worth), 2), bootstrap, seed) if bootstrap else [np.nan] * max_modes
    back = [_Fit(fit.weight, center + scale * fit.mean, scale * fit.sigma, fit.likelihood) for fit in fits]
    return _dataset(back, criterion, p_values, worth, sample.size, root)


class _Fit:
    """A normal mixture by mean, and the logarithm of the likelihood of what it was fitted to."""

    def __init__(self, weight: np.ndarray, mean: np.ndarray, sigma: np.ndarray, likelihood: float) -> None:
        order = np.argsort(mean)
        self.weight, self.mean, self.sigma, self.likelihood = weight[order], mean[order], sigma[order], likelihood

    def modes(self) -> int:
        """Maxima of the density."""
        if len(self.mean) == 1:
            return 1
        places = [
            np.linspace(mean - 3 * sigma, mean + 3 * sigma, 601)
            for mean, sigma in zip(self.mean, self.sigma, strict=True)
        ]
        x = np.unique(np.concatenate(places))
        density = (self.weight / self.sigma * np.exp(-0.5 * ((x[:, None] - self.mean) / self.sigma) ** 2)).sum(axis=1)
        rising = np.diff(density) > 0
        return int(np.count_nonzero(rising[:-1] & ~rising[1:]))


def _fit(sample: np.ndarray, number: int, seed: int) -> _Fit:
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(
        number, n_init=1 if number == 1 else _STARTS, reg_covar=_FLOOR, random_state=seed, max_iter=300, tol=1e-4
    )
    import warnings

    with warnings.catch_warnings():
        # A fit with too many components creeps along; its likelihood is as good as any then.
        warnings.simplefilter("ignore")
        mixture.fit(sample[:, None])
    likelihood = float(mixture.score(sample[:, None])) * sample.size
    return _Fit(mixture.weights_, mixture.means_[:, 0], np.sqrt(mixture.covariances_[:, 0, 0]), likelihood)


def _bootstrap(fits: list[_Fit], share: float, number: int, samples: int, seed: int) -> list[float]:
    rng = np.random.default_rng(seed)
    out = []
    for k, (fit, more) in enumerate(pairwise(fits), start=1):
        gain, above = share * (more.likelihood - fit.likelihood), 0
        for _ in range(samples):
            which = rng.choice(k, size=number, p=fit.weight / fit.weight.sum())
            drawn = rng.normal(fit.mean[which], fit.sigma[which])
            above += _fit(drawn, k + 1, seed).likelihood - _fit(drawn, k, seed).likelihood >= gain
        out.append((above + 1) / (samples + 1))
    return [*out, np.nan]


def _dataset(
    fits: list[_Fit], criterion: list[float], p_values: list[float], worth: float, count: int, root: bool
) -> xr.Dataset:
    chosen = fits[int(np.argmin(criterion))]
    mean, sigma = chosen.mean, chosen.sigma
    if root:
        # Mean and standard deviation of the square of a normal number.
        mean, sigma = mean**2 + sigma**2, np.sqrt(4 * mean**2 * sigma**2 + 2 * sigma**4)
    number = ("number", np.arange(1, len(fits) + 1))
    unit: dict[str, Any] = {"units": "1"}
    return xr.Dataset(
        {
            "modes": ((), chosen.modes(), unit),
            "components": ((), len(chosen.mean), unit),
            "weight": ("component", chosen.weight, unit),
            "mean": ("component", mean, unit),
            "sigma": ("component", sigma, unit),
            "criterion": ("number", criterion, unit | {"long_name": "Bayesian information criterion"}),
            "p_value": ("number", p_values, unit),
            "effective_n": ((), worth, unit),
            "n": ((), count, unit),
        },
        coords={"component": np.arange(1, len(chosen.mean) + 1), "number": number},
    )
