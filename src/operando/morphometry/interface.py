"""Where the surfaces are and how large: electrode surfaces as height maps, interface area by Crofton's formula."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
import xarray as xr

from operando.core.axes import spacing
from operando.core.errors import InputError, PhaseError, nearest
from operando.core.phases import UNLABELED, PhaseScheme
from operando.morphometry.volume import Phases, by_component, checked_labels, over_columns, scans

SLAB_VOXELS = 1 << 22
"""Voxels worked on at a time where a function walks through a volume in slabs of whole planes."""
_ROW_VOXELS = 1 << 30


def electrode_surfaces(labels: xr.DataArray, phases: Phases, *, electrode: str = "electrode") -> xr.DataArray:
    """Height of the inner surface of each electrode, place by place.

    Parameters
    ----------
    labels : DataArray of uint8, dims ([t], z, y, x), z in um
        Phase ids; ``z`` normal to the electrodes. May be lazy.
    phases : PhaseScheme or mapping of str to int
        What the ids mean.
    electrode : str
        The phase both electrodes are labeled with.

    Returns
    -------
    DataArray of float32, dims ([t], component, y, x), units "um"
        ``component`` is ``low`` and ``high``: the position along ``z`` of the voxel face at which the
        electrode at low ``z`` ends and at which the one at high ``z`` begins. NaN in columns without that
        electrode, and everywhere where a cell has only one. Lazy where ``labels`` is.

    Raises
    ------
    PhaseError
        Where the scheme has no such phase.
    InputError
        Where a scan holds no voxel of it.

    Notes
    -----
    The two electrodes are told apart by the widest gap between planes that are more than half as full of
    electrode as the fullest. In a column the surface is the face at which "electrode before it, something
    else behind it" is contradicted by the fewest voxels, so that specks in the electrolyte and holes in
    the electrode do not move it. Whole voxels: accurate to half a voxel.

    Do not trust it where the electrodes are tilted by more than the gap between them. Memory: the
    columns of one block; reads the image twice.

    Examples
    --------
    Electrodes of two and one voxels of 2 um, three voxels apart:

    >>> from operando.core.axes import labeled_image
    >>> labels = labeled_image(np.array([1, 1, 0, 0, 0, 1], np.uint8).reshape(6, 1, 1), voxel_size_um=2.0)
    >>> electrode_surfaces(labels, {"electrolyte": 0, "electrode": 1}).values.ravel().tolist()
    [3.0, 9.0]
    """
    scheme, labels = checked_labels(labels, phases, where="electrode_surfaces")
    step = spacing(labels, where="electrode_surfaces")["z"]
    return electrode_faces(labels, scheme, electrode, step=step, where="electrode_surfaces")


def electrode_faces(
    labels: xr.DataArray, scheme: PhaseScheme, electrode: str, *, step: float | None = None, where: str
) -> xr.DataArray:
    """:func:`electrode_surfaces`, in voxels from the lower face of the first plane where no ``step`` is given."""
    number = scheme[electrode]
    # Faces in voxels from the start of the axis, where no length is asked for; else in its unit.
    origin = -0.5 * step + float(labels["z"][0]) if step is not None and "z" in labels.coords else 0.0
    scale = 1.0 if step is None else step
    maps = []
    for index, scan in enumerate(scans(labels)):
        spans = electrode_spans(scan, number, where=f"{where}: scan {index}" if "t" in labels.dims else where)

        def height(block: np.ndarray, spans: list[tuple[int, int] | None] = spans) -> np.ndarray:
            out = np.full((*block.shape[:-1], 2), np.nan, dtype=np.float32)
            for side, span in enumerate(spans):
                if span is None:
                    continue
                ahead = range(span[0], span[1]) if side == 0 else range(span[1] - 1, span[0] - 1, -1)
                depth = step_depth(block, (number,), ahead)
                face = span[0] + depth if side == 0 else span[1] - depth
                out[..., side] = np.where(depth > 0, origin + scale * face, np.nan)
            return out

        maps.append(over_columns(height, scan, "component", ["low", "high"], dtype=np.float32))
    result = xr.concat(maps, dim="t") if "t" in labels.dims else maps[0]
    result = result.transpose(..., "component", "y", "x")
    unit = "px" if step is None else "um"
    return result.assign_attrs(units=unit, long_name=f"Surface of the {electrode}")


def step_depth(block: np.ndarray, members: tuple[int, ...], ahead: range) -> np.ndarray:
    """Voxels up to the step from member to non-member along ``ahead``, the last axis of ``block``.

    The step at which the fewest voxels contradict "members before, others behind"; 0 where there is none.
    Unlabeled voxels vote for neither.

    Examples
    --------
    >>> step_depth(np.array([1, 0, 1, 1, 0, 0, 1, 0], np.uint8), (1,), range(8)).item()
    4
    """
    vote = np.full(256, -1, dtype=np.int32)
    vote[list(members)] = 1
    vote[UNLABELED] = 0
    score = np.zeros(block.shape[:-1], dtype=np.int32)
    best = np.zeros_like(score)
    depth = np.zeros_like(score)
    for count, k in enumerate(ahead, start=1):
        score += vote[block[..., k]]
        better = score > best
        best[better] = score[better]
        depth[better] = count
    return depth


def electrode_spans(scan: xr.DataArray, number: int, *, where: str) -> list[tuple[int, int] | None]:
    """Planes from each electrode's back to the middle of the gap: low and high, None where it is missing."""
    profile = plane_counts(scan, number)
    if not profile.any():
        raise InputError(
            f"{where}: two electrodes facing each other along z are needed, got no electrode voxel (id {number}). "
            "Check the phase scheme and the field of view, or name the phase with electrode=..."
        )
    full = np.flatnonzero(profile > 0.5 * profile.max())
    gaps = np.diff(full)
    depth = profile.size
    if gaps.size and gaps.max() > 1:
        last, first = int(full[gaps.argmax()]), int(full[gaps.argmax() + 1])
        middle = (last + 1 + first) // 2
        return [(int(full[0]), middle), (middle, int(full[-1]) + 1)]
    if full.mean() < (depth - 1) / 2:
        return [(int(full[0]), depth), None]
    return [None, (0, int(full[-1]) + 1)]


