"""How the errors of single voxels go together, near each other and all over a scan, measured where people annotated."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import voxel_volume
from operando.core.blocks import iter_blocks
from operando.core.errors import InputError
from operando.core.phases import UNLABELED
from operando.morphometry.doubt import Members, matched_probability, union
from operando.morphometry.volume import Phases, checked_labels, scans

CORRELATION_VOXELS = 150.0
"""Voxels that err as one, where nothing was measured."""
COMMON = 0.3
"""One sigma of the error common to all scans of a cell, over the doubtful volume, where nothing was measured."""
SCATTER = 0.5
"""One sigma of its scatter from scan to scan, where nothing was measured."""
_PRIOR_PIECES = 5.0
_PRIOR_SCANS = 2.0
_PRIOR_CELLS = 2.0
_LONGEST = 64
_BLOCK = (192, 192, 192)


def residual_correlation(
    probability: xr.DataArray,
    annotation: xr.DataArray,
    phases: Phases,
    *,
    labels: xr.DataArray | None = None,
    plating_side: str | None = None,
    cells: Sequence[Hashable] | None = None,
) -> xr.Dataset:
    """How far volumes are off beyond what independent voxels would be, from held-out annotations.

    Parameters
    ----------
    probability : DataArray of float, dims ([t], phase, z, y, x)
        Calibrated probabilities of scans the segmenter was not trained on. May be lazy: only blocks that hold
        annotated voxels are computed.
    annotation : DataArray of uint8, dims ([t], z, y, x), coordinates in um
        What people say of the same scans; 255 = not annotated. Whole cross-sections through z.
    phases : PhaseScheme or mapping of str to int
        What the ids mean.
    labels : DataArray of uint8, dims as ``annotation``, optional
        The labels whose volumes are reported, where these are not the most probable ones (cleaned, for example).
    plating_side : {"low", "high"}, optional
        Where given (or in the attrs of either image), the two sides of the cell are included.
    cells : sequence, optional
        Which cell each scan is of. Default: all of one.

    Returns
    -------
    Dataset, dims (component), components as :func:`probability_moments`
        - ``correlation_volume`` (um3): volume within which voxels err as one
        - ``common`` (1): one sigma of the error common to all scans of a cell, over the doubtful volume
        - ``scatter`` (1): one sigma of what differs from scan to scan beyond the two
        - ``shift`` (1): mean error over the doubtful volume, positive where the labels are too many; NaN without
          evidence
        - ``pieces`` (1): evidence, the annotated doubtful volume over what of it errs as one

    Raises
    ------
    InputError
        Where shapes differ, nothing is annotated, or ``cells`` does not name one cell per scan.

    Notes
    -----
    The residual of a voxel is r = 1[label] - 1[truth], its doubt w = p (1 - p). Residuals and doubts are summed over
    the annotated voxels of every column along z, R and W, so that correlation along z is in them whole. In the plane,
    x and y are exchangeable in a cell, and the correlation depends on the distance h alone:

    .. math:: \\rho(h) = \\frac{\\sum_{|a - b| = h} R'_a R'_b}{\\sum_{|a - b| = h} \\sqrt{W_a W_b}}, \\qquad
              R'_a = R_a - \\hat\\delta_i W_a, \\quad \\hat\\delta_i = \\frac{\\sum R_a}{\\sum W_a}

    over pairs of annotated columns, with what is common to the whole scan taken out first. Its sum over all columns
    of the plane, up to the first distance at which it is not positive, is the number of voxels that err as one,

    .. math:: n = \\sum_{d \\in \\mathbb{Z}^2} \\rho(|d|)

    between 1 and 2 if voxels were independent and calibrated (a label is no expectation). Cross-sections in one
    direction suffice, because they show distances in the plane. The errors of whole scans then tell what is left:
    delta_i has the variance :math:`u_i` that n leaves it with on these columns, and the rest is split into a part
    common to the scans of a cell and one that scatters (moments of a nested random-effects model). Beside a prior
    that counts as 5 pieces, 2 scans and 2 cells:

    .. math:: \\sigma_\\mathrm{scatter}^2 = \\frac{f s^2 + 2 \\cdot 0.5^2}{f + 2}, \\qquad
              \\sigma_\\mathrm{common}^2 = \\frac{k m^2 + 2 \\cdot 0.3^2}{k + 2}

    with f the scans beyond the first of each cell that show the component, and m^2 the mean square of the k cells'
    mean errors. One cell says little about another: k is 1 then.

    Do not trust it where annotations avoid the doubtful places, or are slices normal to z or strokes, which cut the
    columns short: n is then too small. Distances are in voxels, y and x taken to be alike.

    Memory: three maps (y, x) per component, and one block of the images.

    Reference
    ---------
    Geyer, Statistical Science 7 (1992) 473 (where to end the sum); DerSimonian and Laird, Controlled Clinical Trials 7
    (1986) 177 (scatter beyond sampling).

    Examples
    --------
    Columns of 6 voxels with p = 0.5, in which labels and truth are drawn at random, 6 voxels at a time: a column has
    the variance 6^2 (1/4 + 1/4), 12 times the 6 p (1 - p) of independent voxels.

    >>> from operando.core.axes import labeled_image
    >>> rng = np.random.default_rng(0)
    >>> truth, labels = (labeled_image(np.repeat(rng.integers(0, 2, (1, 256, 256)), 6, axis=0).astype(np.uint8),
    ...     voxel_size_um=1.0) for _ in range(2))
    >>> probability = labeled_image(np.full((2, 6, 256, 256), 0.5), dims=("phase", "z", "y", "x"), voxel_size_um=1.0,
    ...     coords={"phase": ["electrolyte", "layer"]})
    >>> found = residual_correlation(probability, truth, {"electrolyte": 0, "layer": 1}, labels=labels)
    >>> 11.5 < float(found["correlation_volume"][0]) < 12.5
    True
    """
    where = "residual_correlation"
    scheme, annotation = checked_labels(annotation, phases, where=where)
    probability = matched_probability(probability, scheme, where=where, sizes=annotation.sizes)
    if labels is not None:
        _, labels = checked_labels(labels, phases, where=where)
        if labels.shape != annotation.shape:
            raise InputError(
                f"{where}: labels and annotation must have one shape, got {dict(labels.sizes)} and "
                f"{dict(annotation.sizes)}. Select the annotated scans of the labels."
            )
    told = scans(annotation)
    owners: list[Hashable] = [0] * len(told) if cells is None else list(cells)
    if len(owners) != len(told):
        raise InputError(f"{where}: cells must name one cell per scan, got {len(owners)} for {len(told)} scans.")
    voxel = voxel_volume(annotation, where=where)
    side = plating_side or annotation.attrs.get("plating_side") or probability.attrs.get("plating_side")
    members = Members.of(scheme, side, where=where)
    near = members.near(_electrode_planes(told, scheme["electrode"])) if members.ends else {}
    fields = []
    for k, marks in enumerate(told):
        chances = probability.isel(t=k) if "t" in probability.dims else probability
        own = labels if labels is None or "t" not in labels.dims else labels.isel(t=k)
        fields.append(_Field.of(_column_sums(chances, marks, own, members, near)))
    if not any(field.known for field in fields):
        raise InputError(f"{where}: at least one voxel must be annotated, got none. Check which scans were annotated.")

    names = ("correlation_volume", "common", "scatter", "shift", "pieces")
    result = {name: np.full(len(members.names), np.nan) for name in names}
    for c in range(len(members.names)):
        kernel, number = _correlation(fields, c)
        errors = np.array([field.error[c] for field in fields])
        doubts = np.array([field.doubt[c] for field in fields])
        sums = np.array([max(float((kernel * field.overlap[c]).sum()), field.doubt[c]) for field in fields])
        pieces = float(np.divide(doubts**2, sums, out=np.zeros_like(sums), where=sums > 0).sum())
        number = (pieces * number + _PRIOR_PIECES * CORRELATION_VOXELS) / (pieces + _PRIOR_PIECES)
        result["correlation_volume"][c], result["pieces"][c] = number * voxel, pieces
        result["shift"][c], result["common"][c], result["scatter"][c] = _random_effects(errors, doubts, sums, owners)
    units = {"correlation_volume": "um3"}
    return xr.Dataset(
        {name: ("component", values, {"units": units.get(name, "1")}) for name, values in result.items()},
        coords={"component": list(members.names)},
    )


def assumed_residuals(components: Sequence[str], *, voxel_volume_um3: float) -> xr.Dataset:
    """What :func:`residual_correlation` would say without any evidence.

    Examples
    --------
    >>> float(assumed_residuals(["pit"], voxel_volume_um3=8.0)["correlation_volume"][0])
    1200.0
    """
    values = {"correlation_volume": CORRELATION_VOXELS * voxel_volume_um3, "common": COMMON, "scatter": SCATTER}
    return xr.Dataset(
        {name: ("component", np.full(len(components), value)) for name, value in values.items()},
        coords={"component": list(components)},
    )


def _electrode_planes(told: Sequence[xr.DataArray], electrode: int) -> np.ndarray:
    """Share of the annotated voxels of every plane that is electrode, over all scans."""
    found = np.zeros((2, told[0].sizes["z"]))
    for marks in told:
        for block in _pieces(marks):
            part = np.asarray(marks.data[block])
            found[0, block[0]] += (part == electrode).sum(axis=(1, 2))
            found[1, block[0]] += (part != UNLABELED).sum(axis=(1, 2))
    return found[0] / np.maximum(found[1], 1)


def _pieces(image: xr.DataArray) -> Iterator[tuple[slice, ...]]:
    """Blocks of one scan (z, y, x): as large as its chunks where it is lazy."""
    sizes = _BLOCK if image.chunks is None else tuple(max(part) for part in image.chunks)
    for block in iter_blocks(image.shape, sizes):
        yield block.core


def _column_sums(
    chances: xr.DataArray,
    marks: xr.DataArray,
    labels: xr.DataArray | None,
    members: Members,
    near: dict[str, np.ndarray],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Residuals and doubts (component, y, x) of every column of one scan, and its annotated voxels (y, x)."""
    shape = (len(members.names), *marks.shape[1:])
    wrong, doubt = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    known = np.zeros(marks.shape[1:], np.int32)
    ids = np.array(members.scheme.ids, np.uint8)
    for block in _pieces(chances.isel(phase=0)):
        truth = np.asarray(marks.data[block])
        if (truth == UNLABELED).all():
            continue
        p = np.asarray(chances.data[(slice(None), *block)], dtype=np.float32)
        found = ids[p.argmax(axis=0)] if labels is None else np.asarray(labels.data[block])
        inside = (truth != UNLABELED) & (found != UNLABELED) & np.isfinite(p).all(axis=0)
        known[block[1:]] += inside.sum(axis=0, dtype=np.int32)
        place = (slice(None), *block[1:])
        errors, doubts = wrong[place], doubt[place]
        whole = len(members.names) - len(members.ends)
        for c, chosen in enumerate(members.sets[:whole]):
            _add(errors[c], doubts[c], p, found, truth, inside, ids, chosen)
        for k, end in enumerate(members.ends):
            planes = near[end][block[0]]
            for own, chosen in ((~planes, members.sets[whole + 2 * k]), (planes, members.sets[whole + 2 * k + 1])):
                if own.any() and chosen:
                    parts = (p[:, own], found[own], truth[own], inside[own])
                    _add(errors[whole + k], doubts[whole + k], *parts, ids, chosen)
    return wrong, doubt, known


