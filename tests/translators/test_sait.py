from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from uda.core.errors import ConfigError
from uda.core.training import OptimizerConfig
from uda.data.batch import Batch, Context
from uda.nets.patch_discriminator import MultiScaleDiscriminator
from uda.nets.segmenter import SegmenterNetwork, as_guide
from uda.translators.base import Setting
from uda.translators.sait import Sait, SaitConfig, SaitWeights

CLASSES = 3


class _Counting:
    """A guide that counts its calls; its logits say which colour is the strongest."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return 4 * images


def make(guide: Any = None, **settings: Any) -> Sait:
    torch.manual_seed(0)
    config = SaitConfig.tiny().model_copy(update=settings)
    translator = Sait(config, Setting(CLASSES, guide))
    for network in translator.networks.values():
        network.eval()
    return translator


def make_batch(size: int = 32) -> Batch:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 2, 3, size, size, generator=generator) * 2 - 1
    return Batch(images[0], None, images[1], None)


def context() -> Context:
    return Context(images_seen=0, total_images=10)


@pytest.mark.parametrize(
    "settings", [{}, {"guidance": False}, {"weights": SaitWeights(symmetric_ce=0)}], ids=["both", "ce", "spade"]
)
def test_it_needs_a_guide_where_it_uses_one(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"--guide.*guidance false.*symmetric_ce 0"):
        make(None, **settings)
    assert Sait.requires_guide(make(_Counting(), **settings).config)


def test_without_both_it_needs_none() -> None:
    translator = make(None, guidance=False, weights=SaitWeights(symmetric_ce=0))
    assert not Sait.requires_guide(translator.config)
    terms = translator.losses("generator", make_batch(), context())
    assert set(terms) == {"gan", "reconstruction", "image_cycle", "latent_cycle"}
    assert not any(name.startswith("spade") for name in translator.networks)


def test_the_guide_runs_once_on_each_real_and_once_on_each_fake() -> None:
    guide = _Counting()
    translator, here = make(guide), context()
    translator.losses("generator", make_batch(), here)
    assert guide.calls == 4
    translator.losses("discriminator", make_batch(), here)
    assert guide.calls == 4


def test_a_guide_of_the_target_judges_what_looks_like_the_target() -> None:
    seen: dict[str, list[torch.Tensor]] = {"source": [], "target": []}

    def guide(domain: str) -> Callable[[torch.Tensor], torch.Tensor]:
        def watched(images: torch.Tensor) -> torch.Tensor:
            seen[domain].append(images.detach())
            return 4 * images

        return watched

    torch.manual_seed(0)
    translator = Sait(SaitConfig.tiny(), Setting(CLASSES, guide("source"), guide("target")))
    batch, here = make_batch(), context()
    translator.losses("generator", batch, here)
    source, target = batch.source_images_BCHW, batch.target_images_BCHW
    assert source is not None and target is not None
    for domain, real in (("source", source), ("target", target)):
        first, second = seen[domain]
        assert any(torch.equal(one, real) for one in (first, second))
        assert any(torch.equal(one, here.made[f"fake_{domain}"]) for one in (first, second))


def test_without_symmetric_ce_the_guide_sees_no_fake() -> None:
    guide = _Counting()
    make(guide, weights=SaitWeights(symmetric_ce=0)).losses("generator", make_batch(), context())
    assert guide.calls == 2


def test_the_translated_cycle_guide_changes_the_cycle_alone() -> None:
    by_source = make(_Counting()).losses("generator", make_batch(), context())
    by_fake = make(_Counting(), cycle_guide="translated").losses("generator", make_batch(), context())
    changed = {name for name in by_source if not torch.allclose(by_source[name], by_fake[name])}
    assert changed == {"image_cycle"}


def test_a_term_of_weight_0_is_not_computed() -> None:
    off = SaitWeights(gan=0, image_cycle=0, latent_cycle=0)
    assert set(make(_Counting(), weights=off).losses("generator", make_batch(), context())) == {
        "reconstruction",
        "symmetric_ce",
    }


@pytest.mark.parametrize("residual", [False, True], ids=["painted", "retouched"])
def test_terms_are_the_papers_formulas(residual: bool) -> None:
    translator, batch = make(lambda images: 4 * images, residual=residual), make_batch()
    nets, here = translator.networks, context()
    terms = translator.losses("generator", batch, here)
    x, y = batch.source_images_BCHW, batch.target_images_BCHW
    assert x is not None and y is not None

    def generate(domain: str, image: torch.Tensor, content: torch.Tensor, guided_by: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = nets[f"generator_{domain}"](content, nets[f"spade_{domain}"](4 * guided_by), image=image)
        return made

    content = {"source": nets["encoder_source"](x), "target": nets["encoder_target"](y)}
    real = {"source": x, "target": y}
    wanted = dict.fromkeys(terms, torch.zeros(()))
    for a, b in (("source", "target"), ("target", "source")):
        fake = generate(b, real[a], content[a], real[a])
        assert torch.allclose(here.made[f"fake_{b}"], fake, atol=1e-5)
        assert not here.made[f"fake_{b}"].requires_grad
        back = nets[f"encoder_{b}"](fake)
        q, p = (4 * real[a]).log_softmax(1), (4 * fake).log_softmax(1)
        added = {
            "reconstruction": (generate(a, real[a], content[a], real[a]) - real[a]).abs().mean(),
            "gan": sum((scale - 1).square().mean() for scale in nets[f"discriminator_{b}"](fake)),
            "image_cycle": (generate(a, fake, back, real[a]) - real[a]).abs().mean(),
            "latent_cycle": (back - content[a]).abs().mean(),
            "symmetric_ce": -(q.exp() * p + p.exp() * q.clamp(min=-9.2103)).sum(1).mean(),
        }
        wanted = {name: wanted[name] + added[name] for name in wanted}
    for name, value in wanted.items():
        assert torch.allclose(terms[name], value, rtol=1e-3), name
    fakes = {domain: here.made[f"fake_{domain}"] for domain in real}
    loss = sum(
        (r - 1).square().mean() + f.square().mean()
        for domain in real
        for r, f in zip(
            nets[f"discriminator_{domain}"](real[domain]), nets[f"discriminator_{domain}"](fakes[domain]), strict=True
        )
    )
    assert torch.allclose(translator.losses("discriminator", batch, here)["discriminator"], torch.as_tensor(loss))


def test_every_parameter_is_trained() -> None:
    translator, here = make(_Counting()), context()
    for player, parameters in translator.players().items():
        for parameter in parameters:
            parameter.grad = None
        torch.stack(list(translator.losses(player, make_batch(), here).values())).sum().backward()
        assert all(parameter.grad is not None for parameter in parameters)


def test_guidance_steers_the_translation() -> None:
    batch, generator = make_batch(), torch.Generator()
    with torch.no_grad():
        translator = make(_Counting())
        plain = translator.translate(batch, generator=generator).images_BCHW
        swapped = translator.swap_guidance(batch)
    assert swapped is not None
    assert (swapped.images_BCHW - plain).abs().max() > 1e-3
    assert make(_Counting(), guidance=False).swap_guidance(batch) is None


def test_swapping_takes_the_next_images_logits() -> None:
    batch = make_batch()
    assert batch.source_images_BCHW is not None
    first, second = batch.source_images_BCHW
    same = Batch(torch.stack([first, first]), None, batch.target_images_BCHW, None)
    with torch.no_grad():
        translator = make(_Counting())
        plain = translator.translate(same, generator=torch.Generator()).images_BCHW
        swapped = translator.swap_guidance(same)
        pair = translator.swap_guidance(Batch(torch.stack([first, second])))
    assert swapped is not None and torch.allclose(swapped.images_BCHW, plain, atol=1e-6)
    assert pair is not None and not torch.allclose(pair.images_BCHW[0], plain[0], atol=1e-3)


def _normalised(network: nn.Module) -> list[bool]:
    return [parametrize.is_parametrized(m, "weight") for m in network.modules() if isinstance(m, nn.Conv2d)]


def test_every_convolution_is_spectrally_normalised() -> None:
    assert all(all(_normalised(network)) for network in make(_Counting()).networks.values())
    plain = make(_Counting(), spade_spectral_norm=False)
    for name, network in plain.networks.items():
        assert all(_normalised(network)) != name.startswith("spade"), name
    free = make(_Counting(), discriminator_spectral_norm=False)
    for name, network in free.networks.items():
        assert any(_normalised(network)) != name.startswith("discriminator"), name


SHORT = {"encoder_norm": False, "skips": True, "noise": True, "residual": True, "discriminator_details": 8.0}
"""What short fits switch on."""


def test_noise_comes_into_translations_and_not_into_reconstructions() -> None:
    translator, batch = make(_Counting(), **SHORT), make_batch()
    for name, parameter in translator.networks["generator_target"].named_parameters():
        if name.startswith("noise"):
            nn.init.ones_(parameter)

    def rendered(seed: int) -> torch.Tensor:
        with torch.no_grad():
            return translator.translate(batch, generator=torch.Generator().manual_seed(seed)).images_BCHW

    assert torch.equal(rendered(0), rendered(0))
    assert not torch.allclose(rendered(0), rendered(1))
    terms = []
    for seed in range(2):
        torch.manual_seed(seed)
        terms.append(translator.losses("generator", batch, context()))
    assert torch.equal(terms[0]["reconstruction"], terms[1]["reconstruction"])
    assert not torch.equal(terms[0]["image_cycle"], terms[1]["image_cycle"])


def test_the_parts_for_short_fits_are_trained() -> None:
    translator, batch = make(_Counting(), **SHORT), make_batch()
    torch.stack(list(translator.losses("generator", batch, context()).values())).sum().backward()
    for domain in ("source", "target"):
        network = translator.networks[f"generator_{domain}"]
        parts = [p for name, p in network.named_parameters() if name.startswith(("noise", "merge", "retouch"))]
        assert len(parts) == 10
        assert all(p.grad is not None and p.grad.any() for p in parts)


@pytest.mark.parametrize("alone", [False, True])
def test_discriminators_see_the_guides_maps_of_a_translations_original(alone: bool) -> None:
    off = {"guidance": False, "weights": SaitWeights(symmetric_ce=0)}
    guide = _Counting()
    translator, batch, turn = make(guide, discriminator_guidance=True, **off), make_batch(), context()
    assert Sait.requires_guide(translator.config)
    seen: list[torch.Tensor] = []
    translator.networks["discriminator_target"].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    if not alone:
        translator.losses("generator", batch, turn)["gan"].backward()
        assert all(p.grad is not None and p.grad.any() for p in translator.networks["encoder_source"].parameters())
    translator.losses("discriminator", batch, turn)
    assert guide.calls == 2
    source, target = batch.source_images_BCHW, batch.target_images_BCHW
    assert source is not None and target is not None
    real, fake = seen[-1].split(2)
    assert torch.equal(real[:, 3:], (4 * target).softmax(1)) and torch.equal(real[:, :3], target)
    assert torch.equal(fake[:, 3:], (4 * source).softmax(1))
    assert alone or torch.equal(fake, seen[0])


def test_fine_details_are_those_of_the_image_beside_its_map() -> None:
    torch.manual_seed(0)
    plain, network = (MultiScaleDiscriminator(4, 2, 2, details=8.0, maps=maps) for maps in (0, 2))
    weights = {key: value[:, :3] if value.shape[1:2] == (5,) else value for key, value in network.state_dict().items()}
    plain.load_state_dict(weights)
    images, maps = torch.rand(1, 3, 32, 32), torch.rand(1, 2, 32, 32)
    for one, other in zip(network(torch.cat([images, 0 * maps], 1)), plain(images), strict=True):
        torch.testing.assert_close(one, other)
    for one, other in zip(network(torch.cat([images, maps], 1)), plain(images), strict=True):
        assert not torch.allclose(one, other)


def test_a_translator_that_retouches_begins_near_its_images() -> None:
    batch = make_batch()

    def distance(residual: bool) -> float:
        translator = make(_Counting(), residual=residual)
        with torch.no_grad():
            made = translator.translate(batch, generator=torch.Generator()).images_BCHW
        assert batch.source_images_BCHW is not None
        return float((made - batch.source_images_BCHW).abs().mean())

    assert distance(residual=True) < 0.3 * distance(residual=False)


def test_averaged_weights_render_and_lag_behind() -> None:
    translator, batch, generator = make(_Counting(), ema=0.9), make_batch(), torch.Generator()
    averaged = [name for name in translator.networks if name.startswith("averaged_")]
    assert len(averaged) == 6
    trained = {id(p) for parameters in translator.players().values() for p in parameters}
    assert not trained & {id(p) for name in averaged for p in translator.networks[name].parameters()}
    with torch.no_grad():
        before = translator.translate(batch, generator=generator).images_BCHW
        for parameter in translator.players()["generator"]:
            parameter.add_(0.5 * torch.randn_like(parameter))
        assert torch.equal(before, translator.translate(batch, generator=generator).images_BCHW)
        translator.after_step(context())
        assert not torch.equal(before, translator.translate(batch, generator=generator).images_BCHW)
    assert translator.extra_state() == {"steps": 1}


def test_target_to_source_takes_the_other_networks() -> None:
    batch, translator = make_batch(), make(_Counting())
    assert batch.source_images_BCHW is not None
    twice = Batch(batch.source_images_BCHW, None, batch.source_images_BCHW, None)
    with torch.no_grad():
        there = translator.translate(twice, generator=torch.Generator())
        back = translator.translate(twice, generator=torch.Generator(), direction="target_to_source")
    assert not torch.allclose(there.images_BCHW, back.images_BCHW, atol=1e-3)


def test_gradients_of_the_symmetric_term_pass_through_a_real_segmenter() -> None:
    class Body(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, CLASSES, 3, 2, 1)

        def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"main": self.layer(images)}

    guide = as_guide(SegmenterNetwork(Body(), frame="caffe_bgr"))
    only = SaitWeights(gan=0, reconstruction=0, image_cycle=0, latent_cycle=0)
    translator = make(guide, weights=only)
    translator.losses("generator", make_batch(), context())["symmetric_ce"].backward()
    weight = translator.networks["generator_target"].get_parameter("last.1.parametrizations.weight.original")
    assert weight.grad is not None and weight.grad.any()
    assert all(parameter.grad is None for parameter in guide.parameters())


def test_one_rate_can_be_set_without_losing_the_rest_of_the_recipe() -> None:
    config = SaitConfig.model_validate({"optimizers": {"generator": {"lr": 3e-4}}, "schedule": {"warmup": 0.1}})
    assert config.optimizers["generator"] == OptimizerConfig(lr=3e-4, betas=(0.0, 0.9))
    assert config.optimizers["discriminator"].lr == 4e-4
    assert (config.schedule.name, config.schedule.power, config.schedule.warmup) == ("poly", 0.9, 0.1)
    other = SaitConfig.model_validate({"optimizers": {"generator": {"name": "sgd"}}})
    assert other.optimizers["generator"] == OptimizerConfig(name="sgd")
