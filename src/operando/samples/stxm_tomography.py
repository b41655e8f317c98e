"""Spectro-tomography of battery particles with exact ground truth: projections over photon energy and angle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import labeled_image
from operando.core.errors import InputError, nearest
from operando.core.provenance import record
from operando.samples.fields import generator
from operando.samples.projections import line_integrals
from operando.samples.stxm_fields import KINDS, phase_field
from operando.samples.stxm_imaging import Microscope, beam, counted, open_region
from operando.samples.stxm_spectra import energy_axis, stxm_references

_WHERE = "stxm_tomography"
_TRIES = 200
ENERGIES = (513.0, 515.25, 516.75, 518.5, 529.75, 531.75)
"""Default photon energies in eV: before the edges, and at the peaks that tell alpha, delta and gamma apart."""


def stxm_tomography(
    shape: Sequence[int] = (32, 48, 48),
    *,
    n_angles: int = 60,
    angles: Any = None,
    kind: str = "core-shell",
    energies: Any = ENERGIES,
    seed: int = 0,
    phases: Sequence[str] = ("alpha", "delta", "gamma"),
    n_particles: int = 6,
    radius_px: float | None = None,
    mixing_px: float = 1.0,
    voxel_um: float = 0.02,
    i0_counts: float = 10_000.0,
    open_pixels: int = 400,
    dark: float = 10.0,
    supersampling: int = 2,
) -> xr.Dataset:
    """Simulate tomography at several photon energies of lithiated V2O5 particles, with exact ground truth.

    Parameters
    ----------
    shape : (z, y, x)
        Voxels, at least 8 each, y and x alike. The detector has z by x pixels.
    n_angles : int
        Evenly from 0 to below 180 degrees.
    angles : array-like, optional
        Angles in degrees instead.
    kind : {"core-shell", "wavefront", "mosaic"}
        How phases are spread in a particle, as in :func:`operando.samples.stxm_particle`.
    energies : array-like
        Photon energies in eV.
    seed : int
        Not negative.
    phases : sequence of str
        From :data:`operando.samples.stxm_spectra.STOICHIOMETRY`, in the order of their lithium.
    n_particles : int
        At most so many; fewer where there is no room.
    radius_px : float, optional
        About the geometric mean of a particle's semi-axes; default a seventh of the width.
    mixing_px : float
        Standard deviation of the mixing across a phase boundary.
    voxel_um : float
        Edge of voxels and pixels.
    i0_counts, open_pixels, dark
        Photons per pixel, energy *and angle*, and the rest as in :func:`operando.samples.stxm_particle`.
    supersampling : int
        Cells per voxel edge and rays per pixel edge.

    Returns
    -------
    Dataset
        What is measured: ``projections`` (energy, angle, detector_y, detector_x) in counts, float32; ``i0`` and
        ``i0_sigma`` (energy); ``references`` (component, energy) in um-1; ``rotation_axis`` in px.

        What is true: ``weight`` (component, z, y, x), share of the volume; ``lithiation`` (z, y, x), NaN where there is
        none; ``particles`` (z, y, x) int32; ``optical_density`` (energy, angle, detector_y, detector_x), the line
        integrals without noise; ``stoichiometry`` (component).

    Raises
    ------
    InputError
        Where an argument is none of those above.

    Notes
    -----
    Weights are made on cells ``supersampling`` times finer than the voxels, projected there
    (:func:`operando.samples.projections`), and the transmission is averaged over the rays of a pixel: no reconstruction
    works on the grid on which the sample was made. ``optical_density`` is the average of the line integrals; at the rim
    of particles what is measured is less.

    No drift, no blur, no stray light: those of :func:`operando.samples.stxm_particle` come before a reconstruction.

    Memory: the projections three times in float64, and the volume on the cells, ``supersampling`` cubed per voxel.

    Examples
    --------
    At 0 degrees rays run along y: the optical density is what lies there, times 0.02 um.

    >>> scan = stxm_tomography((8, 16, 16), angles=[0.0], energies=[518.5], n_particles=1, seed=1)
    >>> absorption = (scan.weight * scan.references).sum(("component", "y")).squeeze()
    >>> seen = scan.optical_density.squeeze()
    >>> bool(abs(seen.values - 0.02 * absorption.values).max() < 1e-6)
    True
    """
    depth, height, width = _shape(shape)
    if kind not in KINDS:
        raise InputError(f"{_WHERE}: kind must be one of {', '.join(KINDS)}, got {kind!r}. {nearest(str(kind), KINDS)}")
    degrees = np.arange(int(n_angles)) * 180.0 / max(int(n_angles), 1) if angles is None else np.asarray(angles, float)
    if degrees.ndim != 1 or not degrees.size or not np.isfinite(degrees).all():
        raise InputError(f"{_WHERE}: at least one finite angle is needed, got {angles!r} and n_angles={n_angles}.")
    microscope = Microscope(
        i0_counts=float(i0_counts),
        open_pixels=int(open_pixels),
        blur_px=0.0,
        drift_px=0.0,
        stray=0.0,
        dark=float(dark),
        dead_time_us=0.0,
        dwell_ms=1.0,
    )
    radius = width / 7.0 if radius_px is None else float(radius_px)
    microscope.check(
        _WHERE,
        seed=seed,
        n_particles=n_particles,
        radius_px=radius,
        mixing_px=mixing_px,
        voxel_um=voxel_um,
        supersampling=supersampling,
    )
    spectra = stxm_references(phases, energies=energies)
    fine = int(supersampling)
    shares, labels = _volume((depth, height, width), fine, kind, spectra.sizes["component"], int(n_particles), radius,
                             float(mixing_px), seed)  # fmt: skip
    lines = []
    for share in shares:
        volume = labeled_image(share.astype(np.float32), voxel_size_um=voxel_um / fine, units="1")
        lines.append(line_integrals(volume, angles=degrees)[0].values)
    path = np.stack(lines).astype(float)
    mu, energy = spectra.values, spectra.energy.values
    photons = beam(energy, microscope.i0_counts)
    rng = generator(seed, "counts")
    frame = (degrees.size, depth, width)
    counts, density = np.empty((energy.size, *frame), dtype=np.float32), np.empty((energy.size, *frame))
    for number in range(energy.size):
        line = np.tensordot(mu[:, number], path, axes=1)
        density[number] = _binned(line, fine, (1, 2))
        counts[number] = counted(photons[number] * _binned(np.exp(-line), fine, (1, 2)), microscope, rng)
    i0, i0_sigma = open_region(photons, microscope, generator(seed, "i0"))
    weight = _binned(shares, fine, (1, 2, 3))
    total = weight.sum(axis=0)
    x = np.full(total.shape, np.nan)
    x[labels > 0] = (np.tensordot(spectra.stoichiometry.values, weight, axes=1)[labels > 0]) / total[labels > 0]
    return _labeled(
        {"projections": counts, "optical_density": density, "i0": i0, "i0_sigma": i0_sigma},
        {"weight": weight, "particles": labels, "lithiation": x},
        spectra,
        degrees,
        voxel_um,
        {"seed": seed, "kind": kind, **asdict(microscope)},
    )


def _shape(shape: Sequence[int]) -> tuple[int, int, int]:
    if len(shape) != 3 or min(shape) < 8 or shape[1] != shape[2]:
        raise InputError(
            f"{_WHERE}: shape must be three numbers of voxels (z, y, x), at least 8, y and x alike, got {tuple(shape)}."
        )
    return int(shape[0]), int(shape[1]), int(shape[2])


def _binned(values: np.ndarray, fine: int, axes: Sequence[int]) -> np.ndarray:
    """Mean over blocks of ``fine`` along the axes."""
    for axis in axes:
        shape = (*values.shape[:axis], values.shape[axis] // fine, fine, *values.shape[axis + 1 :])
        values = values.reshape(shape).mean(axis=axis + 1)
    return values


def _volume(
    shape: tuple[int, int, int],
    fine: int,
    kind: str,
    phases: int,
    count: int,
    radius_px: float,
    mixing: float,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Shares of each phase on the cells, (component, z, y, x), and the particle in every voxel."""
    z, y, x = (
        ((np.arange(n * fine) + 0.5) / fine - 0.5 * n).reshape([-1 if axis == k else 1 for k in range(3)])
        for axis, n in enumerate(shape)
    )
    shares = np.zeros((phases, *(n * fine for n in shape)))
    owner = np.zeros(shares.shape[1:], dtype=np.int32)
    rng = generator(seed, "place")
    number = 0
    for attempt in range(_TRIES):
        if number >= count:
            break
        semi = radius_px * rng.uniform(0.7, 1.1) * np.exp(rng.uniform(-0.25, 0.25, 3)) * (1.0 - 0.5 * attempt / _TRIES)
        turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
        reach = float(semi.max())
        # Inside of the cylinder that every projection shows.
        rho = max(0.5 * shape[2] - reach - 1.0, 0.0) * np.sqrt(rng.random())
        around = rng.uniform(0.0, 2.0 * np.pi)
        free = max(0.5 * shape[0] - reach - 1.0, 0.0)
        center = (rng.uniform(-free, free), rho * np.sin(around), rho * np.cos(around))
        offset = (z - center[0], y - center[1], x - center[2])
        radius = np.sqrt(
            np.asarray(sum((sum(t * o for t, o in zip(turn[k], offset, strict=True)) / semi[k]) ** 2 for k in range(3)))
        )
        body = radius <= 1.0
        if (owner[body] > 0).any():
            continue
        number += 1
        owner[body] = number
        mixed = phase_field(
            kind,
            offset,
            radius,
            inner=float(semi.min()),
            outer=reach,
            phases=phases,
            mixing=mixing,
            step=1.0 / fine,
            rng=generator(seed, "particle", number),
        )
        shares[:, body] = mixed[:, body]
    # A voxel belongs to the particle that fills at least half of it.
    covered = _binned((owner > 0).astype(float), fine, (0, 1, 2)) >= 0.5
    blocks = owner.reshape(shape[0], fine, shape[1], fine, shape[2], fine).max(axis=(1, 3, 5))
    return shares, np.where(covered, blocks, 0).astype(np.int32)


