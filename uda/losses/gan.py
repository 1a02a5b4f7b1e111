"""Adversarial losses on raw discriminator outputs.

`lsgan`: least squares (Mao et al. 2017). `bce`: the non-saturating loss of Goodfellow et al. 2014 on logits.
`hinge`: Lim & Ye 2017 as SPADE uses it.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

GanKind = Literal["lsgan", "bce", "hinge"]


def discriminator_loss(kind: GanKind, prediction: Tensor, *, real: bool) -> Tensor:
    """Mean loss of a discriminator that should call `prediction` real or fake.

    Args:
        kind: which loss.
        prediction: raw outputs of any shape; computed in float32.
        real: what the input truly was.
    """
    raw = prediction.float()
    if kind == "lsgan":
        return (raw - float(real)).square().mean()
    if kind == "bce":
        return F.binary_cross_entropy_with_logits(raw, torch.full_like(raw, float(real)))
    return F.relu(1 - raw if real else 1 + raw).mean()


def generator_loss(kind: GanKind, prediction: Tensor) -> Tensor:
    """Mean loss of a generator whose images got `prediction` and should have been called real."""
    if kind == "hinge":
        return -prediction.float().mean()
    return discriminator_loss(kind, prediction, real=True)
