"""Where collector, lithium and ceramic meet, to a part of a voxel, from the gray along each column."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import check_dims, require_dims, spacing
from operando.core.errors import InputError, nearest
from operando.morphometry.boundaries import BOUNDARIES, checked_boundaries
from operando.morphometry.volume import described, passed_on, scans

LAYERS = ("lithium", "ceramic", "collector")
_ORDER = ("collector", "lithium", "ceramic", "lithium", "collector")
_BLOCK = 4
_WINDOW = 8
_NEAR, _FAR = 3, 12
_CLASSES = 4
_BINS = 128
_SAMPLED_ROWS = 12
_SAMPLED_BLOCKS = 400
_SAMPLED_VALUES = 100_000
_SHADING = 12.0
_LEVEL_BLOCKS = 1.0
_VOXELS_AT_ONCE = 1 << 26
_SCATTER_LIMIT = 5.0


def boundaries_from_profiles(
    image: xr.DataArray,
    *,
    levels: Mapping[str, float] | None = None,
    smooth_um: float = 0.0,
    window_um: float | None = None,
    rigid_ceramic: bool = False,
) -> xr.DataArray:
    """Height of the boundaries collector / lithium / ceramic / lithium / collector from line profiles of gray.

    Parameters
    ----------
    image : DataArray, dims ([t], z, y, x), all in um
        Gray values in which lithium is darker than the ceramic and the collector; ``z`` normal to the electrodes. NaN
        where not known. May be lazy.
    levels : mapping of str to float, optional
        Gray of ``lithium``, ``ceramic`` and ``collector`` to start from. Default: found in each scan.
    smooth_um : float
        Standard deviation in um of a Gaussian filter over the maps. 0: none.
    window_um : float, optional
        How far from the boundary of its block that of a column is looked for, in um. Default: 8 voxels.
    rigid_ceramic : bool
        Whether the ceramic stands still in all scans: its two interfaces are then the median over the scans. For a
        series that is registered on the ceramic.

    Returns
    -------
    DataArray of float32, dims ([t], component, y, x), units "um"
        Position along ``z`` of ``low collector`` (the boundary between it and the lithium), ``low interface`` (between
        lithium and ceramic), ``high interface`` and ``high collector``. NaN where one of the two sides is not in the
        image. The coordinate ``sigma`` ([t], component), in um, is what noise does to one column; ``attrs["levels"]``
        holds the gray of the five layers of each scan.

    Raises
    ------
    AxesError, InputError, UnitsError
        Where dims, voxel size or levels are missing or wrong, or no layers are found.

    Notes
    -----
    Dixit 2020 takes the thickness from line profiles by the contrast of steel and ceramic to lithium, and does not say
    how. Here:

    1. The means of 4 x 4 columns are cut into five layers of constant gray with the least absolute error (dynamic
       programming, exact). The levels start from a multi-Otsu threshold, in the order that leaves the smallest error,
       and are then the medians of their layers. Found for a collector of 0.6 to 10 times the gray of the ceramic.
    2. In every column, within ``window_um`` of its block: the step of least squares between the levels on either side
       (medians of the block 3 to 12 voxels away, so that shading and fringes next to a dense layer count as level, then
       a Gaussian filter over one block), and the crossing of the half level nearest to it in the profile after a
       binomial filter (1, 4, 6, 4, 1).
    3. Values that no neighbor confirms (5 robust standard deviations off the median of eight, and more than a voxel)
       are replaced by it; then the Gaussian filter.

    .. math:: \\sigma_z = \\sigma_g / |\\partial_z g|

    with the scatter of the filtered gray five voxels from the boundary and the slope at it. It covers noise, filtered
    like the maps themselves, but no error of a level: a half level that is off by a share e of the contrast moves the
    boundary by about 2.5 e blurs. An open pore of the ceramic at its surface looks like lithium, a pore of the lithium
    at the interface like lithium too: there the interface may jump from scan to scan, by as much as the pore is deep,
    and the change of the thickness with it. Where nothing but lithium moves, ``rigid_ceramic`` takes that away, and the
    noise of the interface out of every change.

    Memory: beside the maps, a slab of rows of one scan if it is lazy (and then read twice) or not float32. Time: about
    half a second per 1e8 voxels on two cores.

    Reference
    ---------
    Dixit et al., ACS Applied Energy Materials 3, 9534 (2020), Fig. 3a, doi:10.1021/acsaem.0c02053

    Examples
    --------
    Steel, lithium, ceramic, lithium, steel; a voxel that is half lithium moves the boundary by half a voxel of 2 um:

    >>> from operando.core.axes import labeled_image
    >>> gray = np.repeat([2.0, 0.1, 1.0, 0.1, 2.0], 20)
    >>> gray[40] = 0.55
    >>> image = labeled_image(np.tile(gray[:, None, None], (1, 8, 8)), voxel_size_um=2.0)
    >>> boundaries_from_profiles(image).isel(y=4, x=4).values.round(2).tolist()
    [39.0, 80.0, 119.0, 159.0]
    """
    where = "boundaries_from_profiles"
    require_dims(image, ("z", "y", "x"), where=where, optional=("t",))
    image = image.transpose(*check_dims([dim for dim in ("t", "z", "y", "x") if dim in image.dims], where=where))
    step = spacing(image, where=where)
    if image.sizes["z"] < 2 * _FAR or 0 in image.shape:
        raise InputError(
            f"{where}: at least {2 * _FAR} planes along z and one column are needed, got {dict(image.sizes)}. "
            "Pass the whole cell, from collector to collector."
        )
    if not (np.isfinite(smooth_um) and smooth_um >= 0):
        raise InputError(f"{where}: smooth_um must be a length of at least 0 um, got {smooth_um!r}. 0 filters nothing.")
    window = _WINDOW if window_um is None else int(np.ceil(window_um / step["z"])) if np.isfinite(window_um) else 0
    if window < 2:
        raise InputError(
            f"{where}: window_um must be at least two voxels, {2 * step['z']:g} um, got {window_um!r}. "
            f"Leave it out for {_WINDOW} voxels."
        )
    start = _given_levels(levels, where=where)
    origin = float(image["z"][0]) if "z" in image.coords else 0.0
    maps: list[np.ndarray] = []
    sigmas, found = [], []
    for number, scan in enumerate(scans(image)):
        here = where if "t" not in image.dims else f"{where}: scan {number}"
        five = _fitted_levels(scan, start, where=here)
        heights, sigma = _scan_boundaries(scan, five, window, (smooth_um / step["y"], smooth_um / step["x"]))
        maps.append(origin + step["z"] * heights)
        sigmas.append(step["z"] * sigma)
        found.append([float(f"{value:.5g}") for value in five])
    rigid = rigid_ceramic and len(maps) > 1
    if rigid:
        for b in (1, 2):
            still = _median_over(np.stack([one[b] for one in maps]))
            # Of n values the median scatters by sqrt(pi / 2 n) of one, or less.
            share = min(1.0, np.sqrt(np.pi / (2 * len(maps))))
            mean = share * float(np.sqrt(np.mean([sigma[b] ** 2 for sigma in sigmas])))
            for one, sigma in zip(maps, sigmas, strict=True):
                one[b], sigma[b] = still, mean
    coords: dict[str, Any] = {str(name): c for name, c in image.coords.items() if "z" not in c.dims}
    timed = "t" in image.dims
    coords["component"] = list(BOUNDARIES)
    spread = np.array(sigmas, dtype=np.float32)
    coords["sigma"] = xr.Variable(
        ("t", "component") if timed else ("component",), spread if timed else spread[0], {"units": "um"}
    )
    result = xr.DataArray(
        np.stack(maps).astype(np.float32) if timed else maps[0].astype(np.float32),
        dims=("t", "component", "y", "x") if timed else ("component", "y", "x"),
        coords=coords,
    )
    carried = {"plating_side": image.attrs["plating_side"]} if "plating_side" in image.attrs else {}
    result = described(result, image, units="um", long_name="Boundary", smooth_um=float(smooth_um), **carried)
    result.attrs["rigid_ceramic"] = rigid
    result.attrs["levels"] = json.dumps(found)
    return result


def thickness_sigma(boundaries: xr.DataArray) -> xr.DataArray:
    """Standard uncertainty of the thickness of each electrode, as far as it is independent from scan to scan.

    Parameters
    ----------
    boundaries : DataArray, dims ([t], component, y, x), units "um"
        From :func:`boundaries_from_profiles`, with its coordinate ``sigma``.

    Returns
    -------
    DataArray, dims ([t], component), units "um"
        Components ``low`` and ``high``, for ``plating_current_density(thickness, sigma_um=...)``.

    Raises
    ------
    InputError
        Where the boundaries carry no ``sigma``.

    Notes
    -----
    .. math:: \\sigma_h^2 = \\sigma_\\mathrm{collector}^2 + \\sigma_\\mathrm{interface}^2

    The errors of the two boundaries count as independent. An interface that is one for all scans (``rigid_ceramic``)
    has the same error in all of them and drops out of every change: it is left out.

    Examples
    --------
    >>> heights = xr.DataArray(np.zeros((4, 1, 1)), dims=("component", "y", "x"), attrs={"units": "um"},
    ...     coords={"component": list(BOUNDARIES), "sigma": ("component", [0.3, 0.4, 0.0, 0.1])})
    >>> thickness_sigma(heights).values.round(3).tolist()
    [0.5, 0.1]
    """
    boundaries = checked_boundaries(boundaries, where="thickness_sigma")
    if "sigma" not in boundaries.coords:
        raise InputError(
            "thickness_sigma: boundaries must carry the coordinate sigma, they do not. "
            "boundaries_from_profiles gives it."
        )
    sigma = boundaries["sigma"].drop_vars("sigma")
    collector, interface = (
        sigma.isel(component=places).assign_coords(component=["low", "high"]) for places in ([0, 3], [1, 2])
    )
    if boundaries.attrs.get("rigid_ceramic"):
        interface = xr.zeros_like(interface)
    result: xr.DataArray = ((collector**2 + interface**2) ** 0.5).rename(None)
    result.attrs = {"units": "um", "long_name": "Standard uncertainty of the thickness", **passed_on(boundaries)}
    return result


def _given_levels(levels: Mapping[str, float] | None, *, where: str) -> np.ndarray | None:
    if levels is None:
        return None
    for name in levels:
        if name not in LAYERS:
            raise InputError(f"{where}: levels has no layer {name!r}. {nearest(str(name), LAYERS)}")
    values = {name: float(levels.get(name, np.nan)) for name in LAYERS}
    if not (values["lithium"] < values["ceramic"] and values["lithium"] < values["collector"]):
        raise InputError(
            f"{where}: levels must give the gray of {', '.join(LAYERS)}, that of lithium the smallest, got "
            f"{dict(levels)}. Read them off a histogram, invert the image, or leave levels out."
        )
    return np.array([values[name] for name in _ORDER])


def _fitted_levels(scan: xr.DataArray, start: np.ndarray | None, *, where: str) -> np.ndarray:
    """Gray of the five layers, from rows of blocks all over the field of view."""
    from operando.morphometry.profiles_compiled import block_means, layer_starts_by_level

    rows = max(1, scan.sizes["y"] // _BLOCK)
    taken = np.unique(np.linspace(0, rows - 1, min(rows, _SAMPLED_ROWS)).round().astype(int))
    parts = [scan.isel(y=slice(row * _BLOCK, (row + 1) * _BLOCK)).values for row in taken.tolist()]
    profiles = np.concatenate([block_means(part.astype(np.float32, copy=False), _BLOCK) for part in parts], axis=1)
    profiles = np.ascontiguousarray(profiles[:, :, :: max(1, profiles[0].size // _SAMPLED_BLOCKS)])
    few = np.ascontiguousarray(profiles[:, :, ::4])
    best, smallest = None, np.inf
    for levels in _candidates(profiles, where=where) if start is None else [start]:
        for _ in range(2):
            levels = _medians(few, layer_starts_by_level(few, levels)[0], levels)
        starts, error = layer_starts_by_level(few, levels)
        dark = max(levels[1], levels[3]) < min(levels[0], levels[2], levels[4])
        kept = (starts[2] > starts[1]).mean() > 0.5
        if dark and kept and error.sum() < smallest:
            best, smallest = levels, float(error.sum())
    if best is None:
        raise InputError(
            f"{where}: no layers of dark lithium beside a brighter ceramic were found. Check that z is normal to the "
            "electrodes and that lithium is dark; or pass levels={'lithium': ..., 'ceramic': ..., 'collector': ...}."
        )
    for _ in range(2):
        best = _medians(profiles, layer_starts_by_level(profiles, best)[0], best)
    return best


def _candidates(profiles: np.ndarray, *, where: str) -> Iterator[np.ndarray]:
    """Levels to start from: lithium below ceramic and collector, all out of four classes of gray."""
    from skimage.filters import threshold_multiotsu

    values = profiles[np.isfinite(profiles)]
    values = values[:: max(1, values.size // _SAMPLED_VALUES)]
    if not values.size or np.ptp(values) == 0:
        raise InputError(
            f"{where}: the gray values must differ, got {'one value' if values.size else 'none'}. Check the image."
        )
    low, high = np.quantile(values, [0.001, 0.999])
    values = np.clip(values, low, high)
    classes = min(_CLASSES, np.unique(values).size)
    # A threshold is the middle of the last bin below it; the bin belongs to the lower class as a whole.
    half_bin = 0.5 * np.ptp(values) / _BINS
    bounds = threshold_multiotsu(values, classes, nbins=_BINS) + half_bin if classes > 2 else [values.mean()]
    groups = [values[np.digitize(values, bounds) == k] for k in range(classes)]
    centers = [float(np.median(group)) for group in groups if group.size]
    for lithium, ceramic, collector in itertools.product(centers, repeat=3):
        if lithium < min(ceramic, collector):
            yield np.array([collector, lithium, ceramic, lithium, collector])


def _medians(profiles: np.ndarray, starts: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Median gray of each layer, without the voxel next to its boundaries; the old level where there is none."""
    depth = profiles.shape[0]
    planes = np.arange(depth)[:, None, None]
    edges = np.concatenate([np.full((1, *starts.shape[1:]), -1), starts, np.full((1, *starts.shape[1:]), depth + 1)])
    out = levels.copy()
    for layer in range(len(_ORDER)):
        inside = (planes > edges[layer]) & (planes < edges[layer + 1] - 1) & np.isfinite(profiles)
        if inside.any():
            out[layer] = np.median(profiles[inside])
    return out


