"""The saturated line at the surface of the metal: which pixels it is made of and where its center runs."""

from __future__ import annotations

import numpy as np

from operando.core.errors import InputError
from operando.dendrites.profile import fit_centers

# A line that is seen in fewer columns than this share is no line but a few bright spots.
_SHARE = 0.1
# Dark gaps of up to so many pixels within a column are noise, not the two sides of a fold.
_GAP = 2
# Cost of a step on bright pixels, in steps on dark ones, where a path has to be found along a broken line.
_BRIGHT_STEP = 0.02
# What is not clipped lies this far outside the threshold, in px.
_FLANK = 0.5
# What a profile that is not quite Gaussian leaves, in px: measured on simulated lines.
_FLOOR = 0.03


def trace_line(
    gray: np.ndarray, threshold: float, saturation: float, *, where: str, missing: str
) -> dict[str, np.ndarray]:
    """Trace the center of the line in a frame whose rows run toward the metal.

    Parameters
    ----------
    gray : ndarray, shape (y, x)
        Gray values, the metal at the high end of y; NaN where missing.
    threshold, saturation : float
        Where the line begins and where gray values are clipped.
    where : str
        For the message.
    missing : {"raise", "nan"}
        What to do where there is no line.

    Returns
    -------
    dict of ndarray, shape (x,)
        ``row``, ``sigma`` and ``thickness`` in px (NaN where the line is not seen), ``crossings``, ``broken``.

    Raises
    ------
    InputError
        Where less than a tenth of the columns show the line.
    """
    bright = gray >= threshold
    line = connected_line(bright)
    seen = np.asarray(line.any(axis=0))
    columns = gray.shape[1]
    if seen.sum() < _SHARE * columns:
        if missing == "nan":
            return unseen(columns)
        values = gray[np.isfinite(gray)]
        raise InputError(
            f"{where}: a line of gray values from threshold={threshold:g} must cross the image, got "
            f"{int(bright.sum())} such pixels in {int(bright.any(axis=0).sum())} of {columns} columns; the largest "
            f"gray value is {values.max():g}. Lower the threshold, scale the image to 0..{saturation:g}, use rule="
            "'edge' for images without a bright line, or missing='nan' to skip such frames."
        )
    start, stop, crossings = outermost_runs(line)
    row, sigma = fit_centers(gray, bright, start, stop, seen, threshold=threshold, saturation=saturation)
    whole = away_from_breaks(seen, stop - start)
    shift, doubt = bend(row, sigma, stop - start, whole)
    sigma = np.sqrt(sigma**2 + doubt**2 + _FLOOR**2)
    row, sigma, thickness = np.where(whole, [row - shift, sigma, stop - start], np.nan)
    return {"row": row, "sigma": sigma, "thickness": thickness, "crossings": crossings, "broken": ~whole}


def unseen(columns: int) -> dict[str, np.ndarray]:
    """What a frame gives that shows no interface."""
    nothing = np.full(columns, np.nan)
    return {
        "row": nothing,
        "sigma": nothing.copy(),
        "thickness": nothing.copy(),
        "crossings": np.zeros(columns, dtype=np.int64),
        "broken": np.ones(columns, dtype=bool),
    }


def connected_line(bright: np.ndarray) -> np.ndarray:
    """Keep the bright pixels of the line that crosses the image, its folds included; drop specks.

    Notes
    -----
    Components of bright pixels that touch by faces or corners. One that reaches from the first to the last column is
    the line; of several, the one closest to the metal, because another one belongs to the opposite electrode. Where
    none does, the line is broken: it is made of the components on the cheapest path across the image.
    """
    from scipy.ndimage import find_objects, label

    labels, count = label(bright, structure=np.ones((3, 3), dtype=int))
    if count == 0:
        return bright
    columns = bright.shape[1]
    boxes = find_objects(labels)
    across = [
        (box[0].stop, number + 1) for number, box in enumerate(boxes) if box[1].start == 0 and box[1].stop == columns
    ]
    chosen = [max(across)[1]] if across else _on_cheapest_path(bright, labels)
    return np.isin(labels, chosen)


