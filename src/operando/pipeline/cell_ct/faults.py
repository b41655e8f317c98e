"""Every fault in a ``cell-ct`` recipe and the headers of the files it names."""

from __future__ import annotations

from operando import io, learn
from operando.core.phases import PhaseScheme
from operando.io.annotations import is_log
from operando.morphometry.sides import SIDE_COMPONENTS
from operando.morphometry.uncertainty import LITHIUM
from operando.pipeline.cell_ct.settings import CellCT
from operando.pipeline.scans.inputs import area_faults, cycler_faults, open_labels, open_series, tomography_faults
from operando.pipeline.settings import Faults
from operando.segmentation import network, otsu

KINDS = {"network": network.KIND, "iterative": network.KIND, "otsu": otsu.KIND}
"""What the card of a saved model says, by method."""


def faults(settings: CellCT) -> list[str]:
    """Everything that the settings and the headers of their files get wrong."""
    found = Faults()
    attempt = found.attempt
    inputs, segment = settings.inputs, settings.segment
    series = attempt("inputs", lambda: open_series(inputs))
    phases = attempt("cell.phases", lambda: PhaseScheme(settings.cell.phases))
    found += [
        f"cell.phases: {name!r} is needed to find the interfaces, got {sorted(phases)}. Name it so."
        for name in ("electrolyte", "electrode")
        if phases is not None and name not in phases
    ]
    found += tomography_faults(settings.tomography)
    if segment.method != "otsu" and segment.model is None and segment.annotations is None:
        found.append(
            "segment: a network needs a trained 'model', or 'annotations' to train on; got neither. "
            "Give one of them, or set method: otsu."
        )
    if phases is not None:
        found += [
            f"cell.phases: {name!r} is what the ledger calls something else, so no phase can have this name. Rename it."
            for name in (*SIDE_COMPONENTS, "inactive", LITHIUM)
            if name in phases
        ]
    if segment.model is not None:
        kind = KINDS[segment.method]
        card = found.attempt("segment.model", lambda: learn.load_card(str(segment.model), kind=kind))
        if card is not None and phases is not None and {n: p["id"] for n, p in card["phases"].items()} != dict(phases):
            found.append(
                f"segment.model: it knows the phases {sorted(card['phases'])}, the recipe {sorted(phases)}. "
                "Give cell.phases the names and ids of the model."
            )
    for key, path, frame in (
        ("segment.annotations", segment.annotations, segment.annotations_frame),
        ("truth", settings.truth, settings.truth_frame),
    ):
        if path is not None and series is not None and frame == "scans":
            attempt(key, lambda path=path, key=key: open_labels(path, inputs, key=key))  # type: ignore[misc]
        elif path is not None:
            attempt(key, lambda path=path: io.open_annotations(path) if is_log(path) else io.describe(path))  # type: ignore[misc]
    if series is not None:
        scans = series.sizes["t"]
        asked = {"registration.reference": [settings.registration.reference]}
        asked["segment.held_out_scans"] = segment.held_out_scans or []
        found += [
            f"{key}: scans are numbered 0 to {scans - 1}, got {number}. Correct it."
            for key, numbers in asked.items()
            for number in numbers
            if not 0 <= number < scans
        ]
    if series is not None:
        found += area_faults(settings.cell.active_area_cm2, series)
    if inputs.cycler is not None:
        found += cycler_faults(inputs, series)
    return found
