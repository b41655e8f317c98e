"""What the labels measure, with its uncertainty."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr

from operando import morphometry, segmentation
from operando.core.axes import voxel_volume
from operando.core.phases import PhaseScheme
from operando.core.quantities import quantity_table, rows_from_array
from operando.pipeline.cell_ct.annotated import annotations_of
from operando.pipeline.cell_ct.errors import Errors, edge_um, known_errors, stated_errors
from operando.pipeline.scans.images import labels_on_grid
from operando.pipeline.step import Task
from operando.pipeline.storage import read_image, read_json, read_small_dataset, write_json, write_table


def measure(task: Task) -> None:
    """Volumes, thicknesses, coverages and maps, with how sure they are."""
    phases = PhaseScheme(task.parameters["phases"])
    side = task.parameters["plating_side"]
    labels = read_image(task, "labels.zarr")
    model = task.parameters["model"] or (task.path("model") if "model" in task.step.inputs else None)
    errors = known_errors(model, phases, edge_um=edge_um(labels))
    moments = read_small_dataset(task.path("moments.json")) if read_json(task.path("moments.json")) else None
    if task.parameters["interface_sigma_voxels"] is not None:
        errors, moments = stated_errors(labels, phases, task.parameters["interface_sigma_voxels"]), None
    elif task.parameters["annotations"] is not None and task.parameters["model"] is not None:
        # Nothing was trained on these annotations: all of them tell how far off the model is on this cell.
        errors = _errors_here(task, labels, phases)
    task.progress(0, 2)
    sigma = morphometry.segmentation_sigma(
        labels, phases, plating_side=side, moments=moments, residuals=errors.residuals, interface=errors.interface
    )
    task.progress(1, 2)
    rows = measured(labels, phases, side, sigma=sigma)
    write_table(task, "quantities.parquet", quantity_table(rows))
    write_json(task, "uncertainty.json", sigma.assign_attrs(roi_area_um2=morphometry.roi_area(labels)).to_dict())
    write_json(task, "errors.json", errors.to_dict())


def _errors_here(task: Task, labels: xr.DataArray, phases: PhaseScheme) -> Errors:
    """Errors of a model that was trained elsewhere, from annotations of this cell."""
    marks, annotated, _ = annotations_of(task)
    here, known = labels.isel(t=annotated), marks.isel(t=annotated)
    residuals = None
    if task.parameters["method"] != "otsu":
        block = task.parameters["block"]
        network = segmentation.NetworkSegmenter.load(
            task.parameters["model"], block=(block, block, block), symmetries=task.parameters["symmetries"]
        )
        probability = network.predict_probability(read_image(task, task.step.inputs[0]).isel(t=annotated))
        side = task.parameters["plating_side"]
        residuals = morphometry.residual_correlation(probability, known, phases, labels=here, plating_side=side)
    return Errors(morphometry.interface_error(here, known, phases), residuals)


def measured(
    labels: xr.DataArray, phases: PhaseScheme, plating_side: str, *, sigma: xr.Dataset | None = None
) -> list[dict[str, Any]]:
    """Rows for volume, thickness, coverage, the two sides and inactive lithium, with sigma where it is known."""
    sides = morphometry.lithium_by_side(labels, phases, plating_side=plating_side)
    dead = morphometry.inactive_lithium(labels, phases, plating_side=plating_side)
    dead = dead.expand_dims(component=["inactive"], axis=-1)
    area = morphometry.roi_area(labels)
    voxel = voxel_volume(labels, where="measure")

    def of(name: str, like: xr.DataArray) -> xr.DataArray | None:
        return None if sigma is None else sigma[name].sel(component=like.component)

    rows: list[dict[str, Any]] = []
    for values, method in (
        (morphometry.volumes(labels, phases), "voxel count"),
        (sides, "lithium on either side of the middle between the electrodes"),
        (dead, "lithium without face-connected path to an electrode"),
    ):
        values = values.assign_attrs(units="um3")
        rows += rows_from_array(values, quantity="volume", sigma=of("volume", values), n=values / voxel, method=method)
    for values, method in (
        (morphometry.effective_thickness(labels, phases), "volume / area of the field of view"),
        ((sides / area).assign_attrs(units="um"), "lithium of the side / area of the field of view"),
    ):
        rows += rows_from_array(values, quantity="effective thickness", sigma=of("thickness", values), method=method)
    for values, spread in _by_electrode(labels, phases, plating_side, sides=sides, sigma=sigma):
        values, method = (values / area).assign_attrs(units="um"), str(values.attrs["long_name"])
        rows += rows_from_array(values, quantity="effective thickness", sigma=spread / area, method=method)
    cover = morphometry.coverage(labels, phases)
    rows += rows_from_array(
        cover, quantity="coverage", sigma=of("coverage", cover), method="share of columns holding the component"
    )
    return rows


def _by_electrode(
    labels: xr.DataArray, phases: PhaseScheme, plating_side: str, *, sides: xr.DataArray, sigma: xr.Dataset | None
) -> Iterator[tuple[xr.DataArray, xr.DataArray]]:
    """Volumes of each electrode alone and of the plating side without dendrites, with their sigmas (Huang 2023)."""

    def spread(like: xr.DataArray, *names: str) -> xr.DataArray:
        if sigma is None:
            return xr.full_like(like, np.nan)
        squares = xr.zeros_like(like)
        for name in names:
            squares = squares + sigma["volume"].sel(component=name, drop=True) ** 2
        return squares**0.5

    alone = morphometry.lithium_by_side(labels, phases, plating_side=plating_side, lithium=["electrode"])
    alone = alone.assign_coords(component=["plating electrode", "stripping electrode"])
    yield alone.assign_attrs(long_name="electrode of the side; sigma of both together"), spread(alone, "electrode")
    if "dendrite" in phases:
        flat = sides.sel(component=["plating side"]) - morphometry.volumes(labels, phases).sel(
            component="dendrite", drop=True
        )
        flat = flat.assign_coords(component=["plating side without dendrites"])
        yield flat.assign_attrs(long_name="plating side - dendrite"), spread(flat, "plating side", "dendrite")


def measure_truth(task: Task) -> None:
    """The same quantities of the true labels."""
    labels = labels_on_grid(task, task.parameters["truth"], key="truth", frame=task.parameters["truth_frame"])
    phases = PhaseScheme(task.parameters["phases"])
    rows = measured(labels, phases, task.parameters["plating_side"])
    write_table(task, "truth.parquet", quantity_table(rows))
