"""What is annotated in a series, and what of it is held out."""

from __future__ import annotations

import xarray as xr

from operando.core.phases import UNLABELED
from operando.pipeline.scans.images import labels_on_grid
from operando.pipeline.step import Task


def annotations_of(task: Task) -> tuple[xr.DataArray, list[int], list[int]]:
    """Annotations on the grid of the images, the annotated scans, and which of them are held out first."""
    marks = labels_on_grid(
        task,
        task.parameters["annotations"],
        key="segment.annotations",
        frame=task.parameters["annotations_frame"],
    )
    annotated = [scan for scan in range(marks.sizes["t"]) if bool((marks[scan].data != UNLABELED).any().compute())]
    held = task.parameters["held_out_scans"]
    if held is None:
        # Spread over the cycle, so that charge and discharge are both seen; a lone scan cannot be spared.
        count = round(len(annotated) / 4) or int(len(annotated) > 1)
        held = [annotated[int((k + 0.5) * len(annotated) / count)] for k in range(count)]
    return marks, annotated, sorted(set(held) & set(annotated))
