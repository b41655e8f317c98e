"""Which pixels belong to which particle, and what each particle holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando.core.axes import require_dims, spacing
from operando.core.errors import InputError
from operando.core.provenance import record
from operando.core.quantities import quantity_table
from operando.core.units import PIXEL

RIM, CORE = 0.25, 0.75


def particles(
    thickness: xr.DataArray | xr.Dataset,
    *,
    minimum_thickness: float | None = None,
    minimum_um2: float = 0.0,
    neck: float = 0.8,
    smoothing_px: float = 1.0,
) -> xr.DataArray:
    """Label particles, and part those that touch where they are narrow.

    Parameters
    ----------
    thickness : DataArray, dims (y, x), or a Dataset with ``thickness``
        Anything that is large in particles and small beside them: thickness, or the sum of weights. NaN is outside.
    minimum_thickness : float, in the unit of ``thickness``, optional
        Thickness from which on a pixel is part of a particle. Default: Li's threshold (of least cross entropy), which
        also finds particles three times thinner than others, where Otsu's finds the thick ones only.
    minimum_um2 : float, um2
        Particles with a smaller area are left out. Needs y and x in um, unless it is 0.
    neck : float, in (0, 1]
        Two parts are two particles where the neck between them is narrower than this share of the narrower part. 1
        parts at the slightest waist.
    smoothing_px : float
        Standard deviation in pixels by which distances from the rim are smoothed, so that a rough rim makes no
        particles.

    Returns
    -------
    DataArray of int32, dims (y, x)
        1, 2, ... from the largest particle to the smallest; 0 is none. ``attrs`` hold ``particles``, their number, and
        the ``threshold``.

    Raises
    ------
    InputError, AxesError, UnitsError
        Where no pixel is thick enough, or a parameter is out of range.

    Notes
    -----
    Watershed of the distance from the rim (scikit-image). Its peaks are joined while the pass between two of them is
    higher than ``neck`` times the lower peak, the most open passes first. A particle of uneven width
    is cut in two where it has a waist below that; two particles that overlap without a waist stay one. A particle
    that is cut off by the field of view is labeled like any other.

    Memory: about ten arrays of the size of the image.

    Examples
    --------
    >>> y, x = np.mgrid[:40, :60]
    >>> two = ((y - 20) ** 2 + (x - 18) ** 2 < 121) | ((y - 20) ** 2 + (x - 39) ** 2 < 144)
    >>> labels = particles(xr.DataArray(two.astype(float), dims=("y", "x")))
    >>> labels.attrs["particles"], int(labels[20, 39]), int(labels[20, 18]), int(labels[0, 0])
    (2, 1, 2, 0)
    """
    where = "particles"
    image = _map(thickness, "thickness", where)
    values = np.asarray(image.values, dtype=float)
    step = spacing(image, unit="um" if minimum_um2 > 0 or _calibrated(image) else PIXEL, where=where)
    if not 0 < neck <= 1 or not smoothing_px >= 0 or not minimum_um2 >= 0:
        raise InputError(
            f"{where}: neck must be in (0, 1], smoothing_px and minimum_um2 not negative, got {neck!r}, "
            f"{smoothing_px!r} and {minimum_um2!r}."
        )
    threshold = _threshold(values, where) if minimum_thickness is None else float(minimum_thickness)
    inside = np.nan_to_num(values, nan=-np.inf) >= threshold
    if not inside.any():
        most = np.fmax.reduce(values, axis=None)
        raise InputError(
            f"{where}: at least one pixel must be thicker than {threshold:g}, got at most {most:g}. "
            "Lower minimum_thickness."
        )
    labels = _parted(inside, (step["y"], step["x"]), neck, smoothing_px)
    areas = np.bincount(labels.ravel())[1:] * step["y"] * step["x"]
    order = np.argsort(-areas, kind="stable")
    order = order[(areas[order] >= minimum_um2) & (areas[order] > 0)]
    if order.size == 0:
        raise InputError(
            f"{where}: at least one particle must have {minimum_um2:g} um2, got at most {areas.max():g}. "
            "Lower minimum_um2."
        )
    new = np.zeros(areas.size + 1, dtype=np.int32)
    new[order + 1] = np.arange(1, order.size + 1)
    result = image.copy(data=new[labels]).rename("particles")
    result.attrs = {
        "long_name": "Particle",
        "particles": int(order.size),
        "threshold": threshold,
        **({"simulated": True} if thickness.attrs.get("simulated") else {}),
        "provenance": record(
            "operando.spectral.particles",
            {"minimum_thickness": threshold, "minimum_um2": minimum_um2, "neck": neck, "smoothing_px": smoothing_px},
        ),
    }
    return result


def particle_table(
    labels: xr.DataArray,
    lithiation: xr.DataArray,
    *,
    sigma: xr.DataArray | None = None,
    thickness: xr.DataArray | None = None,
) -> pd.DataFrame:
    """What every particle holds: area, lithium, its spread, and lithium at rim and core.

    Parameters
    ----------
    labels : DataArray of integers, dims (y, x), y and x in um
        As :func:`particles` makes them; 0 is none.
    lithiation : DataArray, dims (y, x)
        x in Li_x M, NaN where it is not known.
    sigma : DataArray, dims (y, x), optional
        Standard error of ``lithiation``, from :func:`lithiation_sigma`.
    thickness : DataArray, dims (y, x), optional
        Weight of a pixel in the means. Default: every pixel alike.

    Returns
    -------
    DataFrame
        A quantity table with component ``particle 1``, ``particle 2``, ... and the quantities ``area`` (um2),
        ``lithiation`` (mean), ``lithiation_spread`` (standard deviation over the pixels), ``lithiation_rim``,
        ``lithiation_core`` and ``core_minus_rim``. ``n`` counts the pixels with lithiation.

    Raises
    ------
    InputError, AxesError, UnitsError
        Where dims, shapes or units do not fit, or there is no particle.

    Notes
    -----
    Rim and core are the outer and the innermost quarter of the distance from the rim to the innermost pixel. The sigma
    of a mean is that of independent errors of the pixels, :math:`\\sqrt{\\sum t_p^2 \\sigma_p^2} / \\sum t_p`; what is
    common to all pixels (I0, references) does not average out and is not in it: :func:`state_of_charge` has both.
    Without ``sigma`` it is not known. The spread holds the noise of the pixels: of a uniform particle it is that.

    Examples
    --------
    >>> square = xr.DataArray(np.ones((2, 2), dtype=int), dims=("y", "x"),
    ...     coords={d: (d, [0.0, 0.5], {"units": "um"}) for d in "yx"})
    >>> x = xr.DataArray([[0.2, 0.4], [0.4, 0.6]], dims=("y", "x"), coords=square.coords)
    >>> table = particle_table(square, x, sigma=xr.full_like(x, 0.1)).set_index("quantity")
    >>> table.loc[["area", "lithiation"], ["value", "sigma"]].round(3).values.tolist()
    [[1.0, nan], [0.4, 0.05]]
    """
    where = "particle_table"
    marks = particle_labels(labels, where=where)
    step = spacing(marks, where=where)
    x = same_image(lithiation, marks, "lithiation", where)
    error = None if sigma is None else same_image(sigma, marks, "sigma", where)
    weight = np.ones(x.shape) if thickness is None else same_image(thickness, marks, "thickness", where)
    depth = relative_depth(marks)
    rows: list[dict[str, Any]] = []
    for number in particle_numbers(marks, where=where):
        own = marks.values == number
        name = f"particle {number}"
        area = float(own.sum()) * step["y"] * step["x"]
        rows.append({"component": name, "quantity": "area", "value": area, "unit": "um2", "n": int(own.sum())})
        parts = {"lithiation": own, "lithiation_rim": own & (depth < RIM), "lithiation_core": own & (depth >= CORE)}
        found = {quantity: _mean(x, error, weight, part) for quantity, part in parts.items()}
        mean = found["lithiation"][0]
        spread = np.sqrt(_mean((x - mean) ** 2, None, weight, own)[0])
        found["lithiation_spread"] = (float(spread), np.nan, found["lithiation"][2])
        (core, core_sigma, core_n), (rim, rim_sigma, rim_n) = found["lithiation_core"], found["lithiation_rim"]
        found["core_minus_rim"] = (core - rim, float(np.hypot(core_sigma, rim_sigma)), core_n + rim_n)
        rows += [
            {"component": name, "quantity": quantity, "value": value, "sigma": spread_, "unit": "1", "n": n}
            for quantity, (value, spread_, n) in found.items()
        ]
    method = "pixels weighted by thickness" if thickness is not None else "pixels weighted alike"
    return quantity_table({**row, "method": method} for row in rows)


def particle_labels(labels: Any, *, where: str) -> xr.DataArray:
    """Labels as (y, x) after a check that they are integers."""
    require_dims(labels, ("y", "x"), where=where)
    if labels.dtype.kind not in "iu":
        raise InputError(
            f"{where}: labels must be integers with 0 for none, got {labels.dtype}. Use particles(thickness)."
        )
    return labels.transpose("y", "x").compute()


def particle_numbers(labels: xr.DataArray, *, where: str) -> list[int]:
    """Numbers of the particles; in an image of 8 bits 255 is missing, and no particle."""
    none = (0, 255) if labels.dtype == np.uint8 else (0,)
    numbers = [int(i) for i in np.unique(labels.values) if i > 0 and i not in none]
    if not numbers:
        raise InputError(f"{where}: at least one particle must be labeled, got none. Use particles(thickness).")
    return numbers


def same_image(values: Any, labels: xr.DataArray, name: str, where: str) -> np.ndarray:
    """A map as float array of the shape of the labels."""
    image = values if isinstance(values, xr.DataArray) else xr.DataArray(np.asarray(values), dims=("y", "x"))
    require_dims(image, ("y", "x"), where=where)
    array = np.asarray(image.transpose("y", "x").values, dtype=float)
    if array.shape != labels.shape:
        raise InputError(f"{where}: {name} must have the shape {labels.shape} of the labels, got {array.shape}.")
    return array


def rim_distance(labels: xr.DataArray) -> np.ndarray:
    """Distance of every pixel from the rim of its particle, in the unit of the axes; 0 outside.

    The rim lies half a pixel beyond the outermost pixel centers. The border of the image is no rim.
    """
    from scipy import ndimage

    unit = "um" if _calibrated(labels) else PIXEL
    step = spacing(labels, unit=unit)
    sampling = (step["y"], step["x"])
    values = labels.values
    distance = np.zeros(values.shape)
    boxes = ndimage.find_objects(np.where(values == 255, 0, values) if values.dtype == np.uint8 else values)
    for number, box in enumerate(boxes, start=1):
        if box is None:
            continue
        wide = tuple(
            slice(max(s.start - 1, 0), min(s.stop + 1, size)) for s, size in zip(box, values.shape, strict=True)
        )
        own = values[wide] == number
        if own.all():
            # Nothing of the rim is in the picture.
            distance[wide] = np.nan
            continue
        far = ndimage.distance_transform_edt(own, sampling=sampling)
        distance[wide] = np.where(own, far - 0.5 * min(sampling), distance[wide])
    return distance


def relative_depth(labels: xr.DataArray) -> np.ndarray:
    """Distance from the rim over that of the innermost pixel of the particle: 0 to 1; NaN outside."""
    from scipy import ndimage

    distance, values = rim_distance(labels), labels.values
    numbers = np.unique(values[values > 0])
    most = np.zeros(int(values.max()) + 1)
    most[numbers] = ndimage.maximum(distance, values, numbers)
    inside = (values > 0) & (distance > 0)
    return np.where(inside, distance / np.where(inside, most[values], 1.0), np.nan)


def _mean(x: np.ndarray, error: np.ndarray | None, weight: np.ndarray, part: np.ndarray) -> tuple[float, float, int]:
    """Weighted mean, its error and the number of pixels."""
    part = part & np.isfinite(x) & (weight > 0)
    total = float(weight[part].sum())
    if total <= 0:
        return np.nan, np.nan, 0
    mean = float((weight[part] * x[part]).sum() / total)
    sigma = np.nan if error is None else float(np.sqrt(((weight[part] * error[part]) ** 2).sum()) / total)
    return mean, sigma, int(part.sum())


def _map(values: Any, name: str, where: str) -> xr.DataArray:
    if isinstance(values, xr.Dataset):
        if name not in values:
            raise InputError(f"{where}: a Dataset must hold {name!r}, got {sorted(map(str, values.data_vars))}.")
        values = values[name]
    require_dims(values, ("y", "x"), where=where)
    return values.transpose("y", "x").compute()


def _calibrated(image: xr.DataArray) -> bool:
    return all(dim in image.coords and image.coords[dim].attrs.get("units", PIXEL) != PIXEL for dim in ("y", "x"))


def _threshold(values: np.ndarray, where: str) -> float:
    from skimage.filters import threshold_li

    seen = values[np.isfinite(values)]
    if seen.size == 0 or seen.min() == seen.max():
        raise InputError(
            f"{where}: thickness must vary to find a threshold, got one value only. Pass minimum_thickness."
        )
    return float(threshold_li(seen))


def _parted(inside: np.ndarray, sampling: tuple[float, float], neck: float, smoothing_px: float) -> np.ndarray:
    """Watershed basins of the distance from the rim, joined across passes that are no necks."""
    from scipy import ndimage
    from skimage.segmentation import watershed

    # The border of the image is no rim: a particle that is cut off is as wide there as it is.
    distance = ndimage.distance_transform_edt(np.pad(inside, 1, mode="edge"), sampling=sampling)[1:-1, 1:-1]
    smooth = ndimage.gaussian_filter(distance, smoothing_px) if smoothing_px > 0 else distance
    smooth = np.where(inside, smooth, 0.0)
    basins = watershed(-smooth, mask=inside).astype(np.int64)
    return _joined(basins, smooth, neck)


def _joined(basins: np.ndarray, height: np.ndarray, neck: float) -> np.ndarray:
    from scipy import ndimage

    count = int(basins.max())
    peaks = np.concatenate([[0.0], ndimage.maximum(height, basins, np.arange(1, count + 1))])
    passes: dict[tuple[int, int], float] = {}
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        rows, columns = basins.shape
        a = basins[: rows - dy, max(0, -dx) : columns - max(0, dx)].ravel()
        b = basins[dy:, max(0, dx) : columns + min(0, dx)].ravel()
        low = np.minimum(
            height[: rows - dy, max(0, -dx) : columns - max(0, dx)], height[dy:, max(0, dx) : columns + min(0, dx)]
        ).ravel()
        meet = (a > 0) & (b > 0) & (a != b)
        for one, other, level in zip(a[meet], b[meet], low[meet], strict=True):
            pair = (min(one, other), max(one, other))
            passes[pair] = max(passes.get(pair, 0.0), level)
    parent = list(range(count + 1))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for (one, other), level in sorted(passes.items(), key=lambda item: -item[1]):
        a_root, b_root = root(one), root(other)
        if a_root != b_root and level >= neck * min(peaks[a_root], peaks[b_root]):
            parent[b_root] = a_root
            peaks[a_root] = max(peaks[a_root], peaks[b_root])
    return np.array([root(i) for i in range(count + 1)])[basins]
