"""Bytes on disk that a step of each stage needs when it is over: by counts and sizes, nothing is measured."""

from __future__ import annotations

from typing import Any

from uda.cost.sets import Sets, minicity_images, pixels, rendered, rendering_size
from uda.pipeline import Planned

_IMAGE_BYTES_PER_PIXEL = 2.0
"""A PNG of a photograph: 3 bytes a pixel before, about two thirds of that after compression."""
_LABEL_BYTES_PER_PIXEL = 0.05
_DRAWN_BYTES_PER_PIXEL = _IMAGE_BYTES_PER_PIXEL + 0.3
"""Of mini-city, with its label."""
_MODEL_BYTES = 200e6
"""A ResNet-101 segmenter, or a translator, with its optimiser's state while it runs."""
SMALL_MODEL_BYTES = 60e6
"""The same of a recipe for small images."""
_SMALL_PIXELS = 256 * 1024
_TABLE_BYTES = 1e5
"""What a step leaves that writes no images and no networks."""


def minicity_bytes(one: Planned, _: Sets) -> float:
    """Images and labels that are drawn."""
    config: Any = one.config
    return minicity_images(config) * pixels((config.height, config.width)) * _DRAWN_BYTES_PER_PIXEL


def model_bytes(one: Planned, _: Sets) -> float:
    """A network."""
    config: Any = one.config
    return _MODEL_BYTES if pixels(config.size) > _SMALL_PIXELS else SMALL_MODEL_BYTES


def translate_bytes(one: Planned, sets: Sets) -> float:
    """Images and labels that are rendered, and a network."""
    images, labels = rendered(one, sets)
    each = images * _IMAGE_BYTES_PER_PIXEL + labels * _LABEL_BYTES_PER_PIXEL
    return each * pixels(rendering_size(one.config)) + model_bytes(one, sets)


def pseudo_label_bytes(one: Planned, sets: Sets) -> float:
    """Labels."""
    config: Any = one.config
    return sets.of(one.inputs["target"]).count * pixels(config.size) * _LABEL_BYTES_PER_PIXEL


def table_bytes(_: Planned, __: Sets) -> float:
    """Tables alone."""
    return _TABLE_BYTES
