"""How far the local properties of a material fall short of its bulk: the microstructure factor."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from operando.core.axes import SPACE
from operando.core.errors import InputError
from operando.transport.maps import Tiles, solve_tiles

DIRECTIONS = ("x", "y", "z")


def microstructure_factor(
    conductivity: xr.DataArray,
    youngs_modulus: xr.DataArray | None = None,
    poissons_ratio: float | xr.DataArray | None = None,
    *,
    tile_um: float | Sequence[float] = 36.0,
    reference: float | None = None,
    reference_modulus: float | None = None,
    tolerance: float = 1e-3,
) -> xr.Dataset:
    """Effective conductivity (and Young's modulus) of sub-domains along x, y and z, over the value of the bulk.

    Parameters
    ----------
    conductivity : DataArray, dims (z, y, x), calibrated
        Conductivity per voxel, 0 or more, NaN missing; or boolean. May be lazy.
    youngs_modulus : DataArray, same shape, optional
        Young's modulus per voxel, 0 in pores.
    poissons_ratio : float or DataArray of the same shape, optional
        Needed with ``youngs_modulus``.
    tile_um : float or three floats (z, y, x)
        Edges of a sub-domain in um; rounded to whole voxels.
    reference, reference_modulus : float, optional
        Value of the bulk: the theoretical one of the dense material. Default: the largest in the volume.
    tolerance : float
        Estimated relative error at which the solvers stop.

    Returns
    -------
    Dataset
        ``conductivity`` (component, z, y, x), and with a modulus ``youngs_modulus``: the factors M_x, M_y, M_z,
        component ``x``, ``y``, ``z``; coordinates at the centers of the sub-domains in um. ``conductivity_mean``,
        ``_min``, ``_max`` (component), over the sub-domains without missing voxels; likewise for the modulus. All
        without unit.

    Raises
    ------
    InputError, AxesError, UnitsError
        Where the arrays do not fit each other, or the reference is not positive.

    Notes
    -----
    .. math:: M_i = k_{\\mathrm{eff},i} / k_\\mathrm{bulk}, \\qquad M_i = E_{\\mathrm{eff},i} / E_\\mathrm{bulk}

    as in Dixit 2020 (Fig. 4d), where it is compared with that of isotropic synthetic domains of the same porosity, pore
    size and grain size (:func:`synthetic_polycrystal`). A dense sub-domain has 1, one that does not conduct through
    0. A sub-domain is conducted through between insulated sides and stretched between plates
    (:func:`effective_stiffness`); the smaller it is, the more of what carries it is cut off at its sides. Holds one
    row of sub-domains at a time.

    Examples
    --------
    A slit pore across z stops current along z only:

    >>> import operando
    >>> values = np.ones((4, 4, 4))
    >>> values[1] = 0.0
    >>> found = microstructure_factor(operando.labeled_image(values, voxel_size_um=1.0), tile_um=4.0)
    >>> found.conductivity[:, 0, 0, 0].values.round(4).tolist(), found.component.values.tolist()
    ([0.75, 0.75, 0.0], ['x', 'y', 'z'])
    """
    where = "microstructure_factor"
    wanted = (tile_um,) * 3 if np.ndim(tile_um) == 0 else tuple(tile_um)  # type: ignore[arg-type]
    if len(wanted) != 3:
        raise InputError(f"{where}: tile_um must be one edge or three (z, y, x), got {tile_um!r}. Give um.")
    tiles = Tiles(conductivity, wanted, where=where)  # type: ignore[arg-type]
    bulk = _reference(conductivity, reference, "reference", where)
    factors = np.full((3, *tiles.counts), np.nan)
    for row in range(tiles.counts[1]):
        slab = tiles.row(row)
        for number, direction in enumerate(DIRECTIONS):
            found, _, _ = solve_tiles(slab, tiles.size, tiles.edges, SPACE.index(direction), tolerance=tolerance)
            factors[number, :, row] = found / bulk
    parts = _described(tiles, factors, "conductivity", bulk)
    if youngs_modulus is not None:
        if poissons_ratio is None:
            raise InputError(f"{where}: Young's modulus needs Poisson's ratio, got none. Pass it, for example 0.25.")
        stiff_bulk = _reference(youngs_modulus, reference_modulus, "reference_modulus", where)
        moduli = _moduli(tiles, youngs_modulus, poissons_ratio, tolerance, where)
        parts.update(_described(tiles, moduli / stiff_bulk, "youngs_modulus", stiff_bulk))
    return xr.Dataset(parts, attrs={"tile_um": tiles.size_um})


def _reference(values: xr.DataArray, given: float | None, name: str, where: str) -> float:
    bulk = float(values.max()) if given is None else float(given)
    if not (bulk > 0 and np.isfinite(bulk)):
        raise InputError(f"{where}: {name} must be positive, got {bulk}. Pass the value of the dense material.")
    return bulk


def _moduli(
    tiles: Tiles, youngs_modulus: xr.DataArray, poissons_ratio: float | xr.DataArray, tolerance: float, where: str
) -> np.ndarray:
    from operando.transport.stiffness import youngs_moduli

    fields = [youngs_modulus, *([poissons_ratio] if isinstance(poissons_ratio, xr.DataArray) else [])]
    for field in fields:
        if dict(field.sizes) != dict(tiles.volume.sizes):
            raise InputError(
                f"{where}: all volumes must have one shape, got {dict(field.sizes)} beside {dict(tiles.volume.sizes)}. "
                "Crop them alike."
            )
    if max(tiles.edges) > 1.001 * min(tiles.edges):
        raise InputError(
            f"{where}: the stiffness of sub-domains needs cubic voxels, got edges {tiles.edges} um. Resample first."
        )
    turned = [field.transpose(*SPACE) for field in fields]
    result = np.full((3, *tiles.counts), np.nan)
    for row in range(tiles.counts[1]):
        domains = [_domains(tiles.row(row, field), tiles.size) for field in turned]
        moduli = domains[0]
        known = np.flatnonzero(~np.any([np.isnan(d).any((1, 2, 3)) for d in domains], axis=0))
        if known.size:
            ratio = domains[1][known] if len(domains) > 1 else poissons_ratio
            found = np.full((len(moduli), 3), np.nan)
            found[known] = youngs_moduli(moduli[known], ratio, tolerance=tolerance)
            shaped = found.reshape(tiles.counts[0], tiles.counts[2], 3)
            for number, direction in enumerate(DIRECTIONS):
                result[number, :, row] = shaped[..., SPACE.index(direction)]
    return result


def _domains(slab: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """The sub-domains of a row one after the other: (domain, z, y, x)."""
    nz, nx = slab.shape[0] // size[0], slab.shape[2] // size[2]
    cut = slab.reshape(nz, size[0], size[1], nx, size[2])
    return cut.transpose(0, 3, 1, 2, 4).reshape(nz * nx, *size).astype(np.float64)


def _described(tiles: Tiles, factors: np.ndarray, name: str, bulk: float) -> dict[str, xr.DataArray]:
    long_name = f"Microstructure factor ({name.replace('_', ' ')})"
    made = tiles.label(factors, units="1", long_name=long_name).assign_coords(component=list(DIRECTIONS))
    made.attrs["reference"] = bulk
    return {
        name: made,
        f"{name}_mean": made.mean(SPACE, keep_attrs=True),
        f"{name}_min": made.min(SPACE, keep_attrs=True),
        f"{name}_max": made.max(SPACE, keep_attrs=True),
    }
