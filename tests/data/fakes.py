"""Tiny fake data sets, made by code in the true layouts and file formats; and where the real ones lie, if any."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

SIZE = (12, 20)
GTA5_VALUES = (0, 1, 4, 5, 7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 26, 27, 34)
CITYSCAPES_VALUES = tuple(range(34))


def picture(size: tuple[int, int], seed: int) -> NDArray[np.uint8]:
    """A smooth random RGB image."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((size[1], size[0]), Image.Resampling.BICUBIC))


def blocks(size: tuple[int, int], values: Sequence[int], seed: int) -> NDArray[np.uint8]:
    """A label map of 4-pixel blocks of randomly chosen values."""
    coarse = np.random.default_rng(seed).choice(np.asarray(values, np.uint8), (size[0] // 4 + 1, size[1] // 4 + 1))
    return np.kron(coarse, np.ones((4, 4), np.uint8))[: size[0], : size[1]]


def save(path: Path, pixels: NDArray[np.uint8]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def save_palette(path: Path, indices: NDArray[np.uint8]) -> Path:
    """A palette PNG whose colours do not give its indices away (several indices share black, as in GTA5)."""
    image = Image.fromarray(indices, mode="L").copy()
    image.putpalette([0, 0, 0] * 4 + [channel for i in range(252) for channel in (i, 255 - i, 128)])
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


def save_synthia_label(path: Path, ids: NDArray[np.uint8], seed: int = 0) -> Path:
    """A 16-bit PNG of three channels: class in red, instance in green, noise in blue."""
    instances = np.random.default_rng(seed).integers(0, 60000, ids.shape)
    bgr = np.stack([instances[::-1], instances, ids], axis=-1).astype(np.uint16)
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), bgr)
    return path


def gta5(root: Path, count: int = 3, size: tuple[int, int] = SIZE) -> Path:
    for i in range(1, count + 1):
        save(root / f"images/{i:05d}.png", picture(size, i))
        save_palette(root / f"labels/{i:05d}.png", blocks(size, GTA5_VALUES, i))
    return root


def synthia(root: Path, count: int = 2, size: tuple[int, int] = SIZE) -> Path:
    for i in range(count):
        save(root / f"RGB/{i:07d}.png", picture(size, i))
        save_synthia_label(root / f"GT/LABELS/{i:07d}.png", blocks(size, range(23), i), seed=i)
    return root


def cityscapes(root: Path, count: int = 2, splits: Sequence[str] = ("train", "val"), *, labels: bool = True) -> Path:
    for split in splits:
        for i in range(count):
            id_ = f"{split}/aachen/aachen_{i:06d}_000019"
            save(root / f"leftImg8bit/{id_}_leftImg8bit.png", picture(SIZE, i))
            if labels:
                ids = blocks(SIZE, CITYSCAPES_VALUES, i)
                save(root / f"gtFine/{id_}_gtFine_labelIds.png", ids)
                save(root / f"gtFine/{id_}_gtFine_color.png", picture(SIZE, i))
    return root


def camvid(root: Path, count: int = 2, splits: Sequence[str] = ("train", "val"), ending: str = ".png") -> Path:
    for split in splits:
        for i in range(count):
            name = f"{('0001TP', '0016E5')[i % 2]}_{i * 30:06d}"
            save(root / split / f"{name}{ending}", picture(SIZE, i))
            save(root / f"{split}annot/{name}.png", blocks(SIZE, range(12), i))
    return root


def idd_lite(root: Path, count: int = 2, splits: Sequence[str] = ("train", "val")) -> Path:
    for split in splits:
        for i in range(count):
            save(root / f"leftImg8bit/{split}/{i}/{i:06d}_image.jpg", picture(SIZE, i))
            save(root / f"gtFine/{split}/{i}/{i:06d}_label.png", blocks(SIZE, (*range(7), 255), i))
    return root


def coco_stuff(root: Path, count: int = 2, splits: Sequence[str] = ("train2017", "val2017")) -> Path:
    for split in splits:
        for i in range(count):
            save(root / f"{split}/{9 * i + 9:012d}.jpg", picture(SIZE, i))
            ids = blocks(SIZE, (0, 18, 23, 90, 91, 123, 156, 181, 255), i)
            save(root / f"stuffthingmaps/{split}/{9 * i + 9:012d}.png", ids)
    return root


SHARED_DATA = Path(os.environ.get("UDA_SHARED_DATA", Path(__file__).resolve().parents[2].parent / "shared" / "data"))
"""Where real data sets are looked for: in that folder, or beside the project."""


def shared_data(name: str) -> Path:
    """A real data set's folder; the test is skipped where there is none."""
    folder = SHARED_DATA / name
    if not folder.is_dir():
        pytest.skip(f"no real {name}: set UDA_SHARED_DATA to a folder that holds it")
    return folder
