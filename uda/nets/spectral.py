"""Spectral normalisation (Miyato et al. 2018), computed once a turn and always in float32."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

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


@torch.no_grad()
def settle(network: nn.Module, iterations: int = 50) -> None:
    """Iterate until the singular values are those of the weights as they are, whatever moved these meanwhile.

    Averaged weights need it: the vectors that were copied with them are those of other weights, by which they would be
    divided by a value some percent too small. OASIS's code does so in passing: its average is in training mode for the
    batches that its BatchNorm statistics are estimated from, 50 by default.

    Args:
        network: changed in place; comes back in the mode it was in.
        iterations: of power iteration.
    """
    for module in network.modules():
        if parametrize.is_parametrized(module, "weight"):
            weight: Any = module.parametrizations.weight  # type: ignore[union-attr]  # set by torch
            normalisation, original = weight[0], weight.original
            mode = normalisation.training
            normalisation.train()
            with torch.autocast(original.device.type, enabled=False):
                for _ in range(iterations):
                    getattr(module, "weight")  # noqa: B009  # reading it iterates once
            normalisation.train(mode)


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
