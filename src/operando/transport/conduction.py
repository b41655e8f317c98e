"""Conduction through a volume: tortuosity factor and effective conductivity between two opposite faces."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr

from operando.core.errors import InputError, nearest
from operando.transport.bounds import hashin_shtrikman
from operando.transport.potential import Potential, conductivity, phase, solve_potential

CONVENTIONS = ("factor", "dixit2020")
"""``factor``: D_eff = D eps / tau. ``dixit2020``: D_eff = D eps / tau^2, Eq. 4 of that paper."""


def tortuosity_factor(
    volume: Any, axis: int | str, *, convention: str = "factor", tolerance: float = 1e-4, dtype: Any = "float32"
) -> float:
    """Tortuosity factor of a conducting phase between two opposite faces of a volume.

    Parameters
    ----------
    volume : array or DataArray, 2-D or 3-D, boolean (or 0 and 1)
        True where the phase conducts. Dims of a DataArray from ``z, y, x``; its voxel edges are respected, and the result
        does not depend on their unit. A bare array has cubic voxels. A lazy array is loaded, at one byte per voxel.
    axis : int or str
        Along which is conducted: a position or a dim (of a bare array: the last of ``z, y, x``).
    convention : {"factor", "dixit2020"}
        ``factor``: D_eff = D eps / tau. ``dixit2020``: D_eff = D eps / tau^2, so the square root of it.
    tolerance : float
        Estimated relative error of the factor at which the solver stops.
    dtype : {"float32", "float64"}
        Of the potential; sums are always 64 bits.

    Returns
    -------
    float
        At least 1; ``inf`` where the phase does not join the two faces.

    Raises
    ------
    InputError, AxesError
        Where the volume is not boolean, is empty, or has no such axis.

    Notes
    -----
    .. math:: \\tau = \\varepsilon D / D_\\mathrm{eff}

    The potential is held at the *outer faces* of the first and last voxels, so that a uniform block has exactly 1 (a
    code that holds it at their centers gives (N - 1)/N). The sides are insulated. Voxels conduct through common faces
    only. eps counts every conducting voxel, also those that are not joined to both faces.

    Finite volumes, one unknown per voxel, multigrid-preconditioned conjugate gradients: cost grows like the
    number of voxels. Memory is about 25 bytes per voxel in 32 bits. The estimate of the solver's error is one of the
    linear system; that of the voxels is larger: see :func:`conduction`.

    Examples
    --------
    A wall with a hole of half its area, as thick as the whole volume, obstructs nothing:

    >>> volume = np.zeros((4, 2, 2), dtype=bool)
    >>> volume[:, 0] = True
    >>> round(tortuosity_factor(volume, 0), 6)
    1.0
    >>> tortuosity_factor(volume, 1)
    inf
    """
    if convention not in CONVENTIONS:
        raise InputError(
            f"tortuosity_factor: the convention must be one of {', '.join(CONVENTIONS)}, got {convention!r}. "
            f"{nearest(str(convention), CONVENTIONS)}"
        )
    solved = solve_potential(phase(volume, "tortuosity_factor"), axis, tolerance=tolerance, dtype=dtype)
    factor = solved.mean_conductivity / solved.effective if solved.effective > 0 else math.inf
    return math.sqrt(factor) if convention == "dixit2020" else factor


def effective_conductivity(k: Any, axis: int | str, *, tolerance: float = 1e-4, dtype: Any = "float32") -> float:
    """Effective conductivity of a volume between two opposite faces.

    Parameters
    ----------
    k : array or DataArray, 2-D or 3-D, float
        Conductivity per voxel, 0 or more, in any unit.
    axis : int or str
        Along which is conducted: a position or a dim.
    tolerance : float
        Estimated relative error at which the solver stops.
    dtype : {"float32", "float64"}
        Of the potential; sums are always 64 bits.

    Returns
    -------
    float
        In the unit of ``k``; 0 where nothing joins the two faces.

    Notes
    -----
    Boundary conditions as in :func:`tortuosity_factor`. The conductance of the face between two voxels is that of their
    halves in series (harmonic mean), so that laminates are exact whatever their contrast. About 45 bytes per voxel.

    Examples
    --------
    A laminate of equal parts 10 and 1, across and along its layers:

    >>> k = np.ones((2, 2, 2))
    >>> k[0] = 10
    >>> round(effective_conductivity(k, 0), 5), round(effective_conductivity(k, 1), 5)
    (1.81818, 5.5)
    """
    return solve_potential(conductivity(k, "effective_conductivity"), axis, tolerance=tolerance, dtype=dtype).effective
