"""From light to the file: blur, cast, vignette, noise, compression of a camera; dithering of a game."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from uda.data.minicity.look import Sensor
from uda.data.minicity.textures import Float


def develop(light_HW3: Float, sensor: Sensor, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The picture (H, W, 3) uint8 RGB of the light (H, W, 3), 0 to 255, or twice the size where supersampled."""
    exposure = rng.uniform(*sensor.exposure)
    blur = rng.uniform(*sensor.blur)
    cast = np.array(sensor.cast) * (1 + sensor.cast_spread * rng.standard_normal(3))
    image = light_HW3
    if sensor.supersample:
        image = cv2.resize(image, (image.shape[1] // 2, image.shape[0] // 2), interpolation=cv2.INTER_AREA)
    height, width = image.shape[:2]
    sigma = blur * width / 1000
    if sigma > 0.15:
        image = cv2.GaussianBlur(image, (0, 0), sigma)
    image = np.clip(image * (cast * exposure / 255).astype(np.float32), 0, 1)
    if sensor.gamma != 1:
        image = np.power(image, np.float32(sensor.gamma))
    if sensor.vignette:
        image *= _vignette(height, width, sensor.vignette)
    image *= 255
    if sensor.noise:
        image += sensor.noise * np.sqrt(image / 128 + 0.05) * rng.standard_normal(image.shape, np.float32)
    if sensor.dither:
        image = _dither(image, sensor.dither)
    return _compress(np.clip(np.rint(image), 0, 255).astype(np.uint8), sensor.jpeg)


def _vignette(height: int, width: int, strength: float) -> Float:
    """Factors (H, W, 1): 1 in the middle, 1 - strength in the corners."""
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)
    return (1 - np.float32(strength / 2) * (x * x + y * y))[..., None]


def _dither(image_HW3: Float, strength: float) -> Float:
    """Steps of `strength` grey values with an ordered 4 x 4 pattern in between."""
    pattern = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]], np.float32) / np.float32(16)
    height, width = image_HW3.shape[:2]
    tiled = np.tile(pattern, (height // 4 + 1, width // 4 + 1))[:height, :width, None]
    step = np.float32(strength)
    stepped: Float = np.floor(image_HW3 / step + tiled) * step
    return stepped


def _compress(image_HW3: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """The image after JPEG at the given quality; as it is for quality 0."""
    if not quality:
        return image_HW3
    _, packed = cv2.imencode(".jpg", image_HW3[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    opened_HW3: NDArray[np.uint8] = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
    return np.ascontiguousarray(opened_HW3[..., ::-1])
