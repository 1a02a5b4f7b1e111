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
    assert turns.seconds_in_all(turns.by_urgency(GRAPH), seconds, lanes) == took


def test_a_lane_that_is_taken_is_waited_for() -> None:
    # guide and bound beside each other from 1 on; fit takes guide's place at 2, score fit's at 3, while bound goes on.
    assert turns.seconds_in_all(turns.by_urgency(GRAPH), {"data": 1, "bound": 9, "guide": 1, "fit": 1}, 2) == 10
    free = [step(name) for name in "abc"]
    assert turns.seconds_in_all(free, {"a": 2, "b": 3, "c": 4}, 2) == 6


def test_steps_that_are_complete_take_no_time() -> None:
    assert turns.seconds_in_all(turns.by_urgency(GRAPH), {"fit": 4}, 2) == 4
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
    took = turns.seconds_in_all(turns.by_urgency(planned), seconds, lanes)
    assert max(max(ends.values()), sum(seconds.values()) / lanes) <= took <= sum(seconds.values())


def test_jobs_share_the_cores_unless_somebody_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert [turns.threads_each(jobs) for jobs in (1, 3, 16)] == [8, 2, 1]
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    assert turns.threads_each(3) == 8


def test_neither_the_longest_chain_waits_nor_is_a_long_step_left_for_the_end() -> None:
    # minicity_full in small: a chain of 68 minutes, one of 27, and three steps of 20 that nothing waits for.
    rounds, short = [step("start")], [step("identity0", "start")]
    rounds += [step(f"fit{number}", f"fit{number - 1}" if number else "start") for number in range(12)]
    short += [step(f"identity{number}", f"identity{number - 1}") for number in range(1, 8)]
    planned = [*(step(name) for name in ("source_only", "oracle", "color")), *rounds, *short]
    lengths = {"start": 8.0, "fit": 5.0, "identity": 3.375}
    seconds = {one.name: lengths.get(one.name.rstrip("0123456789"), 20.0) for one in planned}
    assert turns.seconds_in_all(turns.by_urgency(planned), seconds, 2) == 83
    order = turns.soonest_over(planned, seconds, 2)
    assert sorted(one.name for one in order) == sorted(seconds)
    assert sum(seconds.values()) / 2 <= turns.seconds_in_all(order, seconds, 2) < 80
    assert turns.soonest_over(planned, seconds, 2) == order  # the same in every run
    assert turns.soonest_over(planned, seconds, 1) == turns.by_urgency(planned)


@given(st.data())
def test_a_better_order_is_never_worse(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 7))
    planned = [step(str(k), *(str(j) for j in range(k) if data.draw(st.booleans()))) for k in range(count)]
    seconds = {one.name: float(data.draw(st.integers(0, 9))) for one in planned}
    order = turns.soonest_over(planned, seconds, 2)
    plain = turns.seconds_in_all(turns.by_urgency(planned), seconds, 2)
    assert turns.seconds_in_all(order, seconds, 2) <= plain
    assert turns.seconds_in_all(order, seconds, 2) >= max(sum(seconds.values()) / 2, max(seconds.values()))
