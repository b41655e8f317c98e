"""Pits after the lithium came back: what it did not fill, and what it closed over."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from operando.core.axes import spacing
from operando.core.errors import InputError, PhaseError, nearest
from operando.core.phases import PhaseScheme
from operando.morphometry.interface import electrode_faces, plane_counts, plating_end
from operando.morphometry.volume import (
    Phases,
    by_component,
    checked_labels,
    column_counts,
    described,
    passed_on,
    scan_index,
    scans,
)

CONTACT = ("contact", "void", "bare")
_BY = ("difference", "label")


def unfilled_pits(
    labels: xr.DataArray,
    phases: Phases,
    *,
    half_cycle: float | None = None,
    by: str = "difference",
    pit: str = "pit",
    redeposited: str = "redeposited",
) -> xr.DataArray:
    """Depth of the pits that redeposited lithium does not fill, place by place, from the half cycle on.

    Parameters
    ----------
    labels : DataArray of uint8, dims (t, z, y, x), coordinates in um
        Phase ids of a series; ``z`` normal to the electrodes. May be lazy.
    phases : PhaseScheme or mapping of str to int
        What the ids mean.
    half_cycle : int or float, optional
        Scan at which charging ended: its number (int) or its time (float). Default: the scan with the largest
        volume of pits, which takes a pass over the whole series.
    by : {"difference", "label"}
        ``difference``: thickness of the pits at half cycle less that of the lithium redeposited since, as Huang
        2023 does. ``label``: what is labeled pit in the scan itself.
    pit, redeposited : str
        The phases.

    Returns
    -------
    DataArray of float32, dims (t, y, x), units "um"
        Scans from the half cycle on, with their number in the series as the coordinate ``scan``; nowhere
        negative. Lazy where ``labels`` is.

    Raises
    ------
    AxesError, InputError, PhaseError, UnitsError
        Where there is no series, no such scan or phase, or no voxel size.

    Notes
    -----
    .. math:: u_t(y, x) = \\max(0,\\ h_\\mathrm{pit}(t_{1/2}, y, x) - h_\\mathrm{redeposited}(t, y, x))

    The difference asks how much lithium arrived in the column, not where: lithium that closes over a void, or
    that stands above the old surface, counts as filling. The label asks whether the void is still seen, and
    thus finds what was bridged; it rests on one scan and needs no registration, but on the segmentation of a
    void behind lithium. Where they differ, look at the cross-section. Memory: the columns of one block.

    Reference
    ---------
    Huang et al., npj Computational Materials 9, 93 (2023), Fig. 4c, doi:10.1038/s41524-023-01039-y

    Examples
    --------
    A pit of three voxels (1 um each), of which lithium fills one from above and leaves two behind:

    >>> from operando.core.axes import labeled_image
    >>> series = np.array([[0, 4, 4, 4, 1], [0, 5, 4, 4, 1]], np.uint8).reshape(2, 5, 1, 1)
    >>> phases = {"electrolyte": 0, "electrode": 1, "pit": 4, "redeposited": 5}
    >>> depth = unfilled_pits(labeled_image(series, voxel_size_um=1.0, t=[0, 1]), phases)
    >>> depth.values.ravel().tolist()
    [3.0, 2.0]
    """
    where = "unfilled_pits"
    scheme, labels = checked_labels(labels, phases, where=where)
    if by not in _BY:
        raise InputError(f"{where}: by must be 'difference' or 'label', got {by!r}. {nearest(str(by), _BY)}")
    step = spacing(labels, where=where)["z"]
    half = half_cycle_scan(labels, scheme, half_cycle, pit=pit, where=where)
    counts = column_counts(labels.isel(t=slice(half, None)), scheme, components=(pit, redeposited), where=where)
    left = counts.sel(component=pit, drop=True)
    if by == "difference":
        left = (left.isel(t=0, drop=True) - counts.sel(component=redeposited, drop=True)).clip(min=0)
        left = left.transpose("t", "y", "x")
    depth = (left * np.float32(step)).astype(np.float32)
    depth = depth.assign_coords(scan=("t", np.arange(half, labels.sizes["t"])))
    title = "Depth of unfilled pits"
    return described(depth, labels, name="unfilled pits", units="um", long_name=title, half_cycle=half, by=by)


def unfilled_area(
    labels: xr.DataArray,
    phases: Phases,
    *,
    half_cycle: float | None = None,
    pit: str = "pit",
    redeposited: str = "redeposited",
) -> xr.DataArray:
    """Share of the electrode's plane with pits at half cycle, and with pits that are not filled since.

    Parameters
    ----------
    labels, phases, half_cycle, pit, redeposited
        As in :func:`unfilled_pits`.

    Returns
    -------
    DataArray of float64, dims (t, component), units "1"
        All scans; NaN before the half cycle. Components: ``pits at half cycle`` (the same in all scans),
        ``unfilled pits`` (by difference), ``unfilled pits by label``. Divide by the first for shares of the
        pitted area.

    Notes
    -----
    Columns in which :func:`unfilled_pits` is above zero, over all columns; Huang 2023, Fig. 4e. One voxel decides
    a column, so specks inflate it: clean the labels first.

    Examples
    --------
    Two of four columns have a pit, one of them is filled:

    >>> from operando.core.axes import labeled_image
    >>> half, full = [[0, 0, 0, 0], [0, 0, 4, 4], [1, 1, 1, 1]], [[0, 0, 0, 0], [5, 5, 5, 4], [1, 1, 1, 1]]
    >>> series = labeled_image(np.array([half, full], np.uint8)[:, :, None], voxel_size_um=1.0, t=[0, 1])
    >>> phases = {"electrolyte": 0, "electrode": 1, "pit": 4, "redeposited": 5}
    >>> unfilled_area(series, phases).sel(component="unfilled pits").values.tolist()
    [0.5, 0.25]
    """
    where = "unfilled_area"
    scheme, labels = checked_labels(labels, phases, where=where)
    half = half_cycle_scan(labels, scheme, half_cycle, pit=pit, where=where)
    counts = column_counts(labels.isel(t=slice(half, None)), scheme, components=(pit, redeposited), where=where)
    pits, filled = (counts.sel(component=name, drop=True) for name in (pit, redeposited))
    first = pits.isel(t=0, drop=True)
    masks = {
        "pits at half cycle": (first > 0).broadcast_like(pits),
        "unfilled pits": first > filled,
        "unfilled pits by label": pits > 0,
    }
    shares = xr.Dataset({name: mask.mean(("y", "x")) for name, mask in masks.items()}).compute()
    values = np.full((labels.sizes["t"], len(masks)), np.nan)
    values[half:] = np.stack([shares[name].values for name in masks], axis=1)
    return by_component(
        values, labels, masks, units="1", long_name="Unfilled area", half_cycle=half, **passed_on(labels)
    )


def half_cycle_scan(
    labels: xr.DataArray, scheme: PhaseScheme, half_cycle: float | None, *, pit: str, where: str
) -> int:
    """Number of the scan at which charging ended: as given, else the one with the most voxels of pit."""
    at = scan_index(labels, 0 if half_cycle is None else half_cycle, where=where)
    if half_cycle is not None:
        return at
    number = scheme[pit]
    return int(np.argmax([plane_counts(scan, number).sum() for scan in scans(labels)]))


def void_depth(
    labels: xr.DataArray,
    phases: Phases,
    *,
    plating_side: str | None = None,
    electrode: str = "electrode",
    redeposited: str = "redeposited",
    void: str | Sequence[str] | None = None,
) -> xr.DataArray:
    """Depth of the voids between redeposited lithium and the electrode it came back to, place by place.

    Parameters
    ----------
    labels : DataArray of uint8, dims ([t], z, y, x), z in um
        Phase ids of one scan or a series; ``z`` normal to the electrodes. May be lazy.
    phases : PhaseScheme or mapping of str to int
        What the ids mean.
    plating_side : {"low", "high"}, optional
        End of ``z`` that is plated on first charge; lithium is redeposited at the other. Default:
        ``labels.attrs["plating_side"]``. Where neither says, both electrodes are looked at, each up to the
        middle between them.
    electrode, redeposited : str
        The phases.
    void : str or sequence of str, optional
        Phases that are void. Default: those with the role ``void`` (pit, void, pore). Add the electrolyte to
        count every gap.

    Returns
    -------
    DataArray of float32, dims ([t], y, x), units "um"
        Void voxels in the column that lie between the surface of the electrode
        (:func:`electrode_surfaces`) and redeposited lithium, times the spacing along ``z``. 0 where there are
        none, NaN in columns without the electrode. Lazy where ``labels`` is.

    Raises
    ------
    InputError, PhaseError, UnitsError
        Where a phase, the side or the voxel size is not known, or a scan has no electrode.

    Notes
    -----
    .. math:: d(y, x) = \\Delta z\\, \\#\\{z:\\ L = \\mathrm{void},\\ \\exists z' \\text{ farther from the
              electrode}: L(z') = \\mathrm{redeposited}\\}

    Huang 2023 (Fig. 5a) compares the redeposited lithium of the last scan with the pits at half cycle; here both
    come from one scan, so that motion between scans does not make voids. A void enclosed in redeposited lithium
    counts, an open pit does not. :func:`contact_area` makes shares of it.

    Do not trust depths of one voxel, and voids that the segmentation cannot tell from electrolyte. Memory: the
    columns of one block; reads the image three times.

    Reference
    ---------
    Huang et al., npj Computational Materials 9, 93 (2023), Fig. 5a, doi:10.1038/s41524-023-01039-y

    Examples
    --------
    Two voxels (1 um each) of pit are closed over by lithium in the first column and open in the second:

    >>> from operando.core.axes import labeled_image
    >>> columns = np.array([[0, 5, 4, 4, 1, 1], [0, 0, 4, 4, 1, 1]], np.uint8).T.reshape(6, 1, 2)
    >>> phases = {"electrolyte": 0, "electrode": 1, "pit": 4, "redeposited": 5}
    >>> void_depth(labeled_image(columns, voxel_size_um=1.0), phases).values.tolist()
    [[2.0, 0.0]]
    """
    where = "void_depth"
    counts = _closed(labels, phases, plating_side, electrode, redeposited, void, where=where)
    step = spacing(labels, where=where)["z"]
    depth = (counts.isel(component=0, drop=True) * np.float32(step)).astype(np.float32)
    title = "Depth of voids under redeposited lithium"
    return described(depth, labels, name="void depth", units="um", long_name=title)


def contact_area(
    labels: xr.DataArray,
    phases: Phases,
    *,
    plating_side: str | None = None,
    electrode: str = "electrode",
    redeposited: str = "redeposited",
    void: str | Sequence[str] | None = None,
    deeper_than_um: float = 0.0,
) -> xr.DataArray:
    """Share of the electrode's area that redeposited lithium is in contact with, bridges, or leaves bare.

    Parameters
    ----------
    labels, phases, plating_side, electrode, redeposited, void
        As in :func:`void_depth`.
    deeper_than_um : float
        Voids of at most this depth are taken for contact; half a voxel more than one voxel says how much hangs on
        voids of a single voxel.

    Returns
    -------
    DataArray of float64, dims ([t], component), units "1"
        Shares of the columns that hold the electrode; they add up to 1. Components: ``contact`` (redeposited
        lithium, no void behind it), ``void`` (a void between it and the electrode), ``bare`` (no redeposited
        lithium). NaN where no column holds the electrode.

    Notes
    -----
    Huang 2023 calls contact what is not void: there 46.1 and 53.9 %. That sum counts bare electrode as contact; here
    it is apart. A column in contact may lie beside a void and carry its current sideways.

    Examples
    --------
    >>> from operando.core.axes import labeled_image
    >>> columns = [[0, 5, 4, 4, 1, 1], [0, 0, 4, 4, 1, 1], [0, 0, 5, 5, 1, 1], [0, 5, 5, 5, 1, 1]]
    >>> labels = labeled_image(np.array(columns, np.uint8).T.reshape(6, 1, 4), voxel_size_um=1.0)
    >>> phases = {"electrolyte": 0, "electrode": 1, "pit": 4, "redeposited": 5}
    >>> contact_area(labels, phases).values.tolist()
    [0.5, 0.25, 0.25]
    """
    where = "contact_area"
    if not deeper_than_um >= 0:
        raise InputError(f"{where}: deeper_than_um must not be negative, got {deeper_than_um!r}. 0 counts every void.")
    counts = _closed(labels, phases, plating_side, electrode, redeposited, void, where=where)
    step = spacing(labels, where=where)["z"] if deeper_than_um > 0 else 1.0
    depth, lithium = (counts.isel(component=i, drop=True) for i in (0, 1))
    is_void = depth * step > deeper_than_um
    masks = {
        "contact": (lithium > 0) & ~is_void,
        "void": is_void,
        "bare": (lithium == 0) & ~is_void,
    }
    held = depth.notnull()
    shares = xr.Dataset({name: mask.where(held).mean(("y", "x")) for name, mask in masks.items()}).compute()
    values = np.stack([np.atleast_1d(shares[name].values) for name in CONTACT], axis=-1)
    return by_component(values, labels, CONTACT, units="1", long_name="Contact area", **passed_on(labels))


def _closed(
    labels: xr.DataArray,
    phases: Phases,
    plating_side: str | None,
    electrode: str,
    redeposited: str,
    void: str | Sequence[str] | None,
    *,
    where: str,
) -> xr.DataArray:
    """Voxels of void behind redeposited lithium, and of that lithium: float32, dims ([t], component, y, x)."""
    scheme, labels = checked_labels(labels, phases, where=where)
    end = _redeposition_end(labels, plating_side, where=where)
    voids = _void_phases(scheme, void, where=where)
    is_void = np.isin(np.arange(256), [scheme[name] for name in voids])
    number = scheme[redeposited]

    def count(block: np.ndarray, faces: np.ndarray) -> np.ndarray:
        low, high = faces[..., 0], faces[..., 1]
        planes = block.shape[-1]
        out = np.zeros((*block.shape[:-1], 2), dtype=np.float32)
        for side, walk in (("low", range(planes - 1, -1, -1)), ("high", range(planes))):
            if end not in (side, None):
                continue
            face = low if side == "low" else high
            middle = np.where(np.isnan(low + high), -np.inf if side == "high" else np.inf, (low + high) / 2)
            seen = np.zeros(block.shape[:-1], dtype=bool)
            for k in walk:
                center = k + 0.5
                within = center > face if side == "low" else center < face
                if end is None:
                    within &= center < middle if side == "low" else center > middle
                plane = block[..., k]
                lithium = within & (plane == number)
                out[..., 0] += within & seen & is_void[plane]
                out[..., 1] += lithium
                seen |= lithium
        known = {"low": ~np.isnan(low), "high": ~np.isnan(high), None: ~np.isnan(low) | ~np.isnan(high)}[end]
        out[~known] = np.nan
        return out

    whole = labels if labels.chunks is None else labels.chunk({"z": -1})
    faces = electrode_faces(labels, scheme, electrode, where=where)
    if faces.chunks is not None:
        faces = faces.chunk(
            {dim: whole.chunksizes[dim] for dim in ("t", "y", "x") if dim in whole.dims} | {"component": -1}
        )
    counts = xr.apply_ufunc(
        count,
        whole,
        faces.rename(component="end"),
        input_core_dims=[["z"], ["end"]],
        output_core_dims=[["component"]],
        dask="parallelized",
        output_dtypes=[np.float32],
        dask_gufunc_kwargs={"output_sizes": {"component": 2}},
    )
    return counts.transpose(..., "component", "y", "x")


def _redeposition_end(labels: xr.DataArray, plating_side: str | None, *, where: str) -> str | None:
    """The end of ``z`` that lithium is redeposited on; None where nobody says."""
    if plating_side is None and labels.attrs.get("plating_side") is None:
        return None
    return "high" if plating_end(labels, plating_side, where=where) == "low" else "low"


def _void_phases(scheme: PhaseScheme, void: str | Sequence[str] | None, *, where: str) -> tuple[str, ...]:
    if void is not None:
        return tuple(scheme.phase(name).name for name in ([void] if isinstance(void, str) else void))
    names = scheme.names_by_role("void")
    if not names:
        raise PhaseError(
            f"{where}: at least one phase must have the role 'void', got {dict(scheme)}. "
            "Make the scheme with roles={'name': 'void'}, or pass void=[...]."
        )
    return names
