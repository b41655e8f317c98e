"""Which electrode the lithium belongs to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from operando.core.axes import voxel_volume
from operando.core.errors import PhaseError
from operando.core.phases import UNLABELED, PhaseScheme
from operando.morphometry.interface import (
    ENDS,
    electrode_faces,
    middle_face,
    phase_sides,
    plating_end,
)
from operando.morphometry.volume import Phases, checked_labels, scans, volumes

SIDE_COMPONENTS = ("plating side", "stripping side")
SIDE_SCHEME = PhaseScheme({"other": 0, "plating side": 1, "stripping side": 2})


def lithium_by_side(
    labels: xr.DataArray,
    phases: Phases,
    *,
    plating_side: str | None = None,
    electrode: str = "electrode",
    lithium: Sequence[str] | None = None,
    side_of: dict[str, str] | None = None,
) -> xr.DataArray:
    """Volume of lithium on either side of the cell: what a balance against the coulombs needs.

    Parameters
    ----------
    labels : DataArray of uint8, dims ([t], z, y, x), coordinates in um
        Phase ids; ``z`` normal to the electrodes. May be lazy.
    phases : PhaseScheme or mapping of str to int
        What the ids mean.
    plating_side : {"low", "high"}, optional
        End of ``z`` that is plated on first charge. Default: ``labels.attrs["plating_side"]``.
    electrode : str
        The phase both electrodes are labeled with.
    lithium : sequence of str, optional
        Phases that are lithium. Default: those with the role ``lithium``.
    side_of : mapping of str to {"plating", "stripping"}, optional
        Phases that exist on one side only, whatever their position. Default: deposited and dendrite on the
        plating side, redeposited on the stripping side (Huang 2023). ``{}`` splits all by position.

    Returns
    -------
    DataArray of float64, dims ([t], component), units "um3"
        Components ``plating side`` and ``stripping side``.

    Raises
    ------
    InputError, PhaseError, UnitsError
        Where the plating side, a phase or the voxel size is not known.

    Notes
    -----
    Lithium without a side of its own belongs to the nearer electrode: in every column, voxels below the
    middle between the two electrode surfaces (:func:`electrode_surfaces`) are at the low side. Huang 2023
    (Supplementary Note 1) cuts the whole field of view at mid depth instead. Memory: the columns of one
    block; reads the image three times.

    Examples
    --------
    Two voxels of electrode below, one deposited on it, one of electrode above; voxels of 1 um3:

    >>> from operando.core.axes import labeled_image
    >>> labels = labeled_image(np.array([1, 1, 2, 0, 0, 1], np.uint8).reshape(6, 1, 1), voxel_size_um=1.0)
    >>> phases = {"electrolyte": 0, "electrode": 1, "deposited": 2}
    >>> lithium_by_side(labels, phases, plating_side="low").values.tolist()
    [3.0, 1.0]
    """
    voxel_volume(checked_labels(labels, phases, where="lithium_by_side")[1], where="lithium_by_side")
    sided = side_labels(
        labels, phases, plating_side=plating_side, electrode=electrode, lithium=lithium, side_of=side_of
    )
    volume = volumes(sided, SIDE_SCHEME).sel(component=list(SIDE_COMPONENTS))
    return volume.assign_attrs(long_name="Lithium")


def side_labels(
    labels: xr.DataArray,
    phases: Phases,
    *,
    plating_side: str | None = None,
    electrode: str = "electrode",
    lithium: Sequence[str] | None = None,
    side_of: dict[str, str] | None = None,
) -> xr.DataArray:
    """Label image of the lithium by side: 0 other, 1 plating side, 2 stripping side, 255 unlabeled.

    Parameters
    ----------
    labels, phases, plating_side, electrode, lithium, side_of
        As in :func:`lithium_by_side`.

    Returns
    -------
    DataArray of uint8, dims ([t], z, y, x)
        To be read with :data:`SIDE_SCHEME`; lazy where ``labels`` is. The electrode surfaces are found at
        the call.
    """
    where = "side_labels"
    scheme, labels = checked_labels(labels, phases, where=where)
    fixed, free = fixed_and_free(labels, scheme, plating_side, lithium, side_of, where=where)
    plating = plating_end(labels, plating_side, where=where)
    code = {end: SIDE_SCHEME["plating side" if end == plating else "stripping side"] for end in ENDS}
    tables = []
    for nearest_end in ENDS:
        table = np.zeros(256, dtype=np.uint8)
        table[UNLABELED] = UNLABELED
        for end in ENDS:
            table[fixed[end]] = code[end]
        table[free] = code[nearest_end]
        tables.append(table)
    parts = []
    for scan in scans(labels):
        middle = xr.DataArray(
            middle_face(electrode_faces(scan, scheme, electrode, where=where).compute()), dims=("y", "x")
        )
        center = xr.DataArray(np.arange(scan.sizes["z"]) + 0.5, dims="z")
        parts.append(xr.apply_ufunc(_by_side, scan, center, middle, kwargs={"tables": tables}, dask="parallelized",
                                    output_dtypes=[np.uint8], keep_attrs=False).transpose("z", "y", "x"))  # fmt: skip
    sided = xr.concat(parts, dim="t") if "t" in labels.dims else parts[0]
    return labels.copy(data=sided.data).assign_attrs(long_name="Lithium by side")


def _by_side(block: np.ndarray, center: np.ndarray, middle: np.ndarray, *, tables: list[np.ndarray]) -> np.ndarray:
    return np.where(center < middle, tables[0][block], tables[1][block])


def fixed_and_free(
    labels: xr.DataArray,
    scheme: PhaseScheme,
    plating_side: str | None,
    lithium: Sequence[str] | None,
    side_of: dict[str, str] | None,
    *,
    where: str,
) -> tuple[dict[str, list[int]], list[int]]:
    """Ids that are lithium at a fixed end of z, and those that are lithium wherever they are nearest."""
    names = lithium_phases(scheme, lithium, where=where)
    sides = phase_sides(scheme, side_of, where=where)
    plating = plating_end(labels, plating_side, where=where)
    stripping = "high" if plating == "low" else "low"
    ends: dict[str, list[int]] = {"low": [], "high": []}
    free = []
    for name in names:
        if name in sides:
            ends[plating if sides[name] == "plating" else stripping].append(scheme[name])
        else:
            free.append(scheme[name])
    return ends, free


def lithium_phases(scheme: PhaseScheme, lithium: Sequence[str] | None, *, where: str) -> tuple[str, ...]:
    """Names of the phases that are lithium: as given, else by role."""
    if lithium is not None:
        return tuple(scheme.phase(name).name for name in lithium)
    names = scheme.names_by_role("lithium")
    if not names:
        raise PhaseError(
            f"{where}: at least one phase must have the role 'lithium', got {dict(scheme)}. "
            "Make the scheme with roles={'name': 'lithium'}, or pass lithium=[...]."
        )
    return names
