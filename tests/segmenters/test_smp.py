from __future__ import annotations

from pathlib import Path

import pytest
import segmentation_models_pytorch as smp
import torch
from pydantic import ValidationError

from uda.core.errors import ConfigError
from uda.segmenters.smp import _ARCHITECTURES, Smp, SmpConfig

ROOT = Path(__file__).resolve().parents[2]
MOBILENET = next(
    (file for base in (ROOT, ROOT.parent) if (file := base / "shared/weights/mobilenet_v2_imagenet.pt").is_file()), None
)


@pytest.mark.parametrize("architecture", ["Unet", "FPN", "DeepLabV3Plus", "unet", "PSPNet"])
def test_architectures_by_name(architecture: str) -> None:
    segmenter = Smp(SmpConfig(architecture=architecture, encoder="tu-test_resnet"), 3)
    assert segmenter.network.eval()(torch.zeros(1, 3, 64, 96)).shape == (1, 3, 64, 96)


@pytest.mark.parametrize("architecture", ["DeepLabV3", "DeepLabV3Plus", "PAN", "UPerNet", "PSPNet", "FPN"])
def test_it_says_how_many_images_a_step_needs(architecture: str) -> None:
    config = SmpConfig(architecture=architecture, encoder="tu-test_resnet")
    network, least = Smp(config, 3).network.train(), Smp.least_share(config)
    assert network(torch.zeros(least, 3, 128, 128)).shape == (least, 3, 128, 128)
    if least == 2:
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            network(torch.zeros(1, 3, 128, 128))
        assert Smp.least_share(config.model_copy(update={"norm": "frozen"})) == 1


def test_options_and_depth_reach_the_architecture() -> None:
    options = {"decoder_channels": (16, 8, 4)}
    config = SmpConfig(architecture="Unet", encoder="tu-test_resnet", encoder_depth=3, options=options)
    shapes = {name: p.shape for name, p in Smp(config, 3).network.named_parameters()}
    assert shapes["body.model.segmentation_head.0.weight"] == (3, 4, 3, 3)


def test_decoder_and_head_learn_at_their_own_rate() -> None:
    segmenter = Smp(SmpConfig.tiny().model_copy(update={"head_lr_multiplier": 10.0}), 3)
    encoder, heads = segmenter.parameter_groups()
    assert (encoder.lr_multiplier, heads.lr_multiplier) == (1.0, 10.0)
    names = {id(p): name for name, p in segmenter.network.named_parameters()}
    assert {names[id(p)].split(".")[2] for p in encoder.parameters} == {"encoder"}
    assert {names[id(p)].split(".")[2] for p in heads.parameters} == {"decoder", "segmentation_head"}


def test_wrong_names_are_told_in_one_line() -> None:
    for settings, wanted in (
        ({"encoder": "resnet8"}, "encoder: unknown encoder 'resnet8'; did you mean 'resnet18'"),
        ({"encoder": "tu-nonsense"}, "FPN on tu-nonsense: Unknown model"),
        (
            {"options": {"decoder_drop": 0.1}},
            "options: FPN has no option 'decoder_drop'; did you mean 'decoder_dropout'",
        ),
    ):
        with pytest.raises(ConfigError, match=wanted):
            Smp(SmpConfig.model_validate(settings), 3)


def test_an_architecture_that_does_not_exist_is_refused_with_the_settings() -> None:
    with pytest.raises(ValidationError, match="unknown architecture 'Unett'; did you mean 'Unet'"):
        SmpConfig(architecture="Unett")


def test_the_architectures_that_settings_know_are_those_of_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {name: cls.__name__ for name, cls in smp.MODEL_ARCHITECTURES_MAPPING.items()} == {
        name.lower(): name for name in _ARCHITECTURES
    }
    later = {**smp.MODEL_ARCHITECTURES_MAPPING, "novelnet": smp.Unet}
    monkeypatch.setattr(smp, "MODEL_ARCHITECTURES_MAPPING", later)
    assert SmpConfig(architecture="NovelNet").architecture == "NovelNet"


def test_options_that_would_download_or_change_the_output_are_refused() -> None:
    for name in ("encoder_weights", "classes", "activation", "aux_params"):
        with pytest.raises(ValidationError, match=f"{name} is no option here"):
            SmpConfig(options={name: "x"})


@pytest.mark.skipif(MOBILENET is None, reason="ImageNet weights of MobileNetV2 are not on this machine")
@pytest.mark.parametrize("architecture", ["FPN", "Unet"])
def test_imagenet_weights_of_mobilenet_fill_the_encoder(architecture: str) -> None:
    assert MOBILENET is not None
    config = SmpConfig(architecture=architecture, encoder="mobilenet_v2", pretrained=MOBILENET)
    tensors = torch.load(MOBILENET, weights_only=True)
    state = Smp(config, 3).network.state_dict()
    encoder = {key.partition("encoder.")[2]: value for key, value in state.items() if ".encoder." in key}
    assert set(encoder) == {key for key in tensors if not key.startswith("classifier.")}
    assert all(torch.equal(value, tensors[key]) for key, value in encoder.items())
