"""The ledger's balance: what the images gained and lost in each interval, beside the coulombs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando.core.errors import AxesError, InputError, UnitsError
from operando.core.lithium import DENSITY_G_CM3, SPECIFIC_CAPACITY_MAH_G
from operando.core.quantities import quantity_table
from operando.electrochemistry.faraday import lithium_volume

SIDES = ("plating side", "stripping side")


def balance(
    volumes: xr.DataArray,
    charge_mah: xr.DataArray,
    *,
    inactive: xr.DataArray | None = None,
    sigma: xr.DataArray | None = None,
    correlation: float | xr.DataArray = 0.0,
    charge_sigma: xr.DataArray | None = None,
    level: float = 0.95,
    specific_capacity_mah_g: float = SPECIFIC_CAPACITY_MAH_G,
    density_g_cm3: float = DENSITY_G_CM3,
) -> pd.DataFrame:
    """Lithium plated, stripped, gone inactive and unaccounted for in every interval between two scans.

    Parameters
    ----------
    volumes : DataArray, dims (t, component), units "um3"
        Lithium on the ``plating side`` and the ``stripping side`` (the plating side is the one plated on
        first charge), as :func:`operando.morphometry.lithium_by_side` returns it.
    charge_mah : DataArray, dims (t), units "mAh"
        Charge since the scan before, positive where the plating side is plated, as
        :func:`charge_between` returns it. The first value is not used.
    inactive : DataArray, dims (t), units "um3", optional
        Lithium on the plating side without contact. It is part of the volume of that side.
    sigma : DataArray, dims (t, component), units "um3", optional
        Standard uncertainty of ``volumes`` and, as a third component ``inactive``, of ``inactive``.
    correlation : float or DataArray, dims (t, component)
        Correlation of the errors of a scan and the scan before: 0 where they are independent, near 1 where
        one segmenter makes the same error in both.
    charge_sigma : DataArray, dims (t), units "mAh", optional
        Standard uncertainty of the charge; default the coordinate ``sigma`` of ``charge_mah``, if any.
    level : float
        Two-sided level beyond which the image and the charge are said to disagree.
    specific_capacity_mah_g, density_g_cm3 : float
        As in :func:`lithium_volume`.

    Returns
    -------
    DataFrame
        A quantity table; ``scan`` and ``t`` are those of the later scan of the interval. Quantity ``balance``
        (um3), components

        - ``plated``: increase on the receiving side (the plating side while charging, the other while
          discharging),
        - ``stripped``: decrease on the giving side,
        - ``dead``: increase of the inactive lithium,
        - ``faraday``: volume of the charge that passed, never negative,
        - ``unaccounted``: faraday - plated: counted by the cycler, not seen to arrive,
        - ``imbalance``: plated - stripped: what the images alone gained from nowhere;

        quantity ``z-score`` (1) of ``unaccounted`` and ``imbalance``: value / sigma, NaN where no sigma is
        known, its ``method`` saying "disagrees" where it is beyond ``level``; and quantity
        ``apparent porosity`` (1) of ``plated``: the porosity that would explain more volume than charge
        (:func:`apparent_porosity`).

    Raises
    ------
    AxesError, InputError, UnitsError
        Where the arrays do not belong together.

    Notes
    -----
    A change between scans has the variance

    .. math:: \\sigma_\\Delta^2 = \\sigma_i^2 + \\sigma_{i-1}^2 - 2 r\\, \\sigma_i \\sigma_{i-1}

    with the ``correlation`` r; changes on the two sides count as independent. Nothing is adjusted to agree:
    ``unaccounted`` is reported as it is, with its interval. In an interval without net charge the plating
    side is taken as the receiving one. A side where lithium is plated and stripped within one interval shows
    only its net change.

    Examples
    --------
    2.06124 mAh, thus 1e9 um3, of which the image shows 9e8 arriving:

    >>> volumes = xr.DataArray([[0.0, 5e9], [9e8, 4e9]], dims=("t", "component"),
    ...     coords={"t": [0.0, 1.0], "component": list(SIDES)}, attrs={"units": "um3"})
    >>> charge = xr.DataArray([np.nan, 2.06124], dims="t", coords={"t": [0.0, 1.0]}, attrs={"units": "mAh"})
    >>> table = balance(volumes, charge).query("quantity == 'balance'").set_index("component")["value"]
    >>> (table[["plated", "stripped", "unaccounted"]] / 1e9).round(6).tolist()
    [0.9, 1.0, 0.1]
    """
    from scipy.stats import norm

    _check(volumes, charge_mah, inactive)
    if not 0 < level < 1:
        raise InputError(f"balance: level must be a probability between 0 and 1, got {level!r}. 0.95 is usual.")
    constants = {"specific_capacity_mah_g": specific_capacity_mah_g, "density_g_cm3": density_g_cm3}
    if charge_sigma is None:
        charge_sigma = charge_mah.coords.get("sigma")
    # Coordinates would be matched by value; scans belong together by position.
    passed = lithium_volume(charge_mah.drop_vars("sigma", errors="ignore"), **constants).values
    passed_sigma = (
        _nan(passed) if charge_sigma is None else np.asarray(lithium_volume(charge_sigma.values, **constants))
    )
    level_um3 = {side: volumes.sel(component=side).values.astype(float) for side in SIDES}
    if inactive is not None:
        level_um3["inactive"] = np.asarray(inactive.values, dtype=float)
    change, change_sigma = {}, {}
    for name, values in level_um3.items():
        change[name] = np.diff(values, prepend=np.nan)
        change_sigma[name] = _change_sigma(name, values, sigma, correlation)

    limit = float(norm.ppf(0.5 + level / 2))
    times = volumes.coords["t"].values if "t" in volumes.coords else np.full(volumes.sizes["t"], np.nan)
    rows: list[dict[str, Any]] = []
    for scan in range(1, volumes.sizes["t"]):
        charging = not passed[scan] < 0
        receives, gives = SIDES if charging else SIDES[::-1]
        moved = f"{'charging' if charging else 'discharging'}: {receives} receives"
        plated, plated_sigma = change[receives][scan], change_sigma[receives][scan]
        stripped, stripped_sigma = -change[gives][scan], change_sigma[gives][scan]
        faraday, faraday_sigma = abs(passed[scan]), passed_sigma[scan]
        entries = [
            ("plated", plated, plated_sigma, f"volume difference of the {receives}; {moved}"),
            ("stripped", stripped, stripped_sigma, f"volume difference of the {gives}; {moved}"),
        ]
        if inactive is not None:
            new, new_sigma = change["inactive"][scan], change_sigma["inactive"][scan]
            entries.append(("dead", new, new_sigma, "difference of lithium without contact on the plating side"))
        # A charge without known accuracy still leaves the images' share of the uncertainty.
        unaccounted_sigma = np.hypot(plated_sigma, np.nan_to_num(faraday_sigma))
        entries += [
            ("faraday", faraday, faraday_sigma, f"{density_g_cm3:g} g/cm3, {specific_capacity_mah_g:g} mAh/g; {moved}"),
            ("unaccounted", faraday - plated, unaccounted_sigma, f"faraday - plated; {moved}"),
            ("imbalance", plated - stripped, np.hypot(plated_sigma, stripped_sigma), f"plated - stripped; {moved}"),
        ]
        common = {"scan": scan, "t": float(times[scan])}
        for component, value, error, method in entries:
            rows.append({**common, "component": component, "quantity": "balance", "value": value, "sigma": error,
                         "unit": "um3", "method": method})  # fmt: skip
        for component, value, error, _ in entries[-2:]:
            score = value / error if error > 0 else np.nan
            verdict = "sigma not known" if np.isnan(score) else "disagrees" if abs(score) > limit else "agrees"
            rows.append({**common, "component": component, "quantity": "z-score", "value": score, "unit": "1",
                         "method": f"{verdict} at the {level:.0%} level"})  # fmt: skip
        porosity, porosity_sigma = _porosity(plated, faraday, plated_sigma, np.nan_to_num(faraday_sigma))
        rows.append({**common, "component": "plated", "quantity": "apparent porosity", "value": float(porosity),
                     "sigma": float(porosity_sigma), "unit": "1", "method": "1 - faraday / plated"})  # fmt: skip
    return quantity_table(rows)


def _check(volumes: xr.DataArray, charge: xr.DataArray, inactive: xr.DataArray | None) -> None:
    if set(volumes.dims) != {"t", "component"} or not set(SIDES) <= set(volumes.coords["component"].values.tolist()):
        have = volumes.coords["component"].values.tolist() if "component" in volumes.coords else []
        raise AxesError(
            f"balance: volumes need the dims (t, component) with the components {', '.join(SIDES)}, got dims "
            f"{volumes.dims} and components {have}. Make them with operando.morphometry.lithium_by_side."
        )
    for name, array, unit in (
        ("volumes", volumes, "um3"),
        ("charge_mah", charge, "mAh"),
        ("inactive", inactive, "um3"),
    ):
        if array is None:
            continue
        if name != "volumes" and array.dims != ("t",):
            raise AxesError(f"balance: {name} needs the dim t alone, got {array.dims}. Select or sum the others first.")
        if array.sizes["t"] != volumes.sizes["t"]:
            raise InputError(
                f"balance: {name} needs one value per scan, got {array.sizes['t']} for {volumes.sizes['t']} scans. "
                "Take the charge between the times of these scans."
            )
        if name != "charge_mah" and array.attrs.get("units", unit) != unit:
            raise UnitsError(f"balance: {name} must be in {unit}, got {array.attrs['units']!r}. Convert it first.")
    for name, array in (("charge_mah", charge), ("inactive", inactive)):
        if array is None or "t" not in array.coords or "t" not in volumes.coords:
            continue
        if not np.allclose(array.coords["t"], volumes.coords["t"], rtol=0, atol=1e-6):
            raise InputError(
                f"balance: {name} and volumes must be of the same scans, got times "
                f"{array.coords['t'].values.tolist()} and {volumes.coords['t'].values.tolist()}. Put both on one clock."
            )


def _nan(like: np.ndarray) -> np.ndarray:
    return np.full(like.shape, np.nan)


def _change_sigma(
    name: str, values: np.ndarray, sigma: xr.DataArray | None, correlation: float | xr.DataArray
) -> np.ndarray:
    if sigma is None or name not in sigma.coords["component"].values:
        return _nan(values)
    own = sigma.sel(component=name).values.astype(float)
    together: Any = correlation
    if isinstance(correlation, xr.DataArray):
        together = correlation.sel(component=name).values[1:]
    variance = own[1:] ** 2 + own[:-1] ** 2 - 2 * together * own[1:] * own[:-1]
    return np.concatenate([[np.nan], np.sqrt(np.maximum(variance, 0.0))])


def apparent_porosity(
    imaged_um3: Any, faraday_um3: Any, *, imaged_sigma: Any = np.nan, faraday_sigma: Any = 0.0
) -> tuple[Any, Any]:
    """Porosity of the imaged lithium that would explain why it is larger than the charge allows.

    Parameters
    ----------
    imaged_um3 : float, ndarray or DataArray, any dims, um3
        Volume that images show.
    faraday_um3 : same shape, um3
        Volume of dense lithium by Faraday's law, :func:`lithium_volume`.
    imaged_sigma, faraday_sigma : same shape, um3
        Their standard uncertainties.

    Returns
    -------
    porosity, sigma : same kind, units "1"
        NaN where the imaged volume is not larger than Faraday's, or that is not positive.

    Notes
    -----
    .. math:: \\varepsilon = 1 - V_\\mathrm{Faraday} / V_\\mathrm{imaged}

    An explanation, not a measurement: segmentation that is too generous looks the same. Huang 2023's plating
    side grew 2.23 times as thick as its charge, an apparent porosity of 0.55.

    Examples
    --------
    >>> porosity, sigma = apparent_porosity(2.0, 1.0, imaged_sigma=0.2)
    >>> round(float(porosity), 3), round(float(sigma), 3)
    (0.5, 0.05)
    """
    porosity, sigma = _porosity(imaged_um3, faraday_um3, imaged_sigma, faraday_sigma)
    if isinstance(imaged_um3, xr.DataArray):
        attrs = {"units": "1", "long_name": "Apparent porosity"}
        return imaged_um3.copy(data=porosity).assign_attrs(attrs), imaged_um3.copy(data=sigma).assign_attrs(attrs)
    return porosity, sigma


def _porosity(imaged: Any, faraday: Any, imaged_sigma: Any, faraday_sigma: Any) -> tuple[np.ndarray, np.ndarray]:
    imaged, faraday = np.asarray(imaged, dtype=float), np.asarray(faraday, dtype=float)
    larger = (imaged > faraday) & (faraday > 0)
    ratio = np.divide(faraday, imaged, out=np.full(np.broadcast(imaged, faraday).shape, np.nan), where=larger)
    relative = np.hypot(np.asarray(imaged_sigma) / np.where(larger, imaged, np.nan),
                        np.asarray(faraday_sigma) / np.where(larger, faraday, np.nan))  # fmt: skip
    return 1 - ratio, ratio * relative
