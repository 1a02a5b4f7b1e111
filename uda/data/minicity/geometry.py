"""Faces in the world and the pinhole camera that sees them.

World: metres; x to the right, y up, z along the street; the ground is y = 0. Camera: x right, y down, z forward.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from uda.data.minicity.classes import Cls
from uda.data.minicity.materials import Material

Array = NDArray[np.float64]
Point = tuple[float, float, float]

NEAR = 0.6
"""Distance of the near clipping plane in metres."""

WORLD_GROUND: tuple[Point, Point, Point] = ((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0))
"""Texture frame (origin, u axis, v axis) of everything that lies on the ground."""


@dataclass(frozen=True, slots=True)
class Face:
    """A flat convex (or star-shaped) polygon of one material.

    Attributes:
        points: corners in metres; the first edge is the u axis of the texture, the last corner points along v.
        material: what it is made of; the look says how that is painted.
        cls: its class.
        instance: number of the object, 0 for stuff.
        tint: in [0, 1), picks one of the material's colours.
        shade: brightness factor of this face alone.
        frame: texture frame (origin, u axis, v axis), where the first edge will not do.
        pattern: bay width, storey height (metres), window width and height (parts of the bay); facades only.
        flat: lit alike from all sides (billboards).
    """

    points: Sequence[Point]
    material: Material
    cls: Cls
    instance: int = 0
    tint: float = 0.5
    shade: float = 1.0
    frame: tuple[Point, Point, Point] | None = None
    pattern: tuple[float, float, float, float] = (1.0, 1.0, 0.0, 0.0)
    flat: bool = False


@dataclass(frozen=True)
class Camera:
    """A pinhole camera above the street.

    Attributes:
        height: metres above the ground.
        pitch: radians, positive looks down.
        yaw: radians, positive looks to the right.
        focal: focal length as a part of the image's width.
        x: metres to the side of the middle of the camera's lane.
    """

    height: float
    pitch: float
    yaw: float
    focal: float
    x: float = 0.0

    @property
    def eye(self) -> Point:
        """Where it stands, in metres."""
        return (self.x, self.height, 0.0)

    def rotation(self) -> Array:
        """Rotation (3, 3) from world to camera axes."""
        cp, sp, cy, sy = math.cos(self.pitch), math.sin(self.pitch), math.cos(self.yaw), math.sin(self.yaw)
        turn = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
        tilt = np.array([[1, 0, 0], [0, -cp, -sp], [0, -sp, cp]])
        rotation: Array = tilt @ turn
        return rotation

    def position(self) -> Array:
        """Position (3,) in metres."""
        return np.array(self.eye)

    def intrinsics(self, height: int, width: int) -> Array:
        """Camera matrix (3, 3) for an image of `height` x `width` pixels, its middle at the optical axis."""
        f = self.focal * width
        return np.array([[f, 0, (width - 1) / 2], [0, f, (height - 1) / 2], [0, 0, 1]])


def clip_near(points_K3: Array) -> Array:
    """The part of a polygon in camera axes that lies before the near plane, (0 or more, 3)."""
    inside = points_K3[:, 2] >= NEAR
    if inside.all():
        return points_K3
    kept: list[Array] = []
    for index in range(len(points_K3)):
        here, following = points_K3[index], points_K3[(index + 1) % len(points_K3)]
        if here[2] >= NEAR:
            kept.append(here)
        if (here[2] >= NEAR) != (following[2] >= NEAR):
            kept.append(here + (following - here) * ((NEAR - here[2]) / (following[2] - here[2])))
    return np.array(kept).reshape(-1, 3)


def project_polygons(
    polygons: Sequence[Sequence[Point]], camera: Camera, height: int, width: int
) -> list[NDArray[np.int32] | None]:
    """Pixel corners (K, 2) int32 as x, y of each polygon, None where it is behind the camera or outside the image."""
    if not polygons:
        return []
    sizes = np.array([len(points) for points in polygons], np.intp)
    ends = np.cumsum(sizes)
    flat_N3 = np.array([point for points in polygons for point in points], np.float64)
    seen_N3 = (flat_N3 - camera.position()) @ camera.rotation().T
    matrix = camera.intrinsics(height, width)
    focal, centre = matrix[0, 0], matrix[:2, 2]
    pixels_N2 = np.rint(seen_N3[:, :2] * (focal / np.maximum(seen_N3[:, 2:], NEAR)) + centre).astype(np.int32)
    starts = ends - sizes
    before = np.minimum.reduceat(seen_N3[:, 2], starts) >= NEAR
    behind = np.maximum.reduceat(seen_N3[:, 2], starts) < NEAR
    low_P2, high_P2 = np.minimum.reduceat(pixels_N2, starts), np.maximum.reduceat(pixels_N2, starts)
    outside = before & ((high_P2 < 0).any(1) | (low_P2 >= (width, height)).any(1))
    projected: list[NDArray[np.int32] | None] = []
    for start, end, ahead, gone in zip(starts, ends, before, behind | outside, strict=True):
        if gone:
            projected.append(None)
        elif ahead:
            projected.append(pixels_N2[start:end])
        else:
            kept_K3 = clip_near(seen_N3[start:end])
            pixels = np.rint(kept_K3[:, :2] * (focal / kept_K3[:, 2:]) + centre).astype(np.int32)
            projected.append(pixels if len(pixels) > 2 else None)
    return projected


def texture_frames(faces: Sequence[Face]) -> tuple[Array, Array, Array]:
    """Origins, u axes and v axes (N, 3) of the faces; axes are unit vectors in the plane of the face."""
    triples = [face.frame or (face.points[0], face.points[1], face.points[-1]) for face in faces]
    frames_N33 = np.array(triples, np.float64)
    given = np.array([face.frame is not None for face in faces])[:, None]
    origin = frames_N33[:, 0]
    u_axis = np.where(given, frames_N33[:, 1], frames_N33[:, 1] - origin)
    u_axis /= np.maximum(np.linalg.norm(u_axis, axis=1, keepdims=True), 1e-9)
    v_axis = np.where(given, frames_N33[:, 2], frames_N33[:, 2] - origin)
    v_axis -= u_axis * (u_axis * v_axis).sum(1, keepdims=True)
    v_axis /= np.maximum(np.linalg.norm(v_axis, axis=1, keepdims=True), 1e-9)
    return origin, u_axis, v_axis


def inverse_homographies(faces: Sequence[Face], camera: Camera, height: int, width: int) -> NDArray[np.float32]:
    """Matrices (N, 3, 3): pixel (x, y, 1) -> (u, v, 1) / depth, with u, v in metres on the face and depth in metres."""
    origin, u_axis, v_axis = texture_frames(faces)
    columns_N33 = np.stack([u_axis, v_axis, origin - camera.position()], axis=2)
    forward_N33 = camera.intrinsics(height, width) @ camera.rotation() @ columns_N33
    flat = np.abs(np.linalg.det(forward_N33)) < 1e-3
    forward_N33[flat] = np.diag([1.0, 1.0, 50.0])
    inverse: NDArray[np.float32] = np.linalg.inv(forward_N33).astype(np.float32)
    return inverse


def face_normals(faces: Sequence[Face], camera: Camera) -> Array:
    """Unit normals (N, 3) that point towards the camera."""
    origin, u_axis, v_axis = texture_frames(faces)
    normal = np.cross(u_axis, v_axis)
    facing = (normal * (camera.position() - origin)).sum(1, keepdims=True)
    return np.where(facing < 0, -normal, normal)


@dataclass(frozen=True)
class Place:
    """Where an object stands: its middle on the ground and which way it faces (0 = along the street, away from us)."""

    x: float
    z: float
    heading: float = 0.0
    y: float = 0.0

    def world(self, side: float, up: float, ahead: float) -> Point:
        """World point of a point in the object's own axes (to its right, up, ahead), metres."""
        c, s = math.cos(self.heading), math.sin(self.heading)
        return (self.x + side * c + ahead * s, self.y + up, self.z - side * s + ahead * c)

    def worlds(self, points: Iterable[Point]) -> list[Point]:
        """World points of points in the object's own axes."""
        return [self.world(*point) for point in points]

    def own(self, point: Point) -> Point:
        """A world point in the object's own axes (to its right, up, ahead)."""
        c, s = math.cos(self.heading), math.sin(self.heading)
        x, z = point[0] - self.x, point[2] - self.z
        return (x * c - z * s, point[1] - self.y, x * s + z * c)
