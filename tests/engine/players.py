"""A tiny game of two players on tiny images, for the loop's tests. It has every kind of state that a resumed run must
restore: weights, Adam's moments, a buffer image kept outside the networks, and randomness in the losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from uda.core.console import Console
from uda.core.rundir import RunDirectory
from uda.core.training import OptimizerConfig, ParameterGroup, RuntimeConfig, ScheduleConfig
from uda.data.augment import Pixels
from uda.data.augment_config import AugmentConfig
from uda.data.batch import Batch, Context
from uda.engine import loop, stream
from uda.engine.runtime import Runtime, make_runtime

SIZE = (4, 6)


class Images:
    """Random 8-bit images and labels that stand for a data set on disk."""

    labelled = True

    def __init__(self, count: int, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self._images = torch.randint(256, (count, 3, *SIZE), generator=generator, dtype=torch.uint8)
        self._labels = torch.randint(5, (count, *SIZE), generator=generator, dtype=torch.uint8)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"image": self._images[index], "label": self._labels[index], "index": torch.tensor(index)}

    def sample_at(self, index: int) -> tuple[Pixels, Pixels]:
        parts = (self._images[index].permute(1, 2, 0).numpy(), self._labels[index].numpy())
        for part in parts:
            part.flags.writeable = False  # as a cache's own are
        return parts


def domain(count: int, *, seed: int = 0, number: int = 0, weights: Sequence[float] | None = None) -> stream.Domain:
    order = stream.Order(weights or [1.0] * count, seed, number)
    images: Any = Images(count, number)  # stands for a data set
    return stream.Domain(images, order, AugmentConfig(), seed, number)


class Game:
    """`maker` recolours source images; `judge` scores target against recoloured ones.

    Args:
        random: use dropout and noise, as real methods do.
        at: called at the start of every turn with player and context.
    """

    def __init__(self, *, random: bool = True, at: Callable[[str, Context], None] | None = None) -> None:
        torch.manual_seed(3)
        self.maker, self.judge = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 1, 1)
        self.random, self.at, self.kept, self.steps = random, at, torch.zeros(3, *SIZE), 0

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        return {"maker": self.maker, "judge": self.judge}

    def groups(self) -> Mapping[str, Sequence[ParameterGroup]]:
        return {name: [ParameterGroup(list(one.parameters()))] for name, one in self.networks.items()}

    def losses(self, player: str, batch: Batch, context: Context) -> dict[str, Tensor]:
        if self.at is not None:
            self.at(player, context)
        source, target = batch.source_images_BCHW, batch.target_images_BCHW
        assert source is not None
        assert target is not None
        if player == "maker":
            seen = nn.functional.dropout(source, 0.3) + 0.1 * torch.randn_like(source) if self.random else source
            made = self.maker(seen)
            context.made["fake"] = made.detach()
            return {"fool": -self.judge(made).mean(), "keep": (made - source).square().mean()}
        fake, kept = (self.judge(images).square().mean() for images in (context.made["fake"], self.kept[None]))
        return {"judge": (self.judge(target) - 1).square().mean() + fake + kept}

    def after_step(self, context: Context) -> None:
        if self.random:
            self.kept = context.made["fake"][0].clone()
        self.steps += 1

    def extra_state(self) -> dict[str, Any]:
        return {"kept": self.kept, "steps": self.steps}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        self.kept, self.steps = state["kept"], int(state["steps"])

    def weights(self) -> dict[str, Tensor]:
        return {f"{n}.{k}": v.clone() for n, one in self.networks.items() for k, v in one.state_dict().items()}


def plan(**changes: Any) -> loop.Plan:
    adam = OptimizerConfig(lr=0.01)
    fields = {
        "title": "game",
        "seed": 5,
        "images": 24,
        "batch": 2,
        "optimizers": {"maker": adam, "judge": adam},
        "schedule": ScheduleConfig(),
        "weights": {"fool": 1.0, "keep": 2.0, "judge": 0.5},
    }
    return loop.Plan(**{**fields, **changes})


def cpu(**changes: Any) -> Runtime:
    return make_runtime(RuntimeConfig.model_validate({"device": "cpu", "precision": "float32", **changes}))


def play(game: Any, out: Path, chosen: loop.Plan | None = None, runtime: Runtime | None = None) -> dict[str, float]:
    """Fit the game in `out.partial`, going on with what is there."""
    chosen, runtime = chosen or plan(), runtime or cpu()
    source, target = domain(5, seed=chosen.seed, number=0), domain(7, seed=chosen.seed, number=1)
    batches = stream.batches(source, target, total=chosen.images, batch=chosen.batch, runtime=runtime)
    run = RunDirectory(out)
    run.path("x")
    return loop.fit(game, chosen, batches, runtime, run, Console(quiet=True))
