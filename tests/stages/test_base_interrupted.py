"""Runs that were interrupted, failed or were forced: what is gone on with; and what each process of a launch does."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import pytest

from tests.stages.paint import PAINT, PaintConfig, failing, go, snapshot, what
from uda.core import provenance
from uda.core.manifest import read_manifest, verify
from uda.core.rundir import RunDirectory
from uda.stages.base import Job


def test_an_interrupted_run_is_gone_on_with(canvas: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="no paint left"):
        go(canvas, stage=failing(PAINT, lambda job: job.run.write("a.txt", b"red")))
    assert not (canvas.parent / "out").exists()
    decision = what(canvas)
    assert (decision.action, decision.reason) == ("resume", "interrupted run of the same settings found")
    capsys.readouterr()
    manifest = go(canvas)
    assert "going on (interrupted run of the same settings found)" in capsys.readouterr().err
    assert manifest.metrics["written"] == ["b.txt"]
    assert verify(canvas.parent / "out", deep=True) == []
    assert manifest.outputs == go(canvas, force=True).outputs


def test_a_stage_that_cannot_go_on_says_that_it_starts_over(canvas: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stage = dataclasses.replace(PAINT, resumes=False)
    with pytest.raises(RuntimeError, match="no paint left"):
        go(canvas, stage=failing(stage))
    capsys.readouterr()
    go(canvas, stage=stage)
    said = capsys.readouterr().err
    assert "starting over (interrupted run of the same settings found)" in said and "going on" not in said


def test_the_time_before_an_interruption_counts(canvas: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def an_hour(job: Job) -> None:
        job.run.write("a.txt", b"red")
        started = job.run.partial / "started.json"
        told = json.loads(started.read_text())
        started.write_text(json.dumps({**told, "since": told["since"] - 3600}))

    for _ in range(2):
        with pytest.raises(RuntimeError):
            go(canvas, stage=failing(PAINT, an_hour))
    capsys.readouterr()
    recorded = go(canvas).recorded
    assert 7200 <= recorded["seconds"] < 7300
    assert "(2h 00m in all)" in capsys.readouterr().err
    assert [round(one["seconds"], -2) for one in recorded["interrupted"]] == [3600, 3600]
    assert [one["code"] for one in recorded["interrupted"]] == [provenance.code()] * 2
    assert go(canvas, force=True).recorded["seconds"] < 3600


def test_an_interrupted_run_of_other_settings_is_set_aside(canvas: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError):
        go(canvas, stage=failing(PAINT, lambda job: job.run.write("a.txt", b"red")))
    blue = PaintConfig(colour="blue")
    decision = what(canvas, blue)
    assert (decision.action, decision.reason) == ("run", "an interrupted run had other settings")
    with pytest.raises(RuntimeError):
        go(canvas, blue, stage=failing(PAINT))
    (aside,) = canvas.parent.glob("out.partial.*")
    assert (aside / "a.txt").read_text() == "red"
    said = capsys.readouterr().err
    assert f"out.partial: set aside as {aside.name}" in said and "removed when out is complete" in said
    assert go(canvas, blue).metrics["written"] == ["a.txt", "b.txt"]
    assert f"{aside}: removed, for out is complete" in capsys.readouterr().err
    assert not aside.exists()


def test_a_slip_between_two_runs_loses_nothing(canvas: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for colour in ("red", "blue"):
        write = functools.partial(lambda job, colour: job.run.write("a.txt", colour.encode()), colour=colour)
        with pytest.raises(RuntimeError):
            go(canvas, PaintConfig(colour=colour), stage=failing(PAINT, write))
    decision = what(canvas)
    assert (decision.action, decision.reason) == (
        "resume",
        f"interrupted run of the same settings found in out.partial.{decision.fingerprint[:8]}",
    )
    capsys.readouterr()
    assert go(canvas).metrics["written"] == ["b.txt"]
    assert "is taken back as out.partial: going on with it" in capsys.readouterr().err
    assert verify(canvas.parent / "out", deep=True) == []
    assert sorted(path.name for path in canvas.parent.iterdir()) == ["canvas.csv", "out"]


def test_force_does_not_go_on_with_an_interrupted_run(canvas: Path) -> None:
    with pytest.raises(RuntimeError):
        go(canvas, stage=failing(PAINT, lambda job: job.run.write("a.txt", b"red")))
    assert go(canvas, force=True).metrics["written"] == ["a.txt", "b.txt"]


def test_a_forced_run_that_was_interrupted_is_gone_on_with(canvas: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = go(canvas)
    with pytest.raises(RuntimeError):
        go(canvas, stage=failing(PAINT, lambda job: job.run.write("a.txt", b"red")), force=True)
    assert what(canvas).action == "skip"  # the old results are whole
    decision = what(canvas, force=True)
    assert (decision.action, decision.reason) == (
        "resume",
        "interrupted run of --force found",
    )
    capsys.readouterr()
    again = go(canvas, force=True)
    assert "to start anew instead, stop this and remove out.partial" in capsys.readouterr().err
    assert again.metrics["written"] == ["b.txt"]
    assert again.outputs == first.outputs
    decision = what(canvas, force=True)  # complete now: forced anew
    assert (decision.action, decision.reason) == ("run", "--force")
    assert go(canvas, force=True).metrics["written"] == ["a.txt", "b.txt"]


def test_a_forced_run_may_be_gone_on_with_by_either_command_and_stays_forced(canvas: Path) -> None:
    for force, name in ((True, "a.txt"), (False, "b.txt")):
        write = functools.partial(lambda job, name: job.run.write(name, b"red"), name=name)
        with pytest.raises(RuntimeError):
            go(canvas, stage=failing(PAINT, write), force=force)
    assert what(canvas).action == what(canvas, force=True).action == "resume"
    assert go(canvas, force=True).metrics["written"] == []


def test_a_forced_run_goes_on_with_its_own_work_though_older_work_lies_aside(canvas: Path) -> None:
    for force, name in ((False, "a.txt"), (True, "b.txt")):
        write = functools.partial(lambda job, name: job.run.write(name, b"red"), name=name)
        with pytest.raises(RuntimeError):
            go(canvas, stage=failing(PAINT, write), force=force)
    assert go(canvas, force=True).metrics["written"] == ["a.txt"]
    assert sorted(path.name for path in canvas.parent.iterdir()) == ["canvas.csv", "out"]


def test_a_stage_that_fails_leaves_the_old_results_whole(canvas: Path) -> None:
    go(canvas)
    before = snapshot(canvas.parent / "out")
    with pytest.raises(RuntimeError, match="no paint left"):
        go(canvas, PaintConfig(colour="blue"), stage=failing(PAINT, lambda job: job.run.write("a.txt", b"blue")))
    assert snapshot(canvas.parent / "out") == before
    assert what(canvas).action == "skip"
    assert what(canvas, PaintConfig(colour="blue")).action == "resume"


def test_an_interruption_is_no_success(canvas: Path) -> None:
    def interrupt(job: Job) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(canvas, stage=failing(PAINT, interrupt))
    assert read_manifest(canvas.parent / "out") is None


def test_only_the_first_process_of_a_launch_writes(canvas: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    seen: list[RunDirectory] = []

    def watch(job: Job) -> dict[str, Any]:
        seen.append(job.run)
        return {}

    go(canvas, stage=dataclasses.replace(PAINT, run=watch))
    assert len(seen) == 1
    assert not (canvas.parent / "out").exists()
    assert not (canvas.parent / "out.partial").exists()


def test_work_that_is_not_shared_is_done_by_the_first_process_alone(
    canvas: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = dataclasses.replace(PAINT, alone=True)
    made = go(canvas, stage=alone)
    monkeypatch.setenv("RANK", "1")
    waited = go(canvas, stage=failing(alone), force=True)
    assert waited.metrics == made.metrics
    assert not (canvas.parent / "out.partial").exists()


def test_every_process_knows_what_an_interrupted_run_left(canvas: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match="no paint"):
        go(canvas, stage=failing(PAINT, lambda job: job.run.write("a.txt", b"red")))
    monkeypatch.setenv("RANK", "1")
    known: list[bool] = []

    def watch(job: Job) -> dict[str, Any]:
        known.append(job.run.has("a.txt"))
        return {}

    go(canvas, stage=dataclasses.replace(PAINT, run=watch))
    assert known == [True]
