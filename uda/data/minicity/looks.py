"""The three looks: a sunny saturated game, a paler game with varied light, and a camera behind a windscreen."""

from __future__ import annotations

import math

from uda.data.minicity.look import Air, Light, Look, Paint, Sensor, Windows
from uda.data.minicity.materials import Material

_GTA5_PAINTS: dict[Material, Paint] = {
    Material.SKY: Paint(((110, 160, 230),)),
    Material.ROAD: Paint(((66, 70, 84), (74, 76, 88)), 0.08, 0.03, 0.03),
    Material.MARKING: Paint(((240, 240, 232), (244, 214, 96)), 0.03),
    Material.PATCH: Paint(((58, 62, 76),), 0.06, 0.02),
    Material.RAIL: Paint(((130, 130, 140),)),
    Material.SIDEWALK: Paint(
        ((186, 176, 160), (174, 168, 158), (190, 182, 172)), 0.06, 0.02, 0.02, tile=1.2, joint=0.3
    ),
    Material.KERB: Paint(((214, 208, 198),), 0.04),
    Material.GRASS: Paint(((96, 164, 52), (108, 172, 60)), 0.06, 0.06, 0.06),
    Material.FACADE: Paint(
        ((214, 168, 118), (192, 104, 82), (226, 208, 160), (150, 172, 196), (220, 214, 206), (196, 140, 100)),
        0.1,
        0.02,
        0.02,
        tile=0.6,
        joint=0.12,
    ),
    Material.SHOP: Paint(((176, 60, 48), (52, 96, 150), (60, 130, 90), (220, 190, 120)), 0.1),
    Material.ROOF: Paint(((168, 84, 58), (96, 78, 72)), 0.08, 0.02, tile=0.5, joint=0.2),
    Material.WALL: Paint(((204, 190, 166), (190, 150, 120)), 0.08, 0.02, 0.02, tile=0.6, joint=0.22),
    Material.FENCE: Paint(((120, 84, 54), (150, 156, 164), (70, 74, 78)), 0.08),
    Material.POLE: Paint(((120, 124, 130), (84, 90, 96)), 0.06),
    Material.LIGHT: Paint(((44, 46, 44), (212, 168, 40)), 0.05),
    Material.LAMP_RED: Paint(((255, 50, 30),)),
    Material.LAMP_GREEN: Paint(((40, 255, 120),)),
    Material.LAMP_OFF: Paint(((40, 36, 34),)),
    Material.SIGN: Paint(((214, 30, 34), (30, 90, 200), (240, 200, 30), (24, 130, 70)), 0.04),
    Material.SIGN_FIELD: Paint(((246, 246, 240),), 0.03),
    Material.CROWN: Paint(((62, 142, 40), (82, 156, 46), (48, 124, 44)), 0.08, 0.09, 0.08, size=3.0),
    Material.TRUNK: Paint(((120, 84, 54),), 0.08, 0.06),
    Material.SKIN: Paint(((236, 190, 156), (150, 100, 70), (206, 152, 118)), 0.05),
    Material.HAIR: Paint(((60, 40, 26), (30, 24, 22), (190, 150, 80)), 0.1),
    Material.SHIRT: Paint(((220, 50, 50), (240, 240, 240), (50, 110, 210), (250, 200, 60), (60, 170, 110)), 0.1),
    Material.TROUSERS: Paint(((50, 66, 120), (60, 60, 64), (170, 140, 100)), 0.1),
    Material.CAR: Paint(
        ((206, 32, 34), (30, 80, 190), (236, 236, 236), (240, 186, 30), (40, 44, 50), (170, 178, 188), (34, 130, 80)),
        0.08,
    ),
    Material.GLASS: Paint(((66, 92, 122),), 0.1),
    Material.TYRE: Paint(((28, 28, 30),), 0.1),
    Material.HUB: Paint(((168, 172, 178),), 0.1),
    Material.HEADLAMP: Paint(((250, 248, 226),), 0.03),
    Material.TAILLAMP: Paint(((220, 24, 20),), 0.03),
    Material.TRUCK: Paint(((230, 120, 30), (40, 90, 180), (236, 236, 236), (190, 30, 30)), 0.08),
    Material.CARGO: Paint(((240, 240, 240), (214, 190, 120), (90, 150, 200)), 0.06, 0.01),
    Material.BUS: Paint(((240, 190, 30), (230, 120, 40), (60, 130, 210)), 0.06),
    Material.TRAM: Paint(((60, 150, 190), (200, 60, 60), (230, 226, 210)), 0.06),
    Material.BICYCLE: Paint(((210, 40, 40), (40, 120, 210), (240, 240, 240)), 0.08),
    Material.MOTORCYCLE: Paint(((190, 30, 30), (40, 40, 44), (40, 90, 190)), 0.08),
    Material.BIN: Paint(((60, 96, 70), (110, 114, 120)), 0.08),
    Material.BONNET: Paint(((30, 30, 34),)),
}

