"""Volumes corrected by the confusions that held-out annotations show."""

from __future__ import annotations

import numpy as np
import xarray as xr

from operando.core.errors import InputError


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
