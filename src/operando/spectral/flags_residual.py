"""What the residual of every pixel shows of partial volume, flattening and structure: the passes behind flags."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from operando.core.blocks import iter_blocks
from operando.spectral.ambiguity import ROUNDING

Floats = NDArray[np.float64]

_BLOCK_PIXELS = 1 << 10
_SLAB_BYTES = 1 << 26
"""Of a lazy stack so much is loaded at a time, in float64: every chunk is read once, or a few times."""
_SAMPLED = 5000


@dataclass(frozen=True)
class Setup:
    """A stack, what was fitted to it, and its noise.

    ``design`` (energy, m) and ``coefficients`` (m, [z], [y], [x]): background terms first. ``noise`` is that of
    :class:`PoissonNoise` (net incident counts, relative variance of I0, dark counts, photons per count), to be taken at
    the fitted OD; else ``error`` broadcasts against the stack. The variance is ``scale`` times this, and ``jitter``
    times the squared difference of the fitted OD to the neighboring pixels: that of images which do not lie exactly
    on each other.
    """

    stack: xr.DataArray
    error: xr.DataArray
    noise: tuple[Floats, Floats, float, float] | None
    design: Floats
    coefficients: Floats
    terms: list[str]
    energies: Floats
    scale: float = 1.0
    jitter: float = 0.0


@dataclass(frozen=True)
class Pass:
    """Per pixel, in the order of an image.

    ``square`` and ``freedom``: chi-square of what nothing known explains. ``unrest``: mean over energies of the squared
    difference to the neighbors over the variance. ``steepness``: half that squared difference at the worst energy.
    ``flat_square`` and ``flat_found``: scalar products, over sigma, of the pattern of flattening (1 at the strongest
    energy) with itself and with what the residual lacks; all else that is known is projected out.
    """

    valid: NDArray[np.bool_]
    sample: NDArray[np.bool_]
    square: Floats
    freedom: Floats
    unrest: Floats
    steepness: Floats
    highest: Floats
    flat_square: Floats
    flat_found: Floats

    def clean(self) -> NDArray[np.bool_]:
        """Pixels that the references fit within the usual scatter."""
        from scipy.stats import chi2

        return np.asarray(self.valid & (self.square < chi2.isf(1e-3, np.maximum(self.freedom, 1))))


@dataclass(frozen=True)
class _Block:
    """Pixels (p) of a block: residual (p, energy) over sigma, and the normal equations of what may explain it.

    That are the design (energy, m), times ``inverse`` (p, energy), 1 / sigma or 0 where a number is missing; and, over
    sigma, the patterns of partial volume and flattening (p, energy). ``gram`` (p, m + 2, m + 2), ``seen`` (p, m + 2).
    """

    position: NDArray[np.int64]
    residual: Floats
    design: Floats
    inverse: Floats
    patterns: tuple[Floats, Floats]
    gram: Floats
    seen: Floats
    sigma: Floats
    fitted: Floats
    change: Floats
    count: NDArray[np.int64]


def with_noise(setup: Setup, *, known: bool) -> Setup:
    """The noise that the residuals show: ``scale`` and ``jitter``, from pixels with sample.

    From the medians of chi-square in eight groups of pixels of like ``unrest``: a few pixels with a phase more do not
    matter.
    """
    from scipy.optimize import nnls
    from scipy.stats import chi2

    found = first_pass(setup, most=_SAMPLED)
    if not known:
        any_noise = found.square[found.valid] / np.maximum(found.freedom[found.valid], 1)
        scale = float(np.median(any_noise)) if any_noise.size else 0.0
        setup = replace(setup, scale=scale if scale > 0 else 1.0)
        found = first_pass(setup, most=_SAMPLED)
    use = found.valid & found.sample & (found.freedom > 0)
    if use.sum() < 20:
        return setup
    freedom = found.freedom[use]
    reduced, unrest = found.square[use] / chi2.median(freedom), found.unrest[use]
    groups = np.array_split(np.argsort(unrest), min(8, int(use.sum()) // 10))
    middle = np.array([[1.0, np.median(unrest[group]), np.median(reduced[group])] for group in groups])
    weight = 1.0 / np.maximum(middle[:, 2:], 1e-300)
    scale, jitter = nnls(middle[:, :2] * weight, (middle[:, 2:] * weight)[:, 0])[0]
    if not scale > 0:
        scale, jitter = float(np.median(reduced)) or 1.0, 0.0
    # Both are in units of the noise assumed so far.
    return replace(setup, scale=setup.scale * float(scale), jitter=setup.scale * float(jitter))


def first_pass(setup: Setup, *, most: int | None = None) -> Pass:
    """Collect what :class:`Pass` holds, reading the stack once: of all pixels, or of about ``most`` drawn at random."""
    from scipy.stats import chi2

    size = int(np.prod(setup.stack.shape[1:]))
    energies, m = setup.design.shape
    maps = {name: np.zeros(size) for name in list(Pass.__dataclass_fields__)[2:]}
    valid, sample = np.zeros(size, dtype=bool), np.zeros(size, dtype=bool)
    enough = chi2.isf(1e-3, energies)
    chosen = None
    if most is not None and size > most:
        chosen = np.random.default_rng(0).random(size) < most / size

    def collect(block: _Block) -> None:
        at = block.position
        solved = np.linalg.solve(
            block.gram[:, :m, :m], np.concatenate([block.gram[:, :m, m:], block.seen[:, :m, None]], axis=2)
        )
        cross = block.gram[:, m:, :m]
        own = block.gram[:, m:, m:] - cross @ solved[:, :, :2]
        # Flattening makes the OD too low.
        pull = (cross @ solved[:, :, 2:])[:, :, 0] - block.seen[:, m:]
        shared = own[:, 0, 1] / np.where(own[:, 0, 0] > 0, own[:, 0, 0], 1.0)
        maps["flat_square"][at] = np.maximum(own[:, 1, 1] - shared * own[:, 0, 1], 0.0)
        maps["flat_found"][at] = pull[:, 1] - shared * pull[:, 0]
        rest = _without(block, block.residual)
        maps["square"][at] = np.einsum("pe,pe->p", rest, rest)
        empty = sum((~pattern.any(axis=1)).astype(int) for pattern in block.patterns)
        maps["freedom"][at] = block.count - m - 2 + empty
        maps["unrest"][at] = (block.change / block.sigma**2).mean(axis=1)
        maps["steepness"][at] = 0.5 * block.change.max(axis=1)
        maps["highest"][at] = block.fitted.max(axis=1)
        sample[at] = np.sum((block.fitted / block.sigma) ** 2, axis=1) > enough
        valid[at] = True

    _each(setup, chosen, collect)
    return Pass(valid=valid, sample=sample, **maps)


def beyond(setup: Setup, limit: Floats) -> NDArray[np.bool_]:
    """Where the fitted OD exceeds a limit at any energy."""
    flat = setup.coefficients.reshape(setup.design.shape[1], -1)
    found = np.zeros(flat.shape[1], dtype=bool)
    for first in range(0, flat.shape[1], _BLOCK_PIXELS):
        part = slice(first, first + _BLOCK_PIXELS)
        found[part] = (setup.design @ np.nan_to_num(flat[:, part]) > limit[:, None]).any(axis=0)
    return found


def second_pass(setup: Setup, clear: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Spectrum that the residuals of ``clear`` pixels share, and how many sigma of it every pixel has.

    Returns the score (pixels,) and the spectrum (energy,) in optical density, scaled to 1. Reads the stack twice, but
    only blocks with clear pixels the first time.
    """
    wanted = np.flatnonzero(clear)
    if wanted.size > _SAMPLED:
        wanted = np.random.default_rng(0).choice(wanted, _SAMPLED, replace=False)
    chosen = np.zeros(clear.shape, dtype=bool)
    chosen[wanted] = True
    found = _each(setup, chosen, lambda block: (_without(block, block.residual), block.sigma))
    left, error = (np.concatenate(parts) for parts in zip(*found, strict=True))
    common = np.linalg.eigh(left.T @ left)[1][:, -1]
    common *= np.sign((left @ common).sum()) or 1.0
    spectrum = common * error.mean(axis=0)
    score = np.zeros(clear.shape)

    def compare(block: _Block) -> None:
        pattern = _without(block, np.where(block.residual != 0, spectrum / block.sigma, 0.0))
        length = np.linalg.norm(pattern, axis=1)
        along = np.einsum("pe,pe->p", pattern, block.residual)
        score[block.position] = along / np.where(length > 0, length, 1.0)

    _each(setup, None, compare)
    return score, spectrum / np.abs(spectrum).max()


