"""Networks by name: a small residual U-Net that trains in a minute on a laptop, those of Huang 2023 and Dixit 2020."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from operando.core.errors import InputError, nearest, require

ENCODERS: dict[str, int] = {"resnet10": 512, "resnet18": 512, "resnet34": 512, "resnet50": 2048}
"""Encoders by name, with the channels that each ends with."""


@dataclass(frozen=True)
class NetworkDesign:
    """A U-Net as numbers.

    Parameters
    ----------
    channels : tuple of int
        Feature channels of each level, finest first. With an encoder: those of the decoder, and last those that the
        encoder ends with.
    strides : tuple of int
        Downsampling into each level; one fewer than ``channels`` or, as in MONAI, the finest level
        may itself be strided. With an encoder: five times 2.
    dropout : float
        Fraction of features dropped in training, in [0, 1).
    patch : tuple of int
        Rows and columns of the patches it is meant for, in voxels.
    order : str
        What follows each convolution: a permutation of N (batch normalization), D (dropout), A (PReLU). An encoder
        has its own.
    encoder : str, optional
        A residual network in :data:`ENCODERS` that replaces the descending half. Its weights start at random: none
        are downloaded.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    dropout: float = 0.0
    patch: tuple[int, int] = (160, 128)
    order: str = "NDA"
    encoder: str | None = None

    def __post_init__(self) -> None:
        if len(self.channels) < 2 or len(self.strides) != len(self.channels) - 1:
            raise InputError(
                "NetworkDesign: at least two levels and one stride fewer than levels are needed, got "
                f"channels {self.channels} and strides {self.strides}. Make strides one shorter than channels."
            )
        if min(self.channels) < 1 or not set(self.strides) <= {1, 2} or not 0 <= self.dropout < 1:
            raise InputError(
                "NetworkDesign: channels must be positive, strides 1 or 2 and dropout in [0, 1), got "
                f"{self.channels}, {self.strides}, {self.dropout}. Start from network_design('small')."
            )
        if sorted(self.order) != ["A", "D", "N"]:
            raise InputError(
                f"NetworkDesign: order must be made of the letters N, D and A, got {self.order!r}. Use 'NDA'."
            )
        if self.encoder is not None:
            if self.encoder not in ENCODERS:
                raise InputError(
                    f"NetworkDesign: there is no encoder {self.encoder!r}. {nearest(self.encoder, ENCODERS)}"
                )
            if self.strides != (2,) * 5 or self.channels[-1] != ENCODERS[self.encoder] or self.order != "NDA":
                raise InputError(
                    f"NetworkDesign: with the encoder {self.encoder!r} there are five strides of 2, the last of six "
                    f"channels is {ENCODERS[self.encoder]} and the order 'NDA', got strides {self.strides}, channels "
                    f"{self.channels} and {self.order!r}. Start from network_design('dixit2020')."
                )
        if len(self.patch) != 2 or any(size < self.factor or size % self.factor for size in self.patch):
            raise InputError(
                f"NetworkDesign: both sides of a patch must be multiples of {self.factor}, the product of the strides, "
                f"got {self.patch}. Round them up."
            )

    @property
    def factor(self) -> int:
        """Sides of an input must be multiples of this."""
        product = 1
        for stride in self.strides:
            product *= stride
        return product

    def to_dict(self) -> dict[str, Any]:
        """Plain form for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> NetworkDesign:
        """Inverse of :meth:`to_dict`."""
        rows, columns = map(int, plain["patch"])
        return cls(
            channels=tuple(map(int, plain["channels"])),
            strides=tuple(map(int, plain["strides"])),
            dropout=float(plain["dropout"]),
            patch=(rows, columns),
            order=str(plain.get("order", "NDA")),
            encoder=None if plain.get("encoder") is None else str(plain["encoder"]),
        )


NETWORKS: dict[str, NetworkDesign] = {
    "small": NetworkDesign(channels=(16, 32, 64, 128), strides=(2, 2, 2)),
    "huang2023": NetworkDesign(
        channels=(32, 64, 128, 256, 512, 512, 512),
        strides=(2, 2, 2, 2, 2, 2),
        dropout=0.2,
        patch=(512, 512),
        order="ADN",
    ),
    "dixit2020": NetworkDesign(
        channels=(16, 32, 64, 128, 256, 512), strides=(2, 2, 2, 2, 2), patch=(160, 160), encoder="resnet34"
    ),
}
"""Designs by name. ``huang2023`` is the paper's (Supplementary Note 1): seven levels of two residual blocks, each a
3 x 3 convolution, PReLU, dropout of 20 % and batch normalization in that order, patches of 512 x 512. MONAI strides
its convolutions where the paper takes the maximum of 2 x 2.

