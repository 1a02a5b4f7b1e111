"""What every segmenter of the registry has to keep; a new method's file is picked up by itself.

A method's settings offer `tiny()`: a small, complete configuration.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from uda.core import registry
from uda.core.errors import ConfigError, DataError
from uda.losses.cross_entropy import cross_entropy
from uda.nets.segmenter import as_guide
from uda.segmenters._store import describe, initialize, load_segmenter, save_segmenter
from uda.segmenters.base import AbstractSegmenter

NAMES = registry.names("segmenters")
CLASSES = ("road", "car", "sky", "person")


def build(name: str, seed: int = 0, classes: int = len(CLASSES), **settings: Any) -> AbstractSegmenter:
    torch.manual_seed(seed)
    cls = registry.load("segmenters", name)
    segmenter: AbstractSegmenter = cls(cls.Config.tiny().model_copy(update=settings), classes)
    return segmenter


def make_images(segmenter: AbstractSegmenter, seed: int = 0) -> torch.Tensor:
    """Two images of a size that is as odd as the method allows."""
    multiple = segmenter.size_multiple
    size = (65, 97) if multiple == 1 else (-(-65 // multiple) * multiple, -(-97 // multiple) * multiple)
    return torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def stir(segmenter: AbstractSegmenter) -> AbstractSegmenter:
    """Move what training moves, so that nothing is tested at its first value (zeros above all)."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in segmenter.network.parameters():
            if parameter.requires_grad:
                parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
        segmenter.network.train()(make_images(segmenter))
    return segmenter


def norms(network: nn.Module) -> list[_BatchNorm]:
    return [module for module in network.modules() if isinstance(module, _BatchNorm)]


def statistics(network: nn.Module) -> list[torch.Tensor]:
    layers = norms(network)
    return [layer.running_mean.clone() for layer in layers if layer.running_mean is not None]


@pytest.mark.parametrize("name", NAMES)
def test_logits_have_the_images_size(name: str) -> None:
    segmenter = build(name)
    images = make_images(segmenter)
    for training in (True, False):
        levels = segmenter.network.train(training).levels(images)
        assert "main" in levels and set(levels) <= {"main", "aux"}
        assert tuple(levels) == segmenter.heads(segmenter.config)  # known without building the network
        for logits in levels.values():
            assert logits.shape == (2, len(CLASSES), *images.shape[-2:])
            assert logits.dtype == torch.float32
    assert torch.equal(segmenter.network(images), levels["main"])


@pytest.mark.parametrize("norm", ["trained", "frozen_affine", "frozen"])
@pytest.mark.parametrize("name", NAMES)
def test_groups_hold_each_trained_parameter_once(name: str, norm: str) -> None:
    segmenter = build(name, norm=norm)
    grouped = [parameter for group in segmenter.parameter_groups() for parameter in group.parameters]
    trained = [parameter for parameter in segmenter.network.parameters() if parameter.requires_grad]
    assert trained and len(grouped) == len(trained)
    assert {id(parameter) for parameter in grouped} == {id(parameter) for parameter in trained}
    for layer in norms(segmenter.network):
        assert all(p.requires_grad == (norm == "trained") for p in layer.parameters())


@pytest.mark.parametrize("norm", ["trained", "frozen_affine", "frozen"])
@pytest.mark.parametrize("name", NAMES)
def test_running_statistics_move_unless_frozen(name: str, norm: str) -> None:
    segmenter = build(name, norm=norm)
    if not norms(segmenter.network):
        pytest.skip("no batch norm")
    before = statistics(segmenter.network)
    segmenter.network.train()(make_images(segmenter))
    moved = [not torch.equal(*pair) for pair in zip(before, statistics(segmenter.network), strict=True)]
    assert not any(moved) if norm == "frozen" else all(moved)


@pytest.mark.parametrize("name", NAMES)
def test_every_group_learns_and_the_loss_falls(name: str) -> None:
    segmenter = stir(build(name))
    network, images = segmenter.network.train(), make_images(segmenter)
    labels = (images[:, 0] > 0).long()
    groups = segmenter.parameter_groups()
    optimizer = torch.optim.Adam([{"params": list(group.parameters)} for group in groups], lr=1e-3)
    losses = []
    for _ in range(8):
        torch.manual_seed(0)  # the same dropout
        loss = torch.stack([cross_entropy(logits, labels) for logits in network.levels(images).values()]).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    for group in groups:
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in group.parameters)
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in group.parameters)


