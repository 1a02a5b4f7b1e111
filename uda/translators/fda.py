"""Fourier domain adaptation (FDA, Yang & Soatto 2020): the low frequencies' amplitudes of a target image; no fitting.

Amplitudes at low frequencies carry colour and light, phases carry the content. Differences: one target image is drawn
for each source image when the set is rendered (the authors draw anew at every training step), and the window is that
of the authors' demonstration, symmetric about frequency 0 (their training code leaves out one row and one column of
it, so that the spectrum is no longer that of a real image). What the published rows have besides is not here: an
entropy term on the target in the segmenter's training, and the mean of three models' outputs, one for each beta.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from pydantic import Field

from uda.core.lazy import lazy_import
from uda.translators._unfitted import AbstractRestyler
from uda.translators.base import TranslatorConfigBase

if TYPE_CHECKING:
    import torch
    from torch import Tensor

else:
    torch = lazy_import("torch")


class FdaConfig(TranslatorConfigBase):
    """Settings of `fda`."""

    name: str = "fda"
    """Name of the method."""
    beta: float = Field(default=0.01, ge=0, le=0.5)
    """Half the side of the swapped window over the image's shorter side (paper: 0.01, 0.05 and 0.09, one segmenter
    each); 0 swaps nothing."""

    @classmethod
    def tiny(cls) -> Self:
        """Settings for tests."""
        return cls(beta=0.09)


class Fda(AbstractRestyler):
    """Image i takes low-frequency amplitudes of image i of the other domain, which the caller draws at random."""

    Config = FdaConfig

    @classmethod
    def varies(cls, config: FdaConfig) -> bool:
        """By the image of the other domain, where anything of it is taken."""
        return config.beta > 0

    def restyle(self, images_BCHW: Tensor, references_BCHW: Tensor) -> Tensor:
        """Images with their references' low-frequency amplitudes, clipped to [-1, 1]."""
        return swap_amplitudes(images_BCHW, references_BCHW, self.config.beta).clamp(-1, 1)


def swap_amplitudes(images_BCHW: Tensor, references_BCHW: Tensor, beta: float) -> Tensor:
    """Images with their own phases, and their references' amplitudes at low frequencies (paper, eq. 3).

    Works on intensities from 0 as the authors insist: only there is the amplitude of frequency 0 the mean colour,
    which therefore becomes the reference's for any `beta` above 0.

    Args:
        images_BCHW: RGB in [-1, 1].
        references_BCHW: RGB in [-1, 1], one for each image, of any size: frequencies are cycles per image.
        beta: frequencies up to floor(beta * shorter side) are swapped in both directions; 0 swaps none.

    Returns:
        RGB of the images' size, not clipped: ringing may leave [-1, 1].
    """
    if not beta:
        return images_BCHW
    height, width = images_BCHW.shape[-2:]
    # Beyond the smaller image's last whole frequency there is nothing to swap.
    last = (min(height, width, *references_BCHW.shape[-2:]) - 1) // 2
    reach = min(int(beta * min(height, width)), last)
    # A real image's spectrum needs no negative columns; "forward" makes amplitudes independent of the size.
    spectrum, reference = (torch.fft.rfft2((rgb + 1) / 2, norm="forward") for rgb in (images_BCHW, references_BCHW))
    rows = torch.arange(-reach, reach + 1, device=spectrum.device)[:, None]
    columns = torch.arange(reach + 1, device=spectrum.device)
    low = spectrum[..., rows, columns]
    spectrum[..., rows, columns] = torch.polar(reference[..., rows, columns].abs(), low.angle())
    intensities: Tensor = torch.fft.irfft2(spectrum, s=(height, width), norm="forward")
    return intensities * 2 - 1
