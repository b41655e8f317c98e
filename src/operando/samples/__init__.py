"""Synthetic operando experiments with exact ground truth: no download, no files."""

from operando.samples.cell import symmetric_cell
from operando.samples.ceramic import ceramic_cell
from operando.samples.phantom import ellipsoids
from operando.samples.projections import projections
from operando.samples.srs import srs_experiments, srs_series
from operando.samples.srs_truth import srs_ceiling, srs_features, srs_sensitivities
from operando.samples.stxm import stxm_particle
from operando.samples.stxm_maps import stxm_from_maps
from operando.samples.stxm_spectra import stxm_energies, stxm_references
from operando.samples.stxm_tomography import stxm_tomography

__all__ = [
    "ceramic_cell",
    "ellipsoids",
    "projections",
    "srs_ceiling",
    "srs_experiments",
    "srs_features",
    "srs_sensitivities",
    "srs_series",
    "stxm_energies",
    "stxm_from_maps",
    "stxm_particle",
    "stxm_references",
    "stxm_tomography",
    "symmetric_cell",
]
