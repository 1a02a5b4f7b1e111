"""What a person sees: results on stdout, progress on stderr (a bar on a terminal, plain status lines elsewhere)."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

STATUS_SECONDS = 15.0
"""Plain status lines come at most this often."""


def duration(seconds: float) -> str:
    """Seconds as `1h 02m`, `3m 05s` or `7s`."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 60}m {whole % 60:02d}s" if whole >= 60 else f"{whole}s"


def size(count: float) -> str:
    """Bytes as `1.3 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _print(text: str, stream: TextIO) -> None:
    """Print a line; where nobody reads any more (`| head`, a `tee` that died), work and its exit code go on unheard."""
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


class Progress:
    """One long piece of work: counts, speed, time left and a few numbers.

    Made by `Console.progress`; `update` may be called as often as one likes.
    """

    def __init__(self, title: str, total: int, unit: str, stream: TextIO, done: int, *, bar: bool = True) -> None:
        self.title, self.total, self.unit, self.done = title, total, unit, done
        self._stream, self._start, self._first = stream, time.monotonic(), done
        self._last_line = time.monotonic()
        self._bar = _bar(title, total, done) if bar and stream.isatty() else None

    def update(self, done: int, numbers: Mapping[str, float] | None = None) -> None:
        """Say how many units are done and the latest numbers."""
        self.done = done
        text = "  ".join(f"{name} {value:.4g}" for name, value in (numbers or {}).items())
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=done, numbers=f"{self._speed():.1f}/s  {text}".rstrip())
        elif time.monotonic() - self._last_line >= STATUS_SECONDS or done >= self.total:
            self._last_line = time.monotonic()
            _print(f"{self.title}: {self._status()}  {text}".rstrip(), self._stream)

    def close(self) -> None:
        """Take the bar off the terminal."""
        if self._bar is not None:
            self._bar.stop()

    def _speed(self) -> float:
        return (self.done - self._first) / max(time.monotonic() - self._start, 1e-9)

    def _status(self) -> str:
        speed = self._speed()
        left = f", {duration((self.total - self.done) / speed)} left" if speed > 0 and self.done < self.total else ""
        return f"{self.done}/{self.total} {self.unit}, {speed:.1f}/s{left}"


def _bar(title: str, total: int, done: int):  # type: ignore[no-untyped-def]  # noqa: ANN202  # rich loads late
    from rich.console import Console as RichConsole
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[numbers]}"),
    )
    # Rich forgets steps older than this; a step of a large network on a CPU takes longer than its 30 seconds.
    bar = RichProgress(*columns, console=RichConsole(stderr=True), transient=True, speed_estimate_period=1800)
    bar.add_task(title, total=total, completed=done, numbers="")
    bar.start()
    return bar


class Console:
    """Where a command speaks.

    Args:
        quiet: say nothing on stderr (processes other than the first).
        label: comes before every line on stderr, and lines take the place of bars: several speak at a time.
    """

    def __init__(self, *, quiet: bool = False, label: str = "") -> None:
        self.quiet, self.label = quiet, label

    def result(self, text: str) -> None:
        """A result: one line or a table on stdout."""
        if not self.quiet:
            _print(text, sys.stdout)

    def say(self, text: str) -> None:
        """A decision or a note: a line on stderr."""
        if not self.quiet:
            _print(self._labelled(text), sys.stderr)

    def _labelled(self, text: str) -> str:
        return f"{self.label}: {text}" if self.label else text

    @contextmanager
    def progress(self, title: str, total: int, *, unit: str = "images", done: int = 0) -> Iterator[Progress]:
        """Show the progress of a long piece of work.

        Args:
            title: the stage and what it does.
            total: units in all.
            unit: what is counted.
            done: units done before (a resumed run).
        """
        stream = io.StringIO() if self.quiet else sys.stderr
        progress = Progress(self._labelled(title), total, unit, stream, done, bar=not self.label)
        try:
            yield progress
        finally:
            progress.close()
