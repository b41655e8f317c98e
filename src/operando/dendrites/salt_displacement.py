"""How much salt the current has taken from one electrode to the other, from the integrals of profiles."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import spacing
from operando.core.errors import InputError


def salt_displaced(salt: xr.Dataset) -> xr.Dataset:
    r"""How much salt has gathered at one electrode and is missing at the other, from the integrals of the two halves.

    Parameters
    ----------
    salt : Dataset of :func:`operando.dendrites.salt_concentration`

    Returns
    -------
    Dataset, dims (t)
        In um of electrolyte at its initial concentration (times c0 gives mol per area): ``excess`` (t, end) of each
        half, ``displaced`` (from the electrode that is plated to the other; positive once current flows), ``balance``
        (of the whole, 0 where salt is conserved), each beside its ``_sigma``. ``attrs["plated"]``: the end that loses
        salt over the series; ``attrs["thickness_um"]``.

    Raises
    ------
    InputError
        Where y has no length unit.

    Notes
    -----
    .. math:: N_k(t) = \int_{\mathrm{half}\ k} \frac{S(y, t) - S_0(y)}{S_\mathrm{full}}\, dy, \quad
              N = (N_\mathrm{other} - N_\mathrm{plated}) / 2

    The integral reaches three blurs into the electrodes, so that **blur moves no salt**: this number is right where the
    concentration at the surface is not. A drift of the gain changes both halves alike and drops out of ``displaced``;
    it is all of ``balance``. Sigmas take the noise of points that err together and that of the first profiles, which is
    common to all times and taken off again by any fit with an offset. Salt that has diffused across the middle is no
    longer counted: true until the diffusion layer reaches there.

    Examples
    --------
    >>> from operando.dendrites import salt_concentration
    >>> y = np.arange(0.05, 10, 0.1)
    >>> box = ((y > 3) & (y < 7)).astype(float)
    >>> moved = box * (1 + np.where(y > 5, 0.1, -0.1))
    >>> coords = {"t": ("t", np.arange(4.0), {"units": "s"}), "y": ("y", y, {"units": "um"})}
    >>> signal = xr.DataArray(np.stack([box, box, box, moved]), dims=("t", "y"), coords=coords)
    >>> found = salt_displaced(salt_concentration(signal, concentration=2.0))
    >>> round(float(found["displaced"][-1]), 3), round(abs(float(found["balance"][-1])), 3), found.attrs["plated"]
    (0.2, 0.0, 'low')
    """
    step = spacing(salt["concentration"], where="salt_displaced")["y"]
    y = salt["y"].values.astype(float) * step / salt.attrs["spacing"]
    scale = step / salt.attrs["spacing"]
    low, high = (scale * salt["position"].values).tolist()
    reach = 3 * scale * salt["blur"].values
    middle = (low + high) / 2
    halves = np.stack([(y >= low - reach[0]) & (y < middle), (y >= middle) & (y <= high + reach[1])])
    change = salt["signal"].values - salt["reference"].values
    excess = step * change @ halves.T
    first = salt.attrs["use_first"]
    # Those of the first profiles err with them in common: the difference errs less.
    ahead = np.arange(salt.sizes["t"]) < first
    factor = np.where(ahead, 1 - 1 / first, 1 + 1 / first)
    one = salt.attrs["noise"] * step * np.sqrt(halves.sum(axis=1) * salt.attrs["correlated_points"])
    sigma = np.sqrt(factor)[:, None] * one
    moved = (excess[:, 1] - excess[:, 0]) / 2
    late = moved[-max(len(moved) // 4, 1) :].mean()
    plated = "low" if late >= 0 else "high"
    both = np.sqrt((sigma**2).sum(axis=1))
    um = {"units": "um"}
    return xr.Dataset(
        {
            "excess": (("t", "end"), excess, {**um, "long_name": "Salt gained, as thickness"}),
            "excess_sigma": (("t", "end"), sigma, um),
            "displaced": (
                "t",
                moved if plated == "low" else -moved,
                {**um, "long_name": "Salt displaced, as thickness"},
            ),
            "displaced_sigma": ("t", both / 2, um),
            "balance": ("t", excess.sum(axis=1), {**um, "long_name": "Salt gained by the whole, as thickness"}),
            "balance_sigma": ("t", both, um),
        },
        coords={"t": salt["t"], "end": salt["end"]},
        attrs={"plated": plated, "thickness_um": high - low},
    )


def displaced_per_charge(displaced: xr.Dataset, charge_mah: Any, *, until: float | None = None) -> dict[str, float]:
    r"""Slope of the displaced salt against the charge: what Sand's time needs, measured.

    Parameters
    ----------
    displaced : Dataset of :func:`salt_displaced`
    charge_mah : array-like, shape (t)
        Charge passed by the middle of each profile, in mAh; counted positive where it is largest.
    until : float, optional
        Use profiles up to this charge only.

    Returns
    -------
    dict
        ``slope`` and ``slope_sigma`` in um mAh-1, ``offset`` in um, ``n``, ``chi2`` per degree of freedom.

    Raises
    ------
    InputError
        Where fewer than three profiles with different charge are left.

    Notes
    -----
    .. math:: \frac{dN}{dQ} = \frac{1 - t_+}{F\, A\, c_0}

    Least squares with an offset, which takes up the state of the first profiles. The sigma is that of the noise, or of
    the scatter where that is larger.

    Examples
    --------
    >>> displaced = xr.Dataset({"displaced": ("t", [0.0, 2.0, 4.0]), "displaced_sigma": ("t", [1.0, 1.0, 1.0])})
    >>> round(displaced_per_charge(displaced, [0.0, 0.1, 0.2])["slope"], 6)
    20.0
    """
    charge = np.asarray(charge_mah, dtype=float)
    largest = max(np.nanmin(charge), np.nanmax(charge), key=abs) if np.isfinite(charge).any() else 0.0
    charge = charge * np.sign(largest)
    used = np.isfinite(charge) & np.isfinite(displaced["displaced"].values)
    if until is not None:
        used &= charge <= until
    x, values = charge[used], displaced["displaced"].values[used]
    if x.size < 3 or np.ptp(x) == 0:
        raise InputError(
            f"displaced_per_charge: at least three profiles with different charge are needed, got {x.size}"
            + (f" up to {until:g} mAh" if until is not None else "")
            + ". Match the clocks of profiles and cycler."
        )
    noise = float(np.median(displaced["displaced_sigma"].values[used]))
    slope, offset = np.polyfit(x, values, 1)
    chi2 = float(((values - slope * x - offset) ** 2).sum() / (x.size - 2) / noise**2) if noise > 0 else np.nan
    sigma = noise * np.sqrt(max(chi2, 1.0) / ((x - x.mean()) ** 2).sum()) if noise > 0 else 0.0
    return {"slope": float(slope), "slope_sigma": float(sigma), "offset": float(offset), "n": int(x.size), "chi2": chi2}
