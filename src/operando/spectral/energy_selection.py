"""Which few photon energies tell the phases apart best, for given references, thickness and dose."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
import xarray as xr

from operando.core import provenance
from operando.core.errors import InputError, nearest
from operando.spectral.energy_errors import Design, design
from operando.spectral.match import References
from operando.spectral.stacks import ENERGY_ATTRS, whole_number

CRITERIA = ("d-optimal", "a-optimal", "lithiation")
SEARCHES = ("exchange", "greedy", "exhaustive")
MOST_COMBINATIONS = 2_000_000
STARTS = 10
"""Random starts of the exchange, beside the greedy choice: single exchanges may end in a neighbor of the best."""


def select_energies(
    references: References,
    k: int,
    *,
    criterion: str = "d-optimal",
    method: str = "exchange",
    stoichiometry: Any = None,
    candidates: Any = None,
    include: float | Iterable[float] = (),
    photons: Any = 10_000.0,
    thickness: float | None = None,
    composition: Any = None,
    background: str | Sequence[str] | None = None,
    sigma: Any = None,
    energy_error: float = 0.0,
) -> xr.DataArray:
    """Choose the k photon energies that give the smallest errors of the weights for a total dose.

    Parameters
    ----------
    references : DataArray, dims (component, energy), or mapping of names to spectra
        Optical density, in units "1" (of a reference thickness) or "um-1".
    k : int
        How many images are to be measured: at least the number of references plus background terms.
    criterion : {"d-optimal", "a-optimal", "lithiation"}
        ``d-optimal``: smallest volume of the joint interval of all weights (independent of their scale).
        ``a-optimal``: smallest sum of their variances. ``lithiation``: smallest variance of x in Li_x M; needs
        ``stoichiometry``.
    method : {"exchange", "greedy", "exhaustive"}
        ``greedy`` adds one energy after the other; ``exchange`` then replaces energies one at a time as long as that
        helps, and does the same from ten random choices (always the same ten); ``exhaustive`` tries every combination,
        up to 2 million of them.
    stoichiometry : mapping of names to x, sequence or DataArray (component), optional
        Lithium per formula unit of each reference, None for one that is no host.
    candidates : array of eV, optional
        Energies to choose from; default those of the references (of the first, where they differ).
    include : energies in eV, optional
        That must be among the chosen, for example a pre-edge image to align with.
    photons : float or DataArray (energy)
        Incident photons per pixel over all images together; each of the k images gets 1/k of them (of those at
        its energy, where the beam is not equally bright).
    thickness : float, optional
        Thickness of the sample in the unit of the references (um, or multiples of the reference thickness). Default: an
        optical density of 1 where an equal mixture absorbs most.
    composition : array (mixture, component), optional
        Compositions over which errors are averaged, as shares of the thickness. Default: each pure phase and an
        equal mixture.
    background : optional
        Background terms as in :func:`unmix`: fitted too, and paid for.
    sigma : float or DataArray (energy), optional
        Error of the optical density of one image at the full dose instead of counting statistics: the error of one of
        k images is ``sigma * sqrt(k)``.
    energy_error : float, eV
        Standard deviation of the offset between the energies of the stack and those of the references. The default 0
        trusts them: then energies crowd on steep flanks, where an offset of a fraction of a step spoils the weights.

    Returns
    -------
    DataArray, dims (energy,), units "eV"
        The chosen energies, ascending. ``attrs`` hold criterion and method.

    Raises
    ------
    InputError
        Where k is too small or too large, a word is unknown, or references cannot be told apart by any choice.

    Notes
    -----
    Counting N photons through an optical density D gives it the variance (design matrix A of references and
    background, one row per energy)

    .. math:: \\sigma^2(E) = \\frac{e^{D(E)}}{N / k}, \\qquad M = A^T \\mathrm{diag}(\\sigma^{-2}) A, \\qquad
              \\mathrm{cov}(w) = M^{-1}

    An offset :math:`\\delta` of the energy scale shifts the weights by :math:`u\\,\\delta` with
    :math:`u = M^{-1} A^T \\mathrm{diag}(\\sigma^{-2})\\, \\partial D / \\partial E`, so that their mean square error is
    :math:`M^{-1} + \\delta^2 u u^T`. Criteria: log det, trace, or :math:`g^T (\\ldots)\\, g` with
    :math:`g_j = (x_j - x)/d` the slope of the lithiation, of the block of the weights, averaged over compositions. That
    is the error of an unconstrained least-squares fit with right weights; non-negativity makes it smaller near zero. An
    error of I0, drift, and references that are wrong are not in it: they do not fall with the dose, and more energies
    than the minimum are the only way to see them.

    ``exchange`` found the best of all combinations on 480 of 480 small random problems (14 candidates, 2 to 5
    energies), which is no proof for large ones. Ten of 500 candidates for four references take about a second.

    References
    ----------
    V. V. Fedorov, Theory of Optimal Experiments (1972); A. C. Atkinson, A. N. Donev, Optimum Experimental Designs
    (1992) ch. 11, 12.

    Examples
    --------
    Two phases that absorb at one energy each, and a third energy where neither does: that one tells nothing.

    >>> references = xr.DataArray([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], dims=("component", "energy"),
    ...     coords={"component": ["a", "b"], "energy": [700.0, 708.0, 710.0]})
    >>> select_energies(references, 2).values.tolist()
    [708.0, 710.0]
    """
    where = "select_energies"
    if criterion not in CRITERIA:
        raise InputError(
            f"{where}: criterion is one of {', '.join(CRITERIA)}, got {criterion!r}. {nearest(criterion, CRITERIA)}"
        )
    if method not in SEARCHES:
        raise InputError(
            f"{where}: method is one of {', '.join(SEARCHES)}, got {method!r}. {nearest(method, SEARCHES)}"
        )
    if criterion == "lithiation" and stoichiometry is None:
        raise InputError(
            f"{where}: the criterion 'lithiation' needs the x of each reference. Pass stoichiometry={{name: x, ...}}."
        )
    problem = design(
        references,
        energies=candidates,
        stoichiometry=stoichiometry,
        photons=photons,
        thickness=thickness,
        composition=composition,
        background=background,
        sigma=sigma,
        energy_error=energy_error,
        where=where,
    )
    if criterion == "lithiation" and problem.gradient is not None and not np.nan_to_num(problem.gradient).any():
        raise InputError(
            f"{where}: the criterion 'lithiation' needs two references of different x, got {stoichiometry!r}. "
            "Choose by 'd-optimal'."
        )
    fixed = _positions(problem, include, where=where)
    least, most = max(problem.columns, len(fixed)), problem.energy.size
    remedy = "The least is one per reference and background term, or all to include; the most, all candidates."
    k = whole_number(k, least, most, where=where, name="k", remedy=remedy)
    chosen = search(problem, k, criterion, method, fixed, where=where)
    if not np.isfinite(problem.value(chosen, criterion)):
        raise InputError(
            f"{where}: no choice of {k} energies tells the references {', '.join(problem.names)} apart. "
            "Leave one out: see collinearity."
        )
    energies = np.sort(problem.energy[chosen])
    settings = {
        "k": k,
        "criterion": criterion,
        "method": method,
        "photons": np.asarray(photons).tolist(),
        "thickness": problem.thickness,
        "energy_error": energy_error,
    }
    return xr.DataArray(
        energies,
        dims=("energy",),
        coords={"energy": ("energy", energies, ENERGY_ATTRS)},
        name="selected",
        attrs={
            **ENERGY_ATTRS,
            "criterion": criterion,
            "method": method,
            "provenance": provenance.record(where, settings),
        },
    )


def _positions(problem: Design, include: float | Iterable[float], *, where: str) -> list[int]:
    found = []
    for energy in np.atleast_1d(np.asarray(list(include) if isinstance(include, Iterable) else include, dtype=float)):
        at = int(np.abs(problem.energy - float(energy)).argmin())
        off = abs(problem.energy[at] - float(energy))
        if off > 1e-3:
            raise InputError(
                f"{where}: an energy to include must be a candidate; the nearest to {float(energy):g} eV is "
                f"{problem.energy[at]:g} eV. Add it to the candidates."
            )
        found.append(at)
    return sorted(set(found))


def search(
    problem: Design, k: int, criterion: str, method: str, fixed: list[int], *, where: str = "select_energies"
) -> list[int]:
    """Positions of the k candidates that a search finds, ``fixed`` among them."""
    every = range(problem.energy.size)
    free = [at for at in every if at not in fixed]
    if method == "exhaustive":
        count = comb(len(free), k - len(fixed))
        if count > MOST_COMBINATIONS:
            raise InputError(
                f"{where}: {count} combinations are too many to try (at most {MOST_COMBINATIONS}). "
                "Use method='exchange', or fewer candidates."
            )
        best, lowest = [*fixed, *free[: k - len(fixed)]], np.inf
        for picked in combinations(free, k - len(fixed)):
            value = problem.value([*fixed, *picked], criterion)
            if value < lowest:
                best, lowest = [*fixed, *picked], value
        return best
    chosen = list(fixed)
    while len(chosen) < k:
        chosen.append(_best_addition(problem, chosen, criterion))
    if method == "greedy":
        return chosen
    random = np.random.default_rng(0)
    starts = [chosen, *([*fixed, *random.permutation(free)[: k - len(fixed)].tolist()] for _ in range(STARTS))]
    ends = [_exchanged(problem, start, len(fixed), criterion) for start in starts]
    return min(ends, key=lambda end: problem.value(end, criterion))


def _best_addition(problem: Design, chosen: list[int], criterion: str) -> int:
    # Fewer energies than unknowns determine nothing; a faint prior makes their order meaningful.
    values = problem.values_with_each(chosen, criterion, prior=1e-9)
    values[chosen] = np.inf
    return int(values.argmin())


def _exchanged(problem: Design, chosen: list[int], fixed: int, criterion: str) -> list[int]:
    value = problem.value(chosen, criterion)
    improved = True
    while improved:
        improved = False
        for place in range(fixed, len(chosen)):
            rest = chosen[:place] + chosen[place + 1 :]
            values = problem.values_with_each(rest, criterion)
            values[rest] = np.inf
            at = int(values.argmin())
            if values[at] < value - 1e-10 * max(1.0, abs(value)) or (
                not np.isfinite(value) and np.isfinite(values[at])
            ):
                chosen, value, improved = [*chosen[:place], at, *chosen[place + 1 :]], float(values[at]), True
    return chosen
