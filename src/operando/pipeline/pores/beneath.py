"""Sections of the page about the ceramic: its pores, what it conducts and bears, whether it explains the current."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando import report
from operando.pipeline.pores.explaining import ALL_STEPS
from operando.pipeline.pores.microstructure import POROSITY
from operando.pipeline.pores.shown import Shown

_NAMES = {
    "tortuosity": "tortuosity factor",
    "conductivity": "conductivity",
    "porosity": "porosity",
    "modulus": "Young's modulus",
}
_Z95 = 1.96
_SHOWN_UM = 100.0  # of the ceramic beneath a spot


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
                components={"high": "top interface", "bulk": "bulk", "low": "bottom interface"},
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
        z = flux["z"].values
        near = z <= z[0] + _SHOWN_UM if str(flux.attrs["electrode"]) == "low" else z >= z[-1] - _SHOWN_UM
        field = flux["current"].isel(z=np.flatnonzero(near))
        region = shown.labels.isel(t=scan).sel({dim: field[dim] for dim in ("z", "y", "x")}, method="nearest")
        figure = report.flux_field(
            field,
            region.assign_coords({dim: field[dim] for dim in ("z", "y", "x")}),
            mark=mark,
            electrode=str(flux.attrs["electrode"]),
            position=float(flux.attrs["y_um"]),
            simulated=shown.simulated,
        )
        caption = (
            f"Current through the ceramic at the strongest spot of step {shown.names[scan + 1]}, solved on the labels "
            "of the scan before it with the same potential at every point of an interface (Dixit 2020, Fig. S3). The "
            "bar marks the spot."
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
    names = explained["component"].str.split("~", n=1)
    table = explained.assign(response=names.str[0], component=names.str[-1])
    items: list[Any] = []
    for response, rows in table.groupby("response", sort=False):
        scans = sorted(set(rows["scan"]) - {ALL_STEPS})
        named = {shown.names[scan]: scan for scan in scans}
        named |= {"all steps": ALL_STEPS} if (rows["scan"] == ALL_STEPS).any() else {}
        current = tiles[str(response)] * shown.current["direction"]
        before = shown.beneath["tortuosity"].isel(t=[scan - 1 for scan in scans])
        figure = report.effect_sizes(
            {name: _drawn(rows[rows["scan"] == scan]) for name, scan in named.items()},
            response=_flat(current / abs(current).mean(("component", "y", "x")), f"{response} over its mean", "1"),
            predictor=_flat(before, "Tortuosity factor", "1"),
            names=_NAMES,
            simulated=shown.simulated,
        )
        caption = (
            f"How the local {response} goes with the ceramic beneath, step by step, both electrodes together: its "
            "change per standard deviation of each property alone, in percent of the mean, with 95 % intervals, and "
            "the test of all of them together; p-values from permuted blocks of tiles. The properties go together, so "
            "that which of them matters cannot be told (the table has them beside each other). All steps together is "
            "one test; of the single steps one in twenty is below 0.05 by chance. No p-value can be below "
            f"{1 / (shown.settings.explain.permutations + 1):.2g}. At the right all tiles of all steps."
        )
        items.append(shown.book.figure(f"explained-{str(response).replace(' ', '-')}", figure, caption))
    items.append(report.TableItem(explained, "The whole regression.", name="explained", collapsed=True))
    intro = (
        "Are the hot spots where the ceramic conducts better? Neighboring tiles are alike in current and in ceramic, "
        "so that two unrelated maps look related; the null permutes whole blocks of tiles."
    )
    return report.Section("Does the microstructure explain the current?", intro, items)


def _drawn(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows that the figure takes: effects alone with their intervals and p-values, and the joint test."""
    alone = rows[rows["quantity"] == "effect alone"]
    half = _Z95 * alone["sigma"]
    single = rows[rows["quantity"] == "pearson p-value"].assign(quantity="p-value")
    joint = rows[(rows["quantity"] == "p-value") & (rows["component"] == "all")]
    return pd.concat(
        [
            alone.assign(quantity="effect"),
            alone.assign(quantity="effect low", value=alone["value"] - half),
            alone.assign(quantity="effect high", value=alone["value"] + half),
            single,
            joint,
        ],
        ignore_index=True,
    )


def _flat(values: xr.DataArray, long_name: str, units: str) -> xr.DataArray:
    plain = xr.DataArray(np.asarray(values.transpose("t", "component", "y", "x")), dims=("t", "component", "y", "x"))
    return plain.assign_attrs(long_name=long_name[0].upper() + long_name[1:], units=units)
