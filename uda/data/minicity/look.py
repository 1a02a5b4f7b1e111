"""How a data set's pictures look: paints, light, air and camera."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from uda.data.minicity.materials import Material

Colour = tuple[float, float, float]
Range = tuple[float, float]


@dataclass(frozen=True)
class Paint:
    """How one material is painted.

    Attributes:
        colours: RGB, 0 to 255; each object has one of them.
        vary: relative spread of brightness between objects.
        coarse: strength of the multi-scale texture (relative standard deviation).
        fine: strength of the grain.
        size: metres that the multi-scale texture spans before it repeats.
        tile: side of paving tiles or bricks in metres, 0 for none.
        joint: relative darkness of the joints between tiles.
    """

    colours: tuple[Colour, ...]
    vary: float = 0.1
    coarse: float = 0.0
    fine: float = 0.0
    size: float = 8.0
    tile: float = 0.0
    joint: float = 0.0


@dataclass(frozen=True)
class Windows:
    """How windows, doors and their surroundings on facades look.

    Attributes:
        glass: colours of panes, dark to reflecting, RGB 0 to 255.
        door: colours of doors.
        frame: brightness of frames and ledges relative to the facade.
        contrast: how much panes differ from the facade, 0 to 1.
        stain: strength of vertical stains.
    """

    glass: tuple[Colour, ...]
    door: tuple[Colour, ...]
    frame: float
    contrast: float
    stain: float


@dataclass(frozen=True)
class Light:
    """Sun, sky light and shadows.

    Attributes:
        ambient: light from everywhere.
        sun: strength of the sun; 0 for an overcast sky.
        sky: extra light on what faces up.
        azimuth: range of the sun's direction in radians, 0 = down the street, pi / 2 = from the right.
        elevation: range of the sun's height in radians.
        cast: range of the darkness of cast shadows, 0 to 1.
        contact: darkness under vehicles, 0 to 1.
        soft: blur of shadows, standard deviation as a part of the image's width.
    """

    ambient: float
    sun: float
    sky: float
    azimuth: Range
    elevation: Range
    cast: Range
    contact: float
    soft: float


@dataclass(frozen=True)
class Air:
    """Sky and haze.

    Attributes:
        zenith, horizon, cloud: colours of the sky, RGB 0 to 255.
        clouds: range of the share of clouds, 0 to 1.
        haze: colour that distance fades to.
        sight: range of the distance in metres at which 63 % have faded.
    """

    zenith: Colour
    horizon: Colour
    cloud: Colour
    clouds: Range
    haze: Colour
    sight: Range


@dataclass(frozen=True)
class Sensor:
    """The camera, or the frame buffer of a game.

    Attributes:
        supersample: whether four samples make a pixel (else one: jagged edges).
        blur: range of the blur's standard deviation in parts of a thousand of the image's width.
        noise: standard deviation of noise at mid-grey, 0 to 255.
        vignette: darkening of the corners, 0 to 1.
        cast: mean factors of red, green, blue.
        cast_spread: standard deviation of these factors over images.
        exposure: range of the brightness factor.
        gamma: exponent on values in [0, 1].
        jpeg: quality of compression, 0 for none.
        dither: amplitude of ordered dithering to 6 bits, 0 for none.
    """

    supersample: bool
    blur: Range
    noise: float
    vignette: float
    cast: Colour
    cast_spread: float
    exposure: Range
    gamma: float
    jpeg: int
    dither: float


@dataclass(frozen=True)
class Look:
    """Everything about appearance; holds nothing about where things stand."""

    paints: Mapping[Material, Paint]
    windows: Windows
    light: Light
    air: Air
    sensor: Sensor
