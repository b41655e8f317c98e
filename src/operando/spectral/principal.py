"""Principal components of a stack: the few spectra whose sums make up every pixel's spectrum."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from operando.core import provenance
from operando.core.errors import InputError, nearest
from operando.spectral.pixels import (
    all_finite,
    as_mask,
    as_spectra,
    no_whole_pixel,
    pixel_blocks,
    sample_pixels,
    whole_pixels,
)
from operando.spectral.stacks import whole_number

METHODS = ("covariance", "svd", "randomized")


def components(
    stack: Any,
    *,
    n: int | None = None,
    mask: Any = None,
    method: str = "covariance",
    center: bool = False,
    seed: int = 0,
) -> xr.Dataset:
    """Principal components of the pixels' spectra.

    Parameters
    ----------
    stack : DataArray, dims (energy, [z], y, x), units "1"
        Optical density, NaN where missing. May be lazy.
    n : int, optional
        How many; default 10, or the number of energies where that is less. ``svd`` gives no more than there are pixels.
    mask : bool array, dims ([z], y, x), optional
        True where a pixel counts. Elsewhere scores are NaN.
    method : {"covariance", "svd", "randomized"}
        ``covariance``: from the sums of products of energies, one pass over the stack, block by block. ``svd``: thin
        singular value decomposition of all pixels at once. ``randomized``: a few passes with a random sketch of
        ``n + 10`` columns (Halko 2011), for hundreds of energies and few components; needs ``n``.
    center : bool
        Subtract the mean spectrum first. Without it (default) the rank of a noise-free stack is the number of
        spectra that are mixed in it.
    seed : int
        Of the random sketch.

    Returns
    -------
    Dataset
        ``score`` (component, [z], y, x), unit of the stack; ``spectrum`` (component, energy), of unit length,
        orthogonal to each other, the largest of its values positive; ``mean`` (energy), zero unless centered;
        ``variance`` (component), mean square of the scores; ``explained`` (component), its share of that of the
        stack. ``attrs["pixels"]``: how many pixels the spectra stand on.

    Raises
    ------
    InputError, AxesError
        Where no pixel has every energy, ``n`` is out of range or the method is unknown.

    Notes
    -----
    .. math:: X = T P^T, \\qquad X^T X = P\\,\\mathrm{diag}(\\lambda)\\,P^T

    with pixels as rows of :math:`X`. Spectra come from pixels that have every energy. A pixel that lacks some gets its
    scores by least squares over those it has, as long as these are at least half of all and more than the components;
    otherwise NaN.

    The route over the covariance squares the numbers: components weaker than about 1e-8 of the strongest are rounding.
    The thin decomposition does not, but takes about thirty times as long.

    Memory: scores (8 bytes per pixel and component) and one block of 64 MiB for ``covariance`` and ``randomized``; the
    whole stack in float64, twice, for ``svd``.

    Scores are not amounts and spectra are no phases: both have negative parts, and any rotation of them explains the
    stack as well. See :func:`mcr_als` and :func:`unmix`.

    References
    ----------
    N. Halko, P. G. Martinsson, J. A. Tropp, SIAM Review 53 (2011) 217.

    Examples
    --------
    Two pixels of one spectrum (3, 4), once and twice as thick: one component holds everything.

    >>> stack = xr.DataArray(np.array([[[3.0, 6.0]], [[4.0, 8.0]]]), dims=("energy", "y", "x"))
    >>> found = components(stack)
    >>> found["spectrum"].values[0].round(6).tolist(), found["score"].values[0].round(6).tolist()
    ([0.6, 0.8], [[5.0, 10.0]])
    >>> found["explained"].values.round(6).tolist()
    [1.0, 0.0]
    """
    where = "components"
    if method not in METHODS:
        raise InputError(f"{where}: method is one of {', '.join(METHODS)}, got {method!r}. {nearest(method, METHODS)}")
    data = as_spectra(stack, where=where)
    use = as_mask(mask, data, where=where)
    energies = data.sizes["energy"]
    if n is None and method == "randomized":
        raise InputError(f"{where}: the randomized method needs the number of components. Pass n=... or method='svd'.")
    remedy = f"There are {energies} energies."
    count = min(10, energies) if n is None else whole_number(n, 1, energies, where=where, name="n", remedy=remedy)
    zero = np.zeros(energies)
    if method == "covariance":
        moments = Moments.of(data, use, where=where)
        mean = moments.mean if center else zero
        covariance = moments.second - np.outer(mean, mean)
        values, vectors = eigenpairs(covariance)
        pixels, total = moments.pixels, float(np.trace(covariance))
    else:
        pixels, mean, square = _mean(data, use, where=where)
        total = square - float(mean @ mean) if center else square
        mean = mean if center else zero
        if method == "svd":
            values, vectors = _thin(data, use, mean, where=where)
        else:
            values, vectors = _randomized(data, use, mean, count, seed=seed)
    count = min(count, values.size)
    values, vectors = values[:count], oriented(vectors[:, :count].T)
    settings = {"n": n, "method": method, "center": center, "seed": seed, "masked": mask is not None}
    attrs = {"pixels": pixels, "provenance": provenance.record("components", settings)}
    return _dataset(data, use, vectors, mean, values, total, attrs=attrs)


class Moments:
    """First and second moments of the spectra of all pixels that have every energy: what one pass leaves."""

    def __init__(self, pixels: int, mean: np.ndarray, second: np.ndarray) -> None:
        self.pixels, self.mean, self.second = pixels, mean, second

    @classmethod
    def of(cls, data: xr.DataArray, use: np.ndarray, *, where: str) -> Moments:
        """Add up the products of energies, one block of pixels at a time."""
        energies = data.sizes["energy"]
        first, second, pixels = np.zeros(energies), np.zeros((energies, energies)), 0
        empty: np.ndarray | None = None
        for _, values in pixel_blocks(data, use):
            values, missing = whole_pixels(values)
            empty = missing if empty is None else empty & missing
            first += values.sum(axis=0)
            second += values.T @ values
            pixels += len(values)
        if not pixels:
            raise InputError(no_whole_pixel(data, empty, where=where))
        return cls(pixels, first / pixels, second / pixels)


def _mean(data: xr.DataArray, use: np.ndarray, *, where: str) -> tuple[int, np.ndarray, float]:
    total, square, pixels = np.zeros(data.sizes["energy"]), 0.0, 0
    empty: np.ndarray | None = None
    for _, values in pixel_blocks(data, use):
        values, missing = whole_pixels(values)
        empty = missing if empty is None else empty & missing
        total += values.sum(axis=0)
        square += float(np.einsum("ij,ij->", values, values))
        pixels += len(values)
    if not pixels:
        raise InputError(no_whole_pixel(data, empty, where=where))
    return pixels, total / pixels, square / pixels


def eigenpairs(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues (not below zero) in falling order, and their vectors as columns."""
    values, vectors = np.linalg.eigh(matrix)
    return np.maximum(values[::-1], 0.0), vectors[:, ::-1]


