"""Every fault in an ``stxm`` recipe and the headers of the files it names."""

from __future__ import annotations

import numpy as np
import xarray as xr

from operando import io, spectral
from operando.core.axes import axis_spacing
from operando.pipeline.settings import Faults
from operando.pipeline.stxm.inputs import open_i0, open_mask, open_references, open_stack, open_truth
from operando.pipeline.stxm.preparing import dwell_of
from operando.pipeline.stxm.settings import Stxm


def faults(settings: Stxm) -> list[str]:
    """Everything that the settings and the headers of their files get wrong."""
    found = Faults()
    inputs = settings.inputs
    stack = found.attempt("inputs.stack", lambda: open_stack(inputs))
    if stack is None:
        for number, item in enumerate(settings.references):
            found.attempt(f"references.{number}", lambda item=item: io.open_spectra(item.file))  # type: ignore[misc]
        return list(found)
    masks = {"inputs.mask": inputs.mask, "inputs.i0.region": inputs.i0 and inputs.i0.region}
    for key, path in masks.items():
        if path is not None:
            found.attempt(key, lambda path=path, key=key: open_mask(path, stack, key=key))  # type: ignore[misc]
    if inputs.i0 is not None and inputs.i0.file is not None:
        found.attempt("inputs.i0.file", lambda: open_i0(inputs, stack))
    if inputs.kind == "counts" and settings.detector.dead_time_us > 0 and settings.detector.dwell_ms is None:
        found.attempt("detector.dwell_ms", lambda: dwell_of(stack))
    spectra = found.attempt("references", lambda: open_references(settings.references, stack.energy))
    if spectra is not None:
        names = [str(name) for name in spectra["component"].values]
        parameters = len(names) + settings.unmix.background_terms
        if parameters > stack.sizes["energy"]:
            found.append(
                f"references: {parameters} weights and backgrounds cannot be told from {stack.sizes['energy']} images. "
                "Fit fewer phases, or record more energies."
            )
        else:
            found += _alike(spectra, settings.unmix.terms)
        if settings.truth is not None:
            told = settings.truth
            found.attempt("truth", lambda: open_truth(told, stack, names))
    found += _range_faults(settings, stack)
    units = [found.attempt("inputs.stack", lambda dim=dim: axis_spacing(stack, dim)[1]) for dim in ("y", "x")]  # type: ignore[misc]
    if "px" in units:
        found.append("inputs.pixel_size_um: the stack does not say how large a pixel is. Give it in micrometers.")
    return list(found)


def _alike(spectra: xr.DataArray, background: str | None) -> list[str]:
    """References of which one can be replaced by the others, so that no fit can tell how much there is of each."""
    error = spectral.collinearity(spectra, background=background)["weight_sigma"]
    names = [str(name) for name in spectra["component"].values[~np.isfinite(error.values)]]
    if not names:
        return []
    return [
        f"references: {', '.join(names)} cannot be told apart at the energies of the stack: one is a sum of the others "
        "or of the background. Leave one out."
    ]


def _range_faults(settings: Stxm, stack: xr.DataArray) -> list[str]:
    low, high = float(stack.energy.min()), float(stack.energy.max())
    chosen = settings.normalize.pre_edge
    found = []
    if chosen is not None:
        inside = int(((stack.energy >= min(chosen)) & (stack.energy <= max(chosen))).sum())
        if inside == 0:
            found.append(
                f"normalize.pre_edge: no image lies between {min(chosen):g} and {max(chosen):g} eV; the stack goes "
                f"from {low:g} to {high:g} eV. Correct the range."
            )
    return found
