"""Pixels where a map must not be believed: partial volume, too thick, a phase without reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from operando.core.errors import InputError
from operando.core.provenance import record
from operando.spectral.ambiguity import coefficients, noise_of, weights_by_reference
from operando.spectral.flags_partial_volume import SHARPER
from operando.spectral.flags_residual import Pass, Setup, beyond, first_pass, second_pass, with_noise
from operando.spectral.match import References, match_energies, with_energies
from operando.spectral.stacks import ENERGY_ATTRS, as_stack, same_energies
from operando.spectral.unmix_noise import PoissonNoise
from operando.spectral.unmix_problem import background_terms, term_values

Floats = NDArray[np.float64]

_SURE = 0.75
"""Share of the tolerance from which on a pixel is flagged: its partial volume is estimated to about 30 %."""
_BELIEVED = 5.0
"""Sigmas from which on a stray fraction is believed that all pixels together show."""


def flags(
    optical_density: Any,
    references: References,
    unmixed: xr.Dataset,
    *,
    sigma: Any = None,
    background: str | Sequence[str] | None = None,
    saturated: Any = None,
    od_limit: Any = None,
    probe_px: float = 0.5,
    partial_volume_tolerance: float = 0.02,
    saturation_tolerance: float = 0.05,
    false_discovery_rate: float = 0.01,
) -> xr.Dataset:
    """Flag pixels whose weights are biased by more than their sigma says.

    Parameters
    ----------
    optical_density, references, sigma, background : as for :func:`unmix`
        What the weights were fitted with. With ``sigma=None`` it is taken to be the noise of counting, with as many
        incident photons at all energies as the residuals tell.
    unmixed : Dataset
        Result of :func:`unmix`, with ``weight`` and the background terms.
    saturated : DataArray of bool, dims (energy, [z], [y], [x]) or space dims, optional
        From :func:`normalize`: a pixel with one saturated energy is ``thick``.
    od_limit : float or DataArray (energy,), optional
        Largest OD to trust, such as ``optical_density_max`` of :func:`normalize`: a pixel whose *fitted* OD goes beyond
        is ``thick``. Stays right where the stack was aligned after normalization.
    probe_px : float
        Standard deviation of what a pixel sees, in pixels: that of the probe (0.42 times its full width at half
        maximum) and of the pixel itself (0.29) added in squares. 0.5 is a probe as wide as a pixel.
    partial_volume_tolerance, saturation_tolerance : float
        Error in optical density at any energy from which on a pixel is flagged.
    false_discovery_rate : float
        Expected share of false ones among the pixels flagged ``missing_reference``.

    Returns
    -------
    Dataset, space dims
        bool ``boundary``, ``thick``, ``missing_reference``; what they come from: ``partial_volume`` and ``flattening``,
        estimated errors of the OD at the worst energy, and ``structure``, in sigma; ``missing_spectrum`` (energy): what
        the residuals of the pixels without reference have in common, as OD, largest value 1, zero where there are none.
        In ``attrs``: ``probe_px``, ``stray_fraction``, ``stray_fraction_sigma``, ``noise_scale``,
        ``jitter_px``, ``notes``.

    Raises
    ------
    InputError
        Where weights do not belong to the image or references, or a number is out of range.

    Notes
    -----
    **Boundary.** A probe that sees different thicknesses or phases at once averages transmissions, not optical
    densities: the OD comes out too low by half its variance inside the probe, at every energy with its own share,

    .. math:: \\delta(E) = -\\tfrac12 s^2\\, |\\nabla \\mathrm{OD}(E)|^2, \\quad s^2 = 1.5\\, b^2

    for a probe of standard deviation b. The gradient is that of the fitted OD, its square the mean of those to both
    neighbors along each axis, less the noise of the fit. The factor 1.5 is what neighboring pixels, themselves blurred,
    do not show of the gradient (simulated particles, seeds from 3000 on). The estimate is good to about 30 %; a pixel
    is flagged from three quarters of the tolerance on.

    **Thick.** Beyond ``od_limit`` or ``saturated``, where given. Otherwise (and beside it in ``flattening``) from the
    line shape: light that the sample does not absorb (higher orders, stray light, a share f of I0) flattens strong
    lines. The residual is searched for the pattern exp(OD) - 1 in every pixel without much partial volume, and one f
    fitted to all, by

    .. math:: \\mathrm{flattening} = \\ln(1 - f) - \\ln(1 - f e^{\\mathrm{OD}})

    **Missing reference.** From the residual over sigma everything that the references, the background, partial volume
    and flattening can explain is projected out, pixel by pixel. What is left is chi-square distributed but for
    structure that none of them makes. From clear cases (p < 1e-6) the common spectrum is taken, and searched for in all
    pixels; a pixel is flagged by either test, both at half the ``false_discovery_rate`` (Benjamini and Hochberg 1995).

    **Noise.** The variance is taken to be ``noise_scale``^2 times that of sigma (of exp(OD) without sigma;
    interpolation on alignment makes it smaller), and ``jitter_px``^2 times the squared difference of the fitted OD to
    the neighbors (images that do not lie exactly on each other). Both come from medians of the pixels with sample: what
    *all* pixels have, such as a reference that is off everywhere, is no flag but a note.

    No OD is taken to be known better than 1e-6: the rounding of 32-bit floats is no structure.

    Memory: maps of the field, and a block of pixels with all energies, of a lazy stack 64 MB; it is read two to five
    times. Not lazy.

    Examples
    --------
    A column of a third spectrum in a sample of two phases:

    >>> rng = np.random.default_rng(1)
    >>> energy = np.linspace(510.0, 530.0, 40)
    >>> lines = np.exp(-0.5 * (energy - np.array([[515.0], [519.0], [525.0]])) ** 2)
    >>> spectra = xr.DataArray(lines, dims=("component", "energy"), coords={"component": list("abc"), "energy": energy})
    >>> weight = xr.DataArray(np.full((3, 6, 6), 0.4), dims=("component", "y", "x"), coords={"component": list("abc")})
    >>> weight[2] = [0.0, 0.0, 0.0, 0.0, 0.0, 0.1]
    >>> data = xr.dot(spectra, weight, dim="component") + 0.01 * rng.standard_normal((40, 6, 6))
    >>> fit = xr.Dataset({"weight": weight[:2]})
    >>> found = flags(data, spectra[:2], fit, sigma=0.01, probe_px=0.0)
    >>> found.missing_reference.values.sum(axis=0).tolist()
    [0, 0, 0, 0, 0, 6]
    """
    where = "flags"
    _check(partial_volume_tolerance, saturation_tolerance, false_discovery_rate, probe_px)
    stack = as_stack(optical_density, where=where, name="optical_density")
    stack = with_energies(stack, references, where=where)
    spectra = match_energies(references, stack)
    setup = with_noise(_setup(stack, spectra, unmixed, sigma, background, where), known=sigma is not None)
    found = first_pass(setup)
    notes: list[str] = []
    if setup.scale > 1.5 and sigma is not None:
        notes.append(
            f"Half of the pixels with sample fit worse than a reduced chi-square of {setup.scale:.2g}: references, "
            "energies, I0 or alignment are off everywhere, or sigma is too small. Flagged is what stands out from that."
        )
    partial = SHARPER * probe_px**2 * found.steepness
    flattening, stray, stray_sigma = _flattening(found, partial, partial_volume_tolerance, notes)
    thick = _thick(setup, saturated, od_limit, flattening > saturation_tolerance, where)
    missing, structure, spectrum = _missing(setup, found, false_discovery_rate)
    space = stack.dims[1:]
    shape = stack.shape[1:]
    unknown = ~found.valid

    def image(values: NDArray[Any], long_name: str, *, units: str | None = "1") -> xr.DataArray:
        made = xr.DataArray(values.reshape(shape), dims=space)
        made.attrs = {"long_name": long_name, **({"units": units} if units else {})}
        return made

    made = xr.Dataset(
        {
            "boundary": image((partial > _SURE * partial_volume_tolerance) & ~unknown, "Partial volume", units=None),
            "thick": image(thick, "Too thick", units=None),
            "missing_reference": image(missing & ~unknown, "Structure without a reference", units=None),
            "partial_volume": image(np.where(unknown, np.nan, partial), "Estimated error of OD by partial volume"),
            "flattening": image(np.where(unknown, np.nan, flattening), "Estimated error of OD by stray light"),
            "structure": image(np.where(unknown, np.nan, structure), "Residual structure in sigma"),
            "missing_spectrum": ("energy", spectrum, {"units": "1", "long_name": "Common residual, scaled to 1"}),
        },
        coords={name: c for name, c in stack.coords.items() if "energy" not in c.dims},
    )
    parameters = {
        "background": setup.terms,
        "partial_volume_tolerance": partial_volume_tolerance,
        "saturation_tolerance": saturation_tolerance,
        "false_discovery_rate": false_discovery_rate,
    }
    made.attrs = {
        "probe_px": float(probe_px),
        "stray_fraction": stray,
        "stray_fraction_sigma": stray_sigma,
        "noise_scale": float(np.sqrt(setup.scale)),
        "jitter_px": float(np.sqrt(setup.jitter)),
        "notes": notes,
        "provenance": record("operando.spectral.flags", parameters),
        **({"simulated": True} if stack.attrs.get("simulated") else {}),
    }
    return made.assign_coords(energy=("energy", setup.energies, ENERGY_ATTRS))


def _check(partial: float, saturation: float, rate: float, probe_px: float) -> None:
    if not (partial > 0 and saturation > 0 and 0 < rate < 1):
        raise InputError(
            "flags: tolerances must be positive errors of the OD and false_discovery_rate between 0 and 1, got "
            f"{partial!r}, {saturation!r} and {rate!r}. Leave them out to take the defaults."
        )
    if not (np.isfinite(probe_px) and probe_px >= 0):
        raise InputError(f"flags: probe_px must be zero or more pixels, got {probe_px!r}. Use 0.5, for example.")


def _setup(
    stack: xr.DataArray,
    spectra: xr.DataArray,
    unmixed: xr.Dataset,
    sigma: Any,
    background: str | Sequence[str] | None,
    where: str,
) -> Setup:
    weight = weights_by_reference(unmixed, spectra, stack, where)
    energies = np.asarray(spectra["energy"].values, dtype=float)
    terms = background_terms(background, where=where)
    parts = coefficients(unmixed, weight, terms, where)
    error, _ = noise_of(sigma, stack, where)
    noise = None
    if isinstance(sigma, PoissonNoise):
        noise = (*sigma.at(stack), float(sigma.dark), float(sigma.photons_per_count))
    elif sigma is None:
        # Counting noise grows with the square root of exp(OD); one photon, until the residuals tell how many.
        noise = (np.ones(energies.size), np.zeros(energies.size), 0.0, 1.0)
    return Setup(
        stack=stack,
        error=error,
        noise=noise,
        design=np.column_stack([*(term_values(term, energies) for term in terms), spectra.values.T]),
        coefficients=np.asarray(parts.values, dtype=float),
        terms=list(terms),
        energies=energies,
    )


def _flattening(found: Pass, partial: Floats, tolerance: float, notes: list[str]) -> tuple[Floats, float, float]:
    """Estimated flattening per pixel, and the stray fraction with its sigma."""
    from scipy.optimize import minimize_scalar

    flat = found.clean() & (partial < tolerance) & (found.highest > 0.3) & (found.flat_square > 0)
    nothing = np.zeros(partial.shape), 0.0, np.nan
    if flat.sum() < 10:
        return nothing
    square, highest = found.flat_square[flat], found.highest[flat]
    effect = found.flat_found[flat] / square

    def misfit(log_fraction: float) -> float:
        off = effect - flattening_of(highest, float(np.exp(log_fraction)))
        # A pixel that is off for another reason counts as 4 sigma, however far off it is.
        return float(np.sum(np.minimum(square * off**2, 16.0)))

    grid = np.linspace(np.log(1e-6), np.log(0.3), 120)
    near = int(np.argmin([misfit(at) for at in grid]))
    around = grid[max(near - 1, 0)], grid[min(near + 1, grid.size - 1)]
    best = minimize_scalar(misfit, bounds=around, method="bounded")
    fraction, gain = float(np.exp(best.x)), float(np.sum(np.minimum(square * effect**2, 16.0)) - best.fun)
    if gain < _BELIEVED**2:
        return nothing
    stray_sigma = fraction / np.sqrt(gain)
    notes.append(f"Line shapes flatten as with {fraction:.2g} +- {stray_sigma:.1g} of I0 not absorbed.")
    return flattening_of(found.highest, fraction), fraction, float(stray_sigma)


def flattening_of(optical_density: Floats, fraction: float) -> Floats:
    """How much an OD found is too low where a fraction of I0 passes unabsorbed; beyond the largest possible OD, 3."""
    left = 1.0 - fraction * np.exp(np.minimum(optical_density, 50.0))
    return np.asarray(np.log1p(-fraction) - np.log(np.maximum(left, np.exp(-3.0))))


def _thick(setup: Setup, saturated: Any, od_limit: Any, flattened: NDArray[np.bool_], where: str) -> NDArray[np.bool_]:
    if saturated is None and od_limit is None:
        return flattened
    stack = setup.stack
    thick = np.zeros(flattened.shape, dtype=bool)
    if saturated is not None:
        whole = isinstance(saturated, xr.DataArray) and "energy" not in saturated.dims
        marked = as_stack(saturated, where=where, name="saturated", energy=not whole)
        if marked.shape != (stack.shape[1:] if whole else stack.shape) or marked.dtype != np.bool_:
            raise InputError(
                f"{where}: saturated must be bool and of the shape {stack.shape} of the stack or of its images, got "
                f"{marked.dtype} and {marked.shape}. Take it from spectral.normalize."
            )
        thick |= np.asarray((marked if whole else marked.any("energy")).values).ravel()
    if od_limit is not None:
        if isinstance(od_limit, xr.DataArray) and od_limit.dims == ("energy",):
            remedy = "Take optical_density_max from spectral.normalize."
            od_limit = same_energies(od_limit, setup.energies, where=where, name="od_limit", remedy=remedy)
        limit = np.asarray(od_limit.values if isinstance(od_limit, xr.DataArray) else od_limit, dtype=float)
        if limit.shape not in ((), (stack.sizes["energy"],)) or np.isnan(limit).any():
            raise InputError(
                f"{where}: od_limit must be one optical density or one per energy ({stack.sizes['energy']}), got the "
                f"shape {limit.shape}. Take optical_density_max from spectral.normalize."
            )
        thick |= beyond(setup, np.broadcast_to(limit, stack.sizes["energy"]))
    return thick


def _missing(setup: Setup, found: Pass, rate: float) -> tuple[NDArray[np.bool_], Floats, Floats]:
    """Flag, structure in sigma and common spectrum."""
    from scipy.stats import chi2, norm

    test = found.valid & (found.freedom > 0)
    chance = np.ones(test.shape)
    chance[test] = chi2.sf(found.square[test], found.freedom[test])
    missing = np.zeros(test.shape, dtype=bool)
    missing[test] = discoveries(chance[test], rate / 2)
    structure = norm.isf(np.clip(chance, 1e-300, 1.0 - 1e-16))
    clear = test & (chance < 1e-6)
    if clear.sum() < 3:
        return missing, structure, np.zeros(len(setup.energies))
    score, spectrum = second_pass(setup, clear)
    shared = np.zeros(test.shape, dtype=bool)
    shared[test] = discoveries(norm.sf(score[test]), rate / 2)
    return missing | shared, np.maximum(structure, score), spectrum


def discoveries(chance: Floats, rate: float) -> NDArray[np.bool_]:
    """Which of many tests to believe at a false discovery rate, from their p-values (Benjamini and Hochberg).

    Examples
    --------
    >>> discoveries(np.array([0.001, 0.02, 0.2, 0.9]), 0.05).tolist()
    [True, True, False, False]
    """
    order = np.sort(chance)
    passed = np.flatnonzero(order <= rate * np.arange(1, order.size + 1) / max(order.size, 1))
    return np.asarray(chance <= (order[passed[-1]] if passed.size else -1.0))
