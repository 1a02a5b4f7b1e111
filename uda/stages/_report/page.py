"""The page: everything that is known about some runs, laid out by `page.html.j2`. One file, no script, no address."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from uda import __version__
from uda.stages._report.comparison import alike, comparison, differences, gap_note, lost_in_noise
from uda.stages._report.curves import figures
from uda.stages._report.pictures import SWAPPED, Confusion, class_colors, confusion, grid_picture
from uda.stages._report.reading import Run
from uda.stages._report.scores import Row, Scores
from uda.stages._report.sections import class_lines, pseudo_labels, published, timings
from uda.stages._report.summary import facts, means, tiles, verdict, warnings
from uda.stages._report.tables import columns, score_cells
from uda.stages._report.trail import SHORT, machines, trail

_WORST, _LEAST = 6, 0.03
"""So many confusions are named, of those that concern so large a part of a class."""


def render(runs: Sequence[Run]) -> str:
    """The whole page as HTML; the same runs give the same text."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    sections = [section(run, runs, number) for number, run in enumerate(runs, 1)]
    title = runs[0].name if len(runs) == 1 else f"{len(runs)} runs"
    return environment.get_template("page.html.j2").render(
        title=title, version=__version__, sections=sections, compared=_compared(runs)
    )


def section(run: Run, runs: Sequence[Run], number: int) -> dict[str, Any]:
    """What the page says about one run: what the template asks for, by name.

    Raises:
        DataError: a picture or table of a stage cannot be read.
    """
    steps = trail(run)
    rows, trouble = published(run)
    lines, total = timings(steps)
    matrix = _confusion(run)
    scores = run.scores
    grids = [grid for entry in run.of("translate") if (grid := grid_picture(entry)) is not None]
    return {
        "number": number,
        "name": run.name,
        "verdict": verdict(run),
        "warnings": [*warnings(run, runs), *([trouble] if trouble else [])],
        "facts": facts(run),
        "tiles": tiles(run),
        "means": means(run),
        "columns": columns(scores) if scores.rows else [],
        "rows": [(row, kind(scores, row), cells) for row, cells in score_cells(scores)],
        "lines": class_lines(run),
        "colors": class_colors(scores.label_space, _class_names(run, matrix), run.directory, run.of("segment")),
        "result": scores.result.name if scores.result is not None else None,
        "has_gap": scores.source_only is not None and scores.result is not scores.source_only,
        "has_rounds": bool(scores.adapted),
        "has_oracle": scores.oracle is not None and scores.result is not scores.oracle,
        "published": rows,
        "grids": grids,
        "swapped": any(SWAPPED in grid.captions for grid in grids),
        "pseudo": pseudo_labels(run),
        "confusion": matrix,
        "worst": matrix.worst(_WORST, _LEAST) if matrix is not None else [],
        "figures": figures(run),
        "timings": lines,
        "total": total,
        "steps": steps,
        "short": SHORT,
        "machines": machines(steps),
    }


def kind(scores: Scores, row: Row) -> str:
    """What a row is, in a word or two."""
    if row is scores.source_only:
        return "lower bound"
    if row is scores.oracle:
        return "upper bound, learns from target labels"
    if row.round is not None:
        return "result" if row is scores.result else ""
    return "comparator" if scores.adapted else ""


def _confusion(run: Run) -> Confusion | None:
    """The confusion matrix of the result."""
    result = run.scores.result
    entry = None if result is None else run.evaluation(result)
    return None if entry is None else confusion(entry)


def _class_names(run: Run, matrix: Confusion | None) -> list[str]:
    table = pseudo_labels(run)
    names = [
        *run.scores.classes,
        *(matrix.classes if matrix else ()),
        *(name for name, _ in (table.rows if table else ())),
    ]
    return list(dict.fromkeys(names))


def _compared(runs: Sequence[Run]) -> dict[str, Any] | None:
    """Several runs side by side; None for a single one, or where none has scores."""
    if len(runs) < 2:
        return None
    titles, classes, lines = comparison(runs)
    names = lost_in_noise(runs)
    unsure = [f"{run.scores.seed} ({run.name})" for run in runs if run.name in names]
    spaces = {run.scores.label_space for run in runs}
    alone = len(spaces) == 1  # else a class may have another colour in each
    space = spaces.pop() if alone else None
    segmenters = [entry for run in runs for entry in run.of("segment")] if alone else []
    return {
        "titles": titles,
        "classes": classes,
        "lines": lines,
        "note": gap_note(unsure) if unsure else None,
        "colors": class_colors(space, classes, runs[0].directory, segmenters),
        "differences": [(run.name, differences(runs[0], run)) for run in runs[1:] if alike(runs[0], run)],
        "first": runs[0].name,
        "verdicts": [(run.name, verdict(run)) for run in runs],
    }
