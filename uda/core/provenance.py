"""What ran: which code, on which machine, as what. Recorded in manifests, part of no digest. No torch."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import uda
from uda.core import launch, memory
from uda.core.config import digest, file_digest

_PACKAGES = ("uda", "torch", "segmentation-models-pytorch", "timm", "kornia")
_CPUS = Path("/proc/cpuinfo")
_facts: dict[str, Any] = {}


def begin() -> None:
    """Start the record of a stage: forget what was noted, count peak memory anew."""
    _facts.clear()
    memory.restart_peak()


def note(**facts: Any) -> None:
    """Add facts that are known only while the stage runs, such as its device; a function is asked when it is over."""
    _facts.update(facts)


def recorded(seconds: float, earlier: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Versions, code, machine and what was noted.

    Args:
        seconds: since the stage was started, or gone on with.
        earlier: its runs before that were interrupted, with the seconds of each.
    """
    return {
        "seconds": round(seconds + sum(one["seconds"] for one in earlier), 1),
        **({"interrupted": list(earlier)} if earlier else {}),
        "peak_memory_mb": memory.peak_megabytes(),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "processes": launch.processes(),
        **{name: fact() if callable(fact) else fact for name, fact in _facts.items()},
        "versions": {name: version(name) for name in _PACKAGES},
        "code": dict(code()),
    }


def processor() -> str:
    """The processor's name."""
    try:
        lines = _CPUS.read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


@cache
def code() -> Mapping[str, Any]:
    """Which code this process runs, as it was when first asked.

    Returns:
        `commit` and `modified` if the package lies in a git work tree that tracks it, else `sha256` of its .py files.
    """
    package = Path(uda.__file__).parent
    return git_state(package) or {"sha256": sources_digest(package)}


def git_state(package: Path) -> dict[str, Any] | None:
    """The commit a package was checked out from, and whether its files differ from it; None where git cannot say."""
    # A virtual environment may lie in somebody else's work tree, which does not track the package.
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    commit, changes = _git(package, "rev-parse", "HEAD"), _git(package, "status", "--porcelain", "--", ".")
    if commit is None or changes is None:
        return None
    return {"commit": commit, "modified": bool(changes)} | ({"sha256": sources_digest(package)} if changes else {})


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    # Inside a hook, git's own variables name another work tree.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, env=environment)  # noqa: S603  # ours
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def sources_digest(package: Path) -> str:
    """Digest of a package's .py files, by their names and bytes."""
    return digest(sorted((file.relative_to(package).as_posix(), file_digest(file)) for file in package.rglob("*.py")))


def version(package: str) -> str | None:
    """The installed version of a package; None where it runs without having been installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
