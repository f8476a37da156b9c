"""Pictures of every kind come out upright and RGB, or are refused in one line.

Boxes go to the network and back.
"""

from __future__ import annotations

import io
import struct
import sys
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps, PngImagePlugin

from regiontalk.images import modes
from regiontalk.images.open import ImageError, open_image, open_photo
from regiontalk.images.preprocessing import Preprocessing

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)

# Left half red, right half blue, 64x48, turned on its side by its EXIF tag (6): upright it is
# 48x64, red above blue.
HEIC = (Path(__file__).parents[1] / "data" / "turned.heic").read_bytes()


def halves(size: tuple[int, int] = (64, 48)) -> Image.Image:
    """Left half red, right half blue."""
    picture = Image.new("RGB", size, RED)
    picture.paste(BLUE, (size[0] // 2, 0, *size))
    return picture


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def glass() -> Image.Image:
    """Red on the left, wholly transparent black on the right."""
    picture = Image.new("RGBA", (64, 48), (0, 0, 0, 0))
    picture.paste((*RED, 255), (0, 0, 32, 48))
    return picture


def half_glass_palette() -> Image.Image:
    picture = Image.new("P", (64, 48), 0)
    picture.putpalette([*RED, 0, 0, 0])
    picture.paste(1, (32, 0, 64, 48))
    picture.info["transparency"] = 1
    return picture


def noise(side: int = 96) -> Image.Image:
    return Image.fromarray(
        np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    )


def deep(kind: str) -> bytes:
    """16-bit greyscale that uses 1000..1200 of 65535: the left half 1000, the right half 1200."""
    values = np.full((48, 64), 1000, dtype=np.uint16)
    values[:, 32:] = 1200
    return encoded(Image.fromarray(values), kind)


@pytest.mark.parametrize(
    ("source", "left", "right"),
    [
        pytest.param(lambda: encoded(halves(), "PNG"), RED, BLUE, id="png"),
        pytest.param(
            lambda: encoded(halves(), "JPEG", quality=95), RED, BLUE, id="jpeg"
        ),
        pytest.param(
            lambda: encoded(halves().convert("CMYK"), "JPEG", quality=95),
            RED,
            BLUE,
            id="cmyk-jpeg",
        ),
        pytest.param(
            lambda: encoded(halves().convert("CMYK"), "TIFF"), RED, BLUE, id="cmyk-tiff"
        ),
        pytest.param(
            lambda: encoded(halves().quantize(4), "PNG"), RED, BLUE, id="palette"
        ),
        pytest.param(
            lambda: encoded(half_glass_palette(), "PNG"),
            RED,
            WHITE,
            id="palette-transparent",
        ),
        pytest.param(lambda: encoded(glass(), "PNG"), RED, WHITE, id="rgba-on-white"),
        pytest.param(
            lambda: encoded(glass().convert("LA"), "PNG"),
            (76, 76, 76),
            WHITE,
            id="grey-alpha-on-white",
        ),
        pytest.param(lambda: deep("PNG"), (0, 0, 0), WHITE, id="16-bit-png-windowed"),
        pytest.param(lambda: deep("TIFF"), (0, 0, 0), WHITE, id="16-bit-tiff-windowed"),
        pytest.param(
            lambda: encoded(halves().convert("F"), "TIFF"),
            WHITE,
            (0, 0, 0),
            id="float-windowed",
        ),
        pytest.param(
            lambda: encoded(
                halves(),
                "GIF",
                save_all=True,
                append_images=[Image.new("RGB", (64, 48), "lime")],
            ),
            RED,
            BLUE,
            id="animated-gif-first-frame",
        ),
        pytest.param(
            lambda: encoded(
                halves(),
                "WEBP",
                lossless=True,
                save_all=True,
                append_images=[Image.new("RGB", (64, 48), "lime")],
            ),
            RED,
            BLUE,
            id="animated-webp-first-frame",
        ),
        pytest.param(halves, RED, BLUE, id="pil"),
        pytest.param(glass, RED, WHITE, id="pil-rgba"),
        pytest.param(lambda: np.asarray(halves()), RED, BLUE, id="array-rgb"),
        pytest.param(lambda: np.asarray(glass()), RED, WHITE, id="array-rgba"),
        pytest.param(
            lambda: np.asarray(halves())[:, ::-1], BLUE, RED, id="array-not-contiguous"
        ),
        pytest.param(
            lambda: np.asarray(halves())[:, :, 0], WHITE, (0, 0, 0), id="array-grey"
        ),
    ],
)
def test_open_image(
    source: Callable[[], Any], left: tuple[int, ...], right: tuple[int, ...]
) -> None:
    image = open_image(source())
    assert (image.mode, image.size) == ("RGB", (64, 48))
    assert np.abs(np.subtract(image.getpixel((4, 24)), left)).max() <= 3
    assert np.abs(np.subtract(image.getpixel((59, 24)), right)).max() <= 3


@pytest.mark.parametrize(
    "form", [str, Path, Path.read_bytes], ids=["str", "path", "bytes"]
)
def test_open_image_from_disk(form: Callable[[Path], Any], tmp_path: Path) -> None:
    path = tmp_path / "halves.png"
    halves().save(path)
    photo = open_photo(form(path))
    assert np.array_equal(np.asarray(photo.image), np.asarray(halves()))
    assert photo.name == (
        str(path)
        if form is not Path.read_bytes
        else f"picture of {path.stat().st_size} bytes"
    )


def test_the_content_decides_not_the_suffix(tmp_path: Path) -> None:
    path = tmp_path / "really_a_png.jpg"
    halves().save(path, "PNG")
    assert open_image(path).size == (64, 48)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "PPM"])
