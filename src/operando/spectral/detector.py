"""What the detector does to counts: dead time, and how many photons stand behind a count."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from operando.core.errors import InputError, nearest
from operando.core.provenance import record
from operando.spectral.incident import region_pixels
from operando.spectral.pixels import pixel_blocks
from operando.spectral.stacks import as_stack, energies_ev


def check_dead_time(dead_time_us: float, dwell_ms: float | None, *, where: str) -> float:
    """Dead time per photon as a share of the dwell, 0 where there is none."""
    if not np.isfinite(dead_time_us) or dead_time_us < 0:
        raise InputError(f"{where}: dead_time_us must not be negative, got {dead_time_us!r}.")
    if dead_time_us == 0:
        return 0.0
    if dwell_ms is None or not np.isfinite(dwell_ms) or dwell_ms <= 0:
        raise InputError(
            f"{where}: a dead time needs the dwell per pixel in ms, got {dwell_ms!r}. Pass dwell_ms=..., which the "
            "header of the scan states."
        )
    return dead_time_us * 1e-3 / dwell_ms


def true_counts(measured: xr.DataArray, share: float, *, where: str, name: str = "counts") -> xr.DataArray:
    """Counts corrected for a non-paralyzable dead time, a share of the dwell per count.

    Counts that the counter cannot have reached are refused, or, where the array is lazy, NaN.
    """
    if share == 0.0:
        return measured
    if measured.chunks is None:
        most = float(measured.max())
        if most * share >= 1:
            raise InputError(
                f"{where}: with this dead time the counter is busy after {1 / share:g} counts per dwell, but {name} "
                f"reach {most:g}. Check dead_time_us and dwell_ms (us and ms), and that counts are counts, not rates."
            )
    return measured / (1 - share * measured).where(share * measured < 1)


def photons_per_count(counts: Any, region: Any, *, across: str | None = None) -> xr.DataArray:
    """How many detected photons stand behind one count, from the noise of open pixels.

    Parameters
    ----------
    counts : DataArray, dims (energy, [z], [y], [x]), or array of that shape
        Counts, or rates or averages of counts. Dark counts are to be subtracted before. May be lazy.
    region : DataArray or array of bool, dims as an image
        Pixels without sample.
    across : {"energy", "space"}, optional
        Between which values the noise is looked for. Default: energies, or space where there are fewer than three.

    Returns
    -------
    DataArray without dims, units "1"
        Photons per count, which :func:`normalize` takes; ``attrs["sigma"]`` is its standard error.

    Raises
    ------
    InputError, AxesError
        Where the region is empty or has no noise at all.

    Notes
    -----
    N photons have the variance N; c = N / g counts the variance c / g. So

    .. math:: g = \\frac{\\langle c \\rangle}{\\mathrm{var}(c)}

    Only differences are used, so that what is not noise cancels: of neighboring energies in the same pixel, after
    division by the mean of the region (fixed structure and changes of the beam drop out); or of neighboring pixels
    along the last axis. One means single photons, more an average of several dwell times, less a
    current or an amplified signal, or noise beyond that of counting. **A stack that was resampled** (aligned to a part
    of a pixel) has less noise, and shares it between neighbors: ``across="energy"`` then says how noisy a pixel of it
    is, but means over pixels scatter as in the raw one, and ``across="space"`` is too high. Drift over structure adds
    to the noise: too low a number. Holds the region in memory, as float64.

    Examples
    --------
    An average over four dwells of 25 photons:

    >>> counts = np.random.default_rng(0).poisson(100.0, size=(5, 50, 50)) / 4
    >>> found = photons_per_count(counts, np.ones((50, 50), dtype=bool))
    >>> abs(float(found) - 4) < 2 * found.attrs["sigma"], round(found.attrs["sigma"], 2)
    (True, 0.07)
    """
    where = "photons_per_count"
    stack = as_stack(counts, where=where, name="counts")
    chosen = region_pixels(region, stack, label=None, where=where)
    if across is None:
        across = "energy" if stack.sizes["energy"] >= 3 else "space"
    if across == "energy":
        ratio, pairs = _noise_over_energy(stack, chosen, where)
    elif across == "space":
        ratio, pairs = _noise_over_space(stack, chosen, where)
    else:
        raise InputError(f"{where}: across must be 'energy' or 'space', got {across!r}. {nearest(across, _ACROSS)}")
    if not np.isfinite(ratio) or ratio <= 0:
        raise InputError(
            f"{where}: the region must show noise, got none in {pairs} differences. "
            "Give the raw counts and a larger region."
        )
    # Pairs share members: about 1.5 times the variance of as many independent ones.
    attrs = {
        "units": "1",
        "long_name": "Detected photons per count",
        "sigma": float(np.sqrt(3.0 / pairs) / ratio),
        "provenance": record("operando.spectral.photons_per_count", {"across": across, "pairs": pairs}),
    }
    return xr.DataArray(1.0 / ratio, name="photons_per_count", attrs=attrs)


_ACROSS = ("energy", "space")


def _noise_over_energy(stack: xr.DataArray, chosen: np.ndarray, where: str) -> tuple[float, int]:
    """Variance over mean of the counts, and the number of differences it comes from."""
    if stack.sizes["energy"] < 2:
        raise InputError(f"{where}: noise across energies needs at least two of them. Pass across='space'.")
    order = (
        np.argsort(energies_ev(stack, where=where)) if "energy" in stack.coords else np.arange(stack.sizes["energy"])
    )
    parts = [values[:, order] for _, values in pixel_blocks(stack, chosen.ravel())]
    values = np.concatenate(parts)
    values = values[np.isfinite(values).all(axis=1)]
    if values.shape[0] < 2:
        raise InputError(f"{where}: at least two pixels with every energy are needed, got {values.shape[0]}.")
    mean = values.mean(axis=0)
    if (mean <= 0).any():
        raise InputError(f"{where}: the mean over the region must be positive at every energy, got {mean.min():g}.")
    steps = np.diff(values / mean, axis=1)
    noise = steps.var(axis=0, ddof=1)
    expected = 1 / mean[1:] + 1 / mean[:-1]
    return float(noise.sum() / expected.sum()), int(steps.size)


def _noise_over_space(stack: xr.DataArray, chosen: np.ndarray, where: str) -> tuple[float, int]:
    if stack.ndim < 2:
        raise InputError(f"{where}: noise across space needs an image. Pass across='energy'.")
    both = chosen[..., 1:] & chosen[..., :-1]
    if not both.any():
        raise InputError(f"{where}: the region must hold pixels side by side along {stack.dims[-1]!r}, got none.")
    square, level, pairs = 0.0, 0.0, 0
    for i in range(stack.sizes["energy"]):
        image = np.asarray(stack.isel(energy=i).values, dtype=float)
        left, right = image[..., :-1][both], image[..., 1:][both]
        seen = np.isfinite(left) & np.isfinite(right)
        square += float(((right - left)[seen] ** 2).sum())
        level += float((left + right)[seen].sum())
        pairs += int(seen.sum())
    return (square / level if level > 0 else np.nan), pairs
