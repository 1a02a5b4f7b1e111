"""The street itself: lanes, kerbs, markings, sidewalks, and what stands behind them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from uda.data.minicity.classes import Cls
from uda.data.minicity.furniture import bush, tree
from uda.data.minicity.geometry import WORLD_GROUND, Face, Place, Point
from uda.data.minicity.materials import Material
from uda.data.minicity.scene import FAR, Extent, Scene
from uda.data.minicity.statistics import SceneStatistics

LANE = 3.3
"""Width of a lane in metres."""

PARKING = 2.3
"""Width of a parking lane in metres."""

DEPTH = 12.0
"""Depth of buildings in metres."""


@dataclass(frozen=True)
class Street:
    """Cross-section of a straight street; the camera drives at x = 0.

    Attributes:
        ahead, oncoming: middles of the lanes in metres.
        edges: x of the left and the right kerb.
        walks: widths of the left and the right sidewalk in metres.
        parking: whether there is a parking lane on the left, on the right.
        verges: widths of the grass verges on the left and the right (part of the sidewalks), 0 where there is none.
        junction: z range of the crossing street, None where there is none.
    """

    ahead: tuple[float, ...]
    oncoming: tuple[float, ...]
    edges: tuple[float, float]
    walks: tuple[float, float]
    parking: tuple[bool, bool]
    verges: tuple[float, float]
    junction: tuple[float, float] | None

    def in_junction(self, z: float, margin: float = 1.0) -> bool:
        """Whether z lies in the crossing street."""
        return self.junction is not None and self.junction[0] - margin < z < self.junction[1] + margin

    def front(self, side: int) -> float:
        """Place (x) of the building line on the left (0) or the right (1)."""
        return self.edges[side] + (1 if side else -1) * self.walks[side]


def sample_street(statistics: SceneStatistics, rng: np.random.Generator) -> Street:
    """A street with lanes, sidewalks and perhaps a junction."""
    count = 1 + int(rng.choice(3, p=statistics.lanes))
    own = int(rng.integers(0, count))
    ahead = tuple((index - own) * LANE for index in range(count))
    oncoming = tuple((-1 - index - own) * LANE for index in range(count))
    parking = (bool(rng.random() < statistics.parking), bool(rng.random() < statistics.parking))
    edges = (
        oncoming[-1] - LANE / 2 - PARKING * parking[0],
        ahead[-1] + LANE / 2 + PARKING * parking[1],
    )
    walks = [float(rng.uniform(*statistics.sidewalk)) for _ in range(2)]
    verges = [float(rng.uniform(1.2, 3.0)) if rng.random() < statistics.verge else 0.0 for _ in range(2)]
    start = rng.uniform(14.0, 45.0)
    junction = (start, start + rng.uniform(7.0, 11.0)) if rng.random() < statistics.junction else None
    return Street(
        ahead, oncoming, edges, (walks[0] + verges[0], walks[1] + verges[1]), parking, (verges[0], verges[1]), junction
    )


def _slab(x0: float, x1: float, z0: float, z1: float, material: Material, cls: Cls, tint: float = 0.5) -> Face:
    """A rectangle on the ground."""
    points: list[Point] = [(x0, 0.0, z0), (x1, 0.0, z0), (x1, 0.0, z1), (x0, 0.0, z1)]
    return Face(points, material, cls, tint=tint, frame=WORLD_GROUND)


def lay_ground(scene: Scene, street: Street, *, rails_at: float | None) -> None:
    """Paves the street: sidewalks, verges, kerbs, road, patches, markings, and rails in the middle of a lane."""
    rng, ground = scene.rng, scene.ground
    left, right = street.edges
    pave, asphalt = rng.random(), rng.random()
    ground.append(_slab(-400, 400, -2, 900, Material.SIDEWALK, Cls.SIDEWALK, pave))
    for edge, sign, verge in ((left, -1, street.verges[0]), (right, 1, street.verges[1])):
        if verge:
            ground.append(_slab(edge, edge + sign * verge, -2, FAR, Material.GRASS, Cls.TERRAIN, rng.random()))
        ground.append(_slab(edge, edge + sign * 0.3, -2, FAR, Material.KERB, Cls.SIDEWALK))
    ground.append(_slab(left, right, -2, 900, Material.ROAD, Cls.ROAD, asphalt))
    if street.junction:
        z0, z1 = street.junction
        for outer, edge in ((-300, left), (right, 300)):  # none across the road: covered, it would show by a row
            ground.append(_slab(outer, edge, z0 - 0.3, z1 + 0.3, Material.KERB, Cls.SIDEWALK))
        ground.append(_slab(-300, 300, z0, z1, Material.ROAD, Cls.ROAD, asphalt))
        ground.append(_slab(left, right, z0 - 0.4, z1 + 0.4, Material.ROAD, Cls.ROAD, asphalt))
    for _ in range(int(rng.poisson(2.5))):
        x, z = rng.uniform(left, right - 1), 4 + 40 * rng.random() ** 2
        x_end, z_end = min(x + rng.uniform(0.8, 3.0), right), z + rng.uniform(1, 9)
        ground.append(_slab(x, x_end, z, z_end, Material.PATCH, Cls.ROAD, rng.random()))
    _mark(scene, street)
    if rails_at is not None:
        rails = (rails_at - 0.72, rails_at + 0.72)
        ground += [_slab(x - 0.06, x + 0.06, -2, FAR, Material.RAIL, Cls.ROAD) for x in rails]


def _mark(scene: Scene, street: Street) -> None:
    """Lane lines, parking lines, and zebra crossings at the junction."""
    ground, rng = scene.ground, scene.rng
    centre = street.ahead[0] - LANE / 2
    dashed = [x - LANE / 2 for x in street.ahead[1:]] + [x + LANE / 2 for x in street.oncoming[1:]]
    solid = [street.edges[side] - sign * PARKING for side, sign in ((0, -1), (1, 1)) if street.parking[side]]
    (solid if rng.random() < 0.4 else dashed).append(centre)
    phase = rng.uniform(0, 6)
    for x in dashed:
        starts = [z for z in np.arange(phase - 4.0, 70.0, 6.0) if not street.in_junction(z)]
        ground += [_slab(x - 0.08, x + 0.08, z, z + 3.0, Material.MARKING, Cls.ROAD) for z in starts]
    cuts = [-2.0, *(street.junction or ()), FAR]
    for x in solid:
        spans = zip(cuts[::2], cuts[1::2], strict=True)
        ground += [_slab(x - 0.07, x + 0.07, a, b, Material.MARKING, Cls.ROAD) for a, b in spans]
    if street.junction and rng.random() < 0.75:
        z = street.junction[0] - 4.0
        stripes = np.arange(street.edges[0] + 0.4, street.edges[1] - 0.5, 1.0)
        ground += [_slab(x, x + 0.5, z, z + 3.0, Material.MARKING, Cls.ROAD) for x in stripes]
        ground.append(_slab(centre, street.edges[1], z - 1.3, z - 0.9, Material.MARKING, Cls.ROAD))


def build_frontages(scene: Scene, street: Street, statistics: SceneStatistics) -> None:
    """Fills both sides of the street with buildings, walls, fences and parks, and closes its far end."""
    rng = scene.rng
    gap = street.junction or (FAR, FAR)
    for side, sign in ((0, -1), (1, 1)):
        z = -4.0 - rng.uniform(0, 8)
        while z < FAR - 4:
            length = rng.uniform(9.0, 20.0)
            if z < gap[0] < z + length + 3:
                length = gap[0] - 1.5 - z
            kind = int(rng.choice(4, p=statistics.frontage))
            if length > 2.5:
                _segment(scene, statistics, kind, (street.front(side), sign), (z, z + length))
            z += max(length, 0.0)
            if gap[0] - 2 < z < gap[1]:
                z = gap[1] + 1.5
    _close_end(scene, statistics)


def _segment(
    scene: Scene, statistics: SceneStatistics, kind: int, line: tuple[float, int], span: tuple[float, float]
) -> None:
    """One stretch of frontage: 0 building, 1 wall, 2 fence, 3 park."""
    if kind == 0:
        _building(scene, statistics, line, span)
        return
    x, sign = line
    rng = scene.rng
    if statistics.grass:
        outer = x + sign * 40
        scene.ground.append(_slab(min(x, outer), max(x, outer), *span, Material.GRASS, Cls.TERRAIN, rng.random()))
    for _ in range(int(rng.poisson(1.6 if kind == 3 else 0.9) * (span[1] - span[0]) / 10)):
        plant_tree(scene, x + sign * rng.uniform(2.5, 9.0), rng.uniform(*span), rng.uniform(4.5, 9.0))
    if kind == 3:
        for _ in range(int(rng.poisson(1.5))):
            plant_bush(scene, x + sign * rng.uniform(1.2, 5.0), rng.uniform(*span))
        return
    height = rng.uniform(1.7, 2.9) if kind == 1 else rng.uniform(1.1, 1.9)
    material, cls = ((Material.WALL, Cls.WALL), (Material.FENCE, Cls.FENCE))[kind - 1]
    put_barrier(scene, x, span, (height, material, cls))


def put_barrier(scene: Scene, x: float, span: tuple[float, float], kind: tuple[float, Material, Cls]) -> None:
    """A wall or fence along the street at `x`; `kind` is its height in metres, material and class."""
    height, material, cls = kind
    z0, z1 = span
    points: list[Point] = [(x, 0.0, z0), (x, 0.0, z1), (x, height, z1), (x, height, z0)]
    face = Face(points, material, cls, tint=scene.rng.random())
    scene.put(Extent(x - 0.1, x + 0.1, z0, z1), height, lambda: [face])


def plant_tree(scene: Scene, x: float, z: float, height: float) -> None:
    """A tree of the given height in metres."""
    make = partial(tree, Place(x, z), scene.camera, scene.rng, height)
    scene.put(Extent.around(x, z, 0.3 * height, 0.2), height, make, low=0.4 * height)


def plant_bush(scene: Scene, x: float, z: float) -> None:
    """A bush."""
    scene.put(Extent.around(x, z, 1.0, 0.2), 1.2, partial(bush, Place(x, z), scene.camera, scene.rng))


def _building(scene: Scene, statistics: SceneStatistics, line: tuple[float, int], span: tuple[float, float]) -> None:
    """A house with windows and doors, perhaps shops on the ground floor, under a flat or pitched roof."""
    rng, (x, sign), (z0, z1) = scene.rng, line, span
    storeys = int(rng.integers(statistics.storeys[0], statistics.storeys[1] + 1))
    storey, shops, pitched = rng.uniform(2.9, 3.6), rng.random() < 0.4, rng.random() < 0.5
    height = storeys * storey + 0.4
    pattern = (rng.uniform(2.0, 3.6), storey, rng.uniform(0.35, 0.62), rng.uniform(0.45, 0.62))
    tint, roof_tint, deep = rng.random(), rng.random(), x + sign * DEPTH
    faces: list[Face] = []
    if pitched:
        ridge, top = x + sign * DEPTH / 2, height + 3.2
        slope: list[Point] = [(x, height, z0), (x, height, z1), (ridge, top, z1), (ridge, top, z0)]
        gable: list[Point] = [(x, height, z0), (deep, height, z0), (ridge, top, z0)]
        faces.append(Face(slope, Material.ROOF, Cls.BUILDING, tint=roof_tint))
        faces.append(Face(gable, Material.FACADE, Cls.BUILDING, tint=tint, shade=0.95))
    walls = (((x, z0), (deep, z0)), ((x, z0), (x, z1)))
    faces += [_facade(ends, (0.0, height), Material.FACADE, tint, pattern) for ends in walls]
    if shops:
        ends = ((x, z0), (x, z1))
        faces.append(_facade(ends, (0.0, storey), Material.SHOP, rng.random(), (3.4, storey, 0.78, 0.62)))
    extent = Extent(min(x, deep), max(x, deep), z0, z1)
    scene.put(extent, height, lambda: faces)


def _facade(
    ends: tuple[tuple[float, float], tuple[float, float]],
    heights: tuple[float, float],
    material: Material,
    tint: float,
    pattern: tuple[float, float, float, float],
) -> Face:
    """An upright rectangle between two (x, z) ends."""
    (xa, za), (xb, zb) = ends
    low, high = heights
    points: list[Point] = [(xa, low, za), (xb, low, zb), (xb, high, zb), (xa, high, za)]
    width = math.hypot(xb - xa, zb - za)
    fitted = width / max(round(width / pattern[0]), 1)
    return Face(points, material, Cls.BUILDING, tint=tint, pattern=(fitted, *pattern[1:]))


def _close_end(scene: Scene, statistics: SceneStatistics) -> None:
    """Houses and trees across the far end of the street."""
    rng = scene.rng
    opening = rng.random() < 0.5
    for x in np.arange(-96.0, 96.0, 16.0):
        if opening and -16.0 <= x < 8.0:
            continue
        if rng.random() < 0.7:
            storey = 3.2
            height = storey * int(rng.integers(statistics.storeys[0], statistics.storeys[1] + 2))
            ends = ((float(x), FAR - 2), (float(x) + 16.0, FAR - 2))
            face = _facade(ends, (0.0, height), Material.FACADE, rng.random(), (2.6, storey, 0.45, 0.5))
            scene.put(Extent(x, x + 16.0, FAR - 2, FAR - 1), 0.0, partial(list, [face]))
        else:
            for shift in _spread(rng, 3, 16.0):
                plant_tree(scene, float(x) + shift, FAR - 3 - rng.uniform(0, 3), rng.uniform(6, 11))


def _spread(rng: np.random.Generator, count: int, width: float) -> Sequence[float]:
    """`count` places over `width` metres, one in each equal part."""
    return [float((index + rng.random()) * width / count) for index in range(count)]
