"""Noise inside generators, wherever a method offers it: off by default, learnt, drawn for translations alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from tests.contracts.small_translators import CLASSES, build, make_batch
from tests.contracts.test_translators import NAMES, render
from uda.core import registry
from uda.data.batch import Context
from uda.translators.base import AVERAGED, AbstractTranslator


def offers_it(name: str) -> bool:
    field = registry.load("translators", name).Config.model_fields.get("noise")
    return field is not None and field.annotation is bool  # OASIS's says where its own is drawn


NOISY = [name for name in NAMES if offers_it(name)]
KNOWN = {"cyclegan": "identity", "semgan": "identity", "munit": "reconstruction", "sait": "reconstruction"}
"""Terms of an image that a generator is to give back as it is. UNIT's own code is noisy; SG-GAN has no such term."""


def guide(images: Tensor) -> Tensor:
    return images[:, :1].repeat(1, CLASSES, 1, 1)


def make(name: str) -> AbstractTranslator:
    return build(name, guide, noise=True)


def strengths(translator: AbstractTranslator, domain: str) -> Iterator[nn.Parameter]:
    for name, network in translator.networks.items():
        if name.endswith(domain):
            yield from (p for part, p in network.named_parameters() if "noise" in part.split("."))


def test_the_methods_that_render_images_of_images_offer_it() -> None:
    assert {"cyclegan", "munit", "sait", "semgan", "sggan", "unit"} == set(NOISY)
    for name in NOISY:
        assert not list(strengths(build(name, guide), "target"))


@pytest.mark.parametrize("name", NOISY)
def test_it_is_learnt_from_none_on(name: str) -> None:
    translator, context = make(name), Context(images_seen=0, total_images=100)
    found = [*strengths(translator, "source"), *strengths(translator, "target")]
    assert len(found) == 6 and not any(strength.any() for strength in found)
    translator.losses("generator", make_batch(), context)["gan"].backward()
    assert all(strength.grad is not None and strength.grad.any() for strength in found)


@pytest.mark.parametrize("name", NOISY)
def test_translations_get_it_and_what_is_known_does_not(name: str) -> None:
    translator, batch = make(name), make_batch()
    for strength in (*strengths(translator, "source"), *strengths(translator, "target")):
        nn.init.ones_(strength)
    for averaged, own in ((translator.networks.get(AVERAGED + n), net) for n, net in translator.networks.items()):
        if averaged is not None:
            averaged.load_state_dict(own.state_dict())
    assert translator.varies(translator.config)
    one, same, other = (render(translator, batch, seed=seed).images_BCHW for seed in (3, 3, 4))
    assert torch.equal(one, same) and not torch.allclose(one, other)
    terms: list[dict[str, Tensor]] = []
    for seed in range(2):
        torch.manual_seed(seed)
        terms.append(translator.losses("generator", batch, Context(images_seen=0, total_images=100)))
    assert not torch.equal(terms[0]["gan"], terms[1]["gan"])
    if name in KNOWN:
        assert torch.equal(terms[0][KNOWN[name]], terms[1][KNOWN[name]])


@pytest.mark.parametrize("name", NOISY)
def test_the_discriminators_turn_draws_it_too(name: str) -> None:
    translator, batch = make(name), make_batch()
    for strength in (*strengths(translator, "source"), *strengths(translator, "target")):
        nn.init.ones_(strength)
    shown: list[Tensor] = []
    for seed in range(2):
        torch.manual_seed(seed)
        context = Context(images_seen=0, total_images=100)
        translator.losses("discriminator", batch, context)
        shown.append(context.made["fake_target"])
    assert not torch.allclose(shown[0], shown[1])
