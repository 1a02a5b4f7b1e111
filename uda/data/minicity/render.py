"""Draws a layout: one pass of polygons into a map of face numbers, then paint, light and air for each pixel."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from uda.data.minicity.classes import EGO_INSTANCE, Cls
from uda.data.minicity.geometry import Camera, Face, face_normals, inverse_homographies, project_polygons
from uda.data.minicity.layout import Layout
from uda.data.minicity.look import Light, Look
from uda.data.minicity.materials import Material
from uda.data.minicity.sensor import develop
from uda.data.minicity.shade import Surfaces, shade
from uda.data.minicity.shadows import shadow_mask, sun_direction
from uda.data.minicity.textures import Float

_SKY = Face(
    [(-1, 0, 1000), (1, 0, 1000), (0, 1, 1000)],
    Material.SKY,
    Cls.SKY,
    frame=((0, 0, 1000), (1, 0, 0), (0, 1, 0)),
    flat=True,
)
_BONNET = Face([(-1, 0, 2), (1, 0, 2), (0, 1, 2)], Material.BONNET, Cls.NONE, EGO_INSTANCE, flat=True)


@dataclass(frozen=True)
class Rendering:
    """What a camera sees.

    Attributes:
        image_HWC: uint8 RGB.
        labels_HW: uint8 train ids 0 to 18, 255 where there is no class.
        instances_HW: uint16 numbers of countable objects, 0 for stuff, 65535 for the camera's own vehicle.
    """

    image_HWC: NDArray[np.uint8]
    labels_HW: NDArray[np.uint8]
    instances_HW: NDArray[np.uint16]


def render(layout: Layout, look: Look, size: tuple[int, int], rng: np.random.Generator) -> Rendering:
    """Draws the layout in the look; labels depend on the layout and the size alone.

    Args:
        layout: what stands where.
        look: how it is painted and photographed.
        size: height and width in pixels.
        rng: source of all chance of the look (sun, haze, noise).
    """
    height, width = size
    faces = [_SKY, *layout.faces, _BONNET]
    ids_HW = _face_map(faces, layout, 2 * height, 2 * width)
    labels = np.array([face.cls for face in faces], np.uint8)
    instances = np.array([face.instance for face in faces], np.uint16)
    coarse_ids_HW = np.ascontiguousarray(ids_HW[::2, ::2])
    step = 1 if look.sensor.supersample else 2
    light = look.light
    sun = sun_direction(rng.uniform(*light.azimuth), rng.uniform(*light.elevation))
    cast = rng.uniform(*light.cast)
    surfaces = Surfaces(
        faces=faces,
        ids_HW=ids_HW if step == 1 else coarse_ids_HW,
        inverse_N33=inverse_homographies(faces, layout.camera, 2 * height, 2 * width),
        brightness_N=_brightness(faces, layout.camera, light, sun),
        shadow_HW=shadow_mask(layout.casters, layout.camera, light, sun, (2 * height // step, 2 * width // step), cast),
        focal=layout.camera.focal * 2 * width / step,
        step=step,
    )
    image = develop(shade(surfaces, look, rng), look.sensor, rng)
    return Rendering(image, labels[coarse_ids_HW], instances[coarse_ids_HW])


def _face_map(faces: list[Face], layout: Layout, height: int, width: int) -> NDArray[np.int32]:
    """Numbers (H, W) of the faces seen at each pixel: 0 is the sky, the last one the bonnet."""
    ids_HW = np.zeros((height, width), np.int32)
    polygons = project_polygons([face.points for face in layout.faces], layout.camera, height, width)
    for index, pixels in enumerate(polygons, 1):
        if pixels is not None:
            cv2.fillPoly(ids_HW, [pixels], index)
    if layout.ego:
        xs = np.linspace(-0.02, 1.02, 21)
        ys = 1 - 0.085 * (1 - np.abs(2 * xs - 1) ** 2.5)
        curve = np.stack([xs * width, ys * height], 1)
        outline = np.concatenate([curve, [(1.02 * width, 1.1 * height), (-0.02 * width, 1.1 * height)]])
        cv2.fillPoly(ids_HW, [np.rint(outline).astype(np.int32)], len(faces) - 1)
    return ids_HW


def _brightness(faces: list[Face], camera: Camera, light: Light, sun: tuple[float, float, float]) -> Float:
    """Light (N,) on each face."""
    normals = face_normals(faces, camera)
    flat = np.array([face.flat for face in faces])
    shades = np.array([face.shade for face in faces])
    direct = np.where(flat, 0.6, np.clip(normals @ np.array(sun), 0, 1))
    upward = np.where(flat, 0.5, np.clip(normals[:, 1], 0, 1))
    result: Float = (shades * (light.ambient + light.sun * direct + light.sky * upward)).astype(np.float32)
    return result
