"""What the residual of every pixel shows of partial volume, flattening and structure: the passes behind flags."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from operando.core.blocks import iter_blocks

Floats = NDArray[np.float64]

_BLOCK_PIXELS = 1 << 12
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
    """Pixels (p) of a block, over sigma: residual (p, energy), columns (p, energy, m + 2) and their normal equations.

    The columns are those of the design, partial volume and flattening; ``gram`` (p, m + 2, m + 2), ``seen`` (p, m + 2).
    """

    position: NDArray[np.int64]
    residual: Floats
    columns: Floats
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
    for block in _blocks(setup, chosen):
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
        empty = (block.columns[:, :, m:] == 0).all(axis=1).sum(axis=1)
        maps["freedom"][at] = block.count - m - 2 + empty
        maps["unrest"][at] = (block.change / block.sigma**2).mean(axis=1)
        maps["steepness"][at] = 0.5 * block.change.max(axis=1)
        maps["highest"][at] = block.fitted.max(axis=1)
        sample[at] = np.sum((block.fitted / block.sigma) ** 2, axis=1) > enough
        valid[at] = True
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
    rows, sigmas = [], []
    for block in _blocks(setup, chosen):
        rows.append(_without(block, block.residual))
        sigmas.append(block.sigma)
    left, error = np.concatenate(rows), np.concatenate(sigmas)
    common = np.linalg.svd(left, full_matrices=False)[2][0]
    common *= np.sign((left @ common).sum()) or 1.0
    spectrum = common * error.mean(axis=0)
    score = np.zeros(clear.shape)
    for block in _blocks(setup):
        pattern = _without(block, np.where(block.residual != 0, spectrum / block.sigma, 0.0))
        length = np.linalg.norm(pattern, axis=1)
        along = np.einsum("pe,pe->p", pattern, block.residual)
        score[block.position] = along / np.where(length > 0, length, 1.0)
    return score, spectrum / np.abs(spectrum).max()


def _without(block: _Block, rows: Floats) -> Floats:
    """Rows (p, energy) less what the columns of their pixels can explain."""
    right = np.swapaxes(block.columns, 1, 2) @ rows[:, :, None]
    return np.asarray(rows - (block.columns @ np.linalg.solve(block.gram, right))[:, :, 0])


def _blocks(setup: Setup, chosen: NDArray[np.bool_] | None = None) -> Iterator[_Block]:
    shape = setup.stack.shape[1:]
    energies, m = setup.design.shape
    numbers = np.arange(int(np.prod(shape))).reshape(shape)
    around = np.pad(setup.coefficients, [(0, 0), *[(1, 1)] * len(shape)], mode="edge")
    error = setup.error
    if error.ndim > 1:
        error = error.broadcast_like(setup.stack).transpose(*setup.stack.dims)
    for part in iter_blocks(shape, _sizes(shape)):
        position = numbers[part.core].ravel()
        own = setup.coefficients[(slice(None), *part.core)].reshape(m, -1)
        use = np.asarray(np.isfinite(own).all(axis=0))
        if chosen is not None:
            use = use & chosen[position]
        if not use.any():
            continue
        data = np.asarray(setup.stack.data[(slice(None), *part.core)], dtype=float).reshape(energies, -1)[:, use].T
        fitted = own[:, use].T @ setup.design.T
        if setup.noise is not None:
            sigma, data = _poisson(fitted, data, setup.noise)
        elif error.ndim > 1:
            raw = np.asarray(error.data[(slice(None), *part.core)], dtype=float)
            sigma = raw.reshape(energies, -1)[:, use].T
        else:
            sigma = np.broadcast_to(np.asarray(error.values, dtype=float), data.shape)
        change = _squared_change(around, part.core, own, use, setup.design)
        seen = np.isfinite(data) & np.isfinite(sigma) & (sigma > 0)
        yield _made(setup, position[use], np.where(seen, data, fitted), fitted, np.where(seen, sigma, np.inf), change)


def _made(
    setup: Setup, position: NDArray[np.int64], data: Floats, fitted: Floats, sigma: Floats, change: Floats
) -> _Block:
    energies, m = setup.design.shape
    pixels = len(position)
    seen = np.isfinite(sigma)
    own = np.where(seen, sigma, 1.0)
    columns = np.empty((pixels, energies, m + 2))
    # Noise of the fit makes differences too: per axis, twice the variance of the fitted OD.
    variance = setup.scale * own**2
    columns[:, :, :m] = setup.design
    columns[:, :, :m] *= np.where(seen, 1.0 / np.sqrt(variance), 0.0)[:, :, None]
    normal = _normal(columns[:, :, :m])
    leverage = np.einsum("pem,pem->pe", columns[:, :, :m] @ np.linalg.inv(normal), columns[:, :, :m])
    change = np.maximum(change - 2 * (setup.stack.ndim - 1) * leverage * variance, 0.0)
    error = np.sqrt(variance + setup.jitter * change)
    inverse = np.where(seen, 1.0 / error, 0.0)
    # The strongest flattening that a float can hold is far beyond any OD that light gets through.
    flat = np.expm1(np.minimum(fitted, 30.0))
    top = flat.max(axis=1, keepdims=True)
    columns[:, :, :m] = setup.design
    columns[:, :, m] = 0.5 * change
    columns[:, :, m + 1] = flat / np.where(top > 0, top, 1.0)
    columns *= inverse[:, :, None]
    residual = (data - fitted) * inverse
    return _Block(
        position=position,
        residual=residual,
        columns=columns,
        gram=_normal(columns),
        seen=(np.swapaxes(columns, 1, 2) @ residual[:, :, None])[:, :, 0],
        sigma=error,
        fitted=fitted,
        change=change,
        count=seen.sum(axis=1),
    )


def _normal(columns: Floats) -> Floats:
    """Gram matrix, with a ridge that lets it be inverted where a column is empty or depends on others."""
    gram = np.swapaxes(columns, 1, 2) @ columns
    at = np.arange(gram.shape[1])
    diagonal = gram[:, at, at]
    gram[:, at, at] = np.where(diagonal > 0, diagonal * (1 + 1e-10), 1.0)
    return np.asarray(gram)


def _sizes(shape: tuple[int, ...]) -> list[int]:
    sizes, left = [], _BLOCK_PIXELS
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
