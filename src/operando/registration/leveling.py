"""How far the electrodes are tilted against z, found from the image."""

from __future__ import annotations

import numpy as np
import xarray as xr

from operando.core.axes import SPACE, require_dims
from operando.core.errors import InputError
from operando.registration.pair import voxel_edges
from operando.registration.resample import from_voxels
from operando.registration.transform import RigidTransform

_COLUMNS, _WIDTH = 48, 4
_SMOOTH = 2.0  # voxels along z
_STAND_OUT = 4.0
_PARTS = 4


def level(image: xr.DataArray, *, max_tilt_deg: float = 12.0) -> RigidTransform:
    """Rotation that makes the electrodes normal to z, from the flat interfaces in the image.

    Parameters
    ----------
    image : DataArray, dims (z, y, x)
        Gray image of a cell whose electrodes are roughly normal to z; may be lazy. NaN counts as the mean gray.
    max_tilt_deg : float
        Largest tilt about y and about x to look for, up to 30.

    Returns
    -------
    RigidTransform
        About the middle of the field, without a turn about z: takes a point of the leveled frame to where ``image``
        shows it, so that ``level(image).apply(image)`` is the leveled image. ``.sigma`` holds the standard errors of
        the rotations about y and x, from leaving out each quarter of the columns; the other entries are NaN.

    Raises
    ------
    InputError
        Where no tilt stands out, or the best is at ``max_tilt_deg``.

    Notes
    -----
    Electrode and electrolyte meet in parallel planes :math:`z = a + b y + c x`. The profile of the gray along z,
    averaged over all columns after shearing each by :math:`b y + c x`, has the sharpest steps where b and c are right:

    .. math:: (b, c) = \\arg\\max \\int \\left|
        \\frac{d^2}{dz^2} G * \\langle g(z + b y + c x, y, x) \\rangle \\right|^2 dz

    (G: a Gaussian, sigma 2 voxels, because noise is sharp as well; the first derivative would not do, since the height
    of a step does not depend on the tilt.) The sharpness is evaluated in Fourier space on a grid of tilts that is
    refined around its largest value. Every column counts, not an edge found in each, so that noise and particles hardly
    matter; neither need the interfaces be found, nor all be flat.

    Level the pristine scan and keep its transform for the series: lithium that grew is no plane.

    Not to be trusted where a rough or curved surface is all there is, or where an interface leaves the field of view
    through top or bottom.

    Memory: at most 192 x 192 columns of the image.

    Examples
    --------
    A step that climbs by one voxel in every ten along x, 5.71 degrees:

    >>> from operando.core.axes import labeled_image
    >>> z, _, x = np.ogrid[:64, :40, :40]
    >>> image = labeled_image(np.tanh((z - 30 - 0.1 * x) / 2) + np.zeros((64, 40, 40)), voxel_size_um=2.0)
    >>> level(image).rotation_deg.round(1).tolist()
    [0.0, 5.7, 0.0]
    """
    where = "level"
    require_dims(image, SPACE, where=where)
    image = image.transpose(*SPACE)
    if not 0 < max_tilt_deg <= 30:
        raise InputError(f"{where}: max_tilt_deg must be above 0 and at most 30, got {max_tilt_deg}. Turn it before.")
    if min(image.shape) < 8:
        raise InputError(f"{where}: at least 8 voxels along z, y and x are needed, got {image.shape}. Take more.")
    steps, unit = voxel_edges(image, where)
    spectrum, waves, (y, x) = _columns(image)
    limits = np.tan(np.deg2rad(max_tilt_deg)) * steps[1:] / steps[0]
    tilt = _sharpest(spectrum, waves, y, x, limits, where)
    part = (np.arange(y.size)[:, None] // 2 % 2) * 2 + np.arange(x.size) // 2 % 2
    without = np.array(
        [_refined(np.where(part == k, 0, spectrum), waves, y, x, tilt, limits / 50) for k in range(_PARTS)]
    )
    spread = np.sqrt((_PARTS - 1) / _PARTS * ((without - without.mean(axis=0)) ** 2).sum(axis=0))

    slope_y, slope_x = tilt * steps[0] / steps[1:]
    normal = np.array([1.0, -slope_y, -slope_x]) / np.sqrt(1 + slope_y**2 + slope_x**2)
    turn = np.cross([1.0, 0.0, 0.0], normal)
    sine = np.linalg.norm(turn)
    vector = np.rad2deg(np.arcsin(sine)) * turn / sine if sine > 0 else turn
    sigma_y, sigma_x = np.rad2deg(spread * steps[0] / steps[1:])
    to = from_voxels(image, unit, where)
    middle = to[:3, :3] @ ((np.array(image.shape) - 1) / 2) + to[:3, 3]
    found = RigidTransform.from_rotation(tuple(vector), center=tuple(middle), units=unit)
    # A slope along y is a rotation about x, and the other way around.
    return RigidTransform(found.matrix, unit, tuple(middle), (np.nan, np.nan, np.nan, np.nan, sigma_x, sigma_y))


def _columns(image: xr.DataArray) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Spectra along z of evenly spread columns, (frequency, y, x), their angular frequencies and places."""
    from scipy import fft
    from scipy.signal.windows import tukey

    picked, places = {}, []
    for dim in ("y", "x"):
        size = image.sizes[dim]
        width = max(1, min(_WIDTH, size // 8))
        count = min(_COLUMNS, size // width) // 4 * 4 or 4
        starts = np.linspace(0, size - width, count).round().astype(int)
        picked[dim] = (starts[:, None] + np.arange(width)).ravel()
        places.append(starts + (width - 1) / 2 - (size - 1) / 2)
    values = np.asarray(image.isel(picked).values, dtype=np.float32)
    known = np.isfinite(values)
    if not known.all():
        values = np.where(known, values, np.mean(values[known]) if known.any() else 0)
    blocks = values.reshape(values.shape[0], places[0].size, -1, places[1].size, picked["x"].size // places[1].size)
    profile = np.diff(blocks.mean(axis=(2, 4), dtype=float), axis=0)
    # The ends must not meet when a column is sheared.
    profile *= tukey(profile.shape[0], 0.3)[:, None, None]
    size = fft.next_fast_len(profile.shape[0] * 3 // 2, real=True)
    waves = 2 * np.pi * np.arange(size // 2 + 1) / size
    spectrum = fft.rfft(profile, size, axis=0) * (waves * np.exp(-0.5 * (_SMOOTH * waves) ** 2))[:, None, None]
    useful = waves * _SMOOTH < 4
    return spectrum[useful], waves[useful], places


def _sharpness(
    spectrum: np.ndarray, waves: np.ndarray, y: np.ndarray, x: np.ndarray, b: np.ndarray, c: np.ndarray
) -> np.ndarray:
    """Energy of the averaged profile for every pair of slopes, (b, c)."""
    total = np.zeros((b.size, c.size))
    for plane, wave in zip(spectrum, waves, strict=True):
        mean = np.exp(1j * wave * np.outer(b, y)) @ plane @ np.exp(1j * wave * np.outer(x, c))
        total += np.abs(mean) ** 2
    return total


def _sharpest(
    spectrum: np.ndarray, waves: np.ndarray, y: np.ndarray, x: np.ndarray, limits: np.ndarray, where: str
) -> np.ndarray:
    # Slopes so close that the farthest column moves by about the smoothing.
    reach = limits * [np.abs(y).max(), np.abs(x).max()]
    counts = np.clip(np.ceil(reach / _SMOOTH), 4, 200).astype(int)
    b, c = (np.linspace(-lim, lim, 2 * n + 1) for lim, n in zip(limits, counts, strict=True))
    total = _sharpness(spectrum, waves, y, x, b, c)
    i, j = np.unravel_index(np.argmax(total), total.shape)
    # What columns that have nothing to do with each other would add up to.
    by_chance = float((np.abs(spectrum) ** 2).sum())
    if not total[i, j] > _STAND_OUT * by_chance:
        raise InputError(
            f"{where}: flat interfaces across z are needed, and no tilt stands out (sharpness {total[i, j]:.3g}, by "
            f"chance {by_chance:.3g}). Check that z is normal to the electrodes, or pass the pristine scan."
        )
    if i in (0, b.size - 1) or j in (0, c.size - 1):
        raise InputError(
            f"{where}: the tilt must be below max_tilt_deg, got a best match at its limit. Pass a larger one, or turn "
            "the image coarsely first."
        )
    return _refined(spectrum, waves, y, x, np.array([b[i], c[j]]), np.array([b[1] - b[0], c[1] - c[0]]))


def _refined(
    spectrum: np.ndarray, waves: np.ndarray, y: np.ndarray, x: np.ndarray, tilt: np.ndarray, step: np.ndarray
) -> np.ndarray:
    """The largest sharpness near a tilt, by grids of 5 x 5 that shrink by half."""
    offsets = np.linspace(-1, 1, 5)
    for _ in range(10):
        total = _sharpness(spectrum, waves, y, x, tilt[0] + step[0] * offsets, tilt[1] + step[1] * offsets)
        i, j = np.unravel_index(np.argmax(total), total.shape)
        tilt = tilt + step * offsets[[i, j]]
        step = step / 2
    return np.asarray(tilt)
