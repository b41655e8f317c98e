"""From a spectrum back to references: which of them make it up, or that none does."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando.core.errors import InputError
from operando.spectral.match import References, match_energies
from operando.spectral.stacks import same_energies, whole_number
from operando.spectral.unmix_problem import background_terms, term_values

MOST_COMBINATIONS = 500_000


def match_spectra(
    spectra: Any,
    references: References,
    *,
    sigma: Any = None,
    max_components: int = 3,
    background: str | Sequence[str] | None = None,
    systematic: float = 0.01,
    alternatives: int = 1,
) -> pd.DataFrame:
    """Which references explain each spectrum: of a cluster, a component, a region.

    Parameters
    ----------
    spectra : DataArray, dims (component, energy) or (energy,), mapping, or Dataset with ``spectrum``
        Measured spectra. A Dataset of :func:`cluster` brings its ``spectrum_sigma``.
    references : DataArray, dims (component, energy), or mapping of names to spectra
        Must reach over the energies of ``spectra``.
    sigma : DataArray like ``spectra``, or float, optional
        Random error of the spectra.
    max_components : int
        Most references in a combination.
    background : optional
        Background terms as in :func:`unmix`, free in sign.
    systematic : float
        Error of spectra and references that does not average out (I0, thickness, energy scale), as a share of the root
        mean square of the spectrum. Added to ``sigma`` in squares.
    alternatives : int
        Further combinations per spectrum, for comparison.

    Returns
    -------
    DataFrame
        One row per spectrum and ``rank`` (1 = chosen): ``spectrum``, ``rank``, ``combination`` (tuple of names),
        ``weights`` (tuple), ``shares`` (tuple, of the sum), ``r_factor`` (sum of squared residuals over sum of
        squares), ``chi2_reduced``, ``explained``, ``residual_peak_ev`` and ``residual_peak`` (where the residual is
        largest, and how large, as a share of the spectrum's maximum), ``verdict``.

    Raises
    ------
    InputError
        Where energies lie outside a reference, or there are too many combinations.

    Notes
    -----
    Every combination of up to ``max_components`` references is fitted by least squares; those with a negative weight
    are left to the combinations without that reference, so that the best of them is the best non-negative fit.
    A combination explains a spectrum when its reduced chi-square stays below the 99 % quantile of chance. Chosen is the
    best of the smallest combinations that explain it; or, where none does, the one with the smallest residual.

    "Explained" means that the measured energies show no difference, given ``systematic``; with a large value everything
    is explained. References whose spectra nearly are sums of others are exchangeable: look at the alternatives. The
    spectrum of a mixed cluster is explained by a mixture.

    Examples
    --------
    >>> energy = np.array([706.0, 708.0, 710.0, 712.0])
    >>> shapes = [[0.0, 3.0, 1.0, 1.0], [0.0, 1.0, 3.0, 1.0]]
    >>> coords = {"component": ["Fe2", "Fe3"], "energy": energy}
    >>> references = xr.DataArray(shapes, dims=("component", "energy"), coords=coords)
    >>> mixed = xr.DataArray([0.0, 1.76, 1.44, 0.8], dims="energy", coords={"energy": energy}, name="mixed")
    >>> match_spectra(mixed, references)["verdict"][0]
    'explained within 1 % by Fe2 0.60 + Fe3 0.40'
    >>> other = xr.DataArray([0.0, 1.0, 1.0, 3.0], dims="energy", coords={"energy": energy}, name="other")
    >>> match_spectra(other, references)["verdict"][0]
    'no reference explains it (R-factor 0.51, residual peaks at 712 eV; nearest: Fe2 0.50 + Fe3 0.50)'
    """
    from scipy.stats import chi2

    where = "match_spectra"
    measured, errors = _measured(spectra, sigma, where=where)
    energy = np.asarray(measured["energy"].values, dtype=float)
    known = match_energies(references, measured)
    names = [str(name) for name in known["component"].values]
    columns = np.asarray(known.values, dtype=float)
    terms = [term_values(term, energy) for term in background_terms(background, where=where)]
    largest = whole_number(max_components, 1, where=where, name="max_components", remedy="3 is usual.")
    most = min(largest, len(names), max(1, energy.size - len(terms) - 1))
    total = sum(comb(len(names), size) for size in range(1, most + 1))
    if total > MOST_COMBINATIONS:
        raise InputError(
            f"{where}: {total} combinations of {len(names)} references are too many (at most {MOST_COMBINATIONS}). "
            "Lower max_components, or leave references out that cannot be there."
        )
    rows: list[dict[str, Any]] = []
    for name, values, error in zip(
        measured["component"].values, np.asarray(measured.values, dtype=float), errors, strict=True
    ):
        good = np.isfinite(values) & np.isfinite(error)
        if good.sum() <= len(terms) + 1:
            raise InputError(f"{where}: the spectrum {name!r} has {int(good.sum())} finite energies. Leave it out.")
        size = float(np.sqrt((values[good] ** 2).mean()))
        if size == 0:
            raise InputError(f"{where}: the spectrum {name!r} is zero at every energy. Leave it out.")
        scale = np.sqrt(error[good] ** 2 + (systematic * size) ** 2)
        if not (scale > 0).all():
            raise InputError(f"{where}: sigma or systematic must be above zero, got both zero for {name!r}.")
        fits = _fits(columns[:, good], [term[good] for term in terms], values[good], scale, most)
        for fit in fits:
            freedom = max(1, int(good.sum()) - len(fit["members"]) - len(terms))
            fit["chi2_reduced"] = fit["chi2"] / freedom
            fit["explained"] = bool(fit["chi2"] <= chi2.ppf(0.99, freedom))
        chosen = _chosen(fits)
        others = sorted((fit for fit in fits if fit is not chosen), key=lambda fit: (len(fit["members"]), fit["chi2"]))
        others.sort(key=lambda fit: fit["chi2_reduced"])
        for rank, fit in enumerate([chosen, *others[:alternatives]], start=1):
            rows.append(
                _row(str(name), rank, fit, names, energy[good], values[good], bool((error > 0).any()), systematic)
            )
    return pd.DataFrame(rows)


def _measured(spectra: Any, sigma: Any, *, where: str) -> tuple[xr.DataArray, np.ndarray]:
    if isinstance(spectra, xr.Dataset):
        if "spectrum" not in spectra:
            raise InputError(f"{where}: a Dataset of spectra has the variable 'spectrum', got {list(spectra)}.")
        if sigma is None and "spectrum_sigma" in spectra:
            sigma = spectra["spectrum_sigma"]
        spectra = spectra["spectrum"]
    first = next(iter(spectra.values())) if isinstance(spectra, dict) else spectra
    if not isinstance(first, xr.DataArray) or "energy" not in first.coords:
        raise InputError(f"{where}: spectra need a coordinate 'energy' in eV. Set spectra.assign_coords(energy=...).")
    if isinstance(spectra, xr.DataArray) and spectra.dims == ("energy",):
        measured = spectra.expand_dims(component=[str(spectra.name or "spectrum")])
    elif isinstance(spectra, xr.DataArray):
        measured = spectra.transpose("component", "energy")
        if "component" not in measured.coords:
            measured = measured.assign_coords(component=[f"component {k}" for k in range(measured.sizes["component"])])
    else:
        measured = match_energies(spectra, first)
    if isinstance(sigma, xr.DataArray) and "energy" in sigma.dims:
        at = np.asarray(match_energies(measured, measured)["energy"].values, dtype=float)
        sigma = same_energies(sigma, at, where=where, name="sigma", remedy="Give it at those of the spectra.")
        sigma = sigma.transpose(..., "energy").values
    values = np.asarray(0.0 if sigma is None else sigma, dtype=float)
    try:
        errors = np.broadcast_to(values, measured.shape)
    except ValueError:
        raise InputError(
            f"{where}: sigma is one error, or one per value of the spectra {measured.shape}, got {values.shape}."
        ) from None
    return measured, errors


def _fits(
    columns: np.ndarray, terms: list[np.ndarray], values: np.ndarray, scale: np.ndarray, most: int
) -> list[dict[str, Any]]:
    """Least-squares fits with weights that are not negative, one per combination, the best 50 of each size."""
    design = np.vstack([*terms, columns]) / scale
    data = values / scale
    gram, rhs, square = design @ design.T, design @ data, float(data @ data)
    fixed = len(terms)
    found: list[dict[str, Any]] = []
    for size in range(1, most + 1):
        members = np.array(list(combinations(range(len(columns)), size)))
        index = np.hstack([np.broadcast_to(np.arange(fixed), (len(members), fixed)), fixed + members])
        own, target = gram[index[:, :, None], index[:, None, :]], rhs[index]
        regular = np.linalg.cond(own) < 1e13
        own, target, members = own[regular], target[regular], members[regular]
        weights = np.linalg.solve(own, target[..., None])[..., 0]
        left = square - (weights * target).sum(axis=1)
        good = np.flatnonzero((weights[:, fixed:] > 0).all(axis=1))
        for at in good[np.argsort(left[good])[:50]]:
            residual = values - weights[at] @ np.vstack([*terms, columns[members[at]]])
            found.append(
                {
                    "members": tuple(int(member) for member in members[at]),
                    "weights": tuple(float(weight) for weight in weights[at, fixed:]),
                    "residual": residual,
                    "chi2": float(((residual / scale) ** 2).sum()),
                }
            )
    if not found:
        found.append({"members": (), "weights": (), "residual": values, "chi2": square})
    return found


def _chosen(fits: list[dict[str, Any]]) -> dict[str, Any]:
    explaining = [fit for fit in fits if fit["explained"]]
    if explaining:
        return min(explaining, key=lambda fit: (len(fit["members"]), fit["chi2"]))
    return min(fits, key=lambda fit: fit["chi2"])


def _row(
    name: str,
    rank: int,
    fit: dict[str, Any],
    names: list[str],
    energy: np.ndarray,
    values: np.ndarray,
    noisy: bool,
    systematic: float,
) -> dict[str, Any]:
    residual, weights = fit["residual"], np.array(fit["weights"])
    r_factor = float((residual**2).sum() / (values**2).sum())
    peak = int(np.abs(residual).argmax())
    shares = weights / weights.sum() if weights.size else weights
    mixture = " + ".join(
        f"{names[member]} {share:.2f}" if len(shares) > 1 else names[member]
        for share, member in zip(shares, fit["members"], strict=True)
    )
    within = "noise" if noisy else f"{100 * systematic:g} %"
    verdict = (
        f"explained within {within} by {mixture}"
        if fit["explained"]
        else f"no reference explains it (R-factor {r_factor:.2g}, residual peaks at {energy[peak]:.6g} eV; "
        f"nearest: {mixture or 'none'})"
    )
    return {
        "spectrum": name,
        "rank": rank,
        "combination": tuple(names[member] for member in fit["members"]),
        "weights": fit["weights"],
        "shares": tuple(float(share) for share in shares),
        "r_factor": r_factor,
        "chi2_reduced": fit["chi2_reduced"],
        "explained": fit["explained"],
        "residual_peak_ev": float(energy[peak]),
        "residual_peak": float(residual[peak] / np.abs(values).max()),
        "verdict": verdict,
    }
