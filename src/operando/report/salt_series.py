"""Salt at the two electrodes over time, beside voltage and current."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando.core.errors import InputError
from operando.report import style, wording
from operando.report.salt_profiles import MODELS

ELECTRODES = {"plated": style.ACCENTS["plated"], "dissolving": style.ACCENTS["stripped"]}
_BETWEEN = 1.96
_VOLTAGE = "#0072B2"


@style.styled
def salt_at_electrodes(
    measured: xr.Dataset,
    fits: Mapping[str, xr.Dataset],
    *,
    bounds: tuple[float, float] = (0.8, 0.2),
    mark_h: float | None = None,
    simulated: bool | None = None,
) -> Any:
    """Draw the share of salt left at each electrode over time, as read from the profiles and as modeled.

    Parameters
    ----------
    measured : Dataset, dims (t, electrode)
        ``concentration`` and ``concentration_sigma``; coordinates ``t_h`` (t) in h and ``electrode`` ("plated",
        "dissolving"); ``attrs["initial"]``.
    fits : mapping of name to Dataset of ``dendrites.fit_salt_transport``
        ``plated_share``, ``dissolving_share`` (t) and their sigmas.
    bounds : pair of float
        Shares between which depletion is partial.
    mark_h : float, optional
        Time to mark.
    simulated : bool, optional
        Default ``measured.attrs["simulated"]``.

    Returns
    -------
    matplotlib Figure, 180 mm wide

    Examples
    --------
    >>> measured = xr.Dataset({"concentration": (("t", "electrode"), [[1.0, 1.0], [0.5, 1.5]]),
    ...     "concentration_sigma": (("t", "electrode"), np.full((2, 2), 0.1))},
    ...     coords={"electrode": ["plated", "dissolving"], "t_h": ("t", [0.0, 1.0])}, attrs={"initial": 1.0})
    >>> salt_at_electrodes(measured, {}).axes[0].get_ylabel()
    'Salt over initial'
    """
    hours = measured["t_h"].values
    figure = style.new_figure(style.DOUBLE_MM, 66)
    axes = figure.subplots(1, 2)
    for ax, (name, color) in zip(axes, ELECTRODES.items(), strict=True):
        one = measured.sel(electrode=name)
        share = one["concentration"].values / measured.attrs["initial"]
        spread = _BETWEEN * one["concentration_sigma"].values / measured.attrs["initial"]
        ax.errorbar(hours, share, spread, fmt="o", ms=2.5, color=color, lw=0.6, label="profile, blurred")
        for label, fit in fits.items():
            shade, line = MODELS.get(label, ("#6B7785", "-"))
            values, sigma = fit[f"{name}_share"].values, _BETWEEN * fit[f"{name}_share_sigma"].values
            ax.plot(hours, values, color=shade, ls=line, label=f"surface, {label}")
            if not fit.attrs.get("at_limit", 0):
                ax.fill_between(hours, values - sigma, values + sigma, color=shade, alpha=0.15, lw=0)
        ax.axhline(1, color=style.MUTED, lw=0.5)
        if mark_h is not None and np.isfinite(mark_h):
            ax.axvline(mark_h, color=style.FLAG, lw=0.8, ls=":")
        ax.set(xlabel="Time [h]", ylabel="Salt over initial", title=f"{name} electrode")
        if name == "plated":
            for bound, word in zip(bounds, ("partial below", "full below"), strict=True):
                ax.axhline(bound, color=style.INK, lw=0.6, ls="--")
                ax.annotate(word, (1, bound), xycoords=("axes fraction", "data"), xytext=(-2, 2),
                            textcoords="offset points", ha="right", fontsize=7)  # fmt: skip
            ax.set_ylim(min(-0.03, ax.get_ylim()[0]), max(1.15, ax.get_ylim()[1]))
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
    style.panel_letters(axes)
    return _marked(figure, measured, simulated)


@style.styled
def salt_gradients(
    measured: xr.Dataset, cycler: pd.DataFrame, *, mark_h: float | None = None, simulated: bool | None = None
) -> Any:
    """Draw the salt gradient at both electrodes over time, above voltage and current.

    Parameters
    ----------
    measured : Dataset, dims (t, electrode)
        ``concentration_gradient`` and its sigma, positive where salt rises into the electrolyte; coordinates
        ``t_h`` and ``electrode``.
    cycler : DataFrame
        ``time_h``, ``current_ma``, ``voltage_v``.
    mark_h : float, optional
        Time to mark: the current gave way.
    simulated : bool, optional
        Default ``measured.attrs["simulated"]``.

    Returns
    -------
    matplotlib Figure, 180 mm wide

    Raises
    ------
    InputError
        Where the record lacks a column.

    Examples
    --------
    >>> measured = xr.Dataset({"concentration_gradient": (("t", "electrode"), np.zeros((2, 2))),
    ...     "concentration_gradient_sigma": (("t", "electrode"), np.full((2, 2), 0.1))},
    ...     coords={"electrode": ["plated", "dissolving"], "t_h": ("t", [0.0, 1.0])})
    >>> record = pd.DataFrame({"time_h": [0.0, 1.0], "current_ma": [1.0, 1.0], "voltage_v": [0.1, 0.2]})
    >>> [ax.get_ylabel() for ax in salt_gradients(measured, record).axes]
    ['Salt gradient\\n[mmol L⁻¹ µm⁻¹]', 'Voltage\\n[V]', 'Current\\n[µA]']
    """
    missing = [name for name in ("time_h", "current_ma", "voltage_v") if name not in cycler]
    if missing:
        raise InputError(
            f"salt_gradients: the record lacks the columns {missing}, got {list(cycler.columns)}. Rename them."
        )
    figure = style.new_figure(style.DOUBLE_MM, 96)
    top, middle, low = figure.subplots(3, 1, sharex=True, height_ratios=[1.5, 0.8, 0.7])
    hours = measured["t_h"].values
    for name, color in ELECTRODES.items():
        one = measured.sel(electrode=name)
        values, spread = (1000 * one[key].values for key in ("concentration_gradient", "concentration_gradient_sigma"))
        top.errorbar(hours, values, _BETWEEN * spread, fmt="o", ms=2.5, color=color, lw=0.6, label=f"{name} electrode")
    top.axhline(0, color=style.INK, lw=0.5)
    top.set_ylabel(wording.label_text("salt gradient", "mmol L-1 um-1", lines=2))
    top.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    middle.plot(cycler["time_h"], cycler["voltage_v"], color=_VOLTAGE, lw=0.9)
    middle.set_ylabel(wording.label_text("voltage", "V", lines=2))
    middle.set_ylim(bottom=min(0.0, float(cycler["voltage_v"].min())))
    low.plot(cycler["time_h"], 1000 * cycler["current_ma"], color=style.CURRENT, lw=0.9)
    low.set_ylabel(wording.label_text("current", "uA", lines=2))
    low.set_ylim(bottom=min(0.0, 1000 * float(cycler["current_ma"].min())))
    low.set_xlabel("Time [h]")
    if mark_h is not None and np.isfinite(mark_h):
        for ax in (top, middle, low):
            ax.axvline(mark_h, color=style.FLAG, lw=0.8, ls=":")
    figure.align_ylabels()
    style.panel_letters((top, middle, low), indent=-30)
    return _marked(figure, measured, simulated)


@style.styled
def salt_balance(
    measured: xr.Dataset, slope: Mapping[str, float], *, mark_h: float | None = None, simulated: bool | None = None
) -> Any:
    """Draw the displaced salt against the charge, and whether the whole of the salt is still there.

    Parameters
    ----------
    measured : Dataset, dims (t)
        ``displaced``, ``balance`` and their sigmas in um; coordinates ``t_h`` in h and ``charge`` in mAh;
        ``attrs["thickness_um"]``.
    slope : mapping
        ``slope`` and ``slope_sigma`` in um mAh-1 and ``offset`` in um, of ``dendrites.displaced_per_charge``.
    mark_h : float, optional
    simulated : bool, optional
        Default ``measured.attrs["simulated"]``.

    Returns
    -------
    matplotlib Figure, 180 mm wide

    Examples
    --------
    >>> one = ("t", [0.0, 1.0])
    >>> measured = xr.Dataset({"displaced": one, "displaced_sigma": one, "balance": one, "balance_sigma": one},
    ...     coords={"t_h": one, "charge": one}, attrs={"thickness_um": 100.0})
    >>> salt_balance(measured, {"slope": 1.0, "slope_sigma": 0.1, "offset": 0.0}).axes[0].get_xlabel()
    'Charge [mAh]'
    """
    figure = style.new_figure(style.DOUBLE_MM, 60)
    left, right = figure.subplots(1, 2)
    charge = measured["charge"].values
    left.errorbar(charge, measured["displaced"].values, _BETWEEN * measured["displaced_sigma"].values, fmt="o", ms=2.5,
                  color=style.INK, lw=0.6)  # fmt: skip
    ends = np.array([np.nanmin(charge), np.nanmax(charge)])
    half = _BETWEEN * slope["slope_sigma"]
    label = wording.quantity_text(slope["slope"], half, "um mAh-1")
    left.plot(ends, slope["offset"] + slope["slope"] * ends, color=style.FLAG, label=label)
    left.set(xlabel="Charge [mAh]", ylabel=wording.label_text("salt displaced, as thickness", "um"))
    left.legend(loc="upper left")
    part = 100 / measured.attrs["thickness_um"]
    right.errorbar(measured["t_h"].values, part * measured["balance"].values, _BETWEEN * part
                   * measured["balance_sigma"].values, fmt="o", ms=2.5, color=style.MUTED, lw=0.6)  # fmt: skip
    right.axhline(0, color=style.INK, lw=0.5)
    if mark_h is not None and np.isfinite(mark_h):
        right.axvline(mark_h, color=style.FLAG, lw=0.8, ls=":")
    right.set(xlabel="Time [h]", ylabel="Change of all salt [%]")
    style.panel_letters((left, right))
    return _marked(figure, measured, simulated)


@style.styled
def sand_times(times: pd.DataFrame, *, simulated: bool | None = None) -> Any:
    """Draw times to depletion by every way on one logarithmic axis.

    Parameters
    ----------
    times : DataFrame
        Quantity rows ``time to depletion`` in h, one component per way; NaN and infinity are said in words, and so is a
        ``method`` that calls its time an upper bound.
    simulated : bool, optional
        Default ``times.attrs["simulated"]``.

    Returns
    -------
    matplotlib Figure, 180 mm wide

    Raises
    ------
    InputError
        Where no row has a time.

    Examples
    --------
    >>> rows = pd.DataFrame({"component": ["voltage", "Sand"], "quantity": "time to depletion", "value": [1.4, 16.0],
    ...     "sigma": [0.01, 2.0], "unit": "h", "method": ""})
    >>> [text.get_text() for text in sand_times(rows).axes[0].get_yticklabels()]
    ['voltage', 'Sand']
    """
    rows = times[times["quantity"] == "time to depletion"].reset_index(drop=True)
    if not np.isfinite(rows["value"].to_numpy(dtype=float)).any():
        raise InputError("sand_times: at least one finite time to depletion is needed, got none. Leave the figure out.")
    figure = style.new_figure(style.DOUBLE_MM, 22 + 7 * len(rows))
    ax = figure.add_subplot()
    known = rows["value"][np.isfinite(rows["value"])]
    ax.set_xscale("log")
    ax.set_xlim(float(known.min()) / 2.5, float(known.max()) * 12)
    for place, row in rows.iterrows():
        value, sigma = float(row["value"]), float(row["sigma"])
        if not np.isfinite(value):
            # In the axis from the left, where nothing else is.
            note = "never" if np.isinf(value) else "not reached"
            ax.annotate(note, (0.01, place), xycoords=("axes fraction", "data"), va="center", color=style.MUTED)
            continue
        color = style.INK if row["component"] in ("voltage", "profiles") else "#882255"
        half = _BETWEEN * sigma if np.isfinite(sigma) else 0.0
        ax.errorbar(value, place, xerr=[[min(half, 0.9 * value)], [half]], fmt="o", ms=4, color=color, lw=1.0)
        bound = "≤ " if "upper bound" in str(row["method"]) else ""
        text = bound + wording.quantity_text(value, half, "h")
        ax.annotate(text, (value + half, place), xytext=(6, 0), textcoords="offset points", va="center")
    ax.set_yticks(range(len(rows)), list(rows["component"]))
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlabel("Time to depletion [h]")
    ax.grid(True, axis="x")
    return _marked(figure, times, simulated)


def _marked(figure: Any, data: Any, simulated: bool | None) -> Any:
    if bool(data.attrs.get("simulated", False)) if simulated is None else simulated:
        style.mark_simulated(figure)
    return figure
