"""The phase that a pixel holds most of."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from operando.core.errors import InputError
from operando.core.phases import UNLABELED, PhaseScheme
from operando.core.provenance import record
from operando.spectral.lithiation import component_names, weights_of


def dominant_phase(
    weights: xr.DataArray | xr.Dataset, *, minimum_thickness: float = 0.0, minimum_fraction: float = 0.0
) -> xr.DataArray:
    """Label every pixel with the phase of the largest weight.

    Parameters
    ----------
    weights : DataArray, dims (component, ...), or the Dataset that :func:`unmix` returns
        Amount of each phase. May be lazy.
    minimum_thickness : float, in the unit of the weights
        Pixels with less than this in sum are unlabeled, and so are those with nothing.
    minimum_fraction : float, in [0, 1]
        Share of the sum that the largest must have; else the pixel is unlabeled.

    Returns
    -------
    DataArray of uint8, dims (...)
        Position of the phase among the components; 255 where there is none. ``attrs["phases"]`` is the scheme, for
        ``PhaseScheme.of``.

    Raises
    ------
    InputError, AxesError
        Where there are more than 255 components, or ``weights`` have no dim ``component``.

    Notes
    -----
    Of equal weights the first component wins. A pixel of two phases in equal parts has the label of one: for what is
    mixed, see :func:`disorder`.

    Examples
    --------
    >>> weights = xr.DataArray([[3.0, 1.0, 0.0], [1.0, 2.0, 0.0]], dims=("component", "x"),
    ...     coords={"component": ["FePO4", "LiFePO4"]})
    >>> labels = dominant_phase(weights)
    >>> labels.values.tolist(), PhaseScheme.of(labels.attrs["phases"]).names
    ([0, 1, 255], ('FePO4', 'LiFePO4'))
    """
    where = "dominant_phase"
    array = weights_of(weights, where=where)
    names = component_names(array)
    if len(names) > UNLABELED:
        raise InputError(f"{where}: at most {UNLABELED} components can be labels, got {len(names)}. Merge some.")
    if not 0 <= minimum_fraction <= 1:
        raise InputError(f"{where}: minimum_fraction must be in [0, 1], got {minimum_fraction!r}. Divide a percentage.")
    if array.chunks is not None:
        array = array.chunk({"component": -1})
    labels: xr.DataArray = xr.apply_ufunc(
        _largest,
        array,
        kwargs={"minimum_thickness": minimum_thickness, "minimum_fraction": minimum_fraction},
        input_core_dims=[["component"]],
        dask="parallelized",
        output_dtypes=[np.uint8],
    )
    parameters: dict[str, Any] = {"minimum_thickness": minimum_thickness, "minimum_fraction": minimum_fraction}
    labels.attrs = {
        "long_name": "Dominant phase",
        "phases": PhaseScheme({name: i for i, name in enumerate(names)}).to_dict(),
        **({"simulated": True} if getattr(weights, "attrs", {}).get("simulated") else {}),
        "provenance": record("operando.spectral.dominant_phase", parameters),
    }
    return labels.rename("dominant_phase")


def _largest(values: np.ndarray, *, minimum_thickness: float, minimum_fraction: float) -> np.ndarray:
    total = values.sum(axis=-1)
    with np.errstate(invalid="ignore"):
        held = (total > 0) & (total >= minimum_thickness) & (values.max(axis=-1) >= minimum_fraction * total)
    return np.where(held, values.argmax(axis=-1), UNLABELED).astype(np.uint8)
