"""SemGAN in both modes: its losses, what its discriminators see, and what it keeps."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from torch import nn

from tests.translators.small_semgan import (
    CLASSES,
    OFF,
    WAYS,
    WEIGHTS,
    context,
    cross_entropy,
    forward,
    images_of,
    make,
    make_batch,
)
from uda.core.errors import DataError
from uda.data.batch import Batch
from uda.translators._maps import domain_maps, known_pixels, one_hot
from uda.translators.base import Setting
from uda.translators.semgan import Semgan, SemganConfig, SemganWeights


def seen_by(translator: Semgan, domain: str) -> list[torch.Tensor]:
    """What a discriminator is shown from now on."""
    seen: list[torch.Tensor] = []

    def note(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        seen.append(inputs[0].detach())

    translator.networks[f"discriminator_{domain}"].register_forward_pre_hook(note)
    return seen


# The losses


@pytest.mark.parametrize("mask", ["unchanged", "changed"])
@pytest.mark.parametrize("smoothing", [None, 0.2])
def test_terms_are_the_papers_formulas(smoothing: float | None, mask: str) -> None:
    translator, batch = make(label_smoothing=smoothing, objects_mask=mask), make_batch()
    x, y = images_of(batch), domain_maps(batch, "source", "target", method="semgan")
    terms = translator.losses("generator", batch, context())
    wanted = dict.fromkeys(terms, torch.zeros(()))
    both_known = ((y["source"] != 255) & (y["target"] != 255))[:, None].float()
    for a, b in WAYS:
        t = one_hot(y[a], CLASSES)
        fake, logits = forward(translator, b, x[a], t)
        after = logits.argmax(1)
        shown = logits.softmax(1) if smoothing is not None else one_hot(after, CLASSES)
        said = translator.networks[f"discriminator_{b}"](torch.cat([fake, 2 * shown * both_known - 1], dim=1))
        own, own_logits = forward(translator, a, x[a], t)
        back, back_logits = forward(translator, a, fake, shown)
        picked = ((after == y[a]) if mask == "unchanged" else (after != y[a])) & (y[a] != 255)
        added = {
            "gan": (said - 1).square().mean(),
            "identity": (own - x[a]).abs().mean() + cross_entropy(own_logits, y[a]),
            "reconstruction": (back - x[a]).abs().mean() + cross_entropy(back_logits, y[a]),
            "objects": ((fake - x[a]).abs() * picked[:, None]).mean(),
            "domain": cross_entropy(logits, y[a]),
        }
        wanted = {name: wanted[name] + added[name] for name in wanted}
    assert len(wanted) == 5
    for name, value in wanted.items():
        assert torch.allclose(terms[name], value, rtol=1e-4, atol=1e-6), name


def test_the_discriminators_loss_is_that_of_both_domains() -> None:
    translator, batch, here = make(buffer=0), make_batch(), context()
    x, y = images_of(batch), domain_maps(batch, "source", "target", method="semgan")
    got = translator.losses("discriminator", batch, here)["discriminator"]
    both_known = ((y["source"] != 255) & (y["target"] != 255))[:, None].float()
    wanted = torch.zeros(())
    for a, b in WAYS:
        fake, logits = forward(translator, b, x[a], one_hot(y[a], CLASSES))
        discriminator = translator.networks[f"discriminator_{b}"]
        shown = one_hot(logits.argmax(1), CLASSES) * both_known
        real = one_hot(y[b], CLASSES) * both_known
        wanted = wanted + (discriminator(torch.cat([x[b], 2 * real - 1], dim=1)) - 1).square().mean()
        wanted = wanted + discriminator(torch.cat([fake, 2 * shown - 1], dim=1)).square().mean()
    assert torch.allclose(got, wanted, rtol=1e-4)
    assert translator.config.term_weights["discriminator"] == 0.5


@pytest.mark.parametrize("term", ["gan", "identity", "reconstruction", "objects", "domain"])
def test_each_term_can_stand_alone_and_be_left_out(term: str) -> None:
    alone = make(weights={**OFF.model_dump(), term: 1.0})
    assert set(alone.losses("generator", make_batch(), context())) == {term}
    without_it = make(weights={**WEIGHTS, term: 0.0})
    rest = set(without_it.losses("generator", make_batch(), context()))
    assert rest == {"gan", "identity", "reconstruction", "objects", "domain"} - {term}


def test_without_any_weight_nothing_is_computed() -> None:
    assert make(weights=OFF.model_dump()).losses("generator", make_batch(), context()) == {}


def test_each_mode_has_its_own_loss_unless_the_weights_say_otherwise() -> None:
    plain = SemganConfig().term_weights
    assert plain == {
        "gan": 1,
        "identity": 5,
        "reconstruction": 10,
        "objects": 0,
        "domain": 10,
        "symmetric_ce": 0,
        "discriminator": 0.5,
    }
    turned = SemganConfig(mode="transfiguration", classes=(1, 2)).term_weights
    assert turned == {**plain, "objects": 10, "domain": 0}
    both = SemganConfig(weights=SemganWeights(objects=2, domain=3)).term_weights
    assert (both["objects"], both["domain"]) == (2, 3)


# What the discriminators see


def test_a_fake_map_is_shown_one_hot_and_passes_the_softmaxs_gradient() -> None:
    translator = make(weights={**OFF.model_dump(), "gan": 1.0})
    seen = seen_by(translator, "target")
    batch = make_batch()
    translator.losses("generator", batch, context())["gan"].backward()
    maps = (seen[0][:, 3:] + 1) / 2
    assert set(maps.unique().tolist()) == {0.0, 1.0}
    assert maps.sum(1).max() == 1
    last = list(translator.networks["map_decoder_target"].parameters())[-1]
    assert last.grad is not None and last.grad.abs().max() > 0


def test_the_straight_through_gradient_is_that_of_the_softmax() -> None:
    translator = make()
    logits = torch.randn(1, CLASSES, 2, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    pull = torch.randn(1, CLASSES, 2, 2, generator=torch.Generator().manual_seed(1))
    (got,) = torch.autograd.grad((translator._shown(logits) * pull).sum(), logits)
    (wanted,) = torch.autograd.grad((logits.softmax(1) * pull).sum(), logits)
    assert torch.equal(translator._shown(logits), one_hot(logits.argmax(1), CLASSES))
    assert torch.allclose(got, wanted)


@torch.no_grad()
def test_smoothed_real_maps_stand_against_softmax_maps() -> None:
    translator, batch = make(label_smoothing=0.2, buffer=0), make_batch()
    seen = seen_by(translator, "target")
    translator.losses("discriminator", batch, context())
    real, fake = ((one[:, 3:] + 1) / 2 for one in seen)
    values = {round(value, 4) for value in real.unique().tolist()}
    assert values == {0.0, 0.05, 0.85}  # unknown, s / N, 1 - s + s / N
    assert torch.equal(known_pixels(real), known_pixels(fake))
    assert torch.allclose(fake.sum(1), known_pixels(fake)[:, 0], atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("buffer", [0, 3])
def test_unknown_pixels_look_the_same_on_real_pairs_and_fakes(buffer: int) -> None:
    translator = make(buffer=buffer)
    seen = {domain: seen_by(translator, domain) for domain in ("source", "target")}
    for seed in range(3):
        translator.losses("discriminator", make_batch(seed), context())
    for domain in seen:
        assert len(seen[domain]) == 6
        for real, fake in zip(seen[domain][::2], seen[domain][1::2], strict=True):
            holes = (real[:, 3:] == -1).all(1)
            assert torch.equal(holes, (fake[:, 3:] == -1).all(1))
            assert holes[:, :3].all() and holes[:, :, :5].all() and not holes[:, 3:, 5:].any()


@torch.no_grad()
def test_discriminators_judge_the_pair_not_the_image_alone() -> None:
    translator, batch = make(buffer=0), make_batch()
    assert batch.target_labels_BHW is not None
    other = Batch(
        batch.source_images_BCHW,
        batch.source_labels_BHW,
        batch.target_images_BCHW,
        (batch.target_labels_BHW + 1) % CLASSES,
    )
    for shown in (True, False):
        losses = []
        for one in (batch, other):
            here = context()
            # The fakes are given, so that only the real maps can make a difference; unknown ones hide those.
            fake = torch.zeros(2, 3 + CLASSES, 32, 32)
            fake[:, 3] = float(shown)
            here.made |= {f"fake_{domain}": fake for domain in ("source", "target")}
            losses.append(translator.losses("discriminator", one, here)["discriminator"].item())
        assert (losses[0] != losses[1]) == shown


def test_a_batch_without_a_single_known_pixel_teaches_images_alone() -> None:
    translator, batch, here = make(), make_batch(), context()
    assert batch.target_labels_BHW is not None
    blank = Batch(
        batch.source_images_BCHW,
        torch.full_like(batch.target_labels_BHW, 255),
        batch.target_images_BCHW,
        torch.full_like(batch.target_labels_BHW, 255),
    )
    terms = translator.losses("generator", blank, here) | translator.losses("discriminator", blank, here)
    assert all(torch.isfinite(term) for term in terms.values())
    assert terms["domain"] == 0 and terms["objects"] == 0


# What goes wrong is said in one line


def test_missing_maps_are_told_in_one_line() -> None:
    batch, translator = make_batch(), make()
    blind = Batch(batch.source_images_BCHW, batch.source_labels_BHW, batch.target_images_BCHW, None)
    with pytest.raises(DataError, match=r"translator semgan: no label maps of target images; give --pairs or --pseudo"):
        translator.losses("generator", blind, context())
    unlabelled = Batch(batch.source_images_BCHW, None, batch.target_images_BCHW, batch.target_labels_BHW)
    with pytest.raises(DataError, match="no label maps of source images; give a --source with labels"):
        translator.losses("discriminator", unlabelled, context())
    with pytest.raises(DataError, match="no label maps of source images"):
        translator.translate(unlabelled, generator=torch.Generator())
    with pytest.raises(DataError, match="no source images"):
        translator.translate(Batch(None, batch.source_labels_BHW), generator=torch.Generator())


@torch.no_grad()
def test_rendering_needs_nothing_of_the_target() -> None:
    batch, translator = make_batch(), make()
    alone = Batch(batch.source_images_BCHW, batch.source_labels_BHW)
    one, two = (translator.translate(given, generator=torch.Generator()).images_BCHW for given in (batch, alone))
    assert torch.equal(one, two)
    assert Semgan.directions == ("source_to_target",)


# Players and state


def test_networks_at_full_width_are_cyclegans_with_a_second_decoder() -> None:
    with torch.device("meta"):
        networks = Semgan(SemganConfig(), Setting(19)).networks
    counts = {name: sum(p.numel() for p in net.parameters()) for name, net in networks.items()}
    more_channels = 49 * 19 * 64  # of the encoder's first convolution
    upsampling = 9 * 256 * 128 + 128 + 9 * 128 * 64 + 64
    for domain in ("source", "target"):
        image = counts[f"image_decoder_{domain}"]
        assert image == upsampling + 49 * 64 * 3 + 3
        assert counts[f"map_decoder_{domain}"] == upsampling + 49 * 64 * 19 + 19
        assert counts[f"encoder_{domain}"] - more_channels + image == 11_378_179  # CycleGAN's generator
        assert counts[f"discriminator_{domain}"] == 2_764_737 + 16 * 19 * 64


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
    assert all(not value.requires_grad for value in here.made.values())
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
