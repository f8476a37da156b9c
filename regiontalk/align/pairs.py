"""Inferred (region, snippet) pairs: the half of [1] that turns sentences about photos into sentences about regions.

Every word of a sentence takes a region by the chain of eq. 10 to 12 (`align.snippets.viterbi`);
each maximal run of words on one region is a snippet of that region. The pairs are the second
stage's training set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from regiontalk.align.model import Aligner
from regiontalk.align.score import region_prior
from regiontalk.align.snippets import snippets, viterbi


@dataclass(frozen=True)
class Pair:
    """A region and the words that name it.

    Attributes:
        caption: which sentence of the photo.
        first: position of the snippet's first word in the sentence.
        words: its word numbers.
        region: row of the region; 0 is the whole photo.
        score: sum of v . s over its words (eq. 11), without the prior and the opinion that helped
            to choose them.
    """

    caption: int
    first: int
    words: tuple[int, ...]
    region: int
    score: float


@dataclass(frozen=True)
class Chain:
    """How regions are given to words; as it stands, eq. 10 to 12 as printed.

    Attributes:
        beta: reward of a word for standing on its neighbour's region (eq. 12), in units of the
            score.
        prior: weight of log objectness beside v . s in eq. 11 (`align.score.region_prior`).
        starts: of a sentence of word numbers, before which words the region may change; None =
            before all.
    """

    beta: float = 0.0
    prior: float = 0.0
    starts: Callable[[Sequence[int]], Sequence[bool]] | None = None


@torch.inference_mode()
def infer_pairs(
    aligner: Aligner,
    vectors: Tensor,
    objectness: Tensor,
    sentences: Sequence[Sequence[Sequence[int]]],
    chain: Chain,
    opinion: Callable[[int, Sequence[Sequence[int]]], Tensor] | None = None,
) -> list[list[Pair]]:
    """The pairs of B photos.

    Args:
        aligner: in evaluation mode.
        vectors: (B, N, F) region vectors, row 0 the whole photo.
        objectness: (B, N) of those regions, for the chain's prior.
        sentences: for each photo its sentences as word numbers; an empty sentence gives no pair.
        chain: how the words choose.
        opinion: another model's say in eq. 11: from the place of a photo among the B and its
            sentences to what is added to v . s, (sentences, T, N); None where there is no other.

    Returns:
        For each photo its pairs in the order of sentences and words; words on the NULL region are
        in none.
    """
    owner = [photo for photo, own in enumerate(sentences) for _ in own]
    found: list[list[Pair]] = [[] for _ in sentences]
    if not owner:
        return found
    words, mask = aligner.read([sentence for own in sentences for sentence in own])  # s
    device = words.device
    regions = aligner.choices(
        aligner.regions(vectors.float().to(device))
    )  # v, and perhaps NULL after them
    photo_of = torch.tensor(owner, device=device)
    plain = words.float() @ regions[photo_of].transpose(1, 2)  # (C, T, N)
    products = plain.clone()
    if chain.prior:
        products += region_prior(
            words, objectness.to(device)[photo_of], chain.prior, regions.shape[1]
        )
    lengths = [len(sentence) for own in sentences for sentence in own]
    if opinion is not None:
        said = [opinion(photo, own) for photo, own in enumerate(sentences) if own]
        for caption, table in enumerate(part for tables in said for part in tables):
            table = torch.cat([table, table.mean(1, keepdim=True)], 1)[
                :, : products.shape[2]
            ]  # NULL: neither way
            products[caption, : len(table)] += table.to(device)
    real = (
        torch.arange(mask.shape[1]) < torch.tensor(lengths)[:, None]
    )  # without the token that closes the sentence
    begins = real.clone()
    if chain.starts is not None:
        for caption, sentence in enumerate(sentence for own in sentences for sentence in own):
            begins[caption, : len(sentence)] = torch.tensor(
                chain.starts(sentence), dtype=torch.bool
            )
    labels, _ = viterbi(products, chain.beta, real, starts=begins)
    place = 0
    for photo, own in enumerate(sentences):
        for caption, sentence in enumerate(own):
            row = plain[place].cpu()
            for run in snippets(labels[place, : len(sentence)]):
                if run.region == vectors.shape[1]:  # NULL: these words name nothing
                    continue
                score = float(row[run.words, run.region].sum())
                found[photo].append(
                    Pair(caption, run.first, tuple(sentence[run.words]), run.region, score)
                )
            place += 1
    return found
