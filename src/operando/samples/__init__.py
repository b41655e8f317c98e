"""Synthetic operando experiments with exact ground truth: no download, no files."""

from operando.samples.cell import symmetric_cell
from operando.samples.ceramic import ceramic_cell
from operando.samples.phantom import ellipsoids
from operando.samples.projections import projections
from operando.samples.stxm import stxm_particle
from operando.samples.stxm_maps import stxm_from_maps
from operando.samples.stxm_spectra import stxm_energies, stxm_references
from operando.samples.stxm_tomography import stxm_tomography

__all__ = [
    "ceramic_cell",
    "ellipsoids",
    "projections",
    "stxm_energies",
    "stxm_from_maps",
    "stxm_particle",
    "stxm_references",
    "stxm_tomography",
    "symmetric_cell",
]
