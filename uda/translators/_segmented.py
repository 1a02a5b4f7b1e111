"""What translators share that judge images made from label maps by segmenting them.

Maps joined to noise, critics that pass gradients on without taking any, the turns of OASIS's discriminator and of an
unconditional one, and what is left of a fit: averaged weights with their own statistics, and a segmenter, by which
unlabelled images are made anew.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from uda.core.lazy import lazy_import
from uda.translators import _averages, _layouts, _random
from uda.translators._domains import domain_images
from uda.translators.base import AVERAGED, Direction, Translation

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from uda.data.batch import Batch, Context
    from uda.losses import gan, label_mix, logistic, n_plus_one
    from uda.nets import oasis_discriminator, segmenter, spade_resnet, spectral
    from uda.nets.blocks import Draw
else:
    torch = lazy_import("torch")
    gan, label_mix, logistic, n_plus_one = (
        lazy_import(f"uda.losses.{name}") for name in ("gan", "label_mix", "logistic", "n_plus_one")
    )
    oasis_discriminator = lazy_import("uda.nets.oasis_discriminator")
    spectral = lazy_import("uda.nets.spectral")
    segmenter, spade_resnet = lazy_import("uda.nets.segmenter"), lazy_import("uda.nets.spade_resnet")


class AbstractNoisyLayoutTranslator(_averages.AbstractAveragedTranslator):
    """What makes images of label maps and one noise vector each, by a generator with an averaged copy.

    Settings hold `noise_channels`, `noise_std`, `ema` and `statistics_batches`; `networks` holds `generator`, which is
    told where its grain comes from, and a U-Net that segments. Beside source maps it renders target images: segmented
    by that U-Net, and made anew.
    """

    translates = "label"
    size_multiple = 64  # of generator and U-Net, whatever the settings
    directions = ("source_to_target", "target_to_target")

    _segments: ClassVar[str] = "discriminator"
    """The network that segments: OASIS's discriminator, or one that is built like it."""
    _classes: int

    def _oasis_networks(self, *, grain: bool = False) -> dict[str, nn.Module]:
        """OASIS's generator, with its averaged copy, and discriminator, as the settings say."""
        config, classes = self.config, self._classes
        networks: dict[str, nn.Module] = {
            "generator": spade_resnet.make_oasis_generator(
                config.noise_channels + classes + 1,
                config.width,
                hidden=config.spade_hidden,
                norm=config.norm,
                grain=grain,
            ),
            "discriminator": oasis_discriminator.OasisDiscriminator(classes, config.discriminator_width),
        }
        _layouts.prepare(networks, config.init_gain)
        if config.ema is not None:
            _averages.add_averages(networks, ["generator"])
        return networks

    @classmethod
    def varies(cls, config: Any) -> bool:
        """Where noise is drawn for every image."""
        return bool(config.noise_std or getattr(config, "grain", False))

    def finalize(self, batches: Iterable[Batch]) -> None:
        """Give the averaged weights batch norm's statistics of their own, from the source's maps, which are rendered.

        The target's may be pseudo-labels, with holes that the source's have not.
        """
        if self.config.ema is not None:
            few = _layouts.first_on(batches, self.config.statistics_batches, self._renderer)
            maps = (batch.source_labels_BHW for batch in few)
            estimate_statistics(self._renderer, maps, self._condition)

    def translate(
        self, batch: Batch, *, generator: torch.Generator, direction: Direction = "source_to_target"
    ) -> Translation:
        """Source label maps as images, or target images made anew (`recreate`), with noise from `generator`.

        Raises:
            DataError: the batch has no source maps, or no target images.
        """
        if direction == "target_to_target":
            images = domain_images(batch, "target", method=self.config.name)["target"]
            return self.recreate(images, generator=generator)
        return self._rendered(_layouts.source_labels(batch, method=self.config.name), generator)

    def recreate(self, images_BCHW: Tensor, *, generator: torch.Generator) -> Translation:
        """Unlabelled images segmented and made anew from that: the same layout, another look (OASIS's paper).

        Args:
            images_BCHW: RGB in [-1, 1]; sides divisible by 64.
            generator: of the noise.

        Returns:
            New images, and the label maps that they were made from: every pixel has a class. Without gradients.
        """
        network = self.networks[self._segments]
        assert isinstance(network, oasis_discriminator.OasisDiscriminator)
        with torch.no_grad():
            labels = oasis_discriminator.DiscriminatorAsSegmenter(network)(images_BCHW)["main"].argmax(1)
            return self._rendered(labels, generator)

    @property
    def _renderer(self) -> nn.Module:
        """The generator that renders: its averaged copy where there is one."""
        return self.networks.get(AVERAGED + "generator", self.networks["generator"])

    def _rendered(self, labels: Tensor, generator: torch.Generator) -> Translation:
        with spectral.weights_once([self._renderer]):
            condition = self._rendering_condition(labels, generator)
            return Translation(self._renderer(condition, draw=self._rendering_grain(generator)), labels)

    def _rendering_condition(self, labels: Tensor, generator: torch.Generator) -> Tensor:
        """What the generator sees when it renders: by default the same as in training."""
        return self._condition(labels, generator)

    def _rendering_grain(self, generator: torch.Generator) -> Draw:
        """Where grain comes from when it renders."""
        return _random.drawing(generator)

    def _make(self, labels: Tensor) -> Tensor:
        made: Tensor = self.networks["generator"](self._condition(labels), draw=_random.drawing())
        return made

    def _condition(self, labels: Tensor, generator: torch.Generator | None = None) -> Tensor:
        config = self.config
        return noisy_layout(labels, self._classes, config.noise_channels, generator, std=config.noise_std)


