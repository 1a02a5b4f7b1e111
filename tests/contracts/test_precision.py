"""Gradients do not depend on where and how they are computed: type, memory format and device.

The reference is a CPU in float32 and contiguous memory. Random numbers are drawn on the CPU throughout.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from tests.contracts.small_translators import CLASSES, build, make_batch, small_guide, stirred, turn
from uda.core import registry
from uda.core.training import OptimizerConfig, ParameterGroup
from uda.data.batch import Batch, Context
from uda.engine.schedules import make_optimizer
from uda.losses.cross_entropy import cross_entropy
from uda.segmenters.base import AbstractSegmenter

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
Case = partial[dict[str, Tensor]]
"""A way -> gradients by network."""

SHORT_FITS = {"skips": True, "residual": True, "noise": True, "discriminator_details": 8.0}
"""What the small recipes switch on, beside `tiny()`."""


class RandomOnCpu(TorchFunctionMode):
    """Draws random numbers on the CPU, whatever device they are asked for, so that devices see the same ones."""

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func in (torch.rand, torch.randn, torch.randint) and kwargs.get("generator") is None:
            device = kwargs.pop("device", None)
            return func(*args, **kwargs).to(device)
        if func in (torch.randn_like, torch.rand_like):
            like: Tensor = args[0]
            draw = torch.randn if func is torch.randn_like else torch.rand
            return draw(like.shape).to(like)
        if func in (F.dropout, F.dropout2d):
            return _dropped(*args, channels=func is F.dropout2d, **kwargs)
        return func(*args, **kwargs)


def _dropped(values: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, *, channels: bool) -> Tensor:
    """Dropout of single values, or of whole channels, that is drawn on the CPU; `inplace` makes no difference here."""
    shape = (*values.shape[:2], *(1 for _ in values.shape[2:])) if channels else values.shape
    kept = torch.rand(shape) >= p if training else torch.ones(shape)
    return values * (kept / (1 - p if training else 1)).to(values)


@dataclass(frozen=True)
class Way:
    """How gradients are computed."""

    device: str = "cpu"
    channels_last: bool = False
    bfloat16: bool = False

    def place(self, network: nn.Module) -> None:
        network.to(self.device)
        if self.channels_last:
            network.to(memory_format=torch.channels_last)

    def batch(self, batch: Batch) -> Batch:
        if self.channels_last:
            return batch.to(torch.device(self.device))
        return Batch(**{name: None if part is None else part.to(self.device) for name, part in vars(batch).items()})

    def autocast(self) -> Any:
        return torch.autocast(self.device, torch.bfloat16) if self.bfloat16 else nullcontext()


def by_network(networks: dict[str, nn.Module], player: str) -> dict[str, Tensor]:
    """The gradients that a player's turn left, those of a network in one vector, on the CPU."""
    found = {}
    for name, network in networks.items():
        gradients = [p.grad.detach().float().cpu().flatten() for p in network.parameters() if p.grad is not None]
        if gradients:
            found[f"{player}: {name}"] = torch.cat(gradients)
    return found


def of_translator(name: str, way: Way, settings: dict[str, Any]) -> dict[str, Tensor]:
    """Gradients of each network in its player's turn."""
    guide = small_guide()
    translator = build(name, guide, **settings)
    generator = torch.Generator().manual_seed(1)
    for network in translator.networks.values():
        stirred(network, generator)
        network.train()
        way.place(network)
    way.place(guide)
    gradients: dict[str, Tensor] = {}
    batch, context = way.batch(make_batch()), Context(images_seen=0, total_images=100)
    with RandomOnCpu():
        for player in translator.players():
            torch.manual_seed(2)
            with way.autocast():
                turn(translator, player, batch, context)
            gradients |= by_network(dict(translator.networks), player)
    return gradients


