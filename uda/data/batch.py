"""What one training step sees: a batch of both domains, and where the run stands.

Images travel through the whole library in one frame: RGB, float, [-1, 1] (the translator's frame). Segmenters take
them in that frame and convert inside (`uda.nets.segmenter`), so there is one place where frames meet.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Images and labels of one step; what a method does not ask for may be None.

    Attributes:
        source_images_BCHW: labelled domain, RGB in [-1, 1].
        source_labels_BHW: int64 class indices of the label space, 255 = ignore.
        target_images_BCHW: unlabelled domain, RGB in [-1, 1].
        target_labels_BHW: pseudo-labels (or the labels of the few given pairs), int64, 255 = ignore.
    """

    source_images_BCHW: Tensor | None = None
    source_labels_BHW: Tensor | None = None
    target_images_BCHW: Tensor | None = None
    target_labels_BHW: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The batch on `device`, images in channels_last memory format."""
        moved = {}
        for name, value in vars(self).items():
            if value is not None:
                layout = torch.channels_last if value.dim() == 4 else torch.contiguous_format
                moved[name] = value.to(device, non_blocking=True).contiguous(memory_format=layout)
        return replace(self, **moved)


@dataclass
class Context:
    """Where the run stands, and what this iteration already made.

    Attributes:
        images_seen: images of one domain seen before this step.
        total_images: images to be seen in all.
        made: a scratch space of this iteration, shared by its players, so that fakes are made once.
    """

    images_seen: int
    total_images: int
    made: dict[str, Any] = field(default_factory=dict)

    @property
    def progress(self) -> float:
        """Part of the run that is over, in [0, 1]."""
        return self.images_seen / max(self.total_images, 1)
