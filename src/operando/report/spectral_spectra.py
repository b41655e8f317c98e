"""Spectra over photon energy: reference spectra, how alike they are, and what was chosen from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from operando.core.errors import AxesError, InputError
from operando.report import spectral_style as look
from operando.report import style, wording


@style.styled
def reference_spectra(
    references: xr.DataArray | Mapping[str, xr.DataArray],
    *,
    energies: Sequence[float] | None = None,
    sigma: xr.DataArray | None = None,
    offset: float | None = 0.0,
    colors: Mapping[str, str] | None = None,
    label: str | None = None,
    simulated: bool | None = None,
    ax: Any = None,
) -> Any:
    """Draw spectra of pure phases, of clusters or of components.

    Parameters
    ----------
    references : DataArray, dims (component, energy), or mapping of name to DataArray (energy)
        Energies in eV; a spectrum of one energy is a point. NaN leaves a gap.
    energies : sequence of float, optional
        Energies to mark by lines, in eV.
    sigma : DataArray, same dims, optional
        Bands of 95 % about the spectra.
    offset : float, optional
        How far each spectrum is raised above the one before; None takes 0.4 of the largest range.
    colors : mapping of component to hex color, optional
    label : str, optional
        Of the y axis; default from the attrs.
    simulated : bool, optional
        Label the figure as simulated; default what the data say.
    ax : Axes, optional
        Default a new figure, 88 mm wide.

    Returns
    -------
    matplotlib Figure

    Examples
    --------
    >>> spectra = xr.DataArray(np.eye(2, 3), dims=("component", "energy"),
    ...     coords={"component": ["V2O5", "LiV2O5"], "energy": [515.0, 517.0, 519.0]})
    >>> [text.get_text() for text in reference_spectra(spectra).axes[0].get_legend().get_texts()]
    ['V2O5', 'LiV2O5']
    """
    own = ax is None
    names = list(spectra_of(references, where="reference_spectra"))
    ax = style.axes_of(ax, width_mm=style.SINGLE_MM, height_mm=56 + look.legend_layout(names, style.SINGLE_MM)[2])
    draw_spectra(ax, references, marks=energies, sigma=sigma, offset=offset, colors=colors, label=label, legend="below")
    return look.finish(ax.figure, own, simulated, references, sigma)


def spectra_of(spectra: xr.DataArray | Mapping[str, xr.DataArray], *, where: str) -> dict[str, xr.DataArray]:
    """Each spectrum by its name, its energies ascending."""
    if isinstance(spectra, Mapping):
        single = {str(name): spectrum for name, spectrum in spectra.items()}
    else:
        look.energies_of(spectra, where=where)
        extra = set(spectra.dims) - {"component", "energy"}
        if extra:
            raise AxesError(
                f"{where}: spectra have the dims (component, energy), got {spectra.dims}. Average over "
                f"{', '.join(map(str, sorted(extra, key=str)))} or select one place first."
            )
        stacked = spectra if "component" in spectra.dims else spectra.expand_dims("component")
        names = (
            look.component_names(stacked)
            if "component" in spectra.dims
            else [str(spectra.name or "spectrum").replace("_", " ")]
        )
        single = {name: stacked.isel(component=place) for place, name in enumerate(names)}
    if not single:
        raise InputError(f"{where}: at least one spectrum is needed, got none.")
    return {name: one.sortby("energy") if "energy" in one.coords else one for name, one in single.items()}


def draw_spectra(
    ax: Any,
    spectra: xr.DataArray | Mapping[str, xr.DataArray],
    *,
    marks: Sequence[float] | np.ndarray | None = None,
    sigma: xr.DataArray | None = None,
    offset: float | None = None,
    colors: Mapping[str, str] | None = None,
    label: str | None = None,
    legend: str | None = None,
    width_mm: float = style.SINGLE_MM,
) -> None:
    """Draw spectra as lines with marked energies; ``legend`` is None, ``"inside"``, ``"below"`` or ``"column"``."""
    lines = spectra_of(spectra, where="report")
    bands = {} if sigma is None else spectra_of(sigma, where="report")
    tints = look.component_colors(lines, colors)
    if offset is None:
        # Two curves can be told apart where they lie on each other; more of them not.
        offset = 0.4 * max(_range(one) for one in lines.values()) if len(lines) > 2 else 0.0
    text, columns, _ = look.legend_layout(list(lines), width_mm, most=1 if legend == "column" else 4)
    axis_label = "Photon energy [eV]"
    for place, (name, one) in enumerate(lines.items()):
        energy, axis_label = look.energies_of(one, where="report")
        values = np.asarray(one.values, dtype=float) + place * offset
        few = energy.size < 25
        ax.plot(energy, values, color=tints[name], ls=look.line_style(place), label=text[place], zorder=3,
                marker="o" if few else None, ms=2.4)  # fmt: skip
        if name in bands:
            half = 1.96 * bands[name].to_numpy()
            ax.fill_between(energy, values - half, values + half, color=tints[name], alpha=0.2, lw=0)
    for mark in marks if marks is not None else ():
        ax.axvline(float(mark), color=style.MUTED, lw=0.7, ls=(0, (2, 1.5)), zorder=1)
    first = next(iter(lines.values()))
    source = spectra if isinstance(spectra, xr.DataArray) else first
    name = label or _axis_label(source, f", each raised by {offset:.2g}" if offset else "")
    ax.set_xlabel(axis_label)
    ax.set_ylabel("\n".join(wording.wrapped(name, 36)))
    ax.margins(x=0.01)
    ax.grid(True, axis="y")
    if legend == "inside":
        ax.legend()
    elif legend is not None:
        look.legend_below(ax, text, columns)


def _range(spectrum: xr.DataArray) -> float:
    values = np.asarray(spectrum.values, dtype=float)
    values = values[np.isfinite(values)]
    return float(values.max() - values.min()) if values.size else 0.0


def _axis_label(spectrum: xr.DataArray, note: str) -> str:
    # A component's own name does not say what its values are.
    unit = str(spectrum.attrs.get("units", "1"))
    usual = "Optical density per length" if unit == "um-1" else "Optical density"
    return wording.label_text(str(spectrum.attrs.get("long_name") or usual) + note, unit)
