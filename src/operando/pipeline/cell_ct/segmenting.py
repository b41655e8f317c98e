"""From gray values to phases: train, segment, clean, and compare with what is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando import learn, morphometry, segmentation
from operando.core.errors import InputError
from operando.core.phases import PhaseScheme
from operando.pipeline.cell_ct.annotated import annotations_of
from operando.pipeline.cell_ct.errors import Errors, cleaned, edge_um, keep_errors, measured_errors
from operando.pipeline.scans.images import labels_on_grid
from operando.pipeline.step import Task
from operando.pipeline.storage import read_image, read_json, write_image, write_json, write_table


def train(task: Task) -> None:
    """Learn from the annotations, and measure errors on scans held out meanwhile."""
    phases = PhaseScheme(task.parameters["phases"])
    image = read_image(task, task.step.inputs[0])
    marks, annotated, held = annotations_of(task)
    task.say(f"annotated scans {annotated}; {held} are held out to measure errors, then trained on as well")
    seed = task.parameters["seed"]
    told: dict[str, Any] = {"annotated_scans": annotated, "held_out_scans": held}

    def judge(segmenter: segmentation.Segmenter, method: str) -> Errors:
        errors, agreement = measured_errors(
            segmenter,
            image.isel(t=held),
            marks.isel(t=held),
            phases,
            plating_side=task.parameters["plating_side"],
            rules=task.parameters["rules"],
            folder=task.folder,
        )
        told.setdefault("held_out", {})[method] = _scores(agreement)
        return errors

    asked = task.parameters["held_out_scans"] or []
    if not set(asked) <= set(annotated):
        raise InputError(
            f"segment.held_out_scans: only annotated scans can be held out to measure errors on, got {asked} where "
            f"{annotated} are annotated. Name some of those, or null."
        )
    rest = [scan for scan in annotated if scan not in held]
    if not rest:
        raise InputError(
            f"segment: annotations must label voxels of at least one scan that is not held out, got labels in scans "
            f"{annotated} and held-out scans {held}. Annotate another scan or hold out fewer."
        )
    everything = image.isel(t=annotated), marks.isel(t=annotated)
    without = image.isel(t=rest), marks.isel(t=rest)
    errors = judge(segmentation.Otsu(phases, seed=seed).fit(*without), "otsu") if held else Errors()
    segmenter: segmentation.Otsu | segmentation.NetworkSegmenter
    if task.parameters["method"] == "otsu":
        segmenter = segmentation.Otsu(phases, seed=seed).fit(*everything)
    else:
        found: list[Errors] = []
        options: dict[str, Any] = {
            "seed": seed,
            "network": task.parameters["network"],
            "training": learn.TrainingSettings(steps=task.parameters["steps"]),
            "validation": [annotated.index(scan) for scan in held] if held else True,
            # Called while the network has not seen the held-out scans yet.
            "validated": lambda network: found.append(judge(network, "network")),
            "progress": lambda done, total, loss: task.progress(done, total, f"loss {loss:.3f}"),
        }
        if task.parameters["method"] == "iterative":
            loop = segmentation.IterativeSegmenter(phases, **options).fit(*everything)
            segmenter, told["iterations"] = loop.network_, loop.history_
        else:
            symmetries = task.parameters["symmetries"]
            segmenter = segmentation.NetworkSegmenter(phases, symmetries=symmetries, **options).fit(*everything)
        errors = found[0] if found else Errors()
        card = segmenter.card_
        # The network was given the annotated scans alone: say which scans of the series they are.
        card["data"]["annotated_scans"] = annotated
        if "held_out_scans" in card["split"]:
            card["split"]["held_out_scans"] = held
        told |= {"history": segmenter.history_, "card": card}
    with task.writing("model") as path:
        segmenter.save(path)
        keep_errors(path, errors, scans=held, edge_um=edge_um(image))
    write_json(task, "training.json", told)


def segment(task: Task) -> None:
    """Give every voxel of every scan a phase, and say in the same pass how doubtful that is."""
    image = read_image(task, task.step.inputs[0])
    model = task.parameters["model"] or (task.path("model") if "model" in task.step.inputs else None)
    block, phases = task.parameters["block"], PhaseScheme(task.parameters["phases"])
    marks = {"plating_side": task.parameters["plating_side"], "simulated": image.attrs.get("simulated", False)}
    moments: dict[str, Any] = {}

    def write(labels: xr.DataArray) -> None:
        write_image(task, "segmented.zarr", counted(task, labels.assign_attrs(labels.attrs | marks)), labels=True)

    if task.parameters["method"] == "otsu":
        otsu = segmentation.Otsu.load(model) if model else segmentation.Otsu(phases).fit(image, None)
        write(otsu.predict(image))
    else:
        assert model is not None
        symmetries = task.parameters["symmetries"]
        network = segmentation.NetworkSegmenter.load(model, block=(block, block, block), symmetries=symmetries)
        moments = morphometry.probability_moments(
            network.predict_probability(image), phases, plating_side=marks["plating_side"], write=write
        ).to_dict()
    write_json(task, "moments.json", moments)


def counted(task: Task, labels: xr.DataArray) -> xr.DataArray:
    """The same lazy labels, telling the task's progress as blocks are made."""
    import dask.array as da

    if not isinstance(labels.data, da.Array):
        return labels
    total, done = labels.data.npartitions, []

    def tell(block: np.ndarray) -> np.ndarray:
        if block.size:
            done.append(1)
            task.progress(min(len(done), total), total)
        return block

    return labels.copy(data=labels.data.map_blocks(tell, dtype=labels.dtype, meta=np.empty((0,) * labels.ndim, "u1")))


