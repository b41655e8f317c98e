"""What is known of the pores of a simulated lithium | ceramic | lithium cell, counted from its labels."""

from __future__ import annotations

import numpy as np

from operando.core.phases import CERAMIC_CELL

NEAR_UM = 10.0
"""Depth that counts as near the interface (Dixit 2020)."""
_INTERFACIAL_UM = 100.0


class Porosities:
    """Porosities counted from the labels of one scan after the other."""

    def __init__(self, steps: int, size: tuple[int, int, int], interface_um: np.ndarray, voxel_size_um: float) -> None:
        z = np.arange(size[0])[:, None, None] * voxel_size_um
        low, high = (z - interface_um[0]).astype(np.float32), (interface_um[1] - z).astype(np.float32)
        self.depth_um = min(_INTERFACIAL_UM, 0.42 * float(np.mean(interface_um[1] - interface_um[0])))
        self._half = size[0] // 2
        self._near = (low >= -NEAR_UM) & (low < 0), (high >= -NEAR_UM) & (high <= 0)
        self._interfacial = (low >= 0) & (low < self.depth_um), (high > 0) & (high <= self.depth_um)
        self.porosity, self.near, self.interfacial = (np.zeros((steps, 2)) for _ in range(3))
        self.ceramic, self.bulk = np.zeros(steps), np.zeros(steps)

    def add(self, labels: np.ndarray, scan: int) -> None:
        """Count the labels (z, y, x) of a scan."""
        pore, solid = labels == CERAMIC_CELL["pore"], labels == CERAMIC_CELL["electrode"]
        clear = labels == CERAMIC_CELL["electrolyte_pore"]
        both = clear | (labels == CERAMIC_CELL["electrolyte"])
        for side, half in enumerate((slice(None, self._half), slice(self._half, None))):
            self.porosity[scan, side] = _share(pore[half], pore[half] | solid[half])
            self.near[scan, side] = _share(pore & self._near[side], (pore | solid) & self._near[side])
            within = self._interfacial[side]
            self.interfacial[scan, side] = _share(clear & within, both & within)
        bulk = both & ~self._interfacial[0] & ~self._interfacial[1]
        self.ceramic[scan], self.bulk[scan] = _share(clear, both), _share(clear & bulk, bulk)


def _share(part: np.ndarray, whole: np.ndarray) -> float:
    count = np.count_nonzero(whole)
    return float(np.count_nonzero(part) / count) if count else float("nan")
