"""Read and write images and label maps, resize them; every failure names its file.

Images are uint8 HWC RGB, label maps uint8 HW of class indices with 255 = ignore; arrays are the caller's own. Images
are decoded by PIL, which tells a truncated file where OpenCV hands back half a picture, and resized by PIL, as the
published recipes do (antialiased when shrinking, which OpenCV's bicubic is not).
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from uda.core.errors import DataError
from uda.data.label_space import UNDECLARED, LabelSpace
from uda.data.samples import Sample, load_specs
from uda.data.spec import DatasetSpec, mapping_table, require_common_class

Pixels = NDArray[np.uint8]
Interpolation = Literal["bicubic", "bilinear", "area"]

_RESAMPLING = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "area": Image.Resampling.BOX,
}
_CHANNELS = {"blue": 0, "green": 1, "red": 2}  # OpenCV's order
_NO_COLOR = 255
_TOLD = 8
"""Undeclared values that an error names."""
_ERRORS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""What PIL raises on files that it cannot decode: SyntaxError on broken PNG chunks; the last on huge images, and on
headers that are broken so that they look it."""


def read_image(path: Path) -> Pixels:
    """An image, uint8 HWC RGB; of 16-bit grey the upper byte. Orientation tags are not applied: labels carry none.

    Raises:
        DataError: missing, undecodable, or of numbers whose black and white nobody knows (floating point, 32 bits).
    """
    return np.array(_open(path, "RGB"))


def read_size(path: Path) -> tuple[int, int]:
    """(height, width) out of the file's header.

    Raises:
        DataError: missing or no image.
    """
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except _ERRORS as error:
        raise _unreadable(path, error) from error


def _mode(path: Path) -> str:
    """PIL's name of the pixel format, out of the file's header."""
    try:
        with Image.open(path) as image:
            return image.mode
    except _ERRORS as error:
        raise _unreadable(path, error) from error


def _open(path: Path, mode: str | None = None) -> Image.Image:
    try:
        with Image.open(path) as image:
            image.load()
            if mode is None or image.mode == mode:
                return image
            if image.mode[0] in "IF":
                return _upper_byte(image, path).convert(mode)
            return image.convert(mode)
    except _ERRORS as error:
        raise _unreadable(path, error) from error


def _upper_byte(image: Image.Image, path: Path) -> Image.Image:
    """Grey of 16 bits in 8. PIL's own conversion clips: all above 255 would turn white."""
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() >= 2**16:
        kind = "floating point" if image.mode == "F" else "more than 16 bits"
        raise DataError(f"is grey in {kind}", path, "write it with 8 or 16 bits")
    return Image.fromarray((values >> 8).astype(np.uint8))


def _unreadable(path: Path, error: Exception) -> DataError:
    if isinstance(error, FileNotFoundError):
        return DataError("no such file", path, "check the path in the manifest")
    return DataError(f"cannot be decoded ({error})", path, "copy the file again or leave it out")


def read_label_values(path: Path, spec: DatasetSpec, mend: str | None = None) -> NDArray[Any]:
    """The label file as its coding has it: integers (H, W), or for coding `color` uint8 RGB (H, W, 3).

    Args:
        path: the file.
        spec: how it should be coded.
        mend: what to do about a file that is coded in another way; None: say so in the spec.

    Raises:
        DataError: missing, undecodable, or not coded as the spec says.
    """
    if spec.coding == "multichannel16":
        return _read_channel(path, spec, mend)
    image = _open(path)
    if image.format == "JPEG":
        raise DataError("is a lossy JPEG, whose values are not exact", path, "labels must be PNG")
    if spec.coding == "color":
        return np.asarray(image.convert("RGB"))
    allowed = ("P", "L") if spec.coding == "palette" else ("L", "I;16", "I", "1")
    if image.mode not in allowed:
        what = f"is a PNG of mode {image.mode}, which coding '{spec.coding}' does not read"
        actual = _actual_coding(image, spec)
        usual = f"set {actual} in {_origin(spec)}" if actual else "write it with one channel"
        raise DataError(what, path, mend or usual)
    values = np.asarray(image)
    if values.dtype == np.bool_:
        return values.astype(np.uint8)
    return values // _stretch(path) if image.mode == "L" else values


