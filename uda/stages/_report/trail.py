"""The trail of a run: out of what each stage was made, with which settings, how long it took, and on what machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uda.core.config import digest
from uda.core.console import duration
from uda.stages._report.reading import Run, StageEntry
from uda.stages._report.scores import number

SHORT = 12
"""Digits of a digest that are shown."""
_FOLDERS = ("root",)
"""Inputs that are folders of a data set: they count by their files' times, which differ between equal copies."""
_DEFINITIONS = (".yaml", ".yml")
"""Endings of label spaces and dataset specs: they count by what they say, not as a stage's output."""


@dataclass(frozen=True)
class Input:
    """An input of a stage.

    Attributes:
        name: as the stage calls it.
        what: `STEP` or `STEP/FILE` of the same run, else the path as it was given.
        digest: in full.
        inside: whether a stage of the run made it.
        stale: a stage of the run made it, and has made something else since.
    """

    name: str
    what: str
    digest: str
    inside: bool = False
    stale: bool = False


@dataclass(frozen=True)
class Step:
    """One stage of the trail.

    Attributes:
        entry: the stage.
        inputs: by name.
        settings: those that matter (in the fingerprint, not at their default), by dotted key.
        numbers: the stage's plain results.
        seconds: how long it ran; with the time before it was resumed, where it was.
        machine: of `machines`.
    """

    entry: StageEntry
    inputs: tuple[Input, ...]
    settings: tuple[tuple[str, str], ...]
    numbers: tuple[tuple[str, str], ...]
    seconds: float | None
    machine: str

    @property
    def time(self) -> str:
        """The time in words."""
        return "-" if self.seconds is None else duration(self.seconds)


def trail(run: Run) -> list[Step]:
    """All stages of a run in the order of the work."""
    roots = _roots(run)
    return [
        Step(
            entry=entry,
            inputs=tuple(_input(run, roots, name, one) for name, one in sorted(entry.manifest.inputs.items())),
            settings=tuple(flat(entry.manifest.settings)),
            numbers=tuple(_numbers(entry.manifest.metrics)),
            seconds=number(entry.manifest.recorded.get("seconds")),
            machine=machine(entry),
        )
        for entry in run.stages
    ]


def _made_by(run: Run, path: Path, content: str) -> str | None:
    """The step, or its file, that an input's digest stands for; of several that are alike, the one the path names."""
    found = []
    for entry in run.stages:
        if content == entry.manifest.outputs:
            found.append(entry.name)
        elif content == digest([entry.manifest.outputs, path.name]):
            found.append(f"{entry.name}/{path.name}")
    return next((what for what in found if path.as_posix().endswith(f"/{what}")), found[0] if found else None)


def _roots(run: Run) -> list[Path]:
    """Where the run lies, and where it lay when its stages ran (it may have been moved since)."""
    roots = {run.directory.resolve()}
    for entry in run.stages:
        for one in entry.manifest.inputs.values():
            path = Path(one["path"]).as_posix()
            what = _made_by(run, Path(path), one["digest"])
            if what is not None and path.endswith(f"/{what}"):
                roots.add(Path(path.removesuffix(f"/{what}")))
    return sorted(roots)


def _input(run: Run, roots: list[Path], name: str, recorded: Mapping[str, str]) -> Input:
    path, content = Path(recorded["path"]), recorded["digest"]
    if (what := _made_by(run, path, content)) is not None:
        return Input(name, what, content, inside=True)
    inner = next((path.relative_to(root) for root in roots if path.is_relative_to(root)), None)
    if inner is None:
        return Input(name, _outside(path), content)
    owner = next((entry.name for entry in run.stages if inner.is_relative_to(entry.name)), None)
    # Of a folder deep inside a stage's directory, and of a definition, the digest does not tell.
    tells = name not in _FOLDERS and path.suffix not in _DEFINITIONS
    stale = tells and owner is not None and len(inner.parts) <= len(Path(owner).parts) + 1
    return Input(name, inner.as_posix(), content, inside=owner is not None, stale=stale)


def _outside(path: Path) -> str:
    """A path as it was given; of what ships with the program, only the part that is the same on every machine."""
    shipped = path.parts[-3:-1] in (("configs", "label_spaces"), ("configs", "datasets"))
    return "/".join(path.parts[-3:]) if shipped else str(path)


def given(run: Run) -> dict[str, str]:
    """What the run was given from outside, by content: manifests and definitions; of data sets their statistics."""
    found: dict[str, str] = {}
    for step in trail(run):
        own = [one for one in step.inputs if not one.inside and one.name not in _FOLDERS]
        found |= {f"{step.entry.name} {one.name}": one.digest for one in own}
        if step.entry.manifest.stage == "prepare":
            metrics = step.entry.manifest.metrics
            found[step.entry.name] = digest([metrics.get(key) for key in ("images", "usable", "labelled", "classes")])
    return found


def flat(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Settings by dotted key, sorted."""
    return _flat("", settings)


def _flat(prefix: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, Mapping) and (value or not prefix):
        pairs = [(f"{prefix}.{key}" if prefix else str(key), value[key]) for key in sorted(value)]
        return [pair for key, inner in pairs for pair in _flat(key, inner)]
    return [(prefix, str(value))]


def _numbers(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Results that are one number each; tables have their own places in the report."""
    plain = {key: value for key, value in metrics.items() if isinstance(value, int | float)}
    return [(key, "-" if number(value) is None else f"{value:.6g}") for key, value in plain.items()]


def machine(entry: StageEntry) -> str:
    """System, processor, GPU, processes, Python, versions and code that a stage recorded."""
    recorded = entry.manifest.recorded
    versions: Mapping[str, Any] = recorded.get("versions") or {}
    parts = [recorded.get("system"), recorded.get("processor"), recorded.get("gpu")]
    if recorded.get("processes", 1) > 1:
        parts.append(f"{recorded['processes']} processes")
    parts.append(f"Python {recorded['python']}" if "python" in recorded else None)
    parts += [f"{name} {version}" for name, version in versions.items() if version]
    parts.append(_code(recorded.get("code") or {}))
    return ", ".join(str(part) for part in parts if part) or "not recorded"


def _code(code: Mapping[str, Any]) -> str | None:
    """Which code ran: its commit, or the digest of its files where no commit tells."""
    if "commit" in code:
        return f"commit {code['commit'][:SHORT]}{' with changes' if code.get('modified') else ''}"
    return f"code {code['sha256'][:SHORT]}" if "sha256" in code else None


def machines(steps: list[Step]) -> dict[str, list[str]]:
    """Names of the steps by the machine that they ran on."""
    found: dict[str, list[str]] = {}
    for step in steps:
        found.setdefault(step.machine, []).append(step.entry.name)
    return found
