"""What a caption names: its words, their stems, and the noun that it is about.

Plain rules over English captions and the package's only lists of function words. No model and no
torch: the command line has its defaults from the alt texts, which read this.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

ARTICLES = frozenset("a an the his her its their".split())  # and possessives
DETERMINERS = ARTICLES | frozenset(
    "this that these those some any each every another other one".split()
)
# Words that end a noun phrase.
PHRASE_ENDS = ARTICLES | frozenset(
    "and or of in on at to with by from into onto over under near behind beside "
    "through along across around "
    "for as while that which who is are was were be been being has have front top next".split()
)
# Words that a snippet neither begins nor ends with; "top" is a noun of clothing here.
FUNCTION_WORDS = (
    (PHRASE_ENDS - {"top"})
    | DETERMINERS
    | frozenset(
        "ones without but up down off out against above below between inside outside "
        "before after during am had do does hers theirs him he it she they them whom "
        "what there here very "
        "just unk".split()
    )
)
PEOPLE = frozenset(
    "man men woman women boy boys girl girls child children person people lady ladies "
    "guy guys kid kids baby babies "
    "toddler toddlers male female adult adults someone somebody".split()
)
_COUNTS = frozenset(
    "one two three four five six several some many few another other".split()
)
_GROUPS = frozenset("group crowd bunch pair couple lot number line row team".split())
_IRREGULAR_PLURALS = {
    "men": "man",
    "women": "woman",
    "people": "person",
    "children": "child",
    "wolves": "wolf",
}
# letters and digits, joined by apostrophes or hyphens
_WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")


def words_of(text: str) -> list[str]:
    """The words of a text in lower case.

    >>> words_of("A well-known man's dog.")
    ['a', 'well-known', "man's", 'dog']
    """
    return _WORD.findall(text.lower())


def content_stems(text: str) -> frozenset[str]:
    """What the words of a caption are about, as stems: without articles, numbers, endings.

    >>> stems = content_stems("two black dogs running on grass")
    >>> stems == content_stems("a black dog runs on the grass")
    True
    """
    silent_words = PHRASE_ENDS | _COUNTS | _GROUPS
    return frozenset(stem(word) for word in words_of(text) if word not in silent_words)


def repeats_itself(words: Iterable[str]) -> bool:
    """Whether a caption says a content word twice, and not of another thing.

    >>> repeats_itself("a table is sitting on a table".split())
    True
    >>> repeats_itself("a dog runs after another dog".split())
    False
    """
    counts = Counter(words)
    is_of_others = any(counts[word] for word in ("another", "other", "each"))
    content = counts.keys() - FUNCTION_WORDS
    return not is_of_others and any(counts[word] > 1 for word in content)


def kind_of(text: str) -> str:
    """The kind of thing that a caption names.

    >>> kind_of("a small group of young men in red shirts"), kind_of("a brown dog running")
    ('person', 'dog')
    """
    head = _head_noun(words_of(text))
    return kind(head)


def kind(word: str) -> str:
    """One name for all words of a kind.

    Whether somebody is a man or a boy is what captions disagree about.
    """
    if word in PEOPLE:
        return "person"
    return singular(word)


def singular(word: str) -> str:
    """A word without the ending of a plural: dogs -> dog, men -> man."""
    if word in _IRREGULAR_PLURALS:
        return _IRREGULAR_PLURALS[word]
    if word.endswith("s") and not word.endswith("ss"):
        return word[:-1]
    return word


def stem(word: str) -> str:
    """A word without its ending, good for comparing only: dogs, running, rides -> dog, run, rid."""
    word = singular(word)
    if word.endswith("ing") and len(word) > 5:
        word = word[:-3]
        last_letter = word[-1]
        # runn -> run, but fall, dress
        if last_letter == word[-2] and last_letter not in "ls":
            word = word[:-1]
    if word.endswith("e") and len(word) > 3:
        return word[:-1]
    return word


def _head_noun(words: Iterable[str]) -> str:
    """The thing that a phrase is about.

    The last word before a function word or a verb, past "a group of".

    >>> _head_noun("a small group of young men in red shirts".split())
    'men'
    """
    head = ""
    for word in words:
        if word in PHRASE_ENDS or (head and word.endswith("ing")):
            if head and head not in _GROUPS:
                return head
        else:
            head = word
    return head
