"""Which rows of a labelled set count as pairs at a given supervision ratio, so that experiments share their splits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from uda.core.errors import ConfigError
from uda.data.samples import Sample

T = TypeVar("T")


def split_pairs(samples: Sequence[T], ratio: float, seed: int) -> tuple[list[T], list[T]]:
    """A fixed split into pairs and what shall be unpaired.

    The same rows in the same order, ratio and seed give the same split, whatever the files are called. Splits are
    nested: what is a pair at a ratio is one at every larger ratio.

    Args:
        samples: the labelled rows.
        ratio: pairs over all rows, in [0, 1]; rounded to whole rows, but at least one where it is not 0.
        seed: of the choice.

    Returns:
        The pairs, and the other rows, both in the order they came in.

    Raises:
        ConfigError: the ratio is no share.
    """
    if not 0 <= ratio <= 1:
        raise ConfigError(f"{ratio} is no supervision ratio", None, "use a number from 0 to 1")
    wanted = max(round(ratio * len(samples)), 1 if ratio else 0)
    chosen = set(np.random.default_rng(seed).permutation(len(samples))[:wanted].tolist())
    pairs = [sample for place, sample in enumerate(samples) if place in chosen]
    return pairs, [sample for place, sample in enumerate(samples) if place not in chosen]


def choose_pairs(rows: Sequence[Sample], ratio: float) -> list[Sample]:
    """The rows of a manifest that count as pairs: the part `ratio` of those with a label, the same in every run."""
    return split_pairs([sample for sample in rows if sample.label is not None], ratio, seed=0)[0]
