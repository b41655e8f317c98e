"""The center of a clipped line between two backgrounds, fitted to the pixels that are not clipped."""

from __future__ import annotations

import numpy as np

_SCALE = 255.0
_STEPS = 12
# Where the squares fall by less than this share, a fit has ended.
_SETTLED = 1e-3
# Gray values that the line's own light has left at its half thickness.
_LEVEL = 30.0
# Of the logarithm of the line's sharpness: before anything is known about the line, and along it.
_SHARPNESS_SPREAD = 1.5, 0.25
# Rows of a run that are looked at from each of its ends: what lies further inside is clipped.
_INSIDE = 2
# The step from electrolyte to metal lies under the clip. It is somewhere between sharp and as wide as the line: in the
# model it is narrower than the line by this factor, and the two extremes go into the sigma.
_SHARPER = 1.5


def noise_model(
    gray: np.ndarray, start: np.ndarray, stop: np.ndarray, seen: np.ndarray, margin: int
) -> tuple[float, float]:
    """Variance of the gray values as ``a + b * gray``, from second differences along x on both sides of the line.

    Notes
    -----
    The median absolute second difference (over sqrt(6) for white noise) does not see specks, lateral gradients, or
    the line. Two levels, electrolyte and metal, give the two numbers; ``b`` is the shot noise and not negative.
    Rounding to whole gray values is in ``a``.
    """
    rows = np.arange(gray.shape[0])[:, None]
    first, last = np.where(seen, start, start[seen].min()), np.where(seen, stop, stop[seen].max())
    levels, variances = [], []
    for side in (rows < first - margin, rows >= last + margin):
        three = side[:, :-2] & side[:, 1:-1] & side[:, 2:]
        second = (gray[:, :-2] - 2 * gray[:, 1:-1] + gray[:, 2:])[three]
        if np.isfinite(second).sum() >= 50:
            variances.append(noise_variance(second))
            levels.append(float(np.nanmean(gray[:, 1:-1][three])))
    if not levels:
        return 1.0, 0.0
    if len(levels) == 1 or abs(levels[0] - levels[1]) < 10:
        return max(float(np.mean(variances)), 1 / 12), 0.0
    b = max(0.0, (variances[0] - variances[1]) / (levels[0] - levels[1]))
    return max(min(v - b * g for v, g in zip(variances, levels, strict=True)), 1 / 12), b


def noise_variance(second: np.ndarray) -> float:
    """Variance of white noise, from second differences of it, robust to a few that are no noise; NaN without any.

    Examples
    --------
    >>> round(noise_variance(np.array([1.0, -1.0] * 30)) * 6, 6)
    1.0
    """
    second = second[np.isfinite(second)]
    if second.size == 0:
        return float("nan")
    # Few gray values make the median coarse: it only tells what to leave out.
    kept = second[np.abs(second) <= 4 * max(1.4826 * float(np.median(np.abs(second))), 1.0)]
    return float(np.mean(kept**2)) / 6


