"""CycleGAN that keeps edges and judges each class by itself (SG-GAN, Li et al. 2018).

Two additions: where classes meet, a translation must have gradients as strong as the image's; and the discriminators
score every class with weights of their own, masked with the label map. Maps of both domains are needed for fitting
(pseudo-labels of the target in adaptation), none for rendering. Differences: the classes are the label space's (the
authors group them into 8); generators are CycleGAN's (the authors' code has them beside a U-Net); pixels of unknown
class are left out; losses and masks as in `uda.losses.sggan` and `uda.nets.semantic_discriminator`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from uda.core.lazy import lazy_import
from uda.core.training import OptimizerConfig, ScheduleConfig
from uda.nets import sizes
from uda.translators import _random
from uda.translators._buffer import AbstractTranslatorWithHistory, ImageBuffer
from uda.translators._domains import OTHER, add_terms, domain_images, domain_labels, from_domain, made_once
from uda.translators._guided import GuidedWeightsBase, check_guide, symmetric_ce
from uda.translators._maps import domain_maps, one_hot
from uda.translators._resnet import ResnetGeneratorConfigBase, make_generator
from uda.translators.base import Direction, Least, Setting, Translation

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from uda.data.batch import Batch, Context
    from uda.losses import consistency, sggan
    from uda.nets import patchgan, semantic_discriminator
else:
    torch = lazy_import("torch")
    consistency, sggan = lazy_import("uda.losses.consistency"), lazy_import("uda.losses.sggan")
    patchgan = lazy_import("uda.nets.patchgan")
    semantic_discriminator = lazy_import("uda.nets.semantic_discriminator")


class SgganWeights(GuidedWeightsBase):
    """Weight of each term, summed over the two directions; 0 switches it off."""

    gan: float = Field(default=1.0, ge=0)
    """Least-squares loss of the generators (authors' code)."""
    cycle: float = Field(default=10.0, ge=0)
    """L1 of an image and its translation there and back (authors' code)."""
    gradient: float = Field(default=5.0, ge=0)
    """Gradient-sensitive loss of an image and its translation (authors' code)."""
    discriminator: float = Field(default=0.5, ge=0)
    """Least-squares loss of the discriminators, real and fake summed, hence halved (authors' code)."""


class SgganConfig(ResnetGeneratorConfigBase):
    """Settings of `sggan`."""

    name: str = "sggan"
    """Name of the method."""
    softness: float = Field(default=0.1, ge=0, le=1)
    """Weight beta of gradients away from the borders of classes; on them it is 1 (authors' code: 0, or 0.1 for the soft
    loss that the paper is about)."""
    discriminator_norm: Literal["instance", "none"] = "instance"
    """What follows the discriminators' middle convolutions (authors' code); without it they see brightness."""
    discriminator_details: float = Field(default=0.0, ge=0)
    """Where it is not 0, the discriminators see an image's fine details beside it, so many times as strong: faint
    textures are learnt in fewer steps (not from the paper)."""
    discriminator_width: int = Field(default=64, ge=1)
    """Channels after a discriminator's first convolution (authors' code)."""
    discriminator_layers: int = Field(default=3, ge=1)
    """Convolutions of stride 2 in each discriminator (authors' code)."""
    buffer: int = Field(default=50, ge=0)
    """Earlier fakes of each domain, with their maps, that the discriminators are shown too (authors' code)."""
    weights: SgganWeights = SgganWeights()
    """Weights of the loss terms."""
    optimizers: Mapping[str, OptimizerConfig] = {
        "generator": OptimizerConfig(lr=2e-4, betas=(0.5, 0.999)),
        "discriminator": OptimizerConfig(lr=2e-4, betas=(0.5, 0.999)),
    }
    """Adam, the same for both players (authors' code)."""
    schedule: ScheduleConfig = ScheduleConfig(name="constant")
    """Constant (authors' code as it ships: 25 epochs, and it would only fall after 100)."""

    @model_validator(mode="after")
    def _gradients_are_compared(self) -> Self:
        if not self.weights.gradient:
            self.require_default("weights.gradient is 0", "softness")
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
            weights=SgganWeights(symmetric_ce=0.2),
        )


