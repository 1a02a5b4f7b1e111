from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.players import SIZE, Images, cpu, domain
from uda.core.errors import ConfigError
from uda.data.augment_config import AugmentConfig
from uda.data.batch import Batch
from uda.data.matching import Candidates
from uda.engine import stream
from uda.engine.stream import Order


@given(st.integers(1, 12), st.integers(0, 5), st.integers(0, 3))
def test_every_epoch_shows_each_image_once(count: int, seed: int, epoch: int) -> None:
    order = Order([2.0] * count, seed, 0)
    assert sorted(order[epoch * count + place] for place in range(count)) == list(range(count))


@given(st.lists(st.integers(0, 60), max_size=8), st.lists(st.sampled_from([0.5, 1.0, 3.0]), min_size=1, max_size=6))
def test_a_position_gives_the_same_image_whatever_was_asked_before(asked: list[int], weights: list[float]) -> None:
    used = Order(weights, 7, 1)
    for position in asked:
        assert used[position] == Order(weights, 7, 1)[position]


def test_epochs_seeds_and_domains_are_shuffled_differently() -> None:
    def epoch(seed: int, number: int, which: int) -> tuple[int, ...]:
        order = Order([1.0] * 20, seed, number)
        return tuple(order[which * 20 + place] for place in range(20))

    orders = {epoch(seed, number, which) for seed in (0, 1) for number in (0, 1) for which in (0, 1)}
    assert len(orders) == 8


def test_weighted_images_are_drawn_by_their_weight_and_those_of_weight_zero_never() -> None:
    weights = [1.0, 3.0, 0.0, 6.0]
    order = Order(weights, 0, 0)
    draws = 4000
    counts = Counter(order[position] for position in range(draws))
    assert counts[2] == 0
    for index, weight in enumerate(weights):
        share = weight / 10
        assert abs(counts[index] / draws - share) <= 4 * np.sqrt(share * (1 - share) / draws)


def test_weights_of_the_first_part_give_way_to_the_manifests() -> None:
    order = Order([2.0] * 4, 0, 0, first=[1.0, 0.0, 0.0, 3.0], until=6)
    assert {order[position] for position in range(6)} <= {0, 3}
    assert sorted(order[position] for position in range(8, 12)) == [0, 1, 2, 3]
    assert [order[position] for position in range(6)] == [Order([1.0, 0.0, 0.0, 3.0], 0, 0)[p] for p in range(6)]
    own = Order([1.0, 0.0, 1.0, 1.0], 0, 0, first=[1.0, 0.0, 0.0, 0.0], until=6)
    assert {own[position] for position in range(6)} == {0}
    assert {own[position] for position in range(6, 60)} == {0, 2, 3}  # the manifest's weights count on


def test_two_parts_come_by_turns_each_in_its_own_order() -> None:
    first, rest = Order([1.0] * 3, 0, 1), Order([1.0] * 5, 0, 2)
    order = stream.ByTurns(first, rest, 3)
    assert [order[position] for position in range(0, 20, 2)] == [first[place] for place in range(10)]
    assert [order[position] for position in range(1, 20, 2)] == [3 + rest[place] for place in range(10)]


def test_runs_of_a_batch_keep_two_parts_apart() -> None:
    first, rest = Order([1.0] * 3, 7, 0), Order([1.0] * 5, 7, 2)
    order = stream.ByTurns(first, rest, 3, run=4)
    found = [order[position] for position in range(16)]
    assert found[:4] + found[8:12] == [first[place] for place in range(8)]
    assert found[4:8] + found[12:] == [3 + rest[place] for place in range(8)]


def made(source: stream.Domain | None, target: stream.Domain | None, seen: int = 0, **keys: Any) -> list[Batch]:
    fields = {"total": 12, "batch": 2, "runtime": cpu(), **keys}
    return list(stream.batches(source, target, **fields)(seen))


def equal(one: Sequence[Batch], other: Sequence[Batch]) -> bool:
    def tensors(batch: Batch) -> list[torch.Tensor]:
        return [value for value in vars(batch).values() if value is not None]

    return len(one) == len(other) and all(
        torch.equal(a, b)
        for first, second in zip(one, other, strict=True)
        for a, b in zip(tensors(first), tensors(second), strict=True)
    )


def test_batches_are_in_the_librarys_frame() -> None:
    batch = made(domain(5), domain(7, number=1))[0]
    assert batch.source_images_BCHW is not None
    assert batch.source_images_BCHW.shape == (2, 3, *SIZE)
    assert batch.source_images_BCHW.dtype == torch.float32
    assert batch.target_labels_BHW is not None
    assert batch.target_labels_BHW.shape == (2, *SIZE)
    assert batch.target_labels_BHW.dtype == torch.int64
    first = stream.to_batch(
        {"source_images": torch.tensor([[[[0, 255]]]], dtype=torch.uint8)}, cpu()
    ).source_images_BCHW
    assert torch.equal(first, torch.tensor([[[[-1.0, 1.0]]]]))  # type: ignore[arg-type]  # it is there


def test_a_domain_that_is_not_given_is_not_in_the_batch() -> None:
    batch = made(domain(5), None)[0]
    assert batch.target_images_BCHW is None
    assert batch.target_labels_BHW is None
    assert made(None, domain(5))[0].source_images_BCHW is None


