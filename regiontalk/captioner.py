"""The facade: photos and words in, records out.

The only place that knows pixels and words together.

>>> from regiontalk import RegionCaptioner  # doctest: +SKIP
>>> captioner = RegionCaptioner.from_pretrained("mini")  # doctest: +SKIP
>>> captioner.caption("photo.jpg").caption.text  # doctest: +SKIP
'a dog runs through the grass'
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from regiontalk.align.score import affinity, region_prior
from regiontalk.align.snippets import viterbi
from regiontalk.deprecation import renamed_method
from regiontalk.generate.neutral import neutral, swapped
from regiontalk.images.open import MAX_PIXELS, Photo, PictureSource, open_photo
from regiontalk.images.preprocessing import Preprocessing
from regiontalk.model.config import Calibration, ModelConfig
from regiontalk.model.hub import resolve_model
from regiontalk.records import (
    AttentionMaps,
    FloatArray,
    ImageResult,
    PhraseMatch,
    RegionCaption,
    RegionSnippet,
    checked_boxes,
)
from regiontalk.regions.dedupe import merged, worthiest
from regiontalk.regions.precomputed import precomputed_features, read_precomputed
from regiontalk.regions.sources import (
    DetectorBoxes,
    PrecomputedRegions,
    RegionSource,
    in_network_pixels,
)
from regiontalk.runtime.attention import attention_maps
from regiontalk.runtime.engines import load_predictor
from regiontalk.runtime.parallel import free_workers, in_parallel
from regiontalk.runtime.predictor import DecoderState, PhotoFeatures, Predictor
from regiontalk.runtime.search import Hypothesis
from regiontalk.text.nouns import repeats_itself
from regiontalk.text.vocabulary import UNKNOWN, Vocabulary, tokenize

LOCATE_REGIONS = 50  # proposals that compete when a phrase is located
ALIGN_REGIONS = 19  # the paper's number, used for sentences
PHOTOS_TOGETHER = 8  # opened and encoded in one run of the backbone
# decoded in one batch: enough to be quick, few enough for a gigabyte
BOXES_TOGETHER = 256


class WordScores(NamedTuple):
    """A sentence held against the regions of a photo."""

    photo: Photo
    words: tuple[str, ...]  # T tokens, those that the model knows
    boxes_xyxy: FloatArray  # (N, 4) pixels of the photo, row 0 the whole photo
    # (T, N) v . s plus the prior on regions (`align.score.region_prior`);
    # (T, N + 1) with NULL, the last
    scores: FloatArray

    def visible(self) -> WordScores:
        """Without boxes that are slivers or padding; NULL stays."""
        is_visible = visible(self.boxes_xyxy)
        is_choice = np.ones(self.scores.shape[1], dtype=bool)
        is_choice[: len(is_visible)] = is_visible
        return self._replace(
            boxes_xyxy=self.boxes_xyxy[is_visible], scores=self.scores[:, is_choice]
        )


class ScoredCaption(NamedTuple):
    """A caption and what its confidence is computed from.

    Attributes:
        text: the words.
        mean_log_prob: mean log-probability a word.
        alignment_score: of the caption and its box.
        check: logit that the caption is true of the box; 0 where the model has no such check.
    """

    text: str
    mean_log_prob: float
    alignment_score: float
    check: float = 0.0


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
        return RegionBatch(
            self.boxes_xyxy[:, columns], self.scores[:, columns], original
        )


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
        precomputed = predictor.config.precomputed
        if precomputed is not None and not isinstance(source, PrecomputedRegions):
            raise ValueError(
                f"model {predictor.config.name!r}: expected features of length "
                f"{precomputed.features}, which it was trained on and which somebody "
                "else computes, got none; name them with --features PATH"
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
                the other, only the most confident stays (`regions.dedupe.merged`). Boxes of a
                grid or of a file are never merged.
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
        caption = functools.partial(
            self._caption_together,
            regions=regions,
            beams=beams,
            threshold=threshold,
            merge=merge,
            check_photo=check_photo,
        )
        results: list[ImageResult] = []
        for first in range(0, len(photos), PHOTOS_TOGETHER):
            chosen = photos[first : first + PHOTOS_TOGETHER]
            each = -(-len(chosen) // free_workers(self.predictor.workers))
            tasks = [
                functools.partial(caption, chosen[row : row + each])
                for row in range(0, len(chosen), each)
            ]
            results += itertools.chain.from_iterable(
                in_parallel(tasks, self.predictor.workers)
            )
        return results

    def _caption_together(
        self,
        photos: Sequence[PictureSource],
        *,
        regions: int,
        beams: int | None,
        threshold: float | None,
        merge: bool,
        check_photo: bool,
    ) -> list[ImageResult]:
        """`caption_many` of photos that are computed in one go."""
        opened = [self.open(photo) for photo in photos]
        features = self.encode(opened)
        batch = self._regions(opened, features, max(regions, self._candidates(regions)))
        results = self.caption_boxes(
            opened, features, batch, beams, threshold, check_photo=check_photo
        )
        if merge and (self.source is None or isinstance(self.source, DetectorBoxes)):
            results = [self._merged(result) for result in results]
        if self._candidates(regions):
            results = [
                replace(result, regions=worthiest(result.regions, regions))
                for result in results
            ]
        return results

    def _merged(self, result: ImageResult) -> ImageResult:
        """A photo's regions without a second box on one thing."""
        decoding = self.config.decoding
        regions = merged(result.regions, decoding.merge_overlap, decoding.box_voting)
        return replace(result, regions=tuple(regions))

    def _candidates(self, regions: int) -> int:
        """How many proposals are captioned for so many regions.

        0 where all of them are returned.
        """
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
        places = np.concatenate(
            [np.array([[0, 0, *opened.size_wh]], dtype=np.float32), wanted]
        )
        boxes = self.preprocessing.to_network(places, opened.size_wh)[None]
        batch = RegionBatch(
            boxes, np.ones((1, len(places)), dtype=np.float32), (places,)
        )
        # who draws a box wants words
        min_confidence = 0.0 if threshold is None else threshold
        features = self.encode([opened])
        return self.caption_boxes(
            [opened], features, batch, beams, min_confidence, check_photo=False
        )[0]

    def align(
        self, photo: PictureSource, sentence: str, *, beta: float = 0.0
    ) -> ImageResult:
        """The box of every word of a sentence (eq. 8 of [1]).

        With ``beta`` the smoothed path of eq. 10 to 12. A word that the model does not
        know, or that chooses the NULL region of a model that has one, has no match.

        Raises:
            ImageError: the photo cannot be used.
            ValueError: the sentence has no word that the model knows.
        """
        return self.decode_alignment(self.score_words(photo, sentence), beta=beta)

    def score_words(self, photo: PictureSource, sentence: str) -> WordScores:
        """Every known word of a sentence on every region: what `align` decides by.

        Raises:
            ImageError: the photo cannot be used.
            ValueError: the sentence has no word that the model knows.
        """
        predictor, opened = self.predictor, self.open(photo)
        tokens, token_ids = self.read(sentence)
        features = self.encode([opened])
        boxes, objectness = predictor.propose(
            features, predictor.competing_regions(ALIGN_REGIONS)
        )
        regions = predictor.embed_regions(predictor.region_features(features, boxes))
        choices = predictor.choices(regions)
        words, _ = predictor.encode_text([token_ids])
        weight = self.config.decoding.region_prior
        prior = region_prior(words, objectness, weight, choices.shape[1])
        is_known = np.array(token_ids) != UNKNOWN
        # (T, N)
        scores = (affinity(choices, words)[0, 0] + prior[0])[: len(tokens)][is_known]
        known_tokens = tuple(itertools.compress(tokens, is_known))
        boxes_xyxy = self._to_original(boxes[0], opened)
        return WordScores(opened, known_tokens, boxes_xyxy, scores).visible()

    def decode_alignment(
        self, word_scores: WordScores, *, beta: float = 0.0
    ) -> ImageResult:
        """Each word with its box, the best chain of eq. 10."""
        labels, _ = viterbi(word_scores.scores, beta)
        boxes, matches = word_scores.boxes_xyxy, []
        rows = zip(word_scores.words, labels.tolist(), word_scores.scores, strict=True)
        for word, label, scores in rows:
            if label < len(boxes):  # else it chose NULL
                matches.append(
                    PhraseMatch(word, _corners(boxes[label]), float(scores[label]))
                )
        photo = word_scores.photo
        return ImageResult(
            photo.name, photo.size_wh, self.config.name, matches=tuple(matches)
        )

    def infer_snippets(
        self,
        photo: PictureSource,
        sentences: Sequence[str],
        *,
        beta: float | None = None,
    ) -> list[RegionSnippet]:
        """Which words of a photo's sentences name which region: the pairs of [1].

        Args:
            photo: as `caption` takes it.
            sentences: raw; words that the model does not know keep their place.
            beta: smoothing of eq. 12; None takes the model's own.

        Raises:
            ImageError: the photo cannot be used.
        """
        predictor, opened = self.predictor, self.open(photo)
        features = self.encode([opened])
        boxes, objectness = predictor.propose(features, ALIGN_REGIONS)
        region_features = predictor.region_features(features, boxes)
        tokens = [tokenize(sentence) for sentence in sentences]
        token_ids = [self.vocabulary.encode(words) for words in tokens]
        (pairs,) = predictor.infer_pairs(region_features, objectness, [token_ids], beta)
        boxes_xyxy = self._to_original(boxes[0], opened)
        snippets: list[RegionSnippet] = []
        for pair in pairs:
            words = tokens[pair.caption][pair.first : pair.first + len(pair.words)]
            box = _corners(boxes_xyxy[pair.region])
            snippets.append(
                RegionSnippet(
                    pair.caption, pair.first, " ".join(words), box, pair.score
                )
            )
        return snippets

    weigh = renamed_method("weigh", "score_words")
    join = renamed_method("join", "decode_alignment")
    evidence = renamed_method("evidence", "confidence_features")

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
            self.encode([opened]),
            [[numbers]],
            self.predictor.competing_regions(LOCATE_REGIONS),
        )
        original = self._to_original(boxes[0], opened)
        # the whole photo also fills empty places
        shown = visible(original) & (original != original[0]).any(1)
        shown[0] = True
        order = [
            row
            for row in np.argsort(-scores[0][0], kind="stable").tolist()
            if shown[row]
        ][:k]
        matches = tuple(
            PhraseMatch(phrase, _corners(original[row]), float(scores[0][0][row]))
            for row in order
        )
        return ImageResult(
            opened.name, opened.size_wh, self.config.name, matches=matches
        )

    @property
    def attends(self) -> bool:
        """Whether `look` has something to show."""
        return bool(self.config.generator.attention)

    def look(self, photo: PictureSource, sentence: str) -> AttentionMaps:
        """Where the generator looks at each word of a sentence about the whole photo ([2]).

        The photo's own caption, for example.

        Raises:
            ImageError: the photo cannot be used.
            ValueError: the model does not attend, or the sentence has no word that it knows.
        """
        tokens, _ = self.read(sentence)
        opened = self.open(photo)
        return attention_maps(
            self.predictor, self.encode([opened]), tokens, opened.size_wh
        )

    def encode(self, photos: Sequence[Photo]) -> PhotoFeatures:
        """One run of the backbone over B photos, or what is given of them."""
        precomputed = self.config.precomputed
        if precomputed is not None and isinstance(self.source, PrecomputedRegions):
            regions_by_photo = [
                read_precomputed(
                    self.source, photo.name, photo.size_wh, precomputed.features
                )
                for photo in photos
            ]
            return PhotoFeatures(
                *precomputed_features(regions_by_photo, self.preprocessing, precomputed)
            )
        to_pixels = self.preprocessing.to_pixels
        tasks = [
            functools.partial(to_pixels, photo.image, photo.size_wh) for photo in photos
        ]
        pixels = in_parallel(tasks, self.predictor.workers)
        return self.predictor.encode_photos(np.stack(pixels))

    def phrase_scores(
        self,
        features: PhotoFeatures,
        phrases: Sequence[Sequence[Sequence[int]]],
        regions: int,
    ) -> tuple[FloatArray, list[FloatArray]]:
        """How well each region answers each phrase.

        The phrase's words and what it says as a whole, on one region.

        Args:
            features: of B photos.
            phrases: for each photo its phrases as word numbers.
            regions: proposals that compete; the whole photo does as well.

        Returns:
            boxes (B, 1 + regions, 4) in network pixels, and for each photo scores (phrases, 1 +
            regions).
        """
        predictor = self.predictor
        boxes, objectness = predictor.propose(features, regions)
        vectors = predictor.embed_regions(predictor.region_features(features, boxes))
        weight, scores = self.config.decoding.region_prior, []
        for photo, photo_phrases in enumerate(phrases):
            words, mask = predictor.encode_text(photo_phrases)
            word_scores = affinity(vectors[[photo]], words)[0]  # (phrases, T, N)
            word_scores += region_prior(
                words, objectness[photo], weight, word_scores.shape[2]
            )
            scores.append((word_scores * mask[..., None]).sum(1))
        return boxes, scores

    def write(
        self,
        features: PhotoFeatures,
        boxes_xyxy: FloatArray,
        beams: int | None = None,
        *,
        of_photos: bool = False,
    ) -> list[Hypothesis]:
        """The best caption of every box (B, N, 4) in network pixels.

        All are decoded in one batch: B*N hypotheses.

        Args:
            features: of B photos.
            boxes_xyxy: (B, N, 4) network pixels.
            beams: K of the beam search; None takes the model's own.
            of_photos: the boxes are whole photos, which get sentences as the model decodes those.
        """
        captions, _ = self._write(features, boxes_xyxy, beams, of_photos)
        return captions

    def _write(
        self,
        features: PhotoFeatures,
        boxes_xyxy: FloatArray,
        beams: int | None,
        of_photos: bool,
    ) -> tuple[list[Hypothesis], FloatArray]:
        """`write`, and the region features (B, N, F) of the boxes."""
        decoding = self.config.decoding
        vectors = self.predictor.start_features(features, boxes_xyxy)
        state = self.predictor.start(features, boxes_xyxy, vectors=vectors)
        margin = decoding.neutral_margin
        if of_photos:
            captions = self._write_photos(features, state, beams)
            if decoding.photo_neutral_margin is not None:
                margin = decoding.photo_neutral_margin
        else:
            captions_by_box = self.predictor.write(
                state,
                decoding.region_beams if beams is None else beams,
                length_power=decoding.region_length_power,
            )
            captions = [candidates[0] for candidates in captions_by_box]
        if margin:
            captions = self._neutral(captions, state, margin)
        return captions, vectors[:, 1:]

    def _write_photos(
        self, features: PhotoFeatures, state: DecoderState, beams: int | None
    ) -> list[Hypothesis]:
        """The sentences of B whole photos.

        Of the best that search finds, one that fits the regions (eq. 8) and repeats nothing.
        """
        decoding = self.config.decoding
        captions_by_photo = self._search_photos(state, beams)
        if all(len(candidates) == 1 for candidates in captions_by_photo):
            return [candidates[0] for candidates in captions_by_photo]
        alignments_by_photo = self._alignments(features, captions_by_photo)
        chosen: list[Hypothesis] = []
        for candidates, alignments in zip(
            captions_by_photo, alignments_by_photo, strict=True
        ):
            scores = np.array([caption.score for caption in candidates])
            repeats = np.array(list(map(self._repeats, candidates)))
            ranks = scores + decoding.photo_alignment * alignments
            ranks -= decoding.photo_repetition * repeats
            chosen.append(candidates[int(ranks.argmax())])
        return chosen

    def _search_photos(
        self, state: DecoderState, beams: int | None
    ) -> list[list[Hypothesis]]:
        """Sentences of each whole photo, best first, of which one is to be chosen."""
        decoding = self.config.decoding
        if beams is None:
            beams = decoding.photo_beams or decoding.beams
        search = functools.partial(
            self.predictor.write, beams=beams, min_words=decoding.photo_min_words
        )
        is_ranked = bool(decoding.photo_alignment or decoding.photo_repetition)
        keep = min(beams, decoding.photo_candidates or beams) if is_ranked else 1
        captions_by_photo = search(state, keep=keep)
        if decoding.photo_repetition and keep < beams:
            rows = [
                row
                for row, candidates in enumerate(captions_by_photo)
                if all(map(self._repeats, candidates))
            ]
            # all that search finds, for one of them may not repeat itself
            more = search(state.take(rows), keep=None)
            for row, candidates in zip(rows, more, strict=True):
                captions_by_photo[row] = candidates
        return captions_by_photo

    def _alignments(
        self, features: PhotoFeatures, captions_by_photo: Sequence[Sequence[Hypothesis]]
    ) -> list[FloatArray]:
        """The alignment score (eq. 8) of each of a photo's captions with its regions.

        For each of B photos.
        """
        predictor = self.predictor
        boxes, objectness = predictor.propose(
            features, predictor.competing_regions(ALIGN_REGIONS)
        )
        regions = predictor.embed_regions(predictor.region_features(features, boxes))
        captions = itertools.chain.from_iterable(captions_by_photo)
        words, word_mask = predictor.encode_text(
            [caption.words for caption in captions]
        )
        alignments: list[FloatArray] = []
        first = 0
        for photo, candidates in enumerate(captions_by_photo):
            rows = slice(first, first + len(candidates))
            region_mask = objectness[[photo]] > 0
            scores = predictor.score(
                regions[[photo]], words[rows], region_mask, word_mask[rows]
            )
            alignments.append(scores[0])
            first = rows.stop
        return alignments

    def _neutral(
        self, captions: Sequence[Hypothesis], state: DecoderState, margin: float
    ) -> list[Hypothesis]:
        """The captions, with neutral words where the other sex is nearly as likely.

        See `generate.neutral`.
        """
        encode = self.vocabulary.encode
        texts = [self._tokens(caption) for caption in captions]
        counterparts: dict[int, list[int]] = {}  # of the rows that speak of one sex
        for row, text in enumerate(texts):
            counterpart = encode(swapped(text) or ["<unk>"])
            if UNKNOWN not in counterpart:
                counterparts[row] = counterpart
        if not counterparts:
            return list(captions)
        swapped_log_probs, _ = self.predictor.read_captions(
            state.take(list(counterparts)), list(counterparts.values())
        )
        chosen = list(captions)
        for row, swapped_log_prob in zip(
            counterparts, swapped_log_probs.tolist(), strict=True
        ):
            log_prob, token_ids = (
                captions[row].log_probability,
                encode(neutral(texts[row])),
            )
            if log_prob - swapped_log_prob < margin and UNKNOWN not in token_ids:
                # a person is likelier
                either = float(np.logaddexp(log_prob, swapped_log_prob))
                chosen[row] = Hypothesis(tuple(token_ids), either, captions[row].score)
        return chosen

    def _repeats(self, caption: Hypothesis) -> bool:
        return repeats_itself(self._tokens(caption))

    def _tokens(self, caption: Hypothesis) -> list[str]:
        return [self.vocabulary.words[token_id] for token_id in caption.words]

    def caption_vectors(self, captions: Sequence[Hypothesis]) -> FloatArray:
        """What each of R captions says as a whole: the sum of its words' vectors s, (R, D)."""
        # many regions say the same
        distinct = list(dict.fromkeys(caption.words for caption in captions))
        row_of_text = {token_ids: row for row, token_ids in enumerate(distinct)}
        vectors = self.predictor.text_vectors(distinct)
        return vectors[[row_of_text[caption.words] for caption in captions]]

    def confidence_features(
        self,
        features: PhotoFeatures,
        boxes_xyxy: FloatArray,
        captions: Sequence[Hypothesis],
    ) -> FloatArray:
        """What confidence is computed from: (B*N, 3), the numbers of `ScoredCaption`."""
        region_features = self.predictor.region_features(features, boxes_xyxy)
        return self.region_evidence(
            region_features.reshape(len(captions), -1),
            boxes_xyxy.reshape(-1, 4),
            captions,
        )

    def region_evidence(
        self,
        region_features: FloatArray,
        boxes_xyxy: FloatArray,
        captions: Sequence[Hypothesis],
    ) -> FloatArray:
        """The numbers of `ScoredCaption`, (R, 3), of a caption on each of R regions.

        Args:
            region_features: (R, F).
            boxes_xyxy: (R, 4) network pixels.
            captions: R.
        """
        predictor = self.predictor
        vectors = predictor.embed_regions(region_features[None])[0]
        sentences = self.caption_vectors(captions)
        alignment_scores = (sentences * vectors).sum(1)
        mean_log_probs = [
            max(caption.log_probability, -1e3) / (len(caption.words) + 1)
            for caption in captions
        ]
        checks = predictor.check_captions(region_features, boxes_xyxy, sentences)
        return np.stack(
            [np.array(mean_log_probs, dtype=np.float32), alignment_scores, checks], 1
        )

    def scored_captions(
        self,
        features: PhotoFeatures,
        boxes_xyxy: FloatArray,
        beams: int | None = None,
        *,
        of_photos: bool = False,
    ) -> list[list[ScoredCaption]]:
        """`write` with what confidence is computed from: of each of B photos N captions."""
        written, region_features = self._write(features, boxes_xyxy, beams, of_photos)
        scores = self.region_evidence(
            region_features.reshape(len(written), -1),
            boxes_xyxy.reshape(-1, 4),
            written,
        ).tolist()
        captions = [
            ScoredCaption(self.vocabulary.decode(caption.words), *numbers)
            for caption, numbers in zip(written, scores, strict=True)
        ]
        width = boxes_xyxy.shape[1]
        return [
            captions[first : first + width] for first in range(0, len(captions), width)
        ]

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
        if threshold is not None and not 0 <= threshold <= 1:
            raise ValueError(f"threshold: expected 0..1, got {threshold}")
        # places that fewer proposals than asked for, or slivers, leave empty everywhere
        is_used = (regions.scores != 0).any(0)
        is_used[0] = True
        regions = regions.take(is_used)
        captions_by_photo = self._caption_all(features, regions.boxes_xyxy, beams)
        is_photo = np.ones(len(photos), dtype=bool)
        if check_photo:
            is_photo = (
                self.predictor.photo_probability(features) >= decoding.photo_check
            )
        results = []
        for number, photo in enumerate(photos):
            records = self._records(
                captions_by_photo[number],
                regions.original_xyxy[number],
                regions.scores[number],
                threshold if is_photo[number] else math.inf,
            )
            name, size_wh = photo.name, photo.size_wh
            results.append(
                ImageResult(
                    name, size_wh, self.config.name, records[0], tuple(records[1:])
                )
            )
        return results

    def _caption_all(
        self, features: PhotoFeatures, boxes_xyxy: FloatArray, beams: int | None
    ) -> list[list[ScoredCaption]]:
        """The captions of boxes (B, N, 4), the first of each photo the whole photo.

        Threads share the photos; the sentence of a single photo is written beside its regions.
        """
        workers = free_workers(self.predictor.workers)
        count, width = boxes_xyxy.shape[:2]
        shares = _shares(count, width, workers)
        tasks: list[Callable[[], list[list[ScoredCaption]]]] = []
        for photos, columns in shares:
            write = functools.partial(
                self.scored_captions, of_photos=columns.start == 0
            )
            boxes = boxes_xyxy[photos, columns]
            tasks.append(functools.partial(write, features.take(photos), boxes, beams))
        captions: list[list[ScoredCaption]] = [[] for _ in boxes_xyxy]
        written_by_share = in_parallel(tasks, workers)
        for (photos, _), written in zip(shares, written_by_share, strict=True):
            for of_photo, more in zip(captions[photos], written, strict=True):
                of_photo.extend(more)
        return captions

    def _records(
        self,
        captions: Sequence[ScoredCaption],
        boxes_xyxy: FloatArray,
        scores: FloatArray,
        threshold: float | None,
    ) -> list[RegionCaption]:
        """One photo's regions as records, the whole photo first; a place of score 0 is left out.

        Args:
            captions: of the regions.
            boxes_xyxy: (N, 4) pixels of the photo.
            scores: (N,) objectness in 0..1.
            threshold: captions less confident get no words. None takes the model's own for regions,
                and 0 for the whole photo.
        """
        decoding = self.config.decoding
        records: list[RegionCaption] = []
        rows = zip(captions, boxes_xyxy, scores.tolist(), strict=True)
        for number, (caption, box, score) in enumerate(rows):
            if number == 0:
                calibration, sure_from, min_confidence = (
                    decoding.photo,
                    decoding.photo_threshold,
                    0.0,
                )
            elif score == 0:
                continue
            else:
                calibration, sure_from = decoding.region, decoding.threshold
                min_confidence = decoding.threshold
            if threshold is not None:
                min_confidence = threshold
            confidence = confidence_of(calibration, caption, score)
            is_worded = bool(caption.text) and confidence >= min_confidence
            words = caption.text if is_worded else None
            is_sure = confidence >= sure_from
            records.append(
                RegionCaption(_corners(box), words, confidence, score, is_sure)
            )
        return records

    def _regions(
        self, photos: Sequence[Photo], features: PhotoFeatures, count: int
    ) -> RegionBatch:
        """The whole photos and ``count`` boxes of each.

        Slivers and empty places have the score 0.
        """
        if self.source is None:
            boxes, scores = self.predictor.propose(features, count)
        else:
            # precomputed regions are found by the file's name, which Pillow forgets on conversion
            for photo in photos:
                vars(photo.image)["filename"] = photo.name
            proposed = [
                self.source.propose(photo.image)[: 1 + count] for photo in photos
            ]
            boxes, scores = in_network_pixels(proposed, self.preprocessing, 1 + count)
        original = tuple(map(self._to_original, boxes, photos))
        is_visible = np.stack(list(map(visible, original)))
        return RegionBatch(boxes, np.where(is_visible, scores, 0.0), original)

    def open(self, photo: PictureSource) -> Photo:
        """A photo, decoded no larger than the network needs.

        Another source of regions sees it as it is.
        """
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
                f"sentence: none of its words is known to the model, got {text!r}; use "
                "plain English words"
            )
        return tokens, numbers

    def _to_original(self, boxes_xyxy: FloatArray, photo: Photo) -> FloatArray:
        """Boxes (N, 4) in network pixels as pixels of the photo."""
        return self.preprocessing.to_original(boxes_xyxy, photo.size_wh)


