"""Words: the token rule, the vocabulary with its JSON file.

The rule of the paper (docs/protocols.md): lower case, blanks separate words, non-alphanumerics are dropped
inside them ("man's" -> "mans", "t-shirt" -> "tshirt"), words seen at least five times in training
are kept.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regiontalk.text.nouns import ARTICLES, FUNCTION

PAD, START, END, UNKNOWN = 0, 1, 2, 3
SPECIAL = ("<pad>", "<start>", "<end>", "<unk>")
# What tools write into captions beside words.
MARKS = frozenset(SPECIAL) | {"<s>", "</s>", "<sos>", "<eos>", "<bos>", "<unknown>"}
_DROPPED = re.compile(r"[\W_]+")
_DETERMINERS = ARTICLES | frozenset(
    "this that these those some any each every another other one".split()
)
# Beside those that end a noun phrase (`nouns.FUNCTION`; "top" is a noun of clothing here): words
# that a snippet neither begins nor ends with.
FUNCTION_WORDS = (
    (FUNCTION - {"top"})
    | _DETERMINERS
    | frozenset(
        "ones without but up down off out against above below between inside outside before after during "
        "am had do does hers theirs him he she it they them whom what there here very just unk".split()
    )
)


def tokenize(sentence: str) -> list[str]:
    """Lower-case alphanumeric words of a sentence, in Unicode's composed form (NFC).

    Marks that combine with a letter (vowel signs, accents) are part of its word. The marks of other
    tools' vocabularies are no words: ``<unk>`` stays the unknown word, the others are dropped.

    >>> tokenize("A man's T-shirt, #5 !")
    ['a', 'mans', 'tshirt', '5']
    >>> tokenize("<s> a <unk> </s>")
    ['a', '<unk>']
    """
    text = sentence.lower()
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return [word for token in text.split() if (word := _word(token))]


def _word(token: str) -> str:
    """What of a token is a word; empty where nothing is."""
    if token.startswith("<") and token.endswith(">") and token in MARKS:
        return token if token == SPECIAL[UNKNOWN] else ""
    if token.isascii():
        return _DROPPED.sub("", token)
    kept = "".join(letter for letter in token if letter.isalnum() or _combines(letter))
    return kept if any(map(str.isalnum, kept)) else ""


def _combines(letter: str) -> bool:
    """Whether a letter is a mark on the one before; those that only choose a glyph are not."""
    return unicodedata.category(letter).startswith("M") and not (
        "\ufe00" <= letter <= "\ufe0f" or letter == "\u20e3" or letter >= "\U000e0100"
    )


def trimmed(words: Sequence[str]) -> slice:
    """The part of a snippet that can stand alone: function words go at both ends, a determiner stays in front.

    >>> words = "in a red shirt is".split()
    >>> words[trimmed(words)]
    ['a', 'red', 'shirt']
    """
    first, last = 0, len(words)
    while last and words[last - 1] in FUNCTION_WORDS:
        last -= 1
    while first < last and words[first] in FUNCTION_WORDS - _DETERMINERS:
        first += 1
    return slice(first, last)


def phrase_starts(words: Sequence[str]) -> list[bool]:
    """Whether a phrase may begin at each word: at the first, and at a function word that follows another kind of word.

    >>> words = "a man in a red shirt rides a bike".split()
    >>> [word for word, begins in zip(words, phrase_starts(words)) if begins]
    ['a', 'in', 'a']
    """
    kinds = [word in FUNCTION_WORDS for word in words]
    return [not place or (kind and not kinds[place - 1]) for place, kind in enumerate(kinds)]


class Vocabulary:
    """Words and their numbers; 0..3 are ``<pad> <start> <end> <unk>``."""

    def __init__(self, words: Sequence[str], counts: Sequence[int] | None = None) -> None:
        """Take the words in order, without the four special ones.

        Args:
            words: distinct words; word i gets number i + 4.
            counts: how often each was seen in training, for the output bias; ones where not known.

        Raises:
            ValueError: a word occurs twice or is a special one, or counts do not match.
        """
        if len(set(words)) != len(words) or set(words) & set(SPECIAL):
            raise ValueError(
                "vocabulary: expected distinct words without <pad>, <start>, <end>, <unk>"
            )
        if counts is not None and len(counts) != len(words):
            raise ValueError(f"vocabulary: expected {len(words)} counts, got {len(counts)}")
        self.words = [*SPECIAL, *words]
        self.counts = list(counts) if counts is not None else [1] * len(words)
        self._number = {word: number for number, word in enumerate(self.words)}

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: str) -> bool:
        return word in self._number

    @classmethod
    def build(cls, sentences: Iterable[str], least: int = 5) -> Vocabulary:
        """The words that occur at least ``least`` times, most frequent first, ties by spelling."""
        counts = Counter(word for sentence in sentences for word in tokenize(sentence))
        kept = sorted(
            (word for word in counts if counts[word] >= least and word not in SPECIAL),
            key=lambda word: (-counts[word], word),
        )
        return cls(kept, [counts[word] for word in kept])

    def encode(self, sentence: str | Sequence[str]) -> list[int]:
        """Word numbers of a sentence (or of tokens), ``<unk>`` for words not known; no START, no END."""
        tokens = tokenize(sentence) if isinstance(sentence, str) else sentence
        return [self._number.get(token, UNKNOWN) for token in tokens]

    def unknown(self, sentence: str) -> list[str]:
        """The words of a sentence that are not here, so that they can hardly help; each once.

        >>> Vocabulary(["a", "dog"]).unknown("A zebra, a zebra and a dog")
        ['zebra', 'and']
        """
        return [token for token in dict.fromkeys(tokenize(sentence)) if token not in self]

    def decode(self, numbers: Iterable[int]) -> str:
        """The words up to END joined by blanks; PAD and START are passed over."""
        words: list[str] = []
        for number in numbers:
            if number == END:
                break
            if number not in (PAD, START):
                words.append(self.words[number])
        return " ".join(words)

    def save(self, path: Path) -> None:
        """Write ``vocabulary.json``: words without the special four, and their counts."""
        path.write_text(
            json.dumps({"words": self.words[len(SPECIAL) :], "counts": self.counts}),
            encoding="utf-8",
        )

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        """Read what `save` wrote.

        Raises:
            ValueError: the file is not a vocabulary.
        """
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            words, counts = values["words"], values["counts"]
            if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
                raise TypeError("words is no list of texts")
            return cls(words, counts)
        except (KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ValueError(
                f"{path}: expected a vocabulary with words and counts ({error})"
            ) from error


def pad_words(
    sentences: Sequence[Sequence[int]],
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Word numbers of sentences of different lengths as one array.

    Args:
        sentences: C lists of word numbers; a list may be empty.

    Returns:
        Words (C, T) int64, `PAD` after the end, and the mask (C, T) bool, True = a word. T is the
        longest length and at least 1, so that a network always has a step to run.

    >>> pad_words([[5, 6], [7]])[0].tolist()
    [[5, 6], [7, 0]]
    """
    lengths = np.array([len(words) for words in sentences], dtype=np.int64)
    mask = np.arange(max(1, lengths.max(initial=0)))[None, :] < lengths[:, None]  # (C, T)
    padded = np.full(mask.shape, PAD, dtype=np.int64)
    padded[mask] = [number for words in sentences for number in words]
    return padded, mask