def _add(
    errors: np.ndarray,
    doubts: np.ndarray,
    p: np.ndarray,
    found: np.ndarray,
    truth: np.ndarray,
    inside: np.ndarray,
    ids: np.ndarray,
    chosen: tuple[int, ...],
) -> None:
    chance = union(p, chosen)
    table = np.isin(np.arange(256), ids[list(chosen)]).astype(np.int8)
    errors += ((table[found] - table[truth]) * inside).sum(axis=0)
    doubts += (np.nan_to_num(chance * (1 - chance)) * inside).sum(axis=0)


@dataclass(frozen=True)
class _Field:
    """What is kept of one scan: per component error and doubt in voxels, and sums over pairs of columns by shift.

    ``product`` of residuals and ``overlap`` of the roots of doubts: (component, dy, dx).
    """

    known: bool
    error: np.ndarray
    doubt: np.ndarray
    product: np.ndarray
    overlap: np.ndarray

    @classmethod
    def of(cls, sums: tuple[np.ndarray, np.ndarray, np.ndarray]) -> _Field:
        wrong, doubt, known = sums
        reach = min(_LONGEST, max(1, max(known.shape) // 2))
        error, total = wrong.sum(axis=(1, 2), dtype=float), doubt.sum(axis=(1, 2), dtype=float)
        product, overlap = [], []
        for c in range(len(wrong)):
            rate = error[c] / total[c] if total[c] > 0 else 0.0
            product.append(_shifted_sums(wrong[c] - rate * doubt[c], reach))
            overlap.append(_shifted_sums(np.sqrt(np.maximum(doubt[c], 0)), reach))
        return cls(bool(known.any()), error, total, np.stack(product), np.stack(overlap))


def _shifted_sums(field: np.ndarray, reach: int) -> np.ndarray:
    """Sum of a map times itself shifted, for all shifts up to ``reach``: (2 reach + 1, 2 reach + 1).

    Examples
    --------
    >>> _shifted_sums(np.array([[1.0, 2.0]]), 1)[1].round(6).tolist()
    [2.0, 5.0, 2.0]
    """
    from scipy.fft import irfft2, next_fast_len, rfft2

    shape = [next_fast_len(size + reach, real=True) for size in field.shape]
    wave = rfft2(field.astype(float), s=shape)
    sums = irfft2(wave * wave.conj(), s=shape)
    shifts = np.arange(-reach, reach + 1)
    out = sums[np.ix_(shifts, shifts)]
    # Beyond the field there is no pair, but the transform wraps around.
    for axis, size in enumerate(field.shape):
        out[(np.abs(shifts) >= size,) if axis == 0 else (slice(None), np.abs(shifts) >= size)] = 0
    return np.asarray(out)


def _correlation(fields: Sequence[_Field], c: int) -> tuple[np.ndarray, float]:
    """Correlation of columns by shift in the plane, and its sum: voxels that err as one."""
    reach = fields[0].overlap.shape[-1] // 2
    shifts = np.arange(-reach, reach + 1)
    distance = np.hypot(*np.meshgrid(shifts, shifts, indexing="ij"))
    rounded = np.rint(distance).astype(int)
    product = sum(field.product[c] for field in fields)
    overlap = sum(field.overlap[c] for field in fields)
    top = np.bincount(rounded.ravel(), weights=np.ravel(product))[: reach + 1]
    bottom = np.bincount(rounded.ravel(), weights=np.ravel(overlap))[: reach + 1]
    enough = bottom > 1e-3 * max(bottom[0], 1e-300)
    rho = np.divide(top, bottom, out=np.zeros_like(top), where=enough)
    ends = np.flatnonzero(rho <= 0)
    rho[int(ends[0]) if ends.size else reach + 1 :] = 0
    kernel: np.ndarray = np.append(rho, 0.0)[np.minimum(rounded, reach + 1)]
    return kernel, float(kernel.sum())


def _random_effects(
    errors: np.ndarray, doubts: np.ndarray, sums: np.ndarray, owners: Sequence[Any]
) -> tuple[float, float, float]:
    """Mean error, sigma common to the scans of a cell and sigma from scan to scan, over the doubtful volume."""
    used = doubts > 0
    if not used.any():
        return np.nan, COMMON, SCATTER
    shift = float(errors.sum() / doubts.sum())
    rate, noise = errors[used] / doubts[used], sums[used] / doubts[used] ** 2
    weight = 1 / (noise + SCATTER**2)
    owner = [cell for cell, own in zip(owners, used, strict=True) if own]
    squares, freedom, means, evidence = 0.0, 0.0, [], []
    for cell in dict.fromkeys(owner):
        own = np.array([other == cell for other in owner])
        w, x, u = weight[own], rate[own], noise[own]
        mean = float((w * x).sum() / w.sum())
        means.append(mean)
        evidence.append(COMMON**2 / (COMMON**2 + 1 / w.sum()))
        # A scan counts as far as it is known better than it scatters.
        share = w * SCATTER**2
        left = 1 - w / w.sum()
        squares += float((share * ((x - mean) ** 2 - u * left)).sum())
        freedom += float((share * left).sum())
    scatter = (max(squares, 0.0) + _PRIOR_SCANS * SCATTER**2) / (freedom + _PRIOR_SCANS)
    k = np.array(evidence)
    common = (float((k * np.array(means) ** 2).sum()) + _PRIOR_CELLS * COMMON**2) / (k.sum() + _PRIOR_CELLS)
    return shift, float(np.sqrt(common)), float(np.sqrt(scatter))
