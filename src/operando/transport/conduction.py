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
        True where the phase conducts. Dims of a DataArray from ``z, y, x``; its voxel edges are respected, and the
        result does not depend on their unit. A bare array has cubic voxels. A lazy array is loaded, at one byte per
        voxel.
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
    # One conductor never has less than 1; what lies below is rounding.
    factor = max(1.0, solved.mean_conductivity / solved.effective) if solved.effective > 0 else math.inf
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


def conduction(
    k: Any,
    axis: int | str,
    *,
    tolerance: float = 1e-4,
    refined_voxels: int = 2**24,
    dtype: Any = "float32",
) -> xr.Dataset:
    """Effective conductivity and tortuosity factor, with bounds and with what the voxels may have cost.

    Parameters
    ----------
    k : array or DataArray, 2-D or 3-D
        Conductivity per voxel, 0 or more; or boolean, the phase that conducts (with the conductivity 1).
    axis : int or str
        Along which is conducted.
    tolerance : float
        Estimated relative error at which the solver stops.
    refined_voxels : int
        Solve also with every voxel cut in two along each axis, where that makes no more than so many voxels; 0: never.

    Returns
    -------
    Dataset of scalars
        ``effective_conductivity`` (unit of ``k``); ``tortuosity_factor``, mean conductivity over effective
        conductivity (``inf`` where nothing gets through); ``conducting_fraction`` and ``percolating_fraction`` (share
        of the conducting voxels that hang on both faces); ``hashin_shtrikman_lower`` and ``_upper`` (unit of ``k``)
        and ``tortuosity_factor_least``, the factor at the upper one; ``half_resolution`` and ``refined``, the
        effective conductivity from voxels twice as large and half as large (NaN where not solved);
        ``discretization_error`` and ``resolution_change``, see Notes; ``solver_error``, ``flux_mismatch`` (current in
        over current out, less 1), ``iterations``, ``bytes_per_voxel``.

    Notes
    -----
    *Refined*: the same voxels, each cut in eight. The geometry stays what the image shows, steps and all; only the
    potential is resolved better. Corners make its error fall like h^(4/3) or so, so that what is left at the image's
    own voxels is at most twice the change: ``discretization_error`` = 2 ``|1 - refined / effective_conductivity|``.

    *Half resolution*: means of the conductivity over 2 x 2 x 2 voxels (both solved on the part that is even along every
    axis, where sizes are odd). ``resolution_change`` = half resolution over full, less 1, is how much the answer
    hangs on the voxel size of the image; if the error falls like h it is as large as what is still missing. Neither
    tells how true the segmentation is, and neither sees a neck that the image does not show.

    The time goes into the refined solution: eight times as many voxels.

    Examples
    --------
    >>> result = conduction(np.ones((4, 4, 4), dtype=bool), "z")
    >>> float(result.tortuosity_factor), float(result.tortuosity_factor_least), float(result.discretization_error)
    (1.0, 1.0, 0.0)
    """
    checked = conductivity(k, "conduction")
    solved = solve_potential(checked, axis, tolerance=tolerance, dtype=dtype)
    values = np.asarray(checked)
    mean, effective = solved.mean_conductivity, solved.effective

    def again(other: np.ndarray, factor: float) -> Potential:
        edges = tuple(edge * factor for edge in solved.edges)
        return Potential(other, edges, solved.axis, tolerance=tolerance, dtype=dtype)

    # A size of one voxel stays one: nothing changes along it.
    refined = half = change = math.nan
    if values.size * 2**values.ndim <= refined_voxels:
        refined = again(_repeat(values), 0.5).effective
    if all(n == 1 or n >= 4 for n in values.shape):
        even = values[tuple(slice(n - n % 2 if n > 1 else 1) for n in values.shape)]
        half = again(_halve(even), 2.0).effective
        whole = effective if even.shape == values.shape else again(even, 1.0).effective
        change = half / whole - 1 if whole > 0 else np.nan
    kinds, counts = np.unique(values, return_counts=True)
    flat = 2 if values.ndim == 2 or 1 in values.shape else 3
    lower, upper = hashin_shtrikman(counts / counts.sum(), kinds.astype(np.float64), dimensions=flat)
    unit = str(k.attrs.get("units", "1")) if isinstance(k, xr.DataArray) else "1"
    numbers = {
        "effective_conductivity": (effective, unit),
        "tortuosity_factor": (max(1.0, mean / effective) if effective > 0 else math.inf, "1"),
        "conducting_fraction": (np.count_nonzero(values) / values.size, "1"),
        "percolating_fraction": (solved.percolating_fraction, "1"),
        "hashin_shtrikman_lower": (lower, unit),
        "hashin_shtrikman_upper": (upper, unit),
        "tortuosity_factor_least": (mean / upper if upper > 0 else math.inf, "1"),
        "half_resolution": (half, unit),
        "refined": (refined, unit),
        "discretization_error": (2 * abs(1 - refined / effective) if effective > 0 else np.nan, "1"),
        "resolution_change": (change, "1"),
        "solver_error": (solved.error, "1"),
        "flux_mismatch": (_mismatch(values, solved), "1"),
        "iterations": (solved.iterations, "1"),
        "bytes_per_voxel": (solved.bytes_per_voxel, "1"),
    }
    return xr.Dataset(
        {name: ((), value, {"units": unit}) for name, (value, unit) in numbers.items()},
        attrs={"axis": str(axis), "convention": "D_eff = D eps / tau", "voxels": int(values.size)},
    )


