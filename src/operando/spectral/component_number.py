"""How many spectra a stack is mixed from: what stands out of the noise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr

from operando.core import provenance
from operando.core.errors import InputError, nearest
from operando.spectral.match import with_energies
from operando.spectral.pixels import as_mask, as_spectra, blocks_of, pixel_blocks
from operando.spectral.principal import Moments, eigenpairs
from operando.spectral.stacks import as_stack, same_energies

METHODS = ("marchenko-pastur", "malinowski")
TRACY_WIDOM_999 = 3.2724
"""Quantile of 99.9 % of the Tracy-Widom law of order 1 (Bejan 2005, table 2.5)."""


def number_of_components(
    stack: Any, *, sigma: Any = None, method: str | None = None, center: bool = True, mask: Any = None
) -> int:
    """How many spectra vary independently of each other between the pixels of a stack.

    Parameters
    ----------
    stack : DataArray, dims (energy, [z], y, x), units "1"
        Optical density.
    sigma, method, center, mask
        As in :func:`scree`, whose ``number`` this is, and whose Notes say what to expect.

    Returns
    -------
    int

    Raises
    ------
    InputError
        As :func:`scree`.

    Examples
    --------
    Noise of 0.01 on a wedge of one phase crossed with a wedge of another:

    >>> random = np.random.default_rng(0)
    >>> shapes = random.random((2, 40))
    >>> weights = np.stack(np.meshgrid(np.linspace(0, 1, 50), np.linspace(0, 1, 60)))
    >>> values = np.einsum("ke,kyx->eyx", shapes, weights) + random.normal(0, 0.01, (40, 60, 50))
    >>> number_of_components(values, sigma=0.01), number_of_components(values)
    (2, 2)
    """
    return int(scree(stack, sigma=sigma, method=method, center=center, mask=mask)["number"])


def scree(
    stack: Any, *, sigma: Any = None, method: str | None = None, center: bool = True, mask: Any = None
) -> xr.Dataset:
    """Variance of every principal component of a stack, and where the noise begins.

    Parameters
    ----------
    stack : DataArray, dims (energy, [z], y, x), units "1"
        Optical density, NaN where missing. May be lazy. Aligned: drift makes components of its own.
    sigma : DataArray like the stack, or (energy,), or float, optional
        Error of the optical density, as :func:`normalize` gives it.
    method : {"marchenko-pastur", "malinowski"}, optional
        Default the first where ``sigma`` is given, else the second.
    center : bool
        Leave out what all pixels have in common, as an error of I0 is. The spectra of n phases still make n components
        as long as thickness varies; where it is the same everywhere, n - 1.
    mask : bool array, dims ([z], y, x), optional
        True where a pixel counts.

    Returns
    -------
    Dataset
        ``variance`` (component), the eigenvalues, falling; in units of the noise for ``marchenko-pastur``. ``number``,
        how many stand out. ``edge``, above which a component stands out, and ``noise_factor``, the noise found over
        that stated by ``sigma`` (both NaN for ``malinowski``). ``indicator`` (component), Malinowski's function of the
        number of components kept (NaN for ``marchenko-pastur``).

    Raises
    ------
    InputError
        Where the method is unknown or lacks ``sigma``, or no pixel has every energy.

    Notes
    -----
    ``marchenko-pastur``: every optical density is divided by :math:`a_i b_j`, one number per pixel and one per energy,
    such that the mean variance of the noise is 1 in every row and column (biwhitening; dividing by sigma itself would
    spoil the rank). The eigenvalues of the covariance of pure noise of N pixels and E energies then end at

    .. math:: \\frac{\\mu + 3.27\\,s}{N}, \\quad \\mu = (\\sqrt{N-1} + \\sqrt{E})^2, \\quad
              s = (\\sqrt{N-1} + \\sqrt{E}) \\left(\\tfrac{1}{\\sqrt{N-1}} + \\tfrac{1}{\\sqrt{E}}\\right)^{1/3}

    with a probability of 99.9 % (Johnstone). A ``sigma`` that is wrong by one factor everywhere does no harm: the
    median of the eigenvalues that are noise gives ``noise_factor``, by which the edge is scaled (from 12 energies up).
    A component is found when its variance exceeds about :math:`\\sqrt{E/N}` of the noise in one pixel.

    ``malinowski``: the minimum over n of

    .. math:: IND(n) = \\frac{RE(n)}{(E-n)^2}, \\qquad RE(n) = \\sqrt{\\frac{\\sum_{j>n}\\lambda_j}{E - n}}

    with n up to half of the energies. It takes noise as equal everywhere; phases that are in few pixels drown.

    When not to trust it: a probe wider than the phases, saturation, and drift bend spectra, which makes components that
    no phase stands behind; see the page on decomposition for how many. A phase in a few dozen pixels, or one whose
    spectrum is nearly a sum of others, may stay below the edge. Noise that neighbors share (resampled images) widens
    the range of the noise beyond this edge.

    The stack is read once for ``malinowski``, and five to eight times for ``marchenko-pastur`` with a sigma per pixel.

    References
    ----------
    E. R. Malinowski, Anal. Chem. 49 (1977) 612; I. M. Johnstone, Ann. Statist. 29 (2001) 295; B. Landa, T. Zhang,
    Y. Kluger, SIAM J. Math. Data Sci. 4 (2022) 1420 (biwhitening).

    Examples
    --------
    >>> random = np.random.default_rng(0)
    >>> noise = random.normal(0, 0.01, (40, 60, 50))
    >>> int(scree(noise, sigma=0.01)["number"])
    0
    """
    where = "scree"
    chosen = ("malinowski" if sigma is None else "marchenko-pastur") if method is None else method
    if chosen not in METHODS:
        raise InputError(f"{where}: method is one of {', '.join(METHODS)}, got {method!r}. {nearest(chosen, METHODS)}")
    data = as_spectra(with_energies(as_stack(stack, where=where), sigma, where=where), where=where)
    use = as_mask(mask, data, where=where)
    energies = data.sizes["energy"]
    indicator = np.full(energies, np.nan)
    edge = factor = np.nan
    if chosen == "malinowski":
        moments = Moments.of(data, use, where=where)
        pixels = moments.pixels
        values, _ = eigenpairs(moments.second - (np.outer(moments.mean, moments.mean) if center else 0.0))
        indicator, number = _malinowski(values)
    else:
        if sigma is None:
            raise InputError(
                f"{where}: the edge of Marchenko and Pastur needs the noise. Pass sigma=..., or method='malinowski'."
            )
        noise = _as_sigma(sigma, data, where=where)
        covariance, pixels = _biwhitened(data, noise, use, center=center, where=where)
        values, _ = eigenpairs(covariance)
        number, edge, factor = _above_noise(values, pixels)
    settings = {"method": chosen, "center": center, "masked": mask is not None}
    return xr.Dataset(
        {
            "variance": (("component",), values, {"units": "1", "long_name": "Variance of the component"}),
            "indicator": (("component",), indicator, {"units": "1", "long_name": "Indicator function"}),
            "number": ((), number, {"units": "1", "long_name": "Number of components"}),
            "edge": ((), edge, {"units": "1", "long_name": "Largest variance of noise"}),
            "noise_factor": ((), factor, {"units": "1", "long_name": "Noise found over noise stated"}),
        },
        coords={"component": [f"component {k + 1}" for k in range(energies)]},
        attrs={"method": chosen, "pixels": pixels, "provenance": provenance.record(where, settings)},
    )


def _malinowski(values: np.ndarray) -> tuple[np.ndarray, int]:
    energies = values.size
    indicator = np.full(energies, np.nan)
    kept = np.arange(1, energies)
    # Below this an eigenvalue is rounding: a stack without noise has no more components than others.
    solid = np.where(values > 1e-14 * energies * values[0], values, 0.0)
    left = np.cumsum(solid[::-1])[::-1][1:]
    indicator[: energies - 1] = np.sqrt(left / (energies - kept)) / (energies - kept) ** 2.0
    # Close to all energies the denominator takes over, whatever the data.
    range_ = indicator[: max(1, energies // 2)]
    return indicator, int(np.argmin(range_)) + 1 if np.isfinite(range_).any() else 1


def _as_sigma(sigma: Any, data: xr.DataArray, *, where: str) -> xr.DataArray:
    """Errors on the dims of the stack, or along the energies alone where they do not depend on the pixel."""
    if np.ndim(sigma) == 0:
        sigma = np.asarray(sigma, dtype=float)
    if not isinstance(sigma, xr.DataArray):
        values = np.asarray(sigma, dtype=float)
        if values.ndim <= 1 and values.size in (1, data.sizes["energy"]):
            sigma = xr.DataArray(np.broadcast_to(values, (data.sizes["energy"],)), dims=("energy",))
        elif values.shape == data.shape:
            sigma = xr.DataArray(values, dims=data.dims)
    if not isinstance(sigma, xr.DataArray) or set(sigma.dims) not in ({"energy"}, set(data.dims)):
        raise InputError(
            f"{where}: sigma is one number, one per energy ({data.sizes['energy']}) or an array like the stack "
            f"{data.shape}, got {np.shape(sigma)}. Take it from normalize(...)."
        )
    if sigma.dims == ("energy",) and set(data.dims) != {"energy"}:
        energies = np.asarray(data["energy"].values, dtype=float)
        sigma = same_energies(sigma, energies, where=where, name="sigma", remedy="Select those of the stack.")
    else:
        sigma = sigma.transpose(*data.dims)
        if "energy" in sigma.coords and sigma.sizes["energy"] == data.sizes["energy"]:
            energies = np.asarray(data["energy"].values, dtype=float)
            sigma = same_energies(sigma, energies, where=where, name="sigma", remedy="Select those of the stack.")
        if sigma.shape != data.shape:
            raise InputError(
                f"{where}: sigma has the shape of the stack {data.shape}, got {sigma.shape}. Crop both alike."
            )
    return sigma


def _biwhitened(
    data: xr.DataArray, sigma: xr.DataArray, use: np.ndarray, *, center: bool, where: str
) -> tuple[np.ndarray, int]:
    """Covariance of the stack over its noise, and from how many pixels."""
    energies = data.sizes["energy"]
    column = np.ones(energies)
    if sigma.dims == ("energy",):
        column = np.asarray(sigma.values, dtype=float) ** 2
        if not (np.isfinite(column) & (np.asarray(sigma.values) > 0)).all():
            raise InputError(
                f"{where}: sigma must be positive and finite, got {float(np.min(sigma.values)):g}. Drop these energies."
            )
    else:
        for _ in range(6):
            total, pixels = np.zeros(energies), 0
            for _, _, variance in _both(data, sigma, use):
                total += (variance / (variance / column).mean(axis=1, keepdims=True)).sum(axis=0)
                pixels += len(variance)
            if not pixels:
                break
            change = float(np.abs(total / pixels / column - 1).max())
            column = total / pixels
            if change < 1e-3:
                break
    second, cross, square, pixels = np.zeros((energies, energies)), np.zeros(energies), 0.0, 0
    for _, values, variance in _both(data, sigma, use):
        row = np.sqrt((variance / column).mean(axis=1))[:, None]
        white = values / (row * np.sqrt(column))
        second += white.T @ white
        # What all pixels have in common is, after the division, no longer the same for all of them.
        cross += (white / row).sum(axis=0)
        square += float((row**-2).sum())
        pixels += len(white)
    if not pixels:
        raise InputError(
            f"{where}: no pixel has every energy, with a positive error. Drop energies with many missing pixels."
        )
    if center:
        second -= np.outer(cross, cross) / square
    return second / pixels, pixels


def _both(
    data: xr.DataArray, sigma: xr.DataArray, use: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Blocks of pixels that have every energy: positions, optical density, variance."""
    if sigma.dims == ("energy",):
        variance = np.asarray(sigma.values, dtype=float)[None] ** 2
        for position, values in pixel_blocks(data, use):
            whole = np.isfinite(values).all(axis=1)
            yield position[whole], values[whole], np.broadcast_to(variance, values[whole].shape)
        return
    for position, (values, errors) in blocks_of([data, sigma], use):
        whole = np.isfinite(values).all(axis=1) & (errors > 0).all(axis=1)
        yield position[whole], values[whole], errors[whole] ** 2


