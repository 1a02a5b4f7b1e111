"""Unsupervised domain adaptation for semantic segmentation: translate, segment, and go round again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uda.stages.predict import Predictor

__all__ = ["load_segmenter"]
__version__ = "0.1.0"


def load_segmenter(directory: Path | str, *, device: str = "auto", size: tuple[int, int] | None = None) -> Predictor:
    """A fitted segmenter for one's own code: called with an RGB image it gives the class index of each pixel.

    Args:
        directory: what `uda segment` wrote, `round_N/segment` of a run.
        device: auto, cpu, cuda or cuda:N.
        size: height and width that images are resized to; None: the size that the segmenter was trained at.

    Raises:
        DataError: the directory holds no segmenter.
        ConfigError: there is no such device.
    """
    from uda.stages.predict import Predictor

    return Predictor(directory, device=device, size=size)
