from __future__ import annotations

import pytest
import torch
from torch import nn

from uda.core.training import OptimizerConfig, ParameterGroup, ScheduleConfig
from uda.engine.schedules import make_optimizer, set_rate


def groups() -> list[ParameterGroup]:
    one, ten, none = (nn.Parameter(torch.ones(2)) for _ in range(3))
    return [
        ParameterGroup([one]),
        ParameterGroup([ten], lr_multiplier=10),
        ParameterGroup([]),
        ParameterGroup([none], weight_decay=0),
    ]


@pytest.mark.parametrize(
    ("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)]
)
def test_the_named_optimiser_is_made_with_its_settings(name: str, kind: type[torch.optim.Optimizer]) -> None:
    own = {"momentum": 0.7} if name == "sgd" else {"betas": (0.3, 0.4)}
    config = OptimizerConfig.model_validate({"name": name, "lr": 0.2, "weight_decay": 0.01, **own})
    optimizer = make_optimizer(config, groups())
    assert type(optimizer) is kind
    assert [group["lr"] for group in optimizer.param_groups] == [0.2, 2.0, 0.2]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.01, 0.01, 0]
    for group in optimizer.param_groups:
        assert group["momentum"] == 0.7 if name == "sgd" else group["betas"] == (0.3, 0.4)


def test_rates_are_set_from_the_base_and_not_from_the_last_rate() -> None:
    optimizer = make_optimizer(OptimizerConfig(name="sgd", lr=0.2), groups())
    schedule = ScheduleConfig(name="poly", power=1)
    for progress in (0.5, 0.0, 0.75, 1.0):
        set_rate(optimizer, schedule, progress)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx(
            [0.2 * (1 - progress), 2 * (1 - progress), 0.2 * (1 - progress)]
        )


def test_rates_survive_a_state_round_trip() -> None:
    first = make_optimizer(OptimizerConfig(name="sgd", lr=0.2), groups())
    set_rate(first, ScheduleConfig(power=1), 0.5)
    second = make_optimizer(OptimizerConfig(name="sgd", lr=0.2), groups())
    second.load_state_dict(first.state_dict())
    set_rate(second, ScheduleConfig(power=1), 0.25)
    assert second.param_groups[1]["lr"] == pytest.approx(1.5)
