"""About how much disk and time a plan needs, said before anything runs.

Disk follows from counts and sizes. Time is measured on this machine. A few steps of each different fit run on random
images, at no more than a quarter megapixel, and are scaled to the images to be seen; images that are run through whole,
whatever the fit's crop, count by their pixels. To that comes the reading of files, measured on a few of each set, or on
PNGs of their size where they are made later: before each step, or beside it where `runtime.workers` read, and once
where the cache holds what was read. `prepare` and `quality` are tried on such files themselves.

A step whose trial fails counts as nothing and is named beside the total. Left out are what an interrupted run has done
of a step that goes on; labels that are looked through because no `prepare` vouches for them, or for `select.classes`;
the scoring at the labels' size, where that is larger; and what `quality` compares between renders of one input.
Mini-city's drawing is assumed. Where every fit is of a few steps (`--tiny`), nothing is measured: that would be a good
part of the run.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from uda import turns
from uda.core.console import Console
from uda.core.lazy import lazy_import
from uda.cost.done import Done, find_done
from uda.cost.needs import NEEDS
from uda.cost.sets import Sets
from uda.cost.trials import Trials, UnmeasuredError
from uda.pipeline import Planned

if TYPE_CHECKING:
    import torch

    from uda.engine import runtime
else:
    torch = lazy_import("torch")
    runtime = lazy_import("uda.engine.runtime")

_FITS = ("segment", "translate")
_NAMED = 3
"""Steps that are named where one trial failed."""
_FEW_STEPS = 20
"""A run whose fits have no more than these needs no estimate: a trial makes four of each kind."""


@dataclass(frozen=True)
class Estimate:
    """What a plan needs.

    Attributes:
        bytes: on disk.
        seconds: None where nothing was measured, or nothing would take long.
        order: all steps in the order of preference by which that time was found; None as `seconds`.
        left_out: what that time is without, and why: a text for each trial that failed.
    """

    bytes: float
    seconds: float | None
    order: Sequence[Planned] | None = None
    left_out: tuple[str, ...] = ()


def estimate(
    planned: Sequence[Planned],
    todo: Sequence[Planned],
    console: Console,
    *,
    measure: bool,
    force: bool = False,
    jobs: int = 1,
) -> Estimate:
    """What the steps to run need.

    Args:
        planned: all steps (their configs say how many images later ones get).
        todo: those that will run.
        console: told while speeds are measured.
        measure: run trials; else no time is given.
        force: steps are run by force, which goes on only with what force began.
        jobs: steps at a time. On a GPU that they share they are taken to wait for one another, which is the longest
            that it can take.
    """
    waiting = {one.name for one in todo}
    sets = Sets(planned, waiting)
    done = {one.name: find_done(one, waiting, force=force) for one in todo}
    total = sum(max(0.0, NEEDS[one.stage.name].bytes(one, sets) - done[one.name].bytes) for one in todo)
    fits = [one.config.fit for one in todo if one.stage.name in _FITS]  # type: ignore[attr-defined]  # theirs have one
    if not measure or (fits and all(fit.images <= _FEW_STEPS * fit.batch for fit in fits)):
        return Estimate(total, None)
    console.say("measuring this machine's speed on a few steps and files ...")
    try:
        with _threads(turns.threads_each(jobs)) as each:
            took, left_out = _measured(todo, Trials(sets), done)
    finally:
        runtime.free_memory()
    lanes = _lanes(jobs, each, todo)
    order = turns.soonest_over(planned, took, lanes)
    return Estimate(total, turns.seconds_in_all(order, took, lanes), order, left_out)


def _measured(
    todo: Sequence[Planned], trials: Trials, done: Mapping[str, Done]
) -> tuple[dict[str, float], tuple[str, ...]]:
    """Seconds of each step, and which could not be measured: of steps that only differ in round or seed the first."""
    took: dict[str, float] = {}
    failed: dict[str, dict[str, str]] = {}
    for one in todo:
        try:
            took[one.name] = NEEDS[one.stage.name].seconds(one, trials, done[one.name])
        except UnmeasuredError as error:
            kind = one.name.rpartition("/")[2].partition("@")[0]
            failed.setdefault(str(error), {}).setdefault(kind, one.name)
    return took, tuple(_told(list(names.values()), reason) for reason, names in failed.items())


def _told(names: Sequence[str], reason: str) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    whose = "its" if len(names) == 1 else "their"
    return f"{', '.join(names[:_NAMED])}{more} ({whose} trial failed: {reason})"


@contextlib.contextmanager
def _threads(number: int) -> Iterator[int]:
    """So many threads for torch, as a step will have."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield number
    finally:
        torch.set_num_threads(before)


def _lanes(jobs: int, threads: int, todo: Sequence[Planned]) -> int:
    """Steps that run at a time, each about as fast as alone."""
    devices = {one.config.runtime.device for one in todo}
    if all(map(runtime.on_cpu, devices)):
        return max(1, min(jobs, (os.cpu_count() or 1) // threads))
    return min(jobs, max(torch.cuda.device_count() if device in ("auto", "cuda") else 1 for device in devices))
