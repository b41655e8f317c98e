"""The report of recipe ``cell-ct``: finished results laid out on one page; nothing is measured here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
import xarray as xr

from operando import report
from operando.core.errors import MissingDependency
from operando.core.phases import PhaseScheme
from operando.core.provenance import versions
from operando.core.quantities import interval
from operando.pipeline.cell_ct.accounting import judged_rows
from operando.pipeline.cell_ct.settings import CellCT
from operando.pipeline.step import Task
from operando.pipeline.storage import FigureFolder, read_image, read_json, read_table

_CITATIONS = (
    "Huang, Y. et al. Detecting lithium plating dynamics in a solid-state battery with operando X-ray computed "
    "tomography using machine learning. npj Computational Materials 9 (2023). https://doi.org/10.1038/s41524-023-01039-y",
    "Otsu, N. A threshold selection method from gray-level histograms. IEEE Trans. Syst. Man Cybern. 9, 62-66 (1979). "
    "https://doi.org/10.1109/TSMC.1979.4310076",
    "Kerfoot, E. et al. Left-ventricle quantification using residual U-Net. STACOM 2018, LNCS 11395 (2019). "
    "https://doi.org/10.1007/978-3-030-12029-0_40",
)


def make_report(task: Task) -> None:
    """Lay out figures, tables, movie and methods."""
    settings = CellCT(**task.parameters["settings"])
    phases = PhaseScheme(settings.cell.phases)
    image = read_image(task, task.parameters["image"])
    labels = read_image(task, "labels.zarr")
    maps = read_image(task, "maps.zarr")
    ledger = read_table(task.path("ledger.parquet"))
    current = read_table(task.path("current.parquet"))
    beam = None if current.empty else current
    comparison = read_table(task.path("comparison.parquet")) if "comparison.parquet" in task.step.inputs else None
    truth = None
    if comparison is not None:
        truth = (
            comparison.drop(columns=["value", "covered"]).rename(columns={"truth": "value"}).assign(sigma=float("nan"))
        )
    scores = _json(task, "agreement.json")
    simulated = settings.inputs.simulated
    parts = 7
    with task.writing("figures") as folder:
        book = FigureFolder(folder)
        sections = [_cell(book, settings, image, labels, phases, maps, beam)]
        task.progress(2, parts)
        sections.append(_ledger(book, ledger, beam, truth, comparison, phases, simulated))
        task.progress(3, parts)
        sections.append(_where(book, ledger, maps, truth, phases, simulated))
        task.progress(4, parts)
        if settings.report.render:
            sections.append(_render(book, labels, phases, task))
        task.progress(5, parts)
        sections.append(_trust(book, task, scores, phases, simulated))
        sections.append(_table(ledger))
        task.progress(6, parts)
        with task.writing("report.html") as path:
            report.write_page(
                path,
                settings.title,
                sections,
                subtitle="Recipe cell-ct: from CT images to the lithium ledger",
                facts=_facts(image, labels, current, scores),
                flags=list(_flags(ledger, scores, settings)),
                methods=list(_methods(settings, scores)),
                citations=_CITATIONS,
                parameters=task.parameters["settings"],
                provenance=versions(),
                simulated=simulated,
            )


def _json(task: Task, name: str) -> dict[str, Any]:
    return read_json(task.path(name)) if name in task.step.inputs else {}


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
    if scores:
        facts["Macro IoU"] = f"{_own(scores)['macro']:.3f}"
    return facts


def _cell(
    book: FigureFolder,
    settings: CellCT,
    image: xr.DataArray,
    labels: xr.DataArray,
    phases: PhaseScheme,
    maps: xr.DataArray,
    beam: pd.DataFrame | None,
) -> report.Section:
    position = _position(image, settings.report.slice_y)
    items: list[Any] = [
        book.figure(
            "cross-sections",
            report.cross_sections(image, labels, phases, position=position),
            "Cross-sections normal to the electrodes at the same place in several scans: gray values above, the "
            "segmentation over them below.",
        )
    ]
    if settings.report.movie and image.sizes["t"] > 1:
        component = next((name for name in ("deposited", "dendrite") if name in phases), phases.names[-1])
        frames = report.movie_frames(
            image, labels, phases, maps=maps, component=component, current=beam, position=position
        )
        report.movie(frames, book.folder / "movie.gif")
        items.append(
            report.MovieItem(
                frames,
                f"Scan by scan: the segmented cross-section, the thickness of {component} lithium seen along z, and "
                "the current. Also saved as figures/movie.gif.",
            )
        )
    return report.Section("The cell", "What was recorded, and what the segmentation makes of it.", items)


def _position(image: xr.DataArray, fraction: float) -> float:
    y = image.coords["y"].values
    return float(y[min(int(fraction * len(y)), len(y) - 1)])


def _ledger(
    book: FigureFolder,
    ledger: pd.DataFrame,
    beam: pd.DataFrame | None,
    truth: pd.DataFrame | None,
    comparison: pd.DataFrame | None,
    phases: PhaseScheme,
    simulated: bool,
) -> report.Section:
    beside = " Open markers: the truth of the simulation." if truth is not None else ""
    items: list[Any] = [
        book.figure(
            "volumes",
            report.component_volumes(
                ledger,
                current=beam,
                truth=truth,
                components=[name for name in phases if phases.role(name) != "electrolyte"],
                phases=phases,
                simulated=simulated,
            ),
            f"Volume of each component over time with 95 % intervals, beside the current.{beside}",
        ),
        book.figure(
            "thickness",
            report.thickness(ledger, truth=truth, phases=phases, simulated=simulated),
            "Effective thickness (volume over the area of the field of view) of the components and of all lithium on "
            f"either side of the cell.{beside}",
        ),
    ]
    if (ledger["quantity"] == "balance").any():
        items.append(
            book.figure(
                "balance",
                report.balance(ledger, current=beam, truth=truth, simulated=simulated),
                "The balance of each interval between two scans: lithium plated, stripped and gone inactive in the "
                "images beside the volume that the coulombs stand for (Faraday), and what is unaccounted for. Marked "
                f"intervals disagree beyond their interval.{beside}",
            )
        )
    if comparison is not None:
        judged = judged_rows(comparison)
        by = judged.groupby("quantity")["covered"].agg(rows="count", inside="sum").reset_index()
        by["percent"] = 100 * by["inside"].astype(float) / by["rows"]
        items.append(
            report.TableItem(by, "How many true values lie inside the intervals of the ledger.", name="coverage")
        )
    return report.Section(
        "The lithium ledger",
        "Every cubic micrometer of lithium per scan and component, with an interval, beside the coulombs. Nothing is "
        "adjusted to agree.",
        items,
    )


def _where(
    book: FigureFolder,
    ledger: pd.DataFrame,
    maps: xr.DataArray,
    truth: pd.DataFrame | None,
    phases: PhaseScheme,
    simulated: bool,
) -> report.Section:
    shown = [name for name in phases if name not in ("electrolyte", "electrode")]
    items: list[Any] = [
        book.figure(
            "coverage",
            report.coverage(ledger, truth=truth, components=shown, phases=phases, simulated=simulated),
            "Share of the electrode's area over which each component is found.",
        )
    ]
    items += [
        book.figure(
            f"map-{name.replace(' ', '-')}",
            report.component_maps(maps, name, phases=phases),
            f"Thickness of {name} along z, seen in the plane of the electrodes; one color scale for all scans.",
        )
        for name in shown
        if float(maps.sel(component=name).max()) > 0
    ]
    return report.Section("Where it is", "Maps in the plane of the electrodes.", items)


def _render(book: FigureFolder, labels: xr.DataArray, phases: PhaseScheme, task: Task) -> report.Section:
    try:
        figure = report.render_series(labels, phases)
    except MissingDependency as error:
        task.say(str(error))
        return report.Section("In three dimensions", "", [report.TextItem(f"No render was made. {error}")])
    caption = (
        "Surfaces of the components, smoothed and for looking only; the electrodes are translucent, the electrolyte is "
        "left out."
    )
    return report.Section("In three dimensions", "", [book.figure("render", figure, caption)])


def _trust(
    book: FigureFolder, task: Task, scores: dict[str, Any], phases: PhaseScheme, simulated: bool
) -> report.Section:
    items: list[Any] = []
    if scores:
        items.append(
            book.figure(
                "agreement",
                report.agreement_chart(
                    _flat(_own(scores)),
                    _flat(scores["otsu"]) if "network" in scores and "otsu" in scores else None,
                    names=("network" if "network" in scores else "Otsu", "Otsu"),
                    phases=phases,
                    simulated=simulated,
                ),
                f"Intersection over union against {scores['against']} on scans {_listed(scores['scans'])}, which "
                "had not been trained on, beside multi-Otsu. Macro is the mean over phases; total is the micro figure "
                "of Huang 2023.",
            )
        )
    training = _json(task, "training.json")
    if training.get("history"):
        items.append(
            book.figure(
                "training",
                report.training_history(pd.DataFrame(training["history"])),
                f"Training on scans {_listed(training['annotated_scans'])}. Scans "
                f"{_listed(training['held_out_scans'])} were held out at first, to measure errors on, and trained on "
                "in the final stage.",
            )
        )
    found = _json(task, "interface.json")
    if found:
        items.append(
            report.TableItem(
                xr.Dataset.from_dict(found).to_dataframe().reset_index(),
                "How far the interfaces of each component were found to be off (shift, positive where too much is "
                "labeled) and the sigmas in um that the intervals rest on: common to all scans and random; flips is "
                "that of marginal columns.",
                name="interfaces",
            )
        )
    else:
        items.append(
            report.TextItem(
                "No annotation was held out: the intervals rest on the default of 0.25 voxel for the position of an "
                "interface."
            )
        )
    cleaned = pd.read_csv(task.path("cleaned.csv"))
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


def _own(scores: dict[str, Any]) -> dict[str, Any]:
    """The scores of the segmentation that was used."""
    own: dict[str, Any] = scores["network"] if "network" in scores else scores["otsu"]
    return own


def _flat(scores: dict[str, Any]) -> dict[str, float]:
    return {
        **{name: _nan(value) for name, value in scores["iou"].items()},
        "macro": scores["macro"],
        "total": scores["total"],
    }


def _nan(value: float | None) -> float:
    return float("nan") if value is None else value


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers)) or "none"


def _table(ledger: pd.DataFrame) -> report.Section:
    table = interval(ledger)
    caption = "The whole ledger; low and high bound the 95 % interval."
    return report.Section("The table", "", [report.TableItem(table, caption, name="ledger", collapsed=True)])


def _flags(ledger: pd.DataFrame, scores: dict[str, Any], settings: CellCT) -> Iterator[str]:
    scored = ledger[(ledger["quantity"] == "z-score") & ledger["method"].str.contains("disagrees")]
    for component, rows in scored.groupby("component"):
        yield (
            f"{component}: images and coulombs disagree beyond the interval in {len(rows)} of "
            f"{int(ledger['scan'].max())} intervals between scans (those that end with scan "
            f"{_listed(sorted(rows['scan'].tolist()))})."
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


def _methods(settings: CellCT, scores: dict[str, Any]) -> Iterator[str]:
    cell = settings.cell
    if settings.registration.method == "translation":
        yield (
            "Scans were registered by normalized cross-correlation of several sub-volumes, to a fraction of a voxel; "
            "the translations are kept in motion.json and applied once, and only the field that all scans show is "
            "measured."
        )
    if settings.segment.method == "network":
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
        "Intervals: each volume may be wrong by its interface area times the shift of its interfaces, measured on "
        "held-out annotations where there are any: a common part, which cancels between scans, and a random part, "
        "which does not."
    )
    yield (
        f"Faraday's law with {cell.specific_capacity_mah_g:g} mAh/g and {cell.density_g_cm3:g} g/cm3 turns charge "
        "into the volume of dense lithium. Imaged lithium that exceeds it is reported as apparent porosity, never "
        "scaled away."
    )
    if scores.get("against") == "truth":
        yield "The cell is simulated: its truth is exact, and everything shown is marked as simulated."
