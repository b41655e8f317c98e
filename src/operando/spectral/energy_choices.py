"""Other ways to choose photon energies, and the error of each against their number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando.core.errors import InputError, nearest
from operando.spectral.energy_errors import candidate_energies, design, predicted_errors
from operando.spectral.energy_selection import CRITERIA, search
from operando.spectral.match import References, match_energies
from operando.spectral.stacks import ENERGY_ATTRS, whole_number

CHOICES = ("optimal", "greedy", "expert", "even", "random")


def expert_energies(references: References, k: int, *, candidates: Any = None) -> xr.DataArray:
    """Choose k energies as a person would: before the edge, the peaks of each phase, behind the edge.

    Parameters
    ----------
    references : DataArray, dims (component, energy), or mapping of names to spectra
        Optical density.
    k : int
        How many.
    candidates : array of eV, optional
        Energies to choose from; default those of the references.

    Returns
    -------
    DataArray, dims (energy,), units "eV"
        Ascending.

    Raises
    ------
    InputError
        Where k is not between 1 and the number of candidates.

    Notes
    -----
    In this order until there are k: the lowest energy; the highest maximum of each phase; the highest energy; further
    maxima of each phase in turn, most prominent first; then the candidate farthest from any chosen one. A
    maximum next to a chosen energy counts as chosen. This is the baseline beside :func:`select_energies`, not a
    recommendation.

    Examples
    --------
    >>> peaks = xr.DataArray([[0, 0, 2.0, 1, 1, 1], [0, 0, 1, 1, 3.0, 1]], dims=("component", "energy"),
    ...     coords={"component": ["a", "b"], "energy": [700.0, 704.0, 708.0, 709.0, 710.0, 730.0]})
    >>> expert_energies(peaks, 3).values.tolist(), expert_energies(peaks, 4).values.tolist()
    ([700.0, 708.0, 710.0], [700.0, 708.0, 710.0, 730.0])
    """
    from scipy.signal import find_peaks

    where = "expert_energies"
    spectra = match_energies(references, np.sort(candidate_energies(references, candidates, where=where)))
    energy, values = np.asarray(spectra["energy"].values, dtype=float), np.asarray(spectra.values, dtype=float)
    k = whole_number(k, 1, energy.size, where=where, name="k", remedy="There are as many candidates.")
    ranked = []
    for row in values:
        peaks, found = find_peaks(row, prominence=0.0)
        others = [int(at) for at in peaks[np.argsort(-found["prominences"], kind="stable")] if at != row.argmax()]
        ranked.append([int(row.argmax()), *others])
    turns = [[row[turn] for row in ranked if turn < len(row)] for turn in range(max(len(row) for row in ranked))]
    chosen: list[int] = [0]
    for at in [*turns[0], energy.size - 1, *(at for turn in turns[1:] for at in turn)]:
        if len(chosen) < k and min(abs(at - other) for other in chosen) > 1:
            chosen.append(at)
    while len(chosen) < k:
        gap = np.abs(energy[:, None] - energy[chosen]).min(axis=1)
        chosen.append(int(gap.argmax()))
    picked = np.sort(energy[chosen])
    return xr.DataArray(
        picked,
        dims=("energy",),
        coords={"energy": ("energy", picked, ENERGY_ATTRS)},
        name="selected",
        attrs=ENERGY_ATTRS,
    )


def error_against_k(
    references: References,
    ks: int | Iterable[int],
    *,
    stoichiometry: Any = None,
    criterion: str = "d-optimal",
    choices: Sequence[str] = CHOICES,
    draws: int = 20,
    seed: int = 0,
    candidates: Any = None,
    photons: Any = 10_000.0,
    thickness: float | None = None,
    composition: Any = None,
    background: str | Sequence[str] | None = None,
    sigma: Any = None,
    energy_error: float = 0.0,
) -> pd.DataFrame:
    """Predicted errors against the number of energies at one total dose, for several ways to choose them.

    Parameters
    ----------
    references, stoichiometry, criterion, candidates, photons, thickness, composition, background, sigma,
    energy_error
        As in :func:`select_energies`.
    ks : numbers of energies
        Those that no choice can serve (fewer than unknowns) are left out.
    choices : among "optimal", "greedy", "expert", "even", "random"
        ``optimal`` is greedy choice with exchange; ``even`` takes candidates at equal distances in the list.
    draws : int
        Random choices per k.
    seed : int
        Of the random choices.

    Returns
    -------
    DataFrame
        Columns ``k, choice, quantity, component, sigma, low, high``: ``quantity`` is ``weight`` (one row per reference)
        or, with ``stoichiometry``, ``lithiation`` (component ""). For ``random`` the median over draws, and
        the quantiles of 5 and 95 %; elsewhere ``low = high = sigma``. A last choice ``all`` has every candidate.
        ``sigma`` is infinite where a choice does not determine the weights.

    Raises
    ------
    InputError
        As :func:`select_energies`, and where a choice or criterion is unknown.

    Notes
    -----
    See :func:`select_energies` for what is, and is not, in these errors.

    Examples
    --------
    >>> peaks = xr.DataArray([[0, 0, 2.0, 1, 1, 1], [0, 0, 1, 1, 3.0, 1]], dims=("component", "energy"),
    ...     coords={"component": ["a", "b"], "energy": [700.0, 704.0, 708.0, 709.0, 710.0, 730.0]})
    >>> table = error_against_k(peaks, [2, 3], choices=["optimal"], stoichiometry={"a": 0, "b": 1})
    >>> table[table.quantity == "lithiation"][["k", "choice"]].to_numpy().tolist()
    [[2, 'optimal'], [3, 'optimal'], [6, 'all']]
    """
    where = "error_against_k"
    for choice in choices:
        if choice not in CHOICES:
            raise InputError(
                f"{where}: a choice is one of {', '.join(CHOICES)}, got {choice!r}. {nearest(choice, CHOICES)}"
            )
    if criterion not in CRITERIA:
        raise InputError(
            f"{where}: criterion is one of {', '.join(CRITERIA)}, got {criterion!r}. {nearest(criterion, CRITERIA)}"
        )
    problem = design(
        references,
        energies=candidate_energies(references, candidates, where=where),
        stoichiometry=stoichiometry,
        photons=photons,
        thickness=thickness,
        composition=composition,
        background=background,
        sigma=sigma,
        energy_error=energy_error,
        where=where,
    )
    ascending = np.argsort(problem.energy)
    random = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for k in sorted({int(k) for k in (ks if isinstance(ks, Iterable) else [ks])}):
        if not problem.columns <= k <= problem.energy.size:
            continue
        for choice in choices:
            if choice in ("optimal", "greedy"):
                picks = [search(problem, k, criterion, "exchange" if choice == "optimal" else "greedy", [])]
            elif choice == "expert":
                wanted = expert_energies(references, k, candidates=problem.energy).values
                picks = [[int(np.abs(problem.energy - energy).argmin()) for energy in wanted]]
            elif choice == "even":
                picks = [ascending[np.linspace(0, ascending.size - 1, k).round().astype(int)].tolist()]
            else:
                picks = [random.choice(problem.energy.size, k, replace=False).tolist() for _ in range(draws)]
            rows += _rows([predicted_errors(problem, pick) for pick in picks], k, choice)
    every = problem.energy.size
    rows += _rows([predicted_errors(problem, range(every))], every, "all")
    return pd.DataFrame(rows, columns=["k", "choice", "quantity", "component", "sigma", "low", "high"])


def _rows(errors: list[xr.Dataset], k: int, choice: str) -> list[dict[str, Any]]:
    found: list[tuple[str, str, np.ndarray]] = [
        ("weight", str(name), np.array([float(error["weight_sigma"][j]) for error in errors]))
        for j, name in enumerate(errors[0]["component"].values)
    ]
    if "lithiation_sigma" in errors[0]:
        found.append(("lithiation", "", np.array([float(error["lithiation_sigma"]) for error in errors])))
    rows = []
    for quantity, component, values in found:
        low, middle, high = np.quantile(values, [0.05, 0.5, 0.95], method="closest_observation")
        rows.append(
            {
                "k": k,
                "choice": choice,
                "quantity": quantity,
                "component": component,
                "sigma": middle,
                "low": low,
                "high": high,
            }
        )
    return rows
