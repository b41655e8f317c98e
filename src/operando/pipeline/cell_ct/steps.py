"""The steps of recipe ``cell-ct``, from images to ledger."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando import electrochemistry, io, learn, morphometry, registration, segmentation
from operando.core.axes import voxel_volume
from operando.core.errors import InputError
from operando.core.phases import UNLABELED, PhaseScheme
from operando.core.quantities import interval, quantity_table, rows_from_array
from operando.morphometry.uncertainty import FLIP_SHARE, LITHIUM, SCATTER_VOXELS, SHIFT_VOXELS
from operando.pipeline.cell_ct.inputs import image_paths, open_labels, open_series, read_cycler
from operando.pipeline.cell_ct.page import make_report
from operando.pipeline.cell_ct.settings import CellCT, Inputs
from operando.pipeline.step import Step, Task, derived_seed
from operando.pipeline.storage import dump_json, read_image, read_json, read_table, write_image, write_json, write_table

# Voxels per second on two cores, for `operando estimate`; docs/benchmarks.md says how they were measured.
_RATES = {"copy": 3e7, "register": 5e6, "network": 8e5, "otsu": 2e7, "clean": 1e7, "measure": 3e6}
_SECONDS_PER_TRAINING_STEP = 0.12  # the half as many of the second stage included
_BASE_BYTES = 500_000_000  # Python with torch
_NETWORK_BYTES = 900_000_000  # Python with torch, a network and its activations
_BYTES_PER_BLOCK_VOXEL = 12  # gray values as they are read, logits and weights of what is read for a block
_PATCH = 128
_INTERFACE = "interface.json"


def make_steps(settings: CellCT, workers: int) -> list[Step]:
    """The steps of a recipe whose faults have been mended, from headers alone."""
    inputs, segment, cell = settings.inputs, settings.segment, settings.cell
    series = open_series(inputs)
    voxels, scan, item = math.prod(series.shape), math.prod(series.shape[1:]), series.dtype.itemsize
    block_voxels = math.prod(min(size, segment.block + _PATCH) for size in series.shape[1:])
    read = inputs.model_dump(exclude={"cycler", "cycler_columns", "cycler_offset_h"})
    common: dict[str, Any] = {"phases": cell.phases, "plating_side": cell.plating_side}
    annotated = () if segment.annotations is None else (Path(segment.annotations),)
    marks = segment.model_dump(include={"annotations", "held_out_scans", "model"}) | {"inputs": read}

    steps = [
        Step(
            name="open",
            title="Open the images",
            function=_open,
            outputs=("image.zarr",),
            files=tuple(Path(path.partition("#")[0]) for path in image_paths(inputs)),
            parameters={"inputs": read, **common},
            access="block",
            bytes_in_memory=_BASE_BYTES + workers * 128**3 * item * 4,
            bytes_on_disk=voxels * item,
            seconds=voxels / _RATES["copy"],
        )
    ]
    image = "image.zarr"
    moved: tuple[str, ...] = ()
    if settings.registration.method != "none":
        image, moved = "registered.zarr", ("motion.json",)
        steps.append(
            Step(
                name="register",
                title="Register the scans",
                function=_register,
                inputs=("image.zarr",),
                outputs=("motion.json", "registered.zarr"),
                parameters={"reference": settings.registration.reference},
                access="block",
                halo=2,
                bytes_in_memory=_BASE_BYTES + workers * 128**3 * 16,
                bytes_on_disk=voxels * 4,
                seconds=voxels / _RATES["register"],
            )
        )
    model: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    if segment.model is not None:
        files = (Path(segment.model),)
    elif segment.method == "network" or segment.annotations is not None:
        model = ("model",)
        steps.append(
            Step(
                name="train",
                title="Train the network" if segment.method == "network" else "Find the thresholds",
                function=_train,
                inputs=(image, *moved),
                outputs=("model", "training.json"),
                files=annotated,
                parameters={
                    **marks,
                    **common,
                    "method": segment.method,
                    "steps": segment.steps,
                    "seed": derived_seed(settings.seed, "train"),
                },
                access="slice",
                bytes_in_memory=_BASE_BYTES + 1_200_000_000,
                bytes_on_disk=3_000_000,
                seconds=segment.steps * _SECONDS_PER_TRAINING_STEP if segment.method == "network" else 5,
            )
        )
    steps += [
        Step(
            name="segment",
            title="Segment every scan",
            function=_segment,
            inputs=(image, *model),
            outputs=("segmented.zarr",),
            files=files,
            parameters={"model": segment.model, "method": segment.method, "block": segment.block, **common},
            access="block",
            halo=_PATCH // 2,
            bytes_in_memory=_NETWORK_BYTES + block_voxels * (_BYTES_PER_BLOCK_VOXEL + workers * item),
            bytes_on_disk=voxels,
            seconds=voxels / _RATES[segment.method],
        ),
        Step(
            name="clean",
            title="Clean at the interfaces",
            function=_clean,
            inputs=("segmented.zarr",),
            outputs=("labels.zarr", "cleaned.csv"),
            parameters={**settings.clean.model_dump(), **common},
            access="scan",
            bytes_in_memory=_BASE_BYTES + workers * 20 * min(scan, 256**3),
            bytes_on_disk=voxels,
            seconds=voxels / _RATES["clean"],
        ),
    ]
    if settings.truth is not None or segment.annotations is not None:
        steps.append(
            Step(
                name="evaluate",
                title="Compare with what is known",
                function=_evaluate,
                inputs=(image, "labels.zarr", *moved, *(("training.json",) if model else ())),
                outputs=("agreement.json",),
                files=(*annotated, *([] if settings.truth is None else [Path(settings.truth)])),
                parameters={
                    **marks,
                    **common,
                    "method": segment.method,
                    "truth": settings.truth,
                    "seed": derived_seed(settings.seed, "otsu"),
                },
                access="block",
                bytes_in_memory=_BASE_BYTES + 600_000_000,
                seconds=voxels / _RATES["otsu"],
            )
        )
    evaluated = ("agreement.json",) if steps[-1].name == "evaluate" else ()
    steps.append(
        Step(
            name="measure",
            title="Measure the lithium",
            function=_measure,
            inputs=("labels.zarr", *model, *moved),
            outputs=("quantities.parquet", "correlation.json", "interface.json", "maps.zarr"),
            files=(*files, *annotated),
            parameters={"interface_sigma_voxels": settings.uncertainty.interface_sigma_voxels, **marks, **common},
            access="block",
            bytes_in_memory=_BASE_BYTES + 2**25 * 10 + 280 * series.sizes["y"] * series.sizes["x"],
            bytes_on_disk=series.sizes["t"] * len(cell.phases) * series.sizes["y"] * series.sizes["x"] * 4,
            seconds=voxels / _RATES["measure"],
        )
    )
    compared: tuple[str, ...] = ()
    if settings.truth is not None:
        compared = ("truth.parquet",)
        steps.append(
            Step(
                name="truth",
                title="Measure the true lithium",
                function=_truth,
                inputs=("labels.zarr", *moved),
                outputs=compared,
                files=(Path(settings.truth),),
                parameters={"inputs": read, "truth": settings.truth, **common},
                access="block",
                bytes_in_memory=_BASE_BYTES + 2**25 * 8,
                seconds=voxels / _RATES["measure"] / 2,
            )
        )
    comparison = ("comparison.parquet",) if compared else ()
    steps += [
        Step(
            name="ledger",
            title="Write the ledger",
            function=_ledger,
            inputs=("quantities.parquet", "correlation.json", *compared),
            outputs=("ledger.parquet", "ledger.csv", "current.parquet", *comparison),
            files=() if inputs.cycler is None else (Path(inputs.cycler),),
            parameters={
                "inputs": inputs.model_dump(),
                "cell": cell.model_dump(),
                "truth": settings.truth is not None,
            },
            bytes_in_memory=_BASE_BYTES,
            seconds=1,
        ),
        Step(
            name="report",
            title="Write the report",
            function=make_report,
            inputs=(image, "labels.zarr", "cleaned.csv", "maps.zarr", "interface.json")
            + ("ledger.parquet", "current.parquet", *evaluated)
            + (("training.json",) if model else ())
            + comparison,
            outputs=("report.html", "figures"),
            parameters={"settings": settings.model_dump(mode="json"), "image": image},
            access="slice",
            bytes_in_memory=_BASE_BYTES + 1_000_000_000,
            bytes_on_disk=20_000_000,
            seconds=40,
        ),
    ]
    return steps


def _open(task: Task) -> None:
    inputs = Inputs(**task.parameters["inputs"])
    series = open_series(inputs)
    series.attrs |= {"plating_side": task.parameters["plating_side"], "simulated": inputs.simulated}
    write_image(task, "image.zarr", series, labels=False)
    _check_values(io.open_image(task.folder / "image.zarr"))


def _check_values(series: xr.DataArray) -> None:
    """Refuse scans whose numbers would be wrong without a word: voxels without a value, or all alike."""
    import dask

    for scan in range(series.sizes["t"]):
        values = series[scan]
        known = np.isfinite(values) if values.dtype.kind == "f" else xr.ones_like(values, dtype=bool)
        share, low, high = dask.compute(known.mean(), values.min(), values.max())
        if share < 1:
            raise InputError(
                f"inputs.images: every voxel needs a gray value, got NaN or infinity in "
                f"{100 * (1 - float(share)):.3g} % of scan {scan}. Cut it off with inputs.region, or fill it before."
            )
        if low == high:
            raise InputError(
                f"inputs.images: scan {scan} must show something, got {float(low):g} everywhere. Leave it out."
            )


def _register(task: Task) -> None:
    series = read_image(task, "image.zarr")
    motion = registration.estimate_drift(series, reference=task.parameters["reference"])
    field = registration.common_field(series, motion)
    registered = registration.apply_motion(series, motion).assign_attrs(series.attrs).isel(field)
    kept = {dim: [part.start, part.stop] for dim, part in field.items()}
    task.say(f"all scans show the voxels {kept} of {dict(series.sizes)}; what only some show is left out")
    write_json(
        task,
        "motion.json",
        {
            "units": motion.attrs["units"],
            "t": motion.coords["t"].values,
            "motion": motion.values,
            "sigma": motion.coords["sigma"].values,
            "field": kept,
        },
    )
    write_image(task, "registered.zarr", registered)


def labels_on_grid(task: Task, path: str, *, key: str) -> xr.DataArray:
    """Labels drawn on the scans as recorded, lazy, moved and cut as the scans were where these are registered."""
    labels = open_labels(path, Inputs(**task.parameters["inputs"]), key=key)
    if "motion.json" not in task.step.inputs:
        return labels
    known = read_json(task.path("motion.json"))
    motion = xr.DataArray(np.array(known["motion"]), dims=("t", "row", "column"), attrs={"units": known["units"]})
    labels = labels.assign_attrs(phases=PhaseScheme(task.parameters["phases"]))
    field = {dim: slice(*ends) for dim, ends in known["field"].items()}
    return registration.apply_motion(labels, motion).isel(field)


def annotations_of(task: Task) -> tuple[xr.DataArray, list[int], list[int]]:
    """Annotations on the grid of the images, the annotated scans, and which of them are held out first."""
    marks = labels_on_grid(task, task.parameters["annotations"], key="segment.annotations")
    annotated = [scan for scan in range(marks.sizes["t"]) if bool((marks[scan].data != UNLABELED).any().compute())]
    held = task.parameters["held_out_scans"]
    if held is None:
        # Spread over the cycle, so that charge and discharge are both seen; a lone scan cannot be spared.
        count = round(len(annotated) / 4) or int(len(annotated) > 1)
        held = [annotated[int((k + 0.5) * len(annotated) / count)] for k in range(count)]
    return marks, annotated, sorted(set(held) & set(annotated))


def _train(task: Task) -> None:
    phases = PhaseScheme(task.parameters["phases"])
    image = read_image(task, task.step.inputs[0])
    marks, annotated, held = annotations_of(task)
    task.say(f"annotated scans {annotated}; {held} are held out to measure errors, then trained on as well")
    seed = task.parameters["seed"]
    told: dict[str, Any] = {"annotated_scans": annotated, "held_out_scans": held}

    def judge(segmenter: segmentation.Segmenter, method: str) -> xr.Dataset:
        """Scores and interface error on the held-out scans; their labels are kept on disk meanwhile."""
        with tempfile.TemporaryDirectory(dir=task.folder, prefix=".held-out.", suffix=".partial") as folder:
            path = Path(folder) / "held-out.zarr"
            io.save_image(segmenter.predict(image.isel(t=held)), path, labels=True)
            found, known = io.open_image(path), marks.isel(t=held)
            told.setdefault("held_out", {})[method] = _scores(segmentation.agreement(found, known, phases))
            return morphometry.interface_error(found, known, phases)

    rest = [scan for scan in annotated if scan not in held]
    if not rest:
        raise InputError(
            f"segment: annotations must label voxels of at least one scan that is not held out, got labels in scans "
            f"{annotated} and held-out scans {held}. Annotate another scan or hold out fewer."
        )
    everything = image.isel(t=annotated), marks.isel(t=annotated)
    without = image.isel(t=rest), marks.isel(t=rest)
    error = judge(segmentation.Otsu(phases, seed=seed).fit(*without), "otsu") if held else None
    segmenter: segmentation.Otsu | segmentation.NetworkSegmenter
    if task.parameters["method"] == "otsu":
        segmenter = segmentation.Otsu(phases, seed=seed).fit(*everything)
    else:
        errors: list[xr.Dataset] = []
        segmenter = segmentation.NetworkSegmenter(
            phases,
            seed=seed,
            training=learn.TrainingSettings(steps=task.parameters["steps"]),
            validation=[annotated.index(scan) for scan in held] if held else True,
            # Called while the network has not seen the held-out scans yet.
            validated=lambda network: errors.append(judge(network, "network")),
            progress=lambda done, total, loss: task.progress(done, total, f"loss {loss:.3f}"),
        ).fit(*everything)
        error = errors[0] if errors else None
        card = segmenter.card_
        # The network was given the annotated scans alone: say which scans of the series they are.
        card["data"]["annotated_scans"] = annotated
        if "held_out_scans" in card["split"]:
            card["split"]["held_out_scans"] = held
        told |= {"history": segmenter.history_, "card": card}
    with task.writing("model") as path:
        segmenter.save(path)
        if error is not None:
            # A model carries how far its interfaces are off, so that its next cell has intervals too.
            dump_json(path / _INTERFACE, {"scans": held, "edge_um": _edge(image), **error.to_dict()})
    write_json(task, "training.json", told)


def _segment(task: Task) -> None:
    image = read_image(task, task.step.inputs[0])
    model = task.parameters["model"] or (task.path("model") if "model" in task.step.inputs else None)
    block = task.parameters["block"]
    if task.parameters["method"] == "otsu":
        otsu = segmentation.Otsu.load(model) if model else segmentation.Otsu(task.parameters["phases"]).fit(image, None)
        labels = otsu.predict(image)
    else:
        assert model is not None
        labels = segmentation.NetworkSegmenter.load(model, block=(block, block, block)).predict(image)
    labels.attrs |= {"plating_side": task.parameters["plating_side"], "simulated": image.attrs.get("simulated", False)}
    write_image(task, "segmented.zarr", counted(task, labels), labels=True)


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


def _clean(task: Task) -> None:
    labels = read_image(task, "segmented.zarr")
    phases = PhaseScheme(task.parameters["phases"])
    changes = pd.DataFrame({"scan": [], "rule": [], "from": [], "to": [], "n": []})
    if task.parameters["enabled"]:
        labels, changes = segmentation.clean(
            labels,
            phases,
            plating_side=task.parameters["plating_side"],
            speck_voxels=task.parameters["speck_voxels"],
        )
    write_image(task, "labels.zarr", labels, labels=True)
    write_table(task, "cleaned.csv", changes)


def _evaluate(task: Task) -> None:
    parameters = task.parameters
    phases = PhaseScheme(parameters["phases"])
    labels = read_image(task, "labels.zarr")
    training = read_json(task.path("training.json")) if "training.json" in task.step.inputs else {}
    annotated: list[int] = training.get("annotated_scans", [])
    result: dict[str, Any] = {}
    if parameters["truth"] is not None:
        # Judged only where nothing was annotated.
        judged = [scan for scan in range(labels.sizes["t"]) if scan not in annotated]
        told = labels_on_grid(task, parameters["truth"], key="truth").isel(t=judged)
        result = {"scans": judged, "against": "truth"}
        if judged:
            result[parameters["method"]] = _scores(segmentation.agreement(labels.isel(t=judged), told, phases))
        if judged and annotated and parameters["method"] != "otsu":
            image = read_image(task, task.step.inputs[0])
            marks = labels_on_grid(task, parameters["annotations"], key="segment.annotations")
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
        result[parameters["method"]] = _scores(found)
    write_json(task, "agreement.json", result if len(result) > 2 else {})


def _scores(agreement: xr.Dataset) -> dict[str, Any]:
    per_phase = dict(zip(agreement.component.values.tolist(), agreement.iou.values.tolist(), strict=True))
    return {"iou": per_phase, **{name: float(agreement[name]) for name in ("macro", "total", "accuracy")}}


def _measure(task: Task) -> None:
    phases = PhaseScheme(task.parameters["phases"])
    side = task.parameters["plating_side"]
    labels = read_image(task, "labels.zarr")
    interface = None
    if task.parameters["interface_sigma_voxels"] is not None:
        interface = stated_interface(labels, phases, task.parameters["interface_sigma_voxels"])
    elif task.parameters["annotations"] is not None and task.parameters["model"] is not None:
        # Nothing was trained on these annotations: all of them tell how far off the model is on this cell.
        marks, annotated, _ = annotations_of(task)
        interface = morphometry.interface_error(labels.isel(t=annotated), marks.isel(t=annotated), phases)
    else:
        model = task.parameters["model"] or (task.path("model") if "model" in task.step.inputs else None)
        if model is not None and (Path(model) / _INTERFACE).exists():
            interface = known_interface(read_json(Path(model) / _INTERFACE), phases, edge_um=_edge(labels))
    task.progress(0, 3)
    sigma = morphometry.segmentation_sigma(labels, phases, plating_side=side, interface=interface)
    task.progress(1, 3)
    rows = measured(labels, phases, side, sigma=sigma)
    write_table(task, "quantities.parquet", quantity_table(rows))
    correlation = sigma["correlation"]
    known = {"component": correlation.component.values, "values": correlation.values}
    write_json(task, "correlation.json", {"roi_area_um2": morphometry.roi_area(labels), **known})
    used = None if interface is None else interface.to_dict()
    write_json(task, "interface.json", used)
    task.progress(2, 3)
    maps = morphometry.thickness_map(labels, phases).astype(np.float32)
    maps.attrs["simulated"] = labels.attrs.get("simulated", False)
    write_image(task, "maps.zarr", maps, labels=False)


def _edge(image: xr.DataArray) -> float:
    """Edge in um of a cube with the volume of a voxel."""
    return voxel_volume(image, where="measure") ** (1 / 3)


def known_interface(found: dict[str, Any], phases: PhaseScheme, *, edge_um: float) -> xr.Dataset | None:
    """What a model was found to be off by, unless it knows other phases; it is off by voxels, not by um."""
    found.pop("scans", None)
    scale = edge_um / found.pop("edge_um")
    error = xr.Dataset.from_dict(found)
    for name in ("shift", "systematic", "random"):
        # Where nothing was measured JSON holds null, which is no number yet.
        error[name] = error[name].astype(float) * scale
    return error if set(phases) <= set(error.coords["component"].values.tolist()) else None


def stated_interface(labels: xr.DataArray, phases: PhaseScheme, shift_voxels: float) -> xr.Dataset:
    """The interface error a recipe states instead of measuring it: in voxel edges, for every component."""
    names = [*phases, LITHIUM]
    edge = _edge(labels)
    ratio = SCATTER_VOXELS / SHIFT_VOXELS
    sizes = {"systematic": shift_voxels * edge, "random": ratio * shift_voxels * edge, "flips": FLIP_SHARE}
    return xr.Dataset(
        {name: ("component", np.full(len(names), size)) for name, size in sizes.items()}, coords={"component": names}
    )


def measured(
    labels: xr.DataArray, phases: PhaseScheme, plating_side: str, *, sigma: xr.Dataset | None = None
) -> list[dict[str, Any]]:
    """Rows for volume, thickness, coverage, the two sides and inactive lithium, with sigma where it is known."""
    sides = morphometry.lithium_by_side(labels, phases, plating_side=plating_side)
    dead = morphometry.inactive_lithium(labels, phases, plating_side=plating_side)
    dead = dead.expand_dims(component=["inactive"], axis=-1)
    area = morphometry.roi_area(labels)
    voxel = voxel_volume(labels, where="measure")

    def of(name: str, like: xr.DataArray) -> xr.DataArray | None:
        return None if sigma is None else sigma[name].sel(component=like.component)

    rows: list[dict[str, Any]] = []
    for values, method in (
        (morphometry.volumes(labels, phases), "voxel count"),
        (sides, "lithium on either side of the middle between the electrodes"),
        (dead, "lithium without face-connected path to an electrode"),
    ):
        values = values.assign_attrs(units="um3")
        rows += rows_from_array(values, quantity="volume", sigma=of("volume", values), n=values / voxel, method=method)
    for values, method in (
        (morphometry.effective_thickness(labels, phases), "volume / area of the field of view"),
        ((sides / area).assign_attrs(units="um"), "lithium of the side / area of the field of view"),
    ):
        rows += rows_from_array(values, quantity="effective thickness", sigma=of("thickness", values), method=method)
    cover = morphometry.coverage(labels, phases)
    rows += rows_from_array(
        cover, quantity="coverage", sigma=of("coverage", cover), method="share of columns holding the component"
    )
    return rows


def _truth(task: Task) -> None:
    labels = labels_on_grid(task, task.parameters["truth"], key="truth")
    phases = PhaseScheme(task.parameters["phases"])
    rows = measured(labels, phases, task.parameters["plating_side"])
    write_table(task, "truth.parquet", quantity_table(rows))


def _ledger(task: Task) -> None:
    inputs, cell = Inputs(**task.parameters["inputs"]), task.parameters["cell"]
    table = read_table(task.path("quantities.parquet"))
    current = pd.DataFrame({"time_h": [], "current_ma": []}, dtype=float)
    if inputs.cycler is not None:
        current = read_cycler(inputs)
    known = read_json(task.path("correlation.json"))
    # Of the charge of the whole cell, the field of view has its share of the area.
    share = 1.0 if cell["active_area_cm2"] is None else known["roi_area_um2"] / (1e8 * cell["active_area_cm2"])
    if inputs.cycler is not None:
        balance = balance_rows(table, current, cell, share=share, correlation=known)
        table = pd.concat([table, balance], ignore_index=True)
    if task.parameters["truth"]:
        truth = read_table(task.path("truth.parquet"))
        if inputs.cycler is not None:
            truth = pd.concat([truth, balance_rows(truth, current, cell, share=share)], ignore_index=True)
        write_table(task, "comparison.parquet", with_truth(table, truth))
    write_table(task, "ledger.parquet", table)
    write_table(task, "ledger.csv", interval(table))
    write_table(task, "current.parquet", current[[name for name in current if name in _CURRENT]])


_CURRENT = ("time_h", "current_ma", "voltage_v")
_SIDES = ("plating side", "stripping side")


def balance_rows(
    table: pd.DataFrame,
    current: pd.DataFrame,
    cell: dict[str, Any],
    *,
    share: float,
    correlation: dict[str, Any] | None = None,
) -> pd.DataFrame:
    """The balance of every interval, from the rows of the volumes and the cycler's record."""
    volumes = table[table["quantity"] == "volume"]
    times = volumes.drop_duplicates("scan").sort_values("scan")["t"].to_numpy()

    def array(column: str, names: tuple[str, ...]) -> xr.DataArray:
        wide = volumes.set_index(["scan", "component"])[column].unstack()[list(names)]  # noqa: PD010
        coords = {"t": times, "component": list(names)}
        return xr.DataArray(wide.to_numpy(), dims=("t", "component"), coords=coords, attrs={"units": "um3"})

    together: float | xr.DataArray = 0.0
    names = (*_SIDES, "inactive")
    if correlation is not None:
        together = xr.DataArray(
            np.array(correlation["values"], dtype=float),
            dims=("t", "component"),
            coords={"t": times, "component": correlation["component"]},
        ).sel(component=list(names))
    charge = electrochemistry.charge_between(current, times, accuracy=cell["current_accuracy"])
    charge = (charge * share).assign_coords(sigma=charge.coords["sigma"] * share).assign_attrs(charge.attrs)
    return electrochemistry.balance(
        array("value", _SIDES),
        charge,
        inactive=array("value", ("inactive",)).isel(component=0, drop=True),
        sigma=None if correlation is None else array("sigma", names),
        correlation=together,
        specific_capacity_mah_g=cell["specific_capacity_mah_g"],
        density_g_cm3=cell["density_g_cm3"],
    )


