"""The porosity of the electrolyte over depth and steps, in its bulk and at its interfaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando.core.errors import AxesError, InputError
from operando.report import style, wording
from operando.report.lines import has_truth, quantity_line, rows_of, truth_handle
from operando.report.steps import electrode_title, electrodes_of, plating_side_of, step_axis, step_handles, step_names

_NAMES = {"low": "bottom interface", "high": "top interface", "bulk": "bulk"}
_LOOKS = {"high": ("#B36B00", "^"), "low": ("#00507D", "v"), "bulk": (style.INK, "o")}


@style.styled
def electrolyte_depth(
    profile: xr.DataArray,
    *,
    steps: Sequence[str] | None = None,
    limit: float | None = None,
    label: str | None = None,
    plating_side: str | None = None,
    simulated: bool | None = None,
) -> Any:
    """Draw the normalized porosity of the electrolyte by depth and step as colors (Dixit 2020, Fig. 4a).

    Parameters
    ----------
    profile : DataArray, dims (t, [component], one of depth, z)
        Porosity over the mean porosity. With ``depth``, 0 is the local interface; with ``z``, the position.
        Components are panels side by side.
    limit : float, optional
        Half width of the color scale about 1; default the largest distance from 1.
    steps, label, plating_side, simulated
        As in :func:`operando.report.porosity_maps`.

    Returns
    -------
    matplotlib Figure
        88 mm wide for one panel, 180 mm for more. Red is more porous than the mean.

    Examples
    --------
    >>> profile = xr.DataArray([[1.5, 0.9]], dims=("t", "depth"), coords={"depth": ("depth", [18.0, 54.0],
    ...     {"units": "um"})}, attrs={"long_name": "normalized porosity"})
    >>> figure = electrolyte_depth(profile, steps=["pristine"])
    >>> figure.axes[0].get_ylabel(), figure.axes[1].get_ylabel()
    ('Depth from the interface [µm]', 'Normalized porosity')
    """
    where = "electrolyte_depth"
    along = [str(dim) for dim in profile.dims if dim in ("depth", "z")]
    if len(along) != 1 or "t" not in profile.dims or set(profile.dims) - {"t", "component", *along}:
        raise AxesError(
            f"{where}: dims (t, [component], depth or z) are needed, got {tuple(profile.dims)}. "
            "Average over y and x first."
        )
    dim = along[0]
    whole = profile.compute()
    names = step_names(whole, steps, where=where)
    panels = electrodes_of(whole, where=where) or [""]
    side = plating_side_of(profile, plating_side=plating_side, where=where)
    half = limit or style.upper_limit([np.where(np.isfinite(whole.values), whole.values - 1, 0)], percent=100)
    figure = style.new_figure(style.SINGLE_MM if len(panels) == 1 else style.DOUBLE_MM, 66)
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    depth = np.asarray(whole.coords[dim].values, dtype=float)
    edges = _edges(depth)
    shown = None
    for ax, name in zip(axes, panels, strict=True):
        values = whole.sel({"component": name} if name else {}).transpose(dim, "t").values
        places = np.arange(len(names) + 1) - 0.5
        shown = ax.pcolormesh(places, edges, values, cmap=style.diverging_map(), vmin=1 - half, vmax=1 + half)
        step_axis(ax, names)
        for place in range(1, len(names)):
            ax.axvline(place - 0.5, color="white", lw=1.2)
        # A depth grows downward, a position along z upward.
        ax.set_ylim(*(edges[[-1, 0]] if dim == "depth" else edges[[0, -1]]))
        if name:
            ax.set_title(_NAMES.get(name, name).capitalize(), loc="left", fontweight="bold")
    text = "depth from the interface" if dim == "depth" else "position z"
    axes[0].set_ylabel(wording.label_text(text, str(whole.coords[dim].attrs.get("units", "um"))))
    bar = figure.colorbar(shown, ax=list(axes), fraction=0.05, pad=0.02)
    bar.set_label(label or wording.array_label(profile, default="Porosity over its mean"))
    bar.outline.set_linewidth(0.4)
    if side and len(panels) > 1:
        figure.supxlabel(f"steps named after the {electrode_title(side).lower()}", fontsize=7, color=style.MUTED)
    if style.is_simulated(profile) if simulated is None else simulated:
        style.mark_simulated(figure)
    return figure


def _edges(centers: np.ndarray) -> np.ndarray:
    if centers.size == 1:
        return np.array([centers[0] - 0.5, centers[0] + 0.5])
    between = (centers[1:] + centers[:-1]) / 2
    return np.concatenate([[2 * centers[0] - between[0]], between, [2 * centers[-1] - between[-1]]])


@style.styled
def electrolyte_porosity(
    table: pd.DataFrame,
    *,
    quantity: str,
    steps: Sequence[str],
    components: Sequence[str] | Mapping[str, str] = ("high", "bulk", "low"),
    truth: pd.DataFrame | None = None,
    label: str | None = None,
    plating_side: str | None = None,
    simulated: bool | None = None,
    ax: Any = None,
) -> Any:
    """Draw the porosity of the electrolyte by step, in the bulk and at both interfaces (Dixit 2020, Fig. 4c).

    Parameters
    ----------
    table : DataFrame
        Quantity table with rows of ``quantity``.
    quantity : str
        For example electrolyte porosity.
    steps : sequence of str
        Name of each scan.
    components : sequence of str, or mapping of str to str
        Which rows, and what the legend calls them; those that the table does not have are left out.
    truth : DataFrame, optional
        Quantity table of the same rows where the truth is known; drawn as open circles.
    label : str, optional
        Of the y axis; default the quantity.
    plating_side, simulated
        As in :func:`operando.report.porosity_maps`.
    ax : Axes, optional

    Returns
    -------
    matplotlib Figure, 88 mm wide

    Examples
    --------
    >>> from operando.core.quantities import quantity_table
    >>> table = quantity_table([{"scan": scan, "component": "bulk", "quantity": "porosity", "value": 0.05,
    ...     "sigma": 0.001, "unit": "1"} for scan in (0, 1)])
    >>> figure = electrolyte_porosity(table, quantity="porosity", steps=["pristine", "plate 1"])
    >>> figure.axes[0].get_ylabel()
    'Porosity'
    """
    where = "electrolyte_porosity"
    rows = rows_of(table, quantity, None, where=where)
    texts = dict(components) if isinstance(components, Mapping) else {n: _NAMES.get(n, n) for n in components}
    known = [name for name in texts if name in set(rows["component"])]
    if not known or int(rows["scan"].max()) >= len(steps):
        raise InputError(
            f"{where}: rows of one of {', '.join(texts)} and a name for each of {int(rows['scan'].max()) + 1} scans "
            f"are needed, got components {sorted(set(rows['component']))} and {len(steps)} names. Pass components=..."
        )
    own = ax is None
    ax = style.axes_of(ax, width_mm=style.SINGLE_MM, height_mm=66)
    handles = []
    for index, name in enumerate(known):
        color, marker = _LOOKS.get(name, (style.color_of(name, index=index), "s"))
        look: dict[str, Any] = {"quantity": quantity, "truth": truth, "truth_color": color, "time": "scan"}
        quantity_line(ax, rows, name, color=color, marker=marker, label=texts[name], **look)
        handles.append(next(line for line in ax.lines if line.get_label() == texts[name]))
    side = plating_side_of(table, plating_side=plating_side, where=where)
    step_axis(ax, steps, plating_side=side)
    ax.set_ylabel(wording.label_text(label or quantity, str(rows["unit"].iloc[0])))
    if own:
        names = [texts[name] for name in known]
        if has_truth(rows, truth):
            handles.append(truth_handle())
            names.append("truth")
        shades = step_handles(steps, electrode=side)
        both = [*handles, *shades]
        ax.figure.legend(both, [*names, *(s.get_label() for s in shades)], loc="outside lower center", ncols=2)
        if style.is_simulated(table, truth) if simulated is None else simulated:
            style.mark_simulated(ax.figure)
    return ax.figure
