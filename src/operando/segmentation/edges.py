"""Labels of pores by their edges alone, for a person to correct and a network to learn from."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from operando.core.blocks import Block, iter_blocks
from operando.core.errors import InputError
from operando.core.phases import UNLABELED, PhaseScheme
from operando.core.provenance import record
from operando.segmentation.contract import as_annotations, as_image, as_series, label_image

_PHASES = {"electrode": 1, "pore": 2}
_BLOCK = (128, 384, 384)
_REACH = 4  # standard deviations of the background that a block is read beyond its core
_MAD = 1.4826  # standard deviation of a normal distribution over its median absolute deviation


def edge_labels(
    image: Any,
    *,
    mask: Any = None,
    phases: PhaseScheme | dict[str, int] | None = None,
    blur: float = 0.7,
    background: float = 6.0,
    faint: float = 2.0,
    sure: float = 3.0,
    smallest: int = 8,
) -> xr.DataArray:
    """Find dark pores in lithium by edge detection: labels to start from, not to measure with.

    Parameters
    ----------
    image : DataArray or array, dims ([t], z, y, x)
        Gray values of lithium, NaN elsewhere, as :func:`operando.segmentation.lithium_slab` cuts it out. May be lazy.
    mask : DataArray or array of bool, same shape, optional
        Where the lithium is, if the image does not say it by NaN.
    phases : PhaseScheme or mapping, optional
        Ids of ``"electrode"`` and ``"pore"``; default those of :data:`operando.core.phases.CERAMIC_CELL`, 1 and 2.
    blur : float
        Standard deviation in voxels of the Gaussian against noise. Narrower pores are lost, and borders of round pores
        of radius r come out about ``blur**2 / r`` too far outside.
    background : float
        Standard deviation in voxels of the Gaussian that is taken for lithium without pores. Wider pores and wider
        shading are not told apart.
    faint, sure : float
        How much darker than its surroundings a voxel is, in standard deviations of the blurred lithium, from which
        on it may be a pore at all, and from which on it surely is one.
    smallest : int
        Pores of fewer voxels are dropped.

    Returns
    -------
    DataArray of uint8, dims and coordinates of the image
        255 outside of the lithium.

    Raises
    ------
    InputError, AxesError
        Where the mask does not fit, or numbers make no sense.

    Notes
    -----
    1. The image is blurred, :math:`g = G_\\sigma * I`, and its surroundings are subtracted,
       :math:`d = g - G_\\Sigma * I`: the difference of Gaussians, which is close to the Laplacian of a Gaussian (Marr
       and Hildreth 1980). Both are normalized convolutions over the lithium alone, so that bright neighbors do not
       leak in.
    2. Voxels with :math:`d < -k_\\mathrm{sure} s` and a positive Laplacian :math:`\\nabla^2 g` are seeds of pores,
       those with :math:`d > -k_\\mathrm{faint} s` are lithium; :math:`s` is the median absolute deviation of :math:`d`,
       scaled to a standard deviation, per block.
    3. The gradient of :math:`g` is flooded from both (Meyer 1994), so that borders between them lie on the ridges of
       the gradient, which closes the edges into regions.

    Dixit et al. (2020) say that their training images were "computationally edge-segmented and manually corrected" and
    no more; this is one way to do so. docs/pore-segmentation.md tells how far its labels are from the truth: they need
    the correction (:func:`corrected`), or a network learns their faults. A bright inclusion makes its surroundings look
    dark: cut such voxels off first, as :func:`lithium_slab` does.

    Blocks of 128 x 384 x 384 voxels on a fixed lattice are read with a halo of four times ``background``, so that the
    result depends on no chunks. Holds about 60 bytes per voxel of a block. Lazy where the image is.

    References
    ----------
    .. [1] Marr and Hildreth, Proceedings of the Royal Society B 207 (1980) 187, doi:10.1098/rspb.1980.0020
    .. [2] Meyer, Signal Processing 38 (1994) 113, doi:10.1016/0165-1684(94)90060-4

    Examples
    --------
    A dark ball of radius 3 in gray noise:

    >>> z, y, x = np.ogrid[-12:13, -12:13, -12:13]
    >>> ball = z**2 + y**2 + x**2 <= 9
    >>> image = np.where(ball, 0.0, 1.0) + 0.1 * np.random.default_rng(0).normal(size=ball.shape)
    >>> labels = edge_labels(image)
    >>> bool(((labels == 2) == ball).mean() > 0.99)
    True
    """
    where = "edge_labels"
    scheme = PhaseScheme.of(_PHASES if phases is None else phases)
    lithium, pore = scheme["electrode"], scheme["pore"]
    gray_image = as_image(image, where=where)
    if not (0 < blur < background and 0 <= faint < sure and smallest >= 1):
        raise InputError(
            f"{where}: 0 < blur < background, 0 <= faint < sure and smallest >= 1 are needed, got {blur}, "
            f"{background}, {faint}, {sure} and {smallest}. The defaults are 0.7, 6, 2, 3 and 8."
        )
    gray = as_series(gray_image)
    inside = None if mask is None else as_series(_as_mask(mask, gray_image, where))
    halo = (0, *(int(np.ceil(_REACH * background)) if size > 1 else 0 for size in gray.shape[1:]))
    blocks = list(iter_blocks(gray.shape, (1, *_BLOCK), halo))

    def labeled(values: np.ndarray, known: np.ndarray | None, block: Block) -> np.ndarray:
        within = np.isfinite(values[0]) if known is None else np.isfinite(values[0]) & known[0]
        # Large offsets of integer detectors would eat the contrast in float32.
        offset = values[0][within].mean(dtype=np.float64) if within.any() else 0.0
        volume = (values[0] - offset).astype(np.float32)
        pores = _pores(volume, within, blur, background, faint, sure, smallest)
        labels = np.where(pores, np.uint8(pore), np.uint8(lithium))
        labels[~within] = UNLABELED
        return labels[None][block.inner]

    settings = {"blur": blur, "background": background, "faint": faint, "sure": sure, "smallest": smallest}
    attrs = {"provenance": record(f"operando.segmentation.{where}", settings)}
    if not (hasattr(gray, "dask") or hasattr(inside, "dask")):
        out = np.empty(gray.shape, np.uint8)
        for block in blocks:
            known = None if inside is None else inside[block.read]
            out[block.core] = labeled(np.asarray(gray[block.read]), known, block)
        return label_image(out, gray_image, scheme, **attrs)
    import dask
    import dask.array as da

    counts = [-(-size // step) for size, step in zip(gray.shape, (1, *_BLOCK), strict=True)]
    pieces = np.empty(len(blocks), object)
    for i, block in enumerate(blocks):
        known = None if inside is None else inside[block.read]
        made = dask.delayed(labeled, pure=False)(gray[block.read], known, block)
        pieces[i] = da.from_delayed(made, tuple(c.stop - c.start for c in block.core), np.uint8)
    return label_image(da.block(pieces.reshape(counts).tolist()), gray_image, scheme, **attrs)


def _pores(
    gray: np.ndarray,
    inside: np.ndarray,
    blur: float,
    background: float,
    faint: float,
    sure: float,
    smallest: int,
) -> np.ndarray:
    """Where the pores of one block are."""
    from scipy.ndimage import gaussian_gradient_magnitude, gaussian_laplace
    from skimage.measure import label
    from skimage.segmentation import watershed

    if not inside.any():
        return np.zeros(gray.shape, bool)
    surroundings = _blurred(gray, inside, background)
    darker = surroundings - _blurred(gray, inside, blur)
    levels = darker[inside]
    middle = np.median(levels)
    noise = _MAD * np.median(np.abs(levels - middle))
    if noise == 0:
        return np.zeros(gray.shape, bool)
    darker = (darker - middle) / noise
    seeds = np.zeros(gray.shape, np.int32)
    seeds[inside & (darker < faint)] = 1
    filled = np.where(inside, gray, surroundings)
    # Where noise is low a pore's blurred skirt is sure, too; it is on the other side of the edge.
    seeds[inside & (darker > sure) & (gaussian_laplace(filled, blur, mode="nearest") > 0)] = 2
    steep = gaussian_gradient_magnitude(filled, blur, mode="nearest")
    pores = watershed(steep, seeds, mask=inside) == 2
    numbers = label(pores, connectivity=1)
    sizes = np.bincount(numbers.ravel())
    return np.asarray(pores & (sizes[numbers] >= smallest))


def _blurred(gray: np.ndarray, inside: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian over the voxels inside alone; outside it continues what is near."""
    from scipy.ndimage import gaussian_filter

    weight = gaussian_filter(inside.astype(np.float32), sigma, mode="constant")
    total = gaussian_filter(np.where(inside, gray, np.float32(0)), sigma, mode="constant")
    return np.asarray(total / np.maximum(weight, np.float32(1e-6)))


