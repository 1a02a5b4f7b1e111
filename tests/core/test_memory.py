from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from uda.core import memory


def test_the_peak_counts_what_was_held() -> None:
    held = np.ones(2**25)  # 256 MiB
    assert memory.peak_megabytes() >= held.nbytes // 2**20


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="this system does not forget a peak")
def test_the_peak_can_be_counted_anew() -> None:
    held = np.ones(2**25)  # 256 MiB
    high = memory.peak_megabytes()
    del held
    memory.restart_peak()
    assert memory.peak_megabytes() < high - 128


def test_without_proc_the_system_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "none")
    monkeypatch.setattr(memory, "_RESET", tmp_path / "none" / "there")
    memory.restart_peak()
    assert memory.peak_megabytes() > 0
