"""Several fields of view, one above the other, to one volume."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import SPACE, axis_spacing, labeled_image, require_dims
from operando.core.blocks import iter_blocks
from operando.core.errors import InputError
from operando.core.provenance import record

# A cubic spline forgets a factor 0.27 per voxel; after 12 voxels float32 hardly sees a difference.
_MARGIN = 12
_BOX = (64, 256, 256)
_STEPS, _SETTLED = 20, 1e-3


def stitch(
    parts: Sequence[xr.DataArray],
    *,
    overlap_voxels: float | Sequence[float] | None = None,
    positions: Sequence[float] | None = None,
    search_voxels: int = 4,
    match_gray: bool = True,
    slab: int = 32,
) -> xr.DataArray:
    """Join overlapping volumes of a vertical series of scans.

    Parameters
    ----------
    parts : sequence of DataArray, dims (z, y, x)
        Volumes on one voxel grid of the same y and x, in the order of z; may be lazy.
    overlap_voxels : float or one per neighboring pair, optional
        How many planes neighbors share, about.
    positions : sequence of float, optional
        Where the first plane of each part is, about, in the unit of its z axis (um or px): the stage's reading. Default
        without ``overlap_voxels``: the z coordinates of the parts.
    search_voxels : int
        By how much that may be wrong, along each axis.
    match_gray : bool
        Bring every part to the gray values of the one before it by a gain and an offset, fitted where both show the
        sample.
    slab : int
        Planes computed at once.

    Returns
    -------
    DataArray, dims (z, y, x), units of the first part
        float32 on the grid of the first part, lazy where any part is; NaN where no part shows anything. ``attrs``:
        ``positions_voxels`` (where the first voxel of each part is on the grid of the first, z, y, x), ``gain`` and
        ``offset`` per part, ``correlation`` per neighboring pair after alignment.

    Raises
    ------
    InputError, AxesError
        Where the parts do not fit together, do not overlap, or show nothing alike where they do.

    Notes
    -----
    Neighbors are registered in their overlap (a central box of at most 64 x 256 x 256 voxels): normalized correlation
    for whole voxels, then least squares for the rest,

    .. math:: A(r) \\approx g\\, B(r + d) + o

    for displacement d, gain g and offset o together. Positions, gains and offsets add up from the first part on. Each
    part but the first is resampled once by a cubic spline. Over an overlap the weight passes linearly from one part to
    the other.

    When not to trust it: the overlap must hold structure in all directions, which a stack of flat layers along z does
    not; rings are at the same place in every part and pull the displacement in the plane to zero (remove them first).
    Neighbors that are rotated or were changed by the scan between do not fit at all: look at ``correlation``.

    Memory: the boxes of a pair, and per thread a slab of every part in it, three times.

    Examples
    --------
    >>> whole = labeled_image(np.random.default_rng(0).random((40, 24, 24), dtype=np.float32))
    >>> parts = [whole[:24].drop_vars("z"), whole[14:].drop_vars("z")]
    >>> joined = stitch(parts, overlap_voxels=9)
    >>> joined.sizes["z"], bool(abs(joined - whole).max() < 1e-2)
    (40, True)
    """
    where = "stitch"
    volumes = _checked(parts, where=where)
    starts = _starts(volumes, overlap_voxels, positions, where=where)
    if search_voxels < 1 or slab < 1:
        raise InputError(f"{where}: search_voxels and slab must be at least 1, got {search_voxels} and {slab}.")
    places, gains, offsets, likeness = [np.zeros(3)], [1.0], [0.0], []
    for k in range(1, len(volumes)):
        nominal = np.array([starts[k] - starts[k - 1], 0.0, 0.0])
        found, gain, offset, score = _register(volumes[k - 1], volumes[k], nominal, search_voxels, where=where)
        places.append(places[-1] + found)
        likeness.append(round(score, 4))
        # Of the values of this part, in those of the first.
        gains.append(gains[-1] * gain if match_gray else 1.0)
        offsets.append(gains[-2] * offset + offsets[-1] if match_gray else 0.0)
    joined = _joined(volumes, places, gains, offsets, slab)
    first = volumes[0]
    result = _on_grid_of(first, joined)
    result.attrs = {
        **first.attrs,
        "positions_voxels": [[round(float(v), 4) for v in place] for place in places],
        "gain": [float(g) for g in gains],
        "offset": [float(o) for o in offsets],
        "correlation": likeness,
        "provenance": record(
            "operando.tomography.stitch",
            {"search_voxels": search_voxels, "match_gray": match_gray, "parts": len(volumes)},
        ),
    }
    return result


def _checked(parts: Sequence[xr.DataArray], *, where: str) -> list[xr.DataArray]:
    if len(parts) < 2:
        raise InputError(f"{where}: a sequence of at least two volumes is needed. Pass stitch([lower, upper], ...).")
    volumes = []
    for part in parts:
        require_dims(part, SPACE, where=where)
        volumes.append(part.transpose(*SPACE))
    first = volumes[0]
    for number, part in enumerate(volumes):
        grid = [axis_spacing(part, dim, where=where) for dim in SPACE]
        wanted = [axis_spacing(first, dim, where=where) for dim in SPACE]
        same = all(np.isclose(a[0], b[0], rtol=1e-4) and a[1] == b[1] for a, b in zip(grid, wanted, strict=True))
        if part.shape[1:] != first.shape[1:] or not same:
            raise InputError(
                f"{where}: all parts must have one voxel size and the same y and x, got part {number} with "
                f"{part.shape} voxels of {grid} beside {first.shape} of {wanted}. Crop or calibrate them alike."
            )
    return volumes


def _starts(
    volumes: Sequence[xr.DataArray],
    overlap: float | Sequence[float] | None,
    positions: Sequence[float] | None,
    *,
    where: str,
) -> np.ndarray:
    """About where each part begins, in planes of the first."""
    count = len(volumes)
    if overlap is not None and positions is not None:
        raise InputError(f"{where}: overlap_voxels and positions say the same thing. Pass one of them.")
    step, _ = axis_spacing(volumes[0], "z", where=where)
    if overlap is not None:
        shared = np.broadcast_to(np.asarray(overlap, dtype=float), (count - 1,))
        heights = np.array([part.sizes["z"] for part in volumes[:-1]], dtype=float)
        starts = np.concatenate([[0.0], np.cumsum(heights - shared)])
    elif positions is not None:
        if len(positions) != count:
            raise InputError(f"{where}: positions must be one per part, got {len(positions)} for {count} parts.")
        starts = (np.asarray(positions, dtype=float) - float(positions[0])) / step
    else:
        own = [float(part.coords["z"][0]) if "z" in part.coords else 0.0 for part in volumes]
        starts = (np.asarray(own) - own[0]) / step
    ends = starts + [part.sizes["z"] for part in volumes]
    shared = ends[:-1] - starts[1:]
    if np.any(np.diff(starts) <= 0) or np.any(shared < 3):
        raise InputError(
            f"{where}: every part must begin above the one before it and share at least 3 planes with it, got starts "
            f"at {starts.round(1).tolist()} and {shared.round(1).tolist()} shared planes. "
            "Pass overlap_voxels or positions."
        )
    return starts


def _register(
    lower: xr.DataArray, upper: xr.DataArray, nominal: np.ndarray, search: int, *, where: str
) -> tuple[np.ndarray, float, float, float]:
    """Place of ``upper`` in voxels of ``lower``, the gain and offset that bring it to its gray values, likeness."""
    begin = round(nominal[0])
    planes = min(lower.sizes["z"] - begin, upper.sizes["z"])
    margins = [max(0, n - m) // 2 for n, m in zip((planes, *lower.shape[1:]), _BOX, strict=True)]
    z, y, x = (slice(m, n - m) for m, n in zip(margins, (planes, *lower.shape[1:]), strict=True))
    a = _smooth(lower[z.start + begin : z.stop + begin, y, x])
    b = _smooth(upper[z, y, x])
    whole = _whole_voxels(a, b, search)
    shift, gain, offset, score = _subvoxel(a, b, whole)
    if not score > 0.1 or np.abs(shift - whole).max() > 2:
        raise InputError(
            f"{where}: neighbors must look alike where they overlap, got a correlation of {score:.2f}. "
            "Check the order of the parts and their overlap, or pass a larger search_voxels."
        )
    # b(r + shift) is a(r): the upper part begins that much earlier.
    return np.array([begin, 0.0, 0.0]) - shift, gain, offset, score


def _smooth(part: xr.DataArray) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    values = np.asarray(part.values, dtype=np.float64)
    finite = np.isfinite(values)
    if not finite.all():
        values = np.where(finite, values, values[finite].mean() if finite.any() else 0.0)
    # Interpolating noise would smooth it and so prefer half a voxel; it is smooth already.
    return np.asarray(gaussian_filter(values, 0.8, mode="nearest"))


def _whole_voxels(a: np.ndarray, b: np.ndarray, search: int) -> np.ndarray:
    """Shift with the largest normalized correlation of a(r) and b(r + shift): every fourth voxel first."""
    best = np.zeros(3, dtype=int)
    deep = min(search, a.shape[0] - 2)
    for stride in (4, 2, 1):
        if stride > 1 and min(a.shape[1:]) < 16 * stride:
            continue
        coarse = list(range(-search, search + 1, stride)) if stride == 4 or not best.any() else None
        flat = coarse if coarse is not None else [-stride, 0, stride]
        around = np.zeros(3, dtype=int) if coarse is not None else best
        tall = range(-deep, deep + 1) if coarse is not None else (-1, 0, 1)
        scored = {}
        for dz, dy, dx in product(tall, flat, flat):
            shift = around + (dz, dy, dx)
            if np.abs(shift[1:]).max() <= search and abs(shift[0]) <= deep:
                scored[tuple(shift)] = _likeness(*_common(a, b, shift, stride))
        best = np.array(max(scored, key=lambda key: scored[key]))
    return best


def _common(a: np.ndarray, b: np.ndarray, shift: np.ndarray, stride: int) -> tuple[np.ndarray, np.ndarray]:
    of_a = tuple(slice(max(0, -s), n - max(0, s)) for s, n in zip(shift, a.shape, strict=True))
    of_b = tuple(slice(max(0, s), n - max(0, -s)) for s, n in zip(shift, a.shape, strict=True))
    thin = (slice(None), slice(None, None, stride), slice(None, None, stride))
    return a[of_a][thin], b[of_b][thin]


def _likeness(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt(np.sum(a * a) * np.sum(b * b)))
    return float(np.sum(a * b)) / norm if norm > 0 else -1.0


def _subvoxel(a: np.ndarray, b: np.ndarray, whole: np.ndarray) -> tuple[np.ndarray, float, float, float]:
    """Gauss-Newton for a(r) = gain b(r + shift) + offset, from whole voxels on."""
    from scipy.ndimage import shift as moved
    from scipy.ndimage import spline_filter

    coefficients = spline_filter(b, order=3, mode="mirror")
    shift = whole.astype(float)
    gain, offset = 1.0, 0.0
    # Two planes less than both show, for the gradient; as much as the shift may still grow.
    edges = [int(np.ceil(abs(s))) + 2 for s in whole]
    edges = [min(e, (n - 1) // 2) for e, n in zip(edges, a.shape, strict=True)]
    inner = tuple(slice(e, n - e) for e, n in zip(edges, a.shape, strict=True))
    wanted = a[inner].ravel()
    for _ in range(_STEPS):
        seen = moved(coefficients, -shift, order=3, mode="mirror", prefilter=False)
        slopes = [np.gradient(seen, axis=axis)[inner].ravel() for axis in range(3)]
        matrix = np.stack([seen[inner].ravel(), np.ones(wanted.size), *slopes], axis=1)
        solution = np.linalg.lstsq(matrix.T @ matrix, matrix.T @ wanted, rcond=1e-12)[0]
        gain, offset = float(solution[0]), float(solution[1])
        if not abs(gain) > 1e-12:
            break
        step = np.clip(solution[2:] / gain, -0.5, 0.5)
        shift = shift + step
        if np.abs(step).max() < _SETTLED:
            break
    seen = moved(coefficients, -shift, order=3, mode="mirror", prefilter=False)
    return shift, gain, offset, _likeness(a[inner], seen[inner])


def _joined(
    volumes: Sequence[xr.DataArray],
    places: Sequence[np.ndarray],
    gains: Sequence[float],
    offsets: Sequence[float],
    slab: int,
) -> Any:
    import dask.array as da

    height = int(np.floor(max(p[0] + v.sizes["z"] - 1 for p, v in zip(places, volumes, strict=True)) + 1e-6)) + 1
    width = volumes[0].shape[1:]
    spans = [(p[0], p[0] + v.sizes["z"] - 1) for p, v in zip(places, volumes, strict=True)]

    def planes(low: int, high: int) -> np.ndarray:
        total = np.zeros((high - low, *width), dtype=np.float32)
        weight = np.zeros_like(total)
        z = np.arange(low, high)
        for k, part in enumerate(volumes):
            share = _share(z, spans, k)
            if not share.any():
                continue
            values = gains[k] * _resampled(part, places[k], low, high) + offsets[k]
            share = np.where(np.isfinite(values), share[:, None, None], 0.0).astype(np.float32)
            total += share * np.where(share > 0, values, 0.0).astype(np.float32)
            weight += share
        with np.errstate(invalid="ignore"):
            return np.where(weight > 0, total / weight, np.nan).astype(np.float32)

    blocks = [(b.core[0].start, b.core[0].stop) for b in iter_blocks((height,), (slab,))]
    if all(isinstance(part.data, np.ndarray) for part in volumes):
        return np.concatenate([planes(low, high) for low, high in blocks])
    from dask import delayed

    lazy = [
        da.from_delayed(delayed(planes, pure=False)(low, high), shape=(high - low, *width), dtype=np.float32)
        for low, high in blocks
    ]
    return da.concatenate(lazy)


def _share(z: np.ndarray, spans: Sequence[tuple[float, float]], k: int) -> np.ndarray:
    """Weight of part ``k`` at planes ``z``: 0 outside, rising and falling linearly over its overlaps."""
    low, high = spans[k]
    share = np.where((z >= low - 0.5) & (z <= high + 0.5), 1.0, 0.0)
    if k > 0 and spans[k - 1][1] > low:
        share *= np.clip((z - low + 0.5) / (spans[k - 1][1] - low + 1.0), 0.0, 1.0)
    if k + 1 < len(spans) and spans[k + 1][0] < high:
        share *= np.clip((high - z + 0.5) / (high - spans[k + 1][0] + 1.0), 0.0, 1.0)
    return share


def _resampled(part: xr.DataArray, place: np.ndarray, low: int, high: int) -> np.ndarray:
    """Planes ``low`` to ``high`` of the grid of the first part, NaN where this one does not reach."""
    from scipy.ndimage import shift as moved

    size = part.shape
    out = np.full((high - low, *size[1:]), np.nan, dtype=np.float32)
    first = int(np.floor(low - place[0]))
    begin, end = max(0, first - _MARGIN), min(size[0], first + high - low + 1 + _MARGIN)
    if begin >= end:
        return out
    values = np.asarray(part.data[begin:end].compute(scheduler="synchronous") if part.chunks else part.data[begin:end])
    if np.abs(place - np.round(place)).max() < 1e-6:
        order, whole = 0, values.astype(np.float32)
    else:
        order, whole = 3, np.asarray(values, dtype=np.float64)
    # The result has as many planes as asked for, so the rest of what was read is moved out of it.
    offset = np.array([low - place[0] - begin, -place[1], -place[2]])
    padded = np.zeros((max(high - low, whole.shape[0]), *size[1:]), dtype=whole.dtype)
    padded[: whole.shape[0]] = whole
    padded[whole.shape[0] :] = whole[-1:]
    seen = moved(padded, -offset, order=order, mode="nearest")[: high - low]
    axes = [np.arange(low, high) - place[0], np.arange(size[1]) - place[1], np.arange(size[2]) - place[2]]
    inside = [(at >= -0.5 - 1e-9) & (at <= n - 0.5 + 1e-9) for at, n in zip(axes, size, strict=True)]
    kept = inside[0][:, None, None] & inside[1][None, :, None] & inside[2][None, None, :]
    out[kept] = seen[kept]
    return out


def _on_grid_of(first: xr.DataArray, values: Any) -> xr.DataArray:
    steps = [axis_spacing(first, dim, where="stitch") for dim in SPACE]
    calibrated = steps[0][1] == "um"
    origin = [float(first.coords[dim][0]) if dim in first.coords else 0.0 for dim in SPACE]
    return labeled_image(
        values,
        dims=SPACE,
        voxel_size_um=[step for step, _ in steps] if calibrated else None,
        origin_um=origin,
        name=None if first.name is None else str(first.name),
    )