def test_one_pixel(kind: str) -> None:
    assert (
        open_image(encoded(Image.new("RGB", (1, 1), WHITE), kind)).getpixel((0, 0))
        == WHITE
    )


def test_heic_is_read_and_upright() -> None:
    photo = open_photo(HEIC)
    assert photo.size_wh == photo.image.size == (48, 64)
    assert np.abs(np.subtract(photo.image.getpixel((24, 4)), RED)).max() <= 3
    assert np.abs(np.subtract(photo.image.getpixel((24, 59)), BLUE)).max() <= 3


def test_heic_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    with pytest.raises(ImageError, match="pip install pi-heif"):
        open_image(HEIC)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(10))
def test_exif_turn_against_pillow(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation  # 0 and 9 mean nothing and must turn nothing
    data = encoded(halves().resize((64, 32)), kind, exif=exif)
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
        wanted = ImageOps.exif_transpose(picture).convert("RGB")
    photo = open_photo(data)
    assert np.array_equal(np.asarray(photo.image), np.asarray(wanted))
    assert photo.size_wh == wanted.size
    assert open_photo(data, at_least=8).size_wh == wanted.size
    assert np.array_equal(np.asarray(open_image(photo.image)), np.asarray(wanted)), (
        "turned twice"
    )


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_does_not_cost_the_photo() -> None:
    data = encoded(
        halves(),
        "JPEG",
        exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\xff\xff",
    )
    assert open_image(data).size == (64, 48)


def test_the_callers_picture_is_left_alone() -> None:
    picture = glass()
    before = picture.tobytes()
    open_image(picture).paste(BLUE, (0, 0, 64, 48))
    assert (picture.mode, picture.tobytes()) == ("RGBA", before)
    picture = halves()
    open_image(picture).paste("lime", (0, 0, 64, 48))
    assert np.array_equal(np.asarray(picture), np.asarray(halves()))


@pytest.mark.parametrize(
    ("at_least", "size"),
    [
        (None, (800, 600)),
        (600, (800, 600)),
        (300, (400, 300)),
        (75, (100, 75)),
        (9, (20, 19)),
    ],
)
def test_jpeg_decoded_small_keeps_the_original_size(
    at_least: int | None, size: tuple[int, int]
) -> None:
    photo = open_photo(encoded(halves((800, 600)), "JPEG"), at_least=at_least)
    assert (photo.image.size, photo.size_wh) == (size, (800, 600))


@pytest.mark.parametrize(
    ("size_wh", "small"),
    [
        pytest.param(
            (1599, 1200),
            (229, 200),
            id="each side by its own factor, no less than twice",
        ),
        pytest.param((399, 399), (399, 399), id="too small for it"),
        pytest.param((2000, 100), (200, 100), id="a panorama"),
    ],
)
def test_other_files_are_shrunk_and_look_the_same_to_the_network(
    size_wh: Any, small: Any
) -> None:
    picture = noise(12).resize(size_wh, Image.Resampling.BICUBIC)
    whole, photo = (
        open_photo(encoded(picture, "PNG")),
        open_photo(encoded(picture, "PNG"), at_least=100),
    )
    assert (photo.image.size, photo.size_wh, whole.image.size) == (
        small,
        size_wh,
        size_wh,
    )
    for fit in ("squash", "pad"):
        seen = [
            Preprocessing(100, fit).to_pixels(each.image, each.size_wh)
            for each in (whole, photo)
        ]
        # of values that spread over about 4
        assert np.abs(seen[0] - seen[1]).mean() < 0.02


def test_a_small_photo_is_turned_after_it_is_shrunk() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = open_photo(encoded(halves((800, 400)), "PNG", exif=exif), at_least=50)
    assert (photo.image.size, photo.size_wh) == ((100, 100), (400, 800))
    assert (photo.image.getpixel((50, 9)), photo.image.getpixel((50, 90))) == (
        RED,
        BLUE,
    )


def test_an_opened_photo_stays_as_it_is() -> None:
    photo = open_photo(encoded(halves((800, 600)), "JPEG"), at_least=64, name="mine")
    assert open_photo(photo, max_pixels=1, name="other") is photo


def bomb() -> bytes:
    """The header of a 20,000x20,000 PNG and not one pixel.

    Decoding it would fail with another message.
    """
    header = b"IHDR" + struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    chunks = [header, b"IDAT"]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in chunks
    )


