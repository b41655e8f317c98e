"""Multivariate curve resolution: spectra that are not known yet, beside those that are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from operando.core import provenance
from operando.core.errors import InputError, nearest
from operando.spectral.factorization import fit_every_pixel, fitted_weights
from operando.spectral.match import match_energies, with_energies
from operando.spectral.nnls import nonnegative_least_squares
from operando.spectral.pixels import as_mask, as_spectra, sample_pixels
from operando.spectral.stacks import as_stack, whole_number
from operando.spectral.unmix_problem import background_terms, term_values


def mcr_als(
    stack: Any,
    initial: Any,
    *,
    fixed: str | Sequence[str] = (),
    unknown: int = 0,
    nonnegative: bool = True,
    closure: bool = False,
    background: str | Sequence[str] | None = None,
    mask: Any = None,
    tolerance: float = 1e-6,
    max_iter: int = 500,
    max_pixels: int = 50_000,
    seed: int = 0,
) -> xr.Dataset:
    """Find spectra and weights by alternating least squares, some of the spectra known.

    Parameters
    ----------
    stack : DataArray, dims (energy, [z], y, x), units "1"
        Optical density, NaN where missing. May be lazy.
    initial : DataArray, dims (component, energy), mapping of names to spectra, or Dataset with ``spectrum``
        Known spectra, and guesses (those of :func:`cluster`, for example).
    fixed : names, or "all"
        Spectra of ``initial`` that are known and held.
    unknown : int
        Further spectra of which nothing is known; each starts as the mean spectrum of the pixels that those before it
        explain worst.
    nonnegative : bool
        Neither weights nor free spectra may be negative.
    closure : bool
        Weights of a pixel add up to one: for a stack divided by its thickness.
    background : optional
        Background terms as in :func:`unmix`, free in sign, known in shape.
    mask : bool array, dims ([z], y, x), optional
        True where a pixel counts.
    tolerance : float
        Ends when an iteration lowers the lack of fit by less than this share of it.
    max_iter : int
    max_pixels, seed
        Spectra are found on at most that many pixels, drawn at random; weights are then fitted to every pixel. A phase
        in few pixels of a large image may be missed by the draw: pass a mask around it.

    Returns
    -------
    Dataset
        ``weight`` (component, [z], y, x), ``spectrum`` (component, energy), ``r_factor`` ([z], y, x), ``purity``
        (component), as :func:`nmf`; one image per background term; ``free`` (component), which spectra were not held;
        ``lack_of_fit`` (iteration). ``attrs``: ``converged``, ``iterations``, ``lack_of_fit`` over every pixel,
        ``vanished`` (components that no pixel needs). A free spectrum is scaled to the mean of the initial ones, so
        that its weights are thicknesses if it absorbs as they do on average; with ``closure`` nothing is scaled.

    Raises
    ------
    InputError
        Where there is no spectrum at all, a name is unknown, or no pixel has every energy.

    Notes
    -----
    In turn, :math:`W = \\arg\\min \\|X - W S\\|` and :math:`S_{free} = \\arg\\min \\|X - W_{known} S_{known} - W_{free}
    S\\|`, each by :func:`nonnegative_least_squares`, exact for all pixels, or all energies, at once; the lack of fit
    :math:`\\sqrt{\\sum (X - W S)^2 / \\sum X^2}` never rises. All pixels and energies weigh the same.

    **Rotational ambiguity.** A free spectrum :math:`s` explains the stack as well as :math:`s + c\\,s_{known}` where
    that leaves all weights non-negative: it is determined only where it is alone in some pixel. ``purity`` is its share
    in the ten pixels where it is highest; well below 1, its spectrum is one of many, most likely mixed with those of
    its neighbors. Different starts (``initial``, ``seed``) that end at different spectra show the same.

    **What else is not explained.** A free spectrum takes on whatever the known ones leave over: saturated pixels,
    boundaries that the probe blurs. Mask these (:func:`flags`), or it is theirs.

    Unimodality, a constraint from chromatography, is not offered: spectra have many peaks.

    Memory: ``max_pixels`` times energies in float64, three times; the weights; a block of 64 MiB.

    References
    ----------
    R. Tauler, Chemom. Intell. Lab. Syst. 30 (1995) 133; A. de Juan, J. Jaumot, R. Tauler, Anal. Methods 6 (2014) 4964.

    Examples
    --------
    Spectrum ``a`` is known. The other pixels show what ``b`` looks like, alone in the last:

    >>> energy = [708.0, 710.0, 712.0]
    >>> a = xr.DataArray([1.0, 2.0, 3.0], dims="energy", coords={"energy": energy})
    >>> shares = np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
    >>> od = np.einsum("ke,kx->ex", [[1.0, 2.0, 3.0], [3.0, 1.0, 2.0]], shares)[:, None]
    >>> stack = xr.DataArray(od, dims=("energy", "y", "x"), coords={"energy": energy})
    >>> found = mcr_als(stack, {"a": a}, fixed="all", unknown=1)
    >>> found["spectrum"].values[1].round(3).tolist(), abs(found["weight"].values[1, 0]).round(3).tolist()
    ([3.0, 1.0, 2.0], [0.0, 1.0, 1.0])
    """
    where = "mcr_als"
    if isinstance(initial, xr.Dataset):
        if "spectrum" not in initial:
            raise InputError(f"{where}: a Dataset of initial spectra has the variable 'spectrum', got {list(initial)}.")
        initial = initial["spectrum"]
    data = as_spectra(with_energies(as_stack(stack, where=where), initial, where=where), where=where)
    use = as_mask(mask, data, where=where)
    known = match_energies(initial, data)
    names = [str(name) for name in known["component"].values]
    held = _held(names, fixed, where=where)
    unknown = whole_number(unknown, 0, where=where, name="unknown", remedy="It is how many spectra are to be found.")
    _, rows = sample_pixels(data, use, most=max_pixels, seed=seed, where=where)
    if not rows.any():
        raise InputError(f"{where}: some optical density must not be zero, got {len(rows)} pixels of zeros. Check I0.")
    spectra = np.asarray(known.values, dtype=float)
    level = float(np.abs(spectra).mean())
    energies = np.asarray(known["energy"].values, dtype=float)
    terms = {term: term_values(term, energies) for term in background_terms(background, where=where)}
    offsets = np.array([*terms.values()]).reshape(len(terms), energies.size)
    for k in range(unknown):
        start = _worst_explained(rows, offsets, spectra, nonnegative)
        if not start.any():
            raise InputError(f"{where}: nothing is left over for spectrum {k + 1} of {unknown}. Ask for fewer.")
        spectra = np.vstack([spectra, start * (level / np.abs(start).mean())])
        names.append(f"unknown {k + 1}")
    free = np.array([*(~held), *[True] * unknown])
    spectra, history, converged = _alternate(
        rows, offsets, spectra, free, nonnegative, closure, 0.0 if closure else level, tolerance, max_iter
    )
    made = fit_every_pixel(
        data,
        use,
        spectra,
        names,
        {"converged": converged},
        nonnegative=nonnegative,
        sum_to_one=closure,
        terms=terms,
    )
    made["spectrum"].attrs["units"] = str(known.attrs.get("units", "1"))
    if str(known.attrs.get("units", "1")) == "um-1":
        made["weight"].attrs["units"] = "um"
    made["free"] = ("component", free, {"long_name": "Spectrum was not held"})
    made["lack_of_fit"] = ("iteration", history, {"units": "1", "long_name": "Lack of fit"})
    vanished = [name for name, weight in zip(names, made["weight"].values, strict=True) if not np.nansum(weight) > 0]
    settings = {
        "fixed": [name for name, keep in zip(names, ~free, strict=True) if keep],
        "unknown": unknown,
        "nonnegative": nonnegative,
        "closure": closure,
        "background": list(terms),
        "tolerance": tolerance,
        "max_iter": max_iter,
        "max_pixels": max_pixels,
        "seed": seed,
    }
    made.attrs |= {"iterations": history.size, "vanished": vanished, "provenance": provenance.record(where, settings)}
    return made


def _held(names: list[str], fixed: str | Sequence[str], *, where: str) -> np.ndarray:
    if isinstance(fixed, str):
        fixed = names if fixed == "all" else [fixed]
    for name in fixed:
        if name not in names:
            raise InputError(
                f"{where}: a fixed spectrum is one of the initial ones, got {name!r}. {nearest(name, names)}"
            )
    return np.array([name in fixed for name in names])


def _worst_explained(rows: np.ndarray, offsets: np.ndarray, spectra: np.ndarray, nonnegative: bool) -> np.ndarray:
    """Mean spectrum of the 1 % of pixels, five at least, with the largest residual, without its background."""
    columns, unbounded = np.vstack([offsets, spectra]), len(offsets)
    weight = fitted_weights(rows, columns, nonnegative=nonnegative, unbounded=unbounded)
    left = ((rows - weight @ columns) ** 2).sum(axis=1)
    worst = np.argsort(left)[-max(min(5, left.size), left.size // 100) :]
    seen = rows[worst] - weight[worst, :unbounded] @ offsets
    start = np.average(seen, axis=0, weights=left[worst] if left[worst].sum() > 0 else None)
    return np.maximum(start, 0.0) if nonnegative else np.asarray(start)


def _alternate(
    rows: np.ndarray,
    offsets: np.ndarray,
    spectra: np.ndarray,
    free: np.ndarray,
    nonnegative: bool,
    closure: bool,
    level: float,
    tolerance: float,
    max_iter: int,
) -> tuple[np.ndarray, np.ndarray, bool]:
    square = float((rows**2).sum())
    history: list[float] = []
    unbounded = len(offsets)
    moving = np.concatenate([np.zeros(unbounded, dtype=bool), free])
    columns = np.vstack([offsets, spectra])
    for _ in range(max_iter):
        weight = fitted_weights(rows, columns, nonnegative=nonnegative, sum_to_one=closure, unbounded=unbounded)
        history.append(float(np.sqrt(((rows - weight @ columns) ** 2).sum() / square)))
        done = len(history) > 1 and history[-2] - history[-1] <= tolerance * history[-2]
        if done or not free.any() or history[-1] < 1e-12:
            return columns[unbounded:], np.array(history), True
        amount = weight[:, moving]
        gram = amount.T @ amount
        target = amount.T @ rows - (amount.T @ weight[:, ~moving]) @ columns[~moving]
        if nonnegative:
            updated = nonnegative_least_squares(gram, target.T).T
        else:
            updated = np.linalg.lstsq(gram, target, rcond=None)[0]
        if level:
            mean = np.abs(updated).mean(axis=1, keepdims=True)
            # One that no pixel needs any more is left as it was.
            updated = np.where(mean > 0, updated * (level / np.where(mean > 0, mean, 1.0)), columns[moving])
        columns = columns.copy()
        columns[moving] = updated
    return columns[unbounded:], np.array(history), False
