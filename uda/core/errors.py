"""Errors that a person can act on: one line that says what, where and how to mend it, and an exit code."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Self


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

    def in_step(self, step: str, *, stage: str, inputs: Iterable[str]) -> Self:
        """The same, said of a step of a graph, whose settings and inputs are given otherwise than a command's.

        Args:
            step: its name, as in `seed_1/translate@2`; its settings are given by `--set translate.key=value`.
            stage: name of its stage, which says no more than the step's.
            inputs: what the stage takes, which a command has as options.
        """
        where = f"step {step}" if self.where in (None, stage) else f"step {step}: {self.where}"
        mend = self.mend
        if mend is not None:
            key = step.rpartition("/")[2].partition("@")[0]
            mend = re.sub(r"--set (?!label_space=)", f"--set {key}.", mend)
            for name in inputs:
                mend = re.sub(rf"--{re.escape(name)}\b(?: [A-Z_]+\b)?", f"the input {name}", mend)
        return type(self)(self.what, where, mend)


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
