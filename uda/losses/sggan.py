"""The losses of SG-GAN (Li et al. 2018): gradients kept at the borders of classes, patches judged by class."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def image_gradients(images_BCHW: Tensor) -> Tensor:
    """Sobel's derivatives across and down, (B, 2, C, H, W), in float32.

    A step of height v between two columns gives 4 v on both of them. Borders are reflected, so that there is no
    gradient across them (the authors' code pads zeros). Sums of shifted copies, not a convolution: autocast would
    compute that in bfloat16.
    """
    padded = F.pad(images_BCHW.float(), (1, 1, 1, 1), mode="reflect")
    across = padded[..., 2:] - padded[..., :-2]
    down = padded[..., 2:, :] - padded[..., :-2, :]
    return torch.stack(
        [
            across[..., :-2, :] + 2 * across[..., 1:-1, :] + across[..., 2:, :],
            down[..., :-2] + 2 * down[..., 1:-1] + down[..., 2:],
        ],
        dim=1,
    )


def label_edges(labels_BHW: Tensor, num_classes: int) -> Tensor:
    """Where classes meet: a pixel whose left and right, or upper and lower, neighbours are of two known classes.

    These are the pixels on either side of a border. The authors' code finds them by the colours of a picture of the
    labels, in which every pixel has a class. At the image's border the missing neighbour is reflected: no edge.

    Args:
        labels_BHW: class indices; values from `num_classes` on (255) are unknown.
        num_classes: N.

    Returns:
        edges_B1HW, float32, 0 or 1.
    """
    edges, known = torch.zeros_like(labels_BHW, dtype=torch.bool), labels_BHW < num_classes
    for axis in (1, 2):
        size = labels_BHW.shape[axis] - 2
        if size < 1:
            continue
        one, other = labels_BHW.narrow(axis, 0, size), labels_BHW.narrow(axis, 2, size)
        both_known = known.narrow(axis, 0, size) & known.narrow(axis, 2, size)
        edges.narrow(axis, 1, size).logical_or_((one != other) & both_known)
    return edges[:, None].float()


def gradient_sensitive(images_BCHW: Tensor, translated_BCHW: Tensor, edges_B1HW: Tensor, softness: float) -> Tensor:
    """The soft gradient-sensitive loss: mean of `(alpha * edges + beta) * | |grad x| - |grad G(x)| |`.

    `alpha = 1 - beta`; the absolute derivatives are compared one by one, so that an edge may turn from dark-bright to
    bright-dark, and averaged over channels and both directions; then the mean over all pixels.

    Args:
        images_BCHW: x; no gradient goes into them.
        translated_BCHW: G(x).
        edges_B1HW: from `label_edges`.
        softness: beta, the weight away from the borders of classes, in [0, 1]; on them it is alpha + beta = 1.

    Returns:
        A scalar in float32, >= 0.
    """
    difference = (image_gradients(images_BCHW.detach()).abs() - image_gradients(translated_BCHW).abs()).abs()
    weights_B1HW = (1 - softness) * edges_B1HW + softness
    return (weights_B1HW * difference.mean((1, 2))[:, None]).mean()


def known_least_squares(scores_B1hw: Tensor, known_B1hw: Tensor, *, real: bool) -> Tensor:
    """Least-squares adversarial loss, each patch weighted by the part of its pixels that has a class.

    Args:
        scores_B1hw: raw scores of a `SemanticDiscriminator`, one for each patch.
        known_B1hw: in [0, 1].
        real: what the images should be called.

    Returns:
        A scalar in float32, >= 0: the plain mean where all is known, 0 with a zero gradient where nothing is.
    """
    loss = (scores_B1hw.float() - float(real)).square() * known_B1hw
    return loss.sum() / known_B1hw.sum().clamp(min=1e-6)