def _actual_coding(image: Image.Image, spec: DatasetSpec) -> str | None:
    """What a spec would have to say of a label file that it does not fit; None where no coding reads it."""
    if image.mode == "P":
        return "`coding: palette`"
    if image.mode not in ("RGB", "RGBA"):
        return None
    if (channel := _channel_of_ids(np.asarray(image)[:, :, :3], spec)) is not None:
        return f"`coding: multichannel16` and `channel: {channel}`"
    return "`coding: color` and each class's colours"


def _channel_of_ids(pixels_HWC: Pixels, spec: DatasetSpec) -> str | None:
    """The channel of a colour file that holds label values, as CARLA's red one; None where none does alone.

    It is the only one that is not black, or the only one whose values the spec all knows; of three that are alike, red.
    """
    channels = dict(zip(("red", "green", "blue"), np.moveaxis(pixels_HWC, -1, 0), strict=True))
    if all(np.array_equal(channels["red"], other) for other in channels.values()):
        return "red"
    lit = [name for name, values in channels.items() if values.any()]
    declared = [value for value in spec.declared() if isinstance(value, int)]
    known = lit if len(lit) == 1 else [name for name in lit if np.isin(channels[name], declared).all()]
    return known[0] if len(known) == 1 else None


def _stretch(path: Path) -> int:
    """What PIL multiplies the values of a grey PNG of 2 or 4 bits by, to fill 0 to 255; 1 for one of 8."""
    with path.open("rb") as file:
        header = file.read(26)  # signature, IHDR's length and name, width, height, bit depth, colour type
    return {2: 85, 4: 17}.get(header[24], 1) if header.startswith(b"\x89PNG") else 1


def _read_channel(path: Path, spec: DatasetSpec, mend: str | None) -> NDArray[Any]:
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        image: NDArray[Any] | None = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    except cv2.error:
        image = None
    if image is None:
        raise DataError("cannot be decoded", path, "copy the file again or leave it out")
    if image.ndim != 3 or image.shape[2] < 3:
        raise DataError("has one channel, not several", path, mend or f"set `coding: id` in {_origin(spec)}")
    return image[:, :, _CHANNELS[spec.channel]]


def _origin(spec: DatasetSpec) -> str:
    """Where a spec is to be changed: one that ships describes its data set, and is not."""
    if spec.file is None or not spec.is_shipped:
        return str(spec.file or f"the spec of {spec.name}")
    name = spec.file.stem
    return f"a copy of {spec.file.name} (`uda show {name} > mine.yaml`), as it is no true label of {name}"


def to_ordinals(values: NDArray[Any], spec: DatasetSpec) -> NDArray[Any]:
    """What indexes the mapping table: the values themselves; for colours their ordinals, 255 where not declared."""
    if spec.coding != "color":
        return values
    packed, colors = _pack(values), spec.colors()
    ordinals = np.searchsorted(colors, packed)
    found = colors[np.minimum(ordinals, len(colors) - 1)] == packed
    return np.where(found, ordinals, _NO_COLOR).astype(np.uint8)


def _pack(colors: NDArray[Any]) -> NDArray[np.uint32]:
    """Colours (..., 3) as 24-bit numbers (...)."""
    rgb = colors.astype(np.uint32)
    return np.asarray(rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2], np.uint32)


def apply_table(values: NDArray[Any], spec: DatasetSpec, table: Pixels) -> Pixels:
    """Class indices (H, W) uint8; 254 where the value is not declared (`mapping_table`)."""
    ordinals = to_ordinals(values, spec)
    if ordinals.dtype == np.uint8:
        return np.take(table, ordinals)
    inside = (ordinals >= 0) & (ordinals < 256)
    labels: Pixels = np.where(inside, np.take(table, np.where(inside, ordinals, 0)), np.uint8(UNDECLARED))
    return labels


def say_undeclared(values: NDArray[Any], labels_HW: Pixels) -> str:
    """A few words on the values (or colours) that `apply_table` marked with 254, the first eight by name."""
    marked = values[labels_HW == UNDECLARED]
    if colored := values.ndim == 3:  # as numbers: rows are slow to sort, and a photo has a colour for each pixel
        marked = _pack(marked)
    found, counts = np.unique(marked, return_counts=True)
    names = [(one >> 16, one >> 8 & 255, one & 255) if colored else one for one in found[:_TOLD].tolist()]
    shown = ", ".join(f"{name} ({count} pixels)" for name, count in zip(names, counts[:_TOLD], strict=True))
    return f"label values outside the table: {shown}{', ...' if len(found) > _TOLD else ''}"


