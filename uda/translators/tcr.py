"""Label maps to images from few pairs with transformation consistency (TCR, Mustafa & Mantiuk 2020) on other maps.

The baseline of the semi-paired paper (Eskandar et al. 2023): OASIS on the pairs, and on the unpaired maps, which are
the source's, an image of a moved map should be the image of the map, moved. It renders the source's maps. As noise is
one vector for each image, moving leaves it as it is, and both images get the same. Unpaired images are not used. The
weight and the range of the moves in that paper are not stated: they are those of TCR's code for super-resolution.
Consistency differs from that code as `uda.losses.transformation_consistency` says, all else from OASIS's as `oasis`
says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, field_validator

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
    from uda.losses import n_plus_one, transformation_consistency
    from uda.nets import oasis_discriminator, segmenter, spade_resnet, spectral
else:
    torch, n_plus_one = lazy_import("torch"), lazy_import("uda.losses.n_plus_one")
    transformation_consistency = lazy_import("uda.losses.transformation_consistency")
    oasis_discriminator = lazy_import("uda.nets.oasis_discriminator")
    spade_resnet, spectral = lazy_import("uda.nets.spade_resnet"), lazy_import("uda.nets.spectral")


class TcrWeights(Config):
    """Weight of each term; 0 switches it off."""

    gan: float = Field(default=1.0, ge=0)
    """Pairs: made images segmented into their maps over N + 1 classes (OASIS: 1)."""
    consistency: float = Field(default=0.01, ge=0)
    """Unpaired maps: the image of the moved map like the moved image (TCR's code: 0.01)."""
    discriminator_real: float = Field(default=1.0, ge=0)
    """Real images segmented into their maps (OASIS: 1)."""
    discriminator_fake: float = Field(default=1.0, ge=0)
    """Made images called fake on every pixel (OASIS: 1)."""
    label_mix: float = Field(default=10.0, ge=0)
    """LabelMix (OASIS's code: 10, Cityscapes 5)."""


class TcrConfig(TranslatorConfigBase):
    """Settings of `tcr`; those of OASIS have OASIS's values."""

    name: str = "tcr"
    """Name of the method."""
    width: int = Field(default=64, ge=1)
    """Channels before the generator's last convolution (OASIS's code)."""
    noise_channels: int = Field(default=64, ge=1)
    """Channels of noise joined to the label map, one vector for each image (OASIS)."""
    noise_std: float = Field(default=1.0, ge=0)
    """Standard deviation of that noise (OASIS: 1). Z such numbers are sqrt(Z) long, where a map's one-hot is 1:
    in short fits noise then counts for more than classes. A fitted translator may render with less than it was fitted
    with, for surer images that are more alike (truncation, Brock et al. 2019)."""
    spade_hidden: int = Field(default=128, ge=1)
    """Channels between SPADE's convolutions (OASIS's code)."""
    norm: Literal["batch", "instance"] = "batch"
    """What SPADE modulates (OASIS's code: synchronised batch norm)."""
    init_gain: float = Field(default=0.02, gt=0)
    """Gain of the first weights (OASIS's code). Short fits want 1: short weights turn too far in
    each step, and spectral norm keeps them no longer than they need be."""
    discriminator_width: int = Field(default=64, ge=1)
    """Channels before the discriminator's last convolution (OASIS's code)."""
    rotation: float = Field(default=20.0, ge=0, le=180)
    """Largest rotation either way, in degrees (TCR's code in training: 20)."""
    translation: float = Field(default=6.0, ge=0)
    """Largest translation along each side either way, in pixels (TCR's code: 6)."""
    zoom: tuple[float, float] = (1.0, 1.0)
    """Smallest and largest magnification (TCR's code: 1, none)."""
    flip: float = Field(default=0.0, ge=0, le=1)
    """Chance of mirroring (TCR's code: none)."""
    ema: float | None = Field(default=0.9999, ge=0, lt=1)
    """Decay, by iteration, of averaged weights that then render (OASIS; its code for Cityscapes: 0.999); None renders
    with the weights as they are."""
    statistics_batches: int = Field(default=50, ge=0)
    """Batches from which averaged weights get batch norm's statistics anew (OASIS's code)."""
    weights: TcrWeights = TcrWeights()
    """Weights of the loss terms."""
    optimizers: Mapping[str, OptimizerConfig] = {
        "generator": OptimizerConfig(lr=1e-4, betas=(0.0, 0.999)),
        "discriminator": OptimizerConfig(lr=1e-4, betas=(0.0, 0.999)),
    }
    """Adam, 1e-4 in all experiments of the semi-paired paper; betas: OASIS's code."""
    schedule: ScheduleConfig = ScheduleConfig(name="constant")
    """A constant rate (OASIS's code)."""

    @field_validator("zoom")
    @classmethod
    def _is_a_range(cls, zoom: tuple[float, float]) -> tuple[float, float]:
        if not 0 < zoom[0] <= zoom[1]:
            raise ValueError(f"{list(zoom)} is no range: give two positive magnifications, the smaller first")
        return zoom

    def unread(self) -> dict[str, str]:
        """How maps are moved, where no image is held against a moved one."""
        moves = () if self.weights.consistency else ("rotation", "translation", "zoom", "flip")
        return super().unread() | dict.fromkeys(moves, "translator.weights.consistency is 0")

    @classmethod
    def tiny(cls) -> Self:
        """Settings for tests."""
        return cls(width=4, noise_channels=4, spade_hidden=8, discriminator_width=4, ema=0.9, statistics_batches=2)


class Tcr(_segmented.AbstractNoisyLayoutTranslator):
    """OASIS's generator, its averaged copy, and OASIS's discriminator."""

    Config = TcrConfig
    needs = "pairs"
    pairs_are_few = True

    def __init__(self, config: TcrConfig, setting: Setting) -> None:
        self.config = config
        self._classes = setting.num_classes
        self.networks: Mapping[str, nn.Module] = self._oasis_networks()

    def losses(self, player: str, batch: Batch, context: Context) -> dict[str, Tensor]:
        """Terms of one turn; see `TcrWeights`."""
        pairs = _layouts.target_pairs(batch, method="tcr")
        network = self.networks["discriminator"]
        if player == "generator":
            with _segmented.frozen(network), spectral.weights_once([self.networks["generator"], network]):
                return self._generator_terms(pairs[1], batch, context)
        fake = made_once(context, "fake", lambda: self._make(pairs[1]))
        with spectral.weights_once([network]):
            return _segmented.segmenting_turn(network, pairs, fake, self._classes, dict(self.config.weights))

    def segmenter_network(self) -> tuple[dict[str, Any], segmenter.SegmenterNetwork]:
        """The discriminator, which has learnt from the pairs; see `_segmented.as_segmenter`."""
        return _segmented.as_segmenter(self.networks["discriminator"], self.config.discriminator_width)

    def _generator_terms(self, labels: Tensor, batch: Batch, context: Context) -> dict[str, Tensor]:
        weights = self.config.weights
        terms: dict[str, Tensor] = {}
        if weights.gan:
            fake = self._make(labels)
            context.made["fake"] = fake.detach()
            terms["gan"] = n_plus_one.labelled_loss(self.networks["discriminator"](fake), labels)
        if weights.consistency:
            terms["consistency"] = self._consistency(_layouts.source_labels(batch, method="tcr"))
        return terms

    def _consistency(self, labels: Tensor) -> Tensor:
        """Of the images of source maps, and of the same maps moved, under the same noise."""
        config, device = self.config, labels.device
        moves = transformation_consistency.Moves(config.rotation, config.translation, config.zoom, config.flip)
        maps = transformation_consistency.draw_moves(moves, len(labels), device)
        grid = transformation_consistency.sampling_grid(maps, (labels.shape[1], labels.shape[2]))
        moved_labels = transformation_consistency.move_labels(labels, grid)
        noise = config.noise_std * _random.draw((len(labels), config.noise_channels, 1, 1), None, device)
        # One pass, so that batch norm takes the same statistics for both.
        seen = [_segmented.join_noise(noise, one, self._classes) for one in (labels, moved_labels)]
        plain, of_moved = self.networks["generator"](torch.cat(seen)).chunk(2)
        moved = transformation_consistency.move_images(plain, grid)
        return transformation_consistency.consistency(of_moved, moved, transformation_consistency.inside(grid))
