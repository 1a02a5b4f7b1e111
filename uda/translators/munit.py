"""Multimodal unsupervised translation by style codes (MUNIT, Huang et al. 2018): the ancestor of `sait`.

An image is a content and a style code; translation decodes its content with a style of the other domain. No segmenter
is asked but by `symmetric_ce`, which is off. Settings are those of the authors' street scenes. Differences: no VGG
term (theirs wants converted VGG16 weights, which cannot be had any more); the generators take their turn first and
the discriminators see the fakes of that turn (theirs draws new styles for it); layer norm as in `uda.nets.blocks`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, Self

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
    in_turn,
)
from uda.translators._guided import GuidedWeightsBase, check_guide, symmetric_ce
from uda.translators.base import AbstractTranslator, Direction, Least, Setting, Translation, TranslatorConfigBase

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from uda.data.batch import Batch, Context
    from uda.losses import consistency, multiscale
    from uda.nets import init, patch_discriminator, translation
    from uda.nets.blocks import Draw
else:
    torch = lazy_import("torch")
    consistency, multiscale = lazy_import("uda.losses.consistency"), lazy_import("uda.losses.multiscale")
    init, patch_discriminator = lazy_import("uda.nets.init"), lazy_import("uda.nets.patch_discriminator")
    translation = lazy_import("uda.nets.translation")


class MunitWeights(GuidedWeightsBase):
    """Weight of each term, summed over the two directions; 0 switches it off."""

    gan: float = Field(default=1.0, ge=0)
    """Least-squares loss of the generators, summed over scales."""
    reconstruction: float = Field(default=10.0, ge=0)
    """L1 of an image and its reconstruction from its own content and style."""
    style_reconstruction: float = Field(default=1.0, ge=0)
    """L1 of the drawn style and the one found in the translation."""
    content_reconstruction: float = Field(default=1.0, ge=0)
    """L1 of an image's content and its translation's."""
    image_cycle: float = Field(default=10.0, ge=0)
    """L1 of an image and its translation there and back with its own style (10 for streets, 0 in the paper)."""
    discriminator: float = Field(default=1.0, ge=0)
    """Least-squares loss of the discriminators."""


class MunitConfig(TranslatorConfigBase):
    """Settings of `munit`; defaults from the authors' configuration for street scenes."""

    name: str = "munit"
    """Name of the method."""
    width: int = Field(default=64, ge=1)
    """Channels at full resolution; the content has four times as many."""
    residual_blocks: int = Field(default=4, ge=1)
    """Residual blocks of each content encoder and of each decoder."""
    style_length: int = Field(default=8, ge=1)
    """Length of the style code."""
    style_downsamplings: int = Field(default=4, ge=0)
    """Convolutions of stride 2 in each style encoder."""
    mlp_hidden: int = Field(default=256, ge=1)
    """Width of the two hidden layers between style code and AdaIN."""
    style: Literal["prior", "reference"] = "prior"
    """Style when rendering: drawn from the normal prior, or taken from an image of the other domain."""
    discriminator_width: int = Field(default=64, ge=1)
    """Channels after a discriminator's first convolution."""
    discriminator_layers: int = Field(default=4, ge=1)
    """Convolutions of stride 2 in each discriminator."""
    discriminator_scales: int = Field(default=3, ge=1)
    """Scales looked at."""
    discriminator_details: float = Field(default=0.0, ge=0)
    """Where it is not 0, the discriminators' scales but the last see an image's fine details alone, so many times as
    strong (not from the paper)."""
    skips: bool = False
    """Decoders see the content encoder's features at full and half size too, for fits that are too short to pass all
    details through the content (not from the paper)."""
    residual: bool = False
    """Decoders retouch their image instead of painting a whole one, so that edges stay (not from the paper)."""
    noise: bool = False
    """Translations get noise inside the decoders, for textures that their input lacks; without it there is nothing but
    patterns for them (not from the paper)."""
    weights: MunitWeights = MunitWeights()
    """Weights of the loss terms."""
    optimizers: Mapping[str, OptimizerConfig] = {
        "generator": OptimizerConfig(lr=1e-4, betas=(0.5, 0.999), weight_decay=1e-4),
        "discriminator": OptimizerConfig(lr=1e-4, betas=(0.5, 0.999), weight_decay=1e-4),
    }
    """Adam, the same for both players."""
    schedule: ScheduleConfig = ScheduleConfig(name="step", step=0.1, gamma=0.5)
    """Half the rate after every tenth of the run (100,000 of 1,000,000 iterations)."""

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
            residual_blocks=1,
            style_downsamplings=2,
            mlp_hidden=8,
            discriminator_width=4,
            discriminator_layers=2,
            discriminator_scales=2,
            weights=MunitWeights(symmetric_ce=0.2),
        )


