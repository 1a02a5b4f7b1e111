"""Other people's files: every public form finds its place, and a wrong one is never silently left out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torchvision.models import mobilenet_v2, resnet18, resnet34

from uda.core.errors import ConfigError, DataError
from uda.nets.segmenter import SegmenterNetwork
from uda.segmenters._store import initialize, load_segmenter, save_segmenter
from uda.segmenters.deeplabv2 import DeepLabV2, DeepLabV2Config
from uda.segmenters.fcn8s import Fcn8s, Fcn8sConfig
from uda.segmenters.smp import Smp, SmpConfig

_BEFORE = re.compile(r"^.*encoder\.(model\.)?")


def _deeplab(seed: int = 0, classes: int = 3, **settings: Any) -> SegmenterNetwork:
    torch.manual_seed(seed)
    return DeepLabV2(DeepLabV2Config(encoder="tu-test_resnet", **settings), classes).network


def _public(
    network: SegmenterNetwork, prefix: str = "", main: str = "layer5", aux: str = "layer5"
) -> dict[str, Tensor]:
    """The network's tensors as AdaptSegNet and BDL name them."""
    made = {}
    for key, value in network.state_dict().items():
        name = key.removeprefix("body.").removeprefix("encoder.model.model.")
        for level, layer in (("main", main), ("aux", aux)):
            name = name.replace(f"heads.{level}.branches", f"{layer}.conv2d_list")
        made[prefix + name] = value.clone()
    return made


def _same(one: SegmenterNetwork, other: SegmenterNetwork) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(value, theirs[key]) for key, value in one.state_dict().items())


@pytest.mark.parametrize("prefix", ["", "module.", "Scale.", "module.Scale."])
def test_plain_and_prefixed_snapshots(prefix: str, tmp_path: Path) -> None:
    trained, fresh = _deeplab(0), _deeplab(1)
    torch.save(_public(trained, prefix), tmp_path / "snapshot.pth")
    done = initialize(fresh, tmp_path / "snapshot.pth")
    assert _same(trained, fresh)
    assert not done.skipped and not done.missing
    assert str(done) == f"snapshot.pth: {done.loaded} tensors loaded, 0 skipped, 0 not in the file"


def test_two_levels_are_layer5_on_the_third_stage_and_layer6_on_the_fourth(tmp_path: Path) -> None:
    trained, fresh, single = _deeplab(0, multi_level=True), _deeplab(1, multi_level=True), _deeplab(2)
    torch.save(_public(trained, main="layer6", aux="layer5"), tmp_path / "multi.pth")
    initialize(fresh, tmp_path / "multi.pth")
    assert _same(trained, fresh)
    done = initialize(single, tmp_path / "multi.pth")
    head = "body.heads.main.branches.0.weight"
    assert torch.equal(single.state_dict()[head], trained.state_dict()[head])
    assert len(done.skipped) == 8 and all(name.startswith("layer5.") for name in done.skipped)


def test_a_head_for_other_classes_is_skipped_and_told(tmp_path: Path) -> None:
    # As the field's first file: 21 classes of Pascal VOC.
    trained, fresh = _deeplab(0, classes=21), _deeplab(1)
    torch.save(_public(trained, "Scale."), tmp_path / "init.pth")
    before = fresh.state_dict()["body.heads.main.branches.0.weight"].clone()
    done = initialize(fresh, tmp_path / "init.pth")
    assert len(done.skipped) == len(done.missing) == 8
    assert "8 skipped (Scale.layer5.conv2d_list.0.weight, " in str(done)
    assert "8 not in the file (body.heads.main.branches.0.weight, " in str(done)
    assert torch.equal(fresh.state_dict()["body.heads.main.branches.0.weight"], before)


def test_two_branches_take_the_first_two_of_a_file_with_four(tmp_path: Path) -> None:
    trained, fresh = _deeplab(0), _deeplab(1, aspp_branches=2)
    torch.save(_public(trained), tmp_path / "snapshot.pth")
    done = initialize(fresh, tmp_path / "snapshot.pth")
    assert sorted({name.split(".")[2] for name in done.skipped}) == ["2", "3"] and not done.missing


def test_pretrained_leaves_the_head_alone(tmp_path: Path) -> None:
    trained = _deeplab(0)
    torch.save(_public(trained), tmp_path / "snapshot.pth")
    started = _deeplab(1, pretrained=tmp_path / "snapshot.pth").state_dict()
    head = {key for key in started if ".heads." in key and key.endswith("weight")}
    assert len(head) == 4
    for key, value in trained.state_dict().items():
        if key not in head:
            assert torch.equal(value, started[key]), key
    assert all(not torch.equal(trained.state_dict()[key], started[key]) for key in head)


@pytest.mark.parametrize(
    "holder", [("state_dict",), ("ResNet101", "model_state"), ("epoch", "model"), ("score", "state_dict")]
)
def test_tensors_are_found_inside_checkpoints(holder: tuple[str, ...], tmp_path: Path) -> None:
    trained, fresh = _deeplab(0), _deeplab(1)
    if holder[0] == "epoch":
        checkpoint: dict[str, Any] = {
            "epoch": 3,
            "optimizer": {"state": {0: torch.zeros(2)}},
            "model": _public(trained),
        }
    elif holder[0] == "score":  # beside its weights
        checkpoint = {"best_acc1": torch.tensor(77.1), "state_dict": _public(trained)}
    else:
        checkpoint = _public(trained)
        for name in reversed(holder):
            checkpoint = {"iteration": 7, name: checkpoint}
    torch.save(checkpoint, tmp_path / "checkpoint.pt")
    initialize(fresh, tmp_path / "checkpoint.pt")
    assert _same(trained, fresh)


