from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.translators.layout_fakes import make_labels, stirred
from uda.core import registry
from uda.core.errors import ConfigError, DataError
from uda.data.batch import Batch, Context
from uda.losses import label_mix, n_plus_one
from uda.nets.spade_resnet import label_layout
from uda.segmenters._store import load_segmenter, save_segmenter
from uda.translators.base import Setting
from uda.translators.oasis import NoiseMode, Oasis, OasisConfig, OasisWeights, noise_field

CLASSES = ("road", "car", "sky")
N = len(CLASSES)


def make(**settings: Any) -> Oasis:
    torch.manual_seed(0)
    translator = Oasis(OasisConfig.tiny().model_copy(update=settings), Setting(N))
    for network in translator.networks.values():
        network.eval()
    return translator


def make_batch(labels: Tensor | None = None) -> Batch:
    labels = make_labels() if labels is None else labels
    images = torch.rand(2, *labels[:, None].expand(-1, 3, -1, -1).shape, generator=torch.Generator().manual_seed(1))
    return Batch(2 * images[0] - 1, labels.flip(0), 2 * images[1] - 1, labels)


def context(seen: int = 0) -> Context:
    return Context(images_seen=seen, total_images=10)


def render(translator: Oasis, labels: Tensor, seed: int = 0) -> Tensor:
    with torch.no_grad():
        batch = Batch(source_labels_BHW=labels)
        return translator.translate(batch, generator=torch.Generator().manual_seed(seed)).images_BCHW


def test_the_gain_of_first_weights_says_how_far_a_step_turns_what_spectral_norm_normalises() -> None:
    def learnt_and_used(gain: float) -> tuple[Tensor, Tensor]:
        layer = make(init_gain=gain).networks["discriminator"].get_submodule("encoder.1.first")
        assert isinstance(layer, nn.Conv2d)
        return layer.get_parameter("parametrizations.weight.original"), layer.weight

    (short, by_short), (long, by_long) = learnt_and_used(0.02), learnt_and_used(1.0)
    assert torch.allclose(50 * short, long, rtol=1e-4)
    assert torch.allclose(by_short, by_long, atol=1e-3)  # the layer computes the same


def test_terms_are_the_papers_formulas() -> None:
    translator, batch, here = make(), make_batch(), context()
    images, labels = batch.target_images_BCHW, batch.target_labels_BHW
    assert images is not None and labels is not None
    discriminator = translator.networks["discriminator"]
    torch.manual_seed(3)
    (made,) = translator.losses("generator", batch, here).items()
    fake = here.made["fake"]
    assert not fake.requires_grad
    torch.manual_seed(3)
    noise = torch.randn(2, 4, 1, 1).expand(2, 4, 64, 64)
    again = translator.networks["generator"](torch.cat([noise, label_layout(labels, N)], dim=1))
    assert torch.allclose(fake, again, atol=1e-6)
    assert made[0] == "gan"
    assert torch.allclose(made[1], n_plus_one.labelled_loss(discriminator(fake), labels), rtol=1e-4)
    torch.manual_seed(4)
    terms = translator.losses("discriminator", batch, here)
    torch.manual_seed(4)
    mask = label_mix.label_mix_mask(labels, N)
    on_real, on_fake = discriminator(images), discriminator(fake)
    on_mixed = discriminator(mask * images + ~mask * fake)
    wanted = {
        "discriminator_real": n_plus_one.labelled_loss(on_real, labels),
        "discriminator_fake": n_plus_one.fake_loss(on_fake),
        "label_mix": (on_mixed - torch.where(mask, on_real, on_fake)).square().mean(),
    }
    assert set(terms) == set(wanted)
    for name, value in wanted.items():
        assert torch.allclose(terms[name], value, rtol=1e-3, atol=1e-8), name


