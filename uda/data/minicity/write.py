"""Writes mini-city to disk in the layouts of GTA5, SYNTHIA-RAND-CITYSCAPES and Cityscapes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from uda.core.errors import ConfigError, nearest
from uda.data.minicity.classes import (
    CITYSCAPES_IDS,
    EGO_ID,
    EGO_INSTANCE,
    STATIC_ID,
    SYNTHIA_IDS,
    label_palette,
    lookup_table,
)
from uda.data.minicity.domains import DOMAINS
from uda.data.minicity.files import write_palette_png, write_png
from uda.data.minicity.layout import sample_layout
from uda.data.minicity.look import Look
from uda.data.minicity.render import Rendering, render

DEFAULT_COUNTS = {"gta5": 400, "synthia": 200, "cityscapes_train": 300, "cityscapes_val": 100}
"""How many images of each part are written where nothing else is said."""

CITIES = {"train": ("lindenau", "mooshafen", "ostertal"), "val": ("birkenfurt",)}
"""Invented cities of the Cityscapes layout."""

SMALLEST = 16
"""Smallest height and width in pixels; below it nothing can be told apart."""

Progress = Callable[[int, int], None]
_Job = Callable[[], None]
"""Draws and writes one image with its label; can be sent to another process."""

_PARTS = tuple(DEFAULT_COUNTS)


def draw(part: str, seed: int, index: int, size: tuple[int, int], look: Look | None = None) -> Rendering:
    """Image `index` of a part; depends on nothing but the arguments.

    Args:
        part: a key of DEFAULT_COUNTS.
        seed: seed of the whole of mini-city.
        index: number of the image within its part.
        size: height and width in pixels.
        look: drawn in this look in place of the part's own.
    """
    domain = DOMAINS[part.partition("_")[0]]
    key = (seed, _PARTS.index(part), index)
    layout = sample_layout(domain.statistics, np.random.default_rng((*key, 0)))
    return render(layout, look or domain.look, size, np.random.default_rng((*key, 1)))


def label_ids(rendering: Rendering) -> NDArray[np.uint8]:
    """Cityscapes label ids (H, W) of a rendering, with ids of their own for the ego vehicle and static things."""
    ids_HW = lookup_table(CITYSCAPES_IDS, STATIC_ID)[rendering.labels_HW]
    ids_HW[rendering.instances_HW == EGO_INSTANCE] = EGO_ID
    return ids_HW


def gta5_numbers(count: int) -> list[int]:
    """Numbers of `count` files of GTA5: from 1, every 40th (from the 13th on) missing as in true copies."""
    numbers = (number for number in range(1, 2 * count + 41) if number % 40 != 13)
    return [number for number, _ in zip(numbers, range(count), strict=False)]


def _gta5_size(index: int, height: int, width: int) -> tuple[int, int]:
    """Size of image `index`: every 8th is a few rows lower, as 1914 x 1046 is to 1914 x 1052."""
    return (height - max(2, round(height * 6 / 1052)), width) if index % 8 == 5 else (height, width)


def _gta5_jobs(out: Path, count: int, seed: int, size: tuple[int, int], look: Look | None = None) -> Iterator[_Job]:
    """A job for each image with its palette label."""
    folders = _folders(out, "images", "labels")
    for index, number in enumerate(gta5_numbers(count)):
        yield partial(_write_gta5, folders, number, index, seed, _gta5_size(index, *size), look)


def _write_gta5(
    folders: tuple[Path, ...], number: int, index: int, seed: int, size: tuple[int, int], look: Look | None
) -> None:
    images, labels = folders
    rendering = draw("gta5", seed, index, size, look)
    write_png(images / f"{number:05d}.png", rendering.image_HWC)
    write_palette_png(labels / f"{number:05d}.png", label_ids(rendering), label_palette())


def _synthia_jobs(out: Path, count: int, seed: int, size: tuple[int, int]) -> Iterator[_Job]:
    """A job for each image with its 16-bit label (class in red, instance in green)."""
    folders = _folders(out, "RGB", "GT/LABELS")
    for index in range(count):
        yield partial(_write_synthia, folders, index, seed, size)


def _write_synthia(folders: tuple[Path, ...], index: int, seed: int, size: tuple[int, int]) -> None:
    images, labels = folders
    rendering = draw("synthia", seed, index, size)
    classes_HW = lookup_table(SYNTHIA_IDS, 0)[rendering.labels_HW].astype(np.uint16)
    label_HW3 = np.stack([classes_HW, rendering.instances_HW, np.zeros_like(classes_HW)], axis=2)
    write_png(images / f"{index:07d}.png", rendering.image_HWC)
    write_png(labels / f"{index:07d}.png", label_HW3)


def _cityscapes_jobs(out: Path, split: str, count: int, seed: int, size: tuple[int, int]) -> Iterator[_Job]:
    """A job for each image of one split with its label ids and train ids, the split's cities in turn."""
    cities = CITIES[split]
    folders = {city: _folders(out, f"leftImg8bit/{split}/{city}", f"gtFine/{split}/{city}") for city in cities}
    for index in range(count):
        city = cities[index % len(cities)]
        stem = f"{city}_{index // len(cities):06d}_000019"
        yield partial(_write_cityscapes, folders[city], stem, split, index, seed, size)


