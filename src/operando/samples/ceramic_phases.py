"""Labels and gray of a lithium | ceramic | lithium cell: from heights and porosities to voxels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from operando.core.phases import CERAMIC_CELL
from operando.samples.ceramic_cycling import VOID_DEPTH_UM, Budget, Steps
from operando.samples.ceramic_structure import Ceramic
from operando.samples.fields import correlated, first_to_last, generator

# Interface voids are flat: smoothing lengths of the random field they are cut from.
_VOID_LENGTHS_UM = (4.5, 8.0, 8.0)
_MOST_VOID = 0.85
# Transparent voxels in the ceramic: size, depth, and what of the first stripping step is there before and left after.
_CRACK_LENGTH_UM, _CRACK_DEPTH_UM = 4.0, 20.0
_PRISTINE, _PLATED = 0.35, 0.2
_HALO_UM, _SLOW_UM = 15.0, 30.0


def boundaries(budget: Budget, interface_um: np.ndarray) -> np.ndarray:
    """Heights (step, boundary, y, x) in um: low collector, low interface, high interface, high collector."""
    thickness = budget.lithium_um + budget.pore_um
    result = np.empty((thickness.shape[0], 4, *thickness.shape[2:]))
    result[:, 1:3] = interface_um
    result[:, 0] = interface_um[0] - thickness[:, 0]
    result[:, 3] = interface_um[1] + thickness[:, 1]
    return result


class Voids:
    """Pores in the lithium: which voxels, scan by scan; the random order in which they open is drawn once."""

    def __init__(self, shape: Sequence[int], interface_um: np.ndarray, *, voxel_size_um: float, seed: int) -> None:
        from scipy.special import ndtr

        self._voxel, self._interface = voxel_size_um, interface_um
        field = correlated(generator(seed, "voids"), shape, [length / voxel_size_um for length in _VOID_LENGTHS_UM])
        # Small where a pore opens first; equally distributed from 0 to 1.
        self._tail = ndtr(-field)

    @staticmethod
    def contact_lost(budget: Budget) -> np.ndarray:
        """Share (step, side) of the interface where voids are."""
        return np.clip(budget.void_um / VOID_DEPTH_UM, 0, _MOST_VOID).mean(axis=(2, 3))

    def add(self, labels: np.ndarray, budget: Budget, scan: int) -> None:
        """Turn lithium voxels (z, y, x) into pores, in place."""
        z = np.arange(labels.shape[0])[:, None, None] * self._voxel
        half = labels.shape[0] // 2
        for side, part in enumerate((slice(0, half), slice(half, None))):
            depth = (self._interface[0] - z[part]) if side == 0 else (z[part] - self._interface[1])
            total, void = budget.pore_um[scan, side], budget.void_um[scan, side]
            thickness = total + budget.lithium_um[scan, side]
            profile = np.exp(-np.maximum(depth, 0) / VOID_DEPTH_UM)
            profile *= void / (VOID_DEPTH_UM * (1 - np.exp(-thickness / VOID_DEPTH_UM)))
            profile += np.maximum(total - void, 0) / thickness
            porosity = np.clip(profile, 1e-9, _MOST_VOID)
            here = labels[part]
            key = np.where(here == CERAMIC_CELL["electrode"], self._tail[part] / porosity, np.inf)
            opened = first_to_last(key)[: budget.voxels[scan, side]]
            here.reshape(-1)[opened] = CERAMIC_CELL["pore"]


class Transparent:
    """What X-rays pass through in the ceramic: pores, and cracks or filaments along grain boundaries."""

    def __init__(self, ceramic: Ceramic, *, voxel_size_um: float, seed: int, cracks: float) -> None:
        from scipy.special import ndtr

        planes = ceramic.phase.shape[0]
        z = (ceramic.first + np.arange(planes))[:, None, None] * voxel_size_um
        self._depth = np.minimum(z - ceramic.interface_um[0], ceramic.interface_um[1] - z)
        self._within = (self._depth >= 0) & (z < ceramic.interface_um[1])
        self._pore = self._within & (ceramic.phase == 0)
        field = correlated(generator(seed, "cracks"), ceramic.phase.shape, _CRACK_LENGTH_UM / voxel_size_um)
        self._tail = np.where(self._within & (ceramic.phase == 2), ndtr(-field), np.inf)
        self._planes = slice(ceramic.first, ceramic.first + planes)
        self._cracks = cracks

    def add(self, labels: np.ndarray, steps: Steps, scan: int) -> None:
        """Turn ceramic voxels (z, y, x) into transparent ones, in place."""
        rate = float(np.sqrt(steps.rate[scan]))
        amount = {0: _PRISTINE, 1: _PLATED, -1: 1.0}[int(steps.direction[scan])]
        share = self._cracks * amount * np.exp(-np.maximum(self._depth, 0) / (_CRACK_DEPTH_UM * rate))
        wanted = round(float(share[self._within].sum()))
        cracked = first_to_last(self._tail / np.maximum(share, 1e-12))[:wanted]
        there = labels[self._planes]
        there[self._pore] = CERAMIC_CELL["electrolyte_pore"]
        there.reshape(-1)[cracked] = CERAMIC_CELL["electrolyte_pore"]


def layers(shape: Sequence[int], heights_um: np.ndarray, voxel_size_um: float) -> np.ndarray:
    """Labels (z, y, x) without pores: a voxel is what its center is in."""
    z = np.arange(shape[0])[:, None, None] * voxel_size_um
    labels = np.full(tuple(shape), CERAMIC_CELL["collector"], dtype=np.uint8)
    labels[(z >= heights_um[0]) & (z < heights_um[3])] = CERAMIC_CELL["electrode"]
    labels[(z >= heights_um[1]) & (z < heights_um[2])] = CERAMIC_CELL["electrolyte"]
    return labels


def gray_image(labels: np.ndarray, heights_um: np.ndarray, gray: np.ndarray, voxel_size_um: float) -> np.ndarray:
    """Gray (z, y, x) float32 of a scan, partial volumes at the boundaries included."""
    edge = ((np.arange(labels.shape[0]) - 0.5) * voxel_size_um)[:, None, None]

    def above(height: np.ndarray) -> np.ndarray:
        """Share of a voxel above a height."""
        return np.asarray(np.clip(1 - (height - edge) / voxel_size_um, 0, 1), dtype=np.float32)

    levels = gray.astype(np.float32)
    metal = np.where(labels == CERAMIC_CELL["pore"], levels[CERAMIC_CELL["pore"]], levels[CERAMIC_CELL["electrode"]])
    solid = np.where(
        labels == CERAMIC_CELL["electrolyte_pore"],
        levels[CERAMIC_CELL["electrolyte_pore"]],
        levels[CERAMIC_CELL["electrolyte"]],
    )
    low, high = above(heights_um[0]), above(heights_um[3])
    image = np.full(labels.shape, levels[CERAMIC_CELL["collector"]])
    image += (low - high) * (metal - levels[CERAMIC_CELL["collector"]])
    low, high = above(heights_um[1]), above(heights_um[2])
    image += (low - high) * (solid - metal)
    return np.asarray(image, dtype=np.float32)


def halo_field(
    shape: Sequence[int], heights_um: np.ndarray, *, scan: int, voxel_size_um: float, seed: int
) -> np.ndarray:
    """Haze of steel and ceramic: uneven, half of its variance new in every scan, mean 1 at each of their surfaces."""
    z = np.arange(shape[0])[:, None, None] * voxel_size_um
    field = np.zeros(tuple(shape), dtype=np.float32)
    for number, height in enumerate(heights_um):
        haze = correlated(generator(seed, "halo", number), shape[1:], _SLOW_UM / voxel_size_um)
        haze += correlated(generator(seed, "halo", number, scan), shape[1:], _SLOW_UM / voxel_size_um)
        haze *= np.float32(np.sqrt(0.5))
        haze += 1
        field += haze * np.exp(-np.abs(z - height) / _HALO_UM).astype(np.float32)
    return field
