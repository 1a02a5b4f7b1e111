"""FCN-8s as a segmenter: rates of its parts, and a setting that it has not."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from uda.segmenters.fcn8s import Fcn8s, Fcn8sConfig


def test_biases_learn_twice_as_fast_and_upsampling_not_at_all() -> None:
    segmenter = Fcn8s(Fcn8sConfig.tiny(), 3)
    weights, biases = segmenter.parameter_groups()
    assert (weights.lr_multiplier, biases.lr_multiplier) == (1.0, 2.0)
    assert len(weights.parameters) == len(biases.parameters) == 18  # 13 + fc6 + fc7 + 3 scores
    assert all(parameter.dim() == 1 for parameter in biases.parameters)
    frozen = [name for name, p in segmenter.network.named_parameters() if not p.requires_grad]
    assert sorted(frozen) == [f"body.{name}.weight" for name in ("upscore2", "upscore8", "upscore_pool4")]


def test_there_is_no_batch_norm_to_freeze() -> None:
    with pytest.raises(ValidationError, match="norm"):
        Fcn8sConfig.model_validate({"norm": "frozen"})
