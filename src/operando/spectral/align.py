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
from operando.spectral.align_resample import filled, resampled
from operando.spectral.stacks import as_stack

_WHERE = "align"
_LARGEST = 512  # px along y and x that are worked on; larger images are averaged down to that
_LEAST = 16  # px
_COUNTS_ABOVE = 20.0
_BRIGHT = 200.0  # counts
_MOST_SHARE = 0.25
_LINKED_SHARE = 0.25
_POWER = 0.4


def align(
    stack: xr.DataArray, *, reference_energy: float | None = None, maximum_shift: float | None = None, order: int = 3
) -> xr.Dataset:
    """Find the shift of each image of a stack over photon energy, and move the images back.

    Parameters
    ----------
    stack : DataArray, dims (energy, y, x)
        Counts, transmission or optical density; of complex values the magnitude is used. Missing is NaN. May be lazy.
    reference_energy : float, optional
        Energy in eV of the image that stays where it is (the nearest one there is). Without it the reference is the
        mean position: the shifts have mean zero.
    maximum_shift : float, optional
        Largest shift along an axis between two images, in the unit of the axes. Default: a quarter of the field.
    order : {3, 1, 0}
        Of the interpolation in ``aligned``, see :func:`apply_shifts`.

    Returns
    -------
    Dataset
        ``aligned`` (energy, y, x), lazy, of the values that were given; ``shift_y``, ``shift_x`` (energy) in the unit
        of the axes; ``shift_sigma`` (energy), the larger standard error of both. A point at (y, x) of the reference is
        seen at (y + shift_y, x + shift_x) in the image of that energy. An image without any value has shift NaN.
        ``attrs["components"]``: how many spectra the model of the stack was made of.

    Raises
    ------
    AxesError, UnitsError
        Where the dims are others, or an axis is uneven.
    InputError
        Where images share no structure that stands out from chance (an empty field), fewer than two have values, they
        are smaller than 16 pixels, or an argument is not possible.

    Notes
    -----
    1. Of counts the logarithm is taken where even the darkest pixels hold 200, else the power 0.4: near the square
       root, which makes Poisson noise even, and toward the logarithm. Anything else stays as it is.
    2. Each image is compared with those 1, 2, 3, 5, ..., 34 energies on by the correlation of its fine detail (of
       coarser detail where that shows nothing), of either sign. The shifts :math:`s_k` solve
       :math:`s_j - s_i = d_{ij}` by least squares over all pairs at once, reweighted so that pairs which disagree
       with the rest lose their weight. An image without any pair is compared with what the others have in common.
    3. The images moved back are a few spectra times a few images, :math:`A_k(r) = \\sum_j c_{kj} b_j(r)`, so that the
       others predict each image with its own contrast. Shifts, spectra and images are fitted together (variable
       projection: the derivatives with the shifts are projected off what the model could do as well), with one
       component more once the shifts have settled, until the next is noise by the criterion of Gavish and Donoho
       (2014) or less than noise of 1 % of the contrast would be: without the latter, a stack without noise gets
       components until they have swallowed its drift.

    What the model cannot tell, a shift of all images with much of one component against the others, the pairs decide
    with a standard error of 0.05 px against a misfit of at least 0.3 % of the power. ``shift_sigma`` holds the scatter
    of the equations between cells of 8 x 8 pixels, this, and 0.01 px for what the model leaves out; where no
    correlation of an image stands out it is at least the largest shift allowed over the square root of 3.

    Memory: five float32 copies of the stack, of images averaged down to at most 512 x 512 pixels; ``aligned`` one
    chunk of energies. Measured accuracy and time are in the documentation, "Alignment over energy".

    Do not trust it below 0.1 px for fewer than twelve energies or 1000 photons, nor where the sample itself moves,
    turns or is damaged, where the magnification changes with energy (zone plates out of focus), or where a pattern of
    the detector is stronger than the sample.

    References
    ----------
    Golub and Pereyra, SIAM J. Numer. Anal. 10 (1973) 413 (variable projection); Gavish and Donoho, IEEE Trans. Inf.
    Theory 60 (2014) 5040.

    Examples
    --------
    A disc seen one pixel to either side of the reference:

    >>> y, x = np.mgrid[-20:21, -20:21]
    >>> disc = [np.clip(10 - np.hypot(y, x - dx), 0, 1) for dx in (-1, 1)]
    >>> found = align(xr.DataArray(disc, dims=("energy", "y", "x"), coords={"energy": [700.0, 710.0]}))
    >>> found.shift_x.values.round(1).tolist()
    [-1.0, 1.0]
    """
    stack = _checked(stack, _WHERE)
    count = stack.sizes["energy"]
    steps, unit = _steps(stack, _WHERE)
    images, binning = _loaded(stack)
    blank = np.array([not np.isfinite(image).any() for image in images])
    used = np.flatnonzero(~blank)
    if used.size < 2:
        raise InputError(f"{_WHERE}: two images or more must have values, got {used.size} of {count}. Check the stack.")
    flat = _evened(images[used], stack)
    edges = steps * binning
    most = _most(maximum_shift, edges, flat.shape[1:])
    agreed = agree(np.stack([filled(image)[0] for image in flat]), most)
    if agreed.linked.sum() < max(2, _LINKED_SHARE * used.size):
        raise InputError(
            f"{_WHERE}: the images must show structure that they share, and {int(agreed.linked.sum())} of {used.size} "
            "do: elsewhere no correlation stands out from chance. Leave the alignment out, or choose a field with "
            "particles and their edges."
        )
    found = refine(flat, agreed.shift, agreed.variance)
    shift, sigma = _referred(found.shift, found.covariance, _reference(stack, used, reference_energy))
    every, errors = np.full((count, 2), np.nan), np.full((count, 2), np.nan)
    # Where nothing stood out, the model may have followed noise: anywhere within the largest shift.
    lost = ~agreed.linked
    sigma[lost] = np.maximum(sigma[lost], np.array(most) / np.sqrt(3))
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
    shift_y, shift_x : DataArray or array-like, one value per energy in the order of the stack
        A point at (y, x) of the result is at (y + shift_y, x + shift_x) in the image: in the unit of the axes, or
        in that of their ``attrs["units"]``. NaN makes an image of NaN.
    order : {3, 1, 0}
        Cubic spline, linear, nearest (for masks).

    Returns
    -------
    DataArray, dims (energy, y, x), lazy
        NaN where the image does not reach, and where a missing pixel takes part in a linear interpolation. Integers
        become float32 (or float64).

    Raises
    ------
    InputError, UnitsError
        Where there is not one shift per energy, or an axis is uneven.

    Notes
    -----
    Interpolation smooths: a shift by half a pixel along both axes leaves 0.76 of the standard deviation of white noise
    by the cubic spline and 0.50 by straight lines, a shift of no pixel all of it; on the average over fractions
    0.80 and 0.44 of the *variance*. The noise of neighboring pixels is then correlated. Where errors matter more than
    sharpness, unmix with the sigma of what was measured, which is an upper bound after alignment.

    Each energy is moved when it is computed; memory is three copies of a chunk of energies.

    Examples
    --------
    >>> stack = xr.DataArray([[[1.0, 2.0, 4.0]]], dims=("energy", "y", "x"))
    >>> apply_shifts(stack, [0.0], [1.0]).values.tolist()
    [[[2.0, 4.0, nan]]]
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


def _evened(images: np.ndarray, stack: xr.DataArray) -> np.ndarray:
    """Of counts the logarithm, of which the components are few, or a power between that and the square root, of
    which Poisson noise is the same everywhere; anything else as it is, so that densities stay a sum of components.
    """
    # Units may be left over from before a logarithm.
    counted = float(np.nanmin(images)) >= 0 and (
        stack.attrs.get("units") == "counts" or float(np.nanmedian(images)) > _COUNTS_ABOVE
    )
    if counted:
        # Where even the darkest pixels are bright, noise is small beside the contrast: the logarithm is linear in it.
        bright = float(np.nanquantile(images, 0.001)) > _BRIGHT
        images = np.log(np.maximum(images, 1.0)) if bright else images**_POWER
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
