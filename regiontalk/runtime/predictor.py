"""`Predictor`: one model at the level of arrays, whichever engine computes it.

Photos become features once; regions, words and captions are then asked of the features as often as
needed. The facade, evaluation and the index know this interface only. Everything that enters and
leaves is numpy; a decoder's state is the engine's own and only travels.

Letters in shapes: B photos, N boxes, F region features, D shared space, C sentences, T
words, R rows that are decoded, V words known.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from regiontalk.align.pairs import Pair, infer_pairs
from regiontalk.align.score import SCORES, inner_products
from regiontalk.model.config import (
    DecodingConfig,
    ModelConfig,
    chain_of,
    preprocessing_of,
)
from regiontalk.records import FloatArray
from regiontalk.regions.selection import select_regions
from regiontalk.runtime.search import Fixed, Hypothesis, IntArray, Step, beam, reorder
from regiontalk.text.vocabulary import END, PAD, START, Vocabulary, pad_token_ids


class PhotoFeatures(NamedTuple):
    """What one run of the backbone leaves of B photos: all that regions need.

    Attributes:
        regions: (B, F, h, w) region map; of precomputed features (B, N, F).
        objectness: (B, A) logits of the proposals; of precomputed features (B, N) scores in 0..1.
        boxes_xyxy: (B, A, 4) the proposals in network pixels.
    """

    regions: FloatArray
    objectness: FloatArray
    boxes_xyxy: FloatArray

    def take(self, photos: Sequence[int] | slice) -> PhotoFeatures:
        """The chosen photos; a slice of them is not copied."""
        chosen = photos if isinstance(photos, slice) else list(photos)
        return PhotoFeatures(*(values[chosen] for values in self))


class DecoderState(NamedTuple):
    """R rows that are being written, in the engine's own arrays.

    Attributes:
        cell: what changes with every word.
        memory: what stays: the condition, the vectors that attention looks at.
    """

    cell: tuple[Any, ...]
    memory: tuple[Any, ...]

    def take(self, rows: Sequence[int]) -> DecoderState:
        """The chosen rows, repeats allowed."""
        index = np.array(rows, dtype=np.int64)
        return DecoderState(reorder(self.cell, index), reorder(self.memory, index))


class DecoderStep(NamedTuple):
    """What one word more brings.

    Log-probabilities (R, V), the cell, and attention (R, P) where the model attends.
    """

    log_probabilities: FloatArray
    cell: tuple[Any, ...]
    attention: FloatArray | None


class Predictor(ABC):
    """A model ready for use; an engine fills in the parts that compute.

    Attributes:
        config: sizes and choices.
        vocabulary: the words that it knows.
        preprocessing: from a photo to `encode_photos`, and boxes there and back.
        workers: threads that may ask side by side; 1 where the engine takes every core by itself.
    """

    workers = 1

    def __init__(self, config: ModelConfig, vocabulary: Vocabulary) -> None:
        """Take what every engine needs to know."""
        self.config = config
        self.vocabulary = vocabulary
        self.preprocessing = preprocessing_of(config.extractor)

    # what an engine computes

    @abstractmethod
    def encode_photos(self, pixels: FloatArray) -> PhotoFeatures:
        """Features of network input (B, 3, S, S)."""

    @abstractmethod
    def region_features(
        self, features: PhotoFeatures, boxes_xyxy: FloatArray
    ) -> FloatArray:
        """Region features (B, N, F) of boxes (B, N, 4) in network pixels."""

    @abstractmethod
    def embed_regions(self, region_features: FloatArray) -> FloatArray:
        """V of eq. 1: region features (B, N, F) to (B, N, D)."""

    @abstractmethod
    def encode_text(
        self, sentences: Sequence[Sequence[int]]
    ) -> tuple[FloatArray, NDArray[np.bool_]]:
        """S of eq. 6: C lists of word numbers to (C, T, D).

        And which of them the score counts (C, T). END is added where the model reads
        it; rows of padding are 0.
        """

    @abstractmethod
    def start(
        self,
        features: PhotoFeatures,
        boxes_xyxy: FloatArray,
        attended: FloatArray | None = None,
        *,
        vectors: FloatArray | None = None,
    ) -> DecoderState:
        """Prepare to write about the boxes (B, N, 4) of B photos, R = B * N rows.

        Args:
            features: of the photos.
            boxes_xyxy: network pixels.
            attended: (B, P, 4) boxes that attention looks at, where it looks at regions; None
                proposes them.
            vectors: `start_features`, where they are known.
        """

    @abstractmethod
    def step(self, words: IntArray, state: DecoderState) -> DecoderStep:
        """One word further: eq. 13 to 15, given the words (R,) just written."""

    @abstractmethod
    def tensor(self, name: str) -> FloatArray:
        """One weight by its name in ``model.safetensors``, float32."""

    @abstractmethod
    def weights(self) -> Mapping[str, NDArray[Any]]:
        """All weights as they stand on disk, float16."""

    # what follows from that

    def text_vectors(self, texts: Sequence[tuple[int, ...]]) -> FloatArray:
        """What each of C texts says as a whole: the sum of its words' vectors s, (C, D)."""
        words, mask = self.encode_text(texts)
        return np.asarray((words * mask[..., None]).sum(1), dtype=np.float32)

    def propose(
        self, features: PhotoFeatures, count: int
    ) -> tuple[FloatArray, FloatArray]:
        """The whole photo and its ``count`` best proposals.

        Returns:
            boxes (B, 1 + count, 4) in network pixels, row 0 the whole photo, and scores (B, 1 +
            count) in 0..1; 0 is an empty place. Precomputed features have no other boxes than
            their own, perhaps fewer.
        """
        if self.config.precomputed is not None:
            return features.boxes_xyxy[:, : 1 + count], features.objectness[
                :, : 1 + count
            ]
        sizes = self.config.extractor
        return select_regions(
            features.objectness,
            features.boxes_xyxy,
            count,
            size=sizes.size,
            nms_iou=sizes.nms_iou,
        )

    def competing_regions(self, default: int) -> int:
        """How many boxes compete beside the whole photo.

        ``default``, or as many as precomputed features have.
        """
        return (
            default
            if self.config.precomputed is None
            else self.config.precomputed.regions
        )

    def whole_photos(self, count: int) -> FloatArray:
        """The whole photo as the one box of B = ``count`` photos, (B, 1, 4) in network pixels."""
        size = self.config.extractor.size
        return np.tile(np.array([0, 0, size, size], dtype=np.float32), (count, 1, 1))

    def start_features(
        self, features: PhotoFeatures, boxes_xyxy: FloatArray
    ) -> FloatArray:
        """Region features (B, 1 + N, F) of the whole photo and N boxes, as `start` wants them.

        Raises:
            ValueError: the model was trained on given features, and does not write.
        """
        self._refuse_to_write()
        whole_photos = self.whole_photos(len(boxes_xyxy))
        boxes = np.concatenate([whole_photos, boxes_xyxy], 1)
        return self.region_features(features, boxes)

    def photo_features(self, features: PhotoFeatures) -> FloatArray:
        """The region features (B, F) of the whole photos."""
        return self.region_features(features, self.whole_photos(len(features.regions)))[
            :, 0
        ]

    def photo_probability(self, features: PhotoFeatures) -> FloatArray:
        """How likely each of B pictures is a photo, (B,) in 0..1.

        Ones for a model without that check.
        """
        if not self.config.photo_check:
            return np.ones(len(features.regions), dtype=np.float32)
        weight, bias = (
            self.tensor("photo_check.weight"),
            self.tensor("photo_check.bias"),
        )
        logits = (self.photo_features(features) * weight[0]).sum(1) + bias
        return np.asarray(1 / (1 + np.exp(-logits)), dtype=np.float32)

    def check_captions(
        self, region_features: FloatArray, boxes_xyxy: FloatArray, texts: FloatArray
    ) -> FloatArray:
        """The logit that each caption is true of its region (`align.caption_check`), (R,).

        Zeros without that check.

        Args:
            region_features: (R, F).
            boxes_xyxy: (R, 4) network pixels.
            texts: (R, D) sums of the captions' word vectors.
        """
        rank = self.config.caption_check
        if not rank:
            return np.zeros(len(texts), dtype=np.float32)
        corners = boxes_xyxy / self.config.extractor.size
        inputs = {
            "region": np.concatenate([region_features, corners], 1),
            "text": texts,
        }
        products = np.ones((len(texts), rank), dtype=np.float32)
        for name, rows in inputs.items():
            products *= self._linear(f"caption_check.{name}", rows)
        logits = products.sum(1) * rank**-0.5
        if self.config.caption_check_hidden:
            read = np.maximum(self._linear("caption_check.hidden", products), 0.0)
            logits += self._linear("caption_check.output", read)[:, 0]
        return np.asarray(logits, dtype=np.float32)

    def _linear(self, name: str, rows: FloatArray) -> FloatArray:
        """Rows (R, K) through a layer of the weights, (R, K')."""
        weight, bias = self.tensor(f"{name}.weight"), self.tensor(f"{name}.bias")
        return np.asarray(inner_products(rows, weight) + bias, dtype=np.float32)

    def choices(self, regions: FloatArray) -> FloatArray:
        """What a word may choose.

        The regions (B, N, D) and, where the model has it, NULL after them (B, N+1, D).
        """
        if not self.config.aligner.null:
            return regions
        null = np.broadcast_to(
            self.tensor("aligner.null"), (len(regions), 1, regions.shape[2])
        )
        return np.concatenate([regions, null], 1)

    def score(
        self,
        regions: FloatArray,
        words: FloatArray,
        region_mask: NDArray[np.bool_],
        word_mask: NDArray[np.bool_],
    ) -> FloatArray:
        """Scores (B, C) of region vectors v (B, N, D) and word vectors s (C, T, D).

        By the model's own score.
        """
        choices = self.choices(regions)
        missing = choices.shape[1] - regions.shape[1]
        mask = np.pad(region_mask, ((0, 0), (0, missing)), constant_values=True)
        return SCORES[self.config.aligner.score](choices, words, mask, word_mask)

    def infer_pairs(
        self,
        region_features: FloatArray,
        objectness: FloatArray,
        sentences: Sequence[Sequence[Sequence[int]]],
        beta: float | None = None,
    ) -> list[list[Pair]]:
        """The (region, snippet) pairs of B photos (`align.pairs.infer_pairs`).

        Args:
            region_features: (B, N, F), row 0 the whole photo.
            objectness: (B, N) of those regions.
            sentences: for each photo its sentences as word numbers.
            beta: smoothing (eq. 12); None takes the model's own.
        """
        choices = self.choices(self.embed_regions(region_features))
        words, _ = self.encode_text(list(itertools.chain.from_iterable(sentences)))
        chain = chain_of(self.config.decoding, self.vocabulary, beta)
        return infer_pairs(choices, objectness, words, sentences, chain)

    def write(
        self,
        state: DecoderState,
        beams: int | None = None,
        min_words: int = 0,
        length_power: float | None = None,
        keep: int | None = 1,
    ) -> list[list[Hypothesis]]:
        """The best captions of each of R rows, by beam search.

        At most ``keep``, best first, at least one.

        Args:
            state: as `start` prepared it.
            beams: K; None takes the model's own.
            min_words: no caption ends before it.
            length_power: see `search.beam`; None takes the model's own.
            keep: captions wanted of a row, at most K, which None stands for.
        """
        if not len(state.memory[0]):
            return []
        return best_captions(
            self._search_step,
            (state.cell, Fixed(state.memory)),
            len(state.memory[0]),
            self.config.decoding,
            beams=beams,
            min_words=min_words,
            length_power=length_power,
            keep=keep,
        )

    def _search_step(self, words: IntArray, parts: Any) -> tuple[FloatArray, Any]:
        """`step` as search asks for it."""
        cell, memory = parts
        result = self.step(words, DecoderState(cell, memory.value))
        return result.log_probabilities, (result.cell, memory)

    def read_captions(
        self, state: DecoderState, captions: Sequence[Sequence[int]]
    ) -> tuple[FloatArray, FloatArray | None]:
        """One caption for each of R rows, read word by word.

        Returns:
            Log-probabilities (R,), END included, and the attention of every word (R, T, P), zeros
            after the end, or None.
        """
        words, _ = pad_token_ids([[START, *caption] for caption in captions])
        targets, _ = pad_token_ids([[*caption, END] for caption in captions])
        totals = np.zeros(len(words), dtype=np.float32)
        attention: list[FloatArray] = []
        rows = np.arange(len(words))
        for position in range(words.shape[1]):
            result = self.step(words[:, position], state)
            state = state._replace(cell=result.cell)
            next_words = targets[:, position]
            is_read = next_words != PAD
            totals += np.where(is_read, result.log_probabilities[rows, next_words], 0.0)
            if result.attention is not None:
                attention.append(result.attention * is_read[:, None])
        return totals, np.stack(attention, 1) if attention else None

    def fingerprint(self) -> str:
        """SHA-256 over weights (as float16, the form on disk), vocabulary and settings.

        Not over how it decodes. Settings that stand at their defaults are left out, so
        that what was made by this model outlives a version that adds settings.
        """
        from safetensors.numpy import save

        config = self.config.model_dump_json(
            exclude={"name", "decoding"}, exclude_defaults=True, by_alias=True
        )
        digest = hashlib.sha256(config.encode())
        digest.update(json.dumps(self.vocabulary.words).encode())
        digest.update(save(dict(self.weights())))
        return digest.hexdigest()

    def _refuse_to_write(self) -> None:
        """Refuse a model that was trained on given features."""
        if self.config.precomputed is not None:
            raise ValueError(
                f"model {self.config.name!r}: expected one that writes captions; this "
                "one was trained on given features, and only aligns and locates"
            )


def best_captions(
    step: Step[Any],
    state: Any,
    rows: int,
    decoding: DecodingConfig,
    *,
    beams: int | None = None,
    min_words: int = 0,
    length_power: float | None = None,
    keep: int | None = 1,
) -> list[list[Hypothesis]]:
    """The best captions of each of R rows as a model decodes, by beam search.

    Args:
        step: the model, as `runtime.search` takes it.
        state: its first state.
        rows: R.
        decoding: the model's own choices.
        beams: K; None takes the model's.
        min_words: no caption ends before it.
        length_power: see `search.beam`; None takes the model's.
        keep: captions wanted of a row, at most K, which None stands for.
    """
    written = itertools.count()

    def longer_step(words: IntArray, parts: Any) -> tuple[FloatArray, Any]:
        log_probabilities, next_parts = step(words, parts)
        if next(written) < min_words:
            log_probabilities = log_probabilities.copy()
            log_probabilities[:, END] = -np.inf
        return log_probabilities, next_parts

    return beam(
        longer_step if min_words else step,
        state,
        rows,
        decoding.max_words,
        decoding.beams if beams is None else beams,
        length_power=decoding.length_power if length_power is None else length_power,
        keep=keep,
    )
