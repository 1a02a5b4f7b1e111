"""Cycle-consistent adversarial translation (CycleGAN, Zhu et al. 2017), with BDL's semantic loss as an option.

Two generators that undo each other and two 70x70 patch discriminators. BDL (Li et al. 2019) adds that the frozen
segmenter must say the same of an image, of its translation and of its reconstruction: mean squares between
instance-normalised logits. Differences: the guide's logits are compared at the images' size (BDL: at stride 8), and
where guides of both domains are given, each judges the images that look like its own (BDL has one network).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from uda.core.config import Config
from uda.core.lazy import lazy_import
from uda.core.training import OptimizerConfig, ScheduleConfig
from uda.nets import sizes
from uda.translators import _random
from uda.translators._buffer import AbstractTranslatorWithHistory, ImageBuffer
from uda.translators._domains import OTHER, add_terms, domain_images, domain_labels, from_domain, made_once
from uda.translators._guided import check_guide
from uda.translators._resnet import ResnetGeneratorConfigBase, make_generator
from uda.translators.base import Direction, Least, Setting, Translation

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from uda.data.batch import Batch, Context
    from uda.losses import consistency, multiscale
    from uda.nets import blocks, patch_discriminator, patchgan
else:
    torch = lazy_import("torch")
    consistency, multiscale = lazy_import("uda.losses.consistency"), lazy_import("uda.losses.multiscale")
    blocks, patchgan = lazy_import("uda.nets.blocks"), lazy_import("uda.nets.patchgan")
    patch_discriminator = lazy_import("uda.nets.patch_discriminator")


class CycleganWeights(Config):
    """Weight of each term, summed over the two directions; 0 switches it off."""

    gan: float = Field(default=1.0, ge=0)
    """Adversarial loss of the generators (paper)."""
    cycle: float = Field(default=10.0, ge=0)
    """L1 of an image and its translation there and back (paper)."""
    identity: float = Field(default=5.0, ge=0)
    """L1 of an image and what the generator of its own domain makes of it: half the cycle's weight (authors' code and
    BDL; the paper has it for paintings only)."""
    semantic_translation: float = Field(default=0.0, ge=0)
    """Distance of the guide's logits on an image and on its translation (BDL: 0.1); needs a guide."""
    semantic_reconstruction: float = Field(default=0.0, ge=0)
    """Distance of the guide's logits on an image and on its reconstruction (BDL: 10); needs a guide."""
    discriminator: float = Field(default=0.5, ge=0)
    """Adversarial loss of the discriminators, real and fake summed, hence halved (paper)."""


class CycleganConfig(ResnetGeneratorConfigBase):
    """Settings of `cyclegan`."""

    name: str = "cyclegan"
    """Name of the method."""
    discriminator: Literal["patch", "scales"] = "patch"
    """Patches of one size, with instance norm (paper), or MUNIT's several scales without a norm, which see colours."""
    discriminator_scales: int = Field(default=3, ge=1)
    """Of `scales`: sizes looked at (MUNIT)."""
    discriminator_details: float = Field(default=0.0, ge=0)
    """Where it is not 0, `scales` but the last see an image's fine details alone, so many times as strong, and `patch`
    sees them beside the image (not from a paper)."""
    discriminator_width: int = Field(default=64, ge=1)
    """Channels after a discriminator's first convolution (paper)."""
    discriminator_layers: int = Field(default=3, ge=1)
    """Convolutions of stride 2 in each discriminator; 3: patches of 70x70 (paper)."""
    gan_loss: Literal["lsgan", "bce"] = "lsgan"
    """Least squares (paper) or cross-entropy."""
    buffer: int = Field(default=50, ge=0)
    """Earlier fakes of each domain that the discriminators are shown too (paper)."""
    weights: CycleganWeights = CycleganWeights()
    """Weights of the loss terms."""
    optimizers: Mapping[str, OptimizerConfig] = {
        "generator": OptimizerConfig(lr=2e-4, betas=(0.5, 0.999)),
        "discriminator": OptimizerConfig(lr=2e-4, betas=(0.5, 0.999)),
    }
    """Adam, the same for both players (rate: paper; betas: authors' code)."""
    schedule: ScheduleConfig = ScheduleConfig(name="linear_tail", constant=0.5)
    """Constant for the first half, then linearly to 0 (paper: 100 + 100 epochs)."""

    @model_validator(mode="after")
    def _scales_are_looked_at(self) -> Self:
        if self.discriminator == "patch":
            self.require_default("discriminator is patch", "discriminator_scales")
        elif self.discriminator_scales == 1:
            self.require_default("discriminator_scales is 1", "discriminator_details")
        return self

    @classmethod
    def tiny(cls) -> Self:
        """Settings for tests."""
        return cls(
            width=4,
            blocks=1,
            discriminator_width=4,
            discriminator_layers=2,
            buffer=3,
            weights=CycleganWeights(semantic_translation=0.1, semantic_reconstruction=10.0),
        )


