"""The contract of a segmenter; `uda.segmenters._store` keeps one on disk.

A segmenter file defines `class NAMEConfig(SegmenterConfigBase)` and `class NAME(AbstractSegmenter)` with
`Config = NAMEConfig`; importable without torch. `tests/contracts/test_segmenters.py` picks it up by itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from uda.core.config import MethodConfig
from uda.core.training import ParameterGroup

if TYPE_CHECKING:
    from uda.nets.pretrained import Loaded
    from uda.nets.segmenter import SegmenterNetwork

NormPolicy = Literal["frozen_affine", "frozen", "trained"]
FrameName = Literal["imagenet", "caffe_bgr", "unit"]


class SegmenterConfigBase(MethodConfig):
    """What every segmenter's settings hold beside its own."""

    frame: FrameName = "imagenet"
    """Image frame that the network expects: ImageNet RGB mean and std, BGR minus Caffe's mean, or [-1, 1] as it is."""
    norm: NormPolicy = "trained"
    """BatchNorm: `trained`; `frozen_affine`: affine fixed, batch statistics used and running ones updated (public
    UDA code); `frozen`: affine fixed and running statistics used."""
    pretrained: Path | None = None
    """Encoder weights (.pth/.pt state dict or .safetensors), loaded by key; None starts from random weights."""


class AbstractSegmenter(ABC):
    """A segmentation network with its recipe's parameter groups.

    `network` is an `uda.nets.segmenter.SegmenterNetwork`: images_BCHW in [-1, 1] -> logits_BNHW at the images' size;
    `network.levels(images)` gives `{"main": ..., "aux": ...}` where the method has several heads. `loaded` tells what
    became of the file `config.pretrained`.
    """

    Config: ClassVar[type[SegmenterConfigBase]]
    size_multiple: ClassVar[int] = 1
    wants_weights: ClassVar[bool] = False
    """Whether its recipes are for pretrained weights alone; a network with frozen BatchNorm wants them anyway."""
    config: Any
    network: SegmenterNetwork
    loaded: Loaded | None = None

    @abstractmethod
    def __init__(self, config: Any, num_classes: int) -> None:
        """Build the network and load `config.pretrained` into it where given; keep what that says as `loaded`."""

    def start(self) -> str:
        """What its weights start from, as one line for people."""
        if self.loaded is not None:
            return f"pretrained {self.loaded}"
        if self.config.pretrained is not None:  # a method from elsewhere that keeps no account
            return f"pretrained {self.config.pretrained}"
        return "starts from random weights; set segmenter.pretrained to a weights file, or give --init"

    @classmethod
    def heads(cls, config: Any) -> tuple[str, ...]:
        """Names of the levels that the network gives as configured, told without building it."""
        return ("main",)

    @classmethod
    def least_share(cls, config: Any) -> int:
        """Images that a process needs in a step: 2 where BatchNorm learns from one value of each, globally pooled."""
        return 1

    @abstractmethod
    def parameter_groups(self) -> list[ParameterGroup]:
        """All parameters that are trained, each exactly once."""


__all__ = ["AbstractSegmenter", "FrameName", "NormPolicy", "ParameterGroup", "SegmenterConfigBase"]
