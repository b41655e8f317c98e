"""How often unrelated maps are called related by ``morphometry.spatial_regression``, and how often related ones are.

Random maps of 10 x 10 and 14 x 14 tiles whose neighbors are alike: of Gaussian and exponential correlation, also
lognormal and drawn out along one axis. Where nothing is planted, a p-value that holds its level is at most 0.05 in
0.05 of the pairs; beside it stand a test for independent tiles and those of ``colocalize``. Where a slope is planted,
the share that is found, and the share of intervals that hold it.

    python benchmarks/bench_spatial_regression.py
    python benchmarks/bench_spatial_regression.py --pairs 100 --tiles 10
"""

from __future__ import annotations

import argparse
from functools import lru_cache

import numpy as np
import xarray as xr
from scipy import stats

from operando.morphometry import colocalize, spatial_regression

LEVEL = 0.05
PEERS = ("spatial p-value", "dutilleul p-value", "costes p-value")
# Kind of map, correlation length as a share of the edge, predictors, maps of the response, planted slope in standard
# deviations of the error, share of the pairs asked for.
SETTINGS = (
    ("Gaussian", 0.0, 1, 1, 0.0, 1.0),
    ("Gaussian", 0.1, 1, 1, 0.0, 1.0),
    ("Gaussian", 0.25, 1, 1, 0.0, 1.0),
    ("exponential", 0.25, 1, 1, 0.0, 1.0),
    ("lognormal", 0.15, 1, 1, 0.0, 1.0),
    ("exponential", 0.1, 3, 1, 0.0, 0.5),
    ("exponential", 0.25, 3, 1, 0.0, 0.5),
    ("Gaussian", 0.25, 3, 1, 0.0, 0.5),
    ("exponential", 0.25, 2, 3, 0.0, 0.5),
    ("Gaussian", 0.1, 1, 1, 0.3, 0.5),
    ("Gaussian", 0.25, 1, 1, 0.5, 0.5),
    ("exponential", 0.1, 3, 1, 0.5, 0.5),
    ("exponential", 0.25, 3, 1, 0.5, 0.5),
    ("anisotropic", 0.15, 1, 1, 0.0, 0.5),
    ("Gaussian", 0.4, 1, 1, 0.0, 0.5),
    ("Gaussian", 0.4, 3, 1, 0.0, 0.5),
)


@lru_cache(maxsize=4)
def root(size: int, kind: str, length: float) -> np.ndarray:
    places = np.argwhere(np.ones((size, size))).astype(float)
    if kind == "anisotropic":
        places *= (1.0, 0.5)
    distance = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1)) / max(length * size, 1e-3)
    correlation = np.exp(-distance if kind == "exponential" else -(distance**2))
    return np.asarray(np.linalg.cholesky(correlation + 1e-6 * np.eye(size * size)))


def maps(random: np.random.Generator, size: int, kind: str, length: float, count: int) -> np.ndarray:
    """Independent maps, (size * size, count)."""
    field = root(size, kind, length) @ random.standard_normal((size * size, count))
    return np.exp(0.7 * field) if kind == "lognormal" else field


def study(size: int, kind: str, length: float, number: int, scans: int, slope: float, pairs: int, draws: int) -> str:
    found: dict[str, list[float]] = {}

    def labeled(values: np.ndarray) -> xr.DataArray:
        shaped = values.T.reshape(*values.shape[1:], size, size)
        return xr.DataArray(shaped, dims=("t", "y", "x")[-shaped.ndim :])

    for pair in range(pairs):
        random = np.random.default_rng([size, int(1000 * length), number, scans, int(100 * slope), pair, len(kind)])
        x = maps(random, size, kind, length, number)
        # Predictors that share most of their variance, as tortuosity and porosity do.
        x[:, 1:] = 0.8 * x[:, :1] + 0.6 * x[:, 1:]
        x = (x - x.mean(axis=0)) / x.std(axis=0)
        # Scans that repeat each other in part, as those of one electrode do.
        y = maps(random, size, kind, length, scans)
        y[:, 1:] = 0.7 * y[:, :1] + 0.7 * y[:, 1:]
        y += slope * x[:, :1] + 10
        response = labeled(y) if scans > 1 else labeled(y[:, 0])
        predictors = {f"x{k}": labeled(x[:, k]) for k in range(number)}
        table = spatial_regression(response, predictors, permutations=draws, seed=pair)
        value = table.set_index(["component", "quantity"])["value"]
        own, joint = value["response~x0"], value["response~all"]
        r2, freedom = joint["r2"], y.size - scans - number
        low, high, truth = own["effect low"], own["effect high"], float((100 * slope / y.mean(axis=0)).mean())
        row = {
            "joint": joint["p-value"],
            "partial": own["p-value"],
            "alone": own["pearson p-value"],
            "samples": joint["effective samples"],
            "holds": np.nan if np.isnan(low) else float(low <= truth <= high),
            "naive": stats.f.sf(r2 / (1 - r2) * freedom / number, number, freedom),
        }
        if number == scans == 1 and slope == 0:
            peers = colocalize(response, predictors["x0"], shuffles=199, surrogates=199, seed=pair)
            row |= peers.set_index("quantity")["value"][list(PEERS)].to_dict()
        for name, p in row.items():
            found.setdefault(name, []).append(float(p))
    cells = [f"{size} x {size}", kind, f"{length:g}", f"{number}", f"{scans}", f"{slope:g}", f"{pairs}"]
    cells += [f"{np.mean(found['samples']):.0f}", f"{np.mean(np.isnan(found['joint'])):.3f}"]
    cells += [_share(found[name]) for name in ("joint", "partial", "alone")]
    holds = np.array(found["holds"])[np.isfinite(found["holds"])]
    cells.append(f"{holds.mean():.3f}" if holds.size > 0.1 * pairs else "")
    return " | ".join([*cells, *(_share(found.get(name, [])) for name in ("naive", *PEERS))])


def _share(p: list[float]) -> str:
    """Share of all pairs that were called related: those that were not decided were not."""
    if not p or np.isfinite(p).mean() < 0.1:
        return ""
    return f"{np.mean(np.array(p) <= LEVEL):.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--permutations", type=int, default=39)
    parser.add_argument("--tiles", type=int, nargs="*", default=[10, 14])
    options = parser.parse_args()
    print(f"share with p <= {LEVEL}; one sigma of {LEVEL} is {np.sqrt(LEVEL * (1 - LEVEL) / options.pairs):.4f}")
    names = "tiles, maps, length / edge, predictors, scans, slope, pairs, independent tiles, not decided, joint, "
    names += "one beside the others, one alone, interval holds, F test of tiles, random phases, Dutilleul, blocks"
    print(f"| {names.replace(', ', ' | ')} |")
    print("|" + "---|" * len(names.split(", ")))
    for *setting, share in SETTINGS:
        for size in options.tiles:
            print(
                f"| {study(size, *setting, max(2, round(share * options.pairs)), options.permutations)} |", flush=True
            )


if __name__ == "__main__":
    main()
