"""The report of recipe ``pores``: finished results laid out on one page; nothing is measured here."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from operando import report
from operando.core.axes import SPACE
from operando.core.provenance import versions
from operando.pipeline.layout import laid_out, ledger_section, workflow_section
from operando.pipeline.pores import beneath, lithium
from operando.pipeline.pores.settings import Pores
from operando.pipeline.pores.shown import Shown, gather
from operando.pipeline.step import Task
from operando.pipeline.storage import FigureFolder

_CITATIONS = (
    "Dixit, M. B. et al. Synchrotron imaging of pore formation in Li metal solid-state batteries aided by machine "
    "learning. ACS Applied Energy Materials 3, 9534-9542 (2020). https://doi.org/10.1021/acsaem.0c02053",
    "Getis, A. & Ord, J. K. The analysis of spatial association by use of distance statistics. Geographical Analysis "
    "24, 189-206 (1992). https://doi.org/10.1111/j.1538-4632.1992.tb00261.x",
    "Benjamini, Y. & Hochberg, Y. Controlling the false discovery rate. J. R. Stat. Soc. B 57, 289-300 (1995). "
    "https://doi.org/10.1111/j.2517-6161.1995.tb02031.x",
    "He, K. et al. Deep residual learning for image recognition. CVPR (2016). https://doi.org/10.1109/CVPR.2016.90",
)


def make_report(task: Task) -> None:
    """Lay out figures, tables and methods."""
    with task.writing("figures") as folder:
        shown = gather(task, FigureFolder(folder))
        builders: list[Callable[[], report.Section | None]] = [
            lambda: lithium.the_cell(shown),
            lambda: lithium.the_pores(shown),
            lambda: lithium.the_current(shown),
            lambda: beneath.the_ceramic(shown),
            lambda: beneath.the_explanation(shown),
            lambda: lithium.how_far_to_trust_it(shown),
            lambda: workflow_section(task, shown.book),
            lambda: ledger_section(shown.ledger),
        ]
        laid = laid_out(task, builders)
        with task.writing("report.html") as path:
            report.write_page(
                path,
                shown.settings.title,
                laid,
                subtitle="Recipe pores: from CT of Li | ceramic | Li to pores, current and what the ceramic explains",
                facts=_facts(shown),
                flags=list(_flags(shown)),
                methods=list(_methods(shown)),
                citations=_CITATIONS,
                parameters=task.parameters["settings"],
                provenance=versions(),
                simulated=shown.simulated,
            )


def _facts(shown: Shown) -> dict[str, str]:
    image = shown.image
    voxel = " x ".join(f"{float(image[dim].attrs['spacing']):.4g}" for dim in SPACE)
    facts = {
        "Steps": ", ".join(shown.names),
        "Volume": " x ".join(str(image.sizes[dim]) for dim in SPACE) + " voxels",
        "Voxel": f"{voxel} um",
    }
    last = shown.ledger[shown.ledger["quantity"] == "porosity"]
    first, final = (last[last["scan"] == scan]["value"].mean() for scan in (0, shown.last))
    facts["Porosity of lithium"] = f"{100 * first:.2f} % at first, {100 * final:.2f} % at last"
    onset = shown.critical[shown.critical["quantity"] == "critical current density"]
    if len(onset) and onset["value"].notna().any():
        facts["Critical current"] = f"{onset['value'].iloc[0]:.3g} mA cm-2 at {onset['t'].iloc[0]:.3g} h"
    elif len(onset):
        facts["Critical current"] = "not reached"
    return facts


def _flags(shown: Shown) -> Iterator[str]:
    rows = shown.ledger
    off = rows[rows["quantity"] == "current mismatch"]
    off = off[off["value"].abs() > 1.96 * off["sigma"]]
    if len(off):
        yield (
            f"The current that the image shows differs from the applied one beyond the interval in {len(off)} of "
            f"{int((rows['quantity'] == 'current mismatch').sum())} electrode steps; the closure chart shows by how "
            "much."
        )
    if not (rows["quantity"] == "current mismatch").any():
        yield "No cycler file was given: the current of the image has nothing to be set against."
    if shown.settings.segment.method == "otsu":
        yield "Pores were told apart by a threshold alone, which shows no trend where contrast is low."
    elif shown.settings.segment.model is None and shown.settings.segment.corrections is None:
        yield "Nobody corrected the edges that the network was trained on: it repeats their faults."
    infinite = int(np.isinf(shown.beneath["tortuosity"]).sum())
    if infinite:
        yield f"{infinite} tiles of ceramic conduct nothing: their tortuosity factor is infinite and enters no mean."


def _ceramic_method(settings: Pores) -> str:
    if not settings.boundaries.rigid_ceramic:
        return ""
    return "The interfaces are the same in all scans (medians), since the ceramic does not move. "


def _spots_method(settings: Pores) -> str:
    how = settings.hot_spots
    rate = f"at a false-discovery rate of {100 * how.fdr:g} %"
    disc = f"the mean over a disc of {how.radius_um:g} um"
    if how.against == "field":
        return f"{disc} stands out from the usual ups and downs of the map (a field of its covariance), {rate}"
    return f"{disc} differs from the rest by more than {100 * how.excess:g} % beyond its error, {rate}"


def _methods(shown: Shown) -> Iterator[str]:
    settings, how = shown.settings, shown.settings.measure
    yield (
        "Boundaries: in every column, the half level between the gray of steel, lithium and ceramic; maps are "
        f"smoothed by {settings.boundaries.smooth_um:g} um. {_ceramic_method(settings)}Thickness is the distance of "
        "collector and ceramic."
    )
    if settings.segment.method == "network":
        yield (
            f"Pores in lithium: {settings.segment.network} network on sections of one electrode "
            f"({settings.segment.electrode}) and scan ({settings.segment.scan}), labels from edge detection with "
            "corrections where given; both electrodes and all steps were segmented by it. Otsu's threshold stands "
            "beside."
        )
    yield (
        f"Porosity by depth counts from the local interface in bins of {how.bin_um:g} um; near the interface means "
        f"{how.near_interface_um:g} um. Intervals cover the scatter over the field (tiles, correlated neighbors) and, "
        "where probabilities are known, the segmentation."
    )
    yield (
        "Current density: j = F d[(1 - p) h] / (V_Li dt) in every column, with the hours of current as time (Dixit "
        "2020, Eq. 3). The maps take p as 0, because the error of a local porosity would drown them; the sum over the "
        f"electrode is also given without the pores. Hot and cold spots: {_spots_method(settings)}."
    )
    yield (
        "Tortuosity factor: D_eff = D eps / tau (not squared; the square root is the tau of Dixit's Eq. 4), solved on "
        f"the labels of the ceramic beneath each interface ({how.interface_um:g} um) in tiles of {how.tile_um:g} um, "
        "no flux sideways. Microstructure factors are effective over dense values of cubes of that edge; the null is "
        "a synthetic isotropic polycrystal of the same porosity and pore size."
    )
    yield (
        "Regression of the current of tiles on the ceramic beneath them as it was before the step; p-values permute "
        "whole blocks of tiles, because neighbors are alike."
    )
    if settings.inputs.simulated:
        yield "The cell is simulated: its truth is exact, and everything shown is marked as simulated."
