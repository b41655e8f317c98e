"""How mixed the phases are: within pixels, and between them."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from operando.core.errors import InputError
from operando.core.provenance import record
from operando.spectral.lithiation import weights_of
from operando.spectral.pixels import as_mask


def disorder(weights: xr.DataArray | xr.Dataset, *, mask: Any = None, minimum_thickness: float = 0.0) -> xr.Dataset:
    """Degree of disorder: the entropy of the phase fractions, between 0 (one phase) and 1 (all phases alike).

    Parameters
    ----------
    weights : DataArray, dims (component, ...), or the Dataset that :func:`unmix` returns
        Amount of each phase; negative weights count as zero. May be lazy.
    mask : DataArray of bool, dims (...), optional
        Pixels that count. Default: all.
    minimum_thickness : float, in the unit of the weights
        Pixels with less than this in sum do not count, and neither do those with nothing.

    Returns
    -------
    Dataset, units "1"
        ``disorder`` (...), of every pixel, NaN where it does not count; and for the field as a whole ``total``,
        ``mixing``, ``segregation`` and ``segregation_index``, without dims.

    Raises
    ------
    InputError, AxesError
        Where there are fewer than two components, or no pixel counts.

    Notes
    -----
    With the fractions :math:`f_{jp}` of n phases at the pixel p, their mean :math:`\\bar f_j` over the field, weighted
    by thickness :math:`t_p`, and Shannon's entropy :math:`H(f) = -\\sum_j f_j \\ln f_j`:

    .. math:: d_p = \\frac{H(f_p)}{\\ln n}, \\quad
        \\mathrm{total} = \\frac{H(\\bar f)}{\\ln n}, \\quad
        \\mathrm{mixing} = \\frac{\\sum_p t_p d_p}{\\sum_p t_p}, \\quad
        \\mathrm{segregation} = \\mathrm{total} - \\mathrm{mixing} \\ge 0

    ``mixing`` is what the pixels have within, ``segregation`` what differs from pixel to pixel: it is the mutual
    information of place and phase over ln n, and ``segregation_index`` = segregation / total is the information theory
    index of Theil (1971), which studies of segregation use: 0 where every pixel is mixed as the field is, 1
    where every pixel holds one phase. A solid solution mixes; phase separation segregates.

    What mixes within a pixel depends on the pixel: the split is one at the resolution of the image.
    Noise makes pure pixels look mixed, since weights that cannot be negative only err upwards: ``mixing`` is too
    high. Compare fields of the same noise, or with a simulated pure one.

    Examples
    --------
    Two pure pixels segregate wholly; two pixels of both halves mix wholly:

    >>> pure = xr.DataArray([[1.0, 0.0], [0.0, 1.0]], dims=("component", "x"))
    >>> found = disorder(pure)
    >>> found.disorder.values.tolist(), found.total.item(), found.mixing.item(), found.segregation_index.item()
    ([0.0, 0.0], 1.0, 0.0, 1.0)
    >>> disorder(xr.full_like(pure, 0.5)).mixing.item()
    1.0
    """
    where = "disorder"
    array = weights_of(weights, where=where).transpose("component", ...)
    count = array.sizes["component"]
    if count < 2:
        raise InputError(f"{where}: at least two components are needed to be mixed, got {count}. Fit more references.")
    # A missing weight must not count as none of that phase.
    held = array.clip(min=0.0)
    total = held.sum("component", skipna=False)
    counts = (total > 0) & (total >= minimum_thickness)
    if mask is not None:
        counts = counts & as_mask(mask, array, where=where).reshape(array.shape[1:])
    thickness = total.where(counts)
    pixel = (_entropy(held / thickness) / np.log(count)).rename("disorder")
    share = (held.where(counts)).sum([d for d in array.dims if d != "component"])
    whole = float(share.sum())
    if whole <= 0:
        raise InputError(
            f"{where}: at least one pixel must hold a phase, got none. Lower minimum_thickness or widen mask."
        )
    field = _entropy(share / whole) / np.log(count)
    mixing = (thickness * pixel).sum() / whole
    segregation = (field - mixing).clip(min=0.0)
    found = xr.Dataset(
        {
            "disorder": pixel,
            "total": field,
            "mixing": mixing,
            "segregation": segregation,
            "segregation_index": (segregation / field).where(field > 0),
        }
    )
    for name, text in _LONG_NAMES.items():
        found[name].attrs = {"units": "1", "long_name": text}
    found.attrs = {
        **({"simulated": True} if getattr(weights, "attrs", {}).get("simulated") else {}),
        "provenance": record("operando.spectral.disorder", {"minimum_thickness": minimum_thickness}),
    }
    return found


_LONG_NAMES = {
    "disorder": "Degree of disorder",
    "total": "Degree of disorder of the field",
    "mixing": "Disorder within pixels",
    "segregation": "Disorder between pixels",
    "segregation_index": "Segregation index",
}


def _entropy(fractions: xr.DataArray) -> xr.DataArray:
    """Shannon's entropy over components; NaN where a fraction is."""
    result: xr.DataArray = xr.apply_ufunc(
        lambda f: -np.where(f > 0, f * np.log(np.where(f > 0, f, 1.0)), np.where(np.isnan(f), np.nan, 0.0)),
        fractions,
        dask="parallelized",
        output_dtypes=[np.float64],
    ).sum("component", skipna=False)
    # -0.0 where a pixel is pure
    return abs(result)
