"""What interrupted runs have done of their steps, which go on with it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from uda.core.errors import UdaError
from uda.core.rundir import CHECKPOINT, RunDirectory
from uda.pipeline import Planned
from uda.stages.base import decide

_RENDERED_FOLDERS = ("images", "target_images", "recreated_images")
"""Folders of a translation that hold rendered images."""


@dataclass(frozen=True)
class Done:
    """What an interrupted run has done: images that it has fitted on, and rendered, and the bytes of these."""

    fitted: int = 0
    rendered: int = 0
    bytes: int = 0


def find_done(one: Planned, waiting: Collection[str], *, force: bool) -> Done:
    """What a step need not do again.

    Args:
        one: the step.
        waiting: names of the steps that will run: what takes something from them begins anew.
        force: steps are run by force, which goes on only with what force began.
    """
    if any(source.step in waiting for source in one.inputs.values()):
        return Done()
    paths = {name: source.path for name, source in one.inputs.items()}
    try:
        decision = decide(one.stage, one.config, paths, one.out, force=force)
    except UdaError:
        return Done()  # told by the stage itself
    folder = RunDirectory(one.out).interrupted(decision.fingerprint, forced=force)
    if decision.action != "resume" or folder is None:
        return Done()
    rendered = [file for name in _RENDERED_FOLDERS for file in (folder / name).glob("*.png")]
    return Done(_fitted(folder), len(rendered), sum(file.stat().st_size for file in rendered))


def _fitted(folder: Path) -> int:
    """Images that the fit in a partial directory has seen, by its log; 0 where it left nothing to go on from."""
    from uda.stages.translate import _FITTED

    log = folder / "log.jsonl"
    if not log.is_file() or not any((folder / name).is_file() for name in (CHECKPOINT, _FITTED)):
        return 0
    for line in reversed(log.read_text(errors="replace").splitlines()):
        with contextlib.suppress(ValueError, KeyError, TypeError):  # a torn line
            return int(json.loads(line)["images"])
    return 0
