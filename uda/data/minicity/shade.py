"""Paint, light and air of every pixel, from the number of the face that it shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from uda.data.minicity.facades import FacadePixels, paint_facades, pickets
from uda.data.minicity.geometry import Face
from uda.data.minicity.look import Air, Look, Paint
from uda.data.minicity.materials import GROUND, Material
from uda.data.minicity.textures import Float, joints, sample_noise


@dataclass(frozen=True)
class Surfaces:
    """What each pixel shows.

    Attributes:
        faces: all faces by number.
        ids_HW: number of the face at each pixel.
        inverse_N33: pixel -> (u, v, 1) / depth of each face, for a grid `step` times as fine as ids_HW.
        brightness_N: light on each face.
        shadow_HW: darkness of shadows on the ground, 0 to 1.
        focal: focal length in pixels of ids_HW.
        step: distance of the pixels of ids_HW on the grid of inverse_N33.
    """

    faces: list[Face]
    ids_HW: NDArray[np.int32]
    inverse_N33: NDArray[np.float32]
    brightness_N: Float
    shadow_HW: Float
    focal: float
    step: int


def _positions(surfaces: Surfaces) -> tuple[Float, Float, Float]:
    """Texture coordinates u, v in metres and depth in metres, each flat over the pixels (P,)."""
    height, width = surfaces.ids_HW.shape
    table = surfaces.inverse_N33.reshape(-1, 9).T
    ids = surfaces.ids_HW.ravel()
    x = np.tile(np.arange(width, dtype=np.float32) * surfaces.step, height)
    y = np.repeat(np.arange(height, dtype=np.float32) * surfaces.step, width)
    scaled_u, scaled_v, inverse = (
        table[row].take(ids) * x + table[row + 1].take(ids) * y + table[row + 2].take(ids) for row in (0, 3, 6)
    )
    depth = 1 / np.clip(inverse, 1e-4, 2.0)
    return scaled_u * depth, scaled_v * depth, depth


def _face_colours(faces: list[Face], look: Look) -> Float:
    """Plain colour (N, 3) of each face."""
    colours = np.empty((len(faces), 3), np.float32)
    for index, face in enumerate(faces):
        paint = look.paints[face.material]
        chance = (face.tint * 13.7 + face.material * 0.618) % 1.0
        spread = 1 + paint.vary * (2 * ((face.tint * 97.3 + face.material * 0.37) % 1.0) - 1)
        colour = paint.colours[int(chance * len(paint.colours))]
        colours[index] = (colour[0] * spread, colour[1] * spread, colour[2] * spread)
    return colours


def _table(materials_N: NDArray[np.intp], values: dict[Material, float]) -> Float:
    """Value (N,) of each face from a value for each material."""
    by_material = np.array([values[material] for material in Material], np.float32)
    return by_material[materials_N]


def shade(surfaces: Surfaces, look: Look, rng: np.random.Generator) -> Float:
    """Light (H, W, 3), 0 to 255, that reaches the camera."""
    faces, ids = surfaces.faces, surfaces.ids_HW.ravel()
    materials = np.array([face.material for face in faces], np.intp)
    u, v, depth = _positions(surfaces)
    footprint = depth / surfaces.focal
    colours_P3 = _face_colours(faces, look).take(ids, axis=0)
    paints = {material: look.paints[material] for material in Material}
    material_P = materials.take(ids)
    factor = surfaces.brightness_N.take(ids)
    factor *= _texture(paints, materials, faces, ids, (u, v, footprint), rng)
    fence = np.flatnonzero(material_P == Material.FENCE)
    factor[fence] *= pickets(u[fence], v[fence], footprint[fence])
    on_ground = np.isin(materials, list(GROUND)).take(ids)
    factor *= 1 - surfaces.shadow_HW.ravel() * on_ground
    _paint_houses(colours_P3, material_P, surfaces, (u, v, footprint), look)
    colours_P3 *= factor[:, None]
    _add_haze(colours_P3, depth, look.air, rng)
    sky = np.flatnonzero(ids == 0)
    colours_P3[sky] = _sky_colours(u[sky] / np.float32(1000), v[sky] / np.float32(1000), look.air, rng)
    return colours_P3.reshape(*surfaces.ids_HW.shape, 3)


def _texture(
    paints: dict[Material, Paint],
    materials: NDArray[np.intp],
    faces: list[Face],
    ids: NDArray[np.int32],
    position: tuple[Float, Float, Float],
    rng: np.random.Generator,
) -> Float:
    """Brightness factor (P,) of coarse texture, grain and joints."""
    u, v, footprint = position
    size = _table(materials, {m: 256 / p.size for m, p in paints.items()}).take(ids)
    shift = np.array([256 * face.tint for face in faces], np.float32).take(ids)
    coarse = _table(materials, {m: p.coarse for m, p in paints.items()}).take(ids)
    fine = _table(materials, {m: p.fine for m, p in paints.items()}).take(ids)
    offset_u, offset_v = rng.uniform(0, 256, 2).astype(np.float32)
    factor = 1 + coarse * sample_noise(u * size + shift + offset_u, v * size + offset_v, coarse=True)
    grain = sample_noise(u * 25 + offset_v, v * 25 + shift, coarse=False)
    factor += fine * grain * np.clip(0.12 / footprint, 0.25, 1)
    tile = _table(materials, {m: p.tile for m, p in paints.items()}).take(ids)
    tiled = np.flatnonzero(tile)
    dark = _table(materials, {m: p.joint for m, p in paints.items()}).take(ids[tiled])
    factor[tiled] *= 1 - dark * joints(u[tiled], v[tiled], tile[tiled], footprint[tiled])
    bounded: Float = np.maximum(factor, 0.15)
    return bounded


def _paint_houses(
    colours_P3: Float,
    material_P: NDArray[np.intp],
    surfaces: Surfaces,
    position: tuple[Float, Float, Float],
    look: Look,
) -> None:
    """Paints windows and doors into the colours of facade pixels."""
    u, v, footprint = position
    at = np.flatnonzero((material_P == Material.FACADE) | (material_P == Material.SHOP))
    ids = surfaces.ids_HW.ravel()[at]
    patterns = np.array([face.pattern for face in surfaces.faces], np.float32)
    tints = np.array([face.tint for face in surfaces.faces], np.float32)
    shop = material_P[at] == Material.SHOP
    pixels = FacadePixels(u[at], v[at], patterns.take(ids, axis=0), tints.take(ids), shop, footprint[at])
    colours_P3[at] = paint_facades(pixels, colours_P3[at], look.windows)


def _add_haze(colours_P3: Float, depth: Float, air: Air, rng: np.random.Generator) -> None:
    """Fades colours with distance."""
    clear = np.exp(depth * np.float32(-1 / rng.uniform(*air.sight)))[:, None]
    colours_P3 *= clear
    colours_P3 += (1 - clear) * np.array(air.haze, np.float32)


def _sky_colours(side: Float, up: Float, air: Air, rng: np.random.Generator) -> Float:
    """Colours (S, 3) of the sky at tangents to the side and up of the horizon."""
    rise = np.clip(up / 0.45, 0, 1)[:, None]
    sky = np.array(air.horizon, np.float32) * (1 - rise) + np.array(air.zenith, np.float32) * rise
    offset = rng.uniform(0, 256, 2).astype(np.float32)
    noise = sample_noise(side * 160 + offset[0], up * 420 + offset[1], coarse=True)
    share = rng.uniform(*air.clouds)
    cover = np.clip((noise + 3 * share - 1.6) * 0.8, 0, 1)[:, None]
    colours_S3: Float = (sky * (1 - cover) + np.array(air.cloud, np.float32) * cover).astype(np.float32)
    return colours_S3
