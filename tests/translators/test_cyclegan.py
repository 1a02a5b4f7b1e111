from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from uda.core.errors import ConfigError
from uda.data.batch import Batch, Context
from uda.nets.segmenter import SegmenterNetwork, as_guide
from uda.translators._buffer import ImageBuffer
from uda.translators.base import Setting
from uda.translators.cyclegan import Cyclegan, CycleganConfig, CycleganWeights, semantic_distance

WAYS = (("source", "target"), ("target", "source"))
PLAIN = CycleganWeights()


def quadratic(images: torch.Tensor) -> torch.Tensor:
    """A guide of two classes that is not linear in its images."""
    return torch.cat([images[:, :1], images[:, 1:2].square()], dim=1)


def make(guide: Any = quadratic, target_guide: Any = None, **settings: Any) -> Cyclegan:
    torch.manual_seed(0)
    config = CycleganConfig.tiny().model_copy(update=settings)
    return Cyclegan(config, Setting(2, guide, target_guide))


def make_batch(seed: int = 0) -> Batch:
    images = torch.rand(2, 2, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return Batch(images[0], None, images[1], None)


def real(batch: Batch) -> dict[str, torch.Tensor]:
    assert batch.source_images_BCHW is not None and batch.target_images_BCHW is not None
    return {"source": batch.source_images_BCHW, "target": batch.target_images_BCHW}


def context() -> Context:
    return Context(images_seen=0, total_images=10)


def normed(logits: torch.Tensor) -> torch.Tensor:
    return F.instance_norm(logits, eps=1e-5)


def test_networks_at_full_width_have_the_published_counts() -> None:
    with torch.device("meta"):
        networks = Cyclegan(CycleganConfig(), Setting(19)).networks
    counts = {name: sum(p.numel() for p in net.parameters()) for name, net in networks.items()}
    assert {name: round(n / 1e6, 3) for name, n in counts.items()} == {
        "generator_source": 11.378,
        "generator_target": 11.378,
        "discriminator_source": 2.765,
        "discriminator_target": 2.765,
    }


def test_the_defaults_are_the_papers_recipe() -> None:
    config = CycleganConfig()
    rates = {(one.lr, one.betas, one.name) for one in config.optimizers.values()}
    assert rates == {(2e-4, (0.5, 0.999), "adam")}
    assert [config.schedule.factor(p) for p in (0.0, 0.5, 0.75, 1.0)] == [1, 1, 0.5, 0]
    assert (config.gan_loss, config.buffer) == ("lsgan", 50)


def test_terms_are_the_papers_formulas() -> None:
    translator, batch = make(), make_batch()
    nets, x = translator.networks, real(batch)
    terms = translator.losses("generator", batch, context())
    wanted = dict.fromkeys(terms, torch.zeros(()))
    for a, b in WAYS:
        fake = nets[f"generator_{b}"](x[a])
        back = nets[f"generator_{a}"](fake)
        added = {
            "gan": (nets[f"discriminator_{b}"](fake) - 1).square().mean(),
            "cycle": (back - x[a]).abs().mean(),
            "identity": (nets[f"generator_{a}"](x[a]) - x[a]).abs().mean(),
            "semantic_translation": (normed(quadratic(fake)) - normed(quadratic(x[a]))).square().mean(),
            "semantic_reconstruction": (normed(quadratic(back)) - normed(quadratic(x[a]))).square().mean(),
        }
        wanted = {name: wanted[name] + added[name] for name in wanted}
    assert len(wanted) == 5
    for name, value in wanted.items():
        assert torch.allclose(terms[name], value, rtol=1e-4), name


@pytest.mark.parametrize(("kind", "value"), [("lsgan", 0.25), ("bce", float(torch.tensor(2.0).log()))])
def test_the_discriminators_loss_is_that_of_its_raw_outputs(kind: str, value: float) -> None:
    translator = make(gan_loss=kind)
    for name, network in translator.networks.items():
        if name.startswith("discriminator"):
            *_, weight, bias = network.parameters()
            nn.init.zeros_(weight)  # all it says is its last bias
            nn.init.constant_(bias, 0.5 if kind == "lsgan" else 0.0)
    here = context()
    assert torch.allclose(translator.losses("generator", make_batch(), here)["gan"], torch.tensor(2 * value))
    # Two discriminators, each on real images and on fakes; halved by its weight.
    terms = translator.losses("discriminator", make_batch(), here)
    assert torch.allclose(terms["discriminator"], torch.tensor(4 * value))
    assert translator.config.term_weights["discriminator"] == 0.5


def test_semantic_distance_ignores_scale_and_shift_of_each_class_of_each_image() -> None:
    logits = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 4
    scale, shift = torch.rand(2, 3, 1, 1) + 0.5, torch.rand(2, 3, 1, 1)
    assert semantic_distance(logits * scale + shift, logits) < 1e-6
    # The opposite is two deviations away everywhere: its mean square is 4.
    assert torch.allclose(semantic_distance(-logits, logits), torch.tensor(4.0), atol=1e-3)


def test_semantic_distance_sends_its_gradient_to_the_translation_alone() -> None:
    logits, reference = (torch.rand(1, 3, 8, 8).requires_grad_() for _ in range(2))
    semantic_distance(logits, reference).backward()
    assert logits.grad is not None and logits.grad.abs().max() > 0
    assert reference.grad is None


@pytest.mark.parametrize("term", ["semantic_translation", "semantic_reconstruction"])
def test_it_needs_a_guide_where_it_uses_one(term: str) -> None:
    weights = CycleganWeights.model_validate({term: 0.1})
    with pytest.raises(ConfigError, match=r"--guide.*semantic_translation.*semantic_reconstruction 0"):
        make(None, weights=weights)
    translator = make(weights=weights)
    assert Cyclegan.requires_guide(translator.config)
    assert set(translator.losses("generator", make_batch(), context())) == {"gan", "cycle", "identity", term}


def test_without_semantic_losses_it_asks_no_guide() -> None:
    def never(images: torch.Tensor) -> torch.Tensor:
        raise AssertionError("asked")

    assert not Cyclegan.requires_guide(CycleganConfig())
    for guide in (None, never):
        terms = make(guide, weights=PLAIN).losses("generator", make_batch(), context())
        assert set(terms) == {"gan", "cycle", "identity"}


def test_terms_of_weight_0_are_not_computed() -> None:
    weights = CycleganWeights(gan=0, cycle=0, identity=0)
    assert make(weights=weights).losses("generator", make_batch(), context()) == {}


def test_each_guide_judges_what_looks_like_its_domain() -> None:
    asked: dict[str, list[torch.Tensor]] = {"source": [], "target": []}

    def guide(domain: str) -> Callable[[torch.Tensor], torch.Tensor]:
        def answer(images: torch.Tensor) -> torch.Tensor:
            asked[domain].append(images.detach())
            return quadratic(images)

        return answer

    translator, batch = make(guide("source"), guide("target")), make_batch()
    here = context()
    translator.losses("generator", batch, here)
    x, nets = real(batch), translator.networks
    for a, b in WAYS:
        # Of its own domain: the real image, its reconstruction, and what the other way made.
        back = nets[f"generator_{a}"](nets[f"generator_{b}"](x[a])).detach()
        wanted = [x[a], back, here.made[f"fake_{a}"]]
        assert len(asked[a]) == 3
        for image in wanted:
            assert any(torch.allclose(image, one, atol=1e-6) for one in asked[a])
    translator.losses("discriminator", batch, here)
    assert len(asked["source"]) == len(asked["target"]) == 3


class _Body(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 3, 2, 1)

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"main": self.layer(images)}


