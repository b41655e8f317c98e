"""The report of recipe ``sparse-labels``: finished results laid out on one page; nothing is measured here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando import report
from operando.core.phases import UNLABELED
from operando.core.provenance import versions
from operando.core.quantities import interval
from operando.pipeline.sparse_labels.inputs import open_gray
from operando.pipeline.sparse_labels.settings import SparseLabels
from operando.pipeline.step import Task
from operando.pipeline.storage import FigureFolder, read_image, read_json, read_table

_CITATIONS = (
    "Geurts, P., Ernst, D. & Wehenkel, L. Extremely randomized trees. Machine Learning 63, 3-42 (2006). "
    "https://doi.org/10.1007/s10994-006-6226-1",
    "Berg, S. et al. ilastik: interactive machine learning for (bio)image analysis. Nature Methods 16, 1226-1232 "
    "(2019). https://doi.org/10.1038/s41592-019-0582-9",
    "Otsu, N. A threshold selection method from gray-level histograms. IEEE Trans. Syst. Man Cybern. 9, 62-66 (1979). "
    "https://doi.org/10.1109/TSMC.1979.4310076",
)


def make_report(task: Task) -> None:
    """Lay out figures, tables and methods."""
    settings = SparseLabels(**task.parameters["settings"])
    training, ledger = read_json(task.path("training.json")), read_table(task.path("ledger.parquet"))
    scores = read_json(task.path("agreement.json")) if settings.reference is not None else None
    with task.writing("figures") as folder:
        book = FigureFolder(folder)
        sections = [_found(book, task, settings, scores), _fractions(ledger, scores)]
        task.progress(1, 2)
        sections.append(_trust(book, settings, training, scores))
        with task.writing("report.html") as path:
            report.write_page(
                path,
                settings.title,
                sections,
                subtitle=f"Recipe sparse-labels. {settings.credit}".strip(),
                facts=_facts(task, training, scores),
                flags=_flags(settings, training, scores),
                methods=_methods(settings),
                citations=_CITATIONS,
                parameters=task.parameters["settings"],
                provenance=versions(),
            )


def _found(book: FigureFolder, task: Task, settings: SparseLabels, scores: dict[str, Any] | None) -> report.Section:
    gray, strokes = open_gray(settings.image), read_image(task, "strokes.zarr")
    method = settings.segment.method
    shown: dict[str, xr.DataArray] = {method: read_image(task, "labels.zarr")}
    if settings.reference is not None:
        shown[settings.reference.name] = read_image(task, "reference.zarr")
    shown["multi-Otsu"] = read_image(task, "otsu.zarr")
    place = _busiest(strokes)
    planes = {name: array.isel(place).compute() for name, array in shown.items()}
    titles = {}
    if scores is not None:
        titles = {n: f"{n}: macro IoU {s['macro']:.3f}" for n, s in scores["unlabeled"].items() if n in planes}
    figure = report.label_panels(
        gray.isel(place).compute(), strokes.isel(place).compute(), planes, settings.labels.scheme, titles=titles
    )
    where = f" Slice {place['z']} along z, the one with the most labeled voxels." if place else ""
    caption = f"The image with what was labeled, and what was found.{where}"
    if scores is not None:
        caption += " IoU is over voxels that nobody labeled."
    return report.Section("The phases", "", [book.figure("labels", figure, caption)])


def _busiest(strokes: xr.DataArray) -> dict[str, int]:
    if "z" not in strokes.dims:
        return {}
    labeled = (strokes != UNLABELED).sum(["y", "x"])
    return {"z": int(np.argmax(labeled.values))}


def _fractions(ledger: pd.DataFrame, scores: dict[str, Any] | None) -> report.Section:
    table = interval(ledger)[["component", "quantity", "value", "low", "high", "unit", "n"]]
    caption = "Low and high bound the 95 % interval; n counts voxels."
    if scores is not None:
        true = next(iter(scores["all"].values()))["fraction"]
        values = table["component"].map(true).where(table["quantity"] == "fraction")
        table = table.assign(**{scores["name"]: values})
        caption += f" The last column is the fraction in the {scores['name']}."
    return report.Section("Fractions", "", [report.TableItem(table, caption, name="ledger")])


def _trust(
    book: FigureFolder, settings: SparseLabels, training: dict[str, Any], scores: dict[str, Any] | None
) -> report.Section:
    items: list[Any] = []
    metrics, method = training["metrics"], settings.segment.method
    if metrics.get("iou"):
        card = training["card"]["data"]
        rows = [
            {
                "phase": name,
                "strokes": card.get("strokes", {}).get(name),
                "labeled voxels": card["annotated_voxels"].get(name),
                "IoU": value,
            }
            for name, value in metrics["iou"].items()
        ]
        caption = (
            f"Agreement on held-out {training['split']}: nothing of what is judged was learned from. Strokes keep away "
            "from borders, so this flatters."
        )
        items.append(report.TableItem(pd.DataFrame(rows).dropna(axis=1, how="all"), caption, name="held-out"))
    if scores is not None:
        model, otsu = scores["unlabeled"][method], scores["unlabeled"]["multi-Otsu"]
        charted = [{**s["iou"], "macro": s["macro"]} for s in (model, otsu)]
        chart = report.agreement_chart(
            *({name: np.nan if value is None else value for name, value in part.items()} for part in charted),
            phases=settings.labels.scheme,
            names=(method, "Otsu"),
        )
        items.append(book.figure("agreement", chart, f"Agreement with the {scores['name']}, beside thresholds alone."))
        rows = [
            {"method": name, "voxels": what, **part["iou"], "macro": part["macro"], "accuracy": part["accuracy"]}
            for what in ("unlabeled", "all")
            for name, part in scores[what].items()
        ]
        items.append(
            report.TableItem(
                pd.DataFrame(rows), f"IoU with the {scores['name']}: on voxels nobody labeled, and on all.", name="iou"
            )
        )
        bins, error = scores["reliability"]["bins"], scores["reliability"]["error"]
        items.append(
            book.figure(
                "reliability",
                report.reliability_diagram(pd.DataFrame(bins), error=error),
                f"Probabilities against the {scores['name']}, on voxels nobody labeled, before borders were moved.",
            )
        )
    elif training["reliability"]:
        items.append(
            book.figure(
                "reliability",
                report.reliability_diagram(pd.DataFrame(training["reliability"]), error=metrics["calibration_error"]),
                "Probabilities against held-out strokes, which keep away from borders.",
            )
        )
    if training["history"]:
        items.append(book.figure("training", report.training_history(pd.DataFrame(training["history"])), "Training."))
    return report.Section("How far to trust it", "", items)


def _facts(task: Task, training: dict[str, Any], scores: dict[str, Any] | None) -> dict[str, str]:
    labels = read_image(task, "labels.zarr")
    share = 100 * training["labeled_voxels"] / training["voxels"]
    facts = {
        "Image": " x ".join(str(size) for size in labels.shape) + " voxels",
        "Labeled by hand": f"{training['labeled_voxels']} voxels, {share:.2g} %",
    }
    if training["metrics"].get("macro") is not None:
        facts[f"Macro IoU on held-out {training['split']}"] = f"{training['metrics']['macro']:.3f}"
    if scores is not None:
        for name, part in scores["unlabeled"].items():
            if name != "before borders":
                facts[f"{name} against the {scores['name']}"] = f"{part['macro']:.3f}"
    return facts


def _flags(settings: SparseLabels, training: dict[str, Any], scores: dict[str, Any] | None) -> list[str]:
    flags = []
    strokes = training["card"]["data"].get("strokes", {})
    single = [name for name, count in strokes.items() if count == 1]
    if single:
        flags.append(f"There is one stroke of {', '.join(single)}: nothing can be held out of it.")
    if scores is not None and not scores["trusted"]:
        flags.append(f"The {scores['name']} is the output of another program: agreement with it proves nothing.")
    if scores is not None and scores["trusted"] and scores["strokes"] < 0.98:
        flags.append(
            f"The {scores['name']} contradicts {100 * (1 - scores['strokes']):.1f} % of the labeled voxels: one of "
            "the two is not where the border is."
        )
    if settings.image.ignore_below is not None:
        flags.append(f"Voxels darker than {settings.image.ignore_below:g} were left out.")
    return flags


def _methods(settings: SparseLabels) -> list[str]:
    segment = settings.segment
    if segment.method == "forest":
        scales = ", ".join(f"{scale:g}" for scale in segment.scales)
        text = (
            "Segmentation: extremely randomized trees on smoothed gray values, gradients, and eigenvalues of the "
            f"Hessian and the structure tensor at scales of {scales} voxels. Trees draw whole strokes, so that every "
            "labeled voxel can be judged by those that saw nothing of its stroke."
        )
    else:
        text = "Segmentation: residual U-Net (MONAI) on slices (y, x); unlabeled voxels are ignored."
    methods = [text]
    if segment.snap_voxels:
        methods.append(
            f"Borders were moved by up to {segment.snap_voxels} voxels to where the gray value changes fastest "
            "(watershed on the gradient between what is farther inside)."
        )
    methods.append(
        "Sigma of a fraction: a common shift of its borders by 0.25 voxel, the difference to the mean probability, "
        "and the difference that moving the borders made, in quadrature."
    )
    return methods
