"""Teaching the caption check (`align.caption_check`) with the model's own captions.

They are what the search finds for the best proposals of training photos, judged by annotated
boxes. Where a detector or people marked every object of some classes, a class's word on another
place is wrong: such places the generator never saw. Where people wrote phrases on boxes, captions
of boxes that meet one are judged by its words. All other weights stay as they are.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
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
from regiontalk.runtime.predictor import DecoderState

RANK = 64
REGIONS = 30  # proposals of a photo, as many as `caption` chooses among
CAPTIONS = 5  # of a region, that the search finds
MIN_CAPTIONS = 1000
EPOCHS, BATCH = 8, 256
LEARNING_RATE, WEIGHT_DECAY, DROPOUT = 2e-3, 0.05, 0.5
CHOICE_WEIGHT = 0.5  # of choosing among a region's captions, beside judging each


class JudgedRegions(NamedTuple):
    """K captions of each of R regions, and whether they are true of it."""

    regions: FloatArray  # (R, F)
    corners: FloatArray  # (R, 4) shares of the image's side
    texts: FloatArray  # (R, K, W) sums of unit word vectors
    is_true: NDArray[np.bool_]  # (R, K)
    is_judged: NDArray[np.bool_]  # (R, K); False where nobody knows, and `is_true` too


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
    judged = judge_regions(captioner, examples, class_words, done=done)
    count = int(judged.is_judged.sum())
    share = int(judged.is_true.sum()) / max(1, count)
    if count < MIN_CAPTIONS or not 0 < share < 1:
        raise ValueError(
            f"caption check: expected at least {MIN_CAPTIONS} captions that can be judged, "
            f"right and wrong ones, got {count}, {share:.0%} of them right; give more photos "
            "whose boxes have names of the classes"
        )
    log(f"{count} captions can be judged, {share:.0%} of them are right")
    model = RegionModel.from_folder(folder)
    torch.manual_seed(seed)
    check = CaptionCheck(judged.regions.shape[1], judged.texts.shape[2], rank)
    loss = fit_caption_check(check, judged, seed)
    log(f"caption check of rank {rank}: loss {loss:.3f}")
    model.caption_check = check.eval()
    model.config = model.config.model_copy(update={"caption_check": rank})
    card = (folder / "README.md").read_text(encoding="utf-8")
    model.save_pretrained(folder, card)
    export_runtime(folder)


def judge_regions(
    captioner: RegionCaptioner,
    examples: Sequence[Example],
    class_words: ClassWords,
    *,
    done: Callable[[], object] = lambda: None,
) -> JudgedRegions:
    """The model's captions of the proposals of photos, as far as boxes say whether they are true.

    Broken photos are left out.

    Raises:
        ValueError: no photo is left.
    """
    batches: list[JudgedRegions] = []
    for first in range(0, len(examples), PHOTOS_TOGETHER):
        batch: list[tuple[Example, Photo]] = []
        for example in examples[first : first + PHOTOS_TOGETHER]:
            done()
            try:
                batch.append((example, captioner.open(example.photo)))
            except ImageError:
                continue
        if batch:
            batches.append(_judge_batch(captioner, batch, class_words))
    if not batches:
        raise ValueError(
            "caption check: expected photos with named boxes that can be opened, got none"
        )
    columns = zip(*batches, strict=True)
    return JudgedRegions(*(np.concatenate(rows) for rows in columns))


def _judge_batch(
    captioner: RegionCaptioner,
    batch: Sequence[tuple[Example, Photo]],
    class_words: ClassWords,
) -> JudgedRegions:
    """The regions of photos that are computed together, those with a caption to judge."""
    predictor = captioner.predictor
    features = captioner.encode([photo for _, photo in batch])
    boxes, objectness = predictor.propose(features, REGIONS)
    boxes, objectness = boxes[:, 1:], objectness[:, 1:]
    texts = _captions(captioner, predictor.start(features, boxes))
    region_features = predictor.region_features(features, boxes)
    return _table(
        region_features.reshape(-1, region_features.shape[-1]),
        boxes.reshape(-1, 4) / captioner.config.extractor.size,
        predictor.word_sums(texts),
        _judge_texts(captioner, batch, boxes, texts, class_words),
        is_proposed=(objectness > 0).ravel(),
    )


def _captions(captioner: RegionCaptioner, state: DecoderState) -> list[tuple[int, ...]]:
    """The captions of R rows as word numbers, one row's `CAPTIONS` after the other's.

    () stands for those that the search does not find.
    """
    captions_by_box = captioner.predictor.write(
        state,
        CAPTIONS,
        length_power=captioner.config.decoding.region_length_power,
        keep=None,
    )
    texts: list[tuple[int, ...]] = []
    for candidates in captions_by_box:
        texts += [caption.words for caption in candidates]
        texts += [()] * (CAPTIONS - len(candidates))
    return texts


def _judge_texts(
    captioner: RegionCaptioner,
    batch: Sequence[tuple[Example, Photo]],
    boxes_xyxy: FloatArray,
    texts: Sequence[tuple[int, ...]],
    class_words: ClassWords,
) -> list[bool | None]:
    """The verdicts on the `CAPTIONS` texts of each of B photos' boxes (B, N, 4)."""
    words = [captioner.vocabulary.decode(token_ids) for token_ids in texts]
    verdicts: list[bool | None] = []
    for row, (example, photo) in enumerate(batch):
        places = captioner.preprocessing.to_original(boxes_xyxy[row], photo.size_wh)
        places = np.repeat(places, CAPTIONS, axis=0)  # of each caption
        of_photo = words[row * len(places) : (row + 1) * len(places)]
        verdicts += _judge(of_photo, places, photo.size_wh, example, class_words)
    return verdicts


