"""Spectral normalisation (Miyato et al. 2018), computed once a turn and always in float32."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm


def spectral_normalise(network: nn.Module) -> nn.Module:
    """Divide the weight of every convolution by its largest singular value, found by one power iteration a use.

    Args:
        network: changed in place and returned; its weights should be initialised already.
    """
    for module in list(network.modules()):
        if isinstance(module, nn.Conv2d):
            spectral_norm(module)
    return network


@contextmanager
def weights_once(networks: Iterable[nn.Module]) -> Iterator[None]:
    """Within the block each spectrally normalised weight is computed once, however often its layer runs.

    A network that runs three times in a turn would otherwise pay for three power iterations (which would also move
    the estimate between two uses of one weight). They are computed here, out of autocast: singular values in bfloat16
    are off by up to half a percent. Gradients flow through the shared weight as usual.
    """
    with parametrize.cached():
        for network in networks:
            for module in network.modules():
                if parametrize.is_parametrized(module, "weight"):
                    original = next(module.parametrizations.parameters())  # type: ignore[union-attr]  # set by torch
                    with torch.autocast(original.device.type, enabled=False):
                        getattr(module, "weight")  # noqa: B009  # reading it fills the cache
        yield
