"""Salt in a polymer: from EO:Li to mol per liter, and diffusivities that are given as polynomials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from operando.core.errors import InputError, nearest
from operando.electrochemistry.salt_diffusion import as_numbers, check_positive

ETHER_CM3_MOL = 39.3
"""Volume of a -CH2CH2O- unit in molten PEO: 44.05 g mol-1 over 1.12 g cm-3."""

SALT_CM3_MOL = 141.0
"""Volume that a mole of LiTFSI adds to PEO, assumed constant."""

_VARIABLES = ("EO:Li", "Li per 100 EO", "mol/L")


def polymer_salt_concentration(
    eo_per_li: Any, *, ether_cm3_mol: float = ETHER_CM3_MOL, salt_cm3_mol: float = SALT_CM3_MOL
) -> Any:
    """Salt concentration of a polymer electrolyte from its ether oxygens per lithium.

    Parameters
    ----------
    eo_per_li : float or array
        EO:Li, for example 10 for PEO with one lithium per ten ether oxygens.
    ether_cm3_mol, salt_cm3_mol : float, cm3 mol-1
        Volumes of an ether unit and of the salt in the mixture; default PEO and LiTFSI.

    Returns
    -------
    float or array, mol L-1

    Raises
    ------
    InputError
        Where EO:Li is not positive.

    Notes
    -----
    .. math:: c = \\frac{1000}{r V_\\mathrm{EO} + V_\\mathrm{salt}}

    Volumes add. With the defaults about 5 % uncertain, which is why a density of the very film is better.

    Examples
    --------
    >>> round(polymer_salt_concentration(10), 3), round(ether_oxygens_per_lithium(polymer_salt_concentration(10)), 6)
    (1.873, 10.0)
    """
    (eo_per_li,) = as_numbers(eo_per_li)
    check_positive("polymer_salt_concentration", eo_per_li=eo_per_li)
    return 1000.0 / (eo_per_li * ether_cm3_mol + salt_cm3_mol)


def ether_oxygens_per_lithium(
    concentration: Any, *, ether_cm3_mol: float = ETHER_CM3_MOL, salt_cm3_mol: float = SALT_CM3_MOL
) -> Any:
    """EO:Li from the concentration: the inverse of :func:`polymer_salt_concentration`.

    Parameters
    ----------
    concentration : float or array, mol L-1
        Of the salt.
    ether_cm3_mol, salt_cm3_mol : float, cm3 mol-1
        As there.

    Returns
    -------
    float or array
        Ether oxygens per lithium.

    Raises
    ------
    InputError
        Where the concentration is not positive.

    Examples
    --------
    A liter of 1 mol salt of 100 cm3 leaves 900 cm3 for ether units of 45 cm3:

    >>> ether_oxygens_per_lithium(1.0, ether_cm3_mol=45, salt_cm3_mol=100)
    20.0
    """
    (concentration,) = as_numbers(concentration)
    check_positive("ether_oxygens_per_lithium", concentration=concentration)
    return (1000.0 / concentration - salt_cm3_mol) / ether_cm3_mol


def polynomial_diffusivity(
    coefficients: Sequence[float],
    *,
    variable: str = "mol/L",
    valid: tuple[float, float],
    scale: float = 1.0,
) -> Callable[[Any], np.ndarray]:
    """A diffusivity given as a polynomial, as a function of the concentration in mol L-1.

    Parameters
    ----------
    coefficients : sequence of float, m2 s-1
        Highest power first.
    variable : {"mol/L", "EO:Li", "Li per 100 EO"}
        What the polynomial is a polynomial of. The last two are reciprocal, and both 10 where EO:Li is 10.
    valid : pair of float
        Between which values of the variable it may be used. Outside, the value at the nearer end is taken:
        polynomials of measured diffusivities fall below zero soon beyond.
    scale : float
        Factor on the whole.

    Returns
    -------
    callable
        Takes mol L-1, returns m2 s-1.

    Raises
    ------
    InputError
        Where the polynomial is not positive all over the range, or the range or variable cannot be used.

    Examples
    --------
    >>> diffusivity = polynomial_diffusivity([1e-12, 0.0], valid=(0.5, 2.0))
    >>> diffusivity(np.array([0.0, 1.0, 3.0])).tolist()
    [5e-13, 1e-12, 2e-12]
    """
    where = "polynomial_diffusivity"
    if variable not in _VARIABLES:
        raise InputError(
            f"{where}: variable must be one of {_VARIABLES}, got {variable!r}. {nearest(variable, _VARIABLES)}"
        )
    low, high = (min(valid), max(valid)) if len(valid) == 2 else (np.nan, np.nan)
    if not (0 <= low < high < np.inf and scale > 0 and len(coefficients)):
        raise InputError(
            f"{where}: a range of two different values of at least 0, a positive scale and coefficients are needed, "
            f"got valid={tuple(valid)}, scale={scale!r} and {len(coefficients)} coefficients. Correct them."
        )
    values = np.polyval(coefficients, np.linspace(low, high, 1001))
    if not (values > 0).all():
        at = np.linspace(low, high, 1001)[int(np.argmin(values))]
        raise InputError(
            f"{where}: the polynomial must be positive between {low:g} and {high:g} {variable}, got {values.min():.3g} "
            f"m2 s-1 at {at:.3g}. Narrow the range to where it was measured, and check that its variable is {variable}."
        )

    def diffusivity(concentration: Any) -> np.ndarray:
        c = np.asarray(concentration, dtype=float)
        if variable != "mol/L":
            # No salt is infinitely many ether oxygens; at that end the range ends it.
            c = ether_oxygens_per_lithium(np.fmax(c, 1e-6))
        if variable == "Li per 100 EO":
            c = 100 / c
        return np.asarray(scale * np.polyval(coefficients, np.clip(c, low, high)))

    return diffusivity
