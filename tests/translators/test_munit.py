from __future__ import annotations

from typing import Any

import pytest
import torch

from uda.data.batch import Batch, Context
from uda.translators.base import Setting
from uda.translators.munit import Munit, MunitConfig, MunitWeights


def make(**settings: Any) -> Munit:
    torch.manual_seed(0)
    config = MunitConfig.tiny().model_copy(update={"weights": MunitWeights(), **settings})
    translator = Munit(config, Setting(3))
    for network in translator.networks.values():
        network.eval()
    return translator


def make_batch(seed: int = 0) -> Batch:
    images = torch.rand(2, 2, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return Batch(images[0], None, images[1], None)


@pytest.mark.parametrize("residual", [False, True], ids=["painted", "retouched"])
def test_terms_are_the_papers_formulas(residual: bool) -> None:
    translator, batch = make(residual=residual), make_batch()
    nets, real = translator.networks, {"source": batch.source_images_BCHW, "target": batch.target_images_BCHW}
    torch.manual_seed(4)
    terms = translator.losses("generator", batch, Context(0, 10))
    torch.manual_seed(4)
    wanted = dict.fromkeys(terms, torch.zeros(()))
    for a, b in (("source", "target"), ("target", "source")):
        x = real[a]
        assert x is not None
        content, style, drawn = nets[f"content_{a}"](x), nets[f"style_{a}"](x), torch.randn(2, 8)
        fake = nets[f"decoder_{b}"](content, nets[f"mlp_{b}"](drawn), image=x)
        back = nets[f"content_{b}"](fake)
        own = nets[f"mlp_{a}"](style)
        added = {
            "gan": sum((scale - 1).square().mean() for scale in nets[f"discriminator_{b}"](fake)),
            "reconstruction": (nets[f"decoder_{a}"](content, own, image=x) - x).abs().mean(),
            "style_reconstruction": (nets[f"style_{b}"](fake) - drawn).abs().mean(),
            "content_reconstruction": (back - content).abs().mean(),
            "image_cycle": (nets[f"decoder_{a}"](back, own, image=fake) - x).abs().mean(),
        }
        wanted = {name: wanted[name] + added[name] for name in wanted}
    for name, value in wanted.items():
        assert torch.allclose(terms[name], value, rtol=1e-4), name


SHORT: dict[str, Any] = {"skips": True, "residual": True, "discriminator_details": 8.0}
"""What short fits switch on."""


@pytest.mark.parametrize("settings", [{}, SHORT], ids=["paper", "short"])
def test_every_parameter_is_trained(settings: dict[str, Any]) -> None:
    translator, context = make(**settings), Context(0, 10)
    for player, parameters in translator.players().items():
        for parameter in parameters:
            parameter.grad = None
        torch.stack(list(translator.losses(player, make_batch(), context).values())).sum().backward()
        assert all(parameter.grad is not None for parameter in parameters)


@torch.no_grad()
def test_another_draw_is_another_style() -> None:
    translator, batch = make(), make_batch()
    one, two = (translator.translate(batch, generator=torch.Generator().manual_seed(s)).images_BCHW for s in (1, 2))
    assert (one - two).abs().max() > 1e-3


@torch.no_grad()
def test_a_reference_gives_its_style_and_nothing_is_drawn() -> None:
    translator, batch = make(style="reference"), make_batch()
    one, two = (translator.translate(batch, generator=torch.Generator().manual_seed(s)).images_BCHW for s in (1, 2))
    assert torch.equal(one, two)
    other = Batch(batch.source_images_BCHW, None, make_batch(1).target_images_BCHW)
    assert not torch.equal(one, translator.translate(other, generator=torch.Generator()).images_BCHW)
