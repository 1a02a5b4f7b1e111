from __future__ import annotations

import io
import subprocess
import sys
import time
from pathlib import Path

import pytest

from uda.core.console import Console, duration, size


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (7.4, "7s"),
        (59.4, "59s"),
        (59.6, "1m 00s"),
        (185, "3m 05s"),
        (3599, "59m 59s"),
        (3600, "1h 00m"),
        (93_780, "26h 03m"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1_300_000_000, "1.3 GB"), (25e6, "25.0 MB"), (7.25e13, "72.5 TB")],
)
def test_sizes(count: float, text: str) -> None:
    assert size(count) == text


def test_results_go_to_stdout_and_notes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    speaker = Console()
    speaker.result("0.5")
    speaker.say("segment: running")
    assert capsys.readouterr() == ("0.5\n", "segment: running\n")


def test_a_quiet_console_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    speaker = Console(quiet=True)
    speaker.result("0.5")
    speaker.say("note")
    with speaker.progress("work", 2) as progress:
        progress.update(2, {"loss": 1.0})
    assert progress.done == 2
    assert capsys.readouterr() == ("", "")


def test_a_label_says_whose_lines_they_are_and_there_are_no_bars(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    speaker = Console(label="segment@1")
    speaker.say("pretrained")
    with speaker.progress("segment", 2) as progress:
        progress.update(2, {"loss": 1.0})
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "segment@1: pretrained"
    assert lines[1].startswith("segment@1: segment: 2/2 images") and lines[1].endswith("loss 1")


def test_without_a_terminal_progress_is_plain_lines_and_few(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with Console().progress("segment", 100, done=20) as progress:
        for done in range(21, 101):  # one image a second
            clock[0] += 1
            progress.update(done, {"loss": 1 / 3, "images/s": 1})
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    # Every 15 s, and at the end; the speed is that of this run, without what was done before.
    assert lines[0] == "segment: 35/100 images, 1.0/s, 1m 05s left  loss 0.3333  images/s 1"
    assert [line.split()[1] for line in lines] == ["35/100", "50/100", "65/100", "80/100", "95/100", "100/100"]
    assert lines[-1] == "segment: 100/100 images, 1.0/s  loss 0.3333  images/s 1"
    assert "\x1b" not in err
    assert "\r" not in err


def test_an_error_inside_leaves_the_terminal_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="inside"), Console().progress("work", 3):
        raise ValueError("inside")
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_the_bar_shows_speed_and_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    clock, terminal = [100.0], Terminal()
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal)
    with Console().progress("translate: rendering", 100) as progress, monkeypatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: clock[0])
        progress._start = clock[0]
        clock[0] += 4
        progress.update(50, {"loss": 0.5})
    assert "50/100" in terminal.getvalue()
    assert "12.5/s  loss 0.5" in terminal.getvalue()


@pytest.mark.parametrize(("stream", "exit_code"), [("stdout", 0), ("stderr", 0)])
def test_work_goes_on_where_nobody_reads_any_more(tmp_path: Path, stream: str, exit_code: int) -> None:
    code = (
        "import sys, pathlib, time\nfrom uda.core.console import Console\nspeaker = Console()\n"
        "time.sleep(0.5)\n"  # the reader is gone by then
        "for _ in range(3):\n    speaker.result('a result')\n    speaker.say('a note')\n"
        "with speaker.progress('work', 1) as progress:\n    progress.update(1)\n"
        f"pathlib.Path({str(tmp_path / 'made')!r}).touch()"
    )
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL} | {stream: subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", code], stdout=pipes["stdout"], stderr=pipes["stderr"])
    getattr(process, stream).close()
    assert process.wait() == exit_code
    assert (tmp_path / "made").exists()