def test_images_and_labels_stay_together_in_the_order_of_the_stream() -> None:
    chosen = domain(5)
    batches = made(chosen, None, total=10)
    data = Images(5)
    for step, batch in enumerate(batches):
        for place in range(2):
            item = data[chosen.order[2 * step + place]]
            assert batch.source_images_BCHW is not None
            assert batch.source_labels_BHW is not None
            assert torch.equal(batch.source_images_BCHW[place], item["image"].float().div(127.5).sub(1))
            assert torch.equal(batch.source_labels_BHW[place], item["label"].long())


@pytest.mark.parametrize("seen", [0, 2, 6, 10])
def test_a_resumed_stream_goes_on_where_it_stood(seen: int) -> None:
    whole = made(domain(5), domain(7, number=1))
    assert len(whole) == 6
    assert equal(made(domain(5), domain(7, number=1), seen), whole[seen // 2 :])


def test_augmentation_follows_from_the_position_too() -> None:
    def augmented(seed: int) -> stream.Domain:
        one = domain(5, seed=seed)
        return stream.Domain(one.data, one.order, AugmentConfig(flip=0.5, crop=(2, 4)), seed, 0)

    whole = made(augmented(0), None)
    assert equal(made(augmented(0), None, 6), whole[3:])
    assert not equal(made(augmented(1), None), whole)


def test_workers_read_the_same_batches() -> None:
    def augmented() -> stream.Domain:
        one = domain(5)
        return stream.Domain(one.data, one.order, AugmentConfig(flip=0.5, crop=(2, 4)), 0, 0)

    whole = made(augmented(), domain(7, number=1))
    assert equal(made(augmented(), domain(7, number=1), runtime=cpu(workers=2)), whole)
    assert equal(made(augmented(), domain(7, number=1), 6, runtime=cpu(workers=2)), whole[3:])


def matched(seed: int, each: int = 3, **keys: Any) -> stream.Domain:
    """Target images whose labels are what a guide sees in them; which crop was taken, they tell."""
    one = dataclasses.replace(domain(7, number=1, seed=seed), **keys)
    labels = [one.data[index]["label"].numpy() for index in range(7)]
    return dataclasses.replace(one, candidates=Candidates(labels, SIZE, each))


@given(st.integers(0, 30), st.integers(1, 4), st.sampled_from([None, (2, 4)]), st.sampled_from([(0, 1), (0.25, 1)]))
def test_no_candidate_agrees_more_with_the_source_crop_than_the_one_taken(
    seed: int, each: int, crop: tuple[int, int] | None, rows: tuple[float, float]
) -> None:
    keys: dict[str, Any] = {"augment": AugmentConfig(flip=0.5, crop=crop), "rows": rows}
    source = dataclasses.replace(domain(5, seed=seed), **keys)
    taken = made(source, matched(seed, each, **keys), batch=1)
    alone = dataclasses.replace(domain(7, number=1, seed=seed), **keys)
    candidates = made(None, alone, total=12 * each, batch=each)  # in a row, those of each position
    for batch, drawn in zip(taken, candidates, strict=True):
        assert batch.source_labels_BHW is not None and drawn.target_labels_BHW is not None
        shares = (drawn.target_labels_BHW == batch.source_labels_BHW).flatten(1).float().mean(dim=1)
        best = int(shares.argmax())  # of equals the first
        for name in ("target_images_BCHW", "target_labels_BHW"):
            assert torch.equal(getattr(batch, name)[0], getattr(drawn, name)[best])


def test_chosen_crops_follow_from_the_position_too() -> None:
    whole = made(domain(5), matched(0))
    assert equal(made(domain(5), matched(0), 6), whole[3:])
    assert not equal(made(domain(5), domain(7, number=1)), whole)


def test_rows_that_are_not_to_be_seen_are_cut_off_first() -> None:
    whole = made(domain(5), None)
    cut = made(dataclasses.replace(domain(5), rows=(0.25, 0.75)), None)
    for one, other in zip(whole, cut, strict=True):
        assert one.source_images_BCHW is not None and one.source_labels_BHW is not None
        assert other.source_images_BCHW is not None and other.source_labels_BHW is not None
        assert torch.equal(other.source_images_BCHW, one.source_images_BCHW[:, :, 1:3])
        assert torch.equal(other.source_labels_BHW, one.source_labels_BHW[:, 1:3])


def test_a_total_that_the_batch_does_not_divide_is_rounded_up() -> None:
    assert len(made(domain(5), None, total=11)) == 6


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_share_each_batch_and_together_see_what_one_sees(processes: int) -> None:
    whole = made(domain(5), domain(7, number=1), batch=4)
    runtimes = [
        SimpleNamespace(rank=rank, processes=processes, device=torch.device("cpu"), config=cpu().config)
        for rank in range(processes)
    ]
    shares = [made(domain(5), domain(7, number=1), batch=4, runtime=one) for one in runtimes]
    for step, batch in enumerate(whole):
        for name, value in vars(batch).items():
            assert torch.equal(torch.cat([getattr(share[step], name) for share in shares]), value)


@pytest.mark.parametrize("batch", [1, 3])
def test_a_batch_that_processes_cannot_share_is_refused(batch: int) -> None:
    runtime = SimpleNamespace(rank=0, processes=2, device=torch.device("cpu"), config=cpu().config)
    with pytest.raises(ConfigError, match=r"fit\.batch: .*shared equally by 2 processes; use a multiple of 2"):
        made(domain(5), None, batch=batch, runtime=runtime)


def test_starting_a_stream_does_not_depend_on_the_global_generator() -> None:
    torch.manual_seed(1)
    one = made(domain(5), None)
    torch.manual_seed(2)
    assert equal(one, made(domain(5), None))
