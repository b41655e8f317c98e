"""Where the interface is, what the salt does there, and how fast the lithium grows."""

from __future__ import annotations

from typing import Any

import pandas as pd
import xarray as xr

from operando import dendrites
from operando.core.errors import InputError
from operando.core.quantities import quantity_table
from operando.pipeline.growth_rate.inputs import open_series
from operando.pipeline.growth_rate.settings import Experiment, Interface, Salt
from operando.pipeline.step import Task
from operando.pipeline.storage import read_dataset, read_image, write_dataset, write_image, write_table

UNKNOWN = "unknown"  # stage of an image whose salt could not be read
_REMEDY = (
    "In the recipe: interface.rule 'half level' for images without a bright line; interface.threshold, of 255; "
    "interface.missing; and of the experiment 'saturation' for gray values that do not end at 255, 'normal: x' where "
    "the metal lies at the left or the right."
)
_RULES = {"saturated line": "line", "half level": "edge"}


def trace(task: Task) -> None:
    """Interface and concentration of every image, one experiment after the other."""
    given = task.parameters
    how, salt = Interface(**given["interface"]), Salt(**given["salt"])
    experiments = [Experiment(**item) for item in given["experiments"]]
    for number, item in enumerate(experiments):
        series = open_series(item)
        try:
            found = dendrites.find_interface(
                series, how.threshold, rule=_RULES[how.rule], metal=how.metal, missing=how.missing
            )
            salted = dendrites.concentration(series, found, calibration=salt.calibration, smoothing=salt.smoothing)
        except InputError as error:
            raise type(error)(f"{item.name}: {error} {_REMEDY}") from error
        write_dataset(task, traced(number), found)
        write_image(task, salted_in(number), salted)
        broken, overhang = int(found["broken"].sum()), int(found["overhang"].sum())
        task.progress(number + 1, len(experiments), f"{item.name}: {broken} columns bridged, {overhang} overhung")


def traced(number: int) -> str:
    """The artifact that holds the interface of one experiment."""
    return f"interface-{number + 1}.zarr"


def salted_in(number: int) -> str:
    """The artifact that holds the concentration of one experiment."""
    return f"concentration-{number + 1}.zarr"


def measure(task: Task) -> None:
    """Features of every point and time, those of the last image too, and the rows of what grew."""
    given = task.parameters
    salt = Salt(**given["salt"])
    bounds: dict[str, Any] = {
        key: value
        for key, value in {"none_above": salt.partial_below, "full_below": salt.full_below}.items()
        if value is not None
    }
    tables, lasts, rows, traces = [], [], [], []
    experiments = [Experiment(**item) for item in given["experiments"]]
    for number, item in enumerate(experiments):
        found = read_dataset(task.path(traced(number)))
        surface = dendrites.surface_state(read_image(task, salted_in(number)), found, over_um=salt.over_um)
        salt_there = surface["concentration"].assign_coords(sigma=surface["concentration_sigma"].variable)
        stage = dendrites.depletion_stage(salt_there, missing="unknown", **bounds)
        whole = dendrites.features_table(
            found, surface, given["points"], experiment=item.name, stage=stage, include_last=True
        )
        # Growth may be unknown elsewhere, too, where an image was lost: only the last image has it still to come.
        last = whole["frame"] == found.sizes["t"] - 1
        units = whole.attrs["units"]
        tables.append(whole[whole["growth_rate_next"].notna()])
        lasts.append(whole[last])
        high = dendrites.height(found)
        traces.append(_over_time(item.name, found, high, surface, stage))
        rows += _grown(item, high)
        task.progress(number + 1, len(experiments), item.name)
    write_table(task, "features.parquet", _joined(tables, units))
    write_table(task, "next.parquet", _joined(lasts, units))
    write_table(task, "over-time.parquet", pd.concat(traces, ignore_index=True))
    velocities = dendrites.stage_velocities(_intervals(pd.concat(traces, ignore_index=True), units))
    write_table(task, "growth.parquet", pd.concat([quantity_table([]), *rows, velocities], ignore_index=True))


def _joined(tables: list[pd.DataFrame], units: dict[str, str]) -> pd.DataFrame:
    for table in tables:
        table.attrs = {}
    joined = pd.concat(tables, ignore_index=True)
    joined.attrs["units"] = units
    return joined


def _over_time(
    name: str, found: xr.Dataset, high: xr.DataArray, surface: xr.Dataset, stage: xr.DataArray
) -> pd.DataFrame:
    """Means along the interface, image by image."""
    rate = dendrites.growth_rate(high)
    salt = surface["concentration"].mean("x")
    return pd.DataFrame(
        {
            "experiment": name,
            "frame": range(high.sizes["t"]),
            "t_min": high["t"].values / 60.0,
            "stage": [UNKNOWN if number < 0 else dendrites.STAGES[number] for number in stage.values],
            "height": high.mean("x").values,
            "roughness": high.std("x").values,
            "growth_rate": rate.mean("x").values,
            "growth_rate_spread": rate.std("x").values,
            "concentration": salt.values,
            "concentration_spread": surface["concentration"].std("x").values,
            "concentration_gradient": surface["concentration_gradient"].mean("x").values,
            "broken": found["broken"].mean("x").values,
            "overhang": found["overhang"].mean("x").values,
        }
    )


def _intervals(over_time: pd.DataFrame, units: dict[str, str]) -> pd.DataFrame:
    """Mean growth rate of every interval, with the stage at its start: that of the first interval too."""
    following = over_time.groupby("experiment", sort=False)["growth_rate"].shift(-1)
    table = over_time[["experiment", "frame", "stage"]].assign(growth_rate_next=following)
    table.attrs["units"] = units
    return table


def _grown(item: Experiment, high: xr.DataArray) -> list[pd.DataFrame]:
    """Rows of one experiment: height and roughness of every image, growth beside Faraday's law."""
    common = {"component": item.name, "unit": "um", "n": high.sizes["x"]}
    rows: list[dict[str, Any]] = []
    for scan in range(high.sizes["t"]):
        one = high.isel(t=scan)
        at = {**common, "scan": scan, "t": float(one["t"]) / 3600.0}
        # Errors of neighboring columns are taken as wholly shared: the mean is no better than one of them.
        rows.append(
            {**at, "quantity": "interface height", "value": float(one.mean()), "sigma": float(one["sigma"].mean())}
        )
        rows.append({**at, "quantity": "interface roughness", "value": float(one.std())})
    tables = [quantity_table(rows)]
    if item.current_density:
        tables.append(dendrites.faraday_rows(high, current_density_ma_cm2=item.current_density, component=item.name))
    return tables
