"""Over the breaks of an interface: interpolated positions, and how uncertain they are."""

from __future__ import annotations

import numpy as np


def bridge(trace: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Fill the columns in which the interface is not seen from the nearest ones in which it is.

    Parameters
    ----------
    trace : dict of ndarray, shape (x,)
        ``row``, ``sigma``, ``thickness`` (NaN where not seen) and ``broken``, which stays as it is.

    Notes
    -----
    Linear between the nearest columns on both sides, constant at the ends of the image. The sigma is measured on the
    interface itself: the rms distance of its seen columns from a straight line (or a constant) over the same
    distances, joined with the sigma of the columns at both ends. It grows with the distance from these, as long as
    there is room in the image to measure it.

    Examples
    --------
    >>> line = np.arange(6.0)
    >>> line[2] = np.nan
    >>> trace = {"row": line, "sigma": 0 * line, "thickness": 0 * line, "broken": np.isnan(line)}
    >>> bridge(trace)["row"].tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    """
    row, sigma, broken = trace["row"], trace["sigma"], trace["broken"]
    if not broken.any() or broken.all():
        return trace
    at, seen = np.arange(row.size), np.flatnonzero(~broken)
    filled, spread = np.interp(at, seen, row[seen]), sigma.copy()
    for column in np.flatnonzero(broken):
        right = int(np.searchsorted(seen, column))
        if 0 < right < seen.size:
            low, high = seen[right - 1], seen[right]
            before, after = column - low, high - column
            share = before / (before + after)
            off = (
                row[before : row.size - after] - (1 - share) * row[: -(before + after)] - share * row[before + after :]
            )
            ends = np.hypot((1 - share) * sigma[low], share * sigma[high])
        else:
            end = seen[0] if right == 0 else seen[-1]
            off = row[abs(column - end) :] - row[: -abs(column - end)]
            ends = sigma[end]
        off = off[np.isfinite(off)]
        spread[column] = np.hypot(np.sqrt(np.mean(off**2)) if off.size else np.nanmax(row) - np.nanmin(row), ends)
    return {**trace, "row": filled, "sigma": spread, "thickness": np.interp(at, seen, trace["thickness"][seen])}
