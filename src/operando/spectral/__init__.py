"""From images over photon energy to maps of phases and lithiation: normalize, align, decompose, unmix."""

from operando.spectral.ambiguity import ambiguity
from operando.spectral.clusters import cluster
from operando.spectral.collinearity import collinearity
from operando.spectral.component_number import number_of_components, scree
from operando.spectral.energy_choices import error_against_k, expert_energies
from operando.spectral.energy_errors import energy_selection_error
from operando.spectral.energy_selection import select_energies
from operando.spectral.factorization import nmf
from operando.spectral.identify import match_spectra
from operando.spectral.intervals import bounded_interval, weight_errors
from operando.spectral.lithiation import lithiation
from operando.spectral.match import match_energies
from operando.spectral.mcr import mcr_als
from operando.spectral.nnls import nonnegative_least_squares
from operando.spectral.normalize import normalize, optical_density
from operando.spectral.principal import components
from operando.spectral.spectro_tomography import spectro_tomography
from operando.spectral.unmix import unmix
from operando.spectral.unmix_fitted import explained_variance, fitted, residuals
from operando.spectral.unmix_noise import PoissonNoise

__all__ = [
    "PoissonNoise",
    "ambiguity",
    "bounded_interval",
    "cluster",
    "collinearity",
    "components",
    "energy_selection_error",
    "error_against_k",
    "expert_energies",
    "explained_variance",
    "fitted",
    "lithiation",
    "match_energies",
    "match_spectra",
    "mcr_als",
    "nmf",
    "nonnegative_least_squares",
    "normalize",
    "number_of_components",
    "optical_density",
    "residuals",
    "scree",
    "select_energies",
    "spectro_tomography",
    "unmix",
    "weight_errors",
]
