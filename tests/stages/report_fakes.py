"""Directories as stages and `uda iterate` leave them, made without training anything."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from uda.core.config import digest
from uda.core.inputs import input_digest
from uda.core.manifest import Manifest
from uda.core.rundir import RunDirectory
from uda.data.label_space import load_space
from uda.data.read import encode_png

SPACE = load_space("cityscapes19")
ABSENT = "train"
"""A class that occurs neither in labels nor in predictions."""
SIZE = (16, 32)


def stage(
    out: Path,
    name: str,
    *,
    settings: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    inputs: Mapping[str, Path] | None = None,
    metrics: Mapping[str, Any] | None = None,
    files: Mapping[str, bytes] | None = None,
    log: Sequence[Mapping[str, float]] = (),
    reason: str = "not made yet",
    seconds: float = 10.0,
    finished: str = "2024-05-01T10:00:00+0000",
    complete: bool = True,
) -> Path:
    """One stage directory, written the way a stage writes it; `complete=False` leaves it under way."""
    run = RunDirectory(out)
    given = {key: {"path": str(path), "digest": input_digest(path)} for key, path in (inputs or {}).items()}
    fingerprint = digest([name, 1, dict(settings or {}), {key: one["digest"] for key, one in given.items()}])
    run.begin(fingerprint, dict(config or settings or {}))
    for file, data in (files or {"made.txt": out.as_posix()[-20:].encode()}).items():
        run.path(file)
        run.write(file, data)
    for line in log:
        run.log(**line)
    if complete:
        versions = {"uda": "0.1.0", "torch": "2.9.0", "timm": None}
        recorded = {"seconds": seconds, "finished": finished, "python": "3.12.1", "system": "Linux x86_64"}
        recorded |= {"processor": "Abacus 9", "processes": 2, "code": {"commit": "c0ffee" * 4, "modified": True}}
        run.complete(
            Manifest(
                stage=name,
                version=1,
                fingerprint=fingerprint,
                reason=reason,
                settings=dict(settings or {}),
                config=dict(config or settings or {}),
                inputs=given,
                outputs=run.outputs_digest(),
                metrics=dict(metrics or {}),
                recorded=recorded | {"versions": versions},
            )
        )
    return out


def scores(level: float) -> dict[str, Any]:
    """What `evaluate` returns, with class IoUs around `level`."""
    names = list(SPACE.names)
    iou = {
        name: None if name == ABSENT else round(level + 0.2 * ((5 * i) % 7 / 6 - 0.5), 4)
        for i, name in enumerate(names)
    }
    there = [value for value in iou.values() if value is not None]
    subsets = {
        key: float(np.mean([value for name in members if (value := iou[name]) is not None]))
        for key, members in SPACE.subsets.items()
    }
    return {
        "classes": names,
        "miou": float(np.mean(there)),
        "pixel_accuracy": min(level + 0.3, 1.0),
        "class_accuracy": level + 0.1,
        "iou": iou,
        "subsets": subsets,
    }


def evaluate(out: Path, level: float, **more: Any) -> Path:
    """An evaluation with its confusion matrix."""
    count = len(SPACE.names)
    matrix = np.full((count, count), 2) + np.diag(np.full(count, int(200 * level)))
    matrix[1, 0] = 40  # sidewalk taken for road
    matrix[SPACE.names.index(ABSENT)] = 0
    lines = [",".join(("label \\ prediction", *SPACE.names))]
    lines += [",".join((name, *map(str, row))) for name, row in zip(SPACE.names, matrix, strict=True)]
    files = {"confusion.csv": ("\n".join(lines) + "\n").encode(), "report.json": json.dumps(scores(level)).encode()}
    config = {"label_space": "cityscapes19"}
    return stage(out, "evaluate", config=config, metrics=scores(level), files=files, **more)


def translate(out: Path, translator: str = "sait", columns: int = 4, **more: Any) -> Path:
    """A translation with its sample picture of `columns` columns."""
    grid = np.zeros((2 * SIZE[0], columns * SIZE[1], 3), np.uint8)
    grid[:, :, 0] = np.linspace(0, 255, columns * SIZE[1]).astype(np.uint8)
    config = {"translator": {"name": translator}, "size": list(SIZE), "label_space": "cityscapes19"}
    files = {"grid.png": encode_png(grid), "samples.csv": b"image,label,dataset\n" + out.name.encode()}
    return stage(out, "translate", settings={"translator": {"name": translator}}, config=config, files=files, **more)


def pseudo_label(out: Path, threshold: float = 0.8, **more: Any) -> Path:
    """Pseudo-labels; the absent class was never predicted."""
    classes = {
        name: {
            "threshold": threshold,
            "pixels": 50,
            "predicted_pixels": 100,
            "coverage": None if name == ABSENT else 0.5,
        }
        for name in SPACE.names
    }
    files = {"samples.csv": f"image,label,dataset\n{threshold}".encode()}
    config = {"strategy": {"name": "class_median"}, "label_space": "cityscapes19"}
    metrics = {"coverage": 0.5125, "classes": classes}
    return stage(out, "pseudo-label", config=config, metrics=metrics, files=files, **more)


def segment(out: Path, seed: int = 0, **more: Any) -> Path:
    """A segmenter with its log."""
    settings = {"segmenter": {"name": "deeplabv2"}, "fit": {"images": 1200}, "weights": {"adversarial": 0.0005}}
    log = [{"images": at, "time": 1.0 + at, "segmentation": 2.0 / (1 + at), "pseudo": 1.0} for at in (0, 600, 1200)]
    metrics = {"segmentation": 0.25, "images_per_second": 3.5}
    seeded = {**settings, "seed": seed} if seed else settings
    return stage(
        out, "segment", settings=seeded, config={**settings, "adversary": None}, metrics=metrics, log=log, **more
    )


def prepare(
    out: Path,
    dataset: str,
    count: int = 20,
    defects: Mapping[str, int] | None = None,
    select: Mapping[str, Any] | None = None,
) -> Path:
    """A data set's index."""
    metrics = {"images": count, "usable": count, "labelled": count, "classes": [], "defect_counts": dict(defects or {})}
    files = {"samples.csv": b"image,label,dataset\n" + dataset.encode()}
    config = {"dataset": dataset, "select": dict(select or {})}
    return stage(out, "prepare", settings={"dataset": dataset}, config=config, metrics=metrics, files=files)


