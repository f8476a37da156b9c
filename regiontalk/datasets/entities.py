"""Flickr30k Entities [4].

The boxes and phrases of Flickr photos, joined to examples that a Flickr reader made.
``Sentences/1000268201.txt`` holds sentences with phrases in brackets, ``[/EN#18/people
A child] in ...``: chain 18, of type people. ``Annotations/1000268201.xml`` holds
objects: the chains they belong to (``name``, one or more) and one ``bndbox``, or
``scene``/``nobndbox`` where there is nothing to draw. A phrase has every box of its
chain. Corners are taken as they are printed; they count from 1, so a left or upper edge
may be one pixel off.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from regiontalk.datasets.report import DataReport, report_on
from regiontalk.records import Example, FloatArray, Phrase
from regiontalk.text.vocabulary import tokenize

Corners = tuple[float, float, float, float]

_PHRASE = re.compile(r"\[/EN#(\d+)((?:/[^\s/\]]+)+)\s+([^\]]*)\]")


@dataclass(frozen=True)
class Annotation:
    """The boxes of one photo.

    Attributes:
        size_wh: width and height in pixels that the boxes refer to.
        boxes_xyxy: (N, 4) boxes in the order of the file.
        chains: chain id -> rows of its boxes.
        refused: boxes of the file that are empty, inverted or outside the photo.
    """

    size_wh: tuple[int, int]
    boxes_xyxy: FloatArray
    chains: dict[str, tuple[int, ...]]
    refused: int = 0


@dataclass(frozen=True)
class BracketedPhrase:
    """A phrase of a bracketed sentence.

    Chain id, types, words and the position of its first token.
    """

    entity: str
    types: tuple[str, ...]
    text: str
    first_word: int


def add_entities(
    examples: list[Example], folder: Path
) -> tuple[list[Example], DataReport]:
    """The examples with boxes, phrases and the photo's size that they refer to.

    A photo ``1000268201_693b08cb0e.jpg`` is Entities ``1000268201``. Its captions stay as they are:
    Entities has the sentences in another order and some of them in other words, so a phrase gets
    ``caption`` and ``first_word`` only where its sentence has the same tokens as a caption; other
    phrases stand alone with their boxes.

    Args:
        examples: examples without boxes, photo names starting with the Flickr number.
        folder: holds ``Annotations/`` and ``Sentences/``.

    Returns:
        The examples in the same order, and the report; a photo that Entities lacks, or whose files
        cannot be read, comes back as it was and is counted.

    Raises:
        ValueError: the folder lacks one of its two subfolders.
    """
    for name in ("Annotations", "Sentences"):
        if not (folder / name).is_dir():
            raise ValueError(
                f"{folder}: expected Annotations/ and Sentences/ of Flickr30k "
                f"Entities, got no {name}/"
            )
    troubles: dict[str, list[str]] = defaultdict(list)
    joined = [_joined(example, folder, troubles) for example in examples]
    return joined, report_on(folder.name, joined, troubles)


def _joined(example: Example, folder: Path, troubles: dict[str, list[str]]) -> Example:
    number = example.photo.stem.partition("_")[0]
    try:
        annotation = read_annotation(folder / "Annotations" / f"{number}.xml")
        text = (folder / "Sentences" / f"{number}.txt").read_text(encoding="utf-8")
    except FileNotFoundError:
        troubles["photo not in Entities"].append(example.id)
        return example
    except (ValueError, OSError) as error:  # UnicodeDecodeError is a ValueError
        troubles["unreadable Entities file"].append(f"{number} ({error})")
        return example
    if annotation.refused:
        kind = "photo with empty or outside boxes, left out"
        troubles[kind].append(f"{example.id} ({annotation.refused})")
    phrases, unmatched = _phrases(text, example.captions, annotation.chains)
    if unmatched:
        kind = "photo with a sentence that Entities words differently"
        troubles[kind].append(f"{example.id} ({unmatched})")
    return replace(
        example,
        boxes_xyxy=annotation.boxes_xyxy,
        phrases=phrases,
        size_wh=annotation.size_wh,
    )


def _phrases(
    text: str, captions: tuple[str, ...], chains: dict[str, tuple[int, ...]]
) -> tuple[tuple[Phrase, ...], int]:
    """Every phrase of a Sentences file, and how many of its sentences are none of the captions."""
    captions_by_tokens: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for row, caption in enumerate(captions):
        captions_by_tokens[tuple(tokenize(caption))].append(row)
    phrases: list[Phrase] = []
    unmatched = 0
    for line in filter(str.strip, text.split("\n")):
        sentence, bracketed = read_sentence(line)
        tokens = tuple(tokenize(sentence))
        # where a caption occurs twice, each of its two sentences takes one
        rows = captions_by_tokens.get(tokens)
        caption_row = rows.pop(0) if rows else None
        unmatched += caption_row is None
        for item in bracketed:
            phrases.append(
                _phrase(item, caption_row, tokens, chains.get(item.entity, ()))
            )
    return tuple(phrases), unmatched


def _phrase(
    item: BracketedPhrase,
    caption: int | None,
    tokens: tuple[str, ...],
    boxes: tuple[int, ...],
) -> Phrase:
    """A phrase with its boxes, and with its position where its sentence is a caption."""
    phrase = Phrase(item.text, boxes, entity=item.entity, types=item.types)
    phrase_tokens = tuple(tokenize(item.text))
    end = item.first_word + len(phrase_tokens)
    # Brackets inside a word ("[a man]'s") give tokens that the sentence does not have.
    if caption is None or tokens[item.first_word : end] != phrase_tokens:
        return phrase
    return replace(phrase, caption=caption, first_word=item.first_word)


def plain_sentence(line: str) -> str:
    """The sentence of a line, its brackets taken off.

    >>> plain_sentence("[/EN#1/people A man] on [/EN#2/other/vehicles a bike] .")
    'A man on a bike .'
    """
    return _PHRASE.sub(r"\3", line).strip()


def read_sentence(line: str) -> tuple[str, list[BracketedPhrase]]:
    """The plain sentence and its phrases.

    >>> read_sentence("[/EN#1/people A man] on [/EN#2/other/vehicles a bike] .")[0]
    'A man on a bike .'
    >>> sentence = "[/EN#1/people A man] on [/EN#2/other a bike] ."
    >>> for phrase in read_sentence(sentence)[1]:
    ...     print(phrase.first_word, phrase.text)
    0 A man
    3 a bike
    """
    plain = ""
    phrases: list[BracketedPhrase] = []
    end = 0
    for match in _PHRASE.finditer(line):
        plain += line[end : match.start()]
        entity, types, words = match.groups()
        first_word = len(tokenize(plain))
        type_names = tuple(types[1:].split("/"))
        phrases.append(BracketedPhrase(entity, type_names, words.strip(), first_word))
        plain += words
        end = match.end()
    return (plain + line[end:]).strip(), phrases


def read_annotation(path: Path) -> Annotation:
    """The boxes of one Annotations file.

    Raises:
        ValueError: the file is not XML, or lacks the photo's size or has one below 1x1.
        FileNotFoundError: there is no such file.
    """
    root, (width, height) = _read_xml(path)
    boxes: list[Corners] = []
    chains: dict[str, list[int]] = defaultdict(list)
    refused = 0
    for element in root.iter("object"):
        chain_names = [name.text or "" for name in element.iter("name")]
        for box in element.iter("bndbox"):
            corners = _corners(box)
            if corners is None or not _inside(corners, width, height):
                refused += 1
                continue
            for name in chain_names:
                chains[name].append(len(boxes))
            boxes.append(corners)
    boxes_xyxy = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
    rows_by_chain = {name: tuple(rows) for name, rows in chains.items()}
    return Annotation((width, height), boxes_xyxy, rows_by_chain, refused)


def _read_xml(path: Path) -> tuple[ElementTree.Element, tuple[int, int]]:
    """The root of an Annotations file, and the photo's width and height."""
    try:
        root = ElementTree.fromstring(path.read_bytes())
        width = int(root.findtext("size/width", ""))
        height = int(root.findtext("size/height", ""))
    # LookupError: an unknown encoding
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise ValueError(
            f"{path.name}: expected an Entities annotation with size and objects ({error})"
        ) from error
    if width < 1 or height < 1:
        raise ValueError(
            f"{path.name}: expected a size of at least 1x1 pixels, got {width}x{height}"
        )
    return root, (width, height)


def _corners(box: ElementTree.Element) -> Corners | None:
    """The four numbers of a box; None where one is no number."""
    names = ("xmin", "ymin", "xmax", "ymax")
    try:
        x1, y1, x2, y2 = (float(box.findtext(name, "")) for name in names)
    except ValueError:
        return None
    return x1, y1, x2, y2


def _inside(corners: Corners, width: int, height: int) -> bool:
    """Whether a box has an area and lies in the photo; False for NaN."""
    x1, y1, x2, y2 = corners
    return 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height
