"""What all figures of a growth-rate run share: names of features, colors of stages, splits and times, checks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando.core.errors import InputError, nearest
from operando.core.units import factor, kind
from operando.report import style, wording

FEATURE_LABELS = {
    "slope_up": "1 up slope",
    "slope_down": "2 down slope",
    "slope": "3 slope",
    "concentration": "4 concentration",
    "concentration_gradient": "5 gradient",
    "interface_position": "6 position",
    "growth_rate": "7 growth rate",
}
"""The seven features of Ma 2021, Table I, which calls 1 to 3 (slopes, dh/dx) curvatures."""
SET_LABELS = {
    "slopes": "slopes (1-3)",
    "concentration": "concentration (4, 5)",
    "growth": "growth (6, 7)",
    "all": "all (1-7)",
}
PREVIOUS = "_previous"
TIME_LABELS = {"previous": "$t_{i-1}$", "current": "$t_i$", "both": "$t_{i-1}$ and $t_i$"}
TIME_COLORS = {"previous": "#A9BCC9", "current": "#2F5D7C"}
STAGE_COLORS = {"none": "#0072B2", "partial": "#009E73", "full": "#D55E00"}
"""Blue, green and red of Ma 2021, Fig. 2c, as Okabe and Ito set them: they differ under any color vision deficiency."""
STAGE_LABELS = {"none": "no depletion", "partial": "partial depletion", "full": "full depletion"}
MEASURED = style.INK
FORECAST = "#AA3377"
METAL = "#B4BAC0"
SPLIT_COLORS = {"random": "#9AA3AB", "frame": "#332288", "experiment": "#882255"}
SPLIT_MARKS = {"random": "o", "frame": "D", "experiment": "s"}
SPLIT_LABELS = {
    "random": "random points (the paper's)",
    "frame": "whole frames",
    "experiment": "whole experiments",
}
RATE_UNIT = "um min-1"


def checked(table: pd.DataFrame, columns: Sequence[str], *, where: str, name: str = "table") -> pd.DataFrame:
    """Return the table, or say which columns it lacks or that it has no rows."""
    missing = [column for column in columns if column not in table]
    if missing:
        raise InputError(
            f"{where}: the {name} must have the columns {', '.join(columns)}; missing {missing}, got "
            f"{[str(column) for column in table.columns]}. {nearest(missing[0], [str(c) for c in table.columns])}"
        )
    if table.empty:
        raise InputError(f"{where}: the {name} must have at least one row, got none. Leave the figure out.")
    return table


def known(word: str, words: Iterable[str], *, where: str, what: str) -> str:
    """Return the word, or say which was probably meant."""
    options = [str(one) for one in words]
    if word not in options:
        raise InputError(f"{where}: {what} must be one of {', '.join(options)}, got {word!r}. {nearest(word, options)}")
    return word


def feature_time(column: str) -> tuple[str, str]:
    """Feature and time that a column of the feature table stands for.

    Examples
    --------
    >>> feature_time("slope_up_previous"), feature_time("growth_rate")
    (('slope_up', 'previous'), ('growth_rate', 'current'))
    """
    base = column.removesuffix(PREVIOUS)
    return base, "previous" if base != column else "current"


def feature_label(column: str) -> str:
    """Feature as the paper numbers it, without its time.

    Examples
    --------
    >>> feature_label("concentration_previous"), feature_label("sum_of_slopes")
    ('4 concentration', 'sum of slopes')
    """
    base = feature_time(column)[0]
    return FEATURE_LABELS.get(base, base.replace("_", " "))


def feature_order(columns: Iterable[str]) -> list[str]:
    """Features without their time, in the order of Table I, others behind as they come.

    Examples
    --------
    >>> feature_order(["growth_rate", "slope_previous", "slope"])
    ['slope', 'growth_rate']
    """
    found = list(dict.fromkeys(feature_time(str(column))[0] for column in columns))
    ranks = list(FEATURE_LABELS)
    return sorted(found, key=lambda name: ranks.index(name) if name in ranks else len(ranks))


def stage_order(stages: Iterable[str]) -> list[str]:
    """Stages in the order in which a cell passes them."""
    found = list(dict.fromkeys(str(stage) for stage in stages))
    return [name for name in STAGE_COLORS if name in found] + [name for name in found if name not in STAGE_COLORS]


def stage_color(stage: str) -> str:
    """Color of a stage; what is no stage is gray."""
    return STAGE_COLORS.get(stage, style.MUTED)


def stage_names(stages: xr.DataArray) -> list[str]:
    """Name of the stage of every frame, from names or from the integers 0, 1, 2 of ``dendrites.depletion_stage``.

    Examples
    --------
    >>> stage_names(xr.DataArray([0, 2], dims="t"))
    ['none', 'full']
    """
    names = [str(name) for name in np.atleast_1d(stages.attrs.get("stages", list(STAGE_COLORS)))]
    values = np.atleast_1d(stages.values)
    if values.dtype.kind in "USO":
        return [str(value) for value in values]
    return [names[int(value)] if 0 <= value < len(names) else "unknown" for value in values]


def stage_handles(stages: Iterable[str], *, patch: bool = False) -> list[Any]:
    """Lines or patches that explain the colors of stages."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    if patch:
        return [
            Patch(facecolor=stage_color(s), alpha=0.18, lw=0, label=STAGE_LABELS.get(s, s)) for s in stage_order(stages)
        ]
    return [Line2D([], [], color=stage_color(s), lw=1.6, label=STAGE_LABELS.get(s, s)) for s in stage_order(stages)]


