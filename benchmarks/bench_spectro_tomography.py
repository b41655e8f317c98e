"""Spectro-tomography in both orders on samples with truth: error, bias, time and memory by angles and dose, in one run.

    python benchmarks/bench_spectro_tomography.py [--seeds 3000 3001] [--angles 20 60] [--photons 1000 10000]
        [--energies 6]

Errors are in percent of the volume of a voxel, over all components, in the voxels of particles ("in") and in empty ones
("out"). Bias is the mean error, two voxels or more below the surface of a particle: of phases that hold more than half
of a voxel ("present") and of those that hold less than a hundredth ("absent"). x is the lithium content in voxels of
particles, a ratio of sums of which the lower is at least 10 %. "clipped" sets negative shares of a linear
reconstruction to zero at the end. Time is that of the fastest sample, memory the largest traced, all on one thread.
"""

from __future__ import annotations

import argparse
import os
import time
import tracemalloc
from functools import partial

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
KINDS = ("core-shell", "wavefront", "mosaic")
COLUMNS = ("rmse in", "rmse out", "bias present", "bias absent", "rmse x", "seconds", "MB")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[3000, 3001, 3002])
    parser.add_argument("--angles", type=int, nargs="+", default=[20, 60, 120])
    parser.add_argument("--photons", type=float, nargs="+", default=[1000.0, 10000.0], help="of 6 energies")
    parser.add_argument("--energies", type=int, default=6, help="more of them share the same dose")
    chosen = parser.parse_args()
    for name in THREADS:
        os.environ[name] = "1"

    import dask
    import numpy as np
    from scipy.ndimage import binary_erosion

    from operando import samples
    from operando.spectral import spectro_tomography
    from operando.tomography import reconstruct

    dask.config.set(scheduler="synchronous")

    def measured(weight, truth):
        true, found = truth.weight.values, weight.values
        inside = truth.particles.values > 0
        empty = ~(true.sum(axis=0) > 0)
        error = 100 * (found - true)
        deep = binary_erosion(inside, iterations=2)
        present, absent = (true > 0.5) & deep, (true < 0.01) & deep
        x = np.tensordot(truth.stoichiometry.values, found, axes=1)[inside]
        total = np.maximum(found.sum(axis=0)[inside], 0.1)
        return [
            np.sqrt(np.mean(error[:, inside] ** 2)),
            np.sqrt(np.mean(error[:, empty] ** 2)),
            error[present].mean(),
            error[absent].mean(),
            np.sqrt(np.mean((x / total - truth.lithiation.values[inside]) ** 2)),
        ]

    def run(density, sigma, truth, order, method, memory=False):
        maker = partial(reconstruct, rotation_axis=float(truth.rotation_axis), **method)
        fit = partial(spectro_tomography, density, truth.references, reconstruct=maker, order=order, sigma=sigma)
        start = time.perf_counter()
        made = fit()
        seconds = time.perf_counter() - start
        peak = 0.0
        if memory:
            tracemalloc.start()
            fit()
            peak = tracemalloc.get_traced_memory()[1] / 1e6
            tracemalloc.stop()
        return made.weight, [seconds, peak]

    methods = {
        "FBP ramp": {"method": "fbp", "filter": "ramp"},
        "FBP hann": {"method": "fbp", "filter": "hann"},
        "SIRT": {"method": "sirt"},
    }
    warm = samples.stxm_tomography((8, 24, 24), n_angles=8, n_particles=1)
    for method in methods.values():
        for order in ("unmix first", "reconstruct first"):
            run(warm.optical_density, None, warm, order, method)
    shape = (32, 48, 48)
    few = np.array([513.0, 515.25, 516.75, 518.5, 529.75, 531.75])
    every = samples.stxm_energies()
    places = np.linspace(0, every.size - 1, chosen.energies).round().astype(int)
    energies = few if chosen.energies == few.size else every[places]
    share = few.size / energies.size
    print(f"{shape} voxels, 3 phases, {energies.size} energies, seeds {chosen.seeds}, kinds in turn")
    for photons in chosen.photons:
        for angles in chosen.angles:
            rows = {}
            for number, seed in enumerate(chosen.seeds):
                kind = KINDS[number % len(KINDS)]
                words = {"n_angles": angles, "kind": kind, "seed": seed, "energies": energies}
                truth = samples.stxm_tomography(shape, **words, i0_counts=photons * share)
                net = (truth.projections - truth.attrs["dark"]).clip(min=1)
                density = np.log((truth.i0 - truth.attrs["dark"]) / net).transpose(*truth.projections.dims)
                sigma = np.sqrt(truth.projections.clip(min=1)) / net
                for name, method in methods.items():
                    for order in ("unmix first", "reconstruct first"):
                        weight, cost = run(density, sigma, truth, order, method, memory=number == 0)
                        rows.setdefault((name, order), []).append(measured(weight, truth) + cost)
                        if name != "SIRT" and order == "unmix first":
                            clipped = weight.clip(min=0)
                            rows.setdefault((name, "unmix first, clipped"), []).append(measured(clipped, truth) + cost)
            print(f"\n{photons:g} photons, {angles} angles\n" + " " * 33 + "".join(f"{c:>14s}" for c in COLUMNS))
            for (name, order), values in rows.items():
                mean = np.mean(values, axis=0)
                mean[-2:] = np.min(values, axis=0)[-2], np.max(values, axis=0)[-1]
                print(f"  {name:8s} {order:22s}" + "".join(f"{value:14.2f}" for value in mean))


if __name__ == "__main__":
    main()
