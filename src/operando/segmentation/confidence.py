"""How sure a segmenter is of every voxel."""

from __future__ import annotations

import numpy as np
import xarray as xr

from operando.core.axes import require_dims
from operando.core.errors import InputError
from operando.core.provenance import record


def confidence(probability: xr.DataArray) -> xr.DataArray:
    """Probability of the most probable phase in every voxel.

    Parameters
    ----------
    probability : DataArray of float, dims ([t], phase, [z], y, x)
        As ``predict_probability`` of a segmenter gives it. May be lazy.

    Returns
    -------
    DataArray of float, dims ([t], [z], y, x), units "1"
        From one over the number of phases to 1; NaN where the image is. Lazy where the probability is.

    Raises
    ------
    AxesError
        Where there is no dim ``phase``.

    Notes
    -----
    :math:`\\max_c p_c`, with :math:`p` calibrated on annotations that were held out
    (:func:`operando.learn.fit_temperature`): of the voxels with a confidence of 0.8, four in five should be right.
    Whether they are on another electrode or another step is to be measured there (:func:`operando.learn.reliability`).
    It is not the share of voxels that are right, which the wide bulk without any doubt decides.

    Examples
    --------
    >>> chances = xr.DataArray([[[0.3, 0.9]], [[0.7, 0.1]]], dims=("phase", "y", "x"))
    >>> confidence(chances).values.tolist()
    [[0.7, 0.9]]
    """
    where = "confidence"
    require_dims(probability, ("phase", "y", "x"), optional=("t", "z"), where=where)
    best = probability.max("phase").rename("confidence")
    kept = {key: probability.attrs[key] for key in ("simulated", "plating_side") if key in probability.attrs}
    provenance = record(f"operando.segmentation.{where}")
    return best.assign_attrs(**kept, units="1", long_name="Confidence", provenance=provenance)


def confident_fraction(sureness: xr.DataArray, *, level: float = 0.8) -> xr.DataArray:
    """Share of voxels that a segmenter is sure of.

    Parameters
    ----------
    sureness : DataArray of float, dims ([t], [z], y, x)
        From :func:`confidence`; NaN is not counted. May be lazy.
    level : float
        In [0, 1); Dixit et al. (2020) have 0.8.

    Returns
    -------
    DataArray, dims ([t]), units "1"
        Share of the voxels whose confidence is greater than ``level``; NaN where there are none. Lazy where the
        confidence is, and computed block by block.

    Raises
    ------
    AxesError, InputError
        Where dims or level do not fit.

    Reference
    ---------
    Dixit et al., ACS Applied Energy Materials 3 (2020) 9534, doi:10.1021/acsaem.0c02053

    Examples
    --------
    >>> confident_fraction(xr.DataArray([[0.7, 0.9, np.nan]], dims=("y", "x"))).item()
    0.5
    """
    where = "confident_fraction"
    require_dims(sureness, ("y", "x"), optional=("t", "z"), where=where)
    if not 0 <= level < 1:
        raise InputError(f"{where}: level must be a fraction in [0, 1), got {level}. Divide a percentage by 100.")
    space = [dim for dim in sureness.dims if dim != "t"]
    known = sureness.notnull().sum(space)
    share = (sureness > level).sum(space) / known.where(known > 0, np.nan)
    return share.assign_attrs(units="1", long_name=f"Share of voxels with a confidence above {level:g}")
