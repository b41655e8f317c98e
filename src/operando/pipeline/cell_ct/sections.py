"""The sections of the page of recipe ``cell-ct``: finished results and what they are called; nothing is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from operando import electrochemistry, report
from operando.core.errors import MissingDependency
from operando.pipeline.cell_ct.accounting import judged_rows
from operando.pipeline.cell_ct.shown import Shown
from operando.pipeline.cell_ct.trust import listed


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
