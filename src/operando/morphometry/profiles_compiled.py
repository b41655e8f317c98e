"""The loops over columns behind :mod:`operando.morphometry.profiles`, compiled; import them where they are needed.

Images are (z, y, x), maps of the four boundaries (4, y, x). Positions are in voxels: k - 0.5 is the face before plane
k.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

_LAYERS = 5
_HALF = 2
_REACH = 3
_PROBE = 5


@njit(parallel=True, cache=True)  # type: ignore[misc,untyped-decorator,unused-ignore]
def block_means(image: np.ndarray, block: int) -> np.ndarray:
    """Mean of every ``block`` x ``block`` columns (z, Y, X), of what is not NaN; a remainder joins the last block."""
    depth, ny, nx = image.shape
    rows, columns = max(1, ny // block), max(1, nx // block)
    out = np.empty((depth, rows, columns), np.float32)
    for k in prange(depth):
        # Rows are added up before columns, so that neighboring voxels are read and added side by side.
        total = np.empty(nx, np.float32)
        count = np.empty(nx, np.float32)
        for row in range(rows):
            total[:] = 0.0
            count[:] = 0.0
            for j in range(row * block, ny if row == rows - 1 else (row + 1) * block):
                for i in range(nx):
                    value = np.float32(image[k, j, i])
                    known = value == value
                    total[i] += value if known else np.float32(0.0)
                    count[i] += np.float32(1.0) if known else np.float32(0.0)
            for column in range(columns):
                sums, number = 0.0, 0.0
                for i in range(column * block, nx if column == columns - 1 else (column + 1) * block):
                    sums += total[i]
                    number += count[i]
                out[k, row, column] = sums / number if number > 0 else np.nan
    return out


@njit(parallel=True, cache=True)  # type: ignore[misc,untyped-decorator,unused-ignore]
def layer_starts_by_level(profiles: np.ndarray, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First plane of the layers 1 to 4 of every column (4, y, x), and the error that remains (y, x).

    Five layers of given gray, in order and each possibly empty, are laid by dynamic programming such that the sum of
    absolute errors is the least. The few voxels that two layers share must not count by their squares: beside a bright
    collector they would outweigh a whole layer of ceramic. A layer that is empty because it lies outside of the image
    starts at 0 or at the number of planes.
    """
    depth, ny, nx = profiles.shape
    out = np.empty((4, ny, nx), np.int32)
    error = np.empty((ny, nx), np.float64)
    for j in prange(ny):
        source = np.empty((depth, _LAYERS), np.int8)
        cost = np.empty(_LAYERS, np.float64)
        for i in range(nx):
            cost[:] = 0.0
            for k in range(depth):
                best, where = np.inf, 0
                value = profiles[k, j, i]
                for s in range(_LAYERS):
                    # On a tie the layer is entered late, so that nothing is gained by an empty one.
                    if cost[s] < best:
                        best, where = cost[s], s
                    source[k, s] = where
                    cost[s] = best
                if value == value:
                    for s in range(_LAYERS):
                        cost[s] += abs(value - levels[s])
            s = 0
            for other in range(1, _LAYERS):
                if cost[other] < cost[s]:
                    s = other
            error[j, i] = cost[s]
            for b in range(s, 4):
                out[b, j, i] = depth
            for k in range(depth - 1, -1, -1):
                before = source[k, s]
                for b in range(before, s):
                    out[b, j, i] = k
                s = before
    return out, error


