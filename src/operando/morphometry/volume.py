"""How much of each component there is: volume, effective thickness, coverage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import SPACE, check_dims, require_dims, spacing, voxel_volume
from operando.core.blocks import label_counts
from operando.core.errors import AxesError, InputError
from operando.core.phases import UNLABELED, PhaseScheme

Phases = PhaseScheme | Mapping[str, int] | Mapping[str, Mapping[str, Any]]
"""A scheme, names to ids, or the plain form that :meth:`PhaseScheme.to_dict` writes."""


def volumes(labels: xr.DataArray, phases: Phases) -> xr.DataArray:
    """Volume of each component, by counting voxels.

    Parameters
    ----------
    labels : DataArray of uint8, dims ([t], z, y, x), coordinates in um
        Phase ids; 255 is unlabeled. May be lazy.
    phases : PhaseScheme or mapping of str to int
        What the ids mean.

    Returns
    -------
    DataArray of float64, dims ([t], component), units "um3"
        One component per phase, in the order of the scheme. ``attrs["unlabeled"]`` is the fraction of
        all voxels that is 255 and belongs to no component.

    Raises
    ------
    AxesError, UnitsError, PhaseError
        Where the dims are others, the voxel size is not known, or an id is not in the scheme.

    Notes
    -----
    Huang 2023, Supplementary Note 2: feature volume = labeled voxels x voxel volume. Counts are 64-bit
    integers, so volumes past 2^31 voxels are exact. Memory: one block of a lazy image per thread. Where
    255 stands in a noticeable part of the image the volume is of the labeled part only.

    Reference
    ---------
    Huang et al., npj Computational Materials 9 (2023), doi:10.1038/s41524-023-01039-y

    Examples
    --------
    Three voxels of 2 um hold 24 um3:

    >>> from operando.core.axes import labeled_image
    >>> labels = labeled_image(np.array([[[1, 1], [1, 0]]], dtype=np.uint8), voxel_size_um=2.0)
    >>> volumes(labels, {"electrolyte": 0, "electrode": 1}).sel(component="electrode").item()
    24.0
    """
    scheme, labels = checked_labels(labels, phases, where="volumes")
    voxel = voxel_volume(labels, where="volumes")
    counts = np.stack([label_counts(scan, where="volumes") for scan in scans(labels)])
    unknown = np.setdiff1d(np.flatnonzero(counts.sum(axis=0)), [*scheme.ids, UNLABELED])
    if unknown.size:
        scheme.check(labels, where="volumes")
    values = counts[:, list(scheme.ids)] * voxel
    total = max(int(counts.sum()), 1)
    return by_component(
        values,
        labels,
        scheme.names,
        units="um3",
        long_name="Volume",
        unlabeled=float(counts[:, UNLABELED].sum() / total),
    )


def effective_thickness(labels: xr.DataArray, phases: Phases) -> xr.DataArray:
    """Thickness that each component would have if it were spread evenly over the field of view.

    Parameters
    ----------
    labels : DataArray of uint8, dims ([t], z, y, x), coordinates in um
        Phase ids; ``z`` normal to the electrodes. May be lazy.
    phases : PhaseScheme or mapping of str to int
        What the ids mean.

    Returns
    -------
    DataArray of float64, dims ([t], component), units "um"

    Raises
    ------
    AxesError, UnitsError, PhaseError
        As :func:`volumes`.

    Notes
    -----
    Huang 2023, Supplementary Note 2: volume / area of the region of interest, here the whole ``y, x``
    extent (voxels x spacing). It is a mean over covered and uncovered places alike; :func:`thickness_map`
    is the local one.

    Examples
    --------
    Three voxels of 2 um over an area of 1 x 2 voxels: 24 um3 / 8 um2:

    >>> from operando.core.axes import labeled_image
    >>> labels = labeled_image(np.array([[[1, 1]], [[1, 0]]], dtype=np.uint8), voxel_size_um=2.0)
    >>> effective_thickness(labels, {"electrolyte": 0, "electrode": 1}).sel(component="electrode").item()
    3.0
    """
    volume = volumes(labels, phases)
    thickness = volume / roi_area(labels, where="effective_thickness")
    return thickness.assign_attrs(volume.attrs | {"units": "um", "long_name": "Effective thickness"})


def coverage(labels: xr.DataArray, phases: Phases) -> xr.DataArray:
    """Fraction of the electrode's plane above or below which a component is found.

    Parameters
    ----------
    labels : DataArray of uint8, dims ([t], z, y, x)
        Phase ids; ``z`` normal to the electrodes. May be lazy, may be uncalibrated.
    phases : PhaseScheme or mapping of str to int
        What the ids mean.

    Returns
    -------
    DataArray of float64, dims ([t], component), units "1"
        Share of the ``(y, x)`` columns that hold at least one voxel of the component.

    Notes
    -----
    One minus the unoccupied proportion of Huang 2023, Fig. 4d-e. One wrong voxel covers a column, so
    specks inflate it: clean the labels first. Memory: columns of one block, and one map per component.

    Examples
    --------
    >>> from operando.core.axes import labeled_image
    >>> labels = labeled_image(np.array([[[1, 1]], [[1, 0]]], dtype=np.uint8))
    >>> coverage(labels, {"electrolyte": 0, "electrode": 1}).values.tolist()
    [0.5, 1.0]
    """
    held = column_counts(labels, phases, where="coverage") > 0
    share = held.mean(("y", "x")).compute()
    return share.assign_attrs(units="1", long_name="Coverage")


def roi_area(labels: xr.DataArray, *, where: str = "roi_area") -> float:
    """Area of the field of view in the electrode's plane, in um2."""
    step = spacing(labels, where=where)
    return float(labels.sizes["y"] * step["y"] * labels.sizes["x"] * step["x"])


