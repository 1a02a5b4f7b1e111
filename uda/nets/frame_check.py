"""Whether a network's image frame is the one that its pretrained weights were trained in."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uda.nets.segmenter import FRAMES, SegmenterNetwork, to_frame

_FACTOR = 100.0
"""Variances off by more are another frame's: frames of 0 to 255 and of about -2 to 2 differ by some 3,000. The random
images here vary 0.4 times as much as torchvision's MobileNetV2 remembers, in its own frame."""


class _SeenError(Exception):
    """Ends a forward pass at the first BatchNorm; no error."""


def frame_doubt(network: SegmenterNetwork) -> str | None:
    """What speaks against the network's frame, as one line for people; None where nothing does.

    The first BatchNorm remembers how much its input varied over the images that the weights were trained on. Caffe's
    ResNets want 0 to 255, torchvision's about -2 to 2, under the same names: weights of the one load into the other
    without a word, and make a segmenter far worse.

    Args:
        network: with pretrained weights; left as it is. Without BatchNorm (VGG16) nothing can be told.
    """
    factors = {frame: _variance_factor(network, frame) for frame in FRAMES}
    own = factors[network.frame]
    if own is None or 1 / _FACTOR < own < _FACTOR:
        return None
    fitting = [frame for frame, factor in factors.items() if factor and 1 / _FACTOR < factor < _FACTOR]
    if not fitting:
        return None  # statistics of something else altogether say nothing about frames
    best = min(fitting, key=lambda frame: abs(math.log(factors[frame] or 1.0)))
    more = f"{own:,.0f} times more" if own > 1 else f"{1 / own:,.0f} times less"
    return (
        f"in frame {network.frame} images vary {more} than those that the pretrained weights are for; they fit frame "
        f"{best}: set segmenter.frame={best}, and the encoder that the file belongs to, or give other weights"
    )


def _variance_factor(network: SegmenterNetwork, frame: str) -> float | None:
    """Variance of the first BatchNorm's input over what it remembers, median of its channels; None without one."""
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    if not norms:
        return None
    seen: list[tuple[nn.BatchNorm2d, Tensor]] = []

    def look(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, nn.BatchNorm2d)
        seen.append((layer, inputs[0]))
        raise _SeenError

    hooks = [layer.register_forward_pre_hook(look) for layer in norms]
    device = next(network.parameters()).device
    try:
        with torch.no_grad():
            network.body(to_frame(_smooth_images().to(device), frame))
    except _SeenError:
        pass
    except (RuntimeError, ValueError, AssertionError, TypeError):  # it takes images of another size alone
        return None
    finally:
        for hook in hooks:
            hook.remove()
    if not seen:
        return None
    layer, features_BCHW = seen[0]
    known = layer.running_var
    if known is None or (known == 1).all():  # it has seen nothing
        return None
    factor: Tensor = (features_BCHW.float().var(dim=(0, 2, 3)) / known.clamp(min=1e-12)).median()
    return factor.item()


def _smooth_images() -> Tensor:
    """Random images with large and small structure, RGB in [-1, 1], (4, 3, 64, 64); always the same."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(4, 3, 5, 5, generator=generator) * 2 - 1
    fine = torch.rand(4, 3, 64, 64, generator=generator) * 2 - 1
    images = F.interpolate(coarse, size=(64, 64), mode="bilinear", align_corners=True) + 0.2 * fine
    return images.clamp(-1, 1)