def _on_cheapest_path(bright: np.ndarray, labels: np.ndarray) -> list[int]:
    from skimage.graph import route_through_array

    # Free columns on both sides let the path begin and end at any row.
    cost = np.pad(np.where(bright, _BRIGHT_STEP, 1.0), ((0, 0), (1, 1)), constant_values=1e-6)
    path = np.asarray(route_through_array(cost, (0, 0), (0, cost.shape[1] - 1), fully_connected=True)[0])
    path = path[(path[:, 1] >= 1) & (path[:, 1] <= bright.shape[1])]
    found = labels[path[:, 0], path[:, 1] - 1]
    return [int(number) for number in np.unique(found) if number]


def outermost_runs(line: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First row and row after the last of the run farthest from the metal, and number of runs, for each column."""
    from scipy.ndimage import binary_closing

    padded = np.pad(line, ((_GAP, _GAP), (0, 0)))
    closed = binary_closing(padded, np.ones((_GAP + 1, 1)))[_GAP:-_GAP] | line
    rows = np.arange(line.shape[0])[:, None]
    start = closed.argmax(axis=0)
    stop = np.where(~closed & (rows > start), rows, line.shape[0]).min(axis=0)
    begins = closed & ~np.pad(closed, ((1, 0), (0, 0)))[:-1]
    return start, stop, begins.sum(axis=0)


def away_from_breaks(seen: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Leave out the columns beside a break, which see the rounded end of a piece of line and not the line."""
    from scipy.ndimage import binary_erosion

    ends = int(np.ceil(float(np.median(length[seen])) / 3))
    whole = binary_erosion(seen, iterations=ends, border_value=1)
    return whole if whole.any() else seen


def bend(row: np.ndarray, sigma: np.ndarray, length: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far the middle of a vertical cut lies from the curve that a line of finite thickness follows, and its sigma.

    Parameters
    ----------
    row, sigma : ndarray, shape (x,)
        Middle of the cut and its sigma, in px.
    length : ndarray, shape (x,)
        Of the cut, in px.
    seen : ndarray of bool, shape (x,)

    Returns
    -------
    shift, sigma : ndarray, shape (x,)
        To subtract from ``row``, in px.

    Notes
    -----
    A vertical cut meets the two edges of a line of half thickness d along y = h(x) at

    .. math:: h \\mp d \\sqrt{1 + h'^2} + \\frac{h'' d^2 h'^2}{2 (1 + h'^2)} + O(d^3)

    so that their middle is off by the last term. It vanishes on a straight line and at a tip. h' and h'' come from a
    parabola fitted over the thickness of the line. A quarter of the term stays in the sigma for the higher orders
    (all of it where the line bends within its own thickness), and so does the distance of the line from that
    parabola, beyond what its noise explains: structure finer than the line is thick cannot be seen. Both were
    measured on simulated lines. Beside a jump, the end of a fold, the interface may lie at either side of it.
    """
    from scipy.ndimage import maximum_filter1d, uniform_filter1d
    from scipy.signal import savgol_filter

    at = np.arange(row.size)
    whole = np.interp(at, at[seen], row[seen])
    half = float(np.median(length[seen])) / 2 + _FLANK
    window = min(2 * int(np.ceil(half)) + 3, row.size - 1 + row.size % 2)
    slope = savgol_filter(whole, window, 2, deriv=1)
    second = savgol_filter(whole, window, 2, deriv=2)
    steep = 1 + slope**2
    thickness = np.minimum(np.where(seen, length / 2 / np.sqrt(steep) + _FLANK, half), 2 * half)
    shift = second * thickness**2 * slope**2 / (2 * steep)
    sharp = (np.abs(second) * thickness > 0.5 * steep**1.5) | (np.abs(shift) > thickness / 2)
    shift = np.clip(shift, -thickness / 2, thickness / 2)
    beyond = uniform_filter1d((savgol_filter(whole, window, 2) - whole) ** 2, window)
    beyond -= uniform_filter1d(np.interp(at, at[seen], sigma[seen]) ** 2, window)
    jump = np.abs(np.diff(whole, prepend=whole[0]))
    jump = maximum_filter1d(np.where(jump > 2 * half, jump, 0.0), window)
    doubt = (np.where(sharp, 1.0, 0.25) * shift) ** 2 + np.clip(beyond, 0, None) + jump**2 / 12
    return shift, np.sqrt(doubt)
