"""Features of whole experiments: from images, one series and one frame at a time, to one table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando.core import units
from operando.core.errors import InputError
from operando.dendrites.concentration import concentration as to_concentration
from operando.dendrites.features import check_points, features_table
from operando.dendrites.growth import minutes
from operando.dendrites.interface import find_interface, labeled_frames
from operando.dendrites.surface import surface_state


def growth_features(
    series: Any,
    points: int = 200,
    *,
    threshold: float = 230,
    calibration: Mapping[str, float] | None = None,
    metal: str | None = None,
    smoothing: tuple[int, int] = (6, 6),
    interval_min: float | None = None,
    from_um: float | None = None,
    over_um: float = 30.0,
    at_um: float = 0.0,
    curvature_um: float | None = None,
    initial: float | None = None,
    include_last: bool = False,
    drop_broken: bool = False,
    drop_first: bool = False,
) -> pd.DataFrame:
    """Features and growth rate along the interface, from images of a growing electrode.

    Parameters
    ----------
    series : DataArray, dims (t, y, x), array, Dataset with ``image``, or several of these
        Gray values 0 to 255. Several experiments as a mapping from name to series or as an iterable, named 0, 1, ...;
        each may be a function that returns the series, called only when its turn comes. Frames of a bare array
        are counted, or ``interval_min`` apart; its axes are in px.
    points : int
        Points along x, spread evenly over the columns that have both neighbors.
    threshold, metal
        As in :func:`operando.dendrites.find_interface`.
    calibration, smoothing
        As in :func:`operando.dendrites.concentration`.
    interval_min : float, optional
        Time between frames in min; replaces the times of the series.
    from_um, over_um, at_um
        As in :func:`operando.dendrites.surface_state`.
    curvature_um, initial, include_last, drop_broken, drop_first
        As in :func:`features_table`.

    Returns
    -------
    DataFrame
        As :func:`features_table` returns it, experiments one after the other.

    Raises
    ------
    InputError
        Where a series has fewer than three frames (two with ``include_last``), times that do not increase, no
        line, or fewer columns than points; the message names the experiment.

    Notes
    -----
    One experiment is worked on at a time. Where its series is lazy, one frame of it is in memory and is read twice;
    else the concentration takes 4 bytes per pixel more. Of each frame only what lies along the interface is kept.

    Examples
    --------
    A flat line that climbs from row 30 by 2 px each 5 min, metal below:

    >>> images = np.full((4, 48, 32), 120.0)
    >>> for i in range(4):
    ...     images[i, 29 - 2 * i : 32 - 2 * i] = 255
    ...     images[i, 32 - 2 * i :] = 10
    >>> table = growth_features(images, 20, interval_min=5)
    >>> len(table), round(float(table["growth_rate_next"].mean()), 3), table["frame"].unique().tolist()
    (40, 0.4, [1, 2])
    """
    tables = []
    for name, one in experiments(series):
        where = f"growth_features: experiment {name!r}"
        frames = _frames(one, where)
        check_points(int(frames.sizes["x"]), points, where=where)
        minutes(frames, interval_min=interval_min, where=where)
        try:
            interface = find_interface(
                frames, threshold, metal=metal if metal is not None else frames.attrs.get("metal")
            )
            salt = to_concentration(frames, interface, calibration=calibration, smoothing=smoothing)
            surface = surface_state(salt, interface, at_um=at_um, from_um=from_um, over_um=over_um)
            table = features_table(
                interface,
                surface,
                points,
                experiment=name,
                interval_min=interval_min,
                curvature_um=curvature_um,
                initial=initial,
                include_last=include_last,
                drop_broken=drop_broken,
                drop_first=drop_first,
            )
        except InputError as error:
            raise type(error)(f"{where}: {error}") from error
        tables.append(table)
    if not tables:
        raise InputError("growth_features: at least one experiment is needed, got none. Pass a series (t, y, x).")
    described = dict(tables[0].attrs)
    for table in tables:
        table.attrs = {}
    out = pd.concat(tables, ignore_index=True)
    out.attrs = described
    return out


def experiments(series: Any) -> Iterator[tuple[str, Any]]:
    """Name and series of each experiment, opened one at a time."""
    if isinstance(series, (xr.DataArray, xr.Dataset)) or callable(series) or _is_array(series):
        pairs: Iterable[tuple[Any, Any]] = [(None, series)]
    elif isinstance(series, Mapping):
        pairs = series.items()
    elif isinstance(series, Iterable):
        pairs = ((None, one) for one in series)
    else:
        raise InputError(
            f"growth_features: a series (t, y, x) or several are needed, got {type(series).__name__}. "
            "Pass a DataArray, an array, a Dataset with 'image', a mapping or an iterable of these."
        )
    for number, (name, one) in enumerate(pairs):
        opened = one() if callable(one) else one
        yield str(number if name is None else name), opened


def _is_array(value: Any) -> bool:
    if hasattr(value, "ndim") and hasattr(value, "shape"):
        return True
    # A list of frames; one of labeled arrays, or of functions that open them, is several experiments.
    if not (isinstance(value, (list, tuple)) and value) or hasattr(value[0], "dims") or callable(value[0]):
        return False
    return np.ndim(value[0]) == 2


def _frames(series: Any, where: str) -> xr.DataArray:
    frames = labeled_frames(series, where)
    if "t" not in frames.dims:
        raise InputError(
            f"{where}: a series (t, y, x) is needed to see growth, got {frames.dims}. Stack the frames along t."
        )
    # Distances such as over_um, and the columns of the table, are in um: other units of length are turned into it.
    lengths = {
        dim: units.factor(frames[dim].attrs["units"], "um")
        for dim in ("y", "x")
        if dim in frames.coords and units.kind(str(frames[dim].attrs.get("units", units.PIXEL))) == "length"
    }
    return frames.assign_coords(
        {dim: (dim, frames[dim].values * by, _scaled(frames[dim].attrs, by)) for dim, by in lengths.items()}
    )


def _scaled(attrs: Mapping[Any, Any], by: float) -> dict[Any, Any]:
    more = {"spacing": float(attrs["spacing"]) * by} if "spacing" in attrs else {}
    return {**attrs, **more, "units": "um"}
