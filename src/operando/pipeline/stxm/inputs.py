"""What an ``stxm`` recipe reads: the stack, what fell onto the sample, masks and reference spectra."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from operando import io, spectral
from operando.core.axes import SPACE, require_dims
from operando.core.errors import InputError, nearest
from operando.pipeline.stxm.settings import Inputs, ReferenceSpectrum


def open_stack(inputs: Inputs) -> xr.DataArray:
    """The images over photon energy (energy, y, x), lazily; of complex ones the squared amplitude."""
    stack = io.open_stack(
        inputs.stack, energies=inputs.energies, voxel_size_um=inputs.pixel_size_um, repeats=inputs.repeats
    )
    require_dims(stack, ("energy", "y", "x"), where=f"inputs.stack: {inputs.stack}")
    if np.iscomplexobj(stack):
        if inputs.kind != "counts":
            raise InputError(
                f"inputs.kind: {inputs.stack} holds complex amplitudes, which are no optical density. "
                "Take counts, and say with i0 where there is no sample."
            )
        # A reconstruction of ptychography: what a detector would count is the squared amplitude.
        stack = (abs(stack) ** 2).assign_attrs(stack.attrs, units="counts", long_name="Squared amplitude")
    return stack


def files_of(inputs: Inputs, references: list[ReferenceSpectrum]) -> tuple[Path, ...]:
    """Every file that a run reads, without the name of a data set inside."""
    stack = inputs.stack if isinstance(inputs.stack, list) else [inputs.stack]
    more = [inputs.energies if isinstance(inputs.energies, str) else None, inputs.mask]
    if inputs.i0 is not None:
        more += [inputs.i0.file, inputs.i0.region]
    named = [*stack, *(path for path in more if path), *(item.file for item in references)]
    return tuple(dict.fromkeys(Path(path.partition("#")[0]) for path in named))


def open_mask(path: str, stack: xr.DataArray, *, key: str) -> xr.DataArray:
    """A mask (y, x) on the grid of the stack: true where the file is not 0."""
    mask = io.open_image(path)
    sizes = {dim: stack.sizes[dim] for dim in stack.dims if dim in SPACE}
    if dict(mask.sizes) != sizes:
        raise InputError(f"{key}: {path} must be a mask on the grid of the stack {sizes}, got {dict(mask.sizes)}.")
    values = (mask != 0).compute()
    if not bool(values.any()):
        raise InputError(f"{key}: {path} keeps no pixel at all. Correct the mask, or leave it out.")
    return values.assign_coords({dim: stack.coords[dim] for dim in sizes})


def open_i0(inputs: Inputs, stack: xr.DataArray) -> xr.Dataset:
    """Incident counts and their error over the energies of the stack; an image (y, x) says which pixels they are of."""
    assert inputs.i0 is not None
    told = inputs.i0
    if told.file is not None:
        spectrum = _only(io.open_spectra(told.file), told.file, key="inputs.i0.file", column=told.column)
        return spectral.i0_from_spectrum(spectrum, stack.energy)
    if told.region is not None:
        return spectral.i0_from_region(stack, open_mask(told.region, stack, key="inputs.i0.region"))
    assert told.percentile is not None
    return spectral.i0_from_percentile(stack, percentile=told.percentile)


def open_truth(path: str, stack: xr.DataArray, names: list[str]) -> xr.DataArray:
    """True weights (component, y, x) of the fitted phases on the grid of the stack."""
    truth = io.open_image(path)
    require_dims(truth, ("component", "y", "x"), where=f"truth: {path}")
    known = [str(name) for name in truth["component"].values] if "component" in truth.coords else []
    absent = [name for name in names if name not in known]
    if absent:
        raise InputError(f"truth: {path} must hold a map of every phase, it lacks {', '.join(absent)}. Add or rename.")
    sizes = {dim: stack.sizes[dim] for dim in ("y", "x")}
    if {dim: truth.sizes[dim] for dim in ("y", "x")} != sizes:
        raise InputError(f"truth: {path} must be on the grid of the stack {sizes}, got {dict(truth.sizes)}.")
    chosen = truth.isel(component=[known.index(name) for name in names])
    return chosen.assign_coords({"component": names, **{dim: stack.coords[dim] for dim in ("y", "x")}})


def open_references(references: list[ReferenceSpectrum], energy: xr.DataArray) -> xr.DataArray:
    """Reference spectra (component, energy) at the energies of the stack, named as the recipe says."""
    found: dict[str, xr.DataArray] = {}
    for number, item in enumerate(references):
        spectrum = _only(io.open_spectra(item.file), item.file, key=f"references.{number}", column=item.column)
        name = item.name or str(spectrum["component"].item())
        if name in found:
            raise InputError(
                f"references.{number}: there are two spectra called {name!r}. Give each a name of its own."
            )
        found[name] = spectrum.drop_vars("component")
    return spectral.match_energies(found, energy)


def stoichiometry(references: list[ReferenceSpectrum], names: list[str]) -> dict[str, float | None] | None:
    """X of each phase, None for what is no host; None in all where the recipe gives no x at all.

    The names are those of the opened references, in the order of the recipe.
    """
    told = {name: item.x for name, item in zip(names, references, strict=True)}
    return None if all(x is None for x in told.values()) else told


def _only(spectra: xr.DataArray, path: str, *, key: str, column: str | None = None) -> xr.DataArray:
    names = [str(name) for name in spectra["component"].values]
    if column is not None:
        if column not in names:
            raise InputError(f"{key}.column: {path} holds no spectrum {column!r}. {nearest(column, names)}")
        return spectra.sel(component=column)
    if len(names) > 1:
        raise InputError(f"{key}: {path} holds {len(names)} spectra. Choose one with column: {', '.join(names[:12])}.")
    return spectra.isel(component=0)
