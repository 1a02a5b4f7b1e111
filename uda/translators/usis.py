"""Label maps to images without a single pair (USIS, Eskandar et al. 2022): made images are segmented back.

Fitted on source label maps and target images, it renders the source's maps: a labelled set that looks like the target.
A segmenter learns to find the maps again in the generator's images and in no others, every class counting alike; the
generator helps it, and its images must pass for real in the eyes of an unconditional discriminator. Generator and
discriminator work on wavelet coefficients. Unknown pixels (255) are a class of their own to the generator and count for
nothing in the segmenter's loss. Differences to the authors' code: its segmenter has an output for `fake` that it never
trains as one, here it is left out of the softmax; R1 has StyleGAN2's scale (the code multiplies the adversarial loss
by the interval in its place, and takes a step of its own for R1); segmenter and discriminator see the fakes of the
generator's turn (theirs are made anew); batch norm takes one process's images; averaged weights start as a plain mean,
and their statistics are estimated once, before rendering.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from uda.core.config import Config
from uda.core.lazy import lazy_import
from uda.core.training import OptimizerConfig, ScheduleConfig
from uda.translators import _averages, _layouts, _segmented
from uda.translators._domains import domain_images, made_once
from uda.translators.base import Setting, TranslatorConfigBase

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from uda.data.batch import Batch, Context
    from uda.losses import gan, segmentation_cycle
    from uda.nets import oasis_discriminator, segmenter, spectral, wavelet_discriminator, wavelet_spade
else:
    torch = lazy_import("torch")
    gan, segmentation_cycle = lazy_import("uda.losses.gan"), lazy_import("uda.losses.segmentation_cycle")
    oasis_discriminator = lazy_import("uda.nets.oasis_discriminator")
    spectral, wavelet_discriminator, wavelet_spade = (
        lazy_import(f"uda.nets.{name}") for name in ("spectral", "wavelet_discriminator", "wavelet_spade")
    )


class UsisWeights(Config):
    """Weight of each term; 0 switches it off."""

    gan: float = Field(default=1.0, ge=0)
    """The generator's images called real: StyleGAN2's non-saturating loss (paper)."""
    cycle: float = Field(default=1.0, ge=0)
    """The generator's images segmented back into their maps (paper; authors' code: 1)."""
    segmenter: float = Field(default=1.0, ge=0)
    """The same loss in the segmenter's turn (paper)."""
    discriminator: float = Field(default=1.0, ge=0)
    """Real images called real and made ones fake (authors' code: 4 times that, which looks like a slip)."""
    r1: float = Field(default=10.0, ge=0)
    """R1's gamma, of half the squared gradient (StyleGAN2: 10; authors' code: 10, of the whole)."""


class UsisConfig(TranslatorConfigBase):
    """Settings of `usis`; where the authors' code has other values for Cityscapes they are named."""

    name: str = "usis"
    """Name of the method."""
    width: int = Field(default=64, ge=4, multiple_of=4)
    """Channels of coefficients before the generator's last convolution (authors' code: 4 bands of 16)."""
    noise_channels: int = Field(default=64, ge=1)
    """Channels of noise joined to the label map, one vector for each image (authors' code)."""
    noise_std: float = Field(default=1.0, ge=0)
    """Standard deviation of that noise (authors' code: 1). Z such numbers are sqrt(Z) long, where a map's one-hot is 1:
    in short fits noise then counts for more than classes. A fitted translator may render with less than it was fitted
    with, for surer images that are more alike (truncation, Brock et al. 2019)."""
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
    segmenter_width: int = Field(default=64, ge=1)
    """Channels before the segmenter's last convolution (authors' code)."""
    discriminator_width: int = Field(default=64, ge=1)
    """Channels at the discriminator's first level (authors' code for Cityscapes)."""
    discriminator_levels: int = Field(default=6, ge=1)
    """Halvings after the wavelet transform (authors' code for 256x512): image sides must be divisible by 2 to the power
    of this + 1."""
    discriminator_grid: tuple[int, int] = (2, 4)
    """Rows and columns that the discriminator's last layers see (authors' code for 256x512)."""
    r1_every: int = Field(default=4, ge=1)
    """Steps from one R1 to the next (authors' code); it is so many times as strong."""
    ema: float | None = Field(default=0.9999, ge=0, lt=1)
    """Decay, by iteration, of averaged weights that then render (authors' code; for Cityscapes: 0.999); None renders
    with the weights as they are."""
    statistics_batches: int = Field(default=50, ge=0)
    """Batches from which averaged weights get batch norm's statistics anew (OASIS's code)."""
    weights: UsisWeights = UsisWeights()
    """Weights of the loss terms."""
    optimizers: Mapping[str, OptimizerConfig] = {
        "generator": OptimizerConfig(lr=1e-4, betas=(0.0, 0.999)),
        "segmenter": OptimizerConfig(lr=4e-4, betas=(0.0, 0.999)),
        "discriminator": OptimizerConfig(lr=2e-3, betas=(0.0, 0.999)),
    }
    """Adam at three rates (authors' code; its generator's rate for Cityscapes: 4e-4)."""
    schedule: ScheduleConfig = ScheduleConfig(name="constant")
    """A constant rate (authors' code)."""

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
            segmenter_width=4,
            discriminator_width=4,
            discriminator_levels=3,
            discriminator_grid=(2, 2),
            ema=0.9,
            statistics_batches=2,
        )


