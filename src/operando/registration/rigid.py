"""Rigid registration of two scans on what both show unchanged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from operando.core.errors import InputError
from operando.registration.pair import Pair, pair_of
from operando.registration.static import Equations, Subvolume, as_motion, solve, standard_error, trusted, weigh
from operando.registration.subvolumes import Box, consensus, in_threads, lag_maps, tiles
from operando.registration.transform import RigidTransform, nearest_rigid

_COARSE, _FINE = 1.5, 0.3  # voxels of smoothing: what is aligned to half a voxel is seen, then what to a hundredth
_COARSE_VOXELS = 2e6
_UNSURE = 1.0  # voxel, standard error at the edge of the field from which a match is none
_ASTRAY = 3.0  # voxels; the start is better than that
_ROUNDS, _STEPS = 3, 4
_COARSE_SETTLED, _SETTLED = 0.05, 0.003  # voxels


def register(
    reference: xr.DataArray, moving: xr.DataArray, *, max_shift: int = 8, size: int = 64, count: int = 27
) -> RigidTransform:
    """Rigid motion of the sample from one scan to another, found on static structure only.

    Parameters
    ----------
    reference, moving : DataArray, dims (z, y, x)
        Gray images on the same grid, z normal to the electrodes (:func:`operando.registration.level`); may be lazy. NaN
        is left out.
    max_shift : int
        Largest displacement of a sub-volume to look for, in voxels per axis, whether by shift or by rotation.
    size, count : int
        Largest edge in voxels, and largest number, of the sub-volumes that are read.

    Returns
    -------
    RigidTransform
        Takes a point (z, y, x, 1) of ``reference`` to where ``moving`` shows it, in the unit of the axes (um, or px
        where nobody has calibrated them). ``.apply(moving)`` shows ``moving`` in the frame of ``reference``.
        ``.sigma`` is the standard error, ``.subvolumes`` what it rests on.

    Raises
    ------
    InputError
        Where the grids differ, nothing correlates, the best match is at ``max_shift``, nothing static is left, or the
        standard error at the edge of the field is above a voxel.

    Notes
    -----
    The six parameters of the motion :math:`M` maximize the weighted cross-correlation

    .. math:: \\sum_k u_k \\sum_{x \\in k} w(x)\\, A(x)\\, B(M x)

    over sub-volumes k, as in [1]_, with what a plating cell needs chosen by the images themselves:

    - A and B are the images freed of what is constant along y or along x: of flat interfaces, which move as lithium
      plates, and of rings, which stay with the detector.
    - w is the static structure: large where the aligned images together rise above their noise (particles, pores) and
      zero where their smoothed difference is more than 3 times what it is in the quietest parts of the cell, with a
      margin. Noise correlates with noise in every voxel, so that a few voxels with structure say more than all.
    - u falls for sub-volumes that would move elsewhere than most.

    The start is the motion on which the correlations of all sub-volumes over all lags agree best; Gauss-Newton steps
    follow, first on images smoothed by 1.5 voxels, then by 0.3. Weights are chosen anew in every round. The gradient
    is a fixed linear form in B, computed once per round, so that a step needs B at the voxels with weight only.

    Accuracy, measured: ``docs/registration.md``. ``sigma`` comes from the scatter between cells of 8 voxels (the
    infinitesimal jackknife) and knows nothing of what all of them share.

    Not to be trusted where little is static, where static particles move with a swelling electrode
    (:func:`operando.registration.deformation` shows it), or where nothing but layers is seen: directions that no
    structure tells are left as the start had them.

    Memory: about 8 float32 arrays of ``count`` times ``size`` cubed, 250 MB as it stands, whatever the size of the
    image. Sub-volumes are spread evenly and do not overlap; where ``count`` is enough they are the whole image.

    References
    ----------
    .. [1] Y. Huang et al., npj Computational Materials 9, 93 (2023), Supplementary Note 1.

    Examples
    --------
    A copy that was moved by two voxels along y:

    >>> from operando.core.axes import labeled_image
    >>> values = np.random.default_rng(0).random((40, 40, 40), dtype=np.float32)
    >>> still = labeled_image(values, voxel_size_um=1.5)
    >>> found = register(still, still.copy(data=np.roll(values, 2, axis=1)))
    >>> (found.translation_um.round(1) + 0.0).tolist()
    [0.0, 3.0, 0.0]
    """
    where = "register"
    pair = pair_of(reference, moving, where)
    if max_shift < 1 or size < 16 or count < 1:
        raise InputError(
            f"{where}: max_shift must be at least 1, size 16 and count 1, got {max_shift}, {size} and {count}. "
            "Leave them out for the usual values."
        )
    boxes = tiles(pair.shape, size, count)
    lags = tuple(min(max_shift, n // 2) if n > 3 else 0 for n in pair.shape)
    maps = lag_maps(pair.reference, pair.moving, boxes, lags)
    start = consensus(maps, np.array([pair.center_of(box) for box in boxes]), pair.steps, lags, where)
    # To come close, some of the sub-volumes that correlate best will do where there is plenty.
    voxels = np.cumsum([np.prod([part.stop - part.start for part in box]) for box in boxes])
    enough = max(1, int(np.count_nonzero(voxels <= _COARSE_VOXELS)))
    telling = np.argsort([-one.max() for one in maps], kind="stable")[:enough]
    closer, _ = refine(pair, [boxes[k] for k in sorted(telling)], start, smooth=_COARSE, settled=_COARSE_SETTLED)
    if pair.reach(np.linalg.inv(start) @ closer) < _ASTRAY:
        start = closer
    motion, equations = refine(pair, boxes, start, smooth=_FINE, settled=_SETTLED)
    sigma = standard_error(equations)
    # NaN where a direction is not asked for, as across a single plane.
    shift, turn = np.nan_to_num(sigma[:3]).max(), np.nan_to_num(sigma[3:]).max()
    at_edge = float(np.hypot(shift, turn * np.linalg.norm(pair.shape) / 2))
    if at_edge >= _UNSURE:
        raise InputError(
            f"{where}: the motion must be known to {_UNSURE:g} voxel, got a standard error of {at_edge:.2g} voxels at "
            "the edge of the field: too little in it stands still and has structure. Register a larger field, or leave "
            "these scans as they are (registration.method: none in a recipe)."
        )
    return RigidTransform(
        nearest_rigid(pair.to_matrix(motion)),
        units=pair.unit,
        center=tuple(pair.center),
        sigma=(*sigma[:3] * pair.edges.mean(), *np.rad2deg(sigma[3:])),
        subvolumes=[
            [(part.start, part.stop) for part in box] for box, one in zip(boxes, equations, strict=True) if one.voxels
        ],
    )


def refine(
    pair: Pair, boxes: Sequence[Box], start: np.ndarray, *, smooth: float, settled: float
) -> tuple[np.ndarray, list[Equations]]:
    """Gauss-Newton steps on all sub-volumes at once; the voxels that count are chosen anew in every round."""
    read = in_threads(lambda box: Subvolume(pair, box, start, smooth), boxes)
    motion, equations = start, list[Equations]()
    for _ in range(_ROUNDS):
        before = motion
        weigh(read, [motion] * len(read))
        for _ in range(_STEPS):
            at = motion
            equations = trusted(in_threads(lambda one: one.equations(at), read))  # noqa: B023
            step = solve(equations)
            if step is None:
                raise InputError(
                    f"{pair.where}: some structure must be the same in both images, and nothing static was found. "
                    "Register scans that are closer in time, or check that they show the same sample."
                )
            motion = motion @ as_motion(step)
            if pair.reach(as_motion(step)) < settled:
                break
        if pair.reach(np.linalg.inv(before) @ motion) < 3 * settled:
            break
    return motion, equations