def oriented(vectors: np.ndarray) -> np.ndarray:
    """Turn each row so that the largest of its values is positive: the sign of a component is free."""
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=1)[:, None], axis=1)
    return vectors * np.where(largest < 0, -1.0, 1.0)


def _thin(data: xr.DataArray, use: np.ndarray, mean: np.ndarray, *, where: str) -> tuple[np.ndarray, np.ndarray]:
    _, rows = sample_pixels(data, use, most=int(use.sum()), seed=0, where=where)
    _, singular, right = np.linalg.svd(rows - mean, full_matrices=False)
    return singular**2 / len(rows), right.T


def _randomized(
    data: xr.DataArray, use: np.ndarray, mean: np.ndarray, n: int, *, seed: int, extra: int = 10, powers: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    # The sketch is of the energies, not of the pixels, so that nothing as tall as the image is ever held.
    width = min(n + extra, data.sizes["energy"])
    basis = np.linalg.qr(np.random.default_rng(seed).normal(size=(data.sizes["energy"], width)))[0]
    for _ in range(powers):
        product, _ = _times(data, use, mean, basis)
        basis = np.linalg.qr(product)[0]
    product, pixels = _times(data, use, mean, basis)
    small, turn = eigenpairs(basis.T @ product / pixels)
    return small, basis @ turn


def _times(data: xr.DataArray, use: np.ndarray, mean: np.ndarray, basis: np.ndarray) -> tuple[np.ndarray, int]:
    total, pixels = np.zeros(basis.shape), 0
    for _, values in pixel_blocks(data, use):
        values = whole_pixels(values)[0] - mean
        total += values.T @ (values @ basis)
        pixels += len(values)
    return total, pixels


def scores_of(values: np.ndarray, spectra: np.ndarray) -> np.ndarray:
    """Least-squares scores of pixels (pixels, energy) on orthonormal spectra (component, energy), NaN-aware."""
    count, energies = spectra.shape
    if all_finite(values):
        return values @ spectra.T
    finite = np.isfinite(values)
    out = np.where(finite, values, 0.0) @ spectra.T
    partial = np.flatnonzero(~finite.all(axis=1))
    if partial.size:
        products = (spectra[:, None] * spectra[None]).reshape(count * count, energies)
        gram = (finite[partial].astype(float) @ products.T).reshape(-1, count, count)
        enough = finite[partial].sum(axis=1) >= max(count + 1, -(-energies // 2))
        enough &= np.linalg.eigvalsh(gram)[:, 0] > 1e-6
        known = partial[enough]
        out[known] = np.linalg.solve(gram[enough], out[known][..., None])[..., 0]
        out[partial[~enough]] = np.nan
    return out


def _dataset(
    data: xr.DataArray,
    use: np.ndarray,
    spectra: np.ndarray,
    mean: np.ndarray,
    values: np.ndarray,
    total: float,
    *,
    attrs: dict[str, Any],
) -> xr.Dataset:
    space, shape = data.dims[1:], data.shape[1:]
    score = np.full((len(spectra), use.size), np.nan)
    for position, rows in pixel_blocks(data, use):
        score[:, position] = scores_of(rows - mean, spectra).T
    unit = str(data.attrs.get("units", "1"))
    names = [f"component {k + 1}" for k in range(len(spectra))]
    coords = {"component": names, **{dim: data[dim] for dim in data.dims if dim in data.coords}}
    made = {
        "score": (
            ("component", *space),
            score.reshape(len(spectra), *shape),
            {"units": unit, "long_name": "Score"},
        ),
        "spectrum": (("component", "energy"), spectra, {"units": "1", "long_name": "Principal spectrum"}),
        "mean": (("energy",), mean, {"units": unit, "long_name": "Mean spectrum"}),
        "variance": (("component",), values, {"units": "1", "long_name": "Mean square of the scores"}),
        "explained": (
            ("component",),
            values / total if total > 0 else np.full(values.size, np.nan),
            {"units": "1", "long_name": "Share of the mean square"},
        ),
    }
    return xr.Dataset(made, coords=coords, attrs=attrs)
