"""Decomposition of stacks: time beside NumPy and scikit-learn, and what clusters, counts and curve resolution find.

Time: principal components of a stack in memory (float32) by the covariance, one pass over blocks, and by a random
sketch, beside NumPy's thin singular value decomposition and scikit-learn's PCA, in one run; k-means beside mini-batch
k-means. Truth: `operando.samples.stxm_particle` without drift (as after alignment): adjusted Rand index of clusters
with and without normalization against the dominant phase, the number of components by two criteria, and how near curve
resolution comes to the spectrum of the phase without reference.

    python benchmarks/bench_decomposition.py
    python benchmarks/bench_decomposition.py --part truth --seeds 3000
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from operando import samples, spectral

KINDS = ("core-shell", "wavefront", "mosaic")


def seconds(function: Callable[[], Any], repeat: int = 2) -> tuple[float, Any]:
    best, result = np.inf, None
    for _ in range(repeat):
        begin = time.perf_counter()
        result = function()
        best = min(best, time.perf_counter() - begin)
    return best, result


def stack(edge: int, energies: int) -> xr.DataArray:
    random = np.random.default_rng(0)
    at = np.linspace(510, 540, energies)
    shapes = samples.stxm_references(energies=at).values.astype(np.float32)
    weight = random.random((4, edge * edge), dtype=np.float32) * np.float32(0.3)
    values = np.empty((energies, edge * edge), np.float32)
    for k in range(energies):
        values[k] = shapes[:, k] @ weight + random.normal(0, 0.02, edge * edge).astype(np.float32)
    return xr.DataArray(values.reshape(energies, edge, edge), dims=("energy", "y", "x"), coords={"energy": at})


def times(edge: int, energies: int) -> None:
    from sklearn.decomposition import PCA

    data = stack(edge, energies)
    rows = data.values.reshape(energies, -1).T
    read, _ = seconds(lambda: float(data.values.sum()))
    print(f"{edge} x {edge} pixels x {energies} energies, float32, {data.nbytes / 1e6:.0f} MB; read once: {read:.3f} s")
    ours, found = seconds(lambda: spectral.components(data, n=5))
    sketch, sketched = seconds(lambda: spectral.components(data, n=5, method="randomized"))
    peers: dict[str, Callable[[], Any]] = {
        "numpy.linalg.svd, float64": lambda: np.linalg.svd(rows.astype(np.float64), full_matrices=False)[1] ** 2,
        "sklearn PCA full, float32": lambda: PCA(5, svd_solver="full").fit_transform(rows),
        "sklearn PCA covariance, float32": lambda: PCA(5, svd_solver="covariance_eigh").fit_transform(rows),
        "sklearn PCA randomized, float32": lambda: PCA(5, svd_solver="randomized", random_state=0).fit_transform(rows),
    }
    tracemalloc.start()
    spectral.components(data, n=5)
    held = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    print(f"  components, covariance (float64)  {ours:7.2f} s  {held:.0f} MB beside the stack, of which scores 10")
    print(f"  components, randomized (float64)  {sketch:7.2f} s  {sketch / ours:5.1f} x")
    for name, function in peers.items():
        took, result = seconds(function, 1)
        print(f"  {name:33s} {took:7.2f} s  {took / ours:5.1f} x")
        if name.startswith("numpy"):
            exact = result[:5] / len(rows)
    for name, each in (("covariance", found), ("randomized", sketched)):
        off = np.abs(each["variance"].values[:4] / exact[:4] - 1).max()
        print(f"  variance of four components, {name} against numpy: {off:.1e} relative")
    for method in ("kmeans", "minibatch"):
        took, _ = seconds(lambda method=method: spectral.cluster(data, 5, method=method), 1)
        print(f"  cluster, {method:26s} {took:7.2f} s")


def truth(seeds: list[int]) -> None:
    from sklearn.metrics import adjusted_rand_score

    print("\nadjusted Rand index against the dominant phase (pixels that hold > 90 % of one phase), 5 clusters")
    print("  kind        seed  thickness     norm     none")
    everything: dict[str, list[float]] = {"thickness": [], "norm": [], "none": []}
    counts: list[list[int]] = []
    cosines: list[list[float]] = []
    for kind in KINDS:
        for seed in seeds:
            made = samples.stxm_particle(kind=kind, seed=seed, drift_px=0.0)
            found = spectral.normalize(made["counts"], made["i0"], i0_sigma=made["i0_sigma"], dark=made.attrs["dark"])
            density, sigma = found["optical_density"], found["optical_density_sigma"]
            weight = made["weight"].transpose("component", "y", "x").values
            total = weight.sum(axis=0)
            pure = (weight.max(axis=0) > 0.9 * total) & (total > 0.02)
            line = []
            for normalize in everything:
                label = spectral.cluster(density, 5, normalize=normalize)["label"].values
                used = pure & (label != 255)
                everything[normalize].append(adjusted_rand_score(weight.argmax(axis=0)[used], label[used]))
                line.append(everything[normalize][-1])
            print(f"  {kind:10s}  {seed}  {line[0]:9.3f} {line[1]:8.3f} {line[2]:8.3f}")
            linear = ~(made["boundary"] | made["thick"])
            counts.append(
                [
                    made.sizes["component"],
                    spectral.number_of_components(density, sigma=sigma, mask=linear),
                    spectral.number_of_components(density, sigma=sigma),
                    spectral.number_of_components(density, mask=linear),
                    spectral.number_of_components(density),
                ]
            )
            known = made["references"].isel(component=made["has_reference"].values)
            spectrum = made["references"].values[-1]
            row = [max(cosine(each, spectrum) for each in known.values)]
            for mask in (linear, None):
                solved = spectral.mcr_als(density, known, fixed="all", unknown=1, mask=mask)
                row += [cosine(solved["spectrum"].values[-1], spectrum), float(solved["purity"][-1])]
            cosines.append(row)
    print("  mean              " + " ".join(f"{np.mean(each):8.3f}" for each in everything.values()))
    table = np.array(counts)
    print(f"\nnumber of components, truth {table[0, 0]}, {len(table)} stacks: how many times each was found")
    for name, column in zip(
        ("with sigma, flagged pixels masked", "with sigma, all pixels", "indicator, masked", "indicator, all"),
        table[:, 1:].T,
        strict=True,
    ):
        values, times_found = np.unique(column, return_counts=True)
        print(f"  {name:34s} " + ", ".join(f"{v}: {n}" for v, n in zip(values, times_found, strict=True)))
    print(
        "\nspectrum of the phase without reference by curve resolution: 1 - cosine to the truth (median, worst), purity"
    )
    off = np.array(cosines)
    print(f"  nearest reference          {1 - off[0, 0]:.5f}")
    for name, at in (("flagged pixels masked", 1), ("all pixels", 3)):
        print(
            f"  {name:26s} {np.median(1 - off[:, at]):.5f}  {(1 - off[:, at]).max():.5f}   "
            f"{off[:, at + 1].min():.2f} to {off[:, at + 1].max():.2f}"
        )


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=["time", "truth"])
    parser.add_argument("--edge", type=int, default=512)
    parser.add_argument("--energies", type=int, default=100)
    parser.add_argument("--seeds", type=int, nargs="+", default=[3000, 3001, 3002, 3003])
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.part in (None, "time"):
        times(arguments.edge, arguments.energies)
    if arguments.part in (None, "truth"):
        truth(arguments.seeds)


if __name__ == "__main__":
    main()
