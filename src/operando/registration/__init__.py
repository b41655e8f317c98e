"""Motion of the sample between scans, as transforms that are kept and not baked in."""

from operando.registration.deformation import deformation
from operando.registration.field import common_field
from operando.registration.leveling import level
from operando.registration.resample import apply_motion
from operando.registration.rigid import register
from operando.registration.series import register_series
from operando.registration.transform import RigidTransform

__all__ = ["RigidTransform", "apply_motion", "common_field", "deformation", "level", "register", "register_series"]
