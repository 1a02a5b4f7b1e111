"""Processes of their own that do one call after another, and can be stopped without waiting for one another."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing import connection, get_context, parent_process
from types import TracebackType
from typing import Any, Self


class KilledError(Exception):
    """The process that did a call is gone, and has left no answer."""


@dataclass(frozen=True)
class Answer:
    """What came of a call: its key, what it returned, or what it raised."""

    key: str
    value: Any = None
    error: BaseException | None = None


class Workers:
    """Up to `count` processes, each started when it is first needed and told what to do by a pipe of its own.

    No queue is shared, as in `concurrent.futures`: a process that is stopped or killed leaves no lock behind that
    another waits for, and whose call it was is known. They are fresh ones, since a forked one can use no GPU that its
    parent has touched. An exception within the block stops them as a person would: each once, so that a fit keeps what
    it has, and the block waits until they are done.

    Args:
        count: processes at most.
        begin: called first in each, with its place among them, from 0 on; one that is gone leaves it to the next. What
            it raises is the answer to the first call, with which the process ends.
    """

    def __init__(self, count: int, begin: Callable[[int], None]) -> None:
        self._count, self._begin = count, begin
        self._context = get_context("spawn")
        self._processes: dict[connection.Connection, Any] = {}
        self._places: dict[connection.Connection, int] = {}
        self._busy: dict[connection.Connection, str] = {}

    @property
    def busy(self) -> int:
        """Calls that are being done."""
        return len(self._busy)

    @property
    def free(self) -> bool:
        """Whether another one can be started."""
        return self.busy < self._count

    def start(self, key: str, call: Callable[[], Any]) -> None:
        """Have a process do a call; both can be pickled. Only where one is free."""
        for idle in [pipe for pipe in self._processes if pipe not in self._busy]:
            try:
                idle.send(call)
            except OSError:  # killed meanwhile
                self._forget(idle)
            else:
                self._busy[idle] = key
                return
        here, there = self._context.Pipe()
        place = min(set(range(self._count)) - set(self._places.values()))
        process = self._context.Process(target=_work, args=(there, partial(self._begin, place)))
        process.start()
        there.close()  # so that the end of the process is the end of the pipe
        self._processes[here], self._places[here], self._busy[here] = process, place, key
        here.send(call)

    def wait(self) -> Answer:
        """Wait for a call to end; there is one."""
        pipe = connection.wait(list(self._busy))[0]
        assert isinstance(pipe, connection.Connection)
        key = self._busy.pop(pipe)
        try:
            value, error, goes_on = pipe.recv()
        except (EOFError, OSError):
            self._forget(pipe)
            return Answer(key, error=KilledError())
        if not goes_on:
            self._forget(pipe)
        return Answer(key, value, error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._stop()
        try:
            for pipe in list(self._processes):
                self._forget(pipe)
        except KeyboardInterrupt:  # asked a second time: at once, then
            self._stop()
            raise

    def _stop(self) -> None:
        for pipe, process in self._processes.items():
            if pipe in self._busy:
                process.terminate()

    def _forget(self, pipe: connection.Connection) -> None:
        """Close a pipe, at whose end its process ends, and wait for that."""
        pipe.close()
        self._processes[pipe].join()
        self._busy.pop(pipe, None)
        del self._processes[pipe], self._places[pipe]


def _work(pipe: connection.Connection, begin: Callable[[], None]) -> None:
    """Do calls until the pipe ends, or SIGTERM comes: in a call it interrupts, between two it lets none begin.

    An answer is what the call returned, what it raised, and whether the process goes on.
    """
    asked = working = False
    failed: BaseException | None = None

    def stop(number: int, frame: object) -> None:
        nonlocal asked
        asked = True
        if working:
            raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    try:
        begin()
    except BaseException as raised:  # kept for who waits for an answer: a process that just ends seems to be killed
        failed = _portable(raised)
    while True:
        try:
            call = pipe.recv()
        except (EOFError, OSError):
            return
        if asked:
            return
        value, error = None, failed
        try:
            working = True
            value = call() if failed is None else None
        except BaseException as raised:  # the first process decides
            error = _portable(raised)
        working = False
        try:
            pipe.send((value, error, failed is None))
        except OSError:  # nobody waits for it any more
            return
        if failed is not None:
            return


def _stop_with_parent() -> None:
    """Stop as if asked to once the process that began this one is gone, killed without a chance to ask."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


def _portable(error: BaseException) -> BaseException:
    """The error that is being handled, or one of the same text where it cannot be sent to another process."""
    error.add_note(traceback.format_exc())  # the one that is shown in the first process begins there
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  # it was made here
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
