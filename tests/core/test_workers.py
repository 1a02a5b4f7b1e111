"""Processes that do one call at a time: answers, errors, and how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from uda.core.errors import DataError
from uda.core.workers import KilledError, Workers


def begin(folder: Path, place: int) -> None:
    (folder / str(os.getpid())).write_text(str(place))


def begin_slowly(folder: Path, place: int) -> None:
    (folder / "beginning").touch()
    time.sleep(1)
    (folder / "begun").touch()


def begin_badly(folder: Path, place: int) -> None:
    if not (folder / "mended").exists():
        raise DataError("no such device", f"place {place}", "mend it")


def who(seconds: float = 0) -> int:
    time.sleep(seconds)
    return os.getpid()


def who_after(file: Path) -> int:
    wait_for(file)
    return os.getpid()


def fail() -> None:
    raise DataError("cannot be decoded", Path("a.png"), "replace it")


class OddError(Exception):
    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


def fail_oddly() -> None:
    raise OddError("salt", "pepper")


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def sleep_long(file: Path) -> None:
    """Sleep until interrupted, and say so after a while, as a fit does that saves what it has."""
    try:
        file.with_suffix(".begun").touch()  # in here: it may be interrupted right after
        time.sleep(100)
    except KeyboardInterrupt:
        time.sleep(0.3)
        file.touch()
        raise


def wait_for(file: Path) -> None:
    deadline = time.monotonic() + 60
    while not file.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_each_call_is_answered_by_one_of_as_many_processes(tmp_path: Path) -> None:
    with Workers(2, partial(begin, tmp_path)) as workers:
        found = []
        for number in range(5):
            while not workers.free:
                found.append(workers.wait())
            workers.start(str(number), who)
        assert workers.busy == 2
        found += [workers.wait(), workers.wait()]
        assert workers.free and not workers.busy
    assert {answer.key for answer in found} == {"0", "1", "2", "3", "4"}
    processes = {answer.value for answer in found}
    assert os.getpid() not in processes and len(processes) <= 2
    assert {int(path.name) for path in tmp_path.iterdir()} == processes
    assert {path.read_text() for path in tmp_path.iterdir()} <= {"0", "1"}


def test_errors_come_back_as_they_are_and_a_killed_process_is_told_from_the_others(tmp_path: Path) -> None:
    with Workers(1, partial(begin, tmp_path)) as workers:
        workers.start("bad", fail)
        error = workers.wait().error
        assert isinstance(error, DataError) and error.where == Path("a.png") and error.mend == "replace it"
        assert "in fail" in "".join(error.__notes__)
        workers.start("odd", fail_oddly)
        assert repr(workers.wait().error) == "RuntimeError('OddError: salt and pepper')"
        workers.start("dead", kill)
        answer = workers.wait()
        assert answer.key == "dead" and isinstance(answer.error, KilledError)
        workers.start("again", who)
        before = workers.wait().value
        os.kill(before, signal.SIGKILL)  # while it is idle
        workers.start("and again", who)
        answer = workers.wait()
        while isinstance(answer.error, KilledError):  # the call may be on its way when the process ends
            workers.start("and again", who)
            answer = workers.wait()
        assert answer.value != before


def test_what_keeps_a_process_from_beginning_is_told_and_the_next_one_tries_anew(tmp_path: Path) -> None:
    with Workers(1, partial(begin_badly, tmp_path)) as workers:
        for key in ("first", "second"):
            workers.start(key, who)
            answer = workers.wait()
            assert (answer.key, str(answer.error)) == (key, "place 0: no such device; mend it")
            assert isinstance(answer.error, DataError) and "in begin_badly" in "".join(answer.error.__notes__)
        (tmp_path / "mended").touch()
        workers.start("third", who)
        answer = workers.wait()
        assert answer.error is None and answer.value != os.getpid()


def test_each_process_has_a_place_of_its_own_which_it_leaves_to_the_next(tmp_path: Path) -> None:
    places = {}
    with Workers(3, partial(begin, tmp_path)) as workers:
        wait = partial(who_after, tmp_path / "next is there")
        calls: dict[str, Callable[[], object]] = {"dead": kill, "one": wait, "two": wait}
        for key, call in calls.items():
            workers.start(key, call)
        while workers.busy:
            answer = workers.wait()
            if isinstance(answer.error, KilledError):
                workers.start("next", who)
                (tmp_path / "next is there").touch()
            else:
                places[answer.key] = int((tmp_path / str(answer.value)).read_text())
    assert places == {"next": 0, "one": 1, "two": 2}


def test_an_exception_stops_each_process_once_and_waits_for_what_it_saves(tmp_path: Path) -> None:
    files = [tmp_path / "one", tmp_path / "two"]
    with pytest.raises(DataError, match="cannot be decoded"), Workers(3, partial(begin, tmp_path)) as workers:
        workers.start("idle", who)
        workers.wait()
        for file in files:
            workers.start(file.name, partial(sleep_long, file))
        workers.start("idle again", who)
        for file in files:
            wait_for(file.with_suffix(".begun"))
        before = time.monotonic()
        fail()
    assert time.monotonic() - before < 60
    assert all(file.exists() for file in files)


def test_what_has_not_begun_when_it_is_stopped_never_does(tmp_path: Path) -> None:
    with pytest.raises(DataError), Workers(1, partial(begin_slowly, tmp_path)) as workers:
        workers.start("first", partial(sleep_long, tmp_path / "file"))
        wait_for(tmp_path / "beginning")  # it can be stopped in order from here on
        fail()
    assert (tmp_path / "begun").exists() and not (tmp_path / "file.begun").exists()


def test_a_process_whose_parent_is_killed_stops_as_if_it_were_asked(tmp_path: Path) -> None:
    code = f"""
from functools import partial
from pathlib import Path
from tests.core.test_workers import Workers, begin, sleep_long
folder = Path({str(tmp_path)!r})
with Workers(1, partial(begin, folder)) as workers:
    workers.start("long", partial(sleep_long, folder / "file"))
    workers.wait()
"""
    first = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2])
    wait_for(tmp_path / "file.begun")
    first.kill()
    assert first.wait() == -signal.SIGKILL
    wait_for(tmp_path / "file")
    assert (tmp_path / "file").exists()  # what it keeps when it is asked to stop
