"""Pores in lithium and in the ceramic: porosity by place, depth and step, with what it rests on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando import morphometry
from operando.core.phases import CERAMIC_CELL
from operando.core.quantities import quantity_table, rows_from_array
from operando.pipeline.pores.cycle import Cycle, cycle_of
from operando.pipeline.pores.segmenting import boundaries_of
from operando.pipeline.pores.settings import Cell, Measure
from operando.pipeline.scans.images import labels_on_grid
from operando.pipeline.scans.settings import Inputs
from operando.pipeline.step import Task
from operando.pipeline.storage import (
    read_image,
    read_json,
    small_dataset,
    write_dataset,
    write_image,
    write_table,
)

IN_LITHIUM: dict[str, Any] = {"pore": "pore", "solid": "electrode"}
IN_CERAMIC: dict[str, Any] = {"pore": "electrolyte_pore", "solid": "electrolyte"}
NEAR = "porosity near the interface"
_MOST_MODES, _TILES_PER_MODE = 5, 4
_EVERYTHING_UM = 1e6  # deeper than any electrode


def cycle_in(task: Task, like: xr.DataArray) -> Cycle:
    """The steps, from the record and the settings of a task."""
    area = float(np.prod([like.sizes[dim] * float(like[dim].attrs["spacing"]) for dim in ("y", "x")]))
    return cycle_of(Inputs(**task.parameters["record"]), Cell(**task.parameters["cell"]), like, area_um2=area)


def measure(task: Task) -> None:
    """Porosity of both electrodes from the labels, and from Otsu's and the true ones beside them."""
    how = Measure(**task.parameters["measure"])
    labels, boundaries = read_image(task, "labels.zarr"), boundaries_of(task)
    cycle = cycle_in(task, labels)
    chance = read_image(task, "probability.zarr") if "probability.zarr" in task.step.inputs else None
    errors = None
    if "training.json" in task.step.inputs:
        # On slices of the same electrode and step: of others it may err more, and more alike.
        errors = small_dataset(read_json(task.path("training.json"))["residuals"])
    methods = {"labels": labels, "otsu": read_image(task, "otsu.zarr")}
    if task.parameters["truth"] is not None:
        methods["truth"] = labels_on_grid(task, task.parameters["truth"], key="truth").assign_coords(labels.coords)
    profiles: dict[str, xr.DataArray] = {}
    for number, (method, array) in enumerate(methods.items()):
        task.progress(number, len(methods) + 1)
        common: dict[str, Any] = {
            # The truth has interfaces of its own.
            "boundaries": None if method == "truth" else boundaries,
            "probability": chance if method == "labels" else None,
            "residuals": errors if method == "labels" and chance is not None else None,
            **IN_LITHIUM,
        }
        near = morphometry.near_interface_porosity(array, CERAMIC_CELL, depth_um=how.near_interface_um, **common)
        whole = morphometry.near_interface_porosity(array, CERAMIC_CELL, depth_um=_EVERYTHING_UM, **common)
        rows = [*_rows(whole, "porosity", method), *_rows(near, NEAR, method)]
        write_table(task, f"porosity-{method}.parquet", quantity_table(rows))
        if method == "labels":
            doubt = plain(cycle.stepped(whole.coords["sigma_segmentation"]))
            write_dataset(task, "doubt.zarr", xr.Dataset({"whole": doubt}))
        if method != "otsu":
            profile = cycle.stepped(morphometry.porosity_profile(array, CERAMIC_CELL, bin_um=how.bin_um, **common))
            profiles |= {method: plain(profile), f"{method}_sigma": plain(profile.coords["sigma"])}
    deepest = max(profile.sizes["depth"] for profile in profiles.values())
    padded = {name: profile.pad(depth=(0, deepest - profile.sizes["depth"])) for name, profile in profiles.items()}
    depth = max((profile["depth"] for profile in profiles.values()), key=lambda coordinate: coordinate.size)
    same = {name: profile.assign_coords(depth=depth) for name, profile in padded.items()}
    write_dataset(task, "profiles.zarr", xr.Dataset(same))
    task.progress(len(methods), len(methods) + 1)
    _map_pores(task, labels, boundaries, cycle, how)


