"""Sections of the page of a spectro-microscopy run: what was found, recorded, seen without and known before the fit.

Every section takes finished arrays and tables, says in plain sentences what they show, and ends with what to trust.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando.core.units import PIXEL
from operando.report import spectral_style as look
from operando.report import wording
from operando.report.pages import FigureItem, MovieItem, Section, TextItem
from operando.report.spectral_beam import drift_plot, i0_plot
from operando.report.spectral_clusters import cluster_map, reference_collinearity, scree_plot
from operando.report.spectral_composite import false_color
from operando.report.spectral_movies import energy_frames
from operando.report.spectral_overview import spectral_overview
from operando.report.spectral_spectra import reference_spectra

Framed = Callable[[str, Any, str], FigureItem]
"""Takes the name, the figure and the caption; wraps it for the page, and may save it beside."""


def framed(name: str, figure: Any, caption: str) -> FigureItem:
    """Wrap a figure for the page and save it nowhere."""
    return FigureItem(figure, caption)


def section_overview(
    optical_density: xr.DataArray,
    references: xr.DataArray,
    unmixed: xr.Dataset,
    *,
    lithiation: xr.DataArray | None = None,
    rows: pd.DataFrame | None = None,
    doubtful: xr.DataArray | None = None,
    label: str | None = None,
    images: int = 5,
    movie: bool = True,
    simulated: bool | None = None,
    figure: Framed = framed,
) -> Section:
    """What was found: images, references and map on one sheet, the phases in color, the numbers of the field.

    Parameters
    ----------
    optical_density : DataArray, dims (energy, y, x)
    references : DataArray, dims (component, energy)
    unmixed : Dataset of ``spectral.unmix``
    lithiation : DataArray, dims (y, x), optional
        Without it the sheet shows the thickness.
    rows : DataFrame, optional
        Quantity rows of the field, each of which becomes a sentence with its 95 % interval.
    doubtful : DataArray of bool, dims (y, x), optional
        Pixels with a flag or an ambiguous fit: hatched, and counted among those with a lithiation.
    label : str, optional
        Of the lithiation.
    images : int
        Over the energies.
    movie : bool
        Add the movie over the energies.
    simulated : bool, optional
        Label every figure as simulated; default what the data of each say.
    figure : callable (name, figure, caption) -> FigureItem
        Wraps every figure, for example ``FigureFolder.figure``, which also saves it.

    Returns
    -------
    Section
    """
    shown = unmixed["thickness"] if lithiation is None else lithiation
    what = "thickness" if lithiation is None else look.lithiation_label(lithiation, label)
    names = look.component_names(unmixed["weight"])
    known = int(look.finite(shown).sum())
    fitted = "1 phase was" if len(names) == 1 else f"{len(names)} phases were"
    count = optical_density.sizes["energy"]
    text = [f"{fitted} fitted at {count} energ{'y' if count == 1 else 'ies'}: {_listed(names)}."]
    text += result_sentences(rows) if rows is not None else []
    if lithiation is not None:
        text.append(f"{known} of {shown.size} pixels hold enough sample for a value.")
    items: list[Any] = [
        described(
            figure(
                "overview",
                spectral_overview(optical_density, references, shown, count=images, label=label, simulated=simulated),
                "a, images over the photon energy in one scale of optical density. b, reference spectra; lines mark "
                f"the energies of a. c, the map that they give: {what} (after Mistry and Srinivasan 2022, Fig. 1).",
            ),
            f"{images} images over energy, {len(names)} reference spectra and a map: {what}.",
        ),
        described(
            figure(
                "phases",
                false_color(unmixed, doubtful=doubtful, simulated=simulated),
                "Which phase is where: the hue says which, the brightness how much."
                + (" Hatched: pixels that are flagged or whose fit is ambiguous." if doubtful is not None else ""),
            ),
            f"False-color map of {_listed(names)}.",
        ),
    ]
    if movie and optical_density.sizes["energy"] > 1:
        items.append(
            MovieItem(
                energy_frames(optical_density, references, simulated=simulated),
                "Every image of the stack, and where on the spectra it was taken.",
                seconds_per_frame=0.12,
            )
        )
    trust = "The map rests on the references: a phase that has none is given the colors of others."
    if doubtful is not None:
        within = int((doubtful & look.finite(shown)).sum())
        share = share_sentence(within, known, "pixels of the map")
        trust += f" {share} {'is' if within == 1 else 'are'} doubtful, for one of the reasons given below."
    return Section("What was found", " ".join(text), [*items, trusted(trust)])


def section_recording(
    *,
    i0: xr.DataArray | None = None,
    i0_sigma: xr.DataArray | None = None,
    dark: float | None = None,
    aligned: xr.Dataset | None = None,
    pixel: float | None = None,
    truth: xr.Dataset | None = None,
    notes: Sequence[str] = (),
    optical_density: xr.DataArray | None = None,
    simulated: bool | None = None,
    figure: Framed = framed,
) -> Section:
    """What was recorded: the incident beam, the drift, and what became missing on the way to optical density.

    Parameters
    ----------
    i0, i0_sigma : DataArray, dims (energy,), optional
    dark : float, optional
        Counts without light.
    aligned : Dataset of ``spectral.align``, optional
    pixel : float, optional
        Edge of a pixel in the unit of the shifts.
    truth : Dataset with ``shift_y`` and ``shift_x``, optional
    notes : sequence of str
        What ``spectral.normalize`` noted; a sentence each.
    optical_density : DataArray, dims (energy, y, x), optional
        Its gaps are counted.
    simulated : bool, optional
        Label every figure as simulated; default what the data of each say.
    figure : callable (name, figure, caption) -> FigureItem

    Returns
    -------
    Section
    """
    items: list[Any] = []
    text, trust = [], []
    if i0 is not None:
        image = i0_plot(i0, sigma=i0_sigma, dark=dark, simulated=simulated)
        caption = "Incident intensity over the photon energy" + (
            ", with its 95 % band." if i0_sigma is not None else "."
        )
        items.append(described(figure("incident", image, caption), caption))
        if i0_sigma is not None:
            share = float((i0_sigma / i0).median())
            text.append(
                f"The incident intensity is known to {100 * share:.2g} % (one sigma, median over the energies)."
            )
        trust.append(
            "An error of the incident intensity is common to all pixels of an image and does not average out over the "
            "field."
        )
    if aligned is not None:
        items.append(_drift(aligned, pixel, truth, simulated, figure))
        text.append(_drift_sentence(aligned, pixel))
        trust.append("Shifts are relative to the mean position; a drift along the beam, or a rotation, is not seen.")
    if optical_density is not None:
        missing = int((~look.finite(optical_density)).sum())
        text.append(
            f"{missing} of {optical_density.size} values of the optical density are missing and left out of every fit."
            if missing
            else "No value of the optical density is missing."
        )
    text += [_sentence(note) for note in notes]
    return Section("What was recorded", " ".join(text), [*items, *([trusted(" ".join(trust))] if trust else [])])


def _drift(
    aligned: xr.Dataset, pixel: float | None, truth: xr.Dataset | None, simulated: bool | None, figure: Framed
) -> FigureItem:
    unit = str(aligned["shift_y"].attrs.get("units", PIXEL))
    shown = drift_plot(aligned, truth=truth, pixel=pixel if unit != PIXEL else None, simulated=simulated)
    band = ", with 95 % bands" if "shift_sigma" in aligned else ""
    circles = "; circles: the true drift" if truth is not None else ""
    caption = f"How far the image of each energy lay from the mean position{band}{circles}."
    return described(figure("drift", shown, caption), _drift_sentence(aligned, pixel))


def _drift_sentence(aligned: xr.Dataset, pixel: float | None) -> str:
    unit = str(aligned["shift_y"].attrs.get("units", PIXEL))
    reach = np.hypot(
        np.asarray(aligned["shift_y"].values, dtype=float), np.asarray(aligned["shift_x"].values, dtype=float)
    )
    if not np.isfinite(reach).any():
        return "No image could be aligned."
    largest = f"{np.nanmax(reach):.3g} {wording.unit_text(unit)}"
    in_pixels = f" ({np.nanmax(reach) / pixel:.2g} px)" if pixel and unit != PIXEL else ""
    text = f"The images drifted by up to {largest}{in_pixels} from their mean position, which was taken out."
    if "shift_sigma" in aligned:
        error = float(aligned["shift_sigma"].median())
        text += f" A shift is known to {error:.2g} {wording.unit_text(unit)} (one sigma, median)."
    lost = int((~np.isfinite(reach)).sum())
    return text + (f" {lost} image{'s' if lost > 1 else ''} could not be aligned." if lost else "")


def section_structure(
    components: xr.Dataset | None = None,
    clusters: xr.Dataset | None = None,
    *,
    chosen: int | None = None,
    matches: pd.DataFrame | None = None,
    simulated: bool | None = None,
    figure: Framed = framed,
) -> Section:
    """What the stack shows by itself: how many components, which clusters, and whether references explain them.

    Parameters
    ----------
    components : Dataset of ``spectral.components``, optional
    clusters : Dataset of ``spectral.cluster``, optional
    chosen : int, optional
        Number of components above the noise.
    matches : DataFrame of ``spectral.match_spectra`` for the clusters, optional
    simulated : bool, optional
        Label every figure as simulated; default what the data of each say.
    figure : callable (name, figure, caption) -> FigureItem

    Returns
    -------
    Section
    """
    items: list[Any] = []
    text, trust = [], ["Components are no phases: any rotation of them explains the stack as well."]
    if chosen is not None:
        text.append(f"{chosen} component{' stands' if chosen == 1 else 's stand'} above the noise.")
    if components is not None:
        caption = "Variance of every principal component; filled: above the noise."
        items.append(
            described(
                figure("components", scree_plot(components, chosen=chosen, simulated=simulated), caption),
                " ".join(text),
            )
        )
    if clusters is not None:
        names = look.component_names(clusters["spectrum"])
        verdicts = _verdicts(matches, names)
        caption = (
            f"{len(names)} clusters of pixels whose spectra have one shape, whatever the thickness, and their mean "
            "spectra" + (" with what the references make of them." if verdicts else ".")
        )
        item = figure("clusters", cluster_map(clusters, matches=verdicts or None, simulated=simulated), caption)
        items.append(described(item, "; ".join(f"{name}: {said}" for name, said in verdicts.items()) or caption))
        unknown = [name for name, said in verdicts.items() if said.startswith("no reference")]
        if verdicts and unknown:
            text.append(f"No reference explains {_listed(unknown)}: look there for a phase without one.")
        elif verdicts:
            text.append("References explain the mean spectrum of every cluster.")
        trust.append(
            "A cluster along a rim may be drift or partial volume rather than a phase, and the mean of a mixed cluster "
            "is explained by a mixture."
        )
    return Section("What the stack shows by itself", " ".join(text), [*items, trusted(" ".join(trust))])


def _verdicts(matches: pd.DataFrame | None, names: Sequence[str]) -> dict[str, str]:
    if matches is None or not len(matches):
        return {}
    best = matches[matches["rank"] == 1] if "rank" in matches else matches
    said = {str(name): str(verdict) for name, verdict in zip(best["spectrum"], best["verdict"], strict=True)}
    return {name: said[name] for name in names if name in said}


def section_references(
    references: xr.DataArray | Mapping[str, xr.DataArray],
    collinearity: xr.Dataset | None = None,
    *,
    simulated: bool | None = None,
    figure: Framed = framed,
) -> Section:
    """The references, and which of them a fit cannot tell apart.

    Parameters
    ----------
    references : DataArray, dims (component, energy), or mapping of name to spectrum
    collinearity : Dataset of ``spectral.collinearity``, optional
        Its ``attrs["warnings"]`` are printed; a stored Dataset keeps them.
    simulated : bool, optional
        Label every figure as simulated; default what the data of each say.
    figure : callable (name, figure, caption) -> FigureItem

    Returns
    -------
    Section
    """
    names = list(references) if isinstance(references, Mapping) else look.component_names(references)
    item = figure(
        "references",
        reference_spectra(references, offset=None, simulated=simulated),
        "Reference spectra of the pure phases.",
    )
    items: list[Any] = [described(item, f"Spectra of {_listed(names)}.")]
    text: list[str] = []
    if collinearity is not None and len(names) > 1:
        angle = np.asarray(collinearity["angle"].values, dtype=float)
        rows, columns = np.tril_indices(len(names), -1)
        closest = int(np.argmin(angle[rows, columns]))
        pair = [names[columns[closest]], names[rows[closest]]]
        degrees = angle[rows[closest], columns[closest]]
        text.append(f"The two references that are most alike, {_listed(pair)}, differ by {degrees:.1f} degrees.")
        caption = (
            "Angle between every two references, background removed: the smaller, the more one stands in for the other."
        )
        items.append(
            described(
                figure("collinearity", reference_collinearity(collinearity, simulated=simulated), caption), text[-1]
            )
        )
    warnings = [] if collinearity is None else list(np.atleast_1d(collinearity.attrs.get("warnings", [])))
    if warnings:
        items.append(TextItem("\n\n".join(_sentence(str(warning)) for warning in warnings)))
    trust = (
        "The references are taken as true. An error of theirs, or an offset of the energy scale, moves all pixels "
        "alike, and no map of errors shows it."
    )
    return Section("The references", " ".join(text), [*items, trusted(trust)])


def result_sentences(rows: pd.DataFrame) -> list[str]:
    """A sentence per quantity row: what it is, its value and 95 % interval, and what its error is made of.

    Rows ``..._sigma_random`` and ``..._sigma_systematic`` are told with the quantity whose error they are.

    Examples
    --------
    >>> from operando.core.quantities import quantity_table
    >>> field = {"component": "field", "unit": "1"}
    >>> result_sentences(quantity_table([{**field, "quantity": "lithiation", "value": 0.512, "sigma": 0.01},
    ...     {**field, "quantity": "lithiation_sigma_random", "value": 0.001},
    ...     {**field, "quantity": "lithiation_sigma_systematic", "value": 0.00995}]))
    ['Lithiation of the field: 0.512 ± 0.020 (95 %; one sigma is 0.001 random and 0.00995 common to all pixels).']
    """
    parts = {(row["component"], row["quantity"]): float(row["value"]) for row in rows.to_dict("records")}
    sentences = []
    for row in rows.to_dict("records"):
        quantity, whose = str(row["quantity"]), str(row["component"])
        if quantity.endswith(("_sigma_random", "_sigma_systematic")):
            continue
        half = 1.96 * float(row["sigma"])
        value = wording.quantity_text(float(row["value"]), half, str(row["unit"]))
        random, common = (parts.get((whose, f"{quantity}_sigma_{kind}"), np.nan) for kind in ("random", "systematic"))
        about = "95 %" if half > 0 else ""
        if half > 0 and np.isfinite([random, common]).all():
            about += f"; one sigma is {random:.3g} random and {common:.3g} common to all pixels"
        name = look.lithiation_label(xr.DataArray(0.0), quantity)
        if not name.startswith("x in "):
            name = name[:1].upper() + name[1:].replace("_", " ")
        of = f" of the {whose}" if whose == "field" else f", {whose}" if whose else ""
        sentences.append(f"{name}{of}: {value}{f' ({about})' if about else ''}.")
    return sentences


def trusted(text: str) -> TextItem:
    """The paragraph on what to trust."""
    return TextItem(f"What to trust. {text}")


def described(item: FigureItem, alt: str) -> FigureItem:
    """The figure with a text for readers who cannot see it."""
    return replace(item, alt=alt)


def share_sentence(count: int, total: int, what: str) -> str:
    """Spell a share of pixels.

    Examples
    --------
    >>> share_sentence(5, 20, "pixels of the sample")
    '5 of 20 pixels of the sample (25.0 %)'
    """
    return f"{count} of {total} {what}" + (f" ({100 * count / total:.1f} %)" if total else "")


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _sentence(text: str) -> str:
    stripped = text.strip()
    return f"{stripped[:1].upper()}{stripped[1:]}{'' if stripped.endswith(('.', '!', '?')) else '.'}"
