"""What the microscope did over energy: the incident beam and the drift."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import require_dims
from operando.report import spectral_style as look
from operando.report import style, wording
from operando.report.spectral_maps import variable

_SIDES = {"y": "#0072B2", "x": "#E69F00"}


@style.styled
def drift_plot(
    aligned: xr.Dataset,
    *,
    truth: xr.Dataset | None = None,
    pixel: float | None = None,
    simulated: bool | None = None,
    ax: Any = None,
) -> Any:
    """Draw how far each image of a stack lies from the mean position, against photon energy.

    Parameters
    ----------
    aligned : Dataset of ``spectral.align``
        ``shift_y``, ``shift_x`` and, where known, ``shift_sigma`` (energy), in the unit of the axes. NaN leaves a gap.
    truth : Dataset with ``shift_y`` and ``shift_x``, optional
        Where it is known; open circles, after removing the mean over energy.
    pixel : float, optional
        Edge of a pixel in that unit: a second axis counts pixels.
    simulated : bool, optional
        Label the figure as simulated; default what the data say.
    ax : Axes, optional
        Default a new figure, 88 mm wide.

    Returns
    -------
    matplotlib Figure
        Bands are 95 % intervals.

    Examples
    --------
    >>> shift = xr.DataArray([0.1, -0.1], dims="energy", coords={"energy": [708.0, 710.0]}, attrs={"units": "um"})
    >>> drift_plot(xr.Dataset({"shift_y": shift, "shift_x": -shift})).axes[0].get_ylabel()
    'Shift [µm]'
    """
    where = "drift_plot"
    own = ax is None
    ax = style.axes_of(ax, width_mm=style.SINGLE_MM, height_mm=58)
    sigma = aligned.get("shift_sigma")
    unit = str(variable(aligned, "shift_y", where=where).attrs.get("units", "px"))
    label = "Photon energy [eV]"
    for side, color in _SIDES.items():
        shift = variable(aligned, f"shift_{side}", where=where)
        require_dims(shift, ("energy",), where=where)
        energy, label = look.energies_of(shift, where=where)
        order = np.argsort(energy, kind="stable")
        values = np.asarray(shift.values, dtype=float)[order]
        ax.plot(energy[order], values, color=color, marker="os"[side == "x"], ms=2.4, lw=0.9, label=f"{side}")
        if sigma is not None:
            half = 1.96 * np.asarray(sigma.values, dtype=float)[order]
            ax.fill_between(energy[order], values - half, values + half, color=color, alpha=0.22, lw=0)
        if truth is not None:
            true = np.asarray(truth[f"shift_{side}"].values, dtype=float)[order]
            ax.plot(energy[order], true - true.mean(), ls="none", marker="o", ms=4.2, mfc="none", mec=color, mew=0.6,
                    label=f"{side}, truth")  # fmt: skip
    ax.axhline(0, color=style.INK, lw=0.5)
    ax.set(xlabel=label, ylabel=wording.label_text("Shift", unit))
    ax.grid(True, axis="y")
    ax.margins(x=0.015)
    if pixel is not None and pixel > 0:
        ax.secondary_yaxis("right", functions=(lambda v: v / pixel, lambda v: v * pixel)).set_ylabel("Shift [px]")
        ax.spines["right"].set_visible(True)
    look.legend_below(ax, ax.get_legend_handles_labels()[1], 4)
    return look.finish(ax.figure, own, simulated, aligned)


@style.styled
def i0_plot(
    i0: xr.DataArray | Mapping[str, xr.DataArray],
    *,
    sigma: xr.DataArray | None = None,
    dark: float | None = None,
    simulated: bool | None = None,
    ax: Any = None,
) -> Any:
    """Draw the incident intensity against photon energy.

    Parameters
    ----------
    i0 : DataArray, dims (energy,), units "counts", or mapping of its origin to one each
        For example that of a region beside that of a file.
    sigma : DataArray, dims (energy,), optional
        Its standard error, of the first; the band is 95 %.
    dark : float, optional
        Counts without light.
    simulated : bool, optional
        Label the figure as simulated; default what the data say.
    ax : Axes, optional
        Default a new figure, 88 mm wide.

    Returns
    -------
    matplotlib Figure

    Notes
    -----
    A structure at the energies of the edge means that the region held sample, or that the optics hold the element.

    Examples
    --------
    >>> beam = xr.DataArray([900.0, 910.0], dims="energy", coords={"energy": [700.0, 701.0]}, attrs={"units": "counts"})
    >>> i0_plot(beam).axes[0].get_ylabel()
    'Incident intensity [counts]'
    """
    where = "i0_plot"
    named = dict(i0) if isinstance(i0, Mapping) else {"": i0}
    own = ax is None
    ax = style.axes_of(ax, width_mm=style.SINGLE_MM, height_mm=52)
    label, unit = "Photon energy [eV]", "1"
    for place, (name, beam) in enumerate(named.items()):
        require_dims(beam, ("energy",), where=where)
        energy, label = look.energies_of(beam, where=where)
        order = np.argsort(energy, kind="stable")
        values = np.asarray(beam.values, dtype=float)[order]
        unit = str(beam.attrs.get("units", "counts"))
        color = look.PHASE_COLORS[place % len(look.PHASE_COLORS)]
        ax.plot(energy[order], values, color=color, ls=look.line_style(place), marker="o" if energy.size < 25 else None,
                ms=2.4, label=name.replace("_", " ") or None)  # fmt: skip
        if sigma is not None and place == 0:
            half = 1.96 * np.asarray(sigma.values, dtype=float)[order]
            ax.fill_between(energy[order], values - half, values + half, color=color, alpha=0.25, lw=0)
    if dark is not None:
        ax.axhline(dark, color=style.MUTED, lw=0.8, ls="--", label="dark")
    ax.set(xlabel=label, ylabel=wording.label_text("Incident intensity", unit))
    ax.grid(True, axis="y")
    ax.margins(x=0.015)
    if len(named) > 1 or dark is not None:
        ax.legend()
    return look.finish(ax.figure, own, simulated, *named.values())
