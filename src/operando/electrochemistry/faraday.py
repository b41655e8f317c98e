"""Faraday's law for lithium metal, through its tabulated capacity and density."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import xarray as xr

from operando.core import units
from operando.core.errors import InputError
from operando.core.lithium import DENSITY_G_CM3, SPECIFIC_CAPACITY_MAH_G

_UM3_PER_CM3 = 1e12
Number = TypeVar("Number", float, np.ndarray, xr.DataArray)


def lithium_volume(
    charge_mah: Number,
    *,
    specific_capacity_mah_g: float = SPECIFIC_CAPACITY_MAH_G,
    density_g_cm3: float = DENSITY_G_CM3,
) -> Number:
    r"""Volume of dense lithium that a charge moves.

    Parameters
    ----------
    charge_mah : float, ndarray or DataArray, any dims
        Charge in mAh; a DataArray may carry another unit of charge in ``attrs["units"]``.
    specific_capacity_mah_g : float
        Charge per mass of lithium, in mAh/g.
    density_g_cm3 : float
        Density of lithium, in g/cm3.

    Returns
    -------
    same kind as ``charge_mah``
        Volume in um3, with the sign of the charge; a DataArray keeps dims and coords and says "um3".

    Raises
    ------
    InputError, UnitsError
        Where a constant is not positive, or the unit is not one of charge.

    Notes
    -----
    .. math:: V = \frac{Q}{c\,\rho}

    Huang 2023, Supplementary Note 3. The defaults give 4.8514e8 um3 per mAh. The tabulated molar volume
    12.998 cm3/mol used by Dixit 2020 gives 4.8497e8, 0.03 % less. Assumes one electron per lithium and
    dense metal: side reactions and pores are what the ledger then shows as unaccounted.

    Reference
    ---------
    Huang et al., npj Computational Materials 9 (2023), doi:10.1038/s41524-023-01039-y

    Examples
    --------
    One mAh over one square centimeter (1e8 um2) is 4.8514 um of lithium:

    >>> round(lithium_volume(1.0) / 1e8, 4)
    4.8514
    """
    per_mah = _volume_per_mah(specific_capacity_mah_g, density_g_cm3, where="lithium_volume")
    return _scaled(charge_mah, per_mah, own="mAh", to="um3", long_name="Volume of lithium by Faraday's law")


def charge_of_volume(
    volume_um3: Number,
    *,
    specific_capacity_mah_g: float = SPECIFIC_CAPACITY_MAH_G,
    density_g_cm3: float = DENSITY_G_CM3,
) -> Number:
    """Charge that moves a volume of dense lithium; the inverse of :func:`lithium_volume`.

    Parameters
    ----------
    volume_um3 : float, ndarray or DataArray, any dims
        Volume in um3.
    specific_capacity_mah_g, density_g_cm3 : float
        As in :func:`lithium_volume`.

    Returns
    -------
    same kind as ``volume_um3``
        Charge in mAh, with the sign of the volume.

    Examples
    --------
    A cube of 1 mm holds 0.534 mg of lithium, thus 0.534e-3 g x 3860 mAh/g:

    >>> round(charge_of_volume(1e9), 5)
    2.06124
    """
    per_mah = _volume_per_mah(specific_capacity_mah_g, density_g_cm3, where="charge_of_volume")
    return _scaled(volume_um3, 1 / per_mah, own="um3", to="mAh", long_name="Charge by Faraday's law")


def _volume_per_mah(capacity: float, density: float, *, where: str) -> float:
    for name, value, unit in (
        ("specific_capacity_mah_g", capacity, "mAh/g"),
        ("density_g_cm3", density, "g/cm3"),
    ):
        if not (np.isfinite(value) and value > 0):
            raise InputError(
                f"{where}: {name} must be a positive number, got {value!r}. Give it in {unit} or leave it out."
            )
    return _UM3_PER_CM3 / (capacity * density)


def _scaled(value: Number, factor: float, *, own: str, to: str, long_name: str) -> Number:
    if value is None or isinstance(value, (str, bytes)):
        raise InputError(f"{long_name}: a number or array in {own} is needed, got {value!r}. Convert it first.")
    if not isinstance(value, xr.DataArray):
        return np.asarray(value) * factor if isinstance(value, (list, tuple)) else value * factor
    unit = str(value.attrs.get("units", own))
    if unit != own:
        factor = factor * units.factor(unit, own)
    return (value * factor).assign_attrs(units=to, long_name=long_name)
