"""Make sparse annotations out of known labels, the way a person would have drawn them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import SPACE, require_dims
from operando.core.errors import AxesError, InputError, nearest
from operando.core.phases import UNLABELED
from operando.segmentation.contract import SERIES


def label_slices(
    labels: xr.DataArray, *, slices: int | Sequence[int] = 6, scans: Iterable[int] | None = None, axis: str = "y"
) -> xr.DataArray:
    """Annotate whole cross-sections and leave the rest unlabeled.

    Parameters
    ----------
    labels : DataArray of uint8, dims ([t], z, y, x)
        Known labels.
    slices : int or sequence of int
        Positions along ``axis``, or how many to spread evenly.
    scans : iterable of int, optional
        Scans to annotate; default all. Without a time axis there is only 0.
    axis : str
        ``"y"`` annotates cross-sections (z, x), ``"x"`` (z, y), ``"z"`` (y, x).

    Returns
    -------
    DataArray of uint8, same dims and coordinates
        255 where nothing was annotated.

    Raises
    ------
    InputError, AxesError
        Where a scan, a slice or the axis is not there.

    Examples
    --------
    >>> labels = xr.DataArray(np.zeros((2, 3, 4), np.uint8), dims=("z", "y", "x"))
    >>> marks = label_slices(labels, slices=[1])
    >>> int((marks == 0).sum()), bool((marks[:, 1] == 0).all())
    (8, True)
    """
    values, chosen, dims = _prepared(labels, scans, "label_slices")
    if axis not in dims or axis == "t":
        raise AxesError(f"label_slices: there is no spatial axis {axis!r} in {dims}. {nearest(axis, SPACE)}")
    size = labels.sizes[axis]
    if isinstance(slices, int):
        if not 1 <= slices <= size:
            raise InputError(f"label_slices: from 1 to {size} slices along {axis!r} are possible, got {slices}.")
        places = ((2 * np.arange(slices) + 1) * size // (2 * slices)).tolist()
    else:
        places = [int(place) for place in slices]
        if not places or not all(0 <= place < size for place in places):
            raise InputError(f"label_slices: slices along {axis!r} must lie from 0 to {size - 1}, got {places}.")
    marks = np.full(values.shape, UNLABELED, np.uint8)
    index: list[Any] = [slice(None)] * values.ndim
    index[dims.index(axis)] = places
    for scan in chosen:
        if "t" in dims:
            index[0] = scan
        marks[tuple(index)] = values[tuple(index)]
    return labels.copy(data=marks)


def draw_strokes(
    labels: xr.DataArray,
    *,
    strokes_per_phase: int = 5,
    width: int = 2,
    length: int = 40,
    scans: Iterable[int] | None = None,
    axis: str = "y",
    seed: int = 0,
) -> xr.DataArray:
    """Annotate with freehand strokes, each inside one phase of one cross-section.

    Parameters
    ----------
    labels : DataArray of uint8, dims ([t], [z], y, x)
        Known labels; 255 stays unlabeled.
    strokes_per_phase : int
        Strokes for each phase of each scan that has it.
    width : int
        Of the pen in voxels.
    length : int
        Of a stroke in voxels, at most: it ends where it would leave its phase.
    scans : iterable of int, optional
        Scans to annotate; default all.
    axis : str
        Normal of the cross-sections that are drawn on; ignored for an image (y, x).
    seed : int

    Returns
    -------
    DataArray of uint8, same dims and coordinates
        255 where nobody drew.

    Notes
    -----
    A stroke starts at a random voxel of its phase and walks on, one voxel at a time, in a direction
    that wanders by about 15 degrees a step and turns back at the border of the phase. What the pen
    covers beyond its phase is not annotated.

    Examples
    --------
    >>> labels = xr.DataArray(np.repeat(np.array([[0, 1]], np.uint8), 20, 1).repeat(30, 0), dims=("y", "x"))
    >>> marks = draw_strokes(labels, strokes_per_phase=2, length=10)
    >>> drawn = marks.values != 255
    >>> bool((marks.values[drawn] == labels.values[drawn]).all()), bool(drawn.any()), bool(drawn.all())
    (True, True, False)
    """
    values, chosen, dims = _prepared(labels, scans, "draw_strokes")
    if min(strokes_per_phase, width, length) < 1:
        raise InputError(
            "draw_strokes: strokes_per_phase, width and length must be at least 1, got "
            f"{strokes_per_phase}, {width} and {length}."
        )
    if "z" in dims and axis not in SPACE:
        raise AxesError(f"draw_strokes: there is no spatial axis {axis!r}. {nearest(axis, SPACE)}")
    normal = ("z", "y", "x").index(axis) if "z" in dims else 0
    marks = np.full(values.shape, UNLABELED, np.uint8)
    for scan in chosen:
        volume = values[scan] if "t" in dims else values
        drawn = marks[scan] if "t" in dims else marks
        if "z" not in dims:
            volume, drawn = volume[None], drawn[None]
        sections, canvas = np.moveaxis(volume, normal, 0), np.moveaxis(drawn, normal, 0)
        for phase in np.setdiff1d(np.unique(volume), [UNLABELED]):
            rng = np.random.default_rng([seed, scan, int(phase)])
            per_section = (sections == phase).sum(axis=(1, 2))
            for _ in range(strokes_per_phase):
                place = int(rng.choice(per_section.size, p=per_section / per_section.sum()))
                _stroke(canvas[place], sections[place] == phase, int(phase), width, length, rng)
    return labels.copy(data=marks)


def _stroke(
    canvas: np.ndarray, inside: np.ndarray, phase: int, width: int, length: int, rng: np.random.Generator
) -> None:
    starts = np.argwhere(inside)
    at = starts[rng.integers(len(starts))].astype(float)
    direction = rng.uniform(0, 2 * np.pi)
    low, high = -(width // 2), width - width // 2
    for _ in range(length):
        row, column = np.rint(at).astype(int)
        pen = (slice(max(0, row + low), row + high), slice(max(0, column + low), column + high))
        canvas[pen][inside[pen]] = phase
        for _ in range(8):
            direction += rng.normal(scale=0.26)
            ahead = at + (np.sin(direction), np.cos(direction))
            r, c = np.rint(ahead).astype(int)
            if 0 <= r < inside.shape[0] and 0 <= c < inside.shape[1] and inside[r, c]:
                at = ahead
                break
            direction += np.pi * rng.uniform(0.5, 1.5)
        else:
            return


def _prepared(
    labels: xr.DataArray, scans: Iterable[int] | None, where: str
) -> tuple[np.ndarray, list[int], tuple[str, ...]]:
    require_dims(labels, ("y", "x"), optional=("t", "z"), where=where)
    dims = tuple(str(dim) for dim in labels.dims)
    if dims != tuple(dim for dim in SERIES if dim in dims):
        raise AxesError(f"{where}: dims must stand in the order {SERIES}, got {dims}. Transpose the labels first.")
    if labels.dtype != np.uint8:
        raise InputError(f"{where}: a label image is uint8, got {labels.dtype}. Convert it with .astype('uint8').")
    count = labels.sizes.get("t", 1)
    chosen = list(range(count)) if scans is None else [int(scan) for scan in scans]
    if not chosen or not all(0 <= scan < count for scan in chosen):
        raise InputError(f"{where}: scans must lie from 0 to {count - 1}, got {chosen}. Count them from 0.")
    return labels.values, chosen, dims
