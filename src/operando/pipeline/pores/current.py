"""Current density over the electrodes, its sum against the applied current, its hot and cold spots."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando import electrochemistry, morphometry
from operando.core.axes import spacing
from operando.core.lithium import FARADAY_C_MOL
from operando.core.quantities import quantity_table, rows_from_array
from operando.pipeline.pores.cycle import Cycle
from operando.pipeline.pores.measuring import cycle_in, plain
from operando.pipeline.pores.segmenting import boundaries_of
from operando.pipeline.pores.settings import Cell, HotSpots
from operando.pipeline.step import Task
from operando.pipeline.storage import read_dataset, read_image, write_dataset, write_table

_ERROR_LENGTH_UM = 15.0  # over which the error of a boundary beyond noise is alike (docs/quantities/current-density.md)


def map_current(task: Task) -> None:
    """Maps of the current density from the thickness of the lithium, with and without its pores."""
    boundaries, columns = boundaries_of(task), read_image(task, "columns.zarr").load()
    cell, spots_ = Cell(**task.parameters["cell"]), HotSpots(**task.parameters["hot_spots"])
    cycle, seed = cycle_in(task, columns), task.parameters["seed"]
    thickness = cycle.stepped(morphometry.electrode_thickness(boundaries))
    sigma = cycle.stepped(morphometry.thickness_sigma(boundaries))
    porosity = cycle.stepped(_evened(columns, spots_.radius_um))
    common: dict[str, Any] = {"molar_volume_cm3_mol": cell.molar_volume_cm3_mol, "sigma_um": sigma}
    as_paper = morphometry.plating_current_density(thickness, **common)
    lithium = morphometry.plating_current_density(thickness, porosity=porosity, **common)
    for density in (as_paper, lithium):
        density.attrs |= {"plating_side": cell.plating_side, "smooth_um": boundaries.attrs.get("smooth_um", 0.0)}
    spots = _spots(thickness, sigma, cell, spots_, task.parameters["sigma_voxels"], seed=seed)
    table = morphometry.spot_table(spots)
    maps = {
        "current_density": plain(as_paper),
        "lithium_current_density": plain(lithium),
        "sigma": plain(as_paper.coords["sigma"].broadcast_like(as_paper).transpose(*as_paper.dims)),
        **{name: plain(spots[name]) for name in ("spot", "score", "p_value", "id", "direction")},
    }
    write_dataset(task, "current.zarr", xr.Dataset(maps))
    write_table(task, "spots.parquet", table)
    steps = lithium.sizes["t"]
    tracks = morphometry.track_spots(spots, seed=seed) if steps > 1 else pd.DataFrame({"component": [], "relation": []})
    write_table(task, "tracks.parquet", tracks)
    rows = _thickness_rows(thickness, boundaries, task.parameters["sigma_voxels"]) + _spot_rows(table, cycle)
    tables = [quantity_table(rows)]
    if np.isfinite(cycle.charge_mah[1:]).all() and cycle.hours is not None:
        doubt = read_dataset(task.path("doubt.zarr"))["whole"]
        closure = _closure(as_paper, thickness, porosity, cycle, cell)
        tables.append(_with_doubt(closure, thickness, doubt, cycle, cell))
    write_table(task, "current.parquet", pd.concat(tables, ignore_index=True))
    write_table(task, "record.parquet", cycle.record)
    write_table(task, "critical.parquet", _critical(cycle, cell, columns))


def _spots(
    thickness: xr.DataArray, sigma: xr.DataArray, cell: Cell, how: HotSpots, sigma_voxels: float, *, seed: int
) -> xr.Dataset:
    """Hot and cold spots; a boundary is off by more than noise, alike over some distance."""
    beyond = sigma_voxels * spacing(thickness)["y"]
    density = morphometry.plating_current_density(
        thickness, molar_volume_cm3_mol=cell.molar_volume_cm3_mol, sigma_um=(sigma**2 + beyond**2) ** 0.5
    )
    return morphometry.hot_spots(
        density,
        radius_um=how.radius_um,
        fdr=how.fdr,
        null=how.against,
        excess=how.excess if how.against == "noise" else 0.0,
        error_length_um=_ERROR_LENGTH_UM,
        seed=seed,
    )


def _evened(columns: xr.DataArray, radius_um: float) -> xr.DataArray:
    """Porosity of columns averaged over the neighborhood: a map of single pores would drown that of the current."""
    from scipy.ndimage import gaussian_filter

    step = spacing(columns)
    sigma = [0.0 if dim not in ("y", "x") else radius_um / 2 / step[dim] for dim in map(str, columns.dims)]
    weight = gaussian_filter(np.isfinite(columns.values).astype(float), sigma, mode="nearest")
    summed = gaussian_filter(columns.fillna(0.0).values.astype(float), sigma, mode="nearest")
    return columns.copy(data=np.clip(summed / np.maximum(weight, 1e-6), 0, 0.999))


def _thickness_rows(thickness: xr.DataArray, boundaries: xr.DataArray, sigma_voxels: float) -> list[dict[str, Any]]:
    """Mean thickness of both electrodes; sigma is that of columns, not of a gray level that all of them share."""
    mean = thickness.mean(("y", "x")).assign_attrs(units="um")
    n = thickness.count(("y", "x"))
    # Of a thickness itself, not of its change: the noise of an interface that is one for all scans is in it.
    sigma = morphometry.thickness_sigma(boundaries.assign_attrs(rigid_ceramic=False))
    # By position: the thickness counts hours of current, the boundaries those of the clock.
    sigma = n.copy(data=sigma.transpose(*n.dims).values)
    variance: Any = 0.0
    step = spacing(thickness)
    for error, length in (
        (sigma, float(boundaries.attrs.get("smooth_um", 0.0))),
        (sigma_voxels * step["y"], _ERROR_LENGTH_UM),
    ):
        # A Gaussian filter makes as many columns one as lie in 4 pi of its variance.
        alike = max(1.0, 4 * np.pi * length**2 / (step["y"] * step["x"]))
        variance = variance + error**2 * np.minimum(alike, n) / n
    return rows_from_array(mean, quantity="thickness", sigma=variance**0.5, n=n, method="gray profiles")


def _spot_rows(table: pd.DataFrame, cycle: Cycle) -> list[dict[str, Any]]:
    """How many hot and cold spots every step has, and their area."""
    rows = []
    hours = cycle.hours if cycle.hours is not None else np.full(len(cycle.names), np.nan)
    for scan in range(1, len(cycle.names)):
        for side in ("low", "high"):
            for kind in ("hot", "cold"):
                here = table[(table["scan"] == scan - 1) & (table["component"] == side) & (table["kind"] == kind)]
                common = {"scan": scan, "t": float(hours[scan]), "component": side, "n": len(here)}
                how = {"method": "local means, false-discovery rate"}
                rows += [
                    {**common, **how, "quantity": f"{kind} spots", "value": float(len(here)), "unit": "1"},
                    {**common, **how, "quantity": f"{kind} area", "value": here["area_um2"].sum(), "unit": "um2"},
                ]
    return rows


def _closure(
    density: xr.DataArray, thickness: xr.DataArray, porosity: xr.DataArray, cycle: Cycle, cell: Cell
) -> pd.DataFrame:
    """The sum of the maps beside the applied current, with the volume of the pores told apart."""
    assert cycle.hours is not None
    step = spacing(thickness)
    pores = (thickness * porosity).sum(("y", "x")) * step["y"] * step["x"]
    applied = xr.DataArray(
        cycle.charge_mah[1:] / np.diff(cycle.hours), dims="t", coords={"t": density["t"]}, attrs={"units": "mA"}
    )
    return morphometry.current_closure(
        density,
        applied,
        plating_side=cell.plating_side,
        pore_volume=pores.assign_attrs(units="um3"),
        molar_volume_cm3_mol=cell.molar_volume_cm3_mol,
        error_length_um=float(density.attrs["smooth_um"]),
    )


def _with_doubt(
    closure: pd.DataFrame, thickness: xr.DataArray, doubt: xr.DataArray, cycle: Cycle, cell: Cell
) -> pd.DataFrame:
    """Sigmas with the doubt about the volume of the pores, independent from scan to scan, and that of the cycler."""
    assert cycle.hours is not None
    step = spacing(thickness)
    # um3 of pores that may be wrong, per scan and electrode; without probabilities nothing is known.
    wrong = doubt.fillna(0.0) * thickness.sum(("y", "x")).values * step["y"] * step["x"]
    per_um3 = FARADAY_C_MOL / (cell.molar_volume_cm3_mol * 1e12) / 3.6  # mAh
    table = closure.copy()
    for scan in range(1, thickness.sizes["t"]):
        both = (
            np.hypot(wrong.isel(t=scan), wrong.isel(t=scan - 1)) * per_um3 / (cycle.hours[scan] - cycle.hours[scan - 1])
        )
        for side in ("low", "high"):
            here = (table["scan"] == scan) & (table["component"] == side)
            # In a rest there is nothing to be over.
            applied = table.loc[here & (table["quantity"] == "applied current"), "value"].abs().replace(0.0, np.nan)
            extra = float(both.sel(component=side))
            for quantity, scale in (
                ("pore current", 1.0),
                ("image current without pores", 1.0),
                ("current mismatch", 1.0),
                ("image over applied", 1 / float(applied.iloc[0])),
            ):
                rows = here & (table["quantity"] == quantity)
                table.loc[rows, "sigma"] = np.hypot(table.loc[rows, "sigma"].fillna(0.0), extra * scale)
        # What the cycler itself is off by.
        told = float(cycle.sigma_mah[scan] / (cycle.hours[scan] - cycle.hours[scan - 1]))
        for quantity in ("applied current", "current mismatch"):
            rows = (table["scan"] == scan) & (table["quantity"] == quantity)
            table.loc[rows, "sigma"] = np.hypot(table.loc[rows, "sigma"].fillna(0.0), told)
        rows = (table["scan"] == scan) & (table["quantity"] == "image over applied")
        # The two electrodes carry the same current.
        off = table.loc[rows, "value"].abs() * told / float(applied.iloc[0])
        table.loc[rows, "sigma"] = np.hypot(table.loc[rows, "sigma"].fillna(0.0), off)
        together = (table["scan"] == scan) & (table["quantity"] == "electrode imbalance")
        table.loc[together, "sigma"] = np.hypot(table.loc[together, "sigma"].fillna(0.0), np.hypot(*both.values))
    return table


def _critical(cycle: Cycle, cell: Cell, like: xr.DataArray) -> pd.DataFrame:
    """Where the voltage gives way, if there is a voltage."""
    record = cycle.record
    if "voltage_v" not in record or not record["voltage_v"].notna().any():
        return quantity_table([])
    step = spacing(like)
    seen = like.sizes["y"] * like.sizes["x"] * step["y"] * step["x"] * 1e-8
    area = cell.active_area_cm2 or seen
    return electrochemistry.critical_current(record, area_cm2=area)
