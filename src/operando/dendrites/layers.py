"""A tanh network whose weights are one vector: forward, backward, and the columns of its Jacobian.

Arrays carry a leading axis of networks, so that many small networks cost one call. Samples are the last axis: what one
weight does to all samples is then contiguous, which is what the matrix product of the training wants.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Layers:
    """Which slice of the weight vector is which layer.

    Parameters
    ----------
    sizes : tuple of int
        Units from the inputs to the single output: ``(1, 20, 1)`` is the net 1-20-1.

    Examples
    --------
    The net 1-20-1 has 20 weights and 20 biases, then 20 weights and a bias of the output:

    >>> Layers((1, 20, 1)).count
    61
    """

    sizes: tuple[int, ...]

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Rows (units) and columns (inputs, then the bias) of each layer's matrix."""
        return [(units, inputs + 1) for inputs, units in itertools.pairwise(self.sizes)]

    @property
    def count(self) -> int:
        """Number of weights and biases, N."""
        return sum(rows * columns for rows, columns in self.shapes)

    @property
    def slices(self) -> list[slice]:
        """Where in the weight vector each layer lies."""
        ends = np.cumsum([0, *(rows * columns for rows, columns in self.shapes)])
        return [slice(int(a), int(b)) for a, b in itertools.pairwise(ends)]

    @property
    def log_symmetries(self) -> float:
        """Logarithm of how many weight vectors say the same: units permuted, signs of a unit flipped."""
        return sum(math.lgamma(units + 1) + units * math.log(2.0) for units in self.sizes[1:-1])

    def matrices(self, weights: Array) -> list[Array]:
        """Views (networks, units, inputs + 1) of weight vectors (networks, N)."""
        return [
            weights[:, part].reshape(len(weights), *shape) for part, shape in zip(self.slices, self.shapes, strict=True)
        ]


def with_ones(inputs: Array) -> Array:
    """Inputs (networks, features, n) with the row of ones that the bias multiplies."""
    full = np.ones((inputs.shape[0], inputs.shape[1] + 1, inputs.shape[2]))
    full[:, :-1] = inputs
    return full


def forward(layers: Layers, weights: Array, inputs: Array) -> tuple[Array, list[Array]]:
    """Prediction of each network, and what enters each of its layers.

    Parameters
    ----------
    layers : Layers
        The shape of the networks.
    weights : array, (networks, N)
        One weight vector per network.
    inputs : array, (networks or 1, features + 1, n)
        Inputs with their row of ones (`with_ones`).

    Returns
    -------
    array, (networks, n)
        Predictions.
    list of array, (networks, units + 1, n)
        Inputs of each layer, ones in the last row.
    """
    matrices = layers.matrices(weights)
    entering = [inputs]
    for matrix in matrices[:-1]:
        units = np.empty((len(weights), matrix.shape[1] + 1, inputs.shape[2]))
        np.matmul(matrix, entering[-1], out=units[:, :-1])
        np.tanh(units[:, :-1], out=units[:, :-1])
        units[:, -1] = 1.0
        entering.append(units)
    return (matrices[-1] @ entering[-1])[:, 0], entering


def backward(layers: Layers, weights: Array, entering: list[Array]) -> list[Array]:
    """Derivative of the prediction with respect to the net input of every unit, layer by layer.

    Parameters
    ----------
    layers, weights, entering
        As given to and by `forward`.

    Returns
    -------
    list of array, (networks, units, n)
        The last one, of the linear output, is one everywhere.
    """
    matrices = layers.matrices(weights)
    deltas = [np.ones((len(weights), 1, entering[-1].shape[2]))]
    for above, units in zip(reversed(matrices[1:]), reversed(entering[1:]), strict=True):
        slope = np.square(units[:, :-1])
        np.subtract(1.0, slope, out=slope)
        if deltas[0].shape[1] == 1:  # the output's delta is one: its weights, broadcast, are the product
            slope *= above[:, 0, :-1, None]
        else:
            slope *= np.matmul(above[:, :, :-1].swapaxes(1, 2), deltas[0])
        deltas.insert(0, slope)
    return deltas


