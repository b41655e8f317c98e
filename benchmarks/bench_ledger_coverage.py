"""Is the true value inside the 95 % interval? Cells that the network never saw, segmented and measured blind.

A network is trained on one simulated cell (--train-seed) and used, as a model from elsewhere, on cells of other seeds
through the recipe ``cell-ct``; with --own every cell trains its own on a few annotated slices. Printed: IoU beside
multi-Otsu, errors of volumes, and how many rows of the ledgers hold the truth in their interval.

    python benchmarks/bench_ledger_coverage.py
    python benchmarks/bench_ledger_coverage.py --own --seeds 10 11 12
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import pandas as pd
import yaml

from operando import io, segmentation
from operando.core.phases import CELL
from operando.pipeline import load
from operando.pipeline.demo import write_demo

COMPONENTS = ("electrode", "deposited", "dendrite", "pit", "redeposited")


def run_cell(folder: Path, seed: int, *, model: Path | None, scans: int) -> Path:
    """One cell through the recipe; with a model nothing of it is annotated."""
    path = write_demo(folder, scans=scans, seed=seed)
    recipe = yaml.safe_load(path.read_text())
    recipe["report"] = {"movie": False, "render": False}
    if model is not None:
        recipe["segment"] = {"model": str(model)}
    path.write_text(yaml.safe_dump(recipe))
    loaded = load(path)
    loaded.run()
    return loaded.folder


def otsu_macro(cell: Path) -> float:
    """Multi-Otsu with the best assignment of bins to phases that the whole truth allows."""
    image, truth = io.open_image(cell / "image.zarr"), io.open_image(cell / "truth.zarr")
    found = segmentation.Otsu(CELL).fit(image, truth).predict(image)
    return float(segmentation.agreement(found, truth, CELL).macro)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train-seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10, 20)))
    parser.add_argument("--scans", type=int, default=9)
    parser.add_argument("--own", action="store_true", help="train on annotations of every cell instead")
    parser.add_argument("--keep", type=Path, help="folder for the runs; default a temporary one")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = arguments.keep or Path(temporary)
        model = None
        if not arguments.own:
            began = time.perf_counter()
            model = run_cell(root / "trained", arguments.train_seed, model=None, scans=arguments.scans) / "model"
            print(f"trained on the cell of seed {arguments.train_seed} in {time.perf_counter() - began:.0f} s")
        tables = []
        for seed in arguments.seeds:
            folder = run_cell(root / f"seed{seed}", seed, model=model, scans=arguments.scans)
            table = pd.read_parquet(folder / "comparison.parquet").assign(seed=seed)
            tables.append(table)
            scores = json.loads((folder / "agreement.json").read_text())
            otsu = otsu_macro(folder.parent / "cell")
            line = [f"seed {seed}: macro IoU {scores['network']['macro']:.3f} (Otsu {otsu:.3f}); volume"]
            volume = table[(table["quantity"] == "volume") & (table["truth"] > 0)]
            for name in COMPONENTS:
                # Summed over the scans that hold any, so that a scan with next to nothing does not decide.
                rows = volume[volume["component"] == name]
                line.append(f"{name} {100 * (rows['value'].sum() / rows['truth'].sum() - 1):+.1f} %")
            judged = table["covered"].dropna()
            print(", ".join(line) + f"; {100 * judged.mean():.1f} % of {len(judged)} rows covered", flush=True)
        judged = pd.concat(tables).dropna(subset=["covered"])
        judged = judged.assign(
            covered=judged["covered"].astype(float) * 100,
            half=(196 * judged["sigma"] / judged["truth"].abs()).where(judged["truth"].abs() > 1e-6),
        )
        groups = judged.groupby(["quantity", "component"])
        summary = groups.agg(rows=("covered", "count"), covered=("covered", "mean"), half_width=("half", "median"))
        print("\nrows whose interval holds the truth, and the median half width of the intervals, in percent")
        print(summary.round(1).to_string())
        print(f"\nall: {judged['covered'].mean():.1f} % of {len(judged)} rows over {len(arguments.seeds)} cells")
        free = judged[(judged["sigma"] > 0) & (judged["component"] != "faraday")]
        print(f"without rows that cannot miss: {free['covered'].mean():.1f} % of {len(free)}")
        volume = pd.concat(tables).query("quantity == 'volume' and truth > 0")
        for name in COMPONENTS:
            rows = volume[volume["component"] == name]
            middle, high = (100 * (rows["value"] / rows["truth"] - 1)).abs().quantile([0.5, 0.9])
            print(f"{name}: error of single scans, median {middle:.1f} %, 90th percentile {high:.1f} %")


if __name__ == "__main__":
    main()
