"""The results of `uda quality`: what each measure is, and rows of results as JSON, CSV and text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

Direction = Literal["lower", "higher"]
Role = Literal["real", "source", "translation"]


@dataclass(frozen=True)
class Measure:
    """One measure: its name in tables and which way is better; None where a value alone says nothing."""

    title: str
    better: Direction | None


MEASURES: Mapping[str, Measure] = {
    "fid": Measure("FID", "lower"),
    "kid": Measure("KID", "lower"),
    "inception_score": Measure("Inception Score", "higher"),
    "ms_ssim": Measure("MS-SSIM of samples", "lower"),
    "lpips": Measure("LPIPS of samples", "higher"),
    "lab_emd": Measure("LAB histogram EMD", "lower"),
    "lbp_chi_square": Measure("LBP chi-square", "lower"),
    "miou": Measure("alignment mIoU", "higher"),
    "pixel_accuracy": Measure("alignment accuracy", "higher"),
    "sharpness": Measure("sharpness", None),
    "sharpness_gap": Measure("sharpness gap", "lower"),
}
"""All measures, in the order of the tables."""


@dataclass(frozen=True)
class Result:
    """One measure of one set.

    Attributes:
        value: None where it was not measured.
        count: images that it was taken from; pairs of samples for MS-SSIM and LPIPS.
        note: why there is no value, or what limits it.
    """

    value: float | None
    count: int
    note: str = ""


@dataclass(frozen=True)
class Row:
    """All results of one set of images."""

    name: str
    role: Role
    images: int
    results: Mapping[str, Result] = field(default_factory=dict)


def not_measured(reason: object) -> Result:
    """A result that says why it is none."""
    return Result(None, 0, f"not measured: {reason}")


def as_json(rows: Sequence[Row]) -> dict[str, Any]:
    """What `quality.json` holds: for each row its name, role, number of images, and its measures by key."""
    return {"rows": [{"name": r.name, "role": r.role, "images": r.images, "measures": _measures(r)} for r in rows]}


def _measures(row: Row) -> dict[str, dict[str, Any]]:
    return {
        key: {"value": one.value, "direction": MEASURES[key].better, "count": one.count, "note": one.note}
        for key, one in row.results.items()
    }


def from_json(report: Mapping[str, Any]) -> list[Row]:
    """The rows of `as_json`."""
    return [
        Row(
            row["name"],
            row["role"],
            row["images"],
            {key: Result(one["value"], one["count"], one["note"]) for key, one in row["measures"].items()},
        )
        for row in report["rows"]
    ]


def as_frame(rows: Sequence[Row]) -> pd.DataFrame:
    """What `quality.csv` holds: a line for each measure of each row."""
    lines = [
        {"row": r.name, "role": r.role, "measure": key, **values} for r in rows for key, values in _measures(r).items()
    ]
    return pd.DataFrame(lines, columns=["row", "role", "measure", "value", "direction", "count", "note"])


def as_text(rows: Sequence[Row]) -> str:
    """A table for a terminal: a line a measure, a column a set; under it the notes, each once."""
    table = [["", "better", *(r.name for r in rows)], ["images", "", *(str(r.images) for r in rows)]]
    for key, measure in MEASURES.items():
        shown = [_shown(r.results.get(key)) for r in rows]
        table.append([measure.title, measure.better or "", *shown])
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    lines = []
    for line in table:
        text = [cell.ljust(w) if n < 2 else cell.rjust(w) for n, (cell, w) in enumerate(zip(line, widths, strict=True))]
        lines.append("  ".join(text).rstrip())
    return "\n".join([*lines, *_notes(rows)])


def _shown(result: Result | None) -> str:
    return "-" if result is None or result.value is None else f"{result.value:.4g}"


def _notes(rows: Sequence[Row]) -> list[str]:
    """`FID, KID (source, sait): not measured: ...`: measures and rows that share a note share a line."""
    places: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        for key, one in row.results.items():
            if one.note:
                places.setdefault(one.note, {}).setdefault(MEASURES[key].title, []).append(row.name)
    lines = []
    for note, by_title in places.items():
        names = dict.fromkeys(name for found in by_title.values() for name in found)
        lines.append(f"{', '.join(by_title)} ({', '.join(names)}): {note}")
    return lines
