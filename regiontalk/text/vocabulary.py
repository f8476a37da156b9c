"""Words: the token rule, the vocabulary with its JSON file.

The rule of the paper (docs/protocols.md): lower case, blanks separate words,
non-alphanumerics are dropped inside them ("man's" -> "mans", "t-shirt" -> "tshirt"),
words seen at least five times in training are kept.
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

from regiontalk.text.nouns import DETERMINERS, FUNCTION_WORDS

PAD, START, END, UNKNOWN = 0, 1, 2, 3
SPECIAL = ("<pad>", "<start>", "<end>", "<unk>")
# What tools write into captions beside words.
MARKS = frozenset(SPECIAL) | {"<s>", "</s>", "<sos>", "<eos>", "<bos>", "<unknown>"}
_NOT_ALPHANUMERIC = re.compile(r"[\W_]+")


def tokenize(sentence: str) -> list[str]:
    r"""Lower-case alphanumeric words of a sentence, in Unicode's composed form (NFC).

    Marks that combine with a letter (vowel signs, accents) are part of its word. The marks of other
    tools' vocabularies are no words: ``<unk>`` stays the unknown word, the others are dropped.

    >>> tokenize("A man's T-shirt, #5 !")
    ['a', 'mans', 'tshirt', '5']
    >>> tokenize("<s> a <unk> </s>")
    ['a', '<unk>']
    >>> tokenize("\u0130ki k\u00f6pek")
    ['iki', 'köpek']
    """
    text = sentence.lower()
    if not text.isascii():
        # Python's lower case of the Turkish capital with a dot is an i and a second dot
        text = unicodedata.normalize("NFC", text.replace("i\u0307", "i"))
    return [word for token in text.split() if (word := _word(token))]


def _word(token: str) -> str:
    """What of a token is a word; empty where nothing is."""
    if token.startswith("<") and token.endswith(">") and token in MARKS:
        return token if token == SPECIAL[UNKNOWN] else ""
    if token.isascii():
        return _NOT_ALPHANUMERIC.sub("", token)
    word = "".join(letter for letter in token if letter.isalnum() or _combines(letter))
    has_letter = any(letter.isalnum() for letter in word)
    return word if has_letter else ""


def _combines(letter: str) -> bool:
    """Whether a letter is a mark on the one before; those that only choose a glyph are not."""
    is_mark = unicodedata.category(letter).startswith("M")
    chooses_glyph = (
        "\ufe00" <= letter <= "\ufe0f" or letter == "\u20e3" or letter >= "\U000e0100"
    )
    return is_mark and not chooses_glyph


def trimmed(words: Sequence[str]) -> slice:
    """The part of a snippet that can stand alone.

    Function words go at both ends, a determiner stays in front.

    >>> words = "in a red shirt is".split()
    >>> " ".join(words[trimmed(words)])
    'a red shirt'
    """
    never_first = FUNCTION_WORDS - DETERMINERS
    first = 0
    last = len(words)
    while last and words[last - 1] in FUNCTION_WORDS:
        last -= 1
    while first < last and words[first] in never_first:
        first += 1
    return slice(first, last)


def phrase_starts(words: Sequence[str]) -> list[bool]:
    """Whether a phrase may begin at each word.

    At the first, and at a function word that follows another kind of word.

    >>> words = "a man in a red shirt rides a bike".split()
    >>> starts = phrase_starts(words)
    >>> " ".join(word for word, begins in zip(words, starts) if begins)
    'a in a'
    """
    starts: list[bool] = []
    after_function_word = False
    for word in words:
        is_function_word = word in FUNCTION_WORDS
        is_first = not starts
        starts.append(is_first or (is_function_word and not after_function_word))
        after_function_word = is_function_word
    return starts


class Vocabulary:
    """Words and their token ids; 0..3 are ``<pad> <start> <end> <unk>``."""

    def __init__(
        self, words: Sequence[str], counts: Sequence[int] | None = None
    ) -> None:
        """Take the words in order, without the four special ones.

        Args:
            words: distinct words; word i gets token id i + 4.
            counts: how often each was seen in training, for the output bias; ones where not known.

        Raises:
            ValueError: a word occurs twice or is a special one, or counts do not match.
        """
        if len(set(words)) != len(words) or set(words) & set(SPECIAL):
            raise ValueError(
                "vocabulary: expected distinct words without <pad>, <start>, <end>, <unk>"
            )
        if counts is not None and len(counts) != len(words):
            raise ValueError(
                f"vocabulary: expected {len(words)} counts, got {len(counts)}"
            )
        self.words = [*SPECIAL, *words]
        self.counts = [1] * len(words) if counts is None else list(counts)
        self._token_ids = {word: token_id for token_id, word in enumerate(self.words)}

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: str) -> bool:
        return word in self._token_ids

    @classmethod
    def build(cls, sentences: Iterable[str], min_count: int = 5) -> Vocabulary:
        """The words that occur at least ``min_count`` times.

        Most frequent first, ties by spelling.
        """
        counts: Counter[str] = Counter()
        for sentence in sentences:
            counts.update(tokenize(sentence))
        frequent = [
            word
            for word, count in counts.items()
            if count >= min_count and word not in SPECIAL
        ]
        frequent.sort(key=lambda word: (-counts[word], word))
        return cls(frequent, [counts[word] for word in frequent])

    def encode(self, sentence: str | Sequence[str]) -> list[int]:
        """Token ids of a sentence (or of tokens), ``<unk>`` for words not known.

        No START, no END.
        """
        tokens = tokenize(sentence) if isinstance(sentence, str) else sentence
        return [self._token_ids.get(token, UNKNOWN) for token in tokens]

    def unknown(self, sentence: str) -> list[str]:
        """The words of a sentence that are not here, so that they can hardly help; each once.

        >>> Vocabulary(["a", "dog"]).unknown("A zebra, a zebra and a dog")
        ['zebra', 'and']
        """
        distinct_tokens = dict.fromkeys(tokenize(sentence))
        return [token for token in distinct_tokens if token not in self]

    def decode(self, token_ids: Iterable[int]) -> str:
        """The words up to END joined by blanks; PAD and START are passed over."""
        words: list[str] = []
        for token_id in token_ids:
            if token_id == END:
                break
            if token_id not in (PAD, START):
                words.append(self.words[token_id])
        return " ".join(words)

    def save(self, path: Path) -> None:
        """Write ``vocabulary.json``: words without the special four, and their counts."""
        values = {"words": self.words[len(SPECIAL) :], "counts": self.counts}
        path.write_text(json.dumps(values), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        """Read what `save` wrote.

        Raises:
            ValueError: the file is not a vocabulary.
        """
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            words, counts = values["words"], values["counts"]
            if not isinstance(words, list) or not all(
                isinstance(word, str) for word in words
            ):
                raise TypeError("words is no list of texts")
            return cls(words, counts)
        except (KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ValueError(
                f"{path}: expected a vocabulary with words and counts ({error})"
            ) from error


def pad_token_ids(
    sentences: Sequence[Sequence[int]],
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Token ids of sentences of different lengths as one array.

    Args:
        sentences: C lists of token ids; a list may be empty.

    Returns:
        Token ids (C, T) int64, `PAD` after the end, and the mask (C, T) bool, True = a word. T is
        the longest length and at least 1, so that a network always has a step to run.

    >>> pad_token_ids([[5, 6], [7]])[0].tolist()
    [[5, 6], [7, 0]]
    """
    lengths = np.array([len(sentence) for sentence in sentences], dtype=np.int64)
    longest = max(1, lengths.max(initial=0))
    mask = np.arange(longest)[None, :] < lengths[:, None]  # (C, T)
    token_ids = np.full(mask.shape, PAD, dtype=np.int64)
    token_ids[mask] = [token_id for sentence in sentences for token_id in sentence]
    return token_ids, mask
