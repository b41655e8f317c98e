"""What a finished run has to show, read once for all sections of its page."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd
import xarray as xr

from operando import dendrites
from operando.pipeline.growth_rate.growing import UNKNOWN, salted_in, traced
from operando.pipeline.growth_rate.inputs import open_series, open_truth
from operando.pipeline.growth_rate.settings import GrowthRate
from operando.pipeline.growth_rate.trusting import usable
from operando.pipeline.step import Task
from operando.pipeline.storage import FigureFolder, read_dataset, read_image, read_json, read_table


@dataclass(frozen=True)
class Shown:
    """Finished results of a run, and the book that its figures go into."""

    task: Task
    book: FigureFolder
    settings: GrowthRate
    series: dict[str, xr.DataArray]
    interfaces: dict[str, xr.Dataset]
    concentrations: dict[str, xr.DataArray]
    stages: dict[str, xr.DataArray]
    surface: dict[str, xr.DataArray]
    ledger: pd.DataFrame

    @cached_property
    def features(self) -> pd.DataFrame:
        """The samples that were forecast."""
        return usable(self.table("features.parquet"))

    @property
    def splits(self) -> list[str]:
        """Splits that were made."""
        return list(self.task.parameters["splits"])

    @property
    def honest(self) -> str:
        """The split to believe: whole images where there are such."""
        return "frame" if "frame" in self.splits else self.splits[-1]

    @property
    def longest(self) -> str:
        """The experiment with the most images."""
        return max(self.series, key=lambda name: self.series[name].sizes["t"])

    @cached_property
    def truth(self) -> dict[str, Any] | None:
        """What the simulation knows."""
        return None if self.settings.truth is None else open_truth(self.settings.truth)

    @property
    def ceilings(self) -> pd.DataFrame | None:
        """R that no forecast beats, by what it knows."""
        return None if self.truth is None else pd.DataFrame(self.truth["ceilings"])

    @property
    def true_sensitivities(self) -> pd.DataFrame | None:
        """Of the best forecaster of the simulation."""
        return None if self.truth is None else pd.DataFrame(self.truth["sensitivities"])

    def reached(self, split: str, score: str, model: str) -> float:
        """What a model reached on the test points of a split, all repeats together."""
        rows = self.table("score-intervals.parquet")
        chosen = rows[(rows["split"] == split) & (rows["model"] == model) & (rows["score"] == score)]
        return float(chosen["value"].iloc[0])

    def table(self, artifact: str) -> pd.DataFrame:
        """A table of the run."""
        return read_table(self.task.path(artifact))

    def json(self, artifact: str) -> Any:
        """A JSON artifact of the run."""
        return read_json(self.task.path(artifact))


def gather(task: Task, book: FigureFolder) -> Shown:
    """Read what the sections share."""
    settings = GrowthRate(**task.parameters["settings"])
    names = [item.name for item in settings.experiments]
    over_time = read_table(task.path("over-time.parquet")).groupby("experiment", sort=False)
    series = {item.name: open_series(item) for item in settings.experiments}
    clocks = {name: series[name]["t"] for name in names}
    number = {UNKNOWN: -1, **{word: at for at, word in enumerate(dendrites.STAGES)}}
    stage = {name: over_time.get_group(name)["stage"].map(number).to_numpy(int) for name in names}
    salt = {name: over_time.get_group(name)["concentration"].to_numpy() for name in names}
    return Shown(
        task=task,
        book=book,
        settings=settings,
        series=series,
        interfaces={name: read_dataset(task.path(traced(number))) for number, name in enumerate(names)},
        concentrations={name: read_image(task, salted_in(number)) for number, name in enumerate(names)},
        stages={name: xr.DataArray(stage[name], dims="t", coords={"t": clocks[name]}) for name in names},
        surface={name: xr.DataArray(salt[name], dims="t", coords={"t": clocks[name]}) for name in names},
        ledger=read_table(task.path("ledger.parquet")),
    )
