"""Sections of the page of a growth-rate run: the interface, how it grew, and the forecast of its growth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando.report import growth_style as look
from operando.report import style, wording
from operando.report.growth_forecast import forecast_along, forecast_scatter
from operando.report.growth_interface import interface_frames, interface_overview
from operando.report.growth_next import next_growth
from operando.report.growth_rates import growth_over_time
from operando.report.pages import MovieItem, Section, TableItem
from operando.report.spectral_sections import Framed, described, framed, trusted

PAPER_VELOCITIES = {"none": 0.04, "partial": 0.41, "full": 0.64}
"""Mean growth rates of the stages in um min-1 (Ma 2021, Fig. 2c)."""


def section_interface(
    series: Mapping[str, xr.DataArray],
    interfaces: Mapping[str, xr.Dataset],
    concentrations: Mapping[str, xr.DataArray],
    stages: Mapping[str, xr.DataArray],
    *,
    name: str | None = None,
    at: int | None = None,
    movie: bool = True,
    simulated: bool | None = None,
    figure: Framed = framed,
) -> Section:
    """Where the interface is: over a raw image, before the salt, and over time by stage.

    Parameters
    ----------
    series, interfaces, concentrations, stages, name, at
        As in :func:`operando.report.interface_overview`.
    movie : bool
        Add the movie of that series.
    simulated : bool, optional
        Label every figure as simulated; default what the data of each say.
    figure : callable (name, figure, caption) -> FigureItem
        Wraps every figure, for example ``FigureFolder.figure``, which also saves it.

    Returns
    -------
    Section
    """
    shown = interface_overview(series, interfaces, concentrations, stages, name=name, at=at, simulated=simulated)
    chosen = name or max(series, key=lambda one: series[one].sizes.get("t", 1))
    frames = sum(one.sizes.get("t", 1) for one in series.values())
    shown_in = sum(int(interfaces[one]["position"].notnull().any("x").sum()) for one in series)  # noqa: PD004
    found = f"{shown_in} of " if shown_in < frames else ""
    text = [
        f"The interface was found in {found}{_count(frames, 'image')} of {_count(len(series), 'series', 'series')}."
    ]
    sigma = _joined(interfaces, series, "position_sigma")
    broken, overhang = _joined(interfaces, series, "broken"), _joined(interfaces, series, "overhang")
    if sigma.size and np.isfinite(sigma).any():
        unit = str(interfaces[chosen]["position_sigma"].attrs.get("units", "px"))
        known = wording.length_text(float(f"{np.nanmedian(sigma):.2g}"), unit)
        text.append(f"Its position is known to {known} (one sigma, median).")
    for flagged, what in ((broken, "the line is broken and was bridged"), (overhang, "the metal overhangs")):
        if flagged.any():
            text.append(f"In {_percent(float(flagged.mean()))} of the columns {what}.")
    seen = [look.stage_names(stages[one]) for one in series]
    flat = [stage for some in seen for stage in some]
    shares = [f"{look.STAGE_LABELS.get(stage, stage)} {flat.count(stage)}" for stage in look.stage_order(flat)]
    text.append(f"Images by stage: {', '.join(shares)}.")
    caption = (
        "a, a raw image and the interface found in it. b, the salt after filling and smoothing, the metal in gray. c, "
        "the interface in every image, colored by the stage of depletion; bold: the image of a and b"
        + (". Further panels: the other series" if len(series) > 1 else "")
        + ". Dashed: the line is broken or overhangs (after Ma et al. 2021, Fig. 2)."
    )
    items: list[Any] = [described(figure("interface", shown, caption), " ".join(text))]
    if movie and series[chosen].sizes.get("t", 1) > 1:
        items.append(
            MovieItem(
                interface_frames(series[chosen], interfaces[chosen], stages[chosen], simulated=simulated),
                f"Every image of {chosen} with its interface, and the interfaces so far.",
            )
        )
    trust = (
        "Where the line is broken its position is that of its neighbors, and where the metal overhangs only its "
        "outermost surface is seen: both are flagged in every table."
    )
    if str(concentrations[chosen].attrs.get("units", "1")) == "1":
        trust += " The gray values were not calibrated, so that concentrations are relative."
    else:
        trust += (
            " Concentrations are as good as the calibration of the gray values, whose error is common to all of them."
        )
    return Section("The interface", " ".join(text), [*items, trusted(trust)])


def _joined(interfaces: Mapping[str, xr.Dataset], series: Mapping[str, Any], what: str) -> np.ndarray:
    """Values at every column of every image that shows an interface."""
    some = [interfaces[one] for one in series if what in interfaces[one]]
    found = [np.asarray(one[what].values, dtype=float)[np.isfinite(one["position"].values)] for one in some]
    return np.concatenate(found) if found else np.empty(0)


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def section_growth(
    table: pd.DataFrame,
    velocities: pd.DataFrame | None = None,
    *,
    stages: Mapping[str, xr.DataArray] | None = None,
    faraday: Mapping[str, float] | None = None,
    surface: Mapping[str, xr.DataArray] | None = None,
    simulated: bool | None = None,
    figure: Framed = framed,
) -> Section:
    """How fast the electrode grew, stage by stage, beside dense lithium.

    Parameters
    ----------
    table, stages, faraday, surface
        As in :func:`operando.report.growth_over_time`.
    velocities : DataFrame, optional
        Quantity rows of ``dendrites.stage_velocities``: the component is the stage. They are set beside the paper's.
    simulated : bool, optional
        Label every figure as simulated; default what the table says.
    figure : callable (name, figure, caption) -> FigureItem

    Returns
    -------
    Section
    """
    shown = growth_over_time(table, stages=stages, faraday=faraday, surface=surface, simulated=simulated)
    text = []
    if velocities is not None and len(velocities):
        for row in velocities.to_dict("records"):
            half = 1.96 * float(row["sigma"])
            value = _rate_text(float(row["value"]), half, str(row["unit"]))
            about = " (95 %)" if half > 0 else ""
            stage = look.STAGE_LABELS.get(str(row["component"]), str(row["component"]))
            text.append(f"{look.model_label(stage)}: {value}{about}.")
        text = [f"Mean growth rate by stage. {' '.join(text)}"]
    if faraday:
        told = ", ".join(f"{rate:.3g} ({name})" for name, rate in faraday.items())
        text.append(f"Dense lithium would grow by {told} {wording.unit_text(look.rate_unit(table))} at these currents.")
    caption = (
        "Above, mean growth rate of every interval between images, and the band that holds 80 % of the points; "
        "below, mean salt at the surface, relative to the first time shown. The shade of an interval is the stage "
        "at its start." + (" Dashed: dense lithium by Faraday's law." if faraday else "")
    )
    items: list[Any] = [described(figure("growth", shown, caption), " ".join(text) or caption)]
    if velocities is not None and len(velocities):
        items.append(
            TableItem(_beside_the_paper(velocities), "Growth rate of each stage.", name="stage-velocities", digits=3)
        )
    trust = (
        "What grows faster than dense lithium is not lithium alone: the interface is the envelope of what grew, "
        "with the electrolyte that it encloses. The sigma of a stage comes from how its images differ; images of "
        "one cell are alike, and another cell may differ by more."
    )
    if style.is_simulated(table) if simulated is None else simulated:
        trust += (
            " A simulated series was made with the velocities of the paper: that they agree shows no more than that."
        )
    return Section("How it grew", " ".join(text), [*items, trusted(trust)])


def _rate_text(value: float, half: float, unit: str) -> str:
    """Spell a growth rate with the half width of its interval, to two of its digits.

    Examples
    --------
    >>> _rate_text(0.0378, 0.0017, "um min-1"), _rate_text(0.616, float("nan"), "um min-1")
    ('0.0378 ± 0.0017 µm min⁻¹', '0.616 µm min⁻¹')
    """
    if not half > 0:
        return f"{value:.3g} {wording.unit_text(unit)}"
    decimals = max(2, 1 - math.floor(math.log10(half)))
    return f"{value:.{decimals}f} ± {half:.{decimals}f} {wording.unit_text(unit)}"


def _beside_the_paper(velocities: pd.DataFrame) -> pd.DataFrame:
    unit = wording.unit_text(str(velocities["unit"].iloc[0]))
    same = str(velocities["unit"].iloc[0]) == look.RATE_UNIT
    names = [str(stage) for stage in velocities["component"]]
    columns: dict[str, Any] = {
        "stage": [look.STAGE_LABELS.get(name, name) for name in names],
        f"growth rate [{unit}]": velocities["value"].to_numpy(),
        f"sigma [{unit}]": velocities["sigma"].to_numpy(),
        "images": velocities["n"].to_numpy(),
    }
    if same:
        columns[f"Ma et al. 2021 [{unit}]"] = [PAPER_VELOCITIES.get(name, np.nan) for name in names]
    return pd.DataFrame(columns)


def section_forecast(
    predictions: pd.DataFrame,
    scores: pd.DataFrame,
    table: pd.DataFrame,
    *,
    models: Mapping[str, str],
    honest: str = "frame",
    repeat: int = 0,
    series: xr.DataArray | None = None,
    interface: xr.Dataset | None = None,
    ahead: pd.DataFrame | None = None,
    interval_min: float | None = None,
    level: float = 0.95,
    simulated: bool | None = None,
    figure: Framed = framed,
) -> Section:
    """What the networks forecast, for random points and for what was held out as a whole; and the next interval.

    Parameters
    ----------
    predictions, scores : DataFrame
        Of ``dendrites.compare``, for all of ``models``.
    table : DataFrame of ``dendrites.growth_features``
    models : mapping of model to str
        Which models, and the heading of each; the last one is the one that counts.
    honest : str
        The split to show beside the random one.
    repeat : int
        Which repeat is drawn.
    series, interface, ahead, interval_min : optional
        As in :func:`operando.report.next_growth`, where ``ahead`` is the forecast of the last image.
    level : float
        Of the intervals.
    simulated : bool, optional
        Label every figure as simulated; default what the data of each say.
    figure : callable (name, figure, caption) -> FigureItem

    Returns
    -------
    Section
    """
    splits = [split for split in ("random", honest) if (predictions["split"] == split).any()]
    options: dict[str, Any] = {"models": models, "repeat": repeat, "simulated": simulated}
    text = [_forecast_sentence(scores, model, title, splits) for model, title in models.items()]
    caption = (
        "Forecast over measured growth rate of the next interval, for points that the network was trained on and "
        "for test points, with the correlation R of the points drawn; a row for each way to choose the test points "
        "(after Ma et al. 2021, Fig. 3a-d). Points on the line are right; points beyond the axes are drawn on their "
        "edge."
    )
    items: list[Any] = [
        described(
            figure("forecast", forecast_scatter(predictions, scores, splits=splits, table=table, **options), caption),
            " ".join(text),
        )
    ]
    caption = (
        f"Measured growth rate, its forecast and the {100 * level:g} % interval. Above, test points drawn at random "
        "(after Ma et al. 2021, Fig. 3e and f); below, along the electrode, the held-out image whose growth rate "
        "varies most."
    )
    shown = forecast_along(predictions, table, honest=honest, **options)
    items.append(described(figure("forecast-along", shown, caption), caption))
    if ahead is not None and series is not None and interface is not None and interval_min is not None:
        caption = (
            "Where lithium is expected to grow next: the last image, stretched normal to the electrode, the "
            f"interface now and {interval_min:g} min later; below, the growth rate of that interval. Bands: "
            f"{100 * level:g} %."
        )
        shown = next_growth(series, interface, ahead, interval_min=interval_min, simulated=simulated)
        items.append(described(figure("next", shown, caption), caption))
    trust = (
        "Neighbors of a random test point were trained on: its forecast is a look at them. What was held out as a "
        "whole tells what a forecast is worth. R over all points is high as soon as the stage is known, because "
        "stages differ by more than places do; R within frames asks where along the electrode lithium grows."
    )
    return Section("The forecast", " ".join(text), [*items, trusted(trust)])


def _forecast_sentence(scores: pd.DataFrame, model: str, title: str, splits: Sequence[str]) -> str:
    """R of the test points and within frames, mean and range over the repeats, split by split."""
    parts = []
    for split in splits:
        some = scores[(scores["model"] == model) & (scores["split"] == split)]
        if some.empty:
            continue
        told = f"{look.SPLIT_LABELS.get(split, split).split(' (')[0]} {look.spread_text(some['r_test'])}"
        if "r_within" in some:
            told += f", within frames {look.spread_text(some['r_within'])}"
        parts.append(told)
    return f"{look.model_label(title)}, R of the test points: {'; '.join(parts)}."