def plane_counts(scan: xr.DataArray, number: int) -> np.ndarray:
    """Voxels with the id ``number`` in every plane along ``z``, int64."""
    if scan.chunks is None:
        return np.array([np.count_nonzero(plane == number) for plane in scan.values], dtype=np.int64)
    return np.asarray((scan.data == number).sum(axis=(1, 2), dtype=np.int64).compute())


def interface_area(labels: xr.DataArray, phases: Phases) -> xr.DataArray:
    """Area of the surface of each component towards all others.

    Parameters
    ----------
    labels : DataArray of uint8, dims ([t], z, y, x), coordinates in um
        Phase ids. May be lazy.
    phases : PhaseScheme or mapping of str to int
        What the ids mean.

    Returns
    -------
    DataArray of float64, dims ([t], component), units "um2"

    Notes
    -----
    Crofton's formula: twice the mean number of crossings per length of test lines, times the volume. The
    lines run along the 13 directions between neighboring voxels, each weighted by the solid angle that is
    nearest to it (Voronoi cells on the sphere, for the actual, possibly unequal voxel edges)

    .. math:: S = 2 v \\sum_k c_k N_k / l_k, \\qquad \\sum_k c_k = 1

    Counting voxel faces instead overstates a sphere by half. Accuracy for equal edges: a sphere of ten
    voxels radius to 1 %; a plane normal to an axis is understated by 7 %, the worst case, plus its
    last row where it leaves the field of view. The border of the field of view and borders with unlabeled
    voxels are not surface.

    Memory: about 20 bytes per voxel of a slab of at most 2^22 voxels (or one plane), and a row of chunks.

    Reference
    ---------
    Legland, Kieu and Devaux, Image Analysis & Stereology 26 (2007) 83, doi:10.5566/ias.v26.p83-92

    Examples
    --------
    A half space of 40 x 40 voxels of 1 um, thus 1600 um2 of plane:

    >>> from operando.core.axes import labeled_image
    >>> labels = np.zeros((4, 40, 40), dtype=np.uint8)
    >>> labels[:2] = 1
    >>> area = interface_area(labeled_image(labels, voxel_size_um=1.0), {"electrolyte": 0, "electrode": 1})
    >>> round(area.sel(component="electrode").item() / 1600, 2)
    0.9
    """
    scheme, labels = checked_labels(labels, phases, where="interface_area")
    offsets, weights = crossing_areas(labels, where="interface_area")
    areas = []
    for scan in scans(labels):
        crossings = np.zeros((len(offsets), 256), dtype=np.int64)
        for planes, slab in slabs(scan, overlap=1):
            for k, near, far in neighbor_pairs(slab.shape, offsets, planes.stop - planes.start):
                one, other = slab[near], slab[far]
                apart = (one != other) & (one != UNLABELED) & (other != UNLABELED)
                crossings[k] += np.bincount(one[apart], minlength=256) + np.bincount(other[apart], minlength=256)
        areas.append(weights @ crossings)
    values = np.stack(areas)[:, list(scheme.ids)]
    return by_component(values, labels, scheme.names, units="um2", long_name="Interface area")


