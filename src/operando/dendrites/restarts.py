"""Many trainings at once: restarts, folds and feature sets, in batches and on every core."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from operando.core.errors import InputError
from operando.dendrites.layers import Array, Layers
from operando.dendrites.network import BayesianNetwork
from operando.dendrites.training import train

_BATCH = 16  # networks that share the cost of a Python call
_SMALL = 65536  # entries of a Jacobian above which the products dominate and a batch gains nothing


def train_networks(
    tasks: Iterable[tuple[ArrayLike, ArrayLike, Any]],
    *,
    hidden: tuple[int, ...] = (16, 16),
    max_epochs: int = 1000,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    **settings: Any,
) -> list[BayesianNetwork]:
    """Train many networks of one architecture, each as `BayesianNetwork.fit` would.

    Parameters
    ----------
    tasks : iterable of (X, y, random_state)
        One training each: restarts share X and y, folds and feature sets bring their own.
    hidden : tuple of int
        Units of the hidden layers.
    max_epochs : int
        Most epochs.
    workers : int, optional
        Threads; the number of cores where not given. Each multiplies on one core.
    progress : callable (done, total), optional
        Called after every finished piece of work, from the calling thread.
    **settings
        Further parameters of `BayesianNetwork`.

    Returns
    -------
    list of BayesianNetwork
        In the order of the tasks.

    Raises
    ------
    InputError
        Where there is no worker, or as `BayesianNetwork.fit`.

    Notes
    -----
    Small networks on few samples, whose training is spent in Python rather than in products, are stacked into batches
    of equal shape; each keeps its own step, regularization and end. Neither the batch nor the number of workers
    changes a result.

    Memory: three N x N matrices per worker (per network of a batch), and one per finished network.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.linspace(-1, 1, 21)[:, None]
    >>> networks = train_networks([(x, x[:, 0] ** 2, seed) for seed in range(3)], hidden=(3,), max_epochs=20)
    >>> [network.n_iter_ for network in networks]
    [20, 20, 20]
    """
    from concurrent.futures import ThreadPoolExecutor, as_completed

    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    workers = workers if workers is not None else (os.cpu_count() or 1)
    if workers < 1:
        raise InputError(f"train_networks: workers must be at least 1, got {workers}. Leave it out to use every core.")
    networks: list[BayesianNetwork] = []
    prepared: list[tuple[Layers, Array, Array, Array]] = []
    for X, y, random_state in tasks:
        network = BayesianNetwork(hidden=hidden, max_epochs=max_epochs, random_state=random_state, **settings)
        prepared.append(network._prepare(X, y))
        networks.append(network)

    def work(piece: list[int]) -> int:
        layers = prepared[piece[0]][0]
        starts, inputs, targets = (
            np.stack(parts) for parts in zip(*(prepared[index][1:] for index in piece), strict=True)
        )
        results = train(layers, starts, inputs, targets, networks[piece[0]]._rules())
        for index, trained in zip(piece, results, strict=True):
            networks[index]._keep(trained, layers, targets.shape[1])
        return len(piece)

    done = 0
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(workers) as pool:
        for finished in as_completed([pool.submit(work, piece) for piece in _pieces(prepared, workers)]):
            done += finished.result()
            if progress is not None:
                progress(done, len(networks))
    return networks


def _pieces(prepared: list[tuple[Layers, Array, Array, Array]], workers: int) -> list[list[int]]:
    """Which tasks are trained together: equal shapes in batches while small, else one by one."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for index, (layers, _, _, targets) in enumerate(prepared):
        small = layers.count * targets.size <= _SMALL
        groups.setdefault((layers.sizes, targets.size) if small else (index,), []).append(index)
    pieces = []
    for members in groups.values():
        size = min(_BATCH, -(-len(members) // workers))
        pieces += [members[first : first + size] for first in range(0, len(members), size)]
    return pieces


def best_of(
    X: ArrayLike,
    y: ArrayLike,
    restarts: int = 8,
    *,
    hidden: tuple[int, ...] = (16, 16),
    max_epochs: int = 1000,
    random_state: int = 0,
    workers: int | None = None,
    **settings: Any,
) -> tuple[BayesianNetwork, pd.DataFrame]:
    """The network of the highest evidence among several starts, and the table of the optima they found.

    Parameters
    ----------
    X, y, hidden, max_epochs, **settings
        As `BayesianNetwork` and its `fit` take them.
    restarts : int
        Number of starts.
    random_state : int
        Seed of the first start; the others follow it.
    workers : int, optional
        As in `train_networks`.

    Returns
    -------
    BayesianNetwork
        That of the highest ``log_evidence_``.
    pandas.DataFrame
        One row per start: ``seed``, ``gamma``, ``alpha``, ``beta``, ``log_evidence``, ``epochs``, ``stopped_by`` and
        ``optimum``, which numbers the distinct optima from the best one, 0.

    Raises
    ------
    InputError
        Where there is no start.

    Notes
    -----
    Starts whose log evidence lies within 0.01 of each other's count as one optimum: their odds differ by 1 %. One that
    was stopped by its epochs has not arrived; its number says only where it stood.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.linspace(-1, 1, 21)[:, None]
    >>> network, optima = best_of(x, x[:, 0] ** 2 + 0.01 * np.cos(40 * x[:, 0]), 3, hidden=(3,))
    >>> bool(network.log_evidence_ == optima["log_evidence"].max())
    True
    """
    if restarts < 1:
        raise InputError(f"best_of: restarts must be at least 1, got {restarts}. Eight are usual.")
    networks = train_networks(
        [(X, y, random_state + restart) for restart in range(restarts)],
        hidden=hidden,
        max_epochs=max_epochs,
        workers=workers,
        **settings,
    )
    table = pd.DataFrame(
        {
            "seed": [random_state + restart for restart in range(restarts)],
            "gamma": [network.gamma_ for network in networks],
            "alpha": [network.alpha_ for network in networks],
            "beta": [network.beta_ for network in networks],
            "log_evidence": [network.log_evidence_ for network in networks],
            "epochs": [network.n_iter_ for network in networks],
            "stopped_by": [network.stopped_by_ for network in networks],
        }
    )
    order = np.argsort(-table["log_evidence"].to_numpy(), kind="stable")
    gaps = -np.diff(table["log_evidence"].to_numpy()[order]) > 0.01
    optimum = np.empty(restarts, dtype=int)
    optimum[order] = np.concatenate([[0], np.cumsum(gaps)])
    table["optimum"] = optimum
    return networks[int(order[0])], table
