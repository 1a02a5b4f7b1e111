"""Losses between features of two images, as SPADE and pix2pixHD weight them, and the prior of an image encoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

_VGG_WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)
"""Of VGG's five stages, shallow to deep (pix2pixHD, SPADE)."""


def feature_matching(made: Sequence[Sequence[Tensor]], real: Sequence[Sequence[Tensor]]) -> Tensor:
    """L1 between a discriminator's features of made and real images (pix2pixHD, Wang et al. 2018).

    Args:
        made: by scale, features of each layer; what comes last at a scale, its output, is left out.
        real: the same of real images; no gradient goes into them.

    Returns:
        A scalar in float32, >= 0: each layer's mean, summed over layers, averaged over scales.
    """
    terms = [
        F.l1_loss(one.float(), other.detach().float())
        for made_layers, real_layers in zip(made, real, strict=True)
        for one, other in zip(made_layers[:-1], real_layers[:-1], strict=True)
    ]
    return torch.stack(terms).sum() / len(made)


def perceptual(made: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """Weighted L1 between the features of VGG's five stages (Johnson et al. 2016; weights of pix2pixHD).

    Args:
        made: features of made images, shallow to deep.
        real: features of real images; no gradient goes into them.

    Returns:
        A scalar in float32, >= 0.
    """
    terms = [
        weight * F.l1_loss(one.float(), other.detach().float())
        for weight, one, other in zip(_VGG_WEIGHTS, made, real, strict=True)
    ]
    return torch.stack(terms).sum()


def kl_to_prior(mean_BS: Tensor, log_variance_BS: Tensor) -> Tensor:
    """Kullback-Leibler divergence of N(mean, variance) from N(0, 1), summed over the code, averaged over images.

    The authors of SPADE sum over the images of each GPU too (two of them in their recipe), so that their weight means
    more in a larger batch.
    """
    mean, log_variance = mean_BS.float(), log_variance_BS.float()
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()