def split_order(splits: Iterable[str]) -> list[str]:
    """Splits from the paper's to the strictest."""
    found = list(dict.fromkeys(str(split) for split in splits))
    return [name for name in SPLIT_COLORS if name in found] + [name for name in found if name not in SPLIT_COLORS]


def minutes(series: xr.DataArray | xr.Dataset) -> tuple[np.ndarray, str]:
    """Times of the frames and the label of their axis; frame numbers where there are no times.

    A time coordinate without a unit is in seconds.

    Examples
    --------
    >>> minutes(xr.DataArray([1, 2], dims="t", coords={"t": ("t", [0.0, 300.0], {"units": "s"})}))
    (array([0., 5.]), 'Time [min]')
    """
    if "t" not in series.coords:
        return np.arange(series.sizes.get("t", 1), dtype=float), "Frame"
    t = series.coords["t"]
    unit = str(t.attrs.get("units", "s"))
    values = np.atleast_1d(np.asarray(t.values, dtype=float))
    return (values * factor(unit, "min"), "Time [min]") if kind(unit) == "time" else (values, "Frame")


def time_text(value: float, label: str) -> str:
    """Spell the time of a frame as :func:`minutes` gives it.

    Examples
    --------
    >>> time_text(35.0, "Time [min]"), time_text(3.0, "Frame")
    ('35 min', 'frame 3')
    """
    return f"{value:.3g} min" if label.startswith("Time") else f"frame {value:g}"


def unit_of(table: pd.DataFrame, column: str, default: str = "1") -> str:
    """Unit of a column from ``attrs["units"]``."""
    units = table.attrs.get("units", {})
    return str(units.get(column, default)) if isinstance(units, dict) else default


def plain(name: str) -> str:
    """A name as it stands, not as a formula.

    Examples
    --------
    >>> plain("5 $ a cell")
    '5 \\\\$ a cell'
    """
    return name.replace("$", r"\$")


def rate_unit(*tables: pd.DataFrame | None) -> str:
    """Unit of the growth rates of the first table that says; um min-1 where none does.

    Examples
    --------
    >>> table = pd.DataFrame()
    >>> table.attrs["units"] = {"growth_rate_next": "px min-1"}
    >>> rate_unit(None, table), rate_unit()
    ('px min-1', 'um min-1')
    """
    for table in tables:
        if table is not None and (unit := unit_of(table, "growth_rate_next", "")):
            return unit
    return RATE_UNIT


def rate_label(name: str, *tables: pd.DataFrame | None, lines: int = 1) -> str:
    """Label of an axis of growth rates, in the unit of the tables."""
    return wording.label_text(name, rate_unit(*tables), lines=lines)


def place_label(*tables: pd.DataFrame | None) -> str:
    """Label of the axis along the electrode, in the unit of the tables."""
    units = [unit_of(table, "x_um", "") for table in tables if table is not None]
    return wording.label_text("position x", next((unit for unit in units if unit), "um"))


def time_axis(*tables: pd.DataFrame | None) -> str:
    """Label of the axis of time, in the unit of the tables."""
    units = [unit_of(table, "t_min", "min") for table in tables if table is not None]
    return "Time [min]" if not units or units[0] == "min" else "Frame"


def hidden_layers(network: str) -> tuple[int, ...]:
    """Neurons of each hidden layer from the name of a network.

    Examples
    --------
    >>> hidden_layers("8"), hidden_layers("[16, 16]")
    ((8,), (16, 16))
    """
    return tuple(int(number) for number in re.findall(r"\d+", network))


def parameter_count(network: str, inputs: int) -> int:
    """Weights and biases of a network with one output.

    Examples
    --------
    >>> parameter_count("[16, 16]", 14), parameter_count("8", 2)
    (529, 33)
    """
    sizes = [inputs, *hidden_layers(network), 1]
    return sum((before + 1) * after for before, after in pairwise(sizes))


def model_label(model: str) -> str:
    """Name of a model as a line of a figure begins with it."""
    return model[:1].upper() + model[1:]


def r_text(value: float) -> str:
    """Spell a correlation with two decimals.

    Examples
    --------
    >>> r_text(0.8), r_text(-0.001), r_text(-0.214), r_text(float("nan"))
    ('0.80', '0.00', '\u22120.21', 'undefined')
    """
    if not np.isfinite(value):
        return "undefined"
    text = f"{value:.2f}"
    return "0.00" if text == "-0.00" else text.replace("-", "\u2212")


def spread_text(values: Iterable[float]) -> str:
    """Spell the mean of some correlations and, where there are several, their range.

    Examples
    --------
    >>> spread_text([0.5, 0.7]), spread_text([0.5]), spread_text([])
    ('0.60 (0.50 to 0.70)', '0.50', 'undefined')
    """
    numbers = np.asarray(list(values), dtype=float)
    numbers = numbers[np.isfinite(numbers)]
    if numbers.size == 0:
        return "undefined"
    mean = r_text(float(numbers.mean()))
    return f"{mean} ({r_text(numbers.min())} to {r_text(numbers.max())})" if numbers.size > 1 else mean
