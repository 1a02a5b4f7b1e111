"""A scene under construction: objects with their extents, put into painter's order; and what casts shadows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from uda.data.minicity.geometry import Camera, Face, Place

FAR = 112.0
"""Where the street ends, in metres from the camera."""

Drawer = Callable[[Place, Camera, np.random.Generator, int], list[Face]]
"""Makes the faces of a countable object with the given instance number."""


@dataclass(frozen=True, slots=True)
class Extent:
    """Footprint of an object on the ground in metres."""

    x0: float
    x1: float
    z0: float
    z1: float

    @classmethod
    def around(cls, x: float, z: float, half_x: float, half_z: float) -> Extent:
        """The rectangle around a middle."""
        return cls(x - half_x, x + half_x, z - half_z, z + half_z)


@dataclass(frozen=True, slots=True)
class Caster:
    """Casts a shadow on the ground: a block over `extent` between two heights in metres."""

    extent: Extent
    low: float
    high: float


@dataclass
class Scene:
    """Objects and casters so far.

    Attributes:
        camera: who looks.
        rng: source of all chance of the layout.
        ground: faces on the ground, in painting order.
        objects: extent and faces of everything that stands on it.
        casters: what casts shadows.
    """

    camera: Camera
    rng: np.random.Generator
    ground: list[Face] = field(default_factory=list)
    objects: list[tuple[Extent, list[Face]]] = field(default_factory=list)
    casters: list[Caster] = field(default_factory=list)
    instances: int = 0

    def in_view(self, extent: Extent) -> bool:
        """Whether some of it may be inside the image."""
        if extent.z1 < 1.0 or extent.z0 > FAR:
            return False
        if extent.z0 < 6.0:
            return True
        half = math.atan(0.5 / self.camera.focal) + 0.08
        angles = [math.atan2(x - self.camera.x, z) for x in (extent.x0, extent.x1) for z in (extent.z0, extent.z1)]
        return max(angles) > self.camera.yaw - half and min(angles) < self.camera.yaw + half

    def put(self, extent: Extent, height: float, make: Callable[[], list[Face]], low: float = 0.0) -> None:
        """Adds stuff of the given height, if it is in view; `low` is where its shadow-casting part begins."""
        if height > 0.5:
            self.casters.append(Caster(extent, low, height))
        if self.in_view(extent):
            self.objects.append((extent, make()))

    def put_thing(self, extent: Extent, height: float, place: Place, drawer: Drawer) -> None:
        """Adds a countable object (up to two instances: a bicycle and its rider)."""
        number = self.instances + 1
        self.instances += 2
        self.put(extent, height, partial(drawer, place, self.camera, self.rng, number))

    def painted(self) -> list[Face]:
        """All faces, far to near."""
        order = painters_order([extent for extent, _ in self.objects])
        return self.ground + [face for index in order for face in self.objects[index][1]]


def painters_order(extents: Sequence[Extent]) -> list[int]:
    """Order in which objects hide one another rightly, seen from x = 0 along z.

    One object hides another only if it is not wholly behind it along z and not wholly further out on the same side.
    Where each could hide the other (a crown that reaches over a facade), the one that stands on the street's side of
    the other is in front; else the one whose middle is nearer.
    """
    if not extents:
        return []
    x0, x1, z0, z1 = np.array([(e.x0, e.x1, e.z0, e.z1) for e in extents]).T
    middle_z, middle_x = (z0 + z1) / 2, (x0 + x1) / 2
    inner = np.where(x0 * x1 <= 0, 0.0, np.minimum(np.abs(x0), np.abs(x1)))
    outer = np.maximum(np.abs(x0), np.abs(x1))
    astride = x0 * x1 <= 0
    same_side = (np.sign(middle_x)[:, None] == np.sign(middle_x)) | astride[:, None] | astride
    hides = (z0[:, None] < z1) & (inner[:, None] < outer) & same_side
    mutual = hides & hides.T
    inside = np.abs(middle_x)[:, None] <= inner
    before = np.where(inside == inside.T, middle_z[:, None] < middle_z, inside)
    hides &= ~mutual | before
    return _far_to_near(hides, middle_z)


def _far_to_near(hides_NN: NDArray[np.bool_], distance_N: NDArray[np.float64]) -> list[int]:
    """Takes, again and again, the furthest object that hides none of those left."""
    np.fill_diagonal(hides_NN, val=False)
    blocked = hides_NN.sum(1)
    key = distance_N.astype(np.float64).copy()
    order: list[int] = []
    for _ in range(len(key)):
        free = np.where(blocked == 0, key, -np.inf)
        best = int(free.argmax())
        if not np.isfinite(free[best]):
            best = int(key.argmax())
        order.append(best)
        key[best] = -np.inf
        blocked = blocked - hides_NN[:, best]
    return order
