"""An image, what was drawn on it, and what several methods made of it, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import axis_spacing, require_dims
from operando.core.phases import UNLABELED, PhaseScheme
from operando.report import style
from operando.report.sections import gray_limits, solid_rgb

_DRAWN = 256  # voxels across an image at which a stroke of one voxel is still seen
_COLUMNS = (1, 2, 3, 2, 3, 3)  # to a row, of one to six panels


@style.styled
def label_panels(
    image: xr.DataArray,
    annotations: xr.DataArray,
    labels: Mapping[str, xr.DataArray],
    phases: PhaseScheme | Mapping[str, int],
    *,
    titles: Mapping[str, str] | None = None,
    crop: tuple[slice, slice] | None = None,
) -> Any:
    """Draw a gray image with its strokes, and beside it label images in solid colors.

    Parameters
    ----------
    image, annotations : DataArray, dims (y, x)
        Gray values, and the labels a person gave; 255 = unlabeled. Strokes are drawn wider than they are where the
        image is large, so that they can be seen.
    labels : mapping of str to DataArray of uint8, dims (y, x)
        By the name of the method; 255 is white.
    phases : PhaseScheme or mapping of str to int
    titles : mapping of str to str, optional
        Shown above a panel instead of its name.
    crop : (slice, slice), optional
        Rows and columns to show.

    Returns
    -------
    matplotlib Figure, 180 mm wide
        Two or three panels to a row.

    Examples
    --------
    >>> labels = xr.DataArray(np.zeros((8, 8), np.uint8), dims=("y", "x"))
    >>> figure = label_panels(labels.astype(float), labels, {"forest": labels}, {"matrix": 0})
    >>> [ax.get_title() for ax in figure.axes]
    ['image and strokes', 'forest']
    """
    scheme = PhaseScheme.of(phases)
    for array in (image, annotations, *labels.values()):
        require_dims(array, ("y", "x"), where="label_panels")
    part = crop or (slice(None), slice(None))
    pixels, marks = np.asarray(image.values, dtype=float)[part], np.asarray(annotations.values)[part]
    height, width = pixels.shape
    columns = _COLUMNS[len(labels)] if len(labels) < len(_COLUMNS) else _COLUMNS[-1]
    rows = -(-(1 + len(labels)) // columns)
    panel = style.DOUBLE_MM / columns
    figure = style.new_figure(style.DOUBLE_MM, 8 + rows * (panel * height / width + 5))
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    step, unit = axis_spacing(image, "x", where="label_panels")
    extent = (-step / 2, step * (width - 0.5), step * (height - 0.5), -step / 2)
    low, high = gray_limits(pixels)
    axes[0].imshow(pixels, cmap="gray", vmin=low, vmax=high, extent=extent)
    drawn = solid_rgb(_thickened(marks, scheme), scheme)
    shown = np.concatenate([drawn, (_thickened(marks, scheme) != UNLABELED)[..., None].astype(float)], axis=-1)
    axes[0].imshow(shown, extent=extent)
    axes[0].set_title("image and strokes")
    for ax, (name, array) in zip(axes[1:], labels.items(), strict=False):
        ax.imshow(solid_rgb(np.asarray(array.values)[part], scheme), extent=extent, interpolation="nearest")
        ax.set_title((titles or {}).get(name, name))
    for ax in axes:
        ax.set_axis_off()
    style.add_scale_bar(axes[0], unit=unit)
    style.phase_legend(figure, scheme, scheme)
    if style.is_simulated(image, *labels.values()):
        style.mark_simulated(figure)
    return figure


def _thickened(marks: np.ndarray, phases: PhaseScheme) -> np.ndarray:
    """Strokes wide enough to be seen; the phase that comes last lies on top."""
    from scipy.ndimage import grey_dilation

    wide = max(1, round(max(marks.shape) / _DRAWN))
    out = np.full_like(marks, UNLABELED)
    for number in phases.ids:
        out[grey_dilation(marks == number, size=(wide, wide))] = number
    return out
