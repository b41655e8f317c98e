"""Is the true value inside the 95 % interval? Simulated cells that a network never saw, measured blind.

A network is trained on annotated cross-sections of some cells (or read with --model). Held-out annotated cells tell how
its errors go together (residual_correlation); then 20 other cells are segmented and measured, and every volume,
coverage and balance is compared with the truth. Printed per kind of row: how many intervals hold the truth, and how
wide they are, for

- probabilities: doubtful volume, correlation volume, common and scattering share, all measured on the held-out cells;
- assumed: the same model without any held-out annotation;
- surface: area times the measured shift of the interface, from labels alone;
- independent: voxels that err one by one with their own probability.

    python benchmarks/bench_ledger_coverage.py
    python benchmarks/bench_ledger_coverage.py --model runs/cell/model --table coverage.parquet
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando import electrochemistry, learn, morphometry, samples, segmentation
from operando.core.axes import voxel_volume
from operando.core.phases import CELL
from operando.core.quantities import interval, quantity_table, rows_from_array

SIDES = ["plating side", "stripping side"]
MODELS = ("probabilities", "assumed", "surface", "independent")


def annotated(labels: xr.DataArray, *, slices: int, seed: int) -> xr.DataArray:
    """Whole cross-sections zx and zy of every scan, one at random in each of ``slices`` equal parts."""
    rng = np.random.default_rng(seed)
    marks = None
    for axis in ("y", "x"):
        edges = np.linspace(0, labels.sizes[axis], slices + 1).astype(int)
        places = [int(rng.integers(low, high)) for low, high in pairwise(edges)]
        drawn = segmentation.label_slices(labels, scans=range(labels.sizes["t"]), slices=places, axis=axis)
        marks = drawn if marks is None else marks.where(marks != 255, drawn)
    assert marks is not None
    return marks.astype(np.uint8)


def joined(series: Sequence[xr.DataArray]) -> xr.DataArray:
    """Scans of several cells one after the other."""
    whole = xr.concat(series, dim="t", combine_attrs="override")
    return whole.assign_coords(t=np.arange(whole.sizes["t"], dtype=float))


def train(seeds: Sequence[int], *, steps: int, scans: int) -> segmentation.NetworkSegmenter:
    """A network of a few annotated cross-sections of some cells."""
    cells = [samples.symmetric_cell(scans=scans, seed=seed) for seed in seeds]
    images = joined([cell.image for cell in cells])
    marks = joined([annotated(cell.labels, slices=2, seed=seed) for cell, seed in zip(cells, seeds, strict=True)])
    print(f"training on {100 * float((marks != 255).mean()):.1f} % of the voxels of cells {list(seeds)}", flush=True)
    return segmentation.NetworkSegmenter(CELL, training=learn.TrainingSettings(steps=steps)).fit(images, marks)


def segmented(
    segmenter: segmentation.NetworkSegmenter, image: xr.DataArray, side: str
) -> tuple[xr.DataArray, xr.DataArray, xr.Dataset]:
    """Probabilities, cleaned labels and moments of a cell."""
    probability = segmenter.predict_probability(image)
    kept: list[xr.DataArray] = []
    moments = morphometry.probability_moments(probability, CELL, plating_side=side, write=kept.append)
    return probability, segmentation.clean(kept[0], CELL, plating_side=side)[0], moments


def held_out(
    segmenter: segmentation.NetworkSegmenter, seeds: Sequence[int], shape: Sequence[int], scans: int
) -> tuple[xr.Dataset, xr.Dataset]:
    """What annotated cells that were not trained on say about errors: of voxels, and of surfaces."""
    found: list[tuple[xr.DataArray, xr.DataArray, xr.DataArray]] = []
    for seed in seeds:
        cell = samples.symmetric_cell(shape, scans=scans, seed=seed)
        probability, labels, _ = segmented(segmenter, cell.image, cell.labels.attrs["plating_side"])
        found.append((probability, annotated(cell.labels, slices=2, seed=seed), labels))
    probability, marks, labels = (joined(list(part)) for part in zip(*found, strict=True))
    owners = np.repeat(list(seeds), scans).tolist()
    residuals = morphometry.residual_correlation(
        probability, marks, CELL, labels=labels, cells=owners, plating_side=cell.labels.attrs["plating_side"]
    )
    return residuals, morphometry.interface_error(labels, marks, CELL)


def rows(labels: xr.DataArray, charge: xr.DataArray, sigma: xr.Dataset | None) -> pd.DataFrame:
    """Ledger of a label image: volumes, coverages and the balance of every interval."""
    volume = morphometry.volumes(labels, CELL)
    sides = morphometry.lithium_by_side(labels, CELL)
    dead = morphometry.inactive_lithium(labels, CELL)
    every = xr.concat([volume, sides, dead.expand_dims(component=["inactive"], axis=-1)], dim="component")
    every = every.transpose("t", "component").assign_attrs(units="um3")
    own = None if sigma is None else sigma.sel(component=every.component).transpose("t", "component")
    table = rows_from_array(every, quantity="volume", sigma=None if own is None else own["volume"])
    cover = morphometry.coverage(labels, CELL)
    if own is None:
        table += rows_from_array(cover, quantity="coverage")
    elif "coverage" in own:
        table += rows_from_array(cover, quantity="coverage", sigma=own["coverage"].sel(component=cover.component))
    balance = electrochemistry.balance(
        sides,
        charge,
        inactive=dead,
        sigma=None if own is None else own["volume"],
        correlation=0.0 if own is None else own["correlation"].fillna(0.0),
    )
    kept = balance[(balance["quantity"] == "balance") & (balance["component"] != "faraday")]
    return pd.concat([quantity_table(table), kept], ignore_index=True)


def sigmas(
    labels: xr.DataArray, moments: xr.Dataset, residuals: xr.Dataset, interface: xr.Dataset
) -> dict[str, xr.Dataset]:
    """Uncertainties by the models that are compared."""
    told: dict[str, dict[str, Any]] = {
        "probabilities": {"moments": moments, "residuals": residuals, "interface": interface},
        "assumed": {"moments": moments},
        "surface": {"interface": interface},
    }
    found: dict[str, Any] = {
        name: morphometry.segmentation_sigma(labels, CELL, **given) for name, given in told.items()
    }
    single = (moments["doubt"] * voxel_volume(labels)) ** 0.5
    alone = single.reindex(component=found["surface"].component, fill_value=np.nan)
    found["independent"] = xr.Dataset({"volume": alone, "correlation": xr.zeros_like(alone)})
    return found


def summary(judged: pd.DataFrame) -> pd.DataFrame:
    """Rows inside and median half width in percent of the truth, by kind of row and model."""
    free = judged[(judged["sigma"] > 0) | (judged["value"] != judged["truth"])].dropna(subset=["sigma"])
    large = free["truth"].abs() > 1e-9
    free = free.assign(
        inside=100.0 * ((free["truth"] >= free["low"] - 1e-9) & (free["truth"] <= free["high"] + 1e-9)),
        half=(50 * (free["high"] - free["low"]) / free["truth"].abs()).where(large),
    )
    groups = free.groupby(["quantity", "component", "model"])
    table = groups.agg(inside=("inside", "mean"), half=("half", "median"), rows=("inside", "size")).reset_index()
    together = free.groupby(["quantity", "model"]).agg(inside=("inside", "mean")).reset_index()
    wide = table.pivot_table(index=["quantity", "component"], columns="model", values=["inside", "half", "rows"])
    print(wide.round(1).to_string())
    print("\n" + together.pivot_table(index="quantity", columns="model", values="inside").round(1).to_string())
    return free


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="folder of a saved network; default: train one")
    parser.add_argument("--train-seeds", type=int, nargs="+", default=[20, 21, 22, 23])
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--held-out-seeds", type=int, nargs="+", default=[27, 28, 29])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(130, 150)))
    parser.add_argument("--shape", type=int, nargs=3, default=[96, 96, 96])
    parser.add_argument("--scans", type=int, default=7)
    parser.add_argument("--table", type=Path, help="where to keep every row as Parquet")
    given = parser.parse_args()
    began = time.perf_counter()
    if given.model is None:
        segmenter = train(given.train_seeds, steps=given.steps, scans=given.scans)
    else:
        segmenter = segmentation.NetworkSegmenter.load(given.model)
    residuals, interface = held_out(segmenter, given.held_out_seeds, given.shape, given.scans)
    voxels = residuals["correlation_volume"] / 1.33**3
    print(
        f"held-out cells {given.held_out_seeds}\n{residuals.assign(voxels=voxels).to_dataframe().round(2).to_string()}"
    )
    print(f"ready after {time.perf_counter() - began:.0f} s", flush=True)
    tables = []
    for seed in given.seeds:
        cell = samples.symmetric_cell(given.shape, scans=given.scans, seed=seed)
        _, labels, moments = segmented(segmenter, cell.image, cell.labels.attrs["plating_side"])
        labels.attrs["plating_side"] = cell.labels.attrs["plating_side"]
        truth = rows(cell.labels, cell.charge_mah, None)
        key = ["scan", "component", "quantity"]
        for name, sigma in sigmas(labels, moments, residuals, interface).items():
            table = interval(rows(labels, cell.charge_mah, sigma))
            told = truth[[*key, "value"]].rename(columns={"value": "truth"})
            tables.append(table.merge(told, on=key).assign(model=name, seed=seed))
        print(f"seed {seed} after {time.perf_counter() - began:.0f} s", flush=True)
    judged = pd.concat(tables, ignore_index=True)
    if given.table is not None:
        judged.to_parquet(given.table)
    free = summary(judged)
    print("\nall rows, % inside; worst cell")
    for name in MODELS:
        own = free[free["model"] == name]
        worst = own.groupby("seed")["inside"].mean().min()
        print(f"{name}: {own['inside'].mean():.1f} % of {len(own)}; worst cell {worst:.1f} %")
    volume = free[(free["quantity"] == "volume") & free["component"].isin(list(CELL))]
    ratio = volume.pivot_table(index=["seed", "scan", "component"], columns="model", values="sigma")
    times = (ratio["probabilities"] / ratio["independent"]).groupby("component").median()
    print(f"\nsigma of a volume over that of independent voxels, median\n{times.round(1).to_string()}")


if __name__ == "__main__":
    main()
