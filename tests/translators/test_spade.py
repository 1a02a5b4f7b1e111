from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from torch import Tensor

from tests.translators.layout_fakes import stirred
from uda.core.errors import ConfigError, DataError
from uda.data.batch import Batch, Context
from uda.nets.segmenter import to_frame
from uda.nets.spade_resnet import label_edges, label_layout
from uda.nets.vgg19 import load_vgg19
from uda.translators.base import Setting
from uda.translators.spade import Spade, SpadeConfig, SpadeWeights

N = 3


def make(**settings: Any) -> Spade:
    torch.manual_seed(0)
    translator = Spade(SpadeConfig.tiny().model_copy(update=settings), Setting(N))
    for network in translator.networks.values():
        network.eval()
    return translator


def make_batch(seed: int = 0, size: tuple[int, int] = (32, 64)) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(2, 2, 3, *size, generator=generator) * 2 - 1
    labels = torch.randint(0, N, (2, 2, size[0] // 8, size[1] // 8), generator=generator)
    labels = labels.repeat_interleave(8, 2).repeat_interleave(8, 3)
    labels[:, :, :2] = 255
    return Batch(images[0], labels[0], images[1], labels[1])


def pair(batch: Batch) -> tuple[Tensor, Tensor]:
    assert batch.target_images_BCHW is not None and batch.target_labels_BHW is not None
    return batch.target_images_BCHW, batch.target_labels_BHW


def context(seen: int = 0) -> Context:
    return Context(images_seen=seen, total_images=10)


def render(translator: Spade, batch: Batch, seed: int = 0) -> Tensor:
    with torch.no_grad():
        return translator.translate(batch, generator=torch.Generator().manual_seed(seed)).images_BCHW


@pytest.mark.parametrize("encoder", [False, True], ids=["map", "style"])
def test_terms_are_the_papers_formulas(encoder: bool) -> None:
    translator, batch, here = make(image_encoder=encoder), make_batch(), context()
    images, labels = pair(batch)
    nets, layout = translator.networks, label_layout(labels, N)
    torch.manual_seed(3)
    terms = translator.losses("generator", batch, here)
    torch.manual_seed(3)
    inputs = [layout]
    wanted: dict[str, Any] = {}
    if encoder:
        mean, log_variance = nets["encoder"](images)
        inputs.append(mean + (log_variance / 2).exp() * torch.randn(2, 8))
        wanted["kl"] = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum() / 2
    fake = nets["generator"](*inputs)
    assert torch.allclose(here.made["fake"], fake, atol=1e-6) and not here.made["fake"].requires_grad
    made, real = (nets["discriminator"](torch.cat([layout, one], dim=1)) for one in (fake, images))
    wanted["gan"] = -(made[0][-1].mean() + made[1][-1].mean()) / 2
    wanted["feature_matching"] = sum((made[s][i] - real[s][i]).abs().mean() for s in range(2) for i in range(3)) / 2
    assert set(terms) == set(wanted) == set(translator.config.term_weights) - {"discriminator"}
    for name, value in wanted.items():
        assert torch.allclose(terms[name], torch.as_tensor(value), rtol=1e-3, atol=1e-6), name
    loss = sum((1 - real[s][-1]).relu().mean() + (1 + made[s][-1]).relu().mean() for s in range(2)) / 2
    assert torch.allclose(translator.losses("discriminator", batch, here)["discriminator"], torch.as_tensor(loss))


def test_a_term_of_weight_0_is_not_computed() -> None:
    off = SpadeWeights(gan=0, feature_matching=0)
    translator, calls = make(weights=off), list[int]()
    translator.networks["discriminator"].register_forward_hook(lambda *_: calls.append(1))
    assert set(translator.losses("generator", make_batch(), context())) == {"kl"}
    assert not calls
    plain = SpadeWeights(feature_matching=0)
    assert set(make(weights=plain, image_encoder=False).losses("generator", make_batch(), context())) == {"gan"}


def test_every_parameter_is_trained() -> None:
    translator, here = make(), context()
    for player, parameters in translator.players().items():
        for parameter in parameters:
            parameter.grad = None
        torch.stack(list(translator.losses(player, make_batch(), here).values())).sum().backward()
        assert all(parameter.grad is not None for parameter in parameters)


@pytest.mark.parametrize("player", ["generator", "discriminator"])
def test_a_crop_without_a_known_pixel_does_not_end_the_fit(player: str) -> None:
    images, labels = pair(make_batch())
    unknown = Batch(target_images_BCHW=images, target_labels_BHW=torch.full_like(labels, 255))
    assert all(torch.isfinite(term) for term in make().losses(player, unknown, context(seen=4)).values())


def test_what_is_missing_is_named() -> None:
    whole = make_batch()
    with pytest.raises(DataError, match="translator spade: no label maps of target images; give --pairs or --pseudo"):
        make().losses("generator", Batch(target_images_BCHW=whole.target_images_BCHW), context())
    with pytest.raises(DataError, match="translator spade: no target images; give --target"):
        make().losses("discriminator", Batch(target_labels_BHW=whole.target_labels_BHW), context())
    with pytest.raises(DataError, match="no label maps to render; give a --source with labels"):
        render(make(), Batch(whole.source_images_BCHW))
    with pytest.raises(DataError, match="no target images to take a style from; give --target"):
        render(make(style="reference"), Batch(source_labels_BHW=whole.source_labels_BHW))


def test_a_size_that_cannot_be_doubled_to_is_refused_at_the_first_step() -> None:
    translator = make(doublings=6, image_encoder=False)
    with pytest.raises(ConfigError, match=r"\[32, 96\] is not divisible by 64.*use \[64, 128\]"):
        translator.losses("generator", make_batch(size=(32, 96)), context())


def test_it_renders_the_sources_maps_and_carries_them_along() -> None:
    translator, batch = make(image_encoder=False), make_batch()
    made = translator.translate(batch, generator=torch.Generator())
    assert made.labels_BHW is batch.source_labels_BHW
    assert torch.equal(made.images_BCHW, render(translator, Batch(source_labels_BHW=batch.source_labels_BHW), seed=7))
    assert not torch.equal(made.images_BCHW, render(translator, Batch(source_labels_BHW=batch.target_labels_BHW)))


def test_styles_are_drawn_or_taken_from_target_images() -> None:
    batch, other = make_batch(), make_batch(seed=5)
    swapped = Batch(batch.source_images_BCHW, batch.source_labels_BHW, other.target_images_BCHW)
    drawn = stirred(make(), "averaged_")
    assert torch.equal(render(drawn, batch), render(drawn, swapped))
    assert (render(drawn, batch) - render(drawn, batch, seed=1)).abs().max() > 0.1
    referring = stirred(make(style="reference"), "averaged_")
    with torch.no_grad():  # next to no spread around the mean, so that the code is the image's
        referring.networks["averaged_encoder"].get_parameter("log_variance.weight").zero_()
        referring.networks["averaged_encoder"].get_parameter("log_variance.bias").fill_(-30)
    assert torch.allclose(render(referring, batch), render(referring, batch, seed=1), atol=1e-4)
    assert (render(referring, batch) - render(referring, swapped)).abs().max() > 0.1


def test_edges_of_the_label_map_are_a_channel_more() -> None:
    translator, batch = make(edges=True, image_encoder=False), make_batch()
    _, labels = pair(batch)
    seen: list[Tensor] = []
    translator.networks["generator"].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    translator.networks["discriminator"].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    translator.losses("generator", batch, context())
    assert [one.shape[1] for one in seen] == [N + 2, N + 2 + 3, N + 2 + 3]
    assert torch.equal(seen[0][:, -1:], label_edges(labels).float())


def test_vgg_needs_its_weights_and_is_no_part_of_the_state(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=r"weights\.vgg needs VGG-19's weights"):
        SpadeConfig(weights=SpadeWeights(vgg=10))
    absent = make(weights=SpadeWeights(vgg=10), vgg=tmp_path / "absent.pth")
    render(absent, make_batch())  # who renders only needs no file
    with pytest.raises(DataError, match="no such weights file"):
        absent.losses("generator", make_batch(), context())


def test_the_vgg_term_compares_features_in_the_frame_that_is_set(tmp_path: Path) -> None:
    from uda.nets.vgg19 import Vgg19Features

    torch.manual_seed(0)
    save_file(Vgg19Features().state_dict(), tmp_path / "vgg.safetensors")
    network, (images, _) = load_vgg19(tmp_path / "vgg.safetensors"), pair(make_batch())
    values = []
    for frame in ("unit", "imagenet"):
        translator, here = (
            make(weights=SpadeWeights(vgg=10), vgg=tmp_path / "vgg.safetensors", vgg_frame=frame),
            context(),
        )
        terms = translator.losses("generator", make_batch(), here)
        assert (
            set(terms)
            == {"kl", "gan", "feature_matching", "vgg"}
            == set(translator.config.term_weights) - {"discriminator"}
        )
        made, real = network(to_frame(here.made["fake"], frame)), network(to_frame(images, frame))
        wanted = sum(2.0 ** (n - 5 + (n == 4)) * (made[n] - real[n]).abs().mean() for n in range(5))
        assert torch.allclose(terms["vgg"], wanted, rtol=1e-4)
        terms["vgg"].backward()
        assert "vgg" not in translator.networks
        values.append(terms["vgg"].item())
    assert values[0] != pytest.approx(values[1])


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValidationError, match="style reference needs an image encoder"):
        SpadeConfig(style="reference")
    config = SpadeConfig()
    assert set(config.term_weights) == {"gan", "feature_matching", "discriminator"}
    assert (config.optimizers["generator"].lr, config.optimizers["discriminator"].lr) == (1e-4, 4e-4)
    assert config.schedule.factor(0.4) == 1 and config.schedule.factor(0.75) == pytest.approx(0.5)


def test_averaged_weights_render_with_statistics_of_their_own() -> None:
    translator, batch = make(ema=0.9), make_batch()
    assert {name for name in translator.networks if "averaged" in name} == {"averaged_generator", "averaged_encoder"}
    before = render(translator, batch)
    with torch.no_grad():
        for parameter in translator.players()["generator"]:
            parameter.add_(0.5 * torch.randn_like(parameter))
    assert torch.equal(before, render(translator, batch))
    for _ in range(2):
        translator.after_step(context())
    moved = render(translator, batch)
    assert not torch.equal(before, moved) and translator.extra_state() == {"steps": 2}
    translator.finalize([batch, make_batch(seed=1), make_batch(seed=2)])
    once = render(translator, batch)
    assert not torch.equal(once, moved)
    translator.finalize([batch, make_batch(seed=1)])
    assert torch.equal(once, render(translator, batch))
    plain = make(ema=None)
    plain.finalize([batch])
    assert "averaged_generator" not in plain.networks and torch.equal(render(plain, batch), before)
