from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor, nn

from tests.translators.layout_fakes import make_labels
from uda.core.errors import DataError
from uda.data.batch import Batch, Context
from uda.losses import label_mix, n_plus_one, segmentation_cycle
from uda.losses.logistic import r1_penalty
from uda.nets.segmenter import to_frame
from uda.nets.spade_resnet import label_layout
from uda.translators.base import Setting
from uda.translators.semi_paired import SemiPaired, SemiPairedConfig, SemiPairedWeights

N = 3
OFF = dict.fromkeys(SemiPairedWeights.model_fields, 0.0)


def make(**settings: Any) -> SemiPaired:
    torch.manual_seed(0)
    translator = SemiPaired(SemiPairedConfig.tiny().model_copy(update=settings), Setting(N))
    for network in translator.networks.values():
        network.eval()
    return translator


def make_batch(unpaired: tuple[int, ...] = (1, 2)) -> Batch:
    """Five images a domain; those of the target at the given places are unpaired."""
    images = 2 * torch.rand(5, 3, 64, 64, generator=torch.Generator().manual_seed(1)) - 1
    labels = make_labels(5, seed=2)
    for place in unpaired:
        labels[place] = 255
    return Batch(None, make_labels(5, seed=3), images, labels)


def parts(batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images and maps of the pairs, unpaired images, unpaired maps, of `make_batch()`."""
    images, labels, maps = batch.target_images_BCHW, batch.target_labels_BHW, batch.source_labels_BHW
    assert images is not None and labels is not None and maps is not None
    return images[[0, 3, 4]], labels[[0, 3, 4]], images[[1, 2]], maps[:2]


def context(seen: int = 0) -> Context:
    return Context(images_seen=seen, total_images=10)


def condition(labels: Tensor) -> Tensor:
    noise = torch.randn(len(labels), 4, 1, 1).expand(-1, -1, 64, 64)
    return torch.cat([noise, label_layout(labels, N)], dim=1)


def l1(one: Tensor, other: Tensor) -> Tensor:
    return (one - other).abs().mean()


def test_the_generators_terms_are_the_papers_formulas() -> None:
    translator, batch, here = make(), make_batch(), context()
    images, labels, _, maps = parts(batch)
    nets, network = translator.networks, translator.networks["discriminator"]
    torch.manual_seed(3)
    terms = translator.losses("generator", batch, here)
    torch.manual_seed(3)
    fake, unpaired = nets["generator"](condition(labels)), nets["generator"](condition(maps))
    assert torch.allclose(here.made["fake"], fake, atol=1e-6) and not here.made["fake"].requires_grad
    assert torch.allclose(here.made["fake_unpaired"], unpaired, atol=1e-6)
    made, real = (network.layers(one) for one in (fake, images))  # type: ignore[operator]  # a method
    log_p = network(unpaired)[:, :N].log_softmax(1)
    by_class = [-log_p[:, c][maps == c].mean() for c in range(N) if (maps == c).any()]
    wanted = {
        "pair_gan": n_plus_one.labelled_loss(network(fake), labels),
        "feature_matching": torch.stack([l1(a, b) for a, b in zip(made[:-1], real[:-1], strict=True)]).sum(),
        "cycle": torch.stack(by_class).mean(),
        "gan": F.softplus(-nets["unconditional"](unpaired)).mean(),
    }
    assert len(made) == 13 and set(terms) == set(wanted)
    for name, value in wanted.items():
        assert torch.allclose(terms[name], value, rtol=1e-4, atol=1e-7), name


def test_the_discriminators_terms_are_oasiss_and_stylegan2s() -> None:
    translator, batch, here = make(), make_batch(), context()
    images, labels, others, _ = parts(batch)
    nets, network = translator.networks, translator.networks["discriminator"]
    translator.losses("generator", batch, here)
    fake, unpaired = here.made["fake"], here.made["fake_unpaired"]
    torch.manual_seed(4)
    terms = translator.losses("discriminator", batch, here)
    torch.manual_seed(4)
    mask = label_mix.label_mix_mask(labels, N)
    on_real, on_fake, on_mixed = network(images), network(fake), network(torch.where(mask, images, fake))
    wanted = {
        "discriminator_real": n_plus_one.labelled_loss(on_real, labels),
        "discriminator_fake": n_plus_one.fake_loss(on_fake),
        "label_mix": (on_mixed - torch.where(mask, on_real, on_fake)).square().mean(),
    }
    assert set(terms) == set(wanted)
    terms |= translator.losses("unconditional", batch, here)
    on_others, on_unpaired = nets["unconditional"](others), nets["unconditional"](unpaired)
    wanted["unconditional"] = F.softplus(-on_others).mean() + F.softplus(on_unpaired).mean()
    wanted["r1"] = 4 * r1_penalty(nets["unconditional"], others)
    assert set(terms) == set(wanted)
    for name, value in wanted.items():
        assert torch.allclose(terms[name], value, rtol=1e-3, atol=1e-8), name


def test_the_cycle_moves_the_generator_and_not_the_discriminator_that_it_goes_through() -> None:
    translator = make(weights=SemiPairedWeights(**OFF | {"cycle": 1.0}))
    for network in translator.networks.values():
        network.train().requires_grad_(True)  # nothing outside the method freezes anything
    terms = translator.losses("generator", make_batch(), context())
    assert set(terms) == {"cycle"}
    terms["cycle"].backward()
    players = translator.players()
    assert all(parameter.grad is None and parameter.requires_grad for parameter in players["discriminator"])
    assert all(parameter.grad is None for parameter in players["unconditional"])
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in players["generator"])


def discriminators_turn(translator: SemiPaired, here: Context) -> tuple[dict[str, Tensor], list[Tensor]]:
    """Its terms, and the gradient of their sum in its weights."""
    torch.manual_seed(4)  # LabelMix tosses coins
    terms = translator.losses("discriminator", make_batch(), here)
    total = torch.stack(list(terms.values())).sum()
    return terms, list(torch.autograd.grad(total, translator.players()["discriminator"]))


def test_in_the_ablation_the_discriminators_gradient_changes_by_the_cycles_alone() -> None:
    turns, made = {}, {}
    for ablation in (False, True):
        translator, here = make(cycle_trains_discriminator=ablation), context()
        torch.manual_seed(3)
        translator.losses("generator", make_batch(), here)
        made[ablation] = here.made["fake_unpaired"]
        turns[ablation] = discriminators_turn(translator, here)
    assert torch.equal(made[False], made[True])
    (terms, plain), (more, changed) = turns[False], turns[True]
    assert set(more) - set(terms) == {"cycle_discriminator"}
    assert all(torch.equal(terms[name], more[name]) for name in terms)
    *_, maps = parts(make_batch())
    network = make().networks["discriminator"]
    cycle = segmentation_cycle.cycle_loss(network(made[True]), maps)
    assert torch.allclose(more["cycle_discriminator"], cycle, rtol=1e-5)
    alone = torch.autograd.grad(cycle, list(network.parameters()))
    largest = max(share.abs().max().item() for share in alone)
    assert largest > 1e-5
    for before, after, share in zip(plain, changed, alone, strict=True):
        torch.testing.assert_close(after - before, share, rtol=0, atol=1e-2 * largest)


@pytest.mark.parametrize("ablation", [False, True])
def test_the_cycle_reaches_the_discriminator_in_its_own_turn_and_in_the_ablation_alone(ablation: bool) -> None:
    translator, here = (
        make(weights=SemiPairedWeights(**OFF | {"cycle": 1.0}), cycle_trains_discriminator=ablation),
        context(),
    )
    for network in translator.networks.values():
        network.train().requires_grad_(True)
    translator.losses("generator", make_batch(), here)["cycle"].backward()
    own, others = (translator.players()[player] for player in ("discriminator", "generator"))
    assert all(parameter.grad is None for parameter in own)
    for parameter in others:
        parameter.grad = None
    terms = translator.losses("discriminator", make_batch(), here)
    assert set(terms) == ({"cycle_discriminator"} if ablation else set())
    for term in terms.values():
        term.backward()
    assert any(parameter.grad is not None and bool(parameter.grad.any()) for parameter in own) is ablation
    assert all(parameter.grad is None for parameter in others)


def test_the_ablations_term_has_the_cycles_weight() -> None:
    assert "cycle_discriminator" not in SemiPairedConfig().term_weights
    weights = SemiPairedWeights(cycle=0.3)
    config = SemiPairedConfig(cycle_trains_discriminator=True, weights=weights)
    assert config.term_weights["cycle_discriminator"] == 0.3 == config.term_weights["cycle"]
    translator, here = make(cycle_trains_discriminator=True), context()
    named = {name for player in translator.players() for name in translator.losses(player, make_batch(), here)}
    assert named == set(translator.config.term_weights)
    with pytest.raises(ValidationError, match=r"needs a cycle: give weights\.cycle a weight, or set it to false"):
        SemiPairedConfig(cycle_trains_discriminator=True, weights=SemiPairedWeights(cycle=0))


def test_the_cycle_does_not_know_fake_and_the_loss_on_pairs_does() -> None:
    before, after = list[float](), list[float]()
    for kept, shift in ((before, 0.0), (after, 5.0)):
        translator = make()
        with torch.no_grad():
            bias = translator.networks["discriminator"].get_submodule("last").bias
            bias[-1] += shift  # type: ignore[index, operator]  # a convolution's
        torch.manual_seed(3)
        terms = translator.losses("generator", make_batch(), context())
        kept += [terms["cycle"].item(), terms["pair_gan"].item()]
    assert before[0] == pytest.approx(after[0], rel=1e-6)
    assert after[1] > before[1] + 1


def test_every_parameter_is_trained() -> None:
    translator, here = make(), context()
    for player, parameters in translator.players().items():
        torch.stack(list(translator.losses(player, make_batch(), here).values())).sum().backward()
        assert all(parameter.grad is not None for parameter in parameters)


def test_terms_of_weight_0_are_not_computed() -> None:
    weights = SemiPairedWeights(**OFF | {"gan": 1.0, "discriminator_fake": 1.0, "unconditional": 1.0})
    translator, here, calls = make(weights=weights), context(), list[int]()
    translator.networks["discriminator"].get_submodule("last").register_forward_hook(lambda *_: calls.append(1))
    assert set(translator.losses("generator", make_batch(), here)) == {"gan"}
    assert not calls
    assert set(translator.losses("discriminator", make_batch(), here)) == {"discriminator_fake"}
    assert set(translator.losses("unconditional", make_batch(), here)) == {"unconditional"}
    nothing = make(weights=SemiPairedWeights(**OFF))
    assert all(nothing.losses(player, make_batch(), context()) == {} for player in nothing.players())


def test_r1_comes_at_every_kth_step() -> None:
    translator, steps = make(r1_every=2), []
    for step in range(5):
        if "r1" in translator.losses("unconditional", make_batch(), context()):
            steps.append(step)
        translator.after_step(context())
    assert steps == [0, 2, 4]
    assert translator.extra_state() == {"steps": 5}


def test_without_unpaired_images_those_of_the_pairs_are_shown_to_the_unconditional_discriminator() -> None:
    translator, batch, seen = make(), make_batch(unpaired=()), list[Tensor]()
    translator.networks["unconditional"].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    translator.losses("unconditional", batch, context())
    assert batch.target_images_BCHW is not None
    assert torch.equal(seen[0], batch.target_images_BCHW)
    assert len(seen[1]) == 5


@pytest.mark.parametrize("player", ["generator", "discriminator", "unconditional"])
def test_a_batch_whose_pairs_show_no_known_class_does_not_end_the_fit(player: str) -> None:
    terms = make().losses(player, make_batch(unpaired=(0, 1, 2, 3, 4)), context(seen=8))
    assert all(torch.isfinite(term) for term in terms.values())
    if player == "generator":  # what is balanced by class has no say
        assert terms["pair_gan"] == 0


def test_what_is_missing_is_named() -> None:
    whole = make_batch()
    for batch, mend in (
        (Batch(source_labels_BHW=whole.source_labels_BHW), "give --target"),
        (Batch(None, whole.source_labels_BHW, whole.target_images_BCHW), "give --pairs or --pseudo"),
        (Batch(None, None, whole.target_images_BCHW, whole.target_labels_BHW), "give a --source with labels"),
    ):
        with pytest.raises(DataError, match=f"translator semi_paired.*{mend}"):
            make().losses("generator", batch, context())


class FakeVgg(nn.Module):
    def forward(self, images: Tensor) -> list[Tensor]:
        return [images.mean((2, 3)) * stage for stage in range(1, 6)]


def test_vgg_compares_made_and_real_images_of_the_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uda.nets.vgg19.load_vgg19", lambda path: FakeVgg())
    weights = SemiPairedWeights(**OFF | {"vgg": 1.0})
    translator, batch, here = (
        make(weights=weights, vgg=Path("vgg19.pth"), vgg_frame="imagenet"),
        make_batch(),
        context(),
    )
    terms = translator.losses("generator", batch, here)
    images, *_ = parts(batch)
    one, other = (to_frame(given, "imagenet").mean((2, 3)) for given in (here.made["fake"], images))
    factor = sum(stage * weight for stage, weight in zip(range(1, 6), (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1), strict=True))
    assert set(terms) == {"vgg"}
    assert torch.allclose(terms["vgg"], factor * l1(one, other), rtol=1e-4)


def test_vgg_needs_a_file_and_is_no_term_without_one() -> None:
    assert "vgg" not in SemiPairedConfig().term_weights
    with pytest.raises(ValidationError, match=r"set vgg to their file, or weights\.vgg to 0"):
        SemiPairedConfig(weights=SemiPairedWeights(vgg=10))
    both = SemiPairedConfig(weights=SemiPairedWeights(vgg=10), vgg=Path("vgg19.pth"))
    assert both.term_weights["vgg"] == 10


def test_source_maps_are_rendered_by_averaged_weights() -> None:
    translator, batch = make(), make_batch()

    def render(seed: int = 0) -> Tensor:
        with torch.no_grad():
            made = translator.translate(batch, generator=torch.Generator().manual_seed(seed))
        assert made.labels_BHW is batch.source_labels_BHW
        return made.images_BCHW

    before = render()
    assert before.shape == (5, 3, 64, 64) and not torch.equal(before, render(seed=1))
    with torch.no_grad():
        for parameter in translator.players()["generator"]:
            parameter.add_(0.5 * torch.randn_like(parameter))
    assert torch.equal(before, render())
    for _ in range(3):
        translator.after_step(context())
    assert not torch.equal(before, render())


def test_the_conditional_discriminator_is_a_segmenter() -> None:
    translator, images = make(), make_batch().target_images_BCHW
    settings, network = translator.segmenter_network()
    assert settings == {"name": "oasis_discriminator", "width": 4}
    assert images is not None
    with torch.no_grad():
        assert torch.allclose(network(images), translator.networks["discriminator"](images)[:, :N], atol=1e-5)


def test_sides_must_fit_all_networks() -> None:
    assert SemiPaired.multiple_of(SemiPairedConfig()) == 128
    assert SemiPaired.multiple_of(SemiPairedConfig(unconditional_levels=3)) == 64
