"""A fitted network at work: labels and probabilities of any image, block by block."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from operando import learn
from operando.core.blocks import iter_blocks
from operando.core.phases import UNLABELED, PhaseScheme
from operando.learn.sections import Sections

Scale = tuple[float, float]


@dataclass
class FittedNetwork:
    """Weights, what they read, and how their logits become labels and probabilities.

    Parameters
    ----------
    network : torch.nn.Module
    sections : Sections
        What the network reads.
    phases : PhaseScheme
        All phases.
    ids : list of int
        Phase of each output; phases that were never annotated have none.
    temperature : float
        Divisor of the logits.
    shift : ndarray, (class,)
        Added to the logits before they are divided: how frequent the phases are.
    volume_shift : ndarray, (class,)
        Added besides where a label is chosen, so that the labels hold as much of each phase as there is. Not
        part of the probabilities: they are right without it, and their sums would be wrong with it.
    """

    network: Any
    sections: Sections
    phases: PhaseScheme
    ids: list[int]
    temperature: float = 1.0
    shift: np.ndarray = field(default_factory=lambda: np.zeros(0))
    volume_shift: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def logits(self, volume: Any, core: Sequence[slice], scale: Scale) -> np.ndarray:
        """Plain logits (class, z, y, x) in a core of a volume that may be lazy."""
        region = learn.read_region(core, volume.shape, self.sections)
        return self._block_logits(np.asarray(volume[region]), core, volume.shape, scale)

    def _block_logits(self, block: np.ndarray, core: Sequence[slice], shape: Sequence[int], scale: Scale) -> np.ndarray:
        region = learn.read_region(core, shape, self.sections)
        return learn.block_logits(
            self.network,
            block,
            core=core,
            shape=shape,
            offset=[part.start for part in region],
            sections=self.sections,
            scale=scale,
            classes=len(self.ids),
        )

    def block_labels(self, block: np.ndarray, core: Sequence[slice], shape: Sequence[int], scale: Scale) -> np.ndarray:
        """Labels (z, y, x) of a core out of the block read for it; 255 where the image is NaN."""
        scores = self._block_logits(block, core, shape, scale)
        scores += (self.shift + self.volume_shift).astype(np.float32)[:, None, None, None]
        labels = np.array(self.ids, np.uint8)[scores.argmax(axis=0)]
        labels[self._missing(block, core, shape)] = UNLABELED
        return labels

    def block_chances(self, block: np.ndarray, core: Sequence[slice], shape: Sequence[int], scale: Scale) -> np.ndarray:
        """Probabilities (phase, z, y, x) of a core out of the block read for it; NaN where the image is."""
        scores = self._block_logits(block, core, shape, scale)
        scores += self.shift.astype(np.float32)[:, None, None, None]
        scores /= np.float32(self.temperature)
        chances = np.zeros((len(self.phases), *scores.shape[1:]), np.float32)
        chances[[self.phases.ids.index(number) for number in self.ids]] = softmax(scores)
        chances[:, self._missing(block, core, shape)] = np.nan
        return chances

    def _missing(self, block: np.ndarray, core: Sequence[slice], shape: Sequence[int]) -> np.ndarray:
        region = learn.read_region(core, shape, self.sections)
        inside = tuple(slice(c.start - r.start, c.stop - r.start) for c, r in zip(core, region, strict=True))
        return np.asarray(np.isnan(block[inside]))


def scan_scale(volume: Any) -> Scale:
    """Center and spread of the gray values of a scan (z, y, x)."""
    return learn.gray_scale(np.asarray(learn.gray_columns(volume)))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities along the first axis, in float32."""
    shifted = np.exp(logits - logits.max(axis=0, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=0, keepdims=True), dtype=np.float32)


def blockwise(
    series: Any,
    function: Callable[..., np.ndarray],
    *,
    sections: Sections,
    block: Sequence[int],
    leading: tuple[int, ...] = (),
    dtype: np.dtype,
) -> Any:
    """Apply ``function`` to every block of every scan: at once, or as a lazy array where the input is one."""
    scans, *shape = series.shape
    blocks = list(iter_blocks(shape, block))
    if isinstance(series, np.ndarray) or not hasattr(series, "dask"):
        out = np.empty((scans, *leading, *shape), dtype)
        for scan in range(scans):
            scale = scan_scale(series[scan])
            for part in blocks:
                region = learn.read_region(part.core, shape, sections)
                out[scan][(..., *part.core)] = function(
                    np.asarray(series[(scan, *region)]), part.core, tuple(shape), scale
                )
        return out
    import dask
    import dask.array as da

    counts = [-(-size // step) for size, step in zip(shape, block, strict=True)]
    parts = []
    for scan in range(scans):
        scale = dask.delayed(learn.gray_scale, pure=False)(learn.gray_columns(series[scan]))
        row = np.empty(len(blocks), object)
        for i, part in enumerate(blocks):
            region = learn.read_region(part.core, shape, sections)
            made = dask.delayed(function, pure=False)(series[(scan, *region)], part.core, tuple(shape), scale)
            size = tuple(c.stop - c.start for c in part.core)
            row[i] = da.from_delayed(made, (*leading, *size), dtype)
        parts.append(da.block(row.reshape(counts).tolist()))
    return da.stack(parts)
