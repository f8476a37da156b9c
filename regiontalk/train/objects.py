"""Training of objects to sentence (`objects.captioner`).

Find the things of every photo once, then learn to speak. What a detector found is kept
in ``things.jsonl`` under the output folder, so a run that was killed goes on and a
second one with other sizes starts at once.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, model_validator
from torch import Tensor

from regiontalk.datasets.splits import read_split
from regiontalk.deprecation import renamed_keys
from regiontalk.files import write_text
from regiontalk.generate.model import caption_loss
from regiontalk.images.open import ImageError, open_image
from regiontalk.model.region_model import resolve_device
from regiontalk.objects.captioner import (
    DESCRIBING,
    ObjectsConfig,
    ObjectSpeaker,
    describe,
)
from regiontalk.records import Example
from regiontalk.regions.detectors import Detection, Detector
from regiontalk.text.vocabulary import Vocabulary
from regiontalk.train.card import objects_card
from regiontalk.train.changes import data_manifest, photo_hash, restart_changed
from regiontalk.train.loop import Log, OptimiserConfig, train
from regiontalk.train.recipe import read_recipe
from regiontalk.train.sentences import (
    Sentences,
    batch_rows,
    sentence_numbers,
    teacher_words,
)

SAVE_EVERY = 500  # photos between two writings of what was found

Descriptions = list[list[str]]  # of one photo


class ObjectsRecipe(BaseModel):
    """One run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="what results call the model")
    seed: int = Field(0, description="of the first weights")
    min_count: int = Field(
        5,
        ge=1,
        description="words of sentences seen less often in training are unknown",
        serialization_alias="least_count",  # in fingerprints, which never change
    )
    objects: ObjectsConfig = ObjectsConfig()
    batch: int = Field(64, ge=1, description="photos a step")
    captions: int = Field(2, ge=1, description="sentences a photo in a step")
    missed: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="share of the descriptions left out, as a detector may miss one",
    )
    smoothing: float = Field(0.1, ge=0, lt=1, description="label smoothing")
    optimiser: OptimiserConfig = OptimiserConfig()

    @model_validator(mode="before")
    @classmethod
    def _take_old_keys(cls, values: Any, info: ValidationInfo) -> Any:
        """Read the keys of the version before."""
        return renamed_keys(values, {"least_count": "min_count"}, info.context)

    @classmethod
    def read(cls, path: Path) -> ObjectsRecipe:
        """The recipe of a TOML file.

        Raises:
            ValueError: not TOML, or unknown keys and values out of range: all of them in one
                message.
        """
        return read_recipe(path, cls)


class ObjectsTerms:
    """The loss terms of a step, as `loop.train` wants them."""

    def __init__(
        self,
        model: ObjectSpeaker,
        descriptions: Sequence[Descriptions],
        sentences: Sequence[Sentences],
        recipe: ObjectsRecipe,
    ) -> None:
        """Take what was found in every photo, and its sentences as word numbers."""
        self.model = model
        self.recipe = recipe
        self.descriptions = descriptions
        self.sentences = sentences
        self.usable = [row for row, texts in enumerate(sentences) if texts]

    def __call__(self, step: int) -> Mapping[str, Tensor]:
        """Named terms of one step."""
        recipe = self.recipe
        chooser = random.Random(recipe.optimiser.step_seed(step))
        photos = batch_rows(self.usable, recipe.batch, step, recipe.optimiser.seed)
        descriptions = [
            self._miss_some(self.descriptions[row], chooser) for row in photos
        ]
        groups = [self.sentences[row] for row in photos]
        chosen = [
            chooser.sample(texts, min(recipe.captions, len(texts))) for texts in groups
        ]
        condition, annotations, mask = self.model.read(descriptions)
        device = condition.device
        photo_of_text = [photo for photo, texts in enumerate(chosen) for _ in texts]
        owner = torch.tensor(photo_of_text, device=device)
        inputs, targets = teacher_words(list(chain.from_iterable(chosen)))
        logits, _ = self.model.generator(
            condition, annotations, inputs.to(device), mask, owner
        )
        return {"captions": caption_loss(logits, targets.to(device), recipe.smoothing)}

    def _miss_some(
        self, descriptions: Descriptions, chooser: random.Random
    ) -> Descriptions:
        """The descriptions of a photo less some by chance, as a detector may miss them."""
        return [
            words for words in descriptions if chooser.random() >= self.recipe.missed
        ]


