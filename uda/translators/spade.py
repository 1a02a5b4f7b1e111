"""Label maps to images by spatially adaptive normalisation (SPADE, Park et al. 2019).

Fitted on target images with label maps, it renders the source's maps: a labelled set that looks like the target.
Unknown pixels (255) are a class of their own to the networks, as in the authors' 35 channels for Cityscapes; there are
no instance maps here, so `edges` can draw the borders of classes only. Further differences to the authors' code: the
discriminators see the fakes of the generator's turn (theirs makes them anew); batch norm takes one process's images;
the divergence of the image encoder is averaged over images; a style code is unfolded to a grid of fixed size, which is
resized where images have another one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from uda.core.config import Config
from uda.core.lazy import lazy_import
from uda.core.training import OptimizerConfig, ScheduleConfig
from uda.nets import sizes
from uda.translators import _averages, _layouts, _random, _vgg
from uda.translators._domains import in_turn, made_once
from uda.translators.base import AVERAGED, Direction, Least, Setting, Translation

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from uda.data.batch import Batch, Context
    from uda.losses import gan, perceptual
    from uda.nets import spade_discriminator, spade_resnet, spectral
else:
    torch = lazy_import("torch")
    gan, perceptual = lazy_import("uda.losses.gan"), lazy_import("uda.losses.perceptual")
    spade_discriminator, spectral = lazy_import("uda.nets.spade_discriminator"), lazy_import("uda.nets.spectral")
    spade_resnet = lazy_import("uda.nets.spade_resnet")


class SpadeWeights(Config):
    """Weight of each term; 0 switches it off."""

    gan: float = Field(default=1.0, ge=0)
    """Hinge loss of the generator, averaged over scales (authors' code)."""
    feature_matching: float = Field(default=10.0, ge=0)
    """L1 of the discriminator's features of made and real images (paper: 10); SPADE+ of the OASIS paper has none."""
    vgg: float = Field(default=0.0, ge=0)
    """L1 of VGG-19's features of made and real images (paper: 10; 0 here, as `vgg` must name the weights)."""
    kl: float = Field(default=0.05, ge=0)
    """Divergence of the image encoder's codes from their prior (paper: 0.05); without an encoder there is none."""
    discriminator: float = Field(default=1.0, ge=0)
    """Hinge loss of the discriminators, averaged over scales (authors' code)."""


class SpadeConfig(_vgg.VggConfigBase):
    """Settings of `spade`; defaults are those of the authors' code for Cityscapes at 256x512."""

    name: str = "spade"
    """Name of the method."""
    width: int = Field(default=64, ge=2)
    """Channels before the generator's last convolution, and after the encoder's first (authors' code)."""
    doublings: Literal[5, 6, 7] = 6
    """How often the generator doubles the size: image sides must be divisible by 2 to this power. The authors' `normal`
    (5), `more` (6: Cityscapes) and `most` (7: one block more, half the width at the end)."""
    spade_hidden: int = Field(default=128, ge=1)
    """Channels between SPADE's convolutions (authors' code)."""
    norm: Literal["batch", "instance"] = "batch"
    """What SPADE modulates (authors' code: synchronised batch norm)."""
    init_gain: float = Field(default=0.02, gt=0)
    """Gain of the first weights (authors' code). Short fits want 1: short weights turn too far in
    each step, and spectral norm keeps them no longer than they need be."""
    edges: bool = False
    """A further channel with the borders of the label map; the authors draw those of instance maps, which are not to be
    had here (their 93.05 M parameters count that channel)."""
    image_encoder: bool = False
    """Start from a style code, encoded from the real image in training (authors' code: an option, off)."""
    style_length: int = Field(default=256, ge=1)
    """Length of the style code (authors' code)."""
    start_grid: tuple[int, int] = (4, 8)
    """Rows and columns that a style code is unfolded to (authors' code: image size / 64, of 256x512)."""
    style: Literal["prior", "reference"] = "prior"
    """Style when rendering: drawn from the normal prior, or encoded from a target image."""
    discriminator_width: int = Field(default=64, ge=1)
    """Channels after a discriminator's first convolution (authors' code)."""
    discriminator_layers: int = Field(default=4, ge=2)
    """Convolutions of each discriminator before its last one (authors' code)."""
    discriminator_scales: int = Field(default=2, ge=1)
    """Scales looked at (paper)."""
    ema: float | None = Field(default=None, ge=0, lt=1)
    """Decay, by iteration, of averaged weights that then render (SPADE+ of the OASIS paper: 0.9999); None renders with
    the weights as they are (paper)."""
    statistics_batches: int = Field(default=50, ge=0)
    """Batches from which averaged weights get batch norm's statistics anew (OASIS's code for SPADE+: 50)."""
    weights: SpadeWeights = SpadeWeights()
    """Weights of the loss terms."""
    optimizers: Mapping[str, OptimizerConfig] = {
        "generator": OptimizerConfig(lr=1e-4, betas=(0.0, 0.9)),
        "discriminator": OptimizerConfig(lr=4e-4, betas=(0.0, 0.9)),
    }
    """Adam with two time scales (paper)."""
    schedule: ScheduleConfig = ScheduleConfig(name="linear_tail", constant=0.5)
    """Constant for 100 epochs, then linearly to 0 over 100 more (paper, for Cityscapes)."""

    @model_validator(mode="after")
    def _style_is_known(self) -> Self:
        if self.style == "reference" and not self.image_encoder:
            raise ValueError("style reference needs an image encoder: set image_encoder true, or style prior")
        if not self.image_encoder:
            self.require_default("image_encoder is false", "style_length", "start_grid", "weights.kl")
        return self

    @property
    def term_weights(self) -> dict[str, float]:
        """Weights of the terms that there are: `vgg` where it has a weight, `kl` with an image encoder."""
        return {name: w for name, w in super().term_weights.items() if name != "kl" or self.image_encoder}

    @classmethod
    def tiny(cls) -> Self:
        """Settings for tests."""
        return cls(
            width=4,
            doublings=5,
            spade_hidden=8,
            image_encoder=True,
            style_length=8,
            start_grid=(2, 4),
            discriminator_width=4,
            discriminator_layers=3,
            ema=0.9,
            statistics_batches=2,
        )


class Spade(_averages.AbstractAveragedTranslator):
    """Generator, discriminators at several scales, image encoder where asked for, averaged weights where asked for."""

    Config = SpadeConfig
    needs = "pairs"
    translates = "label"

    def __init__(self, config: SpadeConfig, setting: Setting) -> None:
        self.config = config
        self._classes = setting.num_classes
        self._vgg = _vgg.VggTerm(config)
        layout = setting.num_classes + 1 + config.edges
        networks: dict[str, nn.Module] = {
            "generator": spade_resnet.make_spade_generator(
                layout,
                config.width,
                doublings=config.doublings,
                hidden=config.spade_hidden,
                norm=config.norm,
                style=config.style_length if config.image_encoder else None,
                start_grid=config.start_grid,
            ),
            "discriminator": spade_discriminator.MultiScalePatchDiscriminator(
                3 + layout, config.discriminator_width, config.discriminator_layers, config.discriminator_scales
            ),
        }
        if config.image_encoder:
            networks["encoder"] = spade_discriminator.ImageEncoder(config.width, config.style_length)
        _layouts.prepare(networks, config.init_gain)
        if config.ema is not None:
            _averages.add_averages(networks, [name for name in networks if name != "discriminator"])
        self.networks: Mapping[str, nn.Module] = networks

    @classmethod
    def multiple_of(cls, config: SpadeConfig) -> int:
        """The generator doubles so often."""
        return 1 << config.doublings

    @classmethod
    def smallest(cls, config: SpadeConfig, *, batch: int | None = None) -> Least:
        """What is doubled so often starts with two values for a norm; the last scale looked at has two pixels a side.

        Batch norm takes the values of all images of a step, and none when it renders.
        """
        pixels, instead = 1, "lower translator.discriminator_scales"
        if config.norm == "instance" or batch == 1:
            pixels = 2 * cls.multiple_of(config) ** 2
            instead = "set translator.norm to batch" if config.norm == "instance" else "raise fit.batch"
        side = 1 if batch is None else sizes.halvings_side(config.discriminator_scales - 1) + 1
        return Least(side, pixels, instead)

    @classmethod
    def varies(cls, config: SpadeConfig) -> bool:
        """Where it has styles."""
        return config.image_encoder

    @classmethod
    def takes_references(cls, config: SpadeConfig) -> bool:
        """Where styles are taken from images."""
        return config.image_encoder and config.style == "reference"

    @classmethod
    def files(cls, config: SpadeConfig) -> dict[str, Path]:
        """VGG-19's weights, where their term has a weight."""
        return config.files()

    @classmethod
    def check_files(cls, config: SpadeConfig) -> None:
        """They must be VGG-19's."""
        _vgg.check_file(config)

    def losses(self, player: str, batch: Batch, context: Context) -> dict[str, Tensor]:
        """Terms of one turn; see `SpadeWeights`."""
        images, labels = _layouts.target_pairs(batch, method="spade")
        layout = made_once(context, "layout", lambda: self._layout(labels))
        active = self._of("discriminator") + (self._of("generator") if player == "generator" else [])
        with spectral.weights_once(active):
            if player == "generator":
                return self._generator_terms(images, layout, context)
            fake = made_once(context, "fake", lambda: self.networks["generator"](layout, *self._encoded(images)[:1]))
            made, real = self._judged(layout, fake), self._judged(layout, images)
            terms = [
                gan.discriminator_loss("hinge", one[-1], real=False)
                + gan.discriminator_loss("hinge", two[-1], real=True)
                for one, two in zip(made, real, strict=True)
            ]
            return {"discriminator": torch.stack(terms).mean()}

    def finalize(self, batches: Iterable[Batch]) -> None:
        """Give averaged weights batch norm's statistics of their own, from the source's maps in styles as drawn.

        Those are what is rendered; the target's maps may be pseudo-labels, with holes that the source's have not.
        """
        if self.config.ema is None:
            return
        network = self._rendering("generator")
        few = _layouts.first_on(batches, self.config.statistics_batches, network)
        generator = torch.Generator().manual_seed(0)
        spade_resnet.reestimate_statistics(network, (self._inputs_of(batch, generator) for batch in few))

    def translate(
        self, batch: Batch, *, generator: torch.Generator, direction: Direction = "source_to_target"
    ) -> Translation:
        """Source label maps as images; with an image encoder each in a style of its own."""
        labels = _layouts.source_labels(batch, method="spade")
        network = self._rendering("generator")
        with spectral.weights_once(self._rendering(name) for name in ("generator", "encoder") if name in self.networks):
            return Translation(network(*self._inputs_of(batch, generator)), labels)

    def _of(self, player: str) -> list[nn.Module]:
        names = ("discriminator",) if player == "discriminator" else ("generator", "encoder")
        return [self.networks[name] for name in names if name in self.networks]

    def _rendering(self, name: str) -> nn.Module:
        """The network that renders: its averaged copy where there is one."""
        return self.networks.get(AVERAGED + name, self.networks[name])

    def _layout(self, labels: Tensor) -> Tensor:
        return spade_resnet.label_layout(labels, self._classes, edges=self.config.edges)

    def _judged(self, layout: Tensor, images: Tensor) -> list[list[Tensor]]:
        """The discriminators' features and outputs, by scale."""
        made: list[list[Tensor]] = self.networks["discriminator"](torch.cat([layout, images], dim=1))
        return made

    def _encoded(self, images: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, ...]:
        """Style codes drawn around the encoder's means, and their divergence; nothing without an encoder."""
        if not self.config.image_encoder:
            return ()
        name = "encoder" if generator is None else AVERAGED + "encoder"
        mean, log_variance = self.networks.get(name, self.networks["encoder"])(images)
        noise = _random.draw(mean.shape, generator, mean.device)
        return mean + (0.5 * log_variance).exp() * noise, perceptual.kl_to_prior(mean, log_variance)

    def _generator_terms(self, images: Tensor, layout: Tensor, context: Context) -> dict[str, Tensor]:
        weights, encoded = self.config.weights, self._encoded(images)
        fake = self.networks["generator"](layout, *encoded[:1])
        context.made["fake"] = fake.detach()
        terms: dict[str, Tensor] = {}
        if encoded and weights.kl:
            terms["kl"] = encoded[1]
        if weights.gan or weights.feature_matching:
            made = self._judged(layout, fake)
        if weights.gan:
            terms["gan"] = torch.stack([gan.generator_loss("hinge", scale[-1]) for scale in made]).mean()
        if weights.feature_matching:
            with torch.no_grad():
                real = self._judged(layout, images)
            terms["feature_matching"] = perceptual.feature_matching(made, real)
        if weights.vgg:
            terms["vgg"] = self._vgg(fake, images)
        return terms

    def _style_to_render(self, batch: Batch, count: int, generator: torch.Generator, device: torch.device) -> Tensor:
        if self.config.style == "prior":
            return _random.draw((count, self.config.style_length), generator, device)
        images = _layouts.reference_images(batch, method="spade")
        return self._encoded(in_turn(images, count), generator)[0]

    def _inputs_of(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, ...]:
        """What the rendering generator is given: maps of the source, styles as they are drawn for them."""
        labels = _layouts.source_labels(batch, method="spade")
        layout = self._layout(labels)
        if not self.config.image_encoder:
            return (layout,)
        return layout, self._style_to_render(batch, len(labels), generator, labels.device)
