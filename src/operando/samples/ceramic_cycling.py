"""What a lithium | ceramic | lithium cell goes through: steps, local current, lithium and voids, and the voltage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from operando.samples.fields import correlated, generator

FARADAY_C_MOL = 96485.33212
MOLAR_VOLUME_CM3_MOL = 12.998
"""Of lithium (Dixit 2020)."""
UM_PER_MAH_CM2 = 3.6 / FARADAY_C_MOL * MOLAR_VOLUME_CM3_MOL * 1e4
"""Thickness of dense lithium per areal charge: 4.850 um cm2 mAh-1."""

LARGEST_RELATIVE = 2.5
"""No place carries more than this multiple of the mean current."""
VOID_DEPTH_UM = 8.0
"""Depth from the interface over which voids thin out by a factor e."""
_INITIAL_VOIDS_UM = 0.4
# Plating fills voids: after this much lithium all but a share 1/e of those that ever fill.
_FILL_UM, _NEVER_FILLED = 4.0, 0.25
_LARGEST_SHARE = 0.4
# Hot spots of the independent kind: length of the field, and how much of its variance stays from step to step.
_HOT_UM, _STAYS = 18.0, 0.85
_RATE_EXPONENT = 0.25

_SAMPLES = 240
# Interfacial area-specific resistance of either side, conductivity of a grain, and a relaxation time.
_INTERFACE_OHM_CM2, _GRAIN_S_CM, _RELAXATION_S = 150.0, 3e-4, 120.0
_SHORTED, _SHORT_NOISE = 0.2, 0.15


@dataclass(frozen=True)
class Steps:
    """Names, direction (1 plates the plating side, -1 strips it, 0 pristine), current density and end of every step."""

    names: tuple[str, ...]
    direction: np.ndarray
    current_density_ma_cm2: np.ndarray
    end_h: np.ndarray
    thickness_um: float

    @property
    def rate(self) -> np.ndarray:
        """Current density relative to that of the first step, 1 for the pristine cell."""
        current = np.abs(self.current_density_ma_cm2)
        return np.where(current > 0, current / max(current[1:2].sum(), 1e-30), 1.0)


@dataclass(frozen=True)
class Budget:
    """Lithium and pores of every column, in um of thickness, and the current that moved them.

    ``relative`` (step, side, y, x): local over mean current, NaN for the pristine cell; ``lithium_um`` and
    ``pore_um`` (step, side, y, x); ``void_um`` is the part of ``pore_um`` that cycling changes; ``voxels`` (step,
    side): pore voxels.
    """

    relative: np.ndarray
    lithium_um: np.ndarray
    pore_um: np.ndarray
    void_um: np.ndarray
    voxels: np.ndarray


def make_steps(steps: int, *, capacity_mah_cm2: float, current_density_ma_cm2: Sequence[float]) -> Steps:
    """Alternate plating and stripping; the first current is that of the first cycle, the last of all later ones.

    Examples
    --------
    >>> made = make_steps(4, capacity_mah_cm2=2.39, current_density_ma_cm2=(0.2, 0.8))
    >>> made.names, made.current_density_ma_cm2.tolist()
    (('pristine', 'plate 1', 'strip 1', 'plate 2'), [0.0, 0.2, -0.2, 0.8])
    >>> made.end_h.round(3).tolist()
    [0.0, 12.0, 24.0, 27.0]
    """
    names, direction, current = ["pristine"], [0], [0.0]
    for number in range(1, steps):
        cycle, plates = (number + 1) // 2, number % 2 == 1
        names.append(f"{'plate' if plates else 'strip'} {cycle}")
        direction.append(1 if plates else -1)
        current.append(direction[-1] * current_density_ma_cm2[min(cycle, len(current_density_ma_cm2)) - 1])
    density = np.array(current)
    # One sample of rest at every scan, so that the trapezoid rule and holding a value both give the charge.
    hours = np.zeros(steps)
    hours[1:] = capacity_mah_cm2 / np.abs(density[1:]) * _SAMPLES / (_SAMPLES - 1)
    return Steps(tuple(names), np.array(direction), density, np.cumsum(hours), capacity_mah_cm2 * UM_PER_MAH_CM2)


def relative_current(
    steps: int, flux: np.ndarray, *, strength: float, heterogeneity: float, seed: int, voxel_size_um: float
) -> np.ndarray:
    """Local over mean current per step (first: NaN) and side, from the flux through the ceramic.

    Notes
    -----
    .. math:: j / \\bar j \\propto \\max(0, 1 + \\mathrm{strength}\\,(r - 1)) \\, e^{\\mathrm{heterogeneity}\\, g}

    with the flux r and a Gaussian field g of its own, bounded by :data:`LARGEST_RELATIVE` and of mean 1.
    """
    result = np.full((steps, *flux.shape), np.nan)
    plane = flux.shape[1:]
    length = _HOT_UM / voxel_size_um
    for side, word in enumerate(("low", "high")):
        with_ceramic = np.maximum(0.0, 1.0 + strength * (flux[side] - 1.0))
        staying = correlated(generator(seed, "hot spots", word), plane, length)
        for step in range(1, steps):
            fresh = correlated(generator(seed, "hot spots", word, step), plane, length)
            field = np.sqrt(_STAYS) * staying + np.sqrt(1 - _STAYS) * fresh
            result[step, side] = _bounded(with_ceramic * np.exp(heterogeneity * field.astype(np.float64)))
    return result


def _bounded(field: np.ndarray) -> np.ndarray:
    """Scale to mean 1 with nothing above the bound (where the mean allows it)."""
    for _ in range(50):
        field = np.minimum(field / field.mean(), LARGEST_RELATIVE)
    return np.asarray(field / field.mean())


def make_budget(
    steps: Steps,
    relative: np.ndarray,
    *,
    plating_side: str,
    thickness_um: np.ndarray,
    lithium_porosity: float,
    void_share: float,
    voxel_size_um: float,
) -> Budget:
    """Keep the account of lithium and pores, column by column.

    Parameters
    ----------
    thickness_um : ndarray, shape (side, y, x)
        Of the pristine electrodes.

    Notes
    -----
    The lithium of a column changes by what Faraday's law says, exactly. Stripping leaves a share
    ``void_share * relative * rate^0.25`` (at most 0.4) of its volume as voids; plating fills voids exponentially with
    the lithium that arrives. The pores are then scaled, by less than half a voxel of the electrode in all, so that
    they are a whole number of voxels.
    """
    count = len(steps.names)
    shape = (count, *relative.shape[1:])
    lithium, pore, void = np.empty(shape), np.empty(shape), np.empty(shape)
    voxels = np.zeros(shape[:2], dtype=np.int64)
    toward = np.array([1, -1]) if plating_side == "low" else np.array([-1, 1])
    foil = lithium_porosity * thickness_um
    void[0] = _INITIAL_VOIDS_UM if lithium_porosity > 0 or void_share > 0 else 0.0
    moved = np.zeros_like(thickness_um)
    for step in range(count):
        for side in range(2):
            if step:
                moved = steps.direction[step] * toward[side] * steps.thickness_um * relative[step, side]
                before = void[step - 1, side]
                if steps.direction[step] * toward[side] > 0:
                    keeps = _NEVER_FILLED + (1 - _NEVER_FILLED) * np.exp(-moved / _FILL_UM)
                    void[step, side] = before * keeps
                else:
                    share = void_share * relative[step, side] * steps.rate[step] ** _RATE_EXPONENT
                    void[step, side] = before - np.minimum(share, _LARGEST_SHARE) * moved
            total = foil[side] + void[step, side]
            voxels[step, side] = round(total.sum() / voxel_size_um)
            whole = voxels[step, side] * voxel_size_um / total.sum() if voxels[step, side] else 0.0
            pore[step, side] = total * whole
            lithium[step, side] = thickness_um[side] - pore[0, side] if step == 0 else lithium[step - 1, side] + moved
    return Budget(relative, lithium, pore, void, voxels)


def trace(
    steps: Steps,
    *,
    area_cm2: float,
    ceramic_um: float,
    conductivity: float,
    contact_lost: np.ndarray,
    critical_ma_cm2: float | None,
    noise_v: float,
    seed: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Time (h), current (mA), voltage (V), and when the cell shorted (h, NaN if it did not).

    Parameters
    ----------
    conductivity : float
        Of the ceramic relative to a grain.
    contact_lost : ndarray, shape (step, side)
        Share of the interface without contact at the end of every step; linear in between.

    Notes
    -----
    .. math:: V = j \\left(d / \\sigma + \\sum_\\mathrm{side} R / (1 - \\mathrm{lost})\\right)

    the interfacial part relaxing within 2 min. Where the last current is above the critical one, the voltage falls
    to a fifth somewhere in the last step and is noisy from then on.
    """
    ohmic = ceramic_um * 1e-4 / (_GRAIN_S_CM * max(conductivity, 1e-6))
    time, current, voltage = [np.zeros(1)], [np.zeros(1)], [np.zeros(1)]
    slow = 0.0
    for step in range(1, len(steps.names)):
        start, stop = steps.end_h[step - 1], steps.end_h[step]
        part = np.arange(1, _SAMPLES + 1) / _SAMPLES
        density = np.where(part < 1, steps.current_density_ma_cm2[step], 0.0)
        lost = contact_lost[step - 1] + (contact_lost[step] - contact_lost[step - 1]) * part[:, None]
        resistance = (_INTERFACE_OHM_CM2 / (1 - lost)).sum(axis=1)
        keep = np.exp(-(stop - start) * 3600 / _SAMPLES / _RELAXATION_S)
        relaxing = np.empty(_SAMPLES)
        for i in range(_SAMPLES):
            slow = keep * slow + (1 - keep) * density[i] * resistance[i]
            relaxing[i] = slow
        time.append(start + (stop - start) * part)
        current.append(density * area_cm2)
        voltage.append((density * ohmic + relaxing) * 1e-3)
    hours, total = np.concatenate(time), np.concatenate(voltage)
    rng = generator(seed, "voltage")
    onset = float("nan")
    if critical_ma_cm2 is not None and abs(steps.current_density_ma_cm2[-1]) > critical_ma_cm2:
        begins = hours.size - round(_SAMPLES * rng.uniform(0.25, 0.6))
        onset = float(hours[begins])
        jumps = np.exp(_SHORT_NOISE * rng.standard_normal(hours.size - begins))
        total[begins:] *= _SHORTED * jumps
    total += noise_v * rng.standard_normal(total.size)
    return hours, np.concatenate(current), total, onset
