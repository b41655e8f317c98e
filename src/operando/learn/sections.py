"""How a two-dimensional network sees a volume: cross-sections, their neighbors and their depth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from operando.core.errors import InputError, nearest

PLANES: dict[str, tuple[int, int, int]] = {"zx": (0, 2, 1), "zy": (0, 1, 2), "yx": (1, 2, 0)}
"""Axis of the rows, of the columns and of the normal of each plane, in an array (z, y, x)."""


@dataclass(frozen=True)
class Sections:
    """The cross-sections a network reads and the patches they are cut into.

    Parameters
    ----------
    planes : tuple of str
        Of ``zx, zy, yx``. Where there are two, one network reads both and their logits are averaged.
    context : int
        Neighboring slices read on either side of the section (2.5-D).
    depth : bool
        Whether the relative place along z is an input of its own. It tells the two electrodes apart.
    patch : tuple of int
        Rows and columns of a patch in voxels.
    overlap : float
        Fraction of a patch that its neighbor shares, in [0, 0.5].
    factor : int
        Sides of a patch are multiples of this.
    symmetries : int
        Mirror images of a patch that are read and averaged: 1 (as it is), 2 or 4. Time grows with it.
    """

    planes: tuple[str, ...]
    context: int = 2
    depth: bool = True
    patch: tuple[int, int] = (160, 128)
    overlap: float = 0.25
    factor: int = 8
    symmetries: int = 1

    def __post_init__(self) -> None:
        for plane in self.planes:
            if plane not in PLANES:
                raise InputError(f"Sections: there is no plane {plane!r}. {nearest(str(plane), PLANES)}")
        if not self.planes or len(set(self.planes)) != len(self.planes):
            raise InputError(f"Sections: each plane must be named once, got {self.planes}. Use ('zx', 'zy').")
        if self.depth and "yx" in self.planes:
            raise InputError("Sections: depth has no meaning in the plane yx, got both. Pass depth=False.")
        if self.context < 0 or not 0 <= self.overlap <= 0.5 or min(self.patch) < self.factor:
            raise InputError(
                f"Sections: context >= 0, overlap in [0, 0.5] and patches of at least {self.factor} voxels are needed, "
                f"got {self.context}, {self.overlap} and {self.patch}. The defaults are 2, 0.25 and (160, 128)."
            )
        if self.symmetries not in (1, 2, 4):
            raise InputError(f"Sections: symmetries must be 1, 2 or 4, got {self.symmetries}. 1 reads patches once.")

    @property
    def in_channels(self) -> int:
        """Planes of the network's input."""
        return 2 * self.context + 1 + int(self.depth)

    def to_dict(self) -> dict[str, Any]:
        """Plain form for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Sections:
        """Inverse of :meth:`to_dict`."""
        rows, columns = map(int, plain["patch"])
        return cls(
            planes=tuple(map(str, plain["planes"])),
            context=int(plain["context"]),
            depth=bool(plain["depth"]),
            patch=(rows, columns),
            overlap=float(plain["overlap"]),
            factor=int(plain["factor"]),
            symmetries=int(plain.get("symmetries", 1)),
        )


def mirrored(index: np.ndarray, size: int) -> np.ndarray:
    """Bring positions outside an axis back inside by mirroring at its end voxels.

    Examples
    --------
    >>> mirrored(np.arange(-2, 6), 4).tolist()
    [2, 1, 0, 1, 2, 3, 2, 1]
    """
    if size == 1:
        return np.zeros_like(index)
    folded = np.abs(index) % (2 * size - 2)
    return np.where(folded < size, folded, 2 * size - 2 - folded)


def gather(volume: Any, indices: Sequence[np.ndarray], *, offset: Sequence[int] = (0, 0, 0)) -> np.ndarray:
    """Read ``volume[z, y, x]`` at the outer product of three index lists, through one slice per axis.

    ``offset`` is the place of ``volume`` in the whole array that the indices count in. Works on
    anything that slices, so a lazy array reads only the box around the indices.
    """
    local = [index - start for index, start in zip(indices, offset, strict=True)]
    box = tuple(slice(int(index.min()), int(index.max()) + 1) for index in local)
    return np.asarray(volume[box])[np.ix_(*(index - index.min() for index in local))]


def relative_depth(rows: np.ndarray, size: int) -> np.ndarray:
    """Place of voxel rows along an axis of ``size`` voxels, from -1 at one face to 1 at the other.

    Examples
    --------
    >>> relative_depth(np.arange(4), 4).tolist()
    [-0.75, -0.25, 0.25, 0.75]
    """
    return ((2 * rows + 1) / size - 1).astype(np.float32)


def padded_extent(size: int, patch: int, factor: int) -> int:
    """Side of a patch on an axis: the patch, or the axis rounded up where that is smaller."""
    return min(patch, -(-size // factor) * factor)


def lattice(size: int, patch: int, overlap: float) -> list[int]:
    """Starts of the patches along an axis, fixed to the whole array.

    The last patch is moved in to end with the array, so that no voxel beyond it is invented.

    Examples
    --------
    >>> lattice(300, 128, 0.25)
    [0, 96, 172]
    >>> lattice(100, 128, 0.25)
    [0]
    """
    if size <= patch:
        return [0]
    stride = patch - round(overlap * patch)
    return [*range(0, size - patch, stride), size - patch]


def patch_weights(size: int, patch: int, overlap: float) -> list[tuple[int, np.ndarray]]:
    """Start and weights of every patch along an axis; the weights of one voxel sum to one.

    They fall off linearly over the overlap, because a network knows least at the edge of its view.

    Examples
    --------
    >>> total = np.zeros(300)
    >>> for start, weights in patch_weights(300, 128, 0.25):
    ...     total[start : start + weights.size] += weights
    >>> bool(np.allclose(total, 1))
    True
    """
    extent = min(size, patch)
    ramp = max(1, round(overlap * patch))
    inside = np.arange(extent)
    tent = np.minimum(np.minimum(inside, extent - 1 - inside) + 1.0, ramp) / ramp
    total = np.zeros(size)
    starts = lattice(size, patch, overlap)
    for start in starts:
        total[start : start + extent] += tent
    return [(start, (tent / total[start : start + extent]).astype(np.float32)) for start in starts]
