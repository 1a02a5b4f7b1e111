"""Label maps to images by a conditional GAN on pairs (pix2pix, Isola et al. 2017).

Fitted on target images and their label maps (few true ones, or pseudo-labels), it renders the source's label maps: a
labelled, target-looking set whose labels are exact. Dropout is the noise, when rendering too. Differences: the map
goes in as one channel for each class instead of colours, and ignored pixels are zero in all of them; the generator
takes its turn first and the discriminator sees the fakes of that turn, as everywhere in this library.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field

from uda.core.config import Config
from uda.core.lazy import lazy_import
from uda.core.training import OptimizerConfig, ScheduleConfig
from uda.nets import sizes
from uda.translators._domains import domain_images, domain_labels, made_once
from uda.translators._maps import domain_maps, one_hot
from uda.translators.base import AbstractTranslator, Direction, Least, Setting, Translation, TranslatorConfigBase

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from uda.data.batch import Batch, Context
    from uda.losses import consistency, gan
    from uda.nets import patchgan, unet_translation
else:
    torch = lazy_import("torch")
    consistency, gan = lazy_import("uda.losses.consistency"), lazy_import("uda.losses.gan")
    patchgan, unet_translation = lazy_import("uda.nets.patchgan"), lazy_import("uda.nets.unet_translation")

PATCH_LAYERS: Mapping[int | str, int] = {1: 0, 16: 1, 70: 3, "full": 5}
"""Convolutions of stride 2 by the side of the discriminator's patch; `full` is the paper's 286, all of its images."""


class Pix2pixWeights(Config):
    """Weight of each term; 0 switches it off."""

    gan: float = Field(default=1.0, ge=0)
    """Adversarial loss of the generator (paper)."""
    l1: float = Field(default=100.0, ge=0)
    """L1 of the image made of a map and the map's own image, over all pixels, ignored ones too (paper: 100)."""
    discriminator: float = Field(default=0.5, ge=0)
    """Adversarial loss of the discriminator, real and fake summed, hence halved (paper)."""


class Pix2pixConfig(TranslatorConfigBase):
    """Settings of `pix2pix`."""

    name: str = "pix2pix"
    """Name of the method."""
    width: int = Field(default=64, ge=1)
    """Channels after the generator's first convolution (paper)."""
    levels: int = Field(default=8, ge=2)
    """Halvings of the image down to the generator's bottleneck; heights and widths must be divisible by 2 ** levels
    (paper: 8, for 256 pixels)."""
    norm: Literal["batch", "instance"] = "batch"
    """`batch`: statistics of the batch in hand when it is fitted, and of the one image when it renders (paper), where
    that is the same as instance norm; `instance`: of each image in both."""
    dropout: float = Field(default=0.5, ge=0, lt=1)
    """Part of the features that is dropped after the three innermost upward convolutions (paper and the
    authors' Lua code; their PyTorch code spares the innermost and takes the next three); 0 makes it deterministic."""
    conditional: bool = True
    """Whether the discriminator sees the map beside the image; false is the paper's unconditional variant."""
    patch: Literal[1, 16, 70, "full"] = 70
    """Side in pixels of what each output of the discriminator sees (paper: 70)."""
    discriminator_width: int = Field(default=64, ge=1)
    """Channels after the discriminator's first convolution (paper)."""
    gan_loss: Literal["bce", "lsgan"] = "bce"
    """Non-saturating cross-entropy (paper) or least squares."""
    weights: Pix2pixWeights = Pix2pixWeights()
    """Weights of the loss terms."""
    optimizers: Mapping[str, OptimizerConfig] = {
        "generator": OptimizerConfig(lr=2e-4, betas=(0.5, 0.999)),
        "discriminator": OptimizerConfig(lr=2e-4, betas=(0.5, 0.999)),
    }
    """Adam, the same for both players (paper)."""
    schedule: ScheduleConfig = ScheduleConfig(name="linear_tail", constant=0.5)
    """Constant for the first half, then linearly to 0 (authors' PyTorch code; the paper states no decay)."""

    @classmethod
    def tiny(cls) -> Self:
        """Settings for tests."""
        return cls(width=4, levels=3, patch=16, discriminator_width=4)