def test_terms_of_weight_0_are_not_computed() -> None:
    off = OasisWeights(gan=0, discriminator_fake=0, label_mix=0)
    translator = make(weights=off)
    assert translator.losses("generator", make_batch(), context()) == {}
    calls: list[int] = []
    translator.networks["discriminator"].register_forward_pre_hook(lambda _, given: calls.append(len(given[0])))
    assert set(translator.losses("discriminator", make_batch(), context())) == {"discriminator_real"}
    assert calls == [4]  # no mixed images beside two real and two made ones


def test_every_parameter_is_trained() -> None:
    translator, here = make(), context()
    for player, parameters in translator.players().items():
        for parameter in parameters:
            parameter.grad = None
        torch.stack(list(translator.losses(player, make_batch(), here).values())).sum().backward()
        assert all(parameter.grad is not None for parameter in parameters)


@pytest.mark.parametrize("player", ["generator", "discriminator"])
def test_a_crop_without_a_known_pixel_does_not_end_the_fit(player: str) -> None:
    labels = torch.full((2, 64, 64), 255)
    for known in (0, 1):
        labels[1, 5, 5] = 1 if known else 255
        terms = make().losses(player, make_batch(labels), context())
        assert all(torch.isfinite(term) for term in terms.values())
        by_class = terms["gan" if player == "generator" else "discriminator_real"]
        assert bool(by_class > 0) == bool(known)


def test_what_is_missing_is_named() -> None:
    whole = make_batch()
    for batch, mend in (
        (Batch(whole.source_images_BCHW, whole.source_labels_BHW), "give --target"),
        (Batch(target_images_BCHW=whole.target_images_BCHW), "give --pairs or --pseudo"),
    ):
        with pytest.raises(DataError, match=f"translator oasis.*{mend}"):
            make().losses("generator", batch, context())
    with pytest.raises(DataError, match="no label maps to render; give a --source with labels"):
        make().translate(Batch(whole.source_images_BCHW), generator=torch.Generator())


def test_it_renders_the_sources_maps_and_carries_them_along() -> None:
    translator, batch = stirred(make()), make_batch()
    with torch.no_grad():
        made = translator.translate(batch, generator=torch.Generator())
    assert made.labels_BHW is batch.source_labels_BHW
    assert batch.source_labels_BHW is not None
    only_maps = render(translator, batch.source_labels_BHW, seed=torch.Generator().initial_seed())
    assert torch.equal(made.images_BCHW, only_maps)
    assert (render(translator, make_labels(seed=9)) - render(translator, make_labels(seed=8))).abs().max() > 0.1


def test_noise_of_the_whole_image_is_one_vector_for_each_image() -> None:
    labels = make_labels(images=3)
    noise = noise_field(labels, N, 5, "global", torch.Generator().manual_seed(0))
    assert noise.shape == (3, 5, 64, 64)
    assert torch.equal(noise, noise[:, :, :1, :1].expand_as(noise))
    assert len(noise[:, :, 0, 0].flatten().unique()) == 15


def test_local_noise_differs_in_every_pixel() -> None:
    noise = noise_field(make_labels(), N, 5, "local", torch.Generator().manual_seed(0))
    assert noise.shape == (2, 5, 64, 64)
    assert len(noise[:, 0].flatten().unique()) > 0.99 * 2 * 64 * 64
    assert noise.mean() == pytest.approx(0, abs=0.03) and noise.std() == pytest.approx(1, abs=0.03)


def test_noise_by_class_is_one_vector_for_each_class_of_each_image() -> None:
    labels = make_labels(images=2)
    noise = noise_field(labels, N, 5, "class", torch.Generator().manual_seed(0)).permute(0, 2, 3, 1)
    vectors = []
    for image, own in zip(labels, noise, strict=True):
        for value in image.unique():
            (vector,) = own[image == value].unique(dim=0)
            vectors.append(vector)
    assert len(vectors) == 2 * (N + 1)  # unknown pixels are a region too
    assert len(torch.stack(vectors).unique(dim=0)) == len(vectors)