def icon() -> bytes:
    """An icon that announces 16x16 and holds a PNG of 10,000x10,000 and not one pixel."""
    inside = bomb()
    return (
        struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(inside), 22)
        + inside
    )


def many_scans(more: int, *, hide: bool = False) -> bytes:
    """A progressive JPEG whose last scan is there ``more`` times more.

    Each stands behind a marker of no meaning.
    """
    data = encoded(Image.new("RGB", (64, 64), "teal"), "JPEG", progressive=True)
    scan = (b"\xff\x02\xff\xff" if hide else b"") + data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + scan * more + data[-2:]


def test_scans_are_counted_in_the_picture_alone() -> None:
    """A JPEG of some ten scans passes, and so do bytes that look like marks of scans.

    In a comment and behind the picture.
    """
    marks = b"\xff\xda\x00\x02" * 200
    data = encoded(halves(), "JPEG", progressive=True, comment=marks)
    assert open_image(data + marks).size == (64, 48)
    assert open_image(many_scans(50)).size == (64, 64)


def test_a_header_that_lies_about_the_size() -> None:
    class Liar(Image.Image):
        def load(self) -> Any:
            self.im, self._size = Image.core.fill("RGB", (70, 50), 0), (70, 50)
            return super().load()

    def liar() -> Image.Image:
        picture = Liar()
        picture._mode, picture._size = "RGB", (7, 5)
        return picture

    assert open_photo(liar()).size_wh == (70, 50)
    with pytest.raises(
        ImageError, match="70x50 = 3,500 pixels, expected at most 3,499"
    ):
        open_photo(liar(), max_pixels=3499)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        pytest.param(lambda: b"", "0 bytes", id="empty-bytes"),
        pytest.param(lambda: b"these are only words", "not a picture", id="text"),
        pytest.param(
            lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
            "not a picture",
            id="eps-never-run",
        ),
        pytest.param(
            lambda: b"\xff\xd8\xff", "not a picture|damaged", id="three-bytes-of-jpeg"
        ),
        pytest.param(lambda: HEIC[:-20], "not a picture|damaged", id="heic-cut"),
        pytest.param(
            lambda: "no/such/photo.jpg",
            "no/such/photo.jpg: .*no such file",
            id="missing",
        ),
        pytest.param(
            lambda: "a\0b.jpg", "cannot be read|no such file", id="zero-in-path"
        ),
        pytest.param(lambda: Path(__file__).parent, "a folder", id="folder"),
        pytest.param(
            lambda: 7,
            "expected a path, bytes, a PIL picture or a numpy array, got int",
            id="number",
        ),
        pytest.param(
            bomb,
            r"20000x20000 = 400,000,000 pixels.*100,000,000.*--max-pixels 400000000",
            id="too-large",
        ),
        pytest.param(icon, "not a picture", id="icon-never-decoded"),
        pytest.param(lambda: many_scans(200), "at most 100 scans", id="scans"),
        pytest.param(
            lambda: many_scans(200, hide=True),
            "at most 100 scans|damaged",
            id="scans-behind-odd-markers",
        ),
        pytest.param(lambda: Image.new("RGB", (0, 5)), "at least 1x1", id="no-pixels"),
        pytest.param(
            lambda: np.zeros((4, 4, 3), dtype=np.float32),
            "uint8.*float32",
            id="array-float",
        ),
        pytest.param(
            lambda: np.zeros((4, 4), dtype=np.uint16),
            "uint8.*uint16",
            id="array-16-bit",
        ),
        pytest.param(
            lambda: np.zeros((4, 4, 2), dtype=np.uint8),
            r"got \(4, 4, 2\)",
            id="array-two-channels",
        ),
        pytest.param(
            lambda: np.zeros((3, 4, 4), dtype=np.uint8)[..., :1],
            r"got \(3, 4, 1\)",
            id="array-one-channel",
        ),
        pytest.param(
            lambda: np.zeros(4, dtype=np.uint8), r"got \(4,\)", id="array-flat"
        ),
        pytest.param(
            lambda: np.zeros((0, 4, 3), dtype=np.uint8),
            r"got \(0, 4, 3\)",
            id="array-empty",
        ),
    ],
)
def test_refused(source: Callable[[], Any], message: str) -> None:
    with pytest.raises(ImageError, match=message) as caught:
        open_image(source())
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF", "ignore:Truncated File")
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("JPEG", {"restart_marker_rows": 1}),
        ("PNG", {}),
        ("GIF", {}),
        ("WEBP", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("PPM", {}),
        ("JPEG2000", {}),
    ],
)
def test_cut_short_is_refused_wherever_it_is_cut(
    kind: str, options: dict[str, Any]
) -> None:
    data = encoded(noise(), kind, **options)
    whole = np.asarray(open_image(data))
    for share in np.linspace(0.02, 0.998, 40):
        try:
            image = open_image(data[: int(len(data) * share)])
        except ImageError as error:
            assert "\n" not in str(error)
        else:  # what was lost held no pixel (an end mark, a directory of TIFF)
            assert np.array_equal(np.asarray(image), whole), (
                f"half a picture passed at {share:.0%}"
            )