def _without(block: _Block, rows: Floats) -> Floats:
    """Rows (p, energy) less what the columns of their pixels can explain."""
    right = _along(block.design, block.inverse, block.patterns, rows)
    share = np.linalg.solve(block.gram, right[:, :, None])[:, :, 0]
    m = block.design.shape[1]
    left = share[:, :m] @ block.design.T
    left *= block.inverse
    for k, pattern in enumerate(block.patterns):
        left += share[:, m + k, None] * pattern
    return np.subtract(rows, left, out=left)


def _along(design: Floats, inverse: Floats, patterns: tuple[Floats, Floats], rows: Floats) -> Floats:
    """Products (p, m + 2) of rows (p, energy) with the columns of their pixels."""
    sums = [np.einsum("pe,pe->p", pattern, rows) for pattern in patterns]
    return np.column_stack([(rows * inverse) @ design, *sums])


def _each(setup: Setup, chosen: NDArray[np.bool_] | None, work: Callable[[_Block], Any]) -> list[Any]:
    """What ``work`` returns of every block with chosen pixels that are fitted."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    shape = setup.stack.shape[1:]
    energies = len(setup.energies)
    numbers = np.arange(int(np.prod(shape))).reshape(shape)
    around = np.pad(setup.coefficients, [(0, 0), *[(1, 1)] * len(shape)], mode="edge")
    error = setup.error
    if error.ndim > 1:
        error = error.broadcast_like(setup.stack).transpose(*setup.stack.dims)
    lazy = any(array.chunks is not None for array in (setup.stack, error))
    results: list[Any] = []
    # Products of few columns are too small for the threads of BLAS, which would wait for each other.
    with threadpool_limits(1, user_api="blas"):
        for slab in iter_blocks(shape, _sizes(shape, max(1, _SLAB_BYTES // (8 * energies)) if lazy else numbers.size)):
            usable = np.asarray(np.isfinite(setup.coefficients[(slice(None), *slab.core)]).all(axis=0))
            if chosen is not None:
                usable = usable & chosen[numbers[slab.core]]
            if not usable.any():
                continue
            images = np.asarray(setup.stack.data[(slice(None), *slab.core)])
            errors = np.asarray(error.data[(slice(None), *slab.core)] if error.ndim > 1 else error.data)
            block = partial(_block, setup, around, numbers, slab.core, images, errors, usable)
            parts = [part.core for part in iter_blocks(usable.shape, _sizes(usable.shape, _BLOCK_PIXELS))]
            results += [work(block(part)) for part in parts if usable[part].any()]
    return results


def _block(
    setup: Setup,
    around: Floats,
    numbers: NDArray[np.int64],
    slab: tuple[slice, ...],
    images: NDArray[Any],
    errors: NDArray[Any],
    usable: NDArray[np.bool_],
    part: tuple[slice, ...],
) -> _Block:
    """The usable pixels of a part of a slab, of which images and errors are loaded."""
    use = usable[part].ravel()
    core = tuple(
        slice(inner.start + outer.start, inner.stop + outer.start) for inner, outer in zip(part, slab, strict=True)
    )
    own = setup.coefficients[(slice(None), *core)].reshape(len(setup.coefficients), -1)
    data = _rows(images, part, use)
    fitted = own[:, use].T @ setup.design.T
    if setup.noise is not None:
        sigma, data = _poisson(fitted, data, setup.noise)
    elif errors.ndim > 1:
        sigma = _rows(errors, part, use)
    else:
        sigma = np.broadcast_to(errors.astype(float), data.shape)
    change = _squared_change(around, core, own, use, setup.design)
    seen = np.isfinite(data) & np.isfinite(sigma) & (sigma > 0)
    data, sigma = np.where(seen, data, fitted), np.where(seen, sigma, np.inf)
    return _made(setup, numbers[core].ravel()[use], data, fitted, sigma, change)


def _rows(images: NDArray[np.generic], core: tuple[slice, ...], use: NDArray[np.bool_]) -> Floats:
    """Chosen pixels of a block of images (energy, ...) as rows (p, energy)."""
    block = images[(slice(None), *core)].reshape(len(images), -1)
    return np.ascontiguousarray(block[:, use].T, dtype=float)


def _made(
    setup: Setup, position: NDArray[np.int64], data: Floats, fitted: Floats, sigma: Floats, change: Floats
) -> _Block:
    m, pixels = setup.design.shape[1], len(position)
    seen = np.isfinite(sigma)
    # Noise of the fit makes differences too: per axis, twice the variance of the fitted OD.
    variance = setup.scale * np.where(seen, sigma, 1.0) ** 2 + ROUNDING**2
    first, second = np.triu_indices(m)
    # The Gram matrix of a pixel and the variance of its fit are products of these with what differs between pixels.
    products = setup.design[:, first] * setup.design[:, second]
    spread = np.linalg.inv(_ridged(_symmetric(np.where(seen, 1.0 / variance, 0.0) @ products, m)))
    twice = np.where(first == second, 1.0, 2.0)
    fit_variance = (spread[:, first, second] * twice) @ products.T
    fit_variance *= seen
    change = np.maximum(change - 2 * (setup.stack.ndim - 1) * fit_variance, 0.0)
    error = np.sqrt(variance + setup.jitter * change)
    inverse = np.where(seen, 1.0 / error, 0.0)
    # The strongest flattening that a float can hold is far beyond any OD that light gets through.
    flat = np.exp(np.minimum(fitted, 30.0)) - 1.0
    top = flat.max(axis=1, keepdims=True)
    patterns = 0.5 * change * inverse, flat / np.where(top > 0, top, 1.0) * inverse
    gram = np.empty((pixels, m + 2, m + 2))
    gram[:, :m, :m] = _symmetric(inverse**2 @ products, m)
    for k, pattern in enumerate(patterns):
        gram[:, m + k] = _along(setup.design, inverse, patterns, pattern)
        gram[:, :m, m + k] = gram[:, m + k, :m]
    residual = (data - fitted) * inverse
    return _Block(
        position=position,
        residual=residual,
        design=setup.design,
        inverse=inverse,
        patterns=patterns,
        gram=_ridged(gram),
        seen=_along(setup.design, inverse, patterns, residual),
        sigma=error,
        fitted=fitted,
        change=change,
        count=seen.sum(axis=1),
    )


def _symmetric(upper: Floats, m: int) -> Floats:
    """Matrices (p, m, m) from their upper halves (p, m (m + 1) / 2)."""
    first, second = np.triu_indices(m)
    full = np.empty((len(upper), m, m))
    full[:, first, second] = upper
    full[:, second, first] = upper
    return full


def _ridged(gram: Floats) -> Floats:
    """A Gram matrix with a ridge that lets it be inverted where a column is empty or depends on others."""
    at = np.arange(gram.shape[1])
    diagonal = gram[:, at, at]
    gram[:, at, at] = np.where(diagonal > 0, diagonal * (1 + 1e-10), 1.0)
    return gram


def _sizes(shape: tuple[int, ...], pixels: int) -> list[int]:
    """Lengths of a block of so many pixels, whole rows first."""
    sizes, left = [], pixels
    for length in reversed(shape):
        sizes.append(max(1, min(length, left)))
        left //= sizes[-1]
    return sizes[::-1]


def _poisson(fitted: Floats, data: Floats, noise: tuple[Floats, Floats, float, float]) -> tuple[Floats, Floats]:
    """Sigma at the fitted OD, and the response that is linear in the counts."""
    net, relative, dark, photons = noise
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        counts = net * np.exp(-fitted)
        sigma = np.sqrt((counts + dark) / (photons * counts**2) + relative)
        return sigma, fitted + 1.0 - np.exp(fitted - data)


def _squared_change(
    around: Floats, core: tuple[slice, ...], own: Floats, use: NDArray[np.bool_], design: Floats
) -> Floats:
    """Mean of the squared differences of the fitted OD to both neighbors, summed over the axes: (pixels, energy)."""
    total = np.zeros((int(use.sum()), len(design)))
    for axis in range(len(core)):
        for step in (0, 2):
            where = [slice(part.start + 1, part.stop + 1) for part in core]
            where[axis] = slice(core[axis].start + step, core[axis].stop + step)
            beside = around[(slice(None), *where)].reshape(own.shape)
            change = np.where(np.isfinite(beside).all(axis=0), beside - own, 0.0)[:, use]
            total += 0.5 * (change.T @ design.T) ** 2
    return total