_KEY = ["scan", "component", "quantity"]


def with_truth(table: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """The ledger with the true value beside each row, and whether the interval holds it."""
    known = truth[[*_KEY, "value"]].rename(columns={"value": "truth"})
    joined = interval(table.merge(known, on=_KEY, how="left"))
    inside = (joined["truth"] >= joined["low"] - 1e-9) & (joined["truth"] <= joined["high"] + 1e-9)
    judged = joined["truth"].notna() & joined["sigma"].notna()
    return joined.drop(columns=["low", "high"]).assign(covered=inside.where(judged).astype("boolean"))


def summary_tables(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Agreement and the ledger of the last scan, for the terminal."""
    tables: dict[str, list[dict[str, Any]]] = {}
    path = folder / "agreement.json"
    scores = read_json(path) if path.exists() else {}
    if scores:
        names = [name for name in ("network", "otsu") if name in scores]
        rows = [
            {"phase": phase, **{name: scores[name]["iou"][phase] for name in names}}
            for phase in scores[names[0]]["iou"]
        ]
        for key, label in (("macro", "macro"), ("total", "total (Huang)")):
            rows.append({"phase": label, **{name: scores[name][key] for name in names}})
        tables[f"IoU on scans {scores['scans']} against {scores['against']}"] = rows
    compared = (folder / "comparison.parquet").exists()
    ledger = read_table(folder / ("comparison.parquet" if compared else "ledger.parquet"))
    last = ledger[(ledger["scan"] == ledger["scan"].max()) & ledger["quantity"].isin(["volume", "balance"])]
    rows = []
    for row in last.to_dict("records"):
        shown = {"quantity": row["quantity"], "component": row["component"], "um3": row["value"]}
        shown["+-"] = 1.96 * row["sigma"]
        if compared:
            shown["truth"] = row["truth"]
        rows.append(shown)
    tables[f"ledger, scan {int(ledger['scan'].max())} (95 % intervals)"] = rows
    if compared:
        judged = ledger["covered"].dropna()
        share = 100 * float(judged.mean())
        tables["truth inside its interval"] = [{"rows": len(judged), "inside": int(judged.sum()), "percent": share}]
    return tables
