"""Growth beside the current: how fast dense lithium would grow, and what the difference says."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from operando.core.errors import InputError, UnitsError
from operando.core.lithium import DENSITY_G_CM3, SPECIFIC_CAPACITY_MAH_G
from operando.core.quantities import quantity_table
from operando.dendrites.growth import minutes
from operando.electrochemistry.faraday import lithium_volume


def dense_growth_rate(
    current_density_ma_cm2: float,
    *,
    specific_capacity_mah_g: float = SPECIFIC_CAPACITY_MAH_G,
    density_g_cm3: float = DENSITY_G_CM3,
) -> float:
    r"""Growth rate of a flat, dense layer of lithium under a current density, in um min-1.

    Parameters
    ----------
    current_density_ma_cm2 : float
        In mA cm-2 of the electrode's projected area, positive where lithium is plated.
    specific_capacity_mah_g, density_g_cm3 : float
        As in :func:`operando.electrochemistry.lithium_volume`.

    Notes
    -----
    .. math:: v_\mathrm{F} = \frac{j}{c\,\rho}

    Faraday's law for a current that is the same everywhere and plates lithium only.

    Examples
    --------
    The current density of data set 1 of Ma 2021:

    >>> round(dense_growth_rate(0.6), 4)
    0.0485
    """
    if not np.isfinite(current_density_ma_cm2):
        raise InputError(
            f"dense_growth_rate: a finite current density in mA cm-2 is needed, got {current_density_ma_cm2!r}."
        )
    um3_per_h = lithium_volume(
        float(current_density_ma_cm2), specific_capacity_mah_g=specific_capacity_mah_g, density_g_cm3=density_g_cm3
    )
    return float(um3_per_h) / 1e8 / 60.0


def faraday_rows(
    height: xr.DataArray,
    *,
    current_density_ma_cm2: float,
    current_sigma_ma_cm2: float = 0.0,
    interval_min: float | None = None,
    component: str = "lithium",
) -> pd.DataFrame:
    r"""Measured mean growth beside that of dense lithium by Faraday's law, interval by interval and in all.

    Parameters
    ----------
    height : DataArray, dims (t, x), units "um"
        As :func:`operando.dendrites.height` returns it, over the time the current was on.
    current_density_ma_cm2, current_sigma_ma_cm2 : float
        Current density of the projected area and its standard uncertainty, in mA cm-2.
    interval_min : float, optional
        Time between frames in min, for a height without times.
    component : str
        For the column ``component``.

    Returns
    -------
    DataFrame
        A quantity table. For each interval (``scan`` and ``t``, in h, of its later frame) and for the whole series
        (``scan`` -1): "mean growth rate" (um min-1), "dense growth rate" (um min-1), "growth over dense" (1) and
        "apparent porosity" (1) of what grew, 1 - dense / measured. Nothing is forced to agree: a negative porosity says
        that less was seen to grow than the charge allows, and it is NaN where nothing grew.

    Raises
    ------
    UnitsError, InputError
        Where the height has no length or no time.

    Notes
    -----
    .. math:: p = 1 - \frac{v_\mathrm{F}}{\bar v}

    The mean counts what lies under the outermost line, hollow or not: dendrites at full depletion give porosities
    near 1, which is a statement about the envelope. Sigmas take the errors of columns as independent along x; what is
    common to all columns of a frame (drift of the stage) is not seen. The current flows through the projected
    area only as far as the field shows the whole electrode's average.

    Examples
    --------
    Half a micrometer per minute at 0.6 mA cm-2, ten times what dense lithium would take:

    >>> h = xr.DataArray([[10.0, 10.0], [12.5, 12.5]], dims=("t", "x"), attrs={"units": "um"},
    ...     coords={"t": ("t", [0.0, 300.0], {"units": "s"})})
    >>> rows = faraday_rows(h, current_density_ma_cm2=0.6).query("scan == -1")
    >>> dict(zip(rows["quantity"], rows["value"].round(3)))["apparent porosity"]
    0.903
    """
    if str(height.attrs.get("units", "px")) != "um":
        raise UnitsError(
            f"faraday_rows: heights in um are needed, got {height.attrs.get('units', 'px')!r}. "
            "Set the pixel size with operando.calibrate(image, voxel_size_um=...) first."
        )
    times, unit = minutes(height, interval_min=interval_min, where="faraday_rows")
    if unit != "min":
        raise UnitsError("faraday_rows: the time of each frame is needed, got frame numbers. Pass interval_min=.")
    if not (np.isfinite(current_sigma_ma_cm2) and current_sigma_ma_cm2 >= 0):
        raise InputError(f"faraday_rows: current_sigma_ma_cm2 must not be negative, got {current_sigma_ma_cm2!r}.")
    dense, dense_sigma = dense_growth_rate(current_density_ma_cm2), dense_growth_rate(current_sigma_ma_cm2)
    values = height.transpose("t", "x").values.astype(float)
    seen = np.isfinite(values)
    # NaN where a frame shows no interface.
    columns = np.where(seen.any(axis=1), seen.sum(axis=1), np.nan)
    mean = np.where(seen, values, 0.0).sum(axis=1) / columns
    error = np.full(len(mean), np.nan)
    if "sigma" in height.coords:
        squared = np.where(seen, height.coords["sigma"].transpose("t", "x").values ** 2, 0.0)
        error = np.sqrt(squared.sum(axis=1)) / columns
    spans = [(i - 1, i, i) for i in range(1, len(times))] + [(0, len(times) - 1, -1)]
    rows = []
    for first, last, scan in spans:
        gap = times[last] - times[first]
        rate, sigma = (mean[last] - mean[first]) / gap, float(np.hypot(error[last], error[first])) / gap
        ratio = rate / dense if dense else np.nan
        ratio_sigma = abs(ratio) * np.hypot(_share(sigma, rate), _share(dense_sigma, dense))
        porosity = 1 - dense / rate if rate > 0 else np.nan
        porosity_sigma = abs(1 - porosity) * np.hypot(_share(sigma, rate), _share(dense_sigma, dense))
        common = {"scan": scan, "t": times[last] / 60.0, "component": component, "n": int(seen[last].sum())}
        for quantity, value, spread, per in (
            ("mean growth rate", rate, sigma, "um min-1"),
            ("dense growth rate", dense, dense_sigma, "um min-1"),
            ("growth over dense", ratio, ratio_sigma, "1"),
            ("apparent porosity", porosity, porosity_sigma, "1"),
        ):
            method = (
                f"{current_density_ma_cm2:g} mA cm-2, dense metal" if quantity != "mean growth rate" else "interface"
            )
            rows.append(
                {**common, "quantity": quantity, "value": value, "sigma": spread, "unit": per, "method": method}
            )
    return quantity_table(rows)


def _share(sigma: float, value: float) -> float:
    return abs(sigma / value) if value else float("nan")
