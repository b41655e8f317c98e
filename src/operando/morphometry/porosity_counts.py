"""Voxels of pore and of solid by electrode, by depth beneath the local interface and by lateral tile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import SPACE, require_dims, spacing
from operando.core.errors import InputError
from operando.core.phases import PhaseScheme
from operando.morphometry.boundaries import BOUNDARIES, electrode_boundaries
from operando.morphometry.flattening import known_phases
from operando.morphometry.interface import ENDS, slabs
from operando.morphometry.volume import Phases, checked_labels, scans

MASK = PhaseScheme({"solid": 0, "pore": 1})
"""The phases of a boolean image: True is pore, everything else solid."""


@dataclass(frozen=True)
class Layers:
    """Labels with what is needed to count in them: pore and solid by label, and the surfaces that depth begins at.

    ``near`` and ``far`` are (t, component, y, x) in um: where the depth of a component begins and where it ends at the
    latest. ``into`` is ``lithium`` or ``ceramic``.
    """

    labels: xr.DataArray
    kind: np.ndarray
    near: np.ndarray
    far: np.ndarray
    sign: np.ndarray
    into: str
    boundaries: xr.DataArray

    @property
    def centers(self) -> np.ndarray:
        """Height of the voxel centers in um."""
        step = spacing(self.labels)["z"]
        first = float(self.labels["z"][0]) if "z" in self.labels.coords else 0.0
        return first + step * np.arange(self.labels.sizes["z"])

    @property
    def deepest(self) -> float:
        """Largest depth there can be, in um."""
        low, high = self.centers[[0, -1]] + np.array([-0.5, 0.5]) * spacing(self.labels)["z"]
        far = np.clip(self.far, low, high)
        depth = self.sign[:, None, None] * (far - self.near)
        return float(np.nanmax(depth, initial=0.0))

    def counts(self, *, width: float, bins: int, tiles: tuple[int, int]) -> np.ndarray:
        """Voxels (t, kind, component, bin, tile y, tile x), int64; the kinds are pore and solid."""
        from operando.morphometry.porosity_compiled import count_by_depth

        ny, nx = self.labels.shape[-2:]
        series = scans(self.labels)
        out = np.zeros((len(series), 2, len(ENDS), bins, -(-ny // tiles[0]), -(-nx // tiles[1])), np.int64)
        for t, scan in enumerate(series):
            for planes, slab in slabs(scan):
                part = (self.centers[planes], self.near[t], self.far[t], self.sign, width, tiles)
                count_by_depth(np.ascontiguousarray(slab), self.kind, *part, out[t])
        return out

    def doubt(self, probability: xr.DataArray, *, width: float, bins: int, tiles: tuple[int, int]) -> np.ndarray:
        """Sums of p (1 - p) of the pore (t, component, bin, tile y, tile x)."""
        from operando.morphometry.porosity_compiled import sum_by_depth

        ny, nx = self.labels.shape[-2:]
        series = scans(probability)
        out = np.zeros((len(series), len(ENDS), bins, -(-ny // tiles[0]), -(-nx // tiles[1])))
        for t, scan in enumerate(series):
            for planes, slab in slabs(scan):
                part = (self.centers[planes], self.near[t], self.far[t], self.sign, width, tiles)
                sum_by_depth(np.ascontiguousarray(slab, dtype=np.float32), *part, out[t])
        return out


def layers(
    labels: xr.DataArray,
    phases: Phases | None,
    *,
    pore: str,
    solid: str,
    boundaries: xr.DataArray | None,
    where: str,
) -> Layers:
    """What is pore, what is solid and how deep it lies; the boundaries are found where they are not given."""
    labels, scheme, members = pore_labels(labels, phases, pore=pore, solid=solid, where=where)
    spacing(labels, where=where)
    if boundaries is None:
        if scheme is MASK:
            raise InputError(
                f"{where}: a boolean image does not show where the interface is, got boundaries=None. "
                "Pass boundaries=electrode_boundaries(labels) of the labels it was made from."
            )
        boundaries = electrode_boundaries(labels, scheme)
    boundaries = boundaries.compute()
    surfaces = _surfaces(boundaries, labels, where=where)
    kind = np.full(256, -1, np.int8)
    kind[members[0]], kind[members[1]] = 0, 1
    low, high = surfaces["low interface"], surfaces["high interface"]
    if not (np.isfinite(low).any() or np.isfinite(high).any()):
        raise InputError(
            f"{where}: an interface between lithium and ceramic is needed, but no column shows one. "
            "Check the phases and the field of view, or pass boundaries=..."
        )
    if scheme.role(solid if scheme is not MASK else "solid") == "electrolyte":
        # Halfway between the interfaces, or all of it where only one of them is known.
        middle = (low + high) / 2
        far = np.stack([np.nan_to_num(middle, nan=np.inf), np.nan_to_num(middle, nan=-np.inf)], axis=1)
        sign, into = np.array([1.0, -1.0]), "ceramic"
    else:
        below, above = surfaces["low collector"], surfaces["high collector"]
        far = np.stack([np.nan_to_num(below, nan=-np.inf), np.nan_to_num(above, nan=np.inf)], axis=1)
        sign, into = np.array([-1.0, 1.0]), "lithium"
    return Layers(labels, kind, np.stack([low, high], axis=1), far, sign, into, boundaries)


def pore_labels(
    labels: xr.DataArray, phases: Phases | None, *, pore: str, solid: str, where: str
) -> tuple[xr.DataArray, PhaseScheme, tuple[int, int]]:
    """Labels as uint8 in order, their phases, and the ids of pore and solid; a boolean image is True where pore is."""
    if isinstance(labels, xr.DataArray) and labels.dtype == bool:
        require_dims(labels, SPACE, where=where, optional=("t",))
        _, labels = checked_labels(labels.astype(np.uint8), MASK, where=where)
        return labels, MASK, (MASK["pore"], MASK["solid"])
    scheme, labels = checked_labels(labels, known_phases(labels, phases, where=where), where=where)
    return labels, scheme, (scheme.phase(pore).id, scheme.phase(solid).id)


def tile_voxels(
    labels: xr.DataArray, tile_um: float, *, dims: Sequence[str] = ("y", "x"), where: str
) -> dict[str, int]:
    """Voxels along each dim of the tiles nearest to the size asked for."""
    step = spacing(labels, where=where)
    largest = max(step[dim] for dim in dims)
    if not (np.isfinite(tile_um) and tile_um >= 0.5 * largest):
        raise InputError(
            f"{where}: tile_um must be at least one voxel ({largest:g} um), got {tile_um!r}. "
            "Give it in micrometers, for example 36."
        )
    return {dim: max(1, round(tile_um / step[dim])) for dim in dims}


def tile_centers(labels: xr.DataArray, tiles: tuple[int, int], count: tuple[int, int]) -> dict[str, Any]:
    """Coordinates y and x of the first ``count`` tiles."""
    coords: dict[str, Any] = {}
    step = spacing(labels)
    for dim, size, number in zip(("y", "x"), tiles, count, strict=True):
        first = float(labels[dim][0]) if dim in labels.coords else 0.0
        values = first + step[dim] * (size * np.arange(number) + (size - 1) / 2)
        attrs = {"units": "um", "long_name": f"Position {dim}", "spacing": size * step[dim]}
        coords[dim] = (dim, values, attrs)
    return coords


def _surfaces(boundaries: xr.DataArray, labels: xr.DataArray, *, where: str) -> dict[str, np.ndarray]:
    """Heights (t, y, x) of all four boundaries; NaN for those that are not given."""
    require_dims(boundaries, ("component", "y", "x"), where=where, optional=("t",))
    have = [str(name) for name in boundaries.coords["component"].values] if "component" in boundaries.coords else []
    if not {"low interface", "high interface"} & set(have):
        raise InputError(
            f"{where}: boundaries must have the component 'low interface' or 'high interface', got {have}. "
            "Make them with electrode_boundaries or boundaries_from_profiles."
        )
    count = labels.sizes.get("t", 1)
    shape = (count, labels.sizes["y"], labels.sizes["x"])
    out = {}
    for name in BOUNDARIES:
        if name not in have:
            out[name] = np.full(shape, np.nan, np.float32)
            continue
        height = np.asarray(boundaries.sel(component=name).values, dtype=np.float32)
        if height.ndim == 2:
            height = height[None]
        if height.shape[1:] != shape[1:] or height.shape[0] not in (1, count):
            raise InputError(
                f"{where}: boundaries must have the scans and columns of the labels {shape}, got {height.shape}. "
                "Select the same scans and region of both."
            )
        out[name] = np.broadcast_to(height, shape)
    return out
