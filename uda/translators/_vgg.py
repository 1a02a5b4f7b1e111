"""The VGG term of methods that learn from pairs: its settings, and how it is computed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import model_validator

from uda.core.errors import UdaError
from uda.core.lazy import lazy_import
from uda.translators.base import TranslatorConfigBase

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from uda.losses import perceptual
    from uda.nets import segmenter, vgg19
else:
    torch, perceptual = lazy_import("torch"), lazy_import("uda.losses.perceptual")
    segmenter, vgg19 = lazy_import("uda.nets.segmenter"), lazy_import("uda.nets.vgg19")


class VggConfigBase(TranslatorConfigBase):
    """What settings say of it; its weight is `weights.vgg`."""

    vgg: Path | None = None
    """Torchvision's weights of VGG-19, for `weights.vgg`."""
    vgg_frame: Literal["unit", "imagenet"] = "unit"
    """Frame of the images that VGG sees: [-1, 1] as it is (SPADE's code), or ImageNet's, for which it was trained."""
    weights: Any

    @model_validator(mode="after")
    def _vgg_is_given(self) -> Self:
        if self.weights.vgg and self.vgg is None:
            raise ValueError("weights.vgg needs VGG-19's weights: set vgg to their file, or weights.vgg to 0")
        if self.vgg is not None and not self.weights.vgg:
            raise ValueError("vgg is read for weights.vgg alone: give that a weight (SPADE: 10), or leave vgg out")
        if self.vgg is None:
            self.require_default("vgg is not given", "vgg_frame")
        return self

    @property
    def term_weights(self) -> dict[str, float]:
        """Weights of the terms that there are: `vgg` where it has a weight."""
        return {name: weight for name, weight in super().term_weights.items() if weight or name != "vgg"}

    def files(self) -> dict[str, Path]:
        """VGG-19's weights, where their term has a weight."""
        return {"translator.vgg": self.vgg} if self.weights.vgg and self.vgg is not None else {}


def check_file(config: VggConfigBase) -> None:
    """Open VGG-19's weights where their term has a weight.

    Raises:
        ConfigError: the file holds another network.
        DataError: it cannot be read.
    """
    for key, file in config.files().items():
        try:
            vgg19.load_vgg19(file)
        except UdaError as error:
            raise type(error)(error.what, f"{key}: {file}", error.mend) from error


class VggTerm:
    """L1 of VGG-19's features of made and real images; they are read when first needed, as rendering needs none."""

    def __init__(self, config: VggConfigBase) -> None:
        self._config = config
        self._network: nn.Module | None = None

    def __call__(self, made_BCHW: Tensor, real_BCHW: Tensor) -> Tensor:
        """Images in [-1, 1]; gradients reach the made ones."""
        with torch.no_grad():
            wanted = self._features(real_BCHW)
        return perceptual.perceptual(self._features(made_BCHW), wanted)

    def _features(self, images: Tensor) -> list[Tensor]:
        if self._network is None:
            assert self._config.vgg is not None  # the settings see to it
            self._network = vgg19.load_vgg19(self._config.vgg).to(images.device)
        features: list[Tensor] = self._network(segmenter.to_frame(images, self._config.vgg_frame))
        return features
