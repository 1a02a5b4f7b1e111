"""What a stage is, when it has to run, and how it is run: the same for every verb."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from uda.core import provenance
from uda.core.config import Config, digest, read_yaml, settings_that_matter
from uda.core.console import Console, duration
from uda.core.errors import ConfigError, DataError
from uda.core.inputs import column_values, input_digest, is_yaml_path, manifest_instead, step_of_run
from uda.core.launch import is_first_process, processes
from uda.core.manifest import Manifest, complete_manifest, owning_manifest, read_manifest, unread_stage
from uda.core.resources import find_yaml
from uda.core.rundir import RunDirectory
from uda.core.training import RuntimeConfig, share_of

Action = Literal["run", "resume", "skip"]


class StageConfig(Config):
    """Base of every stage's settings."""

    seed: int = Field(default=0, ge=0)
    """Seed of everything random in the stage."""
    runtime: RuntimeConfig = RuntimeConfig()
    """Device, precision, workers."""


@dataclass(frozen=True)
class Job:
    """What a stage's `run` gets.

    Attributes:
        config: the stage's settings.
        inputs: paths by name; optional inputs that were not given are absent.
        run: where it writes.
        console: where it speaks.
    """

    config: Any
    inputs: Mapping[str, Path]
    run: RunDirectory
    console: Console


@dataclass(frozen=True)
class Stage:
    """One verb.

    Attributes:
        name: as on the command line.
        version: raised by hand when the same settings come to mean something else.
        config: settings class.
        run: does the work and returns metrics.
        required: names of inputs that must be given.
        optional: names of inputs that may be given.
        one_of: names of optional inputs of which one must be given, and no more.
        foreign: names of inputs that are folders which no stage made (a data set, somebody's predictions).
        repeated: names of inputs that may be given several times, each as `NAME.LABEL`; the label is fingerprinted.
        manifests: names of inputs that are manifests; the others are folders, or files of weights.
        labelled: names of manifests of whose labels every one is read.
        makes: names of the files and folders that it leaves for other stages.
        alone: the first process of a launch does the work, which is not shared; the others wait for it.
        resumes: it goes on with what an interrupted run has done; else it does all of it again.
        check: looks at settings and inputs before anything runs, raising ConfigError or DataError; in a pipeline an
            input that is made later is not there yet.
        text: its metrics as a table for a terminal, where they are what it is run for.
        idle: settings, or groups of them, that nothing reads as it is configured, each with why.
        unread: likewise with inputs of these names too; a recipe, which is for all inputs, may hold them all the same.
        spare: names of inputs that the configured method has no use for; a step of a pipeline, whose method may be
            another than the pipeline's own, goes without them.
    """

    name: str
    version: int
    config: type[StageConfig]
    run: Callable[[Job], dict[str, Any]]
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()
    manifests: tuple[str, ...] = ()
    labelled: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()
    alone: bool = False
    resumes: bool = False
    check: Callable[[Any, Mapping[str, Path]], None] | None = None
    text: Callable[[Mapping[str, Any]], str] | None = None
    idle: Callable[[Any], Mapping[str, str]] | None = None
    unread: Callable[[Any, Collection[str]], Mapping[str, str]] | None = None
    spare: Callable[[Any], Collection[str]] | None = None


@dataclass(frozen=True)
class Decision:
    """Whether a stage runs, and why."""

    action: Action
    reason: str
    fingerprint: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def decide(stage: Stage, config: StageConfig, inputs: Mapping[str, Path], out: Path, *, force: bool) -> Decision:
    """Compare what would be made with what is there.

    Raises:
        DataError: an input is missing.
        ConfigError: inputs are missing or unknown, or `out` belongs to something else.
    """
    _check_inputs(stage, inputs)
    settings = _settings(config)
    digests = {
        name: {"path": str(path), "digest": _digest(stage, name, path)} for name, path in sorted(inputs.items())
    } | _definitions(config, {name: path for name, path in inputs.items() if _is_manifest(stage, name, path)})
    # Where inputs lie is recorded but not fingerprinted: moved results stay valid.
    content = {name: one["digest"] for name, one in digests.items()}
    fingerprint = digest([stage.name, stage.version, settings, content])
    old = check_place(stage, out, force=force)
    run = RunDirectory(out)
    interrupted = run.interrupted(fingerprint, forced=force)
    if force and interrupted is not None:
        action, reason = "resume", f"interrupted run of --force found{_place(interrupted, run)}"
    elif force:
        action, reason = "run", "--force"
    elif old is not None and old.fingerprint == fingerprint:
        action, reason = "skip", "complete, same settings and inputs"
    elif interrupted is not None:
        action, reason = "resume", f"interrupted run of the same settings found{_place(interrupted, run)}"
    elif old is not None:
        action, reason = "run", f"stale: {_difference(old, stage, settings, content)}"
    else:
        action, reason = "run", "not made yet" if run.started_for() is None else "an interrupted run had other settings"
    return Decision(action, reason, fingerprint, settings, digests)  # type: ignore[arg-type]  # literals by branch


