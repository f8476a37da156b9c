"""Objects to sentence.

What was found in a photo, in words, becomes the input of a model that writes one
sentence. A detector names things, or our own region captions do
(`regiontalk.regions.detectors`). `describe` puts them into words: how many, how large,
what, where. A bidirectional encoder reads the descriptions one after the other, the
largest thing first, and the caption generator attends to what it has read: which things
it mentions, and in which order, is its own choice. Where nothing was found it reads an
END and says what is likeliest. The parts are those of the rest of the package: the
sentence encoder of `align`, the generator and the search of `generate`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, model_validator
from torch import Tensor, nn

from regiontalk.align.encoders import SentenceEncoder
from regiontalk.captioner import calibrated
from regiontalk.deprecation import renamed_keys
from regiontalk.generate.config import GeneratorConfig
from regiontalk.generate.model import Generator
from regiontalk.images.open import MAX_PIXELS, PictureSource, open_photo
from regiontalk.model.config import DecodingConfig
from regiontalk.model.hub import resolve_model
from regiontalk.model.region_model import resolve_device
from regiontalk.model.storage import open_folder
from regiontalk.model.weights import load_strictly, save_folder
from regiontalk.records import ImageResult, RegionCaption
from regiontalk.regions.detectors import Detection, Detector, Reads
from regiontalk.runtime.torch_engine import write_captions
from regiontalk.text.vocabulary import END, Vocabulary, pad_token_ids, tokenize

NUMBERS = ("two", "three", "four", "five", "six")
MANY = "many"
LARGE, SMALL = 0.25, 0.02  # shares of the photo's area
SIZES = ("large", "small")
PLACES = ("left", "middle", "right", "top", "bottom")
DESCRIBING = (
    *NUMBERS,
    MANY,
    *SIZES,
    *PLACES,
)  # every word that `describe` adds to the labels


def describe(
    detections: Iterable[Detection], size_wh: tuple[int, int], max_count: int = 12
) -> list[list[str]]:
    """What was found, in words: for each label how many, how large, what, where.

    >>> dogs = [Detection("dog", (0, 40, 20, 60), 0.9), Detection("dog", (10, 40, 30, 60), 0.8)]
    >>> describe([Detection("dining table", (40, 50, 100, 100), 0.9), *dogs], (100, 100))
    [['large', 'dining', 'table', 'right', 'bottom'], ['two', 'dog', 'left']]

    Args:
        detections: of one photo, in any order.
        size_wh: width and height of the photo in pixels.
        max_count: descriptions that are returned, those with the largest things.

    Returns:
        Tokens of each description, the largest thing first; none where nothing was found.
    """
    by_label: dict[str, list[Detection]] = {}
    for detection in detections:
        by_label.setdefault(detection.label, []).append(detection)
    described = [_described(label, group, size_wh) for label, group in by_label.items()]
    described.sort(key=lambda item: -item[0])
    return [words for _, words in described[:max_count]]


def _described(
    label: str, detections: Sequence[Detection], size_wh: tuple[int, int]
) -> tuple[float, list[str]]:
    """The largest area of one label's boxes as a share of the photo.

    And the words for all of them.
    """
    boxes = np.array([detection.box for detection in detections]) / np.array(
        [*size_wh, *size_wh]
    )
    low, high = boxes[:, :2], boxes[:, 2:]
    areas = (high - low).prod(1)
    total_area = max(float(areas.sum()), 1e-12)
    x, y = (low + high).T @ areas / (2 * total_area)
    largest = float(areas.max())
    words = [
        _number(len(detections)),
        _size(largest),
        *tokenize(label),
        *_position(float(x), float(y)),
    ]
    return largest, [word for word in words if word]


def _number(count: int) -> str:
    """How many; one goes without saying."""
    if count == 1:
        return ""
    return NUMBERS[count - 2] if count - 2 < len(NUMBERS) else MANY


def _size(share: float) -> str:
    """How large by the share of the photo; what is neither large nor small goes without saying."""
    large, small = SIZES
    if share >= LARGE:
        return large
    return small if share < SMALL else ""


def _position(x: float, y: float) -> tuple[str, str]:
    """Thirds of the photo; the middle of its height goes without saying."""
    left, middle, right, top, bottom = PLACES
    across = left if x < 1 / 3 else right if x > 2 / 3 else middle
    down = top if y < 1 / 3 else bottom if y > 2 / 3 else ""
    return across, down


class ObjectsConfig(BaseModel):
    """Sizes and choices of a model that makes sentences of objects.

    ``config.json`` is this record.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    kind: Literal["objects"] = "objects"
    name: str = Field("unnamed", description="what results call the model")
    reads: Reads = Field(
        "labels",
        description="what it was taught on: a detector's class names, or region captions",
    )
    max_descriptions: int = Field(
        12,
        ge=1,
        description="descriptions of a photo that it reads",
        serialization_alias="most",  # in fingerprints, which never change
    )
    word_size: int = Field(
        128, ge=1, description="length of a word vector of the encoder"
    )
    size: int = Field(
        256,
        ge=1,
        description="D, what the encoder says of each word, and its hidden size",
    )
    dropout: float = Field(
        0.2, ge=0, lt=1, description="on the encoder's word vectors and states"
    )
    generator: GeneratorConfig = GeneratorConfig(
        cell="gru", hidden=256, word_size=256, image="state", attention=128
    )
    decoding: DecodingConfig = DecodingConfig()

    @model_validator(mode="before")
    @classmethod
    def _take_old_keys(cls, values: Any, info: ValidationInfo) -> Any:
        """Read the keys of the version before; a model's own file may keep them."""
        return renamed_keys(values, {"most": "max_descriptions"}, info.context)

    @model_validator(mode="after")
    def _attends(self) -> Self:
        """Refuse a generator that has nothing to read, or looks at maps."""
        if not self.generator.attention:
            raise ValueError(
                "cannot meet: objects and generator.attention = 0; the words attend to "
                "the descriptions"
            )
        if self.generator.regions or self.generator.places:
            raise ValueError(
                "cannot meet: objects and generator.regions or places; there is no map to look at"
            )
        return self


