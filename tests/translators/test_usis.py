from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor

from tests.translators.layout_fakes import make_labels, stirred
from uda.core.errors import DataError
from uda.data.batch import Batch, Context
from uda.losses.logistic import r1_penalty
from uda.nets.spade_resnet import label_layout
from uda.nets.wavelet import haar_inverse
from uda.translators.base import Setting
from uda.translators.usis import Usis, UsisConfig, UsisWeights

N = 3


def make(**settings: Any) -> Usis:
    torch.manual_seed(0)
    translator = Usis(UsisConfig.tiny().model_copy(update=settings), Setting(N))
    for network in translator.networks.values():
        network.eval()
    return translator


def make_batch(labels: Tensor | None = None) -> Batch:
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    return Batch(None, make_labels() if labels is None else labels, 2 * images - 1)


def context() -> Context:
    return Context(images_seen=0, total_images=10)


def render(translator: Usis, labels: Tensor, seed: int = 0) -> Tensor:
    with torch.no_grad():
        batch = Batch(source_labels_BHW=labels)
        return translator.translate(batch, generator=torch.Generator().manual_seed(seed)).images_BCHW


def segmented_back(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean over the classes that are there of the mean cross-entropy over their pixels, `fake` left out."""
    log_p = logits[:, :N].log_softmax(1)
    return torch.stack([-log_p[:, c][labels == c].mean() for c in range(N) if (labels == c).any()]).mean()


def test_terms_are_the_papers_formulas() -> None:
    translator, batch, here = make(), make_batch(), context()
    images, labels, nets = batch.target_images_BCHW, batch.source_labels_BHW, translator.networks
    assert images is not None and labels is not None
    torch.manual_seed(3)
    terms = translator.losses("generator", batch, here)
    fake = here.made["fake"]
    assert not fake.requires_grad
    torch.manual_seed(3)
    noise = torch.randn(2, 4, 1, 1).expand(2, 4, 64, 64)
    assert torch.allclose(fake, nets["generator"](torch.cat([noise, label_layout(labels, N)], dim=1)), atol=1e-6)
    wanted = {
        "gan": F.softplus(-nets["discriminator"](fake)).mean(),
        "cycle": segmented_back(nets["segmenter"](fake), labels),
    }
    assert set(terms) == set(wanted)
    terms |= translator.losses("segmenter", batch, here)
    wanted["segmenter"] = wanted["cycle"]
    terms |= translator.losses("discriminator", batch, here)
    on_real, on_fake = nets["discriminator"](images), nets["discriminator"](fake)
    wanted["discriminator"] = F.softplus(-on_real).mean() + F.softplus(on_fake).mean()
    wanted["r1"] = 4 * r1_penalty(nets["discriminator"], images)
    assert set(terms) == set(wanted) == set(translator.config.term_weights)
    for name, value in wanted.items():
        assert torch.allclose(terms[name], value, rtol=1e-4, atol=1e-7), name


def test_r1_comes_at_every_kth_step() -> None:
    translator, steps = make(r1_every=3), []
    for step in range(7):
        if "r1" in translator.losses("discriminator", make_batch(), context()):
            steps.append(step)
        translator.after_step(context())
    assert steps == [0, 3, 6]
    assert translator.extra_state() == {"steps": 7}
    restored = make(r1_every=3)
    restored.load_extra_state({"steps": 4})
    assert "r1" not in restored.losses("discriminator", make_batch(), context())


def test_terms_of_weight_0_are_not_computed() -> None:
    off = UsisWeights(gan=0, cycle=0, segmenter=0, r1=0)
    translator = make(weights=off)
    assert translator.losses("generator", make_batch(), context()) == {}
    assert translator.losses("segmenter", make_batch(), context()) == {}
    assert set(translator.losses("discriminator", make_batch(), context())) == {"discriminator"}
    calls: list[int] = []
    translator = make(weights=UsisWeights(gan=0))
    translator.networks["discriminator"].register_forward_hook(lambda *_: calls.append(1))
    assert set(translator.losses("generator", make_batch(), context())) == {"cycle"}
    assert not calls


def test_every_parameter_is_trained() -> None:
    translator, here = make(), context()
    for player, parameters in translator.players().items():
        torch.stack(list(translator.losses(player, make_batch(), here).values())).sum().backward()
        assert all(parameter.grad is not None for parameter in parameters)


def test_the_generators_turn_moves_no_critic_even_where_their_weights_could_be() -> None:
    translator = make()
    for network in translator.networks.values():
        network.train().requires_grad_(True)
    torch.stack(list(translator.losses("generator", make_batch(), context()).values())).sum().backward()
    players = translator.players()
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in players["generator"])
    for critic in ("segmenter", "discriminator"):
        assert all(parameter.grad is None and parameter.requires_grad for parameter in players[critic])


def test_it_needs_no_maps_of_target_images() -> None:
    plain = make_batch()
    mapped = Batch(None, plain.source_labels_BHW, plain.target_images_BCHW, make_labels(seed=7))
    for player in make().players():
        torch.manual_seed(2)
        one = make().losses(player, plain, context())
        torch.manual_seed(2)
        other = make().losses(player, mapped, context())
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_what_is_missing_is_named() -> None:
    whole = make_batch()
    with pytest.raises(DataError, match="translator usis: no target images; give --target"):
        make().losses("generator", Batch(source_labels_BHW=whole.source_labels_BHW), context())
    with pytest.raises(DataError, match="translator usis: no label maps to render; give a --source with labels"):
        make().losses("generator", Batch(target_images_BCHW=whole.target_images_BCHW), context())


def test_maps_without_a_known_pixel_cost_nothing_in_the_cycle() -> None:
    translator, here = make(), context()
    batch = make_batch(torch.full((2, 64, 64), 255))
    assert translator.losses("generator", batch, here)["cycle"] == 0
    assert translator.losses("segmenter", batch, here)["segmenter"] == 0


def test_images_are_made_anew_from_what_the_segmenter_sees_in_them() -> None:
    translator, images = stirred(make()), make_batch().target_images_BCHW
    assert images is not None
    made = translator.recreate(images, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        seen = translator.networks["segmenter"](images)[:, :N].argmax(1)
    assert made.labels_BHW is not None and torch.equal(made.labels_BHW, seen)
    assert torch.equal(made.images_BCHW, render(translator, seen))


def test_maps_and_noise_change_what_is_rendered() -> None:
    translator, labels = stirred(make()), make_labels()
    one = render(translator, labels)
    assert torch.equal(one, render(translator, labels))
    assert (one - render(translator, labels, seed=1)).abs().max() > 0.1
    assert (one - render(translator, make_labels(seed=5))).abs().max() > 0.1


def test_averaged_weights_render_and_lag_behind() -> None:
    translator, labels = make(ema=0.9), make_labels()
    before = render(translator, labels)
    with torch.no_grad():
        for parameter in translator.players()["generator"]:
            parameter.add_(0.5 * torch.randn_like(parameter))
    assert torch.equal(before, render(translator, labels))
    for _ in range(3):
        translator.after_step(context())
    assert not torch.equal(before, render(translator, labels))
    assert set(make(ema=None).networks) == {"generator", "segmenter", "discriminator"}


def test_statistics_before_rendering_are_those_of_the_sources_maps() -> None:
    translator = make(statistics_batches=2)
    network = translator.networks["averaged_generator"]
    batches = [make_batch(make_labels(seed=seed)) for seed in range(4)]
    translator.finalize(iter(batches))
    # The first norm sees the first convolution's coefficients alone, as an image.
    generator, means = torch.Generator().manual_seed(0), []
    for batch in batches[:2]:
        assert batch.source_labels_BHW is not None
        noise = torch.randn(2, 4, 1, 1, generator=generator).expand(2, 4, 64, 64)
        condition = torch.cat([noise, label_layout(batch.source_labels_BHW, N)], dim=1)
        features = network.get_submodule("from_map")(condition[:, :, ::64, ::64])
        means.append(haar_inverse(features).mean((0, 2, 3)))
    kept = network.state_dict()["blocks.0.norm_first.spade.norm.running_mean"]
    assert torch.allclose(kept, torch.stack(means).mean(0), atol=1e-6)
    alone = make(ema=None)
    before = {key: value.clone() for key, value in alone.networks["generator"].state_dict().items()}
    alone.finalize(iter(batches))
    assert all(torch.equal(value, before[key]) for key, value in alone.networks["generator"].state_dict().items())


def test_the_segmenter_is_given_away() -> None:
    translator, images = make(), make_batch().target_images_BCHW
    settings, network = translator.segmenter_network()
    assert settings == {"name": "oasis_discriminator", "width": 4}
    assert images is not None
    with torch.no_grad():
        assert torch.allclose(network(images), translator.networks["segmenter"](images)[:, :N], atol=1e-5)
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_sides_must_fit_all_networks() -> None:
    assert Usis.multiple_of(UsisConfig()) == 128
    assert Usis.multiple_of(UsisConfig(discriminator_levels=2)) == 64
    with pytest.raises(ValidationError, match="multiple of 4"):
        UsisConfig(width=6)


def test_the_generator_learns_to_be_segmented_back() -> None:
    translator, batch, losses = make(width=8, weights=UsisWeights(gan=0)), make_batch(), list[float]()
    optimizers = {
        name: torch.optim.Adam(translator.players()[name], lr=1e-2, betas=(0.0, 0.999))
        for name in ("generator", "segmenter")
    }
    for name in optimizers:
        translator.networks[name].train()
        with torch.no_grad():
            for parameter in translator.players()[name]:
                parameter.mul_(30)  # first weights are so small that many steps would pass before any image differs
    for step in range(20):
        here = context()
        for player, optimizer in optimizers.items():
            torch.manual_seed(step)
            (loss,) = translator.losses(player, batch, here).values()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 1.0  # about the logarithm of 3
    assert min(losses) < 0.8
