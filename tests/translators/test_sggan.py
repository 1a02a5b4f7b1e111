from __future__ import annotations

import io
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from uda.core.errors import ConfigError, DataError
from uda.data.batch import Batch, Context
from uda.losses.sggan import gradient_sensitive, image_gradients, known_least_squares, label_edges
from uda.nets.semantic_discriminator import SemanticDiscriminator
from uda.translators._maps import domain_maps, one_hot
from uda.translators.base import Direction, Setting
from uda.translators.sggan import Sggan, SgganConfig, SgganWeights

CLASSES = 3
WAYS = (("source", "target"), ("target", "source"))
OFF = SgganWeights(gan=0, cycle=0, gradient=0)


def make(**settings: Any) -> Sggan:
    torch.manual_seed(0)
    return Sggan(SgganConfig.tiny().model_copy(update=settings), Setting(CLASSES))


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


def step(height: float, column: int = 4) -> torch.Tensor:
    """An image of 8x8, dark on the left and brighter by `height` from a column on."""
    image = torch.zeros(1, 3, 8, 8)
    image[..., column:] = height
    return image


LABELS = torch.zeros(1, 8, 8, dtype=torch.long)
LABELS[..., 4:] = 1


# The gradient-sensitive loss


def test_gradients_are_sobels() -> None:
    images = torch.rand(2, 3, 7, 9, generator=torch.Generator().manual_seed(0))
    across = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    kernels = torch.stack([across, across.T])[:, None]
    padded = F.pad(images, (1, 1, 1, 1), mode="reflect").flatten(0, 1)[:, None]
    wanted = F.conv2d(padded, kernels).view(2, 3, 2, 7, 9).transpose(1, 2)
    assert torch.allclose(image_gradients(images), wanted, atol=1e-6)


def test_a_step_has_four_times_its_height_on_either_side_and_no_gradient_along_it() -> None:
    gradients = image_gradients(step(0.5))
    assert gradients[0, 0, 0, 3].tolist() == [0, 0, 0, 2, 2, 0, 0, 0]
    assert not gradients[:, 1].any()
    assert torch.equal(image_gradients(step(0.5).transpose(2, 3)), gradients.flip(1).transpose(3, 4))


def test_edges_are_where_two_known_classes_meet() -> None:
    wanted = torch.zeros(8, 8)
    wanted[:, 3:5] = 1
    assert torch.equal(label_edges(LABELS, CLASSES)[0, 0], wanted)
    assert torch.equal(label_edges(LABELS.transpose(1, 2), CLASSES)[0, 0], wanted.T)
    assert not label_edges(torch.ones_like(LABELS), CLASSES).any()
    unknown = LABELS.clone()
    unknown[:, :5] = 255
    wanted[:5] = 0  # and none between known and unknown rows
    assert torch.equal(label_edges(unknown, CLASSES)[0, 0], wanted)


@pytest.mark.parametrize("softness", [0.0, 0.1, 1.0])
@pytest.mark.parametrize(("before", "after"), [(0.5, 0.5), (0.5, -0.5), (0.5, 0.2), (0.5, 0.0), (0.0, 0.7)])
def test_at_a_border_of_classes_the_difference_of_gradients_costs(before: float, after: float, softness: float) -> None:
    # 4 | |v| - |w| | on two of eight columns, in one of two directions: the border itself always has weight 1.
    got = gradient_sensitive(step(before), step(after), label_edges(LABELS, CLASSES), softness)
    assert got.item() == pytest.approx(abs(abs(before) - abs(after)) / 2, abs=1e-6)


@pytest.mark.parametrize("softness", [0.0, 0.1, 1.0])
def test_within_a_class_it_costs_by_the_softness_alone(softness: float) -> None:
    # Of the step at column 2 both columns lie within class 0.
    got = gradient_sensitive(step(0.5, column=2), torch.zeros(1, 3, 8, 8), label_edges(LABELS, CLASSES), softness)
    assert got.item() == pytest.approx(softness * 0.5 / 2, abs=1e-6)


def test_the_gradient_loss_teaches_the_translation_alone() -> None:
    image, made = step(0.5).requires_grad_(), step(0.2).requires_grad_()
    gradient_sensitive(image, made, label_edges(LABELS, CLASSES), 0.1).backward()
    assert image.grad is None
    assert made.grad is not None and made.grad.abs().max() > 0


