"""R1 (Mescheder et al. 2018), the penalty beside StyleGAN2's logistic loss, which is `bce` of `uda.losses.gan`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def r1_penalty(discriminator: Callable[[Tensor], Tensor], images_BCHW: Tensor) -> Tensor:
    """Half the squared norm of the score's gradient by a real image, averaged over images.

    Its weight is the gamma of the papers. StyleGAN2 computes it every k-th step only, k times as strong ("lazy").

    Args:
        discriminator: images -> raw scores, in which each image has one or more of its own.
        images_BCHW: real images. The penalty runs in float32, out of autocast: it is a gradient of a gradient.

    Returns:
        A scalar in float32, >= 0, that can be differentiated by the discriminator's weights.
    """
    with torch.enable_grad(), torch.autocast(images_BCHW.device.type, enabled=False):
        real = images_BCHW.detach().float().requires_grad_(True)
        (gradient,) = torch.autograd.grad(discriminator(real).sum(), real, create_graph=True)
        return 0.5 * gradient.square().flatten(1).sum(1).mean()
