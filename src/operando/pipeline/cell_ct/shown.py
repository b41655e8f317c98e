"""What a finished run has to show, read once for all sections of its page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
import xarray as xr

from operando import electrochemistry
from operando.core.phases import PhaseScheme
from operando.io import open_image
from operando.pipeline.cell_ct.accounting import JUDGED
from operando.pipeline.cell_ct.settings import CellCT
from operando.pipeline.step import Task
from operando.pipeline.storage import FigureFolder, read_image, read_json, read_table

APPLIED = "applied_h"
"""Column with the hours of current that had passed: the time axis of Huang 2023."""


@dataclass(frozen=True)
class Shown:
    """Finished results of a run, and the book that its figures go into.

    ``ledger`` and ``truth`` have the same rows where a truth is known; ``current`` is empty without a cycler file;
    ``states`` maps pristine, half cycle and full cycle to scans (None where there is none).
    """

    task: Task
    book: FigureFolder
    settings: CellCT
    phases: PhaseScheme
    image: xr.DataArray
    labels: xr.DataArray
    maps: xr.DataArray
    ledger: pd.DataFrame
    current: pd.DataFrame
    comparison: pd.DataFrame | None
    truth: pd.DataFrame | None
    states: dict[str, int | None]
    scores: dict[str, Any]

    @property
    def simulated(self) -> bool:
        """Whether every figure has to say so."""
        return self.settings.inputs.simulated

    @property
    def beam(self) -> pd.DataFrame | None:
        """The current, where there is a record."""
        return None if self.current.empty else self.current

    @property
    def last(self) -> int:
        """Number of the last scan."""
        return self.labels.sizes["t"] - 1

    @property
    def half(self) -> int | None:
        """Scan at which charge turned to discharge, where the series has both."""
        half = self.states.get("half cycle")
        return None if half is None or half == self.last else half

    @property
    def axis(self) -> dict[str, Any]:
        """Arguments of every figure over time: hours of current where the record is known, and the turn."""
        time = APPLIED if APPLIED in self.ledger else "t"
        turn = None
        if self.half is not None:
            turn = float(self.ledger.loc[self.ledger["scan"] == self.half, time].iloc[0])
        return {"time": time, "turn": turn, "simulated": self.simulated}

    @property
    def beside(self) -> str:
        """What a caption says of the truth."""
        return " Open markers: the truth of the simulation." if self.truth is not None else ""

    def spatial(self, name: str) -> xr.DataArray | None:
        """A picture of the spatial step, where the series has one."""
        path = self.task.path("spatial") / f"{name}.zarr"
        return open_image(path) if path.exists() else None

    def image_of(self, name: str) -> xr.DataArray | None:
        """An image artifact, None where the run has none."""
        return read_image(self.task, name) if name in self.task.step.inputs else None

    def json(self, name: str) -> dict[str, Any]:
        """A JSON artifact, empty where the run has none."""
        return (read_json(self.task.path(name)) or {}) if name in self.task.step.inputs else {}

    def has(self, quantity: str, *components: str) -> bool:
        """Whether the ledger has rows of a quantity, with any of the components where some are named."""
        rows = self.ledger[self.ledger["quantity"] == quantity]
        return bool(rows["component"].isin(components).any() if components else len(rows))

    def table(self, name: str) -> pd.DataFrame | None:
        """A table artifact, None where the run has none."""
        return read_table(self.task.path(name)) if name in self.task.step.inputs else None


def gather(task: Task, book: FigureFolder) -> Shown:
    """Read what the page is about."""
    settings = CellCT(**task.parameters["settings"])
    ledger = read_table(task.path("ledger.parquet"))
    current = read_table(task.path("current.parquet"))
    comparison = truth = None
    if "comparison.parquet" in task.step.inputs:
        comparison = _timed(read_table(task.path("comparison.parquet")), current)
        truth = comparison.drop(columns=["value", "covered"]).rename(columns={"truth": "value"})
        truth = truth.assign(sigma=float("nan"))
        truth = truth[truth["quantity"].isin([*JUDGED, "area fraction", "image over charge"])
                      | truth["quantity"].str.contains("thickness|capacity")]  # fmt: skip
    scores = read_json(task.path("agreement.json")) if "agreement.json" in task.step.inputs else {}
    return Shown(
        task=task,
        book=book,
        settings=settings,
        phases=PhaseScheme(settings.cell.phases),
        image=read_image(task, task.parameters["image"]),
        labels=read_image(task, "labels.zarr"),
        maps=read_image(task, "maps.zarr"),
        ledger=_timed(ledger, current),
        current=current,
        comparison=comparison,
        truth=truth,
        states=read_json(task.path("spatial") / "states.json"),
        scores=scores,
    )


def _timed(table: pd.DataFrame, current: pd.DataFrame) -> pd.DataFrame:
    """The table with the hours of current until each row, where the record is known."""
    if current.empty or table["t"].isna().all():
        return table
    return table.assign(**{APPLIED: electrochemistry.applied_hours(current, table["t"].to_numpy())})