def check_place(stage: Stage, out: Path, *, force: bool = False) -> Manifest | None:
    """Refuse a place for a stage's results that is a file, below one, or holds something else.

    Args:
        stage: whose results they are.
        out: the place.
        force: what the stage has left there is replaced, be it that its manifest cannot be read any more.

    Returns:
        What the stage says of the results that it has left there; None where there are none, or it cannot be read.

    Raises:
        ConfigError: the place is another's.
        DataError: what a stage says there cannot be read.
    """
    if (file := next((folder for folder in out.parents if folder.is_file()), None)) is not None:
        raise ConfigError("is a file, not a folder", file, "choose another --out")
    try:
        old = owning_manifest(out) if out.is_dir() else None
    except DataError:
        if (maker := unread_stage(out)) and maker != stage.name:
            raise ConfigError(f"holds the results of '{maker}'", out, "choose another --out") from None
        if not force or maker is None:
            raise
        return None
    if old is None and out.exists() and any(out.iterdir() if out.is_dir() else [out]):
        raise ConfigError("exists and was not made by this program", out, "choose another --out")
    if old is not None and old.stage != stage.name:
        raise ConfigError(f"holds the results of '{old.stage}'", out, "choose another --out")
    return old


def _place(interrupted: Path, run: RunDirectory) -> str:
    return "" if interrupted == run.partial else f" in {interrupted.name}"


def _settings(config: StageConfig) -> dict[str, Any]:
    """What of the settings is fingerprinted: of a label space's file what it says alone, which is in `_definitions`.

    A dataset's file counts by where it lies too, however that is written: manifests name it.
    """
    settings = settings_that_matter(config)
    if is_yaml_path(str(settings.get("label_space"))):
        del settings["label_space"]
    if is_yaml_path(str(settings.get("dataset"))):
        settings["dataset"] = str(Path(settings["dataset"]).absolute())
    return settings


def _is_manifest(stage: Stage, name: str, path: Path) -> bool:
    """Whether an input names other files, whatever it is called itself."""
    return name.partition(".")[0] in stage.manifests or path.suffix == ".csv"


def _digest(stage: Stage, name: str, path: Path) -> str:
    return input_digest(path, foreign=name.partition(".")[0] in stage.foreign, manifest=_is_manifest(stage, name, path))


def _definitions(config: StageConfig, manifests: Mapping[str, Path]) -> dict[str, dict[str, str]]:
    """Label spaces and dataset specs that settings and manifests name: editing one changes what labels mean."""
    found: dict[str, list[Path]] = {}
    for key in ("label_space", "dataset"):
        if isinstance(reference := getattr(config, key, None), str):
            found[key] = [find_yaml(f"configs/{key}s", reference, key)]
    for name, path in sorted(manifests.items()):
        for reference in sorted(column_values(path, "dataset")) if path.is_file() else ():
            # A spec of one's own may be called otherwise, a stage's never is; an unquoted comma shifts paths here.
            own = is_yaml_path(reference) and (path.parent / reference).is_file()
            key = f"{name}'s dataset" if own and reference != DATASET else f"{name}'s dataset {reference}"
            with contextlib.suppress(ConfigError):  # the stage tells what a manifest names wrongly, with its row
                file = path.parent / reference if own else find_yaml("configs/datasets", reference, "dataset")
                found.setdefault(key, []).append(file)
    made = {key: sorted({digest(read_yaml(file)) for file in files}) for key, files in found.items()}
    return {
        key: {"path": ", ".join(map(str, files)), "digest": made[key][0] if len(made[key]) == 1 else digest(made[key])}
        for key, files in found.items()
    }


def _check_inputs(stage: Stage, inputs: Mapping[str, Path]) -> None:
    given = {head if (head := name.partition(".")[0]) in stage.repeated else name for name in inputs}
    missing = [name for name in stage.required if name not in given]
    if missing:
        raise ConfigError(f"needs {', '.join('--' + name for name in missing)}", f"uda {stage.name}")
    unknown = given - set(stage.required) - set(stage.optional)
    if unknown:
        raise ConfigError(f"takes no input {', '.join(sorted(unknown))}", f"uda {stage.name}")
    check_one_of(stage.name, stage.one_of, given)
    for name, path in inputs.items():
        if (head := name.partition(".")[0]) in stage.foreign or not path.is_dir():
            continue
        if head in stage.manifests:
            raise DataError("is a folder, not a manifest", path, manifest_instead(path))
        step = None if owning_manifest(path) else step_of_run(path, _MAKERS.get(head, stage.name))
        if step is not None:
            raise DataError("is a run's directory, not a step's", path, f"give {step}")


def check_one_of(stage: str, names: Collection[str], given: Collection[str]) -> None:
    """Refuse none and several of inputs of which a stage takes one.

    Raises:
        ConfigError: not one of them is given.
    """
    if names and sum(name in given for name in names) != 1:
        raise ConfigError(f"needs one of {' and '.join(f'--{name} DIR' for name in names)}", f"uda {stage}")


