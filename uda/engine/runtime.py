"""Devices, precision and processes, through Accelerate.

A command starts alone or under `accelerate launch` / `torchrun`; this is the only place that knows which.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import InitProcessGroupKwargs, gather_object
from torch import Tensor, nn

from uda.core import provenance
from uda.core.errors import ConfigError
from uda.core.training import RuntimeConfig

M = TypeVar("M", bound=nn.Module)
_PATIENCE = timedelta(hours=24)
"""How long processes wait for each other: for one that indexes a data set or scores alone, the default is too short."""


def _contiguous(_: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
    """Before an average pool with a border, as encoders of smp and timm may have: see `uda.nets.blocks.halved`."""
    return (inputs[0].contiguous(),)


def _multiplies_bfloat16(device: str) -> bool:
    if not on_cpu(device):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    processor = Path("/proc/cpuinfo")
    if not (torch.backends.cpu.get_cpu_capability().startswith("AVX512") and processor.is_file()):
        return False
    says = processor.read_text()
    # Intel's tiles multiply it; without them (older, or hidden by a virtual machine) its AVX-512 takes half as long
    # again as for float32. AMD's takes less.
    return ("amx_bf16" if "GenuineIntel" in says else "avx512_bf16") in says


@dataclass
class Runtime:
    """The device, precision and processes of this run."""

    accelerator: Accelerator
    precision: str
    config: RuntimeConfig

    @property
    def device(self) -> torch.device:
        """Where tensors live."""
        device: torch.device = self.accelerator.device
        # With several processes Accelerate numbers the CPU (`cpu:1`), to which torch.load can restore nothing.
        return torch.device("cpu") if device.type == "cpu" else device

    @property
    def rank(self) -> int:
        """Number of the process."""
        return int(self.accelerator.process_index)

    @property
    def processes(self) -> int:
        """Processes in all."""
        return int(self.accelerator.num_processes)

    @property
    def is_main(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    def autocast(self) -> AbstractContextManager[Any]:
        """Autocast to bfloat16, or nothing in float32."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")

    def place(self, network: M) -> M:
        """The network on the device in channels_last memory format (faster convolutions, same numbers)."""
        placed: M = network.to(  # type: ignore[call-overload]  # torch's types know either alone
            device=self.device, memory_format=torch.channels_last
        )
        for module in placed.modules():
            bordered = isinstance(module, nn.AvgPool2d) and module.padding not in (0, (0, 0))
            if bordered and _contiguous not in module._forward_pre_hooks.values():
                module.register_forward_pre_hook(_contiguous)
        return placed

    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Mean of the gradients over all processes, in one flat message.

        Done by hand instead of by DistributedDataParallel: players of a GAN take turns, so most parameters have no
        gradient in a given backward pass.
        """
        if self.processes == 1:
            return
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
        here = torch.tensor([p.grad is not None for p in parameters], device=gradients[0].device)
        flat = torch.cat([*(gradient.reshape(-1) for gradient in gradients), here.float()])
        mean: Tensor = self.accelerator.reduce(flat, reduction="mean")
        *parts, anywhere = torch.split(mean, [*(gradient.numel() for gradient in gradients), len(gradients)])
        for parameter, part, known in zip(parameters, parts, anywhere.tolist(), strict=True):
            # Without one on any process the optimiser leaves the parameter alone, as it does in one process.
            # In the parameter's own memory format: fused optimisers walk both in step.
            parameter.grad = torch.empty_like(parameter).copy_(part.view_as(parameter)) if known else None

    def average_statistics(self, networks: Iterable[nn.Module]) -> None:
        """Mean of BatchNorm's running statistics over all processes, each of which has seen its own images."""
        if self.processes == 1:
            return
        for network in networks:
            for name, buffer in network.named_buffers():
                if name.rpartition(".")[2] in ("running_mean", "running_var"):
                    buffer.copy_(self.accelerator.reduce(buffer, reduction="mean"))

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Whether each flag is set on any process (all of them then act alike); they are asked once for all flags."""
        if self.processes == 1:
            return flags
        here = torch.tensor([float(flag) for flag in flags], device=self.device)
        counts: Tensor = self.accelerator.reduce(here, reduction="sum")
        return tuple(count > 0 for count in counts.tolist())

    def gather(self, items: Sequence[Any]) -> list[Any]:
        """Items of all processes, in order of rank, on every process."""
        return list(items) if self.processes == 1 else list(gather_object(list(items)))


_preferred_gpu: int | None = None


def prefer_gpu(number: int) -> None:
    """Have this process take GPU `number`, counted from 0, where a device of `auto` or `cuda` names none."""
    global _preferred_gpu
    _preferred_gpu = number


def _gpu_number(device: str) -> int | None:
    """The GPU to take: the one that is named, else the preferred one, else None, which leaves it to torch."""
    kind, _, number = device.partition(":")
    if kind == "cpu":
        return None
    return int(number) if number else _preferred_gpu


def on_cpu(device: str) -> bool:
    """Whether a device of that name is the CPU here."""
    return device == "cpu" or not torch.cuda.is_available()


def make_runtime(config: RuntimeConfig) -> Runtime:
    """Set up the device, or say why it cannot be had.

    Raises:
        ConfigError: a CUDA device is asked for and there is none.
    """
    wanted = config.device
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError("no CUDA device is available", f"device {wanted}", "use --device cpu or auto")
    if (number := _gpu_number(wanted)) is not None:
        torch.cuda.set_device(number)
    precision = config.precision
    if precision == "auto":
        precision = "bfloat16" if _multiplies_bfloat16(wanted) else "float32"
    accelerator = Accelerator(cpu=on_cpu(wanted), kwargs_handlers=[InitProcessGroupKwargs(timeout=_PATIENCE)])
    runtime = Runtime(accelerator, precision, config)
    provenance.note(device=runtime.device.type, precision=precision, threads=torch.get_num_threads())
    if runtime.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(runtime.device)
        provenance.note(
            gpu=torch.cuda.get_device_name(runtime.device),
            peak_gpu_memory_mb=lambda: torch.cuda.max_memory_allocated(runtime.device) >> 20,
        )
    return runtime


def free_memory() -> None:
    """Let go of what nothing holds any more; on a GPU give it back too, to other processes that share the device."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def wait_for_all(device: str) -> None:
    """Wait until every process of the launch is here."""
    PartialState(cpu=on_cpu(device), timeout=_PATIENCE).wait_for_everyone()