def _judge(
    texts: Sequence[str],
    boxes_xyxy: FloatArray,
    size_wh: tuple[int, int],
    example: Example,
    class_words: ClassWords,
) -> list[bool | None]:
    """Whether the texts on a photo's boxes (N, 4) are true, None where nothing says it."""
    places = box_ops.rescale(boxes_xyxy, size_wh, example.size_wh or size_wh)
    is_by_people = any(phrase.source == "annotator" for phrase in example.phrases)
    words = None if is_by_people else class_words
    return [
        judge_caption(text, box, example, words) if text else None
        for text, box in zip(texts, places, strict=True)
    ]


def _table(
    regions: FloatArray,
    corners: FloatArray,
    texts: FloatArray,
    verdicts: Sequence[bool | None],
    is_proposed: NDArray[np.bool_],
) -> JudgedRegions:
    """The rows of regions (R, F) that have a verdict.

    Texts (R * K, W) and verdicts (R * K,) are those of their captions. A region that is not
    proposed fills an empty row and is left out.
    """
    known = [verdict is not None for verdict in verdicts]
    true = [verdict is True for verdict in verdicts]
    is_judged = np.array(known).reshape(-1, CAPTIONS)
    table = JudgedRegions(
        regions,
        corners.astype(np.float32),
        texts.reshape(len(regions), CAPTIONS, -1),
        np.array(true).reshape(-1, CAPTIONS),
        is_judged,
    )
    is_kept = is_proposed & is_judged.any(axis=1)
    return JudgedRegions(*(values[is_kept] for values in table))


def fit_caption_check(check: CaptionCheck, judged: JudgedRegions, seed: int) -> float:
    """Learn from judged captions, in place, by AdamW; the mean loss of the last epoch.

    The loss is the cross-entropy of every verdict, and, where a region has a true caption, that of
    choosing one among all that are judged.
    """
    regions, corners, texts, is_true, is_judged = map(torch.from_numpy, judged)
    optimiser = torch.optim.AdamW(
        check.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY
    )
    batches = max(1, len(regions) // BATCH)
    steps = EPOCHS * batches
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, steps)
    losses: list[float] = []
    for rows in _batches(len(regions), batches, seed):
        logits = check(_drop(regions[rows]), corners[rows], _drop(texts[rows]))
        loss = check_loss(logits, is_true[rows], is_judged[rows])
        optimiser.zero_grad()
        torch.autograd.backward([loss])  # what loss.backward() does, with types
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
    last_epoch = losses[-batches:]
    return sum(last_epoch) / len(last_epoch)


def check_loss(logits: Tensor, is_true: Tensor, is_judged: Tensor) -> Tensor:
    """The loss of logits (R, K) against verdicts (R, K), where they are judged."""
    verdicts = is_true[is_judged].float()
    loss = binary_cross_entropy_with_logits(logits[is_judged], verdicts)
    has_true = is_true.any(1)
    if has_true.any():
        log_probs = logits.masked_fill(~is_judged, -math.inf).log_softmax(1)[has_true]
        of_true = log_probs.masked_fill(~is_true[has_true], -math.inf).logsumexp(1)
        loss = loss - CHOICE_WEIGHT * of_true.mean()
    return loss


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
