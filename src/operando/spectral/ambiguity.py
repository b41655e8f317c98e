"""Where another set of phases fits as well as the one that was found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from operando.core.errors import InputError
from operando.core.provenance import record
from operando.spectral.intervals import checked_level
from operando.spectral.match import References, match_energies, with_energies
from operando.spectral.nnls import nonnegative_least_squares
from operando.spectral.stacks import as_stack
from operando.spectral.unmix_noise import PoissonNoise, checked_sigma
from operando.spectral.unmix_problem import background_terms, term_values

Floats = NDArray[np.float64]
_BLOCK_PIXELS = 1 << 11
ROUNDING = 1e-6
"""No optical density is known better: about ten times what a 32-bit float leaves of it, or 10^12 photons."""


def ambiguity(
    optical_density: Any,
    references: References,
    unmixed: xr.Dataset,
    *,
    sigma: Any = None,
    level: float = 0.95,
    background: str | Sequence[str] | None = None,
    sum_to_one: bool = False,
) -> xr.Dataset:
    """Refit every pixel without each of its phases and report how far the answer may move.

    Parameters
    ----------
    optical_density, references, sigma, background, sum_to_one : as for :func:`unmix`
        What the weights were fitted with.
    unmixed : Dataset
        Result of :func:`unmix`, with ``weight`` (component, [z], [y], [x]).
    level : float
        Another set is admitted where it fits worse by less than this quantile of chi-square with one degree of freedom
        (of F, where sigma is not known).

    Returns
    -------
    Dataset, space dims as the image
        ``ambiguity``: largest share of the thickness that an admitted other set assigns to other phases, 0 (no other
        set fits) to 1 (nothing in common); NaN where no phase is needed at all, or data is missing.
        ``evidence`` (component, ...): rise of chi-square where the phase is left out and all others may take its
        place; 0 for a phase that was not found. ``alternative`` (component, ...): weights of the admitted set that
        differs most; NaN where there is none.

    Raises
    ------
    InputError
        Where the weights do not belong to the references or image.

    Notes
    -----
    For every phase j with a weight, the best fit without it is found, exactly, among all sets of the other phases. With
    the shares :math:`f = w / \\sum w` of the fit and f' of the other,

    .. math::
        \\mathrm{evidence}_j = \\chi^2_{-j} - \\chi^2, \\qquad
        \\mathrm{ambiguity} = \\max_{j:\\ \\mathrm{evidence}_j < q} \\tfrac12 \\sum_k |f_k - f'_k|

    with q = 3.84 at the level 0.95. Where the fit is worse than the noise allows, chi-square is first divided by its
    reduced value: a wrong model must not look decisive. Without sigma the noise is that of the residual of the pixel.

    A set is one way to be different; *within* a set the weights move too, by their sigma. A low ambiguity does not make
    up for a missing reference.

    Memory: the result, and 2048 pixels with all energies; lazy where the stack is lazy, a chunk of pixels at a time.

    Examples
    --------
    The middle reference is the mean of the outer two, so that one of it and half of either of them fit alike:

    >>> spectra = xr.DataArray([[2.0, 1.0, 0.0], [0.0, 1.0, 2.0], [1.0, 1.0, 1.0]], dims=("component", "energy"),
    ...     coords={"component": ["a", "b", "middle"], "energy": [517.0, 518.0, 519.0]})
    >>> data = spectra.sel(component=["middle", "a"]).drop_vars("component").rename(component="x") * [[1.0], [2.0]]
    >>> fit = xr.Dataset({"weight": (("component", "x"), [[0.0, 2.0], [0.0, 0.0], [1.0, 0.0]])})
    >>> found = ambiguity(data, spectra, fit.assign_coords(component=spectra.component), sigma=0.1)
    >>> found.ambiguity.values.tolist(), found.alternative[:, 0].values.round(6).tolist()
    ([1.0, 0.0], [0.5, 0.5, 0.0])
    """
    from scipy.stats import chi2, f
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    where = "ambiguity"
    level = checked_level(level, where)
    stack = as_stack(optical_density, where=where, name="optical_density")
    stack = with_energies(stack, references, where=where)
    spectra = match_energies(references, stack)
    weight = weights_by_reference(unmixed, spectra, stack, where)
    energies = np.asarray(spectra["energy"].values, dtype=float)
    terms = background_terms(background, where=where)
    design = np.column_stack([*(term_values(term, energies) for term in terms), spectra.values.T])
    noise, known = noise_of(sigma, stack, where)
    poisson: tuple[Any, ...] | None = None
    parts = weight
    if isinstance(sigma, PoissonNoise):
        poisson = (*sigma.at(stack), sigma.dark, sigma.photons_per_count)
        # Photons are counted behind background and phases alike.
        parts = coefficients(unmixed, weight, terms, where)

    def block(data: Floats, error: Floats, found: Floats) -> tuple[Floats, Floats, Floats]:
        shape, n = data.shape[:-1], len(spectra)
        values, parts = data.reshape(-1, data.shape[-1]), found.reshape(-1, found.shape[-1])
        errors = error if error.ndim == 1 else error.reshape(values.shape)
        share, rise, other = np.empty(len(values)), np.empty((len(values), n)), np.empty((len(values), n))
        # Products of few columns are too small for the threads of BLAS, which would wait for each other.
        with threadpool_limits(1, user_api="blas"):
            for first in range(0, len(values), _BLOCK_PIXELS):
                at = slice(first, first + _BLOCK_PIXELS)
                some = np.asarray(values[at], dtype=float)
                share[at], rise[at], other[at] = _other_sets(
                    some,
                    np.broadcast_to(np.asarray(errors if errors.ndim == 1 else errors[at], dtype=float), some.shape),
                    np.asarray(parts[at], dtype=float),
                    design,
                    free=len(terms),
                    sum_to_one=sum_to_one,
                    known=known,
                    poisson=poisson,
                    quantile=lambda freedom: chi2.ppf(level, 1) if known else f.ppf(level, 1, np.maximum(freedom, 1)),
                    needed=float(chi2.ppf(level, n)),
                )
        return share.reshape(shape), rise.reshape(*shape, n), other.reshape(*shape, n)

    def whole(array: xr.DataArray, dim: str) -> xr.DataArray:
        return array if array.chunks is None else array.chunk({dim: -1})

    share, rise, other = xr.apply_ufunc(
        block,
        whole(stack, "energy"),
        whole(noise, "energy"),
        whole(parts, "component").rename(component="part"),
        input_core_dims=[["energy"], ["energy"], ["part"]],
        output_core_dims=[[], ["component"], ["component"]],
        dask="parallelized",
        output_dtypes=[float, float, float],
        dask_gufunc_kwargs={"output_sizes": {"component": len(spectra)}},
        join="override",
    )
    space = [dim for dim in stack.dims if dim != "energy"]
    made = xr.Dataset(
        {
            "ambiguity": share.transpose(*space),
            "evidence": rise.transpose("component", *space),
            "alternative": other.transpose("component", *space),
        },
        attrs={"provenance": record("operando.spectral.ambiguity", {"level": level, "background": background})},
    )
    made = made.assign_coords(component=weight["component"]).drop_vars("energy", errors="ignore")
    made["ambiguity"].attrs = {"units": "1", "long_name": "Share that another set of phases assigns elsewhere"}
    made["evidence"].attrs = {"units": "1", "long_name": "Rise of chi-square without the phase"}
    made["alternative"].attrs = {
        "units": str(weight.attrs.get("units", "1")),
        "long_name": "Weight in the most different set that fits as well",
    }
    return made


def coefficients(unmixed: xr.Dataset, weight: xr.DataArray, terms: Sequence[str], where: str) -> xr.DataArray:
    """Background terms of a fit and, after them, its ``weight``, along ``component``.

    Raises
    ------
    InputError
        Where ``unmixed`` does not hold a term.
    """
    absent = [term for term in terms if term not in unmixed]
    if absent:
        raise InputError(
            f"{where}: unmixed must hold the background terms {list(terms)}, {absent} are missing. "
            "Pass the background that unmix was called with."
        )
    bare = weight.drop_vars(list(weight.coords))
    maps = [unmixed[term].drop_vars(list(unmixed[term].coords)).expand_dims("component") for term in terms]
    return xr.concat([*maps, bare], dim="component").transpose(*weight.dims)


def weights_by_reference(unmixed: Any, spectra: xr.DataArray, stack: xr.DataArray, where: str) -> xr.DataArray:
    """Weights of ``unmixed`` in the order of the references, after a check that they belong to them and the image."""
    weight = unmixed["weight"] if isinstance(unmixed, xr.Dataset) and "weight" in unmixed else None
    if weight is None or "component" not in weight.dims:
        got = sorted(map(str, unmixed.data_vars)) if isinstance(unmixed, xr.Dataset) else type(unmixed).__name__
        raise InputError(f"{where}: unmixed must be the Dataset of unmix, with a 'weight', got {got}.")
    names = [str(name) for name in spectra["component"].values]
    if "component" not in weight.coords and weight.sizes["component"] == len(names):
        weight = weight.assign_coords(component=names)
    own = [str(name) for name in weight["component"].values] if "component" in weight.coords else []
    if sorted(own) != sorted(names):
        raise InputError(
            f"{where}: weights of the references {names} are needed, got those of {own}. Unmix with these."
        )
    sizes = {dim: stack.sizes[dim] for dim in stack.dims if dim != "energy"}
    if {str(dim): size for dim, size in weight.sizes.items() if dim != "component"} != sizes:
        raise InputError(
            f"{where}: weights and optical density must be images of one shape, got {dict(weight.sizes)} and {sizes}."
        )
    return weight.sel(component=names).transpose("component", *sizes)


def noise_of(sigma: Any, stack: xr.DataArray, where: str) -> tuple[xr.DataArray, bool]:
    """Sigma that broadcasts against a stack with energies, and whether it is known."""
    given = checked_sigma(sigma, stack, where=where)
    if isinstance(given, xr.DataArray):
        return given, True
    return xr.DataArray(np.ones(stack.sizes["energy"]), dims="energy"), sigma is not None


def _other_sets(
    data: Floats,
    error: Floats,
    parts: Floats,
    design: Floats,
    *,
    free: int,
    sum_to_one: bool,
    known: bool,
    poisson: tuple[Any, ...] | None,
    quantile: Any,
    needed: float,
) -> tuple[Floats, Floats, Floats]:
    """Share assigned elsewhere (pixels,), evidence and alternative (pixels, n) of data and error (pixels, energy).

    ``parts`` are the weights; for Poisson noise, the background terms before them.
    """
    n = design.shape[1] - free
    weight, pixels = parts[:, -n:], len(parts)
    gram, rhs, square, count = _normal_equations(data, error, parts, design, free, poisson)

    def misfit(w: Floats) -> Floats:
        return np.asarray(square - 2 * np.einsum("pi,pi->p", w, rhs) + np.einsum("pi,pij,pj->p", w, gram, w))

    usable = np.isfinite(weight).all(axis=1) & (count > 0)
    found = np.where(usable[:, None], np.maximum(weight, 0.0), 0.0)
    best = np.maximum(misfit(found), 0.0)
    freedom = np.maximum(count - free - np.count_nonzero(found > 0, axis=1), 1)
    reduced = best / freedom
    scale = np.maximum(reduced, 1.0 if known else ROUNDING**2)
    limit = quantile(freedom) * np.ones(pixels)
    total = found.sum(axis=1)
    shares = found / np.where(total > 0, total, 1.0)[:, None]
    most = np.zeros(pixels)
    rise = np.zeros((pixels, n))
    other = np.full((pixels, n), np.nan)
    for j in range(n):
        kept = np.delete(np.arange(n), j)
        rows = np.flatnonzero(usable & (found[:, j] > 0))
        if not rows.size:
            continue
        without = np.zeros((pixels, n))
        if kept.size:
            solved = nonnegative_least_squares(
                gram[np.ix_(rows, kept, kept)], rhs[np.ix_(rows, kept)], sum_to_one=sum_to_one
            )
            without[np.ix_(rows, kept)] = solved
        worse = np.maximum(misfit(without) - best, 0.0) / scale
        rise[rows, j] = worse[rows]
        mass = without.sum(axis=1)
        moved = 0.5 * np.abs(shares - without / np.where(mass > 0, mass, 1.0)[:, None]).sum(axis=1)
        admitted = np.zeros(pixels, dtype=bool)
        admitted[rows] = (worse < limit)[rows] & (moved > most)[rows]
        most[admitted], other[admitted] = moved[admitted], without[admitted]
    empty = (misfit(np.zeros((pixels, n))) - best) / scale < needed
    most[~usable | (total <= 0) | empty] = np.nan
    rise[~usable] = np.nan
    return most, rise, other


def _normal_equations(
    data: Floats, error: Floats, parts: Floats, design: Floats, free: int, poisson: tuple[Any, ...] | None
) -> tuple[Floats, Floats, Floats, NDArray[np.int64]]:
    """Gram (pixels, n, n), right side, sum of squares and count of values; background terms eliminated."""
    seen = np.isfinite(data) & np.isfinite(error) & (error > 0)
    values = np.where(seen, data, 0.0)
    if poisson is not None:
        net, relative, dark, per_count = poisson
        mean = net * np.exp(-np.clip(np.nan_to_num(parts) @ design.T, -2.0, 20.0))
        variance = (mean + dark) / (per_count * mean**2) + relative
    else:
        variance = np.where(seen, error, 1.0) ** 2
    precision = np.where(seen, 1.0 / variance, 0.0)
    m = design.shape[1]
    first, second = np.triu_indices(m)
    products = precision @ (design[:, first] * design[:, second])
    gram = np.empty((len(data), m, m))
    gram[:, first, second] = products
    gram[:, second, first] = products
    rhs = (precision * values) @ design
    square = np.einsum("pe,pe->p", precision, values**2)
    count = np.count_nonzero(seen, axis=1)
    if free:
        inner = gram[:, :free, :free].copy()
        inner[count == 0] = np.eye(free)
        solved = np.linalg.solve(inner, np.concatenate([gram[:, :free, free:], rhs[:, :free, None]], axis=2))
        cross = gram[:, free:, :free]
        square = square - np.einsum("pi,pi->p", rhs[:, :free], solved[:, :, -1])
        rhs = rhs[:, free:] - np.einsum("pij,pj->pi", cross, solved[:, :, -1])
        gram = gram[:, free:, free:] - np.einsum("pij,pjk->pik", cross, solved[:, :, :-1])
        gram = 0.5 * (gram + np.swapaxes(gram, 1, 2))
    return gram, rhs, square, count
