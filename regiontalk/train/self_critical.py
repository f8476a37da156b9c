"""What the generator learns from words that it wrote itself.

Scheduled sampling and self-critical training. Teacher forcing shows the model only what
people wrote, in use it reads what it wrote. Scheduled sampling (Bengio et al., NIPS
2015) lets it read some of its own words while people's stay the target. Self-critical
training (Rennie et al., CVPR 2017) lets it write whole captions and makes those
likelier whose CIDEr-D beats what it writes otherwise: here the mean of the other
captions drawn for the same photo (Luo, 2020), which varies less than the greedy
caption's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from regiontalk.generate.model import Generator
from regiontalk.metrics.cider import cider_d, document_frequencies
from regiontalk.runtime.search import FORBIDDEN, sample
from regiontalk.runtime.torch_engine import search_step
from regiontalk.text.vocabulary import END, PAD, Vocabulary
from regiontalk.train.processes import ALONE, Processes
from regiontalk.train.sentences import Sentences, teacher_words

Reward = Callable[[Sequence[int], Sequence[Sequence[int]]], Tensor]
"""From photos (row numbers) and a caption of each (word numbers) to rewards (R,)."""


@torch.no_grad()
def with_own_words(
    generator: Generator,
    condition: Tensor,
    annotations: Tensor | None,
    words: Tensor,
    share: float,
) -> Tensor:
    """The inputs of teacher forcing, some of them drawn from the model that has read the others.

    Args:
        generator: the model; its dropout plays no part here.
        condition: (R, C).
        annotations: (R, P, F) or None.
        words: (R, T) int64, START first, PAD last.
        share: of the words to be replaced, 0..1; START, END and PAD never are, nor is any of them
            drawn.

    Returns:
        (R, T) int64.
    """
    state, memory = generator.start(condition, annotations)
    mixed = words.clone()
    never = torch.tensor([END, *FORBIDDEN], device=words.device)
    for index in range(words.shape[1] - 1):
        log_probabilities, state, _ = generator.look_step(
            mixed[:, index], state, memory
        )
        chances = log_probabilities.exp().clamp(min=1e-30).index_fill(1, never, 0.0)
        following = words[:, index + 1]
        is_drawn = (torch.rand(len(words)) < share).to(words.device) & (
            following != PAD
        )
        mixed[:, index + 1] = torch.where(
            is_drawn, chances.multinomial(1).squeeze(1), following
        )
    return mixed


class CiderReward:
    """CIDEr-D of a caption against its photo's sentences, rarities counted over all photos.

    END counts as a word on both sides, or a caption that breaks off after "on a" would lose
    nothing. A word that the model does not know stays unknown in the sentences.
    """

    def __init__(self, sentences: Sequence[Sentences], vocabulary: Vocabulary) -> None:
        """Take the sentences of every photo as word numbers."""
        self._words = vocabulary.words
        self._references = [list(map(self._tokens, group)) for group in sentences]
        self._frequencies = document_frequencies(list(filter(None, self._references)))

    def __call__(
        self, photos: Sequence[int], captions: Sequence[Sequence[int]]
    ) -> Tensor:
        """(R,) in 0..10."""
        candidates = [self._tokens(caption) for caption in captions]
        references = [self._references[photo] for photo in photos]
        return torch.from_numpy(
            cider_d(candidates, references, self._frequencies)
        ).float()

    def _tokens(self, numbers: Sequence[int]) -> list[str]:
        return [self._words[number] for number in [*numbers, END]]


def self_critical_loss(
    generator: Generator,
    condition: Tensor,
    annotations: Tensor | None,
    photos: Sequence[int],
    reward: Reward,
    *,
    draws: int,
    max_words: int,
    processes: Processes = ALONE,
) -> Tensor:
    """Minus the log-probability of drawn captions, weighed by their rewards.

    Each by how much its reward beats its photo's others. A mean over words. Neither
    drawing nor reading uses dropout: the gradient is that of the model that wrote.

    Args:
        generator: the model.
        condition: (R, C).
        annotations: (R, P, F) or None.
        photos: R rows, for the reward.
        reward: of captions.
        draws: K, captions drawn for each photo, 2 or more.
        max_words: longest caption.
        processes: those that draw captions for other photos of the same batch.
    """
    if draws < 2:
        raise ValueError(
            f"draws: expected 2 or more captions a photo to compare, got {draws}"
        )
    # (R*K,)
    owner = torch.arange(len(photos), device=condition.device).repeat_interleave(draws)
    was_training = generator.training
    generator.eval()
    drawn, targets, logits = _draw_and_read(
        generator, condition, annotations, owner, max_words
    )
    generator.train(was_training)
    photo_of_caption = [photo for photo in photos for _ in range(draws)]
    rewards = reward(photo_of_caption, drawn).view(-1, draws)
    advantages = _advantages(rewards).flatten().to(condition.device)  # (R*K,)
    is_chosen = targets != PAD
    # END after the longest caption was nobody's choice
    is_chosen[:, max_words:] = False
    words = processes.mean(is_chosen.sum().float()).clamp(min=1)
    scores = _log_probabilities_of(targets, logits)
    loss: Tensor = -(advantages[:, None] * scores * is_chosen).sum() / words
    return loss


def _log_probabilities_of(targets: Tensor, logits: Tensor) -> Tensor:
    """The log-probability (R*K, T) of each target under logits (R*K, T, V)."""
    log_probabilities = logits.float().log_softmax(-1)
    return log_probabilities.gather(2, targets[..., None]).squeeze(-1)


def _advantages(rewards: Tensor) -> Tensor:
    """How much each reward (R, K) beats the mean of its row's others."""
    others = rewards.sum(1, keepdim=True) - rewards
    return rewards - others / (rewards.shape[1] - 1)


def _draw_and_read(
    generator: Generator,
    condition: Tensor,
    annotations: Tensor | None,
    owner: Tensor,
    max_words: int,
) -> tuple[list[tuple[int, ...]], Tensor, Tensor]:
    """Captions that the model draws, their words (R*K, T) as targets.

    And its logits (R*K, T, V) for these.
    """
    with torch.autocast(condition.device.type, dtype=torch.bfloat16):
        drawn = _draw_captions(generator, condition, annotations, owner, max_words)
        inputs, targets = (words.to(condition.device) for words in teacher_words(drawn))
        logits, _ = generator(condition, annotations, inputs, rows=owner)
    return drawn, targets, logits


@torch.no_grad()
def _draw_captions(
    generator: Generator,
    condition: Tensor,
    annotations: Tensor | None,
    owner: Tensor,
    max_words: int,
) -> list[tuple[int, ...]]:
    """One caption for each row number in ``owner`` (R*K,), drawn with the run's own seed."""
    annotated = None if annotations is None else annotations[owner]
    step, state = search_step(generator, condition[owner], annotated)
    chance = np.random.default_rng(int(torch.randint(2**62, ())))
    hypotheses = sample(step, state, len(owner), max_words, generator=chance)
    return [drawn[0].words for drawn in hypotheses]
