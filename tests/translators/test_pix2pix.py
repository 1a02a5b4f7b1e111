from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from uda.core.errors import ConfigError, DataError
from uda.data.batch import Batch, Context
from uda.nets.patchgan import receptive_field
from uda.translators._maps import one_hot
from uda.translators.base import Setting
from uda.translators.pix2pix import PATCH_LAYERS, Pix2pix, Pix2pixConfig, Pix2pixWeights

CLASSES = 3


def make(**settings: Any) -> Pix2pix:
    torch.manual_seed(0)
    return Pix2pix(Pix2pixConfig.tiny().model_copy(update=settings), Setting(CLASSES))


def make_batch(size: int = 32) -> Batch:
    draws = torch.Generator().manual_seed(0)
    images = torch.rand(2, 2, 3, size, size, generator=draws) * 2 - 1
    labels = torch.randint(0, CLASSES, (2, 2, size, size), generator=draws)
    labels[:, :, 0] = 255
    return Batch(images[0], labels[0], images[1], labels[1])


def context() -> Context:
    return Context(images_seen=0, total_images=10)


def images_of(batch: Batch) -> torch.Tensor:
    assert batch.target_images_BCHW is not None
    return batch.target_images_BCHW


def maps_of(batch: Batch) -> torch.Tensor:
    assert batch.target_labels_BHW is not None
    return one_hot(batch.target_labels_BHW, CLASSES)


def test_a_pixel_is_1_in_its_class_and_an_ignored_one_is_0_in_all() -> None:
    labels = torch.tensor([[[0, 2], [255, 1]]])
    maps = one_hot(labels, CLASSES)
    assert maps.dtype == torch.float32
    assert maps[0, :, 0, 0].tolist() == [1, 0, 0]
    assert maps[0, :, 0, 1].tolist() == [0, 0, 1]
    assert maps[0, :, 1, 0].tolist() == [0, 0, 0]
    assert maps[0, :, 1, 1].tolist() == [0, 1, 0]


def test_terms_are_the_papers_formulas() -> None:
    translator, batch = make(dropout=0.0), make_batch()
    generator, discriminator = translator.networks["generator"], translator.networks["discriminator"]
    here = context()
    terms = translator.losses("generator", batch, here)
    images, maps = images_of(batch), maps_of(batch)
    fake = generator(maps)
    said = discriminator(torch.cat([maps, fake], dim=1))
    assert torch.allclose(terms["gan"], F.softplus(-said).mean(), rtol=1e-4)
    assert torch.allclose(terms["l1"], (fake - images).abs().mean(), rtol=1e-4)
    real_said = discriminator(torch.cat([maps, images], dim=1))
    wanted = F.softplus(-real_said).mean() + F.softplus(said).mean()
    assert torch.allclose(translator.losses("discriminator", batch, here)["discriminator"], wanted, rtol=1e-4)


@pytest.mark.parametrize(("kind", "value"), [("bce", math.log(2)), ("lsgan", 0.5)])
def test_a_discriminator_that_says_nothing_costs_what_the_loss_says(kind: str, value: float) -> None:
    translator = make(gan_loss=kind)
    for parameter in translator.networks["discriminator"].parameters():
        nn.init.zeros_(parameter)
    terms = translator.losses("discriminator", make_batch(), context())
    # Real and fake: 2 log 2, or 1 + 0; halved by its weight.
    assert math.isclose(terms["discriminator"].item(), 2 * value, rel_tol=1e-5)
    assert translator.config.term_weights == {"gan": 1, "l1": 100, "discriminator": 0.5}


def test_the_discriminator_sees_the_fakes_of_the_generators_turn() -> None:
    translator, here = make(), context()
    translator.losses("generator", make_batch(), here)
    fake = here.made["fake_target"].clone()
    assert not fake.requires_grad
    one = translator.losses("discriminator", make_batch(), here)["discriminator"]
    assert torch.equal(here.made["fake_target"], fake)
    assert torch.equal(one, translator.losses("discriminator", make_batch(), here)["discriminator"]), "no new noise"


def test_the_discriminators_turn_leaves_the_generator_alone() -> None:
    translator = make()
    translator.losses("discriminator", make_batch(), context())["discriminator"].backward()
    assert all(p.grad is None for p in translator.networks["generator"].parameters())
    assert all(p.grad is not None for p in translator.networks["discriminator"].parameters())


@pytest.mark.parametrize("term", ["gan", "l1"])
def test_either_term_alone_trains_the_whole_generator(term: str) -> None:
    translator = make(weights=Pix2pixWeights.model_validate({"gan": 0, "l1": 0, term: 1}))
    terms = translator.losses("generator", make_batch(), context())
    assert set(terms) == {term}
    terms[term].backward()
    assert all(p.grad is not None for p in translator.networks["generator"].parameters())


@torch.no_grad()
def test_only_a_conditional_discriminator_looks_at_the_map() -> None:
    batch = make_batch()
    assert batch.target_labels_BHW is not None
    # The fake is given, so that only what the discriminator sees of the map can make a difference.
    other = Batch(None, None, batch.target_images_BCHW, (batch.target_labels_BHW + 1) % CLASSES)
    for conditional in (True, False):
        translator, losses = make(conditional=conditional), []
        for one in (batch, other):
            here = context()
            here.made["fake_target"] = torch.zeros_like(images_of(batch))
            losses.append(translator.losses("discriminator", one, here)["discriminator"].item())
        assert (losses[0] != losses[1]) == conditional


