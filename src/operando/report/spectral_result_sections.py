"""Sections of the page of a spectro-microscopy run: the fit, where to doubt it, the lithium, fewer energies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando.core.phases import PhaseScheme
from operando.report import spectral_style as look
from operando.report import wording
from operando.report.pages import Section, TableItem
from operando.report.spectral_energies import energy_choice
from operando.report.spectral_fits import spectra_with_fit
from operando.report.spectral_lithium import core_to_rim_plot, lithiation_distribution, particle_map, phase_boundary
from operando.report.spectral_maps import ambiguity_map, flag_map, map_with_uncertainty, r_factor_map, weight_maps
from operando.report.spectral_sections import Framed, described, framed, result_sentences, share_sentence, trusted
from operando.report.spectral_spectra import reference_spectra

_BORDER_PX = 3
_REASONS = {
    "boundary": "at a rim or a boundary, where a probe that sees two thicknesses at once measures too little",
    "thick": "too thick for what stray light and dark counts leave of strong lines",
    "missing_reference": "with a structure in the residual that neither noise nor the references explain",
}


def section_fit(
    optical_density: xr.DataArray,
    unmixed: xr.Dataset,
    references: xr.DataArray | Mapping[str, xr.DataArray],
    *,
    sigma: xr.DataArray | None = None,
    sample: xr.DataArray | None = None,
    at: Sequence[Sequence[float]] | None = None,
    regions: Mapping[str, xr.DataArray] | None = None,
    count: int = 4,
    explained: float | None = None,
    explained_of_mean: float | None = None,
    level: float = 0.95,
    simulated: bool | None = None,
    figure: Framed = framed,
) -> Section:
    """How well the references explain the stack, and what they weigh.

    Parameters
    ----------
    optical_density, unmixed, references, sigma
        As in :func:`operando.report.spectrum_with_fit`.
    sample : DataArray of bool, dims (y, x), optional
        Pixels that hold sample: means are taken over them, and the R-factor is shown there. Default: all with a fit.
    at : sequence of (float, float), optional
        Pixels whose spectra are drawn; default ``count`` telling ones, see :func:`telling_places`.
    regions : mapping of name to DataArray of bool (y, x), optional
        Regions whose mean spectra are drawn.
    count : int
        Pixels drawn where ``at`` is not given.
    explained, explained_of_mean : float, optional
        R2 about the grand mean, of the stack and of its mean spectrum.
    level : float
        Of the intervals of the weights.
    simulated : bool, optional
        Label every figure as simulated; default what the data of each say.
    figure : callable (name, figure, caption) -> FigureItem

    Returns
    -------
    Section
    """
    weight = unmixed["weight"]
    inside = look.finite(weight).all("component") if sample is None else sample & look.finite(weight).all("component")
    names = look.component_names(weight)
    unit = str(weight.attrs.get("units", "1"))
    means = [float(weight.isel(component=k).where(inside).mean()) for k in range(len(names))]
    text = []
    if explained is not None:
        text.append(f"The fit explains {100 * explained:.1f} % of the variance of the stack about its grand mean.")
    if explained_of_mean is not None:
        text.append(f"Of the mean spectrum it explains {100 * explained_of_mean:.1f} %.")
    listed = "; ".join(f"{n} {wording.quantity_text(m, unit=unit)}" for n, m in zip(names, means, strict=True))
    text.append(f"Mean weights over {int(inside.sum())} pixels: {listed}.")
    chi2 = unmixed.get("chi2_reduced")
    if chi2 is not None and sigma is not None:
        middle = float(chi2.where(inside).median())
        # As many energies as weights leave no residual to compare with the noise.
        told = f"The median of the reduced chi-square is {middle:.2f}; 1 means that noise alone is left."
        text += [told] if np.isfinite(middle) else []
    places = list(at) if at is not None else telling_places(unmixed, inside, count - len(regions or {}))
    items: list[Any] = [
        described(
            figure(
                "weights",
                weight_maps(unmixed, simulated=simulated),
                "Weight of every phase" + (", and its standard error below." if "weight_sigma" in unmixed else "."),
            ),
            text[-1] if chi2 is None else f"Maps of the weights of {', '.join(names)}.",
        )
    ]
    if places or regions:
        shown = spectra_with_fit(
            optical_density, unmixed, references, at=places, regions=regions, sigma=sigma, simulated=simulated
        )
        caption = "Measured spectra, their fits and the parts that add up to them, at the numbered pixels" + (
            ": where the fit is worst, and where each phase is purest." if at is None else "."
        )
        items.append(described(figure("spectra", shown, caption), caption))
    if "r_factor" in unmixed:
        shown = r_factor_map(unmixed["r_factor"].where(inside), simulated=simulated)
        middle = float(unmixed["r_factor"].where(inside).median())
        caption = (
            f"What the fit leaves unexplained: sum of squared residuals over sum of squares (median {middle:.3g})."
        )
        items.append(described(figure("r-factor", shown, caption), caption))
    trust = (
        f"Standard errors and {100 * level:g} % intervals of the weights hold the noise of the pixel and the bound at "
        "zero, not errors of the references or the incident intensity."
    )
    if sigma is None:
        trust += " They come from the residual of each pixel, so that a bad fit has large errors, not a small R-factor."
    return Section("The fit", " ".join(text), [*items, trusted(trust)])


def telling_places(unmixed: xr.Dataset, inside: xr.DataArray, count: int) -> list[tuple[float, float]]:
    """Pixels worth a look: where the fit is worst, and where each phase is purest, the larger phases first.

    Only pixels that hold at least half as much as the median are asked: a bad fit of next to nothing says nothing.

    Examples
    --------
    The empty pixel in the middle is not asked:

    >>> maps = xr.Dataset({"weight": (("component", "y", "x"), [[[1.0, 0, 0]], [[0, 0, 2.0]]]),
    ...     "r_factor": (("y", "x"), [[0.1, 0.5, 0.2]])}, coords={"y": [0.0], "x": [0.0, 1.0, 2.0]})
    >>> telling_places(maps, maps["weight"].sum("component") > 0, 2)
    [(0.0, 2.0), (0.0, 0.0)]
    """
    if count < 1 or not bool(inside.any()):
        return []
    # At the border of the image stands what the scan and the alignment made of it, not what is typical.
    inner = xr.zeros_like(inside)
    within = {dim: slice(_BORDER_PX, inside.sizes[dim] - _BORDER_PX) for dim in ("y", "x")}
    inner[within] = inside[within]
    inside = inner if bool(inner.any()) else inside
    weight = unmixed["weight"].transpose("component", "y", "x").where(inside)
    total = weight.sum("component").where(inside)
    worth = total >= 0.5 * total.median()
    maps = [unmixed["r_factor"].where(worth)] if "r_factor" in unmixed else []
    order = np.argsort(-np.nan_to_num(weight.sum(("y", "x")).values), kind="stable")
    maps += [(weight / total).where(worth).isel(component=int(k)) for k in order]
    places: list[tuple[float, float]] = []
    taken = np.zeros(weight.shape[1:], dtype=bool)
    for one in maps:
        values = np.nan_to_num(one.transpose("y", "x").values)
        values[taken] = 0.0
        if len(places) < count and (values > 0).any():
            row, column = np.unravel_index(int(values.argmax()), values.shape)
            taken[row, column] = True
            y, x = (float(one[dim][k]) if dim in one.coords else float(k) for dim, k in (("y", row), ("x", column)))
            places.append((y, x))
    return places


def section_doubt(
    unmixed: xr.Dataset,
    *,
    flags: xr.Dataset | None = None,
    ambiguity: xr.DataArray | None = None,
    sample: xr.DataArray | None = None,
    threshold: float = 0.5,
    simulated: bool | None = None,
    figure: Framed = framed,
) -> Section:
    """Where not to trust the maps: flags, ambiguity, and what unexplained pixels have in common.

    Parameters
    ----------
    unmixed : Dataset of ``spectral.unmix``
    flags : Dataset of ``spectral.flags``, optional
    ambiguity : DataArray, dims (y, x), optional
        Of ``spectral.ambiguity``.
    sample : DataArray of bool, dims (y, x), optional
        Pixels that hold sample, of which shares are taken; default all with a fit.
    threshold : float
        Ambiguity from which a pixel is hatched and counted.
    simulated : bool, optional
        Label every figure as simulated; default what the data of each say.
    figure : callable (name, figure, caption) -> FigureItem

    Returns
    -------
    Section
    """
    known = look.finite(unmixed["weight"]).all("component")
    inside = known if sample is None else sample & known
    total = int(inside.sum())
    items: list[Any] = []
    text: list[str] = []
    if flags is not None:
        reasons = {
            str(name): flag for name, flag in flags.items() if flag.dtype == bool and set(flag.dims) == {"y", "x"}
        }
        for name, flag in reasons.items():
            many = int((flag & inside).sum())
            why = _REASONS.get(name, f"flagged as {name.replace('_', ' ')}")
            text.append(f"{share_sentence(many, total, 'pixels of the sample')}: {why}.")
        caption = "Pixels whose weights are off by more than their errors say, by reason; black: more than one."
        shown = flag_map(
            flags, image=unmixed["weight"].sum("component").where(inside), mask=inside, simulated=simulated
        )
        items.append(described(figure("flags", shown, caption), " ".join(text)))
        common = flags.get("missing_spectrum")
        if common is not None and float(np.abs(common).max()) > 0:
            caption = "What the pixels without a reference have in common beyond the fit."
            spectrum = common.rename("residual in common").assign_attrs(
                long_name="Residual in common, largest 1", units="1"
            )
            items.append(
                described(
                    figure("missing-spectrum", reference_spectra(spectrum, simulated=simulated), caption), caption
                )
            )
        text += [str(note).strip().rstrip(".") + "." for note in np.atleast_1d(flags.attrs.get("notes", []))]
    if ambiguity is not None:
        shown = ambiguity_map(ambiguity.where(inside), threshold=threshold, simulated=simulated)
        many = int((ambiguity.where(inside) >= threshold).sum())
        text.append(
            f"In {share_sentence(many, total, 'pixels of the sample')} another set of phases fits as well and assigns "
            f"at least {100 * threshold:g} % of the thickness elsewhere."
        )
        caption = "Share of the thickness that another set of phases, fitting as well, assigns elsewhere."
        items.append(described(figure("ambiguity", shown, caption), text[-1]))
    trust = (
        "A pixel without a flag is not thereby right: flags see what leaves a trace in its spectrum. A missing phase "
        "that a mixture of references imitates leaves none."
    )
    return Section("Where not to trust it", " ".join(text), [*items, trusted(trust)])


def section_lithium(
    lithiation: xr.DataArray,
    *,
    sigma: xr.DataArray | None = None,
    thickness: xr.DataArray | None = None,
    particles: xr.DataArray | None = None,
    table: pd.DataFrame | None = None,
    profile: pd.DataFrame | None = None,
    dominant: xr.DataArray | None = None,
    phases: PhaseScheme | Mapping[str, int] | None = None,
    boundary: str | None = None,
    rows: pd.DataFrame | None = None,
    doubtful: xr.DataArray | None = None,
    truth: xr.DataArray | None = None,
    label: str | None = None,
    simulated: bool | None = None,
    figure: Framed = framed,
) -> Section:
    """Where the lithium is: map with errors, distribution, particles, core to rim, phase boundaries.

    Parameters
    ----------
    lithiation, sigma : DataArray, dims (y, x)
        And its standard error.
    thickness : DataArray, dims (y, x), optional
        By which pixels count in the distribution.
    particles : DataArray of int, dims (y, x), optional
    table : DataFrame, optional
        Quantity rows of the particles, shown as a table.
    profile : DataFrame of ``spectral.core_to_rim``, optional
    dominant, phases, boundary
        Phase of each pixel, what its ids mean, and the measured length of the boundaries with its interval.
    rows : DataFrame, optional
        Quantity rows of the field, a sentence each.
    doubtful : DataArray of bool, dims (y, x), optional
        Hatched in the map.
    truth : DataArray, dims (y, x), optional
        Where the sample is simulated.
    label : str, optional
        Of the lithiation.
    simulated : bool, optional
        Label every figure as simulated; default what the data of each say.
    figure : callable (name, figure, caption) -> FigureItem

    Returns
    -------
    Section
    """
    name = look.lithiation_label(lithiation, label)
    text = result_sentences(rows) if rows is not None else []
    items: list[Any] = []
    if sigma is not None:
        middle = float(sigma.where(look.finite(lithiation)).median())
        text.append(f"One pixel is known to {middle:.2g} (one sigma, median).")
        shown = map_with_uncertainty(lithiation, sigma, label=label, doubtful=doubtful, simulated=simulated)
        caption = f"a, {name}. b, its standard error. c, both against each other, pixel by pixel."
        if doubtful is not None:
            caption += " Hatched: doubtful."
        items.append(described(figure("lithiation", shown, caption), text[-1]))
    shown = lithiation_distribution(
        lithiation, thickness=thickness, particles=particles, truth=truth, label=label, simulated=simulated
    )
    caption = f"How much of the sample has which value of: {name}" + (
        "; right, particle by particle: median, quartiles, and 5 and 95 %." if particles is not None else "."
    )
    items.append(described(figure("distribution", shown, caption), caption))
    if particles is not None:
        count = len(np.unique(particles.values[particles.values > 0]))
        text.append(f"{count} particle{' was' if count == 1 else 's were'} told apart.")
        shown = particle_map(particles, image=lithiation, label=name, simulated=simulated)
        caption = f"Particles and their numbers over the map: {name}."
        items.append(described(figure("particles", shown, caption), text[-1]))
    if profile is not None:
        shown = core_to_rim_plot(profile, label=name, simulated=simulated)
        caption = f"{name} from the rim of particles to their core; the band is 95 %."
        items.append(described(figure("core-to-rim", shown, caption), caption))
    if dominant is not None and phases is not None:
        if boundary:
            text.append(f"Boundaries between phases are {boundary} long.")
        caption = "The phase that holds most of each pixel. The lines follow the pixels; the length given does not."
        shown = phase_boundary(dominant, phases, length=boundary, simulated=simulated)
        items.append(described(figure("boundaries", shown, caption), text[-1] if boundary else caption))
    if table is not None and len(table):
        items.append(TableItem(table, "What every particle holds.", name="particles", collapsed=True))
    trust = (
        "The spread of a map holds the noise of its pixels: compare it with the standard errors before calling it "
        "disorder. The stoichiometry of the references is taken as exact."
    )
    return Section("Where the lithium is", " ".join(text), [*items, trusted(trust)])


def section_energies(
    references: xr.DataArray | Mapping[str, xr.DataArray],
    chosen: xr.DataArray | Sequence[float] | Mapping[str, Any],
    *,
    errors: pd.DataFrame | None = None,
    quantity: str | None = None,
    unit: str = "1",
    simulated: bool | None = None,
    figure: Framed = framed,
) -> Section:
    """Which few energies an operando scan needs, and what error to expect.

    Parameters
    ----------
    references, chosen, errors, quantity, unit
        As in :func:`operando.report.energy_choice`.
    simulated : bool, optional
        Label every figure as simulated; default what the data of each say.
    figure : callable (name, figure, caption) -> FigureItem

    Returns
    -------
    Section
    """
    first = next(iter(chosen.values())) if isinstance(chosen, Mapping) else chosen
    energies = np.sort(np.atleast_1d(np.asarray(getattr(first, "values", first), dtype=float)))
    text = [f"The best {energies.size} energies for these references: {', '.join(look.energy_texts(energies))}."]
    if errors is not None:
        what = quantity or ("lithiation" if (errors["quantity"] == "lithiation").any() else "weight")
        worst = errors[errors["quantity"] == what].groupby(["choice", "k"])["sigma"].max()
        at = ("optimal", energies.size)
        every = worst.get("all")
        if at in worst.index and every is not None and np.isfinite(worst[at]):
            text.append(
                f"At the same dose they give the {what} of a pixel to {worst[at]:.2g}{_spaced(unit)}; all "
                f"{every.index[0]} give it to {every.iloc[0]:.2g}{_spaced(unit)} (predicted, one sigma)."
            )
    caption = (
        "a, the energies on the references. b, predicted error against their number at one dose."
        if errors is not None
        else ("The energies on the references.")
    )
    shown = energy_choice(references, chosen, errors=errors, quantity=quantity, unit=unit, simulated=simulated)
    trust = (
        "The errors are those of noise at a given dose and thickness. Few energies leave nothing by which to notice a "
        "missing phase, a drift of the energy scale or saturation."
    )
    return Section(
        "Fewer energies", " ".join(text), [described(figure("energies", shown, caption), text[0]), trusted(trust)]
    )


def _spaced(unit: str) -> str:
    text = wording.unit_text(unit)
    return f" {text}" if text else ""
