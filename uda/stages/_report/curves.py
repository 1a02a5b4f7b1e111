"""Training curves: one small panel for each logged term, one line for each stage that logged it, as SVG."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uda.stages._report.reading import PARTIAL, Run

LOG = "log.jsonl"
_NO_TERMS = ("images", "time")
_POINTS = 300
"""Points of a line at most; longer logs are averaged to so many."""
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")
"""Okabe and Ito's palette, told apart by colour-blind readers too."""
_STYLE = {
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


@dataclass(frozen=True)
class Log:
    """Curves of one stage: images seen and the value there, by term."""

    name: str
    terms: Mapping[str, tuple[Sequence[float], Sequence[float]]]


@dataclass(frozen=True)
class Panel:
    """The picture of one term, as a data URI."""

    term: str
    image: str


@dataclass(frozen=True)
class Figure:
    """The curves of one kind of stage: a panel for each term, and the colour of each stage."""

    title: str
    panels: tuple[Panel, ...]
    legend: tuple[tuple[str, str], ...]


def read_log(file: Path, name: str) -> Log:
    """The curves in a `log.jsonl`; lines that are no JSON (a run was killed while writing) are left out."""
    series: dict[str, tuple[list[float], list[float]]] = {}
    for line in file.read_text(errors="replace").splitlines() if file.is_file() else ():
        try:
            fields: Any = json.loads(line)
            images = float(fields["images"])
        except (ValueError, KeyError, TypeError):
            continue
        for term, value in fields.items():
            if term in _NO_TERMS or not isinstance(value, int | float) or not math.isfinite(value):
                continue
            seen, values = series.setdefault(term, ([], []))
            # A resumed run goes on from its checkpoint: what was logged beyond it counts no more.
            while seen and seen[-1] >= images:
                seen.pop()
                values.pop()
            seen.append(images)
            values.append(float(value))
    return Log(name, {term: _thinned(*own) for term, own in series.items()})


def _thinned(images: list[float], values: list[float]) -> tuple[list[float], list[float]]:
    step = -(-len(images) // _POINTS)
    if step <= 1:
        return images, values
    blocks = range(0, len(images), step)
    return (
        [images[min(at + step, len(images)) - 1] for at in blocks],
        [sum(part) / len(part) for part in (values[at : at + step] for at in blocks)],
    )


def figures(run: Run) -> list[Figure]:
    """A figure for each kind of stage that logged anything, in the order of the work; stages under way come last."""
    files = [(entry.manifest.stage, entry.name, entry.directory / LOG) for entry in run.stages]
    files += [("under way", name, run.directory / f"{name}{PARTIAL}" / LOG) for name in run.unfinished]
    found = []
    for title in dict.fromkeys(title for title, _, _ in files):
        logs = [log for stage, name, file in files if stage == title and (log := read_log(file, name)).terms]
        if logs:
            legend = tuple((log.name, color(number)) for number, log in enumerate(logs))
            found.append(Figure(title, tuple(_panels(logs)), legend))
    return found


def color(number: int) -> str:
    """Colour of the stage at this place of a figure."""
    return _COLORS[number % len(_COLORS)]


def _panels(logs: Sequence[Log]) -> Iterator[Panel]:
    """A panel for each term of some stages."""
    import matplotlib as mpl  # late: a report of single stages may have no curves
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Canvas

    for term in dict.fromkeys(term for log in logs for term in log.terms):
        with mpl.rc_context(_STYLE):
            canvas = Canvas(figsize=(2.9, 1.9), layout="constrained")
            FigureCanvasSVG(canvas)
            _plot(canvas.subplots(), term, logs)
            buffer = io.BytesIO()
            canvas.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
        yield Panel(term, "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode())


def _plot(panel: Any, term: str, logs: Sequence[Log]) -> None:
    """The lines of one term."""
    for number, log in enumerate(logs):
        if term in log.terms:
            images, values = log.terms[term]
            marker = "o" if len(images) < 3 else None
            panel.plot(images, values, color=color(number), linewidth=1.3, marker=marker, markersize=3)
    panel.set_title(term.replace("_", " "), loc="left", fontsize=9, color="#1b2530", parse_math=False)
    panel.grid(axis="y", color="#e6eaee", linewidth=0.7)
    panel.locator_params(nbins=4)
    panel.ticklabel_format(axis="y", useOffset=False)
    panel.set_xlim(left=0)
    panel.xaxis.set_major_formatter(_thousands)


def _thousands(images: float, _: object = None) -> str:
    """Images seen as `500`, `12k` or `1.5M`."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if images >= size:
            return f"{images / size:g}{unit}"
    return f"{images:g}"
