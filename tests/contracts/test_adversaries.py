"""What every adversary of the registry has to keep; a new method's file is picked up by itself."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from uda.adversaries.base import AbstractAdversary
from uda.core import registry

NAMES = registry.names("adversaries")
CLASSES, SIZE = 4, (32, 64)
LEVELS = (("main",), ("main", "aux"))


def build(name: str, levels: tuple[str, ...]) -> AbstractAdversary:
    torch.manual_seed(0)
    cls = registry.load("adversaries", name)
    adversary: AbstractAdversary = cls(cls.Config.tiny().model_copy(update={"levels": levels}), CLASSES)
    return adversary


def make_logits(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {level: torch.randn(2, CLASSES, *SIZE, generator=generator).requires_grad_() for level in ("main", "aux")}


def gradients(adversary: AbstractAdversary) -> list[float]:
    return [
        0.0 if parameter.grad is None else parameter.grad.abs().sum().item()
        for network in adversary.networks.values()
        for parameter in network.parameters()
    ]


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("name", NAMES)
def test_terms_and_networks_are_named_by_level(name: str, levels: tuple[str, ...]) -> None:
    adversary = build(name, levels)
    ending = {"main": "", "aux": "_aux"}
    assert set(adversary.segmenter_losses(make_logits(0))) == {f"adversarial{ending[level]}" for level in levels}
    judged = adversary.discriminator_losses(make_logits(0), make_logits(1))
    assert set(judged) == set(adversary.networks) == {f"discriminator{ending[level]}" for level in levels}
    assert all(term.dim() == 0 and torch.isfinite(term) and term > 0 for term in judged.values())


@pytest.mark.parametrize("name", NAMES)
def test_the_segmenters_turn_reaches_the_logits(name: str) -> None:
    adversary, target = build(name, ("main", "aux")), make_logits(0)
    for network in adversary.networks.values():
        network.requires_grad_(False)  # as the loop does
    torch.stack(list(adversary.segmenter_losses(target).values())).sum().backward()
    for logits in target.values():
        assert logits.grad is not None and logits.grad.abs().sum() > 0
    assert not any(gradients(adversary))


@pytest.mark.parametrize("name", NAMES)
def test_the_discriminators_turn_stays_with_the_discriminators(name: str) -> None:
    adversary, source, target = build(name, ("main", "aux")), make_logits(0), make_logits(1)
    torch.stack(list(adversary.discriminator_losses(source, target).values())).sum().backward()
    assert all(gradients(adversary))
    assert all(logits.grad is None for logits in (*source.values(), *target.values()))


@pytest.mark.parametrize("name", NAMES)
def test_domains_of_different_sizes_are_fine(name: str) -> None:
    adversary = build(name, ("main",))
    small = {"main": torch.randn(1, CLASSES, 32, 32)}
    assert torch.isfinite(adversary.discriminator_losses(small, make_logits(0))["discriminator"])


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_in_bfloat16_autocast(name: str) -> None:
    adversary = build(name, ("main",))
    exact = adversary.segmenter_losses(make_logits(0))["adversarial"]
    with torch.autocast("cpu", torch.bfloat16):
        rough = adversary.segmenter_losses(make_logits(0))["adversarial"]
    assert rough.dtype == torch.float32
    assert rough.item() == pytest.approx(exact.item(), rel=0.02)


def test_every_method_and_its_settings_load_without_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from uda.core import registry\n"
        "for name in registry.names('adversaries'):\n"
        "    cls = registry.load('adversaries', name)\n"
        "    config = cls.Config.tiny()\n"
        "    assert config.name == name == cls.Config(name=name).name, name\n"
        "    assert registry.summary('adversaries', name), name\n"
        "    print(name)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == NAMES
