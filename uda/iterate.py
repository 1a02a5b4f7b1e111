"""`uda iterate`: run a pipeline's stages in order, with one seed or several, and report over all rounds."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from uda import own_data, pipeline, runner
from uda.core.console import Console, duration, size
from uda.core.errors import DataError, UdaError
from uda.core.launch import is_first_process
from uda.core.manifest import Manifest, write_atomically
from uda.core.rundir import to_itself
from uda.stages import report as reporting
from uda.stages._graph_checks import check_reports
from uda.stages.base import Decision

Decided = tuple[pipeline.Planned, Decision]


def for_each(request: pipeline.Request, seeds: Sequence[int]) -> list[pipeline.Request]:
    """The same request with each seed: `OUT/seed_N` is what `--seed N --out OUT/seed_N` would leave there."""
    return [replace(request, seed=seed, out=request.out / f"seed_{seed}") for seed in seeds]


def iterate(
    requests: Sequence[pipeline.Request], console: Console, *, dry_run: bool, as_json: bool, jobs: int = 1
) -> None:
    """Plan, say what it takes, run, report.

    Args:
        requests: what the user asked for; several are one pipeline with several seeds (`for_each`).
        console: where it is said.
        dry_run: print the plan and run nothing.
        as_json: print the report (a list of them for several seeds), or the plan, as JSON instead of a table.
        jobs: steps to run at a time, of whichever seed.
    """
    runner.check_jobs(jobs)
    decided = decide(requests, console)
    if dry_run:
        show_plan(decided, requests, console, as_json=as_json)
        return
    with ExitStack() as claims:
        for request in requests if is_first_process() else ():
            # Between two steps of this command another one might replace what the next one reads.
            claims.enter_context(to_itself(request.out))
        _iterate(decided, requests, console, as_json=as_json, jobs=jobs)


def _iterate(
    decided: Sequence[Sequence[Decided]],
    requests: Sequence[pipeline.Request],
    console: Console,
    *,
    as_json: bool,
    jobs: int,
) -> None:
    steps = [one for plan in decided for one in plan]
    for one, decision in steps:
        console.say(_line(one, decision))
    # A bad label of one's own would end the run hours in.
    own_data.check_labels([one for one, decision in steps if decision.action != "skip"], console)
    order = say_cost(steps, requests[0], console, measure=True, jobs=jobs)
    running = {one.name for one, decision in steps if decision.action != "skip"}
    plans = [[one for one, _ in plan] for plan in decided]
    if is_first_process():
        _drop_older(plans, requests, running, console)
    runs = {one.name: (plan, request) for plan, request in zip(plans, requests, strict=True) for one in plan}

    def on_done(one: pipeline.Planned, ran: runner.Ran) -> None:
        if one.row is None or one.name not in running or not is_first_process():
            return
        plan, request = runs[one.name]
        console.say(f"{one.name}: {one.row} {_mean(ran.done[one.name].metrics, request)}")
        if any(one.name not in ran.done for one in plan):
            _write_so_far(plan, request, running - ran.done.keys(), console)
        elif len(plans) > 1:  # other seeds go on; one alone is written below
            _attempt(lambda: _write(summarize(plan, ran.done, request), request), console)

    planned, force = [one for one, _ in steps], requests[0].force
    done = runner.run(planned, console, force=force, jobs=jobs, order=order, on_done=on_done).done
    reports = [summarize(plan, done, request) for plan, request in zip(plans, requests, strict=True)]
    if is_first_process():
        for report, request in zip(reports, requests, strict=True):
            _write(report, request)
        _tell(reports, requests, console, as_json=as_json)


def _mean(metrics: Mapping[str, Any], request: pipeline.Request) -> str:
    """The mean of an evaluation that the run's verdict is about, in percent, and what it is called."""
    over = pipeline.load_pipeline(request).mean_over
    score = metrics["miou"] if over is None else metrics["subsets"][over]
    return f"{100 * (score or 0.0):.1f} mIoU{over or ''}"


def _drop_older(
    plans: Sequence[Sequence[pipeline.Planned]],
    requests: Sequence[pipeline.Request],
    running: Collection[str],
    console: Console,
) -> None:
    """Take away the reports of what is about to be made anew: however far this run comes, they are none of it."""
    if running and len(requests) > 1:
        (requests[0].out.parent / "report.html").unlink(missing_ok=True)
    for plan, request in zip(plans, requests, strict=True):
        if not any(one.name in running for one in plan):
            continue
        page = request.out / "report.html"
        there = page.exists()
        for file in (request.out / "report.json", request.out / "iou.csv", page):
            file.unlink(missing_ok=True)
        if there and any(one.name not in running for one in plan):
            _write_so_far(plan, request, running, console)


