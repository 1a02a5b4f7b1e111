"""Label maps to images by adversarial supervision alone: a discriminator that segments (OASIS, Schoenfeld et al. 2021).

Fitted on target images with label maps, it renders the source's maps: a labelled set that looks like the target. The
maps are joined to 64 channels of noise, by which one map gives many images. Unknown pixels (255) are a class of their
own to the generator, as in the authors' 35 channels for Cityscapes, and count for nothing in the discriminator's N
classes; `fake` is its last channel. Differences to the authors' code: see `uda.losses.label_mix` for LabelMix; the
discriminator sees the fakes of the generator's turn (theirs makes them anew); batch norm takes one process's images;
averaged weights start as a plain mean (`uda.nets.ema.ramped`), and their statistics are estimated once, before
rendering, from the source's maps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field

from uda.core.config import Config
from uda.core.lazy import lazy_import
from uda.core.training import OptimizerConfig, ScheduleConfig
from uda.translators import _layouts, _random, _segmented
from uda.translators._domains import made_once
from uda.translators.base import Setting, TranslatorConfigBase

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from uda.data.batch import Batch, Context
    from uda.losses import n_plus_one
    from uda.nets import oasis_discriminator, segmenter, spade_resnet, spectral
    from uda.nets.blocks import Draw
else:
    torch, n_plus_one = lazy_import("torch"), lazy_import("uda.losses.n_plus_one")
    oasis_discriminator = lazy_import("uda.nets.oasis_discriminator")
    spade_resnet, spectral = lazy_import("uda.nets.spade_resnet"), lazy_import("uda.nets.spectral")

NoiseMode = Literal["global", "local", "class"]


class OasisWeights(Config):
    """Weight of each term; 0 switches it off."""

    gan: float = Field(default=1.0, ge=0)
    """The generator's images segmented into their label maps, classes balanced (paper, eq. 2)."""
    discriminator_real: float = Field(default=1.0, ge=0)
    """Real images segmented into their label maps, classes balanced (paper, eq. 1)."""
    discriminator_fake: float = Field(default=1.0, ge=0)
    """Made images called fake on every pixel (paper, eq. 1)."""
    label_mix: float = Field(default=10.0, ge=0)
    """Logits of a mixed image like the mix of logits (authors' code: 10, Cityscapes 5)."""


class OasisConfig(TranslatorConfigBase):
    """Settings of `oasis`; where the authors' code has other values for Cityscapes they are named."""

    name: str = "oasis"
    """Name of the method."""
    width: int = Field(default=64, ge=1)
    """Channels before the generator's last convolution (authors' code)."""
    noise_channels: int = Field(default=64, ge=1)
    """Channels of noise joined to the label map (paper)."""
    noise_std: float = Field(default=1.0, ge=0)
    """Standard deviation of that noise (paper: 1). Z such numbers are sqrt(Z) long, where a map's one-hot is 1:
    in short fits noise then counts for more than classes. A fitted translator may render with less than it was fitted
    with, for surer images that are more alike (truncation, Brock et al. 2019)."""
    noise: NoiseMode = "global"
    """What is drawn anew when rendering: one vector for the whole image, as in training (paper), one for each pixel
    (`local`), or one for each class of the map (`class`)."""
    noise_classes: tuple[int | str, ...] = ()
    """Classes, by name or index, whose regions alone are drawn anew when rendering; all else keeps one fixed vector,
    the same for all images, so that several `samples` differ there and nowhere else (paper, fig. 1). Empty: all."""
    grain: bool = False
    """The generator gets noise of each pixel's own at its last three sizes, as strong as it learns, for textures that
    maps do not have (not from the paper)."""
    spade_hidden: int = Field(default=128, ge=1)
    """Channels between SPADE's convolutions (authors' code)."""
    norm: Literal["batch", "instance"] = "batch"
    """What SPADE modulates (authors' code: synchronised batch norm)."""
    init_gain: float = Field(default=0.02, gt=0)
    """Gain of the first weights (authors' code). Short fits want 1: short weights turn too far in
    each step, and spectral norm keeps them no longer than they need be."""
    discriminator_width: int = Field(default=64, ge=1)
    """Channels before the discriminator's last convolution (authors' code)."""
    ema: float | None = Field(default=0.9999, ge=0, lt=1)
    """Decay, by iteration, of averaged weights that then render (paper; authors' code for Cityscapes: 0.999); None
    renders with the weights as they are."""
    statistics_batches: int = Field(default=50, ge=0)
    """Batches from which averaged weights get batch norm's statistics anew (authors' code)."""
    weights: OasisWeights = OasisWeights()
    """Weights of the loss terms."""
    optimizers: Mapping[str, OptimizerConfig] = {
        "generator": OptimizerConfig(lr=1e-4, betas=(0.0, 0.999)),
        "discriminator": OptimizerConfig(lr=4e-4, betas=(0.0, 0.999)),
    }
    """Adam with two time scales (authors' code; its generator's rate for Cityscapes: 4e-4)."""
    schedule: ScheduleConfig = ScheduleConfig(name="constant")
    """A constant rate (authors' code)."""

    def unread(self) -> dict[str, str]:
        """What noise is drawn for, where there is none."""
        drawn = () if self.noise_std else ("noise", "noise_classes")
        return super().unread() | dict.fromkeys(drawn, "translator.noise_std is 0")

    @classmethod
    def tiny(cls) -> Self:
        """Settings for tests."""
        return cls(width=4, noise_channels=4, spade_hidden=8, discriminator_width=4, ema=0.9, statistics_batches=2)


