"""The ceramic of a simulated lithium | ceramic | lithium cell: interfaces, grains, pores, and how it conducts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from operando.core.errors import InputError
from operando.samples.fields import correlated, generator

SIDES = ("low", "high")
_ROUGHNESS_UM = 2.0
_ROUGHNESS_LENGTH_UM = 6.0
_COLLECTOR_LENGTH_UM = 60.0
# Lateral and axial length over which the ceramic's porosity varies.
_PATCH_UM, _PATCH_DEPTH_UM = 30.0, 90.0
# The interface evens out the current over about this length (standard deviation of a Gaussian).
INTERFACE_UM = 9.0
_LITHIUM_CONDUCTIVITY = 100.0


@dataclass(frozen=True)
class Ceramic:
    """The ceramic before any current.

    ``interface_um`` (side, y, x): where lithium meets it, low and high; ``first``: plane of the cell in which the
    volumes ``phase`` (0 pore, 1 grain, 2 boundary) and ``grains`` begin.
    """

    interface_um: np.ndarray
    first: int
    phase: np.ndarray
    grains: np.ndarray


def layout(planes: int) -> tuple[int, int]:
    """Planes of steel and of lithium on either side.

    Examples
    --------
    >>> layout(128)
    (8, 16)
    """
    return max(6, round(planes / 16)), max(10, round(planes / 8))


def make_ceramic(
    shape: tuple[int, int, int],
    *,
    voxel_size_um: float,
    seed: int,
    porosity: float,
    porosity_variation: float,
    pore_size_um: float,
    grain_size_um: float,
    anisotropy: float | tuple[float, float, float],
) -> Ceramic:
    """Rough interfaces around a polycrystal whose porosity varies from place to place."""
    from operando.transport.polycrystal import synthetic_polycrystal

    steel, lithium = layout(shape[0])
    plane = np.array([steel + lithium, shape[0] - steel - lithium], dtype=float)
    interface = np.empty((2, *shape[1:]))
    for side, word in enumerate(SIDES):
        rough = correlated(generator(seed, "interface", word), shape[1:], _ROUGHNESS_LENGTH_UM / voxel_size_um)
        # Voxel 0 spans -0.5 to 0.5.
        interface[side] = (plane[side] - 0.5) * voxel_size_um + _ROUGHNESS_UM * np.clip(rough, -3, 3)
    first = int(np.floor(interface[0].min() / voxel_size_um))
    last = int(np.ceil(interface[1].max() / voxel_size_um))
    size = (last - first + 1, *shape[1:])
    lengths = [length / voxel_size_um for length in (_PATCH_DEPTH_UM, _PATCH_UM, _PATCH_UM)]
    density = np.exp(porosity_variation * correlated(generator(seed, "ceramic porosity"), size, lengths))
    made = synthetic_polycrystal(
        size,
        voxel_size_um=voxel_size_um,
        grain_size_um=grain_size_um,
        porosity=porosity,
        pore_size_um=pore_size_um,
        boundary_um=voxel_size_um,
        anisotropy=anisotropy,
        pore_density=density,
        seed=int(generator(seed, "polycrystal").integers(2**31)),
    )
    return Ceramic(interface, first, made["labels"].values, made["grains"].values)


def make_foils(size: tuple[int, int, int], interface_um: np.ndarray, *, seed: int, voxel_size_um: float) -> np.ndarray:
    """Thickness (side, y, x) in um of the pristine electrodes between slightly wavy collectors."""
    steel, _ = layout(size[0])
    thickness = np.empty_like(interface_um)
    for side, word in enumerate(SIDES):
        wave = correlated(generator(seed, "collector", word), size[1:], _COLLECTOR_LENGTH_UM / voxel_size_um)
        wave = 0.4 * voxel_size_um * np.clip(wave, -2, 2)
        planes = steel if side == 0 else size[0] - steel
        height = (planes - 0.5) * voxel_size_um + wave
        thickness[side] = np.abs(interface_um[side] - height)
    return thickness


def local_flux(ceramic: Ceramic, *, voxel_size_um: float, boundary_conductivity: float) -> tuple[np.ndarray, float]:
    """Current per area that enters and leaves the ceramic at unit potential difference, relative to its mean.

    Returns
    -------
    relative : ndarray, shape (side, y, x)
        Mean 1 per side.
    conductivity : float
        Of the ceramic between the mean interfaces, relative to that of a grain.

    Notes
    -----
    Steady conduction, div(k grad phi) = 0, on the voxels between the two lithium electrodes: grains 1, boundaries
    ``boundary_conductivity``, pores 0, lithium 100 (which keeps the rough interface at one potential), no flux
    sideways. What crosses the faces between lithium and ceramic is counted for the column of the lithium voxel and
    evened out over :data:`INTERFACE_UM`.
    """
    from scipy.ndimage import gaussian_filter

    from operando.transport.potential import solve_potential

    planes = ceramic.phase.shape[0]
    z = (ceramic.first + np.arange(planes))[:, None, None] * voxel_size_um
    low, high = z < ceramic.interface_um[0], z >= ceramic.interface_um[1]
    k = np.array([0.0, 1.0, boundary_conductivity], dtype=np.float32)[ceramic.phase]
    k[low | high] = _LITHIUM_CONDUCTIVITY
    potential = solve_potential(k, 0, tolerance=1e-5, dtype="float32").potential
    if potential is None:
        raise InputError(
            "ceramic_cell: the ceramic must conduct from one side to the other, got pores that cut it through. "
            "Lower porosity or porosity_variation."
        )
    flux = np.zeros((2, *k.shape[1:]))
    for axis in range(3):
        a: list[slice] = [slice(None)] * 3
        b = list(a)
        a[axis], b[axis] = slice(None, -1), slice(1, None)
        below, above = tuple(a), tuple(b)
        with np.errstate(divide="ignore"):
            current = (potential[below] - potential[above]) * (2 / (1 / k[below] + 1 / k[above]))
        # At the low side current leaves lithium, at the high side it enters; every face counts for its lithium voxel.
        for side, (lithium, sign) in enumerate(((low, 1.0), (high, -1.0))):
            outward = np.where(lithium[below] & ~lithium[above], sign * current, 0).sum(axis=0)
            inward = np.where(lithium[above] & ~lithium[below], -sign * current, 0).sum(axis=0)
            flux[side][below[1:] if axis else ...] += outward
            flux[side][above[1:] if axis else ...] += inward
    thickness = float(np.mean(ceramic.interface_um[1] - ceramic.interface_um[0])) / voxel_size_um
    conductivity = float(flux.mean()) * thickness
    for side in range(2):
        flux[side] = gaussian_filter(flux[side], INTERFACE_UM / voxel_size_um, mode="reflect")
        flux[side] /= flux[side].mean()
    return flux, conductivity
