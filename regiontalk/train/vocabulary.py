"""The words that a run knows.

Those that its photos' texts hold often enough, class names, and words of other texts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from regiontalk.datasets.names import DETECTOR
from regiontalk.records import Example
from regiontalk.text.vocabulary import SPECIAL, Vocabulary, tokenize
from regiontalk.train.loop import Log

SMALL = 20_000  # words of all texts, below which rare words are kept rather than lost
ENOUGH_COVERED = 0.8  # of the words of the texts


def build_vocabulary(
    examples: Sequence[Example],
    unseen: Sequence[str],
    *,
    min_count: int,
    unseen_min_count: int,
    log: Log,
) -> Vocabulary:
    """The vocabulary of a run, the most frequent words first.

    Args:
        examples: the training photos.
        unseen: sentences that belong to no photo.
        min_count: words that the photos' texts hold less often are unknown; lowered where a small
            set would lose too many.
        unseen_min_count: the same for words that stand in ``unseen`` alone.
        log: takes a line on how much of the texts the words cover.

    Raises:
        ValueError: the texts hold no word.
    """
    photo_counts, name_counts = _count_words(examples)
    unseen_counts = Counter(word for sentence in unseen for word in tokenize(sentence))
    min_count = _fitting_min_count(photo_counts, min_count, log)
    annotated = photo_counts + name_counts
    known = {word for word, count in annotated.items() if count >= min_count}
    known |= {
        word for word, count in unseen_counts.items() if count >= unseen_min_count
    }
    known -= set(SPECIAL)
    counts = annotated + unseen_counts
    words = sorted(known, key=lambda word: (-counts[word], word))
    covered = sum(count for word, count in photo_counts.items() if word in known)
    share = covered / max(1, photo_counts.total())
    log(f"vocabulary: {len(words)} words, which cover {share:.1%} of the photos' texts")
    if not words:
        raise ValueError(
            f"captions: expected words of letters or digits, got none in {len(examples)} photos"
        )
    return Vocabulary(words, [counts[word] for word in words])


def _count_words(examples: Sequence[Example]) -> tuple[Counter[str], Counter[str]]:
    """How often each word stands in people's texts, and in the names that detectors give."""
    text_counts: Counter[str] = Counter()
    name_counts: Counter[str] = Counter()
    for example in examples:
        for caption in example.captions:
            text_counts.update(tokenize(caption))
        for phrase in example.phrases:
            if phrase.source == DETECTOR:
                name_counts.update(tokenize(phrase.text))
            elif phrase.caption is None:  # else its words stand in the caption
                text_counts.update(tokenize(phrase.text))
    return text_counts, name_counts


def _fitting_min_count(counts: Counter[str], min_count: int, log: Log) -> int:
    """How often a word must be seen.

    ``min_count``, or less where a small set would lose its words.
    """
    total = counts.total()

    def covered(min_count: int) -> float:
        frequent = [count for count in counts.values() if count >= min_count]
        return sum(frequent) / max(1, total)

    if min_count == 1 or covered(min_count) >= ENOUGH_COVERED:
        return min_count
    remaining = sum(count >= min_count for count in counts.values())
    loss = (
        f"min_count = {min_count} leaves {remaining} words, "
        f"{covered(min_count):.0%} of the photos' texts"
    )
    if total > SMALL:
        log(f"{loss}; set min_count = 1 to keep the others")
        return min_count
    lower = min_count - 1
    while lower > 1 and covered(lower) < ENOUGH_COVERED:
        lower -= 1
    log(f"{loss}; the data are few, so it is lowered to {lower}")
    return lower


def phrase_texts(example: Example) -> list[str]:
    """The words of the phrases that have a box."""
    return [phrase.text for phrase in example.phrases if phrase.boxes]


def all_texts(examples: Sequence[Example]) -> Iterator[str]:
    """Every sentence, and every phrase that stands in none."""
    for example in examples:
        yield from example.captions
        yield from (phrase.text for phrase in example.phrases if phrase.caption is None)
