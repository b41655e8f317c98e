"""Where pores are: maps of their density, of its changes from step to step, and beneath the interfaces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import xarray as xr

from operando.core.phases import CERAMIC_CELL
from operando.report import style, wording
from operando.report.maps import map_limits
from operando.report.step_maps import draw_step_maps, rows_of_maps, symmetric_limit, titles_of
from operando.report.steps import plating_side_of


@style.styled
def porosity_maps(
    maps: xr.DataArray,
    *,
    steps: Sequence[str] | None = None,
    scans: Sequence[int] | None = None,
    phase: str = "pore",
    limits: tuple[float, float] | None = None,
    label: str | None = None,
    plating_side: str | None = None,
    simulated: bool | None = None,
) -> Any:
    """Draw porosity maps of several steps in one color scale (Dixit 2020, Fig. 4b, Fig. S9).

    Parameters
    ----------
    maps : DataArray, dims ([t], [component], two of z, y, x)
        Shares of pores, 0 to 1, such as those of ``morphometry.porosity_map``; NaN is drawn gray. Components are rows.
    steps : sequence of str, optional
        Name of each scan; default the coordinate ``step``, or the times.
    scans : sequence of int, optional
        Positions along ``t`` to draw, for example ``[0, -1]``; default at most six, evenly spread.
    phase : str
        Phase of :data:`operando.core.phases.CERAMIC_CELL` that gives the color: ``pore`` in lithium,
        ``electrolyte_pore`` in the ceramic.
    limits : (float, float), optional
        Of the color scale; default from 0 to the 99.8th percentile.
    label : str, optional
        Of the color bar; default from attrs.
    plating_side : {"low", "high"}, optional
        Electrode that the steps are named after; default ``maps.attrs["plating_side"]``.
    simulated : bool, optional
        Label the figure as simulated; default ``maps.attrs["simulated"]``.

    Returns
    -------
    matplotlib Figure

    Examples
    --------
    >>> import numpy as np
    >>> from operando.core.axes import labeled_image
    >>> maps = labeled_image(np.full((2, 4, 6), 0.05), dims=("t", "y", "x"), voxel_size_um=36.0, long_name="porosity")
    >>> [ax.get_title() for ax in porosity_maps(maps, steps=["pristine", "plate 1"]).axes[:2]]
    ['pristine', 'plate 1']
    """
    maps, titles = _chosen(maps, steps, scans, where="porosity_maps")
    rows = rows_of_maps(maps, where="porosity_maps")
    low, high = limits or map_limits(list(rows.values()))
    cmap = style.sequential_map(CERAMIC_CELL.color(phase) if phase == "electrolyte_pore" else "#5B3A8C")
    name = label or wording.array_label(maps, default="Porosity")
    side = plating_side_of(maps, plating_side=plating_side, where="porosity_maps")
    figure, _ = draw_step_maps(rows, titles, limits=(low, high), cmap=cmap, label=name, plating_side=side)
    if style.is_simulated(maps) if simulated is None else simulated:
        style.mark_simulated(figure)
    return figure


@style.styled
def porosity_changes(
    differences: xr.DataArray,
    *,
    steps: Sequence[str] | None = None,
    scans: Sequence[int] | None = None,
    limit: float | None = None,
    label: str | None = None,
    plating_side: str | None = None,
    simulated: bool | None = None,
) -> Any:
    """Draw where pores opened and closed between successive steps, both electrodes alike (Dixit 2020, Fig. 2c, d).

    Parameters
    ----------
    differences : DataArray, dims (t, [component], two of z, y, x)
        Porosity of a step less that of the step before, at the later of the two. NaN is drawn gray.
    steps : sequence of str, optional
        What each difference is called; default the coordinate ``step`` of the later scan.
    scans : sequence of int, optional
        Positions along ``t`` to draw; default at most six, evenly spread.
    limit : float, optional
        Half width of the color scale about 0, which all panels share; default the 99th percentile of the
        magnitude.
    label, plating_side, simulated
        As in :func:`porosity_maps`.

    Returns
    -------
    matplotlib Figure
        Red where pores opened, blue where they closed.

    Examples
    --------
    >>> import numpy as np
    >>> from operando.core.axes import labeled_image
    >>> maps = labeled_image(np.eye(4)[None] * -0.1, dims=("t", "y", "x"), voxel_size_um=36.0)
    >>> porosity_changes(maps, steps=["plate 1"]).axes[0].images[0].get_clim()
    (-0.1, 0.1)
    """
    differences, titles = _chosen(differences, steps, scans, where="porosity_changes")
    rows = rows_of_maps(differences, where="porosity_changes")
    half = symmetric_limit(rows) if limit is None else limit
    figure, _ = draw_step_maps(
        rows,
        titles,
        limits=(-half, half),
        cmap=style.diverging_map(),
        label=label or wording.array_label(differences, default="Change of porosity"),
        plating_side=plating_side_of(differences, plating_side=plating_side, where="porosity_changes"),
        symmetric=True,
    )
    if style.is_simulated(differences) if simulated is None else simulated:
        style.mark_simulated(figure)
    return figure


def _chosen(
    maps: xr.DataArray, steps: Sequence[str] | None, scans: Sequence[int] | None, *, where: str
) -> tuple[xr.DataArray, list[str]]:
    titles = titles_of(maps, steps, where=where) if isinstance(maps, xr.DataArray) else []
    if "t" not in getattr(maps, "dims", ()):
        return maps, titles
    picked = wording.spread_scans(maps.sizes["t"], 6) if scans is None else list(scans)
    return maps.isel(t=picked), [titles[scan] for scan in picked]
