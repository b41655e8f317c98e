"""Local current density: the change of an electrode's thickness by Faraday's law, and its sum against the cycler."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando.core import units
from operando.core.axes import require_dims, spacing
from operando.core.errors import AxesError, InputError, UnitsError, nearest
from operando.core.lithium import FARADAY_C_MOL, MOLAR_VOLUME_CM3_MOL
from operando.core.quantities import quantity_table
from operando.morphometry.correlation import effective_samples
from operando.morphometry.volume import passed_on

ENDS = ("low", "high")
_UM2_PER_CM2 = 1e8


def plating_current_density(
    thickness: xr.DataArray,
    *,
    molar_volume_cm3_mol: float = MOLAR_VOLUME_CM3_MOL,
    porosity: float | xr.DataArray = 0.0,
    sigma_um: float | xr.DataArray | None = None,
) -> xr.DataArray:
    """Current density that would change an electrode's thickness as two successive scans show it, place by place.

    Parameters
    ----------
    thickness : DataArray, dims (t, [component], [y, x]), units "um"
        Of the electrode at each scan, as ``electrode_thickness`` returns it; ``t`` in h or another unit of time. May be
        lazy.
    molar_volume_cm3_mol : float
        Of dense lithium, in cm3/mol.
    porosity : float or DataArray, dims any of those of ``thickness``
        Share of the thickness that is pores, in [0, 1): at each scan if it has the dim ``t``, else the same at all.
    sigma_um : float or DataArray, dims any of those of ``thickness``, optional
        Standard uncertainty of the thickness in um, independent from scan to scan (:func:`thickness_sigma`).

    Returns
    -------
    DataArray, dims (t, [component], [y, x]), units "mA cm-2"
        Between each scan and the one before, at the time (and ``step``) of the later one; positive where lithium is
        plated. NaN where a thickness is. With ``sigma_um`` a coordinate ``sigma`` of the same unit. Lazy where
        ``thickness`` is.

    Raises
    ------
    AxesError, InputError, UnitsError
        Where there are fewer than two scans, time has no unit or does not increase, the thickness is not a length, or
        a porosity or molar volume is out of range.

    Notes
    -----
    Dixit 2020, Eq. 3, with the porosity p that the paper leaves out:

    .. math:: j = \\frac{F}{V_\\mathrm{Li}}\\,\\frac{(1 - p_2) h_2 - (1 - p_1) h_1}{t_2 - t_1}

    The mean over the whole interval, rests included. For the density while current flowed, let ``t`` count the hours
    with current (``electrochemistry.applied_hours``). With p = 0, pores that open in the lithium look like plating.

    Neither a film nor a side reaction is lithium, and lithium that moves sideways is no current: a place that thickens
    because its neighbor is squeezed out counts as plated. The sum over the area does not change by that
    (:func:`current_closure`). Memory: that of the result, and as much again.

    Reference
    ---------
    Dixit et al., ACS Applied Energy Materials 3, 9534 (2020), doi:10.1021/acsaem.0c02053

    Examples
    --------
    One um of dense lithium in one hour: 1e-4 cm x 96485.33 C/mol / 12.998 cm3/mol / 3600 s = 0.2062 mA/cm2. Were a
    tenth of it pores, nine tenths of that:

    >>> t = xr.DataArray([0.0, 1.0], dims="t", attrs={"units": "h"})
    >>> h = xr.DataArray([[[5.0, 5.0]], [[6.0, 5.0]]], dims=("t", "y", "x"), coords={"t": t}, attrs={"units": "um"})
    >>> plating_current_density(h).values.round(4).tolist()
    [[[0.2062, 0.0]]]
    >>> plating_current_density(h, porosity=0.1).values.round(4).tolist()
    [[[0.1856, 0.0]]]
    """
    where = "plating_current_density"
    require_dims(thickness, ("t",), where=where, optional=("component", "y", "x"))
    number = isinstance(molar_volume_cm3_mol, int | float | np.number)
    if not (number and np.isfinite(molar_volume_cm3_mol) and molar_volume_cm3_mol > 0):
        raise InputError(
            f"{where}: molar_volume_cm3_mol must be a positive number, got {molar_volume_cm3_mol!r}. "
            f"Leave it out for {MOLAR_VOLUME_CM3_MOL} cm3/mol, lithium."
        )
    hours = _hours(thickness, where=where)
    share = _fraction(porosity, thickness, where=where)
    unit = str(thickness.attrs.get("units", "um"))
    if units.kind(unit) != "length":
        raise UnitsError(
            f"{where}: thickness must be a length in um, got the units {unit!r}. "
            "Measure it on a calibrated image, operando.calibrate(image, voxel_size_um=...)."
        )
    # 1 um = 1e-4 cm; 1 A = 1e3 mA.
    per_um = units.factor(unit, "um") * 1e-4 * 1e3 * FARADAY_C_MOL / molar_volume_cm3_mol
    seconds = xr.DataArray(3600 * np.diff(hours), dims="t")
    dense = thickness * (1 - share)
    # Scans belong together by position; the coordinates of t would be matched by value.
    later, before = dense.isel(t=slice(1, None)), dense.isel(t=slice(None, -1)).drop_vars(_timed(dense))
    current = (later.drop_vars(_timed(later)) - before) * (per_um / seconds)
    kept = {name: thickness.coords[name].isel(t=slice(1, None)) for name in _timed(thickness) if name != "sigma"}
    current = current.transpose(*thickness.dims).assign_coords(kept)
    if "sigma" in current.coords:
        current = current.drop_vars("sigma")
    if sigma_um is not None:
        error = _sigma(sigma_um, share, thickness, where=where) * (per_um / seconds)
        current = current.assign_coords(sigma=error.transpose(*(dim for dim in thickness.dims if dim in error.dims)))
        current.coords["sigma"].attrs["units"] = "mA cm-2"
    current = current.astype(thickness.dtype if thickness.dtype.kind == "f" else float).rename(None)
    carried = {name: thickness.attrs[name] for name in ("plating_side", "smooth_um") if name in thickness.attrs}
    current.attrs = {"units": "mA cm-2", "long_name": "Current density", **carried, **passed_on(thickness)}
    return current


def current_closure(
    current_density: xr.DataArray,
    applied_ma: float | Sequence[float] | np.ndarray | xr.DataArray,
    *,
    area_cm2: float | None = None,
    plating_side: str | None = None,
    pore_volume: xr.DataArray | None = None,
    molar_volume_cm3_mol: float = MOLAR_VOLUME_CM3_MOL,
    error_length_um: float = 0.0,
    sigma_common: float = 0.0,
) -> pd.DataFrame:
    """Current density summed over each electrode, beside the current that was applied.

    Parameters
    ----------
    current_density : DataArray, dims (t, [component], y, x), y and x in um, units "mA cm-2"
        From :func:`plating_current_density`; with its coordinate ``sigma``, if any.
    applied_ma : float, sequence of float or DataArray, dims (t), units "mA"
        Mean current over the step that ends at each ``t``, positive where ``plating_side`` plates.
    area_cm2 : float, optional
        Of the electrode that the current was applied to. Default: the field of view.
    plating_side : {"low", "high"}, optional
        Electrode that a positive current plates; the other one is stripped by it. Default:
        ``current_density.attrs["plating_side"]``. Not used without ``component``.
    pore_volume : DataArray, dims (t, [component]), units "um3", optional
        Of the pores within the thickness, at the scans of ``current_density`` *and* the one before the first. Give it
        where the current density was computed without ``porosity``.
    molar_volume_cm3_mol : float
        As in :func:`plating_current_density`.
    error_length_um : float
        Length over which the errors of neighboring columns are alike (that of a smoothing, say). 0: single columns.
    sigma_common : float
        Standard uncertainty, in mA cm-2, that all columns of a step share, such as that of a gray level.

    Returns
    -------
    DataFrame
        A quantity table; per step (``scan`` counts from 1: the later scan of a series) and electrode, in mA and with
        ``n`` columns known:

        - ``image current``: the sum of the map;
        - ``pore current``: what the growth of the pores adds to it, and ``image current without pores`` (both only with
          ``pore_volume``);
        - ``applied current``: as applied, with the sign it has at this electrode, on the share of the area in view;
        - ``current mismatch``: image (without pores) minus applied, and ``image over applied`` (1);
        - with both electrodes, ``electrode imbalance`` of ``cell``: what the two gained together, 0 if no lithium is
          lost.

    Raises
    ------
    AxesError, InputError, UnitsError
        Where the steps do not match, an electrode is unknown, or an axis is in px.

    Notes
    -----
    .. math:: I = A \\langle j \\rangle, \\qquad
              \\sigma_I^2 = A^2 \\left[ \\frac{\\langle \\sigma^2 \\rangle}{n_\\sigma} + \\sigma_c^2
              + \\left(1 - \\frac{n}{N}\\right)^2 \\frac{s^2}{n_\\mathrm{eff}} \\right]

    with n of N columns known: the unknown ones count with the mean of the others, at the risk of the scatter s over
    the effective samples of the map. Where the field of view is part of ``area_cm2``, the scatter enters in full, since
    the rest may carry more or less. Nothing is scaled to agree. The mismatch names no cause: pores,
    side reactions, a leak of current, lithium outside of the view and a wrong boundary all end up in it.

    Examples
    --------
    0.2 mA cm-2 over two columns of 1 cm2 each, and an applied current of 0.5 mA:

    >>> one = xr.DataArray([0.0, 1e4], dims="x", attrs={"units": "um", "spacing": 1e4})
    >>> j = xr.DataArray([[[0.2, 0.2]]], dims=("t", "y", "x"), attrs={"units": "mA cm-2"},
    ...     coords={"x": one, "y": xr.DataArray([0.0], dims="y", attrs={"units": "um", "spacing": 1e4})})
    >>> current_closure(j, 0.5).set_index("quantity")["value"].round(3).to_dict()
    {'image current': 0.4, 'applied current': 0.5, 'current mismatch': -0.1, 'image over applied': 0.8}
    """
    where = "current_closure"
    require_dims(current_density, ("t", "y", "x"), where=where, optional=("component",))
    step = spacing(current_density, where=where)
    per_column = step["y"] * step["x"] / _UM2_PER_CM2
    columns = current_density.sizes["y"] * current_density.sizes["x"]
    view = per_column * columns
    whole = view if area_cm2 is None else float(area_cm2)
    if not (np.isfinite(whole) and whole >= view * (1 - 1e-6)):
        raise InputError(
            f"{where}: area_cm2 must be at least the field of view, {view:.3g} cm2, got {area_cm2!r}. "
            "Give the area of the electrode in cm2."
        )
    for name, number in (("error_length_um", error_length_um), ("sigma_common", sigma_common)):
        if not (np.isfinite(number) and number >= 0):
            raise InputError(f"{where}: {name} must be a number of at least 0, got {number!r}. Leave it out for 0.")
    applied = _applied(applied_ma, current_density.sizes["t"], where=where) * (view / whole)
    signs = _signs(current_density, plating_side, where=where)
    pores = _pore_currents(pore_volume, current_density, list(signs), molar_volume_cm3_mol, where=where)
    times = current_density["t"].values.astype(float) if "t" in current_density.coords else applied * np.nan
    rows: list[dict[str, Any]] = []
    for k, t in enumerate(times):
        total, variance = 0.0, 0.0
        for name, sign in signs.items():
            one = current_density.isel(t=k)
            one = one.sel(component=name) if "component" in one.dims else one
            density, error, n = _mean(one, error_length_um, sigma_common, step, part=view < whole * (1 - 1e-6))
            image, sigma = density * view, error * view
            row = {"scan": k + 1, "t": float(t), "component": name, "unit": "mA", "n": n}
            rows.append(row | {"quantity": "image current", "value": image, "sigma": sigma, "method": "sum of the map"})
            if pores is not None:
                grown = pores[name][k]
                image -= grown
                method = "growth of the pores by Faraday's law"
                rows.append(row | {"quantity": "pore current", "value": grown, "method": method})
                rows.append(row | {"quantity": "image current without pores", "value": image, "sigma": sigma,
                             "method": "sum of the map minus the growth of the pores"})  # fmt: skip
            mine = sign * applied[k]
            method = f"applied, {view / whole:.3g} of its area in view"
            rows.append(row | {"quantity": "applied current", "value": mine, "method": method})
            method = "image minus applied"
            rows.append(row | {"quantity": "current mismatch", "value": image - mine, "sigma": sigma, "method": method})
            ratio, spread = (image / mine, sigma / abs(mine)) if mine else (np.nan, np.nan)
            rows.append(row | {"quantity": "image over applied", "value": ratio, "sigma": spread, "unit": "1"})
            total, variance = total + image, variance + sigma**2
        if len(signs) == 2:
            method = "image current of both electrodes"
            rows.append({
                "scan": k + 1, "t": float(t), "component": "cell", "quantity": "electrode imbalance", "value": total,
                "sigma": float(np.sqrt(variance)), "unit": "mA", "n": 2 * columns, "method": method,
            })  # fmt: skip
    table = quantity_table(rows)
    table.attrs.update(passed_on(current_density))
    return table


def _timed(array: xr.DataArray) -> list[str]:
    return [str(name) for name, coordinate in array.coords.items() if "t" in coordinate.dims]


def _hours(array: xr.DataArray, *, where: str) -> np.ndarray:
    if array.sizes["t"] < 2:
        raise AxesError(f"{where}: at least two scans are needed, got {array.sizes['t']}. Pass the whole series.")
    unit = str(array["t"].attrs.get("units", "1")) if "t" in array.coords else "1"
    if units.kind(unit) != "time":
        raise UnitsError(
            f"{where}: t must be in h or another unit of time, got the units {unit!r}. Set it with "
            "thickness.assign_coords(t=('t', hours, {'units': 'h'}))."
        )
    hours = array["t"].values.astype(float) * units.factor(unit, "h")
    steps = np.diff(hours)
    if not (np.isfinite(steps) & (steps > 0)).all():
        raise InputError(
            f"{where}: t must increase from scan to scan, got the times {hours.tolist()} h. "
            "Sort the scans, or leave out those at which no time had passed."
        )
    return np.asarray(hours)


def _broadcast(value: xr.DataArray, thickness: xr.DataArray, *, name: str, where: str) -> xr.DataArray:
    """The array on the grid of the thickness, matched by position along t, y and x and by name along component."""
    for dim in value.dims:
        if dim not in thickness.dims or value.sizes[dim] != thickness.sizes[dim]:
            raise AxesError(
                f"{where}: {name} must have dims and sizes of the thickness, {dict(thickness.sizes)}, "
                f"got {dict(value.sizes)}. Select, or interpolate it to the columns."
            )
    if "component" in value.dims and "component" in value.coords and "component" in thickness.coords:
        value = value.sel(component=thickness["component"])
    return value.drop_vars([key for key in value.coords if key != "component"])


def _fraction(porosity: float | xr.DataArray, thickness: xr.DataArray, *, where: str) -> float | xr.DataArray:
    values = np.asarray(porosity.values if isinstance(porosity, xr.DataArray) else porosity, dtype=float)
    known = values[np.isfinite(values)]
    if known.size == 0 or not ((known >= 0) & (known < 1)).all():
        bad = known[(known < 0) | (known >= 1)]
        got = bad.flat[0] if bad.size else porosity
        raise InputError(
            f"{where}: porosity must be a fraction in [0, 1), got {got if isinstance(got, str) else f'{got:g}'}. "
            "Divide a percentage by 100."
        )
    if isinstance(porosity, xr.DataArray):
        return _broadcast(porosity, thickness, name="porosity", where=where)
    if values.ndim:
        raise InputError(
            f"{where}: porosity must be a number or a DataArray, got an array of shape {values.shape}. "
            "Name its axes with xarray.DataArray(values, dims=...)."
        )
    return float(values)


def _sigma(
    sigma_um: float | xr.DataArray, share: float | xr.DataArray, thickness: xr.DataArray, *, where: str
) -> float | xr.DataArray:
    """Standard uncertainty of the change of dense thickness, in the unit of the thickness."""
    values = np.asarray(sigma_um, dtype=float)
    if (values[np.isfinite(values)] < 0).any() or (values.ndim and not isinstance(sigma_um, xr.DataArray)):
        raise InputError(
            f"{where}: sigma_um must be a number of at least 0 or a DataArray of them, got {sigma_um!r}. "
            "thickness_sigma(boundaries) makes one."
        )
    if isinstance(sigma_um, xr.DataArray):
        sigma_um = _broadcast(sigma_um, thickness, name="sigma_um", where=where)
    square = (sigma_um * (1 - share)) ** 2
    if isinstance(square, xr.DataArray) and "t" in square.dims:
        square = square.isel(t=slice(1, None)) + square.isel(t=slice(None, -1))
    else:
        square = 2 * square
    root: float | xr.DataArray = square**0.5
    return root * units.factor("um", str(thickness.attrs.get("units", "um")))


def _applied(applied: Any, steps: int, *, where: str) -> np.ndarray:
    factor = 1.0
    if isinstance(applied, xr.DataArray):
        factor = units.factor(str(applied.attrs.get("units", "mA")), "mA")
    values = np.atleast_1d(np.asarray(applied, dtype=float)) * factor
    if values.shape == (1,):
        values = np.repeat(values, steps)
    if values.shape != (steps,):
        raise AxesError(
            f"{where}: applied_ma needs one current per step, {steps}, got the shape {values.shape}. "
            "Leave out the first scan of a series, before which nothing was applied."
        )
    return values


def _signs(current_density: xr.DataArray, plating_side: str | None, *, where: str) -> dict[str, int]:
    """Sign of a positive applied current at each electrode."""
    if "component" not in current_density.dims:
        return {"electrode": 1}
    names = [str(name) for name in current_density["component"].values]
    side = plating_side if plating_side is not None else current_density.attrs.get("plating_side")
    if side not in ENDS or not set(names) <= set(ENDS):
        raise InputError(
            f"{where}: plating_side must be 'low' or 'high' and the components among them, got {side!r} and {names}. "
            f"Pass plating_side=... {nearest(str(side), ENDS)}"
        )
    return {name: 1 if name == side else -1 for name in names}


def _pore_currents(
    pore_volume: xr.DataArray | None, current: xr.DataArray, names: list[str], molar_volume: float, *, where: str
) -> dict[str, np.ndarray] | None:
    """Current in mA that the growth of the pores would be, were it lithium."""
    if pore_volume is None:
        return None
    require_dims(pore_volume, ("t",), where=f"{where}: pore_volume", optional=("component",))
    if pore_volume.sizes["t"] != current.sizes["t"] + 1:
        raise AxesError(
            f"{where}: pore_volume needs the scan before each step too, {current.sizes['t'] + 1} scans, "
            f"got {pore_volume.sizes['t']}. Pass all scans of the series."
        )
    seconds = 3600 * np.diff(_hours(pore_volume, where=f"{where}: pore_volume"))
    # um3 to cm3, A to mA.
    per_um3 = 1e-12 * 1e3 * FARADAY_C_MOL / molar_volume
    found = {}
    for name in names:
        volume = pore_volume.sel(component=name) if "component" in pore_volume.dims else pore_volume
        found[name] = np.diff(volume.values.astype(float)) * per_um3 / seconds
    return found


def _mean(
    density: xr.DataArray, length: float, common: float, step: dict[str, float], *, part: bool
) -> tuple[float, float, int]:
    """Mean of a map, its standard uncertainty, and how many columns are known."""
    values = density.transpose("y", "x").values.astype(float)
    known = np.isfinite(values)
    n = int(known.sum())
    if not n:
        return float("nan"), float("nan"), 0
    variance = common**2
    if "sigma" in density.coords:
        error = np.broadcast_to(np.asarray(density["sigma"].values, dtype=float), values.shape)[known]
        # A Gaussian filter of standard deviation s makes as many columns one as lie in 4 pi s^2.
        alike = max(1.0, 4 * np.pi * length**2 / (step["y"] * step["x"]))
        variance += float(np.mean(error**2)) * min(alike, n) / n
    missing = 1.0 if part else 1 - n / values.size
    if missing > 0 and n > 1:
        variance += missing**2 * float(values[known].var(ddof=1)) / effective_samples(values, known)
    unknown = "sigma" not in density.coords and variance == 0
    return float(values[known].mean()), float("nan") if unknown else float(np.sqrt(variance)), n
