"""Where collector, lithium and ceramic meet: the four boundary planes of a cell, column by column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import require_dims, spacing
from operando.core.errors import InputError, PhaseError, nearest
from operando.core.phases import UNLABELED, PhaseScheme
from operando.morphometry.flattening import known_phases
from operando.morphometry.volume import Phases, checked_labels, described, over_columns, scans

BOUNDARIES = ("low collector", "low interface", "high interface", "high collector")
"""Components of a boundary array, in the order of ``z``."""
_OTHER, _SKIP = 3, 4


def electrode_boundaries(
    labels: xr.DataArray,
    phases: Phases | None = None,
    *,
    lithium: Sequence[str] | None = None,
    ceramic: Sequence[str] | None = None,
    collector: Sequence[str] | None = None,
) -> xr.DataArray:
    """Height of the boundaries collector / lithium / ceramic / lithium / collector, place by place.

    Parameters
    ----------
    labels : DataArray of uint8, dims ([t], z, y, x), z in um
        Phase ids; ``z`` normal to the electrodes. May be lazy.
    phases : PhaseScheme or mapping, optional
        What the ids mean. Default: ``labels.attrs["phases"]``.
    lithium, ceramic, collector : sequence of str, optional
        Phases of each layer. Default: those of ``electrode, pore``; of ``electrolyte, electrolyte_pore``; and
        ``collector`` that the scheme has. Other phases vote for no layer.

    Returns
    -------
    DataArray of float32, dims ([t], component, y, x), units "um"
        Position along ``z`` of the voxel face at which ``low collector`` gives way to lithium, lithium to ceramic
        (``low interface``), ceramic to lithium (``high interface``) and lithium to ``high collector``. NaN where one of
        the two sides is not in the column. Lazy where ``labels`` is.

    Raises
    ------
    PhaseError
        Where the scheme lacks a phase that is named, or has none of lithium or of the ceramic.
    UnitsError, AxesError
        Where z is not in um or the dims are others.

    Notes
    -----
    In every column the five layers, in this order and each possibly empty, are laid so that the fewest voxels
    contradict them (dynamic programming, exact):

    .. math:: \\min_{b_1 \\le b_2 \\le b_3 \\le b_4} \\sum_z [\\,l(z) \\ne \\mathrm{layer}(z; b)\\,]

    So specks, holes and cracks move no boundary as long as they are thinner than what is right behind them. A voxel of
    ``pore`` at the interface is lithium, one of ``electrolyte_pore`` ceramic. Unlabeled voxels contradict nothing; of
    boundaries that are equally good, the first along z is taken. Where the lithium is stripped down to the collector,
    both of its boundaries coincide and its thickness is 0.

    Whole voxels: accurate to half a voxel edge on exact labels. Do not trust it where the layers overlap along z, as
    under an overhang: one height per column is all there is.

    Memory: the columns of one block of a lazy image, and about 100 bytes per voxel of a row along x and thread.

    Examples
    --------
    Collector, two voxels of lithium (one a pore), three of ceramic (one a pore), one of lithium; no collector above:

    >>> from operando.core.axes import labeled_image
    >>> from operando.core.phases import CERAMIC_CELL
    >>> column = np.array([3, 1, 2, 0, 4, 0, 1], np.uint8).reshape(7, 1, 1)
    >>> found = electrode_boundaries(labeled_image(column, voxel_size_um=2.0), CERAMIC_CELL)
    >>> found.values.ravel().tolist()
    [1.0, 5.0, 11.0, nan]
    """
    where = "electrode_boundaries"
    scheme, labels = checked_labels(labels, known_phases(labels, phases, where=where), where=where)
    step = spacing(labels, where=where)["z"]
    origin = (float(labels["z"][0]) if "z" in labels.coords else 0.0) - 0.5 * step
    layer = np.full(256, _OTHER, np.int8)
    for kind, (names, usual, needed) in enumerate(
        (
            (collector, ("collector",), False),
            (lithium, ("electrode", "pore"), True),
            (ceramic, ("electrolyte", "electrolyte_pore"), True),
        )
    ):
        layer[_members(scheme, names, usual, needed=needed, where=where)] = kind
    layer[UNLABELED] = _SKIP

    def heights(block: np.ndarray) -> np.ndarray:
        from operando.morphometry.boundaries_compiled import layer_starts

        planes = np.ascontiguousarray(np.moveaxis(block, -1, 0))
        first = layer_starts(planes, layer)
        faces = np.where(first < 0, np.nan, origin + step * first).astype(np.float32)
        return np.moveaxis(faces, 0, -1)

    maps = [over_columns(heights, scan, "component", BOUNDARIES, dtype=np.float32) for scan in scans(labels)]
    result = maps[0]
    if "t" in labels.dims:
        known = scan_coords(labels)
        bare = [one.drop_vars(known, errors="ignore") for one in maps]
        result = xr.concat(bare, dim="t", coords="minimal", compat="override").assign_coords(known)
    found = result.transpose(..., "component", "y", "x")
    return described(found, labels, units="um", long_name="Boundary")


def electrode_thickness(boundaries: xr.DataArray) -> xr.DataArray:
    """Thickness of each electrode, from its collector to its interface with the ceramic.

    Parameters
    ----------
    boundaries : DataArray, dims ([t], component, y, x), units "um"
        From :func:`electrode_boundaries` or ``boundaries_from_profiles``.

    Returns
    -------
    DataArray, dims ([t], component, y, x), units "um"
        Components ``low`` and ``high``. NaN where one of the two boundaries is.

    Raises
    ------
    InputError
        Where a boundary is missing.

    Notes
    -----
    Lithium and the pores in it together: times (1 - porosity) it is the lithium.

    Examples
    --------
    >>> heights = xr.DataArray([10.0, 30.0, 90.0, 95.0], dims="component", coords={"component": list(BOUNDARIES)},
    ...     attrs={"units": "um"})
    >>> electrode_thickness(heights.expand_dims(y=1, x=1)).values.ravel().tolist()
    [20.0, 5.0]
    """
    boundaries = checked_boundaries(boundaries, where="electrode_thickness")
    ends = ["low", "high"]
    below = boundaries.isel(component=[0, 2]).assign_coords(component=ends)
    above = boundaries.isel(component=[1, 3]).assign_coords(component=ends)
    thickness = (above - below).transpose(..., "component", "y", "x")
    return described(thickness, boundaries, units="um", long_name="Thickness of the electrode")


def scan_coords(labels: xr.DataArray) -> dict[str, Any]:
    """Time, step and whatever else is known of every scan."""
    return {str(name): coord for name, coord in labels.coords.items() if coord.dims == ("t",)}


def checked_boundaries(boundaries: xr.DataArray, *, where: str) -> xr.DataArray:
    """The four boundaries in order, dims ([t], component, y, x), once they are known to be there and in um."""
    require_dims(boundaries, ("component", "y", "x"), where=where, optional=("t",))
    have = [str(name) for name in boundaries.coords["component"].values] if "component" in boundaries.coords else []
    missing = [name for name in BOUNDARIES if name not in have]
    if missing:
        raise InputError(
            f"{where}: boundaries must have the components {list(BOUNDARIES)}, got {have}. "
            "Make them with electrode_boundaries or boundaries_from_profiles."
        )
    unit = boundaries.attrs.get("units", "um")
    if unit != "um":
        raise InputError(f"{where}: boundaries must be in um, got {unit!r}. Convert them and set attrs['units'].")
    return boundaries.sel(component=list(BOUNDARIES)).transpose(..., "component", "y", "x")


def _members(
    scheme: PhaseScheme, names: Sequence[str] | None, usual: Sequence[str], *, needed: bool, where: str
) -> list[int]:
    if names is not None:
        return [scheme.phase(name).id for name in ([names] if isinstance(names, str) else names)]
    found = [scheme[name] for name in usual if name in scheme]
    if needed and not found:
        raise PhaseError(
            f"{where}: a phase called {' or '.join(map(repr, usual))} is needed, got {list(scheme)}. "
            f"Name the phases of the layer. {nearest(usual[0], scheme)}"
        )
    return found
