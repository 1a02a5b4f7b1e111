"""Settings that every trained method shares: optimiser, schedule, averaged weights. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, Self, TypeVar

from pydantic import Field, field_validator, model_validator

from uda.core.config import Config, Precision, refusal
from uda.core.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

_Decay = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that share a learning-rate multiplier and a weight decay (None: the optimiser's own)."""

    parameters: Sequence[nn.Parameter]
    lr_multiplier: float = 1.0
    weight_decay: float | None = None


C = TypeVar("C", bound=Config)
_READERS = {"momentum": ("sgd",), "betas": ("adam", "adamw"), "power": ("poly",), "constant": ("linear_tail",)}
_READERS |= {"step": ("step",), "gamma": ("step",)}
"""Which kinds of optimisers and schedules read a setting, for those that not all do."""


def idle_keys(kind: str, keys: Iterable[str]) -> list[str]:
    """Those of an optimiser's or a schedule's settings that the kind which its `name` chooses does not read."""
    return [key for key in keys if kind not in _READERS.get(key, (kind,))]


def _refuse_idle(config: C) -> C:
    """Refuse what is set to other than its default and of no use to the kind that `name` chooses."""
    fields, plain = type(config).model_fields, config.model_dump()
    told: dict[tuple[str, ...], str] = {
        (key,): f"does nothing with {plain['name']}, only with {' and '.join(_READERS[key])}: leave it out"
        for key in idle_keys(plain["name"], fields)
        if plain[key] != fields[key].default
    }
    if told:
        raise refusal(told)
    return config


class OptimizerConfig(Config):
    """One player's optimiser."""

    name: Literal["adam", "adamw", "sgd"] = "adam"
    """Adam, AdamW or SGD."""
    lr: float = Field(default=1e-4, gt=0)
    """Base learning rate; parameter groups may multiply it."""
    betas: tuple[_Decay, _Decay] = (0.5, 0.999)
    """Adam's and AdamW's moment decay."""
    momentum: float = Field(default=0.9, ge=0)
    """SGD's momentum."""
    weight_decay: float = Field(default=0.0, ge=0)
    """L2 penalty (Adam, SGD) or decoupled decay (AdamW)."""
    clip_norm: float | None = Field(default=None, gt=0)
    """Largest gradient norm of the player's parameters; None clips nothing."""

    @model_validator(mode="after")
    def _all_is_read(self) -> Self:
        return _refuse_idle(self)


class ScheduleConfig(Config):
    """The learning rate's factor as a function of progress in [0, 1]."""

    name: Literal["constant", "poly", "linear_tail", "step"] = "poly"
    """`poly`: (1 - p)^power. `linear_tail`: 1, then linearly to 0. `step`: gamma^floor(p / step)."""
    power: float = Field(default=0.9, ge=0)
    """Exponent of `poly`."""
    constant: float = Field(default=0.5, ge=0, le=1)
    """Part of the run at factor 1 before `linear_tail` falls."""
    step: float = Field(default=0.1, gt=0)
    """Part of the run between two drops of `step`."""
    gamma: float = Field(default=0.5, gt=0)
    """Factor of each drop of `step`."""
    warmup: float = Field(default=0.0, ge=0, lt=1)
    """Part of the run in which the factor rises linearly from 0 to the schedule's own."""
    span: float = Field(default=1.0, ge=1)
    """The schedule spans this many times the run: public recipes stop early (poly over 250k, stopped at 120k)."""

    @model_validator(mode="after")
    def _all_is_read(self) -> Self:
        return _refuse_idle(self)

    def factor(self, progress: float) -> float:
        """The factor at `progress` in [0, 1] (images seen over images in all)."""
        return min(1.0, progress / self.warmup if self.warmup else 1.0) * self._shape(progress / self.span)

    def _shape(self, position: float) -> float:
        if self.name == "poly":
            return float((1 - min(position, 1.0)) ** self.power)
        if self.name == "linear_tail":
            return min(1.0, max(0.0, (1 - position) / max(1 - self.constant, 1e-12)))
        if self.name == "step":
            return float(self.gamma ** int(position / self.step + 1e-9))  # 0.3 / 0.1 is 2.9999999999999996
        return 1.0


class RuntimeConfig(Config):
    """How a stage runs on this machine; of these only the precision is part of what comes out."""

    runtime_only = frozenset({"device", "workers", "cache_mb", "checkpoint_seconds", "tensorboard"})

    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:N`."""
    precision: Precision = "auto"
    """`bfloat16`: autocast; `float32`: none; `auto`: bfloat16 where the hardware is faster in it."""
    workers: int = Field(default=0, ge=0)
    """Processes that read and augment images, no more of them than there are cores, or draw mini-city's; 0 does it in
    the stage's own process."""
    cache_mb: float = Field(default=1024.0, ge=0)
    """Memory for resized images that are read again and again, each domain's of a fit above all, in each process that
    reads them, in MB (10^6 bytes): what does not fit is read and resized anew each time. An image with its label takes
    2.1 MB at 512x1024; 0 keeps none."""
    checkpoint_seconds: float = Field(default=120.0, ge=0)
    """A checkpoint at least this often."""
    tensorboard: bool = False
    """Write TensorBoard event files below the stage directory (`tensorboard/`)."""

    @field_validator("device")
    @classmethod
    def _is_a_device(cls, device: str) -> str:
        kind, colon, number = device.partition(":")
        if device not in ("auto", "cpu", "cuda") and not (kind == "cuda" and colon and number.isdecimal()):
            raise ValueError(f"'{device}' is no device, use auto, cpu, cuda or cuda:N")
        return device


class FitConfig(Config):
    """How long a fit is."""

    images: int = Field(default=1000, ge=0)
    """Images of one domain to see in all, over all processes; 0 keeps a segmenter as `--init` gives it."""
    batch: int = Field(default=1, ge=1)
    """Images of one domain in a step, over all processes."""


def share_of(batch: int, processes: int, *, least: int = 1) -> int:
    """Images of a step that each process takes.

    Args:
        batch: images in a step.
        processes: of the launch.
        least: images that the network needs at once.

    Raises:
        ConfigError: the processes cannot share a batch equally, or a share is too small.
    """
    share, rest = divmod(batch, processes)
    if rest:
        what = f"{batch} images cannot be shared equally by {processes} processes"
        raise ConfigError(what, "fit.batch", f"use a multiple of {processes}")
    if share < least:
        what = f"BatchNorm behind a global pooling needs {least} images at once in each process, and gets {share}"
        raise ConfigError(what, "fit.batch", f"use {least * processes} or more, or norm: frozen")
    return share