@njit(parallel=True, cache=True)  # type: ignore[misc,untyped-decorator,unused-ignore]
def plateaus(profiles: np.ndarray, starts: np.ndarray, near: int, far: int) -> np.ndarray:
    """Gray before and behind each boundary (2, 4, y, x): the median of the planes ``near`` to ``far`` from it.

    Only planes of the two layers that meet there count; NaN where one of them has none, as at the end of the image.
    """
    depth, ny, nx = profiles.shape
    out = np.full((2, 4, ny, nx), np.nan, np.float32)
    for j in prange(ny):
        for i in range(nx):
            for b in range(4):
                at = starts[b, j, i]
                begin = starts[b - 1, j, i] if b > 0 else 0
                end = starts[b + 1, j, i] if b < 3 else depth
                if at <= 0 or at >= depth or begin >= at or at >= end:
                    continue
                # A layer too thin to have a plateau is asked in its middle.
                start, stop = max(begin + min(near, (at - begin) // 2), at - far), at - min(near, (at - begin) // 2)
                out[0, b, j, i] = np.nanmedian(profiles[min(start, stop - 1) : stop, j, i])
                start, stop = at + min(near, (end - at) // 2), min(end - min(near, (end - at) // 2), at + far)
                out[1, b, j, i] = np.nanmedian(profiles[start : max(stop, start + 1), j, i])
    return out


@njit(parallel=True, cache=True)  # type: ignore[misc,untyped-decorator,unused-ignore]
def crossings(
    image: np.ndarray, starts: np.ndarray, levels: np.ndarray, block: int, window: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Position (4, y, x) of each boundary, slope of the gray there, and gray next to it relative to its plateau.

    Within ``window`` planes of the block's boundary: the step of least squares between the two levels, then the
    crossing of the half level nearest to it in the profile after a binomial filter.
    """
    depth, ny, nx = image.shape
    rows, columns = starts.shape[1:]
    position = np.full((4, ny, nx), np.nan, np.float32)
    slope = np.full((4, ny, nx), np.nan, np.float32)
    probe = np.full((4, ny, nx), np.nan, np.float32)
    for j in prange(ny):
        row = min(j // block, rows - 1)
        q = np.empty(depth, np.float64)
        for i in range(nx):
            column = min(i // block, columns - 1)
            for b in range(4):
                before, behind = levels[0, b, row, column], levels[1, b, row, column]
                if not (abs(before - behind) > 0):
                    continue
                at = starts[b, row, column]
                begin = (starts[b - 1, row, column] + at) // 2 if b > 0 else 0
                end = (starts[b + 1, row, column] + at + 1) // 2 if b < 3 else depth
                low, high = max(begin, at - window, 0), min(end, at + window, depth)
                half = 0.5 * (before + behind)
                sign = 1.0 if before > behind else -1.0
                # Least squares: as much as possible of the brighter side before the step.
                total, best, step = 0.0, 0.0, low
                for k in range(low, high):
                    total += sign * (image[k, j, i] - half)
                    if total > best:
                        best, step = total, k + 1
                first, last = max(step - _REACH, 0), min(step + _REACH, depth)
                for k in range(first, last):
                    q[k] = (
                        6.0 * image[k, j, i]
                        + 4.0 * (image[max(k - 1, 0), j, i] + image[min(k + 1, depth - 1), j, i])
                        + image[max(k - 2, 0), j, i]
                        + image[min(k + 2, depth - 1), j, i]
                    ) / 16.0
                found, distance, steep = np.nan, np.inf, np.nan
                for k in range(first, last - 1):
                    one, other = sign * (q[k] - half), sign * (q[k + 1] - half)
                    if one >= 0.0 and other < 0.0:
                        place = k + one / (one - other)
                        if abs(place - (step - 0.5)) < distance:
                            found, distance, steep = place, abs(place - (step - 0.5)), one - other
                position[b, j, i] = found
                slope[b, j, i] = steep
                # Five planes away, on the side that is uniform longer: what the noise does to the filtered profile.
                room_before = at - (starts[b - 1, row, column] if b > 0 else 0)
                room_behind = (starts[b + 1, row, column] if b < 3 else depth) - at
                k = step + _PROBE if room_behind > room_before else step - 1 - _PROBE
                if k >= _HALF and k < depth - _HALF:
                    plateau = behind if room_behind > room_before else before
                    probe[b, j, i] = (
                        6.0 * image[k, j, i]
                        + 4.0 * (image[k - 1, j, i] + image[k + 1, j, i])
                        + image[k - 2, j, i]
                        + image[k + 2, j, i]
                    ) / 16.0 - plateau
    return position, slope, probe


@njit(parallel=True, cache=True)  # type: ignore[misc,untyped-decorator,unused-ignore]
def neighbor_medians(heights: np.ndarray) -> np.ndarray:
    """Median of the eight neighbors in maps (n, y, x); NaN where fewer than four are known."""
    number, ny, nx = heights.shape
    out = np.full(heights.shape, np.nan, np.float32)
    for j in prange(ny):
        around = np.empty(8, np.float32)
        for n in range(number):
            for i in range(nx):
                count = 0
                for dj in range(-1, 2):
                    for di in range(-1, 2):
                        y, x = j + dj, i + di
                        if (dj != 0 or di != 0) and 0 <= y < ny and 0 <= x < nx:
                            value = heights[n, y, x]
                            if value == value:
                                # Insertion keeps them sorted.
                                place = count
                                while place > 0 and around[place - 1] > value:
                                    around[place] = around[place - 1]
                                    place -= 1
                                around[place] = value
                                count += 1
                if count >= 4:
                    out[n, j, i] = 0.5 * (around[(count - 1) // 2] + around[count // 2])
    return out
