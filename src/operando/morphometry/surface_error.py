"""How far predicted surfaces lie from annotated ones: the error of labels of which nothing else is known.

A segmenter puts the surface of a component a little too far out or in. That shift is nearly the same everywhere and
in every scan, because the same program made it for the same reasons; what is left varies from scan to scan.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import voxel_volume
from operando.core.errors import InputError
from operando.core.phases import UNLABELED, PhaseScheme
from operando.morphometry.interface import crossing_areas, neighbor_pairs, slabs
from operando.morphometry.volume import Phases, checked_labels, scans

SHIFT_VOXELS = 0.25
"""One sigma of the common shift of interfaces, in voxel edges, where nothing was measured."""
SCATTER_VOXELS = 0.1
"""One sigma of its scatter from scan to scan, in voxel edges, where nothing was measured."""
FLIP_SHARE = 0.4
"""One sigma of the share of marginal columns that change their coverage, where nothing was measured."""
LITHIUM = "lithium"
"""Component of all lithium phases together."""
_TILE_VOXELS = 16
_TILES_OF_A_SCAN = 4
_PRIOR_SCANS = 2


def interface_error(
    prediction: xr.DataArray,
    annotation: xr.DataArray,
    phases: Phases,
    *,
    shift_voxels: float = SHIFT_VOXELS,
    scatter_voxels: float = SCATTER_VOXELS,
) -> xr.Dataset:
    """How far predicted surfaces lie from annotated ones, measured where held-out annotations are.

    Parameters
    ----------
    prediction : DataArray of uint8, dims ([t], z, y, x), coordinates in um
        Labels of the segmenter on scans it was not trained on.
    annotation : DataArray of uint8, same dims and shape
        What people say of the same voxels; 255 = not annotated, ignored.
    phases : PhaseScheme or mapping of str to int
        What the ids mean.
    shift_voxels, scatter_voxels : float
        One sigma of the common shift and of its scatter between scans that is believed before any
        annotation is seen, in voxel edges (the cube root of the voxel volume).

    Returns
    -------
    Dataset, dims (component)
        Components: the phases, and ``lithium`` for all lithium phases together where there are any.

        - ``shift`` (um): mean shift, positive where the prediction is too large; NaN without evidence
        - ``systematic`` (um): one sigma of the shift common to all scans
        - ``random`` (um): one sigma of what differs from scan to scan
        - ``flips`` (1): one sigma of the share of marginal columns whose coverage is wrong
        - ``tiles`` (1): independent pieces of evidence

    Raises
    ------
    InputError
        Where the shapes differ or nothing is annotated.

    Notes
    -----
    In tiles of 16 x 16 voxels in (y, x) of each scan, the excess volume of the annotated voxels is compared
    with the surface they carry, by the same Crofton weights as :func:`interface_area`, in the prediction:

    .. math:: \\hat\\delta = \\frac{\\sum_k (P_k - T_k)}{\\sum_k B_k}

    a ratio estimator whose standard error is taken from the scatter of the tiles; neighboring voxels are not
    independent, tiles nearly so. The prediction is not corrected by the shift: its square stays in
    ``systematic``, together with the standard error, and with the prior, which counts as much as two scans
    (a scan counts in full from four tiles with surface on):

    .. math:: s^2 = \\frac{m(\\hat\\delta^2 + se^2) + 2\\,\\delta_0^2}{m + 2}

    Annotations that avoid the surfaces (strokes inside the phases) hardly count as evidence. Do not trust it
    where only easy places were annotated. Memory: two slabs of at most 2^22 voxels
    with about 30 bytes per voxel, and two rows of chunks.

    Reference
    ---------
    Cochran, Sampling Techniques, 3rd ed. (1977), chapter 6 (ratio estimators).

    Examples
    --------
    A plane that is predicted one voxel (1 um) too high, everywhere:

    >>> from operando.core.axes import labeled_image
    >>> truth = np.zeros((12, 64, 64), dtype=np.uint8)
    >>> truth[:4] = 1
    >>> wrong = np.roll(truth, 1, axis=0)
    >>> wrong[0] = 1
    >>> labels, annotation = (labeled_image(a, voxel_size_um=1.0) for a in (wrong, truth))
    >>> error = interface_error(labels, annotation, {"electrolyte": 0, "electrode": 1})
    >>> round(float(error["shift"].sel(component="electrode")), 1)
    1.1
    """
    where = "interface_error"
    scheme, prediction = checked_labels(prediction, phases, where=where)
    _, annotation = checked_labels(annotation, phases, where=where)
    if prediction.shape != annotation.shape:
        raise InputError(
            f"{where}: prediction and annotation must have one shape, got {dict(prediction.sizes)} and "
            f"{dict(annotation.sizes)}. Select the annotated scans of the prediction."
        )
    voxel = voxel_volume(prediction, where=where)
    edge = voxel ** (1 / 3)
    offsets, areas = crossing_areas(prediction, where=where)
    names, tables = _component_tables(scheme)
    found = [
        _tile_sums(p, a, tables, offsets, areas, voxel)
        for p, a in zip(scans(prediction), scans(annotation), strict=True)
    ]
    if not any(sums[0].any() for sums in found):
        raise InputError(f"{where}: at least one voxel must be annotated, got none. Check which scans were annotated.")

    result = {key: np.full(len(names), np.nan) for key in ("shift", "systematic", "random", "flips", "tiles")}
    for c in range(len(names)):
        shift, known, weight, between, tiles = _ratio(
            [(excess[:, c], surface[:, c]) for _, excess, surface, _, _ in found]
        )
        prior, loose = (shift_voxels * edge) ** 2, (scatter_voxels * edge) ** 2
        result["shift"][c], result["tiles"][c] = shift, tiles
        result["systematic"][c] = np.sqrt((weight * known + _PRIOR_SCANS * prior) / (weight + _PRIOR_SCANS))
        freedom = max(weight - 1, 0.0)
        result["random"][c] = np.sqrt((freedom * between + _PRIOR_SCANS * loose) / (freedom + _PRIOR_SCANS))
        _, known, weight, _, _ = _ratio([(flips[:, c], marginal[:, c]) for _, _, _, flips, marginal in found])
        result["flips"][c] = np.sqrt((weight * known + _PRIOR_SCANS * FLIP_SHARE**2) / (weight + _PRIOR_SCANS))
    units = {"shift": "um", "systematic": "um", "random": "um", "flips": "1", "tiles": "1"}
    return xr.Dataset(
        {key: ("component", values, {"units": units[key]}) for key, values in result.items()},
        coords={"component": names},
    )


def _component_tables(scheme: PhaseScheme) -> tuple[list[str], np.ndarray]:
    """Names of the phases and of all lithium, and which of the 256 labels belong to each."""
    names = list(scheme.names)
    members = [[scheme[name]] for name in names]
    lithium = [scheme[name] for name in scheme.names_by_role("lithium")]
    if lithium and LITHIUM not in names:
        names.append(LITHIUM)
        members.append(lithium)
    return names, np.stack([np.isin(np.arange(256), ids) for ids in members])


def _ratio(found: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float, float, float, float]:
    """Ratio of the sums over all tiles of all scans.

    Returns the ratio, its mean square (itself squared plus its variance), the number of scans it rests on,
    the variance between scans, and the number of tiles it rests on.
    """
    top, bottom = (np.concatenate([scan[i] for scan in found]) for i in (0, 1))
    total = bottom.sum()
    if total <= 0:
        return np.nan, 0.0, 0.0, 0.0, 0.0
    ratio = top.sum() / total
    used = (bottom > 0) | (top != 0)
    number = int(used.sum())
    variance = number / max(number - 1, 1) * ((top - ratio * bottom)[used] ** 2).sum() / total**2
    tiles = np.array([surface.sum() ** 2 / max((surface**2).sum(), 1e-300) for _, surface in found])
    # One scan is one piece of evidence however many tiles it has: a network errs alike all over a scan.
    weight = float(np.minimum(tiles / _TILES_OF_A_SCAN, 1).sum())
    shares = np.array([surface.sum() / total for _, surface in found])
    ratios = np.array([over.sum() / surface.sum() if surface.sum() > 0 else ratio for over, surface in found])
    scans_used = max(int((shares > 0).sum()) - 1, 1)
    between = float((shares * (ratios - ratio) ** 2).sum()) * (scans_used + 1) / scans_used
    return float(ratio), float(ratio**2 + variance), weight, between, float(tiles.sum())


def _tile_sums(
    prediction: xr.DataArray,
    annotation: xr.DataArray,
    tables: np.ndarray,
    offsets: Any,
    areas: np.ndarray,
    voxel: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Per tile and component: annotated voxels, excess volume, surface, wrong columns and marginal columns."""
    ny, nx = prediction.shape[1:]
    across = -(-nx // _TILE_VOXELS)
    tile = (np.arange(ny) // _TILE_VOXELS)[:, None] * across + np.arange(nx) // _TILE_VOXELS
    number, count = int(tile.max()) + 1, len(tables)
    seen = np.zeros((number, count))
    excess, surface = np.zeros((number, count)), np.zeros((number, count))
    unknown = np.zeros((ny, nx), dtype=np.int64)
    held = np.zeros((2, count, ny, nx), dtype=np.int32)
    walk = zip(slabs(prediction, overlap=1), slabs(annotation, overlap=1), strict=True)
    for (planes, labels), (_, told) in walk:
        own = planes.stop - planes.start
        known = told != UNLABELED
        unknown += (~known[:own]).sum(axis=0)
        if not known.any():
            continue
        where = np.broadcast_to(tile, labels.shape)
        inside = known[:own]
        for c, table in enumerate(tables):
            guess, truth = table[labels[:own]], table[told[:own]]
            held[0, c] += guess.sum(axis=0)
            held[1, c] += truth.sum(axis=0)
            difference = guess[inside].astype(float) - truth[inside]
            excess[:, c] += voxel * np.bincount(where[:own][inside], weights=difference, minlength=number)
            seen[:, c] += np.bincount(where[:own][inside], minlength=number)
        for k, near, far in neighbor_pairs(labels.shape, offsets, own):
            one, other = labels[near], labels[far]
            for end in (near, far):
                # Half of the area of a crossing belongs to each of its ends.
                places = np.nonzero((one != other) & known[end])
                at, a, b = where[end][places], one[places], other[places]
                for c, table in enumerate(tables):
                    crossed = table[a] != table[b]
                    surface[:, c] += areas[k] / 2 * np.bincount(at[crossed], minlength=number)
    whole = unknown == 0
    wrong, marginal = np.zeros((number, count)), np.zeros((number, count))
    for c in range(count):
        edge = marginal_columns(held[0, c]) & whole
        differ = ((held[0, c] > 0).astype(float) - (held[1, c] > 0)) * whole
        wrong[:, c] = np.bincount(tile.ravel(), weights=differ.ravel(), minlength=number)
        marginal[:, c] = np.bincount(tile.ravel(), weights=edge.ravel().astype(float), minlength=number)
    return seen, excess, surface, wrong, marginal


def marginal_columns(counts: np.ndarray) -> np.ndarray:
    """Columns whose coverage a small shift may change: one voxel thick, or at the border of what is covered."""
    covered = counts > 0
    result = counts == 1
    for axis in (-2, -1):
        differs = np.diff(covered.astype(np.int8), axis=axis) != 0
        pad = [(0, 0)] * covered.ndim
        for ends in ((0, 1), (1, 0)):
            pad[axis] = ends
            result = result | np.pad(differs, pad)
    return result
