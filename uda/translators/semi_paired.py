"""Label maps to images from few pairs and much that is unpaired (Eskandar et al. 2023), on the parts of `usis`.

A batch's target images are of two kinds: pairs, whose map has a known pixel, and unpaired images, whose map is 255
throughout. From the pairs the conditional discriminator, OASIS's U-Net, learns to segment real images and to call made
ones fake, and the generator learns as OASIS's does, with feature matching and VGG beside. The unpaired maps are the
source's: what is made of them should be segmented back by the same U-Net, whose weights this loss does not move (but
for an ablation) and whose `fake` it leaves out, and should pass for real in the eyes of an unconditional wavelet
discriminator that sees unpaired images (the pairs' where a batch has no others: a supervision ratio of 1). It renders
the source's maps.

Where few pairs come from, and how rare classes are favoured among them: `uda.data.supervision` and
`uda.data.rare_classes`. The paper's code is not public. Choices made here: both kinds of maps pass the generator apart,
each with batch norm's statistics of its own; the discriminators see the fakes of the generator's turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from uda.core.config import Config
from uda.core.lazy import lazy_import
from uda.core.training import OptimizerConfig, ScheduleConfig
from uda.translators import _averages, _layouts, _segmented, _vgg
from uda.translators._domains import made_once
from uda.translators.base import Setting

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from uda.data.batch import Batch, Context
    from uda.losses import gan, n_plus_one, perceptual, segmentation_cycle
    from uda.nets import oasis_discriminator, segmenter, spectral, wavelet_discriminator, wavelet_spade
else:
    torch = lazy_import("torch")
    gan, n_plus_one, perceptual, segmentation_cycle = (
        lazy_import(f"uda.losses.{name}") for name in ("gan", "n_plus_one", "perceptual", "segmentation_cycle")
    )
    oasis_discriminator = lazy_import("uda.nets.oasis_discriminator")
    spectral = lazy_import("uda.nets.spectral")
    wavelet_discriminator, wavelet_spade = (
        lazy_import(f"uda.nets.{name}") for name in ("wavelet_discriminator", "wavelet_spade")
    )


class SemiPairedWeights(Config):
    """Weight of each term; 0 switches it off. The text at hand has lost the paper's weights."""

    pair_gan: float = Field(default=1.0, ge=0)
    """Pairs: made images segmented into their maps over N + 1 classes (OASIS: 1)."""
    feature_matching: float = Field(default=10.0, ge=0)
    """Pairs: L1 of the U-Net's features of made and real images, but for its last layer (not stated; pix2pixHD: 10)."""
    vgg: float = Field(default=0.0, ge=0)
    """Pairs: L1 of VGG-19's features (not stated; pix2pixHD: 10; 0 here, as `vgg` must name the weights)."""
    cycle: float = Field(default=1.0, ge=0)
    """Unpaired: made images segmented back over the N classes, the U-Net frozen (USIS's code: 1); with
    `cycle_trains_discriminator` in the U-Net's turn too."""
    gan: float = Field(default=1.0, ge=0)
    """Unpaired: made images called real by the unconditional discriminator (USIS's code: 1)."""
    discriminator_real: float = Field(default=1.0, ge=0)
    """The U-Net: real images segmented into their maps (OASIS: 1)."""
    discriminator_fake: float = Field(default=1.0, ge=0)
    """The U-Net: made images called fake on every pixel (OASIS: 1)."""
    label_mix: float = Field(default=10.0, ge=0)
    """The U-Net: OASIS's LabelMix (its code: 10, Cityscapes 5; the paper's text does not name it)."""
    unconditional: float = Field(default=1.0, ge=0)
    """The unconditional discriminator: real images called real and made ones fake (StyleGAN2)."""
    r1: float = Field(default=10.0, ge=0)
    """Its R1, gamma (StyleGAN2: 10)."""


