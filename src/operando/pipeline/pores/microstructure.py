"""What the ceramic conducts and bears: beneath the electrodes, in cubes of it, and beside isotropic domains."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from operando import morphometry, transport
from operando.core.axes import spacing
from operando.core.phases import CERAMIC_CELL, UNLABELED
from operando.core.quantities import quantity_table, rows_from_array
from operando.pipeline.pores.cycle import Cycle
from operando.pipeline.pores.measuring import IN_CERAMIC, cycle_in, plain
from operando.pipeline.pores.segmenting import ELECTRODES, boundaries_of
from operando.pipeline.pores.settings import Ceramic, Measure
from operando.pipeline.step import Task
from operando.pipeline.storage import read_dataset, read_image, read_table, write_dataset, write_image, write_table

POROSITY = "electrolyte porosity"
_BENEATH = {"low": "up", "high": "down"}
"""Which way along z the ceramic lies from the interface of each electrode."""
_AROUND_UM = 150.0  # of the strongest spot, for the picture of the flux
_LITHIUM_CONDUCTIVITY = 100.0  # over that of the ceramic


def analyze(task: Task) -> None:
    """Porosity, tortuosity factor and stiffness of the ceramic in every scan, and of isotropic domains like it."""
    labels, boundaries = read_image(task, "labels.zarr"), boundaries_of(task)
    how, ceramic = Measure(**task.parameters["measure"]), Ceramic(**task.parameters["ceramic"])
    cycle = cycle_in(task, labels)
    scans = labels.sizes["t"]
    rows = _porosity(task, labels, boundaries, cycle, how)
    tiles, factors, null = [], [], []
    for scan in range(scans):
        task.progress(scan, scans)
        # One scan at a time is in memory.
        now, ends = labels.isel(t=scan).load(), boundaries.isel(t=scan)
        # Lithium above an uneven interface is no obstacle: only pores of the ceramic are.
        solid = (now != CERAMIC_CELL["electrolyte_pore"]).astype(np.float32).where(now != UNLABELED).drop_attrs()
        solid = solid.assign_coords({dim: now[dim] for dim in ("z", "y", "x")})
        parts = {side: _part(solid, ends, side, how) for side in ELECTRODES}
        tiles.append(_on_tiles(parts, how, ceramic))
        rows += _whole_rows(parts, scan=scan, t=float(cycle.hours[scan]) if cycle.hours is not None else np.nan)
        found = [_factors(part, how, ceramic) for part in parts.values()]
        factors.append(xr.concat(found, dim="domain"))
        null.append(_synthetic(parts, how, ceramic, seed=task.parameters["seed"] + scan))
    beneath = _series(tiles, labels)
    both = _series(factors, labels).merge(_series(null, labels).rename({"domain": "synthetic_domain"}))
    rows += _transport_rows(beneath, both)
    write_dataset(task, "beneath.zarr", _plain(beneath, cycle))
    write_dataset(task, "factors.zarr", _plain(both, cycle))
    write_dataset(task, "flux.zarr", _flux_at_spot(task, labels, boundaries))
    write_table(task, "microstructure.parquet", quantity_table(rows))


def _porosity(
    task: Task, labels: xr.DataArray, boundaries: xr.DataArray, cycle: Cycle, how: Measure
) -> list[dict[str, Any]]:
    """Porosity of the ceramic by depth, in its bulk and beneath its interfaces, and as a map through its depth."""
    found = morphometry.electrolyte_porosity(
        labels,
        CERAMIC_CELL,
        boundaries=boundaries,
        bin_um=how.electrolyte_bin_um,
        interfacial_um=how.interface_um,
        tile_um=how.tile_um,
    )
    write_dataset(task, "electrolyte.zarr", _plain(found, cycle))
    through = morphometry.porosity_map(labels, CERAMIC_CELL, along="z", **IN_CERAMIC)
    write_image(task, "subsurface.zarr", through.astype(np.float32), labels=False)
    method = "voxel count; sigma from the scatter over tiles"
    bulk = found["bulk"].expand_dims(component=["bulk"]).transpose("t", "component")
    sigma = found["bulk_sigma"].expand_dims(component=["bulk"]).transpose("t", "component")
    rows = rows_from_array(bulk.assign_attrs(units="1"), quantity=POROSITY, sigma=sigma, method=method)
    beneath = found["interfacial"].transpose("t", "component").assign_attrs(units="1")
    return rows + rows_from_array(beneath, quantity=POROSITY, sigma=found["interfacial_sigma"], method=method)


def _part(solid: xr.DataArray, ends: xr.DataArray, side: str, how: Measure) -> xr.DataArray:
    """Conductivity, over that of dense ceramic, beneath one interface, whose voxels come first in every column."""
    low, high = (ends.sel(component=f"{end} interface", drop=True) for end in ELECTRODES)
    # Of a thin ceramic each electrode has its half.
    depth = min(how.interface_um, float((high - low).median()) / 2)
    return transport.beneath(solid, low if side == "low" else high, depth_um=depth, direction=_BENEATH[side])


def _on_tiles(parts: dict[str, xr.DataArray], how: Measure, ceramic: Ceramic) -> xr.Dataset:
    """Tortuosity factor, conductivity, porosity and stiffness normal to the electrode, tile by tile."""
    found = []
    for part in parts.values():
        tiles = transport.local_tortuosity(part, axis="z", tile_um=how.tile_um)
        tiles = tiles.rename(tortuosity_factor="tortuosity", effective_conductivity="conductivity")
        tiles["porosity"] = 1 - tiles["conducting_fraction"]
        tiles = tiles.drop_vars("conducting_fraction")
        if ceramic.stiffness:
            depth = part.sizes["z"] * spacing(part)["z"]
            factor = _factor(part, ceramic, tile_um=(depth, how.tile_um, how.tile_um))
            tiles["modulus"] = ceramic.youngs_modulus_gpa * factor["modulus"].sel(component="z", drop=True).isel(z=0)
        found.append(tiles.drop_vars("z", errors="ignore"))
    return xr.concat(found, dim=xr.DataArray(list(parts), dims="component", name="component"))


def _factors(part: xr.DataArray, how: Measure, ceramic: Ceramic) -> xr.Dataset:
    """Effective over dense conductivity and Young's modulus of cubes of the ceramic, along x, y and z."""
    return _flat(_factor(part, ceramic, tile_um=_cube(part, how)), "domain")


