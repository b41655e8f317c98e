"""Spectro-microscopy of battery particles with exact ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from operando.core.errors import InputError, nearest
from operando.core.provenance import record
from operando.samples.stxm_fields import KINDS, make_particles
from operando.samples.stxm_imaging import Grid, Microscope
from operando.samples.stxm_record import add_composition, record_stack
from operando.samples.stxm_spectra import stxm_references

_WHERE = "stxm_particle"
_MISSING = "omega"


def stxm_particle(
    shape: Sequence[int] = (96, 96),
    *,
    kind: str = "core-shell",
    energies: Any = None,
    seed: int = 0,
    phases: Sequence[str] = ("alpha", "epsilon", "delta", "gamma"),
    missing_phase: bool = True,
    n_particles: int | None = None,
    radius_px: float | None = None,
    thickness_um: float = 0.25,
    thick_um: float | None = 0.8,
    mixing_px: float = 1.0,
    pixel_um: float = 0.03,
    i0_counts: float = 10_000.0,
    open_pixels: int = 400,
    blur_px: float = 0.4,
    drift_px: float = 0.5,
    stray: float = 0.001,
    dark: float = 10.0,
    dead_time_us: float = 0.0,
    dwell_ms: float = 1.0,
    boundary_tolerance: float = 0.01,
    thick_tolerance: float = 0.05,
    supersampling: int = 3,
) -> xr.Dataset:
    """Simulate a spectro-microscopy stack of lithiated V2O5 particles, with exact ground truth.

    Parameters
    ----------
    shape : (y, x)
        Pixels, at least 16 each.
    kind : {"core-shell", "wavefront", "mosaic"}
        How phases are spread in a particle: lithium grows from core to rim, along one direction, or domain by domain.
    energies : array-like, optional
        Photon energies in eV; default :func:`operando.samples.stxm_energies`, 81 of them unevenly spaced.
    seed : int
        Not negative. The same seed and arguments give the same numbers.
    phases : sequence of str
        That may be there and have a reference, in the order of their lithium; at least one.
    missing_phase : bool
        Whether the first particle holds a patch of omega-Li3V2O5, for which there is no reference.
    n_particles : int, optional
        At most so many; fewer where there is no room. Every third touches another. Default: what covers some 40 % of
        the image, at least 3.
    radius_px : float, optional
        About the geometric mean of a particle's semi-axes; default an eighth of the image.
    thickness_um : float
        Of a particle at its center, 70 to 100 % of this.
    thick_um : float or None
        The last particle is that thick, so that stray light saturates it; None: it is as the others.
    mixing_px : float
        Standard deviation of the mixing across a phase boundary.
    pixel_um : float
        Edge of a pixel.
    i0_counts : float
        Photons per pixel and energy without sample, about; they vary with energy as :func:`~stxm_imaging.beam` says.
    open_pixels : int
        Pixels beside the sample from whose counts ``i0`` is made.
    blur_px : float
        Standard deviation of the probe, a Gaussian.
    drift_px : float
        Root mean square of the drift along each axis.
    stray : float
        Share of the photons that no sample absorbs (higher orders, light beside the zone plate).
    dark : float
        Dark counts per pixel and energy.
    dead_time_us, dwell_ms : float
        For how long the counter is dead after a count, and time per pixel.
    boundary_tolerance, thick_tolerance : float
        Error of the optical density from which a pixel is flagged.
    supersampling : int
        Cells per pixel edge on which the sample is made.

    Returns
    -------
    Dataset
        What is measured: ``counts`` (energy, y, x) float32; ``i0`` and ``i0_sigma`` (energy); ``references``
        (component, energy) in um-1, those of *all* phases, with ``has_reference`` and ``stoichiometry`` (component).

        What is true: ``weight`` (component, y, x) in um; ``thickness`` (y, x) in um, their sum; ``optical_density``
        (energy, y, x), exactly ``weight`` times ``references``, without noise and drift; ``lithiation`` (y, x), x in
        Li_x V2O5, NaN outside of particles; ``particles`` (y, x) int32; ``shift_y`` and ``shift_x`` (energy) in um;
        ``partial_volume`` and ``saturation`` (y, x), the largest error over energy that each causes in the optical
        density, and the flags made from them, ``boundary`` and ``thick``; ``missing_reference``, where phases without a
        reference hold more than 5 % of the thickness. ``attrs``: what the microscope did, and ``simulated``.

    Raises
    ------
    InputError
        Where an argument is none of those above.

    Notes
    -----
    The sample is made on cells, ``supersampling`` to a pixel edge: ellipses or platelets with thickness
    :math:`t \\sqrt{1 - r^p}`, p from 2 to 6, and 5 % of roughness, each with two or more phases that follow one
    another in their lithium. Counted in a pixel at energy E are

    .. math:: N = N_0(E) \\left[(1 - s) \\int P(y, x)\\, e^{-\\sum_c w_c(y, x) \\mu_c(E)} + s\\right] + d

    with the footprint P of the pixel, its square blurred by the probe and moved by the drift, integrated over the cells
    in closed form: no interpolation, for any shift. Counts are Poisson; with a dead time they have the mean
    :math:`r T / (1 + r \\tau)` and the variance :math:`r T / (1 + r \\tau)^3` of that process, by scaling a Poisson
    number.

    *Truth* is what the same footprint averages without drift: ``weight`` is :math:`\\int P w_c`. What that leaves to
    ``partial_volume`` is that the logarithm of an average is not the average of logarithms: transmission is averaged,
    optical density is not. ``saturation`` is :math:`\\ln[(1 - s) e^{-OD} + s] + OD`. Both are of the noise-free optical
    density, at the worst energy.

    Lithiation is weighted by thickness: :math:`x = \\sum_c w_c x_c / \\sum_c w_c`. That is also by mole of vanadium if
    phases hold the same amount of it per volume, which is assumed.

    A drift moves the sample in the image as :func:`operando.spectral.align` defines it: what is at (y, x) is seen at
    (y + shift_y, x + shift_x). It is a random walk with some three jumps, of mean zero.

    Memory: the stack twice in float64 and once in float32.

    References
    ----------
    Phases of Li_x V2O5: Delmas et al., Solid State Ionics 69, 257 (1994).

    Examples
    --------
    >>> made = stxm_particle((32, 32), kind="wavefront", energies=[513.0, 518.5, 529.75], seed=1)
    >>> made.counts.dims, made.component.values.tolist()
    (('energy', 'y', 'x'), ['alpha', 'epsilon', 'delta', 'gamma', 'omega'])
    >>> made.has_reference.values.tolist()
    [True, True, True, True, False]
    >>> bool(abs((made.weight * made.references).sum("component") - made.optical_density).max() < 1e-12)
    True
    """
    if kind not in KINDS:
        raise InputError(f"{_WHERE}: kind must be one of {', '.join(KINDS)}, got {kind!r}. {nearest(str(kind), KINDS)}")
    rows, columns = _shape(shape)
    microscope = Microscope(
        i0_counts=float(i0_counts),
        open_pixels=int(open_pixels),
        blur_px=float(blur_px),
        drift_px=float(drift_px),
        stray=float(stray),
        dark=float(dark),
        dead_time_us=float(dead_time_us),
        dwell_ms=float(dwell_ms),
    )
    names = [str(name) for name in phases]
    radius = 0.125 * min(rows, columns) + 1.5 if radius_px is None else float(radius_px)
    count = max(3, round(0.4 * rows * columns / (np.pi * radius**2))) if n_particles is None else int(n_particles)
    microscope.check(
        _WHERE,
        seed=seed,
        radius_px=radius,
        n_particles=count,
        thickness_um=thickness_um,
        thick_um=thickness_um if thick_um is None else thick_um,
        pixel_um=pixel_um,
        mixing_px=mixing_px,
        supersampling=supersampling,
    )
    if not names or len(set(names)) != len(names) or (missing_phase and _MISSING in names):
        raise InputError(
            f"{_WHERE}: phases must be at least one name, each once and without {_MISSING!r}, which has no reference, "
            f"got {names}. To give it one, pass missing_phase=False."
        )
    spectra = stxm_references([*names, _MISSING] if missing_phase else names, energies=energies)
    grid = Grid((rows, columns), pad=2 + int(np.ceil(6 * microscope.blur_px)), fine=int(supersampling))
    y, x = grid.points
    particles = make_particles(
        y,
        x,
        frame=(rows, columns),
        kind=kind,
        phases=len(names),
        missing=missing_phase,
        count=count,
        radius_px=radius,
        thickness_um=float(thickness_um),
        thick_um=None if thick_um is None else float(thick_um),
        mixing_px=float(mixing_px),
        seed=seed,
    )
    made = record_stack(
        particles.fraction * particles.thickness,
        grid,
        spectra,
        microscope,
        pixel_um=pixel_um,
        seed=seed,
        boundary_tolerance=float(boundary_tolerance),
        thick_tolerance=float(thick_tolerance),
    )
    middle = tuple(slice((grid.pad * grid.fine) + grid.fine // 2, -grid.pad * grid.fine, grid.fine) for _ in range(2))
    labels = np.ascontiguousarray(particles.label[middle])
    made["particles"] = (("y", "x"), labels, {"long_name": "Particle (0: none)", "simulated": True})
    add_composition(
        made,
        inside=labels > 0,
        has_reference=[True] * len(names) + [False] * missing_phase,
        stoichiometry=spectra.stoichiometry.values,
        host="Li_x V2O5",
    )
    settings = {"shape": [rows, columns], "kind": kind, "seed": seed, "phases": names, "missing_phase": missing_phase}
    made.attrs.update(kind=kind, pixel_um=float(pixel_um), provenance=record("stxm_particle", settings))
    return made


def _shape(shape: Sequence[int]) -> tuple[int, int]:
    sizes = np.asarray(shape)
    if sizes.shape != (2,) or sizes.dtype.kind not in "iuf" or not np.all((sizes >= 16) & (sizes == np.floor(sizes))):
        raise InputError(f"{_WHERE}: shape must be two numbers of pixels (y, x), at least 16 each, got {shape}.")
    return int(sizes[0]), int(sizes[1])