class SemiPairedConfig(_vgg.VggConfigBase):
    """Settings of `semi_paired`; what the paper leaves to its references is taken from them."""

    name: str = "semi_paired"
    """Name of the method."""
    width: int = Field(default=64, ge=4, multiple_of=4)
    """Channels of coefficients before the generator's last convolution (USIS's code: 4 bands of 16)."""
    noise_channels: int = Field(default=64, ge=1)
    """Channels of noise joined to the label map, one vector for each image (USIS's code)."""
    noise_std: float = Field(default=1.0, ge=0)
    """Standard deviation of that noise (USIS's code: 1). Z such numbers are sqrt(Z) long, where a map's one-hot is 1:
    in short fits noise then counts for more than classes. A fitted translator may render with less than it was fitted
    with, for surer images that are more alike (truncation, Brock et al. 2019)."""
    grain: bool = False
    """The generator gets noise of each pixel's own at its last three sizes, as strong as it learns, for textures that
    maps do not have (not from the paper)."""
    spade_hidden: int = Field(default=128, ge=1)
    """Channels between SPADE's convolutions (USIS's code)."""
    norm: Literal["batch", "instance"] = "batch"
    """What SPADE modulates (USIS's code: synchronised batch norm)."""
    init_gain: float = Field(default=0.02, gt=0)
    """Gain of the first weights (USIS's code). Short fits want 1: short weights turn too far in
    each step, and spectral norm keeps them no longer than they need be."""
    discriminator_width: int = Field(default=64, ge=1)
    """Channels before the U-Net's last convolution (OASIS's code)."""
    unconditional_width: int = Field(default=64, ge=1)
    """Channels at the unconditional discriminator's first level (USIS's code for Cityscapes)."""
    unconditional_levels: int = Field(default=6, ge=1)
    """Its halvings after the wavelet transform (USIS's code for 256x512): image sides must be divisible by 2 to the
    power of this + 1."""
    unconditional_grid: tuple[int, int] = (2, 4)
    """Rows and columns that its last layers see (USIS's code for 256x512)."""
    r1_every: int = Field(default=4, ge=1)
    """Steps from one R1 to the next (USIS's code); it is so many times as strong."""
    cycle_trains_discriminator: bool = False
    """The paper's ablation B: the cycle moves the U-Net's weights too, as a term `cycle_discriminator` of its own turn
    (Cityscapes, FID/mIoU: 47/56.8, with the U-Net frozen 45.6/64.8)."""
    ema: float | None = Field(default=0.9999, ge=0, lt=1)
    """Decay, by iteration, of averaged weights that then render (USIS's code; for Cityscapes: 0.999); None renders with
    the weights as they are."""
    statistics_batches: int = Field(default=50, ge=0)
    """Batches from which averaged weights get batch norm's statistics anew (OASIS's code)."""
    weights: SemiPairedWeights = SemiPairedWeights()
    """Weights of the loss terms."""
    optimizers: Mapping[str, OptimizerConfig] = {
        "generator": OptimizerConfig(lr=1e-4, betas=(0.0, 0.999)),
        "discriminator": OptimizerConfig(lr=1e-4, betas=(0.0, 0.999)),
        "unconditional": OptimizerConfig(lr=1e-4, betas=(0.0, 0.999)),
    }
    """Adam, 1e-4 in all experiments (paper), which names no other rate for a discriminator; betas: USIS's code."""
    schedule: ScheduleConfig = ScheduleConfig(name="constant")
    """A constant rate (USIS's code)."""

    @model_validator(mode="after")
    def _there_is_a_cycle(self) -> Self:
        if self.cycle_trains_discriminator and not self.weights.cycle:
            raise ValueError(
                "cycle_trains_discriminator needs a cycle: give weights.cycle a weight, or set it to false"
            )
        return self

    @property
    def term_weights(self) -> dict[str, float]:
        """Weights of the terms that there are: `vgg` where it has a weight, `cycle_discriminator` in the ablation."""
        ablation = {"cycle_discriminator": self.weights.cycle} if self.cycle_trains_discriminator else {}
        return super().term_weights | ablation

    @model_validator(mode="after")
    def _r1_is_taken(self) -> Self:
        if not self.weights.r1:
            self.require_default("weights.r1 is 0", "r1_every")
        return self

    @classmethod
    def tiny(cls) -> Self:
        """Settings for tests."""
        return cls(
            width=4,
            noise_channels=4,
            spade_hidden=8,
            discriminator_width=4,
            unconditional_width=4,
            unconditional_levels=3,
            unconditional_grid=(2, 2),
            ema=0.9,
            statistics_batches=2,
        )


