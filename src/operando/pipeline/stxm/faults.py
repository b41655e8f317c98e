"""Every fault in an ``stxm`` recipe and the headers of the files it names."""

from __future__ import annotations

import xarray as xr

from operando import io
from operando.core.axes import axis_spacing
from operando.pipeline.settings import Faults
from operando.pipeline.stxm.inputs import open_mask, open_references, open_stack
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
        path = inputs.i0.file
        found.attempt("inputs.i0.file", lambda: io.open_spectra(path))
    spectra = found.attempt("references", lambda: open_references(settings.references, stack.energy))
    if spectra is not None:
        names = [str(name) for name in spectra["component"].values]
        parameters = len(names) + settings.unmix.background_terms
        if parameters > stack.sizes["energy"]:
            found.append(
                f"references: {parameters} weights and backgrounds cannot be told from {stack.sizes['energy']} images. "
                "Fit fewer phases, or record more energies."
            )
    found += _range_faults(settings, stack)
    if axis_spacing(stack, "x")[1] == "px":
        found.append("inputs.pixel_size_um: the stack does not say how large a pixel is. Give it in micrometers.")
    if settings.truth is not None:
        told = settings.truth
        found.attempt("truth", lambda: io.open_image(told))
    return list(found)


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
