"""`uda prepare`: index and check a data set; every defect is named, and what is whole becomes a manifest."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from uda.core.config import Config
from uda.core.console import Console
from uda.core.errors import ConfigError, DataError
from uda.core.inputs import column_names
from uda.core.lazy import lazy_import
from uda.core.manifest import write_atomically
from uda.data.label_space import LabelSpace, load_space
from uda.data.spec import DatasetSpec, load_spec
from uda.stages._labels import vouch
from uda.stages.base import Job, Stage, StageConfig

if TYPE_CHECKING:
    from uda.data import index as indexing
    from uda.data import pairs as pairing
    from uda.data import samples as manifests
else:
    indexing = lazy_import("uda.data.index")
    manifests = lazy_import("uda.data.samples")
    pairing = lazy_import("uda.data.pairs")

_SHOWN = 5
"""Defects that are named on the console; all are in the JSON."""


class Selection(Config):
    """A part of a data set, in the order of the names (for video frames: of time)."""

    groups: tuple[str, ...] = ()
    """Keep only these groups (a city, a drive); empty keeps all."""
    classes: tuple[str, ...] = ()
    """Keep only images whose label shows one of these classes, by the names that are counted (see `label_space`); empty
    keeps all. Every label is opened."""
    class_share: float = Field(default=0.0, ge=0, le=1)
    """Part of the image that `classes` must cover together; 0: one pixel is enough."""
    first: int | None = Field(default=None, ge=1)
    """Keep only so many from the start, of what the other settings keep."""
    last: int | None = Field(default=None, ge=1)
    """Keep only so many from the end."""

    @model_validator(mode="after")
    def _share_is_of_classes(self) -> Self:
        if self.class_share and not self.classes:
            raise ValueError("class_share is the share of some classes: name them in classes, or leave it out")
        return self


class PrepareConfig(StageConfig):
    """Settings of `uda prepare`."""

    runtime_only = frozenset({"threads", "runtime"})

    dataset: str
    """A shipped dataset spec or a YAML file."""
    split: str | None = None
    """A split of the data set; None takes all."""
    label_space: str | None = None
    """Count classes of this label space; None: the data set's own."""
    select: Selection = Selection()
    """Part of the data set to take."""
    labels: bool = True
    """Write label paths; false for a set that shall count as unlabelled."""
    on_defect: Literal["error", "leave_out"] = "error"
    """Stop at defects, or leave the images concerned out of the manifest; both name them."""
    threads: int = Field(default=4, ge=1)
    """Threads that read."""


def _report(config: PrepareConfig, root: Path, console: Console) -> tuple[Any, list[Any]]:
    """What the checks found, and the rows of the manifest."""
    spec = load_spec(config.dataset)
    space = None if config.label_space is None else load_space(config.label_space)
    if not config.labels and spec.labels is not None and not config.select.classes:  # classes are told by labels
        spec = spec.model_copy(update={"labels": None, "ignored": (*spec.ignored, spec.labels)})
    index = indexing.index_dataset(root, spec, config.split)
    chosen = _select(index.pairs, config, spec, space, root, console)
    index = replace(index, pairs=chosen, left_out=len(index.pairs) - len(chosen))
    with console.progress(f"prepare {spec.name}", len(index.pairs)) as progress:
        report = indexing.check_index(index, spec, space, workers=config.threads, progress=progress.update)
    reference = config.dataset if spec.file is None or config.dataset != str(spec.file) else str(spec.file.absolute())
    rows = report.samples(reference, Path.cwd())
    if not config.labels:
        rows = [replace(row, label=None) for row in rows]
    return report, rows


def _select(
    pairs: Any, config: PrepareConfig, spec: DatasetSpec, space: LabelSpace | None, root: Path, console: Console
) -> Any:
    """The part of the data set that the settings ask for.

    Raises:
        DataError: there is no image of one of these groups, or nothing shows these classes.
    """
    select = config.select
    groups = {pair.group for pair in pairs}
    if (unknown := [group for group in select.groups if group not in groups]) and pairs:
        known = ", ".join(sorted(groups)) or "none"
        raise DataError(f"has no group {', '.join(unknown)}", root, f"its groups: {known}")
    chosen: Sequence[Any] = [pair for pair in pairs if not select.groups or pair.group in select.groups]
    if select.classes and chosen:
        title = f"prepare {spec.name}: looking for {', '.join(select.classes)}"
        with console.progress(title, len(chosen)) as progress:
            chosen = indexing.pairs_with(
                chosen,
                spec,
                space,
                select.classes,
                share=select.class_share,
                workers=config.threads,
                progress=progress.update,
            )
        if not chosen:
            mend = "take another split or other classes, or lower select.class_share"
            raise DataError(f"no label shows {' or '.join(select.classes)}", root, mend)
    return tuple(_cut(chosen, select))


def _cut(pairs: Sequence[Any], select: Selection) -> Sequence[Any]:
    """The first and last of the pairs, as the settings say."""
    pairs = pairs[: select.first] if select.first is not None else pairs
    return pairs[-select.last :] if select.last is not None else pairs


