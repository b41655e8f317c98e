"""What a ``growth-rate`` recipe reads: series of images, each with its clock and its pixels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from operando import io
from operando.core.axes import axis_spacing, calibrate
from operando.core.errors import FileError, InputError
from operando.core.units import PIXEL, factor, kind
from operando.io.picture import PictureReader
from operando.io.tiff import natural_key
from operando.pipeline.growth_rate.settings import Experiment, GrowthRate

_FEWEST = 3  # images: the growth at one time, the growth at the next
_TRUTH = {"ceilings": {"knowledge", "scope", "r_bound"}, "sensitivities": {"stage", "feature", "sensitivity"}}


def open_series(experiment: Experiment) -> xr.DataArray:
    """The images (t, y, x) of one experiment, lazily; t in s, y and x in um."""
    where = f"experiments, {experiment.name}"
    images = experiment.images if isinstance(experiment.images, list) else _pictures(experiment.images)
    if isinstance(images, list):
        parts = [_image(path, where) for path in images]
        if any(part.shape != parts[0].shape for part in parts):
            shapes = sorted({part.shape for part in parts})
            raise InputError(f"{where}: all images must have the same pixels, got {shapes}. Crop them alike.")
        series = xr.concat(parts, dim="t", join="override", combine_attrs="override")
    else:
        series = _stack(images, where)
    if experiment.normal == "x":
        series = series.rename(y="x", x="y").transpose("t", "y", "x")
    if experiment.pixel_size_um is not None:
        series = calibrate(series, voxel_size_um=experiment.pixel_size_um)
    if axis_spacing(series, "y")[1] == PIXEL:
        raise InputError(f"{where}: the images do not say how large a pixel is. Give pixel_size_um.")
    series = _of_255(_timed(series, experiment, where), experiment.saturation)
    if experiment.frames is not None:
        series = series.isel(t=slice(*experiment.frames))
    if series.sizes["t"] < _FEWEST:
        raise InputError(
            f"{where}: at least {_FEWEST} images are needed for a growth rate and the next one, got "
            f"{series.sizes['t']}. Give more, or correct 'frames'."
        )
    return series.assign_attrs({key: value for key, value in series.attrs.items() if value is not None})


def files_of(settings: GrowthRate) -> tuple[Path, ...]:
    """Every file that a run reads, without the name of a data set inside."""
    named: list[str] = []
    for item in settings.experiments:
        named += item.images if isinstance(item.images, list) else [item.images]
    return tuple(dict.fromkeys(Path(path.partition("#")[0]) for path in named))


def open_truth(path: str) -> dict[str, Any]:
    """What a simulation knows: ``ceilings`` and ``sensitivities``, as rows."""
    try:
        told = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise FileError(f"{path}: cannot be read as JSON ({error}). Leave 'truth' out for measured images.") from error
    if not isinstance(told, dict) or any(not isinstance(told.get(key), list) for key in ("ceilings", "sensitivities")):
        raise FileError(
            f"{path}: must hold the lists 'ceilings' and 'sensitivities', as operando demo writes them. "
            "Leave 'truth' out for measured images."
        )
    for name, columns in _TRUTH.items():
        lacking = sorted({key for row in told[name] for key in columns - set(row)} if told[name] else columns)
        if lacking:
            raise FileError(
                f"{path}: every row of {name!r} must have {', '.join(sorted(columns))}, but {', '.join(lacking)} is "
                "missing. Leave 'truth' out for measured images."
            )
    return told


def _pictures(path: str) -> list[str] | str:
    """The pictures of a folder in the order of their numbers; anything else as it is."""
    if not Path(path).is_dir():
        return path
    held = [file for file in Path(path).iterdir() if not file.name.startswith(".")]
    if {file.suffix.lower() for file in held} & {".tif", ".tiff"}:
        return path
    found = [str(file) for file in held if file.suffix.lower() in PictureReader.suffixes]
    return sorted(found, key=lambda name: natural_key(Path(name).name)) or path


def _of_255(series: xr.DataArray, saturation: float) -> xr.DataArray:
    """Gray values of which 255 is saturated, and the calibration that comes with them."""
    if saturation == 255.0:
        return series
    factor = 255.0 / saturation
    scaled = (series.astype(np.float32) * np.float32(factor)).assign_attrs(series.attrs)
    known = series.attrs.get("calibration")
    return scaled.assign_attrs(calibration={key: factor * known[key] for key in known}) if known else scaled


def _image(path: str, where: str) -> xr.DataArray:
    image = _gray(io.open_image(path))
    single = [dim for dim in image.dims if dim not in ("y", "x") and image.sizes[dim] == 1]
    image = image.isel(dict.fromkeys(single, 0), drop=True)
    if set(image.dims) != {"y", "x"}:
        raise InputError(
            f"{where}: {path} must be one image (y, x), got {tuple(image.dims)}. A series in one file is named alone."
        )
    return image.transpose("y", "x")


def _stack(path: str, where: str) -> xr.DataArray:
    series = _gray(io.open_image(path))
    others = [dim for dim in series.dims if dim not in ("t", "y", "x")]
    spare = [dim for dim in others if series.sizes[dim] == 1]
    series = series.isel(dict.fromkeys(spare, 0), drop=True)
    others = [dim for dim in others if dim not in spare]
    if "t" not in series.dims and len(others) == 1:
        # A plain stack of TIFF pages or of files in a folder calls its first axis z: here it is time.
        series = series.drop_vars(str(others[0]), errors="ignore").rename({others[0]: "t"})
        others = []
    if set(series.dims) != {"t", "y", "x"} or others:
        raise InputError(f"{where}: {path} must be a series of images (t, y, x), got {tuple(series.dims)}.")
    return series.transpose("t", "y", "x")


def _gray(image: xr.DataArray) -> xr.DataArray:
    """Color pictures as the mean of their colors, without transparency."""
    if "channel" not in image.dims:
        return image
    if "channel" in image.coords:
        image = image.isel(channel=np.flatnonzero(image["channel"].values != "alpha"))
    return image.mean("channel", keep_attrs=True)


def _timed(series: xr.DataArray, experiment: Experiment, where: str) -> xr.DataArray:
    count = series.sizes["t"]
    if experiment.times_min is not None:
        if len(experiment.times_min) != count:
            raise InputError(
                f"{where}: one time per image is needed, got {len(experiment.times_min)} for {count} images."
            )
        seconds = 60 * np.asarray(experiment.times_min, float)
    elif experiment.interval_min is not None:
        seconds = 60 * experiment.interval_min * np.arange(count)
    else:
        unit = str(series["t"].attrs.get("units", "1")) if "t" in series.coords else "1"
        if kind(unit) != "time":
            raise InputError(f"{where}: the images do not say when they were taken. Give interval_min or times_min.")
        seconds = series["t"].values.astype(float) * factor(unit, "s")
    if not (np.isfinite(seconds).all() and np.all(np.diff(seconds) > 0)):
        raise InputError(f"{where}: the times must rise from image to image, got {(seconds / 60).tolist()} min.")
    return series.assign_coords(t=("t", seconds, {"units": "s", "long_name": "Time"}))
