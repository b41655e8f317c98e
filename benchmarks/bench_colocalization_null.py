"""How often unrelated maps are called colocalized: each p-value of ``morphometry.colocalize`` at a level of 0.05.

Pairs of smooth random maps that have nothing to do with each other: noise filtered by a Gaussian, cut out of a larger
field so that nothing is periodic, and cut off below as a thickness is. A p-value that holds its level is below 0.05
in 0.05 of them.

    python benchmarks/bench_colocalization_null.py
    python benchmarks/bench_colocalization_null.py --pairs 40
"""

from __future__ import annotations

import argparse

import numpy as np
import xarray as xr
from scipy.ndimage import gaussian_filter

from operando.morphometry import colocalize

SETTINGS = ((64, 2), (128, 2), (128, 4), (128, 8), (128, 16))
LEVEL = 0.05
NAMES = ("spatial p-value", "dutilleul p-value", "costes p-value")


def smooth_map(random: np.random.Generator, size: int, sigma: float) -> xr.DataArray:
    """A thickness-like map: filtered noise of a larger field, negative values cut off."""
    margin = int(4 * sigma) + 4
    field = gaussian_filter(random.normal(size=(size + 2 * margin,) * 2), sigma)
    field = field[margin : margin + size, margin : margin + size]
    return xr.DataArray(np.maximum(field / field.std() - 0.3, 0), dims=("y", "x"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=400)
    pairs = parser.parse_args().pairs
    print(f"share of {pairs} unrelated pairs with p < {LEVEL} (one sigma {np.sqrt(LEVEL * (1 - LEVEL) / pairs):.3f})")
    print("| field | correlation length | effective samples | random phases | Dutilleul | blocks | single pixels |")
    print("|---|---|---|---|---|---|---|")
    for size, sigma in SETTINGS:
        found: dict[str, list[float]] = {}
        for pair in range(pairs):
            random = np.random.default_rng([size, sigma, pair])
            a, b = smooth_map(random, size, sigma), smooth_map(random, size, sigma)
            table = colocalize(a, b, surrogates=399, seed=pair).set_index("quantity")["value"]
            for name in (*NAMES, "correlation length", "effective samples"):
                found.setdefault(name, []).append(table[name])
            table = colocalize(a, b, block=1, surrogates=1, seed=pair).set_index("quantity")["value"]
            found.setdefault("pixels", []).append(table["costes p-value"])
        cells = [f"{np.nanmean(found['correlation length']):.1f}", f"{np.nanmean(found['effective samples']):.0f}"]
        for name in (*NAMES, "pixels"):
            p = np.array(found[name])
            known = np.isfinite(p)
            cells.append(f"{np.mean(p[known] < LEVEL):.3f}" if known.mean() > 0.9 else "too few blocks")
        print(f"| {size} x {size} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
