"""The EM round: pairs are inferred anew with the trained generator's help.

It says which region each word names. A word's likelihood under the generator, given the
words before it and a region, shared out over the regions, is that region's
responsibility for the word (the E step, regions equally likely beforehand). Its
logarithm joins the aligner's v . s in the chain of eq. 10 to 12 of [1]; the generator
then learns the new pairs (the M step).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from regiontalk.generate.model import Generator, Tensors
from regiontalk.model.region_model import RegionModel
from regiontalk.regions.extractor import Maps
from regiontalk.text.vocabulary import END, PAD
from regiontalk.train.sentences import teacher_words


@torch.inference_mode()
def responsibilities(
    model: RegionModel,
    maps: Maps,
    boxes_xyxy: Tensor,
    sentences: Sequence[Sequence[int]],
) -> Tensor:
    """How much each region of one photo accounts for each word of its sentences.

    Args:
        model: in evaluation mode.
        maps: of the photo, B = 1.
        boxes_xyxy: (1, N, 4) network pixels, row 0 the whole photo; where the generator attends to
            regions, to the first of these.
        sentences: S lists of word numbers.

    Returns:
        (S, T, N) logarithms of shares that add up to 1 over the regions; 0 where there is no word
        or an unknown one.
    """
    device = next(model.parameters()).device
    maps, boxes_xyxy = (
        Maps(*(values.to(device) for values in maps)),
        boxes_xyxy.to(device),
    )
    attended = model.config.generator.regions
    attended_boxes = boxes_xyxy[:, : 1 + attended] if attended else None
    # (N, C), (N, P, F)
    condition, annotations = model.conditions(maps, boxes_xyxy, attended_boxes)
    start = model.generator.start(condition, annotations)
    inputs, targets = teacher_words(sentences)
    # END names no region
    inputs, targets = inputs[:, :-1].to(device), targets[:, :-1].to(device)
    tables = []
    for words, goals in zip(inputs, targets, strict=True):
        log_likelihood = _log_likelihood(
            model.generator, start, words, goals, len(condition)
        )
        tables.append(_log_shares(log_likelihood, goals))
    return torch.stack(tables)


def _log_shares(log_likelihood: Tensor, goals: Tensor) -> Tensor:
    """Each region's share (T, N) of a likelihood (N, T) of words, as a logarithm.

    0 where there is no word.
    """
    is_no_word = (goals == PAD) | (goals == END)
    return log_likelihood.log_softmax(0).T.masked_fill(is_no_word[:, None], 0.0)


def _log_likelihood(
    generator: Generator,
    start: tuple[Tensors, Tensors],
    words: Tensor,
    goals: Tensor,
    regions: int,
) -> Tensor:
    """The log-probability (N, T) of each word of a sentence given the words before it.

    On each of N regions.

    Args:
        generator: which has begun on these regions.
        start: its state and memory, as `Generator.start` returns them.
        words: (T,) what is read.
        goals: (T,) what should follow each.
        regions: N.
    """
    state, memory = start
    logits, _ = generator.read(state, memory, words.expand(regions, -1))
    log_probabilities = logits.float().log_softmax(-1)  # (N, T, V)
    return log_probabilities.gather(2, goals.expand(regions, -1)[..., None]).squeeze(-1)
