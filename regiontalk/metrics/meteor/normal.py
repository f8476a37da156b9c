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
    r"\.{2,}|'(?<=[^\W\d_]')[^\W\d_]\w*"
    r"|[^\W_](?:[^\W_]|(?<=[0-9]),(?=[0-9])|\.(?=[^\W_.]))*"
    r"|\.[0-9]+|[^\s\w]|_"
)


def normalize(text: str) -> list[str]:
    """The words that METEOR counts in a tokenised caption.

    >>> " ".join(normalize("it is n't a black-and-white t-shirt of st. mary 's"))
    "it is n 't a black and white t shirt of st. mary ' s"
    """
    tokens = text.lower().split()
    words: list[str] = []
    for position, token in enumerate(tokens):
        after = tokens[position + 1] if position + 1 < len(tokens) else ""
        if token.isalnum():
            words.append(token)
        else:
            words.extend(_split(token, after[:1].islower()))
    return words


@lru_cache(maxsize=16384)
def _split(token: str, lower_follows: bool) -> tuple[str, ...]:
    """The words of one token that is not a plain word."""
    if token in _KEPT:
        return (token,)
    stop = len(token) > 1 and token.endswith(".") and not token.endswith("..")
    body = token[:-1] if stop else token
    words = [word for word in _PIECE.findall(body) if word != "-"]
    if (
        stop
        and words
        and (lower_follows or ("." in body and any(map(str.isalpha, body))))
    ):
        words[-1] += "."
    elif stop:
        words.append(".")
    return tuple(words)
