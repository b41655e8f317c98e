"""What a random split reports, what honest splits report, and the known ceiling, on simulated SRS series.

Run: python benchmarks/bench_growth_study.py 500 504 [--epochs 250] [--models ...] [--hidden 0.5]

For each seed the three simulated experiments of the paper (16 + 5 + 5 images, 4,000 rows), every model by every split:
at random once, by frame four times (so that every frame is tested once), by experiment three times (each once).
Printed for all seeds together: R of training and test rows, R within frames, error, coverage of 95 % intervals; the
leak; what is won over the simple models, with the verdicts of the seeds; and the correlation that none exceeds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import pandas as pd

from operando import dendrites, samples

REPEATS = {"random": 1, "frame": 4, "experiment": 3}


def study(seed: int, options: argparse.Namespace) -> Iterator[tuple[str, pd.DataFrame]]:
    """Scores, predictions and ceiling of one seed, each with its seed."""
    experiments = samples.srs_experiments(seed=seed, hidden=options.hidden)
    table = dendrites.growth_features(experiments)
    for split, repeats in REPEATS.items():
        start = time.perf_counter()
        scores, predictions = dendrites.compare(
            table,
            models=options.models,
            splits=[split],
            repeats=repeats,
            gap=options.gap if split == "frame" else 0,
            max_epochs=options.epochs,
            workers=options.workers,
        )
        print(f"seed {seed}, {split}: {time.perf_counter() - start:.0f} s", flush=True)
        yield "scores", scores.assign(seed=seed)
        yield "advantage", advantage(predictions).assign(seed=seed)
        yield "stages", coverage_by_stage(predictions, table).assign(seed=seed)
    # Of one interface, from the error that the features state for a rate: two interfaces, one interval apart.
    minutes = experiments["set 1"].attrs["interval_min"]
    position_sigma = float(table["growth_rate_next_sigma"].median()) * minutes / 2**0.5
    ceiling = samples.srs_ceiling(experiments, position_sigma_um=position_sigma)
    yield "ceiling", ceiling.assign(seed=seed, position_sigma_um=position_sigma)
    yield "by stage", dendrites.correlation_by_stage(table).assign(seed=seed)


def advantage(predictions: pd.DataFrame) -> pd.DataFrame:
    """What every model wins over those of the simple ones that were asked for."""
    simple = [name for name in ("persistence", "stage mean", "linear") if name in set(predictions["model"])]
    return dendrites.advantage(predictions, over=simple) if simple else pd.DataFrame()


def coverage_by_stage(predictions: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Share of the test rows of each stage inside their interval, which nothing guarantees."""
    tested = predictions[predictions["part"] == "test"]
    inside = (tested["low"] <= tested["measured"]) & (tested["measured"] <= tested["high"])
    stage = table.loc[tested["sample"], "stage"].to_numpy()
    told = pd.DataFrame({"split": tested["split"], "model": tested["model"], "stage": stage, "inside": inside})
    return told.groupby(["split", "model", "stage"], observed=True, sort=False)["inside"].mean().reset_index()


def show(found: dict[str, pd.DataFrame]) -> None:
    columns = ["r_train", "r_test", "r_within", "rmse", "coverage", "width", "skill"]
    scores, stages = found["scores"], found["stages"]
    print(scores.groupby(["split", "model"], observed=True, sort=False)[columns].mean().round(3).to_string())
    print("\nLeak\n", dendrites.leak(scores).round(3).to_string(index=False))
    print("\nCoverage by stage")
    print(
        stages.pivot_table(index=["split", "model"], columns="stage", values="inside", sort=False).round(3).to_string()
    )
    print("\nCeiling of R")
    ceiling = found["ceiling"].groupby(["knowledge", "scope"], sort=False)
    print(ceiling[["r", "r_measured", "r_bound", "rmse", "position_sigma_um"]].mean().round(3).to_string())
    print("\nCorrelation of growth rate and concentration")
    print(found["by stage"].groupby("stage", sort=False)[["r", "r_within"]].mean().round(3).to_string())
    won = found["advantage"]
    keys = ["split", "model", "over", "score"]
    verdicts = won.groupby(keys, observed=True, sort=False)["verdict"].value_counts().rename("seeds").reset_index()
    counts = verdicts.pivot_table(
        index=keys, columns="verdict", values="seeds", fill_value=0, sort=False, observed=True
    )
    counts.insert(0, "difference", won.groupby(keys, observed=True, sort=False)["difference"].mean().round(3))
    print("\nWon over simple models: mean difference, and seeds by verdict\n", counts.to_string())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seeds", type=int, nargs="+", help="a seed, or the first and the last")
    parser.add_argument("--models", nargs="*", default=None)
    parser.add_argument("--epochs", type=int, default=250)
    parser.add_argument("--hidden", type=float, default=0.5, help="strength of the hidden field")
    parser.add_argument("--gap", type=int, default=0)
    parser.add_argument("--workers", type=int, default=None)
    options = parser.parse_args()
    parts: list[tuple[str, pd.DataFrame]] = []
    for seed in range(options.seeds[0], options.seeds[-1] + 1):
        parts += study(seed, options)
    show({kind: pd.concat([part for name, part in parts if name == kind]) for kind in dict(parts)})


if __name__ == "__main__":
    main()