def fit_centers(
    gray: np.ndarray,
    bright: np.ndarray,
    start: np.ndarray,
    stop: np.ndarray,
    seen: np.ndarray,
    *,
    threshold: float,
    saturation: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Row of the center of a bright run in each column, and its sigma, in px.

    Notes
    -----
    Model: ``b(y) + L exp(m (1 - (y - y0)^2 / H^2))``, ``b`` the gray value of the electrolyte before and of the metal
    behind the center. This is a Gaussian of amplitude ``L exp(m)`` and standard deviation ``H / sqrt(2 m)``, written
    with what its flanks show: where they end (H) and how steep they are (m); a line with a flat top is one with large
    m. Pixels at or above the threshold count only where the model stays below them: how bright the line is inside
    says nothing about where it is. All columns at once, by Gauss-Newton with damping; m is drawn to its median over
    the frame, which is what a line with one visible flank has to go by.
    """
    # On one scale, what is assumed about gray values holds for 16 bit too.
    gray, limit = gray * (_SCALE / saturation), threshold * (_SCALE / saturation)
    columns = np.flatnonzero(seen)
    begin, end = start[columns], stop[columns]
    half = (end - begin) / 2
    reach = int(np.clip(np.ceil(1.2 * np.median(half)) + 3, 6, 20))
    a, b = noise_model(gray, start, stop, seen, reach)
    index, used = _window(bright, columns, begin, end, reach)
    values = gray[index, columns[:, None]]
    used &= np.isfinite(values)
    values = np.where(used, values, 0.0)
    clipped = used & (values >= limit)
    y = index - ((begin + end - 1) / 2)[:, None]

    weight = np.where(used, 1 / (a + b * np.clip(values, 0, None)), 0.0)
    free = used & ~clipped
    before, behind = free & (index < begin[:, None]), free & (index >= end[:, None])
    prior = np.stack(
        [
            np.zeros(columns.size),
            np.log(half + 0.5),
            np.full(columns.size, np.log(2.0)),
            _background(values, before),
            _background(values, behind),
        ],
        axis=1,
    )
    precision = np.array([1e-4, 1.0, 1 / _SHARPNESS_SPREAD[0] ** 2, 1e-3, 1e-3])
    fitted, *_ = _gauss_newton(y, values, weight, clipped, prior, prior, precision)
    prior[:, 2] = np.median(fitted[:, 2])
    precision[2] = 1 / _SHARPNESS_SPREAD[1] ** 2
    fitted, hessian, squares, weighted = _gauss_newton(y, values, weight, clipped, fitted, prior, precision)
    covariance = np.linalg.inv(hessian)
    freedom = np.maximum(free.sum(axis=1) - 4.0, 1.0)
    misfit = np.maximum(max(1.0, float(np.median(squares / freedom))), squares / freedom)
    step = (covariance @ (np.swapaxes(weighted, 1, 2) @ _sharp_against_wide(y, fitted)[..., None]))[:, 0, 0]
    variance = covariance[:, 0, 0] * misfit + step**2 / 4
    # An edge between two pixels, none of which shows its flank, is anywhere between them. Where neither edge shows a
    # second pixel of flank, the first may as well be what a sharp edge covers of it: half of it is open.
    noise = np.sqrt(a + b * limit)
    flank, second = [], []
    for here, side, at in ((before, 3, begin - 2), (behind, 4, end + 1)):
        excess = np.where(here, values - fitted[:, side, None], 0.0)
        flank.append((excess > 3 * noise).any(axis=1))
        second.append(((index == at[:, None]) & (excess > 2 * noise)).any(axis=1))
    doubt = np.maximum(1 - np.mean(flank, axis=0), np.where(np.any(second, axis=0), 0.0, 0.5))
    variance += doubt**2 / 12
    # With one flank outside the field, width and center can hardly be told apart.
    cut = (begin == 0) | (end == gray.shape[0])
    sigma = np.sqrt(variance + np.where(cut, _width(fitted)[:, 0] / 2, 0.0) ** 2)
    lost = ~(np.abs(fitted[:, 0]) <= half) | ~np.isfinite(sigma) | (sigma > half)
    row, spread = np.full((2, seen.size), np.nan)
    row[columns] = (begin + end - 1) / 2 + np.where(lost, 0.0, fitted[:, 0])
    spread[columns] = np.where(lost, np.maximum(half / np.sqrt(3), 0.3), sigma)
    return row, spread


def _window(
    bright: np.ndarray, columns: np.ndarray, begin: np.ndarray, end: np.ndarray, reach: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rows around both edges of each run, and which of them are this run's own."""
    rows = bright.shape[0]
    before = begin[:, None] + np.arange(_INSIDE - 1, -reach - 1, -1)
    after = end[:, None] + np.arange(-_INSIDE, reach)
    parts, kept = [], []
    for part, outside in ((before, before < begin[:, None]), (after, after >= end[:, None])):
        inside = (part >= 0) & (part < rows)
        clear = inside & ~(outside & bright[np.clip(part, 0, rows - 1), columns[:, None]])
        # Nothing beyond the first bright pixel outside is this line's flank.
        kept.append(np.logical_and.accumulate(clear | ~outside, axis=1) & inside)
        parts.append(np.clip(part, 0, rows - 1))
    kept[0] &= before < end[:, None]
    kept[1] &= after >= (begin + _INSIDE)[:, None]
    return np.concatenate(parts, axis=1), np.concatenate(kept, axis=1)


def _background(values: np.ndarray, here: np.ndarray) -> np.ndarray:
    lowest = np.where(here, values, np.inf).min(axis=1)
    return np.where(np.isfinite(lowest), lowest, 0.0)


def _model(y: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values and derivatives, shapes (columns, pixels) and (columns, pixels, 5)."""
    from scipy.special import ndtr

    center, electrolyte, metal = p[:, :1], p[:, 3:4], p[:, 4:]
    half, sharpness, width = np.exp(p[:, 1:2]), np.exp(p[:, 2:3]), _width(p)
    d = y - center
    below = 1 - (d / half) ** 2
    ridge = _LEVEL * np.exp(np.minimum(sharpness * below, 20.0))
    slope = ridge * 2 * sharpness / half**2
    u = _SHARPER * d / width
    beyond = ndtr(u)
    density = (metal - electrolyte) * np.exp(-0.5 * u**2) / np.sqrt(2 * np.pi)
    value = ridge + electrolyte + (metal - electrolyte) * beyond
    by_width = density * u
    derivatives = np.stack(
        [
            slope * d - density * _SHARPER / width,
            slope * d**2 - by_width,
            ridge * sharpness * below + by_width / 2,
            1 - beyond,
            beyond,
        ],
        axis=2,
    )
    return value, derivatives


def _width(p: np.ndarray) -> np.ndarray:
    """Standard deviation of the Gaussian, shape (columns, 1)."""
    return np.asarray(np.exp(p[:, 1:2] - p[:, 2:3] / 2) / np.sqrt(2))


def _sharp_against_wide(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """How much the gray values would differ if the step under the line were as wide as the line, or sharp."""
    from scipy.special import ndtr

    u = (y - p[:, :1]) / _width(p)
    return np.asarray((p[:, 4:] - p[:, 3:4]) * (ndtr(u) - (u > 0)))


def _gauss_newton(
    y: np.ndarray,
    values: np.ndarray,
    weight: np.ndarray,
    clipped: np.ndarray,
    start: np.ndarray,
    prior: np.ndarray,
    precision: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Minimize the weighted squares plus the prior; each column damps by itself."""

    def cost(p: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        model, derivatives = _model(y, p)
        residual = values - model
        active = weight * ~(clipped & (residual <= 0))
        squares = (active * residual**2).sum(axis=1)
        return (
            squares + (precision * (p - prior) ** 2).sum(axis=1),
            squares,
            active,
            np.concatenate([derivatives, residual[..., None]], axis=2),
        )

    p = start
    damping = np.full(len(p), 1e-2)
    total, squares, active, tape = cost(p)
    eye = np.eye(p.shape[1])
    for _ in range(_STEPS):
        jacobian, residual = tape[..., :-1], tape[..., -1]
        weighted = jacobian * active[..., None]
        hessian = np.swapaxes(weighted, 1, 2) @ jacobian + np.diag(precision)
        slope = (np.swapaxes(weighted, 1, 2) @ residual[..., None])[..., 0] - precision * (p - prior)
        scale = np.diagonal(hessian, axis1=1, axis2=2)[:, :, None] * eye
        change = np.linalg.solve(hessian + damping[:, None, None] * scale, slope[..., None])[..., 0]
        change[:, 1:3] = np.clip(change[:, 1:3], -1, 1)
        tried = p + change
        new_total, new_squares, new_active, new_tape = cost(tried)
        better = new_total <= total
        settled = np.where(better, total - new_total < _SETTLED * (1 + total), damping > 1 / _SETTLED)
        p = np.where(better[:, None], tried, p)
        total, squares = np.where(better, new_total, total), np.where(better, new_squares, squares)
        active, tape = np.where(better[:, None], new_active, active), np.where(better[:, None, None], new_tape, tape)
        damping = np.where(better, damping * 0.2, damping * 10)
        if settled.all():
            break
    jacobian = tape[..., :-1]
    weighted = jacobian * active[..., None]
    return p, np.swapaxes(weighted, 1, 2) @ jacobian + np.diag(precision), squares, weighted