@pytest.mark.parametrize("name", NAMES)
def test_as_a_guide_it_passes_gradients_to_the_images_alone(name: str) -> None:
    segmenter = stir(build(name))
    guide = as_guide(segmenter.network)
    before = {key: value.clone() for key, value in guide.state_dict().items()}
    images = make_images(segmenter).requires_grad_()
    guide(images).square().mean().backward()
    assert images.grad is not None and images.grad.abs().sum() > 0
    assert all(p.grad is None for p in guide.parameters())
    assert all(torch.equal(before[key], value) for key, value in guide.state_dict().items())


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_in_bfloat16_autocast(name: str) -> None:
    segmenter = stir(build(name))
    images = make_images(segmenter)
    network = segmenter.network.eval()
    with torch.no_grad():
        exact = network(images)
        with torch.autocast("cpu", torch.bfloat16):
            rough = network(images)
    assert rough.dtype == torch.float32
    assert (exact - rough).abs().mean() < 0.1 * exact.std()
    with torch.autocast("cpu", torch.bfloat16):
        loss = cross_entropy(network.train()(images), torch.zeros(2, *images.shape[-2:]))
    loss.backward()
    grouped = [parameter for group in segmenter.parameter_groups() for parameter in group.parameters]
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in grouped)


@pytest.mark.parametrize("name", NAMES)
def test_it_comes_back_from_disk_as_it_was(name: str, tmp_path: Path) -> None:
    segmenter = stir(build(name))
    save_segmenter(tmp_path, segmenter, CLASSES, "cityscapes19")
    state = torch.get_rng_state()
    loaded = load_segmenter(tmp_path, expected_classes=CLASSES)
    assert torch.equal(state, torch.get_rng_state())
    assert loaded.config == segmenter.config
    images = make_images(segmenter)
    with torch.no_grad():
        assert torch.equal(loaded.network.eval()(images), segmenter.network.eval()(images))
    description = json.loads((tmp_path / "model.json").read_text())
    assert description == describe(tmp_path)
    assert description["classes"] == list(CLASSES) and description["label_space"] == "cityscapes19"
    assert description["config"] == segmenter.config.model_dump(mode="json")
    assert description["parameters"] == sum(p.numel() for p in segmenter.network.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_weights_of_one_run_start_another_with_other_classes(name: str, tmp_path: Path) -> None:
    first = stir(build(name))
    save_segmenter(tmp_path, first, CLASSES, "cityscapes19")
    second = build(name, seed=5, classes=3)
    done = initialize(second.network, tmp_path / "segmenter.safetensors")
    ours, theirs = second.network.state_dict(), first.network.state_dict()
    same = {key for key in ours if ours[key].shape == theirs[key].shape}
    assert same and all(torch.equal(ours[key], theirs[key]) for key in same)
    assert done.loaded == len(same) and len(done.skipped) == len(done.missing) == len(ours) - len(same) > 0


@pytest.mark.parametrize("name", NAMES)
def test_other_classes_are_refused_by_name(name: str, tmp_path: Path) -> None:
    save_segmenter(tmp_path, build(name), CLASSES, "cityscapes19")
    with pytest.raises(ConfigError, match=r"4 classes \(road, car, sky, \.\.\.\), not for the 2 here \(road, car\)"):
        load_segmenter(tmp_path, expected_classes=CLASSES[:2])
    with pytest.raises(ConfigError, match="number 2 is 'sky', here 'tree'"):
        load_segmenter(tmp_path, expected_classes=("road", "car", "tree", "person"))
    assert load_segmenter(tmp_path, expected_classes=None).network(make_images(build(name))).shape[1] == 4


@pytest.mark.parametrize("name", NAMES)
def test_pretrained_weights_that_fit_nothing_are_refused(name: str, tmp_path: Path) -> None:
    torch.save({"layers.0.weight": torch.zeros(3), "layers.1.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(ConfigError, match=r"other\.pth: fits only 0 of the encoder's \d+ tensors"):
        build(name, pretrained=tmp_path / "other.pth")
    with pytest.raises(DataError, match="no such weights file"):
        build(name, pretrained=tmp_path / "absent.pth")


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_its_weights_start_from(name: str, tmp_path: Path) -> None:
    first = build(name)
    assert first.loaded is None and first.start().startswith("starts from random weights; set segmenter.pretrained")
    torch.save(first.network.state_dict(), tmp_path / "given.pth")
    second = build(name, pretrained=tmp_path / "given.pth")
    assert second.loaded is not None and second.loaded.loaded > 0
    assert second.start() == f"pretrained {second.loaded}"
    assert second.start().startswith(f"pretrained given.pth: {second.loaded.loaded} tensors loaded, ")


def test_every_method_and_its_settings_load_without_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from uda.core import registry\n"
        "import uda.segmenters._store\n"
        "for name in registry.names('segmenters'):\n"
        "    cls = registry.load('segmenters', name)\n"
        "    config = cls.Config.tiny()\n"
        "    assert config.name == name == cls.Config(name=name).name, name\n"
        "    assert registry.summary('segmenters', name), name\n"
        "    print(name)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == NAMES
