"""Phase retrieval from one distance, for samples of one material."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from operando.core.errors import InputError, UnitsError
from operando.core.provenance import record
from operando.tomography.geometry import check_projections, pixel_size

_WAVELENGTH_UM_KEV = 1.2398419843e-3
"""Planck's constant times the speed of light."""


def paganin(transmission: xr.DataArray, *, energy_kev: float, distance_mm: float, delta_beta: float) -> xr.DataArray:
    """Retrieve the transmission at the sample from propagation-based phase contrast.

    Parameters
    ----------
    transmission : DataArray, dims (angle, detector_y, detector_x)
        Flat-corrected intensity (:func:`normalize`), detector coordinates in um, without NaN; may be lazy.
    energy_kev : float
        Of the photons.
    distance_mm : float
        From sample to detector.
    delta_beta : float
        Ratio of refraction delta to absorption beta of the sample at this energy, in the thousands for light matter.

    Returns
    -------
    DataArray, dims (angle, detector_y, detector_x), units "1"
        Transmission exp(-mu T) of the thickness T as float32; :func:`minus_log` of it over the attenuation coefficient
        is the thickness. Lazy where ``transmission`` is.

    Raises
    ------
    InputError, UnitsError
        Where a number is not positive, or the detector has no pixel size.

    Notes
    -----
    .. math:: e^{-\\mu T} = \\mathcal{F}^{-1} \\left[ \\frac{\\mathcal{F}[I]}
        {1 + \\frac{z \\lambda}{4 \\pi} \\frac{\\delta}{\\beta} \\lvert 2 \\pi f \\rvert^2} \\right]

    Paganin et al. 2002 [1]_, eq. 10, with mu = 4 pi beta / lambda, so that z delta / mu = z lambda delta / (4 pi beta).
    Parallel beam, one material, the near field (pixel squared well above wavelength times distance). The mean is kept.
    Projections are mirrored at their edges before the transform.

    When not to trust it: of two materials one is retrieved and the other gets blurred edges (delta over beta too high)
    or fringes (too low). It is a low pass: what it takes from noise it takes from detail of that size too.

    Memory: one projection at a time, about twelve times (mirrored and complex).

    A volume from a lazy ``transmission`` computes every projection again for every block of rows: save the retrieved
    projections first (:func:`operando.io.save_image`).

    References
    ----------
    .. [1] D. Paganin, S. C. Mayo, T. E. Gureyev, P. R. Miller, S. W. Wilkins, J. Microscopy 206, 33 (2002).

    Examples
    --------
    What is the same everywhere stays:

    >>> from operando.tomography import detector_coords
    >>> even = xr.DataArray(np.full((1, 4, 4), 0.5), dims=("angle", "detector_y", "detector_x"))
    >>> even = detector_coords(even, pixel_size_um=1.0)
    >>> paganin(even, energy_kev=20, distance_mm=50, delta_beta=1000).values.round(6).max()
    np.float32(0.5)
    """
    where = "paganin"
    ordered = check_projections(transmission, where=where)
    for name, value in (("energy_kev", energy_kev), ("distance_mm", distance_mm), ("delta_beta", delta_beta)):
        if not (np.isfinite(value) and value > 0):
            raise InputError(
                f"{where}: {name} must be positive and finite, got {value!r}. Take it from the log of the scan."
            )
    step, unit = pixel_size(ordered, where=where)
    if unit != "um":
        raise UnitsError(
            f"{where}: the size of a detector pixel is needed, but detector_x is in px. "
            "Set it with operando.tomography.detector_coords(projections, pixel_size_um=...)."
        )
    wavelength = _WAVELENGTH_UM_KEV / energy_kev
    blur = 1e3 * distance_mm * wavelength * delta_beta / (4 * np.pi)

    def retrieve(block: np.ndarray) -> np.ndarray:
        return np.stack([_low_pass(frame, blur, step) for frame in block])

    data: Any = ordered.data
    if isinstance(data, np.ndarray):
        values: Any = retrieve(data)
    else:
        whole = data.rechunk({0: "auto", 1: -1, 2: -1})
        values = whole.map_blocks(retrieve, dtype=np.float32, meta=np.empty((0, 0, 0), dtype=np.float32))
    result = ordered.copy(data=values).rename("transmission")
    parameters = {"energy_kev": energy_kev, "distance_mm": distance_mm, "delta_beta": delta_beta}
    result.attrs = {**transmission.attrs, "provenance": record("operando.tomography.paganin", parameters)}
    return result


def _low_pass(frame: np.ndarray, blur: float, step: float) -> np.ndarray:
    from scipy.fft import dctn, idctn

    # The cosine transform is the Fourier transform of the mirrored frame.
    spectrum = dctn(frame.astype(np.float64), type=2)
    fy, fx = (np.arange(n) / (2 * n * step) for n in frame.shape)
    spectrum /= 1.0 + blur * (2 * np.pi) ** 2 * (fy[:, None] ** 2 + fx[None, :] ** 2)
    return np.asarray(idctn(spectrum, type=2), dtype=np.float32)