def noisy_layout(
    labels_BHW: Tensor, num_classes: int, channels: int, generator: torch.Generator | None = None, *, std: float = 1.0
) -> Tensor:
    """What a generator sees: noise, one vector for each image, joined to the layout of its label map.

    Args:
        labels_BHW: class indices, 255 = unknown, which has a channel of its own.
        num_classes: N.
        channels: Z, of the noise.
        generator: where it is drawn; None for PyTorch's own.
        std: its standard deviation.

    Returns:
        condition_BLHW, float32, L = Z + N + 1.
    """
    noise = _random.draw((len(labels_BHW), channels, 1, 1), generator, labels_BHW.device)
    return join_noise(std * noise, labels_BHW, num_classes)


def join_noise(noise_BZ11: Tensor, labels_BHW: Tensor, num_classes: int) -> Tensor:
    """Given noise joined to the layout of label maps; see `noisy_layout`."""
    field = noise_BZ11.expand(-1, -1, *labels_BHW.shape[1:])
    return torch.cat([field, spade_resnet.label_layout(labels_BHW, num_classes)], dim=1)


def few_pairs(batch: Batch, context: Context, num_classes: int, *, method: str) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """The pairs and the unpaired images of a batch whose target side holds both, parted once an iteration.

    An image is one of a pair where its map has a pixel of a known class; a map that is 255 throughout is none.

    Returns:
        Images_BCHW and labels_BHW of the pairs, and the unpaired images_BCHW; where the batch has none of one kind, the
        others stand in (a crop of a pair may show no known class: then its terms by class are 0).

    Raises:
        DataError: there are no target images or maps.
    """
    images, labels = _layouts.target_pairs(batch, method=method)
    if "paired" not in context.made:
        context.made["paired"] = (labels < num_classes).flatten(1).any(1).tolist()
    chosen: list[bool] = context.made["paired"]
    paired = [place for place, known in enumerate(chosen) if known]
    others = [place for place, known in enumerate(chosen) if not known]
    return (images[paired or others], labels[paired or others]), images[others or paired]


