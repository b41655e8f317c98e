"""What each scan of a ``pores`` recipe is: the step that ends with it, its time, and the charge that passed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from operando import electrochemistry
from operando.core.errors import InputError
from operando.pipeline.pores.settings import Cell
from operando.pipeline.scans.inputs import read_cycler, times
from operando.pipeline.scans.settings import Inputs

_IDLE = 0.01  # of the largest charge between two scans: less than this is a rest, not a step


@dataclass(frozen=True)
class Cycle:
    """The steps of a series.

    ``hours`` counts only time with current where there is a record, and by the clock where nothing flowed between two
    scans; ``charge_mah`` is that of the imaged field, positive while the plating side plates, NaN for the first scan
    and where there is no record.
    """

    names: list[str]
    hours: np.ndarray | None
    charge_mah: np.ndarray
    sigma_mah: np.ndarray
    record: pd.DataFrame

    def stepped(self, array: xr.DataArray) -> xr.DataArray:
        """The array with the steps' names and the hours of current along ``t``."""
        names = self.names[len(self.names) - array.sizes["t"] :]
        if self.hours is not None:
            hours = self.hours[len(self.names) - array.sizes["t"] :]
            array = array.assign_coords(t=("t", hours, {"units": "h", "long_name": "Time with current"}))
        return array.assign_coords(step=("t", names))


def cycle_of(inputs: Inputs, cell: Cell, series: xr.DataArray, *, area_um2: float) -> Cycle:
    """Read the record and name the steps."""
    count, clock = series.sizes["t"], times(series)
    nothing = np.full(count, np.nan)
    charge, sigma, hours = nothing, nothing, clock
    record = pd.DataFrame({"time_h": [], "current_ma": []}, dtype=float)
    if inputs.cycler is not None:
        assert clock is not None  # checked with the faults
        record = read_cycler(inputs)
        # Of the charge of the whole cell, the field of view has its share of the area.
        share = 1.0 if cell.active_area_cm2 is None else area_um2 / (1e8 * cell.active_area_cm2)
        passed = electrochemistry.charge_between(record, clock, accuracy=cell.current_accuracy) * share
        charge, sigma = passed.values, passed.coords["sigma"].values * share
        hours = electrochemistry.applied_hours(record, clock)
        # Scans between which nothing flowed are told apart by the clock.
        lasted = np.where(np.diff(hours) > 0, np.diff(hours), np.diff(clock))
        hours = hours[0] + np.concatenate([[0.0], np.cumsum(lasted)])
    if cell.steps is not None:
        if len(cell.steps) != count:
            raise InputError(f"cell.steps: one name per scan is needed, got {len(cell.steps)} for {count} scans.")
        names = list(cell.steps)
    elif np.isfinite(charge[1:]).all() and count > 1:
        names = names_of(charge[1:])
    else:
        names = [f"scan {scan}" for scan in range(count)]
    return Cycle(names, hours, charge, sigma, record)


def names_of(charge: np.ndarray) -> list[str]:
    """Names of the scans from the charge before each but the first.

    Examples
    --------
    >>> names_of(np.array([1.0, -1.0, 0.0, 1.0]))
    ['pristine', 'plate 1', 'strip 1', 'rest 1', 'plate 2']
    """
    idle = _IDLE * np.abs(charge).max(initial=0.0)
    seen: Counter[str] = Counter()
    names = ["pristine"]
    for passed in charge.tolist():
        kind = "rest" if abs(passed) <= idle else "plate" if passed > 0 else "strip"
        seen[kind] += 1
        names.append(f"{kind} {seen[kind]}")
    return names
