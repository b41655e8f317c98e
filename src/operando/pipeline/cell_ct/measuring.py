"""What the labels measure, with its uncertainty."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from operando import morphometry
from operando.core.axes import voxel_volume
from operando.core.phases import PhaseScheme
from operando.core.quantities import quantity_table, rows_from_array
from operando.morphometry.uncertainty import FLIP_SHARE, LITHIUM, SCATTER_VOXELS, SHIFT_VOXELS
from operando.pipeline.cell_ct.images import annotations_of, labels_on_grid
from operando.pipeline.step import Task
from operando.pipeline.storage import read_image, read_json, write_json, write_table

INTERFACE = "interface.json"
"""Where a model carries how far its interfaces are off."""


def measure(task: Task) -> None:
    """Volumes, thicknesses, coverages and maps, with how sure they are."""
    phases = PhaseScheme(task.parameters["phases"])
    side = task.parameters["plating_side"]
    labels = read_image(task, "labels.zarr")
    interface = None
    if task.parameters["interface_sigma_voxels"] is not None:
        interface = stated_interface(labels, phases, task.parameters["interface_sigma_voxels"])
    elif task.parameters["annotations"] is not None and task.parameters["model"] is not None:
        # Nothing was trained on these annotations: all of them tell how far off the model is on this cell.
        marks, annotated, _ = annotations_of(task)
        interface = morphometry.interface_error(labels.isel(t=annotated), marks.isel(t=annotated), phases)
    else:
        model = task.parameters["model"] or (task.path("model") if "model" in task.step.inputs else None)
        if model is not None and (Path(model) / INTERFACE).exists():
            interface = known_interface(read_json(Path(model) / INTERFACE), phases, edge_um=edge_um(labels))
    task.progress(0, 2)
    sigma = morphometry.segmentation_sigma(labels, phases, plating_side=side, interface=interface)
    task.progress(1, 2)
    rows = measured(labels, phases, side, sigma=sigma)
    write_table(task, "quantities.parquet", quantity_table(rows))
    write_json(task, "uncertainty.json", sigma.assign_attrs(roi_area_um2=morphometry.roi_area(labels)).to_dict())
    used = None if interface is None else interface.to_dict()
    write_json(task, "interface.json", used)


def edge_um(image: xr.DataArray) -> float:
    """Edge in um of a cube with the volume of a voxel."""
    return voxel_volume(image, where="measure") ** (1 / 3)


def known_interface(found: dict[str, Any], phases: PhaseScheme, *, edge_um: float) -> xr.Dataset | None:
    """What a model was found to be off by, unless it knows other phases; it is off by voxels, not by um."""
    found.pop("scans", None)
    scale = edge_um / found.pop("edge_um")
    error = xr.Dataset.from_dict(found)
    for name in ("shift", "systematic", "random"):
        # Where nothing was measured JSON holds null, which is no number yet.
        error[name] = error[name].astype(float) * scale
    return error if set(phases) <= set(error.coords["component"].values.tolist()) else None


def stated_interface(labels: xr.DataArray, phases: PhaseScheme, shift_voxels: float) -> xr.Dataset:
    """The interface error a recipe states instead of measuring it: in voxel edges, for every component."""
    names = [*phases, LITHIUM]
    edge = edge_um(labels)
    ratio = SCATTER_VOXELS / SHIFT_VOXELS
    sizes = {"systematic": shift_voxels * edge, "random": ratio * shift_voxels * edge, "flips": FLIP_SHARE}
    return xr.Dataset(
        {name: ("component", np.full(len(names), size)) for name, size in sizes.items()}, coords={"component": names}
    )


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