def mend_undeclared(spec: DatasetSpec, values: NDArray[Any]) -> str:
    """How label values outside the table are mended."""
    if spec.coding != "color" and values.max() > 255:
        return "write the label anew with values from 0 to 255, where `values` and `void` end"
    return f"add them to `values` or `void` of {_origin(spec)}"


def read_label(path: Path, spec: DatasetSpec, table: Pixels, mend: str | None = None) -> Pixels:
    """A label map of class indices, uint8 HW with 255 = ignore.

    Args:
        path: the file.
        spec: how it is coded.
        table: of `mapping_table`.
        mend: what to do about another coding or undeclared values; None: declare them in the spec.

    Raises:
        DataError: missing, undecodable, or with values that the spec does not declare.
    """
    values = read_label_values(path, spec, mend)
    labels = apply_table(values, spec, table)
    if (labels == UNDECLARED).any():
        raise DataError(say_undeclared(values, labels), path, mend or mend_undeclared(spec, values))
    return labels


def read_prediction(path: Path, spec: DatasetSpec, table: Pixels, mend: str) -> Pixels:
    """As `read_label`, of a map that somebody predicted: where the spec has ids, a palette PNG's indices count as them.

    Raises:
        DataError: missing, undecodable, or with values that the spec does not declare.
    """
    if spec.coding == "id" and _mode(path) == "P":
        spec = spec.model_copy(update={"coding": "palette"})
    return read_label(path, spec, table, mend)


class LabelReader:
    """Reads samples' labels in the classes of one label space; specs and tables are made once.

    Args:
        samples: all samples that will be read.
        space: the task's classes.

    Raises:
        DataError: a spec has no class of the label space.
    """

    def __init__(self, samples: Sequence[Sample], space: LabelSpace) -> None:
        specs = load_specs([sample for sample in samples if sample.label is not None])
        for spec in specs.values():
            require_common_class(spec, space)
        self._known = {key: (spec, mapping_table(spec, space)) for key, spec in specs.items()}

    def read(self, sample: Sample) -> Pixels | None:
        """The label map, uint8 HW with 255 = ignore; None for a sample without a label."""
        if sample.label is None:
            return None
        return read_label(sample.label, *self._known[sample.dataset, sample.spec_base])

    def read_prediction(self, sample: Sample, file: Path) -> Pixels:
        """What somebody predicted for a sample in the coding of its label, uint8 HW with 255 = none."""
        spec, table = self._known[sample.dataset, sample.spec_base]
        mend = f"code predictions as the labels of {spec.name} (coding: {spec.coding}), or set coding to train-ids"
        return read_prediction(file, spec, table, mend)


def resize_image(image_HWC: Pixels, size: tuple[int, int], method: Interpolation = "bicubic") -> Pixels:
    """The whole image at `size` (height, width); antialiased when shrinking."""
    if image_HWC.shape[:2] == size:
        return image_HWC
    return np.array(Image.fromarray(image_HWC).resize((size[1], size[0]), _RESAMPLING[method]))


def resize_label(labels_HW: Pixels, size: tuple[int, int]) -> Pixels:
    """The whole label map at `size` (height, width) by nearest neighbour of pixel centres."""
    if labels_HW.shape == size:
        return labels_HW
    return np.array(Image.fromarray(labels_HW).resize((size[1], size[0]), Image.Resampling.NEAREST))


def encode_png(pixels: Pixels) -> bytes:
    """PNG bytes of an image (H, W, 3) or a label map (H, W), fast rather than small."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=2)
    return buffer.getvalue()


def write_image(path: Path, image_HWC: Pixels) -> None:
    """Write an RGB image; the ending chooses the format, JPEG at quality 95 with full-size chroma."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == ".png":
        path.write_bytes(encode_png(image_HWC))
    else:
        Image.fromarray(image_HWC).save(path, quality=95, subsampling=0)


def write_label(path: Path, labels_HW: Pixels) -> None:
    """Write a label map as a single-channel PNG whose values are the class indices."""
    if path.suffix.lower() != ".png":
        raise ValueError(f"{path}: label maps are written as PNG only")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(labels_HW))
