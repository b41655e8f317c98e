"""Phases in three dimensions, from projections over photon energy and angle."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import SPACE, require_dims
from operando.core.errors import InputError, nearest
from operando.core.provenance import record
from operando.spectral.match import match_energies
from operando.spectral.stacks import energies_ev, same_energies
from operando.spectral.unmix import unmix

ORDERS = ("unmix first", "reconstruct first")
_WHERE = "spectro_tomography"
_PROJECTIONS = ("angle", "detector_y", "detector_x")

Reconstruct = Callable[[xr.DataArray], xr.DataArray]
"""Projections (angle, detector_y, detector_x) in, volume (z, y, x) out."""


def spectro_tomography(
    optical_density: xr.DataArray,
    references: xr.DataArray | Mapping[str, xr.DataArray],
    *,
    reconstruct: Reconstruct,
    order: str = "reconstruct first",
    background: str | Sequence[str] | None = None,
    sigma: xr.DataArray | None = None,
) -> xr.Dataset:
    """Share of each phase in every voxel, from projections at several photon energies.

    Parameters
    ----------
    optical_density : DataArray, dims (energy, angle, detector_y, detector_x)
        Line integrals of absorption, aligned to one another; missing is NaN. May be lazy.
    references : DataArray, dims (component, energy), or mapping of names to DataArray (energy,)
        Spectra of pure phases, as :func:`operando.spectral.unmix` takes them.
    reconstruct : callable
        Projections ``(angle, detector_y, detector_x)`` in, volume ``(z, y, x)`` out, such as
        :func:`operando.tomography.reconstruct` with its settings: ``functools.partial(reconstruct, rotation_axis=23.5,
        filter="hann")``. State the axis, and a filter that is the same for every call.
    order : {"reconstruct first", "unmix first"}
        Reconstruct every energy and fit the spectrum of every voxel, or fit the spectrum of every ray and reconstruct
        the thickness of each phase.
    background : str or sequence of str, optional
        As in :func:`operando.spectral.unmix`; of a ray, or of a voxel.
    sigma : DataArray, dims (energy, angle, detector_y, detector_x) or (energy,), optional
        Standard deviation of ``optical_density``. With "reconstruct first" only its root mean square per energy
        counts.

    Returns
    -------
    Dataset
        ``weight`` (component, z, y, x), float64: share of the volume where the references are in um-1 and
        ``detector_x`` is in um; else per unit of length, in units of the reference. ``total`` (z, y, x), the sum over
        components.

    Raises
    ------
    InputError, AxesError
        Where dims or energies do not fit, the order is unknown, or ``reconstruct`` returns something else than a
        volume.

    Notes
    -----
    With the projector :math:`A` along angles, :math:`p_E = A \\sum_c \\mu_c(E)\\, w_c`. Both orders invert the same
    product of two linear maps, which act on different axes: without bounds and with the same weights for every ray,
    their results are *equal*. They differ by where the bound at zero acts:

    - *reconstruct first*: on every voxel, where it removes what is negative, noise and streaks of few angles alike: the
      smaller error. It leaves what is positive, so that weights of absent phases are too high on average. There are as
      many reconstructions as energies.
    - *unmix first*: on thickness along rays. A ray crosses many voxels, so its weights are seldom at the bound and it
      does little; the reconstruction is linear (or has a bound of its own, as SIRT has) and its result may be negative:
      the smaller bias. There are as many reconstructions as components.

    Measured in ``docs/spectral/spectro-tomography.md``. With many energies and an iterative method *unmix first* costs
    a fraction and is about as good.

    Memory: the larger of the unmixed projections and, with "reconstruct first", the volume at all energies, in float64;
    lazy where ``optical_density`` and ``reconstruct`` are.

    Examples
    --------
    Two energies, two phases, and a sample one voxel deep along the rays, for which the projection is the volume:

    >>> depth = 0.5  # um
    >>> density = xr.DataArray([[[[1.0]]], [[[2.0]]]], dims=("energy", "angle", "detector_y", "detector_x"),
    ...     coords={"energy": [700.0, 710.0]})
    >>> spectra = xr.DataArray([[4.0, 0.0], [0.0, 8.0]], dims=("component", "energy"),
    ...     coords={"component": ["a", "b"], "energy": [700.0, 710.0]}, attrs={"units": "um-1"})
    >>> def one_voxel(projections):
    ...     return (projections.mean("angle") / depth).rename(detector_y="z", detector_x="x").expand_dims("y", axis=1)
    >>> made = spectro_tomography(density, spectra, reconstruct=one_voxel)
    >>> made.weight.values.ravel().tolist()
    [0.5, 0.5]
    """
    require_dims(optical_density, ("energy", *_PROJECTIONS), where=_WHERE)
    if order not in ORDERS:
        raise InputError(f"{_WHERE}: order must be one of {', '.join(ORDERS)}, got {order!r}. {nearest(order, ORDERS)}")
    density = optical_density.transpose("energy", *_PROJECTIONS)
    spectra = match_energies(references, energies_ev(density, where=_WHERE, name="optical_density"))
    errors = _sigma(sigma, density)
    if order == "unmix first":
        paths = _unmixed(density, spectra, _PROJECTIONS, background=background, sigma=errors)
        volumes = [_volume(paths.isel(component=k), reconstruct) for k in range(paths.sizes["component"])]
        weight = xr.concat(volumes, dim="component", coords="minimal", compat="override")
    else:
        volumes = [_volume(density.isel(energy=k), reconstruct) for k in range(density.sizes["energy"])]
        volume = xr.concat(volumes, dim="energy", coords="minimal", compat="override")
        volume = volume.assign_coords(energy=spectra.coords["energy"])
        if errors is not None and errors.ndim > 1:
            errors = (errors**2).mean(_PROJECTIONS) ** 0.5
        weight = _unmixed(volume, spectra, SPACE, background=background, sigma=errors)
    weight = weight.assign_coords(component=spectra.coords["component"].values)
    unit = _unit(str(spectra.attrs.get("units", "1")), str(volumes[0].attrs.get("units", "1")))
    weight = weight.astype(np.float64).rename("weight")
    weight.attrs = {"units": unit, "long_name": "Share of volume" if unit == "1" else "Weight"}
    total = weight.sum("component", skipna=False).assign_attrs(units=unit, long_name="Sum of components")
    simulated = {"simulated": True} if optical_density.attrs.get("simulated") else {}
    terms = [background] if isinstance(background, str) else list(background or ())
    provenance = record(_WHERE, {"order": order, "background": terms, "sigma": sigma is not None})
    return xr.Dataset({"weight": weight, "total": total}, attrs={"order": order, **simulated, "provenance": provenance})


def _sigma(sigma: xr.DataArray | None, density: xr.DataArray) -> xr.DataArray | None:
    if sigma is None:
        return None
    if not isinstance(sigma, xr.DataArray) or set(sigma.dims) not in ({"energy"}, set(density.dims)):
        got = sigma.dims if isinstance(sigma, xr.DataArray) else type(sigma).__name__
        raise InputError(
            f"{_WHERE}: sigma must be a DataArray with the dims (energy,) or {density.dims}, got {got}. Broadcast it "
            "with sigma.broadcast_like(optical_density)."
        )
    energies = energies_ev(density, where=_WHERE, name="optical_density")
    remedy = "Give sigma at the energies of the projections."
    placed = same_energies(sigma, energies, where=_WHERE, name="sigma", remedy=remedy)
    return placed.transpose(*(dim for dim in density.dims if dim in placed.dims)).assign_coords(
        energy=density.coords["energy"]
    )


def _unmixed(
    density: xr.DataArray,
    spectra: xr.DataArray,
    dims: Sequence[str],
    *,
    background: Any,
    sigma: xr.DataArray | None,
) -> xr.DataArray:
    """Weights (component, *dims) of an array (energy, *dims), whatever these are."""
    names = dict(zip(dims, SPACE, strict=True))

    def as_image(array: xr.DataArray) -> xr.DataArray:
        kept = xr.DataArray(array.data, dims=[names.get(str(dim), str(dim)) for dim in array.dims])
        return kept.assign_coords(energy=spectra.coords["energy"])

    made = unmix(
        as_image(density),
        spectra,
        background=background,
        sigma=None if sigma is None else as_image(sigma),
        level=None,
    )
    coords = {dim: density.coords[dim] for dim in dims if dim in density.coords}
    return xr.DataArray(made["weight"].data, dims=("component", *dims), coords=coords)


def _volume(projections: xr.DataArray, reconstruct: Reconstruct) -> xr.DataArray:
    # The single component or energy is no coordinate of a projection.
    volume = reconstruct(projections.reset_coords(drop=True))
    got = volume.dims if isinstance(volume, xr.DataArray) else type(volume).__name__
    if not isinstance(volume, xr.DataArray) or set(volume.dims) != set(SPACE):
        raise InputError(
            f"{_WHERE}: reconstruct must return a DataArray with dims {SPACE}, got {got}. Pass a function such as "
            "operando.tomography.reconstruct."
        )
    return volume.transpose(*SPACE)


def _unit(reference: str, volume: str) -> str:
    """Unit of a weight: that of the volume over that of the references."""
    if reference == "1":
        return volume
    return "1" if reference in (volume, "um-1") and volume in (reference, "1") else f"{volume} / ({reference})"
