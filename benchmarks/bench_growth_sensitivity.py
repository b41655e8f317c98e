"""Do sensitivities name what drives the growth? Eq. 3, and what goes beyond, on simulated experiments of a known law.

Per seed: the paper's three experiments, their feature table, and the derivatives of the best forecaster
(``srs_sensitivities``). Each method ranks the 14 features. Printed, as mean over seeds with an interval:

- the rank correlation (Spearman) with the truth;
- the share of pairs ordered rightly, of those pairs whose true sensitivities differ by at least a factor of two;
- how many of the three features that truly matter most are among the method's first three.

Chance gives 0, 0.5 and 0.64 of 3. The peer is the plain correlation of each feature with the next growth rate.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from operando import dendrites
from operando.dendrites import feature_names
from operando.samples import srs_experiments, srs_sensitivities

NAMES = feature_names()
STAGES = ("none", "partial", "full")


def study(
    seed: int, runs: int, hidden: float, many: int, workers: int | None
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Values of each method per feature; Eq. 3 by stage; remarks."""
    experiments = {
        f"{seed + 10_000 * k} {name}": made
        for k in range(many)
        for name, made in srs_experiments(seed=seed + 10_000 * k, hidden=hidden).items()
    }
    table = dendrites.growth_features(experiments, points=200 if many == 1 else 50)
    x, y, frames = table[NAMES], table["growth_rate_next"], dendrites.frame_numbers(table)
    truth = srs_sensitivities(experiments, limits=table)
    values = {"truth": truth.query("stage == 'all'").set_index("feature")["sensitivity"]}
    values["correlation (peer)"] = x.corrwith(y).abs()
    stages = {"truth": truth.set_index(["stage", "feature"])["sensitivity"]}
    remarks = []
    limits = (x.min().to_numpy(), x.max().to_numpy())
    for split in ("random", "frame"):
        parts = [dendrites.split_rows(table, split, repeat=run) for run in range(8 * runs)]
        for shape, epochs, count in (((4,), 100, 8 * runs), ((16, 16), 250, runs)):
            started = time.perf_counter()
            networks = dendrites.train_networks(
                [(x.iloc[train], y.iloc[train], run) for run, (train, _) in enumerate(parts[:count])],
                hidden=shape,
                max_epochs=epochs,
                workers=workers,
            )
            name = f"Eq. 3, {list(shape)}, {split}"
            each = [by_stage(dendrites.sensitivity(one, x, limits=limits), table) for one in networks]
            joint = by_stage(dendrites.sensitivity(networks, x, limits=limits), table)
            for title, mean in (
                (f"{name}, {count} trainings", pd.concat(each, axis=1).mean(axis=1)),
                (f"{name}, mean of {count} networks", joint),
            ):
                values[title], stages[title] = mean["all"], mean
            r = [
                dendrites.correlation(y.iloc[test], one.predict(x.iloc[test]))
                for one, (_, test) in zip(networks, parts, strict=False)
            ]
            remarks.append(f"{name}: R test {np.mean(r):.2f}, {time.perf_counter() - started:.0f} s")
    network = dendrites.BayesianNetwork(hidden=(16, 16), max_epochs=250).fit(x, y)
    box = dendrites.sobol(network, x, frames=frames)
    values["Sobol total, [16, 16]"] = pick(box, "Sobol", "total")
    values["Morris, [16, 16]"] = pick(dendrites.morris(network, x), "Morris", "mu_star")
    grouped = dendrites.grouped_sobol(network, x, frames=frames)
    difference = (dendrites.sensitivity(network, x) - dendrites.sensitivity(network, x, exact=True)).abs().max().max()
    remarks.append(f"Eq. 3 against the exact derivative: largest difference {difference:.1g} um min-1")
    remarks.append(f"outside: Sobol {box.attrs['outside_share']:.3f}, grouped {grouped.attrs['outside_share']:.3f}")
    held = dendrites.held_out_importance(table, workers=workers)
    for method in held["method"].unique():
        if not method.startswith("grouped"):
            values[f"held out, {method}"] = pick(held, method, "rmse")
    remarks.append(f"held out, [4]: R2 {held.attrs['r2']:.2f}, within frames {held.attrs['r2_within']:.2f}")
    shapley = dendrites.shapley_importance(table, workers=workers)
    share = pick(shapley, "Shapley", "r2_within").round(2).to_dict()
    remarks.append(f"Shapley shares of R2 within frames: {share}")
    first = pick(grouped, "grouped Sobol", "total").round(2).to_dict()
    remarks.append(f"grouped Sobol, total: {first}")
    groups = held[held["method"].str.startswith("grouped") & (held["index"] == "r2_within")]
    remarks += [
        f"  {row.method}, {row.feature}: loss of R2 within frames {row.value:.2f} [{row.low:.2f}, {row.high:.2f}]"
        for row in groups.itertuples()
    ]
    return pd.DataFrame(values).loc[NAMES], pd.DataFrame(stages), remarks


