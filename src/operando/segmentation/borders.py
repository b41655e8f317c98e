"""Put the borders between phases where the gray value changes fastest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from operando.core.blocks import Block, iter_blocks
from operando.core.errors import InputError
from operando.core.phases import UNLABELED, PhaseScheme
from operando.core.provenance import record
from operando.segmentation.contract import as_annotations, as_image, as_series, label_image

_BLOCK = (64, 512, 512)


def snap_borders(
    labels: Any, image: Any, phases: PhaseScheme | Mapping[str, int], *, reach: int = 3, blur: float = 1.0
) -> xr.DataArray:
    """Move the borders of a segmentation onto the steepest edges of the image, a few voxels at most.

    Parameters
    ----------
    labels : DataArray or array of uint8, dims ([t], [z], y, x)
        What a segmenter found; 255 stays.
    image : DataArray or array, same dims and shape
        Gray values.
    phases : PhaseScheme or mapping of str to int
    reach : int
        How far a border may move, in voxels; 0 leaves the labels as they are.
    blur : float
        Standard deviation in voxels of the Gaussian whose gradient says where it is steep.

    Returns
    -------
    DataArray of uint8, dims and coordinates of the image

    Raises
    ------
    InputError, AxesError
        Where the shapes differ or reach is negative.

    Notes
    -----
    Strokes keep away from borders, so a classifier has to guess the mixed gray values there, and a stroke
    that was drawn carelessly over a border moves all borders like it. Half way between two gray levels, the
    true border under a symmetric blur, is where the gradient is largest. So voxels within ``reach`` of
    another phase are forgotten and flooded again from what is left (Meyer 1994), flat gray first. Of a part
    thinner than four times ``reach`` the inner half is kept, so that none is lost.

    Worth it where phases differ in gray and edges stand out of the noise: there it brings what
    docs/sparse-labels.md says. Not where a border is drawn by texture or by convention, and not on features
    thinner than the blur. Volumes are flooded in blocks of 64 x 512 x 512 voxels on a fixed lattice, read
    with a halo of ``6 * reach`` voxels, so that the result depends on no chunks; holds about 30 bytes per voxel of a
    block. Lazy where the labels or the image are.

    Reference
    ---------
    Meyer, Signal Processing 38 (1994) 113, doi:10.1016/0165-1684(94)90060-4

    Examples
    --------
    A step that was labeled two voxels off:

    >>> image = np.repeat([[0.0, 0.5, 1.0]], 30, axis=0)[:, [0] * 10 + [1] + [2] * 10]
    >>> wrong = np.zeros((30, 21), np.uint8)
    >>> wrong[:, 13:] = 1
    >>> snap_borders(wrong, image, {"electrolyte": 0, "electrode": 1}).values[15, 8:13].tolist()
    [0, 0, 0, 1, 1]
    """
    where = "snap_borders"
    scheme = PhaseScheme.of(phases)
    gray_image = as_image(image, where=where)
    label_data = as_annotations(labels, gray_image, where=f"{where}: labels")
    if reach < 0 or blur <= 0:
        raise InputError(
            f"{where}: reach must be at least 0 and blur positive, got {reach} and {blur}. The defaults are 3 and 1."
        )
    told, gray = as_series(label_data), as_series(gray_image)
    flat = told.shape[1] == 1
    halo = (0, 0 if flat else 6 * reach, 6 * reach, 6 * reach)
    blocks = list(iter_blocks(told.shape, (1, *_BLOCK), halo))

    def snapped(found: np.ndarray, values: np.ndarray, block: Block) -> np.ndarray:
        if reach == 0:
            return np.asarray(found[block.inner], dtype=np.uint8)
        place = (0, 0) if flat else (0,)
        flooded = _flooded(found[place], values[place].astype(np.float32), scheme, reach, blur)
        return flooded.reshape(found.shape)[block.inner]

    attrs = {"provenance": record(where, {"reach": reach, "blur": blur})}
    if not (hasattr(told, "dask") or hasattr(gray, "dask")):
        out = np.empty(told.shape, np.uint8)
        for block in blocks:
            out[block.core] = snapped(np.asarray(told[block.read]), np.asarray(gray[block.read]), block)
        return label_image(out, gray_image, scheme, **attrs)
    import dask
    import dask.array as da

    counts = [-(-size // step) for size, step in zip(told.shape, (1, *_BLOCK), strict=True)]
    pieces = np.empty(len(blocks), object)
    for i, block in enumerate(blocks):
        made = dask.delayed(snapped, pure=False)(told[block.read], gray[block.read], block)
        pieces[i] = da.from_delayed(made, tuple(c.stop - c.start for c in block.core), np.uint8)
    return label_image(da.block(pieces.reshape(counts).tolist()), gray_image, scheme, **attrs)


def _flooded(labels: np.ndarray, gray: np.ndarray, phases: PhaseScheme, reach: int, blur: float) -> np.ndarray:
    from scipy.ndimage import distance_transform_edt, gaussian_gradient_magnitude, maximum_filter
    from skimage.segmentation import watershed

    steep = gaussian_gradient_magnitude(np.nan_to_num(gray), blur, mode="mirror")
    seeds = np.zeros(labels.shape, np.int32)
    for number in phases.ids:
        inside = labels == number
        if not inside.any() or inside.all():
            seeds[inside] = number + 1
            continue
        depth = distance_transform_edt(inside)
        # Of a thin part, the deepest voxels around are kept.
        thick = maximum_filter(depth, size=2 * reach + 1)
        seeds[inside & (depth > np.minimum(reach, thick / 2))] = number + 1
    flooded = watershed(steep, seeds, mask=labels != UNLABELED)
    # What no seed reaches, walled in by unlabeled voxels, stays what it was.
    return np.where(flooded > 0, flooded - 1, labels).astype(np.uint8)
