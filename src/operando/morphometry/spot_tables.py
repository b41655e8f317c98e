"""Spots as a table, and which of them lie in the same place from step to step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando.core.axes import spacing
from operando.core.errors import InputError
from operando.morphometry.volume import passed_on

KINDS = {1: "hot", -1: "cold"}


def spot_table(spots: xr.Dataset) -> pd.DataFrame:
    """Every spot with its place, size and current.

    Parameters
    ----------
    spots : Dataset
        From :func:`operando.morphometry.hot_spots`.

    Returns
    -------
    DataFrame
        One row per spot, ``attrs["units"]`` with the unit of every column:

        - ``scan`` (position along ``t``, or -1), ``t``, ``step`` and ``component`` (empty where there is none), ``id``,
          ``kind`` ("hot" or "cold")
        - ``y_um`` and ``x_um`` of the centroid, ``area_um2``, ``extent_y_um`` and ``extent_x_um`` of the bounding box,
          ``at_border``: whether it touches the border of the map
        - ``mean`` and ``peak`` (the value farthest from the median of the map), in the unit of the map
        - ``score`` (the largest in magnitude), ``q_value`` of the spot, ``p_value`` of its most extreme place

    Notes
    -----
    The area is that in which the mean over a disc stands out at least half as much as in the middle: a spot smaller
    than the disc looks as large as the disc.

    Examples
    --------
    >>> from operando.core.axes import labeled_image
    >>> from operando.morphometry import hot_spots
    >>> values = 1 + 0.1 * np.random.default_rng(0).normal(size=(80, 80))
    >>> values[20:30, 40:50] += 2
    >>> table = spot_table(hot_spots(labeled_image(values, voxel_size_um=3.0), radius_um=12, surrogates=49))
    >>> table["kind"].tolist(), bool(abs(table["y_um"][0] - 73.5) < 3), bool(abs(table["x_um"][0] - 133.5) < 3)
    (['hot'], True, True)
    """
    where = "spot_table"
    leading = _checked(spots, where=where)
    step = spacing(spots["spot"], where=where)
    height, width = spots.sizes["y"], spots.sizes["x"]
    rows: list[dict[str, Any]] = []
    for index in np.ndindex(tuple(spots.sizes[dim] for dim in leading)):
        one = spots.isel(dict(zip(leading, index, strict=True)))
        ids, values, score = (np.asarray(one[name].values) for name in ("id", "current_density", "score"))
        center = float(np.nanmedian(values))
        heights, widths = one["y"].values.astype(float), one["x"].values.astype(float)
        for number in range(1, int(ids.max(initial=0)) + 1):
            y, x = np.nonzero(ids == number)
            inside = values[y, x]
            rows.append({
                "scan": index[leading.index("t")] if "t" in leading else -1,
                "t": float(one["t"]) if "t" in one.coords else np.nan,
                "step": str(one["step"].values) if "step" in one.coords else "",
                "component": str(one["component"].values) if "component" in one.coords else "",
                "id": number,
                "kind": KINDS[int(one["spot"].values[y[0], x[0]])],
                "y_um": float(heights[y].mean()),
                "x_um": float(widths[x].mean()),
                "area_um2": y.size * step["y"] * step["x"],
                "mean": float(np.mean(inside)),
                "peak": float(inside[np.argmax(np.abs(inside - center))]),
                "extent_y_um": (np.ptp(y) + 1) * step["y"],
                "extent_x_um": (np.ptp(x) + 1) * step["x"],
                "score": float(score[y, x][np.argmax(np.abs(score[y, x]))]),
                "q_value": float(np.asarray(one["q_value"].values)[y[0], x[0]]),
                "p_value": float(np.asarray(one["p_value"].values)[y, x].min()),
                "at_border": bool(y.min() == 0 or x.min() == 0 or y.max() == height - 1 or x.max() == width - 1),
            })  # fmt: skip
    unit = str(spots["current_density"].attrs.get("units", "1"))
    columns = {
        "scan": "1", "t": "h", "step": "", "component": "", "id": "1", "kind": "", "y_um": "um", "x_um": "um",
        "area_um2": "um2", "mean": unit, "peak": unit, "extent_y_um": "um", "extent_x_um": "um", "score": "1",
        "q_value": "1", "p_value": "1", "at_border": "",
    }  # fmt: skip
    table = pd.DataFrame(rows, columns=list(columns))
    table.attrs.update({"units": columns, **passed_on(spots["spot"])})
    return table


def track_spots(spots: xr.Dataset, *, shifts: int = 999, seed: int = 0) -> pd.DataFrame:
    """Which spot of one step lies where a spot of the next one lies, and whether chance would do as much.

    Parameters
    ----------
    spots : Dataset, dims (t, [component], y, x)
        From :func:`operando.morphometry.hot_spots`.
    shifts : int
        Random shifts of the later map that the p-values rest on.
    seed : int
        Of these.

    Returns
    -------
    DataFrame
        One row per pair of spots of successive steps that overlap, and one for every spot that meets none (``id_to`` 0
        where it ended, ``id_from`` 0 where it began): ``component``, ``scan_from``, ``scan_to``, ``id_from``,
        ``id_to``, ``kind_from``, ``kind_to``, ``relation`` ("persists": same kind, "reverses": hot became cold or the
        other way round, "ends", "begins"), ``overlap_um2``, ``overlap`` (share of the smaller of the two), ``jaccard``,
        ``p_value`` (that the earlier spot overlaps spots of that kind by as much by chance), ``p_value_map`` (likewise
        for all spots of both maps that have this relation), and ``track``: a number that all spots that persist or
        reverse into each other share, within an electrode.

    Raises
    ------
    AxesError, InputError
        Where there is no series of at least two steps.

    Notes
    -----
    Kinds follow the direction of the current, as in :func:`operando.morphometry.hot_spots`: a hot spot of plating that
    is a hot spot of the stripping after it *persists*; the place carries more current both ways. The null shifts the
    later map as a whole by random distances along both axes, around the edges, so that number, size and clustering of
    the spots stay; p counts the shifts with as much overlap, (1 + k) / (1 + shifts). An edge of the electrode that is
    hot in all steps also overlaps itself: spots at the border prove little.

    Examples
    --------
    The same place stands out twice:

    >>> from operando.core.axes import labeled_image
    >>> from operando.morphometry import hot_spots
    >>> values = 1 + 0.1 * np.random.default_rng(0).normal(size=(2, 80, 80))
    >>> values[:, 20:30, 40:50] += 2
    >>> series = labeled_image(values, dims=("t", "y", "x"), voxel_size_um=3.0, t=[1, 2])
    >>> tracks = track_spots(hot_spots(series, radius_um=12, surrogates=49))
    >>> tracks[["id_from", "id_to", "relation", "track"]].values.tolist(), bool(tracks["p_value"][0] < 0.05)
    ([[1, 1, 'persists', 1]], True)
    """
    where = "track_spots"
    leading = _checked(spots, where=where)
    if "t" not in leading or spots.sizes["t"] < 2:
        raise InputError(f"{where}: spots of at least two steps (dim t) are needed, got {dict(spots.sizes)}. Pass all.")
    if not isinstance(shifts, int | np.integer) or shifts < 1:
        raise InputError(f"{where}: shifts must be a whole number of at least 1, got {shifts!r}. Correct it.")
    step = spacing(spots["spot"], where=where)
    area = step["y"] * step["x"]
    names = [str(name) for name in spots["component"].values] if "component" in leading else [""]
    rows: list[dict[str, Any]] = []
    for c, name in enumerate(names):
        one = spots.isel(component=c) if "component" in leading else spots
        ids = one["id"].transpose("t", "y", "x").values
        kinds = one["spot"].transpose("t", "y", "x").values
        own: list[dict[str, Any]] = []
        for k in range(ids.shape[0] - 1):
            random = np.random.default_rng([seed, c, k])
            found = _pairs(ids[k], ids[k + 1], kinds[k], kinds[k + 1], area, int(shifts), random)
            own += [{"component": name, "scan_from": k, "scan_to": k + 1, **row} for row in found]
        rows += _with_tracks(own)
    columns = ["component", "scan_from", "scan_to", "id_from", "id_to", "kind_from", "kind_to", "relation"]
    columns += ["overlap_um2", "overlap", "jaccard", "p_value", "p_value_map", "track"]
    table = pd.DataFrame(rows, columns=columns)
    table.attrs.update({"units": {"overlap_um2": "um2"}, **passed_on(spots["spot"])})
    return table


def _checked(spots: xr.Dataset, *, where: str) -> list[str]:
    needed = ("spot", "score", "p_value", "q_value", "id", "current_density")
    missing = [name for name in needed if not isinstance(spots, xr.Dataset) or name not in spots]
    if missing:
        raise InputError(f"{where}: the Dataset of hot_spots is needed, it lacks {missing}. Make it with hot_spots.")
    return [dim for dim in ("t", "component") if dim in spots["spot"].dims]


def _pairs(
    before: np.ndarray,
    after: np.ndarray,
    kind_before: np.ndarray,
    kind_after: np.ndarray,
    area: float,
    shifts: int,
    random: np.random.Generator,
) -> list[dict[str, Any]]:
    """Rows of the spots of two successive maps."""
    kinds = [_kind_of(before, kind_before), _kind_of(after, kind_after)]
    sizes = [np.bincount(ids.ravel(), minlength=len(kind)) for ids, kind in zip((before, after), kinds, strict=True)]
    number, other = len(kinds[0]), len(kinds[1])
    joint = np.bincount((before.astype(np.int64) * other + after).ravel(), minlength=number * other)
    joint = joint.reshape(number, other)
    # Overlap of every earlier spot with hot and with cold ones of the later map, as it is and shifted.
    seen = np.array([_overlaps(before, kind_after, k, number) for k in (1, -1)])
    as_much = np.zeros_like(seen)
    signs = np.array(kinds[0])
    same = np.array([[1], [-1]]) == signs[None]
    totals = [seen[same].sum(), seen[~same & (signs[None] != 0)].sum()]
    as_much_total = [0, 0]
    if number > 1 and other > 1:
        places = np.flatnonzero(before)
        owner = before.ravel()[places]
        y, x = np.unravel_index(places, before.shape)
        for _ in range(shifts):
            dy, dx = (int(random.integers(n)) for n in before.shape)
            met = kind_after[(y + dy) % before.shape[0], (x + dx) % before.shape[1]]
            got = np.array([np.bincount(owner[met == k], minlength=number) for k in (1, -1)])
            as_much += got >= seen
            for j, chosen in enumerate((same, ~same & (signs[None] != 0))):
                as_much_total[j] += int(got[chosen].sum() >= totals[j])
    rows: list[dict[str, Any]] = []
    words = {**KINDS, 0: ""}
    for i in range(1, number):
        partners = np.flatnonzero(joint[i, 1:]) + 1
        for j in partners.tolist():
            persists = kinds[0][i] == kinds[1][j]
            k = 0 if kinds[1][j] == 1 else 1
            rows.append({
                "id_from": i, "id_to": j, "kind_from": words[kinds[0][i]], "kind_to": words[kinds[1][j]],
                "relation": "persists" if persists else "reverses", "overlap_um2": float(joint[i, j]) * area,
                "overlap": float(joint[i, j] / min(sizes[0][i], sizes[1][j])),
                "jaccard": float(joint[i, j] / (sizes[0][i] + sizes[1][j] - joint[i, j])),
                "p_value": float((1 + as_much[k, i]) / (1 + shifts)),
                "p_value_map": float((1 + as_much_total[0 if persists else 1]) / (1 + shifts)),
            })  # fmt: skip
    blank = {"overlap_um2": 0.0, "overlap": 0.0, "jaccard": 0.0, "p_value": np.nan, "p_value_map": np.nan}
    for i in range(1, number):
        if not joint[i, 1:].any():
            kind = words[kinds[0][i]]
            rows.append({"id_from": i, "id_to": 0, "kind_from": kind, "kind_to": "", "relation": "ends", **blank})
    for j in range(1, other):
        if not joint[1:, j].any():
            kind = words[kinds[1][j]]
            rows.append({"id_from": 0, "id_to": j, "kind_from": "", "kind_to": kind, "relation": "begins", **blank})
    return rows


def _kind_of(ids: np.ndarray, kind: np.ndarray) -> list[int]:
    """Kind of every spot by its number; 0 for the first, which is no spot."""
    out = np.zeros(int(ids.max(initial=0)) + 1, dtype=int)
    out[ids.ravel()] = kind.ravel()
    out[0] = 0
    return [int(value) for value in out]


def _overlaps(ids: np.ndarray, kind: np.ndarray, wanted: int, number: int) -> np.ndarray:
    count = np.bincount(ids[kind == wanted].ravel(), minlength=number)
    count[0] = 0
    return np.asarray(count)


def _with_tracks(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with the number of the track: spots are one if rows join them, directly or through others."""
    parent: dict[tuple[int, int], tuple[int, int]] = {}

    def root(node: tuple[int, int]) -> tuple[int, int]:
        parent.setdefault(node, node)
        while parent[node] != node:
            node = parent[node]
        return node

    for row in rows:
        one, other = (row["scan_from"], row["id_from"]), (row["scan_to"], row["id_to"])
        if row["id_from"] and row["id_to"]:
            # The earlier spot is the root, so that tracks are numbered in the order in which they begin.
            first, second = sorted((root(one), root(other)))
            parent[second] = first
        else:
            root(one if row["id_from"] else other)
    numbers = {node: k for k, node in enumerate(sorted({root(node) for node in parent}), start=1)}
    for row in rows:
        node = (row["scan_from"], row["id_from"]) if row["id_from"] else (row["scan_to"], row["id_to"])
        row["track"] = numbers[root(node)]
    return rows