class SemiPaired(_segmented.AbstractNoisyLayoutTranslator):
    """Generator, its averaged copy, a discriminator that segments, and an unconditional one."""

    Config = SemiPairedConfig
    needs = "few_pairs"
    pairs_are_few = True

    def __init__(self, config: SemiPairedConfig, setting: Setting) -> None:
        self.config = config
        self._classes = setting.num_classes
        self._vgg = _vgg.VggTerm(config)
        condition = config.noise_channels + setting.num_classes + 1
        networks: dict[str, nn.Module] = {
            "generator": wavelet_spade.make_wavelet_generator(
                condition, config.width, hidden=config.spade_hidden, norm=config.norm, grain=config.grain
            ),
            "discriminator": oasis_discriminator.OasisDiscriminator(setting.num_classes, config.discriminator_width),
        }
        _layouts.prepare(networks, config.init_gain)
        # Its layers have first weights of their own, which the equalised learning rate goes with.
        networks["unconditional"] = wavelet_discriminator.WaveletDiscriminator(
            config.unconditional_width, config.unconditional_levels, config.unconditional_grid
        )
        if config.ema is not None:
            _averages.add_averages(networks, ["generator"])
        self.networks: Mapping[str, nn.Module] = networks

    @classmethod
    def multiple_of(cls, config: SemiPairedConfig) -> int:
        """The unconditional discriminator halves as often as the settings say, the other networks six times."""
        return max(cls.size_multiple, int(2 ** (config.unconditional_levels + 1)))

    def players(self) -> dict[str, list[nn.Parameter]]:
        """`generator`, then `discriminator` (on pairs), then `unconditional`."""
        names = ("generator", "discriminator", "unconditional")
        return {name: list(self.networks[name].parameters()) for name in names}

    @classmethod
    def files(cls, config: SemiPairedConfig) -> dict[str, Path]:
        """VGG-19's weights, where their term has a weight."""
        return config.files()

    @classmethod
    def check_files(cls, config: SemiPairedConfig) -> None:
        """They must be VGG-19's."""
        _vgg.check_file(config)

    def losses(self, player: str, batch: Batch, context: Context) -> dict[str, Tensor]:
        """Terms of one turn; see `SemiPairedWeights`."""
        pairs, unpaired = _segmented.few_pairs(batch, context, self._classes, method="semi_paired")
        maps = _layouts.source_labels(batch, method="semi_paired")[: len(unpaired)]
        weights = dict(self.config.weights)
        if player == "generator":
            nets = [self.networks[name] for name in ("discriminator", "unconditional")]
            active = [self.networks["generator"], self.networks["discriminator"]]
            with _segmented.frozen(*nets), spectral.weights_once(active):
                return self._paired_terms(pairs, context) | self._unpaired_terms(maps, context)
        if player == "discriminator":
            return self._discriminator_terms(pairs, maps, context)
        return _segmented.unconditional_turn(
            self.networks["unconditional"],
            unpaired,
            made_once(context, "fake_unpaired", lambda: self._make(maps)),
            names=("unconditional", "r1"),
            weights=weights,
            every=self.config.r1_every,
            step=self._steps,
        )

    def segmenter_network(self) -> tuple[dict[str, Any], segmenter.SegmenterNetwork]:
        """The conditional discriminator, which has learnt from the pairs; see `_segmented.as_segmenter`."""
        return _segmented.as_segmenter(self.networks["discriminator"], self.config.discriminator_width)

    def _discriminator_terms(self, pairs: tuple[Tensor, Tensor], maps: Tensor, context: Context) -> dict[str, Tensor]:
        """The U-Net's terms on pairs; in the ablation the cycle on unpaired maps as well."""
        network, ablation = self.networks["discriminator"], self.config.cycle_trains_discriminator
        fake = made_once(context, "fake", lambda: self._make(pairs[1]))
        unpaired = made_once(context, "fake_unpaired", lambda: self._make(maps)) if ablation else None
        with spectral.weights_once([network]):
            terms = _segmented.segmenting_turn(network, pairs, fake, self._classes, dict(self.config.weights))
            if unpaired is not None:
                terms["cycle_discriminator"] = segmentation_cycle.cycle_loss(network(unpaired), maps)
        return terms

    def _paired_terms(self, pairs: tuple[Tensor, Tensor], context: Context) -> dict[str, Tensor]:
        """The generator's terms on pairs."""
        weights, (images, labels) = self.config.weights, pairs
        terms: dict[str, Tensor] = {}
        if not (weights.pair_gan or weights.feature_matching or weights.vgg):
            return terms
        network = self.networks["discriminator"]
        assert isinstance(network, oasis_discriminator.OasisDiscriminator)
        fake = self._make(labels)
        context.made["fake"] = fake.detach()
        if weights.pair_gan or weights.feature_matching:
            made = network.layers(fake)
        if weights.pair_gan:
            terms["pair_gan"] = n_plus_one.labelled_loss(made[-1], labels)
        if weights.feature_matching:
            with torch.no_grad():
                real = network.layers(images)
            terms["feature_matching"] = perceptual.feature_matching([made], [real])
        if weights.vgg:
            terms["vgg"] = self._vgg(fake, images)
        return terms

    def _unpaired_terms(self, maps: Tensor, context: Context) -> dict[str, Tensor]:
        """The generator's terms on unpaired maps."""
        weights = self.config.weights
        terms: dict[str, Tensor] = {}
        if not (weights.cycle or weights.gan):
            return terms
        fake = self._make(maps)
        context.made["fake_unpaired"] = fake.detach()
        if weights.cycle:
            terms["cycle"] = segmentation_cycle.cycle_loss(self.networks["discriminator"](fake), maps)
        if weights.gan:
            terms["gan"] = gan.generator_loss("bce", self.networks["unconditional"](fake))
        return terms
