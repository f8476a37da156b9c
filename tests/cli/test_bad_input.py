"""Bad photos, boxes, sentences and options, end to end with a real model.

An exit code, one clear line, no leavings.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from regiontalk.records import ImageResult

Damage = Callable[[Path], object]
HEIC = Path(__file__).parents[1] / "data" / "turned.heic"


def noise(seed: int = 0) -> Image.Image:
    return Image.fromarray(
        np.random.default_rng(seed).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    )


def make_cmyk(path: Path) -> None:
    noise().convert("CMYK").save(path)


def make_deep(path: Path) -> None:
    Image.fromarray(
        np.linspace(1000, 1200, 48 * 64).reshape(48, 64).astype(np.uint16)
    ).save(path)


def make_palette(path: Path) -> None:
    noise().quantize(7).save(path)


def make_animated(path: Path) -> None:
    noise(1).save(path, save_all=True, append_images=[noise(2), noise(3)])


def make_turned(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    noise().save(path, exif=exif)


@pytest.mark.parametrize(
    ("name", "make", "size"),
    [
        pytest.param("cmyk.jpg", make_cmyk, (64, 48), id="CMYK"),
        pytest.param("deep.png", make_deep, (64, 48), id="16 bit"),
        pytest.param("palette.png", make_palette, (64, 48), id="palette"),
        pytest.param("moving.gif", make_animated, (64, 48), id="animated"),
        pytest.param("turned.jpg", make_turned, (48, 64), id="EXIF-turned"),
        pytest.param(
            "photo.heic",
            lambda path: shutil.copy(HEIC, path),
            (48, 64),
            id="HEIC, turned",
        ),
        pytest.param(
            "dot.png",
            lambda path: Image.new("RGB", (1, 1)).save(path),
            (1, 1),
            id="one pixel",
        ),
        pytest.param(
            "line.png",
            lambda path: Image.new("RGB", (900, 2)).save(path),
            (900, 2),
            id="a line",
        ),
    ],
)
def test_unusual_photos_work(
    real: Any, name: str, make: Damage, size: tuple[int, int]
) -> None:
    make(Path(name))
    result = real("caption", name, "--json", "--model", "tiny", "--draw", "drawn")
    assert result.exit_code == 0, result.stderr
    # which refuses boxes outside the photo or without area
    read = ImageResult.from_dict(json.loads(result.stdout))
    assert (
        read.size_wh == size
        and read.caption is not None
        and read.caption.box == (0, 0, *size)
    )
    assert [path.name for path in Path("drawn").iterdir()] == [
        f"{Path(name).stem}_regions.jpg"
    ]


@pytest.mark.parametrize("verb", ["caption", "align", "locate"])
@pytest.mark.parametrize(
    ("photo", "message"),
    [
        pytest.param("words.jpg", "words.jpg: not a picture", id="not a picture"),
        pytest.param(
            "empty.jpg", "empty.jpg: expected a picture, got 0 bytes", id="0 bytes"
        ),
        pytest.param("cut.jpg", "cut.jpg: damaged or cut short", id="truncated"),
        pytest.param(
            "huge.png",
            "20000x20000 = 400,000,000 pixels, expected at most 100,000,000",
            id="too large",
        ),
        pytest.param(
            "huge.png", "--max-pixels 400000000", id="too large: how to raise the limit"
        ),
        pytest.param("gone.jpg", "gone.jpg: no such photo", id="missing"),
        pytest.param("folder", "folder", id="a folder without pictures"),
    ],
)
def test_bad_photos(
    real: Any, refused: Any, verb: str, photo: str, message: str
) -> None:
    words = [] if verb == "caption" else ["a red car"]
    refused(
        real(verb, photo, *words, "--json", "--model", "tiny", "--draw", "drawn"),
        message,
    )
    assert not Path("drawn").exists() or not list(Path("drawn").iterdir())


def test_the_limit_is_the_users(real: Any, refused: Any) -> None:
    arguments = ["caption", "good.jpg", "--model", "tiny", "--max-pixels"]
    refused(real(*arguments, "3071"), "64x48 = 3,072 pixels, expected at most 3,071")
    assert real(*arguments, "3072").exit_code == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(
            ["--box", "0,0,65,48"],
            "box 0,0,65,48: outside the photo, which is 64x48",
            id="outside",
        ),
        pytest.param(
            ["--box", "70,50,90,60"],
            "outside the photo, which is 64x48",
            id="wholly outside",
        ),
        pytest.param(["--box", "-3,0,9,9"], "expected 0 <= x1 < x2", id="negative"),
        pytest.param(["--box", "30,10,20,40"], "expected 0 <= x1 < x2", id="inverted"),
        pytest.param(["--box", "5,5,5,9"], "expected 0 <= x1 < x2", id="empty"),
        pytest.param(["--box", "1,2,3"], "expected x1,y1,x2,y2", id="three numbers"),
        pytest.param(
            ["--box", "1,1,9,9", "--box", "9,9,99,9.5"],
            "box 9,9,99,9.5: outside",
            id="the second of two",
        ),
        pytest.param(
            ["--source", "yolo"],
            "expected one of proposals, grid:ROWSxCOLUMNS",
            id="unknown source",
        ),
        pytest.param(
            ["--source", "features:gone"],
            "gone: expected a folder or a file",
            id="no features",
        ),
        pytest.param(
            ["--source", "detector:gone.pt"],
            "gone.pt: expected a safetensors file",
            id="no weights",
        ),
        pytest.param(
            ["--regions", "-1"], "'--regions'", id="negative number of regions"
        ),
        pytest.param(["--beam", "0"], "'--beam'", id="no beam"),
        pytest.param(["--threshold", "2"], "'--threshold'", id="threshold above 1"),
        pytest.param(["--bogus"], "--bogus", id="unknown option"),
        pytest.param(
            ["--device", "abacus"],
            "device: expected cpu, or an accelerator",
            id="unknown device",
        ),
        pytest.param(["--draw", "good.jpg"], "good.jpg", id="draw into a file"),
        pytest.param(
            ["--draw", "good.jpg/below"], "good.jpg/below", id="draw below a file"
        ),
    ],
)
def test_bad_options(real: Any, refused: Any, options: list[str], message: str) -> None:
    refused(real("caption", "good.jpg", "--model", "tiny", *options), message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["bogus"], "bogus", id="unknown verb"),
        pytest.param(["caption"], "Missing argument", id="no photo"),
        pytest.param(["align", "good.jpg"], "Missing argument", id="no sentence"),
    ],
)
def test_bad_commands(
    real: Any, refused: Any, arguments: list[str], message: str
) -> None:
    refused(real(*arguments), message)


@pytest.mark.parametrize("verb", ["align", "locate"])
@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param("", "expected at least one word, got ''", id="empty"),
        pytest.param("  ", "expected at least one word", id="blanks"),
        pytest.param("?! -", "expected at least one word", id="punctuation"),
        pytest.param(
            "zebra quark",
            "none of its words is known to the model, got 'zebra quark'",
            id="all unknown",
        ),
        pytest.param("собака 狗", "none of its words is known", id="another language"),
    ],
)
def test_bad_sentences(
    real: Any, refused: Any, verb: str, words: str, message: str
) -> None:
    refused(
        real(verb, "good.jpg", words, "--model", "tiny", "--draw", "drawn"), message
    )
    assert list(Path("drawn").iterdir()) == []


def test_one_known_word_is_enough(real: Any) -> None:
    result = real("align", "good.jpg", "zebra dog", "--json", "--model", "tiny")
    assert result.exit_code == 0
    assert [match["phrase"] for match in json.loads(result.stdout)["matches"]] == [
        "dog"
    ]


@pytest.mark.parametrize(
    "options", [[], ["--draw", "drawn"], ["--source", "grid:2x2"]], ids=" ".join
)
def test_one_failure_leaves_the_others(real: Any, options: list[str]) -> None:
    result = real("caption", "album", "gone.jpg", "--json", "--model", "tiny", *options)
    assert result.exit_code == 1
    photos = [
        ImageResult.from_dict(json.loads(line)).photo
        for line in result.stdout.splitlines()
    ]
    assert photos == ["album/a.jpg", "album/c.jpg", "album/e.png"]
    heading, *failures = result.stderr.splitlines()[-4:]
    assert heading == "regiontalk: 3 of 6 photos failed:"
    assert [line.split(":")[0].strip() for line in failures] == [
        "album/b.jpg",
        "album/d.jpg",
        "gone.jpg",
    ]
    drawn = sorted(path.name for path in Path("drawn").glob("*"))
    assert drawn == (
        ["a_regions.jpg", "c_regions.jpg", "e_regions.jpg"]
        if "--draw" in options
        else []
    )


def test_a_box_that_fits_only_some_photos(real: Any) -> None:
    Image.new("RGB", (20, 20)).save("small.png")
    result = real(
        "caption",
        "good.jpg",
        "small.png",
        "--box",
        "0,0,30,30",
        "--json",
        "--model",
        "tiny",
    )
    assert result.exit_code == 1 and len(result.stdout.splitlines()) == 1
    assert (
        "small.png: box 0,0,30,30: outside the photo, which is 20x20 pixels"
        in result.stderr
    )


def test_a_process_of_its_own_says_one_line(here: Path) -> None:
    command = "from regiontalk.cli.main import app; app(['caption', 'cut.jpg', '--model', 'tiny'])"
    found = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True
    )
    assert found.returncode == 2 and found.stdout == ""
    assert (
        len(found.stderr.splitlines()) == 1
        and "cut.jpg: damaged or cut short" in found.stderr
    )
