"""METEOR's own tokeniser (its ``-norm`` switch), which runs over the treebank tokens a second time.

It parts hyphenated words, slashes and apostrophes that the treebank holds together: "t-shirt" is
two words to METEOR, "n't" is "n 't". The rules are those of the Moses tokeniser for lower-case
English.
"""

from __future__ import annotations

import re
from functools import lru_cache

_KEPT = frozenset(["-lrb-", "-rrb-", "-lsb-", "-rsb-", "-lcb-", "-rcb-", "--"])
_PIECE = re.compile(
    r"\.{2,}|'(?<=[^\W\d_]')[^\W\d_]\w*|[^\W_](?:[^\W_]|(?<=[0-9]),(?=[0-9])|\.(?=[^\W_.]))*|\.[0-9]+|[^\s\w]|_"
)


def normalize(text: str) -> list[str]:
    """The words that METEOR counts in a tokenised caption.

    >>> normalize("it is n't a black-and-white t-shirt of st. mary 's")
    ['it', 'is', 'n', "'t", 'a', 'black', 'and', 'white', 't', 'shirt', 'of', 'st.', 'mary', "'",
    's']
    """
    parts = text.lower().split()
    words: list[str] = []
    for place, part in enumerate(parts):
        after = parts[place + 1] if place + 1 < len(parts) else ""
        if part.isalnum():
            words.append(part)
        else:
            words.extend(_split(part, after[:1].islower()))
    return words


@lru_cache(maxsize=16384)
def _split(part: str, lower_follows: bool) -> tuple[str, ...]:
    """The words of one token that is not a plain word."""
    if part in _KEPT:
        return (part,)
    stop = len(part) > 1 and part.endswith(".") and not part.endswith("..")
    body = part[:-1] if stop else part
    words = [word for word in _PIECE.findall(body) if word != "-"]
    if stop and words and (lower_follows or ("." in body and any(map(str.isalpha, body)))):
        words[-1] += "."
    elif stop:
        words.append(".")
    return tuple(words)
