"""The lithium ledger: what was plated, stripped, lost and redeposited, per interval and since the beginning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando.core.errors import AxesError, InputError, UnitsError
from operando.core.lithium import DENSITY_G_CM3, SPECIFIC_CAPACITY_MAH_G
from operando.core.quantities import quantity_table
from operando.electrochemistry.balance import SIDES, balance
from operando.electrochemistry.faraday import charge_of_volume, lithium_volume

INTERVAL, CUMULATIVE = "balance", "cumulative"
DEPOSITS = {"plating side": ("deposited", "dendrite"), "stripping side": ("redeposited",)}
"""Phases that arrive on either side; what else a side gains is electrode."""
_UM2_PER_CM2 = 1e8


def ledger(
    volumes: xr.DataArray,
    charge_mah: xr.DataArray,
    *,
    area_um2: float | None = None,
    sigma: xr.DataArray | None = None,
    systematic: xr.DataArray | None = None,
    level: float = 0.95,
    specific_capacity_mah_g: float = SPECIFIC_CAPACITY_MAH_G,
    density_g_cm3: float = DENSITY_G_CM3,
) -> pd.DataFrame:
    """Account for the lithium of every scan: per interval, since the first scan, and beside the coulombs.

    Parameters
    ----------
    volumes : DataArray, dims (t, component), units "um3"
        Lithium on the ``plating side`` and the ``stripping side``, and where known ``inactive``, ``deposited``,
        ``dendrite`` and ``redeposited``; other components are not used.
    charge_mah : DataArray, dims (t), units "mAh"
        Charge since the scan before, as :func:`charge_between` returns it; the first value is not used.
    area_um2 : float, optional
        Area of the field of view. With it every volume is also given as a thickness and as a capacity.
    sigma : DataArray, dims (t, component), units "um3", optional
        Standard uncertainty of ``volumes``.
    systematic : DataArray, dims (t, component), units "um3", optional
        The part of ``sigma`` that is common to all scans and so cancels in changes. Default: none of it.
    level : float
        Two-sided level beyond which image and charge are said to disagree.
    specific_capacity_mah_g, density_g_cm3 : float
        As in :func:`lithium_volume`.

    Returns
    -------
    DataFrame
        A quantity table. ``scan`` and ``t`` are those of the later scan.

        Quantities ``balance`` (change since the scan before; receiving and giving side as in :func:`balance`) and
        ``cumulative`` (change since the first scan, plating and stripping side as they are named), in um3, with the
        components

        - ``plated``: gain of the receiving side; cumulative: of the plating side,
        - ``stripped``: loss of the giving side; cumulative: of the stripping side,
        - ``dead``: gain of lithium without contact,
        - ``redeposited``: gain of lithium redeposited on the stripping side,
        - ``faraday``: what the charge stands for; cumulative: signed,
        - ``unaccounted``: faraday - plated,
        - ``imbalance``: plated - stripped.

        With ``area_um2`` the same as ``balance thickness`` and ``cumulative thickness`` (um) and as ``balance
        capacity`` and ``cumulative capacity`` (mAh cm-2).

        Per half cycle (scans between two reversals of the current), since its beginning, component ``charge`` or
        ``discharge``:

        - ``image over charge`` (1): gain of the receiving side over Faraday's volume (Huang 2023, Suppl. Fig. 8);
        - ``apparent porosity`` (1): the porosity of the lithium deposited meanwhile (deposited and dendrites, or
          redeposited) that would close the balance. Negative where the image shows less than the charge, which no
          porosity explains.

        And ``z-score`` and, per interval, ``apparent porosity`` of ``plated`` as in :func:`balance`.

    Raises
    ------
    AxesError, InputError, UnitsError
        Where the arrays do not belong together or the area is not positive.

    Notes
    -----
    With total sigma :math:`\\sigma_i` and common part :math:`s_i`, a change between scans i and j has the variance

    .. math:: \\sigma_{ij}^2 = \\sigma_i^2 + \\sigma_j^2 - 2 s_i s_j

    Sides count as independent. Errors of the charge are taken as common to all intervals and add up linearly, for
    either direction of the current: a bound from above, since a wrong gain cancels over a whole cycle. The porosity
    that closes a half cycle is

    .. math:: \\varepsilon = (V_\\mathrm{gain} - V_\\mathrm{Faraday}) / V_\\mathrm{deposit}

    in which the error of the gain dominates and that of the deposit is propagated as independent of it. Nothing is
    adjusted to agree.

    Examples
    --------
    2.06124 mAh on 1 cm2, thus 1e9 um3 or 10 um; the image shows 1.25e9 um3 of deposit arriving:

    >>> names = ["plating side", "stripping side", "deposited"]
    >>> volumes = xr.DataArray([[0.0, 5e9, 0.0], [1.25e9, 4e9, 1.25e9]], dims=("t", "component"),
    ...     coords={"t": [0.0, 1.0], "component": names}, attrs={"units": "um3"})
    >>> charge = xr.DataArray([np.nan, 2.06124], dims="t", coords={"t": [0.0, 1.0]}, attrs={"units": "mAh"})
    >>> table = ledger(volumes, charge, area_um2=1e8)
    >>> def value(quantity, component):
    ...     return round(float(table.query("quantity == @quantity and component == @component")["value"].iloc[0]), 3)
    >>> value("cumulative thickness", "plated"), value("cumulative capacity", "faraday")
    (12.5, 2.061)
    >>> value("image over charge", "charge"), value("apparent porosity", "charge")
    (1.25, 0.2)
    """
    where = "ledger"
    _check(volumes, charge_mah, sigma, systematic, where=where)
    if area_um2 is not None and not (isinstance(area_um2, int | float | np.number) and 0 < area_um2 < np.inf):
        raise InputError(
            f"{where}: area_um2 must be a positive area in um2, got {area_um2!r}. Take morphometry.roi_area."
        )
    names = volumes.coords["component"].values.tolist() if "component" in volumes.coords else []
    constants = {"specific_capacity_mah_g": specific_capacity_mah_g, "density_g_cm3": density_g_cm3}
    known = _Known(volumes, sigma, systematic)
    inactive = volumes.sel(component="inactive", drop=True) if "inactive" in names else None
    table = balance(
        volumes,
        charge_mah,
        inactive=inactive,
        sigma=sigma,
        correlation=known.correlation() if sigma is not None else 0.0,
        level=level,
        specific_capacity_mah_g=specific_capacity_mah_g,
        density_g_cm3=density_g_cm3,
    )
    passed = lithium_volume(charge_mah.drop_vars("sigma", errors="ignore"), **constants).values.astype(float)
    error = charge_mah.coords.get("sigma")
    passed_sigma = np.zeros(passed.shape) if error is None else lithium_volume(error.values.astype(float), **constants)

    scans = volumes.sizes["t"]
    times = volumes.coords["t"].values if "t" in volumes.coords else np.full(scans, np.nan)
    rows: list[dict[str, Any]] = []
    if "redeposited" in names:
        for scan in range(1, scans):
            value, spread = known.change("redeposited", scan - 1, scan)
            rows.append(
                _row(scan, times, "redeposited", INTERVAL, value, spread, "um3", "difference to the scan before")
            )
    for scan in range(1, scans):
        rows += _cumulative(known, names, scan, times, passed, passed_sigma)
    for start, end, sign in half_cycles(passed):
        for scan in range(start + 1, end + 1):
            rows += _half_cycle(known, names, start, scan, sign, times, passed, passed_sigma)
    table = pd.concat([table, quantity_table(rows)], ignore_index=True)
    if area_um2 is not None:
        table = pd.concat([table, _per_area(table, area_um2, constants)], ignore_index=True)
    order = {name: place for place, name in enumerate(dict.fromkeys(table["quantity"]))}
    return table.sort_values(
        ["scan", "quantity"],
        key=lambda column: column.map(order) if column.name == "quantity" else column,
        kind="stable",
    ).reset_index(drop=True)


def half_cycles(charge: Sequence[float] | np.ndarray) -> list[tuple[int, int, int]]:
    """First scan, last scan and sign of every run of intervals in which the charge has one sign.

    Parameters
    ----------
    charge : sequence of float
        Charge (or its volume) since the scan before; the first value is not used. Intervals without charge
        belong to the run before them.

    Returns
    -------
    list of (int, int, int)
        Scans at which a run begins and ends, +1 for charging and -1 for discharging.

    Examples
    --------
    >>> half_cycles([np.nan, 1.0, 1.0, 0.0, -1.0, -1.0])
    [(0, 3, 1), (3, 5, -1)]
    """
    signs = np.sign(np.nan_to_num(np.asarray(charge, dtype=float)[1:])).astype(int)
    runs: list[tuple[int, int, int]] = []
    for scan, sign in enumerate(signs.tolist(), start=1):
        if runs and sign in (0, runs[-1][2]):
            runs[-1] = (runs[-1][0], scan, runs[-1][2])
        elif runs or sign:
            runs.append((scan - 1, scan, sign))
    return runs


def _check(volumes: Any, charge: Any, sigma: Any, systematic: Any, *, where: str) -> None:
    for name, array in (("volumes", volumes), ("charge_mah", charge), ("sigma", sigma), ("systematic", systematic)):
        if not isinstance(array, xr.DataArray) and (array is not None or name in ("volumes", "charge_mah")):
            raise InputError(
                f"{where}: {name} must be a DataArray, got {type(array).__name__}. Label it with "
                "xarray.DataArray(values, dims=('t', 'component'), coords={'component': names}), the charge with "
                "dims='t' alone."
            )
    for name, array in (("sigma", sigma), ("systematic", systematic)):
        if array is None:
            continue
        if set(array.dims) != {"t", "component"} or array.sizes["t"] != volumes.sizes.get("t"):
            raise AxesError(
                f"{where}: {name} needs the dims (t, component) and the scans of volumes, got {dict(array.sizes)} for "
                f"{dict(volumes.sizes)}. Make it with operando.morphometry.segmentation_sigma and the same labels."
            )
        if array.attrs.get("units", "um3") != "um3":
            raise UnitsError(f"{where}: {name} must be in um3, got {array.attrs['units']!r}. Convert it first.")


class _Known:
    """Volumes with the total and the common part of their uncertainty; changes between any two scans."""

    def __init__(self, volumes: xr.DataArray, sigma: xr.DataArray | None, systematic: xr.DataArray | None) -> None:
        self._values, self._sigma, self._common = (
            None if array is None else array.transpose("t", "component") for array in (volumes, sigma, systematic)
        )

    def correlation(self) -> xr.DataArray:
        """Of the error of each scan with that of the scan before."""
        assert self._sigma is not None
        total = self._sigma.values.astype(float)
        result = np.zeros_like(total)
        if self._common is not None:
            # What no common part is known of has none.
            own = self._sigma.component.values
            common = self._common.reindex(component=own, fill_value=0.0).values.astype(float)
            product = total[1:] * total[:-1]
            np.divide(common[1:] * common[:-1], product, out=result[1:], where=product > 0)
        return self._sigma.copy(data=result)

    def change(self, name: str, first: int, last: int) -> tuple[float, float]:
        """Difference between two scans and its sigma."""
        return self.total((name,), first, last)

    def total(self, names: Sequence[str], first: int, last: int) -> tuple[float, float]:
        """Sum of the differences of several components, whose errors count as independent."""
        assert self._values is not None
        value, variance = 0.0, 0.0
        for name in names:
            column = self._values.sel(component=name).values
            value += float(column[last]) - float(column[first])
            variance += self._variance(name, first, last)
        return value, float(np.sqrt(variance))

    def _variance(self, name: str, first: int, last: int) -> float:
        if self._sigma is None or name not in self._sigma.coords["component"].values:
            return np.nan
        own = self._sigma.sel(component=name).values.astype(float)
        shared = 0.0
        if self._common is not None and name in self._common.coords["component"].values:
            common = self._common.sel(component=name).values.astype(float)
            shared = float(common[first] * common[last])
        return max(float(own[first] ** 2 + own[last] ** 2) - 2 * shared, 0.0)


def _row(
    scan: int, times: np.ndarray, component: str, quantity: str, value: float, sigma: float, unit: str, method: str
) -> dict[str, Any]:
    return {"scan": scan, "t": float(times[scan]), "component": component, "quantity": quantity, "value": value,
            "sigma": sigma, "unit": unit, "method": method}  # fmt: skip


def _cumulative(
    known: _Known, names: Sequence[str], scan: int, times: np.ndarray, passed: np.ndarray, passed_sigma: np.ndarray
) -> list[dict[str, Any]]:
    plating, stripping = SIDES
    plated, plated_sigma = known.change(plating, 0, scan)
    lost, lost_sigma = known.change(stripping, 0, scan)
    faraday, faraday_sigma = float(passed[1 : scan + 1].sum()), float(passed_sigma[1 : scan + 1].sum())
    since = "since the first scan"
    entries = [
        ("plated", plated, plated_sigma, f"gain of the {plating} {since}"),
        ("stripped", -lost, lost_sigma, f"loss of the {stripping} {since}"),
    ]
    for component, name in (("dead", "inactive"), ("redeposited", "redeposited")):
        if name in names:
            entries.append((component, *known.change(name, 0, scan), f"gain of {name} lithium {since}"))
    entries += [
        ("faraday", faraday, faraday_sigma, f"net charge {since}"),
        ("unaccounted", faraday - plated, float(np.hypot(plated_sigma, faraday_sigma)), "faraday - plated"),
        ("imbalance", plated + lost, float(np.hypot(plated_sigma, lost_sigma)), "plated - stripped"),
    ]
    return [_row(scan, times, name, CUMULATIVE, value, error, "um3", method) for name, value, error, method in entries]


def _half_cycle(
    known: _Known,
    names: Sequence[str],
    start: int,
    scan: int,
    sign: int,
    times: np.ndarray,
    passed: np.ndarray,
    passed_sigma: np.ndarray,
) -> list[dict[str, Any]]:
    receives = SIDES[0] if sign > 0 else SIDES[1]
    stage = "charge" if sign > 0 else "discharge"
    gain, gain_sigma = known.change(receives, start, scan)
    faraday = abs(float(passed[start + 1 : scan + 1].sum()))
    faraday_sigma = float(passed_sigma[start + 1 : scan + 1].sum())
    if not faraday > 0:
        return []
    ratio = gain / faraday
    since = f"of the {receives} since scan {start}"
    rows = [
        _row(
            scan,
            times,
            stage,
            "image over charge",
            ratio,
            float(np.hypot(gain_sigma, ratio * faraday_sigma)) / faraday,
            "1",
            f"gain {since} / Faraday's volume",
        )
    ]
    deposits = [name for name in DEPOSITS[receives] if name in names]
    deposit, deposit_sigma = known.total(deposits, start, scan)
    if deposit > 0:
        porosity = (gain - faraday) / deposit
        error = float(np.sqrt(gain_sigma**2 + faraday_sigma**2 + (porosity * deposit_sigma) ** 2)) / deposit
        method = f"(gain {since} - Faraday's volume) / new {' and '.join(deposits)}"
        rows.append(_row(scan, times, stage, "apparent porosity", porosity, error, "1", method))
    return rows


def _per_area(table: pd.DataFrame, area_um2: float, constants: dict[str, float]) -> pd.DataFrame:
    """The rows in um3 as a thickness and as a capacity of the field of view."""
    own = table[table["quantity"].isin([INTERVAL, CUMULATIVE])]
    parts = []
    for suffix, factor, unit in (
        ("thickness", 1 / area_um2, "um"),
        ("capacity", charge_of_volume(1.0, **constants) * _UM2_PER_CM2 / area_um2, "mAh cm-2"),
    ):
        parts.append(
            own.assign(
                quantity=own["quantity"] + f" {suffix}",
                value=own["value"] * factor,
                sigma=own["sigma"] * factor,
                unit=unit,
                method=own["method"] + " / area of the field of view",
            )
        )
    return pd.concat(parts, ignore_index=True)
