"""Whose turn it is where several steps of a graph run at a time, and how long all of them take then."""

from __future__ import annotations

import heapq
import os
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from uda.core.lazy import lazy_import
from uda.pipeline import Planned

if TYPE_CHECKING:
    import torch
else:
    torch = lazy_import("torch")


def by_urgency(planned: Sequence[Planned]) -> list[Planned]:
    """Scores first, which take seconds, then what the longest chain of steps waits for."""
    chains: dict[str, int] = {one.name: 1 for one in planned}
    for one in reversed(planned):
        for source in one.inputs.values():
            if source.step is not None:
                chains[source.step] = max(chains[source.step], 1 + chains[one.name])
    return sorted(planned, key=lambda one: (one.row is None, -chains[one.name]))


def ready(waiting: Sequence[Planned], over: Collection[str]) -> list[Planned]:
    """The steps that wait for none but those that are over."""
    return [one for one in waiting if all(source.step in (None, *over) for source in one.inputs.values())]


def threads_each(jobs: int) -> int:
    """Threads that torch gets in each of so many processes: its share of the cores.

    Who has set OMP_NUM_THREADS has chosen for each process: he may have other programs beside this one, and threads
    that outnumber the cores slow all of them down several times.
    """
    return torch.get_num_threads() if "OMP_NUM_THREADS" in os.environ else max(1, torch.get_num_threads() // jobs)


def seconds_in_all(planned: Sequence[Planned], seconds: Mapping[str, float], lanes: int) -> float:
    """Seconds until the last of the steps is over, where each begins as soon as its inputs and a lane are there.

    Args:
        planned: the steps, each after those that it takes something from.
        seconds: how long each takes; 0 where left out.
        lanes: steps at a time.
    """
    waiting, over = by_urgency(planned), set[str]()
    running: list[tuple[float, str]] = []
    now = 0.0
    while waiting or running:
        for one in ready(waiting, over)[: lanes - len(running)]:
            waiting.remove(one)
            heapq.heappush(running, (now + seconds.get(one.name, 0.0), one.name))
        now, name = heapq.heappop(running)
        over.add(name)
    return now
