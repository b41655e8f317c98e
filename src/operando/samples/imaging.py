"""What the detector and the reconstruction make of a cell: gray levels, blur, fringes, rings, drift, noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from operando.core.phases import CELL
from operando.samples.fields import correlated, generator

GRAY = {
    "electrolyte": 1.000,
    "electrode": 0.980,
    "deposited": 0.966,
    "dendrite": 0.966,
    "pit": 0.952,
    "redeposited": 0.966,
}
"""Gray of each phase relative to the electrolyte: void < mossy lithium < dense lithium < polymer."""

_MOSSY = ("deposited", "dendrite", "redeposited")
_FRINGE_SIGMA = 1.2
_PARTICLE = 1.03
_POISSON_SHARE = 0.8


@dataclass(frozen=True)
class Imaging:
    """Strength of every effect; 0 turns one off. Relative to the electrolyte's gray unless said otherwise.

    ``gray`` holds one value per id; ``blur`` and ``noise_correlation`` are sigmas in voxels; ``defects`` is the
    volume fraction of dense particles in polymer and foil.
    """

    gray: np.ndarray
    texture: float
    defects: float
    blur: float
    fringes: float
    rings: float
    shading: float
    drift: float
    noise: float
    noise_correlation: float


def gray_levels(gray: Mapping[str, float] | None, *, variation: float, seed: int) -> np.ndarray:
    """Gray per phase id: the given or usual value, varied a little from cell to cell."""
    rng = generator(seed, "gray")
    levels = np.zeros(max(CELL.ids) + 1)
    for name, number in CELL.items():
        jitter = float(np.clip(rng.standard_normal(), -2, 2)) * variation
        levels[number] = float(gray[name]) if gray and name in gray else GRAY[name] * (1 + jitter)
    return levels


class Camera:
    """Images of one cell, scan by scan; what belongs to the cell or the detector is drawn once.

    ``dense`` and ``void`` are the ids of the phases between which the stated fringe stands; the noise is stated in
    ``dense``.
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        imaging: Imaging,
        seed: int,
        scans: int,
        dense: int = CELL["electrolyte"],
        void: int = CELL["pit"],
    ) -> None:
        self._shape, self._imaging, self._seed = tuple(shape), imaging, seed
        self._dense, self._void = float(imaging.gray[dense]), float(imaging.gray[void])
        drift = generator(seed, "drift").standard_normal(scans).cumsum()
        # A random walk grows with the root of the number of scans; the stated drift is its standard deviation.
        self._gain = 1.0 + imaging.drift * (drift - drift[0]) / max(1.0, np.sqrt(scans / 2))

    def image(self, labels: np.ndarray, *, scan: int, to_reference: np.ndarray | None) -> np.ndarray:
        """Gray image of one scan.

        Parameters
        ----------
        labels : ndarray of uint8, shape (z, y, x)
            In the frame of the cell.
        scan : int
            Which noise to draw.
        to_reference : ndarray of shape (3, 4), optional
            Voxel position in the cell for a voxel position in the image; None: the same.

        Returns
        -------
        ndarray of float32, shape (z, y, x)
        """
        use = self._imaging
        image = use.gray.astype(np.float32)[labels]
        if use.defects:
            image[self._particles & (labels <= CELL["electrode"])] *= np.float32(_PARTICLE)
        if use.texture:
            image *= self._texture(labels)
        return self.expose(image, scan=scan, to_reference=to_reference)

    def expose(self, image: np.ndarray, *, scan: int, to_reference: np.ndarray | None = None) -> np.ndarray:
        """What detector and reconstruction make of the gray (z, y, x) float32 of a cell; see :meth:`image`."""
        from scipy.ndimage import affine_transform, gaussian_filter, laplace, spline_filter

        use = self._imaging
        if use.fringes:
            edges = laplace(gaussian_filter(image, _FRINGE_SIGMA, mode="nearest"), mode="nearest")
        if use.blur:
            image = gaussian_filter(image, use.blur, mode="nearest")
        if use.fringes:
            edges *= np.float32(use.fringes / self._fringe_unit)
            image -= edges
            del edges
        if to_reference is not None:
            # Filtered here because scipy would do it in float64.
            image = spline_filter(image, order=3, output=np.float32, mode="mirror")
            image = affine_transform(
                image, to_reference[:, :3], to_reference[:, 3], order=3, mode="mirror", prefilter=False
            )
        if use.shading:
            image *= self._shade
        if use.rings:
            image += self._rings
        image *= np.float32(self._gain[scan])
        if use.noise:
            image += self._noise(image, scan)
        return image

    @cached_property
    def _fringe_unit(self) -> float:
        """Peak of the Laplacian at a flat edge between the dense phase and void."""
        from scipy.ndimage import gaussian_filter1d, laplace

        edge = np.where(np.arange(64) < 32, self._dense, self._void)
        peak = float(np.abs(laplace(gaussian_filter1d(edge, _FRINGE_SIGMA))).max())
        return peak if peak > 0 else 1.0

    def _texture(self, labels: np.ndarray) -> np.ndarray:
        """Mossy lithium is uneven over a few voxels, polymer and foil over more."""
        strength = np.full(256, 0.4 * self._imaging.texture, dtype=np.float32)
        strength[[CELL[name] for name in _MOSSY]] = self._imaging.texture
        strength[CELL["pit"]] = 0.0
        field = np.where(np.isin(labels, [CELL[name] for name in _MOSSY]), self._fine, self._coarse)
        field *= strength[labels]
        field += 1
        return field

    @cached_property
    def _fine(self) -> np.ndarray:
        return correlated(generator(self._seed, "fine texture"), self._shape, 1.0)

    @cached_property
    def _coarse(self) -> np.ndarray:
        return correlated(generator(self._seed, "coarse texture"), self._shape, 3.0)

    @cached_property
    def _particles(self) -> np.ndarray:
        """Where dense particles sit; being static they give a registration something to hold on to."""
        from scipy.ndimage import gaussian_filter

        rng = generator(self._seed, "defects")
        radius = 1.1
        seeds = np.zeros(self._shape, dtype=np.float32)
        # Half the peak of this Gaussian is at 1.3 voxels: a voxel and its six neighbors.
        count = round(self._imaging.defects * seeds.size / 7.0)
        places = tuple(rng.integers(0, n, count) for n in self._shape)
        seeds[places] = 1.0
        spread = gaussian_filter(seeds, radius, mode="constant")
        peak = (radius * np.sqrt(2 * np.pi)) ** -3
        return np.asarray(spread > 0.5 * peak)

    @cached_property
    def _shade(self) -> np.ndarray:
        """Smooth cosine modes across the field, scaled to the stated peak."""
        rng = generator(self._seed, "shading")
        shade = np.zeros(self._shape, dtype=np.float32)
        axes = [np.linspace(0, np.pi, n, dtype=np.float32) for n in self._shape]
        for mode in ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1), (1, 0, 1), (0, 2, 0), (0, 0, 2)):
            waves = [np.cos(k * axis) for k, axis in zip(mode, axes, strict=True)]
            shade += (np.float32(rng.standard_normal()) * waves[0])[:, None, None] * (waves[1][:, None] * waves[2])
        shade *= np.float32(self._imaging.shading / max(shade.max(), -shade.min()))
        shade += 1
        return shade

    @cached_property
    def _rings(self) -> np.ndarray:
        """Rings about an axis along y: circles in every (z, x) slice, fixed to the detector."""
        from scipy.ndimage import gaussian_filter1d

        planes, rows, columns = self._shape
        rng = generator(self._seed, "rings")
        center_z = (planes - 1) / 2 + rng.uniform(-0.6, 0.6) * planes
        center_x = (columns - 1) / 2 + rng.uniform(-0.3, 0.3) * columns
        z, x = np.arange(planes)[:, None], np.arange(columns)
        radius = np.hypot(z - center_z, x - center_x)
        size = int(radius.max()) + 3
        # A detector column is a little off everywhere and clearly off here and there, for some rows.
        faint = 0.25 * rng.standard_normal((size, rows))
        bad = np.where(rng.random((size, 1)) < 0.12, rng.uniform(-1, 1, (size, 1)), 0.0)
        table = gaussian_filter1d(faint, 2.0, axis=1, mode="nearest") * 2.0 + bad * np.clip(
            1 + 0.5 * gaussian_filter1d(rng.standard_normal((size, rows)), 6.0, axis=1, mode="nearest") * 4.0, 0, 1
        )
        table *= self._imaging.rings
        whole = radius.astype(int)
        part = (radius - whole).astype(np.float32)[..., None]
        table = table.astype(np.float32)
        rings = (1 - part) * table[whole] + part * table[whole + 1]
        return np.ascontiguousarray(rings.transpose(0, 2, 1), dtype=np.float32)

    def _noise(self, image: np.ndarray, scan: int) -> np.ndarray:
        """Photon and electronic noise of the stated total at the electrolyte's gray."""
        from scipy.ndimage import gaussian_filter

        use = self._imaging
        level = self._dense
        rng = generator(self._seed, "noise", scan)
        photons = level / (_POISSON_SHARE * (use.noise * level) ** 2)
        electronic = use.noise * level * np.sqrt(1 - _POISSON_SHARE)
        noise = np.empty_like(image)
        # Plane by plane, because photon counts are 64-bit.
        for plane, made in zip(image, noise, strict=True):
            made[...] = rng.poisson(np.maximum(plane, 0) * photons) / photons - plane
            made += np.float32(electronic) * rng.standard_normal(plane.shape, dtype=np.float32)
        if use.noise_correlation:
            noise = gaussian_filter(noise, use.noise_correlation, mode="wrap")
            noise *= np.float32(1 / _kept(use.noise_correlation))
        return noise


def _kept(sigma: float) -> float:
    """Share of the standard deviation of white noise that a 3-D Gaussian filter leaves."""
    from scipy.ndimage import gaussian_filter1d

    impulse = np.zeros(2 * int(4 * sigma + 1) + 9)
    impulse[impulse.size // 2] = 1.0
    return float(np.sum(gaussian_filter1d(impulse, sigma) ** 2) ** 1.5)
