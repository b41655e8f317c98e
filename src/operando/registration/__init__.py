"""Drift of the sample between scans, as transforms that are kept and not baked in."""

from operando.registration.drift import estimate_drift, estimate_translation
from operando.registration.field import common_field
from operando.registration.resample import apply_motion
from operando.registration.rigid import register
from operando.registration.transform import RigidTransform

__all__ = ["RigidTransform", "apply_motion", "common_field", "estimate_drift", "estimate_translation", "register"]
