"""What is true of a simulated series: the features without error, the best score, and what growth depends on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando.core.errors import InputError, nearest
from operando.samples.srs_law import STAGES

FEATURES = (
    "slope_up",
    "slope_down",
    "slope",
    "concentration",
    "concentration_gradient",
    "interface_position",
    "growth_rate",
)
_ALL = (*(f"{name}_previous" for name in FEATURES), *FEATURES)
_NEEDED = (
    "height",
    "surface_concentration",
    "curvature",
    "growth_rate",
    "expected_growth_rate",
    "visible_growth_rate",
    "stage",
)


def srs_features(experiments: Mapping[str, xr.Dataset] | xr.Dataset) -> pd.DataFrame:
    """The features of the paper's Table I and their target from the truth of simulated series, without any error.

    Parameters
    ----------
    experiments : mapping of str to Dataset, or Dataset
        As :func:`operando.samples.srs_experiments` or :func:`operando.samples.srs_series` returns them, with at least
        3 frames each.

    Returns
    -------
    DataFrame
        A row per frame but the first and the last, and per column of the picture but the first and the last:
        ``experiment``, ``frame``, ``t_min``, ``x_um``, ``stage``; the seven features at the frame before
        (``..._previous``) and at the frame; ``curvature`` and ``curvature_previous``, those of the law; the target
        ``growth_rate_next``; what is expected of it, ``expected`` and ``visible``. Units are in ``attrs``.

    Raises
    ------
    InputError
        Where there is no truth, or fewer than 3 frames.

    Notes
    -----
    Slopes are central differences over two pixels, at the pixels x - 1, x + 1 and x. ``growth_rate`` at a frame is
    that of the interval that *ends* there, 0 at the first frame. ``interface_position`` is the height.

    Examples
    --------
    >>> from operando.samples import srs_series
    >>> table = srs_features(srs_series((64, 64), frames=4, seed=1))
    >>> len(table), table.attrs["units"]["concentration"]
    (124, 'mol L-1')
    """
    table = _table(_named(experiments, "srs_features"))
    first = ["experiment", "frame", "t_min", "x_um", "stage", *_ALL, "curvature_previous", "curvature"]
    table = table[[*first, "growth_rate_next", "expected", "visible"]]
    units = dict(zip(FEATURES, ("1", "1", "1", "mol L-1", "mol L-1 um-1", "um", "um min-1"), strict=True))
    units |= {"curvature": "um-1"}
    units |= {f"{name}_previous": unit for name, unit in units.items()}
    units |= {"t_min": "min", "x_um": "um"} | dict.fromkeys(("growth_rate_next", "expected", "visible"), "um min-1")
    table.attrs = {"units": units, "simulated": True}
    return table


def srs_ceiling(experiments: Mapping[str, xr.Dataset] | xr.Dataset, *, position_sigma_um: float = 0.0) -> pd.DataFrame:
    """The correlation R that the best of all forecasters reaches on these series.

    Parameters
    ----------
    experiments : mapping of str to Dataset, or Dataset
        As :func:`srs_features` takes them.
    position_sigma_um : float
        Standard deviation with which the interface is measured, independent from frame to frame.

    Returns
    -------
    DataFrame
        ``knowledge`` of the forecaster: "stage", the velocity of the stage alone; "visible", and concentration and
        curvature; "past", and the hidden field as growth has shown it; "past without concentration" and "past without
        curvature", with that factor of the law left out. ``scope``: "overall", or "within frame", of the deviations
        from the mean of each frame. ``r`` against the true growth rate; ``r_measured`` against the measured one;
        ``r_bound`` against the measured one, where the forecaster also knows by how much the present interface is
        measured wrong. ``rmse`` in um min-1, against the true growth rate; ``n``.

    Raises
    ------
    InputError
        Where there is no truth, fewer than 3 frames, or a sigma that is negative.

    Notes
    -----
    No function of what is known has a larger correlation with growth than its expectation: "past" is
    ``expected_growth_rate``, the ceiling. ``r`` is that of these very rows; over all that could have been it is within
    sampling error of it. Who has the 14 features only stays below, because they hold neither the mean concentration of
    the frame nor the curvature at the scale of the law.

    A measured rate has the error (e_next - e_now) / dt. ``r_measured`` takes it as independent of all that is known.
    But the measured rate before has + e_now / dt, from which a learner can guess e_now, at best all of it: no forecast
    of measured rates is above ``r_bound``. Within a frame the velocity of the stage is constant: NaN.

    Examples
    --------
    Where nothing is hidden the best forecaster is right:

    >>> from operando.samples import srs_series
    >>> best = srs_ceiling(srs_series((64, 64), frames=4, hidden=0.0, seed=1)).set_index(["knowledge", "scope"])
    >>> round(float(best.r[("past", "within frame")]), 6)
    1.0
    """
    sigma = float(position_sigma_um)
    if not (np.isfinite(sigma) and sigma >= 0.0):
        raise InputError(f"srs_ceiling: position_sigma_um must be a number of at least 0, got {position_sigma_um!r}.")
    made = _named(experiments, "srs_ceiling")
    table = _table(made)
    target = table["growth_rate_next"].to_numpy()
    expected = table["expected"].to_numpy()
    known = {
        "stage": table["velocity"].to_numpy(),
        "visible": table["visible"].to_numpy(),
        "past": expected,
        "past without concentration": expected / np.exp(table["by_concentration"].to_numpy()),
        "past without curvature": expected / np.exp(table["by_curvature"].to_numpy()),
    }
    minutes = {name: float(one.attrs["interval_min"]) for name, one in made.items()}
    noise = float(np.mean((sigma / table["experiment"].map(minutes).to_numpy(dtype=float)) ** 2))
    frame = table.groupby(["experiment", "frame"]).ngroup().to_numpy()
    rows = []
    for knowledge, forecast in known.items():
        for scope in ("overall", "within frame"):
            groups = np.zeros_like(frame) if scope == "overall" else frame
            x, y = _deviations(forecast, groups), _deviations(target, groups)
            xx, yy, xy = (float(np.mean(product)) for product in (x * x, y * y, x * y))
            flat = xx <= 1e-12 * float(np.mean(forecast**2))
            rows.append(
                {
                    "knowledge": knowledge,
                    "scope": scope,
                    "r": np.nan if flat else xy / np.sqrt(xx * yy),
                    "r_measured": np.nan if flat else xy / np.sqrt(xx * (yy + 2.0 * noise)),
                    "r_bound": np.nan if flat else (xy + noise) / np.sqrt((xx + noise) * (yy + 2.0 * noise)),
                    "rmse": float(np.sqrt(np.mean((forecast - target) ** 2))),
                    "n": len(table),
                }
            )
    return pd.DataFrame(rows)


def srs_sensitivities(
    experiments: Mapping[str, xr.Dataset] | xr.Dataset, *, limits: pd.DataFrame | Mapping[str, Any] | None = None
) -> pd.DataFrame:
    """How much the forecast of the best forecaster changes with each of the 14 features.

    Parameters
    ----------
    experiments : mapping of str to Dataset, or Dataset
        As :func:`srs_features` takes them.
    limits : DataFrame or mapping, optional
        Values of each feature the smallest and largest of which become -1 and 1: the table that a network was trained
        on, or ``(low, high)``. Default: the true features.

    Returns
    -------
    DataFrame
        ``stage`` ("all", "none", "partial", "full"), ``feature``; ``sensitivity``, the mean over points of the absolute
        derivative, in um min-1 per unit of the scaled feature, which is half its range; ``deviation``, its standard
        deviation over points; ``signed``, the mean derivative; ``through_stage``, see below; ``collinearity``, the
        share of the variance of the feature that a linear function of the other 13 explains; ``n``.

    Raises
    ------
    InputError
        Where there is no truth, or where limits lack a feature or do not differ.

    Notes
    -----
    The forecast is a function of the features once stage and mean concentration C of both frames are given and the
    curvature is taken to be that of the three slopes:

    .. math:: E = V_i\\, (v_i / V_{i-1})^\\rho\\, \\exp[\\tfrac{1}{2} \\rho (1 - \\rho) \\epsilon^2]

    V is the visible rate and v the growth rate of the interval that has just ended, by which the hidden field is known.
    (Where there is no hidden field, E = V.) Its partial derivatives:

    - ``growth_rate``: rho E / v.
    - ``concentration``: E a sech2[ln(c / C) / w] / c; ``concentration_previous``: -rho times that of the frame before.
    - slopes: through kappa = (slope_up - slope_down) / (2 px) / (1 + slope^2)^1.5, of which the law sees a version
      smoothed over 3 um.
    - ``concentration_gradient``, ``interface_position``, ``growth_rate_previous``: 0.

    *Not unique.* Where features determine one another the same forecast has other partial derivatives too, and no data
    can tell which. The growth rate *is* the difference of the two positions over the interval; a slope is nearly the
    mean of its neighbors. ``collinearity`` near 1 says where, as far as relations are linear. What such features do
    together can be compared, and what "past without ..." of :func:`srs_ceiling` says needs no representation at all.

    *Stage.* No feature is the stage: a learner finds it from concentration, gradient or position, whichever it likes.
    If from the concentration, any function that joins the velocities of the stages has, evenly over the range from -1
    to 1, a mean derivative of (V_none - V_full) / 2: ``through_stage``. It has the opposite sign, lies where stages
    change, where data are few, and adds to ``signed``.

    Examples
    --------
    Without a hidden field the past does not matter:

    >>> from operando.samples import srs_series
    >>> s = srs_sensitivities(srs_series((64, 64), frames=4, hidden=0.0, seed=1))
    >>> s = s[s.stage == "all"].set_index("feature")
    >>> float(s.sensitivity["growth_rate"]), bool(s.sensitivity["concentration"] > 0)
    (0.0, True)
    """
    made = _named(experiments, "srs_sensitivities")
    table = _table(made)
    half = _half_ranges(table if limits is None else limits)
    scaled = pd.concat([_derivatives(table[table.experiment == name], one) for name, one in made.items()]) * half
    shared = _collinearity(table)
    jumps = [0.5 * (one.attrs["law"]["velocity"][0] - one.attrs["law"]["velocity"][-1]) for one in made.values()]
    rows = []
    for stage in ("all", *STAGES):
        here = scaled if stage == "all" else scaled[(table.stage == stage).to_numpy()]
        for name in _ALL:
            values = here[name].to_numpy()
            jumping = stage == "all" and name == "concentration"
            rows.append(
                {
                    "stage": stage,
                    "feature": name,
                    "sensitivity": float(np.abs(values).mean()) if values.size else np.nan,
                    "deviation": float(np.abs(values).std()) if values.size else np.nan,
                    "signed": float(values.mean()) if values.size else np.nan,
                    "through_stage": float(np.mean(jumps)) if jumping else 0.0,
                    "collinearity": shared[name],
                    "n": int(values.size),
                }
            )
    return pd.DataFrame(rows)


def _named(experiments: Mapping[str, xr.Dataset] | xr.Dataset, where: str) -> dict[str, xr.Dataset]:
    # A Dataset is a mapping as well.
    made = {"series": experiments} if isinstance(experiments, xr.Dataset) else dict(experiments)
    if not made:
        raise InputError(f"{where}: at least one series is needed, got none. Make some with samples.srs_experiments().")
    for name, one in made.items():
        missing = [key for key in _NEEDED if not isinstance(one, xr.Dataset) or key not in one]
        if missing or "law" not in one.attrs:
            raise InputError(
                f"{where}: {name!r} must be a Dataset with its truth and its law, but lacks {missing or ['law']}. "
                "Take what operando.samples.srs_series returns."
            )
        if one.sizes["t"] < 3:
            raise InputError(
                f"{where}: {name!r} must have at least 3 frames, for growth before and after one, got {one.sizes['t']}."
            )
    return made


def _table(experiments: Mapping[str, xr.Dataset]) -> pd.DataFrame:
    """True features and what the law makes of them, a row per inner frame and column."""
    return pd.concat([_rows(name, made) for name, made in experiments.items()], ignore_index=True)


def _rows(name: str, made: xr.Dataset) -> pd.DataFrame:
    law, x, height = made.attrs["law"], made.x.values, made.height.values
    pixel = (x[-1] - x[0]) / (x.size - 1)
    slope = np.gradient(height, pixel, axis=1)
    grown = np.zeros_like(height)
    grown[1:] = made.growth_rate.values[:-1]
    inner = slice(1, -1)
    stage = made.stage.values
    concentration = made.surface_concentration.values
    relative = np.log(concentration / concentration.mean(axis=1, keepdims=True)) / law["concentration_width"]
    exponent = np.asarray(law["concentration_exponent"])[stage][:, None]
    each = {
        "slope_up": slope[:, :-2],
        "slope_down": slope[:, 2:],
        "slope": slope[:, inner],
        "concentration": concentration[:, inner],
        "concentration_gradient": made.concentration_gradient.values[:, inner],
        "interface_position": height[:, inner],
        "growth_rate": grown[:, inner],
        "curvature": made.curvature.values[:, inner],
        "by_concentration": (exponent * law["concentration_width"] * np.tanh(relative))[:, inner],
        "by_curvature": (law["tip"] * np.tanh(law["tip_length_um"] * made.curvature.values))[:, inner],
        "per_log_concentration": (exponent / np.cosh(relative) ** 2)[:, inner],
    }
    now, previous = slice(1, -1), slice(0, -2)
    frames, columns = np.arange(made.sizes["t"])[now], x.size - 2
    flat: dict[str, Any] = {
        "experiment": name,
        "frame": np.repeat(frames, columns),
        "t_min": np.repeat(made.t.values[now] / 60.0, columns),
        "x_um": np.tile(x[inner], frames.size),
        "stage": np.repeat(np.array(STAGES)[stage[now]], columns),
        "velocity": np.repeat(np.asarray(law["velocity"])[stage[now]], columns),
        "pixel_um": pixel,
    }
    flat |= {f"{key}_previous": values[previous].ravel() for key, values in each.items()}
    flat |= {key: values[now].ravel() for key, values in each.items()}
    sources = {"growth_rate_next": "growth_rate", "expected": "expected_growth_rate", "visible": "visible_growth_rate"}
    flat |= {key: made[source].values[now, inner].ravel() for key, source in sources.items()}
    return pd.DataFrame(flat)


def _derivatives(table: pd.DataFrame, made: xr.Dataset) -> pd.DataFrame:
    """Derivative of the expected rate with respect to each feature, in its own unit, at every row."""
    law = made.attrs["law"]
    rho = law["persistence"] if law["hidden"] * law["hidden_effect"] else 0.0
    out = pd.DataFrame(0.0, index=table.index, columns=list(_ALL))
    expected, length = table["expected"], law["tip_length_um"]
    for suffix, sign in (("", 1.0), ("_previous", -rho)):
        by_log = sign * expected * table[f"per_log_concentration{suffix}"]
        out[f"concentration{suffix}"] = by_log / table[f"concentration{suffix}"]
        slope, bend = table[f"slope{suffix}"], table[f"slope_up{suffix}"] - table[f"slope_down{suffix}"]
        by_curvature = sign * expected * law["tip"] * length / np.cosh(length * table[f"curvature{suffix}"]) ** 2
        per_slope = by_curvature / (2.0 * table["pixel_um"] * (1.0 + slope**2) ** 1.5)
        out[f"slope_up{suffix}"], out[f"slope_down{suffix}"] = per_slope, -per_slope
        out[f"slope{suffix}"] = -3.0 * per_slope * bend * slope / (1.0 + slope**2)
    if rho:
        out["growth_rate"] = rho * expected / table["growth_rate"]
    return out


def _half_ranges(limits: pd.DataFrame | Mapping[str, Any]) -> pd.Series:
    half = {}
    for name in _ALL:
        if name not in limits:
            raise InputError(
                f"srs_sensitivities: limits must have each of the 14 features, got none for {name!r}. "
                f"{nearest(name, map(str, limits))}"
            )
        values = np.asarray(limits[name], dtype=float)
        low, high = np.nanmin(values), np.nanmax(values)
        if not (np.isfinite(low) and np.isfinite(high) and low < high):
            raise InputError(f"srs_sensitivities: limits of {name!r} must differ, got from {low:g} to {high:g}.")
        half[name] = 0.5 * (high - low)
    return pd.Series(half)


def _collinearity(table: pd.DataFrame) -> dict[str, float]:
    """Share of the variance of each feature that the others explain linearly."""
    shared = {}
    x = table[list(_ALL)].to_numpy()
    x = x - x.mean(axis=0)
    # A constant has no variance to explain.
    x /= np.where(x.std(axis=0) > 0.0, x.std(axis=0), 1.0)
    r = x.T @ x / len(x)
    for column, name in enumerate(_ALL):
        others = np.delete(np.arange(len(_ALL)), column)
        weights = np.linalg.lstsq(r[np.ix_(others, others)], r[others, column], rcond=1e-10)[0]
        shared[name] = float(np.clip(weights @ r[others, column], 0.0, 1.0))
    return shared


def _deviations(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    return np.asarray(values - (np.bincount(groups, values) / np.bincount(groups))[groups])
