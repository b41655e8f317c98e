"""Operando stimulated Raman images of a growing lithium electrode, with exact ground truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import labeled_image
from operando.core.errors import InputError, nearest
from operando.core.provenance import record
from operando.samples.srs_growth import Growth, grow
from operando.samples.srs_imaging import Scene, SRSMicroscope, fingers_over, take_image
from operando.samples.srs_law import LAW, STAGES

_WHERE = "srs_series"
_LABELS = {
    "position": ("um", "Interface position"),
    "height": ("um", "Height of the lithium"),
    "surface_concentration": ("mol L-1", "Concentration at the interface"),
    "concentration_gradient": ("mol L-1 um-1", "Concentration gradient along y, outward"),
    "curvature": ("um-1", "Curvature of the interface, positive at a tip"),
    "hidden": ("1", "Hidden field"),
    "growth_rate": ("um min-1", "Growth rate of the interval that starts here"),
    "expected_growth_rate": ("um min-1", "Growth rate that is expected from the past"),
    "visible_growth_rate": ("um min-1", "Growth rate by concentration and curvature alone"),
    "overhang": ("1", "Whether the lithium hangs over"),
    "broken": ("1", "Whether the line is too dim"),
}


def srs_series(
    shape: Sequence[int] = (256, 256),
    *,
    frames: int = 16,
    current_density: float = 0.6,
    interval_min: float = 5.0,
    hidden: float = 0.5,
    seed: int = 0,
    metal: str = "high",
    pixel_size_um: float = 1.0,
    initial: float = 0.33,
    diffusivity: float = 16.0,
    transference: float = 0.66,
    uneven: float = 0.22,
    roughness_um: float = 2.0,
    law: Mapping[str, Any] | None = None,
    dark: float = 10.0,
    gray_per_molar: float = 400.0,
    noise: float = 1.0,
    blur_px: float = 0.7,
    line_width_px: float = 1.5,
    illumination: float = 0.0,
    breaks: float = 0.01,
    specks: float = 0.3,
    overhangs: int = 0,
) -> xr.Dataset:
    """Simulate a series of images of a lithium electrode that grows by a stated law, with exact ground truth.

    Parameters
    ----------
    shape : (y, x)
        Pixels, at least 32 each.
    frames : int
        Images, the first at the moment when the current is applied.
    current_density : float
        Initial current density in mA cm-2: what diffusion no longer brings is not consumed.
    interval_min : float
        Between two images, in minutes.
    hidden : float
        Strength of the hidden field, from 0; at 1 growth varies by 28 % because of it.
    seed : int
        Not negative. The same seed and arguments give the same numbers.
    metal : {"high", "low"}
        End of the y axis at which the metal lies; "high" is the bottom of the picture.
    pixel_size_um : float
        Edge of a pixel.
    initial : float
        Salt in mol L-1.
    diffusivity : float
        Of the salt, in um2 s-1.
    transference : float
        Share of the current that lithium ions carry, from 0 to below 1.
    uneven : float
        Relative variation of the salt consumed along the surface.
    roughness_um : float
        Standard deviation of the surface at first.
    law : mapping, optional
        Coefficients that replace those of :data:`operando.samples.srs_law.LAW`.
    dark, gray_per_molar : float
        Gray value without salt, and gray per mol L-1.
    noise : float
        Factor on the noise: 1 is 1.5 gray, and as much again by shots at a gray of 9.
    blur_px, line_width_px : float
        Standard deviations of the optics and of the saturated line.
    illumination : float
        Largest relative unevenness of the light.
    breaks : float
        Share of the columns in which the line is too dim to be saturated.
    specks : float
        Mean number per image of saturated spots in the electrolyte.
    overhangs : int
        Fingers that lean over the surface. They are drawn, and do not grow by the law.

    Returns
    -------
    Dataset
        What is measured: ``image`` (t, y, x) uint8, gray values, t in s.

        What is true, all (t, x) but where said: ``position`` (um, on the axis y) of the line as it is seen from the
        electrolyte; ``height`` (um) above the edge of the picture at the metal; ``concentration`` (t, y, x) in
        mol L-1, NaN in the metal; ``surface_concentration`` (mol L-1); ``concentration_gradient`` (mol L-1 um-1),
        along y and outward, at the surface; ``curvature`` (um-1), that of the law; ``hidden``, the hidden field,
        normal with variance 1; ``growth_rate`` (um min-1) of the interval that *starts* at t, NaN at the last;
        ``expected_growth_rate``, its expectation given concentration and curvature at t and the hidden field of the
        interval before; ``visible_growth_rate``, the same without any knowledge of the hidden field; ``stage`` (t),
        0 none, 1 partial, 2 full depletion; ``overhang`` and ``broken``, bool.

        ``attrs``: ``simulated``, ``metal``, ``calibration`` (``dark``, ``gray_per_molar``), ``law``, ``salt_balance``
        (salt that is there and that has left over salt at first) and what was asked for.

    Raises
    ------
    InputError
        Where an argument is none of those above, or where the lithium leaves the picture.

    Notes
    -----
    In the interval that starts at t the surface moves along y with the velocity of t,

    .. math:: v = V_s \\exp\\left[a_s w \\tanh\\frac{\\ln (c / C)}{w} + a_k \\tanh \\lambda \\kappa + \\epsilon g
              - \\tfrac{1}{2} \\epsilon^2\\right], \\quad \\epsilon = 0.28\\,\\mathrm{hidden}

    with c the concentration at the surface, C its mean over the picture, s the stage (C above 0.5, above 0.12, or
    below 0.12 of the initial salt), V_s = 0.04, 0.41, 0.64 um min-1 [1]_, a_s = 1.3, 0.8, 0.65, w = 0.4, a_k = 0.1,
    lambda = 5 um, kappa the curvature after a Gaussian of 3 um, and g a hidden field: normal, smooth along x
    (correlation exp[-r2 / (16 um)2]), and from frame to frame :math:`g_{i+1} = \\rho g_i + \\sqrt{1 - \\rho^2}\\, \\xi`
    with rho = 0.6. Its factor has the mean 1: ``visible_growth_rate`` is the law without it. Given the past,

    .. math:: E[v_i | c_i, \\kappa_i, g_{i-1}]
              = V_i \\exp[\\rho \\epsilon g_{i-1} - \\tfrac{1}{2} \\rho^2 \\epsilon^2]

    with V the visible rate, which is ``expected_growth_rate``: g of the interval before follows from its growth, c and
    kappa. Nobody who knows the past can do better. ``visible_growth_rate`` is no such bound for those who know c and
    kappa only: g has shaped the surface, so that kappa tells a little of it.

    Salt diffuses in two dimensions above the moving surface
    (:class:`operando.samples.srs_diffusion.Electrolyte`), which consumes what the current asks for, unevenly, and in
    the end what diffusion brings. With the defaults Sand's time is 51 min at 0.6 mA cm-2 and 11 min at 1.3.

    The law is not that of a real cell: no overpotential, no side reactions, no pressure, and what is consumed does not
    depend on where the lithium grows. Concentration at a tip is higher because it reaches into the electrolyte.

    Memory: the image, and the concentration in float64 twice. 16 frames of 256 x 256 take about a second.

    References
    ----------
    .. [1] Ma et al., J. Electrochem. Soc. 168, 090523 (2021), Fig. 2.

    Examples
    --------
    >>> made = srs_series((64, 64), frames=3, seed=1)
    >>> made.image.dims, made.image.dtype, made.stage.values.tolist()
    (('t', 'y', 'x'), dtype('uint8'), [0, 0, 0])
    >>> growth = made.height.diff("t").values / made.attrs["interval_min"]
    >>> bool(abs(growth - made.growth_rate.values[:-1]).max() < 1e-12)
    True
    """
    rows, columns = _shape(shape)
    coefficients = _law(law, hidden)
    microscope = SRSMicroscope(
        dark=_number("dark", dark, 0.0),
        gray_per_molar=_number("gray_per_molar", gray_per_molar, 0.0, open_low=True),
        metal_gray=0.5 * float(dark),
        line_gray=600.0,
        line_width_px=_number("line_width_px", line_width_px, 0.0, open_low=True),
        blur_px=_number("blur_px", blur_px, 0.0),
        shot=0.25 * _number("noise", noise, 0.0) ** 2,
        read=1.5 * float(noise),
        illumination=_number("illumination", illumination, 0.0, 1.0),
        breaks=_number("breaks", breaks, 0.0, 1.0),
        specks=_number("specks", specks, 0.0),
    )
    if metal not in ("high", "low"):
        raise InputError(
            f"{_WHERE}: metal must be 'high' or 'low', the end of y at which it lies, got {metal!r}. "
            f"{nearest(str(metal), ('high', 'low'))}"
        )
    setup = Growth(
        rows=rows,
        columns=columns,
        frames=_count("frames", frames, 1),
        interval_s=60.0 * _number("interval_min", interval_min, 0.0, open_low=True),
        pixel_um=_number("pixel_size_um", pixel_size_um, 0.0, open_low=True),
        current_density=_number("current_density", current_density, 0.0),
        initial=_number("initial", initial, 0.0, open_low=True),
        diffusivity=_number("diffusivity", diffusivity, 0.0, open_low=True),
        transference=_number("transference", transference, 0.0, 1.0, open_high=True),
        uneven=_number("uneven", uneven, 0.0),
        roughness_um=_number("roughness_um", roughness_um, 0.0),
        law=coefficients,
        seed=_count("seed", seed, 0),
    )
    truth = grow(setup, where=_WHERE)
    pixels = truth["height"] / setup.pixel_um
    fingers, outermost = fingers_over(pixels, _count("overhangs", overhangs, 0), setup.seed)
    image = np.empty(truth["concentration"].shape, dtype=np.uint8)
    truth["broken"] = np.empty(pixels.shape, dtype=bool)
    for number in range(setup.frames):
        scene = Scene(pixels[number], truth["concentration"][number], setup.seed, number, fingers[number])
        image[number], truth["broken"][number] = take_image(scene, microscope)
    truth["overhang"] = np.isfinite(outermost)
    truth["position"] = setup.pixel_um * (np.where(truth["overhang"], outermost, pixels) - 0.5)
    if metal == "high":
        image = np.ascontiguousarray(image[:, ::-1])
        truth["concentration"] = truth["concentration"][:, ::-1]
        truth["position"] = setup.pixel_um * (rows - 1) - truth["position"]
    settings = {
        "shape": [rows, columns],
        "frames": setup.frames,
        "current_density": setup.current_density,
        "interval_min": float(interval_min),
        "hidden": coefficients["hidden"],
        "seed": setup.seed,
        "metal": metal,
        "initial": setup.initial,
        "pixel_size_um": setup.pixel_um,
        "overhangs": int(overhangs),
    }
    return _labeled(image, truth, settings, coefficients, microscope)


def srs_experiments(*, seed: int = 0, hidden: float = 0.5, **options: Any) -> dict[str, xr.Dataset]:
    """The paper's three experiments: 16 images at 0.6 mA cm-2, and twice 5 at 1.3.

    Parameters
    ----------
    seed : int
        Of the first; the others have ``seed`` + 1,000,000 and ``seed`` + 2,000,000.
    hidden : float
        Strength of the hidden field.
    **options
        As :func:`srs_series` takes them, for all three.

    Returns
    -------
    dict of str to Dataset
        "set 1", "set 2" and "set 3", each as :func:`srs_series` returns it.

    Examples
    --------
    >>> {name: made.sizes["t"] for name, made in srs_experiments(shape=(96, 48)).items()}
    {'set 1': 16, 'set 2': 5, 'set 3': 5}
    """
    plan = ((16, 0.6), (5, 1.3), (5, 1.3))
    return {
        f"set {number + 1}": srs_series(
            **{"frames": frames, "current_density": current, **options},
            hidden=hidden,
            seed=_count("seed", seed, 0) + 1_000_000 * number,
        )
        for number, (frames, current) in enumerate(plan)
    }


def _labeled(
    image: np.ndarray,
    truth: dict[str, Any],
    settings: dict[str, Any],
    law: dict[str, Any],
    microscope: SRSMicroscope,
) -> xr.Dataset:
    calibration = {"dark": microscope.dark, "gray_per_molar": microscope.gray_per_molar}
    described = {"simulated": True, "metal": settings["metal"], "calibration": calibration}
    seconds = 60.0 * settings["interval_min"] * np.arange(len(image))
    labeled = labeled_image(
        image,
        dims=("t", "y", "x"),
        voxel_size_um=settings["pixel_size_um"],
        t=seconds,
        time_units="s",
        long_name="Gray value",
        attrs=described,
    )
    data: dict[str, Any] = {"image": labeled}
    for name, (unit, title) in _LABELS.items():
        data[name] = (("t", "x"), truth[name], {"units": unit, "long_name": title, "simulated": True})
    attrs = {"units": "mol L-1", "long_name": "Salt concentration", "simulated": True}
    data["concentration"] = (("t", "y", "x"), truth["concentration"], attrs)
    attrs = {"units": "1", "long_name": "Depletion stage", "names": list(STAGES), "simulated": True}
    data["stage"] = ("t", truth["stage"], attrs)
    more = {"law": law, "salt_balance": truth["salt_balance"], "provenance": record(_WHERE, settings)}
    return xr.Dataset(data, attrs={**settings, **described, **more})


def _shape(shape: Sequence[int]) -> tuple[int, int]:
    sizes = np.asarray(shape)
    if sizes.shape != (2,) or sizes.dtype.kind not in "iu" or sizes.min() < 32:
        raise InputError(f"{_WHERE}: shape must be two whole numbers of pixels (y, x), at least 32 each, got {shape}.")
    return int(sizes[0]), int(sizes[1])


def _law(given: Mapping[str, Any] | None, hidden: float) -> dict[str, Any]:
    for name, value in (given or {}).items():
        if name not in LAW or name == "hidden":
            known = [key for key in LAW if key != "hidden"]
            raise InputError(f"{_WHERE}: law has no coefficient {name!r} to set. {nearest(str(name), known)}")
        asked, wanted = np.asarray(value), np.shape(LAW[name])
        if asked.shape != wanted or asked.dtype.kind not in "iuf" or not np.isfinite(asked).all():
            many = f"{wanted[0]} numbers" if wanted else "one number"
            raise InputError(f"{_WHERE}: {name} of the law must be {many}, as {LAW[name]}, got {value!r}.")
    law = {**LAW, **(given or {}), "hidden": _number("hidden", hidden, 0.0)}
    if not 0.0 <= law["persistence"] < 1.0:
        raise InputError(f"{_WHERE}: the persistence of the law must be in [0, 1), got {law['persistence']}.")
    return law


def _count(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise InputError(f"{_WHERE}: {name} must be a whole number of at least {least}, got {value!r}.")
    return int(value)


def _number(
    name: str, value: Any, low: float, high: float = np.inf, *, open_low: bool = False, open_high: bool = False
) -> float:
    """The number, if it lies between the bounds."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = np.nan
    above = number > low if open_low else number >= low
    below = number < high if open_high else number <= high
    if not (np.isfinite(number) and above and below):
        bounds = f"{'above' if open_low else 'at least'} {low:g}"
        bounds += "" if np.isinf(high) else f" and {'below' if open_high else 'at most'} {high:g}"
        raise InputError(f"{_WHERE}: {name} must be a number {bounds}, got {value!r}.")
    return number
