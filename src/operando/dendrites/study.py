"""The study of the paper: which features, which times and which network forecast the growth rate, by every split."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from operando.core.errors import InputError
from operando.dendrites.features import FEATURE_SETS, TIMES, feature_names
from operando.dendrites.restarts import train_networks
from operando.dendrites.rivals import TARGET
from operando.dendrites.scores import correlation, score
from operando.dendrites.splits import frame_numbers, split_plan, usable_rows

NETWORKS = ("8", "16", "[8, 8]", "[16, 16]")


def ablation(
    table: pd.DataFrame,
    *,
    feature_sets: Sequence[str] = tuple(FEATURE_SETS),
    times: Sequence[str] = tuple(TIMES),
    networks: Sequence[str | int | Sequence[int]] = NETWORKS,
    splits: Sequence[str] | None = None,
    repeats: int = 5,
    test_fraction: float = 0.25,
    gap: int = 0,
    max_epochs: int = 250,
    seed: int = 0,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Train every network on every set of features at every choice of times, by every split.

    Parameters
    ----------
    table : DataFrame
        As :func:`growth_features` returns it. Rows without all features and the next growth rate are left out, the same
        for every combination.
    feature_sets : sequence of str
        Of ``"slopes", "concentration", "growth", "all"``.
    times : sequence of str
        Of ``"previous", "current", "both"``.
    networks : sequence of str, int or sequence of int
        Neurons of the hidden layers: ``"8"`` or ``8`` is one layer, ``"[16, 16]"`` or ``(16, 16)`` two. Wider and
        deeper ones show whether they overfit.
    splits : sequence of {"random", "frame", "experiment"}, optional
        All that the table allows by default, see :func:`split_rows`.
    repeats : int
        Splits and starts of each kind. A combination sees the same splits as all others.
    test_fraction, gap
        See :func:`split_rows`.
    max_epochs : int
        Of the training. The paper allows 1,000; most of what test R gains is gained by 250.
    seed : int
        The same seed gives the same table.
    workers : int, optional
        Threads that train.
    progress : callable, optional
        Called with the number of networks trained so far, and of all.

    Returns
    -------
    DataFrame
        ``split, features, times, network, repeat, r_train, r_test, r_within, rmse, n_train, n_test, gamma,
        log_evidence, epochs``: one row per training. ``r_within``: R of the deviations from each frame's mean in the
        test rows; ``rmse`` in um min-1.

    Raises
    ------
    InputError
        For unknown names, and as :func:`split_rows`. Everything is checked before the first training.

    Notes
    -----
    With the defaults this is Figure 4 of the paper, 4 x 3 x 4 combinations and 5 repeats, for three splits: 720
    trainings.

    Examples
    --------
    Growth that the growth before tells, and slopes that tell nothing:

    >>> from operando.dendrites import feature_names
    >>> made = np.random.default_rng(0).uniform(-1, 1, (160, 14))
    >>> table = pd.DataFrame(made, columns=feature_names()).assign(experiment="a", stage="none")
    >>> table["frame"] = np.repeat(np.arange(1, 9), 20)
    >>> table["growth_rate_next"] = 0.2 * table["growth_rate"]
    >>> found = ablation(table, feature_sets=["slopes", "growth"], times=["current"], networks=["2"], splits=["frame"],
    ...     repeats=1, max_epochs=50)
    >>> (found.set_index("features")["r_test"] > 0.99).to_dict()
    {'slopes': False, 'growth': True}
    """
    shapes = [layers_of(network) for network in ([networks] if isinstance(networks, str) else networks)]
    if not (shapes and len(feature_sets) and len(times)):
        raise InputError(
            f"ablation: there must be one of each at least, got feature_sets={feature_sets!r}, times={times!r}, "
            f"networks={networks!r}."
        )
    pairs = [(chosen, when, feature_names(chosen, when)) for chosen in feature_sets for when in times]
    columns = list(dict.fromkeys(name for _, _, names in pairs for name in names))
    rows = usable_rows("ablation", table, [*columns, TARGET])
    plan = split_plan("ablation", rows, splits=splits, repeats=repeats, test_fraction=test_fraction, gap=gap, seed=seed)
    measured, frame = rows[TARGET].to_numpy(float), frame_numbers(rows)
    found: list[dict[str, Any]] = []
    total = len(shapes) * len(pairs) * len(plan)
    for chosen, when, names in pairs:
        x = rows[names].to_numpy(float)
        for shape in shapes:
            tasks = ((x[part.train], measured[part.train], seed + part.repeat) for part in plan)
            trained = train_networks(tasks, hidden=shape, max_epochs=max_epochs, workers=workers)
            for part, network in zip(plan, trained, strict=True):
                predicted = network.predict(x)
                tested = score(measured[part.test], predicted[part.test], frame[part.test])
                found.append(
                    {
                        "split": part.split,
                        "features": chosen,
                        "times": when,
                        "network": network_name(shape),
                        "repeat": part.repeat,
                        "r_train": correlation(measured[part.train], predicted[part.train]),
                        "r_test": tested["r"],
                        "r_within": tested["r_within"],
                        "rmse": tested["rmse"],
                        "n_train": len(part.train),
                        "n_test": len(part.test),
                        "gamma": float(network.gamma_),
                        "log_evidence": float(network.log_evidence_),
                        "epochs": int(network.n_iter_),
                    }
                )
            if progress is not None:
                progress(len(found), total)
    result = pd.DataFrame(found)
    result.attrs["dropped"] = len(table) - len(rows)
    return result


def layers_of(network: str | int | Iterable[int]) -> tuple[int, ...]:
    """Neurons of the hidden layers of a network that is named by text, number or sequence.

    Raises
    ------
    InputError
        Where it is none of these, or a layer has no neuron.

    Examples
    --------
    >>> layers_of("8"), layers_of("[16, 16]"), layers_of(32), layers_of((8, 4))
    ((8,), (16, 16), (32,), (8, 4))
    """
    try:
        if isinstance(network, str):
            layers = tuple(int(part) for part in network.strip().strip("[]()").rstrip(",").split(","))
        elif isinstance(network, (int, np.integer)):
            layers = (int(network),)
        else:
            layers = tuple(int(part) for part in network)
    except (TypeError, ValueError):
        layers = ()
    if not layers or min(layers) < 1:
        raise InputError(
            f"ablation: a network must be the neurons of its hidden layers, such as '8', '[16, 16]' or (16, 16), "
            f"got {network!r}."
        )
    return layers


def network_name(layers: Sequence[int]) -> str:
    """Name a network as the paper does.

    Examples
    --------
    >>> network_name((8,)), network_name((16, 16))
    ('8', '[16, 16]')
    """
    return str(layers[0]) if len(layers) == 1 else str(list(layers))
