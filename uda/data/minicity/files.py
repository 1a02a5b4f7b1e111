"""PNG files in the encodings of the real data sets."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray


def _chunk(kind: bytes, body: bytes) -> bytes:
    """One chunk of a PNG file."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def write_palette_png(path: Path, indices_HW: NDArray[np.uint8], palette_P3: NDArray[np.uint8]) -> None:
    """Writes indices as a PNG with a palette of 256 RGB colours, which OpenCV cannot."""
    height, width = indices_HW.shape
    rows = np.zeros((height, width + 1), np.uint8)  # each row starts with its filter type, 0 = none
    rows[:, 1:] = indices_HW
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    body = _chunk(b"IHDR", header) + _chunk(b"PLTE", palette_P3.tobytes())
    body += _chunk(b"IDAT", zlib.compress(rows.tobytes(), 6)) + _chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def write_png(path: Path, image: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    """Writes (H, W) grey or (H, W, 3) RGB values of 8 or 16 bits."""
    ordered = image[..., ::-1] if image.ndim == 3 else image
    done, packed = cv2.imencode(".png", np.ascontiguousarray(ordered))
    if not done:
        raise OSError(f"cannot encode {path}")
    path.write_bytes(packed.tobytes())
