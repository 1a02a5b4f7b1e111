"""Fixtures that tests of stages share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def canvas(tmp_path: Path) -> Path:
    file = tmp_path / "canvas.csv"
    file.write_text("image\n")
    return file
