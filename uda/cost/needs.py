"""What a step of each stage needs, in one table: bytes on disk, and seconds on this machine."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from uda.core import registry
from uda.core.config import Size
from uda.core.launch import processes
from uda.core.lazy import lazy_import
from uda.cost import disk
from uda.cost.done import Done
from uda.cost.drawing import Drawn, beside, drawing_seconds
from uda.cost.sets import Sets, minicity_images, pixels, rendered, rendering_size
from uda.cost.trials import Trials, learns_from_target
from uda.pipeline import Planned
from uda.stages._files import trained_size

if TYPE_CHECKING:
    from uda.cost import reading
    from uda.data.augment_config import AugmentConfig
else:
    reading = lazy_import("uda.cost.reading")

_MINICITY_SECONDS = 0.04
"""Seconds to draw an image of mini-city, of any size and with any number of workers: assumed, not measured."""
_USUAL_SIZE = (512, 1024)
"""At which a segmenter is taken to see images where nothing says."""


@dataclass(frozen=True)
class Needs:
    """What the steps of a stage need.

    Attributes:
        bytes: on disk, when one is over.
        seconds: that are left of one; raises UnmeasuredError where a trial failed.
    """

    bytes: Callable[[Planned, Sets], float]
    seconds: Callable[[Planned, Trials, Done], float]


def _read(one: Planned, trials: Trials, key: str, size: Size | None, *, labels: bool) -> float:
    """Seconds to read an image of an input."""
    config: Any = one.config
    view = reading.View(config.label_space, size, labels, config.interpolation)
    return trials.reading(trials.sets.of(one.inputs[key]), view)


def _drawn(
    one: Planned, trials: Trials, keys: Mapping[str, bool], size: Size, augment: AugmentConfig | None = None
) -> Drawn:
    """A data set of one or several inputs, drawn by turns.

    Args:
        one: the step.
        trials: measure.
        keys: inputs that it may have, and whether their labels are read.
        size: height and width that the images are resized to.
        augment: what is done to them each time; None: nothing.
    """
    config: Any = one.config
    there = [key for key in keys if key in one.inputs]
    count = sum(trials.sets.of(one.inputs[key]).count for key in there)
    read = sum(_read(one, trials, key, size, labels=keys[key]) for key in there) / len(there)
    again = 0.0 if augment is None else trials.augmenting(size, augment)
    return Drawn.of(count, read, again, size, config.runtime.cache_mb)


def _look(
    one: Planned,
    trials: Trials,
    key: str,
    size: Size | None,
    step: float,
    *,
    labels: bool = False,
    most: float = math.inf,
) -> float:
    """Seconds to see the images of an input once, or so many of them at most.

    Args:
        one: the step.
        trials: measure.
        key: the input.
        size: height and width at which they are seen; None: as they are.
        step: seconds that a network takes for one.
        labels: whether their labels are read too.
        most: images at most.
    """
    config: Any = one.config
    read = _read(one, trials, key, size, labels=labels)
    return min(most, trials.sets.of(one.inputs[key]).count) * beside(step, read, config.runtime.workers)


def _fit(one: Planned, trials: Trials, left: float, sets: Sequence[Drawn]) -> float:
    """Seconds of a fit on so many images, of which each process of the launch takes its share."""
    config: Any = one.config
    step = trials.speed(one).fit * processes()
    return drawing_seconds(step, sets, left / processes(), config.runtime.workers)


def _minicity(one: Planned, _: Trials, __: Done) -> float:
    return minicity_images(one.config) * _MINICITY_SECONDS


def _prepare(one: Planned, trials: Trials, _: Done) -> float:
    config: Any = one.config
    images = trials.sets.made_by(one)
    threads = min(config.threads, os.cpu_count() or 1)
    return images.count * trials.checking(images, config) / threads if images.count else 0.0


def _segment(one: Planned, trials: Trials, done: Done) -> float:
    config: Any = one.config
    key, size = "pseudo" if "pseudo" in one.inputs else "target", config.target_size or config.size
    sets = [_drawn(one, trials, {"source": True, "also": True}, config.size, config.augment)]
    if learns_from_target(one):
        sets.append(_drawn(one, trials, {key: key == "pseudo"}, size, config.augment))
    seconds = _fit(one, trials, max(0, config.fit.images - done.fitted), sets)
    # For BatchNorm's statistics every process looks once more.
    looks = [(key, size), *([("source", config.size)] if config.statistics_prior else [])]
    for again, seen in looks if config.target_statistics else ():
        step = trials.speed(one).forward * pixels(seen)
        seconds += _look(one, trials, again, seen, step, most=config.target_statistics)
    return seconds


def _translate(one: Planned, trials: Trials, done: Done) -> float:
    config: Any = one.config
    method = registry.load("translators", config.translator.name)
    given = "translator" in one.inputs or method.needs == "nothing"
    left = 0 if given else max(0, config.fit.images - done.fitted)
    seconds = _guided(one, trials, left)
    if left:
        maps = next((key for key in ("pairs", "pseudo") if key in one.inputs), None)
        keys = {} if maps is None else {maps: True}
        if maps is None or method.needs == "few_pairs":
            keys["target"] = False
        sets = [_drawn(one, trials, part, config.size, config.augment) for part in ({"source": True}, keys)]
        seconds += _fit(one, trials, left, sets)
    return seconds + _render(one, trials, done, references=method.takes_references(config.translator)) / processes()


def _guided(one: Planned, trials: Trials, left: float) -> float:
    """Seconds that a translator's guide takes for what it sees before the fit."""
    config: Any = one.config
    matched = left > 0 and config.target_candidates > 1
    seconds, told = _tones(one, trials), "tones" in one.inputs
    asked = "guide" in one.inputs and config.asks_guide(fits="translator" not in one.inputs, tones=told)
    if not asked or not (matched or config.guide_statistics):
        return seconds
    step = trials.forward(one.inputs["guide"], config.size, config)
    crops = next((key for key in ("pairs", "pseudo") if key in one.inputs), "target")  # what crops are chosen from
    most = math.inf if crops == "target" else math.ceil(config.supervision * trials.sets.of(one.inputs[crops]).count)
    seconds += _look(one, trials, crops, config.size, step, most=most) / processes() if matched else 0.0
    for key in ("source", "target") if config.guide_statistics else ():
        seconds += _look(one, trials, key, config.size, step, most=config.guide_statistics)
    return seconds


