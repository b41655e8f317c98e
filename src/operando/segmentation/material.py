"""What a network is trained on: one annotated series, or several of different cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from operando import learn
from operando.core.axes import SPACE, axis_spacing
from operando.core.blocks import iter_blocks
from operando.core.errors import InputError
from operando.core.phases import UNLABELED, PhaseScheme
from operando.learn.sampling import AnnotationCounts, Window
from operando.learn.sections import Sections
from operando.segmentation.contract import annotated_phases, as_annotations, as_image, as_series
from operando.segmentation.fitted import Scale, scan_scale

_ALIKE = 0.1  # by which voxel sizes of one network's series may differ
_BLOCK = (128, 128, 128)


@dataclass(frozen=True)
class Series:
    """One annotated series, as bare arrays (t, z, y, x) that may be lazy."""

    image: xr.DataArray
    gray: Any
    marks: Any
    counts: AnnotationCounts

    @cached_property
    def annotated(self) -> list[int]:
        """Scans that hold annotations."""
        return [int(scan) for scan in np.flatnonzero(self.counts.per_scan.sum(axis=1))]

    @cached_property
    def scales(self) -> dict[int, Scale]:
        """Center and spread of the gray values of each annotated scan."""
        return {scan: scan_scale(self.gray[scan]) for scan in self.annotated}

    def describe(self) -> dict[str, Any]:
        """Plain form for the card."""
        return {
            "dims": [str(dim) for dim in self.image.dims],
            "shape": [int(size) for size in self.image.shape],
            "dtype": str(self.image.dtype),
            "annotated_scans": self.annotated,
            "simulated": bool(self.image.attrs.get("simulated", False)),
        }


def gather_series(
    images: Any, annotations: Any, phases: PhaseScheme | Mapping[str, int] | None, *, where: str
) -> tuple[list[Series], PhaseScheme]:
    """Check one series and its annotations, or a list of each, and say which phases they show."""
    several = isinstance(images, list | tuple)
    if several != isinstance(annotations, list | tuple) or (several and len(images) != len(annotations)):
        raise InputError(
            f"{where}: images and annotations must both be one series, or lists of as many, got "
            f"{_count(images)} and {_count(annotations)}. Give one label image per series."
        )
    pairs = list(zip(images, annotations, strict=True)) if several else [(images, annotations)]
    if not pairs:
        raise InputError(f"{where}: at least one series is needed, got an empty list. Pass images and annotations.")
    prepared = [as_image(image, where=where) for image, _ in pairs]
    labels = [as_annotations(m, image, where=where) for (_, m), image in zip(pairs, prepared, strict=True)]
    scheme = annotated_phases(labels, phases, where=where)
    found = []
    for image, label in zip(prepared, labels, strict=True):
        marks = as_series(label)
        found.append(Series(image, as_series(image), marks, learn.count_annotations(marks)))
    first = voxel_size(prepared[0])
    for number, image in enumerate(prepared[1:], 1):
        here = voxel_size(image)
        if differs(here, first):
            raise InputError(
                f"{where}: all series must have one voxel size within {_ALIKE:.0%}, got {here} um in series {number} "
                f"and {first} um in series 0. Resample it, or train a network of its own."
            )
    return found, scheme


def judged_series(
    images: Any,
    validation: Any,
    material: Sequence[Series],
    phases: PhaseScheme,
    ids: Sequence[int],
    *,
    where: str,
) -> list[Series]:
    """Check annotations that are measured on against those that are trained on."""
    judged, _ = gather_series(images, validation, phases, where=f"{where}: validation")
    per_phase = sum(series.counts.per_scan.sum(axis=0) for series in judged)
    unknown = [phases.name(number) for number in phases.ids if per_phase[number] and number not in ids]
    if unknown:
        raise InputError(
            f"{where}: validation must show phases that are trained on, got also {unknown}. Annotate them for "
            "training too, or set them to 255 in validation."
        )
    for number, (trained, held) in enumerate(zip(material, judged, strict=True)):
        for scan in sorted(set(trained.annotated) & set(held.annotated)):
            for block in iter_blocks(trained.gray.shape[1:], _BLOCK):
                at = (scan, *block.core)
                told = [np.asarray(marks[at]) != UNLABELED for marks in (trained.marks, held.marks)]
                twice = np.count_nonzero(told[0] & told[1])
                if twice:
                    raise InputError(
                        f"{where}: a voxel must be annotated for training or for validation, got {twice} voxels in "
                        f"both in one block of series {number}, scan {scan}. Set them to 255 in one of the two."
                    )
    return judged


def _count(given: Any) -> str:
    return f"a list of {len(given)}" if isinstance(given, list | tuple) else "one series"


def windows_of(
    material: Sequence[Series],
    held: set[tuple[int, int]],
    part: tuple[slice, ...],
    *,
    ids: Sequence[int],
    sections: Sections,
    limit: int,
    seed: int,
) -> list[Window]:
    """Cross-sections to train on, an equal share of each series, without the held-out (series, scan).

    ``part`` of every array is read; all of it but for a split by place.
    """
    trained = {
        number: [scan for scan in series.annotated if (number, scan) not in held]
        for number, series in enumerate(material)
    }
    trained = {number: scans for number, scans in trained.items() if scans}
    windows = []
    for number, scans in trained.items():
        series = material[number]
        marks = series.marks[part]
        counts = series.counts if marks.shape == series.marks.shape else learn.count_annotations(marks)
        windows += learn.draw_windows(
            series.gray[part],
            marks,
            counts,
            scans=scans,
            ids=ids,
            sections=sections,
            scales=series.scales,
            limit=max(1, limit // len(trained)),
            seed=seed,
        )
    return windows


def voxel_size(image: xr.DataArray) -> dict[str, float] | None:
    """Voxel edge in um per calibrated spatial dim; None where there is none."""
    found = {dim: axis_spacing(image, dim) for dim in SPACE if dim in image.dims}
    sizes = {dim: size for dim, (size, unit) in found.items() if unit == "um"}
    return sizes or None


def differs(here: Mapping[str, float] | None, there: Mapping[str, float] | None) -> bool:
    """Whether two voxel sizes are known and not alike."""
    return bool(here and there and any(abs(here[d] / there[d] - 1) > _ALIKE for d in here.keys() & there.keys()))
