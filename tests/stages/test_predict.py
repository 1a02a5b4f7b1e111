"""What `uda predict` says of images that are not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from uda.core.console import Console
from uda.core.errors import DataError
from uda.stages.predict import PredictConfig, predict_images


def test_an_image_that_is_not_there_is_told_before_the_segmenter_is_loaded(tmp_path: Path) -> None:
    made = predict_images(PredictConfig(), tmp_path, [tmp_path / "none"], tmp_path / "out", Console())
    with pytest.raises(DataError, match="none: no such file or folder; check the path"):
        next(made)
    assert not (tmp_path / "out").exists()
