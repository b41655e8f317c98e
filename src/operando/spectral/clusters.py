"""Groups of pixels with the same kind of spectrum, whatever their thickness."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from operando.core import provenance
from operando.core.errors import InputError, nearest
from operando.core.phases import UNLABELED, PhaseScheme
from operando.spectral.pixels import as_mask, as_spectra, pixel_blocks
from operando.spectral.principal import Moments, eigenpairs, scores_of
from operando.spectral.stacks import whole_number

METHODS = ("kmeans", "minibatch")
NORMALIZE = ("thickness", "norm", "none")
SIGNAL_TO_NOISE = 10.0
LEAST_RATIO = 0.25


def cluster(
    stack: Any,
    n: int,
    *,
    normalize: str | None = "thickness",
    method: str = "kmeans",
    n_components: int | None = None,
    mask: Any = None,
    minimum_thickness: float | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """Cluster pixels by the shape of their spectra, not by how thick the sample is there.

    Parameters
    ----------
    stack : DataArray, dims (energy, [z], y, x), units "1"
        Optical density, NaN where missing. May be lazy.
    n : int
        How many clusters, 1 to 254.
    normalize : {"thickness", "norm", "none"}
        What a pixel's spectrum is divided by before it is compared: its mean optical density over the range of photon
        energy (``thickness``), its length (``norm``, for spectra whose mean may vanish), or nothing (then clusters
        follow thickness).
    method : {"kmeans", "minibatch"}
        scikit-learn's k-means, or its mini-batch variant for millions of pixels.
    n_components : int, optional
        Spectra are compared by their scores on that many principal components; default ``n``.
    mask : bool array, dims ([z], y, x), optional
        True where a pixel counts.
    minimum_thickness : float, optional
        Least mean optical density of a pixel that is clustered. Default: pixels whose spectrum, on the components, is
        at least 10 times as long as its noise, so that noise turns a normalized spectrum by no more than about 0.1.
    seed : int
        Same seed, same clusters.

    Returns
    -------
    Dataset
        ``label`` ([z], y, x) uint8, 255 where a pixel is masked, too thin or misses too many energies;
        ``spectrum`` (component, energy) mean spectrum of each cluster, in the stack's unit, and ``spectrum_sigma``, the
        standard error of its shape; ``fraction`` (component) of the clustered pixels; ``pixels`` (component);
        ``thickness`` ([z], y, x) mean optical density. The largest cluster comes first, of equals the one met first.

    Raises
    ------
    InputError
        Where there are fewer usable pixels than clusters, or an argument is out of range.

    Notes
    -----
    Lambert and Beer make a pixel's spectrum the thickness times a shape; k-means on optical density therefore cuts a
    wedge of one phase into steps. Here the scores :math:`t_i` of a pixel on the first components, which hold the signal
    and a small share of the noise, are divided by :math:`d_i`, the mean optical density,

    .. math:: d_i = \\frac{\\int D_i(E)\\,dE}{E_{max} - E_{min}}

    by trapezoids, from the components as well, and then clustered. The spectrum of a cluster is
    :math:`\\sum D_i / \\sum d_i` times its mean thickness, so that thick pixels count as much as they tell;
    ``spectrum_sigma`` is the standard error of that ratio, from the scatter of its pixels. It takes pixels as
    independent, which a probe wider than a pixel makes too small, and says nothing about errors common to all pixels.

    A pixel whose mean is less than a quarter of what is usual for the length of its spectrum is left out: its baseline
    is off (or it holds something else), and dividing by a mean near zero would make it a cluster of its own.

    Noise is the median variance of the components left out. Boundary pixels hold two phases: they form
    clusters of their own when ``n`` is larger than the number of phases.

    Memory: scores in float64 (8 bytes per pixel and component, several copies within k-means) and a block of 64 MiB;
    the stack is read three times.

    References
    ----------
    M. Lerotic et al., Ultramicroscopy 100 (2004) 35 (clusters on principal components of STXM stacks).

    Examples
    --------
    A wedge of one phase beside a wedge of another; an empty pixel between them:

    >>> shapes = np.array([[1.0, 3.0, 2.0], [1.0, 2.0, 3.0]])
    >>> thickness = np.array([[0.5, 1.0, 1.5, 0, 0, 0, 0], [0, 0, 0, 0, 0.4, 0.8, 1.2]])
    >>> od = xr.DataArray((shapes.T @ thickness)[:, None], dims=("energy", "y", "x"))
    >>> groups = cluster(od, 2)
    >>> groups["label"].values.tolist()
    [[0, 0, 0, 255, 1, 1, 1]]
    >>> groups["fraction"].values.tolist()
    [0.5, 0.5]
    """
    where = "cluster"
    n = whole_number(n, 1, UNLABELED - 1, where=where, name="n", remedy="Choose in between.")
    data, use, normalize = _checked(stack, normalize, method, mask, where=where)
    moments = Moments.of(data, use, where=where)
    if n_components is not None:
        n_components = whole_number(n_components, 1, where=where, name="n_components", remedy="Leave it out.")
    kept = min(data.sizes["energy"], n if n_components is None else n_components)
    values, vectors = eigenpairs(moments.second)
    basis = vectors[:, :kept].T
    rest = values[kept:]
    noise = float(np.sqrt(np.median(rest))) if rest.size else 0.0

    mean_over_energy = energy_average(data)
    score, thickness = _scores(data, use, basis, mean_over_energy)
    length = np.linalg.norm(score, axis=1)
    good = np.isfinite(length)
    if normalize == "none":
        divisor = np.ones(use.size)
        limit = -np.inf if minimum_thickness is None else float(minimum_thickness)
    else:
        divisor = thickness if normalize == "thickness" else length
        good &= divisor > 0
        # Spectra that are compared by their length may well have a mean below zero.
        limit = float(minimum_thickness) if minimum_thickness is not None else -np.inf
        if normalize == "thickness":
            good &= thickness > LEAST_RATIO * _typical_ratio(thickness[good], length[good]) * length
        if minimum_thickness is None:
            good &= length > SIGNAL_TO_NOISE * noise * np.sqrt(kept)
    good &= np.where(np.isfinite(thickness), thickness, -np.inf) >= limit
    if int(good.sum()) < n:
        raise InputError(
            f"{where}: at least as many pixels as clusters must be thick enough, got {int(good.sum())} for {n} "
            f"clusters (noise {noise:.3g}, largest mean {np.nanmax(thickness, initial=0.0):.3g}). "
            "Ask for fewer clusters, or set minimum_thickness."
        )
    shape = score[good] / divisor[good, None]
    label = np.full(use.size, UNLABELED, dtype=np.uint8)
    label[good] = _kmeans(shape, n, method=method, seed=seed)
    counts = np.bincount(label[good], minlength=n)
    first = np.array([int(np.argmax(label == k)) for k in range(n)])
    order = np.lexsort((first, -counts))
    rank = np.full(256, UNLABELED, dtype=np.uint8)
    rank[order] = np.arange(n, dtype=np.uint8)
    label = rank[label]
    spectrum, sigma = _spectra(data, label, divisor if normalize != "none" else np.ones(use.size), n)
    settings = {
        "n": n,
        "normalize": normalize,
        "method": method,
        "n_components": kept,
        "minimum_thickness": minimum_thickness,
        "seed": seed,
        "masked": mask is not None,
    }
    return _dataset(data, label, thickness, spectrum, sigma, counts[order], noise, settings)


def _checked(
    stack: Any, normalize: str | None, method: str, mask: Any, *, where: str
) -> tuple[xr.DataArray, np.ndarray, str]:
    normalize = "none" if normalize is None else normalize
    if normalize not in NORMALIZE:
        raise InputError(
            f"{where}: normalize is one of {', '.join(NORMALIZE)}, got {normalize!r}. {nearest(normalize, NORMALIZE)}"
        )
    if method not in METHODS:
        raise InputError(f"{where}: method is one of {', '.join(METHODS)}, got {method!r}. {nearest(method, METHODS)}")
    data = as_spectra(stack, where=where)
    return data, as_mask(mask, data, where=where), normalize


def energy_average(data: xr.DataArray) -> np.ndarray:
    """Weights (energy,) whose product with a spectrum is its mean over the range of photon energy, by trapezoids."""
    energy = np.asarray(data["energy"].values, dtype=float)
    if energy.size == 1:
        return np.ones(1)
    order = np.argsort(energy)
    step = np.diff(energy[order])
    weights = np.empty(energy.size)
    weights[order] = (np.concatenate([[0.0], step]) + np.concatenate([step, [0.0]])) / 2
    return weights / weights.sum()


def _scores(
    data: xr.DataArray, use: np.ndarray, basis: np.ndarray, average: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    score = np.full((use.size, len(basis)), np.nan)
    for position, rows in pixel_blocks(data, use):
        score[position] = scores_of(rows, basis)
    return score, score @ (basis @ average)


def _typical_ratio(thickness: np.ndarray, length: np.ndarray) -> float:
    """Mean over length of a spectrum, median over the thicker half of the pixels."""
    if not length.size:
        return 0.0
    thick = length >= np.median(length)
    return float(np.median(thickness[thick] / length[thick]))


def _kmeans(shape: np.ndarray, n: int, *, method: str, seed: int) -> np.ndarray:
    from warnings import catch_warnings, simplefilter

    from sklearn.cluster import KMeans, MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning

    made = KMeans if method == "kmeans" else MiniBatchKMeans
    options = {} if method == "kmeans" else {"batch_size": 4096}
    with catch_warnings():
        simplefilter("ignore", ConvergenceWarning)  # of empty clusters, which are an error here
        label = made(n_clusters=n, n_init=10, random_state=seed, **options).fit_predict(shape)
    found = np.unique(label).size
    if found < n:
        raise InputError(
            f"cluster: {n} clusters need as many different spectra, got {found} among {len(shape)} pixels. "
            "Ask for fewer."
        )
    return np.asarray(label, dtype=np.uint8)


def _spectra(data: xr.DataArray, label: np.ndarray, divisor: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Ratio estimate of each cluster's spectrum and its standard error, from sums over one pass."""
    energies = data.sizes["energy"]
    count, x, d, xx, xd, dd = (np.zeros((n, energies)) for _ in range(6))
    for position, rows in pixel_blocks(data, label != UNLABELED):
        for k in np.unique(label[position]):
            part = rows[label[position] == k]
            finite = np.isfinite(part)
            part = np.where(finite, part, 0.0)
            by = divisor[position][label[position] == k][:, None] * finite
            for total, values in ((count, finite), (x, part), (d, by), (xx, part**2), (xd, part * by), (dd, by**2)):
                total[k] += values.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = x / d
        thickness = (d.sum(axis=1) / count.sum(axis=1))[:, None]
        scatter = np.maximum(xx - 2 * ratio * xd + ratio**2 * dd, 0.0) / (count - 1)
        sigma = np.sqrt(scatter / count) * thickness / (d / count)
        return ratio * thickness, np.where(count > 1, sigma, np.nan)