def _write_so_far(
    planned: Sequence[pipeline.Planned], request: pipeline.Request, waiting: Collection[str], console: Console
) -> None:
    """Write a seed's page while steps go on; what waits to be made anew is not shown as it was."""
    steps = {_below_run(one, request): one.name not in waiting for one in planned}
    _attempt(lambda: reporting.write_report([request.out], request.out / "report.html", steps), console)


def _attempt(write: Callable[[], object], console: Console) -> None:
    try:
        write()
    except (UdaError, OSError) as error:  # the steps beside it may be renaming their directories; they are worth more
        console.say(f"no report of what is there so far: {error}")


def _below_run(one: pipeline.Planned, request: pipeline.Request) -> str:
    """Path of a step below its run."""
    return one.out.relative_to(request.out).as_posix()


def _write(report: dict[str, Any], request: pipeline.Request) -> None:
    """Write what came of a seed: `report.json`, `iou.csv` and `report.html`."""
    write_atomically(request.out / "report.json", (json.dumps(report, indent=2) + "\n").encode())
    if report["rows"]:
        reporting.write_iou_csv(report, request.out / "iou.csv")
    reporting.write_report([request.out], request.out / "report.html")


def _tell(
    reports: Sequence[dict[str, Any]], requests: Sequence[pipeline.Request], console: Console, *, as_json: bool
) -> None:
    """Print what came of all seeds, and write the page about them all."""
    folders = [request.out for request in requests]
    page = folders[0] / "report.html"
    alone = len(requests) == 1
    if not alone:
        page = reporting.write_report(folders, folders[0].parent / "report.html")
    for report, folder in zip(reports, folders, strict=True):
        if report["segmenter"] is not None:
            segmenter = shlex.quote(str(folder / report["segmenter"]))
            console.say(f"the last round's segmenter, to use: uda predict --segmenter {segmenter} IMAGES --out DIR")
    if as_json:  # nothing else on stdout, so that programs can read it
        console.result(json.dumps(reports[0] if alone else reports, indent=2))
        console.say(f"report: {page}")
        return
    if reports[0]["rows"]:
        console.result(reporting.format_table(reports[0]) if alone else reporting.format_seeds(reports))
    console.result(f"report: {page}")


def decide(requests: Sequence[pipeline.Request], console: Console) -> list[list[Decided]]:
    """For each request all steps, and whether each would run and why, once it is known that they can.

    Steps of several requests are named after their seed, as in `seed_1/translate@2`.

    Raises:
        ConfigError: settings are wrong, or contradict one another or the inputs; a place is another's.
        DataError: the data are not there, or lack labels that a step learns from.
    """
    for folder in {request.out for request in requests} | ({requests[0].out.parent} if len(requests) > 1 else set()):
        check_reports(folder)
    found = []
    for request in requests:
        planned = pipeline.expand(request, console)
        if len(requests) > 1:
            planned = [_below(request.out.name, one) for one in planned]
        found.append(pipeline.plan(planned, force=request.force))
    return found


def _below(place: str, one: pipeline.Planned) -> pipeline.Planned:
    """A step, and the steps that it takes something from, named by the place where they are."""
    inputs = {
        key: source if source.step is None else replace(source, step=f"{place}/{source.step}")
        for key, source in one.inputs.items()
    }
    return replace(one, name=f"{place}/{one.name}", inputs=inputs)


def show_plan(
    decided: Sequence[Sequence[Decided]],
    requests: Sequence[pipeline.Request],
    console: Console,
    *,
    as_json: bool,
) -> None:
    """Print a line for each step, or a list of JSON objects, and say what the steps need.

    An object has the keys step, action, reason and reads_target_labels.

    Raises:
        DataError: the disk is too small.
    """
    steps = [one for plan in decided for one in plan]
    if as_json:
        rows = [
            {
                "step": one.name,
                "action": made.action,
                "reason": made.reason,
                "reads_target_labels": one.reads_target_labels,
            }
            for one, made in steps
        ]
        console.result(json.dumps(rows, indent=2))
    else:
        for one, decision in steps:
            console.result(_line(one, decision))
    say_cost(steps, requests[0], console, measure=False)


