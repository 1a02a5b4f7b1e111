from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from uda import turns
from uda.pipeline import Planned, Source
from uda.stages.catalog import get_stage


def step(name: str, *needs: str, row: str | None = None) -> Planned:
    stage = get_stage("prepare")
    config = stage.config.model_construct()
    inputs = {f"source.{need}": Source(need, Path(need)) for need in needs} | {"own": Source(None, Path("own.csv"))}
    return Planned(name, stage, config, inputs, Path(name), row=row)


GRAPH = [
    step("data"),
    step("bound", "data"),
    step("guide", "data"),
    step("fit", "guide"),
    step("score", "fit", row="1"),
]


def test_scores_go_first_then_what_the_longest_chain_waits_for() -> None:
    assert [one.name for one in turns.by_urgency(GRAPH)] == ["score", "data", "guide", "fit", "bound"]


def test_a_step_is_ready_when_all_that_it_needs_is_over() -> None:
    assert [one.name for one in turns.ready(GRAPH, ())] == ["data"]
    assert [one.name for one in turns.ready(GRAPH[1:], ("data",))] == ["bound", "guide"]


@pytest.mark.parametrize(("lanes", "took"), [(1, 1 + 5 + 2 + 4 + 1), (2, 1 + 2 + 4 + 1), (3, 8)])
def test_steps_beside_each_other_take_as_long_as_the_last(lanes: int, took: float) -> None:
    seconds = {"data": 1, "bound": 5, "guide": 2, "fit": 4, "score": 1}
    assert turns.seconds_in_all(GRAPH, seconds, lanes) == took


def test_a_lane_that_is_taken_is_waited_for() -> None:
    # guide and bound beside each other from 1 on; fit takes guide's place at 2, score fit's at 3, while bound goes on.
    assert turns.seconds_in_all(GRAPH, {"data": 1, "bound": 9, "guide": 1, "fit": 1}, 2) == 10
    free = [step(name) for name in "abc"]
    assert turns.seconds_in_all(free, {"a": 2, "b": 3, "c": 4}, 2) == 6


def test_steps_that_are_complete_take_no_time() -> None:
    assert turns.seconds_in_all(GRAPH, {"fit": 4}, 2) == 4
    assert turns.seconds_in_all([], {}, 2) == 0


@given(st.data())
def test_no_lanes_are_quicker_than_the_longest_chain_nor_slower_than_one(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 8))
    planned = [step(str(k), *(str(j) for j in range(k) if data.draw(st.booleans()))) for k in range(count)]
    seconds = {one.name: float(data.draw(st.integers(0, 9))) for one in planned}
    lanes = data.draw(st.integers(1, 4))
    ends: dict[str, float] = {}
    for one in planned:
        begins = [ends[source.step] for source in one.inputs.values() if source.step is not None]
        ends[one.name] = max(begins, default=0.0) + seconds[one.name]
    took = turns.seconds_in_all(planned, seconds, lanes)
    assert max(max(ends.values()), sum(seconds.values()) / lanes) <= took <= sum(seconds.values())


def test_jobs_share_the_cores_unless_somebody_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert [turns.threads_each(jobs) for jobs in (1, 3, 16)] == [8, 2, 1]
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    assert turns.threads_each(3) == 8