Offsets = list[tuple[int, int, int]]


def crossing_areas(labels: xr.DataArray, *, where: str) -> tuple[Offsets, np.ndarray]:
    """The 13 directions between neighboring voxels and the area in um2 that each crossing along them stands for."""
    step = spacing(labels, where=where)
    edges = np.array([step[dim] for dim in ("z", "y", "x")])
    offsets, shares = _directions(tuple(edges))
    return offsets, 2 * edges.prod() * shares / np.linalg.norm(np.array(offsets) * edges, axis=1)


def neighbor_pairs(
    shape: tuple[int, ...], offsets: Offsets, planes: int
) -> Iterator[tuple[int, tuple[slice, ...], tuple[slice, ...]]]:
    """For each direction, its number and where both ends of all pairs are that start in the first ``planes``."""

    def cut(size: int, shift: int) -> tuple[slice, slice]:
        return slice(max(0, -shift), size - max(0, shift)), slice(max(0, shift), size + min(0, shift))

    for k, (dz, dy, dx) in enumerate(offsets):
        depth = min(planes, shape[0] - dz)
        (y0, y1), (x0, x1) = cut(shape[1], dy), cut(shape[2], dx)
        yield k, (slice(0, depth), y0, x0), (slice(dz, depth + dz), y1, x1)


def _directions(edges: tuple[float, ...]) -> tuple[Offsets, np.ndarray]:
    """The 13 directions to neighboring voxels and the share of the sphere that is nearest to each."""
    from scipy.spatial import SphericalVoronoi

    near = (-1, 0, 1)
    offsets = [offset for offset in product(near, near, near) if offset > (0, 0, 0)]
    vectors = np.array(offsets, dtype=float) * np.array(edges)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cells = SphericalVoronoi(np.concatenate([vectors, -vectors])).calculate_areas()
    return offsets, 2 * cells[: len(offsets)] / cells.sum()


