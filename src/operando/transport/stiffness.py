"""Effective stiffness of a microstructure: linear elasticity on its voxels."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import SPACE
from operando.core.errors import RunError
from operando.transport.stiffness_bounds import stiffness_bounds
from operando.transport.stiffness_input import Moduli, axis_number, check_choices, read_moduli
from operando.transport.stiffness_solver import VOIGT, ElasticBody, Solution, products, solve

_NORMAL = (2, 1, 0)  # where the normal strain along z, y, x stands in Voigt's order
_GROUP = 64**3  # voxels times load cases that are solved together
_CHECKED = 32  # voxels along each axis of the part on which the error of the elements is measured


def effective_stiffness(
    youngs_modulus: Any,
    poissons_ratio: Any,
    axis: int | str,
    *,
    measure: str = "young",
    boundary: str = "plates",
    tolerance: float = 1e-4,
    max_iterations: int = 5000,
) -> float:
    """Young's modulus of a microstructure along one axis.

    Parameters
    ----------
    youngs_modulus : array or DataArray, dims (z, y, x)
        Young's modulus of each voxel, at least 0; 0 is a pore. Any unit, for instance "GPa".
    poissons_ratio : float or array of the same shape
        In (-1, 0.5). What it is in a pore does not matter.
    axis : int or str
        The axis of the load: 0 to 2, or "z", "y" or "x".
    measure : {"young", "uniaxial strain"}
        Mean stress over mean strain with no mean stress sideways (Young's modulus), or with no mean strain sideways
        (C11, the P-wave modulus).
    boundary : {"plates", "periodic"}
        Six rigid plates without friction, of which those sideways are free to move as a whole ("young") or fixed
        ("uniaxial strain"); or a periodic body. See Notes.
    tolerance : float
        Relative error of the result that is left by stopping the iteration, as estimated from how its energy falls.
    max_iterations : int
        More than this is an error.

    Returns
    -------
    float
        In the unit of ``youngs_modulus``; 0.0 where no solid reaches from plate to plate.

    Raises
    ------
    InputError, AxesError
        Where an array is not 3-D, a modulus negative or not finite, a ratio outside (-1, 0.5), or a word is unknown.
    RunError
        Where ``max_iterations`` do not suffice.

    Notes
    -----
    .. math:: E = \\min_{u, \\bar\\varepsilon} \\langle \\varepsilon : C : \\varepsilon \\rangle, \\quad
        \\varepsilon = \\bar\\varepsilon + \\nabla^s u, \\quad \\bar\\varepsilon_{axis} = 1

    One trilinear element per voxel, so that layers along the voxel faces are exact and everything else is found too
    stiff, by an amount that falls with the voxel size: :func:`elasticity` estimates it. Voxels that share no more
    than an edge or a corner are hinged there: unlike a current, a force passes.

    ``"plates"`` are the boundaries of :func:`tortuosity_factor` (the image mirrored at its faces) and made for a
    domain cut out of an image: what reaches the face bears load. Mean shear strain is zero, which stiffens a body
    whose axes of symmetry are oblique. ``"periodic"`` leaves it free, and is made for unit cells; on a cut domain,
    struts that the opposite face does not continue bear nothing. Both lie between the bounds of Reuss and Voigt.

    Iterations grow with the square root of the contrast. Above a contrast of 10,000 (pores excepted), the estimate of
    the error may be too small while the energy stalls: compare with a smaller ``tolerance``.

    Memory: about 110 bytes per voxel in single precision, in which all tolerances down to 1e-5 are computed (sums in
    double precision); twice that below.

    Examples
    --------
    Layers of moduli 10 and 1 without lateral contraction, in series (harmonic mean) and side by side (arithmetic mean):

    >>> layers = np.ones((4, 3, 3))
    >>> layers[:2] = 10.0
    >>> round(effective_stiffness(layers, 0.0, axis=0), 4), round(effective_stiffness(layers, 0.0, axis=1), 4)
    (1.8182, 5.5)
    """
    where = "effective_stiffness"
    check_choices(measure, boundary, tolerance, where=where)
    along = axis_number(axis, where=where)
    moduli = read_moduli(youngs_modulus, poissons_ratio, tolerance=tolerance, where=where)
    return float(_load(moduli, [along], measure, boundary, tolerance, max_iterations, where=where).modulus[0])


def youngs_moduli(
    youngs_modulus: Any,
    poissons_ratio: Any,
    *,
    measure: str = "young",
    boundary: str = "plates",
    tolerance: float = 1e-4,
    max_iterations: int = 5000,
) -> np.ndarray:
    """Young's modulus along z, y and x, of one domain or of many of one shape together.

    Parameters
    ----------
    youngs_modulus : array (z, y, x) or (domain, z, y, x), or DataArray (z, y, x)
        Young's modulus of each voxel; 0 is a pore.
    poissons_ratio : float or array of the same shape
    measure, boundary, tolerance, max_iterations
        As in :func:`effective_stiffness`.

    Returns
    -------
    ndarray (3,) or (domain, 3)
        Along z, y, x, in the unit of ``youngs_modulus``.

    Raises
    ------
    InputError, AxesError, RunError
        As :func:`effective_stiffness`.

    Notes
    -----
    The same numbers as one call of :func:`effective_stiffness` per axis and domain, to within the tolerance. Small
    domains are solved together, which is faster; voxels are cubes unless a DataArray says otherwise.

    Examples
    --------
    >>> layers = np.ones((4, 3, 3))
    >>> layers[:2] = 10.0
    >>> youngs_moduli(layers, 0.0).round(4)
    array([1.8182, 5.5   , 5.5   ])
    """
    where = "youngs_moduli"
    check_choices(measure, boundary, tolerance, where=where)
    moduli = read_moduli(youngs_modulus, poissons_ratio, tolerance=tolerance, where=where, many=True)
    found = _load(moduli, [0, 1, 2], measure, boundary, tolerance, max_iterations, where=where).modulus.reshape(-1, 3)
    return found if np.ndim(youngs_modulus) == 4 else found[0]


def elasticity(
    youngs_modulus: Any,
    poissons_ratio: Any,
    axis: int | str,
    *,
    measure: str = "young",
    boundary: str = "plates",
    tolerance: float = 1e-4,
    max_iterations: int = 5000,
) -> xr.Dataset:
    """Effective stiffness along one axis with everything one should see beside it.

    Parameters
    ----------
    youngs_modulus, poissons_ratio, axis, measure, boundary, tolerance, max_iterations
        As in :func:`effective_stiffness`.

    Returns
    -------
    Dataset
        ``effective_stiffness`` (unit of ``youngs_modulus``); ``discretization_error`` (relative), how much too stiff
        the elements make it, see Notes; ``poissons_ratio`` (component: the lateral axes; "young" only), minus the mean
        lateral over the mean axial strain; ``porosity``, the fraction of voxels with modulus 0; ``bounds`` (bound),
        those of :func:`stiffness_bounds` for this measure; ``solver_error`` (relative, estimated), ``residual``
        (unbalanced force over that at the start), ``iterations``, ``bytes_per_voxel`` of the solver.

    Raises
    ------
    InputError, AxesError, RunError
        As :func:`effective_stiffness`.

    Notes
    -----
    One element per voxel cannot bend finely enough and is too stiff. Splitting every voxel in eight takes about half
    of that away, or more; ``discretization_error`` is twice the fall, measured on the middle of the body (at most 32
    voxels along each axis; NaN where that bears nothing). It is the error of the elements on the voxels as they are.
    That voxels render a smooth boundary in steps mostly weakens the body; neither this nor what the image did not
    resolve is in it. Takes the time of 64 x 64 x 64 voxels more.

    Examples
    --------
    >>> block = np.full((4, 4, 4), 2.0)
    >>> found = elasticity(block, 0.3, axis=0)
    >>> round(float(found.effective_stiffness), 5), float(found.discretization_error) < 1e-5
    (2.0, True)
    >>> found.poissons_ratio.values.round(5).tolist()
    [0.3, 0.3]
    """
    where = "elasticity"
    check_choices(measure, boundary, tolerance, where=where)
    along = axis_number(axis, where=where)
    moduli = read_moduli(youngs_modulus, poissons_ratio, tolerance=tolerance, where=where)
    options = (measure, boundary, tolerance, max_iterations)
    fine = _load(moduli, [along], *options, where=where)
    middle, split = (
        float(_load(part, [along], *options, where=where).modulus[0]) for part in moduli.split_middle(_CHECKED)
    )
    bounds = stiffness_bounds(youngs_modulus, poissons_ratio)
    modulus = float(fine.modulus[0])
    vectors = 7 * 3 * np.prod([n + 1 for n in moduli.shear.shape[1:]]) / moduli.shear.size
    found = {
        "effective_stiffness": ((), modulus, {"units": moduli.unit, "long_name": "Effective stiffness"}),
        "discretization_error": ((), 2 * max(0.0, 1 - split / middle) if middle else np.nan, {"units": "1"}),
        "bounds": bounds["youngs_modulus" if measure == "young" else "uniaxial_modulus"],
        "porosity": ((), float(np.mean(moduli.shear == 0)), {"units": "1"}),
        "solver_error": ((), float(fine.error[0]), {"units": "1"}),
        "residual": ((), float(fine.residual[0]), {"units": "1"}),
        "iterations": ((), int(fine.iterations[0]), {"units": "1"}),
        "bytes_per_voxel": ((), float(moduli.shear.itemsize * (vectors + 2)), {"units": "1"}),
    }
    coords = {}
    if measure == "young":
        lateral = [a for a in range(3) if a != along]
        ratio = -fine.strain[0, [_NORMAL[a] for a in lateral]] / fine.strain[0, _NORMAL[along]]
        found["poissons_ratio"] = (("component",), ratio if modulus else ratio * np.nan, {"units": "1"})
        coords["component"] = [SPACE[a] for a in lateral]
    attrs = {"axis": SPACE[along], "measure": measure, "boundary": boundary, "tolerance": tolerance}
    return xr.Dataset(found, coords=coords, attrs=attrs)


def stiffness_tensor(
    youngs_modulus: Any,
    poissons_ratio: Any,
    *,
    tolerance: float = 1e-4,
    max_iterations: int = 5000,
) -> xr.DataArray:
    """All 21 elastic constants of a periodic microstructure.

    Parameters
    ----------
    youngs_modulus : array or DataArray, dims (z, y, x)
        Young's modulus of each voxel; 0 is a pore.
    poissons_ratio : float or array of the same shape
    tolerance, max_iterations
        As in :func:`effective_stiffness`, for each of six load cases.

    Returns
    -------
    DataArray (row, column), 6 x 6
        Voigt's order xx, yy, zz, yz, xz, xy, shear strains as angles (twice the tensor's), in the unit of
        ``youngs_modulus``. Symmetric and, where the solid bears every load, positive definite.

    Raises
    ------
    InputError, AxesError, RunError
        As :func:`effective_stiffness`.

    Notes
    -----
    .. math:: C_{ij} = \\langle \\varepsilon^i : C : \\varepsilon^j \\rangle

    with the strains of six periodic solutions of unit mean strain: errors of the solutions enter as their product.
    Periodic because plates would suppress the coupling of stretch and shear: a domain cut from an image is joined to
    its own opposite face, so leave room for that. Memory: 72 bytes per voxel (single precision) beside those of
    :func:`effective_stiffness`.

    Examples
    --------
    >>> tensor = stiffness_tensor(np.full((2, 2, 2), 2.5), 0.25)
    >>> [round(float(tensor.sel(row=r, column=c)), 4) for r, c in (("xx", "xx"), ("xx", "yy"), ("xy", "xy"))]
    [3.0, 1.0, 1.0]
    """
    where = "stiffness_tensor"
    check_choices("young", "periodic", tolerance, where=where)
    from operando.transport.multigrid import alone

    moduli = read_moduli(youngs_modulus, poissons_ratio, tolerance=tolerance, where=where)
    with alone:
        tensor = _tensor(moduli, tolerance, max_iterations, where=where)
    return xr.DataArray(
        (tensor + tensor.T) / 2 * moduli.scale,
        dims=("row", "column"),
        coords={"row": list(VOIGT), "column": list(VOIGT)},
        attrs={"units": moduli.unit, "long_name": "Effective stiffness", "boundary": "periodic"},
        name="stiffness",
    )


def _tensor(moduli: Moduli, tolerance: float, max_iterations: int, *, where: str) -> np.ndarray:
    lame, shear, domain = moduli.lame, moduli.shear, np.zeros(1, dtype=int)
    body = ElasticBody(lame, shear, moduli.spacing, "periodic")
    displacements = []
    for strain in np.eye(6):
        found = solve(
            lame,
            shear,
            domain,
            strain[None],
            np.zeros((1, 6), dtype=bool),
            spacing=moduli.spacing,
            boundary="periodic",
            tolerance=tolerance,
            max_iterations=max_iterations,
            keep=True,
        )
        _check_converged(found, tolerance, where=where)
        displacements.append(found.displacement)
    tensor = np.zeros((6, 6))
    forces = np.empty_like(displacements[0])
    for row, strain in enumerate(np.eye(6)):
        stress, _ = body.forces(displacements[row], strain[None], domain, forces)
        for column in range(6):
            tensor[row, column] = (stress[0, column] + products(forces, displacements[column])[0]) / body.voxels
    return tensor


def _load(
    moduli: Moduli, axes: list[int], measure: str, boundary: str, tolerance: float, max_iterations: int, *, where: str
) -> Solution:
    """Test every domain along every axis (the axis varies fastest); moduli in the unit they were given in."""
    from operando.transport.multigrid import alone

    cases = [(domain, axis) for domain in range(len(moduli.shear)) for axis in axes]
    together = max(1, _GROUP // moduli.shear[0].size)
    found = []
    for start in range(0, len(cases), together):
        group = cases[start : start + together]
        lame, shear, domain = moduli.bearing(group) if boundary == "plates" else moduli.all_of(group)
        strain, free = np.zeros((len(group), 6)), np.zeros((len(group), 6), dtype=bool)
        normal = [_NORMAL[axis] for _, axis in group]
        if measure == "young":
            free[:, : 3 if boundary == "plates" else 6] = True
        strain[range(len(group)), normal], free[range(len(group)), normal] = 1.0, False
        with alone:
            solution = solve(
                lame,
                shear,
                domain,
                strain,
                free,
                spacing=moduli.spacing,
                boundary=boundary,
                tolerance=tolerance,
                max_iterations=max_iterations,
            )
        _check_converged(solution, tolerance, where=where)
        found.append(solution)
    names = [entry.name for entry in fields(Solution)]
    whole = {name: np.concatenate([getattr(solution, name) for solution in found]) for name in names}
    return Solution(**{**whole, "modulus": whole["modulus"] * moduli.scale, "stress": whole["stress"] * moduli.scale})


def _check_converged(solution: Solution, tolerance: float, *, where: str) -> None:
    worst = float(solution.error.max())
    if worst > tolerance:
        raise RunError(
            f"{where}: the iteration must end below the tolerance {tolerance:g}, after "
            f"{int(solution.iterations.max())} iterations its estimated error is {worst:.2g}. "
            "Raise max_iterations, or set the softest moduli to 0."
        )
