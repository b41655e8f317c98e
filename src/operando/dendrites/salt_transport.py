"""What the profiles of salt say about its transport, once the blur of the imaging is taken into account."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import spacing
from operando.core.errors import InputError, nearest
from operando.core.provenance import record
from operando.electrochemistry.salt_diffusion import Diffusivity, salt_diffusion

_FINE = 4
_CELLS = 80
_TOLERANCE = 1e-5
_TABLE = np.linspace(0.0, 5.0, 2001)  # shares of the initial concentration
_SEEN = 0.05
FREE = ("none", "scale", "tilt")
"""How much of the diffusivity is found by the fit."""
_PARAMETERS = ("slope", "diffusivity_scale", "diffusivity_tilt", "gain")
_UM_PER_MAH_S = 1 / 3600.0


def fit_salt_transport(
    salt: xr.Dataset,
    *,
    t_h: Any,
    time_h: Any,
    current_ma: Any,
    diffusivity: Diffusivity,
    plated: str = "low",
    free: str = "scale",
    until_h: float | None = None,
) -> xr.Dataset:
    r"""Fit diffusion between the electrodes, blurred as the imaging blurs it, to the profiles.

    Parameters
    ----------
    salt : Dataset of ``salt_concentration``
        Its ``signal``, ``position`` and ``blur`` are used; the first profiles are not taken as a reference.
    t_h : array-like, shape (t)
        Middle of each profile on the clock of the cycler, in h.
    time_h, current_ma : array-like
        Record of the current: hours and mA. The salt is even before its first row; after its last row nothing flows.
    diffusivity : float or callable of concentration, m2 s-1
        As ``electrochemistry.salt_diffusion`` takes it.
    plated : {"low", "high"}
        Electrode on which lithium is plated while the current has the sign that its largest value has.
    free : {"none", "scale", "tilt"}
        What is found of the diffusivity: nothing, so that it is taken as given; a factor s; or a factor and how it
        changes with the salt, :math:`s\, e^{b (u - 1)}` with u the share of the initial concentration.
    until_h : float, optional
        Use profiles up to this time only.

    Returns
    -------
    Dataset
        ``slope`` (um mAh-1): salt displaced per charge; ``diffusivity_scale``, ``diffusivity_tilt``; ``gain`` (h-1):
        drift of the signal; each beside its ``_sigma``. ``plated_share``, ``dissolving_share`` (t): concentration at
        the very surfaces over the initial one, with ``_sigma``; NaN from the moment at which the model runs out of
        salt. ``modeled`` (t, y): what the signal should be, on the scale of ``salt.signal``. ``attrs``: ``chi2`` per
        degree of freedom, ``n``, and ``at_limit``: 1 where the least share is below 0.05, see Notes.

    Raises
    ------
    InputError
        Where clocks do not meet, numbers are missing, or the fit does not succeed.

    Notes
    -----
    .. math:: S(y, t) = P(y)\, (1 + \gamma t)\, \frac{(G * u(\cdot, t))(y)}{(G * 1)(y)}, \qquad
              \partial_t u = \partial_y (D'\, \partial_y u), \quad D' = s\, e^{b (u - 1)} D(c_0 u), \quad
              D'\, \partial_y u = k I(t) \ \text{at both electrodes}

    with the sign of the current, G the Gaussian of each edge's blur, and P(y) one free number per point (variable
    projection): sensitivity and shape of the edges need no profile of their own without current. Points below 5 % of
    the blurred electrolyte are left out. Least squares; the covariance is widened by the number of points that err
    together and, where chi2 exceeds 1, by it, and takes the sigmas of position and blur of the edges. Not in the model:
    a transference that follows the concentration, motion of the polymer, an uneven current, anything but a flat
    surface. A layer far thinner than the blur is seen by its salt alone: then slope is sharp, the scale is not, and the
    share at the surface is the model's. A model without salt at a surface cannot carry the current, and a fit may come
    to rest where it just can: then ``at_limit`` is 1, the profiles ask for at least that much depletion, and
    all sigmas are NaN. Memory: profiles times four.

    Examples
    --------
    See docs/quantities/salt-gradient.md.
    """
    from scipy.optimize import least_squares

    where = "fit_salt_transport"
    times, currents = np.asarray(time_h, dtype=float), np.asarray(current_ma, dtype=float)
    at = np.asarray(t_h, dtype=float)
    if at.shape != (salt.sizes["t"],) or not (np.isfinite(at).all() and np.isfinite(times + currents).all()):
        raise InputError(
            f"{where}: t_h needs one finite time per profile and the record finite numbers, got {at.shape} times for "
            f"{salt.sizes['t']} profiles. Drop rows without numbers."
        )
    if free not in FREE:
        raise InputError(f"{where}: free must be one of {FREE}, got {free!r}. {nearest(free, FREE)}")
    if plated not in ("low", "high"):
        raise InputError(f"{where}: plated must be 'low' or 'high', got {plated!r}. Choose one of these.")
    after = (at - times[0]) * 3600.0
    used = np.ones(at.size, dtype=bool) if until_h is None else at <= until_h
    if (used & (after > 0)).sum() < 4:
        raise InputError(
            f"{where}: at least four profiles under current are needed, got {int((used & (after > 0)).sum())} between "
            f"{at.min():g} and {at.max():g} h, the current begins at {times[0]:g} h. Put both on one clock."
        )
    step = spacing(salt["concentration"], where=where)["y"]
    scale = step / salt.attrs["spacing"]
    y = salt["y"].values.astype(float) * scale
    edges, blur = scale * salt["position"].values, scale * salt["blur"].values
    doubts = scale * np.stack([salt["position_sigma"].values, salt["blur_sigma"].values])
    values = salt["signal"].values
    if plated == "high":
        # The solver plates at low y.
        values, y = values[:, ::-1], (edges.sum() - y)[::-1]
        blur, doubts = blur[::-1], doubts[:, ::-1]
    sign = np.sign(currents[np.abs(currents).argmax()])
    flow = _current((times - times[0]) * 3600.0, sign * currents, float(after.max()))
    geometry = np.stack([edges, blur])
    seen = _Blur(y, geometry).weight > _SEEN
    hours, initial = at - at[0], float(salt.attrs["initial"])

    def solve(parameters: np.ndarray, shape: np.ndarray = geometry) -> xr.Dataset:
        slope, spread, tilt, _ = parameters
        under = np.maximum(after, 0.0)
        ordered, back = np.unique(under, return_inverse=True)
        found = salt_diffusion(
            ordered,
            thickness_um=float(shape[0, 1] - shape[0, 0]),
            concentration=initial,
            diffusivity=_changed(diffusivity, spread, tilt, initial),
            rate_um_s=lambda t: slope * flow(t) * _UM_PER_MAH_S,
            cells=_CELLS,
            tolerance=_TOLERANCE,
        )
        return found.isel(t=back)

    def expected(parameters: np.ndarray, shape: np.ndarray = geometry) -> tuple[np.ndarray, xr.Dataset]:
        found = solve(parameters, shape)
        share = _Blur(y, shape)(found["concentration"].values / initial, found["y"].values)[:, seen]
        return share * (1 + parameters[3] * hours)[:, None], found

    noise = float(salt.attrs["noise"]) or 1.0
    fitted = np.array([True, free != "none", free == "tilt", True])
    start = np.array([_first_slope(values, y, edges, after, flow), 0.0, 0.0, 0.0])

    def project(full: np.ndarray, at: np.ndarray = geometry) -> tuple[np.ndarray, np.ndarray]:
        shape, _ = expected(full, at)
        good = used & np.isfinite(shape).all(axis=1)
        if good.sum() < 4:
            return np.full((used.sum(), seen.sum()), 1e3), np.zeros(seen.sum())
        part, data = shape[good], values[good][:, seen]
        level = (part * data).sum(axis=0) / (part**2).sum(axis=0)
        # Where the model has run out of salt, it is wrong by all of the signal.
        misfit = np.where(np.isfinite(shape[used]), values[used][:, seen] - level * np.nan_to_num(shape[used]), 1.0)
        return misfit / noise, level

    # In units of about what the profiles can tell apart; around 1, so that a relative step is one of these.
    units = np.array([start[0], 1.0, 1.0, 0.1])

    def parameters_of(relative: np.ndarray) -> np.ndarray:
        full = start.copy()
        full[fitted] += (relative - 1.0) * units[fitted]
        return full

    def misfit(relative: np.ndarray) -> np.ndarray:
        return project(parameters_of(relative))[0].ravel()

    # The step must exceed what the tolerance of the solver leaves to chance.
    found = least_squares(misfit, np.ones(fitted.sum()), diff_step=0.01, xtol=1e-4, ftol=1e-6)
    full = parameters_of(found.x)
    count = found.fun.size - int(seen.sum()) - int(fitted.sum())
    chi2 = float((found.fun**2).sum() / max(count, 1))
    together = float(salt.attrs["correlated_points"])
    inverse = np.linalg.pinv(found.jac.T @ found.jac)
    covariance = np.zeros((4, 4))
    spread = inverse * together * max(chi2, 1.0)
    # How the edges would move the answer, to first order.
    for index in np.ndindex(2, 2):
        moved = geometry.copy()
        moved[index] += doubts[index]
        shift = inverse @ found.jac.T @ (project(full, moved)[0].ravel() - found.fun)
        spread = spread + np.outer(shift, shift)
    covariance[np.ix_(fitted, fitted)] = spread * np.outer(units[fitted], units[fitted])
    shape, solved = expected(full)
    modeled = np.full(values.shape, np.nan)
    modeled[:, seen] = shape * project(full)[1]
    surfaces = np.stack([solved["surface_low"].values, solved["surface_high"].values]) / initial
    if not np.isfinite(shape[used]).any():
        raise InputError(
            f"{where}: no diffusion was found that carries the current to the end of a single profile, with "
            f"{full[0]:.3g} um of salt displaced per mAh in {edges[1] - edges[0]:.4g} um of electrolyte. Check the "
            "units of current, lengths and times, and the diffusivity (m2 s-1)."
        )
    at_limit = bool((surfaces <= 0.05).any() or np.isnan(surfaces[:, used]).any())
    if at_limit:
        # Beside a cliff a slope says nothing about an interval.
        covariance[:] = np.nan
    spreads = _propagated(solve, full, covariance, initial, surfaces)
    out = xr.Dataset(
        {
            "plated_share": (
                "t",
                surfaces[0],
                {"units": "1", "long_name": "Share of salt, plated"},
            ),
            "plated_share_sigma": ("t", spreads[0], {"units": "1"}),
            "dissolving_share": (
                "t",
                surfaces[1],
                {"units": "1", "long_name": "Share of salt, dissolving"},
            ),
            "dissolving_share_sigma": ("t", spreads[1], {"units": "1"}),
            "modeled": (("t", "y"), modeled[:, ::-1] if plated == "high" else modeled, {"units": "1"}),
        },
        coords={"t": salt["t"], "y": salt["y"]},
    )
    sigma = np.sqrt(np.diag(covariance))
    full[1], sigma[1] = np.exp(full[1]), np.exp(full[1]) * sigma[1]
    for name, value, spread, unit in zip(_PARAMETERS, full, sigma, ("um mAh-1", "1", "1", "h-1"), strict=True):
        out[name], out[f"{name}_sigma"] = (
            xr.Variable((), value, {"units": unit}),
            xr.Variable((), spread, {"units": unit}),
        )
    out.attrs = {
        "chi2": chi2,
        "n": int(found.fun.size),
        "plated": plated,
        "free": free,
        "at_limit": int(at_limit),
        "provenance": record(where, {"plated": plated, "free": free, "until_h": until_h}),
    }
    return out


def fitted_diffusivity(fit: xr.Dataset, diffusivity: Diffusivity, *, initial: float) -> Diffusivity:
    """The diffusivity that :func:`fit_salt_transport` found, as a function of the concentration.

    Parameters
    ----------
    fit : Dataset of :func:`fit_salt_transport`
    diffusivity : float or callable of concentration, m2 s-1
        The one that the fit began with.
    initial : float, mol L-1
        Concentration before the current.

    Returns
    -------
    callable
        Takes mol L-1, returns m2 s-1.

    Examples
    --------
    >>> fit = xr.Dataset({"diffusivity_scale": 0.5, "diffusivity_tilt": np.log(4.0)})
    >>> fitted_diffusivity(fit, 1e-12, initial=2.0)(np.array([0.0, 2.0])).round(15).tolist()
    [1.25e-13, 5e-13]
    """
    return _changed(diffusivity, float(np.log(fit["diffusivity_scale"])), float(fit["diffusivity_tilt"]), initial)


def _changed(diffusivity: Diffusivity, spread: float, tilt: float, initial: float) -> Diffusivity:
    base = diffusivity(_TABLE * initial) if callable(diffusivity) else np.full(_TABLE.size, float(diffusivity))
    # A table, because the solver asks hundreds of thousands of times.
    table = np.asarray(base, dtype=float) * np.exp(np.clip(spread + tilt * (_TABLE - 1), -20, 20))

    def changed(c: np.ndarray) -> np.ndarray:
        return np.interp(c, initial * _TABLE, table)

    return changed


class _Blur:
    """Averages a concentration as the imaging does; ``weight`` is the electrolyte that each point sees."""

    def __init__(self, y: np.ndarray, geometry: np.ndarray) -> None:
        (low, high), blur = geometry
        step = float(np.abs(np.diff(y)).mean()) / _FINE
        reach = 4 * float(blur.max()) + step
        count = round((high - low) / step) + 1
        # Cells that end at the electrodes, whatever the step divides.
        step = (high - low) / count
        self.fine = step * (np.arange(count + 2 * round(reach / step)) - round(reach / step) + 0.5)
        self.inside = (self.fine > 0) & (self.fine < high - low)
        self.widths = blur / step
        self.middle = self.fine < (high - low) / 2
        self.at = y - low
        even = self._smooth(self.inside.astype(float))
        self.weight = np.interp(self.at, self.fine, even, left=0.0, right=0.0)

    def _smooth(self, values: np.ndarray) -> np.ndarray:
        from scipy.ndimage import gaussian_filter1d

        low, high = (gaussian_filter1d(values, float(width), mode="constant") for width in self.widths)
        return np.where(self.middle, low, high)

    def __call__(self, share: np.ndarray, y: np.ndarray) -> np.ndarray:
        out = np.full((share.shape[0], self.at.size), np.nan)
        seen = self.weight > 0
        for row, profile in enumerate(share):
            if np.isfinite(profile).all():
                even = np.where(self.inside, np.interp(self.fine, y, profile), 0.0)
                smooth = np.interp(self.at, self.fine, self._smooth(even), left=0.0, right=0.0)
                out[row, seen] = smooth[seen] / self.weight[seen]
        return out


def _current(seconds: np.ndarray, current: np.ndarray, end: float) -> Callable[[float], float]:
    """The current at a time, even over 1/200 of the series each; nothing flows after the record."""
    end = max(end, 1.0)
    passed = np.concatenate([[0.0], np.cumsum(np.diff(seconds) * (current[1:] + current[:-1]) / 2)])
    # A solver that follows every row of a cycler takes a step per row.
    edges = np.linspace(0.0, end, 201)
    means = np.diff(np.interp(edges, seconds, passed)) / np.diff(edges)
    middles = (edges[1:] + edges[:-1]) / 2

    def flow(t: float) -> float:
        return float(np.interp(t, middles, means))

    return flow


def _first_slope(
    values: np.ndarray, y: np.ndarray, edges: np.ndarray, after: np.ndarray, flow: Callable[[float], float]
) -> float:
    """Salt displaced per charge in um mAh-1, from the halves of the early and the late profiles."""
    low, high = float(edges.min()), float(edges.max())
    step = float(np.abs(np.diff(y)).mean())
    halves = np.where((y > low - 200) & (y < high + 200), np.sign(y - (low + high) / 2), 0.0) * step / 2
    moved = values @ halves
    seconds = np.linspace(0.0, max(float(after.max()), 1.0), 2000)
    passed = np.concatenate([[0.0], np.cumsum(np.diff(seconds) * [flow(t) for t in seconds[1:]])]) / 3600.0
    charge = np.interp(np.maximum(after, 0.0), seconds, passed)
    slope = float(np.polyfit(charge, moved, 1)[0]) if np.ptp(charge) > 0 else 0.0
    return max(slope, 1e-3)


def _propagated(
    solve: Callable[[np.ndarray], xr.Dataset],
    best: np.ndarray,
    covariance: np.ndarray,
    initial: float,
    surfaces: np.ndarray,
) -> np.ndarray:
    """Sigmas of the shares at the surfaces, by finite differences of the solution."""
    gradients = []
    if np.isnan(covariance).any():
        return np.full(surfaces.shape, np.nan)
    for index in range(3):
        spread = float(np.sqrt(covariance[index, index]))
        # A small step of the sigma's own size: the surface need not be linear over less than that.
        step = 0.3 * spread or 1e-6
        moved = best.copy()
        moved[index] += step
        found = solve(moved)
        ends = np.stack([found["surface_low"].values, found["surface_high"].values]) / initial
        gradients.append((ends - surfaces) / step)
    slope = np.stack(gradients)
    variance = np.einsum("iet,ij,jet->et", slope, covariance[:3, :3], slope)
    return np.asarray(np.sqrt(np.maximum(variance, 0.0)))
