"""Maps of a component: a stack flattened along one of its axes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from operando.core.axes import SPACE, spacing
from operando.core.errors import InputError, nearest
from operando.core.phases import PhaseScheme
from operando.morphometry.volume import Phases, checked_labels, column_counts, described

HOW = ("sum", "mean")


def flatten(
    labels: xr.DataArray,
    component: str | Sequence[str],
    *,
    phases: Phases | None = None,
    how: str = "sum",
    along: str = "z",
) -> xr.DataArray:
    """Flatten a component along one axis, into a map of its thickness or of its density.

    Parameters
    ----------
    labels : DataArray of uint8, dims ([t], z, y, x), ``along`` in um
        Phase ids; ``z`` normal to the electrodes. May be lazy.
    component : str or sequence of str
        Phase to flatten; several are stacked, not added.
    phases : PhaseScheme or mapping, optional
        What the ids mean. Default: ``labels.attrs["phases"]``.
    how : {"sum", "mean"}
        ``sum``: thickness in um. ``mean``: share of the voxels along the axis.
    along : {"z", "y", "x"}
        Axis that disappears: ``z`` gives the in-plane map, ``y`` and ``x`` give cross-sections.

    Returns
    -------
    DataArray of float32, dims ([t], [component], two of z, y, x), units "um" or "1"
        ``component`` is a dim where several were asked for; else the name of the array. Lazy where ``labels`` is.

    Raises
    ------
    InputError, PhaseError, UnitsError
        Where a phase, an axis or a way to flatten is not known, or the voxel size for a sum.

    Notes
    -----
    Huang 2023, Supplementary Note 2 ("flatten 3D"):

    .. math:: h_c(y, x) = \\Delta z \\sum_z [L(z, y, x) = c], \\qquad
              \\bar h_c(y, x) = \\frac{1}{N_z} \\sum_z [L(z, y, x) = c]

    Gaps are not counted; unlabeled voxels belong to no component, but to the length. It is not the local
    thickness of sphere fitting. Steps of one voxel. Memory: the lines of one block.

    Reference
    ---------
    Huang et al., npj Computational Materials 9, 93 (2023), doi:10.1038/s41524-023-01039-y

    Examples
    --------
    Two voxels of 2 um of four in one column, one of four in the next:

    >>> from operando.core.axes import labeled_image
    >>> column = np.array([[1, 1], [0, 0], [1, 0], [0, 0]], np.uint8).reshape(4, 1, 2)
    >>> labels = labeled_image(column, voxel_size_um=2.0)
    >>> phases = {"electrolyte": 0, "deposited": 1}
    >>> flatten(labels, "deposited", phases=phases).values.tolist()
    [[4.0, 2.0]]
    >>> flatten(labels, "deposited", phases=phases, how="mean").values.tolist()
    [[0.5, 0.25]]
    """
    where = "flatten"
    if how not in HOW:
        raise InputError(
            f"{where}: how must be 'sum' (thickness) or 'mean' (density), got {how!r}. {nearest(str(how), HOW)}"
        )
    if along not in SPACE:
        raise InputError(f"{where}: along must be one of {', '.join(SPACE)}, got {along!r}. Name a spatial axis.")
    scheme = known_phases(labels, phases, where=where)
    single = isinstance(component, str)
    names = [component] if isinstance(component, str) else list(component)
    if not names:
        raise InputError(f"{where}: at least one component is needed, got none. Name one of {', '.join(scheme)}.")
    counts = column_counts(labels, scheme, components=names, along=along, where=where)
    if how == "sum":
        scale, unit, title = spacing(labels, where=where)[along], "um", "Thickness"
    else:
        scale, unit, title = 1 / labels.sizes[along], "1", "Density"
    maps = (counts * np.float32(scale)).astype(np.float32)
    maps = maps.isel(component=0, drop=True) if single else maps
    return described(
        maps,
        labels,
        name=names[0] if single else None,
        units=unit,
        long_name=title,
        flattened=f"{how} along {along}",
    )


def thickness_map(labels: xr.DataArray, phases: Phases) -> xr.DataArray:
    """Thickness of every component along ``z``, place by place: :func:`flatten` of all of them by sum.

    Parameters
    ----------
    labels : DataArray of uint8, dims ([t], z, y, x), z in um
        Phase ids; ``z`` normal to the electrodes. May be lazy.
    phases : PhaseScheme or mapping of str to int
        What the ids mean.

    Returns
    -------
    DataArray of float32, dims ([t], component, y, x), units "um"
        Lazy where ``labels`` is.

    Examples
    --------
    >>> from operando.core.axes import labeled_image
    >>> labels = labeled_image(np.array([[[1, 1]], [[1, 0]]], dtype=np.uint8), voxel_size_um=2.0)
    >>> thickness_map(labels, {"electrolyte": 0, "electrode": 1}).sel(component="electrode").values.tolist()
    [[4.0, 2.0]]
    """
    scheme, labels = checked_labels(labels, phases, where="thickness_map")
    return flatten(labels, scheme.names, phases=scheme)


def known_phases(labels: xr.DataArray, phases: Phases | None, *, where: str) -> PhaseScheme:
    """The phases that are given, else those that the labels carry."""
    if phases is None:
        phases = getattr(labels, "attrs", {}).get("phases")
    if phases is None:
        raise InputError(
            f"{where}: what the ids mean must be known, got phases=None and no attrs['phases']. "
            "Pass phases={'electrolyte': 0, ...} or assign the attribute."
        )
    return PhaseScheme.of(phases)