def test_max_pixels_both_ways() -> None:
    data = encoded(halves(), "PNG")  # 64 * 48 = 3072 pixels
    assert open_image(data, max_pixels=3072).size == (64, 48)
    for source in (data, halves(), np.asarray(halves())):
        with pytest.raises(
            ImageError, match="64x48 = 3,072 pixels, expected at most 3,071"
        ):
            open_image(source, max_pixels=3071)


def test_raised_limit_passes_pillows_own_and_restores_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert open_image(encoded(halves(), "PNG"), max_pixels=4000).size == (64, 48)
    with pytest.raises(ImageError):
        open_image(b"these are only words")
    assert Image.MAX_IMAGE_PIXELS == 100


@pytest.mark.parametrize("options", [{"max_pixels": 0}, {"at_least": 0}], ids=str)
def test_settings_out_of_range(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="expected 1 or more"):
        open_photo(halves(), **options)  # type: ignore[arg-type]


def test_too_little_memory_is_not_called_damage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_: Image.Image, **__: Any) -> Image.Image:
        raise MemoryError

    monkeypatch.setattr("regiontalk.images.open.to_rgb", fail)
    with pytest.raises(
        ImageError,
        match=r"^a.png: 64x48 pixels need more memory than there is; shrink it$",
    ):
        open_photo(encoded(halves(), "PNG"), name="a.png")


