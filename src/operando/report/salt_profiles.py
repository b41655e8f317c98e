"""Salt between two electrodes: its map over position and time, its profiles, and what a model makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from operando.core.errors import InputError
from operando.report import style, wording

MODELS = {"supplied D(c)": ("#009E73", "--"), "fitted D(c)": ("#882255", "-")}
"""Colors and lines of the two models, the same in every figure."""

_LIMIT_PERCENT = 97.0


def groups(count: int, shown: int) -> list[slice]:
    """At most ``shown`` runs of neighboring profiles, evenly spread, for means that the noise spares.

    Examples
    --------
    >>> groups(10, 3)
    [slice(0, 2, None), slice(4, 6, None), slice(8, 10, None)]
    """
    width = max(1, count // (2 * shown - 1))
    starts = np.linspace(0, count - width, min(shown, count)).round().astype(int)
    return [slice(int(start), int(start) + width) for start in dict.fromkeys(starts.tolist())]


def span_text(hours: np.ndarray, part: slice) -> str:
    """The times of a run of profiles.

    Examples
    --------
    >>> span_text(np.array([0.0, 1.0, 2.0]), slice(0, 2)), span_text(np.array([0.25]), slice(0, 1))
    ('0.0 to 1.0 h', '0.2 h')
    """
    inside = hours[part]
    return f"{inside[0]:.1f} h" if inside.size == 1 else f"{inside[0]:.1f} to {inside[-1]:.1f} h"


@style.styled
def salt_map(
    concentration: xr.DataArray,
    t_h: Any,
    *,
    initial: float | None = None,
    plated: str | None = None,
    mark_h: float | None = None,
    simulated: bool | None = None,
) -> Any:
    """Draw salt over position and time as an image, and profiles at a few times.

    Parameters
    ----------
    concentration : DataArray, dims (t, y), units "mol L-1"
        As ``dendrites.salt_concentration`` returns it; NaN outside of the electrolyte is not drawn.
    t_h : array-like, shape (t)
        Times in h for the axis.
    initial : float, optional
        Concentration before the current, the middle of the color scale; default the median of the first profile.
    plated : {"low", "high"}, optional
        End at which lithium is plated, written to the axis.
    mark_h : float, optional
        Time to mark, such as that at which the current gave way.
    simulated : bool, optional
        Label the figure as simulated; default ``concentration.attrs["simulated"]``.

    Returns
    -------
    matplotlib Figure, 180 mm wide

    Raises
    ------
    InputError
        Where dims or times do not fit.

    Examples
    --------
    >>> values = xr.DataArray(np.ones((6, 4)), dims=("t", "y"), coords={"y": [0.0, 1.0, 2.0, 3.0]},
    ...     attrs={"units": "mol L-1"})
    >>> salt_map(values, np.arange(6.0)).axes[0].get_xlabel()
    'Time [h]'
    """
    from matplotlib.patheffects import withStroke

    hours = _times(concentration, t_h, "salt_map")
    values = concentration.transpose("t", "y").values
    y = concentration["y"].values.astype(float)
    unit = str(concentration.attrs.get("units", "1"))
    there = np.isfinite(values).any(axis=0)
    values, y = values[:, there], y[there] - y[there][0]
    middle = float(np.nanmedian(values[0])) if initial is None else float(initial)
    reach = style.upper_limit([values - middle], percent=_LIMIT_PERCENT)
    figure = style.new_figure(style.DOUBLE_MM, 72)
    left, right = figure.subplots(1, 2, width_ratios=[1.15, 1])
    mesh = left.pcolormesh(
        hours, y, values.T, cmap=style.diverging_map(), vmin=middle - reach, vmax=middle + reach, shading="nearest",
        rasterized=True,
    )  # fmt: skip
    bar = figure.colorbar(mesh, ax=left, extend="both", pad=0.02)
    bar.set_label(wording.label_text("salt", unit))
    position = wording.label_text("position across the electrolyte", str(concentration["y"].attrs.get("units", "um")))
    left.set(xlabel="Time [h]", ylabel=position)
    if mark_h is not None and np.isfinite(mark_h):
        left.axvline(mark_h, color=style.INK, lw=1.0, ls=":")
    if plated is not None:
        names = ("plated", "dissolving") if plated == "low" else ("dissolving", "plated")
        for name, at, side in ((names[0], 0.02, "bottom"), (names[1], 0.98, "top")):
            label = left.text(0.02, at, f"{name} electrode", transform=left.transAxes, va=side, fontsize=7)
            label.set_path_effects([withStroke(linewidth=1.8, foreground="white")])
    parts = groups(hours.size, 4)
    for place, part in enumerate(parts):
        color = matplotlib_color(place / max(len(parts) - 1, 1))
        right.plot(y, np.nanmean(values[part], axis=0), color=color, lw=1.0, label=span_text(hours, part))
    right.axhline(middle, color=style.MUTED, lw=0.7, ls=":")
    right.set(xlabel=position, ylabel=wording.label_text("salt", unit))
    spread = np.nanpercentile(values, [1, 99])
    right.set_ylim(spread[0] - 0.15 * np.ptp(spread) - 1e-9, spread[1] + 0.3 * np.ptp(spread) + 1e-9)
    right.legend(loc="upper center", ncols=2)
    style.panel_letters((left, right))
    if style.is_simulated(concentration) if simulated is None else simulated:
        style.mark_simulated(figure)
    return figure


@style.styled
def salt_changes(
    salt: xr.Dataset,
    t_h: Any,
    fits: Mapping[str, xr.Dataset],
    *,
    mark_h: float | None = None,
    simulated: bool | None = None,
) -> Any:
    """Draw how the signal changed since the beginning, and the change that blurred diffusion gives.

    Parameters
    ----------
    salt : Dataset of ``dendrites.salt_concentration``
        Its ``signal`` (t, y).
    t_h : array-like, shape (t)
    fits : mapping of name to Dataset of ``dendrites.fit_salt_transport``
        With ``modeled`` (t, y); times at which a model has no salt left are not drawn.
    mark_h : float, optional
        The first panel ends at this time, at which the current gave way.
    simulated : bool, optional

    Returns
    -------
    matplotlib Figure, 180 mm wide

    Raises
    ------
    InputError
        Where times do not fit.

    Examples
    --------
    >>> signal = xr.DataArray(np.ones((12, 4)), dims=("t", "y"), coords={"y": [0.0, 1.0, 2.0, 3.0]})
    >>> figure = salt_changes(xr.Dataset({"signal": signal}), np.arange(12.0), {})
    >>> len(figure.axes)
    2
    """
    hours = _times(salt["signal"], t_h, "salt_changes")
    edges = salt["position"].values.tolist() if "position" in salt else []
    values, y = salt["signal"].values, salt["y"].values.astype(float) - min(edges, default=0.0)
    width = max(1, hours.size // 8)
    end = int(np.searchsorted(hours, mark_h)) if mark_h is not None and np.isfinite(mark_h) else hours.size // 2
    early = slice(max(end - width // 2, 1), max(end - width // 2, 1) + width)
    parts = [early, slice(hours.size - 2 * width, hours.size)]
    figure = style.new_figure(style.DOUBLE_MM, 66)
    axes = figure.subplots(1, 2, sharey=True)
    first = slice(0, min(4, width + 1))
    for ax, part in zip(axes, parts, strict=True):
        ax.axhline(0, color=style.MUTED, lw=0.5)
        change = 100 * (values[part].mean(axis=0) - values[first].mean(axis=0))
        ax.plot(y, change, color=style.INK, lw=1.0, label="measured")
        for name, fit in fits.items():
            color, line = MODELS.get(name, ("#6B7785", "-"))
            modeled = fit["modeled"].values
            ax.plot(
                y, 100 * (modeled[part].mean(axis=0) - modeled[first].mean(axis=0)), color=color, ls=line, label=name
            )
        ax.set_title(span_text(hours, part))
        ax.set_xlabel(wording.label_text("position across the electrolyte", str(salt["y"].attrs.get("units", "um"))))
        if edges:
            thick = max(edges) - min(edges)
            ax.set_xlim(-0.2 * thick, 1.2 * thick)
            for edge in (0.0, thick):
                ax.axvline(edge, color=style.MUTED, lw=0.6, ls=":")
    axes[0].set_ylabel("Change of the signal\n[% of the full signal]")
    axes[0].legend(loc="upper left")
    style.panel_letters(axes)
    if bool(salt.attrs.get("simulated", False)) if simulated is None else simulated:
        style.mark_simulated(figure)
    return figure


def matplotlib_color(share: float) -> Any:
    """Color of a time between the first (0) and the last (1)."""
    return style.matplotlib("Lines over time").colormaps["viridis"](0.05 + 0.85 * share)


def _times(array: xr.DataArray, t_h: Any, where: str) -> np.ndarray:
    hours = np.asarray(t_h, dtype=float)
    if set(array.dims) != {"t", "y"} or hours.shape != (array.sizes["t"],):
        raise InputError(
            f"{where}: dims (t, y) and one time per profile are needed, got {array.dims} and {hours.shape}. "
            "Select or rename first."
        )
    return hours
