"""Label Studio's shapes as boxes: rectangles, polygons, ellipses, and the masks of brushes.

Every shape is in percent of the photo, but for masks: a brush is packed as runs of RGBA bytes
(the format of @thi.ng/rle-pack), a bitmask is a PNG in base64. A mask is never unpacked as a whole:
of a run only its ends matter.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from PIL import Image

from regiontalk.images.encoded import decode_photo
from regiontalk.images.open import MAX_PIXELS

Box = tuple[float, float, float, float]
SizeWH = tuple[int, int]


def is_shape(value: Mapping[str, Any]) -> bool:
    """Whether a value is a region; a key point or a frame of a video is none."""
    return (
        {"x", "y", "width", "height"} <= value.keys()
        or {"x", "y", "radiusX", "radiusY"} <= value.keys()
        or any(value.get(key) for key in ("points", "vertices", "rle", "imageDataURL"))
    )


def shape_box(value: Mapping[str, Any], size_wh: SizeWH) -> Box | None:
    """The box around a shape, cut at the edges of the photo; None where it is empty or outside.

    Args:
        value: of a result of Label Studio for which `is_shape` holds.
        size_wh: of the photo, in pixels.

    Returns:
        x1, y1, x2, y2 in pixels, to a tenth.

    Raises:
        ValueError: a number or a mask cannot be read.
        TypeError: a number is something else.
        KeyError: a coordinate is lacking.
    """
    if value.get("rle"):
        return rle_box(value["rle"], size_wh)
    if value.get("imageDataURL"):
        return _bitmask_box(str(value["imageDataURL"]), size_wh)
    corners = _corners(value, size_wh)
    if not all(math.isfinite(number) for corner in corners for number in corner):
        raise ValueError("expected numbers, got infinity or no number")
    x1, x2 = _limits([x for x, _ in corners], size_wh[0])
    y1, y2 = _limits([y for _, y in corners], size_wh[1])
    return (x1, y1, x2, y2) if x2 > x1 and y2 > y1 else None


def _limits(numbers: Sequence[float], side: int) -> tuple[float, float]:
    """The least and the greatest number within 0 and a side, to a tenth."""
    low, high = min(numbers), max(numbers)
    return round(min(max(low, 0), side), 1), round(min(max(high, 0), side), 1)


def _corners(value: Mapping[str, Any], size_wh: SizeWH) -> list[tuple[float, float]]:
    """Points in pixels whose box is that of the shape."""
    points = value.get("points") or value.get("vertices")
    if points:
        return [_in_pixels(point, size_wh) for point in points]
    angle = math.radians(float(value.get("rotation") or 0))
    origin = _in_pixels((value["x"], value["y"]), size_wh)
    if "radiusX" in value:
        radii = _in_pixels((value["radiusX"], value["radiusY"]), size_wh)
        return _turned_ellipse(origin, radii, angle)
    sides = _in_pixels((value["width"], value["height"]), size_wh)
    return _turned_rectangle(origin, sides, angle)


def _in_pixels(point: Any, size_wh: SizeWH) -> tuple[float, float]:
    """Two numbers in percent of the photo, or a point with x and y, in pixels."""
    if isinstance(point, dict):
        x, y = point["x"], point["y"]
    else:
        x, y = point[:2]
    width, height = size_wh
    return float(x) / 100 * width, float(y) / 100 * height


def _turned_ellipse(
    centre: tuple[float, float], radii: tuple[float, float], angle: float
) -> list[tuple[float, float]]:
    """Two corners of the box around an ellipse that is turned about its centre."""
    cosine, sine = math.cos(angle), math.sin(angle)
    half_width = math.hypot(radii[0] * cosine, radii[1] * sine)
    half_height = math.hypot(radii[0] * sine, radii[1] * cosine)
    x, y = centre
    return [(x - half_width, y - half_height), (x + half_width, y + half_height)]


def _turned_rectangle(
    origin: tuple[float, float], sides: tuple[float, float], angle: float
) -> list[tuple[float, float]]:
    """The corners of a rectangle that is turned about its top left one."""
    cosine, sine = math.cos(angle), math.sin(angle)
    width, height = sides
    corners = []
    for across, down in ((0.0, 0.0), (width, 0.0), (0.0, height), (width, height)):
        x = origin[0] + across * cosine - down * sine
        y = origin[1] + across * sine + down * cosine
        corners.append((x, y))
    return corners


class _Bits:
    """Reads numbers of any count of bits from bytes, the highest bit first."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0  # in bits

    def read(self, count: int) -> int:
        """The next ``count`` bits, at most 32."""
        first, last = self.position // 8, (self.position + count + 7) // 8
        if last > len(self.data):
            raise ValueError("the mask is cut short")
        number = int.from_bytes(self.data[first:last], "big")
        self.position += count
        return number >> (last * 8 - self.position) & ((1 << count) - 1)


