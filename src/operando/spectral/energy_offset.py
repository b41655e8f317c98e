"""Whether the monochromator reads the energies that the references have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from operando.core.errors import InputError
from operando.spectral.match import References, match_energies
from operando.spectral.stacks import ENERGY_ATTRS, energies_ev, one_spectrum


def shift_energy(spectra: xr.DataArray, shift_ev: float) -> xr.DataArray:
    """Move the energies of spectra, or of a stack, by ``shift_ev``.

    Parameters
    ----------
    spectra : DataArray with the dim ``energy``
        Any further dims. Not copied.
    shift_ev : float, eV
        Added to every energy.

    Returns
    -------
    DataArray, dims as given
        The same values at the moved energies, in eV.

    Raises
    ------
    InputError
        Where the shift is not finite.

    Examples
    --------
    >>> line = xr.DataArray([0.0, 1.0], dims="energy", coords={"energy": [700.0, 710.0]})
    >>> shift_energy(line, 0.5).energy.values.tolist()
    [700.5, 710.5]
    """
    where = "shift_energy"
    if not np.isfinite(shift_ev):
        raise InputError(f"{where}: the shift must be a finite number of eV, got {shift_ev!r}. Give it as -0.3, say.")
    moved = energies_ev(spectra, where=where, name="the array") + float(shift_ev)
    return spectra.assign_coords(energy=("energy", moved, ENERGY_ATTRS))


def energy_offset(spectrum: xr.DataArray, references: References, *, search_ev: float = 2.0) -> tuple[float, float]:
    """How far the energies of a spectrum lie above those of its references.

    Parameters
    ----------
    spectrum : DataArray, dims (energy,)
        Mean optical density over the sample, say.
    references : DataArray (component, energy), or mapping of names to DataArray (energy,)
        Of what the spectrum is made.
    search_ev : float
        Largest offset looked for, to both sides, in eV.

    Returns
    -------
    offset, sigma : float, eV
        ``shift_energy(stack, -offset)`` puts the stack on the energies of the references. ``sigma`` is infinite where
        the best offset is the end of the search.

    Raises
    ------
    InputError, AxesError
        Where fewer energies than weights are left within the references.

    Notes
    -----
    Least squares over weights that are not negative, a free constant and the offset :math:`\\delta`:

    .. math:: \\min_{\\delta, w \\ge 0, c} \\sum_i \\Big(s(E_i) - \\sum_j w_j r_j(E_i - \\delta) - c\\Big)^2

    over the energies that stay within all references for every offset of the search. The error is that of residuals
    which are independent from energy to energy; a reference that is missing puts in its own shift, without a word. Of
    phases whose spectra are shifted copies of each other, such as oxidation states, no offset can be told: check with a
    line that all of them share.

    Examples
    --------
    >>> energy = np.arange(700.0, 720.0, 0.2)
    >>> line = lambda at: xr.DataArray(np.exp(-((energy - at) ** 2)), dims="energy", coords={"energy": energy})
    >>> offset, sigma = energy_offset(line(710.3), {"a": line(710.0)})
    >>> round(offset, 2), sigma < 0.01
    (0.3, True)
    """
    from scipy.optimize import minimize_scalar, nnls

    where = "energy_offset"
    if not np.isfinite(search_ev) or search_ev <= 0:
        raise InputError(f"{where}: search_ev must be positive, got {search_ev!r}. 2 eV is usual.")
    own = energies_ev(spectrum, where=where, name="the spectrum")
    values = np.asarray(one_spectrum(spectrum).values, dtype=float)
    if values.shape != own.shape:
        raise InputError(
            f"{where}: one spectrum (energy,) is needed, got dims {spectrum.dims}. Average over space first."
        )
    low, high = _common_range(references, where)
    seen = np.isfinite(values) & (own - search_ev >= low) & (own + search_ev <= high)
    own, values = own[seen], values[seen]
    count = len(references) if not isinstance(references, xr.DataArray) else references.sizes.get("component", 1)
    if own.size < count + 3:
        raise InputError(
            f"{where}: at least {count + 3} energies must stay within the references ({low:g} to {high:g} eV) when "
            f"moved by {search_ev:g} eV, got {own.size}. Lower search_ev, or give references that reach farther."
        )

    def misfit(offset: float) -> float:
        columns = match_energies(references, own - offset).values
        # A constant of free sign is two columns of one sign each.
        design = np.column_stack([*columns, np.ones(own.size), -np.ones(own.size)])
        return float(nnls(design, values)[1] ** 2)

    step = max(float(np.median(np.diff(np.sort(own)))) / 2, search_ev / 100)
    grid = np.linspace(-search_ev, search_ev, 2 * int(np.ceil(search_ev / step)) + 1)
    coarse = np.array([misfit(offset) for offset in grid])
    best = int(coarse.argmin())
    if best in (0, grid.size - 1):
        return float(grid[best]), float("inf")
    found = minimize_scalar(misfit, bounds=(grid[best - 1], grid[best + 1]), method="bounded", options={"xatol": 1e-5})
    offset, least = float(found.x), float(found.fun)
    width = grid[1] - grid[0]
    inner = min(width, search_ev - abs(offset))
    curvature = (misfit(offset + inner) - 2 * least + misfit(offset - inner)) / inner**2
    noise = least / max(own.size - count - 2, 1)
    return offset, float(np.sqrt(2 * noise / curvature)) if curvature > 0 else float("inf")


def _common_range(references: Any, where: str) -> tuple[float, float]:
    if not isinstance(references, (xr.DataArray, Mapping)):
        raise InputError(
            f"{where}: references must be a DataArray (component, energy) or a mapping of names to DataArrays, got "
            f"{type(references).__name__}. Open files with operando.io.open_spectra."
        )
    each = [references] if isinstance(references, xr.DataArray) else list(references.values())
    energies = [energies_ev(one, where=where, name="a reference") for one in each]
    return max(float(e.min()) for e in energies), min(float(e.max()) for e in energies)
