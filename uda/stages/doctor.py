"""`uda doctor`: what this machine offers and which versions are installed."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path

from uda.core.console import size
from uda.core.provenance import version
from uda.core.resources import folder
from uda.core.training import RuntimeConfig
from uda.engine.runtime import make_runtime

_PACKAGES = (
    "uda",
    "torch",
    "torchvision",
    "segmentation-models-pytorch",
    "timm",
    "kornia",
    "accelerate",
    "pandas",
    "numpy",
    "opencv-python-headless",
    "pydantic",
)


def diagnose() -> list[str]:
    """Lines `name: fact`."""
    import torch

    runtime = make_runtime(RuntimeConfig())
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    lines = [
        f"system: {platform.system()} {platform.machine()}, Python {platform.python_version()}",
        f"processors: {os.cpu_count()}, {torch.get_num_threads()} used by torch",
        f"memory: {_memory()}",
        f"free disk here: {size(shutil.disk_usage(Path.cwd()).free)}",
        f"GPUs: {', '.join(gpus) or 'none'}",
        f"device in use: {runtime.device}, precision {runtime.precision}",
        f"shipped files: {folder('configs').parent}",
    ]
    return lines + [f"{name}: {version(name) or 'not installed'}" for name in _PACKAGES]


def _memory() -> str:
    try:
        return size(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (ValueError, OSError):
        return "unknown"
