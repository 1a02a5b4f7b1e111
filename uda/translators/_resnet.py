"""CycleGAN's generator as a method's settings say, for those that are built on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from uda.core.lazy import lazy_import

if TYPE_CHECKING:
    from uda.nets import resnet_translation
else:
    resnet_translation = lazy_import("uda.nets.resnet_translation")


class GeneratorSettings(Protocol):
    """What the settings of such a method say of its generators."""

    @property
    def width(self) -> int:
        """Channels at full resolution."""

    @property
    def blocks(self) -> int:
        """Residual blocks."""

    @property
    def upsampling(self) -> Literal["transposed", "nearest"]:
        """How features grow."""

    @property
    def generator_norm(self) -> bool:
        """Instance norm outside the residual blocks."""

    @property
    def skips(self) -> bool:
        """Features go from the encoder to the decoder."""

    @property
    def residual(self) -> bool:
        """Images are retouched."""

    @property
    def noise(self) -> bool:
        """Noise comes into translations."""


def make_generator(config: GeneratorSettings) -> resnet_translation.ResnetGenerator:
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