def test_semantic_losses_reach_the_generators_and_never_the_guide() -> None:
    guide = as_guide(SegmenterNetwork(_Body(), frame="imagenet"))
    weights = CycleganWeights(gan=0, cycle=0, identity=0, semantic_translation=0.1, semantic_reconstruction=10)
    translator = make(guide, weights=weights)
    torch.stack(list(translator.losses("generator", make_batch(), context()).values())).sum().backward()
    for name, network in translator.networks.items():
        touched = any(p.grad is not None and bool(p.grad.any()) for p in network.parameters())
        assert touched == name.startswith("generator"), name
    assert all(p.grad is None for p in guide.parameters())


SHORT: dict[str, Any] = {
    "generator_norm": False,
    "skips": True,
    "residual": True,
    "discriminator": "scales",
    "discriminator_scales": 2,
    "discriminator_details": 8.0,
}
"""What short fits switch on."""


def test_scales_are_summed_and_see_fine_details_and_the_whole() -> None:
    translator, here = make(**SHORT), context()
    gan = translator.losses("generator", make_batch(), here)["gan"]
    loss = torch.zeros(())
    for domain in ("source", "target"):
        judge = translator.networks[f"discriminator_{domain}"]
        assert [scale.shape[2] for scale in judge(real(make_batch())["source"])] == [8, 4]
        loss = loss + sum((scale - 1).square().mean() for scale in judge(here.made[f"fake_{domain}"]))
    assert torch.allclose(gan, loss)