def conduction_rows(result: xr.Dataset, *, component: str, scan: int = -1, t: float = math.nan) -> list[dict[str, Any]]:
    """Rows of the quantity table for what :func:`conduction` found.

    Parameters
    ----------
    result : Dataset
        From :func:`conduction`.
    component : str
        What conducts.
    scan, t
        Of the scan, where there is one; t in hours.

    Returns
    -------
    list of dict
        For :func:`operando.core.quantities.quantity_table`: effective conductivity, tortuosity factor (sigma:
        the estimated error of discretization), conducting and percolating fraction.

    Examples
    --------
    >>> rows = conduction_rows(conduction(np.ones((4, 4, 4), dtype=bool), "z"), component="electrolyte")
    >>> [(row["quantity"], row["value"]) for row in rows][1]
    ('tortuosity factor along z', 1.0)
    """
    along = f"along {result.attrs['axis']}"
    relative = float(result["discretization_error"])
    rows = []
    for name, words, sigma in (
        ("effective_conductivity", f"effective conductivity {along}", relative),
        ("tortuosity_factor", f"tortuosity factor {along}", relative),
        ("conducting_fraction", "conducting fraction", math.nan),
        ("percolating_fraction", f"percolating fraction {along}", math.nan),
    ):
        value = float(result[name])
        row: dict[str, Any] = {
            "scan": scan,
            "t": t,
            "component": component,
            "quantity": words,
            "value": value,
            "unit": result[name].attrs["units"],
            "n": result.attrs["voxels"],
            "method": "finite volumes, D_eff = D eps / tau",
        }
        if math.isfinite(sigma) and math.isfinite(value):
            row["sigma"] = sigma * value
        rows.append(row)
    return rows


def _repeat(values: np.ndarray) -> np.ndarray:
    for axis in range(values.ndim):
        values = values.repeat(2, axis)
    return values


def _halve(values: np.ndarray) -> np.ndarray:
    """Means over two voxels along every axis longer than one."""
    for axis, size in enumerate(values.shape):
        if size > 1:
            pairs = np.moveaxis(values, axis, 0)
            mean = (pairs[::2].astype(np.float32) + pairs[1::2]) / 2
            values = np.moveaxis(mean, 0, axis)
    return values.astype(np.float32)


def _mismatch(values: np.ndarray, solved: Potential) -> float:
    if solved.potential is None:
        return math.nan
    k, u = np.moveaxis(values, solved.axis, 0), np.moveaxis(solved.potential, solved.axis, 0)
    through = np.moveaxis(solved.solved, solved.axis, 0)
    inward = np.sum(k[0] * through[0] * (1 - u[0].astype(np.float64)))
    outward = np.sum(k[-1] * through[-1] * u[-1].astype(np.float64))
    return float(inward / outward - 1)
