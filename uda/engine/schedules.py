"""Optimisers of a player's parameter groups, and their learning rates over the run."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from uda.core.training import OptimizerConfig, ParameterGroup, ScheduleConfig


def make_optimizer(config: OptimizerConfig, groups: Sequence[ParameterGroup]) -> torch.optim.Optimizer:
    """The optimiser of one player; each parameter group remembers its base rate as `base_lr`."""
    described = [
        {
            "params": list(group.parameters),
            "lr": config.lr * group.lr_multiplier,
            "base_lr": config.lr * group.lr_multiplier,
            "weight_decay": config.weight_decay if group.weight_decay is None else group.weight_decay,
        }
        for group in groups
        if group.parameters
    ]
    if config.name == "sgd":
        return torch.optim.SGD(described, lr=config.lr, momentum=config.momentum, fused=True)
    kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
    return kind(described, lr=config.lr, betas=config.betas, fused=True)


def set_rate(optimizer: torch.optim.Optimizer, schedule: ScheduleConfig, progress: float) -> None:
    """Set every group's learning rate for `progress` in [0, 1]: a function of images seen, so resuming is exact."""
    factor = schedule.factor(progress)
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
