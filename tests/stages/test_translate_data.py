"""Which images a translator is fitted on: pairs and unpaired images by turns, rare classes first."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from uda.data.label_space import load_space
from uda.data.samples import Sample
from uda.engine import stream
from uda.stages._translate_data import Pairs, paired_domain
from uda.stages.translate import TranslateConfig
from uda.translators.oasis import OasisConfig


def sample(name: str) -> Sample:
    return Sample(Path(f"{name}.png"), Path(f"{name}_label.png"), "cityscapes", Path())


def made(pairs: str, others: str, target: str | None, counts: list[list[int]], **settings: object) -> stream.Domain:
    """The stream of pairs (a letter each), of their manifest's other rows, and of the target's rows."""
    config = TranslateConfig.model_validate(
        {"translator": OasisConfig.tiny().model_dump(), "size": (64, 64), "seed": 3, **settings}
    )
    found = Pairs([sample(one) for one in pairs], np.array(counts), [sample(one) for one in others])
    rows = None if target is None else [sample(one) for one in target]
    return paired_domain(config, load_space("cityscapes19"), found, rows)


def test_pairs_come_by_turns_with_all_images_that_are_none() -> None:
    domain = made("abc", "d", "adu", [[9, 0], [9, 0], [0, 1]])
    assert [one.image.stem for one in domain.data.samples] == ["a", "b", "c", "d", "u"]
    assert [one.label is None for one in domain.data.samples] == [False] * 3 + [True] * 2
    assert all((domain.order[place] < 3) == (place % 2 == 0) for place in range(40))
    assert sorted(domain.order[2 * place] for place in range(3)) == [0, 1, 2]
    alone = made("abc", "d", None, [[9, 0], [9, 0], [0, 1]])
    assert [one.image.stem for one in alone.data.samples] == ["a", "b", "c"]
    assert {alone.order[place] for place in range(9)} == {0, 1, 2}


@pytest.mark.parametrize(("target", "step"), [("uv", 2), (None, 1)])
def test_rare_classes_lead_for_their_part_of_the_fit(target: str | None, step: int) -> None:
    """Of 400 images the first half: with unpaired images by turns that is the first hundred pairs, without them 200."""
    first: Counter[int] = Counter()
    for seed in range(4):
        domain = made(
            "abc", "", target, [[9, 0], [9, 0], [0, 1]], rare_classes=0.5, fit={"images": 400, "batch": 2}, seed=seed
        )
        shown = [domain.order[step * place] for place in range(400 // step)]
        half = len(shown) // 2
        first.update(shown[:half])
        # After it each of the three comes once in an epoch, whose bounds go on from the start.
        begin = -(-half // 3) * 3
        assert all(sorted(shown[at : at + 3]) == [0, 1, 2] for at in range(begin, len(shown) - 2, 3))
    # The third pair has all of a class, the others half of another one each.
    assert first[2] / first.total() == pytest.approx(0.5, abs=0.08)


def test_rare_classes_lead_as_long_where_crops_are_chosen() -> None:
    """Of each of 200 positions four candidates are looked at, of which one is taken."""
    counts = [[9, 0], [9, 0], [0, 1]]
    domain = made(
        "abc", "", None, counts, rare_classes=0.5, fit={"images": 200, "batch": 2}, target_candidates=4, seed=1
    )
    shown = Counter(domain.order[place] for place in range(4 * 100))
    assert shown[2] / shown.total() == pytest.approx(0.5, abs=0.08)
    rest = [domain.order[place] for place in range(402, 800 - 2)]
    assert all(sorted(rest[at : at + 3]) == [0, 1, 2] for at in range(0, len(rest) - 2, 3))