MODES: tuple[NoiseMode, ...] = ("global", "local", "class")


def test_the_noise_mode_changes_what_is_rendered_and_training_stays_global() -> None:
    labels = make_labels()
    images = [render(stirred(make(noise=mode)), labels) for mode in MODES]
    assert all((one - other).abs().max() > 0.1 for one, other in ((images[0], images[1]), (images[1], images[2])))
    assert (render(stirred(make()), labels, seed=1) - images[0]).abs().max() > 0.1
    losses = []
    for mode in ("global", "class"):
        torch.manual_seed(3)
        losses.append(make(noise=mode).losses("generator", make_batch(), context())["gan"])
    assert torch.equal(*losses)


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
    assert translator.extra_state() == {"steps": 3}
    plain = make(ema=None)
    assert set(plain.networks) == {"generator", "discriminator"}
    plain.after_step(context())
    assert plain.extra_state() == {"steps": 1}


def statistics(network: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in network.state_dict().items() if "running" in key}


def test_only_the_regions_of_some_classes_are_drawn_anew() -> None:
    translator, labels, seen = make(noise_classes=(1,)), make_labels(), list[Tensor]()
    renderer = translator.networks["averaged_generator"].eval()
    renderer.register_forward_pre_hook(lambda _, given: seen.append(given[0][:, : translator.config.noise_channels]))
    for seed in (0, 1):
        render(translator, labels, seed=seed)
    first, second = (noise.permute(0, 2, 3, 1) for noise in seen)
    assert (first != second).all(-1).equal(labels == 1)
    assert len(first[labels != 1].unique(dim=0)) == 1  # all else has one vector, in all images
    with pytest.raises(
        ConfigError, match=r"translator.noise_classes: no class 'cra' in the label space; did you mean 'car'"
    ):
        Oasis.check_classes(OasisConfig(noise_classes=("cra",)), Setting(2, class_names=("road", "car")))


def test_before_rendering_the_averaged_generators_statistics_are_those_of_its_own_features() -> None:
    translator = make(statistics_batches=2)
    network, other = translator.networks["averaged_generator"], statistics(translator.networks["generator"])
    batches = [make_batch(make_labels(seed=seed)) for seed in range(4)]
    taken: list[int] = []

    def counted() -> Any:
        for number, batch in enumerate(batches):
            taken.append(number)
            yield batch

    weights = {key: value.clone() for key, value in network.state_dict().items() if "running" not in key}
    translator.finalize(counted())
    first = statistics(network)
    assert len(taken) <= 3  # as many as the settings say, and not the whole run
    assert all(not value.isnan().any() for value in first.values())
    # The first norm sees the first convolution's features alone: the mean over the two batches' own statistics.
    generator = torch.Generator().manual_seed(0)
    means = []
    for batch in batches[:2]:
        assert batch.target_labels_BHW is not None
        noise = noise_field(batch.target_labels_BHW, N, 4, "global", generator)
        condition = torch.cat([noise, label_layout(batch.target_labels_BHW, N)], dim=1)
        means.append(network.get_submodule("from_map")(condition[:, :, ::32, ::32]).mean((0, 2, 3)))
    assert torch.allclose(first["blocks.0.norm_first.norm.running_mean"], torch.stack(means).mean(0), atol=1e-6)
    now = network.state_dict()
    assert all(torch.equal(value, now[key]) for key, value in weights.items() if not key.endswith("tracked"))
    assert all(torch.equal(value, other[key]) for key, value in statistics(translator.networks["generator"]).items())
    torch.manual_seed(99)
    translator.finalize(iter(batches))
    assert all(torch.equal(value, first[key]) for key, value in statistics(network).items())


def test_statistics_are_left_alone_where_settings_say_so() -> None:
    for settings in ({"ema": None}, {"statistics_batches": 0}):
        translator = make(**settings)
        before = [statistics(network) for network in translator.networks.values()]
        translator.finalize([make_batch()])
        after = [statistics(network) for network in translator.networks.values()]
        assert all(torch.equal(a[key], b[key]) for a, b in zip(before, after, strict=True) for key in a)


