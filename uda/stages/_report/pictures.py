"""Pictures in the page: sample grids of translations with captions, confusion matrices, colours of classes."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from uda.core.errors import ConfigError, DataError
from uda.data.label_space import load_space
from uda.segmenters._store import describe
from uda.stages._report.reading import StageEntry

_WIDEST = 1800
"""Pixels; wider grids are scaled down: a screen shows no more."""
_LARGEST_PNG = 600_000
"""Bytes of a PNG above which a JPEG is taken."""
GREY = "#9aa4ae"
SWAPPED = "guidance of another image"
"""Caption of the column that `swap_guidance` makes."""


@dataclass(frozen=True)
class Grid:
    """A translate stage's sample picture: data URI, captions of its columns (none where they cannot be told)."""

    name: str
    image: str
    captions: tuple[str, ...]
    width: int
    height: int


@dataclass(frozen=True)
class Confusion:
    """A confusion matrix, each row as parts of the true class's pixels; None for a class that does not occur."""

    name: str
    classes: tuple[str, ...]
    rows: tuple[tuple[float, ...] | None, ...]

    def worst(self, count: int, least: float) -> list[tuple[str, str, float]]:
        """The `count` largest confusions: true class, predicted class, part of its pixels, `least` or more."""
        pairs = [
            (true, predicted, part)
            for true, row in zip(self.classes, self.rows, strict=True)
            for predicted, part in zip(self.classes, row or (), strict=False)
            if true != predicted and part >= least
        ]
        return sorted(pairs, key=lambda pair: -pair[2])[:count]


def grid_picture(entry: StageEntry) -> Grid | None:
    """The `grid.png` of a translate stage, scaled to a sane size; None where there is none.

    Raises:
        DataError: the file is no picture.
    """
    file = entry.directory / "grid.png"
    if not file.is_file():
        return None
    try:
        with Image.open(file) as opened:
            picture = opened.convert("RGB")
    except OSError as error:
        raise DataError(f"is no picture ({error})", file, "run its stage again with --force") from error
    captions = _captions(entry, picture.width)
    if picture.width > _WIDEST:
        height = max(1, round(picture.height * _WIDEST / picture.width))
        picture = picture.resize((_WIDEST, height), Image.Resampling.LANCZOS)
    return Grid(entry.name, _data_uri(picture), captions, picture.width, picture.height)


def _captions(entry: StageEntry, width: int) -> tuple[str, ...]:
    """What the columns of a grid show, told by the width of one image and by whether there was a guide."""
    config = entry.manifest.config
    size: Any = config.get("render_size") or config.get("size")
    if not size or width % int(size[1]):
        return ()
    guided = "guide" in entry.manifest.inputs
    full = ["source", "source labels", *(["guide's prediction"] if guided else []), "translation"]
    swapped = [SWAPPED] if width // int(size[1]) == len(full) + 2 else []
    captions = (*full, *swapped, "a target image")
    return captions if len(captions) == width // int(size[1]) else ()


def _data_uri(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    kind = "png"
    if buffer.tell() > _LARGEST_PNG:
        buffer, kind = io.BytesIO(), "jpeg"
        picture.save(buffer, "JPEG", quality=88, subsampling=0, optimize=True)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def confusion(entry: StageEntry) -> Confusion | None:
    """The `confusion.csv` of an evaluation, rows normalised by the true class's pixels; None where there is none.

    Raises:
        DataError: the file, or `iou.csv` beside it, is no table of numbers.
    """
    file = entry.directory / "confusion.csv"
    if not file.is_file():
        return None
    try:
        with file.open(newline="") as opened:
            head, *lines = list(csv.reader(opened)) or [[]]
        counts = [[int(value) for value in line[1:]] for line in lines]
    except (ValueError, csv.Error) as error:
        raise DataError(f"is no confusion matrix ({error})", file, "run its stage again with --force") from error
    classes = tuple(head[1:])
    if [len(row) for row in counts] != [len(classes)] * len(classes):
        raise DataError("is no confusion matrix (it is not square)", file, "run its stage again with --force")
    pixels = _true_pixels(file.with_name("iou.csv"), len(classes)) or [sum(row) for row in counts]
    rows = tuple(
        tuple(value / whole for value in row) if whole else None for row, whole in zip(counts, pixels, strict=True)
    )
    return Confusion(entry.name, classes, rows)


def _true_pixels(file: Path, classes: int) -> list[int]:
    """Pixels of each class by the labels, of which some may have been predicted as none; empty where no file says.

    Raises:
        DataError: the file is cut, or of another number of classes.
    """
    if not file.is_file():
        return []
    try:
        with file.open(newline="") as opened:
            pixels = [int(line["pixels"]) for line in csv.DictReader(opened)]
        if len(pixels) != classes:
            raise ValueError(f"it has {len(pixels)} rows for {classes} classes")
    except (ValueError, KeyError, TypeError, csv.Error) as error:  # TypeError: a row ends before this column
        known = {KeyError: "it has no column 'pixels'", TypeError: "a row is cut"}
        what = f"is no table of each class's IoU ({known.get(type(error), error)})"
        raise DataError(what, file, "run its stage again with --force") from error
    return pixels


def class_colors(
    label_space: str | None, classes: Sequence[str], near: Path, segmenters: Sequence[StageEntry] = ()
) -> dict[str, str]:
    """CSS colours of classes; grey where they are not to be had any more.

    Args:
        label_space: a shipped name or the path of a YAML, as the run was told.
        classes: their names.
        near: directory of the run: a relative path may be meant from there.
        segmenters: of the run, which keep the colours that they were trained with, wherever the label space lies.
    """
    known: dict[str, str] = {}
    for reference in (label_space, str(near / label_space)) if label_space else ():
        try:
            space = load_space(reference)
        except ConfigError:
            continue
        known = {one.name: _css(one.color) for one in space.classes}
        break
    for entry in segmenters:
        known |= _kept_colors(entry)
    return {name: known.get(name, GREY) for name in classes}


def _kept_colors(entry: StageEntry) -> dict[str, str]:
    """Colours by class that a segmenter keeps; none where it is older than that or broken."""
    try:
        kept = describe(entry.directory)
        return {str(name): _css(color) for name, color in zip(kept["classes"], kept["colors"], strict=True)}
    except (DataError, KeyError, TypeError, ValueError, IndexError):
        return {}


def _css(color: Sequence[int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)
