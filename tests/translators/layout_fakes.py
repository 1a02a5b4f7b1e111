"""Label maps and weights for tests of translators from label maps to images."""

from __future__ import annotations

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from uda.translators.base import AbstractTranslator

CLASSES = 3
T = TypeVar("T", bound=AbstractTranslator)


def stirred(translator: T, part: str = "generator") -> T:
    """With networks (those that `part` is in the names of) whose images differ: fresh ones are almost grey."""
    generator = torch.Generator().manual_seed(0)
    for name, network in translator.networks.items():
        if part in name:
            with torch.no_grad():
                for parameter in network.parameters():
                    parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return translator


def make_labels(images: int = 2, seed: int = 0, width: int = 64) -> Tensor:
    """Maps 64 pixels high with blocks of 16 pixels, the topmost rows unknown."""
    coarse = torch.randint(0, CLASSES, (images, 1, 4, width // 16), generator=torch.Generator().manual_seed(seed))
    labels = F.interpolate(coarse.float(), size=(64, width)).long()[:, 0]
    labels[:, :3] = 255
    return labels
