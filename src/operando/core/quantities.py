"""The quantity table: a measured number is a row, never a bare float.

Columns: ``scan, t, component, quantity, value, sigma, unit, n, method``. Stored as Parquet for
programs and CSV for people, this table *is* the lithium ledger.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando.core.errors import InputError

COLUMNS = ("scan", "t", "component", "quantity", "value", "sigma", "unit", "n", "method")
_TYPES = {"scan": "int64", "t": "float64", "value": "float64", "sigma": "float64", "n": "int64"}


def quantity_table(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Make a quantity table from rows.

    Parameters
    ----------
    rows : iterable of mappings
        Each with ``component, quantity, value, unit`` and optionally ``scan`` (-1 where a number
        belongs to no scan), ``t`` in hours (NaN), ``sigma`` (NaN: not known), ``n`` (number of
        voxels or samples behind the value; 0: not counted) and ``method``.

    Returns
    -------
    DataFrame
        With exactly :data:`COLUMNS`, in that order.

    Raises
    ------
    InputError
        Where a row lacks a needed field, has one too many, or a negative sigma.

    Examples
    --------
    >>> table = quantity_table([{"scan": 0, "t": 0.0, "component": "electrode", "quantity": "volume",
    ...     "value": 8.0, "sigma": 0.5, "unit": "um3", "n": 8, "method": "voxel count"}])
    >>> table.loc[0, "value"], table.loc[0, "unit"]
    (np.float64(8.0), 'um3')
    """
    defaults = {"scan": -1, "t": np.nan, "sigma": np.nan, "n": 0, "method": ""}
    complete = []
    for index, row in enumerate(rows):
        missing = [name for name in ("component", "quantity", "value", "unit") if name not in row]
        unknown = sorted(set(row) - set(COLUMNS))
        if missing or unknown:
            raise InputError(
                f"quantity_table: row {index} must have component, quantity, value, unit and only the columns "
                f"{', '.join(COLUMNS)}; missing {missing}, unknown {unknown}."
            )
        complete.append({**defaults, **row})
    table = pd.DataFrame(complete, columns=list(COLUMNS)).astype(_TYPES)
    for name in ("component", "quantity", "unit", "method"):
        table[name] = table[name].astype(str)
    if bool((table["sigma"] < 0).any()):
        bad = table.index[table["sigma"] < 0].tolist()
        raise InputError(f"quantity_table: sigma must not be negative, it is in rows {bad}. Leave it out if unknown.")
    return table


def rows_from_array(
    values: xr.DataArray,
    *,
    quantity: str,
    sigma: xr.DataArray | None = None,
    n: xr.DataArray | None = None,
    method: str = "",
) -> list[dict[str, Any]]:
    """Rows for a ``(t, component)`` or ``(component,)`` array with ``attrs["units"]``.

    The scan number is the position along ``t``.

    Examples
    --------
    >>> volumes = xr.DataArray([[1.0, 2.0]], dims=("t", "component"),
    ...     coords={"t": [0.5], "component": ["electrode", "pit"]}, attrs={"units": "um3"})
    >>> [(r["component"], r["t"], r["value"]) for r in rows_from_array(volumes, quantity="volume")]
    [('electrode', 0.5, 1.0), ('pit', 0.5, 2.0)]
    """
    unit = str(values.attrs.get("units", "1"))
    timed = "t" in values.dims
    if not timed:
        values = values.expand_dims("t")
        sigma = None if sigma is None else sigma.expand_dims("t")
        n = None if n is None else n.expand_dims("t")
    times = values.coords["t"].values if timed and "t" in values.coords else np.full(values.sizes["t"], np.nan)
    rows = []
    for scan, t in enumerate(times):
        for component in values.coords["component"].values:
            at = {"component": component}
            row: dict[str, Any] = {
                "scan": scan if timed else -1,
                "t": float(t),
                "component": str(component),
                "quantity": quantity,
                "value": float(values.isel(t=scan).sel(at)),
                "unit": unit,
                "method": method,
            }
            if sigma is not None:
                row["sigma"] = float(sigma.isel(t=scan).sel(at))
            if n is not None:
                row["n"] = int(n.isel(t=scan).sel(at))
            rows.append(row)
    return rows


def interval(table: pd.DataFrame, *, level: float = 0.95) -> pd.DataFrame:
    """Add ``low`` and ``high``, the central interval of a normal error with the row's sigma.

    Examples
    --------
    >>> table = quantity_table([{"component": "a", "quantity": "volume", "value": 10.0, "sigma": 1.0, "unit": "um3"}])
    >>> interval(table)[["low", "high"]].round(2).to_numpy().tolist()
    [[8.04, 11.96]]
    """
    from scipy.stats import norm

    half = norm.ppf(0.5 + level / 2) * table["sigma"]
    return table.assign(low=table["value"] - half, high=table["value"] + half)