def clean(task: Task) -> None:
    """Apply the rules at the detected interfaces, counting every change."""
    labels = read_image(task, "segmented.zarr")
    phases = PhaseScheme(task.parameters["phases"])
    changes = pd.DataFrame({"scan": [], "rule": [], "from": [], "to": [], "n": []})
    labels, changed = cleaned(
        labels, phases, plating_side=task.parameters["plating_side"], rules=task.parameters["rules"]
    )
    changes = changes if changed is None else changed
    write_image(task, "labels.zarr", labels, labels=True)
    write_table(task, "cleaned.csv", changes)


def evaluate(task: Task) -> None:
    """Compare the labels with the truth or with annotations that nothing was trained on."""
    parameters = task.parameters
    phases = PhaseScheme(parameters["phases"])
    labels = read_image(task, "labels.zarr")
    training = read_json(task.path("training.json")) if "training.json" in task.step.inputs else {}
    annotated: list[int] = training.get("annotated_scans", [])
    result: dict[str, Any] = {}
    if parameters["truth"] is not None:
        # Judged only where nothing was annotated.
        judged = [scan for scan in range(labels.sizes["t"]) if scan not in annotated]
        told = labels_on_grid(task, parameters["truth"], key="truth", frame=parameters["truth_frame"]).isel(t=judged)
        result = {"scans": judged, "against": "truth"}
        if judged:
            result[_name(parameters)] = _scores(segmentation.agreement(labels.isel(t=judged), told, phases))
        if judged and annotated and parameters["method"] != "otsu":
            image = read_image(task, task.step.inputs[0])
            marks = labels_on_grid(
                task, parameters["annotations"], key="segment.annotations", frame=parameters["annotations_frame"]
            )
            otsu = segmentation.Otsu(phases, seed=parameters["seed"])
            otsu.fit(image.isel(t=annotated), marks.isel(t=annotated))
            result["otsu"] = _scores(segmentation.agreement(otsu.predict(image.isel(t=judged)), told, phases))
    elif training.get("held_out"):
        result = {"scans": training["held_out_scans"], "against": "held-out annotations", **training["held_out"]}
    elif parameters["model"] is not None and parameters["annotations"] is not None:
        # Nothing was trained on these annotations: all of them may judge the model.
        marks, judged, _ = annotations_of(task)
        result = {"scans": judged, "against": "annotations"}
        found = segmentation.agreement(labels.isel(t=judged), marks.isel(t=judged), phases)
        result[_name(parameters)] = _scores(found)
    write_json(task, "agreement.json", result if len(result) > 2 else {})


def _name(parameters: Mapping[str, Any]) -> str:
    """What the scores of the segmentation are called, however its network was trained."""
    return "otsu" if parameters["method"] == "otsu" else "network"


def _scores(agreement: xr.Dataset) -> dict[str, Any]:
    per_phase = dict(zip(agreement.component.values.tolist(), agreement.iou.values.tolist(), strict=True))
    return {"iou": per_phase, **{name: float(agreement[name]) for name in ("macro", "total", "accuracy")}}
