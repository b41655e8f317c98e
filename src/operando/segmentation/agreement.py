"""How well a segmentation agrees with labels that somebody trusts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from operando import learn
from operando.core.phases import PhaseScheme
from operando.segmentation.contract import as_annotations, as_image


def agreement(prediction: Any, truth: Any, phases: PhaseScheme | Mapping[str, int]) -> xr.Dataset:
    """Intersection over union per phase, and three ways to sum it up.

    Parameters
    ----------
    prediction : DataArray or array of uint8, dims ([t], [z], y, x)
        Labels of a segmenter.
    truth : DataArray or array of uint8, same shape
        Trusted labels; where it is 255 nothing is counted.
    phases : PhaseScheme or mapping of str to int

    Returns
    -------
    Dataset
        ``iou`` (component): NaN where a phase is in neither image. ``voxels`` and ``predicted``
        (component): labeled voxels of the phase in the truth and in the prediction. ``macro``: mean
        IoU over the phases in the truth. ``total``: foreground true positives over all labeled voxels
        but true background, as Huang et al. (2023) report it. ``accuracy``: fraction of labeled voxels
        that are right.

    Raises
    ------
    InputError, AxesError
        Where the two do not have one shape, or the truth holds a label that is no phase.

    Notes
    -----
    The background is the phase called electrolyte or background, or else the id 0. ``total`` and
    ``accuracy`` are micro figures: the large phases decide them, and a lost dendrite hardly shows.
    Reads one block of 128 voxels a side at a time.

    Examples
    --------
    Four voxels, of which one of the electrode was taken for electrolyte:

    >>> truth = np.array([[0, 0, 1, 1]], np.uint8)
    >>> found = np.array([[0, 0, 0, 1]], np.uint8)
    >>> scores = agreement(found, truth, {"electrolyte": 0, "electrode": 1})
    >>> scores.iou.values.round(3).tolist(), float(scores.accuracy), float(scores.total)
    ([0.667, 0.5], 0.75, 0.5)
    """
    scheme = PhaseScheme.of(phases)
    found = as_image(prediction, where="agreement")
    told = as_annotations(truth, found, where="agreement")
    confusion = learn.confusion_matrix(found.data, told.data, ids=scheme.ids)
    count = len(scheme)
    values = {
        "iou": ("component", learn.intersection_over_union(confusion), "Intersection over union"),
        "voxels": ("component", confusion.sum(axis=1), "Labeled voxels"),
        "predicted": ("component", confusion[:, :count].sum(axis=0), "Predicted voxels"),
        "macro": ((), learn.macro_iou(confusion), "Macro IoU"),
        "total": ((), learn.total_iou(confusion, background=learn.background_index(scheme)), "Total IoU (Huang)"),
        "accuracy": ((), learn.accuracy(confusion), "Accuracy"),
    }
    return xr.Dataset(
        {
            name: (dims, np.asarray(value), {"units": "1", "long_name": text})
            for name, (dims, value, text) in values.items()
        },
        coords={"component": list(scheme.names)},
    )
