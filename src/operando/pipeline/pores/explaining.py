"""Whether the ceramic explains the current, and the ledger of everything that was measured."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando import io, morphometry
from operando.core.axes import voxel_volume
from operando.core.errors import InputError
from operando.core.phases import CERAMIC_CELL
from operando.core.quantities import interval, quantity_table
from operando.pipeline.pores.measuring import cycle_in, plain
from operando.pipeline.scans.inputs import times
from operando.pipeline.step import Task
from operando.pipeline.storage import read_dataset, read_image, read_table, write_dataset, write_table

_SIDES = ("low", "high")
_FEWEST_BLOCKS = 10
MOST_TILES = 900  # per map: the regression holds 24 matrices of tiles x tiles, and takes time with their square
ALL_STEPS = -1
"""Scan of the rows about all steps together."""


def explain(task: Task) -> None:
    """Regress the current of each step, and of all together, on the ceramic beneath as it was before the step."""
    current, beneath = read_dataset(task.path("current.zarr")), read_dataset(task.path("beneath.zarr"))
    maps = {"current": current["current_density"]}
    if task.parameters["truth_current"] is not None:
        told = io.open_image(task.parameters["truth_current"]).load()
        maps["true current"] = told.isel(t=slice(1, None)).assign_coords(t=current["t"], step=current["step"])
    averaged = {name: on_tiles(values, beneath["porosity"]) for name, values in maps.items()}
    write_dataset(task, "current-tiles.zarr", xr.Dataset({name: plain(values) for name, values in averaged.items()}))
    # What the current of a step met is the ceramic of the scan before it.
    before = beneath[_predictors(beneath)].isel(t=slice(0, -1)).drop_vars("step", errors="ignore")
    before = before.assign_coords(t=current["t"])
    merged = math.ceil(math.sqrt(beneath.sizes["y"] * beneath.sizes["x"] / MOST_TILES))
    if merged > 1:
        task.say(f"{beneath.sizes['y']} x {beneath.sizes['x']} tiles are merged {merged} x {merged} for the regression")
    across = [beneath.sizes[dim] // merged for dim in ("y", "x")]
    # Blocks of 2 x 2 tiles, or single tiles where there would be too few to permute.
    block = 2 if math.prod(size // 2 for size in across) >= _FEWEST_BLOCKS else 1
    tables = []
    for name, tiles in averaged.items():
        along = (tiles * current["direction"]).drop_vars("step").assign_attrs(units="mA cm-2").rename(name)
        for scan in (*range(tiles.sizes["t"]), None):
            if scan is None and tiles.sizes["t"] == 1:
                continue
            chosen = {} if scan is None else {"t": scan}
            dims = [dim for dim in ("t", "component", "y", "x") if dim not in chosen]
            try:
                found = morphometry.spatial_regression(
                    _merged(along.isel(chosen, drop=True), merged).transpose(*dims),
                    {
                        str(what): _merged(before[what].isel(chosen, drop=True), merged).transpose(*dims)
                        for what in before
                    },
                    block=block,
                    permutations=task.parameters["permutations"],
                    seed=task.parameters["seed"] + (tiles.sizes["t"] if scan is None else scan),
                )
            except InputError as error:
                # Too few tiles, or none that vary: no reason to lose what else was found.
                task.say(f"{name} of {'all steps' if scan is None else f'step {scan + 1}'} is not tested: {error}")
                continue
            found = pd.concat([found, _alone(found)], ignore_index=True)
            at = {"scan": ALL_STEPS, "t": np.nan} if scan is None else {"scan": scan + 1, "t": float(tiles["t"][scan])}
            tables.append(found.assign(**at))
    write_table(task, "explained.parquet", pd.concat(tables, ignore_index=True) if tables else quantity_table([]))


def _predictors(beneath: xr.Dataset) -> list[str]:
    """Tortuosity factor, or where it is infinite in some tile the conductivity, which is 0 there; porosity; modulus."""
    dead = bool(np.isinf(beneath["tortuosity"]).any())
    wanted = ("conductivity" if dead else "tortuosity", "porosity", "modulus")
    return [name for name in wanted if name in beneath]


def _merged(tiles: xr.DataArray, factor: int) -> xr.DataArray:
    """Means over squares of tiles, so that a large field stays within what the regression can hold."""
    if factor == 1:
        return tiles
    mean = tiles.coarsen(y=factor, x=factor, boundary="trim").mean()
    for dim in ("y", "x"):
        mean[dim].attrs |= {**tiles[dim].attrs, "spacing": factor * float(np.diff(tiles[dim])[0])}
    return mean.assign_attrs(tiles.attrs)


def _alone(found: pd.DataFrame) -> pd.DataFrame:
    """Effect of each predictor without the others, from its correlation: what collinear predictors leave to compare."""
    spread = float(found.loc[found["quantity"] == "response sd", "value"].iloc[0])
    alone = found[found["quantity"] == "pearson"]
    return alone.assign(quantity="effect alone", value=alone["value"] * spread, sigma=alone["sigma"] * spread, unit="%")


def on_tiles(values: xr.DataArray, like: xr.DataArray) -> xr.DataArray:
    """Means over the tiles of another map, whose first tile begins with the first voxel."""
    counts = {}
    for dim in ("y", "x"):
        edge = float(like[dim].attrs["spacing"]) if "spacing" in like[dim].attrs else float(np.diff(like[dim])[0])
        voxel = float(np.diff(values[dim])[0])
        counts[dim] = round(edge / voxel)
    mean = values.coarsen(counts, boundary="trim").mean()
    mean = mean.isel(y=slice(like.sizes["y"]), x=slice(like.sizes["x"]))
    return mean.assign_coords(y=like["y"], x=like["x"]).assign_attrs(values.attrs)


def account(task: Task) -> None:
    """Put the ledger together: lithium, pores, thickness, current beside coulombs, ceramic, and what explains what."""
    labels = read_image(task, "labels.zarr")
    names = ("porosity-labels", "pore-sizes", "current", "critical", "microstructure", "explained")
    tables = [_lithium(task, labels), *(read_table(task.path(f"{name}.parquet")) for name in names)]
    ledger = pd.concat([table for table in tables if len(table)], ignore_index=True)
    # Maps of the current count hours with current; in the ledger a scan has one time, that of the scan.
    clock = times(labels)
    scanned = ledger["scan"] >= 0
    ledger.loc[scanned, "t"] = np.nan if clock is None else clock[ledger.loc[scanned, "scan"]]
    write_table(task, "ledger.parquet", ledger)
    write_table(task, "ledger.csv", interval(ledger))


def _lithium(task: Task, labels: xr.DataArray) -> pd.DataFrame:
    """Volume of lithium in either electrode."""
    cycle, voxel = cycle_in(task, labels), voxel_volume(labels)
    middle = float(labels["z"].mean())
    sides = {"low": labels["z"] < middle, "high": labels["z"] >= middle}
    hours = cycle.hours if cycle.hours is not None else np.full(len(cycle.names), np.nan)
    porosity = read_table(task.path("porosity-labels.parquet")).query("quantity == 'porosity'")
    rows: list[dict[str, Any]] = []
    for scan in range(len(cycle.names)):
        for side, half in sides.items():
            count = int((labels.isel(t=scan).isel(z=np.flatnonzero(half.values)) == CERAMIC_CELL["electrode"]).sum())
            here = porosity[(porosity["scan"] == scan) & (porosity["component"] == side)].iloc[0]
            common = {"scan": scan, "t": float(hours[scan]), "component": side}
            total = count * voxel / (1 - here["value"]) if here["value"] < 1 else np.nan
            rows.append(
                {
                    **common,
                    "quantity": "lithium volume",
                    "value": count * voxel,
                    "sigma": total * here["sigma"],
                    "unit": "um3",
                    "n": count,
                    "method": "voxel count; sigma from that of the porosity",
                }
            )
    return quantity_table(rows)


def summary_tables(folder: Any) -> dict[str, list[dict[str, Any]]]:
    """The few numbers a terminal shows."""
    ledger = read_table(folder / "ledger.parquet")
    names = _names(folder)
    near = ledger[ledger["quantity"] == "porosity near the interface"]
    tables: dict[str, list[dict[str, Any]]] = {
        "porosity of lithium near the interface (+- one sigma)": [
            {
                "step": names.get(scan, str(scan)),
                **{
                    key: value
                    for side in _SIDES
                    for key, value in _cells(near[(near["scan"] == scan) & (near["component"] == side)], side).items()
                },
            }
            for scan in sorted(near["scan"].unique())
        ]
    }
    closing = ledger[ledger["quantity"].isin(["image current without pores", "applied current", "current mismatch"])]
    if len(closing):
        tables["current (mA)"] = [
            {
                "step": names.get(scan, str(scan)),
                "electrode": side,
                "image": _value(rows, "image current without pores"),
                "applied": _value(rows, "applied current"),
                "mismatch": _value(rows, "current mismatch"),
                "+-": float(rows.loc[rows["quantity"] == "current mismatch", "sigma"].iloc[0]),
            }
            for (scan, side), rows in closing.groupby(["scan", "component"])
            if side in _SIDES
        ]
    responses = ledger["component"].str.split("~", n=1)
    tests = ledger.assign(response=responses.str[0], of=responses.str[-1])
    for response, rows in tests[tests["quantity"] == "effect alone"].groupby("response", sort=False):
        own = tests[tests["response"] == response]
        tables[f"{response}: change per standard deviation of the ceramic beneath (%), and p-values"] = [
            {
                "step": names.get(scan, str(scan)),
                **{
                    key: value
                    for name in dict.fromkeys(rows["of"])
                    for key, value in (
                        (name, _of(own, scan, name, "effect alone")),
                        (f"p ({name})", _of(own, scan, name, "pearson p-value")),
                    )
                },
                "p (all together)": _of(own, scan, "all", "p-value"),
            }
            for scan in sorted(rows["scan"].unique(), key=lambda scan: (scan == ALL_STEPS, scan))
        ]
    return tables


def _names(folder: Any) -> dict[Any, str]:
    steps = read_dataset(folder / "tiles.zarr")["step"].values.tolist()
    return {ALL_STEPS: "all steps", **{scan: str(name) for scan, name in enumerate(steps)}}


def _cells(rows: pd.DataFrame, side: str) -> dict[str, float]:
    if rows.empty:
        return {}
    return {side: float(rows["value"].iloc[0]), f"+- ({side})": float(rows["sigma"].iloc[0])}


def _value(rows: pd.DataFrame, quantity: str) -> float:
    found = rows.loc[rows["quantity"] == quantity, "value"]
    return float(found.iloc[0]) if len(found) else float("nan")


def _of(rows: pd.DataFrame, scan: int, name: str, quantity: str) -> float:
    return _value(rows[(rows["scan"] == scan) & (rows["of"] == name)], quantity)
