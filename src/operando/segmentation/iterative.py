"""The labeling loop of Huang et al. (2023): partial models on in-plane slices, then one cross-sectional network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import xarray as xr

from operando import learn
from operando.core.errors import FileError, InputError
from operando.core.files import written_whole
from operando.core.phases import UNLABELED, PhaseScheme
from operando.learn.networks import NetworkDesign
from operando.learn.training import TrainingSettings
from operando.segmentation.contract import not_fitted
from operando.segmentation.hand_labels import (
    WHOLE,
    HandLabels,
    Predict,
    held_out_agreement,
    labeled_voxels,
    sort_labels,
)
from operando.segmentation.material import Series, gather_series
from operando.segmentation.network import NetworkSegmenter
from operando.segmentation.partial_models import PartialModels, labels_in, phase_groups
from operando.segmentation.split import choose_split

KIND = "operando.segmentation.IterativeSegmenter"
_FORMAT = 1
_REFINED = 0.5  # share of the steps that the network is refined with
_AFTER = 0.5  # of these, once more when held-out scans are learned from too
_NETWORK = "network"


class IterativeSegmenter:
    """Phases of a cell by Huang's loop, from in-plane slices first and cross-sections last.

    Parameters
    ----------
    phases : PhaseScheme or mapping of str to int, optional
        Names, ids and roles of the phases. Default: the values annotated.
    network : str or NetworkDesign
        As in :class:`NetworkSegmenter`, for every network of the loop.
    training : TrainingSettings or str, optional
        Of the cross-sectional network. It is refined with half as many steps at half the learning rate.
    partial_steps : int
        Training steps of each partial model.
    confidence : float
        Probability from which on a merged prediction becomes a pseudo label; the rest stays unlabeled.
    scans : int
        Scans of each series that are pseudo-labeled, at most: spread evenly, annotated or not.
    box : int
        Edge along y and x of the part of each scan that is pseudo-labeled, in voxels; all of z is.
    context, overlap, windows, validation, block, device, seed
        As in :class:`NetworkSegmenter`. Held-out scans take part in no stage before they have been measured on.
    progress : callable, optional
        Called as ``progress(step, steps, loss)`` over the steps of all networks.
    validated : callable, optional
        Called once as ``validated(segmenter)`` with a :class:`NetworkSegmenter` that has not seen the held-out scans.

    Attributes
    ----------
    phases_ : PhaseScheme
        What the labels mean.
    history_ : list of dict
        One entry per stage of the loop: ``stage`` (``partial`` with its ``model``, ``merge``, ``cross-section``,
        ``refine``), ``trained_on``, ``hand_voxels`` and ``pseudo_voxels`` learned from, ``steps``, the last ``loss``,
        and ``held_out``: agreement on the annotated voxels of held-out scans after that stage, of which the share
        ``answered`` got a label at all.
    network_ : NetworkSegmenter
        The refined network, which predicts.
    metrics_ : dict
        As in :class:`NetworkSegmenter`, of the refined network on held-out scans.
    card_ : dict
        Card of the refined network, with ``history`` beside it.

    Notes
    -----
    The loop of Huang et al. (2023), main text and Fig. 2b:

    1. *Partial models*, on whole in-plane slices (y, x) alone: an initial one that tells background, voids and
       material apart, and one for each material (electrode, deposited, ...) against everything else.
    2. *Merge*: a void or the background scores the initial model's probability, a material the initial model's
       probability of material times its own model's. A phase whose in-plane labels all lie in one half of the cell is
       confined to that half, which is how the paper tells deposited from redeposited lithium. Where phases
       compete, the most probable one wins; it becomes a pseudo label where its score exceeds ``confidence``
       of all scores. Hand labels always win.
    3. *Cross-sections*: one network with all phases, on the pseudo labels and all hand labels.
    4. *Refinement*: training goes on on hand-labeled cross-sections alone, then on held-out scans too, and the
       network is calibrated.

    ``annotations`` hold both kinds of slices together. A plane (y, x) of which at least half is labeled is
    an in-plane slice; all other annotated voxels count as cross-sections, strokes and points too.

    Where the paper's annotators corrected predictions between iterations, the loop goes through by itself: predict,
    correct, and fit again with more annotations is their way of going round. Whether it is worth it:
    docs/iterative-labeling.md has it beside a network trained directly on the same hand labels.

    Memory: pseudo labels of ``scans`` boxes of all z times ``box``^2, one byte a voxel and four while they are
    predicted, per phase; beyond that as :class:`NetworkSegmenter`.

    Reference
    ---------
    Huang et al., npj Computational Materials 9 (2023) 93, Supplementary Note 1, doi:10.1038/s41524-023-01039-y
    """

    phases_: PhaseScheme
    network_: NetworkSegmenter
    history_: list[dict[str, Any]]
    metrics_: dict[str, Any]
    card_: dict[str, Any]

    def __init__(
        self,
        phases: PhaseScheme | Mapping[str, int] | None = None,
        *,
        network: str | NetworkDesign = "small",
        training: TrainingSettings | str | None = None,
        partial_steps: int = 300,
        confidence: float = 0.8,
        scans: int = 8,
        box: int = 128,
        context: int = 2,
        overlap: float = 0.25,
        windows: int = 400,
        validation: bool | Sequence[int] = True,
        block: Sequence[int] = (192, 192, 192),
        device: str = "auto",
        seed: int = 0,
        progress: Callable[[int, int, float], Any] | None = None,
        validated: Callable[[NetworkSegmenter], Any] | None = None,
    ) -> None:
        self.phases = None if phases is None else PhaseScheme.of(phases)
        self.training = learn.training_settings(training or "default")
        self.partial_steps, self.confidence, self.scans, self.box = partial_steps, confidence, scans, box
        self.validation = validation
        self.progress, self.validated = progress, validated
        self.options: dict[str, Any] = {
            "network": learn.network_design(network),
            "context": context,
            "overlap": overlap,
            "windows": windows,
            "block": tuple(block),
            "device": device,
            "seed": seed,
        }
        self.seed = seed
        if min(partial_steps, scans) < 1 or box < 16 or not 0 <= confidence < 1:
            raise InputError(
                "IterativeSegmenter: partial_steps and scans must be at least 1, box at least 16 voxels and confidence "
                f"in [0, 1), got {partial_steps}, {scans}, {box} and {confidence}. Defaults: 300, 8, 128, 0.8."
            )

    def fit(self, images: Any, annotations: Any) -> Self:
        """Go through the loop.

        Parameters
        ----------
        images : DataArray or array, dims ([t], z, y, x), or a list of them
            Gray values; each scan is normalized by itself. A list holds one series per cell.
        annotations : DataArray or array of uint8, same shape, or a list of as many
            Ids of phases, 255 = unlabeled: in-plane slices and cross-sections together.

        Returns
        -------
        IterativeSegmenter
            Itself.

        Raises
        ------
        InputError, AxesError, PhaseError
            Where images and annotations do not fit, there is no annotated in-plane slice, nothing else
            is annotated, or no phase can be told from the background.
        """
        where = "IterativeSegmenter.fit"
        material, scheme = gather_series(images, annotations, self.phases, where=where)
        several = isinstance(images, list | tuple)
        held = self._held_out(material, scheme, several)
        hand = [sort_labels(series, {s for n, s in held if n == number}) for number, series in enumerate(material)]
        in_plane = int(sum(part.voxels(part.slices).sum() for part in hand))
        rest = int(sum(part.voxels(part.rest).sum() for part in hand))
        if in_plane == 0 or rest == 0:
            raise InputError(
                f"{where}: in-plane slices (y, x) and cross-sections must be annotated, got {in_plane} voxels in "
                f"planes of which at least {WHOLE:.0%} is labeled, and {rest} elsewhere. Annotate both, or train a "
                "NetworkSegmenter."
            )
        taught = labeled_voxels(hand, [part.slices | part.rest for part in hand])
        lost = [name for name in scheme if sum(part.along_z[:, scheme[name]].sum() for part in hand) > 0
                and taught[scheme[name]] == 0]  # fmt: skip
        if lost:
            raise InputError(
                f"{where}: every annotated phase must be in a scan that is not held out, got {lost} in held-out scans "
                "alone. Annotate them in another scan, or hold out others (validation)."
            )
        grays = [image if "t" in image.dims else image.expand_dims("t") for image in (s.image for s in material)]
        groups = phase_groups(scheme, [(part.along_z * part.slices[:, None]).sum(axis=0) for part in hand])
        refining = replace(
            self.training,
            steps=max(1, round(_REFINED * self.training.steps)),
            learning_rate=self.training.learning_rate / 2,
        )
        after = round(refining.steps * _AFTER) if held else 0
        self._done = 0
        self._steps = self.partial_steps * groups.models + self.training.steps + refining.steps + after
        self.phases_, self.history_ = scheme, []
        judge = partial(held_out_agreement, sorted(held), material, scheme)

        models = PartialModels.fitted(
            grays,
            [part.where(part.slices) for part in hand],
            groups,
            confidence=self.confidence,
            train=partial(self._train, settings=replace(self.training, steps=self.partial_steps)),
            told=lambda name, loss: self._tell(
                "partial", "in-plane slices", in_plane, steps=self.partial_steps, loss=loss, model=name
            ),
        )
        boxes = [self._pseudo(series, part, models) for series, part in zip(material, hand, strict=True)]
        pseudo = sum(int((marks != UNLABELED).sum()) for _, marks in boxes)
        self._tell("merge", "partial models", in_plane, pseudo, held_out=judge(models.labels))

        cross = self._train(
            [*(gray for gray, _ in boxes), *grays],
            [*(marks for _, marks in boxes), *(part.where(part.slices | part.rest) for part in hand)],
            scheme,
            settings=self.training,
            planes="auto",
        )
        self._tell(
            "cross-section",
            "pseudo labels and all hand labels",
            in_plane + rest,
            pseudo,
            steps=self.training.steps,
            loss=cross.history_[-1]["loss"],
            held_out=judge(partial(labels_in, cross)),
        )
        self._refine(cross, grays, hand, held, refining, judge, several)
        return self

    def _held_out(self, material: Sequence[Series], scheme: PhaseScheme, several: bool) -> set[tuple[int, int]]:
        """Held-out (series, scan): whole series of several, or scans of one."""
        if self.validation is False:
            return set()
        if self.validation is True:
            per_phase = sum(series.counts.per_scan.sum(axis=0) for series in material)
            ids = [number for number in scheme.ids if per_phase[number]]
            split = choose_split([series.counts for series in material], ids=ids)
            return set(split.held) if split.kind == ("series" if several else "scan") else set()
        pairs = {(number, scan) for number, series in enumerate(material) for scan in series.annotated}
        named = {int(number) for number in self.validation}
        return {pair for pair in pairs if pair[0 if several else 1] in named}

    def _train(
        self,
        grays: list[xr.DataArray],
        marks: list[Any],
        scheme: PhaseScheme,
        *,
        settings: TrainingSettings,
        planes: str,
    ) -> NetworkSegmenter:
        network = NetworkSegmenter(
            scheme, **self.options, planes=planes, training=settings, validation=False, progress=self._report
        ).fit(grays, marks)
        self._done += settings.steps
        return network

    def _report(self, step: int, _steps: int, loss: float) -> None:
        if self.progress is not None:
            self.progress(self._done + step, self._steps, loss)

    def _pseudo(self, series: Series, part: HandLabels, models: PartialModels) -> tuple[xr.DataArray, np.ndarray]:
        """A box of some scans of a series, with merged predictions as labels; hand labels win."""
        free = np.flatnonzero(part.kept)
        chosen = free[np.unique(np.linspace(0, free.size - 1, min(self.scans, free.size)).round().astype(int))]
        rng = np.random.default_rng([self.seed, 6])
        depth, *lateral = series.gray.shape[1:]
        starts = [int(rng.integers(size - min(self.box, size) + 1)) for size in lateral]
        box = (slice(0, depth), *(slice(a, a + min(self.box, size)) for a, size in zip(starts, lateral, strict=True)))
        marks = np.empty((chosen.size, *(b.stop - b.start for b in box)), np.uint8)
        hand = part.where(part.slices | part.rest)
        for place, scan in enumerate(chosen):
            told = np.asarray(hand[(int(scan), *box)])
            marks[place] = np.where(told == UNLABELED, models.labels(series.gray[int(scan)], box), told)
        gray = series.image if "t" in series.image.dims else series.image.expand_dims("t")
        return gray.isel(t=chosen, y=box[1], x=box[2]), marks

    def _refine(
        self,
        cross: NetworkSegmenter,
        grays: list[xr.DataArray],
        hand: Sequence[HandLabels],
        held: set[tuple[int, int]],
        settings: TrainingSettings,
        judge: Callable[[Predict], dict[str, Any] | None],
        several: bool,
    ) -> None:
        """Go on on hand-labeled cross-sections alone; held-out scans are measured on, then learned from."""
        planes = [~part.in_plane for part in hand]
        trained_on = "hand-labeled cross-sections"
        found = labeled_voxels(hand, planes)
        if any(found[number] == 0 for number in cross.card_["classes"]):
            # A network cannot unlearn a phase that no cross-section shows.
            planes, trained_on = [np.ones_like(part.in_plane) for part in hand], "all hand labels"
            found = labeled_voxels(hand, planes)
        scores: list[dict[str, Any] | None] = [None]

        def seen(network: NetworkSegmenter) -> None:
            scores.append(judge(partial(labels_in, network)))
            if self.validated is not None:
                self.validated(network)

        marks = [part.where(chosen) for part, chosen in zip(hand, planes, strict=True)]
        self.network_ = NetworkSegmenter(
            self.phases_,
            **self.options,
            training=settings,
            validation=sorted({pair[0 if several else 1] for pair in held}) if held else False,
            start=cross,
            progress=self._report,
            validated=seen if held else None,
        ).fit(grays if several else grays[0], marks if several else marks[0])
        self._tell(
            "refine",
            trained_on,
            int(found.sum()),
            steps=settings.steps,
            loss=self.network_.history_[-1]["loss"],
            held_out=scores[-1],
        )
        self.metrics_ = self.network_.metrics_
        self.card_ = {**self.network_.card_, "history": self.history_}

    def _tell(
        self,
        stage: str,
        trained_on: str,
        hand_voxels: int,
        pseudo_voxels: int = 0,
        *,
        steps: int = 0,
        loss: float | None = None,
        held_out: dict[str, Any] | None = None,
        **more: str,
    ) -> None:
        entry = {"stage": stage, **more, "trained_on": trained_on, "hand_voxels": hand_voxels}
        self.history_.append(
            {**entry, "pseudo_voxels": pseudo_voxels, "steps": steps, "loss": loss, "held_out": held_out}
        )

    def predict(self, image: Any) -> xr.DataArray:
        """Label every voxel; see :meth:`NetworkSegmenter.predict`."""
        return self._refined().predict(image)

    def predict_probability(self, image: Any) -> xr.DataArray:
        """Probability of every phase in every voxel; see :meth:`NetworkSegmenter.predict_probability`."""
        return self._refined().predict_probability(image)

    def _refined(self) -> NetworkSegmenter:
        if not hasattr(self, "network_"):
            raise not_fitted("IterativeSegmenter")
        return self.network_

    def save(self, path: str | Path) -> None:
        """Write a folder with ``card.json`` and the refined network in ``network``."""
        network = self._refined()
        with written_whole(path) as folder:
            learn.save_model(folder, {"kind": KIND, "format": _FORMAT, "history": self.history_})
            network.save(folder / _NETWORK)

    @classmethod
    def load(cls, path: str | Path, *, block: Sequence[int] = (192, 192, 192), device: str = "auto") -> Self:
        """Read what :meth:`save` wrote.

        Raises
        ------
        FileError
            Where a part is absent or broken.
        """
        card = learn.load_card(path, kind=KIND)
        if card.get("format") != _FORMAT or not isinstance(card.get("history"), list):
            raise FileError(
                f"{path}: the card must be of format {_FORMAT} with a history, got {card.get('format')!r}. Save again."
            )
        network = NetworkSegmenter.load(Path(path) / _NETWORK, block=block, device=device)
        segmenter = cls(network.phases_, network=network.network, block=block, device=device, seed=network.seed)
        segmenter.network_, segmenter.phases_ = network, network.phases_
        segmenter.history_, segmenter.metrics_ = card["history"], network.metrics_
        segmenter.card_ = {**network.card_, "history": card["history"]}
        return segmenter
