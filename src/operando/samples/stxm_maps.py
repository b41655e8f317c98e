"""Semi-synthetic spectro-microscopy: maps and spectra that may be measured, through a simulated microscope."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from operando.core import units
from operando.core.axes import axis_spacing, require_dims
from operando.core.errors import InputError, nearest
from operando.core.provenance import record
from operando.samples.stxm_imaging import Grid, Microscope
from operando.samples.stxm_record import add_composition, record_stack

_WHERE = "stxm_from_maps"


def stxm_from_maps(
    weight: xr.DataArray,
    references: xr.DataArray,
    *,
    seed: int = 0,
    without_reference: Sequence[str] = (),
    stoichiometry: Mapping[str, float] | None = None,
    i0_counts: float = 10_000.0,
    open_pixels: int = 400,
    blur_px: float = 0.4,
    drift_px: float = 0.5,
    stray: float = 0.001,
    dark: float = 10.0,
    dead_time_us: float = 0.0,
    dwell_ms: float = 1.0,
    boundary_tolerance: float = 0.01,
    thick_tolerance: float = 0.05,
    supersampling: int = 3,
) -> xr.Dataset:
    """Record a stack of given maps and reference spectra with a simulated microscope.

    Parameters
    ----------
    weight : DataArray, dims (component, y, x)
        Amount of each component, finite and not negative, in the unit that goes with the references: um where these
        are in um-1, else the thickness relative to that of the reference.
    references : DataArray, dims (component, energy)
        Absorption of every component of ``weight``; further ones are left out. Its energies are those of the stack.
    seed : int
        Not negative.
    without_reference : sequence of str
        Components that the analysis shall not know.
    stoichiometry : mapping of component to float, optional
        x in Li_x M, for the truth ``lithiation``.
    i0_counts, open_pixels, blur_px, drift_px, stray, dark, dead_time_us, dwell_ms
        The microscope, as in :func:`operando.samples.stxm_particle`.
    boundary_tolerance, thick_tolerance, supersampling
        As in :func:`operando.samples.stxm_particle`.

    Returns
    -------
    Dataset
        As :func:`operando.samples.stxm_particle`, less ``particles``; ``lithiation`` and ``stoichiometry`` only where
        that is given. ``weight`` is the given one as the probe averages it: the same where ``blur_px=0``.

    Raises
    ------
    InputError, AxesError
        Where maps and references do not fit each other, or something is missing, negative or unknown.

    Notes
    -----
    Each pixel of the maps is taken as uniform, and what lies beyond the image as at its rim. Where the maps were
    measured, their noise is part of the sample: it is the truth that is to be found again.

    Examples
    --------
    One pixel in which half a micrometer absorbs 2 per um, in a beam without noise to speak of:

    >>> maps = xr.DataArray(np.full((1, 1, 1), 0.5), dims=("component", "y", "x"), coords={"component": ["iron"]})
    >>> spectrum = xr.DataArray([[2.0]], dims=("component", "energy"), attrs={"units": "um-1"},
    ...     coords={"component": ["iron"], "energy": [710.0]})
    >>> made = stxm_from_maps(maps, spectrum, i0_counts=1e10, stray=0.0, dark=0.0)
    >>> round(float(np.log(made.i0 / made.counts).item()), 3), made.thickness.item()
    (1.0, 0.5)
    """
    require_dims(weight, ("component", "y", "x"), where=_WHERE)
    require_dims(references, ("component", "energy"), where=_WHERE)
    maps, spectra = _matched(weight.transpose("component", "y", "x"), references.transpose("component", "energy"))
    names = [str(name) for name in maps.component.values]
    for name in [*without_reference, *(stoichiometry or {})]:
        if name not in names:
            raise InputError(f"{_WHERE}: there is no component {name!r} in weight. {nearest(str(name), names)}")
    absent = [name for name in names if stoichiometry is not None and name not in stoichiometry]
    if absent:
        raise InputError(f"{_WHERE}: stoichiometry must name every component, it lacks {absent}. Add x of each.")
    microscope = Microscope(
        i0_counts=float(i0_counts),
        open_pixels=int(open_pixels),
        blur_px=float(blur_px),
        drift_px=float(drift_px),
        stray=float(stray),
        dark=float(dark),
        dead_time_us=float(dead_time_us),
        dwell_ms=float(dwell_ms),
    )
    microscope.check(_WHERE, seed=seed, supersampling=supersampling)
    fine = int(supersampling)
    cells = np.repeat(np.repeat(np.asarray(maps.values, dtype=float), fine, axis=1), fine, axis=2)
    made = record_stack(
        cells,
        Grid((maps.sizes["y"], maps.sizes["x"]), pad=0, fine=fine),
        spectra,
        microscope,
        pixel_um=_pixel_um(maps),
        seed=seed,
        boundary_tolerance=float(boundary_tolerance),
        thick_tolerance=float(thick_tolerance),
    )
    add_composition(
        made,
        inside=made.thickness.values > 0,
        has_reference=[name not in without_reference for name in names],
        stoichiometry=None if stoichiometry is None else np.array([float(stoichiometry[name]) for name in names]),
        host="Li_x M",
    )
    made.attrs["provenance"] = record("stxm_from_maps", {"seed": seed, "components": names})
    return made


def _matched(maps: xr.DataArray, spectra: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Maps and the spectra of their components, in the order of the maps; both named."""
    if "energy" not in spectra.coords:
        raise InputError(f"{_WHERE}: references must have the coordinate energy in eV. Use assign_coords(energy=...).")
    for array, name in ((maps, "weight"), (spectra, "references")):
        values = np.asarray(array.values)
        bad = int((~np.isfinite(values)).sum())
        if bad:
            raise InputError(
                f"{_WHERE}: {name} must be finite, {bad} of {values.size} values are not. Fill them first."
            )
        if name == "weight" and (values < 0).any():
            raise InputError(
                f"{_WHERE}: weight must not be negative, got down to {values.min():g}. Clip it: weight.clip(min=0)."
            )
    if "component" not in maps.coords or "component" not in spectra.coords:
        if maps.sizes["component"] != spectra.sizes["component"]:
            raise InputError(
                f"{_WHERE}: one reference per component is needed, got {spectra.sizes['component']} for "
                f"{maps.sizes['component']}. Name both in a coordinate component to take some of them."
            )
        named = maps if "component" in maps.coords else spectra
        names = (
            [str(name) for name in named.component.values]
            if "component" in named.coords
            else [str(number) for number in range(maps.sizes["component"])]
        )
        return maps.assign_coords(component=names), spectra.assign_coords(component=names)
    names, known = [[str(name) for name in array.component.values] for array in (maps, spectra)]
    for name in names:
        if name not in known:
            raise InputError(f"{_WHERE}: there is no reference for the component {name!r}. {nearest(name, known)}")
    chosen: Any = [known.index(name) for name in names]
    return maps.assign_coords(component=names), spectra.isel(component=chosen).assign_coords(component=names)


def _pixel_um(maps: xr.DataArray) -> float | None:
    steps = {}
    for dim in ("y", "x"):
        step, unit = axis_spacing(maps, dim, where=_WHERE)
        steps[dim] = step * units.factor(unit, "um") if units.kind(unit) == "length" else None
    if steps["y"] is None or steps["x"] is None:
        return None
    if not np.isclose(steps["y"], steps["x"]):
        raise InputError(f"{_WHERE}: pixels must be square, got {steps['y']:g} by {steps['x']:g} um. Resample first.")
    return float(steps["x"])
