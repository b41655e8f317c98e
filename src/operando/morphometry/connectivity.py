"""Lithium that has lost its electrode, in volumes larger than memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import voxel_volume
from operando.core.errors import InputError, nearest
from operando.morphometry.components import STEPS, Search
from operando.morphometry.interface import (
    ENDS,
    SIDES,
    SLAB_VOXELS,
    electrode_faces,
    middle_face,
    plating_end,
)
from operando.morphometry.sides import fixed_and_free, lithium_phases
from operando.morphometry.volume import Phases, checked_labels, passed_on, scans

COLLECTORS = ("z0", "z1", "y0", "y1", "x0", "x1")
"""Faces of the field of view that may be current collectors: first and last plane along each axis."""
BORDERS = ("unknown", "inactive")


def inactive_lithium(
    labels: xr.DataArray,
    phases: Phases,
    *,
    collectors: Sequence[str] | None = None,
    border: str | None = None,
    plating_side: str | None = None,
    side: str | None = "auto",
    electrode: str = "electrode",
    lithium: Sequence[str] | None = None,
    side_of: dict[str, str] | None = None,
    connectivity: int = 6,
    slab_voxels: int = SLAB_VOXELS,
) -> xr.DataArray:
    """Volume of lithium that no path through lithium joins to a current collector or an electrode ("dead" lithium).

    Parameters
    ----------
    labels : DataArray of uint8, dims ([t], z, y, x), coordinates in um
        Phase ids; ``z`` normal to the electrodes. May be lazy.
    phases : PhaseScheme or mapping of str to int
        What the ids mean.
    collectors : sequence of {"z0", "z1", "y0", "y1", "x0", "x1"}, optional
        First or last planes of the field of view in which lithium is in contact with a current collector, such as
        ``("z0", "z1")`` for a cell that is seen from foil to foil. Default: contact is the electrode itself, which
        must then be labeled.
    border : {"unknown", "inactive"}, optional
        What a piece without contact is that touches an open face of the field of view, through which its path may
        leave: not counted, or counted like any other. Default: ``unknown`` where ``collectors`` are given, else
        ``inactive``. The coordinate ``unknown`` holds their volume in either case.
    plating_side : {"low", "high"}, optional
        End of ``z`` that is plated on first charge. Default: ``labels.attrs["plating_side"]``.
    side : {"auto", "plating", "stripping"} or None
        Side of the cell to count on; None counts both. ``auto``: the plating side, but both where there are
        ``collectors`` and nobody says which side that is.
    electrode, lithium, side_of
        As in :func:`lithium_by_side`.
    connectivity : {6, 18, 26}
        Whether voxels touch by faces, also edges, or also corners.
    slab_voxels : int
        Voxels to hold at a time.

    Returns
    -------
    DataArray of float64, dims ([t]), units "um3"
        With the coordinate ``unknown`` (um3, same dims); ``attrs`` state connectivity, collectors and border.

    Raises
    ------
    InputError, PhaseError, UnitsError
        Where the plating side, a collector, a phase, the voxel size or the connectivity is not known.

    Notes
    -----
    Components of all lithium phases together are in contact where they hold a voxel in the plane of a collector or,
    without collectors, of an electrode's slab: electrode before its surface as :func:`electrode_surfaces` finds
    it. A speck labeled electrode inside the electrolyte is therefore no electrode.

    Open are the faces that are no collector; without collectors those along ``y`` and ``x``, and the end of ``z``
    without an electrode. An axis of a single voxel has no faces: a section is judged as it is.

    Components are labeled slab by slab and joined across slabs, with 64-bit numbers; the result does not
    depend on ``slab_voxels``. Memory: about 10 bytes per voxel of a slab (at least one plane), a row of
    chunks of a lazy image, three (y, x) maps and 24 bytes per component.

    Do not trust it below the resolution: a neck thinner than a voxel reads as a gap, and one wrong voxel
    opens or closes a contact. ``connectivity`` 26 and 6 bracket the latter. Where the plane of a collector shows
    no lithium, as beyond a foil that is not in the region, everything is inactive.

    Examples
    --------
    One voxel (1 um3) of dendrite floats above the deposit:

    >>> from operando.core.axes import labeled_image
    >>> labels = labeled_image(np.array([1, 2, 0, 3, 0, 1], np.uint8).reshape(6, 1, 1), voxel_size_um=1.0)
    >>> phases = {"electrolyte": 0, "electrode": 1, "deposited": 2, "dendrite": 3}
    >>> inactive_lithium(labels, phases, plating_side="low").item()
    1.0
    >>> inactive_lithium(labels, phases, collectors=("z0", "z1")).item()
    1.0

    Where only the upper plane is a collector, what hangs on the lower one may go on outside:

    >>> dead = inactive_lithium(labels, phases, collectors=("z1",))
    >>> dead.item(), dead["unknown"].item()
    (1.0, 2.0)
    """
    searches, border = _searches(
        labels, phases, collectors, border, plating_side, side, electrode, lithium, side_of, connectivity, slab_voxels
    )
    voxel = voxel_volume(labels, where="inactive_lithium")
    counts, unknown = [], []
    for search in searches:
        found = search.components()
        counts.append(int(found.sizes[found.inactive(border)].sum()))
        unknown.append(int(found.sizes[~found.connected & found.open].sum()))
    attrs = {
        "units": "um3",
        "long_name": "Inactive lithium",
        "connectivity": connectivity,
        "collectors": "electrodes" if collectors is None else " ".join(collectors),
        "border": border,
        "unknown": "pieces without contact that touch an open face of the field of view, "
        + ("not counted: see the coordinate" if border == "unknown" else "counted: their share is the coordinate"),
        **passed_on(labels),
    }
    timed = "t" in labels.dims
    values, open_ = (np.array(n, dtype=float) * voxel for n in (counts, unknown))
    coords: dict[str, Any] = {"t": labels.coords["t"]} if timed and "t" in labels.coords else {}
    described = {"units": "um3", "long_name": "Lithium without known contact"}
    coords["unknown"] = (("t",), open_, described) if timed else ((), open_[0], described)
    return xr.DataArray(values if timed else values[0], dims=("t",) if timed else (), coords=coords, attrs=attrs)


def inactive_mask(
    labels: xr.DataArray,
    phases: Phases,
    *,
    collectors: Sequence[str] | None = None,
    border: str | None = None,
    plating_side: str | None = None,
    side: str | None = "auto",
    electrode: str = "electrode",
    lithium: Sequence[str] | None = None,
    side_of: dict[str, str] | None = None,
    connectivity: int = 6,
    slab_voxels: int = SLAB_VOXELS,
) -> xr.DataArray:
    """Where the inactive lithium is.

    Parameters
    ----------
    labels, phases, collectors, border, plating_side, side, electrode, lithium, side_of, connectivity, slab_voxels
        As in :func:`inactive_lithium`.

    Returns
    -------
    DataArray of bool, dims ([t], z, y, x)
        Lazy, in rows of whole planes, where ``labels`` is lazy. The components are found at the call, at the
        memory of :func:`inactive_lithium`; computing a row labels it once more.

    Examples
    --------
    >>> from operando.core.axes import labeled_image
    >>> labels = labeled_image(np.array([1, 2, 0, 3, 0, 1], np.uint8).reshape(6, 1, 1), voxel_size_um=1.0)
    >>> phases = {"electrolyte": 0, "electrode": 1, "deposited": 2, "dendrite": 3}
    >>> inactive_mask(labels, phases, plating_side="low").values.ravel().nonzero()[0].tolist()
    [3]
    """
    searches, border = _searches(
        labels, phases, collectors, border, plating_side, side, electrode, lithium, side_of, connectivity, slab_voxels
    )
    masks = []
    for search in searches:
        found = search.components()
        masks.append(search.mask(found.inactive(border), found.firsts))
    _, ordered = checked_labels(labels, phases, where="inactive_mask")
    if ordered.chunks is None:
        data = np.stack(masks) if "t" in ordered.dims else masks[0]
    else:
        import dask.array as da

        data = da.stack(masks) if "t" in ordered.dims else masks[0]
    return ordered.copy(data=data).assign_attrs(units="1", long_name="Inactive lithium").rename(None)


def _searches(
    labels: xr.DataArray,
    phases: Phases,
    collectors: Sequence[str] | None,
    border: str | None,
    plating_side: str | None,
    side: str | None,
    electrode: str,
    lithium: Sequence[str] | None,
    side_of: dict[str, str] | None,
    connectivity: int,
    slab_voxels: int,
) -> tuple[Iterator[Search], str]:
    """One search per scan, and what becomes of pieces at the border."""
    where = "inactive_lithium"
    if connectivity not in STEPS:
        raise InputError(f"{where}: connectivity must be 6, 18 or 26 neighbors, got {connectivity!r}. Choose one.")
    if side not in (*SIDES, "auto", None):
        raise InputError(
            f"{where}: side must be 'auto', 'plating', 'stripping' or None for both, got {side!r}. Choose one."
        )
    faces = _collectors(collectors, where=where)
    if border is None:
        border = "inactive" if faces is None else "unknown"
    if border not in BORDERS:
        raise InputError(
            f"{where}: border must be 'unknown' or 'inactive', got {border!r}. {nearest(str(border), BORDERS)}"
        )
    scheme, labels = checked_labels(labels, phases, where=where)
    members = [scheme[name] for name in lithium_phases(scheme, lithium, where=where)]
    if side == "auto":
        told = plating_side is not None or labels.attrs.get("plating_side") is not None
        side = "plating" if told or faces is None else None
    fixed: dict[str, list[int]]
    free: list[int]
    ends: tuple[str, ...]
    if side is None:
        fixed, free, ends = {"low": members, "high": members}, [], ENDS
    else:
        fixed, free = fixed_and_free(labels, scheme, plating_side, lithium, side_of, where=where)
        plating = plating_end(labels, plating_side, where=where)
        ends = tuple(end for end in ENDS if (end == plating) == (side == "plating"))

    def search(scan: xr.DataArray) -> Search:
        low, high, middle = np.array(-np.inf), np.array(np.inf), np.array(np.inf)
        open_ = set(COLLECTORS) - set(faces or ())
        if faces is None or free:
            surfaces = electrode_faces(scan, scheme, electrode, where=where).compute()
            middle = middle_face(surfaces)
            if faces is None:
                low, high = surfaces.sel(component="low").values, surfaces.sel(component="high").values
                open_ -= {face for face, height in (("z0", low), ("z1", high)) if not np.isnan(height).all()}
                low, high = np.nan_to_num(low, nan=-np.inf), np.nan_to_num(high, nan=np.inf)
        return Search(
            scan=scan,
            lithium=_table(members),
            fixed=_table(number for end in ends for number in fixed[end]),
            free=_table(free),
            ends=ends,
            collectors=faces,
            open=frozenset(face for face in open_ if scan.sizes[face[0]] > 1),
            electrode=scheme[electrode] if faces is None else -1,
            low=low,
            high=high,
            middle=middle,
            connectivity=connectivity,
            slab_voxels=slab_voxels,
        )

    return (search(scan) for scan in scans(labels)), border


def _collectors(collectors: Sequence[str] | None, *, where: str) -> tuple[str, ...] | None:
    if collectors is None:
        return None
    faces = (collectors,) if isinstance(collectors, str) else tuple(collectors)
    for face in faces:
        if face not in COLLECTORS:
            raise InputError(
                f"{where}: a collector must be one of {', '.join(COLLECTORS)} (first and last plane of an axis), got "
                f"{face!r}. {nearest(str(face), COLLECTORS)}"
            )
    if not faces:
        raise InputError(
            f"{where}: at least one collector is needed, got none. Name a face such as 'z0', or pass None to take the "
            "labeled electrodes."
        )
    return faces


def _table(ids: Iterable[int]) -> np.ndarray:
    return np.isin(np.arange(256), list(ids))
