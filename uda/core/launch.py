"""The processes of a launch (`torchrun`, `accelerate launch`), as its environment variables tell."""

from __future__ import annotations

import os

from uda.core.errors import ConfigError


def processes() -> int:
    """How many processes work together; 1 without a launcher.

    Raises:
        ConfigError: the variable holds no such number.
    """
    text = os.environ.get("WORLD_SIZE", "1")
    if not text.isdecimal() or int(text) < 1:
        mend = "unset it, or start by torchrun or accelerate launch, which set it"
        raise ConfigError(f"'{text}' is no number of processes", "environment variable WORLD_SIZE", mend)
    return int(text)


def is_first_process() -> bool:
    """Whether this process is the one that writes and speaks."""
    return os.environ.get("RANK", "0") == "0"
