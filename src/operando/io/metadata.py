"""What an image carries beside its values, as plain JSON that every format of operando's own keeps."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from operando.core.errors import FileError, InputError
from operando.core.phases import PhaseScheme

_SCHEME = "__phase_scheme__"
# Set anew each time an image is opened.
_TRANSIENT = ("source",)


def to_plain(image: xr.DataArray, *, where: str = "save_image") -> dict[str, Any]:
    """Return dims, name, attrs and coordinates of an image as JSON holds them.

    Raises
    ------
    InputError
        Where an attribute or coordinate has no plain form; the message names it.

    Examples
    --------
    >>> image = xr.DataArray([1.0, 2.0], dims="x", coords={"x": ("x", [0.0, 1.5], {"units": "um"})})
    >>> to_plain(image)["coords"]["x"]
    {'dims': ['x'], 'dtype': 'float64', 'start': 0.0, 'step': 1.5, 'size': 2, 'attrs': {'units': 'um'}}
    """
    coords = {}
    for name, coordinate in image.coords.items():
        coords[str(name)] = _plain_coordinate(str(name), coordinate, where=where)
    return {
        "dims": [str(d) for d in image.dims],
        "name": None if image.name is None else str(image.name),
        "attrs": plain_attrs({k: v for k, v in image.attrs.items() if k not in _TRANSIENT}, where=where),
        "coords": coords,
    }


def plain_attrs(attrs: Mapping[Any, Any], *, where: str) -> dict[str, Any]:
    """Attributes as JSON holds them; a :class:`PhaseScheme` becomes a marked mapping."""
    return {str(key): _plain(value, f"attrs[{key!r}]", where) for key, value in attrs.items()}


def _plain(value: Any, name: str, where: str) -> Any:
    if isinstance(value, PhaseScheme):
        return {_SCHEME: value.to_dict()}
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        # JSON has no NaN and no infinity.
        return value if math.isfinite(value) else {"__float__": str(value)}
    if isinstance(value, np.generic):
        return _plain(value.item(), name, where)
    if isinstance(value, np.ndarray):
        return _plain(value.tolist(), name, where)
    if isinstance(value, Mapping):
        return {str(k): _plain(v, f"{name}[{k!r}]", where) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v, name, where) for v in value]
    raise InputError(
        f"{where}: {name} must be a number, text, list or mapping to be kept in a file, got {type(value).__name__}. "
        "Remove it from image.attrs or turn it into text."
    )


def rich(value: Any) -> Any:
    """Inverse of the plain form of one attribute."""
    if isinstance(value, Mapping):
        if set(value) == {_SCHEME}:
            return PhaseScheme.from_dict(value[_SCHEME])
        if set(value) == {"__float__"}:
            return float(value["__float__"])
        return {k: rich(v) for k, v in value.items()}
    if isinstance(value, list):
        return [rich(v) for v in value]
    return value


def _plain_coordinate(name: str, coordinate: xr.DataArray, *, where: str) -> dict[str, Any]:
    values = np.asarray(coordinate.values)
    plain: dict[str, Any] = {"dims": [str(d) for d in coordinate.dims], "dtype": values.dtype.str}
    kind = values.dtype.kind
    if values.dtype == np.float64 and values.ndim == 1 and values.size > 1:
        start, step = float(values[0]), _step(values, coordinate.attrs)
        if np.array_equal(start + step * np.arange(values.size), values) and math.isfinite(step):
            plain |= {"dtype": "float64", "start": start, "step": step, "size": values.size}
            return plain | {"attrs": plain_attrs(coordinate.attrs, where=where)}
    if kind in "biu":
        plain["values"] = values.tolist()
    elif kind == "f":
        flat = [v if math.isfinite(v) else str(v) for v in values.astype(float).ravel().tolist()]
        plain["values"] = flat
    elif kind in "Mm":
        plain["values"] = (
            values.astype("datetime64[ns]" if kind == "M" else "timedelta64[ns]").astype(np.int64).tolist()
        )
        plain["dtype"] = "datetime64[ns]" if kind == "M" else "timedelta64[ns]"
    elif kind in "UTO" or "str" in str(values.dtype).lower():
        plain |= {"values": np.asarray(values, dtype=object).astype(str).tolist(), "dtype": "str"}
    else:
        raise InputError(
            f"{where}: the coordinate {name!r} must hold numbers, times or text to be kept in a file, "
            f"got {values.dtype}. Drop it with image.drop_vars({name!r})."
        )
    return plain | {"attrs": plain_attrs(coordinate.attrs, where=where)}


def _step(values: np.ndarray, attrs: Mapping[Any, Any]) -> float:
    # The stored spacing is the number the axis was made from; a difference of centers carries rounding.
    spacing = attrs.get("spacing")
    return float(spacing) if isinstance(spacing, int | float) else float(values[1] - values[0])


def coords_from_plain(plain: Mapping[str, Any], sizes: Mapping[str, int], *, where: str) -> dict[str, Any]:
    """Coordinates as xarray takes them, from the plain form of :func:`to_plain`.

    ``sizes`` is the length of each dim of the image, which a coordinate must have too.

    Raises
    ------
    FileError
        Where the plain form is damaged.
    """
    coords: dict[str, Any] = {}
    for name, entry in plain.get("coords", {}).items():
        try:
            dims = tuple(entry["dims"])
            shape = tuple(sizes[dim] for dim in dims)
            if "step" in entry:
                if (entry["size"],) != shape:
                    raise ValueError(f"{entry['size']} values for {shape}")
                values: Any = entry["start"] + entry["step"] * np.arange(int(entry["size"]), dtype=float)
            else:
                dtype = entry["dtype"]
                raw = np.asarray(entry["values"], dtype=float) if np.dtype(dtype).kind == "f" else entry["values"]
                values = np.asarray(raw) if dtype == "str" else np.asarray(raw).astype(dtype)
                values = values.reshape(shape)
            coords[name] = (dims, values, {k: rich(v) for k, v in entry.get("attrs", {}).items()})
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise FileError(
                f"{where}: the stored coordinate {name!r} is damaged ({error}). Write the file again."
            ) from error
    return coords


def attrs_from_plain(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes from the plain form of :func:`to_plain`."""
    return {key: rich(value) for key, value in plain.get("attrs", {}).items()}


def dumps(plain: Mapping[str, Any]) -> str:
    """ASCII JSON on one line, standard-conforming."""
    return json.dumps(plain, allow_nan=False, ensure_ascii=True)
