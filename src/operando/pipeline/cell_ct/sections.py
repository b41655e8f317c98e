"""The sections of the page of recipe ``cell-ct``: finished results and what they are called; nothing is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando import electrochemistry, report
from operando.core.errors import MissingDependency
from operando.pipeline.cell_ct.accounting import judged_rows
from operando.pipeline.cell_ct.images import labels_on_grid
from operando.pipeline.cell_ct.shown import Shown

_FEWEST = 20  # voxels in a bin of a reliability diagram: fewer say nothing
_PAIRS = {"pit~deposited": "Pits and deposited lithium", "pit~dendrite": "Pits and dendrites"}


def the_cell(shown: Shown, pictures: dict[int, np.ndarray]) -> report.Section:
    """What was recorded, and what the segmentation makes of it."""
    book, image, labels, phases = shown.book, shown.image, shown.labels, shown.phases
    y = image.coords["y"].values
    position = float(y[min(int(shown.settings.report.slice_y * len(y)), len(y) - 1)])
    items: list[Any] = [
        book.figure(
            "cross-sections",
            report.cross_sections(image, labels, phases, position=position),
            "Cross-sections normal to the electrodes at the same place in several scans: gray values above, the "
            "segmentation over them below.",
        )
    ]
    if shown.half is not None:
        scans = [shown.half, shown.last]
        seen = {scan: pictures[scan] for scan in scans if scan in pictures}
        items.append(
            book.figure(
                "cycle-states",
                report.cycle_states(
                    image,
                    labels,
                    phases,
                    scans=scans,
                    pictures=seen if len(seen) == len(scans) else None,
                    position=position,
                    plating_side=shown.settings.cell.plating_side,
                    simulated=shown.simulated,
                ),
                "The segmented cell after half and full cycle; the arrow is the way of the lithium ions (Huang 2023, "
                "Fig. 2c, d).",
            )
        )
    if shown.settings.report.movie and image.sizes["t"] > 1:
        component = next((name for name in ("deposited", "dendrite") if name in phases), phases.names[-1])
        frames = report.movie_frames(
            image, labels, phases, maps=shown.maps, component=component, current=shown.beam, position=position
        )
        report.movie(frames, book.folder / "movie.gif")
        items.append(
            report.MovieItem(
                frames,
                f"Scan by scan: the segmented cross-section, the thickness of {component} lithium seen along z, and "
                "the current. Also saved as figures/movie.gif.",
            )
        )
    if shown.beam is not None and "voltage_v" in shown.current and shown.current["voltage_v"].notna().any():
        items.append(
            book.figure(
                "voltage",
                report.voltage_envelope(
                    shown.current,
                    electrochemistry.pulses(shown.current),
                    scans_h=shown.labels["t"].values,
                    simulated=shown.simulated,
                ),
                "Voltage and current as recorded, with the envelope of the pulses (Huang 2023, Fig. 1c and "
                "Supplementary Fig. 3).",
            )
        )
    return report.Section("The cell", "What was recorded, and what the segmentation makes of it.", items)


def how_it_was_done(shown: Shown) -> report.Section:
    """The steps of the run, and the rounds of training."""
    training = shown.json("training.json")
    rounds: list[dict[str, str]] = []
    for entry in training.get("iterations", []):
        macro = (entry.get("held_out") or {}).get("macro")
        told = "" if macro is None else f"; held out: macro IoU {macro:.2f}"
        rounds.append(
            {
                "title": " ".join(filter(None, (entry["stage"], entry.get("model")))),
                "detail": f"{entry.get('hand_voxels', 0):,} voxels by hand, "
                f"{entry.get('pseudo_voxels', 0):,} pseudo{told}",
            }
        )
    if not rounds and training.get("held_out"):
        network = training["held_out"].get("network")
        told = "" if network is None else f": macro IoU {network['macro']:.2f}"
        rest = [scan for scan in training["annotated_scans"] if scan not in training["held_out_scans"]]
        rounds = [
            {"title": "Train", "detail": f"on scans {listed(rest)}"},
            {"title": "Measure errors, calibrate", "detail": f"on scans {listed(training['held_out_scans'])}{told}"},
            {"title": "Train on everything", "detail": f"on scans {listed(training['annotated_scans'])}"},
        ]
    return report.Section(
        "How it was done",
        "",
        [
            shown.book.figure(
                "workflow",
                report.workflow(shown.task.parameters["workflow"], iterations=rounds),
                "Steps of this run and what they made, and the rounds of training (Huang 2023, Fig. 2a, b).",
            )
        ],
    )


def the_ledger(shown: Shown) -> report.Section:
    """Volumes, thicknesses and changes beside the coulombs."""
    book, ledger, truth, phases, beside = shown.book, shown.ledger, shown.truth, shown.phases, shown.beside
    solid = [name for name in phases if phases.role(name) != "electrolyte"]
    items: list[Any] = [
        book.figure(
            "volumes",
            report.component_volumes(
                ledger, current=shown.beam, truth=truth, components=solid, phases=phases, simulated=shown.simulated
            ),
            f"Volume of each component over time with 95 % intervals, beside the current (Huang 2023, Supplementary "
            f"Fig. 6).{beside}",
        )
    ]
    lines: list[tuple[str, Callable[[], Any], str]] = []
    moving = [name for name in ("dendrite", "deposited", "redeposited") if name in phases]
    common = {"truth": truth, "phases": phases, **shown.axis}
    if shown.labels.sizes["t"] > 1:
        if moving:
            lines.append(
                (
                    "volumes-moving",
                    lambda: report.quantity_lines(ledger, quantity="volume", components=moving, **common),
                    f"Volume of the lithium that moves (Huang 2023, Fig. 3b).{beside}",
                )
            )
        lines.append(
            (
                "thickness-by-side",
                lambda: report.quantity_lines(
                    ledger,
                    quantity="effective thickness",
                    components=[
                        name
                        for name in ("plating side without dendrites", "stripping side")
                        if shown.has("effective thickness", name)
                    ],
                    **common,
                ),
                f"Effective thickness of the plating side without dendrites and of the stripping side (Huang 2023, "
                f"Fig. 3c).{beside}",
            )
        )
        lines.append(
            (
                "thickness-electrodes",
                lambda: report.quantity_lines(
                    ledger,
                    quantity="effective thickness",
                    components=["plating electrode", "stripping electrode"],
                    label="effective thickness of the electrodes",
                    **common,
                ),
                f"The electrodes alone, without what was deposited on them (Huang 2023, Supplementary Fig. 7).{beside}",
            )
        )
    if shown.has("cumulative"):
        lines.append(
            (
                "image-and-charge",
                lambda: report.image_and_charge(
                    ledger,
                    imaged={
                        "plated": "plating side, by the images",
                        "stripped": "stripping side, by the images",
                    },
                    **common,
                ),
                "Lithium that has gone from side to side, by the images with 95 % intervals and by the charge "
                f"(Huang 2023, Fig. 3d). Nothing is adjusted to agree.{beside}",
            )
        )
    items += [book.figure(name, draw(), caption) for name, draw, caption in lines]
    if shown.has("balance"):
        items += list(_changes(shown))
    if shown.comparison is not None:
        judged = judged_rows(shown.comparison)
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


def _changes(shown: Shown) -> Iterator[Any]:
    book, ledger, truth = shown.book, shown.ledger, shown.truth
    yield book.figure(
        "ledger",
        report.ledger_chart(ledger, truth=truth, phases=shown.phases, **shown.axis),
        "Per interval between two scans (left) and since the first one (right): lithium plated, stripped, dead and "
        "redeposited, and what is unaccounted for, with 95 % intervals; red where the interval leaves out zero."
        f"{shown.beside}",
    )
    yield report.TableItem(
        report.ledger_table(ledger),
        "The cumulative ledger in um3, in um of dense lithium over the field of view and in mAh cm-2.",
        name="cumulative-ledger",
        collapsed=True,
    )
    yield book.figure(
        "balance",
        report.balance(ledger, current=shown.beam, truth=truth, simulated=shown.simulated),
        "The balance of each interval between two scans: lithium plated, stripped and gone dead in the images beside "
        "the volume that the coulombs stand for (Faraday), and what is unaccounted for. Marked intervals disagree "
        f"beyond their interval.{shown.beside}",
    )
    if shown.has("image over charge"):
        time = shown.axis["time"]
        yield book.figure(
            "image-over-charge",
            report.image_over_charge(ledger, truth=truth, time=time, simulated=shown.simulated),
            "Lithium gained in the images over lithium by the charge, since the beginning of each half cycle (Huang "
            f"2023, Supplementary Fig. 8).{shown.beside}",
        )
    porosity = ledger[(ledger["quantity"] == "apparent porosity") & ledger["component"].isin(["charge", "discharge"])]
    if len(porosity):
        ends = porosity.sort_values("scan").groupby("component").tail(1)
        yield report.TableItem(
            ends[["scan", "component", "value", "sigma", "method"]],
            "Apparent porosity of the lithium deposited in each half cycle that would close the balance. Below zero "
            "the image shows less than the charge, which no porosity explains.",
            name="porosity",
        )


def where_it_is(shown: Shown) -> report.Section:
    """Maps in the plane, voids, displacement, and what goes with what."""
    book, ledger, phases = shown.book, shown.ledger, shown.phases
    components = [name for name in phases if name not in ("electrolyte", "electrode")]
    seen = [name for name in components if float(shown.maps.sel(component=name).max()) > 0]
    items: list[Any] = []
    rows: dict[str, xr.DataArray] = {
        name: shown.maps.sel(component=name, drop=True) for name in ("dendrite", "deposited") if name in seen
    }
    unfilled = shown.spatial("unfilled")
    scans: dict[str, list[int]] = {}
    if shown.labels.sizes["t"] > 1 and rows:
        spread = sorted({int(scan) for scan in np.linspace(0, shown.last, min(6, shown.last + 1)).round()})
        scans = dict.fromkeys(rows, spread)
        if unfilled is not None:
            rows["unfilled pits"] = unfilled
            scans["unfilled pits"] = list(range(unfilled.sizes["t"]))[: len(spread)]
        items.append(
            book.figure(
                "maps",
                report.map_rows(
                    rows, scans=scans, colors={"unfilled pits": "#56B4E9"}, phases=phases, simulated=shown.simulated
                ),
                "Dendrites, deposited lithium and pits that are not filled yet, seen in the plane of the electrodes "
                "(Huang 2023, Fig. 4a to c); one color scale a row.",
            )
        )
    if components:
        items.append(
            book.figure(
                "coverage",
                report.coverage(
                    ledger, truth=shown.truth, components=components, phases=phases, simulated=shown.simulated
                ),
                f"Share of the electrode's area over which each component is found.{shown.beside}",
            )
        )
    if shown.half is not None:
        items.append(
            book.figure(
                "unoccupied",
                report.unoccupied(
                    ledger,
                    unfilled=("area fraction", "unfilled pits")
                    if shown.has("area fraction", "unfilled pits")
                    else None,
                    truth=shown.truth,
                    phases=phases,
                    **shown.axis,
                ),
                "Share of the area that is not occupied, and of pits that remain unfilled (Huang 2023, Fig. 4d, e)."
                f"{shown.beside}",
            )
        )
    items += list(_pictures(shown))
    if shown.has("pearson", *_PAIRS):
        pairs = {pair: name for pair, name in _PAIRS.items() if shown.has("pearson", pair)}
        items.append(
            book.figure(
                "pearson",
                report.correlation_series(ledger, pairs=pairs, **shown.axis),
                "Pearson coefficient of the flattened pits with what grows on the other side (Huang 2023, "
                "Supplementary Fig. 9). The band is what unrelated maps with the same spatial correlation stay within "
                "in 95 of 100 cases.",
            )
        )
    items += [
        book.figure(
            f"map-{name.replace(' ', '-')}",
            report.component_maps(shown.maps, name, phases=phases),
            f"Thickness of {name} along z, seen in the plane of the electrodes; one color scale for all scans.",
        )
        for name in seen
    ]
    return report.Section("Where it is", "Maps in the plane of the electrodes, voids and displacement.", items)


def _pictures(shown: Shown) -> Iterator[Any]:
    book = shown.book
    voids = shown.spatial("voids")
    if voids is not None:
        last = shown.ledger[(shown.ledger["scan"] == shown.last) & (shown.ledger["quantity"] == "area fraction")]
        found = last.set_index("component")["value"]
        shares = {name: float(found[name]) for name in ("contact", "void", "bare") if name in found}
        yield book.figure(
            "voids",
            report.void_map(voids.isel(t=shown.last), shares=shares, simulated=shown.simulated),
            "Depth of the voids between redeposited lithium and the electrode after the last scan (Huang 2023, "
            "Fig. 5a).",
        )
    edges = shown.spatial("edges")
    if edges is not None and shown.half is not None:
        yield book.figure(
            "edges",
            report.electrode_edges(edges.isel(t=[0, shown.half, shown.last]), separate=True, simulated=shown.simulated),
            "Where the edges of the electrodes are at pristine, half and full cycle, flattened along y (Huang 2023, "
            "Fig. 5b and Supplementary Fig. 10).",
        )
    traveling = shown.spatial("traveling")
    if traveling is not None:
        yield book.figure(
            "traveling",
            report.traveling_map(traveling, simulated=shown.simulated),
            "Where lithium left and where it arrived between half and full cycle, flattened along y (Huang 2023, "
            "Fig. 5c).",
        )


def in_three_dimensions(shown: Shown) -> tuple[report.Section, dict[int, np.ndarray]]:
    """A render of every scan, from one place and in the same colors."""
    title = "In three dimensions"
    pictures: dict[int, np.ndarray] = {}
    try:
        for scan, picture in report.render_scans(shown.labels, shown.phases, columns=5):
            pictures[scan] = picture
            shown.book.picture(f"render-{scan:03d}", picture)
    except MissingDependency as error:
        shown.task.say(str(error))
        return report.Section(title, "", [report.TextItem(f"No render was made. {error}")]), {}
    spread = sorted({0, shown.last, *([] if shown.half is None else [shown.half])})
    figure = report.render_panel(
        {scan: pictures[scan] for scan in pictures if shown.last < 12 or scan in spread},
        shown.labels,
        shown.phases,
        simulated=shown.simulated,
    )
    caption = (
        "Surfaces of the components, smoothed and for looking only; the electrodes are translucent, the electrolyte is "
        "left out (Huang 2023, Fig. 3a). One picture per scan is in figures/render-*.png."
    )
    return report.Section(title, "", [shown.book.figure("render", figure, caption)]), pictures


def how_it_moved(shown: Shown) -> report.Section | None:
    """Motion of the scans and what a rigid motion leaves."""
    table = shown.table("motion.parquet")
    if table is None:
        return None
    items: list[Any] = [
        shown.book.figure(
            "motion",
            report.motion_series(table, simulated=shown.simulated),
            "Translation and rotation of every scan against the reference, with 95 % intervals.",
        )
    ]
    deformation = shown.image_of("deformation.zarr")
    if deformation is not None:
        sigma, unit = deformation.attrs.get("sigma"), deformation.attrs.get("units", "um")
        known = "" if sigma is None else f" One sigma of a single displacement is typically {float(sigma):.2g} {unit}."
        items.append(
            shown.book.figure(
                "deformation",
                report.deformation_map(deformation, simulated=shown.simulated),
                "Displacement that the rigid motion leaves; gray where nothing static was seen. Lithium that grows or "
                f"goes is no displacement and should be gray.{known}",
            )
        )
    return report.Section("How the scans moved", "Registration, kept in motion.json and applied once.", items)


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
