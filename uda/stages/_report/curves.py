"""Training curves: one small panel for each logged term, one line for each stage that logged it, as SVG."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uda.stages._report.reading import StageEntry

_NO_TERMS = ("images", "time")
_COLUMNS = 4
_POINTS = 300
"""Points of a line at most; longer logs are averaged to so many."""
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")
"""Okabe and Ito's palette, told apart by colour-blind readers too."""


@dataclass(frozen=True)
class Log:
    """Curves of one stage: images seen and the value there, by term."""

    name: str
    terms: Mapping[str, tuple[Sequence[float], Sequence[float]]]


@dataclass(frozen=True)
class Figure:
    """A picture of the curves of one kind of stage."""

    stage: str
    image: str
    description: str


def read_log(entry: StageEntry) -> Log:
    """The curves in a stage's `log.jsonl`; lines that are no JSON (a run was killed while writing) are left out."""
    file = entry.directory / "log.jsonl"
    series: dict[str, dict[float, float]] = {}
    for line in file.read_text().splitlines() if file.is_file() else ():
        try:
            fields: Any = json.loads(line)
            images = float(fields["images"])
        except (ValueError, KeyError, TypeError):
            continue
        for term, value in fields.items():
            if term in _NO_TERMS or not isinstance(value, int | float) or not math.isfinite(value):
                continue
            own = series.setdefault(term, {})
            # A resumed run goes on from its checkpoint: what was logged beyond it counts no more.
            for later in [seen for seen in reversed(own) if seen >= images]:
                del own[later]
            own[images] = float(value)
    return Log(entry.name, {term: _thinned(list(own), list(own.values())) for term, own in series.items()})


def _thinned(images: list[float], values: list[float]) -> tuple[list[float], list[float]]:
    step = -(-len(images) // _POINTS)
    if step <= 1:
        return images, values
    blocks = range(0, len(images), step)
    return (
        [images[min(at + step, len(images)) - 1] for at in blocks],
        [sum(part) / len(part) for part in (values[at : at + step] for at in blocks)],
    )


def figures(entries: Sequence[StageEntry]) -> list[Figure]:
    """A figure for each kind of stage that logged anything, translators before segmenters as in the loop."""
    found = []
    for stage in dict.fromkeys(entry.manifest.stage for entry in entries):
        logs = [log for entry in entries if entry.manifest.stage == stage and (log := read_log(entry)).terms]
        if logs:
            names = ", ".join(log.name for log in logs)
            found.append(Figure(stage, _draw(logs), f"loss terms of {names} over images seen"))
    return found


def _draw(logs: Sequence[Log]) -> str:
    """All terms of some stages as a data URI of an SVG."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Canvas

    terms = list(dict.fromkeys(term for log in logs for term in log.terms))
    rows = -(-len(terms) // _COLUMNS)
    style = {
        "svg.hashsalt": "uda",  # the same curves give the same file
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.size": 8.5,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": "#8a94a0",
        "xtick.color": "#4a5560",
        "ytick.color": "#4a5560",
    }
    with mpl.rc_context(style):
        canvas = Canvas(figsize=(11.4, 1.95 * rows + 0.45), layout="constrained")
        FigureCanvasSVG(canvas)
        grid = canvas.subplots(rows, _COLUMNS, squeeze=False)
        for panel in grid.flat[len(terms) :]:
            panel.set_visible(False)
        handles: dict[str, Any] = {}
        for panel, term in zip(grid.flat, terms, strict=False):
            handles |= _panel(panel, term, logs)
        canvas.legend(
            handles.values(), handles, loc="outside lower left", ncols=min(len(handles), 6), frameon=False, fontsize=8.5
        )
        buffer = io.BytesIO()
        canvas.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


def _panel(panel: Any, term: str, logs: Sequence[Log]) -> dict[str, Any]:
    """One term; returns the lines by stage, for the legend."""
    lines = {}
    for number, log in enumerate(logs):
        if term in log.terms:
            images, values = log.terms[term]
            marker = "o" if len(images) < 3 else None
            (line,) = panel.plot(
                images, values, color=_COLORS[number % len(_COLORS)], linewidth=1.3, marker=marker, markersize=3
            )
            lines[log.name] = line
    panel.set_title(term.replace("_", " "), loc="left", fontsize=9, color="#1b2530")
    panel.grid(axis="y", color="#e6eaee", linewidth=0.7)
    panel.locator_params(nbins=4)
    panel.set_xlim(left=0)
    panel.xaxis.set_major_formatter(_thousands)
    return lines


def _thousands(images: float, _: object = None) -> str:
    """Images seen as `500`, `12k` or `1.5M`."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if images >= size:
            return f"{images / size:g}{unit}"
    return f"{images:g}"