def _line(one: pipeline.Planned, decision: Decision) -> str:
    """What a step would do and why, and what is not to be overlooked about it."""
    learns = "; learns from target labels" if one.reads_target_labels else ""
    return f"{one.name}: {decision.action} ({decision.reason}){learns}"


def _place(row: Mapping[str, Any]) -> tuple[int, int]:
    """Where a row stands: source only, comparators, rounds in order, oracle."""
    if row["round"] is not None:
        return 2, row["round"]
    return {"source only": 0, "oracle": 3}.get(row["name"], 1), 0


def say_cost(
    decisions: Sequence[Decided], request: pipeline.Request, console: Console, *, measure: bool, jobs: int = 1
) -> Sequence[pipeline.Planned] | None:
    """Say how much disk and about how long the steps to run need.

    Args:
        decisions: of all steps.
        request: says where results go, and whether steps are run by force.
        console: where it is said.
        measure: run trial steps to tell the time.
        jobs: steps to run at a time.

    Returns:
        The order in which they are over by then, where that was measured.

    Raises:
        DataError: the disk is too small.
    """
    todo = [one for one, decision in decisions if decision.action != "skip"]
    if not todo:
        console.say("everything is complete: nothing to run")
        return None
    import shutil

    from uda.cost.estimate import estimate

    planned = [one for one, _ in decisions]
    needs = estimate(planned, todo, console, measure=measure, force=request.force, jobs=jobs)
    existing = next(folder for folder in (request.out, *request.out.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    time_text = f"about {duration(needs.seconds)}" if needs.seconds is not None else "time not measured"
    line = f"needs about {size(needs.bytes)} of disk ({size(free)} free) and {time_text} on this machine"
    console.say(line + "".join(f", without {text}" for text in needs.left_out[:1]))
    for text in needs.left_out[1:]:
        console.say(f"and without {text}")
    if needs.bytes > free:
        raise DataError(f"about {size(needs.bytes)} are needed and {size(free)} are free", existing, "free some disk")
    return needs.order


def summarize(
    planned: Sequence[pipeline.Planned], done: Mapping[str, Manifest], request: pipeline.Request
) -> dict[str, Any]:
    """The content of `report.json`: a row for each evaluation that has a name.

    The gap closed is null where the oracle is no better than source only: there is no gap then.
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
    loaded = pipeline.load_pipeline(request)
    segmenter = _last_segmenter(planned)
    report = {
        "classes": classes,
        "rows": rows,
        "mean_over": loaded.mean_over,
        "pipeline": request.pipeline,
        "seed": common_seed(planned),
        "label_space": loaded.label_space,
        "published": loaded.published,
        "steps": [_below_run(one, request) for one in planned],
        "segmenter": None if segmenter is None else _below_run(segmenter, request),
        "data": _own_data(request),
    }
    return {**report, "gap_closed": reporting.gap_closed(report)}


def common_seed(planned: Sequence[pipeline.Planned]) -> int | None:
    """The seed of all steps but the data's; None where they have several."""
    seeds = {one.config.seed for one in planned if one.stage.name not in own_data.STAGES}
    return seeds.pop() if len(seeds) == 1 else None


def _last_segmenter(planned: Sequence[pipeline.Planned]) -> pipeline.Planned | None:
    """The segmenter that the last round's row scores; unscored, the one that the last round's others lead to."""
    last = max((one.round for one in planned if one.round is not None), default=None)
    steps = {one.name: one for one in planned if one.round is not None and one.round == last}
    scores = [one for one in steps.values() if one.row is not None and not one.comparator and "segmenter" in one.inputs]
    scored = [steps[name] for one in scores if (name := one.inputs["segmenter"].step) in steps]
    return next(iter([*scored, *(one for one in reversed(steps.values()) if one.stage.name == "segment")]), None)


def _own_data(request: pipeline.Request) -> dict[str, dict[str, Any]]:
    """One's own manifests, by name: path, images and how many of them have labels."""
    from uda.data.samples import read_samples  # pandas, only when own data are given

    found: dict[str, dict[str, Any]] = {}
    for name, path in request.given.items():
        found[name] = {"path": str(path.absolute())}
        try:
            samples = read_samples(path)
        except UdaError:  # changed under the run: that is no reason to lose its report
            continue
        labelled = sum(sample.label is not None for sample in samples)
        found[name] |= {"images": len(samples), "labelled": labelled}
    return found
