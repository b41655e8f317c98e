"""The section about places: maps in the plane, voids, displacement, and what goes with what."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr

from operando import report
from operando.pipeline.cell_ct.shown import Shown

_PAIRS = {"pit~deposited": "Pits and deposited lithium", "pit~dendrite": "Pits and dendrites"}


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
