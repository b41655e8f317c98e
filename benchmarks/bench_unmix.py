"""Unmixing 1024 x 1024 pixels, 100 energies, 5 references: operando beside SciPy, scikit-learn and MANTiS.

python benchmarks/bench_unmix.py [--pixels 1024] [--sample 20000]

All on the same synthetic stack (float32, made in blocks) in one run. SciPy and scikit-learn loop over pixels: they are
timed on a sample of pixels, and the time scaled to the whole. MANTiS (GPL) runs in an environment of its own, if
MANTIS_PYTHON names its interpreter (pip install mantis-xray); its fit of target spectra is an unconstrained
pseudo-inverse, on a stack that has been turned to float32 rows of pixels before. The limits: 30 times faster than the
loop over SciPy's NNLS and equal to 1e-8, and within 3 times the reading of the stack. Memory is that of a fresh process
which unmixes the stack from disk.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import xarray as xr

from operando.spectral import PoissonNoise, unmix

ENERGIES, REFERENCES, NOISE = 100, 5, 0.03

MANTIS = """
import sys, time, types
import numpy as np
from mantis_xray.analysis.analyze import analyze
stack = np.load(sys.argv[1], mmap_mode="r")
spectra = np.load(sys.argv[2])
rows = np.ascontiguousarray(stack.reshape(len(stack), -1).T)
data = types.SimpleNamespace(od=rows, n_cols=stack.shape[1], n_rows=stack.shape[2], n_ev=len(stack))
fit = analyze(data)
fit.stack, fit.target_spectra, fit.n_target_spectra = data, spectra, len(spectra)
start = time.perf_counter()
fit.calc_svd_maps()
print(time.perf_counter() - start, (np.asarray(fit.target_svd_maps) < 0).mean())
"""


def references() -> xr.DataArray:
    energies = np.linspace(510.0, 540.0, ENERGIES)
    centers, widths = np.array([515.0, 516.5, 518.0, 519.0, 521.0]), np.array([1.5, 2.0, 2.0, 2.5, 3.0])
    apart = energies - centers[:, None]
    values = (
        np.exp(-((apart / widths[:, None]) ** 2))
        + np.exp(-(((apart - 7.0) / widths[:, None]) ** 2))
        + 0.3 / (1 + np.exp(-apart))
    )
    return xr.DataArray(
        values,
        dims=("component", "energy"),
        coords={"component": list("abcde"), "energy": energies},
        attrs={"units": "1"},
    )


def block_of_stack(spectra: np.ndarray, rows: int, columns: int, seed: int) -> np.ndarray:
    """Optical density (energy, rows, columns) in float32; a third of all weights is zero."""
    rng = np.random.default_rng(seed)
    weights = np.maximum(rng.standard_normal((REFERENCES, rows * columns)) + 0.4, 0.0)
    values = spectra.T.astype(np.float32) @ weights.astype(np.float32)
    values += NOISE * rng.standard_normal(values.shape, dtype=np.float32)
    return values.reshape(ENERGIES, rows, columns)


def make_stack(spectra: xr.DataArray, size: int) -> xr.DataArray:
    stack = np.empty((ENERGIES, size, size), np.float32)
    for row in range(0, size, 64):
        stack[:, row : row + 64] = block_of_stack(spectra.values, min(64, size - row), size, row)
    return xr.DataArray(stack, dims=("energy", "y", "x"), coords={"energy": spectra["energy"].values})


def best_of(times: int, work: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def stream(size: int) -> None:
    """Unmix a stack from disk in this process; prints its MB, those of a chunk, and by how many its memory grows."""
    import dask
    import dask.array as da
    import zarr

    spectra = references()
    rows = 64
    unmix(make_stack(spectra, 64), spectra)  # compiled code and libraries are no part of it
    with tempfile.TemporaryDirectory() as folder, dask.config.set(scheduler="synchronous"):
        options = {
            "shape": (ENERGIES, size, size),
            "chunks": (ENERGIES, rows, size),
            "dtype": "f4",
            "compressors": None,
        }
        stored = zarr.create_array(f"{folder}/stack.zarr", **options)
        for row in range(0, size, rows):
            stored[:, row : row + rows] = block_of_stack(spectra.values, rows, size, row)
        stack = da.from_zarr(f"{folder}/stack.zarr")
        lazy = xr.DataArray(stack, dims=("energy", "y", "x"), coords={"energy": spectra["energy"].values})
        unmix(lazy[:, :rows], spectra)["weight"].mean().compute()
        grown = growth(lambda: unmix(lazy, spectra)["weight"].mean(("y", "x")).compute())
    print(f"{stack.nbytes / 2**20:.0f} {ENERGIES * rows * size * 4 / 2**20:.0f} {grown:.0f}")


def growth(work: Callable[[], object]) -> float:
    """By how many MB the memory of this process grows at most while it works (Linux)."""
    before, peak, done = resident(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.002):
            peak[0] = max(peak[0], resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    work()
    done.set()
    watcher.join()
    return peak[0] - before


def resident() -> float:
    """Memory of this process in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def report_mantis(stack: xr.DataArray, spectra: xr.DataArray) -> None:
    interpreter = os.environ.get("MANTIS_PYTHON", "")
    if not Path(interpreter).is_file():
        print("MANTiS                                  not here (set MANTIS_PYTHON to the Python of its environment)")
        return
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "stack.npy", stack.values)
        np.save(Path(folder) / "spectra.npy", spectra.values)
        arguments = [interpreter, "-c", MANTIS, f"{folder}/stack.npy", f"{folder}/spectra.npy"]
        done = subprocess.run(
            arguments, capture_output=True, text=True, env={**os.environ, "QT_QPA_PLATFORM": "offscreen"}
        )
    if done.returncode:
        print(f"MANTiS                                  did not run: {done.stderr.strip().splitlines()[-1]}")
        return
    seconds, negative = map(float, done.stdout.split()[-2:])
    print(f"MANTiS calc_svd_maps, unconstrained     {seconds:8.3f} s   {negative:.0%} of its weights are negative")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pixels", type=int, default=1024)
    parser.add_argument("--sample", type=int, default=20_000)
    parser.add_argument("--stream", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.stream:
        stream(arguments.stream)
        return
    from scipy.optimize import nnls
    from sklearn.linear_model import LinearRegression

    size = arguments.pixels
    spectra = references()
    stack = make_stack(spectra, size)
    sigma = xr.full_like(stack, NOISE)
    matrix = np.ascontiguousarray(spectra.values.T)
    pixels = size * size
    chosen = np.random.default_rng(0).choice(pixels, min(arguments.sample, pixels), replace=False)
    sample = np.ascontiguousarray(stack.values.reshape(ENERGIES, -1)[:, chosen].T.astype(float))
    share = pixels / len(sample)
    unmix(stack[:, :64], spectra)  # compile
    unmix(stack[:, :64], spectra, sigma=sigma[:, :64])

    print(
        f"{size} x {size} pixels, {ENERGIES} energies, {REFERENCES} references, float32, {stack.nbytes / 2**20:.0f} MB"
    )
    read = best_of(20, lambda: stack.values.sum())
    print(f"reading the stack once (numpy.sum)      {read:8.3f} s")
    floor = read + best_of(20, lambda: np.full((REFERENCES + 4, pixels), 1.0))
    print(f"reading it, writing the result          {floor:8.3f} s   {floor / read:.1f} x reading")
    alone = best_of(20, lambda: unmix(stack, spectra, level=None))
    print(
        f"operando, weights                       {alone:8.3f} s   {alone / read:.1f} x reading, "
        f"{alone / floor:.1f} x with writing; one pass"
    )
    whole = best_of(5, lambda: unmix(stack, spectra))
    print(f"operando, weights, errors, intervals    {whole:8.3f} s   {whole / read:.1f} x reading; one pass")

    start = time.perf_counter()
    expected = np.array([nnls(matrix, values)[0] for values in sample])
    scipy = (time.perf_counter() - start) * share
    weight = unmix(stack, spectra, level=None)["weight"].values.reshape(REFERENCES, -1)[:, chosen].T
    print(
        f"SciPy nnls, loop over {len(sample)} scaled     {scipy:8.1f} s   {scipy / alone:.0f} x slower than weights, "
        f"{scipy / whole:.0f} x than all; largest difference {np.abs(weight - expected).max():.1e}"
    )
    sklearn = best_of(1, lambda: LinearRegression(positive=True, fit_intercept=False).fit(matrix, sample.T)) * share
    print(f"scikit-learn LinearRegression(positive) {sklearn:8.1f} s   {sklearn / alone:.0f} x slower than weights")
    report_mantis(stack, spectra)

    weighted = best_of(2, lambda: unmix(stack, spectra, sigma=sigma, level=None))
    both = read + best_of(3, lambda: sigma.values.sum())
    print(
        f"operando, a sigma for each number       {weighted:8.3f} s   {weighted / both:.1f} x reading both; two passes"
    )
    rng = np.random.default_rng(1)
    some = rng.uniform(0.02, 0.2, sample.shape)
    start = time.perf_counter()
    expected = np.array([nnls(matrix / s[:, None], values / s)[0] for values, s in zip(sample, some, strict=True)])
    scipy = (time.perf_counter() - start) * share
    own = xr.DataArray(some.T, dims=("energy", "x"))
    found = unmix(sample.T, spectra, sigma=own, level=None)["weight"].values.T
    print(
        f"SciPy nnls, weighted, scaled            {scipy:8.1f} s   {scipy / weighted:.0f} x slower; largest difference "
        f"{np.abs(found - expected).max():.1e}"
    )
    errors = best_of(1, lambda: unmix(stack, spectra, sigma=sigma))
    print(f"operando, the same with errors          {errors:8.3f} s")
    noise = PoissonNoise(np.full(ENERGIES, 1000.0))
    counted = best_of(1, lambda: unmix(stack, spectra, sigma=noise, level=None))
    print(f"operando, Poisson noise from the fit    {counted:8.3f} s")

    command = [sys.executable, __file__, "--stream", str(size)]
    total, chunk, grown = map(float, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    print(
        f"a stack of {total:.0f} MB on disk in chunks of {chunk:.0f} MB, one worker: memory grows by {grown:.0f} MB, "
        f"{grown / chunk:.1f} chunks"
    )


if __name__ == "__main__":
    main()