def _labeled(
    measured: dict[str, np.ndarray],
    truth: dict[str, np.ndarray],
    spectra: xr.DataArray,
    degrees: np.ndarray,
    voxel_um: float,
    settings: dict[str, Any],
) -> xr.Dataset:
    beam_dims, space = ("energy", "angle", "detector_y", "detector_x"), ("z", "y", "x")
    detector = {}
    for dim, size in zip(beam_dims[2:], measured["projections"].shape[2:], strict=True):
        attrs = {"units": "um", "long_name": f"Detector {dim[-1]}", "spacing": float(voxel_um)}
        detector[dim] = (dim, voxel_um * np.arange(size, dtype=float), attrs)
    names: dict[str, tuple[Any, str, str]] = {
        "projections": (beam_dims, "counts", "Detected photons"),
        "optical_density": (beam_dims, "1", "Optical density"),
        "i0": ("energy", "counts", "Detected photons without sample"),
        "i0_sigma": ("energy", "counts", "Sigma of the photons without sample"),
        "weight": (("component", *space), "1", "Share of the volume"),
        "particles": (space, "1", "Particle (0: none)"),
        "lithiation": (space, "1", "x in Li_x V2O5"),
    }
    made = xr.Dataset(
        {
            name: (names[name][0], values, {"units": names[name][1], "long_name": names[name][2], "simulated": True})
            for name, values in (measured | truth).items()
        },
        coords={
            "component": spectra.component.values,
            "energy": energy_axis(spectra.energy.values),
            "angle": ("angle", degrees, {"units": "deg", "long_name": "Rotation angle"}),
            **detector,
            **labeled_image(truth["particles"], voxel_size_um=voxel_um).coords,
        },
        attrs={"simulated": True, **settings, "provenance": record("stxm_tomography", settings)},
    )
    made["references"] = spectra.drop_vars("stoichiometry")
    made["stoichiometry"] = ("component", spectra.stoichiometry.values, {"units": "1", "long_name": "x in Li_x V2O5"})
    made["rotation_axis"] = ((), 0.5 * (measured["projections"].shape[-1] - 1), {"units": "px"})
    return made
