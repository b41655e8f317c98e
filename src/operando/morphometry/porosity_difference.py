"""Where pores opened and closed from one scan to the next."""

from __future__ import annotations

import numpy as np
import xarray as xr

from operando.core.errors import AxesError, InputError
from operando.morphometry.boundaries import scan_coords
from operando.morphometry.porosity import column_porosity_counts
from operando.morphometry.porosity_counts import layers, tile_centers, tile_voxels
from operando.morphometry.porosity_sigma import field_sigma, within_tiles
from operando.morphometry.volume import Phases, passed_on


def porosity_difference(
    labels: xr.DataArray,
    phases: Phases | None = None,
    *,
    pore: str = "pore",
    solid: str = "electrode",
    boundaries: xr.DataArray | None = None,
    depth_um: float | None = None,
    tile_um: float = 36.0,
) -> xr.Dataset:
    """Change of the porosity between successive scans, tile by tile and over the whole field of view.

    Parameters
    ----------
    labels : DataArray of uint8 or bool, dims (t, z, y, x), coordinates in um
        Phase ids, or a mask of the pores (then with ``boundaries``), of registered scans. May be lazy.
    phases : PhaseScheme or mapping, optional
        What the ids mean. Default: ``labels.attrs["phases"]``.
    pore, solid : str
        The phases compared, as in :func:`porosity_profile`.
    boundaries : DataArray, dims ([t], component, y, x), units "um", optional
        Heights of the interfaces and collectors. Default: :func:`electrode_boundaries` of the labels.
    depth_um : float, optional
        Depth beneath the local interface that is compared. Default: all of the layer.
    tile_um : float
        Edge of the tiles; an incomplete last one is dropped.

    Returns
    -------
    Dataset, units "1"; ``t`` is the second scan of each pair
        - ``difference``, ``sigma``, ``z_score`` (t, component, y, x): change, its standard uncertainty, and their ratio
        - ``change``, ``change_sigma`` (t, component): the same over the whole field of view

    Raises
    ------
    InputError, AxesError, PhaseError, UnitsError
        Where there are fewer than two scans, or as :func:`porosity_profile`.

    Notes
    -----
    The scans are compared column by column, so that a pore that stays where it is adds nothing to sigma. Each column
    of a tile departs from the change of its tile by

    .. math:: e = \\frac{P_1 - \\varphi_1 N_1}{\\sum N_1} - \\frac{P_0 - \\varphi_0 N_0}{\\sum N_0}

    and the variance of the tile is the sum of the products of e over pairs of columns within the reach of their
    correlation, as in :func:`porosity_profile`. The correlation is pooled over the tiles of a map; the scatter is each
    tile's own, drawn towards the pooled one as if that were known from four independent columns.

    So sigma is what pores that open here and close there, and labels that flicker, leave by chance in a tile. It is
    no statement about many tiles at once: of 100 tiles without a change, a few have a z-score beyond 2
    (docs/quantities/porosity.md has the measured rates).

    Do not trust it where the scans are not registered to a fraction of a pore, or where a segmenter errs alike all over
    a scan: neither shows in the scatter. Memory: as :func:`porosity_profile`, and six maps of columns.

    Reference
    ---------
    Dixit et al., ACS Applied Energy Materials 3 (2020) 9534, Fig. 2c-d

    Examples
    --------
    Four columns of lithium of two voxels; in the second scan half of the voxels are pore:

    >>> from operando.core.axes import labeled_image
    >>> scans = np.ones((2, 3, 2, 2), np.uint8)
    >>> scans[:, 2], scans[1, 1] = 0, 2
    >>> labels = labeled_image(scans, voxel_size_um=5.0)
    >>> found = porosity_difference(labels, {"electrolyte": 0, "electrode": 1, "pore": 2}, tile_um=10.0)
    >>> found["difference"].sel(component="low").values.tolist(), found["sigma"].sel(component="low").values.tolist()
    ([[[0.5]]], [[[0.0]]])
    """
    where = "porosity_difference"
    if not isinstance(labels, xr.DataArray) or labels.sizes.get("t", 1) < 2:
        have = tuple(getattr(labels, "dims", ()))
        raise AxesError(f"{where}: at least two scans along t are needed, got the dims {have}. Pass the whole series.")
    if depth_um is not None and not depth_um > 0:
        raise InputError(f"{where}: depth_um must be positive, got {depth_um!r}. Give it in micrometers.")
    found = layers(labels, phases, pore=pore, solid=solid, boundaries=boundaries, where=where)
    size = tile_voxels(found.labels, tile_um, where=where)
    tiles = (size["y"], size["x"])
    pores, solids = (counts.values.astype(float) for counts in column_porosity_counts(found, depth_um))
    total = pores + solids
    count, sides, ny, nx = pores.shape
    whole = (ny // tiles[0], nx // tiles[1])
    if 0 in whole:
        raise InputError(
            f"{where}: a tile of {tiles} voxels must fit into the field of view of {(ny, nx)}, but does not. "
            "Choose a smaller tile_um."
        )
    shape = (count - 1, sides, *whole)
    difference, sigma = np.full(shape, np.nan), np.full(shape, np.nan)
    change, change_sigma = np.full(shape[:2], np.nan), np.full(shape[:2], np.nan)
    for t, c in np.ndindex(*shape[:2]):
        maps = [(pores[k, c], total[k, c]) for k in (t, t + 1)]
        values, left, weight = _departures([(p[None], w[None]) for p, w in maps])
        change[t, c] = values[0]
        rough = [_tile_blocks(field[0], tiles, whole).sum(axis=(-2, -1)).reshape(whole) for field in (left, weight)]
        change_sigma[t, c] = field_sigma(rough[0], rough[1])
        parts = [(_tile_blocks(p, tiles, whole), _tile_blocks(w, tiles, whole)) for p, w in maps]
        values, left, weight = _departures(parts)
        difference[t, c] = values.reshape(whole)
        sigma[t, c] = np.sqrt(within_tiles(left, weight)).reshape(whole)
    dims = ("t", "component", "y", "x")
    z = np.divide(difference, sigma, out=np.full(shape, np.nan), where=sigma > 0)
    titles = {"difference": "Change of the porosity", "sigma": "Standard uncertainty", "z_score": "Change over sigma"}
    out = {
        name: (dims, values, {"units": "1", "long_name": titles[name]})
        for name, values in (("difference", difference), ("sigma", sigma), ("z_score", z))
    }
    data = xr.Dataset(
        {
            **out,
            "change": (dims[:2], change, {"units": "1", "long_name": "Change of the porosity"}),
            "change_sigma": (dims[:2], change_sigma, {"units": "1", "long_name": "Standard uncertainty"}),
        },
        coords={"component": ["low", "high"], **tile_centers(found.labels, tiles, whole)},
        attrs={"depth_um": "all" if depth_um is None else float(depth_um), **passed_on(found.labels)},
    )
    return data.assign_coords({name: coord[1:] for name, coord in scan_coords(found.labels).items()})


def _departures(maps: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Change of the ratio of each tile, departure of its columns from it, and their weights; tiles (tile, y, x).

    Departures and weights are scaled alike: the first add up to nothing, the second to the mean count of the two scans.
    """
    ratios, parts = [], []
    for part, whole in maps:
        sums = whole.sum(axis=(-2, -1), keepdims=True)
        ratio = np.divide(part.sum(axis=(-2, -1), keepdims=True), sums, out=np.full(sums.shape, np.nan), where=sums > 0)
        ratios.append(ratio)
        parts.append(np.divide(part - ratio * whole, sums, out=np.zeros_like(part), where=sums > 0))
    weight = (maps[0][1] + maps[1][1]) / 2
    left = np.nan_to_num(parts[1] - parts[0]) * weight.sum(axis=(-2, -1), keepdims=True)
    return (ratios[1] - ratios[0])[..., 0, 0], left, weight


def _tile_blocks(field: np.ndarray, tiles: tuple[int, int], whole: tuple[int, int]) -> np.ndarray:
    """Columns of a map (y, x) by tile: (tile, y, x)."""
    cut = field[: whole[0] * tiles[0], : whole[1] * tiles[1]]
    parts = cut.reshape(whole[0], tiles[0], whole[1], tiles[1]).swapaxes(1, 2)
    return parts.reshape(-1, *tiles)