def _as_mask(mask: Any, image: xr.DataArray, where: str) -> xr.DataArray:
    if np.dtype(getattr(mask, "dtype", object)) != bool:
        raise InputError(
            f"{where}: a mask is an array of bool, got {getattr(mask, 'dtype', type(mask).__name__)}. "
            "Compare labels with the phases that are lithium, for example labels.isin([1, 2])."
        )
    return as_annotations(mask.astype(np.uint8), image, where=f"{where}: mask").astype(bool)


def corrected(labels: Any, corrections: Any) -> xr.DataArray:
    """Apply what a person marked over labels that were computed.

    Parameters
    ----------
    labels : DataArray or array of uint8, dims ([t], [z], y, x)
        Such as those of :func:`edge_labels`.
    corrections : DataArray or array of uint8, same shape
        The label where somebody corrected, 255 elsewhere. An annotation log is replayed into this
        (:func:`operando.io.replay`).

    Returns
    -------
    DataArray of uint8, like ``labels``
        Lazy where one of the two is.

    Raises
    ------
    InputError, AxesError
        Where the two do not fit.

    Notes
    -----
    255 keeps a label; a voxel of which nobody is sure should be set to 255 in the labels themselves, so that nothing
    learns from it.

    Examples
    --------
    >>> corrected(np.array([[1, 1, 2]], np.uint8), np.array([[255, 2, 255]], np.uint8)).values.tolist()
    [[1, 2, 2]]
    """
    where = "corrected"
    before = as_image(labels, where=where)
    before = as_annotations(before, before, where=f"{where}: labels")
    marks = as_annotations(corrections, before, where=where)
    told = marks.drop_vars(list(marks.coords))
    out = before.drop_vars(list(before.coords)).where(told == UNLABELED, told)
    return before.copy(data=out.data).assign_attrs(provenance=record(f"operando.segmentation.{where}"))
