"""Tortuosity factor: time beside TauFactor and beside a plain sparse solver, and how time grows with the volume.

    python benchmarks/bench_tortuosity.py                          # scaling, 100^3 to 300^3, and peers at 128^3
    python benchmarks/bench_tortuosity.py --peer-size 256          # needs some minutes for the peer
    python benchmarks/bench_tortuosity.py --sizes 100 200 300 400

The volume is a random two-phase medium (filtered noise, 45 % conducting). All solvers have the same boundary
conditions. Accuracy is the same too: the truth is a solution to 1e-8 in 64 bits (up to 256^3; in 32 bits to 1e-6
beyond); ours is asked for 1e-3 and must hold it by itself; TauFactor is stepped until its factor first comes and then
stays within 1e-3 of the truth, which it could not know, so that its time is a lower limit. TauFactor and PoreSpy take
part where they can be imported.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import resource
import time
from typing import Any

import numpy as np

from operando.transport import tortuosity_factor
from operando.transport.potential import solve_potential

TOLERANCE = 1e-3


def medium(size: int, *, fraction: float = 0.45, wavelength: float = 16.0, seed: int = 3000) -> np.ndarray:
    """Filtered noise, cut so that a fraction conducts."""
    from scipy import fft

    noise = np.random.default_rng(seed).standard_normal((size,) * 3, dtype=np.float32)
    spectrum = fft.rfftn(noise, workers=-1)
    along, last = fft.fftfreq(size), fft.rfftfreq(size)
    for axis, frequency in enumerate((along, along, last)):
        shape = [1, 1, 1]
        shape[axis] = -1
        spectrum *= np.exp(-((frequency * wavelength / 2) ** 2) * 2).reshape(shape).astype(np.float32)
    field = fft.irfftn(spectrum, s=(size,) * 3, workers=-1)
    return field < np.quantile(field[::2, ::2, ::2], fraction)


def timed(function: Any) -> tuple[Any, float]:
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start


def taufactor_time(volume: np.ndarray, truth: float, limit: float) -> tuple[float, float, int] | None:
    """Seconds until TauFactor is within the tolerance of the truth, its factor, and its iterations."""
    try:
        import taufactor
        import torch
    except Exception as error:  # a peer that is not there, or whose own imports fail, is only reported
        print(f"TauFactor takes no part: {type(error).__name__}: {error}")
        return None
    with torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):
        start = time.perf_counter()
        solver = taufactor.Solver(volume.astype(np.uint8), device="cpu")
        within, factor = None, float("nan")
        while time.perf_counter() - start < limit:
            # The loop of its `solve`, with the truth in place of its criterion.
            solver.apply_boundary_conditions()
            increment = solver.sum_weighted_neighbours()
            increment /= solver.factor
            increment -= solver.field[:, 1:-1, 1:-1, 1:-1]
            increment *= solver.cb[solver.iter % 2]
            solver.field[:, 1:-1, 1:-1, 1:-1] += increment
            solver.iter += 1
            if solver.iter % 20 == 0:
                factor = float(solver.compute_metrics()[0][0])
                if abs(factor / truth - 1) >= TOLERANCE:
                    within = None
                elif within is None:
                    within = (time.perf_counter() - start, factor, solver.iter)
                elif solver.iter >= within[2] + 100:
                    return within
    print(f"TauFactor did not come within {TOLERANCE} in {limit:g} s ({solver.iter} iterations, {factor:.4f})")
    return None


def sparse_time(volume: np.ndarray, truth: float) -> tuple[float, float]:
    """Assembling the same equations and solving them by SciPy's conjugate gradients with the diagonal."""
    from scipy import sparse
    from scipy.sparse.linalg import cg

    start = time.perf_counter()
    number = np.full(volume.shape, -1)
    number[volume] = np.arange(np.count_nonzero(volume))
    size = int(number.max()) + 1
    rows, columns = [], []
    for axis in range(3):
        a = np.moveaxis(number, axis, 0)
        joined = (a[:-1] >= 0) & (a[1:] >= 0)
        rows += [a[:-1][joined], a[1:][joined]]
        columns += [a[1:][joined], a[:-1][joined]]
    i, j = np.concatenate(rows), np.concatenate(columns)
    links = sparse.csr_matrix((np.ones(i.size), (i, j)), shape=(size, size))
    held = np.zeros(size)
    held[number[0][volume[0]]] = 2
    diagonal = np.asarray(links.sum(1)).ravel() + held
    np.add.at(diagonal, number[-1][volume[-1]], 2)
    matrix = sparse.diags(diagonal) - links
    inverse = sparse.diags(1 / np.where(diagonal > 0, diagonal, 1))
    taken, factor, within = 0.0, np.nan, np.inf
    u = np.zeros(size)
    while within >= TOLERANCE and time.perf_counter() - start < 300:
        u, _ = cg(matrix, held, x0=u, M=inverse, maxiter=50, rtol=1e-14)
        current = float(held @ (1 - u))
        factor = volume.mean() * volume.shape[0] ** -1 * volume.shape[1] * volume.shape[2] / current
        within = abs(factor / truth - 1)
        taken = time.perf_counter() - start
    return taken, factor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=[100, 200, 300])
    parser.add_argument("--peer-size", type=int, default=128, help="0: no peer")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds a peer may take")
    parser.add_argument("--electrode", help="a TIFF of labels, 0 the pore, instead of the random medium for the peers")
    options = parser.parse_args()
    tortuosity_factor(medium(16), 0)  # compiles
    solve_potential(medium(16), 0, tolerance=1e-4, dtype="float64")
    print(f"{len(os.sched_getaffinity(0))} cores; threads: {os.environ.get('NUMBA_NUM_THREADS', 'all')}")
    if options.sizes:
        print("| voxels | seconds | per million voxels | iterations | solver bytes per voxel | process at most, GiB |")
        print("|---|---|---|---|---|---|")
    for size in options.sizes:
        volume = medium(size)
        solved, seconds = timed(lambda volume=volume: solve_potential(volume, 0, tolerance=TOLERANCE, dtype="float32"))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(
            f"| {size}^3 | {seconds:.2f} | {seconds / size**3 * 1e6:.3f} | {solved.iterations} | "
            f"{solved.bytes_per_voxel:.1f} | {peak:.1f} |",
            flush=True,
        )
        del volume, solved
    if not options.peer_size:
        return
    if options.electrode:
        import tifffile

        volume = tifffile.imread(options.electrode) == 0
        volume = volume[: options.peer_size, : options.peer_size, : options.peer_size]
    else:
        volume = medium(options.peer_size)
    truth = tortuosity_factor(volume, 0, tolerance=1e-8, dtype="float64")
    ours, seconds = timed(lambda: tortuosity_factor(volume, 0, tolerance=TOLERANCE))
    print(f"truth {truth:.6f}; ours {ours:.6f} ({ours / truth - 1:+.1e}) in {seconds:.2f} s")
    found = taufactor_time(volume, truth, options.limit)
    if found:
        print(
            f"TauFactor {found[1]:.6f} ({found[1] / truth - 1:+.1e}) in {found[0]:.1f} s, {found[2]} iterations; "
            f"ratio {found[0] / seconds:.0f} (limit: at least 5)"
        )
    try:
        import porespy

        other, taken = timed(lambda: porespy.simulations.tortuosity_fd(volume, axis=0).tortuosity)
        print(f"PoreSpy {other:.6f} (potential held at voxel centers) in {taken:.1f} s; ratio {taken / seconds:.0f}")
    except Exception as error:  # as above
        print(f"PoreSpy takes no part: {type(error).__name__}: {error}")
    if options.peer_size <= 160:
        taken, other = sparse_time(volume, truth)
        print(f"SciPy, diagonal: {other:.6f} ({other / truth - 1:+.1e}) in {taken:.1f} s; ratio {taken / seconds:.0f}")


if __name__ == "__main__":
    main()