class ObjectSpeaker(nn.Module):
    """Encoder of descriptions and generator of the sentence."""

    def __init__(self, *, config: ObjectsConfig, vocabulary: Vocabulary) -> None:
        """Build from sizes; one vocabulary for what is read and what is written."""
        super().__init__()
        self.config = config
        self.vocabulary = vocabulary
        self.reader = SentenceEncoder(
            vocabulary=len(vocabulary),
            word_size=config.word_size,
            hidden=config.size,
            size=config.size,
            cell="gru",
            normalise=False,
            dropout=config.dropout,
        )
        self.generator = Generator(
            features=config.size,
            annotation=config.size,
            vocabulary=vocabulary,
            config=config.generator,
        )

    def read(
        self, descriptions: Sequence[Sequence[Sequence[str]]]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What the generator reads of B photos.

        Args:
            descriptions: of each photo, as `describe` gives them; an END closes each, and stands
                for no description.

        Returns:
            condition (B, D), annotation vectors (B, P, D) and their mask (B, P), True = a word.
        """
        texts = [
            self._closed(photo_descriptions) for photo_descriptions in descriptions
        ]
        padded, is_word = pad_token_ids(texts)
        device = self.generator.output.weight.device
        token_ids = torch.from_numpy(padded).to(device)
        mask = torch.from_numpy(is_word).to(device)
        vectors: Tensor = self.reader(token_ids, mask)  # (B, P, D), 0 at padding
        lengths = mask.sum(1, keepdim=True).clamp(min=1)
        return vectors.sum(1) / lengths, vectors, mask

    def _closed(self, descriptions: Sequence[Sequence[str]]) -> list[int]:
        """The token ids of a photo's descriptions, an END after each.

        An END alone where there are none.
        """
        token_ids: list[int] = []
        for words in descriptions:
            token_ids += [*self.vocabulary.encode(words), END]
        return token_ids or [END]

    def save_pretrained(self, folder: Path, card: str) -> None:
        """Write the model folder."""
        save_folder(folder, self, self.config, self.vocabulary, card)

    @classmethod
    def from_folder(cls, folder: Path) -> ObjectSpeaker:
        """Read what `save_pretrained` wrote, in evaluation mode.

        Raises:
            ValueError: the folder holds another kind of model, is not complete or damaged.
        """
        config, vocabulary = open_folder(folder, ObjectsConfig)
        model = cls(config=config, vocabulary=vocabulary)
        weights = folder / "model.safetensors"
        load_strictly(model, weights)
        return model.eval()


class ObjectCaptioner:
    """A detector and a model that makes sentences of what it finds."""

    def __init__(
        self,
        *,
        model: ObjectSpeaker,
        detector: Detector,
        device: str | torch.device = "cpu",
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        """Take built parts.

        Args:
            model: in evaluation mode.
            detector: who says what is in a photo.
            device: where the model computes.
            max_pixels: larger photos are refused before they are decoded.

        Raises:
            ValueError: the model was taught on another kind of description.
        """
        if detector.reads != model.config.reads:
            raise ValueError(
                f"detector: expected one that gives {model.config.reads}, as "
                f"{model.config.name!r} was taught to read, got one that gives "
                f"{detector.reads}"
            )
        self.model = model.to(resolve_device(device)).eval()
        self.detector = detector
        self.max_pixels = max_pixels

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        detector: Detector,
        device: str | torch.device = "cpu",
        max_pixels: int = MAX_PIXELS,
    ) -> ObjectCaptioner:
        """Load a model by folder or ``owner/name`` of the Hugging Face Hub.

        Raises:
            ValueError: no such model, another kind of model, or it reads other descriptions.
        """
        model = ObjectSpeaker.from_folder(resolve_model(name))
        return cls(model=model, detector=detector, device=device, max_pixels=max_pixels)

    def caption(self, photo: PictureSource, *, beams: int | None = None) -> ImageResult:
        """A sentence about a photo, and the things it was made of as regions.

        Raises:
            ImageError: the photo cannot be used.
        """
        (result,) = self.caption_many([photo], beams=beams)
        return result

    def caption_many(
        self, photos: Sequence[PictureSource], *, beams: int | None = None
    ) -> list[ImageResult]:
        """`caption` for several photos, written together."""
        opened = [open_photo(photo, max_pixels=self.max_pixels) for photo in photos]
        detections = [self.detector.detect(photo.image) for photo in opened]
        config = self.model.config
        descriptions = [
            describe(photo_detections, photo.size_wh, config.max_descriptions)
            for photo, photo_detections in zip(opened, detections, strict=True)
        ]
        results: list[ImageResult] = []
        sentences = self.write(descriptions, beams)
        for photo, photo_detections, (text, confidence) in zip(
            opened, detections, sentences, strict=True
        ):
            width, height = photo.size_wh
            whole_photo = (0.0, 0.0, float(width), float(height))
            caption = RegionCaption(whole_photo, text or None, confidence)
            regions = tuple(_as_region(detection) for detection in photo_detections)
            results.append(
                ImageResult(photo.name, photo.size_wh, config.name, caption, regions)
            )
        return results

    @torch.inference_mode()
    def write(
        self, descriptions: Sequence[Sequence[Sequence[str]]], beams: int | None = None
    ) -> list[tuple[str, float]]:
        """The sentence of each photo's descriptions, and its confidence in 0..1."""
        if not descriptions:
            return []
        model, decoding = self.model, self.model.config.decoding
        condition, annotations, mask = model.read(descriptions)
        captions = write_captions(
            model.generator, decoding, condition, annotations, mask=mask, beams=beams
        )
        sentences: list[tuple[str, float]] = []
        for caption in captions:
            mean_log_prob = max(caption.log_probability, -1e3) / (
                len(caption.words) + 1
            )
            confidence = calibrated(decoding.photo, mean_log_prob, 0.0)
            sentences.append((model.vocabulary.decode(caption.words), confidence))
        return sentences


def _as_region(detection: Detection) -> RegionCaption:
    """A detection as a region of the result; its score is its confidence."""
    return RegionCaption(
        detection.box, detection.label, detection.score, detection.score
    )
