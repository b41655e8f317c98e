"""Where lithium left and where it arrived between two scans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando.core.errors import InputError
from operando.morphometry.colocalization import colocalize
from operando.morphometry.flattening import flatten
from operando.morphometry.voids import half_cycle_scan
from operando.morphometry.volume import Phases, checked_labels, described, scan_index

LEAVING = ("deposited", "dendrite")
ARRIVING = ("redeposited",)


def traveling_lithium(
    labels: xr.DataArray,
    phases: Phases,
    first: float | None = None,
    last: float = -1,
    *,
    along: str = "y",
    leaving: Sequence[str] = LEAVING,
    arriving: Sequence[str] = ARRIVING,
) -> xr.DataArray:
    """Change of the lithium on the plating side and of what is redeposited, between two scans, as signed maps.

    Parameters
    ----------
    labels : DataArray of uint8, dims (t, z, y, x), coordinates in um
        Phase ids of a series; ``z`` normal to the electrodes. May be lazy.
    phases : PhaseScheme or mapping of str to int
        What the ids mean.
    first, last : int or float
        Scans between which lithium travels: their number (int) or time (float). Default: from the scan with the
        largest volume of pits, where discharge begins, to the last one.
    along : {"y", "x", "z"}
        Axis that is flattened: ``y`` and ``x`` give the cross-sections in which both electrodes are seen, ``z``
        the in-plane maps.
    leaving, arriving : sequence of str
        Phases that lithium leaves and arrives as.

    Returns
    -------
    DataArray of float32, dims (component, two of z, y, x), units "um"
        ``component`` is ``leaving``, negative where its thickness decreased, and ``arriving``, positive where it
        increased. Lazy where ``labels`` is.

    Raises
    ------
    AxesError, InputError, PhaseError, UnitsError
        Where there is no series, no such scan or phase, or both scans are one.

    Notes
    -----
    .. math:: \\Delta h(z, x) = \\Delta y \\sum_y \\left([L_\\mathrm{last} \\in C] - [L_\\mathrm{first} \\in C]\\right)

    With the phases C that leave or arrive; Huang 2023, Fig. 5c. Lithium that changes its label without moving
    counts as a change, and so does residual motion between the two scans at every rough surface. Memory: the lines
    of one block.

    Reference
    ---------
    Huang et al., npj Computational Materials 9, 93 (2023), doi:10.1038/s41524-023-01039-y

    Examples
    --------
    One voxel (2 um) leaves the deposit below and arrives at the electrode above:

    >>> from operando.core.axes import labeled_image
    >>> series = np.array([[1, 2, 0, 4, 1], [1, 0, 0, 5, 1]], np.uint8).reshape(2, 5, 1, 1)
    >>> labels = labeled_image(series, voxel_size_um=2.0, t=[0, 1])
    >>> phases = {"electrolyte": 0, "electrode": 1, "deposited": 2, "dendrite": 3, "pit": 4, "redeposited": 5}
    >>> traveling_lithium(labels, phases).squeeze("x").values.tolist()
    [[0.0, -2.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 2.0, 0.0]]
    """
    where = "traveling_lithium"
    scheme, labels = checked_labels(labels, phases, where=where)
    start, end = _ends(labels, phases, first, last, where=where)
    pair = labels.isel(t=[start, end])
    maps = flatten(pair, (*leaving, *arriving), phases=scheme, along=along)
    change = maps.isel(t=1, drop=True) - maps.isel(t=0, drop=True)
    parts = [change.sel(component=list(names)).sum("component") for names in (leaving, arriving)]
    both = xr.concat(parts, dim="component").assign_coords(component=["leaving", "arriving"])
    title, flattened = "Change of thickness", f"sum along {along}"
    return described(
        both, labels, name="traveling lithium", units="um", long_name=title, flattened=flattened, first=start, last=end
    )


def traveling_colocalization(
    labels: xr.DataArray,
    phases: Phases,
    first: float | None = None,
    last: float = -1,
    *,
    leaving: Sequence[str] = LEAVING,
    arriving: Sequence[str] = ARRIVING,
    **options: Any,
) -> pd.DataFrame:
    """Whether lithium arrives in front of where it left: colocalization of loss and gain in the plane.

    Parameters
    ----------
    labels, phases, first, last, leaving, arriving
        As in :func:`traveling_lithium`.
    **options
        Of :func:`colocalize`.

    Returns
    -------
    DataFrame
        A quantity table as :func:`colocalize` returns it, of one pair, ``leaving~arriving``; ``scan`` and ``t`` are
        those of the last scan.

    Notes
    -----
    Decrease and increase are taken flattened along ``z``, each at least 0. The two components stand at opposite
    electrodes, so a correlation within the cross-section (z, x) itself would only say that; in the plane it is high
    where lithium travels straight across and near zero where it does not.

    Examples
    --------
    >>> from operando.samples import symmetric_cell
    >>> cell = symmetric_cell((40, 32, 32), scans=3, seed=3000)
    >>> table = traveling_colocalization(cell.labels, cell.labels.attrs["phases"])
    >>> table.set_index("quantity").loc["pearson", "n"]
    np.int64(1024)
    """
    where = "traveling_colocalization"
    _, labels = checked_labels(labels, phases, where=where)
    start, end = _ends(labels, phases, first, last, where=where)
    maps = traveling_lithium(labels, phases, start, end, along="z", leaving=leaving, arriving=arriving).compute()
    loss, gain = (
        described((sign * maps.sel(component=name, drop=True)).clip(min=0), labels, units="um")
        for sign, name in ((-1, "leaving"), (1, "arriving"))
    )
    table = colocalize(loss, gain, component=options.pop("component", "leaving~arriving"), **options)
    time = float(labels["t"][end]) if "t" in labels.coords else np.nan
    return table.assign(scan=end, t=time)


def _ends(labels: xr.DataArray, phases: Phases, first: float | None, last: float, *, where: str) -> tuple[int, int]:
    scheme, labels = checked_labels(labels, phases, where=where)
    start = half_cycle_scan(labels, scheme, first, pit="pit", where=where)
    end = scan_index(labels, last, where=where)
    if end <= start:
        raise InputError(
            f"{where}: the last scan must come after the first, got scan {start} as first and {end} as last. "
            "Pass first= and last=."
        )
    return start, end
