"""The first steps of recipe ``cell-ct``: scans that are open, checked, and in one frame."""

from __future__ import annotations

import numpy as np
import xarray as xr

from operando import io, registration
from operando.core.errors import InputError
from operando.core.phases import UNLABELED, PhaseScheme
from operando.pipeline.cell_ct.inputs import open_labels, open_series
from operando.pipeline.cell_ct.settings import Inputs
from operando.pipeline.step import Task
from operando.pipeline.storage import read_image, read_json, write_image, write_json


def open_scans(task: Task) -> None:
    """Copy the scans into the run, in one order and calibrated."""
    inputs = Inputs(**task.parameters["inputs"])
    series = open_series(inputs)
    series.attrs |= {"plating_side": task.parameters["plating_side"], "simulated": inputs.simulated}
    write_image(task, "image.zarr", series, labels=False)
    _check_values(io.open_image(task.folder / "image.zarr"))


def _check_values(series: xr.DataArray) -> None:
    """Refuse scans whose numbers would be wrong without a word: voxels without a value, or all alike."""
    import dask

    for scan in range(series.sizes["t"]):
        values = series[scan]
        known = np.isfinite(values) if values.dtype.kind == "f" else xr.ones_like(values, dtype=bool)
        share, low, high = dask.compute(known.mean(), values.min(), values.max())
        if share < 1:
            raise InputError(
                f"inputs.images: every voxel needs a gray value, got NaN or infinity in "
                f"{100 * (1 - float(share)):.3g} % of scan {scan}. Cut it off with inputs.region, or fill it before."
            )
        if low == high:
            raise InputError(
                f"inputs.images: scan {scan} must show something, got {float(low):g} everywhere. Leave it out."
            )


def register(task: Task) -> None:
    """Bring every scan into the frame of the reference and keep what all of them show."""
    series = read_image(task, "image.zarr")
    motion = registration.estimate_drift(series, reference=task.parameters["reference"])
    field = registration.common_field(series, motion)
    registered = registration.apply_motion(series, motion).assign_attrs(series.attrs).isel(field)
    kept = {dim: [part.start, part.stop] for dim, part in field.items()}
    task.say(f"all scans show the voxels {kept} of {dict(series.sizes)}; what only some show is left out")
    write_json(
        task,
        "motion.json",
        {
            "units": motion.attrs["units"],
            "t": motion.coords["t"].values,
            "motion": motion.values,
            "sigma": motion.coords["sigma"].values,
            "field": kept,
        },
    )
    write_image(task, "registered.zarr", registered)


def labels_on_grid(task: Task, path: str, *, key: str) -> xr.DataArray:
    """Labels drawn on the scans as recorded, lazy, moved and cut as the scans were where these are registered."""
    labels = open_labels(path, Inputs(**task.parameters["inputs"]), key=key)
    if "motion.json" not in task.step.inputs:
        return labels
    known = read_json(task.path("motion.json"))
    motion = xr.DataArray(np.array(known["motion"]), dims=("t", "row", "column"), attrs={"units": known["units"]})
    labels = labels.assign_attrs(phases=PhaseScheme(task.parameters["phases"]))
    field = {dim: slice(*ends) for dim, ends in known["field"].items()}
    return registration.apply_motion(labels, motion).isel(field)


def annotations_of(task: Task) -> tuple[xr.DataArray, list[int], list[int]]:
    """Annotations on the grid of the images, the annotated scans, and which of them are held out first."""
    marks = labels_on_grid(task, task.parameters["annotations"], key="segment.annotations")
    annotated = [scan for scan in range(marks.sizes["t"]) if bool((marks[scan].data != UNLABELED).any().compute())]
    held = task.parameters["held_out_scans"]
    if held is None:
        # Spread over the cycle, so that charge and discharge are both seen; a lone scan cannot be spared.
        count = round(len(annotated) / 4) or int(len(annotated) > 1)
        held = [annotated[int((k + 0.5) * len(annotated) / count)] for k in range(count)]
    return marks, annotated, sorted(set(held) & set(annotated))
