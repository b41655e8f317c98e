"""Maps of conduction: the same quantity in every sub-domain of a volume, also beneath an uneven interface."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import SPACE, require_dims, spacing
from operando.core.errors import InputError, nearest
from operando.transport.conduction import CONVENTIONS
from operando.transport.potential import Potential

UNLABELED = 255
_SMALL = 25**3


def local_tortuosity(
    volume: xr.DataArray,
    *,
    axis: str = "z",
    tile_um: float = 36.0,
    depth_um: float | None = None,
    convention: str = "factor",
    tolerance: float = 1e-3,
) -> xr.Dataset:
    """Tortuosity factor and effective conductivity of every sub-domain of a volume.

    Parameters
    ----------
    volume : DataArray, dims (z, y, x), calibrated
        Boolean (or 0 and 1, 255 missing): the phase that conducts. Or floats: conductivity per voxel, 0 or more, NaN
        missing. May be lazy.
    axis : {"z", "y", "x"}
        Along which is conducted.
    tile_um : float
        Edge of a sub-domain along y and x, in um; rounded to whole voxels.
    depth_um : float, optional
        Edge along z. Default: the whole thickness, one sub-domain deep.
    convention : {"factor", "dixit2020"}
        As in :func:`tortuosity_factor`.
    tolerance : float
        Estimated relative error at which the solver stops.

    Returns
    -------
    Dataset, dims (y, x), with ``depth_um`` (z, y, x)
        ``tortuosity_factor`` (``inf`` where nothing gets through), ``effective_conductivity`` (unit of ``volume``;
        relative where it is boolean), ``conducting_fraction``. Coordinates at the centers of the sub-domains in um.
        NaN where any voxel of a sub-domain is missing. An incomplete last sub-domain is left out.

    Raises
    ------
    InputError, AxesError, UnitsError
        Where the volume is not calibrated, or a sub-domain has fewer than two voxels along an axis or none fits.

    Notes
    -----
    Each sub-domain is cut out and solved as if its sides were insulated: current that in the whole volume would
    go round through a neighbor is not seen, so that a map of small sub-domains exaggerates differences, and the mean of
    the map is not the factor of the volume. Dixit 2020 uses 36 um, and the 100 um beneath each interface
    (:func:`beneath`).

    Holds one row of sub-domains (all of x, one tile of y) at a time in 32 bits, all cores at work on it.

    Examples
    --------
    Four columns, one of them blocked:

    >>> import operando
    >>> values = np.ones((6, 4, 4), dtype=bool)
    >>> values[3, :2, :2] = False
    >>> volume = operando.labeled_image(values, voxel_size_um=2.0)
    >>> found = local_tortuosity(volume, tile_um=4.0)
    >>> found.tortuosity_factor.values.round(4).tolist(), found.x.values.tolist()
    ([[inf, 1.0], [1.0, 1.0]], [1.0, 5.0])
    """
    where = "local_tortuosity"
    if convention not in CONVENTIONS:
        raise InputError(
            f"{where}: the convention must be one of {', '.join(CONVENTIONS)}, got {convention!r}. "
            f"{nearest(str(convention), CONVENTIONS)}"
        )
    if axis not in SPACE:
        raise InputError(f"{where}: the axis must be one of z, y, x, got {axis!r}. {nearest(str(axis), SPACE)}")
    tiles = Tiles(volume, (depth_um, tile_um, tile_um), where=where)
    effective, mean, fraction = (np.full(tiles.counts, np.nan) for _ in range(3))
    for row in range(tiles.counts[1]):
        slab = tiles.row(row)
        found = solve_tiles(slab, tiles.size, tiles.edges, SPACE.index(axis), tolerance=tolerance)
        effective[:, row], mean[:, row], fraction[:, row] = found
    with np.errstate(divide="ignore", invalid="ignore"):
        # np.maximum keeps NaN; below 1 there is only rounding.
        factor = np.where(effective == 0, math.inf, np.maximum(1.0, mean / effective))
    if convention == "dixit2020":
        factor = np.sqrt(factor)
    deep = depth_um is not None
    unit = str(volume.attrs.get("units", "1"))

    def labeled(values: np.ndarray, units: str, name: str) -> xr.DataArray:
        made = tiles.label(values, units=units, long_name=name)
        return made if deep else made.isel(z=0, drop=True)

    equation = "D_eff = D eps / tau" if convention == "factor" else "D_eff = D eps / tau^2 (Dixit 2020, Eq. 4)"
    return xr.Dataset(
        {
            "tortuosity_factor": labeled(factor, "1", "Tortuosity factor").assign_attrs(convention=equation),
            "effective_conductivity": labeled(effective, unit, "Effective conductivity"),
            "conducting_fraction": labeled(fraction, "1", "Conducting fraction"),
        },
        attrs={"axis": axis, "convention": equation, "tile_um": tiles.size_um},
    )


def beneath(
    volume: xr.DataArray, interface: xr.DataArray, *, depth_um: float = 100.0, direction: str = "up"
) -> xr.DataArray:
    """Cut out what lies beneath an uneven interface, each column shifted so that it begins there.

    Parameters
    ----------
    volume : DataArray, dims (z, y, x), calibrated
        Any values: labels, a boolean phase, conductivity. May be lazy.
    interface : DataArray, dims (y, x), units um
        z position of the interface in every column; NaN where there is none.
    depth_um : float
        How deep, in um; rounded to whole voxels.
    direction : {"up", "down"}
        Where beneath is: towards larger z (from the low interface into the ceramic) or towards smaller z.

    Returns
    -------
    DataArray, dims (z, y, x)
        ``z`` is the depth beneath the interface in um, at voxel centers: index 0 is the first voxel whose center lies
        beneath it, in both directions. Outside of the volume and in columns without an interface: NaN, and 255 in
        labels and booleans (which become uint8).

    Raises
    ------
    InputError, AxesError, UnitsError
        Where the two do not fit, or the depth is less than one voxel.

    Notes
    -----
    Whole voxels are shifted, so that neighbors along y and x slip by up to one voxel at steps of the interface: a thin
    feature that lies flat may be torn there, and one that is torn may be joined. Holds the part of the volume between
    the lowest and the highest voxel asked for.

    Examples
    --------
    >>> import operando
    >>> volume = operando.labeled_image(np.arange(6.0).reshape(6, 1, 1) * np.ones((1, 1, 2)), voxel_size_um=1.0)
    >>> height = xr.DataArray([[1.5, 2.5]], dims=("y", "x"), attrs={"units": "um"})
    >>> beneath(volume, height, depth_um=2.0).values.tolist()
    [[[2.0, 3.0]], [[3.0, 4.0]]]
    >>> beneath(volume, height, depth_um=2.0, direction="down").values.tolist()
    [[[1.0, 2.0]], [[0.0, 1.0]]]
    """
    where = "beneath"
    if direction not in ("up", "down"):
        raise InputError(
            f"{where}: the direction must be 'up' (towards larger z) or 'down', got {direction!r}. "
            f"{nearest(str(direction), ('up', 'down'))}"
        )
    require_dims(volume, SPACE, where=where)
    require_dims(interface, ("y", "x"), where=where)
    volume, interface = volume.transpose(*SPACE), interface.transpose("y", "x")
    edge = spacing(volume, where=where)["z"]
    if interface.shape != volume.shape[1:]:
        raise InputError(
            f"{where}: the interface must have one height per column, got {interface.shape} for columns "
            f"{volume.shape[1:]}. Crop both alike."
        )
    depth = round(depth_um / edge)
    if depth < 1:
        raise InputError(f"{where}: the depth must be at least one voxel of {edge:g} um, got {depth_um} um. Go deeper.")
    heights = (np.asarray(interface, dtype=np.float64) - float(volume["z"][0])) / edge
    known = np.isfinite(heights)
    step = 1 if direction == "up" else -1
    ends = np.ceil(heights) if step > 0 else np.floor(heights)
    first = np.where(known, ends, 0).astype(np.int64)
    size = volume.sizes["z"]
    kind: np.dtype[Any] = volume.dtype
    labels = kind.kind in "biu"
    missing: Any = UNLABELED if labels else np.nan
    out = np.full((depth, *heights.shape), missing, np.uint8 if labels and kind.itemsize == 1 else kind)
    if known.any():
        last = first + step * (depth - 1)
        low = int(np.clip(np.minimum(first, last)[known].min(), 0, size - 1))
        high = int(np.clip(np.maximum(first, last)[known].max(), 0, size - 1))
        band = np.asarray(volume.isel(z=slice(low, high + 1)).data)
        rows, columns = (np.asarray(indices) for indices in np.indices(heights.shape))
        for index in range(depth):
            at = first + step * index
            inside = known & (at >= 0) & (at < size)
            out[index][inside] = band[at[inside] - low, rows[inside], columns[inside]]
    coords = {dim: volume.coords[dim] for dim in ("y", "x") if dim in volume.coords}
    z = xr.DataArray(
        (np.arange(depth) + 0.5) * edge,
        dims="z",
        attrs={"units": "um", "long_name": "Depth beneath the interface", "spacing": edge},
    )
    return xr.DataArray(
        out, dims=SPACE, coords={"z": z, **coords}, attrs={**volume.attrs, "direction": direction}, name=volume.name
    )


class Tiles:
    """A volume cut into sub-domains of whole voxels that do not overlap.

    Attributes
    ----------
    size, counts : tuple of int
        Voxels of a sub-domain and number of sub-domains along z, y, x.
    edges : tuple of float
        Edges of a voxel in um.
    size_um : list of float
        Edges of a sub-domain.
    """

    def __init__(self, volume: xr.DataArray, tile_um: Sequence[float | None], *, where: str) -> None:
        require_dims(volume, SPACE, where=where)
        self.volume = volume.transpose(*SPACE)
        edges = spacing(self.volume, where=where)
        self.edges = tuple(edges[dim] for dim in SPACE)
        size = []
        for wanted, dim in zip(tile_um, SPACE, strict=True):
            have = self.volume.sizes[dim]
            voxels = have if wanted is None else round(wanted / edges[dim]) if wanted > 0 else 0
            if voxels < min(2, have) or voxels > have:
                raise InputError(
                    f"{where}: a sub-domain must have from 2 to {have} voxels of {edges[dim]:g} um along {dim}, got "
                    f"{wanted} um. Use between {2 * edges[dim]:g} and {have * edges[dim]:g} um."
                )
            size.append(voxels)
        self.size = tuple(size)
        self.counts = tuple(self.volume.sizes[dim] // n for dim, n in zip(SPACE, size, strict=True))
        self.size_um = [n * edge for n, edge in zip(self.size, self.edges, strict=True)]

    def row(self, index: int, volume: xr.DataArray | None = None) -> np.ndarray:
        """All sub-domains of one row of y, in 32 bits and NaN where missing: (nz * z, y, nx * x) voxels."""
        from_ = index * self.size[1]
        of = self.volume if volume is None else volume
        part = of.isel(
            z=slice(self.counts[0] * self.size[0]),
            y=slice(from_, from_ + self.size[1]),
            x=slice(self.counts[2] * self.size[2]),
        )
        values = np.asarray(part.data)
        if values.dtype.kind in "iu":
            strange = (values != 0) & (values != 1) & (values != UNLABELED)
            if strange.any():
                raise InputError(
                    f"sub-domains: whole numbers must be 0, 1 or 255 (missing), got also {values[strange][0]}. Compare "
                    "the labels with a phase first, or convert a conductivity to float."
                )
            values = np.where(values == UNLABELED, np.float32(np.nan), values.astype(np.float32))
        values = values.astype(np.float32, copy=False)
        if not np.all((values >= 0) & (values < np.inf) | np.isnan(values)):
            raise InputError(
                "sub-domains: every value must be finite and 0 or more, or NaN where it is missing, got from "
                f"{np.nanmin(values)} to {np.nanmax(values)}. Set an insulator to 0."
            )
        return values

    def label(self, values: np.ndarray, *, units: str, long_name: str) -> xr.DataArray:
        """Values per sub-domain (..., z, y, x) with coordinates at their centers."""
        coords = {}
        for dim, count, n, edge in zip(SPACE, self.counts, self.size, self.edges, strict=True):
            start = float(self.volume[dim][0]) if dim in self.volume.coords else 0.0
            centers = start - edge / 2 + (np.arange(count) + 0.5) * n * edge
            attrs = {"units": "um", "long_name": f"Position {dim}", "spacing": n * edge}
            coords[dim] = xr.DataArray(centers, dims=dim, attrs=attrs)
        dims = SPACE if values.ndim == 3 else ("component", *SPACE)
        return xr.DataArray(values, dims=dims, coords=coords, attrs={"units": units, "long_name": long_name})


def solve_tiles(
    slab: np.ndarray, size: tuple[int, ...], edges: tuple[float, ...], axis: int, *, tolerance: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Effective and mean conductivity and conducting fraction of the sub-domains (z, x) of one row."""
    counts = (slab.shape[0] // size[0], slab.shape[2] // size[2])
    starts = np.array(
        [(i * size[0], 0, j * size[2]) for i in range(counts[0]) for j in range(counts[1])], dtype=np.int64
    )
    effective, mean, fraction = (np.zeros(len(starts)) for _ in range(3))
    if math.prod(size) <= _SMALL:
        from operando.transport import multigrid
        from operando.transport.box_kernels import solve_boxes

        order = np.array([axis, *(other for other in range(3) if other != axis)])
        with multigrid.alone:
            solve_boxes(slab, starts, np.array(size), order, np.array(edges), tolerance, effective, mean, fraction)
    else:
        effective[:] = -1
    for box in np.flatnonzero(effective < 0):
        z, y, x = starts[box]
        part = slab[z : z + size[0], y : y + size[1], x : x + size[2]]
        if np.isnan(part).any():
            effective[box] = mean[box] = fraction[box] = np.nan
            continue
        binary = np.all((part == 0) | (part == 1))
        solved = Potential(part.astype(bool) if binary else part, edges, axis, tolerance=tolerance, dtype="float32")
        effective[box], mean[box] = solved.effective, solved.mean_conductivity
        fraction[box] = np.count_nonzero(part) / part.size
    return effective.reshape(counts), mean.reshape(counts), fraction.reshape(counts)