GTA5_LOOK = Look(
    paints=_GTA5_PAINTS,
    windows=Windows(
        glass=((60, 86, 120), (84, 120, 160), (44, 60, 88), (150, 186, 216)),
        door=((120, 60, 40), (50, 80, 110)),
        frame=1.25, contrast=0.92, stain=0.0,
    ),
    light=Light(
        ambient=0.52, sun=0.5, sky=0.08, azimuth=(-2.3, -0.7),
        elevation=(0.6, 0.95), cast=(0.4, 0.5), contact=0.5, soft=0.0
    ),
    air=Air((60, 118, 214), (176, 206, 240), (250, 250, 252), (0.2, 0.5), (176, 200, 230), (500, 900)),
    sensor=Sensor(False, (0, 0), 0.0, 0.0, (1, 1, 1), 0.02, (0.92, 1.08), 0.95, 0, 4.0),
)  # fmt: skip
"""Sunny and saturated: crisp markings on dark blue asphalt, tiled pavements, hard shadows, jagged edges."""

_SYNTHIA_PAINTS: dict[Material, Paint] = _GTA5_PAINTS | {
    Material.ROAD: Paint(((104, 98, 96), (92, 90, 92)), 0.08, 0.05, 0.02, tile=4.0, joint=0.15),
    Material.PATCH: Paint(((84, 80, 80),), 0.06, 0.02),
    Material.SIDEWALK: Paint(
        ((158, 128, 112), (150, 140, 136), (170, 150, 128)), 0.08, 0.03, 0.02, tile=0.8, joint=0.4
    ),
    Material.KERB: Paint(((184, 180, 176),), 0.04),
    Material.FACADE: Paint(
        ((170, 110, 92), (196, 180, 150), (140, 132, 140), (186, 140, 110), (206, 196, 188)),
        0.12,
        0.04,
        0.02,
        tile=0.4,
        joint=0.3,
    ),
    Material.WALL: Paint(((160, 120, 100), (176, 168, 156)), 0.08, 0.03, 0.02, tile=0.4, joint=0.35),
    Material.CROWN: Paint(((56, 110, 30), (84, 124, 34), (110, 120, 40)), 0.12, 0.2, 0.2, size=2.0),
    Material.CAR: Paint(((190, 186, 180), (150, 26, 30), (50, 60, 110), (30, 30, 32), (120, 130, 70)), 0.1),
    Material.SHIRT: Paint(((150, 60, 60), (200, 200, 196), (60, 80, 140), (90, 90, 60), (40, 40, 44)), 0.12),
}

SYNTHIA_LOOK = Look(
    paints=_SYNTHIA_PAINTS,
    windows=Windows(
        glass=((40, 44, 52), (130, 150, 160), (70, 76, 84)), door=((80, 50, 36), (60, 64, 60)),
        frame=0.7, contrast=0.85, stain=0.02,
    ),
    light=Light(
        ambient=0.5, sun=0.36, sky=0.16, azimuth=(-math.pi, math.pi),
        elevation=(0.4, 1.2), cast=(0.0, 0.4), contact=0.35, soft=0.002
    ),
    air=Air((120, 156, 196), (206, 214, 220), (236, 236, 236), (0.3, 0.8), (190, 196, 204), (260, 600)),
    sensor=Sensor(True, (0.5, 1.5), 2.0, 0.0, (1.02, 1.0, 0.97), 0.04, (0.75, 1.15), 1.05, 0, 0.0),
)  # fmt: skip
"""Another engine: bricks and large slabs, mottled trees, light that changes with the season."""

