"""Noise and regular patterns, evaluated per pixel at metres on the face that the pixel shows."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]

SIDE = 256
"""Side of a noise tile in texels; tiles repeat without a seam."""

_OCTAVES = ((4, 1.0), (8, 0.9), (16, 0.75), (32, 0.6), (64, 0.5), (128, 0.4))
"""Cells per side and weights of the layers of multi-scale noise."""


@lru_cache(maxsize=4)
def noise_tile(coarse: bool) -> Float:
    """A seamless tile (256, 256) of zero mean and unit deviation: multi-scale (1/f) noise or fine grain."""
    rng = np.random.default_rng(20_190 + coarse)
    tile = np.zeros((SIDE, SIDE), np.float32)
    for octave, weight in _OCTAVES if coarse else ((SIDE, 1.0),):
        small = rng.standard_normal((octave, octave)).astype(np.float32)
        scale = SIDE / octave
        wide = cv2.resize(np.pad(small, 2, mode="wrap"), None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        margin = 2 * SIDE // octave
        tile += weight * wide[margin : margin + SIDE, margin : margin + SIDE]
    tile -= tile.mean()
    tile /= tile.std()
    return tile


def sample_noise(u: Float, v: Float, coarse: bool) -> Float:
    """Noise at texel coordinates of any shape, repeated beyond the tile's side."""
    tile = noise_tile(coarse).ravel()
    index = (np.floor(v).astype(np.int32) & (SIDE - 1)) * SIDE + (np.floor(u).astype(np.int32) & (SIDE - 1))
    return tile[index]


def joints(u: Float, v: Float, tile: Float, footprint: Float) -> Float:
    """How much of a pixel is joint between tiles, 0 to 1; joints that are finer than a pixel fade to their mean."""
    width = np.maximum(0.07, 0.5 * footprint / tile)
    line = (_to_edge(u / tile) < width / 2) | (_to_edge(v / tile) < width / 2)
    fade: Float = np.clip(tile / (3 * footprint), 0, 1)
    darkness: Float = line * fade
    return darkness


def _to_edge(position: Float) -> Float:
    """Distance to the next whole number, 0 to 0.5."""
    part = position - np.floor(position)
    return np.minimum(part, 1 - part)


def cell_hash(column: Float, row: Float, seed: Float) -> Float:
    """A number in [0, 1) for each cell of a grid, the same on all machines."""
    x, y, salt = column.astype(np.int64), row.astype(np.int64), (seed * 4096).astype(np.int64)
    mixed = x * 73_856_093 ^ y * 19_349_663 ^ salt * 83_492_791
    mixed = (mixed ^ (mixed >> 13)) * 1_274_126_177 & 0x7FFFFFFF
    return ((mixed >> 7) & 1023).astype(np.float32) / np.float32(1024)
