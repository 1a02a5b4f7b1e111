"""Samples a whole layout: the street, what stands along it, and who is on it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from uda.data.minicity.classes import Cls
from uda.data.minicity.figures import person, two_wheeler
from uda.data.minicity.furniture import bin_box, sign_post, street_lamp, traffic_light
from uda.data.minicity.geometry import Camera, Face, Place
from uda.data.minicity.materials import Material
from uda.data.minicity.scene import FAR, Caster, Drawer, Extent, Scene
from uda.data.minicity.statistics import SceneStatistics
from uda.data.minicity.street import (
    PARKING,
    Street,
    build_frontages,
    lay_ground,
    plant_bush,
    plant_tree,
    put_barrier,
    sample_street,
)
from uda.data.minicity.vehicles import bus, car, tram, truck


@dataclass(frozen=True)
class Layout:
    """What stands where, free of any look.

    Attributes:
        camera: who looks.
        faces: polygons in painting order, far to near.
        casters: what casts shadows.
        ego: whether the bonnet of the camera's own vehicle is seen.
    """

    camera: Camera
    faces: list[Face]
    casters: list[Caster]
    ego: bool


def sample_layout(statistics: SceneStatistics, rng: np.random.Generator) -> Layout:
    """One street scene drawn from the statistics."""
    camera = Camera(
        height=rng.uniform(*statistics.camera_height),
        pitch=rng.uniform(*statistics.camera_pitch),
        yaw=rng.uniform(*statistics.camera_yaw),
        focal=rng.uniform(*statistics.focal),
        x=rng.normal(0.0, 0.25),
    )
    scene = Scene(camera, rng)
    street = sample_street(statistics, rng)
    lanes = _Lanes(street)
    trams = int(rng.poisson(statistics.trams))
    rails = float(rng.choice(street.oncoming)) if trams else None
    lay_ground(scene, street, rails_at=rails)
    build_frontages(scene, street, statistics)
    _furnish(scene, street, statistics)
    if rails is not None:
        _drive(scene, lanes, 1, (tram, 12.8, 3.5), only=rails)
    for mean, kind in (
        (statistics.buses, (bus, 6.0, 3.0)),
        (statistics.trucks, (truck, 4.5, 3.3)),
        (statistics.cars, (car, 2.4, 1.5)),
    ):
        _drive(scene, lanes, int(rng.poisson(mean)), kind)
    _park(scene, street, statistics)
    _people(scene, street, statistics)
    return Layout(camera, scene.painted(), scene.casters, statistics.ego)


@dataclass
class _Lanes:
    """Lanes of a street and which parts of them are taken."""

    street: Street
    taken: dict[float, list[tuple[float, float]]] = field(default_factory=dict)

    def take(self, x: float, z: float, half: float) -> bool:
        """Takes the part of the lane around z, unless another vehicle is there or it stands over the camera."""
        if z - half < (8.0 if abs(x) < 1.0 else 3.0):
            return False
        spans = self.taken.setdefault(x, [])
        if any(z - half - 1.5 < end and start < z + half + 1.5 for start, end in spans):
            return False
        spans.append((z - half, z + half))
        return True


def _drive(
    scene: Scene, lanes: _Lanes, count: int, kind: tuple[Drawer, float, float], only: float | None = None
) -> None:
    """Puts vehicles of one kind (drawer, half length, height) on free parts of the lanes."""
    drawer, half, height = kind
    rng, street = scene.rng, lanes.street
    for _ in range(count):
        x = only if only is not None else float(rng.choice(street.ahead + street.oncoming))
        z = half + 4.0 + rng.gamma(1.7, 11.0)
        if drawer is car and street.junction and rng.random() < 0.2:
            side = float(rng.uniform(-16, 16))
            z = street.junction[0] + (2.3 if side > 0 else 5.2)
            if lanes.take(side, z, 1.0):
                place = Place(side, z, math.copysign(math.pi / 2, rng.random() - 0.5))
                scene.put_thing(Extent.around(side, z, half, 0.9), height, place, drawer)
        elif lanes.take(x, z, half):
            heading = (0.0 if x in street.ahead else math.pi) + rng.normal(0, 0.02)
            place = Place(x + rng.normal(0, 0.15), z, heading)
            scene.put_thing(Extent.around(place.x, z, 1.0, half), height, place, drawer)


def _park(scene: Scene, street: Street, statistics: SceneStatistics) -> None:
    """Cars, and now and then a motorcycle, in the parking lanes."""
    rng = scene.rng
    for side, sign in ((0, -1), (1, 1)):
        if not street.parking[side]:
            continue
        x = street.edges[side] - sign * PARKING / 2
        for z in np.arange(3.5 + rng.uniform(0, 4), 80.0, 5.9):
            if rng.random() < statistics.parked and not street.in_junction(float(z), 6.0):
                place = Place(x + rng.normal(0, 0.08), float(z), 0.0 if sign > 0 else math.pi)
                scene.put_thing(Extent.around(x, float(z), 1.0, 2.4), 1.5, place, car)


def _furnish(scene: Scene, street: Street, statistics: SceneStatistics) -> None:
    """Trees, lamps, signs, traffic lights, fences at the kerb and bins."""
    rng = scene.rng
    for side, sign in ((0, -1), (1, 1)):
        edge = street.edges[side]
        for _ in range(int(rng.poisson(statistics.trees))):
            z = rng.uniform(7.0, 95.0)
            if not street.in_junction(z, 4.0):
                plant_tree(scene, edge + sign * rng.uniform(0.9, 1.3), z, rng.uniform(4.5, 8.5))
        if street.verges[side] and rng.random() < 0.5:
            plant_bush(scene, edge + sign * street.verges[side] * 0.6, rng.uniform(6, 35))
        if rng.random() < statistics.rail_fence:
            start = rng.uniform(5, 14)
            end = min(start + rng.uniform(6, 20), street.junction[0] - 4 if street.junction else FAR)
            if end - start > 2:
                put_barrier(scene, edge + sign * 0.35, (start, end), (1.0, Material.FENCE, Cls.FENCE))
    _poles(scene, street, statistics)


def _poles(scene: Scene, street: Street, statistics: SceneStatistics) -> None:
    """Everything on poles, at random places along the kerbs; traffic lights at the junction."""
    rng = scene.rng

    def put(mean: float, height: float, make: Callable[[Place], list[Face]], reach: float, near: bool) -> None:
        for _ in range(int(rng.poisson(mean))):
            side = int(rng.integers(0, 2))
            x = street.edges[side] + (1 if side else -1) * rng.uniform(0.5, 0.9)
            z = 5.0 + rng.gamma(1.8, 9.0)
            if near and street.junction:
                z = street.junction[0] - rng.uniform(0.6, 1.4) if rng.random() < 0.6 else street.junction[1] + 0.8
            elif street.in_junction(z):
                continue
            scene.put(Extent.around(x, z, reach, 0.12), height * 0.0, partial(make, Place(x, z)))

    camera = scene.camera
    put(statistics.lamps, 7.0, lambda place: street_lamp(place, camera, rng), 0.3, near=False)
    put(statistics.signs, 2.5, lambda place: sign_post(place, camera, rng), 0.3, near=False)
    arm = float(rng.choice((0.0, 2.5, 3.5)))
    put(statistics.lights, 3.4, lambda place: traffic_light(place, camera, rng, arm), 0.3, near=True)
    put(statistics.bins, 1.0, lambda place: bin_box(place, camera, rng), 0.4, near=False)


def _people(scene: Scene, street: Street, statistics: SceneStatistics) -> None:
    """Pedestrians on the sidewalks and crossing, riders on the road, parked bicycles and motorcycles."""
    rng = scene.rng
    for _ in range(int(rng.poisson(statistics.persons))):
        side = int(rng.integers(0, 2))
        sign = 1 if side else -1
        x = street.edges[side] + sign * rng.uniform(0.6, street.walks[side] - 0.3)
        z = 6.0 + 40 * rng.random() ** 1.6
        if rng.random() < 0.15:
            x, z = rng.uniform(*street.edges), rng.uniform(12.0, 35.0)
        scene.put_thing(Extent.around(x, z, 0.3, 0.2), 1.7, Place(x, z), person)
    for _ in range(int(rng.poisson(statistics.riders))):
        motor = bool(rng.random() < statistics.motor_share)
        z = 7.0 + 26 * rng.random() ** 1.4
        side = int(rng.integers(0, 2))
        x = street.edges[side] - (1 if side else -1) * (0.9 + PARKING * street.parking[side])
        heading = math.pi * (1 - side)
        if rng.random() < 0.45:
            x, heading = rng.uniform(*street.edges), math.copysign(math.pi / 2, rng.random() - 0.5)
        _wheeler(scene, x, z, heading, motor=motor, ridden=True)
    for mean, motor in ((statistics.bicycles, False), (statistics.motorcycles, True)):
        for _ in range(int(rng.poisson(mean))):
            side = int(rng.integers(0, 2))
            x = street.edges[side] + (1 if side else -1) * rng.uniform(0.7, max(street.walks[side] - 0.6, 0.8))
            heading = rng.uniform(0.5, math.pi - 0.5) * (1 if rng.random() < 0.5 else -1)
            _wheeler(scene, x, 6.0 + 24 * rng.random() ** 1.4, heading, motor=motor, ridden=False)


def _wheeler(scene: Scene, x: float, z: float, heading: float, *, motor: bool, ridden: bool) -> None:
    """A bicycle or motorcycle at (x, z)."""
    drawer: Drawer = partial(two_wheeler, motor=motor, ridden=ridden)
    scene.put_thing(Extent.around(x, z, 0.6, 0.25), 1.0, Place(x, z, heading), drawer)