def of_segmenter(name: str, way: Way) -> dict[str, Tensor]:
    """Gradients of the network under cross-entropy."""
    torch.manual_seed(0)
    cls = registry.load("segmenters", name)
    segmenter: AbstractSegmenter = cls(cls.Config.tiny(), CLASSES)
    network = segmenter.network.train()
    stirred(network, torch.Generator().manual_seed(1))
    way.place(network)
    batch = way.batch(make_batch())
    assert batch.source_images_BCHW is not None and batch.source_labels_BHW is not None
    with RandomOnCpu():
        torch.manual_seed(2)
        with way.autocast():
            loss = cross_entropy(network(batch.source_images_BCHW), batch.source_labels_BHW)
        loss.backward()
    return by_network({name: network}, "segmenter")


def offered(name: str) -> dict[str, Any]:
    fields = registry.load("translators", name).Config.model_fields
    return {key: value for key, value in SHORT_FITS.items() if key in fields and fields[key].annotation is type(value)}


FITTED = [name for name in registry.names("translators") if registry.load("translators", name).needs != "nothing"]
CASES: list[Case] = [
    *(partial(of_translator, name, settings={}) for name in FITTED),
    *(partial(of_translator, name, settings=offered(name)) for name in FITTED if offered(name)),
    *(partial(of_segmenter, name) for name in registry.names("segmenters")),
]


def called(case: Case) -> str:
    return f"{case.args[0]}{'-short' if case.keywords.get('settings') else ''}"


@cache
def reference(case: Case) -> dict[str, Tensor]:
    """What all ways are held against; made once."""
    return case(Way())


def agreement(case: Case, way: Way) -> float:
    """Least cosine, of all networks, between the gradients of a way and the reference's."""
    expected, gradients = reference(case), case(way)
    assert expected.keys() == gradients.keys()
    return min(float(F.cosine_similarity(expected[name], gradients[name], dim=0)) for name in expected)


@pytest.mark.parametrize("case", CASES, ids=called)
def test_memory_format_changes_no_gradient(case: Case) -> None:
    assert agreement(case, Way(channels_last=True)) > 0.999


@pytest.mark.parametrize("case", CASES, ids=called)
def test_bfloat16_keeps_the_direction(case: Case) -> None:
    assert agreement(case, Way(channels_last=True, bfloat16=True)) > 0.8


@needs_gpu
@pytest.mark.parametrize("case", CASES, ids=called)
def test_a_gpu_gives_the_same_gradients(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    assert agreement(case, Way("cuda", channels_last=True)) > 0.9999


@needs_gpu
@pytest.mark.parametrize("case", CASES, ids=called)
def test_bfloat16_keeps_the_direction_on_a_gpu(case: Case) -> None:
    assert agreement(case, Way("cuda", channels_last=True, bfloat16=True)) > 0.7


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_gpu)])
@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd"])
def test_optimizers_move_weights_alike_in_any_memory_format(kind: Literal["adam", "adamw", "sgd"], device: str) -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(3, 5, 5), nn.ReLU(), nn.Conv2d(5, 4, 1))
    fast = copy.deepcopy(plain).to(device).to(memory_format=torch.channels_last)
    config = OptimizerConfig(name=kind, lr=0.01, clip_norm=5)
    described = {"lr": 0.01, "weight_decay": config.weight_decay}
    slow_kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[kind]
    more = {"momentum": config.momentum} if kind == "sgd" else {"betas": config.betas}
    slow = slow_kind(plain.parameters(), fused=False, foreach=False, **described, **more)
    quick = make_optimizer(config, [ParameterGroup(list(fast.parameters()))])
    for _ in range(4):
        images = torch.rand(2, 3, 16, 16)
        for network, optimizer in ((plain, slow), (fast, quick)):
            own = images.to(next(network.parameters()).device)
            optimizer.zero_grad(set_to_none=True)
            network(own.contiguous(memory_format=torch.channels_last)).square().sum().backward()
            nn.utils.clip_grad_norm_(network.parameters(), 5)
            optimizer.step()
    for one, other in zip(plain.parameters(), fast.parameters(), strict=True):
        torch.testing.assert_close(one, other.cpu(), rtol=1e-3, atol=1e-4)