def _cube(part: xr.DataArray, how: Measure) -> tuple[float, float, float]:
    """Edges of a sub-domain, z first: a cube, or flatter where the ceramic that is looked at is."""
    depth = part.sizes["z"] * spacing(part)["z"]
    return min(how.tile_um, depth), how.tile_um, how.tile_um


def _factor(conductivity: xr.DataArray, ceramic: Ceramic, *, tile_um: float | tuple[float, float, float]) -> xr.Dataset:
    """Microstructure factors of the conductivity and, where asked for, of Young's modulus, which pores do not have."""
    modulus = (conductivity > 0).where(np.isfinite(conductivity)) * ceramic.youngs_modulus_gpa
    found = transport.microstructure_factor(
        conductivity,
        modulus if ceramic.stiffness else None,
        ceramic.poissons_ratio if ceramic.stiffness else None,
        tile_um=tile_um,
        reference=1.0,
        reference_modulus=ceramic.youngs_modulus_gpa if ceramic.stiffness else None,
    )
    named = {"youngs_modulus": "modulus"} if ceramic.stiffness else {}
    return found[["conductivity", *named]].rename(named)


def _flat(found: xr.Dataset, dim: str) -> xr.Dataset:
    """All sub-domains in a row."""
    stacked = found.stack({dim: ("z", "y", "x")})
    return stacked.drop_vars([dim, "z", "y", "x"]).transpose("component", dim)


def _synthetic(parts: dict[str, xr.DataArray], how: Measure, ceramic: Ceramic, *, seed: int) -> xr.Dataset:
    """The same of isotropic domains of the porosity and pore size that the ceramic beneath the interfaces has."""
    voxel = float(np.prod(list(spacing(next(iter(parts.values()))).values()))) ** (1 / 3)
    known = np.concatenate([part.values[np.isfinite(part.values)] for part in parts.values()])
    cube = _cube(next(iter(parts.values())), how)
    along = int(np.ceil(ceramic.synthetic_domains ** (1 / 3)))
    made = transport.synthetic_polycrystal(
        [along * max(2, round(edge / voxel)) for edge in cube],
        voxel_size_um=voxel,
        porosity=min(float((known == 0).mean()), 0.6),
        pore_size_um=max(_pore_size(parts, voxel), 2 * voxel),
        grain_size_um=max(ceramic.grain_size_um, 2 * voxel),
        boundary_um=voxel if ceramic.boundary_conductivity < 1 else 0.0,
        seed=seed,
    )
    values = {"pore": 0.0, "grain": 1.0, "boundary": ceramic.boundary_conductivity}
    conductivity = transport.property_map(made["labels"], values)
    flat = _flat(_factor(conductivity, ceramic, tile_um=cube), "domain")
    return flat.rename({name: f"synthetic_{name}" for name in flat.data_vars})


def _pore_size(parts: dict[str, xr.DataArray], voxel: float) -> float:
    """Mean diameter of the ball of a pore's volume."""
    import cc3d

    pores = [np.asarray(part.values == 0, dtype=np.uint8) for part in parts.values()]
    volumes = [np.bincount(cc3d.connected_components(one, connectivity=26).ravel())[1:] for one in pores]
    counts = np.concatenate(volumes)
    return float(np.mean(voxel * (6 * counts / np.pi) ** (1 / 3))) if counts.size else 0.0


def _series(found: list[xr.Dataset], labels: xr.DataArray) -> xr.Dataset:
    return xr.concat(found, dim=labels["t"], join="override", combine_attrs="override")


