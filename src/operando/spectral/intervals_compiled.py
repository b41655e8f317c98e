"""The loops over pixels behind :func:`operando.spectral.weight_errors`, compiled; import them where they are needed."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)  # type: ignore[misc,untyped-decorator,unused-ignore]
def free_one_by_one(
    weights: np.ndarray,
    unconstrained: np.ndarray,
    which: np.ndarray,
    variance: np.ndarray,
    inverse: np.ndarray,
    slope: np.ndarray,
    full: np.ndarray,
    mean_square: np.ndarray,
    overlooked: float,
    estimate: np.ndarray,
    spread: np.ndarray,
) -> None:
    """Estimate and sigma of each weight (pixels, n) with all other zeros of the fit held at zero.

    ``which`` is the row of each pixel in ``variance`` (k, n), ``inverse`` and ``slope`` (k, n, n). ``mean_square`` has
    that of a unit normal around ``-depth`` that is known to be positive, over 1 / (1 + depth) from 0 to 1.
    """
    pixels, n = weights.shape
    last = mean_square.size - 1
    possible = np.empty(n)
    for p in range(pixels):
        row = which[p]
        for j in range(n):
            possible[j] = 0.0
            if weights[p, j] > 0.0 or np.isnan(weights[p, j]):
                estimate[p, j] = weights[p, j]
                continue
            pulled = 0.0
            for k in range(n):
                if not weights[p, k] > 0.0:
                    pulled += inverse[row, j, k] * unconstrained[p, k]
            estimate[p, j] = min(pulled / inverse[row, j, j], 0.0)
            deviation = np.sqrt(variance[row, j])
            place = last / (1.0 - estimate[p, j] / deviation) if deviation > 0.0 else 0.0
            below = min(int(place), last - 1)
            part = place - below
            possible[j] = variance[row, j] * (mean_square[below] * (1.0 - part) + mean_square[below + 1] * part)
        for j in range(n):
            extra = 0.0
            for k in range(n):
                extra += slope[row, j, k] ** 2 * possible[k]
            own = variance[row, j]
            spread[p, j] = np.sqrt(max(min(own + overlooked * extra, max(full[row, j], own)), 0.0))


@njit(cache=True, nogil=True)  # type: ignore[misc,untyped-decorator,unused-ignore]
def ends(
    weights: np.ndarray,
    estimate: np.ndarray,
    spread: np.ndarray,
    two_sided: float,
    one_sided: float,
    low_table: np.ndarray,
    high_table: np.ndarray,
    depth: float,
    stretch: np.ndarray,
    most: float,
    sigma: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
) -> None:
    """Symmetric sigma and interval of each weight (pixels, n).

    ``low_table`` has the lower end over estimates from ``one_sided`` to twice ``two_sided``, ``high_table`` the upper
    one over estimates from ``-depth`` to 0, all in sigma; ``most`` is the largest weight there is.
    """
    pixels, n = weights.shape
    normal, tail = 1.959963984540054, 1.6448536269514722
    low_step = (low_table.size - 1) / (2.0 * two_sided - one_sided)
    high_step = (high_table.size - 1) / depth
    for p in range(pixels):
        row = p if len(stretch) > 1 else 0
        for j in range(n):
            w, s = weights[p, j], spread[p, j] * stretch[row, 0]
            if np.isnan(w) or np.isnan(s) or np.isnan(estimate[p, j]):
                sigma[p, j] = np.nan
                low[p, j] = np.nan
                high[p, j] = np.nan
                continue
            if s <= 0.0:
                sigma[p, j] = 0.0
                low[p, j] = w
                high[p, j] = w
                continue
            # The 0.02 keeps the lower end above zero once the one-sided test says that the phase is present.
            sigma[p, j] = s * min(max((w / s - 0.02) / normal, tail / normal), 1.0)
            s = spread[p, j] * stretch[row, 1]
            x = estimate[p, j] / s
            if x <= one_sided:
                bottom = 0.0
            elif x >= 2.0 * two_sided:
                bottom = x - two_sided
            else:
                place = (x - one_sided) * low_step
                below = min(int(place), low_table.size - 2)
                bottom = low_table[below] + (place - below) * (low_table[below + 1] - low_table[below])
            if x >= 0.0:
                top = x + two_sided
            elif x <= -depth:
                # So far down only the upper end of the acceptance counts.
                top = one_sided**2 / (np.sqrt(x * x + one_sided**2) - x)
            else:
                place = (x + depth) * high_step
                below = min(int(place), high_table.size - 2)
                top = high_table[below] + (place - below) * (high_table[below + 1] - high_table[below])
            low[p, j] = min(bottom * s, w)
            high[p, j] = min(max(top * s, w), max(most, w))
