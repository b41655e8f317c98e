"""Where the electrodes went: displacement of their faces, swelling of the cell, projections of their edges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando.core.axes import spacing
from operando.core.errors import InputError, nearest
from operando.core.phases import PhaseScheme
from operando.core.quantities import quantity_table
from operando.morphometry.correlation import effective_samples
from operando.morphometry.flattening import known_phases
from operando.morphometry.interface import ENDS, electrode_faces, electrode_spans, plane_counts, step_depth
from operando.morphometry.volume import Phases, checked_labels, described, over_columns, passed_on, scan_index, scans

FACES = ("surface", "back")
_OUTERMOST = 0.01


def electrode_displacement(
    labels: xr.DataArray,
    phases: Phases,
    *,
    reference: float = 0,
    face: str = "surface",
    electrode: str = "electrode",
) -> xr.DataArray:
    """How far a face of each electrode has moved along ``z`` since a reference scan, place by place.

    Parameters
    ----------
    labels : DataArray of uint8, dims (t, z, y, x), z in um
        Phase ids of a series; ``z`` normal to the electrodes. May be lazy.
    phases : PhaseScheme or mapping of str to int
        What the ids mean.
    reference : int or float
        Scan that displacements are counted from: its number (int) or its time (float).
    face : {"surface", "back"}
        ``surface``: towards the other electrode, as :func:`electrode_surfaces` finds it. ``back``: away from it.
    electrode : str
        The phase both electrodes are labeled with.

    Returns
    -------
    DataArray of float32, dims (t, component, y, x), units "um"
        ``component`` is ``low`` and ``high``, positive towards high ``z``. NaN in columns without that face in
        either scan; a back that lies outside the field of view is not there. Lazy where ``labels`` is.

    Raises
    ------
    AxesError, InputError, PhaseError, UnitsError
        Where there is no series, no such scan, face or phase, no electrode, or no voxel size.

    Notes
    -----
    .. math:: \\Delta z_f(t, y, x) = z_f(t, y, x) - z_f(t_0, y, x)

    A surface moves because lithium is stripped from the electrode, or because the electrode moves; a back only
    because the electrode moves, if it stays metal. Displacements hold only what registration left: registering on the
    electrode itself makes them zero. The back of a column is the face at which "electrode from its middle plane
    on, something else behind" is contradicted by the fewest voxels. Whole voxels: a single column is accurate to
    one voxel. Memory: the columns of one block; reads the image twice, for backs three times.

    Reference
    ---------
    Huang et al., npj Computational Materials 9, 93 (2023), Fig. 5b, doi:10.1038/s41524-023-01039-y

    Examples
    --------
    The upper electrode loses one voxel of 2 um at its surface:

    >>> from operando.core.axes import labeled_image
    >>> series = np.array([[1, 0, 0, 0, 1, 1], [1, 0, 0, 0, 0, 1]], np.uint8).reshape(2, 6, 1, 1)
    >>> labels = labeled_image(series, voxel_size_um=2.0, t=[0, 1])
    >>> moved = electrode_displacement(labels, {"electrolyte": 0, "electrode": 1})
    >>> moved.values.reshape(2, 2).tolist()
    [[0.0, 0.0], [0.0, 2.0]]
    """
    where = "electrode_displacement"
    scheme, labels = checked_labels(labels, phases, where=where)
    if face not in FACES:
        raise InputError(f"{where}: face must be 'surface' or 'back', got {face!r}. {nearest(str(face), FACES)}")
    start = scan_index(labels, reference, where=where)
    step = spacing(labels, where=where)["z"]
    if face == "surface":
        heights = electrode_faces(labels, scheme, electrode, step=step, where=where)
    else:
        heights = _backs(labels, scheme, electrode, step=step, where=where)
    moved = (heights - heights.isel(t=start, drop=True)).transpose("t", "component", "y", "x")
    title = f"Displacement of the {electrode}"
    return described(
        moved, labels, name=f"{face} displacement", units="um", long_name=title, face=face, reference=start
    )


def swelling(
    labels: xr.DataArray,
    phases: Phases,
    *,
    reference: float = 0,
    electrode: str = "electrode",
    interface: xr.Dataset | None = None,
) -> pd.DataFrame:
    """How far the electrodes moved and how much the gap between them grew, scan by scan.

    Parameters
    ----------
    labels, phases, reference, electrode
        As in :func:`electrode_displacement`.
    interface : Dataset, dims (component), optional
        Shifts of surfaces from :func:`interface_error`; its ``random`` (um) of the electrode is then part of the
        sigma.

    Returns
    -------
    DataFrame
        A quantity table in um; ``n`` is the number of columns. Per scan

        - ``surface displacement`` and ``back displacement`` of ``low electrode`` and ``high electrode``, positive
          towards high ``z``
        - ``swelling`` of ``gap``: change of the distance between the surfaces; of ``cell``: of the distance between
          the backs

        NaN where a face is outside the field of view.

    Raises
    ------
    AxesError, InputError, PhaseError, UnitsError
        As :func:`electrode_displacement`; InputError also where ``interface`` does not know the electrode.

    Notes
    -----
    The gap grows where the cell swells and where an electrode is stripped: Huang 2023 reports the gap, +39.3 um after
    charge. Only the cell's swelling is free of stripping; it needs both backs in the field of view. Each number is the
    mean over the columns, so that the growth of the gap times the area is the volume stripped from its walls. Its
    sigma takes the map as a sample of the electrode, with as many independent values as it has correlation areas,
    and the scatter s without the outermost 1 % at either end:

    .. math:: \\sigma^2 = \\frac{s^2}{n_\\mathrm{eff}} + 2 (k \\rho)^2

    with k = 1 for a face and 2 for a distance (a random shift moves both faces apart), and the random shift
    :math:`\\rho` of ``interface`` in each of the two scans; a shift common to all scans cancels. Without ``interface``
    the second term is left out, and the sigma says how well the field of view stands for the electrode, not how well
    the faces were segmented. Memory: the maps of one scan and those of the reference.

    Examples
    --------
    The upper electrode moves away by two voxels of 1 um:

    >>> from operando.core.axes import labeled_image
    >>> series = np.array([[1, 0, 0, 1, 1, 1], [1, 0, 0, 0, 0, 1]], np.uint8).reshape(2, 6, 1, 1)
    >>> table = swelling(labeled_image(series, voxel_size_um=1.0, t=[0, 1]), {"electrolyte": 0, "electrode": 1})
    >>> table.query("component == 'gap'")["value"].tolist()
    [0.0, 2.0]
    """
    where = "swelling"
    scheme, labels = checked_labels(labels, phases, where=where)
    random = 0.0
    if interface is not None:
        if electrode not in interface.coords["component"].values:
            raise InputError(
                f"{where}: interface must know {electrode!r}, it has {interface.coords['component'].values.tolist()}. "
                "Make it with interface_error and the same phases."
            )
        random = float(interface["random"].sel(component=electrode))
    start = scan_index(labels, reference, where=where)
    times = labels["t"].values.astype(float) if "t" in labels.coords else np.full(labels.sizes["t"], np.nan)
    maps = {
        face: electrode_displacement(labels, scheme, reference=start, face=face, electrode=electrode) for face in FACES
    }
    rows: list[dict[str, Any]] = []
    for scan in range(labels.sizes["t"]):
        for face, moved in maps.items():
            low, high = moved.isel(t=scan).values.astype(float)
            for component, quantity, values, faces in (
                ("low electrode", f"{face} displacement", low, 1),
                ("high electrode", f"{face} displacement", high, 1),
                ("gap" if face == "surface" else "cell", "swelling", high - low, 2),
            ):
                value, sigma, n = _mean(values)
                # Against itself a scan has no error.
                sigma = 0 * sigma if scan == start else float(np.hypot(sigma, np.sqrt(2) * faces * random))
                what = f"distance between the {face}s" if faces == 2 else f"position of the {face}"
                rows.append({
                    "scan": scan, "t": float(times[scan]), "component": component, "quantity": quantity,
                    "value": value, "sigma": sigma, "unit": "um", "n": n,
                    "method": f"{what} against scan {start}, mean over the columns",
                })  # fmt: skip
    table = quantity_table(rows)
    table.attrs.update(passed_on(labels))
    return table


def _mean(values: np.ndarray) -> tuple[float, float, int]:
    """Mean of a map, its standard error, and how many values are known."""
    known = np.isfinite(values)
    count = int(known.sum())
    if not count:
        return float("nan"), float("nan"), 0
    low, high = np.quantile(values[known], [_OUTERMOST, 1 - _OUTERMOST])
    inner = np.clip(np.where(known, values, low), low, high)
    scatter = float(inner[known].std(ddof=1)) if count > 1 else 0.0
    return float(values[known].mean()), float(scatter / np.sqrt(effective_samples(inner, known))), count


def electrode_edges(
    labels: xr.DataArray, *, along: str = "y", phases: Phases | None = None, electrode: str = "electrode"
) -> xr.DataArray:
    """Edges of the electrodes, projected along one axis of the plane.

    Parameters
    ----------
    labels : DataArray of uint8, dims ([t], z, y, x)
        Phase ids; ``z`` normal to the electrodes. May be lazy, may be uncalibrated.
    along : {"y", "x"}
        Axis that disappears.
    phases : PhaseScheme or mapping, optional
        What the ids mean. Default: ``labels.attrs["phases"]``.
    electrode : str
        The phase both electrodes are labeled with.

    Returns
    -------
    DataArray of float32, dims ([t], z, x) or ([t], z, y), units "1"
        Share of the voxels along the axis that are edge. Lazy where ``labels`` is.

    Notes
    -----
    An edge is an electrode voxel whose neighbor above or below along ``z`` is not electrode; the border of the field
    of view makes no edge. The mean along an axis of Huang 2023, Supplementary Fig. 10. Unlike
    :func:`electrode_displacement` nothing is fitted: specks and holes have edges too. Memory: the columns of
    one block.

    Examples
    --------
    >>> from operando.core.axes import labeled_image
    >>> labels = labeled_image(np.array([1, 1, 0, 0, 1], np.uint8).reshape(5, 1, 1))
    >>> electrode_edges(labels, phases={"electrolyte": 0, "electrode": 1}).values.ravel().tolist()
    [0.0, 1.0, 0.0, 0.0, 1.0]
    """
    where = "electrode_edges"
    scheme, labels = checked_labels(labels, known_phases(labels, phases, where=where), where=where)
    if along not in ("y", "x"):
        raise InputError(f"{where}: along must be 'y' or 'x', an axis of the plane, got {along!r}. Choose one.")
    number = scheme[electrode]

    def edges(block: np.ndarray) -> np.ndarray:
        metal = block == number
        inner = metal.copy()
        inner[..., 1:] &= metal[..., :-1]
        inner[..., :-1] &= metal[..., 1:]
        return metal & ~inner

    found = xr.apply_ufunc(
        edges,
        labels if labels.chunks is None else labels.chunk({"z": -1}),
        input_core_dims=[["z"]],
        output_core_dims=[["z"]],
        dask="parallelized",
        output_dtypes=[bool],
    )
    share = found.mean(along, dtype=np.float32).transpose(..., "z", "x" if along == "y" else "y")
    title = f"Edge of the {electrode}"
    return described(share, labels, name="edges", units="1", long_name=title, flattened=f"mean along {along}")


def _backs(labels: xr.DataArray, scheme: PhaseScheme, electrode: str, *, step: float, where: str) -> xr.DataArray:
    """Height in um of the face of each electrode that looks away from the other."""
    number = scheme[electrode]
    maps = []
    for index, scan in enumerate(scans(labels)):
        spans = electrode_spans(scan, number, where=f"{where}: scan {index}")
        profile = plane_counts(scan, number)
        full = np.flatnonzero(profile > 0.5 * profile.max())
        # From the middle plane of an electrode on, where every column that has it is metal.
        walks: list[range | None] = []
        for end, span in zip(ENDS, spans, strict=True):
            if span is None:
                walks.append(None)
                continue
            middle = int(np.median(full[(full >= span[0]) & (full < span[1])]))
            walks.append(range(middle, -1, -1) if end == "low" else range(middle, profile.size))

        def height(block: np.ndarray, walks: list[range | None] = walks) -> np.ndarray:
            out = np.full((*block.shape[:-1], 2), np.nan, dtype=np.float32)
            for side, walk in enumerate(walks):
                if walk is None:
                    continue
                depth = step_depth(block, (number,), walk)
                face = walk.start + 1 - depth if side == 0 else walk.start + depth
                # Metal up to the last plane shows no back.
                seen = (depth > 0) & (depth < len(walk))
                out[..., side] = np.where(seen, step * face, np.nan)
            return out

        maps.append(over_columns(height, scan, "component", list(ENDS), dtype=np.float32))
    return xr.concat(maps, dim="t").transpose("t", "component", "y", "x")
