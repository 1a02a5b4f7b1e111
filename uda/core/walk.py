"""All files below a folder, whatever links lie in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path


def walk(start: Path, onerror: Callable[[OSError], object] | None = None) -> Iterator[Path]:
    """All files below `start`; links are followed, but not into a folder that one already stands in.

    Args:
        start: the folder.
        onerror: told of folders that cannot be read; None: they are passed over.
    """
    above: dict[str, frozenset[tuple[int, int]]] = {}
    for current, folders, files in os.walk(start, onerror=onerror, followlinks=True):
        status, outer = Path(current).stat(), above.pop(current, frozenset())
        if (here := (status.st_dev, status.st_ino)) in outer:
            folders.clear()
            continue
        above |= {os.path.join(current, name): outer | {here} for name in folders}  # noqa: PTH118  # as os.walk has it
        yield from (Path(current, name) for name in files)
