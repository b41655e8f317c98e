"""The seven features of Table I along an interface: a table with one row per point and time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando.core import units
from operando.core.errors import InputError, nearest
from operando.dendrites.growth import growth_rate, height, minutes, pixel, position_of
from operando.dendrites.slopes import curvature, slopes
from operando.dendrites.stages import STAGES, depletion_stage

FEATURES = (
    "slope_up",
    "slope_down",
    "slope",
    "concentration",
    "concentration_gradient",
    "interface_position",
    "growth_rate",
)
"""Features 1 to 7 of Table I (Ma 2021), which calls the first three curvatures."""

FEATURE_SETS = {"slopes": FEATURES[:3], "concentration": FEATURES[3:5], "growth": FEATURES[5:], "all": FEATURES}
"""The four sets of features that are compared in Figure 4."""

TIMES = ("previous", "current", "both")
"""Features at t_{i-1}, at t_i, at both."""

_SUFFIX = "_previous"
_CURVATURE_UM = 15.0


def feature_names(features: str | Sequence[str] = "all", times: str = "both") -> list[str]:
    """Columns of the table that hold a set of features at a set of times, previous ones first.

    Parameters
    ----------
    features : str or sequence of str
        A name of :data:`FEATURE_SETS`, one of :data:`FEATURES`, or several of these.
    times : {"previous", "current", "both"}

    Raises
    ------
    InputError
        Where a name is not known.

    Examples
    --------
    >>> feature_names("growth")
    ['interface_position_previous', 'growth_rate_previous', 'interface_position', 'growth_rate']
    >>> len(feature_names())
    14
    """
    if times not in TIMES:
        raise InputError(f"feature_names: times must be one of {TIMES}, got {times!r}. {nearest(str(times), TIMES)}")
    if isinstance(features, str) and features in FEATURE_SETS:
        names = list(FEATURE_SETS[features])
    else:
        names = [features] if isinstance(features, str) else list(features)
        for name in names:
            if name not in FEATURES:
                known = [*FEATURE_SETS, *FEATURES]
                raise InputError(
                    f"feature_names: a feature must be one of {', '.join(FEATURES)} or a set of "
                    f"{', '.join(FEATURE_SETS)}, got {name!r}. {nearest(str(name), known)}"
                )
    previous = [f"{name}{_SUFFIX}" for name in names]
    return {"previous": previous, "current": names, "both": previous + names}[times]


def features_table(
    interface: Any,
    surface: xr.Dataset,
    points: int = 200,
    *,
    experiment: str = "0",
    stage: xr.DataArray | None = None,
    interval_min: float | None = None,
    curvature_um: float | None = None,
    initial: float | None = None,
    include_last: bool = False,
    drop_broken: bool = False,
    drop_first: bool = False,
) -> pd.DataFrame:
    r"""Table of features of one experiment, from its interface and the salt at its surface.

    Parameters
    ----------
    interface : Dataset of :func:`operando.dendrites.find_interface`, dims (t, x)
    surface : Dataset of :func:`operando.dendrites.surface_state`, dims (t, x)
    points : int
        Points along x, spread evenly over the columns that have both neighbors.
    experiment : str
        Name, for the column ``experiment``.
    stage : DataArray, dims (t), optional
        Stage of every frame; default :func:`operando.dendrites.depletion_stage` of the surface concentration,
        "unknown" where the first frame shows no salt to compare with.
    interval_min : float, optional
        Time between frames in min, for an interface without times.
    curvature_um : float, optional
        Window of :func:`operando.dendrites.curvature`; in px on axes without voxel size. Default: 15, but no fewer
        than five columns and no more than there are.
    initial : float, optional
        Concentration before the current, for the stages.
    include_last : bool
        Add the rows of the last frame, whose next growth rate is not known (NaN): there a forecast starts.
    drop_broken : bool
        Leave out rows at which the line was not seen. By default they stay, flagged, with the sigma that the
        bridged position has.
    drop_first : bool
        Leave out rows whose previous frame is the first one, whose growth rate is set to 0 rather than measured.

    Returns
    -------
    DataFrame
        One row per point and time t_i: ``experiment``, ``frame`` (i), ``t_min``, ``x_um``, ``stage``; :data:`FEATURES`
        at t_i, and with the suffix ``_previous`` at t_{i-1}; the true ``curvature`` and ``curvature_previous`` (um-1);
        the target ``growth_rate_next`` and its ``growth_rate_next_sigma``; ``overhang`` and ``broken`` (bool: at one of
        the pixels that the row uses). ``attrs["units"]`` maps columns to units. Features are NaN where the
        electrolyte above the interface is too thin to tell.

    Raises
    ------
    InputError
        Where there are too few frames or columns.

    Notes
    -----
    With n frames there are n - 2 times t_i: 16 + 5 + 5 images at 200 points are (14 + 3 + 3) x 200 = 4,000 rows. On
    the first frame, before the current, the growth rate is 0 by definition, not by measurement (Ma 2021 must have
    done so, too, to get 14 times out of 16 images). Heights are counted from the metal-side edge of the field,
    positive into the electrolyte.

    ``growth_rate`` and ``growth_rate_next`` share the height at t_i with opposite sign: an error of that height makes
    them anti-correlated though nothing grows so. ``interface_position`` grows with time and starts where an experiment
    starts: it tells frames and experiments apart. Rows of one frame are neighbors and not independent.

    Examples
    --------
    A flat interface that climbs by 2 um in 5 min, before even salt:

    >>> seconds = ("t", [0.0, 300.0, 600.0], {"units": "s"})
    >>> line = xr.DataArray(np.repeat([[30.0], [28.0], [26.0]], 12, axis=1), dims=("t", "x"),
    ...     coords={"t": seconds, "x": ("x", np.arange(12.0), {"units": "um", "spacing": 1.0})},
    ...     attrs={"units": "um", "metal": "high", "edge": 40.5})
    >>> even = xr.full_like(line, 0.3)
    >>> surface = xr.Dataset(
    ...     {"concentration": even, "concentration_sigma": 0 * even, "concentration_gradient": 0 * even}
    ... )
    >>> table = features_table(line, surface, 5)
    >>> table[["interface_position", "slope", "growth_rate_next"]].drop_duplicates().to_numpy().tolist()
    [[12.5, 0.0, 0.4]]
    """
    position = position_of(interface, where="features_table")
    if position.dims != ("t", "x"):
        raise InputError(
            f"features_table: an interface with the dims (t, x) is needed, got {position.dims}. Pass a series."
        )
    least = 2 if include_last else 3
    count = int(position.sizes["t"])
    if count < least:
        raise InputError(
            f"features_table: at least {least} frames are needed (a previous, a current"
            f"{'' if include_last else ' and a next'} one), got {count}. "
            + ("Add frames." if include_last else "Add frames, or pass include_last=True to forecast from two.")
        )
    wanted = ("concentration", "concentration_gradient", *(("concentration_sigma",) if stage is None else ()))
    if absent := [name for name in wanted if name not in surface]:
        raise InputError(
            f"features_table: the surface must hold {', '.join(wanted)}, it lacks {', '.join(absent)}. "
            "Pass what operando.dendrites.surface_state returns."
        )
    t, time_unit = minutes(position, interval_min=interval_min, where="features_table")
    columns = _columns(int(position.sizes["x"]), points)
    tall = height(position)
    rate = growth_rate(tall, interval_min=interval_min)
    sigma = rate.coords["sigma"].values
    steep = slopes(tall)
    fields = {name: _edges(steep[name].values) for name in ("slope_up", "slope_down", "slope")}
    fields["concentration"] = surface["concentration"].transpose("t", "x").values
    fields["concentration_gradient"] = surface["concentration_gradient"].transpose("t", "x").values
    fields["interface_position"] = tall.values
    fields["growth_rate"] = np.concatenate([np.zeros((1, rate.sizes["x"])), rate.values[1:]])
    window = _window(tall) if curvature_um is None else curvature_um
    fields["curvature"] = curvature(tall, window_um=window).values
    if stage is None:
        salt = surface["concentration"].assign_coords(sigma=surface["concentration_sigma"].variable)
        salt.attrs.update(surface.attrs)
        stage = depletion_stage(salt, initial=initial, missing="unknown")
    names = np.array([*STAGES, "unknown"])[np.asarray(stage.values)]
    x = (
        position.coords["x"].values.astype(float)
        if "x" in position.coords
        else np.arange(position.sizes["x"], dtype=float)
    )
    flags = {name: _flag(interface, name, position) for name in ("overhang", "broken")}
    near = {name: _widened(flag) for name, flag in flags.items()}

    parts = []
    for i in range(2 if drop_first else 1, count if include_last else count - 1):
        known = i + 1 < count
        part = {
            "experiment": experiment,
            "frame": i,
            "t_min": t[i],
            "x_um": x[columns],
            "stage": names[i],
            **{name: fields[name][i, columns] for name in FEATURES},
            **{f"{name}{_SUFFIX}": fields[name][i - 1, columns] for name in FEATURES},
            "curvature": fields["curvature"][i, columns],
            f"curvature{_SUFFIX}": fields["curvature"][i - 1, columns],
            "growth_rate_next": rate.values[i + 1, columns] if known else np.nan,
            "growth_rate_next_sigma": sigma[i + 1, columns] if known else np.nan,
        }
        for name in flags:
            # The rates use the point itself one frame after and two frames before.
            at = near[name][i] | near[name][i - 1] | (flags[name][i + 1] if known else False)
            at |= flags[name][i - 2] if i > 1 else False
            part[name] = at[columns]
        parts.append(pd.DataFrame(part))
    if not parts:
        raise InputError(
            f"features_table: no frame is left of {count} with drop_first=True. Add frames or keep the first."
        )
    table = pd.concat(parts, ignore_index=True)
    if drop_broken:
        table = table[~table["broken"]].reset_index(drop=True)
    table.attrs["units"] = _units(tall, rate, surface, time_unit)
    return table


def check_points(width: int, points: int, *, where: str) -> None:
    """Raise unless so many points fit on the columns that have both neighbors."""
    if not (isinstance(points, (int, np.integer)) and 1 <= points <= width - 2):
        raise InputError(
            f"{where}: points must be a whole number from 1 to {width - 2}, the columns that have both neighbors, got "
            f"{points!r}. Pass points={max(1, min(width - 2, 200))} or fewer."
        )


def _columns(width: int, points: int) -> np.ndarray:
    """Columns of the points, evenly spread; where slopes at both neighbors are central differences if these suffice."""
    check_points(width, points, where="features_table")
    margin = 2 if points <= width - 4 else 1
    return np.round(np.linspace(margin, width - 1 - margin, points)).astype(int)


def _window(tall: xr.DataArray) -> float:
    """Window of the curvature that this field and its columns allow, an odd number of them."""
    step, columns = pixel(tall, "x", where="features_table"), int(tall.sizes["x"])
    count = 2 * round((_CURVATURE_UM / step - 1) / 2) + 1
    return step * min(max(count, 5), columns - 1 + columns % 2)


def _edges(values: np.ndarray) -> np.ndarray:
    """Slopes in which the second column from a border has the one that its neighbor cannot have for it."""
    out = values.copy()
    for column, inward in ((1, 2), (-2, -3)):
        out[:, column] = np.where(np.isnan(out[:, column]), out[:, inward], out[:, column])
    return out


def _flag(interface: Any, name: str, position: xr.DataArray) -> np.ndarray:
    if isinstance(interface, xr.Dataset) and name in interface:
        return np.asarray(interface[name].transpose(*position.dims).values, dtype=bool)
    return np.zeros(position.shape, dtype=bool)


def _widened(flag: np.ndarray) -> np.ndarray:
    """Columns of which the slopes, two pixels to either side, use a flagged one."""
    padded = np.pad(flag, ((0, 0), (2, 2)))
    width = flag.shape[1]
    return np.logical_or.reduce([padded[:, k : k + width] for k in range(5)])


def _units(tall: xr.DataArray, rate: xr.DataArray, surface: xr.Dataset, time_unit: str) -> dict[str, str]:
    length = str(tall.attrs.get("units", units.PIXEL))
    own = {
        "slope_up": "1",
        "slope_down": "1",
        "slope": "1",
        "concentration": str(surface["concentration"].attrs.get("units", "1")),
        "concentration_gradient": str(surface["concentration_gradient"].attrs.get("units", f"{length}-1")),
        "interface_position": length,
        "growth_rate": str(rate.attrs["units"]),
        "curvature": f"{length}-1",
    }
    return {
        "t_min": time_unit,
        "x_um": length,
        **own,
        **{f"{name}{_SUFFIX}": unit for name, unit in own.items()},
        "growth_rate_next": own["growth_rate"],
        "growth_rate_next_sigma": own["growth_rate"],
    }
