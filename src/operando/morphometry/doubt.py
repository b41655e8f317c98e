"""How much volume the probabilities of a segmenter leave in doubt, found while its labels are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import SPACE, require_dims, voxel_volume
from operando.core.errors import InputError
from operando.core.phases import UNLABELED, PhaseScheme
from operando.morphometry.interface import plating_end
from operando.morphometry.sides import SIDE_COMPONENTS, fixed_and_free
from operando.morphometry.surface_error import LITHIUM
from operando.morphometry.volume import Phases, by_component

_PLANE_VOXELS = 1 << 20


def probability_moments(
    probability: xr.DataArray,
    phases: Phases,
    *,
    plating_side: str | None = None,
    write: Callable[[xr.DataArray], Any] | None = None,
) -> xr.Dataset:
    """Expected and doubtful volume of every component, in the pass that makes the labels.

    Parameters
    ----------
    probability : DataArray of float, dims ([t], phase, z, y, x), coordinates in um
        Calibrated probability of each phase, the ``phase`` coordinate naming them; NaN where nothing is known.
        May be lazy.
    phases : PhaseScheme or mapping of str to int
        What the ids mean.
    plating_side : {"low", "high"}, optional
        Where given (or in ``probability.attrs``), the two sides of the cell are included.
    write : callable, optional
        Called once with the most probable labels, lazy where the probabilities are. It must compute all of them, by
        storing them for example; the moments then come from the same pass and no probability is computed twice.
        Without it the labels are not made.

    Returns
    -------
    Dataset, dims ([t], component)
        Components: the phases, ``lithium`` for all lithium phases together where there are any, and ``plating side``
        and ``stripping side`` where the side is known.

        - ``expected`` (um3): sum of the probabilities, times the volume of a voxel
        - ``doubt`` (um3): sum of p (1 - p), times the volume of a voxel

    Raises
    ------
    InputError, AxesError, UnitsError
        Where the phases or dims are others, the voxel size is not known, or ``write`` left blocks out.

    Notes
    -----
    .. math:: E = v \\sum_i p_i, \\qquad B = v \\sum_i p_i (1 - p_i)

    The probability of a union of phases is the sum of theirs. The sides are told apart as in
    :func:`lithium_by_side`, but at one plane of each scan, halfway between the electrodes: where it passes through
    polymer alone, that is the same.

    Were the voxels independent, the variance of a volume would be v B, which is far too small:
    :func:`residual_correlation` measures how much. ``expected`` is no better a volume than the count of the labels
    (docs/quantities/uncertainty.md has the figures) and is here as a check.

    Memory: 12 bytes per voxel of one block of a lazy image and thread, beside the block itself. ``write`` must run in
    this process (threads).

    Examples
    --------
    Two voxels of 1 um3, electrode with probabilities 1 and 0.75:

    >>> from operando.core.axes import labeled_image
    >>> p = np.array([[0.0, 0.25], [1.0, 0.75]]).reshape(2, 1, 1, 2)
    >>> probability = labeled_image(p, dims=("phase", "z", "y", "x"), voxel_size_um=1.0,
    ...     coords={"phase": ["electrolyte", "electrode"]})
    >>> moments = probability_moments(probability, {"electrolyte": 0, "electrode": 1})
    >>> moments.sel(component="electrode").to_array().values.tolist()
    [1.75, 0.1875]
    """
    where = "probability_moments"
    scheme = PhaseScheme.of(phases)
    probability = matched_probability(probability, scheme, where=where)
    voxel = voxel_volume(probability, where=where)
    members = Members.of(scheme, plating_side or probability.attrs.get("plating_side"), where=where)
    series = probability if "t" in probability.dims else probability.expand_dims("t")
    count, depth = series.sizes["t"], series.sizes["z"]
    found = np.zeros((count, len(members.sets), 2, depth))
    tally: dict[tuple[int, ...], np.ndarray] = {}
    data = series.data
    if series.chunks is None:
        found[:] = _profiles(data, members.sets)
        if write is not None:
            write(_labels(_most_probable(data, scheme.ids), probability, scheme, members))
    else:
        import dask
        import dask.array as da

        data = data.rechunk({1: -1})
        grid = [data.numblocks[axis] for axis in (0, 2, 3, 4)]
        if write is None:
            lazy = [dask.delayed(_profiles)(block, members.sets) for block in data.to_delayed().ravel()]
            tally = dict(zip(np.ndindex(*grid), dask.compute(*lazy), strict=True))
        else:

            def label(block: np.ndarray, block_id: tuple[int, ...]) -> np.ndarray:
                tally[block_id] = _profiles(block, members.sets)
                return _most_probable(block, scheme.ids)

            meta = np.empty((0,) * 4, np.uint8)
            write(
                _labels(
                    da.map_blocks(label, data, drop_axis=1, dtype=np.uint8, meta=meta), probability, scheme, members
                )
            )
        if len(tally) != int(np.prod(grid)):
            raise InputError(
                f"{where}: write must compute all {int(np.prod(grid))} blocks of the labels in this process, got "
                f"{len(tally)}. Store the whole of what it is given, with threads."
            )
        starts = [np.concatenate([[0], np.cumsum(data.chunks[axis])]) for axis in (0, 2)]
        for (t, z, *_), part in tally.items():
            found[starts[0][t] : starts[0][t + 1], ..., starts[1][z] : starts[1][z + 1]] += part
    values = np.stack([members.volumes(profile) for profile in found]) * voxel
    return xr.Dataset(
        {
            name: by_component(values[:, :, k], probability, members.names, units="um3", long_name=title)
            for k, (name, title) in enumerate((("expected", "Expected volume"), ("doubt", "Doubtful volume")))
        }
    )


@dataclass(frozen=True)
class Members:
    """Which phases, by position, make up each sum over planes, and how those sums make components.

    ``sets`` are the phases, lithium, and per end of z the lithium fixed to it without and with the free one.
    """

    scheme: PhaseScheme
    sets: tuple[tuple[int, ...], ...]
    names: tuple[str, ...]
    ends: tuple[str, ...]

    @classmethod
    def of(cls, scheme: PhaseScheme, plating_side: str | None, *, where: str) -> Members:
        """Sets of a scheme, with the sides where the plating side is known."""
        place = {number: k for k, number in enumerate(scheme.ids)}
        sets: list[tuple[int, ...]] = [(k,) for k in range(len(scheme))]
        names = list(scheme.names)
        lithium = scheme.names_by_role("lithium")
        if lithium and LITHIUM not in scheme:
            sets.append(tuple(place[scheme[name]] for name in lithium))
            names.append(LITHIUM)
        if plating_side is None:
            return cls(scheme, tuple(sets), tuple(names), ())
        nothing = xr.DataArray(attrs={"plating_side": plating_side})
        plating = plating_end(nothing, plating_side, where=where)
        fixed, free = fixed_and_free(nothing, scheme, plating_side, None, None, where=where)
        ends = (plating, "high" if plating == "low" else "low")
        for end in ends:
            sets.append(tuple(place[number] for number in fixed[end]))
            sets.append(tuple(place[number] for number in (*fixed[end], *free)))
        return cls(scheme, tuple(sets), (*names, *SIDE_COMPONENTS), ends)

    def volumes(self, profile: np.ndarray) -> np.ndarray:
        """Sums (component, ...) of a profile (set, ..., z), in voxels."""
        if not self.ends:
            return np.asarray(profile.sum(axis=-1))
        whole = len(self.names) - len(SIDE_COMPONENTS)
        near = self.near(profile[self.scheme.ids.index(self.scheme["electrode"]), 0])
        sides = [
            (profile[whole + 2 * k] * ~near[end] + profile[whole + 2 * k + 1] * near[end]).sum(axis=-1)
            for k, end in enumerate(self.ends)
        ]
        return np.concatenate([profile[:whole].sum(axis=-1), np.stack(sides)])

    def near(self, electrode: np.ndarray) -> dict[str, np.ndarray]:
        """Planes that are nearer to the electrode at each end of z, by the electrode in every plane."""
        low = np.arange(electrode.size) < _middle(electrode)
        return {"low": low, "high": ~low}


def _middle(profile: np.ndarray) -> int:
    """Plane halfway between the two electrodes: in the widest gap between planes more than half as full as the fullest.

    Examples
    --------
    >>> _middle(np.array([9, 9, 1, 0, 0, 0, 9.0])), _middle(np.array([9, 9, 0.0])), _middle(np.zeros(6))
    (4, 3, 3)
    """
    if not profile.any():
        return profile.size // 2
    full = np.flatnonzero(profile > 0.5 * profile.max())
    gaps = np.diff(full)
    if gaps.size and gaps.max() > 1:
        return int(full[gaps.argmax()] + 1 + full[gaps.argmax() + 1]) // 2
    return profile.size if full.mean() < (profile.size - 1) / 2 else 0


def union(p: np.ndarray, members: Sequence[int]) -> np.ndarray:
    """Probability of any of some phases; ``phase`` is the first axis."""
    if len(members) == 1:
        return np.asarray(p[members[0]])
    total = np.zeros(p.shape[1:], np.float32)
    for k in members:
        total += p[k]
    return np.minimum(total, 1)


def _profiles(block: np.ndarray, sets: Sequence[Sequence[int]]) -> np.ndarray:
    """Sums of p and p (1 - p) over every plane: (t, set, 2, z) of a block (t, phase, z, y, x)."""
    scans, _, depth, *plane = block.shape
    out = np.zeros((scans, len(sets), 2, depth))
    thick = max(1, _PLANE_VOXELS // max(1, int(np.prod(plane))))
    for t in range(scans):
        for z in range(0, depth, thick):
            p = np.nan_to_num(np.asarray(block[t][:, z : z + thick], dtype=np.float32))
            for k, chosen in enumerate(sets):
                chance = union(p, chosen)
                out[t, k, 0, z : z + thick] = chance.sum(axis=(1, 2), dtype=float)
                out[t, k, 1, z : z + thick] = (chance * (1 - chance)).sum(axis=(1, 2), dtype=float)
    return out


def _most_probable(block: np.ndarray, ids: Sequence[int]) -> np.ndarray:
    """Labels (t, z, y, x) of a block (t, phase, z, y, x); 255 where a probability is NaN."""
    labels = np.array(ids, np.uint8)[np.argmax(block, axis=1)]
    labels[np.isnan(block).any(axis=1)] = UNLABELED
    return labels


def _labels(data: Any, probability: xr.DataArray, scheme: PhaseScheme, members: Members) -> xr.DataArray:
    attrs = {"units": "1", "long_name": "Phase", "phases": scheme.to_dict()}
    if members.ends:
        attrs["plating_side"] = members.ends[0]
    like = probability.isel(phase=0, drop=True)
    return like.copy(data=data if "t" in like.dims else data[0]).assign_attrs(attrs).rename("labels")


def matched_probability(
    probability: xr.DataArray, scheme: PhaseScheme, *, where: str, sizes: Mapping[Any, int] | None = None
) -> xr.DataArray:
    """Probabilities in the order ([t], phase, z, y, x) and of the scheme, once they are known to fit."""
    require_dims(probability, ("phase", *SPACE), where=where, optional=("t",))
    have = [str(name) for name in probability.coords["phase"].values] if "phase" in probability.coords else []
    if sorted(have) != sorted(scheme.names):
        raise InputError(
            f"{where}: the coordinate 'phase' must name the phases {list(scheme.names)}, got {have}. "
            "Assign it with .assign_coords(phase=[...])."
        )
    order = [dim for dim in ("t", "phase", *SPACE) if dim in probability.dims]
    if have != list(scheme.names):
        probability = probability.sel(phase=list(scheme.names))
    probability = probability.transpose(*order)
    shape = {dim: size for dim, size in probability.sizes.items() if dim != "phase"}
    if sizes is not None and shape != dict(sizes):
        raise InputError(
            f"{where}: probability and annotation must have one shape, got {shape} and {dict(sizes)}. "
            "Select the annotated scans of the probabilities."
        )
    return probability
