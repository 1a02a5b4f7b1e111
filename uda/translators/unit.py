"""Unpaired translation through one shared latent space (UNIT, Liu et al. 2017): coupled VAE-GANs.

Each domain has an encoder and a decoder; the encoders' last residual blocks and the decoders' first ones are shared.
The latent code is normal with unit variance around what the encoder says: training adds noise to it, rendering does
not. Networks, weights and losses are those of the authors' later code (in the manner of MUNIT) for GTA5 to Cityscapes;
that code shares no blocks, and their first one, as the paper, shares one of four on either side. Differences: no VGG
term (theirs wants converted VGG16 weights, which cannot be had any more); the generators take their turn first and the
discriminators see the fakes of that turn (theirs draws new noise for it); layer norm as in `uda.nets.blocks`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from uda.core.lazy import lazy_import
from uda.core.training import OptimizerConfig, ScheduleConfig
from uda.nets import sizes
from uda.translators import _random
from uda.translators._domains import (
    OTHER,
    add_terms,
    content_levels,
    discriminator_turn,
    domain_images,
    domain_labels,
    from_domain,
)
from uda.translators._guided import GuidedWeightsBase, check_guide, symmetric_ce
from uda.translators.base import AbstractTranslator, Direction, Least, Setting, Translation, TranslatorConfigBase

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from uda.data.batch import Batch, Context
    from uda.losses import consistency, multiscale
    from uda.nets import blocks, init, patch_discriminator, translation
    from uda.nets.blocks import Draw
else:
    torch, nn = lazy_import("torch"), lazy_import("torch.nn")
    consistency, multiscale = lazy_import("uda.losses.consistency"), lazy_import("uda.losses.multiscale")
    blocks, init, translation = (lazy_import(f"uda.nets.{name}") for name in ("blocks", "init", "translation"))
    patch_discriminator = lazy_import("uda.nets.patch_discriminator")


class UnitWeights(GuidedWeightsBase):
    """Weight of each term, summed over the two directions; 0 switches it off. From the authors' later code."""

    gan: float = Field(default=1.0, ge=0)
    """Least-squares loss of the generators, summed over scales (paper: cross-entropy with weight 10)."""
    reconstruction: float = Field(default=10.0, ge=0)
    """L1 of an image and its reconstruction within its own domain, from the noisy code (paper: 100)."""
    kl: float = Field(default=0.01, ge=0)
    """Divergence of the codes of real images from the prior, see `divergence` (paper: 0.1)."""
    cycle: float = Field(default=10.0, ge=0)
    """L1 of an image and its translation there and back (paper: 100)."""
    kl_cycle: float = Field(default=0.01, ge=0)
    """The same divergence of the codes of translations (paper: 0.1)."""
    discriminator: float = Field(default=1.0, ge=0)
    """Least-squares loss of the discriminators, summed over scales."""


