"""Examples of what was annotated and what was predicted, slice by slice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import SPACE, require_dims
from operando.core.errors import InputError
from operando.core.phases import UNLABELED, PhaseScheme
from operando.report import style, wording
from operando.report.sections import draw_plane, gray_limits, plane_extent, section

Example = tuple[int, str, float]


@style.styled
def annotation_examples(
    image: xr.DataArray,
    annotations: xr.DataArray | None,
    prediction: xr.DataArray | None,
    phases: PhaseScheme | Mapping[str, int],
    *,
    truth: xr.DataArray | None = None,
    examples: Sequence[Example] | None = None,
    opacity: float = 0.65,
    simulated: bool | None = None,
    width_mm: float = style.DOUBLE_MM,
) -> Any:
    """Draw slices with their annotations and the prediction beside them (Huang 2023, Supplementary Figs. 4, 5, 12).

    Parameters
    ----------
    image : DataArray, dims ([t,] z, y, x)
        Gray values; may be lazy, only the slices are computed.
    annotations, prediction, truth : DataArray, uint8, same dims, or None
        255 is unlabeled and stays clear. In annotations every phase is drawn, in a prediction all but electrolyte
        and background; the truth is drawn solid.
    phases : PhaseScheme or mapping
    examples : sequence of (scan, normal, position), optional
        Slices: scan number, the dim the slice is normal to, and where along it in the unit of its coordinate.
        Default: the slice with the most annotated voxels in up to three scans, which reads all annotations once.
    opacity : float
        Of labels over gray.
    simulated : bool, optional
        Label the figure as simulated; default what the arrays say.
    width_mm : float
        Of the figure.

    Returns
    -------
    matplotlib Figure
        Slices in rows; columns image, annotation, prediction, truth.

    Raises
    ------
    InputError
        Where there is nothing to lay over the image, or no voxel is annotated and no slices are named.
    """
    scheme = PhaseScheme.of(phases)
    layers = {"annotation": annotations, "prediction": prediction, "truth": truth}
    given = {name: labels for name, labels in layers.items() if labels is not None}
    if not given:
        raise InputError(
            "annotation_examples: annotations, a prediction or a truth is needed, got none. Use cross_sections."
        )
    if examples is None:
        examples = [(0, "y", float("nan"))] if annotations is None else most_annotated(annotations)
    columns = ["image", *given]
    rows = []
    for scan, normal, position in examples:
        at: dict[str, Any] = {"scan": scan, "normal": normal, "position": None if np.isnan(position) else position}
        rows.append([section(array, **at) for array in (image, *given.values())])
    extents = [plane_extent(planes[0])[0] for planes in rows]
    aspects = [(e[3] - e[2]) / (e[1] - e[0]) for e in extents]
    cell = (width_mm - 8) / len(columns) - 1
    # What does not fit a page of 230 mm makes all columns narrower, not the gaps wider.
    height = min(sum(cell * aspect + 2 for aspect in aspects) + 16, 230)
    figure = style.new_figure(width_mm, height)
    axes = figure.subplots(len(rows), len(columns), squeeze=False, height_ratios=aspects)
    seen: set[int] = set()
    for row, (planes, (scan, normal, _)) in enumerate(zip(rows, examples, strict=True)):
        limits = gray_limits(planes[0])
        for ax, name, plane in zip(axes[row], columns, planes, strict=True):
            if name == "image":
                draw_plane(ax, plane, limits=limits)
            elif name == "truth":
                draw_plane(ax, None, plane, scheme, scale_bar=False)
            else:
                draw_plane(ax, planes[0], plane, scheme, limits=limits, opacity=opacity, scale_bar=False)
            if name == "annotation":
                _draw_ground(ax, plane, scheme, opacity)
            if name != "image":
                seen |= set(np.unique(plane.values).tolist())
            if row == 0:
                ax.set_title(name.capitalize(), fontweight="bold", pad=3)
        title = wording.scan_titles(image, [scan])[0] if "t" in image.dims else "slice"
        axes[row, 0].set_ylabel(f"{title}\nnormal to {normal}")
    style.phase_legend(figure, scheme, [name for name in scheme if scheme[name] in seen])
    if style.is_simulated(image, *given.values()) if simulated is None else simulated:
        style.mark_simulated(figure)
    return figure


def _draw_ground(ax: Any, plane: xr.DataArray, scheme: PhaseScheme, opacity: float) -> None:
    """Show where somebody wrote that there is nothing but electrolyte: it teaches as much as any other label."""
    from matplotlib.colors import to_rgba

    pixels = np.zeros((*plane.shape, 4))
    for name in scheme:
        if scheme.role(name) == "electrolyte" or name == "background":
            pixels[plane.values == scheme[name]] = to_rgba(scheme.color(name), opacity)
    ax.imshow(pixels, extent=plane_extent(plane)[0], origin="lower", aspect="equal", interpolation="nearest")


def most_annotated(annotations: xr.DataArray, *, count: int = 3) -> list[Example]:
    """The slice with the most annotated voxels in each of up to ``count`` scans that have any, spread evenly.

    Parameters
    ----------
    annotations : DataArray of uint8, dims ([t,] z, y, x)
        255 is unlabeled. May be lazy: each scan is read once.
    count : int

    Returns
    -------
    list of (scan, normal, position)

    Raises
    ------
    InputError
        Where no voxel is annotated.

    Examples
    --------
    >>> from operando.core.axes import labeled_image
    >>> marks = np.full((1, 4, 4, 4), 255, np.uint8)
    >>> marks[0, :, 2, :] = 1
    >>> most_annotated(labeled_image(marks, voxel_size_um=2.0))
    [(0, 'y', 4.0)]
    """
    require_dims(annotations, SPACE, where="most_annotated", optional=("t",))
    found: list[Example] = []
    for scan in range(annotations.sizes.get("t", 1)):
        marked = (annotations.isel(t=scan) if "t" in annotations.dims else annotations) != UNLABELED
        # One pass over the scan for the three directions together.
        means = {f"share {normal}": marked.mean([dim for dim in SPACE if dim != normal]) for normal in SPACE}
        computed = xr.Dataset(means).compute()
        shares = {normal: computed[f"share {normal}"].values for normal in SPACE}
        # A slice is the one that was drawn on where its share is the largest of all directions.
        normal = max(("y", "x", "z"), key=lambda dim: float(shares[dim].max()))
        best = int(shares[normal].argmax())
        if float(shares[normal].max()) > 0:
            place = annotations.coords[normal].values[best] if normal in annotations.coords else best
            found.append((scan, normal, float(place)))
    if not found:
        raise InputError(
            "annotation_examples: at least one voxel must be annotated, got none but 255. Name slices in examples."
        )
    return [found[index] for index in wording.spread_scans(len(found), count)]
