"""What baselines take from the training split: sentences, whole-photo vectors, and snippets with their regions.

Snippets are the inferred pairs of [1] (`regiontalk.align.pairs`): inferred here with the model at
hand, or read from what ``regiontalk snippets`` wrote.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from regiontalk.captioner import ALIGN_REGIONS, RegionCaptioner
from regiontalk.evaluate.photos import EncodedPhotos, PhotoBatch, box_vectors
from regiontalk.records import Example, FloatArray
from regiontalk.text.vocabulary import tokenize

BLOCK = 512  # texts or regions that are compared with all others at once


@dataclass(frozen=True)
class SnippetBank:
    """Regions of training photos with the snippets inferred for them.

    Attributes:
        texts: S distinct snippets.
        best: Q snippets, the best of each region.
        vectors: (Q, F) vectors of those regions, of length 1.
    """

    texts: tuple[str, ...]
    best: tuple[str, ...]
    vectors: FloatArray


@dataclass(frozen=True)
class Training:
    """The training split as the baselines see it.

    Attributes:
        examples: M photos that could be opened.
        vectors: (M, F) whole-photo vectors.
        bank: snippets; None where they were not asked for.
    """

    examples: tuple[Example, ...]
    vectors: FloatArray
    bank: SnippetBank | None

    def sentences(self) -> Iterator[str]:
        """All training sentences, for novelty."""
        return (caption for example in self.examples for caption in example.captions)


Found = Iterator[tuple[list[tuple[float, str]], FloatArray]]
"""For each region that has snippets: (score, text) of each, and the region's vector (F,)."""


def read_training(
    photos: EncodedPhotos,
    *,
    infer: bool,
    beta: float | None = None,
    file: Path | None = None,
    regions: int = ALIGN_REGIONS,
) -> Training:
    """Walk over the training photos once.

    Args:
        photos: the training split.
        infer: whether snippets are wanted.
        beta: smoothing of the inference (eq. 12); None takes the model's own.
        file: snippets that were written before (`read_snippets`), instead of inferring them.
        regions: proposals beside the whole photo.

    Raises:
        ValueError: no photo can be opened, or a file is given that holds no snippet of these
            photos.
    """
    captioner = photos.captioner
    smoothing = captioner.config.decoding.beta if beta is None else beta
    given = read_snippets(file) if file is not None else None
    examples: list[Example] = []
    whole_rows: list[FloatArray] = []
    texts: dict[str, None] = {}
    best: list[str] = []
    vectors: list[FloatArray] = []
    for batch in photos:
        whole_rows.append(captioner.predictor.photo_features(batch.features))
        examples.extend(batch.examples)
        if not infer:
            continue
        found = (
            _inferred(captioner, batch, smoothing, regions)
            if given is None
            else _given(captioner, batch, given)
        )
        for pairs, vector in found:
            texts.update(dict.fromkeys(text for _, text in pairs))
            best.append(max(pairs, key=lambda pair: pair[0])[1])
            vectors.append(unit_rows(vector))
    if not whole_rows:
        raise ValueError(
            f"training photos: expected one that can be opened, got none: {'; '.join(photos.broken[:3])}"
        )
    if infer and not vectors:
        raise ValueError(
            f"snippets: expected some for the {len(examples)} training photos, got none; is {file} theirs?"
        )
    bank = SnippetBank(tuple(texts), tuple(best), np.stack(vectors)) if infer else None
    return Training(tuple(examples), np.concatenate(whole_rows), bank)


def _inferred(captioner: RegionCaptioner, batch: PhotoBatch, beta: float, regions: int) -> Found:
    """Pairs that the model infers; texts are the sentence's own tokens, words out of the vocabulary included."""
    predictor = captioner.predictor
    boxes, quality = predictor.propose(batch.features, regions)
    vectors = predictor.region_features(batch.features, boxes)
    tokens = [[tokenize(caption) for caption in example.captions] for example in batch.examples]
    numbers = [[predictor.vocabulary.encode(words) for words in own] for own in tokens]
    for photo, pairs in enumerate(predictor.infer_pairs(vectors, quality, numbers, beta)):
        found: dict[int, list[tuple[float, str]]] = {}
        for pair in pairs:
            words = tokens[photo][pair.caption][pair.first : pair.first + len(pair.words)]
            found.setdefault(pair.region, []).append((pair.score, " ".join(words)))
        for region, own in found.items():
            yield own, vectors[photo, region]


def _given(
    captioner: RegionCaptioner, batch: PhotoBatch, given: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Found:
    """The same from a file: boxes are in pixels of the photo's own file."""
    rows = [given.get(example.id, given.get(example.photo.name, ())) for example in batch.examples]
    boxes = [
        batch.preprocessing.to_network([item["box"] for item in own], wh)
        for own, wh in zip(rows, batch.photo_sizes_wh, strict=True)
    ]
    for own, vectors in zip(rows, box_vectors(captioner, batch, boxes), strict=True):
        found: dict[tuple[float, ...], tuple[list[tuple[float, str]], FloatArray]] = {}
        for item, vector in zip(own, vectors, strict=True):
            found.setdefault(tuple(item["box"]), ([], vector))[0].append(
                (item["score"], item["text"])
            )
        yield from found.values()


def read_snippets(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Photo name -> its rows of a JSON Lines file with ``photo``, ``box``, ``text`` and perhaps ``score``.

    Raises:
        ValueError: the file cannot be read or a row lacks one of the three.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected snippets, one JSON object a line ({error})") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            name, box, text = (
                Path(row["photo"]).name,
                [float(value) for value in row["box"]],
                str(row["text"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path}:{number}: expected photo, box and text, got {line[:80]!r}"
            ) from error
        if text.strip():
            found.setdefault(name, []).append(
                {"box": box, "text": text, "score": float(row.get("score") or 0.0)}
            )
    return found


def unit_rows(vectors: FloatArray) -> FloatArray:
    """Vectors (..., F) of length 1."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / lengths.clip(1e-12), dtype=np.float32)


def nearest(queries: FloatArray, bank: FloatArray) -> list[int]:
    """For each of (R, F) the row of the bank (S, F) with the greatest product, the lowest row on ties."""
    found: list[int] = []
    for start in range(0, len(queries), BLOCK):
        found.extend((queries[start : start + BLOCK] @ bank.T).argmax(1).tolist())
    return found


def read_bags(captioner: RegionCaptioner, texts: Iterable[str]) -> FloatArray:
    """What each text says on a single region, (S, D): v.bag is the score that `RegionCaptioner.phrase_scores` gives."""
    numbers = [captioner.vocabulary.encode(text) for text in texts]
    order = sorted(range(len(numbers)), key=lambda row: len(numbers[row]))
    bags = np.zeros((len(numbers), captioner.config.aligner.size), dtype=np.float32)
    for start in range(0, len(order), BLOCK):
        rows = order[start : start + BLOCK]
        words, mask = captioner.predictor.encode_text([numbers[row] for row in rows])
        bags[rows] = (words * mask[..., None]).sum(1)
    return bags
