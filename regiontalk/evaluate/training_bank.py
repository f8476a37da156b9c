"""What baselines take from the training split.

Sentences, whole-photo features, and snippets with their regions. Snippets are the
inferred pairs of [1] (`regiontalk.align.pairs`): inferred here with the model at hand,
or read from what ``regiontalk snippets`` wrote.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from regiontalk.align.pairs import Pair
from regiontalk.captioner import ALIGN_REGIONS, RegionCaptioner
from regiontalk.evaluate.photos import EncodedPhotos, PhotoBatch, box_features
from regiontalk.files import read_text
from regiontalk.records import Example, FloatArray
from regiontalk.text.vocabulary import tokenize

BLOCK = 512  # texts or regions that are compared with everything at once


@dataclass(frozen=True)
class SnippetBank:
    """Regions of training photos with the snippets inferred for them.

    Attributes:
        texts: S distinct snippets.
        best: Q snippets, the best of each region.
        features: (Q, F) of those regions, of length 1.
    """

    texts: tuple[str, ...]
    best: tuple[str, ...]
    features: FloatArray


@dataclass(frozen=True)
class Training:
    """The training split as the baselines see it.

    Attributes:
        examples: M photos that could be opened.
        features: (M, F) of the whole photos.
        bank: snippets; None where they were not asked for.
    """

    examples: tuple[Example, ...]
    features: FloatArray
    bank: SnippetBank | None

    def sentences(self) -> Iterator[str]:
        """All training sentences, for novelty."""
        return (caption for example in self.examples for caption in example.captions)


RegionSnippets = tuple[list[tuple[float, str]], FloatArray]
"""(score, text) of each snippet of a region, and the region's features (F,)."""


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
    snippets = _Snippets(
        captioner,
        captioner.config.decoding.beta if beta is None else beta,
        regions,
        None if file is None else read_snippets(file),
    )
    examples: list[Example] = []
    photo_features: list[FloatArray] = []
    regions_with_snippets: list[RegionSnippets] = []
    for batch in photos:
        examples.extend(batch.examples)
        photo_features.append(captioner.predictor.photo_features(batch.features))
        if infer:
            regions_with_snippets += snippets.of(batch)
    if not photo_features:
        raise ValueError(
            "training photos: expected one that can be opened, got none: "
            f"{'; '.join(photos.broken[:3])}"
        )
    if infer and not regions_with_snippets:
        raise ValueError(
            f"snippets: expected some for the {len(examples)} training photos, got "
            f"none; is {file} theirs?"
        )
    bank = _bank(regions_with_snippets) if infer else None
    return Training(tuple(examples), np.concatenate(photo_features), bank)


def _bank(regions: Iterable[RegionSnippets]) -> SnippetBank:
    """The bank of regions that have snippets."""
    texts: dict[str, None] = {}
    best: list[str] = []
    features: list[FloatArray] = []
    for pairs, region_features in regions:
        texts.update((text, None) for _, text in pairs)
        best.append(max(pairs, key=lambda pair: pair[0])[1])
        features.append(unit_rows(region_features))
    return SnippetBank(tuple(texts), tuple(best), np.stack(features))


