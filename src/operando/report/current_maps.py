"""Where current flows: maps of plating current with their hot and cold spots, and the charge they close with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando.core.errors import InputError
from operando.core.units import factor
from operando.report import style, wording
from operando.report.lines import half_width, rows_of
from operando.report.step_maps import draw_step_maps, outline_spots, plane_at, rows_of_maps, symmetric_limit, titles_of
from operando.report.steps import electrode_title, plating_side_of, step_axis, step_handles

_SPREAD = 99.0


@style.styled
def current_maps(
    current_density: xr.DataArray,
    spots: xr.Dataset | xr.DataArray | None = None,
    *,
    steps: Sequence[str] | None = None,
    relative: bool = True,
    limit: float | None = None,
    plating_side: str | None = None,
    label: str | None = None,
    simulated: bool | None = None,
) -> Any:
    """Draw current-density maps of both electrodes and all steps, hot and cold spots outlined (Dixit 2020, Fig. 3b).

    Parameters
    ----------
    current_density : DataArray, dims (t, [component], y, x), units "mA cm-2"
        Positive where lithium thickens, such as that of ``morphometry.plating_current_density``. Steps in which
        nothing is known (the first scan) are left out.
    spots : Dataset of ``morphometry.hot_spots``, or DataArray of its ``spot``, same dims, optional
        1 in hot spots, -1 in cold spots, else 0: outlined with solid and dashed lines. The Dataset also holds the
        numbers (``id``) that are written into the spots.
    steps : sequence of str, optional
        Name of each map; default the coordinate ``step``, or the times.
    relative : bool
        Color the current over the mean of its own map, so that steps of any current and sign share a scale about 1;
        the mean stands above each map. Otherwise color mA cm-2 about 0: red plates, blue strips.
    limit : float, optional
        Half width of the color scale.
    plating_side, label, simulated
        As in :func:`operando.report.porosity_maps`.

    Returns
    -------
    matplotlib Figure

    Examples
    --------
    >>> from operando.core.axes import labeled_image
    >>> j = labeled_image(np.array([[[0.5, 1.5]]]), dims=("t", "y", "x"), voxel_size_um=36.0, units="mA cm-2")
    >>> figure = current_maps(j, steps=["plate 1"], limit=1.0)
    >>> figure.axes[0].get_title(), figure.axes[0].images[0].get_clim()
    ('plate 1, 1 mA cm⁻²', (0.0, 2.0))
    """
    where = "current_maps"
    rows = rows_of_maps(current_density, where=where)
    titles = titles_of(current_density, steps, where=where)
    kept = [i for i in range(len(titles)) if any(np.isfinite(stack.isel(t=i).values).any() for stack in rows.values())]
    if not kept:
        raise InputError(f"{where}: at least one map must hold a current, got only NaN. Look at the thickness maps.")
    side = plating_side_of(current_density, plating_side=plating_side, where=where)
    unit = str(current_density.attrs.get("units", "mA cm-2"))
    means = {name: [float(np.nanmean(stack.isel(t=i).values)) for i in kept] for name, stack in rows.items()}
    shown = {name: stack.isel(t=kept) for name, stack in rows.items()}
    if relative:
        shown = {name: stack / np.array(means[name])[:, None, None] for name, stack in shown.items()}
        half = limit or _relative_limit(shown)
        limits, text = (1 - half, 1 + half), label or "Current over the mean of its map"
    else:
        half = limit or symmetric_limit(shown)
        limits, text = (-half, half), label or wording.array_label(current_density, default="Current density")
    figure, axes = draw_step_maps(
        shown,
        [titles[i] for i in kept],
        limits=limits,
        cmap=style.diverging_map(),
        label=text,
        plating_side=None,
        symmetric=True,
    )
    outlines, ids = (_rows_of_spots(spots, name, where=where) for name in ("spot", "id"))
    for line, name in enumerate(shown):
        for column, scan in enumerate(kept):
            ax = axes[line, column]
            mean = f"{_number(means[name][column])} {wording.unit_text(unit)}"
            # One step has its electrodes side by side, without names of rows.
            who = electrode_title(name) if name and len(kept) == 1 else ""
            ax.set_title(", ".join(filter(None, (who, titles[scan], mean))), pad=2)
            spot = plane_at(outlines[name], rows[name], scan) if name in outlines else None
            number = plane_at(ids[name], rows[name], scan) if name in ids else None
            if spot is not None:
                outline_spots(ax, spot, numbers=None if number is None else _places(number))
    _spot_legend(figure, outlines, side if "" not in rows else None)
    if style.is_simulated(current_density) if simulated is None else simulated:
        style.mark_simulated(figure)
    return figure


def _relative_limit(rows: dict[str, xr.DataArray]) -> float:
    """Half width about 1: what most of the map needs, and never more than what the whole map has."""
    return style.upper_limit([np.where(np.isfinite(m.values), m.values - 1, 0) for m in rows.values()], percent=_SPREAD)


def _number(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")


def _rows_of_spots(spots: xr.Dataset | xr.DataArray | None, name: str, *, where: str) -> dict[str, xr.DataArray]:
    if isinstance(spots, xr.Dataset):
        if "spot" not in spots:
            raise InputError(
                f"{where}: spots must hold the variable 'spot', got {list(map(str, spots))}. "
                "Use the Dataset of operando.morphometry.hot_spots."
            )
        return rows_of_maps(spots[name], where=where) if name in spots else {}
    return rows_of_maps(spots, where=where) if spots is not None and name == "spot" else {}


def _places(ids: xr.DataArray) -> dict[int, tuple[float, float]]:
    """Where the number of each spot stands: the place of the spot that is nearest to its center."""
    values = np.asarray(ids.values)
    found = {}
    for number in range(1, int(values.max(initial=0)) + 1):
        y, x = np.nonzero(values == number)
        if y.size:
            nearest = int(np.argmin((y - y.mean()) ** 2 + (x - x.mean()) ** 2))
            found[number] = (float(ids[ids.dims[0]][y[nearest]]), float(ids[ids.dims[1]][x[nearest]]))
    return found


def _spot_legend(figure: Any, outlines: dict[str, xr.DataArray], plating_side: str | None) -> None:
    from matplotlib.lines import Line2D

    handles = []
    if outlines:
        values = np.concatenate([np.asarray(stack.values).ravel() for stack in outlines.values()])
        if (values == 1).any():
            handles.append(Line2D([], [], color=style.INK, lw=0.9, label="hot spot"))
        if (values == -1).any():
            handles.append(Line2D([], [], color=style.INK, lw=0.9, ls=(0, (2.0, 1.2)), label="cold spot"))
    text = f"steps named after the {electrode_title(plating_side).lower()}; plating above 0" if plating_side else ""
    if text:
        handles.append(Line2D([], [], ls="none", label=text))
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=3)


@style.styled
def closure_chart(
    table: pd.DataFrame,
    *,
    steps: Sequence[str] | None = None,
    components: Sequence[str] = ("high", "low"),
    plating_side: str | None = None,
    simulated: bool | None = None,
) -> Any:
    """Draw the sum of each current map beside the applied current, and what is left between them.

    Parameters
    ----------
    table : DataFrame
        Quantity table of ``morphometry.current_closure``: per step and electrode the rows ``image current``,
        ``applied current`` and ``current mismatch``, and ``image current without pores`` where pores were counted.
    steps : sequence of str, optional
        Name of each scan, the first included; default ``scan 1``, ``scan 2``, ...
    components : sequence of str
        Electrodes, a panel each, as far as the table has them.
    plating_side, simulated
        As in :func:`operando.report.porosity_maps`.

    Returns
    -------
    matplotlib Figure, 180 mm wide, 88 mm for one electrode
        Above: currents, positive where lithium is plated, with 95 % intervals. Below: image less applied (without
        pores where known), in percent of what was applied.

    Raises
    ------
    InputError
        Where rows are missing, or a scan has no name.

    Examples
    --------
    >>> from operando.core.quantities import quantity_table
    >>> numbers = {"image current": 0.9, "applied current": 1.0, "current mismatch": -0.1}
    >>> table = quantity_table([{"scan": 1, "component": "low", "quantity": name, "value": value, "sigma": 0.01,
    ...     "unit": "mA"} for name, value in numbers.items()])
    >>> figure = closure_chart(table, steps=["pristine", "plate 1"])
    >>> figure.axes[1].lines[0].get_ydata().round(1).tolist()
    [-10.0]
    """
    where = "closure_chart"
    parts = {name: rows_of(table, name, None, where=where) for name in _CLOSURE if (table["quantity"] == name).any()}
    needed = [name for name in ("image current", "applied current", "current mismatch") if name not in parts]
    known = [] if needed else [n for n in components if n in set(parts["image current"]["component"])]
    if not known:
        raise InputError(
            f"{where}: rows of image current, applied current and current mismatch of one of {', '.join(components)} "
            f"are needed, got the quantities {sorted(set(table['quantity']))} of {sorted(set(table['component']))}. "
            "Use the table of operando.morphometry.current_closure."
        )
    scans = sorted(set(parts["image current"]["scan"]))
    if steps is not None and scans[-1] >= len(steps):
        raise InputError(
            f"{where}: every scan needs a name, the first included, got {len(steps)} names for scan {scans[-1]}. "
            "Pass the names of all scans."
        )
    names = [str(steps[scan]) if steps is not None else f"scan {scan}" for scan in scans]
    side = plating_side_of(table, plating_side=plating_side, where=where)
    unit = str(parts["image current"]["unit"].iloc[0])
    top = float(parts["applied current"]["value"].abs().max())
    shown = next((name for name in ("A", "mA", "uA") if top * factor(unit, name) >= 0.1), "nA")
    figure = style.new_figure(style.DOUBLE_MM if len(known) > 1 else style.SINGLE_MM, 84)
    axes = figure.subplots(2, len(known), sharex=True, sharey="row", squeeze=False, height_ratios=[1, 0.7])
    for column, component in enumerate(known):
        own = {name: part[part["component"] == component].set_index("scan").loc[scans] for name, part in parts.items()}
        _closure_bars(axes[0, column], axes[1, column], own, factor(unit, shown))
        for ax in axes[:, column]:
            ax.axhline(0, color=style.INK, lw=0.6)
            ax.grid(True, axis="y")
            step_axis(ax, names, electrode=component, plating_side=side)
        axes[0, column].tick_params(labelbottom=False)
        axes[0, column].set_title(electrode_title(component), loc="left", fontweight="bold")
    axes[0, 0].set_ylabel(wording.label_text("plating current", shown, lines=2))
    axes[1, 0].set_ylabel("Image − applied\n[% of applied]")
    handles, texts = axes[0, 0].get_legend_handles_labels()
    shades = step_handles(names, opposite=side is not None and len(known) > 1)
    figure.legend([*handles, *shades], [*texts, *(s.get_label() for s in shades)], loc="outside lower center", ncols=5)
    figure.align_ylabels()
    if style.is_simulated(table) if simulated is None else simulated:
        style.mark_simulated(figure)
    return figure


_CLOSURE = ("image current", "image current without pores", "applied current", "current mismatch")
_BARS = {"image current": "#7FB3D5", "image current without pores": "#0072B2"}


def _closure_bars(ax: Any, below: Any, own: dict[str, pd.DataFrame], scale: float) -> None:
    images = [name for name in _BARS if name in own]
    width = 0.72 / len(images)
    applied = own["applied current"]["value"].to_numpy() * scale
    places = np.arange(len(applied))
    for index, name in enumerate(images):
        at = places + (index - (len(images) - 1) / 2) * width
        look = {"color": _BARS[name], "ecolor": style.INK, "error_kw": {"elinewidth": 0.8}}
        ax.bar(at, own[name]["value"] * scale, width, yerr=half_width(own[name]) * scale, label=name, **look)
    for place, level in zip(places, applied, strict=True):
        span = [place - 0.42, place + 0.42]
        ax.plot(span, [level, level], color=style.INK, lw=1.4, label="" if place else "applied current", zorder=4)
    mismatch = own["current mismatch"]
    percent = 100 * scale / np.where(applied == 0, np.nan, np.abs(applied))
    # Against the direction of the current, so that too little lithium is below 0 whichever way it went.
    sign = np.where(applied < 0, -1.0, 1.0)
    error = half_width(mismatch) * percent
    value = sign * mismatch["value"].to_numpy() * percent
    below.margins(y=0.15)
    below.errorbar(places, value, yerr=error, fmt="o", color=_BARS[images[-1]], markersize=4.5, elinewidth=1.2)