def _dataset(
    data: xr.DataArray,
    label: np.ndarray,
    thickness: np.ndarray,
    spectrum: np.ndarray,
    sigma: np.ndarray,
    counts: np.ndarray,
    noise: float,
    settings: dict[str, Any],
) -> xr.Dataset:
    space, shape = data.dims[1:], data.shape[1:]
    names = [f"cluster {k + 1}" for k in range(len(counts))]
    unit = str(data.attrs.get("units", "1"))
    scheme = PhaseScheme({name: k for k, name in enumerate(names)})
    made = {
        "label": (
            space,
            label.reshape(shape),
            {"units": "1", "long_name": "Cluster", "phases": scheme.to_dict()},
        ),
        "spectrum": (("component", "energy"), spectrum, {"units": unit, "long_name": "Mean spectrum"}),
        "spectrum_sigma": (
            ("component", "energy"),
            sigma,
            {"units": unit, "long_name": "Standard error of the mean spectrum"},
        ),
        "fraction": (
            ("component",),
            counts / counts.sum(),
            {"units": "1", "long_name": "Share of the clustered pixels"},
        ),
        "pixels": (("component",), counts.astype(np.int64), {"units": "1", "long_name": "Pixels"}),
        "thickness": (space, thickness.reshape(shape), {"units": unit, "long_name": "Mean over the range of energy"}),
    }
    coords = {"component": names, **{dim: data[dim] for dim in data.dims if dim in data.coords}}
    attrs = {"noise": noise, "provenance": provenance.record("cluster", settings)}
    return xr.Dataset(made, coords=coords, attrs=attrs)
