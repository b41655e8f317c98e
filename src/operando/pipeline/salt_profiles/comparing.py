"""Time to depletion: what the voltage shows, what the profiles show, and what Sand's equation says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando import dendrites, electrochemistry
from operando.core.lithium import FARADAY_C_MOL
from operando.core.quantities import quantity_table
from operando.dendrites.salt_transport import fitted_diffusivity
from operando.electrochemistry.salt_diffusion import Diffusivity
from operando.pipeline.salt_profiles.settings import Electrolyte

_TIME = "time to depletion"


def displaced_slope(measured: xr.Dataset) -> dict[str, float]:
    """Salt displaced per charge, over the profiles under current."""
    under = measured.isel(t=np.flatnonzero(np.isfinite(measured["current"].values)))
    return dendrites.displaced_per_charge(under, under["charge"].values)


def depletion_rows(
    measured: xr.Dataset,
    record: pd.DataFrame,
    slope: dict[str, float],
    diffusivity: Diffusivity | None,
    fitted: xr.Dataset,
    guess: Diffusivity,
) -> pd.DataFrame:
    """Time to depletion by every way, in h after the current began."""
    seen = electrochemistry.transition_time(record)
    found = seen.set_index("quantity")
    held, began = found.loc[["constant current"], ["value", "t"]].to_numpy(dtype=float)[0].tolist()
    rows: list[dict[str, Any]] = [
        {"component": "voltage", "quantity": _TIME, "value": found.loc["transition time", "value"], "unit": "h",
         "sigma": found.loc["transition time", "sigma"],
         "method": f"the current gave way; {seen.attrs['kind']}"}
    ]  # fmt: skip
    stage = measured["stage"].sel(electrode="plated").values
    full = np.flatnonzero(stage == 2)
    interval = float(np.median(np.diff(measured["t_h"].values)))
    at = float(measured["t_h"].values[full[0]]) - began if full.size else np.nan
    rows.append(
        {"component": "profiles", "quantity": _TIME, "value": at, "unit": "h",
         "sigma": interval / np.sqrt(12) if full.size else np.nan,
         "method": "first profile of the stage full" if full.size else "the stage full was not reached"}
    )  # fmt: skip
    initial, thickness = measured.attrs["initial"], measured.attrs["thickness_um"]

    def density(per_charge: float) -> float:
        # The current density of anions alone that displaces salt as fast as the profiles show.
        return per_charge * held / 3600.0 * FARADAY_C_MOL * initial / 1e4

    def timed(per_charge: float, sigma: float, time_of: Callable[[float], float]) -> tuple[float, float]:
        best = time_of(density(per_charge)) / 3600.0
        early, late = (time_of(density(max(per_charge + s * sigma, 1e-3))) / 3600.0 for s in (1, -1))
        # Without a late bound the early one has to do.
        return best, (late - early) / 2 if np.isfinite(late) else best - early

    def numeric(given: Diffusivity) -> Callable[[float], float]:
        return lambda j: electrochemistry.depletion_time(j, initial, given, thickness_um=thickness)

    if diffusivity is not None:
        even = float(np.ravel(diffusivity(np.array([initial])))[0]) if callable(diffusivity) else float(diffusivity)
        ways: list[tuple[str, str, Callable[[float], float]]] = [
            ("Sand", f"Sand's equation, D = {even:.3g} m2 s-1, measured slope",
             lambda j: float(electrochemistry.sand_time(j, initial, even))),
            ("Sand, D(c)", "diffusion with the supplied D(c), measured slope", numeric(diffusivity)),
        ]  # fmt: skip
        for name, method, time_of in ways:
            value, sigma = timed(slope["slope"], slope["slope_sigma"], time_of)
            rows.append(
                {"component": name, "quantity": _TIME, "value": value, "sigma": sigma, "unit": "h", "method": method}
            )
    changed = fitted_diffusivity(fitted, guess, initial=initial)
    value, _ = timed(float(fitted["slope"]), 0.0, numeric(changed))
    rows.append(
        {"component": "Sand, fitted D(c)", "quantity": _TIME, "value": value, "unit": "h",
         "method": "diffusion with D(c) and slope from the shape of the profiles"
         + ("; at its limit, an upper bound" if fitted.attrs["at_limit"] else "")}
    )  # fmt: skip
    table = quantity_table(rows)
    table.attrs["kind"] = seen.attrs["kind"]
    return pd.concat([table, seen], ignore_index=True)


def scalar_rows(
    measured: xr.Dataset,
    salt: xr.Dataset,
    slope: dict[str, float],
    supplied: xr.Dataset | None,
    fitted: xr.Dataset,
    electrolyte: Electrolyte,
    times: pd.DataFrame,
) -> pd.DataFrame:
    """Numbers of the whole run."""
    under = np.isfinite(measured["current"].values)
    hours = measured["t_h"].values
    balance = measured["balance"].values / measured.attrs["thickness_um"]
    drift, scatter = _line(hours[under], balance[under])
    rows: list[dict[str, Any]] = [
        {"component": "electrolyte", "quantity": "thickness", "value": measured.attrs["thickness_um"], "unit": "um",
         "sigma": float(np.hypot(*salt["position_sigma"].values)), "method": "half height of the edges of the signal"},
        {"component": "electrolyte", "quantity": "initial concentration", "value": measured.attrs["initial"],
         "unit": "mol L-1", "method": "from EO:Li, volumes add" if electrolyte.eo_per_li else "as given"},
        {"component": "cell", "quantity": "salt displaced per charge", "value": slope["slope"],
         "sigma": slope["slope_sigma"], "unit": "um mAh-1", "n": slope["n"], "method": "integrals of the halves"},
        {"component": "cell", "quantity": "salt balance drift", "value": drift, "sigma": scatter, "unit": "h-1",
         "n": int(under.sum()), "method": "change of the whole signal, as a share"},
    ]  # fmt: skip
    for name, fit in (("supplied D(c)", supplied), ("fitted D(c)", fitted)):
        if fit is None:
            continue
        kept = [("salt displaced per charge", "slope", "um mAh-1")]
        if fit.attrs["free"] != "none":
            kept += [("diffusivity scale", "diffusivity_scale", "1"), ("diffusivity tilt", "diffusivity_tilt", "1")]
        note = "blurred diffusion fitted to all profiles" + ("; at its limit" if fit.attrs["at_limit"] else "")
        rows += [
            {"component": name, "quantity": quantity, "value": float(fit[key]), "sigma": float(fit[f"{key}_sigma"]),
             "unit": unit, "method": note}
            for quantity, key, unit in kept
        ]  # fmt: skip
        rows.append(
            {"component": name, "quantity": "chi2", "value": fit.attrs["chi2"], "unit": "1", "n": fit.attrs["n"],
             "method": "per degree of freedom"}
        )  # fmt: skip
    if electrolyte.area_cm2 is not None:
        t_plus = electrochemistry.displaced_transference(
            slope["slope"], measured.attrs["initial"], area_cm2=electrolyte.area_cm2
        )
        held = times.loc[times["quantity"] == "constant current", "value"].iloc[0]
        rows.append(
            {"component": "cell", "quantity": "current density", "value": held / electrolyte.area_cm2,
             "unit": "mA cm-2", "method": "constant current over the area; their errors not counted"}
        )  # fmt: skip
        rows.append(
            {"component": "electrolyte", "quantity": "transference", "value": float(t_plus), "unit": "1",
             "sigma": (1 - float(t_plus)) * slope["slope_sigma"] / slope["slope"],
             "method": "from salt displaced per charge, area and concentration; their errors not counted"}
        )  # fmt: skip
    rows += _against_voltage(measured, times)
    return quantity_table(rows)


def _against_voltage(measured: xr.Dataset, times: pd.DataFrame) -> list[dict[str, Any]]:
    """How salt and voltage go together while the current is constant."""
    end = times.loc[times["quantity"] == "voltage at the end", "t"].iloc[0]
    during = np.isfinite(measured["current"].values) & (measured["t_h"].values <= end)
    volts = measured["voltage"].values
    rows = []
    if during.sum() >= 4:
        gradient = measured["concentration_gradient"].sel(electrode="plated").values
        for name, values in (
            ("salt gradient", gradient),
            ("concentration overpotential", measured["overpotential"].values),
        ):
            known = during & np.isfinite(values + volts)
            if known.sum() >= 4 and np.ptp(values[known]) > 0 and np.ptp(volts[known]) > 0:
                rows.append(
                    {"component": "cell", "quantity": f"correlation of {name} and voltage", "unit": "1",
                     "value": float(np.corrcoef(values[known], volts[known])[0, 1]), "n": int(known.sum()),
                     "method": "Pearson, profiles under constant current"}
                )  # fmt: skip
        last = int(np.flatnonzero(during)[-1])
        rows.append(
            {"component": "cell", "quantity": "concentration overpotential at the end of the constant current",
             "unit": "V", "value": float(measured["overpotential"].values[last]),
             "t": float(measured["t_h"].values[last]),
             "method": "RT/F ln of the ratio of the two concentrations"}
        )  # fmt: skip
    return rows


def _line(x: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    slope, offset = np.polyfit(x, values, 1)
    rest = values - slope * x - offset
    return float(slope), float(np.sqrt((rest**2).sum() / (x.size - 2) / ((x - x.mean()) ** 2).sum()))
