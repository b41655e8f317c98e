"""How the lithium of a symmetric cell moves, exact to the voxel.

Inside this module the plating electrode is at low z. Each process is an order in which voxels are reached; a
state is the first so many voxels in that order. Counts are therefore exact whatever the shape of the fields.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from operando.core.errors import InputError
from operando.core.phases import CELL
from operando.samples.cycling import Protocol
from operando.samples.fields import correlated, first_to_last, generator
from operando.samples.trees import Forest, grow_forest

_KEPT_ELECTRODE = 3
_NECK = 3.5
_CRUMB = 40


@dataclass(frozen=True)
class Layout:
    """Where things are along z, in voxels."""

    electrode: int
    split: int
    planes: int


def layout(planes: int) -> Layout:
    """Electrodes of a quarter each, polymer between; deposits stay below ``split``, redeposits above it."""
    electrode = round(0.25 * planes)
    return Layout(electrode, electrode + round(0.76 * (planes - 2 * electrode)), planes)


def largest_thickness(planes: int) -> float:
    """Thickest dense layer in voxels that a half cycle may move within ``planes`` planes."""
    place = layout(planes)
    return 0.25 * (place.planes - 2 * place.electrode)


def evolve(
    shape: Sequence[int],
    protocol: Protocol,
    *,
    seed: int,
    dendrite_share: float,
    pit_share: float,
    dead_share: float,
) -> Iterator[np.ndarray]:
    """Yield the labels (z, y, x) of each scan, plating side at low z."""
    place = layout(shape[0])
    plating = _PlatingSide(shape, place, protocol, seed=seed, dendrite_share=dendrite_share, dead_share=dead_share)
    stripping = _StrippingSide(shape, place, protocol, seed=seed, pit_share=pit_share)
    for pulses in protocol.pulses_before:
        labels = np.empty(tuple(shape), dtype=np.uint8)
        labels[: place.split] = plating.labels(int(pulses))
        labels[place.split :] = stripping.labels(int(pulses))
        yield labels


def disconnected(lithium: np.ndarray) -> np.ndarray:
    """Lithium without a path over voxel faces to the electrode, which fills the plane z = 0.

    Examples
    --------
    >>> column = np.array([1, 1, 0, 1], dtype=bool).reshape(4, 1, 1)
    >>> disconnected(column).ravel().tolist()
    [False, False, False, True]
    """
    import cc3d

    parts = cc3d.connected_components(lithium, connectivity=6)
    held = np.unique(parts[0])
    return lithium & ~np.isin(parts, held[held > 0])


def _small(mask: np.ndarray) -> np.ndarray:
    """The pieces of a mask that are only crumbs."""
    import cc3d

    parts = cc3d.connected_components(mask, connectivity=6)
    return mask & (np.bincount(parts.ravel()) < _CRUMB)[parts]


class _PlatingSide:
    """Deposited layer and dendrites: grown by charging, dissolved by discharging."""

    def __init__(
        self,
        shape: Sequence[int],
        place: Layout,
        protocol: Protocol,
        *,
        seed: int,
        dendrite_share: float,
        dead_share: float,
    ) -> None:
        plane = tuple(shape[1:])
        self._shape = (place.split, *plane)
        self._up = np.concatenate([[0], np.cumsum(protocol.voxels[protocol.voxels > 0])]).astype(np.int64)
        self._down = -protocol.voxels[protocol.voxels < 0]
        self._share, self._dead_share, self._seed = dendrite_share, dead_share, seed
        rng = generator(seed, "plating surface")
        self._floor = place.electrode + _foil(rng, plane)
        rng = generator(seed, "layer")
        thickness = np.exp(0.34 * correlated(rng, plane, 8.0) + 0.10 * correlated(rng, plane, 2.0))
        height = np.arange(place.split, dtype=np.float32)[:, None, None] - self._floor.astype(np.float32)
        order = np.where(height >= 0, (height + 0.5) / thickness, np.float32(np.inf))
        order[place.split - 2 :] = np.inf
        self._layer = first_to_last(order)
        del order, height
        wanted = round(dendrite_share * int(self._up[-1]))
        rng = generator(seed, "dendrites")
        density = np.exp(1.1 * correlated(rng, plane, 12.0))
        self._forest = grow_forest(
            rng, self._floor, ceiling=place.split, voxels=round(1.25 * wanted) if wanted else 0, density=density
        )
        self._pulses = 0
        self._dissolving: _Dissolution | None = None

    def labels(self, pulses: int) -> np.ndarray:
        """Labels after so many pulses, which must not decrease from call to call."""
        charged = self._up.size - 1
        if pulses <= charged:
            layer, branches = self._grown(pulses)
            return self._compose(self._electrode(), layer, branches)
        if self._dissolving is None:
            layer, branches = self._grown(charged)
            self._dissolving = _Dissolution(
                self._electrode(), layer, branches, self._floor, self._forest, seed=self._seed, dead=self._dead_share
            )
        for pulse in range(max(self._pulses, charged), pulses):
            self._dissolving.remove(int(self._down[pulse - charged]))
        self._pulses = pulses
        state = self._dissolving
        return self._compose(state.present & state.electrode, state.layer(), state.present & state.branches)

    def _electrode(self) -> np.ndarray:
        return np.arange(self._shape[0])[:, None, None] < self._floor

    def _grown(self, pulses: int) -> tuple[np.ndarray, np.ndarray]:
        """The layer (with what the dendrites take up of it) and the dendrites after so many charging pulses."""
        total = int(self._up[pulses])
        branch = np.zeros(np.prod(self._shape), dtype=bool)
        branch[self._forest.voxel[: round(self._share * total)]] = True
        free = np.cumsum(~branch[self._layer])
        need = total - int(np.count_nonzero(branch))
        reached = int(np.searchsorted(free, need)) + 1 if need else 0
        layer = np.zeros_like(branch)
        layer[self._layer[:reached]] = True
        return layer.reshape(self._shape), branch.reshape(self._shape)

    def _compose(self, electrode: np.ndarray, layer: np.ndarray, branches: np.ndarray) -> np.ndarray:
        labels = np.full(self._shape, CELL["electrolyte"], dtype=np.uint8)
        labels[branches] = CELL["dendrite"]
        labels[layer] = CELL["deposited"]
        labels[electrode] = CELL["electrode"]
        return labels


class _Dissolution:
    """Removes connected lithium in a fixed order; what loses contact stays."""

    def __init__(
        self,
        electrode: np.ndarray,
        layer: np.ndarray,
        branches: np.ndarray,
        floor: np.ndarray,
        forest: Forest,
        *,
        seed: int,
        dead: float,
    ) -> None:
        self.electrode, self.branches = electrode, branches
        self.present = electrode | layer | branches
        self._layer = layer
        rng = generator(seed, "dissolution")
        plane = floor.shape
        # The layer in a column is used up at ``end``; a few patches last longer than the rest.
        end = 0.75 + 0.11 * np.clip(correlated(rng, plane, 7.0), -2, 2) + 0.02 * correlated(rng, plane, 1.5)
        patch = correlated(rng, plane, 6.0)
        end = np.where(patch > np.quantile(patch, 0.9), end + 1.6, end).astype(np.float32)
        z = np.arange(layer.shape[0], dtype=np.float32)[:, None, None]
        thickness = layer.sum(axis=0, dtype=np.float32)
        key = end * ((floor + thickness - z - np.float32(0.5)) / np.maximum(thickness, 1))
        # Then the electrode, except under dendrites, which shield it.
        stem = np.take_along_axis(branches, np.minimum(floor, layer.shape[0] - 1)[None], axis=0)[0]
        below = (np.maximum(1.0, end) + (floor - 0.5) / 4.0).astype(np.float32) - z / 4
        np.copyto(key, below, where=electrode)
        key[~(layer | (electrode & (z >= _KEPT_ELECTRODE) & ~stem))] = np.inf
        self._key = key.ravel()
        # A dendrite has its own time, and the time at which the layer around it is gone.
        held = forest.voxel[branches.ravel()[forest.voxel]]
        self._held, self._bared = held, np.where(layer.ravel()[held], self._key[held], -np.inf)
        self._key[held] = self._branch_times(forest, held.size, rng, dead)
        self._order = first_to_last(self._key)
        self._reached = 0.0

    @staticmethod
    def _branch_times(forest: Forest, voxels: int, rng: np.random.Generator, dead: float) -> np.ndarray:
        """When each of the first so many voxels of a forest dissolves; inf where it loses contact first."""
        if not voxels:
            return np.zeros(0)
        segment, along = forest.segment[:voxels], forest.along[:voxels]
        count = np.bincount(segment, minlength=forest.parent.size)
        lost = np.zeros(forest.parent.size, dtype=bool)
        neck = np.full(forest.parent.size, np.nan)
        for start in rng.permutation(forest.parent.size):
            if count[lost].sum() >= dead * segment.size:
                break
            if forest.parent[start] < 0 or lost[start]:
                continue
            neck[start] = rng.uniform(0.05, 0.55)
            family = np.zeros_like(lost)
            family[start] = True
            # Parents come before children, so that one pass reaches every descendant.
            for child in range(start + 1, family.size):
                family[child] |= forest.parent[child] >= 0 and family[forest.parent[child]]
            lost |= family
        tree = forest.tree[segment]
        # Tips go first; some trees hardly dissolve although they keep contact.
        slow = np.where(rng.random(forest.reach.size) < 0.15, 1.6, rng.uniform(0.85, 1.0, forest.reach.size))
        reach = np.maximum(forest.reach, 1.0)
        when = slow[tree] * (0.12 + 0.83 * (1.0 - along / reach[tree]))
        when[lost[segment]] = np.inf
        at_neck = np.isfinite(neck[segment]) & (along - forest.start[segment] < _NECK)
        when[at_neck] = neck[segment][at_neck]
        return when

    def remove(self, voxels: int) -> None:
        """Dissolve so many voxels of the lithium that has contact."""
        if not voxels:
            return
        held = (self.present & ~disconnected(self.present)).ravel()
        able = self._order[held[self._order]]
        gone = able[:voxels]
        if gone.size < voxels:
            raise InputError(
                f"symmetric_cell: the plating side must hold the {voxels} voxels that a pulse strips, it has "
                f"{gone.size} in contact. Lower dead_share or dendrite_share."
            )
        # A crumb that this pulse would cut off dissolves with it, in place of what would have gone last.
        after = self.present.copy()
        after.ravel()[gone] = False
        crumbs = np.flatnonzero(_small(disconnected(after & held.reshape(after.shape))))[:voxels]
        gone = np.concatenate([crumbs, gone[: voxels - crumbs.size]])
        self.present.ravel()[gone] = False
        if crumbs.size < voxels:
            self._reached = max(self._reached, float(self._key[gone[-1]]))

    def layer(self) -> np.ndarray:
        """Where the deposited layer still stands, with the part of the dendrites that is inside it."""
        layer = self.present & self._layer
        layer.ravel()[self._held] &= self._bared > self._reached
        return layer


class _StrippingSide:
    """Recession and pits by charging, redeposited lithium by discharging."""

    def __init__(self, shape: Sequence[int], place: Layout, protocol: Protocol, *, seed: int, pit_share: float) -> None:
        plane = tuple(shape[1:])
        self._seed, self._split = seed, place.split
        self._up = np.concatenate([[0], np.cumsum(protocol.voxels[protocol.voxels > 0])]).astype(np.int64)
        self._down = np.concatenate([[0], np.cumsum(-protocol.voxels[protocol.voxels < 0])]).astype(np.int64)
        rng = generator(seed, "stripping surface")
        self._surface = place.planes - place.electrode + _foil(rng, plane) - place.split
        z = np.arange(place.planes - place.split, dtype=np.float32)[:, None, None]
        depth = z - self._surface.astype(np.float32)
        rng = generator(seed, "pits")
        uniform = (1.0 - pit_share) * (1.0 + 0.06 * np.clip(correlated(rng, plane, 9.0), -2, 2))
        blobs = correlated(rng, plane, 5.5) + 0.12 * correlated(rng, plane, 2.0)
        local = np.tanh(1.3 * np.maximum(blobs - np.quantile(blobs, 0.45), 0.0))
        local *= np.exp(0.15 * correlated(rng, plane, 3.0))
        rate = uniform + pit_share * local / local.mean()
        inside = (depth >= 0) & (z < z.size - _KEPT_ELECTRODE)
        # Without this the whole surface would step back by a voxel at the same moment.
        early = np.clip(0.3 * correlated(rng, plane, 3.0), -0.49, 0.49)
        depth += (0.5 + early).astype(np.float32)
        removal = np.where(inside, depth / rate.astype(np.float32), np.float32(np.inf))
        self._strip = first_to_last(removal)
        self._removal = removal.ravel()[self._strip]
        # The soft polymer follows the uniform part, so that only the local part leaves voids.
        self._front = np.broadcast_to(uniform.astype(np.float32), depth.shape).ravel()[self._strip]
        self._front = depth.ravel()[self._strip] / self._front
        self._electrode = z >= self._surface
        self._plate: np.ndarray | None = None

    def labels(self, pulses: int) -> np.ndarray:
        """Labels after so many pulses."""
        charged = self._up.size - 1
        labels = self._stripped(int(self._up[min(pulses, charged)]))
        if pulses > charged:
            if self._plate is None:
                self._plate = self._redeposition(labels)
            labels.ravel()[self._plate[: int(self._down[pulses - charged])]] = CELL["redeposited"]
        return labels

    def _stripped(self, voxels: int) -> np.ndarray:
        labels = np.where(self._electrode, np.uint8(CELL["electrode"]), np.uint8(CELL["electrolyte"]))
        if voxels:
            gone = self._strip[:voxels]
            filled = self._front[:voxels] <= self._removal[voxels - 1]
            labels.ravel()[gone] = np.where(filled, np.uint8(CELL["electrolyte"]), np.uint8(CELL["pit"]))
        return labels

    def _redeposition(self, labels: np.ndarray) -> np.ndarray:
        """Flat indices in the order in which lithium comes back."""
        from scipy.ndimage import distance_transform_edt

        rng = generator(self._seed, "redeposition")
        plane = labels.shape[1:]
        z = np.arange(labels.shape[0], dtype=np.float32)[:, None, None]
        surface = np.argmax(labels == CELL["electrode"], axis=0)
        depth = (labels == CELL["pit"]).sum(axis=0)
        front = surface - depth
        rate = np.exp(0.30 * correlated(rng, plane, 8.0) + 0.08 * correlated(rng, plane, 2.0))
        # Where a pit is deep, new lithium grows in from its rim and bridges a void that stays empty.
        pit = labels == CELL["pit"]
        kind = correlated(rng, labels.shape, (3.5, 6.0, 6.0))
        kept = pit & (z >= front + 2 + 0.15 * depth) & (depth >= 5)
        if kept.any():
            kept &= kind > np.quantile(kind[kept], 0.45)
            kept &= ~_small(kept)
        inward = distance_transform_edt(depth > 0)
        quick = 0.3
        bridging = kept.any(axis=0)
        in_pit = quick * np.where(bridging, inward + z - front + 0.5, (surface - z - 0.5) / rate)
        above = np.maximum(quick * np.where(bridging, inward + depth, depth / rate), 1.5) + (front - z - 0.5) / rate
        key = np.where(pit & ~kept, in_pit, np.where((z < front) & (z >= 1), above, np.inf)).astype(np.float32)
        return first_to_last(key)


def _foil(rng: np.random.Generator, plane: tuple[int, ...]) -> np.ndarray:
    """Height of a foil's surface about its mean in voxels: flat to about a voxel, and never quite level."""
    tilt = sum(
        rng.uniform(-0.8, 0.8) * ramp for ramp in np.meshgrid(*(np.linspace(-1, 1, n) for n in plane), indexing="ij")
    )
    return np.rint(0.5 * correlated(rng, plane, 10.0) + tilt).astype(int)
