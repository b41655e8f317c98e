"""Salt, gradient and stage of depletion at both electrodes, beside charge and voltage."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando import dendrites, electrochemistry
from operando.core.quantities import quantity_table
from operando.dendrites.salt import ENDS
from operando.dendrites.surface import surface_state
from operando.pipeline.salt_profiles.settings import Measure

ELECTRODES = ("plated", "dissolving")


def at_electrodes(
    salt: xr.Dataset, hours: np.ndarray, record: pd.DataFrame, measure: Measure, *, temperature_k: float
) -> xr.Dataset:
    """Everything that has one value per profile (and electrode), dims (t, [electrode])."""
    displaced = dendrites.salt_displaced(salt)
    ends = [displaced.attrs["plated"], next(end for end in ENDS if end != displaced.attrs["plated"])]
    parts = []
    for name, end in zip(ELECTRODES, ends, strict=True):
        surface = dendrites.electrode_surface(salt, end)
        state = surface_state(salt["concentration"], surface, from_um=0.0, over_um=measure.over_um)
        values = state["concentration"].assign_coords(sigma=state["concentration_sigma"].variable)
        stage = dendrites.depletion_stage(
            values, initial=salt.attrs["initial"], none_above=measure.none_above, full_below=measure.full_below
        )
        one = state.drop_vars("sigma", errors="ignore").assign(stage=stage.variable)
        for quantity in ("excess", "excess_sigma"):
            one[quantity] = displaced[quantity].sel(end=end, drop=True)
        parts.append(one.drop_attrs(deep=False).expand_dims(electrode=[name]))
    out = xr.concat(parts, dim="electrode", join="exact", coords="minimal", compat="equals").transpose("t", "electrode")
    for quantity in ("displaced", "displaced_sigma", "balance", "balance_sigma"):
        out[quantity] = displaced[quantity]
    charge = passed_charge(record, hours)
    inside = (hours >= record["time_h"].iloc[0]) & (hours <= record["time_h"].iloc[-1])
    for quantity, column, unit in (("voltage", "voltage_v", "V"), ("current", "current_ma", "mA")):
        at = np.where(inside, np.interp(hours, record["time_h"], record[column]), np.nan)
        out[quantity] = ("t", at, {"units": unit})
    share = [out["concentration"].sel(electrode=name, drop=True) for name in ELECTRODES]
    nernst = electrochemistry.concentration_overpotential(*share, temperature_k=temperature_k)
    out["overpotential"] = nernst.assign_attrs(units="V", long_name="Concentration overpotential")
    out = out.assign_coords(
        t_h=("t", hours, {"units": "h", "long_name": "Time"}), charge=("t", charge, {"units": "mAh"})
    )
    out.attrs = {
        "plated": displaced.attrs["plated"],
        "thickness_um": displaced.attrs["thickness_um"],
        "initial": salt.attrs["initial"],
        "simulated": int(salt.attrs["simulated"]),
    }
    return out


def passed_charge(record: pd.DataFrame, hours: np.ndarray) -> np.ndarray:
    """Charge passed until each time, in mAh; nothing flows outside of the record."""
    start = min(float(record["time_h"].iloc[0]), float(hours[0])) - 1e-6
    charge = electrochemistry.charge_between(record, [start, *hours], outside_ma=0.0)
    return np.asarray(np.cumsum(charge.values[1:]))


def series_rows(measured: xr.Dataset) -> pd.DataFrame:
    """Rows of the ledger with one value per profile."""
    rows: list[dict[str, Any]] = []
    line = "straight line beside the electrode; blurred by the imaging"
    halves = "integral of the half"
    for scan, t in enumerate(measured["t_h"].values):
        at = measured.isel(t=scan)
        base = {"scan": scan, "t": float(t)}
        for name in ELECTRODES:
            one = at.sel(electrode=name)
            rows += [
                base
                | {"component": f"{name} electrode", "quantity": quantity, "value": float(one[key]), "unit": unit,
                   "sigma": float(one[f"{key}_sigma"]), "method": method}
                for quantity, key, unit, method in (
                    ("salt concentration", "concentration", "mol L-1", line),
                    ("salt gradient", "concentration_gradient", "mol L-1 um-1", line),
                    ("salt excess", "excess", "um", halves),
                )
            ]  # fmt: skip
            rows.append(
                base | {"component": f"{name} electrode", "quantity": "depletion stage", "value": int(one["stage"]),
                        "unit": "1", "method": "0 none, 1 partial, 2 full"}
            )  # fmt: skip
        rows += [
            base
            | {"component": "cell", "quantity": quantity, "value": float(at[key]), "unit": "um",
               "sigma": float(at[f"{key}_sigma"]), "method": halves}
            for quantity, key in (("salt displaced", "displaced"), ("salt balance", "balance"))
        ]  # fmt: skip
        rows.append(
            base | {"component": "cell", "quantity": "concentration overpotential", "value": float(at["overpotential"]),
                    "unit": "V", "method": "RT/F ln of the ratio of the two concentrations"}
        )  # fmt: skip
    return quantity_table(rows)
