"""Stacks whose drift is known, drawn at random from a wide range of images, spectra, noise and ways to drift.

Nothing here comes from the package, but for the simulated particles: images are moved by other means than those under
test (Fourier's theorem, splines of SciPy, whole pixels, or the formula of the image at other places).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy import ndimage

IMAGES = ("blobs", "discs", "ellipses", "texture", "particles")
SPECTRA = ("one", "two", "three", "faint before the edge", "turning over")
NOISE = (0.0, 1e-3, 1e-2, "1e4 photons", "1e3 photons", "1e2 photons")
DRIFTS = ("walk", "line", "jumps", "whole pixels")
MOVERS = ("formula", "fourier", "spline, zero", "spline, edge")
SIZES = (32, 48, 64, 96, 128)
ENERGIES = (5, 8, 12, 21, 40, 81)


@dataclass(frozen=True)
class Case:
    """A stack, the shift of each image in pixels (energy, 2), and what it was made of.

    ``bound`` (pixels) is the root mean square of the error that noise leaves to who knows the scene (Cramer and Rao).
    """

    stack: xr.DataArray
    shift: np.ndarray
    bound: float
    about: str


def draw(seed: int, **chosen: object) -> Case:
    """One stack; what is not chosen is drawn from the seed."""
    rng = np.random.default_rng(seed)

    def pick(name: str, among: tuple[object, ...]) -> object:
        drawn = among[int(rng.integers(len(among)))]
        return chosen.get(name, drawn)

    image, spectrum, noise = pick("image", IMAGES), pick("spectrum", SPECTRA), pick("noise", NOISE)
    drift, mover = pick("drift", DRIFTS), pick("mover", MOVERS)
    size, count = int(pick("size", SIZES)), int(pick("count", ENERGIES))  # type: ignore[call-overload]
    shift = _drift(str(drift), count, size, rng)
    spectra = _spectra(str(spectrum), count, rng)
    scene = _scene(str(image), size, spectra.shape[1], rng)
    if drift == "whole pixels":
        still = np.einsum("kj,jyx->kyx", spectra, scene(0.0, 0.0))
        density = np.array([np.roll(one, along.astype(int), (0, 1)) for one, along in zip(still, shift, strict=True)])
        mover = "roll"
    elif mover == "formula":
        density = np.array([np.tensordot(c, scene(*s), 1) for c, s in zip(spectra, shift, strict=True)])
    else:
        still = np.einsum("kj,jyx->kyx", spectra, scene(0.0, 0.0))
        density = np.array([_moved(one, along, str(mover)) for one, along in zip(still, shift, strict=True)])
    if isinstance(noise, str):
        light = float(noise.split()[0])
        expected = light * np.exp(-density)
        values = rng.poisson(expected).astype(float)
        variance = np.maximum(expected, 1.0)
    else:
        expected = density
        values = density + noise * rng.standard_normal(density.shape)
        variance = np.full(density.shape, float(noise) ** 2)  # type: ignore[arg-type]
    stack = xr.DataArray(values, dims=("energy", "y", "x"), coords={"energy": np.linspace(510.0, 540.0, count)})
    about = f"{image}, {spectrum}, {noise}, {drift}, {mover}, {count} x {size} x {size}"
    return Case(stack, shift - shift.mean(axis=0), _bound(expected, variance), about)


def error(case: Case, found: xr.Dataset) -> np.ndarray:
    """Error of the shifts (energy, 2) in pixels, after removing its mean."""
    away = np.stack([found["shift_y"], found["shift_x"]], axis=1) - case.shift
    return np.asarray(away - away.mean(axis=0))


def _bound(expected: np.ndarray, variance: np.ndarray) -> float:
    if not variance.any():
        return 0.0
    slopes = np.stack(np.gradient(expected, axis=(1, 2)))
    information = np.einsum("akyx,bkyx,kyx->kab", slopes, slopes, 1 / variance)
    return float(np.sqrt(np.mean(np.trace(np.linalg.inv(information), axis1=1, axis2=2) / 2)))


def _drift(kind: str, count: int, size: int, rng: np.random.Generator) -> np.ndarray:
    if kind == "line":
        shift = np.linspace(0, 1, count)[:, None] * rng.uniform(-4, 4, 2)
    elif kind == "jumps":
        shift = np.cumsum(rng.normal(0, 0.15, (count, 2)), axis=0)
        for at in rng.integers(1, count, 2):
            shift[at:] += rng.choice([-3.0, 3.0], 2)
    elif kind == "whole pixels":
        shift = np.cumsum(rng.integers(-1, 2, (count, 2)), axis=0).astype(float)
    else:
        shift = np.cumsum(rng.normal(0, 0.3, (count, 2)), axis=0)
    # A field that leaves itself is another matter.
    most = size / 8
    reach = np.abs(shift - shift.mean(axis=0)).max()
    if reach > most:
        shift = (np.round if kind == "whole pixels" else np.asarray)(shift * most / reach)
    return np.asarray(shift)


def _spectra(kind: str, count: int, rng: np.random.Generator) -> np.ndarray:
    """(energy, component), of optical density."""
    at = np.linspace(0, 1, count)

    def one(floor: float) -> np.ndarray:
        edge = 1 / (1 + np.exp(-(at - rng.uniform(0.25, 0.5)) / 0.03))
        peaks = sum(
            rng.uniform(0.3, 1.0) * np.exp(-0.5 * ((at - rng.uniform(0.3, 0.8)) / rng.uniform(0.03, 0.08)) ** 2)
            for _ in range(2)
        )
        return np.asarray(floor + 0.5 * edge + peaks)

    if kind == "turning over":
        return one(0.3)[:, None] * np.where(at > rng.uniform(0.4, 0.6), -1.0, 1.0)[:, None]
    if kind == "faint before the edge":
        return np.stack([one(0.02), one(0.02)], axis=1)
    return np.stack([one(0.25) for _ in range({"one": 1, "two": 2, "three": 3}[kind])], axis=1)


def _scene(kind: str, size: int, count: int, rng: np.random.Generator) -> Callable[[float, float], np.ndarray]:
    """Images (component, y, x) of a scene moved by (dy, dx)."""
    y, x = np.mgrid[:size, :size].astype(float)
    if kind == "texture":
        width, margin = rng.uniform(1.5, 3.0), size // 4
        coarse = [
            ndimage.gaussian_filter(rng.standard_normal((size + 2 * margin,) * 2), width, mode="wrap")
            for _ in range(count)
        ]
        filters = [ndimage.spline_filter(1 + 0.5 * one / one.std(), order=5) for one in coarse]
        return lambda dy, dx: np.array(
            [
                ndimage.map_coordinates(one, [y - dy + margin, x - dx + margin], order=5, prefilter=False, mode="wrap")
                for one in filters
            ]
        )
    number = int(rng.integers(2, 11))
    rows, columns = rng.uniform(0.0 if rng.random() < 0.3 else 0.2, 0.8, (2, number)) * size
    radii = rng.uniform(0.05, 0.14, number) * size
    flatness, angle = rng.uniform(0.5, 1.0, number), rng.uniform(0, np.pi, number)
    # Each object is of its own mixture; those of a disc or a particle differ in the inside, too.
    shares = rng.dirichlet(np.ones(count), number)
    edge = rng.uniform(0.6, 1.5)

    def made(dy: float, dx: float) -> np.ndarray:
        out = np.zeros((count, size, size))
        for k in range(number):
            v, u = y - dy - rows[k], x - dx - columns[k]
            if kind == "ellipses":
                v, u = np.cos(angle[k]) * v + np.sin(angle[k]) * u, np.cos(angle[k]) * u - np.sin(angle[k]) * v
                v = v / flatness[k]
            far = np.hypot(v, u)
            if kind == "blobs":
                shape = np.exp(-0.5 * (far / (0.6 * radii[k])) ** 2)
            else:
                shape = 0.5 - 0.5 * np.tanh((far - radii[k]) / edge)
            share = np.broadcast_to(shares[k][:, None, None], out.shape)
            if kind == "particles" and count > 1:
                inside = 0.5 - 0.5 * np.tanh((far - 0.6 * radii[k]) / edge)
                share = share * (1 - inside) + np.roll(share, 1, axis=0) * inside
            out = out + share * shape
        return out

    return made


def _moved(image: np.ndarray, shift: np.ndarray, mover: str) -> np.ndarray:
    if mover == "fourier":
        return np.asarray(np.fft.ifft2(ndimage.fourier_shift(np.fft.fft2(image), shift)).real)
    how = {"spline, zero": "constant", "spline, edge": "nearest"}[mover]
    return np.asarray(ndimage.shift(image, shift, order=3, mode=how, cval=0.0))