def train_objects(
    recipe: ObjectsRecipe,
    *,
    data: Path,
    out: Path,
    detector: Detector,
    source: str,
    log: Log,
    limit: int | None = None,
    device: str = "cpu",
) -> Path:
    """Run the recipe, or go on with it, and save the model; returns its folder.

    Args:
        recipe: the run.
        data: as `read_split` takes it.
        out: where everything is kept.
        detector: who says what is in the photos.
        source: its name; things found by another are not taken over.
        log: takes one line of progress.
        limit: keeps the first photos only, for a try.
        device: where the model trains.

    Raises:
        ValueError: no photo has a sentence, or a checkpoint of another run stands in the folder.
    """
    torch_device = resolve_device(device)
    examples = _read_examples(data, limit, log)
    out.mkdir(parents=True, exist_ok=True)
    config = recipe.objects.model_copy(
        update={"name": recipe.name, "reads": detector.reads}
    )
    detections = find_things(examples, detector, source, out / "things.jsonl", log)
    descriptions = _describe_all(detections, config, log)
    vocabulary = shared_vocabulary(examples, descriptions, recipe.min_count)
    model = _first_model(config, vocabulary, recipe.seed).to(torch_device).train()
    sentences = sentence_numbers(examples, vocabulary)
    settings, usual = _settings(recipe, descriptions, sentences)
    checkpoint = recipe.optimiser.checkpoint(out / "objects", settings, usual)
    restart_changed(checkpoint, data_manifest(examples), log)
    terms = ObjectsTerms(model, descriptions, sentences, recipe)
    train(model, terms, recipe.optimiser, checkpoint=checkpoint, log=log)
    card = objects_card(config, data=data.name, photos=len(examples), source=source)
    model.save_pretrained(out / "model", card)
    return out / "model"


def _describe_all(
    detections: Sequence[tuple[Sequence[Detection], tuple[int, int]]],
    config: ObjectsConfig,
    log: Log,
) -> list[Descriptions]:
    """The things of every photo in words; a line in the log says how many there are."""
    descriptions = [
        describe(things, size_wh, config.max_descriptions)
        for things, size_wh in detections
    ]
    count, empty = sum(map(len, descriptions)), descriptions.count([])
    log(f"{count} descriptions of {len(descriptions)} photos, none of {empty}")
    return descriptions


def _first_model(
    config: ObjectsConfig, vocabulary: Vocabulary, seed: int
) -> ObjectSpeaker:
    """A model that has learnt nothing yet."""
    torch.manual_seed(seed)
    return ObjectSpeaker(config=config, vocabulary=vocabulary)


def _settings(
    recipe: ObjectsRecipe, descriptions: list[Descriptions], sentences: list[Sentences]
) -> tuple[str, str]:
    """The recipe as JSON with a hash of all that is learnt from.

    And the JSON of a recipe of defaults. By the hash, a checkpoint of other texts is
    not gone on with.
    """
    content = hashlib.sha256(repr((descriptions, sentences)).encode()).hexdigest()
    settings = json.dumps(recipe.model_dump(by_alias=True) | {"read": content})
    return settings, ObjectsRecipe(name=recipe.name).model_dump_json(by_alias=True)


