"""``operando label``: labels in and out of other programs, the log of who labeled what, and where to label next."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from operando.cli.console import print_json, print_table, say
from operando.core.errors import FileError, InputError

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Annotate: import and export labels, read the log of who labeled what, ask where to label next.",
)

_LOG = typer.Argument(metavar="LOG.jsonl", help="The annotation log.")
_JSON = typer.Option("--json", help="Print JSON.")
_CONVENTION = typer.Option(help="Whose values they are: operando, fiji, napari, ilastik or dragonfly.")
_VALUE = typer.Option("--value", metavar="PHASE=NUMBER", help="What the file holds for a phase; repeat per phase.")
_UNTIL = typer.Option(help="Number of the last mark that counts, or a time (UTC) such as 2026-01-31T12:00.")


@app.command("import")
def import_labels(
    log: Annotated[Path, _LOG],
    source: Annotated[str | None, typer.Argument(help="Label image, or folder of masks named after phases.")] = None,
    mask: Annotated[
        list[str] | None, typer.Option("--mask", metavar="PHASE=FILE", help="Binary mask 0/255; repeat per phase.")
    ] = None,
    convention: Annotated[str | None, _CONVENTION] = None,
    value: Annotated[list[str] | None, _VALUE] = None,
    image: Annotated[
        str | None,
        typer.Option(help="The image, recipe or run that was labeled; needed to begin a log, checked afterwards."),
    ] = None,
    phases: Annotated[
        str | None, typer.Option(help="Of a new log, as electrolyte=0,electrode=1; default those of a lithium cell.")
    ] = None,
    scan: Annotated[int | None, typer.Option(min=0, help="Scan that was labeled, where the file holds one.")] = None,
    who: Annotated[str | None, typer.Option(help="Who labeled; default your user name.")] = None,
    dims: Annotated[str | None, typer.Option(help="Names of the file's axes where the guess is wrong.")] = None,
    erase: Annotated[bool, typer.Option(help="Erase from the log what is not labeled in the file.")] = False,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Append what a label image of Fiji, napari, ilastik, Dragonfly or operando adds to a log."""
    from operando import io, segmentation
    from operando.core.phases import PhaseScheme

    if (source is None) == (not mask):
        raise typer.BadParameter("give either a label image or masks (--mask PHASE=FILE)", param_hint="SOURCE")
    if convention is None and not mask:
        # 0 means unlabeled to some and the first phase to others: no guess may decide.
        raise typer.BadParameter(f"say whose file it is: {', '.join(io.CONVENTIONS)}", param_hint="--convention")
    target, own = (None, None) if image is None else _image(image)
    given = None
    if phases:
        numbers = _numbers(phases.split(","), "--phases")
        given = PhaseScheme(numbers)
    if log.exists():
        known = io.read_log(log, like=target)
        scheme, like = known.phases, io.replay(known)
        if given is not None and given != scheme:
            raise InputError(f"{log}: the log has the phases {dict(scheme)}, got {dict(given)}. Leave them out.")
    elif target is None or own is None:
        raise InputError(f"{log}: a new log needs the image that was labeled, got none. Name it with --image.")
    else:
        known, scheme, like = None, given or own, target
    labels = io.read_annotations(
        {name: Path(file) for name, file in _pairs(mask, "--mask").items()} if mask else str(source),
        convention=convention or "fiji",
        phases=scheme,
        values=_numbers(value, "--value") or None,
        like=like,
        scan=scan,
        dims=dims.split(",") if dims else None,
    )
    if known is None:
        known = io.create_log(log, like=like, phases=scheme)
        say(f"{log}: a new log for {known.name} of {' x '.join(map(str, known.shape))} voxels")
    before = io.replay(known) if len(known) else None
    marks = list(segmentation.marks_of(labels, phases=known.phases, before=before, erase=erase))
    io.append_marks(log, marks, who=_who(who))
    _damage(known)
    rows = _by_phase(marks)
    if as_json:
        print_json({"log": str(log), "marks": len(marks), "phases": rows})
        return
    print_table(rows, title=f"{log}: {len(marks)} marks appended")


