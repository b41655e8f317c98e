"""Share of the image that each phase takes, with an interval: for micrographs and volumes without a scale too."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from operando.core.axes import SPACE, require_dims
from operando.core.blocks import iter_blocks, label_counts
from operando.core.errors import InputError
from operando.core.phases import UNLABELED, PhaseScheme

BORDER_VOXELS = 0.25
"""One sigma of the common shift of borders, in voxel edges, where nothing was measured."""
_BLOCK = (64, 512, 512)
# Mean of |cos| over all directions, inverted: length (2-D) or area (3-D) of a border per face pair it separates.
_CROFTON = {1: 1.0, 2: np.pi / 4, 3: 2 / 3}


def phase_fractions(
    labels: xr.DataArray,
    phases: PhaseScheme | Mapping[str, int],
    *,
    probability: xr.DataArray | None = None,
    other: xr.DataArray | None = None,
    border_voxels: float = BORDER_VOXELS,
) -> xr.Dataset:
    """Fraction of the labeled voxels that belong to each phase, and how far it may be off.

    Parameters
    ----------
    labels : DataArray of uint8, dims ([z], y, x)
        One scan; 255 is not counted.
    phases : PhaseScheme or mapping of str to int
    probability : DataArray of float, dims (phase, [z], y, x), optional
        Of each phase, from the segmenter.
    other : DataArray of uint8, same dims as ``labels``, optional
        A second opinion, such as the labels before their borders were moved.
    border_voxels : float
        One sigma of a shift that all borders of a phase have in common, in voxel edges.

    Returns
    -------
    Dataset, dims (component)
        ``fraction`` and ``sigma`` with its parts ``border``, ``doubt`` and ``choice`` (all units "1");
        ``voxels``.

    Raises
    ------
    InputError, AxesError, PhaseError
        Where dims or shapes do not fit, a label is no phase, or nothing is labeled.

    Notes
    -----
    .. math:: \\sigma^2 = (\\delta B / N)^2 + (f - \\bar p)^2 + (f - f')^2

    with N labeled voxels, B the border of the phase in voxel faces times :math:`\\pi/4` in a plane and 2/3 in a volume
    (Cauchy-Crofton, for borders that run in all directions alike), :math:`\\delta` = ``border_voxels``,
    :math:`\\bar p` the mean probability and f' the fraction in ``other``. All three are systematic: they do
    not shrink with the image. What the segmenter and both opinions get wrong alike is not in it.

    Voxels are taken for cubes. Holds blocks of 64 x 512 x 512 voxels.

    Reference
    ---------
    Ohser and Muecklich, Statistical Analysis of Microstructures (2000), section 4 (Crofton).

    Examples
    --------
    Half of 4 x 4 voxels, with a border of four faces:

    >>> labels = xr.DataArray(np.repeat([[0, 0, 1, 1]], 4, 0).astype(np.uint8), dims=("y", "x"))
    >>> found = phase_fractions(labels, {"electrolyte": 0, "electrode": 1})
    >>> found.fraction.values.tolist(), (found.sigma * 16 / 0.25 / (np.pi / 4)).values.round(6).tolist()
    ([0.5, 0.5], [4.0, 4.0])
    """
    where = "phase_fractions"
    require_dims(labels, ("y", "x"), optional=("z",), where=where)
    scheme = PhaseScheme.of(phases)
    scheme.check(labels, where=where)
    ids = np.array(scheme.ids)
    counts = label_counts(labels, where=where)[ids]
    total = int(counts.sum())
    if total == 0:
        raise InputError(f"{where}: at least one voxel must be labeled, got none. Check what was segmented.")
    fraction = counts / total
    border = border_voxels * _border_faces(labels, ids) * _CROFTON[_thick_axes(labels)] / total
    doubt, choice = np.zeros(len(ids)), np.zeros(len(ids))
    if other is not None:
        _same_shape(other, labels, where, "other")
        second = label_counts(other, where=f"{where}: other")[ids]
        choice = np.abs(fraction - second / max(int(second.sum()), 1))
    if probability is not None:
        require_dims(probability, ("phase", "y", "x"), optional=("z",), where=f"{where}: probability")
        _same_shape(probability.isel(phase=0), labels, where, "probability")
        doubt = np.abs(fraction - _mean_probability(probability, labels, scheme))
    parts = {"fraction": fraction, "border": border, "doubt": doubt, "choice": choice}
    parts["sigma"] = np.sqrt(border**2 + doubt**2 + choice**2)
    return xr.Dataset(
        {
            **{name: ("component", values, {"units": "1"}) for name, values in parts.items()},
            "voxels": ("component", counts, {"units": "1"}),
        },
        coords={"component": list(scheme.names)},
    )


def _same_shape(array: xr.DataArray, labels: xr.DataArray, where: str, name: str) -> None:
    if dict(array.sizes) != dict(labels.sizes):
        raise InputError(
            f"{where}: {name} must have the shape of the labels {dict(labels.sizes)}, got {dict(array.sizes)}. "
            "Select the same region of both."
        )


def _thick_axes(labels: xr.DataArray) -> int:
    return max(1, sum(labels.sizes[dim] > 1 for dim in labels.dims if dim in SPACE))


def _border_faces(labels: xr.DataArray, ids: np.ndarray) -> np.ndarray:
    """Faces between a voxel of each phase and a labeled voxel that is not of it."""
    values = labels.data
    faces = np.zeros(256, np.int64)
    block = _BLOCK[3 - labels.ndim :]
    for part in iter_blocks(labels.shape, block):
        # One more voxel at the far side, so that every face is met once.
        region = tuple(slice(c.start, min(c.stop + 1, n)) for c, n in zip(part.core, labels.shape, strict=True))
        piece = np.asarray(values[region])
        for axis in range(piece.ndim):
            own = [slice(0, c.stop - c.start) for c in part.core]
            own[axis] = slice(None)
            lane = piece[tuple(own)]
            near = lane[tuple(slice(0, -1) if a == axis else slice(None) for a in range(piece.ndim))]
            far = lane[tuple(slice(1, None) if a == axis else slice(None) for a in range(piece.ndim))]
            differ = (near != far) & (near != UNLABELED) & (far != UNLABELED)
            faces += np.bincount(near[differ], minlength=256) + np.bincount(far[differ], minlength=256)
    return np.asarray(faces[ids], dtype=float)


def _mean_probability(probability: xr.DataArray, labels: xr.DataArray, scheme: PhaseScheme) -> np.ndarray:
    """Mean probability of each phase over the labeled voxels; 0 for a phase without one."""
    dims = [str(dim) for dim in labels.dims]
    named = probability.transpose("phase", *dims)
    names = named.coords["phase"].values.tolist()
    sums, seen = np.zeros(len(names)), 0.0
    for part in iter_blocks(labels.shape, _BLOCK[3 - labels.ndim :]):
        known = np.asarray(labels.data[part.core]) != UNLABELED
        chances = np.asarray(named.data[(slice(None), *part.core)])[:, known]
        finite = np.isfinite(chances).all(axis=0)
        sums += chances[:, finite].sum(axis=1, dtype=float)
        seen += float(finite.sum())
    mean = dict(zip(names, sums / max(seen, 1.0), strict=True))
    return np.array([mean.get(name, 0.0) for name in scheme])
