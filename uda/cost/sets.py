"""What is in the manifests of a plan, most of which are written later: how many images, and files to tell them by."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from uda.core.config import Size
from uda.data.pairs import index_dataset
from uda.data.samples import Sample, read_samples
from uda.data.spec import load_spec
from uda.pipeline import Planned, Source

T = TypeVar("T")
_FILES = 4
"""Files of each set to tell the others by."""
_RENDERED_TARGET, _RECREATED_TARGET = "target_samples.csv", "recreated_samples.csv"
"""Manifests that a translation leaves of the target's images: in the source's look, and made anew in another look."""


@dataclass(frozen=True)
class Images:
    """The images of a manifest.

    Attributes:
        count: how many there are, or will be.
        files: a few of them; empty where none is there yet.
        size: height and width of images that are not there yet.
        label_size: height and width of label maps that are not there yet, whether their images are or not; None: there
            will be none but those of `files`.
    """

    count: int
    files: tuple[Sample, ...] = ()
    size: Size | None = None
    label_size: Size | None = None


class Sets:
    """Looks at each manifest of a plan once.

    Args:
        planned: all steps.
        waiting: names of those that will run: what an earlier run of theirs has left says nothing.
    """

    def __init__(self, planned: Sequence[Planned], waiting: Collection[str]) -> None:
        self._by_name = {one.name: one for one in planned}
        self._waiting = waiting
        self._known: dict[Path, Images] = {}

    def maker(self, source: Source) -> Planned | None:
        """The step that an input comes from; None of one that was given by hand."""
        return self._by_name.get(source.step or "")

    def of(self, source: Source) -> Images:
        """What the manifest that is an input holds, or will."""
        if source.path not in self._known:
            self._known[source.path] = self._find(source)
        return self._known[source.path]

    def made_by(self, one: Planned) -> Images:
        """What a step's first manifest holds, or will."""
        return self.of(Source(one.name, one.out / "samples.csv"))

    def _find(self, source: Source) -> Images:
        maker = self.maker(source)
        if source.path.is_file() and source.step not in self._waiting:
            samples = read_samples(source.path)
            return Images(len(samples), _some(samples))
        find = None if maker is None else _MADE.get(maker.stage.name)
        return Images(0) if maker is None or find is None else find(self, maker, source.path.name)


def pixels(size: Size) -> float:
    """Pixels of an image of that height and width."""
    return float(size[0] * size[1])


def rendering_size(config: Any) -> Size:
    """Height and width of all images and labels that a translation writes: they are never cropped."""
    size: Size = config.render_size or config.size
    return size


def minicity_images(config: Any) -> int:
    """Images that a step draws of mini-city."""
    twice = config.gta5 if config.ideal else 0
    return int(config.gta5 + twice + config.synthia + config.cityscapes_train + config.cityscapes_val)


def rendered(one: Planned, sets: Sets) -> tuple[int, int]:
    """Images, and label maps, that a translation writes."""
    config: Any = one.config
    source, target = (sets.of(one.inputs[key]).count for key in ("source", "target"))
    labels = source + (target if config.recreate_target else 0)
    # Of what has a label there are several renders, which share it; of the target in the source's look there is one.
    return int(config.samples) * labels + (target if config.render_target else 0), labels


def _some(samples: Sequence[Sample]) -> tuple[Sample, ...]:
    """A few; with labels, where some have them."""
    return tuple(_spread([sample for sample in samples if sample.label is not None] or samples))


def _spread(found: Sequence[T]) -> Sequence[T]:
    """A few, spread evenly."""
    return found[:: max(1, -(-len(found) // _FILES))]


def _prepared(sets: Sets, one: Planned, _: str) -> Images:
    config: Any = one.config
    root, select = one.inputs["root"], config.select
    limits: list[int] = [limit for limit in (select.first, select.last) if limit is not None]
    drawn = sets.maker(root)
    if drawn is not None and drawn.stage.name == "minicity":
        made: Any = drawn.config
        key = {"cityscapes": f"cityscapes_{config.split}", "ideal": "gta5"}.get(root.path.name, root.path.name)
        size = (made.height, made.width)
        return Images(min([int(getattr(made, key, 0)), *limits]), (), size, size if config.labels else None)
    pairs = index_dataset(root.path, load_spec(config.dataset), config.split).pairs
    chosen = [pair for pair in pairs if not select.groups or pair.group in select.groups]
    here = Path.cwd()
    files = (
        Sample(pair.image, pair.label if config.labels else None, config.dataset, here) for pair in _spread(chosen)
    )
    return Images(min([len(chosen), *limits]), tuple(files))


def _translated(sets: Sets, one: Planned, manifest: str) -> Images:
    config: Any = one.config
    bare, size = manifest == _RENDERED_TARGET, rendering_size(config)
    inputs = sets.of(one.inputs["target" if manifest in (_RENDERED_TARGET, _RECREATED_TARGET) else "source"])
    return Images((1 if bare else int(config.samples)) * inputs.count, (), size, None if bare else size)


def _pseudo_labelled(sets: Sets, one: Planned, _: str) -> Images:
    config: Any = one.config
    target = sets.of(one.inputs["target"])
    files = tuple(replace(sample, label=None) for sample in target.files)
    return Images(target.count, files, target.size, config.size)


_MADE: Mapping[str, Callable[[Sets, Planned, str], Images]] = {
    "prepare": _prepared,
    "translate": _translated,
    "pseudo-label": _pseudo_labelled,
}
"""What the manifests hold that steps of a stage make, by the step and the manifest's name."""
