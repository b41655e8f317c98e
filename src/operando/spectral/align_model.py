"""Shifts refined against what the other images of a stack predict for each: few spectra times few images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from operando.spectral.align_resample import filled, moved, seen, spline

_SMOOTH = 1.0  # px; what is finer is noise and aliases of the scanning grid
_CONTRAST_SIGMA = 0.05  # px, of shifts from pairs of images with different contrast
_MOST_COMPONENTS = 12
_ROUNDS_EACH, _ROUNDS_LAST = 2, 4
_SETTLED = 0.002  # px
_STEP = 1.0  # px
_COMMON_SHARE, _SEEN_SHARE = 0.4, 0.5
_CELL = 8  # px, wide against what correlates neighboring pixels
_FLOOR = 0.01  # px: what the model leaves out, measured on simulated stacks


@dataclass(frozen=True)
class Refined:
    """Shifts (image, 2) in pixels with mean 0, their covariance (2 images, 2 images), y first, and components used."""

    shift: np.ndarray
    covariance: np.ndarray
    components: int


def refine(images: np.ndarray, shift: np.ndarray, variance: np.ndarray) -> Refined:
    """Refine shifts by variable projection on a model of few components.

    ``images`` (image, y, x) must have about the same noise everywhere; missing is NaN. ``shift`` and ``variance`` are
    what pairs of images said: the model alone cannot tell a shift of all images with much of one component from a
    change of that component.
    """
    from scipy.ndimage import gaussian_filter

    count = len(images)
    splines, missing = [], []
    for image in images:
        whole, gaps = filled(image)
        splines.append(spline(gaussian_filter(whole, _SMOOTH)))
        missing.append(None if gaps is None else _near(gaps))
    prior, sigma2 = shift.copy(), variance + _CONTRAST_SIGMA**2
    most = max(1, min(_MOST_COMPONENTS, (count - 1) // 3))
    model = _Model(splines, missing)
    components, rounds, last = 1, 0, False
    while True:
        fit = model.fit(shift, components)
        step = fit.step(shift, prior, sigma2)
        shift = shift + np.clip(step, -_STEP, _STEP)
        shift = shift - shift.mean(axis=0)
        rounds += 1
        settled = float(np.sqrt(np.mean(step**2))) < _SETTLED
        if last and (rounds >= _ROUNDS_LAST or settled):
            break
        if not last and (rounds >= _ROUNDS_EACH or settled):
            rounds = 0
            if components < most and fit.more:
                components += 1
            else:
                last = True
    fit = model.fit(shift, components)
    return Refined(shift, fit.covariance(sigma2), components)


class _Model:
    """The images moved back by their shifts, as few components; what an image does not show is filled by the model."""

    def __init__(self, splines: list[np.ndarray], missing: list[np.ndarray | None]) -> None:
        self.splines, self.missing = splines, missing
        self.predicted: np.ndarray | None = None

    def fit(self, shift: np.ndarray, components: int) -> _Fit:
        shape = self.splines[0].shape
        images = np.stack([moved(each, along) for each, along in zip(self.splines, shift, strict=True)])
        inside = np.stack([seen(shape, along) for along in shift])
        # What all images show, unless that is little: filling in by the model converges slowly.
        used = inside.all(axis=0)
        if used.mean() < _COMMON_SHARE:
            used = inside.mean(axis=0) >= _SEEN_SHARE
        known = np.stack([self._known(k, along, inside[k]) for k, along in enumerate(shift)])[:, used]
        values = images[:, used]
        if not known.all():
            guess = _first_guess(values, known) if self.predicted is None else self.predicted[:, used]
            values = np.where(known, values, guess)
        level = values.mean(axis=1, keepdims=True)
        values = values - level
        powers, vectors = np.linalg.eigh((values @ values.T).astype(float))
        powers, spectra = powers[::-1].clip(0), vectors[:, ::-1][:, :components]
        parts = spectra.T.astype(values.dtype) @ values
        if not known.all():
            self.predicted = np.zeros_like(images)
            self.predicted[:, used] = spectra.astype(values.dtype) @ parts + level
        return _Fit(shape, used, known, values, spectra, parts, powers)

    def _known(self, k: int, along: np.ndarray, inside: np.ndarray) -> np.ndarray:
        gaps = self.missing[k]
        return inside if gaps is None else inside & (moved(gaps.astype(np.float32), along) < 0.5)


class _Fit:
    """Components of the moved images, and the equations of the step that would align them better."""

    def __init__(
        self,
        shape: tuple[int, ...],
        used: np.ndarray,
        known: np.ndarray,
        values: np.ndarray,
        spectra: np.ndarray,
        parts: np.ndarray,
        powers: np.ndarray,
    ) -> None:
        count, components = spectra.shape
        self.used, self.spectra = used, spectra
        self.apart = np.eye(count) - spectra @ spectra.T
        self.left = np.where(known, values - spectra.astype(values.dtype) @ parts, 0)
        self.slopes = _slopes(shape, used, parts)
        inner = (self.slopes @ self.slopes.T).astype(float)
        twice = np.kron(np.eye(2), spectra)
        self.normal = np.tile(self.apart, (2, 2)) * (twice @ inner @ twice.T)
        scores = (self.slopes @ self.left.T).astype(float)
        self.side = -np.concatenate(
            [np.sum(spectra * scores[:components].T, axis=1), np.sum(spectra * scores[components:].T, axis=1)]
        )
        area = 4 * np.pi * _SMOOTH**2  # px over which smoothed noise is one value
        free = max((count - components) / count * int(np.count_nonzero(known)), 1.0)
        self.noise = float(np.sum(self.left.astype(float) ** 2)) / free * area
        values_left = np.sqrt(powers)
        independent = max(used.sum() / area, 1.0)
        self.more = bool(
            components < count
            and values_left[components] > _hard_threshold(min(1.0, count / independent)) * np.median(values_left)
        )

    def step(self, shift: np.ndarray, prior: np.ndarray, sigma2: np.ndarray) -> np.ndarray:
        """Of all shifts together, (image, 2)."""
        pull = self.noise / sigma2.T.ravel()
        side = self.side + pull * (prior - shift).T.ravel()
        return np.asarray(np.linalg.solve(self._bound(pull), side).reshape(2, -1).T)

    def covariance(self, sigma2: np.ndarray) -> np.ndarray:
        """Of the shifts, (2 images, 2 images): from the scatter of the equations between small cells of pixels."""
        count = len(self.spectra)
        pull = self.noise / sigma2.T.ravel()
        inverse = np.linalg.inv(self._bound(pull))
        rows, columns = np.nonzero(self.used)
        across = columns.max() // _CELL + 1
        cells = rows // _CELL * across + columns // _CELL
        sums = np.zeros((cells.max() + 1, 2 * count))
        components = self.spectra.shape[1]
        for k in range(count):
            for axis in (0, 1):
                slope = self.spectra[k] @ self.slopes[axis * components : (axis + 1) * components]
                sums[:, axis * count + k] = np.bincount(cells, slope * self.left[k], len(sums))
        sums -= sums.mean(axis=0)
        scatter = sums.T @ sums + np.diag(pull * self.noise)
        covariance = inverse @ scatter @ inverse
        return np.asarray(covariance + _FLOOR**2 * np.kron(np.eye(2), np.eye(count) - 1 / count))

    def _bound(self, pull: np.ndarray) -> np.ndarray:
        # A shift of all images together is no shift.
        count = len(self.spectra)
        together = np.kron(np.eye(2), np.full((count, count), 1.0 / count))
        return np.asarray(self.normal + np.diag(pull) + together * max(np.trace(self.normal) / (2 * count), 1e-300))


def _slopes(shape: tuple[int, ...], used: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Derivatives of the components along y, then along x, less what a change of the components could do as well."""
    whole = np.zeros((len(parts), *shape), dtype=parts.dtype)
    whole[:, used] = parts
    inner = used.copy()
    for axis in (0, 1):
        for step in (-1, 1):
            inner &= np.roll(used, step, axis)
    inner[[0, -1]], inner[:, [0, -1]] = False, False
    slopes = np.concatenate([np.gradient(whole, axis=axis)[:, used] for axis in (1, 2)])
    slopes[:, ~inner[used]] = 0
    flat = np.full((1, parts.shape[1]), 1.0, dtype=parts.dtype)
    basis = np.linalg.qr(np.concatenate([flat, parts]).T)[0]
    return np.asarray(slopes - (slopes @ basis) @ basis.T)


def _hard_threshold(ratio: float) -> float:
    """Multiple of the median singular value above which a component is no noise (Gavish and Donoho 2014)."""
    return 0.56 * ratio**3 - 0.95 * ratio**2 + 1.82 * ratio + 1.43


def _first_guess(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """For what is missing: the mean image on the level of each."""
    number = np.maximum(known.sum(axis=0), 1)
    level = np.sum(np.where(known, values, 0), axis=1, keepdims=True) / np.maximum(known.sum(axis=1, keepdims=True), 1)
    mean = np.sum(np.where(known, values - level, 0), axis=0) / number
    return np.asarray(level + mean)


def _near(gaps: np.ndarray) -> np.ndarray:
    from scipy.ndimage import binary_dilation

    return np.asarray(binary_dilation(gaps, iterations=2))
