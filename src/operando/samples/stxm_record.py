"""Record a simulated sample with a scanning X-ray microscope, and say what is true under every pixel."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import labeled_image
from operando.samples.fields import generator
from operando.samples.stxm_imaging import Grid, Microscope, beam, counted, drift, open_region
from operando.samples.stxm_spectra import energy_axis

MISSING_SHARE = 0.05
"""Share of the thickness above which phases without a reference count as there."""

_IMAGE = ("y", "x")
_STACK = ("energy", "y", "x")


def record_stack(
    fields: np.ndarray,
    grid: Grid,
    references: xr.DataArray,
    microscope: Microscope,
    *,
    pixel_um: float | None,
    seed: int,
    boundary_tolerance: float,
    thick_tolerance: float,
) -> xr.Dataset:
    """Record a sample given on fine cells.

    Parameters
    ----------
    fields : ndarray, (component, y, x) on the cells of ``grid``
        Amount of each component in the unit of the references: um where these are in um-1.
    references : DataArray, dims (component, energy)
    microscope, grid, pixel_um, seed, boundary_tolerance, thick_tolerance
        As :func:`operando.samples.stxm_particle` says.

    Returns
    -------
    Dataset
        That of :func:`operando.samples.stxm_particle`, less what depends on particles and stoichiometry.

    Notes
    -----
    Transmission is made on the fine cells, where it follows Beer and Lambert, and then averaged over what a pixel sees;
    weights are averaged alike. Memory: twice the stack in float64, and the fine cells of one energy.
    """
    mu = references.transpose("component", "energy").values
    energy = references.energy.values.astype(float)
    shifts = drift(energy.size, microscope.drift_px, seed)
    at_rest = [grid.footprint(axis, blur_px=microscope.blur_px) for axis in (0, 1)]
    weight = np.stack([_seen(field, at_rest) for field in fields])
    photons = beam(energy, microscope.i0_counts)
    counts = np.empty((energy.size, *grid.shape), dtype=np.float32)
    density = np.empty(counts.shape)
    partial, saturated = np.zeros(grid.shape), np.zeros(grid.shape)
    rng = generator(seed, "counts")
    flat = fields.reshape(fields.shape[0], -1)
    there = np.flatnonzero(flat.any(axis=0))
    flat = flat[:, there]
    transmission = np.ones(fields.shape[1:])
    stray = microscope.stray
    for number in range(energy.size):
        density[number] = np.tensordot(mu[:, number], weight, axes=1)
        transmission.ravel()[there] = np.exp(-(mu[:, number] @ flat))
        light = _seen(transmission, at_rest)
        np.maximum(partial, np.abs(np.log(light) + density[number]), out=partial)
        measured = -np.log((1.0 - stray) * np.exp(-density[number]) + stray)
        np.maximum(saturated, np.abs(measured - density[number]), out=saturated)
        if shifts[number].any():
            y, x = (float(s) for s in shifts[number])
            moved = [grid.footprint(axis, blur_px=microscope.blur_px, shift_px=s) for axis, s in enumerate((y, x))]
            light = _seen(transmission, moved)
        counts[number] = counted(photons[number] * ((1.0 - stray) * light + stray), microscope, rng)
    i0, i0_sigma = open_region(photons, microscope, generator(seed, "i0"))
    step, unit = (1.0, "px") if pixel_um is None else (float(pixel_um), "um")
    amount = "um" if str(references.attrs.get("units", "1")) == "um-1" else "1"

    def variable(dims: Any, values: Any, units: str, long_name: str) -> Any:
        return dims, values, {"units": units, "long_name": long_name, "simulated": True}

    tolerances = {"boundary": boundary_tolerance, "thick": thick_tolerance}
    errors = {"boundary": partial, "thick": saturated}
    flags = {
        name: (_IMAGE, errors[name] > limit, {"tolerance": limit, "simulated": True})
        for name, limit in tolerances.items()
    }
    return xr.Dataset(
        {
            "counts": variable(_STACK, counts, "counts", "Detected photons"),
            "i0": variable("energy", i0, "counts", "Detected photons without sample"),
            "i0_sigma": variable("energy", i0_sigma, "counts", "Sigma of the photons without sample"),
            "references": variable(("component", "energy"), mu, str(references.attrs.get("units", "1")), "Reference"),
            "weight": variable(("component", *_IMAGE), weight, amount, "Amount of each component"),
            "thickness": variable(_IMAGE, weight.sum(axis=0), amount, "Thickness" if amount == "um" else "Amount"),
            "optical_density": variable(_STACK, density, "1", "Optical density"),
            "shift_y": variable("energy", step * shifts[:, 0], unit, "Drift along y"),
            "shift_x": variable("energy", step * shifts[:, 1], unit, "Drift along x"),
            "partial_volume": variable(_IMAGE, partial, "1", "Largest error of optical density by partial volume"),
            "saturation": variable(_IMAGE, saturated, "1", "Largest error of optical density by stray light"),
            **flags,
        },
        coords={
            "component": references.coords["component"].values,
            "energy": energy_axis(energy),
            **labeled_image(partial, voxel_size_um=pixel_um).coords,
        },
        attrs={"simulated": True, "seed": seed, **asdict(microscope)},
    )


def add_composition(
    made: xr.Dataset, *, inside: np.ndarray, has_reference: list[bool], stoichiometry: np.ndarray | None, host: str
) -> None:
    """Add what depends on which component is what: lithiation and where a reference is missing."""
    weight = made["weight"].values
    total = made["thickness"].values
    known = np.asarray(has_reference, dtype=bool)
    made["has_reference"] = ("component", known)
    with np.errstate(invalid="ignore", divide="ignore"):
        absent = weight[~known].sum(axis=0) / total
        made["missing_reference"] = (_IMAGE, inside & (absent > MISSING_SHARE))
        if stoichiometry is not None:
            made["stoichiometry"] = ("component", stoichiometry, {"units": "1", "long_name": f"x in {host}"})
            x = np.where(inside, np.tensordot(stoichiometry, weight, axes=1) / total, np.nan)
            made["lithiation"] = (_IMAGE, x, {"units": "1", "long_name": f"x in {host}", "simulated": True})
    made["missing_reference"].attrs.update(share=MISSING_SHARE, simulated=True)


def _seen(field: np.ndarray, footprint: list[Any]) -> np.ndarray:
    # Along y first, so that what has to be transposed is small.
    return np.asarray((footprint[1] @ (footprint[0] @ field).T).T)
