"""When a current empties the electrolyte at an electrode: Sand's time, the limiting current, the voltage's own mark."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando.core.errors import InputError
from operando.core.lithium import FARADAY_C_MOL
from operando.core.quantities import quantity_table
from operando.electrochemistry.salt_diffusion import (
    Diffusivity,
    as_numbers,
    check_positive,
    check_transference,
    displacement_rate,
    salt_diffusion,
)

_GAS_J_MOL_K = 8.31446261815324


def sand_time(current_density: Any, concentration: Any, diffusivity: Any, *, transference: Any = 0.0) -> Any:
    """Time after which a constant current has emptied the electrolyte at the plated electrode (Sand's equation).

    Parameters
    ----------
    current_density : float or array, mA cm-2
        Magnitude, over the area through which it really flows.
    concentration : float or array, mol L-1
        Of the salt before the current.
    diffusivity : float or array, m2 s-1
        Of the salt (ambipolar), one number. :func:`depletion_time` takes one that follows the concentration.
    transference : float or array
        Of the cation, t+, below 1. Where it is not known, pass an array and read the time as a function of it.

    Returns
    -------
    float or array, s
        Of the shape to which the arguments broadcast; a DataArray stays one.

    Raises
    ------
    InputError
        Where current, concentration or diffusivity is not positive or the transference not below 1.

    Notes
    -----
    .. math:: \\tau = \\pi D \\left( \\frac{F c_0}{2 J (1 - t_+)} \\right)^2 = \\frac{\\pi D}{4 w^2}

    with :math:`w` of :func:`displacement_rate`. For a flat electrode, an even current, constant D and t+, no
    convection, and a diffusion layer much thinner than the electrolyte: it holds where :math:`\\sqrt{D\\tau}` is below
    about a quarter of the thickness. In a thinner cell, below the :func:`limiting_current`, the salt is never used up.
    The error is twice that of the current and of the concentration: 10 % of area are 20 % of time.

    Reference
    ---------
    H. J. S. Sand, Phil. Mag. 1, 45 (1901); J.-N. Chazalviel, Phys. Rev. A 42, 7355 (1990)

    Examples
    --------
    >>> round(sand_time(10.0, 1.0, 3.197e-10), 1), round(sand_time(10.0, 1.0, 3.197e-10, transference=0.4), 1)
    (233.8, 649.3)
    """
    current_density, diffusivity = as_numbers(current_density, diffusivity)
    check_positive("sand_time", current_density=current_density, diffusivity=diffusivity)
    rate = displacement_rate(current_density, concentration, transference=transference)
    return np.pi * diffusivity * 1e12 / (4 * rate**2)


def limiting_current(
    concentration: float, diffusivity: Diffusivity, *, thickness_um: float, transference: float = 0.0
) -> float:
    """Largest current density that diffusion between two lithium electrodes sustains for ever.

    Parameters
    ----------
    concentration : float, mol L-1
        Mean of the salt, which is that before the current.
    diffusivity : float or callable of concentration, m2 s-1
    thickness_um : float
        Of the electrolyte.
    transference : float
        Of the cation, t+, below 1.

    Returns
    -------
    float, mA cm-2

    Raises
    ------
    InputError
        Where a number is not positive or the transference not below 1.

    Notes
    -----
    .. math:: J_\\mathrm{lim} = \\frac{2 F D c_0}{(1 - t_+) L}, \\quad \\text{and with } D(c): \\quad
              J_\\mathrm{lim} = \\frac{F}{(1 - t_+) L} \\int_0^{c_m} D\\, dc, \\quad
              \\int_0^{c_m} (c - c_0) D\\, dc = 0

    In the steady state :math:`D\\, dc/dy` is the same everywhere, so that the profile is the integral of D, and the
    salt that is there sets its upper end :math:`c_m` (2 c0 for a constant D).

    Examples
    --------
    >>> round(limiting_current(1.0, 3.197e-10, thickness_um=100, transference=0.4), 1)
    102.8
    >>> round(limiting_current(1.0, lambda c: 3.197e-10 + 0 * c, thickness_um=100, transference=0.4), 1)
    102.8
    """
    where = "limiting_current"
    check_positive(where, concentration=concentration, thickness_um=thickness_um)
    check_transference(where, transference)
    if callable(diffusivity):
        integral = _integral_to_the_limit(diffusivity, concentration)
    else:
        check_positive(where, diffusivity=diffusivity)
        integral = 2 * diffusivity * concentration
    # mol L-1 m2 s-1 over um: 1e3 mol m-3, 1e6 um in a meter, 0.1 mA cm-2 in A m-2.
    return float(0.1 * FARADAY_C_MOL * 1e9 * integral / ((1 - transference) * thickness_um))


def _integral_to_the_limit(diffusivity: Any, concentration: float) -> float:
    from scipy.integrate import cumulative_trapezoid

    highest = 4 * concentration
    while True:
        c = np.linspace(0.0, highest, 40001)
        spread = np.broadcast_to(np.asarray(diffusivity(c), dtype=float), c.shape)
        if not (np.isfinite(spread) & (spread > 0)).all():
            raise InputError(
                f"limiting_current: the diffusivity must be positive from 0 to {highest:g} mol L-1, got "
                f"{np.nanmin(spread):g} m2 s-1. Hold it constant outside of the range that was measured."
            )
        excess = cumulative_trapezoid((c - concentration) * spread, c, initial=0.0)
        # A diffusivity that falls off with the salt sets no upper end: what it can carry has converged by then.
        if excess[-1] >= 0 or highest > 60 * concentration:
            total = cumulative_trapezoid(spread, c, initial=0.0)
            # Up to c0 the excess only falls; it is monotonic beyond.
            beyond = c > concentration
            return float(np.interp(np.interp(0.0, excess[beyond], c[beyond]), c, total))
        highest *= 2


def depletion_time(
    current_density: float,
    concentration: float,
    diffusivity: Diffusivity,
    *,
    thickness_um: float,
    transference: float = 0.0,
    cells: int = 120,
) -> float:
    """Sand's time with a diffusivity that follows the concentration, in an electrolyte of finite thickness.

    Parameters
    ----------
    current_density : float, mA cm-2
        Magnitude.
    concentration : float, mol L-1
        Before the current.
    diffusivity : float or callable of concentration, m2 s-1
    thickness_um : float
        Of the electrolyte between two flat lithium electrodes.
    transference : float
        Of the cation, t+, below 1.
    cells : int
        Of the grid of :func:`salt_diffusion`.

    Returns
    -------
    float, s
        Infinity where the current stays below the limiting one.

    Raises
    ------
    InputError
        As :func:`sand_time` and :func:`salt_diffusion`.

    Notes
    -----
    The equation is that of :func:`salt_diffusion`, integrated until the concentration at the plated electrode is 0.
    Of an electrolyte thicker than twenty times the largest D / w, which the layer never crosses, no more than that is
    solved for: so the grid is fine beside the electrode whatever the current.

    Examples
    --------
    A thick cell with constant diffusivity is Sand's:

    >>> time = depletion_time(10.0, 1.0, 3.197e-10, thickness_um=5000, transference=0.4)
    >>> bool(abs(time / sand_time(10.0, 1.0, 3.197e-10, transference=0.4) - 1) < 2e-3)
    True
    >>> depletion_time(1.0, 1.0, 3.197e-10, thickness_um=100, transference=0.4)
    inf
    """
    where = "depletion_time"
    check_positive(where, current_density=current_density)
    limit = limiting_current(concentration, diffusivity, thickness_um=thickness_um, transference=transference)
    # At the limit itself the surface is empty only after infinite time.
    if current_density <= limit * (1 + 1e-6):
        return float("inf")
    rate = displacement_rate(current_density, concentration, transference=transference)
    occurring = np.linspace(0.0, 4 * concentration, 401)
    spread = np.max(diffusivity(occurring)) if callable(diffusivity) else diffusivity
    # D / w in um: about the depth of the layer when the surface is empty.
    thickness_um = min(thickness_um, 20 * float(spread) * 1e12 / rate)
    end = thickness_um / rate  # by then all of the salt is displaced
    solved = salt_diffusion(
        [0.0, end],
        thickness_um=thickness_um,
        concentration=concentration,
        diffusivity=diffusivity,
        rate_um_s=rate,
        cells=cells,
    )
    return float(solved.attrs["depleted_s"])


def transition_time(
    record: pd.DataFrame, *, tolerance: float = 0.01, limit_v: float | None = None, rest_ma: float | None = None
) -> pd.DataFrame:
    """When a constant current could not be held any longer, as the voltage tells it.

    Parameters
    ----------
    record : DataFrame
        With ``time_h``, ``current_ma`` and ``voltage_v``, as :func:`read_cycler` returns.
    tolerance : float
        Share by which the current must fall short of its constant value to count as given up.
    limit_v : float, optional
        Voltage limit of the cycler. Default: the highest magnitude in the record.
    rest_ma : float, optional
        Currents up to this count as rest. Default: 2 % of the largest.

    Returns
    -------
    DataFrame
        A quantity table of ``cell``: ``transition time`` (h, since the current began; ``t`` on the clock of the record;
        NaN where the current was held), ``time under constant current`` (h), ``constant current`` (mA, its magnitude;
        ``t`` is when it began), ``voltage at the end`` (V) of the constant current, ``voltage at the start`` (V).
        ``attrs["kind"]`` is "voltage limit" or "none".

    Raises
    ------
    InputError
        Where a column is missing, no current flows, or the tolerance is no fraction.

    Notes
    -----
    In chronopotentiometry the transition time is when the voltage runs away because the salt at an electrode is used
    up. A voltage that reaches the limit says that the cell could not carry the current, not why: a film, a lost
    contact, or a lack of salt all do it. Sigma is the spacing of the rows over the root of 12, or the usual
    spacing where the cycler logged faster just then.

    Examples
    --------
    >>> record = pd.DataFrame({"time_h": [0.0, 1.0, 2.0, 3.0], "current_ma": [0.1, 0.1, 0.1, 0.05],
    ...     "voltage_v": [0.2, 0.4, 1.5, 1.5]})
    >>> found = transition_time(record).set_index("quantity")["value"]
    >>> found["transition time"], found["voltage at the end"]
    (np.float64(2.5), np.float64(1.5))
    """
    where = "transition_time"
    missing = [name for name in ("time_h", "current_ma", "voltage_v") if name not in record]
    if missing:
        raise InputError(f"{where}: the record lacks {missing}, got {list(record.columns)}. Read it with read_cycler.")
    if not 0 < tolerance < 1:
        raise InputError(f"{where}: tolerance must be a fraction between 0 and 1, got {tolerance!r}. 0.01 means 1 %.")
    time, current, voltage = (record[name].to_numpy(dtype=float) for name in ("time_h", "current_ma", "voltage_v"))
    largest = float(np.abs(current).max(initial=0.0))
    if not largest > 0:
        raise InputError(f"{where}: the record must hold a current, got none. Check the column of the current.")
    flowing = np.flatnonzero(np.abs(current) > (0.02 * largest if rest_ma is None else rest_ma))
    first = int(flowing[0])
    # One lone first row may be the ramp: the second tells what is held.
    held = np.abs(current[min(first + 1, current.size - 1)])
    short = np.flatnonzero(np.abs(current[first + 1 :]) < (1 - tolerance) * held)
    top = float(np.nanmax(np.abs(voltage))) if limit_v is None else abs(limit_v)
    end = first + int(short[0]) if short.size else current.size - 1
    # A current that stops while the voltage is low was switched off; the limit is reached to a hundredth.
    near = np.nanmax(np.abs(voltage[max(end - 1, first) : end + 2]))
    kind = "voltage limit" if short.size and near >= 0.99 * top else "none"
    began = time[first]
    after = time[min(end + 1, time.size - 1)]
    at = (time[end] + after) / 2
    sigma = max(after - time[end], float(np.median(np.diff(time)))) / np.sqrt(12)
    seen = f"current {tolerance:.0%} below {held:.4g} mA" if kind != "none" else "the current was held or switched off"
    row: dict[str, Any] = {"component": "cell", "method": seen, "t": at}
    table = quantity_table([
        row | {"quantity": "transition time", "unit": "h", "sigma": sigma,
               "value": at - began if kind != "none" else np.nan, "t": at if kind != "none" else np.nan},
        row | {"quantity": "time under constant current", "unit": "h", "value": time[end] - began, "sigma": sigma},
        row | {"quantity": "constant current", "unit": "mA", "value": held, "t": began},
        row | {"quantity": "voltage at the start", "unit": "V", "value": voltage[first], "t": began},
        row | {"quantity": "voltage at the end", "unit": "V", "value": voltage[end], "t": time[end]},
    ])  # fmt: skip
    table.attrs["kind"] = kind
    return table


def concentration_overpotential(
    plated: Any, dissolving: Any, *, temperature_k: float = 298.15, transference: float = 0.5
) -> Any:
    """Voltage of the difference in concentration between two lithium electrodes.

    Parameters
    ----------
    plated, dissolving : float or array, any unit of concentration
        At the electrode on which lithium is plated, and at the one that dissolves.
    temperature_k : float
    transference : float
        Of the cation, t+. The default 0.5 gives Nernst's :math:`(RT/F) \\ln(c_2 / c_1)` of two electrodes.

    Returns
    -------
    float or array, V
        Positive where the difference opposes the current.

    Raises
    ------
    InputError
        Where the temperature is not positive.

    Notes
    -----
    .. math:: \\eta_c = \\frac{2 R T}{F} (1 - t_+) \\ln \\frac{c_\\mathrm{dissolving}}{c_\\mathrm{plated}}

    The concentration cell with transference of an ideal binary electrolyte. In PEO with much salt the thermodynamic
    factor multiplies it by up to about 3; it is 1 here. NaN where a concentration is not positive.

    Examples
    --------
    A ratio of ten at 25 degrees Celsius is 59 mV:

    >>> round(float(concentration_overpotential(0.1, 1.0)), 4)
    0.0592
    """
    plated, dissolving, transference = as_numbers(plated, dissolving, transference)
    check_positive("concentration_overpotential", temperature_k=temperature_k)
    check_transference("concentration_overpotential", transference)
    with np.errstate(invalid="ignore", divide="ignore"):
        logarithm = np.log(dissolving / plated)
    known = np.isfinite(logarithm)
    logarithm = logarithm.where(known) if isinstance(logarithm, xr.DataArray) else np.where(known, logarithm, np.nan)
    return 2 * _GAS_J_MOL_K * temperature_k / FARADAY_C_MOL * (1 - transference) * logarithm
