"""Where the lithium ends and the electrolyte begins: one position per column of an image, with its sigma."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import axis_spacing, labeled_image, require_dims
from operando.core.errors import InputError, nearest
from operando.core.provenance import record
from operando.dendrites.boundary import half_level, trace_edge
from operando.dendrites.bridging import bridge
from operando.dendrites.growth import SIDES
from operando.dendrites.line import trace_line, unseen

_CHOICES = {"metal": (None, *SIDES), "rule": ("line", "edge"), "missing": ("raise", "nan")}
_SMALLEST = 8


def find_interface(
    image: Any,
    threshold: float = 230,
    *,
    metal: str | None = None,
    rule: str = "line",
    level: float | None = None,
    saturation: float = 255,
    missing: str = "raise",
) -> xr.Dataset:
    r"""Find the interface between lithium and electrolyte: one sub-pixel position per column.

    Parameters
    ----------
    image : DataArray, Dataset with ``image`` or array-like, dims ([t], y, x)
        Gray values on the scale of ``saturation``, 8 bit by default; NaN is missing. y is normal to the surface of
        the metal, rising or falling. May be lazy. A bare array is taken as ``([t], y, x)`` in px.
    threshold : float
        Gray value from which on a pixel belongs to the bright line at the surface of the metal (Ma 2021: 230 of 255).
    metal : {"high", "low"}, optional
        End of the y axis at which the metal lies; "high" is the bottom of a picture whose y counts rows. Default:
        ``image.attrs["metal"]``, or else the end whose border, bright line left out, is darker on the first frame;
        "high" where the two are equal. ``attrs["metal"]`` of the result says which.
    rule : {"line", "edge"}
        "line": the metal wears a line brighter than ``threshold`` (stimulated Raman). "edge": it does not, and the
        interface is where the gray value crosses ``level`` (optical images, simulated fields); metal may be darker or
        brighter than electrolyte.
    level : float, optional
        For ``rule="edge"``. Default: midway between the means of the two classes that Otsu's threshold parts, on
        each frame.
    saturation : float
        Gray value at which the detector or the conversion clips. For images of 16 bit pass 65535, and a threshold on
        that scale; nothing is scaled in silence.
    missing : {"raise", "nan"}
        Whether a frame without interface, also one without numbers, is an error, or NaN and ``broken``.

    Returns
    -------
    Dataset, dims ([t], x)
        ``position`` of the center of the line (or of the edge) on the y axis of the image and ``position_sigma``,
        both in its units; ``thickness`` of the line along y; ``crossings``, how often the column meets the interface;
        ``overhang``, bool, more than once: ``position`` is the outermost one; ``broken``, bool: not seen,
        interpolated between the nearest columns that are. ``attrs``: ``metal``, ``rule``, ``threshold`` (or
        ``level``), ``units``, and ``edge``, the y coordinate of the outer edge of the field at the metal's end.

    Raises
    ------
    InputError
        Where gray values exceed ``saturation``, a frame shows no interface, or a choice is unknown.
    AxesError, UnitsError
        Where the dims are not ([t], y, x), or y is not evenly spaced.

    Notes
    -----
    *Which pixels.* Bright pixels that touch form pieces. The piece that reaches from the first to the last column is
    the line; of several the one closest to the metal. Where there is none the line is broken, and the pieces on the
    cheapest path across the image make it up. Bright spots elsewhere are ignored; one that touches the line cannot be
    told from it.

    *Where.* A Gaussian ridge between two backgrounds is fitted to the pixels of each column below the threshold;
    those above count where the model stays below them, so that the top of the line may have any shape. The midpoint
    of the two threshold crossings alone would lie 0.3 px toward the brighter side for usual gray values, and move as
    the salt depletes. On a sloping and bent line a vertical cut is not symmetric; that is taken out to second order
    in the thickness.

    *How sure.* ``position_sigma`` (standard uncertainty) holds the noise, estimated from the image in electrolyte and
    metal; what the profile misses; the unknown width of the step under the clip; structure finer than the line is
    thick; and, where the line is broken, how far its seen columns lie from a straight line over the same distance.
    Columns beside a break count as broken: they see the round end of a piece.

    Memory: one frame, about 60 bytes per pixel of it, 100 where the line is broken.

    When not to trust it: docs/quantities/interface-position.md.

    References
    ----------
    Y. Ma et al., J. Electrochem. Soc. 168, 090523 (2021), https://doi.org/10.1149/1945-7111/ac201d

    Examples
    --------
    A line over rows 18 to 22 of an image with electrolyte (gray 100) above and metal (gray 10) below:

    >>> image = np.full((32, 16), 100, dtype=np.uint8)
    >>> image[20:], image[18:23] = 10, 255
    >>> found = find_interface(image)
    >>> found.attrs["metal"], bool((abs(found["position"] - 20) < 0.1).all()), int(found["crossings"][0])
    ('high', True, 1)
    """
    frames = labeled_frames(image, "find_interface")
    metal = frames.attrs.get("metal") if metal is None else metal
    for name, given in (("metal", metal), ("rule", rule), ("missing", missing)):
        if given not in _CHOICES[name]:
            known = [str(choice) for choice in _CHOICES[name] if choice]
            raise InputError(
                f"find_interface: {name} must be one of {', '.join(map(repr, known))}, got {given!r}. "
                f"{nearest(str(given), known)}"
            )
    if not 0 < threshold <= saturation:
        raise InputError(
            f"find_interface: threshold must be positive and not above saturation={saturation:g}, got {threshold:g}. "
            "Give both on the scale of the image, for 16 bit threshold=59110, saturation=65535."
        )
    step, unit = axis_spacing(frames, "y", where="find_interface")
    timed = "t" in frames.dims
    traces, levels = [], []
    for number in range(frames.sizes["t"] if timed else 1):
        where = f"find_interface: frame {number}" if timed else "find_interface"
        gray = _gray(frames.isel(t=number) if timed else frames, saturation, where)
        if _is_blank(gray) and missing == "nan":
            traces.append(unseen(gray.shape[1]))
            continue
        if not np.isfinite(gray).any():
            raise InputError(f"{where}: the frame holds no number. Leave it out of the series, or pass missing='nan'.")
        if metal is None:
            metal = _darker_end(gray, threshold if rule == "line" else np.inf)
        toward = gray if metal == "high" else gray[::-1]
        if rule == "line":
            trace = trace_line(toward, threshold, saturation, where=where, missing=missing)
        else:
            levels.append(half_level(gray, where=where) if level is None else float(level))
            trace = trace_edge(toward, levels[-1], where=where, missing=missing)
        traces.append(bridge(trace))
    attrs: dict[str, Any] = {"metal": metal or "high", "rule": rule, "units": unit}
    attrs |= {"threshold": float(threshold)} if rule == "line" else {"level": float(np.mean(levels or [np.nan]))}
    return _dataset(frames, traces, step, attrs)


def labeled_frames(image: Any, where: str) -> xr.DataArray:
    """Return an image or a series as ``([t], y, x)``, y rising; a bare array gets axes in px.

    A Dataset gives its ``image``, with the ``calibration`` and ``metal`` that its own attributes hold.

    Raises
    ------
    InputError
        Where it is neither, or too small.
    """
    if isinstance(image, xr.Dataset):
        if "image" not in image:
            raise InputError(
                f"{where}: a Dataset must have the variable 'image', got {sorted(map(str, image.data_vars))}. "
                "Pass the array itself."
            )
        known = {name: image.attrs[name] for name in ("calibration", "metal") if name in image.attrs}
        image = image["image"].assign_attrs({**known, **image["image"].attrs})
    if not isinstance(image, xr.DataArray):
        values = image if hasattr(image, "ndim") and hasattr(image, "shape") else np.asarray(image)
        if values.ndim not in (2, 3):
            raise InputError(
                f"{where}: an image (y, x) or a series (t, y, x) is needed, got the shape {tuple(values.shape)}. "
                "Select one channel or slice first."
            )
        image = labeled_image(values, dims=("t", "y", "x")[3 - values.ndim :])
    require_dims(image, ("y", "x"), where=where, optional=("t",))
    if min(image.sizes["y"], image.sizes["x"]) < _SMALLEST or 0 in image.shape:
        raise InputError(
            f"{where}: at least one frame of {_SMALLEST} x {_SMALLEST} pixels is needed, got {dict(image.sizes)}. "
            "Pass the whole field of view, and of a picture in color one channel, image[..., 0]."
        )
    image = image.transpose(..., "y", "x")
    falling = "y" in image.coords and bool((np.diff(image["y"].values) < 0).all())
    return image.isel(y=slice(None, None, -1)) if falling else image


def _gray(image: xr.DataArray, saturation: float, where: str) -> np.ndarray:
    data = np.asarray(image.data)
    if data.dtype.kind not in "buif":
        raise InputError(
            f"{where}: gray values must be numbers, got {data.dtype}. Convert the image with .astype(float)."
        )
    gray = data.astype(np.float64)
    if np.isinf(gray).any():
        raise InputError(
            f"{where}: gray values must be finite, or NaN where missing, got infinite ones. Replace them with "
            "np.where(np.isfinite(image), image, np.nan), those of the bright line by saturation."
        )
    if (gray > saturation).any():
        raise InputError(
            f"{where}: gray values must not exceed saturation={saturation:g}, got {np.nanmax(gray):g}. "
            "Pass threshold and saturation on the scale of the image, for 16 bit threshold=59110, saturation=65535."
        )
    return gray


def _is_blank(gray: np.ndarray) -> bool:
    values = gray[np.isfinite(gray)]
    return values.size == 0 or bool(values.min() == values.max())


def _darker_end(gray: np.ndarray, threshold: float) -> str:
    """End of y whose outermost rows that hold numbers are darker; the line counts only where there is nothing else."""
    rows = gray[np.isfinite(gray).any(axis=1)]
    border = max(1, len(rows) // 20)
    low, high = (
        np.median(plain) if (plain := end[end < threshold]).size else np.inf for end in (rows[:border], rows[-border:])
    )
    return "low" if low < high else "high"


def _dataset(
    frames: xr.DataArray, traces: list[dict[str, np.ndarray]], step: float, attrs: dict[str, Any]
) -> xr.Dataset:
    timed = "t" in frames.dims
    dims = ("t", "x") if timed else ("x",)
    unit, low = attrs["units"], attrs["metal"] == "low"
    first = float(frames.coords["y"].values[0]) if "y" in frames.coords else 0.0
    last = frames.sizes["y"] - 1
    found = {name: np.stack([trace[name] for trace in traces]) for name in traces[0]}
    if not timed:
        found = {name: values[0] for name, values in found.items()}
    row = last - found["row"] if low else found["row"]
    variables = {
        "position": (first + step * row, unit, "Interface position"),
        "position_sigma": (step * found["sigma"], unit, "Standard uncertainty of the interface position"),
        "thickness": (step * found["thickness"], unit, "Thickness of the line along y"),
        "crossings": (found["crossings"].astype(np.int64), "1", "Crossings of the interface"),
        "overhang": (found["crossings"] > 1, "1", "Overhang"),
        "broken": (found["broken"], "1", "Interface not seen"),
    }
    return xr.Dataset(
        {name: (dims, values, {"units": u, "long_name": text}) for name, (values, u, text) in variables.items()},
        coords={name: frames.coords[name] for name in dims if name in frames.coords},
        attrs={
            **attrs,
            "edge": first + step * (-0.5 if low else last + 0.5),
            "provenance": record("find_interface", attrs),
        },
    )
