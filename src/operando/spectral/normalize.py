"""From counts to optical density with its error, its gaps and the bound beyond which it is not to be believed."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from operando.core.errors import InputError
from operando.core.provenance import record
from operando.spectral.detector import check_dead_time, true_counts
from operando.spectral.stacks import as_stack, energies_ev, same_energies

_I0_REMEDY = "Bring I0 onto them with operando.spectral.i0_from_spectrum, or give one I0 image per energy."


def optical_density(counts: Any, i0: Any, *, dark: Any = 0.0) -> xr.DataArray:
    """Optical density (absorbance, natural logarithm) of a stack.

    Parameters
    ----------
    counts : DataArray, dims (energy, [z], [y], [x]), or array of that shape
        Counts with the sample in the beam. May be lazy.
    i0 : DataArray, dims (energy,), (y, x) or (energy, y, x); array of such a shape; Dataset with ``i0``; or number
        Counts without the sample, in the same unit: of the beam, or of flat fields.
    dark : as ``i0``
        Counts without beam, which are part of ``counts`` and of ``i0``.

    Returns
    -------
    DataArray, dims as ``counts``, units "1"
        NaN where counts or I0 are infinite or not above the dark counts: nothing is clipped. ``attrs["notes"]`` lists
        how many values that were, where the stack is not lazy. float32 where the counts are, or are integers of up to
        16 bits; else float64.

    Raises
    ------
    InputError, AxesError
        Where I0 does not fit the stack (its energies, too, must be those of the stack) or is nowhere above the dark
        counts.

    Notes
    -----
    .. math:: \\mathrm{OD} = \\ln \\frac{I_0 - D}{I - D}

    With N detected photons the expected value is too high by 1/(2N), from the curvature of the logarithm: half a
    percent of an OD of 1 at N = 100. It does not average out over pixels. See :func:`normalize` for the error of
    every value and for the OD beyond which stray light and dark counts falsify it.

    Memory: lazy where ``counts`` are lazy; else one array more, and three while at work (four for integers).

    Examples
    --------
    >>> counts = xr.DataArray([[100.0, 50.0, 0.0]], dims=("energy", "x"), coords={"energy": [700.0]})
    >>> optical_density(counts, 100.0).round(3).values.tolist()
    [[0.0, 0.693, nan]]
    """
    where = "optical_density"
    stack = as_stack(counts, where=where, name="counts", energy=not isinstance(counts, xr.DataArray))
    open_beam, level = beam_and_dark(stack, i0, dark, where=where)
    result = _log_ratio(_float(stack, where), open_beam, level)
    notes = [] if lazy(result) else _missing_notes(result, stack)
    return _described(result, notes, record("operando.spectral.optical_density"), stack)


def normalize(
    counts: Any,
    i0: Any,
    *,
    i0_sigma: Any = None,
    dark: Any = 0.0,
    dark_sigma: float | None = None,
    dead_time_us: float = 0.0,
    dwell_ms: float | None = None,
    photons_per_count: float = 1.0,
    stray_fraction: float = 0.0,
    tolerance: float = 0.05,
) -> xr.Dataset:
    """Optical density of a stack with its standard error, its gaps and its limits.

    Parameters
    ----------
    counts, i0, dark : as in :func:`optical_density`
        Raw: not yet corrected for dead time. I0 is taken to come from the same detector at the same dwell.
    i0_sigma : as ``i0``, optional
        Standard error of I0. Default: ``i0.i0_sigma`` of a Dataset, else 0 (I0 known exactly).
    dark_sigma : float, counts, optional
        Standard error of the dark level. Default: that of one reading of one dwell, the square root of the dark counts
        over ``photons_per_count``.
    dead_time_us, dwell_ms : float
        Dead time of the counter per photon, and time per pixel and energy. Without dead time nothing is corrected.
    photons_per_count : float
        Detected photons behind one count, where counts are rates or averages: see :func:`photons_per_count`.
    stray_fraction : float
        Share of I0 that the sample does not absorb: higher orders of the monochromator, stray light.
    tolerance : float
        Error in optical density beyond which a value is called saturated.

    Returns
    -------
    Dataset
        ``optical_density``, ``optical_density_sigma`` (dims as ``counts``, units "1"); ``saturated`` (bool, as
        ``counts``), where the OD is beyond ``optical_density_max`` (dims as I0) or counts are not above the dark level;
        ``bad_count`` (space dims, integer), at how many energies a pixel is NaN. ``attrs["notes"]`` lists what was
        corrected and what is missing.

    Raises
    ------
    InputError, AxesError
        As :func:`optical_density`; and where the counter cannot have counted as much as it did with that dead time.

    Notes
    -----
    With N counts, g photons per count, and counts m corrected for the dead time by :math:`n = m / (1 - m\\tau/T)`
    (non-paralyzable),

    .. math:: \\sigma^2 = \\frac{N/g\\,(1 + gN\\tau/T) + \\sigma_D^2}{(N - D)^2}
        + \\frac{\\sigma_{I_0}^2}{(I_0 - D)^2}

    The first part is the noise of the pixel, and independent from pixel to pixel. The second is common to all pixels of
    an energy where I0 is a spectrum: it does not average out over a field.

    **Saturation.** With a share s of I0 that passes whatever the sample does, an OD is measured too low by
    :math:`\\ln(1-s) - \\ln(1 - s e^{\\mathrm{OD}})`; an error :math:`\\sigma_D` of the dark level shifts it by
    :math:`\\sigma_D e^{\\mathrm{OD}} / (I_0 - D)`. Each stays below the tolerance :math:`\\epsilon` up to

    .. math:: \\mathrm{OD}_s = \\ln \\frac{1 - (1-s) e^{-\\epsilon}}{s}, \\qquad
        \\mathrm{OD}_D = \\ln \\frac{\\epsilon\\,(I_0 - D)}{\\sigma_D}

    and the lower of the two is ``optical_density_max``: 1.76 for one percent of stray light and the default tolerance.
    Where s is well known, correct for it instead: light that is not absorbed is a dark level of ``dark + s * i0``.

    The error is estimated from the counts found, not those expected: below about 20 photons it scatters by a tenth
    and more, and weights made from it pull fits towards pixels that happened to be bright.

    Memory: lazy where ``counts`` are lazy; else two arrays and a map of flags more, and while at work six arrays of the
    size of the counts in 64 bits. Larger stacks are better lazy.

    Examples
    --------
    400 photons of 1600: an OD of ln 4, known to 1/sqrt(400), and 1/sqrt(1600) from I0:

    >>> counts = xr.DataArray([[400.0]], dims=("energy", "x"), coords={"energy": [700.0]})
    >>> found = normalize(counts, 1600.0, i0_sigma=40.0)
    >>> float(found.optical_density[0, 0].round(3)), float(found.optical_density_sigma[0, 0].round(4))
    (1.386, 0.0559)
    """
    where = "normalize"
    stack = as_stack(counts, where=where, name="counts", energy=not isinstance(counts, xr.DataArray))
    gain = float(photons_per_count)
    if not np.isfinite(gain) or gain <= 0:
        raise InputError(f"{where}: photons_per_count must be positive, got {photons_per_count!r}.")
    if not 0 <= stray_fraction < 1 or not tolerance > 0:
        raise InputError(
            f"{where}: stray_fraction must be in [0, 1) and tolerance positive, got {stray_fraction} and {tolerance}. "
            "Divide a percentage by 100."
        )
    if i0_sigma is None and isinstance(i0, xr.Dataset) and "i0_sigma" in i0:
        i0_sigma = i0["i0_sigma"]
    share = check_dead_time(dead_time_us, dwell_ms, where=where) * gain
    measured, (open_raw, level) = _float(stack, where), beam_and_dark(stack, i0, dark, where=where)
    open_error = _fitted(i0_sigma, stack, "i0_sigma", where) if i0_sigma is not None else xr.DataArray(0.0)
    level_error = xr.DataArray(float(dark_sigma)) if dark_sigma is not None else (level.clip(min=0.0) / gain) ** 0.5
    true = true_counts(measured, share, where=where, name="counts")
    open_beam = true_counts(open_raw, share, where=where, name="i0")
    # dn/dm = (n/m)^2, by which an error of the I0 that was counted grows.
    open_error = open_error / (1 - share * open_raw) ** 2
    signal = (true - level).where(true > level)
    beam = (open_beam - level).where(open_beam > level)
    density = _log_ratio(true, open_beam, level)
    photon = true / gain * (1 + share * true) if share else true / gain
    variance = (photon + level_error**2) / signal**2 + (open_error / beam) ** 2
    sigma = (variance**0.5).where(density.notnull())
    most = _limit(beam, level_error, stray_fraction, tolerance)
    unseen = measured.notnull() & (true <= level) & beam.notnull()
    saturated = ((density > most) | unseen).transpose(*stack.dims)
    bad = density.isnull().sum("energy") if "energy" in stack.dims else density.isnull().astype("int64")
    notes = _correction_notes(share, dead_time_us, gain, stray_fraction, tolerance, most)
    if not lazy(density):
        notes += [*_missing_notes(density, stack), f"{int(saturated.sum())} of {saturated.size} values are saturated"]
    parameters = {
        "dead_time_us": dead_time_us,
        "dwell_ms": dwell_ms,
        "photons_per_count": gain,
        "stray_fraction": stray_fraction,
        "tolerance": tolerance,
    }
    made_by = record("operando.spectral.normalize", parameters)
    dtype = density.dtype
    sigma = sigma.astype(dtype).transpose(*stack.dims).rename("optical_density_sigma")
    sigma.attrs = {"units": "1", "long_name": "Standard error of the optical density"}
    saturated.attrs = {"long_name": "Optical density beyond what stray light and dark counts allow"}
    bad.attrs = {"units": "1", "long_name": "Energies without a value"}
    most.attrs = {
        "units": "1",
        "long_name": "Optical density up to which stray light and dark counts stay in tolerance",
    }
    return xr.Dataset(
        {
            "optical_density": _described(density, notes, made_by, stack),
            "optical_density_sigma": sigma,
            "saturated": saturated,
            "bad_count": bad,
            "optical_density_max": most,
        },
        attrs={"notes": notes, "provenance": made_by, **_kept(stack)},
    )


def beam_and_dark(stack: xr.DataArray, i0: Any, dark: Any, *, where: str) -> tuple[xr.DataArray, xr.DataArray]:
    """I0 and dark level as arrays that broadcast against the stack, after a check that there is light at all."""
    if isinstance(i0, xr.Dataset):
        if "i0" not in i0:
            raise InputError(f"{where}: a Dataset of I0 must hold 'i0', got {sorted(map(str, i0.data_vars))}.")
        i0 = i0["i0"]
    beam, level = _fitted(i0, stack, "i0", where), _fitted(dark, stack, "dark", where)
    if not lazy(beam) and not lazy(level):
        above = (beam > level).values
        if not above.any():
            raise InputError(
                f"{where}: I0 must be above the dark counts, got at most {float(beam.max()):g} against a dark level of "
                f"{float(level.min()):g}. Are I0 and the dark counts in the unit of the counts, or swapped?"
            )
    return beam, level


def _fitted(values: Any, stack: xr.DataArray, name: str, where: str) -> xr.DataArray:
    """``values`` as a DataArray on some of the dims of the stack, on its energies and without other coordinates."""
    if isinstance(values, xr.DataArray):
        array = values
    else:
        data = values if hasattr(values, "ndim") else np.asarray(values)
        if data.dtype.kind not in "fiub":
            raise InputError(
                f"{where}: {name} must be numbers, got {data.dtype}. Open files with operando.io.open_image."
            )
        shape = tuple(data.shape)
        space = tuple(dim for dim in stack.dims if dim != "energy")
        options: list[tuple[Any, ...]] = [(), ("energy",), space, tuple(stack.dims)]
        fitting = [dims for dims in options if tuple(stack.sizes.get(dim, -1) for dim in dims) == shape]
        if not fitting:
            raise InputError(
                f"{where}: {name} must be a number or have the shape of the energies, of an image or of the stack "
                f"{dict(stack.sizes)}, got {shape}. Pass a DataArray with named dims."
            )
        array = xr.DataArray(data, dims=fitting[0])
    unknown = [dim for dim in array.dims if dim not in stack.dims]
    if unknown:
        raise InputError(
            f"{where}: {name} may have the dims {tuple(stack.dims)} of the counts, got also {unknown}. "
            f"Average it over them first: {name}.mean({str(unknown[0])!r})."
        )
    if "energy" in array.dims and "energy" in stack.coords:
        energies = energies_ev(stack, where=where, name="counts")
        array = same_energies(array, energies, where=where, name=name, remedy=_I0_REMEDY)
    for dim in array.dims:
        if array.sizes[dim] != stack.sizes[dim]:
            raise InputError(
                f"{where}: {name} must be as long as the counts along {dim!r}, got {array.sizes[dim]} for "
                f"{stack.sizes[dim]}. Crop or bin both alike."
            )
    # Positions count from here on: coordinates that differ in the last digit would empty the result.
    bare = array.reset_coords(drop=True).drop_vars(list(array.coords), errors="ignore")
    return bare if np.issubdtype(bare.dtype, np.floating) else bare.astype(float)


def _float(stack: xr.DataArray, where: str) -> xr.DataArray:
    """Counts as floats; integers of up to 16 bits fit a 32-bit float exactly."""
    if stack.dtype.kind not in "fiub":
        raise InputError(f"{where}: counts must be real numbers, got {stack.dtype}. Take abs(...) ** 2 of waves first.")
    small = stack.dtype.itemsize <= 2 or stack.dtype == np.float32
    return stack.astype(np.float32 if small else np.float64, copy=False)


def _log_ratio(counts: xr.DataArray, beam: xr.DataArray, level: xr.DataArray) -> xr.DataArray:
    signal = counts - level.astype(counts.dtype)
    light = beam - level
    result = _log(light).astype(counts.dtype) - _log(signal)
    return result.transpose(*counts.dims)


def _log(values: xr.DataArray) -> xr.DataArray:
    result: xr.DataArray = xr.apply_ufunc(np.log, values.where((values > 0) & (values < np.inf)), dask="allowed")
    return result


def _limit(beam: xr.DataArray, level_error: xr.DataArray, stray: float, tolerance: float) -> xr.DataArray:
    # A dark level known exactly sets no bound.
    most = _log(tolerance * beam / level_error.where(level_error > 0)).where(level_error > 0, np.inf)
    if stray > 0:
        most = most.clip(max=float(np.log((1 - (1 - stray) * np.exp(-tolerance)) / stray)))
    return most.rename("optical_density_max")


def lazy(array: xr.DataArray) -> bool:
    """Whether the values are yet to be computed."""
    return array.chunks is not None


def _missing_notes(density: xr.DataArray, stack: xr.DataArray) -> list[str]:
    missing = int(density.isnull().sum())
    if not missing:
        return []
    before = int(stack.isnull().sum()) if np.issubdtype(stack.dtype, np.floating) else 0
    note = f"{missing} of {density.size} values are NaN: {missing - before} with counts or I0 not above the dark counts"
    return [note + (f", {before} missing before" if before else "")]


def _correction_notes(
    share: float, dead_time_us: float, gain: float, stray: float, tolerance: float, most: xr.DataArray
) -> list[str]:
    notes = []
    if share:
        notes.append(f"corrected for a dead time of {dead_time_us:g} us per photon (non-paralyzable)")
    if gain != 1.0:
        notes.append(f"errors are those of {gain:g} photons per count")
    if stray > 0:
        notes.append(f"stray light of {stray:g} of I0 falsifies OD by more than {tolerance:g} beyond {_low(most):.3g}")
    elif not lazy(most) and np.isfinite(_low(most)):
        notes.append(f"dark counts may falsify OD by more than {tolerance:g} beyond {_low(most):.3g}")
    return notes


def _low(values: xr.DataArray) -> float:
    return float(values.min())


def _kept(stack: xr.DataArray) -> dict[str, Any]:
    return {"simulated": True} if stack.attrs.get("simulated") else {}


def _described(density: xr.DataArray, notes: list[str], made_by: str, stack: xr.DataArray) -> xr.DataArray:
    result = density.rename("optical_density")
    result.attrs = {"units": "1", "long_name": "Optical density", "notes": notes, "provenance": made_by, **_kept(stack)}
    return result
