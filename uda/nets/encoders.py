"""Encoders of segmentation-models-pytorch and timm by name, from random weights, with errors that people can act on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from segmentation_models_pytorch.encoders import encoders as _known
from segmentation_models_pytorch.encoders import get_encoder
from torch import Tensor, nn

from uda.core.errors import ConfigError, nearest


class Features(nn.Module):
    """An encoder that gives the last two of its feature maps, the deeper one last.

    Args:
        encoder: images_BCHW -> feature maps, shallow to deep.
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.model = encoder

    def forward(self, images_BCHW: Tensor) -> list[Tensor]:
        """Two feature maps."""
        return cast(list[Tensor], self.model(images_BCHW))[-2:]


def make_features(name: str, output_stride: int) -> tuple[nn.Module, tuple[int, int]]:
    """An encoder by name and the channels of its last two feature maps; nothing is downloaded.

    Args:
        name: of segmentation-models-pytorch, or `tu-` and a name of timm.
        output_stride: 8, 16 or 32: image side over the side of the deepest features, by dilation.

    Raises:
        ConfigError: no such encoder, or one that cannot be dilated.
    """
    check_encoder(name)
    with told_as_config_error(f"encoder {name}"):
        encoder = get_encoder(name, weights=None, output_stride=output_stride)
    before, last = encoder.out_channels[-2:]
    return Features(encoder), (before, last)


def check_encoder(name: str) -> None:
    """Refuse a name that is none of segmentation-models-pytorch; timm checks its own (`tu-...`) when it builds them."""
    if name not in _known and not name.startswith("tu-"):
        raise ConfigError(f"unknown encoder '{name}'", "encoder", f"{nearest(name, _known)} (timm's begin with tu-)")


@contextmanager
def told_as_config_error(where: str) -> Iterator[None]:
    """Turn what the libraries raise while they build a network into one line."""
    try:
        yield
    except (KeyError, TypeError, ValueError, RuntimeError, NotImplementedError, AssertionError) as error:
        text = " ".join(str(error.args[0] if error.args else error).split())
        text = text or f"cannot be built like that ({type(error).__name__})"  # timm's encoders that cannot be dilated
        raise ConfigError(text, where, "choose settings that the library can build") from error