class Pix2pix(AbstractTranslator):
    """A U-Net makes images of label maps, a patch discriminator judges image and map together."""

    Config = Pix2pixConfig
    needs = "pairs"
    translates = "label"

    def __init__(self, config: Pix2pixConfig, setting: Setting) -> None:
        self.config, self._classes = config, setting.num_classes
        generator = unet_translation.UnetGenerator(
            setting.num_classes, config.width, config.levels, config.norm, config.dropout
        )
        channels = 3 + (setting.num_classes if config.conditional else 0)
        discriminator = patchgan.PatchDiscriminator(
            channels, config.discriminator_width, PATCH_LAYERS[config.patch], config.norm
        )
        self.networks: Mapping[str, nn.Module] = {
            "generator": patchgan.initialise_gan(generator),
            "discriminator": patchgan.initialise_gan(discriminator),
        }

    @classmethod
    def multiple_of(cls, config: Pix2pixConfig) -> int:
        """The U-Net halves so often."""
        return 1 << config.levels

    @classmethod
    def smallest(cls, config: Pix2pixConfig, *, batch: int | None = None) -> Least:
        """Where it is fitted one patch of the discriminator must find room."""
        if batch is None:
            return Least()
        return Least(sizes.patch_side(PATCH_LAYERS[config.patch]), instead="choose a smaller translator.patch")

    @classmethod
    def varies(cls, config: Pix2pixConfig) -> bool:
        """Dropout stays on when it renders."""
        return config.dropout > 0

    @classmethod
    def one_by_one(cls, config: Pix2pixConfig) -> bool:
        """Batch norm has the statistics of the images in hand (paper: of one)."""
        return cls.varies(config) or config.norm == "batch"

    def losses(self, player: str, batch: Batch, context: Context) -> dict[str, Tensor]:
        """Terms of one turn on the target's pairs; see `Pix2pixWeights`.

        Raises:
            DataError: no target images, or no label maps of them.
        """
        images = domain_images(batch, "target", method="pix2pix")["target"]
        maps = self._maps(batch, "target")
        if player == "discriminator":
            return {"discriminator": self._discriminator(images, maps, context)}
        weights, terms = self.config.weights, {}
        fake = self.networks["generator"](maps)
        context.made["fake_target"] = fake.detach()
        if weights.gan:
            terms["gan"] = gan.generator_loss(self.config.gan_loss, self._judged(fake, maps))
        if weights.l1:
            terms["l1"] = consistency.l1(fake, images)
        return terms

    def translate(
        self, batch: Batch, *, generator: torch.Generator, direction: Direction = "source_to_target"
    ) -> Translation:
        """Images of the source's label maps, with the noise that `generator` draws; source images are not looked at.

        Raises:
            DataError: the batch has no source label maps.
        """
        made = self.networks["generator"](self._maps(batch, "source"), generator)
        return Translation(made, domain_labels(batch, "source"))

    def _discriminator(self, images: Tensor, maps: Tensor, context: Context) -> Tensor:
        """Loss on real pairs and on fakes, in batches of their own: batch norm must not mix them."""
        fake = made_once(context, "fake_target", lambda: self.networks["generator"](maps))
        kind = self.config.gan_loss
        real_loss = gan.discriminator_loss(kind, self._judged(images, maps), real=True)
        return real_loss + gan.discriminator_loss(kind, self._judged(fake, maps), real=False)

    def _judged(self, images: Tensor, maps: Tensor) -> Tensor:
        """The discriminator's raw outputs on images, with their maps where it is conditional."""
        seen = torch.cat([maps, images], dim=1) if self.config.conditional else images
        raw: Tensor = self.networks["discriminator"](seen)
        return raw

    def _maps(self, batch: Batch, domain: str) -> Tensor:
        """One-hot maps_BNHW of a domain's labels."""
        return one_hot(domain_maps(batch, domain, method="pix2pix")[domain], self._classes)
