from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from uda.core.errors import DataError
from uda.data.batch import Batch, Context
from uda.translators.base import Direction, Setting
from uda.translators.unit import Unit, UnitConfig, UnitWeights, divergence, noisy

WAYS = (("source", "target"), ("target", "source"))
OFF = UnitWeights(gan=0, reconstruction=0, kl=0, cycle=0, kl_cycle=0)


def make(**settings: Any) -> Unit:
    torch.manual_seed(0)
    return Unit(UnitConfig.tiny().model_copy(update={"weights": UnitWeights(), **settings}), Setting(3))


def make_batch(seed: int = 0) -> Batch:
    images = torch.rand(2, 2, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return Batch(images[0], None, images[1], None)


def images_of(batch: Batch) -> dict[str, torch.Tensor]:
    assert batch.source_images_BCHW is not None and batch.target_images_BCHW is not None
    return {"source": batch.source_images_BCHW, "target": batch.target_images_BCHW}


def context() -> Context:
    return Context(images_seen=0, total_images=10)


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_terms_are_the_papers_formulas() -> None:
    translator, batch = make(), make_batch()
    nets, x = translator.networks, images_of(batch)
    torch.manual_seed(4)
    terms = translator.losses("generator", batch, context())
    torch.manual_seed(4)
    wanted = dict.fromkeys(terms, torch.zeros(()))
    for a, b in WAYS:
        mean = nets["encoder_shared"](nets[f"encoder_{a}"](x[a]))
        decoded = nets["decoder_shared"](mean + torch.randn_like(mean))
        fake = nets[f"decoder_{b}"](decoded)
        back = nets["encoder_shared"](nets[f"encoder_{b}"](fake))
        cycled = nets[f"decoder_{a}"](nets["decoder_shared"](back + torch.randn_like(back)))
        added = {
            "gan": sum((scale - 1).square().mean() for scale in nets[f"discriminator_{b}"](fake)),
            "reconstruction": (nets[f"decoder_{a}"](decoded) - x[a]).abs().mean(),
            "kl": mean.square().mean(),
            "cycle": (cycled - x[a]).abs().mean(),
            "kl_cycle": back.square().mean(),
        }
        wanted = {name: wanted[name] + added[name] for name in wanted}
    assert len(wanted) == 5
    for name, value in wanted.items():
        assert torch.allclose(terms[name], value, rtol=1e-4), name


def test_the_divergence_is_twice_that_of_two_normal_distributions() -> None:
    mean = torch.linspace(-2, 2, 12).view(1, 3, 2, 2)
    one, prior = torch.distributions.Normal(mean, 1.0), torch.distributions.Normal(0.0, 1.0)
    assert torch.allclose(divergence(mean), 2 * torch.distributions.kl_divergence(one, prior).mean())
    assert divergence(torch.zeros(1, 3, 2, 2)) == 0


def test_codes_are_drawn_with_unit_variance() -> None:
    torch.manual_seed(0)
    drawn = noisy(torch.full((1, 8, 64, 64), 3.0))
    assert drawn.mean().item() == pytest.approx(3, abs=0.03)
    assert drawn.std().item() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("term", ["gan", "reconstruction", "kl", "cycle", "kl_cycle"])
def test_each_term_can_stand_alone_and_be_left_out(term: str) -> None:
    alone = make(weights=OFF.model_copy(update={term: 1.0}))
    assert set(alone.losses("generator", make_batch(), context())) == {term}
    rest = set(make(weights=UnitWeights.model_validate({term: 0.0})).losses("generator", make_batch(), context()))
    assert rest == {"gan", "reconstruction", "kl", "cycle", "kl_cycle"} - {term}


def test_without_any_weight_nothing_is_computed() -> None:
    assert make(weights=OFF).losses("generator", make_batch(), context()) == {}


@pytest.mark.parametrize("shared", [0, 1, 2])
def test_the_blocks_next_to_the_code_are_shared(shared: int) -> None:
    translator = make(shared_blocks=shared)
    for part in ("encoder", "decoder"):
        blocks = list(translator.networks[f"{part}_shared"].children())
        assert len(blocks) == shared
        for domain in ("source", "target"):
            own = translator.networks[f"{part}_{domain}"].get_submodule("blocks")
            assert len(list(own.children())) == 2 - shared
    # Sharing takes a second copy of each shared block away.
    parameters = sum(len(list(net.parameters())) for net in translator.networks.values())
    whole = sum(len(list(net.parameters())) for net in make(shared_blocks=0).networks.values())
    assert whole - parameters == shared * 2 * 4  # two sides, two convolutions with bias


def test_both_domains_train_the_shared_blocks() -> None:
    translator, x = make(), images_of(make_batch())
    for domain in ("source", "target"):
        for network in translator.networks.values():
            network.zero_grad()
        own = translator.networks[f"encoder_{domain}"](x[domain])
        shared = translator.networks["decoder_shared"](translator.networks["encoder_shared"](own))
        translator.networks[f"decoder_{domain}"](shared).square().mean().backward()
        touched = {
            name
            for name, net in translator.networks.items()
            if any(p.grad is not None and bool(p.grad.any()) for p in net.parameters())
        }
        assert touched == {f"encoder_{domain}", f"decoder_{domain}", "encoder_shared", "decoder_shared"}


def test_more_shared_blocks_than_there_are_is_refused() -> None:
    with pytest.raises(ValidationError, match="shared_blocks: there are only 1 residual_blocks to share"):
        UnitConfig(residual_blocks=1, shared_blocks=2)


def test_networks_at_full_width_are_munits_with_plain_instance_norm() -> None:
    with torch.device("meta"):
        networks = Unit(UnitConfig(), Setting(19)).networks
    block = 2 * (256 * 256 * 9 + 256)
    assert count(networks["encoder_shared"]) == count(networks["decoder_shared"]) == block
    for domain in ("source", "target"):
        assert round((count(networks[f"encoder_{domain}"]) + block) / 1e6, 2) == 5.39  # MUNIT's content encoder
        assert round((count(networks[f"decoder_{domain}"]) + block) / 1e6, 2) == 5.75  # MUNIT's decoder
        assert round(count(networks[f"discriminator_{domain}"]) / 1e6, 2) == 8.27


def test_the_defaults_are_the_authors_settings_for_gta5() -> None:
    config = UnitConfig()
    rates = {(one.lr, one.betas, one.weight_decay, one.name) for one in config.optimizers.values()}
    assert rates == {(1e-4, (0.5, 0.999), 1e-4, "adam")}
    assert config.term_weights == {
        "gan": 1,
        "reconstruction": 10,
        "kl": 0.01,
        "cycle": 10,
        "kl_cycle": 0.01,
        "symmetric_ce": 0,
        "discriminator": 1,
    }
    assert [config.schedule.factor(p) for p in (0.0, 0.1, 0.2)] == [1, 0.5, 0.25]


@torch.no_grad()
def test_rendering_takes_the_mean_of_the_code_both_ways() -> None:
    translator, batch = make(), make_batch()
    nets, x = translator.networks, images_of(batch)
    directions: list[Direction] = ["source_to_target", "target_to_source"]
    assert Unit.directions == tuple(directions)
    for (a, b), direction in zip(WAYS, directions, strict=True):
        made = translator.translate(batch, generator=torch.Generator(), direction=direction).images_BCHW
        mean = nets["encoder_shared"](nets[f"encoder_{a}"](x[a]))
        assert torch.allclose(made, nets[f"decoder_{b}"](nets["decoder_shared"](mean)), atol=1e-6)


def test_the_discriminators_see_the_fakes_of_the_generators_turn() -> None:
    translator, batch, here = make(), make_batch(), context()
    translator.losses("generator", batch, here)
    fakes = {key: value.clone() for key, value in here.made.items()}
    got = translator.losses("discriminator", batch, here)["discriminator"]
    got.backward()
    assert all(torch.equal(fakes[key], here.made[key]) for key in fakes)
    x, wanted = images_of(batch), torch.zeros(())
    for domain in ("source", "target"):
        discriminator = translator.networks[f"discriminator_{domain}"]
        for real, fake in zip(discriminator(x[domain]), discriminator(fakes[f"fake_{domain}"]), strict=True):
            wanted = wanted + (real - 1).square().mean() + fake.square().mean()
    assert torch.allclose(got, wanted, rtol=1e-4)
    for name, network in translator.networks.items():
        touched = any(p.grad is not None and bool(p.grad.any()) for p in network.parameters())
        assert touched == name.startswith("discriminator"), name


SHORT: dict[str, Any] = {"encoder_norm": False, "skips": True, "residual": True, "discriminator_details": 8.0}
"""What short fits switch on."""


@pytest.mark.parametrize("settings", [{}, SHORT], ids=["paper", "short"])
def test_every_parameter_is_trained(settings: dict[str, Any]) -> None:
    translator, here = make(**settings), context()
    for player, parameters in translator.players().items():
        for parameter in parameters:
            parameter.grad = None
        torch.stack(list(translator.losses(player, make_batch(), here).values())).sum().backward()
        assert all(parameter.grad is not None for parameter in parameters)


@torch.no_grad()
def test_a_retouched_image_is_near_what_it_was_made_from_and_only_its_code_is_noisy() -> None:
    x = make_batch().source_images_BCHW
    assert x is not None
    near, far = (
        (make(encoder_norm=False, skips=on, residual=on)._fake("source", x) - x).abs().mean() for on in (True, False)
    )
    assert near < 0.5 * far
    translator = make(skips=True)
    levels = translator._encode("source", x)
    assert [tuple(one.shape[1:]) for one in levels] == [(4, 32, 32), (8, 16, 16), (16, 8, 8)]
    plain = translator._decode("target", x, levels)
    assert torch.equal(plain, translator.translate(make_batch(), generator=torch.Generator()).images_BCHW)
    assert not torch.equal(plain, translator._decode("target", x, [torch.zeros_like(levels[0]), *levels[1:]]))


def test_missing_images_are_told_in_one_line() -> None:
    with pytest.raises(DataError, match="translator unit: no target images; give --target"):
        make().losses("generator", Batch(make_batch().source_images_BCHW), context())
