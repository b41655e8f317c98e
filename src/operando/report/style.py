"""One place for how figures look: widths, fonts, colors, axis labels, the scale bar.

Figures are made for print, 85 mm (one column) or 170 mm (two columns) wide at 200 dpi, with the object
interface of matplotlib, so that nothing touches pyplot's global state or needs a display.
"""

from __future__ import annotations

import functools
import io
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ParamSpec, TypeVar

import numpy as np
import xarray as xr

from operando.core.errors import InputError, require
from operando.core.phases import CELL, PhaseScheme

SINGLE_MM = 85.0
DOUBLE_MM = 170.0
DPI = 200
INK = "#1F2933"
MUTED = "#6B7785"
GRID = "#E3E7EB"
MISSING = "#D9D9D9"
FLAG = "#C1121F"
CURRENT = "#5B6770"
ACCENTS = {
    "plated": "#E69F00",
    "stripped": "#0072B2",
    "inactive": "#CC79A7",
    "faraday": "#1F2933",
    "unaccounted": "#6B7785",
    "plating side": "#B36B00",
    "stripping side": "#00507D",
    "network": "#0072B2",
    "baseline": "#8A949E",
}
"""Colors of what is no phase of the label image: terms of the balance, sides, methods."""
_SPARE = ("#56B4E9", "#332288", "#882255", "#44AA99", "#999933", "#AA4499")

RC: dict[str, Any] = {
    # DejaVu Sans comes with matplotlib, so a figure looks the same on every machine.
    "font.family": "DejaVu Sans",
    "font.size": 7,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "figure.titlesize": 8,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "lines.markeredgewidth": 0.8,
    "errorbar.capsize": 1.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "image.interpolation": "nearest",
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "mathtext.fontset": "dejavusans",
}

P = ParamSpec("P")
R = TypeVar("R")


def matplotlib(purpose: str = "A figure") -> Any:
    """Import matplotlib, or say which extra brings it."""
    return require("matplotlib", extra="report", purpose=purpose)


