"""Grain of generators that draw label maps: off by default, learnt from none on, drawn wherever images are made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.contracts.small_translators import build, make_batch
from tests.contracts.test_translators import NAMES, render
from tests.translators.layout_fakes import make_labels
from uda.core import registry
from uda.data.batch import Batch, Context
from uda.translators.base import AVERAGED, AbstractTranslator

GRAINY = ["oasis", "semi_paired", "usis"]


def unasked(images: Tensor) -> Tensor:
    raise AssertionError("none of these asks a guide")


def make(name: str, strength: float = 0.0, **settings: Any) -> AbstractTranslator:
    translator = build(name, unasked, grain=True, **settings)
    for network in generators(translator):
        for one in network.get_submodule("grain").parameters():
            nn.init.constant_(one, strength)
    return translator


def generators(translator: AbstractTranslator) -> list[nn.Module]:
    return [translator.networks[name] for name in ("generator", AVERAGED + "generator")]


def context() -> Context:
    return Context(images_seen=0, total_images=100)


def test_these_methods_offer_it() -> None:
    assert sorted(name for name in NAMES if "grain" in registry.load("translators", name).Config.model_fields) == GRAINY
    for name in GRAINY:
        assert all(not list(one.get_submodule("grain").parameters()) for one in generators(build(name, unasked)))


@pytest.mark.parametrize("name", GRAINY)
def test_it_is_learnt_from_none_on(name: str) -> None:
    translator = make(name)
    strengths = list(translator.networks["generator"].get_submodule("grain").parameters())
    assert len(strengths) == 3 and not any(strength.any() for strength in strengths)
    assert {id(strength) for strength in strengths} <= {id(one) for one in translator.players()["generator"]}
    torch.stack(list(translator.losses("generator", make_batch(), context()).values())).sum().backward()
    assert all(strength.grad is not None and strength.grad.any() for strength in strengths)


@pytest.mark.parametrize("name", GRAINY)
def test_every_pixel_has_its_own_and_the_seed_says_which(name: str) -> None:
    flat = Batch(source_labels_BHW=torch.zeros(2, 64, 64, dtype=torch.long))
    plain, grainy = (render(make(name, strength), flat, seed=3).images_BCHW for strength in (0.0, 1.0))
    assert torch.equal(grainy, render(make(name, 1.0), flat, seed=3).images_BCHW)
    assert not torch.allclose(grainy, render(make(name, 1.0), flat, seed=4).images_BCHW)

    def roughness(images: Tensor) -> float:
        """How much neighbours differ in the middle, where a flat map has no border."""
        middle = images[:, :, 24:40, 24:40]
        return float((middle[..., 1:] - middle[..., :-1]).std())

    assert roughness(grainy) > 2 * roughness(plain)


@pytest.mark.parametrize("name", GRAINY)
def test_the_fit_and_the_averages_statistics_have_it(name: str) -> None:
    made: list[Tensor] = []
    variances: list[Tensor] = []
    for strength in (0.0, 1.0):
        translator = make(name, strength)
        generator, averaged = generators(translator)
        generator.register_forward_hook(lambda _, __, images: made.append(images.detach()))
        torch.manual_seed(5)
        translator.losses("generator", make_batch(), context())
        translator.finalize([make_batch()])
        *_, last = (value for part, value in averaged.named_buffers() if part.endswith("running_var"))
        variances.append(last.clone())
    half = len(made) // 2
    assert half and all(not torch.allclose(one, other) for one, other in zip(made[:half], made[half:], strict=True))
    assert not torch.allclose(variances[0], variances[1])


def test_where_some_classes_alone_are_drawn_anew_the_grain_stays() -> None:
    draws: list[Callable[..., Tensor]] = []

    def seen(_: nn.Module, __: tuple[Any, ...], given: dict[str, Any]) -> None:
        draws.append(given["draw"])

    for settings in ({}, {"noise_classes": (1,)}):
        translator = make("oasis", 1.0, **settings)
        translator.networks[AVERAGED + "generator"].register_forward_pre_hook(seen, with_kwargs=True)
        render(translator, Batch(source_labels_BHW=make_labels()), seed=0)
    anew, kept = ([draw((2, 1, 4, 4), device=torch.device("cpu")) for _ in range(2)] for draw in draws)
    assert not torch.equal(anew[0], anew[1]) and not torch.equal(anew[0][0], anew[0][1])
    assert torch.equal(kept[0], kept[1]) and torch.equal(kept[0][0], kept[0][1])