@pytest.mark.parametrize("settings", [{}, SHORT], ids=["paper", "short"])
def test_every_parameter_is_trained(settings: dict[str, Any]) -> None:
    translator, here = make(**settings), context()
    for player, parameters in translator.players().items():
        for parameter in parameters:
            parameter.grad = None
        torch.stack(list(translator.losses(player, make_batch(), here).values())).sum().backward()
        assert all(parameter.grad is not None for parameter in parameters)


@pytest.mark.parametrize("buffer", [0, 3])
def test_the_discriminators_turn_leaves_the_generators_alone(buffer: int) -> None:
    translator, here = make(buffer=buffer), context()
    translator.losses("generator", make_batch(), here)
    fakes = {key: value.clone() for key, value in here.made.items()}
    translator.losses("discriminator", make_batch(), here)["discriminator"].backward()
    assert all(torch.equal(fakes[key], here.made[key]) for key in fakes)
    for name, network in translator.networks.items():
        touched = any(p.grad is not None and bool(p.grad.any()) for p in network.parameters())
        assert touched == name.startswith("discriminator"), name


@torch.no_grad()
def test_discriminators_are_shown_earlier_fakes() -> None:
    translator = make(buffer=2)
    old = {domain: torch.rand(2, 3, 32, 32) for domain in ("source", "target")}
    translator.load_extra_state({"buffers": {domain: list(old[domain][:, None]) for domain in old}})
    torch.manual_seed(3)
    got = translator.losses("discriminator", make_batch(), context())["discriminator"]
    torch.manual_seed(3)
    wanted, mixed, x = torch.zeros(()), False, real(make_batch())
    for a, b in WAYS:
        buffer = ImageBuffer(2)
        buffer.restore(list(old[b][:, None]))
        fake = translator.networks[f"generator_{b}"](x[a])
        shown = buffer.exchange(fake)
        mixed |= not torch.equal(shown, fake)
        discriminator = translator.networks[f"discriminator_{b}"]
        wanted = wanted + (discriminator(x[b]) - 1).square().mean() + discriminator(shown).square().mean()
    assert mixed, "the draw should have taken at least one old fake"
    assert torch.allclose(got, wanted, rtol=1e-4)


