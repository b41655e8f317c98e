"""What a fit with these references can tell apart, before any image is fitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from operando.core.errors import InputError
from operando.core.provenance import record
from operando.spectral.match import References, common_energies, match_energies
from operando.spectral.stacks import same_energies
from operando.spectral.unmix_problem import background_terms, term_values

INFLATION = 10.0
"""Variance inflation from which on a reference is reported: its error is 3.2 times that of the reference alone."""
ANGLE_DEG = 10.0
"""Angle below which two references are reported: 1 / sin(10 deg) = 5.8 times the error of either alone."""


def collinearity(
    references: References, *, sigma: Any = 0.02, background: str | Sequence[str] | None = None, energy: Any = None
) -> xr.Dataset:
    """Report which references a fit cannot tell apart, and what error of each weight to expect.

    Parameters
    ----------
    references : DataArray, dims (component, energy), or mapping of names to spectra (energy,)
        As for :func:`unmix`.
    sigma : float or DataArray (energy,)
        Error of the optical density at each energy of one pixel, units "1". Average n pixels, and it shrinks by the
        square root of n.
    background : None, str or sequence of str
        As for :func:`unmix`. What the background can imitate does not tell phases apart.
    energy : array-like or DataArray, optional
        Energies in eV to fit at. Default: those of the references, which must then be the same for all.

    Returns
    -------
    Dataset, dims (component, component_other)
        ``angle`` (component, component_other), degrees between two references, background removed;
        ``trade`` (component, component_other), weight of the other that replaces a weight of 1;
        ``correlation`` (component, component_other) of the errors of two weights in a fit without bounds;
        ``variance_inflation`` (component), variance of a weight beside that of a fit with this reference alone;
        ``weight_sigma`` (component), its error in the unit of a weight; ``contrast_energy``
        (component, component_other), eV, where the two differ most; ``condition_number``. Plain sentences are in
        ``attrs["report"]`` (all) and ``attrs["warnings"]`` (what to act on).

    Raises
    ------
    InputError
        Where a reference is zero once the background is removed, sigma is not positive, or there are fewer energies
        than terms.

    Notes
    -----
    With the references a weighted by 1/sigma and made orthogonal to the background, and their Gram matrix G:

    .. math::
        \\cos \\theta_{ij} = \\frac{|G_{ij}|}{\\sqrt{G_{ii} G_{jj}}}, \\quad t_{ij} = \\frac{G_{ij}}{G_{jj}}, \\quad
        \\sigma_i = \\sqrt{(G^{-1})_{ii}}, \\quad \\mathrm{VIF}_i = G_{ii} (G^{-1})_{ii}

    The condition number is that of the references scaled to length 1. Reported are pairs closer than 10 degrees and
    references with an inflation above 10, which may also be a mixture of *several* others.

    The errors are those of noise alone, without the bound at zero: the bound helps where phases are absent, errors of
    the references and of the energy axis do harm.

    Examples
    --------
    Two spectra at 45 degrees: each is known sqrt(2) times worse than alone.

    >>> spectra = xr.DataArray([[1.0, 0.0], [1.0, 1.0]], dims=("component", "energy"),
    ...     coords={"component": ["a", "b"], "energy": [517.0, 518.0]})
    >>> found = collinearity(spectra, sigma=0.1)
    >>> found.angle.values.round(1).tolist(), found.variance_inflation.values.round(2).tolist()
    ([[0.0, 45.0], [45.0, 0.0]], [2.0, 2.0])
    >>> found.weight_sigma.values.round(3).tolist(), found.attrs["warnings"]
    ([0.141, 0.1], [])
    """
    where = "collinearity"
    spectra = match_energies(references, _energies(references, where) if energy is None else energy)
    names = [str(name) for name in spectra["component"].values]
    energies = np.asarray(spectra["energy"].values, dtype=float)
    noise = _noise(sigma, energies, where)
    terms = background_terms(background, where=where)
    flat = np.column_stack([np.empty((energies.size, 0)), *(term_values(term, energies) for term in terms)])
    if len(names) + flat.shape[1] > energies.size:
        raise InputError(
            f"{where}: at least as many energies as references and background terms are needed, got {energies.size} "
            f"for {len(names)} + {flat.shape[1]}. Add energies, or drop references."
        )
    rows = np.asarray(spectra.values, dtype=float) / noise
    left = _without(rows, flat / noise[:, None])
    length = np.sqrt(np.sum(left**2, axis=1))
    lost = length <= 1e-9 * np.sqrt(np.sum(rows**2, axis=1))
    if bool(lost.any()):
        which = [name for name, gone in zip(names, lost, strict=True) if gone]
        raise InputError(
            f"{where}: a reference must differ from the background {background!r}, got {which}, of which nothing is "
            "left. Use a smaller background or drop the reference."
        )
    unit = left / length[:, None]
    cosine = np.clip(unit @ unit.T, -1.0, 1.0)
    angle = _angles(unit)
    singular = np.linalg.svd(unit, compute_uv=False)
    condition = float(singular[0] / singular[-1]) if singular[-1] > 1e-14 * singular[0] else np.inf
    inverse = np.linalg.pinv(cosine, rcond=1e-14, hermitian=True) if np.isinf(condition) else np.linalg.inv(cosine)
    inflation = np.where(np.isinf(condition) & _involved(unit), np.inf, np.maximum(np.diag(inverse), 1.0))
    root = np.sqrt(np.diag(inverse))
    trade = cosine * length[:, None] / length[None, :]
    contrast = energies[np.argmax(np.abs(left[:, None] - trade[:, :, None] * left[None]), axis=2)]
    weight_sigma = np.sqrt(inflation) / length
    unit_text = _weight_unit(str(spectra.attrs.get("units", "1")))
    pair = ("component", "component_other")
    found = xr.Dataset(
        {
            "angle": (pair, angle, {"units": "degree", "long_name": "Angle between references"}),
            "trade": (pair, trade, {"units": "1", "long_name": "Weight of the other that replaces a weight of 1"}),
            "correlation": (pair, inverse / (root[:, None] * root), {"units": "1", "long_name": "Error correlation"}),
            "contrast_energy": (pair, contrast, {"units": "eV", "long_name": "Energy of largest difference"}),
            "variance_inflation": ("component", inflation, {"units": "1", "long_name": "Variance inflation"}),
            "weight_sigma": (
                "component",
                weight_sigma,
                {"units": unit_text, "long_name": "Expected error of a weight"},
            ),
            "condition_number": ((), condition, {"units": "1", "long_name": "Condition number"}),
        },
        coords={"component": names, "component_other": names},
        attrs={"provenance": record("operando.spectral.collinearity", {"background": background})},
    )
    found.attrs["report"], found.attrs["warnings"] = _sentences(found, unit, length, noise)
    return found


def _energies(references: Any, where: str) -> Any:
    """Energies of the references, or one number for each of their values where they have none."""
    found = common_energies(references, where=where, remedy="Say at which to fit: energy=stack.energy, for example.")
    if found is not None:
        return found
    if isinstance(references, xr.DataArray):
        return np.arange(references.sizes.get("energy", 0), dtype=float)
    rows = next(iter(references.values()), ()) if isinstance(references, Mapping) else references
    return np.arange(np.shape(rows)[-1] if np.ndim(rows) else 0, dtype=float)


def _noise(sigma: Any, energies: np.ndarray, where: str) -> np.ndarray:
    if isinstance(sigma, xr.DataArray) and sigma.dims == ("energy",):
        remedy = "Give sigma at the energies of the fit."
        sigma = same_energies(sigma, energies, where=where, name="sigma", remedy=remedy)
    values = np.asarray(sigma.values if isinstance(sigma, xr.DataArray) else sigma, dtype=float)
    if values.shape not in ((), (1,), energies.shape) or not np.all(np.isfinite(values) & (values > 0)):
        raise InputError(
            f"{where}: sigma must be a positive error of the optical density, one or one per energy ({energies.size}), "
            f"got shape {values.shape} with a minimum of {np.min(values, initial=np.inf):g}. Use 0.02, for example."
        )
    return np.broadcast_to(values, energies.shape)


def _without(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Rows less their projection on the columns."""
    if not columns.shape[1]:
        return rows
    basis, _ = np.linalg.qr(columns)
    return np.asarray(rows - (rows @ basis) @ basis.T)


