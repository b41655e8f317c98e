"""Profiles, cycler and electrolyte of a ``salt-profiles`` recipe on one clock, and what is wrong with them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando import dendrites, electrochemistry, io
from operando.core.errors import InputError
from operando.electrochemistry.salt_diffusion import Diffusivity
from operando.pipeline.salt_profiles.settings import Cycler, Electrolyte, Profiles, SaltProfiles
from operando.pipeline.settings import Faults

_CONSTANT_M2_S = 1e-12


def open_profiles(profiles: Profiles) -> xr.DataArray:
    """The signal of the anion (t, y)."""
    signal = io.open_profiles(
        profiles.folder,
        field_of_view_um=profiles.field_of_view_um,
        interval_s=profiles.interval_s,
        flip=profiles.flip,
        count=profiles.count,
    )
    return signal.assign_attrs(simulated=profiles.simulated)


def read_cycler(cycler: Cycler) -> pd.DataFrame:
    """The record of voltage and current."""
    columns: dict[str, Any] = {
        name: (int(column) if column.isdigit() else column, unit) for name, (column, unit) in cycler.columns.items()
    }
    record = electrochemistry.read_cycler(cycler.file, columns=columns or None)
    if not np.isfinite(record["voltage_v"]).any():
        raise InputError(
            f"cycler.file: {cycler.file} must hold a voltage, got none. Name its column in cycler.columns."
        )
    return record


def profile_hours(signal: xr.DataArray, record: pd.DataFrame, cycler: Cycler) -> np.ndarray:
    """Middle of each profile on the clock of the cycler, in h."""
    begins = float(record["time_h"].iloc[0]) if cycler.first_profile_h is None else cycler.first_profile_h
    return np.asarray(begins + (signal["t"].values + signal.attrs["interval_s"] / 2) / 3600.0)


def initial_concentration(electrolyte: Electrolyte) -> float:
    """Of the salt before the current, mol L-1."""
    if electrolyte.concentration_mol_l is not None:
        return electrolyte.concentration_mol_l
    return float(electrochemistry.polymer_salt_concentration(electrolyte.eo_per_li))


def supplied_diffusivity(electrolyte: Electrolyte) -> Diffusivity:
    """Of the salt; where none is given, a constant for a fit to begin with."""
    given = electrolyte.diffusivity
    if given is None:
        return _CONSTANT_M2_S
    return electrochemistry.polynomial_diffusivity(given.coefficients, variable=given.variable, valid=given.valid)


def faults(settings: SaltProfiles) -> list[str]:
    """Everything that the settings and the files they name get wrong."""
    found = Faults()
    signal = found.attempt("profiles", lambda: open_profiles(settings.profiles))
    record = found.attempt("cycler", lambda: read_cycler(settings.cycler))
    found.attempt("electrolyte.diffusivity", lambda: supplied_diffusivity(settings.electrolyte))
    salt = None
    if signal is not None:
        first = settings.profiles.use_first
        salt = found.attempt(
            "profiles", lambda: dendrites.salt_concentration(signal, concentration=1.0, use_first=first)
        )
        if first >= signal.sizes["t"]:
            found.append(
                f"profiles.use_first: must leave profiles under current, got {first} of {signal.sizes['t']}. Lower it."
            )
    if record is not None:
        found.attempt("cycler", lambda: electrochemistry.transition_time(record))
    measure = settings.measure
    if measure.full_below >= measure.none_above:
        found.append(
            f"measure.full_below: must be below measure.none_above ({measure.none_above:g}), got "
            f"{measure.full_below:g}. Exchange them."
        )
    if salt is not None and measure.over_um < 2 * salt.attrs["spacing"]:
        found.append(
            f"measure.over_um: must hold at least three points of the profiles, {salt.attrs['spacing']:g} um apart, "
            f"got {measure.over_um:g}. Lengthen it."
        )
    if signal is not None and record is not None:
        hours = profile_hours(signal, record, settings.cycler)
        first, last = record["time_h"].iloc[[0, -1]].tolist()
        under = (hours >= first) & (hours <= last)
        if under.sum() < 4:
            found.append(
                f"cycler.first_profile_h: at least four profiles must lie within the record ({first:g} to {last:g} h), "
                f"got {int(under.sum())} of {hours.size} from {hours[0]:.4g} to {hours[-1]:.4g} h. Correct the clock."
            )
    return found