@pytest.mark.parametrize(("patch", "side"), [(1, 1), (16, 16), (70, 70), ("full", 286)])
def test_patches_have_the_papers_sizes(patch: int | str, side: int) -> None:
    config = Pix2pixConfig.model_validate({"patch": patch, "width": 2, "levels": 2, "discriminator_width": 2})
    assert receptive_field(PATCH_LAYERS[config.patch]) == side
    translator = Pix2pix(config, Setting(CLASSES))
    strided = [
        m for m in translator.networks["discriminator"].modules() if isinstance(m, nn.Conv2d) and m.stride[0] > 1
    ]
    assert len(strided) == PATCH_LAYERS[config.patch]


def test_other_patches_are_refused() -> None:
    with pytest.raises(ValueError, match="patch"):
        Pix2pixConfig.model_validate({"patch": 34})


def test_the_defaults_are_the_papers_recipe() -> None:
    config = Pix2pixConfig()
    rates = {(one.lr, one.betas, one.name) for one in config.optimizers.values()}
    assert rates == {(2e-4, (0.5, 0.999), "adam")}
    assert (config.levels, config.patch, config.gan_loss, config.dropout, config.norm) == (8, 70, "bce", 0.5, "batch")
    with torch.device("meta"):
        networks = Pix2pix(config, Setting(3)).networks
    counts = [round(sum(p.numel() for p in net.parameters()) / 1e6, 2) for net in networks.values()]
    assert counts == [54.41, 2.77]


@torch.no_grad()
def test_it_renders_the_sources_maps_and_never_its_images() -> None:
    translator, batch = make(), make_batch()
    made = translator.translate(batch, generator=torch.Generator().manual_seed(1))
    assert made.labels_BHW is batch.source_labels_BHW
    blind = Batch(None, batch.source_labels_BHW)
    assert torch.equal(
        made.images_BCHW, translator.translate(blind, generator=torch.Generator().manual_seed(1)).images_BCHW
    )
    assert batch.source_labels_BHW is not None
    maps = one_hot(batch.source_labels_BHW, CLASSES)
    assert torch.equal(made.images_BCHW, translator.networks["generator"](maps, torch.Generator().manual_seed(1)))


@torch.no_grad()
def test_another_draw_is_another_image_unless_there_is_no_dropout() -> None:
    for rate in (0.5, 0.0):
        translator, batch = make(dropout=rate), make_batch()
        draws = (torch.Generator().manual_seed(seed) for seed in (1, 2))
        one, two = (translator.translate(batch, generator=draw).images_BCHW for draw in draws)
        assert torch.equal(one, two) == (rate == 0)


@torch.no_grad()
def test_an_image_without_a_single_label_is_rendered_too() -> None:
    labels = torch.full((1, 32, 32), 255)
    made = make().translate(Batch(None, labels), generator=torch.Generator()).images_BCHW
    assert torch.isfinite(made).all()


def test_it_says_what_is_missing() -> None:
    batch = make_batch()
    unlabelled = Batch(batch.source_images_BCHW, None, batch.target_images_BCHW, None)
    with pytest.raises(DataError, match=r"no label maps of target images.*--pairs or --pseudo"):
        make().losses("generator", unlabelled, context())
    with pytest.raises(DataError, match=r"no label maps of source images.*--source"):
        make().translate(unlabelled, generator=torch.Generator())
    with pytest.raises(DataError, match="no target images"):
        make().losses("generator", Batch(None, None, None, batch.target_labels_BHW), context())


def test_sizes_that_its_levels_do_not_divide_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"not divisible by 8.*translator\.levels"):
        make().losses("generator", make_batch(size=36), context())


def test_it_learns_the_colours_of_classes() -> None:
    colours = torch.tensor([[0.8, -0.5, 0.0], [-0.6, 0.4, 0.2], [0.0, 0.1, -0.8]])

    def pairs() -> Batch:
        labels = torch.randint(0, CLASSES, (2, 4, 4)).repeat_interleave(8, -1).repeat_interleave(8, -2)
        return Batch(None, labels, colours[labels].permute(0, 3, 1, 2), labels)

    torch.manual_seed(0)
    config = Pix2pixConfig(width=8, levels=3, patch=16, discriminator_width=8)
    translator = Pix2pix(config, Setting(CLASSES))
    players, weights = translator.players(), config.term_weights
    optimizers = {name: torch.optim.Adam(own, lr=2e-3, betas=(0.5, 0.999)) for name, own in players.items()}
    for _ in range(80):
        batch, here = pairs(), context()
        for name, optimizer in optimizers.items():
            terms = translator.losses(name, batch, here)
            optimizer.zero_grad()
            torch.stack([weights[key] * term for key, term in terms.items()]).sum().backward()
            optimizer.step()
    batch = pairs()
    with torch.no_grad():
        made = translator.translate(batch, generator=torch.Generator().manual_seed(0)).images_BCHW
    assert (made - images_of(batch)).abs().mean() < 0.15, "colours are 0.8 apart on average"
