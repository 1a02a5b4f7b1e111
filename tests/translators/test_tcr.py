from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from tests.translators.layout_fakes import make_labels, stirred
from uda.core.errors import DataError
from uda.data.batch import Batch, Context
from uda.losses import label_mix, n_plus_one
from uda.nets.spade_resnet import label_layout
from uda.translators.base import Setting
from uda.translators.tcr import Tcr, TcrConfig, TcrWeights

N = 3
STILL = {"rotation": 0.0, "translation": 0.0}


def make(**settings: Any) -> Tcr:
    torch.manual_seed(0)
    translator = Tcr(TcrConfig.tiny().model_copy(update=settings), Setting(N))
    for network in translator.networks.values():
        network.eval()
    return stirred(translator)


def make_batch() -> Batch:
    images = 2 * torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)) - 1
    return Batch(None, make_labels(seed=3), images, make_labels(seed=2))


def context() -> Context:
    return Context(images_seen=0, total_images=10)


def condition(labels: Tensor, noise: Tensor) -> Tensor:
    return torch.cat([noise.expand(-1, -1, 64, 64), label_layout(labels, N)], dim=1)


def test_on_pairs_it_is_oasis() -> None:
    translator, batch, here = make(), make_batch(), context()
    images, labels = batch.target_images_BCHW, batch.target_labels_BHW
    assert images is not None and labels is not None
    network = translator.networks["discriminator"]
    torch.manual_seed(3)
    terms = translator.losses("generator", batch, here)
    torch.manual_seed(3)
    fake = translator.networks["generator"](condition(labels, torch.randn(2, 4, 1, 1)))
    assert torch.allclose(here.made["fake"], fake, atol=1e-5) and not here.made["fake"].requires_grad
    assert set(terms) == {"gan", "consistency"}
    torch.manual_seed(4)
    terms |= translator.losses("discriminator", batch, here)
    torch.manual_seed(4)
    mask = label_mix.label_mix_mask(labels, N)
    on_real, on_fake, on_mixed = network(images), network(fake), network(torch.where(mask, images, fake))
    wanted = {
        "gan": n_plus_one.labelled_loss(on_fake, labels),
        "discriminator_real": n_plus_one.labelled_loss(on_real, labels),
        "discriminator_fake": n_plus_one.fake_loss(on_fake),
        "label_mix": (on_mixed - torch.where(mask, on_real, on_fake)).square().mean(),
    }
    assert set(terms) == {*wanted, "consistency"} == set(translator.config.term_weights)
    for name, value in wanted.items():
        assert torch.allclose(terms[name], value, rtol=1e-3, atol=1e-8), name


def consistency(translator: Tcr) -> Tensor:
    return translator.losses("generator", make_batch(), context())["consistency"]


def test_without_moves_consistency_is_perfect() -> None:
    assert consistency(make(**STILL)) < 1e-4
    assert consistency(make()) > 1e-2


def test_mirrored_maps_are_compared_with_mirrored_images_under_the_same_noise() -> None:
    translator = make(**STILL, flip=1.0, weights=TcrWeights(gan=0))
    seen: list[Tensor] = []
    translator.networks["generator"].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    made = consistency(translator)
    plain, mirrored = seen[0].chunk(2)
    labels = make_batch().source_labels_BHW
    assert labels is not None
    noise = plain[:, :4, :1, :1]
    assert len(noise.flatten().unique()) == 8
    assert torch.equal(plain, condition(labels, noise)) and torch.equal(mirrored, condition(labels.flip(-1), noise))
    one, other = (translator.networks["generator"](given) for given in (plain, mirrored))
    assert torch.allclose(made, (other - one.flip(-1)).abs().mean(), rtol=1e-3)


def test_the_generators_turn_moves_no_discriminator_even_where_its_weights_could_be() -> None:
    translator = make()
    for network in translator.networks.values():
        network.train().requires_grad_(True)
    torch.stack(list(translator.losses("generator", make_batch(), context()).values())).sum().backward()
    players = translator.players()
    assert all(parameter.grad is None for parameter in players["discriminator"])
    assert all(parameter.grad is not None for parameter in players["generator"])


def test_terms_of_weight_0_are_not_computed() -> None:
    translator, calls = make(weights=TcrWeights(consistency=0)), list[int]()
    translator.networks["generator"].register_forward_hook(lambda *_: calls.append(1))
    assert set(translator.losses("generator", make_batch(), context())) == {"gan"}
    assert len(calls) == 1
    assert make(weights=TcrWeights(gan=0, consistency=0)).losses("generator", make_batch(), context()) == {}


def test_what_is_missing_is_named() -> None:
    whole = make_batch()
    for batch, mend in (
        (Batch(None, whole.source_labels_BHW, whole.target_images_BCHW), "give --pairs or --pseudo"),
        (Batch(None, None, whole.target_images_BCHW, whole.target_labels_BHW), "give a --source with labels"),
    ):
        with pytest.raises(DataError, match=f"translator tcr.*{mend}"):
            make().losses("generator", batch, context())


@pytest.mark.parametrize("zoom", [(0.0, 1.0), (1.2, 1.0)])
def test_a_zoom_that_is_no_range_is_refused(zoom: tuple[float, float]) -> None:
    with pytest.raises(ValidationError, match="is no range: give two positive magnifications, the smaller first"):
        TcrConfig(zoom=zoom)


def test_statistics_before_rendering_are_those_of_the_sources_maps() -> None:
    translator, batch = make(statistics_batches=1), make_batch()
    network, labels = translator.networks["averaged_generator"], batch.source_labels_BHW
    assert labels is not None
    translator.finalize([batch])
    noise = torch.randn(2, 4, 1, 1, generator=torch.Generator().manual_seed(0))
    features = network.get_submodule("from_map")(condition(labels, noise)[:, :, ::32, ::32])
    kept = network.state_dict()["blocks.0.norm_first.norm.running_mean"]
    assert torch.allclose(kept, features.mean((0, 2, 3)), atol=1e-5)


def test_source_maps_are_rendered_and_the_discriminator_is_given_away() -> None:
    translator, batch = make(), make_batch()
    with torch.no_grad():
        made = translator.translate(batch, generator=torch.Generator().manual_seed(0))
        again = translator.translate(batch, generator=torch.Generator().manual_seed(1))
        assert made.labels_BHW is batch.source_labels_BHW
        assert (made.images_BCHW - again.images_BCHW).abs().max() > 1e-2
        settings, network = translator.segmenter_network()
        images = batch.target_images_BCHW
        assert images is not None and settings["name"] == "oasis_discriminator"
        assert torch.allclose(network(images), translator.networks["discriminator"](images)[:, :N], atol=1e-5)