def _scan_boundaries(
    scan: xr.DataArray, levels: np.ndarray, window: int, smooth: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Maps of the boundaries (4, y, x) and the uncertainty of one column (4,), both in voxels."""
    from operando.morphometry.profiles_compiled import (
        block_means,
        crossings,
        layer_starts_by_level,
        neighbor_medians,
        plateaus,
    )

    found = []
    for rows in _slabs(scan):
        means = block_means(_slab(scan, rows), _BLOCK)
        starts, _ = layer_starts_by_level(means, levels)
        found.append((starts, plateaus(means, starts, _NEAR, _FAR)))
    starts = np.concatenate([one for one, _ in found], axis=1)
    near = np.concatenate([other for _, other in found], axis=2)
    for maps in near:
        for b in range(4):
            maps[b] = _smoothed(maps[b], (_LEVEL_BLOCKS, _LEVEL_BLOCKS))
    parts = []
    for rows in _slabs(scan):
        own = slice(rows.start // _BLOCK, max(rows.stop // _BLOCK, 1))
        parts.append(crossings(_slab(scan, rows), starts[:, own], near[:, :, own], _BLOCK, window))
    heights, slopes, probes = (
        maps[0] if len(parts) == 1 else np.concatenate(maps, axis=1) for maps in zip(*parts, strict=True)
    )
    medians = neighbor_medians(heights)
    sigma = np.full(4, np.nan)
    for b in range(4):
        off = np.abs(heights[b] - medians[b])
        limit = max(1.0, _SCATTER_LIMIT * 1.4826 * _sampled_median(off))
        # A missing value has no distance: it takes the median of what is around it.
        np.copyto(heights[b], medians[b], where=~(off <= limit) & np.isfinite(medians[b]))
        heights[b] = _smoothed(heights[b], smooth)
        # Shading moves a probe slowly from column to column; what it does within a few columns is noise.
        noise = _smoothed(probes[b] - _smoothed(probes[b], (_SHADING, _SHADING), box=True), smooth)
        sigma[b] = 1.4826 * _sampled_median(np.abs(noise)) / _sampled_median(slopes[b])
    return heights, sigma


def _median_over(values: np.ndarray) -> np.ndarray:
    """Median along the first axis of what is known; NaN where nothing is."""
    ordered = np.sort(values, axis=0)
    count = np.isfinite(values).sum(axis=0)
    low, high = np.maximum((count - 1) // 2, 0)[None], (count // 2).clip(max=len(values) - 1)[None]
    middle = 0.5 * (np.take_along_axis(ordered, low, axis=0) + np.take_along_axis(ordered, high, axis=0))
    return np.where(count > 0, middle[0], np.nan)


def _sampled_median(values: np.ndarray) -> float:
    """Median of what is known, of every so many values where there are many."""
    some = values.ravel()[:: max(1, values.size // _SAMPLED_VALUES)]
    some = some[np.isfinite(some)]
    return float(np.median(some)) if some.size else float("nan")


def _slab(scan: xr.DataArray, rows: slice) -> np.ndarray:
    """Rows of a scan in the one type that the loops are compiled for."""
    return np.asarray(scan.isel(y=rows).values, dtype=np.float32)


def _slabs(scan: xr.DataArray) -> Iterator[slice]:
    """Rows to read at once: all of them where nothing is read or converted, else some blocks of columns."""
    size = scan.sizes["y"]
    if scan.chunks is None and scan.dtype == np.float32:
        yield slice(0, size)
        return
    rows = max(1, _VOXELS_AT_ONCE // (scan.sizes["z"] * scan.sizes["x"]) // _BLOCK) * _BLOCK
    chunk = 1 if scan.chunks is None else scan.chunksizes["y"][0]
    if chunk % _BLOCK == 0:
        rows = max(rows // chunk, 1) * chunk if rows >= chunk else rows
    start = 0
    while start < size:
        # A remainder of less than a block belongs to the block before it.
        stop = size if size - (start + rows) < _BLOCK else start + rows
        yield slice(start, stop)
        start = stop


def _smoothed(values: np.ndarray, size: tuple[float, float], *, box: bool = False) -> np.ndarray:
    """Gaussian filter of what is known, or the mean over a box of twice its width; what is not known stays NaN."""
    from scipy.ndimage import gaussian_filter, uniform_filter

    if max(size) == 0:
        return values

    def mean(array: np.ndarray) -> np.ndarray:
        if box:
            return np.asarray(uniform_filter(array, [2 * int(edge) + 1 for edge in size], mode="nearest"))
        return np.asarray(gaussian_filter(array, size, mode="nearest"))

    known = np.isfinite(values)
    if known.all():
        return mean(values)
    total, weight = mean(np.where(known, values, 0).astype(np.float32)), mean(known.astype(np.float32))
    return np.where(known, total / np.maximum(weight, 1e-6), np.nan).astype(np.float32)
