"""The command line called in this process, for tests of its manners."""

from __future__ import annotations

import sys

import pytest

from uda.cli import main


def uda(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run a command in this process; its exit code."""
    monkeypatch.setattr(sys, "argv", ["uda", *(str(one) for one in arguments)])
    with pytest.raises(SystemExit) as left:
        main()
    assert isinstance(left.value.code, int)
    return left.value.code


class Told:
    """Runs commands and gives the exit code and the line on stderr that explains it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys
        self.out = ""

    def __call__(self, *arguments: object) -> tuple[int, str]:
        code = uda(self._monkeypatch, *arguments)
        self.out, err = self._capsys.readouterr()
        assert "Traceback" not in err
        assert err.count("\n") <= 1
        return code, err.rstrip("\n")
