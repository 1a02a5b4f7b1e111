"""The contract of a translator: the file a newcomer writes.

A translator file defines `class NAMEConfig(TranslatorConfigBase)` and `class NAME(AbstractTranslator)` with
`Config = NAMEConfig`. It must be importable without torch (use `lazy_import` for torch and `uda.nets`), so that
configurations can be read and checked in an instant. `tests/contracts/test_translators.py` picks it up by itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import field_validator

from uda.core.config import MethodConfig, away_from_default, refusal
from uda.core.errors import ConfigError, nearest
from uda.core.training import OptimizerConfig, ScheduleConfig

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from uda.data.batch import Batch, Context
    from uda.nets.segmenter import SegmenterNetwork

Needs = Literal["nothing", "unpaired", "target_maps", "pairs", "few_pairs"]
Direction = Literal["source_to_target", "target_to_source", "target_to_target"]
"""Whose images are rendered, and what they shall look like. `target_to_target`: target images made anew in another look
out of label maps that the translator itself finds in them; their own labels stay closed."""

AVERAGED = "averaged_"
"""Prefix of the averaged copy of a network."""


@dataclass(frozen=True)
class Setting:
    """What a translator is built for.

    Attributes:
        num_classes: classes of the label space.
        guide: images_BCHW in [-1, 1] -> logits_BNHW at the images' size; a frozen segmenter in eval mode through
            which gradients pass to the images. Never part of the translator's state. None where there is none.
        target_guide: the same for images that look like the target's; None: `guide` is asked about those too.
        class_names: of the label space in index order; empty where nobody can name classes.
        fits: whether it is fitted; false where one that is fitted already only renders.
    """

    num_classes: int
    guide: Callable[[Tensor], Tensor] | None = None
    target_guide: Callable[[Tensor], Tensor] | None = None
    class_names: Sequence[str] = ()
    fits: bool = True

    def guide_of(self, domain: str) -> Callable[[Tensor], Tensor] | None:
        """Whom to ask about images that look like "source" or "target"."""
        return (self.target_guide or self.guide) if domain == "target" else self.guide

    def class_index(self, given: int | str, key: str) -> int:
        """Index of a class that a setting gives by name or by index.

        Args:
            given: a name of `class_names`, or an index.
            key: of the setting, for the message.

        Raises:
            ConfigError: there is no such class; the nearest name is told.
        """
        if isinstance(given, str):
            if given not in self.class_names:
                raise ConfigError(f"no class '{given}' in the label space", key, nearest(given, self.class_names))
            return self.class_names.index(given)
        if not 0 <= given < self.num_classes:
            what = f"no class has index {given}: the label space has {self.num_classes}"
            mend = f"give a class's name or an index up to {self.num_classes - 1}; `uda show LABEL_SPACE` lists them"
            raise ConfigError(what, key, mend)
        return given


@dataclass(frozen=True)
class Least:
    """The smallest images that a method's networks can take.

    Attributes:
        side: pixels of the shorter side.
        pixels: height times width.
        instead: what else helps than larger images, as a message says it after "or"; empty where nothing does.
    """

    side: int = 1
    pixels: int = 1
    instead: str = ""


@dataclass(frozen=True)
class Translation:
    """A translated batch: images_BCHW in [-1, 1] at the input's size, and labels_BHW where known.

    They are the input's labels, carried along, or those of a translated map.
    """

    images_BCHW: Tensor
    labels_BHW: Tensor | None = None


class TranslatorConfigBase(MethodConfig):
    """What every fitted translator's settings hold beside its own: optimisers by player, schedule, weights.

    A method's default `optimizers` name all its players; others are refused.
    """

    optimizers: Mapping[str, OptimizerConfig] = {}
    """One optimiser for each player."""
    schedule: ScheduleConfig = ScheduleConfig()
    """Learning rate over the run, for all players."""

    @field_validator("optimizers", mode="before")
    @classmethod
    def _players_are_there(cls, given: Any) -> Any:
        """Refuse players that the method's default does not name: their settings would do nothing."""
        known: Mapping[str, Any] = cls.model_fields["optimizers"].get_default(call_default_factory=True)
        unknown = [key for key in given if key not in known] if isinstance(given, Mapping) else []
        if unknown:
            none = "there are no players, leave it out"
            raise refusal(
                {(str(one),): f"no such player, {nearest(str(one), known)}" if known else none for one in unknown}
            )
        return given

    def require_default(self, where: str, *keys: str) -> None:
        """Refuse settings that are away from their defaults where nothing reads them.

        Args:
            where: why nothing does, as the message says it after "where".
            keys: of the settings; `weights.TERM` too, which may be 0 as well.

        Raises:
            ValidationError: some are set.
        """
        told = {}
        for path, default in away_from_default(self, keys).items():
            shown = list(default) if isinstance(default, tuple) else default
            told[path] = f"does nothing where {where}: leave it out, or set it to {shown}"
        if told:
            raise refusal(told)

    def unread(self) -> dict[str, str]:
        """Settings that nothing reads as it is configured, each with why; they are refused as options of a command.

        Recipes may hold them, so that a part can be switched off over one; what none holds, `require_default` refuses.
        By default `statistics_batches` where no weights are averaged (`ema`).
        """
        averages = getattr(self, "ema", 0) is not None
        return {} if averages else {"statistics_batches": "translator.ema is null"}

    @property
    def term_weights(self) -> dict[str, float]:
        """Weight of each loss term by name; 0 switches a term off. Empty for a method without players."""
        weights = getattr(self, "weights", None)
        return {} if weights is None else dict(weights)


