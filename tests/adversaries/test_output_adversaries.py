"""Closed forms of the adversaries that look at the segmenter's output."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from uda.adversaries.advent import Advent, AdventConfig
from uda.adversaries.output_space import OutputSpace, OutputSpaceConfig
from uda.core.errors import ConfigError
from uda.nets.output_discriminator import make_output_discriminator


def _with_constant_output(adversary: OutputSpace | Advent, value: float) -> None:
    """Make the discriminator say `value` whatever it sees."""
    for network in adversary.networks.values():
        for parameter in network.parameters():
            nn.init.zeros_(parameter)
        nn.init.constant_(list(network.parameters())[-1], value)


def test_the_discriminator_has_the_size_and_stride_of_adaptsegnets() -> None:
    network = make_output_discriminator(19, 64)
    assert sum(p.numel() for p in network.parameters()) == 2_781_121  # 2.78 M
    assert make_output_discriminator(3, 2)(torch.rand(2, 3, 64, 96)).shape == (2, 1, 2, 3)


def _bce(raw: float, wanted: int) -> float:
    p = 1 / (1 + math.exp(-raw))
    return -math.log(p if wanted else 1 - p)


def test_source_is_zero_and_target_is_one() -> None:
    logits = {"main": torch.rand(1, 3, 32, 32)}
    adversary = OutputSpace(OutputSpaceConfig(width=2), 3)
    _with_constant_output(adversary, 0.7)
    pushed = adversary.segmenter_losses(logits)["adversarial"]
    assert pushed.item() == pytest.approx(_bce(0.7, 0), rel=1e-5)
    judged = adversary.discriminator_losses(logits, logits)["discriminator"]
    assert judged.item() == pytest.approx((_bce(0.7, 0) + _bce(0.7, 1)) / 2, rel=1e-5)


def test_least_squares() -> None:
    logits = {"main": torch.rand(1, 3, 32, 32)}
    adversary = OutputSpace(OutputSpaceConfig(width=2, loss="lsgan"), 3)
    _with_constant_output(adversary, 0.7)
    assert adversary.segmenter_losses(logits)["adversarial"].item() == pytest.approx(0.7**2, rel=1e-5)
    judged = adversary.discriminator_losses(logits, logits)["discriminator"]
    assert judged.item() == pytest.approx((0.7**2 + 0.3**2) / 2, rel=1e-5)


def test_the_discriminator_is_told_source_0_and_target_1() -> None:
    """Maps of two domains that differ, judged by the probability of class 0: the halves cannot change places."""
    adversary = OutputSpace(OutputSpaceConfig(width=2, loss="lsgan"), 3)
    (network,) = adversary.networks.values()
    network.forward = lambda maps: maps[:, :1]
    source, target = (
        {"main": torch.tensor(shares).log().view(1, 3, 1, 1)} for shares in ([0.8, 0.1, 0.1], [0.3, 0.4, 0.3])
    )
    judged = adversary.discriminator_losses(source, target)["discriminator"]
    assert judged.item() == pytest.approx((0.8**2 + (1 - 0.3) ** 2) / 2)
    assert adversary.segmenter_losses(target)["adversarial"].item() == pytest.approx(0.3**2)


def test_self_information_by_hand() -> None:
    logits = torch.tensor([0.5, 0.25, 0.25]).log().view(1, 3, 1, 1) + 3.0
    wanted = [0.5 * 1 / math.log2(3), 0.25 * 2 / math.log2(3), 0.25 * 2 / math.log2(3)]
    assert Advent.maps(logits).flatten().tolist() == pytest.approx(wanted)
    assert Advent.maps(torch.zeros(1, 5, 1, 1)).sum().item() == pytest.approx(1.0)  # the entropy is greatest


def test_self_information_of_a_sure_pixel_is_zero_with_finite_gradients() -> None:
    logits = torch.tensor([200.0, 0.0, -200.0]).view(1, 3, 1, 1).requires_grad_()
    information = Advent.maps(logits)
    information.sum().backward()
    assert information.abs().max() == 0
    assert logits.grad is not None and torch.isfinite(logits.grad).all()


def test_self_information_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "float", lambda tensor: tensor)
    logits = torch.randn(1, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(Advent.maps, logits)


def test_advent_judges_information_and_not_probabilities() -> None:
    torch.manual_seed(0)
    adversary = Advent(AdventConfig(width=2), 3)
    logits = torch.randn(1, 3, 32, 32)
    wanted = adversary.networks["discriminator"](Advent.maps(logits)).square().mean()
    squares = Advent(AdventConfig(width=2, loss="lsgan"), 3)
    squares.networks["discriminator"].load_state_dict(adversary.networks["discriminator"].state_dict())
    assert torch.allclose(squares.segmenter_losses({"main": logits})["adversarial"], wanted)


def test_advent_refuses_a_single_class() -> None:
    with pytest.raises(ConfigError, match="no uncertainty"):
        Advent(AdventConfig(), 1)


def test_a_few_steps_tell_the_domains_apart_and_then_fool_the_judge() -> None:
    torch.manual_seed(0)
    adversary = OutputSpace(OutputSpaceConfig(width=4), 3)
    source = {"main": torch.randn(2, 3, 32, 32) * 5}
    target = {"main": torch.randn(2, 3, 32, 32) * 0.1}
    optimizer = torch.optim.Adam(adversary.networks["discriminator"].parameters(), lr=1e-2)
    first = _step(adversary, source, target, optimizer)
    for _ in range(40):
        last = _step(adversary, source, target, optimizer)
    assert last < 0.2 < first
    pushed = target["main"].clone().requires_grad_()
    mover = torch.optim.Adam([pushed], lr=0.2)
    before = adversary.segmenter_losses({"main": pushed})["adversarial"].item()
    assert before > 1  # the judge knows them for the target's
    for _ in range(40):
        mover.zero_grad()
        loss = adversary.segmenter_losses({"main": pushed})["adversarial"]
        loss.backward()
        mover.step()
    assert loss.item() < before / 2


def _step(
    adversary: OutputSpace, source: dict[str, Tensor], target: dict[str, Tensor], optimizer: torch.optim.Optimizer
) -> float:
    optimizer.zero_grad()
    loss = adversary.discriminator_losses(source, target)["discriminator"]
    loss.backward()
    optimizer.step()
    return loss.item()