``dixit2020`` has the resnet34 encoder that the paper names (24 M parameters); decoder, patches and starting weights,
of which it says nothing, are those of MONAI's FlexibleUNet, not pretrained. What the encoder sees is at half the
resolution of the image and coarser, so features thinner than about three voxels are hard for it."""


def network_design(name: str | NetworkDesign) -> NetworkDesign:
    """Design of that name, or the design itself.

    Raises
    ------
    InputError
        Where there is no such name.

    Examples
    --------
    >>> network_design("huang2023").patch
    (512, 512)
    """
    if isinstance(name, NetworkDesign):
        return name
    if name not in NETWORKS:
        raise InputError(f"network_design: there is no network {name!r}. {nearest(str(name), NETWORKS)}")
    return NETWORKS[name]


def build_network(
    design: str | NetworkDesign, *, in_channels: int, classes: int, seed: int = 0, device: str = "cpu"
) -> Any:
    """Make an untrained network.

    Parameters
    ----------
    design : str or NetworkDesign
        A name in :data:`NETWORKS`, or numbers of your own.
    in_channels : int
        Planes of the input: neighboring slices, and depth where it is used.
    classes : int
        Planes of the output, one logit each.
    seed : int
        Of the initial weights; torch's own random state is left as it was.
    device : str
        ``"cpu"``, ``"cuda"``, ``"meta"`` (shapes without memory), or ``"auto"``: a GPU where torch
        sees one.

    Returns
    -------
    torch.nn.Module
        Maps (n, in_channels, rows, columns) to (n, classes, rows, columns); rows and columns are
        multiples of ``design.factor``.

    Raises
    ------
    MissingDependency
        Where torch or MONAI is not installed.

    Notes
    -----
    The residual U-Net of MONAI: two residual units per level, PReLU, batch normalization. Huang et
    al. (2023), Supplementary Note 1. With an encoder, MONAI's FlexibleUNet: a residual network, and a decoder of two
    3 x 3 convolutions per level after doubling by nearest neighbor. Dixit et al. (2020), doi:10.1021/acsaem.0c02053.

    Examples
    --------
    >>> network = build_network("small", in_channels=6, classes=3)
    >>> sum(p.numel() for p in network.parameters()) < 500_000
    True
    """
    torch = require("torch", extra="learn", purpose="A segmentation network")
    nets = require("monai.networks.nets", extra="learn", purpose="A segmentation network")
    numbers = network_design(design)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    # Random numbers of the CPU, so that a seed means the same weights on every device.
    with torch.random.fork_rng(devices=[]), torch.device("meta" if device == "meta" else "cpu"):
        torch.manual_seed(seed)
        shared = {"spatial_dims": 2, "in_channels": in_channels, "out_channels": classes, "dropout": numbers.dropout}
        if numbers.encoder is not None:
            network = nets.FlexibleUNet(
                **shared,
                backbone=numbers.encoder,
                pretrained=False,
                decoder_channels=numbers.channels[-2::-1],
                norm="batch",
            )
        else:
            network = nets.UNet(
                **shared,
                channels=numbers.channels,
                strides=numbers.strides,
                num_res_units=2,
                act="PRELU",
                norm="BATCH",
                adn_ordering=numbers.order,
            )
    return network if device == "meta" else network.to(device=device, memory_format=torch.channels_last)
