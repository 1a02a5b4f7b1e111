"""Run a segmenter over images, batch by batch, without holding more than one batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.swa_utils import update_bn
from torch.utils.data import BatchSampler

from uda.core.errors import ConfigError, RunError
from uda.data.dataset import SegmentationDataset
from uda.engine.loading import read_batches
from uda.engine.runtime import Runtime
from uda.engine.stream import to_batch
from uda.nets.segmenter import SegmenterNetwork


@dataclass(frozen=True)
class Predicted:
    """Logits of some images: `indices` into the data set, logits_BNHW float32 at the size it was read at."""

    indices: list[int]
    logits_BNHW: Tensor


def predict(
    network: SegmenterNetwork, data: SegmentationDataset, runtime: Runtime, *, batch: int, everywhere: bool = False
) -> Iterator[Predicted]:
    """Logits of this process's share of the images (every `processes`-th), in eval mode, without gradients.

    Args:
        network: put on the device and switched to eval mode.
        data: images in any order of indices; labels, if read, are not looked at.
        runtime: device, precision, processes.
        batch: images at once.
        everywhere: every process gets all images.

    Raises:
        RunError: logits are not finite; the images are named.
    """
    runtime.place(network).eval()
    share: Sequence[int] = range(len(data)) if everywhere else range(runtime.rank, len(data), runtime.processes)
    for item in read_batches(data, BatchSampler(share, batch, drop_last=False), runtime):
        predicted = Predicted(item["index"].tolist(), logits_of(network, item["image"], runtime))
        _require_finite(predicted, data)
        yield predicted


def logits_of(network: SegmenterNetwork, images_BCHW: Tensor, runtime: Runtime) -> Tensor:
    """Logits float32 (B, N, H, W) of some images, without gradients.

    Args:
        network: on the device, in eval mode.
        images_BCHW: uint8 RGB.
        runtime: device, precision.
    """
    images = to_batch({"source_images": images_BCHW}, runtime).source_images_BCHW
    assert images is not None
    with torch.inference_mode(), runtime.autocast():
        logits: Tensor = network(images).float()
    return logits


def _require_finite(predicted: Predicted, data: SegmentationDataset) -> None:
    """No label is made of numbers that are none: a comparison with NaN is false, so every threshold would believe it.

    Raises:
        RunError: logits are NaN or infinite.
    """
    good = predicted.logits_BNHW.isfinite().flatten(1).all(1).tolist()
    bad = [str(data.samples[at].image) for at, fine in zip(predicted.indices, good, strict=True) if not fine]
    if bad:
        what = f"the segmenter's logits of {', '.join(bad)} are not finite"
        raise RunError(what, None, "train it anew, with a lower learning rate or runtime.precision=float32")


def require_statistics(network: SegmenterNetwork) -> None:
    """Refuse a network that `estimate_statistics` could do nothing to.

    Raises:
        ConfigError: it has no BatchNorm, or a frozen one.
    """
    if not network.estimates_statistics:
        raise ConfigError(
            "has no BatchNorm whose statistics could be estimated (none at all, or norm: frozen)",
            "the segmenter",
            "set target_statistics, or guide_statistics, to 0",
        )


def estimate_statistics(
    network: SegmenterNetwork, data: SegmentationDataset, runtime: Runtime, *, batch: int, images: int
) -> None:
    """Replace BatchNorm's running statistics by those of a data set's images (AdaBN, Li et al. 2016).

    The mean over batches of their own statistics, the same on every process and in every run. Batches differ by one
    image at most, so that all images count alike and none is alone in a last batch.

    Args:
        network: changed in place, put on the device and left in eval mode.
        data: images; labels, if read, are not looked at.
        runtime: device, precision.
        batch: images at once, at most; one more where one would be left alone.
        images: how many of the data set to use at most, spread evenly over it.

    Raises:
        ConfigError: see `require_statistics`.
    """
    require_statistics(network)
    chosen = np.linspace(0, len(data) - 1, min(images, len(data))).round().astype(int)
    count = -(-len(chosen) // batch)
    if batch > 1:
        count = max(1, min(count, len(chosen) // 2))
    parts = [part.tolist() for part in np.array_split(chosen, count)]
    runtime.place(network).eval()
    with torch.random.fork_rng(), runtime.autocast():  # dropout is on meanwhile, and the loader draws a seed
        torch.manual_seed(0)
        update_bn(
            (
                to_batch({"source_images": item["image"]}, runtime).source_images_BCHW
                for item in read_batches(data, parts, runtime)
            ),
            network,
        )


def estimate_mixed_statistics(
    network: SegmenterNetwork,
    source: SegmentationDataset,
    target: SegmentationDataset,
    runtime: Runtime,
    *,
    batch: int,
    images: int,
    prior: int,
) -> None:
    """`estimate_statistics` of the target, where it has few images mixed with those of the source.

    With n target images, N / (N + n) of the source's means and variances and n / (N + n) of the target's; N is the
    prior (Schneider et al. 2020: pseudo sample size).

    Args:
        network: changed in place, put on the device and left in eval mode.
        source: images that it was trained on.
        target: images; labels of neither are looked at.
        runtime: device, precision.
        batch: images at once.
        images: how many of each data set to use at most, spread evenly over it.
        prior: how many target images the source counts for; 0 leaves the source out (AdaBN).

    Raises:
        ConfigError: see `require_statistics`.
    """
    estimate_statistics(network, target, runtime, batch=batch, images=images)
    if prior:
        of_target, seen = network.statistics(), min(images, len(target))
        estimate_statistics(network, source, runtime, batch=batch, images=images)
        network.mix_statistics(of_target, seen / (prior + seen))


def to_labels(logits_NHW: Tensor, size: tuple[int, int], align_corners: bool, upsample: str) -> NDArray[np.uint8]:
    """Class indices at `size` (height, width); the argmax is taken on the device, so only bytes travel.

    Args:
        logits_NHW: logits of one image at the network's size.
        size: wanted height and width.
        align_corners: of the bilinear upsampling, as the network was trained.
        upsample: `logits` or `softmax`: what is interpolated.
    """
    scores = logits_NHW[None].softmax(1) if upsample == "softmax" else logits_NHW[None]
    if scores.shape[-2:] != size:
        scores = F.interpolate(scores, size=size, mode="bilinear", align_corners=align_corners)
    labels: NDArray[np.uint8] = scores[0].argmax(0).to("cpu", torch.uint8).numpy()
    return labels
