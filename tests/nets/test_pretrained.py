"""Other people's files: what is read, and how it is fitted to a network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from uda.core.errors import DataError
from uda.nets.pretrained import load_weights, read_tensors
from uda.segmenters.fcn8s import Fcn8s, Fcn8sConfig


def test_vggs_linear_layers_become_convolutions(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Fcn8s(Fcn8sConfig.tiny(), 3).network
    theirs = {
        key.removeprefix("body.encoder."): torch.randn_like(value)
        for key, value in network.state_dict().items()
        if key.startswith("body.encoder.features.")
    }
    linear = {"classifier.0.weight": (16, 32 * 49), "classifier.3.weight": (16, 16), "classifier.6.weight": (1000, 16)}
    theirs |= {key: torch.randn(shape) for key, shape in linear.items()}
    theirs |= {"classifier.0.bias": torch.randn(16), "classifier.3.bias": torch.randn(16)}
    torch.save(theirs, tmp_path / "vgg16.pth")
    done = load_weights(network, tmp_path / "vgg16.pth", encoder_only=True)
    assert done.skipped == ("classifier.6.weight",) and not done.missing
    state = network.state_dict()
    assert torch.equal(state["body.encoder.features.28.weight"], theirs["features.28.weight"])
    assert torch.equal(state["body.encoder.fc6.weight"], theirs["classifier.0.weight"].view(16, 32, 7, 7))
    assert torch.equal(state["body.encoder.fc7.weight"].flatten(1), theirs["classifier.3.weight"])


def test_files_that_hold_no_weights_are_told(tmp_path: Path) -> None:
    class Opaque:
        pass

    Opaque.__qualname__ = "Opaque"
    (tmp_path / "text.pth").write_text("not weights")
    (tmp_path / "text.safetensors").write_text("not weights")
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    torch.save([torch.nn.Linear(2, 2)], tmp_path / "object.pth")
    for name, wanted in (
        ("text.pth", "cannot be read as weights"),
        ("text.safetensors", "cannot be read as weights"),
        ("object.pth", "cannot be read as weights"),
        ("empty.pth", "holds no tensors by name"),
        ("absent.pth", "no such weights file"),
    ):
        with pytest.raises(DataError, match=wanted) as caught:
            read_tensors(tmp_path / name)
        assert "\n" not in str(caught.value)