def styled(function: Callable[P, R]) -> Callable[P, R]:
    """Run a drawing function under :data:`RC`, leaving the caller's settings as they were."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with matplotlib(f"report.{function.__name__}").rc_context(RC):
            return function(*args, **kwargs)

    return wrapper


def new_figure(width_mm: float, height_mm: float) -> Any:
    """Return an empty figure with constrained layout that belongs to no window."""
    matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    engine = ConstrainedLayoutEngine(w_pad=1.2 / 25.4, h_pad=1.0 / 25.4, wspace=0.02, hspace=0.02)
    figure = Figure(figsize=(width_mm / 25.4, height_mm / 25.4), layout=engine)
    FigureCanvasAgg(figure)
    return figure


def axes_of(ax: Any, *, width_mm: float, height_mm: float) -> Any:
    """Return ``ax``, or the axes of a new figure of that size."""
    return new_figure(width_mm, height_mm).add_subplot() if ax is None else ax


def png_bytes(figure: Any, *, dpi: int = DPI) -> bytes:
    """Render a figure to PNG.

    Parameters
    ----------
    figure : matplotlib Figure
    dpi : int
        Pixels per inch; 200 makes 170 mm 1339 pixels wide.

    Returns
    -------
    bytes

    Examples
    --------
    >>> png_bytes(new_figure(85, 60))[:4]
    b'\\x89PNG'
    """
    buffer = io.BytesIO()
    with matplotlib().rc_context(RC):
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def rgb_array(figure: Any, *, dpi: int = DPI) -> np.ndarray:
    """Render a figure to ``uint8`` pixels, shape (height, width, 3).

    Examples
    --------
    >>> rgb_array(new_figure(25.4, 50.8), dpi=100).shape
    (200, 100, 3)
    """
    matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with matplotlib().rc_context(RC):
        figure.set_dpi(dpi)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()


_SUPERSCRIPT = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def unit_text(unit: str, *, power: int = 0) -> str:
    """Spell a unit for people, with a power of ten in front where one is taken out of the numbers.

    Examples
    --------
    >>> unit_text("um3"), unit_text("mAh cm-2"), unit_text("um3", power=3), unit_text("1")
    ('µm³', 'mAh cm⁻²', '10³ µm³', '')
    """
    words = []
    for word in unit.split():
        match = re.fullmatch(r"([A-Za-zµμ%Å]+)(-?\d+)?", word)
        if not match:
            words.append(word)
            continue
        base = re.sub(r"^u(?=m$|A|V|s$)", "µ", match[1])
        words.append(base + (match[2] or "").translate(_SUPERSCRIPT))
    text = "" if unit.strip() == "1" else " ".join(words)
    scale = "10" + str(power).translate(_SUPERSCRIPT) if power else ""
    return " ".join(part for part in (scale, text) if part)


def label_text(name: str, unit: str = "1", *, power: int = 0, lines: int = 1) -> str:
    """Axis label in the form *name [unit]*, capitalized, the unit on a second line where ``lines`` is 2.

    Examples
    --------
    >>> label_text("effective thickness", "um"), label_text("coverage", "1")
    ('Effective thickness [µm]', 'Coverage')
    """
    shown = unit_text(unit, power=power)
    name = name[:1].upper() + name[1:]
    return f"{name}{chr(10) if lines == 2 else ' '}[{shown}]" if shown else name


def array_label(array: xr.DataArray, *, default: str = "Value") -> str:
    """Axis label of a labeled array from its ``long_name`` and ``units``."""
    name = str(array.attrs.get("long_name") or array.name or default).replace("_", " ")
    return label_text(name, str(array.attrs.get("units", "1")))


def power_of_ten(values: Iterable[float]) -> int:
    """Multiple of three to take out of numbers so that the largest lies between 1 and 1000.

    Numbers between 0.1 and 10 000 are left as they are.

    Examples
    --------
    >>> power_of_ten([1.2e6, 3e5]), power_of_ten([120.0]), power_of_ten([])
    (6, 0, 0)
    """
    data = np.asarray(list(values), dtype=float)
    finite = np.abs(data[np.isfinite(data)])
    top = float(finite.max()) if finite.size else 0.0
    if top == 0 or 0.1 <= top < 1e4:
        return 0
    return 3 * math.floor(math.log10(top) / 3)


def quantity_text(value: float, half_width: float = float("nan"), unit: str = "1") -> str:
    """Spell a number with the half width of its interval, rounded to what the interval supports.

    Examples
    --------
    >>> quantity_text(218765.4, 8123.0, "um3"), quantity_text(0.876), quantity_text(12.3, 0.4, "um")
    ('(218.8 ± 8.1) × 10³ µm³', '0.876', '12.30 ± 0.40 µm')
    """
    if not math.isfinite(value):
        return "not known"
    power = power_of_ten([value])
    shown, half = value / 10.0**power, half_width / 10.0**power
    ten = f"× {unit_text(unit, power=power)}" if power else unit_text(unit)
    if not half > 0:
        return f"{_rounded(shown, 3)} {ten}".strip()
    # Two significant digits of the interval decide how many of the value are worth printing.
    decimals = max(0, 1 - math.floor(math.log10(half)))
    pair = f"{shown:.{decimals}f} ± {half:.{decimals}f}".replace("-", "−")
    return f"({pair}) {ten}" if power else f"{pair} {ten}".strip()


def _rounded(value: float, digits: int) -> str:
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:.{decimals}f}".replace("-", "−")


def scan_titles(array: xr.DataArray, scans: Iterable[int]) -> list[str]:
    """Time of each scan, or its number where the time axis has no unit.

    Examples
    --------
    >>> image = xr.DataArray([0, 0], dims="t", coords={"t": ("t", [0.5, 12.25], {"units": "h"})})
    >>> scan_titles(image, [0, 1])
    ['0.5 h', '12.2 h']
    """
    scans = list(scans)
    units = str(array.coords["t"].attrs.get("units", "1")) if "t" in array.coords else "1"
    if units == "1":
        return [f"scan {scan}" for scan in scans]
    times = np.atleast_1d(np.asarray(array.coords["t"].values, dtype=float))
    shown = [float(times[scan] if times.size > 1 else times[0]) for scan in scans]
    decimals = 1 if max(map(abs, shown), default=0.0) >= 10 else 2
    return [f"{time:.{decimals}f} {unit_text(units)}" for time in shown]


def spread_scans(count: int, shown: int) -> list[int]:
    """Return at most ``shown`` scan numbers, evenly spread, with the first and the last.

    Examples
    --------
    >>> spread_scans(9, 4), spread_scans(3, 5)
    ([0, 3, 5, 8], [0, 1, 2])
    """
    return sorted({round(i) for i in np.linspace(0, count - 1, min(count, shown))})


def color_of(component: str, phases: PhaseScheme | Mapping[str, int] | None = None, *, index: int = 0) -> str:
    """Color of a component: its phase's, else that of a term of the balance, else a spare one.

    Examples
    --------
    >>> color_of("deposited") == CELL.color("deposited")
    True
    """
    scheme = CELL if phases is None else PhaseScheme.of(phases)
    if component in scheme:
        return scheme.color(component)
    return ACCENTS.get(component, _SPARE[index % len(_SPARE)])


def sequential_map(color: str) -> Any:
    """Color map from near white through ``color`` to near black, even in lightness; NaN is gray."""
    matplotlib()
    from matplotlib.colors import LinearSegmentedColormap, rgb_to_hsv, to_rgb

    base = np.array(to_rgb(color))
    steps = np.linspace(0, 1, 256)
    dark, light = base * 0.38, np.array([0.985, 0.985, 0.98])
    luminance = np.array([0.2126, 0.7152, 0.0722])
    knots = np.stack([light, base, dark])
    levels = knots @ luminance
    # The knot of the phase color sits where its own lightness falls on the straight line.
    middle = float(np.clip((levels[0] - levels[1]) / (levels[0] - levels[2]), 0.2, 0.8))
    if float(rgb_to_hsv(base)[1]) < 0.15:
        middle = 0.5
    colors = np.stack([np.interp(steps, [0, middle, 1], knots[:, channel]) for channel in range(3)], axis=1)
    made = LinearSegmentedColormap.from_list(f"to {color}", colors.tolist())
    return made.with_extremes(bad=MISSING)


def scale_bar_length(extent: float, *, fraction: float = 0.28) -> float:
    """Round length (1, 2 or 5 times a power of ten) of at most ``fraction`` of an extent.

    Examples
    --------
    >>> scale_bar_length(128 * 1.33), scale_bar_length(1000.0)
    (20.0, 200.0)
    """
    if not extent > 0:
        raise InputError(f"scale_bar_length: the extent must be positive, got {extent}. Check the voxel size.")
    target = fraction * extent
    base = 10.0 ** math.floor(math.log10(target) + 1e-12)
    return max(step * base for step in (1.0, 2.0, 5.0) if step * base <= target * (1 + 1e-9))


def length_text(length: float, unit: str = "um") -> str:
    """Length of a scale bar in the unit a reader expects.

    Examples
    --------
    >>> length_text(50), length_text(2000), length_text(20, "px")
    ('50 µm', '2 mm', '20 px')
    """
    if unit == "um" and length >= 1000:
        return f"{length / 1000:g} mm"
    if unit == "um" and length < 0.5:
        return f"{length * 1000:g} nm"
    return f"{length:g} {unit_text(unit)}"


def add_scale_bar(ax: Any, *, unit: str = "um", length: float | None = None, color: str = "white") -> float:
    """Draw a scale bar into the lower right of axes whose x axis is a length.

    Parameters
    ----------
    ax : Axes
        Its x limits are in ``unit``.
    unit : str
        ``um``, or ``px`` for an image that nobody has calibrated.
    length : float, optional
        In ``unit``; default a round length near a quarter of the width.
    color : str
        Of the bar; it is outlined in the opposite shade, so that it shows on any background.

    Returns
    -------
    float
        The length drawn, in ``unit``.
    """
    from matplotlib.font_manager import FontProperties
    from matplotlib.patheffects import withStroke
    from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar

    left, right = sorted(ax.get_xlim())
    low, high = ax.get_ylim()
    drawn = scale_bar_length(right - left) if length is None else length
    thickness = 0.018 * min(right - left, abs(high - low))
    bar = AnchoredSizeBar(
        ax.transData,
        drawn,
        length_text(drawn, unit),
        "lower right",
        pad=0.35,
        sep=1.5,
        borderpad=0.2,
        frameon=False,
        size_vertical=thickness,
        label_top=True,
        color=color,
        fontproperties=FontProperties(size=6.5),
    )
    outline = "black" if color == "white" else "white"
    bar.set_gid("scale bar")
    bar.set_zorder(10)
    bar.txt_label.get_children()[0].set_path_effects([withStroke(linewidth=1.4, foreground=outline)])
    for patch in bar.size_bar.get_children():
        patch.set(facecolor=color, edgecolor=outline, linewidth=0.4, fill=True)
    ax.add_artist(bar)
    return drawn


def is_simulated(*data: Any) -> bool:
    """Whether any of these arrays or tables says ``attrs["simulated"]``."""
    return any(bool(getattr(item, "attrs", {}).get("simulated", False)) for item in data if item is not None)


def mark_simulated(figure: Any) -> None:
    """Write *simulated* into a figure, so that no synthetic result is taken for a measurement."""
    # As the figure's title it keeps a line of its own in the constrained layout, clear of panels and legends.
    figure.suptitle("simulated", x=0.995, ha="right", fontsize=6.5, style="italic", color=MUTED)


def phase_legend(figure: Any, phases: PhaseScheme, names: Iterable[str], *, columns: int | None = None) -> None:
    """Legend of phase colors below the panels."""
    from matplotlib.patches import Patch

    names = list(names)
    if not names:
        return
    handles = [Patch(facecolor=phases.color(n), edgecolor=INK, linewidth=0.3, label=n) for n in names]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=columns or min(len(names), 6),
        handlelength=1.0,
        handleheight=1.0,
        columnspacing=1.4,
    )
