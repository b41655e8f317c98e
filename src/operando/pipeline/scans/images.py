"""The first steps of every recipe over CT scans: scans that are open, checked, and in one frame."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando import io, registration, tomography
from operando.core.axes import SPACE
from operando.core.errors import InputError
from operando.core.phases import PhaseScheme
from operando.core.quantities import quantity_table
from operando.pipeline.scans.inputs import along_z, cut, open_labels, open_projections, open_series
from operando.pipeline.scans.settings import Inputs, Tomography
from operando.pipeline.step import Task
from operando.pipeline.storage import read_image, read_json, write_image, write_json, write_table

_SUBVOLUMES = 1000  # of one scan whose displacement is looked for, about
_DEFORMED = 3  # scans, spread over the series, whose deformation is mapped


def open_scans(task: Task) -> None:
    """Copy the scans into the run, in one order and calibrated."""
    inputs = Inputs(**task.parameters["inputs"])
    series = open_series(inputs)
    series.attrs |= {"plating_side": task.parameters["plating_side"], "simulated": inputs.simulated}
    write_image(task, "image.zarr", series, labels=False)
    _check_values(io.open_image(task.folder / "image.zarr"))


def reconstruct(task: Task) -> None:
    """Reconstruct every scan from its projections, stitch its parts, and put the electrodes' normal along z."""
    inputs = Inputs(**task.parameters["inputs"])
    how = Tomography(**task.parameters["tomography"])
    assert inputs.projections is not None
    like = open_series(inputs)
    record: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(dir=task.folder, prefix=".scans.", suffix=".partial") as folder:
        scans = []
        for number, files in enumerate(inputs.projections):
            task.progress(number, len(inputs.projections))
            parts = []
            for place, path in enumerate([files] if isinstance(files, str) else files):
                part = Path(folder) / f"{number}-{place}.zarr"
                volume = _reconstructed(path, inputs, how, part.with_suffix(".retrieved.zarr"))
                io.save_image(volume, part, labels=False)
                parts.append(io.open_image(part))
                axis = {key: volume.attrs[key] for key in ("rotation_axis", "rotation_axis_sigma")}
                record.append({"scan": number, "file": path, **axis})
                task.say(
                    f"scan {number}: rotation axis of {Path(path).name} at pixel {float(axis['rotation_axis']):.2f}"
                )
            whole = parts[0]
            if len(parts) > 1:
                whole = tomography.stitch(parts, overlap_voxels=inputs.overlap_voxels)
                kept = ("positions_voxels", "gain", "offset", "correlation")
                record.append({"scan": number, **{key: whole.attrs[key] for key in kept}})
            scan = Path(folder) / f"{number}.zarr"
            io.save_image(whole, scan, labels=False)
            scans.append(io.open_image(scan))
        planes = min(scan.sizes["z"] for scan in scans)
        whole = xr.concat([scan.isel(z=slice(planes)) for scan in scans], dim="t", join="override")
        series = cut(along_z(whole, inputs.electrode_normal), inputs).assign_coords(t=like.coords["t"])
        series = series.isel({dim: slice(like.sizes[dim]) for dim in SPACE})
        series.attrs |= {"plating_side": task.parameters["plating_side"], "simulated": inputs.simulated}
        write_image(task, "image.zarr", series.rename("attenuation"), labels=False)
    write_json(task, "tomography.json", record)
    _check_values(io.open_image(task.folder / "image.zarr"))


def _reconstructed(path: str, inputs: Inputs, how: Tomography, retrieved: Path) -> xr.DataArray:
    """One volume, lazy in blocks of detector rows."""
    raw = open_projections(path, inputs)
    frames: dict[str, Any] = {name: raw[name] for name in ("flat", "dark") if name in raw}
    options: dict[str, Any] = {
        "rotation_axis": how.rotation_axis_px,
        "method": how.method,
        "filter": how.filter,
        "rings": None if how.rings == "none" else how.rings,
    }
    if how.delta_beta is None:
        return tomography.reconstruct(raw["projections"], **frames, **options)
    transmission = tomography.normalize(raw["projections"], **frames)
    phase: dict[str, Any] = {"energy_kev": how.energy_kev, "distance_mm": how.distance_mm, "delta_beta": how.delta_beta}
    # Every block of rows needs whole projections: they are retrieved once and kept meanwhile.
    io.save_image(tomography.paganin(transmission, **phase), retrieved, labels=False)
    return tomography.reconstruct(tomography.minus_log(io.open_image(retrieved)), **options)


