"""Features, growth rates and stages found in simulated images, against what was simulated.

Each seed is three experiments of 16 + 5 + 5 images of 256 x 256 pixels. Prints per feature the correlation with the
truth in all and within frames, bias, root mean square error and the share of errors within 1.96 of the stated sigma;
then stages and their velocities, and the time beside finding the interface alone.

    python benchmarks/bench_growth_features.py
    python benchmarks/bench_growth_features.py 3000 3001 3002
"""

from __future__ import annotations

import sys
import time

import numpy as np
import pandas as pd

from operando.dendrites import (
    STAGES,
    concentration,
    curvature,
    depletion_stage,
    find_interface,
    growth_features,
    growth_rate,
    height,
    slopes,
    stage_velocities,
    surface_concentration,
    surface_state,
)
from operando.samples import srs_experiments


def _within(values: np.ndarray) -> np.ndarray:
    known = np.isfinite(values).any(axis=-1, keepdims=True)
    return values - np.nanmean(np.where(known, values, 0.0), axis=-1, keepdims=True)


def _fields(data):
    """Name -> (found, its sigma, truth, where the line was seen)."""
    interface = find_interface(data["image"])
    salt = concentration(data["image"], interface)
    state = surface_state(salt, interface)
    tall = height(interface)
    rate = growth_rate(tall)
    steep, true = slopes(tall), slopes(data["height"])
    bent = curvature(tall)
    seen = ~interface["broken"].values
    both = seen & np.concatenate([seen[:1], seen[:-1]])
    rates = data["growth_rate"].shift(t=1).values
    yield "height", tall.values, tall["sigma"].values, data["height"].values, seen
    yield "height, broken", tall.values, tall["sigma"].values, data["height"].values, ~seen
    yield "growth rate", rate.values, rate["sigma"].values, rates, both
    yield "growth rate, broken", rate.values, rate["sigma"].values, rates, ~both
    for name in ("slope_up", "slope", "slope_down"):
        yield name, steep[name].values, steep[f"{name}_sigma"].values, true[name].values, seen
    yield "curvature", bent.values, bent["sigma"].values, data["curvature"].values, seen
    after = seen & (np.arange(len(seen)) > 0)[:, None]
    for name, truth in (
        ("concentration", "surface_concentration"),
        ("concentration_gradient", "concentration_gradient"),
    ):
        yield name, state[name].values, state[f"{name}_sigma"].values, data[truth].values, after
    stage = depletion_stage(surface_concentration(salt, interface)).values
    yield "stage", stage, None, data["stage"].values, None


def main(seeds: list[int]) -> None:
    """Print the tables."""
    parts: dict[str, list[tuple[np.ndarray, ...]]] = {}
    late, velocities, true_velocities, spent, alone = [], [], [], 0.0, 0.0
    for seed in seeds:
        experiments = srs_experiments(seed=seed)
        for data in experiments.values():
            for name, found, sigma, truth, where in _fields(data):
                if name == "stage":
                    late += [int((found < k).sum() - (truth < k).sum()) for k in (1, 2)]
                    continue
                values = (found, truth, found - truth, sigma, _within(found), _within(truth))
                parts.setdefault(name, []).append(tuple(array[where] for array in values))
            start = time.perf_counter()
            find_interface(data["image"])
            alone += time.perf_counter() - start
        start = time.perf_counter()
        table = growth_features(experiments)
        spent += time.perf_counter() - start
        velocities.append(stage_velocities(table).set_index("component")["value"])
        for name, data in experiments.items():
            mean = data["growth_rate"].values.mean(axis=1)[:-1]
            true_velocities += list(zip([name] * len(mean), data["stage"].values[:-1], mean, strict=True))
    rows = {}
    for name, arrays in parts.items():
        found, truth, error, sigma, near, near_truth = (np.concatenate(array) for array in zip(*arrays, strict=True))
        good = np.isfinite(error)
        pull = np.abs(error[good] / sigma[good])
        rows[name] = {
            "n": int(good.sum()),
            "R": np.corrcoef(found[good], truth[good])[0, 1],
            "R within": np.corrcoef(near[good], near_truth[good])[0, 1],
            "bias": error[good].mean(),
            "rms": np.sqrt((error[good] ** 2).mean()),
            "spread of truth": truth[good].std(),
            "median |pull|/0.6745": np.nanmedian(pull) / 0.6745,
            "in 1.96 sigma": np.nanmean(pull < 1.96),
        }
    print(f"seeds {seeds}")
    print(pd.DataFrame(rows).T.round(5).to_string())
    print(f"\nstage begins late by frames: {dict(sorted({k: late.count(k) for k in set(late)}.items()))}")
    found = pd.concat(velocities, axis=1)
    simulated = pd.DataFrame(true_velocities, columns=["experiment", "stage", "rate"]).groupby("stage")["rate"].mean()
    for number, stage in enumerate(STAGES):
        values = found.loc[stage].to_numpy()
        print(
            f"{stage:8s} um/min {np.nanmean(values):.4f} +- {np.nanstd(values):.4f} over seeds; simulated "
            f"{simulated.get(number, np.nan):.4f}"
        )
    print(
        f"\ngrowth_features over find_interface alone: {spent / alone:.2f} ({spent / len(seeds) / 26:.4f} s per image)"
    )


if __name__ == "__main__":
    main([int(seed) for seed in sys.argv[1:]] or [3000])
