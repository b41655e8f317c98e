"""From images over photon energy to maps of phases and lithiation: normalize, align, decompose, unmix."""

from operando.spectral.align import align, apply_shifts
from operando.spectral.ambiguity import ambiguity
from operando.spectral.clusters import cluster
from operando.spectral.collinearity import collinearity
from operando.spectral.component_number import number_of_components, scree
from operando.spectral.core_to_rim import core_to_rim
from operando.spectral.despike import despike
from operando.spectral.detector import photons_per_count
from operando.spectral.disorder import disorder
from operando.spectral.dominant_phase import dominant_phase
from operando.spectral.edge import normalize_edge_step, subtract_pre_edge
from operando.spectral.energy_choices import error_against_k, expert_energies
from operando.spectral.energy_errors import energy_selection_error
from operando.spectral.energy_offset import energy_offset, shift_energy
from operando.spectral.energy_selection import select_energies
from operando.spectral.factorization import nmf
from operando.spectral.flags import flags
from operando.spectral.flags_partial_volume import partial_volume
from operando.spectral.identify import match_spectra
from operando.spectral.incident import i0_from_flats, i0_from_percentile, i0_from_region, i0_from_spectrum
from operando.spectral.intervals import bounded_interval, weight_errors
from operando.spectral.lithiation import lithiation, lithiation_sigma
from operando.spectral.match import match_energies
from operando.spectral.mcr import mcr_als
from operando.spectral.nnls import nonnegative_least_squares
from operando.spectral.normalize import normalize, optical_density
from operando.spectral.particles import particle_table, particles
from operando.spectral.phase_boundaries import phase_boundary_length
from operando.spectral.principal import components
from operando.spectral.spectro_tomography import spectro_tomography
from operando.spectral.state_of_charge import state_of_charge
from operando.spectral.unmix import unmix
from operando.spectral.unmix_fitted import explained_variance, fitted, residuals
from operando.spectral.unmix_noise import PoissonNoise

__all__ = [
    "PoissonNoise",
    "align",
    "ambiguity",
    "apply_shifts",
    "bounded_interval",
    "cluster",
    "collinearity",
    "components",
    "core_to_rim",
    "despike",
    "disorder",
    "dominant_phase",
    "energy_offset",
    "energy_selection_error",
    "error_against_k",
    "expert_energies",
    "explained_variance",
    "fitted",
    "flags",
    "i0_from_flats",
    "i0_from_percentile",
    "i0_from_region",
    "i0_from_spectrum",
    "lithiation",
    "lithiation_sigma",
    "match_energies",
    "match_spectra",
    "mcr_als",
    "nmf",
    "nonnegative_least_squares",
    "normalize",
    "normalize_edge_step",
    "number_of_components",
    "optical_density",
    "partial_volume",
    "particle_table",
    "particles",
    "phase_boundary_length",
    "photons_per_count",
    "residuals",
    "scree",
    "select_energies",
    "shift_energy",
    "spectro_tomography",
    "state_of_charge",
    "subtract_pre_edge",
    "unmix",
    "weight_errors",
]