class Oasis(_segmented.AbstractNoisyLayoutTranslator):
    """Generator, its averaged copy, and a discriminator that is a segmenter."""

    Config = OasisConfig
    needs = "pairs"

    def __init__(self, config: OasisConfig, setting: Setting) -> None:
        self.config = config
        self._classes = setting.num_classes
        self._redrawn = _redrawn(config, setting)
        self.networks: Mapping[str, nn.Module] = self._oasis_networks(grain=config.grain)

    @classmethod
    def check_classes(cls, config: OasisConfig, setting: Setting) -> None:
        """All of `OasisConfig.noise_classes` must be of the label space."""
        _redrawn(config, setting)

    def losses(self, player: str, batch: Batch, context: Context) -> dict[str, Tensor]:
        """Terms of one turn; see `OasisWeights`."""
        images, labels = _layouts.target_pairs(batch, method="oasis")
        active = [self.networks[name] for name in dict.fromkeys(("discriminator", player))]
        with spectral.weights_once(active):
            if player == "discriminator":
                return self._discriminator_terms(images, labels, context)
            if not self.config.weights.gan:
                return {}
            fake = self._make(labels)
            context.made["fake"] = fake.detach()
            return {"gan": n_plus_one.labelled_loss(self.networks["discriminator"](fake), labels)}

    def segmenter_network(self) -> tuple[dict[str, Any], segmenter.SegmenterNetwork]:
        """The discriminator as a segmenter of its own.

        Returns:
            Settings of the registered segmenter that its state fits, and a frozen copy in eval mode: images_BCHW in
            [-1, 1] -> logits_BNHW over the N classes, `fake` left out.
        """
        return _segmented.as_segmenter(self.networks["discriminator"], self.config.discriminator_width)

    def _rendering_condition(self, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Noise as `OasisConfig.noise` says, and layout, joined."""
        channels = self.config.noise_channels
        field = noise_field(labels, self._classes, channels, self.config.noise, generator)
        if self._redrawn:
            kept = _random.draw((1, channels, 1, 1), torch.Generator().manual_seed(0), labels.device)
            anew = torch.isin(labels, torch.tensor(self._redrawn, device=labels.device)).unsqueeze(1)
            field = torch.where(anew, field, kept)
        return torch.cat([self.config.noise_std * field, spade_resnet.label_layout(labels, self._classes)], dim=1)

    def _rendering_grain(self, generator: torch.Generator) -> Draw:
        """The same for every image where the regions of some classes alone are drawn anew."""
        return _random.repeating if self._redrawn else super()._rendering_grain(generator)

    def _discriminator_terms(self, images: Tensor, labels: Tensor, context: Context) -> dict[str, Tensor]:
        fake = made_once(context, "fake", lambda: self._make(labels))
        weights = dict(self.config.weights)
        return _segmented.segmenting_turn(
            self.networks["discriminator"], (images, labels), fake, self._classes, weights
        )


def _redrawn(config: OasisConfig, setting: Setting) -> list[int]:
    return [setting.class_index(one, "translator.noise_classes") for one in config.noise_classes]


def noise_field(
    labels_BHW: Tensor, num_classes: int, channels: int, mode: NoiseMode, generator: torch.Generator | None = None
) -> Tensor:
    """Standard normal noise for every pixel of a label map (the paper's 3D noise).

    Args:
        labels_BHW: class indices, 255 = unknown, which is a region like any class.
        num_classes: N.
        channels: Z.
        mode: `global`: one vector for each image; `local`: one for each pixel; `class`: one for each class of each
            image, on all its pixels.
        generator: where it is drawn; None for PyTorch's own.

    Returns:
        noise_BZHW, float32.
    """
    batch, height, width = labels_BHW.shape
    device = labels_BHW.device
    if mode == "local":
        return _random.draw((batch, channels, height, width), generator, device)
    if mode == "global":
        drawn = _random.draw((batch, channels, 1, 1), generator, device)
        return drawn.expand(batch, channels, height, width)
    table_BLZ = _random.draw((batch, num_classes + 1, channels), generator, device)
    images_B11 = torch.arange(batch, device=device)[:, None, None]
    return table_BLZ[images_B11, labels_BHW.clamp(max=num_classes)].permute(0, 3, 1, 2)
