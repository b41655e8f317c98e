"""The ledger: volumes beside coulombs, and beside the truth where there is one."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from operando import electrochemistry
from operando.core.quantities import interval
from operando.pipeline.scans.inputs import read_cycler
from operando.pipeline.scans.settings import Inputs
from operando.pipeline.step import Task
from operando.pipeline.storage import read_json, read_small_dataset, read_table, write_table

_CURRENT = ("time_h", "current_ma", "voltage_v")
_ACCOUNTED = ("plating side", "stripping side", "inactive", "deposited", "dendrite", "redeposited")


def account(task: Task) -> None:
    """Put the ledger together: what was measured, its changes, and the coulombs beside them."""
    inputs, cell = Inputs(**task.parameters["inputs"]), task.parameters["cell"]
    table = read_table(task.path("quantities.parquet"))
    current = pd.DataFrame({"time_h": [], "current_ma": []}, dtype=float)
    if inputs.cycler is not None:
        current = read_cycler(inputs)
        spread = read_small_dataset(task.path("uncertainty.json"))
        changes = partial(ledger_rows, current=current, cell=cell, area_um2=float(spread.attrs["roi_area_um2"]))
        table = pd.concat([table, changes(table, spread=spread)], ignore_index=True)
    table = pd.concat([table, read_table(task.path("spatial.parquet"))], ignore_index=True)
    if task.parameters["truth"]:
        truth = read_table(task.path("truth.parquet"))
        if inputs.cycler is not None:
            truth = pd.concat([truth, changes(truth)], ignore_index=True)
        truth = pd.concat([truth, read_table(task.path("spatial-truth.parquet"))], ignore_index=True)
        write_table(task, "comparison.parquet", with_truth(table, truth))
    write_table(task, "ledger.parquet", table)
    write_table(task, "ledger.csv", interval(table))
    write_table(task, "current.parquet", current[[name for name in current if name in _CURRENT]])


def ledger_rows(
    table: pd.DataFrame,
    *,
    current: pd.DataFrame,
    cell: dict[str, Any],
    area_um2: float,
    spread: xr.Dataset | None = None,
) -> pd.DataFrame:
    """What the volumes of a table gained and lost, beside the charge of the field of view."""
    volumes = table[table["quantity"] == "volume"]
    times = volumes.drop_duplicates("scan").sort_values("scan")["t"].to_numpy()
    names = [name for name in _ACCOUNTED if name in set(volumes["component"])]

    def array(column: str) -> xr.DataArray:
        wide = volumes.pivot_table(index="scan", columns="component", values=column, dropna=False)[names]
        coords = {"t": times, "component": names}
        return xr.DataArray(wide.to_numpy(), dims=("t", "component"), coords=coords, attrs={"units": "um3"})

    # Of the charge of the whole cell, the field of view has its share of the area.
    share = 1.0 if cell["active_area_cm2"] is None else area_um2 / (1e8 * cell["active_area_cm2"])
    charge = electrochemistry.charge_between(current, times, accuracy=cell["current_accuracy"])
    charge = (charge * share).assign_coords(sigma=charge.coords["sigma"] * share).assign_attrs(charge.attrs)
    common = None
    if spread is not None:
        common = spread["systematic"].sel(component=names).assign_coords(t=times)
    return electrochemistry.ledger(
        array("value"),
        charge,
        area_um2=area_um2,
        sigma=None if spread is None else array("sigma"),
        systematic=common,
        specific_capacity_mah_g=cell["specific_capacity_mah_g"],
        density_g_cm3=cell["density_g_cm3"],
    )


_KEY = ["scan", "component", "quantity"]


def with_truth(table: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """The ledger with the true value beside each row, and whether the interval holds it."""
    known = truth[[*_KEY, "value"]].rename(columns={"value": "truth"})
    joined = interval(table.merge(known, on=_KEY, how="left"))
    inside = (joined["truth"] >= joined["low"] - 1e-9) & (joined["truth"] <= joined["high"] + 1e-9)
    judged = joined["truth"].notna() & joined["sigma"].notna()
    return joined.drop(columns=["low", "high"]).assign(covered=inside.where(judged).astype("boolean"))


JUDGED = ("volume", "coverage", "balance", "cumulative")
"""Quantities whose intervals come from the labels; thickness and capacity are volumes in another unit."""


def judged_rows(comparison: pd.DataFrame) -> pd.DataFrame:
    """Rows whose interval either holds the truth or does not."""
    return comparison[comparison["quantity"].isin(JUDGED) & comparison["covered"].notna()]


def summary_tables(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Agreement and the ledger of the last scan, for the terminal."""
    tables: dict[str, list[dict[str, Any]]] = {}
    path = folder / "agreement.json"
    scores = read_json(path) if path.exists() else {}
    if scores:
        names = [name for name in ("network", "otsu") if name in scores]
        rows = [
            {"phase": phase, **{name: scores[name]["iou"][phase] for name in names}}
            for phase in scores[names[0]]["iou"]
        ]
        for key, label in (("macro", "macro"), ("total", "total (Huang)")):
            rows.append({"phase": label, **{name: scores[name][key] for name in names}})
        tables[f"IoU on scans {scores['scans']} against {scores['against']}"] = rows
    compared = (folder / "comparison.parquet").exists()
    ledger = read_table(folder / ("comparison.parquet" if compared else "ledger.parquet"))
    last = ledger[(ledger["scan"] == ledger["scan"].max()) & ledger["quantity"].isin(["volume", "cumulative"])]
    rows = []
    for row in last.to_dict("records"):
        shown = {"quantity": row["quantity"], "component": row["component"], "um3": row["value"]}
        shown["+-"] = 1.96 * row["sigma"]
        if compared:
            shown["truth"] = row["truth"]
        rows.append(shown)
    tables[f"ledger, scan {int(ledger['scan'].max())} (95 % intervals)"] = rows
    if compared:
        judged = judged_rows(ledger)["covered"]
        share = 100 * float(judged.mean())
        tables["truth inside its interval"] = [{"rows": len(judged), "inside": int(judged.sum()), "percent": share}]
    return tables
