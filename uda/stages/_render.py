"""Render a set of images with a fitted translator, labels carried along, and a picture to judge it by."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from uda.core.config import Size
from uda.data.augment_config import rows_seen
from uda.data.batch import Batch
from uda.data.dataset import SegmentationDataset
from uda.data.label_space import LabelSpace
from uda.data.read import encode_png
from uda.data.samples import Sample
from uda.engine.loading import read_batches
from uda.engine.loop import step_seed
from uda.engine.runtime import Runtime
from uda.engine.stream import to_batch
from uda.stages import _class_tones
from uda.stages._files import copy_names, unique_names, write_made_samples
from uda.stages.base import Job
from uda.translators.base import AbstractTranslator, Direction, Translation


@dataclass(frozen=True)
class _Output:
    """What rendering one way leaves: a manifest, a folder of images, one of labels where they are known."""

    manifest: str
    images: str
    labels: str | None


_OUTPUTS: dict[Direction, _Output] = {
    "source_to_target": _Output("samples.csv", "images", "labels"),
    "target_to_source": _Output("target_samples.csv", "target_images", None),
    "target_to_target": _Output("recreated_samples.csv", "recreated_images", "recreated_labels"),
}


def to_pixels(images_BCHW: Tensor) -> NDArray[np.uint8]:
    """Images in [-1, 1] as uint8 BHWC."""
    scaled = (images_BCHW.float().clamp(-1, 1) + 1) * 127.5
    pixels: NDArray[np.uint8] = scaled.round().to("cpu", torch.uint8).permute(0, 2, 3, 1).numpy()
    return pixels


class Renderer:
    """Renders sets of images into a stage's directory.

    Args:
        job: the translate stage's job.
        translator: fitted, on the device. Where it draws at random it renders image by image, each from its own seed,
            so that neither batches nor processes change what comes out.
        space: label space of what is written.
        runtime: device, precision, processes.
    """

    def __init__(self, job: Job, translator: AbstractTranslator, space: LabelSpace, runtime: Runtime) -> None:
        self._job, self._config = job, job.config
        self._translator, self._space, self._runtime = translator, space, runtime
        self.gains: Tensor | None = None
        """What each class's light is multiplied by in translations of the source (`uda.stages._class_tones`)."""
        self._one_by_one = translator.one_by_one(translator.config)
        self._takes_references = translator.takes_references(translator.config)
        for network in translator.networks.values():
            network.eval()

    def render(self, samples: Sequence[Sample], others: Sequence[Sample], *, direction: Direction) -> int:
        """Write a translation of every sample of this process's share that is not there yet.

        Args:
            samples: what is rendered; its labels are opened only when it is the source.
            others: images of the other domain, one drawn for each (a style, colour statistics).
            direction: which way.

        Returns:
            How many this process rendered now.
        """
        folder, label_folder = _OUTPUTS[direction].images, _OUTPUTS[direction].labels
        own = unique_names(samples)
        copies = self._copies(direction)
        names = [copy_names(name, copies) for name in own]
        data, other = self._data(samples, labels=direction == "source_to_target"), self._drawn_from(others)
        size, run = self._config.render_batch, self._job.run
        blocks = [list(range(at, min(at + size, len(data)))) for at in range(0, len(data), size)]
        share = blocks[self._runtime.rank :: self._runtime.processes]

        def label_file(index: int) -> str | None:
            """Where its label goes; a source image without one gets none, for it would be of unknown pixels alone."""
            bare = label_folder is None or (direction == "source_to_target" and samples[index].label is None)
            return None if bare else f"{label_folder}/{own[index]}.png"

        def files(index: int) -> list[str]:
            label = label_file(index)
            return [*(f"{folder}/{name}.png" for name in names[index]), *([label] if label else [])]

        todo = [block for block in share if not all(run.has(file) for index in block for file in files(index))]
        done = (len(share) - len(todo)) * size
        with self._job.console.progress(f"translate: rendering {folder}", len(data), done=done) as progress:
            for block, item in zip(todo, read_batches(data, todo, self._runtime), strict=True):
                for number in range(copies):
                    made = self._translate(item, block, other, direction, number)
                    for index, image in zip(block, to_pixels(made.images_BCHW), strict=True):
                        run.write(f"{folder}/{names[index][number]}.png", encode_png(image))
                if label_folder:
                    labels = item["label"] if made.labels_BHW is None else made.labels_BHW.to("cpu", torch.uint8)
                    for index, label in zip(block, labels.numpy(), strict=True):
                        if (file := label_file(index)) is not None:
                            run.write(file, encode_png(label))
                progress.update(min(progress.done + len(block) * self._runtime.processes, len(data)))
        return sum(map(len, todo))

    def gains_to_target(
        self, source: Sequence[Sample], target: Sequence[Sample], guide: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """What each class of translations takes to its tone in the target, (N, 3) gains; see `_class_tones`.

        Every process looks at the same images, of the rows that a fit sees.

        Args:
            source: rendered, with their labels.
            target: looked at through the guide.
            guide: segmenter of images that look like the target's.
        """
        config, classes = self._config, self._space.num_classes
        title, count = "translate: tones of classes", min(config.class_tones, len(source))
        with self._job.console.progress(title, count + min(config.class_tones, len(target))) as progress:

            def counted(pairs: Iterator[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
                for images, labels in pairs:
                    rows = rows_seen(config.rows, images.shape[2])
                    yield images[:, :, rows], labels[:, rows]
                    progress.update(progress.done + len(images))

            made = _class_tones.measure(counted(self._translations(source, target)), classes)
            wanted = _class_tones.measure(counted(self._seen(target, guide)), classes)
        return _class_tones.gains(made, wanted)

    def _translations(self, source: Sequence[Sample], target: Sequence[Sample]) -> Iterator[tuple[Tensor, Tensor]]:
        """Translations_BCHW with their labels_BHW of some source images."""
        data, other = self._data(source, labels=True), self._drawn_from(target)
        blocks = self._spread(len(data))
        for block, item in zip(blocks, read_batches(data, blocks, self._runtime), strict=True):
            made = self._translate(item, block, other, "source_to_target")
            labels = item["label"] if made.labels_BHW is None else made.labels_BHW
            yield made.images_BCHW, labels.to(made.images_BCHW.device).long()

    def _seen(self, target: Sequence[Sample], guide: Callable[[Tensor], Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Some target images_BCHW with the classes_BHW that the guide sees, at the size of a fit."""
        data = self._data(target, labels=False, size=self._config.size)
        for item in read_batches(data, self._spread(len(data)), self._runtime):
            images = to_batch({"target_images": item["image"]}, self._runtime).target_images_BCHW
            assert images is not None
            with torch.inference_mode(), self._runtime.autocast():
                classes = guide(images.contiguous(memory_format=torch.channels_last)).argmax(dim=1)
            yield images, classes

    def _spread(self, count: int) -> list[list[int]]:
        """Positions of `class_tones` images spread evenly over so many, in batches."""
        chosen = np.linspace(0, count - 1, min(self._config.class_tones, count)).round().astype(int).tolist()
        size = self._config.render_batch
        return [chosen[at : at + size] for at in range(0, len(chosen), size)]

    def write_samples(self, source: Sequence[Sample], target: Sequence[Sample]) -> None:
        """Write the manifest of each way that was rendered, `samples.csv` first, with the label coding beside it."""
        ways: tuple[Direction, ...] = ("source_to_target", *self._config.target_directions)
        for way in ways:
            output, samples = _OUTPUTS[way], source if way == "source_to_target" else target
            write_made_samples(
                self._job.run,
                output.manifest,
                self._space,
                samples,
                images=output.images,
                labels=output.labels,
                carried=way == "source_to_target",
                copies=self._copies(way),
            )

    def write_grid(
        self, source: Sequence[Sample], target: Sequence[Sample], guide: Callable[[Tensor], Tensor] | None
    ) -> None:
        """Write `grid.png`; a row: source, labels, guide's prediction, translation, with swapped guidance, a target."""
        rows = min(self._config.grid_rows, len(source))
        chosen = np.linspace(0, len(source) - 1, rows).round().astype(int).tolist()
        data, other = self._data(source, labels=True), self._drawn_from(target)
        item = next(read_batches(data, [chosen], self._runtime))
        references = self._references(other, chosen)
        batch = self._batch(item, references, "source_to_target")
        columns = [item["image"].permute(0, 2, 3, 1).numpy(), self._colors(item["label"].numpy())]
        with torch.inference_mode(), self._runtime.autocast():
            if guide is not None and batch.source_images_BCHW is not None:
                columns.append(self._colors(guide(batch.source_images_BCHW).argmax(1).cpu().numpy()))
            columns.append(to_pixels(self._translate(item, chosen, other, "source_to_target").images_BCHW))
            if rows > 1 and (swapped := self._translator.swap_guidance(batch)) is not None:
                columns.append(to_pixels(swapped.images_BCHW))
        columns.append(references.permute(0, 2, 3, 1).numpy())
        grid = np.concatenate([np.concatenate(list(column), axis=0) for column in columns], axis=1)
        self._job.run.write("grid.png", encode_png(np.ascontiguousarray(grid)))

    def _copies(self, direction: Direction) -> int:
        """Renders of each image: as many as the settings say, but one of a target image in the source's look."""
        return int(self._config.samples) if _OUTPUTS[direction].labels else 1

    def _translate(
        self, item: Any, indices: Sequence[int], other: SegmentationDataset, direction: Direction, copy: int = 0
    ) -> Translation:
        """Translations of the images read as `item`, those of `indices` in their set."""
        if self._one_by_one and len(indices) > 1:
            each = [
                self._translate(
                    {key: value[at : at + 1] for key, value in item.items()}, [index], other, direction, copy
                )
                for at, index in enumerate(indices)
            ]
            labels = [one.labels_BHW for one in each if one.labels_BHW is not None]
            return Translation(torch.cat([one.images_BCHW for one in each]), torch.cat(labels) if labels else None)
        number = 2 * copy + (0 if direction == "source_to_target" else 1)
        seed = step_seed(self._config.seed, number, indices[0])
        generator = torch.Generator(self._runtime.device).manual_seed(seed)
        references = self._references(other, indices, copy) if self._takes_references else None
        with torch.inference_mode(), self._runtime.autocast():
            batch = self._batch(item, references, direction)
            made = self._translator.translate(batch, generator=generator, direction=direction)
        if self.gains is None or direction != "source_to_target":
            return made
        of_pixels = batch.source_labels_BHW if made.labels_BHW is None else made.labels_BHW
        assert of_pixels is not None  # read with the images
        return Translation(_class_tones.move(made.images_BCHW, of_pixels, self.gains), made.labels_BHW)

    def _batch(self, item: Any, references: Tensor | None, direction: Direction) -> Batch:
        """The images to render, with images of the other domain beside them where there are any."""
        if direction == "source_to_target":
            fields = {"source_images": item["image"], "source_labels": item["label"], "target_images": references}
        else:
            fields = {"source_images": references, "target_images": item["image"]}
        return to_batch({name: value for name, value in fields.items() if value is not None}, self._runtime)

    def _references(self, other: SegmentationDataset, indices: Sequence[int], copy: int = 0) -> Tensor:
        """An image of the other domain for each of `indices`, drawn for it whatever it is rendered beside."""
        draws = (np.random.default_rng([self._config.seed, 3, index, copy]) for index in indices)
        return torch.stack([other[int(rng.integers(len(other)))]["image"] for rng in draws])

    def _drawn_from(self, samples: Sequence[Sample]) -> SegmentationDataset:
        """Images that are drawn again and again, and so are kept."""
        return self._data(samples, labels=False, cache_mb=self._config.runtime.cache_mb)

    def _data(
        self, samples: Sequence[Sample], *, labels: bool, cache_mb: float = 0, size: Size | None = None
    ) -> SegmentationDataset:
        config = self._config
        size = size or config.render_size or config.size
        return SegmentationDataset(
            samples, self._space, size=size, with_labels=labels, interpolation=config.interpolation, cache_mb=cache_mb
        )

    def _colors(self, labels: NDArray[Any]) -> NDArray[np.uint8]:
        return self._space.palette()[labels.astype(np.uint8)]