def _tones(one: Planned, trials: Trials) -> float:
    """Seconds that it takes to see how light classes are in both domains."""
    config: Any = one.config
    teller = one.inputs.get("tones", one.inputs.get("guide"))
    if not config.class_tones or teller is None:
        return 0.0
    step, size, seconds = trials.forward(teller, config.size, config), rendering_size(config), 0.0
    if "tones" in one.inputs and config.guide_statistics:
        for key in ("source", "target") if config.guide_prior else ("target",):
            seconds += _look(one, trials, key, config.size, step, most=config.guide_statistics)
    seconds += _look(one, trials, "target", config.size, step, most=config.class_tones)
    made = trials.speed(one).forward * pixels(size)
    return seconds + _look(one, trials, "source", size, made, labels=True, most=config.class_tones)


def _render(one: Planned, trials: Trials, done: Done, *, references: bool) -> float:
    """Seconds of one process to render all that is left: to read it, run it through and write it."""
    config: Any = one.config
    size, seconds = rendering_size(config), 0.0
    step, write = trials.speed(one).forward * pixels(size), trials.writing(size)
    ways = [("source", "target", config.samples)]
    ways += [("target", "source", 1)] if config.render_target else []
    ways += [("target", "source", config.samples)] if config.recreate_target else []
    for key, other, copies in ways:
        count = trials.sets.of(one.inputs[key]).count
        read = _read(one, trials, key, size, labels=key == "source")
        seconds += count * beside(copies * (step + write), read, config.runtime.workers)
        if references:  # drawn by the process itself, which keeps them
            seconds += drawing_seconds(0.0, [_drawn(one, trials, {other: False}, size)], copies * count, 0)
    everything, _ = rendered(one, trials.sets)
    return seconds * max(0, everything - done.rendered) / max(1, everything)


def _evaluate(one: Planned, trials: Trials, _: Done) -> float:
    config: Any = one.config
    if "segmenter" not in one.inputs:  # somebody's predictions: files alone
        return _look(one, trials, "target", None, 0.0, labels=True)
    maker = trials.sets.maker(one.inputs["segmenter"])
    fit: Any = None if maker is None else maker.config
    # Without a size of its own the images enter as they are, which is mostly what the segmenter was trained at.
    size = config.size or (None if fit is None else getattr(fit, "target_size", None) or fit.size)
    size = size or trained_size(one.inputs["segmenter"].path) or _USUAL_SIZE
    step = trials.forward(one.inputs["segmenter"], size, config)
    return _look(one, trials, "target", config.size, step, labels=True)  # the first process scores alone


def _pseudo_label(one: Planned, trials: Trials, _: Done) -> float:
    config: Any = one.config
    step = trials.forward(one.inputs["segmenter"], config.size, config)
    drawn = _drawn(one, trials, {"target": False}, config.size)
    # Each process observes all images before it labels its share; of what workers have read nothing is kept.
    passes = registry.load("pseudo_labels", config.strategy.name).observes + 1 / processes()
    kept = drawn if not config.runtime.workers else Drawn(drawn.count, 0.0, drawn.read, drawn.augment)
    return drawing_seconds(step, [kept], passes * drawn.count, config.runtime.workers)


def _quality(one: Planned, trials: Trials, _: Done) -> float:
    """Of what compares several renders of one input nothing is counted."""
    config: Any = one.config
    real = trials.sets.of(one.inputs["real"])
    if not real.count:
        return 0.0
    looked = trials.looking(real, config) - _read(one, trials, "real", config.size, labels=False)
    keys = [key for key in one.inputs if key.partition(".")[0] in ("images", "source")]
    seconds = sum(_look(one, trials, key, config.size, max(0.0, looked)) for key in ("real", *keys))
    if "segmenter" in one.inputs:
        step = trials.forward(one.inputs["segmenter"], config.size, config)
        seconds += sum(_look(one, trials, key, config.size, step, labels=True) for key in keys)
    return seconds


NEEDS: Mapping[str, Needs] = {
    "minicity": Needs(disk.minicity_bytes, _minicity),
    "prepare": Needs(disk.table_bytes, _prepare),
    "translate": Needs(disk.translate_bytes, _translate),
    "segment": Needs(disk.model_bytes, _segment),
    "pseudo-label": Needs(disk.pseudo_label_bytes, _pseudo_label),
    "evaluate": Needs(disk.table_bytes, _evaluate),
    "quality": Needs(disk.table_bytes, _quality),
}
"""By the stage's name."""
