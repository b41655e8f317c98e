"""What the elasticity functions are given, checked and scaled once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import SPACE, axis_spacing, require_dims, spacing
from operando.core.errors import AxesError, InputError, nearest
from operando.core.units import PIXEL
from operando.transport.stiffness_solver import BOUNDARIES

MEASURES = ("young", "uniaxial strain")
_SINGLE = 1e-5  # the finest tolerance that single precision serves


@dataclass(frozen=True)
class Moduli:
    """Lame's constants (domain, z, y, x) over ``scale``, the largest Young's modulus; voxel edges over the smallest."""

    lame: np.ndarray
    shear: np.ndarray
    spacing: tuple[float, ...]
    scale: float
    unit: str

    def split_middle(self, voxels: int) -> tuple[Moduli, Moduli]:
        """The middle of the body, at most ``voxels`` along each axis, and the same with every voxel split in eight."""
        starts = [max(0, (n - voxels) // 2) for n in self.shear.shape[1:]]
        cut = (slice(None), *(slice(start, start + voxels) for start in starts))
        # Contiguous, as the loops are compiled for.
        middle = replace(self, lame=self.lame[cut].copy(), shear=self.shear[cut].copy())
        lame, shear = (
            values.repeat(2, axis=1).repeat(2, axis=2).repeat(2, axis=3) for values in (middle.lame, middle.shear)
        )
        return middle, replace(middle, lame=lame, shear=shear)

    def all_of(self, cases: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Constants of the domains of these (domain, axis), and where each case finds its own."""
        low, high = cases[0][0], cases[-1][0] + 1
        return self.lame[low:high], self.shear[low:high], np.array([domain - low for domain, _ in cases])

    def bearing(self, cases: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The same without what does not reach from face to face along the axis: it bears nothing between plates."""
        lame, shear, which = self.all_of(cases)
        if shear.min() > 0:
            return lame, shear, which
        import cc3d

        keep, pieces, last = [], np.empty(0), -1
        for domain, axis in cases:
            if domain != last:
                # Voxels that share no more than a corner are hinged there.
                pieces, last = cc3d.connected_components(self.shear[domain] > 0, connectivity=26), domain
            ends = np.intersect1d(pieces.take(0, axis), pieces.take(-1, axis))
            keep.append(np.isin(pieces, ends[ends > 0]))
        if all(np.array_equal(kept, shear[k] > 0) for kept, k in zip(keep, which, strict=True)):
            return lame, shear, which
        kept = np.stack(keep)
        return lame[which] * kept, shear[which] * kept, np.arange(len(cases))


def read_moduli(
    youngs_modulus: Any, poissons_ratio: Any, *, tolerance: float, where: str, many: bool = False
) -> Moduli:
    """Check the arrays and turn them into scaled constants, in single precision where the tolerance allows."""
    edges: tuple[float, ...] = (1.0, 1.0, 1.0)
    if isinstance(youngs_modulus, xr.DataArray):
        require_dims(youngs_modulus, SPACE, where=where)
        if youngs_modulus.dims != SPACE:
            raise AxesError(f"{where}: dims must be in the order z, y, x, got {youngs_modulus.dims}. Transpose first.")
        units = {axis_spacing(youngs_modulus, dim, where=where)[1] for dim in SPACE}
        known = spacing(youngs_modulus, unit=PIXEL if units == {PIXEL} else "um", where=where)
        edges = tuple(known[dim] / min(known.values()) for dim in SPACE)
    moduli = np.asarray(youngs_modulus)
    if moduli.ndim not in ((3, 4) if many else (3,)) or 0 in moduli.shape:
        raise AxesError(
            f"{where}: youngs_modulus must have voxels along {'([domain,] z, y, x)' if many else '(z, y, x)'}, got the "
            f"shape {moduli.shape}. Give a 2-D section a third axis with array[None]: it then stands for what goes on."
        )
    low, high = float(moduli.min()), float(moduli.max())
    if not (low >= 0 and np.isfinite(high)):
        raise InputError(
            f"{where}: youngs_modulus must be finite and at least 0, got values from {low:g} to {high:g}. "
            "Use 0 for pores and fill what is missing."
        )
    ratio = np.asarray(poissons_ratio, dtype=float)
    if ratio.ndim and ratio.shape != moduli.shape:
        raise AxesError(
            f"{where}: poissons_ratio must be one number or have the shape {moduli.shape} of youngs_modulus, got "
            f"{ratio.shape}. Crop both alike."
        )
    if ratio.ndim:
        ratio = np.where(moduli > 0, ratio, 0.0)
    if not (ratio.min() > -1 and ratio.max() < 0.5):
        raise InputError(
            f"{where}: poissons_ratio must be above -1 and below 0.5 wherever there is solid, got values from "
            f"{ratio.min():g} to {ratio.max():g}. For a nearly incompressible solid use 0.49."
        )
    scale = high or 1.0
    dtype = np.float32 if tolerance >= _SINGLE else np.float64
    shape = moduli.shape if moduli.ndim == 4 else (1, *moduli.shape)
    lame, shear = np.empty(moduli.shape, dtype=dtype), np.empty(moduli.shape, dtype=dtype)
    np.multiply(moduli, ratio / ((1 + ratio) * (1 - 2 * ratio)) / scale, out=lame, casting="unsafe")
    np.multiply(moduli, 0.5 / (1 + ratio) / scale, out=shear, casting="unsafe")
    unit = str(getattr(youngs_modulus, "attrs", {}).get("units", "1"))
    return Moduli(lame.reshape(shape), shear.reshape(shape), edges, scale, unit)


def axis_number(axis: int | str, *, where: str) -> int:
    """Which of z, y, x is meant, as 0, 1 or 2."""
    if isinstance(axis, str):
        if axis not in SPACE:
            raise AxesError(f"{where}: axis must be one of z, y, x, got {axis!r}. {nearest(axis, SPACE)}")
        return SPACE.index(axis)
    if isinstance(axis, bool) or axis not in range(-3, 3):
        raise AxesError(f"{where}: axis must be 0, 1 or 2 (z, y, x), got {axis!r}. Count axes from 0.")
    return int(axis) % 3


def check_choices(measure: str, boundary: str, tolerance: float, *, where: str) -> None:
    """Raise unless the words are known and the tolerance is a small positive number."""
    for name, word, known in (("measure", measure, MEASURES), ("boundary", boundary, BOUNDARIES)):
        if word not in known:
            raise InputError(f"{where}: {name} must be one of {known}, got {word!r}. {nearest(str(word), known)}")
    if not 1e-10 <= tolerance < 1:
        raise InputError(
            f"{where}: tolerance must be a relative error in [1e-10, 1), got {tolerance!r}. 1e-4 is the default."
        )
