"""Lithium and state of charge of a field and of its particles, with an error that knows what does not average out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando.core.axes import SPACE
from operando.core.errors import InputError
from operando.core.quantities import quantity_table
from operando.spectral.incident import region_pixels
from operando.spectral.lithiation import (
    Stoichiometry,
    component_names,
    host_covariance,
    host_part,
    host_table,
    per_component,
)
from operando.spectral.match import References, match_energies
from operando.spectral.pixels import pixel_blocks
from operando.spectral.stacks import as_stack, energies_ev, same_energies
from operando.spectral.unmix_noise import PoissonNoise
from operando.spectral.unmix_problem import term_values

FIELD = "field"


def state_of_charge(
    unmixed: xr.Dataset,
    stoichiometry: Stoichiometry,
    *,
    range: tuple[float, float] | None = None,
    mask: Any = None,
    labels: xr.DataArray | None = None,
    moles: Stoichiometry | None = None,
    minimum_thickness: float = 0.0,
    optical_density: Any = None,
    references: References | None = None,
    sigma: Any = None,
    blocks: int = 16,
) -> pd.DataFrame:
    """Mean lithiation of the whole field, and of every particle, with its error.

    Parameters
    ----------
    unmixed : Dataset
        What :func:`unmix` returns, best with ``covariance=True``.
    stoichiometry, moles : as in :func:`lithiation`
    range : (x_charged, x_discharged), optional
        Lithium at 100 % and at 0 % state of charge: the first is the lower one in a positive electrode. With it there
        are rows ``state_of_charge``.
    mask : DataArray or array of bool, space dims, optional
        Pixels of the field. Default: those of ``labels``, else all with more than ``minimum_thickness``.
    labels : DataArray of integers, space dims, optional
        Particles, from :func:`particles`: rows ``particle 1``, ... beside those of ``field``.
    minimum_thickness : float, in the unit of the weights
        Pixels with no more host than this do not count.
    optical_density, references : as in :func:`unmix`, optional
        What was fitted. With them values come from the fit of the mean spectrum, and errors include what all pixels
        share.
    sigma : DataArray, as ``optical_density`` or (energy,), float, or PoissonNoise, optional
        Standard error of a pixel, which weights the energies of that fit.
    blocks : int
        Blocks of neighboring energies that are left out in turn.

    Returns
    -------
    DataFrame
        A quantity table with the rows ``lithiation`` and, with ``range``, ``state_of_charge`` (unit "1") per
        component; ``lithiation_sigma_random`` and ``lithiation_sigma_systematic`` are the two parts of the sigma of the
        lithiation. ``n`` counts pixels. ``core.quantities.interval`` adds the interval.

    Raises
    ------
    InputError, AxesError
        Where the arrays do not fit each other, no pixel counts, or too few energies are left with one block out.

    Notes
    -----
    The mean is that of all formula units, not of pixels:

    .. math:: \\bar x = \\frac{\\sum_p \\sum_j w_{jp} n_j x_j}{\\sum_p \\sum_j w_{jp} n_j}, \\qquad
        \\mathrm{SOC} = \\frac{x_\\mathrm{discharged} - \\bar x}{x_\\mathrm{discharged} - x_\\mathrm{charged}}

    **Values.** Weights that cannot be negative are too large, on average, for phases that are absent, and this bias
    does not average out. Sums are therefore made of weights without bound: those of the mean spectrum of the pixels
    (linear, so the same as the sum of fits) where ``optical_density`` is given, else ``unmixed.unconstrained``, and
    only where that is missing of the bounded weights, which the column ``method`` says.

    **Random part.** The errors of the pixels, taken as independent: it falls with the number of pixels, soon below
    everything else. **Systematic part.** What all pixels share (I0, drift, references, references that are missing)
    shows as a residual of the mean spectrum. Leaving out each of ``blocks`` groups of neighboring energies in turn
    gives the jackknife error

    .. math:: \\sigma_J^2 = \\frac{B-1}{B} \\sum_b (\\bar x_{(b)} - \\bar x_{(\\cdot)})^2,

    which holds both parts; the systematic one is what it has beyond the random one, and sigma the larger of
    :math:`\\sigma_J` and the random part. Blocks, not single energies, because drift and wrong references leave
    residuals that are alike at neighboring energies. Without ``optical_density`` the systematic part is not known, and
    sigma is the random part alone: too small, by three times in stacks without drift and by twenty with it.

    An error that looks like a change of phase to the fit, such as a reference of the wrong composition or an offset of
    the energies, leaves no residual and is in no error.

    **Leave out the pixels of the rim**, and thick ones, by ``mask`` or ``labels``. Where light passes beside a particle
    within one pixel, its peaks are lowered more than the rest (the logarithm of a mean is not the mean of
    logarithms): to the fit a change of phase. In simulated fields without drift x was off by 0.005 on average with the
    rim, and by 0.001 without.

    Examples
    --------
    >>> unmixed = xr.Dataset({"weight": (("component", "x"), [[3.0, 1.0], [1.0, 3.0]]),
    ...     "weight_sigma": (("component", "x"), [[0.1, 0.1], [0.1, 0.1]])}, coords={"component": ["NiO2", "LiNiO2"]})
    >>> table = state_of_charge(unmixed, {"NiO2": 0.0, "LiNiO2": 1.0}, range=(0.0, 1.0)).set_index("quantity")
    >>> table.loc["lithiation", ["value", "sigma"]].round(4).tolist()
    [0.5, 0.0125]
    """
    where = "state_of_charge"
    if not isinstance(unmixed, xr.Dataset):
        raise InputError(f"{where}: unmixed must be the Dataset that unmix returns, got {type(unmixed).__name__}.")
    charged, discharged = _limits(range, where)
    table, x, n = host_table(unmixed, stoichiometry, moles, where=where)
    space = tuple(dim for dim in SPACE if dim in table.dims)
    regions = _regions(unmixed, table, space, mask, labels, minimum_thickness, where)
    spectral = None
    if optical_density is not None or references is not None:
        if optical_density is None or references is None:
            raise InputError(f"{where}: optical_density and references belong together, got one of them. Pass both.")
        spectral = _MeanSpectrum(unmixed, optical_density, references, sigma, blocks, space, where)
    rows: list[dict[str, Any]] = []
    for name, region in regions.items():
        value, random, method = _from_weights(unmixed, table, x.values, n.values, region, where)
        total, systematic = random, np.nan
        if spectral is not None:
            value, jackknife = spectral.lithiation(region, stoichiometry, moles)
            total, systematic = max(jackknife, random), float(np.sqrt(max(jackknife**2 - random**2, 0.0)))
            method = f"fit of the mean spectrum, jackknife over {blocks} blocks of energies"
        common = {"component": name, "unit": "1", "n": int(region.sum()), "method": method}
        rows.append({**common, "quantity": "lithiation", "value": value, "sigma": total})
        if range is not None:
            soc = (discharged - value) / (discharged - charged)
            spread = total / abs(discharged - charged)
            rows.append({**common, "quantity": "state_of_charge", "value": soc, "sigma": spread})
        rows.append({**common, "quantity": "lithiation_sigma_random", "value": random})
        rows.append({**common, "quantity": "lithiation_sigma_systematic", "value": systematic})
    return quantity_table(rows)


def _limits(limits: Any, where: str) -> tuple[float, float]:
    if limits is None:
        return 0.0, 1.0
    try:
        charged, discharged = map(float, limits)
    except (TypeError, ValueError):
        raise InputError(f"{where}: range must be (x_charged, x_discharged), got {limits!r}.") from None
    if charged == discharged or not np.isfinite([charged, discharged]).all():
        raise InputError(f"{where}: range must be two different x, got {limits!r}. (0, 1) for Li_x with 0 = charged.")
    return charged, discharged


def _regions(
    unmixed: xr.Dataset,
    table: xr.DataArray,
    space: Sequence[str],
    mask: Any,
    labels: xr.DataArray | None,
    minimum_thickness: float,
    where: str,
) -> dict[str, np.ndarray]:
    """Pixels of the field and of every particle, as bool in the shape of an image."""
    held = table.sum("component", skipna=False).transpose(*space)
    thick = np.asarray((held > minimum_thickness).values)
    image = unmixed["weight"].transpose("component", *space)
    field = thick if mask is None else thick & region_pixels(mask, image, label=None, where=where)
    regions: dict[str, np.ndarray] = {}
    if labels is not None:
        if set(map(str, labels.dims)) != set(space) or labels.dtype.kind not in "iu":
            raise InputError(
                f"{where}: labels must be integers with the dims {tuple(space)}, got {labels.dtype} {labels.dims}."
            )
        marks = labels.transpose(*space).values
        if marks.shape != thick.shape:
            raise InputError(f"{where}: labels must have the shape {thick.shape} of the weights, got {marks.shape}.")
        none = (0, 255) if marks.dtype == np.uint8 else (0,)
        field = field & ~np.isin(marks, none) if mask is None else field
        numbers = [int(i) for i in np.unique(marks[field]) if i > 0 and i not in none]
        regions = {f"particle {number}": field & (marks == number) for number in numbers}
    if not field.any():
        raise InputError(
            f"{where}: at least one pixel must hold more host than {minimum_thickness:g}, got none. Lower "
            "minimum_thickness, or widen mask or labels."
        )
    return {FIELD: field, **regions}


def _from_weights(
    unmixed: xr.Dataset, table: xr.DataArray, x: np.ndarray, n: np.ndarray, region: np.ndarray, where: str
) -> tuple[float, float, str]:
    """Mean lithiation and its random error from the weights of the pixels."""
    space = [dim for dim in table.dims if dim != "component"]
    free = "unconstrained" in unmixed
    source = host_part(unmixed["unconstrained"], table, unmixed) if free else table
    weights = _picked(source.transpose("component", *space), region)
    whole = float((weights * n[:, None]).sum())
    value = float((weights * (n * x)[:, None]).sum() / whole) if whole > 0 else np.nan
    slope = n * (x - value) / whole if whole > 0 else np.full(n.size, np.nan)
    covariance = host_covariance(unmixed, table, where=where)
    if covariance is not None:
        each = _picked(covariance.transpose("component", "component_other", *space), region).sum(axis=-1)
        variance = float(slope @ each @ slope)
    else:
        spread = _picked(host_part(unmixed["weight_sigma"], table, unmixed).transpose("component", *space), region)
        variance = float(((slope**2)[:, None] * spread**2).sum())
    method = "sum of weights without bound" if free else "sum of weights not below zero"
    return value, float(np.sqrt(max(variance, 0.0))), method + ", random errors only"


def _picked(values: xr.DataArray, region: np.ndarray) -> np.ndarray:
    return np.asarray(values.values, dtype=float)[..., region]


class _MeanSpectrum:
    """The fit of the mean spectrum of a region, and what leaving out energies does to it."""

    def __init__(
        self,
        unmixed: xr.Dataset,
        optical_density: Any,
        references: References,
        sigma: Any,
        blocks: int,
        space: Sequence[str],
        where: str,
    ) -> None:
        self.where, self.space = where, space
        self.stack = as_stack(optical_density, where=where, name="optical_density")
        if "energy" not in self.stack.coords and unmixed.sizes.get("energy") == self.stack.sizes["energy"]:
            self.stack = self.stack.assign_coords(energy=unmixed["energy"])
        if tuple(map(str, self.stack.dims[1:])) != tuple(space) or any(
            self.stack.sizes[dim] != unmixed.sizes[dim] for dim in space
        ):
            raise InputError(
                f"{where}: optical_density must have the pixels of the weights {tuple(space)}, got "
                f"{dict(self.stack.sizes)}. Give the stack that was unmixed."
            )
        energies = energies_ev(self.stack, where=where, name="optical_density")
        matched = match_energies(references, energies)
        self.names = component_names(matched)
        wanted = component_names(unmixed["weight"])
        if self.names != wanted:
            raise InputError(f"{where}: references must be those of the fit, {wanted}, got {self.names}.")
        terms = [term_values(str(term), energies) for term in unmixed.attrs.get("background", [])]
        self.design = np.column_stack([*matched.values, *terms])
        self.sigma: Any = sigma
        if sigma is not None and not isinstance(sigma, PoissonNoise):
            values = np.full(energies.size, float(sigma)) if np.ndim(sigma) == 0 else sigma
            errors = as_stack(values, where=where, name="sigma")
            remedy = "Give it at those of the stack."
            self.sigma = same_energies(errors, energies, where=where, name="sigma", remedy=remedy)
        if not isinstance(blocks, (int, np.integer)) or blocks < 2:
            raise InputError(f"{where}: blocks must be an integer of at least 2, got {blocks!r}. 16 is usual.")
        order = np.argsort(energies)
        self.blocks = [part for part in np.array_split(order, min(int(blocks), energies.size)) if part.size]
        left = energies.size - max(part.size for part in self.blocks)
        if left <= self.design.shape[1]:
            raise InputError(
                f"{where}: with one block of energies left out, {self.design.shape[1]} weights need more than as many "
                f"energies, got {left}. Raise blocks to at most {energies.size}, or leave optical_density out."
            )

    def lithiation(
        self, region: np.ndarray, stoichiometry: Stoichiometry, moles: Stoichiometry | None
    ) -> tuple[float, float]:
        """Mean lithiation of a region and its jackknife error."""
        mean, spread = self._mean(region)
        x = per_component(stoichiometry, self.names, where=self.where, what="stoichiometry")
        n = per_component(moles, self.names, where=self.where, what="moles") if moles is not None else np.ones(x.size)
        host = np.isfinite(x)
        unit, amount = np.where(host, n, 0.0), np.where(host, n * np.where(host, x, 0.0), 0.0)

        def fit(kept: np.ndarray) -> float:
            scaled = self.design[kept] / spread[kept, None]
            found = np.linalg.lstsq(scaled, mean[kept] / spread[kept], rcond=None)[0][: x.size]
            return float((amount @ found) / (unit @ found))

        every = np.arange(mean.size)
        value = fit(every)
        each = np.array([fit(np.setdiff1d(every, part)) for part in self.blocks])
        return value, float(np.sqrt((each.size - 1) / each.size * ((each - each.mean()) ** 2).sum()))

    def _mean(self, region: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean spectrum of the pixels that have every energy, and the typical error of a pixel."""
        total, count = np.zeros(self.stack.sizes["energy"]), 0
        for _, values in pixel_blocks(self.stack, region.ravel()):
            whole = np.isfinite(values).all(axis=1)
            total += values[whole].sum(axis=0)
            count += int(whole.sum())
        if count == 0:
            raise InputError(
                f"{self.where}: at least one pixel must have every energy, got none. Drop images with missing pixels."
            )
        spread, mean = np.ones(total.size), total / count
        if isinstance(self.sigma, PoissonNoise):
            at = xr.DataArray(mean, dims="energy", coords={"energy": self.stack.coords["energy"]})
            spread = np.asarray(self.sigma.sigma(at).values, dtype=float)
        elif self.sigma is not None and self.sigma.ndim == 1:
            spread = np.asarray(self.sigma.values, dtype=float)
        elif self.sigma is not None:
            square, counted = np.zeros(total.size), np.zeros(total.size)
            for _, values in pixel_blocks(self.sigma, region.ravel()):
                square += np.nansum(values**2, axis=0)
                counted += np.isfinite(values).sum(axis=0)
            spread = np.sqrt(square / np.maximum(counted, 1))
        if not (spread > 0).all():
            raise InputError(f"{self.where}: sigma must be positive at every energy, got {spread.min():g}.")
        return mean, spread
