"""What is suspicious in a data set before it trains.

Captions that are no sentences, boxes of another convention. A box of ours is x1, y1,
x2, y2 in pixels. Other tools write shares of the photo (0 to 1), percent, a corner with
width and height (COCO), or a centre with width and height (YOLO). One box cannot show
which it is; all boxes of a data set together mostly do.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from regiontalk.records import Example
from regiontalk.text.vocabulary import MARKS, tokenize

LONGEST = 100  # words of a caption that training reads
EMPTY_WORDS = {"none", "nan", "null", "n/a", "na", "undefined", "<na>"}
_LIST = re.compile(r"""^\s*\[\s*(['"]).*\1\s*\]\s*$""", re.DOTALL)
_HTML = re.compile(
    r"&(?:[a-z]{2,6}|#\d{2,5});|</?(?:p|br|b|i|em|strong|span|div|a|li|ul)\b[^>]*>",
    re.IGNORECASE,
)
# UTF-8 that was read as Latin-1 or cp1252: the first byte of a letter as a letter,
# then one of those behind it
_MISREAD = re.compile(
    r"[\u00c2\u00c3][\u0080-\u00bf\u0152-\u0178\u2018-\u203a\u20ac\u2122]|\u00e2\u20ac"
)
_EXAMPLE = "\u00c3\u00a9 for \u00e9; save the text as UTF-8"
_ENOUGH = 4  # boxes that show a convention

Quad = tuple[float, float, float, float]


@dataclass(frozen=True)
class RawBox:
    """Four numbers as a file gives them, and the size of their photo.

    None where it is not known.
    """

    numbers: Quad
    size_wh: tuple[int, int] | None

    @property
    def is_inverted(self) -> bool:
        """Whether they cannot be corners."""
        x1, y1, x2, y2 = self.numbers
        return x2 <= x1 or y2 <= y1

    @property
    def fits_as_corners(self) -> bool:
        """Whether they are x1, y1, x2, y2 inside a photo of known size.

        A pixel of rounding is allowed.
        """
        if self.is_inverted or self.size_wh is None:
            return False
        x1, y1, x2, y2 = self.numbers
        width, height = self.size_wh
        begins_inside = min(x1, y1) >= 0
        ends_inside = x2 <= width + 1 and y2 <= height + 1
        return begins_inside and ends_inside

    @property
    def fits_as_corner_and_size(self) -> bool:
        """Whether x, y, width, height stay in the photo, a pixel of rounding apart."""
        x, y, width, height = self.numbers
        if min(x, y) < 0 or min(width, height) <= 0:
            return False
        if self.size_wh is None:
            return True
        photo_width, photo_height = self.size_wh
        return x + width <= photo_width + 1 and y + height <= photo_height + 1


def box_convention(boxes: Sequence[RawBox]) -> str | None:
    """What the boxes of a data set look like where they are not pixels x1, y1, x2, y2.

    None where they do.

    >>> shares = [RawBox((0.1, 0.2, 0.5, 0.6), (640, 480))] * 4
    >>> box_convention(shares)
    'shares of the photo, 0 to 1; multiply x by its width and y by its height'
    """
    if len(boxes) < _ENOUGH:
        return None
    smallest, largest = _range_of(boxes)
    inverted = sum(box.is_inverted for box in boxes)
    if largest <= 1.0 + 1e-6 and smallest >= -1e-6:
        if inverted:
            return (
                "YOLO's centre x, centre y, width, height in shares of the photo, 0 to 1; x1 is "
                "(centre x - width / 2) times the photo's width, and so on"
            )
        return (
            "shares of the photo, 0 to 1; multiply x by its width and y by its height"
        )
    if (
        inverted > 1
        and inverted / len(boxes) >= 0.2
        and all(box.fits_as_corner_and_size for box in boxes)
    ):
        return "x, y, width, height, as COCO has them; x2 is x + width and y2 is y + height"
    return None


def check_corner_and_size(where: str, boxes: Sequence[RawBox]) -> None:
    """Refuse boxes that should be x, y, width, height and by all appearance are x1, y1, x2, y2.

    Raises:
        ValueError: a fifth of them and more would leave their photo, and all lie in it as corners.
    """
    if len(boxes) < _ENOUGH:
        return
    outside = sum(not box.fits_as_corner_and_size for box in boxes)
    if outside >= 0.2 * len(boxes) and all(box.fits_as_corners for box in boxes):
        raise ValueError(
            f"{where}: expected boxes x, y, width, height, got {len(boxes)} of which "
            f"{outside} would leave their photo; they look like x1, y1, x2, y2: width "
            "is x2 - x1 and height is y2 - y1"
        )


def looks_like_percent(boxes: Sequence[RawBox]) -> bool:
    """Whether all boxes end at 100 in photos that are much larger.

    Percent, or small things in one corner.
    """
    sizes = [box.size_wh for box in boxes if box.size_wh is not None]
    if len(boxes) < _ENOUGH or not sizes:
        return False
    _, largest = _range_of(boxes)
    shortest_side = min(min(size) for size in sizes)
    return 40 < largest <= 100 and shortest_side >= 200


def _range_of(boxes: Sequence[RawBox]) -> tuple[float, float]:
    """The smallest and the largest number of all boxes."""
    smallest = min(min(box.numbers) for box in boxes)
    largest = max(max(box.numbers) for box in boxes)
    return smallest, largest


def is_missing(caption: str) -> bool:
    """Whether a caption is what a program writes where there is none.

    >>> is_missing("NaN"), is_missing("nan bread")
    (True, False)
    """
    return caption.strip().casefold() in EMPTY_WORDS


def caption_troubles(examples: Iterable[Example]) -> dict[str, list[str]]:
    """Kind of trouble -> the photos whose captions have it; kinds that do not occur are absent."""
    troubles: dict[str, list[str]] = {}
    for example in examples:
        for caption in example.captions:
            excerpt = caption[:40]
            where = f"{example.id} ({excerpt!r})"
            for kind in _kinds(caption):
                troubles.setdefault(kind, []).append(where)
    return troubles


def _kinds(caption: str) -> list[str]:
    """The kinds of trouble that one caption has."""
    words = tokenize(caption)
    tags = [token for token in caption.lower().split() if token.startswith("<")]
    kinds = {
        "caption without a word that can be learnt": not words,
        "caption that is a list written as text": bool(_LIST.match(caption)),
        "caption with characters that could not be read (U+FFFD)": "\ufffd" in caption,
        "caption with HTML in it (&amp;, <br>); write plain text": bool(
            _HTML.search(caption)
        ),
        f"caption whose accents were read in a wrong encoding ({_EXAMPLE})": bool(
            _MISREAD.search(caption)
        ),
        "caption without blanks, read as one word; put blanks between words": _lacks_blanks(
            words
        ),
        f"caption of more than {LONGEST} words, of which training reads the first {LONGEST}": (
            len(words) > LONGEST
        ),
        "caption with marks of another tool, such as <unk>": not MARKS.isdisjoint(tags),
    }
    return [kind for kind, applies in kinds.items() if applies]


def _lacks_blanks(words: Sequence[str]) -> bool:
    """Whether a sentence is a word or two, in a script that writes no blanks.

    Chinese, Japanese, Thai and others.

    >>> _lacks_blanks(["一只猫看着镜头"]), _lacks_blanks(["cat"])
    (True, False)
    """
    return any(len(word) > 5 and _is_unspaced(word[0]) for word in words)


def _is_unspaced(letter: str) -> bool:
    name = unicodedata.name(letter, "")
    return name.startswith(
        ("CJK ", "HIRAGANA", "KATAKANA", "THAI", "LAO ", "KHMER", "MYANMAR")
    )
