"""Extremely randomized trees: a classifier for a few hundred labeled voxels, grown and read with NumPy alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from operando.core.errors import InputError

_DEEPEST = 32
_ROWS = 1 << 16  # samples read at a time


@dataclass(frozen=True)
class Forest:
    """Trees as flat arrays, one entry per node; the children of a node stand side by side.

    Parameters
    ----------
    feature : ndarray of int16, (node,)
        Feature that a node asks for; -1 for a leaf.
    threshold : ndarray of float32, (node,)
        A sample that is not below it goes to the second child.
    child : ndarray of int32, (node,)
        First child; a leaf is its own.
    chance : ndarray of float32, (node, class)
        Share of each class in a leaf.
    trees : int
        The first ``trees`` nodes are the roots.
    """

    feature: np.ndarray
    threshold: np.ndarray
    child: np.ndarray
    chance: np.ndarray
    trees: int

    def chances(self, features: np.ndarray) -> np.ndarray:
        """Mean share of each class over the trees.

        Parameters
        ----------
        features : ndarray of float32, (n, feature)

        Returns
        -------
        ndarray of float32, (n, class)

        Notes
        -----
        About 0.1 us per sample, tree and level. Holds ``4 * (feature + 3 * class)`` bytes for 65,536 samples.
        """
        out = np.empty((len(features), self.chance.shape[1]), np.float32)
        for start in range(0, len(features), _ROWS):
            part = np.ascontiguousarray(features[start : start + _ROWS], dtype=np.float32)
            total = np.zeros((len(part), self.chance.shape[1]), np.float32)
            for tree in range(self.trees):
                total += self.chance[self._leaves(part, tree)]
            out[start : start + _ROWS] = total / self.trees
        return out

    def leaf_chances(self, features: np.ndarray, tree: int) -> np.ndarray:
        """Share of each class (n, class) according to one tree."""
        return np.asarray(self.chance[self._leaves(np.ascontiguousarray(features, dtype=np.float32), tree)])

    def _leaves(self, features: np.ndarray, tree: int) -> np.ndarray:
        count, width = features.shape
        flat = features.ravel()
        at = np.full(count, tree, np.int32)
        going = np.arange(count) if self.feature[tree] >= 0 else np.zeros(0, np.int64)
        while going.size:
            node = at[going]
            above = flat[going * width + self.feature[node]] >= self.threshold[node]
            node = self.child[node] + above
            at[going] = node
            going = going[self.feature[node] >= 0]
        return at

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays, for a file."""
        return {"feature": self.feature, "threshold": self.threshold, "child": self.child, "chance": self.chance}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any], *, trees: int, features: int, classes: int) -> Self:
        """Inverse of :meth:`arrays`, checked so that no broken file can lead a sample astray.

        Raises
        ------
        InputError
            Where an array is absent or points outside the forest.
        """
        try:
            feature = np.asarray(arrays["feature"], np.int16)
            threshold = np.asarray(arrays["threshold"], np.float32)
            child = np.asarray(arrays["child"], np.int32)
            chance = np.asarray(arrays["chance"], np.float32)
        except KeyError as error:
            raise InputError(f"Forest: the array {error} is missing. Save the model again.") from error
        nodes = feature.size
        inner = np.flatnonzero(feature >= 0)
        if (
            not 1 <= trees <= nodes
            or feature.shape != (nodes,)
            or threshold.shape != (nodes,)
            or child.shape != (nodes,)
            or chance.shape != (nodes, classes)
            or feature.min() < -1
            or feature.max() >= features
            # Children come after their parents, so that every walk ends.
            or np.any(child[inner] <= inner)
            or np.any(child[inner] + 1 >= nodes)
            or not np.all(np.isfinite(chance))
        ):
            raise InputError(f"Forest: the {nodes} nodes do not make {trees} trees. Save the model again.")
        return cls(feature, threshold, child, chance, trees)


