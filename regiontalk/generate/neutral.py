"""Words for people where a caption is not sure of their sex: a wrong "man" is worse than "person".

A caption that speaks of one sex is read again with every such word turned into its counterpart
("a woman in her kitchen" -> "a man in his kitchen"). Where the model finds the two nearly as likely
(their log-probabilities differ by less than a margin), neither is said: "a person in their
kitchen". A caption that speaks of both ("a man and a woman") stays as it is: turned round it says
the same. Words of tokens only; which caption is how likely is the caller's business.
"""

from __future__ import annotations

from collections.abc import Sequence

# male, female, neither
_TRIPLES = (
    ("man", "woman", "person"),
    ("men", "women", "people"),
    ("mans", "womans", "persons"),
    ("boy", "girl", "child"),
    ("boys", "girls", "children"),
    ("guy", "lady", "person"),
    ("guys", "ladies", "people"),
    ("male", "female", "person"),
    ("males", "females", "people"),
    ("gentleman", "lady", "person"),
    ("father", "mother", "parent"),
    ("son", "daughter", "child"),
    ("brother", "sister", "child"),
    ("husband", "wife", "partner"),
    ("groom", "bride", "person"),
    ("businessman", "businesswoman", "person"),
    ("cowboy", "cowgirl", "rider"),
    ("fisherman", "fisherwoman", "person"),
    ("his", "her", "their"),
    ("himself", "herself", "themselves"),
)
_PRONOUNS = frozenset(("he", "she"))

MALE = {male: (female, neither) for male, female, neither in reversed(_TRIPLES)}
FEMALE = {female: (male, neither) for male, female, neither in reversed(_TRIPLES)}


def swapped(words: Sequence[str]) -> list[str] | None:
    """A caption about the other sex; None where it names none, both, or "he" or "she".

    >>> swapped("a woman in her kitchen".split())
    ['a', 'man', 'in', 'his', 'kitchen']
    >>> swapped("a man and a woman".split()) is None
    True
    """
    has_male = not MALE.keys().isdisjoint(words)
    has_female = not FEMALE.keys().isdisjoint(words)
    has_pronoun = not _PRONOUNS.isdisjoint(words)
    if has_male == has_female or has_pronoun:
        return None
    counterpart_of = {
        word: pair[0] for word, pair in (MALE if has_male else FEMALE).items()
    }
    return [counterpart_of.get(word, word) for word in words]


def neutral(words: Sequence[str]) -> list[str]:
    """A caption about neither sex.

    >>> " ".join(neutral("a young woman holds her racket".split()))
    'a young person holds their racket'
    """
    neutral_of = {word: pair[1] for word, pair in (MALE | FEMALE).items()}
    return [neutral_of.get(word, word) for word in words]
