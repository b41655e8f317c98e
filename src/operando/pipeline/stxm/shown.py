"""What a finished run has to show, read once for all sections of its page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
import xarray as xr

from operando import spectral
from operando.pipeline.step import Task
from operando.pipeline.storage import FigureFolder, read_dataset, read_image, read_json, read_table
from operando.pipeline.stxm.inputs import open_references, open_truth, stoichiometry
from operando.pipeline.stxm.lithium import AMBIGUOUS
from operando.pipeline.stxm.settings import Stxm


@dataclass(frozen=True)
class Shown:
    """Finished results of a run, and the book that its figures go into."""

    task: Task
    book: FigureFolder
    settings: Stxm
    density: xr.DataArray
    references: xr.DataArray
    unmixed: xr.Dataset
    maps: xr.Dataset
    ledger: pd.DataFrame

    @property
    def sigma(self) -> xr.DataArray | None:
        """Error of the optical density, lazily, where it weighted the fit."""
        return read_image(self.task, "sigma.zarr") if self.settings.weighted else None

    @property
    def sample(self) -> xr.DataArray:
        """Pixels that hold sample."""
        return self.maps["sample"].astype(bool)

    @property
    def flags(self) -> xr.Dataset:
        """Flags and what they come from."""
        names = [
            name for name in ("boundary", "thick", "missing_reference", "missing_spectrum") if name in self.unmixed
        ]
        return self.unmixed[names].assign_attrs(notes=self.unmixed.attrs.get("notes", []))

    @property
    def doubtful(self) -> xr.DataArray:
        """Pixels with a flag or an ambiguous fit."""
        flagged = self.flags[["boundary", "thick", "missing_reference"]].to_dataarray("component").any("component")
        return (flagged | (self.unmixed["ambiguity"] > AMBIGUOUS)) & self.sample

    @property
    def truth(self) -> xr.DataArray | None:
        """True weights (component, y, x) of the fitted phases, where the stack is simulated."""
        names = [str(name) for name in self.references["component"].values]
        return None if self.settings.truth is None else open_truth(self.settings.truth, self.density, names).compute()

    @property
    def true_lithiation(self) -> xr.DataArray | None:
        """Lithiation of the phases that have a reference, as it truly is."""
        truth = self.truth
        x = stoichiometry(self.settings.references, [str(name) for name in self.references["component"].values])
        return None if truth is None or x is None else spectral.lithiation(truth, x).where(self.sample)

    def dataset(self, name: str) -> xr.Dataset | None:
        """A Dataset artifact, None where the run has none or it is empty."""
        found = read_dataset(self.task.path(name)) if name in self.task.step.inputs else xr.Dataset()
        return found if found.data_vars else None

    def table(self, name: str) -> pd.DataFrame:
        """A table artifact."""
        return read_table(self.task.path(name))

    def json(self, name: str) -> dict[str, Any]:
        """A JSON artifact."""
        return read_json(self.task.path(name)) or {}

    def rows(self, component: str, *quantities: str) -> pd.DataFrame:
        """Rows of the ledger, in the order asked for."""
        own = self.ledger[self.ledger["component"] == component]
        return pd.concat([own[own["quantity"] == quantity] for quantity in quantities])


def gather(task: Task, book: FigureFolder) -> Shown:
    """Read what the page is about."""
    settings = Stxm(**task.parameters["settings"])
    density = read_image(task, "density.zarr")
    if settings.inputs.simulated:
        density.attrs["simulated"] = True
    return Shown(
        task=task,
        book=book,
        settings=settings,
        density=density,
        references=open_references(settings.references, density.energy),
        unmixed=read_dataset(task.path("unmixed.zarr")),
        maps=read_dataset(task.path("maps.zarr")),
        ledger=read_table(task.path("ledger.parquet")),
    )