class Sggan(AbstractTranslatorWithHistory):
    """`generator_DOMAIN` makes images of that domain out of the other one's, `discriminator_DOMAIN` judges them.

    Raises:
        ConfigError: no guide where the symmetric cross-entropy needs one.
    """

    Config = SgganConfig
    needs = "target_maps"
    size_multiple = 4
    directions = ("source_to_target", "target_to_source")

    def __init__(self, config: SgganConfig, setting: Setting) -> None:
        self.config, self._classes = config, setting.num_classes
        check_guide(self, setting, "translator.weights.symmetric_ce 0")
        self._setting = setting
        self._buffers = {domain: ImageBuffer(config.buffer) for domain in OTHER}
        networks: dict[str, nn.Module] = {}
        for domain in OTHER:
            networks[f"generator_{domain}"] = make_generator(config)
            networks[f"discriminator_{domain}"] = semantic_discriminator.SemanticDiscriminator(
                setting.num_classes,
                config.discriminator_width,
                config.discriminator_layers,
                config.discriminator_norm,
                config.discriminator_details,
            )
        self.networks: Mapping[str, nn.Module] = {
            name: patchgan.initialise_gan(network) for name, network in networks.items()
        }

    @classmethod
    def smallest(cls, config: SgganConfig, *, batch: int | None = None) -> Least:
        """Where it is fitted the discriminators need more than the generators."""
        if batch is None:
            return Least(sizes.CONTENT_SIDE)
        side = sizes.patch_side(config.discriminator_layers)
        return Least(max(sizes.CONTENT_SIDE, side), instead="lower translator.discriminator_layers")

    def losses(self, player: str, batch: Batch, context: Context) -> dict[str, Tensor]:
        """Terms of one turn, each summed over both directions; see `SgganWeights`.

        Raises:
            DataError: images or label maps of a domain are missing.
        """
        images = domain_images(batch, *OTHER, method="sggan")
        labels = domain_maps(batch, *OTHER, method="sggan")
        if player == "discriminator":
            return {"discriminator": self._discriminators(images, labels, context)}
        terms: dict[str, Tensor] = {}
        for domain in OTHER:
            add_terms(terms, self._one_way(domain, images[domain], labels[domain], context))
        return terms

    def translate(
        self, batch: Batch, *, generator: torch.Generator, direction: Direction = "source_to_target"
    ) -> Translation:
        """One image gives one translation, but for the noise that `generator` draws; no label maps are looked at."""
        domain = from_domain(direction)
        images = domain_images(batch, domain, method="sggan")[domain]
        made = self.networks[f"generator_{OTHER[domain]}"](images, _random.drawing(generator))
        return Translation(made, domain_labels(batch, domain))

    def _one_way(self, domain: str, images: Tensor, labels: Tensor, context: Context) -> dict[str, Tensor]:
        """The generators' terms of translating one domain's images to the other domain and back."""
        weights, there, terms = self.config.weights, OTHER[domain], {}
        fake = self.networks[f"generator_{there}"](images, _random.drawing())
        context.made[f"fake_{there}"] = fake.detach()
        if weights.gan:
            terms["gan"] = self._least_squares(there, fake, labels, real=True)
        if weights.cycle:
            terms["cycle"] = consistency.l1(self.networks[f"generator_{domain}"](fake), images)
        if weights.gradient:
            edges = sggan.label_edges(labels, self._classes)
            terms["gradient"] = sggan.gradient_sensitive(images, fake, edges, self.config.softness)
        if weights.symmetric_ce:
            terms["symmetric_ce"] = symmetric_ce(self._setting, domain, images, fake)
        return terms

    def _discriminators(self, images: Mapping[str, Tensor], labels: Mapping[str, Tensor], context: Context) -> Tensor:
        """Loss of both discriminators on real images and on fakes, new or out of the buffer, under their maps."""
        losses = []
        for domain, there in OTHER.items():
            make = partial(self.networks[f"generator_{there}"], images[domain], _random.drawing())
            made = made_once(context, f"fake_{there}", make)
            pair = torch.cat([made, labels[domain][:, None].float()], dim=1)
            shown = self._buffers[there].exchange(pair)
            fake, fake_labels = shown[:, :3], shown[:, 3:]
            losses.append(self._least_squares(there, images[there], labels[there], real=True))
            losses.append(self._least_squares(there, fake, fake_labels[:, 0].long(), real=False))
        return torch.stack(losses).sum()

    def _least_squares(self, domain: str, images: Tensor, labels: Tensor, *, real: bool) -> Tensor:
        """Loss of calling images real or fake, each patch by the scores of its classes."""
        scores, known = self.networks[f"discriminator_{domain}"](images, one_hot(labels, self._classes))
        return sggan.known_least_squares(scores, known, real=real)
