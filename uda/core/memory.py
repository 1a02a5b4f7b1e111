"""Peak memory of this process, from one moment on where the system can say that."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def restart_peak() -> None:
    """Count the peak anew from here on (Linux); elsewhere it stays that of the whole process."""
    try:
        _RESET.write_text("5")
    except OSError:
        return


def peak_megabytes() -> int:
    """Most resident memory since the process, or its peak, was started, in MiB."""
    try:
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) // 1024
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (1024 * 1024 if sys.platform == "darwin" else 1024)
