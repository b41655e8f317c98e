"""Make the outputs of a network honest: as sure as it is right, and as much of each class as there is."""

from __future__ import annotations

from typing import Any

import numpy as np


def calibration_error(confidence: np.ndarray, correct: np.ndarray, *, bins: int = 15) -> float:
    """Expected calibration error: mean distance between confidence and accuracy, weighted by voxels.

    Parameters
    ----------
    confidence : ndarray of float, (n,)
        Probability given to the predicted class.
    correct : ndarray of bool, (n,)
    bins : int
        Of equal width from 0 to 1.

    Examples
    --------
    >>> round(calibration_error(np.array([0.9, 0.9]), np.array([True, False])), 6)
    0.4
    """
    if confidence.size == 0:
        return float("nan")
    sums, rights, _ = _binned(confidence, correct, bins)
    return float(np.abs(sums - rights).sum() / confidence.size)


def reliability(confidence: np.ndarray, correct: np.ndarray, *, bins: int = 15) -> dict[str, list[Any]]:
    """How often voxels are right against how sure the network was, for a reliability diagram.

    Parameters
    ----------
    confidence : ndarray of float, (n,)
        Probability that was given, of the predicted class or of one class everywhere.
    correct : ndarray of bool, (n,)
        Whether that class is the true one.
    bins : int
        Of equal width from 0 to 1. Empty ones are left out.

    Returns
    -------
    dict
        Lists ``confidence`` (mean in the bin), ``accuracy`` (share that is right) and ``n`` (voxels):
        the columns that :func:`operando.report.reliability_diagram` draws.

    Examples
    --------
    >>> reliability(np.array([0.25, 0.75, 0.75]), np.array([False, True, False]), bins=2)
    {'confidence': [0.25, 0.75], 'accuracy': [0.0, 0.5], 'n': [1, 2]}
    """
    sums, rights, counts = _binned(confidence, correct, bins)
    filled = counts > 0
    return {
        "confidence": (sums[filled] / counts[filled]).tolist(),
        "accuracy": (rights[filled] / counts[filled]).tolist(),
        "n": counts[filled].tolist(),
    }


