"""Building blocks of objects: extruded profiles, panels on their sides, discs and upright boards."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from uda.data.minicity.classes import Cls
from uda.data.minicity.geometry import Camera, Face, Place, Point
from uda.data.minicity.materials import Material

Flat = tuple[float, float]


@dataclass(frozen=True)
class Maker:
    """Makes the faces of one object in its own axes (to its right, up, ahead); faces turned away are left out.

    Attributes:
        place: where the object stands.
        camera: who looks.
        cls: its class.
        instance: its number.
        tint: the object's place in the palettes of its materials, in [0, 1).
    """

    place: Place
    camera: Camera
    cls: Cls
    instance: int
    tint: float

    @property
    def eye(self) -> Point:
        """The camera in the object's own axes."""
        return self.place.own(self.camera.eye)

    def as_class(self, cls: Cls, instance: int, tint: float) -> Maker:
        """The same place for another object (a rider on a bicycle)."""
        return replace(self, cls=cls, instance=instance, tint=tint)

    def face(self, points: Sequence[Point], material: Material, shade: float = 1.0, *, flat: bool = False) -> Face:
        """One face from points in own axes."""
        world = self.place.worlds(points)
        return Face(world, material, self.cls, self.instance, self.tint, shade, flat=flat)

    def prism(self, profile: Sequence[Flat], half: float, edges: Sequence[Material], side: Material) -> list[Face]:
        """A convex profile of (ahead, up) points, counter-clockwise seen from the right side, extruded across.

        Args:
            profile: corners (ahead, up) in metres, in the order rear bottom, front bottom, front top, rear top.
            half: half of the width in metres.
            edges: material of the face along each edge of the profile.
            side: material of the two side faces.
        """
        eye_side, eye_up, eye_ahead = self.eye
        faces = []
        for index, (ahead, up) in enumerate(profile):
            next_ahead, next_up = profile[(index + 1) % len(profile)]
            normal_ahead, normal_up = next_up - up, ahead - next_ahead
            if (eye_ahead - ahead) * normal_ahead + (eye_up - up) * normal_up <= 0:
                continue
            corners = [(-half, up, ahead), (half, up, ahead), (half, next_up, next_ahead), (-half, next_up, next_ahead)]
            faces.append(self.face(corners, edges[index]))
        if abs(eye_side) > half:
            at = math.copysign(half, eye_side)
            faces.append(self.face([(at, up, ahead) for ahead, up in profile], side))
        return faces

    def box(self, size: tuple[float, float, float], low: float, material: Material, ahead: float = 0.0) -> list[Face]:
        """A box of (width, height, length) metres whose floor is `low` metres up, its middle `ahead` metres ahead."""
        width, height, length = size
        rear, front = ahead - length / 2, ahead + length / 2
        profile = [(rear, low), (front, low), (front, low + height), (rear, low + height)]
        return self.prism(profile, width / 2, [material] * 4, material)

    def side_panels(
        self, half: float, spans: Sequence[Flat], low: float, high: float, material: Material
    ) -> list[Face]:
        """Panels (windows, doors, stripes) on the side that is seen, over spans (from, to) ahead."""
        side = self.seen_side(half)
        if side == 0.0:
            return []
        return [
            self.face([(side, low, a), (side, low, b), (side, high, b), (side, high, a)], material) for a, b in spans
        ]

    def end_panel(self, ahead: float, across: Flat, low: float, high: float, material: Material) -> list[Face]:
        """A panel on the front (ahead > 0) or the rear end, where that is seen."""
        if (self.eye[2] - ahead) * math.copysign(1.0, ahead) <= 0:
            return []
        left, right = across
        corners = [(left, low, ahead), (right, low, ahead), (right, high, ahead), (left, high, ahead)]
        return [self.face(corners, material)]

    def wheels(self, half: float, aheads: Sequence[float], radius: float) -> list[Face]:
        """Wheels with hubs on the side that is seen."""
        side = self.seen_side(half)
        if side == 0.0:
            return []
        faces = []
        for ahead in aheads:
            faces.append(self.face(upright_disc(side * 1.01, radius, ahead, radius), Material.TYRE))
            faces.append(self.face(upright_disc(side * 1.02, radius, ahead, 0.5 * radius), Material.HUB))
        return faces

    def seen_side(self, half: float) -> float:
        """Which side is seen, as its place across: +half, -half, or 0 where neither is."""
        eye_side = self.eye[0]
        return math.copysign(half, eye_side) if abs(eye_side) > half else 0.0

    def board(self, outline: Sequence[Flat], material: Material, shade: float = 1.0) -> Face:
        """A flat figure of (side, up) points, lit alike from all sides."""
        return self.face([(side, up, 0.0) for side, up in outline], material, shade, flat=True)

    def bar(self, start: Flat, end: Flat, thickness: float, material: Material, shade: float = 1.0) -> Face:
        """A straight bar from `start` to `end` (side, up) as a flat figure."""
        along = (end[0] - start[0], end[1] - start[1])
        scale = thickness / 2 / max(math.hypot(*along), 1e-6)
        dx, dy = -along[1] * scale, along[0] * scale
        (sx, sy), (ex, ey) = start, end
        outline = [(sx + dx, sy + dy), (ex + dx, ey + dy), (ex - dx, ey - dy), (sx - dx, sy - dy)]
        return self.board(outline, material, shade)


def upright_disc(side: float, up: float, ahead: float, radius: float, corners: int = 12) -> list[Point]:
    """A disc in the plane of the side of an object, in own axes."""
    angles = [2 * math.pi * index / corners for index in range(corners)]
    return [(side, up + radius * math.sin(angle), ahead + radius * math.cos(angle)) for angle in angles]


def disc(side: float, up: float, radius: float, corners: int = 12, stretch: float = 1.0) -> list[Flat]:
    """Outline (side, up) of a disc, `stretch` times as high as wide."""
    angles = [2 * math.pi * index / corners for index in range(corners)]
    return [(side + radius * math.cos(angle), up + stretch * radius * math.sin(angle)) for angle in angles]


def facing(x: float, z: float, camera: Camera) -> float:
    """Heading at which an upright board at (x, z) is square to the line of sight."""
    return math.atan2(x - camera.x, z)
