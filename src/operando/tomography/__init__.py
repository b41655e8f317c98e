"""From projections to volume."""

from operando.tomography.geometry import detector_coords
from operando.tomography.normalization import minus_log, normalize
from operando.tomography.phase_retrieval import paganin
from operando.tomography.reconstruction import reconstruct
from operando.tomography.rings import remove_rings
from operando.tomography.rotation_axis import find_rotation_axis
from operando.tomography.stitching import stitch

__all__ = [
    "detector_coords",
    "find_rotation_axis",
    "minus_log",
    "normalize",
    "paganin",
    "reconstruct",
    "remove_rings",
    "stitch",
]
