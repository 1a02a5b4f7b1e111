"""What one's own manifests change in a pipeline: the data's steps go, and what needs labels that are not there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from uda.core.console import Console
from uda.core.errors import ConfigError, DataError

if TYPE_CHECKING:
    from uda.pipeline import Planned, Request

DATA = ("source", "target", "val")
"""Steps that manifests of these names take the place of."""
STAGES = ("minicity", "prepare")
"""Stages that make data. Their seed is a fact about the data: `--seed` leaves it alone, so that seeds share one set."""


def replaced(step: str, request: Request) -> bool:
    """Whether one's own manifest, or none, takes the place of a step."""
    return step in request.given or (bool(request.given) and step in DATA)


def without_unwanted(planned: list[Planned], request: Request, console: Console) -> list[Planned]:
    """Leave out data steps that one's own manifests replace, and what needs labels that are not there."""
    if not request.given:
        return planned
    for name in ("source", "target"):
        if name not in request.given:
            raise ConfigError(f"own data need --source and --target; --{name} is missing", "uda iterate")
    dropped = {name for name in DATA if any(one.name == name for one in planned)}
    if "val" not in request.given:
        console.say("no --val: nothing is scored, so the report has no IoU table")
    dropped |= _lacking_labels(planned, request.given["target"], console)
    kept = [one for one in planned if one.name not in dropped]
    while True:  # what depends on something dropped goes too
        names = {one.name for one in kept}
        fit = [
            one for one in kept if all(source.step is None or source.step in names for source in one.inputs.values())
        ]
        if len(fit) == len(kept):
            break
        kept = fit
    if _rounds_learn(planned) and not _rounds_learn(kept):
        what = f"has no labels, from which the rounds of pipeline {request.pipeline} learn"
        raise DataError(what, request.given["target"], "name labels in some of its rows, or choose another --pipeline")
    if "val" not in request.given:
        kept = _without_bounds(planned, kept, console)
    wanted = {source.step for one in kept for source in one.inputs.values()}
    return [one for one in kept if one.name in wanted or one.stage.name not in STAGES]


def _without_bounds(planned: Sequence[Planned], kept: list[Planned], console: Console) -> list[Planned]:
    """What the rounds' results need: bounds and comparators are there to be scored, and nothing is."""
    results = [one for one in planned if one.row is not None and one.round is not None and not one.comparator]
    if not results:
        return kept
    needed: set[str | None] = set()
    more = {source.step for one in results for source in one.inputs.values()}
    while more - needed:
        needed |= more
        more = {source.step for one in kept if one.name in needed for source in one.inputs.values()}
    if idle := [one.name for one in kept if one.name not in needed and one.stage.name not in STAGES]:
        console.say(f"no --val: left out, as nothing would score them: {', '.join(idle)}")
    return [one for one in kept if one.name in needed]


def _rounds_learn(planned: Sequence[Planned]) -> bool:
    return any(one.round is not None and one.stage.name == "segment" for one in planned)


def _lacking_labels(planned: Sequence[Planned], target: Path, console: Console) -> set[str]:
    """Steps that read target labels and lack them: those whose `source` is the target want a label in every row."""
    from uda.data.samples import read_samples  # pandas, only when own data are given

    labels = [sample.label for sample in read_samples(target)]
    bare = labels.count(None)
    readers = {one.name: one for one in planned if one.reads_target_labels}
    if bare == len(labels):
        console.say("no oracle: the target manifest has no labels")
        return set(readers)
    sources = {name: one.inputs["source"] for name, one in readers.items() if "source" in one.inputs}
    whole = {name for name, source in sources.items() if source.step is None and source.path == target.absolute()}
    if bare and whole:
        console.say(f"no oracle: {bare} of the target manifest's {len(labels)} rows have no label")
    return whole if bare else set()
