"""Steps of a cell that is imaged between plating and stripping: their names, colors, shades and axes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from operando.core.errors import InputError, nearest
from operando.report import style, wording

ELECTRODES = {"high": "top electrode", "low": "bottom electrode"}
"""What figures call the electrodes, in the order in which they are drawn: z points up."""
SHADES = {"plate": "#FBEFD5", "strip": "#DCEAF5"}
_FAMILIES = {"plate": ("#F0B429", "#B36B00", "#7A3E00"), "strip": ("#5BA3D0", "#0072B2", "#00405F")}
_OTHER = {"plate": "strip", "strip": "plate"}


def step_names(data: Any, steps: Sequence[str] | None = None, *, where: str = "step_names") -> list[str]:
    """Names of the steps along ``t``: those given, else the coordinate ``step``, else the times.

    Parameters
    ----------
    data : DataArray or Dataset with dim t, or None
    steps : sequence of str, optional
        One per scan.
    where : str
        The function that asks, for the message.

    Raises
    ------
    InputError
        Where there is not one name per scan.

    Examples
    --------
    >>> scans = xr.DataArray([0, 1], dims="t", coords={"step": ("t", ["pristine", "plate 1"])})
    >>> step_names(scans), step_names(scans.drop_vars("step")), step_names(scans, ["a", "b"])
    (['pristine', 'plate 1'], ['scan 0', 'scan 1'], ['a', 'b'])
    """
    count = int(getattr(data, "sizes", {}).get("t", 1 if steps is None else len(steps)))
    if steps is not None:
        if len(steps) != count:
            raise InputError(
                f"{where}: one name per scan is needed, got {len(steps)} names {list(steps)} for {count} scans. "
                "Leave steps out to take the coordinate 'step' of the array."
            )
        return [str(name) for name in steps]
    if "step" in getattr(data, "coords", {}):
        return [str(name) for name in np.atleast_1d(data.coords["step"].values)]
    return wording.scan_titles(data, range(count))


def step_kind(name: str, *, electrode: str | None = None, plating_side: str | None = None) -> str:
    """What an electrode does in a step: ``plate``, ``strip``, or "" where the name does not say.

    Parameters
    ----------
    name : str
        Of the step, after what the electrode of the plating side does.
    electrode, plating_side : {"low", "high"}, optional
        With both, an electrode opposite to the plating side does the opposite.

    Examples
    --------
    >>> step_kind("plate 2"), step_kind("plate 2", electrode="high", plating_side="low"), step_kind("pristine")
    ('plate', 'strip', '')
    """
    match = re.match(r"(plat|strip)", name.strip().lower())
    if not match:
        return ""
    kind = "plate" if match[1] == "plat" else "strip"
    return (
        _OTHER[kind] if electrode in ELECTRODES and plating_side in ELECTRODES and electrode != plating_side else kind
    )


def step_colors(names: Sequence[str], **sides: str | None) -> list[str]:
    """Line color of each step: ink, then ambers for plating and blues for stripping, darker from cycle to cycle.

    Examples
    --------
    >>> step_colors(["pristine", "plate 1", "strip 1"])
    ['#1F2933', '#F0B429', '#5BA3D0']
    """
    seen = {"plate": 0, "strip": 0}
    colors: list[str] = []
    for name in names:
        kind = step_kind(name, **sides)
        if not kind:
            colors.append(style.INK if not colors else style.color_of("", index=len(colors)))
            continue
        family = _FAMILIES[kind]
        colors.append(family[min(seen[kind], len(family) - 1)])
        seen[kind] += 1
    return colors


def step_axis(ax: Any, names: Sequence[str], *, electrode: str | None = None, plating_side: str | None = None) -> None:
    """Make the x axis one of steps, numbered from 0, and shade what plates and what strips."""
    for place, name in enumerate(names):
        kind = step_kind(name, electrode=electrode, plating_side=plating_side)
        if kind:
            ax.axvspan(place - 0.5, place + 0.5, color=SHADES[kind], lw=0, zorder=0)
    crowded = len(names) > 3 and max(map(len, names), default=0) > 5
    ax.set_xticks(range(len(names)), names, rotation=35 if crowded else 0, ha="right" if crowded else "center")
    if crowded:
        for label in ax.get_xticklabels():
            label.set_rotation_mode("anchor")
    ax.set_xlim(-0.5, len(names) - 0.5)


def step_handles(names: Sequence[str], *, electrode: str | None = None, opposite: bool = False) -> list[Any]:
    """Patches for a legend that explain the shades that occur.

    Parameters
    ----------
    names : sequence of str
    electrode : {"low", "high"}, optional
        Which one is meant, where the figure is not of an electrode itself.
    opposite : bool
        Whether an electrode that does the opposite is shown too.
    """
    from matplotlib.patches import Patch

    kinds = {step_kind(name) for name in names} - {""}
    kinds |= {_OTHER[kind] for kind in kinds} if opposite else set()
    who = ELECTRODES.get(electrode or "")
    texts = {"plate": f"{who} plates" if who else "plating", "strip": f"{who} strips" if who else "stripping"}
    return [Patch(facecolor=SHADES[kind], lw=0, label=texts[kind]) for kind in ("plate", "strip") if kind in kinds]


def step_text(name: str, *, electrode: str | None = None, plating_side: str | None = None) -> str:
    """Name of a step, with what the electrode does in it where that is the opposite.

    Examples
    --------
    >>> step_text("plate 1", electrode="high", plating_side="low"), step_text("plate 1", electrode="low")
    ('plate 1 (strips here)', 'plate 1')
    """
    kind = step_kind(name, electrode=electrode, plating_side=plating_side)
    return f"{name} ({kind}s here)" if kind and kind != step_kind(name) else name


def electrodes_of(array: xr.DataArray, *, where: str) -> list[str]:
    """The electrodes in an array's ``component`` dim in the order of :data:`ELECTRODES`; others follow as they come.

    Examples
    --------
    >>> electrodes_of(xr.DataArray([0, 0], dims="component", coords={"component": ["low", "high"]}), where="f")
    ['high', 'low']
    """
    if "component" not in array.dims:
        return []
    if "component" not in array.coords:
        raise InputError(
            f"{where}: the dim 'component' must have a coordinate that names the electrodes, got none. "
            'Use array.assign_coords(component=["low", "high"]).'
        )
    known = [str(name) for name in array.coords["component"].values]
    return [name for name in ELECTRODES if name in known] + [name for name in known if name not in ELECTRODES]


def electrode_title(name: str) -> str:
    """Title of an electrode's panel.

    Examples
    --------
    >>> electrode_title("low"), electrode_title("bulk")
    ('Bottom electrode', 'Bulk')
    """
    text = ELECTRODES.get(name, name)
    return text[:1].upper() + text[1:]


def plating_side_of(*data: Any, plating_side: str | None = None, where: str = "plating_side") -> str | None:
    """The side given, else the first that an array's or table's attrs name."""
    for item in (plating_side, *(getattr(each, "attrs", {}).get("plating_side") for each in data if each is not None)):
        if item is not None:
            if item not in ELECTRODES:
                raise InputError(
                    f"{where}: plating_side must be low or high, got {item!r}. {nearest(str(item), ELECTRODES)}"
                )
            return str(item)
    return None
