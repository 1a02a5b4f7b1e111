"""Small translators of every kind, what they are fed, and a player's turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from uda.core import registry
from uda.data.batch import Batch, Context
from uda.nets.segmenter import SegmenterNetwork, as_guide
from uda.translators.base import AbstractTranslator, Setting

CLASSES, SIZE = 4, 64


class _Body(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, CLASSES, 1))

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"main": self.layers(images)}


def small_guide() -> SegmenterNetwork:
    """A guide with random weights, always the same."""
    torch.manual_seed(7)
    return as_guide(SegmenterNetwork(_Body(), frame="imagenet"))


def build(
    name: str, guide: Callable[[torch.Tensor], torch.Tensor], seed: int = 0, **settings: Any
) -> AbstractTranslator:
    """A method's `tiny()`, with some settings changed."""
    torch.manual_seed(seed)
    cls = registry.load("translators", name)
    config = cls.Config.model_validate({**cls.Config.tiny().model_dump(), **settings})
    translator: AbstractTranslator = cls(config, Setting(CLASSES, guide))
    return translator


def make_batch(seed: int = 0) -> Batch:
    """Two images a domain, coarse label maps, some pixels ignored."""
    generator = torch.Generator().manual_seed(seed)

    def labels() -> torch.Tensor:
        coarse = torch.randint(0, CLASSES, (2, 1, 8, 8), generator=generator).float()
        full = nn.functional.interpolate(coarse, size=(SIZE, SIZE)).long()[:, 0]
        full[:, :2] = 255
        return full

    images = [torch.rand(2, 3, SIZE, SIZE, generator=generator) * 2 - 1 for _ in range(2)]
    return Batch(images[0], labels(), images[1], labels())


def stirred(module: nn.Module, generator: torch.Generator) -> None:
    """Move weights off their first values, zeros above all."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.is_floating_point():
                parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))


def turn(translator: AbstractTranslator, player: str, batch: Batch, context: Context) -> dict[str, torch.Tensor]:
    """One player's turn as the engine takes it, up to the backward pass."""
    players = translator.players()
    for name, parameters in players.items():
        for parameter in parameters:
            parameter.grad = None
            parameter.requires_grad_(name == player)
    terms = translator.losses(player, batch, context)
    weights = translator.config.term_weights
    total = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
    total.backward()
    return terms
