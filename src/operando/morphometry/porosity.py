"""Porosity of lithium and of the ceramic beneath it: maps, and profiles by depth from the local interface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import SPACE, labeled_image, spacing, voxel_volume
from operando.core.errors import InputError
from operando.morphometry.boundaries import scan_coords
from operando.morphometry.interface import ENDS
from operando.morphometry.porosity_counts import Layers, layers, pore_labels, tile_voxels
from operando.morphometry.porosity_sigma import doubt_sigma, ratio_sigma
from operando.morphometry.volume import Phases, column_counts, described, passed_on

_SIGMA_TILE_UM = 36.0
SIGMAS = ("sigma", "sigma_sampling", "sigma_segmentation", "low", "high", "n")
"""Coordinates of a porosity that say how well it is known."""


def porosity_map(
    labels: xr.DataArray | np.ndarray,
    phases: Phases | None = None,
    *,
    pore: str = "pore",
    solid: str = "electrode",
    along: str = "z",
    range_um: tuple[float, float] | None = None,
    boundaries: xr.DataArray | None = None,
    depth_um: float | None = None,
    tile_um: float | None = None,
) -> xr.DataArray:
    """Share of pore in every line along an axis.

    Parameters
    ----------
    labels : DataArray of uint8 or bool, dims ([t], z, y, x), or 3-D boolean array
        Phase ids; or a mask, True where there is pore, everything else solid. May be lazy.
    phases : PhaseScheme or mapping, optional
        What the ids mean. Default: ``labels.attrs["phases"]``.
    pore, solid : str
        The phases compared; ``electrolyte_pore`` and ``electrolyte`` give the porosity of the ceramic.
    along : {"z", "y", "x"}
        Axis that is averaged over.
    range_um : (float, float), optional
        First and last position along that axis, in um of its coordinate. Default: all of it.
    boundaries : DataArray, dims ([t], component, y, x), units "um", optional
        From :func:`electrode_boundaries`: the electrodes at low and high z are then kept apart (for a ceramic, its
        lower and upper half). Along z only.
    depth_um : float, optional
        With ``boundaries``, the depth beneath the local interface that is averaged over. Default: all of it.
    tile_um : float, optional
        Edge of the square tiles to average over as well; an incomplete last tile is dropped. Default: single lines.

    Returns
    -------
    DataArray of float32, dims ([t], [component], two of z, y, x), units "1"
        ``component`` (``low``, ``high``) with ``boundaries`` only. NaN where a line holds neither. Lazy where
        ``labels`` is and no boundaries are given.

    Raises
    ------
    InputError, AxesError, PhaseError, UnitsError
        Where an axis, a phase or a length is not known, or arguments do not go together.

    Notes
    -----
    Pore density map of Dixit 2020 (Fig. 2c-d, averaged over about 500 um):

    .. math:: \\varphi(y, x) = \\frac{\\sum_z [L = \\mathrm{pore}]}
              {\\sum_z [L = \\mathrm{pore}] + [L = \\mathrm{solid}]}

    A tile is the ratio of its sums, not the mean of its lines. All other phases and unlabeled voxels count for
    neither. Pores below the resolution do not show; a single line holds few voxels and is noisy: use tiles. Memory: the
    columns of one block; with boundaries, slabs of 2^22 voxels and four maps.

    Reference
    ---------
    Dixit et al., ACS Applied Energy Materials 3 (2020) 9534, doi:10.1021/acsaem.0c02053

    Examples
    --------
    One pore voxel of four, one of two, and no lithium:

    >>> from operando.core.axes import labeled_image
    >>> columns = np.array([[2, 1, 1, 1], [1, 2, 0, 0], [0, 0, 0, 0]], np.uint8).T.reshape(4, 1, 3)
    >>> phases = {"electrolyte": 0, "electrode": 1, "pore": 2}
    >>> porosity_map(labeled_image(columns), phases).values.tolist()
    [[0.25, 0.5, nan]]
    >>> porosity_map(columns == 2).values.tolist()
    [[0.25, 0.25, 0.0]]
    """
    where = "porosity_map"
    if along not in SPACE:
        raise InputError(f"{where}: along must be one of {', '.join(SPACE)}, got {along!r}. Name a spatial axis.")
    if boundaries is not None and along != "z":
        raise InputError(f"{where}: boundaries are heights along z, got along={along!r}. Leave one of them out.")
    if depth_um is not None and (boundaries is None or not depth_um > 0):
        raise InputError(
            f"{where}: depth_um must be positive and needs boundaries to begin at, got {depth_um!r}. "
            "Pass boundaries=electrode_boundaries(labels)."
        )
    given = labels if isinstance(labels, xr.DataArray) else labeled_image(labels)
    if range_um is not None:
        given = _within(given, along, range_um, where=where)
    if boundaries is None:
        image, scheme, members = pore_labels(given, phases, pore=pore, solid=solid, where=where)
        names = [scheme.name(number) for number in members]
        counts = column_counts(image, scheme, components=names, along=along, where=where)
        pores, solids = (counts.sel(component=name, drop=True) for name in names)
    else:
        found = layers(given, phases, pore=pore, solid=solid, boundaries=boundaries, where=where)
        image = found.labels
        pores, solids = column_porosity_counts(found, depth_um)
    if tile_um is not None:
        size = tile_voxels(image, tile_um, dims=[dim for dim in SPACE if dim != along], where=where)
        pores, solids = (tile_sums(counts, size) for counts in (pores, solids))
    total = pores + solids
    share = (pores / total.where(total > 0)).astype(np.float32)
    return described(share, image, units="1", long_name="Porosity", averaged=f"along {along}")


def porosity_profile(
    labels: xr.DataArray,
    phases: Phases | None = None,
    *,
    pore: str = "pore",
    solid: str = "electrode",
    boundaries: xr.DataArray | None = None,
    bin_um: float = 10.0,
    depth_um: float | None = None,
    probability: xr.DataArray | None = None,
    residuals: xr.Dataset | None = None,
    tile_um: float = _SIGMA_TILE_UM,
) -> xr.DataArray:
    """Porosity by depth from the interface, which is followed place by place.

    Parameters
    ----------
    labels : DataArray of uint8 or bool, dims ([t], z, y, x), coordinates in um
        Phase ids, or a mask of the pores (then with ``boundaries``). May be lazy.
    phases : PhaseScheme or mapping, optional
        What the ids mean. Default: ``labels.attrs["phases"]``.
    pore, solid : str
        The phases compared. Where ``solid`` is an electrolyte by its role, depth goes into the ceramic, up to halfway
        between its interfaces; else into the lithium, up to the collector.
    boundaries : DataArray, dims ([t], component, y, x), units "um", optional
        Heights of the interfaces (and collectors). Default: :func:`electrode_boundaries` of the labels.
    bin_um : float
        Thickness of the bins of depth.
    depth_um : float, optional
        Where the profile ends. Default: with the deepest voxel.
    probability : DataArray, dims ([t], [phase], z, y, x), optional
        Calibrated probability of the phases, or of the pore alone: sigma then covers the segmentation as well.
    residuals : Dataset, dims (component), optional
        From :func:`residual_correlation`, for ``probability``. Default: what :func:`segmentation_sigma` assumes.
    tile_um : float
        Edge of the tiles by which the spatial scatter is judged.

    Returns
    -------
    DataArray of float64, dims ([t], component, depth), units "1"
        Components ``low`` and ``high``: the side of the cell. ``depth`` in um, at the middle of the bins. NaN where a
        bin holds neither pore nor solid. Coordinates of the same dims:

        - ``sigma``: standard uncertainty, both parts together
        - ``sigma_sampling``: of the field of view as a sample of an electrode like it
        - ``sigma_segmentation``: of the labels; NaN without ``probability``, and then not in ``sigma``
        - ``low``, ``high``: ends of the 95 % interval, even in the logarithm of the odds; NaN for porosities of 0 and 1
        - ``n``: voxels

    Raises
    ------
    InputError, AxesError, PhaseError, UnitsError
        Where a phase, the voxel size or an interface is not known.

    Notes
    -----
    .. math:: \\varphi_k = \\frac{N_\\mathrm{pore}(d_k \\le d < d_{k+1})}
              {N_\\mathrm{pore} + N_\\mathrm{solid}}, \\qquad d = |z - h(y, x)|

    A voxel is as deep as its center. Voxels on the other side of the interface (or beyond the collector) do not count,
    whatever their label. With a flat plane instead of h, a rough or tilted interface smears the profile.

    ``sigma_sampling`` is the standard error of a ratio over lateral tiles whose neighbors are alike
    (:func:`operando.morphometry.porosity_sigma.ratio_sigma`). It answers "would another place of this electrode show
    the same?"; in a change of one place between two scans most of it cancels: :func:`porosity_difference`.
    ``sigma_segmentation`` is that of a volume in :func:`segmentation_sigma`, over the voxels of the bin. How often the
    intervals hold is in docs/quantities/porosity.md.

    A bin much thinner than two voxels follows the roundness of the interface rather than the porosity. Memory: slabs of
    2^22 voxels, and 16 bytes per bin and tile.

    Reference
    ---------
    Dixit et al., ACS Applied Energy Materials 3 (2020) 9534, Fig. 2b and S5b (bins of 10 um)

    Examples
    --------
    Lithium of four voxels of 5 um on ceramic; the one at the interface is a pore in half of the columns:

    >>> from operando.core.axes import labeled_image
    >>> columns = np.repeat(np.array([[3, 1, 1, 1, 1, 0], [3, 1, 1, 1, 2, 0]], np.uint8), 8, axis=0).T
    >>> labels = labeled_image(np.ascontiguousarray(columns).reshape(6, 4, 4), voxel_size_um=5.0)
    >>> phases = {"electrolyte": 0, "electrode": 1, "pore": 2, "collector": 3}
    >>> profile = porosity_profile(labels, phases, bin_um=10.0, tile_um=5.0).sel(component="low")
    >>> profile.values.tolist(), profile["depth"].values.tolist(), profile["n"].values.tolist()
    ([0.25, 0.0], [5.0, 15.0], [32, 32])
    """
    where = "porosity_profile"
    found = layers(labels, phases, pore=pore, solid=solid, boundaries=boundaries, where=where)
    if not bin_um > 0 or (depth_um is not None and not depth_um > 0):
        raise InputError(
            f"{where}: bin_um and depth_um must be positive, got {bin_um!r} and {depth_um!r}. Give them in micrometers."
        )
    reach = found.deepest if depth_um is None else depth_um
    bins = max(1, int(np.ceil(reach / bin_um - 1e-6)))
    size = tile_voxels(found.labels, tile_um, where=where)
    tiles = (size["y"], size["x"])
    counts = found.counts(width=bin_um, bins=bins, tiles=tiles)
    doubt = None
    if probability is not None:
        chance = _pore_chance(probability, found, pore, where=where)
        doubt = found.doubt(chance, width=bin_um, bins=bins, tiles=tiles)
    depth = ("depth", bin_um * (np.arange(bins) + 0.5), {"units": "um", "long_name": "Depth from the interface"})
    result = with_sigma(found, counts, doubt, residuals, pore=pore, where=where, depth=depth)
    return result.assign_attrs(long_name="Porosity", into=found.into)


def near_interface_porosity(
    labels: xr.DataArray,
    phases: Phases | None = None,
    *,
    depth_um: float = 10.0,
    pore: str = "pore",
    solid: str = "electrode",
    boundaries: xr.DataArray | None = None,
    probability: xr.DataArray | None = None,
    residuals: xr.Dataset | None = None,
    tile_um: float = _SIGMA_TILE_UM,
) -> xr.DataArray:
    """Porosity within a depth of the local interface (Dixit 2020, Fig. 2b: 10 um).

    Parameters
    ----------
    labels, phases, pore, solid, boundaries, probability, residuals, tile_um
        As in :func:`porosity_profile`.
    depth_um : float
        How deep.

    Returns
    -------
    DataArray of float64, dims ([t], component), units "1"
        With the coordinates of :func:`porosity_profile`, of which it is the first bin.

    Examples
    --------
    >>> from operando.core.axes import labeled_image
    >>> column = np.array([1, 1, 1, 2, 0, 0], np.uint8).reshape(6, 1, 1)
    >>> labels = labeled_image(column, voxel_size_um=5.0)
    >>> phases = {"electrolyte": 0, "electrode": 1, "pore": 2}
    >>> near_interface_porosity(labels, phases, tile_um=5.0).sel(component="low").item()
    0.5
    """
    profile = porosity_profile(
        labels,
        phases,
        pore=pore,
        solid=solid,
        boundaries=boundaries,
        bin_um=depth_um,
        depth_um=depth_um,
        probability=probability,
        residuals=residuals,
        tile_um=tile_um,
    )
    near = profile.isel(depth=0, drop=True)
    return near.assign_attrs(long_name=f"Porosity within {depth_um:g} um of the interface")


def column_porosity_counts(found: Layers, depth_um: float | None) -> tuple[xr.DataArray, xr.DataArray]:
    """Pore and solid voxels of every column, dims ([t], component, y, x)."""
    width = max(found.deepest, 1.0) * 2 if depth_um is None else depth_um
    counts = found.counts(width=width, bins=1, tiles=(1, 1))[:, :, :, 0]
    labels = found.labels
    coords: dict[str, Any] = {"component": list(ENDS), **scan_coords(labels)}
    coords.update({dim: labels.coords[dim] for dim in ("y", "x") if dim in labels.coords})
    return tuple(  # type: ignore[return-value]
        xr.DataArray(
            counts[:, kind] if "t" in labels.dims else counts[0, kind],
            dims=(*(["t"] if "t" in labels.dims else []), "component", "y", "x"),
            coords=coords,
        )
        for kind in (0, 1)
    )


def tile_sums(counts: xr.DataArray, size: dict[str, int]) -> xr.DataArray:
    """Sums over tiles of so many voxels along two dims, with the coordinates of their centers."""
    out = counts.coarsen(size, boundary="trim").sum()
    for dim, voxels in size.items():
        if dim in counts.coords:
            attrs = dict(counts.coords[dim].attrs)
            attrs["spacing"] = voxels * float(attrs.get("spacing", np.nan))
            out = out.assign_coords({dim: (dim, out.coords[dim].values, attrs)})
    return out


def with_sigma(
    found: Layers,
    counts: np.ndarray,
    doubt: np.ndarray | None = None,
    residuals: xr.Dataset | None = None,
    *,
    pore: str,
    where: str,
    components: Sequence[str] = ENDS,
    depth: Any = None,
) -> xr.DataArray:
    """Porosity ([t], component, depth) of counts by tile, with its uncertainty as coordinates."""
    pores, total = counts[:, 0].astype(float), counts.sum(axis=1).astype(float)
    whole = total.sum(axis=(-2, -1))
    value = np.divide(pores.sum(axis=(-2, -1)), whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    sampling = ratio_sigma(pores, total)
    segmentation = np.full(whole.shape, np.nan)
    if doubt is not None:
        segmentation = doubt_sigma(
            doubt.sum(axis=(-2, -1)),
            whole,
            residuals,
            pore=pore,
            voxel_volume_um3=voxel_volume(found.labels),
            where=where,
        )
    timed = "t" in found.labels.dims
    dims = ("t", "component", "depth")[0 if timed else 1 :]

    def own(values: np.ndarray) -> np.ndarray:
        return values if timed else values[0]

    coords: dict[str, Any] = {"component": list(components)}
    if depth is not None:
        coords["depth"] = depth
    coords.update(scan_coords(found.labels))
    combined = np.where(np.isnan(segmentation), sampling, np.hypot(sampling, np.nan_to_num(segmentation)))
    parts = (combined, sampling, segmentation, *_interval(value, combined), whole.astype(np.int64))
    coords.update({name: (dims, own(values), {"units": "1"}) for name, values in zip(SIGMAS, parts, strict=True)})
    return xr.DataArray(own(value), dims=dims, coords=coords, attrs={"units": "1", **passed_on(found.labels)})


def _interval(value: np.ndarray, sigma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the 95 % interval, even in the logarithm of the odds, in which sigma depends less on the value."""
    inside = (value > 0) & (value < 1)
    p = np.where(inside, value, np.nan)
    odds, half = np.log(p / (1 - p)), 1.959964 * sigma / (p * (1 - p))
    return 1 / (1 + np.exp(half - odds)), 1 / (1 + np.exp(-half - odds))