def test_threads_open_pictures_together() -> None:
    data, sizes = encoded(noise(), "JPEG"), []
    threads = [
        threading.Thread(target=lambda: sizes.append(open_image(data).size))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sizes == [(96, 96)] * 8


def test_real_photo_cut_in_half(shared: Path) -> None:
    path = min((shared / "data/coco/val2017").glob("*.jpg"))
    assert min(open_photo(path, at_least=224).image.size) >= 224
    with pytest.raises(ImageError, match="cut short"):
        open_image(path.read_bytes()[: path.stat().st_size // 2])


def test_photo_decoded_small_is_placed_where_its_boxes_are() -> None:
    photo = open_photo(encoded(halves((801, 603)), "JPEG"), at_least=64)
    assert photo.image.size == (101, 76)
    tensor = Preprocessing(size=100, fit="pad").to_pixels(photo.image, photo.size_wh)
    left, top, right, bottom = (
        Preprocessing(size=100, fit="pad")
        .to_network([[0, 0, 801, 603]], (801, 603))[0]
        .astype(int)
    )
    drawn = (tensor != 0).all(axis=0)
    assert (
        drawn.sum()
        == drawn[top:bottom, left:right].sum()
        == (right - left) * (bottom - top)
    )


@pytest.mark.parametrize("kind", ["zTXt", "iTXt"])
def test_long_texts_in_a_picture_are_no_damage(kind: str) -> None:
    """Programs that make pictures keep their whole recipe there, beyond what Pillow unpacks."""
    texts = PngImagePlugin.PngInfo()
    if kind == "zTXt":
        texts.add_text("workflow", "x" * 3_000_000, zip=True)
    else:
        texts.add_itxt("workflow", "x" * 3_000_000, zip=True)
    file = io.BytesIO()
    Image.new("RGB", (20, 10), (1, 2, 3)).save(file, "PNG", pnginfo=texts)
    assert open_image(file.getvalue()).getpixel((19, 9)) == (1, 2, 3)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_without_its_end_mark_is_a_photo(progressive: bool) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", progressive=progressive)
    data, whole = file.getvalue(), np.asarray(open_image(file.getvalue()))
    for cut in (1, 2):
        np.testing.assert_array_equal(np.asarray(open_image(data[:-cut])), whole)
    with pytest.raises(ImageError, match="damaged or cut short"):
        open_image(data[:-200])


def swapped_profile() -> bytes:
    """A profile of sRGB in which red and blue have changed places."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for at in range(132, 132 + 12 * int.from_bytes(data[128:132], "big"), 12):
        name = bytes(data[at : at + 4])
        data[at : at + 4] = {b"rXYZ": b"bXYZ", b"bXYZ": b"rXYZ"}.get(name, name)
    return bytes(data)


@pytest.mark.parametrize(
    ("source", "left", "right"),
    [
        pytest.param(
            lambda: encoded(halves(), "PNG", icc_profile=swapped_profile()),
            BLUE,
            RED,
            id="png",
        ),
        pytest.param(
            lambda: encoded(halves().quantize(4), "PNG", icc_profile=swapped_profile()),
            BLUE,
            RED,
            id="palette",
        ),
        pytest.param(
            lambda: encoded(glass(), "PNG", icc_profile=swapped_profile()),
            BLUE,
            WHITE,
            id="transparent",
        ),
        pytest.param(lambda: encoded(halves(), "PNG"), RED, BLUE, id="no profile"),
        pytest.param(
            lambda: encoded(halves(), "PNG", icc_profile=b"no profile at all"),
            RED,
            BLUE,
            id="a broken profile",
        ),
        pytest.param(
            lambda: encoded(
                halves().convert("CMYK"), "TIFF", icc_profile=swapped_profile()
            ),
            RED,
            BLUE,
            id="a profile of other channels",
        ),
    ],
)
def test_colour_profiles(
    source: Callable[[], bytes], left: tuple[int, ...], right: tuple[int, ...]
) -> None:
    image = open_image(source(), srgb=True)
    assert np.abs(np.subtract(image.getpixel((4, 24)), left)).max() <= 3
    assert np.abs(np.subtract(image.getpixel((59, 24)), right)).max() <= 3
    assert "icc_profile" not in image.info
    assert open_image(source()).tobytes() == open_image(source(), srgb=False).tobytes()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "CMYK", "P", "1", "I;16", "I", "F"])
def test_large_pictures_are_converted_in_strips(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A strip of ten rows and a whole picture give the same."""
    picture = (
        noise().convert("L").convert(mode) if mode[0] in "IF" else noise().convert(mode)
    )
    profile = swapped_profile() if mode == "RGBA" else None
    picture.info["icc_profile"] = profile
    whole = modes.to_rgb(picture, srgb=True)
    if mode[0] in "IF":  # what percentiles are taken of depends on the size of a strip
        monkeypatch.setattr(modes, "_sampling_step", lambda _: 1)
    monkeypatch.setattr(modes, "_SAMPLE", 960)
    assert modes.to_rgb(picture, srgb=True).tobytes() == whole.tobytes()
    if mode[0] in "IF":
        shades = modes.window(np.asarray(picture))
        assert np.array_equal(np.asarray(whole)[:, :, 0], shades)


def test_a_profile_is_applied_once() -> None:
    source = encoded(halves(), "PNG", icc_profile=swapped_profile())
    once = open_image(source, srgb=True)
    assert open_image(once, srgb=True).tobytes() == once.tobytes()
    assert open_image(source).getpixel((4, 24)) == RED  # what the network is given
