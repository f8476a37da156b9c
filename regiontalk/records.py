"""The records that travel from reader to JSON.

Frozen, checked on creation, made of numpy arrays and plain values. The dimension
letters used in every docstring of this package: B photos, N regions, T words, D
embedding, F features, H hidden, V vocabulary, K beams; C sentences where not B.

Boxes outside a network are always float32 (N, 4) ``boxes_xyxy`` in pixels of the original image.
Row 0 of a `Regions` that describes a photo is the whole photo; the rows after it fall by score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FORMAT = 1  # of every JSON document that RegionTalk writes

FloatArray = NDArray[np.float32]


def checked_boxes(
    boxes_xyxy: Any, size_wh: tuple[int, int] | None = None
) -> FloatArray:
    """Boxes as float32 (N, 4), checked.

    One that is not finite, empty, inverted or outside the image is refused.

    Args:
        boxes_xyxy: anything that numpy reads as (N, 4); an empty list gives (0, 4).
        size_wh: the image's width and height in pixels; None skips the check against it.

    Raises:
        ValueError: names the first bad box, what was expected and what came.
    """
    boxes = np.asarray(boxes_xyxy, dtype=np.float32)
    if boxes.size == 0:
        return np.zeros((0, 4), dtype=np.float32)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(
            f"boxes: expected shape (N, 4) as x1,y1,x2,y2, got {boxes.shape}"
        )
    low, high = boxes[:, :2], boxes[:, 2:]
    is_valid = np.isfinite(boxes).all(axis=1) & (high > low).all(axis=1)
    if size_wh is not None:
        is_valid &= (low >= 0).all(axis=1) & (high <= size_wh).all(axis=1)
    # evaluation checks a million boxes: the good ones cost nothing more
    invalid = boxes[~is_valid]
    if len(invalid):
        raise ValueError(_what_is_wrong(invalid[0], size_wh))
    return boxes


def _what_is_wrong(box: FloatArray, size_wh: tuple[int, int] | None) -> str:
    """Why a box (4,) is refused."""
    x1, y1, x2, y2 = box
    text = ",".join(f"{value:g}" for value in box)
    if not np.isfinite(box).all():
        return f"box {text}: expected finite numbers"
    if x2 <= x1 or y2 <= y1 or size_wh is None:
        return f"box {text}: empty or inverted; expected x1,y1,x2,y2 with x1 < x2 and y1 < y2"
    width, height = size_wh
    return f"box {text}: outside the photo, which is {width}x{height} pixels"


def _rounded(box: Sequence[float]) -> list[float]:
    """A box as JSON has it, to a tenth of a pixel."""
    return [round(float(value), 1) for value in box]


def _corners(values: Sequence[float]) -> tuple[float, float, float, float]:
    """A box as `_rounded` wrote it."""
    x1, y1, x2, y2 = values
    return x1, y1, x2, y2


@dataclass(frozen=True)
class Regions:
    """The regions of one photo with all their fields in step.

    Attributes:
        boxes_xyxy: (N, 4) pixels of the original image; row 0 is the whole photo.
        scores: (N,) objectness in 0..1; 1 for the whole photo and for boxes that a user gave.
        size_wh: width and height of the original image in pixels.
        features: (N, F) region vectors, or None before a backbone has run.
    """

    boxes_xyxy: FloatArray
    scores: FloatArray
    size_wh: tuple[int, int]
    features: FloatArray | None = None

    def __post_init__(self) -> None:
        boxes = checked_boxes(self.boxes_xyxy)
        scores = np.asarray(self.scores, dtype=np.float32)
        if scores.shape != (len(boxes),):
            raise ValueError(
                f"scores: expected one a box, ({len(boxes)},), got {scores.shape}"
            )
        features = self.features
        if features is not None and (features.ndim != 2 or len(features) != len(boxes)):
            raise ValueError(
                f"features: expected ({len(boxes)}, F), got {features.shape}"
            )
        object.__setattr__(self, "boxes_xyxy", boxes)
        object.__setattr__(self, "scores", scores)

    def __len__(self) -> int:
        return len(self.boxes_xyxy)

    def __getitem__(self, rows: slice | NDArray[Any]) -> Regions:
        """The chosen rows, every field sliced together."""
        boxes, scores = self.boxes_xyxy[rows], self.scores[rows]
        features = None if self.features is None else self.features[rows]
        return replace(self, boxes_xyxy=boxes, scores=scores, features=features)


@dataclass(frozen=True)
class RegionCaption:
    """Words on one box. ``text`` is None where the model is not confident enough to speak.

    Attributes:
        box: x1, y1, x2, y2 in pixels of the original image.
        text: the caption, or None below the confidence threshold.
        confidence: calibrated probability in 0..1 that the caption is right (docs/notebook.md says
            how it is measured).
        score: objectness of the box in 0..1; 1 where the user gave the box or it is the whole
            photo.
        sure: False where words are given although the confidence is below the model's threshold for
            them.
    """

    box: tuple[float, float, float, float]
    text: str | None
    confidence: float
    score: float = 1.0
    sure: bool = True

    def __post_init__(self) -> None:
        checked_boxes([self.box])
        for name, value in (("confidence", self.confidence), ("score", self.score)):
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name}: expected 0..1, got {value}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `from_dict` reads them back."""
        return {
            "box": _rounded(self.box),
            "text": self.text,
            "confidence": round(self.confidence, 4),
            "score": round(self.score, 4),
            "sure": self.sure,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RegionCaption:
        """The record that `to_dict` wrote, or an older version without ``sure``."""
        return cls(
            box=_corners(values["box"]),
            text=values["text"],
            confidence=values["confidence"],
            score=values["score"],
            sure=values.get("sure", True),
        )

    @property
    def hedged_text(self) -> str | None:
        """The words as a person should read them.

        "perhaps: a dog runs" where the model is not sure.

        >>> RegionCaption((0, 0, 9, 9), "a dog runs", 0.2, sure=False).hedged_text
        'perhaps: a dog runs'
        """
        if self.sure or not self.text:
            return self.text
        return f"perhaps: {self.text}"


@dataclass(frozen=True)
class PhraseMatch:
    """A phrase (or one word) and the box that answers it.

    Attributes:
        phrase: the phrase as the user wrote it, or one token of the sentence (`text.tokenize`:
            lower case, no marks).
        box: x1, y1, x2, y2 in pixels of the original image.
        score: alignment v . s of the phrase and the box with the model's prior on regions,
            comparable inside one photo only.
    """

    phrase: str
    box: tuple[float, float, float, float]
    score: float

    def __post_init__(self) -> None:
        checked_boxes([self.box])

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `from_dict` reads them back."""
        return {
            "phrase": self.phrase,
            "box": _rounded(self.box),
            "score": round(self.score, 4),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PhraseMatch:
        """The record that `to_dict` wrote."""
        return cls(values["phrase"], _corners(values["box"]), values["score"])


@dataclass(frozen=True)
class RegionSnippet:
    """Words of a sentence and the box that they name (eq. 10 to 12 of [1]).

    Attributes:
        caption: which of the photo's sentences.
        first: position of the first word in its tokens.
        text: the words, as `text.tokenize` writes them.
        box: x1, y1, x2, y2 in pixels of the original image; that of the whole photo is legal.
        score: sum of v . s over the words.
    """

    caption: int
    first: int
    text: str
    box: tuple[float, float, float, float]
    score: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "caption": self.caption,
            "first": self.first,
            "text": self.text,
            "box": _rounded(self.box),
            "score": round(self.score, 4),
        }


@dataclass(frozen=True)
class ImageResult:
    """All that was said about one photo: what ``--json`` prints (docs/json.md).

    Attributes:
        photo: the path or name that the caller gave.
        size_wh: width and height in pixels, after the EXIF turn.
        model: the name of the model that spoke.
        caption: the whole photo's caption; None where only phrases were asked for.
        regions: captions on boxes, best first.
        matches: phrases or words with their boxes, in the order of the sentence.
    """

    photo: str
    size_wh: tuple[int, int]
    model: str
    caption: RegionCaption | None = None
    regions: tuple[RegionCaption, ...] = ()
    matches: tuple[PhraseMatch, ...] = ()

    def __post_init__(self) -> None:
        region_boxes = [region.box for region in self.regions]
        match_boxes = [match.box for match in self.matches]
        checked_boxes([*region_boxes, *match_boxes], self.size_wh)

    def to_dict(self) -> dict[str, Any]:
        """The JSON document, format number included."""
        width, height = self.size_wh
        return {
            "format": FORMAT,
            "photo": self.photo,
            "width": width,
            "height": height,
            "model": self.model,
            "caption": self.caption.to_dict() if self.caption else None,
            "regions": [region.to_dict() for region in self.regions],
            "matches": [match.to_dict() for match in self.matches],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ImageResult:
        """The record that `to_dict` wrote.

        Raises:
            ValueError: the document has another format number.
        """
        if values.get("format") != FORMAT:
            raise ValueError(
                f"format: expected {FORMAT}, got {values.get('format')!r}; written by "
                "another version?"
            )
        for key in ("photo", "model"):
            if not isinstance(values[key], str):
                raise ValueError(f"{key}: expected text, got {values[key]!r}")
        return cls(
            photo=values["photo"],
            size_wh=(values["width"], values["height"]),
            model=values["model"],
            caption=RegionCaption.from_dict(values["caption"])
            if values["caption"]
            else None,
            regions=tuple(
                RegionCaption.from_dict(region) for region in values["regions"]
            ),
            matches=tuple(PhraseMatch.from_dict(match) for match in values["matches"]),
        )


@dataclass(frozen=True)
class Phrase:
    """A phrase of a sentence and the boxes it names.

    Attributes:
        text: the words of the phrase.
        boxes: row numbers into `Example.boxes_xyxy`; empty where the annotators drew none.
        caption: which of the example's captions it stands in; None where it stands alone.
        first_word: position of its first token in that caption (`text.tokenize`); None where it
            stands alone.
        entity: the annotators' name of the thing (Entities chain id); phrases of one thing share
            it.
        types: the annotators' coarse types ("people", "clothing", ...).
        source: who gave it: "annotator", a person who wrote the phrase, or "detector", a class name
            on a box.
    """

    text: str
    boxes: tuple[int, ...] = ()
    caption: int | None = None
    first_word: int | None = None
    entity: str | None = None
    types: tuple[str, ...] = ()
    source: str = "annotator"


@dataclass(frozen=True)
class Example:
    """One photo of a data set with its sentences, boxes and phrases.

    The same whatever the layout it was read from.

    Attributes:
        photo: path of the file.
        captions: the raw sentences.
        boxes_xyxy: (N, 4) annotated boxes, in pixels of the *annotation's* image, which has
            `size_wh`.
        phrases: phrases with the boxes they name.
        size_wh: width and height that `boxes_xyxy` refers to; None where nothing is annotated. The
            stored file may have another size: scale by the ratio (`boxes.rescale`).
        id: the data set's own name of the photo.
    """

    photo: Path
    captions: tuple[str, ...] = ()
    boxes_xyxy: FloatArray = field(
        default_factory=lambda: np.zeros((0, 4), dtype=np.float32)
    )
    phrases: tuple[Phrase, ...] = ()
    size_wh: tuple[int, int] | None = None
    id: str = ""

    def __post_init__(self) -> None:
        boxes = checked_boxes(self.boxes_xyxy)
        if len(boxes) and self.size_wh is None:
            raise ValueError(
                f"{self.photo.name}: boxes need size_wh, the image size they refer to"
            )
        for phrase in self.phrases:
            if any(not 0 <= row < len(boxes) for row in phrase.boxes):
                raise ValueError(
                    f"{self.photo.name}: phrase {phrase.text!r} names box "
                    f"{phrase.boxes} of {len(boxes)}"
                )
        object.__setattr__(self, "boxes_xyxy", boxes)
        object.__setattr__(self, "id", self.id or self.photo.name)


@dataclass(frozen=True)
class AttentionMaps:
    """Where a model attended at every word.

    Attributes:
        words: T words.
        boxes_xyxy: (P, 4) what it could attend to, in pixels of the photo: cells of a grid, or
            regions, row 0 the photo.
        weights: (T, P) attention, each row adds up to at most 1 (less where a cell lies outside the
            photo).
        size_wh: width and height of the photo in pixels.
    """

    words: tuple[str, ...]
    boxes_xyxy: FloatArray
    weights: FloatArray
    size_wh: tuple[int, int]

    def __post_init__(self) -> None:
        checked_boxes(self.boxes_xyxy)
        expected_shape = (len(self.words), len(self.boxes_xyxy))
        if self.weights.shape != expected_shape:
            raise ValueError(
                f"weights: expected {expected_shape}, one a word and box, got {self.weights.shape}"
            )
