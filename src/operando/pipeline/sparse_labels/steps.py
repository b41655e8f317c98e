"""The steps of recipe ``sparse-labels``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from operando import io, learn, morphometry, segmentation
from operando.core.axes import axis_spacing
from operando.core.phases import UNLABELED, PhaseScheme
from operando.core.quantities import interval, quantity_table, rows_from_array
from operando.pipeline.settings import Faults
from operando.pipeline.sparse_labels.inputs import drawn, open_gray, open_values, reference
from operando.pipeline.sparse_labels.page import make_report
from operando.pipeline.sparse_labels.settings import Image, Labels, Reference, Segment, SparseLabels
from operando.pipeline.step import Step, Task, derived_seed
from operando.pipeline.storage import read_image, read_json, read_table, write_image, write_json, write_table

_BASE_BYTES = 500_000_000
_VOXELS_PER_SECOND = {"forest": 5e4, "network": 1e5}
_SECONDS_PER_TRAINING_STEP = 0.12
_NETWORK = learn.NetworkDesign(channels=(16, 32, 64, 128), strides=(2, 2, 2), patch=(96, 96))
_JUDGED = 1_000_000  # voxels at most whose probabilities are compared with the truth


def faults(settings: SparseLabels) -> list[str]:
    """Everything that the settings and the headers of their files get wrong."""
    found = Faults()
    gray = found.attempt("image.file", lambda: open_gray(settings.image))
    if gray is not None:
        labels, told = settings.labels, settings.reference
        found.attempt("labels.file", lambda: open_values(labels.file, labels, gray, key="labels.file"))
        if told is not None:
            found.attempt("reference.file", lambda: open_values(told.file, labels, gray, key="reference.file"))
    return list(found)


def make_steps(settings: SparseLabels, workers: int) -> list[Step]:
    """The steps of a recipe whose faults have been mended, from headers alone."""
    image, labels, segment, told = settings.image, settings.labels, settings.segment, settings.reference
    voxels = math.prod(open_gray(image).shape)
    shared = {"image": image.model_dump(), "labels": labels.model_dump(), "segment": segment.model_dump()}
    files = (Path(image.file), Path(labels.file))
    training = segment.steps * _SECONDS_PER_TRAINING_STEP if segment.method == "network" else 5.0
    compared = () if told is None else (Path(told.file),)
    scores = () if told is None else ("agreement.json", "reference.zarr")
    return [
        Step(
            name="train",
            title="Learn from the labeled voxels",
            function=_train,
            outputs=("model", "strokes.zarr", "training.json"),
            files=files,
            parameters={**shared, "seed": derived_seed(settings.seed, "train")},
            access="block",
            halo=50,
            bytes_in_memory=_BASE_BYTES + 1_000_000_000,
            bytes_on_disk=2_000_000,
            seconds=training,
        ),
        Step(
            name="segment",
            title="Segment the image",
            function=_segment,
            inputs=("model", "strokes.zarr"),
            outputs=("probability.zarr", "labels-before.zarr", "labels.zarr", "otsu.zarr"),
            files=files[:1],
            parameters={**shared, "seed": derived_seed(settings.seed, "otsu")},
            access="block",
            halo=50,
            bytes_in_memory=_BASE_BYTES + workers * 800_000_000,
            bytes_on_disk=(4 * len(labels.phases) + 3) * voxels,
            seconds=voxels / _VOXELS_PER_SECOND[segment.method],
        ),
        Step(
            name="measure",
            title="Measure the phases and judge them",
            function=_measure,
            inputs=("strokes.zarr", "probability.zarr", "labels-before.zarr", "labels.zarr", "otsu.zarr"),
            outputs=("ledger.parquet", "ledger.csv", *scores),
            files=(*files, *compared),
            parameters={
                **shared,
                "reference": told and told.model_dump(),
                "seed": derived_seed(settings.seed, "judge"),
            },
            access="block",
            bytes_in_memory=_BASE_BYTES + 500_000_000,
            seconds=voxels / 2e6,
        ),
        Step(
            name="report",
            title="Write the report",
            function=make_report,
            inputs=("strokes.zarr", "training.json", "labels.zarr", "otsu.zarr", "ledger.parquet", *scores),
            outputs=("report.html", "figures"),
            files=(*files, *compared),
            parameters={"settings": settings.model_dump(mode="json")},
            access="slice",
            bytes_in_memory=_BASE_BYTES + 500_000_000,
            bytes_on_disk=5_000_000,
            seconds=10,
        ),
    ]


def _settings(task: Task) -> tuple[Image, Labels, Segment]:
    given = task.parameters
    return Image(**given["image"]), Labels(**given["labels"]), Segment(**given["segment"])


def _train(task: Task) -> None:
    image, labels, segment = _settings(task)
    gray = open_gray(image)
    marks = drawn(labels, gray, ignore_below=image.ignore_below)
    seed = task.parameters["seed"]
    result: dict[str, Any]
    if segment.method == "forest":
        forest = segmentation.PixelClassifier(labels.scheme, scales=segment.scales, seed=seed).fit(gray, marks)
        chance, told = forest.unseen_["probability"].values, forest.unseen_["label"].values
        names = forest.unseen_["phase"].values
        found = np.array([labels.scheme[name] for name in names])[chance.argmax(axis=1)]
        result = {
            "split": "strokes",
            "reliability": learn.reliability(chance.max(axis=1), found == told),
            "history": [],
        }
        model: segmentation.Segmenter = forest
        metrics, card = forest.metrics_, forest.card_
    else:
        network = segmentation.NetworkSegmenter(
            labels.scheme,
            network=_NETWORK,
            planes="yx",
            seed=seed,
            training=learn.TrainingSettings(steps=segment.steps),
            progress=lambda done, total, loss: task.progress(done, total, f"loss {loss:.3f}"),
        ).fit(gray, marks)
        metrics, card = network.metrics_, network.card_
        result = {"split": card["split"]["kind"], "reliability": None, "history": network.history_}
        model = network
    with task.writing("model") as path:
        model.save(path)
    write_image(task, "strokes.zarr", marks, labels=True)
    labeled = int((marks != UNLABELED).sum())
    write_json(
        task,
        "training.json",
        {**result, "metrics": metrics, "card": card, "labeled_voxels": labeled, "voxels": int(marks.size)},
    )


def _segment(task: Task) -> None:
    image, labels, segment = _settings(task)
    gray, scheme = open_gray(image), labels.scheme
    kind: Any = segmentation.PixelClassifier if segment.method == "forest" else segmentation.NetworkSegmenter
    write_image(task, "probability.zarr", kind.load(task.path("model")).predict_probability(gray), labels=False)
    chance = io.open_image(task.folder / "probability.zarr")
    counted = chance.notnull().all("phase")
    if image.ignore_below is not None:
        counted = counted & (gray >= image.ignore_below)
    found = chance.fillna(0).argmax("phase").where(counted, UNLABELED).astype(np.uint8)
    write_image(task, "labels-before.zarr", found.assign_attrs(phases=scheme), labels=True)
    before = io.open_image(task.folder / "labels-before.zarr")
    snapped = segmentation.snap_borders(before, gray, scheme, reach=segment.snap_voxels)
    write_image(task, "labels.zarr", snapped, labels=True)
    strokes = read_image(task, "strokes.zarr").assign_coords(gray.coords)
    # What is ignored would take a threshold for itself.
    seen = gray if image.ignore_below is None else gray.where(before.data != UNLABELED)
    otsu = segmentation.Otsu(scheme, seed=task.parameters["seed"]).fit(seen, strokes)
    write_image(task, "otsu.zarr", otsu.predict(seen), labels=True)


def _measure(task: Task) -> None:
    image, labels, segment = _settings(task)
    gray, scheme = open_gray(image), labels.scheme
    artifacts = ("labels.zarr", "labels-before.zarr", "otsu.zarr", "strokes.zarr", "probability.zarr")
    found, before, otsu, strokes, chance = (read_image(task, name) for name in artifacts)
    shares = morphometry.phase_fractions(found, scheme, probability=chance, other=before)
    table = quantity_table(_rows(shares, gray))
    write_table(task, "ledger.parquet", table)
    write_table(task, "ledger.csv", interval(table))
    if "agreement.json" not in task.step.outputs:
        return
    told = Reference(**task.parameters["reference"])
    write_image(task, "reference.zarr", reference(told.file, labels, gray), labels=True)
    truth = io.open_image(task.folder / "reference.zarr")
    methods = {segment.method: found, "before borders": before, "multi-Otsu": otsu}
    open_to_it = truth.where(strokes.data == UNLABELED, UNLABELED).astype(np.uint8)
    known = learn.confusion_matrix(truth.data, strokes.data, ids=scheme.ids)
    judged = truth.data != UNLABELED
    write_json(
        task,
        "agreement.json",
        {
            "name": told.name,
            "trusted": told.trusted,
            "unlabeled": {name: _scores(array, open_to_it, scheme) for name, array in methods.items()},
            "all": {name: _scores(array, truth, scheme) for name, array in methods.items()},
            "strokes": learn.accuracy(known[:, :-1]),
            "reliability": _reliability(chance, open_to_it, seed=task.parameters["seed"]),
            "judged_voxels": int(judged.sum()),
        },
    )


def _rows(shares: xr.Dataset, gray: xr.DataArray) -> list[dict[str, Any]]:
    """Fractions and, where a voxel has a size, areas or volumes."""
    method = "voxel count; sigma: border 0.25 voxel, mean probability, borders before they moved"
    n = shares["voxels"]
    rows = rows_from_array(shares["fraction"], quantity="fraction", sigma=shares["sigma"], n=n, method=method)
    steps = [axis_spacing(gray, str(dim), where="image.voxel_size_um") for dim in gray.dims]
    if any(unit != "um" for _, unit in steps):
        return rows
    size = math.prod(step for step, _ in steps)
    total = size * float(n.sum())
    what, unit = ("volume", "um3") if len(steps) == 3 else ("area", "um2")
    amount = (shares["fraction"] * total).assign_attrs(units=unit)
    return rows + rows_from_array(amount, quantity=what, sigma=shares["sigma"] * total, n=n, method=method)


def _scores(found: xr.DataArray, truth: xr.DataArray, phases: PhaseScheme) -> dict[str, Any]:
    agreement = segmentation.agreement(found, truth.assign_coords(found.coords), phases)
    names = agreement.component.values.tolist()
    voxels = agreement["voxels"].values
    return {
        "iou": dict(zip(names, agreement["iou"].values.tolist(), strict=True)),
        "fraction": dict(zip(names, (voxels / max(voxels.sum(), 1)).tolist(), strict=True)),
        **{key: float(agreement[key]) for key in ("macro", "total", "accuracy")},
    }


def _reliability(chance: xr.DataArray, truth: xr.DataArray, *, seed: int) -> dict[str, Any]:
    """How sure it was against how often it was right, on random planes or rows of voxels."""
    rng = np.random.default_rng(seed)
    first = str(truth.dims[0])
    each = max(1, truth.size // truth.sizes[first])
    count = int(np.clip(_JUDGED // each, 1, truth.sizes[first]))
    rows = np.sort(rng.choice(truth.sizes[first], size=count, replace=False))
    told = np.asarray(truth.isel({first: rows}).data)
    sure = np.asarray(chance.isel({first: rows}).transpose("phase", ...).data)
    known = (told != UNLABELED) & np.isfinite(sure).all(axis=0)
    sure, told = sure[:, known], told[known]
    confidence, right = sure.max(axis=0), sure.argmax(axis=0) == told
    return {"bins": learn.reliability(confidence, right), "error": learn.calibration_error(confidence, right)}


def summary_tables(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Fractions and agreement for the terminal."""
    ledger = read_table(folder / "ledger.parquet")
    shares = ledger[ledger["quantity"] == "fraction"]
    tables: dict[str, list[dict[str, Any]]] = {
        "fraction of the image (+- one sigma)": [
            {"phase": row["component"], "fraction": row["value"], "+-": row["sigma"]}
            for row in shares.to_dict("records")
        ]
    }
    training = read_json(folder / "training.json")
    metrics = training["metrics"]
    if metrics.get("iou"):
        tables[f"IoU on held-out {training['split']}"] = [
            *({"phase": name, "IoU": value} for name, value in metrics["iou"].items()),
            {"phase": "macro", "IoU": metrics["macro"]},
        ]
    if (folder / "agreement.json").exists():
        scores = read_json(folder / "agreement.json")
        methods = scores["unlabeled"]
        names = [*next(iter(methods.values()))["iou"], "macro"]
        tables[f"IoU with the {scores['name']}, on voxels nobody labeled"] = [
            {
                "phase": name,
                **{
                    method: found["macro"] if name == "macro" else found["iou"][name]
                    for method, found in methods.items()
                },
            }
            for name in names
        ]
    return tables