def _above_noise(values: np.ndarray, pixels: int) -> tuple[int, float, float]:
    energies = values.size
    n, e = np.sqrt(max(pixels - 1, 1)), np.sqrt(energies)
    edge = ((n + e) ** 2 + TRACY_WIDOM_999 * (n + e) * (1 / n + 1 / e) ** (1 / 3)) / pixels
    middle = _marchenko_pastur_median(energies / pixels)
    factor = 1.0
    # With fewer pixels than half of the energies most eigenvalues are zero and say nothing of the noise.
    if energies >= 12 and middle > 0:
        factor = float(np.median(values)) / middle
        signal = int((values > edge * factor).sum())
        # Once more without the signal; not until it settles: where noise has no edge, that would take all of it.
        if 0 < signal <= energies // 4:
            factor = float(np.median(values[signal:])) / middle
    return int((values > edge * factor).sum()), float(edge * factor), float(np.sqrt(factor))


def _marchenko_pastur_median(ratio: float) -> float:
    """Median eigenvalue of the covariance of unit noise, for energies / pixels."""
    low, high = (1 - np.sqrt(ratio)) ** 2, (1 + np.sqrt(ratio)) ** 2
    # Substituting the half circle takes the roots at both ends out of the integral.
    angle = (np.arange(4000) + 0.5) * np.pi / 4000
    at = (low + high) / 2 - (high - low) / 2 * np.cos(angle)
    density = np.sin(angle) ** 2 / at
    share = np.cumsum(density) / density.sum()
    if ratio > 1:
        share = 1 - 1 / ratio + share / ratio
    return float(np.interp(0.5, share, at)) if share[0] < 0.5 else 0.0
