from __future__ import annotations

from collections.abc import Iterator

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.engine.players import cpu
from uda.data.batch import Batch
from uda.engine import matching


def test_agreement_is_the_part_of_the_known_pixels_with_the_same_class() -> None:
    labels = torch.tensor([[[0, 1], [2, 255]], [[255, 255], [255, 255]]])
    same, two, none = [[0, 1], [2, 3]], [[0, 1], [0, 255]], [[1, 0], [0, 255]]
    found = matching.agreement(labels, torch.tensor([[same, two, none]] * 2))
    assert torch.allclose(found, torch.tensor([[1, 2 / 3, 0], [0, 0, 0]]))


def guide(images_BCHW: Tensor) -> Tensor:
    """A class for each channel: that of the brightest."""
    return images_BCHW


def painted(classes: Tensor) -> Tensor:
    """Images that `guide` takes for these classes."""
    return torch.nn.functional.one_hot(classes, 3).movedim(-1, 1).float()


def batches_of(labels: Tensor, classes: Tensor) -> Iterator[Batch]:
    yield Batch(painted(labels.clamp(max=2)), labels, painted(classes))


@given(st.integers(0, 50), st.integers(1, 3), st.integers(1, 5))
def test_no_candidate_agrees_more_than_the_one_kept(seed: int, count: int, candidates: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (count, 4, 6), generator=generator)
    classes = torch.randint(3, (count * candidates, 4, 6), generator=generator)
    (batch,) = matching.most_alike(lambda seen: batches_of(labels, classes), guide, cpu())(0)
    assert batch.target_images_BCHW is not None and len(batch.target_images_BCHW) == count
    for place in range(count):
        own = classes[place * candidates : (place + 1) * candidates]
        shares = [(one == labels[place]).float().mean().item() for one in own]
        kept = batch.target_images_BCHW[place]
        assert torch.equal(kept, painted(own[shares.index(max(shares))][None])[0])


def test_the_stream_is_asked_from_where_the_run_stands() -> None:
    asked = []

    def batches(seen: int) -> Iterator[Batch]:
        asked.append(seen)
        yield from batches_of(torch.zeros(1, 2, 2, dtype=torch.int64), torch.ones(2, 2, 2, dtype=torch.int64))

    assert len(list(matching.most_alike(batches, guide, cpu())(8))) == 1
    assert asked == [8]


def test_unlabelled_source_crops_take_the_first_candidate() -> None:
    labels = torch.full((1, 2, 2), 255)
    (batch,) = matching.most_alike(
        lambda seen: batches_of(labels, torch.tensor([[[1, 1]] * 2, [[2, 2]] * 2])), guide, cpu()
    )(0)
    assert batch.target_images_BCHW is not None
    assert torch.equal(batch.target_images_BCHW, painted(torch.tensor([[[1, 1]] * 2])))
    assert batch.source_labels_BHW is not None and batch.source_labels_BHW.unique().tolist() == [255]