@dataclass(frozen=True)
class _Snippets:
    """Where snippets come from: a file, or the model where there is none.

    Attributes:
        captioner: the model.
        beta: smoothing of the inference (eq. 12).
        regions: proposals beside the whole photo.
        from_file: as `read_snippets` gives them.
    """

    captioner: RegionCaptioner
    beta: float
    regions: int
    from_file: Mapping[str, Sequence[Mapping[str, Any]]] | None

    def of(self, batch: PhotoBatch) -> Iterator[RegionSnippets]:
        """The regions of a batch that have snippets."""
        if self.from_file is None:
            return self._infer(batch)
        return self._look_up(batch, self.from_file)

    def _infer(self, batch: PhotoBatch) -> Iterator[RegionSnippets]:
        """Pairs that the model infers.

        Texts are the sentence's own tokens, words out of the vocabulary included.
        """
        predictor = self.captioner.predictor
        boxes, objectness = predictor.propose(batch.features, self.regions)
        features = predictor.region_features(batch.features, boxes)
        tokens_by_photo = [
            list(map(tokenize, example.captions)) for example in batch.examples
        ]
        encode = predictor.vocabulary.encode
        token_ids = [list(map(encode, sentences)) for sentences in tokens_by_photo]
        pairs_by_photo = predictor.infer_pairs(
            features, objectness, token_ids, self.beta
        )
        for row, pairs in enumerate(pairs_by_photo):
            by_region: dict[int, list[tuple[float, str]]] = {}
            for pair in pairs:
                text = _pair_text(pair, tokens_by_photo[row])
                by_region.setdefault(pair.region, []).append((pair.score, text))
            for region, snippets in by_region.items():
                yield snippets, features[row, region]

    def _look_up(
        self,
        batch: PhotoBatch,
        rows_by_photo: Mapping[str, Sequence[Mapping[str, Any]]],
    ) -> Iterator[RegionSnippets]:
        """The same from a file: boxes are in pixels of the photo's own file."""
        rows, boxes = [], []
        for example, size_wh in zip(batch.examples, batch.photo_sizes_wh, strict=True):
            photo_rows = rows_by_photo.get(
                example.id, rows_by_photo.get(example.photo.name, ())
            )
            boxes_xyxy = [row["box"] for row in photo_rows]
            rows.append(photo_rows)
            boxes.append(batch.preprocessing.to_network(boxes_xyxy, size_wh))
        features_by_photo = box_features(self.captioner, batch, boxes)
        for photo_rows, features in zip(rows, features_by_photo, strict=True):
            by_box: dict[tuple[float, ...], RegionSnippets] = {}
            for row, box_feature in zip(photo_rows, features, strict=True):
                snippets, _ = by_box.setdefault(tuple(row["box"]), ([], box_feature))
                snippets.append((row["score"], row["text"]))
            yield from by_box.values()


def _pair_text(pair: Pair, tokens: Sequence[Sequence[str]]) -> str:
    """The words of a pair, cut out of the tokens of its photo's sentences."""
    caption_tokens = tokens[pair.caption]
    end = pair.first + len(pair.words)
    return " ".join(caption_tokens[pair.first : end])


def read_snippets(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Photo name -> its rows of a JSON Lines file.

    They have ``photo``, ``box``, ``text`` and perhaps ``score``.

    Raises:
        ValueError: the file cannot be read or a row lacks one of the three.
    """
    try:
        lines = read_text(path).split("\n")
    except OSError as error:
        raise ValueError(
            f"{path}: expected snippets, one JSON object a line ({error})"
        ) from error
    rows_by_photo: dict[str, list[dict[str, Any]]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            name, text = Path(row["photo"]).name, str(row["text"])
            box = [float(value) for value in row["box"]]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path}:{number}: expected photo, box and text, got {line[:80]!r}"
            ) from error
        if text.strip():
            snippet = {
                "box": box,
                "text": text,
                "score": float(row.get("score") or 0.0),
            }
            rows_by_photo.setdefault(name, []).append(snippet)
    return rows_by_photo


def unit_rows(vectors: FloatArray) -> FloatArray:
    """Vectors (..., F) of length 1."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / lengths.clip(1e-12), dtype=np.float32)


def nearest(queries: FloatArray, bank: FloatArray) -> list[int]:
    """For each of (R, F) the row of the bank (S, F) with the greatest product.

    The lowest row on ties.
    """
    rows: list[int] = []
    for start in range(0, len(queries), BLOCK):
        products = queries[start : start + BLOCK] @ bank.T
        rows.extend(products.argmax(1).tolist())
    return rows


def embed_texts(captioner: RegionCaptioner, texts: Iterable[str]) -> FloatArray:
    """Each text as one embedding (S, D).

    Its product with a region's is that of `RegionCaptioner.phrase_scores`.
    """
    token_ids = [captioner.vocabulary.encode(text) for text in texts]
    by_length = sorted(range(len(token_ids)), key=lambda row: len(token_ids[row]))
    embeddings = np.zeros(
        (len(token_ids), captioner.config.aligner.size), dtype=np.float32
    )
    for start in range(0, len(by_length), BLOCK):
        rows = by_length[start : start + BLOCK]
        words, mask = captioner.predictor.encode_text([token_ids[row] for row in rows])
        embeddings[rows] = (words * mask[..., None]).sum(1)
    return embeddings
