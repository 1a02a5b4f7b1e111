"""Augmentation: geometry of one image with its label on the CPU, colours of a batch on the device.

All randomness comes from the generator that is handed in, so a run can be resumed bit for bit. Labels are moved,
never interpolated.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from kornia import enhance, filters
from numpy.typing import NDArray
from torch import Tensor

from uda.data.augment_config import AugmentConfig, BlurConfig, ColorJitterConfig
from uda.data.label_space import IGNORE

Pixels = NDArray[np.uint8]


def augment_geometry(
    image_HWC: Pixels, label_HW: Pixels, config: AugmentConfig, rng: np.random.Generator
) -> tuple[Pixels, Pixels]:
    """Random resize, crop and mirroring of an image together with its label.

    Args:
        image_HWC: uint8 RGB.
        label_HW: uint8 class indices, 255 = ignore, of the same size.
        config: what to do; colours are left to `augment_colors`.
        rng: source of all randomness.

    Returns:
        Both at the size `config.crop`, or at the size that came in.
    """
    size = config.crop or (label_HW.shape[0], label_HW.shape[1])
    if config.scale != (1.0, 1.0):
        image_HWC, label_HW = _rescale(image_HWC, label_HW, rng.uniform(*config.scale))
    if label_HW.shape != size:
        image_HWC, label_HW = _crop(image_HWC, label_HW, size, rng)
    if config.flip and rng.random() < config.flip:
        image_HWC, label_HW = image_HWC[:, ::-1], label_HW[:, ::-1]
    return np.ascontiguousarray(image_HWC), np.ascontiguousarray(label_HW)


def _rescale(image_HWC: Pixels, label_HW: Pixels, factor: float) -> tuple[Pixels, Pixels]:
    height, width = (max(1, round(length * factor)) for length in label_HW.shape)
    smooth = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    image: Pixels = cv2.resize(image_HWC, (width, height), interpolation=smooth)
    label: Pixels = cv2.resize(label_HW, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    return image, label


def _crop(
    image_HWC: Pixels, label_HW: Pixels, size: tuple[int, int], rng: np.random.Generator
) -> tuple[Pixels, Pixels]:
    """A random window of `size`; along a side that is too short, the picture lies at a random place in it."""
    shift = [int(rng.integers(min(0, have - want), max(0, have - want) + 1)) for have, want in zip(
        label_HW.shape, size, strict=True)]  # fmt: skip
    mean = image_HWC.mean(axis=(0, 1)).round().astype(np.uint8)
    image = np.broadcast_to(mean, (*size, 3)).copy()
    label = np.full(size, IGNORE, np.uint8)
    inner, outer = [], []
    for start, have, want in zip(shift, label_HW.shape, size, strict=True):
        inner.append(slice(max(start, 0), min(start + want, have)))
        outer.append(slice(max(-start, 0), max(-start, 0) + min(have, want)))
    image[tuple(outer)] = image_HWC[tuple(inner)]
    label[tuple(outer)] = label_HW[tuple(inner)]
    return image, label


def augment_colors(images_BCHW: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Random colours, blur and noise, drawn for each image on its own.

    Args:
        images_BCHW: RGB in [-1, 1], on any device.
        config: what to do; geometry is left to `augment_geometry`.
        generator: source of all randomness; may be a CPU generator whatever the images' device.

    Returns:
        Images of the same size, type and range; the input itself where everything is off.
    """
    if not (config.color_jitter.probability or config.blur.probability or config.noise):
        return images_BCHW
    with torch.no_grad(), torch.autocast(images_BCHW.device.type, enabled=False):
        images = images_BCHW.float().add(1).div(2).clamp(0, 1)
        if config.color_jitter.probability:
            images = _jitter(images, config.color_jitter, generator)
        if config.blur.probability:
            images = _blur(images, config.blur, generator)
        images = images * 2 - 1
        if config.noise:
            noise = torch.randn(images.shape, generator=generator, device=generator.device)
            images = images + config.noise * noise.to(images.device)
        return images.clamp(-1, 1).to(images_BCHW.dtype)


def _uniform(low: float, high: float, like_BCHW: Tensor, generator: torch.Generator) -> Tensor:
    """One number an image, shape (B,), on the images' device."""
    drawn = torch.rand(like_BCHW.shape[0], generator=generator, device=generator.device)
    return (low + (high - low) * drawn).to(like_BCHW.device)


def _chosen(probability: float, like_BCHW: Tensor, generator: torch.Generator) -> Tensor:
    """Which images are changed, (B, 1, 1, 1) bool."""
    return (_uniform(0, 1, like_BCHW, generator) < probability).view(-1, 1, 1, 1)


def _jitter(images_BCHW: Tensor, config: ColorJitterConfig, generator: torch.Generator) -> Tensor:
    chosen = _chosen(config.probability, images_BCHW, generator)
    steps = (
        (enhance.adjust_brightness_accumulative, config.brightness, 1.0, 1.0),
        (enhance.adjust_contrast_with_mean_subtraction, config.contrast, 1.0, 1.0),
        (enhance.adjust_saturation_with_gray_subtraction, config.saturation, 1.0, 1.0),
        (enhance.adjust_hue, config.hue, 0.0, 2 * torch.pi),  # kornia turns hue by radians
    )
    jittered = images_BCHW
    for step in torch.randperm(len(steps), generator=generator, device=generator.device).tolist():
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