class AbstractTranslator(ABC):
    """Turns source images (or label maps) into target-looking images.

    Class attributes:
        Config: settings class, a `TranslatorConfigBase`.
        needs: what it is fitted on.
        translates: "image", "label" or "both": what of the source it reads when rendering.
        size_multiple: image height and width must be divisible by this.
        directions: which ways it renders.
        pairs_are_few: whether it is made for true labels on a few target images, not for pseudo-labels on all.
    """

    Config: ClassVar[type[TranslatorConfigBase]]
    needs: ClassVar[Needs]
    translates: ClassVar[Literal["image", "label", "both"]] = "image"
    size_multiple: ClassVar[int] = 1
    directions: ClassVar[tuple[Direction, ...]] = ("source_to_target",)
    pairs_are_few: ClassVar[bool] = False

    config: Any
    networks: Mapping[str, nn.Module]
    """All networks by name, averaged copies too; the guide is none of them."""

    @abstractmethod
    def __init__(self, config: Any, setting: Setting) -> None:
        """Build the networks.

        Raises:
            ConfigError: the setting lacks what the configuration asks for (a guide, say).
        """

    @classmethod
    def multiple_of(cls, config: Any) -> int:
        """What image height and width must be divisible by as configured."""
        return cls.size_multiple

    @classmethod
    def smallest(cls, config: Any, *, batch: int | None = None) -> Least:
        """The smallest images that the networks can take as configured, told without building them.

        By default any that `multiple_of` divides.

        Args:
            config: the method's settings.
            batch: images that one process learns from in a step; None: of images that are rendered.
        """
        return Least()

    @classmethod
    def requires_guide(cls, config: Any) -> bool:
        """Whether it cannot be fitted without a guide when configured so.

        By default where its weights have `symmetric_ce` and it is on.
        """
        return bool(config.term_weights.get("symmetric_ce"))

    @classmethod
    def renders_guided(cls, config: Any) -> bool:
        """Whether rendering asks the guide too when configured so, not fitting alone."""
        return False

    @classmethod
    def varies(cls, config: Any) -> bool:
        """Whether one input has several renders as configured: by noise, or by the target image drawn for it.

        By default where the settings have `noise` and it is on.
        """
        return bool(getattr(config, "noise", False))

    @classmethod
    def one_by_one(cls, config: Any) -> bool:
        """Whether images are rendered one by one, so that none depends on those that are read beside it.

        By default where a render is drawn at random (`varies`).
        """
        return cls.varies(config)

    @classmethod
    def takes_references(cls, config: Any) -> bool:
        """Whether rendering looks at an image of the other domain, drawn for each: for its style or colours, say."""
        return False

    @classmethod
    def files(cls, config: Any) -> dict[str, Path]:
        """Files that fitting reads as configured, by their settings' keys."""
        return {}

    @classmethod
    def check_files(cls, config: Any) -> None:
        """Open those files before a fit starts, and see that they hold what the settings say. Nothing by default.

        Raises:
            ConfigError: one holds something else.
            DataError: one cannot be read.
        """
        return

    @classmethod
    def check_classes(cls, config: Any, setting: Setting) -> None:
        """See before anything runs that the classes which the settings name are there. Nothing by default.

        Raises:
            ConfigError: the label space has no such class.
        """
        return

    def players(self) -> dict[str, list[nn.Parameter]]:
        """Trainable parameters of each player, in update order; empty for a method that is not fitted.

        By default `generator`, then `discriminator`: the networks whose name starts so. The generator owns all others
        but averaged copies. Who owns none is no player.
        """
        owned: dict[str, list[nn.Parameter]] = {"generator": [], "discriminator": []} if self.networks else {}
        for name, network in self.networks.items():
            if not name.startswith(AVERAGED):
                owned["discriminator" if name.startswith("discriminator") else "generator"] += network.parameters()
        return {player: own for player, own in owned.items() if own}

    @abstractmethod
    def losses(self, player: str, batch: Batch, context: Context) -> dict[str, Tensor]:
        """Unweighted scalar terms of one player's turn.

        Fakes made in an earlier turn of this iteration are kept in `context.made` and used again. Terms whose weight
        is 0 need not be computed; all names returned are keys of `config.term_weights`.
        """

    @abstractmethod
    def translate(
        self, batch: Batch, *, generator: torch.Generator, direction: Direction = "source_to_target"
    ) -> Translation:
        """Render a batch; random only through `generator`. Called without gradients, in eval mode."""

    def after_step(self, context: Context) -> None:
        """Called after all players' turns (averaged weights, lazy regulariser phases). Nothing by default."""
        return

    def finalize(self, batches: Iterable[Batch]) -> None:
        """Called once after fitting, before rendering (BatchNorm re-estimation). Nothing by default."""
        return

    def swap_guidance(self, batch: Batch) -> Translation | None:
        """Each source image translated with the guidance of its neighbour in the batch; None where unguided."""
        return None

    def segmenter_network(self) -> tuple[dict[str, Any], SegmenterNetwork] | None:
        """Settings and network of a segmenter that came out of the fit (a discriminator that segments), or None."""
        return None

    def extra_state(self) -> dict[str, Any]:
        """State that is not in `networks` (image buffers, counters): tensors and plain values only."""
        return {}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `extra_state` gave."""
        return
