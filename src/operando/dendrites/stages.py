"""Stages of growth by depletion: how much salt is left at the surface, and how fast lithium grows then."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from operando.core.errors import AxesError, InputError, nearest
from operando.core.quantities import quantity_table

STAGES = ("none", "partial", "full")
"""No, partial and full depletion; a stage is the index into these."""

# Robust standard deviations from the median beyond which a column is not of this surface (a break, a speck).
_OUTLIER = 5.0
_MISSING = ("raise", "unknown")


def depletion_stage(
    surface_concentration: xr.DataArray,
    *,
    initial: float | None = None,
    none_above: float = 0.5,
    full_below: float = 0.1,
    hysteresis: float = 0.0,
    monotone: bool = False,
    level: float = 2.0,
    missing: str = "raise",
) -> xr.DataArray:
    r"""Stage of depletion of every frame, from the salt that is left at the surface.

    Parameters
    ----------
    surface_concentration : DataArray, dims (t, [x]), any unit
        As :func:`operando.dendrites.surface_concentration` returns it; concentrations or relative gray values that
        are 0 without salt. A coordinate ``sigma`` is used.
    initial : float, optional
        Concentration before the current, in the same unit. Default: the lateral mean of the first frame, which
        must then be one before depletion.
    none_above, full_below : float
        Bounds on the remaining share c / initial: "none" above the first, "full" below the second, "partial"
        between.
    hysteresis : float
        A stage is only left backward where the share passes the bound by this much.
    monotone : bool
        Never go back: for a current that only depletes.
    level : float
        Sigmas by which a share must be known to lie beyond a bound: depletion is not claimed, and salt not said to
        remain, within the noise.
    missing : {"raise", "unknown"}
        Whether a series whose first frame shows no salt to compare with is an error, or of unknown stage throughout.

    Returns
    -------
    DataArray of int64, dims (t)
        0, 1, 2 for :data:`STAGES` (none, partial, full); -1 where the stage is not known. Coordinates ``share``
        (c / initial) and ``sigma`` (of the share; that of the initial concentration not counted), ``attrs["names"]``.

    Raises
    ------
    AxesError, InputError
        Where dims or bounds do not fit, a choice is unknown, or the initial concentration is not positive.

    Notes
    -----
    .. math:: s(t) = \langle c(x, t) \rangle_x / c_0

    The mean leaves out columns more than five robust standard deviations from the median, as where the line broke.
    Its sigma is that of measuring: the columns' own over the square root of their number, of which those under one
    smoothing kernel count once. That the surface is depleted unevenly is no error and no part of it. "Partial" needs
    s + level sigma < none_above, "full" s - level sigma < full_below: depletion is claimed only beyond the noise,
    and "full" is what cannot be told from the lower bound. A gray value that is not 0 without salt shifts s; no
    sigma shows it.

    The bounds are conventions. Ma 2021 names the stages and gives no bounds; here "none" keeps more than half of
    the salt and "full" less than a tenth.

    Examples
    --------
    >>> c = xr.DataArray([0.33, 0.31, 0.15, 0.01], dims="t")
    >>> [STAGES[i] for i in depletion_stage(c).values]
    ['none', 'none', 'partial', 'full']
    """
    _check_bounds(none_above, full_below, hysteresis)
    if missing not in _MISSING:
        raise InputError(
            f"depletion_stage: missing must be one of {_MISSING}, got {missing!r}. {nearest(str(missing), _MISSING)}"
        )
    values = _checked(surface_concentration, "depletion_stage")
    center, sigma = _lateral(values)
    unknown = missing == "unknown" and initial is None and not center[0] > 0
    start = np.nan if unknown else _initial(center, initial)
    share, spread = center / start, sigma / start
    noise = level * np.nan_to_num(spread)
    stages = np.full(share.size, -1, dtype=np.int64)
    last = 0
    for i, (value, margin) in enumerate(zip(share, noise, strict=True)):
        if np.isnan(value):
            continue
        upper = none_above + (hysteresis if last >= 1 else 0.0)
        lower = full_below + (hysteresis if last >= 2 else 0.0)
        found = 2 if value - margin < lower and value < upper else int(value + margin < upper)
        last = max(last, found) if monotone else found
        stages[i] = last
    coords = {"t": values.coords["t"]} if "t" in values.coords else {}
    return xr.DataArray(
        stages,
        dims="t",
        coords={**coords, "share": ("t", share), "sigma": ("t", spread)},
        attrs={
            "units": "1",
            "long_name": "Stage of depletion",
            "names": list(STAGES),
            "initial": start,
            "none_above": none_above,
            "full_below": full_below,
        },
        name="stage",
    )


def stage_of_point(
    surface_concentration: xr.DataArray,
    *,
    initial: float | None = None,
    none_above: float = 0.5,
    full_below: float = 0.1,
) -> xr.DataArray:
    """Stage of depletion of every point of the interface by itself.

    Parameters
    ----------
    surface_concentration : DataArray, dims (t, [x]), any unit
    initial, none_above, full_below
        As in :func:`depletion_stage`. The noise of a single point is not averaged: near a bound stages flicker.

    Returns
    -------
    DataArray of int64, dims of the input
        0, 1, 2 for :data:`STAGES`, -1 where no concentration is known.

    Examples
    --------
    A valley depletes before a tip does:

    >>> c = xr.DataArray([[0.33, 0.33], [0.15, 0.02]], dims=("t", "x"))
    >>> stage_of_point(c).values.tolist()
    [[0, 0], [1, 2]]
    """
    _check_bounds(none_above, full_below, 0.0)
    values = _checked(surface_concentration, "stage_of_point")
    start = _initial(_lateral(values)[0], initial)
    share = surface_concentration.drop_vars("sigma", errors="ignore").astype(float) / start
    stage = (share < none_above).astype(np.int64) + (share < full_below)
    out = stage.where(np.isfinite(share), -1).astype(np.int64)
    return out.assign_attrs(units="1", long_name="Stage of depletion", names=list(STAGES), initial=start).rename(
        "stage"
    )


def stage_velocities(table: pd.DataFrame, *, rate: str = "growth_rate_next") -> pd.DataFrame:
    """Mean growth rate in each stage of depletion, with a sigma over frames.

    Parameters
    ----------
    table : DataFrame
        As :func:`operando.dendrites.growth_features` returns it: ``experiment``, ``frame``, ``stage`` and the rate.
    rate : str
        The column to average: what grows in the interval after the frame whose stage it is.

    Returns
    -------
    DataFrame
        A quantity table: component = stage, quantity "growth rate", n = frames. Every frame counts alike; sigma is the
        standard error of the frames' means, because the points of a frame grow together. With a single frame sigma
        is NaN. Stages that do not occur have no row.

    Examples
    --------
    >>> table = pd.DataFrame({"experiment": "a", "frame": [1, 1, 2, 2], "stage": "full",
    ...     "growth_rate_next": [0.5, 0.7, 0.7, 0.9]})
    >>> stage_velocities(table)[["component", "value", "sigma", "n"]].round(3).values.tolist()
    [['full', 0.7, 0.1, 2]]
    """
    missing = [name for name in ("experiment", "frame", "stage", rate) if name not in table]
    if missing:
        raise InputError(
            f"stage_velocities: the table lacks the columns {missing}. "
            "Pass what operando.dendrites.growth_features returns."
        )
    means = table.dropna(subset=[rate]).groupby(["stage", "experiment", "frame"], sort=False)[rate].mean()
    unit = table.attrs.get("units", {}).get(rate, "um min-1")
    rows = []
    for stage in STAGES:
        frames = means[means.index.get_level_values("stage") == stage].to_numpy()
        if frames.size:
            rows.append(
                {
                    "component": stage,
                    "quantity": "growth rate",
                    "value": frames.mean(),
                    "sigma": frames.std(ddof=1) / np.sqrt(frames.size) if frames.size > 1 else np.nan,
                    "unit": unit,
                    "n": frames.size,
                    "method": "mean over frames of the lateral mean; sigma: standard error over frames",
                }
            )
    return quantity_table(rows)


def _checked(salt: xr.DataArray, where: str) -> xr.DataArray:
    if not isinstance(salt, xr.DataArray) or set(salt.dims) not in ({"t"}, {"t", "x"}):
        got = getattr(salt, "dims", type(salt).__name__)
        raise AxesError(f"{where}: a DataArray with dims (t, [x]) is needed, got {got}. Select or rename first.")
    return salt.transpose("t", ...)


def _check_bounds(none_above: float, full_below: float, hysteresis: float) -> None:
    if not (0 <= full_below < none_above <= 1.5 and 0 <= hysteresis < none_above - full_below):
        raise InputError(
            "depletion_stage: bounds are shares with 0 <= full_below < none_above and a hysteresis smaller than their "
            f"distance, got full_below={full_below!r}, none_above={none_above!r}, hysteresis={hysteresis!r}."
        )


def _initial(center: np.ndarray, initial: float | None) -> float:
    start = float(center[0]) if initial is None else float(initial)
    if not (np.isfinite(start) and start > 0):
        raise InputError(
            f"depletion_stage: the initial concentration must be positive, got {start!r}. "
            "Pass initial=, the concentration before the current."
        )
    return start


def _lateral(values: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over x of every frame without outliers, and its sigma; without x the value and its own sigma."""
    data = values.values.astype(float)
    own = np.full(data.shape, np.nan)
    if "sigma" in values.coords:
        own = np.asarray(values.coords["sigma"].transpose(*values.dims).values, dtype=float)
    if data.ndim == 1:
        return data, own
    kernel = values.attrs.get("smoothing")
    together = max(1.0, float(np.ravel(kernel)[-1])) if kernel is not None else 1.0
    center, sigma = np.full(len(data), np.nan), np.full(len(data), np.nan)
    for i, (row, spread) in enumerate(zip(data, own, strict=True)):
        known = np.isfinite(row)
        if known.any():
            away = np.abs(row - np.median(row[known]))
            kept = known & (away <= _OUTLIER * 1.4826 * np.median(away[known]))
            center[i] = row[kept].mean()
            variance = spread[kept & np.isfinite(spread)] ** 2
            if variance.size:
                sigma[i] = np.sqrt(min(1.0, together / variance.size) * variance.mean())
    return center, sigma
