"""Maps and what may explain them, on the tiles that are known in all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import axis_spacing, require_dims
from operando.core.errors import AxesError, InputError, nearest
from operando.core.units import PIXEL

_STACK = ("t", "component")
_FEWEST_TILES = 25
# Smallest eigenvalue of the correlation of the predictors: below it, rounding decides.
_OWN_VARIANCE = 1e-8
_SCALES = ("mean", "sd")


@dataclass(frozen=True)
class Tiles:
    """M maps and K predictors at the N tiles that are known in all of them.

    ``response`` (N, M) is in percent of the mean of each map, or in its standard deviation, less its mean.
    ``design`` (M, N, K) has mean zero in each map and standard deviation one over all of them; ``spread`` (K,) is that
    standard deviation before. ``places`` (N, 2) are row and column, ``step`` is the size of a tile in ``length_unit``.
    ``dropped`` counts what could not be used, by reason.
    """

    name: str
    predictors: tuple[str, ...]
    units: tuple[str, ...]
    response: np.ndarray
    design: np.ndarray
    spread: np.ndarray
    effect_unit: str
    places: np.ndarray
    step: tuple[float, float]
    length_unit: str
    dropped: dict[str, int]
    simulated: bool


def read_tiles(
    response: xr.DataArray, predictors: Mapping[str, xr.DataArray], *, relative_to: str, where: str
) -> Tiles:
    """Bring maps and predictors to common tiles, or say why that cannot be.

    Examples
    --------
    >>> values = np.arange(36.0).reshape(6, 6)
    >>> response = xr.DataArray(1 + values, dims=("y", "x"))
    >>> tau = xr.DataArray(np.where(values == 5, np.inf, values), dims=("y", "x"))
    >>> tiles = read_tiles(response, {"tau": tau}, relative_to="mean", where="example")
    >>> tiles.response.shape, tiles.dropped["dropped infinite"]
    ((35, 1), 1)
    """
    require_dims(response, ("y", "x"), where=where, optional=_STACK)
    if not isinstance(predictors, Mapping) or not predictors or "all" in predictors:
        raise InputError(
            f"{where}: predictors must map one or more names other than 'all' to maps, got {predictors!r:.60}. "
            "Write for example {'tortuosity factor': tau}."
        )
    if relative_to not in _SCALES:
        raise InputError(f"{where}: relative_to must be 'mean' or 'sd', got {relative_to!r}. {_near(relative_to)}")
    response = response.transpose(*(dim for dim in (*_STACK, "y", "x") if dim in response.dims))
    shape = (response.sizes["y"], response.sizes["x"])
    maps = np.asarray(response.values, dtype=float).reshape(-1, *shape)
    aligned = [_aligned(image, response, name, where=where).reshape(-1, *shape) for name, image in predictors.items()]
    given = np.isfinite(maps).any(axis=(1, 2))
    maps, columns = maps[given], np.stack([column[given] for column in aligned], axis=-1)
    measured, finite = np.isfinite(maps).all(axis=0), np.isfinite(columns).all(axis=(0, 3))
    infinite = np.isinf(columns).any(axis=(0, 3))
    dropped = {
        "dropped maps": int((~given).sum()),
        "dropped without response": int((~measured).sum()),
        "dropped infinite": int((measured & infinite).sum()),
        "dropped without predictor": int((measured & ~finite & ~infinite).sum()),
    }
    known = measured & finite & given.any()
    needed = max(_FEWEST_TILES, 5 * (len(predictors) + 1))
    if known.sum() < needed:
        reasons = ", ".join(f"{key} {value}" for key, value in dropped.items())
        raise InputError(
            f"{where}: at least {needed} tiles must be known in every map and every predictor, got {int(known.sum())} "
            f"of {known.size} ({reasons}). Use smaller tiles, or leave out what is mostly missing; give an infinite "
            "tortuosity factor as its inverse, which is 0."
        )
    design, spread = _standardized(columns[:, known], tuple(predictors), where=where)
    step, unit = _steps(response, where=where)
    return Tiles(
        name=str(response.name or "response"),
        predictors=tuple(map(str, predictors)),
        units=tuple(str(image.attrs.get("units", "1")) for image in predictors.values()),
        response=_relative(maps[:, known], relative_to, where=where),
        design=design,
        spread=spread,
        effect_unit="%" if relative_to == "mean" else "1",
        places=np.argwhere(known),
        step=step,
        length_unit=unit,
        dropped=dropped,
        simulated=any(bool(image.attrs.get("simulated")) for image in (response, *predictors.values())),
    )


def _near(word: Any) -> str:
    return nearest(str(word), _SCALES)


def _aligned(image: xr.DataArray, response: xr.DataArray, name: str, *, where: str) -> np.ndarray:
    """A predictor at the places of the response, repeated along what it does not have."""
    require_dims(image, ("y", "x"), where=f"{where}: predictor {name!r}", optional=_STACK)
    for dim in map(str, image.dims):
        if dim not in response.dims or image.sizes[dim] != response.sizes[dim]:
            raise AxesError(
                f"{where}: the predictor {name!r} must have the size of the response along {dim!r}, "
                f"got {image.sizes[dim]} for {response.sizes.get(dim, 'none')}. Select the same tiles and maps."
            )
        if dim in image.coords and dim in response.coords:
            one, other = image[dim].values, response[dim].values
            numbers = all(np.issubdtype(values.dtype, np.number) for values in (one, other))
            if not (np.allclose(one, other, equal_nan=True) if numbers else np.array_equal(one, other)):
                raise AxesError(
                    f"{where}: the predictor {name!r} must stand at the places of the response along {dim!r}, their "
                    "coordinates differ. Make both on the same tiles."
                )
    everywhere = xr.DataArray(np.zeros(response.shape), dims=response.dims)
    return np.asarray((everywhere + xr.DataArray(image.values, dims=image.dims)).values, dtype=float)


def _relative(maps: np.ndarray, relative_to: str, *, where: str) -> np.ndarray:
    mean, spread = maps.mean(axis=1), maps.std(axis=1)
    flat = np.flatnonzero(spread <= 1e-12 * np.abs(maps).max(axis=1))
    if flat.size:
        raise InputError(
            f"{where}: every map of the response must vary, map {flat[0]} is {mean[flat[0]]:g} everywhere. "
            "Leave it out."
        )
    if relative_to == "sd":
        return np.asarray(((maps - mean[:, None]) / spread[:, None]).T)
    weak = np.flatnonzero(np.abs(mean) < 3 * spread / np.sqrt(maps.shape[1]))
    if weak.size:
        raise InputError(
            f"{where}: an effect in percent of the mean needs a mean that is clearly not zero, map {weak[0]} of the "
            f"response has {mean[weak[0]]:g} with a standard deviation of {spread[weak[0]]:g}. Pass relative_to='sd'."
        )
    return np.asarray(100 * (maps / mean[:, None] - 1).T)


def _standardized(columns: np.ndarray, names: Sequence[str], *, where: str) -> tuple[np.ndarray, np.ndarray]:
    centered = columns - columns.mean(axis=1, keepdims=True)
    constant = np.argwhere(centered.std(axis=1) <= 1e-12 * np.abs(columns).max(axis=1))
    if constant.size:
        raise InputError(
            f"{where}: every predictor must vary in every map, {names[constant[0, 1]]!r} does not in map "
            f"{constant[0, 0]}. Leave it out."
        )
    for own in centered:
        correlation = np.corrcoef(own, rowvar=False).reshape(len(names), len(names))
        if np.linalg.eigvalsh(correlation)[0] < _OWN_VARIANCE:
            raise InputError(
                f"{where}: no predictor may follow from the others, of {', '.join(map(repr, names))} one does. "
                "Leave it out."
            )
    spread = np.sqrt((centered**2).mean(axis=(0, 1)))
    return centered / spread, spread


def _steps(response: xr.DataArray, *, where: str) -> tuple[tuple[float, float], str]:
    (row, unit), (column, other) = (axis_spacing(response, dim, where=where) for dim in ("y", "x"))
    return ((row, column), unit) if unit == other else ((1.0, 1.0), PIXEL)
