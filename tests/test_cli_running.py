"""What ends a command while it runs: errors from within, a full disk, a pipe that closes, and signals."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.cli_calls import Told, uda
from tests.engine.players import Game, play
from uda.cli_options import as_uda_error, run_guarded
from uda.core.errors import ConfigError, DataError, RunError
from uda.core.manifest import MANIFEST
from uda.core.rundir import CHECKPOINT


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("uda.data.minicity.write_minicity", fail)


def uda_minicity(monkeypatch: pytest.MonkeyPatch, folder: Path, *more: str) -> int:
    return uda(monkeypatch, *more, "minicity", "--out", folder / "out", "--set", "gta5=1")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (RunError("diverged: keep is nan at image 8", "translate", "lower the learning rate"), 4, "lower the learning"),
        (RuntimeError("a\nlong\nstory"), 4, "error: RuntimeError: a long story; run again with --debug"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 4, "error: out of memory; make the batch"),
        (MemoryError(), 4, "error: out of memory"),
        (OSError(28, "No space left on device", "x.png"), 4, "error: x.png: no space left on the disk"),
        (PermissionError(13, "Permission denied", "runs/x"), 2, "error: runs/x: permission denied"),
        (KeyboardInterrupt(), 130, "interrupted; run the same command again to go on"),
        (KeyboardInterrupt("segment stopped at 8 of 24"), 130, "interrupted: segment stopped at 8 of 24; run the same"),
    ],
)
def test_what_goes_wrong_while_running_is_one_line_and_a_code(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    error: BaseException,
    code: int,
    said: str,
) -> None:
    failing(monkeypatch, error)
    assert uda_minicity(monkeypatch, tmp_path) == code
    out, err = capsys.readouterr()
    assert out == ""
    # One line says what is done, one how it ended.
    assert len(err.splitlines()) == 2
    assert err.splitlines()[1].startswith(said) or said in err.splitlines()[1]
    assert "Traceback" not in err


def test_debug_shows_the_traceback_wherever_it_stands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    failing(monkeypatch, ValueError("deep inside"))
    for arguments in (("--debug", "minicity"), ("minicity", "--debug")):
        assert uda(monkeypatch, *arguments, "--out", tmp_path / "out") == 4
        err = capsys.readouterr().err
        assert "Traceback" in err
        assert "ValueError: deep inside" in err
        assert err.splitlines()[-1].startswith("error: ")


def test_errors_of_the_library_keep_their_kind() -> None:
    for error in (ConfigError("x"), DataError("x"), RunError("x")):
        assert as_uda_error(error) is error


@pytest.mark.parametrize(
    ("error", "line", "code"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "a.bin"), "a.bin: no space left on the disk; free some", 4),
        (ValueError("I/O error: No space left on device (os error 28)"), "no space left on the disk; free some", 4),
        (OSError(errno.EROFS, "Read-only file system", "out.partial"), "out.partial: permission denied; choose", 2),
        (PermissionError(errno.EACCES, "Permission denied", "out"), "out: permission denied; choose another --out", 2),
    ],
)
def test_what_a_disk_refuses_is_told_as_such(error: Exception, line: str, code: int) -> None:
    told = as_uda_error(error)
    assert str(told).startswith(line) and told.exit_code == code


def test_a_closed_pipe_is_no_error() -> None:
    command = f"{sys.executable} -m uda list configs | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0"
    assert done.stderr == ""


def test_a_reader_of_notes_that_goes_ends_no_work(tmp_path: Path) -> None:
    settings = ("gta5=1", "synthia=0", "cityscapes_train=0", "cityscapes_val=0", "height=64", "width=128")
    options = " ".join(f"--set {text}" for text in settings)
    command = f"{sys.executable} -m uda minicity --out {tmp_path / 'out'} {options} 2>&1 >/dev/null | sleep 0; "
    done = subprocess.run(["bash", "-c", command + "echo ${PIPESTATUS[0]}"], capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"
    assert (tmp_path / "out" / MANIFEST).is_file()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_true_interruption_leaves_130_and_is_gone_on_with(tmp_path: Path, number: signal.Signals) -> None:
    out = tmp_path / "out"
    settings = ("gta5=4000", "synthia=0", "cityscapes_train=0", "cityscapes_val=0", "height=64", "width=128")
    options = [part for text in settings for part in ("--set", text)]
    command = [sys.executable, "-m", "uda", "minicity", "--out", str(out), *options]
    # Tests that run in a shell's background have SIGINT ignored, and so would their children.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob("out.partial/**/*.png")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, number)
    text, err = process.communicate(timeout=300)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "interrupted; run the same command again to go on"
    assert "Traceback" not in err
    assert text == ""
    assert not out.exists()
    again = subprocess.run([*command, "--dry-run"], capture_output=True, text=True, check=True)
    assert again.stdout.endswith("would resume (interrupted run of the same settings found)\n")


def test_the_handler_of_sigterm_is_given_back(told: Told) -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert told("list", "configs")[0] == 0
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_command_may_run_in_a_thread_where_no_signal_can_be_handled() -> None:
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(run_guarded(lambda: None)))
    thread.start()
    thread.join()
    assert codes == [0]


def test_a_fit_asked_to_terminate_stops_after_its_step_and_what_follows_at_once(tmp_path: Path) -> None:
    def ask(player: str, context: object) -> None:
        if player == "maker":  # once a step
            os.kill(os.getpid(), signal.SIGTERM)

    def fit() -> None:
        play(Game(at=ask), tmp_path / "out")

    assert run_guarded(fit) == 130
    assert (tmp_path / "out.partial" / CHECKPOINT).is_file()
    assert run_guarded(lambda: os.kill(os.getpid(), signal.SIGTERM)) == 130
