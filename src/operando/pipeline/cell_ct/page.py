"""The report of recipe ``cell-ct``: finished results laid out on one page; nothing is measured here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando import report
from operando.core.provenance import versions
from operando.pipeline.cell_ct import sections, trust, where
from operando.pipeline.cell_ct.settings import CellCT
from operando.pipeline.cell_ct.shown import Shown, gather
from operando.pipeline.layout import laid_out, ledger_section
from operando.pipeline.step import Task
from operando.pipeline.storage import FigureFolder

_CITATIONS = (
    "Huang, Y. et al. Detecting lithium plating dynamics in a solid-state battery with operando X-ray computed "
    "tomography using machine learning. npj Computational Materials 9 (2023). https://doi.org/10.1038/s41524-023-01039-y",
    "Otsu, N. A threshold selection method from gray-level histograms. IEEE Trans. Syst. Man Cybern. 9, 62-66 (1979). "
    "https://doi.org/10.1109/TSMC.1979.4310076",
    "Kerfoot, E. et al. Left-ventricle quantification using residual U-Net. STACOM 2018, LNCS 11395 (2019). "
    "https://doi.org/10.1007/978-3-030-12029-0_40",
)


_UNSURE_VOXELS = 0.33


def make_report(task: Task) -> None:
    """Lay out figures, tables, movie and methods."""
    with task.writing("figures") as folder:
        shown = gather(task, FigureFolder(folder))
        settings = shown.settings
        renders: report.Section | None = None
        pictures: dict[int, np.ndarray] = {}
        if settings.report.render:
            renders, pictures = sections.in_three_dimensions(shown)
        builders: list[Callable[[], report.Section | None]] = [
            lambda: sections.the_cell(shown, pictures),
            lambda: sections.the_ledger(shown),
            lambda: where.where_it_is(shown),
            lambda: renders,
            lambda: sections.how_it_moved(shown),
            lambda: trust.how_far_to_trust_it(shown),
            lambda: sections.how_it_was_done(shown),
            lambda: ledger_section(shown.ledger),
        ]
        laid = laid_out(task, builders)
        with task.writing("report.html") as path:
            report.write_page(
                path,
                settings.title,
                laid,
                subtitle="Recipe cell-ct: from CT images to the lithium ledger",
                facts=_facts(shown.image, shown.labels, shown.current, shown.scores),
                flags=[*_flags(shown.ledger, shown.scores, settings), *_unsure_motion(shown)],
                methods=list(_methods(settings, shown.scores)),
                citations=_CITATIONS,
                parameters=task.parameters["settings"],
                provenance=versions(),
                simulated=shown.simulated,
            )


def _facts(image: xr.DataArray, labels: xr.DataArray, current: pd.DataFrame, scores: dict[str, Any]) -> dict[str, str]:
    voxel = " x ".join(f"{float(image[dim].attrs['spacing']):.4g}" for dim in ("z", "y", "x"))
    facts = {
        "Scans": f"{image.sizes['t']}",
        "Volume": " x ".join(str(image.sizes[dim]) for dim in ("z", "y", "x")) + " voxels",
        "Voxel": f"{voxel} um",
        "Plates first": f"{labels.attrs.get('plating_side', 'low')}-z side",
    }
    if not current.empty:
        hours = current["time_h"].iloc[-1] - current["time_h"].iloc[0]
        facts["Record"] = f"{hours:.2f} h of current"
    if scores and trust.own(scores)["macro"] is not None:
        facts["Macro IoU"] = f"{trust.own(scores)['macro']:.3f}"
    return facts


def _flags(ledger: pd.DataFrame, scores: dict[str, Any], settings: CellCT) -> Iterator[str]:
    scored = ledger[(ledger["quantity"] == "z-score") & ledger["method"].str.contains("disagrees")]
    for component, rows in scored.groupby("component"):
        yield (
            f"{component}: images and coulombs disagree beyond the interval in {len(rows)} of "
            f"{int(ledger['scan'].max())} intervals between scans (those that end with scan "
            f"{trust.listed(sorted(rows['scan'].tolist()))})."
        )
    if not (ledger["quantity"] == "balance").any():
        yield "No cycler file was given: there is no balance against the coulombs."
    elif settings.cell.active_area_cm2 is None and not settings.inputs.simulated:
        yield (
            "cell.active_area_cm2 is not given: all of the recorded current is set against the field of view. Where "
            "the cell is larger, Faraday's volume is too large by that factor."
        )
    if not scores:
        yield "Nothing was held out: the agreement of this segmentation with the truth is not known."
    if settings.segment.method == "otsu":
        yield "Segmented by thresholds alone: neighboring phases of a lithium cell overlap in gray value."


def _unsure_motion(shown: Shown) -> Iterator[str]:
    """Scans whose registration is known to less than a third of a voxel at the edge of the field."""
    table = shown.table("motion.parquet")
    if table is None:
        return
    steps = [float(shown.image[dim].attrs["spacing"]) for dim in ("z", "y", "x")]
    reach = float(np.linalg.norm([shown.image.sizes[d] * s for d, s in zip(("z", "y", "x"), steps, strict=True)])) / 2
    worst = table.pivot_table(index="scan", columns="quantity", values="sigma", aggfunc="max")
    at_edge = np.hypot(worst["translation"], np.deg2rad(worst["rotation"] / 1e3) * reach) / min(steps)
    unsure = at_edge[at_edge > _UNSURE_VOXELS]
    if len(unsure):
        yield (
            f"Registration of scans {trust.listed(unsure.index.tolist())} is known to {unsure.max():.2g} voxels "
            "only at the edge of the field (one sigma): too little in them stands still."
        )


def _methods(settings: CellCT, scores: dict[str, Any]) -> Iterator[str]:
    cell = settings.cell
    if settings.inputs.projections is not None:
        how = settings.tomography
        phase = "" if how.delta_beta is None else f" after phase retrieval (delta / beta {how.delta_beta:g})"
        rings = "" if how.rings == "none" else f" and removal of rings ({how.rings})"
        yield (
            f"Scans were reconstructed by {how.method}{phase}{rings}; the rotation axis of every file is in "
            "tomography.json."
        )
    if settings.registration.method != "none":
        motion = "rigidly: three shifts, three rotations" if settings.registration.method == "rigid" else "three shifts"
        leveled = "Electrodes were leveled as found in the reference scan. " if settings.registration.level else ""
        yield (
            f"{leveled}Scans were registered ({motion}) by normalized cross-correlation "
            "of sub-volumes that show static structure; what changed between the scans has no weight. Transforms are "
            "kept in motion.json and applied once, and only the field that all scans show is measured."
        )
    if settings.segment.method == "iterative":
        yield (
            "Labeling loop of Huang 2023: partial models on in-plane slices were merged into pseudo labels, on which a "
            "cross-sectional network was trained and then refined on hand labels alone."
        )
    if settings.segment.method != "otsu":
        yield (
            "Segmentation: residual U-Net (MONAI) on cross-sections with their neighbors, trained on sparse "
            "annotations (unlabeled voxels are ignored); patches overlap by 25 %, logits are averaged before softmax."
        )
    else:
        yield "Segmentation: multi-Otsu thresholds."
    if settings.clean.enabled:
        yield (
            "Cleaning: electrode surfaces are detected in every scan; phases on the wrong side of the cell and "
            f"isolated specks of up to {settings.clean.speck_voxels} voxels are relabeled, and every change is counted."
        )
    yield (
        "Volumes are voxel counts; effective thickness is volume over the area of the field of view; coverage is the "
        "share of (y, x) columns that hold a component; inactive lithium has no face-connected path through lithium "
        "to an electrode."
    )
    yield (
        "Intervals: calibrated voxel probabilities say how much volume is doubtful; held-out annotations say how many "
        "voxels err as one, and what part of the error is common to all scans and cancels between them. Without "
        "probabilities each volume may be wrong by its interface area times the shift of its interfaces."
    )
    yield (
        f"Faraday's law with {cell.specific_capacity_mah_g:g} mAh/g and {cell.density_g_cm3:g} g/cm3 turns charge "
        "into the volume of dense lithium. Imaged lithium that exceeds it is reported as apparent porosity, never "
        "scaled away."
    )
    if scores.get("against") == "truth":
        yield "The cell is simulated: its truth is exact, and everything shown is marked as simulated."
