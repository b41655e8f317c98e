"""Rules of the cell applied to a segmentation, at the interfaces it shows; every voxel changed is counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from operando.core.blocks import iter_blocks
from operando.core.errors import InputError
from operando.core.phases import UNLABELED, PhaseScheme
from operando.core.provenance import record
from operando.morphometry.interface import electrode_faces, middle_face, plating_end
from operando.morphometry.volume import checked_labels, scans

COLUMNS = ("scan", "rule", "from", "to", "n")
RULES = (
    "deposited near the stripping electrode",
    "redeposited near the plating electrode",
    "pit near the plating electrode",
    "speck",
    "hole",
)


def clean(
    labels: xr.DataArray,
    phases: PhaseScheme | Mapping[str, int],
    *,
    plating_side: str | None = None,
    speck_voxels: int = 30,
    electrode: str = "electrode",
    block: tuple[int, int, int] = (192, 192, 192),
) -> tuple[xr.DataArray, pd.DataFrame]:
    """Put right what a segmentation cannot mean, and say which voxels were changed.

    Parameters
    ----------
    labels : DataArray of uint8, dims ([t], z, y, x)
        Segmentation; ``z`` normal to the electrodes. May be lazy.
    phases : PhaseScheme or mapping of str to int
        What the ids mean. A rule about a phase that is not there does not apply.
    plating_side : {"low", "high"}, optional
        End of ``z`` that is plated on first charge. Default: ``labels.attrs["plating_side"]``.
    speck_voxels : int
        Largest piece, in voxels, that counts as a speck or a hole; 0 turns both rules off.
    electrode : str
        The phase both electrodes are labeled with.
    block : tuple of int
        Size of the blocks along z, y, x that are worked on.

    Returns
    -------
    labels : DataArray of uint8, dims as given
        Lazy where ``labels`` is lazy: the blocks are then cleaned again when they are wanted.
    report : DataFrame
        One row per scan, rule, phase before and phase after, with the number ``n`` of voxels changed. A
        voxel that met several rules counts once, for the last of them.
        ``attrs["fraction"]`` is the share of all voxels that was changed.

    Raises
    ------
    InputError, PhaseError
        Where the plating side, a phase or the electrodes are not known.

    Notes
    -----
    In this order:

    1. *deposited near the stripping electrode* becomes redeposited, *redeposited near the plating
       electrode* becomes deposited, *pit near the plating electrode* becomes electrode before the surface
       of that electrode and electrolyte behind it (Huang 2023, main text and Supplementary Note 1, which
       cuts the field of view at mid depth). Near means: in its column, on that electrode's side of the middle
       between the two electrode surfaces, which are found in each scan
       (:func:`operando.morphometry.electrode_surfaces`). No slice numbers are typed in.
    2. *speck*: a piece of lithium, all lithium phases together, of at most ``speck_voxels`` that touches no
       other lithium even by a corner becomes the phase that most of its faces touch.
    3. *hole*: a piece of one phase of at most ``speck_voxels`` whose faces all touch one other phase
       becomes that phase.

    Larger pieces of lithium without contact stay: they are dead lithium, which the ledger counts. Unlabeled
    voxels (255) stay unlabeled. The rules of point 1 are those of one charge and discharge; do not use them
    for cells in which both electrodes are plated repeatedly.

    Works block by block with a halo that holds any speck whole, so that the result does not depend on
    ``block``. Memory: about 20 bytes per voxel of one block with its halo, and for an image that is not
    lazy its copy.

    Reference
    ---------
    Huang et al., npj Computational Materials 9 (2023), doi:10.1038/s41524-023-01039-y

    Examples
    --------
    One voxel of deposit in front of the stripping electrode at high z:

    >>> from operando.core.axes import labeled_image
    >>> labels = labeled_image(np.array([1, 1, 0, 0, 0, 2, 1, 1], np.uint8).reshape(8, 1, 1))
    >>> phases = {"electrolyte": 0, "electrode": 1, "deposited": 2, "redeposited": 5}
    >>> cleaned, report = clean(labels, phases, plating_side="low", speck_voxels=0)
    >>> cleaned.values.ravel().tolist(), report[["from", "to", "n"]].values.tolist()
    ([1, 1, 0, 0, 0, 5, 1, 1], [['deposited', 'redeposited', 1]])
    """
    scheme, ordered = checked_labels(labels, phases, where="clean")
    if not (isinstance(speck_voxels, (int, np.integer)) and speck_voxels >= 0):
        raise InputError(f"clean: speck_voxels must be a whole number >= 0, got {speck_voxels!r}. 0 removes no specks.")
    scheme.check(ordered, where="clean")
    plating = plating_end(ordered, plating_side, where="clean")
    cleaned, tables = [], []
    for index, scan in enumerate(scans(ordered)):
        faces = electrode_faces(scan, scheme, electrode, where=f"clean: scan {index}").compute()
        surface = faces.sel(component=plating).values
        rules = _Rules(scheme, electrode, plating, int(speck_voxels), middle_face(faces), surface)
        data, counts = _clean_scan(scan, rules, block)
        cleaned.append(data)
        tables.append(_table(counts, scheme, index if "t" in ordered.dims else -1))
    if "t" not in ordered.dims:
        data = cleaned[0]
    elif ordered.chunks is None:
        data = np.stack(cleaned)
    else:
        import dask.array as da

        data = da.stack(cleaned)
    report = pd.concat(tables, ignore_index=True)
    report.attrs["fraction"] = float(report["n"].sum()) / ordered.size
    parameters = {"plating_side": plating, "speck_voxels": int(speck_voxels), "electrode": electrode}
    result = ordered.copy(data=data).assign_attrs(provenance=record("operando.segmentation.clean", parameters))
    return result.transpose(*labels.dims), report


Places = tuple[np.ndarray, ...]
Change = Callable[[int, np.ndarray | Places, np.ndarray | int], None]
"""Rule number, where, and the label to put there."""


@dataclass(frozen=True)
class _Rules:
    """What a block needs to know of its scan; faces are in voxels along z."""

    scheme: PhaseScheme
    electrode: str
    plating: str
    speck_voxels: int
    middle: np.ndarray
    surface: np.ndarray


def _clean_scan(scan: xr.DataArray, rules: _Rules, block: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    # A piece of n voxels reaches n - 1 voxels beyond the one in the block; its neighbors one more.
    halo = rules.speck_voxels + 1 if rules.speck_voxels else 0
    parts = list(iter_blocks(scan.shape, block, halo=halo))
    if scan.chunks is None:
        out, total = np.empty(scan.shape, dtype=np.uint8), np.zeros((len(RULES), 256, 256), dtype=np.int64)
        for part in parts:
            changed, counts = _clean_block(scan.values[part.read], part.read, part.inner, rules)
            out[part.core] = changed
            total += counts
        return out, total
    import dask
    import dask.array as da

    shared = dask.delayed(rules)
    jobs = [dask.delayed(_clean_block, nout=2)(scan.data[part.read], part.read, part.inner, shared) for part in parts]
    counts = dask.compute(*(job[1] for job in jobs))
    grid = tuple(-(-size // step) for size, step in zip(scan.shape, block, strict=True))
    shapes = [tuple(s.stop - s.start for s in part.core) for part in parts]
    lazy = np.empty(len(parts), dtype=object)
    for i, (job, shape) in enumerate(zip(jobs, shapes, strict=True)):
        lazy[i] = da.from_delayed(job[0], shape=shape, dtype=np.uint8)
    return da.block(lazy.reshape(grid).tolist()), sum(counts)


def _clean_block(
    labels: np.ndarray, read: tuple[slice, ...], inner: tuple[slice, ...], rules: _Rules
) -> tuple[np.ndarray, np.ndarray]:
    """The cleaned inner part of a block and the voxels changed in it by rule, label before and label after."""
    before, out = np.asarray(labels), np.array(labels)
    last = np.zeros(out.shape, dtype=np.uint8)

    def change(rule: int, places: np.ndarray | Places, to: np.ndarray | int) -> None:
        last[places] = rule
        out[places] = to

    _sides(out, read, rules, change)
    if rules.speck_voxels:
        _specks(out, rules, change)
        _holes(out, rules, change)
    changed = np.zeros(out.shape, dtype=bool)
    changed[inner] = (out != before)[inner]
    counts = np.zeros((len(RULES), 256, 256), dtype=np.int64)
    np.add.at(counts, (last[changed], before[changed], out[changed]), 1)
    return out[inner], counts


def _sides(out: np.ndarray, read: tuple[slice, ...], rules: _Rules, change: Change) -> None:
    scheme = rules.scheme
    center = (np.arange(read[0].start, read[0].stop) + 0.5)[:, None, None]
    below = center < rules.middle[read[1:]]
    near_plating = below if rules.plating == "low" else ~below
    if "deposited" in scheme and "redeposited" in scheme:
        deposited, redeposited = scheme["deposited"], scheme["redeposited"]
        swapped = (out == redeposited) & near_plating
        change(0, (out == deposited) & ~near_plating, redeposited)
        change(1, swapped, deposited)
    electrolyte = scheme.names_by_role("electrolyte")
    if "pit" in scheme and electrolyte:
        surface = rules.surface[read[1:]]
        buried = center < surface if rules.plating == "low" else center > surface
        pits = (out == scheme["pit"]) & near_plating
        change(2, pits & buried, scheme[rules.electrode])
        change(2, pits & ~buried, scheme[electrolyte[0]])


def _specks(out: np.ndarray, rules: _Rules, change: Change) -> None:
    lithium = [rules.scheme[name] for name in rules.scheme.names_by_role("lithium")]
    members = np.isin(np.arange(256), lithium)[out].view(np.uint8)
    pieces, places = _small_pieces(members, rules.speck_voxels, connectivity=26)
    if pieces.size:
        touched = _touched(out, places, pieces)
        touched[:, [*lithium, UNLABELED]] = 0
        change(3, *_painted(places, pieces, touched, touched.sum(axis=1) > 0))


def _holes(out: np.ndarray, rules: _Rules, change: Change) -> None:
    # 255 + 1 wraps to 0, which cc3d takes as background: unlabeled voxels form no piece.
    pieces, places = _small_pieces(out + np.uint8(1), rules.speck_voxels, connectivity=6)
    if pieces.size:
        touched = _touched(out, places, pieces)
        enclosed = ((touched > 0).sum(axis=1) == 1) & (touched[:, UNLABELED] == 0)
        change(4, *_painted(places, pieces, touched, enclosed))


def _small_pieces(values: np.ndarray, largest: int, *, connectivity: int) -> tuple[np.ndarray, Places]:
    """Voxels of pieces of one value no larger than ``largest``: the number of the piece of each, and where they are."""
    import cc3d

    pieces = cc3d.connected_components(values, connectivity=connectivity, out_dtype=np.uint32)
    small = np.bincount(pieces.ravel()) <= largest
    small[0] = False
    places = np.nonzero(small[pieces])
    _, numbers = np.unique(pieces[places], return_inverse=True)
    return numbers, places


def _touched(out: np.ndarray, places: Places, pieces: np.ndarray) -> np.ndarray:
    """How many faces of each piece touch each of the 256 labels, the piece itself not counted."""
    counts = np.zeros((int(pieces.max()) + 1, 256), dtype=np.int64)
    own = out[places]
    for axis in range(3):
        for step in (-1, 1):
            at = places[axis] + step
            inside = (at >= 0) & (at < out.shape[axis])
            there = tuple((at if a == axis else p)[inside] for a, p in enumerate(places))
            other = out[there]
            differs = other != own[inside]
            np.add.at(counts, (pieces[inside][differs], other[differs]), 1)
    return counts


def _painted(places: Places, pieces: np.ndarray, touched: np.ndarray, chosen: np.ndarray) -> tuple[Places, np.ndarray]:
    """Where the chosen pieces are, and the label that each of their voxels gets."""
    wanted = chosen[pieces]
    return tuple(axis[wanted] for axis in places), touched.argmax(axis=1).astype(np.uint8)[pieces[wanted]]


def _table(counts: np.ndarray, scheme: PhaseScheme, scan: int) -> pd.DataFrame:
    rows = [
        (scan, RULES[rule], scheme.name(before), scheme.name(after), int(counts[rule, before, after]))
        for rule, before, after in zip(*np.nonzero(counts), strict=True)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"scan": "int64", "n": "int64"})
