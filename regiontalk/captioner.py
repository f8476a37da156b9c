"""The facade: photos and words in, records out. The only place that knows pixels and words together.

>>> from regiontalk import RegionCaptioner  # doctest: +SKIP
>>> captioner = RegionCaptioner.from_pretrained("mini")  # doctest: +SKIP
>>> captioner.caption("photo.jpg").caption.text  # doctest: +SKIP
'a dog runs through the grass'
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regiontalk.align.score import affinity, region_prior
from regiontalk.align.snippets import viterbi
from regiontalk.dedupe import merged, worthiest
from regiontalk.drawing.attention import Looks, look
from regiontalk.generate.half_precision import for_writing
from regiontalk.generate.model import caption_log_probability
from regiontalk.generate.neutral import neutral, swapped
from regiontalk.generate.search import Hypothesis
from regiontalk.images.open import MAX_PIXELS, Photo, PictureSource, open_photo
from regiontalk.model.config import Calibration
from regiontalk.model.hub import find_folder
from regiontalk.model.region_model import RegionModel, reachable, write_captions
from regiontalk.records import FloatArray, ImageResult, PhraseMatch, RegionCaption, checked_boxes
from regiontalk.regions.extractor import Maps
from regiontalk.regions.precomputed import given_maps, read_given
from regiontalk.regions.sources import (
    DetectorBoxes,
    PrecomputedRegions,
    RegionSource,
    in_network_pixels,
)
from regiontalk.text.vocabulary import UNKNOWN, tokenize

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
    scores: Tensor


class RegionCaptioner:
    """A model ready for use."""

    def __init__(
        self,
        *,
        model: RegionModel,
        source: RegionSource | None = None,
        device: str | torch.device = "cpu",
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        """Take a built model (`from_pretrained` builds one).

        Args:
            model: in evaluation mode.
            source: where `caption` looks, instead of the model's own proposals (`regions.sources`).
                A model trained on given features needs them here, as `PrecomputedRegions`.
            device: where it computes.
            max_pixels: larger photos are refused before they are decoded.

        Raises:
            ValueError: this torch cannot compute on the device, or the model's features are
                lacking.
        """
        if model.config.given is not None and not isinstance(source, PrecomputedRegions):
            raise ValueError(
                f"model {model.config.name!r}: expected features of length {model.config.given.features}, which it was "
                "trained on and which somebody else computes, got none; name them with --features PATH"
            )
        self.device = reachable(device)
        self.model = model.to(self.device).to(memory_format=torch.channels_last).eval()
        self.source = source
        self.max_pixels = max_pixels
        self._writer = for_writing(self.model.generator)

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path = "mini",
        *,
        source: RegionSource | None = None,
        device: str | torch.device = "cpu",
        max_pixels: int = MAX_PIXELS,
    ) -> RegionCaptioner:
        """Load a bundled model by name, a folder, or ``owner/name`` from the Hugging Face Hub.

        Raises:
            ValueError: no such model, or its folder is not complete or damaged.
        """
        model = RegionModel.from_folder(find_folder(name))
        return cls(model=model, source=source, device=device, max_pixels=max_pixels)

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
            maps = self.encode(opened)
            boxes, scores = self._regions(opened, maps, max(regions, self._candidates(regions)))
            places = [self._to_original(boxes[row], photo) for row, photo in enumerate(opened)]
            scores = scores * torch.from_numpy(np.stack([visible(own) for own in places])).to(
                scores.device
            )
            results += self.speak(
                opened, maps, boxes, scores, places, beams, threshold, check_photo=check_photo
            )
        if merge and (self.source is None or isinstance(self.source, DetectorBoxes)):
            overlap = self.model.config.decoding.merge_overlap
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
        return self.model.config.decoding.candidates if regions and self.source is None else 0

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
        boxes = torch.from_numpy(self.model.preprocessing.to_network(places, opened.size_wh))[
            None
        ].to(self.device)
        scores = boxes.new_ones(1, len(places))
        least = 0.0 if threshold is None else threshold  # whoever draws a box wants words for it
        maps = self.encode([opened])
        return self.speak([opened], maps, boxes, scores, [places], beams, least, check_photo=False)[
            0
        ]

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
        maps = self.encode([opened])
        boxes, quality = self.model.extractor.propose(maps, self.model.regions(ALIGN_REGIONS))
        with torch.inference_mode():
            vectors = self.model.aligner.regions(self.model.extractor.vectors(maps, boxes))
            words, _ = self.model.aligner.read([numbers])
            choices = self.model.aligner.choices(vectors)
            prior = region_prior(
                words, quality, self.model.config.decoding.region_prior, choices.shape[1]
            )
            known = [place for place, number in enumerate(numbers) if number != UNKNOWN]
            products = (affinity(choices, words)[0, 0] + prior[0])[known].cpu()  # (T, N)
        original = self._to_original(boxes[0], opened)
        seen = visible(original)
        may = np.append(seen, np.ones(products.shape[1] - len(seen), dtype=bool))  # NULL always is
        return WordScores(
            opened, tuple(tokens[place] for place in known), original[seen], products[:, may]
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
            weighed.photo.name, weighed.photo.size_wh, self.model.config.name, matches=matches
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
        maps = self.encode([opened])
        boxes, scores = self.phrase_scores(maps, [[numbers]], self.model.regions(LOCATE_REGIONS))
        original = self._to_original(boxes[0], opened)
        shown = visible(original) & (original != original[0]).any(
            1
        )  # the whole photo also fills empty places
        shown[0] = True
        order = [
            row for row in scores[0][0].argsort(descending=True, stable=True).tolist() if shown[row]
        ][:k]
        matches = tuple(
            PhraseMatch(phrase, _corners(original[row]), float(scores[0][0][row])) for row in order
        )
        return ImageResult(opened.name, opened.size_wh, self.model.config.name, matches=matches)

    @property
    def attends(self) -> bool:
        """Whether `look` has something to show."""
        return bool(self.model.config.generator.attention)

    def look(self, photo: PictureSource, sentence: str) -> Looks:
        """Where the generator looks at each word of a sentence about the whole photo, such as its own caption ([2]).

        Raises:
            ImageError: the photo cannot be used.
            ValueError: the model does not attend, or the sentence has no word that it knows.
        """
        tokens, _ = self.read(sentence)
        opened = self.open(photo)
        return look(self.model, self.encode([opened]), tokens, opened.size_wh)

    @torch.inference_mode()
    def encode(self, photos: Sequence[Photo]) -> Maps:
        """One run of the backbone over B photos, or what is given of them."""
        given = self.model.config.given
        if given is not None and isinstance(self.source, PrecomputedRegions):
            found = [
                read_given(self.source, photo.name, photo.size_wh, given.features)
                for photo in photos
            ]
            parts = given_maps(found, self.model.preprocessing, given)
            return Maps(*(part.to(self.device) for part in parts))
        pixels = torch.stack(
            [self.model.preprocessing.to_tensor(photo.image, photo.size_wh) for photo in photos]
        )
        pixels = pixels.to(self.device).contiguous(memory_format=torch.channels_last)
        maps: Maps = self.model.extractor(pixels)
        return maps

    @torch.inference_mode()
    def phrase_scores(
        self, maps: Maps, phrases: Sequence[Sequence[Sequence[int]]], regions: int
    ) -> tuple[Tensor, list[Tensor]]:
        """How well each region answers each phrase: the phrase's words and what it says as a whole, on one region.

        Args:
            maps: of B photos.
            phrases: for each photo its phrases as word numbers.
            regions: proposals that compete; the whole photo does as well.

        Returns:
            boxes (B, 1 + regions, 4) in network pixels, and for each photo scores (phrases, 1 +
            regions).
        """
        boxes, quality = self.model.extractor.propose(maps, regions)
        vectors = self.model.aligner.regions(self.model.extractor.vectors(maps, boxes))
        weight, scores = self.model.config.decoding.region_prior, []
        for photo, own in enumerate(phrases):
            words, mask = self.model.aligner.read(own)
            matches = affinity(vectors[photo : photo + 1], words)[0]  # (phrases, T, N)
            matches = matches + region_prior(words, quality[photo], weight, matches.shape[2])
            scores.append((matches * mask[..., None]).sum(1))
        return boxes, scores

    @torch.inference_mode()
    def write(
        self, maps: Maps, boxes_xyxy: Tensor, beams: int | None = None, min_words: int = 0
    ) -> list[Hypothesis]:
        """The best caption of every box (B, N, 4) in network pixels, all decoded in one batch: B*N hypotheses."""
        condition, annotations = self.model.conditions(maps, boxes_xyxy)
        decoding = self.model.config.decoding
        captions = write_captions(
            self._writer, decoding, condition, annotations, beams=beams, min_words=min_words
        )
        if not decoding.neutral_margin:
            return captions
        return self._neutral(captions, condition, annotations, decoding.neutral_margin)

    def _neutral(
        self,
        captions: Sequence[Hypothesis],
        condition: Tensor,
        annotations: Tensor | None,
        margin: float,
    ) -> list[Hypothesis]:
        """The captions, with neutral words where the other sex is nearly as likely (`generate.neutral`)."""
        encode, words = self.model.vocabulary.encode, self.model.vocabulary.words
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
        shown = None if annotations is None else annotations[rows * 2]
        scores = caption_log_probability(self.model.generator, condition[rows * 2], shown, pairs)
        as_written, as_swapped = scores.chunk(2)
        either = torch.logaddexp(
            as_written, as_swapped
        )  # a person is likelier than either of the two
        chosen = list(captions)
        for place, row in enumerate(rows):
            numbers = encode(neutral(texts[row]))
            if as_written[place] - as_swapped[place] < margin and UNKNOWN not in numbers:
                chosen[row] = Hypothesis(tuple(numbers), float(either[place]), captions[row].score)
        return chosen

    @torch.inference_mode()
    def evidence(self, maps: Maps, boxes_xyxy: Tensor, captions: Sequence[Hypothesis]) -> Tensor:
        """What confidence is computed from: (B*N, 2), mean log-probability a word and alignment of caption and box."""
        vectors = self.model.aligner.regions(
            self.model.extractor.vectors(maps, boxes_xyxy)
        ).flatten(0, 1)
        words, mask = self.model.aligner.read([caption.words for caption in captions])
        match = torch.einsum("rtd,rd->r", words * mask[..., None], vectors)
        fluency = [
            max(caption.log_probability, -1e3) / (len(caption.words) + 1) for caption in captions
        ]
        return torch.stack([match.new_tensor(fluency), match], 1)

    def speak(
        self,
        photos: Sequence[Photo],
        maps: Maps,
        boxes: Tensor,
        scores: Tensor,
        places: Sequence[FloatArray],
        beams: int | None,
        threshold: float | None,
        *,
        check_photo: bool = True,
    ) -> list[ImageResult]:
        """Captions of boxes (B, 1 + N, 4) in network pixels, row 0 the whole photo; a score of 0 passes a box over.

        ``places`` holds for each photo the same boxes (1 + N, 4) in pixels of the original.
        """
        decoding = self.model.config.decoding
        least = decoding.threshold if threshold is None else threshold
        if not 0 <= least <= 1:
            raise ValueError(f"threshold: expected 0..1, got {least}")
        least_photo = 0.0 if threshold is None else least
        used = (scores != 0).any(
            0
        )  # places that fewer proposals than asked for, or slivers, leave empty everywhere
        used[0] = True
        boxes, scores, rows = boxes[:, used], scores[:, used], used.cpu().numpy()
        told, results = self._say(maps, boxes, beams), []
        with torch.inference_mode():
            least_likely = decoding.photo_check if check_photo else 0.0
            is_photo = (self.model.photo_probability(maps) >= least_likely).tolist()
        for row, (photo, own, said, quality) in enumerate(
            zip(photos, places, told, scores.tolist(), strict=True)
        ):
            records = []
            for place, (box, (words, fluency, match), score) in enumerate(
                zip(own[rows], said, quality, strict=True)
            ):
                if place and score == 0:
                    continue  # empty in this photo alone
                confidence = calibrated(
                    decoding.region if place else decoding.photo, fluency, match, score
                )
                text = self.model.vocabulary.decode(words)
                confident = confidence >= (least if place else least_photo)
                spoken = text if text and confident and is_photo[row] else None
                sure = confidence >= (decoding.threshold if place else decoding.photo_threshold)
                records.append(RegionCaption(_corners(box), spoken, confidence, score, sure))
            name = self.model.config.name
            results.append(
                ImageResult(photo.name, photo.size_wh, name, records[0], tuple(records[1:]))
            )
        return results

    def _say(
        self, maps: Maps, boxes: Tensor, beams: int | None
    ) -> list[list[tuple[Sequence[int], float, float]]]:
        """For each photo and each of its boxes (B, N, 4) the words and the two pieces of evidence."""
        said: list[list[tuple[Sequence[int], float, float]]] = [[] for _ in boxes]
        decoding, width = self.model.config.decoding, max(1, BOXES_TOGETHER // len(boxes))
        region_beams = decoding.region_beams if beams is None else beams
        for first in [0, *range(1, boxes.shape[1], width)]:
            if first == 0:  # the whole photo
                part = boxes[:, :1]
                captions = self.write(maps, part, beams, decoding.photo_min_words)
            else:
                part = boxes[:, first : first + width]
                captions = self.write(maps, part, region_beams)
            evidence = self.evidence(maps, part, captions).tolist()
            for number, (caption, (fluency, match)) in enumerate(
                zip(captions, evidence, strict=True)
            ):
                said[number // part.shape[1]].append((caption.words, fluency, match))
        return said

    def _regions(self, photos: Sequence[Photo], maps: Maps, count: int) -> tuple[Tensor, Tensor]:
        """Boxes (B, 1 + N, 4) in network pixels, row 0 the whole photo, and scores (B, 1 + N); 0 fills empty places."""
        if self.source is None:
            return self.model.extractor.propose(maps, count)
        # precomputed regions are found by the file's name, which Pillow forgets on conversion
        for photo in photos:
            vars(photo.image)["filename"] = photo.name
        found = [self.source.propose(photo.image)[: 1 + count] for photo in photos]
        boxes, scores = in_network_pixels(found, self.model.preprocessing, 1 + count)
        return boxes.to(self.device), scores.to(self.device)

    def open(self, photo: PictureSource) -> Photo:
        """A photo, decoded no larger than the network needs; another source of regions sees it as it is."""
        enough = self.model.preprocessing.size if self.source is None else None
        return open_photo(photo, max_pixels=self.max_pixels, at_least=enough)

    def read(self, text: str) -> tuple[list[str], list[int]]:
        """Tokens and their numbers; refused where no word is known."""
        tokens = tokenize(text)
        numbers = self.model.vocabulary.encode(tokens)
        if not tokens:
            raise ValueError(f"sentence: expected at least one word, got {text!r}")
        if all(number == UNKNOWN for number in numbers):
            raise ValueError(
                f"sentence: none of its words is known to the model, got {text!r}; use plain English words"
            )
        return tokens, numbers

    def _to_original(self, boxes_xyxy: Tensor, photo: Photo) -> FloatArray:
        """Boxes (N, 4) in network pixels as pixels of the photo."""
        return self.model.preprocessing.to_original(boxes_xyxy.cpu().numpy(), photo.size_wh)


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


def _corners(box: FloatArray | Tensor) -> tuple[float, float, float, float]:
    """A row of boxes as plain numbers."""
    x1, y1, x2, y2 = (float(value) for value in box)
    return x1, y1, x2, y2
