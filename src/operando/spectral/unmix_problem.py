"""What is the same for all pixels of a fit: references and background as the columns of one design."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from operando.core.errors import InputError, nearest
from operando.spectral.match import match_energies
from operando.spectral.nnls import DEPENDENT, ENUMERATED, Table, enumerate_supports

Floats = NDArray[np.float64]

TERMS = {
    "constant": "1",
    "slope": "(E - mean E) per eV",
    "scattering": "(mean E / E) ** 2",
}
"""Background terms and what they are; E in eV."""
_BACKGROUNDS = {"constant": ("constant",), "linear": ("constant", "slope"), "scattering": ("constant", "scattering")}


@dataclass(frozen=True)
class Problem:
    """The design of a fit and its orthogonal factor.

    Attributes
    ----------
    names, terms : tuple of str
        References, and background terms.
    energies : ndarray (energy,)
        In eV, in the order of the stack.
    design : ndarray (energy, m)
        Columns: terms first, then references.
    precision : ndarray (energy,)
        1 / sigma^2 that all pixels share.
    basis, triangle : ndarray (energy, m), (m, m)
        ``basis @ triangle`` is the design; the columns of ``basis / sigma`` are orthonormal.
    table : Table or None
        Solutions of all supports.
    """

    names: tuple[str, ...]
    terms: tuple[str, ...]
    energies: Floats
    design: Floats
    precision: Floats
    basis: Floats
    triangle: Floats
    table: Table | None
    sum_to_one: bool
    unit: str

    @property
    def free(self) -> int:
        """How many columns may be negative."""
        return len(self.terms)

    @cached_property
    def operator(self) -> Floats:
        """What turns the data of a pixel into its target: (energy, m)."""
        return np.ascontiguousarray(self.basis * self.precision[:, None])

    @cached_property
    def uneven(self) -> bool:
        """Whether sigma differs from energy to energy."""
        return bool(np.ptp(self.precision) > 0)

    @cached_property
    def inverse(self) -> Floats:
        """What turns a target into the weights of the references without bound: (n, m)."""
        from operando.spectral.nnls_compiled import invert

        inverse = np.empty_like(self.triangle)
        invert(self.triangle, inverse)
        return np.ascontiguousarray(inverse[self.free :])

    @cached_property
    def dependent(self) -> NDArray[np.bool_]:
        """References that others, or the background, can replace without any change of the fit."""
        lengths = np.linalg.norm(self.triangle, axis=0)
        _, values, rows = np.linalg.svd(self.triangle / lengths)
        null = rows[values <= 100 * DEPENDENT * values[0]]
        found: NDArray[np.bool_] = (np.abs(null) > 1e-6).any(axis=0)[self.free :]
        return found

    def condition(self) -> float:
        """Condition number of the references, scaled to one length, after removal of the background."""
        block = self.triangle[self.free :, self.free :]
        values = np.linalg.svd(block / np.linalg.norm(self.triangle[:, self.free :], axis=0), compute_uv=False)
        return float(values[0] / values[-1]) if values[-1] > 0 else float("inf")


def make_problem(
    references: Any,
    stack: xr.DataArray,
    *,
    background: str | Sequence[str] | None,
    sum_to_one: bool,
    precision: Floats | None,
    where: str,
) -> Problem:
    """Put references and background onto the energies of a stack and factorize them."""
    matched = match_energies(references, stack.coords["energy"]).transpose("energy", "component")
    energies = np.asarray(matched.coords["energy"].values, dtype=float)
    spectra = np.asarray(matched.values, dtype=float)
    names = tuple(map(str, matched.coords["component"].values))
    bad = ~np.isfinite(spectra).all(axis=0)
    if bad.any() or not (spectra != 0).any(axis=0).all():
        wrong = [
            name
            for name, column in zip(names, spectra.T, strict=True)
            if not (np.isfinite(column).all() and column.any())
        ]
        raise InputError(
            f"{where}: references must be finite and not zero everywhere, got otherwise for {', '.join(wrong)}. "
            "Leave them out or repair them."
        )
    terms = background_terms(background, where=where)
    design = np.column_stack([*(term_values(term, energies) for term in terms), spectra])
    count, unknowns = design.shape
    if count < unknowns:
        raise InputError(
            f"{where}: {len(names)} references and {len(terms)} background terms need at least "
            f"{unknowns} energies, got {count}. Use fewer references or measure more energies."
        )
    shared = np.ones(count) if precision is None else precision
    root = np.sqrt(shared)[:, None]
    basis, triangle = np.linalg.qr(design * root)
    free = len(terms)
    flat = np.abs(np.diagonal(triangle)[:free]) <= 1e-10 * np.linalg.norm(triangle[:, :free], axis=0)
    if flat.any():
        raise InputError(f"{where}: {count} energies cannot carry the background {', '.join(terms)}. Use fewer terms.")
    bounded = np.ascontiguousarray(triangle[free:, free:])
    table = enumerate_supports(bounded, sum_to_one=sum_to_one) if len(names) <= ENUMERATED else None
    return Problem(
        names=names,
        terms=terms,
        energies=energies,
        design=np.ascontiguousarray(design),
        precision=shared,
        basis=np.ascontiguousarray(basis / root),
        triangle=np.ascontiguousarray(triangle),
        table=table,
        sum_to_one=sum_to_one,
        unit=str(matched.attrs.get("units", "1")),
    )


def background_terms(background: str | Sequence[str] | None, *, where: str) -> tuple[str, ...]:
    """Return the terms of a background by its name, or as listed.

    Examples
    --------
    >>> background_terms("linear", where="example")
    ('constant', 'slope')
    """
    if background is None:
        return ()
    if isinstance(background, str):
        if background not in _BACKGROUNDS and background not in TERMS:
            raise InputError(
                f"{where}: background must be one of {', '.join(_BACKGROUNDS)} or a list of {', '.join(TERMS)}, got "
                f"{background!r}. {nearest(background, [*_BACKGROUNDS, *TERMS])}"
            )
        return _BACKGROUNDS.get(background, (background,))
    terms = tuple(map(str, background))
    for term in terms:
        if term not in TERMS:
            raise InputError(f"{where}: there is no background term {term!r}. {nearest(term, TERMS)}")
    if len(set(terms)) != len(terms):
        raise InputError(f"{where}: every background term may be given once, got {terms}. Leave out the repeated ones.")
    return terms


def term_values(term: str, energies: Floats) -> Floats:
    """Values of a background term of coefficient one at energies in eV."""
    mean = energies.mean()
    if term == "slope":
        return energies - mean
    if term == "scattering":
        return (mean / energies) ** 2
    return np.ones_like(energies)
