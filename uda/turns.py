"""Whose turn it is where several steps of a graph run at a time, and how long all of them take then."""

from __future__ import annotations

import heapq
import os
import random
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from uda.core.lazy import lazy_import
from uda.pipeline import Planned

if TYPE_CHECKING:
    import torch
else:
    torch = lazy_import("torch")


_TRIES = 20
"""Orders that are tried besides; of `minicity_full`'s steps five find as good a one as two hundred."""


def by_urgency(planned: Sequence[Planned]) -> list[Planned]:
    """Scores first, which take seconds, then what the longest chain of steps waits for.

    Args:
        planned: the steps, each after those that it takes something from.
    """
    return _by(planned, _chains(planned, dict.fromkeys((one.name for one in planned), 1.0)))


def soonest_over(planned: Sequence[Planned], seconds: Mapping[str, float], lanes: int) -> list[Planned]:
    """An order of preference by which all are over soon: scores first, and of some orders of the rest the best.

    Tried are `by_urgency`, what the chain that takes longest waits for, and that one shuffled a little: the longest
    chain must not wait, nor may long steps that nothing waits for be left for the end, where they run alone.

    Args:
        planned: the steps, each after those that it takes something from.
        seconds: how long each takes; 0 where left out.
        lanes: steps at a time.
    """
    tried = [by_urgency(planned)]
    if lanes > 1:
        chains, draw = _chains(planned, seconds), random.Random(0)  # noqa: S311  # no secret
        shuffled = ({name: chain * draw.uniform(0.3, 1) for name, chain in chains.items()} for _ in range(_TRIES))
        tried += [_by(planned, lengths) for lengths in (chains, *shuffled)]
    return min(tried, key=lambda order: seconds_in_all(order, seconds, lanes))


def _chains(planned: Sequence[Planned], lengths: Mapping[str, float]) -> dict[str, float]:
    """For each step the length of the longest chain that begins with it."""
    chains = {one.name: lengths.get(one.name, 0.0) for one in planned}
    for one in reversed(planned):
        for source in one.inputs.values():
            if source.step is not None:
                longer = lengths.get(source.step, 0.0) + chains[one.name]
                chains[source.step] = max(chains[source.step], longer)
    return chains


def _by(planned: Sequence[Planned], chains: Mapping[str, float]) -> list[Planned]:
    return sorted(planned, key=lambda one: (one.row is None, -chains[one.name]))


def ready(waiting: Sequence[Planned], over: Collection[str]) -> list[Planned]:
    """The steps that wait for none but those that are over."""
    return [one for one in waiting if all(need.step is None or need.step in over for need in one.inputs.values())]


def threads_each(jobs: int) -> int:
    """Threads that torch gets in each of so many processes: its share of the cores.

    Who has set OMP_NUM_THREADS has chosen for each process: he may have other programs beside this one, and threads
    that outnumber the cores slow all of them down several times.
    """
    return torch.get_num_threads() if "OMP_NUM_THREADS" in os.environ else max(1, torch.get_num_threads() // jobs)


def seconds_in_all(order: Sequence[Planned], seconds: Mapping[str, float], lanes: int) -> float:
    """Seconds until the last of the steps is over, where each begins as soon as its inputs and a lane are there.

    Args:
        order: the steps in their order of preference.
        seconds: how long each takes; 0 where left out.
        lanes: steps at a time.
    """
    waiting, over = list(order), set[str]()
    running: list[tuple[float, str]] = []
    now = 0.0
    while waiting or running:
        for one in ready(waiting, over)[: lanes - len(running)]:
            waiting.remove(one)
            heapq.heappush(running, (now + seconds.get(one.name, 0.0), one.name))
        now, name = heapq.heappop(running)
        over.add(name)
    return now