def _check_values(series: xr.DataArray) -> None:
    """Refuse scans whose numbers would be wrong without a word: voxels without a value, or all alike."""
    import dask

    for scan in range(series.sizes["t"]):
        values = series[scan]
        known = np.isfinite(values) if values.dtype.kind == "f" else xr.ones_like(values, dtype=bool)
        share, low, high = dask.compute(known.mean(), values.min(), values.max())
        if share < 1:
            raise InputError(
                f"inputs.images: every voxel needs a gray value, got NaN or infinity in "
                f"{100 * (1 - float(share)):.3g} % of scan {scan}. Cut it off with inputs.region, or fill it before."
            )
        if low == high:
            raise InputError(
                f"inputs.images: scan {scan} must show something, got {float(low):g} everywhere. Leave it out."
            )


def register(task: Task) -> None:
    """Bring every scan into the frame of the reference, level it, and keep what all of them show."""
    series = read_image(task, "image.zarr")
    reference = task.parameters["reference"]
    leveling = None
    seen = series
    if task.parameters["level"]:
        leveling = registration.level(series.isel(t=reference))
        task.say(f"electrodes are tilted by {np.linalg.norm(leveling.rotation_deg):.3f} degrees")
        seen = registration.apply_motion(series, _motion_of([leveling.matrix] * series.sizes["t"], leveling.units))
    motion = registration.register_series(seen, reference=reference)
    if task.parameters["method"] == "translation":
        motion = _shifts_of(motion, seen)
    if leveling is not None:
        # From the leveled frame to the leveled scan, and from there to the scan as recorded: resampled once.
        motion = motion.copy(data=leveling.matrix @ motion.values)
    field = registration.common_field(series, motion)
    registered = registration.apply_motion(series, motion).assign_attrs(series.attrs).isel(field)
    kept = {dim: [part.start, part.stop] for dim, part in field.items()}
    task.say(f"all scans show the voxels {kept} of {dict(series.sizes)}; what only some show is left out")
    write_image(task, "registered.zarr", registered)
    known = {
        "units": motion.attrs["units"],
        "t": motion.coords["t"].values,
        "motion": motion.values,
        "sigma": motion.coords["sigma"].values,
        "sigma_rotation_deg": motion.coords["sigma_rotation_deg"].values,
        "field": kept,
        "leveling": None if leveling is None else leveling.to_dict(),
    }
    write_json(task, "motion.json", known)
    write_table(task, "motion.parquet", motion_table(motion, registered, reference=reference))


def _shifts_of(motion: xr.DataArray, series: xr.DataArray) -> xr.DataArray:
    """The motion without its rotations: every point moves as the middle of the field does."""
    middle = [float(series[dim].mean()) for dim in SPACE]
    shifts = np.tile(np.eye(4), (motion.sizes["t"], 1, 1))
    for shift, matrix in zip(shifts, motion.values, strict=True):
        shift[:3, 3] = registration.RigidTransform(matrix, units=str(motion.attrs["units"])).displacement(middle)
    return motion.copy(data=shifts)


def deformation_spacing(shape: Sequence[int]) -> int:
    """Voxels between the centers of sub-volumes: dense in a small field, about a thousand of them in a large one.

    Examples
    --------
    >>> deformation_spacing([96, 128, 128]), deformation_spacing([698, 1707, 2280])
    (24, 140)
    """
    return max(24, math.ceil((math.prod(shape) / _SUBVOLUMES) ** (1 / 3)))


