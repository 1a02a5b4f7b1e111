"""Pedestrians, bicycles and motorcycles, with and without riders, as flat figures of about a dozen faces."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from uda.data.minicity.classes import Cls
from uda.data.minicity.geometry import Camera, Face, Place
from uda.data.minicity.materials import Material
from uda.data.minicity.solids import Maker, disc, facing


def _head(maker: Maker, side: float, up: float, *, helmet: bool = False) -> list[Face]:
    """Head of 0.24 m with hair or helmet; (side, up) is its middle."""
    cap = [(side + 0.135 * math.cos(a), up + 0.02 + 0.15 * math.sin(a)) for a in np.linspace(-0.15, math.pi + 0.15, 9)]
    cover = Material.SHIRT if helmet else Material.HAIR
    return [
        maker.bar((side, up - 0.2), (side, up), 0.12, Material.SKIN, 0.85),
        maker.board(disc(side, up, 0.125, 10, 1.2), Material.SKIN),
        maker.board(cap, cover, 0.9),
    ]


def person(place: Place, camera: Camera, rng: np.random.Generator, instance: int) -> list[Face]:
    """A pedestrian, 1.55 to 1.9 m tall, standing or in mid-stride, turned to the camera."""
    turned = replace(place, heading=facing(place.x, place.z, camera))
    maker = Maker(turned, camera, Cls.PERSON, instance, rng.random())
    tall, stride = rng.uniform(1.6, 1.92), rng.uniform(0.0, 0.32)
    hip, neck = 0.5 * tall, 0.83 * tall
    lean, wide = rng.uniform(-0.04, 0.04), rng.uniform(0.2, 0.25)
    faces = [
        maker.bar((-0.09, hip), (-0.09 - stride, 0.03), 0.17, Material.TROUSERS, 0.85),
        maker.bar((0.09, hip), (0.09 + stride * 0.8, 0.03), 0.17, Material.TROUSERS),
        maker.bar((-0.12 - stride, 0.05), (0.02 - stride, 0.05), 0.11, Material.TYRE),
        maker.bar((0.05 + stride * 0.8, 0.05), (0.19 + stride * 0.8, 0.05), 0.11, Material.TYRE),
        maker.bar((-wide + lean, neck - 0.05), (-wide - 0.12 * stride - 0.05, hip - 0.02), 0.11, Material.SHIRT, 0.8),
        maker.bar((wide + lean, neck - 0.05), (wide + 0.5 * stride + 0.05, hip + 0.05), 0.11, Material.SHIRT, 0.85),
    ]
    torso = [(-0.17, hip - 0.08), (0.17, hip - 0.08), (wide + lean, neck - 0.04), (0.08 + lean, neck + 0.02)]
    torso += [(-0.08 + lean, neck + 0.02), (-wide + lean, neck - 0.04)]
    faces.append(maker.board(torso, Material.SHIRT))
    return faces + _head(maker, lean, neck + 0.17)


def _wheel(maker: Maker, side: float, radius: float, hub: Material) -> list[Face]:
    """A wheel seen from its side."""
    return [
        maker.board(disc(side, radius, radius, 14), Material.TYRE),
        maker.board(disc(side, radius, radius * 0.78, 12), hub),
    ]


def _bicycle_side(maker: Maker) -> list[Face]:
    """A bicycle from its side, riding to its own right."""
    frame = Material.BICYCLE
    faces = _wheel(maker, -0.52, 0.35, Material.HUB) + _wheel(maker, 0.52, 0.35, Material.HUB)
    bars = [
        ((-0.52, 0.35), (-0.05, 0.32)), ((-0.05, 0.32), (-0.2, 0.85)), ((-0.17, 0.72), (0.38, 0.78)),
        ((-0.05, 0.32), (0.38, 0.72)), ((-0.52, 0.35), (-0.17, 0.74)), ((0.52, 0.35), (0.36, 1.0)),
    ]  # fmt: skip
    faces += [maker.bar(start, end, 0.085, frame) for start, end in bars]
    faces.append(maker.bar((-0.34, 0.9), (-0.08, 0.9), 0.1, Material.TYRE))
    faces.append(maker.bar((0.3, 1.02), (0.48, 1.0), 0.07, Material.TYRE))
    return faces


def _bicycle_end(maker: Maker) -> list[Face]:
    """A bicycle from the front or the rear."""
    return [
        maker.bar((0.0, 0.0), (0.0, 0.7), 0.1, Material.TYRE),
        maker.bar((0.0, 0.5), (0.0, 1.0), 0.09, Material.BICYCLE),
        maker.bar((-0.28, 1.0), (0.28, 1.0), 0.07, Material.BICYCLE),
        maker.bar((-0.07, 0.62), (0.07, 0.62), 0.09, Material.TAILLAMP),
    ]


def _motorcycle_side(maker: Maker) -> list[Face]:
    """A motorcycle from its side, riding to its own right."""
    faces = _wheel(maker, -0.68, 0.34, Material.HUB) + _wheel(maker, 0.7, 0.34, Material.HUB)
    body = [(-0.75, 0.72), (-0.3, 0.42), (0.3, 0.36), (0.55, 0.62), (0.42, 0.98), (0.1, 0.9)]
    body += [(-0.2, 0.8), (-0.85, 0.88)]
    faces.append(maker.board([(-0.35, 0.2), (0.3, 0.2), (0.35, 0.55), (-0.4, 0.55)], Material.HUB, 0.7))
    faces.append(maker.board(body, Material.MOTORCYCLE))
    faces.append(maker.bar((0.7, 0.34), (0.42, 1.05), 0.1, Material.HUB, 0.8))
    faces.append(maker.bar((-0.75, 0.88), (0.0, 0.85), 0.12, Material.TYRE))
    faces.append(maker.board(disc(0.55, 0.88, 0.1, 8), Material.HEADLAMP))
    return faces


def _motorcycle_end(maker: Maker) -> list[Face]:
    """A motorcycle from the front or the rear."""
    body = [(-0.2, 0.4), (0.2, 0.4), (0.26, 0.8), (0.12, 1.0), (-0.12, 1.0), (-0.26, 0.8)]
    return [
        maker.bar((0.0, 0.0), (0.0, 0.65), 0.18, Material.TYRE),
        maker.board(body, Material.MOTORCYCLE),
        maker.bar((-0.4, 1.02), (0.4, 1.02), 0.07, Material.TYRE),
        maker.bar((-0.1, 0.72), (0.1, 0.72), 0.12, Material.TAILLAMP),
    ]


def _rider_side(maker: Maker, seat: float, reach: float) -> list[Face]:
    """Who rides, from the side: `seat` metres up, hands `reach` metres ahead of the seat."""
    hip, shoulder = (-0.2, seat + 0.06), (0.06, seat + 0.55)
    knee = (0.18, seat - 0.18)
    return [
        maker.bar(hip, knee, 0.17, Material.TROUSERS, 0.9),
        maker.bar(knee, (0.02, max(seat - 0.62, 0.2)), 0.14, Material.TROUSERS),
        maker.bar(hip, shoulder, 0.3, Material.SHIRT),
        maker.bar(shoulder, (reach, seat + 0.16), 0.11, Material.SHIRT, 0.85),
        *_head(maker, 0.14, seat + 0.8, helmet=True),
    ]


def _rider_end(maker: Maker, seat: float) -> list[Face]:
    """Who rides, from the front or the rear."""
    torso = [(-0.17, seat), (0.17, seat), (0.25, seat + 0.48), (0.08, seat + 0.58)]
    torso += [(-0.08, seat + 0.58), (-0.25, seat + 0.48)]
    return [
        maker.bar((-0.13, seat + 0.05), (-0.2, seat - 0.5), 0.15, Material.TROUSERS, 0.85),
        maker.bar((0.13, seat + 0.05), (0.2, seat - 0.4), 0.15, Material.TROUSERS),
        maker.bar((-0.22, seat + 0.45), (-0.3, seat + 0.14), 0.1, Material.SHIRT, 0.8),
        maker.bar((0.22, seat + 0.45), (0.3, seat + 0.14), 0.1, Material.SHIRT, 0.8),
        maker.board(torso, Material.SHIRT),
        *_head(maker, 0.0, seat + 0.74, helmet=True),
    ]


def two_wheeler(
    place: Place, camera: Camera, rng: np.random.Generator, instance: int, *, motor: bool, ridden: bool
) -> list[Face]:
    """A bicycle or motorcycle, parked or with a rider (who is number `instance` + 1).

    Its heading is the direction of travel; where that is nearly the line of sight it is drawn from its end.
    """
    sight = facing(place.x, place.z, camera)
    end_on = abs(math.sin(place.heading - sight)) < 0.45
    heading = sight if end_on else place.heading - math.pi / 2
    cls = Cls.MOTORCYCLE if motor else Cls.BICYCLE
    maker = Maker(replace(place, heading=heading), camera, cls, instance, rng.random())
    if motor:
        faces = _motorcycle_end(maker) if end_on else _motorcycle_side(maker)
    else:
        faces = _bicycle_end(maker) if end_on else _bicycle_side(maker)
    if ridden:
        rider = maker.as_class(Cls.RIDER, instance + 1, rng.random())
        seat = 0.85 if motor else 0.93
        faces += _rider_end(rider, seat) if end_on else _rider_side(rider, seat, 0.38)
    return faces