@pytest.mark.parametrize(("encoder", "make"), [("resnet18", resnet18), ("mobilenet_v2", mobilenet_v2)])
def test_torchvisions_classifiers_fill_encoders(encoder: str, make: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = make().state_dict()
    save_file(theirs, tmp_path / "imagenet.safetensors")
    for segmenter in (
        Smp(SmpConfig(encoder=encoder, pretrained=tmp_path / "imagenet.safetensors"), 3),
        DeepLabV2(DeepLabV2Config(encoder=encoder, pretrained=tmp_path / "imagenet.safetensors"), 3),
    ):
        ours = {key: value for key, value in segmenter.network.state_dict().items() if ".encoder." in key}
        for key, value in theirs.items():
            if not key.startswith(("fc.", "classifier.")):
                (mine,) = (one for name, one in ours.items() if _BEFORE.sub("", name) == key)
                assert torch.equal(mine, value), key
        assert len(ours) == len(theirs) - 2


def test_bdls_names_of_fcn8s(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Fcn8s(Fcn8sConfig.tiny(), 3).network
    names = iter([f"conv{stage}_{n}" for stage, count in enumerate((2, 2, 3, 3, 3), 1) for n in range(1, count + 1)])
    theirs: dict[str, Tensor] = {}
    for key, value in network.state_dict().items():
        short = key.removeprefix("body.").removeprefix("encoder.")
        if short.startswith("features.") and short.endswith("weight"):
            number, name = short.split(".")[1], next(names)
        if short.startswith("features."):
            short = short.replace(f"features.{number}", name)
        theirs[short] = torch.randn_like(value)
    assert {"conv1_1.weight", "conv5_3.bias", "fc6.weight", "score_fr.bias", "upscore8.weight"} <= set(theirs)
    torch.save(theirs, tmp_path / "vgg.pth")
    done = initialize(network, tmp_path / "vgg.pth")
    assert not done.skipped and not done.missing
    assert torch.equal(network.state_dict()["body.encoder.features.28.bias"], theirs["conv5_3.bias"])


def test_another_depth_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    torch.save(resnet18().state_dict(), tmp_path / "resnet18.pth")
    segmenter = Smp(SmpConfig(encoder="resnet34"), 3)
    before = {key: value.clone() for key, value in segmenter.network.state_dict().items()}
    with pytest.raises(ConfigError, match=r"fits only \d+ of the encoder's 180 tensors.*give weights of this encoder"):
        initialize(segmenter.network, tmp_path / "resnet18.pth")
    assert all(torch.equal(before[key], value) for key, value in segmenter.network.state_dict().items())
    torch.save(resnet34().state_dict(), tmp_path / "resnet34.pth")
    assert initialize(segmenter.network, tmp_path / "resnet34.pth").skipped == ("fc.weight", "fc.bias")


def test_a_broken_directory_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no segmenter .model\.json is missing.; give the directory"):
        load_segmenter(tmp_path, expected_classes=None)
    segmenter = DeepLabV2(DeepLabV2Config.tiny(), 2)
    save_segmenter(tmp_path, segmenter, ("road", "car"), "own")
    description, weights = tmp_path / "model.json", tmp_path / "segmenter.safetensors"
    text = description.read_text()
    for changed, wanted in (
        (text.replace('"tu-test_resnet"', '"tu-test_efficientnet"'), "does not fit model.json"),
        (text.replace('"deeplabv2"', '"deeplabv9"'), "unknown method 'deeplabv9'"),
        (text.replace('"aspp_branches"', '"branches"'), "its config cannot be used here"),
        ("{", "is no JSON"),
        ("[]", "describes no segmenter"),
    ):
        description.write_text(changed)
        with pytest.raises(DataError, match=wanted) as caught:
            load_segmenter(tmp_path, expected_classes=None)
        assert "\n" not in str(caught.value)
    description.write_text(text)
    weights.unlink()
    with pytest.raises(DataError, match=r"segmenter\.safetensors is missing"):
        load_segmenter(tmp_path, expected_classes=None)


def test_a_segmenter_loads_where_its_first_weights_are_gone(tmp_path: Path) -> None:
    save_file(dict(_deeplab(0).state_dict()), tmp_path / "init.safetensors")
    config = DeepLabV2Config(encoder="tu-test_resnet", pretrained=tmp_path / "init.safetensors")
    save_segmenter(tmp_path, DeepLabV2(config, 2), ("road", "car"), "own")
    (tmp_path / "init.safetensors").unlink()
    assert load_segmenter(tmp_path, expected_classes=("road", "car")).config.encoder == "tu-test_resnet"


def test_going_on_from_a_segmenter_of_other_classes_is_refused_though_the_heads_fit(tmp_path: Path) -> None:
    save_segmenter(tmp_path, DeepLabV2(DeepLabV2Config.tiny(), 2), ("road", "car"), "own")
    fresh = DeepLabV2(DeepLabV2Config.tiny(), 2)
    with pytest.raises(ConfigError, match=r"number 1 is 'car', here 'bus'.*to take what fits"):
        initialize(fresh.network, tmp_path, expected_classes=("road", "bus"))
    assert not initialize(fresh.network, tmp_path / "segmenter.safetensors").skipped
    assert not initialize(fresh.network, tmp_path, expected_classes=("road", "car")).skipped
