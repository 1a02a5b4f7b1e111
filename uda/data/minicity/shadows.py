"""Shadows on the ground: cast by the sun, and contact shadows under vehicles."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from uda.data.minicity.geometry import Camera, Point, project_polygons
from uda.data.minicity.look import Light
from uda.data.minicity.scene import Caster
from uda.data.minicity.textures import Float

REACH = 90.0
"""Casters beyond this distance in metres throw no shadow that could be seen."""


def sun_direction(azimuth: float, elevation: float) -> tuple[float, float, float]:
    """Unit vector towards the sun."""
    flat = math.cos(elevation)
    return (flat * math.sin(azimuth), math.sin(elevation), flat * math.cos(azimuth))


def _cast_shape(caster: Caster, sun: tuple[float, float, float]) -> list[Point]:
    """Outline on the ground of the shadow of a block (a rounded one where it hangs above the ground)."""
    e = caster.extent
    base = np.array([(e.x0, e.z0), (e.x1, e.z0), (e.x1, e.z1), (e.x0, e.z1)], np.float32)
    if caster.low > 0:
        middle, radius = base.mean(0), max((e.x1 - e.x0) / 2, 0.5)
        angles = np.arange(8, dtype=np.float32) * (math.pi / 4)
        base = (middle + radius * np.stack([np.cos(angles), np.sin(angles)], 1)).astype(np.float32)
    step = np.array([-sun[0], -sun[2]], np.float32) / max(sun[1], 0.2)
    hull = cv2.convexHull(np.concatenate([base + caster.low * step, base + caster.high * step]))[:, 0]
    return [(float(x), 0.0, float(z)) for x, z in hull]


def _contact_shapes(casters: Sequence[Caster]) -> list[list[Point]]:
    """Outlines on the ground of the dark below blocks as low and as wide as a vehicle."""
    low = [caster.extent for caster in casters if caster.low == 0 and 0.9 < caster.high < 4]
    corners = [(e.x0 - 0.15, e.x1 + 0.15, e.z0 - 0.3, e.z1 + 0.3) for e in low if e.x1 - e.x0 > 1]
    return [[(x0, 0, z0), (x1, 0, z0), (x1, 0, z1), (x0, 0, z1)] for x0, x1, z0, z1 in corners]


def shadow_mask(
    casters: Sequence[Caster],
    camera: Camera,
    light: Light,
    sun: tuple[float, float, float],
    size: tuple[int, int],
    cast: float,
) -> Float:
    """Darkness (H, W) in [0, 1] by which shadows dim the ground."""
    height, width = size
    near = [caster for caster in casters if -20 < caster.extent.z0 < REACH]
    mask = np.zeros(size, np.uint8)
    if cast > 0:
        shapes = [_cast_shape(caster, sun) for caster in near]
        for pixels in project_polygons(shapes, camera, height, width):
            if pixels is not None:
                cv2.fillConvexPoly(mask, pixels, round(255 * cast))
    for pixels in project_polygons(_contact_shapes(near), camera, height, width):
        if pixels is not None:
            cv2.fillConvexPoly(mask, pixels, round(255 * light.contact))
    sigma = light.soft * width
    if sigma > 0.3:
        mask = cv2.GaussianBlur(mask, (0, 0), sigma)
    return mask.astype(np.float32) / np.float32(255)
