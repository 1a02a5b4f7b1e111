"""What things are made of; a look paints each material in its own way."""

from __future__ import annotations

from enum import IntEnum, auto


class Material(IntEnum):
    """Materials of faces."""

    SKY = 0
    ROAD = auto()
    MARKING = auto()
    PATCH = auto()
    RAIL = auto()
    SIDEWALK = auto()
    KERB = auto()
    GRASS = auto()
    FACADE = auto()
    SHOP = auto()
    ROOF = auto()
    WALL = auto()
    FENCE = auto()
    POLE = auto()
    LIGHT = auto()
    LAMP_RED = auto()
    LAMP_GREEN = auto()
    LAMP_OFF = auto()
    SIGN = auto()
    SIGN_FIELD = auto()
    CROWN = auto()
    TRUNK = auto()
    SKIN = auto()
    HAIR = auto()
    SHIRT = auto()
    TROUSERS = auto()
    CAR = auto()
    GLASS = auto()
    TYRE = auto()
    HUB = auto()
    HEADLAMP = auto()
    TAILLAMP = auto()
    TRUCK = auto()
    CARGO = auto()
    BUS = auto()
    TRAM = auto()
    BICYCLE = auto()
    MOTORCYCLE = auto()
    BIN = auto()
    BONNET = auto()


GROUND = frozenset(
    {Material.ROAD, Material.MARKING, Material.PATCH, Material.RAIL, Material.SIDEWALK, Material.KERB, Material.GRASS}
)
"""Materials that shadows fall on."""
