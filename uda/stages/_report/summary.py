"""The head of a run: what was run, what came out, and what the reader should know before believing it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from uda.core.console import duration
from uda.stages._report.comparison import lost_in_noise, seed_groups
from uda.stages._report.means import uneven_means
from uda.stages._report.reading import Run, StageEntry
from uda.stages._report.tables import mean_columns, mean_title, percent, points, subset_title
from uda.stages._report.trail import trail

_METHODS = (
    ("translate", "translator", "translator"),
    ("segment", "segmenter", "segmenter"),
    ("segment", "adversary", "adversary"),
    ("pseudo-label", "strategy", "pseudo-labels"),
)
"""Stage, key of its settings that names a method, and what that is called."""


def facts(run: Run) -> list[tuple[str, str]]:
    """What was run and what came of it, as pairs of a title and a text."""
    scores = run.scores
    found = [("pipeline", scores.pipeline), ("seed", None if scores.seed is None else str(scores.seed))]
    rounds = sorted({entry.round for entry in run.stages if entry.round is not None})
    found.append(("rounds", str(rounds[-1]) if rounds else None))
    found += [(title, ", ".join(_methods(run.of(stage), key)) or None) for stage, key, title in _METHODS]
    found += [("label space", scores.label_space), ("data", "; ".join(_data(run)) or None)]
    if scores.segmenter is not None:  # by its path below the run: the page is the same wherever that lies
        use = f"in the run's directory: uda predict --segmenter {shlex.quote(scores.segmenter)} IMAGES --out DIR"
        found += [("result", scores.segmenter), ("to use it", use)]
    seconds = [step.seconds for step in trail(run) if step.seconds is not None]
    found.append(("stages", f"{len(run.stages)} complete, {duration(sum(seconds))} in all" if run.stages else None))
    finished = max((str(entry.manifest.recorded.get("finished", "")) for entry in run.stages), default="")
    found.append(("finished", finished.replace("T", " ") or None))
    return [(title, text) for title, text in found if text is not None]


def _methods(entries: Sequence[StageEntry], key: str) -> list[str]:
    """Names of the methods that some stages used, each once."""
    parts = (entry.manifest.config.get(key) for entry in entries)
    return list(dict.fromkeys(str(part["name"]) for part in parts if isinstance(part, Mapping) and "name" in part))


def _data(run: Run) -> list[str]:
    lines = list(run.scores.data)
    for entry in run.of("prepare"):
        config: Mapping[str, Any] = entry.manifest.config
        split = f" {config['split']}" if config.get("split") else ""
        count = entry.manifest.metrics.get("usable", "?")
        lines.append(f"{entry.name}: {config.get('dataset')}{split}, {count} images")
    return lines


def verdict(run: Run) -> str:
    """One line: source only, last round, oracle, and how much of the gap between the bounds is closed."""
    scores = run.scores
    base, last, oracle = scores.source_only, scores.result, scores.oracle
    title = mean_title(scores)
    if last is None:
        return "nothing is scored"
    if last is base or not scores.adapted:
        return f"{title}: " + ", ".join(f"{row.name} {percent(row.score)}" for row in scores.rows)
    change = points(last.score, base.score) if base is not None else ""
    parts = [f"source only {percent(base.score)}"] if base is not None else []
    parts.append(f"{last.name} {percent(last.score)}" + (f" ({change} points)" if change else ""))
    parts += [f"oracle {percent(oracle.score)}"] if oracle is not None else []
    text = f"{title}: " + ", ".join(parts)
    return text if scores.gap_closed is None else f"{text}; {percent(scores.gap_closed)} % of the gap closed"


def tiles(run: Run) -> list[tuple[str, str, str]]:
    """The verdict as large figures: title, figure, and what stands below it."""
    scores = run.scores
    base, last, oracle = scores.source_only, scores.result, scores.oracle
    found = []
    for row in dict.fromkeys(row.name for row in (base, last, oracle) if row is not None):
        shown = scores.find(row)
        assert shown is not None
        means = [f"{one.title} {percent(one.value(shown))}" for one in mean_columns(scores)[1:]]
        change = points(shown.score, base.score) if base is not None and shown is not base else ""
        found.append((row, percent(shown.score), ", ".join([f"{change} points"] * bool(change) + means)))
    if scores.gap_closed is not None:
        found.append(("gap closed", f"{percent(scores.gap_closed)} %", "of the way from source only to oracle"))
    return found


def means(run: Run) -> str:
    """What the names of the means stand for."""
    text = "mIoU: mean over the classes of their IoU (intersection over union), in percent"
    subsets = run.scores.subsets
    parts = [f"{subset_title(name)}: over {name} of them" for name in subsets if name.isdigit()]
    parts += [f"{subset_title(name)}: over the classes in {name}" for name in subsets if not name.isdigit()]
    text = "; ".join([text, *parts]) + (" (subsets of the label space)." if parts else ".")
    if run.scores.mean_over is None:
        return text
    over = mean_title(run.scores)
    return f"{text} Changes and the gap closed are of {over}: the source lacks classes that others learn."


def warnings(run: Run, runs: Sequence[Run]) -> list[str]:
    """What keeps a run's numbers from being taken at face value.

    Args:
        run: the run.
        runs: all runs of the report, for other seeds of the same one.
    """
    found = []
    if run.unfinished:
        found.append(f"Unfinished: {', '.join(run.unfinished)}. The same command again goes on with them.")
    if run.left:
        found.append(
            f"Other settings were begun and left: {', '.join(run.left)}. Their command goes on with them; they can be "
            "removed."
        )
    if run.others:
        found.append(
            f"Beside this run its directory holds what is no part of it and left out here: {', '.join(run.others)}. "
            "What nothing else uses can be removed."
        )
    if not run.summed_up and any(entry.round is not None for entry in run.stages):
        found.append("The loop did not come to its end: rows are named after their steps, the gap closed is not said.")
    found += _stale(run) + _told_by_stages(run) + uneven_means(run)
    return found + _bounds(run, runs) + _seeds(run, runs) + _defects(run)


def _told_by_stages(run: Run) -> list[str]:
    """What stages had to say about their own results, each once, with the steps that said it."""
    found: dict[str, list[str]] = {}
    for entry in run.stages:
        for text in entry.manifest.metrics.get("warnings") or ():
            found.setdefault(str(text), []).append(entry.name)
    return [f"{', '.join(names)}: {text}." for text, names in found.items()]


def _stale(run: Run) -> list[str]:
    found = []
    stale = [f"{step.entry.name} ({one.what})" for step in trail(run) for one in step.inputs if one.stale]
    if stale:
        found.append(f"Made from an input that has changed since: {', '.join(stale)}. uda iterate makes them anew.")
    if run.summed_up and run.of("evaluate"):
        lost = [row.name for row in run.scores.rows if run.evaluation(row) is None]
        if lost:
            found.append(f"report.json is older than the evaluations: {', '.join(lost)} cannot be found in them.")
        told = max((row.round for row in run.scores.adapted if row.round is not None), default=0)
        later = sorted({entry.round for entry in run.stages if entry.round is not None and entry.round > told})
        if later:
            found.append(f"report.json does not hold round {', '.join(map(str, later))}.")
    return found


def _bounds(run: Run, runs: Sequence[Run]) -> list[str]:
    scores = run.scores
    if not scores.adapted:
        return []
    missing = [row for row, there in (("source only", scores.source_only), ("oracle", scores.oracle)) if there is None]
    found = [f"No row '{name}': the gap that could be closed is not known." for name in missing]
    if not missing and not scores.has_gap:
        found.append(
            "The oracle is no better than source only: there is no gap to close. Was the training long enough?"
        )
    elif run.name in lost_in_noise(runs):
        found.append("Source only and oracle differ less than chance moves them between the seeds: no gap can be seen.")
    return found


def _seeds(run: Run, runs: Sequence[Run]) -> list[str]:
    """One seed says little: its noise is as large as many a published step."""
    if not run.scores.adapted or any(run in group for group in seed_groups(runs)):
        return []
    seed = "" if run.scores.seed is None else f" ({run.scores.seed})"
    return [
        f"One seed{seed}: how far chance moves these numbers is not known. Run again with other --seed and --out, and "
        "give all directories to uda report."
    ]


def _defects(run: Run) -> list[str]:
    found = []
    for entry in run.of("prepare"):
        counts: Mapping[str, Any] = entry.manifest.metrics.get("defect_counts") or {}
        if counts:
            what = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
            found.append(f"{entry.name}: images were left out for defects ({what}); findings.json names them.")
    return found
