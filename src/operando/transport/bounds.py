"""Between which values the conductivity of an isotropic composite must lie."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from operando.core.errors import InputError


def hashin_shtrikman(
    fractions: Sequence[float] | np.ndarray, conductivities: Sequence[float] | np.ndarray, *, dimensions: int = 3
) -> tuple[float, float]:
    """Bounds of Hashin and Shtrikman on the conductivity of an isotropic composite.

    Parameters
    ----------
    fractions : sequence of float
        Volume fraction of each phase, 0 or more; together 1.
    conductivities : sequence of float
        Conductivity of each phase, 0 or more, any unit.
    dimensions : {2, 3}
        3, or 2 where nothing changes along one direction.

    Returns
    -------
    (lower, upper) : floats
        In the unit of the conductivities.

    Raises
    ------
    InputError
        Where the lengths differ, a number is negative or the fractions do not add up to 1.

    Notes
    -----
    .. math:: \\Big(\\sum_i \\frac{f_i}{k_i + (d - 1) k_*}\\Big)^{-1} - (d - 1) k_*

    with the least and the largest conductivity for :math:`k_*`. A conductor of fraction eps in an insulator has D_eff/D
    <= 2 eps/(3 - eps), so that its tortuosity factor is at least (3 - eps)/2, in two dimensions 2 - eps. They hold for
    statistically *isotropic* media: along the layers of a laminate the upper bound is exceeded, and one small
    sample of an isotropic medium may exceed it too.

    Source: Z. Hashin, S. Shtrikman, J. Appl. Phys. 33 (1962) 3125; several phases as in S. Torquato, Random
    Heterogeneous Materials, 2002.

    Examples
    --------
    >>> lower, upper = hashin_shtrikman([0.5, 0.5], [1.0, 0.0])
    >>> lower, round(0.5 / upper, 6)
    (0.0, 1.25)
    >>> round(0.5 / hashin_shtrikman([0.5, 0.5], [1.0, 0.0], dimensions=2)[1], 6)
    1.5
    """
    f, k = np.asarray(fractions, dtype=np.float64), np.asarray(conductivities, dtype=np.float64)
    if dimensions not in (2, 3):
        raise InputError(f"hashin_shtrikman: dimensions must be 2 or 3, got {dimensions!r}. Use 3 for a volume.")
    if f.shape != k.shape or f.ndim != 1 or f.size == 0:
        raise InputError(
            f"hashin_shtrikman: one conductivity per fraction is needed, got {f.shape} fractions and {k.shape} "
            "conductivities. Give two lists of one length."
        )
    if not (np.all(f >= 0) and np.all(k >= 0) and np.all(np.isfinite(k)) and abs(f.sum() - 1) < 1e-6):
        raise InputError(
            f"hashin_shtrikman: fractions of 0 or more that add up to 1 and finite conductivities of 0 or more are "
            f"needed, got fractions {f.tolist()} (sum {f.sum():g}) and conductivities {k.tolist()}. "
            "Divide the fractions by their sum."
        )
    present = k[f > 0]
    return _bound(f, k, present.min(), dimensions), _bound(f, k, present.max(), dimensions)


def _bound(f: np.ndarray, k: np.ndarray, reference: float, dimensions: int) -> float:
    shift = (dimensions - 1) * reference
    terms = k + shift
    if np.any((terms == 0) & (f > 0)):
        return 0.0
    there = f > 0
    return float(1 / np.sum(f[there] / terms[there]) - shift)
