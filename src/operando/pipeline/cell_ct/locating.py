"""Where the lithium is: maps in the plane, voids, displacement, and what goes with what."""

from __future__ import annotations

from typing import Any

import pandas as pd
import xarray as xr

from operando import io, morphometry
from operando.core.phases import PhaseScheme
from operando.core.quantities import quantity_table, rows_from_array
from operando.pipeline.scans.images import labels_on_grid
from operando.pipeline.step import Task
from operando.pipeline.storage import dump_json, read_image, write_image, write_table

_TRAVELING = {"deposited", "dendrite", "redeposited"}


def locate(task: Task) -> None:
    """Flatten every component, and measure voids, displacement, filling and colocalization."""
    phases = PhaseScheme(task.parameters["phases"])
    labels = read_image(task, "labels.zarr")
    write_image(task, "maps.zarr", _marked(morphometry.thickness_map(labels, phases), labels), labels=False)
    task.progress(1, 3)
    half = half_cycle(labels, phases)
    last = labels.sizes["t"] - 1
    with task.writing("spatial") as folder:
        folder.mkdir()
        for name, image in _pictures(labels, phases, half=half).items():
            io.save_image(_marked(image, labels), folder / f"{name}.zarr", labels=False)
        dump_json(folder / "states.json", {"pristine": 0, "half cycle": half, "full cycle": last})
    task.progress(2, 3)
    write_table(task, "spatial.parquet", spatial_table(labels, phases, half=half))


def _marked(image: xr.DataArray, labels: xr.DataArray) -> xr.DataArray:
    return image.assign_attrs(simulated=bool(labels.attrs.get("simulated", False)))


def _pictures(labels: xr.DataArray, phases: PhaseScheme, *, half: int | None) -> dict[str, xr.DataArray]:
    """What a series has to show: edges always, the others where a charge was followed by a discharge."""
    made = {"edges": morphometry.electrode_edges(labels, phases=phases)}
    if half is None or half == labels.sizes["t"] - 1:
        return made
    if "redeposited" in phases:
        made["unfilled"] = morphometry.unfilled_pits(labels, phases, half_cycle=half)
        made["voids"] = morphometry.void_depth(labels, phases)
    if set(phases) >= _TRAVELING:
        made["traveling"] = morphometry.traveling_lithium(labels, phases, first=half)
    return made


def locate_truth(task: Task) -> None:
    """The same rows of the true labels."""
    labels = labels_on_grid(task, task.parameters["truth"], key="truth", frame=task.parameters["truth_frame"])
    labels = labels.assign_attrs(plating_side=task.parameters["plating_side"])
    phases = PhaseScheme(task.parameters["phases"])
    write_table(task, "spatial-truth.parquet", spatial_table(labels, phases, half=half_cycle(labels, phases)))


def half_cycle(labels: xr.DataArray, phases: PhaseScheme) -> int | None:
    """The scan with the most pits, where there are any: the end of the charge."""
    if "pit" not in phases or labels.sizes["t"] < 2:
        return None
    pits = morphometry.volumes(labels, phases).sel(component="pit").values
    return int(pits.argmax()) if pits.max() > 0 else None


def spatial_table(labels: xr.DataArray, phases: PhaseScheme, *, half: int | None) -> pd.DataFrame:
    """Rows for contact, filling, displacement, swelling and colocalization, as far as the series has them."""
    rows: list[dict[str, Any]] = []
    tables: list[pd.DataFrame] = []
    has_lithium = {"pit", "redeposited"} <= set(phases)
    if has_lithium:
        contact = morphometry.contact_area(labels, phases)
        rows += rows_from_array(
            contact, quantity="area fraction", method="share of the columns that hold the electrode"
        )
    if labels.sizes["t"] > 1:
        if half is not None and has_lithium:
            unfilled = morphometry.unfilled_area(labels, phases, half_cycle=half)
            rows += rows_from_array(unfilled, quantity="area fraction", method="share of all columns")
        tables.append(morphometry.swelling(labels, phases))
        pairs = [name for name in ("deposited", "dendrite") if name in phases and "pit" in phases]
        if pairs:
            pit = morphometry.flatten(labels, "pit", phases=phases).compute()
        for name in pairs:
            other = morphometry.flatten(labels, name, phases=phases).compute()
            tables.append(morphometry.colocalize(pit, other, component=f"pit~{name}"))
        if half is not None and half < labels.sizes["t"] - 1 and set(phases) >= _TRAVELING:
            tables.append(morphometry.traveling_colocalization(labels, phases, first=half))
    return pd.concat([quantity_table(rows), *tables], ignore_index=True)