def _read_examples(data: Path, limit: int | None, log: Log) -> list[Example]:
    """The first training photos of a folder; what was wrong with them is logged.

    Raises:
        ValueError: none has a sentence.
    """
    all_examples, reports = read_split(data, "train")
    for line in chain.from_iterable(report.lines() for report in reports):
        log(line)
    examples = list(all_examples)[:limit]
    if not any(example.captions for example in examples):
        raise ValueError(
            f"{data}: expected training photos with sentences, got {len(examples)} without"
        )
    return examples


def shared_vocabulary(
    examples: Sequence[Example], descriptions: Sequence[Descriptions], min_count: int
) -> Vocabulary:
    """The words of the sentences with their counts.

    Then those that only descriptions have, counted once.
    """
    spoken = Vocabulary.build(
        (caption for example in examples for caption in example.captions), min_count
    )
    texts = chain.from_iterable(descriptions)
    described = set(chain.from_iterable(texts)) | set(DESCRIBING)
    more = sorted(word for word in described if word not in spoken)
    return Vocabulary([*spoken.words[4:], *more], [*spoken.counts, *(1 for _ in more)])


def find_things(
    examples: Sequence[Example], detector: Detector, source: str, path: Path, log: Log
) -> list[tuple[list[Detection], tuple[int, int]]]:
    """What a detector finds in every photo, and the size that its boxes refer to; kept in a file.

    A photo whose annotation names another size (Flickr8k is stored squashed) is looked at in that
    size. One that cannot be opened holds nothing.

    Args:
        examples: the photos.
        detector: asked only for photos that the file does not have.
        source: the detector's name; a file of another one is written anew.
        path: JSON Lines; the first names the detector.
        log: takes one line of progress now and then.
    """
    known = _read_found(path, source)
    for done, example in enumerate(examples, start=1):
        content = f"{photo_hash(example.photo)} {example.size_wh}"
        if known.get(example.id, {}).get("content") == content:
            continue
        size_wh, things = _look_at(example, detector, log)
        rows = [[thing.label, thing.box, thing.score] for thing in things]
        known[example.id] = {
            "photo": example.id,
            "content": content,
            "size": size_wh,
            "things": rows,
        }
        if done % SAVE_EVERY == 0 or done == len(examples):
            _write_found(path, source, known)
            log(f"things of {done}/{len(examples)} photos")
    return [_things_of(known[example.id]) for example in examples]


def _look_at(
    example: Example, detector: Detector, log: Log
) -> tuple[tuple[int, int], Sequence[Detection]]:
    """The size of a photo and what is in it; nothing where it cannot be opened."""
    try:
        image = open_image(example.photo)
    except ImageError as error:
        log(f"left empty: {error}")
        return (1, 1), []
    size_wh = example.size_wh or image.size
    if size_wh != image.size:
        image = image.resize(size_wh, Image.Resampling.BICUBIC)
    return size_wh, detector.detect(image)


def _things_of(row: Mapping[str, Any]) -> tuple[list[Detection], tuple[int, int]]:
    """The things in a photo and the size that their boxes refer to, from its row in the file."""
    things = [
        Detection(label, tuple(box), score) for label, box, score in row["things"]
    ]
    width, height = row["size"]
    return things, (width, height)


def _write_found(
    path: Path, source: str, known: Mapping[str, Mapping[str, Any]]
) -> None:
    """The file of what was found."""
    lines = [
        json.dumps({"detector": source}),
        *(json.dumps(row) for row in known.values()),
    ]
    write_text(path, "\n".join(lines) + "\n")


def _read_found(path: Path, source: str) -> dict[str, dict[str, Any]]:
    """What `_write_found` wrote for this detector, by photo; empty where there is nothing of it.

    Raises:
        ValueError: the file is damaged.
    """
    if not path.exists():
        return {}
    try:
        head, *rows = (
            json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()
        )
        return {row["photo"]: row for row in rows} if head["detector"] == source else {}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path}: expected what a detector found, JSON Lines ({error}); delete it"
        ) from error
