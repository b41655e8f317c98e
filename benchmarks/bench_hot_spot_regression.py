"""Does the ceramic explain the current? ``spatial_regression`` on synthetic cells in which it does, and does not.

Each seed is a lithium | ceramic | lithium cell with a current that follows conduction through the ceramic by
``strength``, and has hot spots of its own (``heterogeneity``) at any strength, 0 among them. Response: the current of
both electrodes in one step of plating, on tiles of 36 um - the true one, and the one that the exact boundaries give by
Faraday's law, which takes pores for lithium. Predictors: tortuosity factor, porosity and (asked for, as it takes
longest) Young's modulus along z of the 100 um of ceramic beneath each interface.

    python benchmarks/bench_hot_spot_regression.py --seeds 3000 3004
    python benchmarks/bench_hot_spot_regression.py --seeds 200 300 --strengths 0 0.25 0.5 1
    python benchmarks/bench_hot_spot_regression.py --seeds 200 220 --strengths 0 1 --modulus
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd
import xarray as xr

from operando.core.phases import CERAMIC_CELL
from operando.morphometry import electrode_thickness, plating_current_density, spatial_regression
from operando.samples import ceramic_cell
from operando.transport import beneath, local_tortuosity, microstructure_factor

SHAPE = (96, 144, 144)
TILE_UM = 36.0
DEPTH_UM = 100.0
LEVEL = 0.05
YOUNGS_MODULUS_GPA, POISSONS_RATIO = 150.0, 0.26
"""Of dense LLZO."""


def cell(seed: int, strength: float) -> xr.Dataset:
    """Two scans without the faults of imaging, which only truth is taken from."""
    return ceramic_cell(SHAPE, steps=2, seed=seed, strength=strength, noise=0.0, rings=0.0, shading=0.0, drift=0.0)


def microstructure(scans: xr.Dataset, *, modulus: bool) -> dict[str, xr.DataArray]:
    """What lies beneath each interface of the pristine cell, (component, y, x)."""
    labels, heights = scans["labels"].isel(t=0), scans["boundaries_um"].isel(t=0)
    ceramic = (labels == CERAMIC_CELL["electrolyte"]).astype(np.uint8)
    found: dict[str, list[xr.DataArray]] = {}
    for side, direction in (("low", "up"), ("high", "down")):
        interface = heights.sel(boundary=f"{side} interface").drop_vars("boundary")
        cut = beneath(ceramic, interface, depth_um=DEPTH_UM, direction=direction)
        tiles = local_tortuosity(cut, tile_um=TILE_UM)
        found.setdefault("tortuosity factor", []).append(tiles["tortuosity_factor"])
        found.setdefault("porosity", []).append(1 - tiles["conducting_fraction"])
        if modulus:
            solid = cut.astype(np.float32)
            stiff = microstructure_factor(
                solid, solid * YOUNGS_MODULUS_GPA, POISSONS_RATIO, tile_um=(DEPTH_UM, TILE_UM, TILE_UM)
            )
            name = next(str(key) for key in stiff if "modulus" in str(key))
            found.setdefault("Young's modulus", []).append(stiff[name].sel(component="z").isel(z=0, drop=True))
    return {name: xr.concat(maps, pd.Index(["low", "high"], name="component")) for name, maps in found.items()}


def currents(scans: xr.Dataset) -> dict[str, xr.DataArray]:
    """Current density of the step on tiles, (component, y, x): as it was, and from the thickness."""
    boundaries = scans["boundaries_um"].rename(boundary="component")
    measured = plating_current_density(electrode_thickness(boundaries)).isel(t=0)
    size = round(TILE_UM / float(scans["x"].attrs["spacing"]))
    maps = {"true": scans["current_density"].isel(t=1), "thickness": measured}
    return {name: image.coarsen(y=size, x=size, boundary="trim").mean() for name, image in maps.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs=2, default=[3000, 3004], metavar=("FIRST", "END"))
    parser.add_argument("--strengths", type=float, nargs="*", default=[0.0, 1.0])
    parser.add_argument("--permutations", type=int, default=199)
    parser.add_argument("--modulus", action="store_true")
    options = parser.parse_args()
    seeds = range(*options.seeds)
    rows = []
    start = time.perf_counter()
    for seed in seeds:
        for strength in options.strengths:
            scans = cell(seed, strength)
            if strength == options.strengths[0]:
                predictors = microstructure(scans, modulus=options.modulus)
            for name, current in currents(scans).items():
                table = spatial_regression(current, predictors, permutations=options.permutations, seed=seed)
                value = table.set_index(["component", "quantity"])["value"]
                own = value.rename(index=lambda component: str(component).rpartition("~")[2], level=0)
                row = {"current": name, "strength": strength, "joint": own["all", "p-value"], "r2": own["all", "r2"]}
                for predictor in predictors:
                    row[f"{predictor}: alone"] = own[predictor, "pearson p-value"]
                    row[f"{predictor}: beside"] = own[predictor, "p-value"]
                    row[f"{predictor}: r"] = own[predictor, "pearson"]
                    row[f"{predictor}: inflation"] = own[predictor, "variance inflation"]
                rows.append(row)
    elapsed = (time.perf_counter() - start) / len(seeds)
    print(f"seeds {seeds.start} to {seeds.stop - 1}, {options.permutations} permutations, {elapsed:.1f} s per seed")
    print(f"share significant at {LEVEL}; one sigma of {LEVEL} is {np.sqrt(LEVEL * (1 - LEVEL) / len(seeds)):.3f}")
    print(pd.DataFrame(rows).groupby(["current", "strength"]).agg(summary).T.to_string())


def summary(values: pd.Series) -> float:
    """Share of p-values at or below the level, or the mean of what is no p-value."""
    name = str(values.name)
    is_p = name == "joint" or name.endswith(("alone", "beside"))
    return round(float((values <= LEVEL).mean() if is_p else values.mean()), 3)


if __name__ == "__main__":
    main()
