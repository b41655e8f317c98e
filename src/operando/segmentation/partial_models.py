"""Partial models of Huang's loop, and how their predictions are merged into one label per voxel."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from operando import learn
from operando.core.errors import InputError
from operando.core.phases import UNLABELED, PhaseScheme
from operando.segmentation.fitted import scan_scale
from operando.segmentation.network import NetworkSegmenter

_ONE_SIDED = 0.98  # share of a phase's in-plane labels in one half of the cell that confines it there
_BACKGROUND, _VOID, _MATERIAL, _REST = "background", "void", "material", "rest"


@dataclass(frozen=True)
class Groups:
    """Which phases the initial model tells apart, and which have a model of their own.

    Parameters
    ----------
    scheme : PhaseScheme
    members : mapping of str to tuple of int
        Ids of the annotated phases in background, void and material; empty groups are left out.
    single : tuple of int
        Ids with a model of their own: those that share their group with others.
    halves : mapping of int to str
        ``"low"`` or ``"high"`` z, for phases whose in-plane labels all lie there.
    """

    scheme: PhaseScheme
    members: Mapping[str, tuple[int, ...]]
    single: tuple[int, ...]
    halves: Mapping[int, str]

    @property
    def models(self) -> int:
        """Networks to train."""
        return 1 + len(self.single)


def phase_groups(scheme: PhaseScheme, counts: Sequence[np.ndarray]) -> Groups:
    """Group the phases by their roles, and find which half of the cell each belongs to.

    Parameters
    ----------
    scheme : PhaseScheme
    counts : sequence of ndarray, (255, z)
        In-plane annotated voxels of each label in each slice, one per series.

    Raises
    ------
    InputError
        Where fewer than two groups are annotated.

    Examples
    --------
    >>> from operando.core.phases import CELL
    >>> counts = np.zeros((255, 10), int)
    >>> counts[[0, 1]], counts[2, 2], counts[5, 8] = 5, 5, 5
    >>> groups = phase_groups(CELL, [counts])
    >>> dict(groups.members), groups.single, dict(groups.halves)
    ({'background': (0,), 'material': (1, 2, 5)}, (1, 2, 5), {2: 'low', 5: 'high'})
    """
    total = sum(per_slice.sum(axis=1) for per_slice in counts)
    present = [number for number in scheme.ids if total[number]]
    members: dict[str, tuple[int, ...]] = {}
    for group in (_BACKGROUND, _VOID, _MATERIAL):
        ids = tuple(number for number in present if _group(scheme, number) == group)
        if ids:
            members[group] = ids
    if len(members) < 2:
        raise InputError(
            "IterativeSegmenter.fit: in-plane slices must show at least two of background, voids and material, got "
            f"{[scheme.name(number) for number in present]}. Annotate slices near the electrodes."
        )
    single = tuple(number for group in members.values() if len(group) > 1 for number in group)
    halves = {}
    for number in present:
        low = sum(float(part[number, : part.shape[1] // 2].sum()) for part in counts) / float(total[number])
        if _group(scheme, number) == _MATERIAL and not 1 - _ONE_SIDED < low < _ONE_SIDED:
            halves[number] = "low" if low >= _ONE_SIDED else "high"
    return Groups(scheme, members, single, halves)


def _group(scheme: PhaseScheme, number: int) -> str:
    name = scheme.name(number)
    role = scheme.role(name)
    if role == "electrolyte" or name == "background":
        return _BACKGROUND
    return _VOID if role == "void" else _MATERIAL


@dataclass(frozen=True)
class PartialModels:
    """The fitted partial models of a cell.

    Parameters
    ----------
    groups : Groups
    initial : NetworkSegmenter
        Tells the groups apart.
    own : mapping of int to NetworkSegmenter
        One phase against everything else, by its id.
    confidence : float
        Share of all scores from which on the best one is believed.
    """

    groups: Groups
    initial: NetworkSegmenter
    own: Mapping[int, NetworkSegmenter]
    confidence: float

    @classmethod
    def fitted(
        cls,
        grays: list[xr.DataArray],
        marks: Sequence[Any],
        groups: Groups,
        *,
        confidence: float,
        train: Callable[..., NetworkSegmenter],
        told: Callable[[str, float], None],
    ) -> PartialModels:
        """Train them one after the other on in-plane slices.

        Parameters
        ----------
        grays, marks
            Images and in-plane labels (t, z, y, x), one per series.
        groups : Groups
        confidence : float
        train : callable
            ``train(grays, marks, scheme, planes=...)`` returns a fitted network.
        told : callable
            Called as ``told(name, loss)`` after each.
        """

        def one(name: str, table: Mapping[str, tuple[int, ...]]) -> NetworkSegmenter:
            scheme = PhaseScheme({group: number for number, group in enumerate(table)})
            lookup = np.full(256, UNLABELED, np.uint8)
            for number, ids in enumerate(table.values()):
                lookup[list(ids)] = number
            network = train(grays, [_looked_up(part, lookup) for part in marks], scheme, planes="yx")
            told(name, network.history_[-1]["loss"])
            return network

        initial = one(", ".join(groups.members), groups.members)
        every = [number for ids in groups.members.values() for number in ids]
        own = {}
        for number in groups.single:
            name = groups.scheme.name(number)
            rest = tuple(other for other in every if other != number)
            own[number] = one(name, {_REST: rest, name: (number,)})
        return cls(groups, initial, own, confidence)

    def labels(self, volume: Any, core: tuple[slice, ...]) -> np.ndarray:
        """Merged labels (z, y, x) in a box of one scan; 255 where no phase is sure enough.

        Parameters
        ----------
        volume : array or dask array, (z, y, x)
        core : three slices
        """
        first = chances_in(self.initial, volume, core)
        groups = list(self.groups.members)
        scores = []
        ids = [number for members in self.groups.members.values() for number in members]
        middle = volume.shape[0] / 2
        depth = np.arange(core[0].start, core[0].stop) + 0.5
        for group, members in self.groups.members.items():
            for number in members:
                score = first[groups.index(group)]
                if number in self.own:
                    score = score * chances_in(self.own[number], volume, core)[1]
                half = self.groups.halves.get(number)
                if half is not None:
                    score = score * (depth < middle if half == "low" else depth > middle)[:, None, None]
                scores.append(score)
        stacked = np.stack(scores)
        best = stacked.argmax(axis=0)
        sure = stacked.max(axis=0) > self.confidence * stacked.sum(axis=0)
        labels = np.array(ids, np.uint8)[best]
        labels[~sure] = UNLABELED
        return labels


def chances_in(network: NetworkSegmenter, volume: Any, core: tuple[slice, ...]) -> np.ndarray:
    """Probabilities (phase, z, y, x) in a box of one scan, reading only what they need."""
    fitted = network._fitted
    block = np.asarray(volume[learn.read_region(core, volume.shape, fitted.sections)])
    return fitted.block_chances(block, core, volume.shape, scan_scale(volume))


def labels_in(network: NetworkSegmenter, volume: Any, core: tuple[slice, ...]) -> np.ndarray:
    """Most probable labels (z, y, x) in a box of one scan."""
    return np.array(network.phases_.ids, np.uint8)[chances_in(network, volume, core).argmax(axis=0)]


def _looked_up(marks: Any, table: np.ndarray) -> Any:
    if hasattr(marks, "dask"):
        return marks.map_blocks(lambda block: table[block], dtype=np.uint8)
    return table[marks]
