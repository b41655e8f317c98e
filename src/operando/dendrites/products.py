"""The product J'J of a network's Jacobian, which is most of the work of its training."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from operando.dendrites.lapack import add_product, add_square
from operando.dendrites.layers import Array, Layers, jacobian

# Entries of a Jacobian above which its structure is worth the calls that exploit it.
_STRUCTURED = 250_000
# A slice of the Jacobian is multiplied while it lies near a core: its entries, its fewest and its most samples.
_CACHED = 262_144
_NARROWEST = 64


class NormalProduct:
    """J'J of networks of one shape on n samples, with the buffers it takes.

    Parameters
    ----------
    layers : Layers
        Shape of the networks.
    n : int
        Samples.

    Notes
    -----
    A column of the Jacobian is the derivative at a unit times what enters it, :math:`\\delta_j h_i`. Within a layer

    .. math:: \\sum_n \\delta_j h_i\\,\\delta_{j'} h_{i'} = \\sum_n (\\delta_j \\delta_{j'}) (h_i h_{i'})

    depends on unordered pairs of units and of inputs only, so a product of the pairs gives the block of the layer with
    half the arithmetic of a symmetric product; between layers there is nothing to save. Small Jacobians are multiplied
    as they are.

    Memory: a slice of the Jacobian of some 2 MiB, and the pairs.
    """

    def __init__(self, layers: Layers, n: int) -> None:
        self.layers, self.n = layers, n
        self.structured = layers.count * n > _STRUCTURED
        self.width = min(n, max(_CACHED // layers.count, _NARROWEST))
        self._columns = np.empty(0)
        if self.structured:
            self._pairs = [_Pairs(*shape, self.width) if shape[0] > 1 else None for shape in layers.shapes]

    def write(self, deltas: list[Array], entering: list[Array], out: list[Array]) -> None:
        """Write the upper triangle of J'J, zeros below.

        Parameters
        ----------
        deltas, entering : list of array, (networks or 1, units, n)
            As given by `layers.backward` and `layers.forward`.
        out : list of array, (N, N)
            One per network, zero below the diagonal.
        """
        count, networks = self.layers.count, len(out)
        # small networks are stacked, each row of a stack being a whole Jacobian
        together = 1 if self.structured else networks
        if self._columns.size < together * count * self.width:
            self._columns = np.empty(together * count * self.width)
        for start in range(0, networks, together):
            members = slice(start, start + together)
            one_d = [delta if len(delta) == 1 else delta[members] for delta in deltas]
            one_h = [units if len(units) == 1 else units[members] for units in entering]
            for first in range(0, self.n, self.width):
                part = slice(first, min(first + self.width, self.n))
                samples = part.stop - first
                columns = self._columns[: together * count * samples].reshape(together, count, samples)
                sliced_d, sliced_h = [delta[..., part] for delta in one_d], [units[..., part] for units in one_h]
                jacobian(self.layers, sliced_d, sliced_h, out=columns)
                if self.structured:
                    self._blocks(
                        [delta[0] for delta in sliced_d],
                        [u[0] for u in sliced_h],
                        columns[0],
                        out[start],
                        add=first > 0,
                    )
                else:
                    for own, target in zip(columns, out, strict=True):
                        add_square(own, target, add=first > 0)
            if self.structured:
                for pairs, rows in zip(self._pairs, self.layers.slices, strict=True):
                    if pairs is not None:
                        out[start][rows, rows] = pairs.block()

    def _blocks(self, deltas: list[Array], entering: list[Array], columns: Array, out: Array, *, add: bool) -> None:
        """Add a slice of the samples: pairs within a layer, plain products between layers."""
        for pairs, rows, delta, units in zip(self._pairs, self.layers.slices, deltas, entering, strict=True):
            if pairs is None:
                add_square(columns[rows], out[rows, rows], add=add)
            else:
                pairs.add(delta, units, add=add)
            if rows.stop < len(columns):
                add_product(columns[rows], columns[rows.stop :], out[rows, rows.stop :], add=add)


class _Pairs:
    """The block of one layer from products of unordered pairs."""

    def __init__(self, units: int, inputs: int, width: int) -> None:
        of_units, of_inputs = _pair_numbers(units), _pair_numbers(inputs)
        shape = (units * (units + 1) // 2, inputs * (inputs + 1) // 2)
        self._units, self._inputs = np.empty(shape[0] * width), np.empty(shape[1] * width)
        self._sums = np.zeros(shape[0] * shape[1] + 1)  # a zero at the end, for what lies below the diagonal
        self._table = self._sums[:-1].reshape(shape)
        size = units * inputs
        self._place = (of_units[:, None, :, None] * shape[1] + of_inputs[None, :, None, :]).reshape(size, size)
        self._place[np.tril_indices(size, -1)] = self._table.size

    def add(self, deltas: Array, entering: Array, *, add: bool) -> None:
        add_product(_multiply_pairs(deltas, self._units), _multiply_pairs(entering, self._inputs), self._table, add=add)

    def block(self) -> Array:
        return np.take(self._sums, self._place)


def _pair_numbers(count: int) -> NDArray[np.int_]:
    """Number of each unordered pair, (count, count)."""
    numbers = np.zeros((count, count), dtype=np.int_)
    upper = np.triu_indices(count)
    numbers[upper] = np.arange(len(upper[0]))
    numbers.T[upper] = numbers[upper]
    return numbers


def _multiply_pairs(rows: Array, buffer: Array) -> Array:
    """Products of every unordered pair of rows, in the order of `_pair_numbers`."""
    count, n = rows.shape
    out = buffer[: count * (count + 1) // 2 * n].reshape(-1, n)
    first = 0
    for row in range(count):
        np.multiply(rows[row], rows[row:], out=out[first : first + count - row])
        first += count - row
    return out
