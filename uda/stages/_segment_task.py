"""What `uda segment` optimises: cross-entropies of both domains and, against it, an output-space adversary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from uda.core import registry
from uda.core.training import OptimizerConfig, ParameterGroup
from uda.data.augment import augment_colors
from uda.data.batch import Batch, Context
from uda.losses.cross_entropy import cross_entropy
from uda.nets.segmenter import SegmenterNetwork

if TYPE_CHECKING:
    from uda.adversaries.base import AbstractAdversary
    from uda.segmenters.base import AbstractSegmenter
    from uda.stages.segment import SegmentConfig

_COLOR_SALT = 0x5EED
"""Parts the augmentation's random numbers from those of dropout."""


class SegmentTask:
    """A segmenter and perhaps its adversary, as the training loop wants them.

    Players: `segmenter` first, then `discriminator` on the outputs that the segmenter's turn left behind.

    Args:
        config: settings of the stage.
        num_classes: of the label space.
    """

    def __init__(self, config: SegmentConfig, num_classes: int) -> None:
        torch.manual_seed(config.seed)
        self._config = config
        segmenter = registry.load("segmenters", config.segmenter.name)
        self.segmenter: AbstractSegmenter = segmenter(config.segmenter, num_classes)
        self.adversary: AbstractAdversary | None = None
        if config.adversary is not None:
            self.adversary = registry.load("adversaries", config.adversary.name)(config.adversary, num_classes)

    @property
    def network(self) -> SegmenterNetwork:
        """The segmentation network."""
        return self.segmenter.network

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """The segmenter and the discriminators."""
        return {"segmenter": self.network, **(self.adversary.networks if self.adversary else {})}

    def groups(self) -> Mapping[str, Sequence[ParameterGroup]]:
        """Parameter groups of the players, in update order."""
        players: dict[str, Sequence[ParameterGroup]] = {"segmenter": self.segmenter.parameter_groups()}
        if self.adversary is not None:
            own = [p for network in self.adversary.networks.values() for p in network.parameters()]
            players["discriminator"] = [ParameterGroup(own)]
        return players

    def optimizers(self) -> dict[str, OptimizerConfig]:
        """Optimiser of each player."""
        own = {"segmenter": self._config.optimizer}
        if self._config.adversary is not None:
            own["discriminator"] = self._config.adversary.optimizer  # type: ignore[attr-defined]  # of its base
        return own

    def losses(self, player: str, batch: Batch, context: Context) -> dict[str, Tensor]:
        """Terms of one player's turn, unweighted."""
        if player == "discriminator":
            assert self.adversary is not None
            return self.adversary.discriminator_losses(context.made["source"], context.made["target"])
        source, target = self._levels(batch)
        assert batch.source_labels_BHW is not None
        terms = _cross_entropies("segmentation", source, batch.source_labels_BHW)
        if target is not None and batch.target_labels_BHW is not None:
            terms |= _cross_entropies("pseudo", target, batch.target_labels_BHW)
        if self.adversary is not None and target is not None:
            terms |= self.adversary.segmenter_losses(target)
            context.made["source"] = {name: logits.detach() for name, logits in source.items()}
            context.made["target"] = {name: logits.detach() for name, logits in target.items()}
        return terms

    def after_step(self, context: Context) -> None:
        """Nothing to do."""
        return

    def extra_state(self) -> dict[str, Any]:
        """No state outside the networks."""
        return {}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """No state outside the networks."""
        return

    def _levels(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor] | None]:
        """Logits of both domains, level by level."""
        source, target = batch.source_images_BCHW, batch.target_images_BCHW
        assert source is not None
        generator = torch.Generator(source.device).manual_seed(torch.initial_seed() ^ _COLOR_SALT)
        source = augment_colors(source, self._config.augment, generator, batch.source_labels_BHW)
        if target is None:
            return self.network.levels(source), None
        target = augment_colors(target, self._config.augment, generator)
        if not self._config.joint_batch:
            return self.network.levels(source), self.network.levels(target)
        both = self.network.levels(torch.cat((source, target)))
        count = len(source)
        return {k: v[:count] for k, v in both.items()}, {k: v[count:] for k, v in both.items()}


def _cross_entropies(term: str, levels: Mapping[str, Tensor], labels_BHW: Tensor) -> dict[str, Tensor]:
    return {
        term if level == "main" else f"{term}_{level}": cross_entropy(logits, labels_BHW)
        for level, logits in levels.items()
    }
