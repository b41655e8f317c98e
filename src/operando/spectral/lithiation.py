"""From weights of phases to lithium: x in Li_x M at every pixel, with its error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando.core.axes import SPACE
from operando.core.errors import AxesError, InputError, nearest
from operando.core.provenance import record

Stoichiometry = Mapping[str, float | None] | Sequence[float | None] | xr.DataArray
"""x in Li_x M per phase, by name or in the order of the components; None for what holds no host."""


def lithiation(
    weights: xr.DataArray | xr.Dataset,
    stoichiometry: Stoichiometry,
    *,
    moles: Stoichiometry | None = None,
    minimum_thickness: float = 0.0,
) -> xr.DataArray:
    """Lithium per formula unit of the host, from the weights of the phases.

    Parameters
    ----------
    weights : DataArray, dims (component, ...), array of that shape, or the Dataset that :func:`unmix` returns
        Amount of each phase. May be lazy.
    stoichiometry : mapping of names to float, sequence of float, or DataArray (component,)
        x of every phase. None or NaN for a component that is no host (carbon, a binder): it does not count. A mapping
        may hold more phases than were fitted.
    moles : as ``stoichiometry``, optional
        Formula units of host per unit of weight, in any common unit: thickness weights of phases that swell hold
        fewer. Default: equal.
    minimum_thickness : float, in the unit of the weights
        Pixels with less host than this in sum are NaN, and so are those without any.

    Returns
    -------
    DataArray, dims (...) as the weights without component, units "1"
        x in Li_x M; NaN where there is no host or a weight is missing.

    Raises
    ------
    InputError, AxesError
        Where a phase has no stoichiometry, no phase is a host, or the dims do not fit.

    Notes
    -----
    .. math:: x = \\frac{\\sum_j w_j n_j x_j}{\\sum_j w_j n_j}

    Weights are taken as they are: negative ones, from a fit without bound, may put x outside the range of the phases.
    References normalized to the same edge step give weights that are proportional to formula units (one metal atom,
    one edge step), so that ``moles`` stay equal; references per um need ``moles`` = density / molar mass.

    Examples
    --------
    Three parts of V2O5 and one of LiV2O5 hold a quarter of a lithium per formula unit:

    >>> weights = xr.DataArray([[3.0], [1.0]], dims=("component", "x"), coords={"component": ["V2O5", "LiV2O5"]})
    >>> lithiation(weights, {"V2O5": 0.0, "LiV2O5": 1.0}).values.tolist()
    [0.25]
    """
    where = "lithiation"
    table, x, n = host_table(weights, stoichiometry, moles, where=where)
    total = (table * n).sum("component", skipna=False)
    lithium = (table * (n * x)).sum("component", skipna=False)
    thickness = table.sum("component", skipna=False)
    enough = (thickness > 0) & (thickness >= minimum_thickness) & (total > 0)
    result = (lithium / total.where(enough)).rename("lithiation")
    result.attrs = {
        "units": "1",
        "long_name": "x in Li_x M",
        "minimum_thickness": float(minimum_thickness),
        **({"simulated": True} if getattr(weights, "attrs", {}).get("simulated") else {}),
        "provenance": record(
            "operando.spectral.lithiation",
            {
                "stoichiometry": dict(zip(map(str, table["component"].values), x.values.tolist(), strict=True)),
                "moles": n.values.tolist(),
                "minimum_thickness": minimum_thickness,
            },
        ),
    }
    return result


def lithiation_sigma(
    unmixed: xr.Dataset,
    stoichiometry: Stoichiometry,
    *,
    moles: Stoichiometry | None = None,
    minimum_thickness: float = 0.0,
) -> xr.DataArray:
    """Standard error of :func:`lithiation`, pixel by pixel.

    Parameters
    ----------
    unmixed : Dataset
        What :func:`unmix` returns: ``weight`` and ``covariance`` (ask for it with ``covariance=True``), or
        ``weight_sigma`` where that is missing. May be lazy.
    stoichiometry, moles, minimum_thickness : as in :func:`lithiation`

    Returns
    -------
    DataArray, dims (...) as the weights without component, units "1"
        NaN where the lithiation is.

    Raises
    ------
    InputError, AxesError
        As :func:`lithiation`; and where there is neither covariance nor sigma.

    Notes
    -----
    .. math:: \\sigma_x^2 = \\sum_{jk} g_j C_{jk} g_k, \\qquad g_j = \\frac{n_j (x_j - x)}{\\sum_k n_k w_k}

    to first order, with C the covariance of the weights without bound. Neighboring phases trade weight against each
    other, which changes x little: with the covariance, errors are a third of what independent errors of the weights
    would make of them, as they are taken to be without it (``attrs["method"]`` says which).

    The bound at zero only shortens errors. On 12 simulated stacks (seeds 3001 to 3004, 10,000 photons, no drift, no
    missing phase, no mixed boundary pixels) x +- 1.96 sigma held the truth in 97 % of 10,000 pixels, and sigma was 1.2
    times the actual error. What is common to all pixels (I0, wrong or missing references) is not in it beyond what
    ``sigma`` of the fit said; it does not average out over pixels.

    Examples
    --------
    >>> unmixed = xr.Dataset({"weight": ("component", [3.0, 1.0]), "weight_sigma": ("component", [0.4, 0.4])},
    ...     coords={"component": ["V2O5", "LiV2O5"]})
    >>> round(lithiation_sigma(unmixed, {"V2O5": 0.0, "LiV2O5": 1.0}).item(), 4)
    0.0791
    """
    where = "lithiation_sigma"
    if not isinstance(unmixed, xr.Dataset):
        raise InputError(
            f"{where}: a Dataset with weight and its errors is needed, got {type(unmixed).__name__}. Give what "
            "operando.spectral.unmix returned."
        )
    value = lithiation(unmixed, stoichiometry, moles=moles, minimum_thickness=minimum_thickness)
    table, x, n = host_table(unmixed, stoichiometry, moles, where=where)
    slope = n * (x - value) / (table * n).sum("component", skipna=False)
    covariance = host_covariance(unmixed, table, where=where)
    if covariance is not None:
        other = slope.rename(component="component_other")
        variance = (slope * covariance * other).sum(["component", "component_other"], skipna=False)
        method = "covariance of the weights without bound"
    else:
        spread = host_part(unmixed["weight_sigma"], table, unmixed)
        variance = ((slope * spread) ** 2).sum("component", skipna=False)
        method = "independent errors of the weights"
    # Rounding may leave a variance just below zero where all phases have the same x.
    result = (variance.clip(min=0.0) ** 0.5).rename("lithiation_sigma").transpose(*value.dims)
    result.attrs = {**value.attrs, "long_name": "Standard error of x in Li_x M", "method": method}
    return result


def host_covariance(unmixed: xr.Dataset, table: xr.DataArray, *, where: str) -> xr.DataArray | None:
    """Covariance of the weights of the hosts (component, component_other, ...), if it is there."""
    if "covariance" not in unmixed:
        if "weight_sigma" not in unmixed:
            raise InputError(
                f"{where}: the Dataset must hold 'covariance' or 'weight_sigma', got "
                f"{sorted(map(str, unmixed.data_vars))}. Unmix with covariance=True."
            )
        return None
    part = host_part(unmixed["covariance"], table, unmixed)
    part = host_part(part.rename(component="kept", component_other="component"), table, unmixed)
    return part.rename(component="component_other", kept="component")


def host_part(values: xr.DataArray, table: xr.DataArray, unmixed: xr.Dataset) -> xr.DataArray:
    """The hosts among all components, named as in the table of weights."""
    names = component_names(unmixed["weight"])
    chosen = [names.index(str(name)) for name in table["component"].values]
    return values.isel(component=chosen).assign_coords(component=table["component"].values)


def host_table(
    weights: Any, stoichiometry: Stoichiometry, moles: Stoichiometry | None, *, where: str
) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    """Weights of the phases that are hosts, with their x and their formula units per weight, both (component,)."""
    array = weights_of(weights, where=where)
    names = component_names(array)
    x = per_component(stoichiometry, names, where=where, what="stoichiometry")
    n = per_component(moles, names, where=where, what="moles") if moles is not None else np.ones(len(names))
    host = np.isfinite(x)
    if not host.any():
        raise InputError(f"{where}: at least one phase must be a host with an x of its own, got none of {names}.")
    if not np.all(n[host] > 0):
        raise InputError(
            f"{where}: moles must be positive for every host, got {n[host].tolist()}. Give mol per weight."
        )
    table = array.isel(component=np.flatnonzero(host))
    table = table.assign_coords(component=[name for name, is_host in zip(names, host, strict=True) if is_host])
    coords = {"component": table["component"]}
    return (
        table,
        xr.DataArray(x[host], dims="component", coords=coords),
        xr.DataArray(n[host], dims="component", coords=coords),
    )


def weights_of(weights: Any, *, where: str) -> xr.DataArray:
    """The DataArray of weights in what :func:`unmix` returned, or itself; a plain array has the component first."""
    if isinstance(weights, xr.Dataset):
        if "weight" not in weights:
            raise InputError(
                f"{where}: a Dataset must hold 'weight' (component, y, x), got {sorted(map(str, weights.data_vars))}. "
                "Give what operando.spectral.unmix returned."
            )
        weights = weights["weight"]
    if isinstance(weights, np.ndarray) and 1 <= weights.ndim <= 4:
        weights = xr.DataArray(weights, dims=("component", *SPACE[4 - weights.ndim :]))
    if not isinstance(weights, xr.DataArray):
        raise InputError(
            f"{where}: weights must be a DataArray with the dim component, got {type(weights).__name__}. Write "
            "xarray.DataArray(array, dims=('component', 'y', 'x'), coords={'component': names})."
        )
    if "component" not in weights.dims:
        raise AxesError(f"{where}: weights must have the dim component, got {weights.dims}. Rename or expand it.")
    return weights


def component_names(array: xr.DataArray) -> list[str]:
    """Names of the components, or ``component 0``, ``component 1``, ... where they have none."""
    if "component" in array.coords:
        return [str(name) for name in array.coords["component"].values]
    return [f"component {i}" for i in range(array.sizes["component"])]


def per_component(values: Any, names: Sequence[str], *, where: str, what: str) -> np.ndarray:
    """One float per name, NaN for None, from a mapping, a sequence or a DataArray."""
    if isinstance(values, xr.DataArray):
        if values.dims != ("component",):
            raise AxesError(f"{where}: {what} must have the dim component alone, got {values.dims}.")
        if "component" in values.coords:
            values = dict(zip(map(str, values.coords["component"].values), values.values.tolist(), strict=True))
        else:
            values = values.values.tolist()
    if isinstance(values, pd.Series) and not isinstance(values.index, pd.RangeIndex):
        values = values.to_dict()
    if isinstance(values, Mapping):
        table = {str(name): value for name, value in values.items()}
        missing = [name for name in names if name not in table]
        if missing:
            known = nearest(missing[0], table) if table else "It is empty."
            raise InputError(
                f"{where}: {what} must name every phase {list(names)}, {missing[0]!r} is missing. {known} Give None "
                "for a phase that is no host; name the phases of the weights: weights.assign_coords(component=[...])."
            )
        given: list[Any] = [table[name] for name in names]
    else:
        given = list(np.atleast_1d(values)) if isinstance(values, np.ndarray) or np.isscalar(values) else list(values)
        if len(given) != len(names):
            raise InputError(
                f"{where}: {what} must have one number per phase {list(names)}, got {len(given)}. "
                "A mapping of names to numbers is safer."
            )
    try:
        return np.array([np.nan if value is None else float(value) for value in given])
    except (TypeError, ValueError):
        raise InputError(f"{where}: {what} must be numbers or None, got {given!r}.") from None
