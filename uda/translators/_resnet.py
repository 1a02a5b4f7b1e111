"""CycleGAN's generator, for the methods that are built on it: its settings and how they make it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from uda.core.lazy import lazy_import
from uda.translators.base import TranslatorConfigBase

if TYPE_CHECKING:
    from uda.nets import resnet_translation
else:
    resnet_translation = lazy_import("uda.nets.resnet_translation")


class ResnetGeneratorConfigBase(TranslatorConfigBase):
    """What settings say of such generators; defaults are CycleGAN's, which are those of SG-GAN's code too."""

    width: int = Field(default=64, ge=1)
    """Channels of the generators at full resolution (paper)."""
    blocks: int = Field(default=9, ge=0)
    """Residual blocks of each generator (paper, for 256 pixels and more; 6 for 128)."""
    upsampling: Literal["transposed", "nearest"] = "transposed"
    """Transposed convolutions (paper), or nearest neighbours and a convolution (as SemGAN), against checkerboards."""
    generator_norm: bool = True
    """Instance norm outside the generators' residual blocks (paper). It takes brightness and contrast away; short fits
    do better without."""
    skips: bool = False
    """Generators hand features from before each halving on to after each doubling (not from the paper)."""
    residual: bool = False
    """Generators retouch their image instead of painting a whole one, so that edges stay (not from the paper)."""
    noise: bool = False
    """Translations get noise in the generators, for textures that their input lacks; without it there is nothing but
    patterns for them (not from the paper)."""


def make_generator(config: ResnetGeneratorConfigBase) -> resnet_translation.ResnetGenerator:
    """A generator, not yet initialised."""
    return resnet_translation.ResnetGenerator(
        config.width,
        config.blocks,
        config.upsampling,
        norm=config.generator_norm,
        skips=config.skips,
        residual=config.residual,
        noise=config.noise,
    )
