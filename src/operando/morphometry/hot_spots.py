"""Hot and cold spots of a map: where its local mean stands out from what its own texture, or its noise, would do."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import require_dims, spacing
from operando.core.errors import InputError, nearest
from operando.morphometry.null_maps import (
    FieldDraws,
    NoiseDraws,
    coarse_map,
    disc_mean,
    pixels_of_blocks,
    robust_scale,
)
from operando.morphometry.volume import passed_on

NULLS = ("field", "noise")
_FEWEST_PIXELS = 25
_GRID = 3
_ONE_WAY = 0.9
_FORMING = 0.01
_SMALLEST = 0.25


def hot_spots(
    current_density: xr.DataArray,
    *,
    radius_um: float = 18.0,
    fdr: float = 0.05,
    null: str = "field",
    excess: float = 0.0,
    error_length_um: float | None = None,
    surrogates: int = 199,
    seed: int = 0,
) -> xr.Dataset:
    """Places at which more, or less, current flows than the rest of the map lets expect.

    Parameters
    ----------
    current_density : DataArray, dims ([t], [component], y, x), y and x in um
        From :func:`plating_current_density`, or any other map. NaN where not known.
    radius_um : float
        Of the disc over which the local mean is taken, in um. Default: a disc as wide as the 36 um of Dixit 2020.
    fdr : float
        Share of the spots found that may be there by chance.
    null : {"field", "noise"}
        What a map without spots is. ``field``: a stationary Gaussian field with the autocovariance of this very map, so
        that a spot stands out from the usual ups and downs. ``noise``: one and the same value everywhere, measured with
        the standard uncertainty ``sigma`` that the map carries as a coordinate.
    excess : float
        With ``noise``, share of the current by which a place must differ from the rest before it may be called a spot:
        0.25 finds where the current is, beyond the error, more than a quarter higher or lower. With 0, on a precise map
        nearly every place differs.
    error_length_um : float, optional
        Standard deviation of the Gaussian filter that made neighboring errors alike, for ``noise``. Default:
        ``attrs["smooth_um"]`` of the map, else 0.
    surrogates : int
        Random maps that the p-values rest on, per map.
    seed : int
        Of these; the same seed gives the same spots.

    Returns
    -------
    Dataset, dims ([t], [component], y, x)
        - ``spot`` int8: 1 hot, -1 cold, 0 neither or not known
        - ``score`` float32: local mean minus the center of the map, in standard deviations of local means
        - ``p_value`` float32: two-sided, of a single place
        - ``q_value`` float32: of the connected excursion that a place belongs to, adjusted for their number; 1 outside
        - ``id`` int32: number of the connected spot (8 neighbors) within its map, from 1; 0 is none
        - ``current_density``: the map itself
        - ``direction`` int8, dims ([t], [component]): -1 where nine tenths of the electrode are stripped, else 1. Hot
          means *more current in that direction*: on a stripping electrode a hot spot strips faster.

    Raises
    ------
    AxesError, InputError, UnitsError
        Where dims or arguments are wrong, an axis is in px, too few pixels are known, or ``noise`` knows no sigma.

    Notes
    -----
    The score is that of Getis and Ord (Gi*) with the disc as neighborhood, but for its scale: with m the local mean
    over the known part of the disc,

    .. math:: z = \\frac{m - \\mathrm{median}(m)}{1.4826\\, \\mathrm{MAD}(m)} \\quad (\\mathrm{field}), \\qquad
              z = \\frac{m - \\mathrm{median}(m)}{\\sigma_m} \\quad (\\mathrm{noise})

    With ``excess`` e, the numerator of the latter is first drawn to 0 by e |median(m)|.

    The usual scale of Gi* takes pixels for independent; on a smooth map nearly everything is then a spot. The median
    and its deviation hardly know of spots up to a fifth of the area. The p-value of a place is the share of scores as
    large in all of the random maps, which are drawn on a larger plane, cut to the known pixels, and scored like the map
    itself, so that it covers how badly a small map knows its own scale.

    Many places are one spot, so it is spots that are tested: connected places (8 neighbors, one sign) with p < 0.01
    form an excursion, its mass is the sum of the score beyond that limit times the area, and its p-value the share of
    excursions of the random maps with as much mass. Benjamini and Hochberg's rule over the excursions of a map keeps
    those with a q-value up to ``fdr``. For the field null this is done twice, the second time with an autocovariance
    and a scale that leave out the spots found first and excursions that no random map comes near. A spot is the part of
    its excursion in which the score is at least half of the largest: around the peak, and apart from it if as large as
    a quarter of the disc.

    A spot is a statement about the map, not about its cause: a slow gradient over the whole electrode makes the field
    null wide and hides spots; a map whose values are skewed everywhere has hot spots and no cold ones. Spots much
    smaller than the disc are thinned out, spots much larger than a fifth of the map are texture. A spot that touches
    one of more than twice its score is lost in its slope.

    Memory: about 20 maps in float64. Time: about a second per map of 0.7 megapixels and 18 um.

    References
    ----------
    Getis and Ord, Geographical Analysis 24 (1992) 189, doi:10.1111/j.1538-4632.1992.tb00261.x;
    Benjamini and Hochberg, Journal of the Royal Statistical Society B 57 (1995) 289,
    doi:10.1111/j.2517-6161.1995.tb02031.x; Chumbley and Friston, NeuroImage 44 (2009) 62,
    doi:10.1016/j.neuroimage.2008.05.021 (of excursions, not of pixels)

    Examples
    --------
    A place of three times the current in a noisy map of pixels of 3 um:

    >>> from operando.core.axes import labeled_image
    >>> values = 1 + 0.1 * np.random.default_rng(0).normal(size=(80, 80))
    >>> values[20:30, 40:50] += 2
    >>> spots = hot_spots(labeled_image(values, voxel_size_um=3.0), radius_um=12, surrogates=49)
    >>> int(spots["spot"].max()), int(spots["spot"].min()), int(spots["spot"][25, 45]), int(spots["id"].max())
    (1, 0, 1, 1)
    """
    where = "hot_spots"
    require_dims(current_density, ("y", "x"), where=where, optional=("t", "component"))
    step = spacing(current_density, where=where)
    if null not in NULLS:
        raise InputError(f"{where}: null must be 'field' or 'noise', got {null!r}. {nearest(str(null), NULLS)}")
    if not 0 < fdr < 1:
        raise InputError(f"{where}: fdr must be a share between 0 and 1, got {fdr!r}. 0.05 is usual.")
    if not (np.isfinite(radius_um) and radius_um >= 0.5 * max(step.values())):
        raise InputError(
            f"{where}: radius_um must be at least half a pixel, {0.5 * max(step.values()):g} um, got {radius_um!r}. "
            "The half width of what is to be found is a good choice."
        )
    if not (np.isfinite(excess) and excess >= 0) or (excess > 0 and null != "noise"):
        raise InputError(
            f"{where}: excess must be a share of at least 0 and belongs to null='noise', got {excess!r} with "
            f"null={null!r}. 0.25 means a quarter more or less than the rest."
        )
    widest = 0.5 * min(step[dim] * current_density.sizes[dim] for dim in ("y", "x"))
    if radius_um > widest:
        raise InputError(
            f"{where}: a disc must fit into the map, with a radius_um of at most {widest:g} um, got {radius_um!r}. "
            "Make it smaller; what is as wide as the map is no spot."
        )
    if not isinstance(surrogates, int | np.integer) or surrogates < 1:
        raise InputError(f"{where}: surrogates must be a whole number of at least 1, got {surrogates!r}. Correct it.")
    if null == "noise" and "sigma" not in current_density.coords:
        raise InputError(
            f"{where}: null='noise' needs the standard uncertainty of the map as its coordinate 'sigma'. "
            "plating_current_density(thickness, sigma_um=...) gives it; or use null='field'."
        )
    if error_length_um is None:
        error_length_um = float(current_density.attrs.get("smooth_um", 0.0))
    leading = [dim for dim in ("t", "component") if dim in current_density.dims]
    maps = current_density.transpose(*leading, "y", "x")
    shape = tuple(maps.sizes[dim] for dim in leading)
    plane = (maps.sizes["y"], maps.sizes["x"])
    out: dict[str, np.ndarray] = {
        "spot": np.zeros((*shape, *plane), np.int8),
        "score": np.full((*shape, *plane), np.nan, np.float32),
        "p_value": np.full((*shape, *plane), np.nan, np.float32),
        "q_value": np.full((*shape, *plane), np.nan, np.float32),
        "id": np.zeros((*shape, *plane), np.int32),
    }
    direction = np.ones(shape, np.int8)
    pixel = (step["y"], step["x"])
    for number, index in enumerate(np.ndindex(shape)):
        one = maps.isel(dict(zip(leading, index, strict=True)))
        values = np.asarray(one.values, dtype=float)
        known = np.isfinite(values)
        if known.sum() < _FEWEST_PIXELS:
            raise InputError(
                f"{where}: at least {_FEWEST_PIXELS} known pixels per map are needed, got {int(known.sum())} in map "
                f"{dict(zip(leading, index, strict=True))}. Leave that step or electrode out."
            )
        random = np.random.default_rng([seed, number])
        error = None
        if null == "noise":
            error = np.broadcast_to(np.asarray(one["sigma"].values, dtype=float), plane)
        judge = _Judge(values, known, pixel, radius_um, surrogates=int(surrogates), random=random)
        score, p, q = judge.field(fdr) if error is None else judge.noise(error, error_length_um, excess)
        direction[index] = judge.direction
        score = score * direction[index]
        least = _SMALLEST * np.pi * radius_um**2 / (pixel[0] * pixel[1])
        found = _to_half_height(np.where(q <= fdr, score, 0), least)
        results = {"spot": found, "score": score, "p_value": p, "q_value": q, "id": _numbered(found)}
        for name, result in results.items():
            out[name][index] = result
    coords = {name: c for name, c in maps.coords.items() if name != "sigma"}
    dims = (*leading, "y", "x")
    titles = {"spot": "Spot", "score": "Score", "p_value": "p-value", "q_value": "q-value", "id": "Number of the spot"}
    data: dict[str, Any] = {
        name: xr.Variable(dims, values, {"units": "1", "long_name": titles[name], **passed_on(current_density)})
        for name, values in out.items()
    }
    data["direction"] = xr.Variable(leading, direction, {"units": "1", "long_name": "Direction of the current"})
    data["current_density"] = maps.drop_vars("sigma", errors="ignore")
    tested = {
        "field": "against a stationary Gaussian field with the autocovariance of the map",
        "noise": f"against a map uniform to {100 * excess:g} % measured with its standard uncertainty",
    }[null]
    attrs = {"tested": tested, "null": null, "radius_um": float(radius_um), "fdr": float(fdr)}
    attrs |= {"surrogates": int(surrogates), "seed": int(seed)}
    return xr.Dataset(data, coords=coords, attrs=attrs | passed_on(current_density))


class _Judge:
    """One map: its local means, and how large those of random maps without spots become."""

    def __init__(
        self,
        values: np.ndarray,
        known: np.ndarray,
        pixel: tuple[float, float],
        radius: float,
        *,
        surrogates: int,
        random: np.random.Generator,
    ) -> None:
        self._values, self._known, self._pixel, self._radius = values, known, pixel, radius
        self._surrogates, self._random = surrogates, random
        self._local = disc_mean(values, known, pixel, radius)
        self.direction = -1 if (self._local[known] < 0).mean() >= _ONE_WAY else 1
        # A local mean knows nothing finer than a third of its radius: random maps are that coarse.
        self._block = (max(1, int(radius / _GRID / pixel[0])), max(1, int(radius / _GRID / pixel[1])))
        self._size = (pixel[0] * self._block[0], pixel[1] * self._block[1])
        self._coarse, self._there = coarse_map(values, known, self._block)

    def field(self, fdr: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Score, p-value and q-value against a Gaussian field with the autocovariance of the map."""
        quiet, quiet_there = self._known, self._there
        # Spots widen the field that is to show what is usual; those that no random map comes near are left out of it.
        for last in (False, True):
            draw = FieldDraws(self._coarse, quiet_there, self._random)
            nulls = []
            for _ in range(self._surrogates):
                local = disc_mean(draw(), self._there, self._size, self._radius)
                center, scale = robust_scale(local[self._there])
                nulls.append((local - center) / scale)
            center, scale = robust_scale(self._local[quiet])
            score, p, q, beyond = self._tested((self._local - center) / scale, nulls)
            spot = (q <= fdr) | beyond
            if last or not spot.any() or (self._known & ~spot).sum() < _FEWEST_PIXELS:
                break
            quiet = self._known & ~spot
            quiet_there = self._there & (coarse_map(spot.astype(float), self._known, self._block)[0] == 0)
        return score, p, q

    def noise(self, error: np.ndarray, length: float, excess: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Score, p-value and q-value against one value everywhere, give or take an excess, measured with an error."""
        mean_square, _ = coarse_map(error**2, self._known & np.isfinite(error), self._block)
        blocks = (length / self._size[0], length / self._size[1])
        draw = NoiseDraws(np.sqrt(mean_square), self._there, self._block, blocks, self._random)
        made = [disc_mean(draw(), self._there, self._size, self._radius) for _ in range(self._surrogates)]
        deviations = np.array([local - np.median(local[self._there]) for local in made])
        scale = np.where(self._there, np.sqrt((deviations**2).mean(axis=0)), np.nan)
        fine = pixels_of_blocks(scale, self._block, self._values.shape)
        center = np.median(self._local[self._known])
        away = self._local - center
        score = np.sign(away) * np.maximum(np.abs(away) - excess * abs(center), 0) / fine
        return self._tested(score, list(deviations / scale))[:3]

    def _tested(
        self, score: np.ndarray, nulls: list[np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Score, p-value and q-value of every place, and where an excursion has more mass than any of chance."""
        pooled = np.sort(np.abs(np.concatenate([null[self._there] for null in nulls])))
        score = np.where(self._known, score, np.nan)
        above = pooled.size - np.searchsorted(pooled, np.abs(score), side="left")
        p = np.where(self._known, (1 + above) / (1 + pooled.size), np.nan)
        limit = float(pooled[int((1 - _FORMING) * (pooled.size - 1))])
        coarse_area, area = np.prod(self._size), np.prod(self._pixel)
        by_chance = [_excursions(np.where(self._there, null, 0), limit)[1] * coarse_area for null in nulls]
        chance = np.sort(np.concatenate(by_chance))
        ids, masses = _excursions(np.where(self._known, score, 0), limit)
        as_much = chance.size - np.searchsorted(chance, masses * area * (1 - 1e-12), side="left")
        q = np.r_[1.0, _adjusted((1 + as_much) / (1 + chance.size))][ids]
        return score, p, np.where(self._known, q, np.nan), np.r_[False, as_much == 0][ids]


def _excursions(score: np.ndarray, limit: float) -> tuple[np.ndarray, np.ndarray]:
    """Connected places of one sign beyond the limit, numbered from 1, and the sum of the score beyond it in each."""
    ids = _numbered(np.where(np.abs(score) >= limit, np.sign(score), 0))
    return ids, np.bincount(ids.ravel(), weights=(np.abs(score) - limit).ravel(), minlength=int(ids.max()) + 1)[1:]


def _to_half_height(score: np.ndarray, least: float) -> np.ndarray:
    """Sign of the score where it reaches half of the largest in its connected place, int8; 0 elsewhere.

    What this cuts off from the peak stays if it has at least so many pixels.
    """
    peaks = _peaks(_numbered(score), score)
    kept = np.where(np.abs(score) >= 0.5 * peaks, np.sign(score), 0)
    ids = _numbered(kept)
    large = np.bincount(ids.ravel())[ids] >= least
    return np.where(large | (_peaks(ids, score) == peaks), kept, 0).astype(np.int8)


def _peaks(ids: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Largest magnitude of the score in the place that a pixel belongs to."""
    peaks = np.zeros(int(ids.max()) + 1)
    np.maximum.at(peaks, ids.ravel(), np.abs(score).ravel())
    return np.asarray(peaks[ids])


def _adjusted(p: np.ndarray) -> np.ndarray:
    """The smallest false discovery rate at which each p-value is a discovery (Benjamini and Hochberg)."""
    order = np.argsort(p)
    ranked = p[order] * p.size / np.arange(1, p.size + 1)
    out = np.empty(p.size)
    out[order] = np.minimum(np.minimum.accumulate(ranked[::-1])[::-1], 1.0)
    return out


def _numbered(spot: np.ndarray) -> np.ndarray:
    """Connected places of one sign (8 neighbors), numbered from 1, positive ones first."""
    from scipy.ndimage import label

    positive, count = label(spot > 0, structure=np.ones((3, 3)))
    negative, _ = label(spot < 0, structure=np.ones((3, 3)))
    return np.asarray(positive + np.where(negative > 0, negative + count, 0), dtype=np.int32)