@contextmanager
def frozen(*networks: nn.Module) -> Iterator[None]:
    """Within the block nothing that is computed can lead a gradient into these networks' parameters.

    Gradients pass through the networks to their inputs. Open it before `spectral.weights_once`, which keeps weights as
    it finds them. A backward pass may come after the block.
    """
    parameters = [parameter for network in networks for parameter in network.parameters() if parameter.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def segmenting_turn(
    discriminator: nn.Module, pairs: tuple[Tensor, Tensor], fake: Tensor, num_classes: int, weights: dict[str, float]
) -> dict[str, Tensor]:
    """Terms of OASIS's discriminator: `discriminator_real`, `discriminator_fake` and `label_mix`.

    Args:
        discriminator: images -> logits (B, N + 1, H, W), `fake` last.
        pairs: real images_BCHW in [-1, 1] and their labels_BHW, 255 = unknown.
        fake: images made from these maps; no gradient goes into them.
        num_classes: N.
        weights: of the terms by name; those of weight 0 are not computed.
    """
    images, labels = pairs
    # One pass over real, made and mixed images; nothing in the network ties the images of a batch together.
    seen = [images, fake.detach().to(images.dtype)]
    if weights["label_mix"]:
        mask = label_mix.label_mix_mask(labels, num_classes)
        seen.append(label_mix.label_mix(mask, *seen))
    on_real, on_fake, *mixed = discriminator(torch.cat(seen)).split(len(images))
    terms = {}
    if weights["discriminator_real"]:
        terms["discriminator_real"] = n_plus_one.labelled_loss(on_real, labels)
    if weights["discriminator_fake"]:
        terms["discriminator_fake"] = n_plus_one.fake_loss(on_fake)
    if mixed:
        terms["label_mix"] = label_mix.label_mix_consistency(mask, mixed[0], on_real, on_fake)
    return terms


def unconditional_turn(
    discriminator: Callable[[Tensor], Tensor],
    images: Tensor,
    fake: Tensor,
    *,
    names: tuple[str, str],
    weights: dict[str, float],
    every: int,
    step: int,
) -> dict[str, Tensor]:
    """Terms of a discriminator that sees whole images: StyleGAN2's logistic loss and, now and then, R1.

    Args:
        discriminator: images -> raw scores, which may depend on the other images of a batch.
        images: real ones, in [-1, 1].
        fake: made ones; no gradient goes into them.
        names: of the logistic term and of the penalty.
        weights: of the terms by name; those of weight 0 are not computed.
        every: R1 comes at each `every`-th step, so many times as strong.
        step: of the run, from 0.
    """
    terms = {}
    if weights[names[0]]:
        on_real, on_fake = discriminator(images), discriminator(fake.detach().to(images.dtype))
        terms[names[0]] = gan.discriminator_loss("bce", on_real, real=True) + gan.discriminator_loss(
            "bce", on_fake, real=False
        )
    if weights[names[1]] and step % every == 0:
        terms[names[1]] = every * logistic.r1_penalty(discriminator, images)
    return terms


def estimate_statistics(
    network: nn.Module, maps: Iterable[Tensor | None], condition: Callable[[Tensor, torch.Generator], Tensor]
) -> None:
    """Give averaged weights batch norm's statistics of their own.

    Args:
        network: a generator; changed in place.
        maps: labels_BHW batch by batch, on its device; None where a batch has none.
        condition: label maps and where noise is drawn -> what the generator sees.
    """
    generator = torch.Generator().manual_seed(0)  # the same statistics however the run came here
    inputs = ((condition(labels, generator),) for labels in maps if labels is not None)
    spade_resnet.reestimate_statistics(network, inputs, draw=_random.drawing(generator))


def as_segmenter(discriminator: nn.Module, width: int) -> tuple[dict[str, Any], segmenter.SegmenterNetwork]:
    """OASIS's discriminator as a segmenter of its own.

    Args:
        discriminator: copied.
        width: that it was built with.

    Returns:
        Settings of the registered segmenter that its state fits, and a frozen copy in eval mode: images_BCHW in
        [-1, 1] -> logits_BNHW over the N classes, `fake` left out.
    """
    own = copy.deepcopy(discriminator)
    assert isinstance(own, oasis_discriminator.OasisDiscriminator)
    body = oasis_discriminator.DiscriminatorAsSegmenter(own)
    network = segmenter.SegmenterNetwork(body, frame="unit")
    return {"name": "oasis_discriminator", "width": width}, segmenter.as_guide(network)
