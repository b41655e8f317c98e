"""Tallies of a prediction over cross-sections and windows of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise, product
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando import learn
from operando.core.axes import SPACE, axis_spacing
from operando.core.blocks import iter_blocks
from operando.core.phases import UNLABELED

NORMAL = {plane: SPACE[axes[2]] for plane, axes in learn.PLANES.items()}
"""Plane, by the dims of its rows and columns, and the dim of its normal."""

_BLOCK = 128  # edge of the blocks in which an image in memory is read


@dataclass
class Places:
    """Places in one plane: tallies over (scan, normal, row of windows, column of windows), and there over phases.

    Parameters
    ----------
    plane : str
    series : DataArray, dims (t, phase, z, y, x)
    edges : two ndarrays of int
        Borders of the windows along rows and columns.
    composition, doubt, left : ndarray
        Sums over the voxels of a place of :math:`p`, of :math:`p (1 - p)`, and of that where nothing is labeled.
    labeled : ndarray of int
        Labeled voxels.
    """

    plane: str
    series: xr.DataArray
    edges: tuple[np.ndarray, np.ndarray]
    composition: np.ndarray
    doubt: np.ndarray
    left: np.ndarray
    labeled: np.ndarray

    @classmethod
    def make(cls, plane: str, series: xr.DataArray, patch: tuple[int, int] | None) -> Places:
        """Empty tallies of whole cross-sections, or of windows of about a size."""
        edges = []
        for axis, dim in enumerate(plane):
            size = series.sizes[dim]
            parts = 1 if patch is None else max(1, round(size / patch[axis]))
            edges.append(np.arange(parts + 1) * size // parts)
        shape = (series.sizes["t"], series.sizes[NORMAL[plane]], *(len(edge) - 1 for edge in edges))
        phases = series.sizes["phase"]
        return cls(
            plane,
            series,
            (edges[0], edges[1]),
            np.zeros((*shape, phases)),
            np.zeros((*shape, phases)),
            np.zeros((*shape, phases)),
            np.zeros(shape, np.int64),
        )

    def add(self, values: np.ndarray, core: Sequence[slice], into: np.ndarray) -> None:
        """Add values (z, y, x) of a block to the tally (normal, windows, windows) of a scan."""
        dims = (NORMAL[self.plane], *self.plane)
        summed = values.transpose([SPACE.index(dim) for dim in dims])
        at = [core[SPACE.index(dim)] for dim in dims]
        windows = []
        for axis, edges in enumerate(self.edges, start=1):
            first = int(np.searchsorted(edges, at[axis].start, side="right")) - 1
            inner = edges[(edges > at[axis].start) & (edges < at[axis].stop)] - at[axis].start
            summed = np.add.reduceat(summed, [0, *inner], axis=axis)
            windows.append(slice(first, first + summed.shape[axis]))
        into[(at[0], *windows)] += summed

    def table(self) -> pd.DataFrame:
        """Where each place is and how much of it is labeled, in the order of the tallies."""
        scan, index, row, column = (part.ravel() for part in np.indices(self.labeled.shape))
        normal = NORMAL[self.plane]
        box = {normal: (index, index + 1)}
        for dim, edges, at in zip(self.plane, self.edges, (row, column), strict=True):
            box[dim] = (edges[at], edges[at + 1])
        times = self.series.coords["t"].values if "t" in self.series.coords else np.full(self.series.sizes["t"], np.nan)
        calibrated = axis_spacing(self.series, normal)[1] == "um"
        positions = self.series.coords[normal].values if calibrated else np.full(self.series.sizes[normal], np.nan)
        whole = np.prod([stop - start for start, stop in box.values()], axis=0)
        columns: dict[str, Any] = {
            "scan": scan,
            "t": np.asarray(times, dtype=float)[scan],
            "plane": self.plane,
            "index": index,
            "position_um": np.asarray(positions, dtype=float)[index],
        }
        for dim in SPACE:
            columns[f"{dim}_start"], columns[f"{dim}_stop"] = box[dim]
        return pd.DataFrame({**columns, "pixels": whole - self.labeled.ravel(), "labeled": self.labeled.ravel()})


def blocks_of(
    series: xr.DataArray, marks: xr.DataArray | None
) -> Iterator[tuple[int, tuple[slice, ...], np.ndarray, np.ndarray | None]]:
    """Scan, region, probabilities (phase, z, y, x) and annotations of each block; every lazy chunk is computed once."""
    data: Any = series.data
    if isinstance(data, np.ndarray):
        spatial = [block.core for block in iter_blocks([series.sizes[dim] for dim in SPACE], [_BLOCK] * len(SPACE))]
    else:
        cuts = [[slice(a, b) for a, b in pairwise(accumulate(sizes, initial=0))] for sizes in data.chunks[2:]]
        spatial = list(product(*cuts))
    for scan in range(series.sizes["t"]):
        for core in spatial:
            chances = np.nan_to_num(np.asarray(data[(scan, slice(None), *core)]), nan=0.0)
            yield scan, core, chances, None if marks is None else np.asarray(marks.data[(scan, *core)])


def tally(
    places: Sequence[Places],
    volume: np.ndarray,
    scan: int,
    core: tuple[slice, ...],
    chances: np.ndarray,
    told: np.ndarray | None,
) -> None:
    """Add a block of a scan to the tallies, and its probabilities to the volume (phase,) of the series."""
    labeled = None if told is None else told != UNLABELED
    for phase, chance in enumerate(chances):
        volume[phase] += chance.sum(dtype=float)
        doubt = chance * (1 - chance)
        left = doubt if labeled is None else np.where(labeled, 0, doubt)
        for found in places:
            found.add(chance, core, found.composition[scan, ..., phase])
            found.add(doubt, core, found.doubt[scan, ..., phase])
            found.add(left, core, found.left[scan, ..., phase])
    if labeled is not None:
        for found in places:
            found.add(labeled.astype(np.int64), core, found.labeled[scan])