def _binned(confidence: np.ndarray, correct: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    index = np.minimum((np.asarray(confidence) * bins).astype(int), bins - 1)
    sums = np.bincount(index, weights=confidence, minlength=bins)
    rights = np.bincount(index, weights=np.asarray(correct, dtype=float), minlength=bins)
    return sums, rights, np.bincount(index, minlength=bins)


def fit_temperature(logits: np.ndarray, classes: np.ndarray) -> float:
    """Divisor of the logits that makes held-out probabilities most likely.

    Parameters
    ----------
    logits : ndarray, (n, class)
    classes : ndarray of int, (n,)
        True class.

    Returns
    -------
    float
        From 0.2 to 10; above 1 where the network was too sure. Labels do not change.

    Notes
    -----
    Guo et al. (2017), On calibration of modern neural networks: minimizes the negative
    log-likelihood over one number.

    Examples
    --------
    Right three times of four at a difference of log 3 is already calibrated:

    >>> logits = np.array([[np.log(3.0), 0.0]] * 4)
    >>> round(fit_temperature(logits, np.array([0, 0, 0, 1])), 3)
    1.0
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    values = np.asarray(logits, dtype=np.float64)
    chosen = values[np.arange(len(values)), classes]

    def loss(log_temperature: float) -> float:
        inverse = np.exp(-log_temperature)
        return float((logsumexp(values * inverse, axis=1) - chosen * inverse).mean())

    found = minimize_scalar(loss, bounds=(np.log(0.2), np.log(10.0)), method="bounded")
    return float(np.exp(found.x))


def prior_shift(logits: np.ndarray, trained: np.ndarray, *, iterations: int = 5) -> np.ndarray:
    """Log of how much more frequent each class is in images than it was in training.

    Parameters
    ----------
    logits : ndarray, (n, class)
        Of a network, for voxels drawn evenly from the images.
    trained : ndarray, (class,)
        Frequencies of the classes in training, summing to one.
    iterations : int
        Of: shift the logits, classify, count.

    Returns
    -------
    ndarray, (class,)
        To be added to the logits; between log 1/100 and log 3.

    Notes
    -----
    Whoever draws strokes gives a thin phase as many voxels as a thick one, and the network learns
    that it is as frequent: its volume comes out too large. The frequencies in the images are found
    without labels by expectation maximization (Saerens, Latinne and Decaestecker 2002), counting
    winners instead of summing probabilities: in sums, a chance of 1 % in every voxel of a thick phase
    outweighs a thin one, and the iteration runs away.

    Examples
    --------
    Trained on halves, seen in images of nine tenths:

    >>> logits = np.repeat([[4.0, -4.0], [-4.0, 4.0]], [900, 100], axis=0)
    >>> np.exp(prior_shift(logits, np.array([0.5, 0.5]))).round(6).tolist()
    [1.8, 0.2]
    """
    before = np.maximum(np.asarray(trained, dtype=float), 1e-9)
    shift = np.zeros(before.size)
    for _ in range(iterations):
        found = np.bincount((logits + shift).argmax(axis=1), minlength=before.size) / len(logits)
        shift = np.log(np.clip(found / before, 1e-2, 3.0))
    return shift


def volume_shift(
    logits: np.ndarray,
    classes: np.ndarray,
    *,
    units: int = 1,
    least: int = 1000,
    limit: float = 0.5,
    rounds: int = 50,
) -> np.ndarray:
    """What to add to the logits so that every class wins about as many voxels as truly belong to it.

    Parameters
    ----------
    logits : ndarray, (n, class)
        Of held-out voxels of whole annotated slices: strokes do not hold the classes as they are.
    classes : ndarray of int, (n,)
        True class.
    units : int
        Scans or cells that the voxels come from. What is wrong in one of them need not be in the next:
        of ``u`` units the share ``u / (u + 1)`` of the shift is believed.
    least : int
        Voxels of a class from which on it is believed: of ``m`` voxels the share ``m / (m + least)`` of
        its shift is.
    limit : float
        Largest shift, before the shares are taken. A network that asks for more does not round, it
        confuses classes there, which no shift mends and the next training may.
    rounds : int
        Of going over the classes, at most.

    Returns
    -------
    ndarray, (class,)
        0 for the most frequent class, which takes what the others give.

    Notes
    -----
    A class wins a voxel where its logit plus shift exceeds the best of the others, so the shift that
    makes its count right is an order statistic of that difference. Going over the classes until nothing
    moves solves them together, as in semi-discrete optimal transport. A network that rounds thin things
    off gets their volume back where it was in most doubt, which is where it is most likely to have
    lost it.

    The share ``u / (u + 1)`` is what is best where errors common to all units are as large as
    those that differ from unit to unit.

    Examples
    --------
    Of four voxels of class 1 the least certain one is lost, and comes back:

    >>> difference = np.array([-3.0, -2.0, -1.0, -0.5, 1.0, 2.0, 3.0])
    >>> logits = np.stack([np.zeros(7), difference], axis=1)
    >>> classes = np.array([0, 0, 0, 1, 1, 1, 1])
    >>> shift = volume_shift(logits, classes, units=9, least=0, limit=1)
    >>> (logits + shift).argmax(axis=1).tolist(), (shift[1] - shift[0]).round(3)
    ([0, 0, 0, 1, 1, 1, 1], np.float64(0.675))
    """
    values = np.asarray(logits, dtype=np.float64)
    count = values.shape[1]
    shift = np.zeros(count)
    if len(values) == 0:
        return shift
    truth = np.bincount(classes, minlength=count)
    # Voxels that no shift within the limit can turn only count.
    best = np.partition(values, -2, axis=1)[:, -2:]
    doubtful = best[:, 1] - best[:, 0] < 2 * limit
    wanted = truth - np.bincount(values[~doubtful].argmax(axis=1), minlength=count)
    values = values[doubtful]
    moving = [c for c in range(count) if c != truth.argmax() and truth[c]]
    for _ in range(rounds if len(values) else 0):
        last = shift.copy()
        for c in moving:
            others = values + shift
            others[:, c] = -np.inf
            needed = np.sort(others.max(axis=1) - values[:, c])
            rank = int(np.clip(wanted[c], 0, len(needed)))
            low = needed[rank - 1] if rank else needed[0] - 1
            high = needed[rank] if rank < len(needed) else needed[-1] + 1
            shift[c] = np.clip((low + high) / 2, -limit, limit)
        if np.abs(shift - last).max() < 1e-3:
            break
    return shift * units / (units + 1) * truth / np.maximum(truth + least, 1)