def _write_cityscapes(
    folders: tuple[Path, ...], stem: str, split: str, index: int, seed: int, size: tuple[int, int]
) -> None:
    images, labels = folders
    rendering = draw(f"cityscapes_{split}", seed, index, size)
    write_png(images / f"{stem}_leftImg8bit.png", rendering.image_HWC)
    write_png(labels / f"{stem}_gtFine_labelIds.png", label_ids(rendering))
    write_png(labels / f"{stem}_gtFine_labelTrainIds.png", rendering.labels_HW)


def _folders(out: Path, *names: str) -> tuple[Path, ...]:
    """Makes folders under `out`."""
    made = tuple(out / name for name in names)
    for folder in made:
        folder.mkdir(parents=True, exist_ok=True)
    return made


def write_minicity(
    out: Path,
    *,
    seed: int = 0,
    counts: dict[str, int] | None = None,
    height: int = 128,
    width: int = 256,
    processes: int = 0,
    progress: Progress | None = None,
) -> dict[str, int]:
    """Writes out/gta5, out/synthia and out/cityscapes.

    Args:
        out: the folder to write to; made where it is missing.
        seed: the same seed gives the same bytes.
        counts: numbers of images for some or all keys of DEFAULT_COUNTS; 0 leaves a part out.
        height: rows of an image.
        width: columns of an image.
        processes: that draw; 0 draws in this one. The bytes are the same.
        progress: called after each image with how many are done and how many there are.

    Returns:
        Number of images written of each part.

    Raises:
        ConfigError: an unknown part, or a count, size or seed that is too small.
    """
    wanted = DEFAULT_COUNTS | (counts or {})
    size = (height, width)
    _check(seed, wanted, size)
    parts = {
        "gta5": _gta5_jobs(out / "gta5", wanted["gta5"], seed, size),
        "synthia": _synthia_jobs(out / "synthia", wanted["synthia"], seed, size),
        "cityscapes_train": _cityscapes_jobs(out / "cityscapes", "train", wanted["cityscapes_train"], seed, size),
        "cityscapes_val": _cityscapes_jobs(out / "cityscapes", "val", wanted["cityscapes_val"], seed, size),
    }
    _work([job for part, jobs in parts.items() if wanted[part] for job in jobs], processes, progress)
    return wanted


def write_looks(
    out: Path,
    *,
    seed: int = 0,
    count: int = DEFAULT_COUNTS["gta5"],
    height: int = 128,
    width: int = 256,
    look: str = "cityscapes",
    processes: int = 0,
    progress: Progress | None = None,
) -> int:
    """Writes the streets of `gta5` in another domain's look: same names, same labels as out/gta5 of write_minicity.

    Args:
        out: folder that receives images/ and labels/.
        seed: the seed that write_minicity was given.
        count: number of images.
        height: rows of an image.
        width: columns of an image.
        look: name of the domain whose look is taken.
        processes: that draw; 0 draws in this one.
        progress: called after each image with how many are done and how many there are.

    Returns:
        Number of images written.

    Raises:
        ConfigError: an unknown look, or a count, size or seed that is too small.
    """
    _check(seed, {"gta5": count}, (height, width))
    if look not in DOMAINS:
        raise ConfigError(f"no look '{look}'", "mini-city", nearest(look, DOMAINS))
    _work(list(_gta5_jobs(out, count, seed, (height, width), DOMAINS[look].look)), processes, progress)
    return count


def _check(seed: int, counts: Mapping[str, int], size: tuple[int, int]) -> None:
    """Raises ConfigError for what cannot be drawn."""
    for part, count in counts.items():
        if part not in DEFAULT_COUNTS:
            raise ConfigError(f"no part '{part}'", "mini-city", nearest(part, DEFAULT_COUNTS))
        if count < 0:
            raise ConfigError(f"{count} images of {part}", "mini-city", "count from 0 on")
    if min(size) < SMALLEST:
        raise ConfigError(f"images of {size[0]}x{size[1]} pixels", "mini-city", f"take {SMALLEST} or more each way")
    if seed < 0:
        raise ConfigError(f"seed {seed}", "mini-city", "take 0 or more")


def _work(jobs: Sequence[_Job], processes: int, progress: Progress | None) -> None:
    """Does all jobs, in other processes if there are to be any, and tells `progress` after each."""
    with ExitStack() as stack:
        done: Iterable[None] = map(_do, jobs)
        if processes:
            pool = stack.enter_context(ProcessPoolExecutor(processes, get_context("spawn")))
            done = pool.map(_do, jobs, chunksize=4)
        for count, _ in enumerate(done, 1):
            if progress:
                progress(count, len(jobs))


def _do(job: _Job) -> None:
    job()