# The semantic-aware discriminator


def test_a_patch_is_scored_by_the_weights_of_its_class() -> None:
    torch.manual_seed(0)
    network = SemanticDiscriminator(CLASSES, 4, 2)
    images = torch.rand(1, 3, 32, 32)
    raw = network.patches(images)
    assert raw.shape == (1, CLASSES, 6, 6)
    for index in range(CLASSES):
        scores, known = network(images, one_hot(torch.full((1, 32, 32), index), CLASSES))
        assert torch.allclose(scores[:, 0], raw[:, index])
        assert torch.equal(known, torch.ones(1, 1, 6, 6))


def test_mixed_patches_are_scored_by_shares_and_unknown_pixels_have_none() -> None:
    torch.manual_seed(0)
    network = SemanticDiscriminator(CLASSES, 4, 2)
    images, labels = torch.rand(1, 3, 32, 32), torch.full((1, 32, 32), 255)
    # Output (0, 0) lies over the cell of rows and columns 4 to 7, output (0, 1) over the next one.
    labels[:, 4:8, 4:7], labels[:, 4:8, 7:8] = 0, 1
    labels[:, 4:6, 8:12] = 2
    scores, known = network(images, one_hot(labels, CLASSES))
    raw = network.patches(images)[0, :, 0]
    assert scores[0, 0, 0, 0].item() == pytest.approx((0.75 * raw[0, 0] + 0.25 * raw[1, 0]).item(), rel=1e-4)
    assert scores[0, 0, 0, 1].item() == pytest.approx(raw[2, 1].item(), rel=1e-4)
    assert known[0, 0, 0].tolist() == [1, 0.5, 0, 0, 0, 0]
    assert not known[0, 0, 1:].any()


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("size", [(32, 48), (37, 50)])
def test_masks_fit_the_outputs_at_any_size(size: tuple[int, int], layers: int) -> None:
    network = SemanticDiscriminator(CLASSES, 4, layers)
    scores, known = network(torch.rand(1, 3, *size), torch.zeros(1, CLASSES, *size))
    assert scores.shape == known.shape == (1, 1, *(side // 2**layers - 2 for side in size))


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_an_outputs_receptive_field_is_centred_on_its_cell(layers: int) -> None:
    cell, size = 2**layers, 12 * 2**layers
    convolutions = [layer for layer in SemanticDiscriminator(1, 1, layers).patches.body if isinstance(layer, nn.Conv2d)]
    at = 3  # an output, counted back to the first and the last pixel that it sees
    first = last = at
    for layer in reversed(convolutions):
        first, last = first * layer.stride[0] - 1, last * layer.stride[0] + 2
    assert first >= 0 and last < size
    wanted = (at + 1) * cell + (cell - 1) / 2  # the middle of the cell that its share is taken from
    assert (first + last) / 2 == wanted


def test_too_small_images_are_told_in_one_line() -> None:
    with pytest.raises(ConfigError, match="too small for its patches"):
        make().losses("discriminator", make_batch(size=8), context())


def test_the_adversarial_loss_is_the_mean_over_what_is_known() -> None:
    scores, known = torch.tensor([[[[2.0, 0.5, 9.0]]]]), torch.tensor([[[[1.0, 0.5, 0.0]]]])
    assert known_least_squares(scores, known, real=True).item() == pytest.approx((1 + 0.5 * 0.25) / 1.5)
    assert known_least_squares(scores, known, real=False).item() == pytest.approx((4 + 0.5 * 0.25) / 1.5)
    everything = torch.ones_like(known)
    assert torch.allclose(known_least_squares(scores, everything, real=True), (scores - 1).square().mean())
    nothing = scores.clone().requires_grad_()
    loss = known_least_squares(nothing, torch.zeros_like(known), real=True)
    loss.backward()
    assert loss == 0 and nothing.grad is not None and not nothing.grad.any()


# The translator


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
    assert config.term_weights == {"gan": 1, "cycle": 10, "gradient": 5, "discriminator": 0.5}
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


def test_a_guide_is_never_asked() -> None:
    def never(images: torch.Tensor) -> torch.Tensor:
        raise AssertionError("asked")

    translator = Sggan(SgganConfig.tiny(), Setting(CLASSES, never))
    assert not Sggan.requires_guide(translator.config)
    translator.losses("generator", make_batch(), context())


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
