"""Train a network on windows of sparse annotations."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any

from operando.core.errors import InputError, nearest, require
from operando.core.phases import UNLABELED
from operando.learn.sampling import PatchSampler, Window
from operando.learn.sections import Sections

Progress = Callable[[int, int, float], Any]


@dataclass(frozen=True)
class TrainingSettings:
    """How a network is trained.

    Parameters
    ----------
    steps : int
        Gradient steps.
    batch : int
        Patches per step.
    learning_rate : float
        Peak of the one-cycle schedule.
    weight_decay : float
        Of AdamW.
    dice : float
        Share of the soft Dice loss beside cross entropy, from 0 to 1.
    balance : float
        Exponent of the inverse class frequency in the weights of cross entropy; 0 = none.
    average : float
        Decay of the running average of the weights that is kept in the end.
    half : bool
        Compute in bfloat16.
    """

    steps: int = 600
    batch: int = 8
    learning_rate: float = 4e-3
    weight_decay: float = 1e-4
    dice: float = 0.3
    balance: float = 0.0
    average: float = 0.98
    half: bool = False

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1 or self.learning_rate <= 0 or not 0 <= self.dice <= 1:
            raise InputError(
                "TrainingSettings: steps and batch must be at least 1, learning_rate positive and dice in [0, 1], got "
                f"{asdict(self)}. Leave out what you do not need to set."
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain form for JSON."""
        return asdict(self)


TRAININGS: dict[str, TrainingSettings] = {
    "default": TrainingSettings(),
    "long": TrainingSettings(steps=3000),
    "huang2023": TrainingSettings(steps=3000, learning_rate=1e-3, weight_decay=0.0, dice=0.0, average=0.0),
}
"""Settings by name. ``huang2023`` has the paper's loss and optimizer: cross entropy, Adam (AdamW without decay), the
last weights. The paper stops after an hour or after ten evaluations without improvement; here the number of steps is
fixed, so that a result can be repeated."""


def training_settings(name: str | TrainingSettings) -> TrainingSettings:
    """Settings of that name, or the settings themselves.

    Raises
    ------
    InputError
        Where there is no such name.

    Examples
    --------
    >>> training_settings("huang2023").dice
    0.0
    """
    if isinstance(name, TrainingSettings):
        return name
    if name not in TRAININGS:
        raise InputError(f"training_settings: there are no settings {name!r}. {nearest(str(name), TRAININGS)}")
    return TRAININGS[name]


def train(
    network: Any,
    windows: list[Window],
    *,
    classes: int,
    sections: Sections,
    settings: TrainingSettings | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[dict[str, float]]:
    """Fit a network to annotated voxels; unlabeled ones count for nothing.

    Parameters
    ----------
    network : torch.nn.Module
        Trained in place, left in evaluation mode with the averaged weights.
    windows : list of Window
        From :func:`operando.learn.draw_windows`.
    classes : int
        Outputs of the network.
    sections : Sections
        What it reads.
    settings : TrainingSettings, optional
    seed : int
        Of the patches; the same seed, data and number of threads give the same weights.
    progress : callable, optional
        Called as ``progress(step, steps, loss)``.

    Returns
    -------
    list of dict
        ``step`` and ``loss``, the mean over about a fiftieth of the steps.

    Notes
    -----
    Loss: cross entropy over annotated voxels, blended with soft Dice over the same voxels.
    """
    torch = require("torch", extra="learn", purpose="Training a network")
    settings = settings or TrainingSettings()
    sampler = PatchSampler(windows, classes=classes, sections=sections, seed=seed)
    device = next(network.parameters()).device
    weights = torch.tensor(_class_weights(sampler, settings.balance), dtype=torch.float32, device=device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=settings.learning_rate, total_steps=settings.steps + 1, pct_start=0.15
    )
    averaged = {name: value.detach().clone() for name, value in network.state_dict().items()}
    history: list[dict[str, float]] = []
    interval = max(1, settings.steps // 50)
    recent = 0.0
    network.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for step in range(1, settings.steps + 1):
            gray, target = sampler.batch(settings.batch)
            inputs = torch.from_numpy(gray).to(device, memory_format=torch.channels_last)
            labels = torch.from_numpy(target).long().to(device)
            with torch.autocast(device.type, torch.bfloat16) if settings.half else nullcontext():
                logits = network(inputs)
            loss = _loss(torch, logits.float(), labels, weights, settings.dice)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            decay = min(settings.average, step / (step + 10))
            with torch.no_grad():
                for name, value in network.state_dict().items():
                    if value.dtype.is_floating_point:
                        averaged[name].lerp_(value, 1 - decay)
                    else:
                        averaged[name].copy_(value)
            value_of_loss = float(loss.detach())
            recent += value_of_loss
            if progress is not None:
                progress(step, settings.steps, value_of_loss)
            if step % interval == 0:
                history.append({"step": step, "loss": recent / interval})
                recent = 0.0
    network.load_state_dict(averaged)
    network.eval()
    return history


def _class_weights(sampler: PatchSampler, exponent: float) -> list[float]:
    counts = sampler.voxels_per_class.astype(float)
    present = counts > 0
    weights = counts.copy()
    weights[present] = (counts[present] / counts[present].sum()) ** -exponent
    weights[present] /= weights[present].mean()
    return [float(weight) for weight in weights]


def _loss(torch: Any, logits: Any, labels: Any, weights: Any, dice: float) -> Any:
    entropy = torch.nn.functional.cross_entropy(logits, labels, weight=weights, ignore_index=UNLABELED)
    if dice == 0:
        return entropy
    known = labels != UNLABELED
    chances = torch.softmax(logits, dim=1).movedim(1, -1)[known]
    truth = torch.nn.functional.one_hot(labels[known], logits.shape[1]).to(chances.dtype)
    size = truth.sum(0)
    overlap = (2 * (chances * truth).sum(0) + 1) / (chances.sum(0) + size + 1)
    return (1 - dice) * entropy + dice * (1 - overlap[size > 0].mean())
