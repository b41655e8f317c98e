"""Salt between two lithium electrodes from profiles of a nuclear magnetic resonance signal, and where it went."""

from __future__ import annotations

import numpy as np
import xarray as xr

from operando.core.axes import axis_spacing, require_dims
from operando.core.errors import InputError
from operando.core.provenance import record

ENDS = ("low", "high")
"""The two electrodes, by the end of the y axis at which they lie."""


def salt_concentration(signal: xr.DataArray, *, concentration: float, use_first: int = 3) -> xr.Dataset:
    r"""Turn profiles of the signal of the anion into salt concentration, and find the electrodes at their edges.

    Parameters
    ----------
    signal : DataArray, dims (t, y)
        As ``io.open_profiles`` returns it: signal along the normal of the electrodes, nothing where there is metal.
    concentration : float, mol L-1
        Of the salt before the current, everywhere the same.
    use_first : int
        So many first profiles together are the state before the current (sensitivity of the coil, shape of the edges).

    Returns
    -------
    Dataset
        ``concentration`` and ``concentration_sigma`` (t, y) in mol L-1, NaN outside the electrodes; ``position``,
        ``position_sigma`` and ``blur`` (end) in the units of y: the middle of each electrode's edge and
        the standard deviation of the error function that it is; ``signal`` (t, y), with the background
        off and in units of the full signal; ``reference`` (y), that of the first profiles. ``attrs``: ``noise`` (of a
        point of ``signal``), ``correlated_points`` (so many neighbors err together), ``initial``, ``use_first``.

    Raises
    ------
    AxesError, InputError
        Where dims do not fit, no electrolyte stands out of the background, or there are too few profiles.

    Notes
    -----
    .. math:: c(y, t) = c_0\, \frac{S(y, t) - b(y)}{\langle S(y, t) - b(y) \rangle_{\mathrm{first}}}

    The background b is the line through the mean signal beside the electrolyte (0.2 to 0.7 of its thickness away). The
    full signal of ``signal`` is the parabola through the first profiles farther than three blurs from the electrodes,
    level beyond them: a coil is not everywhere as sensitive.
    Noise is measured from differences of successive profiles. Within about twice ``blur`` of an electrode the ratio is
    an average over that length: a diffusion layer thinner than that shows less than its depletion at the surface (see
    :func:`fit_salt_transport`). The first profiles are taken as even salt: current that flowed while they were recorded
    is missing from everything after. Memory: four times the profiles.

    Examples
    --------
    Salt that falls by a tenth everywhere between electrodes at 3 and 7 um:

    >>> y = np.arange(0.05, 10, 0.1)
    >>> box = ((y > 3) & (y < 7)).astype(float)
    >>> t = ("t", np.arange(4.0), {"units": "s"})
    >>> signal = xr.DataArray(np.outer([1, 1, 1, 0.9], box) + 5, dims=("t", "y"), coords={"t": t, "y": y})
    >>> found = salt_concentration(signal, concentration=2.0)
    >>> found["position"].values.round(1).tolist(), found["concentration"].values[-1, 50].round(3).item()
    ([3.0, 7.0], 1.8)
    """
    where = "salt_concentration"
    require_dims(signal, ("t", "y"), where=where)
    if signal.sizes["t"] < max(use_first, 3) or use_first < 1:
        raise InputError(
            f"{where}: at least three profiles and use_first >= 1 of them are needed, got {signal.sizes['t']} and "
            f"use_first={use_first!r}. Read more profiles."
        )
    if not (np.isfinite(concentration) and concentration > 0):
        raise InputError(f"{where}: concentration must be positive, got {concentration!r}. Give it in mol L-1.")
    step, unit = axis_spacing(signal, "y", where=where)
    values = signal.transpose("t", "y").values.astype(float)
    if not np.isfinite(values).all():
        raise InputError(f"{where}: every value must be finite. Leave profiles with missing points out.")
    y = signal["y"].values.astype(float) if "y" in signal.coords else np.arange(values.shape[1], dtype=float)
    rough = _rough_edges(values.mean(axis=0), y, where)
    values = values - _background(values.mean(axis=0), y, rough)
    thick = rough[1] - rough[0]
    inner = (y > rough[0] + 0.25 * thick) & (y < rough[1] - 0.25 * thick)
    values = values / np.median(values[:use_first][:, inner])

    def find_edges(reference: np.ndarray) -> list[tuple[float, ...]]:
        spread = noise * np.sqrt(together / use_first)
        return [_edge(reference, y, at, thick, spread, end) for end, at in zip(ENDS, rough, strict=True)]

    noise, together = _noise(values[:, inner])
    # The plateau is known once the blur is.
    full = _sensitivity(values[:use_first].mean(axis=0), y, find_edges(values[:use_first].mean(axis=0)), where)
    values = values / full
    reference = values[:use_first].mean(axis=0)
    edges = find_edges(reference)
    position = np.array([edge[0] for edge in edges])
    between = (y >= position[0]) & (y <= position[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(between, values / reference, np.nan)
        sigma = np.where(between, noise / reference * np.sqrt(1 + share**2 / use_first), np.nan)
    molar = {"units": "mol L-1"}
    # The sensitivity of neighbors' noise enters fits of lines to the profile under this name.
    smooth = {"smoothing": (together, together)}
    out = xr.Dataset(
        {
            "concentration": (
                ("t", "y"),
                concentration * share,
                {**molar, **smooth, "long_name": "Salt concentration"},
            ),
            "concentration_sigma": (
                ("t", "y"),
                concentration * sigma,
                {**molar, "long_name": "Its standard uncertainty"},
            ),
            "signal": (("t", "y"), values, {"units": "1", "long_name": "Signal over that without depletion"}),
            "reference": ("y", reference, {"units": "1", "long_name": "Signal before the current"}),
            "position": ("end", position, {"units": unit, "long_name": "Surface of the electrode"}),
            "position_sigma": ("end", [edge[1] for edge in edges], {"units": unit}),
            "blur_sigma": ("end", [edge[3] for edge in edges], {"units": unit}),
            "blur": ("end", [edge[2] for edge in edges], {"units": unit, "long_name": "Blur of the edge"}),
        },
        coords={"t": signal["t"], "y": signal["y"], "end": list(ENDS)}
        if "y" in signal.coords
        else {"t": signal["t"], "y": y, "end": list(ENDS)},
    )
    parameters = {"concentration": concentration, "use_first": use_first}
    out.attrs = {
        "noise": noise,
        "correlated_points": together,
        "initial": float(concentration),
        "use_first": int(use_first),
        "interval_s": float(signal.attrs.get("interval_s", 0.0)),
        "spacing": step,
        "simulated": bool(signal.attrs.get("simulated", False)),
        "provenance": record(where, parameters),
    }
    return out


def electrode_surface(salt: xr.Dataset, end: str) -> xr.Dataset:
    """The surface of one electrode as the functions for images take it: an interface without x.

    Parameters
    ----------
    salt : Dataset of :func:`salt_concentration`
    end : {"low", "high"}
        Which electrode.

    Returns
    -------
    Dataset, dims (t)
        ``position``, ``position_sigma``, ``crossings``, ``overhang``, ``broken``; the electrode is taken not to move
        (0.1 mAh cm-2 of lithium is half a micrometer). ``attrs["metal"]`` is ``end``.

    Raises
    ------
    InputError
        Where ``end`` is another word.

    Examples
    --------
    >>> salt = xr.Dataset({"position": ("end", [3.0, 7.0], {"units": "um"}), "position_sigma": ("end", [0.1, 0.1])},
    ...     coords={"end": list(ENDS), "t": [0.0, 1.0], "y": [0.5, 9.5]}, attrs={"spacing": 1.0})
    >>> electrode_surface(salt, "high")["position"].values.tolist()
    [7.0, 7.0]
    """
    if end not in ENDS:
        raise InputError(f"electrode_surface: end must be 'low' or 'high', got {end!r}. Choose one of these.")
    count = salt.sizes["t"]
    one = salt[["position", "position_sigma"]].sel(end=end)
    unit = str(salt["position"].attrs.get("units", "px"))
    y = salt["y"].values
    edge = float(y[0] - salt.attrs["spacing"] / 2 if end == "low" else y[-1] + salt.attrs["spacing"] / 2)
    return xr.Dataset(
        {
            "position": ("t", np.full(count, float(one["position"])), {"units": unit}),
            "position_sigma": ("t", np.full(count, float(one["position_sigma"])), {"units": unit}),
            "crossings": ("t", np.ones(count, dtype=np.int64)),
            "overhang": ("t", np.zeros(count, dtype=bool)),
            "broken": ("t", np.zeros(count, dtype=bool)),
        },
        coords={"t": salt["t"]},
        attrs={"metal": end, "units": unit, "edge": edge},
    )


def _rough_edges(mean: np.ndarray, y: np.ndarray, where: str) -> tuple[float, float]:
    ground, top = np.percentile(mean, [20, 90])
    above = np.flatnonzero(mean > (ground + top) / 2)
    spread = np.median(np.abs(np.diff(mean)))
    if above.size < 8 or above[0] == 0 or above[-1] == mean.size - 1 or top - ground < 4 * spread:
        raise InputError(
            f"{where}: the electrolyte must stand out of the background with some of it on both sides, got "
            f"{above.size} points above half between {ground:.4g} and {top:.4g}. Export more of the field of view, or "
            "check the files."
        )
    return float(y[above[0]]), float(y[above[-1]])


def _background(mean: np.ndarray, y: np.ndarray, edges: tuple[float, float]) -> np.ndarray:
    thick = edges[1] - edges[0]
    outside = np.maximum(edges[0] - y, y - edges[1])
    beside = (outside > 0.2 * thick) & (outside < 0.7 * thick)
    left, right = beside & (y < edges[0]), beside & (y > edges[1])
    if left.sum() < 3 or right.sum() < 3:
        raise InputError(
            f"salt_concentration: background is needed beside both electrodes, got {int(left.sum())} points below and "
            f"{int(right.sum())} above, 0.2 to 0.7 of the thickness away. Export more of the field of view."
        )
    return np.asarray(np.polyval(np.polyfit(y[beside], mean[beside], 1), y))


def _sensitivity(reference: np.ndarray, y: np.ndarray, edges: list[tuple[float, ...]], where: str) -> np.ndarray:
    """Full signal along y: a parabola between the electrodes, level beyond."""
    (low, _, low_blur, _), (high, _, high_blur, _) = edges
    x = np.clip((y - low) / (high - low), 0.0, 1.0)
    plateau = (y > low + 3 * low_blur) & (y < high - 3 * high_blur)
    if plateau.sum() < 8:
        raise InputError(
            f"{where}: the electrolyte must be thicker than its blurred edges, got {high - low:.4g} between edges "
            f"blurred by {low_blur:.3g} and {high_blur:.3g}: {int(plateau.sum())} points are left. Image finer."
        )
    full = np.polyval(np.polyfit(x[plateau], reference[plateau], 2), x)
    if not (full > 0).all():
        raise InputError(
            f"{where}: the signal between the electrodes must be above that beside them everywhere, got "
            f"{full.min():.4g} of its middle at one end. Check the files."
        )
    return np.asarray(full)


def _noise(values: np.ndarray) -> tuple[float, float]:
    """Noise of a point from successive profiles, and how many neighbors share it."""
    steps = np.diff(values, axis=0) / np.sqrt(2)
    variance = float((steps**2).mean())
    if variance == 0:
        return 0.0, 1.0
    together = 1.0
    for lag in range(1, min(8, steps.shape[1])):
        correlation = float((steps[:, lag:] * steps[:, :-lag]).mean()) / variance
        if correlation < 0.1:
            break
        together += 2 * correlation
    return float(np.sqrt(variance)), together


def _edge(reference: np.ndarray, y: np.ndarray, at: float, thick: float, noise: float, end: str) -> tuple[float, ...]:
    """Position and width of the error function that an edge of the electrolyte is, each with its sigma."""
    from scipy.optimize import least_squares
    from scipy.special import erf

    sign = 1.0 if end == "low" else -1.0
    near = np.abs(y - at) < 0.2 * thick
    step = float(np.abs(np.diff(y)).mean())
    least = step / np.sqrt(12)  # a point averages over its own width

    def misfit(parameters: np.ndarray) -> np.ndarray:
        position, width, top = parameters
        rise = erf(sign * (y[near] - position) / (np.sqrt(2) * np.hypot(width, least)))
        return np.asarray(top / 2 * (1 + rise) - reference[near])

    found = least_squares(misfit, [at, max(0.02 * thick, step / 2), 1.0], x_scale=[step, step, 0.1])
    position, width, top = (float(value) for value in found.x)
    if not (abs(position - at) < 0.2 * thick and 0.3 < top < 3):
        raise InputError(
            f"salt_concentration: the {end} edge of the electrolyte is no error function (found at {position:.4g} with "
            f"the height {top:.3g}). Check that nothing else gives a signal there."
        )
    # What is no error function, such as a tail or a tilted electrode, scatters more than the noise.
    scatter = max(noise, float(np.std(found.fun)))
    spread = scatter * np.sqrt(np.diag(np.linalg.pinv(found.jac.T @ found.jac)))
    return position, float(spread[0]), float(np.hypot(width, least)), float(spread[1])
