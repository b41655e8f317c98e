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
    stack = read_image(task, "aligned.zarr") if "aligned.zarr" in task.step.inputs else open_stack(inputs)
    mask = None if inputs.mask is None else open_mask(inputs.mask, stack, key="inputs.mask")
    about: dict[str, Any] = {"notes": []}
    if inputs.kind == "counts":
        incident = open_i0(inputs, stack)
        photons = _photons_per_count(detector, incident, stack)
        found = spectral.normalize(
            stack,
            incident["i0"],
            i0_sigma=incident["i0_sigma"],
            dark=detector.dark,
            dead_time_us=detector.dead_time_us,
            dwell_ms=detector.dwell_ms or stack.attrs.get("dwell_ms"),
            photons_per_count=photons,
            stray_fraction=detector.stray_fraction,
        )
        density, sigma = found["optical_density"], found["optical_density_sigma"]
        about |= {"notes": list(found.attrs.get("notes", [])), "photons_per_count": photons}
        write_dataset(task, "incident.zarr", incident.assign_attrs(dark=detector.dark, photons_per_count=photons))
        write_image(task, "saturated.zarr", found["saturated"].astype(np.uint8), labels=False)
    else:
        density, sigma = stack.assign_attrs(long_name="Optical density"), None
    if how.despike is not None:
        before = int(density.notnull().sum())
        density = spectral.despike(density, threshold=how.despike)
        about["spikes"] = before - int(density.notnull().sum())
    if how.pre_edge is not None:
        density = spectral.subtract_pre_edge(density, between=how.pre_edge)
    if mask is not None:
        density = density.where(mask)
    write_image(task, "density.zarr", density.astype(np.float32))
    if sigma is not None:
        write_image(task, "sigma.zarr", sigma.astype(np.float32))
    write_json(task, "normalized.json", about)


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
