"""Drift of the sample between scans, as transforms that are kept and not baked in."""

from operando.registration.drift import estimate_drift, estimate_translation
from operando.registration.field import common_field
from operando.registration.resample import apply_motion

__all__ = ["apply_motion", "common_field", "estimate_drift", "estimate_translation"]
