"""What the stages of a run are judged by on dev, from frozen features: no backbone runs.

The aligner: R@1 both ways and its loss. The generator: CIDEr-D of sentences and of box captions,
the share of box captions that are right, the confidence that it has, and its loss.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from regiontalk.captioner import calibrated
from regiontalk.evaluate.correctness import is_region_correct
from regiontalk.metrics.cider import cider_d
from regiontalk.runtime.search import Hypothesis
from regiontalk.runtime.torch_engine import write_captions
from regiontalk.text.vocabulary import tokenize
from regiontalk.train.align import AlignTerms, Texts
from regiontalk.train.generate import GenerateTerms
from regiontalk.train.region_texts import BoxText

DEV_PHOTOS = 200  # that are captioned at each judgement, so that judging stays quick
DEV_BOXES = 400
TOGETHER = 32  # photos


def align_judge(terms: AlignTerms) -> Callable[[], Mapping[str, float]]:
    """A function that measures the aligner; ``terms`` holds the dev photos."""
    rows = terms.usable[: 5 * DEV_PHOTOS]

    @torch.inference_mode()
    def judge() -> Mapping[str, float]:
        aligner = terms.aligner.eval()
        device = aligner.log_scale.device
        texts = Texts.read(aligner, [terms.sentences[row] for row in rows])
        vectors = terms.features.read_vectors(rows).to(device)
        mask = terms.features.read_mask(rows).to(device)
        blocks = [
            aligner.score(
                aligner.embed_regions(vectors[first : first + TOGETHER]),
                texts.words,
                mask[first : first + TOGETHER],
                texts.mask,
            )
            for first in range(0, len(rows), TOGETHER)
        ]
        scores = torch.cat(blocks).float()
        loss = float(aligner.loss(scores, texts.owner))
        return {"R@1": recall_at_one(scores, texts.owner), "loss": loss, "score": -loss}

    return judge


def recall_at_one(scores: Tensor, owner: Tensor) -> float:
    """Mean of both directions' R@1 from scores (M, C) and the photo of each sentence (C,).

    >>> recall_at_one(torch.tensor([[2.0, 1.0], [3.0, 0.0]]), torch.tensor([0, 1]))
    0.25
    """
    photos = torch.arange(len(scores), device=owner.device)
    to_sentence = (owner[scores.argmax(1)] == photos).float().mean()
    to_photo = (scores.argmax(0) == owner).float().mean()
    return float((to_sentence + to_photo) / 2)


def generate_judge(
    terms: GenerateTerms, captions: Sequence[Sequence[str]]
) -> Callable[[], Mapping[str, float]]:
    """A function that measures the generator.

    Args:
        terms: holds the dev photos and their texts.
        captions: the sentences of each photo, as people wrote them.
    """
    photos = [row for row, texts in enumerate(captions) if texts][:DEV_PHOTOS]
    boxed_photos = [row for row in terms.usable if terms.box_texts(row)][:DEV_BOXES]

    @torch.inference_mode()
    def judge() -> Mapping[str, float]:
        terms.model.generator.eval()
        figures: dict[str, float] = {}
        if photos:
            figures |= _judge_sentences(terms, photos, captions)
        if boxed_photos:
            figures |= _judge_boxes(terms, boxed_photos)
        losses = terms(0)
        figures["loss"] = float(sum(value.float() for value in losses.values()))
        scores = [value for name, value in figures.items() if name.endswith("CIDEr-D")]
        return figures | {"score": float(np.mean(scores))}

    return judge


def _judge_sentences(
    terms: GenerateTerms, photos: Sequence[int], captions: Sequence[Sequence[str]]
) -> dict[str, float]:
    """CIDEr-D and confidence of the captions of whole photos.

    ``captions`` are people's, of every photo.
    """
    model = terms.model
    size = model.config.extractor.size
    photo_box = torch.tensor([0.0, 0.0, size, size])
    boxes = [[BoxText(photo_box, [])] for _ in photos]
    hypotheses = _write(terms, photos, boxes, model.config.decoding.photo_min_words)
    written = [model.vocabulary.decode(hypothesis.words) for hypothesis in hypotheses]
    return {
        "CIDEr-D": _mean_cider(written, [captions[row] for row in photos]),
        "confidence": _photo_confidence(terms, photos, hypotheses),
    }


def _judge_boxes(terms: GenerateTerms, photos: Sequence[int]) -> dict[str, float]:
    """CIDEr-D of the captions of the boxes of some photos, and the share that is right."""
    decode = terms.model.vocabulary.decode
    boxes = [_one_text_a_box(terms.box_texts(row)) for row in photos]
    written = [
        decode(hypothesis.words) for hypothesis in _write(terms, photos, boxes, 0)
    ]
    phrases = [decode(words) for _, words in chain.from_iterable(boxes)]
    verdicts = [
        is_region_correct(text, [phrase])
        for text, phrase in zip(written, phrases, strict=True)
    ]
    judged = [verdict for verdict in verdicts if verdict is not None]
    return {
        "boxes CIDEr-D": _mean_cider(written, [[phrase] for phrase in phrases]),
        "boxes right": float(np.mean(judged)) if judged else 0.0,
    }


def _one_text_a_box(texts: Sequence[BoxText]) -> list[BoxText]:
    """The first text of each box."""
    return list({id(text.box_xyxy): text for text in reversed(texts)}.values())


def _write(
    terms: GenerateTerms,
    rows: Sequence[int],
    boxes: Sequence[Sequence[BoxText]],
    min_words: int,
) -> list[Hypothesis]:
    """The caption of every box of some photos, in order."""
    model = terms.model
    hypotheses: list[Hypothesis] = []
    for first in range(0, len(rows), TOGETHER):
        texts = boxes[first : first + TOGETHER]
        condition, annotations, places = terms.conditions(
            rows[first : first + TOGETHER]
        )(texts)
        hypotheses += write_captions(
            model.generator,
            model.config.decoding,
            condition[places],
            None if annotations is None else annotations[places],
            beams=1,
            min_words=min_words,
        )
    return hypotheses


def _photo_confidence(
    terms: GenerateTerms, rows: Sequence[int], hypotheses: Sequence[Hypothesis]
) -> float:
    """The mean confidence of whole-photo captions, as the captioner computes it."""
    model = terms.model
    device = model.aligner.log_scale.device
    model.aligner.eval()
    vectors = model.aligner.embed_regions(
        terms.features.read_vectors(rows)[:, 0].to(device)
    )
    words, mask = model.aligner.encode_text(
        [hypothesis.words for hypothesis in hypotheses]
    )
    matches = torch.einsum("rtd,rd->r", words * mask[..., None], vectors).tolist()
    confidences = [
        calibrated(
            model.config.decoding.photo,
            max(hypothesis.log_probability, -1e3) / (len(hypothesis.words) + 1),
            match,
        )
        for hypothesis, match in zip(hypotheses, matches, strict=True)
    ]
    return float(np.mean(confidences))


def _mean_cider(written: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Mean CIDEr-D of captions against people's sentences."""
    scores = cider_d(
        [tokenize(text) for text in written],
        [list(map(tokenize, sentences)) for sentences in references],
    )
    return float(scores.mean())
