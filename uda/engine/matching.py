"""Target crops that look like the source crops beside them in a batch: discriminators then compare like with like.

Where the domains differ in what they show, a discriminator of crops drawn at random tells them apart by that, and the
generator paints in what the target shows more often (matched crops: Richter et al. 2021, "Enhancing Photorealism
Enhancement"; theirs match by VGG features, these by classes).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from uda.data.batch import Batch
from uda.data.label_space import IGNORE
from uda.engine.runtime import Runtime


def agreement(labels_BHW: Tensor, classes_BKHW: Tensor) -> Tensor:
    """Part of each source crop's labelled pixels whose class a candidate has at the same place, (B, K) in [0, 1].

    A crop without a labelled pixel agrees with none: 0.
    """
    known = labels_BHW != IGNORE
    same = (classes_BKHW == labels_BHW.unsqueeze(1)) & known.unsqueeze(1)
    return same.sum(dim=(2, 3)) / known.sum(dim=(1, 2)).clamp(min=1).unsqueeze(1)


def most_alike(
    batches: Callable[[int], Iterable[Batch]], guide: Callable[[Tensor], Tensor], runtime: Runtime
) -> Callable[[int], Iterator[Batch]]:
    """Of the target crops drawn for each source crop, the one whose classes lie most like the source's labels.

    Args:
        batches: images seen -> batches of B source crops with labels and B * K target crops, K for each in turn.
        guide: target images_BCHW in [-1, 1] -> logits_BNHW.
        runtime: device and precision.

    Returns:
        The same with B target crops; of equals the first.
    """

    def start(images_seen: int) -> Iterator[Batch]:
        for read in batches(images_seen):
            batch = read.to(runtime.device)
            labels, candidates = batch.source_labels_BHW, batch.target_images_BCHW
            assert labels is not None and candidates is not None
            with torch.no_grad(), runtime.autocast():
                classes = guide(candidates).argmax(dim=1)
            count = len(labels)
            best = agreement(labels, classes.reshape(count, -1, *classes.shape[1:])).argmax(dim=1)
            drawn = candidates.reshape(count, -1, *candidates.shape[1:])
            yield replace(batch, target_images_BCHW=drawn[torch.arange(count, device=best.device), best])

    return start
