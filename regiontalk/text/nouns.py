"""What a caption names: its words, their stems, and the noun that it is about.

Plain rules over English captions, no model and no torch: the command line has its defaults from the
alt texts, which read this.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

ARTICLES = frozenset("a an the his her its their".split())  # and possessives
FUNCTION = ARTICLES | frozenset(
    "and or of in on at to with by from into onto over under near behind beside through along across around "
    "for as while that which who is are was were be been being has have front top next".split()
)
PEOPLE = frozenset(
    "man men woman women boy boys girl girls child children person people lady ladies guy guys kid kids baby babies "
    "toddler toddlers male female adult adults someone somebody".split()
)
_COUNTS = frozenset("one two three four five six several some many few another other".split())
_GROUPS = frozenset("group crowd bunch pair couple lot number line row team".split())
_IRREGULAR = {
    "men": "man",
    "women": "woman",
    "people": "person",
    "children": "child",
    "wolves": "wolf",
}


def words_of(text: str) -> list[str]:
    """The words of a text in lower case.

    >>> words_of("A well-known man's dog.")
    ['a', 'well-known', "man's", 'dog']
    """
    return re.findall(r"[^\W_]+(?:['-][^\W_]+)*", text.lower())


def content_words(text: str) -> frozenset[str]:
    """What the words of a caption are about, as stems: without articles, numbers, endings.

    >>> content_words("two black dogs running on grass") == content_words("a black dog runs on the grass")
    True
    """
    return frozenset(
        stem(word) for word in words_of(text) if word not in FUNCTION | _COUNTS | _GROUPS
    )


def kind_of(text: str) -> str:
    """The kind of thing that a caption names.

    >>> kind_of("a small group of young men in red shirts"), kind_of("a brown dog running")
    ('person', 'dog')
    """
    return kind(_head(words_of(text)))


def kind(word: str) -> str:
    """One name for all words of a kind: whether somebody is a man or a boy is what captions disagree about."""
    return "person" if word in PEOPLE else singular(word)


def singular(word: str) -> str:
    """A word without the ending of a plural: dogs -> dog, men -> man."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def stem(word: str) -> str:
    """A word without its ending, good for comparing only: dogs, running, rides -> dog, run, rid."""
    word = singular(word)
    if word.endswith("ing") and len(word) > 5:
        word = word[:-3]
        word = word[:-1] if word[-1] == word[-2] and word[-1] not in "ls" else word
    return word[:-1] if word.endswith("e") and len(word) > 3 else word


def _head(words: Iterable[str]) -> str:
    """The thing that a phrase is about: the last word before a function word or a verb, past "a group of".

    >>> _head("a small group of young men in red shirts".split())
    'men'
    """
    head = ""
    for word in words:
        if word in FUNCTION or (head and word.endswith("ing")):
            if head and head not in _GROUPS:
                return head
        else:
            head = word
    return head
