from __future__ import annotations

from pathlib import Path

import pytest
import torch

from uda.core.errors import DataError
from uda.metrics.weights import NotMeasurableError, find_weights

URL = "https://example.org/files/network-0123abcd.pth"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints" / "network-0123abcd.pth"


def test_weights_come_from_the_given_file_or_the_cache(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(
        NotMeasurableError, match=r"network-0123abcd.pth is not in the download cache; set w=FILE, or d"
    ):
        find_weights(None, URL, setting="w", download=False)
    cache.parent.mkdir(parents=True)
    cache.write_bytes(b"cached")
    assert find_weights(None, URL, setting="w", download=False) == cache
    with pytest.raises(DataError, match="no such weights file; mend w") as told:
        find_weights(tmp_path / "none.pth", URL, setting="w", download=True)
    assert not isinstance(told.value, NotMeasurableError)
    own = tmp_path / "own.pth"
    own.write_bytes(b"own")
    assert find_weights(own, URL, setting="w", download=False) == own


def test_downloads_are_checked_and_their_failures_said(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fetch(url: str, file: str, *, hash_prefix: str, progress: bool) -> None:
        asked.append((url, hash_prefix))
        if len(asked) == 1:
            raise OSError("no route to host")
        Path(file).write_bytes(b"fetched")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    with pytest.raises(DataError, match=r"cannot be fetched \(no route to host\); fetch it elsewhere and set w"):
        find_weights(None, URL, setting="w", download=True)
    assert find_weights(None, URL, setting="w", download=True).read_bytes() == b"fetched"
    assert asked == [(URL, "0123abcd")] * 2
