"""How sure a volume, a coverage or a change is, given how well its labels are known.

One picture carries all of it: a segmenter puts the surface of a component a little too far out or in. That shift
is nearly the same everywhere and in every scan, because the same network made it for the same reasons; so the
error of a volume is its surface times the shift, and it largely cancels between scans. What is left varies from
scan to scan at random.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import SPACE, require_dims, voxel_volume
from operando.core.errors import InputError
from operando.core.phases import UNLABELED, PhaseScheme
from operando.morphometry.connectivity import inactive_lithium, inactive_mask
from operando.morphometry.interface import (
    SLAB_VOXELS,
    crossing_areas,
    electrode_faces,
    interface_area,
    middle_face,
    neighbor_pairs,
    plating_end,
    slabs,
)
from operando.morphometry.sides import SIDE_COMPONENTS, SIDE_SCHEME, fixed_and_free, side_labels
from operando.morphometry.volume import (
    Phases,
    by_component,
    checked_labels,
    column_counts,
    roi_area,
    scans,
)

SHIFT_VOXELS = 0.25
"""One sigma of the common shift of interfaces, in voxel edges, where nothing was measured."""
SCATTER_VOXELS = 0.1
"""One sigma of its scatter from scan to scan, in voxel edges, where nothing was measured."""
FLIP_SHARE = 0.4
"""One sigma of the share of marginal columns that change their coverage, where nothing was measured."""
_TILE_VOXELS = 16
_TILES_OF_A_SCAN = 4
_PRIOR_SCANS = 2
LITHIUM = "lithium"


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
        edge = _marginal(held[0, c]) & whole
        differ = ((held[0, c] > 0).astype(float) - (held[1, c] > 0)) * whole
        wrong[:, c] = np.bincount(tile.ravel(), weights=differ.ravel(), minlength=number)
        marginal[:, c] = np.bincount(tile.ravel(), weights=edge.ravel().astype(float), minlength=number)
    return seen, excess, surface, wrong, marginal


def _marginal(counts: np.ndarray) -> np.ndarray:
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


def probability_moments(
    probability: xr.DataArray, labels: xr.DataArray, phases: Phases, *, plating_side: str | None = None
) -> xr.Dataset:
    """What per-voxel probabilities say about volumes: expectation and variance, in one pass.

    Parameters
    ----------
    probability : DataArray of float, dims ([t], phase, z, y, x)
        Probability of each phase, the ``phase`` coordinate naming them. May be lazy.
    labels : DataArray of uint8, dims ([t], z, y, x), coordinates in um
        The labels whose volumes are reported.
    phases : PhaseScheme or mapping of str to int
        What the ids mean.
    plating_side : {"low", "high"}, optional
        Where given (or in ``labels.attrs``), the two sides of the cell are included, split as in
        :func:`lithium_by_side`.

    Returns
    -------
    Dataset, dims ([t], component)
        Components: the phases and, where asked for, ``plating side`` and ``stripping side``.

        - ``expected`` (um3): sum of the probabilities
        - ``excess`` (um3): volume by labels minus expected
        - ``bernoulli`` (um6): sum of p (1 - p), the variance if all voxels erred independently
        - ``doubt`` (1): mean of 1 - largest probability, per scan

    Notes
    -----
    Voxels do not err independently; :func:`segmentation_sigma` multiplies ``bernoulli`` by a correlation
    volume. The expectation is only as good as the calibration of the probabilities. Memory: about 20
    bytes per voxel and phase of a slab of 2^22 voxels divided by the number of phases.

    Examples
    --------
    Two voxels of 1 um3, labeled electrode with probabilities 1 and 0.75:

    >>> from operando.core.axes import labeled_image
    >>> p = np.array([[0.0, 0.25], [1.0, 0.75]]).reshape(2, 1, 1, 2)
    >>> probability = labeled_image(p, dims=("phase", "z", "y", "x"), voxel_size_um=1.0,
    ...     coords={"phase": ["electrolyte", "electrode"]})
    >>> labels = labeled_image(np.ones((1, 1, 2), np.uint8), voxel_size_um=1.0)
    >>> moments = probability_moments(probability, labels, {"electrolyte": 0, "electrode": 1})
    >>> moments.sel(component="electrode")[["expected", "excess", "bernoulli"]].to_array().values.tolist()
    [1.75, 0.25, 0.1875]
    """
    where = "probability_moments"
    scheme, labels = checked_labels(labels, phases, where=where)
    voxel = voxel_volume(labels, where=where)
    probability = _matched_probability(probability, labels, scheme, where=where)
    end: str | None = plating_side if plating_side is not None else labels.attrs.get("plating_side")
    names = [*scheme.names, *(SIDE_COMPONENTS if end is not None else ())]
    collected: dict[str, list[np.ndarray]] = {key: [] for key in ("expected", "excess", "bernoulli", "doubt")}
    for index, scan in enumerate(scans(labels)):
        chance = probability.isel(t=index) if "t" in probability.dims else probability
        shares = None if end is None else _side_shares(scan, scheme, end, where=where)
        expected, counted, variance = (np.zeros(len(names)) for _ in range(3))
        doubt = 0.0
        for planes, slab in slabs(scan, slab_voxels=SLAB_VOXELS // len(scheme)):
            block = chance.isel(z=planes).data
            p = np.asarray(block if isinstance(block, np.ndarray) else block.compute(), dtype=np.float32)
            doubt += float((1 - p.max(axis=0)).sum(dtype=float))
            members: list[tuple[np.ndarray, np.ndarray]] = [
                (p[c], slab == number) for c, number in enumerate(scheme.ids)
            ]
            if shares is not None:
                center = (np.arange(planes.start, planes.stop) + 0.5)[:, None, None]
                members += [shares(p, slab, center, side) for side in SIDE_COMPONENTS]
            for c, (own, is_own) in enumerate(members):
                expected[c] += own.sum(dtype=float)
                variance[c] += (own * (1 - own)).sum(dtype=float)
                counted[c] += np.count_nonzero(is_own)
        collected["expected"].append(expected * voxel)
        collected["excess"].append((counted - expected) * voxel)
        collected["bernoulli"].append(np.maximum(variance, 0) * voxel**2)
        collected["doubt"].append(np.full(len(names), doubt / scan.size))
    units = {"expected": "um3", "excess": "um3", "bernoulli": "um6", "doubt": "1"}
    return xr.Dataset(
        {key: by_component(np.stack(rows), labels, names, units=units[key]) for key, rows in collected.items()}
    )


def _matched_probability(
    probability: xr.DataArray, labels: xr.DataArray, scheme: PhaseScheme, *, where: str
) -> xr.DataArray:
    require_dims(probability, ("phase", *SPACE), where=where, optional=("t",))
    have = [str(name) for name in probability.coords["phase"].values] if "phase" in probability.coords else []
    if sorted(have) != sorted(scheme.names):
        raise InputError(
            f"{where}: the coordinate 'phase' must name the phases {list(scheme.names)}, got {have}. "
            "Assign it with .assign_coords(phase=[...])."
        )
    order = [dim for dim in ("t", "phase", *SPACE) if dim in probability.dims]
    probability = probability.sel(phase=list(scheme.names)).transpose(*order)
    shape = {dim: size for dim, size in probability.sizes.items() if dim != "phase"}
    if shape != dict(labels.sizes):
        raise InputError(
            f"{where}: probability and labels must have one shape, got {shape} and {dict(labels.sizes)}. "
            "Take both from one prediction."
        )
    return probability


def _side_shares(scan: xr.DataArray, scheme: PhaseScheme, plating_side: str, *, where: str) -> Any:
    """Function that gives the lithium probability and the labeled lithium of one side of the cell."""
    fixed, free = fixed_and_free(scan, scheme, plating_side, None, None, where=where)
    middle = middle_face(electrode_faces(scan, scheme, "electrode", where=where).compute())
    plating = plating_end(scan, plating_side, where=where)
    place = {number: c for c, number in enumerate(scheme.ids)}

    def share(p: np.ndarray, slab: np.ndarray, center: np.ndarray, side: str) -> tuple[np.ndarray, np.ndarray]:
        end = plating if side == "plating side" else ("high" if plating == "low" else "low")
        near = center < middle if end == "low" else center >= middle
        chance = p[[place[number] for number in free]].sum(axis=0) * near
        chance = np.minimum(chance + p[[place[number] for number in fixed[end]]].sum(axis=0), 1)
        return chance, np.isin(slab, fixed[end]) | (np.isin(slab, free) & near)

    return share


def segmentation_sigma(
    labels: xr.DataArray,
    phases: Phases,
    *,
    plating_side: str | None = None,
    interface: xr.Dataset | None = None,
    moments: xr.Dataset | None = None,
    correlation_voxels: float = 125.0,
) -> xr.Dataset:
    """Standard uncertainty of everything a label image measures.

    Parameters
    ----------
    labels : DataArray of uint8, dims ([t], z, y, x), coordinates in um
        The labels whose volumes are reported. May be lazy.
    phases : PhaseScheme or mapping of str to int
        What the ids mean.
    plating_side : {"low", "high"}, optional
        Default ``labels.attrs["plating_side"]``. Where known, the sides of the cell and the inactive
        lithium are included.
    interface : Dataset, dims (component), optional
        Shifts from :func:`interface_error`. Default: 0.25 voxel edges common to all scans and 0.1 from
        scan to scan, for all components.
    moments : Dataset, dims ([t], component), optional
        From :func:`probability_moments`.
    correlation_voxels : float
        Volume, in voxels, within which errors of single voxels are taken to go together.

    Returns
    -------
    Dataset, dims ([t], component)
        Components: the phases, and ``plating side``, ``stripping side``, ``inactive`` where the side is
        known.

        - ``volume`` (um3): standard uncertainty of the volume
        - ``thickness`` (um): of the effective thickness
        - ``coverage`` (1): of the coverage; NaN for the sides and for inactive lithium
        - ``systematic``, ``random`` (um3): the shares of ``volume``
        - ``correlation`` (1): of the volume's error with that of the scan before; NaN for the first scan

    Notes
    -----
    With A the surface of the component (:func:`interface_area`), :math:`\\delta` and :math:`\\rho` the common and
    the random shift, b the excess and W the Bernoulli variance of ``moments``, and n ``correlation_voxels``:

    .. math:: s^2 = (A\\delta)^2 + b^2, \\quad r^2 = (A\\rho)^2 + n W, \\quad
              \\sigma^2 = s^2 + r^2, \\quad \\mathrm{corr}_{i,i-1} = s_i s_{i-1} / (\\sigma_i \\sigma_{i-1})

    Errors that are common to all scans (s) cancel in the difference of two scans, random ones do not:
    :func:`operando.electrochemistry.balance` takes ``correlation`` for that. The lithium of a side is
    judged by the shift of ``lithium``, so that deposit mistaken for dendrite does not count there.

    Inactive lithium hangs on single contacts: the difference between 6 and 26 neighbors is added.
    Coverage: ``flips`` times the share of marginal columns, those one voxel thick or at a border of what is
    covered.

    Do not trust it for errors that no annotation showed: a component the segmenter never finds has no surface,
    thus no sigma. Memory as :func:`inactive_lithium`.

    Examples
    --------
    A slab whose two surfaces (Crofton: 0.9 of 1600 um2 each) may be shifted by 0.25 um:

    >>> from operando.core.axes import labeled_image
    >>> labels = np.zeros((12, 40, 40), dtype=np.uint8)
    >>> labels[4:8] = 1
    >>> sigma = segmentation_sigma(labeled_image(labels, voxel_size_um=1.0), {"electrolyte": 0, "layer": 1})
    >>> round(float(sigma["systematic"].sel(component="layer") / (0.25 * 3200)), 1)
    0.9
    """
    where = "segmentation_sigma"
    scheme, labels = checked_labels(labels, phases, where=where)
    voxel = voxel_volume(labels, where=where)
    edge = voxel ** (1 / 3)
    end: str | None = plating_side if plating_side is not None else labels.attrs.get("plating_side")
    area = interface_area(labels, scheme)
    names = list(scheme.names)
    contact = None
    if end is not None:
        sided = side_labels(labels, scheme, plating_side=end)
        dead = inactive_mask(labels, scheme, plating_side=end)
        loose = inactive_lithium(labels, scheme, plating_side=end, connectivity=26)
        contact = float(voxel) * dead.sum(SPACE, dtype=np.int64).compute() - loose
        pieces = [area, interface_area(sided, SIDE_SCHEME).sel(component=list(SIDE_COMPONENTS))]
        dead_area = interface_area(dead.astype(np.uint8), {"other": 0, "inactive": 1})
        area = xr.concat([*pieces, dead_area.sel(component=["inactive"])], dim="component")
        names += [*SIDE_COMPONENTS, "inactive"]
    common, scatter = _shifts(names, scheme, interface, edge)
    systematic, random = (area * common) ** 2, (area * scatter) ** 2
    if moments is not None:
        known = moments.reindex(component=names, fill_value=0.0)
        systematic = systematic + known["excess"].variable ** 2
        random = random + correlation_voxels * known["bernoulli"].variable
    if contact is not None:
        random = random + (contact**2).where(random.component == "inactive", 0.0)
    return _combined(systematic, random, labels, scheme, interface)


def _shifts(
    names: list[str], scheme: PhaseScheme, interface: xr.Dataset | None, edge: float
) -> tuple[xr.DataArray, xr.DataArray]:
    """Common and random shift of each component in um."""
    coords = {"component": names}
    if interface is None:
        sizes = (SHIFT_VOXELS * edge, SCATTER_VOXELS * edge)
        common, scatter = (xr.DataArray(np.full(len(names), size), dims="component", coords=coords) for size in sizes)
        return common, scatter
    sources = [name if name in scheme else LITHIUM for name in names]
    missing = sorted(set(sources) - set(interface.coords["component"].values.tolist()))
    if missing:
        raise InputError(
            f"segmentation_sigma: interface must know every component, it lacks {missing}. "
            "Make it with interface_error and the same phases."
        )
    picked = interface.sel(component=sources).assign_coords(coords)
    return picked["systematic"], picked["random"]


def _combined(
    systematic: xr.DataArray,
    random: xr.DataArray,
    labels: xr.DataArray,
    scheme: PhaseScheme,
    interface: xr.Dataset | None,
) -> xr.Dataset:
    common, sigma = systematic**0.5, (systematic + random) ** 0.5
    correlation = xr.full_like(sigma, np.nan)
    if "t" in sigma.dims and sigma.sizes["t"] > 1:
        order = ("t", "component")
        s, total = common.transpose(*order).values, sigma.transpose(*order).values
        product = total[1:] * total[:-1]
        correlation = correlation.transpose(*order)
        correlation[1:] = np.divide(s[1:] * s[:-1], product, out=np.zeros_like(product), where=product > 0)
    flips = FLIP_SHARE if interface is None else interface["flips"].sel(component=list(scheme.names))
    counts = column_counts(labels, scheme)
    marginal = xr.apply_ufunc(_marginal, counts, dask="parallelized", output_dtypes=[bool]).mean(("y", "x")).compute()
    out = xr.Dataset(
        {
            "volume": sigma.assign_attrs(units="um3"),
            "thickness": (sigma / roi_area(labels)).assign_attrs(units="um"),
            "coverage": (marginal * flips).reindex(component=sigma.component.values).assign_attrs(units="1"),
            "systematic": common.assign_attrs(units="um3"),
            "random": (random**0.5).assign_attrs(units="um3"),
            "correlation": correlation.assign_attrs(units="1"),
        }
    )
    return out.transpose(..., "component")


def error_adjusted_volumes(volume: xr.DataArray, confusion: np.ndarray, *, design_effect: float = 1000.0) -> xr.Dataset:
    """Volumes corrected by the confusions that held-out annotations show, with standard uncertainty.

    Parameters
    ----------
    volume : DataArray, dims ([t], component), units "um3"
        Volumes by counting, one component per phase, as :func:`volumes` returns them.
    confusion : ndarray, (n, n) or (n, n + 1)
        Annotated held-out voxels by truth (rows) and prediction (columns), phases in the order of
        ``component``; a last column of unpredicted voxels is left out.
    design_effect : float
        Annotated voxels that count as one independent sample, because neighbors err together.

    Returns
    -------
    Dataset, dims ([t], component)
        ``volume`` (um3) and ``sigma`` (um3). The volumes of a scan add up to what they added up to before.

    Raises
    ------
    InputError
        Where the matrix does not fit or a number is negative.

    Notes
    -----
    Stratified estimation of area by predicted class k, W the share of the class and n its annotated voxels
    (Olofsson 2014, eq. 9 and 10; n is divided by the design effect):

    .. math:: \\hat p_l = \\sum_k W_k \\frac{n_{kl}}{n_k}, \\qquad
              \\sigma^2(\\hat p_l) = \\sum_k W_k^2 \\frac{\\frac{n_{kl}}{n_k}(1 - \\frac{n_{kl}}{n_k})}{n_k - 1}

    A class that was never annotated keeps its volume, with half of it as uncertainty. Unbiased where annotated
    voxels are a random sample of each class; strokes and chosen slices are not. The ledger therefore reports
    counted volumes, with :func:`segmentation_sigma`, and this stands beside it as a check.

    Reference
    ---------
    Olofsson et al., Remote Sensing of Environment 148 (2014) 42, doi:10.1016/j.rse.2014.02.015

    Examples
    --------
    One in ten voxels called electrode is electrolyte in truth, and none the other way round:

    >>> volume = xr.DataArray([50.0, 50.0], dims="component", coords={"component": ["electrolyte", "electrode"]})
    >>> adjusted = error_adjusted_volumes(volume, np.array([[1000, 100], [0, 900]]), design_effect=1)
    >>> adjusted["volume"].values.tolist()
    [55.0, 45.0]
    """
    names = volume.coords["component"].values.tolist()
    counts = np.asarray(confusion, dtype=float)[:, : len(names)]
    if counts.shape != (len(names), len(names)) or not np.isfinite(counts).all() or (counts < 0).any():
        raise InputError(
            f"error_adjusted_volumes: confusion must hold one row and column of counts per component {names}, got the "
            f"shape {np.shape(confusion)}. Make it with the same phases, truth in rows."
        )
    if not design_effect >= 1:
        raise InputError(
            f"error_adjusted_volumes: design_effect must be at least 1, got {design_effect!r}. 1: independent."
        )
    sampled = counts.sum(axis=0)
    # Share of truth (row) among the voxels predicted as each class (column).
    share = np.divide(counts, sampled, out=np.eye(len(names)), where=sampled > 0)
    independent = np.maximum(sampled / design_effect - 1, 1)
    variance = np.where(sampled > 0, share * (1 - share) / independent, 0.25 * np.eye(len(names)))
    values = volume.transpose(..., "component").values
    attrs = {"units": "um3"}
    adjusted = volume.transpose(..., "component").copy(data=values @ share.T).assign_attrs(attrs)
    sigma = adjusted.copy(data=np.sqrt(values**2 @ variance.T))
    return xr.Dataset({"volume": adjusted, "sigma": sigma})
