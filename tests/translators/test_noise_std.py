"""How strong the noise beside a label map is: in the fit, in the averages' statistics and when it renders."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.contracts.small_translators import build, make_batch
from tests.contracts.test_translators import NAMES, render
from uda.core import registry
from uda.data.batch import Context
from uda.translators.base import AVERAGED, AbstractTranslator

NOISY = ["oasis", "semi_paired", "tcr", "usis"]
CHANNELS = 64


def unasked(images: Tensor) -> Tensor:
    raise AssertionError("none of these asks a guide")


def make(name: str, **settings: Any) -> AbstractTranslator:
    return build(name, unasked, noise_channels=CHANNELS, **settings)


def seen(translator: AbstractTranslator, generator: str, call: Any) -> Tensor:
    """The noise of all images that a generator is shown meanwhile, (B, Z)."""
    found: list[Tensor] = []
    hook = translator.networks[generator].register_forward_pre_hook(
        lambda _, given: found.append(given[0][:, :CHANNELS, 0, 0].detach())
    )
    call()
    hook.remove()
    return torch.cat(found)


def test_these_methods_have_it() -> None:
    assert sorted(n for n in NAMES if "noise_std" in registry.load("translators", n).Config.model_fields) == NOISY
    assert all(registry.load("translators", name).Config().noise_std == 1 for name in NOISY)


@pytest.mark.parametrize("name", NOISY)
def test_all_that_is_shown_to_the_generators_has_it(name: str) -> None:
    for std in (1.0, 0.25):
        translator, batch = make(name, noise_std=std), make_batch()
        torch.manual_seed(0)
        context = Context(images_seen=0, total_images=100)
        shown = seen(translator, "generator", lambda: translator.losses("generator", batch, context))  # noqa: B023  # called at once
        assert float(shown.std()) == pytest.approx(std, rel=0.2)
        averaged = AVERAGED + "generator"
        for call in (lambda: translator.finalize(iter([batch] * 2)), lambda: render(translator, batch)):  # noqa: B023  # called at once
            assert float(seen(translator, averaged, call).std()) == pytest.approx(std, rel=0.2)


@pytest.mark.parametrize("name", NOISY)
def test_without_any_a_map_has_one_image(name: str) -> None:
    translator, batch = make(name, noise_std=0.0), make_batch()
    assert not translator.varies(translator.config)
    assert torch.equal(render(translator, batch, seed=1).images_BCHW, render(translator, batch, seed=2).images_BCHW)
    assert make(name).varies(make(name).config)
    if "grain" in type(translator.config).model_fields:
        assert translator.varies(translator.config.model_copy(update={"grain": True}))


def test_oasis_has_it_in_every_mode() -> None:
    for settings in ({"noise": "local"}, {"noise": "class"}, {"noise_classes": (0,)}):
        translator = make("oasis", noise_std=0.25, **settings)
        shown = seen(translator, AVERAGED + "generator", lambda: render(translator, make_batch()))  # noqa: B023  # called at once
        assert float(shown.std()) == pytest.approx(0.25, rel=0.3)