def labelled_by_name(config: PrepareConfig, root: Path) -> list[bool] | None:
    """Whether each image that would be taken has a label, as far as names tell; no file is opened.

    Args:
        config: the stage's settings; `labels: false` is not asked about here.
        root: the data set.

    Returns:
        An entry for each row of the manifest, short of defects in files; None where labels must be opened to choose.

    Raises:
        ConfigError: the spec is missing or wrong, or has no such split.
        DataError: there is no such folder, it cannot be read, or no image in it fits the spec.
    """
    select = config.select
    if select.classes:
        return None
    found = pairing.index_dataset(root, load_spec(config.dataset), config.split).pairs
    chosen = [pair for pair in found if not select.groups or pair.group in select.groups]
    return [pair.label is not None for pair in _cut(chosen, select)]


def _judge(config: PrepareConfig, report: Any, root: Path, where: Path | None, console: Console) -> None:
    """Name the defects; stop where the settings say so or nothing is left.

    Args:
        config: `on_defect` counts.
        report: what the checks found.
        root: the data set.
        where: the file that names every defect; None: nothing is written, and all of them are said.
        console: speaks.

    Raises:
        DataError: defects and `on_defect: error`, or no usable image.
    """
    for note in report.notes:
        console.say(f"prepare: {note}")
    shown = len(report.defects) if where is None else _SHOWN
    for defect in report.defects[:shown]:
        console.say(f"prepare: {defect.kind}: {defect.file}: {defect.detail}")
    if (more := len(report.defects) - shown) > 0:
        console.say(f"prepare: and {more} more, all in {where}")
    seen = "see above" if where is None else f"see {where}"
    if report.defects and config.on_defect == "error":
        first = report.defects[0]
        what = f"{len(report.defects)} defects, first: {first.kind}: {first.file}: {first.detail}"
        raise DataError(what, root, f"{seen}; mend them or --set on_defect=leave_out")
    if not report.pairs:
        raise DataError("no usable image is left", root, seen)


def _check_out(out: Path, findings: Path) -> None:
    """Refuse to replace a file that this program did not make."""
    if out.suffix != ".csv":
        raise ConfigError("a manifest's name ends in .csv", out, f"use --out {out}.csv")
    for file in (out, findings):
        if file.is_dir():
            raise ConfigError("is a folder", file, "choose another --out")
    if out.is_file() and out.stat().st_size and "image" not in column_names(out):
        raise ConfigError("is no manifest and would be written over", out, "choose another --out")
    if findings.is_file() and findings.stat().st_size:
        try:
            known = "defect_counts" in json.loads(findings.read_text())
        except (ValueError, TypeError):
            known = False
        if not known:
            raise ConfigError(
                "holds no findings of uda prepare and would be written over", findings, "choose another --out"
            )


def _check_writable(out: Path) -> None:
    """See that a file can be made beside `out`: all files of a data set are read before it is written."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=out.parent):
            pass
    except OSError as error:
        raise ConfigError(f"cannot be written ({error.strerror})", out, "choose another --out") from error


def prepare_to_csv(
    config: PrepareConfig, root: Path, out: Path, console: Console, *, dry_run: bool = False
) -> dict[str, Any]:
    """Check the data set at `root`; write the manifest `out` and the findings beside it as JSON.

    Raises:
        ConfigError: `out` has another ending, cannot be written, or would replace what this program did not make.
        DataError: defects (the JSON is written all the same; an older manifest is left as it was).
    """
    findings = out.with_suffix(".json")
    _check_out(out, findings)
    if not dry_run:
        _check_writable(out)
    report, rows = _report(config, root, console)
    if not dry_run:
        write_atomically(findings, (json.dumps(report.to_dict(), indent=2) + "\n").encode())
    _judge(config, report, root, None if dry_run else findings, console)
    if not dry_run:
        manifests.write_samples(out, rows)
        vouched = report.to_dict() | vouch(out)
        write_atomically(findings, (json.dumps(vouched, indent=2) + "\n").encode())
    return {key: value for key, value in report.to_dict().items() if key != "defects"}


def _run(job: Job) -> dict[str, Any]:
    config: PrepareConfig = job.config
    report, rows = _report(config, job.inputs["root"], job.console)
    found: dict[str, Any] = report.to_dict()
    job.run.write("findings.json", (json.dumps(found, indent=2) + "\n").encode())
    _judge(config, report, job.inputs["root"], job.run.path("findings.json"), job.console)
    manifests.write_samples(job.run.path("samples.csv"), rows)
    job.run.add("samples.csv")
    return {key: value for key, value in found.items() if key != "defects"}


def _check(config: PrepareConfig, inputs: Mapping[str, Path]) -> None:
    if not os.path.isdir(inputs["root"]):  # noqa: PTH112  # a broken link is no folder either
        raise DataError("no such folder", inputs["root"], "give the data set's folder with --data")


def _unread(config: PrepareConfig, inputs: Collection[str]) -> dict[str, str]:
    found = dict.fromkeys(("seed", "runtime"), "uda prepare reads files, by threads")
    return found if config.labels or config.select.classes else found | {"label_space": "labels are not read"}


STAGE = Stage(
    name="prepare",
    version=2,  # 2: findings.json tells the files' content
    config=PrepareConfig,
    run=_run,
    required=("root",),
    foreign=("root",),
    makes=("samples.csv",),
    alone=True,
    check=_check,
    unread=_unread,
)
