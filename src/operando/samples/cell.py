"""An operando CT experiment of a lithium | polymer | lithium cell with exact ground truth."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import labeled_image
from operando.core.blocks import label_counts
from operando.core.errors import InputError, nearest
from operando.core.phases import CELL
from operando.core.provenance import record
from operando.samples.cycling import MAH_PER_UM3, intermittent_cycle
from operando.samples.fields import generator
from operando.samples.imaging import GRAY, Camera, Imaging, gray_levels
from operando.samples.morphology import disconnected, evolve, largest_thickness, layout

_SMALLEST = (32, 24, 24)
_LARGEST = {
    "dendrite_share": 0.5,
    "pit_share": 0.8,
    "dead_share": 0.8,
    "gray_variation": 0.02,
    "texture": 0.1,
    "defects": 0.05,
    "blur": 5.0,
    "fringes": 0.3,
    "rings": 0.1,
    "shading": 0.2,
    "drift": 0.2,
    "noise": 0.3,
    "noise_correlation": 3.0,
    "motion_degrees": 10.0,
}


def symmetric_cell(
    shape: Sequence[int] = (96, 128, 128),
    *,
    scans: int = 9,
    seed: int = 0,
    voxel_size_um: float = 1.33,
    plating_side: str = "low",
    capacity_mah_cm2: float | None = None,
    dendrite_share: float = 0.22,
    pit_share: float = 0.42,
    dead_share: float = 0.35,
    gray: Mapping[str, float] | None = None,
    gray_variation: float = 0.0015,
    texture: float = 0.004,
    defects: float = 0.002,
    blur: float = 0.7,
    fringes: float = 0.03,
    rings: float = 0.004,
    shading: float = 0.005,
    drift: float = 0.003,
    noise: float = 0.01,
    noise_correlation: float = 0.4,
    motion_voxels: float = 0.2,
    motion_degrees: float = 0.02,
) -> xr.Dataset:
    """Simulate operando CT of one cycle of a Li | polymer | Li cell, with exact ground truth.

    Parameters
    ----------
    shape : (z, y, x)
        Voxels of one scan, at least (32, 24, 24). z is normal to the electrodes: a quarter electrode, half polymer, a
        quarter electrode.
    scans : int
        At least 1. The first is pristine; the first half of the intervals (rounded up) charges, the rest discharges.
        Every seed is one experiment of 24 pulses (12 up, 12 down) while ``scans <= 25``: scans taken after the same
        pulses have the same labels.
    seed : int
        Not negative. The same seed and arguments give the same bytes.
    voxel_size_um : float
        Edge of a voxel in um.
    plating_side : {"low", "high"}
        Which end of z plates on charge.
    capacity_mah_cm2 : float, optional
        Charge per area of a half cycle. Default: 3 mAh cm-2 (14.55 um of dense lithium), or less where a quarter of the
        polymer's thickness is less than that.
    dendrite_share, pit_share, dead_share : float
        Share of the plated lithium that grows as dendrites (0 to 0.5), of the stripping that is local and leaves voids
        (0 to 0.8), and of the dendrites that lose contact on discharge (0 to 0.8).
    gray : mapping of phase name to float, optional
        Gray levels that replace the usual ones; a level given here is not varied.
    gray_variation : float
        Standard deviation of a phase's gray from cell to cell.
    texture : float
        Standard deviation of the gray within mossy lithium; 0.4 of it within polymer and foil.
    defects : float
        Volume fraction of static particles, 3 % brighter, in polymer and foil; they count as what they are in.
    blur : float
        Sigma of the point spread in voxels.
    fringes : float
        Peak of the phase-contrast fringe at a flat edge between electrolyte and void; proportionally less at
        weaker edges.
    rings : float
        Largest amplitude of a ring.
    shading, drift : float
        Peak of the slow gray variation across the field; standard deviation of the gain's random walk over the scans.
    noise : float
        Standard deviation per voxel in electrolyte, 80 % of the variance from photon counting and 20 % electronic.
    noise_correlation : float
        Sigma in voxels of the filter that correlates the noise, as a reconstruction does; the total stays.
    motion_voxels, motion_degrees : float
        Largest translation per axis and largest rotation of a scan against the first.

        The effects from ``gray_variation`` to ``motion_degrees`` are relative to the electrolyte's gray unless they
        state a unit, and 0 turns each off.

    Returns
    -------
    Dataset
        ``image`` (t, z, y, x) float32, gray relative to the electrolyte: what the detector sees, motion included.

        ``labels`` (t, z, y, x) uint8 in :data:`operando.core.phases.CELL`, in the frame of the cell, which is that of
        the first scan.

        ``current_ma``, ``voltage_v`` (current_t): through the *imaged* area, positive while the plating side plates;
        ``current_t`` and ``t`` in hours.

        ``motion`` (t, row, column): homogeneous 4 x 4 matrix per scan that takes a point (z, y, x, 1) in um of the cell
        to where the image shows it.

        ``volume_um3`` (t, component): every phase. ``inactive_um3`` (t): plating-side lithium without a path over
        voxel faces through lithium to the electrode. ``plated_um3``, ``stripped_um3``, ``charge_mah`` (t): what arrived
        on one side, left the other, and flowed in the interval that ends at the scan (0 at the first).

    Raises
    ------
    InputError
        Where an argument is out of range, with the range.

    Notes
    -----
    In every pulse a whole number of voxels leaves one side and the same number arrives on the other, and the current
    is what Faraday's law asks for that volume of dense lithium (3860 mAh g-1, 0.534 g cm-3):

    .. math:: I = N v \\rho c / t_\\mathrm{pulse}

    so that a balance of the labels against the charge closes to rounding. With the default capacity the current
    density is 1.5 mA cm-2 as in [1]_, in pulses of 10 min with 20 min of rest.

    Charging grows a layer of uneven thickness and branching dendrites (lithium above the layer); what of a dendrite the
    layer has overgrown is ``deposited``. The other side recedes, evenly (the polymer follows) and locally (a ``pit``,
    which is void, stays). Discharging dissolves lithium that has contact, layer and dendrites first, then electrode;
    some branches break at a neck and stay. The returning lithium fills most pits, bridges others and then thickens.
    The two sides are drawn independently. Deposited lithium is dense (no porosity below the voxel) and the cell does
    not swell, unlike the real one: apparent porosity and swelling cannot be studied on this sample.

    Gray levels: electrolyte 1, electrode 0.980, mossy lithium 0.966, void 0.952.

    Memory: the result (5 bytes per voxel and scan) and about 15 float32 arrays of one scan. Time: about 0.4 s per
    million voxels of image on one core.

    References
    ----------
    .. [1] Y. Huang et al., npj Computational Materials 9, 93 (2023), doi:10.1038/s41524-023-01039-y.

    Examples
    --------
    What left the stripping side arrived on the plating side, and the charge says the same:

    >>> cell = symmetric_cell((40, 32, 32), scans=2, seed=3)
    >>> lithium = cell.volume_um3.sel(component=["electrode", "deposited", "dendrite", "redeposited"]).sum("component")
    >>> bool(np.ptp(lithium.values) < 1e-6)
    True
    >>> from_charge = cell.charge_mah[1] / (3860 * 0.534e-12)
    >>> bool(abs(from_charge / cell.plated_um3[1] - 1) < 1e-12)
    True
    """
    given = dict(locals())
    where = "symmetric_cell"
    size = _shape(shape, where)
    scans = _integer("scans", scans, 1, where)
    seed = _integer("seed", seed, 0, where)
    if plating_side not in ("low", "high"):
        raise InputError(
            f"{where}: plating_side must be 'low' or 'high' (the end of z that plates on charge), got {plating_side!r}."
        )
    if np.ndim(voxel_size_um) or not (np.isfinite(voxel_size_um) and voxel_size_um > 0):
        raise InputError(
            f"{where}: voxel_size_um must be one positive number, got {voxel_size_um!r}. Give um, such as 1.33."
        )
    for name in gray or {}:
        if name not in CELL:
            raise InputError(f"{where}: gray names {name!r}, which is no phase of the cell. {nearest(name, CELL)}")
    for name, largest in {**_LARGEST, "motion_voxels": min(size) / 4}.items():
        if not 0 <= given[name] <= largest:
            raise InputError(
                f"{where}: {name} must be from 0 (off) to {largest:g}, got {given[name]!r}. Choose a value between."
            )
    plane = size[1] * size[2]
    area_cm2 = plane * voxel_size_um**2 * 1e-8
    voxel_um3 = float(voxel_size_um) ** 3
    per_voxel = voxel_size_um * 1e8 * MAH_PER_UM3
    room = largest_thickness(size[0]) * per_voxel
    capacity = min(3.0, room) if capacity_mah_cm2 is None else float(capacity_mah_cm2)
    if not 0 < capacity <= room * (1 + 1e-12):
        raise InputError(
            f"{where}: capacity_mah_cm2 must be positive and at most {room:.3g} for {size[0]} planes of "
            f"{voxel_size_um:g} um, got {capacity_mah_cm2!r}. Take more planes, larger voxels or less capacity."
        )
    protocol = intermittent_cycle(
        scans, voxels_per_half=round(capacity / per_voxel * plane), voxel_um3=voxel_um3, area_cm2=area_cm2
    )
    camera = Camera(
        size,
        imaging=Imaging(
            gray_levels(gray, variation=gray_variation, seed=seed),
            texture=texture,
            defects=defects,
            blur=blur,
            fringes=fringes,
            rings=rings,
            shading=shading,
            drift=drift,
            noise=noise,
            noise_correlation=noise_correlation,
        ),
        seed=seed,
        scans=scans,
    )
    motion = _motion(seed, scans, size, voxel_size_um, motion_voxels, motion_degrees)

    image = np.empty((scans, *size), dtype=np.float32)
    labels = np.empty((scans, *size), dtype=np.uint8)
    volume = np.zeros((scans, len(CELL)))
    inactive = np.zeros(scans)
    lithium = np.array([CELL[name] for name in CELL.names_by_role("lithium")])
    split = layout(size[0]).split
    states = evolve(
        size, protocol, seed=seed, dendrite_share=dendrite_share, pit_share=pit_share, dead_share=dead_share
    )
    for scan, state in enumerate(states):
        inactive[scan] = np.count_nonzero(disconnected(np.isin(state[:split], lithium))) * voxel_um3
        labels[scan] = state if plating_side == "low" else state[::-1]
        volume[scan] = label_counts(labels[scan])[list(CELL.ids)] * voxel_um3
        moved = not np.array_equal(motion[scan], np.eye(4))
        to_reference = _in_voxels(np.linalg.inv(motion[scan]), voxel_size_um) if moved else None
        image[scan] = camera.image(labels[scan], scan=scan, to_reference=to_reference)

    moved_voxels = np.zeros(scans)
    for scan in range(1, scans):
        first, last = protocol.pulses_before[scan - 1 : scan + 1]
        moved_voxels[scan] = protocol.voxels[first:last].sum()
    shared = {"plating_side": plating_side, "simulated": True}

    def of_scans(array: np.ndarray, **attrs: Any) -> xr.DataArray:
        return labeled_image(
            array, voxel_size_um=voxel_size_um, t=protocol.scan_h, units="1", attrs={**attrs, **shared}
        )

    def measured(dims: tuple[str, ...], array: np.ndarray, units: str, long_name: str, **attrs: Any) -> Any:
        return dims, array, {"units": units, "long_name": long_name, **attrs}

    um3 = moved_voxels * voxel_um3
    values = {
        "image": of_scans(image, long_name="Gray relative to electrolyte"),
        "labels": of_scans(labels, long_name="Phase", phases=CELL.to_dict()),
        "current_ma": measured(("current_t",), protocol.current_ma, "mA", "Current through the imaged area"),
        "voltage_v": measured(("current_t",), protocol.voltage_v, "V", "Cell voltage"),
        "motion": measured(("t", "row", "column"), motion, "um", "Cell to image", axis_order="z, y, x, 1"),
        "volume_um3": measured(("t", "component"), volume, "um3", "True volume"),
        "inactive_um3": measured(("t",), inactive, "um3", "Lithium without contact", connectivity=6),
        "plated_um3": measured(("t",), np.abs(um3), "um3", "Plated since the last scan"),
        "stripped_um3": measured(("t",), np.abs(um3), "um3", "Stripped since the last scan"),
        "charge_mah": measured(("t",), um3 * MAH_PER_UM3, "mAh", "Charge since the last scan"),
    }
    coords = {
        "component": list(CELL.names),
        "current_t": ("current_t", protocol.time_h, {"units": "h", "long_name": "Time"}),
    }
    stated = {**given, "shape": list(size), "gray": {**GRAY, **(gray or {})}}
    on_h = protocol.pulse_s / 3600.0
    attrs = {
        **shared,
        "seed": seed,
        "capacity_mah_cm2": capacity,
        "capacity_reduced": bool(capacity < 3.0),
        "current_density_ma_cm2": float(
            np.abs(protocol.voxels).mean() / plane * per_voxel / on_h if scans > 1 else 0.0
        ),
        "pulse_min": protocol.pulse_s / 60,
        "rest_min": protocol.rest_s / 60,
        "area_cm2": area_cm2,
        "provenance": record("operando.samples.symmetric_cell", stated),
    }
    return xr.Dataset(values, coords=coords, attrs=attrs)


def _shape(shape: Sequence[int], where: str) -> tuple[int, int, int]:
    try:
        size = tuple(operator.index(n) for n in shape)
    except TypeError:
        size = ()
    if len(size) != 3 or any(n < least for n, least in zip(size, _SMALLEST, strict=True)):
        raise InputError(
            f"{where}: shape must be three whole numbers (z, y, x), at least {_SMALLEST}, got {shape!r}. "
            "A small cell is (48, 64, 64)."
        )
    return size[0], size[1], size[2]


def _integer(name: str, value: int, least: int, where: str) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if number < least:
        raise InputError(
            f"{where}: {name} must be a whole number of at least {least}, got {value!r}. Pass {least} or more."
        )
    return number


def _motion(
    seed: int, scans: int, shape: tuple[int, int, int], voxel_size_um: float, voxels: float, degrees: float
) -> np.ndarray:
    """Random rigid transforms about the middle of the image, in um; the first is the identity."""
    rng = generator(seed, "motion")
    middle = (np.array(shape) - 1) / 2 * voxel_size_um
    result = np.tile(np.eye(4), (scans, 1, 1))
    for scan in range(1, scans):
        shift = rng.uniform(-1, 1, 3) * voxels * voxel_size_um
        axis = rng.standard_normal(3)
        rotation = _rotation(axis / np.linalg.norm(axis), np.deg2rad(rng.uniform(0, 1) * degrees))
        result[scan, :3, :3] = rotation
        result[scan, :3, 3] = middle - rotation @ middle + shift
    return result


def _rotation(axis: np.ndarray, angle: float) -> np.ndarray:
    """Rotation matrix by Rodrigues' formula."""
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def _in_voxels(matrix: np.ndarray, voxel_size_um: float) -> np.ndarray:
    """The upper three rows of a transform in um, for positions counted in voxels."""
    result = matrix[:3].copy()
    result[:, 3] /= voxel_size_um
    return result
