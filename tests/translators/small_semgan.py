"""A small SemGAN, what it is fed, and its network put together by hand."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from uda.data.batch import Batch, Context
from uda.translators.base import Setting
from uda.translators.semgan import Semgan, SemganConfig, SemganWeights

CLASSES = 4
NAMES = ("grass", "horse", "zebra", "sky")
WAYS = (("source", "target"), ("target", "source"))
OFF = SemganWeights(gan=0, identity=0, reconstruction=0, objects=0, domain=0)
WEIGHTS = {**SemganConfig.tiny().weights.model_dump(), "symmetric_ce": 0.0}
"""All terms but the one that asks a guide."""


def make(**settings: Any) -> Semgan:
    """A small one that asks no guide; settings go through the checks of the config class."""
    torch.manual_seed(0)
    config = SemganConfig.model_validate({**SemganConfig.tiny().model_dump(), "weights": WEIGHTS, **settings})
    return Semgan(config, Setting(CLASSES, class_names=NAMES))


def make_batch(seed: int = 0, size: int = 32) -> Batch:
    """Two pairs a domain; unknown pixels at the top of source maps and on the left of target maps."""
    draws = torch.Generator().manual_seed(seed)
    images = torch.rand(2, 2, 3, size, size, generator=draws) * 2 - 1
    labels = torch.randint(0, CLASSES, (2, 2, size, size), generator=draws)
    labels[0, :, :3], labels[1, :, :, :5] = 255, 255
    return Batch(images[0], labels[0], images[1], labels[1])


def images_of(batch: Batch) -> dict[str, torch.Tensor]:
    assert batch.source_images_BCHW is not None and batch.target_images_BCHW is not None
    return {"source": batch.source_images_BCHW, "target": batch.target_images_BCHW}


def context() -> Context:
    return Context(images_seen=0, total_images=10)


def forward(translator: Semgan, to: str, images: torch.Tensor, maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The paper's network, put together by hand."""
    nets = translator.networks
    features = nets[f"encoder_{to}"](torch.cat([images, 2 * maps - 1], dim=1))
    return nets[f"image_decoder_{to}"](features).tanh(), nets[f"map_decoder_{to}"](features)


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(logits, labels, ignore_index=255)
