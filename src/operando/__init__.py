"""operando opens a battery while it runs.

From X-ray tomography, spectro-microscopy, Raman and optical images of a working cell it says, with
units and uncertainty, where the lithium is, where it went and where it will grow next.

Subpackages load on first use, so that ``import operando`` is quick and needs neither torch nor a
plotting library:

>>> import operando
>>> phases = operando.PhaseScheme({"electrolyte": 0, "electrode": 1})
>>> phases["electrode"]
1
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from operando.core.version import VERSION as __version__

# Idle threads of torch and of compiled loops must sleep, not spin: beside any busy process spinning slows both 3 to 20
# times. It has to be said before the first of them starts; who has set it otherwise is left alone.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_SUBPACKAGES = (
    "cli",
    "core",
    "dendrites",
    "electrochemistry",
    "io",
    "learn",
    "morphometry",
    "pipeline",
    "registration",
    "report",
    "samples",
    "segmentation",
    "spectral",
    "tomography",
    "transport",
)
_NAMES = {
    "PhaseScheme": "operando.core.phases",
    "OperandoError": "operando.core.errors",
    "calibrate": "operando.core.axes",
    "labeled_image": "operando.core.axes",
}

if TYPE_CHECKING:
    from operando import (
        cli,
        core,
        dendrites,
        electrochemistry,
        io,
        learn,
        morphometry,
        pipeline,
        registration,
        report,
        samples,
        segmentation,
        spectral,
        tomography,
        transport,
    )
    from operando.core.axes import calibrate, labeled_image
    from operando.core.errors import OperandoError
    from operando.core.phases import PhaseScheme

__all__ = [
    "OperandoError",
    "PhaseScheme",
    "__version__",
    "calibrate",
    "cli",
    "core",
    "dendrites",
    "electrochemistry",
    "io",
    "labeled_image",
    "learn",
    "morphometry",
    "pipeline",
    "registration",
    "report",
    "samples",
    "segmentation",
    "spectral",
    "tomography",
    "transport",
]


def __getattr__(name: str) -> Any:
    if name in _SUBPACKAGES:
        return importlib.import_module(f"operando.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'operando' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