def grow_forest(
    features: np.ndarray,
    classes: np.ndarray,
    groups: np.ndarray,
    *,
    count: int,
    trees: int = 100,
    tried: int | None = None,
    smallest: int = 5,
    seed: int = 0,
) -> tuple[Forest, np.ndarray]:
    """Grow trees, each on its own draw of whole groups of samples.

    Parameters
    ----------
    features : ndarray of float32, (n, feature)
    classes : ndarray of int, (n,)
        From 0 to ``count - 1``.
    groups : ndarray of int, (n,)
        Samples of one stroke; a group has one class.
    count : int
        Classes.
    trees : int
    tried : int, optional
        Features that compete for each node; default a third of them.
    smallest : int
        Samples in a leaf, at least.
    seed : int

    Returns
    -------
    Forest
    ndarray of float32, (n, class)
        What the trees that did not see a sample's group say of it; NaN where there is none. These are
        honest: nothing of the stroke was learned from.

    Raises
    ------
    InputError
        Where there are no samples or a size is not positive.

    Notes
    -----
    A node draws ``tried`` features and one random threshold for each between the smallest and the
    largest value it holds, and keeps the one with the least Gini impurity (Geurts, Ernst and Wehenkel
    2006). Each tree draws as many strokes of every class as there are, with replacement, so that a
    long stroke cannot decide alone; a class with a single stroke is in every tree. Every class weighs the
    same. All trees grow at once, level by level: about ``12 * tried * n * trees`` steps a level.

    Examples
    --------
    Two strokes to the left of 0.5 and two to the right of it:

    >>> values = np.array([0.0, 0.1, 0.3, 0.4, 0.6, 0.7, 0.9, 1.0], np.float32)[:, None]
    >>> forest, unseen = grow_forest(values, np.repeat([0, 1], 4), np.repeat([0, 1, 2, 3], 2), count=2, smallest=1)
    >>> forest.chances(np.array([[0.05], [0.95]], np.float32)).argmax(axis=1).tolist()
    [0, 1]
    """
    if len(features) == 0 or min(trees, smallest, count) < 1:
        raise InputError(
            f"grow_forest: samples, trees and a smallest leaf of at least 1 are needed, got {len(features)} samples, "
            f"{trees} trees and {smallest}. The defaults are 100 and 5."
        )
    rng = np.random.default_rng(seed)
    width = features.shape[1]
    tried = max(1, width // 3) if tried is None else min(tried, width)
    drawn = _draw_groups(classes, groups, trees, rng)
    tree, sample = np.nonzero(drawn)
    weight = drawn[tree, sample].astype(np.float64)
    total = np.bincount(tree * count + classes[sample], weights=weight, minlength=trees * count)
    weight /= total[tree * count + classes[sample]]
    forest = _grown(features, classes, tree, sample, weight, count, trees, tried, smallest, rng)
    unseen = np.zeros((len(features), count), np.float64)
    votes = np.zeros(len(features))
    for number in range(trees):
        absent = np.flatnonzero(drawn[number] == 0)
        unseen[absent] += forest.leaf_chances(features[absent], number)
        votes[absent] += 1
    with np.errstate(invalid="ignore"):
        return forest, (unseen / votes[:, None]).astype(np.float32)


def _draw_groups(classes: np.ndarray, groups: np.ndarray, trees: int, rng: np.random.Generator) -> np.ndarray:
    """How often each tree holds each sample (tree, n): strokes drawn with replacement within their class."""
    names, first, place = np.unique(groups, return_index=True, return_inverse=True)
    times = np.zeros((trees, names.size), np.int16)
    for number in np.unique(classes):
        members = np.flatnonzero(classes[first] == number)
        times[:, members] = rng.multinomial(members.size, np.full(members.size, 1 / members.size), size=trees)
    return times[:, place]


def _grown(
    features: np.ndarray,
    classes: np.ndarray,
    tree: np.ndarray,
    sample: np.ndarray,
    weight: np.ndarray,
    count: int,
    trees: int,
    tried: int,
    smallest: int,
    rng: np.random.Generator,
) -> Forest:
    parts: list[tuple[np.ndarray, ...]] = []
    node, nodes, first = tree.astype(np.int64), trees, 0  # nodes are numbered within the level
    for _ in range(_DEEPEST):
        shares = np.bincount(node * count + classes[sample], weights=weight, minlength=nodes * count)
        shares = shares.reshape(nodes, count)
        size = np.bincount(node, minlength=nodes)
        open_ = (size >= 2 * smallest) & ((shares > 0).sum(axis=1) > 1)
        feature, threshold = np.full(nodes, -1, np.int16), np.zeros(nodes, np.float32)
        keep = open_[node]
        node, sample, weight = node[keep], sample[keep], weight[keep]
        if node.size:
            order = np.argsort(node, kind="stable")
            node, sample, weight = node[order], sample[order], weight[order]
            best = np.full(nodes, np.inf)
            starts = np.flatnonzero(np.diff(node, prepend=-1))
            present = node[starts]
            for candidate in _candidates(present.size, features.shape[1], tried, rng):
                asked = np.zeros(nodes, np.int64)
                asked[present] = candidate
                values = features[sample, asked[node]]
                low, high = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
                cut = np.zeros(nodes, np.float32)
                cut[present] = low + (high - low) * rng.random(present.size, dtype=np.float32)
                side = values >= cut[node]
                impurity, least = _impurity(2 * node + side, classes[sample], weight, nodes, count)
                better = (impurity < best) & (least >= smallest) & open_
                best[better], feature[better] = impurity[better], asked[better]
                threshold[better] = cut[better]
        split = feature >= 0
        place = np.cumsum(split) - 1
        child = np.where(split, first + nodes + 2 * place, first + np.arange(nodes)).astype(np.int32)
        parts.append((feature, threshold, child, (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)))
        keep = split[node] if node.size else np.zeros(0, bool)
        node, sample, weight = node[keep], sample[keep], weight[keep]
        if node.size == 0:
            break
        above = features[sample, feature[node]] >= threshold[node]
        first += nodes
        nodes = 2 * int(split.sum())
        node = 2 * place[node] + above
    else:
        nodes_left = np.arange(first, first + nodes, dtype=np.int32)
        shares = np.bincount(node * count + classes[sample], weights=weight, minlength=nodes * count)
        shares = shares.reshape(nodes, count)
        parts.append(
            (
                np.full(nodes, -1, np.int16),
                np.zeros(nodes, np.float32),
                nodes_left,
                (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32),
            )
        )
    feature, threshold, child, chance = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Forest(feature, threshold, child, chance, trees)


def _candidates(nodes: int, width: int, tried: int, rng: np.random.Generator) -> np.ndarray:
    """Features (tried, node) drawn without replacement for every node."""
    return np.argsort(rng.random((nodes, width)), axis=1)[:, :tried].T


def _impurity(
    side: np.ndarray, classes: np.ndarray, weight: np.ndarray, nodes: int, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Gini impurity of a split of every node, times its weight, and the samples on its smaller side."""
    held = np.bincount(side * count + classes, weights=weight, minlength=2 * nodes * count).reshape(nodes, 2, count)
    total = held.sum(axis=2)
    pure = np.divide((held**2).sum(axis=2), total, out=np.zeros_like(total), where=total > 0)
    sizes = np.bincount(side, minlength=2 * nodes).reshape(nodes, 2)
    return (total - pure).sum(axis=1), sizes.min(axis=1)