def test_resuming_goes_on_with_the_same_history() -> None:
    trained = make(weights=PLAIN, buffer=4)
    for seed in range(3):
        trained.losses("discriminator", make_batch(seed), context())
    file = io.BytesIO()
    torch.save(trained.extra_state(), file)
    file.seek(0)
    resumed, fresh = make(weights=PLAIN, buffer=4), make(weights=PLAIN, buffer=4)
    resumed.load_extra_state(torch.load(file, weights_only=True))
    losses = []
    for translator in (trained, resumed, fresh):
        torch.manual_seed(1)  # with it old fakes are drawn
        turns = [translator.losses("discriminator", make_batch(5 + i), context()) for i in range(4)]
        losses.append([turn["discriminator"].item() for turn in turns])
    assert losses[0] == losses[1] != losses[2]


def test_a_buffer_hands_out_what_comes_in_until_it_is_full() -> None:
    buffer, images = ImageBuffer(3), torch.arange(4.0).view(4, 1, 1, 1)
    assert torch.equal(buffer.exchange(images[:3]), images[:3])
    assert torch.equal(torch.cat(buffer.state()), images[:3])
    for _ in range(50):
        buffer.exchange(images[3:])
    assert len(buffer.state()) == 3


def test_a_full_buffer_swaps_half_of_the_images_for_older_ones_and_loses_none() -> None:
    torch.manual_seed(0)
    buffer, swapped = ImageBuffer(10), 0
    buffer.exchange(torch.arange(10.0).view(10, 1, 1, 1))
    seen = []
    for number in range(10, 1010):
        given = float(buffer.exchange(torch.tensor(float(number)).view(1, 1, 1, 1)))
        seen.append(given)
        swapped += given != number
    assert 440 < swapped < 560
    held = [float(image) for image in buffer.state()]
    assert sorted(seen + held) == [float(number) for number in range(1010)]


def test_a_buffer_keeps_copies_and_one_of_size_0_keeps_nothing() -> None:
    image = torch.zeros(1, 1, 2, 2)
    buffer, none = ImageBuffer(1), ImageBuffer(0)
    buffer.exchange(image)
    assert none.exchange(image) is image and none.state() == []
    image += 1
    assert not buffer.state()[0].any()


@torch.no_grad()
def test_each_way_has_its_generator() -> None:
    translator, batch = make(), make_batch()
    x, nets = real(batch), translator.networks
    there = translator.translate(batch, generator=torch.Generator()).images_BCHW
    back = translator.translate(batch, generator=torch.Generator(), direction="target_to_source").images_BCHW
    assert torch.equal(there, nets["generator_target"](x["source"]))
    assert torch.equal(back, nets["generator_source"](x["target"]))


def test_it_learns_to_lighten_dark_scenes_and_keeps_their_content() -> None:
    def scenes() -> Batch:
        grey = (0.6 * torch.rand(2, 2, 3, 8, 8)).repeat_interleave(4, -1).repeat_interleave(4, -2)
        return Batch(grey[0] - 0.8, None, grey[1] + 0.2, None)

    torch.manual_seed(0)
    config = CycleganConfig(width=8, blocks=1, discriminator_width=8, discriminator_layers=1)
    translator = Cyclegan(config, Setting(2))
    players, weights = translator.players(), config.term_weights
    optimizers = {name: torch.optim.Adam(own, lr=2e-3, betas=(0.5, 0.999)) for name, own in players.items()}
    for _ in range(80):
        batch, here = scenes(), context()
        for name, optimizer in optimizers.items():
            terms = translator.losses(name, batch, here)
            optimizer.zero_grad()
            torch.stack([weights[key] * term for key, term in terms.items()]).sum().backward()
            optimizer.step()
    batch = scenes()
    dark = real(batch)["source"]
    with torch.no_grad():
        light = translator.translate(batch, generator=torch.Generator()).images_BCHW
    assert abs(float(light.mean()) - 0.5) < 0.15, "as light as the target, from -0.5"
    assert torch.corrcoef(torch.stack([light.flatten(), dark.flatten()]))[0, 1] > 0.5