def plain(values: xr.DataArray) -> xr.DataArray:
    """An array as a Dataset takes it: its own coordinates, the names of the steps, and attributes that Zarr knows."""
    kept = {dim: values.coords[dim] for dim in values.dims if dim in values.coords}
    if "step" in values.coords:
        kept["step"] = values.coords["step"]
    attrs = {key: value for key, value in values.attrs.items() if isinstance(value, (str, int, float))}
    return xr.DataArray(values.data, dims=values.dims, coords=kept, attrs=attrs)


def _rows(values: xr.DataArray, quantity: str, method: str) -> list[dict[str, Any]]:
    """Rows of both electrodes and all steps."""
    how = {"labels": "voxel count", "otsu": "voxel count, Otsu's threshold", "truth": "voxel count, truth"}[method]
    return rows_from_array(values, quantity=quantity, sigma=values.coords["sigma"], n=values.coords["n"], method=how)


def _map_pores(task: Task, labels: xr.DataArray, boundaries: xr.DataArray, cycle: Cycle, how: Measure) -> None:
    """Maps of the porosity of lithium and their changes, modes of its distribution, and the pores one by one."""
    common: dict[str, Any] = {"boundaries": boundaries, **IN_LITHIUM}
    columns = morphometry.porosity_map(labels, CERAMIC_CELL, **common)
    write_image(task, "columns.zarr", columns.astype(np.float32), labels=False)
    tiles = morphometry.porosity_map(labels, CERAMIC_CELL, tile_um=how.tile_um, **common)
    write_dataset(task, "tiles.zarr", xr.Dataset({"porosity": plain(cycle.stepped(tiles))}))
    change = morphometry.porosity_difference(labels, CERAMIC_CELL, tile_um=how.tile_um, **common)
    write_dataset(task, "changes.zarr", xr.Dataset({str(name): plain(cycle.stepped(change[name])) for name in change}))
    _find_modes(task, tiles)
    found = morphometry.pores(labels, CERAMIC_CELL, min_voxels=how.smallest_pore_voxels, **common)
    table = found.drop_vars("volume_searched").to_dataframe().reset_index(drop=True)
    write_table(task, "pores.parquet", table)
    write_table(task, "pore-sizes.parquet", quantity_table(_size_rows(found, cycle, seed=task.parameters["seed"])))


def _size_rows(found: xr.Dataset, cycle: Cycle, *, seed: int) -> list[dict[str, Any]]:
    """Diameter and number of the pores, weighted for those that the border cuts, with sigmas from lateral blocks."""
    size = morphometry.pore_size(found, seed=seed)
    n = size["count"]
    rows: list[dict[str, Any]] = []
    for name, quantity, unit in (
        ("mean_diameter", "pore diameter", "um"),
        ("median_diameter", "median pore diameter", "um"),
        ("number_density", "pores per volume", "um-3"),
    ):
        values = cycle.stepped(size[name].transpose("t", "component")).assign_attrs(units=unit)
        sigma = size[f"{name}_sigma"].transpose("t", "component")
        rows += rows_from_array(values, quantity=quantity, sigma=sigma, n=n, method="ball of equal volume")
    return rows


def _find_modes(task: Task, tiles: xr.DataArray) -> None:
    """The mixture of normal distributions that the porosities of the tiles ask for, by step and electrode."""
    rows = []
    for scan in range(tiles.sizes["t"]):
        for side in tiles["component"].values.tolist():
            values = tiles.isel(t=scan).sel(component=side, drop=True).transpose("y", "x")
            most = min(_MOST_MODES, int(np.isfinite(values).sum()) // _TILES_PER_MODE)
            if most < 1:
                continue
            found = morphometry.porosity_modes(values, max_modes=most, seed=task.parameters["seed"])
            for number in range(found.sizes["component"]):
                one = {name: float(found[name][number]) for name in ("weight", "mean", "sigma")}
                rows.append({"scan": scan, "component": side, "modes": int(found["modes"]), **one})
    columns = ["scan", "component", "modes", "weight", "mean", "sigma"]
    write_table(task, "modes.parquet", pd.DataFrame(rows, columns=columns))