def jacobian(layers: Layers, deltas: list[Array], entering: list[Array], out: Array | None = None) -> Array:
    """Derivative of every prediction with respect to every weight.

    Parameters
    ----------
    layers, deltas, entering
        As given by `forward` and `backward`.
    out : array, (networks, N, n), optional
        Where to write it.

    Returns
    -------
    array, (networks, N, n)
        Row k holds the derivatives with respect to weight k.
    """
    networks, n = deltas[0].shape[0], deltas[0].shape[2]
    if out is None:
        out = np.empty((networks, layers.count, n))
    for part, shape, delta, units in zip(layers.slices, layers.shapes, deltas, entering, strict=True):
        block = out[:, part].reshape(networks, *shape, n)
        if shape[0] == 1 and part.stop == layers.count:
            block[:, 0] = units
        else:
            np.multiply(delta[:, :, None], units[:, None], out=block)
    return out


def pull_back(layers: Layers, deltas: list[Array], entering: list[Array], errors: Array) -> Array:
    """Product of the transposed Jacobian with the errors, without the Jacobian: (networks, N)."""
    parts = []
    for shape, delta, units in zip(layers.shapes, deltas, entering, strict=True):
        product = np.matmul(delta * errors[:, None], units.swapaxes(1, 2))
        parts.append(product.reshape(len(errors), shape[0] * shape[1]))
    return np.concatenate(parts, axis=1)


def nguyen_widrow(
    layers: Layers, rng: np.random.Generator, *, low: Sequence[float] | Array, high: Sequence[float] | Array
) -> Array:
    """Starting weights that spread the active ranges of the tanh units over their inputs (Nguyen & Widrow 1990).

    Parameters
    ----------
    layers : Layers
        The shape of the network.
    rng : numpy.random.Generator
        Source of the random directions.
    low, high : sequence of float, (features,)
        Range of every input. One without a width counts as [-1, 1] about its value.

    Returns
    -------
    array, (N,)
        Weights; those of the linear output are uniform in [-0.5, 0.5].

    Notes
    -----
    A layer of s units on r inputs in [-1, 1] gets rows of length 0.7 s^(1/r) in random directions and biases evenly
    spread over 0.7 s^(1/r) [-1, 1], in the order of the units, with the sign of the row's first weight. With rows twice
    as long (as where the active range of tanh is taken as [-2, 2]) the net 1-20-1 on a noisy sine of 41 samples ended
    in a second, overfitted optimum from 11 starts of 40; with these from none of 300.

    References
    ----------
    Nguyen, Widrow, *IJCNN* (1990) 3, 21.
    """
    low, high = np.asarray(low, dtype=float), np.asarray(high, dtype=float)
    parts: list[Array] = []
    for index, (units, columns) in enumerate(layers.shapes):
        inputs = columns - 1
        if index == len(layers.shapes) - 1:
            parts.append(rng.uniform(-0.5, 0.5, units * columns))
            break
        direction = rng.uniform(-1.0, 1.0, (units, inputs))
        length = np.linalg.norm(direction, axis=1, keepdims=True)
        magnitude = 0.7 * units ** (1.0 / inputs)
        weights = magnitude * direction / np.where(length > 0, length, 1.0)
        spread = np.linspace(-1.0, 1.0, units) if units > 1 else np.zeros(1)
        bias = magnitude * spread * np.sign(weights[:, 0])
        if index == 0:
            half = np.where(high > low, (high - low) / 2.0, 1.0)
            middle = (high + low) / 2.0
            weights = weights / half
            bias = bias - weights @ middle
        parts.append(np.column_stack([weights, bias]).ravel())
    return np.concatenate(parts)
