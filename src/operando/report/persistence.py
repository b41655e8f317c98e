"""Which hot and cold spots come back from step to step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from operando.core.errors import InputError
from operando.report import style
from operando.report.steps import ELECTRODES, electrode_title, plating_side_of, step_axis

KIND_COLORS = {"hot": "#B2182B", "cold": "#2166AC"}
_SURE = 0.05


@style.styled
def spot_persistence(
    tracks: pd.DataFrame,
    table: pd.DataFrame,
    *,
    steps: Sequence[str] | None = None,
    plating_side: str | None = None,
    simulated: bool | None = None,
) -> Any:
    """Draw every hot and cold spot over the steps, joined where one lies on one of the step before.

    Parameters
    ----------
    tracks : DataFrame of ``morphometry.track_spots``
        ``component``, ``scan_from``, ``scan_to``, ``id_from``, ``id_to``, ``relation``, ``p_value`` and ``track``.
    table : DataFrame of ``morphometry.spot_table``
        ``scan``, ``component``, ``id``, ``kind`` and ``area_um2``: the size of the marks.
    steps : sequence of str, optional
        Name of each map of spots; default the column ``step`` of the table, or numbers.
    plating_side : {"low", "high"}, optional
        Electrode that the steps are named after; default that of the tables.
    simulated : bool, optional
        Label the figure as simulated; default what the tables say.

    Returns
    -------
    matplotlib Figure
        180 mm wide, 88 mm for one electrode. A row per track, those of most steps first; below them spots of a single
        step. Lines: solid where a spot
        persists, dashed where hot turns cold or cold hot, heavy where chance would do as much in less than 5 of 100
        cases.

    Raises
    ------
    InputError
        Where a column is missing or there is no spot.

    Examples
    --------
    >>> table = pd.DataFrame({"scan": [0, 1], "component": "low", "id": 1, "kind": "hot", "area_um2": 900.0})
    >>> tracks = pd.DataFrame({"component": ["low"], "scan_from": 0, "scan_to": 1, "id_from": 1, "id_to": 1,
    ...     "relation": "persists", "p_value": 0.01, "track": 1})
    >>> figure = spot_persistence(tracks, table, steps=["plate 1", "strip 1"])
    >>> figure.axes[0].get_title(loc="left")
    'Bottom electrode: 1 of 2 spots lies on one of the step before'
    """
    where = "spot_persistence"
    needed = {
        "tracks": (tracks, ("component", "scan_from", "scan_to", "id_from", "id_to", "relation", "p_value", "track")),
        "table": (table, ("scan", "component", "id", "kind", "area_um2")),
    }
    for name, (frame, columns) in needed.items():
        missing = [column for column in columns if column not in frame]
        if missing:
            raise InputError(f"{where}: the {name} must have the columns {', '.join(columns)}, missing {missing}.")
    if table.empty:
        raise InputError(f"{where}: at least one spot is needed, got none. Leave the figure out.")
    count = int(max(table["scan"].max(), tracks["scan_to"].max() if len(tracks) else 0)) + 1
    names = _names(table, steps, count, where=where)
    side = plating_side_of(table, tracks, plating_side=plating_side, where=where)
    found = list(dict.fromkeys(table["component"].astype(str)))
    panels = [name for name in ELECTRODES if name in found] + [name for name in found if name not in ELECTRODES]
    charts = {name: _rows(tracks, table, name) for name in panels}
    tall = max((int(chart["row"].max()) + 1 for chart in charts.values()), default=1)
    figure = style.new_figure(style.SINGLE_MM if len(panels) == 1 else style.DOUBLE_MM, 34 + 4.6 * tall)
    axes = figure.subplots(1, len(panels), sharex=True, squeeze=False)[0]
    for ax, (name, chart) in zip(axes, charts.items(), strict=True):
        own = tracks[tracks["component"].astype(str) == name]
        _draw(ax, own, chart, tall)
        step_axis(ax, names, electrode=name, plating_side=side)
        joined = chart.merge(own[own["relation"] == "persists"], left_on=["scan", "id"], right_on=["scan_to", "id_to"])
        hits, total = len(joined[["scan", "id"]].drop_duplicates()), len(chart)
        text = f"{hits} of {total} spots lie{'s' if hits == 1 else ''} on one of the step before"
        ax.set_title(f"{electrode_title(name)}: {text}" if name else text, loc="left", fontsize=7)
    _legend(figure, table)
    if style.is_simulated(tracks, table) if simulated is None else simulated:
        style.mark_simulated(figure)
    return figure


def _names(table: pd.DataFrame, steps: Sequence[str] | None, count: int, *, where: str) -> list[str]:
    if steps is not None:
        if len(steps) < count:
            raise InputError(f"{where}: every map needs a name, got {len(steps)} names for {count} maps. Pass all.")
        return [str(name) for name in steps]
    known = dict(zip(table["scan"], table["step"], strict=True)) if "step" in table else {}
    return [str(known.get(scan) or f"scan {scan}") for scan in range(count)]


def _rows(tracks: pd.DataFrame, table: pd.DataFrame, component: str) -> pd.DataFrame:
    """Spots of one electrode with the row of the chart that their track has."""
    spots = table[table["component"].astype(str) == component].copy()
    own = tracks[tracks["component"].astype(str) == component]
    ends = [("scan_from", "id_from"), ("scan_to", "id_to")]
    track = {(row[scan], row[number]): row["track"] for _, row in own.iterrows() for scan, number in ends}
    spots["track"] = [track.get(key, -1 - i) for i, key in enumerate(zip(spots["scan"], spots["id"], strict=True))]
    order = (
        spots.groupby("track")["scan"].agg(["nunique", "min"]).sort_values(["nunique", "min"], ascending=[False, True])
    )
    spots["row"] = spots["track"].map({name: row for row, name in enumerate(order.index[order["nunique"] > 1])})
    # Spots of a single step need no row of their own: those of other steps stand beside them.
    alone = spots["row"].isna()
    spots.loc[alone, "row"] = int((order["nunique"] > 1).sum()) + spots[alone].groupby("scan").cumcount()
    # Several spots of a track in one step stand beside each other.
    place = spots.groupby(["row", "scan"]).cumcount()
    several = spots.groupby(["row", "scan"])["id"].transform("count")
    spots["x"] = spots["scan"] + 0.24 * (place - (several - 1) / 2)
    return spots


def _draw(ax: Any, tracks: pd.DataFrame, chart: pd.DataFrame, tall: int) -> None:
    at = {(row["scan"], row["id"]): (row["x"], row["row"]) for _, row in chart.iterrows()}
    for _, row in tracks.iterrows():
        first, last = at.get((row["scan_from"], row["id_from"])), at.get((row["scan_to"], row["id_to"]))
        if first is not None and last is not None:
            width = 2.0 if row["p_value"] < _SURE else 0.8
            line = "-" if row["relation"] == "persists" else (0, (2.0, 1.2))
            ax.plot([first[0], last[0]], [first[1], last[1]], color=style.INK, lw=width, ls=line, zorder=2)
    top = float(np.sqrt(chart["area_um2"].max())) or 1.0
    size = 7.5 * np.sqrt(chart["area_um2"]) / top
    for kind, color in KIND_COLORS.items():
        part = chart[chart["kind"] == kind]
        ax.scatter(part["x"], part["row"], s=(size[part.index] + 2.0) ** 2, color=color, lw=0.4, ec="white", zorder=3)
    ax.set_ylim(tall - 0.4, -0.6)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)


def _legend(figure: Any, table: pd.DataFrame) -> None:
    from matplotlib.lines import Line2D

    known = set(table["kind"])
    handles = [
        Line2D([], [], ls="none", marker="o", color=c, label=f"{k} spot") for k, c in KIND_COLORS.items() if k in known
    ]
    handles.append(Line2D([], [], color=style.INK, lw=0.8, label="persists"))
    handles.append(Line2D([], [], color=style.INK, lw=0.8, ls=(0, (2.0, 1.2)), label="reverses"))
    handles.append(Line2D([], [], color=style.INK, lw=2.0, label="p < 0.05"))
    wide = figure.get_size_inches()[0] * 25.4 > 120
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles) if wide else 3)
