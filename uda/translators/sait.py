"""Semantically adaptive translation: the segmenter's logits modulate the generator (Musto & Zinelli 2020).

Two coupled GANs over a shared content space; every norm of a generator's residual blocks is denormalised pixel by pixel
(SPADE) by what the frozen segmenter says of the input, and a symmetric cross-entropy keeps that prediction through the
translation. Networks as in the paper's appendix B. The text at hand lost the loss weights, learning rates and betas:
each such setting says where its value is taken from. Differences: SPADE's modulations, which depend on generator and
guidance alone, are computed once for reconstruction and cycle (same numbers); both sides of a discriminator's turn
take the fakes of the generator's turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from uda.core.config import Config
from uda.core.lazy import lazy_import
from uda.core.training import OptimizerConfig, ScheduleConfig
from uda.nets import sizes
from uda.translators import _averages, _random
from uda.translators._domains import (
    OTHER,
    add_terms,
    content_levels,
    discriminator_turn,
    domain_images,
    domain_labels,
    from_domain,
    made_once,
)
from uda.translators._guided import check_guide
from uda.translators.base import AVERAGED, Direction, Least, Setting, Translation, TranslatorConfigBase

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from uda.data.batch import Batch, Context
    from uda.losses import consistency, multiscale
    from uda.nets import init, patch_discriminator, spectral, translation
    from uda.nets.blocks import Draw, Modulation
else:
    torch = lazy_import("torch")
    consistency, multiscale = lazy_import("uda.losses.consistency"), lazy_import("uda.losses.multiscale")
    init, spectral = lazy_import("uda.nets.init"), lazy_import("uda.nets.spectral")
    patch_discriminator = lazy_import("uda.nets.patch_discriminator")
    translation = lazy_import("uda.nets.translation")


class SaitWeights(Config):
    """Weight of each term; 0 switches it off. Not from the paper: its values are lost, these are MUNIT's for streets.

    All are summed over the two directions.
    """

    gan: float = Field(default=1.0, ge=0)
    """Least-squares loss of the generators, summed over scales (MUNIT: 1)."""
    reconstruction: float = Field(default=10.0, ge=0)
    """L1 of an image and its reconstruction within its own domain (MUNIT: 10)."""
    image_cycle: float = Field(default=10.0, ge=0)
    """L1 of an image and its translation there and back (MUNIT's street scenes: 10)."""
    latent_cycle: float = Field(default=1.0, ge=0)
    """L1 of an image's content and its translation's (MUNIT: 1)."""
    symmetric_ce: float = Field(default=1.0, ge=0)
    """Cross-entropy both ways of the guide's predictions before and after (not from the paper, nor from MUNIT, which
    has none: as much as the adversarial term)."""
    discriminator: float = Field(default=1.0, ge=0)
    """Least-squares loss of the discriminators (MUNIT: 1)."""


class SaitConfig(TranslatorConfigBase):
    """Settings of `sait`."""

    name: str = "sait"
    """Name of the method."""
    width: int = Field(default=64, ge=1)
    """Channels at full resolution; the content has four times as many (paper)."""
    encoder_blocks: int = Field(default=4, ge=0)
    """Residual blocks of each encoder (paper)."""
    generator_blocks: int = Field(default=4, ge=1)
    """Modulated residual blocks of each generator (paper)."""
    guidance: bool = True
    """SPADE from the guide's logits; false leaves plain instance norm (the paper's ablation)."""
    spade_hidden: int = Field(default=128, ge=1)
    """Channels between SPADE's two convolutions (SPADE; not from the paper)."""
    spade_spectral_norm: bool = True
    """Spectral norm on SPADE's convolutions too (the paper: on "all the models"; SPADE itself has none there)."""
    discriminator_width: int = Field(default=64, ge=1)
    """Channels after a discriminator's first convolution (paper)."""
    discriminator_layers: int = Field(default=4, ge=1)
    """Convolutions of stride 2 in each discriminator (paper)."""
    discriminator_scales: int = Field(default=3, ge=1)
    """Scales looked at (paper)."""
    discriminator_spectral_norm: bool = True
    """Spectral norm in the discriminators (paper)."""
    encoder_norm: bool = True
    """Instance norm in the encoders (paper). It takes brightness and contrast away, which the rest has to find again:
    without it a short fit reconstructs twice as well, and with `skips` four times."""
    skips: bool = False
    """Generators see the encoder's features at full and half size too: details need not be learnt to pass the content,
    for which short fits have no time (not from the paper)."""
    residual: bool = False
    """Generators retouch their image instead of painting a whole one, so that edges stay (not from the paper)."""
    noise: bool = False
    """Translations get noise inside the generators, for textures that their input lacks (not from the paper)."""
    discriminator_details: float = Field(default=0.0, ge=0)
    """Where it is not 0, the discriminators' scales but the last see an image's fine details alone, so many times as
    strong: faint textures are learnt in fewer steps (not from the paper)."""
    discriminator_guidance: bool = False
    """The discriminators see the guide's probabilities behind an image, those of its original behind a translation:
    looks are held against each other class by class (not from the paper; SG-GAN's and SemGAN's see maps too)."""
    cycle_guide: Literal["source", "translated"] = "source"
    """What guides the way back of the cycle: logits on the original image or on its translation (not stated)."""
    log_floor: float = Field(default=1e-4, gt=0, lt=1)
    """Least probability within the reverse cross-entropy's logarithm (Wang et al. 2019; not from the paper)."""
    ema: float | None = Field(default=None, ge=0, lt=1)
    """Decay, by iteration, of averaged weights that then render; None renders with the weights as they are (paper)."""
    weights: SaitWeights = SaitWeights()
    """Weights of the loss terms."""
    optimizers: Mapping[str, OptimizerConfig] = {
        "generator": OptimizerConfig(lr=1e-4, betas=(0.0, 0.9)),
        "discriminator": OptimizerConfig(lr=4e-4, betas=(0.0, 0.9)),
    }
    """Adam with two time scales (paper); rates and betas are SPADE's, not from the paper (its values are lost)."""
    schedule: ScheduleConfig = ScheduleConfig(name="poly", power=0.9)
    """Polynomial decay (paper, over 1,000,000 iterations at batch 1); the exponent is lost, 0.9 is the field's."""

    @model_validator(mode="after")
    def _all_is_read(self) -> Self:
        if not self.guidance:
            self.require_default("guidance is false", "cycle_guide", "spade_spectral_norm")
        if not self.weights.symmetric_ce:
            self.require_default("weights.symmetric_ce is 0", "log_floor")
        if self.discriminator_scales == 1:
            self.require_default("discriminator_scales is 1", "discriminator_details")
        return self

    def unread(self) -> dict[str, str]:
        """SPADE's width, where there is none."""
        return {} if self.guidance else {"spade_hidden": "translator.guidance is false"}

    @classmethod
    def tiny(cls) -> Self:
        """Settings for tests."""
        return cls(
            width=4,
            encoder_blocks=1,
            generator_blocks=1,
            spade_hidden=8,
            discriminator_width=4,
            discriminator_layers=2,
            discriminator_scales=2,
        )


class Sait(_averages.AbstractAveragedTranslator):
    """An encoder, generator, SPADE and discriminator of its own for each domain; either encoder fits either generator.

    Raises:
        ConfigError: no guide where guidance or the symmetric cross-entropy needs one.
    """

    Config = SaitConfig
    needs = "unpaired"
    size_multiple = 4
    directions = ("source_to_target", "target_to_source")
    _averaged: ClassVar[tuple[str, ...]] = ("encoder", "generator", "spade")

    def __init__(self, config: SaitConfig, setting: Setting) -> None:
        self.config = config
        remedy = "translator.guidance and .discriminator_guidance false and translator.weights.symmetric_ce 0"
        check_guide(self, setting, remedy)
        self._setting = setting
        networks: dict[str, nn.Module] = {}
        for domain in OTHER:
            networks |= {f"{part}_{domain}": network for part, network in _networks(config, setting).items()}
        if config.ema is not None:
            _averages.add_averages(networks, [name for name in networks if name.startswith(self._averaged)])
        self.networks: Mapping[str, nn.Module] = networks

    @classmethod
    def smallest(cls, config: SaitConfig, *, batch: int | None = None) -> Least:
        """Where it is fitted the discriminators need more than the others."""
        if batch is None:
            return Least(sizes.CONTENT_SIDE)
        side = sizes.scales_side(config.discriminator_layers, config.discriminator_scales)
        return Least(
            max(sizes.CONTENT_SIDE, side), instead="lower translator.discriminator_layers or discriminator_scales"
        )

    @classmethod
    def requires_guide(cls, config: SaitConfig) -> bool:
        """The modulation, the symmetric cross-entropy, and discriminators that see maps need logits."""
        return config.guidance or config.discriminator_guidance or config.weights.symmetric_ce > 0

    @classmethod
    def renders_guided(cls, config: SaitConfig) -> bool:
        """The modulation."""
        return config.guidance

    def losses(self, player: str, batch: Batch, context: Context) -> dict[str, Tensor]:
        """Terms of one turn, each summed over both directions; see `SaitWeights`."""
        images = domain_images(batch, *OTHER, method="sait")
        active = self._of("discriminator") + (self._of("generator") if player == "generator" else [])
        with spectral.weights_once(active):
            if player == "discriminator":
                return {"discriminator": self._discriminators(images, context)}
            terms: dict[str, Tensor] = {}
            for domain in OTHER:
                add_terms(terms, self._one_way(domain, images[domain], context))
            return terms

    def translate(
        self, batch: Batch, *, generator: torch.Generator, direction: Direction = "source_to_target"
    ) -> Translation:
        """One image gives one translation, but for the noise that `generator` draws. Averaged weights render."""
        domain = from_domain(direction)
        images = domain_images(batch, domain, method="sait")[domain]
        made = self._render(domain, images, self._guidance(domain, images), generator=generator)
        return Translation(made, domain_labels(batch, domain))

    def swap_guidance(self, batch: Batch) -> Translation | None:
        """Source image i under the logits of image i + 1 (the paper's appendix C)."""
        images = domain_images(batch, "source", method="sait")["source"]
        with torch.no_grad():
            logits = self._guidance("source", images)
            if logits is None:
                return None
            return Translation(self._render("source", images, logits.roll(-1, dims=0)), batch.source_labels_BHW)

    def _of(self, player: str) -> list[nn.Module]:
        prefixes = ("discriminator",) if player == "discriminator" else self._averaged
        return [network for name, network in self.networks.items() if name.startswith(prefixes)]

    def _discriminators(self, images: Mapping[str, Tensor], context: Context) -> Tensor:
        logits = {domain: self._real_logits(domain, images[domain], context) for domain in OTHER}
        real = {domain: self._judged(images[domain], logits[domain]) for domain in OTHER}

        def fake(domain: str) -> Tensor:
            made = self._render(domain, images[domain], logits[domain], averaged=False)
            return self._judged(made, logits[domain])

        return discriminator_turn(self.networks, real, context, fake)

    def _judged(self, images: Tensor, logits: Tensor | None) -> Tensor:
        """What a discriminator sees: images, and behind them the guide's probabilities where the settings say so."""
        if not self.config.discriminator_guidance:
            return images
        assert logits is not None  # the settings ask for a guide
        return torch.cat([images, logits.float().softmax(1).to(images.dtype)], dim=1)

    def _one_way(self, domain: str, images: Tensor, context: Context) -> dict[str, Tensor]:
        """The generators' terms of translating one domain's images to the other domain and back."""
        weights, there, terms = self.config.weights, OTHER[domain], {}
        generate, generate_there = self.networks[f"generator_{domain}"], self.networks[f"generator_{there}"]
        logits = self._real_logits(domain, images, context)
        own = self._modulations(domain, logits)

        levels = content_levels(self.networks[f"encoder_{domain}"], images)
        fake = _decode(generate_there, images, levels, self._modulations(there, logits), _random.drawing())
        judged = self._judged(fake, logits)
        context.made[f"fake_{there}"] = judged.detach()
        if weights.reconstruction:
            terms["reconstruction"] = consistency.l1(_decode(generate, images, levels, own), images)
        if weights.gan:
            discriminator = self.networks[f"discriminator_{there}"]
            terms["gan"] = multiscale.multiscale_generator_loss("lsgan", discriminator, judged)

        guided_back = self.config.guidance and self.config.cycle_guide == "translated" and weights.image_cycle > 0
        guide_there = self._setting.guide_of(there)
        fake_logits = guide_there(fake) if guide_there and (weights.symmetric_ce or guided_back) else None
        if weights.image_cycle or weights.latent_cycle:
            back = content_levels(self.networks[f"encoder_{there}"], fake)
        if weights.image_cycle:
            way_back = self._modulations(domain, fake_logits) if guided_back else own
            terms["image_cycle"] = consistency.l1(_decode(generate, fake, back, way_back), images)
        if weights.latent_cycle:
            terms["latent_cycle"] = consistency.l1(back[-1], levels[-1])
        if weights.symmetric_ce and logits is not None and fake_logits is not None:
            floor = self.config.log_floor
            terms["symmetric_ce"] = consistency.symmetric_cross_entropy(logits, fake_logits, floor)
        return terms

    def _real_logits(self, domain: str, images: Tensor, context: Context) -> Tensor | None:
        """The guide's logits on real images, once an iteration; None where nothing needs them."""
        guide = self._setting.guide_of(domain)
        if not self.requires_guide(self.config) or guide is None:
            return None
        return made_once(context, f"logits_{domain}", partial(guide, images))

    def _guidance(self, domain: str, images: Tensor) -> Tensor | None:
        guide = self._setting.guide_of(domain)
        return guide(images) if guide and self.config.guidance else None

    def _modulations(self, domain: str, logits: Tensor | None, prefix: str = "") -> list[Modulation] | None:
        if logits is None or not self.config.guidance:
            return None
        made: list[Modulation] = self.networks[f"{prefix}spade_{domain}"](logits)
        return made

    def _render(
        self,
        domain: str,
        images: Tensor,
        logits: Tensor | None,
        *,
        averaged: bool = True,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        there, prefix = OTHER[domain], AVERAGED if averaged and self.config.ema is not None else ""
        encoder, decoder = self.networks[f"{prefix}encoder_{domain}"], self.networks[f"{prefix}generator_{there}"]
        spade = [self.networks[name] for name in (f"{prefix}spade_{there}",) if name in self.networks]
        with spectral.weights_once([encoder, decoder, *spade]):
            levels, modulations = content_levels(encoder, images), self._modulations(there, logits, prefix)
            return _decode(decoder, images, levels, modulations, _random.drawing(generator))


def _decode(
    decoder: nn.Module,
    images: Tensor,
    levels: list[Tensor],
    modulations: list[Modulation] | None,
    draw: Draw | None = None,
) -> Tensor:
    """Images' levels as images; without `draw` no noise comes in, as what they should look like is known."""
    made: Tensor = decoder(levels[-1], modulations, skips=levels[:-1], image=images, draw=draw)
    return made


def _networks(config: SaitConfig, setting: Setting) -> dict[str, nn.Module]:
    """The networks of one domain, initialised, with spectral norm on their convolutions."""
    blocks, noise, skips, residual = config.generator_blocks, config.noise, config.skips, config.residual
    made: dict[str, nn.Module] = {
        "encoder": translation.ContentEncoder(config.width, config.encoder_blocks, norm=config.encoder_norm),
        "generator": translation.Decoder(config.width, blocks, noise=noise, skips=skips, residual=residual),
    }
    if config.guidance:
        channels, norms = 4 * config.width, 2 * config.generator_blocks
        made["spade"] = translation.SpadeMaps(setting.num_classes, config.spade_hidden, channels, norms)
    made["discriminator"] = patch_discriminator.MultiScaleDiscriminator(
        config.discriminator_width,
        config.discriminator_layers,
        config.discriminator_scales,
        details=config.discriminator_details,
        maps=setting.num_classes if config.discriminator_guidance else 0,
    )
    normalised = {"spade": config.spade_spectral_norm, "discriminator": config.discriminator_spectral_norm}
    for name, network in made.items():
        init.initialise(network, "normal" if name == "discriminator" else "kaiming")
        if normalised.get(name, True):
            spectral.spectral_normalise(network)
    return made
