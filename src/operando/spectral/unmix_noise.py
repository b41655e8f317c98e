"""Noise of optical densities that come from counted photons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from operando.core.errors import InputError
from operando.spectral.stacks import as_stack, energies_ev, same_energies

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PoissonNoise:
    """Noise of optical densities from counts, to be worked out from the fit and not from the noisy counts.

    Parameters
    ----------
    i0 : DataArray or array-like, dims (energy,)
        Incident counts per pixel, dark counts included.
    i0_sigma : DataArray or array-like, dims (energy,), optional
        Standard deviation of ``i0``, in counts; default 0.
    dark : float
        Dark counts per pixel and energy.
    photons_per_count : float
        Photons behind each count, where counts are rates or gray values.

    Notes
    -----
    With net counts :math:`\\mu = (I_0 - D) e^{-OD}` and g photons per count,

    .. math:: \\sigma^2_{OD} = \\frac{\\mu + D}{g\\, \\mu^2} + \\frac{\\sigma_{I_0}^2}{(I_0 - D)^2}.

    Given to :func:`unmix` as ``sigma``, it is evaluated at the fitted OD, and the fit repeated on the working response
    :math:`OD_\\mathrm{fit} + 1 - e^{OD_\\mathrm{fit} - OD}`, which is linear in the counts: iteratively reweighted
    least squares, whose limit is the maximum-likelihood fit of Poisson counts (with ``dark`` and ``i0_sigma``, of their
    quasi-likelihood). A sigma made from the measured counts instead gives bright fluctuations more weight and pulls
    the fit down by about 1 / (2 counts) in OD; without weights the logarithm pushes it up by as much.

    Examples
    --------
    10,000 photons without absorber, 1 %; through an OD of ln 100 a hundred are left, 10 %:

    >>> noise = PoissonNoise(np.array([1e4]))
    >>> noise.sigma(np.array([[0.0, np.log(100)]])).values.round(3).tolist()
    [[0.01, 0.1]]
    """

    i0: Any
    i0_sigma: Any = None
    dark: float = 0.0
    photons_per_count: float = 1.0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.dark) and self.dark >= 0 and self.photons_per_count > 0):
            raise InputError(
                f"PoissonNoise: dark must be zero or more and photons_per_count positive, got {self.dark!r} and "
                f"{self.photons_per_count!r}. Give them per pixel and energy."
            )
        i0 = np.asarray(self.i0, dtype=float)
        if i0.ndim != 1 or not (i0 > self.dark).all():
            raise InputError(
                f"PoissonNoise: i0 must be one number of counts above dark ({self.dark:g}) per energy, got the shape "
                f"{i0.shape} and {float(np.min(i0, initial=np.inf)):g} at the least. Leave out energies without light."
            )

    def sigma(self, optical_density: Any) -> xr.DataArray:
        """Standard deviation of an optical density (energy, [z], [y], [x]) that is known without noise."""
        stack = as_stack(optical_density, where="PoissonNoise.sigma", name="optical_density")
        net, relative = self.at(stack)
        made = xr.DataArray(net, dims="energy") * np.exp(-stack)
        variance = (made + self.dark) / (self.photons_per_count * made**2) + xr.DataArray(relative, dims="energy")
        sigma = (variance**0.5).transpose(*stack.dims)
        sigma.attrs = {"units": "1", "long_name": "Standard deviation of optical density"}
        return sigma.rename("sigma")

    def at(self, stack: xr.DataArray) -> tuple[Floats, Floats]:
        """Net incident counts, and the relative variance of i0, at the energies of a stack."""
        i0 = self._per_energy(self.i0, stack, "i0")
        net = i0 - self.dark
        if self.i0_sigma is None:
            return net, np.zeros_like(net)
        return net, (self._per_energy(self.i0_sigma, stack, "i0_sigma") / net) ** 2

    def _per_energy(self, values: Any, stack: xr.DataArray, name: str) -> Floats:
        array = as_stack(values, where="PoissonNoise", name=name)
        remedy = "Measure it at the energies of the stack, or select those that both have."
        if "energy" in stack.coords:
            energies = energies_ev(stack, where="PoissonNoise")
            array = same_energies(array, energies, where="PoissonNoise", name=name, remedy=remedy)
        elif array.sizes["energy"] != stack.sizes["energy"]:
            raise InputError(
                f"PoissonNoise: {name} has {array.sizes['energy']} energies, the stack {stack.sizes['energy']}. "
                f"{remedy}"
            )
        return np.asarray(array.values, dtype=float)


def checked_sigma(sigma: Any, stack: xr.DataArray, *, where: str) -> PoissonNoise | xr.DataArray | None:
    """Return ``sigma`` as one error per energy or per number of a stack that has energies, in the order of the stack.

    Raises
    ------
    InputError
        Where it has other energies or another shape, or one per energy is not positive and finite.
    """
    if sigma is None or isinstance(sigma, PoissonNoise):
        return sigma
    if isinstance(sigma, str):
        raise InputError(
            f"{where}: sigma must be a number, an array or a PoissonNoise, got {sigma!r}. For counted photons pass "
            "operando.spectral.PoissonNoise(i0)."
        )
    if np.ndim(sigma) == 0:
        sigma = np.full(stack.sizes["energy"], float(sigma))
    array = as_stack(sigma, where=where, name="sigma")
    remedy = "Give sigma at the energies of the stack."
    array = same_energies(array, np.asarray(stack["energy"].values), where=where, name="sigma", remedy=remedy)
    if array.ndim == 1:
        array = array.astype(float).compute()
        if not (np.isfinite(array.values) & (array.values > 0)).all():
            raise InputError(
                f"{where}: sigma must be positive and finite, got {array.values.min():g}. Leave out what is not."
            )
    elif array.shape != stack.shape:
        raise InputError(
            f"{where}: sigma must be one number, one per energy or of the shape {stack.shape} of the stack, got "
            f"{array.shape}. Broadcast it first."
        )
    return array.drop_vars(list(array.coords))
