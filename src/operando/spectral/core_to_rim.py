"""Lithium as a function of the depth below the rim of a particle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando.core.axes import spacing
from operando.core.errors import InputError
from operando.spectral.particles import particle_labels, particle_numbers, relative_depth, rim_distance, same_image

COLUMNS = ("component", "depth", "distance", "value", "sigma", "spread", "n")


def core_to_rim(
    labels: xr.DataArray,
    lithiation: xr.DataArray,
    n_bins: int = 10,
    *,
    sigma: xr.DataArray | None = None,
    thickness: xr.DataArray | None = None,
) -> pd.DataFrame:
    """Mean lithium in shells from the rim to the core, particle by particle and over all.

    Parameters
    ----------
    labels : DataArray of integers, dims (y, x), y and x in um
        As :func:`particles` makes them; 0 is none.
    lithiation : DataArray, dims (y, x)
        x in Li_x M, NaN where it is not known; or any other map.
    n_bins : int
        Shells of equal width between rim and core.
    sigma : DataArray, dims (y, x), optional
        Standard error of ``lithiation``.
    thickness : DataArray, dims (y, x), optional
        Weight of a pixel in the means. Default: every pixel alike.

    Returns
    -------
    DataFrame
        ``component`` (``particle 1``, ...; ``all particles``), ``depth`` (middle of the shell, 0 at the rim to 1 at
        the innermost pixel), ``distance`` (mean distance from the rim, um), ``value`` and its ``sigma``, ``spread``
        (standard deviation over the pixels of the shell) and ``n``, their number. NaN where a shell has no pixel.

    Raises
    ------
    InputError, AxesError, UnitsError
        Where dims, shapes or units do not fit, there is no particle, or ``n_bins`` is not positive.

    Notes
    -----
    The depth of a pixel is its distance from the nearest point of the rim (Euclidean, in um), over the largest such
    distance in the particle: depth 1 is the middle of a disc, and the middle line of a rod. The border of the
    image is no rim. ``sigma`` is the larger of two errors of the mean: that of independent errors of the pixels, where
    these are given, and ``spread`` / sqrt(n - 1), which knows how uneven a shell is. Neither knows what is common to
    all pixels, nor that neighbors share noise: differences between shells of one image are better known than values.

    A projection is not a section: in an image of a core-shell *sphere* light goes through the shell above and below the
    core, and the profile is flatter than the sphere. In the shells of the rim the blur of the probe mixes in what
    is outside, which has no lithium and next to no weight.

    Examples
    --------
    A square of five by five pixels has three shells, the innermost a single pixel:

    >>> axes = {d: (d, np.arange(7.0), {"units": "um"}) for d in "yx"}
    >>> ring = np.maximum(*np.abs(np.mgrid[-3:4, -3:4]))
    >>> labels = xr.DataArray((ring < 3).astype(int), dims=("y", "x"), coords=axes)
    >>> x = xr.DataArray(1 - ring / 2, dims=("y", "x"), coords=axes)
    >>> core_to_rim(labels, x, 3).query("component == 'particle 1'")[["distance", "value", "n"]].values.tolist()
    [[0.5, 0.0, 16.0], [1.5, 0.5, 8.0], [2.5, 1.0, 1.0]]
    """
    where = "core_to_rim"
    if not isinstance(n_bins, (int, np.integer)) or n_bins < 1:
        raise InputError(f"{where}: n_bins must be a positive integer, got {n_bins!r}. 10 is usual.")
    marks = particle_labels(labels, where=where)
    spacing(marks, where=where)
    x = same_image(lithiation, marks, "lithiation", where)
    error = None if sigma is None else same_image(sigma, marks, "sigma", where)
    weight = np.ones(x.shape) if thickness is None else same_image(thickness, marks, "thickness", where)
    depth, distance = relative_depth(marks), rim_distance(marks)
    usable = np.isfinite(x) & np.isfinite(depth) & (weight > 0)
    rows: list[dict[str, Any]] = []
    numbers = particle_numbers(marks, where=where)
    parts = [(f"particle {number}", marks.values == number) for number in numbers]
    parts.append(("all particles", np.isin(marks.values, numbers)))
    for name, part in parts:
        own = part & usable
        shell = np.minimum((depth[own] * n_bins).astype(int), n_bins - 1)
        found = _shells(x[own], None if error is None else error[own], weight[own], distance[own], shell, n_bins)
        rows += [{"component": name, "depth": (i + 0.5) / n_bins, **values} for i, values in enumerate(found)]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table.attrs["units"] = {"distance": "um", "value": "1", "sigma": "1", "spread": "1", "depth": "1"}
    return table


def _shells(
    x: np.ndarray,
    error: np.ndarray | None,
    weight: np.ndarray,
    distance: np.ndarray,
    shell: np.ndarray,
    n_bins: int,
) -> list[dict[str, float]]:
    result = []
    for i in range(n_bins):
        here = shell == i
        count, w = int(here.sum()), weight[here]
        if count == 0:
            result.append({"distance": np.nan, "value": np.nan, "sigma": np.nan, "spread": np.nan, "n": 0})
            continue
        mean = float((w * x[here]).sum() / w.sum())
        spread = float(np.sqrt((w * (x[here] - mean) ** 2).sum() / w.sum()))
        scatter = spread / np.sqrt(count - 1) if count > 1 else np.nan
        own = np.nan if error is None else float(np.sqrt(((w * error[here]) ** 2).sum()) / w.sum())
        result.append(
            {
                "distance": float(distance[here].mean()),
                "value": mean,
                "sigma": float(np.fmax(scatter, own)),
                "spread": spread,
                "n": count,
            }
        )
    return result
