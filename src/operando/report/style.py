"""One place for how figures look: widths, fonts, colors, axis labels, the scale bar.

Figures are made for print, 88 mm (one column) or 180 mm (two columns) wide with text of 7 and 8 points, in
pixels at 200 dpi or as vectors, with the object interface of matplotlib, so that nothing touches pyplot's global
state or needs a display.
"""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ParamSpec, TypeVar

import numpy as np

from operando.core.errors import InputError, nearest, require
from operando.core.phases import CELL, PhaseScheme
from operando.report import wording

SINGLE_MM = 88.0
DOUBLE_MM = 180.0
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
    "dead": "#CC79A7",
    "imbalance": "#8C6BB1",
    "faraday": "#1F2933",
    "unaccounted": "#6B7785",
    "plating side": "#B36B00",
    "stripping side": "#00507D",
    "plating side without dendrites": "#B36B00",
    "plating electrode": "#B36B00",
    "stripping electrode": "#00507D",
    "network": "#0072B2",
    "baseline": "#8A949E",
}
"""Colors of what is no phase of the label image: terms of the balance, sides, methods."""
_SPARE = ("#56B4E9", "#332288", "#882255", "#44AA99", "#999933", "#AA4499")

RC: dict[str, Any] = {
    # DejaVu Sans comes with matplotlib, so a figure looks the same on every machine.
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
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
    "legend.handletextpad": 0.6,
    "legend.columnspacing": 1.3,
    "image.interpolation": "nearest",
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "mathtext.fontset": "dejavusans",
    # Text stays text in a vector file, so that it can be searched and edited.
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
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
        Pixels per inch; 200 makes 180 mm 1417 pixels wide.

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


def vector_bytes(figure: Any, *, format: str = "pdf") -> bytes:
    """Render a figure to vectors for print; images in it stay images, and text stays text.

    Parameters
    ----------
    figure : matplotlib Figure
    format : {"pdf", "svg"}

    Returns
    -------
    bytes

    Raises
    ------
    InputError
        Where the format is another.

    Examples
    --------
    >>> vector_bytes(new_figure(88, 60))[:5]
    b'%PDF-'
    """
    if format not in ("pdf", "svg"):
        raise InputError(f"vector_bytes: format must be pdf or svg, got {format!r}. {nearest(format, ('pdf', 'svg'))}")
    buffer = io.BytesIO()
    # Without a date the same figure gives the same bytes.
    metadata = {"CreationDate": None} if format == "pdf" else {"Date": None}
    with matplotlib().rc_context({**RC, "svg.hashsalt": "operando"}):
        figure.savefig(buffer, format=format, metadata=metadata)
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


def diverging_map() -> Any:
    """Color map from blue (less) over white to red (more), safe for color vision deficiency; NaN is gray."""
    return matplotlib("A map of changes").colormaps["RdBu_r"].with_extremes(bad=MISSING)


def upper_limit(arrays: Iterable[np.ndarray], *, percent: float = 99.8) -> float:
    """Percentile of the absolute values that are finite and not 0: one stray voxel does not set a color scale.

    Examples
    --------
    >>> upper_limit([np.array([0.0, -3.0, np.nan])]), upper_limit([np.zeros(3)])
    (3.0, 1.0)
    """
    values = np.abs(np.concatenate([np.asarray(array, dtype=float).ravel() for array in arrays]))
    values = values[np.isfinite(values) & (values > 0)]
    return float(np.percentile(values, percent, method="higher")) if values.size else 1.0


def panel_letters(axes: Iterable[Any], *, start: str = "a", indent: float = -22.0) -> None:
    """Letter the panels a, b, c, ... above their upper left corners.

    Parameters
    ----------
    axes : iterable of Axes
    start : str
        Letter of the first.
    indent : float
        From the left edge of the axes, in points.
    """
    for offset, ax in enumerate(axes):
        ax.annotate(
            chr(ord(start) + offset),
            (0, 1),
            xycoords="axes fraction",
            xytext=(indent, 3),
            textcoords="offset points",
            fontsize=9,
            fontweight="bold",
            va="baseline",
            annotation_clip=False,
        )


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
    # A panel may be wide and low: the bar must stay thicker than its outline.
    thickness = max(0.018 * min(right - left, abs(high - low)), 0.006 * (right - left))
    bar = AnchoredSizeBar(
        ax.transData,
        drawn,
        wording.length_text(drawn, unit),
        "lower right",
        pad=0.35,
        sep=1.5,
        borderpad=0.2,
        frameon=False,
        size_vertical=thickness,
        label_top=True,
        color=color,
        fontproperties=FontProperties(size=7),
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
    figure.suptitle("simulated", x=0.995, ha="right", fontsize=7, style="italic", color=MUTED)


def phase_legend(figure: Any, phases: PhaseScheme, names: Iterable[str], *, columns: int | None = None) -> None:
    """Legend of phase colors below the panels."""
    from matplotlib.patches import Patch

    names = list(names)
    if not names:
        return
    handles = [Patch(facecolor=phases.color(n), edgecolor=INK, linewidth=0.3, label=n.replace("_", " ")) for n in names]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=columns or min(len(names), 6),
        handlelength=1.0,
        handleheight=1.0,
        columnspacing=1.4,
    )