def _angles(unit: np.ndarray) -> np.ndarray:
    """Angle between lines in degrees, exact for small ones too (arccos of a cosine near 1 is not)."""
    cosine = unit @ unit.T
    signed = np.where(cosine < 0, -1.0, 1.0)
    apart = np.linalg.norm(unit[:, None] - signed[:, :, None] * unit[None], axis=2)
    return np.degrees(2.0 * np.arcsin(np.clip(apart / 2.0, 0.0, 1.0)))


def _involved(unit: np.ndarray) -> np.ndarray:
    """Which references take part in an exact dependence."""
    _, values, right = np.linalg.svd(unit.T)
    null = right[values.size :] if values.size < len(unit) else right[values <= 1e-14 * values[0]]
    return np.asarray(np.any(np.abs(null) > 1e-6, axis=0))


def _weight_unit(unit: str) -> str:
    return {"um-1": "um", "nm-1": "nm", "cm-1": "cm"}.get(unit, "1")


def _sentences(
    found: xr.Dataset, unit: np.ndarray, length: np.ndarray, noise: np.ndarray
) -> tuple[list[str], list[str]]:
    names = [str(name) for name in found["component"].values]
    sigma, inflation = found["weight_sigma"].values, found["variance_inflation"].values
    measure = "" if found["weight_sigma"].attrs["units"] == "1" else f" {found['weight_sigma'].attrs['units']}"
    at_noise = f"at an OD noise of {np.median(noise):.3g}"
    report = [f"The references have a condition number of {float(found['condition_number']):.3g}."]
    report += [
        f"{name}: expect an error of {s:.3g}{measure} {at_noise}, {np.sqrt(v):.3g} times that of {name} alone."
        for name, s, v in zip(names, sigma, inflation, strict=True)
    ]
    warnings: list[str] = []
    paired: set[int] = set()
    angle = found["angle"].values
    order = sorted((angle[i, j], i, j) for i in range(len(names)) for j in range(i + 1, len(names)))
    for degrees, i, j in order:
        # The nearest partner of either is enough: of three that are alike, two pairs say it.
        if degrees >= ANGLE_DEG or {i, j} <= paired:
            continue
        paired |= {i, j}
        warnings.append(
            f"{names[i]} and {names[j]} differ by {degrees:.2g} degrees only; their weights trade "
            f"1:{found['trade'].values[i, j]:.3g}. Expect errors of {sigma[i]:.3g} and {sigma[j]:.3g}{measure} "
            f"{at_noise}. Merge or drop one, or measure longer where they differ most, near "
            f"{found['contrast_energy'].values[i, j]:.5g} eV."
        )
    for i, name in enumerate(names):
        if inflation[i] < INFLATION or i in paired:
            continue
        others = [k for k in range(len(names)) if k != i]
        mixture, *_ = np.linalg.lstsq(unit[others].T, unit[i], rcond=None)
        parts = sorted(((m * length[i] / length[k], names[k]) for m, k in zip(mixture, others, strict=True)), key=_size)
        text = " ".join(f"{'-' if part < 0 else '+'} {abs(part):.2g} {other}" for part, other in parts[:3])
        warnings.append(
            f"{name} is nearly a mixture of the others, mostly {text.removeprefix('+ ')}: "
            f"{100 / np.sqrt(inflation[i]):.2g} % of its length is its own. Expect an error of "
            f"{sigma[i]:.3g}{measure} {at_noise}. Drop one of them, or average pixels."
        )
    return report + warnings, warnings


def _size(part: tuple[float, str]) -> float:
    return -abs(part[0])
