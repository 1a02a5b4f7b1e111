"""Transformation consistency (TCR, Mustafa & Mantiuk 2020): what is made of a moved input is what was made, moved.

The random affine maps are those of the authors' code (rotation, translation, zoom), here on label maps: labels are
moved by nearest neighbours, images bilinearly, and only pixels that come from inside the picture are compared, where
the code compares its zeros too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from uda.data.label_space import IGNORE


@dataclass(frozen=True)
class Moves:
    """How far a picture is moved at most, each drawn evenly.

    Attributes:
        rotation: degrees, either way.
        translation: pixels, either way, along each side.
        zoom: smallest and largest magnification.
        flip: chance of a mirrored picture.
    """

    rotation: float
    translation: float
    zoom: tuple[float, float]
    flip: float


def draw_moves(moves: Moves, images: int, device: torch.device) -> Tensor:
    """Random affine maps from pixels of the moved picture to pixels of the original, both measured from its middle.

    Args:
        moves: how far.
        images: how many.
        device: of the result; drawn by PyTorch's own generator of that device.

    Returns:
        maps_B23, float32: (x, y, 1) -> (x, y) in pixels, x to the right and y down.
    """
    turn, right, down = (2 * torch.rand(3, images, device=device) - 1).unbind()
    size, side = torch.rand(2, images, device=device).unbind()
    angle = turn * math.radians(moves.rotation)
    shrink = 1 / (moves.zoom[0] + (moves.zoom[1] - moves.zoom[0]) * size)
    mirror = torch.where(side < moves.flip, -1.0, 1.0)
    cosine, sine = shrink * angle.cos(), shrink * angle.sin()
    rows = (cosine * mirror, -sine, moves.translation * right, sine * mirror, cosine, moves.translation * down)
    return torch.stack(rows, dim=1).view(images, 2, 3)


def sampling_grid(maps_B23: Tensor, size: tuple[int, int]) -> Tensor:
    """Where each pixel of the moved picture comes from.

    Args:
        maps_B23: from `draw_moves`.
        size: height and width.

    Returns:
        grid_BHW2 as `torch.nn.functional.grid_sample` takes it: x and y in [-1, 1] inside the picture's outer borders.
    """
    height, width = size
    scale_B23 = maps_B23.new_tensor([[1, height / width, 2 / width], [width / height, 1, 2 / height]])
    with torch.autocast(maps_B23.device.type, enabled=False):
        return F.affine_grid(maps_B23 * scale_B23, [len(maps_B23), 1, height, width], align_corners=False)


def inside(grid_BHW2: Tensor) -> Tensor:
    """Pixels of the moved picture that come from inside the original, bool (B, 1, H, W)."""
    return (grid_BHW2.abs() <= 1).all(-1)[:, None]


def move_images(images_BCHW: Tensor, grid_BHW2: Tensor) -> Tensor:
    """The moved images, float32, bilinear; their borders are repeated outwards."""
    with torch.autocast(images_BCHW.device.type, enabled=False):
        return F.grid_sample(
            images_BCHW.float(), grid_BHW2, mode="bilinear", padding_mode="border", align_corners=False
        )


def move_labels(labels_BHW: Tensor, grid_BHW2: Tensor) -> Tensor:
    """The moved label maps by nearest neighbours, int64; what comes from outside is 255."""
    with torch.autocast(labels_BHW.device.type, enabled=False):
        # Zeros are put outside, so that 255 must be the zero while it is moved.
        shifted_B1HW = (labels_BHW - IGNORE)[:, None].float()
        moved = F.grid_sample(shifted_B1HW, grid_BHW2, mode="nearest", padding_mode="zeros", align_corners=False)
        return moved[:, 0].round().long() + IGNORE


def consistency(made_BCHW: Tensor, moved_BCHW: Tensor, inside_B1HW: Tensor) -> Tensor:
    """Mean absolute difference over the pixels that count (authors' code: L1).

    Args:
        made_BCHW: made from the moved input.
        moved_BCHW: made from the input, then moved.
        inside_B1HW: bool, the pixels that count.

    Returns:
        A scalar in float32, >= 0; 0 with a zero gradient where none counts.
    """
    difference = (made_BCHW.float() - moved_BCHW.float()).abs() * inside_B1HW
    return difference.sum() / (inside_B1HW.sum() * made_BCHW.shape[1]).clamp(min=1)
