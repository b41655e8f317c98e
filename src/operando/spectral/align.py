"""Drift of a stack over photon energy: one shift per image, found although contrast changes, and taken out."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from operando.core import units
from operando.core.axes import SPACE, axis_spacing
from operando.core.errors import AxesError, InputError, UnitsError
from operando.core.provenance import record
from operando.spectral.align_model import refine
from operando.spectral.align_pairs import agree
from operando.spectral.align_resample import resampled
from operando.spectral.stacks import as_stack

_WHERE = "align"
_LARGEST = 512  # px along y and x that are worked on; larger images are averaged down to that
_LEAST = 16  # px
_COUNTS_ABOVE = 20.0
_MOST_SHARE = 0.25
_LINKED_SHARE = 0.25
_SIGNED = -0.5  # optical density that noise around 0 reaches


def align(
    stack: xr.DataArray, *, reference_energy: float | None = None, maximum_shift: float | None = None, order: int = 3
) -> xr.Dataset:
    """Find the shift of each image of a stack over photon energy, and move the images back.

    Parameters
    ----------
    stack : DataArray, dims (energy, y, x)
        Counts, transmission or optical density; missing is NaN. May be lazy.
    reference_energy : float, optional
        Energy in eV of the image that stays where it is (the nearest one there is). Without it the reference is the
        mean position: the shifts have mean zero.
    maximum_shift : float, optional
        Largest shift between two images, in the unit of the axes. Default: a quarter of the field.
    order : {3, 1, 0}
        Of the interpolation in ``aligned``, see :func:`apply_shifts`.

    Returns
    -------
    Dataset
        ``aligned`` (energy, y, x), lazy; ``shift_y``, ``shift_x``, ``shift_sigma`` (energy) in the unit of the axes. A
        point at (y, x) in the reference is seen at (y + shift_y, x + shift_x) in the image of that energy.
    """
    stack = _checked(stack, _WHERE)
    count = stack.sizes["energy"]
    steps, unit = _steps(stack, _WHERE)
    images, binning = _loaded(stack)
    blank = np.array([not np.isfinite(image).any() for image in images])
    used = np.flatnonzero(~blank)
    if used.size < 2:
        raise InputError(f"{_WHERE}: two images or more must have values, got {used.size} of {count}. Check the stack.")
    flat = _even_noise(images[used], stack)
    edges = steps * binning
    most = _most(maximum_shift, edges, flat.shape[1:])
    whole = np.stack([np.nan_to_num(image, nan=float(np.nanmedian(image))) for image in flat])
    agreed = agree(whole, most)
    if agreed.linked.sum() < max(2, _LINKED_SHARE * used.size):
        raise InputError(
            f"{_WHERE}: the images must show structure that they share, and {int(agreed.linked.sum())} of {used.size} "
            "do: elsewhere no correlation stands out from chance. Leave the alignment out, or choose a field with "
            "particles and their edges."
        )
    found = refine(flat, agreed.shift, agreed.variance)
    shift, sigma = _referred(found.shift, found.covariance, _reference(stack, used, reference_energy))
    every, errors = np.full((count, 2), np.nan), np.full((count, 2), np.nan)
    every[used], errors[used] = shift * edges, sigma * edges
    coords = {"energy": stack.coords["energy"]} if "energy" in stack.coords else {}
    made = xr.Dataset()
    for axis, dim in enumerate(("y", "x")):
        about = {"units": unit, "long_name": f"Shift along {dim}"}
        made[f"shift_{dim}"] = xr.DataArray(every[:, axis], dims="energy", coords=coords, attrs=about)
    about = {"units": unit, "long_name": "Standard error of a shift, larger of both axes"}
    made["shift_sigma"] = xr.DataArray(errors.max(axis=1), dims="energy", coords=coords, attrs=about)
    made["aligned"] = apply_shifts(stack, made["shift_y"], made["shift_x"], order=order)
    parameters = {"reference_energy": reference_energy, "maximum_shift": maximum_shift, "order": order}
    made.attrs["provenance"] = record(_WHERE, parameters)
    made.attrs["components"] = found.components
    return made


def apply_shifts(stack: xr.DataArray, shift_y: Any, shift_x: Any, *, order: int = 3) -> xr.DataArray:
    """Move each image of a stack back by its shift.

    Parameters
    ----------
    stack : DataArray, dims (energy, y, x)
        Real or complex; missing is NaN. May be lazy.
    shift_y, shift_x : DataArray or array-like, one value per energy
        A point at (y, x) of the result is at (y + shift_y, x + shift_x) in the image: in the unit of the axes, or
        in that of their ``attrs["units"]``.
    order : {3, 1, 0}
        Cubic spline, linear, nearest.

    Returns
    -------
    DataArray, dims (energy, y, x), lazy
    """
    import dask.array as da

    where = "apply_shifts"
    stack = _checked(stack, where)
    if order not in (0, 1, 3):
        raise InputError(f"{where}: order must be 3 (cubic spline), 1 (linear) or 0 (nearest), got {order!r}.")
    steps, unit = _steps(stack, where)
    shifts = np.stack(
        [
            _in_pixels(shift, step, unit, stack.sizes["energy"], name)
            for shift, step, name in zip((shift_y, shift_x), steps, ("shift_y", "shift_x"), strict=True)
        ],
        axis=1,
    )
    dtype = np.result_type(stack.dtype, np.float32)
    data = stack.data if hasattr(stack.data, "dask") else da.from_array(stack.values, chunks=(1, -1, -1))
    data = data.rechunk({1: -1, 2: -1})
    each = da.from_array(shifts, chunks=(data.chunks[0], -1))

    def move(block: np.ndarray, along: np.ndarray) -> np.ndarray:
        return np.stack(
            [resampled(image.astype(dtype), one, order) for image, one in zip(block, along[:, 0], strict=True)]
        )

    out = da.map_blocks(move, data, each[:, None], dtype=dtype, chunks=data.chunks, meta=np.empty((0, 0, 0), dtype))
    return stack.copy(data=out)


def _checked(stack: Any, where: str) -> xr.DataArray:
    stack = as_stack(stack, where=where)
    if set(stack.dims) != {"energy", "y", "x"}:
        raise AxesError(f"{where}: dims (energy, y, x) are needed, got {tuple(stack.dims)}. Select a plane first.")
    if min(stack.sizes["y"], stack.sizes["x"]) < _LEAST and where == _WHERE:
        raise InputError(
            f"{where}: images must have {_LEAST} pixels or more along y and x, got {stack.sizes['y']} x "
            f"{stack.sizes['x']}. A larger field is needed to tell a shift."
        )
    return stack


def _steps(stack: xr.DataArray, where: str) -> tuple[np.ndarray, str]:
    found = [axis_spacing(stack, dim, where=where) for dim in SPACE[1:]]
    if found[0][1] != found[1][1]:
        raise UnitsError(
            f"{where}: y and x must share a unit, got {found[0][1]} and {found[1][1]}. "
            "Set them with operando.calibrate(stack, voxel_size_um=...)."
        )
    return np.array([step for step, _ in found]), found[0][1]


def _loaded(stack: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    """All images as float32, averaged down where they are large, one chunk of energies in memory at a time."""
    factor = np.array([max(1, -(-stack.sizes[dim] // _LARGEST)) for dim in ("y", "x")])
    size = [stack.sizes[dim] // int(f) for dim, f in zip(("y", "x"), factor, strict=True)]
    images = np.empty((stack.sizes["energy"], *size), dtype=np.float32)
    chunks = stack.chunks[0] if stack.chunks else (1,) * stack.sizes["energy"]
    start = 0
    for length in chunks:
        block = np.asarray(stack[start : start + length].values)
        block = np.abs(block) if np.iscomplexobj(block) else block.astype(np.float32)
        block = block[:, : size[0] * factor[0], : size[1] * factor[1]]
        parts = block.reshape(length, size[0], factor[0], size[1], factor[1])
        images[start : start + length] = parts.mean(axis=(2, 4))
        start += length
    return images, factor


def _even_noise(images: np.ndarray, stack: xr.DataArray) -> np.ndarray:
    """The square root of what is counted, which has the same Poisson noise everywhere, up to a factor.

    That of an optical density is exp(-density / 2); for a transmission this is nearly a straight line and does no harm.
    """
    # Units may be left over from before a logarithm.
    counted = float(np.nanmin(images)) >= 0 and (
        stack.attrs.get("units") == "counts" or float(np.nanmedian(images)) > _COUNTS_ABOVE
    )
    if counted:
        images = np.sqrt(images)
    elif float(np.nanquantile(images, 0.01)) > _SIGNED:
        images = np.exp(-0.5 * np.clip(images, -1, None))
    return np.asarray(images / max(float(np.nanstd(images)), 1e-30), dtype=np.float32)


def _most(maximum_shift: float | None, edges: np.ndarray, shape: tuple[int, ...]) -> tuple[float, float]:
    if maximum_shift is None:
        return _MOST_SHARE * shape[0], _MOST_SHARE * shape[1]
    if not (np.isfinite(maximum_shift) and maximum_shift > 0):
        raise InputError(f"{_WHERE}: maximum_shift must be positive, in the unit of the axes, got {maximum_shift!r}.")
    return float(maximum_shift / edges[0]), float(maximum_shift / edges[1])


def _reference(stack: xr.DataArray, used: np.ndarray, energy: float | None) -> int | None:
    """Position among the images used."""
    if energy is None:
        return None
    if "energy" not in stack.coords:
        raise InputError(f"{_WHERE}: reference_energy needs a stack with the coordinate 'energy' in eV. Assign it.")
    own = np.asarray(stack.coords["energy"].values, dtype=float) * units.factor(
        str(stack.coords["energy"].attrs.get("units", "eV")), "eV"
    )
    if not own.min() - 1 <= energy <= own.max() + 1:
        raise InputError(
            f"{_WHERE}: reference_energy must lie between the energies of the stack, {own.min():g} to {own.max():g} "
            f"eV, got {energy:g}."
        )
    return int(np.argmin(np.abs(own[used] - energy)))


def _referred(shift: np.ndarray, covariance: np.ndarray, reference: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Shifts and their errors with mean zero, or with zero at one image."""
    count = len(shift)
    weights = np.full(count, 1 / count) if reference is None else np.eye(count)[reference]
    change = np.eye(count) - weights[None, :]
    turned = np.kron(np.eye(2), change)
    errors = np.sqrt(np.clip(np.diag(turned @ covariance @ turned.T), 0, None))
    return change @ shift, errors.reshape(2, count).T


def _in_pixels(shift: Any, step: float, unit: str, count: int, name: str) -> np.ndarray:
    factor = 1.0 / step
    own = shift.attrs.get("units") if isinstance(shift, xr.DataArray) else None
    if own is not None and units.canonical(str(own)) != unit:
        pixels = units.canonical(str(own)) == units.PIXEL
        factor = 1.0 if pixels else units.factor(str(own), unit) / step
    values = np.asarray(shift, dtype=float)
    if values.shape != (count,):
        raise InputError(f"apply_shifts: {name} must have one value per energy, {count}, got the shape {values.shape}.")
    return np.asarray(values * factor)
