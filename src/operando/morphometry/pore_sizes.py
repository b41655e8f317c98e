"""Mean size and number of pores, from those that are seen whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from operando.core.errors import InputError
from operando.morphometry.interface import ENDS

_NEEDED = ("scan", "side", "diameter", "y", "x", "extent_y", "extent_x", "border", "volume_searched")
_FEWEST_BLOCKS = 4
_NAMES = {"mean_diameter": "um", "median_diameter": "um", "number_density": "um-3"}


def pore_size(
    found: xr.Dataset, *, block_um: float = 72.0, level: float = 0.95, samples: int = 400, seed: int = 0
) -> xr.Dataset:
    """Mean and median diameter of pores and their number per volume, with intervals.

    Parameters
    ----------
    found : Dataset
        From :func:`pores`.
    block_um : float
        Edge of the lateral blocks that are drawn anew together: more than the distance over which pores are alike.
    level : float
        Share of the intervals.
    samples, seed : int
        Of the bootstrap.

    Returns
    -------
    Dataset, dims ([t], component)
        ``mean_diameter`` and ``median_diameter`` (um) and ``number_density`` (um-3), each also with ``_sigma``,
        ``_low`` and ``_high`` behind its name; ``count``: pores seen whole, which the numbers rest on. NaN where there
        is none; no intervals from fewer than four blocks with pores.

    Raises
    ------
    InputError
        Where ``found`` is not from :func:`pores`, or a number is out of range.

    Notes
    -----
    Large pores are cut by the border of the field of view more often than small ones. So only whole pores count, each
    weighted by the inverse of the chance to see one of its size whole (Miles and Lantuejoul):

    .. math:: w = \\frac{L_y}{L_y - l_y - h} \\frac{L_x}{L_x - l_x - h}, \\qquad
              \\bar d = \\frac{\\sum w d}{\\sum w}, \\quad n_V = \\frac{\\sum w}{V}

    with L the field of view, l the box around the pore and h the voxel edge (a pore with a voxel at the border counts
    as cut).

    Intervals: blocks of the field of view are drawn with replacement, with all pores in them, since neighbors are
    alike. They cover this place as a sample of the electrode, not the segmentation, nor what ``min_voxels`` cuts off:
    the mean hangs on the smallest pores counted. Memory: the pores.

    Reference
    ---------
    Lantuejoul, Journal of Microscopy 115 (1979) 67 (weights); Hall, Stochastic Processes 20 (1985) 231 (spatial blocks)

    Examples
    --------
    >>> from operando.core.axes import labeled_image
    >>> from operando.morphometry.pores import pores
    >>> image = np.ones((9, 12, 12), np.uint8)
    >>> image[:2] = 0
    >>> image[4:6, 4:6, 4:6] = 2
    >>> table = pores(labeled_image(image, voxel_size_um=1.0), {"electrolyte": 0, "electrode": 1, "pore": 2})
    >>> sizes = pore_size(table).sel(component="high")
    >>> round(sizes["mean_diameter"].item() ** 3 * np.pi / 6, 6), int(sizes["count"])  # 8 um3
    (8.0, 1)
    >>> round(sizes["number_density"].item() * 1008 * 81 / 144, 6)  # one, which is seen whole in 81 of 144 places
    1.0
    """
    where = "pore_size"
    missing = [name for name in _NEEDED if name not in found]
    lacks = missing or [name for name in ("field_um",) if name not in found.attrs]
    if lacks:
        raise InputError(f"{where}: a Dataset from pores is needed, got one without {lacks}. Pass the result of pores.")
    if not 0 < level < 1 or samples < 1 or not block_um > 0:
        raise InputError(
            f"{where}: level must be between 0 and 1, samples at least 1 and block_um positive, got {level!r}, "
            f"{samples!r} and {block_um!r}. Correct them."
        )
    field, start = np.array(found.attrs["field_um"]), np.array(found.attrs["field_start_um"])
    extent = np.stack([found["extent_y"].values, found["extent_x"].values], axis=1)
    whole = ~found["border"].values.astype(bool)
    # A pore counts as cut where it has a voxel at the border, which takes one more place on each axis with a border.
    edge = np.array(found.attrs["edges_um"])
    chance = np.prod(np.where((field > edge) & whole[:, None], 1 - (extent + edge) / field, 1.0), axis=1)
    block = np.floor((np.stack([found["y"].values, found["x"].values], axis=1) - start) / block_um).astype(int)
    blocks = np.ceil(field / block_um - 1e-9).astype(int)
    volume = found["volume_searched"]
    timed = "t" in volume.dims
    searched = np.atleast_2d(volume.values)
    shape = searched.shape
    rng = np.random.default_rng(seed)
    out: dict[str, Any] = {
        f"{name}{end}": np.full(shape, np.nan) for name in _NAMES for end in ("", "_sigma", "_low", "_high")
    }
    out["count"] = np.zeros(shape, np.int64)
    for t, c in np.ndindex(*shape):
        own = whole & (found["scan"].values == t) & (found["side"].values == ENDS[c])
        order = np.flatnonzero(own)[np.argsort(found["diameter"].values[own])]
        diameter, weight = found["diameter"].values[order], 1 / chance[order]
        place = block[order, 0] * blocks[1] + block[order, 1]
        out["count"][t, c] = len(order)
        if not len(order):
            continue
        inside = float(searched[t, c])
        values = _summary(diameter, weight, inside)
        drawn = None
        if len(np.unique(place)) >= _FEWEST_BLOCKS:
            number = int(blocks.prod())
            times = rng.multinomial(number, np.full(number, 1 / number), size=samples)
            drawn = np.array([_summary(diameter, weight * often[place], inside) for often in times])
        for k, name in enumerate(_NAMES):
            out[name][t, c] = values[k]
            if drawn is not None:
                out[f"{name}_sigma"][t, c] = np.nanstd(drawn[:, k], ddof=1)
                ends = np.nanquantile(drawn[:, k], [0.5 - level / 2, 0.5 + level / 2])
                out[f"{name}_low"][t, c], out[f"{name}_high"][t, c] = ends
    units = {f"{name}{end}": unit for name, unit in _NAMES.items() for end in ("", "_sigma", "_low", "_high")}
    return xr.Dataset(
        {
            name: (volume.dims, values if timed else values[0], {"units": units.get(name, "1")})
            for name, values in out.items()
        },
        coords=volume.coords,
        attrs={"level": level, "connectivity": found.attrs["connectivity"]},
    )


def _summary(diameter: np.ndarray, weight: np.ndarray, volume: float) -> tuple[float, float, float]:
    """Mean, median and number per volume of sorted diameters with weights."""
    total = float(weight.sum())
    if total <= 0:
        return np.nan, np.nan, 0.0
    reached = np.cumsum(weight)
    middle = diameter[np.searchsorted(reached, total / 2 * (1 - 1e-12))]
    return float((weight * diameter).sum() / total), float(middle), total / volume
