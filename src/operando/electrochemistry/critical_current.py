"""The current density at which a cell fails, from its voltage: a sudden drop or the onset of noise."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd

from operando.core.errors import InputError
from operando.core.quantities import quantity_table
from operando.electrochemistry.pulses import pulses

_SAME_CURRENT = 0.05
_GUARD = 5
_SLACK = 0.5
_ALARM = 8.0
_FLOOR = 2e-4
_EARLIER = 2
_SHORTED = 0.5


def critical_current(
    record: pd.DataFrame,
    *,
    area_cm2: float,
    drop: float = 0.1,
    noise: float = 4.0,
    window: int = 21,
    rest_ma: float | None = None,
) -> pd.DataFrame:
    """Critical current density: the smallest that was applied when the voltage first dropped or became noisy.

    Parameters
    ----------
    record : DataFrame
        With ``time_h``, ``current_ma`` and ``voltage_v``, as :func:`read_cycler` returns.
    area_cm2 : float
        Of the electrode, in cm2.
    drop : float
        Share of the polarization that must be lost at once to count as a drop.
    noise : float
        Factor by which the scatter of the voltage must exceed that of the record so far to count as noise.
    window : int
        Rows that the local median, the local slope and the local scatter rest on.
    rest_ma : float, optional
        Currents up to this count as rest. Default: 2 % of the largest one.

    Returns
    -------
    DataFrame
        A quantity table of ``cell``; ``t`` is the time of the onset in h (NaN without one), ``n`` the number of the
        step, from 1 (0: none):

        - ``critical current density`` (mA cm-2), NaN without an onset; sigma covers the gap to the highest one survived
        - ``current density survived`` (mA cm-2): the highest one of all steps before that of the onset, a lower bound
          of the critical one; NaN if there is none
        - ``onset time`` (h)

        ``method`` says what was seen. ``attrs["kind"]`` is "drop", "short" (low from the start), "noise" or "none".

    Raises
    ------
    InputError
        Where a column is missing, no current flows or an argument is out of range.

    Notes
    -----
    Steps and onsets are those of :func:`voltage_steps`. The critical current density is the magnitude of the current of
    the step in which the first onset lies, over the area. Sigma is that of a value anywhere between the highest current
    survived and this one, the gap over the root of 12; where the current was the same as one survived, the charge
    passed matters and not only the current, and sigma is 0.

    The value belongs to this cell, pressure, temperature and sequence of steps. A dendrite that has not yet reached the
    other electrode leaves no mark in the voltage.

    Reference
    ---------
    Dixit et al., ACS Applied Energy Materials 3, 9534 (2020), Fig. S6 (about 26 uA cm-2, read from the voltage),
    doi:10.1021/acsaem.0c02053

    Examples
    --------
    Steps of 0.1 and 0.2 mA on 0.5 cm2; in the second one the polarization falls to a fifth:

    >>> random = np.random.default_rng(0)
    >>> current = np.repeat([0.1, 0.2], 200)
    >>> voltage = current * np.where(np.arange(400) < 300, 1.0, 0.2) + 1e-3 * random.normal(size=400)
    >>> record = pd.DataFrame({"time_h": np.arange(400) / 100, "current_ma": current, "voltage_v": voltage})
    >>> found = critical_current(record, area_cm2=0.5)
    >>> found.set_index("quantity")["value"].round(2).to_dict()
    {'critical current density': 0.4, 'current density survived': 0.2, 'onset time': 3.0}
    >>> found.attrs["kind"]
    'drop'
    """
    where = "critical_current"
    if not (np.isfinite(area_cm2) and area_cm2 > 0):
        raise InputError(f"{where}: area_cm2 must be a positive number, got {area_cm2!r}. Give it in cm2.")
    steps = voltage_steps(record, drop=drop, noise=noise, window=window, rest_ma=rest_ma, where=where)
    density = steps["current_ma"].abs() / area_cm2
    failed = steps.index[steps["onset"] != ""]
    first = int(failed[0]) if failed.size else None
    before = density if first is None else density.iloc[:first]
    survived = float(before.max()) if before.size else np.nan
    row: dict[str, Any] = {"component": "cell", "unit": "mA cm-2"}
    if first is None:
        kind, critical, time, sigma, number = "none", np.nan, np.nan, np.nan, 0
        seen = f"no drop and no noise in {len(steps)} steps"
    else:
        kind, critical, time = str(steps["onset"][first]), float(density[first]), float(steps["onset_h"][first])
        number = first + 1
        # Without a current survived it may lie anywhere between 0 and this one.
        sigma = max(critical - (survived if np.isfinite(survived) else 0.0), 0.0) / np.sqrt(12)
        inside = time - float(steps["start_h"][first])
        seen = f"{kind} in step {number} of {len(steps)}, {inside:.3g} h after it began"
    row |= {"t": time, "n": number}
    table = quantity_table([
        row | {"quantity": "critical current density", "value": critical, "sigma": sigma, "method": seen},
        row | {"quantity": "current density survived", "value": survived, "method": "highest before the onset"},
        row | {"quantity": "onset time", "value": time, "unit": "h", "method": seen},
    ])  # fmt: skip
    table.attrs["kind"] = kind
    return table


def voltage_steps(
    record: pd.DataFrame,
    *,
    drop: float = 0.1,
    noise: float = 4.0,
    window: int = 21,
    rest_ma: float | None = None,
    where: str = "voltage_steps",
) -> pd.DataFrame:
    """Steps of constant current with their polarization, scatter, and the first sign of failure in each.

    Parameters
    ----------
    record, drop, noise, window, rest_ma
        As in :func:`critical_current`.
    where : str
        What asks, for the messages.

    Returns
    -------
    DataFrame
        One row per step: ``start_h``, ``end_h``, ``current_ma`` (median, signed), ``polarization_v`` (median of the
        voltage in the direction of the current), ``resistance_ohm`` (the ratio of both), ``scatter_v`` (median of the
        local scatter), ``onset`` ("", "drop", "short" or "noise"), ``onset_h`` (NaN without) and ``judged``: whether
        the step has rows enough to see a drop or noise within it.

    Raises
    ------
    InputError
        As :func:`critical_current`.

    Notes
    -----
    Steps are the pulses of :func:`pulses`, cut where the current changes by more than 5 % of itself from one row to the
    next. With the polarization u, the voltage times the sign of the current:

    - **drop**: the forecast at a row is the median of the ``window`` rows that end 5 rows before it, or the robust line
      through them where that is lower, so that neither a rise that levels off nor a decay after the switch is a drop. A
      one-sided cumulative sum of forecast minus u, in robust standard deviations and less 0.5 each, must exceed 8, and
      the median of the ``window`` rows since the sum left 0 must lie below the forecast by ``drop`` of it. The onset is
      the first of them below the middle between both.
    - **noise**: the local scatter, the median magnitude of second differences in ``window`` rows as a standard
      deviation of single rows, exceeds ``noise`` times its median over the last two steps without an onset (as it is
      with the quieter half of this step, or scaled with the current, whichever is larger), in half a window of rows in
      a row. The onset is the middle of the first such window. Single spikes do not move a median.
    - **short**: the resistance of the first ``window`` rows is below half of the lowest one that an earlier step
      without an onset began with.

    No scatter counts as smaller than 0.02 % of the polarization or the last digit of the record. The first
    ``window`` rows of a step and the 5 after them are only looked at for noise. Rows are counted, not hours: a record
    whose rows come at very uneven times should be resampled first. Memory: ``window`` times the rows.

    Examples
    --------
    >>> current = np.repeat([1.0, -1.0], 100)
    >>> record = pd.DataFrame({"time_h": np.arange(200.0), "current_ma": current, "voltage_v": 0.3 * current})
    >>> voltage_steps(record)[["current_ma", "resistance_ohm", "onset"]].values.tolist()
    [[1.0, 300.0, ''], [-1.0, 300.0, '']]
    """
    missing = [name for name in ("time_h", "current_ma", "voltage_v") if name not in record]
    if missing:
        raise InputError(
            f"{where}: the record must have the columns time_h, current_ma and voltage_v, it lacks {missing}. "
            "Read it with operando.electrochemistry.read_cycler."
        )
    if not 0 < drop < 1:
        raise InputError(f"{where}: drop must be a share between 0 and 1, got {drop!r}. 0.1 is a tenth.")
    if not (np.isfinite(noise) and noise > 1):
        raise InputError(f"{where}: noise must be a factor above 1, got {noise!r}. 4 is usual.")
    if not isinstance(window, int | np.integer) or window < 5:
        raise InputError(f"{where}: window must be a whole number of at least 5 rows, got {window!r}. 21 is usual.")
    known = record[np.isfinite(record["voltage_v"]) & np.isfinite(record["current_ma"])]
    parts = _steps(known, rest_ma)
    if not parts:
        raise InputError(f"{where}: at least one step with current is needed, got none. Check the column current_ma.")
    time, current, voltage = (known[name].to_numpy(dtype=float) for name in ("time_h", "current_ma", "voltage_v"))
    rows: list[dict[str, Any]] = []
    sound: list[tuple[float, np.ndarray]] = []
    lowest, digit = np.inf, _digit(voltage)
    for part in parts:
        u = voltage[part] * np.sign(np.median(current[part]))
        floor = max(_FLOOR * float(np.median(np.abs(u))), digit)
        scatter = np.maximum(_scatter(u, window), floor)
        applied = float(np.median(current[part]))
        level = float(np.median(u))
        start = 1e3 * float(np.median(u[:window])) / abs(applied)
        usual = _usual(scatter, abs(applied), sound)
        found = {
            "drop": _drop_onset(u, drop, window, floor),
            "noise": _noise_onset(scatter, noise * usual, window),
            "short": 0 if np.isfinite(lowest) and start < _SHORTED * lowest else None,
        }
        onsets = {kind: row for kind, row in found.items() if row is not None}
        onset = min(onsets, key=lambda kind: (onsets[kind], kind)) if onsets else ""
        rows.append({
            "start_h": float(time[part][0]), "end_h": float(time[part][-1]), "current_ma": applied,
            "polarization_v": level, "resistance_ohm": 1e3 * level / abs(applied),
            "scatter_v": float(np.median(scatter)) if scatter.size else np.nan, "onset": onset,
            "onset_h": float(time[part][onsets[onset]]) if onset else np.nan, "judged": bool(u.size >= 2 * window),
        })  # fmt: skip
        if not onset and scatter.size:
            sound.append((abs(applied), scatter))
        if not onset:
            lowest = min(lowest, start)
    return pd.DataFrame(rows)


def _steps(record: pd.DataFrame, rest_ma: float | None) -> list[slice]:
    """Rows of each step of constant current."""
    from scipy.ndimage import median_filter

    time, current = record["time_h"].to_numpy(dtype=float), record["current_ma"].to_numpy(dtype=float)
    found = []
    for start_h, end_h in pulses(record, rest_ma=rest_ma)[["start_h", "end_h"]].to_numpy():
        # A pulse begins and ends midway between a row with and one without current.
        inside = np.flatnonzero((time >= start_h) & (time <= end_h))
        sign = np.sign(np.median(current[inside]))
        inside = inside[np.sign(current[inside]) == sign]
        if not inside.size:
            continue
        # A median of five rows keeps a jump where it is and takes out single rows.
        level = median_filter(np.abs(current[inside[0] : inside[-1] + 1]), 5, mode="nearest")
        cuts = np.flatnonzero(np.abs(np.diff(level)) > _SAME_CURRENT * level[:-1]) + 1
        edges = inside[0] + np.array([0, *cuts, level.size])
        found += [slice(int(a), int(b)) for a, b in itertools.pairwise(edges)]
    # A cut of a row or two is the ramp of the source, not a step.
    return [part for part in found if part.stop - part.start > 2]


def _windows(values: np.ndarray, window: int) -> np.ndarray:
    return np.lib.stride_tricks.sliding_window_view(values, window)


def _scatter(u: np.ndarray, window: int) -> np.ndarray:
    """Standard deviation of single rows around each row that has half a window on either side."""
    second = np.abs(np.diff(u, 2))
    if second.size < window:
        return np.empty(0)
    # The second difference of independent values has six times their variance.
    return np.asarray(1.4826 * np.median(_windows(second, window), axis=1) / np.sqrt(6))


def _usual(scatter: np.ndarray, current: float, sound: list[tuple[float, np.ndarray]]) -> float:
    """Scatter to be expected: that of the quieter half of the step, and of the last sound steps as it is or scaled."""
    if not scatter.size:
        return float("nan")
    half = np.sort(scatter)[: scatter.size // 2 + 1]
    if not sound:
        return float(np.median(half))
    # Some noise is that of the instrument, some grows with the current: the larger counts.
    plain = [own for _, own in sound[-_EARLIER:]]
    scaled = [own * max(1.0, current / amperes) for amperes, own in sound[-_EARLIER:]]
    return float(max(np.median(np.concatenate([*plain, half])), np.median(np.concatenate(scaled))))


def _digit(voltage: np.ndarray) -> float:
    """Smallest change of voltage in the record, above rounding: the last digit of the instrument, or nearly nothing."""
    change = np.abs(np.diff(voltage))
    change = change[change > 1e-9 * np.abs(voltage).max(initial=0.0)]
    return float(change.min()) if change.size else 0.0


def _noise_onset(scatter: np.ndarray, limit: float, window: int) -> int | None:
    loud = scatter > limit
    run = window // 2
    if loud.size < run:
        return None
    lasting = np.flatnonzero(_windows(loud, run).all(axis=1))
    return int(lasting[0]) + window // 2 + 1 if lasting.size else None


def _drop_onset(u: np.ndarray, drop: float, window: int, floor: float) -> int | None:
    """Row at which u leaves its forecast downwards, suddenly and to stay."""
    first = window + _GUARD
    if u.size < first + window // 2:
        return None
    past = _windows(u, window)[: u.size - first]
    half = window // 2
    early, late = np.median(past[:, :half], axis=1), np.median(past[:, -half:], axis=1)
    slope = (late - early) / (window - half)
    level = np.median(past, axis=1)
    forecast = np.minimum(level, level + slope * (half + _GUARD + 1))
    residual = forecast - u[first:]
    # Most rows are quiet; below the median of the residuals nothing has dropped.
    center = float(np.median(residual))
    below = residual[residual <= center]
    scale = max(1.4826 * float(np.median(np.abs(below - center))), floor)
    total, start = 0.0, 0
    for k, value in enumerate(residual / scale):
        if total == 0.0:
            start = k
        total = max(0.0, total + value - _SLACK)
        if total > _ALARM:
            # The forecast from before the onset is the one that the drop is measured from.
            after = float(np.median(u[first + start : first + start + window]))
            if forecast[start] - after >= drop * abs(forecast[start]) and u.size - first - start >= half:
                # Chance leaves 0 early; the onset is where half of the drop has happened.
                half_way = 0.5 * (forecast[start] + after)
                return first + start + int(np.argmax(u[first + start :] < half_way))
            # A window later the forecast has followed; until then the sum must not run on.
            if k - start > window:
                total = 0.0
    return None