@app.command("export")
def export_labels(
    log: Annotated[Path, typer.Argument(metavar="LOG.jsonl", help="An annotation log, or a label image.")],
    out: Annotated[Path, typer.Argument(help="File to write; for Fiji a name without ending makes a folder of masks.")],
    convention: Annotated[str, _CONVENTION] = "operando",
    value: Annotated[list[str] | None, _VALUE] = None,
    until: Annotated[str | None, _UNTIL] = None,
    scan: Annotated[int | None, typer.Option(min=0, help="Write this scan alone.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace OUT where it exists.")] = False,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Write the labels that a log holds, now or at a moment before, the way another program reads them."""
    from operando import io

    labels = io.open_annotations(log, until=_moment(until))
    if scan is not None:
        if scan >= labels.sizes.get("t", 1):
            raise InputError(f"{log}: --scan must be from 0 to {labels.sizes.get('t', 1) - 1}, got {scan}.")
        labels = labels.isel(t=scan, drop=True) if "t" in labels.dims else labels
    held = io.write_annotations(
        labels, out, convention=convention, values=_numbers(value, "--value") or None, overwrite=overwrite
    )
    unlabeled = 255 if convention == "operando" else 0
    if as_json:
        print_json({"path": str(out), "convention": convention, "values": held, "unlabeled": unlabeled})
        return
    rows = [{"phase": name, "value": number} for name, number in held.items()]
    print_table([*rows, {"phase": "(unlabeled)", "value": unlabeled}], title=f"{out} ({convention})")


@app.command("log")
def show_log(
    log: Annotated[Path, _LOG],
    until: Annotated[str | None, _UNTIL] = None,
    last: Annotated[int, typer.Option(min=0, help="How many marks to list; 0 lists none.")] = 20,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Show what a log says: the image, what is labeled, and who labeled what when."""
    from operando import io
    from operando.core.blocks import label_counts

    known = io.read_log(log)
    labels = io.replay(known, until=_moment(until))
    scans = sorted({mark.scan for mark in known.marks})
    chosen = labels.isel(t=scans) if "t" in labels.dims else labels
    counts = label_counts(chosen) if scans else [0] * 256
    labeled = [{"phase": name, "voxels": int(counts[known.phases[name]])} for name in known.phases]
    table = known.table()
    people = [
        {"who": who, "marks": len(part), "voxels": int(part["voxels"].sum()), "last": part["when"].max()}
        for who, part in table.groupby("who")
    ]
    _damage(known)
    if as_json:
        print_json(
            {
                "log": str(log),
                "image": {"name": known.name, "dims": known.dims, "shape": known.shape},
                "labeled": labeled,
                "people": people,
                "marks": table.to_dict("records"),
                "damaged_lines": known.damaged,
            }
        )
        return
    print(f"{log}: {known.name}, {' x '.join(map(str, known.shape))} ({', '.join(known.dims)}), scans labeled {scans}")
    print_table(labeled, title="\nlabeled now" if until is None else f"\nlabeled until {until}")
    print_table(people, title="\nwho")
    if last:
        shown = table.tail(last).fillna({"phase": "(erased)"})
        rows: list[dict[str, Any]] = shown.to_dict("records")  # type: ignore[assignment]
        print_table(rows, title=f"\nlast {len(shown)} of {len(table)} marks")


@app.command("suggest")
def suggest_places(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder of recipe cell-ct, or its recipe.")],
    count: Annotated[int, typer.Option(min=1, help="Places to suggest.")] = 8,
    unit: Annotated[str, typer.Option(help="slice: whole cross-sections; patch: windows of them.")] = "slice",
    scans: Annotated[str | None, typer.Option(help="Look at these scans only, as 0,4,8; saves time.")] = None,
    annotations: Annotated[str | None, typer.Option(help="Log or label image; default the one of the recipe.")] = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Rank where to label next, by the doubt of the run's network.

    Positions are voxels of the scans as recorded or, where annotations are in the reference's frame, as registered.
    """
    from operando import io, segmentation
    from operando.pipeline.scans.inputs import along_z, cut

    loaded = _loaded(run)
    settings, series = _series(loaded, run)
    if (loaded.folder / "image.zarr").is_dir():
        series = io.open_image(loaded.folder / "image.zarr")
    recorded, registered = dict(series.sizes), loaded.folder / "registered.zarr"
    # Who labels registered scans is told places in these.
    moved = settings.segment.annotations_frame == "reference" and registered.is_dir()
    if moved:
        series = io.open_image(registered)
    model = settings.segment.model or loaded.folder / "model"
    if settings.segment.method == "otsu" or not Path(model).is_dir():
        raise FileError(
            f"{run}: suggestions need the trained network of a run, got none at {model}. "
            f"Run the recipe with segment.method: network first."
        )
    chosen = _scans(scans, series.sizes["t"])
    told = annotations or settings.segment.annotations
    marks = None
    if told is not None:
        marks = io.open_annotations(told)
        if "t" not in marks.dims and series.sizes["t"] == 1:
            marks = marks.expand_dims("t")
        if not moved or dict(marks.sizes) != dict(series.sizes):
            if settings.inputs.projections is None:
                marks = along_z(marks, settings.inputs.electrode_normal)
            if dict(marks.sizes) != recorded:
                marks = cut(marks, settings.inputs)
            if moved:
                field = json.loads((loaded.folder / "motion.json").read_text(encoding="utf-8"))["field"]
                marks = marks.isel({dim: slice(*ends) for dim, ends in field.items()})
        marks = marks.isel(t=chosen)
    edge = settings.segment.block
    network = segmentation.NetworkSegmenter.load(model, block=(edge, edge, edge))
    normal = settings.inputs.electrode_normal
    if moved:
        say(f"{run}: positions are voxels of the registered scans, {registered}")
    if normal != "z":
        say(f"{run}: z is along the electrodes' normal, which is {normal} of what was recorded; y and x are the others")
    say(f"{run}: {len(chosen)} scans are looked at" + ("" if told is None else f"; labeled so far: {told}"))
    chances = network.predict_probability(series.isel(t=chosen))
    table = segmentation.suggest(chances, annotations=marks, count=count, unit=unit)
    table["scan"] = [chosen[scan] for scan in table["scan"]]
    for dim, (start, _) in () if moved else settings.inputs.region.items():
        table[[f"{dim}_start", f"{dim}_stop"]] += start
        table.loc[~table["plane"].str.contains(dim), "index"] += start
    rows = table.to_dict("records")
    if as_json:
        print_json(rows)
        return
    shown = ("rank", "scan", "t", "plane", "index", "position_um", "score", "diversity", "pixels", "reason")
    boxes = [
        {"box": " ".join(f"{dim} {row[f'{dim}_start']}:{row[f'{dim}_stop']}" for dim in row["plane"])} for row in rows
    ]
    print_table(
        [
            {name: row[name] for name in shown[:6]} | (box if unit == "patch" else {}) | {n: row[n] for n in shown[6:]}
            for row, box in zip(rows, boxes, strict=True)
        ],
        title="label these next",
    )


def _loaded(path: Path) -> Any:
    from operando.pipeline import load

    return load(path / "recipe.yaml", output=path) if path.is_dir() else load(path)


def _series(loaded: Any, path: Path) -> tuple[Any, Any]:
    """Settings of a recipe cell-ct, and its scans as recorded, cut to the region."""
    from operando.pipeline.cell_ct.settings import CellCT
    from operando.pipeline.scans.inputs import open_series

    if not isinstance(loaded.settings, CellCT):
        raise InputError(f"{path}: a recipe cell-ct is needed, got {loaded.settings.recipe}. Name another run.")
    return loaded.settings, open_series(loaded.settings.inputs)


def _image(text: str) -> tuple[Any, Any]:
    """What was labeled and its phases: an image file with those of a lithium cell, or what a recipe says."""
    from operando import io
    from operando.core.phases import CELL, PhaseScheme

    path = Path(text)
    if path.suffix in (".yaml", ".yml") or (path / "recipe.yaml").is_file():
        from operando.pipeline.scans.inputs import open_series

        settings, _ = _series(_loaded(path), path)
        # Images are labeled as they are given, not as the recipe turns and cuts them.
        as_given = {} if settings.inputs.projections is not None else {"electrode_normal": "z"}
        whole = settings.inputs.model_copy(update={"region": {}, **as_given})
        return open_series(whole), PhaseScheme(settings.cell.phases)
    return io.open_image(text), CELL


def _pairs(texts: list[str] | None, option: str) -> dict[str, str]:
    found = {}
    for text in texts or []:
        name, sign, value = text.partition("=")
        if not sign or not name or not value:
            raise typer.BadParameter(f"{option} takes NAME=VALUE, got {text!r}", param_hint=option)
        found[name.strip()] = value.strip()
    return found


def _numbers(texts: list[str] | None, option: str) -> dict[str, int]:
    found = _pairs(texts, option)
    for name, text in found.items():
        if not text.isdigit():
            raise typer.BadParameter(f"{option} takes PHASE=NUMBER, got {name}={text}", param_hint=option)
    return {name: int(text) for name, text in found.items()}


def _moment(text: str | None) -> int | str | None:
    return int(text) if text is not None and text.isdigit() else text


def _scans(text: str | None, count: int) -> list[int]:
    if text is None:
        return list(range(count))
    words = text.split(",")
    if not all(word.strip().isdigit() and int(word) < count for word in words):
        raise typer.BadParameter(
            f"scans are numbered 0 to {count - 1}, as in 0,4,8; got {text!r}", param_hint="--scans"
        )
    return sorted({int(word) for word in words})


def _who(name: str | None) -> str:
    if name is not None:
        return name
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        raise InputError("label: who labeled is not known, because there is no user name. Say it with --who.") from None


def _damage(log: Any) -> None:
    if log.damaged:
        say(
            f"{log.path}: lines {', '.join(map(str, log.damaged))} were not written to their end and are left out; "
            f"the {len(log)} marks in all other lines are whole"
        )


def _by_phase(marks: list[Any]) -> list[dict[str, Any]]:
    names = sorted({mark.phase or "(erased)" for mark in marks})
    rows = []
    for name in names:
        own = [mark for mark in marks if (mark.phase or "(erased)") == name]
        rows.append(
            {
                "phase": name,
                "marks": len(own),
                "voxels": sum(mark.voxels for mark in own),
                "scans": ", ".join(str(scan) for scan in sorted({mark.scan for mark in own})),
            }
        )
    return rows
