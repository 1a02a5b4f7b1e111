from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.engine.players import SIZE, Images, cpu
from uda.engine import inference
from uda.engine.runtime import Runtime


class Brightness(nn.Module):
    """Logits (brightness, -brightness); remembers how it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.modes: set[tuple[bool, bool]] = set()

    def forward(self, images_BCHW: Tensor) -> Tensor:
        self.modes.add((self.training, torch.is_grad_enabled()))
        bright = images_BCHW.mean(1, keepdim=True) * self.weight
        return torch.cat((bright, -bright), 1)


def predicted(runtime: Any, **keys: Any) -> dict[int, Tensor]:
    network = Brightness().train()
    found = {}
    for one in inference.predict(network, Images(5), runtime, batch=2, **keys):  # type: ignore[arg-type]
        found |= dict(zip(one.indices, one.logits_BNHW, strict=True))
    assert network.modes == {(False, False)}
    return found


def test_every_image_gets_its_own_logits_in_eval_mode_without_gradients() -> None:
    found = predicted(cpu())
    assert list(found) == [0, 1, 2, 3, 4]
    for index, logits_NHW in found.items():
        bright = Images(5)[index]["image"].float().div(127.5).sub(1).mean(0)
        torch.testing.assert_close(logits_NHW, torch.stack((bright, -bright)))
        assert logits_NHW.shape == (2, *SIZE)


def test_logits_are_float32_in_any_precision() -> None:
    assert {one.dtype for one in predicted(cpu(precision="bfloat16")).values()} == {torch.float32}


def test_processes_share_the_images_or_all_get_all() -> None:
    alone = cpu()

    def of(rank: int) -> Any:
        fields = {name: getattr(alone, name) for name in ("device", "config", "place", "autocast")}
        return SimpleNamespace(rank=rank, processes=2, **fields)

    assert isinstance(alone, Runtime)
    assert [list(predicted(of(rank))) for rank in (0, 1)] == [[0, 2, 4], [1, 3]]
    assert list(predicted(of(1), everywhere=True)) == [0, 1, 2, 3, 4]


def test_labels_are_the_largest_logits_as_bytes() -> None:
    logits = torch.tensor([[[0.0, 3.0]], [[1.0, 2.0]]])
    labels = inference.to_labels(logits, (1, 2), align_corners=False, upsample="logits")
    assert labels.dtype == np.uint8
    assert labels.tolist() == [[1, 0]]


@pytest.mark.parametrize(("upsample", "expected"), [("logits", [0, 0, 0, 1]), ("softmax", [0, 0, 1, 1])])
def test_logits_or_probabilities_are_interpolated_before_the_argmax(upsample: str, expected: list[int]) -> None:
    # A sure pixel beside a half-sure one: a large logit reaches further than its probability, which ends at 1.
    logits = torch.tensor([[[8.0, 0.0]], [[0.0, 2.0]]])
    labels = inference.to_labels(logits, (1, 4), align_corners=True, upsample=upsample)
    # Positions 0, 1/3, 2/3, 1: class 0 leads with 8(1-t) > 2t until t = 0.8; probabilities part before 2/3.
    assert labels.tolist() == [expected]


def test_the_corner_convention_is_the_networks() -> None:
    logits = torch.tensor([[[4.0, -4.0, 1.0]], [[0.0, 0.0, 0.0]]])
    inner, corners = (
        inference.to_labels(logits, (1, 7), align_corners=aligned, upsample="logits")[0].tolist()
        for aligned in (False, True)
    )
    assert inner != corners
    assert corners[0] == corners[6] == 0
