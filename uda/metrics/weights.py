"""Find the weights of networks that measure images: a file given by hand, or PyTorch's download cache."""

from __future__ import annotations

from pathlib import Path

import torch

from uda.core.errors import DataError, UdaError


class NotMeasurableError(UdaError):
    """A measure that cannot be taken here, for want of weights, of a library or of fitting images (exit code 3)."""

    exit_code = 3


def find_weights(given: Path | None, url: str, *, setting: str, download: bool) -> Path:
    """The file that holds the weights.

    Args:
        given: a file named in the settings; None: the file of the URL's name in the download cache.
        url: where they are published. Its file name ends in the first digits of its SHA-256, which are checked.
        setting: what names a file in the settings.
        download: fetch them into the cache where they are not there.

    Raises:
        DataError: the given file is not there, or what was to be fetched cannot be.
        NotMeasurableError: none is given, and the cache has none.
    """
    if given is not None:
        if not given.is_file():
            raise DataError("no such weights file", given, f"mend {setting}")
        return given
    name = url.rsplit("/", 1)[-1]
    cached = Path(torch.hub.get_dir(), "checkpoints", name)
    if cached.is_file():
        return cached
    if not download:
        mend = f"set {setting}=FILE, or download=true, or put it there and give --force"
        raise NotMeasurableError(f"no weights, {name} is not in the download cache", None, mend)
    cached.parent.mkdir(parents=True, exist_ok=True)
    try:
        prefix = name.rsplit(".", 1)[0].rsplit("-", 1)[-1]
        torch.hub.download_url_to_file(url, str(cached), hash_prefix=prefix, progress=False)
    except (OSError, RuntimeError) as error:  # no network (URLError is an OSError), or another SHA-256
        reason = " ".join(str(error).split())
        mend = f"fetch it elsewhere and set {setting}=FILE"
        raise DataError(f"cannot be fetched ({reason})", url, mend) from error
    return cached
