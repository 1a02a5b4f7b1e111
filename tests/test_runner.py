"""Running a graph's steps: in order, side by side, with failures, and what is left when a person stops it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from uda import runner
from uda.compare import DATA, Wanted, plan
from uda.compare_recipes import find_recipe
from uda.core.console import Console
from uda.core.errors import ConfigError, RunError, UdaError
from uda.core.manifest import MANIFEST, Manifest
from uda.core.workers import Answer, Workers
from uda.pipeline import Planned

QUIET = Console(quiet=True)


def comparison(out: Path, *names: str, settings: tuple[str, ...] = ()) -> list[Planned]:
    recipes = [find_recipe(name, "minicity", tiny=True) for name in names]
    return plan(Wanted(DATA["minicity"], recipes, (0,), tiny=True), settings, out)


def beginning(out: Path, *settings: str) -> list[Planned]:
    """Steps without a network: two cities, and what is indexed of them."""
    return [one for one in comparison(out, "identity", settings=settings) if one.stage.name in ("minicity", "prepare")]


class Record:
    """Takes the place of `execute`: notes what it is asked for, and fails where it is told to."""

    def __init__(self, fails: str = "") -> None:
        self.seen: dict[str, set[str]] = {}
        self.fails = fails

    def __call__(
        self, stage: Any, config: Any, inputs: Mapping[str, Path], out: Path, console: Console, *, force: bool
    ) -> Manifest:
        self.seen[out.name] = set(inputs)
        if out.name == self.fails:
            raise RunError("diverged: gan is nan at image 8")
        return Manifest(stage.name, 1, "f", "r", {}, {}, {}, "o")


def test_every_step_is_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "execute", record := Record())
    planned = comparison(tmp_path / "run", "identity")
    told: list[tuple[str, int]] = []
    ran = runner.run(planned, QUIET, on_done=lambda one, so_far: told.append((one.name, len(so_far.done))))
    assert list(ran.done) == list(record.seen) == [one.name for one in planned]
    assert told == [(one.name, place) for place, one in enumerate(planned, 1)]
    assert not ran.failed


def test_the_first_failure_ends_the_run_unless_it_is_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "execute", record := Record("translate_color_transfer_0"))
    planned = comparison(tmp_path / "run", "identity", "color_transfer")
    with pytest.raises(RunError, match="diverged"):
        runner.run(planned, QUIET)
    assert "quality_0" not in record.seen
    monkeypatch.setattr(runner, "execute", record := Record("translate_color_transfer_0"))
    failed = runner.run(planned, QUIET, go_on=True).failed
    waited = {"segment_color_transfer_0", "evaluate_color_transfer_0"}
    assert {name for name, error in failed.items() if error is None} == waited
    told = "step translate_color_transfer_0: diverged: gan is nan at image 8"
    error = failed["translate_color_transfer_0"]
    assert str(error) == told
    # The calls that it came through hold networks and images, which the next steps need the room of.
    assert error is not None and error.__cause__ is not None
    assert error.__traceback__ is None and error.__cause__.__traceback__ is None
    assert set(record.seen) == {one.name for one in planned} - waited
    assert record.seen["quality_0"] == {"source", "real", "segmenter", "images.ideal", "images.identity"}


def test_steps_side_by_side_leave_what_steps_in_turn_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    planned = beginning(two)
    ran = runner.run(planned, Console(), jobs=2)
    assert set(ran.done) == {step.name for step in planned} and not ran.failed
    told = capsys.readouterr().err
    assert "--- other_game: done" in told and told.index("--- other_city: done") < told.index("--- other_game: done")
    runner.run(beginning(one), QUIET)
    for path in sorted(one.rglob("*.png")):
        assert path.read_bytes() == (two / path.relative_to(one)).read_bytes()
    assert len(list(one.rglob(MANIFEST))) == len(list(two.rglob(MANIFEST))) == len(planned)


def test_scores_go_first_then_what_the_longest_chains_wait_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "execute", record := Record())
    monkeypatch.setattr(runner, "Workers", _InTurn)
    planned = comparison(tmp_path / "run", "identity", "sait")
    assert set(runner.run(planned, QUIET, jobs=2).done) == {one.name for one in planned}
    order = list(record.seen)
    assert order[0] == "city"  # the start waits for it, fits for the start, and segmenters for their images
    assert order.index("start_0") < order.index("val")
    # Nothing waits for a score; all the same no more than the other step in hand comes before it.
    for name in ("identity", "sait"):
        assert order.index(f"evaluate_{name}_0") - order.index(f"segment_{name}_0") <= 2
    places = {name: place for place, name in enumerate(order)}
    assert all(
        places[source.step] < places[one.name] for one in planned for source in one.inputs.values() if source.step
    )


@pytest.mark.parametrize("chosen", ["2", None])
def test_processes_share_the_cores_unless_somebody_chose(chosen: str | None) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    if chosen is not None:
        environment["OMP_NUM_THREADS"] = chosen
    code = (
        "import torch\nfrom uda import runner\nbefore = torch.get_num_threads()\nrunner._begin_process(2, 0)\n"
        "print(before, torch.get_num_threads())"
    )
    told = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    before, after = map(int, told.stdout.split())
    assert after == (before if chosen else max(1, before // 2))


@pytest.mark.parametrize(
    ("gpus", "place", "taken"), [(0, 1, None), (1, 1, None), (2, 0, 0), (2, 1, 1), (2, 2, 0), (4, 3, 3)]
)
def test_processes_are_dealt_out_over_the_gpus(gpus: int, place: int, taken: int | None) -> None:
    code = (
        f"import torch\ntorch.cuda.device_count = lambda: {gpus}\nfrom uda import runner\n"
        f"runner._begin_process(4, {place})\nfrom uda.engine import runtime\n"
        "print(*map(runtime._gpu_number, ('auto', 'cuda', 'cuda:5', 'cpu')), sep=',')"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == f"{taken},{taken},5,None"


def test_a_failure_in_another_process_is_told_as_in_this_one(tmp_path: Path) -> None:
    planned = beginning(tmp_path / "run", "target.split=nowhere")
    with pytest.raises(Exception, match="nowhere") as alone:
        runner.run(planned, QUIET)
    with pytest.raises(type(alone.value)) as beside:
        runner.run(planned, QUIET, jobs=2)
    assert str(beside.value) == str(alone.value)
    failed = runner.run(planned, QUIET, jobs=2, go_on=True).failed
    assert {name: str(error) for name, error in failed.items()} == {"target": str(alone.value)}


class _InTurn(Workers):
    """Takes the place of processes: calls are done in the order in which they are handed over."""

    def start(self, key: str, call: Callable[[], Any]) -> None:
        self._calls = [*getattr(self, "_calls", []), (key, call)]

    @property
    def busy(self) -> int:
        return len(getattr(self, "_calls", []))

    def wait(self) -> Answer:
        (key, call), *self._calls = self._calls
        return Answer(key, call())


def _killed(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_the_system_kills_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "_step", _killed)
    told = r"^(other_)?city: its process was killed, .* memory runs out; run fewer --jobs"
    with pytest.raises(RunError, match=told):
        runner.run(beginning(tmp_path / "run"), QUIET, jobs=2)
    ran = runner.run(beginning(tmp_path / "run"), QUIET, jobs=2, go_on=True)
    assert not ran.done and all(re.match(told, str(ran.failed[name])) for name in ("city", "other_city"))


def test_a_launch_of_several_processes_takes_one_step_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="shares each step among them; leave --jobs out"):
        runner.run([], QUIET, jobs=2)


def test_stopped_by_a_person_it_leaves_checkpoints_and_goes_on(tmp_path: Path) -> None:
    own = tmp_path / "loop.yaml"
    fit = "{stage: segment, config: [segment/minicity, overlays/no_target], inputs: {source: source/samples.csv}}"
    own.write_text(
        "label_space: cityscapes19\nrounds: 0\nbefore:\n"
        "  city: {stage: minicity, config: minicity/standard}\n"
        "  source: {stage: prepare, config: prepare/gta5, inputs: {root: city/gta5}}\n"
        f"  first: {fit}\n  second: {fit}\neach_round: {{}}\n"
    )
    out = tmp_path / "run"
    command = [
        sys.executable,
        "-m",
        "uda",
        "iterate",
        "--pipeline",
        str(own),
        "--tiny",
        "--jobs",
        "2",
        "--out",
        str(out),
    ]
    endless = [*command, "--set", "segment.fit.images=100000"]
    # Tests that run in a shell's background have SIGINT ignored, and so would their children.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(endless, stderr=subprocess.PIPE, text=True, start_new_session=True)
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        deadline = time.monotonic() + 240
        logs = [out / name / "log.jsonl" for name in ("first.partial", "second.partial")]
        while not all(log.is_file() and log.stat().st_size for log in logs):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.2)
        os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does
        _, told = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "run the same command again to go on" in told and "Traceback" not in told
    assert all((log.parent / "checkpoint.pt").is_file() for log in logs)
    assert "first: segment: " in told and "second: segment: " in told  # lines say whose they are
    planned = subprocess.run([*endless, "--dry-run"], capture_output=True, text=True, check=True)
    assert "first: resume" in planned.stdout and "second: resume" in planned.stdout


def test_with_several_jobs_the_step_that_failed_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UdaError, match=r"^step target: .*nowhere"):
        runner.run(beginning(tmp_path / "run", "target.split=nowhere"), Console(), jobs=2)
    assert "--- target: failed" in capsys.readouterr().err.splitlines()
