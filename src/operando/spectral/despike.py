"""Single values that neither their neighbors in energy nor those in space explain."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from operando.core.errors import InputError
from operando.core.provenance import record
from operando.spectral.stacks import as_stack, energies_ev


def despike(stack: Any, *, threshold: float = 6.0, fill: bool = False) -> xr.DataArray:
    """Take out spikes: one pixel at one energy.

    Parameters
    ----------
    stack : DataArray, dims (energy, y, x), or array of that shape
        Counts or optical density, at three energies at least. May be lazy.
    threshold : float
        How far a spike stands out, in units of the noise of the pixels around it.
    fill : bool
        Replace spikes by the line between the two energies beside them, instead of NaN.

    Returns
    -------
    DataArray, as ``stack``
        NaN where a spike was. ``attrs["spikes"]`` is their number, where the stack is not lazy. Integers become float32
        or float64.

    Raises
    ------
    InputError, AxesError
        Where there are fewer than three energies, or the threshold is not positive.

    Notes
    -----
    A value departs from the line between the two energies beside it by r, be it by a spike or at a peak of the
    spectrum. At a peak the pixels around it depart alike. So a spike is where

    - r lies beyond that of all eight neighbors by ``threshold`` times the noise, and
    - it lies farther from their median than at the energies before and after, which depart half as far the other way.

    The noise is 1.48 times the median distance, over energies, of r from the median of its neighbors, averaged over
    the three by three pixels. At a single energy the noise may be larger than that (at a peak, twice), hence the high
    default: no value in a million of counting noise goes, and spikes of less than about ten standard deviations stay.

    Two spikes side by side hide each other. A particle of a single pixel with a line that is no wider than one step of
    the energies is taken for a spike: with few energies, do not use this.

    Memory: lazy where the stack is lazy, with all energies of a chunk of pixels at once; ten times the chunk.

    Examples
    --------
    >>> stack = np.random.default_rng(0).normal(1.0, 0.01, size=(9, 8, 8))
    >>> stack[4, 3, 3] = 1.5
    >>> clean = despike(stack)
    >>> clean.attrs["spikes"], bool(np.isnan(clean[4, 3, 3]))
    (1, True)
    """
    where = "despike"
    array = as_stack(stack, where=where)
    if array.sizes["energy"] < 3:
        raise InputError(f"{where}: at least three energies are needed to tell a spike, got {array.sizes['energy']}.")
    if array.dims != ("energy", "y", "x"):
        raise InputError(f"{where}: dims (energy, y, x) are needed, got {array.dims}. Work on one section at a time.")
    if not np.isfinite(threshold) or threshold <= 0:
        raise InputError(f"{where}: threshold must be positive, got {threshold!r}. 6 is usual, 4 takes more.")
    if not np.issubdtype(array.dtype, np.floating):
        array = array.astype(np.float32 if array.dtype.itemsize <= 2 else np.float64)
    energies = energies_ev(array, where=where) if "energy" in array.coords else np.arange(float(array.sizes["energy"]))
    order = np.argsort(energies)
    data: Any = array.data
    if isinstance(data, np.ndarray):
        values: Any = _despiked(data, energies, order, threshold, fill)
        count: int | str = int((values != data).sum() - (np.isnan(data)).sum())
    else:
        import dask.array as da

        values = da.map_overlap(
            _despiked,
            data.rechunk({0: -1}),
            energies=energies,
            order=order,
            threshold=threshold,
            fill=fill,
            depth={0: 0, 1: 3, 2: 3},
            boundary="none",
            dtype=array.dtype,
            meta=np.empty((0, 0, 0), dtype=array.dtype),
        )
        count = "not counted: the stack is lazy"
    made_by = record("operando.spectral.despike", {"threshold": threshold, "fill": fill})
    return array.copy(data=values).assign_attrs({**array.attrs, "spikes": count, "provenance": made_by})


def _despiked(data: np.ndarray, energies: np.ndarray, order: np.ndarray, threshold: float, fill: bool) -> np.ndarray:
    from scipy import ndimage

    around = np.ones((3, 3), dtype=bool)
    around[1, 1] = False
    values = data[order]
    line = _between(values, energies[order])
    # A missing value must not make its neighbors look odd.
    departure = values - line
    known = np.isfinite(departure)
    departure = np.where(known, departure, 0.0)
    departure[0] *= 2 / 3
    departure[-1] *= 2 / 3
    middle, low, high = (np.empty_like(departure) for _ in range(3))
    for i, image in enumerate(departure):
        middle[i] = ndimage.median_filter(image, footprint=around, mode="mirror")
        low[i] = ndimage.minimum_filter(image, footprint=around, mode="mirror")
        high[i] = ndimage.maximum_filter(image, footprint=around, mode="mirror")
    odd = np.abs(departure - middle)
    noise = 1.4826 * ndimage.uniform_filter(np.median(odd, axis=0), size=3, mode="mirror")
    spike = (departure > high + threshold * noise) | (departure < low - threshold * noise)
    spike &= known
    spike[1:] &= odd[1:] > odd[:-1]
    spike[:-1] &= odd[:-1] >= odd[1:]
    result = data.copy()
    result[order] = np.where(spike, line if fill else np.nan, values)
    return result


def _between(values: np.ndarray, energies: np.ndarray) -> np.ndarray:
    """Value on the line between the two energies beside each; at the ends that of the one beside it."""
    share = ((energies[1:-1] - energies[:-2]) / (energies[2:] - energies[:-2]))[:, None, None].astype(values.dtype)
    line = np.empty_like(values)
    line[1:-1] = (1 - share) * values[:-2] + share * values[2:]
    line[0], line[-1] = values[1], values[-2]
    return line
