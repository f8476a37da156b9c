"""Penn Treebank tokens with punctuation removed, in Python: what coco-caption gets from Stanford's PTBTokenizer.

The caption metrics of the field count words after ``PTBTokenizer -preserveLines -lowerCase`` and the removal of a list
of marks. The rules of the treebank that matter there: clitics are words ("do n't", "man 's", "can not"), hyphens and
slashes inside a word hold it together, abbreviations keep their full stop, brackets are spelt out. Two habits of the
original are kept because the published figures contain them: the marks are removed *after* lower-casing, so ``-lrb-``
stays a word although ``-LRB-`` is on the list; and signs such as ``&`` or ``#`` are words.

A sentence enters, a list of lower-case tokens leaves. Each alternative below is one rule, tried in the order written.
"""

from __future__ import annotations

import re
from functools import lru_cache

PUNCTUATION = frozenset(
    ["''", "'", "``", "`", "-LRB-", "-RRB-", "-LCB-", "-RCB-", ".", "?", "!", ",", ":", "-", "--", "...", ";"]
)
_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
_SIGNS = {"\u00a3": "#", "\u20ac": "$", "\u00bd": "1/2", "\u00bc": "1/4", "\u00be": "3/4", "\u2026": "..."}
_ENTITIES = {"&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&apos;": "'", "&nbsp;": " "}

_ABBREVIATIONS = (
    "adj|adv|al|apr|asst|assn|aug|ave|bart|bldg|blvd|brig|bros|btw|capt|cf|cmdr|co|col|comdr|con|corp|cpl|ct|dec|dept|dist|dr|ed|eds"
    "|ens|est|etc|ex|exec|feb|fig|fri|ft|gen|gov|hon|hosp|hwy|inc|insp|intl|jan|jr|jul|jun|lt|ltd|maj|mar|messrs|mlle|mme"
    "|mo|mon|mr|mrs|ms|msgr|mt|nov|oct|op|ord|pfc|ph|prof|prop|pvt|rep|reps|res|rev|rd|sat|sec|sen|sens|sep|sept|sfc|sgt"
    "|sr|st|sun|supt|surg|thu|thur|thurs|tue|tues|univ|viz|vs|wed"
)
_RULES = (
    ("tag", r"</?[a-z][^<>]*>|<[!?][^<>]+>"),
    ("address", r"(?:https?|ftp)://[^\s\"<>|()]*[^\s\"<>|().?!,]|www\.(?:[^\s\"<>|.!?(){},]+\.)+[a-z]{2,4}"),
    ("mail", r"[a-z0-9][\w.%+-]*@(?:[a-z0-9-]+\.)+[a-z]{2,4}\b"),
    ("handle", r"[@#][a-z_][a-z0-9_]*"),
    ("initials", r"[a-z](?:\.[a-z])+\.|[a-z]\.(?=\s|$)|ph\.d\."),
    ("abbreviation", rf"(?:{_ABBREVIATIONS})\.(?![a-z0-9])"),
    ("company", r"[A-Z]+(?:[&+][A-Z]+)+(?![a-z])"),
    ("year", r"'\d\ds?(?![a-z0-9])"),
    ("clock", r"\d+(?::\d+)+(?=[ap]\.?m\b)"),
    ("number", r"[-+]?\d*(?:[.,:/-]\d+)+(?![a-z])|[-+]?\d+(?![\w-])"),
    ("money", r"[a-z]{1,2}\$"),
    ("clitic", r"'(?:s|m|d|ll|re|ve)(?![a-z])|n't(?![a-z])"),
    ("aphetic", r"'t(?=is\b|was\b)|'n'?(?![a-z])|'(?:em|cause|til|till|tis|twas)(?![a-z])"),
    ("joined", r"can(?=not\b)|got(?=ta\b)|gon(?=na\b)|wan(?=na\b)|gim(?=me\b)|lem(?=me\b)"),
    ("oclock", r"(?:o'clock|ma'am|cap'n|c'mon|ol'|[ldj]'(?=[a-z])[\w-]+|o'[a-z][\w-]*)(?![a-z])"),
    ("negated", r"[a-z]+?(?=n't(?![a-z]))"),
    ("either", r"[a-z0-9]+(?:-[a-z]+){0,2}(?:/[a-z0-9]+(?:-[a-z]+){0,2}){1,2}(?![a-z0-9])"),
    ("word", r"[^\W\d](?:\w*)(?:[.!?][^\W\d_]\w*)+(?!\w)|\w+(?:-(?:[ldo]')?\w+)*"),
    ("dots", r"\.{3,}|\u2026"),
    ("dash", r"-{2,}|[\u2013\u2014]"),
    ("quote", r"``|''"),
    ("marks", r"[?!]+"),
    ("other", r"\S"),
)
_TOKEN = re.compile("|".join(f"(?P<{name}>{rule})" for name, rule in _RULES), re.IGNORECASE)


def ptb_tokenize(sentence: str) -> list[str]:
    """Lower-case Penn Treebank tokens of a sentence without punctuation, as coco-caption counts them.

    Args:
        sentence: raw text; line breaks are blanks.

    Returns:
        The tokens; an empty list for an empty sentence or one of punctuation only.

    >>> ptb_tokenize("The man's T-shirt (red) isn't on St. Mary's tree/shrub.")
    ['the', 'man', "'s", 't-shirt', '-lrb-', 'red', '-rrb-', 'is', "n't", 'on', 'st.', 'mary', "'s", 'tree/shrub']
    """
    if sentence.isascii() and sentence.replace(" ", "").isalpha():
        return [part for word in sentence.lower().split() for part in _split_joined(word)]
    text = sentence.replace("\u2019", "'").replace("\u2018", "`").replace("\u201c", "``").replace("\u201d", "''")
    if "&" in text:
        for entity, sign in _ENTITIES.items():
            text = text.replace(entity, sign)
    tokens = [_spelt(match[0]) for match in _TOKEN.finditer(text)]
    return [token for token in tokens if token not in PUNCTUATION]


@lru_cache(maxsize=65536)
def _split_joined(word: str) -> tuple[str, ...]:
    """The tokens of a lower-case word of ASCII letters ("cannot" is two)."""
    return tuple(match[0] for match in _TOKEN.finditer(word))


def _spelt(token: str) -> str:
    """A token as the treebank spells it: lower case, brackets and a few signs by name."""
    token = token.lower()
    if len(token) == 1:
        return _BRACKETS.get(token) or _SIGNS.get(token) or ("''" if token == '"' else token)
    return "--" if token.strip("-\u2013\u2014") == "" else token
