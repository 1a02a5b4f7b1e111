"""`uda predict`: label maps and overlays for any images; `Predictor`: the same from one's own code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from uda.core.config import Config, Size
from uda.core.console import Console
from uda.core.errors import ConfigError, DataError
from uda.core.lazy import lazy_import
from uda.core.training import RuntimeConfig
from uda.core.walk import walk
from uda.data.label_space import load_space
from uda.data.read import Interpolation, read_image, read_size, resize_image, write_image, write_label
from uda.data.samples import Sample
from uda.stages._files import trained_size, unique_names

if TYPE_CHECKING:
    import torch

    from uda.data import dataset
    from uda.engine import inference, runtime
    from uda.nets.segmenter import SegmenterNetwork
    from uda.segmenters import _store as store
else:
    torch = lazy_import("torch")
    dataset = lazy_import("uda.data.dataset")
    inference = lazy_import("uda.engine.inference")
    runtime = lazy_import("uda.engine.runtime")
    store = lazy_import("uda.segmenters._store")

_RESULTS = (".png", "_overlay.png")
"""How the names of an image's label map and overlay end."""
_ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}


class PredictConfig(Config):
    """Settings of `uda predict`."""

    size: Size | None = None
    """Height and width that images are resized to; None: the size that the segmenter was trained at."""
    opacity: float = Field(default=0.5, ge=0, le=1)
    """How much of the class colours an overlay shows."""
    interpolation: Interpolation = "bicubic"
    """How images are resized."""
    runtime: RuntimeConfig = RuntimeConfig()
    """Device, precision, workers."""


class Predictor:
    """A fitted segmenter, to be called with images: `uda.load_segmenter` gives one.

    Args:
        directory: what `uda segment` wrote.
        device: auto, cpu, cuda or cuda:N.
        size: height and width that images are resized to; None: the size that the segmenter was trained at, and each
            image's own where that is not known.

    Attributes:
        classes: names of the classes, in the order of their indices.
        size: as above.
        network: a `torch.nn.Module`, on the device and in eval mode: images_BCHW float RGB in [-1, 1] ->
            logits_BNHW at the images' size.

    Raises:
        DataError: the directory holds no segmenter.
        ConfigError: there is no such device.
    """

    def __init__(self, directory: Path | str, *, device: str = "auto", size: tuple[int, int] | None = None) -> None:
        place = Path(directory)
        self.classes: list[str] = list(store.describe(place)["classes"])
        self.size = size or trained_size(place)
        self._runtime = runtime.make_runtime(RuntimeConfig(device=device))
        self.network: SegmenterNetwork = self._runtime.place(
            store.load_segmenter(place, expected_classes=None).network
        ).eval()

    def __call__(self, image_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Class indices (H, W) uint8 of an image at its own size, as `uda predict` writes them.

        Args:
            image_HWC: RGB, uint8.

        Raises:
            ValueError: it is no such image.
        """
        if image_HWC.ndim != 3 or image_HWC.shape[2] != 3 or image_HWC.dtype != np.uint8:
            raise ValueError(f"an image is uint8 (H, W, 3) RGB, and this is {image_HWC.dtype} {image_HWC.shape}")
        whole = (image_HWC.shape[0], image_HWC.shape[1])
        resized = image_HWC if self.size is None else resize_image(image_HWC, self.size)
        images_BCHW = torch.from_numpy(np.ascontiguousarray(resized.transpose(2, 0, 1)[None]))
        logits_BNHW = inference.logits_of(self.network, images_BCHW, self._runtime)
        return inference.to_labels(logits_BNHW[0], whole, self.network.align_corners, "logits")


def predict_images(
    config: PredictConfig, segmenter: Path, images: Sequence[Path], out: Path, console: Console
) -> Iterator[Path]:
    """Write `NAME.png` (class indices) and `NAME_overlay.png` for every image; gives the paths of the label maps.

    Args:
        config: settings.
        segmenter: a segment directory.
        images: files, or folders whose images are taken, those in folders below them too.
        out: folder to write to.
        console: where progress is shown.

    Raises:
        DataError: no image, or one that cannot be decoded.
        ConfigError: an image lies where results would be written, or two images would make the same file.
    """
    samples = [Sample(path, None, "", path.parent) for path in _files(images, out)]
    names = unique_names(samples)
    _check_places(samples, names, out)
    palette = _palette(store.describe(segmenter))
    network = store.load_segmenter(segmenter, expected_classes=None).network
    rt = runtime.make_runtime(config.runtime)
    size = config.size or trained_size(segmenter)
    data = dataset.SegmentationDataset(
        samples, None, size=size, with_labels=False, interpolation=config.interpolation, cache_mb=0
    )
    with console.progress("predict", len(samples)) as progress:
        for predicted in inference.predict(network, data, rt, batch=1):
            index = predicted.indices[0]
            image_size = read_size(samples[index].image)
            labels = inference.to_labels(predicted.logits_BNHW[0], image_size, network.align_corners, "logits")
            image = read_image(samples[index].image).astype(np.float32)
            mixed = (1 - config.opacity) * image + config.opacity * palette[labels]
            write_label(out / f"{names[index]}.png", labels)
            write_image(out / f"{names[index]}_overlay.png", mixed.round().astype(np.uint8))
            progress.update(progress.done + 1)
            yield out / f"{names[index]}.png"


def _check_places(samples: Sequence[Sample], names: Sequence[str], out: Path) -> None:
    """Refuse results that would be written over an image, or over one another."""
    makers: dict[Path, Sample] = {}
    for sample, name in zip(samples, names, strict=True):
        for ending in _RESULTS:
            place = out / f"{name}{ending}"
            other = makers.setdefault(place.resolve(), sample)
            if other is not sample:
                what = f"would be made of {other.image} and of {sample.image}"
                raise ConfigError(what, place, "rename one, or predict them into two folders")
    for sample in samples:
        if sample.image.resolve() in makers:
            raise ConfigError("would be written over", sample.image, "choose another --out")


def _palette(description: Mapping[str, Any]) -> NDArray[np.uint8]:
    """RGB by class index; from the label space for segmenters that were kept without their colours."""
    if "colors" not in description:
        return load_space(description["label_space"]).palette()
    table = np.zeros((256, 3), np.uint8)
    table[: len(description["colors"])] = description["colors"]
    return table


def _files(images: Sequence[Path], out: Path) -> list[Path]:
    """Files, and those of folders but for what an earlier call left below `out`."""
    found: list[Path] = []
    for path in images:
        if path.is_dir():
            inside = sorted(one for one in walk(path) if one.suffix.lower() in _ENDINGS and not _hidden(one, path))
            if path.resolve() in out.resolve().parents:
                inside = [one for one in inside if not one.resolve().is_relative_to(out.resolve())]
            if not inside:
                raise DataError("holds no images", path, f"their names end in {', '.join(sorted(_ENDINGS))}")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise DataError("no such file or folder", path, "check the path")
    return found


def _hidden(file: Path, folder: Path) -> bool:
    """Whether a name below the folder begins with a dot, as those of thumbnails do."""
    return any(part.startswith(".") for part in file.relative_to(folder).parts)
