"""The data manifest: a CSV with one row per image, which people can write by hand."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path

import pandas as pd

from uda.core.errors import ConfigError, DataError, nearest
from uda.core.inputs import column_names, manifest_instead
from uda.core.manifest import write_atomically
from uda.data.spec import DatasetSpec, load_spec

REQUIRED = ("image", "label", "dataset")
OPTIONAL = ("split", "group", "weight")
_WANTED = {"image": "the path of an image", "dataset": "one of `uda list datasets`, or the path of a YAML of your own"}


@dataclass(frozen=True)
class Sample:
    """One row of a manifest.

    Attributes:
        image: path of the image.
        label: path of the label map, None where there is none.
        dataset: name or YAML path of the dataset spec that the label is coded by.
        spec_base: folder that a relative YAML path in `dataset` starts from.
        split: name of the split, "" where unknown.
        group: what the image belongs with (a city, a drive), "" where unknown.
        weight: how often it is drawn, relative to others.
        extra: values of columns that this program does not know; kept.
    """

    image: Path
    label: Path | None
    dataset: str
    spec_base: Path
    split: str = ""
    group: str = ""
    weight: float = 1.0
    extra: Mapping[str, str] = field(default_factory=dict, hash=False)


def read_samples(csv: Path, *, check_files: bool = False) -> list[Sample]:
    """The rows of a manifest.

    Args:
        csv: the file; relative paths in it start from its folder.
        check_files: see that every image is there. Labels are not looked for: who reads them will miss them.

    Raises:
        DataError: missing, unreadable or empty file, missing column, bad weight, or missing image.
    """
    frame = _read_frame(csv)
    for column in REQUIRED:
        if column not in frame.columns:
            raise DataError(f"has no column '{column}'", csv, nearest(column, map(str, frame.columns)))
    if frame.empty:
        raise DataError("lists no images", csv, "write it again with `uda prepare`")
    base = csv.parent.resolve()
    rows = [{str(key): str(value) for key, value in row.items()} for row in frame.to_dict("records")]
    samples = [_sample(row, base, f"{csv} row {number}") for number, row in enumerate(rows, start=2)]
    if check_files:
        missing = [sample.image for sample in samples if not sample.image.is_file()]
        if missing:
            what = f"{len(missing)} of {len(samples)} images are missing, first {missing[0]}"
            raise DataError(what, csv, "put the manifest back where its paths fit, or run `uda prepare` again")
    return samples


def require_weights(csv: Path) -> None:
    """Refuse a manifest, if it is there, of which no image would ever be drawn.

    Raises:
        DataError: every weight is 0.
    """
    if csv.is_file() and not any(sample.weight for sample in read_samples(csv)):
        mend = "give those that are to be drawn a weight above 0, or leave the column out"
        raise DataError("every weight is 0, so that no image is ever drawn", csv, mend)


def _refuse_other_marks(csv: Path) -> None:
    """Refuse a table whose columns are parted by something else than commas, as some spreadsheets do."""
    header = next(iter(column_names(csv) if csv.is_file() else []), "")
    for mark, name in ((";", "semicolons"), ("\t", "tabs")):
        if set(REQUIRED) & {one.strip(' "') for one in header.split(mark)[1:]}:
            raise DataError(f"its columns are parted by {name}", csv, "write commas")


def _read_frame(csv: Path) -> pd.DataFrame:
    try:
        _refuse_other_marks(csv)
        frame = pd.read_csv(csv, dtype=str, keep_default_na=False, skipinitialspace=True, encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DataError("no such manifest", csv, "check the path, or write one with `uda prepare`") from error
    except IsADirectoryError as error:
        raise DataError("is a folder, not a manifest", csv, manifest_instead(csv)) from error
    except (OSError, ValueError) as error:  # pandas' parser errors and bad encodings are ValueErrors
        raise DataError(f"is no CSV table ({str(error).strip()})", csv, "see `uda prepare --help`") from error
    if not isinstance(frame.index, pd.RangeIndex):  # pandas takes surplus fields for row names, and shifts the rest
        raise DataError("has rows with more fields than columns", csv, "put paths that hold a comma in quotes")
    return frame.fillna("")


def _sample(row: Mapping[str, str], base: Path, where: str) -> Sample:
    for column, wanted in _WANTED.items():
        if not row[column]:
            raise DataError(f"column '{column}' is empty", where, f"write {wanted}")
    known = (*REQUIRED, *OPTIONAL)
    return Sample(
        image=_absolute(base, row["image"]),
        label=_absolute(base, row["label"]) if row["label"] else None,
        dataset=row["dataset"],
        spec_base=base,
        split=row.get("split", ""),
        group=row.get("group", ""),
        weight=_weight(row.get("weight", ""), where),
        extra={key: value for key, value in row.items() if key not in known},
    )


def _weight(text: str, where: str) -> float:
    try:
        weight = float(text or 1)
    except ValueError:
        weight = -1.0
    if not isfinite(weight) or weight < 0:
        mend = "write how often the image is drawn: 1 as others, 2 twice as often, 0 never"
        raise DataError(f"weight '{text}' is no number from 0 on", where, mend)
    return weight


def _absolute(base: Path, text: str) -> Path:
    return Path(os.path.normpath(base / text))


def write_samples(path: Path, rows: Iterable[Sample]) -> None:
    """Write a manifest, atomically.

    Paths below the manifest's folder or beside it (below its parent) are written relative to it, so that both can be
    moved together; others absolute. Optional columns are written where a row has something in them.
    """
    samples = list(rows)
    base = path.parent.absolute()
    extra = list(dict.fromkeys(key for sample in samples for key in sample.extra))
    table = pd.DataFrame([_row(sample, base) for sample in samples], columns=[*REQUIRED, *OPTIONAL, *extra], dtype=str)
    table = table.fillna("")
    unused = [name for name in OPTIONAL if (table[name] == ("1" if name == "weight" else "")).all()]
    for text in table[["image", "label"]].to_numpy().ravel():
        if not text.isprintable() and text != text.encode(errors="ignore").decode():
            raise DataError("its name is no UTF-8, as a CSV has to be", repr(text), "rename the file")
        if text.startswith(" ") or "\r" in text:  # the reader leaves out the one, and takes the other for a line's end
            raise DataError("its name would be another when it is read from a CSV", repr(text), "rename the file")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, table.drop(columns=unused).to_csv(index=False, lineterminator="\n").encode())


def _row(sample: Sample, base: Path) -> dict[str, str]:
    own_spec = sample.dataset.endswith((".yaml", ".yml"))
    return {
        "image": relative_path(sample.image, base),
        "label": "" if sample.label is None else relative_path(sample.label, base),
        "dataset": relative_path(sample.spec_base / sample.dataset, base) if own_spec else sample.dataset,
        "split": sample.split,
        "group": sample.group,
        "weight": f"{sample.weight:g}",
        **sample.extra,
    }


def relative_path(path: Path, base: Path) -> str:
    """How `path` is written in a manifest in the folder `base`: relative if below or beside it, else absolute."""
    absolute = Path(os.path.normpath(path.absolute()))
    real = base.resolve()  # the system climbs `..` from where links lead, so relative paths must start there
    for folder in (base.absolute(), real):
        if absolute.is_relative_to(folder):
            return absolute.relative_to(folder).as_posix()
    if real.parent != real.parent.parent and absolute.is_relative_to(real.parent):
        return Path(os.path.relpath(absolute, real)).as_posix()
    return absolute.as_posix()


def load_specs(samples: Sequence[Sample]) -> dict[tuple[str, Path], DatasetSpec]:
    """The specs that the samples name, by (`dataset`, `spec_base`), each read once.

    Raises:
        ConfigError: a spec is missing or wrong; the first image whose row names it is told.
    """
    specs: dict[tuple[str, Path], DatasetSpec] = {}
    for sample in samples:
        key = (sample.dataset, sample.spec_base)
        if key not in specs:
            try:
                specs[key] = load_spec(*key)
            except ConfigError as error:
                where = f"{error.where} (in the manifest's row of {sample.image})"
                raise ConfigError(error.what, where, error.mend) from error
    return specs
