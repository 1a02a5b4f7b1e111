"""What stands along a street: trees, hedges, poles with lamps, signs and traffic lights, bins."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from uda.data.minicity.classes import Cls
from uda.data.minicity.geometry import Camera, Face, Place
from uda.data.minicity.materials import Material
from uda.data.minicity.solids import Flat, Maker, disc, facing


def _upright(place: Place, camera: Camera, cls: Cls, tint: float) -> Maker:
    """A maker of boards that are square to the line of sight."""
    return Maker(replace(place, heading=facing(place.x, place.z, camera)), camera, cls, 0, tint)


def _blob(rng: np.random.Generator, side: float, up: float, radius: float, stretch: float) -> list[Flat]:
    """Outline of a lump of leaves."""
    reach = radius * rng.uniform(0.8, 1.12, 20)
    angles = np.linspace(0, 2 * math.pi, 20, endpoint=False)
    return [(side + r * math.cos(a), up + stretch * r * math.sin(a)) for r, a in zip(reach, angles, strict=True)]


def tree(place: Place, camera: Camera, rng: np.random.Generator, height: float) -> list[Face]:
    """A tree: trunk and a crown of several lumps, darker below and lighter above."""
    maker = _upright(place, camera, Cls.VEGETATION, rng.random())
    clear = rng.uniform(0.26, 0.36) * height
    middle, radius = (height + clear) / 2, (height - clear) / 2
    wide = radius * rng.uniform(0.8, 1.05)
    stretch = radius / wide
    faces = [maker.bar((0, 0), (rng.normal(0, 0.1), middle), 0.035 * height + 0.08, Material.TRUNK)]
    faces.append(maker.board(_blob(rng, 0, middle, wide, stretch), Material.CROWN, 0.8))
    for _ in range(4):
        angle = rng.uniform(0, 2 * math.pi)
        side, up = 0.42 * wide * math.cos(angle), 0.42 * radius * math.sin(angle)
        shade = 0.95 + 0.22 * math.sin(angle) + rng.uniform(-0.06, 0.06)
        faces.append(maker.board(_blob(rng, side, middle + up, 0.55 * wide, stretch), Material.CROWN, shade))
    return faces


def bush(place: Place, camera: Camera, rng: np.random.Generator) -> list[Face]:
    """A bush about a metre high."""
    maker = _upright(place, camera, Cls.VEGETATION, rng.random())
    wide, tall = rng.uniform(0.7, 1.4), rng.uniform(0.45, 0.8)
    lump = _blob(rng, 0, tall, wide, tall / wide)
    top = _blob(rng, 0, tall * 1.15, wide * 0.6, tall / wide)
    return [maker.board(lump, Material.CROWN, 0.85), maker.board(top, Material.CROWN, 1.1)]


def _sign_face(maker: Maker, side: float, up: float, kind: int) -> list[Face]:
    """A round, triangular, rectangular or place-name sign with its field."""
    half = 0.4
    if kind == 0:
        outer, inner = disc(side, up, half), disc(side, up, half * 0.68)
    elif kind == 1:
        outer = [(side - half, up - 0.3), (side + half, up - 0.3), (side, up + half)]
        inner = [(side - 0.22, up - 0.2), (side + 0.22, up - 0.2), (side, up + 0.2)]
    else:
        wide = half if kind == 2 else 2.2 * half
        outer = [(side - wide, up - half), (side + wide, up - half), (side + wide, up + half), (side - wide, up + half)]
        inner = [(s * 0.75 + side * 0.25, u * 0.6 + up * 0.4) for s, u in outer]
    return [maker.board(outer, Material.SIGN), maker.board(inner, Material.SIGN_FIELD)]


def sign_post(place: Place, camera: Camera, rng: np.random.Generator) -> list[Face]:
    """A pole with one or two traffic signs, or a large sign-board on two poles."""
    pole = _upright(place, camera, Cls.POLE, rng.random())
    sign = pole.as_class(Cls.SIGN, 0, rng.random())
    kind, up = int(rng.choice(4, p=(0.3, 0.2, 0.3, 0.2))), rng.uniform(2.2, 2.8)
    posts = (-0.55, 0.55) if kind == 3 else (0.0,)
    faces = [pole.bar((side, 0), (side, up + 0.3), 0.12, Material.POLE) for side in posts]
    faces += _sign_face(sign, 0.0, up, kind)
    if kind != 3 and rng.random() < 0.4:
        faces += _sign_face(replace(sign, tint=rng.random()), 0.0, up - 0.85, int(rng.integers(0, 3)))
    return faces


def _signal_head(maker: Maker, side: float, up: float, state: int) -> list[Face]:
    """The box with three lamps, 1 m high."""
    box = [(side - 0.22, up - 0.5), (side + 0.22, up - 0.5), (side + 0.22, up + 0.5), (side - 0.22, up + 0.5)]
    lit = {0: Material.LAMP_RED, 2: Material.LAMP_GREEN}
    faces = [maker.board(box, Material.LIGHT)]
    for index in range(3):
        material = lit.get(index, Material.LAMP_OFF) if index == state else Material.LAMP_OFF
        faces.append(maker.board(disc(side, up + 0.31 - 0.31 * index, 0.13, 8), material))
    return faces


def traffic_light(place: Place, camera: Camera, rng: np.random.Generator, reach: float) -> list[Face]:
    """A traffic light on its pole; with `reach` metres of arm over the road (towards x = 0) where not 0."""
    pole = _upright(place, camera, Cls.POLE, rng.random())
    light = pole.as_class(Cls.LIGHT, 0, rng.random())
    state = int(rng.choice((0, 2)))
    tall = 5.6 if reach else 3.4
    faces = [pole.bar((0, 0), (0, tall), 0.16, Material.POLE)]
    if reach:
        arm = -math.copysign(reach, place.x)
        faces.append(pole.bar((0, tall - 0.1), (arm, tall), 0.14, Material.POLE))
        faces += _signal_head(light, arm, tall - 0.45, state)
    return faces + _signal_head(light, 0.0, 2.9, state)


def street_lamp(place: Place, camera: Camera, rng: np.random.Generator) -> list[Face]:
    """A lamp post, 6 to 8 m high, its arm over the road."""
    pole = _upright(place, camera, Cls.POLE, rng.random())
    tall, arm = rng.uniform(6.0, 8.0), -math.copysign(rng.uniform(1.0, 2.0), place.x)
    return [
        pole.bar((0, 0), (0, tall), 0.17, Material.POLE),
        pole.bar((0, tall), (arm, tall + 0.25), 0.1, Material.POLE),
        pole.bar((arm, tall + 0.25), (arm * 1.35, tall + 0.2), 0.2, Material.POLE, 1.2),
    ]


def bin_box(place: Place, camera: Camera, rng: np.random.Generator) -> list[Face]:
    """A litter bin or switch box: a static thing of no class."""
    maker = Maker(place, camera, Cls.NONE, 0, rng.random())
    return maker.box((rng.uniform(0.5, 0.9), rng.uniform(0.9, 1.3), 0.5), 0.0, Material.BIN)
