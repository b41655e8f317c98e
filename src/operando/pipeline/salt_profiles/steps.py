"""The steps of recipe ``salt-profiles``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from operando import dendrites, io
from operando.core.quantities import interval
from operando.pipeline.salt_profiles.comparing import depletion_rows, displaced_slope, scalar_rows
from operando.pipeline.salt_profiles.inputs import (
    initial_concentration,
    open_profiles,
    profile_hours,
    read_cycler,
    supplied_diffusivity,
)
from operando.pipeline.salt_profiles.measuring import at_electrodes, series_rows
from operando.pipeline.salt_profiles.page import make_report
from operando.pipeline.salt_profiles.settings import Cycler, Electrolyte, Measure, Profiles, SaltProfiles
from operando.pipeline.step import Step, Task
from operando.pipeline.storage import read_dataset, read_json, read_table, write_dataset, write_json, write_table

_BYTES = 400_000_000
_SECONDS_PER_FIT = 25  # 46 profiles of 256 points, measured


def make_steps(settings: SaltProfiles, workers: int) -> list[Step]:
    """The steps of a recipe whose faults have been mended."""
    files = [path for _, path in io.numbered_files(settings.profiles.folder)][: settings.profiles.count]
    profiles, cycler, electrolyte = settings.profiles, settings.cycler, settings.electrolyte
    fits = ("fitted.zarr",) if electrolyte.diffusivity is None else ("supplied.zarr", "fitted.zarr")
    return [
        Step(
            name="read",
            title="Profiles to salt, cycler to one clock",
            function=_read,
            outputs=("salt.zarr", "cycler.parquet", "clock.json"),
            files=(*files, Path(cycler.file)),
            parameters={
                "profiles": profiles.model_dump(),
                "cycler": cycler.model_dump(),
                "electrolyte": electrolyte.model_dump(include={"concentration_mol_l", "eo_per_li"}),
            },
            bytes_in_memory=_BYTES,
            bytes_on_disk=2_000_000,
            seconds=2,
        ),
        Step(
            name="measure",
            title="Salt, gradient and stage at both electrodes",
            function=_measure,
            inputs=("salt.zarr", "cycler.parquet", "clock.json"),
            outputs=("measured.zarr", "slope.json"),
            parameters={"measure": settings.measure.model_dump(), "temperature_k": electrolyte.temperature_k},
            bytes_in_memory=_BYTES,
            bytes_on_disk=100_000,
            seconds=2,
        ),
        Step(
            name="fit",
            title="Blurred diffusion, fitted to the profiles",
            function=_fit,
            inputs=("salt.zarr", "cycler.parquet", "clock.json", "measured.zarr"),
            outputs=fits,
            parameters={"electrolyte": electrolyte.model_dump()},
            bytes_in_memory=_BYTES,
            bytes_on_disk=1_000_000,
            seconds=_SECONDS_PER_FIT * len(fits),
        ),
        Step(
            name="compare",
            title="Time to depletion against Sand's time",
            function=_compare,
            inputs=("salt.zarr", "cycler.parquet", "measured.zarr", "slope.json", *fits),
            outputs=("times.parquet", "ledger.parquet", "ledger.csv"),
            parameters={"electrolyte": electrolyte.model_dump()},
            bytes_in_memory=_BYTES,
            bytes_on_disk=200_000,
            seconds=2,
        ),
        Step(
            name="report",
            title="Write the report",
            function=make_report,
            inputs=(
                "salt.zarr",
                "cycler.parquet",
                "measured.zarr",
                "slope.json",
                *fits,
                "times.parquet",
                "ledger.parquet",
            ),
            outputs=("report.html", "figures"),
            parameters={"settings": settings.model_dump(mode="json")},
            bytes_in_memory=_BYTES,
            bytes_on_disk=3_000_000,
            seconds=8,
        ),
    ]


def _read(task: Task) -> None:
    cycler = Cycler(**task.parameters["cycler"])
    signal = open_profiles(Profiles(**task.parameters["profiles"]))
    record = read_cycler(cycler)
    initial = initial_concentration(Electrolyte(**task.parameters["electrolyte"]))
    salt = dendrites.salt_concentration(
        signal, concentration=initial, use_first=task.parameters["profiles"]["use_first"]
    )
    write_dataset(task, "salt.zarr", salt)
    write_table(task, "cycler.parquet", record)
    write_json(task, "clock.json", {"t_h": profile_hours(signal, record, cycler)})


def _clock(task: Task) -> Any:
    import numpy as np

    return np.array(read_json(task.path("clock.json"))["t_h"])


def _measure(task: Task) -> None:
    salt, record = read_dataset(task.path("salt.zarr")), read_table(task.path("cycler.parquet"))
    measure = Measure(**task.parameters["measure"])
    measured = at_electrodes(salt, _clock(task), record, measure, temperature_k=task.parameters["temperature_k"])
    write_dataset(task, "measured.zarr", measured)
    write_json(task, "slope.json", displaced_slope(measured))


def _fit(task: Task) -> None:
    salt, record = read_dataset(task.path("salt.zarr")), read_table(task.path("cycler.parquet"))
    diffusivity = supplied_diffusivity(Electrolyte(**task.parameters["electrolyte"]))
    plated = str(read_dataset(task.path("measured.zarr")).attrs["plated"])
    ways = {"supplied.zarr": "none", "fitted.zarr": "tilt"}
    end = float(record["time_h"].iloc[-1])
    for done, artifact in enumerate(task.step.outputs):
        task.progress(done, len(task.step.outputs))
        fit = dendrites.fit_salt_transport(
            salt,
            t_h=_clock(task),
            time_h=record["time_h"],
            current_ma=record["current_ma"],
            diffusivity=diffusivity,
            plated=plated,
            free=ways[artifact],
            # What happened after the record nobody knows.
            until_h=end,
        )
        write_dataset(task, artifact, fit)


def _fits(task: Task) -> tuple[xr.Dataset | None, xr.Dataset]:
    supplied = read_dataset(task.path("supplied.zarr")) if "supplied.zarr" in task.step.inputs else None
    return supplied, read_dataset(task.path("fitted.zarr"))


def _compare(task: Task) -> None:
    electrolyte = Electrolyte(**task.parameters["electrolyte"])
    salt, measured = read_dataset(task.path("salt.zarr")), read_dataset(task.path("measured.zarr"))
    record, slope = read_table(task.path("cycler.parquet")), read_json(task.path("slope.json"))
    supplied, fitted = _fits(task)
    guess = supplied_diffusivity(electrolyte)
    times = depletion_rows(measured, record, slope, None if electrolyte.diffusivity is None else guess, fitted, guess)
    scalars = scalar_rows(measured, salt, slope, supplied, fitted, electrolyte, times)
    ledger = pd.concat([series_rows(measured), times, scalars], ignore_index=True)
    write_table(task, "times.parquet", times)
    write_table(task, "ledger.parquet", ledger)
    write_table(task, "ledger.csv", interval(ledger))


def summary_tables(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Times to depletion and the numbers of the run, for the terminal."""
    times, ledger = read_table(folder / "times.parquet"), read_table(folder / "ledger.parquet")
    shown = times[times["quantity"] == "time to depletion"]
    scalars = ledger[(ledger["scan"] < 0) & ~ledger["quantity"].isin(times["quantity"])]
    return {
        "time to depletion": [
            {"way": row["component"], "h": row["value"], "+-": row["sigma"], "how": row["method"]}
            for row in shown.to_dict("records")
        ],
        "salt and transport (+- one sigma)": [
            {"of": row["component"], "quantity": row["quantity"], "value": row["value"], "+-": row["sigma"],
             "unit": row["unit"]}
            for row in scalars.to_dict("records")
        ],
    }  # fmt: skip
