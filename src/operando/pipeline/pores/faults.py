"""Every fault in a ``pores`` recipe and the headers of the files it names."""

from __future__ import annotations

import xarray as xr

from operando import io, learn
from operando.core.axes import SPACE, spacing
from operando.core.errors import InputError
from operando.pipeline.pores.settings import Pores
from operando.pipeline.scans.inputs import area_faults, cycler_faults, open_labels, open_series, tomography_faults
from operando.pipeline.settings import Faults
from operando.segmentation import network


def faults(settings: Pores) -> list[str]:
    """Everything that the settings and the headers of their files get wrong."""
    found = Faults()
    inputs, segment, measure = settings.inputs, settings.segment, settings.measure
    series = found.attempt("inputs", lambda: open_series(inputs))
    found += tomography_faults(settings.tomography)
    if segment.model is not None:
        path = segment.model
        found.attempt("segment.model", lambda: learn.load_card(path, kind=network.KIND))
    for key, labels in (("segment.corrections", segment.corrections), ("truth", settings.truth)):
        if labels is not None and series is not None:
            found.attempt(key, lambda labels=labels, key=key: open_labels(labels, inputs, key=key))  # type: ignore[misc]
    if series is None:
        return found
    scans = series.sizes["t"]
    found += [
        f"{key}: scans are numbered 0 to {scans - 1}, got {number}. Correct it."
        for key, number in (("registration.reference", settings.registration.reference), ("segment.scan", segment.scan))
        if number >= scans
    ]
    if settings.cell.steps is not None and len(settings.cell.steps) != scans:
        found.append(
            f"cell.steps: one name per scan is needed, got {len(settings.cell.steps)} for {scans} scans. "
            "Name each scan once, or leave null."
        )
    step = spacing(series)
    if measure.tile_um < 2 * max(step.values()):
        found.append(
            f"measure.tile_um: a tile must hold at least two voxels, got {measure.tile_um:g} um for voxels of "
            f"{max(step.values()):g} um. Make it larger."
        )
    short = [dim for dim in SPACE[1:] if series.sizes[dim] * step[dim] < 3 * measure.tile_um]
    if short:
        found.append(
            f"measure.tile_um: the field must hold at least three tiles along {' and '.join(short)}, got tiles of "
            f"{measure.tile_um:g} um. Make them smaller."
        )
    if settings.ceramic.stiffness and max(step.values()) > 1.001 * min(step.values()):
        found.append(
            "ceramic.stiffness: Young's moduli need cubic voxels, got edges of "
            f"{', '.join(f'{edge:g}' for edge in step.values())} um. Resample the images, or set it to false."
        )
    widest = 0.5 * min(series.sizes[dim] * step[dim] for dim in SPACE[1:])
    if settings.hot_spots.radius_um > widest:
        found.append(
            f"hot_spots.radius_um: a disc must fit into the field, with a radius of at most {widest:g} um, got "
            f"{settings.hot_spots.radius_um:g} um. Make it smaller."
        )
    truth = settings.truth_current
    if truth is not None:
        found.attempt("truth_current", lambda: _open_current(truth, series))
    found += area_faults(settings.cell.active_area_cm2, series)
    if inputs.cycler is not None:
        found += cycler_faults(inputs, series)
    return found


def _open_current(path: str, series: xr.DataArray) -> None:
    """Raise unless the file holds a current density per scan, electrode and column."""
    told = io.open_image(path)
    needed = {"t": series.sizes["t"], "component": 2, "y": series.sizes["y"], "x": series.sizes["x"]}
    if dict(told.sizes) != needed:
        raise InputError(
            f"truth_current: {path} must have one value per scan, electrode and column, {needed}, got "
            f"{dict(told.sizes)}. Export it on the grid of the images."
        )
