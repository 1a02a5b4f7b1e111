"""Windows, doors, ledges and stains on facades; pickets of fences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from uda.data.minicity.look import Windows
from uda.data.minicity.textures import Float, cell_hash, sample_noise


@dataclass(frozen=True)
class FacadePixels:
    """Pixels (P,) that show facades.

    Attributes:
        u, v: metres along and up the facade.
        pattern_P4: bay width, storey height, window width and height as parts of the bay.
        tint: the house's place in the palettes.
        shop: whether the pixel belongs to a shop front.
        footprint: metres that a pixel spans.
    """

    u: Float
    v: Float
    pattern_P4: Float
    tint: Float
    shop: NDArray[np.bool_]
    footprint: Float


def paint_facades(pixels: FacadePixels, colours_P3: Float, windows: Windows) -> Float:
    """Colours (P, 3) of facade pixels with their openings and stains, from the plain wall's colours."""
    bay, storey, wide, high = pixels.pattern_P4.T
    column, row = np.floor(pixels.u / bay), np.floor(pixels.v / storey)
    across, up = pixels.u / bay - column - 0.5, pixels.v / storey - row
    chance = cell_hash(column, row, pixels.tint)
    reach_x, reach_y = wide / 2 - np.abs(across), high / 2 - np.abs(up - np.where(pixels.shop, 0.42, 0.54))
    pane = (reach_x > 0) & (reach_y > 0)
    frame_x, frame_y = 0.12 / bay, 0.12 / storey
    framed = (reach_x > -frame_x) & (reach_y > -frame_y) & (wide > 0)
    cross = (np.abs(across) < 0.05 / bay) & pane & (pixels.footprint < 0.12)
    door = (row == 0) & (wide > 0) & (chance < 0.3) & (np.abs(across) < 0.6 / bay) & (up < 2.3 / storey)
    ledge = (up < 0.25 / storey) & (row > 0) & (wide > 0)
    stain = sample_noise(pixels.u * 9, pixels.v * 2 + 64 * pixels.tint, coarse=True)
    result = colours_P3 * (1 + windows.stain * stain)[:, None]
    fringe = (framed & ~pane) | ledge | cross
    result[fringe] *= windows.frame
    glass = np.array(windows.glass, np.float32)[(chance * len(windows.glass)).astype(np.intp)]
    sheen = (0.8 + 0.4 * up)[:, None]
    opened = pane & ~cross
    result[opened] += windows.contrast * (glass * sheen - result)[opened]
    doors = np.array(windows.door, np.float32)[(chance * 3.3 * len(windows.door)).astype(np.intp) % len(windows.door)]
    result[door] += 0.9 * (doors - result)[door]
    return result


def pickets(u: Float, v: Float, footprint: Float) -> Float:
    """Brightness factor of fence pixels: bars every 0.3 m between two rails; blurred where finer than a pixel."""
    part = u / 0.3 - np.floor(u / 0.3)
    bar = (part < 0.5) | ((v > 0.7) & (v < 0.85)) | (v < 0.15)
    sharp = np.clip(0.3 / (2.5 * footprint), 0, 1)
    factor: Float = (1 + sharp * np.where(bar, 0.2, -0.45)).astype(np.float32)
    return factor
