"""Non-negative factors of a stack: spectra and amounts, with nothing known beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from operando.core import provenance
from operando.core.errors import InputError
from operando.spectral.nnls import nonnegative_least_squares
from operando.spectral.pixels import all_finite, as_mask, as_spectra, pixel_blocks, sample_pixels
from operando.spectral.stacks import whole_number


def nmf(
    stack: Any,
    n: int,
    *,
    mask: Any = None,
    seed: int = 0,
    max_iter: int = 500,
    tolerance: float = 1e-5,
    max_pixels: int = 50_000,
) -> xr.Dataset:
    """Non-negative matrix factorization (also non-negative matrix approximation, NNMA) of a stack.

    Parameters
    ----------
    stack : DataArray, dims (energy, [z], y, x), units "1"
        Optical density, NaN where missing. May be lazy.
    n : int
        How many components.
    mask : bool array, dims ([z], y, x), optional
        True where a pixel counts.
    seed : int
        Of the starting point and of the pixels drawn.
    max_iter, tolerance
        scikit-learn's, of its coordinate descent.
    max_pixels : int
        Spectra are found on at most that many pixels, drawn at random; weights are then fitted to every pixel.

    Returns
    -------
    Dataset
        ``weight`` (component, [z], y, x), NaN where masked or more than half of the energies are missing; ``spectrum``
        (component, energy) with mean 1, so that weights are mean optical densities; ``r_factor`` ([z], y, x), sum of
        squared residuals over sum of squares; ``purity`` (component), see below. The component with the largest
        total weight comes first. ``attrs``: ``lack_of_fit``, ``converged``, ``clipped`` (share of negative values,
        taken as 0 to find the spectra).

    Raises
    ------
    InputError
        Where n is out of range or no pixel has every energy.

    Notes
    -----
    .. math:: \\min_{W, S \\ge 0} \\|X - W S\\|_F^2

    by scikit-learn, from its deterministic start (NNDSVDa). Weights are fitted anew with the spectra held, with
    their sign but not the data's bounded, so that noise in empty pixels is not cut off.

    **Not unique.** Any turn of the spectra that keeps everything non-negative fits as well: a spectrum found here may
    hold some of another. It is determined where each phase is alone in some pixel, and has an energy where it alone
    absorbs; the second is hardly ever so for absorption edges. ``purity`` is the first: the median share of a component
    in the ten pixels (of those with at least a quarter of the largest sum) where it is highest. Well below 1, the
    spectrum is not determined; noise raises it. Where some spectra are known, :func:`mcr_als` uses that.

    Memory: ``max_pixels`` times energies in float64, three times; the weights; a block of 64 MiB.

    References
    ----------
    D. D. Lee, H. S. Seung, Nature 401 (1999) 788; R. Mak et al., Faraday Discuss. 171 (2014) 357 (STXM).

    Examples
    --------
    Two phases, each alone in one pixel and alone at one energy: unique.

    >>> od = np.array([[2.0, 0.0, 1.0], [2.0, 4.0, 3.0], [0.0, 4.0, 2.0]])[:, None]
    >>> found = nmf(od, 2, tolerance=1e-12, max_iter=5000)
    >>> found["spectrum"].values.round(2).tolist()
    [[0.0, 1.5, 1.5], [1.5, 1.5, 0.0]]
    >>> found["weight"].values[:, 0].round(2).tolist()
    [[0.0, 2.67, 1.33], [1.33, 0.0, 0.67]]
    """
    from warnings import catch_warnings, simplefilter

    from sklearn.decomposition import NMF
    from sklearn.exceptions import ConvergenceWarning

    where = "nmf"
    data = as_spectra(stack, where=where)
    use = as_mask(mask, data, where=where)
    n = whole_number(n, 1, data.sizes["energy"], where=where, name="n", remedy="There are as many energies.")
    _, rows = sample_pixels(data, use, most=max_pixels, seed=seed, where=where)
    if len(rows) < n:
        raise InputError(f"{where}: at least {n} pixels must have every energy, got {len(rows)}. Ask for fewer.")
    if not (rows > 0).any():
        raise InputError(f"{where}: some optical density must be positive, got at most {rows.max():g}. Check I0.")
    clipped = float((rows < 0).mean())
    with catch_warnings():
        simplefilter("ignore", ConvergenceWarning)
        model = NMF(n_components=int(n), init="nndsvda", max_iter=max_iter, tol=tolerance, random_state=seed).fit(
            np.maximum(rows, 0.0)
        )
    attrs: dict[str, Any] = {
        "converged": bool(model.n_iter_ < max_iter),
        "iterations": int(model.n_iter_),
        "clipped": clipped,
    }
    settings = {"n": n, "seed": seed, "max_iter": max_iter, "tolerance": tolerance, "max_pixels": max_pixels}
    attrs["provenance"] = provenance.record(where, settings)
    spectra = unit_mean(np.asarray(model.components_, dtype=float))
    return fit_every_pixel(data, use, spectra, [f"component {k + 1}" for k in range(int(n))], attrs, sort=True)


def unit_mean(spectra: np.ndarray) -> np.ndarray:
    """Scale each spectrum to the mean 1; one that is zero stays so."""
    mean = spectra.mean(axis=1, keepdims=True)
    return spectra / np.where(mean > 0, mean, 1.0)


def fit_every_pixel(
    data: xr.DataArray,
    use: np.ndarray,
    spectra: np.ndarray,
    names: list[str],
    attrs: dict[str, Any],
    *,
    sort: bool = False,
    nonnegative: bool = True,
    sum_to_one: bool = False,
    terms: Mapping[str, np.ndarray] | None = None,
) -> xr.Dataset:
    """Weights of given spectra in every pixel, and what they leave over, as factorizations report them."""
    n, energies = spectra.shape
    terms = terms or {}
    columns, unbounded = np.vstack([*terms.values(), spectra]), len(terms)
    weight = np.full((unbounded + n, use.size), np.nan)
    left, square = np.full(use.size, np.nan), np.full(use.size, np.nan)
    for position, rows in pixel_blocks(data, use):
        enough = np.isfinite(rows).sum(axis=1) >= max(len(columns), -(-energies // 2))
        position, rows = position[enough], rows[enough]
        found = fitted_weights(rows, columns, nonnegative=nonnegative, sum_to_one=sum_to_one, unbounded=unbounded)
        weight[:, position] = found.T
        left[position] = np.nansum((rows - found @ columns) ** 2, axis=1)
        square[position] = np.nansum(rows**2, axis=1)
    offsets, weight = weight[:unbounded], weight[unbounded:]
    total = np.nansum(weight, axis=1)
    order = np.argsort(-total, kind="stable") if sort else np.arange(n)
    weight, spectra = weight[order], spectra[order]
    space, shape = data.dims[1:], data.shape[1:]
    unit = str(data.attrs.get("units", "1"))
    with np.errstate(divide="ignore", invalid="ignore"):
        r_factor = np.where(square > 0, left / square, np.nan)
        attrs = {"lack_of_fit": float(np.sqrt(np.nansum(left) / np.nansum(square))), **attrs}
    made = {
        "weight": (("component", *space), weight.reshape(n, *shape), {"units": unit, "long_name": "Weight"}),
        "spectrum": (("component", "energy"), spectra, {"units": "1", "long_name": "Spectrum"}),
        "r_factor": (space, r_factor.reshape(shape), {"units": "1", "long_name": "R-factor"}),
        "purity": (("component",), purity(weight), {"units": "1", "long_name": "Largest share of a pixel"}),
    }
    for name, values in zip(terms, offsets, strict=True):
        made[name] = (space, values.reshape(shape), {"units": unit, "long_name": f"Background, {name}"})
    coords = {"component": names, **{dim: data[dim] for dim in data.dims if dim in data.coords}}
    return xr.Dataset(made, coords=coords, attrs=attrs)


def fitted_weights(
    rows: np.ndarray,
    spectra: np.ndarray,
    *,
    nonnegative: bool = True,
    sum_to_one: bool = False,
    unbounded: int = 0,
) -> np.ndarray:
    """Least-squares weights (pixels, component) of spectra in pixels (pixels, energy), NaN left out.

    The first ``unbounded`` of them may be negative in any case and do not count for the sum.
    """
    free = np.arange(len(spectra)) < unbounded
    if all_finite(rows):
        return _solved(spectra @ spectra.T, rows @ spectra.T, free, nonnegative, sum_to_one)
    finite = np.isfinite(rows)
    rhs = np.where(finite, rows, 0.0) @ spectra.T
    n, energies = spectra.shape
    out = np.empty_like(rhs)
    whole = finite.all(axis=1)
    gram = spectra @ spectra.T
    if whole.any():
        out[whole] = _solved(gram, rhs[whole], free, nonnegative, sum_to_one)
    if not whole.all():
        products = (spectra[:, None] * spectra[None]).reshape(n * n, energies)
        own = (finite[~whole].astype(float) @ products.T).reshape(-1, n, n)
        out[~whole] = _solved(own, rhs[~whole], free, nonnegative, sum_to_one)
    return out


def _solved(gram: np.ndarray, rhs: np.ndarray, free: np.ndarray, nonnegative: bool, sum_to_one: bool) -> np.ndarray:
    if nonnegative or sum_to_one:
        return np.asarray(nonnegative_least_squares(gram, rhs, free=free, sum_to_one=sum_to_one))
    if gram.ndim == 2:
        return np.asarray(np.linalg.lstsq(gram, rhs.T, rcond=None)[0].T)
    return np.asarray((np.linalg.pinv(gram, hermitian=True) @ rhs[..., None])[..., 0])


def purity(weight: np.ndarray) -> np.ndarray:
    """Median share of each component in the ten thick pixels where its share is highest: (component, pixels) in."""
    total = np.maximum(weight, 0.0).sum(axis=0)
    thick = total > 0.25 * np.nanmax(total, initial=0.0)
    if not thick.any():
        return np.full(len(weight), np.nan)
    share = np.sort(np.maximum(weight[:, thick], 0.0) / total[thick], axis=1)
    return np.asarray(np.median(share[:, -10:], axis=1))
