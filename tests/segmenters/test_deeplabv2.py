"""DeepLabV2 as a segmenter: its heads' rate, and encoders that it cannot use."""

from __future__ import annotations

from typing import cast

import pytest

from uda.core.errors import ConfigError
from uda.nets.deeplabv2 import DeepLabV2
from uda.segmenters import deeplabv2


def test_the_heads_learn_ten_times_as_fast() -> None:
    segmenter = deeplabv2.DeepLabV2(deeplabv2.DeepLabV2Config.tiny(), 3)
    encoder, heads = segmenter.parameter_groups()
    assert (encoder.lr_multiplier, heads.lr_multiplier) == (1.0, 10.0)
    faster = segmenter.config.model_copy(update={"encoder_lr_multiplier": 3.0})
    assert [one.lr_multiplier for one in deeplabv2.DeepLabV2(faster, 3).parameter_groups()] == [3.0, 10.0]
    body = cast(DeepLabV2, segmenter.network.body)
    assert {id(p) for p in heads.parameters} == {id(p) for p in body.heads.parameters()}


def test_wrong_encoders_are_told_in_one_line() -> None:
    for encoder, wanted in (
        ("resnet8", "unknown encoder 'resnet8'; did you mean 'resnet18'"),
        ("tu-nonsense", "encoder tu-nonsense: Unknown model"),
        ("vgg16", "encoder vgg16: 'VGG' models do not support dilated mode"),
        ("tu-vgg11", "encoder tu-vgg11: .+; choose settings that the library can build"),
    ):
        config = deeplabv2.DeepLabV2Config(encoder=encoder)
        with pytest.raises(ConfigError, match=wanted):
            deeplabv2.DeepLabV2(config, 3)
