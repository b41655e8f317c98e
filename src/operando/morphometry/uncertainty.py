"""How sure a volume, a coverage or a change is, given how well its labels are known.

Where probabilities are known, the doubtful volume of a component, v sum p (1 - p), carries its error: voxels err in
clumps, and beside that the whole scan, and all scans of a cell, err alike. Where only labels are known, their surface
carries it. Either way, what is common to all scans cancels in a change between two of them.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from operando.core.axes import voxel_volume
from operando.core.errors import InputError
from operando.core.phases import PhaseScheme
from operando.morphometry.connectivity import inactive_mask
from operando.morphometry.contacts import contact_sigma
from operando.morphometry.interface import interface_area
from operando.morphometry.residuals import assumed_residuals
from operando.morphometry.sides import SIDE_COMPONENTS, SIDE_SCHEME, side_labels
from operando.morphometry.surface_error import (
    FLIP_SHARE,
    LITHIUM,
    SCATTER_VOXELS,
    SHIFT_VOXELS,
    marginal_columns,
)
from operando.morphometry.volume import Phases, checked_labels, column_counts, roi_area

__all__ = ["FLIP_SHARE", "LITHIUM", "SCATTER_VOXELS", "SHIFT_VOXELS", "segmentation_sigma"]

_INACTIVE = "inactive"


def segmentation_sigma(
    labels: xr.DataArray,
    phases: Phases,
    *,
    plating_side: str | None = None,
    moments: xr.Dataset | None = None,
    residuals: xr.Dataset | None = None,
    interface: xr.Dataset | None = None,
) -> xr.Dataset:
    """Standard uncertainty of everything a label image measures.

    Parameters
    ----------
    labels : DataArray of uint8, dims ([t], z, y, x), coordinates in um
        The labels whose volumes are reported. May be lazy.
    phases : PhaseScheme or mapping of str to int
        What the ids mean.
    plating_side : {"low", "high"}, optional
        Default ``labels.attrs["plating_side"]``. Where known, the sides of the cell and the inactive
        lithium are included.
    moments : Dataset, dims ([t], component), optional
        From :func:`probability_moments`, with the same plating side. Without them (labels of another program, or of
        a threshold) the surface of the labels takes the place of their doubt.
    residuals : Dataset, dims (component), optional
        From :func:`residual_correlation`. Default: 150 voxels that err as one, 0.3 of the doubtful volume common to
        all scans, 0.5 from scan to scan.
    interface : Dataset, dims (component), optional
        From :func:`interface_error`: ``flips`` for the coverage and, without ``moments``, the shifts. Default: 0.4
        of the marginal columns; 0.25 voxel edges common to all scans and 0.1 from scan to scan.

    Returns
    -------
    Dataset, dims ([t], component)
        Components: the phases, and ``plating side``, ``stripping side``, ``inactive`` where the side is
        known.

        - ``volume`` (um3): standard uncertainty of the volume
        - ``thickness`` (um): of the effective thickness
        - ``coverage`` (1): of the coverage; NaN for the sides and for inactive lithium
        - ``systematic``, ``random`` (um3): the shares of ``volume``
        - ``correlation`` (1): of the volume's error with that of the scan before; NaN for the first scan

    Raises
    ------
    InputError
        Where a component is missing from ``moments``, ``residuals`` or ``interface``.

    Notes
    -----
    With B the doubtful volume, n v the correlation volume, c and q the common and the scattering share of
    ``residuals``:

    .. math:: s^2 = (c B)^2, \\quad r^2 = n v B + (q B)^2, \\quad
              \\sigma^2 = s^2 + r^2, \\quad \\mathrm{corr}_{i,i-1} = s_i s_{i-1} / (\\sigma_i \\sigma_{i-1})

    Without ``moments``, with A the surface (:func:`interface_area`), :math:`\\delta` and :math:`\\rho` the common and
    the random shift of ``interface``: :math:`s = A \\delta`, :math:`r = A \\rho`, and the sides are judged by the shift
    of all lithium together.

    Errors that are common to all scans (s) cancel in the difference of two scans, random ones do not:
    :func:`operando.electrochemistry.balance` takes ``correlation`` for that. Random errors of consecutive scans count
    as independent, which makes intervals of changes rather too wide.

    Inactive lithium has the plating side's share of doubt by surface, and hangs on single contacts:
    :func:`contact_sigma` is added. Coverage: ``flips`` times the share of marginal columns, those one
    voxel thick or at a border of what is covered.

    Do not trust it for errors that neither a probability nor an annotation shows. Memory as
    :func:`inactive_lithium`.

    Examples
    --------
    A slab whose two surfaces (Crofton: 0.9 of 1600 um2 each) may be shifted by 0.25 um:

    >>> from operando.core.axes import labeled_image
    >>> labels = np.zeros((12, 40, 40), dtype=np.uint8)
    >>> labels[4:8] = 1
    >>> labels = labeled_image(labels, voxel_size_um=1.0)
    >>> sigma = segmentation_sigma(labels, {"electrolyte": 0, "layer": 1})
    >>> round(float(sigma["systematic"].sel(component="layer") / (0.25 * 3200)), 1)
    0.9

    The same slab, of which 100 um3 are in doubt: sqrt(150 x 100 + (0.5 x 100)^2 + (0.3 x 100)^2) um3

    >>> moments = xr.Dataset({"doubt": ("component", [100.0, 100.0])}, coords={"component": ["electrolyte", "layer"]})
    >>> sigma = segmentation_sigma(labels, {"electrolyte": 0, "layer": 1}, moments=moments)
    >>> round(float(sigma["volume"].sel(component="layer")), 1)
    135.6
    """
    where = "segmentation_sigma"
    scheme, labels = checked_labels(labels, phases, where=where)
    voxel = voxel_volume(labels, where=where)
    end: str | None = plating_side if plating_side is not None else labels.attrs.get("plating_side")
    if residuals is not None and moments is None:
        raise InputError(
            f"{where}: residuals need the moments they scale, got none. Pass moments=probability_moments(...)."
        )
    names = [*scheme.names, *(SIDE_COMPONENTS if end is not None else ())]
    surface = None if moments is not None else interface_area(labels, scheme)
    contact = None
    if end is not None:
        sides = interface_area(side_labels(labels, scheme, plating_side=end), SIDE_SCHEME)
        dead = inactive_mask(labels, scheme, plating_side=end)
        contact = contact_sigma(labels, scheme, plating_side=end)
        dead_area = interface_area(dead.astype(np.uint8), {"other": 0, _INACTIVE: 1}).sel(component=[_INACTIVE])
        if surface is not None:
            surface = xr.concat([surface, sides.sel(component=list(SIDE_COMPONENTS)), dead_area], dim="component")
        else:
            share = dead_area.isel(component=0) / sides.sel(component=SIDE_COMPONENTS[0])
    if surface is not None:
        common, scatter = _shifts([str(name) for name in surface.component.values], scheme, interface, voxel ** (1 / 3))
        systematic, random = (surface * common) ** 2, (surface * scatter) ** 2
    else:
        assert moments is not None
        known = assumed_residuals(names, voxel_volume_um3=voxel) if residuals is None else residuals
        _require(moments, names, "moments", "probability_moments", where=where)
        _require(known, names, "residuals", "residual_correlation", where=where)
        doubt, known = moments["doubt"].sel(component=names), known.sel(component=names)
        systematic = (doubt * known["common"]) ** 2
        random = doubt * known["correlation_volume"] + (doubt * known["scatter"]) ** 2
        if end is not None:
            own = {"component": SIDE_COMPONENTS[0]}
            part = (share.fillna(0.0) * doubt.sel(own)).drop_vars("component").expand_dims(component=[_INACTIVE])
            of = known.sel(own, drop=True)
            systematic = xr.concat([systematic, (part * of["common"]) ** 2], dim="component")
            random_part = part * of["correlation_volume"] + (part * of["scatter"]) ** 2
            random = xr.concat([random, random_part], dim="component")
    if contact is not None:
        random = random + (contact**2).where(random.component == _INACTIVE, 0.0)
    return _combined(systematic, random, labels, scheme, interface)


def _require(given: xr.Dataset, names: list[str], argument: str, maker: str, *, where: str) -> None:
    missing = sorted(set(names) - set(given.coords["component"].values.tolist()))
    if missing:
        raise InputError(
            f"{where}: {argument} must know every component, it lacks {missing}. "
            f"Make it with {maker} and the same phases and plating side."
        )


def _shifts(
    names: list[str], scheme: PhaseScheme, interface: xr.Dataset | None, edge: float
) -> tuple[xr.DataArray, xr.DataArray]:
    """Common and random shift of each component in um."""
    coords = {"component": names}
    if interface is None:
        sizes = (SHIFT_VOXELS * edge, SCATTER_VOXELS * edge)
        common, scatter = (xr.DataArray(np.full(len(names), size), dims="component", coords=coords) for size in sizes)
        return common, scatter
    sources = [name if name in scheme else LITHIUM for name in names]
    missing = sorted(set(sources) - set(interface.coords["component"].values.tolist()))
    if missing:
        raise InputError(
            f"segmentation_sigma: interface must know every component, it lacks {missing}. "
            "Make it with interface_error and the same phases."
        )
    picked = interface.sel(component=sources).assign_coords(coords)
    return picked["systematic"], picked["random"]


def _combined(
    systematic: xr.DataArray,
    random: xr.DataArray,
    labels: xr.DataArray,
    scheme: PhaseScheme,
    interface: xr.Dataset | None,
) -> xr.Dataset:
    common, sigma = systematic**0.5, (systematic + random) ** 0.5
    correlation = xr.full_like(sigma, np.nan)
    if "t" in sigma.dims and sigma.sizes["t"] > 1:
        order = ("t", "component")
        s, total = common.transpose(*order).values, sigma.transpose(*order).values
        product = total[1:] * total[:-1]
        correlation = correlation.transpose(*order)
        correlation[1:] = np.divide(s[1:] * s[:-1], product, out=np.zeros_like(product), where=product > 0)
    flips = FLIP_SHARE if interface is None else interface["flips"].sel(component=list(scheme.names))
    counts = column_counts(labels, scheme)
    if counts.chunks is not None:
        # A border of what is covered may be one between two blocks.
        counts = counts.chunk({"y": -1, "x": -1})
    marginal = (
        xr.apply_ufunc(marginal_columns, counts, dask="parallelized", output_dtypes=[bool]).mean(("y", "x")).compute()
    )
    out = xr.Dataset(
        {
            "volume": sigma.assign_attrs(units="um3"),
            "thickness": (sigma / roi_area(labels)).assign_attrs(units="um"),
            "coverage": (marginal * flips).reindex(component=sigma.component.values).assign_attrs(units="1"),
            "systematic": common.assign_attrs(units="um3"),
            "random": (random**0.5).assign_attrs(units="um3"),
            "correlation": correlation.assign_attrs(units="1"),
        }
    )
    return out.transpose(..., "component")
