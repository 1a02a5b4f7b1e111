"""Trials of a plan's steps on this machine, each made once, when its outcome is first asked for."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from uda.core.config import Size, digest, settings_that_matter
from uda.core.errors import ConfigError, DataError, RunError, UdaError
from uda.core.lazy import lazy_import
from uda.cost.sets import Images, Sets
from uda.pipeline import Planned, Source

if TYPE_CHECKING:
    import torch

    from uda.cost import reading
    from uda.data.augment_config import AugmentConfig
    from uda.stages import trial
    from uda.stages.prepare import PrepareConfig
    from uda.stages.quality import QualityConfig
else:
    torch = lazy_import("torch")
    reading = lazy_import("uda.cost.reading")
    trial = lazy_import("uda.stages.trial")

T = TypeVar("T")
_TOLD = 100
"""Characters of a reason that are told."""
_NO_MATTER_OF_SPEED = frozenset(
    (
        *("seed", "schedule", "interpolation", "target_statistics", "statistics_prior"),
        *("render_size", "render_batch", "samples", "render_target", "recreate_target", "grid_rows"),
        *("supervision", "rare_classes", "target_candidates", "rows", "guide_statistics", "guide_prior"),
    )
)
"""Settings of a fit that change nothing of the steps of a trial; nor does its length."""


class UnmeasuredError(Exception):
    """A trial failed, so that nobody knows how long its step takes: shortly, why."""


class Trials:
    """What this machine takes for the steps of a plan.

    Args:
        sets: the plan's images.
    """

    def __init__(self, sets: Sets) -> None:
        self.sets = sets
        self._known: dict[Hashable, Any] = {}

    def speed(self, one: Planned) -> trial.Speed:
        """Speed of a fit, and of the network that it leaves.

        Raises:
            ConfigError: settings that no check without torch could refuse.
            RunError: the fit has no room on this machine.
            UnmeasuredError: its trial failed.
        """
        guide = self._guide(one)
        with_target = learns_from_target(one)
        return self._once(_speed_key(one, with_target, guide), lambda: _speed(one, with_target, guide))

    def forward(self, source: Source, size: Size, config: Any) -> float:
        """Seconds to run an image of that size through the segmenter that is a step's input.

        Args:
            source: the input.
            size: height and width of the images.
            config: the step's settings; those of the fit count where that is in the plan.

        Raises:
            UnmeasuredError: its trial failed.
        """
        maker = self.sets.maker(source)
        if maker is not None:
            each = self.speed(maker).forward
        else:
            key = (source.path, size, config.runtime.device)
            each = self._tried(key, lambda: trial.segmenter_speed(source.path, size, config))
        return each * size[0] * size[1]

    def reading(self, images: Images, view: reading.View) -> float:
        """Seconds to read an image as a step sees it.

        Raises:
            UnmeasuredError: none could be read.
        """
        if not images.count:
            return 0.0
        return self._tried((_likeness(images), view), lambda: reading.measure_reading(images, view))

    def augmenting(self, size: Size, augment: AugmentConfig) -> float:
        """Seconds to augment an image of that height and width with its label, on the CPU."""
        return self._tried((size, augment), lambda: reading.measure_augmenting(size, augment))

    def writing(self, size: Size) -> float:
        """Seconds to write an image of that height and width with its label."""
        return self._tried(("writing", size), lambda: reading.measure_writing(size))

    def checking(self, images: Images, config: PrepareConfig) -> float:
        """Seconds for a thread of `prepare` to check an image with its label.

        Raises:
            UnmeasuredError: none could be read.
        """
        key = (_likeness(images), config.dataset, config.label_space)
        return self._tried(key, lambda: reading.measure_checking(images, config))

    def looking(self, images: Images, config: QualityConfig) -> float:
        """Seconds for `quality` to read an image and measure it.

        Raises:
            UnmeasuredError: that failed.
        """
        key = (_likeness(images), digest(settings_that_matter(config)), config.runtime.device)
        return self._tried(key, lambda: reading.measure_looking(images, config))

    def _guide(self, one: Planned) -> Planned | Path | None:
        """The step whose network guides a translator, or the place of one that is there already."""
        source = one.inputs.get("guide")
        return None if source is None else self.sets.maker(source) or source.path

    def _tried(self, key: Hashable, measure: Callable[[], T]) -> T:
        """The same as `_once` for what is no reason to stop when it goes wrong, whatever that is."""

        def careful() -> T:
            try:
                return measure()
            except (UdaError, RuntimeError, OSError) as error:
                raise _unmeasured(error) from error

        return self._once(key, careful)

    def _once(self, key: Hashable, measure: Callable[[], T]) -> T:
        """What comes of a trial, or came of it before."""
        if key not in self._known:
            try:
                self._known[key] = measure()
            except UnmeasuredError as error:
                self._known[key] = str(error)
        found = self._known[key]
        if isinstance(found, str):
            raise UnmeasuredError(found)
        return cast("T", found)


def learns_from_target(one: Planned) -> bool:
    """Whether batches of a fit have target images; those that only give statistics at its end are in none."""
    config: Any = one.config
    if one.stage.name == "segment":
        return "pseudo" in one.inputs or ("target" in one.inputs and config.adversary is not None)
    return True


def _likeness(images: Images) -> Hashable:
    """The same for sets that take the same time an image."""
    return images.files, images.size, images.label_size


def _unmeasured(error: Exception) -> UnmeasuredError:
    what = error.what if isinstance(error, UdaError) else str(error) or type(error).__name__
    where = f"{error.where.name}: " if isinstance(error, UdaError) and isinstance(error.where, Path) else ""
    line = where + " ".join(what.split())
    return UnmeasuredError(line if len(line) <= _TOLD else f"{line[: _TOLD - 3]}...")


def _speed(one: Planned, with_target: bool, guide: Planned | Path | None) -> trial.Speed:
    try:
        return trial.speed(one.config, with_target, guide.config if isinstance(guide, Planned) else guide)
    except (ConfigError, DataError) as error:  # settings that no check without torch could refuse
        raise one.named(error) from error
    except torch.OutOfMemoryError as error:  # at no more than the fit's size, which would not fit either
        what = f"out of memory in a trial of a few steps ({' '.join(str(error).split())[:120]})"
        raise RunError(what, one.name, "make fit.batch, size or augment.crop smaller") from error
    except (UdaError, RuntimeError) as error:  # on random images a fit may go wrong that would not on true ones
        raise _unmeasured(error) from error


def _speed_key(one: Planned, with_target: bool, guide: Planned | Path | None) -> str:
    """The same for steps of one speed, whatever their seeds and lengths, so that one trial is enough for them."""
    config: Any = one.config
    kept = {key: value for key, value in settings_that_matter(config).items() if key not in _NO_MATTER_OF_SPEED}
    network: Any = None if guide is None else str(guide)
    if isinstance(guide, Planned):  # of the guide its network counts alone, whichever stage fits it
        settings = settings_that_matter(guide.config)
        network = {key: settings[key] for key in ("segmenter", "translator") if key in settings}
    return digest([kept | {"fit": config.fit.batch}, config.runtime.device, with_target, network])