def column_counts(
    labels: xr.DataArray,
    phases: Phases,
    *,
    components: Sequence[str] | None = None,
    along: str = "z",
    where: str = "column_counts",
) -> xr.DataArray:
    """Voxels of each component in every line along ``along``: int32, dims ([t], component, the other two).

    Lazy if ``labels`` is. Raises :class:`PhaseError` where an id is not in the scheme: at once, or when a lazy
    block is read.
    """
    scheme, labels = checked_labels(labels, phases, where=where)
    names = scheme.names if components is None else tuple(scheme.phase(name).name for name in components)
    ids = [scheme[name] for name in names]
    known = np.zeros(256, dtype=bool)
    known[[*scheme.ids, UNLABELED]] = True

    def count(block: np.ndarray) -> np.ndarray:
        # apply_ufunc brings the axis last; one plane at a time needs no copy of the block.
        out = np.zeros((*block.shape[:-1], len(ids)), dtype=np.int32)
        for k in range(block.shape[-1]):
            plane = block[..., k]
            if not known[plane].all():
                scheme.check(np.ascontiguousarray(plane), where=where)
            for c, number in enumerate(ids):
                out[..., c] += plane == number
        return out

    counts = over_columns(count, labels, "component", names, dtype=np.int32, along=along)
    return counts.transpose(..., "component", *(dim for dim in SPACE if dim != along))


def over_columns(
    function: Any, labels: xr.DataArray, dim: str, names: Any, *, dtype: Any, along: str = "z"
) -> xr.DataArray:
    """Apply ``function(..., along) -> (..., dim)`` to all columns, block by block across them where lazy."""
    names = list(names)
    result = xr.apply_ufunc(
        function,
        labels if labels.chunks is None else labels.chunk({along: -1}),
        input_core_dims=[[along]],
        output_core_dims=[[dim]],
        dask="parallelized",
        output_dtypes=[dtype],
        dask_gufunc_kwargs={"output_sizes": {dim: len(names)}},
    )
    return result.assign_coords({dim: names})


def checked_labels(labels: xr.DataArray, phases: Phases, *, where: str) -> tuple[PhaseScheme, xr.DataArray]:
    """The scheme and the labels in the order ([t], z, y, x), once they are known to be a label image."""
    require_dims(labels, SPACE, where=where, optional=("t",))
    if labels.dtype != np.uint8:
        raise InputError(
            f"{where}: a label image is uint8 (255 = unlabeled), got {labels.dtype}. "
            "Convert it with .astype('uint8') after checking that no id exceeds 254."
        )
    if 0 in labels.shape:
        raise InputError(
            f"{where}: at least one voxel along every axis is needed, got {dict(labels.sizes)}. Check the selection."
        )
    order = check_dims([dim for dim in ("t", *SPACE) if dim in labels.dims], where=where)
    return PhaseScheme.of(phases), labels.transpose(*order)


def scans(labels: xr.DataArray) -> list[xr.DataArray]:
    """The scans of a series one by one, or the one volume."""
    return [labels.isel(t=i) for i in range(labels.sizes["t"])] if "t" in labels.dims else [labels]


def by_component(values: np.ndarray, labels: xr.DataArray, names: Any, **attrs: Any) -> xr.DataArray:
    """Array of ``(scan, component)`` values with the time of ``labels``, or without where it has none."""
    coords: dict[str, Any] = {"component": list(names)}
    if "t" not in labels.dims:
        return xr.DataArray(values[0], dims=("component",), coords=coords, attrs=attrs)
    if "t" in labels.coords:
        coords["t"] = labels.coords["t"]
    return xr.DataArray(values, dims=("t", "component"), coords=coords, attrs=attrs)


def scan_index(labels: xr.DataArray, at: float, *, where: str) -> int:
    """Position of a scan that is named by its number (int; negative from the end) or by its time (float)."""
    if "t" not in labels.dims:
        raise AxesError(f"{where}: a series of scans (dim t) is needed, got the dims {labels.dims}. Pass all scans.")
    scans = labels.sizes["t"]
    if isinstance(at, int | np.integer) and not isinstance(at, bool):
        if not -scans <= at < scans:
            raise InputError(
                f"{where}: a scan must be a number from {-scans} to {scans - 1}, got {at}. "
                "Write a time as a float, such as 2.0."
            )
        return int(at) % scans
    times = labels["t"].values.astype(float)
    if not times.min() <= float(at) <= times.max():
        raise InputError(
            f"{where}: a time must lie between the first and the last scan, {times.min():g} and {times.max():g}, "
            f"got {at!r}. Write a number of a scan as an int."
        )
    return int(np.abs(times - float(at)).argmin())


def passed_on(labels: xr.DataArray) -> dict[str, Any]:
    """Attributes of the labels that everything measured on them keeps: what was simulated stays so."""
    return {"simulated": labels.attrs["simulated"]} if "simulated" in labels.attrs else {}


def described(values: xr.DataArray, labels: xr.DataArray, *, name: str | None = None, **attrs: Any) -> xr.DataArray:
    """The values under a name, with these attributes and what the labels pass on, in place of any others."""
    out = values.rename(name)
    out.attrs = {**attrs, **passed_on(labels)}
    return out
