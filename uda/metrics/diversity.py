"""Diversity: how much samples of one input differ, by MS-SSIM (Wang et al. 2003) and LPIPS (Zhang et al. 2018).

Used as in OASIS: lower MS-SSIM and higher LPIPS mean more diverse samples. LPIPS is the AlexNet variant of its authors.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import torch
from torch import Tensor, nn
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

# The public class fetches AlexNet by itself; this one lets a file be given.
from torchmetrics.functional.image.lpips import _LPIPS
from torchvision.models import AlexNet_Weights

from uda.core.errors import DataError
from uda.metrics.weights import NotMeasurableError, find_weights
from uda.nets.pretrained import read_tensors

BETAS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Weights of MS-SSIM's five scales (paper)."""
_KERNEL = 11
"""Width of SSIM's window (paper)."""
_ALEXNET_SIDE = 31
"""Smallest side of which AlexNet's two poolings leave a pixel."""


def load_lpips(given: Path | None, *, download: bool) -> nn.Module:
    """LPIPS on AlexNet, frozen: two batches of images in [-1, 1] -> distances (B, 1, 1, 1).

    The linear layers on top come with torchmetrics; AlexNet's own weights are torchvision's for ImageNet.

    Args:
        given: a file of torchvision's AlexNet; None: the download cache.
        download: fetch it where it is not there.

    Raises:
        DataError: the given file is missing, cannot be read or holds another network.
        NotMeasurableError: no weights.
    """
    file = find_weights(given, AlexNet_Weights.DEFAULT.url, setting="lpips_weights", download=download)
    tensors = read_tensors(file)
    with torch.random.fork_rng(devices=[]):  # built with random weights first
        network = _LPIPS(net="alex", pnet_rand=True)
    places = network.net.state_dict()  # slice1.0.weight and so on: torchvision's features.0.weight in five slices
    found = {name: tensors.get("features." + name.split(".", 1)[1]) for name in places}
    if wrong := [name for name, one in found.items() if one is None or one.shape != places[name].shape]:
        raise DataError(f"holds no AlexNet of torchvision ({len(wrong)} tensors are missing or differ)", file)
    network.net.load_state_dict(found)
    return network.eval()


def check_lpips_size(height: int, width: int) -> None:
    """Refuse a size of images that AlexNet cannot take.

    Raises:
        NotMeasurableError: a side is too short.
    """
    if min(height, width) < _ALEXNET_SIDE:
        least = f"{_ALEXNET_SIDE}x{_ALEXNET_SIDE}"
        what = f"images of {height}x{width} are smaller than AlexNet takes ({least})"
        raise NotMeasurableError(what, None, "set size larger")


def ms_ssim_scales(height: int, width: int) -> int:
    """How many of MS-SSIM's five scales images of this size allow.

    Raises:
        NotMeasurableError: not even one: a side is no longer than SSIM's window.
    """
    side = min(height, width)
    # The window has to fit into the smallest scale; torchmetrics asks a little more for four scales.
    fitting = [n for n in range(1, len(BETAS) + 1) if side // max(2 ** (n - 1), (n - 1) ** 2) >= _KERNEL]
    if not fitting:
        raise NotMeasurableError(f"images of {height}x{width} are smaller than SSIM's window", None, "set size larger")
    return fitting[-1]


def ms_ssim(one_BCHW: Tensor, other_BCHW: Tensor) -> float:
    """Mean MS-SSIM of pairs of images; 1 for equal ones.

    On images that are too small for five scales, those that fit are used, their weights brought to the sum of all five.

    Args:
        one_BCHW: uint8 RGB.
        other_BCHW: uint8 RGB, image i of it belongs to image i of the first.

    Raises:
        NotMeasurableError: too small for one scale.
    """
    betas = BETAS[: ms_ssim_scales(one_BCHW.shape[-2], one_BCHW.shape[-1])]
    value = multiscale_structural_similarity_index_measure(
        one_BCHW.float() / 255,
        other_BCHW.float() / 255,
        data_range=1.0,
        kernel_size=_KERNEL,
        betas=tuple(beta * sum(BETAS) / sum(betas) for beta in betas),
    )
    return float(value)


class Diversity:
    """Mean MS-SSIM and LPIPS over all pairs of samples of one input, then over inputs; the state is two sums.

    Args:
        lpips: what `load_lpips` gives, on the images' device; None leaves LPIPS out.
    """

    def __init__(self, lpips: nn.Module | None) -> None:
        self._lpips = lpips
        self.inputs, self.pairs = 0, 0
        self._ms_ssim, self._distance = 0.0, 0.0

    def update(self, samples_NCHW: Tensor) -> None:
        """Add the samples of one input.

        Args:
            samples_NCHW: uint8 RGB, two or more.

        Raises:
            ValueError: fewer than two.
            NotMeasurableError: too small for SSIM.
        """
        pairs = list(combinations(range(len(samples_NCHW)), 2))
        if not pairs:
            raise ValueError("one sample has no diversity")
        similarity = distance = 0.0
        for i, j in pairs:
            one, other = samples_NCHW[i : i + 1], samples_NCHW[j : j + 1]
            similarity += ms_ssim(one, other)
            if self._lpips is not None:
                with torch.inference_mode():
                    distance += float(self._lpips(one.float() / 127.5 - 1, other.float() / 127.5 - 1))
        self._ms_ssim += similarity / len(pairs)
        self._distance += distance / len(pairs)
        self.inputs += 1
        self.pairs += len(pairs)

    def ms_ssim(self) -> float:
        """Mean MS-SSIM, up to 1; lower is more diverse. An input must have been added."""
        return self._ms_ssim / self.inputs

    def lpips(self) -> float:
        """Mean LPIPS, 0 or more; higher is more diverse. An input must have been added, with a network."""
        return self._distance / self.inputs
