"""Sections of the page about the ceramic: its pores, what it conducts and bears, whether it explains the current."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando import report
from operando.pipeline.pores.microstructure import POROSITY
from operando.pipeline.pores.shown import Shown

_NAMES = {
    "tortuosity": "tortuosity factor",
    "porosity": "porosity",
    "modulus": "Young's modulus",
    "all predictors": "all together",
}


def the_ceramic(shown: Shown) -> report.Section:
    """Porosity of the ceramic, and its transport and stiffness beneath the electrodes."""
    marked, book, how = shown.marked, shown.book, shown.settings.measure
    electrolyte, beneath = shown.dataset("electrolyte.zarr"), shown.beneath
    subsurface = shown.image_of("subsurface.zarr")
    items: list[Any] = [
        book.figure(
            "electrolyte-depth",
            report.electrolyte_depth(electrolyte["normalized"], **marked),
            "Porosity of the ceramic over the mean of the first scan, by depth and step (Dixit 2020, Fig. 4a).",
        )
    ]
    if subsurface is not None:
        items.append(
            book.figure(
                "subsurface",
                report.porosity_maps(subsurface, scans=[0, shown.last], phase="electrolyte_pore", **marked),
                "Porosity of the ceramic averaged through its depth, first and last (Dixit 2020, Fig. 4b, S9).",
            )
        )
    items += [
        book.figure(
            "electrolyte-porosity",
            report.electrolyte_porosity(
                shown.ledger,
                quantity=POROSITY,
                steps=shown.names,
                components={"high": "high interface", "bulk": "bulk", "low": "low interface"},
                label="Porosity of the ceramic",
                **marked,
            ),
            f"Porosity of the ceramic in its bulk and within {how.interface_um:g} um of either interface (Dixit 2020, "
            "Fig. 4c). What is transparent to X-rays counts: pores, cracks, and lithium in them.",
        ),
        book.figure(
            "tortuosity",
            report.tortuosity_maps(beneath["tortuosity"], shown.current["spot"], **marked),
            f"Tortuosity factor of the ceramic within {how.interface_um:g} um of either interface, in tiles of "
            f"{how.tile_um:g} um (Dixit 2020, Fig. S10, S11); infinite where nothing leads through. Hot spots solid, "
            "cold spots dashed.",
        ),
        _factors(shown),
    ]
    flux = shown.dataset("flux.zarr")
    if "current" in flux:
        mark = (float(flux.attrs["mark_low_um"]), float(flux.attrs["mark_high_um"]))
        scan = int(flux.attrs["scan"])
        region = shown.labels.isel(t=scan).sel({dim: flux[dim] for dim in ("z", "y", "x")}, method="nearest")
        figure = report.flux_field(
            flux["current"],
            region.assign_coords({dim: flux[dim] for dim in ("z", "y", "x")}),
            mark=mark,
            electrode=str(flux.attrs["electrode"]),
            position=float(flux.attrs["y_um"]),
            simulated=shown.simulated,
        )
        caption = (
            f"Current through the ceramic at the strongest spot of step {shown.names[scan]}, solved on the labels with "
            "the same potential at every point of an interface (Dixit 2020, Fig. S3). The bar marks the spot."
        )
        items.append(book.figure("flux", figure, caption))
    return report.Section("The ceramic beneath", "What the electrolyte lets pass, and how stiff it is.", items)


def _factors(shown: Shown) -> Any:
    factors = shown.dataset("factors.zarr")
    known = [name for name in ("conductivity", "modulus") if name in factors]
    synthetic = {name: factors[f"synthetic_{name}"] for name in known}
    figure = report.microstructure_factors({name: factors[name] for name in known}, synthetic, **shown.marked)
    caption = (
        "Microstructure factors: effective over dense value of cubes of the ceramic beneath the interfaces, along x, "
        "y and z, beside synthetic isotropic domains of the same porosity and pore size (Dixit 2020, Fig. 4d, S12)."
    )
    return shown.book.figure("factors", figure, caption)


def the_explanation(shown: Shown) -> report.Section | None:
    """Regression of the current on the ceramic beneath."""
    explained = shown.table("explained.parquet")
    if explained is None or explained.empty:
        return None
    tiles = shown.dataset("current-tiles.zarr")
    items: list[Any] = []
    for (response, scan), rows in _by_response(explained):
        current = tiles[response].isel(t=scan - 1) * shown.current["direction"].isel(t=scan - 1)
        predictor = shown.beneath["tortuosity"].isel(t=scan - 1)
        figure = report.effect_sizes(
            rows,
            response=_flat(current, "Current density", "mA cm-2"),
            predictor=_flat(predictor, "Tortuosity factor", "1"),
            names=_NAMES,
            title=f"{shown.names[scan]}, {response}",
            simulated=shown.simulated,
        )
        caption = (
            f"Change of the local {response} per standard deviation of each property of the ceramic beneath, in step "
            f"{shown.names[scan]}, both electrodes together, with intervals; p-values from permuted blocks of tiles."
        )
        items.append(shown.book.figure(f"explained-{response.replace(' ', '-')}-{scan}", figure, caption))
    items.append(report.TableItem(explained, "The whole regression.", name="explained", collapsed=True))
    intro = (
        "Are the hot spots where the ceramic conducts better? Neighboring tiles are alike in current and in ceramic, "
        "so that two unrelated maps look related; the null permutes whole blocks of tiles."
    )
    return report.Section("Does the microstructure explain the current?", intro, items)


def _by_response(explained: pd.DataFrame) -> list[tuple[tuple[str, int], pd.DataFrame]]:
    """Rows of every response and scan, the predictors' names without the response's."""
    names = explained["component"].str.split("~", n=1)
    table = explained.assign(response=names.str[0], component=names.str[-1])
    return [((str(key[0]), int(key[1])), rows) for key, rows in table.groupby(["response", "scan"], sort=False)]


def _flat(values: xr.DataArray, long_name: str, units: str) -> xr.DataArray:
    plain = xr.DataArray(np.asarray(values.transpose("component", "y", "x")), dims=("component", "y", "x"))
    return plain.assign_attrs(long_name=long_name, units=units)
