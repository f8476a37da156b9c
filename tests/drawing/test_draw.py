"""What is said is what is drawn, on a copy, at the right place."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageChops

from regiontalk.drawing.draw import _Label, _lay_sentence, contact_sheet, draw
from regiontalk.drawing.labels import colours
from regiontalk.images.open import open_image
from regiontalk.records import ImageResult, PhraseMatch, RegionCaption

module = sys.modules["regiontalk.drawing.draw"]
GREY = (90, 90, 90)


def said(
    *regions: tuple[tuple[float, float, float, float], str | None],
    size_wh: tuple[int, int] = (800, 600),
    caption: str | None = None,
    matches: tuple[PhraseMatch, ...] = (),
) -> ImageResult:
    whole = None if caption is None else RegionCaption((0, 0, *size_wh), caption, 0.5)
    return ImageResult(
        "p",
        size_wh,
        "m",
        whole,
        tuple(RegionCaption(box, text, 0.5) for box, text in regions),
        matches,
    )


def labels_of(
    monkeypatch: pytest.MonkeyPatch, image: Image.Image, result: ImageResult
) -> list[tuple[int, ...]]:
    """The rectangles of the labels that `draw` writes on the page and in the list."""
    boxes, write = [], module._write_label

    def spy(page: Image.Image, label: _Label) -> None:
        left, top = label.corner
        boxes.append(
            (left, top, left + label.text.size[0], top + label.text.size[1], page.size)
        )
        write(page, label)

    monkeypatch.setattr(module, "_write_label", spy)
    page = draw(image, result)
    return [box[:4] for box in boxes if box[4] == page.size]


def changed(before: Image.Image, after: Image.Image) -> np.ndarray:
    """True where the photo part of a drawing differs from the photo."""
    difference = ImageChops.difference(before, after.crop((0, 0, *before.size)))
    return np.asarray(difference).max(axis=2) > 0


def test_a_copy_is_drawn_on() -> None:
    photo = Image.new("RGB", (800, 600), GREY)
    drawn = draw(photo, said(((100, 100, 300, 300), "a dog")))
    assert drawn.size == photo.size
    assert photo.getcolors() == [(480_000, GREY)]
    assert changed(photo, drawn).any()


def test_nothing_said_nothing_drawn() -> None:
    photo = Image.new("RGB", (800, 600), GREY)
    assert draw(photo, said()).tobytes() == photo.tobytes()


def test_box_and_label_by_hand() -> None:
    photo = Image.new("RGB", (800, 600), GREY)
    drawn = draw(photo, said(((100, 200, 300, 400), "a dog")))
    colour = colours(1)[0]
    # font 0.024 * sqrt(800 * 600) = 16.6 -> 17, line 17 / 6 = 2.8 -> 3 pixels inward from the
    # corner
    for point in [
        (100, 390),
        (102, 390),
        (299, 390),
        (297, 390),
        (200, 399),
        (200, 397),
    ]:
        assert drawn.getpixel(point) == colour, point
    assert drawn.getpixel((200, 300)) == GREY
    # one line of 1.2 * 17 = 20 with 0.2 * 17 = 3 above and below: the label takes the 26 rows above
    # the box
    assert drawn.getpixel((100, 174)) == colour and drawn.getpixel((100, 173)) == GREY


def test_bare_box_is_thin_and_wordless(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = Image.new("RGB", (800, 600), GREY)
    result = said(((100, 200, 300, 400), None))
    assert labels_of(monkeypatch, photo, result) == []
    assert not changed(photo, draw(photo, result)).any()  # unless it is asked for
    drawn = draw(photo, result, bare_boxes=True)
    assert drawn.size == photo.size
    touched = changed(photo, drawn)
    assert touched[195:405, 100].any() and not touched[205:395, 105:295].any()
    bold = changed(photo, draw(photo, said(((100, 200, 300, 400), "x"))))
    assert touched[250, 90:120].sum() < bold[250, 90:120].sum()


@pytest.mark.parametrize(
    ("size_wh", "count", "words"),
    [
        pytest.param((800, 600), 10, "a man in a red shirt", id="usual"),
        pytest.param((800, 600), 40, "a man in a red shirt", id="crowd"),
        pytest.param(
            (800, 600), 20, "a long caption that never comes to its end " * 4, id="long"
        ),
        pytest.param((60, 900), 6, "Donaudampfschifffahrtsgesellschaft", id="narrow"),
        pytest.param((900, 12), 6, "a man", id="flat"),
        pytest.param((1, 1), 3, "a man", id="one-pixel"),
        pytest.param((224, 224), 20, "two dogs\nrun", id="small"),
    ],
)
def test_labels_never_cover_each_other(
    size_wh: tuple[int, int], count: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(count)
    corners = np.sort(rng.random((count, 2, 2)), axis=1).reshape(count, 4) * [
        *size_wh,
        *size_wh,
    ]
    photo = Image.new("RGB", size_wh, GREY)
    scale = max(1, 640 / max(size_wh))
    boxes = labels_of(
        monkeypatch,
        photo,
        said(*((tuple(row), words) for row in corners.tolist()), size_wh=size_wh),
    )
    for number, box in enumerate(boxes):
        assert box[0] >= 0 and box[1] >= 0
        assert box[2] <= round(size_wh[0] * scale) and box[3] <= round(
            size_wh[1] * scale
        )
        for other in boxes[:number]:
            assert (
                box[2] <= other[0]
                or other[2] <= box[0]
                or box[3] <= other[1]
                or other[3] <= box[1]
            )


def test_captions_without_room_are_listed_below() -> None:
    photo = Image.new("RGB", (640, 480), GREY)
    region = (
        (10.0, 10.0, 600.0, 400.0),
        "a long caption that never comes to its end " * 3,
    )
    few, many = (
        draw(photo, said(region, size_wh=(640, 480))),
        draw(photo, said(*[region] * 12, size_wh=(640, 480))),
    )
    assert few.height == 480 < many.height
    assert many.crop((0, 480, *many.size)).getcolors(100_000)


def test_whole_caption_stands_in_a_strip() -> None:
    photo = Image.new("RGB", (800, 600), GREY)
    one, two = (
        draw(photo, said(caption="a dog")),
        draw(photo, said(caption="a dog runs over the grass " * 8)),
    )
    assert one.width == two.width == 800 and 600 < one.height < two.height
    assert one.crop((0, 0, 800, 600)).tobytes() == photo.tobytes()
    assert draw(photo, said(caption="  ")).size == photo.size


@pytest.mark.parametrize(
    ("size_wh", "page_wh"),
    [
        ((224, 224), (640, 640)),
        ((320, 80), (640, 160)),
        ((640, 480), (640, 480)),
        ((1200, 900), (1200, 900)),
        ((60, 640), (320, 640)),
    ],
    ids=str,
)
def test_small_photos_are_enlarged(
    size_wh: tuple[int, int], page_wh: tuple[int, int]
) -> None:
    assert draw(Image.new("RGB", size_wh), said(size_wh=size_wh)).size == page_wh


def test_boxes_follow_the_pictures_size() -> None:
    """A photo that was decoded at half its size gets its boxes at half."""
    half, full = (
        Image.new("RGB", (800, 600), GREY),
        ((200.0, 400.0, 600.0, 800.0), None),
    )
    wanted = draw(half, said(((100.0, 200.0, 300.0, 400.0), None)))
    assert draw(half, said(full, size_wh=(1600, 1200))).tobytes() == wanted.tobytes()


def match(words: str, *box: float) -> PhraseMatch:
    return PhraseMatch(words, (box[0], box[1], box[2], box[3]), 1.0)


def test_words_are_joined_to_their_boxes() -> None:
    photo = Image.new("RGB", (800, 600), GREY)
    matches = (
        match("a", 100, 100, 300, 300),
        match("dog", 100, 100, 300, 300),
        match("runs", 500, 50, 700, 200),
    )
    drawn = draw(photo, said(matches=matches))
    first, second = colours(2)
    assert drawn.height > 600
    below = np.asarray(drawn)[600:].reshape(-1, 3)
    for colour in (first, second):
        assert (below == colour).all(axis=1).any(), "underline"
    touched = changed(photo, drawn)
    assert all(touched[row].any() for row in range(302, 600)), (
        "a line runs from the strip up to each box"
    )
    # The line of "runs" reaches the lower edge of its box, 15 % in from the corner: 500 + 0.15 *
    # 200 = 530
    assert drawn.getpixel((530, 203)) == second


def test_runs_group_neighbours_of_one_box() -> None:
    words = [("a", 0), ("dog", 0), ("and", 1), ("a", 0), ("cat", 0)]
    runs, height = _lay_sentence(words, 20, 2000)
    assert [(run.words, run.target) for run in runs] == [
        ("a dog", 0),
        ("and", 1),
        ("a cat", 0),
    ]
    assert all(
        first.left + first.width < second.left for first, second in pairwise(runs)
    )
    assert {run.top for run in runs} == {
        32
    } and height == 32 + 40  # 1.6 and 2 letter heights of 20
    assert _lay_sentence([], 20, 2000) == ([], 0)


def test_long_sentences_take_more_rows() -> None:
    runs, _ = _lay_sentence(
        [(word, number) for number, word in enumerate("abcdefgh " * 9)], 20, 120
    )
    assert len({run.top for run in runs}) > 1
    assert max(run.left + run.width for run in runs) <= 120


def test_regions_and_matches_together() -> None:
    result = said(
        ((10, 10, 200, 200), "a dog"),
        caption="a dog runs",
        matches=(match("dog", 0, 0, 800, 600),),
    )
    drawn = draw(Image.new("RGB", (800, 600), GREY), result)
    assert drawn.width == 800 and drawn.height > 650


def test_transparent_and_grey_pictures_are_drawn_on_rgb() -> None:
    for mode in ("RGBA", "L", "P"):
        assert draw(Image.new(mode, (800, 600)), said(caption="x")).mode == "RGB"


@pytest.mark.parametrize(
    ("count", "columns", "size"),
    # cells of 80, gaps of 2: 3 * 80 + 4 * 2 wide; each picture is 80x40, so 2 * 40 + 3 * 2 high
    [(6, 3, (248, 86)), (4, 3, (248, 86)), (1, 3, (84, 44)), (3, 1, (84, 128))],
)
def test_contact_sheet_by_hand(count: int, columns: int, size: tuple[int, int]) -> None:
    pictures = [
        Image.new("RGB", (200, 100), (number * 30, 0, 255)) for number in range(count)
    ]
    sheet = contact_sheet(pictures, columns, cell=80)
    assert sheet.size == size
    for number in range(count):
        row, column = divmod(number, columns)
        assert sheet.getpixel((2 + column * 82 + 40, 2 + row * 42 + 20)) == (
            number * 30,
            0,
            255,
        )


@pytest.mark.parametrize(
    ("count", "columns", "cell", "message"),
    [
        (0, 3, 80, "at least one image"),
        (1, 0, 80, "columns and cell"),
        (1, 1, 0, "columns and cell"),
    ],
)
def test_contact_sheet_errors(
    count: int, columns: int, cell: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        contact_sheet([Image.new("RGB", (9, 9))] * count, columns, cell)


def test_real_photo(shared: Path) -> None:
    photo = open_image(min((shared / "data/coco/val2017").glob("*.jpg")))
    box = (0.1 * photo.width, 0.2 * photo.height, 0.5 * photo.width, 0.9 * photo.height)
    drawn = draw(
        photo,
        said((box, "a bear"), (box, None), size_wh=photo.size, caption="a bear sits"),
    )
    assert drawn.width >= photo.width and drawn.height > photo.height


def test_a_sentence_that_is_not_sure_is_hedged(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = Image.new("RGB", (800, 600), GREY)
    caption = RegionCaption((0, 0, 800, 600), "a dog runs", 0.2, sure=False)
    result = ImageResult("a.jpg", (800, 600), "test", caption)
    strips: list[str] = []
    monkeypatch.setattr(
        "regiontalk.drawing.draw._caption_strip",
        lambda text, *_: strips.append(text) or photo,
    )
    draw(photo, result)
    assert strips == ["perhaps: a dog runs"]
