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
    the fitted OD; else ``error`` broadcasts against the stack.
    """

    stack: xr.DataArray
    error: xr.DataArray
    noise: tuple[Floats, Floats, float, float] | None
    design: Floats
    coefficients: Floats
    terms: list[str]
    energies: Floats


@dataclass(frozen=True)
class Pass:
    """Per pixel, in the order of an image.

    ``square`` and ``freedom``: chi-square of what nothing known explains. ``steepness``: half the squared gradient of
    the fitted OD at the worst energy, per pixel^2. ``gap_*`` and ``flat_*``: scalar products of the pattern of partial
    volume and of flattening (for a flattening of 1 at the strongest energy) with itself and the residual, over sigma.
    """

    valid: NDArray[np.bool_]
    sample: NDArray[np.bool_]
    square: Floats
    freedom: Floats
    steepness: Floats
    highest: Floats
    gap_square: Floats
    gap_found: Floats
    flat_square: Floats
    flat_found: Floats

    def median_square(self) -> float:
        """Median of the reduced chi-square."""
        use = self.valid & (self.freedom > 0)
        found = float(np.median(self.square[use] / self.freedom[use])) if use.any() else 1.0
        return found if found > 0 else 1.0

    def scaled(self, factor: float) -> Pass:
        """The same for a noise that is ``factor`` times as large."""
        names = ("square", "gap_square", "gap_found", "flat_square", "flat_found")
        return replace(self, **{name: getattr(self, name) / factor**2 for name in names})

    def clean(self) -> NDArray[np.bool_]:
        """Pixels that the references fit within the usual scatter."""
        from scipy.stats import chi2

        usual = max(1.0, self.median_square())
        return np.asarray(self.valid & (self.square / usual < chi2.isf(1e-3, np.maximum(self.freedom, 1))))


@dataclass(frozen=True)
class _Block:
    """Pixels (p) of a block: residual and patterns over sigma, (p, energy) and (p, energy, columns)."""

    position: NDArray[np.int64]
    residual: Floats
    fixed: Floats
    basis: Floats
    patterns: Floats
    sigma: Floats
    fitted: Floats
    count: NDArray[np.int64]


def first_pass(setup: Setup) -> Pass:
    """Collect what :class:`Pass` holds, reading the stack once."""
    from scipy.stats import chi2

    size = int(np.prod(setup.stack.shape[1:]))
    energies = len(setup.energies)
    maps = {name: np.zeros(size) for name in list(Pass.__dataclass_fields__)[2:]}
    valid, sample = np.zeros(size, dtype=bool), np.zeros(size, dtype=bool)
    enough = chi2.isf(1e-3, energies)
    for block in _blocks(setup):
        at = block.position
        residual = _without(block.basis, block.residual[:, :, None])[:, :, 0]
        patterns = _without(block.basis, block.patterns)
        own = np.einsum("pei,pej->pij", patterns, patterns)
        # Both make the OD too low.
        seen = -np.einsum("pei,pe->pi", patterns, residual)
        for first, second, name in ((0, 1, "gap"), (1, 0, "flat")):
            shared = own[:, first, second] / np.where(own[:, second, second] > 0, own[:, second, second], 1.0)
            maps[f"{name}_square"][at] = np.maximum(own[:, first, first] - shared * own[:, first, second], 0.0)
            maps[f"{name}_found"][at] = seen[:, first] - shared * seen[:, second]
        rest = _rest(block)
        maps["square"][at] = np.einsum("pe,pe->p", rest, rest)
        maps["freedom"][at] = block.count - setup.design.shape[1] - (own[:, [0, 1], [0, 1]] > 0).sum(axis=1)
        maps["steepness"][at] = np.max(block.patterns[:, :, 0] * block.sigma, axis=1)
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
    rows, sigmas = [], []
    wanted = np.flatnonzero(clear)
    if wanted.size > _SAMPLED:
        wanted = np.random.default_rng(0).choice(wanted, _SAMPLED, replace=False)
    chosen = np.zeros(clear.shape, dtype=bool)
    chosen[wanted] = True
    for block in _blocks(setup, chosen):
        rows.append(_rest(block))
        sigmas.append(block.sigma)
    left, error = np.concatenate(rows), np.concatenate(sigmas)
    common = np.linalg.svd(left, full_matrices=False)[2][0]
    common *= np.sign((left @ common).sum()) or 1.0
    spectrum = common * error.mean(axis=0)
    score = np.zeros(clear.shape)
    for block in _blocks(setup):
        basis = _basis(block)
        pattern = _without(basis, (spectrum / block.sigma)[:, :, None])[:, :, 0]
        length = np.linalg.norm(pattern, axis=1)
        along = np.einsum("pe,pe->p", pattern, block.residual)
        score[block.position] = along / np.where(length > 0, length, 1.0)
    return score, spectrum / np.abs(spectrum).max()


def _basis(block: _Block) -> Floats:
    whole, _ = np.linalg.qr(np.concatenate([block.fixed, _unit(block.patterns)], axis=2))
    return np.asarray(whole)


def _rest(block: _Block) -> Floats:
    return _without(_basis(block), block.residual[:, :, None])[:, :, 0]


def _without(basis: Floats, columns: Floats) -> Floats:
    return np.asarray(columns - basis @ (np.swapaxes(basis, 1, 2) @ columns))


def _unit(columns: Floats) -> Floats:
    length = np.linalg.norm(columns, axis=1, keepdims=True)
    return np.asarray(columns / np.where(length > 0, length, 1.0))


def _blocks(setup: Setup, chosen: NDArray[np.bool_] | None = None) -> Iterator[_Block]:
    shape = setup.stack.shape[1:]
    m = setup.design.shape[1]
    energies = len(setup.energies)
    numbers = np.arange(int(np.prod(shape))).reshape(shape)
    around = np.pad(setup.coefficients, [(0, 0), *[(1, 1)] * len(shape)], mode="edge")
    error = (
        setup.error.broadcast_like(setup.stack).transpose(*setup.stack.dims) if setup.error.ndim > 1 else setup.error
    )
    for part in iter_blocks(shape, _sizes(shape)):
        position = numbers[part.core].ravel()
        own = setup.coefficients[(slice(None), *part.core)].reshape(m, -1)
        use = np.isfinite(own).all(axis=0)
        if chosen is not None:
            use &= chosen[position]
        if not use.any():
            continue
        data = np.asarray(setup.stack.data[(slice(None), *part.core)], dtype=float).reshape(energies, -1)[:, use].T
        fitted = own[:, use].T @ setup.design.T
        if setup.noise is not None:
            sigma, expected = _poisson(fitted, data, setup.noise)
            data = expected
        elif error.ndim > 1:
            raw = np.asarray(error.data[(slice(None), *part.core)], dtype=float)
            sigma = raw.reshape(energies, -1)[:, use].T
        else:
            sigma = np.broadcast_to(np.asarray(error.values, dtype=float), data.shape)
        seen = np.isfinite(data) & np.isfinite(sigma) & (sigma > 0)
        sigma = np.where(seen, sigma, 1.0)
        inverse = np.where(seen, 1.0 / sigma, 0.0)
        fixed = setup.design[None] * inverse[:, :, None]
        basis = np.linalg.qr(fixed)[0]
        # Noise of the fit makes gradients too: twice the variance of the fitted OD per axis.
        noise = 2 * len(shape) * np.einsum("pem,pem->pe", basis, basis) * sigma**2
        steep = 0.5 * np.maximum(_squared_gradient(around, part.core, own, use, setup.design) - noise, 0.0)
        # The strongest flattening that a float can hold is far beyond any OD that light gets through.
        flat = np.expm1(np.minimum(fitted, 30.0))
        top = flat.max(axis=1, keepdims=True)
        flat = flat / np.where(top > 0, top, 1.0)
        yield _Block(
            position=position[use],
            residual=np.where(seen, data - fitted, 0.0) * inverse,
            fixed=fixed,
            basis=basis,
            patterns=np.stack([steep, flat], axis=2) * inverse[:, :, None],
            sigma=sigma,
            fitted=fitted,
            count=seen.sum(axis=1),
        )


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


def _squared_gradient(
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
