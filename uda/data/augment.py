"""Augmentation: geometry of one image with its label on the CPU, colours of a batch on the device.

All randomness comes from the generator that is handed in, so a run can be resumed bit for bit. Labels are moved,
never interpolated.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from kornia import enhance, filters
from numpy.typing import NDArray
from torch import Tensor

from uda.data.augment_config import AugmentConfig, BlurConfig, ClassColorsConfig, ColorJitterConfig
from uda.data.label_space import IGNORE

Pixels = NDArray[np.uint8]
_VALUES = 256
"""Values that a label can have."""


@dataclass(frozen=True)
class Geometry:
    """A resize, a window and a mirroring, drawn for one picture: image and maps of one size go the same way.

    Attributes:
        resized: height and width after the resize.
        window: height and width of the crop.
        start: first row and column of the window in the picture; negative where the picture lies within it.
        mirrored: whether left and right change places.
    """

    resized: tuple[int, int]
    window: tuple[int, int]
    start: tuple[int, int]
    mirrored: bool

    def image(self, image_HWC: Pixels) -> Pixels:
        """The image, uint8 RGB; what it does not cover of the window has its mean colour."""
        if image_HWC.shape[:2] != self.resized:
            smaller = any(to < of for to, of in zip(self.resized, image_HWC.shape[:2], strict=True))
            image_HWC = self._resize(image_HWC, cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
        if not self._covered:
            image_HWC = self._crop(image_HWC, image_HWC.mean(axis=(0, 1)).round().astype(np.uint8))
        elif self.window != self.resized:
            image_HWC = self._crop(image_HWC, 0)
        return self._mirror(image_HWC)

    def label(self, label_HW: Pixels) -> Pixels:
        """The map of class indices; what it does not cover of the window is 255."""
        if label_HW.shape != self.resized:
            label_HW = self._resize(label_HW, cv2.INTER_NEAREST_EXACT)
        return self._mirror(self._crop(label_HW, IGNORE))

    @property
    def _covered(self) -> bool:
        """Whether the picture covers all of the window."""
        sides = zip(self.start, self.resized, self.window, strict=True)
        return all(start >= 0 and start + want <= have for start, have, want in sides)

    def _resize(self, picture: Pixels, interpolation: int) -> Pixels:
        resized: Pixels = cv2.resize(picture, self.resized[::-1], interpolation=interpolation)
        return resized

    def _crop(self, picture: Pixels, fill: Pixels | int) -> Pixels:
        if self.window == self.resized:
            return picture
        cropped = np.empty((*self.window, *picture.shape[2:]), np.uint8)
        cropped[...] = fill
        inner, outer = [], []
        for start, have, want in zip(self.start, self.resized, self.window, strict=True):
            inner.append(slice(max(start, 0), min(start + want, have)))
            outer.append(slice(max(-start, 0), max(-start, 0) + min(have, want)))
        cropped[tuple(outer)] = picture[tuple(inner)]
        return cropped

    def _mirror(self, picture: Pixels) -> Pixels:
        return np.ascontiguousarray(picture[:, ::-1] if self.mirrored else picture)


def draw_geometry(size: tuple[int, int], config: AugmentConfig, rng: np.random.Generator) -> Geometry:
    """Where a picture of `size` (height, width) goes.

    Args:
        size: of the picture.
        config: what to do; colours are left to `augment_colors`. A crop is taken anywhere; along a side that is too
            short, the picture lies anywhere in it. Without one the picture comes back at the size that it came in.
        rng: source of all randomness.
    """
    window, resized = config.crop or size, size
    if config.scale != (1.0, 1.0):
        factor = rng.uniform(*config.scale)
        resized = (max(1, round(size[0] * factor)), max(1, round(size[1] * factor)))
    start = (0, 0)
    if resized != window:
        start = (_first(resized[0], window[0], rng), _first(resized[1], window[1], rng))
    return Geometry(resized, window, start, mirrored=bool(config.flip and rng.random() < config.flip))


def _first(have: int, want: int, rng: np.random.Generator) -> int:
    return int(rng.integers(min(0, have - want), max(0, have - want) + 1))


def augment_geometry(
    image_HWC: Pixels, label_HW: Pixels, config: AugmentConfig, rng: np.random.Generator
) -> tuple[Pixels, Pixels]:
    """Random resize, crop and mirroring of an image together with its label.

    Args:
        image_HWC: uint8 RGB.
        label_HW: uint8 class indices, 255 = ignore, of the same size.
        config: see `draw_geometry`.
        rng: source of all randomness.

    Returns:
        Both at the size `config.crop`, or at the size that came in.
    """
    geometry = draw_geometry((label_HW.shape[0], label_HW.shape[1]), config, rng)
    return geometry.image(image_HWC), geometry.label(label_HW)


def augment_colors(
    images_BCHW: Tensor, config: AugmentConfig, generator: torch.Generator, labels_BHW: Tensor | None = None
) -> Tensor:
    """Random colours, blur and noise, drawn for each image on its own.

    Args:
        images_BCHW: RGB in [-1, 1], on any device.
        config: what to do; geometry is left to `augment_geometry`.
        generator: source of all randomness; may be a CPU generator whatever the images' device.
        labels_BHW: class indices, 255 = ignore; without them the colours of classes stay.

    Returns:
        Images of the same size, type and range; the input itself where everything is off.
    """
    by_class = labels_BHW is not None and config.class_colors.probability
    if not (by_class or config.color_jitter.probability or config.blur.probability or config.noise):
        return images_BCHW
    with torch.no_grad(), torch.autocast(images_BCHW.device.type, enabled=False):
        images = images_BCHW.float().add(1).div(2).clamp(0, 1)
        if labels_BHW is not None and by_class:
            images = _color_classes(images, labels_BHW, config.class_colors, generator)
        if config.color_jitter.probability:
            images = _jitter(images, config.color_jitter, generator)
        if config.blur.probability:
            images = _blur(images, config.blur, generator)
        images = images * 2 - 1
        if config.noise:
            images = images + config.noise * _normal(tuple(images.shape), generator).to(images.device)
        return images.clamp(-1, 1).to(images_BCHW.dtype)


def _uniform(low: float, high: float, like_BCHW: Tensor, generator: torch.Generator) -> Tensor:
    """One number an image, shape (B,), on the images' device."""
    drawn = torch.rand(like_BCHW.shape[0], generator=generator, device=generator.device)
    return (low + (high - low) * drawn).to(like_BCHW.device)


