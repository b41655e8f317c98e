"""How much data a forecast of the local growth rate needs: a learning curve over simulated SRS experiments.

Run: python benchmarks/bench_growth_data.py [--train 3100 3115] [--test 3128 3132] [--draws 2] [--only paper curve]

A seed is a set like the paper's: three experiments, 16 + 5 + 5 images. First the paper's amount of data: within each
test set, split by frame (every frame tested once) and by experiment (each tested once). Then the curve: models trained
on 1, 2, 4, 8 sets, tested on all experiments of the test sets, none of which was trained on. Printed with bootstrap
intervals over the test frames, what is won over the simple models, and the correlation that none exceeds. The network
of the paper is trained on every fourth point, for 60 epochs; all others on all points.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from operando import dendrites, samples

TARGET = "growth_rate_next"
SIMPLE = ["persistence", "stage mean", "linear"]
MODELS = [
    *SIMPLE,
    "gradient boosting",
    "Bayesian network",
    "linear within frames",
    "linear pattern",
    "network pattern",
]
PAPER = [*SIMPLE, "linear within frames", "linear pattern", "network pattern"]
SIZES = (1, 2, 4, 8)


def simulate(first: int, last: int) -> tuple[dict[int, pd.DataFrame], pd.DataFrame]:
    """Feature table of each seed, and the ceilings."""
    tables, ceilings = {}, []
    for seed in range(first, last + 1):
        experiments = samples.srs_experiments(seed=seed)
        table = dendrites.growth_features(experiments)
        known = np.isfinite(table[[*dendrites.feature_names(), TARGET]].to_numpy(float)).all(axis=1)
        minutes = experiments["set 1"].attrs["interval_min"]
        sigma = float(table[f"{TARGET}_sigma"].median()) * minutes / 2**0.5
        ceilings.append(samples.srs_ceiling(experiments, position_sigma_um=sigma))
        tables[seed] = table[known].assign(experiment=f"{seed} " + table["experiment"])
    return tables, pd.concat(ceilings)


def paper(tables: dict[int, pd.DataFrame]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores and advantages by frame and by experiment with one set at a time."""
    scores, won = [], []
    for table in tables.values():
        for split, repeats in (("frame", 4), ("experiment", 3)):
            found, predictions = dendrites.compare(table, models=PAPER, splits=[split], repeats=repeats)
            scores.append(found)
            won.append(dendrites.advantage(predictions, over=["persistence", "linear"], scores=["r_within"]))
    return pd.concat(scores), pd.concat(won)


def curve(train: dict[int, pd.DataFrame], test: pd.DataFrame, draws: int) -> Iterator[pd.DataFrame]:
    """Predictions of the test rows by every model, size of the training data and draw of it."""
    sets = list(train.values())
    for size in SIZES:
        for draw in range(min(draws, len(sets) // size)):
            rows = pd.concat(sets[draw * size : (draw + 1) * size], ignore_index=True)
            for name in MODELS:
                start = time.perf_counter()
                every, epochs = (4, 60) if name == "Bayesian network" else (1, 250)
                seen = rows.iloc[::every]
                with threadpool_limits(2 if name == "Bayesian network" else 1):
                    model = dendrites.rival(name, max_epochs=epochs, random_state=draw).fit(seen, seen[TARGET])
                yield pd.DataFrame(
                    {
                        "split": 3 * size,
                        "model": name,
                        "repeat": draw,
                        "experiment": test["experiment"],
                        "frame": test["frame"],
                        "measured": test[TARGET],
                        "predicted": model.predict(test),
                        "part": "test",
                        "seconds": time.perf_counter() - start,
                    }
                )


def independent_rows(train: dict[int, pd.DataFrame]) -> float:
    """Rows per independent row: the integral of the correlation along a frame of what the linear pattern leaves."""
    sums = np.zeros(100)
    for table in train.values():
        left = table[TARGET] - dendrites.rival("linear pattern").fit(table, table[TARGET]).predict(table)
        for _, one in left.groupby(dendrites.frame_numbers(table)):
            values = one.to_numpy() - one.mean()
            sums += [float(np.sum(values[lag:] * values[: values.size - lag])) for lag in range(sums.size)]
    correlation = sums / sums[0]
    ends = int(np.argmax(correlation < 0)) if (correlation < 0).any() else correlation.size
    return 1 + 2 * float(correlation[1:ends].sum())


def show_advantages(won: pd.DataFrame) -> None:
    """Mean difference, and how many sets say better, worse or undecided."""
    keys = ["split", "model", "over"]
    won = won[~won["model"].isin(SIMPLE)].astype({"verdict": str}).assign(sets=1)
    counts = won.pivot_table("sets", keys, "verdict", "sum", 0, sort=False, observed=True)
    counts.insert(0, "difference", won.groupby(keys, observed=True, sort=False)["difference"].mean().round(3))
    print(counts.to_string())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=int, nargs=2, default=(3100, 3115), help="first and last seed")
    parser.add_argument("--test", type=int, nargs=2, default=(3128, 3132), help="first and last seed")
    parser.add_argument("--draws", type=int, default=2, help="training sets per size, disjoint")
    parser.add_argument("--only", nargs="+", choices=("paper", "curve"), default=("paper", "curve"))
    options = parser.parse_args()
    tested, ceiling = simulate(*options.test)
    print("Ceiling of R, test sets")
    columns = ["r", "r_measured", "r_bound", "rmse"]
    print(ceiling.groupby(["knowledge", "scope"], sort=False)[columns].mean().round(3).to_string())
    if "paper" in options.only:
        scores, won = paper(tested)
        columns = ["r_test", "r_within", "rmse", "coverage", "width"]
        print(f"\nOne set at a time, means of {len(tested)}")
        print(scores.groupby(["split", "model"], observed=True, sort=False)[columns].mean().round(3).to_string())
        print("\nR within frames: mean difference, and sets by verdict")
        show_advantages(won)
    if "curve" in options.only:
        trained, _ = simulate(*options.train)
        print(f"\nRows per independent row: {independent_rows(trained):.0f}")
        parts = list(curve(trained, pd.concat(tested.values(), ignore_index=True), options.draws))
        seconds = pd.concat([part.iloc[:1] for part in parts])
        predictions = pd.concat(parts, ignore_index=True)
        found = dendrites.score_intervals(predictions, resamples=1000)
        found["told"] = [f"{v:.3f} ({low:.3f}, {high:.3f})" for v, low, high in found[["value", "low", "high"]].values]
        for name in ("r", "r_within", "rmse"):
            print(f"\n{name} of the test frames by number of training experiments")
            print(found[found["score"] == name].pivot_table("told", "model", "split", "first", sort=False).to_string())
        print("\nR within frames: difference to simple models and linear pattern, by number of training experiments")
        won = dendrites.advantage(predictions, over=["persistence", "linear", "linear pattern"], scores=["r_within"])
        won["told"] = won["difference"].round(3).astype(str) + " " + won["verdict"].astype(str)
        print(won.pivot_table("told", ["model", "over"], "split", "first", sort=False).to_string())
        print("\nSeconds of a training and forecast, mean")
        print(seconds.pivot_table("seconds", "model", "split", sort=False).round(2).to_string())


if __name__ == "__main__":
    main()
