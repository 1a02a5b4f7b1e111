"""Patch discriminators of whichever translator see fine details beside the image when they are told to."""

from __future__ import annotations

import pytest
from torch import nn

from uda.core import registry
from uda.translators.base import Setting


@pytest.mark.parametrize("name", ["cyclegan", "semgan", "sggan"])
def test_fine_details_are_three_channels_more(name: str) -> None:
    method = registry.load("translators", name)

    def channels(details: float) -> list[int]:
        config = method.Config.tiny().model_copy(update={"discriminator_details": details})
        judges = [
            net
            for key, net in method(config, Setting(4, lambda images: images)).networks.items()
            if key.startswith("discriminator")
        ]
        return [next(one for one in judge.modules() if isinstance(one, nn.Conv2d)).in_channels for judge in judges]

    without = channels(0.0)
    assert len(without) == 2
    assert channels(8.0) == [count + 3 for count in without]
