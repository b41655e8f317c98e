"""What is transparent in the ceramic: beneath its interfaces, in its bulk, and by depth, scan by scan."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from operando.core.errors import InputError, nearest
from operando.morphometry.interface import ENDS
from operando.morphometry.porosity import SIGMAS, porosity_profile, with_sigma
from operando.morphometry.porosity_counts import layers, tile_voxels
from operando.morphometry.volume import Phases, passed_on

RELATIVE_TO = ("first", "own")


def electrolyte_porosity(
    labels: xr.DataArray,
    phases: Phases | None = None,
    *,
    pore: str = "electrolyte_pore",
    solid: str = "electrolyte",
    boundaries: xr.DataArray | None = None,
    bin_um: float = 36.0,
    interfacial_um: float = 100.0,
    relative_to: str = "first",
    tile_um: float = 36.0,
) -> xr.Dataset:
    """Porosity of the ceramic by depth from its interfaces, beneath them and in its bulk.

    Parameters
    ----------
    labels : DataArray of uint8 or bool, dims ([t], z, y, x), coordinates in um
        Phase ids, or a mask of the pores (then with ``boundaries``). May be lazy.
    phases : PhaseScheme or mapping, optional
        What the ids mean. Default: ``labels.attrs["phases"]``.
    pore, solid : str
        Pores in the ceramic, and the ceramic.
    boundaries : DataArray, dims ([t], component, y, x), units "um", optional
        Heights of the interfaces. Default: :func:`electrode_boundaries` of the labels.
    bin_um : float
        Thickness of the bins of depth.
    interfacial_um : float
        Depth beneath an interface that counts as interfacial; deeper than that from both is bulk.
    relative_to : {"first", "own"}
        Mean porosity that ``normalized`` is divided by: that of the first scan, or of every scan its own.
    tile_um : float
        Edge of the tiles by which the spatial scatter is judged.

    Returns
    -------
    Dataset, units "1"
        - ``profile`` and ``normalized`` ([t], component, depth): from the interfaces ``low`` and ``high`` to halfway
        - ``interfacial`` ([t], component): beneath either interface
        - ``bulk`` and ``mean`` ([t]): NaN for the bulk where the ceramic is thinner than twice ``interfacial_um``
        - the standard uncertainty of each, with ``_sigma`` behind its name (sampling; see :func:`porosity_profile`)

    Raises
    ------
    InputError, AxesError, PhaseError, UnitsError
        As :func:`porosity_profile`.

    Notes
    -----
    Dixit 2020, Fig. 4: normalized porosity is the ratio of the local to the average porosity, at 36 um through the
    depth of the pellet; interfacial regions are 100 um. The paper does not say whether the average is that of the scan;
    divided by its own, no scan can be more porous than another, so the default is the first scan. "Porosity" is all
    that is transparent to X-rays: pores, cracks, and lithium within the ceramic.

    .. math:: \\varphi_\\mathrm{norm}(t, d) = \\varphi(t, d) / \\bar\\varphi(0)

    Memory: as :func:`porosity_profile`. Reads the labels three times (twice with ``boundaries``).

    Reference
    ---------
    Dixit et al., ACS Applied Energy Materials 3 (2020) 9534, Fig. 4a-c

    Examples
    --------
    Ceramic of six voxels of 36 um between lithium; one of the two voxels at the lower interface is a pore:

    >>> from operando.core.axes import labeled_image
    >>> columns = np.array([[1, 4, 0, 0, 0, 0, 0, 1], [1, 0, 0, 0, 0, 0, 0, 1]], np.uint8).T.reshape(8, 1, 2)
    >>> phases = {"electrolyte": 0, "electrode": 1, "electrolyte_pore": 4}
    >>> found = electrolyte_porosity(labeled_image(columns, voxel_size_um=36.0), phases, interfacial_um=72.0)
    >>> found["profile"].sel(component="low").values.tolist(), found["interfacial"].values.tolist()
    ([0.5, 0.0, 0.0], [0.25, 0.0])
    >>> round(found["mean"].item() * 12, 6), round(found["normalized"].max().item(), 6), found["bulk"].item()
    (1.0, 6.0, 0.0)
    """
    where = "electrolyte_porosity"
    if relative_to not in RELATIVE_TO:
        raise InputError(
            f"{where}: relative_to must be 'first' (scan) or 'own', got {relative_to!r}. "
            f"{nearest(str(relative_to), RELATIVE_TO)}"
        )
    if not interfacial_um > 0:
        raise InputError(f"{where}: interfacial_um must be positive, got {interfacial_um!r}. Give it in micrometers.")
    found = layers(labels, phases, pore=pore, solid=solid, boundaries=boundaries, where=where)
    if found.into != "ceramic":
        raise InputError(
            f"{where}: solid must be an electrolyte by its role, got {solid!r}. Name the phase of the ceramic, or give "
            "it the role with PhaseScheme(..., roles={...})."
        )
    surfaces = found.boundaries
    profile = porosity_profile(
        labels, phases, pore=pore, solid=solid, boundaries=surfaces, bin_um=bin_um, tile_um=tile_um
    )
    bins = max(2, int(np.ceil(found.deepest / interfacial_um - 1e-6)))
    size = tile_voxels(found.labels, tile_um, where=where)
    counts = found.counts(width=interfacial_um, bins=bins, tiles=(size["y"], size["x"]))
    deep = counts[:, :, :, 1:].sum(axis=(2, 3), keepdims=True)
    every = counts.sum(axis=(2, 3), keepdims=True)
    near, bulk, mean = (
        with_sigma(found, part, components=names, pore=pore, where=where).isel(depth=0)
        for part, names in ((counts[:, :, :, :1], ENDS), (deep, ["ceramic"]), (every, ["ceramic"]))
    )
    bulk, mean = (part.isel(component=0).drop_vars("component") for part in (bulk, mean))
    out: dict[str, Any] = {}
    for name, values in (("profile", profile), ("interfacial", near), ("bulk", bulk), ("mean", mean)):
        plain = values.drop_vars(SIGMAS)
        out[name] = plain.assign_attrs(units="1", long_name=f"Porosity ({name})")
        out[f"{name}_sigma"] = plain.copy(data=values["sigma"].values).assign_attrs(units="1")
    average = out["mean"]
    if "t" in average.dims and relative_to == "first":
        average = average.isel(t=0, drop=True)
    for end in ("", "_sigma"):
        scaled = (out[f"profile{end}"] / average.where(average > 0)).transpose(*profile.dims)
        out[f"normalized{end}"] = scaled.assign_attrs(units="1", long_name="Porosity over the mean porosity")
    return xr.Dataset(out, attrs={"relative_to": relative_to, **passed_on(found.labels)})
