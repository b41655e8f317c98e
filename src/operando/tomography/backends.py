"""Reconstructors of others, wrapped thinly: algotom's back projection on an Nvidia card, and the ASTRA toolbox."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from operando.core.errors import InputError, MissingDependency, require
from operando.tomography.filtering import filtered, padded_length, response

_ASTRA_FILTERS = {
    "ramp": "ram-lak",
    "shepp-logan": "shepp-logan",
    "cosine": "cosine",
    "hamming": "hamming",
    "hann": "hann",
}


def cuda_solver(
    method: str, angles: np.ndarray, weights: np.ndarray, *, axis: float, window: str
) -> Callable[[np.ndarray, np.ndarray | None], np.ndarray]:
    """Filter here, back project with algotom's CUDA kernel; see :func:`operando.tomography.reconstruct`."""
    if method != "fbp":
        raise InputError(f"reconstruct: backend 'cuda' has the method 'fbp' only, got {method!r}. Use backend='cpu'.")
    cuda: Any = require("numba.cuda", extra="tomography", purpose="backend='cuda'")
    algotom: Any = require("algotom.rec.reconstruction", extra="tomography", purpose="backend='cuda'")
    if not cuda.is_available():
        raise MissingDependency(
            "reconstruct: backend 'cuda' needs an Nvidia card and its driver, numba finds none. Use backend='cpu'."
        )

    def solve(lines: np.ndarray, wiener: np.ndarray | None) -> np.ndarray:
        width = lines.shape[-1]
        length = padded_length(width)
        gain = response(window, length, wiener=wiener)
        # The kernel makes slices as wide as the sinogram, so the margin that corners need is cropped again.
        reach = int(min(np.ceil(0.25 * width + abs(axis - 0.5 * (width - 1))), (length - width) // 2 - 1))
        weighted = lines * weights[:, None, None].astype(np.float32)
        fine = np.moveaxis(filtered(weighted, gain, length, reach=reach, upsampling=1, axis=axis), -1, 1)
        made = algotom.back_projection_gpu_chunk(np.ascontiguousarray(fine), angles, axis + reach)
        return np.ascontiguousarray(np.moveaxis(made, 1, 0)[:, reach : reach + width, reach : reach + width])

    return solve


def astra_solver(
    method: str, angles: np.ndarray, *, axis: float, window: str, passes: int
) -> Callable[[np.ndarray, np.ndarray | None], np.ndarray]:
    """ASTRA through algotom, on an Nvidia card where there is one; see :func:`operando.tomography.reconstruct`."""
    if method not in ("fbp", "sirt", "cgls"):
        raise InputError(f"reconstruct: backend 'astra' has fbp, sirt and cgls, got {method!r}. Use backend='cpu'.")
    if method == "fbp" and window not in _ASTRA_FILTERS:
        raise InputError(
            f"reconstruct: backend 'astra' has the filters {', '.join(_ASTRA_FILTERS)}, got {window!r}. "
            "Name one of them."
        )
    try:
        importlib.import_module("astra")
    except ImportError as error:
        raise MissingDependency(
            "reconstruct: backend 'astra' needs the ASTRA toolbox, which is not installed and, being GPL, in no extra "
            "of operando. Install it with: pip install astra-toolbox"
        ) from error
    cuda: Any = require("numba.cuda", extra="tomography", purpose="backend='astra'")
    algotom: Any = require("algotom.rec.reconstruction", extra="tomography", purpose="backend='astra'")
    name = method.upper() + ("_CUDA" if cuda.is_available() else "")

    def solve(lines: np.ndarray, _: np.ndarray | None) -> np.ndarray:
        made = algotom.astra_reconstruction(
            np.ascontiguousarray(lines),
            axis,
            angles=angles,
            ratio=None,
            method=name,
            num_iter=passes,
            filter_name=_ASTRA_FILTERS.get(window),
            apply_log=False,
        )
        return np.ascontiguousarray(np.moveaxis(made, 1, 0), dtype=np.float32)

    return solve
