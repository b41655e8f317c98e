"""Intermittent cycling: when current flowed, and what the voltage reached meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from operando.core.errors import InputError

_REST_SHARE = 0.02


def pulses(cycler: pd.DataFrame, *, rest_ma: float | None = None) -> pd.DataFrame:
    """Find the pulses of an intermittent cycling record.

    Parameters
    ----------
    cycler : DataFrame
        With ``time_h``, ``current_ma`` and optionally ``voltage_v``, as :func:`read_cycler` returns.
    rest_ma : float, optional
        Currents up to this count as rest. Default: 2 % of the largest one.

    Returns
    -------
    DataFrame
        One row per pulse: ``start_h``, ``end_h`` (midway between the rows with and without current), ``current_ma``
        (mean), ``charge_mah`` and ``peak_v``, the voltage of largest magnitude (NaN without a voltage). Two neighboring
        pulses of opposite sign are two pulses.

    Raises
    ------
    InputError
        Where a column is missing or ``rest_ma`` is negative.

    Notes
    -----
    The line through ``peak_v`` is the envelope of Huang 2023, Supplementary Fig. 3. Charge by trapezoids from the row
    before the pulse to the row after it.

    Examples
    --------
    >>> record = pd.DataFrame({"time_h": [0.0, 1.0, 2.0, 3.0, 4.0], "current_ma": [0.0, 2.0, 2.0, 0.0, 0.0],
    ...     "voltage_v": [0.0, 0.1, 0.3, 0.05, 0.0]})
    >>> pulses(record)[["start_h", "end_h", "current_ma", "charge_mah", "peak_v"]].to_numpy().tolist()
    [[0.5, 2.5, 2.0, 4.0, 0.3]]
    """
    missing = [name for name in ("time_h", "current_ma") if name not in cycler]
    if missing:
        raise InputError(
            f"pulses: the record must have the columns time_h and current_ma, got {list(cycler.columns)}. "
            "Read it with operando.electrochemistry.read_cycler."
        )
    if rest_ma is not None and not rest_ma >= 0:
        raise InputError(f"pulses: rest_ma must be a current of at least 0 mA, got {rest_ma!r}. Leave it out for 2 %.")
    time, current = (cycler[name].to_numpy(dtype=float) for name in ("time_h", "current_ma"))
    voltage = cycler["voltage_v"].to_numpy(dtype=float) if "voltage_v" in cycler else np.full(time.size, np.nan)
    limit = _REST_SHARE * np.abs(current).max(initial=0.0) if rest_ma is None else rest_ma
    sign = np.where(np.abs(current) > limit, np.sign(current), 0).astype(int)
    starts = np.flatnonzero((sign != 0) & (np.diff(sign, prepend=0) != 0))
    rows = []
    for start in starts.tolist():
        length = int(np.argmax(np.append(sign[start:], 0) != sign[start]))
        last = start + length - 1
        part = slice(max(start - 1, 0), last + 2)
        begin = (time[max(start - 1, 0)] + time[start]) / 2
        end = (time[last] + time[min(last + 1, time.size - 1)]) / 2
        seen = voltage[start : last + 1]
        peak = float(seen[np.nanargmax(np.abs(seen))]) if np.isfinite(seen).any() else np.nan
        charge = float(np.trapezoid(np.where(np.sign(current[part]) == -sign[start], 0.0, current[part]), time[part]))
        mean = charge / (end - begin) if end > begin else float(current[start])
        rows.append((begin, end, mean, charge, peak))
    return pd.DataFrame(rows, columns=["start_h", "end_h", "current_ma", "charge_mah", "peak_v"], dtype=float)


def applied_hours(
    cycler: pd.DataFrame, times_h: Sequence[float] | np.ndarray | xr.DataArray, *, rest_ma: float | None = None
) -> np.ndarray:
    """Hours during which current had flowed at given times: the time axis of Huang 2023.

    Parameters
    ----------
    cycler : DataFrame
        As in :func:`pulses`.
    times_h : sequence of float
        Times in hours on the clock of the cycler.
    rest_ma : float, optional
        As in :func:`pulses`.

    Returns
    -------
    ndarray of float
        Hours with current until each time; rests are left out.

    Examples
    --------
    An hour of current, an hour of rest, an hour of current:

    >>> record = pd.DataFrame({"time_h": [0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0], "current_ma": [0, 1, 1, 0, 0, -1, -1]})
    >>> applied_hours(record, [0.5, 1.5, 3.0]).tolist()
    [0.5, 1.0, 2.0]
    """
    found = pulses(cycler, rest_ma=rest_ma)
    times = np.asarray(times_h, dtype=float)
    total = np.zeros(times.shape)
    for start, end in zip(found["start_h"], found["end_h"], strict=True):
        total += np.clip(times, start, end) - start
    return total
