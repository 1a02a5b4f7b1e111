"""The 19 classes by train id, their ids on disk in each data set, and the palette of label images."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

IGNORE = 255
"""Train id of pixels that belong to no class."""

EGO_INSTANCE = 65535
"""Instance number of the vehicle that carries the camera."""


class Cls(IntEnum):
    """The 19 Cityscapes classes by train id; NONE stands for everything else."""

    ROAD = 0
    SIDEWALK = 1
    BUILDING = 2
    WALL = 3
    FENCE = 4
    POLE = 5
    LIGHT = 6
    SIGN = 7
    VEGETATION = 8
    TERRAIN = 9
    SKY = 10
    PERSON = 11
    RIDER = 12
    CAR = 13
    TRUCK = 14
    BUS = 15
    TRAIN = 16
    MOTORCYCLE = 17
    BICYCLE = 18
    NONE = IGNORE


CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""Label ids of Cityscapes and GTA5 by train id."""

SYNTHIA_IDS = (3, 4, 2, 21, 5, 7, 15, 9, 6, 16, 1, 10, 17, 8, 18, 19, 20, 12, 11)
"""Class ids of SYNTHIA-RAND-CITYSCAPES by train id; its void is 0."""

EGO_ID, STATIC_ID = 1, 4
"""Label ids of Cityscapes and GTA5 for the ego vehicle and for unlabelled static things."""

_COLOURS = (
    (128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153), (250, 170, 30),
    (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60), (255, 0, 0), (0, 0, 142),
    (0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32),
)  # fmt: skip


def lookup_table(ids: tuple[int, ...], void: int) -> NDArray[np.uint8]:
    """Table (256,) from train id to the id on disk; what is no class becomes `void`."""
    table_256 = np.full(256, void, np.uint8)
    table_256[: len(ids)] = ids
    return table_256


def label_palette() -> NDArray[np.uint8]:
    """Palette (256, 3) RGB by Cityscapes label id; ids that are no class are black."""
    palette_P3 = np.zeros((256, 3), np.uint8)
    palette_P3[list(CITYSCAPES_IDS)] = _COLOURS
    palette_P3[STATIC_ID] = (20, 20, 20)
    return palette_P3


def train_id_colours() -> NDArray[np.uint8]:
    """Colours (256, 3) RGB by train id; 255 is black."""
    colours_P3 = np.zeros((256, 3), np.uint8)
    colours_P3[: len(_COLOURS)] = _COLOURS
    return colours_P3