_CAMERA_PAINTS: dict[Material, Paint] = {
    Material.SKY: Paint(((226, 228, 228),)),
    Material.ROAD: Paint(((124, 122, 118), (112, 112, 110), (134, 130, 124)), 0.12, 0.13, 0.1, size=14.0),
    Material.MARKING: Paint(((172, 172, 166), (160, 160, 156)), 0.1, 0.16, 0.1, size=5.0),
    Material.PATCH: Paint(((76, 76, 76), (92, 92, 90)), 0.14, 0.1, 0.1),
    Material.RAIL: Paint(((84, 80, 76),)),
    Material.SIDEWALK: Paint(
        ((128, 122, 114), (116, 114, 112), (136, 128, 116)),
        0.12, 0.14, 0.14, size=6.0, tile=0.4, joint=0.12,
    ),
    Material.KERB: Paint(((140, 138, 132),), 0.1, 0.1, 0.1),
    Material.GRASS: Paint(((92, 96, 62), (104, 100, 70), (84, 92, 58)), 0.14, 0.18, 0.22, size=5.0),
    Material.FACADE: Paint(
        ((142, 138, 130), (120, 114, 108), (160, 154, 144), (134, 122, 110), (108, 106, 106), (170, 166, 158)),
        0.16, 0.07, 0.05, size=12.0,
    ),
    Material.SHOP: Paint(((70, 66, 64), (96, 84, 76), (84, 90, 96)), 0.2, 0.06, 0.04),
    Material.ROOF: Paint(((98, 80, 72), (76, 74, 76)), 0.14, 0.1, 0.08),
    Material.WALL: Paint(((118, 112, 104), (104, 96, 88), (130, 122, 112)), 0.14, 0.14, 0.1, size=5.0),
    Material.FENCE: Paint(((78, 76, 72), (96, 94, 90), (66, 70, 66)), 0.14, 0.08, 0.08),
    Material.POLE: Paint(((98, 98, 96), (80, 82, 82), (112, 110, 106)), 0.12, 0.05),
    Material.LIGHT: Paint(((38, 40, 38), (48, 52, 46)), 0.1),
    Material.LAMP_RED: Paint(((240, 90, 70),)),
    Material.LAMP_GREEN: Paint(((110, 230, 170),)),
    Material.LAMP_OFF: Paint(((26, 24, 24),)),
    Material.SIGN: Paint(((166, 56, 52), (56, 84, 140), (182, 156, 70), (150, 58, 54)), 0.12, 0.04),
    Material.SIGN_FIELD: Paint(((190, 188, 182), (176, 176, 172)), 0.08, 0.04),
    Material.CROWN: Paint(((66, 70, 50), (78, 76, 56), (58, 64, 48), (88, 82, 60)), 0.16, 0.3, 0.4, size=4.0),
    Material.TRUNK: Paint(((70, 62, 54),), 0.14, 0.16, 0.1),
    Material.SKIN: Paint(((186, 148, 124), (128, 92, 72), (170, 130, 108)), 0.1),
    Material.HAIR: Paint(((50, 42, 36), (36, 32, 30), (120, 100, 76)), 0.14),
    Material.SHIRT: Paint(
        ((48, 50, 58), (70, 66, 64), (120, 56, 54), (88, 94, 104), (140, 136, 128), (40, 40, 42)),
        0.18, 0.05, 0.06,
    ),
    Material.TROUSERS: Paint(((46, 52, 68), (40, 40, 42), (82, 76, 68)), 0.16, 0.04, 0.06),
    Material.CAR: Paint(
        ((38, 40, 44), (64, 66, 70), (112, 114, 116), (34, 38, 54), (92, 34, 34), (150, 150, 150), (50, 50, 52)),
        0.14, 0.05, 0.02,
    ),
    Material.GLASS: Paint(((44, 48, 50), (88, 94, 96), (58, 62, 64)), 0.2, 0.12),
    Material.TYRE: Paint(((30, 30, 30),), 0.14),
    Material.HUB: Paint(((96, 96, 96),), 0.2),
    Material.HEADLAMP: Paint(((200, 200, 196),), 0.1),
    Material.TAILLAMP: Paint(((130, 36, 34),), 0.14),
    Material.TRUCK: Paint(((132, 132, 130), (70, 76, 92), (118, 60, 50)), 0.14, 0.06, 0.03),
    Material.CARGO: Paint(((166, 164, 158), (136, 134, 128), (96, 100, 104)), 0.12, 0.08, 0.03),
    Material.BUS: Paint(((150, 140, 96), (146, 70, 56), (150, 150, 148)), 0.1, 0.05, 0.02),
    Material.TRAM: Paint(((150, 128, 78), (104, 110, 112), (128, 62, 56)), 0.1, 0.05, 0.02),
    Material.BICYCLE: Paint(((60, 60, 62), (90, 44, 42), (110, 110, 110)), 0.14),
    Material.MOTORCYCLE: Paint(((44, 44, 46), (86, 40, 38), (70, 72, 78)), 0.14),
    Material.BIN: Paint(((70, 74, 70), (92, 90, 86)), 0.14, 0.06),
    Material.BONNET: Paint(((56, 58, 60),), 0.1),
}  # fmt: skip

CITYSCAPES_LOOK = Look(
    paints=_CAMERA_PAINTS,
    windows=Windows(
        glass=((62, 64, 66), (84, 86, 86), (120, 122, 120), (50, 52, 54)), door=((66, 58, 52), (84, 82, 80)),
        frame=1.06, contrast=0.62, stain=0.1,
    ),
    light=Light(
        ambient=0.66, sun=0.3, sky=0.12, azimuth=(-math.pi, math.pi),
        elevation=(0.35, 0.9), cast=(0.2, 0.6), contact=0.6, soft=0.006
    ),
    air=Air((214, 218, 220), (232, 232, 228), (242, 242, 240), (0.3, 0.9), (190, 190, 186), (110, 260)),
    sensor=Sensor(True, (2.0, 4.0), 5.0, 0.3, (0.96, 1.02, 0.97), 0.03, (0.8, 1.15), 1.0, 80, 0.0),
)  # fmt: skip
"""A hazy day in Germany: grey textured asphalt like its pavement, dark cars and trees, soft shadows, noise."""
