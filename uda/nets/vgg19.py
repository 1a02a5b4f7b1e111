"""The features of VGG-19 (Simonyan & Zisserman 2015) that perceptual losses compare; weights are read from a file."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from uda.core.errors import ConfigError
from uda.nets.pretrained import read_tensors

_STAGES = ((64, 64), (128, 128), (256, 256, 256, 256), (512, 512, 512, 512), (512,))
_MEND = "give torchvision's weights of vgg19 (its state dict as .pth, or as .safetensors)"


class Vgg19Features(nn.Module):
    """Features after the first ReLU of each of the five stages, numbered as in torchvision; frozen, in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        self._ends: list[int] = []
        before = 3
        for stage in _STAGES:
            layers += [nn.MaxPool2d(2)] if layers else []
            self._ends.append(len(layers) + 1)
            for after in stage:
                layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
                before = after
        self.features = nn.Sequential(*layers)
        self.eval().requires_grad_(False)

    def forward(self, images_BCHW: Tensor) -> list[Tensor]:
        """Images -> five feature maps, the largest first."""
        made, features = [], images_BCHW
        for number, layer in enumerate(self.features):
            features = layer(features)
            if number in self._ends:
                made.append(features)
        return made


def load_vgg19(path: Path) -> Vgg19Features:
    """The network with the weights of a file in torchvision's naming; deeper layers in it are left out.

    Raises:
        ConfigError: the file holds another network.
        DataError: the file is missing or cannot be read.
    """
    tensors = read_tensors(path)
    with torch.random.fork_rng(devices=[]):  # first weights that are overwritten draw none of the run's numbers
        network = Vgg19Features()
    wanted = network.state_dict()
    missing = [key for key in wanted if key not in tensors or tensors[key].shape != wanted[key].shape]
    if missing:
        raise ConfigError(f"holds no VGG-19 ('{missing[0]}' is missing or has another shape)", path, _MEND)
    network.load_state_dict({key: tensors[key] for key in wanted})
    return network
