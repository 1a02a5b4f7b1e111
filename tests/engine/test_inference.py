from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.engine.players import SIZE, Images, cpu
from uda.core.errors import ConfigError, RunError
from uda.engine import inference
from uda.engine.runtime import Runtime
from uda.nets.segmenter import SegmenterNetwork


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
    found: dict[int, Tensor] = {}
    for one in inference.predict(network, Images(5), runtime, batch=2, **keys):  # type: ignore[arg-type]  # stands in
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


def test_logits_that_are_no_numbers_are_refused_by_image() -> None:
    class Named(Images):
        samples = tuple(SimpleNamespace(image=f"{name}.png") for name in "abc")

    network = Brightness()
    assert len(list(inference.predict(network, Named(3), cpu(), batch=2))) == 2  # type: ignore[arg-type]  # stands in
    network.weight.data.fill_(float("nan"))
    with pytest.raises(RunError, match=r"^the segmenter's logits of a\.png, b\.png are not finite; train it anew"):
        next(inference.predict(network, Named(3), cpu(), batch=2))  # type: ignore[arg-type]  # stands in


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


class Normed(nn.Module):
    """Logits of normalised colours, with dropout on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.drop, self.head = nn.BatchNorm2d(3), nn.Dropout2d(), nn.Conv2d(3, 2, 1)

    def forward(self, images_BCHW: Tensor) -> dict[str, Tensor]:
        return {"main": self.head(self.drop(self.norm(images_BCHW)))}


def estimate(network: SegmenterNetwork, images: Any, *, batch: int, at_most: int) -> None:
    """On a CPU; the images stand for a data set."""
    inference.estimate_statistics(network, images, cpu(), batch=batch, images=at_most)


def test_statistics_become_those_of_the_images_and_nothing_else_moves() -> None:
    torch.manual_seed(0)
    network = SegmenterNetwork(Normed(), frame="unit")
    network.body.norm.running_mean += 5  # type: ignore[operator,union-attr]  # of Normed
    before = {key: value.clone() for key, value in network.state_dict().items()}
    random = torch.get_rng_state()
    estimate(network, Images(6), batch=2, at_most=6)
    images = torch.stack([Images(6)[index]["image"] for index in range(6)]).float().div(127.5).sub(1)
    pairs = images.view(3, 2, 3, *SIZE)
    mean, variance = images.mean((0, 2, 3)), pairs.var((1, 3, 4)).mean(0)
    after = network.state_dict()
    torch.testing.assert_close(after["body.norm.running_mean"], mean)
    torch.testing.assert_close(after["body.norm.running_var"], variance)
    changed = {key for key in after if not torch.equal(after[key], before[key])}
    assert changed == {f"body.norm.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")}
    assert not network.training
    assert torch.equal(torch.get_rng_state(), random)


def test_a_few_images_spread_over_the_set_will_do() -> None:
    network = SegmenterNetwork(Normed(), frame="unit")
    estimate(network, Images(5), batch=1, at_most=2)
    images = torch.stack([Images(5)[index]["image"] for index in (0, 4)]).float().div(127.5).sub(1)
    mean = network.body.norm.running_mean  # type: ignore[union-attr]  # of Normed
    torch.testing.assert_close(mean, images.mean((0, 2, 3)))


def test_all_images_count_alike_and_none_is_alone_in_a_last_batch() -> None:
    class Last(Images):
        """Black images, but the last one is white."""

        def __getitem__(self, index: int) -> dict[str, Tensor]:
            return super().__getitem__(index) | {"image": torch.full((3, *SIZE), 255 * (index == len(self) - 1))}

    network = SegmenterNetwork(Normed(), frame="unit")
    estimate(network, Last(9), batch=8, at_most=9)
    mean = network.body.norm.running_mean  # type: ignore[union-attr]  # of Normed
    torch.testing.assert_close(mean, torch.full((3,), (-1 + (3 * -1 + 1) / 4) / 2))  # batches of 5 and 4


@pytest.mark.parametrize(("images", "batch", "sizes"), [(3, 2, [3]), (5, 2, [3, 2]), (1, 2, [1]), (3, 1, [1, 1, 1])])
def test_no_image_is_alone_where_several_go_at_once(
    monkeypatch: pytest.MonkeyPatch, images: int, batch: int, sizes: list[int]
) -> None:
    seen: list[int] = []
    monkeypatch.setattr(inference, "update_bn", lambda batches, network: seen.extend(len(one) for one in batches))
    network = SegmenterNetwork(Normed(), frame="unit")
    estimate(network, Images(images), batch=batch, at_most=9)
    assert seen == sizes


@pytest.mark.parametrize(("prior", "share"), [(0, 1.0), (2, 0.5), (6, 0.25)])
def test_the_source_counts_for_as_many_target_images_as_the_prior_says(prior: int, share: float) -> None:
    found: dict[int, Any] = {}
    for number in (5, 2):
        alone = SegmenterNetwork(Normed(), frame="unit")
        estimate(alone, Images(number), batch=1, at_most=9)
        found[number] = alone.body.norm
    network = SegmenterNetwork(Normed(), frame="unit")
    five: Any = Images(5)
    two: Any = Images(2)
    inference.estimate_mixed_statistics(network, five, two, cpu(), batch=1, images=9, prior=prior)
    for name in ("running_mean", "running_var"):
        source, target = (getattr(found[number], name) for number in (5, 2))
        assert not torch.allclose(source, target)
        torch.testing.assert_close(getattr(network.body.norm, name), (1 - share) * source + share * target)


@pytest.mark.parametrize("norm", ["frozen", "none"])
def test_a_network_without_statistics_to_estimate_is_refused(norm: str) -> None:
    body = Normed() if norm == "frozen" else Brightness()
    network = SegmenterNetwork(body, frame="unit", norm="frozen")
    with pytest.raises(ConfigError, match=r"no BatchNorm.*target_statistics, or guide_statistics, to 0"):
        estimate(network, Images(2), batch=1, at_most=2)