def by_stage(s: pd.DataFrame, table: pd.DataFrame) -> pd.Series:
    """Mean sensitivity by stage and feature."""
    return dendrites.sensitivity_summary(s, table["stage"]).set_index(["stage", "feature"])["mean"]


def pick(table: pd.DataFrame, method: str, index: str) -> pd.Series:
    """One number per feature."""
    return table[(table["method"] == method) & (table["index"] == index)].set_index("feature")["value"]


def agreement(values: pd.DataFrame) -> pd.DataFrame:
    """How each method's ranking agrees with the truth."""
    truth = values["truth"].to_numpy()
    above = (truth[:, None] >= 2 * truth) & (truth[:, None] > 0)
    best = set(np.argsort(-truth)[:3])
    rows = []
    for method in values.columns.drop("truth"):
        found = values[method].to_numpy()
        right = (found[:, None] > found)[above]
        first = set(np.argsort(-found)[:3])
        rows.append(
            {
                "method": method,
                "spearman": spearmanr(found, truth).statistic,
                "pairs": right.mean(),
                "of first 3": len(best & first),
            }
        )
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seeds", type=int, nargs="*", default=[3000, 3001])
    parser.add_argument(
        "--runs",
        type=int,
        default=2,
        help="trainings of [16, 16], and of [4] eight times as many",
    )
    parser.add_argument("--hidden", type=float, default=0.5, help="strength of the hidden field")
    parser.add_argument("--many", type=int, default=1, help="times three experiments, for what more data would tell")
    parser.add_argument("--workers", type=int, help="threads; default one per core")
    parser.add_argument("--save", type=Path, help="folder for the tables")
    chosen = parser.parse_args()
    agreements, all_values, all_stages = [], [], []
    for seed in chosen.seeds:
        values, stages, remarks = study(seed, chosen.runs, chosen.hidden, chosen.many, chosen.workers)
        print(f"\nseed {seed}", *remarks, sep="\n  ", flush=True)
        print(values.round(3).T.to_string(), flush=True)
        agreements.append(agreement(values).assign(seed=seed))
        all_values.append(values.assign(seed=seed))
        all_stages.append(stages.assign(seed=seed))
        if chosen.save:
            chosen.save.mkdir(parents=True, exist_ok=True)
            values.to_csv(chosen.save / f"values-{seed}.csv")
            stages.to_csv(chosen.save / f"stages-{seed}.csv")
    found = pd.concat(agreements).drop(columns="seed").groupby("method", sort=False)
    count = len(chosen.seeds)
    print(f"\nAgreement with the truth, {count} seeds: mean +- 1.96 standard errors")
    error = 1.96 * found.std() / np.sqrt(count)
    print((found.mean().map("{:.2f}".format) + " +- " + error.map("{:.2f}".format)).to_string())
    s4 = pd.concat(all_stages).drop(columns="seed").xs("concentration", level="feature").groupby(level="stage").mean()
    print("\nSensitivity to the concentration at t_i by stage, um min-1, mean over seeds")
    print(s4.reindex([*STAGES, "all"]).T.round(2).to_string())


if __name__ == "__main__":
    main()