class Cyclegan(AbstractTranslatorWithHistory):
    """`generator_DOMAIN` makes images of that domain out of the other one's, `discriminator_DOMAIN` judges them.

    Raises:
        ConfigError: no guide where a semantic loss needs one.
    """

    Config = CycleganConfig
    needs = "unpaired"
    size_multiple = 4
    directions = ("source_to_target", "target_to_source")

    def __init__(self, config: CycleganConfig, setting: Setting) -> None:
        self.config = config
        remedy = "translator.weights.semantic_translation and .semantic_reconstruction 0"
        check_guide(self, setting, remedy)
        self._setting = setting
        self._buffers = {domain: ImageBuffer(config.buffer) for domain in OTHER}
        networks: dict[str, nn.Module] = {}
        for domain in OTHER:
            networks[f"generator_{domain}"] = make_generator(config)
            networks[f"discriminator_{domain}"] = _discriminator(config)
        self.networks: Mapping[str, nn.Module] = {
            name: patchgan.initialise_gan(network) for name, network in networks.items()
        }

    @classmethod
    def smallest(cls, config: CycleganConfig, *, batch: int | None = None) -> Least:
        """Where it is fitted the discriminators need more than the generators."""
        if batch is None:
            return Least(sizes.CONTENT_SIDE)
        side, lower = sizes.patch_side(config.discriminator_layers), "discriminator_layers"
        if config.discriminator == "scales":
            side = sizes.scales_side(config.discriminator_layers, config.discriminator_scales)
            lower = "discriminator_layers or discriminator_scales"
        return Least(max(sizes.CONTENT_SIDE, side), instead=f"lower translator.{lower}")

    @classmethod
    def requires_guide(cls, config: CycleganConfig) -> bool:
        """Both semantic losses ask the segmenter."""
        return config.weights.semantic_translation > 0 or config.weights.semantic_reconstruction > 0

    def losses(self, player: str, batch: Batch, context: Context) -> dict[str, Tensor]:
        """Terms of one turn, each summed over both directions; see `CycleganWeights`."""
        images = domain_images(batch, *OTHER, method="cyclegan")
        if player == "discriminator":
            return {"discriminator": self._discriminators(images, context)}
        terms: dict[str, Tensor] = {}
        for domain in OTHER:
            add_terms(terms, self._one_way(domain, images[domain], context))
        return terms

    def translate(
        self, batch: Batch, *, generator: torch.Generator, direction: Direction = "source_to_target"
    ) -> Translation:
        """One image gives one translation, but for the noise that `generator` draws."""
        domain = from_domain(direction)
        images = domain_images(batch, domain, method="cyclegan")[domain]
        made = self.networks[f"generator_{OTHER[domain]}"](images, _random.drawing(generator))
        return Translation(made, domain_labels(batch, domain))

    def _one_way(self, domain: str, images: Tensor, context: Context) -> dict[str, Tensor]:
        """The generators' terms of translating one domain's images to the other domain and back."""
        weights, there, terms = self.config.weights, OTHER[domain], {}
        make, make_back = self.networks[f"generator_{there}"], self.networks[f"generator_{domain}"]
        fake = make(images, _random.drawing())
        context.made[f"fake_{there}"] = fake.detach()
        if weights.gan:
            terms["gan"] = multiscale.multiscale_generator_loss(self.config.gan_loss, self._judge(there), fake)
        if weights.cycle or weights.semantic_reconstruction:
            back = make_back(fake)
        if weights.cycle:
            terms["cycle"] = consistency.l1(back, images)
        if weights.identity:
            terms["identity"] = consistency.l1(make_back(images), images)
        guide, guide_there = self._setting.guide_of(domain), self._setting.guide_of(there)
        if guide is None or guide_there is None or not self.requires_guide(self.config):
            return terms
        with torch.no_grad():
            logits = guide(images)
        if weights.semantic_translation:
            terms["semantic_translation"] = semantic_distance(guide_there(fake), logits)
        if weights.semantic_reconstruction:
            terms["semantic_reconstruction"] = semantic_distance(guide(back), logits)
        return terms

    def _discriminators(self, images: Mapping[str, Tensor], context: Context) -> Tensor:
        """Loss of both discriminators on real images and on fakes, new or out of the buffer."""
        losses = []
        for domain, there in OTHER.items():
            make = partial(self.networks[f"generator_{there}"], images[domain], _random.drawing())
            made = made_once(context, f"fake_{there}", make)
            fake = self._buffers[there].exchange(made)
            kind, judge = self.config.gan_loss, self._judge(there)
            losses.append(multiscale.multiscale_discriminator_loss(kind, judge, images[there], fake))
        return torch.stack(losses).sum()

    def _judge(self, domain: str) -> Callable[[Tensor], list[Tensor]]:
        """Images -> raw outputs for each scale."""
        network = self.networks[f"discriminator_{domain}"]
        return network if self.config.discriminator == "scales" else lambda images: [network(images)]


def _discriminator(config: CycleganConfig) -> nn.Module:
    width, layers = config.discriminator_width, config.discriminator_layers
    if config.discriminator == "patch":
        return patchgan.PatchDiscriminator(3, width, layers, "instance", config.discriminator_details)
    return patch_discriminator.MultiScaleDiscriminator(
        width, layers, config.discriminator_scales, details=config.discriminator_details
    )


def semantic_distance(logits_BNHW: Tensor, reference_BNHW: Tensor) -> Tensor:
    """BDL's semantic loss: mean square between logits, each class of each image brought to mean 0 and deviation 1.

    Args:
        logits_BNHW: raw logits on a translation or reconstruction.
        reference_BNHW: raw logits on the original; no gradient goes into them.
    """
    normed, wanted = (blocks.instance_norm(each.float()) for each in (logits_BNHW, reference_BNHW.detach()))
    return (normed - wanted).square().mean()
