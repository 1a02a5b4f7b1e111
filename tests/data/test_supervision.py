from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uda.core.errors import ConfigError
from uda.data.supervision import split_pairs

RATIOS = st.floats(0, 1)


@given(st.integers(0, 60), RATIOS, RATIOS, st.integers(0, 5))
def test_splits_are_nested(count: int, one: float, other: float, seed: int) -> None:
    small, large = sorted((one, other))
    assert set(split_pairs(range(count), small, seed)[0]) <= set(split_pairs(range(count), large, seed)[0])


@given(st.lists(st.text(max_size=2), max_size=30), RATIOS, st.integers(0, 5))
def test_every_row_is_on_one_side_in_its_order(rows: list[str], ratio: float, seed: int) -> None:
    numbered = list(enumerate(rows))
    pairs, rest = split_pairs(numbered, ratio, seed)
    assert sorted(pairs + rest) == numbered
    assert pairs == sorted(pairs) and rest == sorted(rest)


def test_a_split_is_fixed_by_ratio_and_seed() -> None:
    assert split_pairs(range(100), 0.1, 3) == split_pairs(range(100), 0.1, 3)
    assert split_pairs(range(100), 0.1, 3) != split_pairs(range(100), 0.1, 4)
    assert split_pairs("abcde" * 20, 0.1, 3)[0] == ["abcde"[place % 5] for place in split_pairs(range(100), 0.1, 3)[0]]


@pytest.mark.parametrize(("ratio", "wanted"), [(0, 0), (0.001, 1), (0.05, 5), (0.104, 10), (0.5, 50), (1, 100)])
def test_the_ratio_is_rounded_to_rows_but_never_to_none(ratio: float, wanted: int) -> None:
    assert len(split_pairs(range(100), ratio, 0)[0]) == wanted


@pytest.mark.parametrize("ratio", [-0.1, 1.5])
def test_a_ratio_that_is_no_share_is_refused(ratio: float) -> None:
    with pytest.raises(ConfigError, match="is no supervision ratio; use a number from 0 to 1"):
        split_pairs(range(3), ratio, 0)
