"""Which photon energies to measure: where they lie on the references, and what error to expect from how many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando.core.errors import InputError, nearest
from operando.report import spectral_style as look
from operando.report import style, wording
from operando.report.spectral_spectra import draw_spectra, spectra_of

_LOOKS: dict[str, tuple[str, str]] = {
    "optimal": ("#0072B2", "o"),
    "greedy": ("#56B4E9", "s"),
    "expert": ("#D55E00", "D"),
    "even": ("#999933", "^"),
    "random": ("#6B7785", "v"),
    "all": (style.INK, ""),
}
_OTHERS = ("#009E73", "#CC79A7", "#332288")


@style.styled
def energy_choice(
    references: xr.DataArray | Mapping[str, xr.DataArray],
    chosen: xr.DataArray | Sequence[float] | Mapping[str, Any],
    *,
    errors: pd.DataFrame | None = None,
    quantity: str | None = None,
    component: str | None = None,
    measured: pd.DataFrame | None = None,
    unit: str = "1",
    colors: Mapping[str, str] | None = None,
    simulated: bool | None = None,
) -> Any:
    """Draw the chosen energies on the references, and the error of the map against their number.

    Parameters
    ----------
    references : DataArray, dims (component, energy), or mapping of name to spectrum
    chosen : energies in eV, or mapping of the way they were chosen to energies
        Of ``spectral.select_energies``; a row of marks above the spectra for each way.
    errors : DataFrame of ``spectral.error_against_k``, optional
        Columns ``k, choice, quantity, component, sigma, low, high``: predicted errors, a second panel. Infinite
        ones are left out.
    quantity : {"lithiation", "weight"}, optional
        Which rows; default lithiation where there is one.
    component : str, optional
        Which weight; default the largest error over the components.
    measured : DataFrame, optional
        Errors found on a sample with truth, columns ``k, choice, sigma``: open marks.
    unit : str
        Of the error.
    colors : mapping of component to hex color, optional
        Of the spectra.
    simulated : bool, optional
        Label the figure as simulated; default what the data say.

    Returns
    -------
    matplotlib Figure, 88 mm wide, or 180 mm with errors

    Raises
    ------
    InputError
        Where no energy was chosen, or the table lacks the quantity.

    Examples
    --------
    >>> spectra = xr.DataArray(np.eye(2, 3), dims=("component", "energy"), coords={"energy": [708.0, 709.0, 710.0]})
    >>> table = pd.DataFrame({"k": [2, 3], "choice": "optimal", "quantity": "lithiation", "component": "",
    ...     "sigma": [0.1, 0.08], "low": [0.1, 0.08], "high": [0.1, 0.08]})
    >>> figure = energy_choice(spectra, [708.0, 709.0], errors=table)
    >>> figure.axes[0].get_title(), figure.axes[1].get_ylabel()
    ('2 energies chosen', 'Predicted error of the lithiation')
    """
    where = "energy_choice"
    ways = (
        {str(way): _energies(some, where=where) for way, some in chosen.items()} if isinstance(chosen, Mapping) else {}
    )
    if not ways:
        ways = {"": _energies(chosen, where=where)}
    names = list(spectra_of(references, where=where))
    tall = 58 + 3 * len(ways) + max(look.legend_layout(names, 88)[2], 8.0)
    figure = style.new_figure(style.SINGLE_MM if errors is None else style.DOUBLE_MM, tall)
    axes = figure.subplots(1, 1 if errors is None else 2, squeeze=False)[0]
    single = next(iter(ways.values())) if len(ways) == 1 else None
    draw_spectra(axes[0], references, marks=single, colors=colors, legend="below", width_mm=88)
    if len(ways) == 1:
        count = len(next(iter(ways.values())))
        axes[0].set_title(f"{count} energ{'y' if count == 1 else 'ies'} chosen", pad=3)
    else:
        _marks(axes[0], ways)
    if errors is not None:
        _draw_errors(axes[1], errors, measured, quantity=quantity, component=component, unit=unit, where=where)
        style.panel_letters(axes)
    data = references.values() if isinstance(references, Mapping) else [references]
    return look.finish(figure, True, simulated, *data)


def _energies(chosen: Any, *, where: str) -> np.ndarray:
    energies = np.atleast_1d(np.asarray(getattr(chosen, "values", chosen), dtype=float))
    if energies.ndim != 1 or energies.size == 0 or not np.isfinite(energies).all():
        raise InputError(f"{where}: chosen must be at least one finite energy in eV, got {energies.tolist()}.")
    return np.sort(energies)


def _look(way: str, place: int) -> tuple[str, str]:
    return _LOOKS.get(way) or (_OTHERS[place % len(_OTHERS)], "P")


def _marks(ax: Any, ways: Mapping[str, np.ndarray]) -> None:
    low, high = ax.get_ylim()
    step = 0.08 * (high - low)
    for row, (way, energies) in enumerate(ways.items()):
        color, marker = _look(way, row)
        level = high + step * (len(ways) - row - 0.4)
        ax.plot(energies, np.full(energies.size, level), ls="none", marker=marker, color=color, ms=3.2, clip_on=False)
        ax.annotate(way, (1, level), xycoords=("axes fraction", "data"), xytext=(2, 0), textcoords="offset points",
                    va="center", fontsize=7, color=color, annotation_clip=False)  # fmt: skip
    ax.set_ylim(low, high + step * (len(ways) + 0.3))


def _draw_errors(
    ax: Any,
    errors: pd.DataFrame,
    measured: pd.DataFrame | None,
    *,
    quantity: str | None,
    component: str | None,
    unit: str,
    where: str,
) -> None:
    known = list(dict.fromkeys(errors["quantity"])) if "quantity" in errors else []
    what = quantity or ("lithiation" if "lithiation" in known else "weight")
    rows = errors[errors["quantity"] == what] if known else errors
    if rows.empty:
        raise InputError(f"{where}: the table has no errors of {what!r}. {nearest(what, known)}")
    if component is not None:
        names = list(dict.fromkeys(rows["component"]))
        if component not in names:
            raise InputError(f"{where}: the table has no component {component!r}. {nearest(component, names)}")
        rows = rows[rows["component"] == component]
    rows = (
        rows.replace([np.inf, -np.inf], np.nan)
        .groupby(["choice", "k"], sort=False, as_index=False)[["sigma", "low", "high"]]
        .max()
    )
    for place, (way, part) in enumerate(rows.groupby("choice", sort=False)):
        part = part.sort_values("k")
        color, marker = _look(str(way), place)
        if way == "all":
            # One number, far to the right of the others.
            ax.axhline(part["sigma"].iloc[0], color=color, lw=0.9, ls="--", label=f"all {part['k'].iloc[0]}")
            continue
        ax.plot(part["k"], part["sigma"], color=color, marker=marker, ms=3.2, label=str(way))
        if (part["high"] > part["low"]).any():
            ax.fill_between(part["k"], part["low"], part["high"], color=color, alpha=0.18, lw=0)
    found = [] if measured is None else list(measured.groupby("choice", sort=False))
    for place, (way, part) in enumerate(found):
        color, marker = _look(str(way), place)
        ax.plot(
            part["k"], part["sigma"], ls="none", marker=marker, mfc="none", mec=color, ms=4.5, label=f"{way}, found"
        )
    if any((np.asarray(line.get_ydata()) > 0).any() for line in ax.get_lines()):
        # Of one phase the lithiation is known without measuring it: no error has a logarithm.
        ax.set_yscale("log")
    ax.xaxis.get_major_locator().set_params(integer=True)
    of = component or ("lithiation" if what == "lithiation" else "weights, the largest")
    text = wording.wrapped(wording.label_text(f"Predicted error of the {of}", unit), 46)
    ax.set(xlabel="Number of energies", ylabel="\n".join(text))
    ax.grid(True, axis="y", which="both")
    look.legend_below(ax, ax.get_legend_handles_labels()[1], 3)
