"""The report of recipe ``growth-rate``: finished results laid out on one page; nothing is measured here."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from operando import dendrites, report
from operando.core.axes import spacing
from operando.core.provenance import versions
from operando.pipeline.growth_rate.shown import Shown, gather
from operando.pipeline.growth_rate.trusting import NETWORK, SMALL
from operando.pipeline.layout import laid_out, ledger_section, workflow_section
from operando.pipeline.step import Task
from operando.pipeline.storage import FigureFolder

_SIMPLE = ("persistence", "stage mean", "linear")
_WORDS = {"random": "random points", "frame": "whole images", "experiment": "whole experiments"}
_EXPLAINS = 0.1  # share of the variance within unseen images from which on a network knows something of an electrode
_STAGES = {"none": "no depletion", "partial": "partial depletion", "full": "full depletion"}
_CITATIONS = (
    "Ma, Y. et al. Understanding the correlation between lithium dendrite growth and local material properties by "
    "machine learning. J. Electrochem. Soc. 168, 090523 (2021). https://doi.org/10.1149/1945-7111/ac201d",
    "Cheng, Q. et al. Operando and three-dimensional visualization of anion depletion and lithium growth by stimulated "
    "Raman scattering microscopy. Nat. Commun. 9, 2942 (2018). https://doi.org/10.1038/s41467-018-05289-z",
    "MacKay, D. J. C. A practical Bayesian framework for backpropagation networks. Neural Computation 4, 448 (1992). "
    "https://doi.org/10.1162/neco.1992.4.3.448",
    "Foresee, F. D. & Hagan, M. T. Gauss-Newton approximation to Bayesian learning. Proc. ICNN 3, 1930-1935 (1997). "
    "https://doi.org/10.1109/ICNN.1997.614194",
)


def make_report(task: Task) -> None:
    """Lay out figures, tables and methods."""
    with task.writing("figures") as folder:
        shown = gather(task, FigureFolder(folder))
        builders: list[Callable[[], report.Section | None]] = [
            lambda: _interface(shown),
            lambda: _growth(shown),
            lambda: _forecast(shown),
            lambda: _trust(shown),
            lambda: _study(shown),
            lambda: _sensitivity(shown),
            lambda: _training(shown),
            lambda: workflow_section(task, shown.book),
            lambda: ledger_section(shown.ledger),
        ]
        laid = laid_out(task, builders)
        with task.writing("report.html") as path:
            report.write_page(
                path,
                shown.settings.title,
                laid,
                subtitle=f"Recipe growth-rate: what drives the growth of lithium. {shown.settings.credit}".strip(),
                facts=_facts(shown),
                flags=list(_flags(shown)),
                methods=list(_methods(shown)),
                citations=_CITATIONS,
                parameters=task.parameters["settings"],
                provenance=versions(),
                simulated=shown.settings.simulated,
            )


def _interface(shown: Shown) -> report.Section:
    return report.section_interface(
        shown.series,
        shown.interfaces,
        shown.concentrations,
        shown.stages,
        simulated=shown.settings.simulated,
        figure=shown.book.figure,
    )


def _growth(shown: Shown) -> report.Section:
    growth = shown.table("growth.parquet")
    dense = {
        item.name: dendrites.dense_growth_rate(item.current_density)
        for item in shown.settings.experiments
        if item.current_density
    }
    return report.section_growth(
        shown.features,
        growth[growth["component"].isin(dendrites.STAGES)],
        stages=shown.stages,
        faraday=dense,
        surface=shown.surface,
        simulated=shown.settings.simulated,
        figure=shown.book.figure,
    )


def _forecast(shown: Shown) -> report.Section:
    predictions = pd.concat([shown.table("small-predictions.parquet"), shown.table("predictions.parquet")])
    scores = pd.concat([shown.table("small-scores.parquet"), shown.table("scores.parquet")])
    name = shown.longest
    ahead = shown.table("forecast.parquet")
    ahead = ahead[ahead["experiment"] == name]
    times = shown.series[name]["t"].values
    layers = shown.settings.forecast.hidden
    return report.section_forecast(
        predictions,
        scores,
        shown.features,
        models={SMALL: "network 1: [8], salt now", NETWORK: f"network 2: {layers}, all"},
        honest=shown.honest,
        series=shown.series[name],
        interface=shown.interfaces[name],
        ahead=ahead if len(ahead) else None,
        interval_min=float(times[-1] - times[-2]) / 60,
        level=shown.settings.forecast.level,
        simulated=shown.settings.simulated,
        figure=shown.book.figure,
    )


def _trust(shown: Shown) -> report.Section:
    both = {"random", "frame"} <= set(shown.splits)
    return report.section_trust(
        shown.table("scores.parquet"),
        message=" ".join(_verdict(shown)),
        intervals=shown.table("score-intervals.parquet"),
        ceiling=shown.ceilings,
        leak=shown.table("leak.parquet") if both else None,
        advantage=shown.table("advantage.parquet"),
        level=shown.settings.forecast.level,
        simulated=shown.settings.simulated,
        figure=shown.book.figure,
    )


def _verdict(shown: Shown) -> Iterator[str]:
    """What can be said in plain words: overall, within images, and against the simple models."""
    chosen = shown.settings.forecast.model
    for model in dict.fromkeys((NETWORK, chosen)):
        reached = "; ".join(
            f"{_WORDS[split]} held out {_r(shown.reached(split, 'r', model))}, "
            f"within images {_r(shown.reached(split, 'r_within', model))}"
            for split in shown.splits
        )
        yield f"R of the {model}: {reached}. {_won(shown, model)}"


def _r(value: float) -> str:
    """A correlation in words: a forecast that is constant has none."""
    return "none" if np.isnan(value) else f"{value:.2f}"


def _won(shown: Shown, model: str) -> str:
    table = shown.table("advantage.parquet")
    rows = table[(table["model"] == model) & (table["split"] == shown.honest) & (table["score"] == "r_within")]
    beaten = [str(row["over"]) for row in rows.to_dict("records") if row["verdict"] == "better"]
    rest = [str(row["over"]) for row in rows.to_dict("records") if row["verdict"] != "better"]
    where = f"On {_WORDS[shown.honest]} and within them"
    if not rows.size:
        return ""
    if not beaten:
        return f"{where} no win over {' or '.join(rest)} is shown."
    return f"{where} it is better than {' and '.join(beaten)}" + (
        f"; over {' and '.join(rest)} no win is shown." if rest else "."
    )


def _study(shown: Shown) -> report.Section | None:
    if not shown.settings.study.run:
        return None
    return report.section_study(
        shown.table("ablation.parquet"), simulated=shown.settings.simulated, figure=shown.book.figure
    )


def _sensitivity(shown: Shown) -> report.Section | None:
    if not shown.settings.sensitivity.run:
        return None
    overall = shown.table("global.parquet")
    share = overall["outside_share"].max()
    lost = shown.table("importance.parquet")
    within = float(lost["r2_within"].iloc[0])
    if within > _EXPLAINS:
        message = (
            f"On images that they had not seen, the networks explain {100 * within:.0f} % of the variance within "
            "images: what they depend on says something of the electrode."
        )
    else:
        message = (
            "On images that they had not seen, the networks explain next to nothing of what differs within an image: "
            "what they depend on says little of what drives the growth."
        )
    return report.section_sensitivity(
        shown.table("sensitivity.parquet"),
        shown.table("sensitivity-runs.parquet"),
        global_=overall,
        permutation=lost,
        truth=shown.true_sensitivities,
        outside_share=None if np.isnan(share) else float(share),
        message=message,
        simulated=shown.settings.simulated,
        figure=shown.book.figure,
    )


def _training(shown: Shown) -> report.Section:
    network = shown.json("network.json")
    return report.section_training(
        shown.table("trace.parquet"),
        restarts=shown.table("optima.parquet"),
        parameters=sum(np.size(matrix) for matrix in network["weights"]),
        stopped_by=network["stopped_by"],
        simulated=shown.settings.simulated,
        figure=shown.book.figure,
    )


def _facts(shown: Shown) -> dict[str, str]:
    first, chosen = next(iter(shown.series.values())), shown.settings.forecast.model
    step = spacing(first)
    images = sum(one.sizes["t"] for one in shown.series.values())
    facts = {
        "Images": f"{images} in {len(shown.series)} experiment{'s' if len(shown.series) > 1 else ''}",
        "Pixel": " x ".join(f"{step[dim]:.4g}" for dim in ("y", "x")) + " um",
        "Samples": str(len(shown.features)),
        "Forecast by": chosen,
    }
    for split in shown.splits:
        facts[f"R, {_WORDS[split]} held out"] = _r(shown.reached(split, "r", chosen))
    facts[f"R within images, {_WORDS[shown.honest]} held out"] = _r(shown.reached(shown.honest, "r_within", chosen))
    return facts


def _flags(shown: Shown) -> Iterator[str]:
    if "random" in shown.splits:
        yield (
            "R of a random split is not what a forecast is worth: neighboring points and neighboring images share what "
            "they were made of. Read the split by whole images or experiments."
        )
    if shown.settings.interface.rule == "half level" and shown.settings.salt.calibration is None:
        yield (
            "No calibration says that these gray values show salt: concentration, gradient and stage of depletion tell "
            "how bright the electrolyte is."
        )
    for name, height in shown.table("over-time.parquet").groupby("experiment", sort=False)["height"]:
        known = height.dropna()
        if len(known) and known.iloc[-1] < known.iloc[0]:
            side = shown.interfaces[str(name)].attrs["metal"]
            other = "low" if side == "high" else "high"
            yield (
                f"{name}: the interface recedes toward the {side} end of the axis, where the metal was taken to be. "
                f"If lithium was plated, the metal lies at the other: set interface.metal to {other}."
            )
    seen = [np.isfinite(one["position"].values) for one in shown.interfaces.values()]
    if lost := sum(int((~some.any(axis=1)).sum()) for some in seen):
        yield f"Images without interface, which were left out: {lost}."
    lines = zip(shown.interfaces.values(), seen, strict=True)
    broken = float(np.concatenate([one["broken"].values[some] for one, some in lines]).mean())
    if broken > 0.05:
        yield f"In {100 * broken:.0f} % of the columns the line is broken and was bridged."
    overhang = float(np.mean([one["overhang"].mean() for one in shown.interfaces.values()]))
    if overhang > 0.01:
        yield f"In {100 * overhang:.0f} % of the columns the metal overhangs: only its outermost surface is followed."
    stages = set(shown.features["stage"])
    if missing := [_STAGES[stage] for stage in dendrites.STAGES if stage not in stages]:
        yield (
            f"The samples, which leave out the first and the last image of a series, hold none with "
            f"{' or '.join(missing)}: no forecast knows it."
        )
    if any((one < 0).any() for one in shown.stages.values()):
        yield "The salt of some images could not be compared with that of the first: their stage is unknown."
    if len(shown.series) == 1:
        yield "One experiment: whether its network holds for another cannot be said."
    dropped = len(shown.table("features.parquet")) - len(shown.features)
    if dropped:
        yield f"{dropped} samples lack a feature and were left out."


def _methods(shown: Shown) -> Iterator[str]:
    settings = shown.settings
    if settings.interface.rule == "saturated line":
        yield (
            f"Interface: center of the line of gray values of at least {settings.interface.threshold:g}, to a fraction "
            "of a pixel; gaps are bridged and flagged, and of a folded line the outermost part is taken."
        )
    else:
        yield "Interface: where the gray value crosses the level midway between metal and electrolyte."
    units = str(next(iter(shown.concentrations.values())).attrs.get("units", "1"))
    told = "gray values by the stated calibration" if units != "1" else "relative gray values"
    kernel = " x ".join(map(str, settings.salt.smoothing))
    yield f"Salt: {told}, the metal filled from the electrolyte beside it, smoothed by {kernel} pixels."
    yield (
        "Features: those of Table I of Ma et al. 2021 at two times; what the table calls curvature is the slope dy/dx. "
        "The growth rate at the first image is taken as zero: no growth before the current."
    )
    yield (
        f"Network: Bayesian regularization of a network {settings.forecast.hidden} of tanh neurons, at most "
        f"{settings.forecast.epochs} epochs. The growth after the last image is forecast by the "
        f"{settings.forecast.model}; its intervals are conformal, from whole images left out."
    )
    told = ", ".join(f"{_WORDS[split]}{' (as the paper)' if split == 'random' else ''}" for split in shown.splits)
    yield f"Splits: {told}. R within images is that of the deviations from the mean of each image."
    if settings.sensitivity.run:
        yield (
            "Sensitivity: absolute central difference over 0.002 on inputs scaled to [-1, 1] (Eq. 3). Sobol and Morris "
            "sample a box that holds states no electrode was in; permutation is conditional on the other features, "
            "within images, on images that the network has not seen."
        )
    if settings.simulated:
        yield "The images are simulated: their truth is exact, and everything shown is marked as simulated."
