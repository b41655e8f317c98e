"""Shifts refined against what the other images of a stack predict for each: few spectra times few images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from operando.spectral.align_resample import filled, moved, seen, spline

_SMOOTH = 1.0  # px; what is finer is noise and aliases of the scanning grid
_CONTRAST_SIGMA = 0.05  # px, of shifts from pairs of images with different contrast
_MOST_COMPONENTS = 12
_ROUNDS_EACH, _ROUNDS_LAST = 4, 8
_SETTLED = 0.002  # px
_FAINT = 0.01  # of the contrast: what is added to noise before a component counts as more than that
_MISFIT = 3e-3  # of the power: what the pull of the pairs is held to where there is less noise
_STEP = 1.0  # px
_GAP = 0.2  # share of what is filled in; 0.16 around a pixel alone
_OWN = 0.9  # share of an image in a component from which that component says nothing about it
_RIM = 3  # px at the edge of an image, which smoothing takes from beyond it
_WHOLE_LEAST, _WHOLE_SHARE, _SEEN_SHARE = 256, 0.05, 0.5
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
        # A pixel alone is as good as its neighbors once smoothed; within a gap there is nothing.
        gaps = None if gaps is None else gaussian_filter(gaps.astype(np.float32), _SMOOTH) > _GAP
        missing.append(gaps if gaps is not None and gaps.any() else None)
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
    """The images moved back by their shifts, as few components; what an image does not show is left out."""

    def __init__(self, splines: list[np.ndarray], missing: list[np.ndarray | None]) -> None:
        self.splines, self.missing = splines, missing

    def fit(self, shift: np.ndarray, components: int) -> _Fit:
        images = np.stack([moved(each, along) for each, along in zip(self.splines, shift, strict=True)])
        known = np.stack([self._known(k, along) for k, along in enumerate(shift)])
        share = known.mean(axis=0)
        whole = share == 1
        if whole.sum() < max(_WHOLE_LEAST, _WHOLE_SHARE * whole.size):
            # Too little is seen in all images: take what is missing from the mean image.
            whole = share >= min(_SEEN_SHARE, float(np.quantile(share, 0.5)))
            images[:, whole] = _with_guess(images[:, whole], known[:, whole])
        level = images[:, whole].mean(axis=1)
        values = images[:, whole] - level[:, None]
        powers, vectors = np.linalg.eigh((values @ values.T).astype(float))
        powers, spectra = powers[::-1].clip(0), vectors[:, ::-1][:, :components].astype(values.dtype)
        used = whole | (share >= _SEEN_SHARE)
        values, known = images[:, used] - level[:, None], known[:, used]
        parts = spectra.T @ values
        partly = ~known.all(axis=0)
        if partly.any():
            parts[:, partly] = _parts(values[:, partly], known[:, partly], spectra)
        return _Fit(used, known, values, spectra.astype(float), parts, powers, int(whole.sum()))

    def _known(self, k: int, along: np.ndarray) -> np.ndarray:
        inside, gaps = seen(self.splines[k].shape, along, _RIM), self.missing[k]
        return inside if gaps is None else inside & (moved(gaps.astype(np.float32), along) < 0.5)


def _parts(values: np.ndarray, known: np.ndarray, spectra: np.ndarray) -> np.ndarray:
    """Least squares of the components in each pixel, from the images that show it."""
    number = spectra.shape[1]
    seen_in = known.T.astype(float)
    products = (spectra[:, :, None] * spectra[:, None, :]).reshape(len(spectra), -1).astype(float)
    normal = (seen_in @ products).reshape(-1, number, number)
    # The components have length 1: what fewer images determine badly is held near 0.
    normal += 1e-3 * np.eye(number)
    side = (seen_in * values.T) @ spectra
    return np.asarray(np.linalg.solve(normal, side[..., None])[..., 0].T, dtype=values.dtype)


class _Fit:
    """Components of the moved images, and the equations of the step that would align them better."""

    def __init__(
        self,
        used: np.ndarray,
        known: np.ndarray,
        values: np.ndarray,
        spectra: np.ndarray,
        parts: np.ndarray,
        powers: np.ndarray,
        whole: int,
    ) -> None:
        count, components = spectra.shape
        self.used, self.spectra = used, spectra
        self.apart = np.eye(count) - spectra @ spectra.T
        self.left = np.where(known, values - spectra.astype(values.dtype) @ parts, 0)
        self.slopes = _slopes(used, parts)
        inner = (self.slopes @ self.slopes.T).astype(float)
        twice = np.kron(np.eye(2), spectra)
        self.normal = np.tile(self.apart, (2, 2)) * (twice @ inner @ twice.T)
        scores = (self.slopes @ self.left.T).astype(float)
        self.side = -np.concatenate(
            [np.sum(spectra * scores[:components].T, axis=1), np.sum(spectra * scores[components:].T, axis=1)]
        )
        # An image with a component of its own is predicted by itself: its pairs must do.
        alone = np.tile(np.diag(self.apart) < 1 - _OWN, 2)
        self.side[alone] = 0
        self.normal[alone] = 0
        self.normal[:, alone] = 0
        self.left[alone[:count]] = 0
        area = 4 * np.pi * _SMOOTH**2  # px over which smoothed noise is one value
        free = max((count - components) / count * int(np.count_nonzero(known)), 1.0)
        self.noise = float(np.sum(self.left.astype(float) ** 2)) / free * area
        self.noise = max(self.noise, _MISFIT * float(np.mean(values.astype(float) ** 2)))
        independent = max(whole / area, 1.0)
        ratio = min(1.0, count / independent)
        left = max(float(np.median(powers)), _FAINT**2 * float(powers.sum()) / count)
        self.more = bool(components < count and powers[components] > _hard_threshold(ratio) ** 2 * left)

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


def _slopes(used: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Derivatives of the components along y, then along x, less what a change of the components could do as well."""
    whole = np.zeros((len(parts), *used.shape), dtype=parts.dtype)
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


def _with_guess(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """What is missing taken from the mean image, on the level of each."""
    level = np.sum(np.where(known, values, 0), axis=1, keepdims=True) / np.maximum(known.sum(axis=1, keepdims=True), 1)
    mean = np.sum(np.where(known, values - level, 0), axis=0) / np.maximum(known.sum(axis=0), 1)
    return np.where(known, values, level + mean)
