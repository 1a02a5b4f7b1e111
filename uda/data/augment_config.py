"""Settings of augmentation; importable without torch. The 2019-2020 papers' recipes use none, so all is off."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from uda.core.config import Config

Probability = Annotated[float, Field(ge=0, le=1)]
Strength = Annotated[float, Field(ge=0, le=1)]


def rows_seen(parts: tuple[float, float], height: int) -> slice:
    """The rows of an image between two parts of its height, in [0, 1]."""
    first, last = parts
    return slice(round(first * height), round(last * height))


class ColorJitterConfig(Config):
    """Random brightness, contrast, saturation and hue (DACS: 0.25 each with probability 0.8; DAFormer: 0.2)."""

    probability: Probability = 0.0
    """Part of the images that are jittered."""
    brightness: Strength = 0.2
    """Factor drawn from [1 - b, 1 + b]."""
    contrast: Strength = 0.2
    """Factor about the image's mean grey, drawn from [1 - c, 1 + c]."""
    saturation: Strength = 0.2
    """Factor about the pixel's grey, drawn from [1 - s, 1 + s]."""
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.2
    """Turn of the hue circle, drawn from [-h, h]; 0.5 is half a turn."""


class ClassColorsConfig(Config):
    """Random brightness and colour of each class in each image of the labelled set (not from a paper).

    Classes are then known by place and shape, not by tones that another domain does not share.
    """

    probability: Probability = 0.0
    """Part of the images whose classes are changed."""
    brightness: Strength = 0.45
    """Standard deviation of the logarithm of a class's factor; with 0.45 two of three lie between 0.64 and 1.57."""
    cast: Strength = 0.12
    """Standard deviation of the logarithm of a further factor, of each of its channels."""
    saturation: Strength = 1.0
    """Factor about a pixel's grey, drawn from [1 - s, 1]: a class fades, down to grey at 1."""


class BlurConfig(Config):
    """Gaussian blur (DACS: probability 0.5, sigma 0.15 to 1.15)."""

    probability: Probability = 0.0
    """Part of the images that are blurred."""
    sigma: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (0.15, 1.15)
    """Range of the standard deviation, in pixels."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.sigma[0] > self.sigma[1]:
            raise ValueError("sigma must be [smallest, largest]")
        return self


class AugmentConfig(Config):
    """What happens to training images: geometry with the label on the CPU, colours alone on the device."""

    flip: Probability = 0.0
    """Part of the images that are mirrored left to right."""
    scale: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (1.0, 1.0)
    """Range of a random resize [smallest, largest] before the crop."""
    crop: tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]] | None = None
    """Height and width of a random crop; null keeps the size that came in. What is missing is padded: the image with
    its mean colour, the label with 255."""
    class_colors: ClassColorsConfig = ClassColorsConfig()
    """Colours of each class by itself, before what follows."""
    color_jitter: ColorJitterConfig = ColorJitterConfig()
    """Colour jitter."""
    blur: BlurConfig = BlurConfig()
    """Gaussian blur."""
    noise: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Standard deviation of Gaussian noise, in units of the [-1, 1] range."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.scale[0] > self.scale[1]:
            raise ValueError("scale must be [smallest, largest]")
        return self
