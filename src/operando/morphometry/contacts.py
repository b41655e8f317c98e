"""How much inactive lithium hangs on single contacts."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import SPACE, voxel_volume
from operando.core.phases import UNLABELED
from operando.morphometry.connectivity import inactive_lithium, inactive_mask
from operando.morphometry.sides import lithium_phases
from operando.morphometry.volume import Phases, checked_labels

_NECK_FACES = 3


def contact_sigma(labels: xr.DataArray, phases: Phases, *, plating_side: str | None = None) -> xr.DataArray:
    """Standard uncertainty of the inactive lithium from contacts that one voxel more or less would close or open.

    Parameters
    ----------
    labels : DataArray of uint8, dims ([t], z, y, x), coordinates in um
        Phase ids; ``z`` normal to the electrodes. May be lazy.
    phases : PhaseScheme or mapping of str to int
        What the ids mean.
    plating_side : {"low", "high"}, optional
        Default ``labels.attrs["plating_side"]``.

    Returns
    -------
    DataArray of float64, dims ([t]), units "um3"

    Notes
    -----
    .. math:: \\sigma^2 = (V_6 - V_{26})^2 + V_\\mathrm{neck}^2

    V6 - V26: what is joined where edges and corners count as contact too. V_neck: what comes off where necks are cut,
    that is, where lithium other than the electrode is taken away with at most 3 of its 6 faces on lithium (the outside
    of the field of view counts as lithium). What is taken away itself does not count.

    A contact that is several voxels thick and still wrong is in neither. Memory as :func:`inactive_lithium`, and three
    bytes per voxel of a block.

    Examples
    --------
    Three voxels (1 um3) of dendrite on a stem of one voxel; without the stem, they float:

    >>> from operando.core.axes import labeled_image
    >>> values = np.zeros((12, 9, 9), np.uint8)
    >>> values[:3], values[-2:], values[3:5, 4, 4], values[5:8, 3:6, 3:6] = 1, 1, 3, 3
    >>> labels = labeled_image(values, voxel_size_um=1.0)
    >>> phases = {"electrolyte": 0, "electrode": 1, "dendrite": 3}
    >>> contact_sigma(labels, phases, plating_side="low").item()  # the cube without its eight corners
    19.0
    """
    scheme, labels = checked_labels(labels, phases, where="contact_sigma")
    dead = inactive_mask(labels, scheme, plating_side=plating_side)
    ids = [scheme[name] for name in lithium_phases(scheme, None, where="contact_sigma")]
    lithium = np.isin(np.arange(256), ids)
    removable = lithium & (np.arange(256) != scheme["electrode"])
    thinned = labels.copy(data=_without_necks(labels.data, lithium, removable))
    voxel = voxel_volume(labels, where="contact_sigma")
    kept = (dead & (thinned == labels)).sum(SPACE, dtype=np.int64).compute()
    broken = inactive_lithium(thinned, scheme, plating_side=plating_side) - voxel * kept
    joined = voxel * dead.sum(SPACE, dtype=np.int64).compute() - inactive_lithium(
        labels, scheme, plating_side=plating_side, connectivity=26
    )
    sigma = (broken**2 + joined**2) ** 0.5
    sigma.attrs = {"units": "um3", "long_name": "Inactive lithium on single contacts"}
    return sigma


def _without_necks(labels: Any, lithium: np.ndarray, removable: np.ndarray) -> Any:
    """Labels with the removable voxels gone that have at most three faces on lithium; lazy where ``labels`` is."""
    if isinstance(labels, np.ndarray):
        scans = labels if labels.ndim == 4 else labels[None]
        return np.stack([_cut(scan, lithium, removable) for scan in scans]).reshape(labels.shape)
    import dask.array as da

    def cut(block: np.ndarray) -> np.ndarray:
        return _without_necks(block, lithium, removable)

    depth = {axis: int(axis >= labels.ndim - 3) for axis in range(labels.ndim)}
    meta = np.empty((0,) * labels.ndim, np.uint8)
    return da.map_overlap(cut, labels, depth=depth, boundary="nearest", dtype=np.uint8, meta=meta)


def _cut(scan: np.ndarray, lithium: np.ndarray, removable: np.ndarray) -> np.ndarray:
    full = np.pad(lithium[scan].view(np.uint8), 1, mode="edge")
    faces = np.zeros(scan.shape, np.uint8)
    for axis in range(3):
        for start in (0, 2):
            place = [slice(1, -1)] * 3
            place[axis] = slice(start, start + scan.shape[axis])
            faces += full[tuple(place)]
    out = scan.copy()
    out[removable[scan] & (faces <= _NECK_FACES)] = UNLABELED
    return out
