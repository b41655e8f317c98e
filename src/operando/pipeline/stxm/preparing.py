"""From counts to an optical density in which every image shows the same place."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from operando import spectral
from operando.core.axes import spacing
from operando.core.errors import InputError
from operando.pipeline.step import Task
from operando.pipeline.storage import read_image, write_dataset, write_image, write_json
from operando.pipeline.stxm.inputs import open_i0, open_mask, open_stack
from operando.pipeline.stxm.settings import Align, Detector, Inputs, Normalize


def align(task: Task) -> None:
    """Find the drift and take it out."""
    inputs, how = Inputs(**task.parameters["inputs"]), Align(**task.parameters["align"])
    stack = open_stack(inputs)
    moved = spectral.align(stack, maximum_shift=how.maximum_shift_um)
    largest = float(np.hypot(moved["shift_y"], moved["shift_x"]).max())
    task.say(f"the largest shift is {largest:.3g} um, {largest / min(spacing(stack).values()):.3g} pixels")
    write_dataset(task, "drift.zarr", moved.drop_vars("aligned").reset_coords(drop=True))
    write_image(task, "aligned.zarr", moved["aligned"])


def normalize(task: Task) -> None:
    """Optical density with its noise, without what the detector cannot be trusted with."""
    given = task.parameters
    inputs, detector = Inputs(**given["inputs"]), Detector(**given["detector"])
    how = Normalize(**given["normalize"])
    recorded = open_stack(inputs)
    stack = read_image(task, "aligned.zarr") if "aligned.zarr" in task.step.inputs else recorded
    mask = None if inputs.mask is None else open_mask(inputs.mask, stack, key="inputs.mask")
    about: dict[str, Any] = {"notes": []}
    filled = stack > detector.dark if inputs.kind == "counts" else stack.notnull()
    seen = filled.any(["y", "x"]).compute().values
    if not seen.any():
        above = f" above {detector.dark:g} counts" if inputs.kind == "counts" else ""
        raise InputError(f"inputs.stack: no image holds a single value{above}. Look at the images and what they are.")
    if not seen.all():
        # A scan that was interrupted: a fit needs the energies that every pixel may have.
        at = ", ".join(f"{float(energy):g}" for energy in stack.energy.values[~seen])
        about["notes"].append(f"{int((~seen).sum())} of {seen.size} images have no value and were left out: {at} eV")
        about["empty_images"] = int((~seen).sum())
        stack = stack.isel(energy=seen)
    if inputs.kind == "counts":
        incident = open_i0(inputs, stack)
        photons = _photons_per_count(detector, incident, stack)
        found = spectral.normalize(
            stack,
            incident["i0"],
            i0_sigma=incident["i0_sigma"],
            dark=detector.dark,
            dead_time_us=detector.dead_time_us,
            dwell_ms=(detector.dwell_ms or dwell_of(recorded)) if detector.dead_time_us else None,
            photons_per_count=photons,
            stray_fraction=detector.stray_fraction,
        )
        about["notes"] += list(found.attrs.get("notes", []))
        about["photons_per_count"] = photons
        incident = incident.assign(optical_density_max=found["optical_density_max"])
        incident = incident.assign_attrs(dark=detector.dark, photons_per_count=photons)
    else:
        found = xr.Dataset({"optical_density": stack.assign_attrs(long_name="Optical density")})
    density = found["optical_density"]
    if how.despike is not None:
        before = int(density.notnull().sum())
        density = spectral.despike(density, threshold=how.despike)
        about["spikes"] = before - int(density.notnull().sum())
    if mask is not None:
        density = density.where(mask)
    if how.pre_edge is not None:
        density = spectral.subtract_pre_edge(density, between=how.pre_edge)
    write_image(task, "density.zarr", density.astype(np.float32))
    if inputs.kind == "counts":
        write_dataset(task, "incident.zarr", incident)
        write_image(task, "saturated.zarr", found["saturated"].astype(np.uint8), labels=False)
        write_image(task, "sigma.zarr", found["optical_density_sigma"].astype(np.float32))
    write_json(task, "normalized.json", about)


def dwell_of(stack: xr.DataArray) -> float:
    """Dwell per pixel in ms as the file of the stack says."""
    told = np.unique(np.atleast_1d(stack.attrs.get("dwell_ms", [])))
    if told.size != 1:
        got = f"from {told.min():g} to {told.max():g}" if told.size else "none"
        raise InputError(f"detector.dwell_ms: a dead time needs one dwell per pixel, the stack has {got}. Give it.")
    return float(told[0])


def _photons_per_count(detector: Detector, incident: xr.Dataset, stack: xr.DataArray) -> float:
    if detector.photons_per_count is not None:
        return detector.photons_per_count
    region = incident.get("region")
    if region is None:
        return 1.0
    try:
        return float(spectral.photons_per_count(stack, region))
    except InputError:
        return 1.0