class Usis(_segmented.AbstractNoisyLayoutTranslator):
    """Generator, its averaged copy, a segmenter of made images, and an unconditional discriminator."""

    Config = UsisConfig
    needs = "unpaired"
    _segments = "segmenter"

    def __init__(self, config: UsisConfig, setting: Setting) -> None:
        self.config = config
        self._classes = setting.num_classes
        condition = config.noise_channels + setting.num_classes + 1
        networks: dict[str, nn.Module] = {
            "generator": wavelet_spade.make_wavelet_generator(
                condition, config.width, hidden=config.spade_hidden, norm=config.norm, grain=config.grain
            ),
            "segmenter": oasis_discriminator.OasisDiscriminator(setting.num_classes, config.segmenter_width),
        }
        _layouts.prepare(networks, config.init_gain)
        # Its layers have first weights of their own, which the equalised learning rate goes with.
        networks["discriminator"] = wavelet_discriminator.WaveletDiscriminator(
            config.discriminator_width, config.discriminator_levels, config.discriminator_grid
        )
        if config.ema is not None:
            _averages.add_averages(networks, ["generator"])
        self.networks: Mapping[str, nn.Module] = networks

    @classmethod
    def multiple_of(cls, config: UsisConfig) -> int:
        """The discriminator halves as often as the settings say, the other networks six times."""
        return max(cls.size_multiple, int(2 ** (config.discriminator_levels + 1)))

    def players(self) -> dict[str, list[nn.Parameter]]:
        """`generator`, then `segmenter`, then `discriminator` (authors' order)."""
        names = ("generator", "segmenter", "discriminator")
        return {name: list(self.networks[name].parameters()) for name in names}

    def losses(self, player: str, batch: Batch, context: Context) -> dict[str, Tensor]:
        """Terms of one turn; see `UsisWeights`."""
        labels, weights = _layouts.source_labels(batch, method="usis"), self.config.weights
        images = domain_images(batch, "target", method="usis")["target"]
        if player == "generator":
            return self._generator_terms(labels, context)
        fake = made_once(context, "fake", lambda: self._make(labels))
        if player == "segmenter":
            if not weights.segmenter:
                return {}
            with spectral.weights_once([self.networks["segmenter"]]):
                logits = self.networks["segmenter"](fake)
            return {"segmenter": segmentation_cycle.cycle_loss(logits, labels)}
        return _segmented.unconditional_turn(
            self.networks["discriminator"],
            images,
            fake,
            names=("discriminator", "r1"),
            weights=dict(weights),
            every=self.config.r1_every,
            step=self._steps,
        )

    def segmenter_network(self) -> tuple[dict[str, Any], segmenter.SegmenterNetwork]:
        """The segmenter, which has learnt from the generator's images alone; see `_segmented.as_segmenter`."""
        return _segmented.as_segmenter(self.networks["segmenter"], self.config.segmenter_width)

    def _generator_terms(self, labels: Tensor, context: Context) -> dict[str, Tensor]:
        weights, nets = self.config.weights, self.networks
        if not (weights.gan or weights.cycle):
            return {}
        terms = {}
        active = [nets["generator"], nets["segmenter"]]
        with _segmented.frozen(nets["segmenter"], nets["discriminator"]), spectral.weights_once(active):
            fake = self._make(labels)
            context.made["fake"] = fake.detach()
            if weights.gan:
                terms["gan"] = gan.generator_loss("bce", nets["discriminator"](fake))
            if weights.cycle:
                terms["cycle"] = segmentation_cycle.cycle_loss(nets["segmenter"](fake), labels)
        return terms