def _chosen(probability: float, like_BCHW: Tensor, generator: torch.Generator) -> Tensor:
    """Which images are changed, (B, 1, 1, 1) bool."""
    return (_uniform(0, 1, like_BCHW, generator) < probability).view(-1, 1, 1, 1)


def _order(count: int, generator: torch.Generator) -> list[int]:
    """A random order of `count` things; of a GPU's generator the seed is taken, for its numbers would be waited for."""
    if generator.device.type != "cpu":
        generator = torch.Generator().manual_seed(generator.initial_seed())
    return torch.randperm(count, generator=generator).tolist()


def _color_classes(
    images_BCHW: Tensor, labels_BHW: Tensor, config: ClassColorsConfig, generator: torch.Generator
) -> Tensor:
    """Each class of each image in a tone of its own; what is labelled 255 is one of them."""
    chosen = _chosen(config.probability, images_BCHW, generator)
    factors = config.brightness * _normal((len(images_BCHW), _VALUES, 1), generator)
    factors = (factors + config.cast * _normal((len(images_BCHW), _VALUES, 3), generator)).exp()
    kept = torch.rand((len(images_BCHW), _VALUES, 1), generator=generator, device=generator.device)
    tones = torch.cat([factors, 1 - config.saturation * kept], dim=2).to(images_BCHW.device)
    own = tones[torch.arange(len(tones), device=tones.device)[:, None, None], labels_BHW].permute(0, 3, 1, 2)
    grey = images_BCHW.mean(dim=1, keepdim=True)
    colored = ((grey + own[:, 3:] * (images_BCHW - grey)) * own[:, :3]).clamp(0, 1)
    return torch.where(chosen, colored, images_BCHW)


def _normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, device=generator.device)


def _jitter(images_BCHW: Tensor, config: ColorJitterConfig, generator: torch.Generator) -> Tensor:
    chosen = _chosen(config.probability, images_BCHW, generator)
    steps = (
        (enhance.adjust_brightness_accumulative, config.brightness, 1.0, 1.0),
        (enhance.adjust_contrast_with_mean_subtraction, config.contrast, 1.0, 1.0),
        (enhance.adjust_saturation_with_gray_subtraction, config.saturation, 1.0, 1.0),
        (enhance.adjust_hue, config.hue, 0.0, 2 * torch.pi),  # kornia turns hue by radians
    )
    jittered = images_BCHW
    for step in _order(len(steps), generator):
        adjust, strength, middle, unit = steps[step]
        amount = _uniform(middle - strength, middle + strength, images_BCHW, generator) * unit
        if strength:
            jittered = adjust(jittered, amount).clamp(0, 1)
    return torch.where(chosen, jittered, images_BCHW)


def _blur(images_BCHW: Tensor, config: BlurConfig, generator: torch.Generator) -> Tensor:
    chosen = _chosen(config.probability, images_BCHW, generator)
    sigma = _uniform(*config.sigma, images_BCHW, generator)
    reach = min(int(np.ceil(3 * config.sigma[1])), (min(images_BCHW.shape[-2:]) - 1) // 2)  # reflection needs room
    kernel = 2 * reach + 1
    blurred: Tensor = filters.gaussian_blur2d(images_BCHW, (kernel, kernel), torch.stack([sigma, sigma], dim=1))
    return torch.where(chosen, blurred, images_BCHW)
