"""Which settings somebody has set: those that are away from their defaults, in whatever group they are."""

from __future__ import annotations

from typing import Any

import pytest

from uda.core.config import Config, away_from_default
from uda.core.training import OptimizerConfig, ScheduleConfig


class Inner(Config):
    rate: float = 0.5
    on: bool = True
    pair: tuple[int, int] = (1, 2)


class Outer(Config):
    method: ScheduleConfig
    inner: Inner = Inner(rate=0.25)
    optimizer: OptimizerConfig = OptimizerConfig(name="sgd", lr=2.0)
    part: Inner | None = None
    count: int = 3


def away(keys: tuple[str, ...], **settings: Any) -> dict[str, Any]:
    config = Outer.model_validate({"method": {"name": "step"}, **settings})
    return {".".join(path): default for path, default in away_from_default(config, keys).items()}


EVERY = ("method", "inner", "optimizer", "part", "count")


def test_a_group_stands_for_all_that_is_in_it() -> None:
    assert away(EVERY[1:]) == {}
    set_so = {"inner": {"rate": 0.5, "pair": (2, 2)}, "count": 0}
    assert away(EVERY[1:], **set_so) == {"inner.rate": 0.25, "inner.pair": (1, 2), "count": 3}
    assert away(("inner.pair",), **set_so) == {"inner.pair": (1, 2)}
    assert away(("optimizer",), optimizer={"name": "adam", "lr": 1.0}) == {
        "optimizer.name": "sgd",
        "optimizer.lr": 2.0,
    }


def test_what_is_required_is_held_against_its_own_defaults() -> None:
    assert away(("method.gamma", "method.span"), method={"name": "step", "gamma": 0.1}) == {"method.gamma": 0.5}


@pytest.mark.parametrize("keys", [("part",), ("part.rate",)])
def test_a_part_may_be_there_or_not(keys: tuple[str, ...]) -> None:
    assert away(keys) == {}
    assert away(keys, part={"rate": 0.125}) == {"part.rate": 0.5}


def test_a_setting_of_a_group_may_be_0() -> None:
    assert away(("inner",), inner={"rate": 0, "on": False}) == {}
