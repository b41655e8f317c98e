"""Extremely randomized trees of scikit-learn, each grown on its own draw of strokes and kept as plain arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np

from operando.core.errors import InputError

_ROWS = 1 << 16  # samples read at a time


@dataclass(frozen=True)
class Forest:
    """Trees as flat arrays, one entry per node: a model file holds these, and nothing in it is executed.

    Parameters
    ----------
    root : ndarray of int32, (tree,)
        First node of each tree.
    feature : ndarray of int16, (node,)
        Feature that a node asks for; -1 for a leaf.
    threshold : ndarray of float64, (node,)
        A sample that is above it goes to ``above``, any other to ``below``.
    below, above : ndarray of int32, (node,)
        Children; a leaf is its own.
    chance : ndarray of float32, (node, class)
        Share of each class.
    """

    root: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    below: np.ndarray
    above: np.ndarray
    chance: np.ndarray

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
        Holds ``4 * (feature + 3 * class)`` bytes for 65,536 samples.
        """
        out = np.empty((len(features), self.chance.shape[1]), np.float32)
        for start in range(0, len(features), _ROWS):
            part = np.ascontiguousarray(features[start : start + _ROWS], dtype=np.float32)
            total = np.zeros((len(part), self.chance.shape[1]), np.float32)
            for root in self.root.tolist():
                total += self.chance[self._leaves(part, root)]
            out[start : start + _ROWS] = total / len(self.root)
        return out

    def _leaves(self, features: np.ndarray, root: int) -> np.ndarray:
        count, width = features.shape
        flat = features.ravel()
        at = np.full(count, root, np.int32)
        going = np.arange(count) if self.feature[root] >= 0 else np.zeros(0, np.int64)
        while going.size:
            node = at[going]
            higher = flat[going * width + self.feature[node]] > self.threshold[node]
            node = np.where(higher, self.above[node], self.below[node])
            at[going] = node
            going = going[self.feature[node] >= 0]
        return at

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays, for a file."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any], *, trees: int, features: int, classes: int) -> Self:
        """Inverse of :meth:`arrays`, checked so that no broken file can lead a sample astray.

        Raises
        ------
        InputError
            Where an array is absent or points outside the forest.
        """
        try:
            forest = cls(*(np.asarray(arrays[field.name]) for field in fields(cls)))
        except KeyError as error:
            raise InputError(f"Forest: the array {error} is missing. Save the model again.") from error
        nodes = forest.feature.size
        inner = np.flatnonzero(forest.feature >= 0) if forest.feature.ndim == 1 else np.zeros(0, int)
        flat = (forest.feature, forest.threshold, forest.below, forest.above)
        if (
            any(one.shape != (nodes,) for one in flat)
            or forest.root.shape != (trees,)
            or forest.chance.shape != (nodes, classes)
            or not all(one.dtype.kind == "i" for one in (forest.root, forest.feature, forest.below, forest.above))
            or not np.all((forest.root >= 0) & (forest.root < nodes))
            or not np.all((forest.feature >= -1) & (forest.feature < features))
            # Children come after their parents, so that every walk ends.
            or not all(np.all((one[inner] > inner) & (one[inner] < nodes)) for one in (forest.below, forest.above))
            or not np.all(np.isfinite(forest.chance))
        ):
            raise InputError(f"Forest: the {nodes} nodes do not make {trees} trees. Save the model again.")
        return forest


def grow_forest(
    features: np.ndarray,
    classes: np.ndarray,
    groups: np.ndarray,
    *,
    count: int,
    trees: int = 100,
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
    ``sklearn.tree.ExtraTreeClassifier`` with a third of the features competing for each node (Geurts, Ernst and
    Wehenkel 2006). Each tree draws as many strokes of every class as there are, with replacement, so that a
    long stroke cannot decide alone; a class with a single stroke is in every tree. Every class weighs the
    same. scikit-learn's own forests draw samples, of which neighbors are almost copies.

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
    from sklearn import tree as tree_module

    rng = np.random.default_rng(seed)
    drawn = _draw_groups(classes, groups, trees, rng)
    parts: list[dict[str, np.ndarray]] = []
    unseen, votes, nodes = np.zeros((len(features), count)), np.zeros(len(features)), 0
    for times in drawn:
        seen = np.flatnonzero(times)
        weight = times[seen] / np.bincount(classes[seen], weights=times[seen], minlength=count)[classes[seen]]
        grown = tree_module.ExtraTreeClassifier(
            max_features=1 / 3, min_samples_leaf=smallest, random_state=int(rng.integers(2**31))
        ).fit(features[seen], classes[seen], sample_weight=weight)
        part = _arrays_of(grown, count, nodes)
        parts.append(part)
        nodes += part["feature"].size
        absent = np.flatnonzero(times == 0)
        if absent.size:
            unseen[np.ix_(absent, grown.classes_)] += grown.predict_proba(features[absent])
            votes[absent] += 1
    forest = Forest(**{name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
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


def _arrays_of(grown: Any, count: int, first: int) -> dict[str, np.ndarray]:
    """A tree of scikit-learn as the arrays of :class:`Forest`, its nodes numbered from ``first``."""
    tree = grown.tree_
    leaf = tree.children_left < 0
    own = np.arange(first, first + tree.node_count)
    chance = np.zeros((tree.node_count, count), np.float32)
    held = tree.value[:, 0, :]
    chance[:, grown.classes_] = held / held.sum(axis=1, keepdims=True)
    return {
        "root": np.array([first], np.int32),
        "feature": np.where(leaf, -1, tree.feature).astype(np.int16),
        "threshold": np.where(leaf, 0.0, tree.threshold),
        "below": np.where(leaf, own, tree.children_left + first).astype(np.int32),
        "above": np.where(leaf, own, tree.children_right + first).astype(np.int32),
        "chance": chance,
    }
