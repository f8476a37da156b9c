"""The facade: photos and words in, records out. The only place that knows pixels and words together.

>>> from regiontalk import RegionCaptioner  # doctest: +SKIP
>>> captioner = RegionCaptioner.from_pretrained("mini")  # doctest: +SKIP
>>> captioner.caption("photo.jpg").caption.text  # doctest: +SKIP
'a dog runs through the grass'
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from regiontalk.align.score import affinity, region_prior
from regiontalk.align.snippets import viterbi
from regiontalk.dedupe import merged, worthiest
from regiontalk.drawing.attention import AttentionMaps, attention_maps
from regiontalk.generate.neutral import neutral, swapped
from regiontalk.images.open import MAX_PIXELS, Photo, PictureSource, open_photo
from regiontalk.images.preprocessing import Preprocessing
from regiontalk.model.config import Calibration, ModelConfig
from regiontalk.model.hub import resolve_model
from regiontalk.records import FloatArray, ImageResult, PhraseMatch, RegionCaption, checked_boxes
from regiontalk.regions.precomputed import precomputed_features, read_precomputed
from regiontalk.regions.sources import (
    DetectorBoxes,
    PrecomputedRegions,
    RegionSource,
    in_network_pixels,
)
from regiontalk.runtime.engines import load_predictor
from regiontalk.runtime.predictor import DecoderState, PhotoFeatures, Predictor
from regiontalk.runtime.search import Hypothesis
from regiontalk.text.vocabulary import UNKNOWN, Vocabulary, tokenize

LOCATE_REGIONS = 50  # proposals that compete when a phrase is located
ALIGN_REGIONS = 19  # the paper's number, used for sentences
PHOTOS_TOGETHER = 8  # opened and encoded in one run of the backbone
BOXES_TOGETHER = 256  # decoded in one batch: enough to be quick, few enough for a gigabyte


class WordScores(NamedTuple):
    """A sentence held against the regions of a photo."""

    photo: Photo
    words: tuple[str, ...]  # T tokens, those that the model knows
    boxes_xyxy: FloatArray  # (N, 4) pixels of the photo, row 0 the whole photo
    # (T, N) v . s plus the prior on regions (`align.score.region_prior`); (T, N + 1) with NULL, the last
    scores: FloatArray


@dataclass(frozen=True)
class RegionBatch:
    """The regions of B photos, the whole photo first.

    Attributes:
        boxes_xyxy: (B, 1 + N, 4) network pixels.
        scores: (B, 1 + N) objectness in 0..1; a place of score 0 is empty.
        original_xyxy: of each photo the same boxes (1 + N, 4) in its own pixels.
    """

    boxes_xyxy: FloatArray
    scores: FloatArray
    original_xyxy: tuple[FloatArray, ...]

    def take(self, columns: Any) -> RegionBatch:
        """The chosen places of every photo."""
        original = tuple(boxes[columns] for boxes in self.original_xyxy)
        return RegionBatch(self.boxes_xyxy[:, columns], self.scores[:, columns], original)


class RegionCaptioner:
    """A model ready for use."""

    def __init__(
        self,
        *,
        predictor: Predictor,
        source: RegionSource | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        """Take a loaded model (`from_pretrained` loads one).

        Args:
            predictor: the model on one of the engines.
            source: where `caption` looks, instead of the model's own proposals (`regions.sources`).
                A model trained on given features needs them here, as `PrecomputedRegions`.
            max_pixels: larger photos are refused before they are decoded.

        Raises:
            ValueError: the model's features are lacking.
        """
        given = predictor.config.precomputed
        if given is not None and not isinstance(source, PrecomputedRegions):
            raise ValueError(
                f"model {predictor.config.name!r}: expected features of length {given.features}, which it was "
                "trained on and which somebody else computes, got none; name them with --features PATH"
            )
        self.predictor = predictor
        self.source = source
        self.max_pixels = max_pixels

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path = "mini",
        *,
        source: RegionSource | None = None,
        device: str = "cpu",
        max_pixels: int = MAX_PIXELS,
        engine: str = "auto",
        threads: int | None = None,
    ) -> RegionCaptioner:
        """Load a bundled model by name, a folder, or ``owner/name`` from the Hugging Face Hub.

        Args:
            name: of the model.
            source: see the constructor.
            device: where it computes.
            max_pixels: see the constructor.
            engine: "onnx", "torch", or "auto" (`runtime.engines.load_predictor`).
            threads: that ONNX Runtime computes with; None takes as many as there are cores.

        Raises:
            ValueError: no such model, or its folder is not complete or damaged.
        """
        predictor = load_predictor(
            resolve_model(name), engine=engine, device=device, threads=threads
        )
        return cls(predictor=predictor, source=source, max_pixels=max_pixels)

    @property
    def config(self) -> ModelConfig:
        """The model's sizes and choices."""
        return self.predictor.config

    @property
    def vocabulary(self) -> Vocabulary:
        """The words that the model knows."""
        return self.predictor.vocabulary

    @property
    def preprocessing(self) -> Preprocessing:
        """From a photo to the network, and boxes there and back."""
        return self.predictor.preprocessing

    def caption(
        self,
        photo: PictureSource,
        *,
        regions: int = 10,
        beams: int | None = None,
        threshold: float | None = None,
        merge: bool = True,
        check_photo: bool = True,
    ) -> ImageResult:
        """Caption a photo and its most likely regions.

        Args:
            photo: a path, bytes, a PIL picture or a uint8 array.
            regions: boxes beside the whole photo; fewer come back where no more were found.
            beams: K of the beam search; None takes the model's own.
            threshold: captions less confident than this keep their box but get no words. None takes
                the model's own for regions, and the whole photo always speaks.
            merge: where captions name one kind of thing on boxes of which half the smaller lies in
                the other, only the most confident stays (`dedupe.merged`). Boxes of a grid or of a
                file are never merged.
            check_photo: a picture that is likely no photo (a page of text, a chart) gets no words.

        Raises:
            ImageError: the photo cannot be used.
            ValueError: a setting is out of range.
        """
        return self.caption_many(
            [photo],
            regions=regions,
            beams=beams,
            threshold=threshold,
            merge=merge,
            check_photo=check_photo,
        )[0]

    def caption_many(
        self,
        photos: Sequence[PictureSource],
        *,
        regions: int = 10,
        beams: int | None = None,
        threshold: float | None = None,
        merge: bool = True,
        check_photo: bool = True,
    ) -> list[ImageResult]:
        """`caption` for several photos, computed together, `PHOTOS_TOGETHER` at a time."""
        if regions < 0:
            raise ValueError(f"regions: expected 0 or more, got {regions}")
        results: list[ImageResult] = []
        for first in range(0, len(photos), PHOTOS_TOGETHER):
            opened = [self.open(photo) for photo in photos[first : first + PHOTOS_TOGETHER]]
            features = self.encode(opened)
            batch = self._regions(opened, features, max(regions, self._candidates(regions)))
            results += self.caption_boxes(
                opened, features, batch, beams, threshold, check_photo=check_photo
            )
        if merge and (self.source is None or isinstance(self.source, DetectorBoxes)):
            overlap = self.config.decoding.merge_overlap
            results = [
                replace(result, regions=tuple(merged(result.regions, overlap)))
                for result in results
            ]
        if self._candidates(regions):
            results = [
                replace(result, regions=worthiest(result.regions, regions)) for result in results
            ]
        return results

    def _candidates(self, regions: int) -> int:
        """How many proposals are captioned for so many regions; 0 where all of them are returned."""
        return self.config.decoding.candidates if regions and self.source is None else 0

    def describe(
        self,
        photo: PictureSource,
        boxes_xyxy: Any,
        *,
        beams: int | None = None,
        threshold: float | None = None,
    ) -> ImageResult:
        """Caption the boxes that you give, (N, 4) in pixels of the photo, in their order.

        They all get words unless ``threshold`` says otherwise; `RegionCaption.sure` says which the
        model stands for.

        Raises:
            ImageError: the photo cannot be used.
            ValueError: a box is empty, inverted or outside the photo.
        """
        opened = self.open(photo)
        wanted = checked_boxes(boxes_xyxy, opened.size_wh)
        places = np.concatenate([np.array([[0, 0, *opened.size_wh]], dtype=np.float32), wanted])
        boxes = self.preprocessing.to_network(places, opened.size_wh)[None]
        batch = RegionBatch(boxes, np.ones((1, len(places)), dtype=np.float32), (places,))
        min_confidence = 0.0 if threshold is None else threshold  # who draws a box wants words
        features = self.encode([opened])
        return self.caption_boxes(
            [opened], features, batch, beams, min_confidence, check_photo=False
        )[0]

    def align(self, photo: PictureSource, sentence: str, *, beta: float = 0.0) -> ImageResult:
        """The box of every word of a sentence (eq. 8 of [1]; with ``beta`` the smoothed path of eq. 10 to 12).

        A word that the model does not know, or that chooses the NULL region of a model that has
        one, has no match.

        Raises:
            ImageError: the photo cannot be used.
            ValueError: the sentence has no word that the model knows.
        """
        return self.join(self.weigh(photo, sentence), beta=beta)

    def weigh(self, photo: PictureSource, sentence: str) -> WordScores:
        """Every known word of a sentence on every region: what `align` decides by.

        Raises:
            ImageError: the photo cannot be used.
            ValueError: the sentence has no word that the model knows.
        """
        opened = self.open(photo)
        tokens, numbers = self.read(sentence)
        features = self.encode([opened])
        boxes, quality = self.predictor.propose(
            features, self.predictor.competing_regions(ALIGN_REGIONS)
        )
        vectors = self.predictor.embed_regions(self.predictor.region_features(features, boxes))
        words, _ = self.predictor.encode_text([numbers])
        choices = self.predictor.choices(vectors)
        prior = region_prior(words, quality, self.config.decoding.region_prior, choices.shape[1])
        known = [place for place, number in enumerate(numbers) if number != UNKNOWN]
        products = (affinity(choices, words)[0, 0] + prior[0])[known]  # (T, N)
        original = self._to_original(boxes[0], opened)
        is_visible = visible(original)
        may = np.append(is_visible, np.ones(products.shape[1] - len(original), bool))  # NULL is
        return WordScores(
            opened, tuple(tokens[place] for place in known), original[is_visible], products[:, may]
        )

    def join(self, weighed: WordScores, *, beta: float = 0.0) -> ImageResult:
        """Each word with its box, the best chain of eq. 10."""
        labels, _ = viterbi(weighed.scores, beta)
        matches = tuple(
            PhraseMatch(word, _corners(weighed.boxes_xyxy[label]), float(row[label]))
            for word, label, row in zip(weighed.words, labels.tolist(), weighed.scores, strict=True)
            if label < len(weighed.boxes_xyxy)
        )
        return ImageResult(
            weighed.photo.name, weighed.photo.size_wh, self.config.name, matches=matches
        )

    def locate(self, photo: PictureSource, phrase: str, *, k: int = 1) -> ImageResult:
        """The ``k`` best boxes of a phrase, best first.

        Raises:
            ImageError: the photo cannot be used.
            ValueError: the phrase has no word that the model knows, or k is not positive.
        """
        if k < 1:
            raise ValueError(f"k: expected 1 or more, got {k}")
        opened = self.open(photo)
        _, numbers = self.read(phrase)
        boxes, scores = self.phrase_scores(
            self.encode([opened]), [[numbers]], self.predictor.competing_regions(LOCATE_REGIONS)
        )
        original = self._to_original(boxes[0], opened)
        shown = visible(original) & (original != original[0]).any(
            1
        )  # the whole photo also fills empty places
        shown[0] = True
        order = [row for row in np.argsort(-scores[0][0], kind="stable").tolist() if shown[row]][:k]
        matches = tuple(
            PhraseMatch(phrase, _corners(original[row]), float(scores[0][0][row])) for row in order
        )
        return ImageResult(opened.name, opened.size_wh, self.config.name, matches=matches)

    @property
    def attends(self) -> bool:
        """Whether `look` has something to show."""
        return bool(self.config.generator.attention)

    def look(self, photo: PictureSource, sentence: str) -> AttentionMaps:
        """Where the generator looks at each word of a sentence about the whole photo, such as its own caption ([2]).

        Raises:
            ImageError: the photo cannot be used.
            ValueError: the model does not attend, or the sentence has no word that it knows.
        """
        tokens, _ = self.read(sentence)
        opened = self.open(photo)
        return attention_maps(self.predictor, self.encode([opened]), tokens, opened.size_wh)

    def encode(self, photos: Sequence[Photo]) -> PhotoFeatures:
        """One run of the backbone over B photos, or what is given of them."""
        given = self.config.precomputed
        if given is not None and isinstance(self.source, PrecomputedRegions):
            regions_by_photo = [
                read_precomputed(self.source, photo.name, photo.size_wh, given.features)
                for photo in photos
            ]
            return PhotoFeatures(*precomputed_features(regions_by_photo, self.preprocessing, given))
        pixels = [self.preprocessing.to_pixels(photo.image, photo.size_wh) for photo in photos]
        return self.predictor.encode_photos(np.stack(pixels))

    def phrase_scores(
        self, features: PhotoFeatures, phrases: Sequence[Sequence[Sequence[int]]], regions: int
    ) -> tuple[FloatArray, list[FloatArray]]:
        """How well each region answers each phrase: the phrase's words and what it says as a whole, on one region.

        Args:
            features: of B photos.
            phrases: for each photo its phrases as word numbers.
            regions: proposals that compete; the whole photo does as well.

        Returns:
            boxes (B, 1 + regions, 4) in network pixels, and for each photo scores (phrases, 1 +
            regions).
        """
        predictor = self.predictor
        boxes, quality = predictor.propose(features, regions)
        vectors = predictor.embed_regions(predictor.region_features(features, boxes))
        weight, scores = self.config.decoding.region_prior, []
        for photo, own in enumerate(phrases):
            words, mask = predictor.encode_text(own)
            matches = affinity(vectors[photo : photo + 1], words)[0]  # (phrases, T, N)
            matches = matches + region_prior(words, quality[photo], weight, matches.shape[2])
            scores.append((matches * mask[..., None]).sum(1))
        return boxes, scores

    def write(
        self,
        features: PhotoFeatures,
        boxes_xyxy: FloatArray,
        beams: int | None = None,
        *,
        of_photos: bool = False,
    ) -> list[Hypothesis]:
        """The best caption of every box (B, N, 4) in network pixels, all decoded in one batch: B*N hypotheses.

        Args:
            features: of B photos.
            boxes_xyxy: (B, N, 4) network pixels.
            beams: K of the beam search; None takes the model's own.
            of_photos: the boxes are whole photos, which get sentences as the model decodes those.
        """
        decoding = self.config.decoding
        state = self.predictor.start(features, boxes_xyxy)
        if of_photos:
            captions = self.predictor.write(state, beams, decoding.photo_min_words)
        else:
            captions = self.predictor.write(
                state,
                decoding.region_beams if beams is None else beams,
                length_power=decoding.region_length_power,
            )
        margin = decoding.neutral_margin
        return self._neutral(captions, state, margin) if margin else captions

    def _neutral(
        self, captions: Sequence[Hypothesis], state: DecoderState, margin: float
    ) -> list[Hypothesis]:
        """The captions, with neutral words where the other sex is nearly as likely (`generate.neutral`)."""
        encode, words = self.vocabulary.encode, self.vocabulary.words
        texts = [[words[number] for number in caption.words] for caption in captions]
        counterparts: dict[int, list[int]] = {}  # of the rows that speak of one sex
        for row, text in enumerate(texts):
            counterpart = encode(swapped(text) or ["<unk>"])
            if UNKNOWN not in counterpart:
                counterparts[row] = counterpart
        if not counterparts:
            return list(captions)
        rows = list(counterparts)
        pairs = [captions[row].words for row in rows] + list(counterparts.values())
        scores, _ = self.predictor.read_captions(state.take(rows * 2), pairs)
        as_written, as_swapped = np.split(scores, 2)
        either = np.logaddexp(as_written, as_swapped)  # a person is likelier than either
        chosen = list(captions)
        for place, row in enumerate(rows):
            numbers = encode(neutral(texts[row]))
            if as_written[place] - as_swapped[place] < margin and UNKNOWN not in numbers:
                chosen[row] = Hypothesis(tuple(numbers), float(either[place]), captions[row].score)
        return chosen

    def evidence(
        self, features: PhotoFeatures, boxes_xyxy: FloatArray, captions: Sequence[Hypothesis]
    ) -> FloatArray:
        """What confidence is computed from: (B*N, 2), mean log-probability a word and alignment of caption and box."""
        predictor = self.predictor
        vectors = predictor.embed_regions(predictor.region_features(features, boxes_xyxy))
        words, mask = predictor.encode_text([caption.words for caption in captions])
        flat = vectors.reshape(len(captions), -1)
        match = ((words * mask[..., None]).sum(1) * flat).sum(1)
        fluency = [
            max(caption.log_probability, -1e3) / (len(caption.words) + 1) for caption in captions
        ]
        return np.stack([np.array(fluency, dtype=np.float32), match], 1)

    def caption_boxes(
        self,
        photos: Sequence[Photo],
        features: PhotoFeatures,
        regions: RegionBatch,
        beams: int | None,
        threshold: float | None,
        *,
        check_photo: bool = True,
    ) -> list[ImageResult]:
        """Captions of the regions of B photos; arguments as of `caption`.

        Raises:
            ValueError: a setting is out of range.
        """
        decoding = self.config.decoding
        least = decoding.threshold if threshold is None else threshold
        if not 0 <= least <= 1:
            raise ValueError(f"threshold: expected 0..1, got {least}")
        least_photo = 0.0 if threshold is None else least
        # places that fewer proposals than asked for, or slivers, leave empty everywhere
        is_used = (regions.scores != 0).any(0)
        is_used[0] = True
        regions = regions.take(is_used)
        captions_by_photo = self._write_all(features, regions.boxes_xyxy, beams)
        least_likely = decoding.photo_check if check_photo else 0.0
        is_photo = (self.predictor.photo_probability(features) >= least_likely).tolist()
        results = []
        for row, (photo, own, said, quality) in enumerate(
            zip(
                photos,
                regions.original_xyxy,
                captions_by_photo,
                regions.scores.tolist(),
                strict=True,
            )
        ):
            records = []
            for place, (box, (words, fluency, match), score) in enumerate(
                zip(own, said, quality, strict=True)
            ):
                if place and score == 0:
                    continue  # empty in this photo alone
                confidence = calibrated(
                    decoding.region if place else decoding.photo, fluency, match, score
                )
                text = self.vocabulary.decode(words)
                confident = confidence >= (least if place else least_photo)
                spoken = text if text and confident and is_photo[row] else None
                sure = confidence >= (decoding.threshold if place else decoding.photo_threshold)
                records.append(RegionCaption(_corners(box), spoken, confidence, score, sure))
            results.append(
                ImageResult(
                    photo.name, photo.size_wh, self.config.name, records[0], tuple(records[1:])
                )
            )
        return results

    def _write_all(
        self, features: PhotoFeatures, boxes: FloatArray, beams: int | None
    ) -> list[list[tuple[Sequence[int], float, float]]]:
        """For each photo and each of its boxes (B, N, 4) the words and the two pieces of evidence."""
        captions_by_photo: list[list[tuple[Sequence[int], float, float]]] = [[] for _ in boxes]
        width = max(1, BOXES_TOGETHER // len(boxes))
        for first in [0, *range(1, boxes.shape[1], width)]:
            is_photo = first == 0
            part = boxes[:, :1] if is_photo else boxes[:, first : first + width]
            captions = self.write(features, part, beams, of_photos=is_photo)
            evidence = self.evidence(features, part, captions).tolist()
            for number, (caption, (fluency, match)) in enumerate(
                zip(captions, evidence, strict=True)
            ):
                captions_by_photo[number // part.shape[1]].append((caption.words, fluency, match))
        return captions_by_photo

    def _regions(self, photos: Sequence[Photo], features: PhotoFeatures, count: int) -> RegionBatch:
        """The whole photos and ``count`` boxes of each; slivers and empty places have the score 0."""
        if self.source is None:
            boxes, scores = self.predictor.propose(features, count)
        else:
            # precomputed regions are found by the file's name, which Pillow forgets on conversion
            for photo in photos:
                vars(photo.image)["filename"] = photo.name
            proposed = [self.source.propose(photo.image)[: 1 + count] for photo in photos]
            boxes, scores = in_network_pixels(proposed, self.preprocessing, 1 + count)
        original = tuple(
            self._to_original(own, photo) for own, photo in zip(boxes, photos, strict=True)
        )
        is_visible = np.stack([visible(own) for own in original])
        return RegionBatch(boxes, np.where(is_visible, scores, 0.0), original)

    def open(self, photo: PictureSource) -> Photo:
        """A photo, decoded no larger than the network needs; another source of regions sees it as it is."""
        enough = self.preprocessing.size if self.source is None else None
        return open_photo(photo, max_pixels=self.max_pixels, at_least=enough)

    def read(self, text: str) -> tuple[list[str], list[int]]:
        """Tokens and their numbers; refused where no word is known."""
        tokens = tokenize(text)
        numbers = self.vocabulary.encode(tokens)
        if not tokens:
            raise ValueError(f"sentence: expected at least one word, got {text!r}")
        if all(number == UNKNOWN for number in numbers):
            raise ValueError(
                f"sentence: none of its words is known to the model, got {text!r}; use plain English words"
            )
        return tokens, numbers

    def _to_original(self, boxes_xyxy: FloatArray, photo: Photo) -> FloatArray:
        """Boxes (N, 4) in network pixels as pixels of the photo."""
        return self.preprocessing.to_original(boxes_xyxy, photo.size_wh)


def calibrated(
    calibration: Calibration, fluency: float, match: float, objectness: float = 1.0
) -> float:
    """The probability in 0..1 that a caption is right: of mean log-probability, alignment, and the box's objectness."""
    logit = calibration.bias + calibration.per_word * fluency + calibration.per_match * match
    logit += calibration.per_box * math.log(max(objectness, 1e-6))
    return 1 / (1 + math.exp(-max(-50.0, min(50.0, logit))))


def visible(boxes_xyxy: FloatArray) -> NDArray[np.bool_]:
    """Which boxes (N, 4), in pixels of the photo, are at least a pixel wide and high: others are padding or slivers.

    >>> visible(np.array([[0, 0, 1, 5], [3, 3, 3.5, 9]], dtype=np.float32)).tolist()
    [True, False]
    """
    return np.asarray((boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).min(axis=1) >= 1)


def _corners(box: FloatArray) -> tuple[float, float, float, float]:
    """A row of boxes as plain numbers."""
    x1, y1, x2, y2 = (float(value) for value in box)
    return x1, y1, x2, y2
