"""The report of recipe ``stxm``: finished results laid out on one page; nothing is measured here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from operando import report
from operando.core.axes import spacing
from operando.core.provenance import versions
from operando.core.quantities import interval
from operando.pipeline.layout import laid_out, ledger_section, workflow_section
from operando.pipeline.step import Task
from operando.pipeline.storage import FigureFolder
from operando.pipeline.stxm.fitting import fitted_density, jackknife_blocks
from operando.pipeline.stxm.lithium import AMBIGUOUS, CLEAR
from operando.pipeline.stxm.shown import Shown, gather

_CITATIONS = (
    "Santos, D. A. et al. Multivariate hyperspectral data analytics across length scales to probe compositional, "
    "phase, and strain heterogeneities in electrode materials. Patterns 3, 100634 (2022). "
    "https://doi.org/10.1016/j.patter.2022.100634",
    "Mistry, A. & Srinivasan, V. Machine learning accelerates identification of lithiated phases in X-ray images of "
    "battery hosts. Patterns 3, 100654 (2022). https://doi.org/10.1016/j.patter.2022.100654",
    "Lawson, C. L. & Hanson, R. J. Solving Least Squares Problems. SIAM (1995). "
    "https://doi.org/10.1137/1.9781611971217",
    "Malinowski, E. R. Determination of the number of factors and the experimental error in a data matrix. Analytical "
    "Chemistry 49, 612-617 (1977). https://doi.org/10.1021/ac50012a027",
)


_LITHIUM = "Li"  # what is in a label that speaks of lithium; the recipe maps anything that has an x


def make_report(task: Task) -> None:
    """Lay out figures, tables and methods."""
    with task.writing("figures") as folder:
        shown = gather(task, FigureFolder(folder))
        builders: list[Callable[[], report.Section | None]] = [
            lambda: _found(shown),
            lambda: _lithium(shown),
            lambda: _fit(shown),
            lambda: _doubt(shown),
            lambda: _energies(shown),
            lambda: _structure(shown),
            lambda: _references(shown),
            lambda: _recorded(shown),
            lambda: workflow_section(task, shown.book),
            lambda: ledger_section(shown.ledger),
        ]
        laid = laid_out(task, builders)
        with task.writing("report.html") as path:
            report.write_page(
                path,
                shown.settings.title,
                laid,
                subtitle=f"Recipe stxm: from images over photon energy to phases. {shown.settings.credit}".strip(),
                facts=_facts(shown),
                flags=list(_flags(shown)),
                methods=list(_methods(shown)),
                citations=_CITATIONS,
                parameters=task.parameters["settings"],
                provenance=versions(),
                simulated=shown.settings.inputs.simulated,
            )


def _found(shown: Shown) -> report.Section:
    return report.section_overview(
        shown.density,
        shown.references,
        shown.unmixed,
        lithiation=shown.maps.get("lithiation"),
        rows=_of_the_field(shown),
        doubtful=shown.doubtful,
        label=shown.settings.lithiation.label,
        images=shown.settings.report.images,
        movie=shown.settings.report.movie,
        simulated=shown.settings.inputs.simulated,
        figure=shown.book.figure,
    )


def _of_the_field(shown: Shown) -> pd.DataFrame:
    """What the field holds, called as the recipe calls it."""
    rows = pd.concat([shown.rows(name, "lithiation", "state_of_charge") for name in ("field", CLEAR)])
    label = shown.settings.lithiation.label
    return rows if _LITHIUM in label else rows.replace({"quantity": {"lithiation": label}})


def _lithium(shown: Shown) -> report.Section | None:
    maps = shown.maps
    if "lithiation" not in maps:
        return None
    particles = maps.get("particles")
    rings = shown.table("rings.parquet")
    length = shown.rows("all phases", "phase_boundary_length")
    table = None if particles is None else interval(shown.ledger[shown.ledger["component"].str.startswith("particle")])
    label = shown.settings.lithiation.label
    section = report.section_lithium(
        maps["lithiation"],
        sigma=maps["lithiation_sigma"],
        thickness=shown.unmixed["thickness"],
        particles=particles,
        table=table,
        profile=rings if len(rings) else None,
        dominant=maps.get("dominant"),
        phases=None if "dominant" not in maps else maps["dominant"].attrs["phases"],
        boundary=report.quantity_text(float(length["value"].iloc[0]), unit="um") if len(length) else None,
        doubtful=shown.doubtful,
        truth=shown.true_lithiation,
        label=label,
        simulated=shown.settings.inputs.simulated,
        figure=shown.book.figure,
    )
    return section if _LITHIUM in label else replace(section, title=label)


def _fit(shown: Shown) -> report.Section:
    explained = shown.json("fit.json")
    return report.section_fit(
        fitted_density(shown.task),
        shown.unmixed,
        shown.references,
        sigma=shown.sigma,
        sample=shown.sample,
        count=shown.settings.report.spectra,
        explained=explained["explained_variance"],
        explained_of_mean=explained["explained_variance_of_the_mean_spectrum"],
        level=shown.settings.unmix.level,
        simulated=shown.settings.inputs.simulated,
        figure=shown.book.figure,
    )


def _doubt(shown: Shown) -> report.Section:
    return report.section_doubt(
        shown.unmixed,
        flags=shown.flags,
        ambiguity=shown.unmixed["ambiguity"],
        sample=shown.sample,
        threshold=AMBIGUOUS,
        simulated=shown.settings.inputs.simulated,
        figure=shown.book.figure,
    )


def _energies(shown: Shown) -> report.Section:
    told = shown.json("energies.json")
    return report.section_energies(
        shown.references,
        {"optimal": np.array(told["chosen"]), "expert": np.array(told["expert"])},
        errors=shown.table("energy-errors.parquet"),
        simulated=shown.settings.inputs.simulated,
        figure=shown.book.figure,
    )


def _structure(shown: Shown) -> report.Section | None:
    components, clusters = shown.dataset("components.zarr"), shown.dataset("clusters.zarr")
    if components is None and clusters is None:
        return None
    return report.section_structure(
        components,
        clusters,
        chosen=shown.json("decomposed.json")["components"],
        matches=shown.table("matches.parquet"),
        simulated=shown.settings.inputs.simulated,
        figure=shown.book.figure,
    )


def _references(shown: Shown) -> report.Section:
    return report.section_references(
        shown.references,
        shown.dataset("collinearity.zarr"),
        simulated=shown.settings.inputs.simulated,
        figure=shown.book.figure,
    )


def _recorded(shown: Shown) -> report.Section:
    incident, about = shown.dataset("incident.zarr"), shown.json("normalized.json")
    return report.section_recording(
        i0=None if incident is None else incident["i0"],
        i0_sigma=None if incident is None else incident["i0_sigma"],
        dark=shown.settings.detector.dark or None,
        aligned=shown.dataset("drift.zarr"),
        pixel=spacing(shown.density)["x"],
        notes=about["notes"],
        optical_density=shown.density,
        simulated=shown.settings.inputs.simulated,
        figure=shown.book.figure,
    )


def _facts(shown: Shown) -> dict[str, str]:
    energy = shown.density["energy"]
    step = spacing(shown.density)
    facts = {
        "Stack": f"{energy.size} images of {shown.density.sizes['y']} x {shown.density.sizes['x']} pixels",
        "Energies": f"{float(energy.min()):g} to {float(energy.max()):g} eV",
        "Pixel": " x ".join(f"{step[dim]:.4g}" for dim in ("y", "x")) + " um",
        "Phases": ", ".join(str(name) for name in shown.references["component"].values),
        "Explained variance": f"{100 * shown.json('fit.json')['explained_variance']:.1f} %",
    }
    row = shown.rows("field", "lithiation")
    if len(row):
        facts[shown.settings.lithiation.label] = f"{row['value'].iloc[0]:.3f} +- {1.96 * row['sigma'].iloc[0]:.3f}"
    return facts


def _flags(shown: Shown) -> Iterator[str]:
    decomposed = shown.json("decomposed.json")
    factor = decomposed["noise_factor"]
    if factor is not None and not 0.77 < factor < 1.3:
        yield (
            f"The noise of the stack is {factor:.2g} times that of single photons: counts were averaged, smoothed or "
            f"scaled. Set detector.photons_per_count to about {1 / factor**2:.2g} for errors that fit."
        )
    empty = shown.json("normalized.json").get("empty_images")
    if empty:
        yield (
            f"{empty} image{' holds' if empty == 1 else 's hold'} no value and went into nothing: the scan was "
            "interrupted, or not copied whole."
        )
    for note in decomposed["notes"]:
        yield f"What the stack shows by itself is not known in full. {note}"
    count, told = decomposed["components"], len(shown.settings.references)
    told += shown.settings.unmix.background_terms
    if count is not None and count > told:
        yield (
            f"{count} components stand above the noise and {told} {'is' if told == 1 else 'are'} fitted: something "
            "varies that has no reference, be it a phase, drift or saturation."
        )
    for warning in np.atleast_1d(shown.dataset("collinearity.zarr").attrs.get("warnings", [])):  # type: ignore[union-attr]
        yield str(warning)
    if shown.settings.align.method == "none" and not shown.settings.inputs.simulated:
        yield "The stack was taken as aligned: drift that is left shows as rims of wrong phases."
    if not shown.settings.weighted and shown.settings.inputs.kind == "counts":
        yield "Every energy counted alike in the fit; errors come from its residuals."
    share = float(shown.doubtful.sum()) / max(int(shown.sample.sum()), 1)
    if share > 0.2:
        yield f"{100 * share:.0f} % of the pixels of the sample are doubtful: flagged, or as well fitted by others."


def _methods(shown: Shown) -> Iterator[str]:
    settings = shown.settings
    if settings.align.method != "none":
        yield (
            "Alignment: translations that bring every image onto what the others predict for its energy, in a global "
            "least squares over many pairs."
        )
    if settings.inputs.kind == "counts":
        yield (
            "Optical density: natural logarithm of incident over transmitted counts, less dark counts; its variance is "
            "that of counted photons and of the incident beam. Values without counts are missing, not clipped."
        )
    if settings.normalize.pre_edge is not None:
        low, high = settings.normalize.pre_edge
        yield f"The mean optical density from {low:g} to {high:g} eV was taken off every pixel."
    if settings.unmix.partial_volume:
        yield (
            f"Partial volume: a probe of {settings.detector.probe_px:g} pixels averages transmissions, not optical "
            "densities; what that hides at rims and phase boundaries was estimated from a first fit, put back, and "
            "fitted again."
        )
    background = "no background" if settings.unmix.terms is None else f"a {settings.unmix.background} background"
    weighing = "weighted by the counts behind the fit" if settings.weighted else "every energy alike"
    total = ", weights summing to one" if settings.unmix.sum_to_one else ""
    yield (
        f"Weights: least squares with weights not below zero{total}, {background} of either sign, {weighing}; the "
        f"exact solution in every pixel. Intervals of {100 * settings.unmix.level:g} % know of the bound at zero."
    )
    parameters = len(settings.references) + settings.unmix.background_terms
    shared = "holds noise alone, for there are too few energies to see what all pixels share"
    if jackknife_blocks(shown.density.sizes["energy"], parameters) is not None:
        shared = "is the jackknife over blocks of energies, which also sees what all pixels share"
    yield (
        "Lithiation: mean of the x of the phases, by weight. That of the field comes from weights without bound; its "
        f"error {shared}. It is given without rims and "
        "thick parts, where averaging transmission or stray light shifts it without leaving a residual, and with them."
    )
    yield (
        "Ambiguity: the largest share of the thickness that another set of phases, whose fit is not significantly "
        "worse, puts elsewhere."
    )
    if settings.inputs.simulated:
        yield "The stack is simulated: its truth is exact, and everything shown is marked as simulated."
