"""Sections of the page about lithium: the cell, its pores, the current; what is called what, nothing measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando import report
from operando.core.phases import CERAMIC_CELL
from operando.pipeline.pores.measuring import NEAR
from operando.pipeline.pores.shown import Shown
from operando.report.steps import ELECTRODES

_FEWEST = 50  # voxels in a bin of a reliability diagram
_AROUND_UM = 15.0  # of an electrode, shown beside it


def the_cell(shown: Shown) -> report.Section:
    """What was recorded, and what the segmentation makes of it."""
    book = shown.book
    items: list[Any] = [
        book.figure(
            "cell",
            report.cross_sections(shown.image, shown.labels, CERAMIC_CELL),
            "Sections normal to the electrodes at the same place in several steps: gray above, the segmentation below.",
        )
    ]
    otsu, chance = shown.image_of("otsu.zarr"), shown.image_of("probability.zarr")
    truth = shown.truth
    for side in ("low", "high"):
        methods: dict[str, xr.DataArray] = {"Otsu": otsu} if otsu is not None else {}
        if chance is not None:
            methods["network"] = shown.labels
        if truth is not None:
            methods["truth"] = truth
        figure = report.pore_sections(
            shown.image,
            methods,
            CERAMIC_CELL,
            confidence=None if chance is None else chance.where(chance > 0.5, 1 - chance).assign_attrs(units="1"),
            steps=shown.names,
            z_um=_span(shown, side),
            simulated=shown.simulated,
        )
        caption = (
            f"The {ELECTRODES[side]} in several steps: gray values stretched to the contrast of lithium, pores by each "
            "method, and how sure the network is (Dixit 2020, Fig. 1c-e, S4)."
        )
        items.append(book.figure(f"sections-{side}", figure, caption))
    intro = "Lithium and its pores differ little in gray next to steel and ceramic."
    return report.Section("The cell", intro, items)


def _span(shown: Shown, side: str) -> tuple[float, float]:
    """Where an electrode lies along z, with a little of its neighbors."""
    ends = shown.boundaries.sel(component=[f"{side} collector", f"{side} interface"])
    return float(ends.min()) - _AROUND_UM, float(ends.max()) + _AROUND_UM


def the_pores(shown: Shown) -> report.Section:
    """Porosity of the lithium by step, place and depth."""
    marked, book = shown.marked, shown.book
    name = "Otsu" if shown.settings.segment.method == "otsu" else "network"
    tables = {name: shown.table("porosity-labels.parquet")}
    if name != "Otsu":
        tables["Otsu"] = shown.table("porosity-otsu.parquet")
    if "porosity-truth.parquet" in shown.task.step.inputs:
        tables["truth"] = shown.table("porosity-truth.parquet")
    known = {method: table for method, table in tables.items() if table is not None}
    profiles, tiles = shown.dataset("profiles.zarr"), shown.dataset("tiles.zarr")["porosity"]
    modes = shown.table("modes.parquet")
    fitted: dict[tuple[int, str], pd.DataFrame] = {}
    groups: Any = [] if modes is None else modes.groupby(["scan", "component"])
    for (scan, side), rows in groups:
        fitted[int(scan), str(side)] = rows
    items: list[Any] = [
        book.figure(
            "near-interface",
            report.porosity_by_step(
                known, quantity=NEAR, steps=shown.names, label="Porosity near the interface", **marked
            ),
            f"Porosity of the lithium within {shown.settings.measure.near_interface_um:g} um of the ceramic by step, "
            "with 95 % intervals (Dixit 2020, Fig. 2b). What the steps are called is what the plating side does; at "
            "the other electrode it is the reverse. Otsu's threshold beside it (Fig. S14).",
        ),
        book.figure(
            "whole-electrode",
            report.porosity_by_step(known, quantity="porosity", steps=shown.names, label="Porosity", **marked),
            "Porosity of whole electrodes by step.",
        ),
        book.figure(
            "changes",
            report.porosity_changes(shown.dataset("changes.zarr")["difference"], **marked),
            "Where pores opened (red) and closed (blue) between successive steps (Dixit 2020, Fig. 2c, d).",
        ),
        book.figure(
            "depth",
            report.porosity_by_depth(profiles["labels"], sigma=profiles["labels_sigma"], **marked),
            "Porosity by depth from the local interface, with 95 % bands (Dixit 2020, Fig. S5b).",
        ),
        book.figure(
            "distributions",
            report.porosity_distributions(tiles, modes=fitted, **marked),
            f"Porosity of tiles of {shown.settings.measure.tile_um:g} um by step, with the mixture of normal "
            "distributions that the Bayesian information criterion chooses (Dixit 2020, Fig. S5a).",
        ),
    ]
    if modes is not None and len(modes):
        count = modes.drop_duplicates(["scan", "component"]).pivot_table(
            index="scan", columns="component", values="modes", aggfunc="first"
        )
        count.insert(0, "step", [shown.names[scan] for scan in count.index])
        items.append(
            report.TableItem(count.reset_index(drop=True), "Maxima of the chosen mixture, by electrode.", name="modes")
        )
    return report.Section("Pores in lithium", "Where lithium leaves, pores open; where it arrives, they close.", items)


def the_current(shown: Shown) -> report.Section:
    """Where the current went, against what was applied, and where it was high and low."""
    marked, book, current = shown.marked, shown.book, shown.current
    density = current["current_density"].assign_attrs(units="mA cm-2", long_name="Current density")
    spots = current[["spot", "id", "direction"]]
    items: list[Any] = [
        book.figure(
            "current",
            report.current_maps(density, spots, **marked),
            "Current density over the mean of its map, from the change of the lithium in every column; hot spots "
            "solid, cold spots dashed (Dixit 2020, Fig. 3b).",
        )
    ]
    table = shown.table("current.parquet")
    if table is not None and (table["quantity"] == "applied current").any():
        items.append(
            book.figure(
                "closure",
                report.closure_chart(table, steps=shown.names, **marked),
                "The sum of each map beside the applied current. What pores add or hide is told apart; what is left is "
                "shown, not forced to nothing.",
            )
        )
    spots_ = shown.spots
    strongest = spots_.reindex(spots_["score"].abs().sort_values(ascending=False).index)
    for number, (_, spot) in enumerate(strongest.head(shown.settings.report.spots).iterrows()):
        scan = int(spot["scan"]) + 1
        figure = report.hot_spot_sections(
            shown.image,
            shown.labels,
            spot,
            CERAMIC_CELL,
            scans=[0, scan] if scan else [0],
            boundaries=shown.boundaries,
            steps=shown.names,
            simulated=shown.simulated,
        )
        items.append(
            book.figure(
                f"spot-{number + 1}",
                figure,
                f"{spot['kind'].capitalize()} spot {spot['id']} of the {ELECTRODES[spot['component']]} in step "
                f"{shown.names[scan]}: sections through it at first and then, with the ceramic beneath (Dixit 2020, "
                "Fig. 3c, S7, S8).",
            )
        )
    if spots_.empty:
        items.append(
            report.TextItem("No place stands out from the map it is in at the false-discovery rate asked for.")
        )
    else:
        items.append(report.TableItem(spots_, "Every hot and cold spot.", name="spots", collapsed=True))
        tracks = shown.table("tracks.parquet")
        if tracks is not None and len(tracks) and (tracks["relation"].isin(["persists", "reverses"])).any():
            items.append(
                book.figure(
                    "persistence",
                    report.spot_persistence(tracks, spots_, steps=shown.names[1:], **marked),
                    "Spots over the steps, joined where one lies on one of the step before.",
                )
            )
    record = shown.table("record.parquet")
    if record is not None and "voltage_v" in record and len(record):
        items.append(_voltage(shown, record))
    return report.Section("Current", "The current that passed, place by place.", items)


def _voltage(shown: Shown, record: pd.DataFrame) -> Any:
    onset = shown.critical[shown.critical["quantity"] == "critical current density"]
    found = len(onset) and np.isfinite(onset["value"].iloc[0])
    figure = report.voltage_trace(
        record,
        onset_h=float(onset["t"].iloc[0]) if found else None,
        onset=f"{onset['method'].iloc[0]}, {onset['value'].iloc[0]:.3g} mA cm-2" if found else "",
        scans_h=shown.image["t"].values,
        steps=shown.names,
        simulated=shown.simulated,
    )
    caption = "Voltage and current (Dixit 2020, Fig. S6). " + (
        "The mark is where the voltage gives way." if found else "The voltage never gives way: no critical current."
    )
    return shown.book.figure("voltage", figure, caption)


def how_far_to_trust_it(shown: Shown) -> report.Section | None:
    """What the network learned from, how well it does where it was not trained, and how sure it is."""
    training = shown.json("training.json")
    items: list[Any] = []
    if training:
        slices = training["slices"]
        items.append(
            shown.book.figure(
                "training",
                report.training_history(pd.DataFrame(training["history"])),
                f"Training on {slices['training']} slices of one electrode and step, validated on "
                f"{slices['validation']} others of the same electrode.",
            )
        )
        curves = (training.get("metrics") or {}).get("reliability")
        if curves:
            metrics = training["metrics"]
            items.append(
                shown.book.figure(
                    "reliability",
                    report.reliability_diagram(
                        pd.DataFrame(curves["after"]["all"]).query("n >= @_FEWEST"),
                        before=pd.DataFrame(curves["before"]["all"]).query("n >= @_FEWEST"),
                        error=metrics.get("calibration_error"),
                        error_before=metrics.get("calibration_error_before"),
                    ),
                    "How often voxels of the validation slices are right against how sure the network was.",
                )
            )
    scores = shown.table("agreement.parquet")
    if scores is not None and len(scores):
        caption = (
            "By electrode and step: the share of voxels that the network is more than 80 % sure of (Dixit 2020, Fig. "
            "S4) and, where a truth is known, intersection over union of the pores and their volume over the true "
            "one. One electrode and step was trained on; the others were never seen."
        )
        named = scores.assign(step=[shown.names[scan] for scan in scores["scan"]])
        named = named[["step", "electrode", *(c for c in scores if c not in ("scan", "electrode"))]]
        items.append(report.TableItem(named, caption, name="agreement"))
    return report.Section("How far to trust it", "", items) if items else None
