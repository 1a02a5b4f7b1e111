"""Other people's files: what is read, and how it is fitted to a network."""

from __future__ import annotations

import zipfile
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
    (tmp_path / "table.csv").write_text("image,label,dataset\na.png,b.png,cityscapes\n")
    (tmp_path / "index.pth").write_bytes(b"]etl")  # IndexError in the reader of pickles
    (tmp_path / "struct.pth").write_bytes(b"rM]")  # struct.error there
    (tmp_path / "nothing.pth").write_bytes(b"")
    (tmp_path / "text.safetensors").write_text("not weights")
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    torch.save([torch.nn.Linear(2, 2)], tmp_path / "object.pth")
    whole = (tmp_path / "empty.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    no_file = r"is no file of tensors \(a state dict\), or a damaged one; give a .safetensors file, or what torch.save"
    for name, wanted in (
        ("text.pth", no_file),
        ("table.csv", no_file),
        ("index.pth", no_file),
        ("struct.pth", no_file),
        ("nothing.pth", no_file),
        ("cut.pth", no_file),
        ("text.safetensors", no_file),
        ("object.pth", r"holds torch.nn.modules.linear.Linear and not tensors alone, and no code .*; give a .safetens"),
        ("empty.pth", "holds no tensors by name"),
        ("absent.pth", "no such weights file"),
    ):
        with pytest.raises(DataError, match=wanted) as caught:
            read_tensors(tmp_path / name)
        told = str(caught.value)
        assert "\n" not in told and "weights_only" not in told and told.startswith(str(tmp_path / name))


def test_a_program_is_no_file_of_tensors(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "program.pth", "w") as file:  # what torch.jit.save leaves, as torch.load tells it
        file.writestr("program/constants.pkl", b"")
        file.writestr("program/data.pkl", b"")
        file.writestr("program/version", b"3\n")
    with pytest.raises(DataError, match=r"program.pth: holds a program \(TorchScript\) and not tensors alone"):
        read_tensors(tmp_path / "program.pth")


def test_a_file_that_may_not_be_opened_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"weight": torch.zeros(2)}, tmp_path / "closed.pth")

    def denied(*args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(torch, "load", denied)
    with pytest.raises(DataError, match=r"closed.pth: cannot be opened \(Permission denied\); see that it may be read"):
        read_tensors(tmp_path / "closed.pth")


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_a_full_memory_is_not_the_files_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(*args: object, **options: object) -> None:
        raise error

    torch.save({"weight": torch.zeros(2)}, tmp_path / "large.pth")
    monkeypatch.setattr(torch, "load", full)
    with pytest.raises(type(error)) as caught:
        read_tensors(tmp_path / "large.pth")
    assert caught.value is error
