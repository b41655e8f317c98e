"""From phases to lithium: maps, particles, and the state of charge of the field."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando import spectral
from operando.core.quantities import quantity_table
from operando.pipeline.step import Task
from operando.pipeline.storage import read_dataset, write_dataset, write_table
from operando.pipeline.stxm.inputs import open_references, stoichiometry
from operando.pipeline.stxm.settings import Lithiation, Particles, ReferenceSpectrum


def lithiate(task: Task) -> None:
    """Lithiation per pixel, per particle and of the field; dominant phases, their boundaries and their disorder."""
    given = task.parameters
    how, apart = Lithiation(**given["lithiation"]), Particles(**given["particles"])
    found = read_dataset(task.path("unmixed.zarr"))
    least = how.minimum_thickness
    thick = found["thickness"] >= least
    x = stoichiometry([ReferenceSpectrum(**item) for item in given["references"]], component_names(found))
    maps: dict[str, xr.DataArray] = {"dominant": spectral.dominant_phase(found, minimum_thickness=least)}
    mixing = spectral.disorder(found, minimum_thickness=least)
    maps["disorder"] = mixing["disorder"]
    tables = [spectral.phase_boundary_length(found, minimum_thickness=least)]
    if x is not None:
        maps["lithiation"] = spectral.lithiation(found, x, minimum_thickness=least).assign_attrs(long_name=how.label)
        maps["lithiation_sigma"] = spectral.lithiation_sigma(found, x, minimum_thickness=least)
    if apart.separate:
        maps["particles"] = spectral.particles(
            found["thickness"].where(thick), minimum_thickness=least, minimum_um2=apart.minimum_area_um2
        )
    write_dataset(task, "maps.zarr", xr.Dataset(maps))
    write_table(task, "lithium.parquet", pd.concat([quantity_table(_field(found, mixing)), *tables]))


def component_names(found: xr.Dataset) -> list[str]:
    """Names of the fitted phases."""
    return [str(name) for name in found["component"].values]


def _field(found: xr.Dataset, mixing: xr.Dataset) -> list[dict[str, Any]]:
    return []
