"""The galvanostatic protocol of a simulated cell: pulses, rests, and when the scans are taken."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from operando.core.lithium import DENSITY_G_CM3, SPECIFIC_CAPACITY_MAH_G

MAH_PER_UM3 = SPECIFIC_CAPACITY_MAH_G * DENSITY_G_CM3 * 1e-12
"""Charge of one cubic micrometer of dense lithium, in mAh (Huang 2023, Supplementary Note 3)."""

_PULSE_S = 600.0
_REST_S = 1200.0
_PULSES_PER_HALF_CYCLE = 12
_LONGEST_SAMPLE_S = 30.0
# Area-specific resistances and the time constant of a polymer cell at room temperature, in ohm cm2 and s.
_OHMIC, _POLARIZATION, _RELAXATION_S = 60.0, 45.0, 180.0


@dataclass(frozen=True)
class Protocol:
    """A cycle in whole voxels of lithium.

    ``voxels`` (pulse,) is signed, positive while the plating side plates; ``pulses_before`` (scan,) counts the
    pulses that ended before each scan; times are in hours, currents in mA, voltages in V.
    """

    voxels: np.ndarray
    pulses_before: np.ndarray
    scan_h: np.ndarray
    time_h: np.ndarray
    current_ma: np.ndarray
    voltage_v: np.ndarray
    pulse_s: float
    rest_s: float


def intermittent_cycle(scans: int, *, voxels_per_half: int, voxel_um3: float, area_cm2: float) -> Protocol:
    """One cycle of pulses and rests, each pulse carrying a whole number of voxels of lithium.

    Parameters
    ----------
    scans : int
        At least 1; the first is taken before any current. The first half of the intervals between scans
        (rounded up) charges, the others discharge.
    voxels_per_half : int
        Voxels of dense lithium that one half cycle moves.
    voxel_um3, area_cm2 : float
        Volume of a voxel, area of the imaged field.

    Returns
    -------
    Protocol

    Notes
    -----
    12 pulses of 10 min per half cycle (more and shorter ones where there are more intervals), 20 min of rest after
    each, scans in the middle of a rest. The trace is sampled evenly and every pulse stands between two samples
    of zero current, so that the trapezoid rule and holding the previous value both give the exact charge.

    Examples
    --------
    >>> cycle = intermittent_cycle(3, voxels_per_half=1200, voxel_um3=1.0, area_cm2=1e-4)
    >>> cycle.pulses_before.tolist(), int(cycle.voxels[:12].sum()), int(cycle.voxels.sum())
    ([0, 12, 24], 1200, 0)
    >>> charge = np.trapezoid(cycle.current_ma, cycle.time_h)
    >>> bool(abs(charge) < 1e-15)
    True
    """
    intervals = scans - 1
    charging = (intervals + 1) // 2
    per_half = max(_PULSES_PER_HALF_CYCLE, charging)
    cumulative = np.rint(np.linspace(0, voxels_per_half, per_half + 1)).astype(np.int64)
    up = np.diff(cumulative)
    ends = np.rint(np.linspace(0, per_half, charging + 1)).astype(int) if charging else np.zeros(1, int)
    discharging = intervals - charging
    pulses = up if charging else up[:0]
    if discharging:
        pulses = np.concatenate([up, -up])
        ends = np.concatenate([ends, per_half + np.rint(np.linspace(0, per_half, discharging + 1)).astype(int)[1:]])

    pulse_s = _PULSE_S * _PULSES_PER_HALF_CYCLE / per_half
    on = int(np.ceil(pulse_s / _LONGEST_SAMPLE_S))
    step_s = pulse_s / on
    rest = max(2, round(_REST_S / step_s))
    starts = rest // 2 + np.arange(pulses.size) * (on + 1 + rest)
    samples = rest // 2 + pulses.size * (on + 1 + rest) + 1
    current = np.zeros(samples)
    for start, count in zip(starts, pulses, strict=True):
        current[start + 1 : start + 1 + on] = count * voxel_um3 * MAH_PER_UM3 / (pulse_s / 3600.0)
    scan_index = np.zeros(scans, dtype=int)
    scan_index[1:] = starts[ends[1:] - 1] + on + 1 + rest // 2
    hours = step_s / 3600.0
    return Protocol(
        voxels=pulses,
        pulses_before=ends,
        scan_h=scan_index * hours,
        time_h=np.arange(samples) * hours,
        current_ma=current,
        voltage_v=_voltage(current / area_cm2, step_s),
        pulse_s=pulse_s,
        rest_s=rest * step_s,
    )


def _voltage(density_ma_cm2: np.ndarray, step_s: float) -> np.ndarray:
    """Ohmic drop plus one relaxation, the exact response to a current held over each sample."""
    keep = np.exp(-step_s / _RELAXATION_S)
    slow = np.zeros_like(density_ma_cm2)
    for i in range(1, slow.size):
        slow[i] = keep * slow[i - 1] + (1 - keep) * _POLARIZATION * density_ma_cm2[i - 1]
    return (_OHMIC * density_ma_cm2 + slow) * 1e-3
