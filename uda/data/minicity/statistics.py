"""How often things stand in the streets of each data set, and how its camera is mounted."""

from __future__ import annotations

from dataclasses import dataclass

Range = tuple[float, float]


@dataclass(frozen=True)
class SceneStatistics:
    """Frequencies of a data set's street scenes; ranges are uniform, means are of Poisson counts.

    Attributes:
        camera_height: metres above the ground.
        camera_pitch: radians, positive looks down.
        camera_yaw: radians.
        focal: focal length as a part of the image's width.
        lanes: weights of 1, 2, 3 lanes to each direction.
        parking: probability of a parking lane, per side.
        sidewalk: width of the sidewalks in metres.
        verge: probability of a grass verge between sidewalk and road, per side.
        frontage: weights of building, wall, fence and park along the street.
        storeys: number of storeys of buildings.
        junction: probability of a crossing street.
        grass: whether there is terrain (else parks are paved).
        trees: mean number of trees per 100 m and side.
        parked: probability that a parking place is taken.
        cars: mean number of cars on the road.
        trucks, buses, trams: mean numbers of these.
        persons, riders: mean numbers; of the riders `motor_share` ride motorcycles.
        bicycles, motorcycles: mean numbers of parked ones.
        motor_share: part of riders on motorcycles.
        lamps, signs, lights: mean numbers of lamp posts, sign posts, traffic lights.
        rail_fence: probability of a fence between sidewalk and road, per side.
        bins: mean number of static things of no class.
        ego: whether the bonnet of the camera's own vehicle is seen.
    """

    camera_height: Range
    camera_pitch: Range
    camera_yaw: Range
    focal: Range
    lanes: tuple[float, float, float]
    parking: float
    sidewalk: Range
    verge: float
    frontage: tuple[float, float, float, float]
    storeys: tuple[int, int]
    junction: float
    grass: bool
    trees: float
    parked: float
    cars: float
    trucks: float
    buses: float
    trams: float
    persons: float
    riders: float
    bicycles: float
    motorcycles: float
    motor_share: float
    lamps: float
    signs: float
    lights: float
    rail_fence: float
    bins: float
    ego: bool


GTA5_STATISTICS = SceneStatistics(
    camera_height=(1.5, 2.1), camera_pitch=(-0.02, 0.05), camera_yaw=(-0.16, 0.16), focal=(0.75, 0.95),
    lanes=(0.4, 0.4, 0.2), parking=0.5, sidewalk=(2.5, 5.0), verge=0.4, frontage=(0.6, 0.13, 0.12, 0.15),
    storeys=(2, 6), junction=0.5, grass=True, trees=3.5, parked=0.35, cars=4.5, trucks=0.55, buses=0.3, trams=0.22,
    persons=5.0, riders=0.9, bicycles=0.7, motorcycles=0.6, motor_share=0.5, lamps=3.5, signs=2.6, lights=1.6,
    rail_fence=0.12, bins=0.8, ego=False,
)  # fmt: skip
"""Wide American streets, more lorries and motorcycles, a free camera."""

SYNTHIA_STATISTICS = SceneStatistics(
    camera_height=(1.4, 5.0), camera_pitch=(-0.02, 0.2), camera_yaw=(-0.35, 0.35), focal=(0.7, 1.0),
    lanes=(0.4, 0.4, 0.2), parking=0.4, sidewalk=(3.5, 6.5), verge=0.0, frontage=(0.72, 0.06, 0.08, 0.14),
    storeys=(2, 6), junction=0.4, grass=False, trees=3.0, parked=0.3, cars=4.0, trucks=0.0, buses=0.4, trams=0.0,
    persons=12.0, riders=1.6, bicycles=0.7, motorcycles=0.5, motor_share=0.4, lamps=4.0, signs=2.0, lights=1.6,
    rail_fence=0.12, bins=0.8, ego=False,
)  # fmt: skip
"""Crowded pavements seen from varied viewpoints; no terrain, trucks or trains."""

CITYSCAPES_STATISTICS = SceneStatistics(
    camera_height=(1.15, 1.3), camera_pitch=(0.0, 0.04), camera_yaw=(-0.1, 0.1), focal=(0.92, 1.0),
    lanes=(0.65, 0.3, 0.05), parking=0.75, sidewalk=(1.8, 3.6), verge=0.2, frontage=(0.72, 0.07, 0.09, 0.12),
    storeys=(3, 6), junction=0.5, grass=True, trees=4.5, parked=0.55, cars=4.0, trucks=0.25, buses=0.3, trams=0.25,
    persons=6.0, riders=1.3, bicycles=1.6, motorcycles=0.4, motor_share=0.2, lamps=3.0, signs=3.2, lights=1.6,
    rail_fence=0.1, bins=0.8, ego=True,
)  # fmt: skip
"""Narrow European streets with parked cars and bicycles, from behind a windscreen at 1.2 m."""
