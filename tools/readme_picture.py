"""The README's picture, from a finished run of mini-city: what the loop does to images, and what the segmenter sees.

python tools/readme_picture.py runs/demo docs/pictures/demo.jpg
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from uda.core.console import Console
from uda.data.label_space import load_space
from uda.data.read import LabelReader
from uda.data.samples import read_samples
from uda.stages.predict import PredictConfig, predict_images

GAP, TITLE = 4, 16
SPACE = load_space("cityscapes19")


def main() -> None:
    """Write the picture of the run given on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="directory of `uda iterate` on mini-city")
    parser.add_argument("picture", type=Path, help="file to write")
    parser.add_argument("--rows", nargs="+", type=int, default=[0, 7, 13], help="which images to show")
    options = parser.parse_args()
    rounds = sorted(options.run.glob("round_*"))
    columns = translated(options.run, rounds[-1], options.rows) | predicted(options.run, rounds[-1], options.rows)
    options.picture.parent.mkdir(parents=True, exist_ok=True)
    sheet(columns).save(options.picture, quality=90)


def translated(run: Path, last: Path, rows: list[int]) -> dict[str, list[Image.Image]]:
    """Labelled game images and their translations."""
    source, made = read_samples(run / "source" / "samples.csv"), read_samples(last / "translate" / "samples.csv")
    return {
        "game (labelled)": [photograph(source[row].image) for row in rows],
        "translated": [photograph(made[row].image) for row in rows],
    }


def predicted(run: Path, last: Path, rows: list[int]) -> dict[str, list[Image.Image]]:
    """Camera images, what both segmenters make of them, and the truth."""
    validation = read_samples(run / "val" / "samples.csv")
    images = [validation[row].image for row in rows]
    columns = {"camera (unlabelled)": [photograph(image) for image in images]}
    for name, directory in (("source only", run / "source_only"), ("adapted", last / "segment")):
        out = last / "picture" / name.replace(" ", "_")
        files = predict_images(PredictConfig(), directory, images, out, Console(quiet=True))
        columns[name] = [colored(np.asarray(Image.open(file))) for file in files]
    labels = LabelReader(validation, SPACE)
    columns["truth"] = [colored(known) for row in rows if (known := labels.read(validation[row])) is not None]
    return columns


def photograph(file: Path) -> Image.Image:
    """An image file in RGB."""
    with Image.open(file) as opened:
        return opened.convert("RGB")


def colored(labels_HW: NDArray[np.uint8]) -> Image.Image:
    """A label map in its classes' colours."""
    return Image.fromarray(SPACE.palette()[labels_HW])


def sheet(columns: dict[str, list[Image.Image]]) -> Image.Image:
    """Images side by side under their titles."""
    width, height = next(iter(columns.values()))[0].size
    rows = len(next(iter(columns.values())))
    page = Image.new("RGB", (len(columns) * (width + GAP) - GAP, TITLE + rows * (height + GAP) - GAP), "white")
    draw = ImageDraw.Draw(page)
    for column, (title, images) in enumerate(columns.items()):
        left = column * (width + GAP)
        draw.text((left + 2, 2), title, fill="black")
        for row, image in enumerate(images):
            page.paste(image.resize((width, height)), (left, TITLE + row * (height + GAP)))
    return page


if __name__ == "__main__":
    main()
