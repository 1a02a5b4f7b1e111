from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from torch import nn

from uda.core.errors import ConfigError, DataError
from uda.data.batch import Batch, Context
from uda.losses.sggan import image_gradients, known_least_squares, label_edges
from uda.translators._maps import domain_maps, one_hot
from uda.translators.base import Direction, Setting
from uda.translators.sggan import Sggan, SgganConfig, SgganWeights

CLASSES = 3
WAYS = (("source", "target"), ("target", "source"))
OFF = SgganWeights(gan=0, cycle=0, gradient=0)


def make(**settings: Any) -> Sggan:
    torch.manual_seed(0)
    return Sggan(SgganConfig.tiny().model_copy(update={"weights": SgganWeights(), **settings}), Setting(CLASSES))


def make_batch(seed: int = 0, size: int = 32) -> Batch:
    draws = torch.Generator().manual_seed(seed)
    images = torch.rand(2, 2, 3, size, size, generator=draws) * 2 - 1
    labels = torch.randint(0, CLASSES, (2, 2, size // 8, size // 8), generator=draws)
    labels = labels.repeat_interleave(8, -1).repeat_interleave(8, -2)
    labels[:, :, :3] = 255
    return Batch(images[0], labels[0], images[1], labels[1])


def images_of(batch: Batch) -> dict[str, torch.Tensor]:
    assert batch.source_images_BCHW is not None and batch.target_images_BCHW is not None
    return {"source": batch.source_images_BCHW, "target": batch.target_images_BCHW}


def context() -> Context:
    return Context(images_seen=0, total_images=10)


def test_too_small_images_are_told_in_one_line() -> None:
    with pytest.raises(ConfigError, match="too small for its patches"):
        make().losses("discriminator", make_batch(size=8), context())


def test_terms_are_the_papers_formulas() -> None:
    translator, batch = make(softness=0.1), make_batch()
    x, y = images_of(batch), domain_maps(batch, "source", "target", method="sggan")
    nets = translator.networks
    terms = translator.losses("generator", batch, context())
    wanted = dict.fromkeys(terms, torch.zeros(()))
    for a, b in WAYS:
        fake = nets[f"generator_{b}"](x[a])
        scores, known = nets[f"discriminator_{b}"](fake, one_hot(y[a], CLASSES))
        difference = (image_gradients(x[a]).abs() - image_gradients(fake).abs()).abs().mean((1, 2))
        weight = 0.9 * label_edges(y[a], CLASSES)[:, 0] + 0.1
        added = {
            "gan": ((scores - 1).square() * known).sum() / known.sum(),
            "cycle": (nets[f"generator_{a}"](fake) - x[a]).abs().mean(),
            "gradient": (weight * difference).mean(),
        }
        wanted = {name: wanted[name] + added[name] for name in wanted}
    assert len(wanted) == 3
    for name, value in wanted.items():
        assert torch.allclose(terms[name], value, rtol=1e-4), name


@pytest.mark.parametrize("given", [True, False])
def test_fakes_are_judged_under_the_map_they_were_made_from(given: bool) -> None:
    translator, batch, here = make(buffer=0), make_batch(), context()
    if given:
        translator.losses("generator", batch, here)
    got = translator.losses("discriminator", batch, here)["discriminator"]
    x, y = images_of(batch), domain_maps(batch, "source", "target", method="sggan")
    wanted = torch.zeros(())
    for a, b in WAYS:
        discriminator = translator.networks[f"discriminator_{b}"]
        fake = translator.networks[f"generator_{b}"](x[a])
        for images, labels, real in ((x[b], y[b], True), (fake, y[a], False)):
            wanted = wanted + known_least_squares(*discriminator(images, one_hot(labels, CLASSES)), real=real)
    assert torch.allclose(got, wanted, rtol=1e-4)


@torch.no_grad()
def test_earlier_fakes_come_with_their_own_maps() -> None:
    translator = make(buffer=2)
    old = torch.cat([torch.rand(2, 3, 32, 32), torch.full((2, 1, 32, 32), 2.0)], dim=1)
    shown: list[tuple[torch.Tensor, torch.Tensor]] = []

    def note(_: nn.Module, inputs: tuple[torch.Tensor, torch.Tensor]) -> None:
        shown.append(inputs)

    translator.networks["discriminator_target"].register_forward_pre_hook(note)
    seen = 0
    for seed in range(8):
        torch.manual_seed(seed)
        translator.load_extra_state({"buffers": {domain: list(old[:, None]) for domain in ("source", "target")}})
        translator.losses("discriminator", make_batch(seed), context())
        images, maps = shown[-1]
        for image, map_NHW in zip(images, maps, strict=True):
            if any(torch.equal(image, one) for one in old[:, :3]):
                seen += 1
                assert torch.equal(map_NHW, one_hot(torch.full((1, 32, 32), 2), CLASSES)[0])
    assert seen, "no draw took an old fake"


@pytest.mark.parametrize("term", ["gan", "cycle", "gradient"])
def test_each_term_can_stand_alone_and_be_left_out(term: str) -> None:
    alone = make(weights=OFF.model_copy(update={term: 1.0}))
    assert set(alone.losses("generator", make_batch(), context())) == {term}
    rest = set(make(weights=SgganWeights.model_validate({term: 0.0})).losses("generator", make_batch(), context()))
    assert rest == {"gan", "cycle", "gradient"} - {term}


def test_without_any_weight_nothing_is_computed() -> None:
    assert make(weights=OFF).losses("generator", make_batch(), context()) == {}


def test_the_defaults_are_the_authors_settings() -> None:
    config = SgganConfig()
    assert config.term_weights == {"gan": 1, "cycle": 10, "gradient": 5, "symmetric_ce": 0, "discriminator": 0.5}
    rates = {(one.lr, one.betas, one.name) for one in config.optimizers.values()}
    assert rates == {(2e-4, (0.5, 0.999), "adam")}
    with torch.device("meta"):
        networks = Sggan(config, Setting(8)).networks  # their eight groups of classes
    counts = {name: sum(p.numel() for p in net.parameters()) for name, net in networks.items()}
    for domain in ("source", "target"):
        assert counts[f"generator_{domain}"] == 11_378_179  # CycleGAN's
        assert counts[f"discriminator_{domain}"] == 2_764_737 + 7 * (16 * 512 + 1)


def test_maps_without_a_single_known_pixel_teach_the_rest() -> None:
    batch, translator = make_batch(), make(softness=0.0)
    assert batch.source_labels_BHW is not None
    blank = torch.full_like(batch.source_labels_BHW, 255)
    unknown, here = Batch(batch.source_images_BCHW, blank, batch.target_images_BCHW, blank), context()
    terms = translator.losses("generator", unknown, here) | translator.losses("discriminator", unknown, here)
    assert terms["gan"] == 0 and terms["gradient"] == 0 and terms["discriminator"] == 0
    assert torch.isfinite(terms["cycle"]) and terms["cycle"] > 0


def test_missing_maps_are_told_in_one_line() -> None:
    batch = make_batch()
    for player in ("generator", "discriminator"):
        blind = Batch(batch.source_images_BCHW, batch.source_labels_BHW, batch.target_images_BCHW, None)
        with pytest.raises(DataError, match="translator sggan: no label maps of target images; give --pairs or --pseu"):
            make().losses(player, blind, context())
        blind = Batch(batch.source_images_BCHW, None, batch.target_images_BCHW, batch.target_labels_BHW)
        with pytest.raises(DataError, match="no label maps of source images; give a --source with labels"):
            make().losses(player, blind, context())


@torch.no_grad()
def test_rendering_needs_no_maps_and_each_way_has_its_generator() -> None:
    translator, batch = make(), make_batch()
    x = images_of(batch)
    directions: list[Direction] = ["source_to_target", "target_to_source"]
    assert Sggan.directions == tuple(directions)
    for (a, b), direction in zip(WAYS, directions, strict=True):
        blind = Batch(**{f"{a}_images_BCHW": x[a]})
        made = translator.translate(blind, generator=torch.Generator(), direction=direction)
        assert torch.equal(made.images_BCHW, translator.networks[f"generator_{b}"](x[a]))
        assert made.labels_BHW is None


SHORT: dict[str, Any] = {
    "generator_norm": False,
    "skips": True,
    "residual": True,
    "discriminator_norm": "none",
    "discriminator_details": 8.0,
}
"""What short fits switch on."""


@pytest.mark.parametrize("settings", [{}, SHORT], ids=["paper", "short"])
def test_every_parameter_is_trained(settings: dict[str, Any]) -> None:
    translator, here = make(**settings), context()
    for player, parameters in translator.players().items():
        for parameter in parameters:
            parameter.grad = None
        torch.stack(list(translator.losses(player, make_batch(), here).values())).sum().backward()
        assert all(parameter.grad is not None for parameter in parameters)


def test_the_discriminators_turn_leaves_the_generators_alone() -> None:
    translator, here = make(), context()
    translator.losses("generator", make_batch(), here)
    fakes = {key: value.clone() for key, value in here.made.items()}
    translator.losses("discriminator", make_batch(), here)["discriminator"].backward()
    assert all(torch.equal(fakes[key], here.made[key]) for key in fakes)
    for name, network in translator.networks.items():
        touched = any(p.grad is not None and bool(p.grad.any()) for p in network.parameters())
        assert touched == name.startswith("discriminator"), name


def test_resuming_goes_on_with_the_same_history() -> None:
    trained = make(buffer=4)
    for seed in range(3):
        trained.losses("discriminator", make_batch(seed), context())
    file = io.BytesIO()
    torch.save(trained.extra_state(), file)
    file.seek(0)
    resumed, fresh = make(buffer=4), make(buffer=4)
    resumed.load_extra_state(torch.load(file, weights_only=True))
    losses = []
    for translator in (trained, resumed, fresh):
        torch.manual_seed(1)  # with it old fakes are drawn
        turns = [translator.losses("discriminator", make_batch(5 + i), context()) for i in range(4)]
        losses.append([turn["discriminator"].item() for turn in turns])
    assert losses[0] == losses[1] != losses[2]
