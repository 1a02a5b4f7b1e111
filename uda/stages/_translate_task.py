"""A translator as the training loop wants it, and how a fitted one is kept on disk."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from uda.core import registry
from uda.core.errors import DataError
from uda.core.training import OptimizerConfig, ParameterGroup
from uda.data.batch import Batch, Context
from uda.data.label_space import LabelSpace
from uda.nets import spectral
from uda.segmenters._store import DESCRIPTION, save_segmenter
from uda.translators.base import AVERAGED, AbstractTranslator, Setting

if TYPE_CHECKING:
    from uda.segmenters.base import AbstractSegmenter
    from uda.stages.translate import TranslateConfig


class TranslateTask:
    """The translator's players for the loop.

    Args:
        config: settings of the stage.
        setting: what the translator is built for.
    """

    def __init__(self, config: TranslateConfig, setting: Setting) -> None:
        torch.manual_seed(config.seed)
        self.setting = setting
        method = registry.load("translators", config.translator.name)
        self.translator: AbstractTranslator = method(config.translator, setting)

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """The translator's networks."""
        return self.translator.networks

    def groups(self) -> Mapping[str, Sequence[ParameterGroup]]:
        """One parameter group for each player, in update order."""
        return {name: [ParameterGroup(parameters)] for name, parameters in self.translator.players().items()}

    def optimizers(self) -> dict[str, OptimizerConfig]:
        """Optimiser of each player."""
        return dict(self.translator.config.optimizers)

    def losses(self, player: str, batch: Batch, context: Context) -> dict[str, Tensor]:
        """The translator's terms."""
        return self.translator.losses(player, batch, context)

    def after_step(self, context: Context) -> None:
        """The translator's own bookkeeping."""
        self.translator.after_step(context)

    def finalize(self, batches: Iterable[Batch]) -> None:
        """Give averaged weights what was estimated of others: singular values, then what the translator knows of."""
        for name, network in self.networks.items():
            if name.startswith(AVERAGED):
                spectral.settle(network)
        self.translator.finalize(batches)

    def extra_state(self) -> dict[str, Any]:
        """The translator's state outside its networks."""
        return self.translator.extra_state()

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Restore it."""
        self.translator.load_extra_state(state)


def save_translator(translator: AbstractTranslator, directory: Path, classes: Sequence[str]) -> None:
    """Write `translator.safetensors` (all networks); its settings and classes join what is in `model.json`."""
    tensors = {
        f"{name}/{key}": value.contiguous().cpu().clone()
        for name, network in translator.networks.items()
        for key, value in network.state_dict().items()
    }
    save_file(tensors, directory / "translator.safetensors")
    file = directory / DESCRIPTION
    known = json.loads(file.read_text()) if file.is_file() else {}
    own = {"classes": list(classes), "translator": translator.config.model_dump(mode="json")}
    file.write_text(json.dumps(known | own, indent=2) + "\n")


def other_settings(translator: AbstractTranslator, directory: Path) -> dict[str, tuple[Any, Any]]:
    """Settings of a translator in whose place the saved one was fitted with others: key -> (saved, given).

    Weights of terms, optimisers and schedules are left out: they say how it is fitted, not what it computes.
    """
    saved = json.loads((directory / DESCRIPTION).read_text())["translator"]
    given = translator.config.model_dump(mode="json")
    shared = (saved.keys() & given.keys()) - {"weights", "optimizers", "schedule"}
    return {key: (saved[key], given[key]) for key in sorted(shared) if saved[key] != given[key]}


def save_made_segmenter(translator: AbstractTranslator, directory: Path, space: LabelSpace, space_name: str) -> bool:
    """Write the segmenter that came out of the fit, so that the directory serves as one; False where there is none."""
    made = translator.segmenter_network()
    if made is None:
        return False
    settings, network = made
    method = registry.load("segmenters", settings["name"])
    with torch.random.fork_rng():
        segmenter: AbstractSegmenter = method(method.Config.model_validate(settings), space.num_classes)
    segmenter.network.load_state_dict(network.state_dict())
    save_segmenter(directory, segmenter, list(space.names), space_name, [entry.color for entry in space.classes])
    return True


def load_translator(translator: AbstractTranslator, directory: Path) -> None:
    """Load what `save_translator` wrote into a translator of the same settings.

    Raises:
        DataError: weights are missing or of other shapes.
    """
    file = directory / "translator.safetensors"
    if not file.is_file():
        raise DataError("holds no translator.safetensors", directory, "give the directory of a finished translate")
    tensors = load_file(file)
    for name, network in translator.networks.items():
        own = {key.removeprefix(f"{name}/"): value for key, value in tensors.items() if key.startswith(f"{name}/")}
        try:
            network.load_state_dict(own)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            mend = "use the settings it was fitted with (its config.yaml)"
            raise DataError(f"does not fit the settings: {reason}", file, mend) from error
