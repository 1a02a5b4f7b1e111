"""Noise that repeats: from the renderer's generator, or in training from PyTorch's own, which the loop seeds."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from uda.core.lazy import lazy_import

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from uda.nets.blocks import Draw
else:
    torch = lazy_import("torch")


def draw(size: Sequence[int], generator: torch.Generator | None, device: torch.device) -> Tensor:
    """Standard normal numbers on `device`, from the given generator or, in training, from PyTorch's own."""
    if generator is None:
        return torch.randn(tuple(size), device=device)
    return torch.randn(tuple(size), generator=generator, device=generator.device).to(device)


def drawing(generator: torch.Generator | None = None) -> Draw:
    """`draw` from one source, for networks that take noise."""
    return functools.partial(draw, generator=generator)


def repeating(size: Sequence[int], *, device: torch.device) -> Tensor:
    """Standard normal numbers that are the same for all images of a batch and at every call."""
    return draw((1, *size[1:]), torch.Generator().manual_seed(0), device).expand(*size)