class UnitConfig(TranslatorConfigBase):
    """Settings of `unit`; defaults from the authors' later code for GTA5 to Cityscapes."""

    name: str = "unit"
    """Name of the method."""
    width: int = Field(default=64, ge=1)
    """Channels at full resolution; the latent code has four times as many (authors' code)."""
    residual_blocks: int = Field(default=4, ge=0)
    """Residual blocks from image to code, and from code to image (authors' code)."""
    shared_blocks: int = Field(default=1, ge=0)
    """How many of them the domains share on either side, next to the code (authors' first code: 1; their later code
    shares none)."""
    discriminator_width: int = Field(default=64, ge=1)
    """Channels after a discriminator's first convolution (authors' code)."""
    discriminator_layers: int = Field(default=4, ge=1)
    """Convolutions of stride 2 in each discriminator (authors' code)."""
    discriminator_scales: int = Field(default=3, ge=1)
    """Scales looked at (authors' code)."""
    discriminator_details: float = Field(default=0.0, ge=0)
    """Where it is not 0, the discriminators' scales but the last see an image's fine details alone, so many times as
    strong (not from the paper)."""
    encoder_norm: bool = True
    """Instance norm in the encoders (authors' code). It takes brightness and contrast away; short fits do better
    without."""
    skips: bool = False
    """Decoders see the encoder's features at full and half size too, beside the code that the domains share, for fits
    that are too short to pass all details through the noisy code (not from the paper)."""
    residual: bool = False
    """Decoders retouch their image instead of painting a whole one, so that edges stay (not from the paper)."""
    noise: bool = False
    """Translations get noise inside the decoders, for textures that their input lacks; without it there is nothing but
    patterns for them (not from the paper)."""
    weights: UnitWeights = UnitWeights()
    """Weights of the loss terms."""
    optimizers: Mapping[str, OptimizerConfig] = {
        "generator": OptimizerConfig(lr=1e-4, betas=(0.5, 0.999), weight_decay=1e-4),
        "discriminator": OptimizerConfig(lr=1e-4, betas=(0.5, 0.999), weight_decay=1e-4),
    }
    """Adam, the same for both players (authors' code)."""
    schedule: ScheduleConfig = ScheduleConfig(name="step", step=0.1, gamma=0.5)
    """Half the rate after every tenth of the run (authors' code: 100,000 of 1,000,000 iterations)."""

    @model_validator(mode="after")
    def _shared_blocks_are_there(self) -> Self:
        if self.shared_blocks > self.residual_blocks:
            raise ValueError(f"shared_blocks: there are only {self.residual_blocks} residual_blocks to share")
        return self

    @model_validator(mode="after")
    def _details_are_looked_at(self) -> Self:
        if self.discriminator_scales == 1:
            self.require_default("discriminator_scales is 1", "discriminator_details")
        return self

    @classmethod
    def tiny(cls) -> Self:
        """Settings for tests."""
        return cls(
            width=4,
            residual_blocks=2,
            discriminator_width=4,
            discriminator_layers=2,
            discriminator_scales=2,
            weights=UnitWeights(symmetric_ce=0.2),
        )


