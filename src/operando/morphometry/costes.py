"""Costes' automatic threshold and his test by shuffled blocks."""

from __future__ import annotations

import numpy as np

FEWEST_BLOCKS = 10
"""Shuffling fewer says nothing."""


def costes_threshold(a: np.ndarray, b: np.ndarray) -> tuple[tuple[float, float, float] | None, str]:
    """Thresholds of a and b and the correlation below them, or why there are none.

    Notes
    -----
    With the line b = s a + c of orthogonal regression, a pixel is below the threshold T of a where
    a < T or b < s T + c, thus where T exceeds min(a, (b - c) / s): sorted by that number, running sums give the
    correlation below every threshold in one pass.

    Examples
    --------
    Two pixels rise together out of four that do not:

    >>> a = np.array([0.0, 1.0, 0.0, 1.0, 8.0, 9.0])
    >>> b = np.array([0.0, 0.0, 1.0, 1.0, 8.0, 9.0])
    >>> (ta, tb, below), _ = costes_threshold(a, b)
    >>> [round(float(value), 6) + 0.0 for value in (ta, tb, below)]
    [8.0, 8.0, 0.0]
    """
    va, vb = a.var(), b.var()
    cab = float(((a - a.mean()) * (b - b.mean())).mean())
    if cab <= 0:
        return None, "no positive correlation, thus no threshold"
    slope = (vb - va + np.sqrt((vb - va) ** 2 + 4 * cab**2)) / (2 * cab)
    shift = b.mean() - slope * a.mean()
    entry = np.minimum(a, (b - shift) / slope)
    order = np.argsort(entry, kind="stable")
    entry, x, y = entry[order], (a - a.mean())[order], (b - b.mean())[order]
    count = np.arange(1, entry.size + 1)
    sx, sy, sxx, syy, sxy = (np.cumsum(v) for v in (x, y, x * x, y * y, x * y))
    top = count * sxy - sx * sy
    bottom = (count * sxx - sx**2) * (count * syy - sy**2)
    # A threshold stands where the next pixel is another one, and where the pixels below it are not all alike: a
    # constant background has no correlation. Both sums are known to rounding only.
    scale = count**2 * sxx * syy
    usable = np.append(np.diff(entry) > 0, False) & (bottom > 1e-12 * scale)
    uncorrelated = np.flatnonzero(usable & (top <= 1e-12 * np.sqrt(scale)))
    if not uncorrelated.size:
        least = float(entry[0])
        return (least, float(slope * least + shift), float("nan")), ""
    k = int(uncorrelated[-1])
    limit = float(entry[k + 1])
    return (limit, float(slope * limit + shift), float(top[k] / np.sqrt(bottom[k]))), ""


def shuffled_blocks(
    one: np.ndarray,
    other: np.ndarray,
    known: np.ndarray,
    edges: tuple[int, int],
    *,
    shuffles: int,
    random: np.random.Generator,
) -> tuple[float, str]:
    """Share of shuffles of the blocks of one map that correlate as strongly with the other, or why there is none.

    Blocks that are not wholly known, and what is left at the far edges, do not take part. The maps as they are count
    as one of the shuffles; two-sided.

    Examples
    --------
    A map against itself, in 64 blocks of one pixel: no shuffle comes near.

    >>> values = np.random.default_rng(0).normal(size=(8, 8))
    >>> everywhere = np.ones(values.shape, bool)
    >>> shuffled_blocks(values, values, everywhere, (1, 1), shuffles=99, random=np.random.default_rng(1))
    (0.01, '')
    """
    blocks = [_blocks(image, edges) for image in (one, other, known)]
    whole = blocks[2].all(axis=1)
    count = int(whole.sum())
    if count < FEWEST_BLOCKS:
        return np.nan, f"fewer than {FEWEST_BLOCKS} whole blocks of {edges[0]} x {edges[1]} pixels: {count}"
    a, b = (block[whole] - block[whole].mean() for block in blocks[:2])
    norm = np.sqrt((a**2).sum() * (b**2).sum())
    if norm == 0:
        return np.nan, "a map is constant within the whole blocks"
    # Rounding must not tell a shuffle that changes nothing from the maps themselves.
    limit = abs(np.vdot(a, b)) - 1e-9 * norm
    as_strong = sum(abs(np.vdot(a, b[random.permutation(count)])) >= limit for _ in range(shuffles))
    return float((1 + as_strong) / (shuffles + 1)), ""


def _blocks(image: np.ndarray, edges: tuple[int, int]) -> np.ndarray:
    """Whole blocks of an image, each flattened: (blocks, pixels)."""
    rows, columns = (n // edge for n, edge in zip(image.shape, edges, strict=True))
    cut = image[: rows * edges[0], : columns * edges[1]]
    parts = cut.reshape(rows, edges[0], columns, edges[1]).swapaxes(1, 2)
    return parts.reshape(rows * columns, edges[0] * edges[1])
