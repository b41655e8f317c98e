"""A residual U-Net that learns phases from sparse annotations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import xarray as xr

from operando import learn
from operando.core.errors import FileError, InputError, PhaseError
from operando.core.phases import PhaseScheme
from operando.core.provenance import record, versions
from operando.learn.networks import NetworkDesign
from operando.learn.sections import Sections
from operando.learn.training import TrainingSettings
from operando.segmentation.contract import as_image, as_series, label_image, not_fitted, probability_image
from operando.segmentation.fitted import FittedNetwork, blockwise
from operando.segmentation.held_out import held_out_voxels, measured, sampled_logits
from operando.segmentation.material import Series, differs, gather_series, judged_series, voxel_size, windows_of
from operando.segmentation.split import Split, choose_split

KIND = "operando.segmentation.NetworkSegmenter"
_FORMAT = 1
_THICK = 8  # voxels along z from which an image is a volume with cross-sections through z
_REFRESH = 0.5  # share of the steps that the network then trains on all annotations
_SPARSE = 0.5  # share of unlabeled voxels in annotated slices from which on they are strokes, not slices
_NORMALIZATION = (
    "per scan: (gray - mean) / standard deviation of the voxels between the 0.5 and 99.5 percentiles "
    "of about 131,000 voxels in whole columns along z"
)


class NetworkSegmenter:
    """Phases of a cell by a residual U-Net trained on sparse annotations.

    Parameters
    ----------
    phases : PhaseScheme or mapping of str to int, optional
        Names and ids of the phases. Default: the values annotated, named ``class_0, class_1, ...``.
    network : str or NetworkDesign
        ``"small"`` (0.4 M parameters, trains in about a minute on two cores), ``"huang2023"`` (the
        seven levels of the paper), ``"dixit2020"`` (a resnet34 encoder) or numbers of your own.
    planes : "auto" or sequence of str
        Cross-sections that are read: of ``"zx", "zy", "yx"``. Auto: ``("zx", "zy")`` for a volume, so
        that place between the electrodes is in view, and ``("yx",)`` where z is thinner than 8 voxels.
        A network fitted in the plane yx on single images reads a volume slice by slice.
    context : int
        Neighboring slices read on either side of a section; 0 where there are none in the fit.
    overlap : float
        Fraction of a patch that its neighbor shares.
    symmetries : int
        Mirror images of each patch whose logits are averaged in prediction: 1, 2 or 4. Prediction
        takes that many times as long; what it gains is in docs/segmentation.md.
    training : TrainingSettings or str, optional
        Steps, learning rate and so on, or a name in :data:`operando.learn.training.TRAININGS`:
        ``"default"``, ``"long"`` (five times the steps), ``"huang2023"`` (the paper's loss and optimizer).
    windows : int
        Cross-sections held in memory for training, at most (up to 1.3 MB each).
    validation : bool or sequence of int
        Hold out annotations to measure and calibrate the network before it is trained on, with
        everything annotated: whole series where three or more are given, else scans (or, where none
        can be spared, a part of each). A sequence says which scans; which series, where several are
        given. False: train once on everything, no metrics.
    block : three ints
        Largest block (z, y, x) in voxels that is predicted at a time. Memory grows with it.
    device : str
        ``"cpu"``, ``"cuda"``, or ``"auto"``: a GPU where torch sees one.
    seed : int
        Of weights and patches. Same seed, data, versions and number of threads give the same network
        on a CPU.
    start : NetworkSegmenter, optional
        Fitted with the same phases, network and planes: training goes on from its weights.
    progress : callable, optional
        Called as ``progress(step, steps, loss)`` while training.
    validated : callable, optional
        Called once as ``validated(segmenter)`` while series, scans or given annotations are held out: the segmenter
        can predict and has not seen them yet, so that anything may be measured on them.

    Attributes
    ----------
    phases_ : PhaseScheme
        What the labels mean.
    history_ : list of dict
        ``step``, ``loss`` and ``stage`` (``"validation"``, then ``"final"``).
    metrics_ : dict
        On held-out annotations: ``iou`` per phase (None where a phase is absent), ``macro``, Huang's
        ``total``, ``accuracy``, ``voxels``; ``calibration_error`` and ``volume_ratio`` per phase
        (predicted over annotated voxels), each also ``_before`` calibration; ``expected_volume_ratio``
        (sum of the probabilities over annotated voxels); and
        ``reliability``: ``before`` and ``after``, of ``all`` and of each phase, the columns of
        :func:`operando.learn.reliability`. Empty where nothing was held out.
    card_ : dict
        What is saved beside the weights: data, split, classes, voxel size, preprocessing, metrics,
        training, versions.

    Notes
    -----
    One network reads the cross-sections zx and zy with two neighbors on either side and the relative
    depth as inputs; x and y are exchangeable in a cell, z is not. Logits are averaged over
    overlapping patches and both planes before the softmax (Huang et al. 2023, Supplementary Note 1).

    ``metrics_`` belong to a network that never saw the held-out scans; the network kept has then seen
    them too, and is on average a little better. They are about the annotated voxels: honest on whole
    slices, flattering on strokes and points, which keep away from borders. Where only one scan is
    annotated the split is by place within it, which flatters as well; the card says so. Annotations that are given
    to ``fit`` as ``validation`` are never trained on, so ``metrics_`` are then those of the network that is kept.

    Strokes and points give thin phases as many voxels as thick ones. How frequent the phases are in
    the annotated scans is therefore estimated from all of their voxels, and the logits are shifted by
    it (:func:`operando.learn.prior_shift`), or volumes of thin phases would come out too large. Whole
    slices hold the phases as they are: there the labels, not the probabilities, get a shift that brings
    the volumes on held-out slices nearer to those annotated (:func:`operando.learn.volume_shift`).

    Do not trust it on cells whose electrodes lie elsewhere along z, whose plating side is the other
    one, or whose voxel size differs much from the card's: annotate a few slices there and fit again.

    Examples
    --------
    Train a little on two gray levels, of which three rows of voxels are annotated:

    >>> rng = np.random.default_rng(0)
    >>> truth = np.zeros((16, 16, 16), np.uint8)
    >>> truth[8:] = 1
    >>> marks = np.full_like(truth, 255)
    >>> marks[:, ::6] = truth[:, ::6]
    >>> settings = TrainingSettings(steps=20)
    >>> segmenter = NetworkSegmenter({"electrolyte": 0, "electrode": 1}, training=settings, validation=False)
    >>> labels = segmenter.fit(truth + 0.1 * rng.normal(size=truth.shape), marks).predict(truth.astype(float))
    >>> labels.dims, labels.dtype
    (('z', 'y', 'x'), dtype('uint8'))
    """

    phases_: PhaseScheme
    history_: list[dict[str, Any]]
    metrics_: dict[str, Any]
    card_: dict[str, Any]

    def __init__(
        self,
        phases: PhaseScheme | Mapping[str, int] | None = None,
        *,
        network: str | NetworkDesign = "small",
        planes: str | Sequence[str] = "auto",
        context: int = 2,
        overlap: float = 0.25,
        symmetries: int = 1,
        training: TrainingSettings | str | None = None,
        windows: int = 400,
        validation: bool | Sequence[int] = True,
        block: Sequence[int] = (192, 192, 192),
        device: str = "auto",
        seed: int = 0,
        start: NetworkSegmenter | None = None,
        progress: Callable[[int, int, float], Any] | None = None,
        validated: Callable[[NetworkSegmenter], Any] | None = None,
    ) -> None:
        self.phases = None if phases is None else PhaseScheme.of(phases)
        self.network = learn.network_design(network)
        self.planes = planes
        self.context = context
        self.overlap = overlap
        self.symmetries = symmetries
        self.training = learn.training_settings(training or "default")
        self.windows = windows
        self.validation = validation
        self.block = tuple(int(size) for size in block)
        self.device = device
        self.seed = seed
        self.start = start
        self.progress = progress
        self.validated = validated
        if len(self.block) != 3 or min(self.block) < 1 or windows < 1:
            raise InputError(
                "NetworkSegmenter: block must be three positive sizes and windows at least 1, got "
                f"{self.block} and {windows}. The defaults are (192, 192, 192) and 400."
            )

    def fit(self, images: Any, annotations: Any, *, validation: Any = None) -> Self:
        """Train on annotated voxels of one cell or of several.

        Parameters
        ----------
        images : DataArray or array, dims ([t], [z], y, x), or a list of them
            Gray values on any scale; each scan is normalized by itself. A list holds one series per
            cell, of any shape but of one voxel size.
        annotations : DataArray or array of uint8, same shape, or a list of as many
            Ids of phases, 255 = unlabeled. A few whole cross-sections, strokes or points.
        validation : as ``annotations``, optional
            Annotations to measure and calibrate on that are never trained on, such as the second result of
            :func:`operando.segmentation.slice_split`. They take the place of what the constructor's ``validation``
            says. No voxel may be in both.

        Returns
        -------
        NetworkSegmenter
            Itself.

        Raises
        ------
        InputError, AxesError, PhaseError
            Where images and annotations do not fit each other or the phases, fewer than two phases
            are annotated, or a voxel is annotated for training and for validation.

        Notes
        -----
        Reads lazy images around the annotated slices only. Holds at most ``windows`` cross-sections,
        the same share of each series. The planes that are read are those of the first.
        """
        where = "NetworkSegmenter.fit"
        material, scheme = gather_series(images, annotations, self.phases, where=where)
        per_phase = sum(series.counts.per_scan.sum(axis=0) for series in material)
        ids = [number for number in scheme.ids if per_phase[number]]
        sections = self._sections_for(material[0].gray.shape[1:])
        judged = None if validation is None else judged_series(images, validation, material, scheme, ids, where=where)
        split = self._split(material, ids) if judged is None else Split("given")

        network = learn.build_network(
            self.network, in_channels=sections.in_channels, classes=len(ids), seed=self.seed, device=self.device
        )
        if self.start is not None:
            self._go_on(self.start, network, ids, sections)
        stages: list[tuple[str, TrainingSettings, Split]] = [("final", self.training, split)]
        if split.kind not in ("none", "given"):
            refresh = replace(
                self.training,
                steps=max(1, round(_REFRESH * self.training.steps)),
                learning_rate=self.training.learning_rate / 2,
            )
            stages = [("validation", self.training, split), ("final", refresh, Split("none"))]
        total = sum(settings.steps for _, settings, _ in stages)
        self._fitted = fitted = FittedNetwork(
            network, sections, scheme, ids, shift=np.zeros(len(ids)), volume_shift=np.zeros(len(ids))
        )
        self.phases_, self.history_, self.metrics_ = scheme, [], {}
        done, counted = 0, False
        for name, settings, without in stages:
            windows = windows_of(
                material,
                set(without.held),
                without.training_region,
                ids=ids,
                sections=sections,
                limit=self.windows,
                seed=self.seed,
            )
            history = learn.train(
                network,
                windows,
                classes=len(ids),
                sections=sections,
                settings=settings,
                seed=self.seed,
                progress=partial(self._report, done, total),
            )
            done += settings.steps
            self.history_.extend({**entry, "stage": name} for entry in history)
            sampler = learn.PatchSampler(windows, classes=len(ids), sections=sections, seed=self.seed)
            sparse = sampler.sparsity()
            held = None
            if without.kind != "none":
                held = held_out_voxels(fitted, material if judged is None else judged, without, seed=self.seed)
            if held is not None and sparse <= _SPARSE:
                fitted.volume_shift = learn.volume_shift(held.logits, held.classes, units=held.units)
                counted = True
            elif not counted:
                # Whole slices hold the phases as they are; the less of a slice is labeled, the less they do.
                logits = sampled_logits(fitted, material, seed=self.seed)
                fitted.shift = sparse * learn.prior_shift(logits, sampler.fractions())
            if held is not None:
                # Strokes keep away from borders and so cannot show doubt: they never make it surer.
                surest = 1.0 if sparse > _SPARSE else 0.5
                fitted.temperature = max(surest, learn.fit_temperature(held.logits + fitted.shift, held.classes))
                self.metrics_ = measured(fitted, held)
            self.card_ = self._card(material, split)
            if without.kind in ("series", "scan", "given") and self.validated is not None:
                self.validated(self)
        return self

    def _go_on(self, start: NetworkSegmenter, network: Any, ids: list[int], sections: Sections) -> None:
        """Take over the weights of the segmenter that training starts from."""
        there = getattr(start, "_fitted", None)
        if there is None:
            raise not_fitted("NetworkSegmenter: start")
        if there.ids != ids or there.sections.planes != sections.planes or start.network != self.network:
            raise InputError(
                f"NetworkSegmenter.fit: start must know the classes {ids}, the planes {sections.planes} and the same "
                f"network, got {there.ids}, {there.sections.planes}. Fit it on annotations of every phase, or leave "
                "start out."
            )
        network.load_state_dict(there.network.state_dict())

    def _report(self, done: int, total: int, step: int, _steps: int, loss: float) -> None:
        if self.progress is not None:
            self.progress(done + step, total, loss)

    def _split(self, material: Sequence[Series], ids: Sequence[int]) -> Split:
        if isinstance(self.validation, bool):
            counts = [series.counts for series in material]
            return choose_split(counts, ids=ids) if self.validation else Split("none", reason="validation=False")
        several = len(material) > 1
        pairs = [(number, scan) for number, series in enumerate(material) for scan in series.annotated]
        known = {number if several else scan for number, scan in pairs}
        named = {int(number) for number in self.validation}
        if not named or not named < known:
            what = "series" if several else "scans"
            raise InputError(
                f"NetworkSegmenter.fit: validation must name some of the annotated {what} and leave at least one, got "
                f"{list(self.validation)} of {sorted(known)}. True chooses them."
            )
        held = frozenset(pair for pair in pairs if pair[0 if several else 1] in named)
        return Split("series" if several else "scan", held=held)

    def _sections_for(self, shape: Sequence[int]) -> Sections:
        if isinstance(self.planes, str) and self.planes != "auto":
            planes: tuple[str, ...] = (self.planes,)
        elif self.planes != "auto":
            planes = tuple(self.planes)
        elif shape[0] < _THICK:
            planes = ("yx",)
        else:
            wide = [plane for plane in ("zx", "zy") if shape[learn.PLANES[plane][1]] >= _THICK]
            planes = tuple(wide) or ("zx",)
        # A single slice has no neighbors: a network trained on copies of it would not know real ones.
        known = [plane for plane in planes if plane in learn.PLANES]
        context = self.context if all(shape[learn.PLANES[plane][2]] > 1 for plane in known) else 0
        return Sections(
            planes=planes,
            context=context,
            depth="yx" not in planes,
            patch=self.network.patch,
            overlap=self.overlap,
            factor=self.network.factor,
            symmetries=self.symmetries,
        )

    def _card(self, material: Sequence[Series], split: Split) -> dict[str, Any]:
        per_phase = sum(series.counts.per_scan.sum(axis=0) for series in material)
        described = [series.describe() for series in material]
        data = described[0] if len(material) == 1 else {"series": described}
        return {
            "kind": KIND,
            "format": _FORMAT,
            "phases": self.phases_.to_dict(),
            "classes": self._fitted.ids,
            "network": self.network.to_dict(),
            "sections": self._fitted.sections.to_dict(),
            "normalization": _NORMALIZATION,
            "temperature": self._fitted.temperature,
            "shift": [float(value) for value in self._fitted.shift],
            "volume_shift": [float(value) for value in self._fitted.volume_shift],
            "voxel_size_um": voxel_size(material[0].image),
            "data": {
                **data,
                "annotated_voxels": {name: int(per_phase[self.phases_[name]]) for name in self.phases_},
                "simulated": any(entry["simulated"] for entry in described),
            },
            "split": split.describe(several=len(material) > 1),
            "metrics": self.metrics_,
            "training": {**self.training.to_dict(), "windows": self.windows, "seed": self.seed},
            "versions": versions(),
        }

    def predict(self, image: Any) -> xr.DataArray:
        """Label every voxel.

        Parameters
        ----------
        image : DataArray or array, dims ([t], [z], y, x)

        Returns
        -------
        DataArray of uint8, same dims and coordinates
            Ids of ``phases_``; 255 where the image is NaN. Lazy where the image is. ``attrs["phases"]``
            holds the scheme, and ``attrs["voxel_size_note"]`` warns of a voxel size that is not the
            card's.

        Notes
        -----
        Holds, per block of ``block`` voxels, about ``4 * classes + 16`` bytes a voxel, never the volume
        when it is lazy. Labels do not depend on the blocks or chunks.
        """
        where = "NetworkSegmenter.predict"
        prepared, series = self._prepare(image, where=where)
        labels = blockwise(
            series,
            self._fitted.block_labels,
            sections=self._fitted.sections,
            block=self.block,
            dtype=np.dtype(np.uint8),
        )
        return label_image(labels, prepared, self.phases_, **self._attrs(prepared, where))

    def predict_probability(self, image: Any) -> xr.DataArray:
        """Probability of every phase in every voxel.

        Parameters
        ----------
        image : DataArray or array, dims ([t], [z], y, x)

        Returns
        -------
        DataArray of float32, dims ([t], phase, [z], y, x)
            Sums to one over ``phase``; 0 for a phase that was never annotated, NaN where the image is
            NaN. Lazy where the image is.

        Notes
        -----
        Softmax of the averaged logits, shifted to the frequencies of the phases in the images and
        divided by the temperature fitted on held-out annotations. Labels are chosen with a further
        shift (:func:`operando.learn.volume_shift`), so in a few voxels in doubt the label is not the
        most probable phase; the sum of a phase's probability is an estimate of its volume without it.
        Calibrated for scans like those; on cells that look different it is too sure.
        """
        where = "NetworkSegmenter.predict_probability"
        prepared, series = self._prepare(image, where=where)
        chances = blockwise(
            series,
            self._fitted.block_chances,
            sections=self._fitted.sections,
            block=self.block,
            leading=(len(self.phases_),),
            dtype=np.dtype(np.float32),
        )
        return probability_image(chances, prepared, self.phases_, **self._attrs(prepared, where))

    def _prepare(self, image: Any, *, where: str) -> tuple[xr.DataArray, Any]:
        if not hasattr(self, "_fitted"):
            raise not_fitted("NetworkSegmenter")
        prepared = as_image(image, where=where)
        series = as_series(prepared)
        if self._fitted.sections.depth and series.shape[1] == 1:
            raise InputError(
                f"{where}: this network reads the planes {self._fitted.sections.planes} of a volume, got an image with "
                "one slice along z. Pass (z, y, x), or fit a segmenter with planes='yx'."
            )
        return prepared, series

    def _attrs(self, image: xr.DataArray, function: str) -> dict[str, Any]:
        attrs: dict[str, Any] = {"provenance": record(function, {"card": learn.card_digest(self.card_)})}
        here, there = voxel_size(image), self.card_["voxel_size_um"]
        if differs(here, there):
            attrs["voxel_size_note"] = f"the image has voxels of {here} um, the network was trained on {there} um"
        return attrs

    def save(self, path: str | Path) -> None:
        """Write the network to a folder: ``weights.safetensors`` and ``card.json``.

        Raises
        ------
        InputError
            Where it is not fitted yet.
        FileError
            Where the folder cannot be written.
        """
        if not hasattr(self, "_fitted"):
            raise not_fitted("NetworkSegmenter")
        learn.save_model(path, self.card_, network=self._fitted.network)

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        block: Sequence[int] = (192, 192, 192),
        symmetries: int | None = None,
        device: str = "auto",
    ) -> Self:
        """Read a saved network.

        Parameters
        ----------
        path : str or Path
            Folder that :meth:`save` wrote. Nothing in it is executed: weights are safetensors, the rest
            is JSON.
        block : three ints
            As in the constructor.
        symmetries : int, optional
            As in the constructor; default what the card says.
        device : str
            As in the constructor.

        Raises
        ------
        FileError
            Where the folder, its card or its weights are absent, broken or do not fit each other.
        """
        card = learn.load_card(path, kind=KIND)
        try:
            if card["format"] != _FORMAT:
                raise FileError(
                    f"{path}: the card must be of format {_FORMAT}, got {card['format']!r}. Update operando."
                )
            phases = PhaseScheme.from_dict(card["phases"])
            sections = Sections.from_dict(card["sections"])
            design = NetworkDesign.from_dict(card["network"])
            ids = [int(number) for number in card["classes"]]
            temperature = float(card["temperature"])
            shift = np.array(card["shift"], dtype=float)
            volume_shift = np.array(card.get("volume_shift", np.zeros(len(ids))), dtype=float)
            training = dict(card["training"])
            seed, windows = int(training.pop("seed")), int(training.pop("windows"))
            settings = TrainingSettings(**training)
            if (
                not set(ids) <= set(phases.ids)
                or len(set(ids)) != len(ids)
                or not 0.01 < temperature < 100
                or not shift.shape == volume_shift.shape == (len(ids),)
                or not np.all(np.abs([shift, volume_shift]) < 100)
            ):
                raise InputError(f"classes {ids} of {dict(phases)} with the temperature {temperature}")
            metrics = dict(card["metrics"])
        except (KeyError, TypeError, ValueError, AttributeError, PhaseError) as error:
            raise FileError(
                f"{path}: the card has a field that cannot be used ({error}). Save the model again."
            ) from error
        if symmetries is not None:
            sections = replace(sections, symmetries=symmetries)
        segmenter = cls(
            phases,
            network=design,
            planes=sections.planes,
            context=sections.context,
            overlap=sections.overlap,
            symmetries=sections.symmetries,
            training=settings,
            windows=windows,
            block=block,
            device=device,
            seed=seed,
        )
        network = learn.load_network(
            path,
            design,
            in_channels=sections.in_channels,
            classes=len(ids),
            sha256=card.get("weights_sha256"),
            device=device,
        )
        segmenter._fitted = FittedNetwork(network, sections, phases, ids, temperature, shift, volume_shift)
        segmenter.phases_, segmenter.history_, segmenter.metrics_ = phases, [], metrics
        segmenter.card_ = {key: value for key, value in card.items() if key != "weights_sha256"}
        return segmenter
