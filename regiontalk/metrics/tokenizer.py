"""Penn Treebank tokens with punctuation removed, in Python.

What coco-caption gets from Stanford's PTBTokenizer. The caption metrics of the field
count words after ``PTBTokenizer -preserveLines -lowerCase`` and the removal of a list
of marks. The rules of the treebank that matter there: clitics are words ("do n't", "man
's", "can not"), hyphens and slashes inside a word hold it together, abbreviations keep
their full stop, brackets are spelt out. Two habits of the original are kept because the
published figures contain them: the marks are removed *after* lower-casing, so ``-lrb-``
stays a word although ``-LRB-`` is on the list; and signs such as ``&`` or ``#`` are
words.

A sentence enters, a list of lower-case tokens leaves. Each alternative below is one rule, tried in
the order written.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from itertools import chain

PUNCTUATION = frozenset(
    [
        "''",
        "'",
        "``",
        "`",
        "-LRB-",
        "-RRB-",
        "-LCB-",
        "-RCB-",
        ".",
        "?",
        "!",
        ",",
        ":",
        "-",
        "--",
        "...",
        ";",
    ]
)
_SPELT = {
    "(": "-lrb-",
    ")": "-rrb-",
    "[": "-lsb-",
    "]": "-rsb-",
    "{": "-lcb-",
    "}": "-rcb-",
    '"': "''",
}
_SIGNS = {
    "\u00a3": "#",
    "\u20ac": "$",
    "\u00bd": "1/2",
    "\u00bc": "1/4",
    "\u00be": "3/4",
}
_ENTITIES = {
    "&amp;": "&",
    "&lt;": "<",
    "&gt;": ">",
    "&quot;": '"',
    "&apos;": "'",
    "&nbsp;": " ",
}
_QUOTES = str.maketrans(
    {
        "\u2019": "'",
        "\u2018": "`",
        "\u201c": "``",
        "\u201d": "''",
        "\u00ad": None,
        "\u200b": " ",
        "\u2026": "...",
    }
)

_ABBREVIATIONS = (
    "adj|adv|al|ala|apr|ariz|assn|asst|atty|aug|ave|bhd|bldg|blvd|brig|bros|calif"
    "|capt|cf|cie|cmdr|co|col|colo|comdr"
    "|conn|corp|cos|cpl|ct|dec|dept|dr|ens|esq|est|etc|feb|fla|fri|ft|ga|gen|gov|hon"
    "|inc|ind|insp|intl|invt|jan|jr|jul"
    "|jun|kan|ky|lieut|lt|ltd|maj|mar|md|messrs|mfg|mich|minn|mlle|mme|mo|mon|mont|mr"
    "|mrs|ms|msgr|mt|mtg|natl|neb|nev"
    "|nov|oct|okla|penn|pfc|ph|plc|prof|pty|pvt|rd|rep|reps|rev|sen|sens|sep|sept|sfc"
    "|sgt|sq|sr|st|ste|supt|sys|tel|tenn"
    "|thu|thurs|treas|tue|tues|univ|va|vs|vt|wed|wis|wyo"
)
# words of their own in lower case
_CAPITAL_ABBREVIATIONS = "Ark|Del|Ill|La|Mass|Miss|Ore|PA|Pa|Tex|Wash"
_STARTERS = (  # capital words that show that the full stop before them ends a sentence
    "A|About|According|After|An|As|At|But|He|Her|Here|However|If|In|It|Last|Many|More"
    "|Now|Once|One|Other|Our|She|Since"
    "|So|Some|Such|That|The|Their|Then|There|These|They|This|We|What|When|While|Yet|You"
)
# Marks that combine with a letter and that the original counts as letters: accents, Arabic
# and Hebrew vowel points, vowel signs of India, Thai and Lao. It drops all other marks,
# which part words.
_MARKS = (
    "\\u0300-\\u036f\\u0483-\\u0487\\u0591-\\u05bd\\u05bf\\u05c1\\u05c2\\u05c4\\u05c5"
    "\\u05c7\\u0615-\\u061a\\u064b-\\u065e\\u0670"
    "\\u06d6-\\u06ed\\u070f\\u0711\\u0730-\\u074a\\u07a6-\\u07b0\\u07eb-\\u07f3"
    "\\u0900-\\u0903\\u093c\\u093e-\\u094e\\u0951-\\u0955"
    "\\u0962\\u0963\\u0981-\\u0983\\u09bc\\u09be-\\u09c4\\u09c7\\u09c8\\u09cb-\\u09cd"
    "\\u09d7\\u09e2\\u09e3\\u0a01-\\u0a03\\u0a3c"
    "\\u0a3e-\\u0a4d\\u0a81-\\u0a83\\u0abc\\u0abe-\\u0acd\\u0b82\\u0bbe-\\u0bc2"
    "\\u0bc6-\\u0bc8\\u0bca-\\u0bcd\\u0c01-\\u0c03"
    "\\u0c3e-\\u0c56\\u0d3e-\\u0d44\\u0d46-\\u0d48\\u0e31\\u0e34-\\u0e3a"
    "\\u0e47-\\u0e4e\\u0eb1\\u0eb4-\\u0ebc\\u0ec8-\\u0ecd\\u1885\\u1886"
)
# Digits that stand for themselves: superscripts, fractions and numbers in circles.
_LONE = (
    "\\u00b2\\u00b3\\u00b9\\u00bc-\\u00be\\u2070\\u2074-\\u2079\\u2080-\\u2089"
    "\\u2153-\\u215e\\u2460-\\u249b\\u24ea-\\u24ff"
    "\\u2776-\\u2793"
)
_L = rf"(?:[^\W_{_LONE}]|[{_MARKS}])"  # a letter or digit
_RULES = (
    ("tag", r"</?[a-z][^<>]*>|<[!?][^<>]+>"),
    (
        "address",
        r"(?:https?|ftp)://[^\s\"<>|()]*\.[^\s\"<>|()]*[^\s\"<>|().?!,]"
        r"|www\.(?:[^\s\"<>|.!?(){},]+\.)+[a-z]{2,4}",
    ),
    ("mail", r"[a-z0-9][\w.%+-]*@[a-z0-9-]+(?:\.[a-z0-9-]+)*"),
    ("smiley", r"[:;=]-?[()dp](?!\w)|\^_\^"),
    ("handle", r"@[a-z_]\w*|\#[a-z_]+"),
    ("acronym", rf"[a-z](?:\.[a-z])+\.(?!{_L})|ph\.d\."),
    ("initial", rf"(?-i:[A-Za-z]\.(?!{_L})(?!\s*$|\s+(?:{_STARTERS})\b))"),
    (
        "abbreviation",
        rf"(?:{_ABBREVIATIONS}|(?-i:{_CAPITAL_ABBREVIATIONS}))\.(?!{_L})|nos?\.(?=\s*\d)",
    ),
    ("company", r"(?-i:[A-Z]+(?:[&+][A-Z]+)+|[A-Z]{1,2}\$)"),
    ("year", r"'\d\ds?(?![a-z0-9])"),
    ("either", r"[a-z0-9]+(?:-[a-z]+){0,2}(?:/[a-z0-9]+(?:-[a-z]+){0,2}){1,2}"),
    ("number", r"[-+]?\d*(?:[.,:-]\d+)+(?:/\d+)?(?!-?[a-z]*-|\d)|[-+]\d+(?![\w-])"),
    ("aphetic", r"'t(?=is|was)|'n'|'(?:em|cause|till?)(?![a-z])|y'(?=all)"),
    ("clitic", r"'(?:s|m|d|ll|re|ve|n)(?![a-z])|n't(?![a-z])"),
    (
        "joined",
        r"can(?=not\b)|got(?=ta\b)|gon(?=na\b)|wan(?=na\b)|gim(?=me\b)|lem(?=me\b)",
    ),
    (
        "elided",
        r"(?:[dlcn]|qu)'[^\W\d_][\w-]+|(?:o|e|ne)'[a-z][\w-]+|[dlj]'(?!\w)|j'"
        r"|ma'am|cap'n|ol'(?![a-z])|s'mores|(?:dunk|someth)in'",
    ),
    ("negated", r"[a-z]+?(?=n't(?![a-z]))"),
    ("dotted", rf"(?!\d){_L}+(?:[.!?](?!\d){_L}+)+(?!-)"),
    ("word", rf"{_L}+(?:[-_](?:[ldo]')?{_L}+)*"),
    ("dots", r"\.{3,5}|\.(?: \.){2,4}"),
    ("rule", r"-{5,}|_{2,}|\*{2,}"),
    ("dash", r"-{2,4}|[\u2013-\u2015]"),
    ("quote", r"``|''"),
    ("marks", r"[?!]+"),
    ("other", r"[^\s\U00010000-\U0010ffff]"),
)
_TOKEN = re.compile(
    "|".join(f"(?P<{name}>{rule})" for name, rule in _RULES), re.IGNORECASE
)
# What a blank does not part: tags, and full stops whose meaning hangs on the next word.
_HANGS = re.compile(r"<.|(?:.*[^\w.])?(?:[a-z]|nos?)\.$", re.IGNORECASE)


def ptb_tokenize(sentence: str) -> list[str]:
    """Lower-case Penn Treebank tokens of a sentence without punctuation.

    As coco-caption counts them. A single letter with a full stop at the very end ("plan
    B.") is read as the end of the sentence; the original decides by the first word of
    the *next* caption in its file.

    Args:
        sentence: raw text; line breaks are blanks.

    Returns:
        The tokens; an empty list for an empty sentence or one of punctuation only.

    >>> " ".join(ptb_tokenize("The man's T-shirt (red) isn't on St. Mary's tree/shrub."))
    "the man 's t-shirt -lrb- red -rrb- is n't on st. mary 's tree/shrub"
    """
    parts = list(map(_cut, sentence.split()))
    if None in parts:
        return _tokens(sentence)
    return list(chain.from_iterable(parts))  # type: ignore[arg-type]


@lru_cache(maxsize=65536)
def _cut(text: str) -> tuple[str, ...] | None:
    """The tokens of a text without blanks, kept because captions repeat their words.

    None where more must be seen.
    """
    if _HANGS.match(text):
        return None
    return tuple(_tokens(text))


def _tokens(text: str) -> list[str]:
    """The tokens of any text."""
    text = text.translate(_QUOTES)
    if "&" in text:
        for entity, sign in _ENTITIES.items():
            text = text.replace(entity, sign)
    tokens = (_spell(match) for match in _TOKEN.finditer(text))
    return [token for token in tokens if token and token not in PUNCTUATION]


def _spell(match: re.Match[str]) -> str:
    """A token as the treebank spells it: lower case, brackets and a few signs by name.

    Empty where it is dropped.
    """
    token = match[0].lower()
    if match.lastgroup == "smiley":
        return "".join(_SPELT.get(sign, sign) for sign in token)
    if match.lastgroup == "other":
        if unicodedata.category(token[0]) in ("Mn", "Mc", "Me", "Cf"):
            return ""
        return _SPELT.get(token) or _SIGNS.get(token, token)
    return {"dots": "...", "dash": "--"}.get(match.lastgroup or "", token)
