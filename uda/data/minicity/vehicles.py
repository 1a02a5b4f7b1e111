"""Cars, trucks, buses and trams."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from uda.data.minicity.classes import Cls
from uda.data.minicity.geometry import Camera, Face, Place
from uda.data.minicity.materials import Material
from uda.data.minicity.solids import Maker


def _lamps(maker: Maker, length: float, half: float, low: float, high: float) -> list[Face]:
    """Head lamps, tail lamps and number plates on the ends that are seen."""
    faces: list[Face] = []
    for sign, material in ((1.0, Material.HEADLAMP), (-1.0, Material.TAILLAMP)):
        ahead = sign * (length / 2 + 0.01)
        for left in (-half + 0.06, half - 0.42):
            faces += maker.end_panel(ahead, (left, left + 0.36), low, high, material)
        faces += maker.end_panel(ahead, (-0.28, 0.28), low - 0.17, low - 0.03, Material.MARKING)
    return faces


def car(place: Place, camera: Camera, rng: np.random.Generator, instance: int) -> list[Face]:
    """A car (saloon, estate or van), 3.8 to 5 m long."""
    maker = Maker(place, camera, Cls.CAR, instance, rng.random())
    kind = rng.choice(3, p=(0.5, 0.3, 0.2))
    length = (rng.uniform(3.9, 4.6), rng.uniform(4.3, 4.9), rng.uniform(4.6, 5.2))[kind]
    roof = (rng.uniform(1.4, 1.5), rng.uniform(1.45, 1.7), rng.uniform(1.9, 2.1))[kind]
    waist, half = 0.62 * roof, (0.9, 0.92, 0.97)[kind]
    rear, front = -length / 2, length / 2
    hull = [(rear, 0.22), (front, 0.22), (front, waist - 0.16), (front - 0.15, waist - 0.02), (rear, waist)]
    faces = maker.prism(hull, half, [Material.CAR] * 5, Material.CAR)
    faces += maker.end_panel(rear - 0.01, (-half, half), 0.22, 0.42, Material.TYRE)
    faces += maker.end_panel(front + 0.01, (-half, half), 0.22, 0.38, Material.TYRE)
    back = (rear + 0.45, rear + 0.12, rear + 0.05)[kind]
    bonnet = front - (1.05, 1.05, 0.75)[kind]
    sill = waist - 0.02  # the hull's top slopes: a cabin that stood on the waist would leave a slit to look through
    cabin = [(back, sill), (bonnet, sill), (bonnet - 0.62, roof), (back + (0.5, 0.25, 0.08)[kind], roof)]
    glass = [Material.CAR, Material.GLASS, Material.CAR, Material.GLASS]
    faces += maker.prism(cabin, 0.86 * half, glass, Material.CAR)
    faces += _car_windows(maker, cabin, 0.86 * half, blind_rear=kind == 2)
    faces += maker.wheels(half, (rear + 0.2 * length, front - 0.18 * length), 0.33)
    return faces + _lamps(maker, length, half, waist - 0.3, waist - 0.14)


def _car_windows(maker: Maker, cabin: list[tuple[float, float]], half: float, *, blind_rear: bool) -> list[Face]:
    """The two side windows, cut to the slope of the cabin."""
    side = maker.seen_side(half)
    if side == 0.0:
        return []
    (back, low), (front, _), (front_top, top), (back_top, _) = cabin
    low, high = low + 0.04, top - 0.1
    middle = (back_top + front_top) / 2 - 0.05
    rear = [(side, low, back + 0.22), (side, low, middle - 0.05), (side, high, middle - 0.05), (side, high, back_top)]
    fore = [(side, low, middle + 0.05), (side, low, front - 0.2), (side, high, front_top), (side, high, middle + 0.05)]
    return [maker.face(points, Material.GLASS) for points in ([fore] if blind_rear else [rear, fore])]


def truck(place: Place, camera: Camera, rng: np.random.Generator, instance: int) -> list[Face]:
    """A lorry with a cab and a box body, 7 to 9 m long."""
    maker = Maker(place, camera, Cls.TRUCK, instance, rng.random())
    length, height, half = rng.uniform(7.0, 9.0), rng.uniform(3.0, 3.6), 1.2
    cab_length = 2.0
    rear, front = -length / 2, length / 2
    seat = front - cab_length
    load = maker.box((2 * half, height - 0.9, seat - 0.15 - rear), 0.9, Material.CARGO, (rear + seat - 0.15) / 2)
    load += maker.end_panel(rear - 0.01, (-0.03, 0.03), 1.0, height - 0.1, Material.TYRE)
    profile = [(seat, 0.5), (front, 0.5), (front, 1.5), (front - 0.2, 2.65), (seat, 2.65)]
    cab = maker.prism(profile, 0.96 * half, [Material.TRUCK] * 5, Material.TRUCK)
    cab += maker.end_panel(front + 0.01, (-0.95, 0.95), 1.45, 2.35, Material.GLASS)
    cab += maker.side_panels(0.97 * half, [(seat + 0.7, front - 0.25)], 1.5, 2.25, Material.GLASS)
    frame = maker.box((1.8, 0.5, length - 0.6), 0.4, Material.TYRE)
    faces = frame + (load + cab if maker.eye[2] > seat else cab + load)
    faces += maker.wheels(half, (rear + 1.1, rear + 2.2, front - 1.1), 0.5)
    return faces + _lamps(maker, length, half, 0.65, 0.9)


def bus(place: Place, camera: Camera, rng: np.random.Generator, instance: int) -> list[Face]:
    """A city bus, 10 to 12 m long and 3 m high."""
    maker = Maker(place, camera, Cls.BUS, instance, rng.random())
    length, half, roof = rng.uniform(10.0, 12.0), 1.25, 3.05
    rear, front = -length / 2, length / 2
    faces = maker.box((2 * half, roof - 0.3, length), 0.3, Material.BUS)
    bays = np.linspace(rear + 0.3, front - 0.3, 7)
    spans = [(a + 0.06, b - 0.06) for a, b in pairwise(bays)]
    faces += maker.side_panels(half * 1.005, spans, 1.35, 2.5, Material.GLASS)
    faces += maker.side_panels(half * 1.008, [(front - 1.5, front - 0.4), (-0.6, 0.7)], 0.4, 2.45, Material.GLASS)
    faces += maker.end_panel(front + 0.01, (-1.12, 1.12), 1.1, 2.55, Material.GLASS)
    faces += maker.end_panel(rear - 0.01, (-1.05, 1.05), 1.6, 2.5, Material.GLASS)
    faces += maker.end_panel(front + 0.02, (-0.8, 0.8), 2.6, 2.9, Material.TYRE)
    faces += maker.end_panel(front + 0.03, (-0.6, 0.5), 2.66, 2.84, Material.HEADLAMP)
    faces += maker.wheels(half * 1.01, (rear + 2.6, front - 2.6), 0.5)
    return faces + _lamps(maker, length, half, 0.7, 0.98)


def tram(place: Place, camera: Camera, rng: np.random.Generator, instance: int) -> list[Face]:
    """A tram of two or three cars on rails, with its current collector on the roof."""
    maker = Maker(place, camera, Cls.TRAIN, instance, rng.random())
    cars, each, half, roof = int(rng.integers(2, 4)), 8.5, 1.2, 3.5
    order = [(index - (cars - 1) / 2) * each for index in range(cars)]
    order.sort(key=lambda ahead: -abs(maker.eye[2] - ahead))
    faces: list[Face] = []
    for ahead in order:
        rear, front = ahead - each / 2 + 0.15, ahead + each / 2 - 0.15
        profile = [(rear, 0.3), (front, 0.3), (front, roof - 0.4)]
        profile += [(front - 0.4, roof), (rear + 0.4, roof), (rear, roof - 0.4)]
        faces += maker.prism(profile, half, [Material.TRAM] * 6, Material.TRAM)
        bays = np.linspace(rear + 0.25, front - 0.25, 5)
        spans = [(a + 0.1, b - 0.1) for a, b in pairwise(bays)]
        faces += maker.side_panels(half * 1.005, spans, 1.4, 2.7, Material.GLASS)
        faces += maker.side_panels(half * 1.005, [(rear, front)], 0.3, 0.62, Material.TYRE)
    nose = cars * each / 2 - 0.13
    for end in (nose, -nose):
        faces += maker.end_panel(end, (-1.0, 1.0), 1.35, 2.75, Material.GLASS)
        faces += maker.end_panel(end * 1.001, (-0.2, 0.2), 0.6, 0.85, Material.HEADLAMP)
        faces += maker.end_panel(end * 1.001, (-0.7, 0.7), 2.84, 3.08, Material.HEADLAMP)
    faces.append(maker.bar((-0.5, roof + 0.45), (0.5, roof + 0.45), 0.08, Material.POLE))
    return faces
