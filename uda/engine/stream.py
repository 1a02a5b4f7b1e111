"""An endless, repeatable stream of batches: which image comes when is a function of (seed, position) alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from uda.core.training import share_of
from uda.data.augment import Pixels, augment_geometry, draw_geometry
from uda.data.augment_config import AugmentConfig, rows_seen
from uda.data.batch import Batch
from uda.data.dataset import SegmentationDataset
from uda.data.matching import Candidates, agreement
from uda.engine.loading import read_batches
from uda.engine.runtime import Runtime

Item = dict[str, Tensor]


class Order:
    """Shuffled positions without end: position k of epoch k // n is a permutation's entry, or a weighted draw.

    Args:
        weights: sampling weight of each image; equal weights give permutations.
        seed: of the order.
        domain: parts the orders of two data sets under one seed.
        first: weights that count in place of those up to position `until`.
        until: how many positions that are.
    """

    def __init__(
        self, weights: Sequence[float], seed: int, domain: int, *, first: Sequence[float] = (), until: int = 0
    ) -> None:
        self._seed, self._domain, self._count, self._until = seed, domain, len(weights), until
        self._chances, self._first = _chances(weights), _chances(first)
        self._epoch, self._permutation = -1, np.arange(0)

    def __getitem__(self, position: int) -> int:
        chances = self._first if position < self._until else self._chances
        if chances is not None:
            rng = np.random.default_rng([self._seed, self._domain, 1, position])
            return int(rng.choice(self._count, p=chances))
        epoch, place = divmod(position, self._count)
        if epoch != self._epoch:
            self._permutation = np.random.default_rng([self._seed, self._domain, 0, epoch]).permutation(self._count)
            self._epoch = epoch
        return int(self._permutation[place])


def _chances(weights: Sequence[float]) -> npt.NDArray[np.float64] | None:
    """What to draw by; None where all are drawn alike."""
    return None if len(set(weights)) <= 1 else np.asarray(weights, np.float64) / float(sum(weights))


class ByTurns:
    """Two parts of one data set in turn: `run` positions from the first part, then as many from the rest.

    With runs of 1 a batch with an even number of images has as many of the one as of the other. With runs as long as a
    batch every batch is of one part, and batch norm sees each by itself.

    Args:
        first: of the first part's images.
        rest: of the other images.
        count: images of the first part, which lead the data set.
        run: positions in a row.
    """

    def __init__(self, first: Order, rest: Order, count: int, *, run: int = 1) -> None:
        self._first, self._rest, self._count, self._run = first, rest, count, run

    def __getitem__(self, position: int) -> int:
        turn, within = divmod(position, self._run)
        place = turn // 2 * self._run + within
        return self._count + self._rest[place] if turn % 2 else self._first[place]


@dataclass
class Domain:
    """One side of the stream: its images, their order and their augmentation.

    Attributes:
        data: the images.
        order: which image comes when.
        augment: geometry.
        seed: of the stream.
        number: parts the randomness of two domains under one seed.
        rows: first and last part of an image's height that is seen, in [0, 1].
        candidates: crops to choose from at each position, by the other domain's labels there; None: what comes.
    """

    data: SegmentationDataset
    order: Order | ByTurns
    augment: AugmentConfig
    seed: int
    number: int
    rows: tuple[float, float] = (0.0, 1.0)
    candidates: Candidates | None = None

    def item(self, position: int) -> tuple[Tensor, Tensor]:
        """Augmented image (CHW, uint8) and label (HW, uint8) of a position."""
        image_HWC, label_HW = self.data.sample_at(self.order[position])
        seen = rows_seen(self.rows, len(label_HW))
        augmented = augment_geometry(image_HWC[seen], label_HW[seen], self.augment, self._generator(position))
        # What is still the data set's own, which may be its cache's, is not given away.
        image, label = (torch.from_numpy(one if one.flags.writeable else one.copy()) for one in augmented)
        return image.permute(2, 0, 1), label

    def most_alike(self, position: int, label_HW: Tensor) -> int:
        """Of the candidates of a position, the one whose classes lie most like these labels; of equals the first."""
        assert self.candidates is not None
        own = range(position * self.candidates.each, (position + 1) * self.candidates.each)
        shares = [agreement(label_HW.numpy(), self._shown(candidate)) for candidate in own]
        return own[int(np.argmax(shares))]

    def _shown(self, position: int) -> Pixels:
        """The classes of the crop that `item` gives."""
        assert self.candidates is not None
        classes_HW = self.candidates.shown(self.order[position])
        classes_HW = classes_HW[rows_seen(self.rows, len(classes_HW))]
        size = (classes_HW.shape[0], classes_HW.shape[1])
        return draw_geometry(size, self.augment, self._generator(position)).label(classes_HW)

    def _generator(self, position: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, self.number, 2, position])


class _Positions(Dataset[Item]):
    """Both domains by position in the stream."""

    def __init__(self, domains: dict[str, Domain], length: int) -> None:
        self._domains, self._length = domains, length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, position: int) -> Item:
        item: Item = {}
        for name, domain in self._domains.items():  # the source first: the target's crop may be chosen by its labels
            own = domain.most_alike(position, item["source_labels"]) if domain.candidates is not None else position
            image, label = domain.item(own)
            item[f"{name}_images"] = image
            if domain.data.labelled:
                item[f"{name}_labels"] = label
        return item


@dataclass(frozen=True)
class _Share:
    """The positions of one process, step by step, never held as a list."""

    start: int
    stop: int
    batch: int
    offset: int
    share: int

    def __iter__(self) -> Iterator[list[int]]:
        for at in range(self.start + self.offset, self.stop, self.batch):
            yield list(range(at, at + self.share))


def make_domain(data: SegmentationDataset, augment: AugmentConfig, *, seed: int, number: int) -> Domain:
    """A domain of the stream, drawn by the `weight` column of its manifest."""
    return Domain(data, Order([sample.weight for sample in data.samples], seed, number), augment, seed, number)


def batches(
    source: Domain | None, target: Domain | None, *, total: int, batch: int, runtime: Runtime
) -> Callable[[int], Iterator[Batch]]:
    """A function from images seen to the batches that follow, for `uda.engine.loop.fit`.

    Args:
        source: labelled domain.
        target: unlabelled domain; a batch has labels of it (pseudo-labels) where the data set was opened with labels.
            With candidates, which take a labelled source, each crop is the one most like the source's beside it.
        total: images of one domain to be seen in all.
        batch: images of one domain in a step, over all processes.
        runtime: this process's rank, and the number of reading processes.

    Raises:
        ConfigError: the processes cannot share a batch equally.
    """
    share = share_of(batch, runtime.processes)
    domains = {name: domain for name, domain in (("source", source), ("target", target)) if domain is not None}
    steps = -(-total // batch)
    dataset = _Positions(domains, steps * batch)

    def start(images_seen: int) -> Iterator[Batch]:
        positions = _Share(images_seen, steps * batch, batch, runtime.rank * share, share)
        for item in read_batches(dataset, positions, runtime):
            yield to_batch(item, runtime)

    return start


def to_batch(item: Item, runtime: Runtime) -> Batch:
    """Collated uint8 tensors as a batch on the device, in the library's frame: RGB in [-1, 1], labels int64."""
    fields = {}
    for name, stacked in item.items():
        value = stacked.to(runtime.device, non_blocking=True)  # bytes travel, not what is made of them
        if name.endswith("_images"):
            fields[f"{name}_BCHW"] = value.float().div_(127.5).sub_(1)
        else:
            fields[f"{name}_BHW"] = value.long()
    return Batch(**fields)