def slabs(
    scan: xr.DataArray, *, overlap: int = 0, slab_voxels: int = SLAB_VOXELS
) -> Iterator[tuple[slice, np.ndarray]]:
    """Walk through a volume in slabs of whole planes, each followed by ``overlap`` planes of the next.

    A lazy volume is read row of chunks by row of chunks along z (one byte per voxel of a row), so that no
    chunk is decoded twice; a row of more than 2^30 voxels is read slab by slab instead.
    """
    depth, thick = scan.shape[0], slab_planes(scan, slab_voxels)
    rows = _chunk_rows(scan)
    held: dict[int, np.ndarray] = {}
    for start in range(0, depth, thick):
        stop = min(start + thick, depth)
        end = min(stop + overlap, depth)
        if not rows:
            piece = scan.data[start:end]
            yield slice(start, stop), np.asarray(piece if scan.chunks is None else piece.compute())
            continue
        parts = []
        for first, last in rows:
            if last <= start:
                held.pop(first, None)
            elif first < end:
                if first not in held:
                    held[first] = np.asarray(scan.data[first:last].compute())
                parts.append(held[first][max(start - first, 0) : end - first])
        yield slice(start, stop), parts[0] if len(parts) == 1 else np.concatenate(parts)


def _chunk_rows(scan: xr.DataArray) -> list[tuple[int, int]]:
    """First and last plane of every row of chunks; none where it is better to read without."""
    if scan.chunks is None:
        return []
    ends = np.cumsum(scan.chunks[0]).tolist()
    rows = list(zip([0, *ends[:-1]], ends, strict=True))
    plane = int(np.prod(scan.shape[1:]))
    return rows if max(last - first for first, last in rows) * plane <= _ROW_VOXELS else []


def slab_planes(scan: xr.DataArray, slab_voxels: int) -> int:
    """Planes in a slab of at most ``slab_voxels``, at least one."""
    return max(1, slab_voxels // int(np.prod(scan.shape[1:])))


# Where Huang 2023 defines its phases: "the redeposited Li and pits only appeared on the Li-stripping side, while
# the deposited Li only existed on the Li-plating side"; dendrites protrude from the plating side.
SIDE_OF = {"deposited": "plating", "dendrite": "plating", "pit": "stripping", "redeposited": "stripping"}
SIDES = ("plating", "stripping")
ENDS = ("low", "high")


def plating_end(labels: xr.DataArray, plating_side: str | None, *, where: str) -> str:
    """The end of ``z`` that is plated on first charge: as given, else as the labels' attrs say."""
    value = plating_side if plating_side is not None else labels.attrs.get("plating_side")
    if value is None:
        raise InputError(
            f"{where}: the side that is plated on first charge must be known, got plating_side=None and no "
            "attrs['plating_side']. Pass plating_side='low' or 'high' (the end of z)."
        )
    if value not in ENDS:
        raise InputError(f"{where}: plating_side must be 'low' or 'high' z, got {value!r}. {nearest(str(value), ENDS)}")
    return str(value)


def phase_sides(scheme: PhaseScheme, side_of: dict[str, str] | None, *, where: str) -> dict[str, str]:
    """Side of each phase that by definition has one; the others are split by position."""
    if side_of is None:
        return {name: side for name, side in SIDE_OF.items() if name in scheme}
    for name, side in side_of.items():
        if name not in scheme:
            raise PhaseError(f"{where}: side_of names the unknown phase {name!r}. {nearest(name, scheme)}")
        if side not in SIDES:
            raise InputError(f"{where}: the side of {name!r} must be one of {SIDES}, got {side!r}. Correct side_of.")
    return dict(side_of)


def middle_face(surfaces: xr.DataArray) -> np.ndarray:
    """Face along z that is halfway between the electrodes of one scan: dims (y, x), in the unit of ``surfaces``.

    Columns without an electrode take the median of the others. Infinite where only one electrode is
    there, so that everything is on its side.
    """
    heights = {end: surfaces.sel(component=end).values.astype(float) for end in ENDS}
    missing = {end: bool(np.isnan(values).all()) for end, values in heights.items()}
    if missing["high"]:
        return np.full(heights["low"].shape, np.inf)
    if missing["low"]:
        return np.full(heights["high"].shape, -np.inf)
    filled = [np.where(np.isnan(values), np.nanmedian(values), values) for values in heights.values()]
    return (filled[0] + filled[1]) / 2
