"""Mini-city's scenes: what is in the streets, labels that fit the picture, and how both looks differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from uda.data.minicity import DEFAULT_COUNTS, DOMAINS, Layout, sample_layout
from uda.data.minicity.classes import CITYSCAPES_IDS, EGO_INSTANCE, Cls
from uda.data.minicity.geometry import Camera, Place, inverse_homographies, project_polygons
from uda.data.minicity.materials import Material
from uda.data.minicity.render import Rendering
from uda.data.minicity.scene import Extent, painters_order
from uda.data.minicity.sensor import develop
from uda.data.minicity.vehicles import car
from uda.data.minicity.write import draw, label_ids

Scenes = dict[str, list[Rendering]]

PARTS = tuple(DEFAULT_COUNTS)
THINGS = (Cls.PERSON, Cls.RIDER, Cls.CAR, Cls.TRUCK, Cls.BUS, Cls.TRAIN, Cls.MOTORCYCLE, Cls.BICYCLE)
SKY_DEPTH = 1e4
"""Metres, for whatever has no depth of its own."""


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    """40 renderings of 64 x 128 pixels of each part."""
    return {part: [draw(part, 0, index, (64, 128)) for index in range(40)] for part in PARTS}


# What is in the streets


def _shares(renderings: Sequence[Rendering]) -> NDArray[np.float64]:
    labels = np.stack([one.labels_HW for one in renderings])
    return np.bincount(labels.ravel(), minlength=256) / labels.size


@pytest.mark.parametrize("part", PARTS)
def test_all_classes_occur_and_about_a_dozen_in_a_typical_image(part: str, scenes: Scenes) -> None:
    absent = {Cls.TERRAIN, Cls.TRUCK, Cls.TRAIN} if part == "synthia" else set()
    found = {Cls(int(value)) for one in scenes[part] for value in np.unique(one.labels_HW)}
    assert found == set(Cls) - absent
    numbers = [len(set(np.unique(one.labels_HW)) - {255}) for one in scenes[part]]
    assert 11 <= np.median(numbers) <= 14 and min(numbers) >= 6


@pytest.mark.parametrize("part", PARTS)
def test_classes_are_as_large_as_in_streets(part: str, scenes: Scenes) -> None:
    share = _shares(scenes[part])
    large = share[[Cls.ROAD, Cls.BUILDING, Cls.VEGETATION, Cls.SKY, Cls.CAR]]
    assert large.min() > 0.05 and 0.2 < share[Cls.ROAD] < 0.45
    if part != "synthia":  # its high cameras and wide pavements show more of the houses than of the road
        assert share[:19].argmax() == Cls.ROAD
    for small in (Cls.POLE, Cls.LIGHT, Cls.SIGN, Cls.RIDER, Cls.MOTORCYCLE, Cls.BICYCLE):
        assert 0.0002 < share[small] < 0.03
    assert share[Cls.LIGHT] < share[Cls.POLE] and share[Cls.RIDER] < share[Cls.PERSON] < share[Cls.CAR]


def test_domains_share_their_streets_and_differ_in_camera_and_crowd(scenes: Scenes) -> None:
    rows = {}
    for part in ("gta5", "cityscapes_train"):
        labels = np.stack([one.labels_HW for one in scenes[part]])
        rows[part] = np.stack([(labels == c).mean((0, 2)) for c in range(19)], 1)
    assert np.corrcoef(rows["gta5"].ravel(), rows["cityscapes_train"].ravel())[0, 1] > 0.85
    game, camera = _shares(scenes["gta5"]), _shares(scenes["cityscapes_train"])
    for cls, times in ((Cls.SKY, 1.5), (Cls.SIDEWALK, 2), (Cls.TERRAIN, 1.5), (Cls.TRUCK, 1.5)):
        assert game[cls] > times * camera[cls]
    assert camera[Cls.CAR] > 1.5 * game[Cls.CAR] and camera[255] > 0.03 > game[255]
    heights = {
        name: [sample_layout(DOMAINS[name].statistics, np.random.default_rng(seed)).camera.height for seed in range(12)]
        for name in ("gta5", "cityscapes")
    }
    assert max(heights["cityscapes"]) <= 1.3 < 1.5 <= min(heights["gta5"])


def test_train_and_val_are_other_streets_and_no_street_comes_twice(scenes: Scenes) -> None:
    every = [one.labels_HW.tobytes() for part in PARTS for one in scenes[part]]
    assert len(set(every)) == len(every)


# Label and picture


@settings(max_examples=30)
@given(
    part=st.sampled_from(PARTS),
    seed=st.integers(0, 2**70),
    index=st.integers(0, 10**7),
    height=st.integers(16, 75),
    width=st.integers(16, 150),
)
def test_any_scene_has_whole_arrays_of_known_values_and_labels_free_of_the_look(
    part: str, seed: int, index: int, height: int, width: int
) -> None:
    looks = [draw(part, seed, index, (height, width), domain.look) for domain in DOMAINS.values()]
    for one in looks:
        assert one.image_HWC.shape == (height, width, 3) and one.image_HWC.dtype == np.uint8
        assert one.labels_HW.shape == one.instances_HW.shape == (height, width)
        assert one.labels_HW.dtype == np.uint8 and one.instances_HW.dtype == np.uint16
        assert np.isin(one.labels_HW, (*range(19), 255)).all()
        assert np.array_equal(one.labels_HW, looks[0].labels_HW)
        assert np.array_equal(one.instances_HW, looks[0].instances_HW)
    things = np.isin(looks[0].labels_HW, THINGS)
    assert np.array_equal(looks[0].instances_HW % EGO_INSTANCE > 0, things)
    assert set(np.unique(label_ids(looks[0]))) <= {*CITYSCAPES_IDS, 1, 4}


@pytest.mark.parametrize("look", ["gta5", "synthia", "cityscapes"])
def test_edges_of_the_labels_lie_on_edges_of_the_picture(look: str) -> None:
    scores = np.zeros((5, 5))
    for index in range(8):
        one = draw("gta5", 0, index, (96, 192), DOMAINS[look].look)
        grey = cv2.cvtColor(one.image_HWC, cv2.COLOR_RGB2GRAY).astype(np.float32)
        edges = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
        labels = one.labels_HW.astype(np.float32)
        borders = np.hypot(cv2.Sobel(labels, cv2.CV_32F, 1, 0), cv2.Sobel(labels, cv2.CV_32F, 0, 1)) > 0
        for dy in range(-2, 3):
            for dx in range(-2, 3):
                scores[dy + 2, dx + 2] += edges[2:-2, 2:-2][np.roll(borders, (dy, dx), (0, 1))[2:-2, 2:-2]].mean()
    assert scores.argmax() == 12  # no shift


def _excess_depth(layout: Layout, height: int, width: int) -> NDArray[np.float64]:
    """Metres by which what is shown at each pixel lies behind the nearest thing there, by a depth buffer.

    0 where a tree is shown: crowns that reach into a house are shown whole, on purpose.
    """
    ids = np.zeros((height, width), np.int32)
    near = np.full((height, width), SKY_DEPTH)
    depths = np.full((len(layout.faces) + 1, height, width), SKY_DEPTH, np.float32)
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    inverse = inverse_homographies(layout.faces, layout.camera, height, width)
    polygons = project_polygons([face.points for face in layout.faces], layout.camera, height, width)
    for number, (face, pixels) in enumerate(zip(layout.faces, polygons, strict=True), 1):
        if pixels is None:
            continue
        cv2.fillPoly(ids, [pixels], number)
        if face.cls in (Cls.ROAD, Cls.SIDEWALK, Cls.TERRAIN):
            continue
        a, b, c = inverse[number - 1, 2]
        depths[number] = 1 / np.clip(a * x + b * y + c, 1e-4, 2)
        inner = cv2.erode(cv2.fillPoly(np.zeros((height, width), np.uint8), [pixels], 1), np.ones((3, 3), np.uint8)) > 0
        near[inner] = np.minimum(near, depths[number])[inner]
    shown = np.take_along_axis(depths, ids[None], 0)[0]
    trees = np.array([False, *(face.cls == Cls.VEGETATION for face in layout.faces)])[ids]
    return np.where((near < SKY_DEPTH) & ~trees, shown - near, 0)


@pytest.mark.parametrize("name", sorted(DOMAINS))
def test_what_is_near_hides_what_is_far(name: str) -> None:
    streets = [sample_layout(DOMAINS[name].statistics, np.random.default_rng((0, seed))) for seed in range(10)]
    excess = np.stack([_excess_depth(street, 64, 128) for street in streets])
    assert (excess > 0.5).mean() < 0.001


def test_a_tree_before_a_house_is_painted_after_it() -> None:
    house, tree, car_behind = Extent(6, 18, 5, 20), Extent(3.5, 7.5, 16, 17), Extent(2, 4, 30, 34)
    order = painters_order([tree, house, car_behind])
    assert order.index(1) < order.index(0) and order[0] == 2
    assert painters_order([house, tree]) == [0, 1] and painters_order([]) == []


def test_nothing_is_seen_through_a_car() -> None:
    for seed in range(200):  # a slit would show from few heights only
        rng = np.random.default_rng(seed)
        camera = Camera(height=rng.uniform(1.15, 1.4), pitch=0.0, yaw=0.0, focal=0.95)
        faces = car(Place(rng.uniform(-3, 3), rng.uniform(6, 9), rng.choice((0.0, np.pi))), camera, rng, 1)
        canvas = np.zeros((384, 768), np.uint8)
        for pixels in project_polygons([face.points for face in faces], camera, *canvas.shape):
            if pixels is not None:
                cv2.fillPoly(canvas, [pixels], 1)
        mask = canvas[::2, ::2] > 0
        assert mask.any() and (~mask[1:-1] & mask[:-2] & mask[2:]).sum() <= 3


def test_no_kerb_runs_across_a_road() -> None:
    for seed in range(30):
        layout = sample_layout(DOMAINS["gta5"].statistics, np.random.default_rng(seed))
        ground = [face for face in layout.faces if face.material in (Material.ROAD, Material.KERB)]
        road = next(face for face in ground if face.cls == Cls.ROAD)
        left, right = (road.points[corner][0] for corner in (0, 1))
        for face in ground:
            if face.material == Material.KERB:
                start, end = sorted((face.points[0][0], face.points[1][0]))
                assert end <= left or start >= right


# How it looks


def _lab(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    lab: NDArray[np.float32] = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    return lab


def _sharpness(image: NDArray[np.uint8]) -> float:
    return float(cv2.Laplacian(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32), cv2.CV_32F).var())


def test_the_game_is_bright_saturated_and_sharp_and_the_camera_grey_soft_and_noisy(scenes: Scenes) -> None:
    game, camera = (np.stack([one.image_HWC for one in scenes[part]]) for part in ("gta5", "cityscapes_train"))
    labs = [np.stack([_lab(image) for image in images]) for images in (game, camera)]
    assert np.linalg.norm(labs[0].mean((0, 1, 2)) - labs[1].mean((0, 1, 2))) > 5
    chroma = [np.linalg.norm(lab[..., 1:], axis=-1).mean() for lab in labs]
    assert chroma[0] > 2 * chroma[1]
    streets = [
        (draw("gta5", 0, i, (64, 128)), draw("gta5", 0, i, (64, 128), DOMAINS["cityscapes"].look)) for i in range(8)
    ]
    assert all(_sharpness(one.image_HWC) > 3 * _sharpness(other.image_HWC) for one, other in streets)


def test_the_camera_adds_noise_and_the_game_counts_in_steps_of_four() -> None:
    grey = np.full((128, 256, 3), 120, np.float32)
    sensor = DOMAINS["cityscapes"].look.sensor
    noisy, clean = (develop(grey, replace(sensor, noise=noise), np.random.default_rng(0)) for noise in (5.0, 0.0))
    assert noisy.shape == (64, 128, 3) and 2 < (noisy.astype(float) - clean).std() < 8
    steps = np.unique(draw("gta5", 0, 0, (64, 128)).image_HWC)
    assert len(steps) > 40 and not (steps[steps < 255] % 4).any()


def test_synthia_is_seen_from_many_heights_in_many_lights(scenes: Scenes) -> None:
    heights = [sample_layout(DOMAINS["synthia"].statistics, np.random.default_rng(i)).camera.height for i in range(20)]
    assert max(heights) - min(heights) > 2
    light = {part: np.std([one.image_HWC.mean() for one in scenes[part]]) for part in ("gta5", "synthia")}
    assert light["synthia"] > 1.2 * light["gta5"]
