"""From a decoded image of any kind to upright RGB: turns, transparency, deep greyscale."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator
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
_SAMPLE = 1 << 20  # pixels that are weighed, or converted, at once
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


def to_rgb(picture: Image.Image, *, srgb: bool = False) -> Image.Image:
    """RGB of any mode: deep greyscale windowed, transparency on white.

    A large picture is converted strip by strip: its layers would take several times its memory.

    Args:
        picture: decoded.
        srgb: bring it into the colours of sRGB, which is what screens take pictures without a
            profile for. Pictures without a profile, with one that cannot be used, and deep
            greyscale keep their numbers.
    """
    if _is_deep(picture):
        return _windowed(picture).convert("RGB")
    transform = _to_srgb(picture) if srgb else None
    if (
        picture.mode == "RGB"
        and transform is None
        and not picture.has_transparency_data
    ):
        return picture
    converted = Image.new("RGB", picture.size)
    for box in _strips(picture.size):
        converted.paste(_strip_to_rgb(picture.crop(box), transform), box[:2])
    return converted


def _is_deep(picture: Image.Image) -> bool:
    """Whether it has more than 256 levels of grey."""
    return picture.mode == "F" or picture.mode.startswith("I")


def _strips(
    size_wh: tuple[int, int], step: int = 1
) -> Iterator[tuple[int, int, int, int]]:
    """Boxes over the whole width of at most a million pixels, or one row.

    A multiple of ``step`` rows each.
    """
    width, height = size_wh
    rows = max(1, _SAMPLE // max(1, width) // step) * step
    for top in range(0, height, rows):
        yield 0, top, width, min(top + rows, height)


def _strip_to_rgb(
    strip: Image.Image, transform: ImageCms.ImageCmsTransform | None
) -> Image.Image:
    """RGB of a strip of a picture that is not deep."""
    mode = _coloured_mode(strip)
    if transform is not None:
        layer = ImageCms.applyTransform(strip.convert(mode), transform)
        assert layer is not None  # None is for pictures that are changed in place
    else:
        layer = strip.convert("RGBA") if mode == "RGBA" else strip
    if layer.mode == "RGBA":
        layer = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return layer.convert("RGB")


def _coloured_mode(picture: Image.Image) -> str:
    """The mode in which a picture's profile is applied."""
    if picture.has_transparency_data:
        return "RGBA"
    return "RGB" if picture.mode == "P" else picture.mode


def _to_srgb(picture: Image.Image) -> ImageCms.ImageCmsTransform | None:
    """From the colours of a picture's profile to those of sRGB.

    None where there is no profile that can be used.
    """
    profile = picture.info.get("icc_profile")
    if not profile:
        return None
    mode = _coloured_mode(picture)
    try:
        return ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            mode,
            "RGBA" if mode == "RGBA" else "RGB",
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


def _windowed(picture: Image.Image) -> Image.Image:
    """`window` of a picture, strip by strip."""
    step = _sampling_step(picture.width * picture.height)
    boxes = list(_strips(picture.size, step))
    strips = (np.asarray(picture.crop(box)) for box in boxes)
    low, high = _window_limits(strips, step)
    shown = Image.new("L", picture.size)
    for box in boxes:
        shades = _shades(np.asarray(picture.crop(box)), low, high)
        shown.paste(Image.fromarray(shades), box[:2])
    return shown


def window(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Deep greyscale (height, width) as uint8 between its own 0.5 and 99.5 percentiles.

    Cameras and scanners rarely use all 16 bits, so that cutting or dividing by 257 gives black or
    white images. Where the percentiles meet, the least and greatest values are taken; a constant
    image becomes middle grey. Of images over a million pixels the percentiles are those of every
    second, third ... row and column.

    >>> window(np.array([[1000, 1100, 1200]], dtype=np.uint16)).tolist()
    [[0, 128, 255]]
    """
    step = _sampling_step(values.size)
    height, width = values.shape
    strips = (
        values[top:bottom] for _, top, _, bottom in _strips((width, height), step)
    )
    low, high = _window_limits(strips, step)
    return _shades(values, low, high)


def _sampling_step(pixels: int) -> int:
    return max(1, math.isqrt(pixels // _SAMPLE))


def _window_limits(strips: Iterable[NDArray[Any]], step: int) -> tuple[float, float]:
    """The values that become black and white.

    Equal where a picture is constant or has no number.
    """
    samples = [np.zeros(0)]
    least, greatest = math.inf, -math.inf
    for strip in strips:
        sample = strip[::step, ::step].astype(np.float64)
        samples.append(sample[np.isfinite(sample)])
        finite = strip[np.isfinite(strip)]
        if finite.size:
            least, greatest = (
                min(least, float(finite.min())),
                max(greatest, float(finite.max())),
            )
    sampled = np.concatenate(samples)
    low, high = np.percentile(sampled, (0.5, 99.5)) if sampled.size else (0.0, 0.0)
    if high <= low and least <= greatest:
        return least, greatest
    return float(low), float(high)


def _shades(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """Values (height, width) as uint8: ``low`` is black, ``high`` white.

    Middle grey where they are one.
    """
    shades = np.full(values.shape, 128, dtype=np.uint8)
    if high <= low:
        return shades
    rows = max(1, _SAMPLE * len(values) // max(1, values.size))
    # the whole in float64 would take eight bytes a pixel
    for first in range(0, len(values), rows):
        block = values[first : first + rows].astype(np.float64)
        block = np.nan_to_num(block, nan=low, posinf=high, neginf=low)
        shades[first : first + rows] = np.rint(
            ((block - low) / (high - low)).clip(0, 1) * 255
        )
    return shades