def rle_box(packed: Sequence[int], size_wh: SizeWH) -> Box | None:
    """The box around what a brush has painted; None where it has painted nothing.

    A mask is 4 bytes a pixel, row by row, of which the last (alpha) says whether it is
    painted. The format: 32 bits with the number of values, 5 with the size of a value
    less one, four times 4 with the sizes of a length less one; then runs: one bit (1:
    one value, repeated; 0: as many values), two bits that choose the size of the
    length, the length less one, and the value or values.

    Raises:
        ValueError: it is of another size or cut short.
    """
    if not isinstance(packed, list):
        raise ValueError(
            f"expected the mask as a list of bytes, got {type(packed).__name__}"
        )
    width, height = size_wh
    bits = _Bits(bytes(packed))
    count = bits.read(32)
    _check_count(count, size_wh)
    left, top, right, bottom = width, height, 0, 0
    for start, stop in _painted_runs(bits, count):
        # Alpha is each fourth byte, so that a run holds that of these pixels:
        first_pixel, last_pixel = start // 4, (stop - 4) // 4
        if first_pixel > last_pixel:
            continue
        x1, y1, x2, y2 = _run_box(first_pixel, last_pixel, width)
        left, top = min(left, x1), min(top, y1)
        right, bottom = max(right, x2), max(bottom, y2)
    return (left, top, right, bottom) if right > left else None


def _check_count(count: int, size_wh: SizeWH) -> None:
    """Refuse a number of values that is not 4 for each pixel of the photo."""
    width, height = size_wh
    pixels = width * height
    if count != 4 * pixels or not 0 < pixels <= MAX_PIXELS:
        raise ValueError(
            f"expected a mask of {width}x{height} pixels, got one of {count // 4:,} pixels"
        )


def _run_box(
    first_pixel: int, last_pixel: int, width: int
) -> tuple[int, int, int, int]:
    """The box around pixels that follow each other row by row.

    Over several rows it is as wide as the photo.
    """
    first_row, first_column = divmod(first_pixel, width)
    last_row, last_column = divmod(last_pixel, width)
    if first_row == last_row:
        return first_column, first_row, last_column + 1, first_row + 1
    return 0, first_row, width, last_row + 1


def _painted_runs(bits: _Bits, count: int) -> Iterator[tuple[int, int]]:
    """Where values above zero begin and end, of as many values.

    The head's first number is read already.
    """
    value_bits = bits.read(5) + 1
    length_bits = [bits.read(4) + 1 for _ in range(4)]
    position = 0
    while position < count:
        repeats = bits.read(1)
        end = min(count, position + 1 + bits.read(length_bits[bits.read(2)]))
        if not repeats:
            for index in range(position, end):
                if bits.read(value_bits):
                    yield index, index + 1
        elif bits.read(value_bits):
            yield position, end
        position = end


def _bitmask_box(address: str, size_wh: SizeWH) -> Box | None:
    """The box around the painted pixels of a PNG in a data URL."""
    try:
        with Image.open(io.BytesIO(decode_photo(address)), formats=("PNG",)) as mask:
            if mask.size != size_wh or math.prod(size_wh) > MAX_PIXELS:
                raise ValueError(
                    f"expected a mask of {size_wh}, got one of {mask.size}"
                )
            has_alpha = "A" in mask.getbands()
            painted = mask.getchannel("A") if has_alpha else mask.convert("L")
            box = painted.getbbox()
    except Image.DecompressionBombError as error:
        raise ValueError(str(error)) from error
    except (OSError, SyntaxError) as error:
        raise ValueError(f"the mask is no PNG that can be read ({error})") from error
    return box
