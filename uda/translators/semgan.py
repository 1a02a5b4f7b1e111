"""Images and their label maps translated together (SemGAN: Roy, Haeni & Isler, semantics-aware translation).

One network for each direction: an encoder takes an image and its one-hot map, two decoders give the translated image
and the translated map. Discriminators judge the pair. `adaptation` keeps the map (cross-domain consistency) and the
rendered images keep the source's labels; `transfiguration` turns objects of one class into another, and the labels
follow the translated map.

The paper has true label maps of both domains. Adaptation has none of the target: give pseudo-labels (--pseudo), and
do not compare with its table, which used true ones. Further differences and what the text leaves open:

* The paper shows its discriminators one-hot maps of real pairs and softmax maps of fakes, which can be told apart
  without a look at the image. Here a fake's map is one-hot as well, with the softmax's gradient (straight through), or
  real maps are smoothed; see `label_smoothing`. Pixels that are unknown (255) in either of the two maps compared are
  unknown in both, so that holes in pseudo-labels give nothing away either.
* Maps are zero-centred as 2 t - 1; an unknown pixel is "not this class" for every class.
* Cross-entropies leave out unknown pixels, and so does the transfiguration loss.
* Weights, the mask of the transfiguration loss and the schedule are not stated: see the settings.

It renders one way: the other would have to read the target's label maps when rendering, which stay closed.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from uda.core.errors import ConfigError
from uda.core.lazy import lazy_import
from uda.core.training import OptimizerConfig, ScheduleConfig
from uda.nets import sizes
from uda.translators import _random
from uda.translators._buffer import AbstractTranslatorWithHistory, ImageBuffer
from uda.translators._domains import OTHER, add_terms, domain_images, made_once
from uda.translators._guided import GuidedWeightsBase, check_guide, symmetric_ce
from uda.translators._maps import domain_maps, known_pixels, one_hot
from uda.translators._resnet import ResnetGeneratorConfigBase
from uda.translators.base import Direction, Least, Setting, Translation

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from uda.data.batch import Batch, Context
    from uda.losses import cross_entropy, gan, semgan
    from uda.nets import blocks, patchgan, resnet_translation
    from uda.nets.blocks import Draw
else:
    torch = lazy_import("torch")
    cross_entropy, gan, semgan = (lazy_import(f"uda.losses.{name}") for name in ("cross_entropy", "gan", "semgan"))
    blocks, patchgan, resnet_translation = (
        lazy_import(f"uda.nets.{name}") for name in ("blocks", "patchgan", "resnet_translation")
    )

_UNSTATED = 10.0
"""Weight of a mode's own loss (not from the paper: as much as the reconstruction's)."""
_OWN_LOSS = {"adaptation": "domain", "transfiguration": "objects"}
"""The loss that the paper has for each mode alone."""
_Class = Annotated[int, Field(ge=0)] | Annotated[str, Field(min_length=1)]


class SemganWeights(GuidedWeightsBase):
    """Weight of each term, summed over the two directions; 0 switches it off. The paper states none."""

    gan: float = Field(default=1.0, ge=0)
    """L_adv of both domains: adversarial loss of the generators (CycleGAN: 1)."""
    identity: float = Field(default=5.0, ge=0)
    """L_id: a generator that is fed its own domain gives it back; L1 of the image, cross-entropy of the map (CycleGAN:
    5)."""
    reconstruction: float = Field(default=10.0, ge=0)
    """L_rec: there and back; L1 of the image, cross-entropy of the map (CycleGAN: 10)."""
    objects: float | None = Field(default=None, ge=0)
    """L_obj: L1 of image and translation on the pixels that `objects_mask` picks; None: 10 in transfiguration, 0 in
    adaptation, where it would keep every pixel as it is (not from the paper)."""
    domain: float | None = Field(default=None, ge=0)
    """L_dom: cross-entropy of the translated map with the input's labels; None: 10 in adaptation, 0 in
    transfiguration, where it would leave the pixels of both classes out (not from the paper)."""
    discriminator: float = Field(default=0.5, ge=0)
    """Adversarial loss of the discriminators, real and fake summed, hence halved (CycleGAN)."""


class SemganConfig(ResnetGeneratorConfigBase):
    """Settings of `semgan`."""

    name: str = "semgan"
    """Name of the method."""
    mode: Literal["adaptation", "transfiguration"] = "adaptation"
    """Keep the label map, or turn objects of one class into objects of another (the paper's two tasks)."""
    classes: tuple[_Class, _Class] | None = None
    """Transfiguration: the class that disappears from source images and the one that takes its place, as target images
    have it; names of the label space, or indices. `uda show LABEL_SPACE` lists the classes; the first has index 0.
    Everything around the objects must be of a class too: where maps of COCO's kind are 255, nothing is learnt. Which
    images come in is the manifests' affair: horses in --source, zebras in --target (`uda prepare` chooses them by
    `select.classes`)."""
    objects_mask: Literal["unchanged", "changed"] = "unchanged"
    """Where L_obj holds: where the class stayed the same, which keeps the background (the paper's conclusion), or where
    it changed (the letter of its section 3.1.1)."""
    label_smoothing: float | None = Field(default=None, ge=0, lt=1)
    """How fakes' maps are made like real ones (not from the paper). None: one-hot of their most likely class, with the
    softmax's gradient straight through. A number s: softmax maps, and for the discriminators real maps with
    1 - s + s/N on the pixel's class and s/N on the other N - 1; 0 is what the text says."""
    upsampling: Literal["transposed", "nearest"] = "nearest"
    """Nearest neighbours and a convolution (paper), or CycleGAN's transposed convolutions."""
    discriminator_norm: Literal["instance", "none"] = "instance"
    """What follows the discriminators' middle convolutions (CycleGAN); without it they see how bright patches are."""
    discriminator_details: float = Field(default=0.0, ge=0)
    """Where it is not 0, the discriminators see an image's fine details beside it, so many times as strong: faint
    textures are learnt in fewer steps (not from the paper)."""
    discriminator_width: int = Field(default=64, ge=1)
    """Channels after a discriminator's first convolution (CycleGAN)."""
    discriminator_layers: int = Field(default=3, ge=1)
    """Convolutions of stride 2 in each discriminator; 3: patches of 70x70 (CycleGAN)."""
    gan_loss: Literal["lsgan", "bce"] = "lsgan"
    """Least squares (CycleGAN's code, which the paper builds on) or cross-entropy."""
    buffer: int = Field(default=50, ge=0)
    """Earlier fakes of each domain, each 3 + N channels, that the discriminators are shown too (CycleGAN)."""
    weights: SemganWeights = SemganWeights()
    """Weights of the loss terms."""
    optimizers: Mapping[str, OptimizerConfig] = {
        "generator": OptimizerConfig(lr=2e-4, betas=(0.5, 0.999)),
        "discriminator": OptimizerConfig(lr=2e-4, betas=(0.5, 0.999)),
    }
    """Adam, the same for both players (CycleGAN's code)."""
    schedule: ScheduleConfig = ScheduleConfig(name="linear_tail", constant=0.5)
    """Constant for the first half, then linearly to 0 (CycleGAN)."""

    @model_validator(mode="after")
    def _classes_fit_the_mode(self) -> Self:
        if self.mode == "adaptation" and self.classes is not None:
            raise ValueError("classes are for transfiguration: leave them out, or set mode to transfiguration")
        if self.mode == "transfiguration" and (self.classes is None or self.classes[0] == self.classes[1]):
            raise ValueError("transfiguration needs two different classes: set classes to [FROM, TO]")
        if self.mode == "transfiguration" and self.weights.symmetric_ce:
            raise ValueError("weights.symmetric_ce keeps what transfiguration turns: set it to 0")
        if not self.term_weights["objects"]:
            self.require_default("weights.objects is 0", "objects_mask")
        return self

    @property
    def term_weights(self) -> dict[str, float]:
        """Weights of all terms, those that follow the mode resolved."""
        own = _OWN_LOSS[self.mode]
        unset = {name: _UNSTATED if name == own else 0.0 for name in _OWN_LOSS.values()}
        return {name: unset[name] if weight is None else weight for name, weight in dict(self.weights).items()}

    @classmethod
    def tiny(cls) -> Self:
        """Settings for tests."""
        return cls(
            width=4,
            blocks=1,
            discriminator_width=4,
            discriminator_layers=2,
            buffer=3,
            weights=SemganWeights(objects=1.0, domain=10.0, symmetric_ce=0.2),
        )


class Semgan(AbstractTranslatorWithHistory):
    """`encoder_DOMAIN`, `image_decoder_DOMAIN` and `map_decoder_DOMAIN` make pairs of that domain out of the other's.

    Raises:
        ConfigError: `classes` are none of the label space, or no guide where the symmetric cross-entropy needs one.
    """

    Config = SemganConfig
    needs = "target_maps"
    translates = "both"
    size_multiple = 4

    def __init__(self, config: SemganConfig, setting: Setting) -> None:
        self.config, self._classes = config, setting.num_classes
        check_guide(self, setting, "translator.weights.symmetric_ce 0")
        self._setting = setting
        self._turned = _turned_classes(config, setting)
        self._buffers = {domain: ImageBuffer(config.buffer) for domain in OTHER}
        channels = 3 + setting.num_classes
        encoder = partial(resnet_translation.ResnetEncoder, channels, config.width, config.blocks)
        decoder = partial(resnet_translation.ResnetDecoder, width=config.width, upsampling=config.upsampling)
        decoder = partial(decoder, norm=config.generator_norm, skips=config.skips)
        judge = partial(patchgan.PatchDiscriminator, channels, config.discriminator_width, config.discriminator_layers)
        networks: dict[str, nn.Module] = {}
        for domain in OTHER:
            networks |= {
                f"encoder_{domain}": encoder(norm=config.generator_norm),
                f"image_decoder_{domain}": decoder(3, noise=config.noise),
                f"map_decoder_{domain}": decoder(setting.num_classes),
                f"discriminator_{domain}": judge(config.discriminator_norm, config.discriminator_details),
            }
            if config.residual:
                networks[f"retouch_{domain}"] = blocks.Retouch()
        self.networks: Mapping[str, nn.Module] = {
            name: patchgan.initialise_gan(network) for name, network in networks.items()
        }

    @classmethod
    def smallest(cls, config: SemganConfig, *, batch: int | None = None) -> Least:
        """Where it is fitted the discriminators need more than the generators."""
        if batch is None:
            return Least(sizes.CONTENT_SIDE)
        side = sizes.patch_side(config.discriminator_layers)
        return Least(max(sizes.CONTENT_SIDE, side), instead="lower translator.discriminator_layers")

    @classmethod
    def check_classes(cls, config: SemganConfig, setting: Setting) -> None:
        """Both of `SemganConfig.classes` must be of the label space."""
        _turned_classes(config, setting)

    def losses(self, player: str, batch: Batch, context: Context) -> dict[str, Tensor]:
        """Terms of one turn, each summed over both directions; see `SemganWeights`.

        Raises:
            DataError: images or label maps of a domain are missing.
        """
        images = domain_images(batch, *OTHER, method="semgan")
        labels = domain_maps(batch, *OTHER, method="semgan")
        if player == "discriminator":
            return {"discriminator": self._discriminators(images, labels, context)}
        terms: dict[str, Tensor] = {}
        for domain in OTHER:
            add_terms(terms, self._one_way(domain, images, labels, context))
        return terms

    def translate(
        self, batch: Batch, *, generator: torch.Generator, direction: Direction = "source_to_target"
    ) -> Translation:
        """Source images under their label maps, with noise that `generator` draws where it has any.

        In transfiguration the labels are the new ones.

        Raises:
            DataError: the batch has no source images, or no label maps of them.
        """
        images = domain_images(batch, "source", method="semgan")["source"]
        labels = domain_maps(batch, "source", method="semgan")["source"]
        maps = one_hot(labels, self._classes)
        made, logits = self._translated("target", images, maps, _random.drawing(generator))
        if self.config.mode == "transfiguration":
            labels = self._labels_after("source", labels, logits)
        return Translation(made, labels)

    def _one_way(
        self, domain: str, images: Mapping[str, Tensor], labels: Mapping[str, Tensor], context: Context
    ) -> dict[str, Tensor]:
        """The generators' terms of translating one domain's pairs to the other domain and back."""
        weights, there, terms = self.config.term_weights, OTHER[domain], {}
        real, own = images[domain], labels[domain]
        maps = one_hot(own, self._classes)
        fake, logits = self._translated(there, real, maps, _random.drawing())
        shown = self._shown(logits)
        context.made[f"fake_{there}"] = self._pair(fake, shown, maps)
        if weights["gan"]:
            known = known_pixels(maps) * known_pixels(one_hot(labels[there], self._classes))
            terms["gan"] = gan.generator_loss(self.config.gan_loss, self._judged(there, fake, shown, known))
        if weights["identity"]:
            terms["identity"] = semgan.pair_distance(*self._translated(domain, real, maps), real, own)
        if weights["reconstruction"]:
            terms["reconstruction"] = semgan.pair_distance(*self._translated(domain, fake, shown), real, own)
        if weights["objects"]:
            after, changed = self._labels_after(domain, own, logits), self.config.objects_mask == "changed"
            terms["objects"] = semgan.objects_distance(fake, real, own, after, changed=changed)
        if weights["domain"]:
            terms["domain"] = cross_entropy.cross_entropy(logits, semgan.without(own, self._turned or ()))
        if weights["symmetric_ce"]:
            terms["symmetric_ce"] = symmetric_ce(self._setting, domain, real, fake)
        return terms

    def _discriminators(self, images: Mapping[str, Tensor], labels: Mapping[str, Tensor], context: Context) -> Tensor:
        """Loss of both discriminators on real pairs and on fakes, new or out of the buffer."""
        losses = []
        for domain, there in OTHER.items():
            make = partial(self._fake_pair, there, images[domain], labels[domain])
            pair = self._buffers[there].exchange(made_once(context, f"fake_{there}", make))
            fake, fake_maps = pair[:, :3], pair[:, 3:]
            real_maps = self._real_maps(labels[there])
            known, kind = known_pixels(real_maps) * known_pixels(fake_maps), self.config.gan_loss
            real_raw = self._judged(there, images[there], real_maps, known)
            losses.append(gan.discriminator_loss(kind, real_raw, real=True))
            losses.append(gan.discriminator_loss(kind, self._judged(there, fake, fake_maps, known), real=False))
        return torch.stack(losses).sum()

    def _fake_pair(self, there: str, images: Tensor, labels: Tensor) -> Tensor:
        """A translation as `discriminator_THERE` sees it, map and all."""
        maps = one_hot(labels, self._classes)
        fake, logits = self._translated(there, images, maps, _random.drawing())
        return self._pair(fake, self._shown(logits), maps)

    def _translated(
        self, there: str, images: Tensor, maps_BNHW: Tensor, draw: Draw | None = None
    ) -> tuple[Tensor, Tensor]:
        """Images in [-1, 1] of domain `there` and the raw logits of their maps, from images and maps in [0, 1]."""
        encoder = self.networks[f"encoder_{there}"]
        assert isinstance(encoder, resnet_translation.ResnetEncoder)
        *skips, features = encoder.levels(torch.cat([images, 2 * maps_BNHW - 1], dim=1))
        painted = self.networks[f"image_decoder_{there}"](features, skips, draw).float()
        made = self.networks[f"retouch_{there}"](painted, images) if self.config.residual else torch.tanh(painted)
        return made, self.networks[f"map_decoder_{there}"](features, skips).float()

    def _shown(self, logits_BNHW: Tensor) -> Tensor:
        """A fake's map as the discriminator and the way back see it, in [0, 1]."""
        soft = logits_BNHW.softmax(1)
        if self.config.label_smoothing is not None:
            return soft
        # Added 0 that carries the softmax's gradient; in this order the sum is exactly one-hot.
        return one_hot(logits_BNHW.argmax(1), self._classes) + (soft - soft.detach())

    def _real_maps(self, labels_BHW: Tensor) -> Tensor:
        """Real maps as the discriminators see them, in [0, 1], 0 where unknown."""
        maps, smoothing = one_hot(labels_BHW, self._classes), self.config.label_smoothing or 0.0
        return (1 - smoothing) * maps + smoothing / self._classes * known_pixels(maps)

    def _judged(self, domain: str, images: Tensor, maps_BNHW: Tensor, known_B1HW: Tensor) -> Tensor:
        """The discriminator's raw outputs on pairs, whose maps it sees on known pixels alone."""
        seen = torch.cat([images, 2 * maps_BNHW * known_B1HW - 1], dim=1)
        raw: Tensor = self.networks[f"discriminator_{domain}"](seen)
        return raw

    def _pair(self, fake: Tensor, shown: Tensor, maps_BNHW: Tensor) -> Tensor:
        """A fake for the discriminator: image and map in one, the map 0 where the input's was unknown."""
        return torch.cat([fake, shown * known_pixels(maps_BNHW)], dim=1).detach()

    def _labels_after(self, domain: str, labels_BHW: Tensor, logits_BNHW: Tensor) -> Tensor:
        """The labels of translations from `domain`."""
        predicted = logits_BNHW.argmax(1)
        if self._turned is None:
            return predicted
        old, new = self._turned if domain == "source" else self._turned[::-1]
        return semgan.transfigured(labels_BHW, predicted, old, new)


def _turned_classes(config: SemganConfig, setting: Setting) -> tuple[int, int] | None:
    """Indices of the class that disappears and of the one that takes its place; None in adaptation.

    Raises:
        ConfigError: one is not of the label space, or both are the same.
    """
    if config.classes is None:
        return None
    old, new = (setting.class_index(given, "translator.classes") for given in config.classes)
    if old == new:
        raise ConfigError(
            f"{config.classes[0]} and {config.classes[1]} are one class", "translator.classes", "give two"
        )
    return old, new