def _plain(found: xr.Dataset, cycle: Cycle) -> xr.Dataset:
    """A Dataset as Zarr takes it, its steps named."""
    made = {}
    for name, values in found.data_vars.items():
        made[str(name)] = plain(cycle.stepped(values) if "t" in values.dims else values)
    return xr.Dataset(made, attrs={key: value for key, value in found.attrs.items() if isinstance(value, (str, float))})


def _whole_rows(parts: dict[str, xr.DataArray], *, scan: int, t: float) -> list[dict[str, Any]]:
    """All of the ceramic beneath each interface as one, with the error of its voxels and the bound of its porosity."""
    rows: list[dict[str, Any]] = []
    for side, part in parts.items():
        found = transport.conduction(part.fillna(0.0), "z", tolerance=1e-3)
        rows += transport.conduction_rows(found, component=side, scan=scan, t=t)
        bound = {"quantity": "least tortuosity factor", "value": float(found["tortuosity_factor_least"]), "unit": "1"}
        rows.append({**bound, "component": side, "scan": scan, "t": t, "method": "Hashin-Shtrikman, isotropic"})
        change = {"quantity": "conductivity of voxels twice as large", "value": float(found["resolution_change"])}
        rows.append({**change, "component": side, "scan": scan, "t": t, "unit": "1", "method": "over this one, less 1"})
    return rows


def _transport_rows(beneath: xr.Dataset, factors: xr.Dataset) -> list[dict[str, Any]]:
    """Means over tiles and cubes, without sigma, as neighbors are alike; infinite tiles are counted, not averaged."""
    rows: list[dict[str, Any]] = []
    tau = beneath["tortuosity"].where(np.isfinite(beneath["tortuosity"]))
    rows += _mean_rows(tau, ("y", "x"), "tortuosity factor of tiles", "1", "mean of tiles that conduct")
    dead = (beneath["tortuosity"] == np.inf).astype(float).sum(("y", "x")).transpose("t", "component")
    rows += rows_from_array(dead.assign_attrs(units="1"), quantity="tiles that conduct nothing")
    for name in ("conductivity", "modulus"):
        for kind, dim in ((name, "domain"), (f"synthetic_{name}", "synthetic_domain")):
            if kind in factors:
                what = f"microstructure factor, {kind.replace('_', ' ')}"
                rows += _mean_rows(factors[kind], (dim,), what, "1", "mean of cubes over the dense value")
    return rows


def _mean_rows(
    values: xr.DataArray, dims: tuple[str, ...], quantity: str, unit: str, method: str
) -> list[dict[str, Any]]:
    n = values.count(dims).transpose("t", "component")
    mean = values.mean(dims).transpose("t", "component").assign_attrs(units=unit)
    return rows_from_array(mean, quantity=quantity, n=n, method=method)


def _flux_at_spot(task: Task, labels: xr.DataArray, boundaries: xr.DataArray) -> xr.Dataset:
    """Current through the ceramic around the strongest spot, from interface to interface."""
    spots, current = read_table(task.path("spots.parquet")), read_dataset(task.path("current.zarr"))
    if spots.empty:
        # Where nothing stands out, the place of the largest current is as good as any.
        last = abs(current["current_density"].isel(t=-1, component=0))
        at = last.where(np.isfinite(last), 0.0).argmax(("y", "x"))
        y, x = (float(last[dim][int(at[dim])]) for dim in ("y", "x"))
        scan, side, width = current.sizes["t"] - 1, "low", 0.0
    else:
        spot: Any = spots.iloc[int(spots["score"].abs().to_numpy().argmax())]
        y, x, width = float(spot["y_um"]), float(spot["x_um"]), float(spot["extent_x_um"])
        scan, side = int(spot["scan"]), str(spot["component"])
    # The scan before the step: the ceramic that the current met.
    around = {"y": slice(y - _AROUND_UM / 2, y + _AROUND_UM / 2), "x": slice(x - _AROUND_UM / 2, x + _AROUND_UM / 2)}
    ends = boundaries.isel(t=scan).sel(around)
    low, high = (float(ends.sel(component=f"{end} interface").median()) for end in ELECTRODES)
    region = labels.isel(t=scan).sel({**around, "z": slice(low, high)}).load()
    solid = (region == CERAMIC_CELL["electrolyte"]).astype(np.float32)
    # Lithium that reaches into the box has the potential of its electrode everywhere, so nearly no resistance.
    lithium = region.isin([CERAMIC_CELL["electrode"], CERAMIC_CELL["pore"]])
    field = transport.flux(solid.where(~lithium, _LITHIUM_CONDUCTIVITY), "z")["current_density"]
    width = max(width, 2 * spacing(region)["x"])
    marks = {"mark_low_um": x - width / 2, "mark_high_um": x + width / 2, "y_um": y, "scan": float(scan)}
    return xr.Dataset({"current": plain(field)}, attrs={**marks, "electrode": side})
