"""Errors that a person can act on: one line that says what, where and how to mend it, and an exit code."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UdaError(Exception):
    """Base of all errors that end a command with one line on stderr.

    Args:
        what: what is wrong, in a few words.
        where: the file, key, class or step it is about.
        mend: the command or edit that mends it.
    """

    exit_code = 4

    def __init__(self, what: str, where: object = None, mend: str | None = None) -> None:
        self.what, self.where, self.mend = what, where, mend
        line = what if where is None else f"{where}: {what}"
        super().__init__(line if mend is None else f"{line}; {mend}")


class ConfigError(UdaError):
    """Wrong usage or configuration (exit code 2)."""

    exit_code = 2


class DataError(UdaError):
    """Bad or missing data (exit code 3)."""

    exit_code = 3


class RunError(UdaError):
    """The run failed: it diverged or ran out of memory (exit code 4)."""

    exit_code = 4


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint such as ``, did you mean 'width'?``, or the list of what is known where nothing is near."""
    names = sorted(known)
    match = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    if match:
        return f"did you mean '{match[0]}'?"
    return f"known: {', '.join(names)}" if names else "nothing is known here"