def test_the_discriminator_is_a_segmenter_that_comes_back_from_disk(tmp_path: Path) -> None:
    translator, images = make(), make_batch().target_images_BCHW
    assert images is not None
    settings, network = translator.segmenter_network()
    with torch.no_grad():
        wanted = translator.networks["discriminator"](images)[:, :N]
        assert torch.allclose(network(images), wanted, atol=1e-5)
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert all(parameter.requires_grad for parameter in translator.players()["discriminator"])
    # What a stage does with it to leave a directory that `uda evaluate --segmenter` takes.
    method = registry.load("segmenters", settings["name"])
    segmenter = method(method.Config.model_validate(settings), N)
    segmenter.network.load_state_dict(network.state_dict())
    save_segmenter(tmp_path, segmenter, CLASSES, "cityscapes19")
    loaded = load_segmenter(tmp_path, expected_classes=CLASSES).network.eval()
    with torch.no_grad():
        assert torch.equal(loaded(images), network(images))


def test_images_are_made_anew_from_what_the_discriminator_sees_in_them() -> None:
    translator, images = make(), make_batch().target_images_BCHW
    assert images is not None
    one, two = (translator.recreate(images, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert one.labels_BHW is not None and two.labels_BHW is not None
    with torch.no_grad():
        seen = translator.networks["discriminator"](images)[:, :N].argmax(1)
    assert torch.equal(one.labels_BHW, seen) and torch.equal(two.labels_BHW, seen)
    assert torch.equal(one.images_BCHW, render(translator, seen, seed=0))
    assert not torch.equal(one.images_BCHW, two.images_BCHW)
    assert not one.images_BCHW.requires_grad
    batch = Batch(target_images_BCHW=images)
    way = translator.translate(batch, generator=torch.Generator().manual_seed(0), direction="target_to_target")
    assert torch.equal(way.images_BCHW, one.images_BCHW)
    with pytest.raises(DataError, match="translator oasis: no target images; give --target"):
        translator.translate(Batch(), generator=torch.Generator(), direction="target_to_target")


def test_images_are_made_anew_with_the_noise_that_rendering_has() -> None:
    images = make_batch().target_images_BCHW
    assert images is not None
    made = [
        stirred(make(noise=mode)).recreate(images, generator=torch.Generator().manual_seed(0)).images_BCHW
        for mode in ("global", "local")
    ]
    assert (made[0] - made[1]).abs().max() > 0.1


def test_the_discriminator_learns_to_segment_and_the_generator_to_be_segmented() -> None:
    labels = make_labels()
    images = torch.tensor([-0.8, 0.0, 0.8, 0.4])[labels.clamp(max=N)][:, None].expand(-1, 3, -1, -1).contiguous()
    batch, translator = Batch(target_images_BCHW=images, target_labels_BHW=labels), make(discriminator_width=8)
    optimizers = {
        name: torch.optim.Adam(parameters, lr=1e-2, betas=(0.0, 0.999))
        for name, parameters in translator.players().items()
    }
    for network in translator.networks.values():
        network.train()

    def turn(player: str, step: int, here: Context) -> float:
        torch.manual_seed(step)
        total = torch.stack(list(translator.losses(player, batch, here).values())).sum()
        optimizers[player].zero_grad()
        total.backward()
        optimizers[player].step()
        return total.item()

    for step in range(12):
        here = context()
        for player in optimizers:
            turn(player, step, here)
    _, network = translator.segmenter_network()
    known = labels != 255
    assert (network(images).argmax(1)[known] == labels[known]).float().mean() > 0.6  # chance: a third
    alone = [turn("generator", step, context()) for step in range(8)]
    assert alone[-1] < 0.9 * alone[0]
