"""The processes of a launch, as the environment tells them."""

from __future__ import annotations

import pytest

from uda.core.errors import ConfigError
from uda.core.launch import is_first_process, processes


@pytest.mark.parametrize(("text", "count"), [(None, 1), ("1", 1), ("16", 16)])
def test_processes_are_those_of_the_launcher(monkeypatch: pytest.MonkeyPatch, text: str | None, count: int) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    if text is not None:
        monkeypatch.setenv("WORLD_SIZE", text)
    assert processes() == count


@pytest.mark.parametrize("text", ["", "two", "0", "-1", "1.5"])
def test_what_is_no_number_of_processes_is_told(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("WORLD_SIZE", text)
    with pytest.raises(ConfigError, match=rf"environment variable WORLD_SIZE: '{text}' is no number of processes; "):
        processes()


@pytest.mark.parametrize(("text", "first"), [(None, True), ("0", True), ("1", False), ("10", False)])
def test_the_first_process_writes(monkeypatch: pytest.MonkeyPatch, text: str | None, first: bool) -> None:
    monkeypatch.delenv("RANK", raising=False)
    if text is not None:
        monkeypatch.setenv("RANK", text)
    assert is_first_process() is first
