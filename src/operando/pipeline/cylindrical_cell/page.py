"""The report of recipe ``cylindrical-cell``: finished results laid out on one page; nothing is measured here."""

from __future__ import annotations

from typing import Any

import pandas as pd
import xarray as xr

from operando import io, report
from operando.core.axes import spacing
from operando.core.provenance import versions
from operando.pipeline.cylindrical_cell.settings import PHASES, CylindricalCell
from operando.pipeline.layout import ledger_section
from operando.pipeline.step import Task
from operando.pipeline.storage import FigureFolder, read_dataset, read_image, read_json, read_table

_CITATIONS = (
    "Huang, Y. et al. Detecting lithium plating dynamics in a solid-state battery with operando X-ray computed "
    "tomography using machine learning. npj Computational Materials 9 (2023). https://doi.org/10.1038/s41524-023-01039-y",
    "Otsu, N. A threshold selection method from gray-level histograms. IEEE Trans. Syst. Man Cybern. 9, 62-66 (1979). "
    "https://doi.org/10.1109/TSMC.1979.4310076",
)


def make_report(task: Task) -> None:
    """Lay out figures, tables and methods."""
    settings = CylindricalCell(**task.parameters["settings"])
    labels = read_image(task, "labels.zarr")
    layers = read_dataset(task.path("layers.zarr"))
    ledger = read_table(task.path("ledger.parquet"))
    by_radius, by_slice = read_table(task.path("profile-radius.parquet")), read_table(task.path("profile-z.parquet"))
    volume = io.open_image(settings.volume.image, voxel_size_um=settings.volume.voxel_size_um)
    if settings.volume.slices is not None:
        volume = volume.isel(z=slice(*settings.volume.slices))
    scores = read_json(task.path("test.json")) if settings.test is not None else {}
    with task.writing("figures") as folder:
        book = FigureFolder(folder)
        sections = [_measured(book, volume, labels, layers, by_radius, by_slice)]
        task.progress(1, 3)
        sections.append(_learned(book, task, settings, scores))
        task.progress(2, 3)
        sections.append(ledger_section(ledger))
        with task.writing("report.html") as path:
            report.write_page(
                path,
                settings.title,
                sections,
                subtitle=f"Recipe cylindrical-cell. {settings.credit}".strip(),
                facts=_facts(labels, ledger, by_radius, scores),
                methods=_methods(settings, scores),
                citations=_CITATIONS,
                parameters=task.parameters["settings"],
                provenance=versions(),
            )


def _facts(
    labels: xr.DataArray, ledger: pd.DataFrame, by_radius: pd.DataFrame, scores: dict[str, Any]
) -> dict[str, str]:
    whole = ledger.iloc[0]
    facts = {
        "Volume": " x ".join(str(labels.sizes[dim]) for dim in ("z", "y", "x")) + " voxels",
        "Voxel": f"{spacing(labels)['x']:g} um",
        "Layer volume": f"{whole['value'] / 1e9:.2f} ± {1.96 * whole['sigma'] / 1e9:.2f} mm³",
        "Outermost radius": f"{by_radius['high'].max() / 1000:.2f} mm",
    }
    if scores:
        facts["IoU on the test image"] = f"{scores['network']['iou']['layer']:.3f}"
        facts["multi-Otsu"] = f"{scores['otsu']['iou']['layer']:.3f}"
    return facts


def _measured(
    book: FigureFolder,
    volume: xr.DataArray,
    labels: xr.DataArray,
    layers: xr.Dataset,
    by_radius: pd.DataFrame,
    by_slice: pd.DataFrame,
) -> report.Section:
    middle = labels.sizes["z"] // 2
    image, found, one = volume.isel(z=middle).compute(), labels.isel(z=middle).compute(), layers.isel(z=middle)
    items = [
        book.figure(
            "section",
            report.layer_section(image, found, PHASES, layers=one),
            "The middle slice with the layers over it, and a part of it enlarged with the edges that were measured.",
        ),
        book.figure(
            "unrolled",
            report.unrolled_layers(image, one, phases=PHASES),
            "The same slice unrolled to angle and radius: a perfect spiral is straight, what bends is deformed.",
        ),
        book.figure(
            "profile-radius",
            report.layer_profiles(by_radius),
            "Thickness of a layer, and spacing from the middle of one to the middle of the next, against the radius: "
            "medians, the spread (16th to 84th percentile) and one sigma.",
        ),
        book.figure("spacing-map", report.layer_map(layers), "Spacing of the layers over the cross-section."),
        book.figure(
            "spacing-unrolled",
            report.layer_map(layers, unrolled=True),
            "The same against angle and radius.",
        ),
    ]
    if len(by_slice) > 1:
        items.append(
            book.figure(
                "profile-z",
                report.layer_profiles(by_slice, along="z", quantities=("thickness", "spacing", "layers")),
                "Slice by slice along the axis of the roll.",
            )
        )
    return report.Section("The layers", "Thickness and spacing, measured perpendicular to the layers.", items)


def _learned(book: FigureFolder, task: Task, settings: CylindricalCell, scores: dict[str, Any]) -> report.Section:
    training = read_json(task.path("training.json"))
    share = 100 * training["labeled_voxels"] / training["voxels"]
    items: list[Any] = []
    if settings.test is not None:
        taught, strokes = io.open_image(settings.training.image), read_image(task, "strokes.zarr")
        judged, mask = io.open_image(settings.test.image), io.open_image(settings.test.mask)
        predictions = {
            "network": read_image(task, "test-network.zarr").compute(),
            "multi-Otsu": read_image(task, "test-otsu.zarr").compute(),
        }
        truth = (mask != 0).astype("uint8").compute()
        items.append(
            book.figure(
                "test",
                report.training_and_test(
                    taught.compute(),
                    strokes.compute(),
                    judged.compute(),
                    truth,
                    predictions,
                    PHASES,
                    scores={
                        "network": scores["network"]["iou"]["layer"],
                        "multi-Otsu": scores["otsu"]["iou"]["layer"],
                    },
                ),
                f"Left: the strokes, {training['labeled_voxels']} voxels or {share:.1f} % of one image, are all that "
                "was learned from. Right: another image, on which nothing was trained, judged by its whole mask.",
            )
        )
    items.append(book.figure("training", report.training_history(pd.DataFrame(training["history"])), "Training."))
    return report.Section("How it was learned, and how far to trust it", "", items)


def _methods(settings: CylindricalCell, scores: dict[str, Any]) -> list[str]:
    methods = [
        "Segmentation: residual U-Net (MONAI) on slices (y, x), trained on strokes; unlabeled voxels are ignored. Gray "
        "values are normalized by the median and spread of each image, so that images on other scales can be read.",
        "The center of the roll is found in every slice from the normals of the layers. Along rays from it, edges are "
        "where the probability crosses 0.5, to a fraction of a voxel; thickness and spacing are corrected for the "
        "angle between the ray and the local normal.",
    ]
    if scores:
        methods.append(
            f"Sigmas: the edges of the layers on the test image are off by {scores['edge_sigma_voxels']:.2f} voxel, "
            "all together; that, and the scatter between twelve sectors of the turn, makes the sigma of a median."
        )
    else:
        methods.append(
            "Sigmas: no test image was given; edges are taken to be off by a quarter of a voxel, all together."
        )
    return methods