def loop(
    out: Path,
    *,
    rounds: int = 2,
    lift: float = 0.0,
    seed: int = 0,
    images: int = 20,
    summed_up: bool = True,
    **report: Any,
) -> Path:
    """A run of `uda iterate`: bounds, a comparator, rounds; `summed_up=False` leaves it before its report."""
    for name, dataset in (("source", "gta5"), ("target", "cityscapes"), ("val", "cityscapes")):
        prepare(out / name, dataset, images)
    source, target, val = (out / name / "samples.csv" for name in ("source", "target", "val"))
    segment(out / "source_only", seed, inputs={"source": source})
    evaluate(out / "source_only_score", 0.3, inputs={"segmenter": out / "source_only", "target": val})
    segment(out / "oracle", seed, inputs={"source": target})
    evaluate(out / "oracle_score", 0.7, inputs={"segmenter": out / "oracle", "target": val})
    translate(out / "color_transfer", "color_transfer", 4, inputs={"source": source, "target": target})
    evaluate(out / "evaluate_color_transfer", 0.35, inputs={"target": val})
    previous = out / "source_only"
    for number in range(1, rounds + 1):
        previous = one_round(out / f"round_{number}", previous, (source, target, val), 0.4 + 0.1 * number + lift, seed)
    if summed_up:
        write_report(out, rounds, lift, seed, report)
    return out


def one_round(out: Path, guide: Path, data: tuple[Path, Path, Path], level: float, seed: int) -> Path:
    """The stages of one round; returns its segmenter."""
    source, target, val = data
    translate(out / "translate", columns=5, inputs={"source": source, "target": target, "guide": guide})
    pseudo_label(out / "pseudo_label", inputs={"segmenter": guide, "target": target})
    inputs = {"source": out / "translate/samples.csv", "pseudo": out / "pseudo_label/samples.csv"}
    segment(out / "segment", seed, inputs=inputs, finished="2024-05-01T11:00:00+0000", seconds=3725)
    evaluate(
        out / "evaluate",
        level,
        inputs={"segmenter": out / "segment", "target": val},
        finished="2024-05-01T12:00:00+0000",
    )
    return out / "segment"


def report(rounds: int, lift: float = 0.0, seed: int = 0, **changes: Any) -> dict[str, Any]:
    """The content of `report.json` that `iterate` writes for `loop`."""

    def row(name: str, number: int | None, level: float) -> dict[str, Any]:
        own = scores(level)
        own.pop("classes")
        return {"name": name, "round": number, **own}

    rows = [row("source only", None, 0.3), row("colour transfer", None, 0.35)]
    rows += [row(f"round {number}", number, 0.4 + 0.1 * number + lift) for number in range(1, rounds + 1)]
    rows.append(row("oracle", None, 0.7))
    content = {
        "classes": list(SPACE.names),
        "rows": rows,
        "gap_closed": (0.1 + 0.1 * rounds + lift) / 0.4,
        "pipeline": "gta5_to_cityscapes",
        "seed": seed,
        "label_space": "cityscapes19",
        "published": "gta5_deeplabv2",
    }
    return content | changes


def write_report(out: Path, rounds: int, lift: float, seed: int, changes: Mapping[str, Any]) -> None:
    """Write it."""
    (out / "report.json").write_text(json.dumps(report(rounds, lift, seed, **changes)))