class Munit(AbstractTranslator):
    """Content encoder, style encoder, MLP, decoder and discriminator of its own for each domain.

    Raises:
        ConfigError: no guide where the symmetric cross-entropy needs one.
    """

    Config = MunitConfig
    needs = "unpaired"
    size_multiple = 4
    directions = ("source_to_target", "target_to_source")

    def __init__(self, config: MunitConfig, setting: Setting) -> None:
        self.config = config
        check_guide(self, setting, "translator.weights.symmetric_ce 0")
        self._setting = setting
        self.networks: Mapping[str, nn.Module] = {
            f"{part}_{domain}": network for domain in OTHER for part, network in _networks(config).items()
        }

    @classmethod
    def smallest(cls, config: MunitConfig, *, batch: int | None = None) -> Least:
        """Style encoders halve so often; where it is fitted the discriminators need images of some size too."""
        styles = sizes.halvings_side(config.style_downsamplings)
        if batch is None and config.style == "prior":
            return Least(sizes.CONTENT_SIDE)
        if batch is None:
            return Least(max(sizes.CONTENT_SIDE, styles), instead="set translator.style to prior")
        judged = sizes.scales_side(config.discriminator_layers, config.discriminator_scales)
        instead = "lower translator.discriminator_layers, discriminator_scales or style_downsamplings"
        return Least(max(sizes.CONTENT_SIDE, judged, styles), instead=instead)

    @classmethod
    def varies(cls, config: MunitConfig) -> bool:
        """Each render has a style of its own."""
        return True

    @classmethod
    def takes_references(cls, config: MunitConfig) -> bool:
        """Where styles are taken from images."""
        return config.style == "reference"

    def losses(self, player: str, batch: Batch, context: Context) -> dict[str, Tensor]:
        """Terms of one turn, each summed over both directions; see `MunitWeights`."""
        images = domain_images(batch, *OTHER, method="munit")
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
        """Every image with a style of its own, drawn by `generator` or taken from the other domain's image i."""
        domain = from_domain(direction)
        there, by_reference = OTHER[domain], self.config.style == "reference"
        given = domain_images(batch, domain, *([there] if by_reference else []), method="munit")
        images = given[domain]
        if by_reference:
            styles = self.networks[f"style_{there}"](in_turn(given[there], len(images)))
        else:
            size = (len(images), self.config.style_length)
            styles = _random.draw(size, generator, images.device)
        levels = content_levels(self.networks[f"content_{domain}"], images)
        made = self._decode(there, images, levels, styles, _random.drawing(generator))
        return Translation(made, domain_labels(batch, domain))

    def _one_way(self, domain: str, images: Tensor, context: Context) -> dict[str, Tensor]:
        """The generators' terms of translating one domain's images to the other domain and back."""
        weights, there, terms = self.config.weights, OTHER[domain], {}
        levels = content_levels(self.networks[f"content_{domain}"], images)
        style = self.networks[f"style_{domain}"](images)
        drawn = self._draw(images)
        fake = self._decode(there, images, levels, drawn, _random.drawing())
        context.made[f"fake_{there}"] = fake.detach()
        if weights.gan:
            discriminator = self.networks[f"discriminator_{there}"]
            terms["gan"] = multiscale.multiscale_generator_loss("lsgan", discriminator, fake)
        if weights.reconstruction:
            terms["reconstruction"] = consistency.l1(self._decode(domain, images, levels, style), images)
        if weights.style_reconstruction:
            terms["style_reconstruction"] = consistency.l1(self.networks[f"style_{there}"](fake), drawn)
        if weights.content_reconstruction or weights.image_cycle:
            back = content_levels(self.networks[f"content_{there}"], fake)
        if weights.content_reconstruction:
            terms["content_reconstruction"] = consistency.l1(back[-1], levels[-1])
        if weights.image_cycle:
            terms["image_cycle"] = consistency.l1(self._decode(domain, fake, back, style), images)
        if weights.symmetric_ce:
            terms["symmetric_ce"] = symmetric_ce(self._setting, domain, images, fake)
        return terms

    def _draw(self, images: Tensor) -> Tensor:
        """Styles of the prior by the training run's own randomness."""
        return _random.draw((len(images), self.config.style_length), None, images.device)

    def _decode(
        self, domain: str, images: Tensor, levels: list[Tensor], styles: Tensor, draw: Draw | None = None
    ) -> Tensor:
        """Images, by their levels, in a style of `domain`."""
        modulations, decoder = self.networks[f"mlp_{domain}"](styles), self.networks[f"decoder_{domain}"]
        decoded: Tensor = decoder(levels[-1], modulations, skips=levels[:-1], image=images, draw=draw)
        return decoded

    def _fake(self, domain: str, images: Tensor) -> Tensor:
        levels = content_levels(self.networks[f"content_{domain}"], images)
        return self._decode(OTHER[domain], images, levels, self._draw(images), _random.drawing())


def _networks(config: MunitConfig) -> dict[str, nn.Module]:
    """The networks of one domain, initialised."""
    blocks, norms, length = config.residual_blocks, 2 * config.residual_blocks, config.style_length
    made: dict[str, nn.Module] = {
        "content": translation.ContentEncoder(config.width, blocks),
        "style": translation.StyleEncoder(config.width, length, config.style_downsamplings),
        "decoder": translation.Decoder(
            config.width, blocks, noise=config.noise, skips=config.skips, residual=config.residual
        ),
        "mlp": translation.StyleModulations(length, config.mlp_hidden, 4 * config.width, norms),
        "discriminator": patch_discriminator.MultiScaleDiscriminator(
            config.discriminator_width,
            config.discriminator_layers,
            config.discriminator_scales,
            details=config.discriminator_details,
        ),
    }
    for name, network in made.items():
        init.initialise(network, "normal" if name == "discriminator" else "kaiming")
    return made
