"""An operando CT experiment of a lithium | ceramic | lithium cell with exact ground truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import labeled_image
from operando.core.errors import InputError
from operando.core.phases import CERAMIC_CELL
from operando.core.provenance import record
from operando.samples.ceramic_checks import check_arguments, check_room, checked_shape
from operando.samples.ceramic_cycling import (
    LARGEST_RELATIVE,
    UM_PER_MAH_CM2,
    make_budget,
    make_steps,
    relative_current,
    trace,
)
from operando.samples.ceramic_phases import Transparent, Voids, boundaries, gray_image, halo_field, layers
from operando.samples.ceramic_structure import SIDES, layout, local_flux, make_ceramic, make_foils
from operando.samples.ceramic_truth import NEAR_UM, Porosities
from operando.samples.imaging import Camera, Imaging

_WHERE = "ceramic_cell"
GRAY = {"electrolyte": 1.00, "electrode": 0.18, "pore": 0.08, "collector": 1.30, "electrolyte_pore": 0.08}
"""Gray of each phase relative to the ceramic: pore < lithium << ceramic < steel."""
BOUNDARIES = ("low collector", "low interface", "high interface", "high collector")


def ceramic_cell(
    shape: Sequence[int] = (128, 144, 144),
    *,
    steps: int = 5,
    seed: int = 0,
    voxel_size_um: float = 3.0,
    plating_side: str = "low",
    strength: float = 1.0,
    heterogeneity: float = 0.12,
    anisotropy: float | Sequence[float] = 1.0,
    porosity: float = 0.05,
    porosity_variation: float = 0.9,
    pore_size_um: float = 12.0,
    grain_size_um: float = 36.0,
    boundary_conductivity: float = 0.5,
    lithium_porosity: float = 0.02,
    void_share: float = 0.12,
    cracks: float = 0.03,
    capacity_mah_cm2: float | None = None,
    current_density_ma_cm2: float | Sequence[float] = (0.2, 0.8),
    critical_current_ma_cm2: float | None = 0.7,
    gray: Mapping[str, float] | None = None,
    blur: float = 0.7,
    fringes: float = 0.05,
    halo: float = 0.05,
    rings: float = 0.01,
    shading: float = 0.02,
    drift: float = 0.005,
    noise: float = 0.04,
    noise_correlation: float = 0.5,
    voltage_noise_v: float = 0.0005,
) -> xr.Dataset:
    """Simulate CT of a lithium | ceramic | lithium cell step by step, with exact ground truth.

    Parameters
    ----------
    shape : (z, y, x)
        Voxels of one scan, at least (48, 24, 24). z is normal to the electrodes: from either end a sixteenth steel (at
        least 6 planes) and an eighth lithium (at least 10), ceramic between.
    steps : int
        Scans, at least 1: pristine, plate 1, strip 1, plate 2, ... each at the end of its step. The names are those of
        what the plating side does; the other side does the opposite.
    seed : int
        Not negative. The same seed and arguments give the same bytes.
    voxel_size_um : float
        Edge of a voxel in um.
    plating_side : {"low", "high"}
        Which electrode plates in the first step.
    strength : float
        How much of the local current the ceramic beneath decides: 0 nothing, 1 what conduction through it says, more
        exaggerates (to 20).
    heterogeneity : float
        Standard deviation of the logarithm of a second factor of the local current, which knows nothing of the
        ceramic: hot spots that are there for another reason (to 1).
    anisotropy : float or (z, y, x)
        Relative lengths of grains and pores of the ceramic; one number ``a`` elongates them along x.
    porosity, porosity_variation : float
        Volume fraction of pores in the ceramic (to 0.3), and the standard deviation of the logarithm of its local value
        (over some 60 um along y and x).
    pore_size_um, grain_size_um : float
        Of the ceramic, as in :func:`operando.transport.synthetic_polycrystal`.
    boundary_conductivity : float
        Of a grain boundary, one voxel wide, relative to that of a grain.
    lithium_porosity : float
        Volume fraction of pores in the foil as made (to 0.1).
    void_share : float
        Share of the lithium stripped in the first cycle that leaves a void behind where the current is the mean one (to
        0.3); it grows with the local current and with the fourth root of the applied one, to at most 0.4.
    cracks : float
        Volume fraction that turns transparent in the ceramic at its interfaces in the first stripping step (to 0.15).
    capacity_mah_cm2 : float, optional
        Charge per area of every step. Default 1.5 (7.3 um of dense lithium), or less where there are not planes
        enough for 2.5 times that.
    current_density_ma_cm2 : float or sequence of float
        Of the first cycle, the second, ...; the last one also of all later ones.
    critical_current_ma_cm2 : float, optional
        Where the current of the last step is above it, the cell shorts in that step. None: it never does.
    gray : mapping of phase name to float, optional
        Gray levels that replace the usual ones, :data:`GRAY`.
    blur : float
        Sigma of the point spread in voxels.
    fringes : float
        Peak of the phase-contrast fringe at a flat edge between ceramic and void; proportionally less at weaker edges.
    halo : float
        Gray that steel and ceramic cast into the lithium near them, unevenly, and differently in every scan.
    rings, shading, drift, noise, noise_correlation : float
        As in :func:`operando.samples.symmetric_cell`, relative to the ceramic.
    voltage_noise_v : float
        Standard deviation of a voltage sample.

        The effects from ``fringes`` to ``noise`` are relative to the ceramic's gray; 0 turns each off.

    Returns
    -------
    Dataset
        ``image`` (t, z, y, x) float32 and ``labels`` (t, z, y, x) uint8 in :data:`operando.core.phases.CERAMIC_CELL`.
        ``t`` in hours has the coordinate ``step``: "pristine", "plate 1", "strip 1", ...

        ``grains`` (z, y, x) int32: number of the grain, 0 outside the ceramic and in the pores it was made with.

        ``boundaries_um`` (t, boundary, y, x): exact heights of "low collector", "low interface", "high interface" and
        "high collector". (One Dataset has one coordinate ``component``, here the two electrodes; rename ``boundary``
        to ``component`` for functions that take boundaries.)

        Maps (t, component, y, x) of the electrodes ``low`` and ``high``: ``current_density`` in mA cm-2, mean over the
        time since the last scan, positive where lithium arrives, NaN at the first; ``lithium_um`` and ``pore_um``,
        lithium and pores per area, which add up to the thickness. ``relative_flux`` (component, y, x): what conduction
        through the ceramic says, over its mean.

        ``current_ma``, ``voltage_v`` (current_t): through the imaged area, positive while the plating side plates.

        Per scan and electrode (t, component): ``lithium_um3`` and ``pore_um3``; ``porosity`` and
        ``porosity_near_interface`` (10 um) of the lithium, ``electrolyte_porosity_interface`` (``attrs["depth_um"]``:
        100 um, or 0.42 of the ceramic if that is less), as counted in the labels; ``void_share``, the volume of pores
        that closes per volume of lithium that arrives since the last scan. Per scan: ``electrolyte_porosity`` and
        ``electrolyte_porosity_bulk``, what is not interface.

        ``attrs``: the short (``short_h``, ``short_step``, ``short_current_density_ma_cm2``; NaN and "" if none),
        ``conductivity`` of the ceramic relative to a grain, ``capacity_mah_cm2``, ``step_current_density_ma_cm2``.

    Raises
    ------
    InputError
        Where an argument is out of range, with the range, or where lithium or steel would be used up somewhere.

    Notes
    -----
    *Ceramic.* A polycrystal (grains, boundaries one voxel wide, pores) between interfaces that are rough by 2 um.
    Conduction through it (grain 1, boundary ``boundary_conductivity``, pore 0, lithium 100) is solved, and r is the
    current through either interface over its mean, evened out over 9 um. The local current is

    .. math:: j = \\bar j\\, c\\, \\max(0, 1 + s (r - 1))\\, e^{h g}

    with s the ``strength``, h the ``heterogeneity``, g a Gaussian field that keeps 85 % of its variance from step to
    step, and c such that the mean is the applied current; no place carries more than 2.5 times the mean.

    *Lithium.* Every column keeps its account, exact to rounding:

    .. math:: \\Delta L = j\\, \\Delta t\\, V_\\mathrm{Li} / F, \\qquad h = L + P,

    L being lithium and P pores in um, V_Li = 12.998 cm3 mol-1, h the thickness. The interface stays, the collector
    moves. Stripping adds ``void_share`` of the lithium that leaves to P (more where and when the current is high),
    plating fills voids; the change of thickness is therefore that of lithium *and* pores, and a current taken from it
    alone is low by the factor 1 - ``void_share`` of the Dataset. Pore voxels realize P over some 30 um, not in every
    column: within some 8 um of the interface what cycling adds, anywhere what the foil had. Their volume per electrode
    and step is ``pore_um3``, exactly.

    *Transparent ceramic.* Its pores, and voxels along grain boundaries near both interfaces, more after stripping
    than after plating and deeper at the higher current, at both interfaces alike. Only what X-rays see changes: the
    flux is that of the pristine ceramic.

    *Voltage.* Ohmic drop of the ceramic and 150 ohm cm2 per interface over the share in contact. A short makes it fall
    to a fifth and noisy; lithium keeps moving as the charge says.

    *Gray.* Steel 1.30 > ceramic 1 >> lithium 0.18 > pore 0.08, partial volumes by the exact heights. The halo makes
    gray within the lithium vary more from place to place than between lithium and pore.

    Memory: the result (5 bytes per voxel and scan) and about 75 bytes per voxel of one scan. Time: 5 s for the default
    on two cores, half of it for the ceramic and its flux.

    What the sample cannot tell: see the page *The ceramic cell* of the documentation.

    References
    ----------
    .. [1] M. B. Dixit et al., ACS Applied Energy Materials 3, 9534 (2020), doi:10.1021/acsaem.0c02053.

    Examples
    --------
    What one electrode loses the other gains, and the current says the same:

    >>> cell = ceramic_cell((48, 24, 24), steps=2, seed=3)
    >>> low, high = cell.lithium_um3.diff("t").values[0]
    >>> bool(abs(low + high) < 1e-6 * low)
    True
    >>> seconds = float(cell.t[1] - cell.t[0]) * 3600
    >>> amperes = float(cell.current_density[1].sel(component="low").mean()) * 1e-3 * cell.attrs["area_cm2"]
    >>> bool(abs(amperes * seconds / 96485.33212 * 12.998e12 / low - 1) < 1e-9)
    True
    """
    given = dict(locals())
    size = checked_shape(shape)
    check_arguments(given)
    currents = tuple(np.atleast_1d(np.asarray(current_density_ma_cm2, dtype=float)).tolist())
    steel, lithium_planes = layout(size[0])
    room = min(0.7 * lithium_planes, steel - 2) * voxel_size_um / LARGEST_RELATIVE / UM_PER_MAH_CM2
    capacity = min(1.5, room) if capacity_mah_cm2 is None else float(capacity_mah_cm2)
    if not 0 < capacity <= room * (1 + 1e-12):
        raise InputError(
            f"{_WHERE}: capacity_mah_cm2 must be positive and at most {room:.3g} for {size[0]} planes of "
            f"{voxel_size_um:g} um, got {capacity_mah_cm2!r}. Take more planes, larger voxels or less capacity."
        )
    stretch = tuple(np.atleast_1d(np.asarray(anisotropy, dtype=float)).tolist())
    ceramic = make_ceramic(
        size,
        voxel_size_um=voxel_size_um,
        seed=seed,
        porosity=porosity,
        porosity_variation=porosity_variation,
        pore_size_um=pore_size_um,
        grain_size_um=grain_size_um,
        anisotropy=stretch[0] if len(stretch) == 1 else stretch,
    )
    flux, conductivity = local_flux(ceramic, voxel_size_um=voxel_size_um, boundary_conductivity=boundary_conductivity)
    protocol = make_steps(steps, capacity_mah_cm2=capacity, current_density_ma_cm2=currents)
    relative = relative_current(
        steps, flux, strength=strength, heterogeneity=heterogeneity, seed=seed, voxel_size_um=voxel_size_um
    )
    budget = make_budget(
        protocol,
        relative,
        plating_side=plating_side,
        thickness_um=make_foils(size, ceramic.interface_um, seed=seed, voxel_size_um=voxel_size_um),
        lithium_porosity=lithium_porosity,
        void_share=void_share,
        voxel_size_um=voxel_size_um,
    )
    heights = boundaries(budget, ceramic.interface_um)
    check_room(heights, budget, size, voxel_size_um)

    levels = np.zeros(max(CERAMIC_CELL.ids) + 1)
    for name, number in CERAMIC_CELL.items():
        levels[number] = {**GRAY, **(gray or {})}[name]
    camera = Camera(
        size,
        imaging=Imaging(
            levels,
            texture=0.0,
            defects=0.0,
            blur=blur,
            fringes=fringes,
            rings=rings,
            shading=shading,
            drift=drift,
            noise=noise,
            noise_correlation=noise_correlation,
        ),
        seed=seed,
        scans=steps,
        dense=CERAMIC_CELL["electrolyte"],
        void=CERAMIC_CELL["electrolyte_pore"],
    )
    voids = Voids(size, ceramic.interface_um, voxel_size_um=voxel_size_um, seed=seed)
    transparent = Transparent(ceramic, voxel_size_um=voxel_size_um, seed=seed, cracks=cracks)
    image = np.empty((steps, *size), dtype=np.float32)
    labels = np.empty((steps, *size), dtype=np.uint8)
    truth = Porosities(steps, size, ceramic.interface_um, voxel_size_um)
    for scan in range(steps):
        now = labels[scan]
        now[...] = layers(size, heights[scan], voxel_size_um)
        voids.add(now, budget, scan)
        transparent.add(now, protocol, scan)
        truth.add(now, scan)
        picture = gray_image(now, heights[scan], levels, voxel_size_um)
        if halo:
            cast = halo_field(size, heights[scan], scan=scan, voxel_size_um=voxel_size_um, seed=seed)
            picture += np.float32(halo) * cast
            del cast
        image[scan] = camera.expose(picture, scan=scan)

    area_cm2 = size[1] * size[2] * voxel_size_um**2 * 1e-8
    hours, current, voltage, short = trace(
        protocol,
        area_cm2=area_cm2,
        ceramic_um=float(np.mean(ceramic.interface_um[1] - ceramic.interface_um[0])),
        conductivity=conductivity,
        contact_lost=voids.contact_lost(budget),
        critical_ma_cm2=critical_current_ma_cm2,
        noise_v=voltage_noise_v,
        seed=seed,
    )
    interval = np.diff(protocol.end_h, prepend=np.nan)[:, None, None, None]
    toward = np.array([1.0, -1.0]) if plating_side == "low" else np.array([-1.0, 1.0])
    mean = protocol.direction * capacity / interval.ravel()
    density = mean[:, None, None, None] * toward[:, None, None] * relative
    grains = np.zeros(size, dtype=np.int32)
    planes = slice(ceramic.first, ceramic.first + ceramic.phase.shape[0])
    solid = np.isin(labels[0, planes], [CERAMIC_CELL["electrolyte"], CERAMIC_CELL["electrolyte_pore"]])
    grains[planes] = np.where(solid, ceramic.grains, 0)

    shared = {"plating_side": plating_side, "simulated": True}
    step = ("t", list(protocol.names), {"long_name": "Step"})

    def picture_of(array: np.ndarray, timed: bool = True, **attrs: Any) -> xr.DataArray:
        made = labeled_image(
            array,
            voxel_size_um=voxel_size_um,
            t=protocol.end_h if timed else None,
            attrs={**attrs, **shared},
        )
        return made.assign_coords(step=step) if timed else made

    def measured(dims: tuple[str, ...], array: np.ndarray, units: str, long_name: str, **attrs: Any) -> Any:
        return dims, array, {"units": units, "long_name": long_name, **attrs, **shared}

    maps, sums = ("t", "component", "y", "x"), ("t", "component")
    voxel_um3, area_um2 = voxel_size_um**3, voxel_size_um**2
    lithium_um3 = budget.lithium_um.sum(axis=(2, 3)) * area_um2
    pore_um3 = budget.voxels * voxel_um3
    with np.errstate(invalid="ignore", divide="ignore"):
        share = -np.diff(pore_um3, axis=0, prepend=np.nan) / np.diff(lithium_um3, axis=0, prepend=np.nan)
    values = {
        "image": picture_of(image, long_name="Gray relative to the ceramic"),
        "labels": picture_of(labels, long_name="Phase", phases=CERAMIC_CELL.to_dict()),
        "grains": picture_of(grains, timed=False, long_name="Grain"),
        "boundaries_um": measured(("t", "boundary", "y", "x"), heights.astype(np.float32), "um", "Height"),
        "current_density": measured(maps, density, "mA cm-2", "Current density"),
        "lithium_um": measured(maps, budget.lithium_um, "um", "Dense lithium"),
        "pore_um": measured(maps, budget.pore_um, "um", "Pores in lithium"),
        "relative_flux": measured(maps[1:], flux, "1", "Flux through the ceramic over its mean"),
        "current_ma": measured(("current_t",), current, "mA", "Current through the imaged area"),
        "voltage_v": measured(("current_t",), voltage, "V", "Cell voltage"),
        "lithium_um3": measured(sums, lithium_um3, "um3", "Volume of lithium"),
        "pore_um3": measured(sums, pore_um3, "um3", "Volume of pores in lithium"),
        "void_share": measured(sums, share, "1", "Pores that close per lithium that arrives"),
        "porosity": measured(sums, truth.porosity, "1", "Porosity of the lithium"),
        "porosity_near_interface": measured(
            sums, truth.near, "1", "Porosity of the lithium near the ceramic", depth_um=NEAR_UM
        ),
        "electrolyte_porosity": measured(("t",), truth.ceramic, "1", "Transparent share of the ceramic"),
        "electrolyte_porosity_bulk": measured(("t",), truth.bulk, "1", "Transparent share of the ceramic's bulk"),
        "electrolyte_porosity_interface": measured(
            sums, truth.interfacial, "1", "Transparent share of the ceramic near the lithium", depth_um=truth.depth_um
        ),
    }
    coords = {
        "component": list(SIDES),
        "boundary": list(BOUNDARIES),
        "step": step,
        "current_t": ("current_t", hours, {"units": "h", "long_name": "Time"}),
    }
    shorted = bool(np.isfinite(short))
    stated = {**given, "shape": list(size), "gray": {**GRAY, **(gray or {})}}
    attrs = {
        **shared,
        "seed": seed,
        "capacity_mah_cm2": capacity,
        "step_current_density_ma_cm2": protocol.current_density_ma_cm2.tolist(),
        "area_cm2": area_cm2,
        "conductivity": conductivity,
        "interface_depth_um": truth.depth_um,
        "short_h": short,
        "short_step": protocol.names[-1] if shorted else "",
        "short_current_density_ma_cm2": float(abs(protocol.current_density_ma_cm2[-1])) if shorted else float("nan"),
        "critical_current_ma_cm2": float("nan") if critical_current_ma_cm2 is None else float(critical_current_ma_cm2),
        "provenance": record("operando.samples.ceramic_cell", stated),
    }
    return xr.Dataset(values, coords=coords, attrs=attrs)
