"""The section about trust: agreement, calibration, held-out errors and every voxel changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
import xarray as xr

from operando import report
from operando.pipeline.cell_ct.shown import Shown
from operando.pipeline.scans.images import labels_on_grid

_FEWEST = 20  # voxels in a bin of a reliability diagram: fewer say nothing


def how_far_to_trust_it(shown: Shown) -> report.Section:
    """Agreement, calibration, held-out errors and every voxel changed."""
    book, scores, phases = shown.book, shown.scores, shown.phases
    items: list[Any] = []
    if scores:
        items.append(
            book.figure(
                "agreement",
                report.agreement_chart(
                    flat(own(scores)),
                    flat(scores["otsu"]) if "network" in scores and "otsu" in scores else None,
                    names=("network" if "network" in scores else "Otsu", "Otsu"),
                    phases=phases,
                    simulated=shown.simulated,
                ),
                f"Intersection over union against {scores['against']} on scans {listed(scores['scans'])}, which "
                "had not been trained on, beside multi-Otsu. Macro is the mean over phases; total is the micro figure "
                "of Huang 2023.",
            )
        )
    items += list(_annotated(shown))
    training = shown.json("training.json")
    if training.get("history"):
        items.append(
            book.figure(
                "training",
                report.training_history(pd.DataFrame(training["history"])),
                f"Training on scans {listed(training['annotated_scans'])}. Scans "
                f"{listed(training['held_out_scans'])} were held out at first, to measure errors on, and trained on "
                "in the final stage.",
            )
        )
    items += list(_calibration(shown, training))
    items += list(_interfaces(shown))
    cleaned = pd.read_csv(shown.task.path("cleaned.csv"))
    if cleaned.empty:
        items.append(report.TextItem("Cleaning changed no voxel."))
    else:
        items.append(
            report.TableItem(
                cleaned,
                f"Voxels changed at the detected interfaces, by scan and rule: {int(cleaned['n'].sum())} in all.",
                name="cleaned",
                collapsed=True,
            )
        )
    return report.Section(
        "How far to trust it", "Agreement with what is known, what was held out, and every voxel changed.", items
    )


def _annotated(shown: Shown) -> Iterator[Any]:
    annotations = shown.settings.segment.annotations
    if annotations is None:
        return
    marks = labels_on_grid(
        shown.task,
        annotations,
        key="segment.annotations",
        frame=shown.settings.segment.annotations_frame,
    )
    yield shown.book.figure(
        "annotations",
        report.annotation_examples(shown.image, marks, shown.labels, shown.phases, simulated=shown.simulated),
        "Slices with what was annotated, and what the segmentation says of them (Huang 2023, Supplementary Figs. 4, 5 "
        "and 12).",
    )


def _calibration(shown: Shown, training: dict[str, Any]) -> Iterator[Any]:
    metrics = training.get("card", {}).get("metrics") or {}
    curves = metrics.get("reliability")
    if not curves:
        return
    yield shown.book.figure(
        "reliability",
        report.reliability_diagram(
            pd.DataFrame(curves["after"]["all"]).query("n >= @_FEWEST"),
            before=pd.DataFrame(curves["before"]["all"]).query("n >= @_FEWEST"),
            error=metrics.get("calibration_error"),
            error_before=metrics.get("calibration_error_before"),
        ),
        "How often voxels of the held-out scans are right against how sure the network was, before and after "
        "temperature scaling.",
    )


def _interfaces(shown: Shown) -> Iterator[Any]:
    errors = shown.json("errors.json")
    residuals, interface = errors.get("residuals"), errors.get("interface")
    if residuals:
        table = xr.Dataset.from_dict(residuals).to_dataframe().reset_index()
        yield report.TableItem(
            table,
            "What the intervals of volumes rest on, from annotations that nothing was trained on: the volume (um3) "
            "within which voxels err as one, and the errors common to all scans and from scan to scan as shares of the "
            "doubtful volume; pieces are independent pieces of evidence.",
            name="residuals",
        )
    if interface:
        yield report.TableItem(
            xr.Dataset.from_dict(interface).to_dataframe().reset_index(),
            "How far the interfaces of each component were found to be off (shift in um, positive where too much is "
            "labeled), with the sigmas common to all scans and random; flips is that of the share of marginal columns, "
            "on which the intervals of coverage rest.",
            name="interfaces",
        )
    if not residuals and not interface:
        yield report.TextItem(
            "No annotation was held out: the intervals rest on defaults (docs/quantities/uncertainty.md), not on a "
            "measurement."
        )


def own(scores: dict[str, Any]) -> dict[str, Any]:
    """The scores of the segmentation that was used."""
    found: dict[str, Any] = scores["network"] if "network" in scores else scores["otsu"]
    return found


def flat(scores: dict[str, Any]) -> dict[str, float]:
    """Scores by phase, macro and total in one mapping; absent phases are NaN."""
    nan = float("nan")
    return {
        **{name: nan if value is None else value for name, value in scores["iou"].items()},
        "macro": scores["macro"],
        "total": scores["total"],
    }


def listed(numbers: list[int]) -> str:
    """Scan numbers in a sentence."""
    return ", ".join(map(str, numbers)) or "none"
