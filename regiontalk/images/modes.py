"""From a decoded image of any kind to upright RGB: turns, transparency, deep greyscale."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

_ORIENTATION = 0x0112  # the EXIF tag that says how the camera was held
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SAMPLE = 1 << 20  # values that are weighed, or windowed, at once
SWAPPING = {_TURNS[number] for number in (5, 6, 7, 8)}


def turn_of(image: Image.Image) -> Image.Transpose | None:
    """The turn that makes a decoded image upright; None where it stands."""
    return _TURNS.get(orientation(image))


def orientation(image: Image.Image) -> int:
    """The EXIF orientation of an image, 1 to 8; 1 where it has none or its EXIF block is broken."""
    try:
        value = int(image.getexif().get(_ORIENTATION, 1))
    # parsers raise whatever they meet, and a damaged block must not cost the photo
    except Exception:
        return 1
    return value if 1 <= value <= 8 else 1


def to_rgb(image: Image.Image) -> Image.Image:
    """RGB of any mode: deep greyscale windowed, transparency on white."""
    if image.mode == "F" or image.mode.startswith("I"):
        return Image.fromarray(window(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        ground = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(ground, layer).convert("RGB")
    if image.mode == "RGB":
        return image
    return image.convert("RGB")


def in_srgb(picture: Image.Image) -> Image.Image:
    """The picture in the colours of sRGB, which is what screens take pictures without a profile for.

    Pictures without a profile, with one that cannot be used, and deep greyscale come back as they are.
    """
    profile = picture.info.get("icc_profile")
    if not profile or picture.mode.startswith(("I", "F")):
        return picture
    if picture.has_transparency_data:
        layer, mode = picture.convert("RGBA"), "RGBA"
    else:
        layer = picture.convert("RGB") if picture.mode == "P" else picture
        mode = "RGB"
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(
            layer, source, ImageCms.createProfile("sRGB"), outputMode=mode
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return picture
    return converted if converted is not None else picture


def window(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Deep greyscale (height, width) as uint8 between its own 0.5 and 99.5 percentiles.

    Cameras and scanners rarely use all 16 bits, so that cutting or dividing by 257 gives black or
    white images. Where the percentiles meet, the least and greatest values are taken; a constant
    image becomes middle grey. Of images over a million pixels the percentiles are those of every
    second, third ... row and column.

    >>> window(np.array([[1000, 1100, 1200]], dtype=np.uint16)).tolist()
    [[0, 128, 255]]
    """
    low, high = _limits(values)
    shown = np.full(values.shape, 128, dtype=np.uint8)
    if high <= low:
        return shown
    # block by block: the whole image in float64 would take eight bytes a pixel
    rows = max(1, _SAMPLE * len(values) // max(1, values.size))
    for first in range(0, len(values), rows):
        block = values[first : first + rows].astype(np.float64)
        block = np.nan_to_num(block, nan=low, posinf=high, neginf=low)
        shares = ((block - low) / (high - low)).clip(0, 1)
        shown[first : first + rows] = np.rint(shares * 255)
    return shown


def _limits(values: NDArray[Any]) -> tuple[float, float]:
    """The values that become black and white; equal where the image is constant."""
    step = max(1, math.isqrt(values.size // _SAMPLE))
    sample = np.asarray(values[::step, ::step] if step > 1 else values, dtype=np.float64)
    sample = sample[np.isfinite(sample)]
    low, high = np.percentile(sample, (0.5, 99.5)) if sample.size else (0.0, 0.0)
    if high > low:
        return float(low), float(high)
    finite = values[np.isfinite(values)]
    if finite.size:
        return float(finite.min()), float(finite.max())
    return float(low), float(high)