def deform(task: Task) -> None:
    """Map what a rigid motion leaves: the displacement of static structure in a few registered scans."""
    registered = read_image(task, "registered.zarr")
    reference, last = task.parameters["reference"], registered.sizes["t"] - 1
    still = registration.RigidTransform(np.eye(4), units=str(registered["z"].attrs.get("units", "um")))
    spacing = deformation_spacing([registered.sizes[dim] for dim in SPACE])
    size = max(16, min(32, *(registered.sizes[dim] for dim in SPACE)))  # what all scans show may be a little less
    spread = np.unique(np.linspace(0, last, _DEFORMED + 1).round().astype(int))
    scans = [int(scan) for scan in spread if scan != reference][:_DEFORMED]
    found, sigmas = [], []
    for number, scan in enumerate(scans):
        task.progress(number, len(scans))
        one = registration.deformation(
            registered.isel(t=reference), registered.isel(t=scan), still, spacing=spacing, size=size
        )
        sigmas.append(one["sigma"].values)
        found.append(one.drop_vars(["sigma", "t"], errors="ignore"))
    series = xr.concat(found, dim=registered["t"].isel(t=scans)).assign_attrs(found[0].attrs)
    typical = float(np.nanmedian(sigmas)) if np.isfinite(sigmas).any() else None
    series.attrs |= {"sigma": typical, "simulated": bool(registered.attrs.get("simulated", False))}
    write_image(task, "deformation.zarr", series.astype(np.float32), labels=False)


def motion_table(motion: xr.DataArray, registered: xr.DataArray, *, reference: int) -> pd.DataFrame:
    """Rows with translation of the middle of the field and rotation of every scan against the reference."""
    units = str(motion.attrs["units"])
    middle = [float(registered[dim].mean()) for dim in SPACE]
    rows: list[dict[str, Any]] = []
    for scan in range(motion.sizes["t"]):
        against = motion.values[scan] @ np.linalg.inv(motion.values[reference])
        known = registration.RigidTransform(against, units=units, center=middle)
        for axis, dim in enumerate(SPACE):
            common = {"scan": scan, "t": float(motion["t"][scan]), "component": dim, "method": "against the reference"}
            for quantity, value, sigma, unit in (
                ("translation", known.displacement(middle)[axis], motion["sigma"].values[scan, axis], units),
                (
                    "rotation",
                    1e3 * known.rotation_deg[axis],
                    1e3 * motion["sigma_rotation_deg"].values[scan, axis],
                    "mdeg",
                ),
            ):
                rows.append(
                    {**common, "quantity": quantity, "value": float(value), "sigma": float(sigma), "unit": unit}
                )
    return quantity_table(rows)


def _motion_of(matrices: Any, units: str) -> xr.DataArray:
    return xr.DataArray(np.array(matrices), dims=("t", "row", "column"), attrs={"units": units})


def labels_on_grid(task: Task, path: str, *, key: str, frame: str = "scans") -> xr.DataArray:
    """Labels, lazy, on the grid that is segmented: moved and cut as the scans were where these are registered.

    ``frame`` says what they were drawn on: "scans" as recorded, or the "reference" that all scans are brought to.
    """
    inputs = Inputs(**task.parameters["inputs"])
    if "motion.json" not in task.step.inputs:
        return open_labels(path, inputs, key=key)
    known = read_json(task.path("motion.json"))
    field = {dim: slice(*ends) for dim, ends in known["field"].items()}
    phases = PhaseScheme(task.parameters["phases"])
    if frame == "reference":
        like = open_series(inputs)
        labels = open_labels(path, inputs, key=key, sizes=[dict(like.sizes), dict(like.isel(field).sizes)])
        if labels.sizes != like.sizes:
            return labels.assign_attrs(phases=phases)
        labels = labels.assign_attrs(phases=phases)
        if known["leveling"] is not None:
            # The whole grid is that of the reference as recorded: what was cut to the common field is level already.
            matrices = [known["leveling"]["matrix"]] * labels.sizes["t"]
            labels = registration.apply_motion(labels, _motion_of(matrices, known["units"]))
        return labels.isel(field)
    labels = open_labels(path, inputs, key=key).assign_attrs(phases=phases)
    return registration.apply_motion(labels, _motion_of(known["motion"], known["units"])).isel(field)
