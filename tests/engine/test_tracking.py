from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.engine.players import cpu
from uda.core.rundir import RunDirectory
from uda.engine.tracking import Tracker


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    run = RunDirectory(tmp_path / "out")
    run.begin("f", {})
    return run


def test_each_point_is_a_json_line(run: RunDirectory) -> None:
    with Tracker(run, cpu()) as tracker:
        tracker.log(4, {"loss": 0.5})
        tracker.log(8, {"loss": 0.25})
    lines = [json.loads(line) for line in (run.partial / "log.jsonl").read_text().splitlines()]
    assert [(line["images"], line["loss"]) for line in lines] == [(4, 0.5), (8, 0.25)]
    assert lines[0]["time"] <= lines[1]["time"]
    assert not (run.partial / "tensorboard").exists()


def test_only_the_first_process_writes(run: RunDirectory) -> None:
    with Tracker(run, SimpleNamespace(is_main=False, config=cpu(tensorboard=True).config)) as tracker:  # type: ignore[arg-type]
        tracker.log(4, {"loss": 0.5})
    assert not (run.partial / "log.jsonl").exists()
    assert not (run.partial / "tensorboard").exists()


def test_tensorboard_events_are_written_where_asked_for(run: RunDirectory) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with Tracker(run, cpu(tensorboard=True)) as tracker:
        tracker.log(4, {"loss": 0.5})
    events = EventAccumulator(str(run.partial / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(4, 0.5)]


def test_a_curve_does_not_double_back_where_a_killed_run_goes_on(run: RunDirectory) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for seen, points in ((0, (4, 8, 12)), (8, (12, 16))):
        with Tracker(run, cpu(tensorboard=True), seen) as tracker:
            for images in points:
                tracker.log(images, {"loss": seen + images})
    events = EventAccumulator(str(run.partial / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(4, 4), (8, 8), (12, 20), (16, 24)]