def calibrated(
    calibration: Calibration,
    mean_log_prob: float,
    alignment_score: float,
    objectness: float = 1.0,
    check: float = 0.0,
) -> float:
    """The probability in 0..1 that a caption is right, of what `Calibration` weighs."""
    logit = calibration.bias + calibration.per_word * mean_log_prob
    logit += calibration.per_match * alignment_score
    logit += calibration.per_box * math.log(max(objectness, 1e-6))
    logit += calibration.per_check * check
    return 1 / (1 + math.exp(-max(-50.0, min(50.0, logit))))


def confidence_of(
    calibration: Calibration, caption: ScoredCaption, objectness: float = 1.0
) -> float:
    """`calibrated` of a caption on a box."""
    return calibrated(
        calibration,
        caption.mean_log_prob,
        caption.alignment_score,
        objectness,
        caption.check,
    )


def visible(boxes_xyxy: FloatArray) -> NDArray[np.bool_]:
    """Which boxes (N, 4), in pixels of the photo, are at least a pixel wide and high.

    Others are padding or slivers.

    >>> visible(np.array([[0, 0, 1, 5], [3, 3, 3.5, 9]], dtype=np.float32)).tolist()
    [True, False]
    """
    return np.asarray((boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).min(axis=1) >= 1)


def _corners(box: FloatArray) -> tuple[float, float, float, float]:
    """A row of boxes as plain numbers."""
    x1, y1, x2, y2 = (float(value) for value in box)
    return x1, y1, x2, y2


def _shares(photos: int, boxes: int, workers: int) -> list[tuple[slice, slice]]:
    """Photos and boxes that are decoded together.

    The whole photos (box 0) of a worker, then its regions in blocks.
    """
    photos_each = -(-photos // workers)
    width = max(1, BOXES_TOGETHER // photos_each)
    columns = [slice(0, 1)]
    columns += [slice(first, first + width) for first in range(1, boxes, width)]
    rows = [
        slice(first, first + photos_each) for first in range(0, photos, photos_each)
    ]
    return list(itertools.product(rows, columns))