class Unit(AbstractTranslator):
    """`encoder_DOMAIN` and `encoder_shared` give the code's mean, `decoder_shared` and `decoder_DOMAIN` images.

    Raises:
        ConfigError: no guide where the symmetric cross-entropy needs one.
    """

    Config = UnitConfig
    needs = "unpaired"
    size_multiple = 4
    directions = ("source_to_target", "target_to_source")

    def __init__(self, config: UnitConfig, setting: Setting) -> None:
        self.config = config
        check_guide(self, setting, "translator.weights.symmetric_ce 0")
        self._setting = setting
        own, channels = config.residual_blocks - config.shared_blocks, 4 * config.width
        networks: dict[str, nn.Module] = {}
        for domain in OTHER:
            networks[f"encoder_{domain}"] = translation.ContentEncoder(config.width, own, norm=config.encoder_norm)
            networks[f"decoder_{domain}"] = translation.Decoder(
                config.width, own, noise=config.noise, skips=config.skips, residual=config.residual
            )
            networks[f"discriminator_{domain}"] = patch_discriminator.MultiScaleDiscriminator(
                config.discriminator_width,
                config.discriminator_layers,
                config.discriminator_scales,
                details=config.discriminator_details,
            )
        for part in ("encoder", "decoder"):
            shared = [blocks.ResidualBlock(channels) for _ in range(config.shared_blocks)]
            networks[f"{part}_shared"] = nn.Sequential(*shared)
        for name, network in networks.items():
            init.initialise(network, "normal" if name.startswith("discriminator") else "kaiming")
        self.networks: Mapping[str, nn.Module] = networks

    @classmethod
    def smallest(cls, config: UnitConfig, *, batch: int | None = None) -> Least:
        """Where it is fitted the discriminators need more than the others."""
        if batch is None:
            return Least(sizes.CONTENT_SIDE)
        side = sizes.scales_side(config.discriminator_layers, config.discriminator_scales)
        return Least(
            max(sizes.CONTENT_SIDE, side), instead="lower translator.discriminator_layers or discriminator_scales"
        )

    def losses(self, player: str, batch: Batch, context: Context) -> dict[str, Tensor]:
        """Terms of one turn, each summed over both directions; see `UnitWeights`."""
        images = domain_images(batch, *OTHER, method="unit")
        if player == "discriminator":
            turn = discriminator_turn(self.networks, images, context, lambda domain: self._fake(domain, images[domain]))
            return {"discriminator": turn}
        terms: dict[str, Tensor] = {}
        for domain in OTHER:
            add_terms(terms, self._one_way(domain, images[domain], context))
        return terms

    def translate(
        self, batch: Batch, *, generator: torch.Generator, direction: Direction = "source_to_target"
    ) -> Translation:
        """The mean of the code, without noise (authors' code), and with the decoder's where it has any."""
        domain = from_domain(direction)
        images = domain_images(batch, domain, method="unit")[domain]
        levels = self._encode(domain, images)
        made = self._decode(OTHER[domain], images, levels, _random.drawing(generator))
        return Translation(made, domain_labels(batch, domain))

    def _one_way(self, domain: str, images: Tensor, context: Context) -> dict[str, Tensor]:
        """The generators' terms of translating one domain's images to the other domain and back."""
        weights, there, terms = self.config.weights, OTHER[domain], {}
        levels = self._encode(domain, images)
        drawn = _with_noise(levels)
        fake = self._decode(there, images, drawn, _random.drawing())
        context.made[f"fake_{there}"] = fake.detach()
        if weights.gan:
            discriminator = self.networks[f"discriminator_{there}"]
            terms["gan"] = multiscale.multiscale_generator_loss("lsgan", discriminator, fake)
        if weights.reconstruction:
            terms["reconstruction"] = consistency.l1(self._decode(domain, images, drawn), images)
        if weights.kl:
            terms["kl"] = divergence(levels[-1])
        if weights.cycle or weights.kl_cycle:
            back = self._encode(there, fake)
        if weights.cycle:
            terms["cycle"] = consistency.l1(self._decode(domain, fake, _with_noise(back)), images)
        if weights.kl_cycle:
            terms["kl_cycle"] = divergence(back[-1])
        if weights.symmetric_ce:
            terms["symmetric_ce"] = symmetric_ce(self._setting, domain, images, fake)
        return terms

    def _encode(self, domain: str, images: Tensor) -> list[Tensor]:
        """The encoder's levels, full size first, and last the mean of the code."""
        *levels, deepest = content_levels(self.networks[f"encoder_{domain}"], images)
        return [*levels, self.networks["encoder_shared"](deepest)]

    def _decode(self, domain: str, images: Tensor, levels: list[Tensor], draw: Draw | None = None) -> Tensor:
        """Images, by their levels with the code at the end, as images of `domain`."""
        deepest, decoder = self.networks["decoder_shared"](levels[-1]), self.networks[f"decoder_{domain}"]
        decoded: Tensor = decoder(deepest, skips=levels[:-1], image=images, draw=draw)
        return decoded

    def _fake(self, domain: str, images: Tensor) -> Tensor:
        levels = _with_noise(self._encode(domain, images))
        return self._decode(OTHER[domain], images, levels, _random.drawing())


def _with_noise(levels: list[Tensor]) -> list[Tensor]:
    return [*levels[:-1], noisy(levels[-1])]


def noisy(mean_BCHW: Tensor) -> Tensor:
    """A draw from the normal distribution of unit variance around a code's mean, by PyTorch's own generator."""
    return mean_BCHW + torch.randn_like(mean_BCHW)


def divergence(mean_BCHW: Tensor) -> Tensor:
    """Twice the Kullback-Leibler divergence of N(mean, 1) from N(0, 1), averaged over the code: the mean square.

    The factor is the authors' (their code leaves the half out); it is what their weights belong to. Float32, >= 0.
    """
    return mean_BCHW.float().square().mean()
