"""Compiled loops over angles and voxels. Imported only where a volume is made, because numba is slow to import.

All take sinograms as (angle, detector, slice) and slices as (y, x, slice): the geometry of a voxel is worked out once
and used for every slice. They hold no lock of Python's, so that blocks run beside each other in threads.

A point (x, y), measured from the rotation axis in pixels, is seen at ``x cos(angle) - y sin(angle)`` from the axis.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit


@njit(nogil=True, cache=True, fastmath=True)
def back_project(sinogram, angles, axis, scale, xs, ys, out):  # type: ignore[no-untyped-def]
    """Add to ``out`` (y, x, slice) the linearly interpolated ``sinogram``; ``axis`` and ``scale`` place its samples."""
    last = sinogram.shape[1] - 1
    slices = sinogram.shape[2]
    for j in range(ys.size):
        for a in range(angles.size):
            step = math.cos(angles[a]) * scale
            start = axis - ys[j] * math.sin(angles[a]) * scale
            for i in range(xs.size):
                position = start + xs[i] * step
                if position < 0.0 or position > last:
                    continue
                low = min(int(position), last - 1)
                high_share = np.float32(position - low)
                low_share = np.float32(1.0) - high_share
                for k in range(slices):
                    out[j, i, k] += low_share * sinogram[a, low, k] + high_share * sinogram[a, low + 1, k]


@njit(nogil=True, cache=True, fastmath=True)
def project(volume, angles, axis, out):  # type: ignore[no-untyped-def]
    """Write to ``out`` (angle, detector, slice) the line integrals of ``volume`` (y, x, slice) by Joseph's method."""
    height, width, slices = volume.shape
    last = out.shape[1]
    for a in range(angles.size):
        cos, sin = math.cos(angles[a]), math.sin(angles[a])
        reach = max(abs(cos), abs(sin))
        out[a] = 0.0
        for j in range(height):
            start = axis - (j - 0.5 * (height - 1)) * sin - 0.5 * (width - 1) * cos
            for i in range(width):
                position = start + i * cos
                low = math.floor(position)
                for bin_ in range(low, low + 2):
                    share = np.float32((1.0 - abs(position - bin_) / reach) / reach)
                    if share > 0.0 and 0 <= bin_ < last:
                        for k in range(slices):
                            out[a, bin_, k] += share * volume[j, i, k]


@njit(nogil=True, cache=True, fastmath=True)
def project_transposed(sinogram, angles, axis, out):  # type: ignore[no-untyped-def]
    """Write to ``out`` (y, x, slice) the exact transpose of :func:`project`."""
    height, width, slices = out.shape
    last = sinogram.shape[1]
    for j in range(height):
        out[j] = 0.0
        for a in range(angles.size):
            cos, sin = math.cos(angles[a]), math.sin(angles[a])
            reach = max(abs(cos), abs(sin))
            start = axis - (j - 0.5 * (height - 1)) * sin - 0.5 * (width - 1) * cos
            for i in range(width):
                position = start + i * cos
                low = math.floor(position)
                for bin_ in range(low, low + 2):
                    share = np.float32((1.0 - abs(position - bin_) / reach) / reach)
                    if share > 0.0 and 0 <= bin_ < last:
                        for k in range(slices):
                            out[j, i, k] += share * sinogram[a, bin_, k]


@njit(nogil=True, cache=True, fastmath=True)
def spread(spectra, angles, radii, half_width, table, grid):  # type: ignore[no-untyped-def]
    """Add polar samples ``spectra`` (angle, radius) to a periodic square ``grid`` with a separable kernel.

    ``radii`` are in grid steps; ``table`` holds the kernel from 0 to ``half_width`` in equal steps.
    """
    size = grid.shape[0]
    fine = (table.size - 2) / half_width
    width = int(2 * half_width)
    weights_x = np.empty(width + 1, dtype=np.float32)
    weights_y = np.empty(width + 1, dtype=np.float32)
    for a in range(angles.size):
        cos, sin = math.cos(angles[a]), math.sin(angles[a])
        for r in range(radii.size):
            gx, gy = radii[r] * cos, -radii[r] * sin
            first_x, first_y = math.ceil(gx - half_width), math.ceil(gy - half_width)
            for n in range(width + 1):
                at = abs(first_x + n - gx)
                place = at * fine
                low = int(place)
                weights_x[n] = 0.0 if at >= half_width else table[low] + (place - low) * (table[low + 1] - table[low])
                at = abs(first_y + n - gy)
                place = at * fine
                low = int(place)
                weights_y[n] = 0.0 if at >= half_width else table[low] + (place - low) * (table[low + 1] - table[low])
            value = spectra[a, r]
            for m in range(width + 1):
                row = (first_y + m) % size
                part = value * weights_y[m]
                for n in range(width + 1):
                    grid[row, (first_x + n) % size] += part * weights_x[n]