def _difference(old: Manifest, stage: Stage, settings: Mapping[str, Any], content: Mapping[str, str]) -> str:
    """Say what changed since the old run, shortly."""
    if old.version != stage.version:
        return f"version {old.version} -> {stage.version}"
    changes = [f"config {line}" for line in _changes("", old.settings, settings)]
    before = {name: one["digest"] for name, one in old.inputs.items()}
    for name in sorted(set(before) | set(content)):
        if before.get(name) != content.get(name):
            kind = "added" if name not in before else "taken away" if name not in content else "changed"
            changes.append(f"input {name} {kind}")
    return ", ".join(changes[:4]) + (f" and {len(changes) - 4} more" if len(changes) > 4 else "")


def _changes(prefix: str, old: Any, new: Any) -> list[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        lines = []
        for key in sorted(set(old) | set(new)):
            where = f"{prefix}.{key}" if prefix else str(key)
            lines += _changes(where, old.get(key, "default"), new.get(key, "default"))
        return lines
    if isinstance(new, tuple):
        new = list(new)
    return [] if old == new else [f"{prefix} {_short(old)} -> {_short(new)}"]


def _short(value: Any) -> Any:
    """A setting as it is told; of a SHA-256 its start."""
    return value[:8] if isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) else value


def execute(
    stage: Stage, config: StageConfig, inputs: Mapping[str, Path], out: Path, console: Console, *, force: bool = False
) -> Manifest:
    """Run a stage, go on with it, or skip it, saying which and why, once its check has passed; skipping needs none.

    Returns:
        The manifest of the complete stage directory.

    Raises:
        ConfigError: of `decide` or of the stage's check; nothing has been said or written.
        DataError: the same, or what the stage's work tells.
    """
    decision = decide(stage, config, inputs, out, force=force)
    if stage.check is not None and decision.action != "skip":
        stage.check(config, inputs)
    verb = "starting over" if decision.action == "resume" and not stage.resumes else _VERB[decision.action]
    console.say(f"{stage.name} -> {out}: {verb} ({decision.reason})")
    if force and decision.action == "resume":
        console.say(f"{stage.name} -> {out}: to start anew instead, stop this and remove {out.name}.partial")
    if decision.action == "skip":
        manifest = read_manifest(out)
        assert manifest is not None
        return manifest
    with contextlib.closing(RunDirectory(out, console.say)) as run:
        return _execute(stage, config, inputs, run, decision, console, force=force)


def _execute(
    stage: Stage,
    config: StageConfig,
    inputs: Mapping[str, Path],
    run: RunDirectory,
    decision: Decision,
    console: Console,
    *,
    force: bool,
) -> Manifest:
    """Do a stage's work in its directory, as decided."""
    out, resolved = run.out, config.model_dump(mode="json")
    if is_first_process():
        fresh, told = decision.action == "run", {"code": provenance.code()}
        run.begin(decision.fingerprint, resolved, fresh=fresh, forced=force, told=told)
    wait_for_processes(config)
    started = time.time()
    if not is_first_process():
        if stage.alone:
            wait_for_processes(config)
            return complete_manifest(out)
        run.reread()
    provenance.begin()
    metrics = stage.run(Job(config, dict(inputs), run, console))
    manifest = Manifest(
        stage=stage.name,
        version=stage.version,
        fingerprint=decision.fingerprint,
        reason=decision.reason,
        settings=decision.settings,
        config=resolved,
        inputs=decision.inputs,
        outputs=run.outputs_digest(),
        metrics=metrics,
        recorded=provenance.recorded(time.time() - started, run.earlier),
    )
    if is_first_process():
        run.complete(manifest)
        whole = f" ({duration(manifest.recorded['seconds'])} in all)" if run.earlier else ""
        console.say(f"{stage.name} -> {out}: done in {duration(time.time() - started)}{whole}")
    wait_for_processes(config)
    return manifest


def check_divisible(key: str, size: tuple[int, int], multiple: int, who: str) -> None:
    """Refuse a height or width that the network's strides do not divide.

    Raises:
        ConfigError: the nearest sizes that fit are named.
    """
    if any(side % multiple for side in size):
        fitting = [max(multiple, round(side / multiple) * multiple) for side in size]
        raise ConfigError(f"{list(size)} is not divisible by {multiple}, as {who} needs", key, f"use {fitting}")


def check_shared(batch: int, *, least: int = 1) -> int:
    """Each process's share of a batch, by the processes of this launch; see `uda.core.training.share_of`.

    Raises:
        ConfigError: they cannot share it equally, or a share is smaller than `least`.
    """
    return share_of(batch, processes(), least=least)


def wait_for_processes(config: StageConfig) -> None:
    """Wait for the other processes of the launch, where there are any."""
    if processes() > 1:
        from uda.engine.runtime import wait_for_all  # here, so that deciding needs no torch

        wait_for_all(config.runtime.device)


DATASET = "dataset.yaml"
"""Name of the dataset spec beside a `samples.csv` whose labels are class indices."""
_MAKERS: Mapping[str, str] = {"segmenter": "segment", "guide": "segment", "tones": "segment", "translator": "translate"}
"""The stages that leave what inputs of these names are; others take what their own stage left."""
_VERB: Mapping[str, str] = {"run": "running", "resume": "going on", "skip": "skipped"}