def _within(
    labels: xr.DataArray | np.ndarray, along: str, range_um: tuple[float, float], *, where: str
) -> xr.DataArray:
    image = labels if isinstance(labels, xr.DataArray) else labeled_image(labels)
    start, stop = (float(value) for value in range_um)
    spacing(image, where=where)
    position = image[along].values
    chosen = np.flatnonzero((position >= start) & (position < stop))
    if not chosen.size:
        raise InputError(
            f"{where}: range_um must hold at least one voxel center of {along}, which run from {position[0]:g} to "
            f"{position[-1]:g} um, got {range_um!r}. Give it in micrometers."
        )
    return image.isel({along: slice(int(chosen[0]), int(chosen[-1]) + 1)})


def _pore_chance(probability: xr.DataArray, found: Layers, pore: str, *, where: str) -> xr.DataArray:
    """Probability of the pore alone, dims as the labels."""
    if "phase" in probability.dims:
        names = [str(name) for name in probability.coords["phase"].values] if "phase" in probability.coords else []
        if pore not in names:
            raise InputError(
                f"{where}: probability must name the phase {pore!r} in its coordinate 'phase', got {names}. "
                "Assign it with .assign_coords(phase=[...])."
            )
        probability = probability.sel(phase=pore, drop=True)
    chance = probability.transpose(*(dim for dim in ("t", *SPACE) if dim in probability.dims))
    if dict(chance.sizes) != dict(found.labels.sizes):
        raise InputError(
            f"{where}: probability must have the shape of the labels {dict(found.labels.sizes)}, got "
            f"{dict(chance.sizes)}. Select the same scans and region of both."
        )
    return chance
