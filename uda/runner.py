"""Run the steps of a graph: one after another in this process, or several at a time in processes of their own."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from uda import turns
from uda.core.console import Console, duration
from uda.core.errors import ConfigError, RunError, UdaError
from uda.core.launch import processes
from uda.core.lazy import lazy_import
from uda.core.manifest import Manifest
from uda.core.workers import KilledError, Workers
from uda.pipeline import Planned
from uda.stages.base import execute

if TYPE_CHECKING:
    import torch

    from uda.engine import runtime
else:
    torch = lazy_import("torch")
    runtime = lazy_import("uda.engine.runtime")

FAILURES = (UdaError, RuntimeError, MemoryError)
"""What ends one step and need not end the others: torch's errors are RuntimeErrors."""


@dataclass
class Ran:
    """What came of the steps.

    Attributes:
        done: manifests, by the steps' names.
        failed: why steps failed; None for those that waited for a failed one.
    """

    done: dict[str, Manifest] = field(default_factory=dict)
    failed: dict[str, Exception | None] = field(default_factory=dict)


def run(
    planned: Sequence[Planned],
    console: Console,
    *,
    force: bool = False,
    jobs: int = 1,
    order: Sequence[Planned] | None = None,
    go_on: bool = False,
    on_done: Callable[[Planned, Ran], None] = lambda *_: None,
) -> Ran:
    """Run every step that has to.

    Args:
        planned: the steps, each after those that it takes something from.
        console: where it is said.
        force: run complete steps again.
        jobs: steps at a time. More than one run in processes of their own, as soon as their inputs are there, dealt out
            over the GPUs.
        order: which of the steps whose inputs are there goes first, where several run at a time; None: `by_urgency`.
        go_on: where a step fails, run what does not need it; a step that takes any number of sets of images goes
            without those that failed. Otherwise the first failure is raised, once the others have been stopped.
        on_done: called with each step that came to its end, and with what came of all so far.

    Raises:
        ConfigError: several jobs in a launch of several processes.
    """
    check_jobs(jobs)
    if jobs > 1:
        waiting = turns.by_urgency(planned) if order is None else list(order)
        return _side_by_side(waiting, console, force=force, jobs=jobs, go_on=go_on, on_done=on_done)
    ran = Ran()
    for one in planned:
        if (inputs := _inputs(one, ran.failed)) is None:
            ran.failed[one.name] = None
            continue
        console.say(f"--- {one.name}")
        try:
            ran.done[one.name] = _step(one, inputs, console, force=force)
        except FAILURES as error:
            if not go_on:
                raise
            _leave_out(one, error, ran, console)
        else:
            on_done(one, ran)
    return ran


def check_jobs(jobs: int) -> None:
    """Refuse several steps at a time in a launch of several processes, which take each step together.

    Raises:
        ConfigError: that is asked for.
    """
    if jobs > 1 and processes() > 1:
        mend = "leave --jobs out, or start the command by itself"
        raise ConfigError("a launch of several processes shares each step among them", "--jobs", mend)


def _leave_out(one: Planned, error: Exception, ran: Ran, console: Console) -> None:
    ran.failed[one.name] = _without_frames(error)
    what = str(error) if isinstance(error, UdaError) else f"step {one.name}: {error}"
    console.say(f"failed: {' '.join(what.split())}; going on without it")


def _without_frames(error: Exception) -> Exception:
    """The error, and those behind it, without the calls that they came through, which hold networks and images."""
    behind: BaseException | None = error
    while behind is not None:
        behind.__traceback__ = None
        behind = behind.__cause__ or behind.__context__
    return error


def _inputs(one: Planned, failed: Collection[str]) -> dict[str, Path] | None:
    """A step's inputs without those that failed; None where it cannot do without."""
    gone = {key for key, source in one.inputs.items() if source.step in failed}
    if any(key.partition(".")[0] not in one.stage.repeated for key in gone):
        return None
    return {key: source.path for key, source in one.inputs.items() if key not in gone}


def _step(one: Planned, inputs: Mapping[str, Path], console: Console, *, force: bool) -> Manifest:
    gc.collect()  # networks of the last step would count in this one's peak of memory
    try:
        return execute(one.stage, one.config, inputs, one.out, console, force=force)
    except UdaError as error:
        raise one.named(error) from error
    finally:
        runtime.free_memory()


def _side_by_side(
    waiting: list[Planned],
    console: Console,
    *,
    force: bool,
    jobs: int,
    go_on: bool,
    on_done: Callable[[Planned, Ran], None],
) -> Ran:
    ran = Ran()
    running: dict[str, tuple[Planned, float]] = {}
    with Workers(jobs, partial(_begin_process, jobs)) as workers:
        while waiting or workers.busy:
            for one in turns.ready(waiting, ran.done.keys() | ran.failed.keys()):
                if not workers.free:
                    break
                waiting.remove(one)
                if (inputs := _inputs(one, ran.failed)) is None:
                    ran.failed[one.name] = None
                    continue
                own = Console(quiet=console.quiet, label=one.name)
                workers.start(one.name, partial(_step, one, inputs, own, force=force))
                running[one.name] = one, time.monotonic()
            if not workers.busy:
                continue
            answer = workers.wait()
            one, started = running.pop(answer.key)
            error = answer.error
            if isinstance(error, KilledError):
                what = "its process was killed, as the system does when memory runs out"
                error = RunError(what, one.name, "run fewer --jobs; the same command goes on with what is there")
            if error is None:
                ran.done[one.name] = answer.value
                console.say(f"--- {one.name}: done {duration(time.monotonic() - started)} after its inputs")
                on_done(one, ran)
            elif go_on and isinstance(error, FAILURES):
                _leave_out(one, error, ran, console)
            else:
                console.say(f"--- {one.name}: failed")
                raise error
    return ran


def _begin_process(jobs: int, place: int) -> None:
    """A process of its own: out of Ctrl-C's reach, which the first process passes on once; with its share of the cores.

    Several GPUs are dealt out over the processes, each of which keeps the one that it got.
    """
    os.setpgrp()
    torch.set_num_threads(turns.threads_each(jobs))
    if (gpus := torch.cuda.device_count()) > 1:
        runtime.prefer_gpu(place % gpus)
