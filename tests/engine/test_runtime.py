from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from tests.engine.players import cpu
from uda.core import provenance
from uda.core.errors import ConfigError
from uda.core.training import RuntimeConfig
from uda.engine import runtime
from uda.engine.runtime import Runtime, make_runtime


def test_one_process_is_the_first_and_averages_nothing() -> None:
    runtime = cpu()
    assert (runtime.rank, runtime.processes, runtime.is_main, runtime.device.type) == (0, 1, True, "cpu")
    weight = nn.Parameter(torch.ones(2))
    weight.grad = torch.tensor([1.0, 2.0])
    runtime.average_gradients([weight])
    assert weight.grad.tolist() == [1, 2]
    assert (runtime.any(True), runtime.any(False, True), runtime.gather([3, 4])) == ((True,), (False, True), [3, 4])


def test_the_cpu_has_no_number() -> None:
    numbered = SimpleNamespace(device=torch.device("cpu:1"))
    assert Runtime(numbered, "float32", RuntimeConfig()).device == torch.device("cpu")


@pytest.mark.parametrize(("precision", "kind"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_precision_is_that_of_matrix_products(precision: str, kind: torch.dtype) -> None:
    with cpu(precision=precision).autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == kind


@pytest.mark.parametrize(
    ("capability", "flags", "wanted"),
    [
        ("AVX512", "vendor_id: AuthenticAMD, flags: avx512f avx512_bf16", "bfloat16"),
        ("AVX512_BF16", "vendor_id: GenuineIntel, flags: avx512_bf16 amx_bf16", "bfloat16"),
        ("AVX512_BF16", "vendor_id: GenuineIntel, flags: avx512_bf16", "float32"),  # slower there than float32
        ("AVX512", "vendor_id: AuthenticAMD, flags: avx512f", "float32"),
        ("AVX2", "flags: avx512_bf16", "float32"),  # what PyTorch was built for, or told to keep to
    ],
)
def test_automatic_precision_is_bfloat16_where_the_processor_is_faster_in_it(
    monkeypatch: pytest.MonkeyPatch, capability: str, flags: str, wanted: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    file = SimpleNamespace(is_file=lambda: True, read_text=lambda: flags)
    monkeypatch.setattr(runtime, "Path", lambda _: file)
    assert make_runtime(RuntimeConfig(device="cpu")).precision == wanted


def test_gradients_are_averaged_over_those_that_any_process_has() -> None:
    """Of two processes: `both` has one here and there, `there` only there, `neither` nowhere."""
    both, there, neither = (nn.Parameter(torch.zeros(2)) for _ in range(3))
    both.grad = torch.tensor([2.0, 4.0])
    other = torch.tensor([0.0, 0.0, 6.0, 6.0, 0.0, 0.0, 0.0, 1.0, 0.0])  # zeros for what is not there, then who has one
    fake = SimpleNamespace(
        device=torch.device("cpu"),
        num_processes=2,
        reduce=lambda flat, reduction: {"mean": (flat + other) / 2}[reduction],
    )
    Runtime(fake, "float32", RuntimeConfig()).average_gradients([both, there, neither])
    assert both.grad.tolist() == [1, 2]
    assert there.grad is not None and there.grad.tolist() == [3, 3]
    assert neither.grad is None  # else momentum and decay would move it


def test_emulated_bfloat16_is_not_taken_for_the_hardwares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for capable in (True, False):
        monkeypatch.setattr(
            torch.cuda,
            "is_bf16_supported",
            lambda including_emulation=True, capable=capable: including_emulation or capable,
        )
        assert runtime._multiplies_bfloat16("auto") is capable
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert make_runtime(RuntimeConfig(device="cpu")).precision == "float32"  # whatever the GPU beside it can do


def test_what_auto_came_to_is_recorded() -> None:
    provenance.begin()
    runtime = make_runtime(RuntimeConfig(device="cpu"))
    found = provenance.recorded(0)
    assert (found["device"], found["precision"]) == ("cpu", runtime.precision)
    assert found["threads"] == torch.get_num_threads()
    assert "gpu" not in found


def test_placing_keeps_values_and_chooses_channels_last() -> None:
    network = nn.Conv2d(3, 4, 3)
    before = network.weight.clone()
    placed = cpu().place(network)
    assert torch.equal(placed.weight, before)
    assert placed.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_device_that_is_not_there_is_told(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=f"device {device}: no CUDA device is available; use --device cpu"):
        make_runtime(RuntimeConfig(device=device))


def test_average_pools_with_a_border_get_contiguous_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AvgPool2d(3, stride=2, padding=1))
    seen: list[bool] = []
    monkeypatch.setattr(network[1], "forward", lambda images: seen.append(images.is_contiguous()))
    for _ in range(2):  # a network may be placed more than once
        cpu().place(network)
    network(torch.rand(2, 3, 8, 8).contiguous(memory_format=torch.channels_last))
    assert seen == [True] and len(network[1]._forward_pre_hooks) == 1
    assert not cpu().place(nn.AvgPool2d(2))._forward_pre_hooks
