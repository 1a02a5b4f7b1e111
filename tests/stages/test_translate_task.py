"""What a translator's fit ends with."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from uda.stages import _translate_task as tasks
from uda.stages.translate import TranslateConfig
from uda.translators.base import AVERAGED, Setting
from uda.translators.oasis import OasisConfig


def _largest_singular_value(layer: nn.Module) -> float:
    assert isinstance(layer.weight, Tensor)
    return float(torch.linalg.matrix_norm(layer.weight.flatten(1), ord=2))


def test_averaged_weights_render_divided_by_their_own_singular_values() -> None:
    config = TranslateConfig(translator=OasisConfig.tiny().model_copy(update={"ema": 0.9}), size=(64, 128))
    task = tasks.TranslateTask(config, Setting(3))
    average = task.networks[AVERAGED + "generator"].eval()
    layers = [layer for layer in average.modules() if parametrize.is_parametrized(layer, "weight")]
    torch.manual_seed(0)
    for one in average.modules():
        if isinstance(one, parametrize.ParametrizationList):
            nn.init.normal_(one.original)
    for wanted, settled in ((0.05, False), (1e-2, True)):
        if settled:
            task.finalize([])
        away = [abs(_largest_singular_value(layer) - 1) for layer in layers]
        assert layers and (max(away) < wanted) is settled
