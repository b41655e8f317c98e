"""Salt between two electrodes while current flows: diffusion with a diffusivity that follows the concentration."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from operando.core.errors import InputError
from operando.core.lithium import FARADAY_C_MOL

Diffusivity = float | Callable[[np.ndarray], np.ndarray]
"""In m2 s-1: a number, or a function of the concentration in mol L-1."""

_CELLS = 120
_UM2_M2 = 1e12


def displacement_rate(current_density: Any, concentration: Any, *, transference: Any = 0.0) -> Any:
    """Thickness of electrolyte whose salt the current takes from one electrode to the other per second.

    Parameters
    ----------
    current_density : float or array, mA cm-2
        Magnitude.
    concentration : float or array, mol L-1
        Before the current.
    transference : float or array
        Of the cation, t+; below 1. Negative values, as PEO with much salt shows, are allowed.

    Returns
    -------
    float or array, um s-1

    Raises
    ------
    InputError
        Where the concentration is not positive or the transference not below 1.

    Notes
    -----
    .. math:: w = \\frac{(1 - t_+)\\, J}{F\\, c_0}

    Cations carry the share t+ of the current, anions the rest, and anions cannot leave: per charge, 1 - t+ of salt
    gathers at the electrode where lithium dissolves and is missing where it is plated. What a picture shows
    (``dendrites.salt_displaced``) is the integral of w over time, in um of the initial concentration, and so neither
    c0 nor t+ nor the area has to be known to compare it with Sand's time.

    Examples
    --------
    1 mA cm-2 in 1 mol L-1, all of it carried by anions: 10 A m-2 over 96485 C mol-1 and 1000 mol m-3.

    >>> round(displacement_rate(1.0, 1.0), 4), round(displacement_rate(1.0, 1.0, transference=0.4), 4)
    (0.1036, 0.0622)
    """
    current_density, concentration, transference = as_numbers(current_density, concentration, transference)
    check_positive("displacement_rate", concentration=concentration)
    check_transference("displacement_rate", transference)
    # mA cm-2 = 10 A m-2 and mol L-1 = 1000 mol m-3; 1e6 um in a meter.
    return (1.0 - transference) * abs(current_density) * 1e4 / (FARADAY_C_MOL * concentration)


def displaced_transference(slope_um_mah: Any, concentration: Any, *, area_cm2: Any) -> Any:
    """Transference of the cation from the salt that a charge displaced.

    Parameters
    ----------
    slope_um_mah : float or array, um mAh-1
        Salt displaced per charge, as thickness at the initial concentration (``dendrites.displaced_per_charge``).
    concentration : float or array, mol L-1
        Before the current.
    area_cm2 : float or array, cm2
        Of the electrode.

    Returns
    -------
    float or array
        t+; nothing keeps it between 0 and 1. Relative errors of slope, concentration and area all enter 1 - t+.

    Raises
    ------
    InputError
        Where concentration or area is not positive.

    Notes
    -----
    .. math:: 1 - t_+ = F\\, A\\, c_0\\, \\frac{dN}{dQ}

    Counted in the field of view. Lithium that is plated pushes the polymer, 13 cm3 per mole of charge, toward where it
    dissolves; that shift is counted as displaced salt, and makes 1 - t+ too large by 13 cm3 mol-1 times the
    concentration: by 0.013 in 1 mol L-1.

    Examples
    --------
    The inverse of :func:`displacement_rate`: 1 mA on 1 cm2 displaces 0.0622 um in a second and 223.9 um in an hour.

    >>> round(displaced_transference(3600 * displacement_rate(1.0, 1.0, transference=0.4), 1.0, area_cm2=1.0), 6)
    0.4
    """
    slope_um_mah, concentration, area_cm2 = as_numbers(slope_um_mah, concentration, area_cm2)
    check_positive("displaced_transference", concentration=concentration, area_cm2=area_cm2)
    # um is 1e-6 m, cm2 1e-4 m2, mol L-1 1e3 mol m-3 and mAh 3.6 C.
    return 1.0 - FARADAY_C_MOL * 1e-7 * area_cm2 * concentration * slope_um_mah / 3.6


def salt_diffusion(
    t_s: Sequence[float] | np.ndarray,
    *,
    thickness_um: float,
    concentration: float,
    diffusivity: Diffusivity,
    rate_um_s: float | Callable[[float], float],
    cells: int = _CELLS,
    tolerance: float = 1e-7,
) -> xr.Dataset:
    """Solve for the salt between the electrode that is plated (low y) and the one that dissolves (high y).

    Parameters
    ----------
    t_s : sequence of float, s
        When the concentration is wanted, increasing, from 0 on; the salt is even at 0.
    thickness_um : float
        Of the electrolyte.
    concentration : float, mol L-1
        Before the current.
    diffusivity : float or callable of concentration, m2 s-1
        Of the salt (ambipolar). A callable takes an array in mol L-1; it must stay positive.
    rate_um_s : float or callable of time in s
        How fast the current displaces salt, :func:`displacement_rate`; negative where the current is reversed.
    cells : int
        Of the grid, which is finest at the electrodes (the first cell is 0.02 % of the thickness for 120).
    tolerance : float
        Relative, of the integration in time.

    Returns
    -------
    Dataset
        ``concentration`` (t, y) in mol L-1, ``surface_low`` and ``surface_high`` (t), those at the electrodes; t in s,
        y in um. NaN from the moment at which a surface is empty. ``attrs["depleted_s"]``: that moment, or NaN; 0 where
        it comes before the salt of half a cell is gone.

    Raises
    ------
    InputError
        Where times do not increase from 0 or more, or a number is not positive.

    Notes
    -----
    .. math:: \\partial_t c = \\partial_y (D(c)\\, \\partial_y c), \\quad
              D\\, \\partial_y c = w(t)\\, c_0 \\ \\text{at both electrodes}

    Method of lines: finite volumes on a grid of Chebyshev spacing, LSODA with a banded Jacobian. Salt is conserved to
    rounding. Against Sand's solution the depletion time is 0.1 % off with 120 cells where the diffusion layer is thin
    (a twentieth of the thickness), second order in the cells. The transference is taken as constant, the electrolyte as
    at rest, and the electrodes as flat. Memory: cells times times.

    Examples
    --------
    Little current in a thin cell: after a long time the slope is w c0 / D = 0.01 * 1 / 100 per um.

    >>> found = salt_diffusion([0, 1e4], thickness_um=100, concentration=1.0, diffusivity=1e-10, rate_um_s=0.01)
    >>> found["surface_low"].values.round(4).tolist(), found["surface_high"].values.round(4).tolist()
    ([1.0, 0.995], [1.0, 1.005])
    """
    from scipy.integrate import solve_ivp

    where = "salt_diffusion"
    times = np.atleast_1d(np.asarray(t_s, dtype=float))
    check_positive(where, thickness_um=thickness_um, concentration=concentration)
    usable = times.ndim == 1 and times.size > 0 and bool(np.isfinite(times).all())
    if not usable or times[0] < 0 or (np.diff(times) <= 0).any() or cells < 8:
        raise InputError(
            f"{where}: t_s must increase from 0 s or later, and cells be at least 8, got {times.size} times"
            f"{f' from {times.flat[0]:g} s' if times.size else ''} and {cells} cells. Sort the times."
        )
    faces = thickness_um / 2 * (1 - np.cos(np.pi * np.arange(cells + 1) / cells))
    widths, centers = np.diff(faces), (faces[1:] + faces[:-1]) / 2
    gaps = np.diff(centers)
    spread = _diffusivity(diffusivity, where)
    rate = rate_um_s if callable(rate_um_s) else lambda _: float(rate_um_s)
    if not np.isfinite(rate(0.0)):
        raise InputError(f"{where}: rate_um_s must be finite, got {rate(0.0)!r}. Check current and concentration.")

    # In units of the initial concentration, so that the tolerance is a share of it.
    def slope(t: float, share: np.ndarray) -> np.ndarray:
        inner = spread(concentration * (share[1:] + share[:-1]) / 2) * np.diff(share) / gaps
        driven = rate(t)
        return np.asarray(np.diff(np.concatenate([[driven], inner, [driven]])) / widths)

    def surfaces(t: float, share: np.ndarray) -> np.ndarray:
        ends = share[[0, -1]]
        step = rate(t) * widths[0] / 2 / spread(concentration * ends)
        return np.asarray(ends + step * np.array([-1.0, 1.0]))

    def emptied(t: float, share: np.ndarray) -> float:
        return float(surfaces(t, share).min())

    emptied.terminal = True  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        # What it warns of ends in the error below.
        warnings.filterwarnings("ignore", message="lsoda")
        solved = solve_ivp(
            slope,
            (0.0, max(times[-1], 1e-9)),
            np.ones(cells),
            method="LSODA",
            t_eval=times,
            events=emptied,
            rtol=tolerance,
            atol=tolerance / 100,
            lband=1,
            uband=1,
        )
    if solved.status < 0:
        raise InputError(
            f"{where}: the equation could not be integrated ({solved.message.strip()}). The diffusivity must be "
            "positive and smooth over all concentrations that occur: hold it constant outside of the range that was "
            "measured, and check the units of lengths (um), times (s) and diffusivity (m2 s-1)."
        )
    share = np.full((times.size, cells), np.nan)
    if len(solved.t):  # a list where there is none
        share[: solved.t.size] = solved.y.T
    ends = np.full((times.size, 2), np.nan)
    for row, t in enumerate(solved.t):
        ends[row] = surfaces(float(t), share[row])
    units = {"units": "mol L-1"}
    depleted = float(solved.t_events[0][0]) if solved.t_events[0].size else np.nan
    if emptied(0.0, np.ones(cells)) <= 0:
        # An event is a change of sign, and there is none.
        depleted, share[:], ends[:] = 0.0, np.nan, np.nan
    return xr.Dataset(
        {
            "concentration": (("t", "y"), concentration * share, {**units, "long_name": "Salt concentration"}),
            "surface_low": ("t", concentration * ends[:, 0], {**units, "long_name": "Salt at the plated electrode"}),
            "surface_high": ("t", concentration * ends[:, 1], {**units, "long_name": "Salt where lithium dissolves"}),
        },
        coords={
            "t": ("t", times, {"units": "s", "long_name": "Time"}),
            "y": ("y", centers, {"units": "um", "long_name": "Position y"}),
        },
        attrs={"depleted_s": depleted},
    )


def _diffusivity(diffusivity: Diffusivity, where: str) -> Callable[[np.ndarray], np.ndarray]:
    """The diffusivity in um2 s-1 as a function of the concentration."""
    if callable(diffusivity):
        given = diffusivity
        return lambda c: np.broadcast_to(np.asarray(given(c), dtype=float) * _UM2_M2, np.shape(c))
    check_positive(where, diffusivity=diffusivity)
    constant = float(diffusivity) * _UM2_M2
    return lambda c: np.full(np.shape(c), constant)


def as_numbers(*values: Any) -> tuple[Any, ...]:
    """Lists and tuples as arrays; numbers, arrays and labeled arrays as they are."""
    return tuple(np.asarray(value, dtype=float) if isinstance(value, (list, tuple)) else value for value in values)


def check_positive(where: str, **values: Any) -> None:
    """Raise InputError unless every value, or all values of an array, are positive and finite."""
    for name, value in values.items():
        numbers = np.asarray(value, dtype=float)
        if not (np.isfinite(numbers) & (numbers > 0)).all():
            raise InputError(f"{where}: {name} must be positive and finite, got {value!r}. Check its unit.")


def check_transference(where: str, transference: Any) -> None:
    """Raise InputError unless the transference is below 1."""
    if not (np.asarray(transference, dtype=float) < 1).all():
        raise InputError(
            f"{where}: transference must be a number below 1, got {transference!r}. A cation that carries all of the "
            "current moves no salt: there is no depletion and no such time."
        )
