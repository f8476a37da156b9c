"""Teaching the caption check (`align.caption_check`).

The model's own captions on proposals, judged by annotated boxes. The captions are those
that a user would get, of the best proposals of training photos. Where a detector or
people marked every object of some classes, a class's word on another place is wrong:
such places the generator never saw. Where people wrote phrases on boxes, captions of
boxes that meet one are judged by its words. All other weights stay as they are.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ImageOps
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, dropout

from regiontalk import boxes as box_ops
from regiontalk.align.caption_check import CaptionCheck
from regiontalk.captioner import PHOTOS_TOGETHER, RegionCaptioner
from regiontalk.evaluate.calibration import judge_caption
from regiontalk.images.open import ImageError, Photo
from regiontalk.metrics.names import ClassWords, objects_of
from regiontalk.model.region_model import RegionModel
from regiontalk.records import Example, FloatArray
from regiontalk.runtime.export import export_runtime
from regiontalk.runtime.predictor import PhotoFeatures

RANK, HIDDEN = 128, 256
REGIONS = 30  # proposals of a photo, as many as `caption` chooses among
MIN_PAIRS = 1000
EPOCHS, BATCH = 8, 512
LEARNING_RATE, WEIGHT_DECAY, DROPOUT = 2e-3, 0.05, 0.5


class Pairs(NamedTuple):
    """R captions on regions of which it is known whether they are true."""

    regions: FloatArray  # (R, F)
    corners: FloatArray  # (R, 4) shares of the image's side
    texts: FloatArray  # (R, D)
    is_true: NDArray[np.bool_]  # (R,)


def teach_caption_check(
    folder: Path,
    examples: Sequence[Example],
    class_words: ClassWords,
    *,
    rank: int = RANK,
    seed: int = 0,
    threads: int | None = None,
    log: Callable[[str], None],
    done: Callable[[], object] = lambda: None,
) -> None:
    """Give the model of a folder a caption check, in place, and make its graphs anew.

    Args:
        folder: of the model, with its graphs.
        examples: training photos with names or phrases on boxes.
        class_words: what names each class.
        rank: of the head.
        seed: of its first weights and of the order.
        threads: that ONNX Runtime computes with.
        log: takes a line.
        done: called after each photo.

    Raises:
        ValueError: the folder is no model, or the photos give too few captions to judge.
    """
    captioner = RegionCaptioner.from_pretrained(folder, engine="onnx", threads=threads)
    pairs = read_pairs(captioner, examples, class_words, done=done)
    count, share = _checked_count(pairs), pairs.is_true.mean()
    log(f"{count} captions can be judged, {share:.0%} of them are right")
    model = RegionModel.from_folder(folder)
    torch.manual_seed(seed)
    check = CaptionCheck(pairs.regions.shape[1], pairs.texts.shape[1], rank, HIDDEN)
    loss = fit_caption_check(check, pairs, seed)
    log(f"caption check of rank {rank}: loss {loss:.3f}")
    model.caption_check = check.eval()
    sizes = {"caption_check": rank, "caption_check_hidden": HIDDEN}
    model.config = model.config.model_copy(update=sizes)
    card = (folder / "README.md").read_text(encoding="utf-8")
    model.save_pretrained(folder, card)
    export_runtime(folder)


def _checked_count(pairs: Pairs) -> int:
    """How many pairs there are.

    Raises:
        ValueError: too few, or all of one verdict.
    """
    count = len(pairs.is_true)
    share = pairs.is_true.mean() if count else 0.0
    if count < MIN_PAIRS or not 0 < share < 1:
        raise ValueError(
            f"caption check: expected at least {MIN_PAIRS} captions that can be judged, right "
            f"and wrong ones, got {count}, {share:.0%} of them right; give more photos whose "
            "boxes have names of the classes"
        )
    return count


def read_pairs(
    captioner: RegionCaptioner,
    examples: Sequence[Example],
    class_words: ClassWords,
    *,
    done: Callable[[], object] = lambda: None,
) -> Pairs:
    """The model's captions on the proposals of photos, as far as boxes say whether they are true.

    Each photo is read as it is and mirrored; broken ones are left out.

    Raises:
        ValueError: no photo is left.
    """
    judged_rows: list[Pairs] = []
    for first in range(0, len(examples), PHOTOS_TOGETHER):
        batch: list[tuple[Example, Photo]] = []
        for example in examples[first : first + PHOTOS_TOGETHER]:
            done()
            try:
                batch.append((example, captioner.open(example.photo)))
            except ImageError:
                continue
        if batch:
            for photos in (batch, [_mirrored(*pair) for pair in batch]):
                judged_rows.append(_read_batch(captioner, photos, class_words))
    if not judged_rows:
        raise ValueError(
            "caption check: expected photos with named boxes that can be opened, got none"
        )
    columns = zip(*judged_rows, strict=True)
    return Pairs(*(np.concatenate(rows) for rows in columns))


def _mirrored(example: Example, photo: Photo) -> tuple[Example, Photo]:
    """A photo as a mirror shows it, with its boxes."""
    width, _ = example.size_wh or photo.size_wh
    boxes = example.boxes_xyxy.copy()
    boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
    image = ImageOps.mirror(photo.image)
    return replace(example, boxes_xyxy=boxes), replace(photo, image=image)


def _read_batch(
    captioner: RegionCaptioner,
    batch: Sequence[tuple[Example, Photo]],
    class_words: ClassWords,
) -> Pairs:
    """The pairs of photos that are computed together."""
    predictor = captioner.predictor
    features = captioner.encode([photo for _, photo in batch])
    boxes, objectness = predictor.propose(features, REGIONS)
    boxes, objectness = boxes[:, 1:], objectness[:, 1:]
    captions = captioner.write(features, boxes)
    texts = captioner.caption_vectors(captions)
    words = [captioner.vocabulary.decode(caption.words) for caption in captions]
    verdicts: list[bool | None] = []
    for row, (example, photo) in enumerate(batch):
        original = captioner.preprocessing.to_original(boxes[row], photo.size_wh)
        of_photo = words[row * REGIONS : (row + 1) * REGIONS]
        verdicts += _judge(of_photo, original, photo.size_wh, example, class_words)
    # a proposal of score 0 fills an empty row
    for row in np.flatnonzero(objectness == 0).tolist():
        verdicts[row] = None
    return _judged_pairs(captioner, features, boxes, texts, verdicts)


def _judge(
    texts: Sequence[str],
    boxes_xyxy: FloatArray,
    size_wh: tuple[int, int],
    example: Example,
    class_words: ClassWords,
) -> list[bool | None]:
    """Whether the texts on the boxes (N, 4) of a photo are true.

    None where its annotation does not say.
    """
    places = box_ops.rescale(boxes_xyxy, size_wh, example.size_wh or size_wh)
    is_by_people = any(phrase.source == "annotator" for phrase in example.phrases)
    words = None if is_by_people else class_words
    return [
        judge_caption(text, box, example, words) if text else None
        for text, box in zip(texts, places, strict=True)
    ]


def _judged_pairs(
    captioner: RegionCaptioner,
    features: PhotoFeatures,
    boxes: FloatArray,
    texts: FloatArray,
    verdicts: Sequence[bool | None],
) -> Pairs:
    """The pairs of boxes (B, N, 4) and texts (B*N, D) whose verdicts are not None."""
    is_judged = np.array([verdict is not None for verdict in verdicts])
    size = captioner.config.extractor.size
    region_features = captioner.predictor.region_features(features, boxes)
    rows = Pairs(
        region_features.reshape(len(verdicts), -1),
        (boxes.reshape(-1, 4) / size).astype(np.float32),
        texts,
        np.array([verdict is True for verdict in verdicts]),
    )
    return Pairs(*(values[is_judged] for values in rows))


def fit_caption_check(check: CaptionCheck, pairs: Pairs, seed: int) -> float:
    """Learn from the pairs, in place: cross-entropy by AdamW; the mean loss of the last epoch."""
    regions, corners, texts, is_true = map(torch.from_numpy, pairs)
    targets = is_true.float()
    parameters = check.parameters()
    optimiser = torch.optim.AdamW(
        parameters, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY
    )
    batches = max(1, len(targets) // BATCH)
    steps = EPOCHS * batches
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, steps)
    losses: list[float] = []
    for rows in _batches(len(targets), batches, seed):
        logits = check(_drop(regions[rows]), corners[rows], _drop(texts[rows]))
        loss: Tensor = binary_cross_entropy_with_logits(logits, targets[rows])
        optimiser.zero_grad()
        torch.autograd.backward([loss])  # what loss.backward() does, with types
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
    last_epoch = losses[-batches:]
    return sum(last_epoch) / len(last_epoch)


def _batches(count: int, batches: int, seed: int) -> Iterator[Tensor]:
    """The rows of every step of all epochs."""
    chance = torch.Generator().manual_seed(seed)
    for _ in range(EPOCHS):
        yield from torch.randperm(count, generator=chance).chunk(batches)


def _drop(values: Tensor) -> Tensor:
    return dropout(values, DROPOUT)


def choose_examples(
    examples: Sequence[Example], count: int, seed: int = 0
) -> list[Example]:
    """So many of the photos that have a box with a name, in an order by chance."""
    boxed = [example for example in examples if objects_of(example)[1]]
    random.Random(seed).shuffle(boxed)
    return boxed[:count]
