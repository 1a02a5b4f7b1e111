"""A stage's working place: everything goes to `OUT.partial/`, which becomes `OUT/` when the manifest is written.

What was complete before stays until the new run is complete too, so a failed run loses nothing. Work of an interrupted
run that other settings come between is set aside as `OUT.partial.FINGERPRINT`, taken back when its own settings come
again, and removed when the stage is complete. One command at a time works in it.
"""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from uda.core.config import file_digest
from uda.core.console import size
from uda.core.errors import ConfigError
from uda.core.manifest import (
    MANIFEST,
    RECEIPTS,
    Manifest,
    Receipt,
    receipts_digest,
    write_atomically,
    write_receipts,
)

_STARTED = "started.json"
_JOURNAL = "receipts.csv"
_SETTINGS = "config.yaml"
_HEADER = "path,size,sha256\n"
_LINE = re.compile(r'^"((?:[^"]|"")*)",(\d+),([0-9a-f]{64})\n', re.MULTILINE)
"""A whole line of the journal: one that a full disk or a killed process tore off lacks the end of these."""
CHECKPOINT = "checkpoint.pt"


class RunDirectory:
    """The directory that a running stage writes to.

    Args:
        out: the final directory; work happens in `OUT.partial` beside it.
        say: told what is set aside, taken back and removed.
    """

    def __init__(self, out: Path, say: Callable[[str], None] = lambda text: None) -> None:
        # A link stays, and what it leads to is written: a large disk, say.
        self.out, self._say = (out.resolve() if out.is_symlink() or not out.name else out), say
        self.partial = self.out.with_name(self.out.name + ".partial")
        self._receipts: dict[str, Receipt] = {}
        self._scratch = {CHECKPOINT}
        self._lock: int | None = None
        self.earlier: list[dict[str, Any]] = []
        """The interrupted runs that this one goes on with, each with its `seconds`; known once it has begun."""

    def started_for(self) -> str | None:
        """The fingerprint that the partial directory was started for, None where there is none."""
        return _started_for(self.partial)

    def interrupted(self, fingerprint: str, *, forced: bool = False) -> Path | None:
        """Where an interrupted run of this fingerprint lies, set aside or not; None where there is none.

        Args:
            fingerprint: that is gone on with.
            forced: only a run that was itself started by force counts.
        """
        for folder in (self.partial, *self._set_aside()):
            if _started_for(folder) == fingerprint and (not forced or _started(folder).get("forced")):
                return folder
        return None

    def begin(
        self,
        fingerprint: str,
        config: dict[str, Any],
        *,
        fresh: bool = False,
        forced: bool = False,
        told: Mapping[str, Any] | None = None,
    ) -> bool:
        """Open the partial directory; True when it goes on with work of the same fingerprint.

        Args:
            fingerprint: work started for another one is set aside.
            config: all settings, for people to read.
            fresh: set aside any work.
            forced: go on with work that was itself started by force, no other; what is begun now is marked as such.
            told: what `earlier` shall say of this run if it is interrupted and gone on with.

        Raises:
            ConfigError: another command is at work in the partial directory, or the final one cannot be replaced.
        """
        self._check_place()
        if self.partial.is_dir():
            self._claim()  # before it is moved: it may be somebody's who is still writing
        found = None if fresh else self.interrupted(fingerprint, forced=forced)
        if found != self.partial:
            self._put_aside()
            self.close()
            if found is not None:
                found.rename(self.partial)
                self._say(f"{found} is taken back as {self.partial.name}: going on with it")
        before = _started(self.partial) if found is not None else {}
        self.earlier = _earlier(before, self.partial)
        started = {
            "fingerprint": fingerprint,
            "forced": forced or bool(before.get("forced")),
            "since": time.time(),
            "told": dict(told or {}),
            "earlier": self.earlier,
        }
        self.partial.mkdir(parents=True, exist_ok=True)
        self._claim()
        (self.partial / MANIFEST).unlink(missing_ok=True)  # of a run that could not move it into place
        write_atomically(self.partial / _STARTED, json.dumps(started).encode())
        (self.partial / _SETTINGS).write_text(yaml.safe_dump(config, sort_keys=False))
        self._mend_journal()  # here, by one process, before several append to it
        self.reread()
        return found is not None

    def reread(self) -> None:
        """Take over the receipts in the partial directory (of an interrupted run, or of the first process)."""
        if (self.partial / _JOURNAL).is_file():
            found = _LINE.finditer(_read(self.partial / _JOURNAL))
            receipts = (Receipt(one[1].replace('""', '"'), int(one[2]), one[3]) for one in found)
            self._receipts = {one.path: one for one in receipts}

    def path(self, name: str) -> Path:
        """Where the output `name` is to be written; its folder is made."""
        file = self.partial / name
        file.parent.mkdir(parents=True, exist_ok=True)
        return file

    def scratch(self, name: str) -> Path:
        """Where something is kept for a run that goes on with this one: no output, gone once the run is complete."""
        self._scratch.add(name)
        return self.path(name)

    def write(self, name: str, data: bytes) -> Receipt:
        """Write an output and keep its receipt."""
        self.path(name).write_bytes(data)
        return self._keep(Receipt(name, len(data), hashlib.sha256(data).hexdigest()))

    def add(self, name: str) -> Receipt:
        """Keep the receipt of an output that another library wrote to `path(name)`."""
        file = self.partial / name
        return self._keep(Receipt(name, file.stat().st_size, file_digest(file)))

    def has(self, name: str) -> bool:
        """Whether an interrupted run already wrote this output whole."""
        receipt = self._receipts.get(name)
        file = self.partial / name
        return receipt is not None and file.is_file() and file.stat().st_size == receipt.size

    def log(self, **fields: Any) -> None:
        """Append one line to `log.jsonl`."""
        with (self.partial / "log.jsonl").open("a") as file:
            file.write(json.dumps(fields, default=float) + "\n")

    def outputs_digest(self) -> str:
        """Digest of all outputs so far."""
        return receipts_digest(self._receipts.values())

    def complete(self, manifest: Manifest) -> None:
        """Write receipts and manifest, then put the directory in the place of an older one."""
        write_receipts(self.partial / RECEIPTS, self._receipts.values())
        manifest.write(self.partial / MANIFEST)
        old = self._free_place()
        if self.out.exists():
            self.out.rename(old)
        self.partial.rename(self.out)
        for name in (_STARTED, _JOURNAL, *self._scratch):  # not before: a failed run goes on with them
            (self.out / name).unlink(missing_ok=True)
        shutil.rmtree(old, ignore_errors=True)
        for folder in self._set_aside():
            if _started_for(folder) is not None:  # else somebody else's
                shutil.rmtree(folder, ignore_errors=True)
                self._say(f"{folder}: removed, for {self.out.name} is complete")

    def close(self) -> None:
        """Let other commands work there."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _check_place(self) -> None:
        """Refuse a place that a directory cannot be moved to, before the work is done."""
        out = self.out.resolve()
        if os.path.ismount(out):
            raise ConfigError("is where a disk is mounted, which stays", out, f"give a folder on it: {out / 'out'}")
        if Path.cwd().is_relative_to(out):
            raise ConfigError("holds the folder this command runs in, and would be replaced", out, "run it elsewhere")

    def _free_place(self) -> Path:
        """Where the older directory goes meanwhile; what an earlier command left there is removed."""
        names = (f"{self.out.name}.replaced{end}" for end in ("", *(f"-{number}" for number in range(2, 100))))
        for place in map(self.out.with_name, names):
            if (place / RECEIPTS).is_file() and (place / MANIFEST).is_file():
                shutil.rmtree(place, ignore_errors=True)
            if not place.exists() and not place.is_symlink():
                return place
        raise ConfigError("no name is free for what was there", f"{self.out}.replaced", "remove these folders")

    def _claim(self) -> None:
        """Keep other commands out until `close` or the end of the process, however it ends."""
        if self._lock is None:
            self._lock = claim(self.partial)

    def _set_aside(self) -> list[Path]:
        """Partial directories that other settings came between."""
        if not self.partial.parent.is_dir():
            return []
        names = f"{self.partial.name}."
        return sorted(path for path in self.partial.parent.iterdir() if path.name.startswith(names) and path.is_dir())

    def _put_aside(self) -> None:
        """Make room for other settings; what holds nothing but bookkeeping is not worth keeping."""
        if not self.partial.exists():
            return
        fingerprint, there = self.started_for(), _sizes(self.partial)
        if fingerprint is not None and not set(there) - {_STARTED, _JOURNAL, _SETTINGS}:
            shutil.rmtree(self.partial)
            return
        name = f"{self.partial.name}.{(fingerprint or 'old')[:8]}"
        taken = {path.name for path in self._set_aside()}
        names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
        free = next(one for one in names if one not in taken)
        self.partial.rename(self.partial.with_name(free))
        after = f"its own settings go on with it; removed when {self.out.name} is complete"
        after = after if fingerprint else "of unknown origin"
        self._say(f"{self.partial}: set aside as {free} ({size(sum(there.values()))}; {after})")

    def _mend_journal(self) -> None:
        """Leave nothing but whole lines in the journal, so that the next receipt starts a line of its own."""
        journal = self.partial / _JOURNAL
        there = _read(journal) if journal.is_file() else ""
        whole = _HEADER + "".join(one[0] for one in _LINE.finditer(there))
        if whole != there:
            write_atomically(journal, whole.encode())

    def _keep(self, receipt: Receipt) -> Receipt:
        self._receipts[receipt.path] = receipt
        journal = self.partial / _JOURNAL
        new = not journal.exists()
        with journal.open("a") as file:
            path = receipt.path.replace('"', '""')
            file.write((_HEADER if new else "") + f'"{path}",{receipt.size},{receipt.sha256}\n')
        return receipt


def claim(folder: Path) -> int | None:
    """Keep other commands out of a folder until what is returned is closed, or the process ends, however it does.

    Returns:
        An open file; None on a file system without locks.

    Raises:
        ConfigError: another command is in it.
    """
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        mend = "wait for it or stop it, or choose another --out"
        raise ConfigError("another command is writing there", folder, mend) from None
    except OSError:
        os.close(lock)
        return None
    return lock


@contextmanager
def to_itself(folder: Path) -> Iterator[None]:
    """Make a folder, and keep other commands out of it meanwhile; one that was made and stays empty is taken away.

    Raises:
        ConfigError: another command is in it.
    """
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    lock = claim(folder)
    try:
        yield
    finally:
        if lock is not None:
            os.close(lock)
        if made:
            with suppress(OSError):
                folder.rmdir()


def _read(journal: Path) -> str:
    """The journal's text, whatever bytes a torn line ends in, and with the newlines that names may hold."""
    return journal.read_bytes().decode(errors="replace")


def _started(folder: Path) -> dict[str, Any]:
    """What a partial directory says of its run, empty where that is not known."""
    try:
        found = json.loads((folder / _STARTED).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _started_for(folder: Path) -> str | None:
    fingerprint = _started(folder).get("fingerprint")
    return None if fingerprint is None else str(fingerprint)


def _earlier(before: Mapping[str, Any], folder: Path) -> list[dict[str, Any]]:
    """The interrupted runs of a partial directory; the last one went on until it wrote its last file, killed or not."""
    if "since" not in before:
        return []
    last = max(path.stat().st_mtime for path in folder.iterdir())
    return [*before["earlier"], {"seconds": round(max(0.0, last - before["since"]), 1), **before["told"]}]


def _sizes(folder: Path) -> dict[str, int]:
    """Bytes of all files below a folder, by their path in it."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
