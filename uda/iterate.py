"""`uda iterate`: run a pipeline's stages in order and report over all rounds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from uda import pipeline, runner
from uda.core.console import Console, duration, size
from uda.core.errors import DataError
from uda.core.manifest import Manifest, write_atomically
from uda.stages import report as reporting
from uda.stages.base import Decision, is_first_process

Decisions = Sequence[tuple[pipeline.Planned, Decision]]


def iterate(request: pipeline.Request, console: Console, *, dry_run: bool, as_json: bool, jobs: int = 1) -> None:
    """Plan, say what it takes, run, report.

    Args:
        request: what the user asked for.
        console: where it is said.
        dry_run: print the plan and run nothing.
        as_json: print the report, or the plan, as JSON instead of a table.
        jobs: steps to run at a time.
    """
    decisions = decide(request, console)
    if dry_run:
        show_plan(decisions, request, console, as_json=as_json)
        return
    for one, decision in decisions:
        console.say(f"{one.name}: {decision.action} ({decision.reason})")
    say_cost(decisions, request, console, measure=True)
    planned = [one for one, _ in decisions]
    done = runner.run(planned, console, force=request.force, jobs=jobs).done
    report = summarize(planned, done, request)
    if is_first_process():
        write_atomically(request.out / "report.json", (json.dumps(report, indent=2) + "\n").encode())
        if report["rows"]:
            reporting.write_iou_csv(report, request.out / "iou.csv")
        page = reporting.write_report([request.out], request.out / "report.html")
        if as_json:  # nothing else on stdout, so that programs can read it
            console.result(json.dumps(report, indent=2))
            console.say(f"report: {page}")
            return
        if report["rows"]:
            console.result(reporting.format_table(report))
        console.result(f"report: {page}")


def decide(request: pipeline.Request, console: Console) -> Decisions:
    """All steps, and for each whether it would run and why, once it is known that they can.

    Raises:
        ConfigError: settings are wrong, or contradict one another or the inputs.
        DataError: the data are not there, or lack labels that a step learns from.
    """
    planned = pipeline.expand(request, console)
    pipeline.check(planned)
    return list(pipeline.plan(planned, force=request.force))


def show_plan(decisions: Decisions, request: pipeline.Request, console: Console, *, as_json: bool) -> None:
    """Print a line for each step, or a list of JSON objects (step, action, reason), and say what the steps need.

    Raises:
        DataError: the disk is too small.
    """
    if as_json:
        rows = [{"step": one.name, "action": made.action, "reason": made.reason} for one, made in decisions]
        console.result(json.dumps(rows, indent=2))
    else:
        for one, decision in decisions:
            console.result(f"{one.name}: {decision.action} ({decision.reason})")
    say_cost(decisions, request, console, measure=False)


def _place(row: Mapping[str, Any]) -> tuple[int, int]:
    """Where a row stands: source only, comparators, rounds in order, oracle."""
    if row["round"] is not None:
        return 2, row["round"]
    return {"source only": 0, "oracle": 3}.get(row["name"], 1), 0


def say_cost(decisions: Decisions, request: pipeline.Request, console: Console, *, measure: bool) -> None:
    """Say how much disk and about how long the steps to run need.

    Args:
        decisions: of all steps.
        request: says where results go.
        console: where it is said.
        measure: run trial steps to tell the time.

    Raises:
        DataError: the disk is too small.
    """
    todo = [one for one, decision in decisions if decision.action != "skip"]
    if not todo:
        console.say("everything is complete: nothing to run")
        return
    import shutil

    from uda import cost

    planned = [one for one, _ in decisions]
    estimate = cost.estimate(planned, todo, console, measure=measure, force=request.force)
    existing = next(folder for folder in (request.out, *request.out.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    time_text = f"about {duration(estimate.seconds)}" if estimate.seconds is not None else "time not measured"
    console.say(f"needs about {size(estimate.bytes)} of disk ({size(free)} free) and {time_text} on this machine")
    if estimate.bytes > free:
        raise DataError(
            f"about {size(estimate.bytes)} are needed and {size(free)} are free", existing, "free some disk"
        )


def summarize(
    planned: Sequence[pipeline.Planned], done: Mapping[str, Manifest], request: pipeline.Request
) -> dict[str, Any]:
    """The content of `report.json`: a row for each evaluation that has a name.

    The gap closed is that of the last round: choosing the best by target labels would be selection on the test set.
    It is null where the oracle is no better than source only: there is no gap then.
    """
    rows = []
    classes: list[str] = []
    for one in planned:
        if one.row is None:
            continue
        metrics = dict(done[one.name].metrics)
        classes = metrics.pop("classes")
        rows.append({"name": one.row, "round": None if one.comparator else one.round, **metrics})
    rows.sort(key=_place)
    scores = {row["name"]: row["miou"] for row in rows}
    last = [row["miou"] for row in rows if row["round"] is not None]
    closed = None
    if last and {"source only", "oracle"} <= set(scores) and scores["oracle"] > scores["source only"]:
        closed = (last[-1] - scores["source only"]) / (scores["oracle"] - scores["source only"])
    loaded = pipeline.load_pipeline(request)
    return {
        "classes": classes,
        "rows": rows,
        "gap_closed": closed,
        "pipeline": request.pipeline,
        "seed": request.seed or 0,
        "label_space": loaded.label_space,
        "published": loaded.published,
    }
