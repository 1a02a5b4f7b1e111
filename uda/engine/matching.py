"""Which class lies where in the target's images, as a segmenter sees them: what matched crops are chosen by."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import BatchSampler

from uda.data.dataset import Pixels, SegmentationDataset
from uda.engine.loading import read_batches
from uda.engine.runtime import Runtime
from uda.engine.stream import to_batch

_STRIDE = 4
"""Pixels for one of a map, along each side: crops are compared by their large classes, and maps stay in memory."""


def see_classes(
    data: SegmentationDataset,
    guide: Callable[[Tensor], Tensor],
    runtime: Runtime,
    *,
    batch: int,
    progress: Callable[[int], None],
) -> list[Pixels]:
    """The guide's classes in every image, at a quarter of its height and width, the same on every process.

    Args:
        data: images; labels, if read, are not looked at.
        guide: images_BCHW in [-1, 1] -> logits_BNHW.
        runtime: device, precision, processes, each of which looks at a share of the images.
        batch: images at once.
        progress: told how many images have been seen.
    """
    share = range(runtime.rank, len(data), runtime.processes)
    seen: list[tuple[int, Pixels]] = []
    for item in read_batches(data, BatchSampler(share, batch, drop_last=False), runtime):
        images = to_batch({"target_images": item["image"]}, runtime).target_images_BCHW
        assert images is not None
        with torch.no_grad(), runtime.autocast():
            classes = guide(images.contiguous(memory_format=torch.channels_last)).argmax(dim=1)
        size = [max(1, side // _STRIDE) for side in classes.shape[1:]]
        coarse = F.interpolate(classes[:, None].float(), size=size, mode="nearest-exact")[:, 0]
        seen += zip(item["index"].tolist(), coarse.to("cpu", torch.uint8).numpy(), strict=True)
        progress(min(len(seen) * runtime.processes, len(data)))
    return [classes for _, classes in sorted(runtime.gather(seen), key=lambda one: one[0])]
