"""What a finished run has to show, read once for all sections of its page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando.pipeline.pores.cycle import Cycle
from operando.pipeline.pores.measuring import cycle_in
from operando.pipeline.pores.settings import Pores
from operando.pipeline.scans.images import labels_on_grid
from operando.pipeline.step import Task
from operando.pipeline.storage import FigureFolder, read_dataset, read_image, read_json, read_table


@dataclass(frozen=True)
class Shown:
    """Finished results of a run, and the book that its figures go into."""

    task: Task
    book: FigureFolder
    settings: Pores
    cycle: Cycle
    image: xr.DataArray
    labels: xr.DataArray
    boundaries: xr.DataArray
    current: xr.Dataset
    beneath: xr.Dataset
    ledger: pd.DataFrame
    spots: pd.DataFrame
    critical: pd.DataFrame

    @property
    def simulated(self) -> bool:
        """Whether every figure has to say so."""
        return self.settings.inputs.simulated

    @property
    def names(self) -> list[str]:
        """Name of each scan."""
        return self.cycle.names

    @property
    def last(self) -> int:
        """Number of the last scan."""
        return len(self.names) - 1

    @property
    def marked(self) -> dict[str, Any]:
        """Arguments that nearly every figure takes."""
        return {"plating_side": self.settings.cell.plating_side, "simulated": self.simulated}

    @property
    def truth(self) -> xr.DataArray | None:
        """True labels, where the cell is simulated."""
        path = self.settings.truth
        return None if path is None else self.stepped(labels_on_grid(self.task, path, key="truth"))

    def stepped(self, image: xr.DataArray) -> xr.DataArray:
        """An image with the names of the steps."""
        return image.assign_coords(step=("t", self.names[len(self.names) - image.sizes["t"] :]))

    def dataset(self, name: str) -> xr.Dataset:
        """A Dataset artifact."""
        return read_dataset(self.task.path(name))

    def image_of(self, name: str) -> xr.DataArray | None:
        """An image artifact with its steps, None where the run has none."""
        return self.stepped(read_image(self.task, name)) if name in self.task.step.inputs else None

    def table(self, name: str) -> pd.DataFrame | None:
        """A table artifact, None where the run has none."""
        return read_table(self.task.path(name)) if name in self.task.step.inputs else None

    def json(self, name: str) -> dict[str, Any]:
        """A JSON artifact, empty where the run has none."""
        return (read_json(self.task.path(name)) or {}) if name in self.task.step.inputs else {}


def gather(task: Task, book: FigureFolder) -> Shown:
    """Read what the page is about."""
    image = read_image(task, task.parameters["image"])
    cycle = cycle_in(task, image)
    names = xr.DataArray(np.array(cycle.names), dims="t")
    labels, boundaries = read_image(task, "labels.zarr"), read_image(task, "boundaries.zarr").load()
    return Shown(
        task=task,
        book=book,
        settings=Pores(**task.parameters["settings"]),
        cycle=cycle,
        image=image.assign_coords(step=("t", names.values)),
        labels=labels.assign_coords(step=("t", names.values)),
        boundaries=boundaries.assign_coords(step=("t", names.values)),
        current=read_dataset(task.path("current.zarr")),
        beneath=read_dataset(task.path("beneath.zarr")),
        ledger=read_table(task.path("ledger.parquet")),
        spots=read_table(task.path("spots.parquet")),
        critical=read_table(task.path("critical.parquet")),
    )
