"""What stages share about files."""

from __future__ import annotations

from pathlib import Path

from tests.core.test_manifest import manifest
from uda.core.manifest import MANIFEST
from uda.stages._files import trained_size


def test_the_size_that_a_segmenter_was_trained_at_is_in_its_own_manifest(tmp_path: Path) -> None:
    assert trained_size(tmp_path) is None
    (tmp_path / MANIFEST).write_text('{"name": "an app", "icons": []}')  # somebody's own file of that name
    assert trained_size(tmp_path) is None
    manifest(config={"size": [64, 128]}).write(tmp_path / MANIFEST)
    assert trained_size(tmp_path) == (64, 128)
    manifest(config={"size": [64, 128], "target_size": [32, 96]}).write(tmp_path / MANIFEST)
    assert trained_size(tmp_path) == (32, 96)
