"""The edge between metal and electrolyte in images without a bright line."""

from __future__ import annotations

import numpy as np

from operando.core.errors import InputError
from operando.dendrites.line import unseen

# A position on a grid of pixels that nothing narrows down any further, in px.
_WITHIN_PIXEL = 1 / np.sqrt(12)


def trace_edge(gray: np.ndarray, level: float, *, where: str, missing: str) -> dict[str, np.ndarray]:
    """Trace the outermost edge of the metal in a frame whose rows run toward the metal.

    Parameters
    ----------
    gray : ndarray, shape (y, x)
        Gray values, the metal at the high end of y; NaN where missing.
    level : float
        Between the gray values of metal and electrolyte; the end of the field away from the metal shows which
        of them is brighter.
    where : str
        For the message.
    missing : {"raise", "nan"}
        What to do where there is no metal.

    Returns
    -------
    dict of ndarray, shape (x,)
        ``row``, ``sigma`` and ``thickness`` (0) in px, ``crossings``, ``broken``.

    Notes
    -----
    Metal that is not connected to its end of the field is left out. In a column without metal the interface is the
    edge of the field. The sigma is the noise over the slope of the gray values at the edge, at most that of a
    position somewhere in a pixel where the slope is steep, and never less than a tenth of it.
    """
    from scipy.ndimage import label

    rows, columns = gray.shape
    border = max(1, rows // 20)
    # The far end is electrolyte, whatever part of the near one the metal covers.
    metal = gray < level if np.nanmedian(gray[:border]) > level else gray > level
    # A row of metal beyond the field joins the pieces that touch its end.
    labels, _ = label(np.pad(metal, ((0, 1), (0, 0)), constant_values=True), structure=np.ones((3, 3), dtype=int))
    metal = (labels == labels[-1, 0])[:-1]
    if not metal.any():
        if missing == "nan":
            return unseen(columns)
        raise InputError(
            f"{where}: metal on its side of level={level:g} must reach the end of the field, got none there (gray "
            f"values {np.nanmin(gray):g} to {np.nanmax(gray):g}). Pass level=..., or metal='high' or 'low'."
        )
    top = np.where(metal.any(axis=0), metal.argmax(axis=0), rows)
    at = np.arange(columns)
    inside, outside = np.clip(top, 0, rows - 1), np.clip(top - 1, 0, rows - 1)
    near, far = gray[inside, at], gray[outside, at]
    open_end = (top == rows) | (top == 0) | ~np.isfinite(near + far)
    step = np.where(open_end, 1.0, far - near)
    row = np.where(open_end, top - 0.5, inside - np.clip((level - near) / step, 0.0, 1.0))
    second = gray[:, :-2] - 2 * gray[:, 1:-1] + gray[:, 2:]
    noise = float(np.nanmedian(np.abs(second))) * 1.4826 / np.sqrt(6)
    sigma = np.clip(noise / np.abs(step), 0.1 * _WITHIN_PIXEL, 2.0)
    padded = np.pad(metal, ((1, 0), (0, 0)))
    return {
        "row": row,
        "sigma": np.where(open_end, _WITHIN_PIXEL, sigma),
        "thickness": np.zeros(columns),
        "crossings": (padded[1:] != padded[:-1]).sum(axis=0),
        "broken": np.zeros(columns, dtype=bool),
    }


def half_level(gray: np.ndarray, *, where: str) -> float:
    """Midway between the means of the two classes that Otsu's threshold parts.

    Examples
    --------
    >>> half_level(np.array([[10.0, 10.0, 11.0], [90.0, 90.0, 89.0]]), where="here")
    50.0
    """
    from skimage.filters import threshold_otsu

    values = gray[np.isfinite(gray)]
    if values.size == 0 or values.min() == values.max():
        raise InputError(
            f"{where}: metal and electrolyte must differ in gray value, got {np.unique(values)}. "
            "Check that the image is not empty."
        )
    cut = threshold_otsu(values)
    return float((values[values <= cut].mean() + values[values > cut].mean()) / 2)
