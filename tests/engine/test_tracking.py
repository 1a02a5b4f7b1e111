from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.engine.players import cpu
from uda.core.rundir import RunDirectory
from uda.engine.tracking import Tracker


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    run = RunDirectory(tmp_path / "out")
    run.begin("f", {})
    return run


def scalars(run: RunDirectory) -> list[tuple[int, float]]:
    """The curve of `loss`, as TensorBoard reads it."""
    from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]  # has no types
        EventAccumulator,
    )

    events = EventAccumulator(str(run.partial / "tensorboard"))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars("loss")]


def test_each_point_is_a_json_line(run: RunDirectory) -> None:
    with Tracker(run, cpu()) as tracker:
        tracker.log(4, {"loss": 0.5})
        tracker.log(8, {"loss": 0.25})
    lines = [json.loads(line) for line in (run.partial / "log.jsonl").read_text().splitlines()]
    assert [(line["images"], line["loss"]) for line in lines] == [(4, 0.5), (8, 0.25)]
    assert lines[0]["time"] <= lines[1]["time"]
    assert not (run.partial / "tensorboard").exists()


def test_only_the_first_process_writes(run: RunDirectory) -> None:
    other: Any = SimpleNamespace(is_main=False, config=cpu(tensorboard=True).config)  # stands for a runtime
    with Tracker(run, other) as tracker:
        tracker.log(4, {"loss": 0.5})
    assert not (run.partial / "log.jsonl").exists()
    assert not (run.partial / "tensorboard").exists()


def test_tensorboard_events_are_written_where_asked_for(run: RunDirectory) -> None:
    with Tracker(run, cpu(tensorboard=True)) as tracker:
        tracker.log(4, {"loss": 0.5})
    assert scalars(run) == [(4, 0.5)]


def test_a_curve_does_not_double_back_where_a_killed_run_goes_on(run: RunDirectory) -> None:
    for seen, points in ((0, (4, 8, 12)), (8, (12, 16))):
        with Tracker(run, cpu(tensorboard=True), seen) as tracker:
            for images in points:
                tracker.log(images, {"loss": seen + images})
    assert scalars(run) == [(4, 4), (8, 8), (12, 20), (16, 24)]
